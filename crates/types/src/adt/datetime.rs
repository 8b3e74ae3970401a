//! The calendar, the clock and time zones, below the types that use them. C: datetime.c, pgtz.c, localtime.c.

use common::SqlState;
use elog::{PgError, Result, error};
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Microseconds per second.
pub(crate) const USECS_PER_SEC: i64 = 1_000_000;
/// Microseconds per day.
pub(crate) const USECS_PER_DAY: i64 = 86_400 * USECS_PER_SEC;
/// Days from 1970-01-01 to 2000-01-01.
const UNIX_EPOCH_DAYS: i64 = 10_957;
/// Julian day of 2000-01-01. C: `POSTGRES_EPOCH_JDATE`.
pub(crate) const EPOCH_JULIAN: i64 = 2_451_545;

/// A broken-down moment. C: `struct pg_tm` with `fsec_t`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Civil {
    /// Astronomical: 0 is 1 BC.
    pub(crate) year: i32,
    /// 1 to 12.
    pub(crate) month: i32,
    /// 1 to 31.
    pub(crate) day: i32,
    pub(crate) hour: i32,
    pub(crate) minute: i32,
    pub(crate) second: i32,
    pub(crate) usec: i32,
}

/// Days since 2000-01-01 of a date of the proleptic Gregorian calendar. C: `date2j`.
pub(crate) fn days_from_civil(year: i32, month: i32, day: i32) -> i64 {
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    // Years begin in March here, so that the leap day comes last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468 - UNIX_EPOCH_DAYS
}

/// The date that many days after 2000-01-01. C: `j2date`.
pub(crate) fn civil_from_days(days: i64) -> (i32, i32, i32) {
    let shifted = days + UNIX_EPOCH_DAYS + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year as i32, month as i32, day as i32)
}

/// Whether February has 29 days.
pub(crate) fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month.
pub(crate) fn days_in_month(year: i32, month: i32) -> i32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// 0 is Sunday. C: `j2day`.
pub(crate) fn weekday(days: i64) -> i32 {
    // 2000-01-01 was a Saturday.
    (days + 6).rem_euclid(7) as i32
}

/// ISO 8601 week and the year it belongs to. C: `date2isoweek`, `date2isoyear`.
pub(crate) fn iso_week(year: i32, month: i32, day: i32) -> (i32, i32) {
    let days = days_from_civil(year, month, day);
    let monday = days - i64::from((weekday(days) + 6) % 7);
    let iso_year = civil_from_days(monday + 3).0;
    let first = iso_week_start(iso_year, 1);
    (iso_year, ((monday - first) / 7 + 1) as i32)
}

/// The Monday of an ISO week. C: `isoweek2j`.
pub(crate) fn iso_week_start(iso_year: i32, week: i32) -> i64 {
    let jan4 = days_from_civil(iso_year, 1, 4);
    jan4 - i64::from((weekday(jan4) + 6) % 7) + i64::from(week - 1) * 7
}

impl Civil {
    /// From microseconds since 2000-01-01 00:00, no zone applied.
    pub(crate) fn from_usecs(usecs: i64) -> Civil {
        let (year, month, day) = civil_from_days(usecs.div_euclid(USECS_PER_DAY));
        let mut c = Civil::from_time(usecs.rem_euclid(USECS_PER_DAY));
        (c.year, c.month, c.day) = (year, month, day);
        c
    }

    /// Only the clock, from microseconds since midnight (24:00:00 stays 24).
    pub(crate) fn from_time(usecs: i64) -> Civil {
        let seconds = usecs / USECS_PER_SEC;
        Civil {
            hour: (seconds / 3600) as i32,
            minute: (seconds / 60 % 60) as i32,
            second: (seconds % 60) as i32,
            usec: (usecs % USECS_PER_SEC) as i32,
            ..Civil::default()
        }
    }

    /// Days since 2000-01-01.
    pub(crate) fn days(&self) -> i64 {
        days_from_civil(self.year, self.month, self.day)
    }

    /// Microseconds since midnight.
    pub(crate) fn time_usecs(&self) -> i64 {
        (i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second)) * USECS_PER_SEC
            + i64::from(self.usec)
    }

    /// Microseconds since 2000-01-01 00:00; `None` beyond i64.
    pub(crate) fn usecs(&self) -> Option<i64> {
        self.days().checked_mul(USECS_PER_DAY)?.checked_add(self.time_usecs())
    }
}

/// What jiff can represent, with some slack.
const JIFF_MIN: i64 = -377_000_000_000;
const JIFF_MAX: i64 = 253_000_000_000;

