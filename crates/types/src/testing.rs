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

    /// Each block of the file begins with a line `SET DateStyle = ...` or the like.
    #[test]
    fn styles_and_zones() {
        use crate::settings::{IntervalStyle, TEST_DATE_STYLE, TEST_INTERVAL_STYLE, TEST_TIME_ZONE};
        let blocks = include_str!("testdata/styles.txt").split("SET ").filter(|b| !b.is_empty());
        for block in blocks {
            let (setting, lines) = block.split_once('\n').unwrap();
            let (name, value) = setting.split_once(" = ").unwrap();
            match name {
                "DateStyle" => TEST_DATE_STYLE.set(Some(value)),
                "TimeZone" => TEST_TIME_ZONE.set(Some(value)),
                _ => TEST_INTERVAL_STYLE.set(Some(match value {
                    "sql_standard" => IntervalStyle::SqlStandard,
                    "postgres_verbose" => IntervalStyle::PostgresVerbose,
                    "iso_8601" => IntervalStyle::Iso8601,
                    _ => IntervalStyle::Postgres,
                })),
            }
            check_all(lines);
        }
    }

    /// The wire form of values, in hexadecimal.
    #[test]
    fn wire_forms() {
        for line in include_str!("testdata/wire.txt").lines() {
            let (value, hex) = line.split_once(" =>").unwrap();
            let (ty, value) = super::operand(value).unwrap();
            let mut wire = Vec::new();
            crate::io::send(&value, ty, &mut wire).unwrap();
            let shown: String = wire.iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(shown, hex.trim(), "{line}");
            if ty == crate::oid::OIDVECTOR {
                continue;
            }
            let back = crate::io::receive(ty, -1, &wire).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert_eq!(crate::io::output_string(&back, ty), crate::io::output_string(&value, ty), "{line}");
        }
    }
}

/// Bad input never panics and never hangs.
mod robustness {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use crate::fmgr::{CallContext, FuncImpl, Session, builtin_registry};
    use crate::{Datum, io, oid, type_info};
    use common::Oid;

