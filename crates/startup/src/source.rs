//! Where the next page of WAL comes from: the archive, `pg_wal`, or a primary; on one of several timelines.
//!
//! - `segments`: segments as files.
//! - `stream`: what a primary sends.
//!
//! After a crash only `pg_wal` counts. In archive recovery each segment is asked of the archive first, on the newest timeline
//! that may have it, then of `pg_wal`, then of the next older one. Who gave out the last segment may not go back to an older
//! timeline for the next: a parent may have gone on beyond the point where its child left it.
//!
//! What is found wanting is not asked for again, unless this is a standby, which goes round:
//!
//! ```text
//! archive and pg_wal --failed--> promoted? --no--> stream --ended--> new timelines? --> sleep --> archive
//! ```
//!
//! - Q1  An order to leave, a promotion and a pause are heard at each turn.
//! - Q2  Between two turns that fail lie `wal_retrieve_retry_interval` at least.
//! - Q6  Of a timeline that the history has left, nothing is replayed that begins where it was left or behind, even if a segment
//!   goes on: a primary that was not the one promoted may have written that.
//!
//! C counterpart: `XLogPageRead`, `WaitForWALToBecomeAvailable`, `emode_for_corrupt_record` of xlogrecovery.c.

mod segments;
mod stream;

use std::time::{Duration, Instant};

use common::{Lsn, TimeLineId};
use elog::{PgError, Result, Severity, ereport, pg_error};
use file::File;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use wal::layout::{RECORD_HEADER, XLOG_BLCKSZ};
use wal::{PageCheck, PageRequest, PageSource, ReadError, ReadErrorKind, SegNo};

use crate::redo::Purpose;
use crate::{pause, state, timelines};
#[cfg(test)]
pub(crate) use stream::request_restart;
pub(crate) use stream::{Upstream, WalReceiver, reread_config, wake_cascade};

use stream::Look;

/// C: `XLogSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not decided. C: `XLOG_FROM_ANY`.
    Any,
    /// The archive, and `pg_wal` for what it does not have. C: `XLOG_FROM_ARCHIVE`.
    Archive,
    /// C: `XLOG_FROM_PG_WAL`.
    PgWal,
    /// A primary, through the walreceiver. C: `XLOG_FROM_STREAM`.
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
    /// What the record is read for. C: `emode`, `fetching_ckpt`.
    purpose: Purpose,
    error: Option<PgError>,
    upstream: Box<dyn Upstream>,
    /// What of a stream may be read, on the timeline `file_timeline`. C: `flushedUpto`.
    received: Lsn,
    /// Not even that may be: it was damaged.
    received_is_bad: bool,
    /// The initial checkpoint is looked for: where its redo begins, and on which timeline. C: `fetching_ckpt`, `RedoStartLSN`,
    /// `RedoStartTLI`.
    checkpoint_start: Option<(Lsn, TimeLineId)>,
}

