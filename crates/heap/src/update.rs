//! Replacing a row: the old version's xmax says who did, and its ctid leads to the new one.
//!
//! The new version goes to the same page if it fits there. If besides no indexed column changes, it is hung into the old
//! one's chain (HOT), so that indexes need no new entry and pruning can remove the old version by itself.
//! If it does not fit, the old version is locked in xmax while the page lock is given up to find another page.
//!
//! C counterpart: `heap_update`, `log_heap_update`.

use common::{CommandId, ItemPointer, SqlState, Xid};
use elog::{Result, error};
use lmgr::WaitOperation;
use page::Page;
use storage::{Critical, PageWrite, Pin};
use transam::{Snapshot, multixact};
use wal::{Record, RegFlags, RmgrId};

use crate::api::{LockTupleMode, TmResult, UpdateOptions, UpdateOutcome, WaitPolicy};
use crate::delete::{check_row, check_tid, failure, old_xmax, store_xmax};
use crate::header::{HEADER_SIZE, Header, HeaderMut, infomask, infomask2, max_align};
use crate::hio::{self, Target};
use crate::page_ops::put_tuple;
use crate::records::{self, ShortHeader, XmaxChange, flag, infobits, op};
use crate::table::Table;
use crate::tuple::Tuple;
use crate::visibility::{self, NoHints, Real, update_xid};
use crate::waits::{self, TupleLock};
use crate::xmax::{self, Xmax, compute_new_xmax};
use crate::{combocid, vm};

/// What is known of lockers that stay on the row.
#[derive(Clone, Copy, Default)]
struct Lockers {
    /// Somebody has looked.
    checked: bool,
    remain: bool,
}

/// The page with the row, and what is known of it.
struct Found<'p> {
    write: PageWrite<'p>,
    result: TmResult,
    lockers: Lockers,
}

/// Replaces the row at `tid` by `new`, whose `tid` is set. C: `heap_update`.
///
/// # Errors
/// 55000 `attempted to update invisible tuple`; a row too big; what waiting and extending return.
pub fn update(
    table: &Table,
    tid: ItemPointer,
    new: &mut Tuple,
    cid: CommandId,
    crosscheck: Option<&Snapshot>,
    options: UpdateOptions,
) -> Result<UpdateOutcome> {
    let xid = transam::current_xid()?;
    hio::check_size(new.len())?;
    let mode = if options.key_changed { LockTupleMode::Exclusive } else { LockTupleMode::NoKeyExclusive };
    multixact::set_oldest_member();
    let pin = hio::read(table, tid.block, None)?;
    let mut vm = None;
    if pin.shared().all_visible() {
        vm = Some(vm::pin(table, tid.block)?);
    }
    let mut queue = None;
    let found = find(table, &pin, tid, cid, mode, options.wait, &mut vm, &mut queue)?;
    let Found { mut write, mut result, lockers } = found;
    let h = Header(write.item(tid.offset));
    if let Some(snapshot) = crosscheck
        && result == TmResult::Ok
        && !visibility::satisfies(h, snapshot, &mut NoHints)?
    {
        result = TmResult::Updated;
    }
    if result != TmResult::Ok {
        return Ok(UpdateOutcome { result, failure: failure(h, result)?, lock_mode: mode, hot: false });
    }

    let old_state = old_xmax(h);
    let update_xmax = compute_new_xmax(old_state, xid, mode, true)?;
    prepare_new(table, new, xid, cid, new_xmax(old_state, lockers)?);
    let (cid, combo) = combocid::adjust_cmax(h, cid);
    let cmax = (cid, combo);

    let mut target = None;
    if max_align(new.len()) > write.heap_free_space() {
        let lock_xmax = compute_new_xmax(old_state, xid, mode, false)?;
        lock_old_version(table, &mut write, tid, lock_xmax, cmax, vm.as_ref());
        drop(write);
        let pages = hio::pages_for_update(table, new.len(), &pin, &mut vm)?;
        write = pages.old;
        target = pages.new;
    }
    let hot = target.is_none() && options.hot_allowed;
    let change = Change { table, tid, xid, update_xmax, cmax, hot };
    change.apply(write, target, new, vm.as_ref());
    drop(queue);
    table.counts.count_update(hot);
    let failure = crate::api::FailureData { ctid: new.tid, xmax: xid, ..Default::default() };
    Ok(UpdateOutcome { result: TmResult::Ok, failure, lock_mode: mode, hot })
}

