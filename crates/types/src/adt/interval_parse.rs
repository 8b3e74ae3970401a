//! interval from text: units in words, `1-2`, `3 4:05:06`, and ISO 8601. C: `DecodeInterval`,
//! `DecodeISO8601Interval` of datetime.c.

use common::SqlState;
use elog::{PgError, Result, error};

use super::datetime::{USECS_PER_DAY, USECS_PER_SEC};
use super::int::is_space;
use crate::Interval;
use crate::io::invalid_datetime;
use crate::settings::{IntervalStyle, interval_style};

enum Failure {
    Format,
    /// A field is too large.
    Overflow,
    /// Their sum is.
    Range,
}

type Parse<T> = std::result::Result<T, Failure>;

/// Parses an interval. `lone_unit` is what a number without a unit counts; with `minutes_first` a pair `a:b` is
/// minutes and seconds.
pub(crate) fn parse(text: &str, lone_unit: &str, minutes_first: bool) -> Result<Interval> {
    let fail = |failure| -> PgError {
        match failure {
            Failure::Format => invalid_datetime("interval", text),
            Failure::Range => super::interval::out_of_range(),
            Failure::Overflow => {
                error!(SqlState::INTERVAL_FIELD_OVERFLOW, "interval field value out of range: \"{text}\"")
            }
        }
    };
    let trimmed = text.trim_matches(is_space);
    let parsed = match trimmed.strip_prefix('P') {
        Some(iso) => parse_iso(iso),
        None => parse_words(trimmed, lone_unit, minutes_first),
    };
    parsed.and_then(Sum::finish).map_err(fail)
}

/// Adds parts up without overflow; fractions trickle down to smaller units.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    usecs: i128,
}

/// A decimal number: sign, whole part, fraction in [0, 1).
#[derive(Clone, Copy)]
struct Number {
    negative: bool,
    whole: i64,
    fraction: f64,
}

impl Number {
    fn parse(text: &str) -> Parse<Number> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return Err(Failure::Format);
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Failure::Overflow)? };
        let fraction = if fraction.is_empty() {
            0.0
        } else {
            format!("0.{fraction}").parse().map_err(|_| Failure::Format)?
        };
        Ok(Number { negative, whole, fraction })
    }

    fn sign(self) -> i64 {
        if self.negative { -1 } else { 1 }
    }
}

impl Sum {
    fn add_usecs(&mut self, n: Number, unit: i64) {
        let whole = i128::from(n.whole) * i128::from(unit);
        let part = (n.fraction * unit as f64).round_ties_even() as i128;
        self.usecs += i128::from(n.sign()) * (whole + part);
    }

    fn add_days(&mut self, n: Number, unit: i64) -> Parse<()> {
        let whole = n.whole.checked_mul(unit).ok_or(Failure::Overflow)?;
        let part = n.fraction * unit as f64;
        self.days =
            self.days.checked_add(n.sign() * (whole + part.trunc() as i64)).ok_or(Failure::Overflow)?;
        let rest = ((part - part.trunc()) * USECS_PER_DAY as f64).round_ties_even() as i128;
        self.usecs += i128::from(n.sign()) * rest;
        Ok(())
    }

    fn add_months(&mut self, n: Number, unit: i64) -> Parse<()> {
        let whole = n.whole.checked_mul(unit).ok_or(Failure::Overflow)?;
        let part = n.fraction * unit as f64;
        if unit >= 12 {
            // A fraction of years is rounded to months.
            let months = whole.checked_add(part.round_ties_even() as i64).ok_or(Failure::Overflow)?;
            self.months = self.months.checked_add(n.sign() * months).ok_or(Failure::Overflow)?;
            return Ok(());
        }
        self.months = self.months.checked_add(n.sign() * whole).ok_or(Failure::Overflow)?;
        self.add_days(Number { whole: 0, fraction: 0.0, ..n }, 1)?;
        let days = part * 30.0;
        self.days += n.sign() * days.trunc() as i64;
        let rest = ((days - days.trunc()) * USECS_PER_DAY as f64).round_ties_even() as i128;
        self.usecs += i128::from(n.sign()) * rest;
        Ok(())
    }

