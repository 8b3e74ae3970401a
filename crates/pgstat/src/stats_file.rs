//! The files: one for the cluster with a row for each database, one for the tables of each database.
//!
//! A file is a row of 64-bit numbers: a format number, the content, an end mark; a file that is cut, longer or of
//! another format is no file. The names of WAL files are numbers too ([`crate::WalFileName`]). Files are written under another name and renamed, so a
//! reader sees the old one or the new one whole.
//!
//! C counterpart: `pgstat_write_statsfiles`, `pgstat_read_statsfiles` and their `db` siblings.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::file::{FileError, rename};
use common::{Oid, SqlState};
use elog::{Result, ereport, error};
use miscinit::globals::data_dir;

use crate::entry::{ClusterEntry, DatabaseEntry, TableEntry};

/// Changes whenever the layout does. C: `PGSTAT_FILE_FORMAT_ID`.
const FORMAT: i64 = 0x7067_7374_6174_0002;
const END: i64 = 0x0045_4e44;

/// Which of the two copies. C: the parameter `permanent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// For sessions to read, written on request.
    Temporary,
    /// For the next collector, written at the end.
    Permanent,
}

/// The directory of the copy. C: `pgstat_stat_directory`, `PGSTAT_STAT_PERMANENT_DIRECTORY`.
pub(crate) fn directory(place: Place) -> PathBuf {
    match place {
        Place::Temporary => data_dir().join(&*guc::vars::STATS_TEMP_DIRECTORY.get()),
        Place::Permanent => data_dir().join("pg_stat"),
    }
}

/// The cluster's file within a directory.
pub(crate) fn cluster_path(directory: &Path) -> PathBuf {
    directory.join("global.stat")
}

/// A database's file within a directory; 0 is for the shared tables.
pub(crate) fn database_path(directory: &Path, database: Oid) -> PathBuf {
    directory.join(format!("db_{database}.stat"))
}

/// The cluster's file as numbers.
pub(crate) fn encode_cluster(cluster: &ClusterEntry, databases: &[(Oid, DatabaseEntry)]) -> Vec<u8> {
    let mut row = vec![FORMAT];
    cluster.put(&mut row);
    row.push(databases.len() as i64);
    for (oid, entry) in databases {
        row.push(i64::from(oid.0));
        entry.put(&mut row);
    }
    bytes_of(row)
}

/// The cluster's file, or `None` if it is damaged.
pub(crate) fn decode_cluster(bytes: &[u8]) -> Option<(ClusterEntry, HashMap<Oid, DatabaseEntry>)> {
    let mut row = row_of(bytes)?;
    let cluster = ClusterEntry::take(&mut row)?;
    let mut databases = HashMap::new();
    for _ in 0..row.next()? {
        let oid = Oid(u32::try_from(row.next()?).ok()?);
        databases.insert(oid, DatabaseEntry::take(&mut row)?);
    }
    at_end(row).then_some((cluster, databases))
}

/// A database's file as numbers.
pub(crate) fn encode_tables(tables: &HashMap<Oid, TableEntry>) -> Vec<u8> {
    let mut row = vec![FORMAT, tables.len() as i64];
    for (oid, entry) in tables {
        row.push(i64::from(oid.0));
        entry.put(&mut row);
    }
    bytes_of(row)
}

/// A database's file, or `None` if it is damaged.
pub(crate) fn decode_tables(bytes: &[u8]) -> Option<HashMap<Oid, TableEntry>> {
    let mut row = row_of(bytes)?;
    let mut tables = HashMap::new();
    for _ in 0..row.next()? {
        let oid = Oid(u32::try_from(row.next()?).ok()?);
        tables.insert(oid, TableEntry::take(&mut row)?);
    }
    at_end(row).then_some(tables)
}

fn bytes_of(mut row: Vec<i64>) -> Vec<u8> {
    row.push(END);
    row.into_iter().flat_map(i64::to_ne_bytes).collect()
}

fn row_of(bytes: &[u8]) -> Option<impl Iterator<Item = i64> + use<'_>> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut row = words.iter().map(|word| i64::from_ne_bytes(*word));
    (rest.is_empty() && row.next() == Some(FORMAT)).then_some(row)
}

fn at_end(mut row: impl Iterator<Item = i64>) -> bool {
    row.next() == Some(END) && row.next().is_none()
}

/// Reads a file; a missing one is `None`, a damaged one too, with a LOG line.
pub(crate) fn read<T>(path: &Path, decode: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) => {
            if e.kind() != std::io::ErrorKind::NotFound {
                let reason = elog::errno_text(&e);
                ereport!(Log, "could not open statistics file \"{}\": {reason}", path.display());
            }
            return None;
        }
    };
    let content = decode(&bytes);
    if content.is_none() {
        ereport!(Log, "corrupted statistics file \"{}\"", path.display());
    }
    content
}

/// Writes a file whole, not durably: after a crash it is thrown away anyway.
///
/// # Errors
/// 58030 and its kin, as LOG text.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let written = std::fs::write(&temporary, bytes)
        .map_err(|e| FileError::new("write", &temporary, e))
        .and_then(|()| rename(&temporary, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        error!(SqlState::IO_ERROR, "{e}")
    })
}

/// Removes all files of both copies: after a crash nobody knows what was lost. C: `pgstat_reset_all`.
pub fn reset_all() {
    for place in [Place::Temporary, Place::Permanent] {
        reset_directory(&directory(place));
    }
}

/// C: `pgstat_reset_remove_files`.
fn reset_directory(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if is_stats_file(&entry.file_name().to_string_lossy()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// `global.stat`, `global.tmp`, `db_5.stat`, `db_5.tmp`; nothing else in there is ours.
fn is_stats_file(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".stat").or_else(|| name.strip_suffix(".tmp")) else { return false };
    stem == "global" || stem.strip_prefix("db_").is_some_and(|oid| oid.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_whole_or_not_at_all() {
        let mut cluster = ClusterEntry::default();
        cluster.wal.bytes = 42;
        cluster.times.written = -7;
        let mut database = DatabaseEntry::default();
        database.counts.commits = 9;
        let bytes = encode_cluster(&cluster, &[(Oid(5), database)]);
        assert_eq!(decode_cluster(&bytes), Some((cluster, HashMap::from([(Oid(5), database)]))));
        let tables = HashMap::from([(Oid(16384), TableEntry { n_live_tuples: 3, ..TableEntry::default() })]);
        let table_bytes = encode_tables(&tables);
        assert_eq!(decode_tables(&table_bytes), Some(tables));
        for cut in 1..bytes.len() {
            assert_eq!(decode_cluster(&bytes[..cut]), None);
        }
        assert_eq!(decode_tables(&[table_bytes.as_slice(), &[0; 8]].concat()), None);
    }

    #[test]
    fn only_statistics_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["global.stat", "db_5.stat", "db_5.tmp", "db_x.stat", "other", "pgstat.stat"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        reset_directory(dir.path());
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["db_x.stat", "other", "pgstat.stat"]);
    }
}
