//! What a failed call on a file is reported as.
//!
//! C counterpart: `errcode_for_file_access`, `data_sync_elevel`.

use std::io;
use std::path::Path;

use elog::{PgError, Severity, SourceLocation, errno_text, sqlstate_for_file_access};

/// `could not VERB file "PATH": why`, an ERROR with the SQLSTATE that goes with the errno.
#[track_caller]
pub fn file_error(verb: &str, path: &Path, source: &io::Error) -> PgError {
    report(format!("could not {verb} file \"{}\": {}", path.display(), errno_text(source)), source)
}

/// `could not VERB file "FROM" to "TO": why`.
#[track_caller]
pub fn file_error_to(verb: &str, from: &Path, to: &Path, source: &io::Error) -> PgError {
    let (from, to) = (from.display(), to.display());
    report(format!("could not {verb} file \"{from}\" to \"{to}\": {}", errno_text(source)), source)
}

#[track_caller]
pub(crate) fn report(message: String, source: &io::Error) -> PgError {
    let at = std::panic::Location::caller();
    let file = at.file().rsplit('/').next().unwrap_or(at.file());
    let location = SourceLocation { routine: "file", file, line: at.line() };
    PgError::new(Severity::Error, sqlstate_for_file_access(source), message, location)
}

/// How bad a failed fsync of data is: the kernel may have thrown the pages away and say "ok" to the next attempt,
/// so only a replay of WAL helps, unless the administrator knows better. C: `data_sync_elevel`.
pub fn data_sync_severity(otherwise: Severity) -> Severity {
    if guc::vars::DATA_SYNC_RETRY.get() { otherwise } else { Severity::Panic }
}
