//! Tables in heap files, found through the catalogs: what [`crate::table`] promises, done by `heap`, `lmgr`, `transam`.
//!
//! `backend` calls [`lookup`] from its `Env`; the commands that open tables themselves turn a relation they have into
//! what the executor takes with [`info_of`].
//!
//! C counterpart: access/heap/heapam_handler.c, `table_openrv`.

use std::rc::Rc;

use catalog::Relation;
use common::{CommandId, ItemPointer, SqlState};
use elog::{Result, error};
use heap::{
    BulkInsert, FailureData, InsertOptions, LockOutcome, LockTupleMode, Scan, ScanOptions, Table, TmResult,
    Tuple, TupleView, UpdateOptions, WaitPolicy,
};
use lmgr::LockMode;
use parser::ast::TableLockMode;
use transam::Snapshot;

use crate::table::{Generation, RowScan, TableAm, TableInfo, TableInserter};

/// From this row of a command on, its inserts keep their page pinned and add pages in batches: before that, they share
/// the pages that other small inserts fill.
const BULK_FROM_ROW: u32 = 1000;

/// The table of that name, locked, for [`crate::Env::table`].
///
/// # Errors
/// What the lock and the catalogs say; 3F000 for a schema that does not exist is turned into "no such table".
pub fn lookup(schema: Option<&str>, name: &str, mode: TableLockMode) -> Result<Option<Rc<TableInfo>>> {
    match catalog::open_by_name(schema, name, lock_mode(mode)) {
        Ok(found) => Ok(found.map(|relation| info_of(&relation))),
        // As in C, where a FROM item is missing because its schema is, the complaint is about the relation.
        Err(e) if e.sqlstate == SqlState::UNDEFINED_SCHEMA => Ok(None),
        Err(e) => Err(e),
    }
}

/// An open relation as the executor takes it. The caller holds its lock.
pub fn info_of(relation: &Rc<Relation>) -> Rc<TableInfo> {
    let table = &relation.table;
    Rc::new(TableInfo {
        oid: relation.oid(),
        schema: table.schema.to_string(),
        name: relation.name().to_string(),
        desc: relation.desc.clone(),
        defaults: relation.defaults.iter().map(|d| (d.column, d.expression.clone())).collect(),
        checks: relation.checks.iter().map(|c| (c.name.clone(), c.expression.clone())).collect(),
        kind: relation.class.relkind,
        is_temporary: relation.class.relpersistence == b't',
        is_catalog: table.is_catalog,
        tuples: f64::from(relation.class.reltuples),
        pages: relation.class.relpages.max(0) as u32,
        am: Rc::new(HeapTable { table: table.clone() }),
        generation: catalog::generation(),
    })
}

/// The lock manager's word for a mode.
pub fn lock_mode(mode: TableLockMode) -> LockMode {
    match mode {
        TableLockMode::AccessShare => LockMode::AccessShare,
        TableLockMode::RowShare => LockMode::RowShare,
        TableLockMode::RowExclusive => LockMode::RowExclusive,
        TableLockMode::ShareUpdateExclusive => LockMode::ShareUpdateExclusive,
        TableLockMode::Share => LockMode::Share,
        TableLockMode::ShareRowExclusive => LockMode::ShareRowExclusive,
        TableLockMode::Exclusive => LockMode::Exclusive,
        TableLockMode::AccessExclusive => LockMode::AccessExclusive,
    }
}

struct HeapTable {
    table: Rc<Table>,
}

fn snapshot() -> Result<Snapshot> {
    transam::active_snapshot()
        .ok_or_else(|| error!(SqlState::INTERNAL_ERROR, "no active snapshot for a query"))
}

impl TableAm for HeapTable {
    fn lock_table(&self, mode: TableLockMode) -> Result<()> {
        catalog::relation::lock(self.table.oid, lock_mode(mode))
    }

    fn generation(&self) -> Generation {
        catalog::generation()
    }

    fn scan(&self) -> Result<Box<dyn RowScan>> {
        let scan = Scan::begin(&self.table, snapshot()?, ScanOptions::default())?;
        Ok(Box::new(HeapScan { scan }))
    }

    fn fetch(&self, tid: ItemPointer) -> Result<Option<Tuple>> {
        // Any address may be asked for. C: `heapam_tuple_tid_valid`.
        if tid.offset == 0 || tid.block >= self.table.nblocks()? {
            return Ok(None);
        }
        heap::fetch(&self.table, tid, &snapshot()?)
    }

    fn command_id(&self) -> CommandId {
        transam::current_command_id(true)
    }

    fn uses_transaction_snapshot(&self) -> bool {
        transam::xact::uses_xact_snapshot()
    }

    fn check_writable(&self, command: &str) -> Result<()> {
        transam::xact::prevent_if_read_only(command)
    }

    fn inserter(&self) -> Box<dyn TableInserter> {
        Box::new(HeapInserter { table: self.table.clone(), bulk: None, rows: 0 })
    }

    fn delete(&self, tid: ItemPointer, cid: CommandId) -> Result<(TmResult, FailureData)> {
        heap::delete(&self.table, tid, cid, None, true)
    }

    fn update(&self, tid: ItemPointer, new: &mut Tuple, cid: CommandId) -> Result<(TmResult, FailureData)> {
        let outcome = heap::update(&self.table, tid, new, cid, None, UpdateOptions::default())?;
        Ok((outcome.result, outcome.failure))
    }

    fn lock_row(
        &self,
        tid: ItemPointer,
        cid: CommandId,
        mode: LockTupleMode,
        policy: WaitPolicy,
        last_version: bool,
    ) -> Result<LockOutcome> {
        match last_version {
            true => heap::lock_last_version(&self.table, tid, cid, mode, policy),
            false => heap::lock_tuple(&self.table, tid, cid, mode, policy, false),
        }
    }
}

struct HeapScan {
    scan: Scan,
}

impl RowScan for HeapScan {
    fn next(&mut self) -> Result<Option<TupleView<'_>>> {
        self.scan.next()
    }

    fn restart(&mut self) -> Result<()> {
        self.scan.rescan()
    }
}

struct HeapInserter {
    table: Rc<Table>,
    bulk: Option<BulkInsert>,
    rows: u32,
}

impl TableInserter for HeapInserter {
    fn insert(&mut self, tuple: &mut Tuple, cid: CommandId) -> Result<()> {
        self.rows = self.rows.saturating_add(1);
        if self.rows == BULK_FROM_ROW {
            self.bulk = Some(BulkInsert::without_ring());
        }
        heap::insert(&self.table, tuple, cid, InsertOptions::default(), self.bulk.as_mut())?;
        Ok(())
    }
}
