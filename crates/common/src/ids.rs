//! Identifiers with a fixed width in files and on the wire.

use std::fmt;
use std::str::FromStr;

/// Object id of a catalog row. 0 is "invalid"; below 16384 are the built-in ones. C: `Oid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Oid(pub u32);

impl Oid {
    /// The absent object. C: `InvalidOid`.
    pub const INVALID: Oid = Oid(0);

    /// False only for [`Oid::INVALID`].
    pub fn is_valid(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Transaction id, 32 bits that wrap around. C: `TransactionId`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Xid(pub u32);

impl Xid {
    /// No transaction. C: `InvalidTransactionId`.
    pub const INVALID: Xid = Xid(0);
    /// The first id given to a transaction. C: `FirstNormalTransactionId`.
    pub const FIRST_NORMAL: Xid = Xid(3);
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A branch of WAL history, begun by a promotion. 1 is the first. C: `TimeLineID`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct TimeLineId(pub u32);

impl fmt::Display for TimeLineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of an 8 KiB page within a relation fork. C: `BlockNumber`.
pub type BlockNumber = u32;

/// A position in WAL: bytes since the start of its history. Shown as two hexadecimal halves, `0/1000028`.
/// C: `XLogRecPtr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Lsn(pub u64);

impl Lsn {
    /// No position. C: `InvalidXLogRecPtr`.
    pub const INVALID: Lsn = Lsn(0);
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 as u32)
    }
}

impl std::ops::Add<u64> for Lsn {
    type Output = Lsn;
    fn add(self, bytes: u64) -> Lsn {
        Lsn(self.0 + bytes)
    }
}

impl std::ops::Sub for Lsn {
    type Output = u64;
    fn sub(self, earlier: Lsn) -> u64 {
        self.0 - earlier.0
    }
}

/// The text was not `XXXXXXXX/XXXXXXXX` (one to eight hexadecimal digits on each side).
#[derive(Debug, PartialEq, Eq)]
pub struct ParseLsnError;

impl FromStr for Lsn {
    type Err = ParseLsnError;
    fn from_str(text: &str) -> Result<Lsn, ParseLsnError> {
        let half = |s: &str| {
            let digits = (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit());
            if digits { u64::from_str_radix(s, 16).map_err(|_| ParseLsnError) } else { Err(ParseLsnError) }
        };
        let (high, low) = text.split_once('/').ok_or(ParseLsnError)?;
        Ok(Lsn(half(high)? << 32 | half(low)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsn_text_round_trip() {
        for (text, value) in [("0/0", 0), ("0/1000028", 0x0100_0028), ("16/B374D848", 0x16_B374_D848)] {
            assert_eq!(text.parse(), Ok(Lsn(value)));
            assert_eq!(Lsn(value).to_string(), text);
        }
        for bad in ["", "/", "0", "0/", "/0", "0/123456789", "0/xyz", "+1/2", "0/1 "] {
            assert_eq!(bad.parse::<Lsn>(), Err(ParseLsnError), "{bad:?}");
        }
    }
}
