//! A value of any SQL type. C: `Datum`, but it knows which machine type it holds.

use std::rc::Rc;

use common::{Lsn, Oid, SqlState, Xid};
use elog::{Result, error};

use crate::adt::inet::Inet;
use crate::adt::numeric::Numeric;

/// A SQL value. The variant is the representation, not the type: `Text` is text, varchar, bpchar, name, json
/// and an untyped literal alike, so whoever holds a `Datum` also holds the type's OID.
#[derive(Clone, Debug, Default)]
pub enum Datum {
    /// SQL NULL of any type.
    #[default]
    Null,
    /// boolean.
    Bool(bool),
    /// `"char"`, one byte.
    Char(u8),
    /// smallint.
    Int2(i16),
    /// integer.
    Int4(i32),
    /// bigint.
    Int8(i64),
    /// real.
    Float4(f32),
    /// double precision.
    Float8(f64),
    /// numeric, with its display scale.
    Numeric(Rc<Numeric>),
    /// Every type whose value is a string: text, varchar, bpchar, name, json, jsonb, xml, cstring, unknown.
    Text(Rc<str>),
    /// bytea.
    Bytea(Rc<[u8]>),
    /// oid and the reg* types.
    Oid(u32),
    /// xid and cid.
    Xid(u32),
    /// xid8.
    Xid8(u64),
    /// tid: block and offset.
    Tid(u32, u16),
    /// pg_lsn.
    Lsn(u64),
    /// Days since 2000-01-01; `i32::MIN` and `i32::MAX` are -infinity and infinity.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Time of day with its zone.
    TimeTz(TimeTz),
    /// Microseconds since 2000-01-01 00:00; `i64::MIN` and `i64::MAX` are -infinity and infinity.
    Timestamp(i64),
    /// The same, counted from midnight UTC.
    TimestampTz(i64),
    /// A span with its three parts kept apart.
    Interval(Interval),
    /// uuid.
    Uuid([u8; 16]),
    /// inet and cidr.
    Inet(Rc<Inet>),
    /// An array of any element type.
    Array(Rc<ArrayValue>),
    /// A row value.
    Record(Rc<RecordValue>),
    /// The result of a function returning void.
    Void,
}

/// A span of time. Months, days and microseconds are independent, as months and days vary in length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Whole months.
    pub months: i32,
    /// Whole days.
    pub days: i32,
    /// The rest.
    pub usecs: i64,
}

/// A time of day in a zone of fixed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeTz {
    /// Microseconds since midnight.
    pub usecs: i64,
    /// Seconds **west** of UTC, as in C.
    pub zone_secs: i32,
}

/// One dimension of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// Number of elements.
    pub len: i32,
    /// Subscript of the first.
    pub lower: i32,
}

/// An array: no dimensions (empty) or up to six. C: `ArrayType`.
#[derive(Clone, Debug)]
pub struct ArrayValue {
    /// Type of the elements.
    pub elem: Oid,
    /// Outermost first.
    pub dims: Vec<Dimension>,
    /// All elements, the last subscript running fastest.
    pub values: Vec<Datum>,
}

impl ArrayValue {
    /// An array of one dimension with lower bound 1 (or an empty one).
    pub fn from_values(elem: Oid, values: Vec<Datum>) -> ArrayValue {
        let dims = if values.is_empty() {
            Vec::new()
        } else {
            vec![Dimension { len: values.len() as i32, lower: 1 }]
        };
        ArrayValue { elem, dims, values }
    }
}

/// A row value. C: `HeapTupleHeader` as a composite datum.
#[derive(Clone, Debug)]
pub struct RecordValue {
    /// Types of the columns.
    pub types: Vec<Oid>,
    /// Names of the columns; empty where the row came from `ROW(...)`.
    pub names: Vec<Rc<str>>,
    /// The columns.
    pub values: Vec<Datum>,
}

impl Datum {
    /// A string value.
    pub fn text(s: impl AsRef<str>) -> Datum {
        Datum::Text(Rc::from(s.as_ref()))
    }

