//! The checkpointer: makes what is in memory also true on disk, on time, on request and at shutdown.
//!
//! Started by: the postmaster at start, also during recovery; again whenever it ends.
//! Woken by:   its latch: SIGINT means that somebody left a request in shared memory; otherwise when
//!             `checkpoint_timeout` has passed since the last checkpoint.
//! Ends by:    SIGUSR2 = shutdown checkpoint, then exit 0. SIGTERM is ignored, so that a stop of the whole
//!             machine cannot take it away before the sessions. SIGQUIT = exit 2 at once. Death of the
//!             postmaster = exit 1 at once.
//! If it dies: a crash, unless it is the exit 0 that the postmaster asked for.
//! Differs from PG 15: a request to a checkpointer whose postmaster is dead fails at once.
//!
//! During recovery it makes restartpoints instead of checkpoints. Between the two it also looks after `archive_timeout`.
//!
//! Invariants:
//! - K1  pg_control names a checkpoint only when its record is on disk, and everything that was dirty at its redo
//!   point as well.
//! - K2  Its redo point is fixed while nobody inserts WAL: every page changed before it is dirty or written.
//! - K3  A commit whose record lies before the redo point has its commit log entry on disk with the checkpoint
//!   (`wait_for_delayed_commits`).
//! - K4  A file is removed (unlinked segment of a dropped relation, old WAL) only after pg_control has been written.
//! - K5  After the shutdown checkpoint's redo point nobody writes WAL: otherwise PANIC.
//! - K6  Requests to fsync are taken from the shared queue between any two pauses, so that it does not run full.
//! - K7  A restartpoint is made only at a checkpoint record that has been replayed; in archive recovery pg_control's minimum
//!   recovery point is then at or behind that record's end.
//! - K8  Before the shutdown checkpoint begins, every walsender has said that it runs no command any more.
//! - K9  From the order to stop on, neither a checkpoint nor a restartpoint removes WAL that the receiver of a stream has not
//!   confirmed.
//!
//! C counterpart: postmaster/checkpointer.c; `CreateCheckPoint` of xlog.c.

#![forbid(unsafe_code)]

mod checkpointer; // 1. how the others ask for one (the file has C's name: LOCATION shows it)

mod archive_timeout; // 6. segments that are finished because time has passed
mod checkpoint; // 2. what a checkpoint does
mod pace; // 3. how fast
mod report; // 4. what the log says of it
pub mod restartpoint; // 5. what it does instead during recovery

use std::time::{Duration, Instant};

use activity::counters;
use activity::gauges::{self, checkpoint::Phase};
use auxprocess::Turn;
use elog::{PgError, Result, Severity, SourceLocation, ereport};
use miscinit::child::ChildStart;
use miscinit::exit;
use miscinit::interrupt::{self, Pending};
use replication::{syncrep, walsnd};
use shmem::wait_event::WaitEvent;

pub use checkpoint::add_guts;
pub use checkpointer::{
    CheckpointFlags, first_call_since_last_checkpoint, request_checkpoint, request_for_wal_volume, reserve,
};

/// After a failed checkpoint, before the next attempt.
const REST_AFTER_ERROR: Duration = Duration::from_secs(1);
/// When no restartpoint could be made, because no checkpoint has been replayed: the next attempt. C: the 15 in
/// `CheckpointerMain`.
const RESTARTPOINT_RETRY: Duration = Duration::from_secs(15);

/// Entry point. C: `CheckpointerMain`.
pub fn checkpointer_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    storage::init_process();
    checkpointer::announce();
    exit::on_shmem_exit(|_| checkpointer::withdraw());
    archive_timeout::begin();
    let mut schedule = Schedule { counts_from: Instant::now(), retry: false };
    auxprocess::main_loop(move || turn(&mut schedule))
}

/// When the next checkpoint is due by time. C: `last_checkpoint_time`.
struct Schedule {
    /// When the last one began.
    counts_from: Instant,
    /// It could not be made: it is tried again soon.
    retry: bool,
}

impl Schedule {
    /// How long until then.
    fn left(&self, timeout: Duration) -> Duration {
        let wait = if self.retry { RESTARTPOINT_RETRY } else { timeout };
        wait.saturating_sub(self.counts_from.elapsed())
    }
}

fn turn(schedule: &mut Schedule) -> Result<Turn> {
    storage::sync::absorb();
    // A reload may have changed these two.
    syncrep::update_defined_status();
    if !wal::in_recovery() {
        wal::records::update_full_page_writes();
    }
    if interrupt::take(Pending::LastCycle) {
        shut_down().map_err(abort_if_panic)?;
        return Ok(Turn::Exit(0));
    }
    let timeout = Duration::from_secs(guc::vars::CHECKPOINT_TIMEOUT.get() as u64);
    let requested = checkpointer::take();
    let timed_out = schedule.left(timeout).is_zero();
    count(requested.is_some(), timed_out);
    if let Some(work) = requested.or_else(|| timed_out.then(checkpointer::Work::timed)) {
        let flags = if timed_out { work.flags | CheckpointFlags::TIME } else { work.flags };
        return checkpoint_now(work, flags, schedule);
    }
    archive_timeout::check();
    count_backend_syncs();
    report_statistics();
    let left = schedule.left(timeout).min(archive_timeout::left().unwrap_or(Duration::MAX));
    if left.is_zero() {
        return Ok(Turn::Again);
    }
    Ok(Turn::Sleep(Some(left), WaitEvent::CHECKPOINTER_MAIN))
}

