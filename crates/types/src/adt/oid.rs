//! oid, the reg* types, "char", xid, cid, tid, pg_lsn, xid8. C: oid.c, regproc.c, char.c, xid.c, tid.c, pg_lsn.c.

use std::fmt::Write;

use common::{Lsn, Oid, SqlState, Xid};
use elog::{Result, error};

use super::int::{is_space, out_of_range};
use super::numeric::Numeric;
use crate::datum::Xid8;
use crate::io::{catalog_hooks, invalid_input};
use crate::{Datum, format_type, oid, type_by_name, type_info};

/// The reg* types: an oid that prints as the name of what it denotes.
pub(crate) fn is_reg_type(ty: Oid) -> bool {
    matches!(
        ty,
        oid::REGPROC
            | oid::REGPROCEDURE
            | oid::REGOPER
            | oid::REGOPERATOR
            | oid::REGCLASS
            | oid::REGTYPE
            | oid::REGROLE
            | oid::REGNAMESPACE
            | oid::REGCONFIG
            | oid::REGDICTIONARY
            | oid::REGCOLLATION
    )
}

/// C: `oidin_subr`: unsigned, but a negative number wraps.
pub(crate) fn input(text: &str) -> Result<u32> {
    let trimmed = text.trim_matches(is_space);
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid_input("oid", text));
    }
    match trimmed.parse::<i64>() {
        Ok(v) if (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(&v) => Ok(v as u32),
        _ => {
            Err(error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value \"{text}\" is out of range for type oid"))
        }
    }
}

/// A number, `-`, a type's name for `regtype`; other names are the catalog's to look up.
pub(crate) fn reg_input(ty: Oid, text: &str) -> Result<u32> {
    if text == "-" {
        return Ok(0);
    }
    if text.bytes().next().is_some_and(|b| b.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit()) {
        return input(text);
    }
    if ty == oid::REGTYPE
        && let Some(found) = type_by_name(text.trim().to_ascii_lowercase().as_str())
    {
        return Ok(found.0);
    }
    if let Some(hooks) = catalog_hooks() {
        return (hooks.reg_input)(ty, text);
    }
    let (state, what) = match ty {
        oid::REGTYPE => (SqlState::UNDEFINED_OBJECT, "type"),
        oid::REGCLASS => (SqlState::UNDEFINED_TABLE, "relation"),
        oid::REGROLE => (SqlState::UNDEFINED_OBJECT, "role"),
        oid::REGNAMESPACE => (SqlState::UNDEFINED_SCHEMA, "schema"),
        _ => (SqlState::UNDEFINED_FUNCTION, "function"),
    };
    Err(error!(state, "{what} \"{text}\" does not exist"))
}

pub(crate) fn output(value: u32, ty: Oid, out: &mut String) {
    if is_reg_type(ty) {
        if value == 0 {
            out.push('-');
            return;
        }
        if ty == oid::REGTYPE && type_info(Oid(value)).is_some() {
            out.push_str(&format_type(Oid(value), -1));
            return;
        }
        if let Some(name) = catalog_hooks().and_then(|hooks| (hooks.reg_output)(ty, value)) {
            out.push_str(&name);
            return;
        }
    }
    super::int::output(i64::from(value), out);
}

