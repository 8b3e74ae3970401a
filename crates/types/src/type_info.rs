//! What there is to know about a type besides its values. C: pg_type, lsyscache.c, format_type.c.

use std::collections::HashMap;
use std::sync::LazyLock;

use common::Oid;

use crate::oid;
use crate::rows::pg_type::TYPES;

/// What sort of type it is. C: `typtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// An ordinary type.
    Base,
    /// Only in function signatures.
    Pseudo,
    /// A range.
    Range,
    /// A multirange.
    Multirange,
}

/// The facts of one type. C: `Form_pg_type`.
#[derive(Debug)]
pub struct TypeInfo {
    /// Its OID.
    pub oid: Oid,
    /// `typname`: `int4`, `_int4`.
    pub name: &'static str,
    /// Bytes, -1 for varlena, -2 for a C string.
    pub typlen: i16,
    /// Whether C passes it in a register.
    pub typbyval: bool,
    /// Base, pseudo, range.
    pub kind: TypeKind,
    /// `typcategory`: `N` numeric, `S` string, `D` date, `A` array ...
    pub category: char,
    /// Whether implicit casts go towards it within its category.
    pub preferred: bool,
    /// What separates its elements in an array's text.
    pub delim: char,
    /// Element type of an array (or fixed vector); invalid otherwise.
    pub elem: Oid,
    /// Type of arrays of it.
    pub array: Oid,
    /// Alignment code: `c`, `s`, `i`, `d`.
    pub align: char,
}

impl TypeInfo {
    /// True for the array types proper (not `name`, `point`, `int2vector`).
    pub fn is_array(&self) -> bool {
        self.typlen == -1 && self.elem.is_valid()
    }
}

#[allow(clippy::too_many_arguments, reason = "a row of a table")]
pub(crate) const fn row(
    oid: Oid,
    name: &'static str,
    typlen: i16,
    typbyval: bool,
    kind: TypeKind,
    category: char,
    preferred: bool,
    delim: char,
    elem: Oid,
    array: Oid,
    align: char,
) -> TypeInfo {
    TypeInfo { oid, name, typlen, typbyval, kind, category, preferred, delim, elem, array, align }
}

/// The type with this OID, if it is a built-in one. A binary search.
pub fn type_info(oid: Oid) -> Option<&'static TypeInfo> {
    TYPES.binary_search_by_key(&oid, |t| t.oid).ok().map(|i| &TYPES[i])
}

/// Every built-in type, by OID.
pub fn all_types() -> &'static [TypeInfo] {
    TYPES
}

/// SQL spellings that are not `typname`s.
const ALIASES: &[(&str, Oid)] = &[
    ("int", oid::INT4),
    ("integer", oid::INT4),
    ("smallint", oid::INT2),
    ("bigint", oid::INT8),
    ("real", oid::FLOAT4),
    ("float", oid::FLOAT8),
    ("double precision", oid::FLOAT8),
    ("decimal", oid::NUMERIC),
    ("dec", oid::NUMERIC),
    ("boolean", oid::BOOL),
    ("character varying", oid::VARCHAR),
    ("char varying", oid::VARCHAR),
    ("character", oid::BPCHAR),
    ("\"char\"", oid::CHAR),
    ("time without time zone", oid::TIME),
    ("time with time zone", oid::TIMETZ),
    ("timestamp without time zone", oid::TIMESTAMP),
    ("timestamp with time zone", oid::TIMESTAMPTZ),
    ("bit varying", oid::VARBIT),
];

static BY_NAME: LazyLock<HashMap<&'static str, Oid>> =
    LazyLock::new(|| TYPES.iter().map(|t| (t.name, t.oid)).chain(ALIASES.iter().copied()).collect());

/// The type with this name: a `typname` (`int4`, `_text`), an SQL spelling (`integer`, `timestamp with time
/// zone`), either with `[]` behind and with `pg_catalog.` in front. As in pg_type, `char` is the one-byte
/// type; the keyword CHAR, which means `bpchar`, is the parser's business.
pub fn type_by_name(name: &str) -> Option<Oid> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    if let Some(found) = BY_NAME.get(name) {
        return Some(*found);
    }
    let element = name.strip_suffix("[]")?.trim_end_matches("[]");
    let array = type_info(type_by_name(element)?)?.array;
    array.is_valid().then_some(array)
}

