//! Prepared transactions during recovery, and at checkpoints.
//!
//! What the startup process calls, in this order:
//!
//! ```text
//!   restore_from_disk    before redo: entries of the files
//!   (redo)               PREPARE adds an entry, COMMIT PREPARED and ROLLBACK PREPARED remove one
//!   prescan              ids that are in use, for the counters and pg_subtrans; also for a standby that begins
//!   standby_recover      a standby at a shutdown checkpoint: parents of subtransactions
//!   recover_all          at the end: PGPROCs, process array, locks
//! ```
//!
//! C counterpart: `restoreTwoPhaseData`, `PrepareRedoAdd`, `PrepareRedoRemove`, `PrescanPreparedTransactions`,
//! `StandbyRecoverPreparedTransactions`, `RecoverPreparedTransactions`, `ProcessTwoPhaseBuffer`, `CheckPointTwoPhase`.

use std::path::Path;

use common::{Lsn, SqlState, Xid};
use elog::{PgError, Result, ereport, error, pg_error};

use super::finish::corrupted;
use super::state::State;
use super::table::{self, Entry};
use super::{Prepared, callbacks, files};
use crate::{procarray, standby, status, subtrans, varsup};

/// Before redo: entries of all files in `pg_twophase`. The counters and the commit log are as the checkpoint has them.
/// C: `restoreTwoPhaseData`.
///
/// # Errors
/// Of the files; 53200 if there are more than `max_prepared_transactions`.
pub fn restore_from_disk() -> Result<()> {
    for xid in files::list()? {
        if is_stale(xid, true)? {
            continue;
        }
        let bytes = files::read(xid)?;
        let state = State::from_bytes(&bytes).filter(|state| state.xid == xid);
        let state = state.ok_or_else(|| corrupted(xid, true))?;
        add(&state, Lsn::INVALID, Lsn::INVALID)?;
    }
    Ok(())
}

/// A PREPARE record is replayed; returns its transaction. C: `PrepareRedoAdd`.
///
/// # Errors
/// XX001 for a broken record; 53200.
pub(crate) fn redo_add(data: &[u8], start: Lsn, end: Lsn) -> Result<Xid> {
    let state = State::from_bytes(data).ok_or_else(|| corrupted(Xid::INVALID, false))?;
    let path = files::path_of(state.xid);
    // The checkpoint that recovery began with was made later than we thought: the file tells as much as the record.
    if path.exists() {
        let severity = if wal::recovery::reached_consistency() {
            elog::Severity::Error
        } else {
            elog::Severity::Warning
        };
        let e = pg_error!(
            Warning,
            SqlState::INTERNAL_ERROR,
            "could not recover two-phase state file for transaction {}",
            state.xid
        )
        .detail(format!(
            "Two-phase state file has been found in WAL record {start}, but this transaction has already been restored from disk."
        ))
        .with_severity(severity);
        if severity == elog::Severity::Error {
            return Err(e);
        }
        e.report();
        return Ok(state.xid);
    }
    add(&state, start, end)?;
    Ok(state.xid)
}

fn add(state: &State, start: Lsn, end: Lsn) -> Result<()> {
    let entry = Entry {
        in_redo: true,
        on_disk: start == Lsn::INVALID,
        start_lsn: start,
        end_lsn: end,
        ..Entry::new(state.xid, &state.gid, state.prepared_at, state.owner, state.database)
    };
    if table::capacity() == 0 {
        return Err(none_allowed());
    }
    table::lock().add(entry)?;
    ereport!(Debug2, "added 2PC data in shared memory for transaction {}", state.xid);
    Ok(())
}

fn none_allowed() -> PgError {
    error!(SqlState::OUT_OF_MEMORY, "maximum number of prepared transactions reached")
        .hint("Increase max_prepared_transactions (currently 0).")
}

/// The end of a prepared transaction is replayed, or its state is stale. C: `PrepareRedoRemove`.
pub(crate) fn redo_remove(xid: Xid, file_expected: bool) {
    if table::capacity() == 0 {
        return;
    }
    let mut table = table::lock();
    let Some(at) = table.find(|entry| entry.xid == xid) else { return };
    ereport!(Debug2, "removing 2PC data for transaction {xid}");
    if table::get(at).on_disk {
        files::remove(xid, file_expected);
    }
    table.remove(at);
}

/// Whether nothing is left to recover of it, since it has ended or lies in the future of where recovery ends; what is there
/// goes away. C: the checks of `ProcessTwoPhaseBuffer`.
fn is_stale(xid: Xid, from_disk: bool) -> Result<bool> {
    let is_future = !xid.precedes(varsup::read_next_xid());
    if !is_future && !status::try_did_commit(xid)? && !status::try_did_abort(xid)? {
        return Ok(false);
    }
    let what = if is_future { "future" } else { "stale" };
    let place = if from_disk { "state file" } else { "state from memory" };
    ereport!(Warning, "removing {what} two-phase {place} for transaction {xid}");
    if from_disk {
        files::remove(xid, true);
    }
    redo_remove(xid, false);
    Ok(true)
}

