//! date and time as SQL calls them, and CURRENT_DATE and its kin. C: date.c.

use common::SqlState;
use elog::{Result, error};

use super::date::{self, is_finite};
use super::datetime::{USECS_PER_DAY, USECS_PER_SEC, offset_at};
use super::interval;
use super::timestamp::{self, round_time, to_local};
use super::timestamp_ops::{from_date, make_clock, make_days, plus, utc_for_compare};
use crate::datum::{Date, Time, Timestamp, TimestampTz};
use crate::fmgr::Session;
use crate::settings::time_zone;
use crate::{Datum, Interval, TimeTz};

/// A date as a local time, for comparison only: what does not fit counts as infinite.
fn as_timestamp(d: Date) -> i64 {
    from_date(d.0).unwrap_or(timestamp::INFINITY)
}

comparisons! {
    Date, Date, |a, b| a.cmp(&b) => date_eq date_ne date_lt date_le date_gt date_ge date_cmp;
    Date, Timestamp, |a, b| as_timestamp(a).cmp(&b.0) => date_eq_timestamp date_ne_timestamp date_lt_timestamp date_le_timestamp date_gt_timestamp date_ge_timestamp date_cmp_timestamp;
    Timestamp, Date, |a, b| a.0.cmp(&as_timestamp(b)) => timestamp_eq_date timestamp_ne_date timestamp_lt_date timestamp_le_date timestamp_gt_date timestamp_ge_date timestamp_cmp_date;
    Date, TimestampTz, |a, b| utc_for_compare(as_timestamp(a)).cmp(&b.0) => date_eq_timestamptz date_ne_timestamptz date_lt_timestamptz date_le_timestamptz date_gt_timestamptz date_ge_timestamptz date_cmp_timestamptz;
    TimestampTz, Date, |a, b| a.0.cmp(&utc_for_compare(as_timestamp(b))) => timestamptz_eq_date timestamptz_ne_date timestamptz_lt_date timestamptz_le_date timestamptz_gt_date timestamptz_ge_date timestamptz_cmp_date;
    Time, Time, |a, b| a.cmp(&b) => time_eq time_ne time_lt time_le time_gt time_ge time_cmp;
    TimeTz, TimeTz, |a, b| date::compare_timetz(&a, &b) => timetz_eq timetz_ne timetz_lt timetz_le timetz_gt timetz_ge timetz_cmp;
}

fn plus_days(d: Date, days: i64) -> Result<Date> {
    if !is_finite(d.0) {
        return Ok(d);
    }
    date::from_days(i64::from(d.0) + days).map(Date)
}

fn wrap(usecs: i64, span: i64) -> i64 {
    (usecs + span % USECS_PER_DAY).rem_euclid(USECS_PER_DAY)
}

