//! VACUUM of one page.
//!
//! C counterpart: `lazy_scan_prune`, `lazy_scan_noprune`, `lazy_scan_new_or_empty`, `lazy_vacuum_heap_page`,
//! `heap_page_is_all_visible`.

use common::{BLCKSZ, BlockNumber, OffsetNumber, Xid};
use elog::{Result, ereport};
use page::Page;
use storage::{Critical, PageRead, PageWrite, Pin, freespace};
use wal::{Record, RegFlags, RmgrId};

use super::Vacuum;
use crate::freeze;
use crate::header::{Header, HeaderMut, infomask};
use crate::prune;
use crate::records::{FreezePage, FreezePlan, op2, put_offsets};
use crate::visibility::{PageHints, Real, VacuumState, satisfies_vacuum};
use crate::{page_ops, vm, waits};

/// What a page is like after pruning. C: `LVPagePruneState`.
struct PageState {
    /// Has something that keeps the table from being cut here.
    has_rows: bool,
    all_visible: bool,
    all_frozen: bool,
    /// The newest xmin of an all-visible page.
    cutoff: Xid,
    dead: Vec<OffsetNumber>,
}

impl PageState {
    fn new() -> PageState {
        PageState {
            has_rows: false,
            all_visible: true,
            all_frozen: true,
            cutoff: Xid::INVALID,
            dead: Vec::new(),
        }
    }

    /// A live row: is it visible to all? Only a row hinted committed counts, since the inserter's commit record may
    /// not be flushed yet.
    fn see_live(&mut self, h: Header<'_>, oldest_xmin: Xid) {
        let xmin = h.xmin();
        if !h.xmin_committed() || !xmin.precedes(oldest_xmin) {
            self.all_visible = false;
        } else if xmin.follows(self.cutoff) {
            self.cutoff = xmin;
        }
    }
}

/// A page under a cleanup lock.
pub(super) fn with_lock(
    v: &mut Vacuum<'_>,
    block: BlockNumber,
    mut write: PageWrite<'_>,
    map: &Pin,
    visible_by_map: bool,
) -> Result<()> {
    if write.is_new() {
        drop(write);
        return note_new(v, block);
    }
    if write.is_empty() {
        return empty(v, block, write, map);
    }
    let state = prune_and_freeze(v, &mut write)?;
    if state.has_rows {
        v.nonempty_pages = block + 1;
    }
    if !state.dead.is_empty() {
        free_dead(v, block, &mut write, &state.dead, map)?;
    } else {
        set_bits(v, block, &mut write, &state, map, visible_by_map);
    }
    let free = write.heap_free_space();
    drop(write);
    freespace::record_free_space(v.table.node, block, free)
}

/// A page that was added and never used. C: `lazy_scan_new_or_empty`.
fn note_new(v: &Vacuum<'_>, block: BlockNumber) -> Result<()> {
    if freespace::recorded_free_space(v.table.node, block)? == 0 {
        freespace::record_free_space(v.table.node, block, BLCKSZ - page::HEADER_SIZE)?;
    }
    Ok(())
}

/// A page without line pointers.
fn empty(v: &Vacuum<'_>, block: BlockNumber, mut write: PageWrite<'_>, map: &Pin) -> Result<()> {
    if !write.all_visible() {
        if v.table.needs_wal() && write.lsn() == common::Lsn::INVALID {
            // Nothing in WAL has made this page, so replaying the record below would find no page.
            let mut critical = Critical::begin();
            write.modify(&mut critical);
            let lsn = wal::log_new_page(write.tag(), &write, true);
            critical.logged_at(lsn);
        }
        vm::set(v.table, &mut write, block, map, Xid::INVALID, vm::VALID_BITS);
    }
    let free = write.heap_free_space();
    drop(write);
    freespace::record_free_space(v.table.node, block, free)
}

/// A row's state, "recently dead" resolved by the horizon of this VACUUM; hints are stored.
fn row_state(v: &Vacuum<'_>, write: &PageWrite<'_>, offset: OffsetNumber) -> Result<VacuumState> {
    let mut hints = PageHints::new(write.lsn());
    let (state, deleter) = satisfies_vacuum(Header(write.item(offset)), &Real, &mut hints)?;
    waits::set_hints(write, offset, hints.bits);
    let dead = state == VacuumState::RecentlyDead && deleter.precedes(v.oldest_xmin);
    Ok(if dead { VacuumState::Dead } else { state })
}

/// C: `lazy_scan_prune`.
fn prune_and_freeze(v: &mut Vacuum<'_>, write: &mut PageWrite<'_>) -> Result<PageState> {
    loop {
        let vis = v.vis;
        let oldest_xmin = v.oldest_xmin;
        let removable = |xid: Xid| xid.precedes(oldest_xmin) || vis.is_removable(xid);
        let pruned = prune::prune(v.table, write, removable)?;
        v.report.tuples_deleted += pruned.deleted as u64;
        if let Some(state) = look_and_freeze(v, write)? {
            return Ok(state);
        }
        // A row died between pruning and looking: its inserter was rolled back just now.
    }
}

