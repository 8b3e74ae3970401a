//! Making files survive a power failure: fsync of files and directories, durable rename and write.
//!
//! A file's bytes are safe after an fsync of the file, its *name* only after an fsync of the directory. So a
//! bare rename may come undone in a crash, or leave the new name on an empty file; [`durable_rename`] is the
//! only rename of the project.
//!
//! C counterpart: storage/file/fd.c (`durable_rename`, `fsync_fname_ext`), common/file_utils.c.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A failed system call on a file. `Display` is PostgreSQL's text: `could not open file "x": No such file or
/// directory`.
#[derive(Debug)]
pub struct FileError {
    /// "open", "fsync", "write" ...
    pub verb: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The new name, if a rename failed.
    pub target: Option<PathBuf>,
    /// The system's answer.
    pub source: io::Error,
}

impl FileError {
    /// A failure to `verb` the file at `path`.
    pub fn new(verb: &'static str, path: &Path, source: io::Error) -> FileError {
        FileError { verb, path: path.to_owned(), target: None, source }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} file \"{}\"", self.verb, self.path.display())?;
        if let Some(target) = &self.target {
            write!(f, " to \"{}\"", target.display())?;
        }
        write!(f, ": {}", os_error_text(&self.source))
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The error's text as C's `strerror` gives it, without the `(os error N)` that Rust appends. C: `%m`.
pub fn os_error_text(error: &io::Error) -> String {
    let mut text = error.to_string();
    if error.raw_os_error().is_some()
        && let Some(end) = text.rfind(" (os error ")
    {
        text.truncate(end);
    }
    text
}

/// Permission bits for what is made in a data directory. C: `pg_dir_create_mode`, `pg_file_create_mode`,
/// `pg_mode_mask`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreateModes {
    /// For directories.
    pub dir: u32,
    /// For files.
    pub file: u32,
    /// For `umask`.
    pub mask: u32,
}

impl CreateModes {
    /// Nobody but the owner gets in.
    pub const OWNER: CreateModes = CreateModes { dir: 0o700, file: 0o600, mask: 0o077 };
    /// The owner's group may read (`initdb --allow-group-access`).
    pub const GROUP: CreateModes = CreateModes { dir: 0o750, file: 0o640, mask: 0o027 };

    /// What goes with the bits of this data directory. C: `GetDataDirectoryCreatePerm`.
    pub fn of_data_dir(data_dir: &Path) -> io::Result<CreateModes> {
        let bits = std::fs::metadata(data_dir)?.permissions().mode();
        Ok(if bits & 0o050 == 0o050 { CreateModes::GROUP } else { CreateModes::OWNER })
    }
}

/// Makes a file's bytes durable. C: `fsync_fname`.
pub fn fsync_path(path: &Path) -> Result<(), FileError> {
    let file = File::open(path).map_err(|e| FileError::new("open", path, e))?;
    file.sync_all().map_err(|e| FileError::new("fsync", path, e))
}

/// Makes the names in a directory durable. A file system that cannot fsync a directory is no error, and
/// neither is a directory that we may not open.
pub fn fsync_dir(path: &Path) -> Result<(), FileError> {
    let dir = match File::open(path) {
        Ok(dir) => dir,
        Err(e) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::EACCES)) => return Ok(()),
        Err(e) => return Err(FileError::new("open", path, e)),
    };
    match dir.sync_all() {
        Err(e) if !matches!(e.raw_os_error(), Some(libc::EBADF | libc::EINVAL)) => {
            Err(FileError::new("fsync", path, e))
        }
        _ => Ok(()),
    }
}

/// Makes the entry of `path` in its directory durable. C: `fsync_parent_path`.
pub fn fsync_parent(path: &Path) -> Result<(), FileError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fsync_dir(parent),
        Some(_) => fsync_dir(Path::new(".")),
        None => Ok(()),
    }
}

/// Renames a file such that after a crash the new name stands for the old content or the new, never for
/// neither. C: `durable_rename`.
///
/// 1. The old file is synced, so that the new name can't appear on a file without content.
/// 2. A file already under the new name is synced too, so that it is one of the two possible outcomes.
/// 3. Rename. 4. The file under its new name and the directory are synced.
pub fn durable_rename(old: &Path, new: &Path) -> Result<(), FileError> {
    fsync_path(old)?;
    match File::open(new) {
        Ok(existing) => existing.sync_all().map_err(|e| FileError::new("fsync", new, e))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(FileError::new("open", new, e)),
    }
    rename(old, new)?;
    fsync_path(new)?;
    fsync_parent(new)
}

/// Renames without syncing anything: for a file whose loss does no harm, such as statistics or a cluster
/// made with `--no-sync`.
#[allow(clippy::disallowed_methods, reason = "the one place the ban on a bare rename points to")]
pub fn rename(old: &Path, new: &Path) -> Result<(), FileError> {
    std::fs::rename(old, new).map_err(|source| FileError {
        verb: "rename",
        path: old.to_owned(),
        target: Some(new.to_owned()),
        source,
    })
}

/// Removes a file and makes that durable. C: `durable_unlink`.
pub fn durable_unlink(path: &Path) -> Result<(), FileError> {
    std::fs::remove_file(path).map_err(|e| FileError::new("remove", path, e))?;
    fsync_parent(path)
}

/// Replaces the whole content of a file: readers see the old content or the new, also after a crash. The
/// new content is first written to `<path>.tmp`, whose old remains are overwritten.
pub fn write_file_durably(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = write_temporary(path, content, mode)?;
    durable_rename(&temporary, path)
}

/// As [`write_file_durably`], but without any fsync: atomic for readers, not safe from a power failure.
pub fn write_file_atomically(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    let temporary = write_temporary(path, content, mode)?;
    rename(&temporary, path)
}

fn write_temporary(path: &Path, content: &[u8], mode: u32) -> Result<PathBuf, FileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)
        .map_err(|e| FileError::new("create", &temporary, e))?;
    // A left-over keeps its mode when it is opened again, so say it again.
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .and_then(|()| file.write_all(content))
        .map_err(|e| FileError::new("write", &temporary, e))?;
    Ok(temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test alone, removed when dropped.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let dir = std::env::temp_dir().join(format!("common-file-{name}-{}", std::process::id()));
            std::fs::create_dir(&dir).unwrap();
            Scratch(dir)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn replaces_content_and_mode() {
        let dir = Scratch::new("replace");
        let path = dir.0.join("pg_auth");
        write_file_durably(&path, b"one", 0o600).unwrap();
        write_file_durably(&path, b"two", 0o640).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(&dir.0).unwrap().count(), 1, "no temporary file stays");
        durable_unlink(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn errors_read_as_in_postgres() {
        let dir = Scratch::new("errors");
        let (old, new) = (dir.0.join("old"), dir.0.join("new"));
        let text = durable_rename(&old, &new).unwrap_err().to_string();
        assert_eq!(text, format!("could not open file \"{}\": No such file or directory", old.display()));
        let text = rename(&old, &new).unwrap_err().to_string();
        assert_eq!(
            text,
            format!(
                "could not rename file \"{}\" to \"{}\": No such file or directory",
                old.display(),
                new.display()
            )
        );
        assert!(!new.exists());
    }

    #[test]
    fn directories_can_be_synced() {
        let dir = Scratch::new("dir");
        fsync_dir(&dir.0).unwrap();
        fsync_parent(Path::new("no-slash")).unwrap();
        assert!(fsync_dir(&dir.0.join("absent")).is_err());
    }
}
