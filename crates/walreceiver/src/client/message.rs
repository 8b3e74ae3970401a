//! Messages: their bytes, and the text of the server's errors.
//!
//! C counterpart: fe-protocol3.c.

/// One message of the server.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its type byte.
    pub(crate) kind: u8,
    pub(crate) body: Vec<u8>,
}

/// An error or notice of the server. C: a `PGresult` with its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerError {
    fields: Vec<(u8, String)>,
}

impl ServerError {
    /// From the message's body. C: `pqGetErrorNotice3`.
    pub(crate) fn parse(mut body: &[u8]) -> ServerError {
        let mut fields = Vec::new();
        while let Some((&code, rest)) = body.split_first().filter(|(code, _)| **code != 0) {
            let (text, rest) = c_string(rest);
            fields.push((code, text));
            body = rest;
        }
        ServerError { fields }
    }

    fn field(&self, code: u8) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == code).map(|(_, text)| text.as_str())
    }

    /// The error's code. C: `PG_DIAG_SQLSTATE`.
    pub(crate) fn sqlstate(&self) -> &str {
        self.field(b'C').unwrap_or_default()
    }

    /// All of it for people, one or more lines. C: `pqBuildErrorMessage3` with `PQERRORS_DEFAULT`.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if let Some(severity) = self.field(b'S') {
            text = format!("{severity}:  ");
        }
        text.push_str(self.field(b'M').unwrap_or_default());
        if let Some(position) = self.field(b'P') {
            text.push_str(&format!(" at character {position}"));
        }
        text.push('\n');
        for (code, title) in [(b'D', "DETAIL"), (b'H', "HINT"), (b'q', "QUERY"), (b'W', "CONTEXT")] {
            if let Some(value) = self.field(code) {
                text.push_str(&format!("{title}:  {value}\n"));
            }
        }
        text
    }
}

/// A text up to its end mark, and what follows.
pub(crate) fn c_string(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let rest = bytes.get(end + 1..).unwrap_or_default();
    (String::from_utf8_lossy(&bytes[..end]).into_owned(), rest)
}

/// An integer of four bytes at the beginning, and what follows.
pub(crate) fn int32(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*number), rest))
}

/// An integer of eight bytes at the beginning, and what follows.
pub(crate) fn int64(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((i64::from_be_bytes(*number), rest))
}

/// Columns of a row of text. C: `getAnotherTuple`.
pub(crate) fn data_row(body: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..i16::from_be_bytes(*count).max(0) {
        let (length, after) = int32(rest)?;
        rest = after;
        columns.push(match usize::try_from(length) {
            Ok(length) => {
                let (value, after) = rest.split_at_checked(length)?;
                rest = after;
                Some(value.to_vec())
            }
            Err(_) => None,
        });
    }
    Some(columns)
}

/// Appends a message. `kind` 0 is the start-up packet and its relatives, which have no type byte.
pub(crate) fn append(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    if kind != 0 {
        out.push(kind);
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_libpq_writes_them() {
        let body = b"SFATAL\0VFATAL\0C28P01\0Mno way\0Dbecause\0Htry again\0Fx.rs\0\0";
        let error = ServerError::parse(body);
        assert_eq!(error.sqlstate(), "28P01");
        assert_eq!(error.text(), "FATAL:  no way\nDETAIL:  because\nHINT:  try again\n");
        // Whatever a server sends, it is a text.
        assert_eq!(ServerError::parse(b"").text(), "\n");
        assert_eq!(ServerError::parse(b"Mcut off").text(), "cut off\n");
    }

    #[test]
    fn rows_that_are_too_short() {
        assert_eq!(data_row(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"), Some(vec![Some(b"a".to_vec()), None]));
        assert_eq!(data_row(b"\0\x02\0\0\0\x01a"), None);
        assert_eq!(data_row(b"\0\x01\x7f\xff\xff\xffa"), None);
        assert_eq!(data_row(b""), None);
    }
}
