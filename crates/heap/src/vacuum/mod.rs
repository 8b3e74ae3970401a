//! VACUUM of one table: old versions go away, old ids are frozen, the maps are brought up to date, and empty pages at
//! the end are given back.
//!
//! There are no indexes yet, so one pass is enough: each page is pruned, and what that leaves as dead line pointers is
//! freed at once. Pages that the visibility map calls all-visible (for an aggressive VACUUM: all-frozen) are
//! skipped, in runs of at least 32. A page that somebody else has pinned is only looked at, unless the VACUUM is aggressive
//! and the page has something that must be frozen.
//!
//! The caller opens the table with ShareUpdateExclusive, in a transaction of its own whose snapshot does not hold up
//! the horizon, and writes the report into pg_class.
//!
//! C counterpart: access/heap/vacuumlazy.c, and the part of commands/vacuum.c that computes cutoffs and delays.

mod cutoffs; // 1. what is old
mod delay; // 5. how fast
mod page_scan; // 2. one page
mod skip; // 3. which pages
mod truncate; // 4. the end of the table

use std::rc::Rc;

use common::{BlockNumber, MultiXactId, Xid};
use elog::{PgError, Result};
use storage::{Pin, Strategy, freespace};
use transam::GlobalVis;

use crate::freeze::{Cutoffs, Oldest};
use crate::table::Table;
use crate::vm;

pub use delay::set_cost_balance;
pub use truncate::{set_truncation_hook, truncate_relation};

/// What VACUUM was asked for. An age of -1 stands for the setting. C: `VacuumParams`.
#[derive(Clone, Debug)]
pub struct VacuumParams {
    /// Rows older than this many transactions are frozen.
    pub freeze_min_age: i32,
    /// A table whose `relfrozenxid` is older gets an aggressive VACUUM.
    pub freeze_table_age: i32,
    /// The same for multixacts.
    pub multixact_freeze_min_age: i32,
    /// The same for multixacts.
    pub multixact_freeze_table_age: i32,
    /// DISABLE_PAGE_SKIPPING.
    pub disable_page_skipping: bool,
    /// TRUNCATE: give empty pages at the end back.
    pub truncate: bool,
    /// pg_class.relfrozenxid.
    pub relfrozenxid: Xid,
    /// pg_class.relminmxid.
    pub relminmxid: MultiXactId,
    /// pg_class.relpages.
    pub relpages: BlockNumber,
    /// pg_class.reltuples, -1 for unknown.
    pub reltuples: f64,
    /// Run by an autovacuum worker: its cost settings apply.
    pub is_autovacuum: bool,
    /// VERBOSE: progress as INFO.
    pub verbose: bool,
}

impl Default for VacuumParams {
    fn default() -> VacuumParams {
        VacuumParams {
            freeze_min_age: -1,
            freeze_table_age: -1,
            multixact_freeze_min_age: -1,
            multixact_freeze_table_age: -1,
            disable_page_skipping: false,
            truncate: true,
            relfrozenxid: Xid::FIRST_NORMAL,
            relminmxid: MultiXactId::FIRST,
            relpages: 0,
            reltuples: -1.0,
            is_autovacuum: false,
            verbose: false,
        }
    }
}

/// What VACUUM found and did: for pg_class, the statistics and the log. C: the counters of `LVRelState`.
#[derive(Clone, Debug, Default)]
pub struct VacuumReport {
    /// Pages before.
    pub pages_before: BlockNumber,
    /// Pages now: pg_class.relpages.
    pub relpages: BlockNumber,
    /// Estimated live rows: pg_class.reltuples.
    pub reltuples: f64,
    /// pg_class.relallvisible.
    pub relallvisible: BlockNumber,
    /// New pg_class.relfrozenxid; None to leave it.
    pub new_frozen_xid: Option<Xid>,
    /// New pg_class.relminmxid; None to leave it.
    pub new_min_multi: Option<MultiXactId>,
    /// Pages given back.
    pub pages_removed: BlockNumber,
    /// Pages looked at.
    pub scanned_pages: BlockNumber,
    /// Pages on which rows were frozen.
    pub frozen_pages: BlockNumber,
    /// Rows frozen.
    pub tuples_frozen: u64,
    /// Row versions removed by pruning.
    pub tuples_deleted: u64,
    /// Live rows on the pages looked at.
    pub live_tuples: u64,
    /// Deleted, but a snapshot may still see them.
    pub recently_dead_tuples: u64,
    /// Dead, but on a page that others had pinned.
    pub missed_dead_tuples: u64,
    /// Such pages.
    pub missed_dead_pages: BlockNumber,
    /// Dead line pointers freed.
    pub lpdead_items: u64,
    /// Pages with such.
    pub lpdead_item_pages: BlockNumber,
    /// Rows deleted before this id were removed. C: `OldestXmin`.
    pub oldest_xmin: Xid,
    /// All pages that might need freezing were looked at.
    pub aggressive: bool,
    /// Estimate of dead rows that remain, for the statistics.
    pub dead_tuples: u64,
    /// All-visible pages that were skipped: `relfrozenxid` cannot advance.
    pub skipped_all_visible: bool,
}

/// Upper pages of the free space map are corrected after this many pages. C: `VACUUM_FSM_EVERY_PAGES`, 8 GiB.
const FSM_EVERY_PAGES: BlockNumber = 1 << 20;

/// One VACUUM at work. C: `LVRelState`.
pub(crate) struct Vacuum<'a> {
    table: &'a Rc<Table>,
    aggressive: bool,
    /// Nothing may be skipped.
    skip_with_vm: bool,
    oldest_xmin: Xid,
    cutoffs: Cutoffs,
    /// What becomes of relfrozenxid.
    oldest: Oldest,
    vis: GlobalVis,
    strategy: Strategy,
    delay: delay::Delay,
    /// Pages up to here have rows: the table cannot be cut before.
    nonempty_pages: BlockNumber,
    rel_pages: BlockNumber,
    report: VacuumReport,
}

