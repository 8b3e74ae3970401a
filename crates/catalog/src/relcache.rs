//! The relation cache: for each relation's OID what the catalogs say about it, put together.
//!
//! Catalogs themselves are described by `tables`, so that reading one needs no other; only where a mapped one's file
//! is has to be looked up, in the relation map. Anything else is put together from pg_class, pg_attribute,
//! pg_attrdef and pg_constraint.
//!
//! An entry is never changed: who holds one keeps an `Rc` of the relation as it was, and the lock on the relation
//! keeps what matters of it from changing under it.
//!
//! C counterpart: utils/cache/relcache.c (`RelationBuildDesc`, `formrdesc`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use common::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE, Oid, RelFileNode};
use elog::Result;
use heap::{Attribute, Table, TupleDesc};

use crate::access::{self, is_oid};
use crate::relation::{Check, ColumnDefault, Relation};
use crate::rows::{PgAttrdefRow, PgAttributeRow, PgClassRow, PgConstraintRow};
use crate::tables::{self, Catalog};
use crate::{bootstrap, inval, relmapper, syscache};

#[derive(Default)]
struct Cache {
    relations: HashMap<Oid, Rc<Relation>>,
    catalogs: HashMap<Oid, Rc<Table>>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// Forgets one relation; all for the invalid OID. C: `RelationCacheInvalidateEntry`.
pub(crate) fn forget(relation: Oid) {
    if !relation.is_valid() {
        return forget_all();
    }
    CACHE.with_borrow_mut(|cache| {
        cache.relations.remove(&relation);
        cache.catalogs.remove(&relation);
    });
}

/// Forgets everything. C: `RelationCacheInvalidate`.
pub(crate) fn forget_all() {
    CACHE.take();
}

/// Somebody cut these files, or removed them: nobody may look for room behind their end.
pub(crate) fn forget_end(node: RelFileNode) {
    CACHE.with_borrow(|cache| {
        let relations = cache.relations.values().map(|relation| &relation.table);
        for table in relations.chain(cache.catalogs.values()).filter(|table| table.node == node) {
            table.forget_end();
        }
    });
}

/// The relation, if there is one. The caller has locked it. C: `RelationIdGetRelation`.
///
/// # Errors
/// What reading the catalogs says.
pub(crate) fn get(oid: Oid) -> Result<Option<Rc<Relation>>> {
    if let Some(found) = CACHE.with_borrow(|cache| cache.relations.get(&oid).cloned()) {
        return Ok(Some(found));
    }
    let generation = inval::generation();
    let built = match tables::find(oid) {
        Some(catalog) => Some(of_catalog(catalog)?),
        None => match syscache::class(oid)? {
            Some(class) => Some(build(&class)?),
            None => None,
        },
    };
    let Some(relation) = built.map(Rc::new) else { return Ok(None) };
    if generation == inval::generation() {
        CACHE.with_borrow_mut(|cache| cache.relations.insert(oid, relation.clone()));
    }
    Ok(Some(relation))
}

/// A catalog's table. C: the nailed entries made by `formrdesc`.
///
/// # Errors
/// If the relation map cannot be read.
pub(crate) fn catalog_table(catalog: &'static Catalog) -> Result<Rc<Table>> {
    if let Some(found) = CACHE.with_borrow(|cache| cache.catalogs.get(&catalog.oid).cloned()) {
        return Ok(found);
    }
    let mut node = catalog.initial_node(crate::my_database());
    if catalog.mapped {
        node.rel = relmapper::filenode(catalog.oid, catalog.shared)?;
    }
    let table = Rc::new(Table::new(catalog.oid, "pg_catalog", catalog.name, node, catalog.desc()));
    CACHE.with_borrow_mut(|cache| cache.catalogs.insert(catalog.oid, table.clone()));
    Ok(table)
}

/// What VACUUM keeps in pg_class about a catalog is read from there once a database is chosen; nothing else changes.
fn of_catalog(catalog: &'static Catalog) -> Result<Relation> {
    let table = catalog_table(catalog)?;
    let stored = if crate::my_database().is_valid() { syscache::class(catalog.oid)? } else { None };
    let class = stored.map_or_else(|| bootstrap::class_row(catalog), |row| (*row).clone());
    Ok(Relation { desc: table.desc.clone(), table, class, defaults: Vec::new(), checks: Vec::new() })
}

/// Where the files of a relation are. C: `RelationInitPhysicalAddr`.
///
/// # Errors
/// If it is mapped and the map cannot be read.
pub fn file_node(class: &PgClassRow) -> Result<RelFileNode> {
    let spc = if class.reltablespace.is_valid() { class.reltablespace } else { DEFAULT_TABLESPACE };
    let db = if spc == GLOBAL_TABLESPACE { Oid::INVALID } else { crate::my_database() };
    let rel = match class.relfilenode {
        Oid::INVALID => relmapper::filenode(class.oid, class.relisshared)?,
        file => file,
    };
    Ok(RelFileNode { spc, db, rel })
}

fn build(class: &PgClassRow) -> Result<Relation> {
    let oid = class.oid;
    let mut columns = access::rows(&tables::PG_ATTRIBUTE, is_oid(oid), PgAttributeRow::from_datums)?;
    columns.retain(|(_, column)| column.attnum > 0);
    columns.sort_by_key(|(_, column)| column.attnum);
    let has_defaults = columns.iter().any(|(_, column)| column.atthasdef);
    let attrs = columns.into_iter().map(|(_, column)| attribute(&column)).collect();
    let desc = Rc::new(TupleDesc::with_type(attrs, class.reltype));
    let schema = syscache::namespace(class.relnamespace)?;
    let schema = schema.as_ref().map_or("", |schema| &schema.nspname);
    let mut table = Table::new(oid, schema, &class.relname, file_node(class)?, desc.clone());
    table.persistence = class.relpersistence;
    table.fillfactor = fillfactor(class.reloptions.as_deref().unwrap_or_default());
    Ok(Relation {
        table: Rc::new(table),
        defaults: if has_defaults { read_defaults(oid)? } else { Vec::new() },
        checks: if class.relchecks > 0 { read_checks(oid)? } else { Vec::new() },
        desc,
        class: class.clone(),
    })
}

fn attribute(column: &PgAttributeRow) -> Attribute {
    Attribute {
        name: Rc::from(column.attname.as_str()),
        type_id: column.atttypid,
        typmod: column.atttypmod,
        len: column.attlen,
        num: column.attnum,
        by_val: column.attbyval,
        align: column.attalign,
        storage: column.attstorage,
        not_null: column.attnotnull,
        has_default: column.atthasdef,
        is_dropped: column.attisdropped,
        missing: None,
        collation: column.attcollation,
    }
}

fn fillfactor(options: &[String]) -> u16 {
    let found = options.iter().find_map(|option| option.strip_prefix("fillfactor="));
    found.and_then(|text| text.parse().ok()).unwrap_or(heap::DEFAULT_FILLFACTOR)
}

fn read_defaults(oid: Oid) -> Result<Vec<ColumnDefault>> {
    let mut defaults = Vec::new();
    access::scan_column(&tables::PG_ATTRDEF, 1, is_oid(oid), |_, row| {
        let row = PgAttrdefRow::from_datums(row)?;
        defaults.push(ColumnDefault { column: row.adnum, expression: Rc::from(row.adbin.as_str()) });
        Ok(())
    })?;
    defaults.sort_by_key(|default| default.column);
    Ok(defaults)
}

/// Place of `conrelid` in a row of pg_constraint.
pub(crate) const CONRELID: usize = 7;

fn read_checks(oid: Oid) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    access::scan_column(&tables::PG_CONSTRAINT, CONRELID, is_oid(oid), |_, row| {
        let row = PgConstraintRow::from_datums(row)?;
        if row.contype == b'c' {
            checks.push(Check {
                oid: row.oid,
                name: Rc::from(row.conname.as_str()),
                expression: Rc::from(row.conbin.as_deref().unwrap_or_default()),
                no_inherit: row.connoinherit,
                validated: row.convalidated,
            });
        }
        Ok(())
    })?;
    checks.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_columns() {
        assert_eq!(tables::PG_CONSTRAINT.column("conrelid"), Some(CONRELID));
        assert_eq!(tables::PG_ATTRDEF.column("adrelid"), Some(1));
    }

    #[test]
    fn fillfactor_is_an_option() {
        assert_eq!(fillfactor(&["autovacuum_enabled=false".into(), "fillfactor=70".into()]), 70);
        assert_eq!(fillfactor(&[]), 100);
    }
}
