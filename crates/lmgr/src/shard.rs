//! One partition of the lock table: plain data and the rules that change it, without processes, sleep or time.
//!
//! A lock that somebody holds or waits for has a slot; so has each pair of a lock and a process (a *holder*, also
//! while it only waits). Slots are linked by their indexes. The waiters of a lock stand in a queue; a newcomer goes to
//! its end, unless it holds the lock in a mode that somebody in the queue waits to go: then it goes before that one,
//! since behind it both would wait for ever.
//!
//! - **K1** `granted` counts the holders of each mode; `granted_modes` has the bits of those that are not 0.
//! - **K2** No two processes hold modes that conflict.
//! - **K3** `waiting_modes` has the bits of the modes in the queue.
//! - **K4** A lock without holders, and a holder that neither holds nor waits, has no slot.
//! - **K5** Whenever the partition's LWLock is free, the first waiter of each queue conflicts with somebody who holds the
//!   lock: whatever made room has woken it.
//!
//! C counterpart: `LOCK`, `PROCLOCK`, `SetupLockInTable`, `LockCheckConflicts`, `GrantLock`, `UnGrantLock`, `CleanUpLock`
//! in lock.c; `ProcLockWakeup` and the queueing part of `ProcSleep` in proc.c.

use shmem::shm_struct;

use crate::mode::{LockMode, MODES, Modes};
use crate::tag::{LockTag, Packed};

/// Slots for locks.
pub(crate) const LOCKS: usize = 640;
/// Slots for holders: each lock is expected to have two, as in C.
pub(crate) const HOLDERS: usize = 2 * LOCKS;
const BUCKETS: usize = 512;
/// No slot.
const NIL: u16 = u16::MAX;

shm_struct! {
    /// C: `LOCK`.
    #[derive(Clone, Copy)]
    struct Lock {
        tag: [u32; 5],
        granted: [u32; MODES],
        granted_modes: u16,
        waiting_modes: u16,
        holders: u16,
        queue_head: u16,
        queue_tail: u16,
        /// Next in the bucket, or in the free list.
        next: u16,
    }
}

shm_struct! {
    /// C: `PROCLOCK`, with `waitLockMode` and the queue's links of `PGPROC`.
    #[derive(Clone, Copy)]
    struct Holder {
        /// Index of the PGPROC.
        process: u32,
        lock: u16,
        held: u16,
        /// The mode it waits for, or 0.
        awaited: u16,
        /// Next of the same lock, or in the free list.
        next: u16,
        ahead: u16,
        behind: u16,
    }
}

shm_struct! {
    /// One partition's part of the lock table.
    pub(crate) struct Shard {
        buckets: [u16; BUCKETS],
        locks: [Lock; LOCKS],
        holders: [Holder; HOLDERS],
        free_lock: u16,
        free_holder: u16,
    }
}

/// Where a process's claim on a lock is. Stays valid as long as the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) lock: u16,
    holder: u16,
}

/// No slot is left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What came of going into the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// Its place turned out to be before all that it conflicts with: granted at once.
    Granted,
    /// It stands in the queue.
    Waiting,
    /// This process, in the queue, waits for us, and we would wait for it. Not queued. C: the early deadlock.
    Deadlock { process: u32, mode: LockMode },
}

/// One lock as others see it: for the deadlock detector and views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockView {
    pub(crate) tag: LockTag,
    /// Who holds what; those who only wait hold nothing.
    pub(crate) holders: Vec<(u32, Modes)>,
    /// Who waits for what, first to last.
    pub(crate) queue: Vec<(u32, LockMode)>,
}

impl Shard {
    pub(crate) fn new() -> Shard {
        let lock = Lock {
            tag: [0; 5],
            granted: [0; MODES],
            granted_modes: 0,
            waiting_modes: 0,
            holders: NIL,
            queue_head: NIL,
            queue_tail: NIL,
            next: NIL,
        };
        let holder =
            Holder { process: 0, lock: NIL, held: 0, awaited: 0, next: NIL, ahead: NIL, behind: NIL };
        let mut shard = Shard {
            buckets: [NIL; BUCKETS],
            locks: [lock; LOCKS],
            holders: [holder; HOLDERS],
            free_lock: 0,
            free_holder: 0,
        };
        for i in 0..LOCKS - 1 {
            shard.locks[i].next = i as u16 + 1;
        }
        for i in 0..HOLDERS - 1 {
            shard.holders[i].next = i as u16 + 1;
        }
        shard
    }

    fn lock(&self, at: u16) -> &Lock {
        &self.locks[usize::from(at)]
    }

