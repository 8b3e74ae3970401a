//! Functions on arrays. C: array_userfuncs.c and the second half of arrayfuncs.c.

use std::cmp::Ordering;
use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};

use super::arrayfuncs::{MAX_DIMENSIONS, compare, too_many_dimensions};
use crate::compare::compare_nulls_last;
use crate::fmgr::{CallContext, RowIter};
use crate::type_info::element_type_of;
use crate::{ArrayValue, Datum, Dimension, FromDatum, TypeInfo, oid, type_info};

comparisons! {
    &ArrayValue, &ArrayValue, |a, b| checked_compare(a, b)? => array_eq array_ne array_lt array_le array_gt array_ge btarraycmp;
}

fn checked_compare(a: &ArrayValue, b: &ArrayValue) -> Result<Ordering> {
    if a.elem != b.elem {
        return Err(error!(SqlState::DATATYPE_MISMATCH, "cannot compare arrays of different element types"));
    }
    compare(a, b)
}

/// The element at these subscripts; NULL outside the bounds or with the wrong number of them. C: `array_ref`.
pub fn array_get(array: &ArrayValue, subscripts: &[i32]) -> Datum {
    if subscripts.len() != array.dims.len() {
        return Datum::Null;
    }
    let mut offset = 0usize;
    for (subscript, dim) in subscripts.iter().zip(&array.dims) {
        let index = i64::from(*subscript) - i64::from(dim.lower);
        if !(0..i64::from(dim.len)).contains(&index) {
            return Datum::Null;
        }
        offset = offset * dim.len as usize + index as usize;
    }
    array.values.get(offset).cloned().unwrap_or_default()
}

/// The sub-array within these bounds (`None` is the array's own), its subscripts starting at 1. Empty if any
/// range is. C: `array_get_slice`.
pub fn array_slice(array: &ArrayValue, bounds: &[(Option<i32>, Option<i32>)]) -> ArrayValue {
    let empty = ArrayValue { elem: array.elem, dims: Vec::new(), values: Vec::new() };
    if bounds.len() > array.dims.len() || array.dims.is_empty() {
        return empty;
    }
    let mut ranges = Vec::with_capacity(array.dims.len());
    for (i, dim) in array.dims.iter().enumerate() {
        let (from, to) = bounds.get(i).copied().unwrap_or((None, None));
        let last = i64::from(dim.lower) + i64::from(dim.len) - 1;
        let from = from.map_or(i64::from(dim.lower), |v| i64::from(v).max(i64::from(dim.lower)));
        let to = to.map_or(last, |v| i64::from(v).min(last));
        if from > to {
            return empty;
        }
        ranges.push(((from - i64::from(dim.lower)) as usize, (to - from + 1) as usize));
    }
    let dims = ranges.iter().map(|(_, len)| Dimension { len: *len as i32, lower: 1 }).collect();
    let mut values = Vec::new();
    collect_slice(array, &ranges, 0, 0, &mut values);
    ArrayValue { elem: array.elem, dims, values }
}

fn collect_slice(
    array: &ArrayValue,
    ranges: &[(usize, usize)],
    level: usize,
    base: usize,
    out: &mut Vec<Datum>,
) {
    let Some((skip, len)) = ranges.get(level) else {
        out.extend(array.values.get(base).cloned());
        return;
    };
    for i in *skip..skip + len {
        collect_slice(array, ranges, level + 1, base * array.dims[level].len as usize + i, out);
    }
}

/// Whether two elements are equal for array functions: NULL equals NULL there.
fn same(elem: Oid, a: &Datum, b: &Datum) -> Result<bool> {
    Ok(compare_nulls_last(elem, a, b)?.is_eq())
}

