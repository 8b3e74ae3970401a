//! The LWLock algorithm, without the data and without the process around it.
//!
//! This file is compiled twice: with the standard atomics for the server, and with loom's for the model
//! checker (`super::sync` says which). It knows no PGPROC either: processes are numbers, and [`Parking`] finds
//! a process's queue entry and puts it to sleep.
//!
//! One word holds everything that decides who may enter:
//!
//! | bits | name | meaning |
//! |---|---|---|
//! | 0-19 | shared count | holders in shared mode |
//! | 20 | `EXCLUSIVE` | one holder in exclusive mode |
//! | 28 | `LIST_LOCKED` | somebody edits the queue (a spinlock) |
//! | 29 | `HAS_WAITERS` | the queue is not empty, or is about to be so |
//! | 30 | `WAKING` | a writer has been woken to try again and has not tried yet |
//! | 31 | `FAIR` | the door is closed: who is not woken queues, and the next release hands the lock over |
//!
//! Who comes while others wait walks past them if the holders allow it: a reader joins readers, a writer takes a free
//! lock. That keeps a hot lock busy while those who were woken are on their way to a CPU. If everybody had to queue,
//! each wake-up would cost a turn of the scheduler, and once as many processes as there are CPUs sleep in the queue
//! the lock would never get out of that again.
//!
//! It would let a waiter starve, so patience has an end: who has slept for a while without being woken
//! ([`Parking::park`] says so), or was woken [`LOST_ROUNDS`] times and overtaken each time, closes the door. The head of
//! the queue then is handed the lock as soon as those inside have left, and that opens the door again. Readers at the head
//! are always handed it, all that stand side by side at once.
//!
//! The invariants (cited in the code):
//!
//! - **L1** Holders are added only by a compare-and-swap that sees no conflicting holder.
//! - **L2** Head, tail and links change only under `LIST_LOCKED`; so do `HAS_WAITERS` and `FAIR`, and `FAIR` is set only
//!   while there are waiters.
//! - **L3** Whoever leaves the lock empty, finds `HAS_WAITERS` and not `WAKING`, wakes somebody.
//! - **L4** While `WAKING` is set, exactly one writer is on its way; its attempt clears the flag, and no closed door stops it.
//!
//! Why no wake-up is lost: a waiter sets `HAS_WAITERS` by the very compare-and-swap that finds the lock taken,
//! so each holder it lost to sees the flag when it leaves (L3), or finds another writer on its way (L4), which
//! either gets the lock and then is a holder itself, or queues again on finding a holder. A closed door keeps newcomers
//! out of an empty lock only while somebody is between leaving and waking, or on its way.
//!
//! C counterpart: lwlock.c. There a woken waiter always races, goes to the tail when it loses, and may starve.

use super::sync::{AtomicU32, Ordering, Pause};

const SHARED_ONE: u32 = 1;
const SHARED_MASK: u32 = (1 << 20) - 1;
const EXCLUSIVE: u32 = 1 << 20;
const HOLDERS: u32 = SHARED_MASK | EXCLUSIVE;
const LIST_LOCKED: u32 = 1 << 28;
const HAS_WAITERS: u32 = 1 << 29;
const WAKING: u32 = 1 << 30;
const FAIR: u32 = 1 << 31;

/// So often a woken writer is overtaken before it closes the door.
pub(crate) const LOST_ROUNDS: u32 = 16;

/// No process: the end of the queue.
pub(crate) const NOBODY: u32 = u32::MAX;

/// Which attempt of a process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It comes from outside.
    First,
    /// A writer from the queue, overtaken so often already.
    Woken {
        /// Up to [`LOST_ROUNDS`].
        lost: u32,
    },
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LwMode {
    /// With others in the same mode.
    Shared,
    /// Alone.
    Exclusive,
}

impl LwMode {
    fn holder(self) -> u32 {
        match self {
            LwMode::Shared => SHARED_ONE,
            LwMode::Exclusive => EXCLUSIVE,
        }
    }
}

/// Values of [`WaitNode::wake`].
pub(crate) mod wake {
    /// Not in any queue, or popped and told to try again.
    pub(crate) const TRY_AGAIN: u32 = 0;
    /// Queued.
    pub(crate) const WAITING: u32 = 1;
    /// Popped; the lock is already ours.
    pub(crate) const GRANTED: u32 = 2;
}

/// A process's place in a queue: part of its PGPROC, since it waits for one lock at a time.
#[repr(C)]
pub(crate) struct WaitNode {
    /// What the process sleeps on.
    pub(crate) wake: AtomicU32,
    pub(crate) exclusive: AtomicU32,
    pub(crate) next: AtomicU32,
}

impl WaitNode {
    pub(crate) fn new() -> WaitNode {
        WaitNode {
            wake: AtomicU32::new(wake::TRY_AGAIN),
            exclusive: AtomicU32::new(0),
            next: AtomicU32::new(NOBODY),
        }
    }
}

