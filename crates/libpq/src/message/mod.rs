//! Messages of protocol 3.0: what a frontend sends, parsed in place, and what a backend answers, appended to a
//! buffer.
//!
//! A message is one byte of type, four bytes of length (itself included, the type not) and a body. Only the
//! start-up packet has no type; see [`crate::startup`]. [`MessageReader`] is the one way to look into a body:
//! it checks every length against what is there.
//!
//! C counterpart: libpq/pqformat.c and the message switch of `PostgresMain` and `SocketBackend`.

mod frontend; // 1. what clients send
mod reader; // 2. taking a body apart
pub mod reply; // 3. what we answer
pub mod report; // 4. errors and notices on the wire

pub use frontend::{
    Bind, Call, Describable, FrontendMessage, Int16List, Oid32List, Values, is_extended_query, size_limit,
};
pub use reader::{MessageReader, check_utf8};

/// Largest message of a kind that may carry a query or its data. C: `PQ_LARGE_MESSAGE_LIMIT`.
pub const LARGE_MESSAGE_LIMIT: usize = 0x3fff_fffe;
/// Largest message of any other kind. C: `PQ_SMALL_MESSAGE_LIMIT`.
pub const SMALL_MESSAGE_LIMIT: usize = 10_000;
