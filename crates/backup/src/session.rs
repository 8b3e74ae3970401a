//! The backup that a session started with `pg_backup_start` and has not stopped yet.
//!
//! It belongs to the session: it survives its transactions and their failures, and ends with it at the latest (B3).
//!
//! C counterpart: `sessionBackupState`, `register_persistent_abort_backup_handler`, `do_pg_abort_backup` of xlog.c.

use std::cell::{Cell, RefCell};

use common::SqlState;
use elog::{PgError, Result, ereport, error};
use miscinit::exit;

use crate::{BackupState, StopResult};

thread_local! {
    static RUNNING: RefCell<Option<BackupState>> = const { RefCell::new(None) };
    /// The callback at the session's end is there.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Has this session a backup running? C: `get_backup_status`.
pub fn is_running() -> bool {
    RUNNING.with_borrow(Option::is_some)
}

/// The complaint of whoever starts a second one.
pub fn already_running() -> PgError {
    error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "a backup is already in progress in this session")
}

/// Starts this session's backup and returns where it starts. C: `pg_backup_start`.
///
/// # Errors
/// 55000 if it has one already; those of [`crate::start`].
pub fn start(label: &str, fast: bool) -> Result<common::Lsn> {
    if is_running() {
        return Err(already_running());
    }
    if !REGISTERED.replace(true) {
        exit::on_shmem_exit(|_| abort(true));
    }
    let state = crate::start(label, fast, &mut Vec::new())?;
    let start = state.start_lsn;
    RUNNING.set(Some(state));
    Ok(start)
}

/// Stops this session's backup. C: `pg_backup_stop`.
///
/// # Errors
/// 55000 if it has none; those of [`crate::stop`].
pub fn stop(wait_for_archive: bool) -> Result<StopResult> {
    let Some(state) = RUNNING.take() else {
        return Err(error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "backup is not in progress")
            .hint("Did you call pg_backup_start()?"));
    };
    // Reports of a statement wait for the rows they belong to.
    crate::stop(state, wait_for_archive, &mut || Ok(()))
}

/// Forgets this session's backup, if there is one: its images are not forced any longer. C: `do_pg_abort_backup`.
pub fn abort(warn: bool) {
    if RUNNING.take().is_none() {
        return;
    }
    wal::force_full_page_writes(false);
    if warn {
        ereport!(Warning, "aborting backup due to backend exiting before pg_backup_stop was called");
    }
}
