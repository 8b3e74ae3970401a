//! A tablespace on disk: the administrator's directory, in it a directory with the version's name, and a symbolic link
//! `pg_tblspc/OID` to the former. A tablespace in place has a directory instead of the link.
//!
//! Called by CREATE and DROP TABLESPACE and by their replay, which takes more than a command does: what it makes may be
//! there from before the crash, and what it removes may hold files that later records remove.
//!
//! C counterpart: `create_tablespace_directories`, `destroy_tablespace_directories` of commands/tablespace.c.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use common::{Oid, SqlState, TABLESPACE_LINKS, TABLESPACE_VERSION_DIRECTORY};
use elog::{PgError, Result, Severity, errno_text, error, sqlstate_for_file_access};

/// `pg_tblspc/16385`.
pub(super) fn link_of(tablespace: Oid) -> String {
    format!("{TABLESPACE_LINKS}/{tablespace}")
}

fn failed(what: &str, path: &str, cause: &io::Error) -> PgError {
    error!(sqlstate_for_file_access(cause), "could not {what} \"{path}\": {}", errno_text(cause))
}

/// Makes them; an empty location is a tablespace in place. C: `create_tablespace_directories`.
///
/// # Errors
/// 58P01 if the location does not exist, 55006 if another tablespace is there; whatever else is in the way.
pub(super) fn create(location: &str, tablespace: Oid, in_redo: bool) -> Result<()> {
    let link = link_of(tablespace);
    let in_place = location.is_empty();
    if in_place {
        // It may be there: replay makes what it misses.
        match file::create_dir(Path::new(&link)) {
            Err(_) if Path::new(&link).exists() => {}
            made => made?,
        }
    } else {
        file::set_dir_mode(Path::new(location)).map_err(|e| not_usable(location, &e, in_redo))?;
    }
    let place = if in_place { &link } else { location };
    create_version_directory(&format!("{place}/{TABLESPACE_VERSION_DIRECTORY}"), in_redo)?;
    if in_place {
        return Ok(());
    }
    if in_redo {
        remove_link(&link)?;
    }
    std::os::unix::fs::symlink(location, &link).map_err(|e| failed("create symbolic link", &link, &e))
}

fn not_usable(location: &str, cause: &io::Error, in_redo: bool) -> PgError {
    if cause.kind() != ErrorKind::NotFound {
        return failed("set permissions on directory", location, cause);
    }
    let error = error!(SqlState::UNDEFINED_FILE, "directory \"{location}\" does not exist");
    if !in_redo {
        return error;
    }
    error.hint("Create this directory for the tablespace before restarting the server.")
}

fn create_version_directory(path: &str, in_redo: bool) -> Result<()> {
    match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => file::create_dir(Path::new(path)),
        Err(e) => Err(failed("stat directory", path, &e)),
        Ok(found) if !found.is_dir() => {
            Err(error!(SqlState::WRONG_OBJECT_TYPE, "\"{path}\" exists but is not a directory"))
        }
        Ok(_) if in_redo => Ok(()),
        Ok(_) => Err(error!(SqlState::OBJECT_IN_USE, "directory \"{path}\" already in use as a tablespace")),
    }
}

/// A link, or a directory that replay made for want of one. C: `remove_tablespace_symlink`.
fn remove_link(link: &str) -> Result<()> {
    let gone = |removed: io::Result<()>, what: &str| match removed {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(what, link, &e)),
        _ => Ok(()),
    };
    match fs::symlink_metadata(link) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed("stat file", link, &e)),
        Ok(found) if found.is_dir() => gone(fs::remove_dir(link), "remove directory"),
        Ok(found) if found.is_symlink() => gone(fs::remove_file(link), "remove symbolic link"),
        Ok(_) => Err(neither(link)),
    }
}

fn neither(link: &str) -> PgError {
    error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "\"{link}\" is not a directory or symbolic link")
}

/// Removes them; false if there is a file below. In replay whatever does not go is only logged. The caller holds the lock
/// that keeps others from making directories. C: `destroy_tablespace_directories`.
///
/// # Errors
/// Outside of replay: what cannot be read or removed.
pub(super) fn destroy(tablespace: Oid, in_redo: bool) -> Result<bool> {
    let link = link_of(tablespace);
    let version = format!("{link}/{TABLESPACE_VERSION_DIRECTORY}");
    match fs::read_dir(&version) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            // Somebody removed the directory by hand: the link shall go too.
            if !in_redo {
                failed("open directory", &version, &e).with_severity(Severity::Warning).report();
            }
        }
        Err(e) => return answer(failed("open directory", &version, &e), in_redo),
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(|e| failed("read directory", &version, &e))?;
                let below = format!("{version}/{}", entry.file_name().to_string_lossy());
                if !in_redo && !is_empty(&below)? {
                    return Ok(false);
                }
                if let Err(e) = fs::remove_dir(&below) {
                    answer(failed("remove directory", &below, &e), in_redo)?;
                }
            }
            if let Err(e) = fs::remove_dir(&version) {
                return answer(failed("remove directory", &version, &e), in_redo);
            }
        }
    }
    remove_top(&link, in_redo)
}

/// Logs in replay, fails outside of it.
fn answer(error: PgError, in_redo: bool) -> Result<bool> {
    if !in_redo {
        return Err(error);
    }
    error.with_severity(Severity::Log).report();
    Ok(false)
}

fn remove_top(link: &str, in_redo: bool) -> Result<bool> {
    // Should it be gone already, the better.
    let report = |what: &str, cause: &io::Error| {
        let error = failed(what, link, cause);
        if !in_redo && cause.kind() == ErrorKind::NotFound {
            error.with_severity(Severity::Warning).report();
            return Ok(false);
        }
        answer(error, in_redo)
    };
    let (removed, what) = match fs::symlink_metadata(link) {
        Err(e) => (Err(e), "stat file"),
        Ok(found) if found.is_dir() => (fs::remove_dir(link), "remove directory"),
        Ok(found) if found.is_symlink() => (fs::remove_file(link), "remove symbolic link"),
        Ok(_) => return answer(neither(link), in_redo),
    };
    if let Err(e) = removed {
        report(what, &e)?;
    }
    // The link itself is no reason to try again.
    Ok(true)
}

/// C: `directory_is_empty`.
fn is_empty(path: &str) -> Result<bool> {
    let mut entries = fs::read_dir(path).map_err(|e| failed("open directory", path, &e))?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_named_by_oid() {
        assert_eq!(link_of(Oid(16385)), "pg_tblspc/16385");
    }

    #[test]
    fn errors_say_what_failed() {
        let missing = io::Error::from_raw_os_error(2);
        let error = not_usable("/nowhere", &missing, true);
        assert_eq!(&*error.message, "directory \"/nowhere\" does not exist");
        assert!(error.hint.is_some() && not_usable("/nowhere", &missing, false).hint.is_none());
        let denied = not_usable("/root", &io::Error::from_raw_os_error(1), false);
        assert_eq!(
            &*denied.message,
            "could not set permissions on directory \"/root\": Operation not permitted"
        );
    }
}
