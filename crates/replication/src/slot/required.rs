//! What all slots together keep: the oldest WAL position, the oldest transaction ids.
//!
//! C counterpart: `ReplicationSlotsComputeRequiredLSN`, `ReplicationSlotsComputeRequiredXmin`, `ReplicationSlotReserveWal`,
//! `GetWALAvailability`, the computation of `safe_wal_size` in `pg_get_replication_slots`.

use std::sync::atomic::{Ordering, fence};

use common::{Lsn, Xid};
use elog::Result;
use wal::{SegNo, recycle};

use super::{CONTROL, lifecycle, used};

/// Publishes the oldest position that any slot needs. C: `ReplicationSlotsComputeRequiredLSN`.
pub(super) fn compute_lsn() {
    let control = CONTROL.get();
    let _control = control.control.shared();
    let _minimum = control.minimum.exclusive();
    let needed = used().map(|(_, place)| place.copy().data.restart_lsn).filter(|lsn| *lsn != Lsn::INVALID);
    recycle::set_needed_by_slots(needed.min().unwrap_or(Lsn::INVALID));
}

/// Publishes the oldest transaction ids that any slot needs. C: `ReplicationSlotsComputeRequiredXmin`.
pub(super) fn compute_xmin() {
    let control = CONTROL.get();
    let _control = control.control.shared();
    let _minimum = control.minimum.exclusive();
    let (mut xmin, mut catalog_xmin) = (Xid::INVALID, Xid::INVALID);
    for (_, place) in used() {
        let body = place.copy();
        if body.data.is_invalidated() {
            continue;
        }
        xmin = older(xmin, body.effective_xmin);
        catalog_xmin = older(catalog_xmin, body.effective_catalog_xmin);
    }
    let both = (u64::from(xmin.0) << 32) | u64::from(catalog_xmin.0);
    control.xmins.store(both, Ordering::Release);
}

/// The older one of those that are ids at all.
fn older(a: Xid, b: Xid) -> Xid {
    if !a.is_valid() || (b.is_valid() && b.precedes(a)) { b } else { a }
}

/// The oldest xmin and catalog xmin of all slots, invalid if there is none: rows that such a transaction may look at are not
/// vacuumed away. One load; no lock. C: `ProcArrayGetReplicationSlotXmin`.
pub fn required_xmin() -> (Xid, Xid) {
    let both = CONTROL.try_get().map_or(0, |control| control.xmins.load(Ordering::Acquire));
    (Xid((both >> 32) as u32), Xid(both as u32))
}

/// Lets ours keep WAL from the last checkpoint's redo point on, during recovery from the last restartpoint's. The standby's
/// base backup begins there at the earliest. C: `ReplicationSlotReserveWal`.
///
/// # Errors
/// If no slot is acquired.
pub fn reserve_wal() -> Result<()> {
    lifecycle::mine()?;
    loop {
        let restart_lsn = wal::redo_ptr();
        lifecycle::set_restart_lsn(restart_lsn);
        compute_lsn();
        fence(Ordering::SeqCst);
        // A checkpoint that looked before we published may have removed it, or may be about to: then there is a newer redo point
        // to begin at. One that moves the redo point from now on looks afterwards, and sees what we need.
        let is_there = recycle::last_removed_segment() < wal::geometry().segment(restart_lsn);
        if is_there && wal::redo_ptr() == restart_lsn {
            return Ok(());
        }
    }
}

/// Is WAL from a slot's position on still there, and how long will it be? C: `WALAvailability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// The position is no position. C: `WALAVAIL_INVALID_LSN`.
    InvalidLsn,
    /// Within `max_wal_size`.
    Reserved,
    /// Beyond `max_wal_size`, but kept for a slot or by `wal_keep_size`.
    Extended,
    /// Not kept any more, but there until the next checkpoint.
    Unreserved,
    /// Gone.
    Removed,
}

impl Availability {
    /// As `pg_replication_slots.wal_status` shows it.
    pub fn text(self) -> Option<&'static str> {
        match self {
            Availability::InvalidLsn => None,
            Availability::Reserved => Some("reserved"),
            Availability::Extended => Some("extended"),
            Availability::Unreserved => Some("unreserved"),
            Availability::Removed => Some("lost"),
        }
    }
}

/// What is the case for a slot that needs WAL from `lsn` on. C: `GetWALAvailability`.
pub fn wal_availability(lsn: Lsn) -> Availability {
    if lsn == Lsn::INVALID {
        return Availability::InvalidLsn;
    }
    let geometry = wal::geometry();
    let (target, end) = (geometry.segment(lsn), wal::write_lsn());
    let current = geometry.segment(end);
    let facts = Facts {
        oldest_kept: recycle::keep_from(end, current),
        oldest_there: recycle::last_removed_segment() + 1,
        oldest_within_size: current.saturating_sub(segments_in(guc::vars::MAX_WAL_SIZE.get()) + 1).max(1),
    };
    facts.availability(target)
}

/// Segments: the oldest that is kept, the oldest that there is, the oldest within `max_wal_size`.
struct Facts {
    oldest_kept: SegNo,
    oldest_there: SegNo,
    oldest_within_size: SegNo,
}

impl Facts {
    fn availability(&self, target: SegNo) -> Availability {
        if target >= self.oldest_kept {
            return if target >= self.oldest_within_size {
                Availability::Reserved
            } else {
                Availability::Extended
            };
        }
        if target >= self.oldest_there { Availability::Unreserved } else { Availability::Removed }
    }
}

fn segments_in(megabytes: i32) -> u64 {
    megabytes as u64 / (u64::from(wal::geometry().segment_size()) >> 20)
}

/// How many bytes of WAL may be written before a slot at `restart_lsn` is in danger; negative if it is already. `None` without
/// `max_slot_wal_keep_size`. C: in `pg_get_replication_slots`.
pub fn safe_wal_size(restart_lsn: Lsn) -> Option<i64> {
    let limit = guc::vars::MAX_SLOT_WAL_KEEP_SIZE.get();
    if limit < 0 {
        return None;
    }
    let geometry = wal::geometry();
    let kept = segments_in(limit).max(segments_in(guc::vars::WAL_KEEP_SIZE.get()));
    let end = geometry.lsn(geometry.segment(restart_lsn) + kept + 1, 0);
    Some(end.0 as i64 - wal::write_lsn().0 as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_falls_behind() {
        let facts = Facts { oldest_kept: 20, oldest_there: 15, oldest_within_size: 30 };
        for (target, expected) in [
            (35, Availability::Reserved),
            (30, Availability::Reserved),
            (29, Availability::Extended),
            (20, Availability::Extended),
            (19, Availability::Unreserved),
            (15, Availability::Unreserved),
            (14, Availability::Removed),
        ] {
            assert_eq!(facts.availability(target), expected, "segment {target}");
        }
    }

    #[test]
    fn no_xid_is_older_than_any() {
        assert_eq!(older(Xid(0), Xid(7)), Xid(7));
        assert_eq!(older(Xid(7), Xid(0)), Xid(7));
        assert_eq!(older(Xid(7), Xid(9)), Xid(7));
        assert_eq!(older(Xid(4_294_967_290), Xid(5)), Xid(4_294_967_290));
    }
}
