//! `SpinLock<T>`: for a handful of instructions, never around a system call or anything that can fail.
//!
//! C counterpart: s_lock.c, spin.h. There a comment says which fields a spinlock covers; here they are inside.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crossbeam_utils::Backoff;

use crate::ShmSafe;

/// Sleeps before giving up: the first lasts 1 ms, they double up to 1 s, so this is about two minutes, the
/// time PostgreSQL waits before it calls a spinlock stuck.
const SLEEPS_BEFORE_STUCK: u32 = 130;

/// Mutual exclusion by spinning around the data it protects.
#[repr(C)]
pub struct SpinLock<T> {
    locked: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the guard gives access to one process at a time; T itself may cross processes.
unsafe impl<T: ShmSafe> Sync for SpinLock<T> {}
// SAFETY: repr(C); T is ShmSafe; the lock word is an atomic.
unsafe impl<T: ShmSafe> ShmSafe for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An unlocked one.
    pub const fn new(value: T) -> SpinLock<T> {
        SpinLock { locked: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    /// Locks. C: `SpinLockAcquire`.
    ///
    /// # Panics
    /// If it stays locked for about two minutes: its holder is gone or looping.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        if self.locked.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_contended();
        }
        SpinGuard { lock: self }
    }

    #[cold]
    fn lock_contended(&self) {
        let mut wait = SpinWait::new();
        loop {
            if self.locked.load(Ordering::Relaxed) == 0
                && self.locked.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return;
            }
            wait.pause();
        }
    }
}

/// Grants access to the value until it goes out of scope.
pub struct SpinGuard<'a, T> {
    lock: &'a SpinLock<T>,
}

impl<T> Deref for SpinGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard exists only while the lock is ours.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `&mut self` excludes other uses of this guard.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for SpinGuard<'_, T> {
    fn drop(&mut self) {
        self.lock.locked.store(0, Ordering::Release);
    }
}

/// The pauses of somebody who waits for a lock held for a few instructions: spin, yield, then sleep, since the
/// holder may have lost its CPU. C: `perform_spin_delay`.
pub(crate) struct SpinWait {
    backoff: Backoff,
    sleeps: u32,
}

impl SpinWait {
    pub(crate) fn new() -> SpinWait {
        SpinWait { backoff: Backoff::new(), sleeps: 0 }
    }

    pub(crate) fn pause(&mut self) {
        if !self.backoff.is_completed() {
            self.backoff.snooze();
            return;
        }
        assert!(self.sleeps < SLEEPS_BEFORE_STUCK, "stuck spinlock detected");
        std::thread::sleep(Duration::from_millis(1 << self.sleeps.min(10)));
        self.sleeps += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_never_overlap() {
        static COUNTER: SpinLock<u64> = SpinLock::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        *COUNTER.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*COUNTER.lock(), 80_000);
    }
}
