//! What a session does while its client keeps it waiting.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

use common::SqlState;
use elog::{Result, fatal};
use shmem::{WaitEvent, Wake};

/// What the connection waits to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Until the client has sent something.
    Read,
    /// Until the client has taken something.
    Write,
}

/// What ended one wait; none of them set means that the socket is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waited {
    /// The process's latch was set (and is reset again).
    pub latch_set: bool,
    /// The postmaster is gone.
    pub postmaster_died: bool,
}

/// The decisions that pqcomm leaves to the session: C has them in `ProcessClientReadInterrupt`,
/// `ProcessClientWriteInterrupt` and, for the postmaster's death, in `secure_read`.
///
/// An error from any of them ends the read or write that was waiting and is passed up.
pub trait WaitPolicy {
    /// Called before each attempt to read and whenever the latch was set while waiting. Cheap when nothing
    /// has happened.
    ///
    /// # Errors
    /// If the session must not go on waiting.
    fn interrupts(&mut self, waiting_to: Direction) -> Result<()>;

    /// The postmaster has died while we waited. `Ok` means to go on without one; then this is not called again
    /// on that connection.
    ///
    /// # Errors
    /// If the session is to end.
    fn postmaster_died(&mut self, waiting_to: Direction) -> Result<()>;

    /// The moment at which waiting ends with [`WaitPolicy::deadline_passed`].
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Called when the deadline has passed.
    ///
    /// # Errors
    /// Unless told otherwise FATAL 57014 `canceling authentication due to timeout`.
    fn deadline_passed(&mut self) -> Result<()> {
        Err(fatal!(SqlState::QUERY_CANCELED, "canceling authentication due to timeout"))
    }

    /// Called right before (`begins`) and right after each wait.
    fn waiting(&mut self, waiting_to: Direction, begins: bool) {
        let _ = (waiting_to, begins);
    }

    /// Appends reports for the client that are not in the port's buffer yet: a long answer takes them along where they
    /// happened.
    fn take_reports(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }

    /// Waits for the socket, the latch, the postmaster's death and the deadline.
    ///
    /// # Errors
    /// Those of [`WaitPolicy::deadline_passed`].
    fn wait(
        &mut self,
        socket: BorrowedFd<'_>,
        waiting_to: Direction,
        watch_postmaster: bool,
    ) -> Result<Waited> {
        let (mut events, event) = match waiting_to {
            Direction::Read => (Wake::SOCKET_READABLE, WaitEvent::CLIENT_READ),
            Direction::Write => (Wake::SOCKET_WRITEABLE, WaitEvent::CLIENT_WRITE),
        };
        events |= Wake::LATCH_SET;
        if watch_postmaster {
            events |= Wake::POSTMASTER_DEATH;
        }
        let timeout = self.deadline().map(|at| at.saturating_duration_since(Instant::now()));
        self.waiting(waiting_to, true);
        let woken = shmem::latch::wait_socket(socket.as_raw_fd(), events, timeout, event);
        self.waiting(waiting_to, false);
        if woken.contains(Wake::LATCH_SET) {
            shmem::latch::reset();
        }
        if woken.contains(Wake::TIMEOUT) {
            self.deadline_passed()?;
        }
        Ok(Waited {
            latch_set: woken.contains(Wake::LATCH_SET),
            postmaster_died: woken.contains(Wake::POSTMASTER_DEATH),
        })
    }
}
