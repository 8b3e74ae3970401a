//! timestamp with and without time zone: text, limits, precision. C: timestamp.c, its I/O half. The functions
//! are in `timestamp_ops.rs`.

use std::time::{SystemTime, UNIX_EPOCH};

use common::SqlState;
use elog::{PgError, Result, error};

use super::datetime::{
    Civil, MONTHS, USECS_PER_DAY, USECS_PER_SEC, WEEKDAYS, abbreviation_at, offset_at, offset_of_local,
    weekday,
};
use super::datetime_parse::{Parsed, Zone, parse};
use crate::settings::{DateOrder, DateStyle, date_style, time_zone};

/// `-infinity`.
pub(crate) const MINUS_INFINITY: i64 = i64::MIN;
/// `infinity`.
pub(crate) const INFINITY: i64 = i64::MAX;
/// First valid moment: 4714-11-24 BC. C: `MIN_TIMESTAMP`.
const MIN: i64 = -211_813_488_000_000_000;
/// First invalid moment: 294277-01-01. C: `END_TIMESTAMP`.
const END: i64 = 9_223_371_331_200_000_000;
/// 1970-01-01.
pub(crate) const UNIX_EPOCH_USECS: i64 = -946_684_800 * USECS_PER_SEC;

/// Microseconds since 2000-01-01 UTC, now. C: `GetCurrentTimestamp`.
pub fn now() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_micros() as i64 + UNIX_EPOCH_USECS
}

thread_local! {
    static STATEMENT_START: std::cell::Cell<Option<i64>> = const { std::cell::Cell::new(None) };
}

/// Tells input functions what `'now'` means: the transaction's start. Without it they read the clock.
pub fn set_transaction_timestamp(usecs: Option<i64>) {
    STATEMENT_START.set(usecs);
}

/// The moment that `'now'` and `'today'` are relative to.
pub(crate) fn transaction_now() -> i64 {
    STATEMENT_START.get().unwrap_or_else(now)
}

/// Neither of the infinities.
pub(crate) fn is_finite(usecs: i64) -> bool {
    usecs != MINUS_INFINITY && usecs != INFINITY
}

/// Within the type's limits. C: `IS_VALID_TIMESTAMP`.
pub(crate) fn is_valid(usecs: i64) -> bool {
    (MIN..END).contains(&usecs)
}

/// `timestamp out of range`.
#[cold]
pub(crate) fn out_of_range() -> PgError {
    error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "timestamp out of range")
}

/// A value off the wire.
pub(crate) fn check(usecs: i64, typmod: i32) -> Result<i64> {
    if is_finite(usecs) && !is_valid(usecs) {
        return Err(out_of_range());
    }
    round(usecs, typmod)
}

/// Moves a local time to UTC by the session's zone.
pub(crate) fn to_utc(local: i64) -> Result<i64> {
    let east = i64::from(offset_of_local(&time_zone(), local));
    local.checked_sub(east * USECS_PER_SEC).filter(|v| is_valid(*v)).ok_or_else(out_of_range)
}

/// The session's local time of a moment.
pub(crate) fn to_local(utc: i64) -> Result<i64> {
    let east = i64::from(offset_at(&time_zone(), utc));
    utc.checked_add(east * USECS_PER_SEC).filter(|v| is_valid(*v)).ok_or_else(out_of_range)
}

fn local_unchecked(utc: i64) -> (i64, i32) {
    let east = offset_at(&time_zone(), utc);
    (utc.saturating_add(i64::from(east) * USECS_PER_SEC), east)
}

/// Local midnight of the day `offset` days from the transaction's day.
pub(crate) fn relative_day(offset: i64) -> i64 {
    let (local, _) = local_unchecked(transaction_now());
    (local.div_euclid(USECS_PER_DAY) + offset) * USECS_PER_DAY
}

#[cold]
fn text_out_of_range(text: &str) -> PgError {
    error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "timestamp out of range: \"{text}\"")
}

/// C: `timestamp_in`.
pub(crate) fn input_timestamp(text: &str, typmod: i32) -> Result<i64> {
    let value = match parse(text, "timestamp")? {
        Parsed::Infinity(positive) => return Ok(if positive { INFINITY } else { MINUS_INFINITY }),
        Parsed::Epoch => Some(UNIX_EPOCH_USECS),
        Parsed::Now => Some(local_unchecked(transaction_now()).0),
        Parsed::RelativeDay(offset, time, _) => Some(relative_day(offset) + time.time_usecs()),
        Parsed::Moment(civil, _) => civil.usecs(),
    };
    let value = value.filter(|v| is_valid(*v)).ok_or_else(|| text_out_of_range(text))?;
    round(value, typmod)
}

