//! The latch protocol, without signals and descriptors.
//!
//! Compiled twice, like the LWLock core: with the standard atomics, and with loom's for the model checker.
//!
//! - **T1** The sleeper says so (`maybe_sleeping`) before it looks at `is_set` for the last time.
//! - **T2** The setter sets `is_set` before it looks at `maybe_sleeping`.
//!
//! With a full fence between the two steps on each side, at least one of them sees the other: either the
//! sleeper finds the latch set and does not sleep, or the setter finds a sleeper and sends the signal. The signal is
//! blocked and stays pending until somebody reads it, so it may come at any moment before the sleep.
//!
//! - **T3** Setting and resetting are read-modify-writes: what was written before any `set` is visible after the
//!   `reset` that follows it, also when that `set` found the latch set already and did nothing more.
//!
//! C counterpart: `SetLatch`, `ResetLatch`, `WaitEventSetWait` (latch.c).

use super::sync::{AtomicI32, AtomicU32, Ordering, fence};

/// One latch.
#[repr(C)]
pub(crate) struct Core {
    pub(super) is_set: AtomicU32,
    pub(super) maybe_sleeping: AtomicU32,
    /// Whom to signal: a pid, 0 for nobody, [`OWN_PROCESS`] for whoever looks.
    pub(super) owner_pid: AtomicI32,
}

/// The owner of a latch in private memory: a value that stays right in a child after fork.
pub(crate) const OWN_PROCESS: i32 = -1;

impl Core {
    /// Sets it. Returns whom to signal, if anybody sleeps.
    pub(crate) fn set(&self) -> Option<i32> {
        if self.is_set.swap(1, Ordering::AcqRel) != 0 {
            // Somebody else's set has not been consumed; T3 makes our writes visible with it.
            return None;
        }
        fence(Ordering::SeqCst); // T2
        if self.maybe_sleeping.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(self.owner_pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// Clears it. Look for work after this, not before. C: `ResetLatch`.
    pub(crate) fn reset(&self) {
        self.is_set.swap(0, Ordering::AcqRel); // T3
        fence(Ordering::SeqCst);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire) != 0
    }

    /// About to sleep. False: it is set, do not.
    pub(crate) fn prepare_sleep(&self) -> bool {
        if self.is_set() {
            return false;
        }
        self.maybe_sleeping.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // T1
        if self.is_set() {
            self.end_sleep();
            return false;
        }
        true
    }

    /// Awake again.
    pub(crate) fn end_sleep(&self) {
        self.maybe_sleeping.store(0, Ordering::Relaxed);
    }
}
