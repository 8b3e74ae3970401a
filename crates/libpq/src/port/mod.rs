//! The connection: a socket, two buffers, and what is known about the other end.
//!
//! The socket itself stays in blocking mode; every call on it says `MSG_DONTWAIT`, which saves the two calls
//! that would change its mode. Where a call would block, the [`WaitPolicy`] waits, on the socket, the process's
//! latch and the postmaster's life at once, so a session that sits in `recv` can still be told to leave.
//!
//! C counterpart: libpq/pqcomm.c, libpq/be-secure.c, and `Port` of libpq/libpq-be.h.

mod policy; // 1. how to wait
mod recv; // 2. reading messages
mod send; // 3. sending them

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use elog::{Result, ereport};
use miscinit::child::{ClientSocket, PeerAddr};
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, sockopt};

use crate::hba::HbaLine;
use crate::hostname::RemoteName;
use crate::tls;
pub use policy::{Direction, WaitPolicy, Waited};
pub use recv::Incoming;
use recv::ReceiveBuffer;
pub(crate) use recv::protocol_violation;
use send::SendBuffer;

/// One client connection. C: `Port`, with the buffers that pqcomm.c keeps in globals.
pub struct Port {
    socket: OwnedFd,
    peer: PeerAddr,
    received: ReceiveBuffer,
    to_send: SendBuffer,
    tls: Option<Box<tls::Session>>,
    /// False once the policy decided to go on without a postmaster: that event stays ready for ever.
    watch_postmaster: bool,
    /// A failed send has been reported; nothing more will be sent.
    lost: bool,
    /// The client asked for a version below 3: errors go out as a line of text.
    pub(crate) speaks_old_protocol: bool,
    /// What name lookups of pg_hba.conf found out. C: `remote_hostname`, `remote_hostname_resolv`.
    pub(crate) remote_name: RemoteName,
    /// The line of pg_hba.conf that matched. C: `hba`.
    pub hba: Option<Arc<HbaLine>>,
    /// Who the client proved to be, if the method proves anything. C: `authn_id`.
    pub authn_id: Option<String>,
}

impl Port {
    /// Takes over an accepted connection. C: `pq_init`, and the socket options of `StreamConnection`.
    pub fn new(client: ClientSocket) -> Port {
        let port = Port {
            socket: client.fd,
            peer: client.peer,
            received: ReceiveBuffer::default(),
            to_send: SendBuffer::default(),
            tls: None,
            watch_postmaster: true,
            lost: false,
            speaks_old_protocol: false,
            remote_name: RemoteName::default(),
            hba: None,
            authn_id: None,
        };
        if let PeerAddr::Tcp(_) = port.peer {
            port.set_tcp_options();
        }
        port
    }

    /// No delay for small answers; a vanished client is noticed. Failures are logged and otherwise harmless.
    fn set_tcp_options(&self) {
        let set = |name: &str, result: nix::Result<()>| {
            if let Err(errno) = result {
                ereport!(Log, "setsockopt({name}) failed: {}", elog::errno_text(errno));
            }
        };
        set("TCP_NODELAY", socket::setsockopt(&self.socket, sockopt::TcpNoDelay, &true));
        set("SO_KEEPALIVE", socket::setsockopt(&self.socket, sockopt::KeepAlive, &true));
        // 0 is the system's own value and costs no call.
        let positive = |value: i32| u32::try_from(value).ok().filter(|&value| value > 0);
        if let Some(secs) = positive(guc::vars::TCP_KEEPALIVES_IDLE.get()) {
            set("TCP_KEEPIDLE", socket::setsockopt(&self.socket, sockopt::TcpKeepIdle, &secs));
        }
        if let Some(secs) = positive(guc::vars::TCP_KEEPALIVES_INTERVAL.get()) {
            set("TCP_KEEPINTVL", socket::setsockopt(&self.socket, sockopt::TcpKeepInterval, &secs));
        }
        if let Some(count) = positive(guc::vars::TCP_KEEPALIVES_COUNT.get()) {
            set("TCP_KEEPCNT", socket::setsockopt(&self.socket, sockopt::TcpKeepCount, &count));
        }
        if let Some(millis) = positive(guc::vars::TCP_USER_TIMEOUT.get()) {
            set("TCP_USER_TIMEOUT", socket::setsockopt(&self.socket, sockopt::TcpUserTimeout, &millis));
        }
    }

    /// The socket, to wait for it together with something else.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Where the client is.
    pub fn peer(&self) -> PeerAddr {
        self.peer
    }

    /// The client's address; `None` over a Unix socket.
    pub fn remote_ip(&self) -> Option<IpAddr> {
        match self.peer {
            PeerAddr::Unix => None,
            PeerAddr::Tcp(address) => Some(address.ip()),
        }
    }

