//! The first WAL segment: one page that holds the checkpoint from which the cluster starts.
//!
//! ```text
//! offset 0   long page header, 40 bytes
//!        40  record header, 24 bytes
//!        64  "main data follows", its length, then the checkpoint: 2 + 88 bytes
//!        154 zeros to the end of the segment
//! ```
//!
//! Segment 0 is never used, so that the position 0/0 can mean "none": WAL begins at segment 1.
//!
//! C counterpart: the WAL part of `BootStrapXLOG` (xlog.c); access/xlogrecord.h, xlog_internal.h.

use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::Lsn;
use common::file::FileError;
use common::pg_control::{CheckPoint, XLOG_BLCKSZ};

use crate::report::Result;

/// C: `XLOG_PAGE_MAGIC` of version 15.
const PAGE_MAGIC: u16 = 0xD110;
/// The page's header is a long one, as on the first page of each segment. C: `XLP_LONG_HEADER`.
const LONG_HEADER_FLAG: u16 = 0x0002;
/// C: `SizeOfXLogLongPHD`.
const LONG_HEADER_BYTES: usize = 40;
/// C: `SizeOfXLogRecord`.
const RECORD_HEADER_BYTES: usize = 24;
/// Where a record's CRC is.
const RECORD_CRC_OFFSET: usize = 20;
/// "Main data of less than 256 bytes follows." C: `XLR_BLOCK_ID_DATA_SHORT`.
const SHORT_DATA: u8 = 255;
/// C: `RM_XLOG_ID`.
const RESOURCE_MANAGER_XLOG: u8 = 0;
/// C: `XLOG_CHECKPOINT_SHUTDOWN`.
const CHECKPOINT_SHUTDOWN: u8 = 0x00;

/// Where the checkpoint's record is in a new cluster.
pub(crate) fn checkpoint_lsn(segment_bytes: u32) -> Lsn {
    Lsn(u64::from(segment_bytes) + LONG_HEADER_BYTES as u64)
}

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
    let page = first_page(system_identifier, segment_bytes, checkpoint);
    file.write_all_at(&page, 0).map_err(|error| failed("write", error))?;
    Ok(())
}

fn first_page(system_identifier: u64, segment_bytes: u32, checkpoint: &CheckPoint) -> Vec<u8> {
    let mut page = Vec::with_capacity(XLOG_BLCKSZ as usize);
    page.extend(PAGE_MAGIC.to_ne_bytes());
    page.extend(LONG_HEADER_FLAG.to_ne_bytes());
    page.extend(checkpoint.this_timeline.0.to_ne_bytes());
    page.extend(u64::from(segment_bytes).to_ne_bytes()); // the page's own position
    page.extend([0; 8]); // no record continues here; padding
    page.extend(system_identifier.to_ne_bytes());
    page.extend(segment_bytes.to_ne_bytes());
    page.extend(XLOG_BLCKSZ.to_ne_bytes());
    debug_assert_eq!(page.len(), LONG_HEADER_BYTES);
    page.extend(checkpoint_record(checkpoint));
    page.resize(XLOG_BLCKSZ as usize, 0);
    page
}

fn checkpoint_record(checkpoint: &CheckPoint) -> Vec<u8> {
    let body = checkpoint.to_bytes();
    let total = RECORD_HEADER_BYTES + 2 + body.len();
    let mut record = Vec::with_capacity(total);
    record.extend((total as u32).to_ne_bytes());
    record.extend([0; 4]); // no transaction
    record.extend([0; 8]); // no record before it
    record.extend([CHECKPOINT_SHUTDOWN, RESOURCE_MANAGER_XLOG, 0, 0]);
    record.extend([0; 4]); // CRC, below
    record.extend([SHORT_DATA, body.len() as u8]);
    record.extend(body);
    // The CRC covers what follows the header, then the header up to the CRC itself.
    let crc = crc32c::crc32c(&record[RECORD_HEADER_BYTES..]);
    let crc = crc32c::crc32c_append(crc, &record[..RECORD_CRC_OFFSET]);
    record[RECORD_CRC_OFFSET..RECORD_HEADER_BYTES].copy_from_slice(&crc.to_ne_bytes());
    record
}
