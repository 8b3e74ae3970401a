//! A walk through the data directory or a tablespace: each entry is handed to a [`Visitor`], unless it stays behind.
//!
//! Two visitors walk: one that counts bytes, for the client's progress bar, and the one that sends.
//!
//! C counterpart: `sendDir`, `sendTablespace` of replication/basebackup.c.

use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use backup::TablespaceInfo;
use common::file::CreateModes;
use common::{Oid, TABLESPACE_VERSION_DIRECTORY};
use elog::{Result, ereport, errno_text, error};

use crate::archive::{Archive, Place, owner};
use crate::exclude;
use crate::tar::{self, Kind, Owner};

/// What is found on the way. Names are those in the archive.
pub(crate) trait Visitor {
    fn directory(&mut self, name: &Path, owner: Owner) -> Result<()>;
    fn link(&mut self, name: &Path, target: &Path, owner: Owner) -> Result<()>;
    /// `source` is where it can be opened.
    fn file(&mut self, source: &Path, name: &Path, metadata: &Metadata, database: Option<Oid>) -> Result<()>;
}

/// Counts what an archive will have. C: `sizeonly`.
#[derive(Default)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
}

impl Visitor for Size {
    fn directory(&mut self, _: &Path, _: Owner) -> Result<()> {
        self.bytes += tar::BLOCK as u64;
        Ok(())
    }

    fn link(&mut self, _: &Path, _: &Path, _: Owner) -> Result<()> {
        self.bytes += tar::BLOCK as u64;
        Ok(())
    }

    fn file(&mut self, _: &Path, _: &Path, metadata: &Metadata, _: Option<Oid>) -> Result<()> {
        self.bytes += tar::BLOCK as u64 + metadata.len() + tar::padding(metadata.len()) as u64;
        Ok(())
    }
}

/// Puts everything into an archive.
pub(crate) struct Send<'s, 'a> {
    pub(crate) archive: &'s mut Archive<'a>,
    /// The one whose archive it is.
    pub(crate) tablespace: Option<&'s str>,
}

impl Visitor for Send<'_, '_> {
    fn directory(&mut self, name: &Path, owner: Owner) -> Result<()> {
        self.archive.add_header(name, Kind::Directory, owner)
    }

    fn link(&mut self, name: &Path, target: &Path, owner: Owner) -> Result<()> {
        self.archive.add_header(name, Kind::Link { target }, owner)
    }

    fn file(&mut self, source: &Path, name: &Path, metadata: &Metadata, database: Option<Oid>) -> Result<()> {
        let place = Place { tablespace: self.tablespace, database };
        self.archive.add_file(source, name, metadata, true, place).map(|_| ())
    }
}

/// How to walk.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'w> {
    /// Directories that are tablespaces are not entered: they have archives of their own.
    pub(crate) tablespaces: &'w [TablespaceInfo],
    /// The links to tablespaces belong into the archive.
    pub(crate) send_links: bool,
    /// Asked before each entry; an error ends the walk.
    pub(crate) go_on: &'w dyn Fn() -> Result<()>,
}

