//! interval as SQL calls it. C: timestamp.c.

use elog::Result;

use super::datetime::USECS_PER_DAY;
use super::interval::{self, out_of_range};
use super::timestamp_ops;
use crate::Interval;

comparisons! {
    Interval, Interval, |a, b| interval::compare(&a, &b) => interval_eq interval_ne interval_lt interval_le interval_gt interval_ge interval_cmp;
}

/// Whole months of 30 days out of the days. C: `interval_justify_days`.
fn justify_days(mut v: Interval) -> Result<Interval> {
    let whole = v.days / 30;
    v.days -= whole * 30;
    v.months = v.months.checked_add(whole).ok_or_else(out_of_range)?;
    if v.months > 0 && v.days < 0 {
        (v.months, v.days) = (v.months - 1, v.days + 30);
    } else if v.months < 0 && v.days > 0 {
        (v.months, v.days) = (v.months + 1, v.days - 30);
    }
    Ok(v)
}

/// Both, and one sign for all parts. C: `interval_justify_interval`.
fn justify(v: Interval) -> Result<Interval> {
    let total_days = i64::from(v.days) + v.usecs / USECS_PER_DAY;
    let mut usecs = v.usecs % USECS_PER_DAY;
    let mut months = i64::from(v.months) + total_days / 30;
    let mut days = total_days % 30;
    if months > 0 && (days < 0 || (days == 0 && usecs < 0)) {
        (days, months) = (days + 30, months - 1);
    } else if months < 0 && (days > 0 || (days == 0 && usecs > 0)) {
        (days, months) = (days - 30, months + 1);
    }
    if days > 0 && usecs < 0 {
        (usecs, days) = (usecs + USECS_PER_DAY, days - 1);
    } else if days < 0 && usecs > 0 {
        (usecs, days) = (usecs - USECS_PER_DAY, days + 1);
    }
    Ok(Interval {
        months: i32::try_from(months).map_err(|_| out_of_range())?,
        days: i32::try_from(days).map_err(|_| out_of_range())?,
        usecs,
    })
}

#[allow(clippy::too_many_arguments, reason = "the SQL function has seven")]
fn make(
    years: i32,
    months: i32,
    weeks: i32,
    days: i32,
    hours: i32,
    mins: i32,
    secs: f64,
) -> Result<Interval> {
    if !secs.is_finite() {
        return Err(out_of_range());
    }
    let all = || {
        let usecs = i64::from(hours) * 3_600_000_000 + i64::from(mins) * 60_000_000;
        let seconds = (secs * 1e6).round_ties_even();
        (seconds.abs() < 9.2e18).then_some(())?;
        Some(Interval {
            months: years.checked_mul(12)?.checked_add(months)?,
            days: weeks.checked_mul(7)?.checked_add(days)?,
            usecs: usecs.checked_add(seconds as i64)?,
        })
    };
    all().ok_or_else(out_of_range)
}

builtins! {
    fn interval_finite(a: Interval) -> bool { let _ = a; true }
    fn interval_pl(a: Interval, b: Interval) -> Interval { interval::add(&a, &b)? }
    fn interval_mi(a: Interval, b: Interval) -> Interval { interval::add(&a, &interval::negate(&b)?)? }
    fn interval_um(a: Interval) -> Interval { interval::negate(&a)? }
    fn interval_mul(a: Interval, factor: f64) -> Interval { interval::multiply(&a, factor)? }
    fn mul_d_interval(factor: f64, a: Interval) -> Interval { interval::multiply(&a, factor)? }
    fn interval_div(a: Interval, divisor: f64) -> Interval { interval::divide(&a, divisor)? }
    fn interval_larger(a: Interval, b: Interval) -> Interval { if interval::compare(&a, &b).is_gt() { a } else { b } }
    fn interval_smaller(a: Interval, b: Interval) -> Interval { if interval::compare(&a, &b).is_lt() { a } else { b } }
    fn interval_scale(a: Interval, typmod: i32) -> Interval { interval::apply_typmod(a, typmod)? }
    fn interval_justify_hours(a: Interval) -> Interval { timestamp_ops::justify_hours(a)? }
    fn interval_justify_days(a: Interval) -> Interval { justify_days(a)? }
    fn interval_justify_interval(a: Interval) -> Interval { justify(a)? }
    fn make_interval(y: i32, mo: i32, w: i32, d: i32, h: i32, mi: i32, s: f64) -> Interval {
        make(y, mo, w, d, h, mi, s)?
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn functions() {
        check_all(
            "
            interval:1 month 15 days  *  float8:1.5 => 1 mon 37 days 12:00:00
            interval:1 day  /  int4:3 => 08:00:00
            interval:1 year  /  float8:0 => ERROR 22012 division by zero
            interval:1 month  =  interval:30 days => t
            justify_hours(interval:27 hours) => 1 day 03:00:00
            justify_days(interval:35 days) => 1 mon 5 days
            justify_interval(interval:1 mon -1 hour) => 29 days 23:00:00
            make_interval(int4:1 | int4:2) => 1 year 2 mons
            make_interval() => 00:00:00
            ",
        );
    }
}