fn checkpoint_now(work: checkpointer::Work, flags: CheckpointFlags, schedule: &mut Schedule) -> Result<Turn> {
    let began = Instant::now();
    if !wal::in_recovery() && flags.contains(CheckpointFlags::CAUSE_XLOG) {
        warn_if_too_frequent(schedule.counts_from.elapsed());
    }
    let outcome = perform(flags);
    // Files of dropped relations must not stay open for ever in a process that never ends.
    storage::smgr::close_all();
    match outcome.map_err(abort_if_panic) {
        Ok(performed) => {
            checkpointer::finish(work, true);
            // One that failed is tried again soon, if it is due by time.
            *schedule = Schedule { counts_from: began, retry: !performed };
            archive_timeout::check();
            report_statistics();
            Ok(Turn::Again)
        }
        Err(error) => {
            // Whoever asked is told to look into the log: the reason is there first.
            error.report();
            checkpointer::finish(work, false);
            if error.severity >= Severity::Fatal {
                exit::proc_exit(1);
            }
            Ok(Turn::Sleep(Some(REST_AFTER_ERROR), WaitEvent::PG_SLEEP))
        }
    }
}

/// A failed fsync, for one: what is on disk is unknown, and the next try would not tell.
fn abort_if_panic(error: PgError) -> PgError {
    if error.severity >= Severity::Panic {
        elog::abort(error);
    }
    error
}

/// A checkpoint, or during recovery a restartpoint: false if there was none to make. The checkpoint at the end of recovery is a
/// real one, though recovery still goes on.
fn perform(flags: CheckpointFlags) -> Result<bool> {
    if wal::in_recovery() && !flags.contains(CheckpointFlags::END_OF_RECOVERY) {
        return restartpoint::create(flags);
    }
    checkpoint::create(flags).map(|()| true)
}

fn warn_if_too_frequent(since_last: Duration) {
    let Some(text) = pace::too_frequent(since_last, guc::vars::CHECKPOINT_WARNING.get()) else { return };
    let location = SourceLocation { routine: "CheckpointerMain", file: "checkpointer.rs", line: line!() };
    PgError::new(Severity::Log, common::SqlState::SUCCESSFUL_COMPLETION, text, location)
        .hint("Consider increasing the configuration parameter \"max_wal_size\".")
        .report();
}

fn count(requested: bool, timed: bool) {
    counters::buffers(|buffers| {
        if requested {
            counters::add(&buffers.checkpoints_requested, 1);
        } else if timed {
            counters::add(&buffers.checkpoints_timed, 1);
        }
    });
}

/// Files that sessions had to sync because the queue was full. C: the counters in `AbsorbSyncRequests`.
fn count_backend_syncs() {
    let syncs = storage::sync::take_stats().backend_syncs;
    counters::buffers(|buffers| counters::add(&buffers.fsync_backend, i64::from(syncs)));
}

fn report_statistics() {
    pgstat::report_buffers();
    pgstat::report_wal();
}

/// The last thing that is written before the cluster stops. C: `ShutdownXLOG`.
fn shut_down() -> Result<()> {
    ereport!(Log, "shutting down");
    // K8: a walsender that runs commands could still write WAL.
    let _over = checkpoint::Over;
    let gauge = gauges::checkpoint();
    gauge.set_bytes_to_write(storage::dirty_buffers() * common::BLCKSZ as u64);
    gauge.enter(Phase::WaitsForWalSenders);
    walsnd::init_stopping();
    walsnd::wait_stopping();
    gauge.enter(Phase::Writing);
    shut_down_standalone()
}

/// The same in a process without a postmaster: there is nobody to wait for, and nobody whom the log should tell.
///
/// # Errors
/// Those of the checkpoint.
pub fn shut_down_standalone() -> Result<()> {
    let flags = CheckpointFlags::SHUTDOWN | CheckpointFlags::IMMEDIATE;
    if wal::in_recovery() {
        return restartpoint::create(flags).map(drop);
    }
    if wal::archive::is_active() {
        // All that was done shall reach the archive: the archiver's last cycle follows when this process has ended. The
        // checkpoint's own record begins the next segment, which waits for the next life.
        wal::records::request_switch(false);
    }
    checkpoint::create(flags)?;
    transam::shutdown()?;
    report_statistics();
    Ok(())
}
