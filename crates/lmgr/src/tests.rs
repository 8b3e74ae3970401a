//! One process and its locks: owners, fast path, views. Waiting is tested with real processes in `tests/`.

use common::{ItemPointer, Oid, RelFileNode, SqlState};

use crate::testing::world;
use crate::*;
use crate::{fastpath, local, transaction};

const DB: Oid = Oid(5);

/// `relation:mode`, with a mark for the fast path.
fn shown() -> Vec<String> {
    let mut rows: Vec<String> = status()
        .into_iter()
        .map(|row| {
            let what = row.relation.map(|r| r.to_string()).or(row.virtualxid).unwrap_or_default();
            let what = row.objid.map_or(what, |objid| format!("advisory {objid}"));
            format!("{what} {}{}", row.mode, if row.fastpath { " fast" } else { "" })
        })
        .collect();
    rows.sort();
    rows
}

#[test]
fn weak_locks_take_the_fast_path_while_it_has_room() {
    let _world = world();
    for rel in 1..=17 {
        assert_eq!(lock_relation(DB, Oid(rel), LockMode::AccessShare).unwrap(), Acquired::New);
    }
    assert_eq!(lock_relation(DB, Oid(1), LockMode::AccessShare).unwrap(), Acquired::AlreadyHeld);
    lock_relation(DB, Oid(1), LockMode::RowExclusive).unwrap();
    lock_relation(Oid(0), Oid(1262), LockMode::AccessShare).unwrap();
    let rows = status();
    assert_eq!(rows.iter().filter(|row| row.fastpath).count(), 17);
    let slow: Vec<_> = rows.iter().filter(|row| !row.fastpath).map(|row| row.relation.unwrap().0).collect();
    assert!(slow.len() == 2 && slow.contains(&17) && slow.contains(&1262), "{slow:?}");
    unlock_relation(DB, Oid(1), LockMode::AccessShare).unwrap();
    assert!(holds(LockTag::Relation { db: DB, rel: Oid(1) }, LockMode::AccessShare));
    transaction::end(false);
    assert!(status().is_empty());
}

#[test]
fn a_strong_lock_closes_the_fast_path() {
    let _world = world();
    lock_relation(DB, Oid(1), LockMode::AccessShare).unwrap();
    lock_relation(DB, Oid(1), LockMode::Share).unwrap();
    lock_relation(DB, Oid(1), LockMode::RowShare).unwrap();
    assert_eq!(shown(), ["1 AccessShareLock", "1 RowShareLock", "1 ShareLock"]);
    unlock_relation(DB, Oid(1), LockMode::AccessShare).unwrap();
    unlock_relation(DB, Oid(1), LockMode::Share).unwrap();
    unlock_relation(DB, Oid(1), LockMode::RowShare).unwrap();
    lock_relation(DB, Oid(1), LockMode::AccessShare).unwrap();
    assert_eq!(shown(), ["1 AccessShareLock fast"]);
}

#[test]
fn subtransactions_give_up_or_hand_on() {
    let _world = world();
    local::set_level(1);
    lock_relation(DB, Oid(1), LockMode::Share).unwrap();
    local::set_level(2);
    lock_relation(DB, Oid(1), LockMode::Share).unwrap();
    lock_relation(DB, Oid(2), LockMode::AccessExclusive).unwrap();
    local::set_level(3);
    lock_relation(DB, Oid(3), LockMode::Share).unwrap();
    transaction::at_sub_commit(3);
    assert_eq!(shown(), ["1 ShareLock", "2 AccessExclusiveLock", "3 ShareLock"]);
    transaction::at_sub_abort(2);
    assert_eq!(shown(), ["1 ShareLock"]);
    transaction::end(true);
    assert!(status().is_empty());
}

