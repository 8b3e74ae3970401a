//! The free space map: for each page of a relation one byte that says how much room it has, in steps of 32 bytes.
//!
//! The bytes are the leaves of a tree of three levels of pages; each page is itself a binary tree in which a node is
//! the maximum of its children, and each leaf of an upper page is the root of a page below. Looking for a page
//! with room is a descent; nothing of it is WAL-logged, since every answer is checked by whoever gets it, and a
//! wrong upper node is corrected when the descent runs into it.
//!
//! - FS1  What the map says is a hint: a reader of it looks at the page itself before relying on it.
//! - FS2  A page's upper nodes are the maxima of those below, unless it was torn by a crash: then it is rebuilt
//!   when noticed.
//!
//! C counterpart: storage/freespace/freespace.c, fsmpage.c, indexfsm.c.

mod address;
mod tree;

use common::{BLCKSZ, BlockNumber, ForkNumber, INVALID_BLOCK, RelFileNode, SqlState};
use elog::{Result, ereport, error};
use page::Page;
use shmem::{LwLock, Reservation, ShmVar, tranche};

use crate::buffer::{Critical, PageRead, PageWrite, Pin, ReadMode, is_in_pool, read_buffer};
use crate::{smgr, walio};
use address::Address;

/// Bytes of one step. C: `FSM_CAT_STEP`.
const STEP: usize = BLCKSZ / 256;
/// The largest item that a heap page can hold: larger requests make no sense. C: `MaxFSMRequestSize`.
const MAX_REQUEST: usize = 8160;
/// Descents that ran into a wrong upper node before giving up. C: as in `fsm_search`.
const MAX_RESTARTS: u32 = 10_000;

const FORK: ForkNumber = ForkNumber::Fsm;

/// Only one process at a time adds pages to a map: it happens so rarely that one lock does for all.
static EXTENDING: ShmVar<LwLock<()>> = ShmVar::new("Free Space Map Extension");

pub(crate) fn reserve(r: &mut Reservation) {
    r.var(&EXTENDING, || LwLock::new(tranche::BUFFER_CONTENT, ()));
}

/// What a page with this much room is filed under. C: `fsm_space_avail_to_cat`.
fn category_of(available: usize) -> u8 {
    if available >= MAX_REQUEST { 255 } else { (available / STEP).min(254) as u8 }
}

/// The least category that satisfies a request. C: `fsm_space_needed_to_cat`.
fn category_for(needed: usize) -> Result<u8> {
    if needed > MAX_REQUEST {
        return Err(error!(SqlState::INTERNAL_ERROR, "invalid FSM request size {needed}"));
    }
    Ok(needed.div_ceil(STEP).clamp(1, 255) as u8)
}

/// C: `fsm_space_cat_to_avail`.
fn space_of(category: u8) -> usize {
    if category == 255 { MAX_REQUEST } else { category as usize * STEP }
}

/// A page with at least this much room, as far as the map knows. C: `GetPageWithFreeSpace`.
///
/// # Errors
/// What reading the map returns.
pub fn get_page_with_free_space(node: RelFileNode, bytes: usize) -> Result<Option<BlockNumber>> {
    search(node, category_for(bytes)?)
}

/// Notes how much room a page has. C: `RecordPageWithFreeSpace`.
///
/// # Errors
/// What reading or extending the map returns.
pub fn record_free_space(node: RelFileNode, block: BlockNumber, bytes: usize) -> Result<()> {
    let (address, slot) = Address::of_block(block);
    set_and_search(node, address, slot, category_of(bytes), None)?;
    Ok(())
}

/// Notes that `old` has only `available` bytes left, and looks for another page with `needed`, near it first.
/// C: `RecordAndGetPageWithFreeSpace`.
///
/// # Errors
/// What reading or extending the map returns.
pub fn record_and_get(
    node: RelFileNode,
    old: BlockNumber,
    available: usize,
    needed: usize,
) -> Result<Option<BlockNumber>> {
    let wanted = category_for(needed)?;
    let (address, slot) = Address::of_block(old);
    match set_and_search(node, address, slot, category_of(available), Some(wanted))? {
        Some(found) if block_exists(node, address.block(found))? => Ok(Some(address.block(found))),
        _ => search(node, wanted),
    }
}

/// During replay: notes how much room a page has, as far as its leaf goes. C: `XLogRecordPageWithFreeSpace`.
///
/// # Errors
/// What reading or extending the map returns.
pub fn record_in_redo(node: RelFileNode, block: BlockNumber, bytes: usize) -> Result<()> {
    let (address, slot) = Address::of_block(block);
    if let Some(pin) = read(node, address, true)? {
        let mut write = pin.exclusive();
        if tree::set(write.page_mut(), slot, category_of(bytes)) {
            write.mark_hint_whole();
        }
    }
    Ok(())
}

