//! What the columns of a row are, as far as their storage goes.
//!
//! A [`TupleDesc`] also works out once what forming and deforming need for each row: how a column's bytes
//! become a value, and the offset of each column that only fixed-width columns stand before.
//!
//! C counterpart: access/tupdesc.h, catalog/pg_attribute.h.

use std::rc::Rc;

use common::Oid;
use types::store::Form;
use types::{Datum, oid};

/// One column. C: `FormData_pg_attribute`.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// `attname`.
    pub name: Rc<str>,
    /// `atttypid`; invalid once dropped.
    pub type_id: Oid,
    /// `atttypmod`, -1 for none.
    pub typmod: i32,
    /// `attlen`: bytes, -1 for varlena, -2 for a C string.
    pub len: i16,
    /// `attnum`, from 1.
    pub num: i16,
    /// `attbyval`.
    pub by_val: bool,
    /// `attalign`: `b'c'`, `b's'`, `b'i'`, `b'd'`.
    pub align: u8,
    /// `attstorage`: `b'p'` plain (never a short header), `b'x'`, `b'e'`, `b'm'`.
    pub storage: u8,
    /// `attnotnull`.
    pub not_null: bool,
    /// `atthasdef`.
    pub has_default: bool,
    /// `attisdropped`.
    pub is_dropped: bool,
    /// `attmissingval`: what rows older than the column have.
    pub missing: Option<Datum>,
    /// `attcollation`.
    pub collation: Oid,
}

impl Attribute {
    /// A column of a built-in type, its storage taken from the type. `storage` is `x` for varlena types other
    /// than the fixed vectors, numeric and inet (`m`). C: `TupleDescInitEntry`.
    pub fn new(name: &str, num: i16, type_id: Oid, typmod: i32) -> Attribute {
        let info = types::type_info(type_id);
        let (len, by_val, align) = info.map_or((-1, false, b'i'), |t| (t.typlen, t.typbyval, t.align as u8));
        let storage = match type_id {
            oid::NUMERIC | oid::INET | oid::CIDR => b'm',
            oid::INT2VECTOR | oid::OIDVECTOR => b'p',
            _ if len == -1 => b'x',
            _ => b'p',
        };
        Attribute {
            name: name.into(),
            type_id,
            typmod,
            len,
            num,
            by_val,
            align,
            storage,
            not_null: false,
            has_default: false,
            is_dropped: false,
            missing: None,
            collation: Oid::INVALID,
        }
    }
}

/// What forming and deforming look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// None for a dropped column and for a type without stored values.
    pub form: Option<Form>,
    pub len: i16,
    /// Alignment less one: 0, 1, 3, 7.
    pub align_mask: u8,
    /// Whether a varlena may have a one-byte header.
    pub packable: bool,
    /// Offset from the first column's start, if it is the same in each row without NULLs before it.
    pub offset: Option<u32>,
}

/// The columns of a row. C: `TupleDesc`.
#[derive(Clone, Debug)]
pub struct TupleDesc {
    /// In order of `num`, dropped ones included. Not to be changed after [`TupleDesc::new`].
    pub attrs: Vec<Attribute>,
    /// Row type, or RECORD. C: `tdtypeid`.
    pub type_id: Oid,
    pub(crate) columns: Vec<Column>,
}

impl TupleDesc {
    /// Works the offsets out. C: `CreateTupleDesc`.
    pub fn new(attrs: Vec<Attribute>) -> TupleDesc {
        TupleDesc::with_type(attrs, oid::RECORD)
    }

    /// The same for a named row type.
    pub fn with_type(attrs: Vec<Attribute>, type_id: Oid) -> TupleDesc {
        let mut next = Some(0u32);
        let columns = attrs
            .iter()
            .map(|a| {
                let align_mask = match a.align {
                    b'd' => 7,
                    b'i' => 3,
                    b's' => 1,
                    _ => 0u8,
                };
                let mask = u32::from(align_mask);
                // A varlena's place depends on its header, unless it is aligned anyway.
                let offset = next.and_then(|o| match a.len {
                    -1 if o & mask != 0 => None,
                    _ => Some((o + mask) & !mask),
                });
                next = if a.len > 0 { offset.map(|o| o + a.len as u32) } else { None };
                let form = if a.is_dropped { None } else { Form::of(a.type_id) };
                let packable = a.len == -1 && a.storage != b'p';
                Column { form, len: a.len, align_mask, packable, offset }
            })
            .collect();
        TupleDesc { attrs, type_id, columns }
    }

    /// Number of columns, dropped ones included.
    pub fn natts(&self) -> usize {
        self.attrs.len()
    }

    /// The column with this name that is not dropped.
    pub fn find(&self, name: &str) -> Option<&Attribute> {
        self.attrs.iter().find(|a| !a.is_dropped && &*a.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_end_at_the_first_varlena() {
        let types = [oid::INT2, oid::INT4, oid::INT8, oid::TEXT, oid::INT4];
        let desc =
            TupleDesc::new(types.iter().zip(1..).map(|(t, n)| Attribute::new("c", n, *t, -1)).collect());
        let offsets: Vec<_> = desc.columns.iter().map(|c| c.offset).collect();
        assert_eq!(offsets, [Some(0), Some(4), Some(8), Some(16), None]);
    }

    #[test]
    fn a_varlena_after_an_odd_width_has_no_fixed_offset() {
        let types = [oid::BOOL, oid::TEXT];
        let desc =
            TupleDesc::new(types.iter().zip(1..).map(|(t, n)| Attribute::new("c", n, *t, -1)).collect());
        assert_eq!(desc.columns[1].offset, None);
    }
}
