//! The process array of a standby: what replay does to it, and whose snapshots are in replay's way.
//!
//! Everything here changes the list of known ids under ProcArrayLock, exclusive (K2), and counts an end as it is counted on
//! a primary (A2, A3): so a snapshot of a standby can be used again under the same rule.
//!
//! C counterpart: the second half of procarray.c, `GetConflictingVirtualXIDs`, `CancelVirtualTransaction`,
//! `CancelDBBackends`.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;

use common::{Oid, Xid};
use elog::{Result, ereport};
use shmem::procsignal::{self, ProcSignalReason};
use shmem::{PgProc, all_procs};

use super::queries::vxid_of;
use super::{CONTROL, Control, KNOWN, PROCNOS, advance_latest_completed, count_completion};
use crate::{status, varsup};

impl Control {
    /// Whether the id is known to run on the primary.
    pub(super) fn is_known(&self, xid: Xid) -> bool {
        self.known.contains(KNOWN.get(), xid)
    }

    /// The oldest id that is known to run.
    pub(super) fn oldest_known(&self) -> Option<Xid> {
        self.known.oldest(KNOWN.get())
    }

    /// Known ids older than `before`.
    pub(super) fn known_before(&self, before: Xid) -> impl Iterator<Item = Xid> + use<> {
        self.known.running(KNOWN.get(), before)
    }
}

/// Whether a subtransaction with this id may be missing (K3).
pub(super) fn may_be_missing(control: &Control, xid: Xid) -> bool {
    let last = control.known.last_overflowed;
    last.is_valid() && xid.precedes_or_equals(last)
}

/// All ids of `from..=to` have been seen. C: `KnownAssignedXidsAdd`.
pub(crate) fn add_known(from: Xid, to: Xid) -> Result<()> {
    CONTROL.get().exclusive().known.add(KNOWN.get(), from, to)
}

/// How many ids are known to run.
pub(crate) fn known_count() -> usize {
    CONTROL.get().shared().known.len()
}

/// The snapshot that recovery begins with: these run, oldest first; `overflowed`: the newest id for which a
/// subtransaction may be missing. C: the part of `ProcArrayApplyRecoveryInfo` under the lock.
///
/// # Errors
/// XX000 if there is no room.
pub(crate) fn set_known(running: &[Xid], latest_completed: Xid, overflowed: Option<Xid>) -> Result<()> {
    let mut control = CONTROL.get().exclusive();
    control.known.clear();
    for xid in running {
        control.known.add(KNOWN.get(), *xid, *xid)?;
    }
    if let Some(last) = overflowed {
        control.known.last_overflowed = last;
    }
    if latest_completed.is_valid() {
        advance_latest_completed(&mut control, latest_completed);
    }
    count_completion();
    Ok(())
}

/// Subtransactions that from now on are found through pg_subtrans (K3); `newest` of their family.
/// C: the second half of `ProcArrayApplyXidAssignment`.
pub(crate) fn move_to_subtrans(children: &[Xid], newest: Xid) {
    let mut control = CONTROL.get().exclusive();
    control.known.remove_tree(KNOWN.get(), Xid::INVALID, children);
    let last = control.known.last_overflowed;
    if !last.is_valid() || last.precedes(newest) {
        control.known.last_overflowed = newest;
    }
}

/// A transaction has ended; the commit log says how. `newest` of its ids. C: `ExpireTreeKnownAssignedTransactionIds`.
pub(crate) fn expire_tree(xid: Xid, children: &[Xid], newest: Xid) {
    let mut control = CONTROL.get().exclusive();
    control.known.remove_tree(KNOWN.get(), xid, children);
    advance_latest_completed(&mut control, newest);
    count_completion();
}

