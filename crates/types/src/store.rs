//! Values as they lie in a table's row.
//!
//! A fixed-length type is its bytes in the machine's order; a variable-length one is a length word, which the
//! tuple code writes (in one of two widths), and the bytes made here. [`Form`] is a type's way of doing so, found once
//! for each column, so that reading a row looks nothing up.
//!
//! C counterpart: none in one place: `fetchatt`, `store_att_byval`, the layouts of numeric.c, array.h, inet.h, `name`.

use std::net::IpAddr;
use std::rc::Rc;

use common::{ItemPointer, Oid, SqlState};
use elog::{PgError, Result, error};

use crate::adt::inet::Inet;
use crate::adt::numeric;
use crate::{ArrayValue, Datum, Dimension, Interval, TimeTz, oid, type_info};

/// Bytes of a `name`. C: `NAMEDATALEN`.
const NAME_SIZE: usize = 64;
/// Length words within an array are four bytes wide.
const VARLENA_HEADER: usize = 4;
/// Length word, dimensions, offset of the data, element type. C: `sizeof(ArrayType)`.
const ARRAY_HEADER: usize = 16;
/// C: `MAXALIGN`.
const MAX_ALIGN: usize = 8;
/// C: `MAXDIM`.
const MAX_DIMENSIONS: usize = 6;
/// C: `PGSQL_AF_INET` and `PGSQL_AF_INET6`.
const FAMILY_V4: u8 = 2;
const FAMILY_V6: u8 = 3;

/// How the values of a type are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the types")]
pub enum Form {
    Bool,
    Char,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Oid,
    Xid,
    Xid8,
    Lsn,
    Tid,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Name,
    Text,
    Bytea,
    Numeric,
    Inet,
    /// An array, or one of the two vectors, over this type.
    Array(Oid),
}

impl Form {
    /// A type's form; `None` for types whose values cannot be stored (pseudo-types, those that do not exist here yet).
    pub fn of(ty: Oid) -> Option<Form> {
        Some(match ty {
            oid::BOOL => Form::Bool,
            oid::CHAR => Form::Char,
            oid::INT2 => Form::Int2,
            oid::INT4 => Form::Int4,
            oid::INT8 => Form::Int8,
            oid::FLOAT4 => Form::Float4,
            oid::FLOAT8 => Form::Float8,
            oid::XID | oid::CID => Form::Xid,
            oid::XID8 => Form::Xid8,
            oid::PG_LSN => Form::Lsn,
            oid::TID => Form::Tid,
            oid::DATE => Form::Date,
            oid::TIME => Form::Time,
            oid::TIMETZ => Form::TimeTz,
            oid::TIMESTAMP => Form::Timestamp,
            oid::TIMESTAMPTZ => Form::TimestampTz,
            oid::INTERVAL => Form::Interval,
            oid::UUID => Form::Uuid,
            oid::NAME => Form::Name,
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::JSON | oid::PG_NODE_TREE => Form::Text,
            oid::BYTEA => Form::Bytea,
            oid::NUMERIC => Form::Numeric,
            oid::INET | oid::CIDR => Form::Inet,
            oid::OID => Form::Oid,
            _ if crate::adt::oid::is_reg_type(ty) => Form::Oid,
            _ => {
                let info = type_info(ty).filter(|info| info.is_array())?;
                Form::of(info.elem)?;
                Form::Array(info.elem)
            }
        })
    }

