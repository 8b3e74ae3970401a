//! Waiting until another process is done with a slot.
//!
//! Who waits notes the slot's number in its own place of a table; who changes `active_pid` wakes all who noted that number.
//! Nobody misses it: the note is made before `active_pid` is looked at, under the same spinlock under which it changes.
//!
//! C counterpart: `ReplicationSlot.active_cv`, a condition variable.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use elog::Result;
use miscinit::interrupt;
use shmem::latch::{self, Wake};
use shmem::{Reservation, ShmSlice, WaitEvent};

use super::CONTROL;

/// By number of the waiting process: the slot's number plus one, 0 for none.
static WAITING: ShmSlice<AtomicU32> = ShmSlice::new("ReplicationSlot Waiters");

pub(super) fn reserve(reservation: &mut Reservation, procs: usize) {
    reservation.slice(&WAITING, procs, |_| AtomicU32::new(0));
}

/// While it lives, changes of this slot wake this process.
pub(super) struct Waiter {
    number: usize,
    me: Option<&'static AtomicU32>,
    slept: Cell<bool>,
}

impl Waiter {
    /// C: `ConditionVariablePrepareToSleep`.
    pub(super) fn for_slot(number: usize) -> Waiter {
        let me = shmem::proc::my_proc_number().and_then(|me| WAITING.get().get(me as usize));
        if let Some(place) = me {
            place.store(number as u32 + 1, SeqCst);
            CONTROL.get().waiters.fetch_add(1, SeqCst);
        }
        Waiter { number, me, slept: Cell::new(false) }
    }

    /// The slot it waits for.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Sleeps until the slot changes, perhaps for something else. C: `ConditionVariableSleep`.
    ///
    /// # Errors
    /// If the statement is cancelled or the process is to leave.
    pub(super) fn sleep(&self) -> Result<()> {
        self.slept.set(true);
        let woken = latch::wait(Wake::LATCH_OR_DEATH, None, WaitEvent::REPLICATION_SLOT_DROP);
        if woken.postmaster_died() {
            miscinit::exit::proc_exit(1);
        }
        latch::reset();
        interrupt::check()
    }
}

impl Drop for Waiter {
    /// C: `ConditionVariableCancelSleep`.
    fn drop(&mut self) {
        if let Some(place) = self.me {
            place.store(0, SeqCst);
            CONTROL.get().waiters.fetch_sub(1, SeqCst);
        }
        if self.slept.get() {
            // We may have taken a wake-up that was meant for this process's main loop.
            latch::set(shmem::my_latch());
        }
    }
}

/// Wakes all who wait for this slot. C: `ConditionVariableBroadcast`.
pub(super) fn wake(number: usize) {
    if CONTROL.get().waiters.load(SeqCst) == 0 {
        return;
    }
    let wanted = number as u32 + 1;
    for (place, proc) in WAITING.get().iter().zip(shmem::all_procs()) {
        if place.load(SeqCst) == wanted {
            proc.latch.set();
        }
    }
}
