//! numeric: exact decimals with a display scale, NaN and the infinities. C: numeric.c.
//!
//! A value is an integer and a scale, `unscaled / 10^scale`; C keeps base-10000 digits. The two meet in
//! [`Numeric::leading`], since C's choice of a result scale looks at the first base-10000 digit, and on the wire.

use std::cmp::Ordering;
use std::fmt;

use common::SqlState;
use elog::{PgError, Result, error};
use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::int::is_space;
use crate::io::{Reader, invalid_input};

/// Most digits behind the point that a value can carry. C: `NUMERIC_DSCALE_MAX`.
const MAX_SCALE: i64 = 16383;
/// Most digits before it. C: four times `NUMERIC_WEIGHT_MAX + 1`.
const MAX_INTEGER_DIGITS: i64 = 131_072;
/// C: `NUMERIC_MAX_DISPLAY_SCALE`.
pub(crate) const MAX_DISPLAY_SCALE: i64 = 1000;
/// C: `NUMERIC_MIN_SIG_DIGITS`.
pub(crate) const MIN_SIG_DIGITS: i64 = 16;

/// A SQL numeric.
#[derive(Clone, Debug)]
pub enum Numeric {
    /// Not a number; equals itself and is greater than everything.
    NaN,
    /// Positive infinity.
    Infinity,
    /// Negative infinity.
    NegInfinity,
    /// `unscaled / 10^scale`; `scale` digits are shown behind the point.
    Finite {
        /// The digits without a point.
        unscaled: BigInt,
        /// C: `dscale`.
        scale: u32,
    },
}

pub(crate) fn pow10(n: u32) -> BigInt {
    if n < 19 { BigInt::from(10u64.pow(n)) } else { BigInt::from(10).pow(n) }
}

/// Quotient rounded half away from zero.
pub(crate) fn div_round(a: &BigInt, b: &BigInt) -> BigInt {
    let (quotient, remainder) = a.div_rem(b);
    if (remainder.abs() << 1u8) >= b.abs() {
        if a.is_negative() == b.is_negative() { quotient + 1 } else { quotient - 1 }
    } else {
        quotient
    }
}

