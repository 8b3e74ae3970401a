//! What launcher and worker need from the layers above: catalogs, and VACUUM itself.
//!
//! The program fills the functions in before the first fork. Until then there is nothing to vacuum.

use std::sync::OnceLock;

use common::{MultiXactId, Oid, Xid};
use elog::Result;

use crate::needs::{Ages, StorageOptions};

/// A row of pg_database, for the launcher. C: `avw_dbase`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRow {
    /// Its number.
    pub oid: Oid,
    /// Its name.
    pub name: String,
    /// `datfrozenxid`.
    pub frozen_xid: Xid,
    /// `datminmxid`.
    pub min_multi: MultiXactId,
}

/// A row of pg_class that may need work: relkind `r`, `m` or `t`, not temporary.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// The table.
    pub oid: Oid,
    /// Name of its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// In `pg_global`.
    pub shared: bool,
    /// A TOAST table: never analyzed.
    pub toast: bool,
    /// `reltuples`; negative if never counted.
    pub reltuples: f64,
    /// `relfrozenxid`.
    pub frozen_xid: Xid,
    /// `relminmxid`.
    pub min_multi: MultiXactId,
    /// Its storage parameters about autovacuum, if it has any.
    pub options: Option<StorageOptions>,
}

/// What is to be done to a table. C: `autovac_table`.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The table.
    pub table: TableRow,
    /// VACUUM it.
    pub vacuum: bool,
    /// ANALYZE it.
    pub analyze: bool,
    /// It must be done: row versions would become ambiguous otherwise. Such a job is not cancelled by whoever waits
    /// for its lock.
    pub for_wraparound: bool,
}

/// Functions of the layers above. Each runs in its own transactions.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// In the launcher: all databases. C: `get_database_list`.
    pub databases: fn() -> Result<Vec<DatabaseRow>>,
    /// In launcher and worker: where transaction ids are now.
    pub ages: fn() -> Ages,
    /// In a worker, first of all: becomes a session of this database without a client; returns its name.
    /// C: `InitPostgres`.
    pub connect: fn(Oid) -> Result<String>,
    /// In a worker: all tables of the database, shared ones included.
    pub tables: fn() -> Result<Vec<TableRow>>,
    /// In a worker: does it, in transactions of its own; after an error the transaction has been aborted.
    /// C: `autovacuum_do_vac_analyze`.
    pub run: fn(&Job) -> Result<()>,
    /// In a worker, at the end: moves `datfrozenxid` on and cuts the commit log. C: `vac_update_datfrozenxid`.
    pub finish: fn() -> Result<()>,
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();

/// Fills the functions in, in the postmaster. A second call changes nothing.
pub fn set_hooks(hooks: Hooks) {
    let _ = HOOKS.set(hooks);
}

pub(crate) fn hooks() -> Hooks {
    HOOKS.get().copied().unwrap_or(Hooks {
        databases: || Ok(Vec::new()),
        ages: Ages::default,
        connect: |_| Ok(String::new()),
        tables: || Ok(Vec::new()),
        run: |_| Ok(()),
        finish: || Ok(()),
    })
}
