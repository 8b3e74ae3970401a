//! The messages of a backend, each appended to the send buffer in one go and without any other allocation.
//!
//! ```
//! use libpq::message::reply::{self, DataRow, TransactionStatus};
//!
//! let mut out = Vec::new();
//! let mut row = DataRow::begin(&mut out, 2);
//! row.text("1");
//! row.null();
//! row.finish();
//! reply::command_complete(&mut out, "SELECT 1");
//! reply::ready_for_query(&mut out, TransactionStatus::Idle);
//! assert_eq!(out[0], b'D');
//! assert_eq!(out[out.len() - 6..], [b'Z', 0, 0, 0, 5, b'I']);
//! ```

use common::Oid;

/// Appends a message of type `kind`; `body` appends its body. The length is filled in afterwards.
/// C: `pq_beginmessage_reuse` ... `pq_endmessage_reuse`.
pub fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(out, kind);
    body(out);
    end(out, start);
}

fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    out.extend_from_slice(&[kind, 0, 0, 0, 0]);
    out.len() - 4
}

/// Fills in the length word at `at`, which counts itself.
fn end(out: &mut [u8], at: usize) {
    let length = (out.len() - at) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// A message without a body. C: `pq_putemptymessage`.
pub fn empty(out: &mut Vec<u8>, kind: u8) {
    out.extend_from_slice(&[kind, 0, 0, 0, 4]);
}

/// Appends text and its NUL. Text with a NUL inside is cut there, as in C.
pub fn string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let length = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    out.extend_from_slice(&bytes[..length]);
    out.push(0);
}

/// One column of a [`row_description`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The column's name.
    pub name: &'a str,
    /// The table it comes from, or invalid.
    pub table: Oid,
    /// Its number in that table, or 0.
    pub column: i16,
    /// Its type.
    pub type_oid: Oid,
    /// `pg_type.typlen`; negative for variable length.
    pub type_len: i16,
    /// Type modifier, -1 for none.
    pub typmod: i32,
    /// 0 text, 1 binary.
    pub format: i16,
}

/// `T`: the columns of the rows to come. C: `SendRowDescriptionMessage`.
pub fn row_description<'a>(out: &mut Vec<u8>, fields: impl ExactSizeIterator<Item = Field<'a>>) {
    message(out, b'T', |out| {
        out.extend_from_slice(&(fields.len() as u16).to_be_bytes());
        for field in fields {
            string(out, field.name);
            out.extend_from_slice(&field.table.0.to_be_bytes());
            out.extend_from_slice(&field.column.to_be_bytes());
            out.extend_from_slice(&field.type_oid.0.to_be_bytes());
            out.extend_from_slice(&field.type_len.to_be_bytes());
            out.extend_from_slice(&field.typmod.to_be_bytes());
            out.extend_from_slice(&field.format.to_be_bytes());
        }
    });
}

/// `D`: one row, column by column. Dropped before [`DataRow::finish`], it takes itself back (L3).
#[derive(Debug)]
pub struct DataRow<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    finished: bool,
}

impl<'a> DataRow<'a> {
    /// Begins a row of `columns` values.
    pub fn begin(out: &'a mut Vec<u8>, columns: usize) -> DataRow<'a> {
        let start = begin(out, b'D');
        out.extend_from_slice(&(columns as u16).to_be_bytes());
        DataRow { out, start, finished: false }
    }

    /// A NULL.
    pub fn null(&mut self) {
        self.out.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    /// A value in its text format.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// A value as it is.
    pub fn bytes(&mut self, value: &[u8]) {
        self.out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        self.out.extend_from_slice(value);
    }

    /// A value that `append` writes behind what is already in the buffer.
    pub fn with<R>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        let result = append(self.out);
        let length = (self.out.len() - at - 4) as u32;
        self.out[at..at + 4].copy_from_slice(&length.to_be_bytes());
        result
    }

    /// Completes the row.
    pub fn finish(mut self) {
        end(self.out, self.start);
        self.finished = true;
    }
}

impl Drop for DataRow<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start - 1);
        }
    }
}

