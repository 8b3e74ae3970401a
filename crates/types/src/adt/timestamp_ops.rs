//! timestamp and timestamptz as SQL calls them: comparison, arithmetic, casts, zones, series. C: timestamp.c.

use std::rc::Rc;

use common::SqlState;
use elog::{Result, error};

use super::date;
use super::datetime::{
    Civil, EPOCH_JULIAN, MAX_OFFSET_SECS, USECS_PER_DAY, USECS_PER_SEC, abbreviation_at, days_from_civil,
    days_in_month, offset_at, offset_of_local, parse_offset, weekday, zone_for_operator,
};
use super::interval;
use super::timestamp::{
    self, INFINITY, MINUS_INFINITY, UNIX_EPOCH_USECS, is_finite, is_valid, out_of_range, to_local, to_utc,
};
use crate::datum::{Date, Time, Timestamp, TimestampTz};
use crate::fmgr::{CallContext, RowIter};
use crate::settings::time_zone;
use crate::{Datum, FromDatum, Interval};

/// A timestamp of either kind: both have the same functions in C.
#[derive(Clone, Copy)]
pub(crate) struct AnyTimestamp(pub(crate) i64);

impl<'a> FromDatum<'a> for AnyTimestamp {
    fn from_datum(datum: &'a Datum) -> Result<AnyTimestamp> {
        match datum {
            Datum::TimestampTz(v) => Ok(AnyTimestamp(*v)),
            other => Timestamp::from_datum(other).map(|t| AnyTimestamp(t.0)),
        }
    }
}

comparisons! {
    AnyTimestamp, AnyTimestamp, |a, b| a.0.cmp(&b.0) => timestamp_eq timestamp_ne timestamp_lt timestamp_le timestamp_gt timestamp_ge timestamp_cmp;
    Timestamp, TimestampTz, |a, b| utc_for_compare(a.0).cmp(&b.0) => timestamp_eq_timestamptz timestamp_ne_timestamptz timestamp_lt_timestamptz timestamp_le_timestamptz timestamp_gt_timestamptz timestamp_ge_timestamptz timestamp_cmp_timestamptz;
    TimestampTz, Timestamp, |a, b| a.0.cmp(&utc_for_compare(b.0)) => timestamptz_eq_timestamp timestamptz_ne_timestamp timestamptz_lt_timestamp timestamptz_le_timestamp timestamptz_gt_timestamp timestamptz_ge_timestamp timestamptz_cmp_timestamp;
}

/// A local time as UTC, for comparison only: what does not fit counts as infinite.
pub(crate) fn utc_for_compare(local: i64) -> i64 {
    if !is_finite(local) {
        return local;
    }
    to_utc(local).unwrap_or(if local < 0 { MINUS_INFINITY } else { INFINITY })
}

fn checked(usecs: Option<i64>) -> Result<i64> {
    usecs.filter(|v| is_valid(*v)).ok_or_else(out_of_range)
}

/// Adds months, cutting the day at the month's end.
fn add_months(local: i64, months: i32) -> Result<i64> {
    if months == 0 {
        return Ok(local);
    }
    let mut c = Civil::from_usecs(local);
    let total = i64::from(c.year) * 12 + i64::from(c.month) - 1 + i64::from(months);
    c.year = i32::try_from(total.div_euclid(12)).map_err(|_| out_of_range())?;
    c.month = total.rem_euclid(12) as i32 + 1;
    c.day = c.day.min(days_in_month(c.year, c.month));
    checked(c.usecs())
}

/// C: `timestamp_pl_interval`.
pub(crate) fn plus(at: i64, span: &Interval) -> Result<i64> {
    if !is_finite(at) {
        return Ok(at);
    }
    let moved = add_months(at, span.months)?;
    let moved = checked(moved.checked_add(i64::from(span.days).saturating_mul(USECS_PER_DAY)))?;
    checked(moved.checked_add(span.usecs))
}

