//! Tables as the executor sees them: what analysis has to know of one, and what can be done with its rows.
//!
//! The rows themselves are behind [`TableAm`], so that the executor's own tests can do with rows in memory;
//! [`crate::heap_table`] is the real one. Rows come and go in the heap's tuple format, as views into pages where
//! possible, so that a scan copies nothing.
//!
//! C counterpart: `Relation` as the parser uses it, access/tableam.h.

use std::fmt;
use std::rc::Rc;

use common::{CommandId, ItemPointer, Oid};
use elog::Result;
use heap::{
    FailureData, LockOutcome, LockTupleMode, SystemAttribute, TmResult, Tuple, TupleDesc, TupleView,
    WaitPolicy,
};
use parser::ast::TableLockMode;
use types::oid;

/// Marks that a plan was made with what the catalogs said at some moment.
pub type Generation = u64;

/// A table by the facts that name resolution and DML ask for. It is as the catalogs were when it was looked up.
pub struct TableInfo {
    /// Its OID.
    pub oid: Oid,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns, dropped ones included.
    pub desc: Rc<TupleDesc>,
    /// Defaults as SQL text, by column number from 1.
    pub defaults: Vec<(i16, Rc<str>)>,
    /// CHECK constraints, name and condition as SQL text, in the order in which they are checked.
    pub checks: Vec<(Rc<str>, Rc<str>)>,
    /// C: `relkind`; only `r` can be read here.
    pub kind: u8,
    /// Temporary tables may be changed in a read-only transaction.
    pub is_temporary: bool,
    /// A system catalog.
    pub is_catalog: bool,
    /// Rows in it by the last VACUUM or ANALYZE, for EXPLAIN; negative if unknown. C: `reltuples`.
    pub tuples: f64,
    /// Pages likewise.
    pub pages: u32,
    /// Its rows.
    pub am: Rc<dyn TableAm>,
    /// What the catalogs' generation was.
    pub generation: Generation,
}

impl fmt::Debug for TableInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableInfo").field("oid", &self.oid).field("name", &self.name).finish_non_exhaustive()
    }
}

impl TableInfo {
    /// Number of columns, dropped ones included.
    pub fn natts(&self) -> usize {
        self.desc.natts()
    }

    /// Index (from 0) of the column with this name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.desc.attrs.iter().position(|a| !a.is_dropped && &*a.name == name)
    }

    /// The default of a column (index from 0) as SQL text.
    pub fn default_of(&self, column: usize) -> Option<&Rc<str>> {
        self.defaults.iter().find(|(num, _)| *num as usize == column + 1).map(|(_, text)| text)
    }
}

/// The system columns in the order of their slots, which follow those of the columns.
pub const SYSTEM_COLUMNS: [SystemAttribute; 6] = SystemAttribute::ALL;

/// Type of a system column.
pub fn system_type(attribute: SystemAttribute) -> Oid {
    match attribute {
        SystemAttribute::Ctid => oid::TID,
        other => other.type_id(),
    }
}

/// What can be done with a table's rows. One object stands for one table. C: `TableAmRoutine`.
pub trait TableAm {
    /// Takes the table's lock until the end of the transaction. C: `LockRelationOid`.
    ///
    /// # Errors
    /// Deadlock, timeout, cancel.
    fn lock_table(&self, mode: TableLockMode) -> Result<()>;

    /// What the catalogs' generation is now: plans made under another may be wrong. C: plancache.c's callbacks.
    fn generation(&self) -> Generation;

    /// A scan of all rows that the active snapshot sees. C: `table_beginscan`.
    ///
    /// # Errors
    /// What opening the table's files says.
    fn scan(&self) -> Result<Box<dyn RowScan>>;

    /// The row at this address, if there is one and the active snapshot sees it. C: `table_tuple_fetch_row_version`.
    ///
    /// # Errors
    /// What reading the page says.
    fn fetch(&self, tid: ItemPointer) -> Result<Option<Tuple>>;

    /// The command id that changes get; from now on the transaction counts as having changed something.
    /// C: `GetCurrentCommandId(true)`.
    fn command_id(&self) -> CommandId;

    /// Whether a row changed by someone else is an error (REPEATABLE READ). C: `IsolationUsesXactSnapshot`.
    fn uses_transaction_snapshot(&self) -> bool;

    /// 25006 if the transaction is read-only or the server recovers. `command` is the tag for the message.
    ///
    /// # Errors
    /// That one.
    fn check_writable(&self, command: &str) -> Result<()>;

    /// Begins inserting rows, with what is kept from one to the next. C: `GetBulkInsertState`.
    fn inserter(&self) -> Box<dyn TableInserter>;

    /// Deletes the row, waiting for others who change it. C: `table_tuple_delete`.
    ///
    /// # Errors
    /// What waiting and writing say.
    fn delete(&self, tid: ItemPointer, cid: CommandId) -> Result<(TmResult, FailureData)>;

    /// Replaces the row, waiting for others who change it; sets `new.tid`. C: `table_tuple_update`.
    ///
    /// # Errors
    /// What waiting and writing say.
    fn update(&self, tid: ItemPointer, new: &mut Tuple, cid: CommandId) -> Result<(TmResult, FailureData)>;

    /// Locks a row; with `last_version` the newest version of it, and `failure.traversed` tells that this is another
    /// than `tid`. C: `table_tuple_lock`.
    ///
    /// # Errors
    /// What waiting and writing say; 55P03 for [`WaitPolicy::Error`].
    fn lock_row(
        &self,
        tid: ItemPointer,
        cid: CommandId,
        mode: LockTupleMode,
        policy: WaitPolicy,
        last_version: bool,
    ) -> Result<LockOutcome>;
}

/// A scan under way. C: `TableScanDesc`.
pub trait RowScan {
    /// The next row, which stays valid until the next call.
    ///
    /// # Errors
    /// What reading pages says.
    fn next(&mut self) -> Result<Option<TupleView<'_>>>;

    /// Starts over. C: `table_rescan`.
    ///
    /// # Errors
    /// As opening.
    fn restart(&mut self) -> Result<()>;
}

/// Takes rows one by one. C: `table_tuple_insert` with a `BulkInsertState`.
pub trait TableInserter {
    /// Inserts a row; sets `tuple.tid`.
    ///
    /// # Errors
    /// 54000 for a row too big; what writing says.
    fn insert(&mut self, tuple: &mut Tuple, cid: CommandId) -> Result<()>;
}