    /// A bytea value.
    pub fn bytea(b: impl AsRef<[u8]>) -> Datum {
        Datum::Bytea(Rc::from(b.as_ref()))
    }

    /// A numeric value.
    pub fn numeric(n: Numeric) -> Datum {
        Datum::Numeric(Rc::new(n))
    }

    /// A one-dimensional array.
    pub fn array(elem: Oid, values: Vec<Datum>) -> Datum {
        Datum::Array(Rc::new(ArrayValue::from_values(elem, values)))
    }

    /// True for SQL NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// The string inside a `Text`.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Datum::Text(s) => Some(s),
            _ => None,
        }
    }

    /// The boolean inside a `Bool`.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Datum::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// Any of the three integer widths, or an OID, as an i64.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Datum::Int2(v) => Some(i64::from(*v)),
            Datum::Int4(v) => Some(i64::from(*v)),
            Datum::Int8(v) => Some(*v),
            Datum::Oid(v) => Some(i64::from(*v)),
            _ => None,
        }
    }
}

/// What a built-in function's argument can be taken as.
pub trait FromDatum<'a>: Sized {
    /// Fails only if a caller broke the function's signature.
    fn from_datum(datum: &'a Datum) -> Result<Self>;
}

/// What a built-in function may return.
pub trait IntoDatum {
    /// The value, or the error inside it.
    fn into_datum(self) -> Result<Datum>;
}

#[cold]
fn wrong_type(wanted: &str, got: &Datum) -> elog::PgError {
    error!(SqlState::INTERNAL_ERROR, "argument is {got:?} where {wanted} is expected")
}

macro_rules! datum_conversions {
    ($($ty:ty, $pat:pat => $from:expr, $value:ident => $into:expr;)*) => {$(
        impl<'a> FromDatum<'a> for $ty {
            fn from_datum(datum: &'a Datum) -> Result<$ty> {
                match datum {
                    $pat => Ok($from),
                    other => Err(wrong_type(stringify!($ty), other)),
                }
            }
        }
        impl IntoDatum for $ty {
            fn into_datum(self) -> Result<Datum> {
                let $value = self;
                Ok($into)
            }
        }
    )*};
}

macro_rules! typed_wrappers {
    ($($(#[$meta:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(pub $inner);
    )*};
}

typed_wrappers! {
    /// The value of `Datum::Date`.
    Date(i32);
    /// The value of `Datum::Time`.
    Time(i64);
    /// The value of `Datum::Timestamp`.
    Timestamp(i64);
    /// The value of `Datum::TimestampTz`.
    TimestampTz(i64);
    /// The value of `Datum::Uuid`.
    Uuid([u8; 16]);
    /// The value of `Datum::Xid8`.
    Xid8(u64);
    /// An OID meant as a type.
    Regtype(Oid);
}

/// A name argument or result.
#[derive(Clone, Debug)]
pub struct Name(pub Rc<str>);
/// A character(n) argument, blanks included.
#[derive(Clone, Copy, Debug)]
pub struct Bpchar<'a>(pub &'a str);
/// Text of a json value.
#[derive(Clone, Debug)]
pub struct JsonText(pub Rc<str>);

