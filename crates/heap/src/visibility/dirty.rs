//! Rows as they are this instant: with the own transaction's work of this command included (`self`), and also with
//! what others have not committed yet (`dirty`).
//!
//! C counterpart: `HeapTupleSatisfiesSelf`, `HeapTupleSatisfiesDirty`.

use common::Xid;
use elog::Result;

use super::{Hints, Xids, update_xid};
use crate::header::{Header, infomask};

/// Who is at work on a row that a dirty snapshot sees; invalid ids if nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirtyInfo {
    /// Is inserting it.
    pub xmin: Xid,
    /// Is deleting or updating it.
    pub xmax: Xid,
}

/// Whether the row's inserter has committed, runs, or neither.
enum Inserter {
    Committed,
    Running(Xid),
    Own,
    Aborted,
}

fn inserter(h: Header<'_>, xids: &impl Xids, hints: &mut impl Hints) -> Result<Inserter> {
    let h = h.whole()?;
    if h.xmin_committed() {
        return Ok(Inserter::Committed);
    }
    let xmin = h.raw_xmin();
    Ok(if h.xmin_invalid() {
        Inserter::Aborted
    } else if xids.is_current(xmin) {
        Inserter::Own
    } else if xids.in_progress(xmin)? {
        Inserter::Running(xmin)
    } else if xids.did_commit(xmin)? {
        hints.hint(infomask::XMIN_COMMITTED, xmin);
        Inserter::Committed
    } else {
        hints.hint(infomask::XMIN_INVALID, Xid::INVALID);
        Inserter::Aborted
    })
}

/// C: `HeapTupleSatisfiesSelf`.
pub(crate) fn satisfies_self(h: Header<'_>, xids: &impl Xids, hints: &mut impl Hints) -> Result<bool> {
    match inserter(h, xids, hints)? {
        Inserter::Aborted | Inserter::Running(_) => Ok(false),
        Inserter::Own => own_insert_stands(h, xids, hints),
        Inserter::Committed => Ok(deleter(h, xids, hints)?.is_some()),
    }
}

/// Whether the row is there, and who is at work on it. C: `HeapTupleSatisfiesDirty`.
pub(crate) fn satisfies_dirty(
    h: Header<'_>,
    xids: &impl Xids,
    hints: &mut impl Hints,
) -> Result<Option<DirtyInfo>> {
    match inserter(h, xids, hints)? {
        Inserter::Aborted => Ok(None),
        Inserter::Running(xmin) => Ok(Some(DirtyInfo { xmin, xmax: Xid::INVALID })),
        Inserter::Own => Ok(own_insert_stands(h, xids, hints)?.then(DirtyInfo::default)),
        Inserter::Committed => {
            Ok(deleter(h, xids, hints)?.map(|xmax| DirtyInfo { xmin: Xid::INVALID, xmax }))
        }
    }
}

/// A row of this transaction's: not deleted by it again.
fn own_insert_stands(h: Header<'_>, xids: &impl Xids, hints: &mut impl Hints) -> Result<bool> {
    let mask = h.infomask();
    if mask & infomask::XMAX_INVALID != 0 || infomask::is_locked_only(mask) {
        return Ok(true);
    }
    if mask & infomask::XMAX_IS_MULTI != 0 {
        return Ok(!xids.is_current(update_xid(h, xids)?));
    }
    if !xids.is_current(h.raw_xmax()) {
        hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
        return Ok(true);
    }
    Ok(false)
}

/// None if the row is deleted; else the transaction that is deleting it, or the invalid id.
fn deleter(h: Header<'_>, xids: &impl Xids, hints: &mut impl Hints) -> Result<Option<Xid>> {
    let mask = h.infomask();
    let only_locked = infomask::is_locked_only(mask);
    if mask & infomask::XMAX_INVALID != 0 {
        return Ok(Some(Xid::INVALID));
    }
    if mask & infomask::XMAX_COMMITTED != 0 {
        return Ok(only_locked.then_some(Xid::INVALID));
    }
    if mask & infomask::XMAX_IS_MULTI != 0 {
        if only_locked {
            return Ok(Some(Xid::INVALID));
        }
        let xmax = update_xid(h, xids)?;
        if xids.is_current(xmax) {
            return Ok(None);
        }
        if xids.in_progress(xmax)? {
            return Ok(Some(xmax));
        }
        return Ok((!xids.did_commit(xmax)?).then_some(Xid::INVALID));
    }
    let xmax = h.raw_xmax();
    if xids.is_current(xmax) {
        return Ok(only_locked.then_some(Xid::INVALID));
    }
    if xids.in_progress(xmax)? {
        return Ok(Some(if only_locked { Xid::INVALID } else { xmax }));
    }
    if !xids.did_commit(xmax)? || only_locked {
        hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
        return Ok(Some(Xid::INVALID));
    }
    hints.hint(infomask::XMAX_COMMITTED, xmax);
    Ok(None)
}
