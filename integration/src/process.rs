//! Processes, reaped at once.
//!
//! The whole test process is a child subreaper: when a postmaster dies, its orphans become children of the
//! test. One thread waits for all children and keeps their exit statuses, so nothing else may call `wait`:
//! run programs with [`run`] or [`spawn`], not with `std::process` alone.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::DEADLINE;

#[derive(Default)]
struct Ended {
    statuses: HashMap<i32, ExitStatus>,
    /// Children started, so that the reaper knows there is something to wait for.
    started: u64,
}

static ENDED: Mutex<Option<Ended>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();

fn ended() -> MutexGuard<'static, Option<Ended>> {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the reaper, once.
#[allow(clippy::disallowed_methods, reason = "a thread of the test harness, not of a server process")]
fn ensure_reaper() {
    static REAPER: OnceLock<()> = OnceLock::new();
    REAPER.get_or_init(|| {
        nix::sys::prctl::set_child_subreaper(true).expect("Linux has subreapers");
        *ended() = Some(Ended::default());
        std::thread::spawn(reap_forever);
    });
}

fn reap_forever() {
    loop {
        let known = ended().as_ref().map_or(0, |e| e.started);
        match waitpid(None, Some(WaitPidFlag::empty())) {
            Ok(WaitStatus::Exited(pid, code)) => note(pid.as_raw(), ExitStatus::from_raw(code << 8)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                note(pid.as_raw(), ExitStatus::from_raw(signal as i32))
            }
            Err(Errno::ECHILD) => {
                // No child at all: sleep until one is started.
                let guard = ended();
                drop(CHANGED.wait_while(guard, |e| e.as_ref().is_some_and(|e| e.started == known)));
            }
            _ => {}
        }
    }
}

fn note(pid: i32, status: ExitStatus) {
    if let Some(ended) = ended().as_mut() {
        ended.statuses.insert(pid, status);
    }
    CHANGED.notify_all();
}

/// A child of the test that the reaper waits for.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    /// What it writes, if it was started with pipes.
    pub stdout: Option<ChildStdout>,
    /// What it complains, if it was started with pipes.
    pub stderr: Option<ChildStderr>,
}

impl Process {
    /// A process that became a child of the test because its parent left, as `pg_ctl` leaves a server.
    pub fn adopt(pid: i32) -> Process {
        let mut guard = ended();
        if crate::procfs::is_alive(pid) {
            // What is known of this number is about an earlier process.
            guard.as_mut().and_then(|e| e.statuses.remove(&pid));
        }
        Process { pid, stdout: None, stderr: None }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its exit status if it has ended.
    pub fn try_wait(&self) -> Option<ExitStatus> {
        ended().as_ref()?.statuses.get(&self.pid).copied()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When the deadline passes.
    #[track_caller]
    pub fn wait(&self) -> ExitStatus {
        let began = Instant::now();
        let mut guard = ended();
        loop {
            if let Some(status) = guard.as_ref().and_then(|e| e.statuses.get(&self.pid).copied()) {
                return status;
            }
            assert!(began.elapsed() < DEADLINE, "process {} does not end", self.pid);
            let waited = CHANGED.wait_timeout(guard, DEADLINE);
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for its end, however long that takes: for builds and installations.
    pub fn wait_without_deadline(&self) -> ExitStatus {
        let waited =
            CHANGED.wait_while(ended(), |e| e.as_ref().is_some_and(|e| !e.statuses.contains_key(&self.pid)));
        let guard = waited.unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().and_then(|e| e.statuses.get(&self.pid).copied()).unwrap_or_default()
    }

    /// Sends it a signal. A process that has ended is no error.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), signal);
    }
}

/// Starts a program.
///
/// # Panics
/// If it cannot be started.
#[track_caller]
#[allow(clippy::zombie_processes, reason = "the reaper waits for it")]
pub fn spawn(command: &mut Command) -> Process {
    ensure_reaper();
    // Held across the start, so that the child's status cannot be noted before it is expected.
    let mut guard = ended();
    let mut child = command.spawn().unwrap_or_else(|e| panic!("could not start {command:?}: {e}"));
    let pid = i32::try_from(child.id()).expect("pids are small");
    if let Some(ended) = guard.as_mut() {
        ended.started += 1;
        ended.statuses.remove(&pid);
    }
    drop(guard);
    CHANGED.notify_all();
    Process { pid, stdout: child.stdout.take(), stderr: child.stderr.take() }
}

/// Runs a program to its end and returns what it wrote. Its standard input is `/dev/null`.
///
/// # Panics
/// If it cannot be started or does not end.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    run_with_input(command, b"")
}

/// As [`run`], with standard input.
#[track_caller]
#[allow(clippy::disallowed_methods, reason = "a thread of the test harness, not of a server process")]
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut file = tempfile::tempfile().expect("a temporary file for standard input");
    std::io::Write::write_all(&mut file, input).expect("room for standard input");
    std::io::Seek::rewind(&mut file).expect("a seekable file");
    let mut process = spawn(command.stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut stderr_pipe = process.stderr.take().expect("piped above");
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr_pipe.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut stdout = Vec::new();
    process.stdout.take().expect("piped above").read_to_end(&mut stdout).expect("a readable pipe");
    let stderr = errors.join().expect("the reader does not panic").expect("a readable pipe");
    Output { status: process.wait(), stdout, stderr }
}

/// Makes a command run as the unprivileged user when the test runs as root, which servers refuse.
pub fn unprivileged(command: &mut Command) -> &mut Command {
    if nix::unistd::geteuid().is_root() {
        let (uid, gid) = unprivileged_ids();
        command.uid(uid).gid(gid);
    }
    command
}

/// The unprivileged user: `nobody`, or whoever runs the test if that is not root.
pub fn unprivileged_ids() -> (u32, u32) {
    if nix::unistd::geteuid().is_root() {
        let nobody = nix::unistd::User::from_name("nobody").ok().flatten();
        nobody.map_or((65534, 65534), |user| (user.uid.as_raw(), user.gid.as_raw()))
    } else {
        (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())
    }
}