    /// Appends the value, without a length word. A value of another type than the column's is a bug of the caller.
    ///
    /// # Errors
    /// XX000 for a value that the form cannot hold.
    #[inline]
    pub fn write(self, value: &Datum, out: &mut Vec<u8>) -> Result<()> {
        match (self, value) {
            (Form::Int4, Datum::Int4(v)) | (Form::Date, Datum::Date(v)) => {
                out.extend_from_slice(&v.to_le_bytes())
            }
            (Form::Int8, Datum::Int8(v))
            | (Form::Time, Datum::Time(v))
            | (Form::Timestamp, Datum::Timestamp(v))
            | (Form::TimestampTz, Datum::TimestampTz(v)) => out.extend_from_slice(&v.to_le_bytes()),
            (Form::Text, Datum::Text(v)) => out.extend_from_slice(v.as_bytes()),
            (Form::Bool, Datum::Bool(v)) => out.push(u8::from(*v)),
            (Form::Char, Datum::Char(v)) => out.push(*v),
            (Form::Int2, Datum::Int2(v)) => out.extend_from_slice(&v.to_le_bytes()),
            (Form::Float4, Datum::Float4(v)) => out.extend_from_slice(&v.to_le_bytes()),
            (Form::Float8, Datum::Float8(v)) => out.extend_from_slice(&v.to_le_bytes()),
            (Form::Oid, Datum::Oid(v)) | (Form::Xid, Datum::Xid(v)) => {
                out.extend_from_slice(&v.to_le_bytes())
            }
            (Form::Xid8, Datum::Xid8(v)) | (Form::Lsn, Datum::Lsn(v)) => {
                out.extend_from_slice(&v.to_le_bytes())
            }
            (Form::Bytea, Datum::Bytea(v)) => out.extend_from_slice(v),
            _ => return self.write_other(value, out),
        }
        Ok(())
    }

    fn write_other(self, value: &Datum, out: &mut Vec<u8>) -> Result<()> {
        match (self, value) {
            (Form::Numeric, Datum::Numeric(v)) => numeric::to_stored(v, out),
            (Form::Name, Datum::Text(v)) => {
                // One byte is left for the zero that C's strings end with.
                let kept = v.len().min(NAME_SIZE - 1);
                out.extend_from_slice(&v.as_bytes()[..kept]);
                out.resize(out.len() + NAME_SIZE - kept, 0);
            }
            (Form::Tid, Datum::Tid(block, offset)) => {
                out.extend_from_slice(&ItemPointer::new(*block, *offset).to_bytes());
            }
            (Form::TimeTz, Datum::TimeTz(v)) => {
                out.extend_from_slice(&v.usecs.to_le_bytes());
                out.extend_from_slice(&v.zone_secs.to_le_bytes());
            }
            (Form::Interval, Datum::Interval(v)) => {
                out.extend_from_slice(&v.usecs.to_le_bytes());
                out.extend_from_slice(&v.days.to_le_bytes());
                out.extend_from_slice(&v.months.to_le_bytes());
            }
            (Form::Uuid, Datum::Uuid(v)) => out.extend_from_slice(v),
            (Form::Inet, Datum::Inet(v)) => match v.addr {
                IpAddr::V4(addr) => {
                    out.extend_from_slice(&[FAMILY_V4, v.bits]);
                    out.extend_from_slice(&addr.octets());
                }
                IpAddr::V6(addr) => {
                    out.extend_from_slice(&[FAMILY_V6, v.bits]);
                    out.extend_from_slice(&addr.octets());
                }
            },
            (Form::Array(elem), Datum::Array(v)) => write_array(elem, v, out)?,
            _ => return Err(error!(SqlState::INTERNAL_ERROR, "cannot store {value:?} as {self:?}")),
        }
        Ok(())
    }

    /// The value that [`Form::write`] wrote.
    ///
    /// # Errors
    /// XX001 for bytes that no value has.
    #[inline]
    pub fn read(self, bytes: &[u8]) -> Result<Datum> {
        Ok(match self {
            Form::Int4 => Datum::Int4(i32::from_le_bytes(fixed(bytes)?)),
            Form::Int8 => Datum::Int8(i64::from_le_bytes(fixed(bytes)?)),
            Form::Text => Datum::Text(Rc::from(text(bytes)?)),
            Form::Bool => Datum::Bool(fixed::<1>(bytes)? != [0]),
            Form::Int2 => Datum::Int2(i16::from_le_bytes(fixed(bytes)?)),
            Form::Oid => Datum::Oid(u32::from_le_bytes(fixed(bytes)?)),
            Form::Name => Datum::Text(Rc::from(name(bytes)?)),
            Form::Float8 => Datum::Float8(f64::from_le_bytes(fixed(bytes)?)),
            Form::Date => Datum::Date(i32::from_le_bytes(fixed(bytes)?)),
            Form::Timestamp => Datum::Timestamp(i64::from_le_bytes(fixed(bytes)?)),
            Form::TimestampTz => Datum::TimestampTz(i64::from_le_bytes(fixed(bytes)?)),
            _ => return self.read_other(bytes),
        })
    }

