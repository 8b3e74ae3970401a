//! Which buffer gives way: the free list, the clock, and rings for scans that would flood the pool.
//!
//! - B4  The hand of the clock only counts up; where it stands is its count modulo the pool's size, how often it went
//!   round the count divided by it. Nothing to lock.
//!
//! C counterpart: freelist.c.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use common::SqlState;
use elog::{Result, error};
use shmem::{Reservation, ShmVar, SpinLock};

use super::desc::{self, NONE, NOT_IN_LIST, USAGE_ONE, refcount, usage};

shmem::shm_struct! {
    struct Control {
        /// Head of the free list; `NONE` once it is used up, which is read without the lock.
        first_free: AtomicU32,
        free_list: SpinLock<()>,
        /// B4. C: `nextVictimBuffer` and `completePasses`.
        hand: AtomicU64,
        /// Victims handed out since the background writer last asked. C: `numBufferAllocs`.
        allocated: AtomicU32,
        /// PGPROC of a sleeping background writer that wants to hear of the next victim. C: `bgwprocno`.
        wake: AtomicU32,
    }
}

static CONTROL: ShmVar<Control> = ShmVar::new("Buffer Strategy Status");

pub(crate) fn reserve(r: &mut Reservation) {
    r.var(&CONTROL, || Control {
        first_free: AtomicU32::new(0),
        free_list: SpinLock::new(()),
        hand: AtomicU64::new(0),
        allocated: AtomicU32::new(0),
        wake: AtomicU32::new(NONE),
    });
}

/// What a ring is for. C: `BufferAccessStrategyType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BulkRead,
    BulkWrite,
    Vacuum,
}

/// A few buffers that one scan uses over and over. Belongs to one process. C: `BufferAccessStrategy`.
#[derive(Debug)]
pub struct Strategy {
    kind: Kind,
    ring: RefCell<Vec<u32>>,
    current: Cell<usize>,
    /// Whether the last victim came from the ring.
    from_ring: Cell<bool>,
}

impl Strategy {
    fn new(kind: Kind, bytes: usize) -> Strategy {
        let wanted = bytes / common::BLCKSZ;
        let len = wanted.min(desc::count() as usize / 8).max(1);
        Strategy {
            kind,
            ring: RefCell::new(vec![NONE; len]),
            current: Cell::new(len - 1),
            from_ring: Cell::new(false),
        }
    }

    /// For a sequential scan of a relation larger than a quarter of the pool: 256 kB. C: `BAS_BULKREAD`.
    pub fn bulk_read() -> Strategy {
        Strategy::new(Kind::BulkRead, 256 * 1024)
    }

    /// For COPY FROM, CREATE TABLE AS and the like: 16 MB. C: `BAS_BULKWRITE`.
    pub fn bulk_write() -> Strategy {
        Strategy::new(Kind::BulkWrite, 16 * 1024 * 1024)
    }

    /// For VACUUM: 256 kB. C: `BAS_VACUUM`.
    pub fn vacuum() -> Strategy {
        Strategy::new(Kind::Vacuum, 256 * 1024)
    }

    /// The next buffer of the ring with its header locked, if nobody else has got to like it.
    /// C: `GetBufferFromRing`.
    fn next(&self) -> Option<(u32, u32)> {
        let ring = self.ring.borrow();
        let current = (self.current.get() + 1) % ring.len();
        self.current.set(current);
        self.from_ring.set(false);
        let buffer = ring[current];
        if buffer == NONE {
            return None;
        }
        let desc = desc::desc(buffer);
        let state = desc.lock();
        if refcount(state) == 0 && usage(state) <= 1 {
            self.from_ring.set(true);
            return Some((buffer, state));
        }
        desc.unlock(state);
        None
    }

    /// C: `AddBufferToRing`.
    fn remember(&self, buffer: u32) {
        self.ring.borrow_mut()[self.current.get()] = buffer;
    }