/// The first byte; `\ooo` is an octal code. C: `charin`.
pub(crate) fn char_input(text: &str) -> u8 {
    match text.as_bytes() {
        [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
            ((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0')
        }
        [] => 0,
        [first, ..] => *first,
    }
}

/// C: `charout`; a byte beyond ASCII prints as its octal code.
pub(crate) fn char_output(value: u8, out: &mut String) {
    match value {
        0 => {}
        1..=127 => out.push(char::from(value)),
        _ => drop(write!(out, "\\{value:03o}")),
    }
}

/// Like strtoul: garbage is 0, as in C.
pub(crate) fn xid_input(text: &str) -> u32 {
    xid8_input(text) as u32
}

pub(crate) fn xid8_input(text: &str) -> u64 {
    let text = text.trim_start_matches(is_space);
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (16, hex),
        None if text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let mut value = 0u64;
    for digit in digits.chars().map_while(|c| c.to_digit(radix)) {
        value = value.saturating_mul(u64::from(radix)).saturating_add(u64::from(digit));
    }
    if negative { value.wrapping_neg() } else { value }
}

pub(crate) fn tid_input(text: &str) -> Result<Datum> {
    let parse = || {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        let (block, offset) = inner.split_once(',')?;
        Some(Datum::Tid(block.trim().parse().ok()?, offset.trim().parse().ok()?))
    };
    parse().ok_or_else(|| invalid_input("tid", text))
}

pub(crate) fn lsn_input(text: &str) -> Result<Lsn> {
    text.parse().map_err(|_| invalid_input("pg_lsn", text))
}

comparisons! {
    Oid, Oid, |a, b| a.cmp(&b) => oideq oidne oidlt oidle oidgt oidge btoidcmp;
    u8, u8, |a, b| a.cmp(&b) => chareq charne charlt charle chargt charge btcharcmp;
    Lsn, Lsn, |a, b| a.cmp(&b) => pg_lsn_eq pg_lsn_ne pg_lsn_lt pg_lsn_le pg_lsn_gt pg_lsn_ge pg_lsn_cmp;
    Xid8, Xid8, |a, b| a.cmp(&b) => xid8eq xid8ne xid8lt xid8le xid8gt xid8ge xid8cmp;
}

builtins! {
    fn oidlarger(a: Oid, b: Oid) -> Oid { a.max(b) }
    fn oidsmaller(a: Oid, b: Oid) -> Oid { a.min(b) }
    fn chartoi4(a: u8) -> i32 { i32::from(a as i8) }
    fn i4tochar(a: i32) -> u8 {
        i8::try_from(a).map_err(|_| out_of_range("\"char\""))? as u8
    }
    fn text_char(text: &str) -> u8 { char_input(text) }
    fn char_text(c: u8) -> String {
        let mut out = String::new();
        char_output(c, &mut out);
        out
    }
    fn xideq(a: Xid, b: Xid) -> bool { a == b }
    fn xidneq(a: Xid, b: Xid) -> bool { a != b }
    fn xid_eq_int4(a: Xid, b: i32) -> bool { a.0 == b as u32 }
    fn xid_ne_int4(a: Xid, b: i32) -> bool { a.0 != b as u32 }
    fn xid8toxid(a: Xid8) -> Xid { Xid(a.0 as u32) }
    fn pg_lsn_larger(a: Lsn, b: Lsn) -> Lsn { a.max(b) }
    fn pg_lsn_smaller(a: Lsn, b: Lsn) -> Lsn { a.min(b) }
    /// `lsn - lsn`: bytes, negative if the second is ahead.
    fn pg_lsn_mi(a: Lsn, b: Lsn) -> Numeric {
        Numeric::from_i128(i128::from(a.0) - i128::from(b.0))
    }
    fn pg_lsn_pli(a: Lsn, bytes: &Numeric) -> Lsn { lsn_plus(a, bytes, false)? }
    fn pg_lsn_mii(a: Lsn, bytes: &Numeric) -> Lsn { lsn_plus(a, bytes, true)? }
    fn pg_lsn_numeric_pl(bytes: &Numeric, a: Lsn) -> Lsn { lsn_plus(a, bytes, false)? }
    fn text_regclass(text: &str) -> Oid { Oid(reg_input(oid::REGCLASS, text)?) }
    fn pg_format_type(ty: Option<Oid>, typmod: Option<i32>) -> Option<String> {
        ty.map(|ty| format_type(ty, typmod.unwrap_or(-1)))
    }
    fn to_regtype(text: &str) -> Option<Oid> { type_by_name(text.to_ascii_lowercase().as_str()) }
}

fn lsn_plus(lsn: Lsn, bytes: &Numeric, negate: bool) -> Result<Lsn> {
    if bytes.is_nan() {
        let what = if negate { "subtract NaN from" } else { "add NaN to" };
        return Err(error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "cannot {what} pg_lsn"));
    }
    let sum = bytes.to_i128().and_then(|n| if negate { n.checked_neg() } else { Some(n) });
    let sum = sum.and_then(|n| n.checked_add(i128::from(lsn.0))).and_then(|n| u64::try_from(n).ok());
    sum.map(Lsn).ok_or_else(lsn_out_of_range)
}

#[cold]
pub(crate) fn lsn_out_of_range() -> elog::PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "pg_lsn out of range")
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        check("oid", "4294967295", "4294967295");
        check("oid", "-1", "4294967295");
        check("regtype", "integer", "integer");
        check("regtype", "23", "integer");
        check("pg_lsn", "16/b374d848", "16/B374D848");
        check("\"char\"", "abc", "a");
        check("\"char\"", "\\377", "\\377");
        check("tid", "(1,2)", "(1,2)");
        check("xid", "7", "7");
        check_error("pg_lsn", "16", "22P02 invalid input syntax for type pg_lsn: \"16\"");
        check_error("oid", "4294967296", "22003 value \"4294967296\" is out of range for type oid");
        check_error("regtype", "nope", "42704 type \"nope\" does not exist");
    }
}
