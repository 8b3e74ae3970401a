//! interval: text, arithmetic, precision. C: the interval parts of timestamp.c and datetime.c. The functions are
//! in `interval_ops.rs`.

use std::cmp::Ordering;

use common::SqlState;
use elog::{PgError, Result, error};

use super::datetime::{USECS_PER_DAY, USECS_PER_SEC};
use super::interval_parse;
use super::timestamp::{round_time, write_fraction};
use crate::Interval;
use crate::io::Reader;
use crate::settings::{IntervalStyle, interval_style};

/// `interval out of range`.
#[cold]
pub(crate) fn out_of_range() -> PgError {
    error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "interval out of range")
}

/// Which fields the type keeps, as bits of its typmod. C: `INTERVAL_MASK`.
mod field {
    pub(super) const MONTH: i32 = 1 << 1;
    pub(super) const YEAR: i32 = 1 << 2;
    pub(super) const DAY: i32 = 1 << 3;
    pub(super) const HOUR: i32 = 1 << 10;
    pub(super) const MINUTE: i32 = 1 << 11;
    pub(super) const SECOND: i32 = 1 << 12;
    pub(super) const ALL: i32 = 0x7fff;
}

/// The typmod of `interval day to minute` and kin: the mask of kept fields from the grammar's words.
/// `None` for an impossible pair. C: `opt_interval` with `INTERVAL_TYPMOD`.
pub fn typmod_of_fields(from: Option<&str>, to: Option<&str>, precision: Option<i32>) -> Option<i32> {
    let bit = |word: &str| {
        Some(match word.to_ascii_lowercase().as_str() {
            "year" => 0,
            "month" => 1,
            "day" => 2,
            "hour" => 3,
            "minute" => 4,
            "second" => 5,
            _ => return None,
        })
    };
    const BITS: [i32; 6] = [field::YEAR, field::MONTH, field::DAY, field::HOUR, field::MINUTE, field::SECOND];
    let mask = match (from, to) {
        (None, _) => field::ALL,
        (Some(from), None) => BITS[bit(from)?],
        (Some(from), Some(to)) => {
            let (first, last): (usize, usize) = (bit(from)?, bit(to)?);
            if first >= last || (first < 2 && last > 1) {
                return None;
            }
            BITS[first..=last].iter().sum()
        }
    };
    Some(mask << 16 | precision.unwrap_or(0xffff))
}

fn typmod_parts(typmod: i32) -> (i32, i32) {
    ((typmod >> 16) & 0x7fff, typmod & 0xffff)
}

/// `interval day to second(3)`. C: `intervaltypmodout`.
pub(crate) fn format_interval_type(typmod: i32) -> String {
    if typmod < 0 {
        return "interval".into();
    }
    let (range, precision) = typmod_parts(typmod);
    use field::{DAY, HOUR, MINUTE, MONTH, SECOND, YEAR};
    let names = [
        (YEAR, "year"),
        (MONTH, "month"),
        (DAY, "day"),
        (HOUR, "hour"),
        (MINUTE, "minute"),
        (SECOND, "second"),
    ];
    let kept: Vec<&str> = names.iter().filter(|(bit, _)| range & bit != 0).map(|(_, name)| *name).collect();
    let fields = match kept.as_slice() {
        _ if range == field::ALL => String::new(),
        [] => String::new(),
        [one] => format!(" {one}"),
        [first, .., last] => format!(" {first} to {last}"),
    };
    if precision == 0xffff { format!("interval{fields}") } else { format!("interval{fields}({precision})") }
}

/// C: `interval_in`.
pub(crate) fn input(text: &str, typmod: i32) -> Result<Interval> {
    let range = if typmod < 0 { field::ALL } else { typmod_parts(typmod).0 };
    // A lone number counts units of the last field that the type keeps.
    let unit = match range {
        field::YEAR => "year",
        field::MONTH => "month",
        field::DAY => "day",
        field::HOUR => "hour",
        field::MINUTE => "minute",
        r if r == field::DAY | field::HOUR => "hour",
        r if r != field::ALL && r & field::SECOND == 0 && r & field::MINUTE != 0 => "minute",
        r if r == field::YEAR | field::MONTH => "month",
        _ => "second",
    };
    apply_typmod(interval_parse::parse(text, unit, range == field::MINUTE | field::SECOND)?, typmod)
}

