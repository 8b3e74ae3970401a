//! The messages of a frontend after start-up, parsed without copying.

use common::{Oid, SqlState};
use elog::{PgError, Result, error, fatal};

use super::{LARGE_MESSAGE_LIMIT, MessageReader, SMALL_MESSAGE_LIMIT};

/// One message. Strings and values point into the body it was parsed from.
#[derive(Clone, Debug)]
pub enum FrontendMessage<'a> {
    /// `Q`: a simple query, any number of statements.
    Query(&'a str),
    /// `P`: prepares a statement; the empty name is the unnamed one.
    Parse {
        /// The statement's name.
        name: &'a str,
        /// Its text.
        query: &'a str,
        /// Types of its first parameters; 0 leaves one open.
        param_types: Oid32List<'a>,
    },
    /// `B`: a portal from a statement.
    Bind(Bind<'a>),
    /// `E`: runs a portal.
    Execute {
        /// The portal's name.
        portal: &'a str,
        /// At most so many rows; 0 or less is all.
        max_rows: i32,
    },
    /// `D`: asks what a statement or portal looks like.
    Describe(Describable, &'a str),
    /// `C`: forgets a statement or portal.
    Close(Describable, &'a str),
    /// `H`: sends what has been collected.
    Flush,
    /// `S`: ends an extended-query sequence.
    Sync,
    /// `X`: goodbye.
    Terminate,
    /// `d`: data of a COPY.
    CopyData(&'a [u8]),
    /// `c`: the COPY is complete.
    CopyDone,
    /// `f`: the client gives the COPY up, and why.
    CopyFail(&'a str),
    /// `F`: calls a function by OID, the old fast path.
    FunctionCall(Call<'a>),
}

/// What Describe and Close are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Describable {
    /// `S`
    Statement,
    /// `P`
    Portal,
}

/// The body of a Bind message.
#[derive(Clone, Debug)]
pub struct Bind<'a> {
    /// The portal to make; empty is the unnamed one.
    pub portal: &'a str,
    /// The statement to make it from.
    pub statement: &'a str,
    /// None, one for all, or one a parameter: 0 text, 1 binary.
    pub param_formats: Int16List<'a>,
    /// The parameters.
    pub params: Values<'a>,
    /// None, one for all, or one a column.
    pub result_formats: Int16List<'a>,
}

/// The body of a FunctionCall message.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The function.
    pub function: Oid,
    /// None, one for all, or one an argument.
    pub arg_formats: Int16List<'a>,
    /// The arguments.
    pub args: Values<'a>,
    /// Format of the answer.
    pub result_format: i16,
}

/// A counted list of 16-bit numbers, still in the message.
#[derive(Clone, Copy, Debug)]
pub struct Int16List<'a>(&'a [[u8; 2]]);

impl<'a> Int16List<'a> {
    fn read(reader: &mut MessageReader<'a>) -> Result<Int16List<'a>> {
        let count = count(reader)?;
        Ok(Int16List(reader.bytes(count * 2)?.as_chunks::<2>().0))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for an empty list.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = i16> + use<'a> {
        self.0.iter().map(|b| i16::from_be_bytes(*b))
    }

    /// The one for position `index` by the rule of Bind: none given means 0, a single one is for all.
    pub fn for_position(&self, index: usize) -> i16 {
        let which = if self.len() > 1 { index } else { 0 };
        self.0.get(which).map_or(0, |b| i16::from_be_bytes(*b))
    }
}

/// A counted list of OIDs, still in the message.
#[derive(Clone, Copy, Debug)]
pub struct Oid32List<'a>(&'a [[u8; 4]]);

impl<'a> Oid32List<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for an empty list.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The OIDs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Oid> + use<'a> {
        self.0.iter().map(|b| Oid(u32::from_be_bytes(*b)))
    }
}

/// A counted list of values with lengths, already known to be whole.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    count: usize,
    reader: MessageReader<'a>,
}

