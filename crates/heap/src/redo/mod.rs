//! Replaying the heap's records.
//!
//! Each function finds the record's pages, lets `apply` change those that do not have the change yet, and then does
//! what is done in any case: clearing bits of the visibility map (rule H4), telling the free space map.
//!
//! C counterpart: `heap_redo`, `heap2_redo`.

mod apply;

use common::{BLCKSZ, BlockNumber, ItemPointer, RelFileNode, SqlState};
use elog::{Result, pg_error};
use lmgr::standby::resolve_conflict_with_snapshot;
use page::Page;
use storage::redo::{RedoAction, RedoMode, init_for_redo, read_for_redo, read_for_redo_with};
use storage::{Critical, PageWrite, freespace};
use wal::DecodedRecord;

use crate::records::{
    self, FreezePage, MultiInsert, Prune, Update, Visible, XmaxChange, bad_record, flag, op, op2,
};
use crate::vm;

/// Pages with less room than this are brought to the free space map's notice.
const LOW_SPACE: usize = BLCKSZ / 5;

/// Replays a record of `RmgrId::Heap`. C: `heap_redo`.
///
/// # Errors
/// PANIC for a record that does not fit its page; what reading pages says.
pub fn heap_redo(record: &DecodedRecord<'_>) -> Result<()> {
    match record.operation() & op::MASK {
        op::INSERT => insert(record),
        op::DELETE => delete(record),
        op::UPDATE => update(record, false),
        op::HOT_UPDATE => update(record, true),
        // The files have been cut by records of the storage manager; this one is for logical decoding.
        op::TRUNCATE => Ok(()),
        op::CONFIRM => confirm(record),
        op::LOCK => lock(record),
        op::INPLACE => inplace(record),
        other => Err(unknown("heap_redo", other)),
    }
}

/// Replays a record of `RmgrId::Heap2`. C: `heap2_redo`.
///
/// # Errors
/// As [`heap_redo`].
pub fn heap2_redo(record: &DecodedRecord<'_>) -> Result<()> {
    match record.operation() & op::MASK {
        op2::PRUNE => prune(record),
        op2::VACUUM => vacuum(record),
        op2::FREEZE_PAGE => freeze(record),
        op2::VISIBLE => visible(record),
        op2::MULTI_INSERT => multi_insert(record),
        op2::LOCK_UPDATED => lock_updated(record),
        // For logical decoding only.
        op2::NEW_CID | op2::REWRITE => Ok(()),
        other => Err(unknown("heap2_redo", other)),
    }
}

#[cold]
fn unknown(function: &str, operation: u8) -> elog::PgError {
    pg_error!(Panic, SqlState::INTERNAL_ERROR, "{function}: unknown op code {operation}")
}

/// Which page of which table a block of the record is.
fn place(record: &DecodedRecord<'_>, id: u8) -> Result<(RelFileNode, BlockNumber)> {
    let block = record.block(id).ok_or_else(bad_record)?;
    Ok((block.tag.node, block.tag.block))
}

/// A block's data; a record without it has an image instead and does not get here.
fn data<'a>(record: &DecodedRecord<'a>, id: u8) -> Result<&'a [u8]> {
    record.block_data(id).ok_or_else(bad_record)
}

/// Changes a page and stamps the record's end on it. An error in the middle is a PANIC, as C's.
fn change<T>(
    record: &DecodedRecord<'_>,
    page: &mut PageWrite<'_>,
    apply: impl FnOnce(&mut Page) -> Result<T>,
) -> T {
    let mut critical = Critical::begin();
    match apply(page.modify(&mut critical)) {
        Ok(value) => {
            critical.redo(record.end_lsn);
            value
        }
        Err(error) => elog::abort(error),
    }
}

