//! The startup process and sessions of a standby in one process: the list follows records, snapshots follow the list.

use super::*;
use crate::snapshot::{self, xid_in_mvcc_snapshot};
use crate::testing::{World, fresh};
use crate::{is_in_progress, transaction_snapshot};

/// A list of running transactions as a primary would write it.
fn running(tops: &[u32], subs: &[u32], overflowed: bool, next: u32) -> RunningXacts {
    let ids = |list: &[u32]| list.iter().map(|xid| Xid(*xid)).collect::<Vec<_>>();
    let oldest = tops.iter().min().copied().unwrap_or(next);
    RunningXacts {
        tops: ids(tops),
        subs: ids(subs),
        overflowed,
        subs_in_subtrans: false,
        next: Xid(next),
        oldest_running: Xid(oldest),
        latest_completed: Xid(oldest).previous(),
    }
}

fn begin() {
    let checkpoint = CheckPoint {
        oldest_active_xid: Xid(3),
        next_full_xid: 3,
        ..crate::testing_wal::checkpoint(common::Lsn(0))
    };
    initialize(&checkpoint, false, &[]).unwrap();
    assert_eq!(state(), StandbyState::Initialized);
}

/// A replayed commit.
fn commit(xid: u32, children: &[u32]) {
    let children: Vec<_> = children.iter().map(|xid| Xid(*xid)).collect();
    let newest = status::latest_xid(Xid(xid), &children);
    varsup::advance_past(newest);
    record_assigned(newest).unwrap();
    crate::clog::commit_tree(Xid(xid), &children).unwrap();
    xact_ended(Xid(xid), &children, &[], false);
}

/// Ids that a snapshot of now does not see, of those below 120.
fn unseen() -> Vec<u32> {
    crate::start_transaction().unwrap();
    let taken = transaction_snapshot().unwrap();
    assert!(taken.taken_during_recovery() && taken.xip().is_empty());
    let held = snapshot::register(&taken);
    let unseen = (90..120)
        .filter(|xid| xid_in_mvcc_snapshot(Xid(*xid), &taken))
        .take_while(|xid| *xid < taken.xmax().0);
    let unseen: Vec<_> = unseen.collect();
    assert!(unseen.iter().all(|xid| is_in_progress(Xid(*xid))), "{unseen:?}");
    drop(held);
    crate::commit_transaction().unwrap();
    unseen
}

fn world(body: impl FnOnce() + Send) {
    let state = crate::StartupState { next_xid: FullXid::new(0, Xid(100)), ..fresh() };
    World::new().standby(state, || {
        begin();
        body();
        finish();
        assert_eq!((super::state(), known_count()), (StandbyState::Disabled, 0));
    });
}

#[test]
fn snapshots_follow_the_records() {
    world(|| {
        // Before the first list nothing is followed but pages of pg_subtrans.
        record_assigned(Xid(101)).unwrap();
        assert_eq!(known_count(), 0);
        commit(101, &[]);
        // 101 was still in the primary's array when it made the list.
        apply_running(&running(&[100, 101], &[102], false, 104)).unwrap();
        assert_eq!(state(), StandbyState::SnapshotReady);
        // 103 had ended before the list was made, without a trace.
        assert_eq!(unseen(), [100]);
        record_assigned(Xid(106)).unwrap();
        assert_eq!(known_count(), 5, "100, 102 and three new ones");
        commit(106, &[]);
        assert_eq!(unseen(), [100, 102, 104, 105]);
        crate::start_transaction().unwrap();
        let held = snapshot::register(&transaction_snapshot().unwrap());
        commit(100, &[102]);
        assert!(xid_in_mvcc_snapshot(Xid(102), held.snapshot()) && !is_in_progress(Xid(102)));
        drop(held);
        crate::commit_transaction().unwrap();
        assert_eq!(unseen(), [104, 105]);
        // 104 died with its server: the next list does not have it.
        apply_running(&running(&[105], &[], false, 107)).unwrap();
        assert_eq!(unseen(), [105]);
    });
}

