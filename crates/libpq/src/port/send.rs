//! Sending: messages are collected in one buffer and leave together. A large one that is made while nothing else waits, as WAL
//! is for a standby, is filled in where it is and leaves from there.

use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};

use common::SqlState;
use elog::{PgError, Result, Severity, fatal};
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags};

use super::recv::{commerror, protocol_violation};
use super::{Direction, Port, TryError, WaitPolicy};
use crate::message::{self, reply};
use crate::tls;

/// From this size on, collected messages are sent without being asked.
const SEND_THRESHOLD: usize = 16 * 1024;
/// A buffer that has grown beyond this is given back once it is empty.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Messages on their way out.
#[derive(Default)]
pub(super) struct SendBuffer {
    bytes: Vec<u8>,
    /// So many of them have left.
    sent: usize,
    /// Goes first. Kept at its size, so that filling it in again costs nothing.
    direct: Vec<u8>,
    /// What is still to be sent of it: empty, but while a message waits in it.
    direct_left: Range<usize>,
}

impl SendBuffer {
    fn has_direct(&self) -> bool {
        !self.direct_left.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.sent >= self.bytes.len() && !self.has_direct()
    }
}

impl Port {
    /// Room for a message of `length` bytes, type and length word included, that is to go by itself; what is in it is
    /// whatever was there before. It goes with [`Port::send_direct`]; until then it does not exist.
    ///
    /// Only while nothing waits to be sent: what is appended to [`Port::out`] later goes behind it.
    pub fn direct_buffer(&mut self, length: usize) -> &mut [u8] {
        debug_assert!(self.to_send.is_empty(), "it would overtake what waits");
        let direct = &mut self.to_send.direct;
        if direct.len() < length {
            direct.resize(length, 0);
        }
        &mut direct[..length]
    }

    /// Lets the first `length` bytes of [`Port::direct_buffer`] go, with the next flush.
    pub fn send_direct(&mut self, length: usize) {
        debug_assert!(self.to_send.is_empty() && length <= self.to_send.direct.len());
        self.to_send.direct_left = 0..length.min(self.to_send.direct.len());
    }

    /// Gives the memory of [`Port::direct_buffer`] back, unless a message still waits in it.
    pub fn drop_direct_buffer(&mut self) {
        if !self.to_send.has_direct() {
            self.to_send.direct = Vec::new();
        }
    }

    /// Where messages are appended, whole (L3). Nothing leaves before [`Port::flush`] or
    /// [`Port::flush_if_large`].
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.to_send.bytes
    }

    /// Sends everything and waits until the kernel has taken it. C: `pq_flush`.
    ///
    /// # Errors
    /// FATAL 08006 `connection to client lost`; what the policy decides while waiting.
    pub fn flush(&mut self, policy: &mut dyn WaitPolicy) -> Result<()> {
        loop {
            match self.try_flush() {
                Ok(()) => return Ok(()),
                Err(TryError::Blocked(direction)) => self.wait(direction, policy)?,
                Err(error) => return Err(self.connection_lost(error)),
            }
        }
    }

    /// Sends if enough has been collected; call it after each row. C: what `internal_putbytes` does.
    ///
    /// # Errors
    /// As [`Port::flush`].
    #[inline]
    pub fn flush_if_large(&mut self, policy: &mut dyn WaitPolicy) -> Result<()> {
        if self.to_send.bytes.len() < SEND_THRESHOLD { Ok(()) } else { self.flush(policy) }
    }

    /// Sends what can be sent without waiting. C: `pq_flush_if_writable`.
    ///
    /// # Errors
    /// FATAL 08006 `connection to client lost`.
    pub fn flush_if_writable(&mut self) -> Result<()> {
        match self.try_flush() {
            Ok(()) | Err(TryError::Blocked(_)) => Ok(()),
            Err(error) => Err(self.connection_lost(error)),
        }
    }

    /// True if something collected has not been sent. C: `pq_is_send_pending`.
    pub fn is_send_pending(&self) -> bool {
        !self.to_send.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Bytes that wait to be sent: those collected here, not yet encrypted; at least 1 if something waits at all.
    pub fn send_pending_bytes(&self) -> usize {
        let collected = self.to_send.bytes.len().saturating_sub(self.to_send.sent);
        let bytes = collected + self.to_send.direct_left.len();
        bytes.max(usize::from(self.is_send_pending()))
    }

    /// True once a send has failed. C: `ClientConnectionLost`.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Appends an error or notice, whichever its severity makes it. C: `send_message_to_frontend`.
    pub fn report(&mut self, report: &PgError) {
        if self.speaks_old_protocol {
            // A client from before 2003 gets at least a line it can show.
            self.out().extend_from_slice(b"E");
            reply::string(self.out(), &format!("{}:  {}\n", report.severity.word(), report.message));
        } else if report.severity >= Severity::Error {
            message::report::error_response(self.out(), report);
        } else {
            message::report::notice_response(self.out(), report);
        }
    }

    fn try_flush(&mut self) -> Result<(), TryError> {
        if self.lost {
            self.to_send.bytes.clear();
            self.to_send.direct_left = 0..0;
            return Err(TryError::Os(Errno::EPIPE));
        }
        while self.to_send.has_direct() {
            let left = self.to_send.direct_left.clone();
            let count = send_some(&mut self.tls, &self.socket, &self.to_send.direct[left])?;
            self.to_send.direct_left.start += count;
        }
        while self.to_send.sent < self.to_send.bytes.len() {
            let rest = &self.to_send.bytes[self.to_send.sent..];
            self.to_send.sent += send_some(&mut self.tls, &self.socket, rest)?;
        }
        self.to_send.sent = 0;
        self.to_send.bytes.clear();
        if self.to_send.bytes.capacity() > KEPT_CAPACITY {
            self.to_send.bytes = Vec::new();
        }
        match &mut self.tls {
            Some(session) => session.flush(&self.socket),
            None => Ok(()),
        }
    }

    /// Logs a failed send, once, and drops what was to be sent. C: `internal_flush`, and
    /// `ClientConnectionLost` in `ProcessInterrupts`.
    fn connection_lost(&mut self, error: TryError) -> PgError {
        if !self.lost {
            match error {
                TryError::Os(errno) => commerror(errno, "could not send data to client").report(),
                TryError::Tls(text) => protocol_violation(&format!("SSL error: {text}")).report(),
                TryError::Blocked(_) => {}
            }
        }
        self.lost = true;
        self.to_send = SendBuffer::default();
        fatal!(SqlState::CONNECTION_FAILURE, "connection to client lost")
    }
}

/// One attempt; 0 if a signal came first.
fn send_some(tls: &mut Option<Box<tls::Session>>, socket: &OwnedFd, bytes: &[u8]) -> Result<usize, TryError> {
    match tls {
        Some(session) => session.write(socket, bytes),
        // MSG_NOSIGNAL: a client that left is an error here, not a SIGPIPE.
        None => {
            match socket::send(socket.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => Ok(0),
                Err(Errno::EAGAIN) => Err(TryError::Blocked(Direction::Write)),
                result => Ok(result?),
            }
        }
    }
}
