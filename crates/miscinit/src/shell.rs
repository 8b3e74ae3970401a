//! Shell commands that the server is told to run: `archive_command`, `restore_command` and their kin.
//!
//! As system(3) does it: the command is run by `/bin/sh -c`, and meanwhile this process ignores SIGINT and SIGQUIT, which
//! are meant for the command then. Unlike with system(3), the caller is asked at each signal that set the latch whether
//! it wants to go on waiting: a startup process that is told to leave must not sit out a command that hangs.
//!
//! [`run`] is one command from beginning to end; [`spawn`], [`wait_any`] and [`Spared`] are its parts, for who has several
//! commands at a time.
//!
//! C counterpart: the calls of `system`, and `wait_result_to_str` and its siblings of common/wait_error.c.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};
use std::time::Duration;
use std::{fmt, io};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, killpg, sigaction};
use nix::unistd::Pid;
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
    let mut running = spawn(command)?;
    // After the child has started: it must not inherit the ignoring of SIGQUIT, by which an immediate stop ends it.
    let _ignored = [Ignored::new(Signal::SIGINT), Ignored::new(Signal::SIGQUIT)];
    let mut woken = false;
    let outcome = loop {
        if let Some(outcome) = running.try_wait()? {
            break outcome;
        }
        let wake = wait_any([&running], None, event);
        if wake.contains(Wake::LATCH_SET) {
            latch::reset();
            woken = true;
            on_wakeup();
        }
    };
    if woken {
        latch::set(latch::my_latch());
    }
    Ok(outcome)
}

/// A command that has been started and not waited for. Dropping it leaves it alone, unwaited.
#[derive(Debug)]
pub struct Running {
    child: Child,
    ended: Option<OwnedFd>,
}

impl Running {
    /// How it ended, once it has; never waits.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn try_wait(&mut self) -> io::Result<Option<Outcome>> {
        Ok(self.child.try_wait()?.map(Outcome::from_status))
    }

    /// Sends it a signal; one that has ended has no use for it.
    pub fn signal(&self, signal: Signal) {
        // Not waited for yet, so the pid is still its own.
        let _ = kill(self.pid(), signal);
    }

    /// The shell's process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

/// Starts a command and does not wait for it.
///
/// # Errors
/// If no process can be started.
pub fn spawn(command: &str) -> io::Result<Running> {
    // The shell's own complaints begin with the name it was called by, as with system(3).
    let child = Command::new("/bin/sh").arg0("sh").arg("-c").arg(command).spawn()?;
    let ended = pidfd(&child);
    Ok(Running { child, ended })
}

/// Sleeps until one of these commands ends, the latch of this process is set, or the time is over.
pub fn wait_any<'a>(
    running: impl IntoIterator<Item = &'a Running>,
    at_most: Option<Duration>,
    event: WaitEvent,
) -> Wake {
    let mut watched = Vec::new();
    let mut at_most = at_most;
    for command in running {
        match &command.ended {
            Some(fd) => watched.push((fd.as_raw_fd(), Wake::SOCKET_READABLE)),
            None => {
                let look = Duration::from_millis(10);
                at_most = Some(at_most.map_or(look, |at_most| at_most.min(look)));
            }
        }
    }
    latch::wait_any(&watched, Wake::LATCH_SET | Wake::SOCKET_READABLE, at_most, event, |_, _| ())
}

/// While this lives, SIGQUIT is the commands' and not this process's, as during [`run`]. Unlike there it is caught, by a
/// handler that does nothing: a command that is started meanwhile would inherit that it is ignored.
///
/// SIGINT is not looked after: who runs several commands at a time ignores it anyway.
#[derive(Debug)]
pub struct Spared {
    before: Option<SigAction>,
}

impl Spared {
    /// From now on.
    pub fn new() -> Spared {
        let nothing = SigAction::new(SigHandler::Handler(on_nothing), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: the handler runs no code.
        let before = unsafe { sigaction(Signal::SIGQUIT, &nothing) }.ok();
        Spared { before }
    }
}

impl Default for Spared {
    fn default() -> Spared {
        Spared::new()
    }
}

impl Drop for Spared {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: it was in force before.
            let _ = unsafe { sigaction(Signal::SIGQUIT, before) };
        }
    }
}

extern "C" fn on_nothing(_: i32) {}

/// Sends SIGTERM to these commands and to what they have started, which is in this process's group if it leads one. It
/// gets the signal too then.
pub fn terminate<'a>(running: impl IntoIterator<Item = &'a Running>) {
    if nix::unistd::getpgrp() == Pid::this() {
        let _ = killpg(Pid::this(), Signal::SIGTERM);
        return;
    }
    for command in running {
        command.signal(Signal::SIGTERM);
    }
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
    fn several_at_a_time() {
        let _alone = alone();
        let spared = Spared::new();
        // The second is started while a SIGQUIT of this process is spared, and dies by one all the same.
        let mut first = spawn("exec sleep 1000").unwrap();
        let mut second = spawn("kill -QUIT $$").unwrap();
        nix::sys::signal::raise(Signal::SIGQUIT).unwrap();
        let outcome = loop {
            if let Some(outcome) = second.try_wait().unwrap() {
                break outcome;
            }
            wait_any([&first, &second], None, WaitEvent::ARCHIVE_COMMAND);
            latch::reset();
        };
        assert_eq!(outcome, Outcome::Signaled(3));
        assert_eq!(first.try_wait().unwrap(), None);
        let wake = wait_any([&first], Some(Duration::from_millis(1)), WaitEvent::ARCHIVE_COMMAND);
        assert!(wake.contains(Wake::TIMEOUT), "{wake:?}");
        first.signal(Signal::SIGTERM);
        while first.try_wait().unwrap().is_none() {
            wait_any([&first], None, WaitEvent::ARCHIVE_COMMAND);
            latch::reset();
        }
        drop(spared);
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
