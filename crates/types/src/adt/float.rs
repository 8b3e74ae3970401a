//! real and double precision: text, arithmetic, comparison, casts, mathematics, random numbers. C: float.c.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt::Write;

use common::SqlState;
use elog::{PgError, Result, error};

use super::int::{division_by_zero, is_space, out_of_range};
use crate::io::invalid_input;
use crate::settings;

/// The text of a number that Rust's parser and strtod agree on: no hexadecimal.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let word = unsigned.to_ascii_lowercase();
    matches!(word.as_str(), "inf" | "infinity" | "nan")
        || unsigned.bytes().next().is_some_and(|b| b.is_ascii_digit() || b == b'.')
}

fn is_written_infinite(text: &str) -> bool {
    text.bytes().any(|b| matches!(b, b'i' | b'I'))
}

fn is_written_zero(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    !mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b))
}

#[cold]
fn float_out_of_range(text: &str, type_name: &str) -> PgError {
    error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "\"{text}\" is out of range for type {type_name}")
}

/// C: `float8in_internal`.
pub(crate) fn input_f64(text: &str) -> Result<f64> {
    let trimmed = text.trim_matches(is_space);
    let value: f64 = match trimmed.parse() {
        Ok(value) if is_number(trimmed) => value,
        _ => return Err(invalid_input("double precision", text)),
    };
    let overflowed = value.is_infinite() && !is_written_infinite(trimmed);
    if overflowed || (value == 0.0 && !is_written_zero(trimmed)) {
        return Err(float_out_of_range(trimmed, "double precision"));
    }
    Ok(value)
}

/// C: `float4in_internal`.
pub(crate) fn input_f32(text: &str) -> Result<f32> {
    let trimmed = text.trim_matches(is_space);
    let value: f32 = match trimmed.parse() {
        Ok(value) if is_number(trimmed) => value,
        _ => return Err(invalid_input("real", text)),
    };
    let overflowed = value.is_infinite() && !is_written_infinite(trimmed);
    if overflowed || (value == 0.0 && !is_written_zero(trimmed)) {
        return Err(float_out_of_range(trimmed, "real"));
    }
    Ok(value)
}

/// Lays out `mantissa e exponent` (from `{:e}`) as %g does: plainly if the exponent is in `-4..limit`.
fn layout(scientific: &str, limit: i32, out: &mut String) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = match mantissa.strip_prefix('-') {
        Some(rest) => {
            out.push('-');
            rest
        }
        None => mantissa,
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !(-4..limit).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(mantissa);
        // Writing into a String cannot fail.
        let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
    } else if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(whole);
        out.push_str(fraction);
    } else {
        let split = exponent as usize;
        out.push_str(whole);
        if fraction.len() <= split {
            out.push_str(fraction);
            out.extend(std::iter::repeat_n('0', split - fraction.len()));
        } else {
            out.push_str(&fraction[..split]);
            out.push('.');
            out.push_str(&fraction[split..]);
        }
    }
}

/// `%.*g`.
pub(crate) fn general(value: f64, significant: usize, out: &mut String) {
    let text = format!("{:.*e}", significant.max(1) - 1, value);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    layout(&format!("{mantissa}e{exponent}"), significant.max(1) as i32, out);
}

fn special(value: f64, out: &mut String) -> bool {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    !value.is_finite()
}

/// The shortest digits that read back, or `extra_float_digits` fewer than 15. C: `float8out_internal`.
pub(crate) fn output_f64(value: f64, out: &mut String) {
    if special(value, out) {
        return;
    }
    match settings::extra_float_digits() {
        1.. => layout(&format!("{value:e}"), 15, out),
        extra => general(value, (15 + extra).max(1) as usize, out),
    }
}

/// C: `float4out`.
pub(crate) fn output_f32(value: f32, out: &mut String) {
    if special(f64::from(value), out) {
        return;
    }
    match settings::extra_float_digits() {
        1.. => layout(&format!("{value:e}"), 6, out),
        extra => general(f64::from(value), (6 + extra).max(1) as usize, out),
    }
}

