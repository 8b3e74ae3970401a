//! Schemas: the search path, and which object a name without schema means.
//!
//! The path comes from the setting `search_path`. `pg_catalog` is searched first unless the path names it;
//! `"$user"` stands for the schema named like the current role. Schemas that do not exist are passed over.
//! There are no temporary tables yet, hence no `pg_temp`.
//!
//! C counterpart: catalog/namespace.c.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};

use crate::{inval, syscache};

/// Schema `pg_catalog`. C: `PG_CATALOG_NAMESPACE`.
pub const PG_CATALOG: Oid = Oid(11);
/// Schema `pg_toast`. C: `PG_TOAST_NAMESPACE`.
pub const PG_TOAST: Oid = Oid(99);
/// Schema `public`. C: `PG_PUBLIC_NAMESPACE`.
pub const PUBLIC: Oid = Oid(2200);

/// The path, resolved under one setting, role and state of the catalogs.
#[derive(Clone, Default)]
struct SearchPath {
    setting: String,
    role: Oid,
    generation: u64,
    /// Schemas in the order of search, `pg_catalog` included.
    schemas: Rc<[Oid]>,
    /// The first schema that the setting names and that exists: where new objects go.
    creation: Oid,
}

thread_local! {
    static PATH: RefCell<SearchPath> = RefCell::default();
    static CURRENT_ROLE: Cell<fn() -> Oid> = const { Cell::new(|| Oid::INVALID) };
}

/// Says who knows the current role (for `"$user"`). C: `GetUserId`.
pub fn set_current_role_source(source: fn() -> Oid) {
    CURRENT_ROLE.set(source);
}

fn resolve() -> Result<(Rc<[Oid]>, Oid)> {
    let setting = guc::vars::SEARCH_PATH.get();
    let role = CURRENT_ROLE.get()();
    let cached = PATH.with_borrow(|path| {
        let fresh = path.generation == inval::generation() && path.role == role;
        (fresh && path.setting == *setting).then(|| (path.schemas.clone(), path.creation))
    });
    if let Some(path) = cached {
        return Ok(path);
    }
    let generation = inval::generation();
    let mut schemas = Vec::new();
    for name in guc::split_identifiers(&setting).unwrap_or_default() {
        let oid = match name.as_str() {
            "$user" => user_schema(role)?,
            "pg_temp" => None,
            name => schema_oid(name)?,
        };
        schemas.extend(oid.filter(|oid| !schemas.contains(oid)));
    }
    let creation = schemas.first().copied().unwrap_or_default();
    if !schemas.contains(&PG_CATALOG) {
        schemas.insert(0, PG_CATALOG);
    }
    let schemas: Rc<[Oid]> = schemas.into();
    let setting = setting.to_string();
    PATH.set(SearchPath { setting, role, generation, schemas: schemas.clone(), creation });
    Ok((schemas, creation))
}

fn user_schema(role: Oid) -> Result<Option<Oid>> {
    match syscache::role(role)? {
        Some(role) => schema_oid(&role.rolname),
        None => Ok(None),
    }
}

/// The schema of this name. C: `get_namespace_oid(…, true)`.
///
/// # Errors
/// Here and below: what reading catalogs says.
pub fn schema_oid(name: &str) -> Result<Option<Oid>> {
    Ok(syscache::namespace_by_name(name)?.map(|schema| schema.oid))
}

/// The schema of this name. C: `LookupExplicitNamespace`, `get_namespace_oid(…, false)`.
///
/// # Errors
/// 3F000 `schema "%s" does not exist`; 0A000 for `pg_temp`.
pub fn get_schema(name: &str) -> Result<Oid> {
    if name == "pg_temp" {
        return Err(no_temp_tables());
    }
    schema_oid(name)?.ok_or_else(|| error!(SqlState::INVALID_SCHEMA_NAME, "schema \"{name}\" does not exist"))
}

/// What a temporary table gets instead.
pub fn no_temp_tables() -> elog::PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "temporary tables are not supported yet")
}

/// Schemas in the order of search. C: `fetch_search_path(true)`.
///
/// # Errors
/// What reading catalogs says.
pub fn search_path() -> Result<Rc<[Oid]>> {
    Ok(resolve()?.0)
}

/// The schemas that the setting names and that exist: what `current_schemas(false)` shows.
/// C: `fetch_search_path(false)`.
///
/// # Errors
/// What reading catalogs says.
pub fn explicit_search_path() -> Result<Vec<Oid>> {
    let (schemas, creation) = resolve()?;
    let implicit = schemas.first() == Some(&PG_CATALOG) && creation != PG_CATALOG;
    Ok(schemas.iter().skip(usize::from(implicit)).copied().collect())
}

/// Where an object created under this name goes. C: `RangeVarGetCreationNamespace`.
///
/// # Errors
/// 3F000 `no schema has been selected to create in`, or that the schema does not exist.
pub fn creation_schema(schema: Option<&str>) -> Result<Oid> {
    if let Some(name) = schema {
        return get_schema(name);
    }
    Some(resolve()?.1)
        .filter(|oid| oid.is_valid())
        .ok_or_else(|| error!(SqlState::INVALID_SCHEMA_NAME, "no schema has been selected to create in"))
}

/// The relation that a name means, unlocked. C: `RelnameGetRelid`, `RangeVarGetRelid`.
///
/// # Errors
/// 3F000 if the schema was named and does not exist.
pub fn lookup_relation(schema: Option<&str>, name: &str) -> Result<Option<Oid>> {
    if let Some(schema) = schema {
        return relation_in(name, get_schema(schema)?);
    }
    for schema in search_path()?.iter() {
        if let Some(found) = relation_in(name, *schema)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The relation of this name in a schema. C: `get_relname_relid`.
///
/// # Errors
/// What reading catalogs says.
pub fn relation_in(name: &str, schema: Oid) -> Result<Option<Oid>> {
    Ok(syscache::class_by_name(name, schema)?.map(|class| class.oid))
}

/// The type that a name means. C: `TypenameGetTypid`.
///
/// # Errors
/// 3F000 if the schema was named and does not exist.
pub fn lookup_type(schema: Option<&str>, name: &str) -> Result<Option<Oid>> {
    if let Some(schema) = schema {
        let schema = get_schema(schema)?;
        return Ok(syscache::type_by_name(name, schema)?.map(|found| found.oid));
    }
    for schema in search_path()?.iter() {
        if let Some(found) = syscache::type_by_name(name, *schema)? {
            return Ok(Some(found.oid));
        }
    }
    Ok(None)
}

/// Would the relation be found by its bare name? `None` if it does not exist. C: `pg_table_is_visible`,
/// `RelationIsVisible`.
///
/// # Errors
/// What reading catalogs says.
pub fn relation_is_visible(oid: Oid) -> Result<Option<bool>> {
    let Some(class) = syscache::class(oid)? else { return Ok(None) };
    Ok(Some(lookup_relation(None, &class.relname)? == Some(oid)))
}

/// The same for a type. C: `pg_type_is_visible`.
///
/// # Errors
/// What reading catalogs says.
pub fn type_is_visible(oid: Oid) -> Result<Option<bool>> {
    let Some(found) = syscache::type_row(oid)? else { return Ok(None) };
    Ok(Some(lookup_type(None, &found.typname)? == Some(oid)))
}
