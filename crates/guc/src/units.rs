//! Numbers with units: reading `64MB`, `1.5h` or `0x10`, and printing them back the way `SHOW` does.

use crate::table::Unit;

/// Why a number was not accepted: with or without a HINT. C: the `hintmsg` of `parse_int`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadNumber {
    pub(crate) hint: Option<&'static str>,
}

const NO_HINT: BadNumber = BadNumber { hint: None };
const MEMORY_HINT: &str = "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".";
const TIME_HINT: &str =
    "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".";

const KB: f64 = 1024.0;
const MB: f64 = KB * 1024.0;
const GB: f64 = MB * 1024.0;
const TB: f64 = GB * 1024.0;

/// Largest first; in bytes. C: `memory_unit_conversion_table`.
const MEMORY: &[(&str, f64)] = &[("TB", TB), ("GB", GB), ("MB", MB), ("kB", KB), ("B", 1.0)];
/// Largest first; in microseconds. C: `time_unit_conversion_table`.
const TIME: &[(&str, f64)] =
    &[("d", 86_400e6), ("h", 3_600e6), ("min", 60e6), ("s", 1e6), ("ms", 1e3), ("us", 1.0)];

/// The units that may follow, and what one base unit is in the table's smallest one.
fn scale(unit: Unit) -> Option<(&'static [(&'static str, f64)], f64)> {
    Some(match unit {
        Unit::None => return None,
        Unit::Bytes => (MEMORY, 1.0),
        Unit::Kilobytes => (MEMORY, KB),
        Unit::Blocks => (MEMORY, 8.0 * KB),
        Unit::Megabytes => (MEMORY, MB),
        Unit::Millis => (TIME, 1e3),
        Unit::Seconds => (TIME, 1e6),
        Unit::Minutes => (TIME, 60e6),
    })
}

fn units_hint(unit: Unit) -> &'static str {
    match unit {
        Unit::Millis | Unit::Seconds | Unit::Minutes => TIME_HINT,
        _ => MEMORY_HINT,
    }
}

/// Reads a whole number: decimal, octal after `0`, hexadecimal after `0x`, or a fraction that is then rounded;
/// a unit may follow. C: `parse_int`.
pub(crate) fn parse_int(text: &str, unit: Unit) -> Result<i32, BadNumber> {
    let (number, rest) = match leading_integer(text) {
        Some((_, rest)) if rest.starts_with(['.', 'e', 'E']) => leading_real(text).ok_or(NO_HINT)?,
        Some((Some(number), rest)) => (number as f64, rest),
        Some((None, _)) => leading_real(text).ok_or(NO_HINT)?,
        None if trim_start(text).trim_start_matches(['+', '-']).starts_with('.') => {
            leading_real(text).ok_or(NO_HINT)?
        }
        None => return Err(NO_HINT),
    };
    let number = with_unit(number, rest, unit)?.round_ties_even();
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
        Ok(number as i32)
    } else {
        Err(BadNumber { hint: Some("Value exceeds integer range.") })
    }
}

/// Reads a number as `strtod` does; a unit may follow. C: `parse_real`.
pub(crate) fn parse_real(text: &str, unit: Unit) -> Result<f64, BadNumber> {
    let (number, rest) = leading_real(text).ok_or(NO_HINT)?;
    with_unit(number, rest, unit)
}

/// Scales `number` by the unit named in `rest`, if any. C: `convert_to_base_unit`.
fn with_unit(number: f64, rest: &str, unit: Unit) -> Result<f64, BadNumber> {
    if number.is_nan() {
        return Err(NO_HINT);
    }
    let name = trim(rest);
    if name.is_empty() {
        return Ok(number);
    }
    let (table, base) = scale(unit).ok_or(NO_HINT)?;
    let index = table.iter().position(|(n, _)| *n == name);
    let index = index.ok_or(BadNumber { hint: Some(units_hint(unit)) })?;
    let value = number * (table[index].1 / base);
    // A fraction such as 30.1GB becomes a whole number of the next smaller unit.
    match table.get(index + 1) {
        Some((_, smaller)) => {
            let smaller = smaller / base;
            Ok((value / smaller).round_ties_even() * smaller)
        }
        None => Ok(value),
    }
}

/// The number with the largest unit that keeps it whole, `131072` kB as `128MB`. C: `convert_int_from_base_unit`.
pub(crate) fn show_int(value: i32, unit: Unit) -> String {
    let Some((table, base)) = scale(unit).filter(|_| value > 0) else { return value.to_string() };
    for (name, size) in table {
        let multiplier = size / base;
        if multiplier <= 1.0 || i64::from(value) % (multiplier as i64) == 0 {
            return format!("{}{name}", (f64::from(value) / multiplier).round_ties_even() as i64);
        }
    }
    value.to_string()
}

