//! What the tests of this crate share: a port with a client at the other end of a socket pair, a policy that
//! only waits, and a look at what was logged.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use elog::Result;
use miscinit::child::{ClientSocket, PeerAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::port::{Direction, Port, WaitPolicy, Waited};

/// Waits for the socket and nothing else; a test that would hang fails after ten seconds.
pub(crate) struct Patient;

impl WaitPolicy for Patient {
    fn interrupts(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn postmaster_died(&mut self, _: Direction) -> Result<()> {
        Ok(())
    }

    fn wait(&mut self, socket: BorrowedFd<'_>, direction: Direction, _: bool) -> Result<Waited> {
        let events = match direction {
            Direction::Read => PollFlags::POLLIN,
            Direction::Write => PollFlags::POLLOUT,
        };
        let ready = poll(&mut [PollFd::new(socket, events)], PollTimeout::from(10_000_u16)).unwrap();
        assert_eq!(ready, 1, "nothing happened on the socket");
        Ok(Waited::default())
    }
}

/// The other end of a port.
pub(crate) struct Client(pub(crate) UnixStream);

pub(crate) fn port_pair() -> (Port, Client) {
    port_pair_from(PeerAddr::Unix)
}

/// The same, pretending that the client is somewhere else.
pub(crate) fn port_pair_from(peer: PeerAddr) -> (Port, Client) {
    let (server, client) = UnixStream::pair().unwrap();
    let mut port = Port::new(ClientSocket { fd: server.into(), peer: PeerAddr::Unix });
    port.pretend_peer(peer);
    (port, Client(client))
}

impl Client {
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    pub(crate) fn send_message(&mut self, kind: u8, body: &[u8]) {
        let mut out = Vec::new();
        crate::message::reply::message(&mut out, kind, |out| out.extend_from_slice(body));
        self.send(&out);
    }

    pub(crate) fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn receive_message(&mut self) -> (u8, Vec<u8>) {
        let head = self.receive(5);
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        (head[0], self.receive(length - 4))
    }

    pub(crate) fn receive_all(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end, too.
        let _ = self.0.read_to_end(&mut bytes);
        bytes
    }

    pub(crate) fn close_write(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

thread_local! {
    static LOGGED: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Runs `work` and returns what it logged: the first line of each report, without prefix and severity, and
/// each further line.
pub(crate) fn captured_log<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    fn collect(line: &[u8], _: elog::pipe::Destination) {
        let text = String::from_utf8_lossy(line);
        LOGGED.with_borrow_mut(|logged| {
            for line in text.lines() {
                logged.push(line.split_once(":  ").map_or(line, |(_, message)| message).to_owned());
            }
        });
    }
    elog::set_logger_writer(Some(collect));
    let result = work();
    elog::set_logger_writer(None);
    (result, LOGGED.take())
}