#[cold]
pub(crate) fn overflow() -> PgError {
    error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

/// Digits of the integer's absolute value in base ten; 0 for zero.
fn decimal_digits(n: &BigInt) -> i64 {
    if n.is_zero() {
        return 0;
    }
    // log10(2) bounds it to within one; then one comparison decides.
    let bits = n.bits();
    let guess = ((bits - 1) as f64 * std::f64::consts::LOG10_2) as u32;
    let mut digits = i64::from(guess);
    let mut power = pow10(guess);
    while n.magnitude() >= power.magnitude() {
        power *= 10;
        digits += 1;
    }
    digits
}

impl Numeric {
    /// An exact finite value.
    pub fn new(unscaled: impl Into<BigInt>, scale: u32) -> Numeric {
        Numeric::Finite { unscaled: unscaled.into(), scale }
    }

    /// An integer.
    pub fn from_i64(v: i64) -> Numeric {
        Numeric::new(v, 0)
    }

    /// A large integer.
    pub fn from_i128(v: i128) -> Numeric {
        Numeric::new(v, 0)
    }

    /// The nearest decimal that C's `numeric` cast takes a double for: 15 significant digits.
    pub fn from_f64(v: f64) -> Result<Numeric> {
        from_float(v, 15)
    }

    /// True for NaN.
    pub fn is_nan(&self) -> bool {
        matches!(self, Numeric::NaN)
    }

    /// Digits behind the point.
    pub fn scale(&self) -> u32 {
        match self {
            Numeric::Finite { scale, .. } => *scale,
            _ => 0,
        }
    }

    /// -1, 0 or 1; NaN counts as positive.
    pub fn signum(&self) -> i32 {
        match self {
            Numeric::NaN | Numeric::Infinity => 1,
            Numeric::NegInfinity => -1,
            Numeric::Finite { unscaled, .. } => match unscaled.sign() {
                Sign::Minus => -1,
                Sign::NoSign => 0,
                Sign::Plus => 1,
            },
        }
    }

    /// True for zero at any scale.
    pub fn is_zero(&self) -> bool {
        self.signum() == 0
    }

    /// The value as an integer, rounded half away from zero; `None` for NaN, infinity and the very large.
    pub fn to_i128(&self) -> Option<i128> {
        self.rounded_integer()?.to_i128()
    }

    fn rounded_integer(&self) -> Option<BigInt> {
        match self {
            Numeric::Finite { unscaled, scale: 0 } => Some(unscaled.clone()),
            Numeric::Finite { unscaled, scale } => Some(div_round(unscaled, &pow10(*scale))),
            _ => None,
        }
    }

    /// The nearest double.
    pub fn to_f64(&self) -> f64 {
        match self {
            Numeric::NaN => f64::NAN,
            Numeric::Infinity => f64::INFINITY,
            Numeric::NegInfinity => f64::NEG_INFINITY,
            // Reading the decimal text back rounds once, as strtod does in C.
            Numeric::Finite { .. } => self.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// Brings it to `scale` digits behind the point, rounding half away from zero. C: `round_var`.
    pub fn rescale(&self, new_scale: u32) -> Numeric {
        match self {
            Numeric::Finite { unscaled, scale } if new_scale >= *scale => {
                Numeric::new(unscaled * pow10(new_scale - scale), new_scale)
            }
            Numeric::Finite { unscaled, scale } => {
                Numeric::new(div_round(unscaled, &pow10(scale - new_scale)), new_scale)
            }
            special => special.clone(),
        }
    }

    /// Base-10000 weight and value of the first nonzero base-10000 digit: (0, 0) for zero.
    pub(crate) fn leading(&self) -> (i64, i64) {
        let Numeric::Finite { unscaled, scale } = self else { return (0, 0) };
        let digits = decimal_digits(unscaled);
        if digits == 0 {
            return (0, 0);
        }
        let exponent = digits - 1 - i64::from(*scale);
        let weight = exponent.div_euclid(4);
        let wanted = exponent - 4 * weight + 1;
        let magnitude = unscaled.abs();
        let first = match u32::try_from(digits - wanted) {
            Ok(drop) => magnitude / pow10(drop),
            Err(_) => magnitude * pow10((wanted - digits) as u32),
        };
        (weight, first.to_i64().unwrap_or(0))
    }

    /// Fails if it has more digits than the format can hold. C: `make_result`.
    pub(crate) fn checked(self) -> Result<Numeric> {
        if let Numeric::Finite { unscaled, scale } = &self
            && (i64::from(*scale) > MAX_SCALE
                || (unscaled.bits() > 400_000
                    && decimal_digits(unscaled) - i64::from(*scale) > MAX_INTEGER_DIGITS))
        {
            return Err(overflow());
        }
        Ok(self)
    }
}

/// Two finite values at their larger scale, if both are finite.
pub(crate) fn aligned(a: &Numeric, b: &Numeric) -> Option<(BigInt, BigInt, u32)> {
    let (Numeric::Finite { unscaled: ua, scale: sa }, Numeric::Finite { unscaled: ub, scale: sb }) = (a, b)
    else {
        return None;
    };
    let scale = (*sa).max(*sb);
    Some((ua * pow10(scale - sa), ub * pow10(scale - sb), scale))
}

impl Ord for Numeric {
    fn cmp(&self, other: &Numeric) -> Ordering {
        let rank = |n: &Numeric| match n {
            Numeric::NegInfinity => 0,
            Numeric::Finite { .. } => 1,
            Numeric::Infinity => 2,
            Numeric::NaN => 3,
        };
        rank(self).cmp(&rank(other)).then_with(|| match aligned(self, other) {
            Some((a, b, _)) => a.cmp(&b),
            None => Ordering::Equal,
        })
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Numeric) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Numeric) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Numeric {}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unscaled, scale) = match self {
            Numeric::NaN => return f.write_str("NaN"),
            Numeric::Infinity => return f.write_str("Infinity"),
            Numeric::NegInfinity => return f.write_str("-Infinity"),
            Numeric::Finite { unscaled, scale } => (unscaled, *scale as usize),
        };
        let digits = unscaled.magnitude().to_string();
        if unscaled.is_negative() {
            f.write_str("-")?;
        }
        if scale == 0 {
            return f.write_str(&digits);
        }
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        write!(f, "{whole}.{fraction}")
    }
}