/// The same for fractions. C: `convert_real_from_base_unit`.
pub(crate) fn show_real(value: f64, unit: Unit) -> String {
    let Some((table, base)) = scale(unit).filter(|_| value > 0.0) else { return format_g(value) };
    let mut shown = String::new();
    for (name, size) in table {
        let scaled = value / (size / base);
        shown = format!("{}{name}", format_g(scaled));
        if scaled > 0.0 && (scaled.round_ties_even() / scaled - 1.0).abs() <= 1e-8 {
            break;
        }
    }
    shown
}

/// C's `%g`: six significant digits, the shorter of fixed and exponent form, no trailing zeros.
pub(crate) fn format_g(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{value:.5e}");
    // `{:e}` always prints an exponent; the fallback cannot be reached.
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim_zeros = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if (-4..6).contains(&exponent) {
        trim_zeros(&format!("{value:.*}", (5 - exponent) as usize))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim_zeros(mantissa), exponent.abs())
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// What `strtol(text, &rest, 0)` reads; the number is `None` when it does not fit.
fn leading_integer(text: &str) -> Option<(Option<i64>, &str)> {
    let text = trim_start(text);
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (radix, digits) = match hex {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, hex),
        _ if digits.starts_with('0') => (8, digits),
        _ => (10, digits),
    };
    let length = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    if length == 0 {
        return None;
    }
    let number = i64::from_str_radix(&digits[..length], radix).ok();
    Some((number.map(|n| if negative { -n } else { n }), &digits[length..]))
}

/// What `strtod` reads; `None` also when the number is too large or too small to be told from zero.
fn leading_real(text: &str) -> Option<(f64, &str)> {
    let text = trim_start(text);
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (number, rest) = real_word(digits).or_else(|| real_hex(digits)).or_else(|| real_decimal(digits))?;
    Some((if negative { -number } else { number }, rest))
}

fn real_word(text: &str) -> Option<(f64, &str)> {
    let words = [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN)];
    words.into_iter().find_map(|(word, value)| {
        let head = text.get(..word.len())?;
        head.eq_ignore_ascii_case(word).then(|| (value, &text[word.len()..]))
    })
}

