//! Snapshots: what one statement, or one transaction, sees.
//!
//! READ COMMITTED takes one for each statement; REPEATABLE READ takes one for the whole transaction, and so
//! does SERIALIZABLE, which here is no more than that: the anomalies that only predicate locks prevent are
//! not found.
//!
//! A snapshot is worth nothing if what it sees is vacuumed away. So while one is in use, this process shows the
//! oldest id it may look at, its `xmin`:
//!
//! - **N1** `xmin` in PGPROC is set, under the rules of the process array (A4), before a snapshot is handed out.
//! - **N2** It is not younger than the xmin of any snapshot on the active stack or registered, nor of the
//!   catalog snapshot, nor (REPEATABLE READ) of the transaction's.
//! - **N3** It is given up when the last of those is, and at the latest at the transaction's end.
//!
//! When no transaction ended since the last one, a snapshot costs two loads and a reference count.
//!
//! C counterpart: utils/time/snapmgr.c.

mod manager;

use std::cell::Cell;
use std::rc::Rc;

use common::{CommandId, Xid};

pub use manager::{
    ActiveGuard, Registered, active_snapshot, catalog_snapshot, has_active, idle,
    invalidate_catalog_snapshot, latest_snapshot, oldest_registered_xmin, push_active, push_active_at_level,
    register, transaction_snapshot, update_active_command_id,
};
pub(crate) use manager::{at_end, at_sub_abort, at_sub_commit};

use crate::subtrans;

/// Ids in a snapshot from which on they are sorted and searched by halves.
const LARGE: usize = 24;

/// What a snapshot lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// What was committed when it was taken. C: `SNAPSHOT_MVCC`.
    Mvcc,
    /// Committed now, or by ourselves. C: `SNAPSHOT_SELF`.
    SelfVisible,
    /// Everything. C: `SNAPSHOT_ANY`.
    Any,
    /// Like self, and what others are about to do; tells who. C: `SNAPSHOT_DIRTY`.
    Dirty,
    /// Whatever some transaction may still see. C: `SNAPSHOT_NON_VACUUMABLE`.
    NonVacuumable,
}

/// The part that all copies share.
#[derive(Clone, Debug)]
pub struct SnapshotData {
    pub(crate) kind: SnapshotKind,
    pub(crate) xmin: Xid,
    pub(crate) xmax: Xid,
    pub(crate) xip: Vec<Xid>,
    pub(crate) subxip: Vec<Xid>,
    pub(crate) suboverflowed: bool,
    /// All ids, top ids too, are in `subxip`. C: `takenDuringRecovery`.
    pub(crate) taken_during_recovery: bool,
    /// `COMPLETIONS` of the process array when it was taken. C: `snapXactCompletionCount`.
    pub(crate) completions: u64,
}

impl SnapshotData {
    fn empty(kind: SnapshotKind) -> SnapshotData {
        SnapshotData {
            kind,
            xmin: Xid::INVALID,
            xmax: Xid::INVALID,
            xip: Vec::new(),
            subxip: Vec::new(),
            suboverflowed: false,
            taken_during_recovery: false,
            completions: 0,
        }
    }

    /// Large lists are searched by halves.
    pub(crate) fn sort_if_large(&mut self) {
        for list in [&mut self.xip, &mut self.subxip] {
            if list.len() > LARGE {
                list.sort_unstable_by_key(|xid| xid.0);
            }
        }
    }
}

fn contains(list: &[Xid], xid: Xid) -> bool {
    if list.len() > LARGE { list.binary_search_by_key(&xid.0, |x| x.0).is_ok() } else { list.contains(&xid) }
}

/// A snapshot; cloning is cheap. C: `SnapshotData *`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    data: Rc<SnapshotData>,
    curcid: CommandId,
}

impl Snapshot {
    fn special(kind: SnapshotKind) -> Snapshot {
        Snapshot { data: Rc::new(SnapshotData::empty(kind)), curcid: 0 }
    }

    /// Committed now or ours. C: `SnapshotSelf`.
    pub fn self_visible() -> Snapshot {
        Snapshot::special(SnapshotKind::SelfVisible)
    }

    /// Everything. C: `SnapshotAny`.
    pub fn any() -> Snapshot {
        Snapshot::special(SnapshotKind::Any)
    }

    /// See [`SnapshotKind::Dirty`]. C: `InitDirtySnapshot`.
    pub fn dirty() -> Snapshot {
        Snapshot::special(SnapshotKind::Dirty)
    }

