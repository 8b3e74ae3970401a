//! Arrays: text and wire forms, comparison. C: arrayfuncs.c, its first half. The functions are in
//! `array_userfuncs.rs`.

use std::cmp::Ordering;

use common::{Oid, SqlState};
use elog::{PgError, Result, error};

use super::int::is_space;
use super::rowtypes::send_element;
use crate::compare::compare_nulls_last;
use crate::io::{Reader, bad_binary};
use crate::{ArrayValue, Datum, Dimension, TypeInfo, io, oid, type_info};

/// C: `MAXDIM`.
pub(crate) const MAX_DIMENSIONS: usize = 6;
/// Most elements of an array. C: `MaxArraySize`.
const MAX_ELEMENTS: usize = 134_217_727;

#[cold]
fn malformed(text: &str, detail: &str) -> PgError {
    error!(SqlState::INVALID_TEXT_REPRESENTATION, "malformed array literal: \"{text}\"").detail(detail)
}

#[cold]
pub(crate) fn too_many_dimensions(n: usize) -> PgError {
    error!(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        "number of array dimensions ({n}) exceeds the maximum allowed ({MAX_DIMENSIONS})"
    )
}

/// Reads `{1,2,{...}}`, with `[lower:upper]=` in front if the bounds are unusual. C: `array_in`.
pub(crate) fn input(info: &TypeInfo, typmod: i32, text: &str) -> Result<Datum> {
    if matches!(info.oid, oid::INT2VECTOR | oid::OIDVECTOR) {
        return vector_input(info, text);
    }
    let delim = type_info(info.elem).map_or(',', |t| t.delim);
    let mut parser = Parser { text, at: 0, delim, elem: info.elem, typmod, values: Vec::new() };
    parser.skip_spaces();
    let bounds = parser.bounds()?;
    parser.skip_spaces();
    if !parser.rest().starts_with('{') {
        return Err(malformed(
            text,
            if bounds.is_some() {
                "Array contents must start with \"{\"."
            } else {
                "Array value must start with \"{\" or dimension information."
            },
        ));
    }
    let lens = parser.level(1)?;
    parser.skip_spaces();
    if !parser.rest().is_empty() {
        return Err(malformed(text, "Junk after closing right brace."));
    }
    let mut dims: Vec<Dimension> = lens.into_iter().map(|len| Dimension { len, lower: 1 }).collect();
    if parser.values.is_empty() {
        dims.clear();
    }
    if let Some(bounds) = bounds {
        let agree = bounds.len() == dims.len() && bounds.iter().zip(&dims).all(|(b, d)| b.len == d.len);
        if !agree {
            return Err(malformed(text, "Specified array dimensions do not match array contents."));
        }
        dims = bounds;
    }
    Ok(Datum::Array(ArrayValue { elem: info.elem, dims, values: parser.values }.into()))
}

