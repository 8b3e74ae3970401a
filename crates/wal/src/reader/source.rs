//! Where a reader's pages come from, and what makes a page one of this WAL.
//!
//! A [`PageSource`] hands out bytes from a page's start on; it decides how long to wait for them, from which file or stream
//! they come, and on which timeline. The reader checks every page's header with a [`PageCheck`]; a source that has several
//! places to try checks it by itself with the same one, before it gives a page out.
//!
//! C counterpart: the callbacks `page_read` and `segment_open` of xlogreader.h, `WALRead`, `XLogReaderValidatePageHeader`.

use std::path::{Path, PathBuf};

use common::{Lsn, TimeLineId};
use elog::{PgError, errno_text};
use file::{File, OpenFlags};
use shmem::wait_event::WaitEvent;

use super::{ReadError, ReadErrorKind};
use crate::layout::{Geometry, LONG_HEADER, PAGE_MAGIC, PageHeader, SegNo, XLOG_BLCKSZ, page_flags};
use crate::segment;

/// What a reader asks of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Start of a page. C: `targetPagePtr`.
    pub page: Lsn,
    /// Bytes from there on that must be valid, 1 to 8192. C: `reqLen`.
    pub need: usize,
    /// Start of the record that is being read; where the page is missing, its timeline decides. C: `targetRecPtr`.
    pub record: Lsn,
}

/// Gives out WAL, page by page. C: `XLogReaderRoutine`.
pub trait PageSource {
    /// Copies bytes from `request.page` on into `buf`, at least `request.need` and at most `buf.len()`, and returns how many.
    /// `buf` ends no later than the page's segment. A source that can get them later waits, or tries another place; it may
    /// examine the page with `check`, whose state then does not change unless the page is good. C: `XLogPageReadCB`.
    ///
    /// # Errors
    /// If the bytes cannot be had. [`ReadErrorKind::End`] says nothing, [`ReadErrorKind::Fatal`] is explained by
    /// [`PageSource::take_error`].
    fn read(
        &mut self,
        request: PageRequest,
        buf: &mut [u8],
        check: &mut PageCheck,
    ) -> Result<usize, ReadError>;

    /// Timeline in the name of the segment read last. C: `seg.ws_tli`.
    fn timeline(&self) -> TimeLineId;

    /// What was read last was no good, or reading goes on elsewhere: the next request is to be looked at afresh.
    /// C: `XLogReaderInvalReadState`.
    fn invalidate(&mut self) {}

    /// The error behind [`ReadErrorKind::Fatal`].
    fn take_error(&mut self) -> Option<PgError> {
        None
    }
}

impl<S: PageSource + ?Sized> PageSource for Box<S> {
    fn read(
        &mut self,
        request: PageRequest,
        buf: &mut [u8],
        check: &mut PageCheck,
    ) -> Result<usize, ReadError> {
        (**self).read(request, buf, check)
    }

    fn timeline(&self) -> TimeLineId {
        (**self).timeline()
    }

    fn invalidate(&mut self) {
        (**self).invalidate();
    }

    fn take_error(&mut self) -> Option<PgError> {
        (**self).take_error()
    }
}

/// Checks the headers of pages, each against what is known of the cluster and against the pages before it.
#[derive(Clone, Debug)]
pub struct PageCheck {
    geometry: Geometry,
    system_identifier: Option<u64>,
    /// The page with the highest position seen since reading began, and its timeline. C: `latestPagePtr`, `latestPageTLI`.
    latest: (Lsn, TimeLineId),
}

impl PageCheck {
    /// For segments of this size, of any cluster.
    pub fn new(geometry: Geometry) -> PageCheck {
        PageCheck { geometry, system_identifier: None, latest: (Lsn::INVALID, TimeLineId(0)) }
    }

    /// Refuses pages of other clusters from now on.
    pub fn set_system_identifier(&mut self, identifier: u64) {
        self.system_identifier = Some(identifier);
    }

    /// Forgets the pages seen.
    pub fn restart(&mut self) {
        self.latest = (Lsn::INVALID, TimeLineId(0));
    }

    /// The page checked last, and its timeline.
    pub fn latest_page(&self) -> (Lsn, TimeLineId) {
        self.latest
    }

    /// Decodes and checks the header of the page that should be at `page`; `bytes` begin there. `timeline` is that of the
    /// segment's name, for messages. C: `XLogReaderValidatePageHeader`.
    ///
    /// # Errors
    /// What is wrong with it, in PostgreSQL's words.
    pub fn check(&mut self, page: Lsn, bytes: &[u8], timeline: TimeLineId) -> Result<PageHeader, ReadError> {
        let header = PageHeader::decode(&bytes[..LONG_HEADER]);
        self.check_header(page, &header, timeline)?;
        Ok(header)
    }

