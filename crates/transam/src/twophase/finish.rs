//! COMMIT PREPARED and ROLLBACK PREPARED.
//!
//! C counterpart: `FinishPreparedTransaction`, `RecordTransactionCommitPrepared`, `RecordTransactionAbortPrepared`.

use std::cell::Cell;

use common::{Oid, RelFileNode, SqlState, Xid};
use elog::{PgError, Result, error, pg_error};
use replication::syncrep;

use super::prepare::set_mine;
use super::state::State;
use super::table::{self, Entry};
use super::{Prepared, callbacks, files};
use crate::xact::record::{self, OfPrepared};
use crate::xact::{self, CommitExtras, participants};
use crate::{clog, procarray, status};

/// What the end of a prepared transaction does in crates above this one. Nothing here may fail.
#[derive(Clone, Copy)]
pub struct Effects {
    /// Removes files of relations. C: `DropRelationFiles`.
    pub drop_files: fn(&[RelFileNode]),
    /// Sends invalidation messages; `true`: the relation cache's init file goes first. C: `SendSharedInvalidMessages`.
    pub invalidate: fn(&[[u8; 16]], bool),
    /// Counts a commit or a rollback. C: `AtEOXact_PgStat`.
    pub count: fn(commit: bool),
}

thread_local! {
    static EFFECTS: Cell<Option<Effects>> = const { Cell::new(None) };
}

/// Tells who carries them out, for this process and those forked from it.
pub fn set_effects(effects: Effects) {
    EFFECTS.set(Some(effects));
}

/// Commits, or rolls back, a prepared transaction. To be called outside a transaction block, in a transaction of its own.
/// `user` is the current one. C: `FinishPreparedTransaction`.
///
/// # Errors
/// 42704, 55000, 42501, 0A000 for the identifier; of reading the state.
pub fn finish_prepared(gid: &str, commit: bool, user: Oid, is_superuser: bool) -> Result<()> {
    let at = table::lock_for_finish(gid, user, is_superuser)?;
    set_mine(Some(at));
    let entry = table::get(at);
    let state = read_state(at, &entry)?;
    let latest = status::latest_xid(entry.xid, &state.children);
    let prepared = Prepared { xid: entry.xid, procno: table::proc_of(at).pgprocno };
    record_end(&state, commit)?;
    // From here on nothing may fail, but a crash is no harm: recovery does the same.
    procarray::remove_prepared(prepared.procno, latest);
    // Not to be found any more: should something fail after all, nobody must try again.
    table::change(at, |entry| entry.valid = false);
    if let Some(effects) = EFFECTS.get() {
        let gone = if commit { &state.commit_files } else { &state.abort_files };
        if !gone.is_empty() {
            (effects.drop_files)(gone);
        }
        if commit && (!state.invalidations.is_empty() || state.relcache_init_file) {
            (effects.invalidate)(&state.invalidations, state.relcache_init_file);
        }
    }
    let on_disk = {
        // No checkpoint may write the file again after we have removed it.
        let mut table = table::lock();
        callbacks::end(prepared, &state.records, commit);
        let on_disk = table::get(at).on_disk;
        table.remove(at);
        on_disk
    };
    set_mine(None);
    if let Some(effects) = EFFECTS.get() {
        (effects.count)(commit);
    }
    if on_disk {
        files::remove(entry.xid, true);
    }
    Ok(())
}

/// From the file, or from WAL; a checkpoint may move it from here to there at any time.
fn read_state(at: u32, entry: &Entry) -> Result<State> {
    let bytes = if entry.on_disk {
        files::read(entry.xid)?
    } else {
        match files::read_from_wal(entry.start_lsn) {
            Err(_) if table::get(at).on_disk => files::read(entry.xid)?,
            other => other?,
        }
    };
    let state = State::from_bytes(&bytes).filter(|state| state.xid == entry.xid);
    state.ok_or_else(|| corrupted(entry.xid, entry.on_disk))
}

pub(super) fn corrupted(xid: Xid, on_disk: bool) -> PgError {
    let place = if on_disk { "state file" } else { "state in memory" };
    error!(SqlState::DATA_CORRUPTED, "corrupted two-phase {place} for transaction {xid}")
}

/// The record, flushed, and the commit log. C: `RecordTransactionCommitPrepared`, `RecordTransactionAbortPrepared`.
fn record_end(state: &State, commit: bool) -> Result<()> {
    if !commit && status::try_did_commit(state.xid)? {
        elog::abort(pg_error!(
            Panic,
            SqlState::INTERNAL_ERROR,
            "cannot abort transaction {}, it was already committed",
            state.xid
        ));
    }
    let mut extras = CommitExtras {
        // Nobody knows whether it holds any.
        access_exclusive_locks: true,
        relcache_init_file: state.relcache_init_file,
        database: participants::extras(true, 1).database,
        ..CommitExtras::default()
    };
    if commit {
        extras.dropped_files.clone_from(&state.commit_files);
        extras.invalidations.clone_from(&state.invalidations);
    } else {
        extras.dropped_files.clone_from(&state.abort_files);
    }
    let stats = if commit { &state.commit_stats } else { &state.abort_stats };
    let of = OfPrepared { xid: state.xid, gid: &state.gid, dropped_stats: stats };
    elog::start_critical_section();
    if commit {
        xact::delay_checkpoints(true);
    }
    let end = record::write_prepared(commit, activity::now(), &state.children, &extras, of);
    // Both ends: the file is removed soon (2P5).
    wal::flush(end);
    let noted = if commit {
        clog::commit_tree(state.xid, &state.children)
    } else {
        clog::abort_tree(state.xid, &state.children)
    };
    if let Err(e) = noted {
        elog::abort(e);
    }
    if commit {
        xact::delay_checkpoints(false);
    }
    elog::end_critical_section();
    // X6. Others still see it as running.
    syncrep::wait_for_lsn(end, commit);
    Ok(())
}