    /// C: the switch on units in `DecodeInterval`.
    fn add(&mut self, n: Number, unit: &str) -> Parse<()> {
        const MINUTE: i64 = 60 * USECS_PER_SEC;
        match unit {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds"
            | "microsecon" => self.add_usecs(n, 1),
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds"
            | "millisecon" => self.add_usecs(n, 1000),
            "s" | "sec" | "secs" | "second" | "seconds" => self.add_usecs(n, USECS_PER_SEC),
            "m" | "min" | "mins" | "minute" | "minutes" => self.add_usecs(n, MINUTE),
            "h" | "hr" | "hrs" | "hour" | "hours" => self.add_usecs(n, 60 * MINUTE),
            "d" | "day" | "days" => return self.add_days(n, 1),
            "w" | "week" | "weeks" => return self.add_days(n, 7),
            "mon" | "mons" | "month" | "months" => return self.add_months(n, 1),
            "qtr" | "quarter" => return self.add_months(n, 3),
            "y" | "yr" | "yrs" | "year" | "years" => return self.add_months(n, 12),
            "dec" | "decs" | "decade" | "decades" => return self.add_months(n, 120),
            "c" | "cent" | "century" | "centuries" => return self.add_months(n, 1200),
            "mil" | "mils" | "millennia" | "millennium" => return self.add_months(n, 12_000),
            _ => return Err(Failure::Format),
        }
        Ok(())
    }

    fn finish(self) -> Parse<Interval> {
        Ok(Interval {
            months: i32::try_from(self.months).map_err(|_| Failure::Range)?,
            days: i32::try_from(self.days).map_err(|_| Failure::Overflow)?,
            usecs: i64::try_from(self.usecs).map_err(|_| Failure::Overflow)?,
        })
    }
}

/// Cuts into numbers (with sign, clock or year-month form) and words.
fn split(text: &str) -> Parse<Vec<&str>> {
    let bytes = text.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let run = |from: usize, ok: &dyn Fn(u8) -> bool| {
            bytes[from..].iter().position(|b| !ok(*b)).map_or(bytes.len(), |n| from + n)
        };
        match bytes[at] {
            b if is_space(char::from(b)) || matches!(b, b',' | b'@') => {
                at += 1;
                continue;
            }
            b'+' | b'-' => at = run(at + 1, &|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-')),
            b if b.is_ascii_digit() || b == b'.' => {
                at = run(at, &|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'));
            }
            b if b.is_ascii_alphabetic() => at = run(at, &|b| b.is_ascii_alphabetic()),
            _ => return Err(Failure::Format),
        }
        words.push(&text[start..at]);
    }
    if words.is_empty() || words.len() > 25 { Err(Failure::Format) } else { Ok(words) }
}

fn is_number(word: &str) -> bool {
    !word.as_bytes()[0].is_ascii_alphabetic()
}

fn parse_words(text: &str, lone_unit: &str, minutes_first: bool) -> Parse<Sum> {
    let words = split(text)?;
    let mut sum = Sum::default();
    // In the SQL standard's style one leading minus is for the whole.
    let lone_sign = interval_style() == IntervalStyle::SqlStandard
        && words[0].starts_with('-')
        && !words[1..].iter().any(|w| w.starts_with(['+', '-']));
    let mut seen: Vec<&str> = Vec::new();
    let mut ago = false;
    let mut i = 0;
    while i < words.len() {
        let word = words[i];
        i += 1;
        let negative = word.starts_with('-') || lone_sign;
        if !is_number(word) {
            if word.eq_ignore_ascii_case("ago") && i == words.len() && !seen.is_empty() {
                ago = true;
                continue;
            }
            return Err(Failure::Format);
        }
        let unsigned = word.trim_start_matches(['+', '-']);
        let unit;
        if unsigned.contains(':') {
            unit = "time";
            sum.usecs += clock(unsigned, negative, minutes_first)?;
        } else if let Some((years, months)) = unsigned.split_once('-') {
            unit = "year-month";
            let mut years = Number::parse(years)?;
            let mut months = Number::parse(months)?;
            (years.negative, months.negative) = (negative, negative);
            if months.whole >= 12 {
                return Err(Failure::Overflow);
            }
            sum.add_months(years, 12)?;
            sum.add_months(months, 1)?;
        } else {
            let mut number = Number::parse(word)?;
            number.negative = negative;
            let lower;
            match words.get(i) {
                Some(next) if !is_number(next) && !next.eq_ignore_ascii_case("ago") => {
                    lower = next.to_ascii_lowercase();
                    i += 1;
                    sum.add(number, &lower)?;
                    unit = canonical(&lower);
                }
                // A number before a time is days.
                Some(next) if next.contains(':') => {
                    unit = "day";
                    sum.add(number, unit)?;
                }
                _ => {
                    unit = lone_unit;
                    sum.add(number, unit)?;
                }
            }
        }
        if seen.contains(&unit) {
            return Err(Failure::Format);
        }
        seen.push(unit);
    }
    if ago {
        (sum.months, sum.days, sum.usecs) = (-sum.months, -sum.days, -sum.usecs);
    }
    Ok(sum)
}

/// One name for all spellings of a unit, to notice one given twice.
fn canonical(unit: &str) -> &'static str {
    match unit.as_bytes() {
        [b'u', ..] | [b'm', b'i', b'c', ..] => "microsecond",
        [b'm', b's', ..] | [b'm', b'i', b'l', b'l', b'i', b's', ..] => "millisecond",
        [b'm', b'i', b'l', ..] => "millennium",
        [b'm', b'o', ..] => "month",
        [b'm', ..] => "minute",
        [b's', ..] => "second",
        [b'h', ..] => "hour",
        [b'd', b'e', ..] => "decade",
        [b'd', ..] => "day",
        [b'w', ..] => "week",
        [b'c', ..] => "century",
        [b'q', ..] => "quarter",
        _ => "year",
    }
}

