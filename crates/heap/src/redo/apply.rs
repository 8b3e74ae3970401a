//! What each record does to a page: functions over a page and the record's bytes, without buffers or files.
//!
//! The page is the one that the record was written for, and does not have the change yet. An error means that it
//! is not that page: recovery cannot go on.
//!
//! C counterpart: the parts of `heap_xlog_insert` and its siblings between reading the buffer and `PageSetLSN`.

use std::cell::RefCell;

use common::{ItemPointer, OffsetNumber, SqlState, Xid};
use elog::{PgError, Result, pg_error};
use page::Page;

use crate::freeze;
use crate::header::{HEADER_SIZE, Header, HeaderMut, infomask, infomask2, max_align};
use crate::page_ops;
use crate::records::{
    self, FreezePlan, MultiInsert, MultiInsertTuple, Prune, ShortHeader, Update, XmaxChange, bad_record,
    flag, op,
};

thread_local! {
    /// The row being put together; one buffer for all records.
    static ITEM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[cold]
fn panic(text: &str) -> PgError {
    pg_error!(Panic, SqlState::INTERNAL_ERROR, "{text}")
}

/// The row at `offset`, to change.
fn row(page: &mut Page, offset: OffsetNumber) -> Result<HeaderMut<'_>> {
    if offset == 0 || offset > page.max_offset() || !page.item_id(offset).is_normal() {
        return Err(panic("invalid lp"));
    }
    let item = page.item_mut(offset);
    if item.len() < HEADER_SIZE { Err(panic("invalid lp")) } else { Ok(HeaderMut(item)) }
}

/// Room for one more line pointer is at `offset` at most.
fn check_offset(page: &Page, offset: OffsetNumber) -> Result<()> {
    if page.max_offset() + 1 < offset { Err(panic("invalid max offset number")) } else { Ok(()) }
}

/// Builds the header in front of what `body` appends, and puts the row at `tid`.
fn put_row(
    page: &mut Page,
    tid: ItemPointer,
    short: ShortHeader,
    (xmin, xmax): (Xid, Xid),
    body: impl FnOnce(&mut Vec<u8>, &Page) -> Result<()>,
) -> Result<()> {
    ITEM.with_borrow_mut(|item| {
        item.clear();
        item.resize(HEADER_SIZE, 0);
        body(item, page)?;
        if max_align(item.len()) > crate::header::MAX_TUPLE_SIZE {
            return Err(bad_record());
        }
        let mut h = HeaderMut(item);
        h.set_xmin(xmin);
        h.set_xmax(xmax);
        h.set_ctid(tid);
        h.set_infomask2(short.infomask2);
        h.set_infomask(short.infomask);
        h.set_hoff(short.hoff);
        h.set_cmin(0);
        page.add_item(item, Some(tid.offset), true, true)
            .map(drop)
            .ok_or_else(|| panic("failed to add tuple"))
    })
}

/// The flags around xmax as the record has them. C: the common part of delete, update and lock.
fn change_xmax(h: &mut HeaderMut<'_>, change: &XmaxChange) {
    let mask = h.read().infomask() & !(infomask::XMAX_BITS | infomask::MOVED);
    let (mask, mask2) = records::fix_infomask(change.infobits, mask, h.read().infomask2());
    h.set_infomask(mask);
    h.set_infomask2(mask2);
    h.set_xmax(change.xmax);
}

/// C: `heap_xlog_insert`.
pub(crate) fn insert(page: &mut Page, xid: Xid, tid: ItemPointer, flags: u8, data: &[u8]) -> Result<()> {
    check_offset(page, tid.offset)?;
    let short = ShortHeader::read(data)?;
    put_row(page, tid, short, (xid, Xid::INVALID), |item, _| {
        item.extend_from_slice(&data[ShortHeader::SIZE..]);
        Ok(())
    })?;
    if flags & flag::INSERT_ALL_VISIBLE_CLEARED != 0 {
        page.set_all_visible(false);
    }
    if flags & flag::INSERT_ALL_FROZEN_SET != 0 {
        page.set_all_visible(true);
    }
    Ok(())
}

