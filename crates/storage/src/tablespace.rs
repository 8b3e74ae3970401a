//! Directories of databases in tablespaces: made with the first file, removed with the tablespace.
//!
//! A tablespace is empty for databases that have nothing there, and dropping it must not run into somebody who is just
//! making such a directory: one lock is between them.
//!
//! Called by `smgr` for each new file, by `commands` for CREATE and DROP TABLESPACE, and by their replay.
//!
//! C counterpart: `TablespaceCreateDbspace` of commands/tablespace.c, and `TablespaceCreateLock`.

use std::fs;
use std::io;
use std::path::Path;

use common::{GLOBAL_TABLESPACE, RelFileNode, SqlState, database_path};
use elog::{Result, errno_text, error, sqlstate_for_file_access};
use shmem::wait_event::tranche;
use shmem::{ExclusiveGuard, LwLock, Reservation, ShmVar};

/// C: `TablespaceCreateLock`.
static CREATE_LOCK: ShmVar<LwLock<()>> = ShmVar::new("Tablespace create lock");

pub(crate) fn reserve(r: &mut Reservation) {
    r.var(&CREATE_LOCK, || LwLock::new(tranche::TABLESPACE_CREATE, ()));
}

/// Keeps others from making directories in tablespaces. C: `LWLockAcquire(TablespaceCreateLock)`.
pub fn lock() -> ExclusiveGuard<'static, ()> {
    CREATE_LOCK.get().exclusive()
}

/// Makes the directory that a new file will lie in, if it is not there. In replay its parents may be missing too: a
/// later record drops the tablespace or the database. C: `TablespaceCreateDbspace`.
///
/// # Errors
/// `could not create directory`, `could not stat directory`; 42809 if something else has that name.
pub(crate) fn create_database_directory(node: RelFileNode, is_redo: bool) -> Result<()> {
    if node.spc == GLOBAL_TABLESPACE {
        return Ok(());
    }
    let path = database_path(node.spc, node.db);
    if is_directory(&path)? {
        return Ok(());
    }
    let _others_wait = lock();
    if is_directory(&path)? {
        return Ok(());
    }
    match file::create_dir(Path::new(&path)) {
        Err(_) if is_redo => create_with_parents(Path::new(&path)),
        made => made,
    }
}

/// Makes a directory and those above it. C: `pg_mkdir_p`.
fn create_with_parents(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        create_with_parents(parent)?;
    }
    file::create_dir(path)
}

fn is_directory(path: &str) -> Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(error!(SqlState::WRONG_OBJECT_TYPE, "\"{path}\" exists but is not a directory")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(error!(
            sqlstate_for_file_access(&e),
            "could not stat directory \"{path}\": {}",
            errno_text(&e)
        )),
    }
}
