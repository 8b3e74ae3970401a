//! How far a checkpoint or restartpoint is, and how fast the last ones were.
//!
//! Written by the checkpointer, and by `storage` while it works for it: the phase by [`CheckpointGauge::enter`], the figures by
//! whoever has them.
//!
//! C counterpart: none; some of it is in `CheckpointStats`, which only the checkpointer sees.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::{load_rate, store_rate};

/// Less was written than that: too little to measure a disk by.
const MEASURABLE_BYTES: u64 = 1 << 20;

/// Where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is under way.
    #[default]
    Idle,
    /// The last one before the end, for which every walsender must first say that it runs no command and has nothing in its
    /// output buffer.
    WaitsForWalSenders,
    /// Writes what is dirty.
    Writing,
    /// Makes it durable.
    Syncing,
    /// WAL, pg_control, old files.
    Ending,
}

impl Phase {
    const ALL: [Phase; 5] =
        [Phase::Idle, Phase::WaitsForWalSenders, Phase::Writing, Phase::Syncing, Phase::Ending];
}

shmem::shm_struct! {
    /// See the module page.
    pub struct CheckpointGauge {
        phase: AtomicU32,
        bytes_to_write: AtomicU64,
        bytes_written: AtomicU64,
        files_to_sync: AtomicU64,
        files_synced: AtomicU64,
        /// Bytes per second, see [`store_rate`].
        rate: AtomicU64,
    }
}

/// A copy of the gauge; its figures may be of different moments.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CheckpointSeen {
    /// Where it is.
    pub phase: Phase,
    /// Of the one under way: all that it has to write. 0 before it knows, and when none is under way.
    pub bytes_to_write: u64,
    /// Of these, done; somebody else may have done it.
    pub bytes_written: u64,
    /// Files that it, or when none is under way the next one, has to sync, as far as known.
    pub files_to_sync: u64,
    /// Of these, done.
    pub files_synced: u64,
    /// Bytes per second of writing and syncing together, without the pauses of one that is spread; of the last that had
    /// enough to write.
    pub rate: Option<f64>,
}

impl CheckpointSeen {
    /// Still to be written.
    pub fn bytes_left(&self) -> u64 {
        self.bytes_to_write.saturating_sub(self.bytes_written)
    }

    /// Still to be synced.
    pub fn files_left(&self) -> u64 {
        self.files_to_sync.saturating_sub(self.files_synced)
    }
}

impl CheckpointGauge {
    pub(crate) const fn new() -> CheckpointGauge {
        CheckpointGauge {
            phase: AtomicU32::new(0),
            bytes_to_write: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            files_to_sync: AtomicU64::new(0),
            files_synced: AtomicU64::new(0),
            rate: AtomicU64::new(0),
        }
    }

    /// A copy.
    pub fn seen(&self) -> CheckpointSeen {
        CheckpointSeen {
            phase: Phase::ALL.get(self.phase.load(Relaxed) as usize).copied().unwrap_or_default(),
            bytes_to_write: self.bytes_to_write.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            files_to_sync: self.files_to_sync.load(Relaxed),
            files_synced: self.files_synced.load(Relaxed),
            rate: load_rate(&self.rate),
        }
    }

    /// It goes on to this phase. In [`Phase::Idle`] there is nothing to write; files that the next one has to sync there may be.
    pub fn enter(&self, phase: Phase) {
        if phase == Phase::Idle {
            self.set_bytes_to_write(0);
        }
        self.phase.store(phase as u32, Relaxed);
    }

    /// So much has to be written, and nothing of it is yet.
    pub fn set_bytes_to_write(&self, bytes: u64) {
        self.bytes_written.store(0, Relaxed);
        self.bytes_to_write.store(bytes, Relaxed);
    }

    /// So much of it is.
    #[inline]
    pub fn set_bytes_written(&self, bytes: u64) {
        self.bytes_written.store(bytes, Relaxed);
    }

    /// So many files have to be synced, and none of them is yet.
    pub fn set_files_to_sync(&self, files: u64) {
        self.files_synced.store(0, Relaxed);
        self.files_to_sync.store(files, Relaxed);
    }

    /// So many of them are.
    pub fn set_files_synced(&self, files: u64) {
        self.files_synced.store(files, Relaxed);
    }

    /// One is over: it has written so much, in this time without its pauses.
    pub fn measured(&self, bytes: u64, took: Duration) {
        if bytes >= MEASURABLE_BYTES && !took.is_zero() {
            store_rate(&self.rate, Some(bytes as f64 / took.as_secs_f64()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_checkpoint_after_the_other() {
        let gauge = CheckpointGauge::new();
        assert_eq!(gauge.seen(), CheckpointSeen::default());
        gauge.enter(Phase::Writing);
        gauge.set_bytes_to_write(8192 * 1000);
        gauge.set_bytes_written(8192 * 10);
        gauge.set_files_to_sync(3);
        let seen = gauge.seen();
        assert_eq!((seen.phase, seen.bytes_left(), seen.files_left()), (Phase::Writing, 8192 * 990, 3));
        gauge.enter(Phase::Syncing);
        gauge.set_files_synced(2);
        assert_eq!(gauge.seen().files_left(), 1);
        gauge.enter(Phase::Ending);
        gauge.measured(8192 * 1000, Duration::from_millis(500));
        gauge.enter(Phase::Idle);
        gauge.set_files_to_sync(0);
        let rate = Some(2.0 * 8_192_000.0);
        assert_eq!(gauge.seen(), CheckpointSeen { rate, ..CheckpointSeen::default() });
        // Ten pages tell nothing about a disk.
        gauge.measured(81_920, Duration::from_millis(20));
        gauge.measured(1 << 30, Duration::ZERO);
        assert_eq!(gauge.seen().rate, rate);
    }

    #[test]
    fn nonsense_is_read_as_something() {
        let gauge = CheckpointGauge::new();
        gauge.phase.store(77, Relaxed);
        gauge.bytes_written.store(5, Relaxed);
        let seen = gauge.seen();
        assert_eq!((seen.phase, seen.bytes_left()), (Phase::Idle, 0));
    }
}
