//! `pg_replslot`: slots made, written, read at start.
//!
//! ```text
//!   create   mkdir NAME.tmp, write NAME.tmp/state, rename to NAME      a crash before the rename leaves NAME.tmp
//!   save     write NAME/state.tmp, rename to NAME/state                a crash before the rename leaves the old state
//!   drop     rename to NAME.tmp, remove                                a crash after the rename leaves NAME.tmp
//! ```
//! The start of the server removes whatever ends in `.tmp`.
//!
//! C counterpart: `CreateSlotOnDisk`, `SaveSlotToPath`, `RestoreSlotFromDisk`, `StartupReplicationSlots`,
//! `CheckPointReplicationSlots`.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use common::{Oid, SqlState};
use elog::{PgError, Result, Severity, ereport, errno_text, fatal, pg_error};
use file::{File, OpenFlags};
use shmem::WaitEvent;

use super::{Body, CONTROL, Data, Persistency, Place, places, required, state_file, used};

/// Below the data directory. C: `pg_replslot`, a literal.
const DIR: &str = "pg_replslot";
/// Behind the name of what is not finished, or not wanted any more.
const UNFINISHED: &str = ".tmp";

thread_local! {
    static ELSEWHERE: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// Puts slots elsewhere: for tests, which do not run in a data directory.
pub fn set_dir(dir: Option<&Path>) {
    ELSEWHERE.set(dir.map(Path::to_path_buf));
}

/// Where slots are.
pub fn dir() -> PathBuf {
    ELSEWHERE.with_borrow(|dir| dir.clone().unwrap_or_else(|| PathBuf::from(DIR)))
}

pub(super) fn path_of(name: &str) -> PathBuf {
    dir().join(name)
}

pub(super) fn unfinished_path_of(name: &str) -> PathBuf {
    dir().join(format!("{name}{UNFINISHED}"))
}

/// Makes the directory and the file of a slot that nobody else knows yet. C: `CreateSlotOnDisk`.
///
/// # Errors
/// Of the directory and the file.
pub(super) fn create(place: &Place) -> Result<()> {
    let name = place.copy().data.name;
    let (path, unfinished) = (path_of(name.as_str()), unfinished_path_of(name.as_str()));
    if unfinished.is_dir() {
        file::remove_dir_all(&unfinished);
    }
    file::create_dir(&unfinished)?;
    file::fsync_dir(&unfinished)?;
    place.body.lock().dirty = true;
    save(place, &unfinished)?;
    // If the directory is not on disk now, nobody can say whether the slot is there: that is no error one can go on from.
    file::durable_rename_dir(&unfinished, &path)
}

/// Renames the directory of a slot so that after a crash it is gone. C: the first part of `ReplicationSlotDropPtr`.
///
/// # Errors
/// Of the renaming.
pub(super) fn discard(name: &str) -> Result<()> {
    file::durable_rename_dir(&path_of(name), &unfinished_path_of(name))
}

/// The rest of the removal, which nobody has to wait for after a crash.
pub(super) fn remove_discarded(name: &str) {
    remove_dir(&unfinished_path_of(name));
}

fn remove_dir(path: &Path) -> bool {
    let gone = file::remove_dir_all(path);
    if !gone {
        ereport!(Warning, "could not remove directory \"{}\"", path.display());
    }
    gone
}

/// Writes a slot that differs from its file into the directory `at`. C: `SaveSlotToPath`.
///
/// # Errors
/// Of the file; the slot still counts as different then.
pub(super) fn save(place: &Place, at: &Path) -> Result<()> {
    // Before the look: who writes just now may have read what it writes before the latest change, and must not be the one to say
    // that the file has it.
    let _io = place.io.exclusive();
    let data = {
        let mut body = place.body.lock();
        if !body.dirty {
            return Ok(());
        }
        body.just_dirtied = false;
        body.data
    };
    let (unfinished, path) = (at.join("state.tmp"), at.join("state"));
    write_whole(&unfinished, &state_file::encode(&data))?;
    file::durable_rename(&unfinished, &path)?;
    file::fsync_dir(&dir())?;
    let mut body = place.body.lock();
    if !body.just_dirtied {
        body.dirty = false;
    }
    Ok(())
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let opened = file::open(path, flags).map_err(|e| file::file_error("create", path, &e))?;
    let written = opened.write_at(bytes, 0, WaitEvent::REPLICATION_SLOT_WRITE).and_then(|n| {
        // A short write without an errno is a full disk.
        if n == bytes.len() { Ok(()) } else { Err(full_disk()) }
    });
    let synced = written.map_err(|e| ("write to", e)).and_then(|()| {
        let synced =
            if guc::vars::FSYNC.get() { opened.sync(WaitEvent::REPLICATION_SLOT_SYNC) } else { Ok(()) };
        synced.map_err(|e| ("fsync", e))
    });
    synced.map_err(|(verb, error)| {
        // Else no later attempt could make it.
        let _ = file::unlink(path);
        file::file_error(verb, path, &error)
    })
}

fn full_disk() -> io::Error {
    nix::errno::Errno::ENOSPC.into()
}

/// Writes what has changed since the last time. A slot that cannot be written is logged: it only keeps more than is needed.
/// C: `CheckPointReplicationSlots`.
///
/// # Errors
/// Only what the server cannot go on from (PANIC).
pub fn checkpoint() -> Result<()> {
    ereport!(Debug1, "performing replication slot checkpoint");
    // Nobody makes or drops a slot meanwhile, so that no place changes its name under us.
    let _allocation = CONTROL.get().allocation.shared();
    for (_, place) in used() {
        let name = place.copy().data.name;
        match save(place, &path_of(name.as_str())) {
            Err(error) if error.severity >= Severity::Panic => return Err(error),
            Err(error) => error.with_severity(Severity::Log).report(),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Reads the slots that there are; to be called once, by the startup process, before anything else uses them.
/// C: `StartupReplicationSlots`.
///
/// # Errors
/// PANIC for a file that cannot be read or is damaged, FATAL for a slot that the settings exclude or that has no place: to go on
/// without it would remove what it keeps.
pub fn startup() -> Result<()> {
    ereport!(Debug1, "starting up replication slots");
    let dir = dir();
    let unreadable = |e: io::Error| {
        let code = elog::sqlstate_for_file_access(&e);
        elog::error!(code, "could not open directory \"{}\": {}", dir.display(), errno_text(&e))
    };
    let entries = match std::fs::read_dir(&dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(unreadable)?,
    };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if name.ends_with(UNFINISHED) {
            if remove_dir(&entry.path()) {
                file::fsync_dir(&dir)?;
            }
            continue;
        }
        restore(&name)?;
    }
    if !places().is_empty() {
        required::compute_xmin();
        required::compute_lsn();
    }
    Ok(())
}

fn as_panic(error: PgError) -> PgError {
    error.with_severity(Severity::Panic)
}

/// C: `RestoreSlotFromDisk`.
fn restore(name: &str) -> Result<()> {
    let slot_dir = path_of(name);
    let unfinished = slot_dir.join("state.tmp");
    match file::unlink(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(as_panic(file::file_error("remove", &unfinished, &e)));
        }
        _ => {}
    }
    let path = slot_dir.join("state");
    ereport!(Debug1, "restoring replication slot from \"{}\"", path.display());
    let data = read_file(&path, &slot_dir).map_err(as_panic)?;
    if data.persistency != Persistency::Persistent {
        remove_dir(&slot_dir);
        return file::fsync_dir(&dir());
    }
    check_allowed(&data)?;
    let Some(place) = places().iter().find(|place| !place.in_use.load(Ordering::Acquire)) else {
        let text = "too many replication slots active before shutdown";
        return Err(
            fatal!(SqlState::INTERNAL_ERROR, "{text}").hint("Increase max_replication_slots and try again.")
        );
    };
    *place.body.lock() = Body {
        data,
        effective_xmin: data.xmin,
        effective_catalog_xmin: data.catalog_xmin,
        active_pid: 0,
        just_dirtied: false,
        dirty: false,
    };
    place.in_use.store(true, Ordering::Release);
    Ok(())
}

fn read_file(path: &Path, slot_dir: &Path) -> Result<Data> {
    let opened = file::open(path, OpenFlags::READ | OpenFlags::WRITE)
        .map_err(|e| file::file_error("open", path, &e))?;
    // The file may be newer than what the disk has of it: what we act on must not be gone after the next crash.
    sync(&opened, path)?;
    file::fsync_dir(slot_dir)?;
    let mut bytes = [0; state_file::SIZE];
    let count = opened
        .read_at(&mut bytes, 0, WaitEvent::REPLICATION_SLOT_READ)
        .map_err(|e| file::file_error("read", path, &e))?;
    state_file::decode(&bytes[..count], &path.display().to_string())
}

fn sync(opened: &File, path: &Path) -> Result<()> {
    if !guc::vars::FSYNC.get() {
        return Ok(());
    }
    opened.sync(WaitEvent::REPLICATION_SLOT_RESTORE_SYNC).map_err(|e| file::file_error("fsync", path, &e))
}

/// Can this server keep what the slot needs? C: "Verify that requirements for the specific slot type are met".
fn check_allowed(data: &Data) -> Result<()> {
    let (code, name) = (SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, data.name);
    let level = guc::vars::WAL_LEVEL.get();
    if data.database != Oid::INVALID && level != "logical" {
        return Err(fatal!(code, "logical replication slot \"{name}\" exists, but wal_level < logical")
            .hint("Change wal_level to be logical or higher."));
    }
    if data.database != Oid::INVALID {
        // To drop it silently would be worse.
        return Err(pg_error!(
            Fatal,
            SqlState::FEATURE_NOT_SUPPORTED,
            "logical replication slot \"{name}\" exists, but logical decoding is not supported"
        ));
    }
    if level == "minimal" {
        return Err(fatal!(code, "physical replication slot \"{name}\" exists, but wal_level < replica")
            .hint("Change wal_level to be replica or higher."));
    }
    Ok(())
}
