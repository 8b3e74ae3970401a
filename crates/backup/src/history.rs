//! Backup history files: one small text in the archive for each backup, so that whoever looks into an archive sees which backups
//! began in which segment, and how much WAL each needs.
//!
//! C counterpart: `BackupHistoryFileName` of xlog_internal.h, the file in `do_pg_backup_stop`, `CleanupBackupHistory` of xlog.c.

use std::path::Path;

use common::{Lsn, TimeLineId};
use elog::{Result, errno_text, error};
use file::OpenFlags;
use shmem::wait_event::WaitEvent;
use wal::{Geometry, archive, segment};

/// `000000010000000000000002.00000028.backup`: the segment in which the backup starts, and the offset within it.
/// C: `BackupHistoryFileName`.
pub fn name(timeline: TimeLineId, start: Lsn, geometry: Geometry) -> String {
    let segment = segment::name(timeline, geometry.segment(start), geometry);
    format!("{segment}.{:08X}.backup", geometry.offset(start))
}

/// Is this such a name? C: `IsBackupHistoryFileName`.
pub fn is_name(name: &str) -> bool {
    name.len() > segment::NAME_LEN
        && name.is_char_boundary(segment::NAME_LEN)
        && segment::is_segment_name(&name[..segment::NAME_LEN])
        && name.ends_with(".backup")
}

/// Writes one into `pg_wal`.
pub(crate) fn write(name: &str, content: &str) -> Result<()> {
    let path = segment::wal_dir().join(name);
    let failed = |verb: &str, e: &std::io::Error| {
        error!(
            elog::sqlstate_for_file_access(e),
            "could not {verb} file \"{}\": {}",
            path.display(),
            errno_text(e)
        )
    };
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let file = file::open(&path, flags).map_err(|e| failed("create", &e))?;
    file.write_at(content.as_bytes(), 0, WaitEvent::WAL_WRITE).map_err(|e| failed("write", &e))?;
    Ok(())
}

/// Removes those that are archived, or need not be; announces those that were not yet. C: `CleanupBackupHistory`.
///
/// # Errors
/// If `pg_wal` cannot be read.
pub fn cleanup() -> Result<()> {
    let dir = segment::wal_dir();
    let failed = |e: &std::io::Error| {
        let code = elog::sqlstate_for_file_access(e);
        error!(code, "could not open directory \"{}\": {}", dir.display(), errno_text(e))
    };
    for entry in std::fs::read_dir(&dir).map_err(|e| failed(&e))? {
        let name = entry.map_err(|e| failed(&e))?.file_name();
        let Some(name) = name.to_str().filter(|name| is_name(name)) else { continue };
        if archive::check_done(name) {
            elog::ereport!(Debug2, "removing WAL backup history file \"{name}\"");
            remove(&dir.join(name));
            archive::cleanup(name);
        }
    }
    Ok(())
}

/// One that stays is found again at the next backup.
fn remove(path: &Path) {
    let _ = file::unlink(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let geometry = Geometry::new(16 << 20);
        let name_of = |lsn| name(TimeLineId(1), Lsn(lsn), geometry);
        assert_eq!(name_of(0x0200_0028), "000000010000000000000002.00000028.backup");
        assert_eq!(name_of(0x1_0000_0000), "000000010000000100000000.00000000.backup");
        assert!(is_name("000000010000000000000002.00000028.backup"));
        for other in
            ["000000010000000000000002", "00000002.history", "000000010000000000000002.partial", "x.backup"]
        {
            assert!(!is_name(other), "{other}");
        }
    }
}
