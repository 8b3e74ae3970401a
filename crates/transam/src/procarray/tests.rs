//! Other sessions are made up: entries of PGPROCs that nobody owns. What they do to the array is what the functions
//! above do, under the same locks.

use std::collections::BTreeMap;

use super::*;
use crate::snapshot::{self, xid_in_mvcc_snapshot};
use crate::testing::{World, fresh};
use crate::{clog, did_commit, transaction_snapshot};
use proptest::prelude::*;

/// A session on another PGPROC.
struct Other {
    procno: u32,
    xid: Xid,
    subs: Vec<Xid>,
}

impl Other {
    fn begin(procno: u32) -> Other {
        let mut control = CONTROL.get().exclusive();
        let mut state = varsup::lock_exclusive();
        let xid = state.next.xid();
        clog::extend(xid).unwrap();
        subtrans::extend(xid).unwrap();
        state.next = state.next.next();
        let at = control.count as usize;
        PROCNOS.get()[at].store(procno, Relaxed);
        OFFSETS.get()[procno as usize].store(at as u32, Relaxed);
        XIDS.get()[at].store(xid.0, Relaxed);
        SUB_COUNTS.get()[at].store(0, Relaxed);
        control.count += 1;
        Other { procno, xid, subs: Vec::new() }
    }

    /// Another subtransaction; `overflow`: one that does not fit.
    fn sub(&mut self, overflow: bool) -> Xid {
        let mut state = varsup::lock_exclusive();
        let xid = state.next.xid();
        clog::extend(xid).unwrap();
        subtrans::extend(xid).unwrap();
        state.next = state.next.next();
        let at = offset_of(self.procno).unwrap();
        let count = SUB_COUNTS.get()[at].load(Relaxed);
        if overflow || count & OVERFLOWED != 0 {
            SUB_COUNTS.get()[at].store(count | OVERFLOWED, Relaxed);
        } else {
            subxids_of(self.procno)[count as usize].store(xid.0, Relaxed);
            SUB_COUNTS.get()[at].store(count + 1, Relaxed);
        }
        drop(state);
        subtrans::set_parent(xid, self.xid).unwrap();
        self.subs.push(xid);
        xid
    }

    fn end(self, commit: bool) {
        if commit {
            clog::commit_tree(self.xid, &self.subs).unwrap();
        } else {
            clog::abort_tree(self.xid, &self.subs).unwrap();
        }
        let mut control = CONTROL.get().exclusive();
        let _xid_gen = varsup::lock_exclusive();
        let (at, last) = (offset_of(self.procno).unwrap(), control.count as usize - 1);
        for array in [PROCNOS.get(), XIDS.get(), SUB_COUNTS.get()] {
            array[at].store(array[last].load(Relaxed), Relaxed);
        }
        OFFSETS.get()[PROCNOS.get()[at].load(Relaxed) as usize].store(at as u32, Relaxed);
        OFFSETS.get()[self.procno as usize].store(NONE, Relaxed);
        control.count -= 1;
        advance_latest_completed(&mut control, status::latest_xid(self.xid, &self.subs));
        count_completion();
    }
}

/// An id of a transaction that ran elsewhere and is over: committed, aborted, or (`None`) gone without a trace.
pub(crate) fn end_of_other(commit: Option<bool>) -> Xid {
    let other = Other::begin(5);
    let xid = other.xid;
    other.end(commit.unwrap_or(false));
    xid
}

#[derive(Clone, Debug)]
enum Step {
    Begin(u32),
    Sub(u32, bool),
    End(u32, bool),
    Snapshot,
    MyXid,
    MyCommit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u32..6).prop_map(Step::Begin),
        3 => (1u32..6, prop::bool::weighted(0.1)).prop_map(|(n, o)| Step::Sub(n, o)),
        4 => (1u32..6, any::<bool>()).prop_map(|(n, c)| Step::End(n, c)),
        4 => Just(Step::Snapshot),
        1 => Just(Step::MyXid),
        1 => Just(Step::MyCommit),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What each id has come to, and what was committed when each held snapshot was taken.
