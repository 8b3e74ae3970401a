//! Horizons: which deleted row versions nobody can look at any more.
//!
//! The exact answer is a walk over all processes. Most questions are answered by two bounds per kind of
//! relation: ids before `maybe_needed` are surely dead to everybody, ids from `definitely_needed` on surely
//! are not; only for those between is the walk made, and at most once per snapshot.
//!
//! C counterpart: `ComputeXidHorizons`, `GlobalVisState` of procarray.c.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::fence;

use common::{FullXid, Oid, Xid};
use shmem::all_procs;
use shmem::proc::try_my_proc;

use super::{
    CONTROL, PROC_AFFECTS_ALL_HORIZONS, PROC_IN_LOGICAL_DECODING, PROC_IN_VACUUM, PROCNOS, XIDS, full_near,
    older, older_valid,
};
use crate::{snapshot, varsup};

/// Whose old row versions: decides who can still look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    /// Seen from all databases.
    Shared,
    /// A catalog of this database.
    Catalog,
    /// A user's table of this database.
    Data,
    /// A table of this session.
    Temp,
}

/// The exact horizons. C: `ComputeXidHorizonsResult`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizons {
    latest_completed: FullXid,
    pub(super) oldest_considered_running: Xid,
    shared: Xid,
    catalog: Xid,
    data: Xid,
    temp: Xid,
    /// `shared` without what slots need of catalogs. C: `shared_oldest_nonremovable_raw`.
    shared_without_catalogs: Xid,
    /// What replication slots need of catalogs.
    slot_catalog_xmin: Xid,
}

impl Horizons {
    fn of(&self, kind: RelationKind) -> Xid {
        match kind {
            RelationKind::Shared => self.shared,
            RelationKind::Catalog => self.catalog,
            RelationKind::Data => self.data,
            RelationKind::Temp => self.temp,
        }
    }
}

/// The two bounds. C: `GlobalVisState`.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    definitely_needed: FullXid,
    maybe_needed: FullXid,
}

thread_local! {
    static BOUNDS: RefCell<[Bounds; 4]> = const {
        RefCell::new([Bounds { definitely_needed: FullXid(0), maybe_needed: FullXid(0) }; 4])
    };
    /// The snapshot's xmin at the last exact computation. C: `ComputeXidHorizonsResultLastXmin`.
    static COMPUTED_AT: Cell<Xid> = const { Cell::new(Xid::INVALID) };
}

const KINDS: [RelationKind; 4] =
    [RelationKind::Shared, RelationKind::Catalog, RelationKind::Data, RelationKind::Temp];

/// C: `ComputeXidHorizons`.
pub(super) fn compute() -> Horizons {
    let in_recovery = wal::in_recovery();
    let me = try_my_proc();
    let my_db = me.map_or(0, |proc| proc.database_id.load(Relaxed));
    let control = CONTROL.get().shared();
    // A4: an xmin that is set without the lock.
    fence(SeqCst);
    let initial = control.latest_completed.xid().next();
    let my_xid = me.map_or(Xid::INVALID, |proc| Xid(proc.xid.load(Relaxed)));
    let mut h = Horizons {
        latest_completed: control.latest_completed,
        oldest_considered_running: initial,
        shared: initial,
        catalog: initial,
        data: initial,
        temp: if my_xid.is_valid() { my_xid } else { initial },
        shared_without_catalogs: initial,
        slot_catalog_xmin: Xid::INVALID,
    };
    for at in 0..control.count as usize {
        let proc = &all_procs()[PROCNOS.get()[at].load(Relaxed) as usize];
        let xid = Xid(XIDS.get()[at].load(Relaxed));
        let xmin = older_valid(Xid(proc.xmin.load(SeqCst)), xid);
        if !xmin.is_valid() {
            continue;
        }
        h.oldest_considered_running = older(h.oldest_considered_running, xmin);
        let flags = proc.status_flags.load(Relaxed);
        if flags & (PROC_IN_VACUUM | PROC_IN_LOGICAL_DECODING) != 0 {
            continue;
        }
        h.shared = older(h.shared, xmin);
        let db = proc.database_id.load(Relaxed);
        let same_db = my_db == 0 || db == my_db || db == 0;
        if same_db || flags & PROC_AFFECTS_ALL_HORIZONS != 0 || in_recovery {
            h.data = older(h.data, xmin);
        }
    }
    // What runs on the primary is needed here as well.
    if in_recovery && let Some(oldest) = control.oldest_known() {
        h.oldest_considered_running = older(h.oldest_considered_running, oldest);
        h.shared = older(h.shared, oldest);
        h.data = older(h.data, oldest);
    }
    // After the walk: a walsender publishes its slot's xmin before it withdraws its own.
    let slots = replication::slot::required_xmin();
    drop(control);
    let defer = guc::vars::VACUUM_DEFER_CLEANUP_AGE.get() as u32;
    if defer > 0 && !in_recovery {
        let (oldest, _) = varsup::oldest_xid();
        h.shared = held_back(h.shared, defer, oldest);
        h.data = held_back(h.data, defer, oldest);
    }
    add_slots(&mut h, slots);
    h.oldest_considered_running = older(h.oldest_considered_running, older(h.shared, h.data));
    apply(&h);
    h
}