/// Locks the page and decides whether the row may be changed, after waiting for whoever stands in the way.
#[allow(clippy::too_many_arguments, reason = "the state of one update")]
fn find<'p>(
    table: &Table,
    pin: &'p Pin,
    tid: ItemPointer,
    cid: CommandId,
    mode: LockTupleMode,
    wait: bool,
    vm: &mut Option<Pin>,
    queue: &mut Option<TupleLock>,
) -> Result<Found<'p>> {
    loop {
        let write = hio::lock_old(table, pin, vm)?;
        check_tid(&write, tid)?;
        let result = check_row(&write, tid, cid)?;
        if result == TmResult::Invisible {
            return Err(error!(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "attempted to update invisible tuple"
            ));
        }
        if result != TmResult::BeingModified || !wait {
            return Ok(Found { write, result, lockers: Lockers::default() });
        }
        let waited = wait_for_holder(table, pin, write, tid, mode, queue)?;
        // A page that has become all-visible meanwhile needs its map page first.
        if let Some(found) = waited
            && (!found.write.all_visible() || vm::pin_ok(vm.as_ref(), tid.block))
        {
            return Ok(found);
        }
    }
}

/// Waits where the update conflicts with the holder of the row. None if the row changed meanwhile.
fn wait_for_holder<'p>(
    table: &Table,
    pin: &'p Pin,
    write: PageWrite<'p>,
    tid: ItemPointer,
    mode: LockTupleMode,
    queue: &mut Option<TupleLock>,
) -> Result<Option<Found<'p>>> {
    let h = Header(write.item(tid.offset));
    let (xmax, mask, multi) = (h.raw_xmax(), h.infomask(), h.multi_xmax());
    let mut write = write;
    let mut lockers = Lockers::default();
    let can_continue;
    if mask & infomask::XMAX_IS_MULTI != 0 {
        let (conflicts, member) = waits::multi_conflicts(multi, mask, mode)?;
        if conflicts {
            drop(write);
            if !member {
                waits::acquire_tuple_lock(table, tid, mode, WaitPolicy::Block, queue)?;
            }
            let status = mode.member_status(true);
            let policy = WaitPolicy::Block;
            waits::wait_for_multi(table, multi, status, mask, tid, WaitOperation::Update, policy)?;
            lockers = Lockers { checked: true, remain: waits::multi_remains(multi, mask)? };
            write = pin.exclusive();
            if waits::xmax_changed(Header(write.item(tid.offset)), mask, xmax) {
                return Ok(None);
            }
        }
        let h = Header(write.item(tid.offset));
        let updater = match infomask::is_locked_only(h.infomask()) {
            true => Xid::INVALID,
            false => update_xid(h, &Real)?,
        };
        can_continue = !updater.is_valid() || transam::did_abort(updater);
    } else if transam::is_current(xmax)
        || infomask::is_key_share_locked(mask) && mode == LockTupleMode::NoKeyExclusive
    {
        // Our own lock, or one that does not mind; it must stay on the row.
        lockers = Lockers { checked: true, remain: true };
        can_continue = true;
    } else {
        drop(write);
        waits::acquire_tuple_lock(table, tid, mode, WaitPolicy::Block, queue)?;
        waits::wait_for_xid(table, xmax, tid, WaitOperation::Update, WaitPolicy::Block)?;
        lockers.checked = true;
        write = pin.exclusive();
        if waits::xmax_changed(Header(write.item(tid.offset)), mask, xmax) {
            return Ok(None);
        }
        waits::hint_xmax(&write, tid.offset, xmax);
        can_continue = Header(write.item(tid.offset)).infomask() & infomask::XMAX_INVALID != 0;
    }
    let result = match can_continue {
        true => TmResult::Ok,
        false if Header(write.item(tid.offset)).ctid() != tid => TmResult::Updated,
        false => TmResult::Deleted,
    };
    Ok(Some(Found { write, result, lockers }))
}

