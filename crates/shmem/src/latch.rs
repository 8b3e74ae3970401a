//! Latches: how a process sleeps until somebody has work for it.
//!
//! A latch is a flag in shared memory. Setting it wakes its owner if that sleeps; setting it twice is the same
//! as once. The one correct order on the owner's side is *reset, look for work, wait*, which
//! [`on_each_wakeup`] does for you.
//!
//! The wake-up travels as SIGURG. Every process keeps that signal blocked and reads it from a signalfd, so one
//! that comes between "is it set?" and the sleep is not lost: it stays pending and the poll returns at
//! once. [`set`] is safe in a signal handler, also in the handler of the very process that sleeps.
//!
//! Differs from PG 15: poll(2) instead of epoll. A signalfd in a poll answers for the process that polls, so the one
//! made by the postmaster serves all children: a new backend prepares nothing, where epoll costs it five system
//! calls and two kernel objects. With two or three descriptors a poll is not slower than an epoll_wait.
//!
//! - `core`: the protocol and its invariants T1-T3.
//! - `wait`: the system calls.
//!
//! C counterpart: latch.c.

mod core;
mod wait;

/// What `core` is compiled with here. The model checker's twin is in `loom_tests`.
mod sync {
    pub(super) use std::sync::atomic::{AtomicI32, AtomicU32, Ordering, fence};
}

use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};
use std::time::Duration;

use self::core::{Core, OWN_PROCESS};
pub(crate) use wait::init_support;
pub use wait::{wait, wait_any, wait_socket};

use crate::ShmSafe;
use crate::wait_event::WaitEvent;

bitflags::bitflags! {
    /// What to wake up for, and what it was. C: the `WL_*` flags.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Wake: u32 {
        /// Our latch was set.
        const LATCH_SET = 1;
        /// The socket has something to read, or is closed.
        const SOCKET_READABLE = 1 << 1;
        /// The socket takes more output, or is closed.
        const SOCKET_WRITEABLE = 1 << 2;
        /// The time is over. Answer only: ask by passing a duration.
        const TIMEOUT = 1 << 3;
        /// The postmaster is gone.
        const POSTMASTER_DEATH = 1 << 4;
        /// The other end has closed the connection: also seen behind input not read yet.
        const SOCKET_CLOSED = 1 << 5;
    }
}

impl Wake {
    /// What the main loop of an auxiliary process waits for.
    pub const LATCH_OR_DEATH: Wake = Wake::LATCH_SET.union(Wake::POSTMASTER_DEATH);

    /// The postmaster is gone.
    pub fn postmaster_died(self) -> bool {
        self.contains(Wake::POSTMASTER_DEATH)
    }
}

/// A flag that wakes its owner. C: `Latch`.
#[repr(C)]
pub struct Latch {
    core: Core,
}

// SAFETY: three atomics.
unsafe impl ShmSafe for Latch {}

impl Latch {
    /// One that nobody owns yet. C: `InitSharedLatch`.
    pub const fn new() -> Latch {
        Latch::owned_by(0)
    }

    const fn owned_by(owner_pid: i32) -> Latch {
        Latch {
            core: Core {
                is_set: AtomicU32::new(0),
                maybe_sleeping: AtomicU32::new(0),
                owner_pid: AtomicI32::new(owner_pid),
            },
        }
    }

    /// Sets it and wakes its owner if that sleeps. Async-signal-safe, keeps errno. C: `SetLatch`.
    pub fn set(&self) {
        if let Some(pid) = self.core.set() {
            wait::signal(pid);
        }
    }

    /// Clears it. C: `ResetLatch`.
    pub fn reset(&self) {
        self.core.reset();
    }

    /// Whether it is set, without consuming it.
    pub fn is_set(&self) -> bool {
        self.core.is_set()
    }

    /// Who sleeps on it: a pid, or 0. C: the field `owner_pid`.
    pub fn owner_pid(&self) -> i32 {
        self.core.owner_pid.load(Ordering::Relaxed)
    }

    /// Makes this process the one that sleeps on it. C: `OwnLatch`.
    pub(crate) fn own(&self, pid: i32) {
        self.core.end_sleep();
        self.core.owner_pid.store(pid, Ordering::Release);
    }

