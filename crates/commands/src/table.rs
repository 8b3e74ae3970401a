//! CREATE TABLE, DROP TABLE, TRUNCATE, LOCK.
//!
//! C counterpart: commands/tablecmds.c, commands/lockcmds.c.

use std::rc::Rc;

use catalog::Relation;
use catalog::create::{CreateSpec, create_relation, drop_relation, truncate_relation};
use catalog::rows::PgClassRow;
use catalog::{namespace, relation, syscache};
use common::{Oid, SqlState};
use elog::{PgError, Result, error, pg_error};
use lmgr::LockMode;
use parser::ast::{
    CreateTableStmt, DropKind, DropStmt, LockStmt, Persistence, RangeVar, TableLockMode, TruncateStmt,
};

use crate::columns::Definition;
use crate::options::storage_options;
use crate::rights::{self, Right};
use crate::{Context, not_supported, tablespace};

/// Owner of schema `public`: whoever owns the database. C: `ROLE_PG_DATABASE_OWNER`.
const PG_DATABASE_OWNER: Oid = Oid(6171);
/// Objects below are `initdb`'s. C: `FirstNormalObjectId`.
const FIRST_NORMAL_OID: Oid = Oid(16_384);

/// CREATE TABLE. C: `DefineRelation`.
///
/// # Errors
/// PostgreSQL's for whatever is wrong with the definition; 0A000 for what this release lacks.
pub fn create(cx: &Context<'_>, stmt: &CreateTableStmt) -> Result<()> {
    refuse_unsupported(cx, stmt)?;
    let Some((schema, name)) = new_name(cx, &stmt.relation, stmt.if_not_exists)? else { return Ok(()) };
    let tablespace = tablespace::of_new_table(cx, stmt.tablespace.as_deref())?;
    let definition = Definition::new(cx, &name, &stmt.elements)?;
    let mut spec = CreateSpec::new(name, schema, cx.role, definition.columns);
    spec.checks = definition.checks;
    spec.options = storage_options(&stmt.options)?;
    spec.tablespace = tablespace;
    create_relation(&spec)?;
    Ok(())
}

/// Where a new relation goes and what it is called there; `None` if it exists and may. C:
/// `RangeVarGetAndCheckCreationNamespace`.
///
/// # Errors
/// 3F000, 42501, 42P07.
pub fn new_name(cx: &Context<'_>, relation: &RangeVar, if_not_exists: bool) -> Result<Option<(Oid, String)>> {
    let (schema, name) = cx.schema_and_name(relation).map_err(|e| e.position(cx.position(relation.loc)))?;
    let schema = namespace::creation_schema(schema).map_err(|e| e.position(cx.position(relation.loc)))?;
    check_may_create(cx, relation, schema, name)?;
    if if_not_exists && namespace::relation_in(name, schema)?.is_some() {
        pg_error!(Notice, SqlState::DUPLICATE_TABLE, "relation \"{name}\" already exists, skipping").report();
        return Ok(None);
    }
    Ok(Some((schema, name.to_owned())))
}

fn check_may_create(cx: &Context<'_>, relation: &RangeVar, schema: Oid, name: &str) -> Result<()> {
    let denied = |text: String| error!(SqlState::INSUFFICIENT_PRIVILEGE, "{text}");
    let Some(row) = syscache::namespace(schema)? else { return Ok(()) };
    let owns_database = || -> Result<bool> {
        Ok(syscache::database(catalog::my_database())?.is_some_and(|database| database.datdba == cx.role))
    };
    let may =
        cx.superuser || row.nspowner == cx.role || row.nspowner == PG_DATABASE_OWNER && owns_database()?;
    if may {
        return check_not_system(&row.nspname, schema, name);
    }
    Err(denied(format!("permission denied for schema {}", row.nspname)).position(cx.position(relation.loc)))
}

/// C: the check of `heap_create`.
fn check_not_system(schema_name: &str, schema: Oid, name: &str) -> Result<()> {
    if schema != namespace::PG_CATALOG && schema != namespace::PG_TOAST {
        return Ok(());
    }
    Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied to create \"{schema_name}.{name}\"")
        .detail("System catalog modifications are currently disallowed."))
}