/// `oidvector` and `int2vector`: numbers with blanks between, subscripts from 0.
fn vector_input(info: &TypeInfo, text: &str) -> Result<Datum> {
    let values: Result<Vec<Datum>> =
        text.split(is_space).filter(|w| !w.is_empty()).map(|w| io::input(info.elem, -1, w)).collect();
    let values = values?;
    let dims = vec![Dimension { len: values.len() as i32, lower: 0 }];
    Ok(Datum::Array(ArrayValue { elem: info.elem, dims, values }.into()))
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    delim: char,
    elem: Oid,
    typmod: i32,
    values: Vec<Datum>,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(is_space).len();
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn integer(&mut self) -> Option<i32> {
        let rest = self.rest();
        let unsigned = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let end = rest.len() - unsigned.len() + digits;
        self.at += end;
        rest[..end].parse().ok()
    }

    /// `[1:3][0:1]=`, if it is there.
    fn bounds(&mut self) -> Result<Option<Vec<Dimension>>> {
        let mut dims = Vec::new();
        while self.take('[') {
            if dims.len() >= MAX_DIMENSIONS {
                return Err(too_many_dimensions(dims.len() + 1));
            }
            let text = self.text;
            let Some(first) = self.integer() else {
                return Err(malformed(text, "\"[\" must introduce explicitly-specified array dimensions."));
            };
            let (lower, upper) = if self.take(':') {
                let upper =
                    self.integer().ok_or_else(|| malformed(text, "Missing array dimension value."))?;
                (first, upper)
            } else {
                (1, first)
            };
            if !self.take(']') {
                return Err(malformed(text, "Missing \"]\" after array dimensions."));
            }
            if upper < lower {
                return Err(error!(
                    SqlState::ARRAY_SUBSCRIPT_ERROR,
                    "upper bound cannot be less than lower bound"
                ));
            }
            let len = upper.checked_sub(lower).and_then(|n| n.checked_add(1));
            let Some(len) = len.filter(|n| *n as usize <= MAX_ELEMENTS) else {
                return Err(error!(
                    SqlState::PROGRAM_LIMIT_EXCEEDED,
                    "array size exceeds the maximum allowed ({MAX_ELEMENTS})"
                ));
            };
            dims.push(Dimension { len, lower });
            self.skip_spaces();
        }
        if dims.is_empty() {
            return Ok(None);
        }
        if !self.take('=') {
            return Err(malformed(self.text, "Missing \"=\" after array dimensions."));
        }
        Ok(Some(dims))
    }

    /// One brace level with all below it; returns the lengths of its dimensions, outermost first.
    fn level(&mut self, depth: usize) -> Result<Vec<i32>> {
        if depth > MAX_DIMENSIONS {
            return Err(too_many_dimensions(depth));
        }
        self.take('{');
        let mut count = 0;
        let mut inner: Option<Vec<i32>> = None;
        self.skip_spaces();
        if depth == 1 && self.take('}') {
            return Ok(vec![0]);
        }
        loop {
            self.skip_spaces();
            let found = if self.rest().starts_with('{') { self.level(depth + 1)? } else { self.element()? };
            match &inner {
                Some(before) if *before != found => {
                    return Err(malformed(
                        self.text,
                        "Multidimensional arrays must have sub-arrays with matching dimensions.",
                    ));
                }
                _ => inner = Some(found),
            }
            count += 1;
            self.skip_spaces();
            if self.take('}') {
                break;
            }
            if !self.take(self.delim) {
                return Err(match self.rest().chars().next() {
                    None => malformed(self.text, "Unexpected end of input."),
                    Some('"') => malformed(self.text, "Unexpected array element."),
                    Some(c) => malformed(self.text, &format!("Unexpected \"{c}\" character.")),
                });
            }
        }
        let mut lens = vec![count];
        lens.extend(inner.unwrap_or_default());
        Ok(lens)
    }

    /// One element, quoted or bare. Returns the (empty) dimensions below it.
    fn element(&mut self) -> Result<Vec<i32>> {
        let quoted = self.take('"');
        let mut word = String::new();
        let mut keep = 0;
        let mut escaped = false;
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err(malformed(self.text, "Unexpected end of input."));
            };
            if quoted && c == '"' {
                self.at += 1;
                break;
            }
            if !quoted && (c == self.delim || c == '}') {
                break;
            }
            if !quoted && matches!(c, '{' | '"') {
                return Err(if c == '"' {
                    malformed(self.text, "Unexpected array element.")
                } else {
                    malformed(self.text, "Unexpected \"{\" character.")
                });
            }
            self.at += c.len_utf8();
            if c == '\\' {
                let Some(next) = self.rest().chars().next() else {
                    return Err(malformed(self.text, "Unexpected end of input."));
                };
                self.at += next.len_utf8();
                word.push(next);
                escaped = true;
                keep = word.len();
                continue;
            }
            word.push(c);
            if !is_space(c) {
                keep = word.len();
            }
        }
        if !quoted {
            word.truncate(keep);
            if word.is_empty() {
                let c = self.rest().chars().next().unwrap_or('}');
                return Err(malformed(self.text, &format!("Unexpected \"{c}\" character.")));
            }
        }
        let is_null = !quoted && !escaped && word.eq_ignore_ascii_case("null");
        let value = if is_null { Datum::Null } else { io::input(self.elem, self.typmod, &word)? };
        self.values.push(value);
        Ok(Vec::new())
    }
}

/// C: `array_out`.
pub(crate) fn output(array: &ArrayValue, ty: Oid, out: &mut String) {
    if matches!(ty, oid::INT2VECTOR | oid::OIDVECTOR) {
        for (i, value) in array.values.iter().enumerate() {
            if i > 0 {
                out.push(' ');
            }
            io::output(value, array.elem, out);
        }
        return;
    }
    if array.dims.is_empty() {
        out.push_str("{}");
        return;
    }
    if array.dims.iter().any(|d| d.lower != 1) {
        for d in &array.dims {
            out.push_str(&format!("[{}:{}]", d.lower, i64::from(d.lower) + i64::from(d.len) - 1));
        }
        out.push('=');
    }
    let delim = type_info(array.elem).map_or(',', |t| t.delim);
    let mut values = array.values.iter();
    write_level(array, &array.dims, delim, &mut values, out);
}

fn write_level<'a>(
    array: &ArrayValue,
    dims: &[Dimension],
    delim: char,
    values: &mut impl Iterator<Item = &'a Datum>,
    out: &mut String,
) {
    let Some((first, below)) = dims.split_first() else {
        if let Some(value) = values.next() {
            write_element(value, array.elem, delim, out);
        }
        return;
    };
    out.push('{');
    for i in 0..first.len {
        if i > 0 {
            out.push(delim);
        }
        write_level(array, below, delim, values, out);
    }
    out.push('}');
}

