//! The records of this crate, replayed.
//!
//! Called by the startup process for each record of the resource managers `Transaction`, `CLOG`, `MultiXact` and
//! `Standby`. A commit or abort sets bits in the commit log and removes files; where sessions may read meanwhile, they
//! are told through [`crate::standby`].
//!
//! C counterpart: `xact_redo`, `clog_redo`, `multixact_redo`, `standby_redo`.

mod completion;

use std::cell::{Cell, RefCell};

use common::{ForkNumber, Oid, RelFileNode, SqlState, Xid};
use elog::{PgError, Result, error, pg_error};
use wal::DecodedRecord;

use crate::procarray::running::{RunningXacts, XLOG_RUNNING_XACTS};
use crate::xact::record::{self, Parsed};
use crate::{clog, log, multixact, standby, status, twophase, varsup};

pub use completion::{Completion, completion};

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
/// Of writing the commit log, removing files; XX001 for a broken record; 53200 for too many prepared transactions.
pub fn xact_redo(record: &DecodedRecord<'_>) -> Result<()> {
    // The info byte without XLR_* flags, but with HAS_INFO.
    let info = record.info & !wal::INFO_MASK;
    match info & record::OPERATION_MASK {
        record::XLOG_COMMIT => redo_end(record.xid, &record::parse(info, record.main_data)?, true, record),
        record::XLOG_ABORT => redo_end(record.xid, &record::parse(info, record.main_data)?, false, record),
        record::XLOG_COMMIT_PREPARED | record::XLOG_ABORT_PREPARED => {
            let parsed = record::parse(info, record.main_data)?;
            let commit = info & record::OPERATION_MASK == record::XLOG_COMMIT_PREPARED;
            let xid = parsed.two_phase_xid.unwrap_or(record.xid);
            redo_end(xid, &parsed, commit, record)?;
            twophase::redo_remove(xid, false);
            Ok(())
        }
        record::XLOG_ASSIGNMENT => assignment(record),
        // Of a command in the middle of its transaction: for logical decoding.
        record::XLOG_INVALIDATIONS => Ok(()),
        record::XLOG_PREPARE => {
            let xid = twophase::redo_add(record.main_data, record.lsn, record.end_lsn)?;
            standby::note_prepared(xid);
            Ok(())
        }
        operation => Err(unknown("xact_redo", operation)),
    }
}

/// Only standbys need to know.
fn assignment(record: &DecodedRecord<'_>) -> Result<()> {
    let mut words = log::read_words(record.main_data);
    let (Some(top), Some(count)) = (words.next(), words.next()) else { return Err(broken("assignment")) };
    let children: Vec<Xid> = words.take(count as usize).map(Xid).collect();
    if children.len() < count as usize {
        Err(broken("assignment"))
    } else {
        standby::apply_assignment(Xid(top), &children)
    }
}

/// C: `xact_redo_commit`, `xact_redo_abort`.
fn redo_end(xid: Xid, parsed: &Parsed, commit: bool, record: &DecodedRecord<'_>) -> Result<()> {
    // Ids that wrote nothing else show up here first.
    let newest = status::latest_xid(xid, &parsed.children);
    varsup::advance_past(newest);
    standby::record_assigned(newest)?;
    LAST_COMMIT.set(parsed.time);
    match (commit, standby::is_enabled()) {
        // No LSN: pages go to disk only after the record, whose position is known to be on disk.
        (true, false) => clog::commit_tree(xid, &parsed.children)?,
        // Sessions must not set hints before the minimum recovery point is past this record.
        (true, true) => clog::async_commit_tree(xid, &parsed.children, record.end_lsn)?,
        (false, _) => clog::abort_tree(xid, &parsed.children)?,
    }
    if standby::is_enabled() {
        let messages = if commit { &parsed.invalidations[..] } else { &[] };
        standby::xact_ended(xid, &parsed.children, messages, parsed.access_exclusive_locks);
    }
    // Before files go, the record must not be forgotten: the minimum recovery point moves past it. So it does where the
    // primary insisted on having it on disk: it had made or removed files itself.
    if parsed.force_sync || !parsed.files.is_empty() {
        wal::flush(record.end_lsn);
    }
    if parsed.apply_feedback {
        wal::recovery::request_reply();
    }
    if parsed.files.is_empty() { Ok(()) } else { drop_files(&parsed.files) }
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
    if let Some(hooks) = standby::hooks().filter(|_| standby::is_enabled()) {
        (hooks.files_gone)(nodes);
    }
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

/// Replays the standby's records: running transactions are remembered in any case, and where sessions may come they,
/// locks and invalidations are made known. C: `standby_redo`.
///
/// # Errors
/// XX001 for a broken record; PANIC for an unknown one; of the lock table.
pub fn standby_redo(record: &DecodedRecord<'_>) -> Result<()> {
    match record.operation() {
        XLOG_RUNNING_XACTS => {
            let running =
                RunningXacts::from_bytes(record.main_data).ok_or_else(|| broken("running transactions"))?;
            if standby::is_enabled() {
                standby::apply_running(&running)?;
            }
            RUNNING.set(Some(running));
            Ok(())
        }
        XLOG_STANDBY_LOCK => redo_locks(record),
        record::XLOG_STANDBY_INVALIDATIONS => redo_invalidations(record),
        operation => Err(unknown("standby_redo", operation)),
    }
}

/// C: `XLOG_STANDBY_LOCK`, written by the lock manager.
const XLOG_STANDBY_LOCK: u8 = 0x00;

fn redo_locks(record: &DecodedRecord<'_>) -> Result<()> {
    let Some(hooks) = standby::hooks().filter(|_| standby::is_enabled()) else { return Ok(()) };
    let words: Vec<u32> = log::read_words(record.main_data).collect();
    let Some((count, locks)) = words.split_first() else { return Err(broken("lock")) };
    let locks = locks.get(..*count as usize * 3).ok_or_else(|| broken("lock"))?;
    for lock in locks.chunks_exact(3) {
        let xid = Xid(lock[0]);
        // It may have ended between the look at the locks and the record.
        if xid.is_valid() && !status::try_did_commit(xid)? && !status::try_did_abort(xid)? {
            (hooks.acquire_lock)(xid, Oid(lock[1]), Oid(lock[2]))?;
        }
    }
    Ok(())
}

/// Of a transaction without an id: there is no commit record to carry them.
fn redo_invalidations(record: &DecodedRecord<'_>) -> Result<()> {
    let Some(hooks) = standby::hooks().filter(|_| standby::is_enabled()) else { return Ok(()) };
    /// Database, tablespace, whether the relation cache's file goes, number of messages.
    const HEADER: usize = 16;
    let header: Vec<u32> = log::read_words(record.main_data).take(HEADER / 4).collect();
    let count = *header.get(3).ok_or_else(|| broken("invalidation"))? as usize;
    let (messages, _) = record.main_data[HEADER..].as_chunks::<16>();
    (hooks.invalidate)(messages.get(..count).ok_or_else(|| broken("invalidation"))?);
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
