//! The redo loop: one record after the other, from the checkpoint's redo point to the end of WAL.
//!
//! Invariants:
//! - R1  Records are replayed in the order of WAL, each exactly once, by one process.
//! - R2  A page is touched only if its LSN is older than the record (`storage::read_for_redo` decides), so that
//!   a second recovery over the same WAL does no harm.
//! - R3  The end of WAL is the first record that is not whole and right; what follows is never looked at.
//! - R4  Between two records the order to leave is obeyed; within one it is not.
//!
//! C counterpart: `PerformWalRecovery`, `ApplyWalRecord` of xlogrecovery.c.

use std::cell::Cell;

use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, Severity, ereport, fatal, pg_error};
use wal::{BrokenRecord, DecodedRecord, PageSource, ReadError, ReadErrorKind};

use crate::progress::{Progress, Usage};
use crate::rmgr::{self, Table};
use crate::source::{self, Source};
use crate::target::Stop;
use crate::{consistency, pause, state};

/// The reader of recovery.
pub(crate) type Reader = wal::Reader<Source>;

/// What the loop found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Records replayed; with none, the positions are invalid.
    pub(crate) records: u64,
    /// Start of the last one.
    pub(crate) last_record: Lsn,
    /// End of the last one: where WAL ends.
    pub(crate) end: Lsn,
    /// What comes there: a record that was begun and whose rest was never written. C: `abortedRecPtr`.
    pub(crate) broken: Option<BrokenRecord>,
    /// The target that was reached, if there was one. C: `reachedRecoveryTarget`.
    pub(crate) stop: Option<Stop>,
}