    fn lock_mut(&mut self, at: u16) -> &mut Lock {
        &mut self.locks[usize::from(at)]
    }

    fn holder(&self, at: u16) -> &Holder {
        &self.holders[usize::from(at)]
    }

    fn holder_mut(&mut self, at: u16) -> &mut Holder {
        &mut self.holders[usize::from(at)]
    }

    fn bucket_of(hash: u32) -> usize {
        (hash >> 16) as usize % BUCKETS
    }

    fn find_lock(&self, tag: &Packed, hash: u32) -> Option<u16> {
        let mut at = self.buckets[Shard::bucket_of(hash)];
        while at != NIL && self.lock(at).tag != *tag {
            at = self.lock(at).next;
        }
        (at != NIL).then_some(at)
    }

    fn holders_of(&self, lock: u16) -> impl Iterator<Item = u16> + '_ {
        let link = |at: u16| (at != NIL).then_some(at);
        std::iter::successors(link(self.lock(lock).holders), move |at| link(self.holder(*at).next))
    }

    fn queue_of(&self, lock: u16) -> impl Iterator<Item = u16> + '_ {
        let link = |at: u16| (at != NIL).then_some(at);
        std::iter::successors(link(self.lock(lock).queue_head), move |at| link(self.holder(*at).behind))
    }

    /// The process's claim on the lock, if it has one.
    pub(crate) fn find(&self, tag: LockTag, hash: u32, process: u32) -> Option<Place> {
        let lock = self.find_lock(&tag.pack(), hash)?;
        let holder = self.holders_of(lock).find(|at| self.holder(*at).process == process)?;
        Some(Place { lock, holder })
    }

    /// The process's claim on the lock, made if need be; whoever makes one must grant or queue it, or call
    /// [`Shard::drop_if_unused`] (K4). C: `SetupLockInTable`.
    pub(crate) fn enter(&mut self, tag: LockTag, hash: u32, process: u32) -> Result<Place, Full> {
        let packed = tag.pack();
        let lock = match self.find_lock(&packed, hash) {
            Some(lock) => lock,
            None => self.new_lock(packed, hash)?,
        };
        let mut last = NIL;
        for holder in self.holders_of(lock) {
            if self.holder(holder).process == process {
                return Ok(Place { lock, holder });
            }
            last = holder;
        }
        let holder = self.free_holder;
        if holder == NIL {
            if self.lock(lock).holders == NIL {
                self.free(lock, hash);
            }
            return Err(Full);
        }
        self.free_holder = self.holder(holder).next;
        *self.holder_mut(holder) =
            Holder { process, lock, held: 0, awaited: 0, next: NIL, ahead: NIL, behind: NIL };
        // In order of arrival: messages list them so.
        match last {
            NIL => self.lock_mut(lock).holders = holder,
            last => self.holder_mut(last).next = holder,
        }
        Ok(Place { lock, holder })
    }

    fn new_lock(&mut self, tag: Packed, hash: u32) -> Result<u16, Full> {
        let at = self.free_lock;
        if at == NIL {
            return Err(Full);
        }
        self.free_lock = self.lock(at).next;
        let bucket = Shard::bucket_of(hash);
        let next = std::mem::replace(&mut self.buckets[bucket], at);
        let (holders, queue) = (NIL, NIL);
        *self.lock_mut(at) = Lock {
            tag,
            granted: [0; MODES],
            granted_modes: 0,
            waiting_modes: 0,
            holders,
            queue_head: queue,
            queue_tail: queue,
            next,
        };
        Ok(at)
    }

    fn free(&mut self, lock: u16, hash: u32) {
        let (bucket, next) = (Shard::bucket_of(hash), self.lock(lock).next);
        if self.buckets[bucket] == lock {
            self.buckets[bucket] = next;
        } else {
            let mut at = self.buckets[bucket];
            while self.lock(at).next != lock {
                at = self.lock(at).next;
            }
            self.lock_mut(at).next = next;
        }
        self.lock_mut(lock).next = std::mem::replace(&mut self.free_lock, lock);
    }

    /// Gives back the slots of a claim that neither holds nor waits, and of a lock without claims (K4).
    pub(crate) fn drop_if_unused(&mut self, place: Place) {
        let holder = *self.holder(place.holder);
        if holder.held != 0 || holder.awaited != 0 {
            return;
        }
        if self.lock(place.lock).holders == place.holder {
            self.lock_mut(place.lock).holders = holder.next;
        } else {
            let mut at = self.lock(place.lock).holders;
            while self.holder(at).next != place.holder {
                at = self.holder(at).next;
            }
            self.holder_mut(at).next = holder.next;
        }
        self.holder_mut(place.holder).next = std::mem::replace(&mut self.free_holder, place.holder);
        if self.lock(place.lock).holders == NIL {
            let hash = LockTag::unpack(self.lock(place.lock).tag).hash();
            self.free(place.lock, hash);
        }
    }

    /// What the process of this claim holds.
    pub(crate) fn held(&self, place: Place) -> Modes {
        Modes(self.holder(place.holder).held)
    }

    /// Whether *other* processes hold what conflicts with the mode. C: `LockCheckConflicts`.
    pub(crate) fn conflicts(&self, place: Place, mode: LockMode) -> bool {
        let lock = self.lock(place.lock);
        let conflicting = mode.conflicts();
        if !conflicting.intersects(Modes(lock.granted_modes)) {
            return false;
        }
        let mine = self.held(place);
        conflicting.iter().any(|other| lock.granted[other as usize - 1] > u32::from(mine.contains(other)))
    }

    /// Grants the mode if nobody holds or waits for what conflicts with it.
    pub(crate) fn try_grant(&mut self, place: Place, mode: LockMode) -> bool {
        let waiting = Modes(self.lock(place.lock).waiting_modes);
        let free = !mode.conflicts().intersects(waiting) && !self.conflicts(place, mode);
        if free {
            self.grant(place, mode);
        }
        free
    }

    /// Grants the mode. C: `GrantLock`.
    pub(crate) fn grant(&mut self, place: Place, mode: LockMode) {
        let bit = 1 << mode as u16;
        debug_assert!(self.holder(place.holder).held & bit == 0, "{mode:?} is held already");
        self.holder_mut(place.holder).held |= bit;
        let lock = self.lock_mut(place.lock);
        lock.granted[mode as usize - 1] += 1;
        lock.granted_modes |= bit;
    }

    /// Goes into the queue, at the right place. If it is not [`Queued::Waiting`], the claim is not queued.
    /// C: the first half of `ProcSleep`.
    pub(crate) fn enqueue(&mut self, place: Place, mode: LockMode) -> Queued {
        let mine = self.held(place);
        let mut before = NIL;
        if !mine.is_empty() {
            let mut ahead = Modes::NONE;
            for at in self.queue_of(place.lock) {
                let waiter = self.holder(at);
                let Some(awaited) = LockMode::from_u8(waiter.awaited as u8) else { continue };
                if !awaited.conflicts().intersects(mine) {
                    ahead.add(awaited);
                    continue;
                }
                if mode.conflicts().intersects(Modes(waiter.held)) {
                    return Queued::Deadlock { process: waiter.process, mode: awaited };
                }
                before = at;
                break;
            }
            if before != NIL && !mode.conflicts().intersects(ahead) && !self.conflicts(place, mode) {
                self.grant(place, mode);
                return Queued::Granted;
            }
        }
        self.insert(place, before);
        self.holder_mut(place.holder).awaited = mode as u16;
        self.lock_mut(place.lock).waiting_modes |= 1 << mode as u16;
        Queued::Waiting
    }

    fn insert(&mut self, place: Place, before: u16) {
        let ahead = if before == NIL { self.lock(place.lock).queue_tail } else { self.holder(before).ahead };
        let holder = self.holder_mut(place.holder);
        (holder.ahead, holder.behind) = (ahead, before);
        match ahead {
            NIL => self.lock_mut(place.lock).queue_head = place.holder,
            ahead => self.holder_mut(ahead).behind = place.holder,
        }
        match before {
            NIL => self.lock_mut(place.lock).queue_tail = place.holder,
            before => self.holder_mut(before).ahead = place.holder,
        }
    }

    fn unlink(&mut self, lock: u16, at: u16) {
        let Holder { ahead, behind, .. } = *self.holder(at);
        match ahead {
            NIL => self.lock_mut(lock).queue_head = behind,
            ahead => self.holder_mut(ahead).behind = behind,
        }
        match behind {
            NIL => self.lock_mut(lock).queue_tail = ahead,
            behind => self.holder_mut(behind).ahead = ahead,
        }
        let holder = self.holder_mut(at);
        (holder.awaited, holder.ahead, holder.behind) = (0, NIL, NIL);
        let waiting = self.queue_of(lock).fold(0, |modes, at| modes | 1 << self.holder(at).awaited);
        self.lock_mut(lock).waiting_modes = waiting;
    }

    /// Takes the mode back and wakes whom that lets in: the processes whose wait is over. The claim may be gone
    /// afterwards. C: `UnGrantLock`, `CleanUpLock`.
    pub(crate) fn release(&mut self, place: Place, mode: LockMode) -> Vec<u32> {
        let bit = 1 << mode as u16;
        debug_assert!(self.holder(place.holder).held & bit != 0, "{mode:?} is not held");
        self.holder_mut(place.holder).held &= !bit;
        let lock = self.lock_mut(place.lock);
        lock.granted[mode as usize - 1] -= 1;
        if lock.granted[mode as usize - 1] == 0 {
            lock.granted_modes &= !bit;
        }
        let wakes = mode.conflicts().intersects(Modes(lock.waiting_modes));
        let woken = if wakes { self.wake(place.lock) } else { Vec::new() };
        self.drop_if_unused(place);
        woken
    }

    /// All that this claim holds is another process's, which has none on the lock yet. C: in `PostPrepare_Locks`.
    pub(crate) fn give(&mut self, place: Place, process: u32) {
        self.holder_mut(place.holder).process = process;
    }

    /// Leaves the queue without the lock; those behind may now be let in. C: `RemoveFromWaitQueue`.
    pub(crate) fn leave_queue(&mut self, place: Place) -> Vec<u32> {
        if self.holder(place.holder).awaited != 0 {
            self.unlink(place.lock, place.holder);
        }
        let woken = self.wake(place.lock);
        self.drop_if_unused(place);
        woken
    }

    /// Grants what can be granted, in the queue's order: a waiter also respects those that stay before it.
    /// C: `ProcLockWakeup`.
    pub(crate) fn wake(&mut self, lock: u16) -> Vec<u32> {
        let (mut woken, mut ahead) = (Vec::new(), Modes::NONE);
        let mut at = self.lock(lock).queue_head;
        while at != NIL {
            let next = self.holder(at).behind;
            let place = Place { lock, holder: at };
            if let Some(mode) = LockMode::from_u8(self.holder(at).awaited as u8) {
                if !mode.conflicts().intersects(ahead) && !self.conflicts(place, mode) {
                    self.unlink(lock, at);
                    self.grant(place, mode);
                    woken.push(self.holder(at).process);
                } else {
                    ahead.add(mode);
                }
            }
            at = next;
        }
        woken
    }

    /// Puts the queue into this order of processes, if it consists of exactly `expected`, in that order, and wakes.
    /// `None`: it has changed. C: the end of `DeadLockCheck`.
    pub(crate) fn reorder(&mut self, lock: u16, expected: &[u32], order: &[u32]) -> Option<Vec<u32>> {
        let queue: Vec<u16> = self.queue_of(lock).collect();
        if !queue.iter().map(|at| &self.holder(*at).process).eq(expected) || queue.len() != order.len() {
            return None;
        }
        let slots: Vec<u16> = order
            .iter()
            .filter_map(|p| queue.iter().copied().find(|at| self.holder(*at).process == *p))
            .collect();
        (self.lock_mut(lock).queue_head, self.lock_mut(lock).queue_tail) = (NIL, NIL);
        for holder in slots {
            self.insert(Place { lock, holder }, NIL);
        }
        Some(self.wake(lock))
    }

    fn view(&self, lock: u16) -> LockView {
        let mode_of =
            |at: u16| Some((self.holder(at).process, LockMode::from_u8(self.holder(at).awaited as u8)?));
        LockView {
            tag: LockTag::unpack(self.lock(lock).tag),
            holders: self
                .holders_of(lock)
                .map(|at| (self.holder(at).process, Modes(self.holder(at).held)))
                .collect(),
            queue: self.queue_of(lock).filter_map(mode_of).collect(),
        }
    }

    /// A lock that had waiters a moment ago, if it still has.
    pub(crate) fn view_waited(&self, lock: u16) -> Option<LockView> {
        let found = self.locks.get(usize::from(lock))?;
        // A slot in the free list keeps its last content, but that had no waiters (K4).
        (found.queue_head != NIL).then(|| self.view(lock))
    }

    /// One lock.
    pub(crate) fn view_of(&self, tag: LockTag, hash: u32) -> Option<LockView> {
        Some(self.view(self.find_lock(&tag.pack(), hash)?))
    }

    /// All of them, for `pg_locks`.
    pub(crate) fn views(&self) -> Vec<LockView> {
        let mut all = Vec::new();
        for bucket in self.buckets {
            let mut at = bucket;
            while at != NIL {
                all.push(self.view(at));
                at = self.lock(at).next;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
