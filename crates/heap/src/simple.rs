//! Changes of catalogs: no waiting for others is expected, and what happens instead is an error. And the one change
//! that no transaction can undo.
//!
//! C counterpart: `simple_heap_insert`, `simple_heap_delete`, `simple_heap_update`, `heap_inplace_update`.

use common::{ItemPointer, SqlState};
use elog::{Result, error};
use storage::Critical;
use wal::{Record, RegFlags, RmgrId};

use crate::api::{InsertOptions, TmResult, UpdateOptions};
use crate::header::{Header, HeaderMut};
use crate::hio;
use crate::records::op;
use crate::table::Table;
use crate::tuple::Tuple;

/// C: `simple_heap_insert`.
///
/// # Errors
/// As [`crate::insert`].
pub fn simple_insert(table: &Table, tuple: &mut Tuple) -> Result<ItemPointer> {
    crate::insert(table, tuple, transam::current_command_id(true), InsertOptions::default(), None)
}

/// C: `simple_heap_delete`.
///
/// # Errors
/// XX000 `tuple concurrently deleted` and its kin.
pub fn simple_delete(table: &Table, tid: ItemPointer) -> Result<()> {
    let (result, _) = crate::delete(table, tid, transam::current_command_id(true), None, true)?;
    check(result, "delete")
}

/// C: `simple_heap_update`.
///
/// # Errors
/// XX000 `tuple concurrently updated` and its kin.
pub fn simple_update(table: &Table, tid: ItemPointer, new: &mut Tuple) -> Result<()> {
    let cid = transam::current_command_id(true);
    let outcome = crate::update(table, tid, new, cid, None, UpdateOptions::default())?;
    check(outcome.result, "update")
}

fn check(result: TmResult, what: &str) -> Result<()> {
    let text = match result {
        TmResult::Ok => return Ok(()),
        TmResult::SelfModified => "tuple already updated by self".to_string(),
        TmResult::Updated => "tuple concurrently updated".to_string(),
        TmResult::Deleted => "tuple concurrently deleted".to_string(),
        _ => format!("unrecognized heap_{what} status: {}", result as u8),
    };
    Err(error!(SqlState::INTERNAL_ERROR, "{text}"))
}

/// Overwrites the columns of a row where it is, without a new version and not undone by an abort: for counters and
/// horizons in pg_class and pg_database. The new row must have the same length. C: `heap_inplace_update`.
///
/// # Errors
/// XX000 `invalid lp`, `wrong tuple length`.
pub fn inplace_update(table: &Table, tid: ItemPointer, new: &Tuple) -> Result<()> {
    let pin = hio::read(table, tid.block, None)?;
    let mut write = pin.exclusive();
    if tid.offset == 0 || tid.offset > write.max_offset() || !write.item_id(tid.offset).is_normal() {
        return Err(error!(SqlState::INTERNAL_ERROR, "invalid lp"));
    }
    let hoff = Header(write.item(tid.offset)).whole()?.hoff();
    let new_hoff = new.header().hoff();
    if write.item(tid.offset).len().checked_sub(hoff) != Some(new.len() - new_hoff) {
        return Err(error!(SqlState::INTERNAL_ERROR, "wrong tuple length"));
    }
    let body = &new.bytes()[new_hoff..];
    let mut critical = Critical::begin();
    let row = HeaderMut(write.modify(&mut critical).item_mut(tid.offset));
    row.0[hoff..].copy_from_slice(body);
    if !table.needs_wal() {
        critical.unlogged();
        return Ok(());
    }
    let offset = tid.offset.to_le_bytes();
    let mut record = Record::new(RmgrId::Heap, op::INPLACE);
    record.data(&offset);
    record.block(0, write.tag(), &write, RegFlags::STANDARD);
    record.block_data(0, body);
    critical.log(record);
    Ok(())
}
