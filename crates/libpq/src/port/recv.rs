//! Reading: bytes into an 8 kB buffer, messages out of it.

use std::mem;

use common::SqlState;
use elog::{PgError, Result, pg_error};
use nix::errno::Errno;

use super::{Direction, Port, TryError, WaitPolicy};
use crate::message;

/// C: `PQ_RECV_BUFFER_SIZE`.
const RECEIVE_BUFFER_SIZE: usize = 8192;
/// A message body grows by no more than what it has already received, and by this at least, so a length
/// word alone allocates nothing (L1).
const GROWTH_STEP: usize = 64 * 1024;
/// After so many reads that began with a wait, one tries the socket first again.
const PROBE_INTERVAL: u8 = 16;

/// Bytes received and not yet taken.
#[derive(Default)]
pub(super) struct ReceiveBuffer {
    /// Allocated with the first read; a child that only turns a client away never needs it.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// While above 0, waits are expected: a client in a request-response rhythm is never ready when we ask.
    waits_expected: u8,
    /// The last attempt of [`Port::try_read_message`] to read took all there was.
    drained: bool,
}

/// What [`Port::read_message`] came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A message of this type; its body is in the caller's buffer.
    Message(u8),
    /// The client closed the connection between two messages. Nothing has been logged.
    Eof,
    /// The connection broke or lost its message boundaries. That has been logged.
    Broken,
}

enum Filled {
    Yes,
    Eof,
}

impl Port {
    /// Reads one message: its type is returned, its body replaces what is in `body`. Pass the same buffer each
    /// time; in the steady state nothing is allocated.
    /// C: `SocketBackend`, `pq_getmessage`.
    ///
    /// # Errors
    /// FATAL 08P01 for an unknown message type, and what the policy decides while waiting.
    pub fn read_message(&mut self, body: &mut Vec<u8>, policy: &mut dyn WaitPolicy) -> Result<Incoming> {
        self.read_limited(body, policy, message::size_limit)
    }

    /// A message that is here as a whole, or `None`: a client that sends half of one and stops holds nobody up. (Only one that
    /// does not fit into the buffer is waited for.) The limit is the caller's, who may refuse a type as soon as it is known.
    /// C: `pq_getbyte_if_available` and `pq_getmessage`, which waits.
    ///
    /// # Errors
    /// What `limit` says, and what the policy decides while waiting.
    pub fn try_read_message(
        &mut self,
        body: &mut Vec<u8>,
        policy: &mut dyn WaitPolicy,
        limit: impl Fn(u8) -> Result<usize>,
    ) -> Result<Option<Incoming>> {
        while !self.received.has_message(&limit)? {
            self.received.make_room();
            let mut bytes = mem::take(&mut self.received.bytes);
            let result = self.try_receive(&mut bytes[self.received.end..]);
            self.received.bytes = bytes;
            match result {
                // The reading below meets the end too, and knows what to say of it.
                Ok(0) => break,
                Ok(count) => {
                    self.received.end += count;
                    // TLS may hold back more than it has given.
                    self.received.drained =
                        self.tls.is_none() && self.received.end < self.received.bytes.len();
                }
                Err(TryError::Blocked(_)) => return Ok(None),
                Err(error) => {
                    error.receive_report().report();
                    return Ok(Some(Incoming::Broken));
                }
            }
        }
        self.read_limited(body, policy, limit).map(Some)
    }

    /// Another [`Port::try_read_message`] would find nothing unless it has come since the last one, which is what a wait for the
    /// socket is for: one system call saved.
    pub fn is_drained(&self) -> bool {
        self.received.drained && self.received.available() == 0
    }

    /// The same with other limits: during authentication only `p` is expected.
    pub(crate) fn read_limited(
        &mut self,
        body: &mut Vec<u8>,
        policy: &mut dyn WaitPolicy,
        limit: impl FnOnce(u8) -> Result<usize>,
    ) -> Result<Incoming> {
        body.clear();
        if body.capacity() > 4 * GROWTH_STEP {
            // One big message should not cost an idle session its memory for ever.
            *body = Vec::new();
        }
        if !self.fill_to(1, policy)? {
            return Ok(Incoming::Eof);
        }
        let kind = self.received.bytes[self.received.start];
        let limit = limit(kind)?;
        if !self.fill_to(5, policy)? {
            protocol_violation("unexpected EOF within message length word").report();
            return Ok(Incoming::Broken);
        }
        let head = self.received.take(5);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length < 4 || length > limit {
            protocol_violation("invalid message length").report();
            return Ok(Incoming::Broken);
        }
        if !self.read_body(body, length - 4, policy)? {
            protocol_violation("incomplete message from client").report();
            return Ok(Incoming::Broken);
        }
        Ok(Incoming::Message(kind))
    }

    /// Appends exactly `length` bytes to `body`; false at the end of the stream.
    fn read_body(&mut self, body: &mut Vec<u8>, length: usize, policy: &mut dyn WaitPolicy) -> Result<bool> {
        loop {
            let missing = length - body.len();
            let buffered = self.received.available().min(missing);
            body.extend_from_slice(self.received.take(buffered));
            let missing = missing - buffered;
            if missing == 0 {
                return Ok(true);
            }
            if missing < RECEIVE_BUFFER_SIZE {
                if let Filled::Eof = self.fill(policy)? {
                    return Ok(false);
                }
                continue;
            }
            // The rest is big: straight into its place, without a stop in our buffer.
            let have = body.len();
            body.resize(have + missing.min(have.max(GROWTH_STEP)), 0);
            let received = self.receive(&mut body[have..], policy);
            body.truncate(have + *received.as_ref().unwrap_or(&0));
            if received? == 0 {
                return Ok(false);
            }
        }
    }

