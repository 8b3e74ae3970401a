//! From one type to another: which casts exist, who may use them unasked, and how they are done. C: pg_cast,
//! parse_coerce.c.

use common::{Oid, SqlState};
use elog::{Result, error};

use crate::adt::{numeric, timestamp, varchar};
use crate::fmgr::{CallContext, ScalarFn, Session};
use crate::parse_func::is_polymorphic;
use crate::rows::pg_cast::CASTS;
use crate::type_info::{TypeKind, array_type_of, element_type_of};
use crate::{ArrayValue, Datum, adt, format_type, io, oid, type_info};

/// Who asks for a cast, from the meekest to the most insistent. C: `CoercionContext`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    /// An expression that would not fit otherwise.
    Implicit,
    /// A value stored into a column.
    Assignment,
    /// The user wrote CAST or `::`.
    Explicit,
}

/// How a cast is done. C: `CoercionPathType`.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// The same bits under another name. C: `COERCION_PATH_RELABELTYPE`.
    Binary,
    /// A function of one to three arguments: value, typmod, whether explicit.
    Function(ScalarFn, u8),
    /// Through the text form.
    InOut,
    /// Element by element, from and to these element types.
    Array(Oid, Oid),
}

/// A cast. C: `Form_pg_cast`.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// The least that must be asked for it to be used.
    pub context: Context,
    /// How.
    pub method: Method,
}

/// A row of pg_cast.
pub(crate) struct CastRow {
    pub(crate) from: Oid,
    pub(crate) to: Oid,
    pub(crate) cast: Cast,
}

pub(crate) const fn row(from: Oid, to: Oid, context: Context, method: Method) -> CastRow {
    CastRow { from, to, cast: Cast { context, method } }
}

fn pg_cast_row(from: Oid, to: Oid) -> Option<Cast> {
    CASTS.binary_search_by_key(&(from, to), |row| (row.from, row.to)).ok().map(|i| CASTS[i].cast)
}

/// The cast between two different types, if there is one at all. C: `find_coercion_pathway`.
pub fn find_cast(from: Oid, to: Oid) -> Option<Cast> {
    if from == to {
        return Some(Cast { context: Context::Implicit, method: Method::Binary });
    }
    if let Some(cast) = pg_cast_row(from, to) {
        return Some(cast);
    }
    if to != oid::OIDVECTOR && to != oid::INT2VECTOR {
        let (from_elem, to_elem) = (element_type_of(from), element_type_of(to));
        if from_elem.is_valid() && to_elem.is_valid() {
            let inner = find_cast(from_elem, to_elem)?;
            let method = match inner.method {
                Method::Binary => Method::Binary,
                _ => Method::Array(from_elem, to_elem),
            };
            return Some(Cast { context: inner.context, method });
        }
    }
    // Every type has a text form, so text can always be asked for, and given when asked explicitly.
    if is_string(to) {
        return Some(Cast { context: Context::Assignment, method: Method::InOut });
    }
    if is_string(from) {
        return Some(Cast { context: Context::Explicit, method: Method::InOut });
    }
    None
}

fn is_string(ty: Oid) -> bool {
    type_info(ty).is_some_and(|t| t.category == 'S' && t.kind == TypeKind::Base)
}

/// Whether a value of one type is accepted where another is wanted. C: `can_coerce_type` for one argument.
/// A polymorphic target accepts what its name says; agreement between several is `parse_func`'s business.
pub fn can_coerce(from: Oid, to: Oid, context: Context) -> bool {
    if from == to || to == oid::ANY || from == oid::UNKNOWN {
        return true;
    }
    if is_polymorphic(to) {
        return match to {
            oid::ANYARRAY | oid::ANYCOMPATIBLEARRAY => element_type_of(from).is_valid(),
            oid::ANYNONARRAY | oid::ANYCOMPATIBLENONARRAY => !element_type_of(from).is_valid(),
            oid::ANYELEMENT | oid::ANYCOMPATIBLE => true,
            _ => false,
        };
    }
    if to == oid::RECORD && from == oid::RECORD {
        return true;
    }
    find_cast(from, to).is_some_and(|cast| cast.context <= context)
}

/// Whether the two types share their bits, in this direction. C: `IsBinaryCoercible`.
pub fn is_binary_coercible(from: Oid, to: Oid) -> bool {
    if from == to || to == oid::ANY || to == oid::ANYELEMENT || to == oid::ANYCOMPATIBLE {
        return true;
    }
    if to == oid::ANYARRAY || to == oid::ANYCOMPATIBLEARRAY {
        return element_type_of(from).is_valid();
    }
    pg_cast_row(from, to)
        .is_some_and(|cast| cast.context == Context::Implicit && matches!(cast.method, Method::Binary))
}

