//! Shell commands that the server is told to run: `archive_command`, `restore_command` and their kin.
//!
//! As system(3) does it: the command is run by `/bin/sh -c`, and meanwhile this process ignores SIGINT and SIGQUIT, which
//! are meant for the command then. Unlike with system(3), the caller is asked at each signal that set the latch whether
//! it wants to go on waiting: a startup process that is told to leave must not sit out a command that hangs.
//!
//! C counterpart: the calls of `system`, and `wait_result_to_str` and its siblings of common/wait_error.c.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::time::Duration;
use std::{fmt, io};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

/// How a command ended. C: the status of `wait`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl Outcome {
    /// It did what it was asked to.
    pub fn succeeded(self) -> bool {
        self == Outcome::Exited(0)
    }

    /// Ended by a signal, itself or a child of the shell. With `not_found` also the shell's 126 and 127, which are no
    /// answer of the command either. C: `wait_result_is_any_signal`.
    pub fn is_any_signal(self, not_found: bool) -> bool {
        match self {
            Outcome::Signaled(_) => true,
            Outcome::Exited(code) => code > if not_found { 125 } else { 128 },
        }
    }

    /// Ended by this signal, itself or a child of the shell. C: `wait_result_is_signal`.
    pub fn is_signal(self, signal: i32) -> bool {
        matches!(self, Outcome::Signaled(s) if s == signal)
            || matches!(self, Outcome::Exited(c) if c == 128 + signal)
    }

    /// From what `wait` told.
    pub fn from_status(status: std::process::ExitStatus) -> Outcome {
        match (status.code(), status.signal()) {
            (Some(code), _) => Outcome::Exited(code),
            (None, Some(signal)) => Outcome::Signaled(signal),
            (None, None) => Outcome::Exited(status.into_raw()),
        }
    }
}

/// C: `wait_result_to_str`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Outcome::Exited(126) => f.write_str("command not executable"),
            Outcome::Exited(127) => f.write_str("command not found"),
            Outcome::Exited(code) => write!(f, "child process exited with exit code {code}"),
            Outcome::Signaled(signal) => {
                write!(f, "child process was terminated by signal {signal}: {}", signal_text(signal))
            }
        }
    }
}

/// What glibc calls a signal. C: `pg_strsignal`.
pub fn signal_text(signal: i32) -> String {
    // SAFETY: strsignal returns a string that stays valid until its next call in this single-threaded process, or null.
    let text = unsafe {
        let text = libc::strsignal(signal);
        (!text.is_null()).then(|| std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned())
    };
    text.unwrap_or_else(|| "unrecognized signal".to_owned())
}

/// Replaces each `%x` in a command by what `value` has for `x`; `%%` becomes `%`, anything unknown stays as it is.
/// C: the loops in `RestoreArchivedFile`, `shell_archive_file` and `ExecuteRecoveryCommand`.
pub fn expand(command: &str, value: impl Fn(char) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(command.len());
    let mut chars = command.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            expanded.push(c);
            continue;
        }
        match chars.peek().copied() {
            Some('%') => expanded.push('%'),
            Some(name) => match value(name) {
                Some(text) => expanded.push_str(&text),
                None => {
                    expanded.push('%');
                    continue;
                }
            },
            None => {
                expanded.push('%');
                continue;
            }
        }
        chars.next();
    }
    expanded
}

