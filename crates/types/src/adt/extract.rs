//! EXTRACT, date_part, date_trunc. C: the `*_part_common` and `*_trunc` functions of timestamp.c and date.c.

use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use jiff::tz::TimeZone;

use super::datetime::{
    Civil, EPOCH_JULIAN, USECS_PER_DAY, USECS_PER_SEC, days_from_civil, iso_week, iso_week_start, offset_at,
    offset_of_local, weekday, zone_by_name,
};
use super::interval;
use super::numeric::{self, Numeric};
use super::timestamp::{UNIX_EPOCH_USECS, is_finite, is_valid, out_of_range, to_local};
use crate::datum::{Date, Time, Timestamp, TimestampTz};
use crate::settings::time_zone;
use crate::{Interval, TimeTz, format_type, oid};

/// A field or unit. C: `DTK_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Dow,
    Isodow,
    Doy,
    Isoyear,
    Julian,
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

fn unit_by_name(name: &str) -> Option<Unit> {
    Some(match name.to_ascii_lowercase().as_str() {
        "microsecond" | "microseconds" | "microsecon" | "us" | "usec" | "usecs" | "usecond" | "useconds" => {
            Unit::Microsecond
        }
        "millisecond" | "milliseconds" | "millisecon" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => {
            Unit::Millisecond
        }
        "second" | "seconds" | "sec" | "secs" | "s" => Unit::Second,
        "minute" | "minutes" | "min" | "mins" | "m" => Unit::Minute,
        "hour" | "hours" | "hr" | "hrs" | "h" => Unit::Hour,
        "day" | "days" | "d" => Unit::Day,
        "week" | "weeks" | "w" => Unit::Week,
        "month" | "months" | "mon" | "mons" => Unit::Month,
        "quarter" | "qtr" => Unit::Quarter,
        "year" | "years" | "yr" | "yrs" | "y" => Unit::Year,
        "decade" | "decades" | "dec" | "decs" => Unit::Decade,
        "century" | "centuries" | "cent" | "c" => Unit::Century,
        "millennium" | "millennia" | "mil" | "mils" => Unit::Millennium,
        "dow" => Unit::Dow,
        "isodow" => Unit::Isodow,
        "doy" => Unit::Doy,
        "isoyear" => Unit::Isoyear,
        "julian" | "jd" | "j" => Unit::Julian,
        "epoch" => Unit::Epoch,
        "timezone" => Unit::Timezone,
        "timezone_hour" | "timezone_h" => Unit::TimezoneHour,
        "timezone_minute" | "timezone_m" => Unit::TimezoneMinute,
        _ => return None,
    })
}

#[cold]
fn not_recognized(name: &str, ty: Oid) -> PgError {
    let name = name.to_ascii_lowercase();
    error!(
        SqlState::INVALID_PARAMETER_VALUE,
        "unit \"{name}\" not recognized for type {}",
        format_type(ty, -1)
    )
}

#[cold]
fn not_supported(name: &str, ty: Oid) -> PgError {
    let name = name.to_ascii_lowercase();
    error!(SqlState::FEATURE_NOT_SUPPORTED, "unit \"{name}\" not supported for type {}", format_type(ty, -1))
}

fn unit_for(name: &str, ty: Oid) -> Result<Unit> {
    unit_by_name(name).ok_or_else(|| not_recognized(name, ty))
}

/// A field's value before it becomes numeric (EXTRACT) or double (date_part).
enum Field {
    Null,
    Infinity(bool),
    /// `value / 10^scale`.
    Scaled(i128, u32),
    Julian(i64, i64),
}

fn whole(v: impl Into<i64>) -> Field {
    Field::Scaled(i128::from(v.into()), 0)
}

