//! Helpers of this crate's tests: real processes over a real segment.
//!
//! The harness runs tests in threads and a forked child has only the thread that forked, so children do little
//! besides what is tested and leave by `_exit`. Whatever waits for SIGURG must be such a child: in the harness
//! process other threads do not block that signal.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::BackendType;

use crate::{Limits, Reservation, Segment, proc, reserve};

static ALONE: Mutex<()> = Mutex::new(());

/// No test takes longer, whatever the machine's load.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that use the process's one segment, latch or PGPROC run one at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Small quotas, so that tests can exhaust them.
pub(crate) const LIMITS: Limits =
    Limits { max_connections: 5, autovacuum_max_workers: 1, max_wal_senders: 1, max_prepared_xacts: 0 };

/// A segment with this crate's own pieces and what `more` adds.
pub(crate) fn segment(more: impl FnOnce(&mut Reservation)) -> Segment {
    let mut reservation = Reservation::new();
    reserve(&mut reservation, LIMITS);
    more(&mut reservation);
    Segment::create_private(reservation).unwrap()
}

/// A forked process; killed and reaped when it goes out of scope.
pub(crate) struct Child {
    pub(crate) pid: i32,
    reaped: bool,
}

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

impl Child {
    /// Runs `body` in a process of its own; a panic in it is exit code 101.
    pub(crate) fn run(body: impl FnOnce()) -> Child {
        #[allow(clippy::disallowed_methods, reason = "tests stand in for the postmaster")]
        // SAFETY: the child runs only `body`, which keeps to the module's rules, and then `_exit`s.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            // SAFETY: no memory arguments. A hung child must not outlive the test run.
            unsafe { libc::alarm(PATIENCE.as_secs() as u32) };
            // Unlike the postmaster, a test may hold locks when it forks. They are not the child's.
            proc::forget();
            let code = if catch_unwind(AssertUnwindSafe(body)).is_ok() { 0 } else { 101 };
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(code) };
        }
        Child { pid, reaped: false }
    }

    /// As [`Child::run`], with a PGPROC of this kind.
    pub(crate) fn run_as(kind: BackendType, body: impl FnOnce()) -> Child {
        Child::run(|| {
            proc::init_process(kind, 0).unwrap();
            body();
            proc::release();
        })
    }

    pub(crate) fn kill(&self, signal: i32) {
        // SAFETY: no memory arguments; our own child, not reaped yet.
        unsafe { libc::kill(self.pid, signal) };
    }

    pub(crate) fn wait(mut self) -> End {
        self.reaped = true;
        wait_for(self.pid)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill(libc::SIGKILL);
            wait_for(self.pid);
        }
    }
}

/// Reaps a child or, under a subreaper, a grandchild.
pub(crate) fn wait_for(pid: i32) -> End {
    let mut status = 0;
    // SAFETY: `status` is an int.
    while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
    if libc::WIFEXITED(status) {
        End::Code(libc::WEXITSTATUS(status))
    } else {
        End::Signal(libc::WTERMSIG(status))
    }
}

/// Waits for a condition that another process brings about.
#[track_caller]
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain");
        std::thread::yield_now();
    }
}