builtins! {
    fn date_finite(a: Date) -> bool { is_finite(a.0) }
    fn date_larger(a: Date, b: Date) -> Date { a.max(b) }
    fn date_smaller(a: Date, b: Date) -> Date { a.min(b) }
    fn date_mi(a: Date, b: Date) -> i32 {
        if !is_finite(a.0) || !is_finite(b.0) {
            return Err(error!(SqlState::DATETIME_VALUE_OUT_OF_RANGE, "cannot subtract infinite dates"));
        }
        a.0.wrapping_sub(b.0)
    }
    fn date_pli(a: Date, days: i32) -> Date { plus_days(a, i64::from(days))? }
    fn date_mii(a: Date, days: i32) -> Date { plus_days(a, -i64::from(days))? }
    fn integer_pl_date(days: i32, a: Date) -> Date { plus_days(a, i64::from(days))? }
    fn date_pl_interval(a: Date, b: Interval) -> Timestamp { Timestamp(plus(from_date(a.0)?, &b)?) }
    fn date_mi_interval(a: Date, b: Interval) -> Timestamp {
        Timestamp(plus(from_date(a.0)?, &interval::negate(&b)?)?)
    }
    fn interval_pl_date(a: Interval, b: Date) -> Timestamp { Timestamp(plus(from_date(b.0)?, &a)?) }
    fn timedate_pl(a: Time, b: Date) -> Timestamp {
        let day = from_date(b.0)?;
        Timestamp(if timestamp::is_finite(day) { day + a.0 } else { day })
    }
    fn timetzdate_pl(a: TimeTz, b: Date) -> TimestampTz {
        let day = from_date(b.0)?;
        let shifted = a.usecs + i64::from(a.zone_secs) * USECS_PER_SEC;
        TimestampTz(if timestamp::is_finite(day) { day + shifted } else { day })
    }
    fn make_date(y: i32, m: i32, d: i32) -> Date { Date(make_days(y, m, d)? as i32) }
    fn make_time(h: i32, m: i32, s: f64) -> Time { Time(make_clock(h, m, s)?) }
    fn time_larger(a: Time, b: Time) -> Time { a.max(b) }
    fn time_smaller(a: Time, b: Time) -> Time { a.min(b) }
    fn time_scale(a: Time, typmod: i32) -> Time { Time(round_time(a.0, typmod)) }
    fn time_pl_interval(a: Time, b: Interval) -> Time { Time(wrap(a.0, b.usecs)) }
    fn interval_pl_time(a: Interval, b: Time) -> Time { Time(wrap(b.0, a.usecs)) }
    fn time_mi_interval(a: Time, b: Interval) -> Time { Time(wrap(a.0, -(b.usecs % USECS_PER_DAY))) }
    fn time_mi_time(a: Time, b: Time) -> Interval { Interval { usecs: a.0 - b.0, ..Interval::default() } }
    fn time_interval(a: Time) -> Interval { Interval { usecs: a.0, ..Interval::default() } }
    fn interval_time(a: Interval) -> Time { Time(a.usecs.rem_euclid(USECS_PER_DAY)) }
    fn time_timetz(@cx; a: Time) -> TimeTz {
        TimeTz { usecs: a.0, zone_secs: -offset_at(&time_zone(), cx.session.transaction_timestamp) }
    }
    fn timetz_time(a: TimeTz) -> Time { Time(a.usecs) }
    fn timetz_scale(a: TimeTz, typmod: i32) -> TimeTz { TimeTz { usecs: round_time(a.usecs, typmod), ..a } }
    fn timetz_larger(a: TimeTz, b: TimeTz) -> TimeTz { if date::compare_timetz(&a, &b).is_gt() { a } else { b } }
    fn timetz_smaller(a: TimeTz, b: TimeTz) -> TimeTz { if date::compare_timetz(&a, &b).is_lt() { a } else { b } }
    fn timetz_pl_interval(a: TimeTz, b: Interval) -> TimeTz { TimeTz { usecs: wrap(a.usecs, b.usecs), ..a } }
    fn timetz_mi_interval(a: TimeTz, b: Interval) -> TimeTz {
        TimeTz { usecs: wrap(a.usecs, -(b.usecs % USECS_PER_DAY)), ..a }
    }
    fn interval_pl_timetz(a: Interval, b: TimeTz) -> TimeTz { TimeTz { usecs: wrap(b.usecs, a.usecs), ..b } }
}

/// The parameterless time functions that are grammar, not pg_proc rows. C: `SQLValueFunctionOp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlValue {
    /// CURRENT_DATE: date.
    CurrentDate,
    /// CURRENT_TIME: time with time zone.
    CurrentTime,
    /// CURRENT_TIMESTAMP: timestamp with time zone.
    CurrentTimestamp,
    /// LOCALTIME: time.
    LocalTime,
    /// LOCALTIMESTAMP: timestamp.
    LocalTimestamp,
}

/// Evaluates CURRENT_DATE and its kin at the transaction's start; `precision` is the number in parentheses or -1.
pub fn sql_value(which: SqlValue, precision: i32, session: &Session<'_>) -> Result<Datum> {
    let at = session.transaction_timestamp;
    let local = to_local(at)?;
    let time = round_time(local.rem_euclid(USECS_PER_DAY), precision);
    Ok(match which {
        SqlValue::CurrentDate => Datum::Date(date::from_days(local.div_euclid(USECS_PER_DAY))?),
        SqlValue::CurrentTime => {
            Datum::TimeTz(TimeTz { usecs: time, zone_secs: -offset_at(&time_zone(), at) })
        }
        SqlValue::CurrentTimestamp => Datum::TimestampTz(timestamp::round(at, precision)?),
        SqlValue::LocalTime => Datum::Time(time),
        SqlValue::LocalTimestamp => Datum::Timestamp(timestamp::round(local, precision)?),
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn arithmetic() {
        check_all(
            "
            date:2024-03-01  -  date:2024-02-01 => 29
            date:2024-02-28  +  int4:2 => 2024-03-01
            date:2024-01-31  +  interval:1 month => 2024-02-29 00:00:00
            date:2024-01-31  <  timestamp:2024-01-31 00:00:01 => t
            time:23:00  +  interval:2 h => 01:00:00
            time:01:00  -  time:02:00 => -01:00:00
            make_date(int4:2020 | int4:13 | int4:1) => ERROR 22008 date field value out of range: 2020-13-01
            make_time(int4:25 | int4:0 | float8:0) => ERROR 22008 time field value out of range: 25:00:00
            date:infinity  -  date:infinity => ERROR 22008 cannot subtract infinite dates
            date:2020-01-01  +  int4:2147483647 => ERROR 22008 date out of range
            ",
        );
    }
}
