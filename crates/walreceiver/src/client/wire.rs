//! The bytes of one connection: a socket that never blocks, perhaps encrypted, with a buffer in each direction.
//!
//! What has come is read into one large buffer, and a message is handed out as a piece of it: what the primary sends reaches
//! the file without another copy. The buffer grows only as what has arrived fills it.
//!
//! C counterpart: fe-misc.c (`pqReadData`, `pqSendSome`), `libpqrcv_PQgetResult` for the waits.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags};
use rustls::ClientConnection;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

use super::message::Message;
use super::{Attempt, Failure};

/// Room for several of the largest messages a walsender makes (128 kB), read with one call.
const INPUT_BYTES: usize = 1 << 20;
/// No message is longer. C: the allocation limit.
const MESSAGE_BYTES_MAX: usize = 0x3fff_ffff;
/// None of a server that has not let us in, which may be anybody. C: the limit for an error in `PQconnectPoll`.
const STRANGERS_BYTES_MAX: usize = 30_000;
/// No more is kept of what a server does not read.
const OUTPUT_BYTES_MAX: usize = 64 << 10;

/// What every wait says after the deadline.
pub(crate) const TIMEOUT: &str = "timeout expired";

const CLOSED: &str = "server closed the connection unexpectedly\n\
    \tThis probably means the server terminated abnormally\n\
    \tbefore or while processing the request.\n";

/// See the module page.
pub(crate) struct Wire {
    socket: OwnedFd,
    tls: Option<Box<ClientConnection>>,
    input: Vec<u8>,
    /// What of `input` has been read and not been handed out.
    start: usize,
    end: usize,
    output: Vec<u8>,
    /// The server has closed its side.
    eof: bool,
    /// Nothing can be sent any more.
    write_failed: bool,
    deadline: Option<Instant>,
    message_bytes_max: usize,
}

/// The socket as rustls wants it: blocking is an error of kind `WouldBlock`.
struct Nonblocking(RawFd);

impl Read for Nonblocking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match socket::recv(self.0, buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                result => return result.map_err(io::Error::from),
            }
        }
    }
}