datum_conversions! {
    bool, Datum::Bool(v) => *v, v => Datum::Bool(v);
    u8, Datum::Char(v) => *v, v => Datum::Char(v);
    i16, Datum::Int2(v) => *v, v => Datum::Int2(v);
    i32, Datum::Int4(v) => *v, v => Datum::Int4(v);
    i64, Datum::Int8(v) => *v, v => Datum::Int8(v);
    f32, Datum::Float4(v) => *v, v => Datum::Float4(v);
    f64, Datum::Float8(v) => *v, v => Datum::Float8(v);
    Oid, Datum::Oid(v) => Oid(*v), v => Datum::Oid(v.0);
    Regtype, Datum::Oid(v) => Regtype(Oid(*v)), v => Datum::Oid(v.0.0);
    Xid, Datum::Xid(v) => Xid(*v), v => Datum::Xid(v.0);
    Xid8, Datum::Xid8(v) => Xid8(*v), v => Datum::Xid8(v.0);
    Lsn, Datum::Lsn(v) => Lsn(*v), v => Datum::Lsn(v.0);
    Date, Datum::Date(v) => Date(*v), v => Datum::Date(v.0);
    Time, Datum::Time(v) => Time(*v), v => Datum::Time(v.0);
    TimeTz, Datum::TimeTz(v) => *v, v => Datum::TimeTz(v);
    Timestamp, Datum::Timestamp(v) => Timestamp(*v), v => Datum::Timestamp(v.0);
    TimestampTz, Datum::TimestampTz(v) => TimestampTz(*v), v => Datum::TimestampTz(v.0);
    Interval, Datum::Interval(v) => *v, v => Datum::Interval(v);
    Uuid, Datum::Uuid(v) => Uuid(*v), v => Datum::Uuid(v.0);
    Name, Datum::Text(v) => Name(v.clone()), v => Datum::Text(v.0);
    JsonText, Datum::Text(v) => JsonText(v.clone()), v => Datum::Text(v.0);
    Rc<str>, Datum::Text(v) => v.clone(), v => Datum::Text(v);
    Rc<[u8]>, Datum::Bytea(v) => v.clone(), v => Datum::Bytea(v);
    Rc<ArrayValue>, Datum::Array(v) => v.clone(), v => Datum::Array(v);
    Rc<RecordValue>, Datum::Record(v) => v.clone(), v => Datum::Record(v);
}

macro_rules! datum_refs {
    ($($ty:ty, $pat:pat => $from:expr;)*) => {$(
        impl<'a> FromDatum<'a> for &'a $ty {
            fn from_datum(datum: &'a Datum) -> Result<&'a $ty> {
                match datum {
                    $pat => Ok($from),
                    other => Err(wrong_type(stringify!($ty), other)),
                }
            }
        }
    )*};
}

datum_refs! {
    str, Datum::Text(v) => v;
    [u8], Datum::Bytea(v) => v;
    Numeric, Datum::Numeric(v) => v;
    ArrayValue, Datum::Array(v) => v;
    RecordValue, Datum::Record(v) => v;
    Inet, Datum::Inet(v) => v;
}

impl<'a> FromDatum<'a> for Bpchar<'a> {
    fn from_datum(datum: &'a Datum) -> Result<Bpchar<'a>> {
        <&str>::from_datum(datum).map(Bpchar)
    }
}

impl<'a> FromDatum<'a> for &'a Datum {
    fn from_datum(datum: &'a Datum) -> Result<&'a Datum> {
        Ok(datum)
    }
}

impl<'a, T: FromDatum<'a>> FromDatum<'a> for Option<T> {
    fn from_datum(datum: &'a Datum) -> Result<Option<T>> {
        if datum.is_null() { Ok(None) } else { T::from_datum(datum).map(Some) }
    }
}

impl IntoDatum for Datum {
    fn into_datum(self) -> Result<Datum> {
        Ok(self)
    }
}

impl IntoDatum for &str {
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Text(Rc::from(self)))
    }
}

impl IntoDatum for String {
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Text(Rc::from(self)))
    }
}

impl IntoDatum for Vec<u8> {
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Bytea(Rc::from(self)))
    }
}

impl IntoDatum for Numeric {
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::numeric(self))
    }
}

impl IntoDatum for Inet {
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Inet(Rc::new(self)))
    }
}

impl IntoDatum for ArrayValue {
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Array(Rc::new(self)))
    }
}

impl IntoDatum for () {
    fn into_datum(self) -> Result<Datum> {
        Ok(Datum::Void)
    }
}

impl<T: IntoDatum> IntoDatum for Option<T> {
    fn into_datum(self) -> Result<Datum> {
        self.map_or(Ok(Datum::Null), T::into_datum)
    }
}

impl<T: IntoDatum> IntoDatum for Result<T> {
    fn into_datum(self) -> Result<Datum> {
        self?.into_datum()
    }
}