impl Field {
    fn numeric(self) -> Result<Option<Numeric>> {
        Ok(Some(match self {
            Field::Null => return Ok(None),
            Field::Infinity(positive) => {
                if positive {
                    Numeric::Infinity
                } else {
                    Numeric::NegInfinity
                }
            }
            Field::Scaled(value, scale) => Numeric::new(value, scale),
            Field::Julian(day, usecs) => {
                let part = numeric::divide(&Numeric::from_i64(usecs), &Numeric::from_i64(USECS_PER_DAY))?;
                numeric::add(&Numeric::from_i64(day), &part)
            }
        }))
    }

    fn double(self) -> Option<f64> {
        Some(match self {
            Field::Null => return None,
            Field::Infinity(positive) => {
                if positive {
                    f64::INFINITY
                } else {
                    f64::NEG_INFINITY
                }
            }
            Field::Scaled(value, scale) => value as f64 / 10f64.powi(scale as i32),
            Field::Julian(day, usecs) => day as f64 + usecs as f64 / USECS_PER_DAY as f64,
        })
    }
}

fn clock_field(c: &Civil, unit: Unit) -> Option<Field> {
    let usecs = i128::from(c.second) * 1_000_000 + i128::from(c.usec);
    Some(match unit {
        Unit::Microsecond => Field::Scaled(usecs, 0),
        Unit::Millisecond => Field::Scaled(usecs, 3),
        Unit::Second => Field::Scaled(usecs, 6),
        Unit::Minute => whole(c.minute),
        Unit::Hour => whole(c.hour),
        _ => return None,
    })
}

fn zone_field(east: i32, unit: Unit) -> Option<Field> {
    Some(match unit {
        Unit::Timezone => whole(east),
        Unit::TimezoneHour => whole(east / 3600),
        Unit::TimezoneMinute => whole(east / 60 % 60),
        _ => return None,
    })
}

/// Centuries (or millennia) are counted from 1, and there is no year 0.
fn era(year: i32, len: i32) -> i32 {
    if year > 0 { (year + len - 1) / len } else { -((len - 1 - (year - 1)) / len) }
}

fn date_field(c: &Civil, unit: Unit) -> Option<Field> {
    let shown_year = |y: i32| if y > 0 { y } else { y - 1 };
    let days = c.days();
    Some(match unit {
        Unit::Day => whole(c.day),
        Unit::Month => whole(c.month),
        Unit::Quarter => whole((c.month - 1) / 3 + 1),
        Unit::Week => whole(iso_week(c.year, c.month, c.day).1),
        Unit::Year => whole(shown_year(c.year)),
        Unit::Isoyear => whole(shown_year(iso_week(c.year, c.month, c.day).0)),
        Unit::Decade => whole(c.year.div_euclid(10)),
        Unit::Century => whole(era(c.year, 100)),
        Unit::Millennium => whole(era(c.year, 1000)),
        Unit::Julian => Field::Julian(days + EPOCH_JULIAN, c.time_usecs()),
        Unit::Dow => whole(weekday(days)),
        Unit::Isodow => whole((weekday(days) + 6) % 7 + 1),
        Unit::Doy => whole(days - days_from_civil(c.year, 1, 1) + 1),
        _ => return None,
    })
}

/// Infinity has no month, but it has an infinite year. C: `NonFiniteTimestampTzPart`.
fn infinite_field(unit: Unit, positive: bool) -> Field {
    match unit {
        Unit::Year
        | Unit::Decade
        | Unit::Century
        | Unit::Millennium
        | Unit::Julian
        | Unit::Isoyear
        | Unit::Epoch => Field::Infinity(positive),
        _ => Field::Null,
    }
}

fn epoch(usecs: i64) -> Field {
    Field::Scaled(i128::from(usecs) - i128::from(UNIX_EPOCH_USECS), 6)
}

fn timestamp_field(name: &str, at: i64) -> Result<Field> {
    let unit = unit_for(name, oid::TIMESTAMP)?;
    if matches!(unit, Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute) {
        return Err(not_supported(name, oid::TIMESTAMP));
    }
    if !is_finite(at) {
        return Ok(infinite_field(unit, at > 0));
    }
    if unit == Unit::Epoch {
        return Ok(epoch(at));
    }
    let c = Civil::from_usecs(at);
    clock_field(&c, unit).or_else(|| date_field(&c, unit)).ok_or_else(|| not_supported(name, oid::TIMESTAMP))
}

