//! numeric's roots, powers, exponentials and logarithms. C: the second half of numeric.c.
//!
//! Each result is computed in fixed point with some spare digits, then rounded to the scale that PostgreSQL
//! would show, which depends on an estimate of the result's magnitude.

use common::SqlState;
use elog::{PgError, Result, error};
use num_bigint::BigInt;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::numeric::{
    MAX_DISPLAY_SCALE, MIN_SIG_DIGITS, Numeric, div_round, divide_to, multiply, overflow, pow10,
};

/// Digits kept beyond those asked for.
const SPARE: u32 = 12;

fn clamp_scale(scale: i64, operands: &[&Numeric]) -> u32 {
    let least = operands.iter().map(|n| i64::from(n.scale())).max().unwrap_or(0);
    scale.max(least).clamp(0, MAX_DISPLAY_SCALE) as u32
}

/// A finite value times 10^digits, as an integer.
fn fixed(a: &Numeric, digits: u32) -> BigInt {
    match a.rescale(digits) {
        Numeric::Finite { unscaled, .. } => unscaled,
        _ => BigInt::zero(),
    }
}

/// C: `numeric_sqrt`.
pub(crate) fn sqrt(a: &Numeric) -> Result<Numeric> {
    match a {
        Numeric::NaN | Numeric::Infinity => return Ok(a.clone()),
        _ if a.signum() < 0 => {
            return Err(error!(
                SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
                "cannot take square root of a negative number"
            ));
        }
        _ => {}
    }
    let (weight, _) = a.leading();
    let result_digits = (weight + 1) * 4 / 2 - 1;
    let scale = clamp_scale(MIN_SIG_DIGITS - result_digits, &[a]);
    let root = fixed(a, 2 * scale + 2).sqrt();
    Ok(Numeric::new(root, scale + 1).rescale(scale))
}

/// e^x in fixed point. The argument is halved until small, then the series is squared back up.
fn exp_fixed(x: &BigInt, digits: u32) -> BigInt {
    let halvings = 12 + x.bits().saturating_sub(pow10(digits).bits()) as u32;
    let work = digits + halvings;
    let one = pow10(work);
    let small: BigInt = (x * pow10(work - digits)) >> halvings;
    let mut term = one.clone();
    let mut sum = one.clone();
    for n in 1u32.. {
        term = &term * &small / &one / n;
        if term.is_zero() {
            break;
        }
        sum += &term;
    }
    for _ in 0..halvings {
        sum = &sum * &sum / &one;
    }
    sum / pow10(work - digits)
}

/// ln(m) for m near 1, by the inverse hyperbolic tangent's series.
fn ln_series(m: &BigInt, one: &BigInt) -> BigInt {
    let y = (m - one) * one / (m + one);
    let y2 = &y * &y / one;
    let mut power = y.clone();
    let mut sum = y;
    for n in (3u32..).step_by(2) {
        power = &power * &y2 / one;
        if power.is_zero() {
            break;
        }
        sum += &power / n;
    }
    sum << 1u8
}

/// ln x in fixed point, for x > 0: x = m * 2^k with m in [1, 2), and m brought near 1 by square roots.
fn ln_fixed(x: &BigInt, digits: u32) -> BigInt {
    let work = digits + 10;
    let one = pow10(work);
    let x = x * pow10(work - digits);
    let k = x.bits() as i64 - one.bits() as i64;
    let mut m = if k >= 0 { &x >> k as u64 } else { &x << (-k) as u64 };
    let mut roots = 0u32;
    while roots < 6 {
        m = (&m * &one).sqrt();
        roots += 1;
    }
    let ln_m: BigInt = ln_series(&m, &one) << roots;
    let two: BigInt = &one << 1u8;
    let mut root = two;
    for _ in 0..6 {
        root = (&root * &one).sqrt();
    }
    let ln_2: BigInt = ln_series(&root, &one) << 6u8;
    div_round(&(ln_m + ln_2 * k), &pow10(work - digits))
}

