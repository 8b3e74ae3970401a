//! This crate from the server's start to its end: memory, recovery, checkpoints.
//!
//! ```text
//!   reserve      postmaster, before it makes the segment
//!   startup      startup process, before redo: counters as the checkpoint has them
//!   (redo)       counters move on, pages are written
//!   trim         startup process, after redo and before the end-of-recovery checkpoint
//!   checkpoint   checkpointer, at each checkpoint, with the data pages
//!   after_checkpoint
//! ```
//!
//! C counterpart: the calls in `StartupXLOG`, `CheckPointGuts`, `CreateCheckPoint`, `BootStrapXLOG`.

use common::pg_control::CheckPoint;
use common::{BLCKSZ, FullXid, MultiXactId, Oid, Xid};
use elog::Result;
use shmem::Reservation;

use crate::standby::{self, StandbyState};
use crate::{clog, multixact, procarray, subtrans, twophase, varsup};

/// What recovery starts with: from the checkpoint in pg_control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartupState {
    /// C: `nextXid`.
    pub next_xid: FullXid,
    /// C: `nextOid`.
    pub next_oid: Oid,
    /// C: `nextMulti`.
    pub next_multi: MultiXactId,
    /// C: `nextMultiOffset`.
    pub next_multi_offset: u32,
    /// C: `oldestXid`.
    pub oldest_xid: Xid,
    /// C: `oldestXidDB`.
    pub oldest_xid_db: Oid,
    /// C: `oldestMulti`.
    pub oldest_multi: MultiXactId,
    /// C: `oldestMultiDB`.
    pub oldest_multi_db: Oid,
}

impl StartupState {
    /// From a checkpoint record, or pg_control's copy of it.
    pub fn of_checkpoint(checkpoint: &CheckPoint) -> StartupState {
        StartupState {
            next_xid: FullXid(checkpoint.next_full_xid),
            next_oid: checkpoint.next_oid,
            next_multi: MultiXactId(checkpoint.next_multi),
            next_multi_offset: checkpoint.next_multi_offset,
            oldest_xid: checkpoint.oldest_xid,
            oldest_xid_db: checkpoint.oldest_xid_db,
            oldest_multi: MultiXactId(checkpoint.oldest_multi),
            oldest_multi_db: checkpoint.oldest_multi_db,
        }
    }

    /// The counters as they are now, for a checkpoint record. `shutdown`: object ids logged ahead are not skipped.
    /// C: in `CreateCheckPoint`.
    pub fn now(shutdown: bool) -> StartupState {
        let (next_xid, next_oid, oldest_xid, oldest_xid_db) = varsup::checkpoint_values(shutdown);
        let (next_multi, next_multi_offset, oldest_multi, oldest_multi_db) = multixact::checkpoint_values();
        StartupState {
            next_xid,
            next_oid,
            next_multi,
            next_multi_offset,
            oldest_xid,
            oldest_xid_db,
            oldest_multi,
            oldest_multi_db,
        }
    }

    /// Writes them into a checkpoint record to be.
    pub fn store(&self, checkpoint: &mut CheckPoint) {
        checkpoint.next_full_xid = self.next_xid.0;
        checkpoint.next_oid = self.next_oid;
        checkpoint.next_multi = self.next_multi.0;
        checkpoint.next_multi_offset = self.next_multi_offset;
        checkpoint.oldest_xid = self.oldest_xid;
        checkpoint.oldest_xid_db = self.oldest_xid_db;
        checkpoint.oldest_multi = self.oldest_multi.0;
        checkpoint.oldest_multi_db = self.oldest_multi_db;
    }
}

/// Reserves all shared memory of this crate, for this many PGPROCs (`Limits::max_procs`).
pub fn reserve(r: &mut Reservation, procs: usize) {
    varsup::reserve(r);
    procarray::reserve(r, procs);
    clog::reserve(r);
    subtrans::reserve(r);
    multixact::reserve(r, procs);
    let prepared = usize::try_from(guc::vars::MAX_PREPARED_TRANSACTIONS.get()).unwrap_or_default();
    twophase::reserve(r, prepared);
}

