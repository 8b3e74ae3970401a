//! The ids that run on the primary, as a standby knows them from WAL.
//!
//! A standby has no processes for the primary's transactions; this list stands for them. Ids enter it when they are first
//! seen in WAL, with all those between the last one seen and this one, since ids are given out in order; they leave it
//! with the record of their end. It is sorted by age, so that a look-up is a search by halves and the oldest comes first.
//!
//! - **K1** Ids are in `[tail, head)`, oldest first; those that are gone keep their place, without the mark `RUNS`,
//!   until the list is compacted.
//! - **K2** Everything here is under ProcArrayLock: shared to look, exclusive to change. Only the startup process changes.
//! - **K3** A subtransaction may be missing if its id is not younger than `last_overflowed`; then pg_subtrans knows its
//!   top transaction, which is here.
//!
//! C counterpart: `KnownAssignedXids*` of procarray.c. There the startup process adds ids with a spinlock only; here the
//! list is part of what ProcArrayLock protects.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use common::{SqlState, Xid};
use elog::{Result, error};
use shmem::shm_struct;

/// Mark of an id that still runs. C: `KnownAssignedXidsValid`.
const RUNS: u64 = 1 << 32;
/// Ends between two looks whether the list should be compacted. C: `KAX_COMPRESS_FREQUENCY`.
const COMPACT_EVERY: u32 = 128;

shm_struct! {
    /// Where in the slots the list is (K1). C: `tailKnownAssignedXids` and its neighbours in `ProcArrayStruct`.
    pub(crate) struct Known {
        tail: u32,
        head: u32,
        /// Those that run.
        count: u32,
        /// Ends since the last look at compaction.
        ends: u32,
        /// K3. C: `lastOverflowedXid`.
        pub(crate) last_overflowed: Xid,
    }
}