/// Decimal weight of ln(x), so that a result scale can be chosen before computing it.
/// C: `estimate_ln_dweight`.
fn estimate_ln_dweight(a: &Numeric) -> i64 {
    if a.signum() <= 0 {
        return 0;
    }
    let near_one = *a >= Numeric::new(9, 1) && *a <= Numeric::new(11, 1);
    if near_one {
        let x = super::numeric::add(a, &Numeric::new(-1, 0));
        let (weight, first) = x.leading();
        return if first == 0 { 0 } else { weight * 4 + (first as f64).log10() as i64 };
    }
    let (weight, _) = a.leading();
    // The leading two base-10000 digits as a double, as C takes them.
    let shift = 4 * (weight - 1);
    let head = super::numeric::trunc_to(a, -shift);
    let head = match (head, u32::try_from(shift)) {
        (Numeric::Finite { unscaled, scale: 0 }, Ok(shift)) => unscaled / pow10(shift),
        (Numeric::Finite { unscaled, .. }, _) => unscaled,
        _ => BigInt::one(),
    };
    let ln = head.to_f64().unwrap_or(1.0).ln() + shift as f64 * std::f64::consts::LN_10;
    ln.abs().log10() as i64
}

#[cold]
fn log_of(what: &str) -> PgError {
    error!(SqlState::INVALID_ARGUMENT_FOR_LOG, "cannot take logarithm of {what}")
}

fn check_log_argument(a: &Numeric) -> Result<()> {
    match a.signum() {
        0 => Err(log_of("zero")),
        1.. => Ok(()),
        _ => Err(log_of("a negative number")),
    }
}

fn ln_to(a: &Numeric, scale: u32) -> Numeric {
    // Small inputs need their own digits kept too.
    let digits = scale.max(a.scale()) + SPARE;
    Numeric::new(ln_fixed(&fixed(a, digits), digits), digits).rescale(scale)
}

/// C: `numeric_ln`.
pub(crate) fn ln(a: &Numeric) -> Result<Numeric> {
    if a.is_nan() {
        return Ok(Numeric::NaN);
    }
    check_log_argument(a)?;
    if matches!(a, Numeric::Infinity) {
        return Ok(Numeric::Infinity);
    }
    Ok(ln_to(a, clamp_scale(MIN_SIG_DIGITS - estimate_ln_dweight(a), &[a])))
}

/// Logarithm of `a` to `base`. C: `numeric_log`, `log_var`.
pub(crate) fn log(base: &Numeric, a: &Numeric) -> Result<Numeric> {
    if base.is_nan() || a.is_nan() {
        return Ok(Numeric::NaN);
    }
    check_log_argument(base)?;
    check_log_argument(a)?;
    match (base, a) {
        (Numeric::Infinity, Numeric::Infinity) => return Ok(Numeric::NaN),
        (Numeric::Infinity, _) => return Ok(Numeric::new(0, 0)),
        (_, Numeric::Infinity) => return Ok(Numeric::Infinity),
        _ => {}
    }
    let weight = estimate_ln_dweight(a) - estimate_ln_dweight(base);
    let scale = clamp_scale(MIN_SIG_DIGITS - weight, &[base, a]);
    let digits = scale + SPARE + estimate_ln_dweight(base).unsigned_abs() as u32;
    let ln_base = ln_to(base, digits);
    if ln_base.is_zero() {
        return Err(super::int::division_by_zero());
    }
    Ok(divide_to(&ln_to(a, digits), &ln_base, scale))
}

/// C: `numeric_exp`.
pub(crate) fn exp(a: &Numeric) -> Result<Numeric> {
    match a {
        Numeric::NaN | Numeric::Infinity => return Ok(a.clone()),
        Numeric::NegInfinity => return Ok(Numeric::new(0, 0)),
        Numeric::Finite { .. } => {}
    }
    let decimal_weight = (a.to_f64() * std::f64::consts::LOG10_E).clamp(-2000.0, 2000.0);
    let scale = clamp_scale(MIN_SIG_DIGITS - decimal_weight as i64, &[a]);
    exp_to(a, scale)
}