    /// C: `DisownLatch`.
    pub(crate) fn disown(&self) {
        self.core.owner_pid.store(0, Ordering::Release);
    }
}

impl Default for Latch {
    fn default() -> Latch {
        Latch::new()
    }
}

/// The latch of a process without PGPROC: postmaster, logger, stats collector, a backend that still reads its
/// startup packet. C: `LocalLatchData`.
static LOCAL: Latch = Latch::owned_by(OWN_PROCESS);

/// The one `my_latch` returns. C: `MyLatch`.
static MINE: AtomicPtr<Latch> = AtomicPtr::new((&raw const LOCAL).cast_mut());

/// This process's latch. Async-signal-safe.
#[inline]
pub fn my_latch() -> &'static Latch {
    // SAFETY: only `switch_to` stores here, always a &'static.
    unsafe { &*MINE.load(Ordering::Acquire) }
}

/// Uses the PGPROC's latch from now on. It comes up set: what was set on the old one must not be lost, and
/// one turn of the loop for nothing is cheap. C: `SwitchToSharedLatch`.
pub(crate) fn switch_to_shared(latch: &'static Latch) {
    MINE.store(ptr::from_ref(latch).cast_mut(), Ordering::Release);
    latch.set();
}

/// Back to the private one. C: `SwitchBackToLocalLatch`.
pub(crate) fn switch_to_local() {
    MINE.store((&raw const LOCAL).cast_mut(), Ordering::Release);
    LOCAL.set();
}

/// Sets a latch: somebody else's, or our own from a handler. C: `SetLatch`.
#[inline]
pub fn set(latch: &Latch) {
    latch.set();
}

/// What a signal handler does after it has set its flag. Async-signal-safe. C: `SetLatch(MyLatch)`.
pub fn set_my_latch_from_handler() {
    my_latch().set();
}

/// Clears our latch. Look for work after this, not before. C: `ResetLatch(MyLatch)`.
#[inline]
pub fn reset() {
    my_latch().reset();
}

/// What the body of [`on_each_wakeup`] wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Sleep, at most for the time given to [`on_each_wakeup`].
    Again,
    /// Sleep, at most this long.
    AtMost(Duration),
    /// Sleep until woken.
    UntilWoken,
    /// Do not sleep: there is more to do.
    NoWait,
    /// Leave the loop.
    Stop,
}

/// The main loop of an auxiliary process: calls `body` at once and then after each wake-up, until it says
/// [`Wait::Stop`] or fails. The latch is reset before each call, so whatever `body` looks at was written before
/// the wake-up or will cause another one. `body` learns what woke it (nothing, the first time); the death of the
/// postmaster is always among the reasons.
///
/// ```no_run
/// # use std::time::Duration;
/// # use shmem::{WaitEvent, latch::{Wait, on_each_wakeup}};
/// # fn flush_wal() -> elog::Result<()> { Ok(()) }
/// on_each_wakeup(Some(Duration::from_millis(200)), WaitEvent::WAL_WRITER_MAIN, |wake| {
///     if wake.postmaster_died() {
///         return Ok(Wait::Stop);
///     }
///     flush_wal()?;
///     Ok(Wait::Again)
/// })?;
/// # Ok::<(), elog::PgError>(())
/// ```
pub fn on_each_wakeup(
    nap: Option<Duration>,
    wait_event: WaitEvent,
    mut body: impl FnMut(Wake) -> elog::Result<Wait>,
) -> elog::Result<()> {
    let mut woken_by = Wake::empty();
    loop {
        reset();
        let timeout = match body(woken_by)? {
            Wait::Again => nap,
            Wait::AtMost(limit) => Some(limit),
            Wait::UntilWoken => None,
            Wait::NoWait => Some(Duration::ZERO),
            Wait::Stop => return Ok(()),
        };
        woken_by = wait(Wake::LATCH_OR_DEATH, timeout, wait_event);
    }
}

#[cfg(test)]
mod loom_tests;
#[cfg(test)]
mod tests;
