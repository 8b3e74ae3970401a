//! What PostgreSQL 15's system catalogs are: names, OIDs and columns of all 64 of them.
//!
//! `initdb` makes the files from these declarations, the relation cache uses them to read the catalogs that it
//! would otherwise need in order to read itself. What follows from a column's type (length, alignment, storage)
//! is not repeated here: [`Catalog::desc`] and the bootstrap rows derive it.
//!
//! C counterpart: the `CATALOG(...)` structs of catalog/pg_*.h; the generated schemapg.h.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use common::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE, Oid, RelFileNode};
use heap::{Attribute, TupleDesc};

use crate::type_facts::TypeFacts;

mod core;
mod functions;
mod shared;

pub use core::*;
pub use functions::*;
pub use shared::*;

/// Collation `C`: that of all columns of catalogs that have one. C: `C_COLLATION_OID`.
pub const C_COLLATION: Oid = Oid(950);
/// Collation `default`: the database's. C: `DEFAULT_COLLATION_OID`.
pub const DEFAULT_COLLATION: Oid = Oid(100);

/// A column of a catalog.
#[derive(Debug)]
pub struct Column {
    /// `attname`.
    pub name: &'static str,
    /// `atttypid`.
    pub ty: Oid,
    /// `attnotnull`.
    pub not_null: bool,
}

/// A catalog.
#[derive(Debug)]
pub struct Catalog {
    /// Its OID, and its relfilenode in a new cluster.
    pub oid: Oid,
    /// `relname`.
    pub name: &'static str,
    /// OID of its row type.
    pub row_type: Oid,
    /// OID of the array type over the row type.
    pub array_type: Oid,
    /// Whether all databases have it in common: its files are in `global`.
    pub shared: bool,
    /// Whether the relation map knows its file and pg_class does not. C: `RelationIsMapped`.
    pub mapped: bool,
    /// The columns.
    pub columns: &'static [Column],
}

const fn col(name: &'static str, ty: Oid) -> Column {
    Column { name, ty, not_null: true }
}

const fn opt(name: &'static str, ty: Oid) -> Column {
    Column { name, ty, not_null: false }
}

const fn catalog(
    oid: u32,
    name: &'static str,
    row_type: u32,
    array_type: u32,
    columns: &'static [Column],
) -> Catalog {
    Catalog {
        oid: Oid(oid),
        name,
        row_type: Oid(row_type),
        array_type: Oid(array_type),
        shared: false,
        mapped: false,
        columns,
    }
}

const fn mapped(
    oid: u32,
    name: &'static str,
    row_type: u32,
    array_type: u32,
    columns: &'static [Column],
) -> Catalog {
    let mut catalog = catalog(oid, name, row_type, array_type, columns);
    catalog.mapped = true;
    catalog
}

const fn shared(
    oid: u32,
    name: &'static str,
    row_type: u32,
    array_type: u32,
    columns: &'static [Column],
) -> Catalog {
    let mut catalog = mapped(oid, name, row_type, array_type, columns);
    catalog.shared = true;
    catalog
}