/// Counts what is left and freezes it. None if a row turned out dead after all.
fn look_and_freeze(v: &mut Vacuum<'_>, write: &mut PageWrite<'_>) -> Result<Option<PageState>> {
    let mut state = PageState::new();
    let mut oldest = v.oldest;
    let (mut live, mut recently_dead) = (0, 0);
    let mut plans: Vec<FreezePlan> = Vec::new();
    for offset in 1..=write.max_offset() {
        let id = write.item_id(offset);
        if !id.is_used() {
            continue;
        }
        if id.is_redirect() {
            state.has_rows = true;
            continue;
        }
        if id.is_dead() {
            state.dead.push(offset);
            state.all_visible = false;
            continue;
        }
        let row = row_state(v, write, offset)?;
        let h = Header(write.item(offset));
        match row {
            VacuumState::Dead => return Ok(None),
            VacuumState::Live => {
                live += 1;
                state.see_live(h, v.oldest_xmin);
            }
            VacuumState::RecentlyDead => {
                recently_dead += 1;
                state.all_visible = false;
            }
            VacuumState::InsertInProgress => state.all_visible = false,
            VacuumState::DeleteInProgress => {
                live += 1;
                state.all_visible = false;
            }
        }
        state.has_rows = true;
        let prepared = freeze::prepare(h, offset, &v.cutoffs, &mut oldest)?;
        plans.extend(prepared.plan);
        state.all_frozen &= prepared.totally_frozen;
    }
    v.oldest = oldest;
    if !plans.is_empty() {
        v.report.frozen_pages += 1;
        v.report.tuples_frozen += plans.len() as u64;
        execute_freeze(v, write, &plans);
    }
    v.report.live_tuples += live;
    v.report.recently_dead_tuples += recently_dead;
    if !state.dead.is_empty() {
        v.report.lpdead_item_pages += 1;
        v.report.lpdead_items += state.dead.len() as u64;
    }
    Ok(Some(state))
}

/// C: the critical section of `lazy_scan_prune`, `log_heap_freeze`.
fn execute_freeze(v: &Vacuum<'_>, write: &mut PageWrite<'_>, plans: &[FreezePlan]) {
    let mut data = Vec::with_capacity(plans.len() * FreezePlan::SIZE);
    let mut critical = Critical::begin();
    let page = write.modify(&mut critical);
    for plan in plans {
        freeze::execute(&mut HeaderMut(page.item_mut(plan.offset)), plan);
        plan.put(&mut data);
    }
    if !v.table.needs_wal() {
        return critical.unlogged();
    }
    let main = FreezePage { cutoff: v.cutoffs.xid, count: plans.len() as u16 }.to_bytes();
    let mut record = Record::new(RmgrId::Heap2, op2::FREEZE_PAGE);
    record.data(&main);
    record.block(0, write.tag(), write, RegFlags::STANDARD);
    record.block_data(0, &data);
    critical.log(record);
}

/// Frees dead line pointers: no index points at them. C: `lazy_vacuum_heap_page`.
fn free_dead(
    v: &Vacuum<'_>,
    block: BlockNumber,
    write: &mut PageWrite<'_>,
    dead: &[OffsetNumber],
    map: &Pin,
) -> Result<()> {
    let mut critical = Critical::begin();
    page_ops::execute_vacuum(write.modify(&mut critical), dead);
    if v.table.needs_wal() {
        let count = (dead.len() as u16).to_le_bytes();
        let mut data = Vec::with_capacity(dead.len() * 2);
        put_offsets(dead, &mut data);
        let mut record = Record::new(RmgrId::Heap2, op2::VACUUM);
        record.data(&count);
        record.block(0, write.tag(), write, RegFlags::STANDARD);
        record.block_data(0, &data);
        critical.log(record);
    } else {
        critical.unlogged();
    }
    let (visible, frozen, cutoff) = is_all_visible(v, write)?;
    if visible {
        let mut map_pin = Some(map.clone());
        let have = vm::status(v.table, block, &mut map_pin)?;
        let mut flags = vm::ALL_VISIBLE & !have;
        if frozen {
            flags |= vm::ALL_FROZEN & !have;
        }
        if flags != 0 || !write.all_visible() {
            // Without new bits only the page's own flag is missing.
            let flags = if flags == 0 { have } else { flags };
            vm::set(v.table, write, block, map, cutoff, flags);
        }
    }
    Ok(())
}

/// Whether all rows are visible to all, whether all are frozen, and the newest xmin. C: `heap_page_is_all_visible`.
fn is_all_visible(v: &Vacuum<'_>, write: &PageWrite<'_>) -> Result<(bool, bool, Xid)> {
    let mut state = PageState::new();
    for offset in 1..=write.max_offset() {
        let id = write.item_id(offset);
        if !id.is_used() || id.is_redirect() {
            continue;
        }
        if id.is_dead() || row_state(v, write, offset)? != VacuumState::Live {
            return Ok((false, false, Xid::INVALID));
        }
        let h = Header(write.item(offset));
        state.see_live(h, v.oldest_xmin);
        if !state.all_visible {
            return Ok((false, false, Xid::INVALID));
        }
        state.all_frozen &= !needs_eventual_freeze(h);
    }
    Ok((true, state.all_frozen, state.cutoff))
}

