//! A row with its header: made from values, or copied out of a page.
//!
//! Forming writes each column at its alignment, with zero padding; a varlena of up to 126 bytes gets a one-byte
//! header and no alignment unless its storage is plain. A [`Tuple`] is a buffer that can be formed into again
//! and again ([`Tuple::form`]), so that inserting many rows allocates once.
//!
//! C counterpart: access/common/heaptuple.c (`heap_compute_data_size`, `heap_fill_tuple`, `heap_form_tuple`).

use common::{ItemPointer, Oid, SqlState};
use elog::{Result, error};
use types::Datum;
use types::store::Form;

use crate::desc::{Column, TupleDesc};
use crate::header::{HEADER_SIZE, Header, HeaderMut, MAX_TUPLE_ATTRS, infomask, max_align};

/// Longest payload that a one-byte header can announce. C: `VARATT_SHORT_MAX` less the header.
const SHORT_MAX: usize = 126;
/// Longest value at all. C: `MaxAllocSize`.
const MAX_VALUE: usize = 0x3fff_ffff;

/// A row in memory. C: `HeapTupleData` with its header.
#[derive(Clone, Debug, Default)]
pub struct Tuple {
    pub(crate) bytes: Vec<u8>,
    /// Where it is; invalid until it is inserted. C: `t_self`.
    pub tid: ItemPointer,
    /// Its table. C: `t_tableOid`.
    pub table_oid: Oid,
}

impl Tuple {
    /// An empty buffer to form rows into.
    pub fn new() -> Tuple {
        Tuple { bytes: Vec::new(), tid: ItemPointer::INVALID, table_oid: Oid::INVALID }
    }

    /// A copy of a row that lies in a page.
    pub fn copy_of(bytes: &[u8], tid: ItemPointer, table_oid: Oid) -> Tuple {
        Tuple { bytes: bytes.to_vec(), tid, table_oid }
    }

    /// A tuple over bytes that are a whole row with header.
    pub fn from_bytes(bytes: Vec<u8>) -> Tuple {
        Tuple { bytes, tid: ItemPointer::INVALID, table_oid: Oid::INVALID }
    }

    /// Header, bitmap and columns.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Length of the same. C: `t_len`.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True until something is formed into it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its header.
    pub fn header(&self) -> Header<'_> {
        Header(&self.bytes)
    }

    /// Its header, to change.
    pub fn header_mut(&mut self) -> HeaderMut<'_> {
        HeaderMut(&mut self.bytes)
    }

    /// As what a scan hands out.
    pub fn view(&self) -> TupleView<'_> {
        TupleView { bytes: &self.bytes, tid: self.tid, table_oid: self.table_oid }
    }

    /// Forms a row into this buffer, dropping what was there. `values` has one entry per column of `desc`.
    /// C: `heap_form_tuple`.
    ///
    /// # Errors
    /// 54011 for more than 1664 columns; what `types::store` says about a value of the wrong type.
    pub fn form(&mut self, desc: &TupleDesc, values: &[Datum]) -> Result<()> {
        let natts = desc.natts();
        if natts > MAX_TUPLE_ATTRS {
            return Err(error!(
                SqlState::TOO_MANY_COLUMNS,
                "number of columns ({natts}) exceeds limit ({MAX_TUPLE_ATTRS})"
            ));
        }
        if values.len() != natts {
            return Err(error!(SqlState::INTERNAL_ERROR, "{} values for {natts} columns", values.len()));
        }
        self.tid = ItemPointer::INVALID;
        let has_nulls = values.iter().any(Datum::is_null);
        let bitmap = if has_nulls { natts.div_ceil(8) } else { 0 };
        let hoff = max_align(HEADER_SIZE + bitmap);
        let bytes = &mut self.bytes;
        bytes.clear();
        bytes.resize(hoff, 0);
        let mut mask = if has_nulls { infomask::HASNULL } else { 0 };
        for (i, (column, value)) in desc.columns.iter().zip(values).enumerate() {
            if value.is_null() {
                continue;
            }
            if has_nulls {
                bytes[HEADER_SIZE + i / 8] |= 1 << (i % 8);
            }
            if column.len < 0 {
                mask |= infomask::HASVARWIDTH;
            }
            write_column(column, value, bytes, hoff)?;
        }
        let mut header = HeaderMut(bytes);
        header.set_ctid(ItemPointer::INVALID);
        header.set_infomask2(natts as u16);
        header.set_infomask(mask);
        header.set_hoff(hoff as u8);
        Ok(())
    }
}

