//! Values to text and bytes and back, by type. C: the typinput, typoutput, typreceive and typsend functions.
//!
//! `typmod` is PostgreSQL's: -1 for none, `n + 4` for `varchar(n)`, and so on.

use std::rc::Rc;
use std::sync::OnceLock;

use common::{Lsn, Oid, SqlState};
use elog::{PgError, Result, error};

use crate::adt::{
    arrayfuncs, bool as adt_bool, bytea, date, float, inet, int, interval, json, name, numeric,
    oid as adt_oid, rowtypes, timestamp, uuid, varchar,
};
use crate::{Datum, format_type, oid, type_info};

/// What only a layer with catalogs can do: names of relations, roles, namespaces, user functions.
#[derive(Clone, Copy)]
pub struct CatalogHooks {
    /// Text to OID for a `reg*` type; the text is not a number.
    pub reg_input: fn(ty: Oid, text: &str) -> Result<u32>,
    /// OID to text for a `reg*` type; `None` prints the number.
    pub reg_output: fn(ty: Oid, value: u32) -> Option<String>,
}

static CATALOG_HOOKS: OnceLock<CatalogHooks> = OnceLock::new();

/// Registers the catalog's side of `regclass` and its kin, once per cluster, before the first fork.
pub fn set_catalog_hooks(hooks: CatalogHooks) {
    // A second registration is the same one made again by a test.
    let _ = CATALOG_HOOKS.set(hooks);
}

pub(crate) fn catalog_hooks() -> Option<&'static CatalogHooks> {
    CATALOG_HOOKS.get()
}

/// `invalid input syntax for type integer: "abc"`, the error of every input function.
#[cold]
pub fn invalid_input(type_name: &str, text: &str) -> PgError {
    error!(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type {type_name}: \"{text}\"")
}

/// The same for dates and times, whose SQLSTATE differs.
#[cold]
pub(crate) fn invalid_datetime(type_name: &str, text: &str) -> PgError {
    error!(SqlState::INVALID_DATETIME_FORMAT, "invalid input syntax for type {type_name}: \"{text}\"")
}

#[cold]
pub(crate) fn bad_binary() -> PgError {
    error!(SqlState::INVALID_BINARY_REPRESENTATION, "incorrect binary data format")
}

#[cold]
fn no_function(ty: Oid, what: &str) -> PgError {
    error!(
        SqlState::UNDEFINED_FUNCTION,
        "no binary {what} function available for type {}",
        type_info(ty).map_or("???", |t| t.name)
    )
}

/// A value from its text. C: `InputFunctionCall`.
pub fn input(ty: Oid, typmod: i32, text: &str) -> Result<Datum> {
    Ok(match ty {
        oid::BOOL => Datum::Bool(adt_bool::input(text)?),
        oid::INT2 => Datum::Int2(int::input_i16(text)?),
        oid::INT4 => Datum::Int4(int::input_i32(text)?),
        oid::INT8 => Datum::Int8(int::input_i64(text)?),
        oid::TEXT | oid::UNKNOWN | oid::CSTRING => Datum::text(text),
        oid::VARCHAR => varchar::varchar(text.into(), typmod, false)?,
        oid::BPCHAR => varchar::bpchar(text, typmod, false)?,
        oid::NAME => name::input(text),
        oid::CHAR => Datum::Char(adt_oid::char_input(text)),
        oid::FLOAT4 => Datum::Float4(float::input_f32(text)?),
        oid::FLOAT8 => Datum::Float8(float::input_f64(text)?),
        oid::NUMERIC => Datum::numeric(numeric::input(text, typmod)?),
        oid::BYTEA => Datum::Bytea(bytea::input(text)?.into()),
        oid::OID => Datum::Oid(adt_oid::input(text)?),
        oid::XID | oid::CID => Datum::Xid(adt_oid::xid_input(text)),
        oid::XID8 => Datum::Xid8(adt_oid::xid8_input(text)),
        oid::TID => adt_oid::tid_input(text)?,
        oid::PG_LSN => Datum::Lsn(adt_oid::lsn_input(text)?.0),
        oid::DATE => Datum::Date(date::input_date(text)?),
        oid::TIME => Datum::Time(date::input_time(text, typmod)?),
        oid::TIMETZ => Datum::TimeTz(date::input_timetz(text, typmod)?),
        oid::TIMESTAMP => Datum::Timestamp(timestamp::input_timestamp(text, typmod)?),
        oid::TIMESTAMPTZ => Datum::TimestampTz(timestamp::input_timestamptz(text, typmod)?),
        oid::INTERVAL => Datum::Interval(interval::input(text, typmod)?),
        oid::UUID => Datum::Uuid(uuid::input(text)?),
        oid::INET => Datum::Inet(Rc::new(inet::input(text, false)?)),
        oid::CIDR => Datum::Inet(Rc::new(inet::input(text, true)?)),
        oid::JSON => json::json_input(text)?,
        oid::JSONB => json::jsonb_input(text)?,
        oid::VOID => Datum::Void,
        _ if adt_oid::is_reg_type(ty) => Datum::Oid(adt_oid::reg_input(ty, text)?),
        oid::RECORD => {
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "input of anonymous composite types is not implemented"
            ));
        }
        _ => match type_info(ty) {
            Some(info) if info.is_array() || matches!(ty, oid::INT2VECTOR | oid::OIDVECTOR) => {
                arrayfuncs::input(info, typmod, text)?
            }
            Some(info) if info.kind == crate::TypeKind::Pseudo => {
                return Err(error!(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "cannot accept a value of type {}", info.name
                ));
            }
            _ => {
                return Err(error!(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "input of type {} is not supported",
                    format_type(ty, -1)
                ));
            }
        },
    })
}

