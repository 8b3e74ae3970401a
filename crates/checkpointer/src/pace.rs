//! How fast a checkpoint writes, and when the next is due: arithmetic without clock and files.
//!
//! A checkpoint that is not in a hurry spreads its writes over `checkpoint_completion_target` of the way to the
//! next one. That way is measured twice, in time and in WAL, and the one that has come further counts.
//!
//! C counterpart: `IsCheckpointOnSchedule`.

use std::time::Duration;

/// How far the world has come since the checkpoint began, 1.0 being the moment of the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// `checkpoint_completion_target`.
    pub(crate) completion_target: f64,
    /// `checkpoint_timeout`.
    pub(crate) timeout: Duration,
    /// Segments between two checkpoints that WAL volume causes. C: `CheckPointSegments`.
    pub(crate) segments: u64,
    /// Bytes of a WAL segment.
    pub(crate) segment_bytes: u32,
}

impl Pace {
    /// True if so much of the work (0.0 to 1.0) is enough for now, so that there is time for a pause.
    /// C: `IsCheckpointOnSchedule`.
    pub(crate) fn on_schedule(&self, progress: f64, wal_bytes: u64, elapsed: Duration) -> bool {
        let due = progress * self.completion_target;
        let by_wal = wal_bytes as f64 / f64::from(self.segment_bytes) / self.segments as f64;
        let by_time = elapsed.as_secs_f64() / self.timeout.as_secs_f64();
        due >= by_wal && due >= by_time
    }
}

/// The warning about checkpoints that WAL volume causes so soon after one another, if it is due. C: the part of
/// `CheckpointerMain` about `CheckPointWarning`.
pub(crate) fn too_frequent(since_last: Duration, warning_secs: i32) -> Option<String> {
    let secs = since_last.as_secs();
    (secs < u64::try_from(warning_secs).unwrap_or(0)).then(|| {
        let unit = if secs == 1 { "second" } else { "seconds" };
        format!("checkpoints are occurring too frequently ({secs} {unit} apart)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1024 * 1024;
    const PACE: Pace = Pace {
        completion_target: 0.9,
        timeout: Duration::from_secs(300),
        segments: 10,
        segment_bytes: 16 * MB as u32,
    };

    #[test]
    fn the_faster_of_time_and_wal_decides() {
        let check = |progress: f64, wal_mb: u64, secs: u64, expected: bool| {
            let found = PACE.on_schedule(progress, wal_mb * MB, Duration::from_secs(secs));
            assert_eq!(found, expected, "{progress} {wal_mb} MB {secs} s");
        };
        check(0.5, 0, 0, true);
        check(0.5, 0, 134, true);
        check(0.5, 0, 136, false);
        check(0.5, 71, 0, true);
        check(0.5, 73, 0, false);
        check(1.0, 143, 269, true);
        check(1.0, 160, 0, false);
        check(0.0, 0, 1, false);
    }

    #[test]
    fn warns_of_frequent_checkpoints() {
        let secs = Duration::from_secs;
        assert_eq!(too_frequent(secs(30), 30), None);
        assert_eq!(
            too_frequent(secs(29), 30).as_deref(),
            Some("checkpoints are occurring too frequently (29 seconds apart)")
        );
        assert_eq!(
            too_frequent(secs(1), 30).as_deref(),
            Some("checkpoints are occurring too frequently (1 second apart)")
        );
        assert_eq!(too_frequent(secs(0), 0), None);
    }
}
