//! Takes a message body apart, with every length checked against what is really there.

use common::SqlState;
use elog::{Result, error};

/// A cursor over one message body. All integers are big-endian. C: the `pq_getmsg*` family.
#[derive(Clone, Debug)]
pub struct MessageReader<'a> {
    rest: &'a [u8],
}

impl<'a> MessageReader<'a> {
    /// Starts at the beginning of `body`.
    pub fn new(body: &'a [u8]) -> MessageReader<'a> {
        MessageReader { rest: body }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// One byte. C: `pq_getmsgbyte`.
    ///
    /// # Errors
    /// 08P01 `no data left in message`.
    pub fn byte(&mut self) -> Result<u8> {
        match self.rest.split_first() {
            Some((&first, rest)) => {
                self.rest = rest;
                Ok(first)
            }
            None => Err(error!(SqlState::PROTOCOL_VIOLATION, "no data left in message")),
        }
    }

    /// `count` bytes as they are. C: `pq_getmsgbytes`.
    ///
    /// # Errors
    /// 08P01 `insufficient data left in message`.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(insufficient()),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(insufficient()),
        }
    }

    /// Two bytes, signed.
    ///
    /// # Errors
    /// 08P01 when they are not there.
    pub fn int16(&mut self) -> Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// Four bytes, signed.
    ///
    /// # Errors
    /// 08P01 when they are not there.
    pub fn int32(&mut self) -> Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Eight bytes, signed.
    ///
    /// # Errors
    /// 08P01 when they are not there.
    pub fn int64(&mut self) -> Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A string up to its NUL, as bytes. C: `pq_getmsgrawstring`.
    ///
    /// # Errors
    /// 08P01 `invalid string in message` without a NUL.
    pub fn raw_string(&mut self) -> Result<&'a [u8]> {
        let Some(length) = self.rest.iter().position(|&b| b == 0) else {
            return Err(error!(SqlState::PROTOCOL_VIOLATION, "invalid string in message"));
        };
        let text = &self.rest[..length];
        self.rest = &self.rest[length + 1..];
        Ok(text)
    }

    /// A string up to its NUL, checked to be UTF-8. C: `pq_getmsgstring`.
    ///
    /// # Errors
    /// 08P01 without a NUL, 22021 for bytes that are no UTF-8.
    pub fn string(&mut self) -> Result<&'a str> {
        check_utf8(self.raw_string()?)
    }

    /// A length word and that many bytes; `None` for the length -1 (a NULL).
    ///
    /// # Errors
    /// 08P01 when they are not there or the length is below -1.
    pub fn value(&mut self) -> Result<Option<&'a [u8]>> {
        match self.int32()? {
            -1 => Ok(None),
            length => self.bytes(usize::try_from(length).map_err(|_| insufficient())?).map(Some),
        }
    }

    /// Nothing may be left. C: `pq_getmsgend`.
    ///
    /// # Errors
    /// 08P01 `invalid message format`.
    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(error!(SqlState::PROTOCOL_VIOLATION, "invalid message format"))
        }
    }
}

fn insufficient() -> elog::PgError {
    error!(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message")
}

/// The bytes as text. C: `pg_verifymbstr` for a UTF-8 database.
///
/// # Errors
/// 22021 that shows the offending character's bytes.
pub fn check_utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|e| {
        let bad = &bytes[e.valid_up_to()..];
        // As many bytes as the first one announces, whether or not they are right.
        let announced = match bad.first().copied().unwrap_or(0) {
            b if b & 0xe0 == 0xc0 => 2,
            b if b & 0xf0 == 0xe0 => 3,
            b if b & 0xf8 == 0xf0 => 4,
            _ => 1,
        };
        let shown: Vec<String> = bad.iter().take(announced).map(|b| format!("0x{b:02x}")).collect();
        error!(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": {}",
            shown.join(" ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_notices_the_end() {
        let body = [b'x', 0, 1, 0, 0, 0, 2, b'a', b'b', 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 9];
        let mut reader = MessageReader::new(&body);
        assert_eq!(reader.byte().unwrap(), b'x');
        assert_eq!(reader.int16().unwrap(), 1);
        assert_eq!(reader.int32().unwrap(), 2);
        assert_eq!(reader.string().unwrap(), "ab");
        assert_eq!(reader.value().unwrap(), None);
        assert_eq!(reader.end().unwrap_err().message, "invalid message format");
        assert_eq!(reader.value().unwrap(), Some(&[9][..]));
        reader.end().unwrap();
        assert_eq!(reader.byte().unwrap_err().message, "no data left in message");
        assert_eq!(reader.int16().unwrap_err().message, "insufficient data left in message");
        assert_eq!(reader.string().unwrap_err().message, "invalid string in message");
    }

    #[test]
    fn lengths_below_minus_one_are_refused() {
        for length in [-2_i32, i32::MIN, 1, i32::MAX] {
            assert!(MessageReader::new(&length.to_be_bytes()).value().is_err(), "{length}");
        }
    }

    #[test]
    fn bad_utf8_shows_its_bytes() {
        let text = |bytes: &[u8]| check_utf8(bytes).unwrap_err().message.to_string();
        assert_eq!(text(b"ab\xff"), "invalid byte sequence for encoding \"UTF8\": 0xff");
        assert_eq!(text(b"\xc3\x28"), "invalid byte sequence for encoding \"UTF8\": 0xc3 0x28");
        assert_eq!(text(b"\xe2\x82"), "invalid byte sequence for encoding \"UTF8\": 0xe2 0x82");
        assert_eq!(check_utf8("é".as_bytes()).unwrap(), "é");
    }
}
