//! smallint, integer, bigint: text, arithmetic, comparison, casts, bit operators, series. C: int.c, int8.c,
//! numutils.c.

use common::SqlState;
use elog::{PgError, Result, error};

use crate::Datum;
use crate::fmgr::{CallContext, RowIter};
use crate::io::invalid_input;

/// C isspace(): what may surround a number.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn parse(text: &str, type_name: &str, min: i64, max: i64) -> Result<i64> {
    let trimmed = text.trim_matches(is_space);
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid_input(type_name, text));
    }
    match trimmed.parse::<i64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(error!(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "value \"{text}\" is out of range for type {type_name}"
        )),
    }
}

pub(crate) fn input_i16(text: &str) -> Result<i16> {
    parse(text, "smallint", i64::from(i16::MIN), i64::from(i16::MAX)).map(|v| v as i16)
}

pub(crate) fn input_i32(text: &str) -> Result<i32> {
    parse(text, "integer", i64::from(i32::MIN), i64::from(i32::MAX)).map(|v| v as i32)
}

pub(crate) fn input_i64(text: &str) -> Result<i64> {
    parse(text, "bigint", i64::MIN, i64::MAX)
}

/// Appends decimal digits without going through the formatting machinery. C: `pg_lltoa`.
pub(crate) fn output(value: i64, out: &mut String) {
    let mut buffer = [0u8; 20];
    let mut at = buffer.len();
    let mut left = value.unsigned_abs();
    loop {
        at -= 1;
        buffer[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if value < 0 {
        out.push('-');
    }
    out.extend(buffer[at..].iter().map(|b| char::from(*b)));
}

#[cold]
pub(crate) fn out_of_range(type_name: &str) -> PgError {
    error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "{type_name} out of range")
}

#[cold]
pub(crate) fn division_by_zero() -> PgError {
    error!(SqlState::DIVISION_BY_ZERO, "division by zero")
}

macro_rules! arithmetic {
    ($($out:ty, $name:literal { $($a:ty, $b:ty => $pl:ident $mi:ident $mul:ident $div:ident;)* })*) => {$($(
        builtins! {
            fn $pl(a: $a, b: $b) -> $out {
                <$out>::from(a).checked_add(<$out>::from(b)).ok_or_else(|| out_of_range($name))?
            }
            fn $mi(a: $a, b: $b) -> $out {
                <$out>::from(a).checked_sub(<$out>::from(b)).ok_or_else(|| out_of_range($name))?
            }
            fn $mul(a: $a, b: $b) -> $out {
                <$out>::from(a).checked_mul(<$out>::from(b)).ok_or_else(|| out_of_range($name))?
            }
            fn $div(a: $a, b: $b) -> $out {
                if b == 0 {
                    return Err(division_by_zero());
                }
                <$out>::from(a).checked_div(<$out>::from(b)).ok_or_else(|| out_of_range($name))?
            }
        }
    )*)*};
}

arithmetic! {
    i16, "smallint" {
        i16, i16 => int2pl int2mi int2mul int2div;
    }
    i32, "integer" {
        i32, i32 => int4pl int4mi int4mul int4div;
        i16, i32 => int24pl int24mi int24mul int24div;
        i32, i16 => int42pl int42mi int42mul int42div;
    }
    i64, "bigint" {
        i64, i64 => int8pl int8mi int8mul int8div;
        i64, i32 => int84pl int84mi int84mul int84div;
        i32, i64 => int48pl int48mi int48mul int48div;
        i64, i16 => int82pl int82mi int82mul int82div;
        i16, i64 => int28pl int28mi int28mul int28div;
    }
}

macro_rules! one_width {
    ($($ty:ty, $name:literal => $um:ident $up:ident $abs:ident $mod:ident $and:ident $or:ident $xor:ident $not:ident
        $shl:ident $shr:ident $larger:ident $smaller:ident;)*) => {$(
        builtins! {
            fn $um(a: $ty) -> $ty { a.checked_neg().ok_or_else(|| out_of_range($name))? }
            fn $up(a: $ty) -> $ty { a }
            fn $abs(a: $ty) -> $ty { a.checked_abs().ok_or_else(|| out_of_range($name))? }
            fn $mod(a: $ty, b: $ty) -> $ty {
                if b == 0 {
                    return Err(division_by_zero());
                }
                a.wrapping_rem(b)
            }
            fn $and(a: $ty, b: $ty) -> $ty { a & b }
            fn $or(a: $ty, b: $ty) -> $ty { a | b }
            fn $xor(a: $ty, b: $ty) -> $ty { a ^ b }
            fn $not(a: $ty) -> $ty { !a }
            fn $shl(a: $ty, n: i32) -> $ty { a.wrapping_shl(n as u32) }
            fn $shr(a: $ty, n: i32) -> $ty { a.wrapping_shr(n as u32) }
            fn $larger(a: $ty, b: $ty) -> $ty { a.max(b) }
            fn $smaller(a: $ty, b: $ty) -> $ty { a.min(b) }
        }
    )*};
}

one_width! {
    i16, "smallint" => int2um int2up int2abs int2mod int2and int2or int2xor int2not int2shl int2shr int2larger int2smaller;
    i32, "integer" => int4um int4up int4abs int4mod int4and int4or int4xor int4not int4shl int4shr int4larger int4smaller;
    i64, "bigint" => int8um int8up int8abs int8mod int8and int8or int8xor int8not int8shl int8shr int8larger int8smaller;
}

comparisons! {
    i16, i16, |a, b| a.cmp(&b) => int2eq int2ne int2lt int2le int2gt int2ge btint2cmp;
    i32, i32, |a, b| a.cmp(&b) => int4eq int4ne int4lt int4le int4gt int4ge btint4cmp;
    i64, i64, |a, b| a.cmp(&b) => int8eq int8ne int8lt int8le int8gt int8ge btint8cmp;
    i16, i32, |a, b| i32::from(a).cmp(&b) => int24eq int24ne int24lt int24le int24gt int24ge btint24cmp;
    i32, i16, |a, b| a.cmp(&i32::from(b)) => int42eq int42ne int42lt int42le int42gt int42ge btint42cmp;
    i16, i64, |a, b| i64::from(a).cmp(&b) => int28eq int28ne int28lt int28le int28gt int28ge btint28cmp;
    i64, i16, |a, b| a.cmp(&i64::from(b)) => int82eq int82ne int82lt int82le int82gt int82ge btint82cmp;
    i32, i64, |a, b| i64::from(a).cmp(&b) => int48eq int48ne int48lt int48le int48gt int48ge btint48cmp;
    i64, i32, |a, b| a.cmp(&i64::from(b)) => int84eq int84ne int84lt int84le int84gt int84ge btint84cmp;
}

builtins! {
    fn int4inc(a: i32) -> i32 { a.checked_add(1).ok_or_else(|| out_of_range("integer"))? }
    fn int8inc(a: i64) -> i64 { a.checked_add(1).ok_or_else(|| out_of_range("bigint"))? }
    fn i2toi4(a: i16) -> i32 { i32::from(a) }
    fn i4toi2(a: i32) -> i16 { i16::try_from(a).map_err(|_| out_of_range("smallint"))? }
    fn int28(a: i16) -> i64 { i64::from(a) }
    fn int48(a: i32) -> i64 { i64::from(a) }
    fn int84(a: i64) -> i32 { i32::try_from(a).map_err(|_| out_of_range("integer"))? }
    fn int82(a: i64) -> i16 { i16::try_from(a).map_err(|_| out_of_range("smallint"))? }
    fn int4_bool(a: i32) -> bool { a != 0 }
    fn bool_int4(a: bool) -> i32 { i32::from(a) }
    fn i8tooid(a: i64) -> common::Oid { common::Oid(u32::try_from(a).map_err(|_| out_of_range("OID"))?) }
    fn oidtoi8(a: common::Oid) -> i64 { i64::from(a.0) }
    fn int4gcd(a: i32, b: i32) -> i32 {
        i32::try_from(gcd(u64::from(a.unsigned_abs()), u64::from(b.unsigned_abs()))).map_err(|_| out_of_range("integer"))?
    }
    fn int8gcd(a: i64, b: i64) -> i64 {
        i64::try_from(gcd(a.unsigned_abs(), b.unsigned_abs())).map_err(|_| out_of_range("bigint"))?
    }
    fn int4lcm(a: i32, b: i32) -> i32 {
        let (a, b) = (u64::from(a.unsigned_abs()), u64::from(b.unsigned_abs()));
        if a == 0 || b == 0 { 0 } else { i32::try_from(a / gcd(a, b) * b).map_err(|_| out_of_range("integer"))? }
    }
    fn int8lcm(a: i64, b: i64) -> i64 {
        let (a, b) = (u128::from(a.unsigned_abs()), u128::from(b.unsigned_abs()));
        if a == 0 || b == 0 {
            0
        } else {
            let divisor = u128::from(gcd(a as u64, b as u64));
            i64::try_from(a / divisor * b).map_err(|_| out_of_range("bigint"))?
        }
    }
    /// `to_hex(integer)`: two's complement, no leading zeros.
    fn to_hex32(a: i32) -> String { format!("{a:x}") }
    fn to_hex64(a: i64) -> String { format!("{a:x}") }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Yields `first`, `first + step` ... up to `last`, whichever way `step` points. C: `generate_series_step_int8`.
fn series(first: i64, last: i64, step: i64, make: fn(i64) -> Datum, max: i64) -> Result<RowIter> {
    if step == 0 {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero"));
    }
    let in_range = move |v: i64| if step > 0 { v <= last } else { v >= last };
    let fits = move |v: i64| (-max - 1..=max).contains(&v);
    let values = std::iter::successors(Some(first).filter(|v| in_range(*v)), move |v| {
        v.checked_add(step).filter(|v| in_range(*v) && fits(*v))
    });
    Ok(Box::new(values.map(move |v| Ok(vec![make(v)]))))
}

fn series_int4(args: &[i64], step: i64) -> Result<RowIter> {
    series(args[0], args[1], step, |v| Datum::Int4(v as i32), i64::from(i32::MAX))
}

fn int_args(args: &[Datum]) -> Vec<i64> {
    args.iter().map(|a| a.as_i64().unwrap_or_default()).collect()
}

pub(crate) fn generate_series_int4(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    series_int4(&int_args(args), 1)
}

pub(crate) fn generate_series_step_int4(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    let args = int_args(args);
    series_int4(&args, args[2])
}

pub(crate) fn generate_series_int8(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    let args = int_args(args);
    series(args[0], args[1], 1, Datum::Int8, i64::MAX)
}

pub(crate) fn generate_series_step_int8(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    let args = int_args(args);
    series(args[0], args[1], args[2], Datum::Int8, i64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        check("int4", " -2147483648 ", "-2147483648");
        check("int8", "+9223372036854775807", "9223372036854775807");
        check("int2", "0", "0");
        check_error("int4", "abc", "22P02 invalid input syntax for type integer: \"abc\"");
        check_error("int4", "", "22P02 invalid input syntax for type integer: \"\"");
        check_error("int4", "1 2", "22P02 invalid input syntax for type integer: \"1 2\"");
        check_error("int4", "2147483648", "22003 value \"2147483648\" is out of range for type integer");
        check_error("int2", "99999", "22003 value \"99999\" is out of range for type smallint");
        check_error(
            "int8",
            "99999999999999999999",
            "22003 value \"99999999999999999999\" is out of range for type bigint",
        );
    }
}
