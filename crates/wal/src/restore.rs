//! Files from the archive: `restore_command`, and the commands run after restartpoints and at the end of recovery.
//!
//! A file is fetched under a temporary name (`RECOVERYXLOG`, `RECOVERYHISTORY`), so that a command that is cut short never
//! leaves half a file under a segment's name; [`keep_restored_segment`] then gives it its own. How the command ended decides
//! what it means:
//!
//! - exit 0: the file is there, and of the right size; otherwise FATAL;
//! - exit 1..125: the archive does not have it. That is how recovery finds the end of the archive, so it is no error;
//! - ended by SIGTERM: the cluster is being stopped; this process leaves with status 1;
//! - another signal, or 126 and more: nobody knows whether the archive has it. FATAL: recovery must not end here.
//!
//! C counterpart: xlogarchive.c.

use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::SqlState;
use elog::{PgError, Result, Severity, errno_text, fatal, pg_error};
use miscinit::exit;
use miscinit::interrupt::{self, Pending};
use miscinit::shell::{self, Outcome};
use shmem::wait_event::WaitEvent;

use crate::shared::geometry;
use crate::{archive, control_file, segment};

/// Where a segment is restored to. C: `"RECOVERYXLOG"`.
pub const RECOVERY_XLOG: &str = "RECOVERYXLOG";
/// Where a timeline's history is restored to. C: `"RECOVERYHISTORY"`.
pub const RECOVERY_HISTORY: &str = "RECOVERYHISTORY";

/// `%r` while nothing may be removed from the archive yet. C: `XLogFileName(.., 0, 0L, ..)`.
const NO_RESTART_POINT: &str = "000000000000000000000000";

/// C: `SIGTERM`.
const SIGTERM: i32 = 15;

thread_local! {
    static ARCHIVE_RECOVERY: Cell<bool> = const { Cell::new(false) };
    static STANDBY_MODE: Cell<bool> = const { Cell::new(false) };
}

/// In this process `restore_command` applies from now on, or no longer. C: `ArchiveRecoveryRequested`.
pub fn set_archive_recovery(on: bool) {
    ARCHIVE_RECOVERY.set(on);
}

/// See [`set_archive_recovery`].
pub fn archive_recovery() -> bool {
    ARCHIVE_RECOVERY.get()
}

/// Recovery waits for more WAL at the end of what there is. C: `StandbyMode`.
pub fn set_standby_mode(on: bool) {
    STANDBY_MODE.set(on);
}

/// See [`set_standby_mode`].
pub fn standby_mode() -> bool {
    STANDBY_MODE.get()
}

/// Fetches a file from the archive to `temp_name` in the WAL directory, and returns that path; `None` if the archive does
/// not have it or there is none: whatever is in the WAL directory under its own name counts then. With
/// `cleanup_enabled`, `%r` names the oldest segment that a restart of recovery needs. C: `RestoreArchivedFile`.
///
/// # Errors
/// FATAL if the command cannot be run, was ended by a signal, or left a file of another size than expected (in standby mode a
/// shorter one counts as not there: it may still be on its way). A SIGTERM ends the process.
pub fn restore_archived_file(
    name: &str,
    temp_name: &str,
    expected_size: Option<u64>,
    cleanup_enabled: bool,
) -> Result<Option<PathBuf>> {
    let command = guc::vars::RESTORE_COMMAND.get();
    if !archive_recovery() || command.is_empty() {
        return Ok(None);
    }
    let target = segment::wal_dir().join(temp_name);
    remove_leftover(&target)?;
    let restart_file = if cleanup_enabled { oldest_restart_file()? } else { NO_RESTART_POINT.to_owned() };
    let expanded = shell::expand(&command, |c| match c {
        'p' => Some(target.display().to_string()),
        'f' => Some(name.to_owned()),
        'r' => Some(restart_file.clone()),
        _ => None,
    });
    elog::ereport!(Debug3, "executing restore command \"{expanded}\"");
    let outcome = run(&expanded, WaitEvent::RESTORE_COMMAND)?;
    if outcome.succeeded() {
        return Ok(is_complete(&target, name, expected_size)?.then_some(target));
    }
    if outcome.is_signal(SIGTERM) {
        exit::proc_exit(1);
    }
    let severity = if outcome.is_any_signal(true) { Severity::Fatal } else { Severity::Debug2 };
    let text = format!("could not restore file \"{name}\" from archive: {outcome}");
    if severity == Severity::Fatal {
        return Err(fatal!(SqlState::INTERNAL_ERROR, "{text}"));
    }
    elog::ereport!(Debug2, "{text}");
    Ok(None)
}