fn jiff_timestamp(usecs: i64) -> jiff::Timestamp {
    let seconds = usecs.div_euclid(USECS_PER_SEC) + UNIX_EPOCH_DAYS * 86_400;
    // Far away, the rules of the first or last year that jiff knows are taken.
    jiff::Timestamp::from_second(seconds.clamp(JIFF_MIN, JIFF_MAX)).unwrap_or_default()
}

/// Seconds east of UTC that hold in the zone at a moment (microseconds since 2000 UTC).
pub(crate) fn offset_at(zone: &TimeZone, usecs: i64) -> i32 {
    if *zone == TimeZone::UTC {
        return 0;
    }
    zone.to_offset(jiff_timestamp(usecs)).seconds()
}

/// The zone's abbreviation at a moment: `CET`, or `+03` where the zone has no letters.
pub(crate) fn abbreviation_at(zone: &TimeZone, usecs: i64) -> String {
    zone.to_offset_info(jiff_timestamp(usecs)).abbreviation().to_string()
}

/// Seconds east of UTC for a local time. In the gap when clocks go forward the old offset is taken, in the
/// repeated hour the new one. C: `DetermineTimeZoneOffset`.
pub(crate) fn offset_of_local(zone: &TimeZone, local_usecs: i64) -> i32 {
    if *zone == TimeZone::UTC {
        return 0;
    }
    let c = Civil::from_usecs(local_usecs);
    let date = civil::Date::new(c.year.clamp(-9998, 9998) as i16, c.month as i8, c.day as i8);
    let Ok(date) = date else { return offset_at(zone, local_usecs) };
    let local = date.at(c.hour as i8, c.minute as i8, c.second as i8, 0);
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.seconds(),
        AmbiguousOffset::Gap { before, .. } => before.seconds(),
        AmbiguousOffset::Fold { after, .. } => after.seconds(),
    }
}

/// Zone abbreviations of the default set with their seconds east of UTC. C: timezonesets/Default.
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("acdt", 37_800),
    ("acst", 34_200),
    ("adt", -10_800),
    ("aedt", 39_600),
    ("aest", 36_000),
    ("akdt", -28_800),
    ("akst", -32_400),
    ("ast", -14_400),
    ("awst", 28_800),
    ("bst", 3600),
    ("cdt", -18_000),
    ("cest", 7200),
    ("cet", 3600),
    ("cst", -21_600),
    ("eat", 10_800),
    ("edt", -14_400),
    ("eest", 10_800),
    ("eet", 7200),
    ("est", -18_000),
    ("gmt", 0),
    ("hkt", 28_800),
    ("hst", -36_000),
    ("ist", 7200),
    ("jst", 32_400),
    ("kst", 32_400),
    ("mdt", -21_600),
    ("mest", 7200),
    ("met", 3600),
    ("msk", 10_800),
    ("mst", -25_200),
    ("ndt", -9000),
    ("nst", -12_600),
    ("nzdt", 46_800),
    ("nzst", 43_200),
    ("pdt", -25_200),
    ("pst", -28_800),
    ("sast", 7200),
    ("ut", 0),
    ("utc", 0),
    ("uct", 0),
    ("west", 3600),
    ("wet", 0),
    ("z", 0),
    ("zulu", 0),
];

/// Seconds east of UTC of an abbreviation.
pub(crate) fn abbreviation_offset(name: &str) -> Option<i32> {
    let lower = name.to_ascii_lowercase();
    ABBREVIATIONS.binary_search_by_key(&lower.as_str(), |a| a.0).ok().map(|i| ABBREVIATIONS[i].1).or_else(
        || {
            // The table is in order but for a few that were put where a reader looks for them.
            ABBREVIATIONS.iter().find(|a| a.0 == lower).map(|a| a.1)
        },
    )
}

/// A zone by full name (`Europe/Paris`, any case), POSIX rule, or numeric offset in POSIX's direction (`+3` is
/// west of UTC). C: `pg_tzset`.
pub fn zone_by_name(name: &str) -> Option<TimeZone> {
    let is_name = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+' | ':' | ',' | '.' | '<' | '>')
    };
    if name.is_empty() || !name.chars().all(is_name) || name.contains("..") || name.starts_with('/') {
        return None;
    }
    if name.eq_ignore_ascii_case("utc") || name.eq_ignore_ascii_case("gmt") {
        return Some(if name.eq_ignore_ascii_case("utc") { TimeZone::UTC } else { gmt() });
    }
    if let Ok(zone) = TimeZone::get(name) {
        return Some(zone);
    }
    if let Some(west) = parse_offset(name) {
        return fixed_zone(-west);
    }
    TimeZone::posix(name).ok()
}