/// The page to change, made anew if the record says so.
fn page_for(record: &DecodedRecord<'_>, id: u8) -> Result<Option<PageWrite<'static>>> {
    if apply::makes_page(record.info) && id == 0 {
        let mut page = init_for_redo(record, 0)?;
        let mut critical = Critical::begin();
        page.modify(&mut critical).init(0);
        critical.unlogged();
        return Ok(Some(page));
    }
    Ok(match read_for_redo(record, id)? {
        RedoAction::NeedsRedo(page) => Some(page),
        _ => None,
    })
}

/// Takes bits of the visibility map away: before the page is looked at, since the map may lag behind it.
fn clear_map(node: RelFileNode, block: BlockNumber, flags: u8) -> Result<()> {
    let pin = vm::redo_pin(node, block)?;
    vm::clear(&pin, block, flags);
    Ok(())
}

fn note_low_space(node: RelFileNode, block: BlockNumber, free: Option<usize>) -> Result<()> {
    match free {
        Some(free) if free < LOW_SPACE => freespace::record_in_redo(node, block, free),
        _ => Ok(()),
    }
}

/// C: `heap_xlog_insert`.
fn insert(record: &DecodedRecord<'_>) -> Result<()> {
    let rec = records::Insert::read(record.main_data)?;
    let (node, block) = place(record, 0)?;
    if rec.flags & flag::INSERT_ALL_VISIBLE_CLEARED != 0 {
        clear_map(node, block, vm::VALID_BITS)?;
    }
    let mut free = None;
    if let Some(mut page) = page_for(record, 0)? {
        let bytes = data(record, 0)?;
        let tid = ItemPointer::new(block, rec.offset);
        change(record, &mut page, |page| apply::insert(page, record.xid, tid, rec.flags, bytes));
        free = Some(page.heap_free_space());
    }
    note_low_space(node, block, free)
}

/// C: `heap_xlog_multi_insert`.
fn multi_insert(record: &DecodedRecord<'_>) -> Result<()> {
    let rec = MultiInsert::read(record.main_data)?;
    let (node, block) = place(record, 0)?;
    if rec.flags & flag::INSERT_ALL_VISIBLE_CLEARED != 0 {
        clear_map(node, block, vm::VALID_BITS)?;
    }
    let mut free = None;
    if let Some(mut page) = page_for(record, 0)? {
        let bytes = data(record, 0)?;
        let init = apply::makes_page(record.info);
        change(record, &mut page, |page| {
            apply::multi_insert(page, record.xid, block, init, record.main_data, bytes)
        });
        free = Some(page.heap_free_space());
    }
    note_low_space(node, block, free)
}

/// C: `heap_xlog_delete`.
fn delete(record: &DecodedRecord<'_>) -> Result<()> {
    let rec = XmaxChange::read(record.main_data)?;
    let (node, block) = place(record, 0)?;
    if rec.flags & flag::DELETE_ALL_VISIBLE_CLEARED != 0 {
        clear_map(node, block, vm::VALID_BITS)?;
    }
    if let Some(mut page) = page_for(record, 0)? {
        change(record, &mut page, |page| apply::delete(page, record.xid, block, &rec));
    }
    Ok(())
}

/// C: `heap_xlog_update`.
fn update(record: &DecodedRecord<'_>, hot: bool) -> Result<()> {
    let rec = Update::read(record.main_data)?;
    let (node, new_block) = place(record, 0)?;
    let other = record.block(1).map(|block| block.tag.block);
    let old_block = other.unwrap_or(new_block);
    let new_tid = ItemPointer::new(new_block, rec.new_offset);
    if rec.old.flags & flag::UPDATE_OLD_ALL_VISIBLE_CLEARED != 0 {
        clear_map(node, old_block, vm::VALID_BITS)?;
    }
    // The old page stays locked until the new one is done, as when it happened.
    let mut old = page_for(record, if other.is_some() { 1 } else { 0 })?;
    if let Some(page) = &mut old {
        let both = other.is_none();
        change(record, page, |page| {
            apply::update_old(page, record.xid, &rec, hot, new_tid)?;
            if both {
                apply::update_new(page, record.xid, &rec, new_tid, data(record, 0)?)?;
            }
            Ok(())
        });
    }
    let new = if other.is_some() { page_for(record, 0)? } else { None };
    if rec.old.flags & flag::UPDATE_NEW_ALL_VISIBLE_CLEARED != 0 {
        clear_map(node, new_block, vm::VALID_BITS)?;
    }
    let mut free = old.as_ref().filter(|_| other.is_none()).map(|page| page.heap_free_space());
    if let Some(mut page) = new {
        let bytes = data(record, 0)?;
        change(record, &mut page, |page| apply::update_new(page, record.xid, &rec, new_tid, bytes));
        free = Some(page.heap_free_space());
    }
    drop(old);
    // After a HOT update one of the two versions is dead, so that there is more room than it seems.
    if hot { Ok(()) } else { note_low_space(node, new_block, free) }
}

/// C: `heap_xlog_confirm`.
fn confirm(record: &DecodedRecord<'_>) -> Result<()> {
    let offset = *records::read_offsets(record.main_data).first().ok_or_else(bad_record)?;
    let (_, block) = place(record, 0)?;
    if let Some(mut page) = page_for(record, 0)? {
        change(record, &mut page, |page| apply::confirm(page, block, offset));
    }
    Ok(())
}

/// C: `heap_xlog_lock`.
fn lock(record: &DecodedRecord<'_>) -> Result<()> {
    let rec = XmaxChange::read(record.main_data)?;
    let (node, block) = place(record, 0)?;
    if rec.flags & flag::LOCK_ALL_FROZEN_CLEARED != 0 {
        clear_map(node, block, vm::ALL_FROZEN)?;
    }
    if let Some(mut page) = page_for(record, 0)? {
        change(record, &mut page, |page| apply::lock(page, block, &rec));
    }
    Ok(())
}

/// C: `heap_xlog_lock_updated`.
fn lock_updated(record: &DecodedRecord<'_>) -> Result<()> {
    let rec = XmaxChange::read(record.main_data)?;
    let (node, block) = place(record, 0)?;
    if rec.flags & flag::LOCK_ALL_FROZEN_CLEARED != 0 {
        clear_map(node, block, vm::ALL_FROZEN)?;
    }
    if let RedoAction::NeedsRedo(mut page) = read_for_redo(record, 0)? {
        change(record, &mut page, |page| apply::lock_updated(page, &rec));
    }
    Ok(())
}

/// C: `heap_xlog_inplace`.
fn inplace(record: &DecodedRecord<'_>) -> Result<()> {
    let offset = *records::read_offsets(record.main_data).first().ok_or_else(bad_record)?;
    if let Some(mut page) = page_for(record, 0)? {
        let bytes = data(record, 0)?;
        change(record, &mut page, |page| apply::inplace(page, offset, bytes));
    }
    Ok(())
}

/// C: `heap_xlog_prune`.
fn prune(record: &DecodedRecord<'_>) -> Result<()> {
    let rec = Prune::read(record.main_data)?;
    let (node, block) = place(record, 0)?;
    // Before the page is locked: a session must be able to come to its end.
    resolve_conflict_with_snapshot(rec.latest_removed, node)?;
    let mut page = match read_for_redo_with(record, 0, RedoMode::Normal, true)? {
        RedoAction::NeedsRedo(mut page) => {
            let bytes = data(record, 0)?;
            change(record, &mut page, |page| apply::prune(page, &rec, bytes));
            Some(page)
        }
        other => other.page(),
    };
    let free = page.take().map(|page| page.heap_free_space());
    free.map_or(Ok(()), |free| freespace::record_in_redo(node, block, free))
}

/// C: `heap_xlog_vacuum`.
fn vacuum(record: &DecodedRecord<'_>) -> Result<()> {
    let (node, block) = place(record, 0)?;
    let page = match read_for_redo(record, 0)? {
        RedoAction::NeedsRedo(mut page) => {
            let bytes = data(record, 0)?;
            change(record, &mut page, |page| apply::vacuum(page, bytes));
            Some(page)
        }
        other => other.page(),
    };
    let free = page.map(|page| page.heap_free_space());
    free.map_or(Ok(()), |free| freespace::record_in_redo(node, block, free))
}

/// C: `heap_xlog_freeze_page`.
fn freeze(record: &DecodedRecord<'_>) -> Result<()> {
    let rec = FreezePage::read(record.main_data)?;
    let (node, _) = place(record, 0)?;
    // Frozen were ids before the cutoff.
    resolve_conflict_with_snapshot(rec.cutoff.previous(), node)?;
    if let RedoAction::NeedsRedo(mut page) = read_for_redo(record, 0)? {
        let bytes = data(record, 0)?;
        change(record, &mut page, |page| apply::freeze(page, rec.count, bytes));
    }
    Ok(())
}

/// C: `heap_xlog_visible`.
fn visible(record: &DecodedRecord<'_>) -> Result<()> {
    let rec = Visible::read(record.main_data)?;
    let (node, block) = place(record, 1)?;
    // Who does not see all of the page's rows must not read it by the map alone.
    resolve_conflict_with_snapshot(rec.cutoff, node)?;
    let page = match read_for_redo(record, 1)? {
        RedoAction::NeedsRedo(mut page) => {
            let mut critical = Critical::begin();
            if wal::hint_bits_need_wal() {
                page.modify(&mut critical).set_all_visible(true);
                critical.redo(record.end_lsn);
            } else {
                page.modify_unstamped(&mut critical).set_all_visible(true);
                critical.unlogged();
            }
            Some(page)
        }
        other => other.page(),
    };
    if let Some(free) = page.map(|page| page.free_space()) {
        freespace::record_in_redo(node, block, free)?;
    }
    // Whatever became of the page, the map gets its bits: whoever clears them does so without looking at LSNs.
    if let RedoAction::NeedsRedo(mut map) = read_for_redo_with(record, 0, RedoMode::ZeroOnError, false)? {
        vm::redo_set(&mut map, block, rec.flags & vm::VALID_BITS, record.end_lsn);
    }
    Ok(())
}
