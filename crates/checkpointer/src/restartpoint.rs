//! Restartpoints: what a checkpoint is during recovery.
//!
//! Recovery writes no WAL, so it cannot make a checkpoint. But at a place where the primary made one, everything that
//! was changed before can be written to disk, and then pg_control can name that place: the next recovery begins there.
//!
//! 1. The startup process replays a checkpoint record and leaves it here ([`record_checkpoint`]), unless something is not
//!    right yet at that place.
//! 2. The checkpointer, when it would make a checkpoint, takes the last one left: that it has been replayed is all that the
//!    place needs. Everything dirty is written, then pg_control names it (K1). The minimum recovery point goes along to the end
//!    of that record: what is on disk now includes it.
//! 3. WAL before its redo point is no longer needed here (K9: but by those who follow, if the server stops); `archive_cleanup_command` says so to the archive.
//!
//! C counterpart: `RecoveryRestartPoint`, `CreateRestartPoint` of xlog.c.

use common::pg_control::{CheckPoint, ControlFileData, DbState};
use common::{Lsn, TimeLineId};
use elog::{PgError, Result, Severity, SourceLocation, ereport};
use shmem::{Reservation, ShmVar, SpinLock, shm_struct};

use crate::report::{self, Kind, Statistics};
use crate::{CheckpointFlags, checkpoint};

shm_struct! {
    /// The last checkpoint record replayed at which a restartpoint can be made. C: `lastCheckPoint` and its neighbours.
    #[derive(Clone, Copy)]
    struct Last {
        start: u64,
        end: u64,
        checkpoint: [u8; CheckPoint::SIZE],
    }
}

static LAST: ShmVar<SpinLock<Last>> = ShmVar::new("Last replayed checkpoint");

/// See [`crate::reserve`].
pub(crate) fn reserve(reservation: &mut Reservation) {
    reservation.var(&LAST, || SpinLock::new(Last { start: 0, end: 0, checkpoint: [0; CheckPoint::SIZE] }));
}

/// The startup process has replayed this checkpoint record, which lies from `start` to `end`: a restartpoint can be made
/// there. Not while replay has come across pages that do not exist: if that is an error, it must be found again.
/// C: `RecoveryRestartPoint`.
pub fn record_checkpoint(checkpoint: &CheckPoint, start: Lsn, end: Lsn) {
    if storage::redo::have_invalid_pages() {
        ereport!(
            Debug2,
            "could not record restart point at {} because there are unresolved references to invalid pages",
            checkpoint.redo
        );
        return;
    }
    let last = Last { start: start.0, end: end.0, checkpoint: checkpoint.to_bytes() };
    *LAST.get().lock() = last;
}

/// What was left last, if anything was.
fn last_recorded() -> Option<(CheckPoint, Lsn, Lsn)> {
    let last = *LAST.get().lock();
    let checkpoint = CheckPoint::from_bytes(&last.checkpoint)?;
    (last.start != 0).then_some((checkpoint, Lsn(last.start), Lsn(last.end)))
}

/// Makes a restartpoint. False if there is none to make: recovery is over, or no checkpoint has been replayed since the last.
/// C: `CreateRestartPoint`.
///
/// # Errors
/// Those of writing and syncing; the restartpoint has then not been made. PANIC from pg_control.
pub(crate) fn create(flags: CheckpointFlags) -> Result<bool> {
    let last = last_recorded();
    if !wal::in_recovery() {
        ereport!(Debug2, "skipping restartpoint, recovery has already ended");
        return Ok(false);
    }
    let prior_redo = wal::control_file::read()?.checkpoint_copy.redo;
    let Some((checkpoint, start, end)) = last.clone().filter(|(checkpoint, ..)| checkpoint.redo > prior_redo)
    else {
        skip(last.map_or(Lsn::INVALID, |(checkpoint, ..)| checkpoint.redo), flags)?;
        return Ok(false);
    };
    // The startup process measures from here how much has been replayed since.
    wal::checkpoint::set_restart_redo(checkpoint.redo);
    let _over = checkpoint::Over;
    let mut statistics = Statistics::begin(Kind::Restartpoint);
    report::log_start(flags, Kind::Restartpoint);
    report::show_in_title(flags, Kind::Restartpoint);
    checkpoint::guts(flags, checkpoint.redo, &mut statistics)?;
    wal::control_file::update(|control| {
        name_in_control_file(control, &checkpoint, start, end, flags.contains(CheckpointFlags::SHUTDOWN));
    })?;
    wal::recovery_point::forget();
    if prior_redo != Lsn::INVALID {
        wal::recycle::update_distance_estimate(checkpoint.redo.0.saturating_sub(prior_redo.0));
    }
    statistics.segments = wal::recycle::after_restartpoint(
        checkpoint.redo,
        replication::walrcv::flushed().lsn,
        checkpoint::needed_by_receivers(flags),
        replication::slot::invalidate_obsolete,
    )?;
    transam::after_checkpoint()?;
    statistics.finish();
    report::clear_title();
    log_place(checkpoint.redo);
    clean_archive()?;
    Ok(true)
}

