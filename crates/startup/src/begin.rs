//! Where recovery begins, and whether there is anything to recover: pg_control, the files that ask for another
//! kind of recovery, the checkpoint record.
//!
//! C counterpart: the first half of `StartupXLOG`, `InitWalRecovery`.

use std::path::Path;

use common::pg_control::{CheckPoint, ControlFileData, DbState};
use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, ereport, fatal, pg_error};
use miscinit::globals;

use crate::label::{self, Label};
use crate::redo::{Purpose, Reader};
use crate::signals::Signals;
use crate::{redo, state, xlog};

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The last checkpoint, or the one that a backup began with.
    pub(crate) checkpoint: CheckPoint,
    /// Start of its record.
    pub(crate) checkpoint_start: Lsn,
    /// End of its record: without redo, the end of WAL.
    pub(crate) checkpoint_end: Lsn,
    /// Timeline that the record was read on.
    pub(crate) timeline: TimeLineId,
    /// It is one of a shutdown: nothing was running.
    pub(crate) was_shutdown: bool,
    /// WAL has to be replayed. C: `InRecovery`.
    pub(crate) recover: bool,
    /// The backup that recovery begins with. C: `haveBackupLabel`.
    pub(crate) label: Option<Label>,
    /// There was a map of tablespaces with it. C: `haveTblspcMap`.
    pub(crate) tablespace_map: bool,
}

impl Plan {
    /// Where replay begins. A checkpoint made online has its redo point before its record; one made at shutdown is its own
    /// redo point.
    pub(crate) fn first_record(&self) -> Lsn {
        if self.checkpoint.redo < self.checkpoint_start { self.checkpoint.redo } else { self.checkpoint_end }
    }
}

/// Says how the cluster ended last time, which tells an operator what to expect now.
pub(crate) fn log_previous_end(control: &ControlFileData) {
    let state = control.state;
    // Of a replay only WAL's own time says something.
    let last = if state == DbState::InArchiveRecovery { control.checkpoint_copy.time } else { control.time };
    let at = crate::timestamp_text(last);
    let with_hint = |error: PgError, hint: &str| error.hint(hint).report();
    match state {
        DbState::ShutDown => ereport!(Log, "database system was shut down at {at}"),
        DbState::ShutDownInRecovery => ereport!(Log, "database system was shut down in recovery at {at}"),
        DbState::ShuttingDown => {
            ereport!(Log, "database system shutdown was interrupted; last known up at {at}")
        }
        DbState::InCrashRecovery => with_hint(
            pg_error!(
                Log,
                SqlState::SUCCESSFUL_COMPLETION,
                "database system was interrupted while in recovery at {at}"
            ),
            "This probably means that some data is corrupted and you will have to use the last backup for recovery.",
        ),
        DbState::InArchiveRecovery => with_hint(
            pg_error!(
                Log,
                SqlState::SUCCESSFUL_COMPLETION,
                "database system was interrupted while in recovery at log time {at}"
            ),
            "If this has occurred more than once some data might be corrupted and you might need to choose an earlier recovery target.",
        ),
        DbState::StartingUp | DbState::InProduction => {
            ereport!(Log, "database system was interrupted; last known up at {at}");
        }
    }
}

/// True unless the last run ended with a shutdown checkpoint.
pub(crate) fn is_crash(state: DbState) -> bool {
    !matches!(state, DbState::ShutDown | DbState::ShutDownInRecovery)
}

/// The directories that WAL needs. C: `ValidateXLOGDirectoryStructure`.
///
/// # Errors
/// FATAL if `pg_wal` is no directory, or its `archive_status` cannot be made.
pub(crate) fn check_directories(data_dir: &Path) -> Result<()> {
    if !data_dir.join("pg_wal").is_dir() {
        let text = "required WAL directory \"pg_wal\" does not exist";
        return Err(fatal!(SqlState::INTERNAL_ERROR, "{text}"));
    }
    let status = data_dir.join("pg_wal/archive_status");
    if status.is_dir() {
        return Ok(());
    }
    if status.exists() {
        let text = "required WAL directory \"pg_wal/archive_status\" does not exist";
        return Err(fatal!(SqlState::INTERNAL_ERROR, "{text}"));
    }
    ereport!(Log, "creating missing WAL directory \"pg_wal/archive_status\"");
    std::fs::create_dir(&status).map_err(|e| {
        fatal!(
            SqlState::INTERNAL_ERROR,
            "could not create missing directory \"pg_wal/archive_status\": {}",
            elog::errno_text(&e)
        )
    })
}

