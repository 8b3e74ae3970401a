//! The directories of a cluster, and their removal if something fails.
//!
//! C counterpart: `create_data_directory`, `create_xlog_or_symlink`, `cleanup_directories_atexit` in
//! initdb.c, port/pgcheckdir.c.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::file::{CreateModes, FileError, os_error_text};
use common::version::PG_MAJORVERSION;

use crate::options::Options;
use crate::report::{Failure, Result, fail, info, say};

/// Directories below the data directory, besides `pg_wal`, parents first.
const SUBDIRECTORIES: [&str; 22] = [
    "global",
    "pg_wal/archive_status",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_notify",
    "pg_serial",
    "pg_snapshots",
    "pg_subtrans",
    "pg_twophase",
    "pg_multixact",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "base",
    "base/1",
    "pg_replslot",
    "pg_tblspc",
    "pg_stat",
    "pg_stat_tmp",
    "pg_xact",
    "pg_logical",
    "pg_logical/snapshots",
    "pg_logical/mappings",
];

/// Makes the directories and the file `PG_VERSION`.
pub(crate) fn create(options: &Options, modes: CreateModes, cleanup: &mut Cleanup) -> Result<()> {
    let data_dir = &options.data_dir;
    cleanup.no_clean = options.no_clean;
    match look_at(data_dir).map_err(|error| inaccessible(data_dir, &error))? {
        Contents::NotEmpty(hidden) => return Err(data_dir_not_empty(data_dir, hidden)),
        found => prepare(data_dir, found, "data directory", modes, cleanup)?,
    }
    let wal = data_dir.join("pg_wal");
    if let Some(target) = &options.wal_dir {
        if !target.is_absolute() {
            return fail("WAL directory location must be an absolute path");
        }
        match look_at(target).map_err(|error| inaccessible(target, &error))? {
            Contents::NotEmpty(hidden) => return Err(wal_dir_not_empty(target, hidden)),
            found => prepare(target, found, "WAL directory", modes, cleanup)?,
        }
        symlink(target, &wal).map_err(|error| {
            Failure::new(format!(
                "could not create symbolic link \"{}\": {}",
                wal.display(),
                os_error_text(&error)
            ))
        })?;
    } else {
        make_dir(&wal, modes)?;
    }
    say("creating subdirectories ... ");
    for name in SUBDIRECTORIES {
        make_dir(&data_dir.join(name), modes)?;
    }
    write_version(data_dir)?;
    say("ok\n");
    Ok(())
}

/// The file that tells a database's or the cluster's version. C: `write_version_file`.
pub(crate) fn write_version(dir: &Path) -> Result<()> {
    write_new(&dir.join("PG_VERSION"), format!("{PG_MAJORVERSION}\n").as_bytes())
}

/// Writes a file that must not exist yet; its mode follows the umask. Syncing comes at the end, for all.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |error| FileError::new("write", path, error);
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    io::Write::write_all(&mut file, content).map_err(failed)?;
    Ok(())
}

/// One more directory. Its parent exists.
pub(crate) fn make_dir(path: &Path, modes: CreateModes) -> Result<()> {
    std::fs::DirBuilder::new().mode(modes.dir).create(path).map_err(|error| cannot_create(path, &error))
}

fn cannot_create(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("could not create directory \"{}\": {}", path.display(), os_error_text(error)))
}

/// The failure to look into a directory.
pub(crate) fn inaccessible(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("could not access directory \"{}\": {}", path.display(), os_error_text(error)))
}

/// What a directory holds. C: the codes of `pg_check_dir`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Contents {
    Absent,
    Empty,
    NotEmpty(Hidden),
}

/// Things that are in a new file system from the start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Nothing,
    DotFile,
    LostAndFound,
}