impl<'a> Values<'a> {
    fn read(reader: &mut MessageReader<'a>) -> Result<Values<'a>> {
        let values = Values { count: count(reader)?, reader: reader.clone() };
        for _ in 0..values.count {
            reader.value()?;
        }
        Ok(values)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True for an empty list.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values in order; `None` is NULL.
    pub fn iter(&self) -> impl Iterator<Item = Option<&'a [u8]>> + use<'a> {
        let mut reader = self.reader.clone();
        // Walked once already in `read`, so it cannot fail here.
        (0..self.count).map(move |_| reader.value().ok().flatten())
    }
}

/// A 16-bit count. C reads it as unsigned, so more than 32767 parameters are possible.
fn count(reader: &mut MessageReader<'_>) -> Result<usize> {
    Ok(usize::from(reader.int16()? as u16))
}

impl<'a> FrontendMessage<'a> {
    /// Parses the body of a message of type `kind`.
    ///
    /// # Errors
    /// 08P01 for a body that does not fit, FATAL 08P01 for an unknown type (then the boundary between
    /// messages is lost), 22021 for text that is no UTF-8.
    pub fn parse(kind: u8, body: &'a [u8]) -> Result<FrontendMessage<'a>> {
        let mut reader = MessageReader::new(body);
        let r = &mut reader;
        let message = match kind {
            b'Q' => FrontendMessage::Query(r.string()?),
            b'P' => FrontendMessage::Parse {
                name: r.string()?,
                query: r.string()?,
                param_types: {
                    let count = count(r)?;
                    Oid32List(r.bytes(count * 4)?.as_chunks::<4>().0)
                },
            },
            b'B' => FrontendMessage::Bind(parse_bind(r)?),
            b'E' => FrontendMessage::Execute { portal: r.string()?, max_rows: r.int32()? },
            b'D' => FrontendMessage::Describe(describable(r, "DESCRIBE")?, r.string()?),
            b'C' => FrontendMessage::Close(describable(r, "CLOSE")?, r.string()?),
            b'H' => FrontendMessage::Flush,
            b'S' => FrontendMessage::Sync,
            // Nobody is left to complain to: whatever the body holds, it is goodbye.
            b'X' => return Ok(FrontendMessage::Terminate),
            b'd' => return Ok(FrontendMessage::CopyData(body)),
            b'c' => FrontendMessage::CopyDone,
            b'f' => FrontendMessage::CopyFail(r.string()?),
            b'F' => FrontendMessage::FunctionCall(Call {
                function: Oid(r.int32()? as u32),
                arg_formats: Int16List::read(r)?,
                args: Values::read(r)?,
                result_format: r.int16()?,
            }),
            other => return Err(invalid_type(other)),
        };
        reader.end()?;
        Ok(message)
    }
}

fn parse_bind<'a>(r: &mut MessageReader<'a>) -> Result<Bind<'a>> {
    let (portal, statement) = (r.string()?, r.string()?);
    let param_formats = Int16List::read(r)?;
    let params_start = r.clone();
    let param_count = count(r)?;
    if param_formats.len() > 1 && param_formats.len() != param_count {
        return Err(error!(
            SqlState::PROTOCOL_VIOLATION,
            "bind message has {} parameter formats but {param_count} parameters",
            param_formats.len()
        ));
    }
    *r = params_start;
    Ok(Bind {
        portal,
        statement,
        param_formats,
        params: Values::read(r)?,
        result_formats: Int16List::read(r)?,
    })
}

fn describable(r: &mut MessageReader<'_>, message: &str) -> Result<Describable> {
    match r.byte()? {
        b'S' => Ok(Describable::Statement),
        b'P' => Ok(Describable::Portal),
        other => Err(error!(SqlState::PROTOCOL_VIOLATION, "invalid {message} message subtype {other}")),
    }
}

pub(crate) fn invalid_type(kind: u8) -> PgError {
    fatal!(SqlState::PROTOCOL_VIOLATION, "invalid frontend message type {kind}")
}

/// The largest message of that type that is read at all. C: the `maxmsglen` of `SocketBackend`.
///
/// # Errors
/// FATAL 08P01 `invalid frontend message type N`.
pub fn size_limit(kind: u8) -> Result<usize> {
    match kind {
        b'Q' | b'F' | b'B' | b'P' | b'd' => Ok(LARGE_MESSAGE_LIMIT),
        b'X' | b'C' | b'D' | b'E' | b'H' | b'S' | b'c' | b'f' => Ok(SMALL_MESSAGE_LIMIT),
        other => Err(invalid_type(other)),
    }
}

/// After an error in one of these, everything up to the next Sync is skipped.
/// C: `doing_extended_query_message`.
pub fn is_extended_query(kind: u8) -> bool {
    matches!(kind, b'B' | b'P' | b'C' | b'D' | b'E' | b'H')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_error(kind: u8, body: &[u8], expected: &str) {
        assert_eq!(FrontendMessage::parse(kind, body).unwrap_err().message, expected);
    }

    #[test]
    fn malformed_bodies_have_postgresqls_texts() {
        check_error(b'Q', b"select 1", "invalid string in message");
        check_error(b'Q', b"select 1\0x", "invalid message format");
        check_error(b'Q', b"\xff\0", "invalid byte sequence for encoding \"UTF8\": 0xff");
        check_error(b'P', b"a\0b\0\0\x02\0\0\0\x17", "insufficient data left in message");
        check_error(b'D', b"", "no data left in message");
        check_error(b'D', b"Zx\0", "invalid DESCRIBE message subtype 90");
        check_error(b'C', b"Zx\0", "invalid CLOSE message subtype 90");
        check_error(b'S', b"x", "invalid message format");
        check_error(
            b'B',
            b"\0\0\0\x02\0\0\0\0\0\x03",
            "bind message has 2 parameter formats but 3 parameters",
        );
        check_error(b'B', b"\0\0\0\0\0\x01\0\0\0\x05ab", "insufficient data left in message");
        check_error(b'!', b"", "invalid frontend message type 33");
    }

    #[test]
    fn bind_gives_back_what_was_sent() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x02\0\0\0\x01";
        let FrontendMessage::Bind(bind) = FrontendMessage::parse(b'B', body).unwrap() else { panic!() };
        assert_eq!((bind.portal, bind.statement), ("p", "s"));
        assert_eq!(bind.params.iter().collect::<Vec<_>>(), [Some(&b"x"[..]), None]);
        assert_eq!([0, 1, 7].map(|i| bind.param_formats.for_position(i)), [1, 1, 1]);
        assert_eq!([0, 1, 2].map(|i| bind.result_formats.for_position(i)), [0, 1, 0]);
    }

    proptest! {
        #[test]
        fn random_bodies_never_panic(kind: u8, body: Vec<u8>) {
            if let Ok(FrontendMessage::Bind(bind)) = FrontendMessage::parse(kind, &body) {
                prop_assert_eq!(bind.params.iter().count(), bind.params.len());
            }
        }

        #[test]
        fn random_binds_never_panic(
            head in "[a-c]{0,2}\0[a-c]{0,2}\0",
            tail in proptest::collection::vec(prop_oneof![Just(0_u8), 0_u8..4, any::<u8>()], 0..40),
        ) {
            let mut body = head.into_bytes();
            body.extend(tail);
            if let Ok(FrontendMessage::Bind(bind)) = FrontendMessage::parse(b'B', &body) {
                prop_assert_eq!(bind.params.iter().count(), bind.params.len());
                prop_assert!(bind.result_formats.iter().count() <= body.len());
            }
        }
    }
}
