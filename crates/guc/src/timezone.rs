//! Time zones by name, offset or POSIX rule, and the two that settings name.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::tz::{Offset, TimeZone};

use crate::value::Complaint;
use crate::var::StringVar;
use crate::vars;

/// Offsets are whole hours up to a week, as the C library's TZ strings have it.
const HOURS_MAX: f64 = 168.0;

/// The zone and its canonical name, `America/New_York` for `america/new_york` and `<+05>-05` for `5`. C:
/// `check_timezone`, `pg_tzset`.
pub(crate) fn resolve(text: &str) -> Result<(String, TimeZone), Complaint> {
    if let Some(interval) = strip_prefix_ignore_case(text, "interval") {
        return from_hours(interval_hours(interval)?);
    }
    if let Ok(hours) = text.trim_start().parse::<f64>() {
        return from_hours(hours);
    }
    if let Ok(zone) = TimeZone::get(text) {
        // The name that means "unknown" to the library is no zone to us.
        if let Some(name) = zone.iana_name().filter(|name| *name != "Etc/Unknown") {
            return Ok((name.to_owned(), zone));
        }
    }
    let posix = text.to_ascii_uppercase();
    match TimeZone::posix(&posix) {
        Ok(zone) => Ok((posix, zone)),
        Err(_) => Err(Complaint::default()),
    }
}

fn strip_prefix_ignore_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

/// A fixed offset east of Greenwich. C: `pg_tzset_offset`.
fn from_hours(hours: f64) -> Result<(String, TimeZone), Complaint> {
    let out_of_range = || Complaint::detail("UTC timezone offset is out of range.");
    if hours.is_nan() || hours.abs() >= HOURS_MAX {
        return Err(out_of_range());
    }
    let seconds = (hours * 3600.0) as i32;
    let zone = TimeZone::fixed(Offset::from_seconds(seconds).map_err(|_| out_of_range())?);
    let (h, m, s) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    let mut digits = format!("{h:02}");
    if m != 0 || s != 0 {
        digits.push_str(&format!(":{m:02}"));
    }
    if s != 0 {
        digits.push_str(&format!(":{s:02}"));
    }
    // A POSIX rule counts west of Greenwich, its abbreviation east.
    let name = if seconds < 0 { format!("<-{digits}>+{digits}") } else { format!("<+{digits}>-{digits}") };
    Ok((name, zone))
}

/// Hours of `'-08:00' HOUR TO MINUTE` or `'2 hours'`, what SET TIME ZONE INTERVAL makes.
fn interval_hours(text: &str) -> Result<f64, Complaint> {
    let quoted = text.trim_start().strip_prefix('\'').ok_or_else(Complaint::default)?;
    let (inner, _) = quoted.split_once('\'').ok_or_else(Complaint::default)?;
    if inner.contains("mon") || inner.contains("year") {
        return Err(Complaint::detail("Cannot specify months in time zone interval."));
    }
    if inner.contains("day") {
        return Err(Complaint::detail("Cannot specify days in time zone interval."));
    }
    let inner = inner.trim();
    let digits = inner.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let mut hours = 0.0;
    let mut scale = 1.0;
    for part in digits.split(':') {
        let number: f64 = part.parse().map_err(|_| Complaint::default())?;
        hours += number * scale;
        scale /= 60.0;
    }
    Ok(sign * hours)
}

/// The zone with this name, as `SET TIME ZONE` understands it.
pub fn lookup_timezone(name: &str) -> Option<TimeZone> {
    resolve(name).ok().map(|(_, zone)| zone)
}

/// The zone of the setting `TimeZone`, looked up again only when that has changed.
pub fn session_timezone() -> TimeZone {
    static CACHE: Mutex<Cached> = Mutex::new(None);
    cached(&CACHE, &vars::TIMEZONE)
}

/// The zone of the setting `log_timezone`.
pub fn log_timezone() -> TimeZone {
    static CACHE: Mutex<Cached> = Mutex::new(None);
    cached(&CACHE, &vars::LOG_TIMEZONE)
}

/// A moment of WAL (microseconds since 2000-01-01) as messages show it: in the zone of `TimeZone` and in ISO style,
/// whatever `DateStyle` says. C: `timestamptz_to_str`.
pub fn timestamptz_text(pg_micros: i64) -> String {
    text_in(session_timezone(), pg_micros)
}

fn text_in(zone: TimeZone, pg_micros: i64) -> String {
    const PG_EPOCH_MICROS: i64 = 946_684_800_000_000;
    let unix = pg_micros.saturating_add(PG_EPOCH_MICROS);
    let moment = jiff::Timestamp::from_microsecond(unix).unwrap_or_default().to_zoned(zone);
    let text = moment.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string();
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let offset = moment.offset().seconds();
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes, seconds) = (offset.abs() / 3600, offset.abs() / 60 % 60, offset.abs() % 60);
    match (minutes, seconds) {
        (0, 0) => format!("{text}{sign}{hours:02}"),
        (_, 0) => format!("{text}{sign}{hours:02}:{minutes:02}"),
        _ => format!("{text}{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

type Cached = Option<(Arc<str>, TimeZone)>;

fn cached(cache: &Mutex<Cached>, var: &StringVar) -> TimeZone {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    let name = var.get();
    match &*cache {
        Some((cached, zone)) if Arc::ptr_eq(cached, &name) || *cached == name => zone.clone(),
        _ => {
            let zone = lookup_timezone(&name).unwrap_or(TimeZone::UTC);
            *cache = Some((name, zone.clone()));
            zone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_wal() {
        for (micros, text) in [
            (0, "2000-01-01 00:00:00+00"),
            (492_286_825_824_000, "2015-08-07 18:20:25.824+00"),
            (-1, "1999-12-31 23:59:59.999999+00"),
        ] {
            assert_eq!(text_in(TimeZone::UTC, micros), text);
        }
        let kolkata = lookup_timezone("Asia/Kolkata").unwrap();
        assert_eq!(text_in(kolkata, 0), "2000-01-01 05:30:00+05:30");
    }

    /// Recorded from PostgreSQL 15.20.
    #[test]
    fn canonical_names() {
        for (text, name) in [
            ("america/new_york", "America/New_York"),
            ("EST5EDT", "EST5EDT"),
            ("-3.5", "<-03:30>+03:30"),
            ("5", "<+05>-05"),
            ("5e0", "<+05>-05"),
            ("20", "<+20>-20"),
            ("utc", "UTC"),
            ("gmt", "GMT"),
            ("Etc/UTC", "Etc/UTC"),
            ("Etc/GMT", "Etc/GMT"),
            ("zulu", "Zulu"),
            ("cet", "CET"),
            ("<+02>-2", "<+02>-2"),
            ("FOO+3", "FOO+3"),
            ("gmt+5", "GMT+5"),
            ("PST8PDT,M3.2.0,M11.1.0", "PST8PDT,M3.2.0,M11.1.0"),
            ("interval '2 hours'", "<+02>-02"),
            ("INTERVAL '-08:00' HOUR TO MINUTE", "<-08>+08"),
        ] {
            let resolved = resolve(text).map(|(name, _)| name);
            assert_eq!(resolved.ok().as_deref(), Some(name), "{text}");
        }
        for bad in ["foo", "", "local", "A/../B", "5.25x", "nan", "interval '1 month'", "interval"] {
            assert!(resolve(bad).is_err(), "{bad}");
        }
        let far = resolve("200").map(|_| ()).unwrap_err();
        assert_eq!(far.detail.as_deref(), Some("UTC timezone offset is out of range."));
    }
}
