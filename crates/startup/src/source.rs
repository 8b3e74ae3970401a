//! Where the next page of WAL comes from: the archive, or `pg_wal`, on one of several timelines.
//!
//! After a crash only `pg_wal` counts. In archive recovery each segment is asked of the archive first, on the newest timeline
//! that may have it, then of `pg_wal`, then of the next older one. Who gave out the last segment may not go back to an older
//! timeline for the next: a parent may have gone on beyond the point where its child left it.
//!
//! What is found wanting is not asked for again, unless this is a standby, which goes round:
//!
//! ```text
//! archive and pg_wal --failed--> promoted? --no--> (streaming: not yet) --> new timelines? --> sleep --> archive
//! ```
//!
//! - Q1  An order to leave, a promotion and a pause are heard at each turn.
//! - Q2  Between two turns that fail lie `wal_retrieve_retry_interval` at least.
//!
//! C counterpart: `XLogPageRead`, `WaitForWALToBecomeAvailable`, `XLogFileReadAnyTLI`, `XLogFileRead`,
//! `emode_for_corrupt_record` of xlogrecovery.c.

use std::time::{Duration, Instant};

use common::{Lsn, TimeLineId};
use elog::{PgError, Result, Severity, ereport, pg_error};
use file::File;
use miscinit::ps_status;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use wal::layout::{LONG_HEADER, PAGE_MAGIC, PageHeader, RECORD_HEADER, XLOG_BLCKSZ};
use wal::timeline::History;
use wal::{PageCheck, PageRequest, PageSource, ReadError, ReadErrorKind, SegNo};

use crate::{pause, state, timelines};

/// C: `XLogSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not decided. C: `XLOG_FROM_ANY`.
    Any,
    /// The archive, and `pg_wal` for what it does not have. C: `XLOG_FROM_ARCHIVE`.
    Archive,
    /// C: `XLOG_FROM_PG_WAL`.
    PgWal,
    /// A primary: for now nothing but the last station before the sleep. C: `XLOG_FROM_STREAM`.
    Stream,
}

/// An open segment.
struct Open {
    number: SegNo,
    file: File,
}

/// See the module.
pub(crate) struct Source {
    open: Option<Open>,
    /// Where the open segment came from. C: `readSource`.
    read_from: Place,
    /// Where to look next. C: `currentSource`.
    place: Place,
    /// It had nothing. C: `lastSourceFailed`.
    failed: bool,
    /// Timeline in the name of the segment opened last; 0 if any will do. C: `curFileTLI`.
    file_timeline: TimeLineId,
    /// The record asked for does not follow the one before. C: `randAccess`.
    random: bool,
    /// C: `last_fail_time`.
    last_failure: Option<Instant>,
    /// C: `lastComplaint`.
    last_complaint: Lsn,
    /// New timelines are followed. C: `recoveryTargetTimeLineGoal`.
    latest_timeline: bool,
    /// How bad a page is that is no good. C: `emode`.
    severity: Severity,
    error: Option<PgError>,
}

impl Source {
    pub(crate) fn new(latest_timeline: bool) -> Source {
        Source {
            open: None,
            read_from: Place::Any,
            place: Place::Any,
            failed: false,
            file_timeline: TimeLineId(0),
            random: true,
            last_failure: None,
            last_complaint: Lsn::INVALID,
            latest_timeline,
            severity: Severity::Log,
            error: None,
        }
    }

    /// Before each attempt at a record. C: the beginning of `ReadRecord`.
    pub(crate) fn prepare(&mut self, random: bool, severity: Severity) {
        self.random = random;
        self.severity = severity;
        self.failed = false;
    }

    /// What was read is no record. C: `lastSourceFailed = true` in `ReadRecord`.
    pub(crate) fn set_failed(&mut self) {
        self.close();
        self.failed = true;
    }

    /// Archive recovery has begun: the archive is to be asked. C: in `ReadRecord`.
    pub(crate) fn restart(&mut self) {
        self.failed = false;
        self.place = Place::Any;
    }

    fn close(&mut self) {
        self.open = None;
    }

    /// The level for a complaint about what is at a position: the second one in a row about the same spot in `pg_wal`, which a
    /// standby looks at again and again, is no news. C: `emode_for_corrupt_record`.
    pub(crate) fn severity_at(&mut self, severity: Severity, at: Lsn) -> Severity {
        if self.read_from == Place::PgWal && severity == Severity::Log {
            if at == self.last_complaint {
                return Severity::Debug1;
            }
            self.last_complaint = at;
        }
        severity
    }

