//! What became of a row, whoever looks.
//!
//! C counterpart: `HeapTupleSatisfiesVacuumHorizon`, `HeapTupleIsSurelyDead`, `HeapTupleHeaderIsOnlyLocked`.

use common::Xid;
use elog::Result;

use super::{Hints, Xids, update_xid};
use crate::header::{Header, infomask};

/// A row's fate. C: `HTSV_Result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VacuumState {
    /// Never visible again.
    Dead,
    /// Visible, with nothing pending.
    Live,
    /// Deleted, but a snapshot may still see it.
    RecentlyDead,
    /// Its inserter runs.
    InsertInProgress,
    /// Its deleter runs.
    DeleteInProgress,
}

/// The state, and for `RecentlyDead` who deleted it: it is dead once nobody can see that transaction as
/// running. C: `HeapTupleSatisfiesVacuumHorizon`.
pub(crate) fn satisfies_vacuum(
    h: Header<'_>,
    xids: &impl Xids,
    hints: &mut impl Hints,
) -> Result<(VacuumState, Xid)> {
    let plain = |state| Ok((state, Xid::INVALID));
    let h = h.whole()?;
    if !h.xmin_committed() {
        let xmin = h.raw_xmin();
        if h.xmin_invalid() {
            return plain(VacuumState::Dead);
        }
        if xids.is_current(xmin) {
            return plain(own_insert(h, xids)?);
        }
        if xids.in_progress(xmin)? {
            return plain(VacuumState::InsertInProgress);
        }
        if !xids.did_commit(xmin)? {
            // Not running and not committed: aborted, or lost in a crash.
            hints.hint(infomask::XMIN_INVALID, Xid::INVALID);
            return plain(VacuumState::Dead);
        }
        hints.hint(infomask::XMIN_COMMITTED, xmin);
    }
    let mask = h.infomask();
    if mask & infomask::XMAX_INVALID != 0 {
        return plain(VacuumState::Live);
    }
    let is_multi = mask & infomask::XMAX_IS_MULTI != 0;
    if infomask::is_locked_only(mask) {
        if mask & infomask::XMAX_COMMITTED == 0 {
            let running = match is_multi {
                true => !infomask::is_locked_upgraded(mask) && xids.multi_running(h.multi_xmax(), true)?,
                false => xids.in_progress(h.raw_xmax())?,
            };
            if !running {
                hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
            }
        }
        return plain(VacuumState::Live);
    }
    if is_multi {
        return multi(h, xids, hints);
    }
    let xmax = h.raw_xmax();
    if mask & infomask::XMAX_COMMITTED == 0 {
        if xids.in_progress(xmax)? {
            return plain(VacuumState::DeleteInProgress);
        }
        if !xids.did_commit(xmax)? {
            hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
            return plain(VacuumState::Live);
        }
        hints.hint(infomask::XMAX_COMMITTED, xmax);
    }
    Ok((VacuumState::RecentlyDead, xmax))
}

fn own_insert(h: Header<'_>, xids: &impl Xids) -> Result<VacuumState> {
    let mask = h.infomask();
    if mask & infomask::XMAX_INVALID != 0 || infomask::is_locked_only(mask) || is_only_locked(h, xids)? {
        return Ok(VacuumState::InsertInProgress);
    }
    let xmax = if mask & infomask::XMAX_IS_MULTI != 0 { update_xid(h, xids)? } else { h.raw_xmax() };
    // Otherwise deleted by a subtransaction that was rolled back.
    Ok(if xids.is_current(xmax) { VacuumState::DeleteInProgress } else { VacuumState::InsertInProgress })
}

fn multi(h: Header<'_>, xids: &impl Xids, hints: &mut impl Hints) -> Result<(VacuumState, Xid)> {
    let xmax = update_xid(h, xids)?;
    if xids.in_progress(xmax)? {
        return Ok((VacuumState::DeleteInProgress, Xid::INVALID));
    }
    if xids.did_commit(xmax)? {
        // The multixact may still have running members that lock; the deleter decides.
        return Ok((VacuumState::RecentlyDead, xmax));
    }
    if !xids.multi_running(h.multi_xmax(), false)? {
        hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
    }
    Ok((VacuumState::Live, Xid::INVALID))
}

/// No update or delete hides behind the xmax, or it was rolled back. C: `HeapTupleHeaderIsOnlyLocked`.
pub(crate) fn is_only_locked(h: Header<'_>, xids: &impl Xids) -> Result<bool> {
    let mask = h.infomask();
    if mask & infomask::XMAX_INVALID != 0 || mask & infomask::XMAX_LOCK_ONLY != 0 || !h.raw_xmax().is_valid()
    {
        return Ok(true);
    }
    if mask & infomask::XMAX_IS_MULTI == 0 {
        return Ok(false);
    }
    let xmax = update_xid(h, xids)?;
    Ok(!xids.is_current(xmax) && !xids.in_progress(xmax)? && !xids.did_commit(xmax)?)
}

/// Dead by its hint bits alone, without asking about transactions. C: `HeapTupleIsSurelyDead`.
#[allow(dead_code, reason = "for indexes")]
pub(crate) fn is_surely_dead(h: Header<'_>, removable: impl Fn(Xid) -> bool) -> bool {
    let mask = h.infomask();
    if !h.xmin_committed() {
        return h.xmin_invalid();
    }
    mask & infomask::XMAX_INVALID == 0
        && !infomask::is_locked_only(mask)
        && mask & infomask::XMAX_IS_MULTI == 0
        && mask & infomask::XMAX_COMMITTED != 0
        && removable(h.raw_xmax())
}