fn timestamptz_field(name: &str, at: i64) -> Result<Field> {
    let unit = unit_for(name, oid::TIMESTAMPTZ)?;
    if !is_finite(at) {
        return Ok(infinite_field(unit, at > 0));
    }
    if unit == Unit::Epoch {
        return Ok(epoch(at));
    }
    let c = Civil::from_usecs(to_local(at)?);
    clock_field(&c, unit)
        .or_else(|| date_field(&c, unit))
        .or_else(|| zone_field(offset_at(&time_zone(), at), unit))
        .ok_or_else(|| not_supported(name, oid::TIMESTAMPTZ))
}

fn date_only_field(name: &str, days: i32) -> Result<Field> {
    let unit = unit_for(name, oid::DATE)?;
    if unit < Unit::Day || unit >= Unit::Timezone {
        return Err(not_supported(name, oid::DATE));
    }
    if !super::date::is_finite(days) {
        return Ok(infinite_field(unit, days > 0));
    }
    let days = i64::from(days);
    match unit {
        Unit::Epoch => Ok(whole((days - UNIX_EPOCH_USECS / USECS_PER_DAY) * 86_400)),
        Unit::Julian => Ok(whole(days + EPOCH_JULIAN)),
        _ => {
            let (year, month, day) = super::datetime::civil_from_days(days);
            date_field(&Civil { year, month, day, ..Civil::default() }, unit)
                .ok_or_else(|| not_supported(name, oid::DATE))
        }
    }
}

fn time_field(name: &str, usecs: i64) -> Result<Field> {
    let unit = unit_for(name, oid::TIME)?;
    if unit == Unit::Epoch {
        return Ok(Field::Scaled(i128::from(usecs), 6));
    }
    clock_field(&Civil::from_time(usecs), unit).ok_or_else(|| not_supported(name, oid::TIME))
}

fn timetz_field(name: &str, v: &TimeTz) -> Result<Field> {
    let unit = unit_for(name, oid::TIMETZ)?;
    if unit == Unit::Epoch {
        return Ok(Field::Scaled(i128::from(v.usecs) + i128::from(v.zone_secs) * 1_000_000, 6));
    }
    clock_field(&Civil::from_time(v.usecs), unit)
        .or_else(|| zone_field(-v.zone_secs, unit))
        .ok_or_else(|| not_supported(name, oid::TIMETZ))
}

fn interval_field(name: &str, v: &Interval) -> Result<Field> {
    let unit = unit_for(name, oid::INTERVAL)?;
    let f = interval::fields(v);
    let usecs = i128::from(f.seconds) * 1_000_000 + i128::from(f.usecs);
    Ok(match unit {
        Unit::Microsecond => Field::Scaled(usecs, 0),
        Unit::Millisecond => Field::Scaled(usecs, 3),
        Unit::Second => Field::Scaled(usecs, 6),
        Unit::Minute => whole(f.minutes),
        Unit::Hour => whole(f.hours),
        Unit::Day => whole(f.days),
        Unit::Month => whole(f.months),
        Unit::Quarter => whole(f.months / 3 + 1),
        Unit::Year => whole(f.years),
        Unit::Decade => whole(f.years / 10),
        Unit::Century => whole(f.years / 100),
        Unit::Millennium => whole(f.years / 1000),
        Unit::Epoch => {
            // A year is 365.25 days here, a month 30.
            let quarter_days =
                i128::from(f.years) * 1461 + i128::from(f.months) * 120 + i128::from(v.days) * 4;
            Field::Scaled(quarter_days * 21_600 * 1_000_000 + i128::from(v.usecs), 6)
        }
        _ => return Err(not_supported(name, oid::INTERVAL)),
    })
}