    /// C: `WaitForWALToBecomeAvailable`. True if a segment is open.
    fn wait_for_segment(&mut self, request: PageRequest) -> Result<bool> {
        let number = wal::geometry().segment(request.page);
        if !state::in_archive() {
            self.place = Place::PgWal;
        } else if self.place == Place::Any || !wal::restore::standby_mode() && self.place == Place::Stream {
            self.restart();
            self.place = Place::Archive;
        }
        loop {
            let old = self.place;
            if self.failed {
                if !self.advance(request)? {
                    return Ok(false);
                }
            } else if self.place == Place::PgWal && state::in_archive() {
                // The archive's copy is preferred to what lies in pg_wal.
                self.place = Place::Archive;
            }
            if self.place != old {
                ereport!(Debug2, "switched WAL source from {} to {}", name_of(old), name_of(self.place));
            }
            self.failed = false;
            if self.place != Place::Stream {
                self.close();
                if self.random {
                    self.file_timeline = TimeLineId(0);
                }
                if self.open_any(number)? {
                    return Ok(true);
                }
            }
            // Nobody streams: the next station.
            self.failed = true;
            pause::if_asked()?;
            crate::leave_if_asked()?;
        }
    }

    /// The place had nothing: on to the next one. False: there is none. C: the first part of the loop of
    /// `WaitForWALToBecomeAvailable`.
    fn advance(&mut self, request: PageRequest) -> Result<bool> {
        match self.place {
            Place::Archive | Place::PgWal | Place::Any => {
                // Only here, so that everything there is gets replayed before a promotion.
                if !wal::restore::standby_mode() || pause::promotion_triggered()? {
                    return Ok(false);
                }
                self.place = Place::Stream;
            }
            Place::Stream => {
                self.place = Place::Archive;
                if self.latest_timeline && timelines::rescan()? {
                    return Ok(true);
                }
                self.rest(request)?;
            }
        }
        Ok(true)
    }

    /// Q2.
    fn rest(&mut self, request: PageRequest) -> Result<()> {
        let interval = Duration::from_millis(guc::vars::WAL_RETRIEVE_RETRY_INTERVAL.get().max(0) as u64);
        let since = self.last_failure.map(|at| at.elapsed());
        if let Some(left) = since.and_then(|since| interval.checked_sub(since)) {
            ereport!(Log, "waiting for WAL to become available at {}", missing(request));
            let woken =
                latch::wait(Wake::LATCH_OR_DEATH, Some(left), WaitEvent::RECOVERY_RETRIEVE_RETRY_INTERVAL);
            if woken.postmaster_died() {
                miscinit::exit::proc_exit(1);
            }
            latch::reset();
            crate::leave_if_asked()?;
        }
        self.last_failure = Some(Instant::now());
        Ok(())
    }