#[test]
fn missing_subtransactions_are_found_through_their_parent() {
    world(|| {
        apply_running(&running(&[100], &[], false, 101)).unwrap();
        record_assigned(Xid(103)).unwrap();
        apply_assignment(Xid(100), &[Xid(101), Xid(103)]).unwrap();
        assert_eq!(known_count(), 2, "100 and 102");
        commit(104, &[]);
        assert_eq!(unseen(), [100, 101, 102, 103]);
        crate::start_transaction().unwrap();
        let before = snapshot::register(&transaction_snapshot().unwrap());
        assert!(before.snapshot().suboverflowed());
        commit(100, &[101, 103]);
        assert!([100, 101, 103].iter().all(|xid| xid_in_mvcc_snapshot(Xid(*xid), before.snapshot())));
        assert_eq!(crate::horizon_for(crate::RelationKind::Data), Xid(100));
        drop(before);
        crate::commit_transaction().unwrap();
        assert_eq!(unseen(), [102]);
        assert_eq!(crate::horizon_for(crate::RelationKind::Data), Xid(102));
    });
}

#[test]
fn an_incomplete_list_is_waited_out() {
    world(|| {
        apply_running(&running(&[100], &[], true, 105)).unwrap();
        assert_eq!(state(), StandbyState::SnapshotPending);
        record_assigned(Xid(106)).unwrap();
        apply_running(&running(&[104], &[], true, 107)).unwrap();
        assert_eq!(state(), StandbyState::SnapshotPending, "104 may be a subtransaction of then");
        apply_running(&running(&[105], &[], true, 107)).unwrap();
        assert_eq!(state(), StandbyState::SnapshotReady);
        assert_eq!(unseen(), [] as [u32; 0], "105 is the newest: not before xmax");
        commit(106, &[]);
        assert_eq!(unseen(), [105]);
    });
    world(|| {
        apply_running(&running(&[100], &[], true, 105)).unwrap();
        record_assigned(Xid(106)).unwrap();
        apply_running(&running(&[104], &[106], false, 107)).unwrap();
        assert_eq!((state(), known_count()), (StandbyState::SnapshotReady, 2));
    });
}

#[test]
fn prepared_transactions_stay() {
    let state = crate::StartupState { next_xid: FullXid::new(0, Xid(100)), ..fresh() };
    World::new().standby(state, || {
        let checkpoint = CheckPoint { next_full_xid: 100, ..crate::testing_wal::checkpoint(common::Lsn(0)) };
        initialize(&checkpoint, true, &[Xid(95)]).unwrap();
        assert_eq!((super::state(), known_count()), (StandbyState::SnapshotReady, 1));
        record_assigned(Xid(101)).unwrap();
        note_prepared(Xid(101));
        apply_running(&running(&[102], &[], false, 103)).unwrap();
        assert_eq!(known_count(), 2);
        commit(102, &[]);
        assert_eq!(unseen(), [95, 101]);
        xact_ended(Xid(95), &[], &[], false);
        shutdown_checkpoint_replayed(&CheckPoint { next_full_xid: 103, ..checkpoint }, &[Xid(101)]).unwrap();
        assert_eq!(unseen(), [101]);
    });
}

#[test]
fn sessions_get_no_ids_and_keep_their_snapshots() {
    world(|| {
        apply_running(&running(&[100], &[], false, 101)).unwrap();
        commit(101, &[]);
        crate::start_transaction().unwrap();
        let error = crate::current_xid().unwrap_err();
        assert_eq!(error.message, "cannot assign TransactionIds during recovery");
        let held = snapshot::register(&transaction_snapshot().unwrap());
        let conflicting = |limit| crate::procarray::conflicting_vxids(Xid(limit), Oid::INVALID);
        assert_eq!((conflicting(99).len(), conflicting(100).len(), conflicting(0).len()), (0, 1, 1));
        // Promotion: what ran is lost, what was seen stays.
        wal::startup::finish();
        finish();
        let now = transaction_snapshot().unwrap();
        assert!(xid_in_mvcc_snapshot(Xid(100), held.snapshot()) && !now.taken_during_recovery());
        assert_eq!((now.xmax(), is_in_progress(Xid(100))), (Xid(102), false));
        drop(held);
        crate::commit_transaction().unwrap();
    });
}
