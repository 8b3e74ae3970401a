//! Segments as files: which timeline's to open, and which of their pages are no good.
//!
//! C counterpart: `XLogFileReadAnyTLI`, `XLogFileRead` of xlogrecovery.c.

use common::{Lsn, TimeLineId};
use elog::{Result, ereport, pg_error};
use miscinit::ps_status;
use wal::layout::{LONG_HEADER, PAGE_MAGIC, PageHeader, XLOG_BLCKSZ};
use wal::timeline::History;
use wal::{PageRequest, ReadError, ReadErrorKind, SegNo, recovery};

use super::{Open, Place, Source, wake_cascade};
use crate::redo::Purpose;
use crate::state;

impl Source {
    /// C: `XLogFileReadAnyTLI`.
    pub(super) fn open_any(&mut self, request: PageRequest) -> Result<bool> {
        let number = wal::geometry().segment(request.page);
        let known = state::expected();
        let history = match &known {
            Some(history) => history.clone(),
            None => wal::timeline::read_history(state::with(|state| state.target_timeline.get()))?,
        };
        for timeline in candidates(&history, self.file_timeline, number) {
            if self.is_left_behind(timeline, request.record) {
                continue;
            }
            let from_archive = self.place == Place::Archive && self.open_restored(number, timeline)?;
            if from_archive {
                ereport!(Debug1, "got WAL segment from archive");
            }
            if from_archive || self.open_local(number, timeline, Place::PgWal)? {
                if known.is_none() {
                    // Only now: without any segment the history may be no more than a guess.
                    state::set_expected(history);
                }
                return Ok(true);
            }
        }
        let path = wal::segment::path(state::with(|state| state.target_timeline.get()), number);
        let reason = std::io::Error::from_raw_os_error(nix::libc::ENOENT);
        ereport!(Debug2, "could not open file \"{}\": {}", path.display(), elog::errno_text(&reason));
        Ok(false)
    }

    /// C: `XLogFileRead` of `XLOG_FROM_ARCHIVE`.
    pub(super) fn open_restored(&mut self, number: SegNo, timeline: TimeLineId) -> Result<bool> {
        let name = wal::segment::name(timeline, number, wal::geometry());
        ps_status::set_activity(&format!("waiting for {name}"));
        let size = u64::from(wal::geometry().segment_size());
        let in_redo = state::with(|state| state.in_redo.get());
        let restored =
            wal::restore::restore_archived_file(&name, wal::restore::RECOVERY_XLOG, Some(size), in_redo)?;
        let Some(temporary) = restored else { return Ok(false) };
        let replaces = file::exists(&wal::segment::path(timeline, number));
        wal::restore::keep_restored_segment(&temporary, &name)?;
        if replaces {
            // A walsender may have the old one open.
            replication::walsnd::request_file_reload();
        }
        wake_cascade();
        self.open_local(number, timeline, Place::Archive)
    }

    /// Q6. Where records end that may be replayed from a segment of this timeline. What recovery begins with has been checked
    /// against the history by whoever looked for it.
    fn end_of(&self, timeline: TimeLineId) -> Option<Lsn> {
        state::left_at(timeline).filter(|_| self.purpose == Purpose::Replay)
    }

    /// Q6. Does a record lie behind the point where the history leaves this timeline?
    pub(super) fn is_left_behind(&self, timeline: TimeLineId, record: Lsn) -> bool {
        self.end_of(timeline).is_some_and(|end| record >= end)
    }

    /// Q6. How much of what was read of the open segment may be replayed; at least what was asked for, which belongs to a record
    /// that begins before the end.
    pub(super) fn before_its_end(&self, request: PageRequest, valid: usize) -> usize {
        let Some(end) = self.end_of(self.file_timeline) else { return valid };
        let room = usize::try_from(end.0.saturating_sub(request.page.0)).unwrap_or(usize::MAX);
        valid.min(room.max(request.need))
    }

    /// C: the second half of `XLogFileRead`.
    pub(super) fn open_local(&mut self, number: SegNo, timeline: TimeLineId, from: Place) -> Result<bool> {
        let path = wal::segment::path(timeline, number);
        match wal::open_segment(&path, Lsn::INVALID) {
            Ok(file) => self.open = Some(Open { number, file }),
            Err(error) if error.kind == ReadErrorKind::NoSegment => return Ok(false),
            Err(error) => {
                // WAL that is there must not be taken for its end.
                return Err(pg_error!(Panic, common::SqlState::IO_ERROR, "{}", error.message));
            }
        }
        self.file_timeline = timeline;
        state::with(|state| state.file_timeline.set(timeline));
        self.read_from = from;
        if from != Place::Stream {
            recovery::set_receipt(Some(activity::now()), false);
        }
        let name = wal::segment::name(timeline, number, wal::geometry());
        ps_status::set_activity(&format!("recovering {name}"));
        Ok(true)
    }
}

/// How much of what was read is on timelines that may be replayed: whole pages, at least the first. What is no page of this
/// place at all is the reader's business. C: the check of `latestPageTLI` in `ReadRecord`.
pub(super) fn on_expected_timelines(
    request: PageRequest,
    bytes: &[u8],
    of_file: TimeLineId,
) -> Result<usize, ReadError> {
    for (index, bytes) in bytes.chunks(XLOG_BLCKSZ).enumerate() {
        let page = request.page + (index * XLOG_BLCKSZ) as u64;
        if bytes.len() < LONG_HEADER {
            // The end of what has arrived: the reader, which sees zeros behind it, asks again. The first page has all it needs.
            break;
        }
        let header = PageHeader::decode(&bytes[..LONG_HEADER]);
        if header.magic != PAGE_MAGIC || header.page_addr != page || state::is_expected(header.timeline) {
            continue;
        }
        if index > 0 {
            return Ok(index * XLOG_BLCKSZ);
        }
        let name = wal::segment::name(of_file, wal::geometry().segment(page), wal::geometry());
        let (found, offset) = (header.timeline.0, wal::geometry().offset(page));
        let message = format!("unexpected timeline ID {found} in log segment {name}, offset {offset}");
        return Err(ReadError { message, kind: ReadErrorKind::Invalid, lsn: page });
    }
    Ok(bytes.len())
}

/// Timelines that may have a segment, newest first: none that begins behind it, none older than the one that the segment before
/// it was on.
pub(super) fn candidates(history: &History, at_least: TimeLineId, number: SegNo) -> Vec<TimeLineId> {
    let begins_by = |begin: Lsn| begin == Lsn::INVALID || wal::geometry().segment(begin) <= number;
    let entries = history.0.iter().take_while(|entry| entry.tli >= at_least);
    entries.filter(|entry| begins_by(entry.begin)).map(|entry| entry.tli).collect()
}
