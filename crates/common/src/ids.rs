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
    /// What `initdb` writes rows with; always committed. C: `BootstrapTransactionId`.
    pub const BOOTSTRAP: Xid = Xid(1);
    /// Older than every other; only seen in files of old versions. C: `FrozenTransactionId`.
    pub const FROZEN: Xid = Xid(2);
    /// The first id given to a transaction. C: `FirstNormalTransactionId`.
    pub const FIRST_NORMAL: Xid = Xid(3);

    /// False only for [`Xid::INVALID`].
    pub const fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// True for ids that are given to transactions. C: `TransactionIdIsNormal`.
    pub const fn is_normal(self) -> bool {
        self.0 >= 3
    }

    /// Whether it is older than `other`. Normal ids compare by distance, so that they can wrap around; the
    /// permanent ones are older than all others. C: `TransactionIdPrecedes`.
    pub const fn precedes(self, other: Xid) -> bool {
        if !self.is_normal() || !other.is_normal() {
            return self.0 < other.0;
        }
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// C: `TransactionIdPrecedesOrEquals`.
    pub const fn precedes_or_equals(self, other: Xid) -> bool {
        self.0 == other.0 || self.precedes(other)
    }

    /// C: `TransactionIdFollows`.
    pub const fn follows(self, other: Xid) -> bool {
        other.precedes(self)
    }

    /// C: `TransactionIdFollowsOrEquals`.
    pub const fn follows_or_equals(self, other: Xid) -> bool {
        other.precedes_or_equals(self)
    }

    /// The next normal id. C: `TransactionIdAdvance`.
    #[must_use]
    pub const fn next(self) -> Xid {
        let next = self.0.wrapping_add(1);
        if next < 3 { Xid::FIRST_NORMAL } else { Xid(next) }
    }

    /// The normal id before. C: `TransactionIdRetreat`.
    #[must_use]
    pub const fn previous(self) -> Xid {
        let previous = self.0.wrapping_sub(1);
        if previous < 3 { Xid(u32::MAX) } else { Xid(previous) }
    }
}

/// Transaction id with the number of times that the 32-bit ids wrapped around. C: `FullTransactionId`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct FullXid(pub u64);

impl FullXid {
    /// From epoch and id.
    pub const fn new(epoch: u32, xid: Xid) -> FullXid {
        FullXid((epoch as u64) << 32 | xid.0 as u64)
    }

    /// The 32-bit id.
    pub const fn xid(self) -> Xid {
        Xid(self.0 as u32)
    }

    /// How often ids wrapped around before it.
    pub const fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The next normal id.
    #[must_use]
    pub const fn next(self) -> FullXid {
        let next = FullXid(self.0 + 1);
        if next.xid().is_normal() { next } else { FullXid::new(next.epoch(), Xid::FIRST_NORMAL) }
    }
}

/// A set of transactions that lock one row. 0 is none, 1 the first. C: `MultiXactId`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct MultiXactId(pub u32);

impl MultiXactId {
    /// No set. C: `InvalidMultiXactId`.
    pub const INVALID: MultiXactId = MultiXactId(0);
    /// C: `FirstMultiXactId`.
    pub const FIRST: MultiXactId = MultiXactId(1);

    /// False only for [`MultiXactId::INVALID`].
    pub const fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// Whether it is older. C: `MultiXactIdPrecedes`.
    pub const fn precedes(self, other: MultiXactId) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }
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
    fn xids_compare_across_the_wrap() {
        assert!(Xid(u32::MAX).precedes(Xid(3)));
        assert!(!Xid(3).precedes(Xid(u32::MAX)));
        assert!(Xid::FROZEN.precedes(Xid(u32::MAX)) && Xid::BOOTSTRAP.precedes(Xid(3)));
        assert_eq!((Xid(u32::MAX).next(), Xid(3).previous()), (Xid(3), Xid(u32::MAX)));
        assert_eq!(FullXid::new(0, Xid(u32::MAX)).next(), FullXid::new(1, Xid(3)));
    }

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
