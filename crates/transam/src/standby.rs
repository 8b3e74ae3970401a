//! A standby's picture of the primary's transactions, kept by the startup process while it replays.
//!
//! Sessions can read during recovery as soon as this process knows which transactions ran on the primary at some moment
//! and has followed them since:
//!
//! ```text
//!   Disabled          no sessions during this recovery: after a crash, or with hot_standby = off
//!   Initialized       recovery has begun; nothing is known yet
//!   SnapshotPending   a list of running transactions came, but subtransactions were missing in it
//!   SnapshotReady     the list is complete: sessions may come
//! ```
//!
//! The list comes with the record XLOG_RUNNING_XACTS (each checkpoint and, every 15 s, the background writer of the
//! primary writes one), or from a shutdown checkpoint: then nothing ran but prepared transactions. A list that is not
//! complete becomes so when all that ran then is over.
//!
//! What must be told to locks, caches and files lies in crates above this one; they set [`Hooks`].
//!
//! C counterpart: `standbyState`, `ProcArrayApplyRecoveryInfo`, `RecordKnownAssignedTransactionIds`,
//! `ProcArrayApplyXidAssignment` of procarray.c; the replay part of standby.c.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use common::pg_control::CheckPoint;
use common::{FullXid, Oid, RelFileNode, Xid};
use elog::{Result, ereport};

use crate::procarray::recovery;
use crate::procarray::running::RunningXacts;
use crate::{status, subtrans, twophase, varsup};

/// See the module's page. C: `HotStandbyState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StandbyState {
    /// C: `STANDBY_DISABLED`.
    Disabled,
    /// C: `STANDBY_INITIALIZED`.
    Initialized,
    /// C: `STANDBY_SNAPSHOT_PENDING`.
    SnapshotPending,
    /// C: `STANDBY_SNAPSHOT_READY`.
    SnapshotReady,
}

/// What the crates above do when replay tells of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// A transaction holds AccessExclusive on a relation of a database. C: `StandbyAcquireAccessExclusiveLock`.
    pub acquire_lock: fn(Xid, Oid, Oid) -> Result<()>,
    /// A transaction and its subtransactions have ended. C: `StandbyReleaseLockTree`.
    pub release_tree: fn(Xid, &[Xid]),
    /// Nothing older runs any more. C: `StandbyReleaseOldLocks`.
    pub release_old: fn(Xid),
    /// Recovery is over. C: `StandbyReleaseAllLocks` and the rest of `ShutdownRecoveryTransactionEnvironment`.
    pub finish: fn(),
    /// Invalidation messages of a commit. C: `ProcessCommittedInvalidationMessages`.
    pub invalidate: fn(&[[u8; 16]]),
    /// Files that are going away: sessions have them open. C: `CacheInvalidateSmgr`.
    pub files_gone: fn(&[RelFileNode]),
}

thread_local! {
    static STATE: Cell<StandbyState> = const { Cell::new(StandbyState::Disabled) };
    /// The newest id seen; subtrans has its page. C: `latestObservedXid`.
    static LATEST_OBSERVED: Cell<Xid> = const { Cell::new(Xid::INVALID) };
    /// Pending until nothing as old as this runs. C: `standbySnapshotPendingXmin`.
    static PENDING_XMIN: Cell<Xid> = const { Cell::new(Xid::INVALID) };
    /// Prepared transactions: they have no process and may stay behind all others.
    static PREPARED: RefCell<BTreeSet<u32>> = const { RefCell::new(BTreeSet::new()) };
    static HOOKS: Cell<Option<Hooks>> = const { Cell::new(None) };
}

/// How far the startup process is; always `Disabled` in other processes. C: `standbyState`.
#[inline]
pub fn state() -> StandbyState {
    STATE.get()
}

/// Whether sessions may be in replay's way. Only the startup process may ask. C: `InHotStandby`.
#[inline]
pub fn in_hot_standby() -> bool {
    STATE.get() >= StandbyState::SnapshotPending
}

/// Whether ids are followed at all.
pub(crate) fn is_enabled() -> bool {
    STATE.get() >= StandbyState::Initialized
}

/// For the startup process, before [`initialize`].
pub fn set_hooks(hooks: Hooks) {
    HOOKS.set(Some(hooks));
}

