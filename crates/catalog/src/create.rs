//! Making, removing and emptying tables: the rows in all catalogs, and the files.
//!
//! A table has a row type of its own and an array type over that, as each may be a column's type later.
//!
//! Default and check expressions are stored as their SQL text in the columns `adbin` and `conbin`, whose type is
//! `pg_node_tree`: there is no tree format here, and `pg_get_expr` shows the text as it is.
//!
//! C counterpart: catalog/heap.c, pg_type.c (`TypeCreate`), catalog.c (`GetNewRelFileNode`), `index_update_stats`.

use std::path::Path;

use common::{DEFAULT_TABLESPACE, ForkNumber, MultiXactId, Oid, RelFileNode, SqlState, Xid};
use elog::{Result, error};
use lmgr::{LockMode, LockTag};
use types::Datum;

use crate::access::{self, is_oid};
use crate::dependency::{self, DependencyType, Object};
use crate::rows::{PgAttrdefRow, PgClassRow, PgConstraintRow};
use crate::tables::{PG_ATTRDEF, PG_ATTRIBUTE, PG_CLASS, PG_CONSTRAINT, PG_DEPEND, PG_TYPE};
use crate::type_facts::TypeFacts;
use crate::{attribute, inval, namespace, pending, relation, relcache, row_type, syscache};

/// Access method `heap`. C: `HEAP_TABLE_AM_OID`.
pub const HEAP_AM: Oid = Oid(2);
/// Most columns of a table. C: `MaxHeapAttributeNumber`.
const MAX_COLUMNS: usize = 1600;

/// A column to make. C: `ColumnDef` after analysis.
#[derive(Clone, Debug)]
pub struct ColumnSpec {
    /// Name.
    pub name: String,
    /// Type.
    pub type_id: Oid,
    /// `atttypmod`, -1 for none.
    pub typmod: i32,
    /// Dimensions as declared (`int[]` has one).
    pub dimensions: i32,
    /// Collation; invalid takes the type's.
    pub collation: Oid,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// Default expression as SQL text.
    pub default: Option<String>,
}

impl ColumnSpec {
    /// A column that may be NULL and has no default.
    pub fn new(name: impl Into<String>, type_id: Oid, typmod: i32) -> ColumnSpec {
        ColumnSpec {
            name: name.into(),
            type_id,
            typmod,
            dimensions: 0,
            collation: Oid::INVALID,
            not_null: false,
            default: None,
        }
    }
}

/// A CHECK constraint to make. C: `CookedConstraint`.
#[derive(Clone, Debug)]
pub struct CheckSpec {
    /// Its name; the caller has chosen one that is free (see [`choose_check_name`]).
    pub name: String,
    /// The condition as SQL text.
    pub expression: String,
    /// Numbers of the columns that it mentions.
    pub columns: Vec<i16>,
    /// NO INHERIT.
    pub no_inherit: bool,
}

/// A table to make. C: arguments of `heap_create_with_catalog`.
#[derive(Clone, Debug)]
pub struct CreateSpec {
    /// Name.
    pub name: String,
    /// Schema.
    pub schema: Oid,
    /// Owner.
    pub owner: Oid,
    /// `b'p'` permanent or `b'u'` unlogged.
    pub persistence: u8,
    /// Columns in order.
    pub columns: Vec<ColumnSpec>,
    /// CHECK constraints.
    pub checks: Vec<CheckSpec>,
    /// `reloptions` as stored: `fillfactor=70`.
    pub options: Vec<String>,
    /// Tablespace of its files; invalid is the database's own.
    pub tablespace: Oid,
}

impl CreateSpec {
    /// A permanent table without constraints.
    pub fn new(name: impl Into<String>, schema: Oid, owner: Oid, columns: Vec<ColumnSpec>) -> CreateSpec {
        CreateSpec {
            name: name.into(),
            schema,
            owner,
            persistence: b'p',
            columns,
            checks: Vec::new(),
            options: Vec::new(),
            tablespace: Oid::INVALID,
        }
    }
}