/// What standbys may look at that are perhaps away just now. C: the part of `ComputeXidHorizons` about `slot_xmin`.
fn add_slots(h: &mut Horizons, (xmin, catalog_xmin): (Xid, Xid)) {
    h.shared = older_valid(h.shared, xmin);
    h.data = older_valid(h.data, xmin);
    h.shared_without_catalogs = h.shared;
    h.slot_catalog_xmin = catalog_xmin;
    h.shared = older_valid(h.shared, catalog_xmin);
    h.catalog = older_valid(h.data, catalog_xmin);
}

/// What a standby asks its primary to keep: for its own sessions and for the slots it has, of all tables and of catalogs
/// (invalid for no more than of all tables). C: `GetReplicationHorizons`.
pub fn replication_horizons() -> (Xid, Xid) {
    let h = compute();
    (h.shared_without_catalogs, h.slot_catalog_xmin)
}

/// `vacuum_defer_cleanup_age` ids earlier, but never before the oldest id there is. C: `TransactionIdRetreatSafely`.
fn held_back(xid: Xid, by: u32, oldest: Xid) -> Xid {
    if xid.0.wrapping_sub(oldest.0) <= by {
        return oldest;
    }
    let back = xid.0.wrapping_sub(by);
    Xid(if back < Xid::FIRST_NORMAL.0 { back.wrapping_sub(Xid::FIRST_NORMAL.0) } else { back })
}

/// C: `GlobalVisUpdateApply`.
fn apply(h: &Horizons) {
    BOUNDS.with_borrow_mut(|bounds| {
        for (b, kind) in bounds.iter_mut().zip(KINDS) {
            b.maybe_needed = full_near(h.latest_completed, h.of(kind));
            b.definitely_needed = b.definitely_needed.max(b.maybe_needed);
        }
    });
    COMPUTED_AT.set(snapshot::recent_xmin());
}

/// What a new snapshot tells for nothing. C: the end of `GetSnapshotData`.
pub(super) fn learn_from_snapshot(xmin: Xid, latest_completed: FullXid, my_xid: Xid) {
    let needed = full_near(latest_completed, xmin);
    let own = if my_xid.is_normal() { full_near(latest_completed, my_xid) } else { latest_completed.next() };
    BOUNDS.with_borrow_mut(|bounds| {
        for (b, kind) in bounds.iter_mut().zip(KINDS) {
            if kind == RelationKind::Temp {
                b.definitely_needed = own;
                b.maybe_needed = b.maybe_needed.max(own);
            } else {
                b.definitely_needed = b.definitely_needed.max(needed);
            }
        }
    });
}

/// Row versions deleted by ids before this one are dead to everybody. Exact, hence a walk: once per VACUUM.
/// C: `GetOldestNonRemovableTransactionId`.
pub fn horizon_for(kind: RelationKind) -> Xid {
    compute().of(kind)
}

/// No transaction that runs, or whose commit some process may still see as running, is older.
/// C: `GetOldestTransactionIdConsideredRunning`.
pub fn oldest_considered_running() -> Xid {
    compute().oldest_considered_running
}

/// Makes the next question that falls between the bounds compute them anew, as after waiting for others.
pub fn replace_last_horizon_xmin() {
    COMPUTED_AT.set(Xid::INVALID);
}

/// Whether old row versions of one kind of relation may go. C: `GlobalVisState` by `GlobalVisTestFor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GlobalVis(RelationKind);

impl GlobalVis {
    /// For a relation of this kind. Take a snapshot first. C: `GlobalVisTestFor`.
    pub fn of(kind: RelationKind) -> GlobalVis {
        GlobalVis(kind)
    }

    /// Whether what this id deleted is dead to everybody. C: `GlobalVisTestIsRemovableXid`.
    #[inline]
    pub fn is_removable(&self, xid: Xid) -> bool {
        let bounds = self.bounds();
        // The ids that are not normal are older than all.
        if !xid.is_normal() {
            return xid.is_valid();
        }
        let full = full_near(bounds.definitely_needed, xid);
        if full < bounds.maybe_needed {
            return true;
        }
        if full >= bounds.definitely_needed || !Self::worth_computing() {
            return false;
        }
        compute();
        full < self.bounds().maybe_needed
    }

    /// C: `GlobalVisTestIsRemovableFullXid`.
    pub fn is_removable_full(&self, full: FullXid) -> bool {
        let bounds = self.bounds();
        if full < bounds.maybe_needed {
            return true;
        }
        if full >= bounds.definitely_needed || !Self::worth_computing() {
            return false;
        }
        compute();
        full < self.bounds().maybe_needed
    }

    /// The lower bound: everything before it may go. C: `GlobalVisTestNonRemovableHorizon`.
    pub fn horizon(&self) -> Xid {
        self.bounds().maybe_needed.xid()
    }

    fn bounds(&self) -> Bounds {
        let known = BOUNDS.with_borrow(|bounds| bounds[self.0 as usize]);
        if known.definitely_needed.0 != 0 {
            return known;
        }
        // Nothing known yet in this process.
        compute();
        BOUNDS.with_borrow(|bounds| bounds[self.0 as usize])
    }

    /// The world has probably not moved since the last computation if our own snapshot is the same.
    /// C: `GlobalVisTestShouldUpdate`.
    fn worth_computing() -> bool {
        let at = COMPUTED_AT.get();
        !at.is_valid() || at != snapshot::recent_xmin()
    }
}

/// The database of this process, invalid without one.
pub(super) fn my_database() -> Oid {
    Oid(try_my_proc().map_or(0, |proc| proc.database_id.load(Relaxed)))
}