fn real_decimal(text: &str) -> Option<(f64, &str)> {
    let bytes = text.as_bytes();
    let digits_from = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits_from(0);
    let mut end = whole;
    let mut digits = whole;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits_from(end + 1);
        digits += fraction;
        end += 1 + fraction;
    }
    if digits == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits_from((end + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number: f64 = text[..end].parse().ok()?;
    let mantissa = text[..end].split(['e', 'E']).next().unwrap_or("");
    let vanished = number == 0.0 && mantissa.bytes().any(|b| (b'1'..=b'9').contains(&b));
    (number.is_finite() && !vanished).then_some((number, &text[end..]))
}

fn real_hex(text: &str) -> Option<(f64, &str)> {
    let mut rest = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let (mut number, mut exponent, mut digits, mut fraction) = (0.0f64, 0i32, 0, false);
    while let Some(c) = rest.chars().next() {
        match c.to_digit(16) {
            Some(digit) => {
                number = number * 16.0 + f64::from(digit);
                exponent = exponent.saturating_sub(if fraction { 4 } else { 0 });
                digits += 1;
            }
            None if c == '.' && !fraction => fraction = true,
            None => break,
        }
        rest = &rest[1..];
    }
    if digits == 0 {
        return None;
    }
    if let Some(power) = rest.strip_prefix(['p', 'P']) {
        let sign = usize::from(power.starts_with(['+', '-']));
        let length = power[sign..].bytes().take_while(u8::is_ascii_digit).count();
        if length > 0 {
            exponent = exponent.saturating_add(power[..sign + length].parse().ok()?);
            rest = &power[sign + length..];
        }
    }
    let number = number * 2f64.powi(exponent);
    number.is_finite().then_some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_postgres_reads_them() {
        let ok = [
            ("64.5kB", Unit::Kilobytes, 64),
            ("1.5MB", Unit::Kilobytes, 1536),
            ("0x100kB", Unit::Kilobytes, 256),
            ("0100", Unit::Kilobytes, 64),
            ("1e3", Unit::Kilobytes, 1000),
            (" 100 MB ", Unit::Kilobytes, 102_400),
            ("1.5", Unit::Kilobytes, 2),
            ("1.5s", Unit::Millis, 1500),
            ("100us", Unit::Millis, 0),
            ("600us", Unit::Millis, 1),
            ("90min", Unit::Millis, 5_400_000),
            ("128MB", Unit::Blocks, 16384),
            ("1GB", Unit::Bytes, 1 << 30),
            (".5", Unit::None, 0),
            ("-.7", Unit::None, -1),
            ("-5", Unit::None, -5),
            ("30s", Unit::Minutes, 0),
            ("90s", Unit::Minutes, 2),
        ];
        for (text, unit, value) in ok {
            assert_eq!(parse_int(text, unit), Ok(value), "{text}");
        }
        let range = Some("Value exceeds integer range.");
        let bad = [
            ("100 mb", Unit::Kilobytes, Some(MEMORY_HINT)),
            ("100QB", Unit::Kilobytes, Some(MEMORY_HINT)),
            ("10s", Unit::Kilobytes, Some(MEMORY_HINT)),
            ("10 MB x", Unit::Kilobytes, Some(MEMORY_HINT)),
            ("1h30", Unit::Millis, Some(TIME_HINT)),
            ("1 m", Unit::Millis, Some(TIME_HINT)),
            ("08", Unit::Millis, Some(TIME_HINT)),
            ("99999999999", Unit::Kilobytes, range),
            ("9999999999999999999999", Unit::Kilobytes, range),
            ("9TB", Unit::Kilobytes, range),
            ("1e400", Unit::Kilobytes, None),
            ("abc", Unit::Kilobytes, None),
            ("nan", Unit::Kilobytes, None),
            ("inf", Unit::Kilobytes, None),
            ("", Unit::Kilobytes, None),
            ("-", Unit::Kilobytes, None),
            ("e5", Unit::None, None),
            ("5kB", Unit::None, None),
        ];
        for (text, unit, hint) in bad {
            assert_eq!(parse_int(text, unit), Err(BadNumber { hint }), "{text}");
        }
    }

    #[test]
    fn reals_as_postgres_reads_them() {
        for (text, value) in
            [("1e10", 1e10), ("0x10", 16.0), (" 1.25 ", 1.25), ("-1", -1.0), ("0x.8p1", 1.0), ("1e", 1.0)]
        {
            let parsed = parse_real(text, Unit::None);
            if text == "1e" {
                assert_eq!(parsed, Err(NO_HINT), "the e is no unit");
            } else {
                assert_eq!(parsed, Ok(value), "{text}");
            }
        }
        assert_eq!(parse_real("inf", Unit::None), Ok(f64::INFINITY));
        assert_eq!(parse_real("500us", Unit::Millis), Ok(0.5));
        assert_eq!(parse_real("0.1s", Unit::Millis), Ok(100.0));
        assert_eq!(parse_real("5x", Unit::Millis), Err(BadNumber { hint: Some(TIME_HINT) }));
        for text in ["abc", "nan", "1kB", "1e400", "1e-400", "", "0x", "."] {
            assert_eq!(parse_real(text, Unit::None), Err(NO_HINT), "{text}");
        }
    }

    #[test]
    fn shown_with_the_largest_fitting_unit() {
        for (value, unit, text) in [
            (16384, Unit::Blocks, "128MB"),
            (1, Unit::Blocks, "8kB"),
            (4096, Unit::Kilobytes, "4MB"),
            (1536, Unit::Kilobytes, "1536kB"),
            (1500, Unit::Millis, "1500ms"),
            (86_400_000, Unit::Millis, "1d"),
            (300, Unit::Seconds, "5min"),
            (1440, Unit::Minutes, "1d"),
            (1 << 24, Unit::Bytes, "16MB"),
            (1024, Unit::Megabytes, "1GB"),
            (0, Unit::Millis, "0"),
            (-1, Unit::Kilobytes, "-1"),
            (7, Unit::None, "7"),
        ] {
            assert_eq!(show_int(value, unit), text);
        }
        for (value, unit, text) in [
            (1.5, Unit::Millis, "1500us"),
            (0.5, Unit::Millis, "500us"),
            (100.0, Unit::Millis, "100ms"),
            (2.0, Unit::Millis, "2ms"),
            (0.0025, Unit::None, "0.0025"),
        ] {
            assert_eq!(show_real(value, unit), text);
        }
    }

    #[test]
    fn percent_g() {
        for (value, text) in [
            (f64::MAX, "1.79769e+308"),
            (1e6, "1e+06"),
            (100_000.0, "100000"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e10, "1e+10"),
            (-1.0, "-1"),
            (0.0, "0"),
            (999_999.9, "1e+06"),
            (0.1 + 0.2, "0.3"),
        ] {
            assert_eq!(format_g(value), text);
        }
    }
}