/// What the map says of a page. C: `GetRecordedFreeSpace`.
///
/// # Errors
/// What reading the map returns.
pub fn recorded_free_space(node: RelFileNode, block: BlockNumber) -> Result<usize> {
    let (address, slot) = Address::of_block(block);
    let pin = read(node, address, false)?;
    Ok(pin.map_or(0, |pin| space_of(tree::get(&pin.shared(), slot))))
}

/// Before a relation is cut to `blocks` pages: clears what the map says of the others. Returns the length to cut the
/// map to; `None` if it can stay as it is. `logged`: whether the relation's changes go to WAL.
/// C: `FreeSpaceMapPrepareTruncateRel`.
///
/// # Errors
/// What reading the map returns.
pub fn prepare_truncate(node: RelFileNode, blocks: BlockNumber, logged: bool) -> Result<Option<BlockNumber>> {
    if !smgr::exists(node, FORK)? {
        return Ok(None);
    }
    let (address, slot) = Address::of_block(blocks);
    if slot == 0 {
        let keep = address.physical();
        return Ok((smgr::nblocks(node, FORK)? > keep).then_some(keep));
    }
    let Some(pin) = read(node, address, false)? else { return Ok(None) };
    let mut write = pin.exclusive();
    let mut critical = Critical::begin();
    tree::truncate(write.modify(&mut critical), slot);
    // Not as a hint: a torn page would come back with room on pages that are not there.
    if logged && !smgr::in_redo() && walio::hint_bits_need_wal() {
        let lsn = walio::log_new_page(write.tag(), &write, false);
        critical.logged_at(lsn);
    } else {
        critical.unlogged();
    }
    Ok(Some(address.physical() + 1))
}

/// Cuts the map itself: [`prepare_truncate`], then the fork. Uppermost nodes are corrected by the next
/// [`vacuum`].
///
/// # Errors
/// What [`prepare_truncate`] and [`smgr::truncate`] return.
pub fn truncate(node: RelFileNode, blocks: BlockNumber, logged: bool) -> Result<()> {
    if let Some(keep) = prepare_truncate(node, blocks, logged)? {
        smgr::truncate(node, &[(FORK, keep)])?;
    }
    Ok(())
}

/// Brings upper pages in line with those below, for the whole map. C: `FreeSpaceMapVacuum`.
///
/// # Errors
/// What reading the map returns, and what [`miscinit::interrupt::check`] does.
pub fn vacuum(node: RelFileNode) -> Result<()> {
    vacuum_range(node, 0, INVALID_BLOCK)
}

/// As [`vacuum`] for the pages from `start` to before `end`. C: `FreeSpaceMapVacuumRange`.
///
/// # Errors
/// As [`vacuum`].
pub fn vacuum_range(node: RelFileNode, start: BlockNumber, end: BlockNumber) -> Result<()> {
    if end > start {
        vacuum_page(node, Address::ROOT, start, end)?;
    }
    Ok(())
}

/// Returns the page's maximum, `None` beyond the end of the map. C: `fsm_vacuum_page`.
fn vacuum_page(
    node: RelFileNode,
    address: Address,
    start: BlockNumber,
    end: BlockNumber,
) -> Result<Option<u8>> {
    let Some(pin) = read(node, address, false)? else { return Ok(None) };
    if !address.is_leaf() {
        let mut at_end = false;
        for slot in address.slots_between(start, end) {
            miscinit::interrupt::check()?;
            let mut child = None;
            if !at_end {
                child = vacuum_page(node, address.child(slot), start, end)?;
                at_end = child.is_none();
            }
            let child = child.unwrap_or(0);
            if tree::get(&pin.shared(), slot) != child {
                let mut write = pin.exclusive();
                tree::set(write.page_mut(), slot, child);
                write.mark_hint_whole();
            }
        }
    }
    let read = pin.shared();
    // The next search begins at the front: that keeps a relation short.
    read.scribble(tree::NEXT_SLOT_AT, 0);
    Ok(Some(tree::maximum(&read)))
}