    /// Whether a dirty buffer, whose writing would have to wait for WAL, is given up in favour of another. Only for
    /// reading: who writes must clean up behind itself. C: `StrategyRejectBuffer`.
    pub(crate) fn reject(&self, buffer: u32) -> bool {
        if self.kind != Kind::BulkRead || !self.from_ring.get() {
            return false;
        }
        let mut ring = self.ring.borrow_mut();
        if ring[self.current.get()] != buffer {
            return false;
        }
        ring[self.current.get()] = NONE;
        true
    }
}

/// A buffer that may be reused: unpinned when it was chosen, its header locked. Returns it with its state.
/// C: `StrategyGetBuffer`.
///
/// # Errors
/// `no unpinned buffers available`.
pub(crate) fn victim(strategy: Option<&Strategy>) -> Result<(u32, u32)> {
    if let Some(found) = strategy.and_then(Strategy::next) {
        return Ok(found);
    }
    let control = CONTROL.get();
    wake_bgwriter(control);
    control.allocated.fetch_add(1, Ordering::Relaxed);
    let found = match from_free_list(control) {
        Some(found) => found,
        None => from_clock(control)?,
    };
    if let Some(strategy) = strategy {
        strategy.remember(found.0);
    }
    Ok(found)
}

fn wake_bgwriter(control: &Control) {
    if control.wake.load(Ordering::Relaxed) == NONE {
        return;
    }
    let waiter = control.wake.swap(NONE, Ordering::Relaxed);
    if let Some(proc) = shmem::all_procs().get(waiter as usize) {
        shmem::latch::set(&proc.latch);
    }
}

fn from_free_list(control: &Control) -> Option<(u32, u32)> {
    loop {
        if control.first_free.load(Ordering::Relaxed) == NONE {
            return None;
        }
        let buffer = {
            let _lock = control.free_list.lock();
            let buffer = control.first_free.load(Ordering::Relaxed);
            if buffer == NONE {
                return None;
            }
            let next = desc::desc(buffer).next_free.swap(NOT_IN_LIST, Ordering::Relaxed);
            control.first_free.store(next, Ordering::Relaxed);
            buffer
        };
        // It may have been pinned, or used again, since it was put here; then the clock will find it.
        let desc = desc::desc(buffer);
        let state = desc.lock();
        if refcount(state) == 0 && usage(state) == 0 {
            return Some((buffer, state));
        }
        desc.unlock(state);
    }
}

fn from_clock(control: &Control) -> Result<(u32, u32)> {
    let count = desc::count();
    let mut tries = count;
    loop {
        let buffer = (control.hand.fetch_add(1, Ordering::Relaxed) % u64::from(count)) as u32;
        let desc = desc::desc(buffer);
        let state = desc.lock();
        if refcount(state) == 0 {
            if usage(state) == 0 {
                return Ok((buffer, state));
            }
            desc.unlock(state - USAGE_ONE);
            tries = count;
            continue;
        }
        desc.unlock(state);
        tries -= 1;
        if tries == 0 {
            // Everything is pinned; waiting would probably be for ever.
            return Err(error!(SqlState::INTERNAL_ERROR, "no unpinned buffers available"));
        }
    }
}

/// Puts a buffer without content into the free list. C: `StrategyFreeBuffer`.
pub(crate) fn free(buffer: u32) {
    let control = CONTROL.get();
    let _lock = control.free_list.lock();
    let desc = desc::desc(buffer);
    if desc.next_free.load(Ordering::Relaxed) == NOT_IN_LIST {
        desc.next_free.store(control.first_free.load(Ordering::Relaxed), Ordering::Relaxed);
        control.first_free.store(buffer, Ordering::Relaxed);
    }
}

/// Where the clock stands, how often it went round, and how many victims there were since the last call.
/// C: `StrategySyncStart`.
pub(crate) fn sync_start() -> (u32, u32, u32) {
    let control = CONTROL.get();
    let hand = control.hand.load(Ordering::Relaxed);
    let count = u64::from(desc::count());
    ((hand % count) as u32, (hand / count) as u32, control.allocated.swap(0, Ordering::Relaxed))
}

/// Asks to be woken at the next victim, or no longer. C: `StrategyNotifyBgWriter`.
pub(crate) fn notify_bgwriter(proc_number: Option<u32>) {
    CONTROL.get().wake.store(proc_number.unwrap_or(NONE), Ordering::Relaxed);
}
