//! text: comparison, length, slices, search, trimming, splitting. C: varlena.c, oracle_compat.c. Case and padding
//! are in `oracle_compat.rs`, formatting in `text_format.rs`.

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};

use super::bytea::slice_bounds;
use crate::fmgr::{CallContext, RowIter};
use crate::{ArrayValue, Datum, io, oid};

comparisons! {
    &str, &str, |a, b| a.cmp(b) => texteq textne text_lt text_le text_gt text_ge bttextcmp;
}

/// The slice of characters starting at 1-based `start`. C: `text_substring`.
pub(crate) fn substring(text: &str, start: i32, len: Option<i32>) -> Result<&str> {
    let (skip, count) = slice_bounds(start, len)?;
    let offset = |s: &str, n: usize| s.char_indices().nth(n).map_or(s.len(), |(at, _)| at);
    let rest = &text[offset(text, skip)..];
    Ok(count.map_or(rest, |count| &rest[..offset(rest, count)]))
}

fn chars(text: &str) -> i32 {
    text.chars().count() as i32
}

/// 1-based character position of the first occurrence, 0 if there is none. C: `text_position`.
pub(crate) fn position(text: &str, part: &str) -> i32 {
    text.find(part).map_or(0, |at| chars(&text[..at]) + 1)
}

#[cold]
pub(crate) fn too_long() -> elog::PgError {
    error!(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// What a text may grow to. C: `MaxAllocSize`.
pub(crate) const MAX_BYTES: usize = 0x3fff_ffff;

fn is_in<'a>(set: &'a str) -> impl Fn(char) -> bool + 'a {
    move |c| set.contains(c)
}

/// The `n`th field, from the end if negative. C: `split_part`.
fn nth_field<'a>(text: &'a str, delimiter: &str, n: i32) -> Result<&'a str> {
    if n == 0 {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "field position must not be zero"));
    }
    if text.is_empty() {
        return Ok("");
    }
    if delimiter.is_empty() {
        return Ok(if n == 1 || n == -1 { text } else { "" });
    }
    let index = n.unsigned_abs() as usize - 1;
    let found = if n > 0 { text.split(delimiter).nth(index) } else { text.rsplit(delimiter).nth(index) };
    Ok(found.unwrap_or(""))
}

fn split(text: &str, delimiter: Option<&str>, null: Option<&str>) -> Vec<Datum> {
    let field = |s: &str| if null == Some(s) { Datum::Null } else { Datum::text(s) };
    if text.is_empty() {
        return Vec::new();
    }
    match delimiter {
        None => text.chars().map(|c| field(c.encode_utf8(&mut [0; 4]))).collect(),
        Some("") => vec![field(text)],
        Some(delimiter) => text.split(delimiter).map(field).collect(),
    }
}

fn join(array: &ArrayValue, delimiter: &str, null: Option<&str>) -> String {
    let mut out = String::new();
    let mut first = true;
    for value in &array.values {
        let shown = match (value.is_null(), null) {
            (true, None) => continue,
            (true, Some(null)) => null.to_string(),
            (false, _) => io::output_string(value, array.elem),
        };
        if !std::mem::take(&mut first) {
            out.push_str(delimiter);
        }
        out.push_str(&shown);
    }
    out
}

/// The elements of a VARIADIC "any" call: the arguments themselves, or the elements of the one array.
pub(crate) fn variadic_values(cx: &CallContext<'_>, args: &[Datum], from: usize) -> Vec<(Datum, Oid)> {
    if cx.func_variadic {
        return match args.get(from) {
            Some(Datum::Array(a)) => a.values.iter().map(|v| (v.clone(), a.elem)).collect(),
            _ => Vec::new(),
        };
    }
    args.iter().enumerate().skip(from).map(|(i, v)| (v.clone(), cx.arg_type(i))).collect()
}

fn concat_values(values: Vec<(Datum, Oid)>, separator: &str) -> String {
    let mut out = String::new();
    let mut first = true;
    for (value, ty) in values.iter().filter(|(v, _)| !v.is_null()) {
        if !std::mem::take(&mut first) {
            out.push_str(separator);
        }
        io::output(value, *ty, &mut out);
    }
    out
}

/// `concat(VARIADIC "any")`.
pub(crate) fn text_concat(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    if cx.func_variadic && args.last().is_some_and(Datum::is_null) {
        return Ok(Datum::Null);
    }
    Ok(Datum::text(concat_values(variadic_values(cx, args, 0), "")))
}

/// `concat_ws(text, VARIADIC "any")`.
pub(crate) fn text_concat_ws(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    let Some(separator) = args.first().and_then(Datum::as_str) else { return Ok(Datum::Null) };
    if cx.func_variadic && args.last().is_some_and(Datum::is_null) {
        return Ok(Datum::Null);
    }
    Ok(Datum::text(concat_values(variadic_values(cx, args, 1), separator)))
}

/// `string_to_table(text, text [, text])`.
pub(crate) fn text_to_table(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    let Some(text) = args[0].as_str() else { return Ok(Box::new(std::iter::empty())) };
    let null = args.get(2).and_then(Datum::as_str);
    let rows = split(text, args[1].as_str(), null);
    Ok(Box::new(rows.into_iter().map(|v| Ok(vec![v]))))
}

