//! Sending: messages are collected in one buffer and leave together.

use std::os::fd::AsRawFd;

use common::SqlState;
use elog::{PgError, Result, Severity, fatal};
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags};

use super::recv::{commerror, protocol_violation};
use super::{Direction, Port, TryError, WaitPolicy};
use crate::message::{self, reply};

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
}

impl Port {
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
        self.to_send.sent < self.to_send.bytes.len() || self.tls.as_ref().is_some_and(|tls| tls.wants_write())
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
            return Err(TryError::Os(Errno::EPIPE));
        }
        while self.to_send.sent < self.to_send.bytes.len() {
            let rest = &self.to_send.bytes[self.to_send.sent..];
            self.to_send.sent += match &mut self.tls {
                Some(session) => session.write(&self.socket, rest)?,
                // MSG_NOSIGNAL: a client that left is an error here, not a SIGPIPE.
                None => match socket::send(
                    self.socket.as_raw_fd(),
                    rest,
                    MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
                ) {
                    Err(Errno::EINTR) => 0,
                    Err(Errno::EAGAIN) => return Err(TryError::Blocked(Direction::Write)),
                    result => result?,
                },
            };
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
        self.to_send.sent = 0;
        self.to_send.bytes = Vec::new();
        fatal!(SqlState::CONNECTION_FAILURE, "connection to client lost")
    }
}