/// A unit to truncate to: those that only EXTRACT knows are not recognized.
fn trunc_unit(name: &str, ty: Oid) -> Result<Unit> {
    match unit_for(name, ty)? {
        Unit::Dow | Unit::Isodow | Unit::Doy | Unit::Isoyear | Unit::Julian | Unit::Epoch => {
            Err(not_recognized(name, ty))
        }
        unit => Ok(unit),
    }
}

/// Cuts a local time. `None` for a unit that has no meaning here. C: `timestamp_trunc`.
fn truncate(local: i64, unit: Unit) -> Option<i64> {
    let unit_usecs = match unit {
        Unit::Microsecond => 1,
        Unit::Millisecond => 1000,
        Unit::Second => USECS_PER_SEC,
        Unit::Minute => 60 * USECS_PER_SEC,
        Unit::Hour => 3600 * USECS_PER_SEC,
        Unit::Day => USECS_PER_DAY,
        _ => 0,
    };
    if unit_usecs > 0 {
        return Some(local.div_euclid(unit_usecs) * unit_usecs);
    }
    let c = Civil::from_usecs(local);
    let first_of = |year: i32, month: i32| days_from_civil(year, month, 1);
    let days = match unit {
        Unit::Week => {
            let (year, week) = iso_week(c.year, c.month, c.day);
            iso_week_start(year, week)
        }
        Unit::Month => first_of(c.year, c.month),
        Unit::Quarter => first_of(c.year, (c.month - 1) / 3 * 3 + 1),
        Unit::Year => first_of(c.year, 1),
        Unit::Decade => first_of(c.year.div_euclid(10) * 10, 1),
        Unit::Century => first_of((c.year + 99).div_euclid(100) * 100 - 99, 1),
        Unit::Millennium => first_of((c.year + 999).div_euclid(1000) * 1000 - 999, 1),
        _ => return None,
    };
    days.checked_mul(USECS_PER_DAY)
}

fn truncate_timestamp(name: &str, at: i64) -> Result<i64> {
    let unit = trunc_unit(name, oid::TIMESTAMP)?;
    if !is_finite(at) {
        return Ok(at);
    }
    let cut = truncate(at, unit).ok_or_else(|| not_supported(name, oid::TIMESTAMP))?;
    if is_valid(cut) { Ok(cut) } else { Err(out_of_range()) }
}

fn truncate_timestamptz(name: &str, at: i64, zone: &TimeZone) -> Result<i64> {
    let unit = trunc_unit(name, oid::TIMESTAMPTZ)?;
    if !is_finite(at) {
        return Ok(at);
    }
    let east = offset_at(zone, at);
    let local = at.saturating_add(i64::from(east) * USECS_PER_SEC);
    let cut = truncate(local, unit).ok_or_else(|| not_supported(name, oid::TIMESTAMPTZ))?;
    // Below a day the offset stays; from a day on it is that of the day's start.
    let east = if unit >= Unit::Day { offset_of_local(zone, cut) } else { east };
    let at = cut - i64::from(east) * USECS_PER_SEC;
    if is_valid(at) { Ok(at) } else { Err(out_of_range()) }
}

/// C: `interval_trunc`.
fn truncate_interval(name: &str, v: &Interval) -> Result<Interval> {
    let unit = trunc_unit(name, oid::INTERVAL)?;
    let cut_time = |unit: i64| Interval { usecs: v.usecs / unit * unit, ..*v };
    let cut_months = |unit: i32| Interval { months: v.months / unit * unit, days: 0, usecs: 0 };
    Ok(match unit {
        Unit::Microsecond => *v,
        Unit::Millisecond => cut_time(1000),
        Unit::Second => cut_time(USECS_PER_SEC),
        Unit::Minute => cut_time(60 * USECS_PER_SEC),
        Unit::Hour => cut_time(3600 * USECS_PER_SEC),
        Unit::Day => Interval { usecs: 0, ..*v },
        Unit::Month => cut_months(1),
        Unit::Quarter => cut_months(3),
        Unit::Year => cut_months(12),
        Unit::Decade => cut_months(120),
        Unit::Century => cut_months(1200),
        Unit::Millennium => cut_months(12_000),
        Unit::Week => {
            return Err(not_supported(name, oid::INTERVAL).detail("Months usually have fractional weeks."));
        }
        _ => return Err(not_supported(name, oid::INTERVAL)),
    })
}