/// Nothing before `oldest_running` runs any more: what has left no record of its end was lost in a crash of the
/// primary. C: `ExpireOldKnownAssignedTransactionIds`.
pub(crate) fn expire_old(oldest_running: Xid, is_prepared: impl Fn(Xid) -> bool) {
    let mut control = CONTROL.get().exclusive();
    advance_latest_completed(&mut control, oldest_running.previous());
    count_completion();
    let last = control.known.last_overflowed;
    if last.is_valid() && last.precedes(oldest_running) {
        control.known.last_overflowed = Xid::INVALID;
    }
    control.known.remove_preceding(KNOWN.get(), oldest_running, is_prepared);
}

/// Recovery is over, and with it whatever still ran on the primary. C: `ExpireAllKnownAssignedTransactionIds`.
pub(crate) fn expire_all() {
    let next = varsup::read_next_xid();
    let mut control = CONTROL.get().exclusive();
    control.known.clear();
    control.known.last_overflowed = Xid::INVALID;
    advance_latest_completed(&mut control, next.previous());
    count_completion();
}

/// Those of `ids` that have not ended, sorted by age, each once. C: in `ProcArrayApplyRecoveryInfo`.
pub(crate) fn still_running(ids: impl Iterator<Item = Xid>) -> Result<Vec<Xid>> {
    let mut running = Vec::new();
    for xid in ids {
        // The primary took its list before it waited for the place in WAL.
        if !status::try_did_commit(xid)? && !status::try_did_abort(xid)? {
            running.push(xid);
        }
    }
    running.sort_unstable_by(|a, b| (a.0.wrapping_sub(b.0).cast_signed()).cmp(&0));
    let before = running.len();
    running.dedup();
    if running.len() < before {
        ereport!(Debug1, "found duplicated transactions for KnownAssignedXids insertion");
    }
    Ok(running)
}

fn each_session(db: Oid, mut look: impl FnMut(&'static PgProc)) {
    let control = CONTROL.get().shared();
    // A4: whoever uses an old snapshot again has either shown its xmin by now, or will see that something has ended.
    fence(SeqCst);
    for at in 0..control.count as usize {
        let Some(proc) = all_procs().get(PROCNOS.get()[at].load(Relaxed) as usize) else { continue };
        let here = !db.is_valid() || proc.database_id.load(Relaxed) == db.0;
        if here && proc.pid.load(Relaxed) != 0 {
            look(proc);
        }
    }
}

/// Virtual ids of the sessions in a database (invalid: in all) whose snapshot may still see row versions that `limit`
/// deleted; with an invalid `limit`, of all transactions. C: `GetConflictingVirtualXIDs`.
pub fn conflicting_vxids(limit: Xid, db: Oid) -> Vec<(i32, u32)> {
    let mut found = Vec::new();
    each_session(db, |proc| {
        let xmin = Xid(proc.xmin.load(SeqCst));
        // Without a snapshot it can only take one that is new enough.
        let sees = !limit.is_valid() || xmin.is_valid() && xmin.precedes_or_equals(limit);
        let vxid = vxid_of(proc);
        if sees && vxid.1 != 0 {
            found.push(vxid);
        }
    });
    found
}

/// Pokes the session that runs this virtual transaction; its pid, 0 if it is gone. `is_conflict`: it is in replay's way
/// and must give up, as opposed to look for a deadlock. C: `SignalVirtualTransaction`.
pub fn signal_vxid(vxid: (i32, u32), reason: ProcSignalReason, is_conflict: bool) -> i32 {
    let mut pid = 0;
    each_session(Oid::INVALID, |proc| {
        if pid == 0 && vxid_of(proc) == vxid {
            proc.recovery_conflict_pending.store(is_conflict, Relaxed);
            pid = proc.pid.load(Relaxed);
            procsignal::send(pid, reason);
        }
    });
    pid
}

/// Pokes all sessions of a database, or all if it is invalid. C: `CancelDBBackends`.
pub fn signal_database(db: Oid, reason: ProcSignalReason, is_conflict: bool) {
    each_session(db, |proc| {
        proc.recovery_conflict_pending.store(is_conflict, Relaxed);
        procsignal::send(proc.pid.load(Relaxed), reason);
    });
}