/// Vacuums a table. C: `heap_vacuum_rel`.
///
/// # Errors
/// XX001 for damaged rows and pages, cancellation, and what I/O says.
pub fn vacuum(table: &Rc<Table>, params: &VacuumParams) -> Result<VacuumReport> {
    let limits = cutoffs::compute(table, params);
    let mut vacuum = Vacuum {
        table,
        aggressive: limits.aggressive || params.disable_page_skipping,
        skip_with_vm: !params.disable_page_skipping,
        oldest_xmin: limits.oldest_xmin,
        cutoffs: limits.cutoffs,
        oldest: Oldest { xid: limits.oldest_xmin, multi: limits.oldest_multi },
        vis: GlobalVis::of(table.kind()),
        strategy: Strategy::vacuum(),
        delay: delay::Delay::new(params.is_autovacuum),
        nonempty_pages: 0,
        rel_pages: table.nblocks()?,
        report: VacuumReport::default(),
    };
    let before = vacuum.rel_pages;
    vacuum.scan_heap(params)?;
    if params.truncate && vacuum.should_truncate() {
        vacuum.truncate(params.verbose)?;
    }
    vacuum.finish(before)
}

impl Vacuum<'_> {
    /// All pages. C: `lazy_scan_heap`.
    fn scan_heap(&mut self, params: &VacuumParams) -> Result<()> {
        let mut map: Option<Pin> = None;
        let mut fsm_done = 0;
        let mut range = skip::next_range(self, 0, &mut map)?;
        for block in 0..self.rel_pages {
            let visible_by_map = if block == range.next_unskippable {
                let by_map = range.unskippable_is_visible;
                range = skip::next_range(self, block + 1, &mut map)?;
                by_map
            } else if range.skip {
                continue;
            } else {
                // Too short a run to be worth skipping.
                true
            };
            self.report.scanned_pages += 1;
            self.delay.point().map_err(|error| self.scanning(block, error))?;
            if block - fsm_done >= FSM_EVERY_PAGES {
                freespace::vacuum_range(self.table.node, fsm_done, block)?;
                fsm_done = block;
            }
            self.page(block, visible_by_map, &mut map).map_err(|error| self.scanning(block, error))?;
        }
        drop(map);
        let live = estimate_rows(self.rel_pages, &self.report, params);
        self.report.reltuples = live;
        if self.rel_pages > fsm_done {
            freespace::vacuum_range(self.table.node, fsm_done, self.rel_pages)?;
        }
        Ok(())
    }

    /// C: `vacuum_error_callback` while the heap is scanned.
    fn scanning(&self, block: BlockNumber, error: PgError) -> PgError {
        let Table { schema, name, .. } = &**self.table;
        error.context(format!("while scanning block {block} of relation \"{schema}.{name}\""))
    }

    /// One page: pinned, pruned, frozen, its bits set, its free space noted.
    fn page(&mut self, block: BlockNumber, visible_by_map: bool, map: &mut Option<Pin>) -> Result<()> {
        if !vm::pin_ok(map.as_ref(), block) {
            *map = None;
            *map = Some(vm::pin(self.table, block)?);
        }
        let Some(map) = map.as_ref() else { return Ok(()) };
        let pin = crate::hio::read(self.table, block, Some(&self.strategy))?;
        if let Some(write) = pin.try_cleanup_lock() {
            return page_scan::with_lock(self, block, write, map, visible_by_map);
        }
        if page_scan::without_lock(self, block, &pin, map)? {
            return Ok(());
        }
        let write = pin.cleanup_lock()?;
        page_scan::with_lock(self, block, write, map, visible_by_map)
    }

    /// C: the last part of `heap_vacuum_rel`.
    fn finish(mut self, before: BlockNumber) -> Result<VacuumReport> {
        let (all_visible, _) = vm::count(self.table)?;
        let report = &mut self.report;
        report.pages_before = before;
        report.relpages = self.rel_pages;
        report.relallvisible = all_visible.min(self.rel_pages);
        report.pages_removed = before - self.rel_pages;
        report.oldest_xmin = self.oldest_xmin;
        report.aggressive = self.aggressive;
        report.dead_tuples = report.recently_dead_tuples + report.missed_dead_tuples;
        // Pages that were not looked at may have older ids than what was found.
        if !report.skipped_all_visible {
            report.new_frozen_xid = Some(self.oldest.xid);
            report.new_min_multi = Some(self.oldest.multi);
        }
        Ok(self.report)
    }
}

/// Rows of the whole table, from the pages looked at and what was known before. C: `vac_estimate_reltuples`.
fn estimate_rows(total: BlockNumber, report: &VacuumReport, params: &VacuumParams) -> f64 {
    let (scanned, rows) = (report.scanned_pages, report.live_tuples as f64);
    if scanned >= total {
        return rows;
    }
    // Two looks at a small part of the same table would make its density drift.
    let old_known = params.reltuples >= 0.0 && params.relpages > 0;
    if old_known && total == params.relpages && f64::from(scanned) < f64::from(total) * 0.02 {
        return params.reltuples;
    }
    if old_known && total == params.relpages && scanned <= 1 {
        return params.reltuples;
    }
    if scanned == 0 {
        return params.reltuples;
    }
    if !old_known {
        return (rows / f64::from(scanned) * f64::from(total) + 0.5).floor();
    }
    let density = params.reltuples / f64::from(params.relpages);
    (density * f64::from(total - scanned) + rows + 0.5).floor()
}
