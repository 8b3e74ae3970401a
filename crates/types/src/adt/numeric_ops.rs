//! numeric as SQL calls it: operators, functions, casts, series. C: numeric.c.

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};

use super::numeric::{self, Numeric, add, divide, modulo, multiply, negate};
use super::numeric_math as math;
use crate::Datum;
use crate::fmgr::{CallContext, RowIter};

comparisons! {
    &Numeric, &Numeric, |a, b| a.cmp(b) => numeric_eq numeric_ne numeric_lt numeric_le numeric_gt numeric_ge numeric_cmp;
}

fn round_scale(scale: i32) -> i64 {
    i64::from(scale.clamp(-2000, 2000))
}

fn floor(a: &Numeric) -> Numeric {
    let cut = numeric::trunc_to(a, 0);
    if cut > *a { add(&cut, &Numeric::new(-1, 0)) } else { cut }
}

builtins! {
    fn numeric_add(a: &Numeric, b: &Numeric) -> Numeric { add(a, b).checked()? }
    fn numeric_sub(a: &Numeric, b: &Numeric) -> Numeric { add(a, &negate(b)).checked()? }
    fn numeric_mul(a: &Numeric, b: &Numeric) -> Numeric { multiply(a, b).checked()? }
    fn numeric_div(a: &Numeric, b: &Numeric) -> Numeric { divide(a, b)?.checked()? }
    fn numeric_mod(a: &Numeric, b: &Numeric) -> Numeric { modulo(a, b)? }
    fn numeric_div_trunc(a: &Numeric, b: &Numeric) -> Numeric {
        let remainder = modulo(a, b)?;
        match (a, b) {
            (Numeric::Finite { .. }, Numeric::Finite { .. }) => {
                let whole = add(a, &negate(&remainder));
                numeric::divide_to(&whole, b, 0)
            }
            _ => divide(a, b)?,
        }
    }
    fn numeric_uminus(a: &Numeric) -> Numeric { negate(a) }
    fn numeric_uplus(a: &Numeric) -> Numeric { a.clone() }
    fn numeric_abs(a: &Numeric) -> Numeric { if a.signum() < 0 { negate(a) } else { a.clone() } }
    fn numeric_sign(a: &Numeric) -> Numeric {
        if a.is_nan() { Numeric::NaN } else { Numeric::from_i64(i64::from(a.signum())) }
    }
    fn numeric_inc(a: &Numeric) -> Numeric { add(a, &Numeric::new(1, 0)) }
    fn numeric_larger(a: &Numeric, b: &Numeric) -> Numeric { a.max(b).clone() }
    fn numeric_smaller(a: &Numeric, b: &Numeric) -> Numeric { a.min(b).clone() }
    fn numeric_floor(a: &Numeric) -> Numeric { floor(a) }
    fn numeric_ceil(a: &Numeric) -> Numeric { negate(&floor(&negate(a))) }
    fn numeric_round(a: &Numeric, scale: i32) -> Numeric { numeric::round_to(a, round_scale(scale)).checked()? }
    fn numeric_round_0(a: &Numeric) -> Numeric { numeric::round_to(a, 0) }
    fn numeric_trunc(a: &Numeric, scale: i32) -> Numeric { numeric::trunc_to(a, round_scale(scale)) }
    fn numeric_trunc_0(a: &Numeric) -> Numeric { numeric::trunc_to(a, 0) }
    fn numeric_sqrt(a: &Numeric) -> Numeric { math::sqrt(a)? }
    fn numeric_exp(a: &Numeric) -> Numeric { math::exp(a)?.checked()? }
    fn numeric_ln(a: &Numeric) -> Numeric { math::ln(a)? }
    fn numeric_log(base: &Numeric, a: &Numeric) -> Numeric { math::log(base, a)? }
    fn numeric_log_10(a: &Numeric) -> Numeric { math::log(&Numeric::new(10, 0), a)? }
    fn numeric_power(a: &Numeric, b: &Numeric) -> Numeric { math::power(a, b)? }
    fn numeric_gcd(a: &Numeric, b: &Numeric) -> Numeric { numeric::gcd(a, b) }
    fn numeric_lcm(a: &Numeric, b: &Numeric) -> Numeric { numeric::lcm(a, b).checked()? }
    fn numeric_scale(a: &Numeric) -> Option<i32> {
        matches!(a, Numeric::Finite { .. }).then(|| a.scale() as i32)
    }
    fn numeric_min_scale(a: &Numeric) -> Option<i32> { numeric::min_scale(a).map(|s| s as i32) }
    fn numeric_trim_scale(a: &Numeric) -> Numeric {
        numeric::min_scale(a).map_or_else(|| a.clone(), |scale| a.rescale(scale))
    }
    fn numeric_fac(@cx; n: i64) -> Numeric { numeric::factorial(n, &|| cx.check_interrupts())? }
    fn width_bucket_numeric(a: &Numeric, low: &Numeric, high: &Numeric, count: i32) -> i32 {
        math::width_bucket(a, low, high, count)?
    }
    /// The length coercion `numeric(numeric, int4)`.
    fn numeric_typmod(a: &Numeric, typmod: i32) -> Numeric { numeric::apply_typmod(a, typmod)? }
    fn int2_numeric(a: i16) -> Numeric { Numeric::from_i64(i64::from(a)) }
    fn int4_numeric(a: i32) -> Numeric { Numeric::from_i64(i64::from(a)) }
    fn int8_numeric(a: i64) -> Numeric { Numeric::from_i64(a) }
    fn float4_numeric(a: f32) -> Numeric { numeric::from_float(f64::from(a), 6)? }
    fn float8_numeric(a: f64) -> Numeric { numeric::from_float(a, 15)? }
    fn numeric_int2(a: &Numeric) -> i16 {
        numeric::to_integer(a, "smallint", i16::MIN.into(), i16::MAX.into())? as i16
    }
    fn numeric_int4(a: &Numeric) -> i32 {
        numeric::to_integer(a, "integer", i32::MIN.into(), i32::MAX.into())? as i32
    }
    fn numeric_int8(a: &Numeric) -> i64 {
        numeric::to_integer(a, "bigint", i64::MIN.into(), i64::MAX.into())? as i64
    }
    fn numeric_float8(a: &Numeric) -> f64 { a.to_f64() }
    fn numeric_float4(a: &Numeric) -> f32 {
        let value = a.to_f64() as f32;
        if value.is_infinite() && matches!(a, Numeric::Finite { .. }) {
            return Err(error!(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                "\"{a}\" is out of range for type real"
            ));
        }
        value
    }
    fn numeric_pg_lsn(a: &Numeric) -> common::Lsn {
        match a {
            Numeric::NaN => return Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "cannot convert NaN to pg_lsn")),
            Numeric::Finite { .. } => {}
            _ => return Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "cannot convert infinity to pg_lsn")),
        }
        let value = a.to_i128().and_then(|n| u64::try_from(n).ok());
        common::Lsn(value.ok_or_else(super::oid::lsn_out_of_range)?)
    }
}