/// Timeline that recovery goes to if nothing else is asked for: the newest that pg_control knows of.
/// C: the beginning of `InitWalRecovery`.
pub(crate) fn known_timeline(control: &ControlFileData) -> TimeLineId {
    control.min_recovery_point_timeline.max(control.checkpoint_copy.this_timeline)
}

/// An archive recovery has been completed, and nothing has been done since: pg_control has the checkpoint of its end, the first
/// one of a timeline. A label asks for another recovery.
pub(crate) fn is_completed(control: &ControlFileData, data_dir: &Path) -> bool {
    let checkpoint = &control.checkpoint_copy;
    control.state == DbState::ShutDown
        && checkpoint.prev_timeline != checkpoint.this_timeline
        && !data_dir.join(label::BACKUP_LABEL).exists()
}

/// Finds the checkpoint that recovery begins with, and decides. C: `InitWalRecovery`.
///
/// # Errors
/// FATAL or PANIC if there is no place to begin, or none that leads to the timeline that was asked for.
pub(crate) fn plan(control: &ControlFileData, signals: Signals, reader: &mut Reader) -> Result<Plan> {
    let data_dir = globals::data_dir();
    let mut plan = match Label::find(data_dir)? {
        Some(label) => from_label(label, reader)?,
        None => from_control_file(control, signals, reader)?,
    };
    check_timelines(control, &plan)?;
    let shown = if plan.was_shutdown { "true" } else { "false" };
    ereport!(Debug1, "redo record is at {}; shutdown {shown}", plan.checkpoint.redo);
    let asked = plan.label.is_some() || signals.archive();
    let needed = decide(control.state, plan.checkpoint_start, plan.checkpoint.redo, plan.was_shutdown)
        .map_err(|text| panic(text.to_owned()))?;
    plan.recover = asked || needed;
    Ok(plan)
}

/// The part of [`plan`] with a backup. C: in `InitWalRecovery`.
fn from_label(label: Label, reader: &mut Reader) -> Result<Plan> {
    let data_dir = globals::data_dir();
    // How far WAL must be replayed is known: there is no need to go through pg_wal first.
    state::enter_archive();
    ereport!(
        Log,
        "starting backup recovery with redo LSN {}, checkpoint LSN {}, on timeline ID {}",
        label.redo,
        label.checkpoint,
        label.timeline.0
    );
    let lost = |text: &'static str| fatal!(SqlState::INTERNAL_ERROR, "{text}").hint(label::hint(data_dir));
    let place = xlog::CheckpointPlace::Label;
    reader.source_mut().look_for_checkpoint(Some((label.redo, label.timeline)));
    let found = xlog::read_checkpoint(reader, label.checkpoint, place, label.timeline)?;
    reader.source_mut().look_for_checkpoint(None);
    let found = found.ok_or_else(|| lost("could not locate required checkpoint record"))?;
    ereport!(Debug1, "checkpoint record is at {}", label.checkpoint);
    if !redo_exists(reader, &found.checkpoint, label.checkpoint)? {
        return Err(lost("could not find redo location referenced by checkpoint record"));
    }
    let tablespaces = label::find_tablespace_map(data_dir)?;
    label::link_tablespaces(data_dir, tablespaces.as_deref().unwrap_or_default())?;
    Ok(Plan {
        checkpoint: found.checkpoint,
        checkpoint_start: label.checkpoint,
        checkpoint_end: found.end,
        timeline: label.timeline,
        was_shutdown: found.shutdown,
        recover: true,
        label: Some(label),
        tablespace_map: tablespaces.is_some(),
    })
}