impl Walk<'_> {
    /// The data directory, which is the current one.
    ///
    /// # Errors
    /// Those of `go_on`, of reading and of the visitor.
    pub(crate) fn data_directory(self, visitor: &mut dyn Visitor) -> Result<()> {
        self.directory(Path::new("."), Path::new("."), visitor)
    }

    /// A tablespace that lies at `path`: only our version's directory there. C: `sendTablespace`.
    ///
    /// # Errors
    /// As [`Walk::data_directory`].
    pub(crate) fn tablespace(self, path: &Path, visitor: &mut dyn Visitor) -> Result<()> {
        let directory = path.join(TABLESPACE_VERSION_DIRECTORY);
        let Some(metadata) = metadata(&directory)? else { return Ok(()) };
        visitor.directory(TABLESPACE_VERSION_DIRECTORY.as_ref(), owner(&metadata))?;
        self.directory(&directory, path, visitor)
    }

    /// Everything in a directory; names in the archive are relative to `root`. C: `sendDir`.
    fn directory(self, path: &Path, root: &Path, visitor: &mut dyn Visitor) -> Result<()> {
        let failed = |e: &io::Error| {
            let (code, path) = (elog::sqlstate_for_file_access(e), path.display());
            error!(code, "could not open directory \"{path}\": {}", errno_text(e))
        };
        let database = exclude::database_of(path);
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            // A database that was dropped since its directory was seen: replay drops it, too.
            Err(e) if e.kind() == io::ErrorKind::NotFound && path != root => return Ok(()),
            Err(e) => return Err(failed(&e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| failed(&e))?;
            (self.go_on)()?;
            if !stays_behind(&entry, path, database.is_some()) {
                self.entry(&entry.path(), root, database, visitor)?;
            }
        }
        Ok(())
    }

    fn entry(self, path: &Path, root: &Path, database: Option<Oid>, visitor: &mut dyn Visitor) -> Result<()> {
        // If it went away meanwhile, replay takes care of that.
        let Some(metadata) = metadata(path)? else { return Ok(()) };
        let name = path.strip_prefix(root).unwrap_or(path);
        let last_name = name.file_name().unwrap_or_default().to_string_lossy();
        if exclude::is_emptied_directory(&last_name) {
            ereport!(Debug1, "contents of directory \"{last_name}\" excluded from backup");
            return visitor.directory(name, as_directory(&metadata));
        }
        if path == Path::new("./pg_wal") {
            visitor.directory(name, as_directory(&metadata))?;
            // The same permissions will do; the name is PostgreSQL's.
            return visitor.directory("./pg_wal/archive_status".as_ref(), as_directory(&metadata));
        }
        let kind = metadata.file_type();
        if kind.is_symlink() && path.parent() == Some(Path::new("./pg_tblspc")) {
            visitor.link(name, &link_target(path)?, owner(&metadata))
        } else if kind.is_dir() {
            visitor.directory(name, owner(&metadata))?;
            if self.enters(name) { self.directory(path, root, visitor) } else { Ok(()) }
        } else if kind.is_file() {
            visitor.file(path, name, &metadata, database)
        } else {
            ereport!(Warning, "skipping special file \"{}\"", path.display());
            Ok(())
        }
    }

    fn enters(self, name: &Path) -> bool {
        let is_tablespace = |info: &TablespaceInfo| {
            info.relative_path.as_deref().is_some_and(|relative| Path::new(relative) == name)
        };
        let has_unwanted_links = name == Path::new("pg_tblspc") && !self.send_links;
        !has_unwanted_links && !self.tablespaces.iter().any(is_tablespace)
    }
}

/// Is it left out by its name?
fn stays_behind(entry: &DirEntry, directory: &Path, has_relations: bool) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    if exclude::is_temporary(&name) {
        return true;
    }
    if exclude::is_excluded_file(&name) {
        ereport!(Debug1, "file \"{name}\" excluded from backup");
        return true;
    }
    if has_relations {
        if exclude::is_temporary_relation(&name) {
            ereport!(Debug2, "temporary relation file \"{name}\" excluded from backup");
            return true;
        }
        if is_unlogged(&name, directory) {
            ereport!(Debug2, "unlogged relation file \"{name}\" excluded from backup");
            return true;
        }
    }
    // It is sent last of all.
    directory == Path::new("./global") && name == "pg_control"
}

/// An unlogged relation is reset from its init fork after a restore: all others need not come along.
fn is_unlogged(name: &str, directory: &Path) -> bool {
    match exclude::parse_relation_file(name) {
        Some((number, fork)) if fork != "init" => file::exists(&directory.join(format!("{number}_init"))),
        _ => false,
    }
}

/// A link to a directory is sent as the directory: where it points to is this server's business. C: `convert_link_to_directory`.
fn as_directory(metadata: &Metadata) -> Owner {
    let mode = if metadata.file_type().is_symlink() {
        CreateModes::of_data_dir(Path::new(".")).unwrap_or(CreateModes::OWNER).dir
    } else {
        metadata.mode()
    };
    Owner { mode, ..owner(metadata) }
}

/// What is there, links not followed; `None` if nothing is.
fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => {
            let (code, path) = (elog::sqlstate_for_file_access(&e), path.display());
            Err(error!(code, "could not stat file or directory \"{path}\": {}", errno_text(&e)))
        }
    }
}

fn link_target(path: &Path) -> Result<PathBuf> {
    fs::read_link(path).map_err(|e| {
        let (code, path) = (elog::sqlstate_for_file_access(&e), path.display());
        error!(code, "could not read symbolic link \"{path}\": {}", errno_text(&e))
    })
}

#[cfg(test)]
mod tests;
