//! One checkpoint.
//!
//! 1. The redo point is fixed while nobody inserts WAL (K2).
//! 2. Whoever is between its commit record and its commit log entry is waited for (K3).
//! 3. Everything that is dirty is written, slowly unless somebody is in a hurry, and then synced.
//! 4. The record is written to WAL and flushed; then pg_control names it (K1).
//! 5. What only the checkpoint before needed is removed: files of dropped relations, old WAL (K4).
//!
//! A crash at any moment before the end of step 4 leaves the old checkpoint in force, and everything the new one
//! did is work that recovery finds done already.
//!
//! C counterpart: `CreateCheckPoint`, `CheckPointGuts` of xlog.c, `CheckpointWriteDelay` of checkpointer.c.

use std::cell::Cell;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use activity::gauges::{self, checkpoint::Phase};
use common::pg_control::{CheckPoint, DbState};
use common::{BackendType, Lsn, SqlState};
use elog::{Result, ereport, error};
use miscinit::globals;
use miscinit::interrupt::{self, Pending};
use replication::slot::invalidate_obsolete;
use shmem::latch;
use shmem::wait_event::WaitEvent;
use transam::procarray::{DELAY_CHECKPOINT_COMPLETE, DELAY_CHECKPOINT_START, vxids_delaying};

use crate::pace::Pace;
use crate::report::{self, Kind, Statistics};
use crate::{CheckpointFlags, archive_timeout, checkpointer};

/// Writes between two looks at the queue of fsync requests when there is no time for pauses (K6).
/// C: `WRITES_PER_ABSORB`.
const WRITES_PER_ABSORB: u32 = 1000;
/// A pause of a checkpoint that is ahead of its schedule.
const WRITE_DELAY: Duration = Duration::from_millis(100);

thread_local! {
    static UNTIL_ABSORB: Cell<u32> = const { Cell::new(WRITES_PER_ABSORB) };
}

/// A part of a checkpoint that a crate above this one does.
type Part = fn() -> Result<()>;

/// All of them.
static GUTS: Mutex<Vec<Part>> = Mutex::new(Vec::new());

/// Adds a part of every checkpoint, done before the buffers are written (the relation map of `catalog`). To be called
/// before the first fork. C: the calls in `CheckPointGuts`.
pub fn add_guts(part: Part) {
    GUTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(part);
}

/// Performs a checkpoint; does nothing if nothing has happened since the last, unless the flags insist.
///
/// # Errors
/// Those of writing and syncing; the checkpoint has then not been made. PANIC from WAL and pg_control.
pub(crate) fn create(flags: CheckpointFlags) -> Result<()> {
    let end_of_recovery = flags.contains(CheckpointFlags::END_OF_RECOVERY);
    let shutdown = end_of_recovery || flags.contains(CheckpointFlags::SHUTDOWN);
    if wal::in_recovery() && !end_of_recovery {
        return Err(error!(SqlState::INTERNAL_ERROR, "can't create a checkpoint during recovery"));
    }
    let _over = Over;
    let mut statistics = Statistics::begin(Kind::Checkpoint);
    storage::sync::pre_checkpoint();
    let control = wal::control_file::read()?;
    if shutdown {
        wal::control_file::update(|control| control.state = DbState::ShuttingDown)?;
    }
    let mut checkpoint = begin(shutdown, &control.checkpoint_copy);
    let insists = shutdown || flags.contains(CheckpointFlags::FORCE);
    if end_of_recovery {
        // For the others recovery still goes on.
        wal::set_insert_allowed(Some(true));
    }
    let Some(fixed) = wal::checkpoint::begin((!insists).then_some(control.checkpoint)) else {
        ereport!(Debug1, "checkpoint skipped because system is idle");
        return Ok(());
    };
    (checkpoint.redo, checkpoint.full_page_writes) = (fixed.redo, fixed.full_page_writes);
    checkpoint.this_timeline = fixed.timeline;
    // Only the first record of a timeline tells which one was left.
    checkpoint.prev_timeline = if end_of_recovery { fixed.previous_timeline } else { fixed.timeline };
    report::log_start(flags, Kind::Checkpoint);
    report::show_in_title(flags, Kind::Checkpoint);
    // Some time after the redo point: what happens in between is in WAL.
    transam::StartupState::now(shutdown).store(&mut checkpoint);
    wait_for(DELAY_CHECKPOINT_START);
    guts(flags, checkpoint.redo, &mut statistics)?;
    wait_for(DELAY_CHECKPOINT_COMPLETE);
    if !shutdown && standby_info_active() {
        lmgr::log_access_exclusive_locks();
        transam::log_standby_snapshot();
    }
    // K5 is checked in there.
    let record = wal::checkpoint::write(&checkpoint, shutdown);
    if end_of_recovery {
        wal::set_insert_allowed(None);
    }
    name_in_control_file(&checkpoint, record.start, shutdown);
    storage::sync::post_checkpoint();
    clean_up(&checkpoint, control.checkpoint_copy.redo, record.end, flags, &mut statistics)?;
    statistics.finish();
    report::clear_title();
    Ok(())
}

