//! System catalogs: what tables, columns, types, roles and databases there are.
//!
//! Catalogs are ordinary heap tables. Read in this order:
//!
//! - [`tables`]: the 64 catalogs of PostgreSQL 15 and their columns; [`rows`]: their rows as structs.
//! - [`bootstrap`]: what is in them in a new cluster; `initdb` writes it to files.
//! - [`relmapper`]: which files the most basic catalogs lie in.
//! - [`access`]: reading and changing rows of catalogs; [`syscache`], [`relation`]: the same from memory.
//! - [`inval`]: how those memories learn of changes.
//! - [`namespace`]: from names to OIDs.
//! - [`create`]: tables come, change and go; [`pending`]: their files do so with the transaction;
//!   [`dependency`]: what needs what.
//! - [`authid`], [`database`]: roles and databases; [`scram`], [`encoding`], [`predefined`] belong to them.
//!
//! A server process calls [`init`] once, before its first transaction, and [`set_my_database`] when it has
//! chosen one. Shared catalogs can be read before that.
//!
//! C counterpart: src/backend/catalog, src/backend/utils/cache.
//!
//! Absent on purpose: who may do what, which is the business of the command that does it.

#![forbid(unsafe_code)]

use std::cell::Cell;

use common::{Oid, SqlState};
use elog::{Result, error};

pub mod access;
mod attribute;
pub mod authid;
pub mod bootstrap;
pub mod create;
pub mod database;
pub mod dependency;
pub mod encoding;
pub mod inval;
pub mod namespace;
pub mod pending;
pub mod predefined;
pub mod relation;
mod relcache;
pub mod relmapper;
mod row_type;
pub mod rows;
pub mod scram;
pub mod syscache;
pub mod tables;
mod type_facts;

pub use attribute::SYSTEM_COLUMNS;
pub use create::{
    CheckSpec, ColumnSpec, CreateSpec, RelationStats, choose_check_name, create_relation, drop_relation,
    truncate_relation, update_stats,
};
pub use inval::generation;
pub use namespace::lookup_relation;
pub use relation::{Check, ColumnDefault, Relation, open, open_by_name, open_locked, try_open};
pub use relcache::file_node;
pub use row_type::make_object_name;
pub use type_facts::{TypeFacts, TypeFunctions};

thread_local! {
    static MY_DATABASE: Cell<Oid> = const { Cell::new(Oid::INVALID) };
}

/// The database of this process, invalid as long as it has chosen none. C: `MyDatabaseId`.
pub fn my_database() -> Oid {
    MY_DATABASE.get()
}

/// Chooses the database. What was cached of shared catalogs' rows stays good.
pub fn set_my_database(database: Oid) {
    MY_DATABASE.set(database);
    relmapper::reload(false);
    relcache::forget_all();
}

/// Takes part in this process's transactions from now on: invalidation, files of new and dropped tables. Needs
/// shared memory and a PGPROC by the first transaction. C: `InitCatalogCache`, `RelationCacheInitialize`.
pub fn init() {
    transam::register(inval::participant());
    transam::register(pending::participant());
}

/// Reads in the running transaction, or in one of its own if there is none; without any if the cache has it all.
fn in_any_transaction<T>(is_cached: impl Fn() -> bool, read: impl FnOnce() -> Result<T>) -> Result<T> {
    if transam::in_transaction() {
        return read();
    }
    inval::accept()?;
    if is_cached() {
        return read();
    }
    if transam::nest_level() > 0 {
        return Err(error!(
            SqlState::IN_FAILED_SQL_TRANSACTION,
            "current transaction is aborted, commands ignored until end of transaction block"
        ));
    }
    transam::start_transaction()?;
    let result = read();
    match result {
        Ok(value) => transam::commit_transaction().map(|()| value),
        Err(error) => {
            transam::abort_transaction();
            Err(error)
        }
    }
}
