//! The shape of WAL on disk: pages, records, segments, and the arithmetic between positions.
//!
//! ```text
//! segment (16 MB unless chosen otherwise at initdb)
//!   page 0      long header, 40 bytes  | records ...
//!   page n      short header, 24 bytes | records ...
//! record        header 24 bytes | block headers | data header | block data ... | main data | padding to 8
//! ```
//!
//! A record that does not fit its page goes on after the header of the next one. "Usable bytes" count
//! positions without page headers; insertion reserves space in them, so that reserving is one addition.
//!
//! C counterpart: access/xlog_internal.h, access/xlogrecord.h; `XLogBytePosToRecPtr` and its kin of xlog.c.

use common::{Lsn, TimeLineId};

/// Bytes of a WAL page. C: `XLOG_BLCKSZ`.
pub const XLOG_BLCKSZ: usize = 8192;
/// Marks a page of version 15. C: `XLOG_PAGE_MAGIC`.
pub const PAGE_MAGIC: u16 = 0xD110;
/// C: `SizeOfXLogShortPHD`.
pub const SHORT_HEADER: usize = 24;
/// C: `SizeOfXLogLongPHD`.
pub const LONG_HEADER: usize = 40;
/// C: `SizeOfXLogRecord`.
pub const RECORD_HEADER: usize = 24;
/// Where a record's CRC is within its header.
pub const RECORD_CRC_OFFSET: usize = 20;
/// Largest record that can be read. C: `MaxAllocSize` less what decoding needs.
pub const RECORD_MAX: u32 = 1020 * 1024 * 1024;

/// Flags of a page. C: `XLP_*`.
pub mod page_flags {
    /// Its first bytes continue a record. C: `XLP_FIRST_IS_CONTRECORD`.
    pub const FIRST_IS_CONTRECORD: u16 = 0x0001;
    /// It has the long header. C: `XLP_LONG_HEADER`.
    pub const LONG_HEADER: u16 = 0x0002;
    /// Backup blocks may be removed. C: `XLP_BKP_REMOVABLE`.
    pub const BKP_REMOVABLE: u16 = 0x0004;
    /// Replaces a continuation that was never written. C: `XLP_FIRST_IS_OVERWRITE_CONTRECORD`.
    pub const FIRST_IS_OVERWRITE_CONTRECORD: u16 = 0x0008;
    /// All of them. C: `XLP_ALL_FLAGS`.
    pub const ALL: u16 = 0x000F;
}

/// Rounds up to a multiple of 8. C: `MAXALIGN`.
pub const fn maxalign(n: u64) -> u64 {
    (n + 7) & !7
}

/// A page header, short or long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageHeader {
    /// [`PAGE_MAGIC`].
    pub magic: u16,
    /// [`page_flags`].
    pub info: u16,
    /// Timeline of the first record on it.
    pub timeline: TimeLineId,
    /// Its own position.
    pub page_addr: Lsn,
    /// Bytes of the continued record from here on.
    pub rem_len: u32,
    /// The rest of a long header: system identifier, segment size, page size.
    pub long: Option<LongHeader>,
}

/// What a long header has in addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongHeader {
    /// As in pg_control.
    pub system_identifier: u64,
    /// Bytes of a segment.
    pub segment_size: u32,
    /// Bytes of a page.
    pub page_size: u32,
}