fn gmt() -> TimeZone {
    TimeZone::get("GMT").unwrap_or(TimeZone::UTC)
}

/// A zone that never changes, `secs` east of UTC.
pub(crate) fn fixed_zone(east_secs: i32) -> Option<TimeZone> {
    jiff::tz::Offset::from_seconds(east_secs).ok().map(TimeZone::fixed)
}

/// `+hh`, `-hhmm`, `+hh:mm`, `+hh:mm:ss` to seconds (positive for `+`). C: `DecodeTimezone`.
pub(crate) fn parse_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let number = |s: &str| -> Option<i32> {
        (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse().ok())?
    };
    let parts: Vec<&str> = rest.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [h] if h.len() > 4 => {
            (number(&h[..h.len() - 4])?, number(&h[h.len() - 4..h.len() - 2])?, number(&h[h.len() - 2..])?)
        }
        [h] if h.len() > 2 => (number(&h[..h.len() - 2])?, number(&h[h.len() - 2..])?, 0),
        [h] => (number(h)?, 0, 0),
        [h, m] => (number(h)?, number(m)?, 0),
        [h, m, s] => (number(h)?, number(m)?, number(s)?),
        _ => return None,
    };
    (minutes < 60 && seconds < 60 && hours < 1000).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// Furthest a zone may be from UTC: 15:59:59. C: `MAX_TZDISP_HOUR`.
pub(crate) const MAX_OFFSET_SECS: i32 = 16 * 3600;

/// The zone named in `AT TIME ZONE 'name'` and kin: a full name or an abbreviation (then its fixed offset).
/// C: the lookup in `timestamp_zone`.
pub(crate) fn zone_for_operator(name: &str) -> Result<TimeZone> {
    if let Some(east) = abbreviation_offset(name) {
        return fixed_zone(east).ok_or_else(|| unknown_zone(name));
    }
    zone_by_name(name).ok_or_else(|| unknown_zone(name))
}

/// `time zone "x" not recognized`.
#[cold]
pub(crate) fn unknown_zone(name: &str) -> PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "time zone \"{name}\" not recognized")
}

/// Full names, Sunday first.
pub(crate) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// Full names, January first.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// 1 to 12 for a month's name or its usual abbreviations.
pub(crate) fn month_by_name(word: &str) -> Option<i32> {
    let lower = word.to_ascii_lowercase();
    let position = MONTHS.iter().position(|m| {
        let m = m.to_ascii_lowercase();
        lower == m || (lower.len() == 3 && m.starts_with(&lower)) || (lower == "sept" && m == "september")
    });
    position.map(|i| i as i32 + 1)
}

/// Whether the word names a day of the week.
pub(crate) fn is_weekday_name(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let short = ["sun", "mon", "tue", "tues", "wed", "weds", "thu", "thur", "thurs", "fri", "sat"];
    short.contains(&lower.as_str()) || WEEKDAYS.iter().any(|d| d.eq_ignore_ascii_case(&lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_round_trip() {
        for days in (-2_451_545..110_000_000).step_by(9973) {
            let (y, m, d) = civil_from_days(days);
            assert_eq!(days_from_civil(y, m, d), days);
        }
        assert_eq!(civil_from_days(0), (2000, 1, 1));
        assert_eq!(civil_from_days(-1), (1999, 12, 31));
        assert_eq!(weekday(0), 6);
        assert_eq!(iso_week(2021, 1, 3), (2020, 53));
    }

    #[test]
    fn zones() {
        let paris = zone_by_name("europe/paris").unwrap();
        assert_eq!(offset_at(&paris, 0), 3600);
        assert_eq!(abbreviation_at(&paris, 0), "CET");
        // 2024-03-31 02:30 does not exist there, 2024-10-27 02:30 exists twice.
        let local = |m, d| {
            Civil { year: 2024, month: m, day: d, hour: 2, minute: 30, ..Civil::default() }.usecs().unwrap()
        };
        assert_eq!(offset_of_local(&paris, local(3, 31)), 3600);
        assert_eq!(offset_of_local(&paris, local(10, 27)), 3600);
        assert_eq!(offset_of_local(&paris, local(7, 1)), 7200);
        assert!(zone_by_name("Nowhere/Land").is_none());
        assert!(zone_by_name("../etc/passwd").is_none());
        assert_eq!(abbreviation_offset("PST"), Some(-28_800));
        assert_eq!(abbreviation_offset("uct"), Some(0));
    }
}