/// Makes a table and returns its OID; it is locked AccessExclusive. Visible to this session after the next
/// `command_counter_increment`. C: `DefineRelation`'s second half, `heap_create_with_catalog`.
///
/// # Errors
/// 42P07 `relation "%s" already exists`, 42710 for its type, 42701, 54011, 42P16 for columns, 0A000 for temporary ones.
pub fn create_relation(spec: &CreateSpec) -> Result<Oid> {
    lock_name(spec.schema, &spec.name)?;
    check(spec)?;
    let node = new_file_node(spec.tablespace)?;
    let oid = node.rel;
    lmgr::lock_relation(relation::lock_database(oid), oid, LockMode::AccessExclusive)?;
    let array_type = new_oid()?;
    let row_type = new_oid()?;
    pending::create_storage(node, spec.persistence)?;

    let facts = row_type::RowType { relation: oid, name: &spec.name, schema: spec.schema, owner: spec.owner };
    let array_name = free_array_name(&spec.name, spec.schema)?;
    access::insert(
        &PG_TYPE,
        &[
            facts.array_row(array_type, row_type, &array_name).to_datums(),
            facts.row(row_type, array_type).to_datums(),
        ],
    )?;
    access::insert(&PG_CLASS, &[class_row(spec, node, row_type)?.to_datums()])?;
    insert_attributes(spec, oid)?;
    let mut depends = vec![
        (Object::type_of(row_type), Object::relation(oid), DependencyType::Internal),
        (Object::type_of(array_type), Object::type_of(row_type), DependencyType::Internal),
        (Object::relation(oid), Object::schema(spec.schema), DependencyType::Normal),
    ];
    for (column, number) in spec.columns.iter().zip(1..) {
        let needed = Object::type_of(column.type_id);
        depends.push((Object::column(oid, number), needed, DependencyType::Normal));
    }
    insert_defaults(spec, oid, &mut depends)?;
    insert_checks(spec, oid, &mut depends)?;
    insert_depends(&depends)?;
    dependency::record_owner(Object::relation(oid), spec.owner)?;
    inval::register_relcache(oid);
    Ok(oid)
}

/// Keeps others from making a relation of the same name until this transaction is over. PostgreSQL leaves that to the
/// unique index on pg_class, which is not there yet. Two names may share a lock: then one waits in vain.
fn lock_name(schema: Oid, name: &str) -> Result<()> {
    let key = crc32c::crc32c_append(schema.0, name.as_bytes());
    let db = crate::my_database();
    let tag = LockTag::Object { db, class: PG_CLASS.oid, object: Oid(key), sub: u16::MAX };
    lmgr::acquire(tag, LockMode::Exclusive, false, false)?;
    inval::accept()
}

fn check(spec: &CreateSpec) -> Result<()> {
    let CreateSpec { name, columns, .. } = spec;
    if spec.persistence == b't' {
        return Err(namespace::no_temp_tables());
    }
    if columns.len() > MAX_COLUMNS {
        return Err(error!(SqlState::TOO_MANY_COLUMNS, "tables can have at most {MAX_COLUMNS} columns"));
    }
    attribute::check_names(columns)?;
    if namespace::relation_in(name, spec.schema)?.is_some() {
        return Err(error!(SqlState::DUPLICATE_TABLE, "relation \"{name}\" already exists"));
    }
    if syscache::type_by_name(name, spec.schema)?.is_some() {
        return Err(error!(SqlState::DUPLICATE_OBJECT, "type \"{name}\" already exists").hint(
            "A relation has an associated type of the same name, so you must use a name that doesn't conflict with any existing type.",
        ));
    }
    Ok(())
}

/// Free OIDs for objects. Below 16384 they are `initdb`'s; the counter sees to that.
///
/// # Errors
/// What giving out OIDs says.
pub fn new_oid() -> Result<Oid> {
    loop {
        let oid = transam::varsup::new_oid()?;
        // After the counter has wrapped around, an id may be in use.
        let taken = syscache::class(oid)?.is_some()
            || syscache::type_row(oid)?.is_some()
            || syscache::tablespace(oid)?.is_some();
        if !taken {
            return Ok(oid);
        }
    }
}

/// Databases are in `base` until they can be made elsewhere. C: `MyDatabaseTableSpace`.
const DATABASE_TABLESPACE: Oid = DEFAULT_TABLESPACE;

/// The tablespace as pg_class says it: the database's own is 0, so that it may move.
fn stored_tablespace(tablespace: Oid) -> Oid {
    if tablespace == DATABASE_TABLESPACE { Oid::INVALID } else { tablespace }
}