fn refuse_unsupported(cx: &Context<'_>, stmt: &CreateTableStmt) -> Result<()> {
    if stmt.on_commit.is_some() && stmt.persistence != Persistence::Temporary {
        return Err(error!(
            SqlState::INVALID_TABLE_DEFINITION,
            "ON COMMIT can only be used on temporary tables"
        ));
    }
    match stmt.persistence {
        Persistence::Permanent => {}
        Persistence::Temporary => return Err(not_supported("temporary tables are")),
        Persistence::Unlogged => return Err(not_supported("unlogged tables are")),
    }
    if let Some((what, loc)) = &stmt.unsupported {
        return Err(not_supported(&format!("{what} is")).position(cx.position(*loc)));
    }
    if let Some(parent) = stmt.inherits.first() {
        return Err(not_supported("inheritance is").position(cx.position(parent.loc)));
    }
    match stmt.access_method.as_deref() {
        None | Some("heap") => Ok(()),
        Some(name) => Err(error!(SqlState::UNDEFINED_OBJECT, "access method \"{name}\" does not exist")),
    }
}

// --- DROP ---

/// DROP TABLE; other kinds do not exist here, which is what they are told. C: `RemoveRelations`.
///
/// # Errors
/// 42P01 or 42809 for names that are no tables, 42501 without the right.
pub fn drop(cx: &Context<'_>, stmt: &DropStmt) -> Result<()> {
    if stmt.kind == DropKind::Schema {
        return Err(not_supported("DROP SCHEMA is"));
    }
    let mut doomed: Vec<Oid> = Vec::new();
    for name in &stmt.names {
        let Some(class) = find_to_drop(cx, stmt, name)? else { continue };
        if !doomed.contains(&class.oid) {
            doomed.push(class.oid);
        }
    }
    for oid in doomed {
        drop_relation(oid)?;
    }
    Ok(())
}

/// The relation, locked and checked; `None` if it is missing and may be.
fn find_to_drop(cx: &Context<'_>, stmt: &DropStmt, wanted: &RangeVar) -> Result<Option<Rc<PgClassRow>>> {
    let (schema, name) = cx.schema_and_name(wanted)?;
    let word = stmt.kind.word();
    let skip = |text: String| {
        pg_error!(Notice, SqlState::SUCCESSFUL_COMPLETION, "{text}, skipping").report();
        Ok(None)
    };
    if let Some(schema) = schema
        && stmt.missing_ok
        && namespace::schema_oid(schema)?.is_none()
    {
        return skip(format!("schema \"{schema}\" does not exist"));
    }
    let Some(oid) = namespace::lookup_relation(schema, name)? else {
        if cx.env.lookup(schema, name).is_some() {
            return Err(if stmt.kind == DropKind::View {
                system_catalog(name)
            } else {
                not_a(name, b'v', word)
            });
        }
        let missing = format!("{word} \"{name}\" does not exist");
        if stmt.missing_ok {
            return skip(missing);
        }
        // C: `DropErrorMsgNonExistent` knows these kinds by another code.
        let state = match stmt.kind {
            DropKind::Index | DropKind::ForeignTable => SqlState::UNDEFINED_OBJECT,
            _ => SqlState::UNDEFINED_TABLE,
        };
        return Err(error!(state, "{missing}"));
    };
    relation::lock(oid, LockMode::AccessExclusive)?;
    let Some(class) = syscache::class(oid)? else {
        return Err(error!(SqlState::UNDEFINED_TABLE, "{word} \"{name}\" does not exist"));
    };
    if !(stmt.kind == DropKind::Table && class.relkind == b'r') {
        return Err(not_a(&class.relname, class.relkind, word));
    }
    cx.require_owner(class.relowner, "table", name)?;
    if class.oid < FIRST_NORMAL_OID {
        return Err(system_catalog(name));
    }
    check_not_in_use(cx, "DROP TABLE", &class)?;
    Ok(Some(class))
}

fn system_catalog(name: &str) -> PgError {
    error!(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied: \"{name}\" is a system catalog")
}

/// C: `DropErrorMsgWrongType`.
fn not_a(name: &str, relkind: u8, wanted: &str) -> PgError {
    let article = if wanted == "index" { "an" } else { "a" };
    let (kind, command) = match relkind {
        b'v' => ("view", "DROP VIEW"),
        b'i' => ("index", "DROP INDEX"),
        b'S' => ("sequence", "DROP SEQUENCE"),
        b'm' => ("materialized view", "DROP MATERIALIZED VIEW"),
        _ => ("table", "DROP TABLE"),
    };
    let mut error = error!(SqlState::WRONG_OBJECT_TYPE, "\"{name}\" is not {article} {wanted}");
    let article = if kind == "index" { "an" } else { "a" };
    error = error.hint(format!("Use {command} to remove {article} {kind}."));
    error
}

