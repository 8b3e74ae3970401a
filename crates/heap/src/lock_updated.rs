//! Locking the later versions of a row that was updated, so that a lock on the old one protects the row's future.
//!
//! C counterpart: `heap_lock_updated_tuple`, `heap_lock_updated_tuple_rec`, `test_lockmode_for_conflict`.

use common::{ItemPointer, SqlState, Xid};
use elog::{Result, error};
use lmgr::WaitOperation;
use storage::{Critical, PageWrite, Pin};
use transam::multixact::{self, MemberStatus};
use wal::{Record, RegFlags, RmgrId};

use crate::api::{LockTupleMode, TmResult, WaitPolicy};
use crate::delete::{old_xmax, store_xmax};
use crate::header::{Header, HeaderMut, infomask, infomask2};
use crate::prune_plan::update_xid_of;
use crate::records::{XmaxChange, flag, infobits, op2};
use crate::table::Table;
use crate::visibility::{Real, is_only_locked};
use crate::xmax::{compute_new_xmax, conflict};
use crate::{hio, vm, waits};

/// Locks every version from `next` on. `tid` is the version that leads there. C: `heap_lock_updated_tuple`.
pub(crate) fn lock_updated_versions(
    table: &Table,
    tid: ItemPointer,
    next: ItemPointer,
    mode: LockTupleMode,
) -> Result<TmResult> {
    if next == crate::header::MOVED_PARTITIONS || next == tid {
        return Ok(TmResult::Ok);
    }
    multixact::set_oldest_member();
    let mut next = next;
    let mut prior_xmax = Xid::INVALID;
    loop {
        match lock_version(table, next, prior_xmax, mode)? {
            Version::End(result) => return Ok(result),
            Version::Next(tid, xmax) => (next, prior_xmax) = (tid, xmax),
        }
    }
}

enum Version {
    End(TmResult),
    Next(ItemPointer, Xid),
}

/// What the present holders mean for our lock.
enum Verdict {
    Lock,
    /// We have locked this version before.
    Ours,
    Wait(Xid),
    Fail(TmResult),
}

/// One version; the next one's address and what its xmin must be.
fn lock_version(table: &Table, tid: ItemPointer, prior_xmax: Xid, mode: LockTupleMode) -> Result<Version> {
    let xid = transam::current_xid()?;
    if tid.block >= table.nblocks()? {
        return Ok(Version::End(TmResult::Ok));
    }
    let pin = hio::read(table, tid.block, None)?;
    let mut vm = None;
    loop {
        miscinit::interrupt::check()?;
        let mut write = hio::lock_old(table, &pin, &mut vm)?;
        if tid.offset == 0 || tid.offset > write.max_offset() || !write.item_id(tid.offset).is_normal() {
            // Its creator was rolled back, and it has been pruned.
            return Ok(Version::End(TmResult::Ok));
        }
        let h = Header(write.item(tid.offset));
        if prior_xmax.is_valid() && h.xmin() != prior_xmax || transam::did_abort(h.xmin()) {
            return Ok(Version::End(TmResult::Ok));
        }
        match verdict(h, tid, mode)? {
            Verdict::Wait(holder) => {
                drop(write);
                let operation = WaitOperation::LockUpdated;
                waits::wait_for_xid(table, holder, tid, operation, WaitPolicy::Block)?;
                continue;
            }
            Verdict::Fail(result) => return Ok(Version::End(result)),
            Verdict::Ours => {}
            Verdict::Lock => write_lock(table, &mut write, tid, xid, mode, vm.as_ref())?,
        }
        let h = Header(write.item(tid.offset));
        let end = h.infomask() & infomask::XMAX_INVALID != 0
            || h.moved_partitions()
            || h.ctid() == tid
            || is_only_locked(h, &Real)?;
        return Ok(match end {
            true => Version::End(TmResult::Ok),
            false => Version::Next(h.ctid(), update_xid_of(h, &Real)?),
        });
    }
}

fn verdict(h: Header<'_>, tid: ItemPointer, mode: LockTupleMode) -> Result<Verdict> {
    let (mask, mask2) = (h.infomask(), h.infomask2());
    if mask & infomask::XMAX_INVALID != 0 {
        return Ok(Verdict::Lock);
    }
    let keys = mask2 & infomask2::KEYS_UPDATED != 0;
    let members = if mask & infomask::XMAX_IS_MULTI != 0 {
        multixact::members(h.multi_xmax(), false, infomask::is_locked_only(mask))?
    } else {
        let status = match (infomask::is_locked_only(mask), keys) {
            (false, false) => MemberStatus::NoKeyUpdate,
            (false, true) => MemberStatus::Update,
            (true, _) if infomask::is_key_share_locked(mask) => MemberStatus::ForKeyShare,
            (true, _) if infomask::is_share_locked(mask) => MemberStatus::ForShare,
            (true, true) if infomask::is_exclusive_locked(mask) => MemberStatus::ForUpdate,
            (true, false) if infomask::is_exclusive_locked(mask) => MemberStatus::ForNoKeyUpdate,
            _ => return Err(error!(SqlState::INTERNAL_ERROR, "invalid lock status in tuple")),
        };
        vec![(h.raw_xmax(), status)]
    };
    for (xid, status) in members {
        match member_verdict(h, tid, xid, status, mode)? {
            Verdict::Lock => {}
            other => return Ok(other),
        }
    }
    Ok(Verdict::Lock)
}

/// C: `test_lockmode_for_conflict`.
fn member_verdict(
    h: Header<'_>,
    tid: ItemPointer,
    xid: Xid,
    status: MemberStatus,
    mode: LockTupleMode,
) -> Result<Verdict> {
    let conflicts = conflict(LockTupleMode::of_member(status), mode);
    Ok(if transam::is_current(xid) {
        Verdict::Ours
    } else if transam::try_is_in_progress(xid)? {
        if conflicts { Verdict::Wait(xid) } else { Verdict::Lock }
    } else if status.is_update() && conflicts && transam::try_did_commit(xid)? {
        Verdict::Fail(if h.ctid() == tid { TmResult::Deleted } else { TmResult::Updated })
    } else {
        Verdict::Lock
    })
}

fn write_lock(
    table: &Table,
    write: &mut PageWrite<'_>,
    tid: ItemPointer,
    xid: Xid,
    mode: LockTupleMode,
    vm: Option<&Pin>,
) -> Result<()> {
    let new = compute_new_xmax(old_xmax(Header(write.item(tid.offset))), xid, mode, false)?;
    let mut critical = Critical::begin();
    let page = write.modify(&mut critical);
    let all_visible = page.all_visible();
    let mut h = HeaderMut(page.item_mut(tid.offset));
    store_xmax(&mut h, new);
    let bits = infobits(new.mask, h.read().infomask2());
    let cleared = all_visible && vm.is_some_and(|vm| vm::clear(vm, tid.block, vm::ALL_FROZEN));
    if !table.needs_wal() {
        critical.unlogged();
        return Ok(());
    }
    let flags = if cleared { flag::LOCK_ALL_FROZEN_CLEARED } else { 0 };
    let main = XmaxChange { xmax: new.xid, offset: tid.offset, infobits: bits, flags }.to_bytes();
    let mut record = Record::new(RmgrId::Heap2, op2::LOCK_UPDATED);
    record.data(&main);
    record.block(0, write.tag(), write, RegFlags::STANDARD);
    critical.log(record);
    Ok(())
}