/// Before redo: counters and limits as the checkpoint has them. During redo (`storage::smgr::set_in_redo`) files of the
/// logs that do not exist read as zeros. C: the part of `StartupXLOG` before redo.
///
/// # Errors
/// None so far.
pub fn startup(state: &StartupState) -> Result<()> {
    varsup::set_next_full(state.next_xid);
    varsup::redo_next_oid(state.next_oid, true);
    multixact::set_next(state.next_multi, state.next_multi_offset);
    varsup::advance_oldest_clog_xid(state.oldest_xid);
    varsup::set_xid_limit(state.oldest_xid, state.oldest_xid_db);
    multixact::set_limit(state.oldest_multi, state.oldest_multi_db, true);
    clog::startup(state.next_xid.xid());
    multixact::startup();
    procarray::set_latest_completed(state.next_xid);
    Ok(())
}

/// A checkpoint record is replayed. `shutdown`: nothing ran, so that the counters are exactly so.
/// C: the transaction part of `xlog_redo`.
pub fn redo_checkpoint(state: &StartupState, shutdown: bool) {
    if shutdown {
        varsup::set_next_full(state.next_xid);
        varsup::redo_next_oid(state.next_oid, true);
        multixact::set_next(state.next_multi, state.next_multi_offset);
    } else {
        varsup::advance_next_full(state.next_xid);
        multixact::advance_next(state.next_multi, state.next_multi_offset);
    }
    multixact::advance_oldest(state.oldest_multi, state.oldest_multi_db);
    let (oldest, _) = varsup::oldest_xid();
    if shutdown || oldest.precedes(state.oldest_xid) {
        varsup::set_xid_limit(state.oldest_xid, state.oldest_xid_db);
    }
}

/// After redo, or after a clean start without one: ready for transactions.
/// C: the part of `StartupXLOG` after redo: `StartupSUBTRANS`, `TrimCLOG`, `TrimMultiXact`.
///
/// # Errors
/// Of reading and writing the logs.
pub fn trim() -> Result<()> {
    // First: it moves the next id past the subtransactions of prepared transactions.
    let (oldest_active, _) = twophase::prescan()?;
    let next = varsup::read_next_full_xid();
    procarray::set_latest_completed(next);
    clog::startup(next.xid());
    if standby::state() == StandbyState::Disabled {
        // Only prepared transactions still run.
        subtrans::startup(oldest_active, next.xid())?;
    }
    clog::trim(next.xid())?;
    multixact::trim()
}

/// All that happened before the checkpoint's redo position gets to disk. C: the SLRU part of `CheckPointGuts`.
///
/// # Errors
/// Of writing; a failed fsync is a PANIC unless `data_sync_retry`.
pub fn checkpoint() -> Result<()> {
    clog::checkpoint()?;
    subtrans::checkpoint()?;
    multixact::checkpoint()
}

/// After a checkpoint, or a restartpoint of a standby with sessions: removes what is left of old subtransactions.
/// C: `TruncateSUBTRANS` in `CreateCheckPoint`, `CreateRestartPoint`.
///
/// # Errors
/// Of reading the directory.
pub fn after_checkpoint() -> Result<()> {
    // Without sessions nobody keeps the log during recovery.
    let is_standby = wal::recovery_state() == wal::RecoveryState::Archive && guc::vars::HOT_STANDBY.get();
    if wal::in_recovery() && !is_standby {
        return Ok(());
    }
    subtrans::truncate(procarray::oldest_considered_running())
}

/// At shutdown, after the last checkpoint, which has written everything: nothing is left to do.
///
/// # Errors
/// None.
pub fn shutdown() -> Result<()> {
    Ok(())
}

/// Directories and first files of the logs in a new data directory: path and content. C: `BootStrapCLOG`,
/// `BootStrapSUBTRANS`, `BootStrapMultiXact`.
pub fn bootstrap_files() -> [(&'static str, Vec<u8>); 4] {
    ["pg_xact/0000", "pg_subtrans/0000", "pg_multixact/offsets/0000", "pg_multixact/members/0000"]
        .map(|path| (path, vec![0; BLCKSZ]))
}
