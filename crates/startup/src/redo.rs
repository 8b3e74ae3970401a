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

use common::{Lsn, SqlState};
use elog::{PgError, Result, Severity, ereport, fatal, pg_error};
use wal::{BrokenRecord, DecodedRecord, ReadErrorKind, Reader};

use crate::progress::{Progress, Usage};
use crate::rmgr::{self, Table};

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
}

/// What is asked between two records.
pub(crate) struct Around<'a> {
    /// R4. C: `HandleStartupProcInterrupts`.
    pub(crate) between: &'a mut dyn FnMut() -> Result<()>,
    /// Before a record is replayed: its transaction id, the process title.
    pub(crate) before: &'a mut dyn FnMut(&DecodedRecord<'_>),
}

/// Replays from `redo` to the end of WAL. C: `PerformWalRecovery`.
///
/// # Errors
/// FATAL from a resource manager, with the record as context; what `between` returns.
pub(crate) fn replay(
    reader: &mut Reader,
    redo: Lsn,
    table: &Table,
    around: &mut Around<'_>,
) -> Result<Replayed> {
    reader.begin_read(redo);
    let mut replayed = Replayed::default();
    let usage = Usage::begin();
    let mut progress = Progress::begin();
    while let Some(record) = read_record(reader, Severity::Log) {
        if replayed.records == 0 {
            table.start_all();
            ereport!(Log, "redo starts at {}", record.lsn);
        }
        progress.report("redo in progress", || format!("current LSN: {}", record.lsn));
        (around.between)()?;
        (around.before)(&record);
        apply(table, &record)?;
        replayed.records += 1;
        replayed.last_record = record.lsn;
        replayed.end = record.end_lsn;
        crate::xlog::verify_overwrite(reader.overwritten_record())?;
    }
    replayed.broken = reader.broken_record();
    if replayed.records > 0 {
        table.clean_all();
        ereport!(Log, "redo done at {} system usage: {}", replayed.last_record, usage.show());
    }
    Ok(replayed)
}

/// The next record; at the end of WAL the reason is logged. C: `ReadRecord`.
pub(crate) fn read_record(reader: &mut Reader, severity: Severity) -> Option<DecodedRecord<'_>> {
    match reader.next() {
        Ok(record) => record,
        Err(reason) => {
            if reason.kind == ReadErrorKind::CannotOpen {
                // WAL that is there must not be taken for its end.
                elog::abort(pg_error!(Panic, SqlState::IO_ERROR, "{}", reason.message));
            }
            // That the next segment was never made is the usual end of WAL.
            let severity = if reason.kind == ReadErrorKind::NoSegment { Severity::Debug2 } else { severity };
            if elog::wants(severity) {
                let report = pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{}", reason.message);
                report.with_severity(severity).report();
            }
            None
        }
    }
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
    let size = wal::geometry().segment_size();
    let mut reader = Reader::new(wal::segment::wal_dir(), size, wal::timeline());
    reader.begin_read(at);
    let record = reader.next().ok()??;
    Some(context_of(&rmgr::TABLE, &record))
}

fn context_of(table: &Table, record: &DecodedRecord<'_>) -> String {
    format!("WAL redo at {} for {}", record.lsn, rmgr::describe(table, record))
}

/// C: `ApplyWalRecord`.
fn apply(table: &Table, record: &DecodedRecord<'_>) -> Result<()> {
    REPLAYING.set(record.lsn);
    let outcome = match table.get(record.rmgr) {
        Some(rmgr) => (rmgr.redo)(record),
        None => Err(unknown_rmgr(record)),
    };
    REPLAYING.set(Lsn::INVALID);
    outcome.map_err(|error| with_context(error, table, record))
}

/// An error during replay ends the process, which nobody would restart for a statement's sake.
fn with_context(error: PgError, table: &Table, record: &DecodedRecord<'_>) -> PgError {
    let severity = error.severity.max(Severity::Fatal);
    error.with_severity(severity).context(context_of(table, record))
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