/// `main` is the record's main data; with `init` the rows are numbered from one. C: `heap_xlog_multi_insert`.
pub(crate) fn multi_insert(
    page: &mut Page,
    xid: Xid,
    block: u32,
    init: bool,
    main: &[u8],
    data: &[u8],
) -> Result<()> {
    let record = MultiInsert::read(main)?;
    let offsets = records::read_offsets(&main[MultiInsert::SIZE..]);
    let mut at = 0;
    for i in 0..record.count {
        let offset = match init {
            true => i + 1,
            false => *offsets.get(i as usize).ok_or_else(bad_record)?,
        };
        check_offset(page, offset)?;
        at += at & 1; // rows begin at even places
        let tuple = MultiInsertTuple::read(data.get(at..).ok_or_else(bad_record)?)?;
        at += MultiInsertTuple::SIZE;
        let body = data.get(at..at + tuple.len as usize).ok_or_else(bad_record)?;
        at += body.len();
        let tid = ItemPointer::new(block, offset);
        put_row(page, tid, tuple.header, (xid, Xid::INVALID), |item, _| {
            item.extend_from_slice(body);
            Ok(())
        })?;
    }
    if at != data.len() {
        return Err(panic("total tuple length mismatch"));
    }
    if record.flags & flag::INSERT_ALL_VISIBLE_CLEARED != 0 {
        page.set_all_visible(false);
    }
    if record.flags & flag::INSERT_ALL_FROZEN_SET != 0 {
        page.set_all_visible(true);
    }
    Ok(())
}

/// C: `heap_xlog_delete`.
pub(crate) fn delete(page: &mut Page, xid: Xid, block: u32, change: &XmaxChange) -> Result<()> {
    let mut h = row(page, change.offset)?;
    let xmax = h.read().raw_xmax();
    change_xmax(&mut h, change);
    h.clear2(infomask2::HOT_UPDATED);
    if change.flags & flag::DELETE_IS_SUPER != 0 {
        h.set_xmax(xmax);
        h.set_xmin(Xid::INVALID);
    }
    h.set_cmax(0, false);
    h.set_ctid(match change.flags & flag::DELETE_IS_PARTITION_MOVE {
        0 => ItemPointer::new(block, change.offset),
        _ => crate::header::MOVED_PARTITIONS,
    });
    page.set_prunable(xid);
    if change.flags & flag::DELETE_ALL_VISIBLE_CLEARED != 0 {
        page.set_all_visible(false);
    }
    Ok(())
}

/// The old version of an update, whose successor is at `new_tid`. C: first half of `heap_xlog_update`.
pub(crate) fn update_old(
    page: &mut Page,
    xid: Xid,
    update: &Update,
    hot: bool,
    new_tid: ItemPointer,
) -> Result<()> {
    let mut h = row(page, update.old.offset)?;
    change_xmax(&mut h, &update.old);
    if hot {
        h.set2(infomask2::HOT_UPDATED);
    } else {
        h.clear2(infomask2::HOT_UPDATED);
    }
    h.set_cmax(0, false);
    h.set_ctid(new_tid);
    page.set_prunable(xid);
    if update.old.flags & flag::UPDATE_OLD_ALL_VISIBLE_CLEARED != 0 {
        page.set_all_visible(false);
    }
    Ok(())
}