    /// See [`SnapshotKind::NonVacuumable`]. C: `InitNonVacuumableSnapshot`.
    pub fn non_vacuumable() -> Snapshot {
        Snapshot::special(SnapshotKind::NonVacuumable)
    }

    /// An MVCC snapshot made up by hand, for tests of visibility.
    pub fn of_parts(xmin: Xid, xmax: Xid, running: Vec<Xid>, curcid: CommandId) -> Snapshot {
        let mut data = SnapshotData { xmin, xmax, xip: running, ..SnapshotData::empty(SnapshotKind::Mvcc) };
        data.sort_if_large();
        Snapshot { data: Rc::new(data), curcid }
    }

    /// What it lets through.
    #[inline]
    pub fn kind(&self) -> SnapshotKind {
        self.data.kind
    }

    /// All ids before it are over.
    #[inline]
    pub fn xmin(&self) -> Xid {
        self.data.xmin
    }

    /// All ids from it on are invisible.
    #[inline]
    pub fn xmax(&self) -> Xid {
        self.data.xmax
    }

    /// Top ids that ran then, in no particular order.
    pub fn xip(&self) -> &[Xid] {
        &self.data.xip
    }

    /// Ids of running subtransactions, unless [`Snapshot::suboverflowed`].
    pub fn subxip(&self) -> &[Xid] {
        &self.data.subxip
    }

    /// `subxip` is not complete: pg_subtrans must be asked.
    pub fn suboverflowed(&self) -> bool {
        self.data.suboverflowed
    }

    /// Own changes of commands before this one are visible.
    #[inline]
    pub fn curcid(&self) -> CommandId {
        self.curcid
    }

    /// The same with another command id. C: `UpdateActiveSnapshotCommandId`.
    pub fn with_curcid(&self, curcid: CommandId) -> Snapshot {
        Snapshot { data: self.data.clone(), curcid }
    }

    /// On a standby: it stays what it is after a promotion. C: `takenDuringRecovery`.
    pub fn taken_during_recovery(&self) -> bool {
        self.data.taken_during_recovery
    }

    /// Whether both stand for the same moment (the command id aside).
    pub fn same_moment(&self, other: &Snapshot) -> bool {
        Rc::ptr_eq(&self.data, &other.data)
    }
}

thread_local! {
    /// What PGPROC shows, or showed when it was last set: nothing older can be running for us. C: `TransactionXmin`.
    static TRANSACTION_XMIN: Cell<Xid> = const { Cell::new(Xid::FIRST_NORMAL) };
    /// The newest snapshot's xmin: ids before it are over. C: `RecentXmin`.
    static RECENT_XMIN: Cell<Xid> = const { Cell::new(Xid::FIRST_NORMAL) };
}

/// C: `TransactionXmin`.
#[inline]
pub fn transaction_xmin() -> Xid {
    TRANSACTION_XMIN.get()
}

/// C: `RecentXmin`.
#[inline]
pub fn recent_xmin() -> Xid {
    RECENT_XMIN.get()
}

pub(crate) fn set_transaction_xmin(xid: Xid) {
    TRANSACTION_XMIN.set(xid);
}

pub(crate) fn set_recent_xmin(xid: Xid) {
    RECENT_XMIN.set(xid);
}

/// Whether the id was running when the snapshot was taken, or began later: its effects are invisible whatever
/// became of it. Of our own ids this says nothing: ask [`crate::is_current`] first. C: `XidInMVCCSnapshot`.
///
/// # Panics
/// If pg_subtrans must be asked and cannot be read.
#[inline]
pub fn xid_in_mvcc_snapshot(xid: Xid, snapshot: &Snapshot) -> bool {
    let data = &*snapshot.data;
    // The two cheap bounds decide nearly always.
    if xid.precedes(data.xmin) {
        return false;
    }
    if xid.follows_or_equals(data.xmax) {
        return true;
    }
    in_lists(xid, data)
}

fn in_lists(mut xid: Xid, data: &SnapshotData) -> bool {
    if !data.suboverflowed {
        return contains(&data.subxip, xid) || contains(&data.xip, xid);
    }
    // Some subtransactions are missing: translate to the top id, which is in the list if it ran.
    xid = match subtrans::topmost(xid) {
        Ok(top) => top,
        Err(e) => panic!("{}: {}", e.message, e.detail.as_deref().unwrap_or_default()),
    };
    let tops = if data.taken_during_recovery { &data.subxip } else { &data.xip };
    !xid.precedes(data.xmin) && contains(tops, xid)
}