builtins! {
    fn textlen(a: &str) -> i32 { chars(a) }
    fn textoctetlen(a: &str) -> i32 { a.len() as i32 }
    fn text_bit_length(a: &str) -> i32 { a.len() as i32 * 8 }
    fn textcat(a: &str, b: &str) -> String { [a, b].concat() }
    fn textanycat(@cx; a: &str, b: &Datum) -> String {
        let mut out = a.to_string();
        io::output(b, cx.arg_type(1), &mut out);
        out
    }
    fn anytextcat(@cx; a: &Datum, b: &str) -> String {
        let mut out = io::output_string(a, cx.arg_type(0));
        out.push_str(b);
        out
    }
    fn text_larger(a: Rc<str>, b: Rc<str>) -> Rc<str> { if a > b { a } else { b } }
    fn text_smaller(a: Rc<str>, b: Rc<str>) -> Rc<str> { if a < b { a } else { b } }
    fn text_substr(a: &str, start: i32, len: i32) -> String { substring(a, start, Some(len))?.to_string() }
    fn text_substr_no_len(a: &str, start: i32) -> String { substring(a, start, None)?.to_string() }
    fn text_starts_with(a: &str, prefix: &str) -> bool { a.starts_with(prefix) }
    fn textpos(a: &str, part: &str) -> i32 { position(a, part) }
    fn text_left(a: &str, n: i32) -> String {
        let keep = if n >= 0 { n } else { (chars(a).saturating_add(n)).max(0) };
        a.chars().take(keep as usize).collect()
    }
    fn text_right(a: &str, n: i32) -> String {
        let skip = if n >= 0 { (chars(a) - n).max(0) } else { n.checked_neg().unwrap_or(i32::MAX) };
        a.chars().skip(skip as usize).collect()
    }
    fn text_reverse(a: &str) -> String { a.chars().rev().collect() }
    fn replace_text(a: &str, from: &str, to: &str) -> String {
        if from.is_empty() { a.to_string() } else { a.replace(from, to) }
    }
    fn split_part(a: &str, delimiter: &str, n: i32) -> String { nth_field(a, delimiter, n)?.to_string() }
    fn textoverlay(a: &str, with: &str, start: i32, len: i32) -> String { overlay(a, with, start, len)? }
    fn textoverlay_no_len(a: &str, with: &str, start: i32) -> String { overlay(a, with, start, chars(with))? }
    fn text_to_array(a: Option<&str>, delimiter: Option<&str>) -> Option<Datum> {
        a.map(|a| Datum::array(oid::TEXT, split(a, delimiter, None)))
    }
    fn text_to_array_null(a: Option<&str>, delimiter: Option<&str>, null: Option<&str>) -> Option<Datum> {
        a.map(|a| Datum::array(oid::TEXT, split(a, delimiter, null)))
    }
    fn array_to_text(a: &ArrayValue, delimiter: &str) -> String { join(a, delimiter, None) }
    fn array_to_text_null(a: Option<&ArrayValue>, delimiter: Option<&str>, null: Option<&str>) -> Option<String> {
        match (a, delimiter) {
            (Some(a), Some(delimiter)) => Some(join(a, delimiter, null)),
            _ => None,
        }
    }
    fn btrim(a: &str, set: &str) -> String { a.trim_matches(is_in(set)).to_string() }
    fn btrim1(a: &str) -> String { a.trim_matches(' ').to_string() }
    fn ltrim(a: &str, set: &str) -> String { a.trim_start_matches(is_in(set)).to_string() }
    fn ltrim1(a: &str) -> String { a.trim_start_matches(' ').to_string() }
    fn rtrim(a: &str, set: &str) -> String { a.trim_end_matches(is_in(set)).to_string() }
    fn byteatrim(a: &[u8], set: &[u8]) -> Vec<u8> {
        let start = a.iter().position(|b| !set.contains(b)).unwrap_or(a.len());
        let end = a.iter().rposition(|b| !set.contains(b)).map_or(start, |n| n + 1);
        a[start..end].to_vec()
    }
}

fn overlay(text: &str, with: &str, start: i32, len: i32) -> Result<String> {
    if start <= 0 {
        return Err(error!(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let end = start.checked_add(len).ok_or_else(|| super::int::out_of_range("integer"))?;
    Ok([substring(text, 1, Some(start - 1))?, with, substring(text, end, None)?].concat())
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn functions() {
        check_all(
            "
            length(text:héllo) => 5
            octet_length(text:héllo) => 6
            substr(text:abcdef | int4:2 | int4:3) => bcd
            substr(text:abcdef | int4:-1 | int4:3) => a
            substr(text:abc | int4:1 | int4:-1) => ERROR 22011 negative substring length not allowed
            substring(text:abcdef | int4:3) => cdef
            strpos(text:héllo | text:l) => 3
            left(text:abcdef | int4:-2) => abcd
            right(text:abcdef | int4:2) => ef
            replace(text:abcabc | text:b | text:X) => aXcaXc
            split_part(text:a,b,c | text:, | int4:-1) => c
            split_part(text:a,b,c | text:, | int4:0) => ERROR 22023 field position must not be zero
            string_to_array(text:a,b,c | text:,) => {a,b,c}
            array_to_string(int4[]:{1,NULL,3} | text:-) => 1-3
            array_to_string(int4[]:{1,NULL,3} | text:- | text:x) => 1-x-3
            concat(int4:1 | null | text:b) => 1b
            concat_ws(text:- | int4:1 | null | bool:t) => 1-t
            btrim(text:xxhixx | text:x) => hi
            overlay(text:Txxxxas | text:hom | int4:2 | int4:4) => Thomas
            text:a  ||  int4:1 => a1
            int4:1  ||  unknown:a => 1a
            reverse(text:abc) => cba
            ",
        );
    }
}