/// The new version. What it has in common with the old one at its beginning and end is copied from there: then both are
/// on this page. C: second half of `heap_xlog_update`.
pub(crate) fn update_new(
    page: &mut Page,
    xid: Xid,
    update: &Update,
    new_tid: ItemPointer,
    data: &[u8],
) -> Result<()> {
    check_offset(page, new_tid.offset)?;
    let mut data = data;
    let mut take_len = |present: bool| -> Result<usize> {
        if !present {
            return Ok(0);
        }
        let (len, rest) = data.split_first_chunk().ok_or_else(bad_record)?;
        data = rest;
        Ok(u16::from_le_bytes(*len) as usize)
    };
    let prefix = take_len(update.old.flags & flag::UPDATE_PREFIX_FROM_OLD != 0)?;
    let suffix = take_len(update.old.flags & flag::UPDATE_SUFFIX_FROM_OLD != 0)?;
    let short = ShortHeader::read(data)?;
    let data = &data[ShortHeader::SIZE..];
    let old = update.old.offset;
    put_row(page, new_tid, short, (xid, update.new_xmax), |item, page| {
        let old = match prefix + suffix {
            0 => &[][..],
            _ if old == 0 || old > page.max_offset() => return Err(panic("invalid lp")),
            _ => page.item(old),
        };
        let bitmap = (short.hoff as usize).checked_sub(HEADER_SIZE).ok_or_else(bad_record)?;
        if prefix == 0 {
            item.extend_from_slice(data);
        } else {
            let (bitmap, rest) = data.split_at_checked(bitmap).ok_or_else(bad_record)?;
            item.extend_from_slice(bitmap);
            let start = Header(old).hoff();
            item.extend_from_slice(old.get(start..start + prefix).ok_or_else(bad_record)?);
            item.extend_from_slice(rest);
        }
        let start = old.len().checked_sub(suffix).ok_or_else(bad_record)?;
        item.extend_from_slice(&old[start..]);
        Ok(())
    })?;
    if update.old.flags & flag::UPDATE_NEW_ALL_VISIBLE_CLEARED != 0 {
        page.set_all_visible(false);
    }
    Ok(())
}

/// C: `heap_xlog_lock`.
pub(crate) fn lock(page: &mut Page, block: u32, change: &XmaxChange) -> Result<()> {
    let mut h = row(page, change.offset)?;
    change_xmax(&mut h, change);
    if infomask::is_locked_only(h.read().infomask()) {
        // No update any more: nothing to lead to.
        h.clear2(infomask2::HOT_UPDATED);
        h.set_ctid(ItemPointer::new(block, change.offset));
    }
    h.set_cmax(0, false);
    Ok(())
}

/// C: `heap_xlog_lock_updated`.
pub(crate) fn lock_updated(page: &mut Page, change: &XmaxChange) -> Result<()> {
    change_xmax(&mut row(page, change.offset)?, change);
    Ok(())
}

/// C: `heap_xlog_inplace`.
pub(crate) fn inplace(page: &mut Page, offset: OffsetNumber, data: &[u8]) -> Result<()> {
    let h = row(page, offset)?;
    let start = h.read().hoff();
    match h.0.get_mut(start..) {
        Some(body) if body.len() == data.len() => {
            body.copy_from_slice(data);
            Ok(())
        }
        _ => Err(panic("wrong tuple length")),
    }
}

/// C: `heap_xlog_confirm`.
pub(crate) fn confirm(page: &mut Page, block: u32, offset: OffsetNumber) -> Result<()> {
    row(page, offset)?.set_ctid(ItemPointer::new(block, offset));
    Ok(())
}

/// C: `heap_xlog_prune`.
pub(crate) fn prune(page: &mut Page, record: &Prune, data: &[u8]) -> Result<()> {
    let offsets = records::read_offsets(data);
    let pairs = record.redirected as usize * 2;
    let (redirected, rest) = offsets.split_at_checked(pairs).ok_or_else(bad_record)?;
    let (dead, unused) = rest.split_at_checked(record.dead as usize).ok_or_else(bad_record)?;
    let pairs: Vec<_> = redirected.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    page_ops::check_offsets(page, &offsets)?;
    page_ops::execute_prune(page, &pairs, dead, unused)
}

/// C: `heap_xlog_vacuum`.
pub(crate) fn vacuum(page: &mut Page, data: &[u8]) -> Result<()> {
    let offsets = records::read_offsets(data);
    page_ops::check_offsets(page, &offsets)?;
    page_ops::execute_vacuum(page, &offsets);
    Ok(())
}

/// C: `heap_xlog_freeze_page`.
pub(crate) fn freeze(page: &mut Page, count: u16, data: &[u8]) -> Result<()> {
    for i in 0..count as usize {
        let bytes = data.get(i * FreezePlan::SIZE..).ok_or_else(bad_record)?;
        let plan = FreezePlan::read(bytes)?;
        freeze::execute(&mut row(page, plan.offset)?, &plan);
    }
    Ok(())
}

/// Whether the operation makes its page anew.
pub(crate) fn makes_page(info: u8) -> bool {
    info & op::INIT_PAGE != 0
}
