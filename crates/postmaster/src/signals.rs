//! Signals to the postmaster, read like any other input.
//!
//! All signals stay blocked for the life of the process and arrive through one descriptor; so there is no
//! handler that could interrupt anything, and none to restore in a child. C blocks them except in `select`.

use std::os::fd::{AsFd, BorrowedFd};

use common::SqlState;
use elog::{Result, errno_text, fatal};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What the postmaster listens to. SIGUSR2 is there to be swallowed: children may send it by mistake.
const LISTENED: [Signal; 7] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCHLD,
];

/// What it and its children ignore from birth. A file that has become too large is an error of `write`, not
/// a death. C: the `SIG_IGN`s in `PostmasterMain`.
const IGNORED: [Signal; 6] =
    [Signal::SIGALRM, Signal::SIGPIPE, Signal::SIGURG, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGXFSZ];

/// Size of `struct signalfd_siginfo`; its first four bytes are the signal's number.
const SIGINFO_LEN: usize = 128;

/// The descriptor.
pub(crate) struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks everything and begins to listen.
    ///
    /// # Errors
    /// FATAL if the system has no descriptor left.
    pub(crate) fn install() -> Result<Signals> {
        miscinit::signals::block_all();
        for signal in LISTENED {
            // Whoever started us may have had them ignored (nohup); an ignored SIGCHLD would reap for us.
            set(signal, SigHandler::SigDfl);
        }
        for signal in IGNORED {
            set(signal, SigHandler::SigIgn);
        }
        let mask: SigSet = LISTENED.into_iter().collect();
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let fd = SignalFd::with_flags(&mask, flags)
            .map_err(|e| fatal!(SqlState::INTERNAL_ERROR, "could not create signalfd: {}", errno_text(e)))?;
        Ok(Signals { fd })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The signals that have come, lowest number first, each once. One system call for all of them.
    pub(crate) fn read(&self) -> Vec<Signal> {
        let mut buffer = [0u8; SIGINFO_LEN * LISTENED.len()];
        let len = nix::unistd::read(&self.fd, &mut buffer).unwrap_or(0);
        let number = |info: &[u8]| info.first_chunk::<4>().map(|bytes| i32::from_ne_bytes(*bytes));
        let numbers = buffer[..len].chunks_exact(SIGINFO_LEN).filter_map(number);
        numbers.filter_map(|number| Signal::try_from(number).ok()).collect()
    }
}

fn set(signal: Signal, handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler function is installed, only the default or nothing.
    let result = unsafe { sigaction(signal, &action) };
    debug_assert!(result.is_ok(), "sigaction({signal}) cannot fail for a catchable signal");
}