fn contains(outer: &ArrayValue, inner: &ArrayValue) -> Result<bool> {
    for wanted in &inner.values {
        let mut found = false;
        for value in &outer.values {
            found |= !wanted.is_null() && !value.is_null() && same(outer.elem, value, wanted)?;
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn overlaps(a: &ArrayValue, b: &ArrayValue) -> Result<bool> {
    for x in a.values.iter().filter(|v| !v.is_null()) {
        for y in b.values.iter().filter(|v| !v.is_null()) {
            if same(a.elem, x, y)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The array argument, or an empty one of the call's element type for NULL.
fn array_or_empty(cx: &CallContext<'_>, arg: &Datum) -> Result<Rc<ArrayValue>> {
    match arg {
        Datum::Null => Ok(Rc::new(ArrayValue::from_values(element_type_of(cx.ret_type), Vec::new()))),
        other => <Rc<ArrayValue>>::from_datum(other),
    }
}

fn one_dimension(array: &ArrayValue, message: &str) -> Result<i32> {
    match array.dims.as_slice() {
        [] => Ok(1),
        [dim] => Ok(dim.lower),
        _ => Err(error!(SqlState::DATA_EXCEPTION, "{message}")),
    }
}

fn extend(array: &ArrayValue, value: Datum, at_end: bool) -> Result<Datum> {
    let lower = one_dimension(array, "argument must be empty or one-dimensional array")?;
    let mut values = array.values.clone();
    if at_end {
        values.push(value)
    } else {
        values.insert(0, value)
    }
    let dims = vec![Dimension { len: values.len() as i32, lower }];
    Ok(Datum::Array(ArrayValue { elem: array.elem, dims, values }.into()))
}

fn concatenate(a: &Rc<ArrayValue>, b: &Rc<ArrayValue>) -> Result<Rc<ArrayValue>> {
    if a.dims.is_empty() {
        return Ok(b.clone());
    }
    if b.dims.is_empty() {
        return Ok(a.clone());
    }
    let incompatible = |detail: &str| {
        Err(error!(SqlState::ARRAY_SUBSCRIPT_ERROR, "cannot concatenate incompatible arrays").detail(detail))
    };
    let (na, nb) = (a.dims.len(), b.dims.len());
    let mut dims = if nb > na { b.dims.clone() } else { a.dims.clone() };
    let agree = match (na, nb) {
        (x, y) if x == y => a.dims[1..] == b.dims[1..],
        (x, y) if x + 1 == y => a.dims[..] == b.dims[1..],
        (x, y) if x == y + 1 => a.dims[1..] == b.dims[..],
        _ => {
            return incompatible(&format!(
                "Arrays of {na} and {nb} dimensions are not compatible for concatenation."
            ));
        }
    };
    if !agree {
        return incompatible(if na == nb {
            "Arrays with differing element dimensions are not compatible for concatenation."
        } else {
            "Arrays with differing dimensions are not compatible for concatenation."
        });
    }
    let rows = |v: &ArrayValue, n: usize| if v.dims.len() == n { v.dims[0].len } else { 1 };
    let n = na.max(nb);
    dims[0].len = rows(a, n) + rows(b, n);
    let values = a.values.iter().chain(&b.values).cloned().collect();
    Ok(Rc::new(ArrayValue { elem: a.elem, dims, values }))
}

fn dimension(array: &ArrayValue, n: i32) -> Option<&Dimension> {
    usize::try_from(n).ok()?.checked_sub(1).and_then(|n| array.dims.get(n))
}

fn position(array: &ArrayValue, wanted: &Datum, start: i32) -> Result<Option<i32>> {
    let lower = one_dimension(array, "searching for elements in multidimensional arrays is not supported")?;
    for (i, value) in array.values.iter().enumerate() {
        let subscript = lower + i as i32;
        if subscript >= start && same(array.elem, value, wanted)? {
            return Ok(Some(subscript));
        }
    }
    Ok(None)
}

fn fill(value: Datum, elem: Oid, lens: &ArrayValue, lowers: Option<&ArrayValue>) -> Result<Datum> {
    let numbers = |a: &ArrayValue, what: &str| -> Result<Vec<i32>> {
        if a.dims.len() > 1 {
            return Err(error!(SqlState::ARRAY_SUBSCRIPT_ERROR, "wrong number of array subscripts")
                .detail("Dimension array must be one dimensional."));
        }
        let number = |v: &Datum| match v {
            Datum::Int4(n) => Ok(*n),
            _ => Err(error!(SqlState::NULL_VALUE_NOT_ALLOWED, "{what} values cannot be null")),
        };
        a.values.iter().map(number).collect()
    };
    let lens = numbers(lens, "dimension")?;
    let lowers = match lowers {
        Some(lowers) => numbers(lowers, "dimension")?,
        None => vec![1; lens.len()],
    };
    if lens.len() > MAX_DIMENSIONS {
        return Err(too_many_dimensions(lens.len()));
    }
    if lens.len() != lowers.len() {
        return Err(error!(SqlState::ARRAY_SUBSCRIPT_ERROR, "wrong number of array subscripts")
            .detail("Low bound array has different size than dimensions array."));
    }
    let mut total = usize::from(!lens.is_empty());
    for len in &lens {
        total = total.saturating_mul(usize::try_from(*len).unwrap_or(usize::MAX));
    }
    // The message names C's limit; a value takes three times as much memory here.
    if total > 44_000_000 {
        return Err(error!(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "array size exceeds the maximum allowed (134217727)"
        ));
    }
    let dims = if total == 0 {
        Vec::new()
    } else {
        lens.iter().zip(&lowers).map(|(&len, &lower)| Dimension { len, lower }).collect()
    };
    Ok(Datum::Array(ArrayValue { elem, dims, values: vec![value; total] }.into()))
}

fn rebuilt(array: &ArrayValue, values: Vec<Datum>) -> Datum {
    let lower = array.dims.first().map_or(1, |d| d.lower);
    let dims =
        if values.is_empty() { Vec::new() } else { vec![Dimension { len: values.len() as i32, lower }] };
    Datum::Array(ArrayValue { elem: array.elem, dims, values }.into())
}

builtins! {
    fn array_append(@cx; a: &Datum, v: &Datum) -> Datum { extend(&*array_or_empty(cx, a)?, v.clone(), true)? }
    fn array_prepend(@cx; v: &Datum, a: &Datum) -> Datum { extend(&*array_or_empty(cx, a)?, v.clone(), false)? }
    fn array_cat(a: Option<Rc<ArrayValue>>, b: Option<Rc<ArrayValue>>) -> Option<Rc<ArrayValue>> {
        match (a, b) {
            (Some(a), Some(b)) => Some(concatenate(&a, &b)?),
            (a, b) => a.or(b),
        }
    }
    fn array_larger(a: Rc<ArrayValue>, b: Rc<ArrayValue>) -> Rc<ArrayValue> { if compare(&a, &b)?.is_gt() { a } else { b } }
    fn array_smaller(a: Rc<ArrayValue>, b: Rc<ArrayValue>) -> Rc<ArrayValue> { if compare(&a, &b)?.is_lt() { a } else { b } }
    fn array_ndims(a: &ArrayValue) -> Option<i32> { (!a.dims.is_empty()).then_some(a.dims.len() as i32) }
    fn array_dims(a: &ArrayValue) -> Option<String> {
        let shown = |d: &Dimension| format!("[{}:{}]", d.lower, d.lower + d.len - 1);
        (!a.dims.is_empty()).then(|| a.dims.iter().map(shown).collect())
    }
    fn array_length(a: &ArrayValue, n: i32) -> Option<i32> { dimension(a, n).map(|d| d.len) }
    fn array_lower(a: &ArrayValue, n: i32) -> Option<i32> { dimension(a, n).map(|d| d.lower) }
    fn array_upper(a: &ArrayValue, n: i32) -> Option<i32> { dimension(a, n).map(|d| d.lower + d.len - 1) }
    fn array_cardinality(a: &ArrayValue) -> i32 { a.values.len() as i32 }
    fn array_position(a: Option<&ArrayValue>, v: &Datum) -> Option<i32> {
        match a {
            Some(a) => position(a, v, i32::MIN)?,
            None => None,
        }
    }
    fn array_position_start(a: Option<&ArrayValue>, v: &Datum, start: Option<i32>) -> Option<i32> {
        let Some(start) = start else {
            return Err(error!(SqlState::NULL_VALUE_NOT_ALLOWED, "initial position must not be null"));
        };
        match a {
            Some(a) => position(a, v, start)?,
            None => None,
        }
    }
    fn array_positions(a: Option<&ArrayValue>, v: &Datum) -> Option<Datum> {
        let Some(a) = a else { return Ok(None) };
        let mut found = Vec::new();
        let mut next = position(a, v, i32::MIN)?;
        while let Some(at) = next {
            found.push(Datum::Int4(at));
            next = position(a, v, at.saturating_add(1))?;
        }
        Some(Datum::array(oid::INT4, found))
    }
    fn array_remove(a: Option<&ArrayValue>, v: &Datum) -> Option<Datum> {
        let Some(a) = a else { return Ok(None) };
        if a.dims.len() > 1 {
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "removing elements from multidimensional arrays is not supported"
            ));
        }
        let mut kept = Vec::new();
        for value in &a.values {
            if !same(a.elem, value, v)? {
                kept.push(value.clone());
            }
        }
        Some(rebuilt(a, kept))
    }
    fn array_replace(a: Option<&ArrayValue>, from: &Datum, to: &Datum) -> Option<Datum> {
        let Some(a) = a else { return Ok(None) };
        let mut values = a.values.clone();
        for value in &mut values {
            if same(a.elem, value, from)? {
                *value = to.clone();
            }
        }
        Some(Datum::Array(ArrayValue { elem: a.elem, dims: a.dims.clone(), values }.into()))
    }
    fn array_fill(@cx; v: &Datum, lens: Option<&ArrayValue>) -> Datum {
        let Some(lens) = lens else { return Err(null_dimensions()) };
        fill(v.clone(), cx.arg_type(0), lens, None)?
    }
    fn array_fill_with_lower_bounds(@cx; v: &Datum, lens: Option<&ArrayValue>, lowers: Option<&ArrayValue>) -> Datum {
        let (Some(lens), Some(lowers)) = (lens, lowers) else { return Err(null_dimensions()) };
        fill(v.clone(), cx.arg_type(0), lens, Some(lowers))?
    }
    fn arrayoverlap(a: &ArrayValue, b: &ArrayValue) -> bool { overlaps(a, b)? }
    fn arraycontains(a: &ArrayValue, b: &ArrayValue) -> bool { contains(a, b)? }
    fn arraycontained(a: &ArrayValue, b: &ArrayValue) -> bool { contains(b, a)? }
    fn trim_array(a: &ArrayValue, n: i32) -> ArrayValue {
        let len = a.dims.first().map_or(0, |d| d.len);
        if n < 0 || n > len {
            return Err(error!(
                SqlState::ARRAY_ELEMENT_ERROR,
                "number of elements to trim must be between 0 and {len}"
            ));
        }
        let lower = a.dims.first().map_or(1, |d| d.lower);
        array_slice(a, &[(None, Some(lower + len - n - 1))])
    }
}

#[cold]
fn null_dimensions() -> elog::PgError {
    error!(SqlState::NULL_VALUE_NOT_ALLOWED, "dimension array or low bound array cannot be null")
}

/// `unnest(anyarray)`.
pub(crate) fn array_unnest(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    let array = <Rc<ArrayValue>>::from_datum(&args[0])?;
    Ok(Box::new((0..array.values.len()).map(move |i| Ok(vec![array.values[i].clone()]))))
}

fn subscripts(args: &[Datum], reverse: bool) -> Result<RowIter> {
    let array = <&ArrayValue>::from_datum(&args[0])?;
    let Some(dim) = dimension(array, i32::from_datum(&args[1])?).copied() else {
        return Ok(Box::new(std::iter::empty()));
    };
    let all = dim.lower..dim.lower + dim.len;
    let row = |n| Ok(vec![Datum::Int4(n)]);
    Ok(if reverse { Box::new(all.rev().map(row)) } else { Box::new(all.map(row)) })
}

pub(crate) fn generate_subscripts(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    subscripts(args, args[2].as_bool().unwrap_or(false))
}

pub(crate) fn generate_subscripts_nodir(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    subscripts(args, false)
}

/// What subscripting a value of this type yields, if it can be subscripted at all.
pub fn subscript_result(ty: Oid) -> Option<Oid> {
    let fixed = |t: &TypeInfo| matches!(t.oid, oid::INT2VECTOR | oid::OIDVECTOR).then_some(t.elem);
    let elem = element_type_of(ty);
    if elem.is_valid() { Some(elem) } else { type_info(ty).and_then(fixed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_all;

    #[test]
    fn functions() {
        check_all(
            "
            array_append(int4[]:{1,2} | int4:3) => {1,2,3}
            array_prepend(int4:0 | int4[]:{1}) => {0,1}
            int4[]:{1,2}  ||  int4[]:{3} => {1,2,3}
            int4[]:{1}  ||  int4:2 => {1,2}
            array_cat(int4[]:{{1,2}} | int4[]:{3,4}) => {{1,2},{3,4}}
            array_length(int4[]:{1,2,3} | int4:1) => 3
            array_length(int4[]:{} | int4:1) => <null>
            cardinality(int4[]:{{1,2},{3,4}}) => 4
            array_dims(int4[]:[0:1]={1,2}) => [0:1]
            array_position(text[]:{a,b} | text:b) => 2
            array_remove(int4[]:{1,2,1} | int4:1) => {2}
            array_replace(int4[]:{1,2} | int4:1 | int4:9) => {9,2}
            int4[]:{1,2,3}  @>  int4[]:{2} => t
            int4[]:{1}  &&  int4[]:{2} => f
            unnest(int4[]:{1,NULL,3}) => 1 <null> 3
            generate_subscripts(int4[]:{4,5} | int4:1) => 1 2
            array_fill(int4:7 | int4[]:{2,2}) => {{7,7},{7,7}}
            int4[]:{1,2}  <  int4[]:{1,3} => t
            trim_array(int4[]:{1,2,3} | int4:1) => {1,2}
            ",
        );
    }

    #[test]
    fn subscripting() {
        let ints = |n: i32| (1..=n).map(Datum::Int4).collect();
        let dims = vec![Dimension { len: 2, lower: 1 }, Dimension { len: 3, lower: 0 }];
        let a = ArrayValue { elem: oid::INT4, dims, values: ints(6) };
        assert_eq!(array_get(&a, &[2, 0]).as_i64(), Some(4));
        assert!(array_get(&a, &[3, 0]).is_null());
        assert!(array_get(&a, &[1]).is_null());
        let s = array_slice(&a, &[(Some(2), None), (Some(1), Some(9))]);
        assert_eq!(s.values.iter().filter_map(Datum::as_i64).collect::<Vec<_>>(), [5, 6]);
        assert!(array_slice(&a, &[(Some(5), None)]).values.is_empty());
    }
}