/// Forms a row into a new buffer. C: `heap_form_tuple`.
///
/// # Errors
/// As [`Tuple::form`].
pub fn form_tuple(desc: &TupleDesc, values: &[Datum]) -> Result<Tuple> {
    let mut tuple = Tuple::new();
    tuple.form(desc, values)?;
    Ok(tuple)
}

/// A row with some columns replaced: `replace` has a new value or None per column. C: `heap_modify_tuple`.
///
/// # Errors
/// As forming and deforming.
pub fn modify_tuple(desc: &TupleDesc, old: TupleView<'_>, replace: &[Option<Datum>]) -> Result<Tuple> {
    let mut values = Vec::new();
    old.deform(desc, desc.natts(), &mut values)?;
    for (value, new) in values.iter_mut().zip(replace) {
        if let Some(new) = new {
            *value = new.clone();
        }
    }
    let mut tuple = form_tuple(desc, &values)?;
    tuple.tid = old.tid;
    tuple.table_oid = old.table_oid;
    Ok(tuple)
}

#[cold]
fn no_form() -> elog::PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "values of this type cannot be stored in a table")
}

#[cold]
fn too_long(len: usize) -> elog::PgError {
    error!(SqlState::PROGRAM_LIMIT_EXCEEDED, "invalid memory alloc request size {len}")
}

/// Pads to a column's alignment, which counts from the first column (`base`, itself a multiple of eight).
#[inline]
fn align(bytes: &mut Vec<u8>, base: usize, mask: u8) {
    let at = bytes.len() - base;
    let to = (at + mask as usize) & !(mask as usize);
    if to != at {
        bytes.resize(base + to, 0);
    }
}

/// Appends one column. C: `fill_val`.
#[inline]
fn write_column(column: &Column, value: &Datum, bytes: &mut Vec<u8>, base: usize) -> Result<()> {
    let form = column.form.ok_or_else(no_form)?;
    if column.len > 0 {
        align(bytes, base, column.align_mask);
        return form.write(value, bytes);
    }
    if column.len == -2 {
        let Datum::Text(text) = value else { return Err(no_form()) };
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
        return Ok(());
    }
    if column.packable {
        // Most values are short: write as one, then look.
        let at = bytes.len();
        bytes.push(0);
        form.write(value, bytes)?;
        let len = bytes.len() - at - 1;
        if len <= SHORT_MAX {
            bytes[at] = ((len + 1) << 1 | 1) as u8;
            return Ok(());
        }
        bytes.truncate(at);
    }
    write_long(form, column.align_mask, value, bytes, base)
}

/// Appends a varlena with a four-byte header.
fn write_long(form: Form, mask: u8, value: &Datum, bytes: &mut Vec<u8>, base: usize) -> Result<()> {
    align(bytes, base, mask);
    let at = bytes.len();
    bytes.extend_from_slice(&[0; 4]);
    form.write(value, bytes)?;
    let len = bytes.len() - at;
    if len > MAX_VALUE {
        return Err(too_long(len));
    }
    bytes[at..at + 4].copy_from_slice(&((len as u32) << 2).to_le_bytes());
    Ok(())
}

/// A row where it lies: borrowed from a scan's page or from a [`Tuple`].
#[derive(Clone, Copy, Debug)]
pub struct TupleView<'a> {
    /// Header, bitmap and columns.
    pub bytes: &'a [u8],
    /// Its address.
    pub tid: ItemPointer,
    /// Its table.
    pub table_oid: Oid,
}

impl<'a> TupleView<'a> {
    /// Its header.
    #[inline]
    pub fn header(self) -> Header<'a> {
        Header(self.bytes)
    }

    /// A copy that outlives the page.
    pub fn to_tuple(self) -> Tuple {
        Tuple::copy_of(self.bytes, self.tid, self.table_oid)
    }
}

#[cfg(test)]
#[path = "tuple_tests.rs"]
mod tests;
