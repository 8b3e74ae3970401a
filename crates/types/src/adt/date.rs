//! date, time and time with time zone: text, limits, wire form. C: date.c, its I/O half. The functions are in
//! `date_ops.rs`.

use std::cmp::Ordering;

use common::SqlState;
use elog::{PgError, Result, error};

use super::datetime::{Civil, EPOCH_JULIAN, USECS_PER_DAY, USECS_PER_SEC, offset_at, offset_of_local};
use super::datetime_parse::{Parsed, Zone, parse, parse_time};
use super::timestamp::{
    UNIX_EPOCH_USECS, relative_day, round_time, transaction_now, write_clock, write_date, write_offset,
};
use crate::TimeTz;
use crate::io::Reader;
use crate::settings::{date_style, time_zone};

/// `-infinity`. C: `DATEVAL_NOBEGIN`.
pub(crate) const MINUS_INFINITY: i32 = i32::MIN;
/// `infinity`. C: `DATEVAL_NOEND`.
pub(crate) const INFINITY: i32 = i32::MAX;
/// First valid day: 4714-11-24 BC.
const MIN_DAYS: i64 = -EPOCH_JULIAN;
/// First invalid day. C: `DATE_END_JULIAN`.
const END_DAYS: i64 = 2_147_483_494 - EPOCH_JULIAN;

/// `date out of range`.
#[cold]
pub(crate) fn out_of_range() -> PgError {
    error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "date out of range")
}

/// Within the type's limits. C: `IS_VALID_DATE`.
pub(crate) fn from_days(days: i64) -> Result<i32> {
    if (MIN_DAYS..END_DAYS).contains(&days) { Ok(days as i32) } else { Err(out_of_range()) }
}

pub(crate) fn is_finite(days: i32) -> bool {
    days != MINUS_INFINITY && days != INFINITY
}

/// A value off the wire.
pub(crate) fn check_date(days: i32) -> Result<i32> {
    if is_finite(days) { from_days(i64::from(days)) } else { Ok(days) }
}

/// C: `date_in`.
pub(crate) fn input_date(text: &str) -> Result<i32> {
    let days = match parse(text, "date")? {
        Parsed::Infinity(positive) => return Ok(if positive { INFINITY } else { MINUS_INFINITY }),
        Parsed::Epoch => UNIX_EPOCH_USECS / USECS_PER_DAY,
        Parsed::Now => relative_day(0) / USECS_PER_DAY,
        Parsed::RelativeDay(offset, ..) => relative_day(offset) / USECS_PER_DAY,
        Parsed::Moment(civil, _) => civil.days(),
    };
    from_days(days)
        .map_err(|_| error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "date out of range: \"{text}\""))
}

/// C: `date_out`.
pub(crate) fn output_date(days: i32, out: &mut String) {
    if !is_finite(days) {
        out.push_str(if days > 0 { "infinity" } else { "-infinity" });
        return;
    }
    let c = Civil::from_usecs(0);
    let (year, month, day) = super::datetime::civil_from_days(i64::from(days));
    let (style, order) = date_style();
    write_date(&Civil { year, month, day, ..c }, style, order, out);
    if year <= 0 {
        out.push_str(" BC");
    }
}

/// A time of day, its zone, and the day (for zones whose offset depends on it; today if none was given).
fn clock(text: &str, type_name: &str) -> Result<(i64, Option<Zone>, i64)> {
    let (civil, zone, has_date) = parse_time(text, type_name)?;
    let today = || relative_day(0);
    let Some(civil) = civil else {
        let now = transaction_now();
        let east = offset_at(&time_zone(), now);
        let local = now + i64::from(east) * USECS_PER_SEC;
        return Ok((local.rem_euclid(USECS_PER_DAY), Some(Zone::Offset(east)), today()));
    };
    let day = if has_date { civil.days().saturating_mul(USECS_PER_DAY) } else { today() };
    Ok((civil.time_usecs(), zone, day))
}

/// C: `time_in`.
pub(crate) fn input_time(text: &str, typmod: i32) -> Result<i64> {
    Ok(round_time(clock(text, "time")?.0, typmod))
}

/// C: `timetz_in`.
pub(crate) fn input_timetz(text: &str, typmod: i32) -> Result<TimeTz> {
    let (usecs, zone, day) = clock(text, "time with time zone")?;
    let local = day.saturating_add(usecs);
    let east = match zone {
        Some(Zone::Offset(east)) => east,
        Some(Zone::Named(zone)) => offset_of_local(&zone, local),
        None => offset_of_local(&time_zone(), local),
    };
    Ok(TimeTz { usecs: round_time(usecs, typmod), zone_secs: -east })
}

/// C: `time_out`.
pub(crate) fn output_time(usecs: i64, out: &mut String) {
    write_clock(&Civil::from_time(usecs), out);
}

/// C: `timetz_out`.
pub(crate) fn output_timetz(value: &TimeTz, out: &mut String) {
    output_time(value.usecs, out);
    write_offset(-value.zone_secs, out);
}

/// A value off the wire.
pub(crate) fn check_time(usecs: i64, typmod: i32) -> Result<i64> {
    if !(0..=USECS_PER_DAY).contains(&usecs) {
        return Err(error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "time out of range"));
    }
    Ok(round_time(usecs, typmod))
}

/// C: `timetz_recv`.
pub(crate) fn receive_timetz(r: &mut Reader<'_>, typmod: i32) -> Result<TimeTz> {
    let usecs = check_time(r.i64()?, typmod)?;
    let zone_secs = r.i32()?;
    if zone_secs <= -super::datetime::MAX_OFFSET_SECS || zone_secs >= super::datetime::MAX_OFFSET_SECS {
        return Err(error!(
            SqlState::INVALID_TIME_ZONE_DISPLACEMENT_VALUE,
            "time zone displacement out of range"
        ));
    }
    Ok(TimeTz { usecs, zone_secs })
}

/// By the moment in UTC, then by zone. C: `timetz_cmp_internal`.
pub(crate) fn compare_timetz(a: &TimeTz, b: &TimeTz) -> Ordering {
    let utc = |t: &TimeTz| t.usecs + i64::from(t.zone_secs) * USECS_PER_SEC;
    utc(a).cmp(&utc(b)).then(a.zone_secs.cmp(&b.zone_secs))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        check("date", "2024-01-31", "2024-01-31");
        check("date", "Jan 31, 2024", "2024-01-31");
        check("date", "20240131", "2024-01-31");
        check("date", "0001-01-01 BC", "0001-01-01 BC");
        check("date", "infinity", "infinity");
        check("time", "12:34", "12:34:00");
        check("time", "04:05:06.5 PM", "16:05:06.5");
        check("time", "040506", "04:05:06");
        check("time", "24:00", "24:00:00");
        check("time", "allballs", "00:00:00");
        check("timetz", "12:34:56+02", "12:34:56+02");
        check("timetz", "12:34:56 PST", "12:34:56-08");
        check_error("date", "nope", "22007 invalid input syntax for type date: \"nope\"");
        check_error("date", "2024-02-30", "22008 date/time field value out of range: \"2024-02-30\"");
        check_error("time", "25:00", "22008 date/time field value out of range: \"25:00\"");
        check_error("time", "x", "22007 invalid input syntax for type time: \"x\"");
    }
}
