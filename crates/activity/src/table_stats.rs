//! What this process did to each table since the statistics collector was last told.
//!
//! Scans and block accesses count at once. Inserted, updated and deleted rows count by subtransaction, because what
//! they mean is known only at the end: a row inserted by a transaction that aborts is a dead row, one inserted
//! by one that commits a live one. The relation cache keeps the [`TableCounts`] of a table at hand, so that
//! counting is an addition to a cell, without a search.
//!
//! Invariants:
//! - A4  The levels of a table's transactional counts lie in ascending order of nesting; none is deeper than
//!   the running subtransaction.
//! - A5  After [`at_xact_end`] no table has transactional counts; only then may [`drain`] take the others.
//!
//! Called by: `heap` (counts), the relation cache ([`of`]), the transaction manager ([`at_xact_end`],
//! [`at_subxact_end`], by registration), `pgstat` ([`drain`]).
//!
//! C counterpart: `PgStat_TableStatus` and pgstat_relation.c.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use common::Oid;

/// Rows changed by one subtransaction. C: `PgStat_TableXactStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Changes {
    inserted: i64,
    updated: i64,
    deleted: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    nest_level: u32,
    changes: Changes,
    /// What `changes` was before the table was emptied in this subtransaction.
    before_truncate: Option<Changes>,
}

impl Level {
    /// C: `save_truncdrop_counters`.
    fn truncate(&mut self) {
        if self.before_truncate.is_none() {
            self.before_truncate = Some(self.changes);
        }
        self.changes = Changes::default();
    }

    /// What was really done, if the truncation did not happen after all. C: `restore_truncdrop_counters`.
    fn aborted_changes(&self) -> Changes {
        self.before_truncate.unwrap_or(self.changes)
    }
}

/// One table's counts. The cells may be added to directly; the four `tup_*` of changed rows are better
/// counted with the methods, which remember the subtransaction. C: `PgStat_TableStatus`.
#[derive(Debug)]
pub struct TableCounts {
    /// The table.
    pub rel: Oid,
    /// In `pg_global`: counted for all databases together.
    pub shared: bool,
    /// Sequential scans begun (of an index: index scans). C: `t_numscans`.
    pub seq_scan: Cell<i64>,
    /// Rows that those returned. C: `t_tuples_returned`.
    pub seq_tup_read: Cell<i64>,
    /// Rows fetched by way of an index or by address. C: `t_tuples_fetched`.
    pub tup_fetched: Cell<i64>,
    /// Rows inserted by ended subtransactions.
    pub tup_inserted: Cell<i64>,
    /// Rows updated by ended subtransactions, HOT or not.
    pub tup_updated: Cell<i64>,
    /// Rows deleted by ended subtransactions.
    pub tup_deleted: Cell<i64>,
    /// HOT updates; counted at once. C: `t_tuples_hot_updated`.
    pub tup_hot_updated: Cell<i64>,
    /// Live rows more (or less) than before. C: `t_delta_live_tuples`.
    pub delta_live: Cell<i64>,
    /// Dead rows more (or less) than before. C: `t_delta_dead_tuples`.
    pub delta_dead: Cell<i64>,
    /// Rows changed, for the next ANALYZE. C: `t_changed_tuples`.
    pub changed: Cell<i64>,
    /// Pages asked for and not found in the buffer pool.
    pub blks_read: Cell<i64>,
    /// Pages asked for and found there. C: `t_blocks_hit`.
    pub blks_hit: Cell<i64>,
    /// The table was emptied by a committed transaction. C: `t_truncdropped`.
    truncated: Cell<bool>,
    levels: RefCell<Vec<Level>>,
}

/// What [`drain`] takes from one table: the same numbers, at rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of TableCounts")]
pub struct Drained {
    pub rel: Oid,
    pub shared: bool,
    pub truncated: bool,
    pub seq_scan: i64,
    pub seq_tup_read: i64,
    pub tup_fetched: i64,
    pub tup_inserted: i64,
    pub tup_updated: i64,
    pub tup_deleted: i64,
    pub tup_hot_updated: i64,
    pub delta_live: i64,
    pub delta_dead: i64,
    pub changed: i64,
    pub blks_read: i64,
    pub blks_hit: i64,
}

thread_local! {
    static TABLES: RefCell<HashMap<(Oid, bool), Rc<TableCounts>>> = RefCell::new(HashMap::new());
    /// Tables with transactional counts (A5).
    static IN_TRANSACTION: RefCell<Vec<Rc<TableCounts>>> = const { RefCell::new(Vec::new()) };
    static NEST_LEVEL: Cell<fn() -> u32> = const { Cell::new(|| 1) };
}

/// Tells where to ask for the depth of the running subtransaction (1: none). The transaction manager lies above
/// this crate, so it has to introduce itself. C: the calls of `GetCurrentTransactionNestLevel`.
pub fn set_nest_level_source(source: fn() -> u32) {
    NEST_LEVEL.set(source);
}