/// `C`: a statement is done; the tag says what it did, `SELECT 5`.
pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    message(out, b'C', |out| string(out, tag));
}

/// What ReadyForQuery says about the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TransactionStatus {
    /// None is open.
    Idle = b'I',
    /// One is open.
    InBlock = b'T',
    /// One is open and has failed.
    Failed = b'E',
}

/// `Z`: your turn.
pub fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    out.extend_from_slice(&[b'Z', 0, 0, 0, 5, status as u8]);
}

/// `S`: the value of a setting that clients follow.
pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, b'S', |out| {
        string(out, name);
        string(out, value);
    });
}

/// `K`: what a cancel request must present.
pub fn backend_key_data(out: &mut Vec<u8>, pid: i32, cancel_key: i32) {
    message(out, b'K', |out| {
        out.extend_from_slice(&pid.to_be_bytes());
        out.extend_from_slice(&cancel_key.to_be_bytes());
    });
}

/// `1`: a statement has been prepared.
pub fn parse_complete(out: &mut Vec<u8>) {
    empty(out, b'1');
}

/// `2`: a portal has been made.
pub fn bind_complete(out: &mut Vec<u8>) {
    empty(out, b'2');
}

/// `3`: a statement or portal is gone.
pub fn close_complete(out: &mut Vec<u8>) {
    empty(out, b'3');
}

/// `n`: no rows will come.
pub fn no_data(out: &mut Vec<u8>) {
    empty(out, b'n');
}

/// `s`: Execute reached its row limit.
pub fn portal_suspended(out: &mut Vec<u8>) {
    empty(out, b's');
}

/// `I`: the query string held no statement.
pub fn empty_query_response(out: &mut Vec<u8>) {
    empty(out, b'I');
}

/// `t`: the types of a statement's parameters.
pub fn parameter_description(out: &mut Vec<u8>, types: impl ExactSizeIterator<Item = Oid>) {
    message(out, b't', |out| {
        out.extend_from_slice(&(types.len() as u16).to_be_bytes());
        types.for_each(|oid| out.extend_from_slice(&oid.0.to_be_bytes()));
    });
}

/// `v`: the protocol version we speak and the options we do not know. C: `SendNegotiateProtocolVersion`.
pub fn negotiate_protocol_version<'a>(
    out: &mut Vec<u8>,
    unrecognized: impl ExactSizeIterator<Item = &'a str>,
) {
    message(out, b'v', |out| {
        out.extend_from_slice(&crate::startup::PROTOCOL_LATEST.to_be_bytes());
        out.extend_from_slice(&(unrecognized.len() as u32).to_be_bytes());
        unrecognized.for_each(|option| string(out, option));
    });
}

/// `A`: a NOTIFY of somebody else.
pub fn notification(out: &mut Vec<u8>, pid: i32, channel: &str, payload: &str) {
    message(out, b'A', |out| {
        out.extend_from_slice(&pid.to_be_bytes());
        string(out, channel);
        string(out, payload);
    });
}

/// Which way the data of a COPY goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Copy {
    /// `G`: from the client.
    In = b'G',
    /// `H`: to the client.
    Out = b'H',
    /// `W`: both, for replication.
    Both = b'W',
}

/// `G`, `H` or `W`: a COPY begins. `binary` is said for the whole and for each column.
pub fn copy_response(out: &mut Vec<u8>, copy: Copy, binary: bool, columns: usize) {
    message(out, copy as u8, |out| {
        out.push(u8::from(binary));
        out.extend_from_slice(&(columns as u16).to_be_bytes());
        (0..columns).for_each(|_| out.extend_from_slice(&[0, u8::from(binary)]));
    });
}

/// `d`: data of a COPY.
pub fn copy_data(out: &mut Vec<u8>, data: &[u8]) {
    message(out, b'd', |out| out.extend_from_slice(data));
}

/// `c`: the COPY is complete.
pub fn copy_done(out: &mut Vec<u8>) {
    empty(out, b'c');
}