fn look_at(dir: &Path) -> io::Result<Contents> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::Absent),
        Err(error) => return Err(error),
    };
    let mut contents = Contents::Empty;
    for entry in entries {
        let name = entry?.file_name();
        contents = match (contents, name.as_encoded_bytes()) {
            (Contents::NotEmpty(Hidden::LostAndFound), [b'.', ..]) => contents,
            (_, [b'.', ..]) => Contents::NotEmpty(Hidden::DotFile),
            (_, b"lost+found") => Contents::NotEmpty(Hidden::LostAndFound),
            _ => return Ok(Contents::NotEmpty(Hidden::Nothing)),
        };
    }
    Ok(contents)
}

/// Creates a directory, or takes over an empty one.
fn prepare(
    dir: &Path,
    found: Contents,
    role: &'static str,
    modes: CreateModes,
    cleanup: &mut Cleanup,
) -> Result<()> {
    if found == Contents::Absent {
        say(&format!("creating directory {} ... ", dir.display()));
        make_with_parents(dir, modes)?;
        cleanup.made.push(Made { path: dir.to_owned(), role, existed: false });
    } else {
        say(&format!("fixing permissions on existing directory {} ... ", dir.display()));
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(modes.dir)).map_err(|error| {
            Failure::new(format!(
                "could not change permissions of directory \"{}\": {}",
                dir.display(),
                os_error_text(&error)
            ))
        })?;
        cleanup.made.push(Made { path: dir.to_owned(), role, existed: true });
    }
    say("ok\n");
    Ok(())
}

/// As `mkdir -p`; a failure names the part of the path that could not be made. C: `pg_mkdir_p`.
fn make_with_parents(dir: &Path, modes: CreateModes) -> Result<()> {
    let mut path = PathBuf::new();
    for component in dir.components() {
        path.push(component);
        if !path.is_dir() {
            make_dir(&path, modes)?;
        }
    }
    Ok(())
}

fn mount_point(failure: Failure, hidden: Hidden) -> Failure {
    let what = match hidden {
        Hidden::Nothing => return failure,
        Hidden::DotFile => "It contains a dot-prefixed/invisible file",
        Hidden::LostAndFound => "It contains a lost+found directory",
    };
    failure.detail(format!("{what}, perhaps due to it being a mount point.")).hint(
        "Using a mount point directly as the data directory is not recommended.\nCreate a subdirectory under the mount point.",
    )
}

fn data_dir_not_empty(dir: &Path, hidden: Hidden) -> Failure {
    let dir = dir.display();
    let failure = Failure::new(format!("directory \"{dir}\" exists but is not empty")).hint(format!(
        "If you want to create a new database system, either remove or empty the directory \"{dir}\" or run initdb with an argument other than \"{dir}\"."
    ));
    mount_point(failure, hidden)
}

fn wal_dir_not_empty(dir: &Path, hidden: Hidden) -> Failure {
    let dir = dir.display();
    let failure = Failure::new(format!("directory \"{dir}\" exists but is not empty"))
        .hint(format!("If you want to store the WAL there, either remove or empty the directory \"{dir}\"."));
    mount_point(failure, hidden)
}

/// What was made so far, for the case that something fails.
#[derive(Default)]
pub(crate) struct Cleanup {
    made: Vec<Made>,
    no_clean: bool,
}

struct Made {
    path: PathBuf,
    role: &'static str,
    /// It was there before, empty: only what is in it goes.
    existed: bool,
}

impl Cleanup {
    /// Removes it, unless told to keep it.
    pub(crate) fn run(self) {
        for Made { path, role, existed } in &self.made {
            let name = path.display();
            if self.no_clean {
                info(&format!("{role} \"{name}\" not removed at user's request"));
            } else if *existed {
                info(&format!("removing contents of {role} \"{name}\""));
                if empty_dir(path).is_err() {
                    info(&format!("error: failed to remove contents of {role}"));
                }
            } else {
                info(&format!("removing {role} \"{name}\""));
                if std::fs::remove_dir_all(path).is_err() {
                    info(&format!("error: failed to remove {role}"));
                }
            }
        }
    }
}

fn empty_dir(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