/// NaN equals itself and is greater than all. C: `float8_cmp_internal`.
pub(crate) fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cold]
pub(crate) fn float_overflow() -> PgError {
    error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

#[cold]
fn float_underflow() -> PgError {
    error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow")
}

trait Float: Copy + Into<f64> {
    fn narrow(v: f64) -> Self;
}

impl Float for f64 {
    fn narrow(v: f64) -> f64 {
        v
    }
}

impl Float for f32 {
    fn narrow(v: f64) -> f32 {
        v as f32
    }
}

/// The result of an operation on two operands, unless it became infinite (or zero) though they are not.
fn checked<T: Float>(result: T, infinite_ok: bool, zero_ok: bool) -> Result<T> {
    let wide: f64 = result.into();
    if wide.is_infinite() && !infinite_ok {
        return Err(float_overflow());
    }
    if wide == 0.0 && !zero_ok {
        return Err(float_underflow());
    }
    Ok(result)
}

fn divide<T: Float>(a: f64, b: f64) -> Result<T> {
    if b == 0.0 && !a.is_nan() {
        return Err(division_by_zero());
    }
    checked(T::narrow(a / b), a.is_infinite(), a == 0.0 || b.is_infinite())
}

macro_rules! float_arithmetic {
    ($($out:ty: $a:ty, $b:ty => $pl:ident $mi:ident $mul:ident $div:ident;)*) => {$(
        builtins! {
            fn $pl(a: $a, b: $b) -> $out {
                let (a, b) = (<$out>::from(a), <$out>::from(b));
                checked(a + b, a.is_infinite() || b.is_infinite(), true)?
            }
            fn $mi(a: $a, b: $b) -> $out {
                let (a, b) = (<$out>::from(a), <$out>::from(b));
                checked(a - b, a.is_infinite() || b.is_infinite(), true)?
            }
            fn $mul(a: $a, b: $b) -> $out {
                let (a, b) = (<$out>::from(a), <$out>::from(b));
                checked(a * b, a.is_infinite() || b.is_infinite(), a == 0.0 || b == 0.0)?
            }
            fn $div(a: $a, b: $b) -> $out { divide::<$out>(f64::from(a), f64::from(b))? }
        }
    )*};
}

float_arithmetic! {
    f32: f32, f32 => float4pl float4mi float4mul float4div;
    f64: f64, f64 => float8pl float8mi float8mul float8div;
    f64: f32, f64 => float48pl float48mi float48mul float48div;
    f64: f64, f32 => float84pl float84mi float84mul float84div;
}

comparisons! {
    f32, f32, |a, b| compare(f64::from(a), f64::from(b)) => float4eq float4ne float4lt float4le float4gt float4ge btfloat4cmp;
    f64, f64, |a, b| compare(a, b) => float8eq float8ne float8lt float8le float8gt float8ge btfloat8cmp;
    f32, f64, |a, b| compare(f64::from(a), b) => float48eq float48ne float48lt float48le float48gt float48ge btfloat48cmp;
    f64, f32, |a, b| compare(a, f64::from(b)) => float84eq float84ne float84lt float84le float84gt float84ge btfloat84cmp;
}

fn to_int(v: f64, type_name: &str, min: f64, limit: f64) -> Result<i64> {
    let rounded = v.round_ties_even();
    // NaN fails both comparisons.
    if rounded >= min && rounded < limit { Ok(rounded as i64) } else { Err(out_of_range(type_name)) }
}

const TWO_63: f64 = 9_223_372_036_854_775_808.0;

#[cold]
fn input_out_of_range() -> PgError {
    error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

fn trigonometric(a: f64, f: fn(f64) -> f64) -> Result<f64> {
    if a.is_infinite() {
        return Err(input_out_of_range());
    }
    Ok(f(a))
}

fn inverse(a: f64, f: fn(f64) -> f64) -> Result<f64> {
    if !a.is_nan() && !(-1.0..=1.0).contains(&a) {
        return Err(input_out_of_range());
    }
    Ok(f(a))
}

fn logarithm(a: f64, f: fn(f64) -> f64) -> Result<f64> {
    let bad = |what| Err(error!(SqlState::INVALID_ARGUMENT_FOR_LOG, "cannot take logarithm of {what}"));
    if a == 0.0 {
        return bad("zero");
    }
    if a < 0.0 {
        return bad("a negative number");
    }
    checked(f(a), a.is_infinite(), a == 1.0)
}

fn power(a: f64, b: f64) -> Result<f64> {
    let bad = |message| Err(error!(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, "{message}"));
    if a == 0.0 && b < 0.0 {
        return bad("zero raised to a negative power is undefined");
    }
    if a < 0.0 && b.is_finite() && b.floor() != b {
        return bad("a negative number raised to a non-integer power yields a complex result");
    }
    checked(a.powf(b), a.is_infinite() || b.is_infinite(), a == 0.0 || a.is_infinite() || b.is_infinite())
}

builtins! {
    fn float4um(a: f32) -> f32 { -a }
    fn float4up(a: f32) -> f32 { a }
    fn float4abs(a: f32) -> f32 { a.abs() }
    fn float4larger(a: f32, b: f32) -> f32 { if compare(f64::from(a), f64::from(b)).is_gt() { a } else { b } }
    fn float4smaller(a: f32, b: f32) -> f32 { if compare(f64::from(a), f64::from(b)).is_lt() { a } else { b } }
    fn float8um(a: f64) -> f64 { -a }
    fn float8up(a: f64) -> f64 { a }
    fn float8abs(a: f64) -> f64 { a.abs() }
    fn float8larger(a: f64, b: f64) -> f64 { if compare(a, b).is_gt() { a } else { b } }
    fn float8smaller(a: f64, b: f64) -> f64 { if compare(a, b).is_lt() { a } else { b } }
    fn ftod(a: f32) -> f64 { f64::from(a) }
    fn dtof(a: f64) -> f32 { checked(a as f32, a.is_infinite(), a == 0.0)? }
    fn dtoi2(a: f64) -> i16 { to_int(a, "smallint", -32768.0, 32768.0)? as i16 }
    fn dtoi4(a: f64) -> i32 { to_int(a, "integer", -2_147_483_648.0, 2_147_483_648.0)? as i32 }
    fn dtoi8(a: f64) -> i64 { to_int(a, "bigint", -TWO_63, TWO_63)? }
    fn ftoi2(a: f32) -> i16 { to_int(f64::from(a), "smallint", -32768.0, 32768.0)? as i16 }
    fn ftoi4(a: f32) -> i32 { to_int(f64::from(a), "integer", -2_147_483_648.0, 2_147_483_648.0)? as i32 }
    fn ftoi8(a: f32) -> i64 { to_int(f64::from(a), "bigint", -TWO_63, TWO_63)? }
    fn i2tod(a: i16) -> f64 { f64::from(a) }
    fn i4tod(a: i32) -> f64 { f64::from(a) }
    fn i8tod(a: i64) -> f64 { a as f64 }
    fn i2tof(a: i16) -> f32 { f32::from(a) }
    fn i4tof(a: i32) -> f32 { a as f32 }
    fn i8tof(a: i64) -> f32 { a as f32 }
    fn dround(a: f64) -> f64 { a.round_ties_even() }
    fn dceil(a: f64) -> f64 { a.ceil() }
    fn dfloor(a: f64) -> f64 { a.floor() }
    fn dtrunc(a: f64) -> f64 { a.trunc() }
    fn dsign(a: f64) -> f64 { if a > 0.0 { 1.0 } else if a < 0.0 { -1.0 } else { 0.0 } }
    fn dsqrt(a: f64) -> f64 {
        if a < 0.0 {
            return Err(error!(
                SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
                "cannot take square root of a negative number"
            ));
        }
        a.sqrt()
    }
    fn dcbrt(a: f64) -> f64 { a.cbrt() }
    fn dpow(a: f64, b: f64) -> f64 { power(a, b)? }
    fn dexp(a: f64) -> f64 { checked(a.exp(), a.is_infinite(), a.is_infinite())? }
    fn dlog1(a: f64) -> f64 { logarithm(a, f64::ln)? }
    fn dlog10(a: f64) -> f64 { logarithm(a, f64::log10)? }
    fn dsin(a: f64) -> f64 { trigonometric(a, f64::sin)? }
    fn dcos(a: f64) -> f64 { trigonometric(a, f64::cos)? }
    fn dtan(a: f64) -> f64 { trigonometric(a, f64::tan)? }
    fn dcot(a: f64) -> f64 { trigonometric(a, |v| 1.0 / v.tan())? }
    fn dasin(a: f64) -> f64 { inverse(a, f64::asin)? }
    fn dacos(a: f64) -> f64 { inverse(a, f64::acos)? }
    fn datan(a: f64) -> f64 { a.atan() }
    fn datan2(a: f64, b: f64) -> f64 { a.atan2(b) }
    fn dsinh(a: f64) -> f64 { a.sinh() }
    fn dcosh(a: f64) -> f64 { a.cosh() }
    fn dtanh(a: f64) -> f64 { a.tanh() }
    fn dasinh(a: f64) -> f64 { a.asinh() }
    fn dacosh(a: f64) -> f64 {
        if a < 1.0 {
            return Err(input_out_of_range());
        }
        a.acosh()
    }
    fn datanh(a: f64) -> f64 { inverse(a, f64::atanh)? }
    fn degrees(a: f64) -> f64 { checked(a / (std::f64::consts::PI / 180.0), a.is_infinite(), true)? }
    fn radians(a: f64) -> f64 { a * (std::f64::consts::PI / 180.0) }
    fn dpi() -> f64 { std::f64::consts::PI }
    fn drandom() -> f64 { random_double() }
    fn setseed(seed: f64) -> () {
        if !(-1.0..=1.0).contains(&seed) {
            return Err(error!(
                SqlState::INVALID_PARAMETER_VALUE,
                "setseed parameter {seed} is out of allowed range [-1,1]"
            ));
        }
        let scaled = ((1u64 << 52) - 1) as f64 * seed;
        RANDOM.set(Some(seeded(scaled as i64 as u64)));
    }
    fn width_bucket_float8(a: f64, low: f64, high: f64, count: i32) -> i32 { width_bucket(a, low, high, count)? }
}

fn width_bucket(a: f64, low: f64, high: f64, count: i32) -> Result<i32> {
    let bad = |message: &str| Err(error!(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION, "{message}"));
    if count <= 0 {
        return bad("count must be greater than zero");
    }
    if a.is_nan() || low.is_nan() || high.is_nan() {
        return bad("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return bad("lower and upper bounds must be finite");
    }
    let (before, after) = match compare(low, high) {
        Ordering::Less => (a < low, a >= high),
        Ordering::Greater => (a > low, a <= high),
        Ordering::Equal => return bad("lower bound cannot equal upper bound"),
    };
    if before {
        return Ok(0);
    }
    if after {
        return count.checked_add(1).ok_or_else(|| out_of_range("integer"));
    }
    let bucket = f64::from(count) * ((a - low) / (high - low));
    Ok((bucket as i32).clamp(0, count - 1) + 1)
}

thread_local! {
    /// State of `random()`: two words of xoroshiro128**, as in PostgreSQL 15, so that `setseed` repeats its
    /// sequences too.
    static RANDOM: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut v = *state;
    v = (v ^ (v >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    v = (v ^ (v >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    v ^ (v >> 31)
}

fn seeded(mut seed: u64) -> (u64, u64) {
    (splitmix(&mut seed), splitmix(&mut seed))
}

fn random_double() -> f64 {
    let (s0, s1) = RANDOM.get().unwrap_or_else(|| {
        let mut bytes = [0; 8];
        // Without entropy the address of a local is still different in each process.
        let seed = match getrandom::fill(&mut bytes) {
            Ok(()) => u64::from_ne_bytes(bytes),
            Err(_) => (&raw const bytes).addr() as u64,
        };
        seeded(seed)
    });
    let mixed = s1 ^ s0;
    let value = s0.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
    RANDOM.set(Some((s0.rotate_left(24) ^ mixed ^ (mixed << 16), mixed.rotate_left(37))));
    (value >> 12) as f64 / (1u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_all, check_error};

    #[test]
    fn text() {
        for (input, shown) in [
            ("1", "1"),
            ("-0", "-0"),
            ("0.1", "0.1"),
            ("1e14", "100000000000000"),
            ("1e15", "1e+15"),
            ("123456789012345678", "1.2345678901234568e+17"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e-300", "1e-300"),
            (" inf ", "Infinity"),
            ("-Infinity", "-Infinity"),
            ("nan", "NaN"),
            ("1.5", "1.5"),
            ("12345.678", "12345.678"),
        ] {
            check("float8", input, shown);
        }
        check("float4", "1e6", "1e+06");
        check("float4", "123456", "123456");
        check("float4", "0.1", "0.1");
        check_error("float8", "x", "22P02 invalid input syntax for type double precision: \"x\"");
        check_error("float8", "", "22P02 invalid input syntax for type double precision: \"\"");
        check_error("float8", "1e400", "22003 \"1e400\" is out of range for type double precision");
        check_error("float4", "1e-60", "22003 \"1e-60\" is out of range for type real");
    }

    #[test]
    fn arithmetic() {
        check_all(
            "
            float8:1  /  float8:3 => 0.3333333333333333
            float8:1  /  float8:0 => ERROR 22012 division by zero
            float8:1e308  *  float8:10 => ERROR 22003 value out of range: overflow
            float8:nan  =  float8:nan => t
            float8:2  ^  float8:3 => 8
            round(float8:2.5) => 2
            int4(float8:1e10) => ERROR 22003 integer out of range
            sqrt(float8:-1) => ERROR 2201F cannot take square root of a negative number
            ln(float8:0) => ERROR 2201E cannot take logarithm of zero
            pi() => 3.141592653589793
            ",
        );
    }
}
