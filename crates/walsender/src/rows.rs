//! Results of replication commands: columns of a few types, and at most one row.
//!
//! C counterpart: `DestRemoteSimple`, printsimple.c.

use common::Oid;
use libpq::Port;
use libpq::message::reply::{self, DataRow, Field};

/// What a column holds; all go as text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text,
    Int4,
    Int8,
}

impl Kind {
    /// OID and length of the type.
    fn type_of(self) -> (Oid, i16) {
        match self {
            Kind::Text => (Oid(25), -1),
            Kind::Int4 => (Oid(23), 4),
            Kind::Int8 => (Oid(20), 8),
        }
    }
}

/// C: `printsimple_startup`.
pub(crate) fn columns(port: &mut Port, columns: &[(&str, Kind)]) {
    columns_with(port, columns, -1);
}

/// The same with another type modifier: TIMELINE_HISTORY says 0 where the others say "none".
pub(crate) fn columns_with(port: &mut Port, columns: &[(&str, Kind)], typmod: i32) {
    let fields = columns.iter().map(|(name, kind)| {
        let (type_oid, type_len) = kind.type_of();
        Field { name, table: Oid::INVALID, column: 0, type_oid, type_len, typmod, format: 0 }
    });
    reply::row_description(port.out(), fields);
}

/// C: `printsimple`.
pub(crate) fn row(port: &mut Port, values: &[Option<&str>]) {
    let values: Vec<_> = values.iter().map(|value| value.map(str::as_bytes)).collect();
    row_of_bytes(port, &values);
}

/// The same for values that need not be in any encoding.
pub(crate) fn row_of_bytes(port: &mut Port, values: &[Option<&[u8]>]) {
    let mut row = DataRow::begin(port.out(), values.len());
    for value in values {
        match value {
            Some(bytes) => row.bytes(bytes),
            None => row.null(),
        }
    }
    row.finish();
}
