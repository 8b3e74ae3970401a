//! Locking a row: `SELECT ... FOR UPDATE` and its weaker kin.
//!
//! The lock is in the row's xmax: nothing in shared memory grows with the number of locked rows. What conflicts is in
//! [`crate::xmax::conflict`]; who has to wait does so as in `waits`. Locks for key share on a row that was updated
//! also lock the later versions (`lock_updated`), so that the key cannot vanish behind our back.
//!
//! C counterpart: `heap_lock_tuple`.

use common::{CommandId, ItemPointer, Xid};
use elog::Result;
use lmgr::WaitOperation;
use storage::{Critical, PageWrite, Pin};
use transam::multixact;
use wal::{Record, RegFlags, RmgrId};

use crate::api::{FailureData, LockOutcome, LockTupleMode, TmResult, WaitPolicy};
use crate::delete::{check_row, check_tid, failure, old_xmax, result_after_wait, store_xmax};
use crate::header::{Header, HeaderMut, infomask, infomask2};
use crate::lock_updated::lock_updated_versions;
use crate::records::{XmaxChange, flag, infobits, op};
use crate::table::Table;
use crate::tuple::Tuple;
use crate::visibility::{Real, is_only_locked};
use crate::waits::{self, TupleLock};
use crate::xmax::compute_new_xmax;
use crate::{hio, vm};

/// One lock to be taken.
struct Request<'a> {
    table: &'a Table,
    pin: &'a Pin,
    tid: ItemPointer,
    mode: LockTupleMode,
    policy: WaitPolicy,
    follow_updates: bool,
    /// The queue's lock, while we have it.
    queue: Option<TupleLock>,
    /// Nobody has looked yet whether we hold a lock already.
    first_time: bool,
    /// We have a weaker lock: queueing for the row could deadlock with who waits for us.
    skip_queue: bool,
}

/// What looking at a contended row came to.
enum Step<'p> {
    /// It changed: begin again.
    Again,
    /// We have the lock already, or a stronger one.
    Held,
    /// This is the result; `Ok` means that the lock may be written.
    Decided(PageWrite<'p>, TmResult),
}

/// Locks the row at `tid`. `follow_updates`: its later versions too. C: `heap_lock_tuple`.
///
/// # Errors
/// 55P03 with [`WaitPolicy::Error`]; deadlock, timeouts and cancellation while waiting.
pub fn lock_tuple(
    table: &Table,
    tid: ItemPointer,
    cid: CommandId,
    mode: LockTupleMode,
    policy: WaitPolicy,
    follow_updates: bool,
) -> Result<LockOutcome> {
    let xid = transam::current_xid()?;
    let pin = hio::read(table, tid.block, None)?;
    let mut vm = None;
    let mut request = Request {
        table,
        pin: &pin,
        tid,
        mode,
        policy,
        follow_updates,
        queue: None,
        first_time: true,
        skip_queue: false,
    };
    let (mut write, result) = loop {
        let write = hio::lock_old(table, &pin, &mut vm)?;
        check_tid(&write, tid)?;
        let result = check_row(&write, tid, cid)?;
        let contended = matches!(result, TmResult::BeingModified | TmResult::Updated | TmResult::Deleted);
        if !contended {
            break (write, result);
        }
        match request.contend(write, result)? {
            Step::Again => {}
            Step::Held => {
                let page = pin.shared();
                let tuple = Some(Tuple::copy_of(page.item(tid.offset), tid, table.oid));
                return Ok(LockOutcome { result: TmResult::Ok, failure: FailureData::default(), tuple });
            }
            Step::Decided(write, TmResult::Ok)
                if write.all_visible() && !vm::pin_ok(vm.as_ref(), tid.block) => {}
            Step::Decided(write, result) => break (write, result),
        }
    };
    if result != TmResult::Ok {
        let failure = failure(Header(write.item(tid.offset)), result)?;
        let tuple = Some(Tuple::copy_of(write.item(tid.offset), tid, table.oid));
        return Ok(LockOutcome { result, failure, tuple });
    }
    write_lock(table, &mut write, tid, xid, mode, vm.as_ref())?;
    let tuple = Some(Tuple::copy_of(write.item(tid.offset), tid, table.oid));
    drop(write);
    Ok(LockOutcome { result: TmResult::Ok, failure: FailureData::default(), tuple })
}