/// Nothing new to name: but what has been written since then needs the minimum recovery point that goes with it, and a
/// shutdown is told all the same.
fn skip(redo: Lsn, flags: CheckpointFlags) -> Result<()> {
    ereport!(Debug2, "skipping restartpoint, already performed at {redo}");
    wal::recovery_point::update(Lsn::INVALID, true)?;
    if flags.contains(CheckpointFlags::SHUTDOWN) {
        wal::control_file::update(|control| control.state = DbState::ShutDownInRecovery)?;
    }
    Ok(())
}

/// Under the lock of pg_control.
fn name_in_control_file(
    control: &mut ControlFileData,
    checkpoint: &CheckPoint,
    start: Lsn,
    end: Lsn,
    shutdown: bool,
) {
    // The end-of-recovery checkpoint may have been made meanwhile: it counts.
    if control.checkpoint_copy.redo >= checkpoint.redo {
        return;
    }
    control.checkpoint = start;
    control.checkpoint_copy = checkpoint.clone();
    let least = (control.min_recovery_point, control.min_recovery_point_timeline);
    let ((lsn, timeline), state) =
        to_be_reached(control.state, least, (end, checkpoint.this_timeline), shutdown);
    (control.min_recovery_point, control.min_recovery_point_timeline) = (lsn, timeline);
    control.state = state;
}

/// The minimum recovery point that goes with a restartpoint whose record ends at `end`, and pg_control's state.
fn to_be_reached(
    state: DbState,
    least: (Lsn, TimeLineId),
    end: (Lsn, TimeLineId),
    shutdown: bool,
) -> ((Lsn, TimeLineId), DbState) {
    if state != DbState::InArchiveRecovery {
        // Crash recovery, or none any more: all of WAL is to be replayed. But if recovery has ended meanwhile, the point
        // tells where the new timeline begins, and without it the next crash recovery would not follow there. (PG 15
        // forgets it in this case, too.)
        let point = if least.1 > end.1 { least } else { (Lsn::INVALID, TimeLineId(0)) };
        return (point, state);
    }
    let state = if shutdown { DbState::ShutDownInRecovery } else { state };
    (if least.0 < end.0 { end } else { least }, state)
}

fn log_place(redo: Lsn) {
    let severity = if guc::vars::LOG_CHECKPOINTS.get() { Severity::Log } else { Severity::Debug2 };
    if !elog::wants(severity) {
        return;
    }
    let location = SourceLocation { routine: "CreateRestartPoint", file: "restartpoint.rs", line: line!() };
    let text = format!("recovery restart point at {redo}");
    let mut report = PgError::new(severity, common::SqlState::SUCCESSFUL_COMPLETION, text, location);
    if let Some(time) = wal::recovery::latest_xact_time() {
        let at = guc::timestamptz_text(time);
        report = report.detail(format!("Last completed transaction was at log time {at}."));
    }
    report.report();
}

/// The archive may forget what the next recovery does not need.
fn clean_archive() -> Result<()> {
    let command = guc::vars::ARCHIVE_CLEANUP_COMMAND.get();
    if command.is_empty() {
        return Ok(());
    }
    wal::restore::execute_recovery_command(&command, "archive_cleanup_command", false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pg_control_tells_what_must_be_reached() {
        use DbState::*;
        let end = (Lsn(700), TimeLineId(2));
        for (state, least, shutdown, expected, state_after) in [
            (InArchiveRecovery, (650, 1), false, (700, 2), InArchiveRecovery),
            (InArchiveRecovery, (900, 1), true, (900, 1), ShutDownInRecovery),
            (InArchiveRecovery, (0, 0), true, (700, 2), ShutDownInRecovery),
            (InCrashRecovery, (650, 2), true, (0, 0), InCrashRecovery),
            (InProduction, (0, 0), false, (0, 0), InProduction),
            // A promotion was faster.
            (InProduction, (900, 3), false, (900, 3), InProduction),
        ] {
            let found = to_be_reached(state, (Lsn(least.0), TimeLineId(least.1)), end, shutdown);
            assert_eq!(found, ((Lsn(expected.0), TimeLineId(expected.1)), state_after));
        }
    }
}
