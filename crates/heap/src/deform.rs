//! From a row's bytes to values.
//!
//! Columns that only fixed-width columns stand before are found at an offset known in advance, as long as the row has
//! no NULL before them; after the first NULL or varlena the walk computes each offset. A [`Deformer`] remembers
//! how far it came, so that a query pays only for the columns it looks at, once.
//!
//! C counterpart: access/common/heaptuple.c (`heap_deform_tuple`, `nocachegetattr`), executor/execTuples.c
//! (`slot_deform_heap_tuple`), access/tupmacs.h.

use std::ops::Range;

use common::SqlState;
use elog::{Result, error};
use types::Datum;

use crate::desc::{Column, TupleDesc};
use crate::tuple::TupleView;

/// How far a row has been taken apart. Starts at the first column.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deformer {
    /// Columns done.
    next: usize,
    /// Where the next one would start before alignment, from the first column.
    offset: usize,
    /// Offsets known in advance no longer hold.
    slow: bool,
}

#[cold]
fn corrupt() -> elog::PgError {
    error!(SqlState::DATA_CORRUPTED, "row is shorter than its columns")
}

#[cold]
fn unsupported(what: &str) -> elog::PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "{what} values are not supported yet")
}

/// The payload of the varlena at `at`, and where the next column may start. C: `VARDATA_ANY`, `VARSIZE_ANY`.
#[inline]
fn varlena(data: &[u8], at: usize) -> Result<(&[u8], usize)> {
    let first = *data.get(at).ok_or_else(corrupt)?;
    if first & 1 != 0 {
        if first == 1 {
            return Err(unsupported("out-of-line"));
        }
        let end = at + (first >> 1) as usize;
        return Ok((data.get(at + 1..end).ok_or_else(corrupt)?, end));
    }
    let word = data.get(at..at + 4).ok_or_else(corrupt)?;
    if first & 2 != 0 {
        return Err(unsupported("compressed"));
    }
    let end = at + (u32::from_le_bytes([word[0], word[1], word[2], word[3]]) >> 2) as usize;
    Ok((data.get(at + 4..end).ok_or_else(corrupt)?, end))
}

/// Where a column starts, given where the one before it ended. C: `att_align_pointer`.
#[inline]
fn align(column: &Column, data: &[u8], at: usize) -> usize {
    let mask = column.align_mask as usize;
    // A varlena's first byte is never zero if it has a short header, and padding always is.
    if column.len == -1 && data.get(at).is_some_and(|b| *b != 0) { at } else { (at + mask) & !mask }
}

/// The bytes of a column without any length word, and where it ends.
#[inline]
fn payload<'a>(column: &Column, data: &'a [u8], at: usize) -> Result<(&'a [u8], usize)> {
    if column.len > 0 {
        let end = at + column.len as usize;
        Ok((data.get(at..end).ok_or_else(corrupt)?, end))
    } else if column.len == -1 {
        varlena(data, at)
    } else {
        let rest = data.get(at..).ok_or_else(corrupt)?;
        let len = rest.iter().position(|b| *b == 0).ok_or_else(corrupt)?;
        Ok((&rest[..len], at + len + 1))
    }
}

impl Deformer {
    /// Columns taken apart so far.
    pub fn done(&self) -> usize {
        self.next
    }

    /// Appends the columns from the first one not done up to `up_to` (a count) to `out`. Columns that the row is too
    /// old to have get their missing value or NULL. C: `slot_deform_heap_tuple`, `slot_getmissingattrs`.
    ///
    /// # Errors
    /// XX001 for a row that ends too early, 0A000 for compressed and out-of-line values.
    pub fn deform(
        &mut self,
        desc: &TupleDesc,
        tuple: TupleView<'_>,
        up_to: usize,
        out: &mut Vec<Datum>,
    ) -> Result<()> {
        let header = tuple.header();
        let up_to = up_to.min(desc.natts());
        let stored = up_to.min(header.natts());
        let has_nulls = header.infomask() & crate::header::infomask::HASNULL != 0;
        let data = tuple.bytes.get(header.hoff()..).ok_or_else(corrupt)?;
        while self.next < stored {
            let i = self.next;
            let column = &desc.columns[i];
            self.next += 1;
            if has_nulls && header.null_bitmap()[i / 8] & 1 << (i % 8) == 0 {
                out.push(Datum::Null);
                self.slow = true;
                continue;
            }
            let at = match column.offset {
                Some(offset) if !self.slow => offset as usize,
                _ => align(column, data, self.offset),
            };
            let (bytes, end) = payload(column, data, at)?;
            self.offset = end;
            if column.len <= 0 {
                self.slow = true;
            }
            out.push(match column.form {
                Some(form) => form.read(bytes)?,
                None => Datum::Null, // dropped
            });
        }
        while self.next < up_to {
            out.push(desc.attrs[self.next].missing.clone().unwrap_or_default());
            self.next += 1;
        }
        Ok(())
    }
}