/// C: `XLogStandbyInfoActive`.
fn standby_info_active() -> bool {
    guc::vars::WAL_LEVEL.get() != "minimal"
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

/// What is known before the redo point.
fn begin(shutdown: bool, last: &CheckPoint) -> CheckPoint {
    let mut checkpoint = last.clone();
    checkpoint.time = unix_now();
    // Read before the redo point is fixed: a standby needs every id that was running there.
    let active = !shutdown && standby_info_active();
    checkpoint.oldest_active_xid =
        if active { transam::procarray::oldest_active_xid() } else { common::Xid::INVALID };
    checkpoint
}

/// Reads the settings again, if they have changed. Not only in the main loop, and not only if there is time: commits learn from us
/// whether they have to wait for standbys, and until then they do not, or for nobody. C: in `CheckpointWriteDelay`.
fn follow_settings() {
    // A session without a postmaster reads them between two statements.
    let is_checkpointer = globals::backend_type() == BackendType::Checkpointer;
    if is_checkpointer && interrupt::take(Pending::ConfigReload) {
        auxprocess::reload_config();
        replication::syncrep::update_defined_status();
    }
}

/// Waits until those who are now in the middle of something that a checkpoint must not cut in two have finished it (K3).
/// Who begins it later does so behind the redo point. C: the loops over `GetVirtualXIDsDelayingChkpt`.
fn wait_for(kind: u32) {
    let mut delaying = vxids_delaying(kind);
    while !delaying.is_empty() {
        follow_settings();
        storage::sync::absorb();
        auxprocess::wait(Some(Duration::from_millis(10)), WaitEvent::CHECKPOINT_START);
        latch::reset();
        let still = vxids_delaying(kind);
        delaying.retain(|vxid| still.contains(vxid));
    }
}

/// While it lives a checkpoint is under way; afterwards none is, also if it has failed.
pub(crate) struct Over;

impl Drop for Over {
    fn drop(&mut self) {
        gauges::checkpoint().enter(Phase::Idle);
    }
}

/// Step 3, and the middle of a restartpoint. C: `CheckPointGuts`.
///
/// # Errors
/// Those of writing and syncing.
pub(crate) fn guts(flags: CheckpointFlags, redo: Lsn, statistics: &mut Statistics) -> Result<()> {
    let gauge = gauges::checkpoint();
    gauge.enter(Phase::Writing);
    let parts = GUTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    for part in parts {
        part()?;
    }
    replication::slot::checkpoint()?;
    let write_began = Instant::now();
    transam::checkpoint()?;
    let all = CheckpointFlags::SHUTDOWN | CheckpointFlags::END_OF_RECOVERY | CheckpointFlags::FLUSH_ALL;
    let mut pacer = Pacer::new(flags);
    statistics.buffers_written =
        storage::checkpoint_buffers(flags.intersects(all), &mut |progress| pacer.pause(progress))?;
    activity::counters::buffers(|buffers| {
        activity::counters::add(&buffers.written_checkpoint, statistics.buffers_written as i64);
    });
    statistics.write = write_began.elapsed();
    gauge.enter(Phase::Syncing);
    let sync_began = Instant::now();
    let synced = storage::sync::process_sync_requests()?;
    statistics.sync = sync_began.elapsed();
    statistics.files_synced = u64::from(synced.files);
    statistics.longest_sync = synced.longest;
    statistics.sum_of_syncs = synced.total;
    gauge.enter(Phase::Ending);
    let worked = statistics.write.saturating_sub(pacer.paused) + statistics.sync;
    gauge.measured(statistics.buffers_written * common::BLCKSZ as u64, worked);
    // As late as possible: many a prepared transaction has ended by now.
    transam::twophase::checkpoint(redo)
}

/// Makes the pauses of a spread checkpoint. C: `CheckpointWriteDelay`.
struct Pacer {
    flags: CheckpointFlags,
    /// How far WAL was when it began. C: `ckpt_start_recptr`.
    start: Lsn,
    began: Instant,
    /// How long it has slept.
    paused: Duration,
}

/// How far WAL is: written, or during recovery replayed.
fn wal_position() -> Lsn {
    if wal::in_recovery() { wal::recovery_point::replayed().0 } else { wal::insert_lsn() }
}

impl Pacer {
    fn new(flags: CheckpointFlags) -> Pacer {
        Pacer { flags, start: wal_position(), began: Instant::now(), paused: Duration::ZERO }
    }

    fn is_in_a_hurry(&self) -> bool {
        self.flags.contains(CheckpointFlags::IMMEDIATE)
            || interrupt::is_pending(Pending::LastCycle)
            || checkpointer::immediate_requested()
    }

    fn is_on_schedule(&self, progress: f64) -> bool {
        let pace = Pace {
            completion_target: guc::vars::CHECKPOINT_COMPLETION_TARGET.get(),
            timeout: Duration::from_secs(guc::vars::CHECKPOINT_TIMEOUT.get() as u64),
            segments: wal::recycle::checkpoint_segments(),
            segment_bytes: wal::geometry().segment_size(),
        };
        let wal_bytes = wal_position().0.saturating_sub(self.start.0);
        pace.on_schedule(progress, wal_bytes, self.began.elapsed())
    }

    fn pause(&mut self, progress: f64) {
        follow_settings();
        if !self.is_in_a_hurry() && self.is_on_schedule(progress) {
            storage::sync::absorb();
            UNTIL_ABSORB.set(WRITES_PER_ABSORB);
            archive_timeout::check();
            pgstat::report_buffers();
            // A request or an order to leave sets the latch: both are looked at before the next write. The main
            // loop looks again afterwards, so that resetting it here loses nothing.
            let slept = Instant::now();
            auxprocess::wait(Some(WRITE_DELAY), WaitEvent::CHECKPOINT_WRITE_DELAY);
            self.paused += slept.elapsed();
            latch::reset();
            return;
        }
        match UNTIL_ABSORB.get().checked_sub(1) {
            Some(left) => UNTIL_ABSORB.set(left),
            None => {
                storage::sync::absorb();
                UNTIL_ABSORB.set(WRITES_PER_ABSORB);
            }
        }
    }
}

/// Step 4, second half (K1).
fn name_in_control_file(checkpoint: &CheckPoint, at: Lsn, shutdown: bool) {
    let outcome = wal::control_file::update(|control| {
        if shutdown {
            control.state = DbState::ShutDown;
        }
        control.time = unix_now();
        control.checkpoint = at;
        control.checkpoint_copy = checkpoint.clone();
        // Crash recovery replays all of WAL: only an archive recovery has a point that it must reach.
        control.min_recovery_point = Lsn::INVALID;
        control.min_recovery_point_timeline = common::TimeLineId(0);
    });
    if let Err(error) = outcome {
        elog::abort(error);
    }
}

/// While the server stops, the oldest WAL that those who follow it lack: that is kept (K9). Invalid if there is none, or if the
/// server does not stop: then a receiver that is too far behind must have a slot. Absent in C, where a checkpoint that ends
/// during the stop removes WAL from under the walsenders that the stop waits for.
pub(crate) fn needed_by_receivers(flags: CheckpointFlags) -> Lsn {
    // Also a checkpoint that was under way when the stop came.
    let stops = flags.contains(CheckpointFlags::SHUTDOWN) || interrupt::is_pending(Pending::LastCycle);
    if stops { replication::walsnd::oldest_needed().unwrap_or(Lsn::INVALID) } else { Lsn::INVALID }
}

/// Step 5.
fn clean_up(
    checkpoint: &CheckPoint,
    prior_redo: Lsn,
    end: Lsn,
    flags: CheckpointFlags,
    statistics: &mut Statistics,
) -> Result<()> {
    if prior_redo != Lsn::INVALID {
        wal::recycle::update_distance_estimate(checkpoint.redo.0.saturating_sub(prior_redo.0));
    }
    statistics.segments = wal::recycle::after_checkpoint(
        checkpoint.redo,
        end,
        checkpoint.this_timeline,
        flags.intersects(CheckpointFlags::SHUTDOWN | CheckpointFlags::END_OF_RECOVERY),
        needed_by_receivers(flags),
        invalidate_obsolete,
    )?;
    transam::after_checkpoint()
}
