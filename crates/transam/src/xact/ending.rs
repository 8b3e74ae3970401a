//! Commit and abort of the whole transaction.

use std::sync::atomic::Ordering::SeqCst;

use common::{Lsn, SqlState, Xid};
use elog::{Result, error, pg_error};
use replication::syncrep;
use shmem::proc::try_my_proc;

use super::participants::{self, CommitExtras};
use super::record::{self, Completion};
use super::{
    abort_subtransaction, commit_subtransaction, end_of_own_modules, in_transaction, nest_level, with,
};
use crate::procarray::DELAY_CHECKPOINT_START;
use crate::{clog, procarray, status};

/// Commits the transaction and all levels that are still open. After an error nothing is committed, and the caller
/// must call [`abort_transaction`]. Does nothing without a transaction. C: `CommitTransaction`.
///
/// # Errors
/// Of a participant's `pre_commit`.
pub fn commit_transaction() -> Result<()> {
    if !in_transaction() {
        return Ok(());
    }
    while nest_level() > 1 {
        commit_subtransaction()?;
    }
    participants::try_each(|p| p.pre_commit, |before| before())?;
    let extras = participants::extras(true, 1);
    let latest = record_commit(&extras)?;
    procarray::end_transaction(latest);
    crate::multixact::at_end();
    participants::each(|p| p.at_commit, |after| after());
    finish();
    Ok(())
}

/// Aborts all that is open; cannot fail. Does nothing if there is nothing, so that calling it twice is harmless.
/// C: `AbortTransaction`, `CleanupTransaction`.
pub fn abort_transaction() {
    if !in_transaction() {
        return;
    }
    while nest_level() > 1 {
        abort_subtransaction();
    }
    participants::each(|p| p.at_abort_start, |leave| leave());
    crate::twophase::at_abort();
    let latest = record_abort();
    procarray::end_transaction(latest);
    crate::multixact::at_end();
    participants::each(|p| p.at_abort, |after| after());
    finish();
}

/// The session is between transactions.
pub(crate) fn finish() {
    end_of_own_modules();
    if crate::top_xid_if_any().is_valid() {
        elog::session::update(|session| session.xid = 0);
    }
    with(|state| {
        state.levels.clear();
        state.command = 0;
        state.command_used = false;
        state.force_sync = false;
        state.unreported.clear();
        state.publish();
    });
}

/// The ids of the top level's committed children; they stay there. C: `xactGetCommittedChildren`.
pub(crate) fn top_children() -> Vec<Xid> {
    with(|state| state.levels.first().map_or_else(Vec::new, |top| top.children.clone()))
}

/// The top level's id and its committed children.
fn top_ids() -> (Xid, Vec<Xid>) {
    with(|state| match state.levels.first_mut() {
        Some(top) => (top.xid.xid(), std::mem::take(&mut top.children)),
        None => (Xid::INVALID, Vec::new()),
    })
}

/// Writes the commit record and what follows from it; returns the newest of the transaction's ids, or invalid if
/// it had none. C: `RecordTransactionCommit`.
fn record_commit(extras: &CommitExtras) -> Result<Xid> {
    let (xid, children) = top_ids();
    let force_sync = with(|state| state.force_sync);
    let flush_asked = guc::vars::SYNCHRONOUS_COMMIT.get();
    let has_files = !extras.dropped_files.is_empty();
    let standby_info = guc::vars::WAL_LEVEL.get() != "minimal";
    if !xid.is_valid() {
        if has_files {
            // Recovery would not know of the commit, and keep the files for ever.
            return Err(error!(
                SqlState::INTERNAL_ERROR,
                "cannot commit a transaction that deleted files but has no xid"
            ));
        }
        if !extras.invalidations.is_empty() && standby_info {
            record::write_invalidations(extras);
        }
        let written = wal::xact_last_rec_end();
        if written == Lsn::INVALID {
            return Ok(Xid::INVALID);
        }
        // Changes without an id (pruning, sequences logged ahead): nobody waits for them unless asked to.
        if force_sync {
            wal::flush(written);
        } else {
            wal::set_async_commit_lsn(written);
        }
        note_end(written);
        return Ok(Xid::INVALID);
    }
    let without_invals;
    let extras = if standby_info || extras.invalidations.is_empty() {
        extras
    } else {
        without_invals = CommitExtras { invalidations: Vec::new(), ..extras.clone() };
        &without_invals
    };
    let completion = Completion {
        force_sync,
        apply_feedback: flush_asked == "remote_apply",
        logical: guc::vars::WAL_LEVEL.get() == "logical",
    };
    // An id alone, without changes in WAL, need not survive a crash.
    let wrote = wal::xact_last_rec_end() != Lsn::INVALID;
    elog::start_critical_section();
    delay_checkpoints(true);
    let end = record::write(true, xid, activity::now(), &children, extras, completion);
    // X1. The local part of the remote_* levels. Files must not go before the commit is safe.
    let committed = if wrote && flush_asked != "off" || force_sync || has_files {
        wal::flush(end);
        clog::commit_tree(xid, &children)
    } else {
        wal::set_async_commit_lsn(end);
        clog::async_commit_tree(xid, &children, end)
    };
    if let Err(e) = committed {
        elog::abort(e);
    }
    delay_checkpoints(false);
    elog::end_critical_section();
    // X6. Nobody waits for an id that was only assigned: temporary tables, say.
    if wrote {
        syncrep::wait_for_lsn(end, true);
    }
    note_end(end);
    Ok(status::latest_xid(xid, &children))
}

fn note_end(end: Lsn) {
    with(|state| state.last_commit_end = end);
    wal::set_xact_last_rec_end(Lsn::INVALID);
}

/// X2.
pub(crate) fn delay_checkpoints(on: bool) {
    if let Some(proc) = try_my_proc() {
        if on {
            proc.delay_checkpoint.fetch_or(DELAY_CHECKPOINT_START, SeqCst);
        } else {
            proc.delay_checkpoint.fetch_and(!DELAY_CHECKPOINT_START, SeqCst);
        }
    }
}

/// C: `RecordTransactionAbort` of a top transaction.
fn record_abort() -> Xid {
    let (xid, children) = top_ids();
    if !xid.is_valid() {
        wal::set_xact_last_rec_end(Lsn::INVALID);
        return Xid::INVALID;
    }
    let end = log_abort(xid, &children, 1);
    // Nobody waits for it, but it should not take for ever either.
    wal::set_async_commit_lsn(end);
    wal::set_xact_last_rec_end(Lsn::INVALID);
    status::latest_xid(xid, &children)
}

/// Abort record and commit log, of the transaction or of one level; returns the record's end.
pub(super) fn log_abort(xid: Xid, children: &[Xid], level: u32) -> Lsn {
    if status::try_did_commit(xid).unwrap_or(false) {
        elog::abort(pg_error!(
            Panic,
            SqlState::INTERNAL_ERROR,
            "cannot abort transaction {xid}, it was already committed"
        ));
    }
    let extras = participants::extras(false, level);
    let logical = guc::vars::WAL_LEVEL.get() == "logical";
    let completion = Completion { logical, ..Completion::default() };
    elog::start_critical_section();
    let end = record::write(false, xid, activity::now(), children, &extras, completion);
    if let Err(e) = clog::abort_tree(xid, children) {
        elog::abort(e);
    }
    elog::end_critical_section();
    end
}
