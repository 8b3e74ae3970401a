//! Signals that must not end us before something is put in order: a Ctrl-C belongs to the server that starts, and a
//! question's file is taken back.
//!
//! Called by: `start`, `stop`, `forecast`. C counterpart: `trap_sigint_during_startup`, with a signalfd instead of a
//! handler: the signal stays pending, so that what comes after is what would have come at once.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::report::{Failure, Outcome};

/// While one exists, its signals interrupt [`Interrupt::sleep`] only. Programs started meanwhile inherit neither the
/// descriptor nor, since `Command` clears it before exec, the signal mask.
pub(crate) struct Interrupt {
    signals: SigSet,
    descriptor: SignalFd,
}

/// What ends a program from outside when its user wants it.
pub(crate) const FAREWELLS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

impl Interrupt {
    /// Holds these signals back.
    pub(crate) fn catch(signals: &[Signal]) -> Outcome<Interrupt> {
        let signals: SigSet = signals.iter().copied().collect();
        let failed =
            |error: nix::Error| Failure::new(format!("could not catch interrupts: {}", error.desc()));
        let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map_err(failed)?;
        signals.thread_block().map_err(failed)?;
        Ok(Interrupt { signals, descriptor })
    }

    /// Sleeps; says early whether one of the signals has come. It is still pending then.
    pub(crate) fn sleep(&self, duration: Duration) -> bool {
        let timeout = PollTimeout::try_from(duration).unwrap_or(PollTimeout::MAX);
        let mut wanted = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut wanted, timeout), Ok(1..))
    }

    /// Lets a signal that has come do what it does.
    pub(crate) fn release(&self) {
        let _ = self.signals.thread_unblock();
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.release();
    }
}
