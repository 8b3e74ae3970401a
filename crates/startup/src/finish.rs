//! The end of recovery: WAL becomes writable where replay stopped, after archive recovery on a timeline of its own.
//!
//! The order is what makes a crash in the middle harmless:
//!
//! 1. replay must have come far enough (`check_end`);
//! 2. the new timeline: its history file, so that its number is taken; its first segment (`begin_timeline`);
//! 3. this process may write: what belongs first, then a checkpoint, or after a promotion just a record (`end_recovery`);
//! 4. pg_control leads to the new timeline now: the signal files go, so that the next start does not recover from the archive
//!    again;
//! 5. the old timeline's leftovers go; pg_control says "in production"; everybody may write (`open_cluster`).
//!
//! A crash before the end of 3 repeats recovery from the last restartpoint, with the same target, and takes another number.
//! PostgreSQL removes the signal files before 3: after such a crash it goes beyond the target, on the old timeline. A crash
//! between 3 and 4 leaves a signal file whose target lies behind: the next start sees that (`begin::is_completed`).
//!
//! C counterpart: the second half of `StartupXLOG`, `FinishWalRecovery`, `PerformRecoveryXLogAction`.

use common::pg_control::DbState;
use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, ereport, fatal, pg_error};
use miscinit::globals;
use wal::startup::EndOfWal;
use wal::{PageSource, recovery, timeline, timeline_switch};

use crate::begin::Plan;
use crate::cleanup::{self, Unlogged};
use crate::redo::{Purpose, Reader, Replayed};
use crate::signals::{Signals, Wish};
use crate::{Checkpoints, state, xlog};

/// Where WAL ends. C: `EndOfWalRecoveryInfo`.
struct End {
    wal: EndOfWal,
    /// Timeline in the name of the segment it ends in. C: `endOfLogTLI`.
    of_file: TimeLineId,
    /// Timeline of the last record. C: `lastRecTLI`.
    of_record: TimeLineId,
}

/// Everything after the last record. C: the second half of `StartupXLOG`.
///
/// # Errors
/// FATAL if recovery has not come far enough; those of writing WAL's files and pg_control.
pub(crate) fn finish(
    plan: &Plan,
    (signals, wish): (Signals, &Wish),
    replayed: &Replayed,
    reader: &mut Reader,
    checkpoints: &dyn Checkpoints,
) -> Result<()> {
    let end = find_end(plan, replayed, reader)?;
    miscinit::ps_status::set_activity("");
    if plan.recover {
        check_end(end.wal.end)?;
        cleanup::reset_unlogged(globals::data_dir(), Unlogged::Init)?;
    }
    crate::leave_if_asked()?;
    // Found out before anything is changed.
    transam::twophase::prescan()?;
    let timeline = if signals.archive() {
        begin_timeline(&end, &wish.target.reason(replayed.stop.as_ref()))?
    } else {
        end.of_record
    };
    open_wal(&end, timeline)?;
    let promoted = plan.recover && end_recovery(checkpoints)?;
    signals.remove()?;
    wal::records::report_parameters()?;
    if signals.archive() {
        timeline_switch::clean_up_after_archive_recovery(end.of_file, end.wal.end, timeline)?;
    }
    open_cluster()?;
    // Those of standbys of this one: it is a primary now.
    replication::walsnd::wakeup();
    if promoted {
        // Not needed for anything but a quick recovery, should there be one soon.
        checkpoints.after_promotion()?;
    }
    Ok(())
}

/// C: `FinishWalRecovery`.
fn find_end(plan: &Plan, replayed: &Replayed, reader: &mut Reader) -> Result<End> {
    // It would write over what comes behind the end.
    reader.source_mut().stop_receiver()?;
    // No more waiting: what is read now has been read before.
    wal::restore::set_standby_mode(false);
    let last_record = if replayed.records == 0 { plan.checkpoint_start } else { replayed.last_record };
    reader.source_mut().prepare(true, Purpose::Again);
    let wal = wal::startup::find_end(reader, last_record, replayed.broken).map_err(|reason| {
        let unreadable = || pg_error!(Panic, SqlState::DATA_CORRUPTED, "{reason}");
        reader.source_mut().take_error().unwrap_or_else(unreadable)
    })?;
    let (of_file, of_record) = state::with(|state| (state.file_timeline.get(), state.replay_timeline.get()));
    if state::archive_requested() {
        state::with(|state| state.in_archive.set(false));
    }
    Ok(End { wal, of_file, of_record })
}

/// Step 1. C: in `StartupXLOG`.
fn check_end(end: Lsn) -> Result<()> {
    let (min_point, backup_start, required) = state::with(|state| {
        (state.min_point.get(), state.backup_start.get(), state.backup_end_required.get())
    });
    if end >= min_point && backup_start == Lsn::INVALID || !state::archive_requested() && !required {
        return Ok(());
    }
    Err(if backup_start != Lsn::INVALID || required {
        fatal!(SqlState::INTERNAL_ERROR, "WAL ends before end of online backup")
            .hint("All WAL generated while online backup was taken must be available at recovery.")
    } else {
        fatal!(SqlState::INTERNAL_ERROR, "WAL ends before consistent recovery point")
    })
}

/// Step 2. C: in `StartupXLOG`.
fn begin_timeline(end: &End, reason: &str) -> Result<TimeLineId> {
    // Should there be another recovery, it may not stop before what the checkpoint of the end writes to disk.
    wal::recovery_point::update(Lsn::INVALID, true)?;
    let parent = state::with(|state| state.target_timeline.get());
    let new = TimeLineId(timeline::find_newest(parent)?.0 + 1);
    ereport!(Log, "selected new timeline ID: {}", new.0);
    timeline::write_history(new, parent, end.wal.end, reason)?;
    timeline_switch::init_new_timeline(end.of_file, end.wal.end, new)?;
    ereport!(Log, "archive recovery complete");
    Ok(new)
}

/// WAL goes on where it ends. Only this process may write it yet. C: in `StartupXLOG`.
fn open_wal(end: &End, timeline: TimeLineId) -> Result<()> {
    wal::startup::begin_writing(&end.wal, timeline, end.of_record);
    wal::recycle::preallocate(end.wal.end, timeline)?;
    transam::trim()?;
    transam::twophase::recover_all()?;
    wal::restore::remove_temporary_files();
    if let Some(broken) = end.wal.broken {
        wal::records::log_overwrite_contrecord(broken.start, broken.missing)?;
    }
    wal::startup::set_full_page_writes(xlog::full_page_writes());
    wal::records::update_full_page_writes();
    Ok(())
}

/// Step 3; true after a promotion. A standby should take sessions at once: the record is enough for that, the checkpoint may come
/// later. C: `PerformRecoveryXLogAction`.
fn end_recovery(checkpoints: &dyn Checkpoints) -> Result<bool> {
    if state::archive_requested() && recovery::promote_is_triggered() {
        wal::records::end_of_recovery()?;
        return Ok(true);
    }
    checkpoints.end_of_recovery()?;
    Ok(false)
}

/// Step 5.
fn open_cluster() -> Result<()> {
    wal::control_file::update(|control| control.state = DbState::InProduction)?;
    // From here on everybody may write.
    wal::startup::finish();
    wal::restore::set_archive_recovery(false);
    // Sessions take their snapshots from the process array from now on.
    transam::standby::finish();
    Ok(())
}
