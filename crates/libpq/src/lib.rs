//! The server's side of a client connection: protocol 3.0, TLS, pg_hba.conf and authentication.
//!
//! A connection begins as a [`Port`]: a socket with two buffers that never blocks except where its
//! [`WaitPolicy`] says how. [`startup::process_startup_packet`] finds out what the client wants,
//! [`auth::client_authentication`] whether it may, and from then on the session reads messages with
//! [`Port::read_message`] + [`message::FrontendMessage::parse`] and appends answers to [`Port::out`] with the
//! functions of [`message::reply`].
//!
//! Invariants:
//! - L1  Nothing the peer sends makes this crate panic, wait without end, or allocate what has not arrived.
//! - L2  A system call is tried first and waited for only when it would block; messages are collected and sent
//!   together, so a simple query costs one `recv` and one `send`.
//! - L3  Answers of one message go out whole: a message is appended to the buffer or not at all.
//! - L4  An unknown user, a user without password and a wrong password look the same to the client.
//! - L5  pg_hba.conf and the TLS key are read by the postmaster; a child never opens them to let somebody in.
//!
//! C counterpart: src/backend/libpq, and `ProcessStartupPacket` of postmaster.c.

pub mod auth; // 6. the proof
pub mod hba; // 5. who may come in how
mod hostname;
pub mod message; // 1. what goes over the wire
pub mod port; // 2. the connection
pub mod startup; // 3. what the client wants
pub mod tls; // 4. the same, encrypted

#[cfg(test)]
mod testing;

pub use port::{Direction, Incoming, Port, WaitPolicy};
