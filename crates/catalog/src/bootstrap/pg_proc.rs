//! Rows of pg_proc, pg_aggregate, pg_operator and pg_cast: the functions, operators and casts that this server has.

use ::types::Datum;
use ::types::fmgr::{Builtin, Operator, Registry, Volatility};
use ::types::oid;
use common::Oid;

use super::Row;
use super::types::oid_vector;
use crate::namespace::PG_CATALOG;
use crate::predefined::BOOTSTRAP_SUPERUSER;
use crate::rows::Field;

/// Language `internal`. C: `INTERNALlanguageId`.
const INTERNAL_LANGUAGE: Oid = Oid(12);

fn name(text: &str) -> Datum {
    Datum::text(text)
}

fn some_oid(oid: Oid) -> Datum {
    Datum::Oid(oid.0)
}

/// pg_proc, by OID.
pub(super) fn proc_rows(registry: &Registry) -> Vec<Row> {
    let mut functions: Vec<&Builtin> = registry.functions().collect();
    functions.sort_by_key(|function| function.oid);
    functions.into_iter().map(proc_row).collect()
}

fn proc_row(f: &Builtin) -> Row {
    let kind = if f.is_aggregate() { b'a' } else { b'f' };
    let volatility = match f.volatility {
        Volatility::Immutable => b'i',
        Volatility::Stable => b's',
        Volatility::Volatile => b'v',
    };
    let (all_types, modes, names) = all_args(f);
    vec![
        some_oid(f.oid),
        name(f.name),
        some_oid(PG_CATALOG),
        some_oid(BOOTSTRAP_SUPERUSER),
        some_oid(INTERNAL_LANGUAGE),
        Datum::Float4(1.0),
        Datum::Float4(if f.retset { 1000.0 } else { 0.0 }),
        some_oid(f.variadic),
        some_oid(Oid::INVALID),
        Datum::Char(kind),
        Datum::Bool(false),
        Datum::Bool(false),
        Datum::Bool(f.strict),
        Datum::Bool(f.retset),
        Datum::Char(volatility),
        Datum::Char(b's'),
        Datum::Int2(f.args.len() as i16),
        Datum::Int2(f.defaults.len() as i16),
        some_oid(f.ret),
        oid_vector(f.args),
        all_types,
        modes,
        names,
        defaults(f),
        Datum::Null,
        name(if f.is_aggregate() { "aggregate_dummy" } else { f.name }),
        Datum::Null,
        Datum::Null,
        Datum::Null,
        Datum::Null,
    ]
}

/// `proallargtypes` and `proargmodes`, which are there only if some argument is not plain IN; `proargnames`.
fn all_args(f: &Builtin) -> (Datum, Datum, Datum) {
    let mut names: Vec<String> = f.arg_names.iter().map(|name| (*name).to_owned()).collect();
    if f.columns.is_empty() && !f.variadic.is_valid() {
        let names = if names.is_empty() { Datum::Null } else { names.to_datum() };
        return (Datum::Null, Datum::Null, names);
    }
    let mut types: Vec<Oid> = f.args.to_vec();
    let mut modes = vec![b'i'; types.len()];
    if f.variadic.is_valid()
        && let Some(last) = modes.last_mut()
    {
        *last = b'v';
    }
    if !f.columns.is_empty() {
        names.resize(types.len(), String::new());
    }
    for (column, ty) in f.columns {
        types.push(*ty);
        modes.push(b'o');
        names.push((*column).to_owned());
    }
    let names = if names.is_empty() { Datum::Null } else { names.to_datum() };
    (types.to_datum(), modes.to_datum(), names)
}

