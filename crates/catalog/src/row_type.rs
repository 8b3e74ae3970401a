//! The types that a table brings along: its row type and the array type over that; and names made from other names.
//!
//! C counterpart: catalog/pg_type.c (`TypeCreate` as heap.c calls it), `makeObjectName` of commands/indexcmds.c.

use common::Oid;
use common::version::NAMEDATALEN;
use types::Datum;

use crate::rows::PgTypeRow;
use crate::type_facts::TypeFunctions;

/// What the types take from their table.
pub(crate) struct RowType<'a> {
    pub(crate) relation: Oid,
    pub(crate) name: &'a str,
    pub(crate) schema: Oid,
    pub(crate) owner: Oid,
}

impl RowType<'_> {
    /// The row type.
    pub(crate) fn row(&self, oid: Oid, array: Oid) -> PgTypeRow {
        let functions = TypeFunctions::of_row_type();
        PgTypeRow {
            typtype: b'c',
            typcategory: b'C',
            typrelid: self.relation,
            typarray: array,
            ..self.common(oid, self.name, functions)
        }
    }

    /// The array type over it.
    pub(crate) fn array_row(&self, oid: Oid, elem: Oid, name: &str) -> PgTypeRow {
        let functions = TypeFunctions::array_of(elem);
        PgTypeRow { typtype: b'b', typcategory: b'A', typelem: elem, ..self.common(oid, name, functions) }
    }

    fn common(&self, oid: Oid, name: &str, functions: TypeFunctions) -> PgTypeRow {
        PgTypeRow {
            oid,
            typname: name.to_owned(),
            typnamespace: self.schema,
            typowner: self.owner,
            typlen: -1,
            typbyval: false,
            typtype: b'b',
            typcategory: b'U',
            typispreferred: false,
            typisdefined: true,
            typdelim: b',',
            typrelid: Oid::INVALID,
            typsubscript: functions.subscript,
            typelem: Oid::INVALID,
            typarray: Oid::INVALID,
            typinput: functions.input,
            typoutput: functions.output,
            typreceive: functions.receive,
            typsend: functions.send,
            typmodin: functions.modin,
            typmodout: functions.modout,
            typanalyze: functions.analyze,
            typalign: b'd',
            typstorage: b'x',
            typnotnull: false,
            typbasetype: Oid::INVALID,
            typtypmod: -1,
            typndims: 0,
            typcollation: Oid::INVALID,
            typdefaultbin: None,
            typdefault: None,
            typacl: Datum::Null,
        }
    }
}

/// Cuts a name to what a `name` holds, between characters. C: `truncate_identifier`, `pg_mbcliplen`.
pub(crate) fn truncate(mut name: String) -> String {
    while name.len() >= NAMEDATALEN {
        name.pop();
    }
    name
}

/// `name1_name2_label`, the longer of the names cut until it fits. C: `makeObjectName`.
pub fn make_object_name(name1: &str, name2: Option<&str>, label: &str) -> String {
    let overhead = label.len() + 1 + name2.map_or(0, |_| 1);
    let available = (NAMEDATALEN - 1).saturating_sub(overhead);
    let (mut first, mut second) = (name1.to_owned(), name2.unwrap_or_default().to_owned());
    while first.len() + second.len() > available {
        if first.len() > second.len() {
            first.pop()
        } else {
            second.pop()
        };
    }
    match name2 {
        Some(_) => format!("{first}_{second}_{label}"),
        None => format!("{first}_{label}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_names_fit() {
        assert_eq!(make_object_name("t", Some("a"), "check"), "t_a_check");
        let long = make_object_name(&"x".repeat(63), Some(&"y".repeat(40)), "check");
        assert_eq!(long.len(), 63);
        assert!(long.ends_with("y_check"));
        assert_eq!(truncate("é".repeat(40)).len(), 62);
    }
}