/// The array type over an element type, or invalid.
pub fn array_type_of(elem: Oid) -> Oid {
    type_info(elem).map_or(Oid::INVALID, |t| t.array)
}

/// The element type of an array type, or invalid. C: `get_element_type`.
pub fn element_type_of(array: Oid) -> Oid {
    type_info(array).filter(|t| t.is_array()).map_or(Oid::INVALID, |t| t.elem)
}

/// A type as messages and psql show it: `integer`, `character varying(10)`, `numeric(10,2)[]`. A `typmod` of
/// -1 is "none". C: `format_type_with_typemod`.
pub fn format_type(ty: Oid, typmod: i32) -> String {
    let Some(info) = type_info(ty) else {
        return if ty.is_valid() { "???".into() } else { "-".into() };
    };
    if info.is_array() && info.category == 'A' {
        return format!("{}[]", format_type(info.elem, typmod));
    }
    let n = typmod - 4;
    match ty {
        oid::BOOL => "boolean".into(),
        oid::INT2 => "smallint".into(),
        oid::INT4 => "integer".into(),
        oid::INT8 => "bigint".into(),
        oid::FLOAT4 => "real".into(),
        oid::FLOAT8 => "double precision".into(),
        oid::CHAR => "\"char\"".into(),
        oid::ANY => "\"any\"".into(),
        oid::BPCHAR if n > 0 => format!("character({n})"),
        oid::BPCHAR if typmod == -1 => "character".into(),
        oid::VARCHAR if n > 0 => format!("character varying({n})"),
        oid::VARCHAR => "character varying".into(),
        oid::NUMERIC if typmod >= 4 => {
            format!("numeric({},{})", n >> 16, ((n & 0x7ff) ^ 1024) - 1024)
        }
        oid::BIT if typmod > 0 => format!("bit({typmod})"),
        oid::BIT => "bit".into(),
        oid::VARBIT if typmod > 0 => format!("bit varying({typmod})"),
        oid::VARBIT => "bit varying".into(),
        oid::TIME => with_precision("time", typmod, " without time zone"),
        oid::TIMETZ => with_precision("time", typmod, " with time zone"),
        oid::TIMESTAMP => with_precision("timestamp", typmod, " without time zone"),
        oid::TIMESTAMPTZ => with_precision("timestamp", typmod, " with time zone"),
        oid::INTERVAL => crate::adt::interval::format_interval_type(typmod),
        _ => info.name.into(),
    }
}

fn with_precision(name: &str, typmod: i32, rest: &str) -> String {
    if typmod >= 0 { format!("{name}({typmod}){rest}") } else { format!("{name}{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_closed() {
        assert!(TYPES.windows(2).all(|w| w[0].oid < w[1].oid));
        for t in TYPES.iter().filter(|t| t.array.is_valid()) {
            assert_eq!(type_info(t.array).unwrap().elem, t.oid, "{}", t.name);
        }
    }

    #[test]
    fn names_both_ways() {
        for (name, oid, shown) in [
            ("int", oid::INT4, "integer"),
            ("int4", oid::INT4, "integer"),
            ("_text", oid::_TEXT, "text[]"),
            ("bigint[]", oid::_INT8, "bigint[]"),
            ("pg_catalog.timestamptz", oid::TIMESTAMPTZ, "timestamp with time zone"),
            ("pg_lsn", oid::PG_LSN, "pg_lsn"),
            ("any", oid::ANY, "\"any\""),
        ] {
            assert_eq!(type_by_name(name), Some(oid), "{name}");
            assert_eq!(format_type(oid, -1), shown);
        }
        assert_eq!(type_by_name("nosuch"), None);
        assert_eq!(format_type(oid::NUMERIC, (10 << 16 | 2) + 4), "numeric(10,2)");
        assert_eq!(format_type(oid::NUMERIC, (2 << 16 | (-3 & 0x7ff)) + 4), "numeric(2,-3)");
        assert_eq!(format_type(oid::_VARCHAR, 14), "character varying(10)[]");
        assert_eq!(format_type(oid::TIMESTAMP, 3), "timestamp(3) without time zone");
        assert_eq!(format_type(Oid(99_999), -1), "???");
    }
}