/// Changes the row and logs it.
fn write_lock(
    table: &Table,
    write: &mut PageWrite<'_>,
    tid: ItemPointer,
    xid: Xid,
    mode: LockTupleMode,
    vm: Option<&Pin>,
) -> Result<()> {
    multixact::set_oldest_member();
    let new = compute_new_xmax(old_xmax(Header(write.item(tid.offset))), xid, mode, false)?;
    let mut critical = Critical::begin();
    let page = write.modify(&mut critical);
    let all_visible = page.all_visible();
    let mut h = HeaderMut(page.item_mut(tid.offset));
    store_xmax(&mut h, new);
    if infomask::is_locked_only(new.mask) {
        // Without an update there is nothing that ctid could lead to. With one, cmax and ctid are the updater's.
        h.clear2(infomask2::HOT_UPDATED);
        h.set_ctid(tid);
    }
    let bits = infobits(new.mask, h.read().infomask2());
    // Nothing becomes invisible, but xmax will need freezing.
    let cleared = all_visible && vm.is_some_and(|vm| vm::clear(vm, tid.block, vm::ALL_FROZEN));
    if !table.needs_wal() {
        critical.unlogged();
        return Ok(());
    }
    let flags = if cleared { flag::LOCK_ALL_FROZEN_CLEARED } else { 0 };
    let main = XmaxChange { xmax: new.xid, offset: tid.offset, infobits: bits, flags }.to_bytes();
    let mut record = Record::new(RmgrId::Heap, op::LOCK);
    record.data(&main);
    record.block(0, write.tag(), write, RegFlags::STANDARD);
    critical.log(record);
    Ok(())
}