    /// The client's address as log lines and messages show it: a number, or `[local]`.
    pub fn remote_host(&self) -> String {
        self.remote_ip().map_or_else(|| "[local]".to_owned(), |ip| ip.to_string())
    }

    /// The client's port number as text; empty over a Unix socket.
    pub fn remote_port(&self) -> String {
        match self.peer {
            PeerAddr::Unix => String::new(),
            PeerAddr::Tcp(address) => address.port().to_string(),
        }
    }

    /// The name behind the address, looked up on the first call; the number if it has none. Only for
    /// `log_hostname`: the lookup blocks.
    pub fn remote_host_name(&mut self) -> String {
        let ip = self.remote_ip();
        ip.and_then(|ip| self.remote_name.reverse(ip).map(str::to_owned))
            .unwrap_or_else(|| self.remote_host())
    }

    /// True when what goes over the wire is encrypted. C: `ssl_in_use`.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The facts for `pg_stat_ssl` and the log; `None` without TLS.
    pub fn tls_info(&self) -> Option<tls::Info> {
        self.tls.as_ref().map(|session| session.info())
    }

    pub(crate) fn tls(&self) -> Option<&tls::Session> {
        self.tls.as_deref()
    }

    /// Encrypts the connection from here on. C: `secure_open_server`.
    ///
    /// Returns false, after logging why, if the handshake failed.
    ///
    /// # Errors
    /// What the policy decides while waiting.
    pub(crate) fn start_tls(&mut self, loaded: &tls::Loaded, policy: &mut dyn WaitPolicy) -> Result<bool> {
        let mut session = match tls::Session::new(loaded) {
            Ok(session) => session,
            Err(text) => {
                tls::log_failed_accept(&format!("could not initialize SSL connection: {text}"));
                return Ok(false);
            }
        };
        loop {
            match session.handshake(&self.socket) {
                Ok(tls::Handshake::Done) => break,
                Ok(tls::Handshake::Blocked(direction)) => self.wait(direction, policy)?,
                Err(text) => {
                    tls::log_failed_accept(&format!("could not accept SSL connection: {text}"));
                    return Ok(false);
                }
            }
        }
        self.tls = Some(Box::new(session));
        Ok(true)
    }

    /// True while the client is there as far as the kernel knows; false once it has closed its end, even if
    /// unread messages are waiting before the end. C: `pq_check_connection`.
    pub fn check_connection(&self) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let closed = PollFlags::from_bits_retain(libc::POLLRDHUP) | PollFlags::POLLHUP | PollFlags::POLLERR;
        let mut fds = [PollFd::new(self.socket.as_fd(), closed)];
        // Nothing but the end was asked for, so any answer is that.
        !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
    }

    #[cfg(test)]
    pub(crate) fn pretend_peer(&mut self, peer: PeerAddr) {
        self.peer = peer;
    }

    /// Waits until the socket is ready, once. The caller tries its call again whatever happened.
    fn wait(&mut self, direction: Direction, policy: &mut dyn WaitPolicy) -> Result<()> {
        let waited = policy.wait(self.socket.as_fd(), direction, self.watch_postmaster)?;
        if waited.postmaster_died && self.watch_postmaster {
            policy.postmaster_died(direction)?;
            self.watch_postmaster = false;
        }
        if waited.latch_set {
            policy.interrupts(direction)?;
        }
        Ok(())
    }

    /// Reads what is there. `Ok(0)` is the end of the stream.
    fn try_receive(&mut self, target: &mut [u8]) -> Result<usize, TryError> {
        match &mut self.tls {
            Some(session) => session.read(&self.socket, target),
            None => loop {
                match socket::recv(self.socket.as_raw_fd(), target, MsgFlags::MSG_DONTWAIT) {
                    Err(Errno::EINTR) => {}
                    result => return result.map_err(TryError::from),
                }
            },
        }
    }
}

/// Why a call on the socket did not do its work.
#[derive(Debug)]
pub(crate) enum TryError {
    /// It would block.
    Blocked(Direction),
    /// The system's error.
    Os(Errno),
    /// TLS itself failed.
    Tls(String),
}

impl From<Errno> for TryError {
    fn from(errno: Errno) -> TryError {
        // The direction is corrected by the sender; a plain recv only ever waits to read.
        if errno == Errno::EAGAIN { TryError::Blocked(Direction::Read) } else { TryError::Os(errno) }
    }
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port").field("peer", &self.peer).field("encrypted", &self.is_encrypted()).finish()
    }
}

#[cfg(test)]
mod tests;