/// `V`: the answer of the fast path; `None` is NULL.
pub fn function_call_response(out: &mut Vec<u8>, value: Option<&[u8]>) {
    message(out, b'V', |out| match value {
        Some(value) => {
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    });
}

/// What an Authentication message asks for. C: `AUTH_REQ_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthRequest<'a> {
    /// You are in.
    Ok,
    /// The password in the clear.
    CleartextPassword,
    /// The password hashed with this salt.
    Md5Password([u8; 4]),
    /// Choose one of these mechanisms.
    Sasl(&'a [&'a str]),
    /// The next step of the mechanism.
    SaslContinue(&'a [u8]),
    /// Its last step.
    SaslFinal(&'a [u8]),
}

/// `R`: the next step of authentication. C: `sendAuthRequest`.
pub fn authentication(out: &mut Vec<u8>, request: AuthRequest<'_>) {
    message(out, b'R', |out| {
        let (code, data): (u32, &[u8]) = match request {
            AuthRequest::Ok => (0, &[]),
            AuthRequest::CleartextPassword => (3, &[]),
            AuthRequest::Md5Password(ref salt) => (5, salt),
            AuthRequest::Sasl(_) => (10, &[]),
            AuthRequest::SaslContinue(data) => (11, data),
            AuthRequest::SaslFinal(data) => (12, data),
        };
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(data);
        if let AuthRequest::Sasl(mechanisms) = request {
            mechanisms.iter().for_each(|name| string(out, name));
            out.push(0);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &[u8]) {
        let mut out = vec![b'~'];
        write(&mut out);
        assert_eq!(out[1..], *expected);
    }

    #[test]
    fn layouts() {
        check(|o| command_complete(o, "SET"), b"C\0\0\0\x08SET\0");
        check(|o| parameter_status(o, "a", "b"), b"S\0\0\0\x08a\0b\0");
        check(|o| backend_key_data(o, 1, -2), b"K\0\0\0\x0c\0\0\0\x01\xff\xff\xff\xfe");
        check(parse_complete, b"1\0\0\0\x04");
        check(|o| copy_response(o, Copy::Out, true, 2), b"H\0\0\0\x0b\x01\0\x02\0\x01\0\x01");
        check(
            |o| negotiate_protocol_version(o, ["_pq_.x"].into_iter()),
            b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0",
        );
        check(|o| authentication(o, AuthRequest::Ok), b"R\0\0\0\x08\0\0\0\0");
        check(|o| authentication(o, AuthRequest::Md5Password(*b"salt")), b"R\0\0\0\x0c\0\0\0\x05salt");
        check(|o| authentication(o, AuthRequest::Sasl(&["A", "B"])), b"R\0\0\0\x0d\0\0\0\x0aA\0B\0\0");
        check(|o| parameter_description(o, [Oid(23)].into_iter()), b"t\0\0\0\x0a\0\x01\0\0\0\x17");
        check(|o| function_call_response(o, None), b"V\0\0\0\x08\xff\xff\xff\xff");
        check(|o| string(o, "a\0b"), b"a\0");
    }

    #[test]
    fn rows_are_whole_or_absent() {
        let mut out = Vec::new();
        let mut row = DataRow::begin(&mut out, 3);
        row.text("ab");
        row.null();
        row.with(|out| out.extend_from_slice(b"xyz"));
        row.finish();
        let expected = b"D\0\0\0\x17\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\x03xyz";
        assert_eq!(out, expected);
        let mut row = DataRow::begin(&mut out, 1);
        row.text("an error stopped the second column");
        drop(row);
        assert_eq!(out, expected);
    }

    #[test]
    fn row_description_layout() {
        let field = Field {
            name: "n",
            table: Oid(1),
            column: 2,
            type_oid: Oid(23),
            type_len: 4,
            typmod: -1,
            format: 0,
        };
        check(
            |o| row_description(o, [field].into_iter()),
            b"T\0\0\0\x1a\0\x01n\0\0\0\0\x01\0\x02\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0",
        );
    }
}
