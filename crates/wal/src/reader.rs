//! Reading WAL back: from segments to records.
//!
//! ```no_run
//! # fn example() -> Result<(), wal::ReadError> {
//! # use common::{Lsn, TimeLineId};
//! let mut reader = wal::Reader::new("pg_wal", 16 << 20, TimeLineId(1));
//! reader.begin_read(Lsn(0x0100_0028));
//! while let Some(record) = reader.next()? {
//!     println!("{} {}", record.lsn, record.main_data.len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The end of WAL shows as an error: the first record that is not one. Where the bytes come from is the business of a
//! [`PageSource`] (`source.rs`): segments in a directory, or what archive recovery puts in its place. They are read in
//! large pieces; a record that lies on one page is decoded in place, others are put together in a buffer that is used
//! again, so reading allocates nothing per record.
//!
//! C counterpart: xlogreader.c.

mod source;

use std::fmt;
use std::path::PathBuf;

use common::{Lsn, TimeLineId};

use crate::decode::{self, DecodedRecord};
use crate::insert::XLOG_SWITCH;
use crate::layout::{
    Geometry, LONG_HEADER, PageHeader, RECORD_CRC_OFFSET, RECORD_HEADER, RECORD_MAX, RecordHeader,
    SHORT_HEADER, SegNo, XLOG_BLCKSZ, maxalign, page_flags, page_start,
};
use crate::record::INFO_MASK;
use crate::rmgr::{self, RmgrId};

pub use source::{PageCheck, PageRequest, PageSource, SegmentFiles, open_segment, read_segment};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadErrorKind {
    /// What is there is no valid record: after a crash, the end of WAL.
    Invalid,
    /// The segment does not exist. PostgreSQL logs nothing then.
    NoSegment,
    /// The segment is there and cannot be opened. For PostgreSQL a PANIC.
    CannotOpen,
    /// The segment cannot be read.
    Io,
    /// The source has no more, and has said why, if there was anything to say. C: `XLREAD_FAIL` without a message.
    End,
    /// Reading must not go on: [`PageSource::take_error`] has the reason.
    Fatal,
}

/// Why there is no record, in PostgreSQL's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The message, without a severity.
    pub message: String,
    /// What sort of failure.
    pub kind: ReadErrorKind,
    /// Where the record was looked for.
    pub lsn: Lsn,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

/// Where the bytes of a record are.
#[derive(Clone, Copy)]
enum Source {
    /// In the chunk, from this index on.
    Chunk(usize),
    /// In `assembled`.
    Assembled,
}

/// A record that passed all checks.
struct Located {
    start: Lsn,
    end: Lsn,
    header: RecordHeader,
    source: Source,
}

/// The part of WAL in memory.
struct Chunk {
    start: Lsn,
    /// Always [`CHUNK`] bytes; valid are the first `valid`, and what follows them on the same page is zero.
    bytes: Vec<u8>,
    valid: usize,
    /// Pages up to here have valid headers.
    checked_upto: Lsn,
}

impl Chunk {
    fn new() -> Chunk {
        Chunk { start: Lsn::INVALID, bytes: vec![0; CHUNK], valid: 0, checked_upto: Lsn::INVALID }
    }

    fn forget(&mut self) {
        self.valid = 0;
    }

    fn has(&self, lsn: Lsn, len: usize) -> bool {
        lsn >= self.start && lsn.0 + len as u64 <= self.start.0 + self.valid as u64
    }

    fn at(&self, lsn: Lsn) -> usize {
        (lsn.0 - self.start.0) as usize
    }

    /// It begins there now, and so much is valid.
    fn filled(&mut self, start: Lsn, valid: usize) {
        (self.start, self.valid, self.checked_upto) = (start, valid, start);
        let end_of_page = valid.next_multiple_of(XLOG_BLCKSZ).min(self.bytes.len());
        self.bytes[valid..end_of_page].fill(0);
    }
}

