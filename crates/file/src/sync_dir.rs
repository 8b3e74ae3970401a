//! Syncing a whole data directory, before the recovery that follows a crash: what the crashed server wrote but had
//! not synced may be in the kernel's cache only, and recovery would otherwise take it for durable.
//!
//! C counterpart: `SyncDataDirectory` of fd.c.

use std::fs;
use std::io;
use std::path::Path;

use elog::{Result, ereport, errno_text};

use crate::OpenFlags;
use crate::fault::{self, Op};

/// Syncs everything below the data directory (the current directory), WAL and tablespaces behind symbolic links
/// included. What cannot be synced is logged and does not stop the others. `progress` gets each path before it is
/// synced. C: `SyncDataDirectory`.
///
/// # Errors
/// None at present; failures are LOG lines, as in PostgreSQL.
pub fn sync_data_directory(progress: &mut dyn FnMut(&Path)) -> Result<()> {
    if !guc::vars::FSYNC.get() {
        return Ok(());
    }
    walk(Path::new("."), false, progress);
    if fs::symlink_metadata("pg_wal").is_ok_and(|m| m.file_type().is_symlink()) {
        walk(Path::new("pg_wal"), false, progress);
    }
    walk(Path::new("pg_tblspc"), true, progress);
    Ok(())
}

fn log(what: &str, path: &Path, e: &io::Error) {
    ereport!(Log, "could not {what} \"{}\": {}", path.display(), errno_text(e));
}

/// C: `walkdir`.
fn walk(dir: &Path, follow_links: bool, progress: &mut dyn FnMut(&Path)) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => return log("open directory", dir, &e),
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => return log("read directory", dir, &e),
        };
        let path = entry.path();
        let kind = if follow_links { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        match kind {
            Ok(kind) if kind.is_dir() => walk(&path, false, progress),
            Ok(kind) if kind.is_file() => sync_file(&path, progress),
            Ok(_) => {}
            // Temporary files may go at any moment.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => log("stat file", &path, &e),
        }
    }
    progress(dir);
    if let Err(e) = crate::fsync_dir(dir) {
        e.with_severity(elog::Severity::Log).report();
    }
}

/// C: `datadir_fsync_fname`.
fn sync_file(path: &Path, progress: &mut dyn FnMut(&Path)) {
    progress(path);
    let synced = crate::open(path, OpenFlags::READ | OpenFlags::WRITE).and_then(|file| {
        fault::ask(Op::Sync, path, 0, 0)?;
        file.with_fd(|fd| Ok(nix::unistd::fsync(fd)?))
    });
    match synced {
        Ok(()) => {}
        // A file of another owner is not ours to worry about (a key the administrator put there).
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
        Err(e) => log("fsync file", path, &e),
    }
}
