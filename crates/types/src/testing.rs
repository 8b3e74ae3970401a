//! What the tests of this crate share: one line per fact.

use crate::fmgr::{Session, builtin_registry};
use crate::parse_func::{resolve_function, resolve_operator};
use crate::{Datum, cast, io, type_by_name};

fn input(ty: &str, text: &str) -> elog::Result<Datum> {
    io::input(type_by_name(ty).unwrap_or_else(|| panic!("no type {ty}")), -1, text)
}

/// The text, read as a value of the type, prints as `expected`, and survives the wire.
#[track_caller]
pub(crate) fn check(ty: &str, text: &str, expected: &str) {
    let oid = type_by_name(ty).unwrap_or_else(|| panic!("no type {ty}"));
    let value = io::input(oid, -1, text).unwrap_or_else(|e| panic!("{ty} {text:?}: {e}"));
    assert_eq!(io::output_string(&value, oid), expected, "{ty} {text:?}");
    let mut wire = Vec::new();
    io::send(&value, oid, &mut wire).unwrap();
    let back = io::receive(oid, -1, &wire).unwrap_or_else(|e| panic!("{ty} {text:?} on the wire: {e}"));
    assert_eq!(io::output_string(&back, oid), expected, "{ty} {text:?} on the wire");
    for cut in 0..wire.len() {
        let _ = io::receive(oid, -1, &wire[..cut]);
    }
}

/// The text is refused with `SQLSTATE message`.
#[track_caller]
pub(crate) fn check_error(ty: &str, text: &str, expected: &str) {
    match input(ty, text) {
        Ok(value) => panic!("{ty} {text:?} was accepted as {value:?}"),
        Err(e) => assert_eq!(format!("{} {}", e.sqlstate, e.message), expected),
    }
}

/// Evaluates `f(type:text, ...)` or `type:text OP type:text`; `unknown:` is an untyped literal and `null` NULL.
/// Returns the text of the result, `<null>`, or `ERROR SQLSTATE message`.
pub(crate) fn eval(expression: &str) -> String {
    match try_eval(expression) {
        Ok(text) => text,
        Err(e) => format!("ERROR {} {}", e.sqlstate, e.message),
    }
}

fn operand(text: &str) -> elog::Result<(common::Oid, Datum)> {
    if text == "null" {
        return Ok((crate::oid::UNKNOWN, Datum::Null));
    }
    let (ty, text) = text.split_once(':').unwrap_or(("unknown", text));
    let oid = type_by_name(ty).unwrap_or_else(|| panic!("no type {ty}"));
    Ok((oid, io::input(oid, -1, text)?))
}

fn try_eval(expression: &str) -> elog::Result<String> {
    let session = Session::detached(0);
    let registry = builtin_registry();
    let (call, values, types) = match expression.strip_suffix(')').and_then(|e| e.split_once('(')) {
        Some((name, args)) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
            let args: Vec<&str> = if args.is_empty() { Vec::new() } else { args.split(" | ").collect() };
            let args: elog::Result<Vec<_>> = args.into_iter().map(operand).collect();
            let (types, values): (Vec<_>, Vec<_>) = args?.into_iter().unzip();
            (resolve_function(registry, name, &types)?, values, types)
        }
        _ => {
            let parts: Vec<&str> = expression.split("  ").collect();
            let (left, name, right) = match parts.as_slice() {
                [left, name, right] => (Some(operand(left)?), *name, operand(right)?),
                [name, right] => (None, *name, operand(right)?),
                [value] => {
                    let (ty, value) = operand(value)?;
                    return Ok(io::output_string(&value, ty));
                }
                _ => panic!("bad expression {expression:?}"),
            };
            let call = resolve_operator(registry, name, left.as_ref().map(|l| l.0), right.0)?.call;
            let (types, values) = left.into_iter().chain([right]).unzip();
            (call, values, types)
        }
    };
    let mut args = Vec::new();
    for (source, to) in call.sources.iter().zip(&call.arg_types) {
        args.push(match source {
            crate::parse_func::ArgSource::Given(i) => {
                cast::coerce(values[*i].clone(), types[*i], *to, -1, false)?
            }
            crate::parse_func::ArgSource::Default(Some(text)) => io::input(*to, -1, text)?,
            crate::parse_func::ArgSource::Default(None) => Datum::Null,
        });
    }
    let mut rows = Vec::new();
    for row in call.call_set(&session, &args)? {
        let columns = row?;
        let shown: Vec<String> = columns
            .iter()
            .map(|v| if v.is_null() { "<null>".into() } else { io::output_string(v, call.ret) })
            .collect();
        rows.push(shown.join("|"));
    }
    Ok(rows.join(" "))
}

/// `expression => result` on each line.
#[track_caller]
pub(crate) fn check_all(table: &str) {
    let mut wrong = String::new();
    let mut count = 0;
    for line in table.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (expression, expected) = line.split_once(" => ").unwrap_or((line.trim_end_matches(" =>"), ""));
        let got = eval(expression);
        // The tables are lines, trimmed on both sides.
        if got.replace('\n', " ").trim() != expected.trim() {
            wrong.push_str(&format!("{expression}\n  expected {expected}\n  got      {got}\n"));
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{count} differ\n{wrong}");
}

/// What PostgreSQL 15 itself answers to the same expressions, recorded.
mod recorded {
    use super::check_all;

    #[test]
    fn numbers() {
        check_all(include_str!("testdata/numeric.txt"));
    }

    #[test]
    fn floats() {
        check_all(include_str!("testdata/float.txt"));
    }

    #[test]
    fn strings() {
        check_all(include_str!("testdata/text.txt"));
    }

    #[test]
    fn dates_and_times() {
        check_all(include_str!("testdata/datetime.txt"));
    }

    #[test]
    fn arrays_json_and_resolution() {
        check_all(include_str!("testdata/others.txt"));
    }
}