impl TupleView<'_> {
    /// The first `up_to` columns, replacing what `out` holds. C: `heap_deform_tuple`.
    ///
    /// # Errors
    /// As [`Deformer::deform`].
    pub fn deform(self, desc: &TupleDesc, up_to: usize, out: &mut Vec<Datum>) -> Result<()> {
        out.clear();
        Deformer::default().deform(desc, self, up_to, out)
    }

    /// Finds the first `up_to` columns without making values of them, replacing what `out` holds: for those who write
    /// bytes on, as COPY does.
    ///
    /// # Errors
    /// As [`Deformer::deform`].
    pub fn places(self, desc: &TupleDesc, up_to: usize, out: &mut Vec<Place>) -> Result<()> {
        out.clear();
        let header = self.header();
        let up_to = up_to.min(desc.natts());
        let has_nulls = header.infomask() & crate::header::infomask::HASNULL != 0;
        let start = header.hoff();
        let data = self.bytes.get(start..).ok_or_else(corrupt)?;
        let mut next = 0;
        for (i, column) in desc.columns[..up_to.min(header.natts())].iter().enumerate() {
            if has_nulls && header.null_bitmap()[i / 8] & 1 << (i % 8) == 0 {
                out.push(Place::Null);
                continue;
            }
            let (bytes, end) = payload(column, data, align(column, data, next))?;
            next = end;
            // A cstring's last byte is not its own.
            let last = end - usize::from(column.len < -1);
            let place = Place::Bytes(start + last - bytes.len()..start + last);
            out.push(if column.form.is_some() { place } else { Place::Null });
        }
        out.resize(up_to, Place::Missing);
        Ok(())
    }

    /// One column, `num` from 1, without making values of those before it. C: `fastgetattr`.
    ///
    /// # Errors
    /// As [`Deformer::deform`].
    pub fn attr(self, desc: &TupleDesc, num: i16) -> Result<Datum> {
        let index = num as usize - 1;
        let attr = desc.attrs.get(index).ok_or_else(corrupt)?;
        match self.attr_bytes(desc, num)? {
            Stored::Bytes(bytes) => desc.columns[index].form.map_or(Ok(Datum::Null), |f| f.read(bytes)),
            Stored::Null => Ok(Datum::Null),
            Stored::Missing => Ok(attr.missing.clone().unwrap_or_default()),
        }
    }

    /// The bytes of one column, without length word.
    pub(crate) fn attr_bytes(&self, desc: &TupleDesc, num: i16) -> Result<Stored<'_>> {
        let index = num as usize - 1;
        let header = self.header();
        if index >= header.natts() {
            return Ok(Stored::Missing);
        }
        let has_nulls = header.infomask() & crate::header::infomask::HASNULL != 0;
        let is_null = |i: usize| has_nulls && header.null_bitmap()[i / 8] & 1 << (i % 8) == 0;
        if is_null(index) {
            return Ok(Stored::Null);
        }
        let data = self.bytes.get(header.hoff()..).ok_or_else(corrupt)?;
        if let (Some(offset), false) = (desc.columns[index].offset, has_nulls) {
            return Ok(Stored::Bytes(payload(&desc.columns[index], data, offset as usize)?.0));
        }
        let mut at = 0;
        for (i, column) in desc.columns[..index].iter().enumerate() {
            if !is_null(i) {
                at = payload(column, data, align(column, data, at))?.1;
            }
        }
        let column = &desc.columns[index];
        Ok(Stored::Bytes(payload(column, data, align(column, data, at))?.0))
    }
}

/// Where a row has a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// These of the row's bytes, without length word.
    Bytes(Range<usize>),
    /// It is NULL, or dropped.
    Null,
    /// The row is older than the column.
    Missing,
}

/// What a row has of a column.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    Bytes(&'a [u8]),
    Null,
    /// The row is older than the column.
    Missing,
}

/// The first `up_to` columns of a row's bytes; for callers without a [`TupleView`]. C: `heap_deform_tuple`.
///
/// # Errors
/// As [`Deformer::deform`].
pub fn deform(desc: &TupleDesc, bytes: &[u8], up_to: usize, out: &mut Vec<Datum>) -> Result<()> {
    let view = TupleView { bytes, tid: common::ItemPointer::INVALID, table_oid: common::Oid::INVALID };
    view.deform(desc, up_to, out)
}