/// Runs a command and waits for its end. `on_wakeup` is called at each setting of this process's latch meanwhile; it may
/// leave the process. The latch is set afterwards if it was at any time. C: `system`.
///
/// # Errors
/// If no process can be started.
pub fn run(command: &str, event: WaitEvent, on_wakeup: &mut dyn FnMut()) -> io::Result<Outcome> {
    // The shell's own complaints begin with the name it was called by, as with system(3).
    let mut child = Command::new("/bin/sh").arg0("sh").arg("-c").arg(command).spawn()?;
    // After the child has started: it must not inherit the ignoring of SIGQUIT, by which an immediate stop ends it.
    let _ignored = [Ignored::new(Signal::SIGINT), Ignored::new(Signal::SIGQUIT)];
    let ended = pidfd(&child);
    let mut woken = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let wake = match &ended {
            Some(fd) => {
                latch::wait_socket(fd.as_raw_fd(), Wake::LATCH_SET | Wake::SOCKET_READABLE, None, event)
            }
            None => latch::wait(Wake::LATCH_SET, Some(Duration::from_millis(10)), event),
        };
        if wake.contains(Wake::LATCH_SET) {
            latch::reset();
            woken = true;
            on_wakeup();
        }
    };
    if woken {
        latch::set(latch::my_latch());
    }
    Ok(Outcome::from_status(status))
}

/// A descriptor that becomes readable when the child ends; `None` where the kernel has none (older than Linux 5.3).
fn pidfd(child: &Child) -> Option<OwnedFd> {
    // SAFETY: takes two numbers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    // SAFETY: a descriptor that was just made and that nobody else knows.
    i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A signal that means nothing while this lives.
struct Ignored {
    signal: Signal,
    before: Option<SigAction>,
}

impl Ignored {
    fn new(signal: Signal) -> Ignored {
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: ignoring a signal runs no code.
        let before = unsafe { sigaction(signal, &ignore) }.ok();
        Ignored { signal, before }
    }
}

impl Drop for Ignored {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: it was in force before.
            let _ = unsafe { sigaction(self.signal, before) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What signals mean belongs to the process: one test at a time.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    fn alone() -> std::sync::MutexGuard<'static, ()> {
        ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn outcome(command: &str) -> Outcome {
        run(command, WaitEvent::RESTORE_COMMAND, &mut || ()).unwrap()
    }

    #[test]
    fn outcomes_are_told_apart() {
        let _alone = alone();
        assert!(outcome("true").succeeded());
        for (command, text, any_signal) in [
            ("exit 3", "child process exited with exit code 3", false),
            ("exit 126", "command not executable", true),
            ("/nonexistent/command 2>/dev/null", "command not found", true),
            ("kill -TERM $$", "child process was terminated by signal 15: Terminated", true),
            ("exit 143", "child process exited with exit code 143", true),
        ] {
            let found = outcome(command);
            assert_eq!(found.to_string(), text);
            assert_eq!(found.is_any_signal(true), any_signal, "{command}");
        }
        assert!(!Outcome::Exited(127).is_any_signal(false));
        assert!(Outcome::Exited(143).is_signal(15) && Outcome::Signaled(15).is_signal(15));
        assert!(!Outcome::Exited(15).is_signal(15));
    }

    #[test]
    fn the_command_may_be_quit_but_not_its_caller() {
        let _alone = alone();
        // Not before the caller ignores it: the third bit of the mask.
        let until = "until grep -q '^SigIgn:.*[4-7c-f]$' /proc/$caller/status; do :; done";
        let caller = std::process::id();
        let found = outcome(&format!("caller={caller}; {until}; kill -QUIT $caller; kill -QUIT $$"));
        assert_eq!(found, Outcome::Signaled(3));
    }

    #[test]
    fn a_wakeup_is_told_and_kept() {
        let _alone = alone();
        let mut wakeups = 0;
        latch::set(latch::my_latch());
        let found = run("sleep 0.05", WaitEvent::RESTORE_COMMAND, &mut || wakeups += 1).unwrap();
        assert!(found.succeeded() && wakeups == 1);
        assert!(latch::my_latch().is_set());
        latch::reset();
    }

    #[test]
    fn percent_signs() {
        let value = |c| (c == 'f').then(|| "NAME".to_owned());
        for (command, expanded) in [
            ("cp %f /x", "cp NAME /x"),
            ("100%", "100%"),
            ("%%f", "%f"),
            ("%q%f", "%qNAME"),
            ("%%%f", "%NAME"),
        ] {
            assert_eq!(expand(command, value), expanded);
        }
    }
}