/// What the algorithm needs from its surroundings.
pub(crate) trait Parking {
    /// The queue entry of a process.
    fn node(&self, process: u32) -> &WaitNode;
    /// Sleeps while the node's `wake` is `WAITING`; may return early. False: it has slept for as long as a waiter's patience
    /// lasts.
    fn park(&self, process: u32) -> bool;
    /// Wakes the process after its `wake` has changed.
    fn unpark(&self, process: u32);
}

/// The lock.
#[repr(C)]
pub(crate) struct Core {
    state: AtomicU32,
    head: AtomicU32,
    tail: AtomicU32,
}

impl Core {
    pub(crate) fn new() -> Core {
        Core { state: AtomicU32::new(0), head: AtomicU32::new(NOBODY), tail: AtomicU32::new(NOBODY) }
    }

    /// May somebody enter who was not woken before?
    fn admits(state: u32, mode: LwMode) -> bool {
        match mode {
            LwMode::Exclusive => state & (HOLDERS | FAIR) == 0,
            LwMode::Shared => state & (EXCLUSIVE | FAIR) == 0,
        }
    }

    /// Enters if that is possible at once. C: `LWLockAttemptLock`.
    #[inline]
    pub(crate) fn try_acquire(&self, mode: LwMode) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while Core::admits(state, mode) {
            // L1.
            let entered = state + mode.holder();
            match self.state.compare_exchange_weak(state, entered, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Enters, after sleeping as often as it takes. C: `LWLockAcquire`, its slow path.
    pub(crate) fn acquire_waiting(&self, mode: LwMode, me: u32, parking: &impl Parking) {
        if !self.enter_or_queue(mode, me, Attempt::First, parking) {
            self.wait_in_queue(mode, me, parking);
        }
    }

    /// Sleeps until the lock is handed over, or tries again when told so.
    pub(super) fn wait_in_queue(&self, mode: LwMode, me: u32, parking: &impl Parking) {
        let mut lost = 0;
        loop {
            while parking.node(me).wake.load(Ordering::Acquire) == wake::WAITING {
                if !parking.park(me) {
                    lost = LOST_ROUNDS;
                    self.close_door();
                }
            }
            let granted = parking.node(me).wake.load(Ordering::Relaxed) == wake::GRANTED;
            if granted || self.enter_or_queue(mode, me, Attempt::Woken { lost }, parking) {
                return;
            }
            lost = (lost + 1).min(LOST_ROUNDS);
        }
    }

    /// From now on the lock is handed over, until it was once. If the caller was popped meanwhile, this serves those who
    /// still wait; if nobody does, the door stays open (L2).
    #[cold]
    pub(super) fn close_door(&self) {
        self.lock_list();
        if self.head.load(Ordering::Relaxed) != NOBODY {
            self.state.fetch_or(FAIR, Ordering::Relaxed);
        }
        self.unlock_list(0);
    }

    /// One attempt under the queue's lock: true if it entered, false if it is queued now.
    pub(super) fn enter_or_queue(
        &self,
        mode: LwMode,
        me: u32,
        attempt: Attempt,
        parking: &impl Parking,
    ) -> bool {
        self.lock_list();
        // Only a writer is ever told to try again, and nobody but it may clear WAKING (L4).
        let (cleared, marks) = match attempt {
            Attempt::First => (0, HAS_WAITERS),
            Attempt::Woken { lost } if lost < LOST_ROUNDS => (WAKING, HAS_WAITERS),
            Attempt::Woken { .. } => (WAKING, HAS_WAITERS | FAIR),
        };
        let woken = attempt != Attempt::First;
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let enters = if woken { state & HOLDERS == 0 } else { Core::admits(state, mode) };
            let next = if enters {
                (state & !cleared & !LIST_LOCKED) + mode.holder()
            } else {
                // HAS_WAITERS before there is one: who sees it waits for the queue's lock, and then there is.
                (state & !cleared) | marks
            };
            match self.state.compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if enters => return true,
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        let node = parking.node(me);
        node.exclusive.store(u32::from(mode == LwMode::Exclusive), Ordering::Relaxed);
        node.wake.store(wake::WAITING, Ordering::Relaxed);
        if woken {
            self.push_front(me, parking);
        } else {
            self.push_back(me, parking);
        }
        self.unlock_list(0);
        false
    }

    /// Leaves. C: `LWLockRelease`.
    #[inline]
    pub(crate) fn release(&self, mode: LwMode, parking: &impl Parking) {
        let before = self.state.fetch_sub(mode.holder(), Ordering::AcqRel);
        let after = before - mode.holder();
        // L3.
        if after & (HOLDERS | HAS_WAITERS | WAKING) == HAS_WAITERS {
            self.wake_next(parking);
        }
    }

    /// Wakes the head of the queue, unless the lock was taken again meanwhile: then its holder will.
    /// C: `LWLockWakeup`.
    #[cold]
    fn wake_next(&self, parking: &impl Parking) {
        self.lock_list();
        let head = self.head.load(Ordering::Relaxed);
        if head == NOBODY || self.state.load(Ordering::Relaxed) & WAKING != 0 {
            self.unlock_list(0);
            return;
        }
        let (last, granted) = if parking.node(head).exclusive.load(Ordering::Relaxed) == 0 {
            self.grant_to_readers(head, parking)
        } else {
            (head, self.grant_to_writer())
        };
        let Some(answer) = granted else {
            self.unlock_list(0);
            return;
        };
        let end = parking.node(last).next.load(Ordering::Relaxed);
        self.head.store(end, Ordering::Relaxed);
        let mut finished = FAIR;
        if end == NOBODY {
            self.tail.store(NOBODY, Ordering::Relaxed);
            finished |= HAS_WAITERS;
        }
        self.unlock_list(finished);
        let mut process = head;
        while process != end {
            // Read the link first: with the store the process is free to queue somewhere else.
            let node = parking.node(process);
            let next = node.next.load(Ordering::Relaxed);
            node.wake.store(answer, Ordering::Release);
            parking.unpark(process);
            process = next;
        }
    }

    /// Enters on behalf of all readers from the head up to the next writer. Returns the last of them.
    fn grant_to_readers(&self, head: u32, parking: &impl Parking) -> (u32, Option<u32>) {
        let (mut last, mut count) = (head, 1);
        loop {
            let next = parking.node(last).next.load(Ordering::Relaxed);
            if next == NOBODY || parking.node(next).exclusive.load(Ordering::Relaxed) != 0 {
                break;
            }
            (last, count) = (next, count + 1);
        }
        (last, self.enter_for(EXCLUSIVE, count * SHARED_ONE).then_some(wake::GRANTED))
    }

    /// Enters on behalf of the writer at the head if the door is closed, else tells it to race.
    fn grant_to_writer(&self) -> Option<u32> {
        if self.state.load(Ordering::Relaxed) & FAIR != 0 {
            return self.enter_for(HOLDERS, EXCLUSIVE).then_some(wake::GRANTED);
        }
        let mut state = self.state.load(Ordering::Relaxed);
        while state & HOLDERS == 0 {
            let waking = state | WAKING;
            match self.state.compare_exchange_weak(state, waking, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(wake::TRY_AGAIN),
                Err(now) => state = now,
            }
        }
        None
    }

    /// L1 for somebody else: adds `holders` if none of `conflicts` is there.
    fn enter_for(&self, conflicts: u32, holders: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & conflicts == 0 {
            let entered = state + holders;
            match self.state.compare_exchange_weak(state, entered, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    fn push_back(&self, me: u32, parking: &impl Parking) {
        parking.node(me).next.store(NOBODY, Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed);
        if tail == NOBODY {
            self.head.store(me, Ordering::Relaxed);
        } else {
            parking.node(tail).next.store(me, Ordering::Relaxed);
        }
        self.tail.store(me, Ordering::Relaxed);
    }

    fn push_front(&self, me: u32, parking: &impl Parking) {
        let head = self.head.load(Ordering::Relaxed);
        parking.node(me).next.store(head, Ordering::Relaxed);
        self.head.store(me, Ordering::Relaxed);
        if head == NOBODY {
            self.tail.store(me, Ordering::Relaxed);
        }
    }

    fn lock_list(&self) {
        let mut pause = Pause::new();
        while self.state.fetch_or(LIST_LOCKED, Ordering::Acquire) & LIST_LOCKED != 0 {
            pause.pause();
        }
    }

    /// Unlocks the queue and clears these flags with it (L2).
    fn unlock_list(&self, cleared: u32) {
        self.state.fetch_and(!(LIST_LOCKED | cleared), Ordering::Release);
    }

    /// Whether anybody holds it exclusively, and how many hold it shared: a glance, old when it arrives.
    pub(crate) fn holders(&self) -> (bool, u32) {
        let state = self.state.load(Ordering::Relaxed);
        (state & EXCLUSIVE != 0, state & SHARED_MASK)
    }

    /// The processes in the queue, first to last. Takes the queue's lock.
    #[cfg(test)]
    pub(crate) fn queue(&self, parking: &impl Parking) -> Vec<u32> {
        self.lock_list();
        let mut processes = Vec::new();
        let mut process = self.head.load(Ordering::Relaxed);
        while process != NOBODY {
            processes.push(process);
            process = parking.node(process).next.load(Ordering::Relaxed);
        }
        self.unlock_list(0);
        processes
    }
}
