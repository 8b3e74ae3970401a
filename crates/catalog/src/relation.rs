//! A relation as the rest of the server sees it, and how to get one.
//!
//! C counterpart: utils/rel.h, access/common/relation.c (`relation_open`, `try_relation_open`).

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};
use heap::{Table, TupleDesc};
use lmgr::LockMode;

use crate::rows::PgClassRow;
use crate::{inval, namespace, relcache};

/// A table's CHECK constraint. C: `ConstrCheck`.
#[derive(Clone, Debug)]
pub struct Check {
    /// OID of its pg_constraint row.
    pub oid: Oid,
    /// `conname`.
    pub name: Rc<str>,
    /// The condition, as SQL text.
    pub expression: Rc<str>,
    /// `connoinherit`.
    pub no_inherit: bool,
    /// `convalidated`.
    pub validated: bool,
}

/// A column's default. C: `AttrDefault`.
#[derive(Clone, Debug)]
pub struct ColumnDefault {
    /// Number of the column, from 1.
    pub column: i16,
    /// The expression, as SQL text.
    pub expression: Rc<str>,
}

/// A relation: what the catalogs say about it at the moment it was opened. It does not change; a change of the
/// catalogs makes a new one. C: `RelationData`.
#[derive(Debug)]
pub struct Relation {
    /// Its rows.
    pub table: Rc<Table>,
    /// Its row of pg_class.
    pub class: PgClassRow,
    /// Its columns.
    pub desc: Rc<TupleDesc>,
    /// Defaults, by column.
    pub defaults: Vec<ColumnDefault>,
    /// CHECK constraints, by name: the order in which they are checked.
    pub checks: Vec<Check>,
}

impl Relation {
    /// Its OID.
    pub fn oid(&self) -> Oid {
        self.class.oid
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.class.relname
    }

    /// Whether all databases have it in common.
    pub fn is_shared(&self) -> bool {
        self.class.relisshared
    }

    /// The default of a column, if it has one.
    pub fn default_of(&self, column: i16) -> Option<&str> {
        self.defaults.iter().find(|default| default.column == column).map(|default| &*default.expression)
    }
}

/// Opens a relation: locks it, takes in what other sessions changed meanwhile, and reads the catalogs if the cache
/// has nothing. The lock stays until the end of the transaction. C: `relation_open`.
///
/// # Errors
/// XX000 `could not open relation with OID %u` if it is not there (any more); what the lock says.
pub fn open(oid: Oid, mode: LockMode) -> Result<Rc<Relation>> {
    try_open(oid, mode)?
        .ok_or_else(|| error!(SqlState::INTERNAL_ERROR, "could not open relation with OID {oid}"))
}

/// The same, `None` if there is no such relation. C: `try_relation_open`.
///
/// # Errors
/// What the lock and the reading of catalogs say.
pub fn try_open(oid: Oid, mode: LockMode) -> Result<Option<Rc<Relation>>> {
    lock(oid, mode)?;
    relcache::get(oid)
}

/// Takes a relation's lock and accepts invalidations if that could have waited. C: `LockRelationOid`.
///
/// # Errors
/// What the lock manager says: deadlock, timeout, cancel.
pub fn lock(oid: Oid, mode: LockMode) -> Result<()> {
    lmgr::lock_relation(lock_database(oid), oid, mode)?;
    inval::accept()
}

/// The relation without a lock: for one that the caller has locked already. C: `relation_open(…, NoLock)`.
///
/// # Errors
/// As [`open`].
pub fn open_locked(oid: Oid) -> Result<Rc<Relation>> {
    relcache::get(oid)?
        .ok_or_else(|| error!(SqlState::INTERNAL_ERROR, "could not open relation with OID {oid}"))
}

/// Finds a relation by name and opens it; a name without schema is looked up along the search path. `None` if there
/// is none: what to say then (42P01, with a position) is the caller's. The name is looked up again if the catalogs
/// changed while the lock was waited for. C: `RangeVarGetRelidExtended`, `relation_openrv`.
///
/// # Errors
/// 3F000 if the schema does not exist; those of [`open`].
pub fn open_by_name(schema: Option<&str>, name: &str, mode: LockMode) -> Result<Option<Rc<Relation>>> {
    let mut locked = Oid::INVALID;
    loop {
        let generation = inval::generation();
        let Some(oid) = namespace::lookup_relation(schema, name)? else { return Ok(None) };
        if oid != locked {
            if locked.is_valid() {
                lmgr::unlock_relation(lock_database(locked), locked, mode)?;
            }
            lock(oid, mode)?;
            locked = oid;
        }
        if generation != inval::generation() {
            continue;
        }
        if let Some(relation) = relcache::get(oid)? {
            return Ok(Some(relation));
        }
    }
}

/// The database that a lock on this relation belongs to: none for shared ones. C: `RelationInitLockInfo`.
pub fn lock_database(oid: Oid) -> Oid {
    if crate::tables::is_shared(oid) { Oid::INVALID } else { crate::my_database() }
}
