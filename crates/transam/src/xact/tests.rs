//! Order of hooks, levels and ids, records.

use std::cell::RefCell;

use super::participants::CommitExtras;
use super::record::{Completion, Parsed, build, parse};
use super::*;
use crate::testing::{World, fresh};
use crate::{did_abort, did_commit, is_in_progress};
use common::{Oid, RelFileNode};
use proptest::prelude::*;

thread_local! {
    static CALLS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn call(what: &str) {
    let xid = top_xid_if_any();
    let running = xid.is_valid() && procarray::pid_of_xid(xid) != 0;
    CALLS.with_borrow_mut(|calls| calls.push(format!("{what}{}", if running { "*" } else { "" })));
}

fn calls() -> String {
    CALLS.take().join(" ")
}

fn register_fakes() {
    register(Participant {
        at_commit: Some(|| call("locks")),
        at_abort_start: Some(|| call("leave")),
        at_abort: Some(|| call("locks!")),
        at_sub_abort: Some(|level| call(&format!("locks!{level}"))),
        ..Participant::new("locks", Phase::Locks)
    });
    register(Participant {
        pre_commit: Some(|| {
            call("files?");
            Ok(())
        }),
        at_commit: Some(|| call("files")),
        at_sub_commit: Some(|level| call(&format!("files{level}"))),
        ..Participant::new("files", Phase::PendingDeletes)
    });
    register(Participant {
        at_start: Some(|| call("start")),
        pre_commit: Some(|| {
            call("pins?");
            Ok(())
        }),
        at_commit: Some(|| call("pins")),
        at_abort: Some(|| call("pins!")),
        on_command_end: Some(|| {
            call("cci");
            Ok(())
        }),
        ..Participant::new("pins", Phase::BeforeLocks)
    });
}

/// X3: a star marks hooks that run while the id is in the process array.
#[test]
fn hooks_run_in_order() {
    let world = World::new();
    world.life(fresh(), || {
        register_fakes();
        start_transaction().unwrap();
        current_xid().unwrap();
        commit_transaction().unwrap();
        assert_eq!(calls(), "start pins?* files?* pins locks files");
        start_transaction().unwrap();
        start_subtransaction().unwrap();
        commit_subtransaction().unwrap();
        start_subtransaction().unwrap();
        current_xid().unwrap();
        abort_transaction();
        assert_eq!(calls(), "start files2 leave* locks!2* leave* pins! locks!");
        abort_transaction();
        commit_transaction().unwrap();
        assert_eq!(calls(), "");
    });
}

#[test]
fn a_failing_participant_prevents_the_commit() {
    let world = World::new();
    world.life(fresh(), || {
        register(Participant {
            pre_commit: Some(|| Err(error!(SqlState::DIVISION_BY_ZERO, "no"))),
            ..Participant::new("triggers", Phase::Triggers)
        });
        start_transaction().unwrap();
        let xid = current_xid().unwrap();
        assert_eq!(commit_transaction().unwrap_err().message, "no");
        assert!(in_transaction() && is_current(xid));
        abort_transaction();
        assert!(did_abort(xid) && !did_commit(xid) && !in_transaction());
    });
}

#[test]
fn nothing_written_nothing_logged() {
    let world = World::new();
    world.life(fresh(), || {
        start_transaction().unwrap();
        commit_transaction().unwrap();
        assert_eq!(last_commit_end(), Lsn::INVALID);
        assert_eq!(varsup::read_next_xid(), Xid(3));
        start_transaction().unwrap();
        current_xid().unwrap();
        let (_, lxid) = vxid();
        assert_eq!(lxid, 2);
        commit_transaction().unwrap();
        assert!(last_commit_end() > Lsn::INVALID);
        assert_eq!(vxid().1, 0);
    });
}

#[test]
fn savepoints_commit_with_their_parent_or_abort_alone() {
    let world = World::new();
    world.life(fresh(), || {
        start_transaction().unwrap();
        start_subtransaction().unwrap();
        start_subtransaction().unwrap();
        // X5: parents first.
        let inner = current_xid().unwrap();
        assert_eq!((top_xid_if_any(), inner), (Xid(3), Xid(5)));
        commit_subtransaction().unwrap();
        let middle = current_xid_if_any();
        assert_eq!(middle, Xid(4));
        assert!(is_current(inner) && is_in_progress(inner));
        start_subtransaction().unwrap();
        let doomed = current_xid().unwrap();
        assert!(is_current(doomed));
        abort_subtransaction();
        assert!(!is_current(doomed) && did_abort(doomed) && !is_in_progress(doomed));
        commit_subtransaction().unwrap();
        assert_eq!(nest_level(), 1);
        assert!([3, 4, 5].map(Xid).into_iter().all(is_current));
        assert_eq!(subtrans::topmost(inner).unwrap(), Xid(3));
        commit_transaction().unwrap();
        assert!([3, 4, 5].map(Xid).into_iter().all(did_commit));
        assert!(did_abort(doomed));
    });
}

#[test]
fn levels_end_as_the_block_says() {
    let world = World::new();
    world.life(fresh(), || {
        start_transaction().unwrap();
        for _ in 0..3 {
            start_subtransaction().unwrap();
        }
        commit_from_level(4).unwrap();
        assert_eq!(nest_level(), 3);
        abort_from_level(2);
        assert_eq!(nest_level(), 1);
        // ROLLBACK TO after an error: the level is gone already, and begins again.
        abort_from_level(2);
        start_subtransaction().unwrap();
        commit_from_level(1).unwrap();
        assert!(!in_transaction());
    });
}

#[test]
fn many_savepoints_overflow_the_cache_and_are_found_all_the_same() {
    let world = World::new();
    world.life(fresh(), || {
        start_transaction().unwrap();
        let top = top_xid().unwrap();
        let mut subs = Vec::new();
        for _ in 0..200 {
            start_subtransaction().unwrap();
            subs.push(current_xid().unwrap());
            commit_subtransaction().unwrap();
        }
        assert!(subs.iter().all(|xid| is_current(*xid)));
        assert!(subs.iter().all(|xid| subtrans::parent(*xid).unwrap() == top));
        commit_transaction().unwrap();
        assert!(subs.iter().all(|xid| did_commit(*xid)));
    });
}

#[test]
fn commands_count_only_when_something_was_written() {
    let world = World::new();
    world.life(fresh(), || {
        start_transaction().unwrap();
        assert_eq!(current_command_id(false), 0);
        command_counter_increment().unwrap();
        assert_eq!(current_command_id(true), 0);
        command_counter_increment().unwrap();
        assert_eq!(current_command_id(false), 1);
        with(|state| state.command = u32::MAX - 1);
        current_command_id(true);
        let e = command_counter_increment().unwrap_err();
        assert_eq!(e.message, "cannot have more than 2^32-2 commands in a transaction");
        abort_transaction();
    });
}

#[test]
fn status_of_old_and_future_ids() {
    let world = World::new();
    let state = crate::StartupState { next_xid: FullXid::new(1, Xid(50)), ..fresh() };
    world.life(state, || {
        start_transaction().unwrap();
        let mine = top_full_xid().unwrap();
        assert_eq!(mine, FullXid::new(1, Xid(50)));
        assert_eq!(xact_status(mine).unwrap(), Some("in progress"));
        assert_eq!(xact_status(FullXid::new(0, Xid(20))).unwrap(), None);
        let e = xact_status(FullXid::new(2, Xid(9))).unwrap_err();
        assert_eq!(e.message, "transaction ID 8589934601 is in the future");
        commit_transaction().unwrap();
        assert_eq!(xact_status(mine).unwrap(), Some("committed"));
    });
}

#[test]
fn a_commit_record_as_postgresql_writes_it() {
    let node = RelFileNode { spc: Oid(1663), db: Oid(5), rel: Oid(16384) };
    let extras = CommitExtras {
        dropped_files: vec![node],
        invalidations: vec![[7; 16]],
        relcache_init_file: true,
        access_exclusive_locks: false,
        database: (Oid(5), Oid(1663)),
    };
    let (info, data) = build(true, 0x0102, &[Xid(9)], &extras, Completion::default(), None);
    assert_eq!(info, 0x81);
    let mut expected = vec![2, 1, 0, 0, 0, 0, 0, 0];
    for word in [0x4000_000Fu32, 5, 1663, 1, 9, 1, 1663, 5, 16384, 1] {
        expected.extend_from_slice(&word.to_le_bytes());
    }
    expected.extend_from_slice(&[7; 16]);
    assert_eq!(data, expected);
    let (info, data) = build(false, 1, &[], &CommitExtras::default(), Completion::default(), None);
    assert_eq!((info, data.len()), (0x20, 8));
}

proptest! {
    #[test]
    fn records_come_back(
        commit: bool,
        time: i64,
        children in proptest::collection::vec(3u32.., 0..20),
        files in proptest::collection::vec((1u32.., 1u32.., 1u32..), 0..5),
        invals in proptest::collection::vec(any::<[u8; 16]>(), 0..5),
        force_sync: bool,
        prepared: bool,
        logical: bool,
    ) {
        let children: Vec<Xid> = children.into_iter().map(Xid).collect();
        let files: Vec<_> =
            files.into_iter().map(|(s, d, r)| RelFileNode { spc: Oid(s), db: Oid(d), rel: Oid(r) }).collect();
        let extras = CommitExtras {
            dropped_files: files.clone(),
            invalidations: invals.clone(),
            relcache_init_file: false,
            access_exclusive_locks: true,
            database: (Oid(1), Oid(2)),
        };
        let completion = Completion { force_sync, logical, ..Completion::default() };
        let of = super::record::OfPrepared { xid: Xid(9), gid: b"name", dropped_stats: &[[7; 12]] };
        let (info, data) = build(commit, time, &children, &extras, completion, prepared.then_some(of));
        let parsed = parse(info & 0xF0, &data).unwrap();
        let invals = if commit { invals } else { Vec::new() };
        let database = (logical || !invals.is_empty()).then_some((Oid(1), Oid(2)));
        prop_assert_eq!(
            parsed,
            Parsed {
                time, database, children, files, invalidations: invals,
                force_sync: force_sync && commit, access_exclusive_locks: true,
                two_phase_xid: prepared.then_some(Xid(9)), ..Parsed::default()
            }
        );
        // Cut anywhere, it is an error and never a panic.
        for end in 0..data.len() {
            prop_assert!(parse(info & 0xF0, &data[..end]).is_err());
        }
    }
}