/// The same for a moment: months and days move in local time. C: `timestamptz_pl_interval`.
pub(crate) fn plus_tz(at: i64, span: &Interval) -> Result<i64> {
    if !is_finite(at) {
        return Ok(at);
    }
    let mut moved = at;
    if span.months != 0 {
        moved = to_utc(add_months(to_local(moved)?, span.months)?)?;
    }
    if span.days != 0 {
        let local = to_local(moved)?;
        moved = to_utc(checked(local.checked_add(i64::from(span.days).saturating_mul(USECS_PER_DAY)))?)?;
    }
    checked(moved.checked_add(span.usecs))
}

/// Whole days out of the hours. C: `interval_justify_hours`.
pub(crate) fn justify_hours(mut v: Interval) -> Result<Interval> {
    let whole = v.usecs / USECS_PER_DAY;
    v.usecs -= whole * USECS_PER_DAY;
    v.days = i32::try_from(i64::from(v.days) + whole).map_err(|_| interval::out_of_range())?;
    if v.days > 0 && v.usecs < 0 {
        (v.days, v.usecs) = (v.days - 1, v.usecs + USECS_PER_DAY);
    } else if v.days < 0 && v.usecs > 0 {
        (v.days, v.usecs) = (v.days + 1, v.usecs - USECS_PER_DAY);
    }
    Ok(v)
}

fn difference(a: i64, b: i64) -> Result<Interval> {
    if !is_finite(a) || !is_finite(b) {
        return Err(error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "cannot subtract infinite timestamps"));
    }
    let usecs = a.checked_sub(b).ok_or_else(interval::out_of_range)?;
    justify_hours(Interval { usecs, ..Interval::default() })
}

/// Years, months, days and time between two local times, as a person counts. C: `timestamp_age`.
fn age(later: i64, earlier: i64) -> Result<Interval> {
    if !is_finite(later) || !is_finite(earlier) {
        return Err(out_of_range());
    }
    let negative = later < earlier;
    let (a, b) = if negative { (earlier, later) } else { (later, earlier) };
    let (a, b) = (Civil::from_usecs(a), Civil::from_usecs(b));
    let mut usecs = a.time_usecs() - b.time_usecs();
    let mut days = a.day - b.day;
    let mut months = (a.year - b.year) * 12 + a.month - b.month;
    if usecs < 0 {
        usecs += USECS_PER_DAY;
        days -= 1;
    }
    while days < 0 {
        // The month that the span is short of is the one it began in, or ended in if counted backwards.
        days += if negative { days_in_month(a.year, a.month) } else { days_in_month(b.year, b.month) };
        months -= 1;
    }
    let sign = if negative { -1 } else { 1 };
    Ok(Interval { months: sign * months, days: sign * days, usecs: i64::from(sign) * usecs })
}

fn interval_as_offset(span: &Interval) -> Result<i32> {
    if span.months != 0 || span.days != 0 {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "interval time zone \"{}\" must not include months or days",
            crate::io::output_string(&Datum::Interval(*span), crate::oid::INTERVAL)
        ));
    }
    let secs = i32::try_from(span.usecs / USECS_PER_SEC).ok();
    // Its negative is needed too.
    secs.filter(|s| *s != i32::MIN).ok_or_else(interval::out_of_range)
}

fn shift(at: i64, secs: i32) -> Result<i64> {
    if !is_finite(at) {
        return Ok(at);
    }
    checked(at.checked_add(i64::from(secs) * USECS_PER_SEC))
}

fn finite_or(at: i64, f: impl FnOnce(i64) -> Result<i64>) -> Result<i64> {
    if is_finite(at) { f(at) } else { Ok(at) }
}

/// C: `timestamp_zone`: a local time there, as a moment.
fn local_in_zone(zone: &str, local: i64) -> Result<i64> {
    let zone = zone_for_operator(zone)?;
    finite_or(local, |local| shift(local, -offset_of_local(&zone, local)))
}

/// A date (or the like) at midnight. C: `date2timestamp`.
pub(crate) fn from_date(days: i32) -> Result<i64> {
    match days {
        date::MINUS_INFINITY => Ok(MINUS_INFINITY),
        date::INFINITY => Ok(INFINITY),
        _ => i64::from(days)
            .checked_mul(USECS_PER_DAY)
            .filter(|v| is_valid(*v))
            .ok_or_else(|| error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "date out of range for timestamp")),
    }
}

