//! The two log lines around a checkpoint or restartpoint, with what it did, and the process's title meanwhile.
//!
//! C counterpart: `LogCheckpointStart`, `LogCheckpointEnd`, `CheckpointStatsData`, `update_checkpoint_display`.

use std::time::{Duration, Instant};

use activity::counters;
use elog::ereport;
use miscinit::ps_status;
use wal::recycle::SegmentCounts;

use crate::CheckpointFlags;

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Checkpoint,
    Restartpoint,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Checkpoint => "checkpoint",
            Kind::Restartpoint => "restartpoint",
        }
    }
}

/// What a checkpoint did. C: `CheckpointStats`.
#[derive(Debug)]
pub(crate) struct Statistics {
    kind: Kind,
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
pub(crate) fn log_start(flags: CheckpointFlags, kind: Kind) {
    if guc::vars::LOG_CHECKPOINTS.get() {
        ereport!(Log, "{} starting:{}", kind.word(), flags.words());
    }
}

/// Those that hold up others show in the process's title. C: `update_checkpoint_display`.
pub(crate) fn show_in_title(flags: CheckpointFlags, kind: Kind) {
    let why = if flags.contains(CheckpointFlags::END_OF_RECOVERY) {
        "end-of-recovery "
    } else if flags.contains(CheckpointFlags::SHUTDOWN) {
        "shutdown "
    } else {
        return;
    };
    ps_status::set_activity(&format!("performing {why}{}", kind.word()));
}

/// It is over.
pub(crate) fn clear_title() {
    ps_status::set_activity("");
}

impl Statistics {
    pub(crate) fn begin(kind: Kind) -> Statistics {
        Statistics {
            kind,
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
            "{} complete: wrote {} buffers ({:.1}%); {} WAL file(s) added, {} removed, {} recycled; \
             write={}, sync={}, total={}; sync files={}, longest={}, average={}; \
             distance={} kB, estimate={} kB",
            self.kind.word(),
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
            ..Statistics::begin(Kind::Checkpoint)
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