/// An earlier attempt may have left a file: the command must not take it for its own work.
fn remove_leftover(target: &Path) -> Result<()> {
    match target.symlink_metadata() {
        Ok(_) => file::unlink(target).map_err(|error| fatal_file("remove", target, &error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fatal_file("stat", target, &error)),
    }
}

fn fatal_file(verb: &str, path: &Path, error: &std::io::Error) -> PgError {
    file::file_error(verb, path, error).with_severity(Severity::Fatal)
}

/// Name of the segment with the redo pointer of the last restartpoint: nothing before it is needed any more.
/// C: `GetOldestRestartPoint`.
fn oldest_restart_file() -> Result<String> {
    let checkpoint = control_file::read()?.checkpoint_copy;
    let number = geometry().segment(checkpoint.redo);
    Ok(segment::name(checkpoint.this_timeline, number, geometry()))
}

/// Runs a command; an order to leave is obeyed at once, also one that came before. C: `PreRestoreCommand`, `system`.
fn run(command: &str, event: WaitEvent) -> Result<Outcome> {
    leave_if_asked();
    shell::run(command, event, &mut leave_if_asked).map_err(|error| {
        fatal!(
            elog::sqlstate_for_file_access(&error),
            "could not execute command \"{command}\": {}",
            errno_text(&error)
        )
    })
}

fn leave_if_asked() {
    if interrupt::is_pending(Pending::Shutdown) {
        exit::proc_exit(1);
    }
}

/// The command says that it has done its work: has it?
fn is_complete(target: &Path, name: &str, expected_size: Option<u64>) -> Result<bool> {
    let size = match target.metadata() {
        Ok(metadata) => metadata.size(),
        Err(error) => {
            let severity = match error.kind() {
                std::io::ErrorKind::NotFound => Severity::Log,
                _ => Severity::Fatal,
            };
            let report = file::file_error("stat", target, &error)
                .with_severity(severity)
                .detail("restore_command returned a zero exit status, but stat() failed.");
            if severity == Severity::Fatal {
                return Err(report);
            }
            report.report();
            return Ok(false);
        }
    };
    match expected_size {
        Some(expected) if size != expected => {
            let text = format!("archive file \"{name}\" has wrong size: {size} instead of {expected}");
            if standby_mode() && size < expected {
                elog::ereport!(Debug1, "{text}");
                return Ok(false);
            }
            Err(fatal!(SqlState::INTERNAL_ERROR, "{text}"))
        }
        _ => {
            elog::ereport!(Log, "restored log file \"{name}\" from archive");
            Ok(true)
        }
    }
}

/// Gives a restored file its own name in the WAL directory, where a restart of recovery and standbys of this one find it.
/// It came from the archive and need not go there again, unless `archive_mode` is `always`.
/// C: `KeepFileRestoredFromArchive`.
///
/// # Errors
/// If it cannot be renamed.
pub fn keep_restored_segment(temp: &Path, name: &str) -> Result<()> {
    let target = segment::wal_dir().join(name);
    if file::exists(&target) {
        file::unlink(&target).map_err(|error| fatal_file("remove", &target, &error))?;
    }
    file::durable_rename(temp, &target)?;
    if archive::is_always_active() {
        archive::notify(name);
    } else {
        archive::force_done(name);
    }
    Ok(())
}

/// Runs `archive_cleanup_command` or `recovery_end_command`, `setting_name` says which; `%r` is the oldest segment that is
/// still needed. A failure is a WARNING. C: `ExecuteRecoveryCommand`.
///
/// # Errors
/// FATAL with `fail_on_signal` if the command was ended by a signal; if pg_control cannot be read.
pub fn execute_recovery_command(command: &str, setting_name: &str, fail_on_signal: bool) -> Result<()> {
    let restart_file = oldest_restart_file()?;
    let expanded = shell::expand(command, |c| (c == 'r').then(|| restart_file.clone()));
    elog::ereport!(Debug3, "executing {setting_name} \"{command}\"");
    let event = match setting_name {
        "recovery_end_command" => WaitEvent::RECOVERY_END_COMMAND,
        _ => WaitEvent::ARCHIVE_CLEANUP_COMMAND,
    };
    let outcome = match run(&expanded, event) {
        Ok(outcome) if outcome.succeeded() => return Ok(()),
        Ok(outcome) => outcome,
        Err(error) if fail_on_signal => return Err(error),
        Err(error) => {
            error.with_severity(Severity::Warning).report();
            return Ok(());
        }
    };
    let severity =
        if fail_on_signal && outcome.is_any_signal(true) { Severity::Fatal } else { Severity::Warning };
    let report = pg_error!(Warning, SqlState::INTERNAL_ERROR, "{setting_name} \"{command}\": {outcome}")
        .with_severity(severity);
    if severity == Severity::Fatal {
        return Err(report);
    }
    report.report();
    Ok(())
}

/// Removes what the last fetches may have left under the temporary names, at the end of recovery. C: the end of
/// `FinishWalRecovery` and `exitArchiveRecovery`'s part.
pub fn remove_temporary_files() {
    for name in [RECOVERY_XLOG, RECOVERY_HISTORY] {
        let _ = file::unlink(&segment::wal_dir().join(name));
    }
}