/// The counts of a table, made at its first mention; always the same ones until they are drained and nobody
/// holds them. `shared`: the table is in `pg_global`. C: `get_tabstat_entry`.
pub fn of(rel: Oid, shared: bool) -> Rc<TableCounts> {
    TABLES.with_borrow_mut(|tables| {
        Rc::clone(tables.entry((rel, shared)).or_insert_with(|| Rc::new(TableCounts::new(rel, shared))))
    })
}

fn add(cell: &Cell<i64>, n: i64) {
    cell.set(cell.get() + n);
}

impl TableCounts {
    /// Counts that belong to no registered table: for tests, and for relations that are made before there are
    /// statistics (bootstrap). Nobody drains them.
    pub fn new(rel: Oid, shared: bool) -> TableCounts {
        TableCounts {
            rel,
            shared,
            seq_scan: Cell::new(0),
            seq_tup_read: Cell::new(0),
            tup_fetched: Cell::new(0),
            tup_inserted: Cell::new(0),
            tup_updated: Cell::new(0),
            tup_deleted: Cell::new(0),
            tup_hot_updated: Cell::new(0),
            delta_live: Cell::new(0),
            delta_dead: Cell::new(0),
            changed: Cell::new(0),
            blks_read: Cell::new(0),
            blks_hit: Cell::new(0),
            truncated: Cell::new(false),
            levels: RefCell::new(Vec::new()),
        }
    }

    /// A sequential scan begins. C: `pgstat_count_heap_scan`.
    #[inline]
    pub fn count_seq_scan(&self) {
        add(&self.seq_scan, 1);
    }

    /// A scan returned rows. C: `pgstat_count_heap_getnext`.
    #[inline]
    pub fn count_read(&self, rows: i64) {
        add(&self.seq_tup_read, rows);
    }

    /// A row was fetched by its address. C: `pgstat_count_heap_fetch`.
    #[inline]
    pub fn count_fetch(&self) {
        add(&self.tup_fetched, 1);
    }

    /// A page was asked for. C: `pgstat_count_buffer_read` and `pgstat_count_buffer_hit`.
    #[inline]
    pub fn count_block(&self, hit: bool) {
        add(if hit { &self.blks_hit } else { &self.blks_read }, 1);
    }

    /// Rows were inserted. C: `pgstat_count_heap_insert`.
    #[inline]
    pub fn count_insert(self: &Rc<TableCounts>, rows: i64) {
        self.with_level(|level| level.changes.inserted += rows);
    }

    /// A row was updated. C: `pgstat_count_heap_update`.
    #[inline]
    pub fn count_update(self: &Rc<TableCounts>, hot: bool) {
        self.with_level(|level| level.changes.updated += 1);
        if hot {
            add(&self.tup_hot_updated, 1);
        }
    }

    /// A row was deleted. C: `pgstat_count_heap_delete`.
    #[inline]
    pub fn count_delete(self: &Rc<TableCounts>) {
        self.with_level(|level| level.changes.deleted += 1);
    }

    /// The table was emptied. C: `pgstat_count_truncate`.
    pub fn count_truncate(self: &Rc<TableCounts>) {
        self.with_level(Level::truncate);
    }

    /// Dead rows were found removed by pruning, outside VACUUM. C: `pgstat_update_heap_dead_tuples`.
    pub fn count_pruned(&self, rows: i64) {
        add(&self.delta_dead, -rows);
    }

    /// Runs `change` on the counts of the running subtransaction. C: `ensure_tabstat_xact_level`.
    fn with_level(self: &Rc<TableCounts>, change: impl FnOnce(&mut Level)) {
        let nest_level = NEST_LEVEL.get()();
        let mut levels = self.levels.borrow_mut();
        match levels.last_mut() {
            Some(level) if level.nest_level == nest_level => change(level),
            last => {
                let first = last.is_none();
                let mut level = Level { nest_level, ..Level::default() };
                change(&mut level);
                levels.push(level);
                if first {
                    IN_TRANSACTION.with_borrow_mut(|tables| tables.push(Rc::clone(self)));
                }
            }
        }
    }

    fn add_changes(&self, changes: &Changes) {
        add(&self.tup_inserted, changes.inserted);
        add(&self.tup_updated, changes.updated);
        add(&self.tup_deleted, changes.deleted);
    }

    /// What a subtransaction inserted or updated before it aborted lies dead in the table.
    fn abort(&self, level: &Level) {
        let changes = level.aborted_changes();
        self.add_changes(&changes);
        add(&self.delta_dead, changes.inserted + changes.updated);
    }

    fn commit(&self, level: &Level) {
        let changes = level.changes;
        self.add_changes(&changes);
        if level.before_truncate.is_some() {
            self.truncated.set(true);
            self.delta_live.set(0);
            self.delta_dead.set(0);
        }
        add(&self.delta_live, changes.inserted - changes.deleted);
        add(&self.delta_dead, changes.updated + changes.deleted);
        add(&self.changed, changes.inserted + changes.updated + changes.deleted);
    }