#[test]
fn ids_are_locked_for_the_level_they_belong_to() {
    let _world = world();
    local::set_level(3);
    // Given out in level 3 to all three levels.
    for xid in [100, 101, 102] {
        xact_lock_insert(common::Xid(xid)).unwrap();
    }
    let left = || {
        let mut xids: Vec<_> =
            status().into_iter().filter_map(|row| row.transactionid).map(|x| x.0).collect();
        xids.sort();
        xids
    };
    transaction::at_sub_abort(3);
    assert_eq!(left(), [100, 101]);
    local::set_level(3);
    xact_lock_insert(common::Xid(103)).unwrap();
    transaction::at_sub_commit(3);
    assert_eq!(left(), [100, 101, 103]);
    transaction::at_sub_abort(2);
    assert_eq!(left(), [100]);
}

#[test]
fn advisory_locks_of_session_and_transaction() {
    let _world = world();
    let key = AdvisoryKey::One(7);
    advisory_lock(key, false, true).unwrap();
    advisory_lock(key, false, true).unwrap();
    advisory_lock(AdvisoryKey::Two(0, 7), true, false).unwrap();
    assert_eq!(shown(), ["advisory 7 ExclusiveLock", "advisory 7 ShareLock"]);
    assert!(!advisory_unlock(AdvisoryKey::Two(0, 7), true), "that one is the transaction's");
    transaction::end(true);
    assert_eq!(shown(), ["advisory 7 ExclusiveLock"]);
    assert!(advisory_unlock(key, false));
    assert!(advisory_unlock(key, false));
    assert!(!advisory_unlock(key, false));
    assert!(try_advisory_lock(key, false, true).unwrap());
    advisory_unlock_all();
    assert!(status().is_empty());
}

#[test]
fn session_locks_of_relations_survive_a_commit_but_no_abort() {
    let _world = world();
    lock_relation_session(DB, Oid(1), LockMode::ShareUpdateExclusive).unwrap();
    transaction::end(false);
    assert_eq!(shown(), ["1 ShareUpdateExclusiveLock"]);
    transaction::end(true);
    assert!(status().is_empty());
}

#[test]
fn a_full_table_is_an_error_with_a_hint() {
    let _world = world();
    let error = (0..100_000).find_map(|n| advisory_lock(AdvisoryKey::One(n), false, false).err()).unwrap();
    assert_eq!((error.sqlstate, &*error.message), (SqlState::OUT_OF_MEMORY, "out of shared memory"));
    assert_eq!(error.hint.as_deref(), Some("You might need to increase max_locks_per_transaction."));
    transaction::end(true);
    assert!(status().is_empty());
}

#[test]
fn guards_and_columns() {
    let _world = world();
    let node = RelFileNode { spc: common::DEFAULT_TABLESPACE, db: DB, rel: Oid(9) };
    {
        let _extending = relation_extension_lock(node).unwrap();
        assert_eq!(relation_extension_waiters(node), 0);
        let row = status().remove(0);
        assert_eq!((row.locktype, row.relation, row.granted), ("extend", Some(Oid(9)), true));
    }
    lock_tuple(DB, Oid(9), ItemPointer::new(3, 4), LockMode::Exclusive).unwrap();
    let row = status().remove(0);
    assert_eq!(
        (row.locktype, row.page, row.tuple, row.pid),
        ("tuple", Some(3), Some(4), std::process::id() as i32)
    );
    unlock_tuple(DB, Oid(9), ItemPointer::new(3, 4), LockMode::Exclusive);
    assert!(status().is_empty());
}

#[test]
fn a_virtual_transaction_moves_to_the_table_when_somebody_waits() {
    let _world = world();
    let backend = shmem::my_proc().backend_id();
    fastpath::vxid_insert(4);
    assert_eq!(shown(), [format!("{backend}/4 ExclusiveLock fast")]);
    assert!(vxid_still_running(backend, 4) && !vxid_still_running(backend, 3));
    // Waiting for oneself is not waiting; it moves the lock all the same.
    vxid_lock_wait(backend, 4).unwrap();
    assert_eq!(shown(), [format!("{backend}/4 ExclusiveLock")]);
    fastpath::vxid_cleanup();
    assert!(status().is_empty());
    vxid_lock_wait(backend, 4).unwrap();
}