/// Files for a new relation of this database in a tablespace (invalid is the database's own): an OID that neither
/// pg_class nor a left-over file uses. C: `GetNewRelFileNode`.
///
/// # Errors
/// What giving out OIDs and looking for files says.
pub fn new_file_node(tablespace: Oid) -> Result<RelFileNode> {
    let spc = if tablespace.is_valid() { tablespace } else { DATABASE_TABLESPACE };
    loop {
        let rel = new_oid()?;
        let node = RelFileNode { spc, db: crate::my_database(), rel };
        if !Path::new(&node.path(ForkNumber::Main)).exists() {
            return Ok(node);
        }
    }
}

/// `_name`, with more underscores as long as a type has that name. C: `makeArrayTypeName`.
fn free_array_name(name: &str, schema: Oid) -> Result<String> {
    let mut array_name = row_type::truncate(format!("_{name}"));
    while syscache::type_by_name(&array_name, schema)?.is_some() {
        let longer = row_type::truncate(format!("_{array_name}"));
        if longer == array_name {
            return Err(error!(
                SqlState::DUPLICATE_OBJECT,
                "could not form array type name for type \"{name}\""
            ));
        }
        array_name = longer;
    }
    Ok(array_name)
}

/// The rows of a new table cannot be older than what runs now. C: `heapam_relation_set_new_filenode`.
fn freeze_limits() -> Result<(Xid, MultiXactId)> {
    Ok((transam::catalog_snapshot()?.xmin(), transam::multixact::oldest()))
}

fn class_row(spec: &CreateSpec, node: RelFileNode, row_type: Oid) -> Result<PgClassRow> {
    let (frozen_xid, min_multi) = freeze_limits()?;
    Ok(PgClassRow {
        oid: node.rel,
        relname: spec.name.clone(),
        relnamespace: spec.schema,
        reltype: row_type,
        reloftype: Oid::INVALID,
        relowner: spec.owner,
        relam: HEAP_AM,
        relfilenode: node.rel,
        reltablespace: stored_tablespace(spec.tablespace),
        relpages: 0,
        reltuples: -1.0,
        relallvisible: 0,
        reltoastrelid: Oid::INVALID,
        relhasindex: false,
        relisshared: false,
        relpersistence: spec.persistence,
        relkind: b'r',
        relnatts: spec.columns.len() as i16,
        relchecks: spec.checks.len() as i16,
        relhasrules: false,
        relhastriggers: false,
        relhassubclass: false,
        relrowsecurity: false,
        relforcerowsecurity: false,
        relispopulated: true,
        relreplident: b'd',
        relispartition: false,
        relrewrite: Oid::INVALID,
        relfrozenxid: frozen_xid,
        relminmxid: Xid(min_multi.0),
        relacl: Datum::Null,
        reloptions: (!spec.options.is_empty()).then(|| spec.options.clone()),
        relpartbound: None,
    })
}

/// C: `AddNewAttributeTuples`.
fn insert_attributes(spec: &CreateSpec, oid: Oid) -> Result<()> {
    let own = spec.columns.iter().zip(1..).map(|(column, number)| {
        let facts = facts_of(column.type_id)?;
        let mut row = attribute::row(oid, &column.name, column.type_id, number, facts);
        row.atttypmod = column.typmod;
        row.attndims = column.dimensions;
        row.attnotnull = column.not_null;
        row.atthasdef = column.default.is_some();
        if column.collation.is_valid() {
            row.attcollation = column.collation;
        }
        Ok(row.to_datums())
    });
    let mut rows = own.collect::<Result<Vec<_>>>()?;
    rows.extend(attribute::system_rows(oid).map(|row| row.to_datums()));
    access::insert(&PG_ATTRIBUTE, &rows)
}

/// How values of a type are stored, whether it is built in or not.
fn facts_of(ty: Oid) -> Result<TypeFacts> {
    if types::type_info(ty).is_some() {
        return Ok(TypeFacts::of(ty));
    }
    let row = syscache::type_row(ty)?
        .ok_or_else(|| error!(SqlState::INTERNAL_ERROR, "cache lookup failed for type {ty}"))?;
    Ok(TypeFacts {
        len: row.typlen,
        by_val: row.typbyval,
        align: row.typalign,
        storage: row.typstorage,
        collation: row.typcollation,
    })
}

type Depends = Vec<(Object, Object, DependencyType)>;

