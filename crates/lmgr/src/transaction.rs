//! What the beginning and end of a transaction mean for its locks.
//!
//! C counterpart: the lock manager's calls in xact.c and resowner.c (`ProcReleaseLocks`, `ResourceOwnerRelease`).

use std::cell::Cell;

use common::Xid;
use elog::Result;
use transam::xact::{self, Participant, Phase};

use crate::local::{self, SESSION};
use crate::{fastpath, locks, twophase};

thread_local! {
    static ATTACHED: Cell<bool> = const { Cell::new(false) };
    /// How many levels have a transaction id: always the outermost ones, so the next id is for the level after.
    static LEVELS_WITH_XID: Cell<u32> = const { Cell::new(0) };
    /// The transaction has told standbys of a lock: its end must tell them too.
    static LOGGED_A_LOCK: Cell<bool> = const { Cell::new(false) };
}

/// Prepares this process for locks: transactions from now on release theirs at their ends, and the session its own
/// when the process exits. To be called once, after `shmem::init_process`.
pub fn attach() {
    if ATTACHED.replace(true) {
        return;
    }
    xact::register(Participant {
        at_start: Some(at_start),
        at_commit: Some(at_commit),
        at_abort: Some(at_abort),
        at_prepare: Some(twophase::at_prepare),
        hand_over: Some(twophase::hand_over),
        at_sub_start: Some(local::set_level),
        at_sub_commit: Some(at_sub_commit),
        at_sub_abort: Some(at_sub_abort),
        commit_record: Some(|extras, _, _| extras.access_exclusive_locks |= LOGGED_A_LOCK.get()),
        ..Participant::new("locks", Phase::Locks)
    });
    xact::set_xid_lock_hook(locks::xact_lock_insert);
    miscinit::exit::on_shmem_exit(|_| {
        if shmem::proc::my_proc_number().is_some() {
            fastpath::vxid_cleanup();
            local::release_all_of_session();
        }
    });
}

/// Whether [`attach`] was called: the process has transactions. The startup process has none.
pub(crate) fn is_attached() -> bool {
    ATTACHED.get()
}

/// C: `VirtualXactLockTableInsert` in `StartTransaction`.
pub(crate) fn at_start() {
    local::set_level(1);
    LEVELS_WITH_XID.set(0);
    LOGGED_A_LOCK.set(false);
    let (_, lxid) = xact::vxid();
    if lxid != 0 {
        fastpath::vxid_insert(lxid);
    }
}

fn at_commit() {
    end(false);
}

fn at_abort() {
    end(true);
}

/// Locks of the session stay; but after an error, only those that users took: a command that failed half-way leaves
/// nothing locked. C: `ProcReleaseLocks`.
pub(crate) fn end(is_abort: bool) {
    fastpath::vxid_cleanup();
    local::release_owned(|tag, owner| owner != SESSION || (is_abort && !tag.is_users()));
    local::set_level(0);
    LEVELS_WITH_XID.set(0);
}

pub(crate) fn at_sub_commit(level: u32) {
    // Who waits for it goes on to wait for its parent. C: `XactLockTableDelete` in `CommitSubTransaction`.
    let xid = xact::current_xid_if_any();
    if xid.is_valid() {
        locks::xact_lock_delete(xid);
    }
    local::reassign(level);
    leave(level);
}

pub(crate) fn at_sub_abort(level: u32) {
    local::release_owned(|_, owner| owner >= level);
    leave(level);
}

fn leave(level: u32) {
    local::set_level(level - 1);
    LEVELS_WITH_XID.set(LEVELS_WITH_XID.get().min(level - 1));
}

/// The level that the id just given out belongs to.
pub(crate) fn level_of_new_xid() -> u32 {
    let level = LEVELS_WITH_XID.get() + 1;
    LEVELS_WITH_XID.set(level);
    level
}

/// Standbys now wait for the end of this transaction. C: `MyXactFlags` in `LogAccessExclusiveLock`.
pub(crate) fn note_logged_lock() {
    LOGGED_A_LOCK.set(true);
}

/// The transaction's id if the lock it is about to take must be logged. C: `LogAccessExclusiveLockPrepare`.
pub(crate) fn xid_for_standby() -> Result<Option<Xid>> {
    if !ATTACHED.get()
        || guc::vars::WAL_LEVEL.get() == "minimal"
        || !xact::in_transaction()
        || wal::in_recovery()
    {
        return Ok(None);
    }
    xact::current_xid().map(Some)
}