/// The part of [`plan`] without one. C: in `InitWalRecovery`.
fn from_control_file(control: &ControlFileData, signals: Signals, reader: &mut Reader) -> Result<Plan> {
    label::ignore_lone_map(globals::data_dir());
    if signals.archive() && knows_where_consistent(control) {
        state::enter_archive();
    }
    if control.backup_start_point != Lsn::INVALID {
        ereport!(Log, "restarting backup recovery with redo LSN {}", control.backup_start_point);
    }
    let (at, timeline) = (control.checkpoint, control.checkpoint_copy.this_timeline);
    if !xlog::is_valid_record_start(at) {
        return Err(fatal!(SqlState::DATA_CORRUPTED, "control file contains invalid checkpoint location"));
    }
    reader.source_mut().look_for_checkpoint(Some((control.checkpoint_copy.redo, timeline)));
    let found = xlog::read_checkpoint(reader, at, xlog::CheckpointPlace::ControlFile, timeline)?;
    reader.source_mut().look_for_checkpoint(None);
    let Some(found) = found else {
        return Err(panic("could not locate a valid checkpoint record".to_owned()));
    };
    ereport!(Debug1, "checkpoint record is at {at}");
    // A missing start must not look like an empty log.
    if !redo_exists(reader, &found.checkpoint, at)? {
        let (redo, at) = (long_form(found.checkpoint.redo), long_form(at));
        return Err(panic(format!(
            "could not find redo location {redo} referenced by checkpoint record at {at}"
        )));
    }
    Ok(Plan {
        checkpoint: found.checkpoint,
        checkpoint_start: at,
        checkpoint_end: found.end,
        timeline,
        was_shutdown: found.shutdown,
        recover: false,
        label: None,
        tablespace_map: false,
    })
}

fn redo_exists(reader: &mut Reader, checkpoint: &CheckPoint, at: Lsn) -> Result<bool> {
    if checkpoint.redo >= at {
        return Ok(true);
    }
    redo::begin_read(reader, checkpoint.redo, checkpoint.this_timeline);
    Ok(redo::read_with(reader, Purpose::Beginning, &mut |_| Ok(()))?.is_some())
}

/// From a copy made while the cluster ran, without telling it, nobody knows from where on it is consistent: what lies in its
/// `pg_wal` is replayed first, as after a crash. Otherwise pg_control tells.
fn knows_where_consistent(control: &ControlFileData) -> bool {
    control.min_recovery_point != Lsn::INVALID
        || control.backup_end_required
        || control.backup_end_point != Lsn::INVALID
        || control.state == DbState::ShutDown
}

/// What is on disk must be part of the history of the timeline that was asked for.
fn check_timelines(control: &ControlFileData, plan: &Plan) -> Result<()> {
    let target = state::with(|state| state.target_timeline.get()).0;
    let Some(history) = state::expected() else { return Ok(()) };
    if history.tli_of_point(plan.checkpoint_start) != Some(plan.timeline) {
        let Some((switch, _)) = history.switch_point(plan.timeline) else {
            return Err(elog::error!(
                SqlState::INTERNAL_ERROR,
                "requested timeline {} is not in this server's history",
                plan.timeline.0
            ));
        };
        let text = format!("requested timeline {target} is not a child of this server's history");
        return Err(fatal!(SqlState::INTERNAL_ERROR, "{text}").detail(format!(
            "Latest checkpoint is at {} on timeline {}, but in the history of the requested timeline, the \
             server forked off from that timeline at {switch}.",
            control.checkpoint, control.checkpoint_copy.this_timeline.0
        )));
    }
    let (point, of_point) = (control.min_recovery_point, control.min_recovery_point_timeline);
    if point != Lsn::INVALID && history.tli_of_point(Lsn(point.0 - 1)) != Some(of_point) {
        return Err(fatal!(
            SqlState::INTERNAL_ERROR,
            "requested timeline {target} does not contain minimum recovery point {point} on timeline {}",
            of_point.0
        ));
    }
    Ok(())
}

