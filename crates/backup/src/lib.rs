//! Online backups: what makes a copy of the data directory, taken file by file while others write, a whole one.
//!
//! The copy itself is somebody else's work (`cp`, pgBackRest, BASE_BACKUP): its pages are from different moments,
//! some torn in the middle. WAL repairs that, if three things hold, and this crate sees to them:
//!
//! 1. [`start`] makes a checkpoint and notes its redo point in the backup label: replay of the copy begins there and not at
//!    whatever checkpoint the copied pg_control names, which may be a later one.
//! 2. While any backup runs, full-page images are logged whatever `full_page_writes` says, so that a torn page is replaced
//!    as a whole.
//! 3. [`stop`] logs the end of the backup, so that replay knows from where on the copy is consistent, and ends the segment,
//!    so that the archive soon has everything the copy needs.
//!
//! ```text
//!   pg_backup_start                     cp -a ...                 pg_backup_stop
//!   checkpoint ---- redo point                                    BACKUP_END, switch
//!        |             |================ WAL the copy needs ============|
//!        |             `- first line of backup_label                    `- only from here on is it consistent
//!        `- second line
//! ```
//!
//! On a server in recovery nothing can be logged: the redo point is that of the last restartpoint, and the end is pg_control's
//! minimum recovery point, which is why pg_control must be copied last there.
//!
//! Read in this order: `label` (what the files say), `tablespaces`, `start`, `stop`, `history` (the file for the archive),
//! `session` (a session that ends before its backup does).
//!
//! The numbered invariants are listed in this crate's README.
//!
//! C counterpart: `do_pg_backup_start`, `do_pg_backup_stop`, `do_pg_abort_backup`, `CleanupBackupHistory` of xlog.c.

#![forbid(unsafe_code)]

pub mod history;
pub mod label;
pub mod session;
mod start;
mod stop;
mod tablespaces;

use std::sync::atomic::AtomicU64;

use common::pg_control::ControlFileData;
use common::{Lsn, TimeLineId};
use elog::{Result, Severity};
use shmem::{Reservation, ShmVar};

pub use start::start;
pub use stop::{StopResult, promoted, stop};
pub use tablespaces::TablespaceInfo;

/// Longest label, in bytes. C: `MAXPGPATH`.
pub const LABEL_BYTES_MAX: usize = 1024;

/// Redo point of the newest backup started since the server started; 0 if there was none. C: `lastBackupStart`.
static LAST_START: ShmVar<AtomicU64> = ShmVar::new("Last backup start");

/// Reserves what sessions share of their backups. The count of running ones is `wal`'s: whoever inserts a record asks for it.
pub fn reserve(reservation: &mut Reservation) {
    reservation.var(&LAST_START, || AtomicU64::new(0));
}

/// pg_control as the last of its writers left it. One that cannot be read is no more than the end of a backup.
///
/// # Errors
/// Those of reading it, as ERROR.
pub fn control_file() -> Result<ControlFileData> {
    let _unchanged = wal::control_file::CONTROL_FILE_LOCK.get().shared();
    wal::control_file::read().map_err(|error| error.with_severity(Severity::Error))
}

/// A backup that has been started: what [`stop`] must know of it. C: the label that `do_pg_backup_stop` parses again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupState {
    /// Redo point of the checkpoint that the backup began with: replay starts there.
    pub start_lsn: Lsn,
    /// Where that checkpoint's record begins.
    pub checkpoint_lsn: Lsn,
    /// Timeline of both.
    pub start_timeline: TimeLineId,
    /// The server was in recovery.
    pub started_in_recovery: bool,
    /// Content of `backup_label`.
    pub label_file: String,
    /// Content of `tablespace_map`; empty if there is none.
    pub tablespace_map: String,
}
