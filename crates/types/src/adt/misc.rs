//! Functions that fit no type: sizes, nulls, types of values. C: misc.c, the pure half of dbsize.c, format_type.c.

use common::SqlState;
use elog::{Result, error};

use super::int::out_of_range;
use super::numeric::{self, Numeric};
use super::varlena::variadic_values;
use crate::Datum;
use crate::datum::Regtype;
use crate::fmgr::CallContext;

/// The units of `pg_size_pretty`, each with the size from which the next is used.
const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];

/// Halves away from zero, as C's `half_rounded`.
fn half_rounded(v: i128) -> i128 {
    (v + if v < 0 { -1 } else { 1 }) / 2
}

/// C: `pg_size_pretty`.
fn pretty(size: i128) -> String {
    let mut size = size;
    let mut unit = 0;
    // One bit more than shown is kept for rounding from kB on.
    if size.abs() < 10 * 1024 {
        return format!("{size} bytes");
    }
    size >>= 9;
    unit += 1;
    while half_rounded(size).abs() >= 20 * 1024 / 2 && unit + 1 < UNITS.len() {
        size /= 1024;
        unit += 1;
    }
    format!("{} {}", half_rounded(size), UNITS[unit])
}

/// C: `pg_size_bytes`.
fn bytes(text: &str) -> Result<i64> {
    let invalid = || error!(SqlState::INVALID_PARAMETER_VALUE, "invalid size: \"{text}\"");
    let trimmed = text.trim_matches(super::int::is_space);
    let number_len = {
        let b = trimmed.as_bytes();
        let digits = |from: usize| b[from.min(b.len())..].iter().take_while(|c| c.is_ascii_digit()).count();
        let mut at = usize::from(matches!(b.first(), Some(b'-' | b'+')));
        let whole = digits(at);
        at += whole;
        let mut fraction = 0;
        if b.get(at) == Some(&b'.') {
            fraction = digits(at + 1);
            at += 1 + fraction;
        }
        if whole + fraction == 0 {
            return Err(invalid());
        }
        if matches!(b.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(b.get(at + 1), Some(b'-' | b'+')));
            let exponent = digits(at + 1 + sign);
            if exponent > 0 {
                at += 1 + sign + exponent;
            }
        }
        at
    };
    let number = numeric::input(&trimmed[..number_len], -1)?;
    let unit = trimmed[number_len..].trim_matches(super::int::is_space);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "kb" => 10,
        "mb" => 20,
        "gb" => 30,
        "tb" => 40,
        "pb" => 50,
        _ => {
            return Err(invalid()
                .detail(format!("Invalid size unit: \"{unit}\"."))
                .hint("Valid units are \"bytes\", \"B\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\"."));
        }
    };
    let product = numeric::multiply(&number, &Numeric::from_i64(1 << shift));
    product.to_i128().and_then(|v| i64::try_from(v).ok()).ok_or_else(|| out_of_range("bigint"))
}

builtins! {
    fn pg_typeof(@cx; a: &Datum) -> Regtype {
        let _ = a;
        Regtype(cx.arg_type(0))
    }
    fn pg_size_pretty(a: i64) -> String { pretty(i128::from(a)) }
    fn pg_size_pretty_numeric(a: &Numeric) -> String {
        pretty(a.to_i128().ok_or_else(|| out_of_range("bigint"))?)
    }
    fn pg_size_bytes(a: &str) -> i64 { bytes(a)? }
}

/// `num_nulls(VARIADIC "any")`.
pub(crate) fn pg_num_nulls(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    let values = variadic_values(cx, args, 0);
    Ok(Datum::Int4(values.iter().filter(|(v, _)| v.is_null()).count() as i32))
}

/// `num_nonnulls(VARIADIC "any")`.
pub(crate) fn pg_num_nonnulls(cx: &mut CallContext<'_>, args: &[Datum]) -> Result<Datum> {
    let values = variadic_values(cx, args, 0);
    Ok(Datum::Int4(values.iter().filter(|(v, _)| !v.is_null()).count() as i32))
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn functions() {
        check_all(
            "
            pg_typeof(int4:1) => integer
            pg_typeof(unknown:x) => unknown
            pg_size_pretty(int8:10239) => 10239 bytes
            pg_size_pretty(int8:10240) => 10 kB
            pg_size_pretty(int8:-123456789) => -118 MB
            pg_size_pretty(int8:9223372036854775807) => 8192 PB
            pg_size_bytes(text:1.5 kB) => 1536
            pg_size_bytes(text:1 xB) => ERROR 22023 invalid size: \"1 xB\"
            num_nulls(int4:1 | null | null) => 2
            num_nonnulls(int4:1 | null) => 1
            ",
        );
    }
}