/// C: `fsm_search`.
fn search(node: RelFileNode, wanted: u8) -> Result<Option<BlockNumber>> {
    let (mut address, mut restarts) = (Address::ROOT, 0);
    loop {
        let mut maximum = 0;
        let mut found = None;
        if let Some(pin) = read(node, address, false)? {
            (found, maximum) = search_page(&pin, wanted, address.is_leaf());
        }
        match found {
            Some(slot) if address.is_leaf() => {
                let block = address.block(slot);
                if block_exists(node, block)? {
                    return Ok(Some(block));
                }
                set_and_search(node, address, slot, 0, None)?;
                restarts += 1;
                if restarts > MAX_RESTARTS {
                    return Ok(None);
                }
                address = Address::ROOT;
            }
            Some(slot) => address = address.child(slot),
            None if address == Address::ROOT => return Ok(None),
            None => {
                // The parent promised more than there is: correct it and begin anew.
                let (parent, slot) = address.parent();
                set_and_search(node, parent, slot, maximum, None)?;
                restarts += 1;
                if restarts > MAX_RESTARTS {
                    return Ok(None);
                }
                address = Address::ROOT;
            }
        }
    }
}

/// The map may promise room on pages that the relation no longer has: it is not changed in step with the relation, and
/// not logged. C: `fsm_does_block_exist`.
fn block_exists(node: RelFileNode, block: BlockNumber) -> Result<bool> {
    Ok(is_in_pool(node, ForkNumber::Main, block) || block < smgr::nblocks(node, ForkNumber::Main)?)
}

/// (slot with at least `wanted`, maximum of the page). C: `fsm_search_avail` under a shared lock.
fn search_page(pin: &Pin, wanted: u8, advance: bool) -> (Option<usize>, u8) {
    let read = pin.shared();
    match tree::search(&read, wanted) {
        tree::Found::Slot(slot) => {
            remember_slot(&read, slot, advance);
            return (Some(slot), tree::maximum(&read));
        }
        tree::Found::Nothing => return (None, tree::maximum(&read)),
        tree::Found::Torn => {}
    }
    drop(read);
    let mut write = pin.exclusive();
    let slot = search_exclusive(&mut write, wanted, advance);
    (slot, tree::maximum(&write))
}

/// C: `fsm_search_avail` under an exclusive lock.
fn search_exclusive(write: &mut PageWrite<'_>, wanted: u8, advance: bool) -> Option<usize> {
    loop {
        match tree::search(write, wanted) {
            tree::Found::Slot(slot) => {
                let next = slot as u32 + u32::from(advance);
                tree::set_next_slot(write.page_mut(), next);
                return Some(slot);
            }
            tree::Found::Nothing => return None,
            tree::Found::Torn => {
                let (node, block) = (write.tag().node, write.block());
                ereport!(
                    Debug1,
                    "fixing corrupt FSM block {block}, relation {}/{}/{}",
                    node.spc,
                    node.db,
                    node.rel
                );
                tree::rebuild(write.page_mut());
                write.mark_hint_whole();
            }
        }
    }
}

/// Several searchers at a time shall not all find the same page.
fn remember_slot(read: &PageRead<'_>, slot: usize, advance: bool) {
    read.scribble(tree::NEXT_SLOT_AT, slot as u32 + u32::from(advance));
}

/// C: `fsm_set_and_search`.
fn set_and_search(
    node: RelFileNode,
    address: Address,
    slot: usize,
    category: u8,
    wanted: Option<u8>,
) -> Result<Option<usize>> {
    let Some(pin) = read(node, address, true)? else { return Ok(None) };
    let mut write = pin.exclusive();
    if tree::set(write.page_mut(), slot, category) {
        write.mark_hint_whole();
    }
    Ok(wanted.and_then(|wanted| search_exclusive(&mut write, wanted, address.is_leaf())))
}

/// A page of the map, `None` if it is not there and shall not be made. C: `fsm_readbuf`.
fn read(node: RelFileNode, address: Address, make: bool) -> Result<Option<Pin>> {
    let block = address.physical();
    if !is_in_pool(node, FORK, block) {
        let blocks = if smgr::exists_cached(node, FORK)? { smgr::nblocks(node, FORK)? } else { 0 };
        if block >= blocks {
            if !make {
                return Ok(None);
            }
            extend_map(node, block + 1)?;
        }
    }
    let pin = read_buffer(node, FORK, block, ReadMode::ZeroOnError, None)?;
    if pin.shared().is_new() {
        let mut write = pin.exclusive();
        if write.is_new() {
            write.page_mut().init(0);
        }
    }
    Ok(Some(pin))
}

/// C: `fsm_extend`.
fn extend_map(node: RelFileNode, blocks: BlockNumber) -> Result<()> {
    let _lock = EXTENDING.get().exclusive();
    if !smgr::exists(node, FORK)? {
        smgr::create(node, FORK, false)?;
    }
    let mut page = Page::zeroed();
    page.init(0);
    for block in smgr::nblocks(node, FORK)?..blocks {
        if guc::vars::DATA_CHECKSUMS.get() {
            page.set_checksum(block);
        }
        smgr::extend(node, FORK, block, &page, false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
