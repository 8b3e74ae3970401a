//! The three queues of commits that wait: links by process number in shared memory.
//!
//! A process stands in at most one queue, so its place, position and links are a row of its own; the rows of a queue change
//! under the lock around [`Queues`]. Only the state is also read without it, by its owner.
//!
//! C counterpart: the queue functions of syncrep.c; `waitLSN`, `syncRepState`, `syncRepLinks` of `PGPROC`.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use common::Lsn;
use crossbeam_utils::CachePadded;
use shmem::{Reservation, ShmSlice, shm_struct};

use super::{MODES, Mode};

/// The end of a queue.
const NOBODY: u32 = u32::MAX;

/// How a wait stands. C: `SYNC_REP_NOT_WAITING` and its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitState {
    /// In no queue.
    NotWaiting,
    /// In one.
    Waiting,
    /// In none any more: woken.
    Complete,
}

shm_struct! {
    /// The wait of one process.
    struct Waiter {
        /// [`WaitState`] as a number (SR1).
        state: AtomicU32,
        mode: AtomicU32,
        lsn: AtomicU64,
        before: AtomicU32,
        after: AtomicU32,
    }
}

/// By process number.
static WAITERS: ShmSlice<CachePadded<Waiter>> = ShmSlice::new("Sync Rep Waiters");

pub(super) fn reserve(reservation: &mut Reservation, procs: usize) {
    reservation.slice(&WAITERS, procs, |_| {
        CachePadded::new(Waiter {
            state: AtomicU32::new(WaitState::NotWaiting as u32),
            mode: AtomicU32::new(0),
            lsn: AtomicU64::new(0),
            before: AtomicU32::new(NOBODY),
            after: AtomicU32::new(NOBODY),
        })
    });
}

fn row(process: u32) -> &'static Waiter {
    &WAITERS.get()[process as usize]
}

/// How the wait of this process stands. What is [`WaitState::Complete`] has left its queue.
pub(super) fn state(process: u32) -> WaitState {
    match row(process).state.load(Acquire) {
        0 => WaitState::NotWaiting,
        1 => WaitState::Waiting,
        _ => WaitState::Complete,
    }
}

/// The wait is over; the caller's own.
pub(super) fn finish(process: u32) {
    debug_assert!(state(process) != WaitState::Waiting, "SR1: still in a queue");
    row(process).state.store(WaitState::NotWaiting as u32, Relaxed);
}

shm_struct! {
    /// Ends of the queues, and the positions up to which nobody need wait. C: `SyncRepQueue`, `lsn`.
    pub(super) struct Queues {
        heads: [u32; MODES],
        tails: [u32; MODES],
        synced: [Lsn; MODES],
    }
}

impl Queues {
    pub(super) const fn new() -> Queues {
        Queues { heads: [NOBODY; MODES], tails: [NOBODY; MODES], synced: [Lsn::INVALID; MODES] }
    }

    /// All before it is on the synchronous standbys.
    pub(super) fn synced(&self, mode: Mode) -> Lsn {
        self.synced[mode as usize]
    }

    /// Stands in behind the last with an earlier position: nearly always at the end. C: `SyncRepQueueInsert`.
    pub(super) fn join(&mut self, mode: Mode, process: u32, lsn: Lsn) {
        debug_assert!(state(process) == WaitState::NotWaiting, "SR1: one queue at a time");
        let mut before = self.tails[mode as usize];
        while before != NOBODY && row(before).lsn.load(Relaxed) >= lsn.0 {
            before = row(before).before.load(Relaxed);
        }
        let after = self.link_after(mode, before);
        let mine = row(process);
        mine.mode.store(mode as u32, Relaxed);
        mine.lsn.store(lsn.0, Relaxed);
        mine.before.store(before, Relaxed);
        mine.after.store(after, Relaxed);
        mine.state.store(WaitState::Waiting as u32, Relaxed);
        self.connect(mode, before, process);
        self.connect(mode, process, after);
    }

    fn link_after(&self, mode: Mode, process: u32) -> u32 {
        if process == NOBODY { self.heads[mode as usize] } else { row(process).after.load(Relaxed) }
    }

    /// Makes these two neighbours; nobody means the end of the queue.
    fn connect(&mut self, mode: Mode, before: u32, after: u32) {
        if before == NOBODY {
            self.heads[mode as usize] = after;
        } else {
            row(before).after.store(after, Relaxed);
        }
        if after == NOBODY {
            self.tails[mode as usize] = before;
        } else {
            row(after).before.store(before, Relaxed);
        }
    }

    fn unlink(&mut self, mode: Mode, process: u32) {
        let links = row(process);
        self.connect(mode, links.before.load(Relaxed), links.after.load(Relaxed));
    }

    /// Leaves, unless woken meanwhile. C: `SyncRepCancelWait`.
    pub(super) fn leave(&mut self, process: u32) {
        if state(process) != WaitState::Waiting {
            return;
        }
        let mode = Mode::ALL[row(process).mode.load(Relaxed) as usize];
        self.unlink(mode, process);
        row(process).state.store(WaitState::NotWaiting as u32, Relaxed);
    }

    /// The standbys have come so far: wakes whoever waits for no more; returns how many. An older position than the
    /// last changes nothing (SR4). C: `SyncRepWakeQueue`.
    pub(super) fn advance(&mut self, mode: Mode, synced: Lsn) -> usize {
        if synced <= self.synced(mode) {
            return 0;
        }
        self.synced[mode as usize] = synced;
        self.wake(mode, Some(synced))
    }

    /// Nobody need wait any more.
    pub(super) fn wake_all(&mut self, mode: Mode) {
        self.wake(mode, None);
    }

    fn wake(&mut self, mode: Mode, upto: Option<Lsn>) -> usize {
        debug_assert!(self.is_ordered(mode), "SR4");
        let procs = shmem::all_procs();
        let mut woken = 0;
        loop {
            let first = self.heads[mode as usize];
            if first == NOBODY || upto.is_some_and(|upto| row(first).lsn.load(Relaxed) > upto.0) {
                return woken;
            }
            self.unlink(mode, first);
            // Behind the unlinking: who sees it looks at the links no more.
            row(first).state.store(WaitState::Complete as u32, Release);
            if let Some(proc) = procs.get(first as usize) {
                proc.latch.set();
            }
            woken += 1;
        }
    }

    fn is_ordered(&self, mode: Mode) -> bool {
        self.positions(mode).is_sorted()
    }

    /// Positions in a queue from its head.
    pub(super) fn positions(&self, mode: Mode) -> Vec<u64> {
        let mut all = Vec::new();
        let mut at = self.heads[mode as usize];
        while at != NOBODY {
            all.push(row(at).lsn.load(Relaxed));
            at = row(at).after.load(Relaxed);
        }
        all
    }
}