/// What is asked, and told, around each record.
pub(crate) trait Around {
    /// Before a record is touched (R4): to leave, to wait, or to stop here. C: `HandleStartupProcInterrupts`,
    /// `recoveryPausesHere`, `recoveryStopsBefore`, `recoveryApplyDelay`.
    ///
    /// # Errors
    /// Ends the recovery.
    fn before(&mut self, record: &DecodedRecord<'_>) -> Result<Option<Stop>>;

    /// It is about to be replayed. C: the first part of `ApplyWalRecord`.
    ///
    /// # Errors
    /// Ends the recovery.
    fn begin(&mut self, record: &DecodedRecord<'_>) -> Result<()>;

    /// It has been replayed; whether to stop. C: the rest of `ApplyWalRecord`, `recoveryStopsAfter`.
    ///
    /// # Errors
    /// Ends the recovery.
    fn after(&mut self, record: &DecodedRecord<'_>) -> Result<Option<Stop>>;

    /// At the target, before the resource managers finish. C: the `switch` over `recoveryTargetAction`.
    ///
    /// # Errors
    /// Ends the recovery.
    fn at_target(&mut self) -> Result<()>;
}

/// What became of one record.
enum Step {
    /// It was replayed, perhaps as the last one.
    Replayed { start: Lsn, end: Lsn, stop: Option<Stop> },
    /// It was not.
    StopBefore(Stop),
}

/// Replays from `redo` on `timeline` to the end of WAL, or to where `around` says. C: `PerformWalRecovery`.
///
/// # Errors
/// FATAL from a resource manager, with the record as context; what `around` returns.
pub(crate) fn replay(
    reader: &mut Reader,
    redo: Lsn,
    timeline: TimeLineId,
    table: &Table,
    around: &mut dyn Around,
) -> Result<Replayed> {
    begin_read(reader, redo, timeline);
    let mut replayed = Replayed::default();
    let usage = Usage::begin();
    let mut progress = Progress::begin();
    let mut began = false;
    loop {
        let step = read_with(reader, Purpose::Replay, &mut |record| {
            if !std::mem::replace(&mut began, true) {
                state::with(|state| state.in_redo.set(true));
                table.start_all();
                ereport!(Log, "redo starts at {}", record.lsn);
            }
            if !wal::restore::standby_mode() {
                progress.report("redo in progress", || format!("current LSN: {}", record.lsn));
            }
            one_record(table, record, around)
        })?;
        let Some(step) = step else { break };
        let stop = match step {
            Step::StopBefore(stop) => Some(stop),
            Step::Replayed { start, end, stop } => {
                replayed.records += 1;
                (replayed.last_record, replayed.end) = (start, end);
                crate::xlog::verify_overwrite(reader.overwritten_record())?;
                stop
            }
        };
        if stop.is_some() {
            replayed.stop = stop;
            around.at_target()?;
            break;
        }
    }
    // Archive recovery goes on behind the last whole record, on a timeline of its own.
    replayed.broken = reader.broken_record().filter(|_| !state::archive_requested());
    if began {
        table.clean_all();
        // The last record read, also if it was not replayed.
        let last = reader.last_record().unwrap_or(replayed.last_record);
        ereport!(Log, "redo done at {last} system usage: {}", usage.show());
        state::with(|state| state.in_redo.set(false));
    }
    Ok(replayed)
}

fn one_record(table: &Table, record: &DecodedRecord<'_>, around: &mut dyn Around) -> Result<Step> {
    if let Some(stop) = around.before(record)? {
        ereport!(Log, "{}", stop.message());
        return Ok(Step::StopBefore(stop));
    }
    around.begin(record)?;
    apply(table, record)?;
    let stop = around.after(record)?;
    if let Some(stop) = &stop {
        ereport!(Log, "{}", stop.message());
    }
    Ok(Step::Replayed { start: record.lsn, end: record.end_lsn, stop })
}

/// Goes to a record on a timeline. C: `XLogPrefetcherBeginRead`.
pub(crate) fn begin_read(reader: &mut Reader, lsn: Lsn, timeline: TimeLineId) {
    state::with(|state| state.replay_timeline.set(timeline));
    reader.begin_read(lsn);
}

/// What a record is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To find out where to begin: without it there is no recovery at all. C: `fetching_ckpt`.
    Checkpoint,
    /// To see that what redo begins with is there; whether the history allows it is looked at next.
    Beginning,
    /// To be replayed: none is the end of WAL.
    Replay,
    /// It has been there before.
    Again,
}

impl Purpose {
    /// Of the report if there is none.
    pub(crate) fn severity(self) -> Severity {
        if self == Purpose::Again { Severity::Panic } else { Severity::Log }
    }
}

/// Hands the next record to `take`; `None` at the end of WAL, whose reason is logged. C: `ReadRecord`.
///
/// # Errors
/// What `take` returns; PANIC if what must be there is not; what the archive or a wait returns.
pub(crate) fn read_with<R>(
    reader: &mut Reader,
    purpose: Purpose,
    take: &mut dyn FnMut(&DecodedRecord<'_>) -> Result<R>,
) -> Result<Option<R>> {
    let random = reader.last_record().is_none();
    reader.source_mut().prepare(random, purpose);
    loop {
        match reader.next() {
            Ok(Some(record)) => return take(&record).map(Some),
            Ok(None) => return Ok(None),
            Err(reason) => {
                if !try_again(reader, &reason, purpose)? {
                    return Ok(None);
                }
            }
        }
    }
}

/// There is no valid record here. True if there may be one elsewhere. C: the second half of `ReadRecord`.
fn try_again(reader: &mut Reader, reason: &ReadError, purpose: Purpose) -> Result<bool> {
    if reason.kind == ReadErrorKind::Fatal {
        let unexplained = || fatal!(SqlState::INTERNAL_ERROR, "WAL cannot be read");
        return Err(reader.source_mut().take_error().unwrap_or_else(unexplained));
    }
    let end = reader.position();
    if !reason.message.is_empty() {
        if purpose == Purpose::Again {
            return Err(pg_error!(Panic, SqlState::DATA_CORRUPTED, "{}", reason.message));
        }
        let severity = reader.source_mut().severity_at(purpose.severity(), end);
        source::report_at(severity, &reason.message);
    }
    reader.source_mut().set_failed();
    if state::archive_requested() && !state::in_archive() && purpose != Purpose::Checkpoint {
        consistency::switch_into_archive_recovery(end)?;
        reader.source_mut().restart();
        return Ok(true);
    }
    Ok(wal::restore::standby_mode() && !pause::promotion_triggered()?)
}

thread_local! {
    /// Start of the record that is being replayed.
    static REPLAYING: Cell<Lsn> = const { Cell::new(Lsn::INVALID) };
}

/// What a report made in the middle of a record says about it: it is read again, so that the many records about
/// which there is nothing to report cost nothing. C: `rm_redo_error_callback`.
pub(crate) fn context() -> Option<String> {
    let at = REPLAYING.get();
    if at == Lsn::INVALID {
        return None;
    }
    let (size, timeline) = (wal::geometry().segment_size(), state::with(|state| state.file_timeline.get()));
    let mut reader = wal::Reader::new(wal::segment::wal_dir(), size, timeline);
    reader.begin_read(at);
    let record = reader.next().ok()??;
    Some(context_of(&record))
}

fn context_of(record: &DecodedRecord<'_>) -> String {
    format!("WAL redo at {} for {}", record.lsn, rmgr::describe(record))
}

/// C: `ApplyWalRecord`.
fn apply(table: &Table, record: &DecodedRecord<'_>) -> Result<()> {
    REPLAYING.set(record.lsn);
    let outcome = match table.get(record.rmgr) {
        Some(rmgr) => (rmgr.redo)(record),
        None => Err(unknown_rmgr(record)),
    };
    REPLAYING.set(Lsn::INVALID);
    outcome.map_err(|error| with_context(error, record))
}

/// An error during replay ends the process, which nobody would restart for a statement's sake.
fn with_context(error: PgError, record: &DecodedRecord<'_>) -> PgError {
    let severity = error.severity.max(Severity::Fatal);
    error.with_severity(severity).context(context_of(record))
}

/// C: `RmgrNotFound`.
fn unknown_rmgr(record: &DecodedRecord<'_>) -> PgError {
    match wal::RmgrId::from_u8(record.rmgr) {
        Some(id) => fatal!(
            SqlState::FEATURE_NOT_SUPPORTED,
            "WAL records of resource manager \"{id}\" cannot be replayed yet"
        ),
        None => fatal!(
            SqlState::INTERNAL_ERROR,
            "resource manager with ID {} not registered",
            record.rmgr
        )
        .hint("Include the extension module that implements this resource manager in shared_preload_libraries."),
    }
}

#[cfg(test)]
mod tests;
