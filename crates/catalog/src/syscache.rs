//! Typed lookups in catalogs.
//!
//! There are no indexes yet, so that finding one row means reading its whole catalog. Hence a cache holds the whole
//! catalog: the first lookup reads it with the catalog snapshot, all others are answered from memory, absence
//! included. Any change to the catalog, by whichever session, makes the cache forget all of it (`inval`).
//!
//! C counterpart: utils/cache/catcache.c, syscache.c, lsyscache.c.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use common::Oid;
use elog::Result;

use crate::rows::{
    PgAuthMembersRow, PgAuthidRow, PgClassRow, PgDatabaseRow, PgDbRoleSettingRow, PgNamespaceRow,
    PgTablespaceRow, PgTypeRow,
};
use crate::{access, tables};

/// All rows of a catalog, by OID and by name within a schema.
struct Whole<R> {
    rows: Vec<Rc<R>>,
    by_oid: HashMap<Oid, Rc<R>>,
    /// By schema, then by name.
    by_name: HashMap<Oid, HashMap<Rc<str>, Rc<R>>>,
}

/// A catalog that is cached whole.
trait Cached: Sized + 'static {
    const CATALOG: &'static tables::Catalog;
    fn read(row: &[types::Datum]) -> Result<Self>;
    fn key(&self) -> Key<'_>;
    fn slot(caches: &mut Caches) -> &mut Option<Rc<Whole<Self>>>;
}

/// OID, name, schema.
type Key<'a> = (Oid, &'a str, Oid);

macro_rules! cached {
    ($($row:ident in $slot:ident of $catalog:ident: |$r:ident| $key:expr;)*) => {
        #[derive(Default)]
        struct Caches {
            $($slot: Option<Rc<Whole<$row>>>,)*
        }

        $(impl Cached for $row {
            const CATALOG: &'static tables::Catalog = &tables::$catalog;
            fn read(row: &[types::Datum]) -> Result<$row> {
                $row::from_datums(row)
            }
            fn key(&self) -> Key<'_> {
                let $r = self;
                $key
            }
            fn slot(caches: &mut Caches) -> &mut Option<Rc<Whole<$row>>> {
                &mut caches.$slot
            }
        })*

        /// Forgets one catalog.
        pub(crate) fn forget_catalog(catalog: Oid) {
            CACHES.with_borrow_mut(|caches| {
                $(if catalog == tables::$catalog.oid {
                    caches.$slot = None;
                })*
            });
        }
    };
}

cached! {
    PgClassRow in class of PG_CLASS: |r| (r.oid, &r.relname, r.relnamespace);
    PgTypeRow in types of PG_TYPE: |r| (r.oid, &r.typname, r.typnamespace);
    PgNamespaceRow in namespaces of PG_NAMESPACE: |r| (r.oid, &r.nspname, Oid::INVALID);
    PgDatabaseRow in databases of PG_DATABASE: |r| (r.oid, &r.datname, Oid::INVALID);
    PgAuthidRow in roles of PG_AUTHID: |r| (r.oid, &r.rolname, Oid::INVALID);
    PgAuthMembersRow in members of PG_AUTH_MEMBERS: |r| (r.roleid, "", r.member);
    PgTablespaceRow in tablespaces of PG_TABLESPACE: |r| (r.oid, &r.spcname, Oid::INVALID);
    PgDbRoleSettingRow in settings of PG_DB_ROLE_SETTING: |r| (r.setdatabase, "", r.setrole);
}

thread_local! {
    static CACHES: RefCell<Caches> = RefCell::default();
}

/// Forgets everything.
pub(crate) fn forget_all() {
    CACHES.take();
}

/// Whether roles and memberships can be had without reading.
pub(crate) fn has_roles() -> bool {
    CACHES.with_borrow(|caches| caches.roles.is_some() && caches.members.is_some())
}

/// Whether databases can be had without reading.
pub(crate) fn has_databases() -> bool {
    CACHES.with_borrow(|caches| caches.databases.is_some())
}

fn whole<R: Cached>() -> Result<Rc<Whole<R>>> {
    if let Some(found) = CACHES.with_borrow_mut(|caches| R::slot(caches).clone()) {
        return Ok(found);
    }
    let generation = crate::inval::generation();
    let mut whole = Whole { rows: Vec::new(), by_oid: HashMap::new(), by_name: HashMap::new() };
    access::scan(
        R::CATALOG,
        |_| true,
        |_, row| {
            let row = Rc::new(R::read(row)?);
            let (oid, name, schema) = row.key();
            whole.by_oid.insert(oid, row.clone());
            whole.by_name.entry(schema).or_default().insert(Rc::from(name), row.clone());
            whole.rows.push(row);
            Ok(())
        },
    )?;
    let whole = Rc::new(whole);
    // If something was invalidated meanwhile, this answer is good for this question only.
    if generation == crate::inval::generation() {
        CACHES.with_borrow_mut(|caches| *R::slot(caches) = Some(whole.clone()));
    }
    Ok(whole)
}