pub(crate) fn hooks() -> Option<Hooks> {
    HOOKS.get()
}

/// Recovery with sessions begins: before the first record is replayed, after [`crate::startup`]. `was_shutdown`: the
/// checkpoint that recovery begins with is one of a shutdown, so that nothing runs but what is `prepared` (without
/// subtransactions, which are found through pg_subtrans).
/// C: the hot standby part of `StartupXLOG`, `ProcArrayInitRecovery`.
///
/// # Errors
/// Of making pages of pg_subtrans.
pub fn initialize(checkpoint: &CheckPoint, was_shutdown: bool, prepared: &[Xid]) -> Result<()> {
    ereport!(Debug1, "initializing for hot standby");
    STATE.set(StandbyState::Initialized);
    let next = varsup::read_next_xid();
    remember_prepared(prepared);
    let oldest = if was_shutdown { oldest_of(prepared, next) } else { checkpoint.oldest_active_xid };
    // A checkpoint of a primary with wal_level = minimal does not tell; the server refuses to go on from it.
    let oldest = if oldest.is_normal() { oldest } else { next };
    LATEST_OBSERVED.set(next.previous());
    subtrans::startup(oldest, next)?;
    if was_shutdown {
        twophase::standby_recover()?;
        apply_running(&nothing_but(prepared, FullXid(checkpoint.next_full_xid).xid()))?;
    }
    Ok(())
}

/// A shutdown checkpoint is replayed: what has left no record of its end is gone. C: in `xlog_redo`.
///
/// # Errors
/// As [`initialize`].
pub fn shutdown_checkpoint_replayed(checkpoint: &CheckPoint, prepared: &[Xid]) -> Result<()> {
    if !is_enabled() {
        return Ok(());
    }
    remember_prepared(prepared);
    twophase::standby_recover()?;
    apply_running(&nothing_but(prepared, FullXid(checkpoint.next_full_xid).xid()))
}

fn remember_prepared(prepared: &[Xid]) {
    PREPARED.with_borrow_mut(|set| *set = prepared.iter().map(|xid| xid.0).collect());
}

fn oldest_of(ids: &[Xid], next: Xid) -> Xid {
    ids.iter().fold(next, |oldest, xid| if xid.precedes(oldest) { *xid } else { oldest })
}

fn nothing_but(prepared: &[Xid], next: Xid) -> RunningXacts {
    RunningXacts {
        tops: prepared.to_vec(),
        // There may be more than the list of known ids has room for.
        subs: Vec::new(),
        overflowed: false,
        subs_in_subtrans: !prepared.is_empty(),
        next,
        oldest_running: oldest_of(prepared, next),
        latest_completed: next.previous(),
    }
}

/// A transaction was prepared: it runs on without its session. Called by the replay of its record.
pub(crate) fn note_prepared(xid: Xid) {
    if is_enabled() {
        PREPARED.with_borrow_mut(|set| set.insert(xid.0));
    }
}

/// C: `StandbyTransactionIdIsPrepared`.
pub fn is_prepared(xid: Xid) -> bool {
    PREPARED.with_borrow(|set| set.contains(&xid.0))
}

/// Replays XLOG_RUNNING_XACTS. C: `ProcArrayApplyRecoveryInfo`.
pub(crate) fn apply_running(running: &RunningXacts) -> Result<()> {
    recovery::expire_old(running.oldest_running, is_prepared);
    varsup::advance_past(running.next.previous());
    if let Some(hooks) = HOOKS.get() {
        (hooks.release_old)(running.oldest_running);
    }
    match STATE.get() {
        StandbyState::Disabled | StandbyState::SnapshotReady => return Ok(()),
        StandbyState::SnapshotPending if running.overflowed && !running.tops.is_empty() => {
            if PENDING_XMIN.get().precedes(running.oldest_running) {
                become_ready();
            } else {
                still_pending(running.oldest_running);
            }
            return Ok(());
        }
        // This list is better than the one we had.
        StandbyState::SnapshotPending | StandbyState::Initialized => {}
    }
    extend_subtrans(running.next.previous())?;
    let ids = running.tops.iter().chain(&running.subs).copied();
    let ids = recovery::still_running(ids)?;
    // Which subtransactions are missing is not known: any up to here.
    let newest = LATEST_OBSERVED.get();
    let overflowed = (running.overflowed || running.subs_in_subtrans).then_some(newest);
    recovery::set_known(&ids, running.latest_completed, overflowed)?;
    if running.overflowed {
        STATE.set(StandbyState::SnapshotPending);
        PENDING_XMIN.set(newest);
        still_pending(running.oldest_running);
    } else {
        become_ready();
    }
    Ok(())
}