impl PageHeader {
    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        if self.info & page_flags::LONG_HEADER != 0 { LONG_HEADER } else { SHORT_HEADER }
    }

    /// Decodes the first bytes of a page; `page` has at least [`SHORT_HEADER`] of them, [`LONG_HEADER`] for the
    /// long part to be decoded.
    pub fn decode(page: &[u8]) -> PageHeader {
        let info = u16_at(page, 2);
        let long = (info & page_flags::LONG_HEADER != 0 && page.len() >= LONG_HEADER).then(|| LongHeader {
            system_identifier: u64_at(page, 24),
            segment_size: u32_at(page, 32),
            page_size: u32_at(page, 36),
        });
        PageHeader {
            magic: u16_at(page, 0),
            info,
            timeline: TimeLineId(u32_at(page, 4)),
            page_addr: Lsn(u64_at(page, 8)),
            rem_len: u32_at(page, 16),
            long,
        }
    }

    /// Writes it to the start of a page.
    pub fn encode(&self, page: &mut [u8]) {
        page[0..2].copy_from_slice(&self.magic.to_le_bytes());
        page[2..4].copy_from_slice(&self.info.to_le_bytes());
        page[4..8].copy_from_slice(&self.timeline.0.to_le_bytes());
        page[8..16].copy_from_slice(&self.page_addr.0.to_le_bytes());
        page[16..20].copy_from_slice(&self.rem_len.to_le_bytes());
        page[20..24].fill(0);
        if let Some(long) = &self.long {
            page[24..32].copy_from_slice(&long.system_identifier.to_le_bytes());
            page[32..36].copy_from_slice(&long.segment_size.to_le_bytes());
            page[36..40].copy_from_slice(&long.page_size.to_le_bytes());
        }
    }

    /// The header of a page at this position without a continued record: long at a segment's start.
    pub fn fresh(addr: Lsn, timeline: TimeLineId, system_identifier: u64, geometry: Geometry) -> PageHeader {
        let first = geometry.offset(addr) == 0;
        PageHeader {
            magic: PAGE_MAGIC,
            info: if first { page_flags::LONG_HEADER } else { 0 },
            timeline,
            page_addr: addr,
            rem_len: 0,
            long: first.then_some(LongHeader {
                system_identifier,
                segment_size: geometry.segment_size(),
                page_size: XLOG_BLCKSZ as u32,
            }),
        }
    }
}

/// The header of a record. C: `XLogRecord`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the whole record, without padding.
    pub total_len: u32,
    /// Transaction that wrote it, or 0.
    pub xid: u32,
    /// Start of the record before it.
    pub prev: Lsn,
    /// What happened, and flags in the low four bits.
    pub info: u8,
    /// Resource manager.
    pub rmgr: u8,
    /// CRC-32C over what follows the header and then the header up to the CRC.
    pub crc: u32,
}

impl RecordHeader {
    /// Decodes 24 bytes.
    #[inline]
    pub fn decode(bytes: &[u8]) -> RecordHeader {
        let bytes = &bytes[..RECORD_HEADER];
        RecordHeader {
            total_len: u32_at(bytes, 0),
            xid: u32_at(bytes, 4),
            prev: Lsn(u64_at(bytes, 8)),
            info: bytes[16],
            rmgr: bytes[17],
            crc: u32_at(bytes, 20),
        }
    }
}

#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let mut raw = [0; 2];
    raw.copy_from_slice(&bytes[at..at + 2]);
    u16::from_le_bytes(raw)
}

#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(raw)
}

#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(raw)
}

/// A number of segments from the start of WAL. C: `XLogSegNo`.
pub type SegNo = u64;

/// Usable bytes of a page but the first of a segment. C: `UsableBytesInPage`.
const USABLE_IN_PAGE: u64 = (XLOG_BLCKSZ - SHORT_HEADER) as u64;

/// Arithmetic that depends on the size of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    segment_size: u32,
    usable_in_segment: u64,
}

impl Geometry {
    /// For segments of this many bytes (a power of two, 1 MB to 1 GB).
    pub const fn new(segment_size: u32) -> Geometry {
        let pages = segment_size as u64 / XLOG_BLCKSZ as u64;
        let usable_in_segment = pages * USABLE_IN_PAGE - (LONG_HEADER - SHORT_HEADER) as u64;
        Geometry { segment_size, usable_in_segment }
    }

    /// Bytes of a segment. C: `wal_segment_size`.
    #[inline]
    pub const fn segment_size(self) -> u32 {
        self.segment_size
    }

    #[inline]
    const fn size(self) -> u64 {
        self.segment_size as u64
    }

    /// Segment that holds this byte. C: `XLByteToSeg`.
    #[inline]
    pub const fn segment(self, lsn: Lsn) -> SegNo {
        lsn.0 / self.size()
    }

    /// Segment that holds the byte before this one: of an end position. C: `XLByteToPrevSeg`.
    #[inline]
    pub const fn previous_segment(self, lsn: Lsn) -> SegNo {
        lsn.0.wrapping_sub(1) / self.size()
    }

    /// Where a segment starts, plus an offset. C: `XLogSegNoOffsetToRecPtr`.
    #[inline]
    pub const fn lsn(self, segment: SegNo, offset: u32) -> Lsn {
        Lsn(segment * self.size() + offset as u64)
    }

    /// Offset within the segment. C: `XLogSegmentOffset`.
    #[inline]
    pub const fn offset(self, lsn: Lsn) -> u32 {
        (lsn.0 & (self.size() - 1)) as u32
    }

    /// Segments of one "log file", four gigabytes, the unit of names. C: `XLogSegmentsPerXLogId`.
    pub const fn segments_per_id(self) -> u64 {
        0x1_0000_0000 / self.size()
    }

