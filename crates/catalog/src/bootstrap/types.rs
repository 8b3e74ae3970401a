//! Rows of pg_type: the built-in types, and the row types of the catalogs.

use ::types::{Datum, TypeInfo, TypeKind, oid};
use common::Oid;

use crate::namespace::PG_CATALOG;
use crate::predefined::BOOTSTRAP_SUPERUSER;
use crate::row_type::RowType;
use crate::rows::PgTypeRow;
use crate::tables::ALL;
use crate::type_facts::{TypeFacts, TypeFunctions};

/// All of them.
pub(crate) fn type_rows() -> Vec<PgTypeRow> {
    let built_in = ::types::type_info::all_types().iter().filter_map(row);
    built_in
        .chain(ALL.iter().flat_map(|catalog| {
            let name = catalog.name;
            let facts =
                RowType { relation: catalog.oid, name, schema: PG_CATALOG, owner: BOOTSTRAP_SUPERUSER };
            let array = facts.array_row(catalog.array_type, catalog.row_type, &format!("_{name}"));
            [facts.row(catalog.row_type, catalog.array_type), array]
        }))
        .collect()
}

fn row(info: &TypeInfo) -> Option<PgTypeRow> {
    let functions = TypeFunctions::of(info.oid)?;
    let facts = TypeFacts::of(info.oid);
    Some(PgTypeRow {
        oid: info.oid,
        typname: info.name.to_owned(),
        typnamespace: PG_CATALOG,
        typowner: BOOTSTRAP_SUPERUSER,
        typlen: info.typlen,
        typbyval: info.typbyval,
        typtype: match info.kind {
            TypeKind::Base => b'b',
            TypeKind::Pseudo => b'p',
            TypeKind::Range => b'r',
            TypeKind::Multirange => b'm',
        },
        typcategory: info.category as u8,
        typispreferred: info.preferred,
        typisdefined: true,
        typdelim: info.delim as u8,
        typrelid: Oid::INVALID,
        typsubscript: functions.subscript,
        typelem: info.elem,
        typarray: info.array,
        typinput: functions.input,
        typoutput: functions.output,
        typreceive: functions.receive,
        typsend: functions.send,
        typmodin: functions.modin,
        typmodout: functions.modout,
        typanalyze: functions.analyze,
        typalign: info.align as u8,
        typstorage: facts.storage,
        typnotnull: false,
        typbasetype: Oid::INVALID,
        typtypmod: -1,
        typndims: 0,
        typcollation: facts.collation,
        typdefaultbin: None,
        typdefault: None,
        typacl: Datum::Null,
    })
}

/// An oidvector: one dimension that begins at 0, also if it is empty. C: `buildoidvector`.
pub(super) fn oid_vector(oids: &[Oid]) -> Datum {
    let dims = vec![::types::Dimension { len: oids.len() as i32, lower: 0 }];
    let values = oids.iter().map(|oid| Datum::Oid(oid.0)).collect();
    Datum::Array(std::rc::Rc::new(::types::ArrayValue { elem: oid::OID, dims, values }))
}