impl Write for Nonblocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match socket::send(self.0, bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                result => return result.map_err(io::Error::from),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn blocked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

impl Wire {
    /// Over a connected socket. With a deadline, every wait until [`Wire::set_deadline`] ends there.
    pub(crate) fn new(socket: OwnedFd, deadline: Option<Instant>) -> Wire {
        Wire {
            socket,
            tls: None,
            input: Vec::new(),
            start: 0,
            end: 0,
            output: Vec::new(),
            eof: false,
            write_failed: false,
            deadline,
            message_bytes_max: STRANGERS_BYTES_MAX,
        }
    }

    /// The server has let us in: it may send long messages.
    pub(crate) fn trust(&mut self) {
        self.message_bytes_max = MESSAGE_BYTES_MAX;
    }

    /// Every wait from now on ends there; `None`: the server may be silent.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Is so much waiting to be sent that the server does not seem to read?
    pub(crate) fn is_clogged(&self) -> bool {
        self.output.len() >= OUTPUT_BYTES_MAX
    }

    /// To wait on. C: `PQsocket`.
    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Messages to be sent are appended here.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Is there something to send that the socket did not take yet?
    pub(crate) fn has_output(&self) -> bool {
        !self.write_failed
            && (!self.output.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write()))
    }

    pub(crate) fn tls(&self) -> Option<&ClientConnection> {
        self.tls.as_deref()
    }

    /// The server has closed the connection.
    pub(crate) fn is_closed(&self) -> bool {
        self.eof
    }

    /// Has something come that nobody has asked for yet?
    pub(crate) fn has_input(&self) -> bool {
        self.start < self.end
    }

    /// The next message, if it has come whole. C: `pqParseInput3`.
    ///
    /// # Errors
    /// If what has come cannot be one.
    pub(crate) fn next(&mut self) -> Attempt<Option<(u8, Range<usize>)>> {
        let bytes = &self.input[self.start..self.end];
        let Some((&[kind, a, b, c, d], _)) = bytes.split_first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(4..=self.message_bytes_max).contains(&length) || !kind.is_ascii_alphanumeric() {
            return Err(Failure::new(format!(
                "lost synchronization with server: got message type \"{}\", length {}",
                char::from(kind),
                length as i32
            )));
        }
        if bytes.len() < length + 1 {
            return Ok(None);
        }
        let from = self.start + 5;
        self.start += length + 1;
        Ok(Some((kind, from..self.start)))
    }

    /// The body that [`Wire::next`] told, until the next read.
    pub(crate) fn body(&self, range: Range<usize>) -> &[u8] {
        &self.input[range]
    }

    /// Takes one byte off what has come: the answer to a request for encryption.
    pub(crate) fn next_byte(&mut self) -> Option<u8> {
        let byte = *self.input[self.start..self.end].first()?;
        self.start += 1;
        Some(byte)
    }

    /// Reads what the socket has, with one call; false if that was nothing. C: `pqReadData`.
    ///
    /// # Errors
    /// If the connection is broken, or closed by the other side.
    pub(crate) fn read(&mut self) -> Attempt<bool> {
        self.make_room();
        let count = match &mut self.tls {
            None => Nonblocking(self.socket.as_raw_fd()).read(&mut self.input[self.end..]),
            Some(tls) => read_tls(tls, self.socket.as_raw_fd(), &mut self.input[self.end..]),
        };
        match count {
            Ok(0) => {
                self.eof = true;
                Err(Failure::new(if self.tls.is_some() { SSL_CLOSED } else { CLOSED }))
            }
            Ok(count) => {
                self.end += count;
                Ok(true)
            }
            Err(error) if blocked(&error) => Ok(false),
            Err(error) => {
                self.eof = true;
                Err(Failure::new(self.broken(&error)))
            }
        }
    }

    /// The text of a failed system call. C: at the end of `pqsecure_raw_read`.
    fn broken(&self, error: &io::Error) -> String {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPIPE | Errno::ECONNRESET) if self.tls.is_some() => {
                format!("SSL SYSCALL error: {}\n", elog::errno_text(error))
            }
            Some(Errno::EPIPE | Errno::ECONNRESET) => CLOSED.to_owned(),
            Some(_) => format!("could not receive data from server: {}\n", elog::errno_text(error)),
            None => format!("SSL error: {error}\n"),
        }
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.input.is_empty() {
            self.input.resize(INPUT_BYTES, 0);
        }
        // A message that began far behind would otherwise come in small pieces.
        if self.start > 0 && self.input.len() - self.end < INPUT_BYTES / 4 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.input.len() {
            let grown = self.input.len() * 2;
            self.input.resize(grown, 0);
        }
    }

    /// Sends as much as the socket takes; true if nothing is left to send. A connection that takes no more is no error here:
    /// the server may have said why before it went, and reading tells. C: `pqFlush`, and `write_failed`.
    pub(crate) fn flush_some(&mut self) -> bool {
        let fd = self.socket.as_raw_fd();
        let sent = match &mut self.tls {
            None => write_plain(fd, &mut self.output),
            Some(tls) => write_encrypted(tls, fd, &mut self.output),
        };
        match sent {
            Ok(()) => true,
            Err(error) if blocked(&error) => false,
            Err(_) => {
                self.output.clear();
                self.write_failed = true;
                true
            }
        }
    }

    /// Sends all that is to be sent, waiting as long as it takes.
    ///
    /// # Errors
    /// If the connection breaks while waiting; if this process must end.
    pub(crate) fn flush(&mut self, event: WaitEvent) -> Attempt<()> {
        while !self.flush_some() {
            // The other side may not read before we have read what it sends.
            let woken = self.wait(Wake::SOCKET_READABLE | Wake::SOCKET_WRITEABLE, event)?;
            if woken.contains(Wake::SOCKET_READABLE) {
                self.read()?;
                if self.end - self.start > INPUT_BYTES {
                    return Err(Failure::new("server sends, but does not take what it is sent\n"));
                }
            }
        }
        Ok(())
    }

    /// The next message, waiting as long as it takes.
    ///
    /// # Errors
    /// If the connection breaks, or this process must end.
    pub(crate) fn wait_for_message(&mut self, event: WaitEvent) -> Attempt<Message> {
        loop {
            if let Some((kind, range)) = self.next()? {
                return Ok(Message { kind, body: self.input[range].to_vec() });
            }
            self.read_or_wait(event)?;
        }
    }

    /// Reads, or waits until there is something to read. Also a server that never pauses does not keep us from an order to leave,
    /// or from the deadline.
    pub(crate) fn read_or_wait(&mut self, event: WaitEvent) -> Attempt<()> {
        if self.read()? {
            remaining(self.deadline)?;
            heed(latch::wait(Wake::LATCH_OR_DEATH, Some(Duration::ZERO), event))
        } else {
            self.wait(Wake::SOCKET_READABLE, event).map(drop)
        }
    }

    /// Waits for the socket. Meanwhile this process can be told to end; the death of the postmaster ends it at once.
    pub(crate) fn wait(&mut self, sockets: Wake, event: WaitEvent) -> Attempt<Wake> {
        wait(self.fd(), sockets, self.deadline, event)
    }

    /// Encrypts from now on, after the handshake. Nothing may have come in the clear behind the server's consent.
    ///
    /// # Errors
    /// Why the handshake failed.
    pub(crate) fn start_tls(&mut self, tls: ClientConnection) -> Attempt<()> {
        if self.has_input() {
            return Err(Failure::new("received unencrypted data after SSL response"));
        }
        let mut tls = Box::new(tls);
        let fd = self.fd();
        let failed = |why: String| Failure::new(format!("could not establish SSL connection: {why}"));
        loop {
            let mut wanted = Wake::SOCKET_READABLE;
            match flush_tls(&mut tls, fd) {
                Ok(()) => {}
                Err(error) if blocked(&error) => wanted |= Wake::SOCKET_WRITEABLE,
                Err(error) => return Err(failed(elog::errno_text(&error))),
            }
            if !tls.is_handshaking() && !tls.wants_write() {
                break;
            }
            match receive_tls(&mut tls, fd) {
                Ok(0) => return Err(failed("SSL SYSCALL error: EOF detected".into())),
                Ok(_) => continue,
                Err(error) if blocked(&error) => {}
                Err(error) if error.raw_os_error().is_some() => {
                    return Err(failed(elog::errno_text(&error)));
                }
                Err(error) => return Err(Failure::new(super::tls::describe(&error))),
            }
            self.wait(wanted, WaitEvent::LIBPQWALRECEIVER_CONNECT)?;
        }
        self.tls = Some(tls);
        Ok(())
    }

    /// Says goodbye, without waiting. C: `PQfinish`.
    pub(crate) fn close(mut self) {
        super::message::append(&mut self.output, b'X', |_| ());
        let _ = self.flush_some();
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = flush_tls(tls, self.socket.as_raw_fd());
        }
    }
}