fn play(steps: &[Step]) {
    let mut others: BTreeMap<u32, Other> = BTreeMap::new();
    let mut committed: BTreeMap<u32, bool> = BTreeMap::new();
    let mut held: Vec<(snapshot::Registered, BTreeMap<u32, bool>)> = Vec::new();
    crate::start_transaction().unwrap();
    for step in steps {
        match step {
            Step::Begin(n) => {
                let other = others.entry(*n).or_insert_with(|| Other::begin(*n));
                committed.entry(other.xid.0).or_insert(false);
            }
            Step::Sub(n, overflow) => {
                if let Some(other) = others.get_mut(n) {
                    committed.insert(other.sub(*overflow).0, false);
                }
            }
            Step::End(n, commit) => {
                if let Some(other) = others.remove(n) {
                    for xid in other.subs.iter().chain([&other.xid]) {
                        committed.insert(xid.0, *commit);
                    }
                    other.end(*commit);
                }
            }
            Step::Snapshot => {
                let taken = transaction_snapshot().unwrap();
                held.push((snapshot::register(&taken), committed.clone()));
            }
            Step::MyXid => {
                crate::current_xid().unwrap();
            }
            Step::MyCommit => {
                check_horizons(&others);
                held.clear();
                let mine = crate::current_xid_if_any();
                crate::commit_transaction().unwrap();
                if mine.is_valid() {
                    committed.insert(mine.0, true);
                }
                crate::start_transaction().unwrap();
            }
        }
        for (registered, then) in &held {
            let snapshot = registered.snapshot();
            for xid in committed.keys() {
                let seen = !xid_in_mvcc_snapshot(Xid(*xid), snapshot) && did_commit(Xid(*xid));
                let should = then.get(xid).copied().unwrap_or(false);
                assert_eq!(seen, should, "xid {xid} in {snapshot:?}");
            }
        }
        for other in others.values() {
            assert!(other.subs.iter().chain([&other.xid]).all(|xid| is_in_progress(*xid)), "{step:?}");
        }
        for (xid, done) in &committed {
            if *done {
                assert!(!is_in_progress(Xid(*xid)), "{xid} after {step:?}");
            }
        }
    }
    check_horizons(&others);
    drop(held);
    crate::commit_transaction().unwrap();
    others.into_values().for_each(|other| other.end(true));
}