/// C: `numeric_in`.
pub(crate) fn input(text: &str, typmod: i32) -> Result<Numeric> {
    let trimmed = text.trim_matches(is_space);
    let (negative, rest) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let word = rest.to_ascii_lowercase();
    let value = match word.as_str() {
        "nan" if rest.len() == trimmed.len() => Numeric::NaN,
        "infinity" | "inf" if negative => Numeric::NegInfinity,
        "infinity" | "inf" => Numeric::Infinity,
        _ => parse_finite(rest, negative, text)?,
    };
    apply_typmod(&value, typmod)
}

fn parse_finite(digits: &str, negative: bool, whole: &str) -> Result<Numeric> {
    let bad = || invalid_input("numeric", whole);
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => {
            let text = &digits[at + 1..];
            let signless = text.strip_prefix(['+', '-']).unwrap_or(text);
            if signless.is_empty() || !signless.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad());
            }
            let value: i64 = text.parse().map_err(|_| bad())?;
            if value.abs() >= i64::from(i32::MAX / 2) {
                return Err(bad());
            }
            (&digits[..at], value)
        }
        None => (digits, 0),
    };
    let (whole_digits, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole_digits.is_empty() && fraction.is_empty() {
        return Err(bad());
    }
    if !whole_digits.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let all = [whole_digits, fraction].concat();
    let mut unscaled = BigInt::parse_bytes(all.as_bytes(), 10).ok_or_else(bad)?;
    if negative {
        unscaled = -unscaled;
    }
    let scale = fraction.len() as i64 - exponent;
    if scale > MAX_SCALE || (!unscaled.is_zero() && decimal_digits(&unscaled) - scale > MAX_INTEGER_DIGITS) {
        return Err(overflow());
    }
    Ok(match u32::try_from(scale) {
        Ok(scale) => Numeric::new(unscaled, scale),
        Err(_) if unscaled.is_zero() => Numeric::new(0, 0),
        Err(_) => Numeric::new(unscaled * pow10(-scale as u32), 0),
    })
}

/// A double or float by its first significant digits, as `%.*g` prints them. C: `float8_numeric`.
pub(crate) fn from_float(v: f64, significant: usize) -> Result<Numeric> {
    if v.is_nan() {
        return Ok(Numeric::NaN);
    }
    if v.is_infinite() {
        return Ok(if v > 0.0 { Numeric::Infinity } else { Numeric::NegInfinity });
    }
    let text = format!("{:.*e}", significant - 1, v);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    // %g drops trailing zeros of the fraction, so the scale is that of what is left.
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    input(&format!("{mantissa}e{exponent}"), -1)
}

/// Precision and scale of `numeric(p,s)`. C: `numeric_typmod_precision`, `numeric_typmod_scale`.
pub fn typmod_parts(typmod: i32) -> (i32, i32) {
    let n = typmod - 4;
    ((n >> 16) & 0xffff, ((n & 0x7ff) ^ 1024) - 1024)
}