/// The new version's xmax: lockers of the old one that remain have locked the row, so the new one too.
fn new_xmax(old: Xmax, lockers: Lockers) -> Result<Xmax> {
    let none = Xmax { xid: Xid::INVALID, mask: infomask::XMAX_INVALID, mask2: 0 };
    let free = old.mask & infomask::XMAX_INVALID != 0
        || infomask::is_locked_upgraded(old.mask)
        || lockers.checked && !lockers.remain
        || !old.xid.is_valid();
    if free {
        return Ok(none);
    }
    if old.mask & infomask::XMAX_IS_MULTI != 0 {
        return xmax::multi(common::MultiXactId(old.xid.0));
    }
    // An update that got this far only has key-share lockers beside it.
    Ok(Xmax { xid: old.xid, mask: infomask::XMAX_KEYSHR_LOCK | infomask::XMAX_LOCK_ONLY, mask2: 0 })
}

fn prepare_new(table: &Table, new: &mut Tuple, xid: Xid, cid: CommandId, xmax: Xmax) {
    let mut h = new.header_mut();
    h.clear(infomask::XACT_MASK);
    h.clear2(infomask2::XACT_MASK);
    h.set_xmin(xid);
    h.set_cmin(cid);
    h.set(infomask::UPDATED | xmax.mask);
    h.set2(xmax.mask2);
    h.set_xmax(xmax.xid);
    new.table_oid = table.oid;
}

/// Marks the old version as locked by us while its page is not locked. The id must be in WAL before it may reach
/// the disk, so this is logged as a row lock.
fn lock_old_version(
    table: &Table,
    write: &mut PageWrite<'_>,
    tid: ItemPointer,
    xmax: Xmax,
    (cid, combo): (CommandId, bool),
    vm: Option<&Pin>,
) {
    let mut critical = Critical::begin();
    let page = write.modify(&mut critical);
    let all_visible = page.all_visible();
    let mut h = HeaderMut(page.item_mut(tid.offset));
    store_xmax(&mut h, xmax);
    h.clear2(infomask2::HOT_UPDATED);
    h.set_cmax(cid, combo);
    h.set_ctid(tid);
    let bits = infobits(h.read().infomask(), h.read().infomask2());
    let cleared = all_visible && vm.is_some_and(|vm| vm::clear(vm, tid.block, vm::ALL_FROZEN));
    if !table.needs_wal() {
        return critical.unlogged();
    }
    let flags = if cleared { flag::LOCK_ALL_FROZEN_CLEARED } else { 0 };
    let main = XmaxChange { xmax: xmax.xid, offset: tid.offset, infobits: bits, flags }.to_bytes();
    let mut record = Record::new(RmgrId::Heap, op::LOCK);
    record.data(&main);
    record.block(0, write.tag(), write, RegFlags::STANDARD);
    critical.log(record);
}

/// A decided update.
struct Change<'a> {
    table: &'a Table,
    tid: ItemPointer,
    xid: Xid,
    update_xmax: Xmax,
    cmax: (CommandId, bool),
    hot: bool,
}

