//! The records of this crate, replayed.
//!
//! Called by the startup process for each record of the resource managers `Transaction`, `CLOG`, `MultiXact` and
//! `Standby`. There are no sessions during recovery, so that nothing here tells anybody: a commit or abort sets bits
//! in the commit log and removes files.
//!
//! C counterpart: `xact_redo`, `clog_redo`, `multixact_redo`, `standby_redo`.

use std::cell::{Cell, RefCell};

use common::{ForkNumber, RelFileNode, SqlState, Xid};
use elog::{PgError, Result, error, pg_error};
use wal::DecodedRecord;

use crate::procarray::running::{RunningXacts, XLOG_RUNNING_XACTS};
use crate::xact::record::{self, Parsed};
use crate::{clog, log, multixact, status, varsup};

thread_local! {
    /// What the last XLOG_RUNNING_XACTS said.
    static RUNNING: RefCell<Option<RunningXacts>> = const { RefCell::new(None) };
    static LAST_COMMIT: Cell<i64> = const { Cell::new(0) };
}

/// When the newest replayed commit or abort happened, microseconds since 2000-01-01; 0 for none: what recovery logs as
/// "last completed transaction was at log time". C: `XLogCtl->recoveryLastXTime`.
pub fn last_completion_time() -> i64 {
    LAST_COMMIT.get()
}

/// Replays commits, aborts and assignments. C: `xact_redo`.
///
/// # Errors
/// Of writing the commit log, removing files; XX001 for a broken record; 0A000 for prepared transactions.
pub fn xact_redo(record: &DecodedRecord<'_>) -> Result<()> {
    // The info byte without XLR_* flags, but with HAS_INFO.
    let info = record.info & !wal::INFO_MASK;
    match info & record::OPERATION_MASK {
        record::XLOG_COMMIT => redo_end(record.xid, &record::parse(info, record.main_data)?, true, record),
        record::XLOG_ABORT => redo_end(record.xid, &record::parse(info, record.main_data)?, false, record),
        record::XLOG_COMMIT_PREPARED | record::XLOG_ABORT_PREPARED => {
            let parsed = record::parse(info, record.main_data)?;
            let commit = info & record::OPERATION_MASK == record::XLOG_COMMIT_PREPARED;
            redo_end(parsed.two_phase_xid.unwrap_or(record.xid), &parsed, commit, record)
        }
        // Only standbys need to know.
        record::XLOG_ASSIGNMENT | record::XLOG_INVALIDATIONS => Ok(()),
        record::XLOG_PREPARE => {
            Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "recovery of prepared transactions is not supported"))
        }
        operation => Err(unknown("xact_redo", operation)),
    }
}

/// C: `xact_redo_commit`, `xact_redo_abort`.
fn redo_end(xid: Xid, parsed: &Parsed, commit: bool, record: &DecodedRecord<'_>) -> Result<()> {
    // Ids that wrote nothing else show up here first.
    varsup::advance_past(status::latest_xid(xid, &parsed.children));
    LAST_COMMIT.set(parsed.time);
    if commit {
        // No LSN: pages go to disk only after the record, whose position is known to be on disk.
        clog::commit_tree(xid, &parsed.children)?;
    } else {
        clog::abort_tree(xid, &parsed.children)?;
    }
    if parsed.files.is_empty() {
        return Ok(());
    }
    // Before files go, the record must not be forgotten: the minimum recovery point moves past it.
    wal::flush(record.end_lsn);
    drop_files(&parsed.files)
}

/// C: `DropRelationFiles`.
fn drop_files(nodes: &[RelFileNode]) -> Result<()> {
    // Pages that earlier records missed are missed no more.
    for node in nodes {
        for fork in ForkNumber::ALL {
            storage::redo::forget_relation(*node, fork);
        }
    }
    storage::drop_relations_all_buffers(nodes)?;
    storage::smgr::unlink(nodes, true);
    Ok(())
}

/// Replays new pages and truncations of the commit log. C: `clog_redo`.
///
/// # Errors
/// Of writing; XX001 for a broken record.
pub fn clog_redo(record: &DecodedRecord<'_>) -> Result<()> {
    let mut words = log::read_words(record.main_data);
    let mut word = || words.next().ok_or_else(|| broken("commit log"));
    match record.operation() {
        clog::XLOG_ZERO_PAGE => clog::redo_zero_page(word()?),
        clog::XLOG_TRUNCATE => clog::redo_truncate(word()?, Xid(word()?)),
        operation => Err(unknown("clog_redo", operation)),
    }
}

/// Replays multixacts. C: `multixact_redo`.
///
/// # Errors
/// Of writing; XX001 for a broken record.
pub fn multixact_redo(record: &DecodedRecord<'_>) -> Result<()> {
    let page = || log::read_words(record.main_data).next().ok_or_else(|| broken("multixact"));
    match record.operation() {
        multixact::XLOG_ZERO_OFFSET_PAGE => multixact::redo_zero_offset_page(page()?),
        multixact::XLOG_ZERO_MEMBER_PAGE => multixact::redo_zero_member_page(page()?),
        multixact::XLOG_CREATE => multixact::redo_create(record.main_data),
        multixact::XLOG_TRUNCATE => multixact::redo_truncate_record(record.main_data),
        operation => Err(unknown("multixact_redo", operation)),
    }
}

/// Replays the standby's records: running transactions are remembered, locks and invalidations are of no use without
/// sessions. C: `standby_redo`.
///
/// # Errors
/// XX001 for a broken record.
pub fn standby_redo(record: &DecodedRecord<'_>) -> Result<()> {
    if record.operation() == XLOG_RUNNING_XACTS {
        let running =
            RunningXacts::from_bytes(record.main_data).ok_or_else(|| broken("running transactions"))?;
        RUNNING.set(Some(running));
    }
    Ok(())
}

/// Oldest id that ran according to the last record of running transactions. C: `oldestRunningXid`.
pub fn last_known_oldest_running() -> Option<Xid> {
    RUNNING.with_borrow(|running| running.as_ref().map(|r| r.oldest_running))
}

fn broken(what: &str) -> PgError {
    error!(SqlState::DATA_CORRUPTED, "{what} record is shorter than its contents")
}

fn unknown(routine: &'static str, operation: u8) -> PgError {
    pg_error!(Panic, SqlState::INTERNAL_ERROR, "{routine}: unknown op code {operation}").routine(routine)
}

#[cfg(test)]
mod tests;