/// The day of a local time. C: `timestamp_date`.
fn to_date(local: i64) -> Result<i32> {
    match local {
        MINUS_INFINITY => Ok(date::MINUS_INFINITY),
        INFINITY => Ok(date::INFINITY),
        _ => date::from_days(local.div_euclid(USECS_PER_DAY)),
    }
}

/// C: `float8_timestamptz`.
fn from_unix_seconds(seconds: f64) -> Result<i64> {
    if seconds.is_nan() {
        return Err(error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(if seconds > 0.0 { INFINITY } else { MINUS_INFINITY });
    }
    let bad = || {
        let mut shown = String::new();
        super::float::general(seconds, 6, &mut shown);
        error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "timestamp out of range: \"{shown}\"")
    };
    let julian_zero = -(EPOCH_JULIAN as f64) * 86_400.0 - UNIX_EPOCH_USECS as f64 / 1e6;
    if seconds < julian_zero || seconds > 9_224_318_016_000.0 {
        return Err(bad());
    }
    let usecs = ((seconds + UNIX_EPOCH_USECS as f64 / 1e6) * 1e6).round_ties_even() as i64;
    if is_valid(usecs) { Ok(usecs) } else { Err(bad()) }
}

/// C: `make_timestamp_internal`.
fn make(year: i32, month: i32, day: i32, hour: i32, minute: i32, seconds: f64) -> Result<i64> {
    let days = make_days(year, month, day)?;
    let time = make_clock(hour, minute, seconds)?;
    checked(days.checked_mul(USECS_PER_DAY).and_then(|d| d.checked_add(time))).map_err(|_| {
        error!(
            SqlState::DATETIME_VALUE_OUT_OF_RANGE,
            "timestamp out of range: {year}-{month:02}-{day:02} {hour}:{minute:02}:{seconds:02}"
        )
    })
}

/// C: `make_date`.
pub(crate) fn make_days(year: i32, month: i32, day: i32) -> Result<i64> {
    let astronomical = if year < 0 { year.checked_add(1).unwrap_or(year) } else { year };
    let good = year != 0
        && (1..=12).contains(&month)
        && day >= 1
        && day <= days_in_month(astronomical, month.clamp(1, 12));
    if !good {
        return Err(error!(
            SqlState::DATETIME_FIELD_OVERFLOW,
            "date field value out of range: {year}-{month:02}-{day:02}"
        ));
    }
    let days = days_from_civil(astronomical, month, day);
    date::from_days(days).map_err(|_| {
        error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "date out of range: {year}-{month:02}-{day:02}")
    })?;
    Ok(days)
}

/// C: `float_time_overflows` and what follows it.
pub(crate) fn make_clock(hour: i32, minute: i32, seconds: f64) -> Result<i64> {
    let usecs = (seconds * 1e6).round_ties_even();
    let in_range =
        (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60_000_000.0).contains(&usecs);
    let total = i64::from(hour.clamp(0, 25)) * 3_600_000_000 + i64::from(minute.clamp(0, 60)) * 60_000_000;
    if !in_range || total + usecs as i64 > USECS_PER_DAY {
        let mut shown = String::new();
        super::float::general(seconds, 6, &mut shown);
        let shown = if shown.len() < 2 { format!("0{shown}") } else { shown };
        return Err(error!(
            SqlState::DATETIME_FIELD_OVERFLOW,
            "time field value out of range: {hour}:{minute:02}:{shown}"
        ));
    }
    Ok(total + usecs as i64)
}

/// C: `parse_sane_timezone`.
fn zone_offset_of(zone: &str, local: i64) -> Result<i32> {
    if zone.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "invalid input syntax for type numeric time zone: \"{zone}\""
        )
        .hint("Numeric time zones must have \"-\" or \"+\" as first character."));
    }
    match parse_offset(zone) {
        Some(east) if east.abs() < MAX_OFFSET_SECS => Ok(east),
        Some(_) => {
            Err(error!(SqlState::INVALID_PARAMETER_VALUE, "numeric time zone \"{zone}\" out of range"))
        }
        None => Ok(offset_of_local(&zone_for_operator(zone)?, local)),
    }
}