/// The state of an entry, `None` if it is stale. C: `ProcessTwoPhaseBuffer`.
fn load(at: u32) -> Result<Option<State>> {
    let entry = table::get(at);
    if is_stale(entry.xid, entry.on_disk)? {
        return Ok(None);
    }
    let bytes = if entry.on_disk { files::read(entry.xid)? } else { files::read_from_wal(entry.start_lsn)? };
    let state = State::from_bytes(&bytes).filter(|state| state.xid == entry.xid);
    state.map(Some).ok_or_else(|| corrupted(entry.xid, entry.on_disk))
}

fn entries() -> Vec<u32> {
    if table::capacity() == 0 { Vec::new() } else { table::lock().list() }
}

/// The oldest id of a prepared transaction, or the next one if there are none; and the ids of all. The next id moves
/// past their subtransactions. C: `PrescanPreparedTransactions`.
///
/// # Errors
/// Of reading the states.
pub fn prescan() -> Result<(Xid, Vec<Xid>)> {
    let mut oldest = varsup::read_next_xid();
    let mut all = Vec::new();
    for at in entries() {
        let Some(state) = load(at)? else { continue };
        if state.xid.precedes(oldest) {
            oldest = state.xid;
        }
        state.children.iter().for_each(|xid| varsup::advance_past(*xid));
        all.push(state.xid);
    }
    Ok((oldest, all))
}

/// A standby learns that only these run: who asks for a subtransaction finds its parent. With pg_subtrans ready.
/// C: `StandbyRecoverPreparedTransactions`.
///
/// # Errors
/// Of reading the states; of pg_subtrans.
pub(crate) fn standby_recover() -> Result<()> {
    for at in entries() {
        if let Some(state) = load(at)? {
            set_parents(&state)?;
        }
    }
    Ok(())
}

fn set_parents(state: &State) -> Result<()> {
    state.children.iter().try_for_each(|child| subtrans::set_parent(*child, state.xid))
}

/// At the end of recovery, with pg_subtrans and the process array ready: they are in progress again, and hold their locks.
/// C: `RecoverPreparedTransactions`.
///
/// # Errors
/// Of reading the states; 53200 for locks.
pub fn recover_all() -> Result<()> {
    for at in entries() {
        let Some(state) = load(at)? else { continue };
        ereport!(Log, "recovering prepared transaction {} from shared memory", state.xid);
        set_parents(&state)?;
        let prepared = Prepared { xid: state.xid, procno: table::proc_of(at).pgprocno };
        table::fill_proc(at, &table::get(at), None);
        {
            let _table = table::lock();
            table::change(at, |entry| (entry.in_redo, entry.valid) = (false, true));
            procarray::add_prepared(prepared.procno, state.xid, &state.children);
        }
        callbacks::recover(prepared, &state.records, false)?;
        if let Some(hooks) = standby::hooks().filter(|_| standby::is_enabled()) {
            // The startup process held them for the standby's sessions until now.
            (hooks.release_tree)(state.xid, &state.children);
        }
    }
    Ok(())
}

/// Writes the state of those whose record lies before the redo position, after which it may leave WAL (2P2). Called by
/// the checkpointer, at restartpoints too. C: `CheckPointTwoPhase`.
///
/// # Errors
/// Of reading WAL, of writing files.
pub fn checkpoint(redo_horizon: Lsn) -> Result<()> {
    if table::capacity() == 0 {
        return Ok(());
    }
    let mut written = 0;
    {
        let table = table::lock();
        for at in table.list() {
            let entry = table::get(at);
            if (!entry.valid && !entry.in_redo) || entry.on_disk || entry.end_lsn > redo_horizon {
                continue;
            }
            files::write(entry.xid, &files::read_from_wal(entry.start_lsn)?)?;
            table::change(at, |entry| {
                entry.on_disk = true;
                (entry.start_lsn, entry.end_lsn) = (Lsn::INVALID, Lsn::INVALID);
            });
            written += 1;
        }
    }
    // In any case: files may have been removed, too.
    file::fsync_path(Path::new(files::DIR), true)?;
    if guc::vars::LOG_CHECKPOINTS.get() && written > 0 {
        if written == 1 {
            ereport!(Log, "1 two-phase state file was written for a long-running prepared transaction");
        } else {
            ereport!(
                Log,
                "{written} two-phase state files were written for long-running prepared transactions"
            );
        }
    }
    Ok(())
}
