//! pg_control, read and written by several processes under one lock.
//!
//! The file itself is the shared state: eight kilobytes, rewritten whole with one write, so that a reader
//! needs no copy of it in shared memory. Writers hold [`CONTROL_FILE_LOCK`] across read, change and write; readers need
//! no lock: one that comes across half of a write sees a wrong CRC, and looks again (`ControlFileData::read`).
//!
//! C counterpart: `ControlFile`, `ReadControlFile` and `UpdateControlFile` of xlog.c.

use common::SqlState;
use common::pg_control::{CONTROL_FILE, ControlFileData, ControlFileError};
use elog::{PgError, Result, fatal, pg_error};
use miscinit::globals::data_dir;
use shmem::{LwLock, Reservation, ShmVar, tranche};

/// Serialises changes of pg_control. It holds the number of updates since the segment was made.
/// C: `ControlFileLock`.
pub static CONTROL_FILE_LOCK: ShmVar<LwLock<u64>> = ShmVar::new("Control File");

/// Reserves the lock in the segment.
pub fn reserve(reservation: &mut Reservation) {
    reservation.var(&CONTROL_FILE_LOCK, || LwLock::new(tranche::CONTROL_FILE, 0));
}

/// Reads and checks the file. C: `ReadControlFile`.
///
/// # Errors
/// PANIC with PostgreSQL's text if it cannot be read, FATAL if it is torn or of another version.
pub fn read() -> Result<ControlFileData> {
    ControlFileData::read(data_dir()).map_err(|e| control_file_error(&e))
}

/// Changes the file under the lock, and its time with it. C: `UpdateControlFile`.
///
/// # Errors
/// What [`read`] returns, or PANIC if the file cannot be written: what is on disk is then unknown.
pub fn update(change: impl FnOnce(&mut ControlFileData)) -> Result<()> {
    let mut updates = CONTROL_FILE_LOCK.get().exclusive();
    let mut control = read()?;
    change(&mut control);
    control.time = crate::write::unix_seconds();
    let written = control.write(data_dir());
    written.map_err(|e| control_file_error(&e).with_severity(elog::Severity::Panic))?;
    *updates += 1;
    Ok(())
}

/// What PostgreSQL raises for an unusable control file.
pub fn control_file_error(error: &ControlFileError) -> PgError {
    // The server works in the data directory, and its messages name files from there.
    let text = error.to_string().replace(&format!("{}/{CONTROL_FILE}", data_dir().display()), CONTROL_FILE);
    let mut report = match error {
        ControlFileError::Missing(_) => pg_error!(Panic, SqlState::UNDEFINED_FILE, "{text}"),
        ControlFileError::Io { source, .. } => {
            pg_error!(Panic, elog::sqlstate_for_file_access(source), "{text}")
        }
        ControlFileError::TooShort { .. } => pg_error!(Panic, SqlState::DATA_CORRUPTED, "{text}"),
        _ => fatal!(SqlState::DATA_CORRUPTED, "{text}"),
    };
    report.detail = error.detail();
    report.hint = error.hint().map(str::to_owned);
    report
}