    /// The bytes as the string they are, for the types whose text form is their value; `None` for the others.
    ///
    /// # Errors
    /// As [`Form::read`].
    #[inline]
    pub fn as_text(self, bytes: &[u8]) -> Result<Option<&str>> {
        match self {
            Form::Text => text(bytes).map(Some),
            Form::Name => name(bytes).map(Some),
            _ => Ok(None),
        }
    }

    fn read_other(self, bytes: &[u8]) -> Result<Datum> {
        Ok(match self {
            Form::Char => Datum::Char(fixed::<1>(bytes)?[0]),
            Form::Float4 => Datum::Float4(f32::from_le_bytes(fixed(bytes)?)),
            Form::Xid => Datum::Xid(u32::from_le_bytes(fixed(bytes)?)),
            Form::Xid8 => Datum::Xid8(u64::from_le_bytes(fixed(bytes)?)),
            Form::Lsn => Datum::Lsn(u64::from_le_bytes(fixed(bytes)?)),
            Form::Time => Datum::Time(i64::from_le_bytes(fixed(bytes)?)),
            Form::Tid => {
                let tid = ItemPointer::from_bytes(fixed(bytes)?);
                Datum::Tid(tid.block, tid.offset)
            }
            Form::TimeTz => {
                let (usecs, zone) = bytes.split_first_chunk().ok_or_else(corrupted)?;
                Datum::TimeTz(TimeTz {
                    usecs: i64::from_le_bytes(*usecs),
                    zone_secs: i32::from_le_bytes(fixed(zone)?),
                })
            }
            Form::Interval => {
                let (usecs, rest) = bytes.split_first_chunk().ok_or_else(corrupted)?;
                let (days, months) = rest.split_first_chunk().ok_or_else(corrupted)?;
                Datum::Interval(Interval {
                    usecs: i64::from_le_bytes(*usecs),
                    days: i32::from_le_bytes(*days),
                    months: i32::from_le_bytes(fixed(months)?),
                })
            }
            Form::Uuid => Datum::Uuid(fixed(bytes)?),
            Form::Bytea => Datum::Bytea(Rc::from(bytes)),
            Form::Numeric => Datum::numeric(numeric::from_stored(bytes).ok_or_else(corrupted)?),
            Form::Inet => Datum::Inet(Rc::new(read_inet(bytes).ok_or_else(corrupted)?)),
            Form::Array(elem) => Datum::Array(Rc::new(read_array(elem, bytes)?)),
            // The others are in `read`.
            _ => return Err(corrupted()),
        })
    }
}

#[cold]
fn corrupted() -> PgError {
    error!(SqlState::DATA_CORRUPTED, "stored value has an impossible length or content")
}

#[inline]
fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| corrupted())
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| corrupted())
}

fn name(bytes: &[u8]) -> Result<&str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    text(&bytes[..end])
}

fn read_inet(bytes: &[u8]) -> Option<Inet> {
    let (&[family, bits], addr) = bytes.split_first_chunk()?;
    let addr = match family {
        FAMILY_V4 => IpAddr::from(<[u8; 4]>::try_from(addr).ok()?),
        FAMILY_V6 => IpAddr::from(<[u8; 16]>::try_from(addr).ok()?),
        _ => return None,
    };
    Some(Inet { addr, bits })
}

// --- arrays ---

/// Bytes that one unit of an alignment code stands for. C: `att_align_nominal`.
pub fn alignment(code: char) -> usize {
    match code {
        'c' => 1,
        's' => 2,
        'i' => 4,
        _ => MAX_ALIGN,
    }
}