    /// Bytes of the header of the page that holds this position.
    #[inline]
    pub const fn header_size(self, lsn: Lsn) -> usize {
        if (self.offset(lsn) as usize) < XLOG_BLCKSZ { LONG_HEADER } else { SHORT_HEADER }
    }

    /// Position of a record that starts after so many usable bytes: behind a page header if it falls on one.
    /// C: `XLogBytePosToRecPtr`.
    #[inline]
    pub const fn start_of(self, byte_pos: u64) -> Lsn {
        let (segment, rest) = (byte_pos / self.usable_in_segment, byte_pos % self.usable_in_segment);
        let first = (XLOG_BLCKSZ - LONG_HEADER) as u64;
        let offset = if rest < first {
            LONG_HEADER as u64 + rest
        } else {
            let rest = rest - first;
            XLOG_BLCKSZ as u64 * (1 + rest / USABLE_IN_PAGE) + SHORT_HEADER as u64 + rest % USABLE_IN_PAGE
        };
        Lsn(segment * self.size() + offset)
    }

    /// Position of a record that ends after so many usable bytes: before a page header if it falls on one.
    /// C: `XLogBytePosToEndRecPtr`.
    #[inline]
    pub const fn end_of(self, byte_pos: u64) -> Lsn {
        let (segment, rest) = (byte_pos / self.usable_in_segment, byte_pos % self.usable_in_segment);
        let first = (XLOG_BLCKSZ - LONG_HEADER) as u64;
        let offset = if rest == 0 {
            0
        } else if rest < first {
            LONG_HEADER as u64 + rest
        } else {
            let rest = rest - first;
            let (pages, within) = (1 + rest / USABLE_IN_PAGE, rest % USABLE_IN_PAGE);
            let header = if within == 0 { 0 } else { SHORT_HEADER as u64 };
            XLOG_BLCKSZ as u64 * pages + header + within
        };
        Lsn(segment * self.size() + offset)
    }

    /// Usable bytes before a position. C: `XLogRecPtrToBytePos`.
    #[inline]
    pub const fn byte_pos(self, lsn: Lsn) -> u64 {
        let (segment, offset) = (self.segment(lsn), self.offset(lsn) as u64);
        let (page, within) = (offset / XLOG_BLCKSZ as u64, offset % XLOG_BLCKSZ as u64);
        let base = segment * self.usable_in_segment;
        if page == 0 {
            return base + within.saturating_sub(LONG_HEADER as u64);
        }
        let pages = (XLOG_BLCKSZ - LONG_HEADER) as u64 + (page - 1) * USABLE_IN_PAGE;
        base + pages + within.saturating_sub(SHORT_HEADER as u64)
    }
}

/// Start of the page that holds a position.
#[inline]
pub const fn page_start(lsn: Lsn) -> Lsn {
    Lsn(lsn.0 & !(XLOG_BLCKSZ as u64 - 1))
}

/// Bytes left on the page from here; 0 at a page's start. C: `INSERT_FREESPACE`.
#[inline]
pub(crate) const fn free_on_page(end: Lsn) -> u64 {
    let within = end.0 % XLOG_BLCKSZ as u64;
    if within == 0 { 0 } else { XLOG_BLCKSZ as u64 - within }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_usable_bytes_are_inverse() {
        for size in [1 << 20, 16 << 20] {
            let g = Geometry::new(size);
            for pos in
                (0..3 * u64::from(size)).step_by(8 * 37).chain([0, 8152, 8160, 8152 + 8168, 8152 + 8160])
            {
                assert_eq!(g.byte_pos(g.start_of(pos)), pos, "start {pos}");
                assert_eq!(g.byte_pos(g.end_of(pos)), pos, "end {pos}");
                assert!(g.end_of(pos) <= g.start_of(pos));
            }
        }
    }

    #[test]
    fn borders() {
        let g = Geometry::new(1 << 20);
        assert_eq!(g.start_of(0), Lsn(40));
        assert_eq!(g.end_of(0), Lsn(0));
        assert_eq!(g.start_of(8152), Lsn(8192 + 24));
        assert_eq!(g.end_of(8152), Lsn(8192));
        assert_eq!(g.previous_segment(Lsn(1 << 20)), 0);
        assert_eq!(g.segment(Lsn(1 << 20)), 1);
        assert_eq!(g.header_size(Lsn((1 << 20) + 100)), LONG_HEADER);
    }
}
