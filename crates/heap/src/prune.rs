//! Pruning a page: the doing half. Opportunistic, when a scan comes by a page that is nearly full, or for VACUUM.
//!
//! C counterpart: `heap_page_prune_opt`, `heap_page_prune` of pruneheap.c.

use common::{BLCKSZ, Xid};
use elog::Result;
use page::Page;
use storage::{Critical, PageWrite, Pin};
use transam::GlobalVis;
use wal::{Record, RegFlags, RmgrId};

use crate::header::{Header, MAX_TUPLES_PER_PAGE};
use crate::page_ops;
use crate::prune_plan::{self, PrunePlan, States};
use crate::records::{self, op2, put_offsets};
use crate::table::Table;
use crate::visibility::{PageHints, Real, VacuumState, satisfies_vacuum};
use crate::waits;

/// Prunes a page that may be worth it, if nobody else is looking at it. Cheap if there is nothing to do. C:
/// `heap_page_prune_opt`.
///
/// # Errors
/// XX001 for a damaged page.
#[inline]
pub(crate) fn prune_opt(table: &Table, pin: &Pin) -> Result<()> {
    // A glance without the lock: a wrong answer only means a prune too few or one for nothing.
    let prune_xid = pin.pinned_page().prune_xid();
    if !prune_xid.is_valid() {
        return Ok(());
    }
    prune_if_useful(table, pin, prune_xid)
}

#[cold]
fn prune_if_useful(table: &Table, pin: &Pin, prune_xid: Xid) -> Result<()> {
    if wal::in_recovery() {
        return Ok(());
    }
    let vis = GlobalVis::of(table.kind());
    if !vis.is_removable(prune_xid) {
        return Ok(());
    }
    let enough = table.target_free_space().max(BLCKSZ / 10);
    let tight = |page: &Page| page.is_full() || page.heap_free_space() < enough;
    if !tight(pin.pinned_page()) {
        return Ok(());
    }
    let Some(mut write) = pin.try_cleanup_lock() else { return Ok(()) };
    if !tight(&write) {
        return Ok(());
    }
    let pruned = prune(table, &mut write, |xid| vis.is_removable(xid))?;
    drop(write);
    // What became a dead line pointer still has to be vacuumed.
    let gone = pruned.deleted as i64 - pruned.new_dead as i64;
    if gone > 0 {
        table.counts.count_pruned(gone);
    }
    Ok(())
}

/// What pruning did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pruned {
    /// Versions removed.
    pub deleted: usize,
    /// Line pointers that became dead.
    pub new_dead: usize,
}

/// The state of each row, where "recently dead" is already resolved. C: `heap_prune_satisfies_vacuum`.
pub(crate) fn states(write: &PageWrite<'_>, removable: &impl Fn(Xid) -> bool) -> Result<Box<States>> {
    let mut states: Box<States> = Box::new([None; MAX_TUPLES_PER_PAGE + 1]);
    let lsn = write.lsn();
    for offset in 1..=write.max_offset().min(MAX_TUPLES_PER_PAGE as u16) {
        let id = write.item_id(offset);
        if !id.is_normal() {
            continue;
        }
        let mut hints = PageHints::new(lsn);
        let (state, deleter) = satisfies_vacuum(Header(write.item_at(id)), &Real, &mut hints)?;
        waits::set_hints(write, offset, hints.bits);
        let dead = state == VacuumState::RecentlyDead && removable(deleter);
        states[offset as usize] = Some(if dead { VacuumState::Dead } else { state });
    }
    Ok(states)
}

/// Prunes a page under a cleanup lock. C: `heap_page_prune`.
///
/// # Errors
/// XX001 for a damaged page, and what looking at multixacts says.
pub(crate) fn prune(
    table: &Table,
    write: &mut PageWrite<'_>,
    removable: impl Fn(Xid) -> bool,
) -> Result<Pruned> {
    let states = states(write, &removable)?;
    let plan = prune_plan::plan(write, &states, &Real)?;
    if plan.is_empty() {
        // Only what the page says about itself changes, and may be lost.
        if write.prune_xid() != plan.prune_xid || write.is_full() {
            let page = write.modify_hint();
            page.set_prune_xid(plan.prune_xid);
            page.set_full(false);
        }
        return Ok(Pruned::default());
    }
    execute(table, write, &plan)?;
    Ok(Pruned { deleted: plan.deleted, new_dead: plan.dead.len() })
}

fn execute(table: &Table, write: &mut PageWrite<'_>, plan: &PrunePlan) -> Result<()> {
    let mut critical = Critical::begin();
    let page = write.modify(&mut critical);
    if let Err(error) = page_ops::execute_prune(page, &plan.redirected, &plan.dead, &plan.unused) {
        elog::abort(error);
    }
    page.set_prune_xid(plan.prune_xid);
    page.set_full(false);
    if !table.needs_wal() {
        critical.unlogged();
        return Ok(());
    }
    let main = records::Prune {
        latest_removed: plan.latest_removed,
        redirected: plan.redirected.len() as u16,
        dead: plan.dead.len() as u16,
    }
    .to_bytes();
    let mut data = Vec::with_capacity(plan.redirected.len() * 4 + (plan.dead.len() + plan.unused.len()) * 2);
    for (from, to) in &plan.redirected {
        put_offsets(&[*from, *to], &mut data);
    }
    put_offsets(&plan.dead, &mut data);
    put_offsets(&plan.unused, &mut data);
    let mut record = Record::new(RmgrId::Heap2, op2::PRUNE);
    record.data(&main);
    record.block(0, write.tag(), write, RegFlags::STANDARD);
    record.block_data(0, &data);
    critical.log(record);
    Ok(())
}