    /// The level above takes over what its child did.
    fn merge_into_parent(&self, nest_level: u32) {
        let mut levels = self.levels.borrow_mut();
        let Some(child) = levels.pop_if(|level| level.nest_level >= nest_level) else { return };
        match levels.last_mut() {
            Some(parent) if parent.nest_level == nest_level - 1 => {
                if child.before_truncate.is_some() {
                    parent.truncate();
                }
                parent.changes.inserted += child.changes.inserted;
                parent.changes.updated += child.changes.updated;
                parent.changes.deleted += child.changes.deleted;
            }
            _ => levels.push(Level { nest_level: nest_level - 1, ..child }),
        }
    }

    fn take(&self) -> Drained {
        Drained {
            rel: self.rel,
            shared: self.shared,
            truncated: self.truncated.take(),
            seq_scan: self.seq_scan.take(),
            seq_tup_read: self.seq_tup_read.take(),
            tup_fetched: self.tup_fetched.take(),
            tup_inserted: self.tup_inserted.take(),
            tup_updated: self.tup_updated.take(),
            tup_deleted: self.tup_deleted.take(),
            tup_hot_updated: self.tup_hot_updated.take(),
            delta_live: self.delta_live.take(),
            delta_dead: self.delta_dead.take(),
            changed: self.changed.take(),
            blks_read: self.blks_read.take(),
            blks_hit: self.blks_hit.take(),
        }
    }
}

/// The top transaction has ended. C: `AtEOXact_PgStat_Relations`.
pub fn at_xact_end(committed: bool) {
    for table in IN_TRANSACTION.take() {
        let levels = table.levels.take();
        for level in levels {
            // Levels of subtransactions that nobody ended separately share the fate of the whole.
            if committed { table.commit(&level) } else { table.abort(&level) }
        }
    }
}

/// One table's transactional counts, of a transaction that is prepared. C: `TwoPhasePgStatRecord`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreparedCounts {
    /// The table.
    pub rel: Oid,
    /// In `pg_global`.
    pub shared: bool,
    /// Rows inserted, updated, deleted; since it was emptied, if it was.
    pub changed: [i64; 3],
    /// The same before it was emptied, if it was.
    pub before_truncate: Option<[i64; 3]>,
}

fn to_array(changes: Changes) -> [i64; 3] {
    [changes.inserted, changes.updated, changes.deleted]
}

fn of_array([inserted, updated, deleted]: [i64; 3]) -> Changes {
    Changes { inserted, updated, deleted }
}

/// What the transaction, whose subtransactions have all ended, has done to each table. C: `AtPrepare_PgStat_Relations`.
pub fn prepared() -> Vec<PreparedCounts> {
    IN_TRANSACTION.with_borrow(|tables| {
        let of = |table: &Rc<TableCounts>| {
            let level = *table.levels.borrow().last()?;
            Some(PreparedCounts {
                rel: table.rel,
                shared: table.shared,
                changed: to_array(level.changes),
                before_truncate: level.before_truncate.map(to_array),
            })
        };
        tables.iter().filter_map(of).collect()
    })
}

/// The transaction is prepared: others count it when it ends. C: `PostPrepare_PgStat_Relations`.
pub fn post_prepare() {
    for table in IN_TRANSACTION.take() {
        table.levels.take();
    }
}

/// A prepared transaction has ended, in whatever session. C: `pgstat_twophase_postcommit`, `pgstat_twophase_postabort`.
pub fn end_prepared(counts: &PreparedCounts, committed: bool) {
    let table = of(counts.rel, counts.shared);
    let level = Level {
        nest_level: 1,
        changes: of_array(counts.changed),
        before_truncate: counts.before_truncate.map(of_array),
    };
    if committed {
        table.commit(&level);
    } else {
        table.abort(&level);
    }
}

/// The subtransaction at `nest_level` (2: directly below the top) has ended.
/// C: `AtEOSubXact_PgStat_Relations`.
pub fn at_subxact_end(nest_level: u32, committed: bool) {
    IN_TRANSACTION.with_borrow_mut(|tables| {
        for table in tables.iter() {
            if committed {
                table.merge_into_parent(nest_level);
                continue;
            }
            let aborted = table.levels.borrow_mut().pop_if(|level| level.nest_level >= nest_level);
            if let Some(level) = aborted {
                table.abort(&level);
            }
        }
        tables.retain(|table| !table.levels.borrow().is_empty());
    });
}

/// Takes everything that was counted since the last time, outside a transaction (A5); tables that were not touched
/// are left out, and those that nobody holds any more are forgotten. C: the loop of `pgstat_report_stat`.
pub fn drain() -> Vec<Drained> {
    TABLES.with_borrow_mut(|tables| {
        let mut drained = Vec::new();
        tables.retain(|_, table| {
            let counts = table.take();
            let untouched = Drained { rel: table.rel, shared: table.shared, ..Drained::default() };
            if counts != untouched {
                drained.push(counts);
            }
            Rc::strong_count(table) > 1
        });
        drained
    })
}

#[cfg(test)]
mod tests;
