//! Rows of pg_attribute.
//!
//! C counterpart: catalog/heap.c (`CheckAttributeNamesTypes`, `SystemAttributeDefinition`, `AddNewAttributeTuples`).

use common::{Oid, SqlState};
use elog::{Result, error};
use types::{Datum, TypeKind, oid};

use crate::create::ColumnSpec;
use crate::rows::PgAttributeRow;
use crate::type_facts::TypeFacts;

/// Columns that every table has without being told: name, type, number.
pub const SYSTEM_COLUMNS: [(&str, Oid, i16); 6] = [
    ("ctid", oid::TID, -1),
    ("xmin", oid::XID, -2),
    ("cmin", oid::CID, -3),
    ("xmax", oid::XID, -4),
    ("cmax", oid::CID, -5),
    ("tableoid", oid::OID, -6),
];

/// A column that may be NULL and has no default, in a relation of its own.
pub(crate) fn row(relation: Oid, name: &str, ty: Oid, number: i16, facts: TypeFacts) -> PgAttributeRow {
    PgAttributeRow {
        attrelid: relation,
        attname: name.to_owned(),
        atttypid: ty,
        attstattarget: -1,
        attlen: facts.len,
        attnum: number,
        attndims: 0,
        attcacheoff: -1,
        atttypmod: -1,
        attbyval: facts.by_val,
        attalign: facts.align,
        attstorage: facts.storage,
        attcompression: 0,
        attnotnull: false,
        atthasdef: false,
        atthasmissing: false,
        attidentity: 0,
        attgenerated: 0,
        attisdropped: false,
        attislocal: true,
        attinhcount: 0,
        attcollation: facts.collation,
        attacl: Datum::Null,
        attoptions: None,
        attfdwoptions: None,
        attmissingval: Datum::Null,
    }
}

/// The system columns of a relation.
pub(crate) fn system_rows(relation: Oid) -> impl Iterator<Item = PgAttributeRow> {
    SYSTEM_COLUMNS.into_iter().map(move |(name, ty, number)| {
        let mut row = row(relation, name, ty, number, TypeFacts::of(ty));
        row.attstattarget = 0;
        row.attnotnull = true;
        row
    })
}

/// No name twice, none of a system column, no column of a pseudo-type. C: `CheckAttributeNamesTypes`.
pub(crate) fn check_names(columns: &[ColumnSpec]) -> Result<()> {
    for (i, column) in columns.iter().enumerate() {
        let name = &column.name;
        if SYSTEM_COLUMNS.iter().any(|(system, ..)| system == name) {
            return Err(error!(
                SqlState::DUPLICATE_COLUMN,
                "column name \"{name}\" conflicts with a system column name"
            ));
        }
        if columns[..i].iter().any(|earlier| earlier.name == *name) {
            return Err(error!(SqlState::DUPLICATE_COLUMN, "column \"{name}\" specified more than once"));
        }
    }
    columns.iter().try_for_each(check_type)
}

/// C: `CheckAttributeType`.
fn check_type(column: &ColumnSpec) -> Result<()> {
    let Some(info) = types::type_info(column.type_id) else { return Ok(()) };
    if info.kind == TypeKind::Pseudo {
        return Err(error!(
            SqlState::INVALID_TABLE_DEFINITION,
            "column \"{}\" has pseudo-type {}",
            column.name,
            types::format_type(column.type_id, -1)
        ));
    }
    Ok(())
}