fn write_element(value: &Datum, elem: Oid, delim: char, out: &mut String) {
    if value.is_null() {
        out.push_str("NULL");
        return;
    }
    let text = io::output_string(value, elem);
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}') || c == delim || is_space(c);
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        out.push_str(&text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

/// C: `array_recv`.
pub(crate) fn receive(info: &TypeInfo, typmod: i32, r: &mut Reader<'_>) -> Result<Datum> {
    let ndim = r.i32()?;
    let flags = r.i32()?;
    let ndim = match usize::try_from(ndim) {
        Err(_) => {
            return Err(error!(
                SqlState::INVALID_BINARY_REPRESENTATION,
                "invalid number of dimensions: {ndim}"
            ));
        }
        Ok(n) if n > MAX_DIMENSIONS => return Err(too_many_dimensions(n)),
        Ok(n) => n,
    };
    if !matches!(flags, 0 | 1) {
        return Err(error!(SqlState::INVALID_BINARY_REPRESENTATION, "invalid array flags"));
    }
    let elem = Oid(r.u32()?);
    if elem != info.elem {
        return Err(error!(
            SqlState::DATATYPE_MISMATCH,
            "binary data has array element type {} ({}) instead of expected {} ({})",
            elem,
            crate::format_type(elem, -1),
            info.elem,
            crate::format_type(info.elem, -1)
        ));
    }
    let mut dims = Vec::with_capacity(ndim);
    let mut total: usize = usize::from(ndim > 0);
    for _ in 0..ndim {
        let dim = Dimension { len: r.i32()?, lower: r.i32()? };
        let len = usize::try_from(dim.len).map_err(|_| bad_binary())?;
        total = total.saturating_mul(len);
        if total > MAX_ELEMENTS || dim.lower.checked_add(dim.len).is_none() {
            return Err(error!(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "array size exceeds the maximum allowed ({MAX_ELEMENTS})"
            ));
        }
        dims.push(dim);
    }
    let mut values = Vec::new();
    for _ in 0..total {
        let len = r.i32()?;
        values.push(match usize::try_from(len) {
            Ok(len) => io::receive(elem, typmod, r.bytes(len)?)?,
            Err(_) if len == -1 => Datum::Null,
            Err(_) => {
                return Err(error!(
                    SqlState::INVALID_BINARY_REPRESENTATION,
                    "insufficient data left in message"
                ));
            }
        });
    }
    if values.is_empty() {
        dims.clear();
    }
    Ok(Datum::Array(ArrayValue { elem, dims, values }.into()))
}

/// C: `array_send`.
pub(crate) fn send(array: &ArrayValue, out: &mut Vec<u8>) -> Result<()> {
    out.extend((array.dims.len() as i32).to_be_bytes());
    out.extend(i32::from(array.values.iter().any(Datum::is_null)).to_be_bytes());
    out.extend(array.elem.0.to_be_bytes());
    for d in &array.dims {
        out.extend(d.len.to_be_bytes());
        out.extend(d.lower.to_be_bytes());
    }
    array.values.iter().try_for_each(|v| send_element(v, array.elem, out))
}

/// Element by element, then by number of elements, then by shape. C: `array_cmp`.
pub(crate) fn compare(a: &ArrayValue, b: &ArrayValue) -> Result<Ordering> {
    for (x, y) in a.values.iter().zip(&b.values) {
        let order = compare_nulls_last(a.elem, x, y)?;
        if order.is_ne() {
            return Ok(order);
        }
    }
    let shape = |v: &ArrayValue| v.dims.iter().map(|d| (d.len, d.lower)).collect::<Vec<_>>();
    Ok(a.values
        .len()
        .cmp(&b.values.len())
        .then(a.dims.len().cmp(&b.dims.len()))
        .then_with(|| shape(a).cmp(&shape(b))))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        check("int4[]", "{1,2,NULL}", "{1,2,NULL}");
        check("int4[]", " { { 1 , 2 } , {3,4} } ", "{{1,2},{3,4}}");
        check("int4[]", "{}", "{}");
        check("int4[]", "[0:1]={5,6}", "[0:1]={5,6}");
        check("text[]", r#"{a,"b c","x\"y",\\,"NULL",null,""}"#, r#"{a,"b c","x\"y","\\","NULL",NULL,""}"#);
        check_error("int4[]", "1,2", "22P02 malformed array literal: \"1,2\"");
        check_error("int4[]", "{1,2", "22P02 malformed array literal: \"{1,2\"");
        check_error("int4[]", "{1,{2}}", "22P02 malformed array literal: \"{1,{2}}\"");
        check_error("int4[]", "{a}", "22P02 invalid input syntax for type integer: \"a\"");
        check_error("int4[]", "{1,}", "22P02 malformed array literal: \"{1,}\"");
        check_error(
            "int4[]",
            "{{{{{{{1}}}}}}}",
            "54000 number of array dimensions (7) exceeds the maximum allowed (6)",
        );
    }
}
