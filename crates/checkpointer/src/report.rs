//! The two log lines around a checkpoint, with what it did.
//!
//! C counterpart: `LogCheckpointStart`, `LogCheckpointEnd`, `CheckpointStatsData`.

use std::time::{Duration, Instant};

use activity::counters;
use elog::ereport;

use wal::recycle::SegmentCounts;

use crate::CheckpointFlags;

/// What a checkpoint did. C: `CheckpointStats`.
#[derive(Debug)]
pub(crate) struct Statistics {
    began: Instant,
    pub(crate) buffers_written: u64,
    pub(crate) segments: SegmentCounts,
    pub(crate) write: Duration,
    pub(crate) sync: Duration,
    pub(crate) files_synced: u64,
    pub(crate) longest_sync: Duration,
    pub(crate) sum_of_syncs: Duration,
}

/// Says why it begins. C: `LogCheckpointStart`.
pub(crate) fn log_start(flags: CheckpointFlags) {
    if guc::vars::LOG_CHECKPOINTS.get() {
        ereport!(Log, "checkpoint starting:{}", flags.words());
    }
}

impl Statistics {
    pub(crate) fn begin() -> Statistics {
        Statistics {
            began: Instant::now(),
            buffers_written: 0,
            segments: SegmentCounts::default(),
            write: Duration::ZERO,
            sync: Duration::ZERO,
            files_synced: 0,
            longest_sync: Duration::ZERO,
            sum_of_syncs: Duration::ZERO,
        }
    }

    /// Tells the collector, and the log. C: `LogCheckpointEnd`.
    pub(crate) fn finish(&self) {
        counters::buffers(|buffers| {
            counters::add(&buffers.checkpoint_write_millis, self.write.as_millis() as i64);
            counters::add(&buffers.checkpoint_sync_millis, self.sync.as_millis() as i64);
        });
        if guc::vars::LOG_CHECKPOINTS.get() {
            ereport!(
                Log,
                "{}",
                self.text(
                    wal::recycle::distance_estimate(),
                    self.began.elapsed(),
                    guc::vars::SHARED_BUFFERS.get()
                )
            );
        }
    }

    /// `estimate` and `last`: bytes of WAL between two checkpoints.
    fn text(&self, (estimate, last): (f64, f64), total: Duration, pool: i32) -> String {
        let average = match u32::try_from(self.files_synced) {
            Ok(files) if files > 0 => self.sum_of_syncs / files,
            _ => Duration::ZERO,
        };
        let secs = |time: Duration| format!("{}.{:03} s", time.as_secs(), time.subsec_millis());
        format!(
            "checkpoint complete: wrote {} buffers ({:.1}%); {} WAL file(s) added, {} removed, {} recycled; \
             write={}, sync={}, total={}; sync files={}, longest={}, average={}; \
             distance={} kB, estimate={} kB",
            self.buffers_written,
            100.0 * self.buffers_written as f64 / f64::from(pool),
            self.segments.added,
            self.segments.removed,
            self.segments.recycled,
            secs(self.write),
            secs(self.sync),
            secs(total),
            self.files_synced,
            secs(self.longest_sync),
            secs(average),
            (last / 1024.0) as u64,
            (estimate / 1024.0) as u64,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_postgresqls() {
        let millis = Duration::from_millis;
        let statistics = Statistics {
            buffers_written: 41,
            segments: SegmentCounts { added: 0, removed: 1, recycled: 2 },
            write: millis(4015),
            sync: millis(12),
            files_synced: 3,
            longest_sync: millis(9),
            sum_of_syncs: millis(12),
            ..Statistics::begin()
        };
        let distance = (16385.5 * 1024.0, 16384.0 * 1024.0);
        assert_eq!(
            statistics.text(distance, millis(4040), 16384),
            "checkpoint complete: wrote 41 buffers (0.3%); 0 WAL file(s) added, 1 removed, 2 recycled; \
             write=4.015 s, sync=0.012 s, total=4.040 s; sync files=3, longest=0.009 s, average=0.004 s; \
             distance=16384 kB, estimate=16385 kB"
        );
    }
}
