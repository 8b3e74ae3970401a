//! fsync of a whole cluster.
//!
//! C counterpart: `fsync_pgdata` in common/file_utils.c.

use std::path::Path;

use common::file::{FileError, fsync_dir, fsync_parent, fsync_path};

use crate::report::Result;

/// Makes every file and directory durable, also where a symbolic link puts WAL or a tablespace.
pub(crate) fn sync_cluster(data_dir: &Path) -> Result<()> {
    sync_tree(data_dir)?;
    for entry in read_dir(&data_dir.join("pg_tblspc"))? {
        if entry.is_dir() {
            sync_tree(&entry)?;
        }
    }
    let wal = data_dir.join("pg_wal");
    if wal.is_symlink() {
        sync_tree(&wal)?;
    }
    fsync_parent(data_dir)?;
    Ok(())
}

/// Depth first, so that a directory is synced after what is in it. Does not follow links.
fn sync_tree(dir: &Path) -> Result<()> {
    for path in read_dir(dir)? {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            sync_tree(&path)?;
        } else if path.is_file() {
            fsync_path(&path)?;
        }
    }
    Ok(fsync_dir(dir)?)
}

fn read_dir(dir: &Path) -> Result<Vec<std::path::PathBuf>> {
    let entries = std::fs::read_dir(dir).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
    });
    match entries {
        // A directory that isn't a cluster's may lack some.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => Ok(other.map_err(|error| FileError::new("open", dir, error))?),
    }
}
