//! Shared cache invalidation: who changes a catalog tells everybody else what to forget.
//!
//! The messages go into a ring of 4096 places in shared memory. Each session reads them at its own pace, whenever it
//! locks a relation or begins a transaction. One that is half a ring behind is poked to catch up; one that is so far
//! behind that the ring must be reused without it is *reset*: it forgets everything it has cached.
//!
//! - `message`: the sixteen bytes of a message, the same in the ring and in commit records.
//! - `ring`: the shared ring.
//! - `receive`: taking messages in, the catch-up interrupt.
//!
//! A session calls [`attach`] once it has its PGPROC, [`receive`] where C has `AcceptInvalidationMessages`, and
//! [`process_catchup`] when it is about to be idle and its signal handler noted something.
//!
//! The numbered invariants are listed in this crate's README.
//!
//! C counterpart: storage/ipc/sinval.c, sinvaladt.c, storage/sinval.h.

#![forbid(unsafe_code)]

mod message;
mod receive;
mod ring;

pub use message::{Decoded, MESSAGE_SIZE, Message};
pub use receive::{anything_new, catchup_pending, note_procsignal, process_catchup, receive};
pub use ring::{RING_SIZE, attach, detach, reserve, send};

#[cfg(test)]
mod tests;