impl Change<'_> {
    /// Changes the page or pages and logs it.
    fn apply(
        &self,
        mut old: PageWrite<'_>,
        mut target: Option<Target>,
        new: &mut Tuple,
        old_vm: Option<&Pin>,
    ) {
        let mut critical = Critical::begin();
        let mut flags = 0;
        if self.hot {
            new.header_mut().set2(infomask2::ONLY_TUPLE);
        }
        match &mut target {
            None => put_tuple(old.modify(&mut critical), self.tid.block, new),
            Some(target) => {
                let block = target.page.block();
                let page = target.page.modify(&mut critical);
                put_tuple(page, block, new);
                if page.all_visible() {
                    page.set_all_visible(false);
                    flags |= flag::UPDATE_NEW_ALL_VISIBLE_CLEARED;
                    if let Some(vm) = &target.vm {
                        vm::clear(vm, block, vm::VALID_BITS);
                    }
                }
            }
        }
        let page = old.modify(&mut critical);
        page.set_prunable(self.xid);
        if target.is_some() {
            // No room: pruning would help.
            page.set_full(true);
        }
        if page.all_visible() {
            page.set_all_visible(false);
            flags |= flag::UPDATE_OLD_ALL_VISIBLE_CLEARED;
            if let Some(vm) = old_vm {
                vm::clear(vm, self.tid.block, vm::VALID_BITS);
            }
        }
        self.change_old(page, new.tid);
        if self.table.needs_wal() {
            self.log(critical, &old, target.as_ref().map(|t| &t.page), new, flags);
        } else {
            critical.unlogged();
        }
    }

    fn change_old(&self, page: &mut Page, new_tid: ItemPointer) {
        let mut h = HeaderMut(page.item_mut(self.tid.offset));
        store_xmax(&mut h, self.update_xmax);
        if self.hot {
            h.set2(infomask2::HOT_UPDATED);
        } else {
            h.clear2(infomask2::HOT_UPDATED);
        }
        h.set_cmax(self.cmax.0, self.cmax.1);
        h.set_ctid(new_tid);
    }

    /// C: `log_heap_update`.
    fn log(
        &self,
        critical: Critical,
        old: &PageWrite<'_>,
        other: Option<&PageWrite<'static>>,
        new: &Tuple,
        flags: u8,
    ) {
        let old_row = old.item(self.tid.offset);
        let old_header = Header(old_row);
        let hoff = new.header().hoff();
        let (prefix, suffix) = match other.is_none() && !wal::needs_full_image(old) {
            true => common_ends(old_row.get(old_header.hoff()..).unwrap_or_default(), &new.bytes[hoff..]),
            false => (0, 0),
        };
        let mut flags = flags;
        let mut lengths = [0u8; 4];
        let mut used = 0;
        for (len, bit) in [(prefix, flag::UPDATE_PREFIX_FROM_OLD), (suffix, flag::UPDATE_SUFFIX_FROM_OLD)] {
            if len > 0 {
                flags |= bit;
                lengths[used..used + 2].copy_from_slice(&(len as u16).to_le_bytes());
                used += 2;
            }
        }
        let old_change = XmaxChange {
            xmax: old_header.raw_xmax(),
            offset: self.tid.offset,
            infobits: infobits(old_header.infomask(), old_header.infomask2()),
            flags,
        };
        let new_xmax = new.header().raw_xmax();
        let main = records::Update { old: old_change, new_xmax, new_offset: new.tid.offset }.to_bytes();
        let target = other.map_or(&**old, |page| &**page);
        let alone = new.tid.offset == 1 && target.max_offset() == 1;
        let (init, registration) = match alone {
            true => (op::INIT_PAGE, RegFlags::STANDARD | RegFlags::WILL_INIT),
            false => (0, RegFlags::STANDARD),
        };
        let header = ShortHeader::of(new.header()).to_bytes();
        let operation = if self.hot { op::HOT_UPDATE } else { op::UPDATE };
        let mut record = Record::new(RmgrId::Heap, operation | init);
        record.data(&main);
        record.block(0, other.map_or_else(|| old.tag(), PageWrite::tag), target, registration);
        if other.is_some() {
            record.block(1, old.tag(), old, RegFlags::STANDARD);
        }
        record.block_data(0, &lengths[..used]);
        record.block_data(0, &header);
        let end = new.bytes.len() - suffix;
        if prefix == 0 {
            record.block_data(0, &new.bytes[HEADER_SIZE..end]);
        } else {
            record.block_data(0, &new.bytes[HEADER_SIZE..hoff]);
            record.block_data(0, &new.bytes[hoff + prefix..end]);
        }
        record.include_origin();
        critical.log(record);
    }
}

/// Lengths of the common beginning and end of two rows; those too short to save anything count as none.
fn common_ends(old: &[u8], new: &[u8]) -> (usize, usize) {
    let worth = |len: usize| if len < 3 { 0 } else { len };
    let prefix = worth(old.iter().zip(new).take_while(|(a, b)| a == b).count());
    let most = old.len().min(new.len()) - prefix;
    let suffix = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    (prefix, worth(suffix))
}

#[cfg(test)]
mod tests {
    use super::common_ends;

    #[test]
    fn ends_do_not_overlap() {
        assert_eq!(common_ends(b"aaaaa", b"aaaaaaa"), (5, 0));
        assert_eq!(common_ends(b"abcXdef", b"abcYYdef"), (3, 3));
        assert_eq!(common_ends(b"abX", b"abY"), (0, 0));
        assert_eq!(common_ends(b"", b"abc"), (0, 0));
    }
}