    /// Reads exactly `length` bytes of a start-up packet; how many there were if the stream ended early.
    pub(crate) fn read_exactly(
        &mut self,
        length: usize,
        policy: &mut dyn WaitPolicy,
    ) -> Result<std::result::Result<&[u8], usize>> {
        debug_assert!(length <= RECEIVE_BUFFER_SIZE);
        if self.fill_to(length, policy)? {
            return Ok(Ok(self.received.take(length)));
        }
        Ok(Err(self.received.available()))
    }

    /// Reads `length` bytes that need not fit our buffer; `None` if the stream ended early.
    pub(crate) fn read_packet(
        &mut self,
        length: usize,
        policy: &mut dyn WaitPolicy,
    ) -> Result<Option<Vec<u8>>> {
        let mut packet = Vec::new();
        Ok(self.read_body(&mut packet, length, policy)?.then_some(packet))
    }

    /// True if bytes have been received that nobody has taken. C: `pq_buffer_has_data`.
    pub fn has_buffered_input(&self) -> bool {
        self.received.available() > 0
    }

    /// Makes `count` bytes available; false if the stream ends before.
    fn fill_to(&mut self, count: usize, policy: &mut dyn WaitPolicy) -> Result<bool> {
        while self.received.available() < count {
            if let Filled::Eof = self.fill(policy)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One read into the buffer. C: `pq_recvbuf`.
    fn fill(&mut self, policy: &mut dyn WaitPolicy) -> Result<Filled> {
        self.received.make_room();
        // Moved out so that the socket and the buffer can be borrowed at once.
        let mut bytes = mem::take(&mut self.received.bytes);
        let result = self.receive(&mut bytes[self.received.end..], policy);
        self.received.bytes = bytes;
        let count = result?;
        self.received.end += count;
        self.received.drained = false;
        Ok(if count == 0 { Filled::Eof } else { Filled::Yes })
    }

    /// Reads something, waiting for it if need be; 0 at the end of the stream, also after an error, which is
    /// logged here. C: `secure_read`.
    fn receive(&mut self, target: &mut [u8], policy: &mut dyn WaitPolicy) -> Result<usize> {
        policy.interrupts(Direction::Read)?;
        if self.received.waits_expected > 0 && self.tls.is_none() {
            // The answer to our last message is not here yet, or a wait that returns at once is all it costs.
            self.received.waits_expected -= 1;
            self.wait(Direction::Read, policy)?;
        }
        loop {
            match self.try_receive(target) {
                Ok(count) => return Ok(count),
                Err(TryError::Blocked(direction)) => {
                    self.received.waits_expected = PROBE_INTERVAL;
                    self.wait(direction, policy)?;
                }
                Err(error) => {
                    error.receive_report().report();
                    return Ok(0);
                }
            }
        }
    }
}

impl ReceiveBuffer {
    fn available(&self) -> usize {
        self.end - self.start
    }

    /// Whether the next message can be read now: it is here as a whole, has an impossible length, or is too long to be
    /// collected here.
    fn has_message(&self, limit: impl Fn(u8) -> Result<usize>) -> Result<bool> {
        let here = &self.bytes[self.start..self.end];
        let Some(kind) = here.first() else { return Ok(false) };
        let limit = limit(*kind)?;
        let &[_, a, b, c, d, ..] = here else { return Ok(false) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let is_refused = length < 4 || length > limit;
        Ok(is_refused || length >= RECEIVE_BUFFER_SIZE || here.len() > length)
    }

    /// The next `count` bytes, which must be available.
    fn take(&mut self, count: usize) -> &[u8] {
        let from = self.start;
        self.start += count;
        &self.bytes[from..self.start]
    }

    /// Moves what is left to the front; afterwards there is room behind it.
    fn make_room(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = vec![0; RECEIVE_BUFFER_SIZE];
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            // Only a packet longer than the buffer gets here (start-up packets go up to 10 kB).
            self.bytes.resize(self.end + RECEIVE_BUFFER_SIZE, 0);
        }
    }
}

/// A complaint for the log alone: the client would not understand it or is not there. C: `COMMERROR`.
pub(crate) fn protocol_violation(text: &str) -> PgError {
    pg_error!(LogServerOnly, SqlState::PROTOCOL_VIOLATION, "{text}")
}

impl TryError {
    /// What the log says about a failed read.
    fn receive_report(&self) -> PgError {
        match self {
            // A reset is how many a client says goodbye, but C complains too.
            TryError::Os(errno) => commerror(*errno, "could not receive data from client"),
            TryError::Tls(text) => protocol_violation(&format!("SSL error: {text}")),
            TryError::Blocked(_) => protocol_violation("could not receive data from client"),
        }
    }
}

/// The same for a failed call on the socket. C: `errcode_for_socket_access` and `%m`.
pub(crate) fn commerror(errno: Errno, what: &str) -> PgError {
    let sqlstate = match errno {
        Errno::EPIPE
        | Errno::ECONNRESET
        | Errno::ECONNABORTED
        | Errno::EHOSTDOWN
        | Errno::EHOSTUNREACH
        | Errno::ENETDOWN
        | Errno::ENETRESET
        | Errno::ENETUNREACH
        | Errno::ETIMEDOUT => SqlState::CONNECTION_FAILURE,
        _ => SqlState::INTERNAL_ERROR,
    };
    pg_error!(LogServerOnly, sqlstate, "{what}: {}", elog::errno_text(errno))
}
