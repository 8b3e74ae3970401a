//! Rows of pg_class and pg_attribute about the catalogs themselves.

use ::types::Datum;
use common::{Oid, Xid};

use super::Row;
use crate::attribute;
use crate::create::HEAP_AM;
use crate::namespace::PG_CATALOG;
use crate::predefined::BOOTSTRAP_SUPERUSER;
use crate::rows::PgClassRow;
use crate::tables::{ALL, Catalog};
use crate::type_facts::TypeFacts;

/// pg_class about a catalog, in a new cluster.
pub fn class_row(catalog: &Catalog) -> PgClassRow {
    PgClassRow {
        oid: catalog.oid,
        relname: catalog.name.to_owned(),
        relnamespace: PG_CATALOG,
        reltype: catalog.row_type,
        reloftype: Oid::INVALID,
        relowner: BOOTSTRAP_SUPERUSER,
        relam: HEAP_AM,
        relfilenode: if catalog.mapped { Oid::INVALID } else { catalog.oid },
        reltablespace: catalog.tablespace(),
        relpages: 0,
        reltuples: 0.0,
        relallvisible: 0,
        reltoastrelid: Oid::INVALID,
        relhasindex: false,
        relisshared: catalog.shared,
        relpersistence: b'p',
        relkind: b'r',
        relnatts: catalog.columns.len() as i16,
        relchecks: 0,
        relhasrules: false,
        relhastriggers: false,
        relhassubclass: false,
        relrowsecurity: false,
        relforcerowsecurity: false,
        relispopulated: true,
        relreplident: b'n',
        relispartition: false,
        relrewrite: Oid::INVALID,
        relfrozenxid: Xid::FIRST_NORMAL,
        relminmxid: Xid(1),
        relacl: Datum::Null,
        reloptions: None,
        relpartbound: None,
    }
}

/// pg_attribute about all catalogs.
pub(super) fn attribute_rows() -> Vec<Row> {
    ALL.iter().flat_map(|catalog| attributes_of(catalog)).collect()
}

fn attributes_of(catalog: &'static Catalog) -> impl Iterator<Item = Row> {
    let own = catalog.columns.iter().zip(1..).map(|(column, number)| {
        let facts = TypeFacts::of(column.ty);
        let mut row = attribute::row(catalog.oid, column.name, column.ty, number, facts);
        row.attnotnull = column.not_null;
        row.attndims = i32::from(is_array(column.ty));
        if facts.collation.is_valid() {
            row.attcollation = crate::tables::C_COLLATION;
        }
        row.to_datums()
    });
    own.chain(attribute::system_rows(catalog.oid).map(|row| row.to_datums()))
}

fn is_array(ty: Oid) -> bool {
    match ::types::type_info(ty) {
        Some(info) => info.is_array(),
        // Only arrays of row types are unknown there.
        None => true,
    }
}