/// C: `timestamp_bin`.
fn bin(stride: &Interval, at: i64, origin: i64) -> Result<i64> {
    if !is_finite(at) {
        return Ok(at);
    }
    if !is_finite(origin) {
        return Err(error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "origin out of range"));
    }
    if stride.months != 0 {
        return Err(error!(
            SqlState::FEATURE_NOT_SUPPORTED,
            "timestamps cannot be binned into intervals containing months or years"
        ));
    }
    let width = i64::from(stride.days).checked_mul(USECS_PER_DAY).and_then(|d| d.checked_add(stride.usecs));
    let width = width.ok_or_else(interval::out_of_range)?;
    if width <= 0 {
        return Err(error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "stride must be greater than zero"));
    }
    let distance = at.checked_sub(origin).ok_or_else(interval::out_of_range)?;
    checked(distance.div_euclid(width).checked_mul(width).and_then(|d| origin.checked_add(d)))
}

/// `Sat Nov 21 09:57:13.372421 2026 UTC`. C: `timeofday`.
fn time_of_day() -> String {
    let now = timestamp::now();
    let zone = time_zone();
    let c = Civil::from_usecs(now + i64::from(offset_at(&zone, now)) * USECS_PER_SEC);
    format!(
        "{} {} {:02} {:02}:{:02}:{:02}.{:06} {:04} {}",
        &super::datetime::WEEKDAYS[weekday(c.days()) as usize][..3],
        &super::datetime::MONTHS[(c.month - 1) as usize][..3],
        c.day,
        c.hour,
        c.minute,
        c.second,
        c.usec,
        c.year,
        abbreviation_at(&zone, now)
    )
}