/// Appends a value's text. NULL appends nothing; who calls must have looked. C: `OutputFunctionCall`.
pub fn output(value: &Datum, ty: Oid, out: &mut String) {
    use std::fmt::Write;
    // Writing into a String cannot fail, hence the ignored results.
    match value {
        Datum::Null | Datum::Void => {}
        Datum::Bool(v) => out.push(if *v { 't' } else { 'f' }),
        Datum::Char(v) => adt_oid::char_output(*v, out),
        Datum::Int2(v) => int::output(i64::from(*v), out),
        Datum::Int4(v) => int::output(i64::from(*v), out),
        Datum::Int8(v) => int::output(*v, out),
        Datum::Float4(v) => float::output_f32(*v, out),
        Datum::Float8(v) => float::output_f64(*v, out),
        Datum::Numeric(v) => drop(write!(out, "{v}")),
        Datum::Text(v) => out.push_str(v),
        Datum::Bytea(v) => bytea::output(v, out),
        Datum::Oid(v) => adt_oid::output(*v, ty, out),
        Datum::Xid(v) => drop(write!(out, "{v}")),
        Datum::Xid8(v) => drop(write!(out, "{v}")),
        Datum::Tid(block, offset) => drop(write!(out, "({block},{offset})")),
        Datum::Lsn(v) => drop(write!(out, "{}", Lsn(*v))),
        Datum::Date(v) => date::output_date(*v, out),
        Datum::Time(v) => date::output_time(*v, out),
        Datum::TimeTz(v) => date::output_timetz(v, out),
        Datum::Timestamp(v) => timestamp::output_timestamp(*v, out),
        Datum::TimestampTz(v) => timestamp::output_timestamptz(*v, out),
        Datum::Interval(v) => interval::output(v, out),
        Datum::Uuid(v) => uuid::output(v, out),
        Datum::Inet(v) => inet::output(v, ty == oid::CIDR, out),
        Datum::Array(v) => arrayfuncs::output(v, ty, out),
        Datum::Record(v) => rowtypes::output(v, out),
    }
}

/// The same as a new string.
pub fn output_string(value: &Datum, ty: Oid) -> String {
    let mut out = String::new();
    output(value, ty, &mut out);
    out
}

/// A value from its wire form. C: `ReceiveFunctionCall`.
pub fn receive(ty: Oid, typmod: i32, bytes: &[u8]) -> Result<Datum> {
    let mut reader = Reader::new(bytes);
    let value = receive_from(ty, typmod, &mut reader)?;
    if !reader.is_empty() {
        return Err(bad_binary());
    }
    Ok(value)
}

fn receive_from(ty: Oid, typmod: i32, r: &mut Reader<'_>) -> Result<Datum> {
    Ok(match ty {
        oid::BOOL => Datum::Bool(r.u8()? != 0),
        oid::CHAR => Datum::Char(r.u8()?),
        oid::INT2 => Datum::Int2(r.i16()?),
        oid::INT4 => Datum::Int4(r.i32()?),
        oid::INT8 => Datum::Int8(r.i64()?),
        oid::FLOAT4 => Datum::Float4(f32::from_bits(r.u32()?)),
        oid::FLOAT8 => Datum::Float8(f64::from_bits(r.u64()?)),
        oid::NUMERIC => Datum::numeric(numeric::receive(r, typmod)?),
        oid::TEXT | oid::UNKNOWN | oid::CSTRING => Datum::text(r.rest_str()?),
        oid::VARCHAR => varchar::varchar(r.rest_str()?.into(), typmod, false)?,
        oid::BPCHAR => varchar::bpchar(r.rest_str()?, typmod, false)?,
        oid::NAME => name::receive(r.rest_str()?)?,
        oid::JSON => json::json_input(r.rest_str()?)?,
        oid::JSONB => json::jsonb_receive(r)?,
        oid::BYTEA => Datum::bytea(r.rest()),
        oid::XID | oid::CID => Datum::Xid(r.u32()?),
        oid::XID8 => Datum::Xid8(r.u64()?),
        oid::TID => Datum::Tid(r.u32()?, r.i16()? as u16),
        oid::PG_LSN => Datum::Lsn(r.u64()?),
        oid::DATE => Datum::Date(date::check_date(r.i32()?)?),
        oid::TIME => Datum::Time(date::check_time(r.i64()?, typmod)?),
        oid::TIMETZ => Datum::TimeTz(date::receive_timetz(r, typmod)?),
        oid::TIMESTAMP => Datum::Timestamp(timestamp::check(r.i64()?, typmod)?),
        oid::TIMESTAMPTZ => Datum::TimestampTz(timestamp::check(r.i64()?, typmod)?),
        oid::INTERVAL => Datum::Interval(interval::receive(r, typmod)?),
        oid::UUID => Datum::Uuid(r.array()?),
        oid::INET | oid::CIDR => Datum::Inet(Rc::new(inet::receive(r, ty == oid::CIDR)?)),
        oid::VOID => Datum::Void,
        oid::OID => Datum::Oid(r.u32()?),
        _ if adt_oid::is_reg_type(ty) => Datum::Oid(r.u32()?),
        _ => match type_info(ty) {
            Some(info) if info.is_array() => arrayfuncs::receive(info, typmod, r)?,
            _ => return Err(no_function(ty, "input")),
        },
    })
}

