//! What a snapshot sees: rows whose inserter had committed when it was taken and whose deleter had not, and the
//! own transaction's work of earlier commands.
//!
//! C counterpart: `HeapTupleSatisfiesMVCC`.

use common::{CommandId, Xid};
use elog::Result;

use super::{Hints, Xids, update_xid};
use crate::header::{Header, infomask};

/// The current command of a snapshot.
pub(crate) trait CommandView {
    fn curcid(&self) -> CommandId;
}

/// What a snapshot knows of an id.
pub(crate) trait MvccView: CommandView {
    /// It was running when the snapshot was taken, or began later.
    fn contains(&self, xid: Xid) -> bool;
}

/// C: `HeapTupleSatisfiesMVCC`.
#[inline]
pub(crate) fn satisfies_mvcc(
    h: Header<'_>,
    snapshot: &impl MvccView,
    xids: &impl Xids,
    hints: &mut impl Hints,
) -> Result<bool> {
    // The common case, for speed: inserted and committed long ago, never changed.
    let h = h.whole()?;
    let mask = h.infomask();
    let settled = mask & (infomask::XMIN_COMMITTED | infomask::XMAX_INVALID);
    if settled == infomask::XMIN_COMMITTED | infomask::XMAX_INVALID {
        return Ok(mask & infomask::XMIN_INVALID != 0 || !snapshot.contains(h.raw_xmin()));
    }
    slow(h, mask, snapshot, xids, hints)
}

fn slow(
    h: Header<'_>,
    mask: u16,
    snapshot: &impl MvccView,
    xids: &impl Xids,
    hints: &mut impl Hints,
) -> Result<bool> {
    if h.xmin_committed() {
        if !h.xmin_frozen() && snapshot.contains(h.raw_xmin()) {
            return Ok(false);
        }
    } else {
        if h.xmin_invalid() {
            return Ok(false);
        }
        let xmin = h.raw_xmin();
        if xids.is_current(xmin) {
            return own_insert(h, mask, snapshot, xids, hints);
        }
        if snapshot.contains(xmin) {
            return Ok(false);
        }
        if !xids.did_commit(xmin)? {
            hints.hint(infomask::XMIN_INVALID, Xid::INVALID);
            return Ok(false);
        }
        hints.hint(infomask::XMIN_COMMITTED, xmin);
    }
    still_there(h, mask, snapshot, xids, hints)
}

/// A row of this transaction's.
fn own_insert(
    h: Header<'_>,
    mask: u16,
    snapshot: &impl MvccView,
    xids: &impl Xids,
    hints: &mut impl Hints,
) -> Result<bool> {
    if xids.cmin(h) >= snapshot.curcid() {
        return Ok(false); // by this command or a later one
    }
    if mask & infomask::XMAX_INVALID != 0 || infomask::is_locked_only(mask) {
        return Ok(true);
    }
    if mask & infomask::XMAX_IS_MULTI != 0 {
        let xmax = update_xid(h, xids)?;
        return Ok(!xids.is_current(xmax) || xids.cmax(h) >= snapshot.curcid());
    }
    if !xids.is_current(h.raw_xmax()) {
        // Deleted by a subtransaction that was rolled back.
        hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
        return Ok(true);
    }
    Ok(xids.cmax(h) >= snapshot.curcid())
}

/// The inserter is known to be visible: is the deleter?
fn still_there(
    h: Header<'_>,
    mask: u16,
    snapshot: &impl MvccView,
    xids: &impl Xids,
    hints: &mut impl Hints,
) -> Result<bool> {
    if mask & infomask::XMAX_INVALID != 0 || infomask::is_locked_only(mask) {
        return Ok(true);
    }
    let is_multi = mask & infomask::XMAX_IS_MULTI != 0;
    let xmax = if is_multi { update_xid(h, xids)? } else { h.raw_xmax() };
    if !is_multi && mask & infomask::XMAX_COMMITTED != 0 {
        return Ok(snapshot.contains(xmax));
    }
    if xids.is_current(xmax) {
        return Ok(xids.cmax(h) >= snapshot.curcid());
    }
    if snapshot.contains(xmax) {
        return Ok(true);
    }
    let committed = xids.did_commit(xmax)?;
    if !is_multi {
        match committed {
            true => hints.hint(infomask::XMAX_COMMITTED, xmax),
            false => hints.hint(infomask::XMAX_INVALID, Xid::INVALID),
        }
    }
    Ok(!committed)
}