fn by_oid<R: Cached>(oid: Oid) -> Result<Option<Rc<R>>> {
    Ok(whole::<R>()?.by_oid.get(&oid).cloned())
}

fn by_name<R: Cached>(name: &str, schema: Oid) -> Result<Option<Rc<R>>> {
    Ok(whole::<R>()?.by_name.get(&schema).and_then(|names| names.get(name)).cloned())
}

/// A relation. C: `RELOID`.
///
/// # Errors
/// Here and below: what reading the catalog says.
pub fn class(oid: Oid) -> Result<Option<Rc<PgClassRow>>> {
    by_oid(oid)
}

/// The relation with this name in a schema. C: `RELNAMENSP`, `get_relname_relid`.
pub fn class_by_name(name: &str, schema: Oid) -> Result<Option<Rc<PgClassRow>>> {
    by_name(name, schema)
}

/// Every relation.
pub fn classes() -> Result<Vec<Rc<PgClassRow>>> {
    Ok(whole::<PgClassRow>()?.rows.clone())
}

/// A type. C: `TYPEOID`.
pub fn type_row(oid: Oid) -> Result<Option<Rc<PgTypeRow>>> {
    by_oid(oid)
}

/// The type with this name in a schema. C: `TYPENAMENSP`.
pub fn type_by_name(name: &str, schema: Oid) -> Result<Option<Rc<PgTypeRow>>> {
    by_name(name, schema)
}

/// A schema. C: `NAMESPACEOID`.
pub fn namespace(oid: Oid) -> Result<Option<Rc<PgNamespaceRow>>> {
    by_oid(oid)
}

/// The schema with this name. C: `NAMESPACENAME`.
pub fn namespace_by_name(name: &str) -> Result<Option<Rc<PgNamespaceRow>>> {
    by_name(name, Oid::INVALID)
}

/// A database. C: `DATABASEOID`.
pub fn database(oid: Oid) -> Result<Option<Rc<PgDatabaseRow>>> {
    by_oid(oid)
}

/// The database with this name. C: `get_database_oid`.
pub fn database_by_name(name: &str) -> Result<Option<Rc<PgDatabaseRow>>> {
    by_name(name, Oid::INVALID)
}

/// Every database.
pub fn databases() -> Result<Vec<Rc<PgDatabaseRow>>> {
    Ok(whole::<PgDatabaseRow>()?.rows.clone())
}

/// A role. C: `AUTHOID`.
pub fn role(oid: Oid) -> Result<Option<Rc<PgAuthidRow>>> {
    by_oid(oid)
}

/// The role with this name. C: `AUTHNAME`.
pub fn role_by_name(name: &str) -> Result<Option<Rc<PgAuthidRow>>> {
    by_name(name, Oid::INVALID)
}

/// Every role.
pub fn roles() -> Result<Vec<Rc<PgAuthidRow>>> {
    Ok(whole::<PgAuthidRow>()?.rows.clone())
}

/// Every membership. C: `AUTHMEMMEMROLE`.
pub fn memberships() -> Result<Vec<Rc<PgAuthMembersRow>>> {
    Ok(whole::<PgAuthMembersRow>()?.rows.clone())
}

/// A tablespace. C: `TABLESPACEOID`.
pub fn tablespace(oid: Oid) -> Result<Option<Rc<PgTablespaceRow>>> {
    by_oid(oid)
}

/// The tablespace with this name. C: `get_tablespace_oid`.
pub fn tablespace_by_name(name: &str) -> Result<Option<Rc<PgTablespaceRow>>> {
    by_name(name, Oid::INVALID)
}

/// Every tablespace.
pub fn tablespaces() -> Result<Vec<Rc<PgTablespaceRow>>> {
    Ok(whole::<PgTablespaceRow>()?.rows.clone())
}

/// Settings kept for a role in a database; the invalid OID stands for all. C: `ApplySetting`.
pub fn db_role_settings(database: Oid, role: Oid) -> Result<Vec<String>> {
    let all = whole::<PgDbRoleSettingRow>()?;
    let found = all.rows.iter().find(|row| row.setdatabase == database && row.setrole == role);
    Ok(found.and_then(|row| row.setconfig.clone()).unwrap_or_default())
}
