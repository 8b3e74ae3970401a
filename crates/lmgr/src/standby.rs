//! A standby's locks: what the primary's transactions hold exclusively, the startup process holds here for them.
//!
//! Only AccessExclusive on relations matters: everything weaker lets readers in. The primary writes a record when such a
//! lock is taken, and all that are held with each list of running transactions; the end of the transaction releases
//! them. Sessions in the way are dealt with by [`conflict`](crate::conflict).
//!
//! - **S1** Each pair of a transaction's id and a relation is taken once, as the session's, and given back once.
//! - **S2** A lock is taken before the next record is replayed: no later change of the relation meets a reader.
//!
//! C counterpart: `StandbyAcquireAccessExclusiveLock` and its neighbours, `InitRecoveryTransactionEnvironment`,
//! `ShutdownRecoveryTransactionEnvironment` of standby.c.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use common::{Oid, RelFileNode, Xid};
use elog::{Result, ereport};
use sinval::Message;
use transam::standby::{self, Hooks};

pub use crate::conflict::{
    resolve_conflict_with_database, resolve_conflict_with_snapshot, resolve_conflict_with_tablespace,
};
use crate::mode::LockMode;
use crate::tag::LockTag;
use crate::{acquire, conflict, fastpath};

thread_local! {
    /// We are the startup process of a standby.
    static STARTUP: Cell<bool> = const { Cell::new(false) };
    /// Relations by transaction (S1). C: `RecoveryLockLists`.
    static LOCKS: RefCell<BTreeMap<u32, Vec<(Oid, Oid)>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Whether this process waits for locks as replay does: by getting the holders out of the way.
pub(crate) fn is_startup() -> bool {
    STARTUP.get()
}

/// The startup process gets ready for sessions beside its replay, before [`transam::standby::initialize`]: it has a
/// virtual transaction, so that others see whose locks these are. C: `InitRecoveryTransactionEnvironment`.
pub fn initialize() {
    STARTUP.set(true);
    standby::set_hooks(Hooks {
        acquire_lock: acquire_access_exclusive,
        release_tree,
        release_old,
        finish,
        invalidate,
        files_gone,
    });
    storage::set_pins_in_the_way(conflict::wait_for_pins);
    const LXID: u32 = 1;
    shmem::my_proc().lxid.store(LXID, Relaxed);
    fastpath::vxid_insert(LXID);
}

/// C: `ShutdownRecoveryTransactionEnvironment`.
fn finish() {
    release_all();
    fastpath::vxid_cleanup();
    shmem::my_proc().lxid.store(0, Relaxed);
    STARTUP.set(false);
}

/// Waits, if need be, until nobody else holds it; `max_standby_archive_delay` says how patiently.
/// C: `StandbyAcquireAccessExclusiveLock`.
///
/// # Errors
/// 53200 if the lock table is full; of an interrupt.
pub fn acquire_access_exclusive(xid: Xid, db: Oid, rel: Oid) -> Result<()> {
    let is_new = LOCKS.with_borrow_mut(|locks| {
        let of_xid = locks.entry(xid.0).or_default();
        let is_new = !of_xid.contains(&(db, rel));
        if is_new {
            of_xid.push((db, rel));
        }
        is_new
    });
    if !is_new {
        return Ok(());
    }
    ereport!(Debug4, "adding recovery lock: db {db} rel {rel}");
    acquire::acquire(LockTag::Relation { db, rel }, LockMode::AccessExclusive, true, false).map(drop)
}

fn release(xid: u32, relations: Vec<(Oid, Oid)>) {
    for (db, rel) in relations {
        ereport!(Debug4, "releasing recovery lock: xid {xid} db {db} rel {rel}");
        if !acquire::release_session(LockTag::Relation { db, rel }, LockMode::AccessExclusive) {
            ereport!(
                Log,
                "RecoveryLockHash contains entry for lock no longer recorded by lock manager: xid {xid} database {db} relation {rel}"
            );
        }
    }
}

/// The transaction has ended. C: `StandbyReleaseLockTree`.
pub fn release_tree(xid: Xid, children: &[Xid]) {
    for xid in std::iter::once(&xid).chain(children) {
        if let Some(relations) = LOCKS.with_borrow_mut(|locks| locks.remove(&xid.0)) {
            release(xid.0, relations);
        }
    }
}

/// Nothing older runs any more, but for prepared transactions. C: `StandbyReleaseOldLocks`.
pub fn release_old(oldest_running: Xid) {
    let gone: Vec<_> = LOCKS.with_borrow_mut(|locks| {
        let is_over = |xid: &u32| Xid(*xid).precedes(oldest_running) && !standby::is_prepared(Xid(*xid));
        let over: Vec<u32> = locks.keys().copied().filter(is_over).collect();
        over.into_iter().filter_map(|xid| Some((xid, locks.remove(&xid)?))).collect()
    });
    gone.into_iter().for_each(|(xid, relations)| release(xid, relations));
}

/// Recovery is over. C: `StandbyReleaseAllLocks`.
pub fn release_all() {
    ereport!(Debug2, "release all standby locks");
    for (xid, relations) in LOCKS.take() {
        release(xid, relations);
    }
}

/// A lock by hand, for the replay of a record that is itself about a whole database: new sessions wait.
/// C: `LockSharedObjectForSession`.
///
/// # Errors
/// Of a wait.
pub fn lock_database(db: Oid) -> Result<()> {
    acquire::acquire(database_tag(db), LockMode::AccessExclusive, true, false).map(drop)
}

/// C: `UnlockSharedObjectForSession`.
pub fn unlock_database(db: Oid) {
    acquire::release_session(database_tag(db), LockMode::AccessExclusive);
}

fn database_tag(db: Oid) -> LockTag {
    /// C: `DatabaseRelationId`.
    const PG_DATABASE: Oid = Oid(1262);
    LockTag::Object { db: Oid::INVALID, class: PG_DATABASE, object: db, sub: 0 }
}

fn invalidate(messages: &[[u8; 16]]) {
    let messages: Vec<_> = messages.iter().map(|bytes| Message::from_bytes(*bytes)).collect();
    sinval::send(&messages);
}

fn files_gone(nodes: &[RelFileNode]) {
    let messages: Vec<_> = nodes.iter().map(|node| Message::smgr(-1, *node)).collect();
    sinval::send(&messages);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world;
    use crate::{conditional_lock_relation, status, unlock_relation};

    const DB: Oid = Oid(5);

    fn held() -> Vec<u32> {
        let rows = status().into_iter().filter(|row| row.mode == "AccessExclusiveLock");
        let mut relations: Vec<_> = rows.filter_map(|row| row.relation).map(|rel| rel.0).collect();
        relations.sort_unstable();
        relations
    }

    #[test]
    fn locks_come_and_go_with_their_transactions() {
        let _world = world();
        initialize();
        assert!(is_startup());
        for (xid, rel) in [(100, 1), (100, 1), (101, 2), (102, 3), (103, 1), (u32::MAX, 9)] {
            acquire_access_exclusive(Xid(xid), DB, Oid(rel)).unwrap();
        }
        assert_eq!(held(), [1, 2, 3, 9]);
        assert!(status().iter().any(|row| row.virtualxid.is_some()));
        release_tree(Xid(100), &[Xid(101)]);
        assert_eq!(held(), [1, 3, 9], "103 has the first one too");
        release_old(Xid(103));
        assert_eq!(held(), [1]);
        release_tree(Xid(77), &[]);
        lock_database(Oid(7)).unwrap();
        unlock_database(Oid(7));
        finish();
        assert_eq!((held().len(), is_startup(), status().len()), (0, false, 0));
        assert!(conditional_lock_relation(DB, Oid(1), LockMode::AccessShare).unwrap());
        unlock_relation(DB, Oid(1), LockMode::AccessShare).unwrap();
    }
}
