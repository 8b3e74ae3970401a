//! Syncing a whole data directory, before the recovery that follows a crash: what the crashed server wrote but had
//! not synced may be in the kernel's cache only, and recovery would otherwise take it for durable.
//!
//! C counterpart: `SyncDataDirectory` of fd.c.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use elog::{Result, ereport, errno_text};

use crate::fault::{self, Op};
use crate::{File, OpenFlags};

/// What a pass does with each file.
#[derive(Clone, Copy)]
enum Pass<'a> {
    /// The kernel begins to write, and nobody waits: the disk sees all at once instead of one file after the other.
    /// C: `pre_sync_fname`.
    Begin(&'a dyn Fn(&File)),
    /// C: `datadir_fsync_fname`.
    Sync,
}

impl Pass<'_> {
    fn name(self) -> &'static str {
        match self {
            Pass::Begin(_) => "syncing data directory (pre-fsync)",
            Pass::Sync => "syncing data directory (fsync)",
        }
    }
}

/// Syncs everything below the data directory (the current directory), WAL and tablespaces behind symbolic links
/// included; nothing if `fsync` is off. What cannot be synced is logged and does not stop the others. `begin_writing`
/// makes the kernel begin to write a file. `progress` gets the name of the pass and each path before its turn.
/// C: `SyncDataDirectory`.
///
/// # Errors
/// None at present; failures are LOG lines, as in PostgreSQL.
pub fn sync_data_directory(
    begin_writing: &dyn Fn(&File),
    progress: &mut dyn FnMut(&'static str, &Path),
) -> Result<()> {
    if !guc::vars::FSYNC.get() {
        return Ok(());
    }
    let wal_is_elsewhere = fs::symlink_metadata("pg_wal").is_ok_and(|m| m.file_type().is_symlink());
    if guc::vars::RECOVERY_INIT_SYNC_METHOD.get() == "syncfs" {
        sync_file_systems(wal_is_elsewhere, progress);
        return Ok(());
    }
    for pass in [Pass::Begin(begin_writing), Pass::Sync] {
        walk(Path::new("."), false, pass, progress);
        if wal_is_elsewhere {
            walk(Path::new("pg_wal"), false, pass, progress);
        }
        walk(Path::new("pg_tblspc"), true, pass, progress);
    }
    Ok(())
}

/// The file system of the data directory, of each tablespace, and of WAL. C: `do_syncfs`.
fn sync_file_systems(wal_is_elsewhere: bool, progress: &mut dyn FnMut(&'static str, &Path)) {
    let mut places = vec![PathBuf::from(".")];
    match fs::read_dir("pg_tblspc") {
        Ok(entries) => places.extend(entries.flatten().map(|entry| entry.path())),
        Err(e) => log("open directory", Path::new("pg_tblspc"), &e),
    }
    if wal_is_elsewhere {
        places.push("pg_wal".into());
    }
    for place in places {
        progress("syncing data directory (syncfs)", &place);
        match fs::File::open(&place) {
            Ok(dir) => match nix::unistd::syncfs(&dir) {
                Ok(()) => {}
                Err(e) => log("synchronize file system for file", &place, &e.into()),
            },
            Err(e) => log("open file", &place, &e),
        }
    }
}

fn log(what: &str, path: &Path, e: &io::Error) {
    ereport!(Log, "could not {what} \"{}\": {}", path.display(), errno_text(e));
}

/// C: `walkdir`.
fn walk(dir: &Path, follow_links: bool, pass: Pass<'_>, progress: &mut dyn FnMut(&'static str, &Path)) {
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
            Ok(kind) if kind.is_dir() => walk(&path, false, pass, progress),
            Ok(kind) if kind.is_file() => {
                progress(pass.name(), &path);
                match pass {
                    Pass::Begin(begin_writing) => begin_file(&path, begin_writing),
                    Pass::Sync => sync_file(&path),
                }
            }
            Ok(_) => {}
            // Temporary files may go at any moment.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => log("stat file", &path, &e),
        }
    }
    if matches!(pass, Pass::Begin(_)) {
        return;
    }
    progress(pass.name(), dir);
    if let Err(e) = crate::fsync_dir(dir) {
        e.with_severity(elog::Severity::Log).report();
    }
}

/// C: `pre_sync_fname`.
fn begin_file(path: &Path, begin_writing: &dyn Fn(&File)) {
    match crate::open(path, OpenFlags::READ) {
        Ok(file) => begin_writing(&file),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
        Err(e) => log("open file", path, &e),
    }
}

/// C: `datadir_fsync_fname`.
fn sync_file(path: &Path) {
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
