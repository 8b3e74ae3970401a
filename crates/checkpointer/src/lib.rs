//! The checkpointer: makes what is in memory also true on disk, on time, on request and at shutdown.
//!
//! Started by: the postmaster at start, also during recovery; again whenever it ends.
//! Woken by:   its latch: SIGINT means that somebody left a request in shared memory; otherwise when
//!             `checkpoint_timeout` has passed since the last checkpoint.
//! Ends by:    SIGUSR2 = shutdown checkpoint, then exit 0. SIGTERM is ignored, so that a stop of the whole
//!             machine cannot take it away before the sessions. SIGQUIT = exit 2 at once. Death of the
//!             postmaster = exit 1 at once.
//! If it dies: a crash, unless it is the exit 0 that the postmaster asked for.
//! Differs from PG 15: there are no buffers and no WAL yet, so a checkpoint is an update of pg_control; one
//!             that nobody forces finds nothing to do and is skipped, as PostgreSQL skips it on an idle
//!             cluster.
//!
//! C counterpart: postmaster/checkpointer.c.

#![forbid(unsafe_code)]

mod checkpointer; // 1. how the others ask for one (the file has C's name: LOCATION shows it)

mod checkpoint; // 2. what a checkpoint does

use std::time::{Duration, Instant};

use auxprocess::Turn;
use elog::{Result, ereport};
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use miscinit::{exit, ps_status};
use shmem::wait_event::WaitEvent;

pub use checkpointer::{CheckpointFlags, request_checkpoint, reserve};

/// Entry point. C: `CheckpointerMain`.
pub fn checkpointer_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    checkpointer::announce();
    exit::on_shmem_exit(|_| checkpointer::withdraw());
    let mut last_checkpoint = Instant::now();
    auxprocess::main_loop(move || turn(&mut last_checkpoint))
}

fn turn(last_checkpoint: &mut Instant) -> Result<Turn> {
    if interrupt::take(Pending::LastCycle) {
        shut_down()?;
        return Ok(Turn::Exit(0));
    }
    let timeout = Duration::from_secs(guc::vars::CHECKPOINT_TIMEOUT.get() as u64);
    let requested = checkpointer::take();
    let timed_out = last_checkpoint.elapsed() >= timeout;
    if let Some(work) = requested.or_else(|| timed_out.then(checkpointer::Work::timed)) {
        *last_checkpoint = Instant::now();
        let flags = if timed_out { work.flags | CheckpointFlags::TIME } else { work.flags };
        let outcome = checkpoint::create(flags);
        checkpointer::finish(work, outcome.is_ok());
        outcome?;
        return Ok(Turn::Again);
    }
    let left = timeout.saturating_sub(last_checkpoint.elapsed());
    Ok(Turn::Sleep(Some(left), WaitEvent::CHECKPOINTER_MAIN))
}

/// The last thing that is written before the cluster stops. C: `ShutdownXLOG`.
fn shut_down() -> Result<()> {
    ereport!(Log, "shutting down");
    ps_status::set_activity("performing shutdown checkpoint");
    checkpoint::create(CheckpointFlags::SHUTDOWN | CheckpointFlags::IMMEDIATE)?;
    ps_status::set_activity("");
    Ok(())
}
