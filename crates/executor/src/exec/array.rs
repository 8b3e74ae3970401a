//! Arrays: made from elements, taken apart by subscripts.
//!
//! C counterpart: `array_get_element`, `array_get_slice` of arrayfuncs.c and `ExecEvalArrayExpr`.

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use types::{ArrayValue, Datum, Dimension};

/// Most dimensions an array may have. C: `MAXDIM`.
const MAX_DIMENSIONS: usize = 6;

fn mismatched() -> PgError {
    error!(
        SqlState::ARRAY_SUBSCRIPT_ERROR,
        "multidimensional arrays must have array expressions with matching dimensions"
    )
}

/// `ARRAY[...]`; with `nested` the items are arrays themselves and add a dimension.
pub(super) fn build(elem: Oid, items: Vec<Datum>, nested: bool) -> Result<Datum> {
    if !nested {
        return Ok(Datum::array(elem, items));
    }
    let count = items.len() as i32;
    let mut inner: Option<Vec<Dimension>> = None;
    let mut values = Vec::new();
    let mut empty = 0;
    for item in &items {
        let Datum::Array(array) = item else {
            empty += 1;
            continue;
        };
        if array.dims.is_empty() {
            empty += 1;
            continue;
        }
        match &inner {
            Some(dims) if *dims != array.dims => return Err(mismatched()),
            _ => inner = Some(array.dims.clone()),
        }
        values.extend(array.values.iter().cloned());
    }
    let Some(inner) = inner else { return Ok(Datum::array(elem, Vec::new())) };
    if empty > 0 {
        return Err(mismatched());
    }
    if inner.len() >= MAX_DIMENSIONS {
        return Err(error!(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "number of array dimensions ({}) exceeds the maximum allowed ({MAX_DIMENSIONS})",
            inner.len() + 1
        ));
    }
    let mut dims = vec![Dimension { len: count, lower: 1 }];
    dims.extend(inner);
    Ok(Datum::Array(Rc::new(ArrayValue { elem, dims, values })))
}

/// One element; NULL outside the bounds or with the wrong number of subscripts.
pub(super) fn element(array: &Datum, indexes: &[Datum]) -> Datum {
    let Datum::Array(array) = array else { return Datum::Null };
    if array.dims.is_empty() || indexes.len() != array.dims.len() {
        return Datum::Null;
    }
    let mut offset = 0usize;
    for (index, dim) in indexes.iter().zip(&array.dims) {
        let Datum::Int4(index) = index else { return Datum::Null };
        let at = i64::from(*index) - i64::from(dim.lower);
        match usize::try_from(at) {
            Ok(at) if at < dim.len as usize => offset = offset * dim.len as usize + at,
            _ => return Datum::Null,
        }
    }
    array.values.get(offset).cloned().unwrap_or_default()
}

/// A part of an array, its bounds cut to what is there and its subscripts beginning with 1.
pub(super) fn slice(array: &Datum, bounds: &[(Option<Datum>, Option<Datum>)]) -> Datum {
    let Datum::Array(array) = array else { return Datum::Null };
    let nothing = || Datum::array(array.elem, Vec::new());
    if array.dims.len() < bounds.len() || array.dims.is_empty() {
        return nothing();
    }
    let mut ranges = Vec::with_capacity(array.dims.len());
    for (i, dim) in array.dims.iter().enumerate() {
        let (first, last) = (i64::from(dim.lower), i64::from(dim.lower) + i64::from(dim.len) - 1);
        let (low, high) = match bounds.get(i) {
            None => (first, last),
            Some((low, high)) => {
                let bound = |b: &Option<Datum>, default: i64| match b {
                    None => Some(default),
                    Some(Datum::Int4(v)) => Some(i64::from(*v)),
                    Some(_) => None,
                };
                // A NULL bound makes the whole NULL.
                match (bound(low, first), bound(high, last)) {
                    (Some(low), Some(high)) => (low.max(first), high.min(last)),
                    _ => return Datum::Null,
                }
            }
        };
        if low > high {
            return nothing();
        }
        ranges.push(((low - first) as usize, (high - first) as usize));
    }
    let mut values = Vec::new();
    collect(array, &ranges, 0, 0, &mut values);
    let dims =
        ranges.iter().map(|(low, high)| Dimension { len: (high - low + 1) as i32, lower: 1 }).collect();
    Datum::Array(Rc::new(ArrayValue { elem: array.elem, dims, values }))
}

fn collect(array: &ArrayValue, ranges: &[(usize, usize)], depth: usize, base: usize, out: &mut Vec<Datum>) {
    let Some((low, high)) = ranges.get(depth) else {
        out.extend(array.values.get(base).cloned());
        return;
    };
    for at in *low..=*high {
        collect(array, ranges, depth + 1, base * array.dims[depth].len as usize + at, out);
    }
}