/// Drops what the type does not keep. C: `AdjustIntervalForTypmod`.
pub(crate) fn apply_typmod(mut v: Interval, typmod: i32) -> Result<Interval> {
    if typmod < 0 {
        return Ok(v);
    }
    let (range, precision) = typmod_parts(typmod);
    if range != field::ALL {
        const HOUR: i64 = 3600 * USECS_PER_SEC;
        const MINUTE: i64 = 60 * USECS_PER_SEC;
        let lowest = [field::SECOND, field::MINUTE, field::HOUR, field::DAY, field::MONTH, field::YEAR];
        match lowest.into_iter().find(|bit| range & bit != 0) {
            Some(field::MINUTE) => v.usecs = v.usecs / MINUTE * MINUTE,
            Some(field::HOUR) => v.usecs = v.usecs / HOUR * HOUR,
            Some(field::DAY) => v.usecs = 0,
            Some(field::MONTH) => (v.days, v.usecs) = (0, 0),
            Some(field::YEAR) => (v.months, v.days, v.usecs) = (v.months / 12 * 12, 0, 0),
            _ => {}
        }
    }
    if precision != 0xffff {
        v.usecs = round_time(v.usecs, precision);
    }
    Ok(v)
}

/// C: `interval_recv`.
pub(crate) fn receive(r: &mut Reader<'_>, typmod: i32) -> Result<Interval> {
    let usecs = r.i64()?;
    let days = r.i32()?;
    let months = r.i32()?;
    apply_typmod(Interval { months, days, usecs }, typmod)
}

/// Months of 30 days, days of 24 hours. C: `interval_cmp_value`.
pub(crate) fn total_usecs(v: &Interval) -> i128 {
    (i128::from(v.months) * 30 + i128::from(v.days)) * i128::from(USECS_PER_DAY) + i128::from(v.usecs)
}

pub(crate) fn compare(a: &Interval, b: &Interval) -> Ordering {
    total_usecs(a).cmp(&total_usecs(b))
}

/// C: `interval_pl`.
pub(crate) fn add(a: &Interval, b: &Interval) -> Result<Interval> {
    let sum = || {
        Some(Interval {
            months: a.months.checked_add(b.months)?,
            days: a.days.checked_add(b.days)?,
            usecs: a.usecs.checked_add(b.usecs)?,
        })
    };
    sum().ok_or_else(out_of_range)
}

/// C: `interval_um`.
pub(crate) fn negate(v: &Interval) -> Result<Interval> {
    let negative = || {
        Some(Interval {
            months: v.months.checked_neg()?,
            days: v.days.checked_neg()?,
            usecs: v.usecs.checked_neg()?,
        })
    };
    negative().ok_or_else(out_of_range)
}

/// Scales each part; what is left of months becomes days, what is left of days time. C: `interval_mul`.
pub(crate) fn multiply(v: &Interval, factor: f64) -> Result<Interval> {
    scale(v, &|part| part * factor)
}

/// C: `interval_div`.
pub(crate) fn divide(v: &Interval, divisor: f64) -> Result<Interval> {
    if divisor == 0.0 {
        return Err(super::int::division_by_zero());
    }
    scale(v, &|part| part / divisor)
}

/// Rounds to six decimals, so that 0.1 days are not 8639.999999. C: `TSROUND`.
fn round_micro(v: f64) -> f64 {
    (v * 1e6).round_ties_even() / 1e6
}

fn to_i32(v: f64) -> Result<i32> {
    if v.is_nan() || v > f64::from(i32::MAX) || v < f64::from(i32::MIN) {
        return Err(out_of_range());
    }
    Ok(v as i32)
}

fn scale(v: &Interval, f: &dyn Fn(f64) -> f64) -> Result<Interval> {
    let months = f(f64::from(v.months));
    let days = f(f64::from(v.days));
    let mut result = Interval { months: to_i32(months)?, days: to_i32(days)?, usecs: 0 };
    let month_rest_days = round_micro((months - f64::from(result.months)) * 30.0);
    let mut sec_rest =
        round_micro((days - f64::from(result.days) + month_rest_days - month_rest_days.trunc()) * 86_400.0);
    if sec_rest.abs() >= 86_400.0 {
        let whole = (sec_rest / 86_400.0).trunc();
        result.days = result.days.checked_add(whole as i32).ok_or_else(out_of_range)?;
        sec_rest -= whole * 86_400.0;
    }
    result.days = result.days.checked_add(month_rest_days as i32).ok_or_else(out_of_range)?;
    let usecs = (f(v.usecs as f64) + sec_rest * 1e6).round_ties_even();
    if usecs.is_nan() || usecs.abs() >= 9.223_372_036_854_775e18 {
        return Err(out_of_range());
    }
    result.usecs = usecs as i64;
    Ok(result)
}

