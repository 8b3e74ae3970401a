//! The insertion locks, and waiting for those who hold them.
//!
//! A slot's word `busy_at` goes IDLE -> BUSY -> (positions) -> IDLE. It becomes BUSY *before* space is reserved and IDLE
//! *after* the copy, so whoever has read the reservation position and then finds a slot idle knows that its copies of
//! everything before that position are done.
//!
//! Differs from PG 15: waiting is spinning, then sleeping for short times, instead of `LWLockWaitForVar`: a copy takes
//! less than a microsecond unless its process lost the CPU.
//!
//! C counterpart: `WALInsertLockAcquire` and its kin of xlog.c.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::Lsn;
use crossbeam_utils::Backoff;
use shmem::ExclusiveGuard;

use crate::shared::{BUSY, IDLE, INSERT_SLOTS, InsertSlot, LOCAL, shared};

thread_local! {
    /// The slot that this process tells its progress in, while it holds one.
    static HELD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// One insertion lock, held.
pub(crate) struct Slot {
    index: usize,
    guard: Option<ExclusiveGuard<'static, ()>>,
}

impl Slot {
    /// Takes the one it took last time, or another next time if that was taken. C: `WALInsertLockAcquire`.
    #[inline]
    pub(crate) fn take() -> Slot {
        let slots = &shared().slots;
        let index = LOCAL.with(|local| {
            local.slot.get().unwrap_or_else(|| {
                let first = shmem::proc::my_proc_number().unwrap_or(0) as usize % INSERT_SLOTS;
                local.slot.set(Some(first));
                first
            })
        });
        let guard = match slots[index].lock.try_exclusive() {
            Some(guard) => guard,
            None => {
                let guard = slots[index].lock.exclusive();
                LOCAL.with(|local| local.slot.set(Some((index + 1) % INSERT_SLOTS)));
                guard
            }
        };
        slots[index].busy_at.store(BUSY, Ordering::Relaxed);
        HELD.set(Some(index));
        Slot { index, guard: Some(guard) }
    }

    /// C: setting `lastImportantAt`.
    #[inline]
    pub(crate) fn mark_important(&self, start: Lsn) {
        shared().slots[self.index].last_important.store(start.0, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    #[inline]
    fn drop(&mut self) {
        HELD.set(None);
        shared().slots[self.index].busy_at.store(IDLE, Ordering::Release);
        self.guard = None;
    }
}

/// All insertion locks: nobody inserts. C: `WALInsertLockAcquireExclusive`.
pub(crate) struct AllSlots {
    guards: [Option<ExclusiveGuard<'static, ()>>; INSERT_SLOTS],
}

impl AllSlots {
    pub(crate) fn take() -> AllSlots {
        let slots = &shared().slots;
        let guards = std::array::from_fn(|i| Some(slots[i].lock.exclusive()));
        // Progress is told in the last one; the others are no obstacle to anybody.
        slots[INSERT_SLOTS - 1].busy_at.store(BUSY, Ordering::Relaxed);
        HELD.set(Some(INSERT_SLOTS - 1));
        AllSlots { guards }
    }

    pub(crate) fn mark_important(&self, start: Lsn) {
        shared().slots[0].last_important.store(start.0, Ordering::Relaxed);
    }
}

impl Drop for AllSlots {
    fn drop(&mut self) {
        HELD.set(None);
        shared().slots[INSERT_SLOTS - 1].busy_at.store(IDLE, Ordering::Release);
        for guard in &mut self.guards {
            *guard = None;
        }
    }
}

/// Tells that everything this process reserved before `upto` has been copied. C: `WALInsertLockUpdateInsertingAt`.
pub(crate) fn tell_progress(upto: Lsn) {
    if let Some(index) = HELD.get() {
        shared().slots[index].busy_at.store(upto.0, Ordering::Release);
    }
}

/// Waits until the slot's holder is done or past `upto`; returns the word then.
pub(crate) fn wait_past(slot: &InsertSlot, upto: Lsn) -> u64 {
    let backoff = Backoff::new();
    let mut rounds = 0;
    loop {
        let busy_at = slot.busy_at.load(Ordering::Acquire);
        if busy_at == IDLE || busy_at >= upto.0 {
            return busy_at;
        }
        if !backoff.is_completed() {
            backoff.snooze();
        } else if rounds < 20 {
            rounds += 1;
            std::thread::yield_now();
        } else {
            let _waiting = shmem::wait_event::during(shmem::WaitEvent::lwlock(shmem::tranche::WAL_INSERT));
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}