builtins! {
    fn now(@cx;) -> TimestampTz { TimestampTz(cx.session.transaction_timestamp) }
    fn statement_timestamp(@cx;) -> TimestampTz { TimestampTz(cx.session.statement_timestamp) }
    fn clock_timestamp() -> TimestampTz { TimestampTz(timestamp::now()) }
    fn timeofday() -> String { time_of_day() }
    fn timestamp_finite(a: AnyTimestamp) -> bool { is_finite(a.0) }
    fn timestamp_larger(a: &Datum, b: &Datum) -> Datum {
        if AnyTimestamp::from_datum(a)?.0 > AnyTimestamp::from_datum(b)?.0 { a.clone() } else { b.clone() }
    }
    fn timestamp_smaller(a: &Datum, b: &Datum) -> Datum {
        if AnyTimestamp::from_datum(a)?.0 < AnyTimestamp::from_datum(b)?.0 { a.clone() } else { b.clone() }
    }
    fn timestamp_scale(a: Timestamp, typmod: i32) -> Timestamp { Timestamp(timestamp::round(a.0, typmod)?) }
    fn timestamptz_scale(a: TimestampTz, typmod: i32) -> TimestampTz { TimestampTz(timestamp::round(a.0, typmod)?) }
    fn timestamp_mi(a: AnyTimestamp, b: AnyTimestamp) -> Interval { difference(a.0, b.0)? }
    fn timestamp_pl_interval(a: Timestamp, b: Interval) -> Timestamp { Timestamp(plus(a.0, &b)?) }
    fn timestamp_mi_interval(a: Timestamp, b: Interval) -> Timestamp { Timestamp(plus(a.0, &interval::negate(&b)?)?) }
    fn timestamptz_pl_interval(a: TimestampTz, b: Interval) -> TimestampTz { TimestampTz(plus_tz(a.0, &b)?) }
    fn timestamptz_mi_interval(a: TimestampTz, b: Interval) -> TimestampTz {
        TimestampTz(plus_tz(a.0, &interval::negate(&b)?)?)
    }
    fn interval_pl_timestamp(a: Interval, b: Timestamp) -> Timestamp { Timestamp(plus(b.0, &a)?) }
    fn interval_pl_timestamptz(a: Interval, b: TimestampTz) -> TimestampTz { TimestampTz(plus_tz(b.0, &a)?) }
    fn timestamp_age(a: Timestamp, b: Timestamp) -> Interval { age(a.0, b.0)? }
    fn timestamptz_age(a: TimestampTz, b: TimestampTz) -> Interval { age(finite_or(a.0, to_local)?, finite_or(b.0, to_local)?)? }
    fn timestamp_age_now(@cx; a: Timestamp) -> Interval {
        let today = to_local(cx.session.transaction_timestamp)?.div_euclid(USECS_PER_DAY) * USECS_PER_DAY;
        age(today, a.0)?
    }
    fn timestamptz_age_now(@cx; a: TimestampTz) -> Interval {
        let today = to_local(cx.session.transaction_timestamp)?.div_euclid(USECS_PER_DAY) * USECS_PER_DAY;
        age(today, finite_or(a.0, to_local)?)?
    }
    fn timestamp_timestamptz(a: Timestamp) -> TimestampTz { TimestampTz(finite_or(a.0, to_utc)?) }
    fn timestamptz_timestamp(a: TimestampTz) -> Timestamp { Timestamp(finite_or(a.0, to_local)?) }
    fn timestamp_date(a: Timestamp) -> Date { Date(to_date(a.0)?) }
    fn timestamptz_date(a: TimestampTz) -> Date { Date(to_date(finite_or(a.0, to_local)?)?) }
    fn timestamp_time(a: Timestamp) -> Option<Time> { is_finite(a.0).then(|| Time(a.0.rem_euclid(USECS_PER_DAY))) }
    fn timestamptz_time(a: TimestampTz) -> Option<Time> {
        if is_finite(a.0) { Some(Time(to_local(a.0)?.rem_euclid(USECS_PER_DAY))) } else { None }
    }
    fn timestamptz_timetz(a: TimestampTz) -> Option<crate::TimeTz> {
        if !is_finite(a.0) {
            return Ok(None);
        }
        let east = offset_at(&time_zone(), a.0);
        Some(crate::TimeTz { usecs: to_local(a.0)?.rem_euclid(USECS_PER_DAY), zone_secs: -east })
    }
    fn date_timestamp(a: Date) -> Timestamp { Timestamp(from_date(a.0)?) }
    fn date_timestamptz(a: Date) -> TimestampTz { TimestampTz(finite_or(from_date(a.0)?, to_utc)?) }
    fn datetime_timestamp(a: Date, b: Time) -> Timestamp {
        Timestamp(finite_or(from_date(a.0)?, |day| checked(day.checked_add(b.0)))?)
    }
    fn datetime_timestamptz(a: Date, b: Time) -> TimestampTz {
        TimestampTz(finite_or(from_date(a.0)?, |day| to_utc(checked(day.checked_add(b.0))?))?)
    }
    fn datetimetz_timestamptz(a: Date, b: crate::TimeTz) -> TimestampTz {
        TimestampTz(finite_or(from_date(a.0)?, |day| {
            checked(day.checked_add(b.usecs + i64::from(b.zone_secs) * USECS_PER_SEC))
        })?)
    }
    fn timestamp_zone(zone: &str, a: Timestamp) -> TimestampTz { TimestampTz(local_in_zone(zone, a.0)?) }
    fn timestamptz_zone(zone: &str, a: TimestampTz) -> Timestamp {
        let zone = zone_for_operator(zone)?;
        Timestamp(finite_or(a.0, |at| shift(at, offset_at(&zone, at)))?)
    }
    fn timestamp_izone(zone: Interval, a: Timestamp) -> TimestampTz {
        TimestampTz(shift(a.0, -interval_as_offset(&zone)?)?)
    }
    fn timestamptz_izone(zone: Interval, a: TimestampTz) -> Timestamp {
        Timestamp(shift(a.0, interval_as_offset(&zone)?)?)
    }
    fn timetz_izone(zone: Interval, a: crate::TimeTz) -> crate::TimeTz {
        in_offset(&a, interval_as_offset(&zone)?)
    }
    fn timetz_zone(@cx; zone: &str, a: crate::TimeTz) -> crate::TimeTz {
        in_offset(&a, offset_at(&zone_for_operator(zone)?, cx.session.transaction_timestamp))
    }
    fn float8_timestamptz(a: f64) -> TimestampTz { TimestampTz(from_unix_seconds(a)?) }
    fn make_timestamp(y: i32, mo: i32, d: i32, h: i32, mi: i32, s: f64) -> Timestamp {
        Timestamp(make(y, mo, d, h, mi, s)?)
    }
    fn make_timestamptz(y: i32, mo: i32, d: i32, h: i32, mi: i32, s: f64) -> TimestampTz {
        TimestampTz(to_utc(make(y, mo, d, h, mi, s)?)?)
    }
    fn make_timestamptz_at_timezone(y: i32, mo: i32, d: i32, h: i32, mi: i32, s: f64, zone: &str) -> TimestampTz {
        let local = make(y, mo, d, h, mi, s)?;
        TimestampTz(shift(local, -zone_offset_of(zone, local)?)?)
    }
    fn timestamp_bin(stride: Interval, at: Timestamp, origin: Timestamp) -> Timestamp {
        Timestamp(bin(&stride, at.0, origin.0)?)
    }
    fn timestamptz_bin(stride: Interval, at: TimestampTz, origin: TimestampTz) -> TimestampTz {
        TimestampTz(bin(&stride, at.0, origin.0)?)
    }
}