/// Every catalog, by OID.
pub static ALL: &[&Catalog] = &[
    &PG_DEFAULT_ACL,
    &PG_TABLESPACE,
    &PG_SHDEPEND,
    &PG_TYPE,
    &PG_ATTRIBUTE,
    &PG_PROC,
    &PG_CLASS,
    &PG_AUTHID,
    &PG_AUTH_MEMBERS,
    &PG_DATABASE,
    &PG_FOREIGN_SERVER,
    &PG_USER_MAPPING,
    &PG_SEQUENCE,
    &PG_FOREIGN_DATA_WRAPPER,
    &PG_SHDESCRIPTION,
    &PG_AGGREGATE,
    &PG_AM,
    &PG_AMOP,
    &PG_AMPROC,
    &PG_ATTRDEF,
    &PG_CAST,
    &PG_CONSTRAINT,
    &PG_CONVERSION,
    &PG_DEPEND,
    &PG_DESCRIPTION,
    &PG_INDEX,
    &PG_INHERITS,
    &PG_LANGUAGE,
    &PG_LARGEOBJECT,
    &PG_NAMESPACE,
    &PG_OPCLASS,
    &PG_OPERATOR,
    &PG_REWRITE,
    &PG_STATISTIC,
    &PG_TRIGGER,
    &PG_OPFAMILY,
    &PG_DB_ROLE_SETTING,
    &PG_LARGEOBJECT_METADATA,
    &PG_EXTENSION,
    &PG_FOREIGN_TABLE,
    &PG_POLICY,
    &PG_PARTITIONED_TABLE,
    &PG_STATISTIC_EXT,
    &PG_INIT_PRIVS,
    &PG_STATISTIC_EXT_DATA,
    &PG_COLLATION,
    &PG_EVENT_TRIGGER,
    &PG_ENUM,
    &PG_RANGE,
    &PG_TRANSFORM,
    &PG_SHSECLABEL,
    &PG_SECLABEL,
    &PG_TS_DICT,
    &PG_TS_PARSER,
    &PG_TS_CONFIG,
    &PG_TS_CONFIG_MAP,
    &PG_TS_TEMPLATE,
    &PG_REPLICATION_ORIGIN,
    &PG_SUBSCRIPTION,
    &PG_SUBSCRIPTION_REL,
    &PG_PUBLICATION,
    &PG_PUBLICATION_REL,
    &PG_PUBLICATION_NAMESPACE,
    &PG_PARAMETER_ACL,
];

/// The catalog with this OID.
pub fn find(oid: Oid) -> Option<&'static Catalog> {
    ALL.binary_search_by_key(&oid, |catalog| catalog.oid).ok().map(|i| ALL[i])
}

/// The catalog with this name.
pub fn find_name(name: &str) -> Option<&'static Catalog> {
    ALL.iter().find(|catalog| catalog.name == name).copied()
}

/// Is this the OID of a catalog that all databases have in common? C: `IsSharedRelation`.
pub fn is_shared(oid: Oid) -> bool {
    find(oid).is_some_and(|catalog| catalog.shared)
}

impl Catalog {
    /// Its tablespace as pg_class says it: 0 is the database's own.
    pub fn tablespace(&self) -> Oid {
        if self.shared { GLOBAL_TABLESPACE } else { Oid::INVALID }
    }

    /// Its files in a new database.
    pub fn initial_node(&self, database: Oid) -> RelFileNode {
        if self.shared {
            RelFileNode { spc: GLOBAL_TABLESPACE, db: Oid::INVALID, rel: self.oid }
        } else {
            RelFileNode { spc: DEFAULT_TABLESPACE, db: database, rel: self.oid }
        }
    }

    /// Place of a column in the row, from 0.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The rows' layout; made once a process. C: `Desc_pg_class` and its like, `formrdesc`.
    pub fn desc(&self) -> Rc<TupleDesc> {
        thread_local! {
            static DESCS: RefCell<HashMap<Oid, Rc<TupleDesc>>> = RefCell::default();
        }
        if let Some(found) = DESCS.with_borrow(|descs| descs.get(&self.oid).cloned()) {
            return found;
        }
        let attrs = self.columns.iter().zip(1..).map(|(column, num)| column.attribute(num)).collect();
        let desc = Rc::new(TupleDesc::with_type(attrs, self.row_type));
        DESCS.with_borrow_mut(|descs| descs.insert(self.oid, desc.clone()));
        desc
    }
}

impl Column {
    /// As pg_attribute describes it.
    pub fn attribute(&self, num: i16) -> Attribute {
        let facts = TypeFacts::of(self.ty);
        Attribute {
            name: Rc::from(self.name),
            type_id: self.ty,
            typmod: -1,
            len: facts.len,
            num,
            by_val: facts.by_val,
            align: facts.align,
            storage: facts.storage,
            not_null: self.not_null,
            has_default: false,
            is_dropped: false,
            missing: None,
            collation: if facts.collation.is_valid() { C_COLLATION } else { Oid::INVALID },
        }
    }
}
