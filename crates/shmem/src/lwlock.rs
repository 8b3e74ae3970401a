//! `LwLock<T>`: shared or exclusive access to data in the segment, for as long as a piece of work takes.
//!
//! Waiters queue in order of arrival through their PGPROCs and sleep on a futex there; others may walk past them, but not for
//! long. The wait shows in
//! `pg_stat_activity` as `LWLock` / the tranche's name. There is no deadlock detection and no way to interrupt
//! a waiter: take locks in a fixed order and hold them briefly.
//!
//! - `core`: the algorithm and its invariants L1-L4.
//! - `held`: what this process holds.
//!
//! A guard gives the lock back when it goes out of scope, also on an early return with `?` and on a panic that
//! unwinds. A *killed* process gives nothing back: its lock stays taken and its data may be half changed.
//! That is the reason for the crash cycle: after an abnormal exit nobody goes on with this memory.
//!
//! C counterpart: lwlock.c, lwlock.h.

mod core;
mod held;

/// What `core` is compiled with here. The model checker's twin is in `loom_tests`.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU32, Ordering};

    pub(super) use crate::spin::SpinWait as Pause;
}

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

pub use self::core::LwMode;
pub(crate) use self::core::WaitNode;
use self::core::{Core, Parking};
pub(crate) use held::forget;
pub use held::{held_lwlocks, release_all};

use crate::wait_event::{Tranche, WaitEvent};
use crate::{ShmSafe, futex, proc, wait_event};

// SAFETY: three atomics.
unsafe impl ShmSafe for WaitNode {}

/// So long a waiter sleeps while others walk past: many turns of the scheduler, and still not felt by a person.
const PATIENCE: Duration = Duration::from_millis(10);

/// Queue entries are in the PGPROCs, sleeping is on their futex words.
struct Pgprocs;

impl Parking for Pgprocs {
    fn node(&self, process: u32) -> &WaitNode {
        &proc::all_procs()[process as usize].lw_wait
    }

    fn park(&self, process: u32) -> bool {
        futex::wait(&self.node(process).wake, self::core::wake::WAITING, PATIENCE)
    }

    fn unpark(&self, process: u32) {
        futex::wake(&self.node(process).wake);
    }
}

/// A lock around the data it protects.
#[repr(C)]
pub struct LwLock<T> {
    raw: RawLock,
    value: UnsafeCell<T>,
}

/// The part that does not depend on the data, for `held`.
#[repr(C)]
pub(crate) struct RawLock {
    core: Core,
    tranche: u32,
}

impl RawLock {
    fn release(&self, mode: LwMode) {
        self.core.release(mode, &Pgprocs);
    }
}

// SAFETY: shared guards give &T to several processes, exclusive ones &mut T to one; T is ShmSafe, so Send + Sync.
unsafe impl<T: ShmSafe> Sync for LwLock<T> {}
// SAFETY: repr(C); T is ShmSafe; the rest are integers and atomics.
unsafe impl<T: ShmSafe> ShmSafe for LwLock<T> {}

impl<T: ShmSafe> LwLock<T> {
    /// An unlocked one; waits for it are shown under the tranche's name. C: `LWLockInitialize`.
    pub fn new(tranche: Tranche, value: T) -> LwLock<T> {
        LwLock { raw: RawLock { core: Core::new(), tranche: tranche.0 }, value: UnsafeCell::new(value) }
    }

    /// Waits for access together with other readers. C: `LWLockAcquire(LW_SHARED)`.
    ///
    /// # Panics
    /// If it has to wait and this process has no PGPROC, or holds 200 locks already.
    #[inline]
    #[track_caller]
    pub fn shared(&self) -> SharedGuard<'_, T> {
        self.acquire(LwMode::Shared);
        SharedGuard { lock: self, _this_process: PhantomData }
    }

    /// Waits for access alone. C: `LWLockAcquire(LW_EXCLUSIVE)`.
    ///
    /// # Panics
    /// As [`LwLock::shared`].
    #[inline]
    #[track_caller]
    pub fn exclusive(&self) -> ExclusiveGuard<'_, T> {
        self.acquire(LwMode::Exclusive);
        ExclusiveGuard { lock: self, _this_process: PhantomData }
    }

    /// Shared access if it can be had at once. C: `LWLockConditionalAcquire`.
    #[inline]
    pub fn try_shared(&self) -> Option<SharedGuard<'_, T>> {
        self.try_acquire(LwMode::Shared).then(|| SharedGuard { lock: self, _this_process: PhantomData })
    }

    /// Exclusive access if it can be had at once. C: `LWLockConditionalAcquire`.
    #[inline]
    pub fn try_exclusive(&self) -> Option<ExclusiveGuard<'_, T>> {
        self.try_acquire(LwMode::Exclusive).then(|| ExclusiveGuard { lock: self, _this_process: PhantomData })
    }

    /// Whether this process holds it, in whatever mode. C: `LWLockHeldByMe`.
    pub fn held_by_me(&self) -> bool {
        held::mode_of(&self.raw).is_some()
    }

    /// Whether this process holds it in this mode. C: `LWLockHeldByMeInMode`.
    pub fn held_by_me_in(&self, mode: LwMode) -> bool {
        held::mode_of(&self.raw) == Some(mode)
    }

    /// (held exclusively, number of shared holders) at some moment: for a view, not for decisions.
    pub fn holders(&self) -> (bool, u32) {
        self.raw.core.holders()
    }

    /// The lock's tranche.
    pub fn tranche(&self) -> Tranche {
        Tranche(self.raw.tranche)
    }

    #[inline]
    fn try_acquire(&self, mode: LwMode) -> bool {
        held::assert_room();
        let entered = self.raw.core.try_acquire(mode);
        if entered {
            held::add(&self.raw, mode);
        }
        entered
    }

    #[inline]
    #[track_caller]
    fn acquire(&self, mode: LwMode) {
        if !self.try_acquire(mode) {
            self.acquire_waiting(mode);
        }
    }

    #[cold]
    #[track_caller]
    fn acquire_waiting(&self, mode: LwMode) {
        let Some(me) = proc::my_proc_number() else { panic!("cannot wait without a PGPROC structure") };
        // Two modes of one lock in one process wait for each other for ever: better a panic that shows where.
        assert!(!self.held_by_me(), "lock {} is already held", self.tranche().name());
        let _waiting = wait_event::during(WaitEvent::lwlock(self.tranche()));
        self.raw.core.acquire_waiting(mode, me, &Pgprocs);
        held::add(&self.raw, mode);
    }
}

/// Access together with other readers, until it goes out of scope.
pub struct SharedGuard<'a, T: ShmSafe> {
    lock: &'a LwLock<T>,
    /// A lock belongs to the process (in tests: the thread) that took it.
    _this_process: PhantomData<*const ()>,
}

/// Access alone, until it goes out of scope.
pub struct ExclusiveGuard<'a, T: ShmSafe> {
    lock: &'a LwLock<T>,
    _this_process: PhantomData<*const ()>,
}

impl<T: ShmSafe> Deref for SharedGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: a shared holder keeps writers out (L1) while this guard lives.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ShmSafe> Deref for ExclusiveGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: an exclusive holder keeps everybody else out (L1) while this guard lives.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ShmSafe> DerefMut for ExclusiveGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `&mut self` excludes other uses of this guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ShmSafe> Drop for SharedGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        held::release(&self.lock.raw, LwMode::Shared);
    }
}

impl<T: ShmSafe> Drop for ExclusiveGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        held::release(&self.lock.raw, LwMode::Exclusive);
    }
}

#[cfg(test)]
mod loom_tests;
#[cfg(test)]
mod tests;
