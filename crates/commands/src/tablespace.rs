//! CREATE TABLESPACE, DROP TABLESPACE, their replay, and which tablespace a new table goes to.
//!
//! A tablespace is a row of the shared catalog pg_tablespace and a directory elsewhere (see [`directories`]). Nothing of
//! the latter can be undone, so both commands refuse to run in a transaction block, and their commits are always flushed.
//!
//! C counterpart: commands/tablespace.c.

use std::path::{Component, Path, PathBuf};

use catalog::access;
use catalog::dependency::{self, Object};
use catalog::rows::PgTablespaceRow;
use catalog::tables::PG_TABLESPACE;
use catalog::{relation, syscache};
use common::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE, Oid, SqlState, TABLESPACE_VERSION_DIRECTORY};
use elog::{PgError, Result, error, pg_error};
use lmgr::LockMode;
use miscinit::globals::data_dir;
use parser::ast::CreateTablespaceStmt;
use types::Datum;
use wal::{Record, RmgrId};

use crate::Context;
use crate::options::tablespace_options;

mod directories;

/// C: `XLOG_TBLSPC_CREATE`, `XLOG_TBLSPC_DROP`.
const TBLSPC_CREATE: u8 = 0x00;
const TBLSPC_DROP: u8 = 0x10;
/// Longest path of a file. C: `MAXPGPATH`.
const PATH_BYTES_MAX: usize = 1024;
/// What follows a location at most: slash and version, then a database's, a relation's and a segment's number, and a fork.
const FILE_BYTES_MAX: usize = 1 + TABLESPACE_VERSION_DIRECTORY.len() + 1 + 10 + 1 + 10 + 1 + 4 + 1 + 10;
/// Below it are tablespaces of every cluster. C: `FirstUnpinnedObjectId`.
const PINNED: [Oid; 2] = [DEFAULT_TABLESPACE, GLOBAL_TABLESPACE];

fn object(tablespace: Oid) -> Object {
    Object { class: PG_TABLESPACE.oid, id: tablespace, sub: 0 }
}

fn missing(name: &str) -> PgError {
    error!(SqlState::UNDEFINED_OBJECT, "tablespace \"{name}\" does not exist")
}

/// CREATE TABLESPACE; `owner` looks up the role that the statement names. The caller has checked that it does not run in a
/// transaction block. C: `CreateTableSpace`.
///
/// # Errors
/// 42501 for others than superusers; what is wrong with the location or the name; 42710 if the name is taken.
pub fn create(
    cx: &Context<'_>,
    stmt: &CreateTablespaceStmt,
    owner: impl FnOnce() -> Result<Option<Oid>>,
) -> Result<()> {
    let name = &stmt.name;
    if !cx.superuser {
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "permission denied to create tablespace \"{name}\""
        )
        .hint("Must be superuser to create a tablespace."));
    }
    let owner = owner()?.unwrap_or(cx.role);
    let location = checked_location(&stmt.location)?;
    if name.starts_with("pg_") && !guc::vars::ALLOW_SYSTEM_TABLE_MODS.get() {
        return Err(error!(SqlState::RESERVED_NAME, "unacceptable tablespace name \"{name}\"")
            .detail("The prefix \"pg_\" is reserved for system tablespaces."));
    }
    // Stands in for the unique index, and makes two of the same name wait for each other.
    relation::lock(PG_TABLESPACE.oid, LockMode::ShareRowExclusive)?;
    if syscache::tablespace_by_name(name)?.is_some() {
        return Err(error!(SqlState::DUPLICATE_OBJECT, "tablespace \"{name}\" already exists"));
    }
    let oid = catalog::create::new_oid()?;
    let options = tablespace_options(&stmt.options)?;
    let row = PgTablespaceRow {
        oid,
        spcname: name.clone(),
        spcowner: owner,
        spcacl: Datum::Null,
        spcoptions: (!options.is_empty()).then_some(options),
    };
    access::insert(&PG_TABLESPACE, &[row.to_datums()])?;
    dependency::record_owner(object(oid), owner)?;
    directories::create(&location, oid, false)?;
    let mut data = oid.0.to_le_bytes().to_vec();
    data.extend_from_slice(location.as_bytes());
    data.push(0);
    let mut record = Record::new(RmgrId::Tblspc, TBLSPC_CREATE);
    record.data(&data);
    record.insert();
    transam::xact::force_sync_commit();
    Ok(())
}

fn checked_location(written: &str) -> Result<String> {
    let location = canonical(written);
    if location.contains('\'') {
        return Err(error!(SqlState::INVALID_NAME, "tablespace location cannot contain single quotes"));
    }
    let in_place = guc::vars::ALLOW_IN_PLACE_TABLESPACES.get() && location.is_empty();
    let wrong = |text: String| Err(error!(SqlState::INVALID_OBJECT_DEFINITION, "{text}"));
    if !in_place && !location.starts_with('/') {
        return wrong("tablespace location must be an absolute path".to_owned());
    }
    if location.len() + FILE_BYTES_MAX > PATH_BYTES_MAX {
        return wrong(format!("tablespace location \"{location}\" is too long"));
    }
    if Path::new(&location).starts_with(data_dir()) {
        pg_error!(
            Warning,
            SqlState::INVALID_OBJECT_DEFINITION,
            "tablespace location should not be inside the data directory"
        )
        .report();
    }
    Ok(location)
}