fn become_ready() {
    STATE.set(StandbyState::SnapshotReady);
    PENDING_XMIN.set(Xid::INVALID);
    ereport!(Debug1, "recovery snapshots are now enabled");
}

fn still_pending(oldest: Xid) {
    ereport!(
        Debug1,
        "recovery snapshot waiting for non-overflowed snapshot or until oldest active xid on standby is at least {} (now {oldest})",
        PENDING_XMIN.get()
    );
}

/// Pages of pg_subtrans for all ids up to this one, which counts as seen from now on.
fn extend_subtrans(newest: Xid) -> Result<()> {
    while LATEST_OBSERVED.get().precedes(newest) {
        let xid = LATEST_OBSERVED.get().next();
        subtrans::extend(xid)?;
        LATEST_OBSERVED.set(xid);
    }
    Ok(())
}

/// An id was seen in WAL: it runs, and so do those before it that were not seen yet. Does nothing while `Disabled`.
/// C: `RecordKnownAssignedTransactionIds`.
///
/// # Errors
/// Of making pages of pg_subtrans; XX000 "too many KnownAssignedXids".
pub fn record_assigned(xid: Xid) -> Result<()> {
    let before = LATEST_OBSERVED.get();
    if !is_enabled() || !xid.is_normal() || !xid.follows(before) {
        return Ok(());
    }
    extend_subtrans(xid)?;
    if in_hot_standby() {
        recovery::add_known(before.next(), xid)?;
    }
    Ok(())
}

/// Replays XLOG_XACT_ASSIGNMENT: these subtransactions are found through pg_subtrans from now on.
/// C: `ProcArrayApplyXidAssignment`.
pub(crate) fn apply_assignment(top: Xid, children: &[Xid]) -> Result<()> {
    if !is_enabled() {
        return Ok(());
    }
    let newest = status::latest_xid(top, children);
    record_assigned(newest)?;
    for child in children {
        // Not its parent but its top transaction: all that is asked is who stands for it.
        subtrans::set_parent(*child, top)?;
    }
    if in_hot_standby() {
        recovery::move_to_subtrans(children, newest);
    }
    Ok(())
}

/// A transaction has ended and the commit log knows: after that, its ids leave the list, then caches are told, then
/// its locks go, in the order of a primary (X3). C: in `xact_redo_commit`, `xact_redo_abort`.
pub(crate) fn xact_ended(xid: Xid, children: &[Xid], messages: &[[u8; 16]], had_locks: bool) {
    PREPARED.with_borrow_mut(|set| set.remove(&xid.0));
    recovery::expire_tree(xid, children, status::latest_xid(xid, children));
    if let Some(hooks) = HOOKS.get() {
        if !messages.is_empty() {
            (hooks.invalidate)(messages);
        }
        if had_locks {
            (hooks.release_tree)(xid, children);
        }
    }
}

/// Recovery is over: what still runs is as good as aborted. After recovery has been declared over to all, and prepared
/// transactions have their places. Harmless if nothing had begun. C: `ShutdownRecoveryTransactionEnvironment`.
pub fn finish() {
    if STATE.replace(StandbyState::Disabled) == StandbyState::Disabled {
        return;
    }
    recovery::expire_all();
    if let Some(hooks) = HOOKS.get() {
        (hooks.finish)();
    }
}

/// Whatever still ran on the primary is over; [`finish`] does it. C: `ExpireAllKnownAssignedTransactionIds`.
pub fn expire_all() {
    recovery::expire_all();
}

/// How many of the primary's ids are known to run. C: `numKnownAssignedXids`.
pub fn known_count() -> usize {
    recovery::known_count()
}

#[cfg(test)]
mod tests;
