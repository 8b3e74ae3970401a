//! Functions about tablespaces: where they are, how much is in them.
//!
//! C counterpart: `pg_tablespace_location` of utils/adt/misc.c; utils/adt/dbsize.c.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use catalog::syscache;
use common::{
    DEFAULT_TABLESPACE, GLOBAL_TABLESPACE, Oid, SqlState, TABLESPACE_LINKS, TABLESPACE_VERSION_DIRECTORY,
    database_path,
};
use elog::{Result, errno_text, error};
use types::fmgr::{Builtin, CallContext};
use types::{Datum, oid};

use crate::identity;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(3778, "pg_tablespace_location", &[oid::OID], oid::TEXT, location).stable(),
    Builtin::scalar(2322, "pg_tablespace_size", &[oid::OID], oid::INT8, size).volatile(),
    Builtin::scalar(2323, "pg_tablespace_size", &[oid::NAME], oid::INT8, size).volatile(),
];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

/// C: `pg_tablespace_location`.
fn location(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let oid = match args.first() {
        Some(Datum::Oid(oid)) if *oid != 0 => Oid(*oid),
        _ => DEFAULT_TABLESPACE,
    };
    if oid == DEFAULT_TABLESPACE || oid == GLOBAL_TABLESPACE {
        return Ok(Datum::text(""));
    }
    let link = format!("{TABLESPACE_LINKS}/{oid}");
    let failed = |what: &str, e: &std::io::Error| {
        error!(elog::sqlstate_for_file_access(e), "could not {what} \"{link}\": {}", errno_text(e))
    };
    let found = fs::symlink_metadata(&link).map_err(|e| failed("stat file", &e))?;
    if !found.is_symlink() {
        return Ok(Datum::text(&link));
    }
    let target = fs::read_link(&link).map_err(|e| failed("read symbolic link", &e))?;
    Ok(Datum::text(target.to_string_lossy()))
}

/// C: `pg_tablespace_size_oid`, `pg_tablespace_size_name`.
fn size(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let oid = match args.first() {
        Some(Datum::Oid(oid)) => Oid(*oid),
        Some(name) => {
            let name = name.as_str().unwrap_or_default();
            match syscache::tablespace_by_name(name)? {
                Some(row) => row.oid,
                None => {
                    return Err(error!(SqlState::UNDEFINED_OBJECT, "tablespace \"{name}\" does not exist"));
                }
            }
        }
        None => Oid::INVALID,
    };
    let Some(row) = syscache::tablespace(oid)? else { return Ok(Datum::Null) };
    let me = identity::get();
    let may = oid == DEFAULT_TABLESPACE
        || me.has_privileges_of(row.spcowner)
        || me.has_privileges_of(catalog::predefined::PG_READ_ALL_STATS);
    if !may {
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "permission denied for tablespace {}", row.spcname
        ));
    }
    let path = match oid {
        DEFAULT_TABLESPACE => "base".to_owned(),
        GLOBAL_TABLESPACE => "global".to_owned(),
        _ => format!("{TABLESPACE_LINKS}/{oid}/{TABLESPACE_VERSION_DIRECTORY}"),
    };
    // Directories count themselves, as the file system has it.
    let Some(entries) = sizes_in(Path::new(&path))? else { return Ok(Datum::Null) };
    let mut total = 0;
    for (below, bytes, is_dir) in entries {
        total += bytes;
        if is_dir {
            total += directory_size(&below)?.unwrap_or(0);
        }
    }
    Ok(Datum::Int8(total))
}

/// Entries of a directory with their sizes; `None` if it is not there.
fn sizes_in(path: &Path) -> Result<Option<Vec<(std::path::PathBuf, i64, bool)>>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            let (state, path) = (elog::sqlstate_for_file_access(&e), path.display());
            return Err(error!(state, "could not open directory \"{path}\": {}", errno_text(&e)));
        }
    };
    let entry = |entry: fs::DirEntry| {
        let data = fs::metadata(entry.path()).ok()?;
        Some((entry.path(), data.len() as i64, data.is_dir()))
    };
    Ok(Some(entries.flatten().filter_map(entry).collect()))
}

/// C: `db_dir_size`.
fn directory_size(path: &Path) -> Result<Option<i64>> {
    Ok(sizes_in(path)?.map(|entries| entries.iter().map(|(_, bytes, _)| bytes).sum()))
}

/// A database's files in all tablespaces; NULL if there are none. C: `calculate_database_size`.
pub(super) fn database_size(database: Oid) -> Result<Datum> {
    let mut total = directory_size(Path::new(&database_path(DEFAULT_TABLESPACE, database)))?;
    for tablespace in syscache::tablespaces()? {
        if tablespace.oid != DEFAULT_TABLESPACE && tablespace.oid != GLOBAL_TABLESPACE {
            let more = directory_size(Path::new(&database_path(tablespace.oid, database)))?;
            total = total.map(|bytes| bytes + more.unwrap_or(0));
        }
    }
    Ok(total.map_or(Datum::Null, Datum::Int8))
}