/// The six fields that are printed. C: `struct pg_itm`.
pub(crate) struct Fields {
    pub(crate) years: i32,
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) hours: i64,
    pub(crate) minutes: i32,
    pub(crate) seconds: i32,
    pub(crate) usecs: i32,
}

pub(crate) fn fields(v: &Interval) -> Fields {
    let seconds = v.usecs / USECS_PER_SEC;
    Fields {
        years: v.months / 12,
        months: v.months % 12,
        days: v.days,
        hours: seconds / 3600,
        minutes: (seconds / 60 % 60) as i32,
        seconds: (seconds % 60) as i32,
        usecs: (v.usecs % USECS_PER_SEC) as i32,
    }
}

/// C: `EncodeInterval`.
pub(crate) fn output(v: &Interval, out: &mut String) {
    let f = fields(v);
    match interval_style() {
        IntervalStyle::Postgres => output_postgres(&f, v, out),
        IntervalStyle::PostgresVerbose => output_verbose(&f, v, out),
        IntervalStyle::SqlStandard => output_sql(&f, v, out),
        IntervalStyle::Iso8601 => output_iso(&f, v, out),
    }
}

fn clock(f: &Fields, out: &mut String) {
    out.push_str(&format!("{:02}:{:02}:{:02}", f.hours.abs(), f.minutes.abs(), f.seconds.abs()));
    write_fraction(f.usecs.abs(), out);
}

fn output_postgres(f: &Fields, v: &Interval, out: &mut String) {
    let start = out.len();
    let mut negative_before = false;
    for (value, unit) in [(f.years, "year"), (f.months, "mon"), (f.days, "day")] {
        if value == 0 {
            continue;
        }
        if out.len() > start {
            out.push(' ');
        }
        let plus = if negative_before && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        out.push_str(&format!("{plus}{value} {unit}{plural}"));
        negative_before = value < 0;
    }
    if out.len() == start || v.usecs != 0 {
        if out.len() > start {
            out.push(' ');
        }
        if v.usecs < 0 {
            out.push('-');
        } else if negative_before {
            out.push('+');
        }
        clock(f, out);
    }
}

fn output_verbose(f: &Fields, v: &Interval, out: &mut String) {
    out.push('@');
    let parts = [
        (i64::from(f.years), "year"),
        (i64::from(f.months), "mon"),
        (i64::from(f.days), "day"),
        (f.hours, "hour"),
        (i64::from(f.minutes), "min"),
    ];
    let first = parts
        .iter()
        .map(|p| p.0)
        .find(|n| *n != 0)
        .unwrap_or(i64::from(f.seconds) * 1_000_000 + i64::from(f.usecs));
    let ago = first < 0;
    let mut any = false;
    for (value, unit) in parts {
        if value != 0 {
            let value = if ago { -value } else { value };
            let plural = if value == 1 { "" } else { "s" };
            out.push_str(&format!(" {value} {unit}{plural}"));
            any = true;
        }
    }
    let in_seconds = i64::from(f.seconds) * USECS_PER_SEC + i64::from(f.usecs);
    if in_seconds != 0 {
        let shown = if ago { -in_seconds } else { in_seconds };
        out.push_str(if shown < 0 { " -" } else { " " });
        out.push_str(&(shown.abs() / USECS_PER_SEC).to_string());
        write_fraction((shown.abs() % USECS_PER_SEC) as i32, out);
        out.push_str(if in_seconds.abs() == USECS_PER_SEC { " sec" } else { " secs" });
        any = true;
    }
    if !any {
        out.push_str(" 0");
    }
    if ago && *v != Interval::default() {
        out.push_str(" ago");
    }
}