    fn check_header(
        &mut self,
        page: Lsn,
        header: &PageHeader,
        timeline: TimeLineId,
    ) -> Result<(), ReadError> {
        let offset = self.geometry.offset(page);
        let error = |message| Err(ReadError { message, kind: ReadErrorKind::Invalid, lsn: page });
        let place = || {
            let name = segment::name(timeline, self.geometry.segment(page), self.geometry);
            format!("in log segment {name}, offset {offset}")
        };
        if header.magic != PAGE_MAGIC {
            return error(format!("invalid magic number {:04X} {}", header.magic, place()));
        }
        if header.info & !page_flags::ALL != 0 || (offset == 0 && header.long.is_none()) {
            return error(format!("invalid info bits {:04X} {}", header.info, place()));
        }
        if let Some(long) = &header.long {
            let other = "WAL file is from different database system";
            if let Some(expected) = self.system_identifier.filter(|id| *id != long.system_identifier) {
                return error(format!(
                    "{other}: WAL file database system identifier is {}, pg_control database system \
                     identifier is {expected}",
                    long.system_identifier
                ));
            }
            if long.segment_size != self.geometry.segment_size() {
                return error(format!("{other}: incorrect segment size in page header"));
            }
            if long.page_size != XLOG_BLCKSZ as u32 {
                return error(format!("{other}: incorrect XLOG_BLCKSZ in page header"));
            }
        }
        if header.page_addr != page {
            return error(format!("unexpected pageaddr {} {}", header.page_addr, place()));
        }
        // A child's number is higher than its parent's: along WAL, timelines never go back. A page that is read again may
        // be older than the latest one.
        let (latest, of_latest) = self.latest;
        if page > latest && header.timeline < of_latest {
            let found = header.timeline;
            return error(format!("out-of-sequence timeline ID {found} (after {of_latest}) {}", place()));
        }
        self.latest = (page, header.timeline);
        Ok(())
    }
}

/// The source of crash recovery, and of programs: the segments of one timeline in a directory.
pub struct SegmentFiles {
    dir: PathBuf,
    geometry: Geometry,
    timeline: TimeLineId,
    file: Option<(SegNo, File)>,
}

impl SegmentFiles {
    /// Segments of this size, by the names of this timeline.
    pub fn new(dir: impl Into<PathBuf>, segment_size: u32, timeline: TimeLineId) -> SegmentFiles {
        SegmentFiles { dir: dir.into(), geometry: Geometry::new(segment_size), timeline, file: None }
    }

    /// Reads from another timeline from now on; true if it was another.
    pub fn set_timeline(&mut self, timeline: TimeLineId) -> bool {
        let changes = timeline != self.timeline;
        if changes {
            self.timeline = timeline;
            self.file = None;
        }
        changes
    }

    fn open(&mut self, number: SegNo, page: Lsn) -> Result<&File, ReadError> {
        let kept = self.file.take().filter(|(open, _)| *open == number);
        let opened = match kept {
            Some(kept) => kept,
            None => {
                let path = self.dir.join(segment::name(self.timeline, number, self.geometry));
                (number, open_segment(&path, page)?)
            }
        };
        Ok(&self.file.insert(opened).1)
    }
}

impl PageSource for SegmentFiles {
    fn read(
        &mut self,
        request: PageRequest,
        buf: &mut [u8],
        _check: &mut PageCheck,
    ) -> Result<usize, ReadError> {
        let number = self.geometry.segment(request.page);
        let (geometry, timeline) = (self.geometry, self.timeline);
        let file = self.open(number, request.page)?;
        read_segment(file, request, buf, timeline, geometry)
    }

    fn timeline(&self) -> TimeLineId {
        self.timeline
    }
}

/// Opens a segment for reading.
///
/// # Errors
/// [`ReadErrorKind::NoSegment`] if it is not there, else [`ReadErrorKind::CannotOpen`].
pub fn open_segment(path: &Path, page: Lsn) -> Result<File, ReadError> {
    file::open(path, OpenFlags::READ).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ReadErrorKind::NoSegment,
            _ => ReadErrorKind::CannotOpen,
        };
        let message = format!("could not open file \"{}\": {}", path.display(), errno_text(&error));
        ReadError { message, kind, lsn: page }
    })
}

/// Reads whole pages from an open segment; `timeline` is that of its name.
///
/// # Errors
/// [`ReadErrorKind::Io`] if not even one page can be read.
pub fn read_segment(
    file: &File,
    request: PageRequest,
    buf: &mut [u8],
    timeline: TimeLineId,
    geometry: Geometry,
) -> Result<usize, ReadError> {
    let offset = geometry.offset(request.page);
    let failed = |reason: &str| {
        let name = segment::name(timeline, geometry.segment(request.page), geometry);
        let message = format!("could not read from log segment {name}, offset {offset}: {reason}");
        ReadError { message, kind: ReadErrorKind::Io, lsn: request.page }
    };
    let got = file
        .read_at(buf, u64::from(offset), WaitEvent::WAL_READ)
        .map_err(|error| failed(&errno_text(&error)))?;
    match got / XLOG_BLCKSZ * XLOG_BLCKSZ {
        0 => Err(failed(&format!("read {got} of {XLOG_BLCKSZ}"))),
        whole => Ok(whole),
    }
}