builtins! {
    fn extract_timestamp(name: &str, a: Timestamp) -> Option<Numeric> { timestamp_field(name, a.0)?.numeric()? }
    fn extract_timestamptz(name: &str, a: TimestampTz) -> Option<Numeric> { timestamptz_field(name, a.0)?.numeric()? }
    fn extract_date(name: &str, a: Date) -> Option<Numeric> { date_only_field(name, a.0)?.numeric()? }
    fn extract_time(name: &str, a: Time) -> Option<Numeric> { time_field(name, a.0)?.numeric()? }
    fn extract_timetz(name: &str, a: TimeTz) -> Option<Numeric> { timetz_field(name, &a)?.numeric()? }
    fn extract_interval(name: &str, a: Interval) -> Option<Numeric> { interval_field(name, &a)?.numeric()? }
    fn timestamp_part(name: &str, a: Timestamp) -> Option<f64> { timestamp_field(name, a.0)?.double() }
    fn timestamptz_part(name: &str, a: TimestampTz) -> Option<f64> { timestamptz_field(name, a.0)?.double() }
    fn date_part_date(name: &str, a: Date) -> Option<f64> {
        timestamp_field(name, super::timestamp_ops::from_date(a.0)?)?.double()
    }
    fn time_part(name: &str, a: Time) -> Option<f64> { time_field(name, a.0)?.double() }
    fn timetz_part(name: &str, a: TimeTz) -> Option<f64> { timetz_field(name, &a)?.double() }
    fn interval_part(name: &str, a: Interval) -> Option<f64> { interval_field(name, &a)?.double() }
    fn timestamp_trunc(name: &str, a: Timestamp) -> Timestamp { Timestamp(truncate_timestamp(name, a.0)?) }
    fn timestamptz_trunc(name: &str, a: TimestampTz) -> TimestampTz {
        TimestampTz(truncate_timestamptz(name, a.0, &time_zone())?)
    }
    fn timestamptz_trunc_zone(name: &str, a: TimestampTz, zone: &str) -> TimestampTz {
        let zone = zone_by_name(zone).ok_or_else(|| super::datetime::unknown_zone(zone))?;
        TimestampTz(truncate_timestamptz(name, a.0, &zone)?)
    }
    fn interval_trunc(name: &str, a: Interval) -> Interval { truncate_interval(name, &a)? }
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn fields() {
        check_all(
            "
            extract(epoch | timestamp:2020-01-01) => 1577836800.000000
            extract(julian | timestamp:2020-01-01 12:00) => 2458850.50000000000000000000
            extract(second | time:10:00:01.5) => 1.500000
            extract(week | date:2021-01-03) => 53
            extract(hour | date:2021-01-03) => ERROR 0A000 unit \"hour\" not supported for type date
            extract(foo | timestamptz:2021-01-03) => ERROR 22023 unit \"foo\" not recognized for type timestamp with time zone
            extract(epoch | interval:1 year 1 mon 1 day 1 sec) => 34236001.000000
            extract(century | date:2000-12-31) => 20
            extract(year | timestamp:infinity) => Infinity
            extract(day | timestamp:infinity) => <null>
            date_part(dow | timestamp:2024-01-31) => 3
            date_trunc(week | timestamp:2024-01-31 12:00) => 2024-01-29 00:00:00
            date_trunc(quarter | timestamp:2024-06-15) => 2024-04-01 00:00:00
            date_trunc(hour | interval:1 day 02:03:04) => 1 day 02:00:00
            date_trunc(day | timestamptz:2024-07-01 23:30+00 | Europe/Paris) => 2024-07-01 22:00:00+00
            ",
        );
    }
}