// --- TRUNCATE, LOCK ---

/// An existing table by name, locked. C: `table_openrv`.
///
/// # Errors
/// 42P01 `relation "%s" does not exist`, with its position; what the lock says.
pub(crate) fn open(cx: &Context<'_>, wanted: &RangeVar, mode: LockMode) -> Result<Rc<Relation>> {
    let (schema, name) = cx.schema_and_name(wanted)?;
    let shown = || wanted.name.join(".");
    relation::open_by_name(schema, name, mode)?
        .ok_or_else(|| error!(SqlState::UNDEFINED_TABLE, "relation \"{}\" does not exist", shown()))
}

/// TRUNCATE. C: `ExecuteTruncate`.
///
/// # Errors
/// 42P01, 42809, 42501.
pub fn truncate(cx: &Context<'_>, stmt: &TruncateStmt) -> Result<()> {
    transam::xact::prevent_if_read_only("TRUNCATE TABLE")?;
    let mut relations: Vec<Rc<Relation>> = Vec::new();
    for wanted in &stmt.relations {
        let (schema, name) = cx.schema_and_name(wanted)?;
        if cx.env.lookup(schema, name).is_some() {
            return Err(error!(SqlState::WRONG_OBJECT_TYPE, "\"{name}\" is not a table"));
        }
        let relation = open(cx, wanted, LockMode::AccessExclusive)?;
        if relation.class.relkind != b'r' {
            return Err(error!(SqlState::WRONG_OBJECT_TYPE, "\"{}\" is not a table", relation.name()));
        }
        if relation.oid() < FIRST_NORMAL_OID {
            return Err(system_catalog(relation.name()));
        }
        rights::require(cx.role, cx.superuser, &relation.class, Right::Truncate)?;
        check_not_in_use(cx, "TRUNCATE", &relation.class)?;
        if relations.iter().all(|other| other.oid() != relation.oid()) {
            relations.push(relation);
        }
    }
    for relation in relations {
        truncate_relation(relation.oid())?;
        relation.table.counts.count_truncate();
    }
    Ok(())
}

/// C: `CheckTableNotInUse`.
fn check_not_in_use(cx: &Context<'_>, command: &str, class: &PgClassRow) -> Result<()> {
    if !(cx.in_use)(class.oid) {
        return Ok(());
    }
    Err(error!(
        SqlState::OBJECT_IN_USE,
        "cannot {command} \"{}\" because it is being used by active queries in this session", class.relname
    ))
}

/// The lock manager's name for a mode of LOCK TABLE.
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

/// LOCK TABLE. C: `LockTableCommand`.
///
/// # Errors
/// 42P01, 42809, 42501; 55P03 with NOWAIT; what waiting says.
pub fn lock(cx: &Context<'_>, stmt: &LockStmt) -> Result<()> {
    let mode = lock_mode(stmt.mode);
    for wanted in &stmt.relations {
        let (schema, name) = cx.schema_and_name(wanted)?;
        // A view of the server's own state has nothing to lock.
        if cx.env.lookup(schema, name).is_some() {
            continue;
        }
        let missing =
            || error!(SqlState::UNDEFINED_TABLE, "relation \"{}\" does not exist", wanted.name.join("."));
        let oid = namespace::lookup_relation(schema, name)?.ok_or_else(missing)?;
        let class = syscache::class(oid)?.ok_or_else(missing)?;
        if !matches!(class.relkind, b'r' | b'v') {
            return Err(error!(SqlState::WRONG_OBJECT_TYPE, "\"{name}\" is not a table or view"));
        }
        let right = match mode {
            LockMode::AccessShare => Right::Select,
            LockMode::RowExclusive => Right::Write,
            _ => Right::Truncate,
        };
        rights::require(cx.role, cx.superuser, &class, right)?;
        if !stmt.nowait {
            relation::lock(oid, mode)?;
        } else if !lmgr::conditional_lock_relation(relation::lock_database(oid), oid, mode)? {
            return Err(error!(SqlState::LOCK_NOT_AVAILABLE, "could not obtain lock on relation \"{name}\""));
        }
    }
    Ok(())
}
