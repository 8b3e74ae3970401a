//! What a freshly forked child is told by its parent.
//!
//! The postmaster knows a table of [`ChildMain`] functions, one a kind, and hands each of them one
//! [`ChildStart`]. Everything else a child needs it inherits: settings, the parsed hba file, the shared
//! segment, all at the same addresses.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use common::BackendType;

/// The entry point of one kind of process. It never returns: it ends in [`crate::exit::proc_exit`].
pub type ChildMain = fn(ChildStart) -> !;

/// The facts of one fork.
#[derive(Debug)]
pub struct ChildStart {
    /// What to become. A dead-end child is a [`BackendType::Backend`] whose `can_accept` is not `Ok`.
    pub kind: BackendType,
    /// Postmaster child slot, 1-based; 0 for kinds that have none. C: `MyPMChildSlot`.
    pub slot: i32,
    /// What a cancel request must present; 0 for kinds that no client cancels. C: `MyCancelKey`.
    pub cancel_key: i32,
    /// The accepted connection of a client backend.
    pub client: Option<ClientSocket>,
    /// Whether the session may begin, and if not, why.
    pub can_accept: CanAccept,
    /// DETAIL for a client that may not begin because the server stops: what it waits for. Read by somebody who has not
    /// said who he is. `None` for everybody else, and in the first moment of a stop.
    pub detail: Option<String>,
}

/// An accepted connection.
#[derive(Debug)]
pub struct ClientSocket {
    /// The socket; closed on exec, still blocking.
    pub fd: OwnedFd,
    /// Where the client is.
    pub peer: PeerAddr,
}

/// The client's address as `accept` gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAddr {
    /// A Unix-domain socket: `[local]`.
    Unix,
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
}

/// The postmaster's verdict over a new connection. C: `CAC_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanAccept {
    /// Come in.
    Ok,
    /// `the database system is starting up`
    Startup,
    /// `the database system is shutting down`
    Shutdown,
    /// `the database system is in recovery mode`
    Recovery,
    /// `the database system is not yet accepting connections`; with hot standby off, "not accepting".
    NotConsistent,
    /// `sorry, too many clients already`
    TooMany,
}

/// Becomes the child: forgets what was the parent's, takes the new identity, runs `main`. Called by the
/// postmaster in the new process with all signals blocked. C: `InitPostmasterChild`.
///
/// A Rust panic that nobody caught ends here as `abort`, so that the postmaster sees a crash.
pub fn run(main: ChildMain, start: ChildStart) -> ! {
    crate::exit::reset();
    crate::interrupt::clear_all();
    crate::globals::become_process(start.kind, start.cancel_key);
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| -> () { main(start) }));
    std::process::abort()
}