/// C: `StoreAttrDefault`.
fn insert_defaults(spec: &CreateSpec, oid: Oid, depends: &mut Depends) -> Result<()> {
    let mut rows = Vec::new();
    for (column, number) in spec.columns.iter().zip(1..) {
        let Some(expression) = &column.default else { continue };
        let id = new_oid()?;
        let row = PgAttrdefRow { oid: id, adrelid: oid, adnum: number, adbin: expression.clone() };
        rows.push(row.to_datums());
        let default = Object { class: PG_ATTRDEF.oid, id, sub: 0 };
        depends.push((default, Object::column(oid, number), DependencyType::Auto));
    }
    access::insert(&PG_ATTRDEF, &rows)
}

/// C: `StoreRelCheck`, `CreateConstraintEntry`.
fn insert_checks(spec: &CreateSpec, oid: Oid, depends: &mut Depends) -> Result<()> {
    let mut rows = Vec::new();
    for check in &spec.checks {
        let id = new_oid()?;
        rows.push(check_row(check, id, oid, spec.schema).to_datums());
        let constraint = Object { class: PG_CONSTRAINT.oid, id, sub: 0 };
        for column in &check.columns {
            depends.push((constraint, Object::column(oid, *column), DependencyType::Auto));
        }
        if check.columns.is_empty() {
            depends.push((constraint, Object::relation(oid), DependencyType::Auto));
        }
    }
    access::insert(&PG_CONSTRAINT, &rows)
}

fn check_row(check: &CheckSpec, id: Oid, relation: Oid, schema: Oid) -> PgConstraintRow {
    PgConstraintRow {
        oid: id,
        conname: check.name.clone(),
        connamespace: schema,
        contype: b'c',
        condeferrable: false,
        condeferred: false,
        convalidated: true,
        conrelid: relation,
        contypid: Oid::INVALID,
        conindid: Oid::INVALID,
        conparentid: Oid::INVALID,
        confrelid: Oid::INVALID,
        confupdtype: b' ',
        confdeltype: b' ',
        confmatchtype: b' ',
        conislocal: true,
        coninhcount: 0,
        connoinherit: check.no_inherit,
        conkey: (!check.columns.is_empty()).then(|| check.columns.clone()),
        confkey: None,
        conpfeqop: None,
        conppeqop: None,
        conffeqop: None,
        confdelsetcols: None,
        conexclop: None,
        conbin: Some(check.expression.clone()),
    }
}

fn insert_depends(depends: &Depends) -> Result<()> {
    let rows: Vec<_> =
        depends.iter().filter_map(|(needs, needed, kind)| dependency::row(*needs, *needed, *kind)).collect();
    access::insert(&PG_DEPEND, &rows)
}

/// A name for a CHECK constraint without one: `table_column_check`, or `table_check`, with a number behind if `taken`
/// says so. C: `ChooseConstraintName`.
pub fn choose_check_name(table: &str, column: Option<&str>, taken: impl Fn(&str) -> bool) -> String {
    for number in 0.. {
        let suffix = if number == 0 { "check".to_owned() } else { format!("check{number}") };
        let name = row_type::make_object_name(table, column, &suffix);
        if !taken(&name) {
            return name;
        }
    }
    String::new()
}

/// Removes a table: its rows in all catalogs now, its files at commit. The caller has locked it AccessExclusive, has
/// checked rights, and has dealt with what depends on it. C: `heap_drop_with_catalog`.
///
/// # Errors
/// If it is not there; what the catalogs say.
pub fn drop_relation(oid: Oid) -> Result<()> {
    let relation = relation::open_locked(oid)?;
    let row_type = relation.class.reltype;
    let array_type = syscache::type_row(row_type)?.map_or(Oid::INVALID, |row| row.typarray);
    for default in access::rows_where(&PG_ATTRDEF, 1, is_oid(oid), PgAttrdefRow::from_datums)? {
        dependency::forget(Object { class: PG_ATTRDEF.oid, id: default.1.oid, sub: 0 })?;
        access::delete(&PG_ATTRDEF, default.0)?;
    }
    let constraints =
        access::rows_where(&PG_CONSTRAINT, relcache::CONRELID, is_oid(oid), PgConstraintRow::from_datums)?;
    for (id, constraint) in constraints {
        dependency::forget(Object { class: PG_CONSTRAINT.oid, id: constraint.oid, sub: 0 })?;
        access::delete(&PG_CONSTRAINT, id)?;
    }
    access::delete_where(&PG_ATTRIBUTE, 0, is_oid(oid))?;
    for ty in [array_type, row_type].into_iter().filter(|ty| ty.is_valid()) {
        dependency::forget(Object::type_of(ty))?;
        access::delete_where(&PG_TYPE, 0, is_oid(ty))?;
    }
    dependency::forget(Object::relation(oid))?;
    access::delete_where(&PG_CLASS, 0, is_oid(oid))?;
    pending::drop_storage(relation.table.node);
    inval::register_relcache(oid);
    Ok(())
}