fn exp_to(a: &Numeric, scale: u32) -> Result<Numeric> {
    let estimate = a.to_f64();
    if estimate.abs() >= 6000.0 {
        return if estimate > 0.0 { Err(overflow()) } else { Ok(Numeric::new(0, scale)) };
    }
    let magnitude = (estimate * std::f64::consts::LOG10_E).max(0.0) as u32;
    let digits = scale + magnitude + SPARE;
    Ok(Numeric::new(exp_fixed(&fixed(a, digits), digits), digits).rescale(scale))
}

/// Whether it is a whole number, and which if it fits an i32.
fn as_integer(a: &Numeric) -> Option<Option<i32>> {
    if super::numeric::min_scale(a)? != 0 {
        return None;
    }
    Some(a.to_i128().and_then(|n| i32::try_from(n).ok()))
}

fn power_special(base: &Numeric, exponent: &Numeric) -> Option<Numeric> {
    let one = Numeric::new(1, 0);
    let finite = |n: &Numeric| matches!(n, Numeric::Finite { .. });
    if finite(base) && finite(exponent) {
        return None;
    }
    if base.is_nan() {
        return Some(if exponent.is_zero() { one } else { Numeric::NaN });
    }
    if exponent.is_nan() {
        return Some(if *base == one { one } else { Numeric::NaN });
    }
    if *base == one || exponent.is_zero() {
        return Some(one);
    }
    if !finite(exponent) {
        let magnitude = if base.signum() < 0 { super::numeric::negate(base) } else { base.clone() };
        if magnitude == one {
            return Some(one);
        }
        let grows = (magnitude > one) == (exponent.signum() > 0);
        return Some(if grows { Numeric::Infinity } else { Numeric::new(0, 0) });
    }
    if exponent.signum() < 0 {
        return Some(Numeric::new(0, 0));
    }
    let is_odd = as_integer(exponent).is_some_and(|n| n.is_some_and(|n| n % 2 != 0));
    Some(if base.signum() < 0 && is_odd { Numeric::NegInfinity } else { Numeric::Infinity })
}

/// C: `numeric_power`.
pub(crate) fn power(base: &Numeric, exponent: &Numeric) -> Result<Numeric> {
    if let Some(result) = power_special(base, exponent) {
        return Ok(result);
    }
    let bad = |message: &str| Err(error!(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, "{message}"));
    if base.is_zero() && exponent.signum() < 0 {
        return bad("zero raised to a negative power is undefined");
    }
    let whole = as_integer(exponent);
    if base.signum() < 0 && whole.is_none() {
        return bad("a negative number raised to a non-integer power yields a complex result");
    }
    if let Some(Some(n)) = whole {
        return power_int(base, n, clamp_scale(MIN_SIG_DIGITS, &[base, exponent]));
    }
    if base.is_zero() {
        return Ok(Numeric::new(0, MIN_SIG_DIGITS as u32));
    }
    if absolute(base) == Numeric::new(1, 0) {
        let is_odd = exponent.to_i128().is_some_and(|n| n % 2 != 0);
        let one = Numeric::new(if base.signum() < 0 && is_odd { -1 } else { 1 }, 0);
        return Ok(one.rescale(clamp_scale(MIN_SIG_DIGITS, &[base, exponent])));
    }
    let ln_base = ln_to(&absolute(base), 40);
    let estimate = multiply(&ln_base, exponent).to_f64();
    if estimate.abs() > 6020.0 {
        return if estimate > 0.0 { Err(overflow()) } else { Ok(Numeric::new(0, MAX_DISPLAY_SCALE as u32)) };
    }
    let decimal_weight = estimate * std::f64::consts::LOG10_E;
    let scale = clamp_scale(MIN_SIG_DIGITS - decimal_weight as i64, &[base, exponent]);
    let exponent_digits = (exponent.to_f64().abs() + 1.0).log10().min(1000.0) as u32;
    let digits = scale + decimal_weight.max(0.0) as u32 + exponent_digits + SPARE;
    let ln_result = multiply(&ln_to(&absolute(base), digits), exponent);
    let result = exp_to(&ln_result, scale)?;
    // Only a whole exponent too large for an i32 gets here with a negative base.
    let is_odd = exponent.to_i128().is_some_and(|n| n % 2 != 0);
    Ok(if base.signum() < 0 && is_odd { super::numeric::negate(&result) } else { result })
}