/// A record whose continuation is missing. C: `abortedRecPtr`, `missingContrecPtr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenRecord {
    /// Where it starts.
    pub start: Lsn,
    /// The page that does not continue it.
    pub missing: Lsn,
}

/// Reads records, one after the other. C: `XLogReaderState`.
pub struct Reader<S = SegmentFiles> {
    source: S,
    geometry: Geometry,
    check: PageCheck,
    /// The segment that was asked for last: its first page is right.
    segment: Option<SegNo>,
    limit: Option<Lsn>,
    chunk: Chunk,
    assembled: Vec<u8>,
    next: Lsn,
    /// Start of the record read last; `None` after [`Reader::begin_read`].
    previous: Option<Lsn>,
    broken: Option<BrokenRecord>,
    overwritten: Option<Lsn>,
}

impl Reader {
    /// Reads segments of one timeline in a directory.
    pub fn new(dir: impl Into<PathBuf>, segment_size: u32, timeline: TimeLineId) -> Reader {
        Reader::with_source(SegmentFiles::new(dir, segment_size, timeline), segment_size)
    }

    /// Reads from another timeline from now on.
    pub fn set_timeline(&mut self, timeline: TimeLineId) {
        if self.source.set_timeline(timeline) {
            self.forget();
        }
    }
}

impl<S: PageSource> Reader<S> {
    /// Reads what this source gives out. C: `XLogReaderAllocate`.
    pub fn with_source(source: S, segment_size: u32) -> Reader<S> {
        let geometry = Geometry::new(segment_size);
        Reader {
            source,
            geometry,
            check: PageCheck::new(geometry),
            segment: None,
            limit: None,
            chunk: Chunk::new(),
            assembled: Vec::new(),
            next: Lsn::INVALID,
            previous: None,
            broken: None,
            overwritten: None,
        }
    }

    /// Where the pages come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Where the pages come from, to be told something.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Start and timeline of the page checked last. C: `latestPagePtr`, `latestPageTLI`.
    pub fn latest_page(&self) -> (Lsn, TimeLineId) {
        self.check.latest_page()
    }

    /// Refuses segments of other clusters from now on.
    pub fn set_system_identifier(&mut self, identifier: u64) {
        self.check.set_system_identifier(identifier);
    }

    /// Everything is asked for again. C: `XLogReaderInvalReadState`.
    fn forget(&mut self) {
        self.chunk.forget();
        self.segment = None;
        self.source.invalidate();
    }

    /// Reads no record that starts at or after this position: [`Reader::next`] then returns `Ok(None)`.
    pub fn set_limit(&mut self, limit: Option<Lsn>) {
        self.limit = limit;
    }

    /// Goes to a record's start; its link to the one before it will not be checked. C: `XLogBeginRead`.
    pub fn begin_read(&mut self, lsn: Lsn) {
        self.next = lsn;
        self.previous = None;
        self.check.restart();
        self.chunk.forget();
        self.broken = None;
    }

    /// Where the next record is looked for: the end of the last one. C: `EndRecPtr`.
    pub fn position(&self) -> Lsn {
        self.next
    }

    /// Start of the record read last. C: `ReadRecPtr`.
    pub fn last_record(&self) -> Option<Lsn> {
        self.previous
    }

    /// The record that the last failure cut off, if it was one whose continuation is missing.
    pub fn broken_record(&self) -> Option<BrokenRecord> {
        self.broken
    }

    /// The broken record that an overwriting one replaced, if the last call of [`Reader::next`] came across one.
    /// C: `overwrittenRecPtr`.
    pub fn overwritten_record(&self) -> Option<Lsn> {
        self.overwritten
    }