    /// A small generator, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn next(&mut self, below: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % below as u64) as usize
        }
    }

    const TEXTS: &[&str] = &[
        "",
        " ",
        "0",
        "1",
        "-1",
        "abc",
        "NULL",
        "{}",
        "{1,2}",
        "{{1},{2}}",
        "[1:2]={1,2}",
        "[1]",
        "{\"a\":1}",
        "null",
        "9223372036854775807",
        "-9223372036854775808",
        "2147483647",
        "-2147483648",
        "1e10",
        "1e-10",
        "NaN",
        "inf",
        "-infinity",
        "1e131071",
        "0.000000000000000001",
        "2024-02-29",
        "294276-12-31 23:59:59",
        "4714-11-24 BC",
        "10:11:12",
        "24:00:00",
        "1 year -2 mons",
        "178956970 years",
        "2147483647 days",
        "-9223372036854775808 us",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "1.2.3.4/5",
        "::/0",
        "0/0",
        "FFFFFFFF/FFFFFFFF",
        "t",
        "\\x00ff",
        "day",
        "epoch",
        "YYYY-MM-DD HH24:MI:SS",
        "999.99",
        "S9,999PR",
        "%s%I%L",
        "(a|b)*c",
        "[a",
        "\\",
        "%_\\",
        "héßé",
        "Europe/Paris",
        "+15:59",
        "hex",
        "g",
        "(1,2)",
        "\u{10ffff}",
        "1 GB",
        "T",
        "P1Y",
        "J99999999",
        "-",
        "+",
        ":",
        "1:",
    ];

    fn values(ty: Oid) -> Vec<Datum> {
        let mut found: Vec<Datum> = TEXTS.iter().filter_map(|t| io::input(ty, -1, t).ok()).collect();
        found.push(Datum::Null);
        found
    }

    fn actual(ty: Oid) -> Oid {
        match ty {
            oid::ANY
            | oid::ANYELEMENT
            | oid::ANYNONARRAY
            | oid::ANYCOMPATIBLE
            | oid::ANYCOMPATIBLENONARRAY => oid::INT4,
            oid::ANYARRAY | oid::ANYCOMPATIBLEARRAY => oid::_INT4,
            other => other,
        }
    }

    #[test]
    fn no_function_panics() {
        let session = Session::detached(0);
        let mut random = Random(42);
        let mut bad = Vec::new();
        for function in builtin_registry().functions() {
            // These make what they are asked for, however large.
            if matches!(function.name, "repeat" | "lpad" | "rpad" | "array_fill" | "factorial" | "format") {
                continue;
            }
            let types: Vec<Oid> = function.args.iter().map(|t| actual(*t)).collect();
            let pools: Vec<Vec<Datum>> = types.iter().map(|t| values(*t)).collect();
            let rounds = if types.is_empty() { 1 } else { 60 };
            for _ in 0..rounds {
                let args: Vec<Datum> = pools.iter().map(|p| p[random.next(p.len())].clone()).collect();
                let mut cx = CallContext {
                    session: &session,
                    arg_types: &types,
                    ret_type: actual(function.ret),
                    func_variadic: false,
                };
                let done = catch_unwind(AssertUnwindSafe(|| call(function, &mut cx, &args)));
                if done.is_err() {
                    bad.push(format!("{} {args:?}", function.name));
                    break;
                }
            }
        }
        assert!(bad.is_empty(), "{}", bad.join("\n"));
    }

    fn call(function: &crate::fmgr::Builtin, cx: &mut CallContext<'_>, args: &[Datum]) {
        if function.strict && args.iter().any(Datum::is_null) {
            return;
        }
        match function.func {
            FuncImpl::Scalar(f) => {
                if let Ok(v) = f(cx, args) {
                    let _ = io::output_string(&v, cx.ret_type);
                    let _ = io::send(&v, cx.ret_type, &mut Vec::new());
                }
            }
            FuncImpl::Set(f) => {
                if let Ok(rows) = f(cx, args) {
                    rows.take(5).for_each(drop);
                }
            }
            FuncImpl::Aggregate(new) => {
                let mut state = new();
                let padded: Vec<Datum> =
                    args.iter().cloned().chain(std::iter::repeat_n(Datum::Null, 2)).collect();
                for _ in 0..3 {
                    let _ = state.add(cx, &padded);
                }
                let _ = state.finish(cx);
            }
        }
    }

    #[test]
    fn no_input_panics() {
        let mut random = Random(7);
        let alphabet: Vec<char> =
            "0123456789-+:./ TZPJeE{}[]\",\\abcdfjmnpsuwyé()xX%_'<>=&".chars().collect();
        for info in crate::type_info::all_types() {
            for round in 0..400 {
                let mut text = TEXTS[random.next(TEXTS.len())].to_string();
                if round % 2 == 0 {
                    let len = random.next(24);
                    text = (0..len).map(|_| alphabet[random.next(alphabet.len())]).collect();
                } else {
                    let at = text.floor_char_boundary(random.next(text.len() + 1));
                    text.insert(at, alphabet[random.next(alphabet.len())]);
                }
                if let Ok(value) = io::input(info.oid, -1, &text) {
                    let shown = io::output_string(&value, info.oid);
                    let mut wire = Vec::new();
                    if io::send(&value, info.oid, &mut wire).is_ok() {
                        let _ = io::receive(info.oid, -1, &wire);
                    }
                    drop(shown);
                }
                let bytes: Vec<u8> = (0..random.next(40)).map(|_| random.next(256) as u8).collect();
                if let Ok(value) = io::receive(info.oid, -1, &bytes) {
                    let _ = io::output_string(&value, info.oid);
                }
            }
        }
    }

    /// Every type that a function can return can be printed by some branch, and rows agree with pg_type.
    #[test]
    fn rows_are_consistent() {
        for function in builtin_registry().functions() {
            assert!(type_info(function.ret).is_some(), "{}", function.name);
            assert!(function.defaults.len() <= function.args.len(), "{}", function.name);
            let named = function.arg_names.len();
            assert!(named == 0 || named == function.args.len(), "{}", function.name);
            assert_eq!(function.retset, matches!(function.func, FuncImpl::Set(_)), "{}", function.name);
        }
        for operator in builtin_registry().all_operators() {
            assert!(builtin_registry().by_oid(operator.code).is_some(), "{}", operator.name);
        }
    }
}
