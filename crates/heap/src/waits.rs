//! Waiting for transactions that hold a row.
//!
//! Whoever wants to change a row that another transaction has changed or locked first takes the row's heavyweight lock,
//! which makes a queue, and then waits for that transaction. The lock is given back once the row itself says whose
//! it is. Rule H5: nobody waits while holding a page lock.
//!
//! C counterpart: `heap_acquire_tuplock`, `DoesMultiXactIdConflict`, `Do_MultiXactIdWait`, `UpdateXmaxHintBits` of heapam.c.

use common::{ItemPointer, MultiXactId, Oid, Xid};
use elog::Result;
use lmgr::{WaitOperation, WaitReason};
use storage::PageWrite;
use transam::multixact::{self, MemberStatus};

use crate::api::{LockTupleMode, WaitPolicy};
use crate::header::{Header, infomask};
use crate::table::Table;
use crate::visibility::{Hints, PageHints};
use crate::xmax::{conflict, heavyweight};

/// A row's heavyweight lock, given back when dropped. C: `LockTupleTuplock`, `UnlockTupleTuplock`.
pub(crate) struct TupleLock {
    db: Oid,
    rel: Oid,
    tid: ItemPointer,
    mode: LockTupleMode,
}

impl Drop for TupleLock {
    fn drop(&mut self) {
        lmgr::unlock_tuple(self.db, self.rel, self.tid, heavyweight(self.mode));
    }
}

/// Takes the row's lock unless `held` has it. False if another has it and the policy is to skip. C:
/// `heap_acquire_tuplock`.
pub(crate) fn acquire_tuple_lock(
    table: &Table,
    tid: ItemPointer,
    mode: LockTupleMode,
    policy: WaitPolicy,
    held: &mut Option<TupleLock>,
) -> Result<bool> {
    if held.is_some() {
        return Ok(true);
    }
    let (db, rel) = (table.node.db, table.oid);
    if policy == WaitPolicy::Block {
        lmgr::lock_tuple(db, rel, tid, heavyweight(mode))?;
    } else if !lmgr::conditional_lock_tuple(db, rel, tid, heavyweight(mode))? {
        return if policy == WaitPolicy::Skip {
            Ok(false)
        } else {
            Err(lmgr::row_not_available(&table.name))
        };
    }
    *held = Some(TupleLock { db, rel, tid, mode });
    Ok(true)
}

/// What is being done to which row, for the error context.
fn reason(table: &Table, tid: ItemPointer, operation: WaitOperation) -> WaitReason<'_> {
    WaitReason::Row { operation, tid, relation: &table.name }
}

/// Waits for a transaction to end. False if it runs and the policy is to skip. C: `XactLockTableWait`,
/// `ConditionalXactLockTableWait`.
pub(crate) fn wait_for_xid(
    table: &Table,
    xid: Xid,
    tid: ItemPointer,
    operation: WaitOperation,
    policy: WaitPolicy,
) -> Result<bool> {
    if policy == WaitPolicy::Block {
        lmgr::xact_lock_wait(xid, reason(table, tid, operation))?;
        return Ok(true);
    }
    if lmgr::conditional_xact_lock_wait(xid)? {
        return Ok(true);
    }
    if policy == WaitPolicy::Skip { Ok(false) } else { Err(lmgr::row_not_available(&table.name)) }
}

/// Waits for those members of a multixact that conflict with `status`. Some(true) in `remaining` if others, or this
/// transaction, stay in it; None if somebody runs and the policy is to skip. C: `Do_MultiXactIdWait`.
pub(crate) fn wait_for_multi(
    table: &Table,
    multi: MultiXactId,
    status: MemberStatus,
    mask: u16,
    tid: ItemPointer,
    operation: WaitOperation,
    policy: WaitPolicy,
) -> Result<bool> {
    if infomask::is_locked_upgraded(mask) {
        return Ok(true);
    }
    let wanted = LockTupleMode::of_member(status);
    for (xid, member) in multixact::members(multi, false, infomask::is_locked_only(mask))? {
        if transam::is_current(xid) || !conflict(LockTupleMode::of_member(member), wanted) {
            continue;
        }
        if !wait_for_xid(table, xid, tid, operation, policy)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a member of a multixact stands in the way of a lock, and whether this transaction is a member. C:
/// `DoesMultiXactIdConflict`.
pub(crate) fn multi_conflicts(multi: MultiXactId, mask: u16, mode: LockTupleMode) -> Result<(bool, bool)> {
    if infomask::is_locked_upgraded(mask) {
        return Ok((false, false));
    }
    let (mut conflicts, mut member_self) = (false, false);
    for (xid, status) in multixact::members(multi, false, infomask::is_locked_only(mask))? {
        if transam::is_current(xid) {
            member_self = true;
        } else if !conflicts && conflict(LockTupleMode::of_member(status), mode) {
            conflicts = match status.is_update() {
                true => !transam::try_did_abort(xid)?,
                false => transam::try_is_in_progress(xid)?,
            };
        }
    }
    Ok((conflicts, member_self))
}

/// Whether somebody changed xmax while the page was not locked. C: `xmax_infomask_changed` and the comparison beside it.
pub(crate) fn xmax_changed(h: Header<'_>, mask: u16, xmax: Xid) -> bool {
    const INTERESTING: u16 = infomask::XMAX_IS_MULTI | infomask::XMAX_LOCK_ONLY | infomask::LOCK_MASK;
    (h.infomask() ^ mask) & INTERESTING != 0 || h.raw_xmax() != xmax
}

/// A transaction that was waited for has ended: notes how. C: `UpdateXmaxHintBits`.
pub(crate) fn hint_xmax(page: &PageWrite<'_>, offset: u16, xid: Xid) {
    let h = Header(page.item(offset));
    if h.infomask() & (infomask::XMAX_COMMITTED | infomask::XMAX_INVALID) != 0 {
        return;
    }
    // Of an id whose fate cannot be read nothing is noted: who asks next is told the error.
    let Ok(committed) = transam::try_did_commit(xid) else { return };
    let mut hints = PageHints::new(page.lsn());
    if !infomask::is_locked_only(h.infomask()) && committed {
        hints.hint(infomask::XMAX_COMMITTED, xid);
    } else {
        hints.hint(infomask::XMAX_INVALID, Xid::INVALID);
    }
    set_hints(page, offset, hints.bits);
}

/// Stores collected hints of the row at `offset`.
pub(crate) fn set_hints(page: &PageWrite<'_>, offset: u16, bits: u16) {
    if bits != 0 {
        page.set_hint_bits(infomask_at(page, offset), bits);
    }
}

/// Offset within the page of a row's `t_infomask`.
#[inline]
pub(crate) fn infomask_at(page: &page::Page, offset: u16) -> usize {
    page.item_id(offset).offset() + 20
}

/// Whether anybody is left in a multixact after a wait: this transaction, or members that did not conflict. C:
/// `remaining` of `Do_MultiXactIdWait`.
pub(crate) fn multi_remains(multi: MultiXactId, mask: u16) -> Result<bool> {
    if infomask::is_locked_upgraded(mask) {
        return Ok(false);
    }
    let members = multixact::members(multi, false, infomask::is_locked_only(mask))?;
    for (xid, _) in members.iter() {
        if transam::is_current(*xid) || transam::try_is_in_progress(*xid)? {
            return Ok(true);
        }
    }
    Ok(false)
}