/// Appends a value's wire form, without the length word. C: `SendFunctionCall`.
pub fn send(value: &Datum, ty: Oid, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Datum::Null | Datum::Void => {}
        Datum::Bool(v) => out.push(u8::from(*v)),
        Datum::Char(v) => out.push(*v),
        Datum::Int2(v) => out.extend(v.to_be_bytes()),
        Datum::Int4(v) | Datum::Date(v) => out.extend(v.to_be_bytes()),
        Datum::Int8(v) | Datum::Time(v) | Datum::Timestamp(v) | Datum::TimestampTz(v) => {
            out.extend(v.to_be_bytes());
        }
        Datum::Float4(v) => out.extend(v.to_be_bytes()),
        Datum::Float8(v) => out.extend(v.to_be_bytes()),
        Datum::Numeric(v) => numeric::send(v, out),
        Datum::Text(v) => {
            if ty == oid::JSONB {
                out.push(1);
            }
            out.extend(v.as_bytes());
        }
        Datum::Bytea(v) => out.extend(v.iter()),
        Datum::Oid(v) | Datum::Xid(v) => out.extend(v.to_be_bytes()),
        Datum::Xid8(v) | Datum::Lsn(v) => out.extend(v.to_be_bytes()),
        Datum::Tid(block, offset) => {
            out.extend(block.to_be_bytes());
            out.extend(offset.to_be_bytes());
        }
        Datum::TimeTz(v) => {
            out.extend(v.usecs.to_be_bytes());
            out.extend(v.zone_secs.to_be_bytes());
        }
        Datum::Interval(v) => {
            out.extend(v.usecs.to_be_bytes());
            out.extend(v.days.to_be_bytes());
            out.extend(v.months.to_be_bytes());
        }
        Datum::Uuid(v) => out.extend(v),
        Datum::Inet(v) => inet::send(v, ty == oid::CIDR, out),
        Datum::Array(v) => arrayfuncs::send(v, out)?,
        Datum::Record(v) => rowtypes::send(v, out)?,
    }
    Ok(())
}

/// Reads network-order fields off a byte string; every read checks what is left.
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { left: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Result<&'a [u8]> {
        if n > self.left.len() {
            return Err(error!(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message"));
        }
        let (head, tail) = self.left.split_at(n);
        self.left = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut a = [0; N];
        a.copy_from_slice(self.bytes(N)?);
        Ok(a)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    /// The rest as text; the wire's encoding is UTF-8, and a zero byte is not a character.
    pub(crate) fn rest_str(&mut self) -> Result<&'a str> {
        let bytes = self.rest();
        if bytes.contains(&0) {
            return Err(invalid_utf8(&[0]));
        }
        std::str::from_utf8(bytes).map_err(|e| {
            let start = e.valid_up_to();
            let len = utf8_length(bytes[start]).min(bytes.len() - start);
            invalid_utf8(&bytes[start..start + len])
        })
    }
}

/// Length of a UTF-8 sequence by its first byte. C: `pg_utf_mblen`.
pub(crate) fn utf8_length(first: u8) -> usize {
    match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    }
}

/// `invalid byte sequence for encoding "UTF8": 0xff`. C: `report_invalid_encoding`.
pub fn invalid_utf8(bytes: &[u8]) -> PgError {
    let shown: Vec<String> = bytes.iter().take(8).map(|b| format!("0x{b:02x}")).collect();
    error!(
        SqlState::CHARACTER_NOT_IN_REPERTOIRE,
        "invalid byte sequence for encoding \"UTF8\": {}",
        shown.join(" ")
    )
}