fn output_sql(f: &Fields, v: &Interval, out: &mut String) {
    let signs = [i64::from(v.months), i64::from(v.days), v.usecs].map(i64::signum);
    let (negative, positive) = (signs.contains(&-1), signs.contains(&1));
    let (has_month, has_day, has_time) = (v.months != 0, v.days != 0, v.usecs != 0);
    if !negative && !positive {
        out.push('0');
    } else if (negative && positive) || (has_month && (has_day || has_time)) {
        let sign = |n: i64| if n < 0 { '-' } else { '+' };
        out.push_str(&format!(
            "{}{}-{} {}{} {}{}:{:02}:{:02}",
            sign(i64::from(v.months)),
            f.years.abs(),
            f.months.abs(),
            sign(i64::from(v.days)),
            f.days.abs(),
            sign(v.usecs),
            f.hours.abs(),
            f.minutes.abs(),
            f.seconds.abs()
        ));
        write_fraction(f.usecs.abs(), out);
    } else {
        if negative {
            out.push('-');
        }
        if has_month {
            out.push_str(&format!("{}-{}", f.years.abs(), f.months.abs()));
            return;
        }
        if has_day {
            out.push_str(&format!("{} ", f.days.abs()));
        }
        out.push_str(&format!("{}:{:02}:{:02}", f.hours.abs(), f.minutes.abs(), f.seconds.abs()));
        write_fraction(f.usecs.abs(), out);
    }
}

fn output_iso(f: &Fields, v: &Interval, out: &mut String) {
    if *v == Interval::default() {
        out.push_str("PT0S");
        return;
    }
    let part = |n: i64, letter: char, out: &mut String| {
        if n != 0 {
            out.push_str(&format!("{n}{letter}"));
        }
    };
    out.push('P');
    part(i64::from(f.years), 'Y', out);
    part(i64::from(f.months), 'M', out);
    part(i64::from(f.days), 'D', out);
    if v.usecs != 0 {
        out.push('T');
        part(f.hours, 'H', out);
        part(i64::from(f.minutes), 'M', out);
        if f.seconds != 0 || f.usecs != 0 {
            if f.seconds < 0 || f.usecs < 0 {
                out.push('-');
            }
            out.push_str(&f.seconds.abs().to_string());
            write_fraction(f.usecs.abs(), out);
            out.push('S');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        for (input, shown) in [
            ("1 day", "1 day"),
            ("1 year 2 months 3 days 04:05:06.789", "1 year 2 mons 3 days 04:05:06.789"),
            ("1-2", "1 year 2 mons"),
            ("3 4:05:06", "3 days 04:05:06"),
            ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("@ 1 hour ago", "-01:00:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("2 weeks", "14 days"),
            ("-1 day +02:00", "-1 days +02:00:00"),
            ("90 minutes", "01:30:00"),
            ("1.5", "00:00:01.5"),
            ("100 ms", "00:00:00.1"),
            ("1 century", "100 years"),
            ("0", "00:00:00"),
            ("1h30m", "01:30:00"),
            ("30:00", "30:00:00"),
        ] {
            check("interval", input, shown);
        }
        check_error("interval", "abc", "22007 invalid input syntax for type interval: \"abc\"");
        check_error("interval", "", "22007 invalid input syntax for type interval: \"\"");
    }

    #[test]
    fn styles() {
        let v = interval_parse::parse("1 year 2 mons 3 days 04:05:06.7", "second", false).unwrap();
        let show = |f: fn(&Fields, &Interval, &mut String), v: &Interval| {
            let mut out = String::new();
            f(&fields(v), v, &mut out);
            out
        };
        assert_eq!(show(output_verbose, &v), "@ 1 year 2 mons 3 days 4 hours 5 mins 6.7 secs");
        assert_eq!(show(output_sql, &v), "+1-2 +3 +4:05:06.7");
        assert_eq!(show(output_iso, &v), "P1Y2M3DT4H5M6.7S");
        let v = Interval { usecs: -3_600_000_000, ..Interval::default() };
        assert_eq!(show(output_verbose, &v), "@ 1 hour ago");
        assert_eq!(show(output_sql, &v), "-1:00:00");
        assert_eq!(show(output_iso, &v), "PT-1H");
    }

    #[test]
    fn typmods() {
        let t = typmod_of_fields(Some("day"), Some("second"), Some(3)).unwrap();
        assert_eq!(format_interval_type(t), "interval day to second(3)");
        assert_eq!(format_interval_type(typmod_of_fields(None, None, Some(0)).unwrap()), "interval(0)");
        let t = typmod_of_fields(Some("hour"), None, None).unwrap();
        assert_eq!(format_interval_type(t), "interval hour");
        assert_eq!(input("5", t).unwrap().usecs, 5 * 3_600_000_000);
        assert_eq!(input("1 day 02:03:04", t).unwrap().usecs, 2 * 3_600_000_000);
    }
}