fn apply_zone(local: i64, zone: Option<Zone>) -> Option<i64> {
    let east = match zone {
        Some(Zone::Offset(east)) => east,
        Some(Zone::Named(zone)) => offset_of_local(&zone, local),
        None => offset_of_local(&time_zone(), local),
    };
    local.checked_sub(i64::from(east) * USECS_PER_SEC)
}

/// C: `timestamptz_in`.
pub(crate) fn input_timestamptz(text: &str, typmod: i32) -> Result<i64> {
    let value = match parse(text, "timestamp with time zone")? {
        Parsed::Infinity(positive) => return Ok(if positive { INFINITY } else { MINUS_INFINITY }),
        Parsed::Epoch => Some(UNIX_EPOCH_USECS),
        Parsed::Now => Some(transaction_now()),
        Parsed::RelativeDay(offset, time, zone) => apply_zone(relative_day(offset) + time.time_usecs(), zone),
        Parsed::Moment(civil, zone) => civil.usecs().and_then(|local| apply_zone(local, zone)),
    };
    let value = value.filter(|v| is_valid(*v)).ok_or_else(|| text_out_of_range(text))?;
    round(value, typmod)
}

/// Keeps `typmod` digits of the second's fraction. C: `AdjustTimestampForTypmod`.
pub(crate) fn round(usecs: i64, typmod: i32) -> Result<i64> {
    if !(0..6).contains(&typmod) || !is_finite(usecs) {
        return Ok(usecs);
    }
    let rounded = round_time(usecs, typmod);
    if is_valid(rounded) { Ok(rounded) } else { Err(out_of_range()) }
}

/// The same without limits, half away from zero. C: `AdjustTimeForTypmod`.
pub(crate) fn round_time(usecs: i64, typmod: i32) -> i64 {
    if !(0..6).contains(&typmod) {
        return usecs;
    }
    let unit = 10i64.pow(6 - typmod as u32);
    if usecs >= 0 { (usecs + unit / 2) / unit * unit } else { -((-usecs + unit / 2) / unit * unit) }
}

fn two(out: &mut String, n: i32) {
    out.push(char::from(b'0' + (n / 10 % 10) as u8));
    out.push(char::from(b'0' + (n % 10) as u8));
}

/// `12:34:56.789`, without trailing zeros. C: `AppendSeconds`.
pub(crate) fn write_clock(c: &Civil, out: &mut String) {
    two(out, c.hour);
    out.push(':');
    two(out, c.minute);
    out.push(':');
    two(out, c.second);
    write_fraction(c.usec, out);
}

/// `.789`, or nothing.
pub(crate) fn write_fraction(usec: i32, out: &mut String) {
    if usec != 0 {
        let digits = format!("{usec:06}");
        out.push('.');
        out.push_str(digits.trim_end_matches('0'));
    }
}

/// `+01`, `-03:30`. C: `EncodeTimezone`.
pub(crate) fn write_offset(east_secs: i32, out: &mut String) {
    out.push(if east_secs < 0 { '-' } else { '+' });
    let secs = east_secs.abs();
    two(out, secs / 3600);
    if secs % 3600 != 0 {
        out.push(':');
        two(out, secs / 60 % 60);
        if secs % 60 != 0 {
            out.push(':');
            two(out, secs % 60);
        }
    }
}

/// The date in the given style, without the mark for BC. C: `EncodeDateOnly`.
pub(crate) fn write_date(c: &Civil, style: DateStyle, order: DateOrder, out: &mut String) {
    let year = if c.year > 0 { c.year } else { 1 - c.year };
    let year = |out: &mut String| out.push_str(&format!("{year:04}"));
    let (first, second) = if order == DateOrder::Dmy { (c.day, c.month) } else { (c.month, c.day) };
    match style {
        DateStyle::Iso => {
            year(out);
            out.push('-');
            two(out, c.month);
            out.push('-');
            two(out, c.day);
        }
        DateStyle::German => {
            two(out, c.day);
            out.push('.');
            two(out, c.month);
            out.push('.');
            year(out);
        }
        DateStyle::Sql | DateStyle::Postgres => {
            let separator = if style == DateStyle::Sql { '/' } else { '-' };
            two(out, first);
            out.push(separator);
            two(out, second);
            out.push(separator);
            year(out);
        }
    }
}