/// Turns a value of type `from` into one of type `to` and applies `typmod` (-1 for none). `explicit` is whether
/// the user wrote the cast: it lets `varchar(n)` truncate silently. Whether the cast may be used here at all
/// is the caller's question to [`can_coerce`]. C: `coerce_to_target_type`, at run time.
pub fn coerce(value: Datum, from: Oid, to: Oid, typmod: i32, explicit: bool) -> Result<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    if from == to || to == oid::ANY {
        return apply_typmod(value, to, typmod, explicit);
    }
    if from == oid::UNKNOWN {
        let text = value.as_str().unwrap_or_default();
        // Only interval's input needs the typmod; the others take it as a length coercion afterwards.
        let value = io::input(to, if to == oid::INTERVAL { typmod } else { -1 }, text)?;
        return apply_typmod(value, to, typmod, explicit);
    }
    let Some(cast) = find_cast(from, to) else {
        return Err(cannot_cast(from, to));
    };
    match cast.method {
        Method::Binary => apply_typmod(relabel(value, to), to, typmod, explicit),
        Method::InOut => {
            let value = io::input(to, -1, &text_of(&value, from))?;
            apply_typmod(value, to, typmod, explicit)
        }
        Method::Function(function, nargs) => {
            let session = Session::detached(timestamp::now());
            let arg_types = [from, oid::INT4, oid::BOOL];
            let mut cx = CallContext {
                session: &session,
                arg_types: &arg_types[..usize::from(nargs)],
                ret_type: to,
                func_variadic: false,
            };
            let args = [value, Datum::Int4(typmod), Datum::Bool(explicit)];
            let value = function(&mut cx, &args[..usize::from(nargs)])?;
            if nargs > 1 { Ok(value) } else { apply_typmod(value, to, typmod, explicit) }
        }
        Method::Array(from_elem, to_elem) => match &value {
            Datum::Array(array) => {
                let values = array.values.iter().cloned();
                let values: Result<Vec<Datum>> =
                    values.map(|v| coerce(v, from_elem, to_elem, typmod, explicit)).collect();
                Ok(Datum::Array(
                    ArrayValue { elem: to_elem, dims: array.dims.clone(), values: values? }.into(),
                ))
            }
            _ => Err(cannot_cast(from, to)),
        },
    }
}

/// The text that a cast to a string type yields: blanks of a `bpchar` do not survive it.
fn text_of(value: &Datum, from: Oid) -> String {
    match value {
        Datum::Bool(v) => v.to_string(),
        _ => io::output_string(value, from),
    }
}

/// `cannot cast type integer to date`.
#[cold]
pub fn cannot_cast(from: Oid, to: Oid) -> elog::PgError {
    error!(SqlState::CANNOT_COERCE, "cannot cast type {} to {}", format_type(from, -1), format_type(to, -1))
}

/// The same bits in the variant of another type: C has no need for this, as all are one machine word.
fn relabel(value: Datum, to: Oid) -> Datum {
    match (value, to) {
        (Datum::Int4(v), oid::OID) => Datum::Oid(v as u32),
        (Datum::Int4(v), _) if adt::oid::is_reg_type(to) => Datum::Oid(v as u32),
        (Datum::Oid(v), oid::INT4) => Datum::Int4(v as i32),
        (Datum::Oid(v), oid::INT8) => Datum::Int8(i64::from(v)),
        (Datum::Xid(v), oid::OID) => Datum::Oid(v),
        (Datum::Array(a), _) if element_type_of(to).is_valid() && a.elem != element_type_of(to) => {
            let elem = element_type_of(to);
            let values = a.values.iter().map(|v| relabel(v.clone(), elem)).collect();
            Datum::Array(ArrayValue { elem, dims: a.dims.clone(), values }.into())
        }
        (other, _) => other,
    }
}

/// Applies a length or precision: pads, truncates, rounds or refuses. C: `coerce_type_typmod`.
pub fn apply_typmod(value: Datum, ty: Oid, typmod: i32, explicit: bool) -> Result<Datum> {
    if typmod < 0 || value.is_null() {
        return Ok(value);
    }
    Ok(match (ty, &value) {
        (oid::VARCHAR, Datum::Text(s)) => varchar::varchar(s.clone(), typmod, explicit)?,
        (oid::BPCHAR, Datum::Text(s)) => varchar::bpchar(s, typmod, explicit)?,
        (oid::NUMERIC, Datum::Numeric(n)) => Datum::numeric(numeric::apply_typmod(n, typmod)?),
        (oid::TIME, Datum::Time(v)) => Datum::Time(timestamp::round_time(*v, typmod)),
        (oid::TIMETZ, Datum::TimeTz(v)) => {
            Datum::TimeTz(crate::TimeTz { usecs: timestamp::round_time(v.usecs, typmod), ..*v })
        }
        (oid::TIMESTAMP, Datum::Timestamp(v)) => Datum::Timestamp(timestamp::round(*v, typmod)?),
        (oid::TIMESTAMPTZ, Datum::TimestampTz(v)) => Datum::TimestampTz(timestamp::round(*v, typmod)?),
        (oid::INTERVAL, Datum::Interval(v)) => Datum::Interval(adt::interval::apply_typmod(*v, typmod)?),
        (_, Datum::Array(a)) if array_type_of(a.elem) == ty => {
            let values = a.values.iter().cloned();
            let values: Result<Vec<Datum>> =
                values.map(|v| apply_typmod(v, a.elem, typmod, explicit)).collect();
            Datum::Array(ArrayValue { elem: a.elem, dims: a.dims.clone(), values: values? }.into())
        }
        _ => value,
    })
}
