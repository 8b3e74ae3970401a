//! Points in time as the log prints them.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;

/// Seconds and microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00:00 UTC.
    pub seconds: i64,
    /// 0 to 999,999.
    pub micros: u32,
}

impl Timestamp {
    /// This moment.
    pub fn now() -> Timestamp {
        SystemTime::now().into()
    }

    /// From microseconds since 1970.
    pub fn from_unix_micros(micros: i64) -> Timestamp {
        Timestamp { seconds: micros.div_euclid(1_000_000), micros: micros.rem_euclid(1_000_000) as u32 }
    }

    /// Microseconds since 1970.
    pub fn unix_micros(self) -> i64 {
        self.seconds.saturating_mul(1_000_000).saturating_add(i64::from(self.micros))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Timestamp { seconds: since.as_secs() as i64, micros: since.subsec_micros() },
            Err(before) => Timestamp::from_unix_micros(-(before.duration().as_micros() as i64)),
        }
    }
}

/// `2015-08-03 17:20:25` and the zone's abbreviation for one second, kept because the next line usually falls
/// into the same one.
#[derive(Debug, Default)]
pub(crate) struct SecondCache {
    second: Option<i64>,
    date_time: String,
    zone: String,
}

impl SecondCache {
    pub(crate) fn forget(&mut self) {
        self.second = None;
    }

    /// Appends `2015-08-03 17:20:25.824 CST`, or without `.824`.
    pub(crate) fn append(
        &mut self,
        out: &mut Vec<u8>,
        at: Timestamp,
        with_millis: bool,
        timezone: &TimeZone,
    ) {
        if self.second != Some(at.seconds) {
            self.fill(at.seconds, timezone);
        }
        out.extend_from_slice(self.date_time.as_bytes());
        if with_millis {
            let millis = at.micros / 1000 % 1000;
            let digit = |n: u32| b'0' + (n % 10) as u8;
            out.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis)]);
        }
        out.push(b' ');
        out.extend_from_slice(self.zone.as_bytes());
    }

    fn fill(&mut self, second: i64, timezone: &TimeZone) {
        use std::fmt::Write;
        let at = jiff::Timestamp::from_second(second).unwrap_or_default();
        let local = timezone.to_datetime(at);
        self.date_time.clear();
        let _ = write!(
            self.date_time,
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second()
        );
        self.zone.clear();
        self.zone.push_str(timezone.to_offset_info(at).abbreviation());
        self.second = Some(second);
    }
}

/// The zone of this name or POSIX rule; `None` if there is no such zone.
pub fn timezone(name: &str) -> Option<TimeZone> {
    // jiff calls these two by one name; PostgreSQL prints GMT for GMT.
    if name.eq_ignore_ascii_case("gmt") {
        return TimeZone::get("Etc/GMT").ok().or_else(|| TimeZone::posix("GMT0").ok());
    }
    if name.eq_ignore_ascii_case("utc") {
        return Some(TimeZone::UTC);
    }
    TimeZone::get(name).ok().or_else(|| TimeZone::posix(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(zone: &str, at: Timestamp, expected: &str) {
        let mut out = Vec::new();
        SecondCache::default().append(&mut out, at, true, &timezone(zone).unwrap());
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn milliseconds_are_cut_not_rounded() {
        let at = Timestamp { seconds: 1_438_593_625, micros: 824_999 };
        check("UTC", at, "2015-08-03 09:20:25.824 UTC");
        check("GMT", at, "2015-08-03 09:20:25.824 GMT");
        check("CST-8", at, "2015-08-03 17:20:25.824 CST");
        check("<+0330>-3:30", at, "2015-08-03 12:50:25.824 +0330");
    }

    #[test]
    fn the_cache_follows_the_second() {
        let (mut cache, mut out, utc) = (SecondCache::default(), Vec::new(), TimeZone::UTC);
        for (seconds, micros) in [(0, 0), (0, 999_000), (1, 1000)] {
            cache.append(&mut out, Timestamp { seconds, micros }, true, &utc);
            out.push(b'\n');
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "1970-01-01 00:00:00.000 UTC\n1970-01-01 00:00:00.999 UTC\n1970-01-01 00:00:01.001 UTC\n"
        );
    }

    #[test]
    fn micros_of_times_before_1970_stay_positive() {
        let t = Timestamp::from_unix_micros(-1);
        assert_eq!((t.seconds, t.micros, t.unix_micros()), (-1, 999_999, -1));
        assert_eq!(Timestamp::from(UNIX_EPOCH - std::time::Duration::from_micros(1)), t);
    }
}