impl Known {
    pub(crate) const fn new() -> Known {
        Known { tail: 0, head: 0, count: 0, ends: 0, last_overflowed: Xid::INVALID }
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    /// Forgets all. C: `KnownAssignedXidsReset`.
    pub(crate) fn clear(&mut self) {
        (self.tail, self.head, self.count, self.ends) = (0, 0, 0, 0);
    }

    fn places<'a>(&self, slots: &'a [AtomicU64]) -> &'a [AtomicU64] {
        &slots[self.tail as usize..self.head as usize]
    }

    /// Adds all ids from `from` to `to`, both included. C: `KnownAssignedXidsAdd`.
    ///
    /// # Errors
    /// XX000 if there is no room, or if they are not younger than those that are here.
    pub(crate) fn add(&mut self, slots: &[AtomicU64], from: Xid, to: Xid) -> Result<()> {
        if self.head > self.tail
            && Xid(slots[self.head as usize - 1].load(Relaxed) as u32).follows_or_equals(from)
        {
            return Err(error!(SqlState::INTERNAL_ERROR, "out-of-order XID insertion in KnownAssignedXids"));
        }
        let mut xid = from;
        loop {
            if self.head as usize == slots.len() {
                self.compact(slots);
                if self.head as usize == slots.len() {
                    return Err(error!(SqlState::INTERNAL_ERROR, "too many KnownAssignedXids"));
                }
            }
            slots[self.head as usize].store(RUNS | u64::from(xid.0), Relaxed);
            self.head += 1;
            self.count += 1;
            if xid == to {
                return Ok(());
            }
            xid = xid.next();
        }
    }

    /// The place of an id, whether it runs or not. C: `KnownAssignedXidsSearch`.
    fn find<'a>(&self, slots: &'a [AtomicU64], xid: Xid) -> Option<&'a AtomicU64> {
        let places = self.places(slots);
        let at = places.partition_point(|place| Xid(place.load(Relaxed) as u32).precedes(xid));
        places.get(at).filter(|place| place.load(Relaxed) as u32 == xid.0)
    }

    /// Whether it runs. C: `KnownAssignedXidExists`.
    pub(crate) fn contains(&self, slots: &[AtomicU64], xid: Xid) -> bool {
        self.find(slots, xid).is_some_and(|place| place.load(Relaxed) & RUNS != 0)
    }

    /// An id has ended, or its top transaction stands for it; not being here is no mistake. C: `KnownAssignedXidsRemove`.
    pub(crate) fn remove(&mut self, slots: &[AtomicU64], xid: Xid) {
        let Some(place) = self.find(slots, xid) else { return };
        if place.load(Relaxed) & RUNS == 0 {
            return;
        }
        place.store(u64::from(xid.0), Relaxed);
        self.count -= 1;
        self.skip_ended(slots);
    }

    /// A transaction and its subtransactions. C: `KnownAssignedXidsRemoveTree`.
    pub(crate) fn remove_tree(&mut self, slots: &[AtomicU64], xid: Xid, children: &[Xid]) {
        if xid.is_valid() {
            self.remove(slots, xid);
        }
        children.iter().for_each(|child| self.remove(slots, *child));
        self.ends += 1;
        if self.ends >= COMPACT_EVERY {
            self.ends = 0;
            // Worth the copying only if the list is mostly holes. C: `KAX_COMPRESS_*`.
            if self.head - self.tail > 2 * self.count.max(64) {
                self.compact(slots);
            }
        }
    }

    /// All older ids, but those that `keep` wants (prepared transactions). C: `KnownAssignedXidsRemovePreceding`.
    pub(crate) fn remove_preceding(&mut self, slots: &[AtomicU64], xid: Xid, keep: impl Fn(Xid) -> bool) {
        for place in self.places(slots) {
            let value = place.load(Relaxed);
            let known = Xid(value as u32);
            if !known.precedes(xid) {
                break;
            }
            if value & RUNS != 0 && !keep(known) {
                place.store(u64::from(known.0), Relaxed);
                self.count -= 1;
            }
        }
        self.skip_ended(slots);
    }

    /// Those that run and are older than `before` (invalid: all), oldest first. C: `KnownAssignedXidsGetAndSetXmin`.
    pub(crate) fn running<'a>(
        &self,
        slots: &'a [AtomicU64],
        before: Xid,
    ) -> impl Iterator<Item = Xid> + use<'a> {
        let values = self.places(slots).iter().map(|place| place.load(Relaxed));
        values
            .take_while(move |value| !before.is_valid() || Xid(*value as u32).precedes(before))
            .filter(|value| value & RUNS != 0)
            .map(|value| Xid(value as u32))
    }

    /// The oldest that runs. C: `KnownAssignedXidsGetOldestXmin`.
    pub(crate) fn oldest(&self, slots: &[AtomicU64]) -> Option<Xid> {
        self.running(slots, Xid::INVALID).next()
    }

    /// The list begins with one that runs.
    fn skip_ended(&mut self, slots: &[AtomicU64]) {
        while self.tail < self.head && slots[self.tail as usize].load(Relaxed) & RUNS == 0 {
            self.tail += 1;
        }
        if self.tail == self.head {
            (self.tail, self.head) = (0, 0);
        }
    }

    /// Moves those that run to the beginning. C: `KnownAssignedXidsCompress`.
    fn compact(&mut self, slots: &[AtomicU64]) {
        let mut to = 0;
        for from in self.tail as usize..self.head as usize {
            let value = slots[from].load(Relaxed);
            if value & RUNS != 0 {
                slots[to].store(value, Relaxed);
                to += 1;
            }
        }
        (self.tail, self.head) = (0, to as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slots(n: usize) -> Vec<AtomicU64> {
        (0..n).map(|_| AtomicU64::new(0)).collect()
    }

    fn ids(known: &Known, slots: &[AtomicU64]) -> Vec<u32> {
        known.running(slots, Xid::INVALID).map(|xid| xid.0).collect()
    }

    #[test]
    fn ids_come_in_order_and_leave_in_any() {
        let (mut known, slots) = (Known::new(), slots(8));
        known.add(&slots, Xid(u32::MAX - 1), Xid(4)).unwrap();
        assert_eq!(ids(&known, &slots), [u32::MAX - 1, u32::MAX, 3, 4]);
        known.remove(&slots, Xid(3));
        known.remove(&slots, Xid(3));
        known.remove(&slots, Xid(77));
        assert_eq!(
            (known.len(), known.contains(&slots, Xid(3)), known.contains(&slots, Xid(4))),
            (3, false, true)
        );
        assert!(known.add(&slots, Xid(4), Xid(5)).is_err());
        // Eight places: the hole is used again.
        known.add(&slots, Xid(5), Xid(9)).unwrap();
        assert_eq!(known.add(&slots, Xid(10), Xid(10)).unwrap_err().message, "too many KnownAssignedXids");
        known.remove_preceding(&slots, Xid(6), |xid| xid == Xid(u32::MAX));
        assert_eq!(ids(&known, &slots), [u32::MAX, 6, 7, 8, 9]);
        assert_eq!(known.oldest(&slots), Some(Xid(u32::MAX)));
        known.remove_tree(&slots, Xid(u32::MAX), &[Xid(6), Xid(8)]);
        assert_eq!(known.running(&slots, Xid(9)).map(|xid| xid.0).collect::<Vec<_>>(), [7]);
        known.clear();
        assert_eq!(known.oldest(&slots), None);
    }

    proptest! {
        /// As a sorted set would.
        #[test]
        fn behaves_as_a_set(steps in proptest::collection::vec((0u8..4, 0u32..20), 1..200)) {
            let (mut known, slots) = (Known::new(), slots(64));
            let (mut model, mut next) = (std::collections::BTreeSet::new(), 100u32);
            for (what, n) in steps {
                match what {
                    0 if model.len() + n as usize + 1 < 60 => {
                        known.add(&slots, Xid(next), Xid(next + n)).unwrap();
                        model.extend(next..=next + n);
                        next += n + 1;
                    }
                    1 => {
                        known.remove_preceding(&slots, Xid(next.saturating_sub(3 * n)), |xid| xid.0.is_multiple_of(7));
                        model.retain(|xid| *xid >= next.saturating_sub(3 * n) || xid.is_multiple_of(7));
                    }
                    _ => {
                        let gone = model.iter().nth(n as usize).copied().unwrap_or(99);
                        known.remove_tree(&slots, Xid(gone), &[]);
                        model.remove(&gone);
                    }
                }
                prop_assert_eq!(ids(&known, &slots), model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(known.len(), model.len());
            }
        }
    }
}
