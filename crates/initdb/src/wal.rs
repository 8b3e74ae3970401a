//! The first WAL segment: one page that holds the checkpoint from which the cluster starts, and zeros.
//!
//! C counterpart: the WAL part of `BootStrapXLOG` (xlog.c).

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::file::FileError;
use common::pg_control::CheckPoint;

use crate::report::Result;

/// Writes the segment. All of its space is allocated now, so that filling it can't fail for want of space.
pub(crate) fn write_first_segment(
    data_dir: &Path,
    system_identifier: u64,
    segment_bytes: u32,
    checkpoint: &CheckPoint,
) -> Result<()> {
    let path = data_dir.join("pg_wal").join("000000010000000000000001");
    let failed = |verb, error| FileError::new(verb, &path, error);
    let file = std::fs::File::create_new(&path).map_err(|error| failed("create", error))?;
    if nix::fcntl::posix_fallocate(file.as_fd(), 0, i64::from(segment_bytes)).is_err() {
        // Not every file system can; then by writing zeros.
        let zeros = vec![0; 1 << 20];
        for offset in (0..u64::from(segment_bytes)).step_by(zeros.len()) {
            file.write_all_at(&zeros, offset).map_err(|error| failed("write", error))?;
        }
    }
    let page = wal::offline::checkpoint_page(system_identifier, segment_bytes, checkpoint);
    file.write_all_at(&page[..], 0).map_err(|error| failed("write", error))?;
    Ok(())
}