fn absolute(a: &Numeric) -> Numeric {
    if a.signum() < 0 { super::numeric::negate(a) } else { a.clone() }
}

/// C: `power_var_int`.
fn power_int(base: &Numeric, n: i32, scale: u32) -> Result<Numeric> {
    match n {
        0 => return Ok(Numeric::new(1, 0).rescale(scale)),
        1 => return Ok(base.rescale(scale)),
        -1 => return Ok(divide_to(&Numeric::new(1, 0), base, scale)),
        2 => return Ok(multiply(base, base).rescale(scale)),
        _ if base.is_zero() => return Ok(Numeric::new(0, scale)),
        _ => {}
    }
    let decimal_weight = absolute(base).to_f64().log10() * f64::from(n);
    if decimal_weight > 131_072.0 {
        return Err(overflow());
    }
    if decimal_weight + f64::from(scale) < -10.0 {
        return Ok(Numeric::new(0, scale));
    }
    // Exact while the digits are few, else rounded to more than the result shows.
    let digits = scale + decimal_weight.abs() as u32 + SPARE + 10;
    let mut result = Numeric::new(1, 0);
    let mut square = base.clone();
    let mut left = n.unsigned_abs();
    let inverse_digits = if n < 0 { 2 * digits } else { digits };
    while left > 0 {
        if left & 1 == 1 {
            result = limit(multiply(&result, &square), inverse_digits);
        }
        left >>= 1;
        if left > 0 {
            square = limit(multiply(&square, &square), inverse_digits);
        }
    }
    if n < 0 {
        return if result.is_zero() {
            Err(overflow())
        } else {
            Ok(divide_to(&Numeric::new(1, 0), &result, scale))
        };
    }
    result.rescale(scale).checked()
}

fn limit(a: Numeric, digits: u32) -> Numeric {
    if a.scale() > digits { a.rescale(digits) } else { a }
}

/// Which of `count` equal steps from `low` to `high` holds the value. C: `width_bucket_numeric`.
pub(crate) fn width_bucket(value: &Numeric, low: &Numeric, high: &Numeric, count: i32) -> Result<i32> {
    let bad = |message: &str| Err(error!(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION, "{message}"));
    if count <= 0 {
        return bad("count must be greater than zero");
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return bad("operand, lower bound, and upper bound cannot be NaN");
    }
    let (Numeric::Finite { .. }, Numeric::Finite { .. }) = (low, high) else {
        return bad("lower and upper bounds must be finite");
    };
    let rising = match low.cmp(high) {
        std::cmp::Ordering::Equal => return bad("lower bound cannot equal upper bound"),
        order => order.is_lt(),
    };
    let (before, after) = if rising { (value < low, value >= high) } else { (value > low, value <= high) };
    if before {
        return Ok(0);
    }
    if after {
        return count.checked_add(1).ok_or_else(|| super::int::out_of_range("integer"));
    }
    let minus = |a: &Numeric, b: &Numeric| super::numeric::add(a, &super::numeric::negate(b));
    let scaled = multiply(&minus(value, low), &Numeric::from_i64(i64::from(count)));
    let (x, y, _) = super::numeric::aligned(&scaled, &minus(high, low)).unwrap_or_default();
    let bucket = (x.abs() / y.abs()).to_i32().unwrap_or(count);
    Ok(bucket.saturating_add(1))
}