/// Gives a table new, empty files; the old ones go away at commit. The caller has locked it AccessExclusive.
/// C: `RelationSetNewRelfilenode`, `ExecuteTruncateGuts`.
///
/// # Errors
/// As [`create_relation`]; 0A000 for catalogs.
pub fn truncate_relation(oid: Oid) -> Result<()> {
    let relation = relation::open_locked(oid)?;
    if crate::tables::find(oid).is_some() {
        let name = relation.name();
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "permission denied: \"{name}\" is a system catalog"
        ));
    }
    let node = new_file_node(relation.class.reltablespace)?;
    pending::create_storage(node, relation.class.relpersistence)?;
    pending::drop_storage(relation.table.node);
    let (frozen_xid, min_multi) = freeze_limits()?;
    change_class(oid, |class| {
        class.relfilenode = node.rel;
        class.relpages = 0;
        class.reltuples = -1.0;
        class.relallvisible = 0;
        class.relfrozenxid = frozen_xid;
        class.relminmxid = Xid(min_multi.0);
    })?;
    inval::register_relcache(oid);
    Ok(())
}

/// Changes a relation's row of pg_class, within the transaction.
///
/// # Errors
/// XX000 if there is no such row; what the heap says.
pub fn change_class(oid: Oid, change: impl FnOnce(&mut PgClassRow)) -> Result<()> {
    let (id, mut class) = find_class(oid)?;
    change(&mut class);
    access::update(&PG_CLASS, id, &class.to_datums())?;
    inval::register_relcache(oid);
    Ok(())
}

fn find_class(oid: Oid) -> Result<(access::RowId, PgClassRow)> {
    let found = access::rows(&PG_CLASS, is_oid(oid), PgClassRow::from_datums)?;
    let missing = || error!(SqlState::INTERNAL_ERROR, "could not find tuple for relation {oid}");
    found.into_iter().next().ok_or_else(missing)
}

/// What VACUUM or ANALYZE found out about a table. C: arguments of `vac_update_relstats`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelationStats {
    /// Blocks.
    pub pages: u32,
    /// Rows.
    pub tuples: f32,
    /// Blocks marked all-visible.
    pub all_visible: u32,
    /// New `relfrozenxid`, if it moved on.
    pub frozen_xid: Option<Xid>,
    /// New `relminmxid`, if it moved on.
    pub min_multi: Option<MultiXactId>,
}

/// Writes them into pg_class in place: at once visible to all, and never undone. C: `vac_update_relstats`.
///
/// # Errors
/// XX000 if the table's row is gone; what the heap says.
pub fn update_stats(oid: Oid, stats: &RelationStats) -> Result<()> {
    let (id, mut class) = find_class(oid)?;
    let before = class.clone();
    class.relpages = stats.pages as i32;
    class.reltuples = stats.tuples;
    class.relallvisible = stats.all_visible as i32;
    if let Some(xid) = stats.frozen_xid.filter(|xid| class.relfrozenxid.precedes(*xid)) {
        class.relfrozenxid = xid;
    }
    if let Some(multi) = stats.min_multi.filter(|multi| MultiXactId(class.relminmxid.0).precedes(*multi)) {
        class.relminmxid = Xid(multi.0);
    }
    let same = before.relpages == class.relpages
        && before.reltuples.to_bits() == class.reltuples.to_bits()
        && before.relallvisible == class.relallvisible
        && before.relfrozenxid == class.relfrozenxid
        && before.relminmxid == class.relminmxid;
    if same {
        return Ok(());
    }
    access::update_in_place(&PG_CLASS, id, &class.to_datums())?;
    inval::register_relcache(oid);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checks() {
        assert_eq!(choose_check_name("t", Some("a"), |_| false), "t_a_check");
        assert_eq!(choose_check_name("t", None, |name| name == "t_check"), "t_check1");
    }
}