/// C: `EncodeDateTime`.
fn write(c: &Civil, zone: Option<(i32, &str)>, out: &mut String) {
    let (style, order) = date_style();
    if style == DateStyle::Postgres {
        let month = &MONTHS[(c.month - 1).clamp(0, 11) as usize][..3];
        out.push_str(&WEEKDAYS[weekday(c.days()) as usize][..3]);
        out.push(' ');
        if order == DateOrder::Dmy {
            two(out, c.day);
            out.push(' ');
            out.push_str(month);
        } else {
            out.push_str(month);
            out.push(' ');
            two(out, c.day);
        }
        out.push(' ');
        write_clock(c, out);
        out.push_str(&format!(" {:04}", if c.year > 0 { c.year } else { 1 - c.year }));
    } else {
        write_date(c, style, order, out);
        out.push(' ');
        write_clock(c, out);
    }
    if let Some((east, abbreviation)) = zone {
        let has_letters = abbreviation.bytes().any(|b| b.is_ascii_alphabetic());
        if style == DateStyle::Iso || !has_letters {
            if style == DateStyle::Postgres {
                out.push(' ');
            }
            write_offset(east, out);
        } else {
            out.push(' ');
            out.push_str(abbreviation);
        }
    }
    if c.year <= 0 {
        out.push_str(" BC");
    }
}

fn write_infinity(usecs: i64, out: &mut String) -> bool {
    if !is_finite(usecs) {
        out.push_str(if usecs > 0 { "infinity" } else { "-infinity" });
        return true;
    }
    false
}

/// C: `timestamp_out`.
pub(crate) fn output_timestamp(usecs: i64, out: &mut String) {
    if !write_infinity(usecs, out) {
        write(&Civil::from_usecs(usecs), None, out);
    }
}

/// C: `timestamptz_out`.
pub(crate) fn output_timestamptz(usecs: i64, out: &mut String) {
    if write_infinity(usecs, out) {
        return;
    }
    let (local, east) = local_unchecked(usecs);
    let abbreviation = match date_style().0 {
        DateStyle::Iso => String::new(),
        _ => abbreviation_at(&time_zone(), usecs),
    };
    write(&Civil::from_usecs(local), Some((east, &abbreviation)), out);
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        for (input, shown) in [
            ("2024-01-31 12:34:56.789", "2024-01-31 12:34:56.789"),
            ("2024-01-31", "2024-01-31 00:00:00"),
            ("2024-01-31T12:34", "2024-01-31 12:34:00"),
            ("20240131T123456", "2024-01-31 12:34:56"),
            ("January 8, 1999", "1999-01-08 00:00:00"),
            ("8 January 1999 04:05 PM", "1999-01-08 16:05:00"),
            ("Mon Jan 08 04:05:06 1999 PST", "1999-01-08 04:05:06"),
            ("1/8/1999", "1999-01-08 00:00:00"),
            ("08-Jan-99", "1999-01-08 00:00:00"),
            ("0044-03-15 BC", "0044-03-15 00:00:00 BC"),
            ("epoch", "1970-01-01 00:00:00"),
            ("infinity", "infinity"),
            ("-infinity", "-infinity"),
            ("J2451187", "1999-01-08 00:00:00"),
            ("2024-02-29 24:00:00", "2024-03-01 00:00:00"),
            ("1999.008", "1999-01-08 00:00:00"),
        ] {
            check("timestamp", input, shown);
        }
        check("timestamptz", "2024-01-31 12:00:00+02", "2024-01-31 10:00:00+00");
        check("timestamptz", "2024-07-01 12:00 Europe/Paris", "2024-07-01 10:00:00+00");
        check("timestamptz", "2024-07-01 12:00:00 EST", "2024-07-01 17:00:00+00");
        check("timestamptz", "2024-07-01 12:00:00.123456-0330", "2024-07-01 15:30:00.123456+00");
        check("timestamptz", "2024-07-01T12:00:00Z", "2024-07-01 12:00:00+00");
    }

    #[test]
    fn refusals() {
        check_error("timestamp", "abc", "22007 invalid input syntax for type timestamp: \"abc\"");
        check_error("timestamp", "", "22007 invalid input syntax for type timestamp: \"\"");
        check_error(
            "timestamptz",
            "2024",
            "22007 invalid input syntax for type timestamp with time zone: \"2024\"",
        );
        check_error("timestamp", "2024-13-01", "22008 date/time field value out of range: \"2024-13-01\"");
        check_error("timestamp", "2023-02-29", "22008 date/time field value out of range: \"2023-02-29\"");
        check_error(
            "timestamp",
            "2023-02-01 25:00",
            "22008 date/time field value out of range: \"2023-02-01 25:00\"",
        );
        check_error("timestamp", "294277-01-01", "22008 timestamp out of range: \"294277-01-01\"");
        check_error("timestamptz", "2024-01-01 00:00 Foo/Bar", "22023 time zone \"foo/bar\" not recognized");
        check_error(
            "timestamptz",
            "2024-01-01 00:00+99",
            "22009 time zone displacement out of range: \"2024-01-01 00:00+99\"",
        );
    }
}