impl<'a> Request<'a> {
    /// Somebody has locked, updated or deleted the row: waits if need be.
    fn contend(&mut self, write: PageWrite<'a>, result: TmResult) -> Result<Step<'a>> {
        let h = Header(write.item(self.tid.offset));
        let (xmax, mask, mask2, ctid) = (h.raw_xmax(), h.infomask(), h.infomask2(), h.ctid());
        drop(write);
        if std::mem::take(&mut self.first_time) && self.already_held(xmax, mask, mask2)? {
            return Ok(Step::Held);
        }
        match self.without_sleep(xmax, mask, mask2, ctid)? {
            NoSleep::Possible(write) => return Ok(Step::Decided(write, TmResult::Ok)),
            NoSleep::Changed => return Ok(Step::Again),
            NoSleep::Failed(result) => return Ok(Step::Decided(self.pin.exclusive(), result)),
            NoSleep::MustSleep => {}
        }
        if result != TmResult::BeingModified {
            return Ok(Step::Decided(self.pin.exclusive(), result));
        }
        if !self.sleep(xmax, mask)? {
            return Ok(Step::Decided(self.pin.exclusive(), TmResult::WouldBlock));
        }
        if self.follow_updates && !infomask::is_locked_only(mask) {
            let followed = lock_updated_versions(self.table, self.tid, ctid, self.mode)?;
            if followed != TmResult::Ok {
                return Ok(Step::Decided(self.pin.exclusive(), followed));
            }
        }
        let write = self.pin.exclusive();
        if waits::xmax_changed(Header(write.item(self.tid.offset)), mask, xmax) {
            return Ok(Step::Again);
        }
        if mask & infomask::XMAX_IS_MULTI == 0 {
            waits::hint_xmax(&write, self.tid.offset, xmax);
        }
        let h = Header(write.item(self.tid.offset));
        let result = result_after_wait(h, h.infomask(), self.tid)?;
        Ok(Step::Decided(write, result))
    }

    /// Whether this transaction holds this lock or a stronger one.
    fn already_held(&mut self, xmax: Xid, mask: u16, mask2: u16) -> Result<bool> {
        if mask & infomask::XMAX_IS_MULTI != 0 {
            let multi = common::MultiXactId(xmax.0);
            for (xid, status) in multixact::members(multi, false, infomask::is_locked_only(mask))? {
                if transam::is_current(xid) {
                    if LockTupleMode::of_member(status) >= self.mode {
                        return Ok(true);
                    }
                    self.skip_queue = true;
                }
            }
            return Ok(false);
        }
        if !transam::is_current(xmax) {
            return Ok(false);
        }
        let exclusive = infomask::is_exclusive_locked(mask);
        Ok(match self.mode {
            LockTupleMode::KeyShare => true,
            LockTupleMode::Share => infomask::is_share_locked(mask) || exclusive,
            LockTupleMode::NoKeyExclusive => exclusive,
            LockTupleMode::Exclusive => exclusive && mask2 & infomask2::KEYS_UPDATED != 0,
        })
    }

    /// The cases in which the holder does not mind.
    fn without_sleep(&self, xmax: Xid, mask: u16, mask2: u16, ctid: ItemPointer) -> Result<NoSleep<'a>> {
        let is_multi = mask & infomask::XMAX_IS_MULTI != 0;
        let only_locked = infomask::is_locked_only(mask);
        let unchanged =
            |write: PageWrite<'a>| match waits::xmax_changed(Header(write.item(self.tid.offset)), mask, xmax)
            {
                true => NoSleep::Changed,
                false => NoSleep::Possible(write),
            };
        match self.mode {
            LockTupleMode::KeyShare if mask2 & infomask2::KEYS_UPDATED == 0 => {
                let updated = !only_locked;
                if self.follow_updates && updated {
                    let followed = lock_updated_versions(self.table, self.tid, ctid, self.mode)?;
                    if followed != TmResult::Ok {
                        return Ok(NoSleep::Failed(followed));
                    }
                }
                let write = self.pin.exclusive();
                let h = Header(write.item(self.tid.offset));
                let key_gone = h.infomask2() & infomask2::KEYS_UPDATED != 0 || !updated;
                let changed = !is_only_locked(h, &Real)? && key_gone;
                return Ok(if changed { NoSleep::Changed } else { NoSleep::Possible(write) });
            }
            LockTupleMode::Share if only_locked && !infomask::is_exclusive_locked(mask) => {
                let write = self.pin.exclusive();
                let now = Header(write.item(self.tid.offset)).infomask();
                let same = infomask::is_locked_only(now) && !infomask::is_exclusive_locked(now);
                return Ok(if same { NoSleep::Possible(write) } else { NoSleep::Changed });
            }
            LockTupleMode::NoKeyExclusive => {
                let harmless = match is_multi {
                    true => !waits::multi_conflicts(common::MultiXactId(xmax.0), mask, self.mode)?.0,
                    false => infomask::is_key_share_locked(mask),
                };
                if harmless {
                    return Ok(unchanged(self.pin.exclusive()));
                }
            }
            _ => {}
        }
        if !is_multi && transam::is_current(xmax) {
            return Ok(unchanged(self.pin.exclusive()));
        }
        Ok(NoSleep::MustSleep)
    }

    /// Queues for the row and waits for its holder. False if the policy is to skip.
    fn sleep(&mut self, xmax: Xid, mask: u16) -> Result<bool> {
        let Request { table, tid, mode, policy, .. } = *self;
        if !self.skip_queue && !waits::acquire_tuple_lock(table, tid, mode, policy, &mut self.queue)? {
            return Ok(false);
        }
        let operation = WaitOperation::Lock;
        if mask & infomask::XMAX_IS_MULTI != 0 {
            let multi = common::MultiXactId(xmax.0);
            let status = mode.member_status(false);
            return waits::wait_for_multi(table, multi, status, mask, tid, operation, policy);
        }
        waits::wait_for_xid(table, xmax, tid, operation, policy)
    }
}

/// Whether a lock can be had at once.
enum NoSleep<'p> {
    Possible(PageWrite<'p>),
    Changed,
    Failed(TmResult),
    MustSleep,
}