    /// The next record, borrowed until the next call. `Ok(None)` only at a limit that was set. After an error the same
    /// position can be tried again: the segments are then read anew. C: `XLogReadRecord`.
    ///
    /// # Errors
    /// What is there is not a valid record; that is how WAL ends.
    #[allow(clippy::should_implement_trait, reason = "lends from the reader's buffers: no iterator can")]
    pub fn next(&mut self) -> Result<Option<DecodedRecord<'_>>, ReadError> {
        if self.limit.is_some_and(|limit| self.next >= limit) {
            // There may be more when the limit is raised; it is not in the chunk.
            self.chunk.forget();
            return Ok(None);
        }
        let located = match self.locate() {
            Ok(located) => located,
            Err(error) => {
                self.forget();
                return Err(error);
            }
        };
        self.previous = Some(located.start);
        self.next = located.end;
        let bytes = match located.source {
            Source::Chunk(at) => &self.chunk.bytes[at..at + located.header.total_len as usize],
            Source::Assembled => &self.assembled[..],
        };
        decode::decode_body(located.start, located.end, &located.header, bytes)
            .map(Some)
            .map_err(|message| ReadError { message, kind: ReadErrorKind::Invalid, lsn: located.start })
    }

    /// Start of the first valid record at or after a position that may be anywhere. Reading goes on there.
    /// C: `XLogFindNextRecord`.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn find_next_record(&mut self, lsn: Lsn) -> Result<Option<Lsn>, ReadError> {
        let mut page = page_start(lsn);
        self.begin_read(page);
        let first = loop {
            let header = self.page_header(page, LONG_HEADER, lsn)?;
            let size = header.size() as u64;
            if header.info & page_flags::FIRST_IS_CONTRECORD == 0 {
                break Lsn(page.0 + size);
            }
            let rest = maxalign(u64::from(header.rem_len));
            if rest < XLOG_BLCKSZ as u64 - size {
                break Lsn(page.0 + size + rest);
            }
            page = page + XLOG_BLCKSZ as u64;
        };
        self.begin_read(first);
        loop {
            let Some(record) = self.next()? else { return Ok(None) };
            let found = record.lsn;
            if found >= lsn {
                self.begin_read(found);
                return Ok(Some(found));
            }
        }
    }

    /// The bytes of a page up to an offset within it: the last page, whose beginning insertion goes on from.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn page_bytes(&mut self, page: Lsn, len: usize) -> Result<Vec<u8>, ReadError> {
        self.page_header(page, len, page)?;
        let at = self.chunk.at(page);
        Ok(self.chunk.bytes[at..at + len].to_vec())
    }

    fn error<T>(&self, lsn: Lsn, message: String) -> Result<T, ReadError> {
        Err(ReadError { message, kind: ReadErrorKind::Invalid, lsn })
    }

    /// Finds the next record and checks it. C: `XLogDecodeNextRecord`.
    fn locate(&mut self) -> Result<Located, ReadError> {
        self.overwritten = None;
        self.broken = None;
        let mut start = self.next;
        loop {
            let page = page_start(start);
            let offset = start.0 - page.0;
            let first = if offset == 0 { self.geometry.header_size(page) } else { offset as usize };
            let page_header = self.page_header(page, (first + RECORD_HEADER).min(XLOG_BLCKSZ), start)?;
            let header_size = page_header.size() as u64;
            if offset == 0 {
                start = start + header_size;
            } else if offset < header_size || !offset.is_multiple_of(8) {
                return self.error(start, format!("invalid record offset at {start}"));
            }
            if page_header.info & page_flags::FIRST_IS_CONTRECORD != 0 && start.0 - page.0 == header_size {
                return self.error(start, format!("contrecord is requested by {start}"));
            }
            let room = (XLOG_BLCKSZ as u64 - (start.0 - page.0)) as usize;
            let at = self.chunk.at(start);
            let total = crate::layout::u32_at(&self.chunk.bytes, at);
            if room >= RECORD_HEADER {
                let header = RecordHeader::decode(&self.chunk.bytes[at..]);
                self.check_header(&header, start)?;
                if total as usize <= room {
                    self.extend(page, XLOG_BLCKSZ - room + total as usize, start)?;
                    let at = self.chunk.at(start);
                    return self.finish_in_place(start, header, at);
                }
            } else if (total as usize) < RECORD_HEADER {
                return self.error(start, wrong_length(start, total));
            }
            self.extend(page, XLOG_BLCKSZ, start)?;
            match self.assemble(start, total, room) {
                Ok(Assembly::Done(located)) => return Ok(located),
                Ok(Assembly::Overwritten(page)) => {
                    self.overwritten = Some(start);
                    start = page;
                }
                Err((missing, error)) => {
                    self.broken = Some(BrokenRecord { start, missing });
                    return Err(error);
                }
            }
        }
    }

    fn finish_in_place(&self, start: Lsn, header: RecordHeader, at: usize) -> Result<Located, ReadError> {
        let bytes = &self.chunk.bytes[at..at + header.total_len as usize];
        self.check_crc(bytes, &header, start)?;
        let end = self.end_of(start + maxalign(u64::from(header.total_len)), &header);
        Ok(Located { start, end, header, source: Source::Chunk(at) })
    }

    /// The record after a switch is in the next segment.
    fn end_of(&self, end: Lsn, header: &RecordHeader) -> Lsn {
        if header.rmgr == RmgrId::Xlog as u8 && header.info & !INFO_MASK == XLOG_SWITCH {
            let size = u64::from(self.geometry.segment_size());
            return Lsn(end.0.div_ceil(size) * size);
        }
        end
    }

    /// Puts a record together that goes on over the next pages. Errors tell the page that did not continue it.
    fn assemble(&mut self, start: Lsn, total: u32, room: usize) -> Result<Assembly, (Lsn, ReadError)> {
        let mut page = page_start(start);
        let invalid = |page, message| (page, ReadError { message, kind: ReadErrorKind::Invalid, lsn: start });
        if total > RECORD_MAX {
            return Err(invalid(page, format!("record length {total} at {start} too long")));
        }
        let at = self.chunk.at(start);
        let mut assembled = std::mem::take(&mut self.assembled);
        assembled.clear();
        assembled.extend_from_slice(&self.chunk.bytes[at..at + room]);
        let mut header = (room >= RECORD_HEADER).then(|| RecordHeader::decode(&assembled));
        let total_len = total as usize;
        let rest_of_page = loop {
            page = page + XLOG_BLCKSZ as u64;
            // First the header alone. If it says that the primary crashed and will never write the rest, that rest must not be
            // waited for: there may be no more WAL on this page for hours.
            let header_size = self.geometry.header_size(page);
            let page_header = self.page_header(page, header_size, start).map_err(|error| (page, error))?;
            if page_header.info & page_flags::FIRST_IS_OVERWRITE_CONTRECORD != 0 {
                self.assembled = assembled;
                return Ok(Assembly::Overwritten(page));
            }
            if page_header.info & page_flags::FIRST_IS_CONTRECORD == 0 {
                return Err(invalid(page, format!("there is no contrecord flag at {start}")));
            }
            let expected = total_len - assembled.len();
            let rest = page_header.rem_len as usize;
            if rest == 0 || rest != expected {
                let message = format!("invalid contrecord length {rest} (expected {expected}) at {start}");
                return Err(invalid(page, message));
            }
            let header_size = page_header.size();
            let len = rest.min(XLOG_BLCKSZ - header_size);
            self.extend(page, header_size + len, start).map_err(|error| (page, error))?;
            let from = self.chunk.at(page) + header_size;
            assembled.extend_from_slice(&self.chunk.bytes[from..from + len]);
            if header.is_none() && assembled.len() >= RECORD_HEADER {
                let decoded = RecordHeader::decode(&assembled);
                self.check_header(&decoded, start).map_err(|error| (page, error))?;
                header = Some(decoded);
            }
            if assembled.len() == total_len {
                break header_size as u64 + maxalign(len as u64);
            }
        };
        let header = header.unwrap_or_else(|| RecordHeader::decode(&assembled));
        self.check_crc(&assembled, &header, start).map_err(|error| (page, error))?;
        self.assembled = assembled;
        let end = self.end_of(page + rest_of_page, &header);
        Ok(Assembly::Done(Located { start, end, header, source: Source::Assembled }))
    }

    /// C: `ValidXLogRecordHeader`.
    fn check_header(&self, header: &RecordHeader, start: Lsn) -> Result<(), ReadError> {
        if (header.total_len as usize) < RECORD_HEADER {
            return self.error(start, wrong_length(start, header.total_len));
        }
        if RmgrId::from_u8(header.rmgr).is_none() && !rmgr::is_custom(header.rmgr) {
            return self.error(start, format!("invalid resource manager ID {} at {start}", header.rmgr));
        }
        let linked = match self.previous {
            Some(previous) => header.prev == previous,
            // The first record read: any earlier position will do.
            None => header.prev < start,
        };
        if !linked {
            return self.error(start, format!("record with incorrect prev-link {} at {start}", header.prev));
        }
        Ok(())
    }

    /// C: `ValidXLogRecord`.
    fn check_crc(&self, bytes: &[u8], header: &RecordHeader, start: Lsn) -> Result<(), ReadError> {
        let crc = crc32c::crc32c(&bytes[RECORD_HEADER..]);
        if crc32c::crc32c_append(crc, &bytes[..RECORD_CRC_OFFSET]) == header.crc {
            return Ok(());
        }
        self.error(start, format!("incorrect resource manager data checksum in record at {start}"))
    }

    /// The header of a page, of which at least `need` bytes are in the chunk afterwards; the record that starts at `record`
    /// needs it. C: `ReadPageInternal`.
    #[inline]
    fn page_header(&mut self, page: Lsn, need: usize, record: Lsn) -> Result<PageHeader, ReadError> {
        if !self.chunk.has(page, need) {
            self.read_chunk(PageRequest { page, need, record })?;
        }
        let at = self.chunk.at(page);
        if page < self.chunk.checked_upto {
            return Ok(PageHeader::decode(&self.chunk.bytes[at..at + LONG_HEADER]));
        }
        let header = self.check.check(page, &self.chunk.bytes[at..], self.source.timeline())?;
        self.chunk.checked_upto = page + XLOG_BLCKSZ as u64;
        Ok(header)
    }

    /// Of a page that is in the chunk, more may be needed than has come so far.
    #[inline]
    fn extend(&mut self, page: Lsn, need: usize, record: Lsn) -> Result<(), ReadError> {
        if !self.chunk.has(page, need) {
            self.page_header(page, need, record)?;
        }
        Ok(())
    }

    fn read_chunk(&mut self, request: PageRequest) -> Result<(), ReadError> {
        let segment = self.geometry.segment(request.page);
        let offset = self.geometry.offset(request.page);
        self.chunk.forget();
        if self.segment != Some(segment) && offset != 0 {
            // Is it a segment of this cluster at all? Its first page tells.
            let page = Lsn(request.page.0 - u64::from(offset));
            self.fill(PageRequest { page, need: XLOG_BLCKSZ, ..request }, XLOG_BLCKSZ)?;
            self.check.check(page, &self.chunk.bytes, self.source.timeline())?;
        }
        self.segment = None;
        let left = (self.geometry.segment_size() - offset) as usize;
        self.fill(request, CHUNK.min(left))?;
        self.segment = Some(segment);
        Ok(())
    }

    fn fill(&mut self, request: PageRequest, len: usize) -> Result<(), ReadError> {
        let valid = self.source.read(request, &mut self.chunk.bytes[..len], &mut self.check)?;
        debug_assert!(valid >= request.need && valid <= len, "{valid} bytes for {request:?}");
        self.chunk.filled(request.page, valid.min(len));
        Ok(())
    }
}

enum Assembly {
    Done(Located),
    Overwritten(Lsn),
}

fn wrong_length(start: Lsn, got: u32) -> String {
    format!("invalid record length at {start}: wanted {RECORD_HEADER}, got {got}")
}

const _: () = assert!(CHUNK.is_multiple_of(XLOG_BLCKSZ) && SHORT_HEADER < LONG_HEADER);

#[cfg(test)]
mod tests;
