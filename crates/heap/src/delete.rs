//! Deleting a row: its xmax says who did.
//!
//! C counterpart: `heap_delete`.

use common::{CommandId, ItemPointer, SqlState, Xid};
use elog::{Result, error};
use lmgr::WaitOperation;
use storage::{Critical, PageWrite, Pin};
use transam::{Snapshot, multixact};
use wal::{Record, RegFlags, RmgrId};

use crate::api::{FailureData, LockTupleMode, TmResult, WaitPolicy};
use crate::header::{Header, HeaderMut, infomask, infomask2};
use crate::prune_plan::update_xid_of;
use crate::records::{XmaxChange, flag, infobits, op};
use crate::table::Table;
use crate::visibility::{self, NoHints, PageHints, Real, is_only_locked};
use crate::waits::{self, TupleLock};
use crate::xmax::{Xmax, compute_new_xmax};
use crate::{combocid, hio, vm};

/// What has to be known to overwrite a row's xmax.
pub(crate) fn old_xmax(h: Header<'_>) -> Xmax {
    Xmax { xid: h.raw_xmax(), mask: h.infomask(), mask2: h.infomask2() }
}

/// Why a row could not be changed. C: filling in `TM_FailureData`.
pub(crate) fn failure(h: Header<'_>, result: TmResult) -> Result<FailureData> {
    let cmax = if result == TmResult::SelfModified { combocid::cmax(h) } else { CommandId::MAX };
    Ok(FailureData { ctid: h.ctid(), xmax: update_xid_of(h, &Real)?, cmax, traversed: false })
}

/// [`visibility::may_update`] on a locked page, with its hints stored.
pub(crate) fn check_row(page: &PageWrite<'_>, tid: ItemPointer, cid: CommandId) -> Result<TmResult> {
    let mut hints = PageHints::new(page.lsn());
    let result = visibility::may_update(Header(page.item(tid.offset)), tid, cid, &mut hints);
    waits::set_hints(page, tid.offset, hints.bits);
    result
}

/// A row that is there must be where its address says.
pub(crate) fn check_tid(page: &PageWrite<'_>, tid: ItemPointer) -> Result<()> {
    let there = (1..=page.max_offset()).contains(&tid.offset) && page.item_id(tid.offset).is_normal();
    match there {
        true => Ok(()),
        false => Err(error!(SqlState::INTERNAL_ERROR, "no row at {tid}")),
    }
}

/// After waiting: what the row's state is now, given that nobody else touched xmax.
pub(crate) fn result_after_wait(h: Header<'_>, mask: u16, tid: ItemPointer) -> Result<TmResult> {
    let free = h.infomask() & infomask::XMAX_INVALID != 0
        || infomask::is_locked_only(mask)
        || is_only_locked(h, &Real)?;
    Ok(match free {
        true => TmResult::Ok,
        false if h.ctid() != tid => TmResult::Updated,
        false => TmResult::Deleted,
    })
}

/// Deletes the row at `tid`, waiting for others if `wait`. C: `heap_delete`.
///
/// # Errors
/// 55000 `attempted to delete invisible tuple`; deadlock, timeouts and cancellation while waiting.
pub fn delete(
    table: &Table,
    tid: ItemPointer,
    cid: CommandId,
    crosscheck: Option<&Snapshot>,
    wait: bool,
) -> Result<(TmResult, FailureData)> {
    let xid = transam::current_xid()?;
    let pin = hio::read(table, tid.block, None)?;
    let mut vm = None;
    if pin.shared().all_visible() {
        vm = Some(vm::pin(table, tid.block)?);
    }
    let mut queue: Option<TupleLock> = None;
    let (mut write, result) = loop {
        let write = hio::lock_old(table, &pin, &mut vm)?;
        check_tid(&write, tid)?;
        let result = check_row(&write, tid, cid)?;
        if result == TmResult::Invisible {
            return Err(error!(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "attempted to delete invisible tuple"
            ));
        }
        if result != TmResult::BeingModified || !wait {
            break (write, result);
        }
        if let Some(decided) = wait_for_holder(table, &pin, write, tid, &mut queue)? {
            if decided.0.all_visible() && vm.is_none() {
                continue;
            }
            break decided;
        }
    };
    let h = Header(write.item(tid.offset));
    let mut result = result;
    if let Some(snapshot) = crosscheck
        && result == TmResult::Ok
        && !visibility::satisfies(h, snapshot, &mut NoHints)?
    {
        result = TmResult::Updated;
    }
    if result != TmResult::Ok {
        return Ok((result, failure(h, result)?));
    }
    let (cid, combo) = combocid::adjust_cmax(h, cid);
    multixact::set_oldest_member();
    let new = compute_new_xmax(old_xmax(h), xid, LockTupleMode::Exclusive, true)?;

    change(table, &mut write, tid, xid, new, (cid, combo), vm.as_ref());
    drop(write);
    drop(queue);
    table.counts.count_delete();
    Ok((TmResult::Ok, FailureData { ctid: tid, xmax: xid, ..FailureData::default() }))
}