/// Rounds to the type's scale and checks its precision. C: `apply_typmod`.
pub(crate) fn apply_typmod(value: &Numeric, typmod: i32) -> Result<Numeric> {
    if typmod < 4 || value.is_nan() {
        return Ok(value.clone());
    }
    let (precision, scale) = typmod_parts(typmod);
    let field = |detail: String| {
        Err(error!(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").detail(detail))
    };
    if !matches!(value, Numeric::Finite { .. }) {
        return field(format!(
            "A field with precision {precision}, scale {scale} cannot hold an infinite value."
        ));
    }
    let rounded = round_to(value, i64::from(scale));
    let max_digits = precision - scale;
    if let Numeric::Finite { unscaled, scale: kept } = &rounded
        && !unscaled.is_zero()
        && decimal_digits(unscaled) - i64::from(*kept) > i64::from(max_digits)
    {
        let power = if max_digits != 0 { format!("10^{max_digits}") } else { "1".into() };
        return field(format!(
            "A field with precision {precision}, scale {scale} must round to an absolute value less than {power}."
        ));
    }
    Ok(rounded)
}

/// Rounds at the digit `scale` behind the point, or before it if negative.
pub(crate) fn round_to(value: &Numeric, scale: i64) -> Numeric {
    if scale >= 0 {
        return value.rescale(scale as u32);
    }
    match value {
        Numeric::Finite { unscaled, scale: have } => {
            let drop = pow10(have + (-scale) as u32);
            Numeric::new(div_round(unscaled, &drop) * pow10((-scale) as u32), 0)
        }
        special => special.clone(),
    }
}

/// Cuts at the digit `scale` behind the point, or before it if negative. C: `trunc_var`.
pub(crate) fn trunc_to(value: &Numeric, scale: i64) -> Numeric {
    match value {
        Numeric::Finite { unscaled, scale: have } if scale < i64::from(*have) => {
            let drop = pow10((i64::from(*have) - scale) as u32);
            let kept = unscaled / drop;
            match u32::try_from(scale) {
                Ok(scale) => Numeric::new(kept, scale),
                Err(_) => Numeric::new(kept * pow10((-scale) as u32), 0),
            }
        }
        other => other.rescale(scale.max(0) as u32),
    }
}

const WIRE_NEGATIVE: u16 = 0x4000;
const WIRE_NAN: u16 = 0xC000;
const WIRE_INFINITY: u16 = 0xD000;
const WIRE_NEG_INFINITY: u16 = 0xF000;

/// C: `numeric_send`.
pub(crate) fn send(value: &Numeric, out: &mut Vec<u8>) {
    let header = |out: &mut Vec<u8>, ndigits: u16, weight: i16, sign: u16, scale: u16| {
        out.extend(ndigits.to_be_bytes());
        out.extend(weight.to_be_bytes());
        out.extend(sign.to_be_bytes());
        out.extend(scale.to_be_bytes());
    };
    let (unscaled, scale) = match value {
        Numeric::NaN => return header(out, 0, 0, WIRE_NAN, 0),
        // The two infinities carry this scale in PostgreSQL 15; nobody reads it.
        Numeric::Infinity => return header(out, 0, 0, WIRE_INFINITY, 0x20),
        Numeric::NegInfinity => return header(out, 0, 0, WIRE_NEG_INFINITY, 0x20),
        Numeric::Finite { unscaled, scale } => (unscaled, *scale),
    };
    let (digits, weight) = base_10000(unscaled, scale);
    let sign = if unscaled.is_negative() { WIRE_NEGATIVE } else { 0 };
    header(out, digits.len() as u16, weight as i16, sign, scale as u16);
    for digit in digits {
        out.extend(digit.to_be_bytes());
    }
}

/// The absolute value in C's form: base-10000 digits without zeros at either end, and the weight of the first one.
fn base_10000(unscaled: &BigInt, scale: u32) -> (Vec<u16>, i64) {
    // Pad so that the point falls between two base-10000 digits.
    let padding = (4 - scale % 4) % 4;
    let digits_behind_point = i64::from((scale + padding) / 4);
    let mut digits: Vec<u16> = Vec::new();
    if let Some(mut rest) = unscaled.magnitude().to_u64().and_then(|n| n.checked_mul(10u64.pow(padding))) {
        while rest > 0 {
            digits.push((rest % 10_000) as u16);
            rest /= 10_000;
        }
        digits.reverse();
    } else {
        let text = (unscaled.magnitude() * pow10(padding).magnitude()).to_string();
        // Zeros in front complete the first base-10000 digit.
        let text = ["0".repeat((4 - text.len() % 4) % 4), text].concat();
        digits
            .extend(text.as_bytes().chunks(4).map(|c| c.iter().fold(0, |n, b| n * 10 + u16::from(b - b'0'))));
    }
    let weight = if digits.is_empty() { 0 } else { digits.len() as i64 - 1 - digits_behind_point };
    while digits.last() == Some(&0) {
        digits.pop();
    }
    (digits, weight)
}

/// The short form's flag, and its fields. C: `NUMERIC_SHORT*`.
const SHORT: u16 = 0x8000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_SCALE_SHIFT: u16 = 7;
const SHORT_SCALE_MAX: u32 = 0x3F;
const SHORT_WEIGHT_NEGATIVE: u16 = 0x40;
const SHORT_WEIGHT_MASK: u16 = 0x3F;
const LONG_SCALE_MASK: u16 = 0x3FFF;

/// As in a table's row, without the length word. C: `NumericChoice`.
pub(crate) fn to_stored(value: &Numeric, out: &mut Vec<u8>) {
    let (unscaled, scale) = match value {
        Numeric::NaN => return out.extend(WIRE_NAN.to_le_bytes()),
        Numeric::Infinity => return out.extend(WIRE_INFINITY.to_le_bytes()),
        Numeric::NegInfinity => return out.extend(WIRE_NEG_INFINITY.to_le_bytes()),
        Numeric::Finite { unscaled, scale } => (unscaled, *scale),
    };
    let (digits, weight) = base_10000(unscaled, scale);
    let negative = unscaled.is_negative();
    if scale <= SHORT_SCALE_MAX && (-64..=63).contains(&weight) {
        let sign = if negative { SHORT_NEGATIVE } else { 0 };
        let weight_sign = if weight < 0 { SHORT_WEIGHT_NEGATIVE } else { 0 };
        let header = SHORT
            | sign
            | (scale as u16) << SHORT_SCALE_SHIFT
            | weight_sign
            | (weight as u16 & SHORT_WEIGHT_MASK);
        out.extend(header.to_le_bytes());
    } else {
        let sign = if negative { WIRE_NEGATIVE } else { 0 };
        out.extend((sign | scale as u16).to_le_bytes());
        out.extend((weight as i16).to_le_bytes());
    }
    out.extend(digits.iter().flat_map(|digit| digit.to_le_bytes()));
}

/// From a table's row; `None` if that is no numeric.
pub(crate) fn from_stored(bytes: &[u8]) -> Option<Numeric> {
    let (header, rest) = bytes.split_first_chunk().map(|(h, rest)| (u16::from_le_bytes(*h), rest))?;
    let (negative, scale, weight, digits) = match header & 0xC000 {
        0xC000 => {
            return Some(match header & 0xF000 {
                WIRE_NAN => Numeric::NaN,
                WIRE_INFINITY => Numeric::Infinity,
                WIRE_NEG_INFINITY => Numeric::NegInfinity,
                _ => return None,
            });
        }
        SHORT => {
            let weight = (header & SHORT_WEIGHT_MASK) as i16;
            let weight = if header & SHORT_WEIGHT_NEGATIVE != 0 { weight - 64 } else { weight };
            let scale = u32::from(header >> SHORT_SCALE_SHIFT) & SHORT_SCALE_MAX;
            (header & SHORT_NEGATIVE != 0, scale, weight, rest)
        }
        sign => {
            let (weight, rest) = rest.split_first_chunk()?;
            (sign == WIRE_NEGATIVE, u32::from(header & LONG_SCALE_MASK), i16::from_le_bytes(*weight), rest)
        }
    };
    let (small, count) = (digits.len() <= 16, (digits.len() / 2) as i64);
    let values = digits.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let mut unscaled = if small {
        BigInt::from(values.fold(0u128, |n, digit| n * 10_000 + u128::from(digit)))
    } else {
        values.fold(BigInt::zero(), |n, digit| n * 10_000 + digit)
    };
    let exponent = 4 * (i64::from(weight) - count + 1) + i64::from(scale);
    let power = pow10(u32::try_from(exponent.unsigned_abs()).ok()?);
    if exponent > 0 {
        unscaled *= power;
    } else if exponent < 0 {
        unscaled /= power;
    }
    Some(Numeric::new(if negative { -unscaled } else { unscaled }, scale))
}

/// C: `numeric_recv`.
pub(crate) fn receive(r: &mut Reader<'_>, typmod: i32) -> Result<Numeric> {
    let bad = |what: &str| {
        error!(SqlState::INVALID_BINARY_REPRESENTATION, "invalid {what} in external \"numeric\" value")
    };
    let ndigits = r.i16()? as u16;
    let weight = r.i16()?;
    let sign = r.i16()? as u16;
    let scale = r.i16()? as u16;
    if !matches!(sign, 0 | WIRE_NEGATIVE | WIRE_NAN | WIRE_INFINITY | WIRE_NEG_INFINITY) {
        return Err(bad("sign"));
    }
    if i64::from(scale) > MAX_SCALE {
        return Err(bad("scale"));
    }
    let mut text = Vec::with_capacity(usize::from(ndigits) * 4);
    for digit in r.bytes(usize::from(ndigits) * 2)?.chunks(2) {
        let digit = u16::from_be_bytes([digit[0], digit[1]]);
        if digit > 9999 {
            return Err(bad("digit"));
        }
        text.extend(format!("{digit:04}").bytes());
    }
    let value = match sign {
        WIRE_NAN => Numeric::NaN,
        WIRE_INFINITY => Numeric::Infinity,
        WIRE_NEG_INFINITY => Numeric::NegInfinity,
        _ => {
            let mut unscaled = BigInt::parse_bytes(&text, 10).unwrap_or_default();
            if sign == WIRE_NEGATIVE {
                unscaled = -unscaled;
            }
            // The last digit stands for units of 10000^(weight - ndigits + 1).
            let shift = 4 * (i64::from(weight) + 1) - text.len() as i64;
            let exact = if shift >= 0 {
                Numeric::new(unscaled * pow10(shift as u32), 0)
            } else {
                Numeric::new(unscaled, -shift as u32)
            };
            trunc_to(&exact, i64::from(scale))
        }
    };
    apply_typmod(&value.checked()?, typmod)
}

/// The sum. C: `numeric_add`.
pub fn add(a: &Numeric, b: &Numeric) -> Numeric {
    if let Some((x, y, scale)) = aligned(a, b) {
        return Numeric::new(x + y, scale);
    }
    match (a, b) {
        (Numeric::NaN, _) | (_, Numeric::NaN) => Numeric::NaN,
        (Numeric::Infinity, Numeric::NegInfinity) | (Numeric::NegInfinity, Numeric::Infinity) => Numeric::NaN,
        (Numeric::Finite { .. }, special) | (special, _) => special.clone(),
    }
}

/// The negative. C: `numeric_uminus`.
pub fn negate(a: &Numeric) -> Numeric {
    match a {
        Numeric::NaN => Numeric::NaN,
        Numeric::Infinity => Numeric::NegInfinity,
        Numeric::NegInfinity => Numeric::Infinity,
        Numeric::Finite { unscaled, scale } => Numeric::new(-unscaled, *scale),
    }
}

fn signed_infinity(sign: i32) -> Numeric {
    match sign {
        0 => Numeric::NaN,
        1.. => Numeric::Infinity,
        _ => Numeric::NegInfinity,
    }
}

/// The product. C: `numeric_mul`.
pub fn multiply(a: &Numeric, b: &Numeric) -> Numeric {
    match (a, b) {
        (Numeric::NaN, _) | (_, Numeric::NaN) => Numeric::NaN,
        (Numeric::Finite { unscaled: x, scale: sx }, Numeric::Finite { unscaled: y, scale: sy }) => {
            let product = Numeric::new(x * y, sx + sy);
            if i64::from(sx + sy) > MAX_SCALE { product.rescale(MAX_SCALE as u32) } else { product }
        }
        _ => signed_infinity(a.signum() * b.signum()),
    }
}

/// The quotient at the scale PostgreSQL chooses. C: `numeric_div`, `select_div_scale`.
pub fn divide(a: &Numeric, b: &Numeric) -> Result<Numeric> {
    match (a, b) {
        (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
        (_, Numeric::Finite { unscaled, .. }) if unscaled.is_zero() => Err(super::int::division_by_zero()),
        (Numeric::Finite { .. }, Numeric::Finite { .. }) => Ok(divide_to(a, b, div_scale(a, b))),
        (Numeric::Finite { .. }, _) => Ok(Numeric::new(0, 0)),
        (_, Numeric::Finite { .. }) => Ok(signed_infinity(a.signum() * b.signum())),
        _ => Ok(Numeric::NaN),
    }
}

fn div_scale(a: &Numeric, b: &Numeric) -> u32 {
    let ((weight_a, first_a), (weight_b, first_b)) = (a.leading(), b.leading());
    let mut quotient_weight = weight_a - weight_b;
    if first_a <= first_b {
        quotient_weight -= 1;
    }
    let scale = MIN_SIG_DIGITS - quotient_weight * 4;
    scale.max(i64::from(a.scale())).max(i64::from(b.scale())).clamp(0, MAX_DISPLAY_SCALE) as u32
}

/// The quotient of two finite values, the second not zero, at a given scale.
pub(crate) fn divide_to(a: &Numeric, b: &Numeric, scale: u32) -> Numeric {
    let (Numeric::Finite { unscaled: x, scale: sx }, Numeric::Finite { unscaled: y, scale: sy }) = (a, b)
    else {
        return Numeric::NaN;
    };
    let shift = i64::from(scale) + i64::from(*sy) - i64::from(*sx);
    let quotient = match u32::try_from(shift) {
        Ok(shift) => div_round(&(x * pow10(shift)), y),
        Err(_) => div_round(x, &(y * pow10(-shift as u32))),
    };
    Numeric::new(quotient, scale)
}

/// The remainder, with the sign of the dividend. C: `numeric_mod`.
pub fn modulo(a: &Numeric, b: &Numeric) -> Result<Numeric> {
    if a.is_nan() || b.is_nan() {
        return Ok(Numeric::NaN);
    }
    if b.is_zero() {
        return Err(super::int::division_by_zero());
    }
    Ok(match aligned(a, b) {
        Some((x, y, scale)) => Numeric::new(x % y, scale),
        None if matches!(a, Numeric::Finite { .. }) => a.clone(),
        None => Numeric::NaN,
    })
}

/// Greatest common divisor of two finite values. C: `numeric_gcd`.
pub(crate) fn gcd(a: &Numeric, b: &Numeric) -> Numeric {
    aligned(a, b).map_or(Numeric::NaN, |(x, y, scale)| Numeric::new(x.gcd(&y), scale))
}

/// Least common multiple of two finite values. C: `numeric_lcm`.
pub(crate) fn lcm(a: &Numeric, b: &Numeric) -> Numeric {
    aligned(a, b).map_or(Numeric::NaN, |(x, y, scale)| {
        if x.is_zero() || y.is_zero() { Numeric::new(0, scale) } else { Numeric::new(x.lcm(&y), scale) }
    })
}

/// Fewest digits behind the point that lose nothing. C: `get_min_scale`.
pub(crate) fn min_scale(a: &Numeric) -> Option<u32> {
    let Numeric::Finite { unscaled, scale } = a else { return None };
    if unscaled.is_zero() {
        return Some(0);
    }
    let text = unscaled.magnitude().to_string();
    let zeros = text.len() - text.trim_end_matches('0').len();
    Some(scale.saturating_sub(zeros as u32))
}

/// An integer type's value, rounded. C: `numeric_int4` and its kin.
pub(crate) fn to_integer(a: &Numeric, type_name: &str, min: i128, max: i128) -> Result<i128> {
    match a {
        Numeric::NaN => Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "cannot convert NaN to {type_name}")),
        Numeric::Infinity | Numeric::NegInfinity => {
            Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "cannot convert infinity to {type_name}"))
        }
        Numeric::Finite { .. } => {
            a.to_i128().filter(|v| (min..=max).contains(v)).ok_or_else(|| super::int::out_of_range(type_name))
        }
    }
}

/// `n!`; stops at interrupts, since a large one takes long. C: `numeric_fac`.
pub(crate) fn factorial(n: i64, check: &dyn Fn() -> Result<()>) -> Result<Numeric> {
    if n < 0 {
        return Err(error!(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "factorial of a negative number is undefined"
        ));
    }
    if n > 32177 {
        return Err(overflow());
    }
    let mut product = BigInt::one();
    for i in 2..=n {
        product *= i;
        if i % 64 == 0 {
            check()?;
        }
    }
    Ok(Numeric::new(product, 0))
}
