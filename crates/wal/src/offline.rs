//! WAL without a server: the first segment of a new cluster, and records as bytes.
//!
//! C counterpart: the WAL part of `BootStrapXLOG`, xlog.c.

use common::pg_control::CheckPoint;
use common::{Lsn, Xid};

use crate::assemble::{self, ImagePolicy};
use crate::checkpoint::info;
use crate::layout::{Geometry, LONG_HEADER, PageHeader, XLOG_BLCKSZ};
use crate::{Record, RmgrId};

/// The bytes of a record, as if inserted behind a record at `prev`; no page gets an image that does not force it.
pub fn encode(record: &Record<'_>, prev: Lsn) -> Vec<u8> {
    let policy = ImagePolicy { redo: Lsn::INVALID, do_page_writes: false, compression: None, origin: 0 };
    encode_with(record, prev, policy)
}

/// As [`encode`], with images of all pages whose LSN is not above `redo`, compressed by `wal_compression`.
pub fn encode_with_images(record: &Record<'_>, prev: Lsn, redo: Lsn) -> Vec<u8> {
    let compression = crate::compress::Method::configured();
    encode_with(record, prev, ImagePolicy { redo, do_page_writes: true, compression, origin: 0 })
}

pub(crate) fn encode_with(record: &Record<'_>, prev: Lsn, policy: ImagePolicy) -> Vec<u8> {
    let mut bytes = Vec::new();
    assemble::assemble(record, record.xid.unwrap_or(Xid::INVALID).0, policy, &mut bytes);
    let crc = assemble::body_crc(&bytes);
    assemble::finish(&mut bytes, crc, prev);
    bytes
}

/// Where the checkpoint's record is in a new cluster, and what its redo pointer is: right behind the first page's header
/// of segment 1. Segment 0 is never used, so that the position 0/0 can mean "none".
pub fn first_checkpoint_lsn(segment_size: u32) -> Lsn {
    Lsn(u64::from(segment_size) + LONG_HEADER as u64)
}

/// The first page of the first segment, with the shutdown checkpoint from which the cluster starts.
pub fn checkpoint_page(
    system_identifier: u64,
    segment_size: u32,
    checkpoint: &CheckPoint,
) -> Box<[u8; XLOG_BLCKSZ]> {
    let mut page = Box::new([0; XLOG_BLCKSZ]);
    let start = Lsn(u64::from(segment_size));
    let header =
        PageHeader::fresh(start, checkpoint.this_timeline, system_identifier, Geometry::new(segment_size));
    header.encode(&mut page[..]);
    let body = checkpoint.to_bytes();
    let mut record = Record::new(RmgrId::Xlog, info::CHECKPOINT_SHUTDOWN);
    record.data(&body[..]);
    let bytes = encode(&record, Lsn::INVALID);
    page[LONG_HEADER..LONG_HEADER + bytes.len()].copy_from_slice(&bytes);
    page
}

/// A whole segment: [`checkpoint_page`] and zeros.
pub fn checkpoint_segment(system_identifier: u64, segment_size: u32, checkpoint: &CheckPoint) -> Vec<u8> {
    let mut segment = vec![0; segment_size as usize];
    segment[..XLOG_BLCKSZ].copy_from_slice(&checkpoint_page(system_identifier, segment_size, checkpoint)[..]);
    segment
}
