//! Files that a crash leaves behind: temporary ones go, unlogged relations become empty, and what is in the
//! directory gets to the disk before recovery relies on it.
//!
//! C counterpart: storage/file/reinit.c; `RemovePgTempFiles` of fd.c.

use std::fs;
use std::path::{Path, PathBuf};

use common::{SqlState, TABLESPACE_LINKS, TABLESPACE_VERSION_DIRECTORY};
use elog::{Result, ereport, error};

use crate::progress::Progress;

/// What to do with unlogged relations. C: `UNLOGGED_RELATION_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unlogged {
    /// Before redo: everything but the init forks goes away.
    Cleanup,
    /// After redo: the init forks become the main forks.
    Init,
}

/// A relation's file name taken apart: `16384`, `16384.1`, `16384_init`, `16384_fsm.2`.
/// C: `parse_filename_for_nontemp_relation`.
fn parse_relation_file(name: &str) -> Option<(u32, &str)> {
    let (name, segment) = name.split_once('.').map_or((name, None), |(name, segment)| (name, Some(segment)));
    let (number, fork) = name.split_once('_').unwrap_or((name, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let known = matches!(fork, "" | "fsm" | "vm" | "init") && segment.is_none_or(digits);
    if !digits(number) || !known {
        return None;
    }
    Some((number.parse().ok()?, fork))
}

/// Resets the unlogged relations of all databases. C: `ResetUnloggedRelations`.
///
/// # Errors
/// Those of copying an init fork.
pub(crate) fn reset_unlogged(data_dir: &Path, what: Unlogged) -> Result<()> {
    ereport!(
        Debug1,
        "resetting unlogged relations: cleanup {} init {}",
        u8::from(what == Unlogged::Cleanup),
        u8::from(what == Unlogged::Init)
    );
    let mut progress = Progress::begin();
    for database in database_dirs(data_dir) {
        let phase = match what {
            Unlogged::Cleanup => "resetting unlogged relations (cleanup)",
            Unlogged::Init => "resetting unlogged relations (init)",
        };
        progress.report(phase, || format!("current path: {}", database.display()));
        reset_unlogged_in(&database, what)?;
    }
    Ok(())
}

/// `base/<number>`, each a database, and their like in the other tablespaces.
fn database_dirs(data_dir: &Path) -> Vec<PathBuf> {
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
    let mut found = Vec::new();
    for tablespace in tablespace_dirs(data_dir) {
        let databases = names_in(&tablespace).into_iter().filter(|name| is_number(name));
        found.extend(databases.map(|name| tablespace.join(name)));
    }
    found
}

/// Where the directories of databases lie: `base`, and below each link to a tablespace.
fn tablespace_dirs(data_dir: &Path) -> Vec<PathBuf> {
    let links = data_dir.join(TABLESPACE_LINKS);
    let below = |name: String| links.join(name).join(TABLESPACE_VERSION_DIRECTORY);
    let mut found = vec![data_dir.join("base")];
    found.extend(names_in(&links).into_iter().map(below));
    found
}

/// Names of a directory's entries; of one that is not there, none.
fn names_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// C: `ResetUnloggedRelationsInDbspaceDir`.
fn reset_unlogged_in(directory: &Path, what: Unlogged) -> Result<()> {
    let names = names_in(directory);
    let parsed = || names.iter().filter_map(|name| Some((name, parse_relation_file(name)?)));
    let unlogged: Vec<u32> =
        parsed().filter(|(_, (_, fork))| *fork == "init").map(|(_, (number, _))| number).collect();
    if unlogged.is_empty() {
        return Ok(());
    }
    for (name, (number, fork)) in parsed() {
        if !unlogged.contains(&number) {
            continue;
        }
        let path = directory.join(name);
        if what == Unlogged::Cleanup && fork != "init" {
            fs::remove_file(&path).map_err(|e| failed("remove", &path, &e))?;
        } else if what == Unlogged::Init && fork == "init" {
            let main = directory.join(name.replacen("_init", "", 1));
            fs::copy(&path, &main).map_err(|e| failed("copy", &path, &e))?;
            let synced = fs::File::open(&main).and_then(|file| file.sync_all());
            synced.map_err(|e| failed("fsync", &main, &e))?;
        }
    }
    common::file::fsync_dir(directory).map_err(|e| error!(SqlState::IO_ERROR, "{e}"))
}

fn failed(verb: &str, path: &Path, cause: &std::io::Error) -> elog::PgError {
    let reason = elog::errno_text(cause);
    error!(elog::sqlstate_for_file_access(cause), "could not {verb} file \"{}\": {reason}", path.display())
}

/// Removes files of sorts and hash tables, and of temporary tables, that nobody owns any more.
/// C: `RemovePgTempFiles`.
pub(crate) fn remove_temporary_files(data_dir: &Path) {
    let mut directories = database_dirs(data_dir);
    directories.extend(tablespace_dirs(data_dir));
    for directory in directories {
        for name in names_in(&directory) {
            if is_temporary_relation(&name) {
                remove_logged(&directory.join(name));
            }
        }
        let temporary = directory.join("pgsql_tmp");
        for name in names_in(&temporary) {
            if name.starts_with("pgsql_tmp") {
                remove_logged(&temporary.join(name));
            }
        }
    }
}

/// Removes WAL segments that were being made. C: `RemoveTempXlogFiles`.
pub(crate) fn remove_temporary_segments(data_dir: &Path) {
    let directory = data_dir.join("pg_wal");
    ereport!(Debug2, "removing all temporary WAL segments");
    for name in names_in(&directory) {
        if name.starts_with("xlogtemp.") {
            remove_logged(&directory.join(&name));
            ereport!(Debug2, "removed temporary WAL segment \"{name}\"");
        }
    }
}

/// `t3_16384`, `t3_16384_fsm`, `t3_16384.1`. C: `looks_like_temp_rel_name`.
fn is_temporary_relation(name: &str) -> bool {
    let Some((backend, relation)) = name.strip_prefix('t').and_then(|rest| rest.split_once('_')) else {
        return false;
    };
    !backend.is_empty()
        && backend.bytes().all(|b| b.is_ascii_digit())
        && parse_relation_file(relation).is_some()
}

fn remove_logged(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(e) = removed {
        ereport!(Log, "could not remove file \"{}\": {}", path.display(), elog::errno_text(&e));
    }
}

/// After a crash nobody knows what of the data directory (the current one) is on disk; redo skips pages that look new
/// enough, so they must be there after a second crash too. C: the call of `SyncDataDirectory`.
///
/// # Errors
/// Those of `file`.
pub(crate) fn sync_data_directory() -> Result<()> {
    let (mut phase, mut progress) = ("", Progress::begin());
    file::sync_data_directory(&storage::begin_writing, &mut |what, path| {
        if phase != what {
            // Each pass has its own time.
            (phase, progress) = (what, Progress::begin());
        }
        progress.report(what, || format!("current path: {}", path.display()));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_relation_files() {
        for (name, expected) in [
            ("16384", Some((16384, ""))),
            ("16384.1", Some((16384, ""))),
            ("16384_init", Some((16384, "init"))),
            ("16384_fsm.12", Some((16384, "fsm"))),
            ("16384_other", None),
            ("t3_16384", None),
            ("PG_VERSION", None),
            ("16384.x", None),
            ("", None),
        ] {
            assert_eq!(parse_relation_file(name), expected, "{name}");
        }
        assert!(is_temporary_relation("t3_16384") && is_temporary_relation("t3_16384_fsm.1"));
        assert!(!is_temporary_relation("t_16384") && !is_temporary_relation("test_1"));
    }

    #[test]
    fn a_crash_empties_unlogged_relations_and_removes_temporary_ones() {
        empties("base/5");
        empties("pg_tblspc/16385/PG_15_202209061/5");
    }

    fn empties(database: &str) {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join(database);
        fs::create_dir_all(database.join("pgsql_tmp")).unwrap();
        for (name, content) in [
            ("1", "logged"),
            ("2", "rows"),
            ("2.1", "rows"),
            ("2_fsm", "map"),
            ("2_init", "empty"),
            ("t3_9", ""),
        ] {
            fs::write(database.join(name), content).unwrap();
        }
        fs::write(database.join("pgsql_tmp/pgsql_tmp77.0"), "").unwrap();
        let sorted = || {
            let mut names = names_in(&database);
            names.sort();
            names
        };
        remove_temporary_files(dir.path());
        reset_unlogged(dir.path(), Unlogged::Cleanup).unwrap();
        assert_eq!(sorted(), ["1", "2_init", "pgsql_tmp"]);
        assert!(names_in(&database.join("pgsql_tmp")).is_empty());
        reset_unlogged(dir.path(), Unlogged::Init).unwrap();
        assert_eq!(fs::read_to_string(database.join("2")).unwrap(), "empty");
    }
}
