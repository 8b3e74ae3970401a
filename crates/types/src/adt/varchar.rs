//! character varying(n) and character(n): their lengths. C: varchar.c.

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};

use crate::datum::Bpchar;
use crate::{Datum, Name};

/// Byte offset just behind character `n`, or the whole length.
fn clip(text: &str, n: usize) -> usize {
    text.char_indices().nth(n).map_or(text.len(), |(at, _)| at)
}

/// Text of at most `typmod - 4` characters. Blanks beyond the limit go silently, other characters only in an
/// explicit cast. C: `varchar`, `varchar_input`.
pub(crate) fn varchar(text: Rc<str>, typmod: i32, explicit: bool) -> Result<Datum> {
    let limit = typmod.saturating_sub(4);
    if typmod < 4 || text.len() <= limit as usize {
        return Ok(Datum::Text(text));
    }
    let end = clip(&text, limit as usize);
    if !explicit && text[end..].bytes().any(|b| b != b' ') {
        return Err(error!(
            SqlState::STRING_DATA_RIGHT_TRUNCATION,
            "value too long for type character varying({limit})"
        ));
    }
    Ok(Datum::text(&text[..end]))
}

/// Text of exactly `typmod - 4` characters, padded with blanks. C: `bpchar`, `bpchar_input`.
pub(crate) fn bpchar(text: &str, typmod: i32, explicit: bool) -> Result<Datum> {
    if typmod < 4 {
        return Ok(Datum::text(text));
    }
    let limit = (typmod - 4) as usize;
    let count = text.chars().count();
    if count > limit {
        let end = clip(text, limit);
        if !explicit && text[end..].bytes().any(|b| b != b' ') {
            return Err(error!(
                SqlState::STRING_DATA_RIGHT_TRUNCATION,
                "value too long for type character({limit})"
            ));
        }
        return Ok(Datum::text(&text[..end]));
    }
    if limit > super::varlena::MAX_BYTES {
        return Err(error!(SqlState::INTERNAL_ERROR, "invalid memory alloc request size {}", limit + 4));
    }
    let mut padded = String::with_capacity(text.len() + limit - count);
    padded.push_str(text);
    padded.extend(std::iter::repeat_n(' ', limit - count));
    Ok(Datum::text(padded))
}

fn trimmed(text: &str) -> &str {
    text.trim_end_matches(' ')
}

comparisons! {
    Bpchar<'_>, Bpchar<'_>, |a, b| trimmed(a.0).cmp(trimmed(b.0)) => bpchareq bpcharne bpcharlt bpcharle bpchargt bpcharge bpcharcmp;
}

builtins! {
    /// The length coercion `varchar(varchar, int4, bool)`.
    fn varchar_typmod(text: Rc<str>, typmod: i32, explicit: bool) -> Datum { varchar(text, typmod, explicit)? }
    fn bpchar_typmod(text: Rc<str>, typmod: i32, explicit: bool) -> Datum { bpchar(&text, typmod, explicit)? }
    fn rtrim1(text: &str) -> &str { trimmed(text) }
    fn bpcharlen(text: Bpchar<'_>) -> i32 { trimmed(text.0).chars().count() as i32 }
    fn bpcharoctetlen(text: &str) -> i32 { text.len() as i32 }
    fn bpchar_larger(a: Rc<str>, b: Rc<str>) -> Rc<str> { if trimmed(&a) >= trimmed(&b) { a } else { b } }
    fn bpchar_smaller(a: Rc<str>, b: Rc<str>) -> Rc<str> { if trimmed(&a) <= trimmed(&b) { a } else { b } }
    fn bpchar_name(text: &str) -> Name { super::name::truncate(trimmed(text)) }
    fn char_bpchar(c: u8) -> String { char::from(c).to_string() }
}