fn check_horizons(others: &BTreeMap<u32, Other>) {
    let horizon = horizon_for(RelationKind::Data);
    let held = snapshot::oldest_registered_xmin();
    for needed in others.values().map(|other| other.xid).chain(held) {
        assert!(horizon.precedes_or_equals(needed), "horizon {horizon}, {needed} is still needed");
        assert!(!GlobalVis::of(RelationKind::Data).is_removable(needed));
    }
    assert!(GlobalVis::of(RelationKind::Shared).is_removable(horizon.previous()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn snapshots_see_what_was_committed_then(steps in steps()) {
        let world = World::new();
        world.life(fresh(), || play(&steps));
    }
}

#[test]
fn ids_go_round_the_circle() {
    let world = World::new();
    let state = crate::StartupState {
        next_xid: FullXid::new(0, Xid(u32::MAX - 1)),
        oldest_xid: Xid(u32::MAX - 1000),
        ..fresh()
    };
    std::fs::write(world.dir.path().join("pg_xact/0FFF"), vec![0; 8192 * 32]).unwrap();
    world.life(state, || {
        let mut seen = Vec::new();
        for _ in 0..4 {
            crate::start_transaction().unwrap();
            seen.push(crate::xact::top_full_xid().unwrap());
            crate::commit_transaction().unwrap();
        }
        let expected =
            [(0, u32::MAX - 1), (0, u32::MAX), (1, 3), (1, 4)].map(|(e, x)| FullXid::new(e, Xid(x)));
        assert_eq!(seen, expected);
        assert!(seen.iter().all(|full| did_commit(full.xid())));
        assert_eq!(latest_completed(), FullXid::new(1, Xid(4)));
        crate::start_transaction().unwrap();
        let snapshot = transaction_snapshot().unwrap();
        assert_eq!((snapshot.xmin(), snapshot.xmax()), (Xid(5), Xid(5)));
        assert!(!xid_in_mvcc_snapshot(Xid(u32::MAX), &snapshot));
        assert!(GlobalVis::of(RelationKind::Data).is_removable(Xid(u32::MAX)));
        crate::commit_transaction().unwrap();
    });
}

#[test]
fn at_the_end_of_the_circle_ids_are_refused() {
    let world = World::new();
    world.life(fresh(), || {
        let (vacuum, warn, stop, wrap) = varsup::xid_limits();
        assert_eq!((vacuum, wrap), (Xid(200_000_003), Xid(0x8000_0002)));
        assert_eq!((wrap.0 - stop.0, wrap.0 - warn.0), (3_000_000, 40_000_000));
        varsup::advance_past(Xid(70));
        assert_eq!(varsup::read_next_xid(), Xid(71));
        varsup::advance_past(Xid(20));
        assert_eq!(varsup::read_next_xid(), Xid(71));
    });
}

#[test]
fn an_unchanged_world_gives_the_same_snapshot() {
    let world = World::new();
    world.life(fresh(), || {
        crate::start_transaction().unwrap();
        let first = transaction_snapshot().unwrap();
        let again = transaction_snapshot().unwrap();
        assert!(first.same_moment(&again));
        end_of_other(Some(true));
        let after = transaction_snapshot().unwrap();
        assert!(!first.same_moment(&after));
        let me = my_proc();
        assert_eq!(Xid(me.xmin.load(Relaxed)), first.xmin());
        {
            let _active = snapshot::push_active(&after);
            assert!(crate::active_snapshot().unwrap().same_moment(&after));
        }
        assert_eq!(me.xmin.load(Relaxed), 0, "N3");
        crate::commit_transaction().unwrap();
        assert_eq!(me.xid.load(Relaxed), 0, "A5");
    });
}

#[test]
fn an_error_pops_what_it_leaves_behind() {
    let world = World::new();
    world.life(fresh(), || {
        crate::start_transaction().unwrap();
        let outer = snapshot::push_active(&transaction_snapshot().unwrap());
        crate::start_subtransaction().unwrap();
        let inner = snapshot::push_active(&transaction_snapshot().unwrap());
        let cursor = snapshot::register(&transaction_snapshot().unwrap());
        crate::abort_subtransaction();
        drop(inner);
        assert!(crate::active_snapshot().is_some());
        crate::abort_transaction();
        drop((outer, cursor));
        assert!(crate::active_snapshot().is_none());
        assert_eq!(snapshot::oldest_registered_xmin(), None);
    });
}

#[test]
fn running_transactions_are_recorded() {
    let record = running::RunningXacts {
        tops: vec![Xid(700)],
        subs: vec![Xid(701), Xid(702)],
        overflowed: false,
        subs_in_subtrans: false,
        next: Xid(703),
        oldest_running: Xid(700),
        latest_completed: Xid(699),
    };
    let bytes = record.to_bytes();
    assert_eq!(bytes.len(), running::RUNNING_HEADER + 12);
    assert_eq!(running::RunningXacts::from_bytes(&bytes), Some(record));
    assert_eq!(running::RunningXacts::from_bytes(&bytes[..30]), None);
    let world = World::new();
    world.life(fresh(), || {
        let other = Other::begin(3);
        assert_eq!((oldest_active_xid(), pgprocno_of_xid(other.xid)), (other.xid, Some(3)));
        assert!(log_standby_snapshot() > common::Lsn::INVALID);
        other.end(true);
        wait_for_delayed_commits();
        assert_eq!(count_db_backends(common::Oid::INVALID), 1);
    });
}