    /// C: `XLogFileReadAnyTLI`.
    fn open_any(&mut self, number: SegNo) -> Result<bool> {
        let known = state::expected();
        let history = match &known {
            Some(history) => history.clone(),
            None => wal::timeline::read_history(state::with(|state| state.target_timeline.get()))?,
        };
        for timeline in candidates(&history, self.file_timeline, number) {
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
    fn open_restored(&mut self, number: SegNo, timeline: TimeLineId) -> Result<bool> {
        let name = wal::segment::name(timeline, number, wal::geometry());
        ps_status::set_activity(&format!("waiting for {name}"));
        let size = u64::from(wal::geometry().segment_size());
        let in_redo = state::with(|state| state.in_redo.get());
        let restored =
            wal::restore::restore_archived_file(&name, wal::restore::RECOVERY_XLOG, Some(size), in_redo)?;
        let Some(temporary) = restored else { return Ok(false) };
        wal::restore::keep_restored_segment(&temporary, &name)?;
        self.open_local(number, timeline, Place::Archive)
    }

    /// C: the second half of `XLogFileRead`.
    fn open_local(&mut self, number: SegNo, timeline: TimeLineId, from: Place) -> Result<bool> {
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
        let name = wal::segment::name(timeline, number, wal::geometry());
        ps_status::set_activity(&format!("recovering {name}"));
        Ok(true)
    }

    /// A new segment is asked for: is it time for a restartpoint? C: the first part of `XLogPageRead`.
    fn leave_segment(&mut self, number: SegNo) {
        let Some(left) = self.open.as_ref().map(|open| open.number).filter(|open| *open != number) else {
            return;
        };
        self.close();
        self.read_from = Place::Any;
        if state::archive_requested() && wal::recycle::checkpoint_needed(left) {
            checkpointer::request_for_wal_volume();
        }
    }

    /// One attempt; `Ok(None)`: it is no good, and worth another one.
    fn read_once(
        &mut self,
        request: PageRequest,
        buf: &mut [u8],
        check: &mut PageCheck,
    ) -> Result<Option<usize>, ReadError> {
        let Some(open) = &self.open else { return Err(silent(request.page)) };
        let timeline = self.file_timeline;
        let read = wal::read_segment(&open.file, request, buf, timeline, wal::geometry());
        let standby = wal::restore::standby_mode();
        let checked = read.and_then(|valid| {
            // Otherwise the reader does it: there is no second place to try.
            if standby {
                check.check(request.page, buf, timeline)?;
            }
            on_expected_timelines(request, &buf[..valid], timeline)
        });
        match checked {
            Ok(valid) => Ok(Some(valid)),
            Err(error) => {
                let severity = self.severity_at(self.severity, request.page + request.need as u64);
                report_at(severity, &error.message);
                self.set_failed();
                self.read_from = Place::Any;
                if standby { Ok(None) } else { Err(silent(request.page)) }
            }
        }
    }
}

/// How much of what was read is on timelines that may be replayed: whole pages, at least the first. What is no page of this
/// place at all is the reader's business. C: the check of `latestPageTLI` in `ReadRecord`.
fn on_expected_timelines(
    request: PageRequest,
    bytes: &[u8],
    of_file: TimeLineId,
) -> Result<usize, ReadError> {
    for (index, bytes) in bytes.chunks(XLOG_BLCKSZ).enumerate() {
        let page = request.page + (index * XLOG_BLCKSZ) as u64;
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

/// What a request is for, as PostgreSQL counts: the end of the record's fixed part, or of what it has on this page.
fn missing(request: PageRequest) -> Lsn {
    let record = request.record;
    if record >= request.page && record.0 < request.page.0 + XLOG_BLCKSZ as u64 {
        return (record + RECORD_HEADER as u64).min(request.page + XLOG_BLCKSZ as u64);
    }
    request.page + request.need as u64
}

/// Nothing more to say: it is in the log already.
fn silent(lsn: Lsn) -> ReadError {
    ReadError { message: String::new(), kind: ReadErrorKind::End, lsn }
}

/// Logs at a level that is known only now.
pub(crate) fn report_at(severity: Severity, message: &str) {
    if elog::wants(severity) {
        let report = pg_error!(Log, common::SqlState::SUCCESSFUL_COMPLETION, "{message}");
        report.with_severity(severity).report();
    }
}

fn name_of(place: Place) -> &'static str {
    match place {
        Place::Any => "any",
        Place::Archive => "archive",
        Place::PgWal => "pg_wal",
        Place::Stream => "stream",
    }
}

/// Timelines that may have a segment, newest first: none that begins behind it, none older than the one that the segment before
/// it was on.
fn candidates(history: &History, at_least: TimeLineId, number: SegNo) -> Vec<TimeLineId> {
    let begins_by = |begin: Lsn| begin == Lsn::INVALID || wal::geometry().segment(begin) <= number;
    let entries = history.0.iter().take_while(|entry| entry.tli >= at_least);
    entries.filter(|entry| begins_by(entry.begin)).map(|entry| entry.tli).collect()
}

impl PageSource for Source {
    fn read(
        &mut self,
        request: PageRequest,
        buf: &mut [u8],
        check: &mut PageCheck,
    ) -> Result<usize, ReadError> {
        let number = wal::geometry().segment(request.page);
        self.leave_segment(number);
        loop {
            if self.open.is_none() {
                match self.wait_for_segment(request) {
                    Ok(true) => {}
                    Ok(false) => {
                        self.close();
                        self.read_from = Place::Any;
                        return Err(silent(request.page));
                    }
                    Err(error) => {
                        self.error = Some(error);
                        let kind = ReadErrorKind::Fatal;
                        return Err(ReadError { message: String::new(), kind, lsn: request.page });
                    }
                }
            }
            if let Some(valid) = self.read_once(request, buf, check)? {
                return Ok(valid);
            }
        }
    }

    fn timeline(&self) -> TimeLineId {
        self.file_timeline
    }

    fn take_error(&mut self) -> Option<PgError> {
        self.error.take()
    }
}

#[cfg(test)]
mod tests;
