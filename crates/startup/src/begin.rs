//! Where recovery begins, and whether there is anything to recover: pg_control, the files that ask for another
//! kind of recovery, the checkpoint record.
//!
//! C counterpart: the first half of `StartupXLOG`, `InitWalRecovery`.

use std::path::Path;

use common::pg_control::{CheckPoint, ControlFileData, DbState};
use common::{Lsn, SqlState};
use elog::{PgError, Result, Severity, ereport, fatal, pg_error};
use wal::Reader;

use crate::{redo, xlog};

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The last checkpoint.
    pub(crate) checkpoint: CheckPoint,
    /// Start of its record.
    pub(crate) checkpoint_start: Lsn,
    /// End of its record: without redo, the end of WAL.
    pub(crate) checkpoint_end: Lsn,
    /// WAL has to be replayed. C: `InRecovery`.
    pub(crate) recover: bool,
}

/// Says how the cluster ended last time, which tells an operator what to expect now.
pub(crate) fn log_previous_end(state: DbState, at: &str) {
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

/// Recoveries that this server cannot do yet must not be taken for a crash recovery: that could end in the middle
/// of a backup's changes.
///
/// # Errors
/// FATAL 0A000.
pub(crate) fn refuse_other_recoveries(data_dir: &Path) -> Result<()> {
    for (file, what) in [
        ("standby.signal", "standby mode"),
        ("recovery.signal", "archive recovery"),
        ("backup_label", "recovery from a base backup"),
    ] {
        if data_dir.join(file).exists() {
            return Err(fatal!(SqlState::FEATURE_NOT_SUPPORTED, "{what} is not supported yet")
                .detail(format!("File \"{file}\" asks for it.")));
        }
    }
    Ok(())
}

/// Reads the checkpoint record and decides. C: the part of `InitWalRecovery` without a backup label.
///
/// # Errors
/// FATAL or PANIC if there is no place to begin.
pub(crate) fn plan(control: &ControlFileData, reader: &mut Reader) -> Result<Plan> {
    let at = control.checkpoint;
    if !xlog::is_valid_record_start(at) {
        return Err(fatal!(SqlState::DATA_CORRUPTED, "control file contains invalid checkpoint location"));
    }
    let Some((checkpoint, was_shutdown, end)) = xlog::read_checkpoint(reader, at) else {
        return Err(panic("could not locate a valid checkpoint record".to_owned()));
    };
    ereport!(Debug1, "checkpoint record is at {at}");
    let shown = if was_shutdown { "true" } else { "false" };
    ereport!(Debug1, "redo record is at {}; shutdown {shown}", checkpoint.redo);
    if checkpoint.redo < at {
        // A missing start must not look like an empty log.
        reader.begin_read(checkpoint.redo);
        if redo::read_record(reader, Severity::Log).is_none() {
            let (redo, at) = (long_form(checkpoint.redo), long_form(at));
            return Err(panic(format!(
                "could not find redo location {redo} referenced by checkpoint record at {at}"
            )));
        }
    }
    let recover =
        decide(control.state, at, checkpoint.redo, was_shutdown).map_err(|text| panic(text.to_owned()))?;
    Ok(Plan { checkpoint, checkpoint_start: at, checkpoint_end: end, recover })
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
    fn other_recoveries_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refuse_other_recoveries(dir.path()).is_ok());
        std::fs::write(dir.path().join("backup_label"), "").unwrap();
        let error = refuse_other_recoveries(dir.path()).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
        assert_eq!(error.severity, Severity::Fatal);
        assert!(check_directories(dir.path()).is_err());
        std::fs::create_dir(dir.path().join("pg_wal")).unwrap();
        check_directories(dir.path()).unwrap();
        assert!(dir.path().join("pg_wal/archive_status").is_dir());
        assert_eq!(long_form(Lsn(0x1_0000_00A0)), "1/000000A0");
    }
}