/// Writes into pg_control that recovery begins, where, and how far it must get at least; so that after a crash from now on it
/// begins there again. The label has done its work then. C: in `InitWalRecovery` and `StartupXLOG`.
///
/// # Errors
/// FATAL if label and pg_control contradict each other, or a file cannot be renamed; those of writing pg_control.
pub(crate) fn record_start(plan: &Plan, state_before: DbState) -> Result<()> {
    let archive = state::in_archive();
    if let Some(label) = &plan.label {
        let was_standby = matches!(state_before, DbState::InArchiveRecovery | DbState::ShutDownInRecovery);
        if label.from_standby && !was_standby {
            return Err(fatal!(
                SqlState::INTERNAL_ERROR,
                "backup_label contains data inconsistent with control file"
            )
            .hint("This means that the backup is corrupted and you will have to use another backup for recovery."));
        }
    }
    wal::control_file::update(|control| {
        control.state = if archive { DbState::InArchiveRecovery } else { DbState::InCrashRecovery };
        control.checkpoint = plan.checkpoint_start;
        control.checkpoint_copy = plan.checkpoint.clone();
        if archive && control.min_recovery_point < plan.checkpoint.redo {
            control.min_recovery_point = plan.checkpoint.redo;
            control.min_recovery_point_timeline = plan.checkpoint.this_timeline;
        }
        if let Some(label) = &plan.label {
            control.backup_start_point = plan.checkpoint.redo;
            control.backup_end_required = label.end_required;
            if label.from_standby {
                control.backup_end_point = control.min_recovery_point;
            }
        }
        state::with(|state| {
            state.backup_start.set(control.backup_start_point);
            state.backup_end.set(control.backup_end_point);
            state.backup_end_required.set(control.backup_end_required);
            if archive {
                state.min_point.set(control.min_recovery_point);
                state.min_point_timeline.set(control.min_recovery_point_timeline);
            }
        });
    })?;
    if plan.label.is_some() {
        label::set_aside(globals::data_dir(), label::BACKUP_LABEL)?;
    }
    if plan.tablespace_map {
        label::set_aside(globals::data_dir(), label::TABLESPACE_MAP)?;
    }
    Ok(())
}

/// Says that this is a recovery after a crash. C: in `InitWalRecovery`.
pub(crate) fn log_crash_recovery(control: &ControlFileData) {
    ereport!(Log, "database system was not properly shut down; automatic recovery in progress");
    let (from, to) =
        (control.checkpoint_copy.this_timeline, state::with(|state| state.target_timeline.get()));
    if to > from {
        ereport!(Log, "crash recovery starts in timeline {} and has target timeline {}", from.0, to.0);
    }
}

/// `0/030000A0`: the lower half with all its digits, as newer messages have it.
fn long_form(lsn: Lsn) -> String {
    format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 as u32)
}

fn panic(text: String) -> PgError {
    pg_error!(Panic, SqlState::INTERNAL_ERROR, "{text}")
}

/// Whether WAL must be replayed: it is not after a clean end. A redo point before the record means that the
/// cluster was running when the checkpoint was made.
fn decide(state: DbState, at: Lsn, redo: Lsn, was_shutdown: bool) -> Result<bool, &'static str> {
    if redo > at {
        return Err("invalid redo in checkpoint record");
    }
    if redo < at {
        return if was_shutdown { Err("invalid redo record in shutdown checkpoint") } else { Ok(true) };
    }
    Ok(state != DbState::ShutDown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shutdown_checkpoint_saves_recovery() {
        for state in [DbState::ShutDown, DbState::ShutDownInRecovery] {
            assert!(!is_crash(state), "{state:?}");
        }
        for state in
            [DbState::InProduction, DbState::InCrashRecovery, DbState::ShuttingDown, DbState::StartingUp]
        {
            assert!(is_crash(state), "{state:?}");
        }
        let decide = |state, redo, was_shutdown| decide(state, Lsn(1000), Lsn(redo), was_shutdown);
        assert_eq!(decide(DbState::ShutDown, 1000, true), Ok(false));
        assert_eq!(decide(DbState::InProduction, 1000, true), Ok(true));
        assert_eq!(decide(DbState::InProduction, 900, false), Ok(true));
        assert_eq!(decide(DbState::ShutDown, 900, true), Err("invalid redo record in shutdown checkpoint"));
        assert_eq!(decide(DbState::ShutDown, 1001, true), Err("invalid redo in checkpoint record"));
    }

    #[test]
    fn directories_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check_directories(dir.path()).is_err());
        std::fs::create_dir(dir.path().join("pg_wal")).unwrap();
        check_directories(dir.path()).unwrap();
        assert!(dir.path().join("pg_wal/archive_status").is_dir());
        assert_eq!(long_form(Lsn(0x1_0000_00A0)), "1/000000A0");
    }
}