/// Changes the row and logs it.
fn change(
    table: &Table,
    write: &mut PageWrite<'_>,
    tid: ItemPointer,
    xid: Xid,
    new: Xmax,
    (cid, combo): (CommandId, bool),
    vm: Option<&Pin>,
) {
    let mut critical = Critical::begin();
    let page = write.modify(&mut critical);
    page.set_prunable(xid);
    let mut flags = 0;
    if page.all_visible() {
        page.set_all_visible(false);
        flags |= flag::DELETE_ALL_VISIBLE_CLEARED;
        if let Some(vm) = vm {
            vm::clear(vm, tid.block, vm::VALID_BITS);
        }
    }
    let mut h = HeaderMut(page.item_mut(tid.offset));
    store_xmax(&mut h, new);
    h.clear2(infomask2::HOT_UPDATED);
    h.set_cmax(cid, combo);
    h.set_ctid(tid);
    if table.needs_wal() {
        let bits = infobits(h.read().infomask(), h.read().infomask2());
        let main = XmaxChange { xmax: new.xid, offset: tid.offset, infobits: bits, flags }.to_bytes();
        let mut record = Record::new(RmgrId::Heap, op::DELETE);
        record.data(&main);
        record.block(0, write.tag(), write, RegFlags::STANDARD);
        record.include_origin();
        critical.log(record);
    } else {
        critical.unlogged();
    }
}

/// Puts a new xmax and its flags in place of the old ones.
pub(crate) fn store_xmax(h: &mut HeaderMut<'_>, new: Xmax) {
    h.clear(infomask::XMAX_BITS | infomask::MOVED);
    h.clear2(infomask2::KEYS_UPDATED);
    h.set(new.mask);
    h.set2(new.mask2);
    h.set_xmax(new.xid);
}

/// Waits for whoever holds the row. None if the row changed meanwhile: look at it again.
fn wait_for_holder<'p>(
    table: &Table,
    pin: &'p Pin,
    write: PageWrite<'p>,
    tid: ItemPointer,
    queue: &mut Option<TupleLock>,
) -> Result<Option<(PageWrite<'p>, TmResult)>> {
    let mode = LockTupleMode::Exclusive;
    let h = Header(write.item(tid.offset));
    let (xmax, mask, multi) = (h.raw_xmax(), h.infomask(), h.multi_xmax());
    let mut page = write;
    if mask & infomask::XMAX_IS_MULTI != 0 {
        let (conflicts, member) = waits::multi_conflicts(multi, mask, mode)?;
        if conflicts {
            drop(page);
            if !member {
                waits::acquire_tuple_lock(table, tid, mode, WaitPolicy::Block, queue)?;
            }
            let status = mode.member_status(true);
            let policy = WaitPolicy::Block;
            waits::wait_for_multi(table, multi, status, mask, tid, WaitOperation::Delete, policy)?;
            page = pin.exclusive();
            if waits::xmax_changed(Header(page.item(tid.offset)), mask, xmax) {
                return Ok(None);
            }
        }
    } else if !transam::is_current(xmax) {
        drop(page);
        waits::acquire_tuple_lock(table, tid, mode, WaitPolicy::Block, queue)?;
        waits::wait_for_xid(table, xmax, tid, WaitOperation::Delete, WaitPolicy::Block)?;
        page = pin.exclusive();
        if waits::xmax_changed(Header(page.item(tid.offset)), mask, xmax) {
            return Ok(None);
        }
        waits::hint_xmax(&page, tid.offset, xmax);
    }
    let result = result_after_wait(Header(page.item(tid.offset)), mask, tid)?;
    Ok(Some((page, result)))
}
