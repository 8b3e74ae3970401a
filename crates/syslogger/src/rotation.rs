//! When a new log file is due.
//!
//! C counterparts: `set_next_rotation_time` and the decisions inside the loop of `SysLoggerMain`.

use jiff::tz::TimeZone;

/// The next multiple of `age_minutes` in local time after `now`: with one day, the next midnight; `None` if
/// files do not age. Seconds since 1970.
pub(crate) fn next_rotation_time(now: i64, age_minutes: i32, timezone: &TimeZone) -> Option<i64> {
    let interval = i64::from(age_minutes) * 60;
    if interval <= 0 {
        return None;
    }
    let offset =
        i64::from(timezone.to_offset(jiff::Timestamp::from_second(now).unwrap_or_default()).seconds());
    let local = now + offset;
    Some(local - local.rem_euclid(interval) + interval - offset)
}

/// Why files are being changed, for each destination in the order of `Destination::ALL`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Their time has come.
    pub(crate) by_age: bool,
    /// They are full, or somebody asked.
    pub(crate) files: [bool; 3],
}

impl Due {
    /// Somebody asked: every file, whatever its age and size.
    pub(crate) const ON_REQUEST: Due = Due { by_age: false, files: [true; 3] };

    /// Looks at clock and sizes; `None` if nothing is due.
    pub(crate) fn look(
        now: i64,
        next_rotation: Option<i64>,
        sizes: [u64; 3],
        size_max_kb: i32,
    ) -> Option<Due> {
        let by_age = next_rotation.is_some_and(|at| now >= at);
        let mut files = [by_age; 3];
        if !by_age && size_max_kb > 0 {
            let limit = u64::from(size_max_kb.unsigned_abs()) * 1024;
            files = sizes.map(|size| size >= limit);
        }
        (by_age || files.contains(&true)).then_some(Due { by_age, files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i32 = 1440;

    #[track_caller]
    fn check(now: &str, age_minutes: i32, zone: &str, expected: &str) {
        let seconds = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        let zone = elog::timezone(zone).unwrap();
        assert_eq!(next_rotation_time(seconds(now), age_minutes, &zone), Some(seconds(expected)));
    }

    #[test]
    fn ages_are_aligned_in_local_time() {
        check("2026-11-21T09:15:31Z", DAY, "UTC", "2026-11-22T00:00:00Z");
        check("2026-11-21T09:15:31Z", DAY, "CST-8", "2026-11-21T16:00:00Z");
        check("2026-11-21T09:15:31Z", 60, "UTC", "2026-11-21T10:00:00Z");
        check("2026-11-21T09:15:31Z", 60, "<+0530>-5:30", "2026-11-21T09:30:00Z");
        check("2026-11-21T09:15:31Z", 1, "UTC", "2026-11-21T09:16:00Z");
    }

    #[test]
    fn on_the_dot_it_is_the_next_one() {
        check("2026-11-21T10:00:00Z", 60, "UTC", "2026-11-21T11:00:00Z");
        check("1960-01-01T00:00:01Z", DAY, "UTC", "1960-01-02T00:00:00Z");
    }

    #[test]
    fn age_zero_never_comes() {
        assert_eq!(next_rotation_time(0, 0, &TimeZone::UTC), None);
    }

    #[test]
    fn what_is_due() {
        let kb = 1024;
        assert_eq!(Due::look(9, Some(10), [0; 3], 1), None);
        assert_eq!(Due::look(10, Some(10), [0; 3], 1), Some(Due { by_age: true, files: [true; 3] }));
        let csv_full = Due { by_age: false, files: [false, true, false] };
        assert_eq!(Due::look(9, Some(10), [kb - 1, kb, 0], 1), Some(csv_full));
        assert_eq!(Due::look(9, None, [u64::MAX; 3], 0), None, "0 turns the limit off");
    }
}
