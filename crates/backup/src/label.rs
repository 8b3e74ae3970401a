//! The text of `backup_label` and of the history file, which share most of their lines.
//!
//! ```text
//! START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
//! CHECKPOINT LOCATION: 0/2000060
//! BACKUP METHOD: streamed
//! BACKUP FROM: primary
//! START TIME: 2026-11-21 15:10:00 UTC
//! LABEL: nightly
//! START TIMELINE: 1
//! ```
//!
//! Times are those of `log_timezone`, to the second.
//!
//! C counterpart: the label of `do_pg_backup_start`, the history file of `do_pg_backup_stop`.

use std::time::{SystemTime, UNIX_EPOCH};

use common::{Lsn, TimeLineId};
use jiff::tz::TimeZone;
use wal::{Geometry, segment};

/// What the label says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label<'a> {
    pub(crate) start_lsn: Lsn,
    pub(crate) checkpoint_lsn: Lsn,
    pub(crate) timeline: TimeLineId,
    pub(crate) from_standby: bool,
    /// Unix seconds.
    pub(crate) start_time: i64,
    pub(crate) label: &'a str,
}

impl Label<'_> {
    /// Content of `backup_label`.
    pub(crate) fn text(&self, geometry: Geometry, zone: &TimeZone) -> String {
        let file = segment::name(self.timeline, geometry.segment(self.start_lsn), geometry);
        format!("START WAL LOCATION: {} (file {file})\n{}", self.start_lsn, self.common_lines(zone))
    }

    /// The lines that the history file repeats.
    fn common_lines(&self, zone: &TimeZone) -> String {
        format!(
            "CHECKPOINT LOCATION: {}\nBACKUP METHOD: streamed\nBACKUP FROM: {}\nSTART TIME: {}\nLABEL: {}\n\
             START TIMELINE: {}\n",
            self.checkpoint_lsn,
            if self.from_standby { "standby" } else { "primary" },
            time_text(self.start_time, zone),
            self.label,
            self.timeline.0,
        )
    }
}

/// What a history file says beyond its backup's label.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) stop_lsn: Lsn,
    pub(crate) timeline: TimeLineId,
    /// Unix seconds.
    pub(crate) stop_time: i64,
}

/// Content of the history file: the label with the end added, each place of WAL with its file.
pub(crate) fn history_text(label_file: &str, end: &End, geometry: Geometry, zone: &TimeZone) -> String {
    let (start, rest) = label_file.split_once('\n').unwrap_or((label_file, ""));
    let last = segment::name(end.timeline, geometry.previous_segment(end.stop_lsn), geometry);
    format!(
        "{start}\nSTOP WAL LOCATION: {} (file {last})\n{rest}STOP TIME: {}\nSTOP TIMELINE: {}\n",
        end.stop_lsn,
        time_text(end.stop_time, zone),
        end.timeline.0
    )
}

/// `2026-11-21 15:10:00 UTC`. C: `pg_strftime` with `%Y-%m-%d %H:%M:%S %Z`.
pub(crate) fn time_text(unix_seconds: i64, zone: &TimeZone) -> String {
    let at = jiff::Timestamp::from_second(unix_seconds).unwrap_or_default();
    let local = zone.to_datetime(at);
    let info = zone.to_offset_info(at);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02} {}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second(),
        info.abbreviation()
    )
}

/// This moment, Unix seconds.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry::new(16 << 20);

    fn label(text: &str) -> Label<'_> {
        Label {
            start_lsn: Lsn(0x0200_0028),
            checkpoint_lsn: Lsn(0x0200_0060),
            timeline: TimeLineId(1),
            from_standby: false,
            start_time: 1_438_593_625,
            label: text,
        }
    }

    #[test]
    fn a_label_has_seven_lines() {
        let expected = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
                        CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
                        START TIME: 2015-08-03 09:20:25 UTC\nLABEL: nightly\nSTART TIMELINE: 1\n";
        assert_eq!(label("nightly").text(GEOMETRY, &TimeZone::UTC), expected);
    }

    #[test]
    fn a_standby_says_so_and_times_are_local() {
        let zone = TimeZone::posix("CST-8").unwrap();
        let text = Label { from_standby: true, ..label("x") }.text(GEOMETRY, &zone);
        assert!(text.contains("BACKUP FROM: standby\nSTART TIME: 2015-08-03 17:20:25 CST\n"), "{text}");
    }

    #[test]
    fn a_history_file_names_the_last_segment_with_content() {
        let label_file = label("a\nb").text(GEOMETRY, &TimeZone::UTC);
        // Ends exactly at a segment's end: the last byte is in segment 2.
        let end = End { stop_lsn: Lsn(0x0300_0000), timeline: TimeLineId(1), stop_time: 1_438_593_700 };
        let text = history_text(&label_file, &end, GEOMETRY, &TimeZone::UTC);
        assert_eq!(
            text,
            "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
             STOP WAL LOCATION: 0/3000000 (file 000000010000000000000002)\n\
             CHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\n\
             START TIME: 2015-08-03 09:20:25 UTC\nLABEL: a\nb\nSTART TIMELINE: 1\n\
             STOP TIME: 2015-08-03 09:21:40 UTC\nSTOP TIMELINE: 1\n"
        );
    }
}