/// `h:m`, `h:m:s.f` in microseconds.
fn clock(text: &str, negative: bool, minutes_first: bool) -> Parse<i128> {
    let parts: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [a, b] if minutes_first || b.contains('.') => ("0", *a, *b),
        [a, b] => (*a, *b, "0"),
        [a, b, c] => (*a, *b, *c),
        _ => return Err(Failure::Format),
    };
    let whole = |s: &str| Number::parse(s).map(|n| i128::from(n.whole));
    let (hours, minutes) = (whole(hours)?, whole(minutes)?);
    let seconds = Number::parse(seconds)?;
    if minutes > 59 || seconds.whole > 60 {
        return Err(Failure::Overflow);
    }
    let usecs = (hours * 3600 + minutes * 60 + i128::from(seconds.whole)) * i128::from(USECS_PER_SEC)
        + (seconds.fraction * 1e6).round_ties_even() as i128;
    Ok(if negative { -usecs } else { usecs })
}

/// What follows the `P`: `1Y2M3DT4H5M6.7S`, or `0001-02-03T04:05:06`.
fn parse_iso(text: &str) -> Parse<Sum> {
    let mut sum = Sum::default();
    let mut in_time = false;
    let mut rest = text;
    if rest.is_empty() {
        return Err(Failure::Format);
    }
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            if in_time {
                return Err(Failure::Format);
            }
            in_time = true;
            rest = time;
            if rest.contains(':') {
                let negative = rest.starts_with('-');
                sum.usecs += clock(rest.trim_start_matches(['-', '+']), negative, false)?;
                return Ok(sum);
            }
            continue;
        }
        let sign = usize::from(rest.starts_with(['-', '+']));
        let digits = rest[sign..].bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let number = Number::parse(&rest[..sign + digits])?;
        rest = &rest[sign + digits..];
        let Some(unit) = rest.chars().next() else { return Err(Failure::Format) };
        match (in_time, unit) {
            (false, '-') => {
                let (date, time) = rest[1..]
                    .split_once('T')
                    .map_or((&rest[1..], ""), |(d, _)| (d, &rest[rest.find('T').unwrap_or(0)..]));
                let (months, days) = date.split_once('-').unwrap_or((date, "0"));
                sum.add_months(number, 12)?;
                sum.add_months(Number::parse(months)?, 1)?;
                sum.add_days(Number::parse(days)?, 1)?;
                rest = time;
                continue;
            }
            (false, 'Y') => sum.add_months(number, 12)?,
            (false, 'M') => sum.add_months(number, 1)?,
            (false, 'W') => sum.add_days(number, 7)?,
            (false, 'D') => sum.add_days(number, 1)?,
            (true, 'H') => sum.add_usecs(number, 3600 * USECS_PER_SEC),
            (true, 'M') => sum.add_usecs(number, 60 * USECS_PER_SEC),
            (true, 'S') => sum.add_usecs(number, USECS_PER_SEC),
            _ => return Err(Failure::Format),
        }
        rest = &rest[unit.len_utf8()..];
    }
    Ok(sum)
}