/// The defaults' texts, with commas between.
fn defaults(f: &Builtin) -> Datum {
    if f.defaults.is_empty() {
        return Datum::Null;
    }
    let quoted = |text: &Option<&str>| match text {
        Some(text) => format!("'{}'", text.replace('\'', "''")),
        None => "NULL".to_owned(),
    };
    Datum::text(f.defaults.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

/// pg_aggregate. Aggregates are one piece of code here: they have no transition functions of their own.
pub(super) fn aggregate_rows(registry: &Registry) -> Vec<Row> {
    let mut aggregates: Vec<&Builtin> = registry.functions().filter(|f| f.is_aggregate()).collect();
    aggregates.sort_by_key(|f| f.oid);
    aggregates.into_iter().map(aggregate_row).collect()
}

fn aggregate_row(f: &Builtin) -> Row {
    let none = some_oid(Oid::INVALID);
    let mut row = vec![some_oid(f.oid), Datum::Char(b'n'), Datum::Int2(0)];
    row.extend(std::iter::repeat_n(none.clone(), 8)); // aggtransfn ... aggmfinalfn
    row.extend([Datum::Bool(false), Datum::Bool(false), Datum::Char(b'r'), Datum::Char(b'r'), none]);
    row.extend([some_oid(oid::INTERNAL), Datum::Int4(0), some_oid(Oid::INVALID), Datum::Int4(0)]);
    row.extend([Datum::Null, Datum::Null]);
    row
}

/// pg_operator, by OID: those whose function is there.
pub(super) fn operator_rows(registry: &Registry) -> Vec<Row> {
    let mut operators: Vec<&Operator> = registry.all_operators().collect();
    operators.sort_by_key(|operator| operator.oid);
    operators.dedup_by_key(|operator| operator.oid);
    let row = |operator: &&Operator| Some(operator_row(operator, registry.by_oid(operator.code)?.ret));
    operators.iter().filter_map(row).collect()
}

fn operator_row(operator: &Operator, result: Oid) -> Row {
    let none = || some_oid(Oid::INVALID);
    vec![
        some_oid(operator.oid),
        name(operator.name),
        some_oid(PG_CATALOG),
        some_oid(BOOTSTRAP_SUPERUSER),
        Datum::Char(if operator.left.is_valid() { b'b' } else { b'l' }),
        Datum::Bool(false),
        Datum::Bool(false),
        some_oid(operator.left),
        some_oid(operator.right),
        some_oid(result),
        none(),
        none(),
        some_oid(operator.code),
        none(),
        none(),
    ]
}

/// pg_cast.
pub(super) fn cast_rows() -> Vec<Row> {
    let row = |&(oid, from, to, function, context, method): &CastRow| {
        let [oid, from, to, function] = [oid, from, to, function].map(Datum::Oid);
        vec![oid, from, to, function, Datum::Char(context), Datum::Char(method)]
    };
    CASTS.iter().map(row).collect()
}

/// OID, source, target, function, context, method.
type CastRow = (u32, u32, u32, u32, u8, u8);

/// The casts of PostgreSQL that `types` can do.
#[rustfmt::skip]
static CASTS: &[CastRow] = &[
    (10000, 20, 21, 714, b'a', b'f'), (10001, 20, 23, 480, b'a', b'f'), (10002, 20, 700, 652, b'i', b'f'),
    (10003, 20, 701, 482, b'i', b'f'), (10004, 20, 1700, 1781, b'i', b'f'), (10005, 21, 20, 754, b'i', b'f'),
    (10006, 21, 23, 313, b'i', b'f'), (10007, 21, 700, 236, b'i', b'f'), (10008, 21, 701, 235, b'i', b'f'),
    (10009, 21, 1700, 1782, b'i', b'f'), (10010, 23, 20, 481, b'i', b'f'), (10011, 23, 21, 314, b'a', b'f'),
    (10012, 23, 700, 318, b'i', b'f'), (10013, 23, 701, 316, b'i', b'f'),
    (10014, 23, 1700, 1740, b'i', b'f'), (10015, 700, 20, 653, b'a', b'f'),
    (10016, 700, 21, 238, b'a', b'f'), (10017, 700, 23, 319, b'a', b'f'), (10018, 700, 701, 311, b'i', b'f'),
    (10019, 700, 1700, 1742, b'a', b'f'), (10020, 701, 20, 483, b'a', b'f'),
    (10021, 701, 21, 237, b'a', b'f'), (10022, 701, 23, 317, b'a', b'f'), (10023, 701, 700, 312, b'a', b'f'),
    (10024, 701, 1700, 1743, b'a', b'f'), (10025, 1700, 20, 1779, b'a', b'f'),
    (10026, 1700, 21, 1783, b'a', b'f'), (10027, 1700, 23, 1744, b'a', b'f'),
    (10028, 1700, 700, 1745, b'i', b'f'), (10029, 1700, 701, 1746, b'i', b'f'),
    (10034, 23, 16, 2557, b'e', b'f'), (10035, 16, 23, 2558, b'e', b'f'),
    (10036, 5069, 28, 5071, b'e', b'f'), (10037, 20, 26, 1287, b'i', b'f'), (10038, 21, 26, 313, b'i', b'f'),
    (10039, 23, 26, 0, b'i', b'b'), (10040, 26, 20, 1288, b'a', b'f'), (10041, 26, 23, 0, b'a', b'b'),
    (10042, 26, 24, 0, b'i', b'b'), (10043, 24, 26, 0, b'i', b'b'), (10044, 20, 24, 1287, b'i', b'f'),
    (10045, 21, 24, 313, b'i', b'f'), (10046, 23, 24, 0, b'i', b'b'), (10047, 24, 20, 1288, b'a', b'f'),
    (10048, 24, 23, 0, b'a', b'b'), (10049, 24, 2202, 0, b'i', b'b'), (10050, 2202, 24, 0, b'i', b'b'),
    (10051, 26, 2202, 0, b'i', b'b'), (10052, 2202, 26, 0, b'i', b'b'), (10053, 20, 2202, 1287, b'i', b'f'),
    (10054, 21, 2202, 313, b'i', b'f'), (10055, 23, 2202, 0, b'i', b'b'),
    (10056, 2202, 20, 1288, b'a', b'f'), (10057, 2202, 23, 0, b'a', b'b'), (10058, 26, 2203, 0, b'i', b'b'),
    (10059, 2203, 26, 0, b'i', b'b'), (10060, 20, 2203, 1287, b'i', b'f'),
    (10061, 21, 2203, 313, b'i', b'f'), (10062, 23, 2203, 0, b'i', b'b'),
    (10063, 2203, 20, 1288, b'a', b'f'), (10064, 2203, 23, 0, b'a', b'b'),
    (10065, 2203, 2204, 0, b'i', b'b'), (10066, 2204, 2203, 0, b'i', b'b'), (10067, 26, 2204, 0, b'i', b'b'),
    (10068, 2204, 26, 0, b'i', b'b'), (10069, 20, 2204, 1287, b'i', b'f'),
    (10070, 21, 2204, 313, b'i', b'f'), (10071, 23, 2204, 0, b'i', b'b'),
    (10072, 2204, 20, 1288, b'a', b'f'), (10073, 2204, 23, 0, b'a', b'b'), (10074, 26, 2205, 0, b'i', b'b'),
    (10075, 2205, 26, 0, b'i', b'b'), (10076, 20, 2205, 1287, b'i', b'f'),
    (10077, 21, 2205, 313, b'i', b'f'), (10078, 23, 2205, 0, b'i', b'b'),
    (10079, 2205, 20, 1288, b'a', b'f'), (10080, 2205, 23, 0, b'a', b'b'), (10081, 26, 4191, 0, b'i', b'b'),
    (10082, 4191, 26, 0, b'i', b'b'), (10083, 20, 4191, 1287, b'i', b'f'),
    (10084, 21, 4191, 313, b'i', b'f'), (10085, 23, 4191, 0, b'i', b'b'),
    (10086, 4191, 20, 1288, b'a', b'f'), (10087, 4191, 23, 0, b'a', b'b'), (10088, 26, 2206, 0, b'i', b'b'),
    (10089, 2206, 26, 0, b'i', b'b'), (10090, 20, 2206, 1287, b'i', b'f'),
    (10091, 21, 2206, 313, b'i', b'f'), (10092, 23, 2206, 0, b'i', b'b'),
    (10093, 2206, 20, 1288, b'a', b'f'), (10094, 2206, 23, 0, b'a', b'b'), (10095, 26, 3734, 0, b'i', b'b'),
    (10096, 3734, 26, 0, b'i', b'b'), (10097, 20, 3734, 1287, b'i', b'f'),
    (10098, 21, 3734, 313, b'i', b'f'), (10099, 23, 3734, 0, b'i', b'b'),
    (10100, 3734, 20, 1288, b'a', b'f'), (10101, 3734, 23, 0, b'a', b'b'), (10102, 26, 3769, 0, b'i', b'b'),
    (10103, 3769, 26, 0, b'i', b'b'), (10104, 20, 3769, 1287, b'i', b'f'),
    (10105, 21, 3769, 313, b'i', b'f'), (10106, 23, 3769, 0, b'i', b'b'),
    (10107, 3769, 20, 1288, b'a', b'f'), (10108, 3769, 23, 0, b'a', b'b'),
    (10109, 25, 2205, 1079, b'i', b'f'), (10110, 1043, 2205, 1079, b'i', b'f'),
    (10111, 26, 4096, 0, b'i', b'b'), (10112, 4096, 26, 0, b'i', b'b'), (10113, 20, 4096, 1287, b'i', b'f'),
    (10114, 21, 4096, 313, b'i', b'f'), (10115, 23, 4096, 0, b'i', b'b'),
    (10116, 4096, 20, 1288, b'a', b'f'), (10117, 4096, 23, 0, b'a', b'b'), (10118, 26, 4089, 0, b'i', b'b'),
    (10119, 4089, 26, 0, b'i', b'b'), (10120, 20, 4089, 1287, b'i', b'f'),
    (10121, 21, 4089, 313, b'i', b'f'), (10122, 23, 4089, 0, b'i', b'b'),
    (10123, 4089, 20, 1288, b'a', b'f'), (10124, 4089, 23, 0, b'a', b'b'), (10125, 25, 1042, 0, b'i', b'b'),
    (10126, 25, 1043, 0, b'i', b'b'), (10127, 1042, 25, 401, b'i', b'f'),
    (10128, 1042, 1043, 401, b'i', b'f'), (10129, 1043, 25, 0, b'i', b'b'),
    (10130, 1043, 1042, 0, b'i', b'b'), (10131, 18, 25, 946, b'i', b'f'), (10132, 18, 1042, 860, b'a', b'f'),
    (10133, 18, 1043, 946, b'a', b'f'), (10134, 19, 25, 406, b'i', b'f'), (10135, 19, 1042, 408, b'a', b'f'),
    (10136, 19, 1043, 1401, b'a', b'f'), (10137, 25, 18, 944, b'a', b'f'),
    (10138, 1042, 18, 944, b'a', b'f'), (10139, 1043, 18, 944, b'a', b'f'), (10140, 25, 19, 407, b'i', b'f'),
    (10141, 1042, 19, 409, b'i', b'f'), (10142, 1043, 19, 1400, b'i', b'f'), (10143, 18, 23, 77, b'e', b'f'),
    (10144, 23, 18, 78, b'e', b'f'), (10145, 194, 25, 0, b'i', b'b'), (10146, 3361, 17, 0, b'i', b'b'),
    (10147, 3361, 25, 0, b'i', b'i'), (10148, 3402, 17, 0, b'i', b'b'), (10149, 3402, 25, 0, b'i', b'i'),
    (10150, 5017, 17, 0, b'i', b'b'), (10151, 5017, 25, 0, b'i', b'i'),
    (10152, 1082, 1114, 2024, b'i', b'f'), (10153, 1082, 1184, 1174, b'i', b'f'),
    (10154, 1083, 1186, 1370, b'i', b'f'), (10155, 1083, 1266, 2047, b'i', b'f'),
    (10156, 1114, 1082, 2029, b'a', b'f'), (10157, 1114, 1083, 1316, b'a', b'f'),
    (10158, 1114, 1184, 2028, b'i', b'f'), (10159, 1184, 1082, 1178, b'a', b'f'),
    (10160, 1184, 1083, 2019, b'a', b'f'), (10161, 1184, 1114, 2027, b'a', b'f'),
    (10162, 1184, 1266, 1388, b'a', b'f'), (10163, 1186, 1083, 1419, b'a', b'f'),
    (10164, 1266, 1083, 2046, b'a', b'f'), (10181, 650, 869, 0, b'i', b'b'),
    (10182, 869, 650, 1715, b'a', b'f'), (10183, 1560, 1562, 0, b'i', b'b'),
    (10184, 1562, 1560, 0, b'i', b'b'), (10189, 650, 25, 730, b'a', b'f'), (10190, 869, 25, 730, b'a', b'f'),
    (10191, 16, 25, 2971, b'a', b'f'), (10192, 142, 25, 0, b'a', b'b'), (10194, 650, 1043, 730, b'a', b'f'),
    (10195, 869, 1043, 730, b'a', b'f'), (10196, 16, 1043, 2971, b'a', b'f'),
    (10197, 142, 1043, 0, b'a', b'b'), (10199, 650, 1042, 730, b'a', b'f'),
    (10200, 869, 1042, 730, b'a', b'f'), (10201, 16, 1042, 2971, b'a', b'f'),
    (10202, 142, 1042, 0, b'a', b'b'), (10204, 1042, 1042, 668, b'i', b'f'),
    (10205, 1043, 1043, 669, b'i', b'f'), (10206, 1083, 1083, 1968, b'i', b'f'),
    (10207, 1114, 1114, 1961, b'i', b'f'), (10208, 1184, 1184, 1967, b'i', b'f'),
    (10209, 1186, 1186, 1200, b'i', b'f'), (10210, 1266, 1266, 1969, b'i', b'f'),
    (10213, 1700, 1700, 1703, b'i', b'f'), (10214, 114, 3802, 0, b'a', b'i'),
    (10215, 3802, 114, 0, b'a', b'i'), (10216, 3802, 16, 3556, b'e', b'f'),
    (10217, 3802, 1700, 3449, b'e', b'f'), (10218, 3802, 21, 3450, b'e', b'f'),
    (10219, 3802, 23, 3451, b'e', b'f'), (10220, 3802, 20, 3452, b'e', b'f'),
    (10221, 3802, 700, 3453, b'e', b'f'), (10222, 3802, 701, 2580, b'e', b'f'),
];
