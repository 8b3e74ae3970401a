//! The checkpointer: makes what is in memory also true on disk, on time, on request and at shutdown.
//!
//! Started by: the postmaster at start, also during recovery; again whenever it ends.
//! Woken by:   its latch: SIGINT means that somebody left a request in shared memory; otherwise when
//!             `checkpoint_timeout` has passed since the last checkpoint.
//! Ends by:    SIGUSR2 = shutdown checkpoint, then exit 0. SIGTERM is ignored, so that a stop of the whole
//!             machine cannot take it away before the sessions. SIGQUIT = exit 2 at once. Death of the
//!             postmaster = exit 1 at once.
//! If it dies: a crash, unless it is the exit 0 that the postmaster asked for.
//! Differs from PG 15: no restartpoints: during recovery only the end-of-recovery checkpoint is made. A request to
//!             a checkpointer whose postmaster is dead fails at once.
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
//!
//! C counterpart: postmaster/checkpointer.c; `CreateCheckPoint` of xlog.c.

#![forbid(unsafe_code)]

mod checkpointer; // 1. how the others ask for one (the file has C's name: LOCATION shows it)

mod checkpoint; // 2. what a checkpoint does
mod pace; // 3. how fast
mod report; // 4. what the log says of it

use std::time::{Duration, Instant};

use activity::counters;
use auxprocess::Turn;
use common::pg_control::DbState;
use elog::{PgError, Result, Severity, SourceLocation, ereport};
use miscinit::child::ChildStart;
use miscinit::exit;
use miscinit::interrupt::{self, Pending};
use shmem::wait_event::WaitEvent;

pub use checkpoint::add_guts;
pub use checkpointer::{
    CheckpointFlags, first_call_since_last_checkpoint, request_checkpoint, request_for_wal_volume, reserve,
};

/// After a failed checkpoint, before the next attempt.
const REST_AFTER_ERROR: Duration = Duration::from_secs(1);

/// Entry point. C: `CheckpointerMain`.
pub fn checkpointer_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    storage::init_process();
    checkpointer::announce();
    exit::on_shmem_exit(|_| checkpointer::withdraw());
    let mut last_checkpoint = Instant::now();
    auxprocess::main_loop(move || turn(&mut last_checkpoint))
}

fn turn(last_checkpoint: &mut Instant) -> Result<Turn> {
    storage::sync::absorb();
    if !wal::in_recovery() {
        // A reload may have changed it.
        wal::records::update_full_page_writes();
    }
    if interrupt::take(Pending::LastCycle) {
        shut_down().map_err(abort_if_panic)?;
        return Ok(Turn::Exit(0));
    }
    let timeout = Duration::from_secs(guc::vars::CHECKPOINT_TIMEOUT.get() as u64);
    let requested = checkpointer::take();
    let elapsed = last_checkpoint.elapsed();
    let timed_out = elapsed >= timeout;
    count(requested.is_some(), timed_out);
    if let Some(work) = requested.or_else(|| timed_out.then(checkpointer::Work::timed)) {
        let flags = if timed_out { work.flags | CheckpointFlags::TIME } else { work.flags };
        let began = Instant::now();
        let outcome = perform(flags, elapsed);
        // Files of dropped relations must not stay open for ever in a process that never ends.
        storage::smgr::close_all();
        if let Err(error) = outcome.map_err(abort_if_panic) {
            // Whoever asked is told to look into the log: the reason is there first.
            error.report();
            checkpointer::finish(work, false);
            if error.severity >= Severity::Fatal {
                exit::proc_exit(1);
            }
            return Ok(Turn::Sleep(Some(REST_AFTER_ERROR), WaitEvent::PG_SLEEP));
        }
        checkpointer::finish(work, true);
        // One that failed is tried again soon, if it is due by time.
        *last_checkpoint = began;
        report_statistics();
        return Ok(Turn::Again);
    }
    count_backend_syncs();
    report_statistics();
    let left = timeout.saturating_sub(last_checkpoint.elapsed());
    Ok(Turn::Sleep(Some(left), WaitEvent::CHECKPOINTER_MAIN))
}

/// A failed fsync, for one: what is on disk is unknown, and the next try would not tell.
fn abort_if_panic(error: PgError) -> PgError {
    if error.severity >= Severity::Panic {
        elog::abort(error);
    }
    error
}

/// A checkpoint, if there can be one now.
fn perform(flags: CheckpointFlags, since_last: Duration) -> Result<()> {
    let end_of_recovery = flags.contains(CheckpointFlags::END_OF_RECOVERY);
    if wal::in_recovery() && !end_of_recovery {
        // What a standby calls a restartpoint. After a crash there is none: recovery either ends or begins again.
        ereport!(Debug2, "skipping restartpoint, recovery has not ended");
        return Ok(());
    }
    if flags.contains(CheckpointFlags::CAUSE_XLOG) && !end_of_recovery {
        warn_if_too_frequent(since_last);
    }
    checkpoint::create(flags)
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
    if wal::in_recovery() {
        // Recovery was interrupted: it begins again at the same checkpoint. C: `CreateRestartPoint`, skipped.
        return wal::control_file::update(|control| {
            if control.state == DbState::InCrashRecovery {
                control.state = DbState::ShutDownInRecovery;
            }
        });
    }
    checkpoint::create(CheckpointFlags::SHUTDOWN | CheckpointFlags::IMMEDIATE)?;
    transam::shutdown()?;
    report_statistics();
    Ok(())
}
