//! One checkpoint, with the two log lines around it.
//!
//! C counterpart: `CreateCheckPoint`, `LogCheckpointStart` and `LogCheckpointEnd` of xlog.c.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use common::pg_control::DbState;
use elog::{Result, ereport};

use crate::CheckpointFlags;

/// What a checkpoint did, for the log.
#[derive(Default)]
struct Statistics {
    buffers_written: u64,
    segments_added: u32,
    segments_removed: u32,
    segments_recycled: u32,
    write_secs: f64,
    sync_secs: f64,
    files_synced: u32,
    longest_sync_secs: f64,
    distance_bytes: u64,
    estimate_bytes: u64,
}

/// Performs a checkpoint.
///
/// # Errors
/// PANIC if pg_control cannot be written.
pub(crate) fn create(flags: CheckpointFlags) -> Result<()> {
    let needed = CheckpointFlags::SHUTDOWN | CheckpointFlags::END_OF_RECOVERY | CheckpointFlags::FORCE;
    if !flags.intersects(needed) {
        ereport!(Debug1, "checkpoint skipped because system is idle");
        return Ok(());
    }
    let began = Instant::now();
    let shutdown = flags.contains(CheckpointFlags::SHUTDOWN);
    if shutdown {
        wal::control_file::update(|control| control.state = DbState::ShuttingDown)?;
    }
    if guc::vars::LOG_CHECKPOINTS.get() {
        ereport!(Log, "checkpoint starting:{}", flags.words());
    }
    let statistics = Statistics::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    wal::control_file::update(|control| {
        control.time = now;
        control.checkpoint_copy.time = now;
        if shutdown {
            control.state = DbState::ShutDown;
        }
    })?;
    if guc::vars::LOG_CHECKPOINTS.get() {
        statistics.log(began.elapsed().as_secs_f64());
    }
    Ok(())
}

impl Statistics {
    fn log(&self, total_secs: f64) {
        let average_sync =
            if self.files_synced == 0 { 0.0 } else { self.sync_secs / f64::from(self.files_synced) };
        let percent = 100.0 * self.buffers_written as f64 / f64::from(guc::vars::SHARED_BUFFERS.get());
        ereport!(
            Log,
            "checkpoint complete: wrote {} buffers ({:.1}%); {} WAL file(s) added, {} removed, {} recycled; \
             write={:.3} s, sync={:.3} s, total={:.3} s; sync files={}, longest={:.3} s, average={:.3} s; \
             distance={} kB, estimate={} kB",
            self.buffers_written,
            percent,
            self.segments_added,
            self.segments_removed,
            self.segments_recycled,
            self.write_secs,
            self.sync_secs,
            total_secs,
            self.files_synced,
            self.longest_sync_secs,
            average_sync,
            self.distance_bytes / 1024,
            self.estimate_bytes / 1024,
        );
    }
}
