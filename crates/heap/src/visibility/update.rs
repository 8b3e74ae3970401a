//! May this command change the row, and if not, why?
//!
//! C counterpart: `HeapTupleSatisfiesUpdate`.

use common::{CommandId, ItemPointer, Xid};
use elog::Result;

use super::{Hints, Xids, update_xid};
use crate::api::TmResult;
use crate::header::{Header, infomask};

/// `tid` is the row's own address: a row that points elsewhere was updated, not deleted.
pub(crate) fn satisfies_update(
    h: Header<'_>,
    tid: ItemPointer,
    curcid: CommandId,
    xids: &impl Xids,
    hints: &mut impl Hints,
) -> Result<TmResult> {
    let h = h.whole()?;
    if !h.xmin_committed() {
        let xmin = h.raw_xmin();
        if h.xmin_invalid() {
            return Ok(TmResult::Invisible);
        }
        if xids.is_current(xmin) {
            return own_insert(h, curcid, xids, hints);
        }
        if xids.in_progress(xmin)? {
            return Ok(TmResult::Invisible);
        }
        if !xids.did_commit(xmin)? {
            hints.hint(infomask::XMIN_INVALID, Xid::INVALID);
            return Ok(TmResult::Invisible);
        }
        hints.hint(infomask::XMIN_COMMITTED, xmin);
    }
    let mask = h.infomask();
    let only_locked = infomask::is_locked_only(mask);
    if mask & infomask::XMAX_INVALID != 0 {
        return Ok(TmResult::Ok);
    }
    if mask & infomask::XMAX_COMMITTED != 0 {
        return Ok(if only_locked { TmResult::Ok } else { gone(h, tid) });
    }
    if mask & infomask::XMAX_IS_MULTI != 0 {
        return multi(h, tid, curcid, xids, hints);
    }
    let xmax = h.raw_xmax();
    if xids.is_current(xmax) {
        return Ok(if only_locked { TmResult::BeingModified } else { own_change(h, curcid, xids) });
    }
    if xids.in_progress(xmax)? {
        return Ok(TmResult::BeingModified);
    }
    if !xids.did_commit(xmax)? || only_locked {
        hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
        return Ok(TmResult::Ok);
    }
    hints.hint(infomask::XMAX_COMMITTED, xmax);
    Ok(gone(h, tid))
}

fn gone(h: Header<'_>, tid: ItemPointer) -> TmResult {
    if h.ctid() == tid { TmResult::Deleted } else { TmResult::Updated }
}

/// Changed by this transaction: by a later command than the snapshot's, or before.
fn own_change(h: Header<'_>, curcid: CommandId, xids: &impl Xids) -> TmResult {
    if xids.cmax(h) >= curcid { TmResult::SelfModified } else { TmResult::Invisible }
}

/// A row of this transaction's.
fn own_insert(
    h: Header<'_>,
    curcid: CommandId,
    xids: &impl Xids,
    hints: &mut impl Hints,
) -> Result<TmResult> {
    let mask = h.infomask();
    if xids.cmin(h) >= curcid {
        return Ok(TmResult::Invisible);
    }
    if mask & infomask::XMAX_INVALID != 0 {
        return Ok(TmResult::Ok);
    }
    let is_multi = mask & infomask::XMAX_IS_MULTI != 0;
    let busy = |running: bool| if running { TmResult::BeingModified } else { TmResult::Ok };
    if infomask::is_locked_only(mask) {
        return Ok(busy(match is_multi {
            true => xids.multi_running(h.multi_xmax(), true)?,
            false => xids.in_progress(h.raw_xmax())?,
        }));
    }
    if is_multi {
        return Ok(if xids.is_current(update_xid(h, xids)?) {
            own_change(h, curcid, xids)
        } else {
            busy(xids.multi_running(h.multi_xmax(), false)?)
        });
    }
    if !xids.is_current(h.raw_xmax()) {
        hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
        return Ok(TmResult::Ok);
    }
    Ok(own_change(h, curcid, xids))
}

fn multi(
    h: Header<'_>,
    tid: ItemPointer,
    curcid: CommandId,
    xids: &impl Xids,
    hints: &mut impl Hints,
) -> Result<TmResult> {
    let mask = h.infomask();
    if infomask::is_locked_upgraded(mask) {
        return Ok(TmResult::Ok);
    }
    if infomask::is_locked_only(mask) {
        if xids.multi_running(h.multi_xmax(), true)? {
            return Ok(TmResult::BeingModified);
        }
        hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
        return Ok(TmResult::Ok);
    }
    let xmax = update_xid(h, xids)?;
    if xids.is_current(xmax) {
        return Ok(own_change(h, curcid, xids));
    }
    if xids.multi_running(h.multi_xmax(), false)? {
        return Ok(TmResult::BeingModified);
    }
    if xmax.is_valid() && xids.did_commit(xmax)? {
        return Ok(gone(h, tid));
    }
    hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
    Ok(TmResult::Ok)
}