/// Without doubled and trailing slashes, `.` and `..`. C: `canonicalize_path`.
fn canonical(path: &str) -> String {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if clean.file_name().is_some() => {
                clean.pop();
            }
            Component::ParentDir if clean.has_root() => {}
            part => clean.push(part),
        }
    }
    if clean.as_os_str().is_empty() && !path.is_empty() {
        return ".".to_owned();
    }
    clean.to_string_lossy().into_owned()
}

/// DROP TABLESPACE. The caller has checked that it does not run in a transaction block; `checkpoint` makes one at once and
/// waits for it. C: `DropTableSpace`.
///
/// # Errors
/// 42704, 42501, 55000 if files are there.
pub fn drop_tablespace(
    cx: &Context<'_>,
    name: &str,
    missing_ok: bool,
    checkpoint: impl FnOnce() -> Result<()>,
) -> Result<()> {
    relation::lock(PG_TABLESPACE.oid, LockMode::RowExclusive)?;
    let wanted = |datum: &Datum| matches!(datum, Datum::Text(found) if **found == *name);
    let found = access::rows_where(&PG_TABLESPACE, 1, wanted, PgTablespaceRow::from_datums)?;
    let Some((id, row)) = found.into_iter().next() else {
        if missing_ok {
            pg_error!(
                Notice,
                SqlState::SUCCESSFUL_COMPLETION,
                "tablespace \"{name}\" does not exist, skipping"
            )
            .report();
            return Ok(());
        }
        return Err(missing(name));
    };
    let denied = |text: String| Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "{text}"));
    let owns = cx.superuser || catalog::authid::load(data_dir())?.has_privileges_of(cx.role, row.spcowner)?;
    if !owns {
        return denied(format!("must be owner of tablespace {name}"));
    }
    if PINNED.contains(&row.oid) {
        return denied(format!("permission denied for tablespace {name}"));
    }
    access::delete(&PG_TABLESPACE, id)?;
    dependency::forget(object(row.oid))?;
    remove_directories(&row, checkpoint)?;
    transam::xact::force_sync_commit();
    Ok(())
}

/// Files of dropped tables go with the next checkpoint only: if there are any, it is time for one.
fn remove_directories(row: &PgTablespaceRow, checkpoint: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut lock = storage::tablespace::lock();
    if !directories::destroy(row.oid, false)? {
        drop(lock);
        checkpoint()?;
        lock = storage::tablespace::lock();
        if !directories::destroy(row.oid, false)? {
            return Err(error!(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "tablespace \"{}\" is not empty", row.spcname
            ));
        }
    }
    let data = row.oid.0.to_le_bytes();
    let mut record = Record::new(RmgrId::Tblspc, TBLSPC_DROP);
    record.data(&data);
    record.insert();
    drop(lock);
    Ok(())
}

/// Replays `RM_TBLSPC_ID`. C: `tblspc_redo`.
///
/// # Errors
/// What making directories says; an unknown record.
pub fn redo(record: &wal::DecodedRecord<'_>) -> Result<()> {
    let info = record.info & 0xF0;
    let oid = record.main_data.first_chunk().map(|bytes| Oid(u32::from_le_bytes(*bytes)));
    match (info, oid) {
        (TBLSPC_CREATE, Some(oid)) => {
            let path = record.main_data[4..].split(|byte| *byte == 0).next().unwrap_or_default();
            directories::create(&String::from_utf8_lossy(path), oid, true)
        }
        (TBLSPC_DROP, Some(oid)) => {
            if directories::destroy(oid, true)? {
                return Ok(());
            }
            // Sessions of a standby may have temporary files there.
            lmgr::standby::resolve_conflict_with_tablespace(oid)?;
            if !directories::destroy(oid, true)? {
                let text = format!("directories for tablespace {oid} could not be removed");
                pg_error!(Log, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{text}")
                    .hint("You can remove the directories manually if necessary.")
                    .report();
            }
            Ok(())
        }
        _ => Err(error!(SqlState::INTERNAL_ERROR, "tblspc_redo: unknown op code {info}")),
    }
}

/// Where a new table goes: the tablespace that the statement names, or that `default_tablespace` does; invalid is the
/// database's own. C: the part of `DefineRelation` about it, `GetDefaultTablespace`.
///
/// # Errors
/// 42704, 42501 `permission denied for tablespace %s`, 22023 for `pg_global`.
pub fn of_new_table(cx: &Context<'_>, named: Option<&str>) -> Result<Oid> {
    let found = match named {
        Some(name) => syscache::tablespace_by_name(name)?.ok_or_else(|| missing(name))?,
        None => {
            let name = guc::vars::DEFAULT_TABLESPACE.get();
            // The setting may name one that is gone: then it counts for nothing.
            match if name.is_empty() { None } else { syscache::tablespace_by_name(&name)? } {
                Some(found) => found,
                None => return Ok(Oid::INVALID),
            }
        }
    };
    if found.oid == DEFAULT_TABLESPACE {
        return Ok(Oid::INVALID);
    }
    let may =
        cx.superuser || catalog::authid::load(data_dir())?.has_privileges_of(cx.role, found.spcowner)?;
    if !may {
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "permission denied for tablespace {}", found.spcname
        ));
    }
    if found.oid == GLOBAL_TABLESPACE {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "only shared relations can be placed in pg_global tablespace"
        ));
    }
    Ok(found.oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_canonical() {
        for (written, expected) in
            [("/a//b/", "/a/b"), ("/a/./b/../c", "/a/c"), ("/..", "/"), ("a/..", "."), ("", ""), ("./x", "x")]
        {
            assert_eq!(canonical(written), expected, "{written}");
        }
    }
}