fn series(args: &[Datum], step: Numeric) -> Result<RowIter> {
    let (Datum::Numeric(first), Datum::Numeric(last)) = (&args[0], &args[1]) else {
        return Err(crate::fmgr::wrong_arg_count("generate_series_numeric"));
    };
    for (value, name) in [(&**first, "start"), (&**last, "stop"), (&step, "step")] {
        let special = match value {
            Numeric::NaN => "NaN",
            Numeric::Finite { .. } => continue,
            _ => "infinity",
        };
        let noun = if name == "step" { "step size" } else { &format!("{name} value") };
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "{noun} cannot be {special}"));
    }
    if step.is_zero() {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero"));
    }
    let last = last.clone();
    let rising = step.signum() > 0;
    let within = move |v: &Numeric| if rising { *v <= *last } else { *v >= *last };
    let mut next = Numeric::clone(first);
    Ok(Box::new(std::iter::from_fn(move || {
        within(&next).then(|| {
            let current = next.clone();
            next = add(&next, &step);
            Ok(vec![Datum::Numeric(Rc::new(current))])
        })
    })))
}

pub(crate) fn generate_series_numeric(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    series(args, Numeric::new(1, 0))
}

pub(crate) fn generate_series_step_numeric(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    match &args[2] {
        Datum::Numeric(step) => series(args, Numeric::clone(step)),
        _ => Err(crate::fmgr::wrong_arg_count("generate_series_step_numeric")),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_all, check_error};

    #[test]
    fn text_and_wire() {
        for text in
            ["0", "0.00", "-1.50", "123456789012345678901234567890.123456789", "0.0001", "10000", "NaN"]
        {
            check("numeric", text, text);
        }
        check("numeric", " 1e10 ", "10000000000");
        check("numeric", "1.5e-3", "0.0015");
        check("numeric", ".5", "0.5");
        check("numeric", "5.", "5");
        check("numeric", "-inf", "-Infinity");
        check_error("numeric", "1e", "22P02 invalid input syntax for type numeric: \"1e\"");
        check_error("numeric", ".", "22P02 invalid input syntax for type numeric: \".\"");
        check_error("numeric", "1e200000", "22003 value overflows numeric format");
    }

    #[test]
    fn arithmetic() {
        check_all(
            "
            numeric:1  /  numeric:3 => 0.33333333333333333333
            numeric:10  /  numeric:3 => 3.3333333333333333
            numeric:2  /  numeric:3 => 0.66666666666666666667
            numeric:100000  /  numeric:7 => 14285.714285714286
            numeric:1.10  *  numeric:2.200 => 2.42000
            numeric:1.5  +  int4:1 => 2.5
            numeric:-7  %  numeric:3 => -1
            numeric:1  /  numeric:0 => ERROR 22012 division by zero
            round(numeric:2.5) => 3
            round(numeric:-2.5) => -3
            round(numeric:1234.567 | int4:-2) => 1200
            trunc(numeric:-1.29 | int4:1) => -1.2
            ceil(numeric:1.2) => 2
            floor(numeric:-1.2) => -2
            sqrt(numeric:2) => 1.414213562373095
            exp(numeric:1) => 2.7182818284590452
            ln(numeric:2) => 0.6931471805599453
            power(numeric:2 | numeric:10) => 1024.0000000000000000
            power(numeric:2 | numeric:0.5) => 1.4142135623730950
            log(numeric:100) => 2.0000000000000000
            factorial(int8:20) => 2432902008176640000
            gcd(numeric:12 | numeric:18) => 6
            trim_scale(numeric:1.500) => 1.5
            generate_series(numeric:1 | numeric:2 | numeric:0.5) => 1 1.5 2.0
            ",
        );
    }
}
