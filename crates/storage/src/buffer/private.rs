//! How often this process has pinned each buffer: only the first pin and the last unpin touch shared memory.
//!
//! The few pins that a process usually holds are found in a small array; the rest in a map.
//!
//! C counterpart: `PrivateRefCountArray`, `PinBuffer`, `UnpinBuffer` of bufmgr.c.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::Ordering;

use super::desc::{self, MAX_USAGE, NONE, REFCOUNT_ONE, USAGE_MASK, USAGE_ONE, bm, refcount, usage};

/// C: `REFCOUNT_ARRAY_ENTRIES`.
const ENTRIES: usize = 8;

struct Private {
    buffers: [Cell<u32>; ENTRIES],
    counts: [Cell<u32>; ENTRIES],
    overflowed: Cell<usize>,
    overflow: RefCell<HashMap<u32, u32>>,
    /// Where the next entry is thrown out of the array when all are taken.
    clock: Cell<usize>,
}

thread_local! {
    static PRIVATE: Private = Private {
        buffers: [const { Cell::new(NONE) }; ENTRIES],
        counts: [const { Cell::new(0) }; ENTRIES],
        overflowed: const { Cell::new(0) },
        overflow: RefCell::new(HashMap::new()),
        clock: const { Cell::new(0) },
    };
}

impl Private {
    #[inline]
    fn find(&self, buffer: u32) -> Option<usize> {
        self.buffers.iter().position(|entry| entry.get() == buffer)
    }

    /// A free place in the array, made by moving an entry to the map if need be.
    #[inline]
    fn free_place(&self) -> usize {
        match self.find(NONE) {
            Some(place) => place,
            None => self.evict(),
        }
    }

    #[cold]
    fn evict(&self) -> usize {
        let place = self.clock.get();
        self.clock.set((place + 1) % ENTRIES);
        let (buffer, count) = (self.buffers[place].replace(NONE), self.counts[place].replace(0));
        self.overflow.borrow_mut().insert(buffer, count);
        self.overflowed.set(self.overflowed.get() + 1);
        place
    }

    /// The entry of a buffer, brought back from the map if it is there.
    #[inline]
    fn entry(&self, buffer: u32) -> Option<usize> {
        if let Some(place) = self.find(buffer) {
            return Some(place);
        }
        if self.overflowed.get() == 0 { None } else { self.fetch_overflowed(buffer) }
    }

    #[cold]
    fn fetch_overflowed(&self, buffer: u32) -> Option<usize> {
        let count = self.overflow.borrow_mut().remove(&buffer)?;
        self.overflowed.set(self.overflowed.get() - 1);
        let place = self.free_place();
        self.buffers[place].set(buffer);
        self.counts[place].set(count);
        Some(place)
    }
}

/// Pins of this process on a buffer. C: `GetPrivateRefCount`.
pub(crate) fn count(buffer: u32) -> u32 {
    PRIVATE.with(|private| private.entry(buffer).map_or(0, |place| private.counts[place].get()))
}

/// Adds a pin. Returns the state word as it was, `None` if the buffer was ours already: then nothing shared
/// changed. `in_ring`: the use of a ring does not make a buffer more popular than once. C: `PinBuffer`.
#[inline]
pub(crate) fn pin(buffer: u32, in_ring: bool) -> Option<u32> {
    PRIVATE.with(|private| {
        if let Some(place) = private.entry(buffer) {
            private.counts[place].set(private.counts[place].get() + 1);
            return None;
        }
        let place = private.free_place();
        let (before, _) = desc::desc(buffer).update(|state| {
            let more = if in_ring { usage(state) == 0 } else { usage(state) < MAX_USAGE };
            state + REFCOUNT_ONE + if more { USAGE_ONE } else { 0 }
        });
        private.buffers[place].set(buffer);
        private.counts[place].set(1);
        Some(before)
    })
}

/// Adds a first pin to a buffer whose header is locked, and unlocks it. C: `PinBuffer_Locked`.
pub(crate) fn pin_locked(buffer: u32, state: u32) {
    PRIVATE.with(|private| {
        debug_assert!(private.entry(buffer).is_none());
        let place = private.free_place();
        private.buffers[place].set(buffer);
        private.counts[place].set(1);
    });
    desc::desc(buffer).unlock(state + REFCOUNT_ONE);
}

/// Takes one of our pins away, waking who waits for that. C: `UnpinBuffer`.
#[inline]
pub(crate) fn unpin(buffer: u32) {
    let last = PRIVATE.try_with(|private| {
        let Some(place) = private.entry(buffer) else { return false };
        let left = private.counts[place].get() - 1;
        private.counts[place].set(left);
        if left == 0 {
            private.buffers[place].set(NONE);
        }
        left == 0
    });
    if last == Ok(true) {
        unpin_shared(buffer);
    }
}

#[inline]
fn unpin_shared(buffer: u32) {
    let (before, _) = desc::desc(buffer).update(|state| state - REFCOUNT_ONE);
    if before & bm::PIN_COUNT_WAITER != 0 {
        wake_pin_count_waiter(buffer);
    }
}

/// If only the one who waits is left, it may go on. C: the end of `UnpinBuffer`.
#[cold]
fn wake_pin_count_waiter(buffer: u32) {
    let desc = desc::desc(buffer);
    let state = desc.lock();
    if state & bm::PIN_COUNT_WAITER != 0 && refcount(state) == 1 {
        let waiter = desc.waiter.load(Ordering::Relaxed);
        desc.unlock(state & !bm::PIN_COUNT_WAITER);
        if let Some(proc) = shmem::all_procs().get(waiter as usize) {
            shmem::latch::set(&proc.latch);
        }
    } else {
        desc.unlock(state);
    }
}

/// Gives all pins back: for the way out of a process, where guards further up the stack are never dropped.
/// C: `AtProcExit_Buffers`.
pub(crate) fn release_all() {
    PRIVATE.with(|private| {
        for entry in &private.buffers {
            let buffer = entry.replace(NONE);
            if buffer != NONE {
                unpin_shared(buffer);
            }
        }
        private.overflowed.set(0);
        for (buffer, _) in private.overflow.borrow_mut().drain() {
            unpin_shared(buffer);
        }
    });
}

/// Number of buffers this process has pinned. C: `CheckForBufferLeaks`.
pub(crate) fn pinned() -> usize {
    PRIVATE.with(|private| {
        private.buffers.iter().filter(|entry| entry.get() != NONE).count() + private.overflowed.get()
    })
}

/// A state word without pins, uses and flags.
pub(crate) fn forgotten(state: u32) -> u32 {
    state & !(desc::FLAG_MASK | USAGE_MASK) | state & bm::LOCKED
}
