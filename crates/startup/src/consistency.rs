//! When what is on disk can be trusted: sessions may read from then on, and recovery may stop.
//!
//! A page may have got to disk with changes from further on in WAL than where replay is, so the minimum recovery point must be
//! passed. A base backup was copied while pages changed, so the end of the backup must be passed too: the record that ends
//! it, or for a backup of a standby the minimum recovery point that its copy of pg_control has.
//!
//! C counterpart: `CheckRecoveryConsistency` of xlogrecovery.c; `CheckRequiredParameterValues` of xlog.c.

use std::cell::Cell;
use std::path::Path;

use common::pg_control::ControlFileData;
use common::{Lsn, SqlState};
use elog::{PgError, Result, Severity, ereport, fatal, pg_error};
use miscinit::globals;
use shmem::pmsignal::{PmSignalReason, send_postmaster_signal};
use wal::recovery;

use crate::{pause, state};

/// After each record, and before the first. C: `CheckRecoveryConsistency`.
///
/// # Errors
/// PANIC if pages that records were about are still missing; those of writing pg_control.
pub(crate) fn check() -> Result<()> {
    let (min_point, replayed) = state::with(|state| (state.min_point.get(), state.replayed_end.get()));
    // After a crash WAL is replayed to its end, and nothing before that counts.
    if min_point == Lsn::INVALID {
        return Ok(());
    }
    if !recovery::reached_consistency() {
        end_of_backup(replayed)?;
        let waits_for_backup =
            state::with(|state| state.backup_end_required.get() || state.backup_start.get() != Lsn::INVALID);
        if !waits_for_backup && min_point <= replayed {
            storage::redo::check_invalid_pages()?;
            check_tablespace_links(globals::data_dir())?;
            recovery::set_reached_consistency();
            storage::redo::set_reached_consistency(true);
            ereport!(Log, "consistent recovery state reached at {replayed}");
        }
    }
    if recovery::reached_consistency() && snapshot_ready() && !recovery::hot_standby_active() {
        recovery::set_hot_standby_active();
        send_postmaster_signal(PmSignalReason::BeginHotStandby);
    }
    Ok(())
}

/// What should be a link to a tablespace, and is a directory, was made by replay for one that later records drop; if it is
/// still there, a link is missing. C: `CheckTablespaceDirectory`.
fn check_tablespace_links(data_dir: &Path) -> Result<()> {
    const DIR: &str = "pg_tblspc";
    let Ok(entries) = std::fs::read_dir(data_dir.join(DIR)) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_oid = name.bytes().all(|byte| byte.is_ascii_digit());
        if !is_oid || entry.file_type().is_ok_and(|found| found.is_symlink()) {
            continue;
        }
        let text = format!("unexpected directory entry \"{name}\" found in {DIR}/");
        let error = pg_error!(Panic, SqlState::DATA_CORRUPTED, "{text}")
            .detail(format!("All directory entries in {DIR}/ should be symbolic links."))
            .hint(
                "Remove those directories, or set allow_in_place_tablespaces to ON transiently to let \
                 recovery complete.",
            );
        if !guc::vars::ALLOW_IN_PLACE_TABLESPACES.get() {
            return Err(error);
        }
        error.with_severity(Severity::Warning).report();
    }
    Ok(())
}

/// Is it known which transactions were running? C: `standbyState == STANDBY_SNAPSHOT_READY`.
fn snapshot_ready() -> bool {
    transam::standby::state() == transam::standby::StandbyState::SnapshotReady
}

/// If the end of the backup is known and passed: pg_control need not remember it any more.
fn end_of_backup(replayed: Lsn) -> Result<()> {
    let (start, end, timeline) =
        state::with(|state| (state.backup_start.get(), state.backup_end.get(), state.replay_timeline.get()));
    if end == Lsn::INVALID || end > replayed {
        return Ok(());
    }
    ereport!(Debug1, "end of backup reached");
    // A recovery that is stopped now and begun again may not stop at an earlier point.
    wal::startup::reached_end_of_backup(replayed, timeline)?;
    state::with(|state| {
        state.backup_start.set(Lsn::INVALID);
        state.backup_end.set(Lsn::INVALID);
        state.backup_end_required.set(false);
    });
    ereport!(Log, "completed backup recovery with redo LSN {start} and end LSN {end}");
    Ok(())
}

