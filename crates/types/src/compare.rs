//! Order, equality and hash of values of one type, for ORDER BY, DISTINCT, GROUP BY, min and max. C: the btree
//! and hash operator classes of each type.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use common::{Oid, SqlState};
use elog::{Result, error};

use crate::adt::{arrayfuncs, date, float, interval};
use crate::{Datum, format_type, oid};

/// Orders two values of type `ty`, neither NULL. Strings order by their bytes, as in collation C. Fails for a
/// type without an order (json, xid, point ...).
pub fn compare(ty: Oid, a: &Datum, b: &Datum) -> Result<Ordering> {
    Ok(match (a, b) {
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Char(a), Datum::Char(b)) => a.cmp(b),
        (Datum::Int2(a), Datum::Int2(b)) => a.cmp(b),
        (Datum::Int4(a), Datum::Int4(b)) | (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
        (Datum::Int8(a), Datum::Int8(b))
        | (Datum::Time(a), Datum::Time(b))
        | (Datum::Timestamp(a), Datum::Timestamp(b))
        | (Datum::TimestampTz(a), Datum::TimestampTz(b)) => a.cmp(b),
        (Datum::Float4(a), Datum::Float4(b)) => float::compare(f64::from(*a), f64::from(*b)),
        (Datum::Float8(a), Datum::Float8(b)) => float::compare(*a, *b),
        (Datum::Numeric(a), Datum::Numeric(b)) => a.cmp(b),
        (Datum::Text(a), Datum::Text(b)) if ty == oid::BPCHAR => {
            a.trim_end_matches(' ').cmp(b.trim_end_matches(' '))
        }
        (Datum::Text(_), Datum::Text(_)) if matches!(ty, oid::JSON | oid::XML) => return Err(unordered(ty)),
        (Datum::Text(a), Datum::Text(b)) => a.cmp(b),
        (Datum::Bytea(a), Datum::Bytea(b)) => a.cmp(b),
        (Datum::Oid(a), Datum::Oid(b)) => a.cmp(b),
        (Datum::Xid8(a), Datum::Xid8(b)) | (Datum::Lsn(a), Datum::Lsn(b)) => a.cmp(b),
        (Datum::Tid(a, x), Datum::Tid(b, y)) => (a, x).cmp(&(b, y)),
        (Datum::TimeTz(a), Datum::TimeTz(b)) => date::compare_timetz(a, b),
        (Datum::Interval(a), Datum::Interval(b)) => interval::compare(a, b),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Inet(a), Datum::Inet(b)) => a.cmp(b),
        (Datum::Array(a), Datum::Array(b)) => arrayfuncs::compare(a, b)?,
        (Datum::Record(a), Datum::Record(b)) => {
            for (i, (x, y)) in a.values.iter().zip(&b.values).enumerate() {
                let column = a.types.get(i).copied().unwrap_or(oid::UNKNOWN);
                let order = compare_nulls_last(column, x, y)?;
                if order.is_ne() {
                    return Ok(order);
                }
            }
            a.values.len().cmp(&b.values.len())
        }
        _ => return Err(unordered(ty)),
    })
}

/// The same with NULL as the greatest value.
pub fn compare_nulls_last(ty: Oid, a: &Datum, b: &Datum) -> Result<Ordering> {
    match (a.is_null(), b.is_null()) {
        (false, false) => compare(ty, a, b),
        (x, y) => Ok(x.cmp(&y)),
    }
}

/// Whether values of this type can be ordered at all: the parser's question about ORDER BY.
pub fn is_orderable(ty: Oid) -> bool {
    let elem = crate::type_info::element_type_of(ty);
    let base = if elem.is_valid() { elem } else { ty };
    !matches!(base, oid::JSON | oid::XML | oid::XID | oid::CID | oid::POINT | oid::LINE | oid::BOX)
}

#[cold]
fn unordered(ty: Oid) -> elog::PgError {
    error!(
        SqlState::UNDEFINED_FUNCTION,
        "could not identify an ordering operator for type {}",
        format_type(ty, -1)
    )
    .hint("Use an explicit ordering operator or modify the query.")
}

/// Feeds a value to a hasher so that values [`compare`] calls equal hash alike.
pub fn hash<H: Hasher>(ty: Oid, value: &Datum, state: &mut H) {
    match value {
        Datum::Null | Datum::Void => 0u8.hash(state),
        Datum::Bool(v) => v.hash(state),
        Datum::Char(v) => v.hash(state),
        Datum::Int2(v) => v.hash(state),
        Datum::Int4(v) | Datum::Date(v) => v.hash(state),
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::TimestampTz(v) => v.hash(state),
        Datum::Float4(v) => hash_float(f64::from(*v), state),
        Datum::Float8(v) => hash_float(*v, state),
        Datum::Numeric(v) => hash_float(v.to_f64(), state),
        Datum::Text(v) if ty == oid::BPCHAR => v.trim_end_matches(' ').hash(state),
        Datum::Text(v) => v.hash(state),
        Datum::Bytea(v) => v.hash(state),
        Datum::Oid(v) | Datum::Xid(v) => v.hash(state),
        Datum::Xid8(v) | Datum::Lsn(v) => v.hash(state),
        Datum::Tid(block, offset) => (block, offset).hash(state),
        Datum::TimeTz(v) => (v.usecs, v.zone_secs).hash(state),
        Datum::Interval(v) => interval::total_usecs(v).hash(state),
        Datum::Uuid(v) => v.hash(state),
        Datum::Inet(v) => v.hash(state),
        Datum::Array(v) => v.values.iter().for_each(|e| hash(v.elem, e, state)),
        Datum::Record(v) => {
            let types = v.types.iter().copied().chain(std::iter::repeat(oid::UNKNOWN));
            v.values.iter().zip(types).for_each(|(e, ty)| hash(ty, e, state));
        }
    }
}

fn hash_float<H: Hasher>(v: f64, state: &mut H) {
    // -0 equals 0, and all NaNs are one.
    let v = if v == 0.0 {
        0.0
    } else if v.is_nan() {
        f64::NAN
    } else {
        v
    };
    v.to_bits().hash(state);
}