fn in_offset(a: &crate::TimeTz, east: i32) -> crate::TimeTz {
    let utc = a.usecs + i64::from(a.zone_secs) * USECS_PER_SEC;
    let usecs = (utc + i64::from(east) * USECS_PER_SEC).rem_euclid(USECS_PER_DAY);
    crate::TimeTz { usecs, zone_secs: -east }
}

type Step = fn(i64, &Interval) -> Result<i64>;

fn series(args: &[Datum], step: Step, make: fn(i64) -> Datum) -> Result<RowIter> {
    let (first, last) = (AnyTimestamp::from_datum(&args[0])?.0, AnyTimestamp::from_datum(&args[1])?.0);
    let span = Rc::new(Interval::from_datum(&args[2])?);
    let direction = interval::total_usecs(&span).signum();
    if direction == 0 {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero"));
    }
    let within = move |v: i64| if direction > 0 { v <= last } else { v >= last };
    let mut next = Some(Ok(first));
    Ok(Box::new(std::iter::from_fn(move || match next.take()? {
        Ok(current) if within(current) => {
            next = Some(step(current, &span));
            Some(Ok(vec![make(current)]))
        }
        Ok(_) => None,
        Err(e) => Some(Err(e)),
    })))
}

pub(crate) fn generate_series_timestamp(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    series(args, plus, Datum::Timestamp)
}

pub(crate) fn generate_series_timestamptz(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    series(args, plus_tz, Datum::TimestampTz)
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn arithmetic() {
        check_all(
            "
            timestamp:2024-01-31 12:00  +  interval:1 month => 2024-02-29 12:00:00
            timestamp:2024-03-01  -  timestamp:2024-02-01 12:00 => 28 days 12:00:00
            age(timestamp:2024-03-01 | timestamp:2001-06-13) => 22 years 8 mons 18 days
            date:2024-01-31  +  time:10:00 => 2024-01-31 10:00:00
            timestamptz(date:2024-01-31) => 2024-01-31 00:00:00+00
            timezone(Europe/Paris | timestamp:2024-07-01 12:00) => 2024-07-01 10:00:00+00
            timezone(text:EST | timestamptz:2024-07-01 12:00+00) => 2024-07-01 07:00:00
            timezone(text:Nope | timestamptz:2024-07-01 12:00+00) => ERROR 22023 time zone \"Nope\" not recognized
            to_timestamp(float8:0) => 1970-01-01 00:00:00+00
            make_timestamp(int4:2024 | int4:2 | int4:29 | int4:1 | int4:2 | float8:3.5) => 2024-02-29 01:02:03.5
            make_timestamp(int4:2020 | int4:1 | int4:32 | int4:1 | int4:1 | float8:1) => ERROR 22008 date field value out of range: 2020-01-32
            date_bin(interval:15 min | timestamp:2020-02-11 15:44:17 | timestamp:2001-01-01) => 2020-02-11 15:30:00
            generate_series(timestamp:2024-01-01 | timestamp:2024-01-02 | interval:12 h) => 2024-01-01 00:00:00 2024-01-01 12:00:00 2024-01-02 00:00:00
            timestamp:infinity  -  timestamp:infinity => ERROR 22008 cannot subtract infinite timestamps
            ",
        );
    }
}