/// The record that ends a backup begun at `start` is being replayed. C: `XLOG_BACKUP_END` in `xlogrecovery_redo`.
pub(crate) fn note_backup_end(start: Lsn, end: Lsn) {
    let expected = state::with(|state| state.backup_start.get());
    if start == expected {
        ereport!(Debug1, "end of backup record reached");
        state::with(|state| state.backup_end.set(end));
    } else {
        ereport!(Debug1, "saw end-of-backup record for backup starting at {start}, waiting for {expected}");
    }
}

/// Everything in `pg_wal` has been replayed after what looked like a crash, and an archive is to be asked for more: from here
/// on it is an archive recovery, which is consistent already. C: in `ReadRecord`.
///
/// # Errors
/// Those of writing pg_control.
pub(crate) fn switch_into_archive_recovery(end: Lsn) -> Result<()> {
    ereport!(Debug1, "reached end of WAL in pg_wal, entering archive recovery");
    let timeline = state::with(|state| state.replay_timeline.get());
    wal::startup::switch_into_archive_recovery(end, timeline)?;
    state::enter_archive();
    state::with(|state| {
        state.min_point.set(end);
        state.min_point_timeline.set(timeline);
    });
    check()
}

/// A setting that a standby needs at least as large as its primary has it.
struct Required {
    name: &'static str,
    current: i32,
    primary: i32,
}

impl Required {
    /// C: the calls in `CheckRequiredParameterValues`.
    fn all(control: &ControlFileData) -> [Required; 5] {
        let required = |name, current, primary| Required { name, current, primary };
        [
            required("max_connections", guc::vars::MAX_CONNECTIONS.get(), control.max_connections),
            required(
                "max_worker_processes",
                guc::vars::MAX_WORKER_PROCESSES.get(),
                control.max_worker_processes,
            ),
            required("max_wal_senders", guc::vars::MAX_WAL_SENDERS.get(), control.max_wal_senders),
            required(
                "max_prepared_transactions",
                guc::vars::MAX_PREPARED_TRANSACTIONS.get(),
                control.max_prepared_xacts,
            ),
            required(
                "max_locks_per_transaction",
                guc::vars::MAX_LOCKS_PER_TRANSACTION.get(),
                control.max_locks_per_xact,
            ),
        ]
    }

    fn detail(&self) -> String {
        let Required { name, current, primary } = self;
        format!(
            "{name} = {current} is a lower setting than on the primary server, where its value was \
             {primary}."
        )
    }

    fn warning(&self, text: &'static str) -> PgError {
        pg_error!(Warning, SqlState::INVALID_PARAMETER_VALUE, "{text}").detail(self.detail())
    }
}

/// The WAL to come must be good enough for what this server is to do with it: enough information, and memory for
/// everything that ran on the primary. If sessions are reading already, they may go on while replay stands still.
/// C: `CheckRequiredParameterValues`.
///
/// # Errors
/// FATAL.
pub(crate) fn check_required_settings(control: &ControlFileData) -> Result<()> {
    if !state::archive_requested() {
        return Ok(());
    }
    if control.wal_level == 0 {
        return Err(fatal!(
            SqlState::INTERNAL_ERROR,
            "WAL was generated with wal_level=minimal, cannot continue recovering"
        )
        .detail("This happens if you temporarily set wal_level=minimal on the server.")
        .hint("Use a backup taken after setting wal_level to higher than minimal."));
    }
    if !guc::vars::HOT_STANDBY.get() {
        return Ok(());
    }
    for required in Required::all(control) {
        if required.current < required.primary {
            return Err(give_up(&required)?);
        }
    }
    Ok(())
}

/// C: `RecoveryRequiresIntParameter`.
fn give_up(required: &Required) -> Result<PgError> {
    if recovery::hot_standby_active() {
        required.warning("hot standby is not possible because of insufficient parameter settings").report();
        recovery::set_pause(true);
        pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "recovery has paused")
            .detail("If recovery is unpaused, the server will shut down.")
            .hint("You can then restart the server after making the necessary configuration changes.")
            .report();
        let warned = Cell::new(false);
        pause::while_paused(&mut || {
            if pause::promotion_triggered()? && !warned.replace(true) {
                required
                    .warning("promotion is not possible because of insufficient parameter settings")
                    .hint("Restart the server after making the necessary configuration changes.")
                    .report();
            }
            Ok(true)
        })?;
    }
    Ok(fatal!(
        SqlState::INVALID_PARAMETER_VALUE,
        "recovery aborted because of insufficient parameter settings"
    )
    .detail(required.detail())
    .hint("You can restart the server after making the necessary configuration changes."))
}