/// C: `heap_tuple_needs_eventual_freeze`.
fn needs_eventual_freeze(h: Header<'_>) -> bool {
    let xmax = h.raw_xmax();
    let is_multi = h.infomask() & infomask::XMAX_IS_MULTI != 0;
    h.xmin().is_normal() || if is_multi { xmax.is_valid() } else { xmax.is_normal() }
}

/// Brings the visibility map in line with the page. C: the middle of `lazy_scan_heap`.
fn set_bits(
    v: &Vacuum<'_>,
    block: BlockNumber,
    write: &mut PageWrite<'_>,
    state: &PageState,
    map: &Pin,
    visible_by_map: bool,
) {
    let mut map_pin = Some(map.clone());
    let status = |pin: &mut Option<Pin>| vm::status(v.table, block, pin).unwrap_or(0);
    if !visible_by_map && state.all_visible {
        let flags = if state.all_frozen { vm::VALID_BITS } else { vm::ALL_VISIBLE };
        vm::set(v.table, write, block, map, state.cutoff, flags);
    } else if visible_by_map && !write.all_visible() && status(&mut map_pin) & vm::ALL_VISIBLE != 0 {
        ereport!(
            Warning,
            "page is not marked all-visible but visibility map bit is set in relation \"{}\" page {block}",
            v.table.name
        );
        vm::clear(map, block, vm::VALID_BITS);
    } else if visible_by_map
        && state.all_visible
        && state.all_frozen
        && status(&mut map_pin) & vm::ALL_FROZEN == 0
    {
        vm::set(v.table, write, block, map, Xid::INVALID, vm::ALL_FROZEN);
    }
}

/// A page that others have pinned: only looked at. False if it must be frozen all the same. C: `lazy_scan_noprune`.
pub(super) fn without_lock(v: &mut Vacuum<'_>, block: BlockNumber, pin: &Pin, map: &Pin) -> Result<bool> {
    let page = pin.shared();
    if page.is_new() {
        drop(page);
        note_new(v, block)?;
        return Ok(true);
    }
    if page.is_empty() {
        drop(page);
        let write = pin.exclusive();
        if !write.is_empty() {
            return Ok(false);
        }
        empty(v, block, write, map)?;
        return Ok(true);
    }
    let mut seen = Seen::default();
    let mut oldest = v.oldest;
    for offset in 1..=page.max_offset() {
        let id = page.item_id(offset);
        if id.is_dead() {
            seen.missed_dead += 1;
        }
        seen.has_rows |= id.is_used();
        if !id.is_normal() {
            continue;
        }
        let h = Header(page.item_at(id)).whole()?;
        if freeze::would_freeze(h, &v.cutoffs, &mut oldest)? && v.aggressive {
            return Ok(false);
        }
        seen.row(v, &page, offset)?;
    }
    let free = page.heap_free_space();
    drop(page);
    v.oldest = oldest;
    v.report.live_tuples += seen.live;
    v.report.recently_dead_tuples += seen.recently_dead;
    v.report.missed_dead_tuples += seen.missed_dead;
    v.report.missed_dead_pages += BlockNumber::from(seen.missed_dead > 0);
    if seen.has_rows {
        v.nonempty_pages = block + 1;
    }
    freespace::record_free_space(v.table.node, block, free)?;
    Ok(true)
}

/// Counts of a page that was only looked at.
#[derive(Default)]
struct Seen {
    has_rows: bool,
    live: u64,
    recently_dead: u64,
    missed_dead: u64,
}

impl Seen {
    fn row(&mut self, v: &Vacuum<'_>, page: &PageRead<'_>, offset: OffsetNumber) -> Result<()> {
        let mut hints = PageHints::new(page.lsn());
        let (state, deleter) = satisfies_vacuum(Header(page.item(offset)), &Real, &mut hints)?;
        if hints.bits != 0 {
            page.set_hint_bits(waits::infomask_at(page, offset), hints.bits);
        }
        match state {
            VacuumState::Live | VacuumState::DeleteInProgress => self.live += 1,
            VacuumState::Dead => self.missed_dead += 1,
            VacuumState::RecentlyDead if deleter.precedes(v.oldest_xmin) => self.missed_dead += 1,
            VacuumState::RecentlyDead => self.recently_dead += 1,
            VacuumState::InsertInProgress => {}
        }
        Ok(())
    }
}

/// Whether nothing on a page keeps a table from being cut before it.
pub(super) fn has_no_rows(page: &Page) -> bool {
    page.is_new() || page.is_empty() || (1..=page.max_offset()).all(|o| !page.item_id(o).is_used())
}