/// What follows an array's length word. Offsets within count from that word. C: `ArrayType`.
fn write_array(elem: Oid, array: &ArrayValue, out: &mut Vec<u8>) -> Result<()> {
    let (Some(form), Some(info)) = (Form::of(elem), type_info(elem)) else { return Err(corrupted()) };
    // Where the length word would begin.
    let at = |out: &Vec<u8>, start: usize| out.len() - start + VARLENA_HEADER;
    let start = out.len();
    let has_nulls = array.values.iter().any(Datum::is_null);
    out.extend_from_slice(&(array.dims.len() as i32).to_le_bytes());
    let offset_at = out.len();
    out.extend_from_slice(&0i32.to_le_bytes());
    out.extend_from_slice(&elem.0.to_le_bytes());
    for dimension in &array.dims {
        out.extend_from_slice(&dimension.len.to_le_bytes());
    }
    for dimension in &array.dims {
        out.extend_from_slice(&dimension.lower.to_le_bytes());
    }
    if has_nulls {
        let bitmap = out.len();
        out.resize(bitmap + array.values.len().div_ceil(8), 0);
        for (i, _) in array.values.iter().enumerate().filter(|(_, value)| !value.is_null()) {
            out[bitmap + i / 8] |= 1 << (i % 8);
        }
    }
    pad(out, start, MAX_ALIGN);
    if has_nulls {
        let offset = at(out, start) as i32;
        out[offset_at..offset_at + 4].copy_from_slice(&offset.to_le_bytes());
    }
    for value in array.values.iter().filter(|value| !value.is_null()) {
        // C pads behind each element, which comes to the same, also at the end.
        let length_at = out.len();
        if info.typlen < 0 {
            out.extend_from_slice(&[0; VARLENA_HEADER]);
        }
        form.write(value, out)?;
        if info.typlen < 0 {
            let word = ((out.len() - length_at) as u32) << 2;
            out[length_at..length_at + VARLENA_HEADER].copy_from_slice(&word.to_le_bytes());
        }
        pad(out, start, alignment(info.align));
    }
    Ok(())
}

/// Zeros up to the next multiple, counted from the length word in front of `start`.
fn pad(out: &mut Vec<u8>, start: usize, align: usize) {
    let size = (out.len() - start + VARLENA_HEADER).next_multiple_of(align);
    out.resize(size + start - VARLENA_HEADER, 0);
}

fn read_array(elem: Oid, bytes: &[u8]) -> Result<ArrayValue> {
    let word = |at: usize| -> Result<i32> {
        // Offsets count from the length word, which is not part of `bytes`.
        let at = at.checked_sub(VARLENA_HEADER).ok_or_else(corrupted)?;
        Ok(i32::from_le_bytes(fixed(bytes.get(at..at + 4).ok_or_else(corrupted)?)?))
    };
    let count = usize::try_from(word(VARLENA_HEADER)?).map_err(|_| corrupted())?;
    if count > MAX_DIMENSIONS {
        return Err(corrupted());
    }
    let data_offset = usize::try_from(word(8)?).map_err(|_| corrupted())?;
    let mut dims = Vec::with_capacity(count);
    let mut total = usize::from(count > 0);
    for i in 0..count {
        let dimension =
            Dimension { len: word(ARRAY_HEADER + 4 * i)?, lower: word(ARRAY_HEADER + 4 * (count + i))? };
        total = total.saturating_mul(usize::try_from(dimension.len).map_err(|_| corrupted())?);
        dims.push(dimension);
    }
    let bitmap = ARRAY_HEADER + 8 * count;
    let data = if data_offset > 0 { data_offset } else { bitmap.next_multiple_of(MAX_ALIGN) };
    let values = read_elements(elem, bytes, total, data, (data_offset > 0).then_some(bitmap))?;
    Ok(ArrayValue { elem, dims, values })
}

fn read_elements(
    elem: Oid,
    bytes: &[u8],
    total: usize,
    data: usize,
    bitmap: Option<usize>,
) -> Result<Vec<Datum>> {
    let (Some(form), Some(info)) = (Form::of(elem), type_info(elem)) else { return Err(corrupted()) };
    let slice = |from: usize, len: usize| {
        let from = from.checked_sub(VARLENA_HEADER).ok_or_else(corrupted)?;
        bytes.get(from..from.saturating_add(len)).ok_or_else(corrupted)
    };
    let mut values = Vec::with_capacity(total.min(bytes.len()));
    let mut at = data;
    for i in 0..total {
        if let Some(bitmap) = bitmap
            && slice(bitmap + i / 8, 1)?[0] & (1 << (i % 8)) == 0
        {
            values.push(Datum::Null);
            continue;
        }
        let len = match usize::try_from(info.typlen) {
            Ok(len) => len,
            Err(_) => {
                let word = u32::from_le_bytes(fixed(slice(at, VARLENA_HEADER)?)?);
                at += VARLENA_HEADER;
                ((word >> 2) as usize).checked_sub(VARLENA_HEADER).ok_or_else(corrupted)?
            }
        };
        values.push(form.read(slice(at, len)?)?);
        at = (at + len).next_multiple_of(alignment(info.align));
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