impl Source {
    pub(crate) fn new(latest_timeline: bool, upstream: Box<dyn Upstream>) -> Source {
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
            purpose: Purpose::Checkpoint,
            error: None,
            upstream,
            received: Lsn::INVALID,
            received_is_bad: false,
            checkpoint_start: None,
        }
    }

    /// Before each attempt at a record. C: the beginning of `ReadRecord`.
    pub(crate) fn prepare(&mut self, random: bool, purpose: Purpose) {
        self.random = random;
        self.purpose = purpose;
        self.failed = false;
    }

    /// From here on the initial checkpoint is looked for, whose redo begins there; or no longer.
    pub(crate) fn look_for_checkpoint(&mut self, redo: Option<(Lsn, TimeLineId)>) {
        self.checkpoint_start = redo;
    }

    /// What was read is no record. C: `lastSourceFailed = true` in `ReadRecord`.
    pub(crate) fn set_failed(&mut self) {
        // It has been received, and is no good: it must come once more.
        self.received_is_bad |= self.read_from == Place::Stream && self.open.is_some();
        self.close();
        self.failed = true;
    }

    /// Archive recovery has begun: the archive is to be asked. C: in `ReadRecord`.
    pub(crate) fn restart(&mut self) {
        self.failed = false;
        self.go_to(Place::Any);
    }

    fn go_to(&mut self, place: Place) {
        self.place = place;
        state::with(|state| state.streaming.set(place == Place::Stream));
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

    /// C: `WaitForWALToBecomeAvailable`. True if a segment is open, and has what is asked for.
    fn wait_for_segment(&mut self, request: PageRequest) -> Result<bool> {
        if !state::in_archive() {
            self.go_to(Place::PgWal);
        } else if self.place == Place::Any || !wal::restore::standby_mode() && self.place == Place::Stream {
            self.failed = false;
            self.go_to(Place::Archive);
        }
        let mut told = false;
        loop {
            let (old, failed) = (self.place, self.failed);
            if failed {
                if !self.advance(request)? {
                    return Ok(false);
                }
            } else if self.place == Place::PgWal && state::in_archive() {
                // The archive's copy is preferred to what lies in pg_wal.
                self.go_to(Place::Archive);
            }
            if self.place != old {
                let why = if failed { "failure" } else { "success" };
                ereport!(
                    Debug2,
                    "switched WAL source from {} to {} after {why}",
                    name_of(old),
                    name_of(self.place)
                );
            }
            self.failed = false;
            if self.place == Place::Stream {
                match self.look_at_stream(request, old != Place::Stream, &mut told)? {
                    Look::Arrived => return Ok(true),
                    Look::NotYet => {}
                    Look::Over => self.failed = true,
                }
            } else {
                self.close();
                if self.random {
                    self.file_timeline = TimeLineId(0);
                }
                if self.open_any(request)? {
                    return Ok(true);
                }
                self.failed = true;
            }
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
                if !wal::restore::standby_mode() {
                    return Ok(false);
                }
                if pause::promotion_triggered()? {
                    self.stop_receiver()?;
                    return Ok(false);
                }
                self.go_to(Place::Stream);
            }
            Place::Stream => {
                self.stop_streaming()?;
                self.go_to(Place::Archive);
                // A promotion has nothing to wait for.
                let follows = self.latest_timeline && timelines::rescan()?;
                if !follows && !pause::promotion_triggered()? {
                    self.rest(request)?;
                }
            }
        }
        Ok(true)
    }

    /// Q2.
    pub(crate) fn rest(&mut self, request: PageRequest) -> Result<()> {
        let interval = Duration::from_millis(guc::vars::WAL_RETRIEVE_RETRY_INTERVAL.get().max(0) as u64);
        let since = self.last_failure.map(|at| at.elapsed());
        if let Some(left) = since.and_then(|since| interval.checked_sub(since)) {
            ereport!(Log, "waiting for WAL to become available at {}", missing(request));
            // A walreceiver that ended before we looked has set it. Only what comes from now on may cut the rest short, or one
            // that always ends at once would be asked for without a pause.
            latch::reset();
            crate::leave_if_asked()?;
            if !pause::promotion_triggered()? {
                let event = WaitEvent::RECOVERY_RETRIEVE_RETRY_INTERVAL;
                if latch::wait(Wake::LATCH_OR_DEATH, Some(left), event).postmaster_died() {
                    miscinit::exit::proc_exit(1);
                }
                latch::reset();
                crate::leave_if_asked()?;
            }
        }
        self.last_failure = Some(Instant::now());
        Ok(())
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
        // Whole pages are there, but of the last one perhaps not all of it.
        let readable = self.readable(request.page, buf.len());
        let pages = readable.next_multiple_of(XLOG_BLCKSZ).min(buf.len());
        let read = wal::read_segment(&open.file, request, &mut buf[..pages], timeline, wal::geometry());
        let standby = wal::restore::standby_mode();
        let checked = read.and_then(|valid| {
            // Otherwise the reader does it: there is no second place to try.
            if standby {
                check.check(request.page, buf, timeline)?;
            }
            let expected = segments::on_expected_timelines(request, &buf[..valid.min(readable)], timeline)?;
            Ok(self.before_its_end(request, expected))
        });
        match checked {
            Ok(valid) => Ok(Some(valid)),
            Err(error) => {
                let severity = self.severity_at(self.purpose.severity(), request.page + request.need as u64);
                report_at(severity, &error.message);
                self.set_failed();
                self.read_from = Place::Any;
                if standby { Ok(None) } else { Err(silent(request.page)) }
            }
        }
    }
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

impl PageSource for Source {
    fn read(
        &mut self,
        request: PageRequest,
        buf: &mut [u8],
        check: &mut PageCheck,
    ) -> Result<usize, ReadError> {
        let number = wal::geometry().segment(request.page);
        self.leave_segment(number);
        if self.is_left_behind(self.file_timeline, request.record) {
            self.close();
        }
        if self.read_from != Place::Stream {
            // What lies before has been replayed. A walreceiver wakes them itself.
            wake_cascade();
        }
        loop {
            if self.open.is_none() || self.read_from == Place::Stream && !self.has_arrived(request) {
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
