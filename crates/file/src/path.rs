//! Names in directories: made, changed and removed such that a crash cannot take it back.
//!
//! C counterpart: `durable_rename`, `durable_unlink`, `fsync_fname`, `fsync_parent_path`.

use std::fs;
use std::io;
use std::path::Path;

use elog::Result;

use crate::error::{data_sync_severity, file_error, file_error_to, report};
use crate::fault::{self, Op};

/// Whether something has this name. An error that does not answer the question counts as "no".
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Makes a file's bytes, or a directory's names, durable. Does nothing when `fsync` is off. C: `fsync_fname`.
///
/// # Errors
/// `could not open file`, `could not fsync file`; the latter PANIC unless `data_sync_retry`.
pub fn fsync_path(path: &Path, is_dir: bool) -> Result<()> {
    if is_dir { fsync_dir(path) } else { fsync_file(path) }
}

fn fsync_file(path: &Path) -> Result<()> {
    if !guc::vars::FSYNC.get() {
        return Ok(());
    }
    // Some systems want a descriptor opened for writing; a file we may only read needs no syncing by us.
    let file = fs::OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|e| file_error("open", path, &e))?;
    sync_handle(&file, path)
}

fn sync_handle(file: &fs::File, path: &Path) -> Result<()> {
    fault::ask(Op::Sync, path, 0, 0).and_then(|_| file.sync_all()).map_err(|e| {
        let error = file_error("fsync", path, &e);
        let severity = data_sync_severity(error.severity);
        error.with_severity(severity)
    })
}

/// Makes the names in a directory durable. A directory that cannot be opened or synced because the system does
/// not allow that for directories is no error. C: `fsync_fname` with `isdir`.
///
/// # Errors
/// As [`fsync_path`].
pub fn fsync_dir(path: &Path) -> Result<()> {
    if !guc::vars::FSYNC.get() {
        return Ok(());
    }
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let dir = match fs::File::open(path) {
        Ok(dir) => dir,
        Err(e) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::EACCES)) => return Ok(()),
        Err(e) => return Err(file_error("open", path, &e)),
    };
    match fault::ask(Op::Sync, path, 0, 0).and_then(|_| dir.sync_all()) {
        Err(e) if !matches!(e.raw_os_error(), Some(libc::EBADF | libc::EINVAL)) => {
            let error = file_error("fsync", path, &e);
            let severity = data_sync_severity(error.severity);
            Err(error.with_severity(severity))
        }
        _ => Ok(()),
    }
}

/// Makes the entry of `path` in its directory durable. C: `fsync_parent_path`.
///
/// # Errors
/// As [`fsync_path`].
pub fn fsync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => fsync_dir(parent),
        None => Ok(()),
    }
}

/// Renames a file such that after a crash the new name stands for the old content or the new, never for neither.
/// C: `durable_rename`.
///
/// # Errors
/// `could not rename file "a" to "b"`, or what [`fsync_path`] reports.
pub fn durable_rename(from: &Path, to: &Path) -> Result<()> {
    // The old file first, so that the new name cannot appear on a file without content.
    fsync_file(from)?;
    match fs::OpenOptions::new().read(true).write(true).open(to) {
        Ok(existing) => {
            if guc::vars::FSYNC.get() {
                sync_handle(&existing, to)?;
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(file_error("open", to, &e)),
    }
    rename(from, to).map_err(|e| file_error_to("rename", from, to, &e))?;
    fsync_file(to)?;
    fsync_parent(to)
}

/// Renames a file without content, a mark, such that after a crash it has one of its names: one sync, of the directory.
/// `to` must be in the same directory. There are no bytes that the new name could appear without, so the syncs of the
/// file, which [`durable_rename`] does before and after, would only cost a commit of the file system's journal each.
///
/// # Errors
/// As [`durable_rename`].
pub fn durable_rename_empty(from: &Path, to: &Path) -> Result<()> {
    rename(from, to).map_err(|e| file_error_to("rename", from, to, &e))?;
    fsync_parent(to)
}

/// Renames a directory such that after a crash it has one of its names. What is in it must be on disk already.
///
/// # Errors
/// `could not rename file "a" to "b"`, or what [`fsync_dir`] reports.
pub fn durable_rename_dir(from: &Path, to: &Path) -> Result<()> {
    rename(from, to).map_err(|e| file_error_to("rename", from, to, &e))?;
    fsync_dir(to)?;
    fsync_parent(to)
}

#[allow(clippy::disallowed_methods, reason = "followed by the fsyncs of durable_rename")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::ask(Op::Rename, from, 0, 0)?;
    fs::rename(from, to)
}

/// Removes a file's name for good. C: `durable_unlink`.
///
/// # Errors
/// `could not remove file`, or what [`fsync_path`] reports.
pub fn durable_unlink(path: &Path) -> Result<()> {
    unlink(path).map_err(|e| file_error("remove", path, &e))?;
    fsync_parent(path)
}

/// Removes a name; may come undone in a crash. C: `unlink`.
///
/// # Errors
/// The system's answer.
pub fn unlink(path: &Path) -> io::Result<()> {
    fault::ask(Op::Unlink, path, 0, 0)?;
    fs::remove_file(path)
}

/// Makes a directory; one that is there already is an error. C: `MakePGDirectory`.
///
/// # Errors
/// `could not create directory "x"`.
pub fn create_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let modes = crate::vfd::create_modes();
    fs::DirBuilder::new().mode(modes.dir).create(path).map_err(|e| {
        report(format!("could not create directory \"{}\": {}", path.display(), elog::errno_text(&e)), &e)
    })
}

/// Gives a directory the rights that directories of the cluster have. C: `chmod` with `pg_dir_create_mode`.
///
/// # Errors
/// The system's answer.
pub fn set_dir_mode(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(crate::vfd::create_modes().dir))
}

/// Removes a directory and what is in it. Returns false, after a warning, if something could not be removed.
/// C: `rmtree`.
pub fn remove_dir_all(path: &Path) -> bool {
    let gone = fault::ask(Op::Unlink, path, 0, 0).and_then(|_| fs::remove_dir_all(path));
    match gone {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            let text = elog::errno_text(&e);
            elog::ereport!(Warning, "could not remove file or directory \"{}\": {text}", path.display());
            false
        }
        _ => true,
    }
}