const SSL_CLOSED: &str = "SSL connection has been closed unexpectedly\n";

/// See [`Wire::wait`].
pub(crate) fn wait(fd: RawFd, sockets: Wake, deadline: Option<Instant>, event: WaitEvent) -> Attempt<Wake> {
    loop {
        let timeout = remaining(deadline)?;
        let woken = latch::wait_socket(fd, Wake::LATCH_OR_DEATH | sockets, timeout, event);
        heed(woken)?;
        if woken.intersects(sockets) {
            return Ok(woken & sockets);
        }
    }
}

/// The time until the deadline, which is not over yet.
fn remaining(deadline: Option<Instant>) -> Attempt<Option<Duration>> {
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) { Err(Failure::new(TIMEOUT)) } else { Ok(left) }
}

/// Is this process to end?
fn heed(woken: Wake) -> Attempt<()> {
    if woken.postmaster_died() {
        miscinit::exit::proc_exit(1);
    }
    if woken.contains(Wake::LATCH_SET) {
        latch::reset();
        miscinit::interrupt::check()?;
    }
    Ok(())
}

fn write_plain(fd: RawFd, output: &mut Vec<u8>) -> io::Result<()> {
    let mut sent = 0;
    let result = loop {
        match output.get(sent..) {
            None | Some([]) => break Ok(()),
            Some(rest) => match Nonblocking(fd).write(rest) {
                Ok(count) => sent += count,
                Err(error) => break Err(error),
            },
        }
    };
    output.drain(..sent);
    result
}

fn write_encrypted(tls: &mut ClientConnection, fd: RawFd, output: &mut Vec<u8>) -> io::Result<()> {
    loop {
        flush_tls(tls, fd)?;
        if output.is_empty() {
            return Ok(());
        }
        let count = tls.writer().write(output)?;
        output.drain(..count);
    }
}

fn flush_tls(tls: &mut ClientConnection, fd: RawFd) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut Nonblocking(fd))?;
    }
    Ok(())
}

/// Takes encrypted bytes from the socket; 0 at its end.
fn receive_tls(tls: &mut ClientConnection, fd: RawFd) -> io::Result<usize> {
    let count = tls.read_tls(&mut Nonblocking(fd))?;
    if let Err(error) = tls.process_new_packets() {
        // An alert is ready that tells the server why.
        let _ = flush_tls(tls, fd);
        return Err(io::Error::other(error));
    }
    Ok(count)
}

fn read_tls(tls: &mut ClientConnection, fd: RawFd, target: &mut [u8]) -> io::Result<usize> {
    // As much as there is, so that the caller works on many messages at once; a record is 16 kB at most.
    let mut filled = 0;
    loop {
        match tls.reader().read(&mut target[filled..]) {
            Ok(0) => return Ok(filled),
            Ok(count) => {
                filled += count;
                continue;
            }
            Err(error) if blocked(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(filled),
            Err(error) => return Err(error),
        }
        match receive_tls(tls, fd) {
            Ok(0) => return Ok(filled),
            Ok(_) => {
                // A key update and the like want an answer.
                let _ = flush_tls(tls, fd);
            }
            // What came before counts, also if that was the last: the next read tells.
            Err(_) if filled > 0 => return Ok(filled),
            Err(error) => return Err(error),
        }
    }
}
