//! The whole crate at work in one process, over real buffers, WAL and transactions.

use std::rc::Rc;

use common::{BlockNumber, ForkNumber, ItemPointer};
use page::Page;
use transam::Snapshot;
use types::{Datum, oid};

use crate::header::{Header, HeaderMut, infomask};
use crate::testing::{World, fresh, node, table};
use crate::*;

fn row(table: &Table, id: i32, text: &str) -> Tuple {
    form_tuple(&table.desc, &[Datum::Int4(id), Datum::text(text)]).unwrap()
}

fn cid() -> u32 {
    transam::current_command_id(true)
}

fn put(table: &Table, id: i32, text: &str) -> ItemPointer {
    insert(table, &mut row(table, id, text), cid(), InsertOptions::default(), None).unwrap()
}

/// Runs a transaction.
fn commit<R>(body: impl FnOnce() -> R) -> R {
    transam::start_transaction().unwrap();
    let result = body();
    transam::commit_transaction().unwrap();
    result
}

fn abort<R>(body: impl FnOnce() -> R) -> R {
    transam::start_transaction().unwrap();
    let result = body();
    transam::abort_transaction();
    result
}

fn next_command() {
    transam::command_counter_increment().unwrap();
}

/// What the snapshot sees: ids with their addresses.
fn seen_by(table: &Rc<Table>, snapshot: &Snapshot) -> Vec<(i32, ItemPointer)> {
    let mut scan = Scan::begin(table, snapshot.clone(), ScanOptions::default()).unwrap();
    let mut rows = Vec::new();
    while let Some(view) = scan.next().unwrap() {
        let Datum::Int4(id) = view.attr(&table.desc, 1).unwrap() else { panic!("id") };
        rows.push((id, view.tid));
    }
    rows
}

fn ids(table: &Rc<Table>) -> Vec<i32> {
    let snapshot = transam::latest_snapshot().unwrap();
    let mut ids: Vec<i32> = seen_by(table, &snapshot).into_iter().map(|(id, _)| id).collect();
    ids.sort_unstable();
    ids
}

fn find(table: &Rc<Table>, id: i32) -> ItemPointer {
    let snapshot = transam::latest_snapshot().unwrap();
    seen_by(table, &snapshot).into_iter().find(|(other, _)| *other == id).unwrap().1
}

fn change(table: &Rc<Table>, id: i32, to: i32, text: &str) -> UpdateOutcome {
    let tid = find(table, id);
    let outcome =
        update(table, tid, &mut row(table, to, text), cid(), None, UpdateOptions::default()).unwrap();
    assert_eq!(outcome.result, TmResult::Ok);
    outcome
}

fn remove(table: &Rc<Table>, id: i32) {
    let (result, _) = delete(table, find(table, id), cid(), None, true).unwrap();
    assert_eq!(result, TmResult::Ok);
}

const TYPES: [common::Oid; 2] = [oid::INT4, oid::TEXT];

#[test]
fn rows_come_and_go() {
    World::with_buffers(64).life(fresh(), || {
        let t = table(20_000, &TYPES);
        commit(|| {
            put(&t, 1, "one");
            put(&t, 2, "two");
            assert_eq!(ids(&t), [], "this command's rows are not visible to it");
            next_command();
            assert_eq!(ids(&t), [1, 2]);
        });
        abort(|| {
            put(&t, 3, "three");
            remove(&t, 1);
            next_command();
            assert_eq!(ids(&t), [2, 3]);
        });
        commit(|| assert_eq!(ids(&t), [1, 2]));
        commit(|| {
            let outcome = change(&t, 1, 10, "ten");
            assert!(outcome.hot);
            next_command();
            change(&t, 10, 11, "eleven");
            next_command();
            remove(&t, 2);
            next_command();
            assert_eq!(ids(&t), [11]);
        });
        commit(|| assert_eq!(ids(&t), [11]));
    });
}

#[test]
fn a_big_row_says_so() {
    World::with_buffers(64).life(fresh(), || {
        let t = table(20_000, &TYPES);
        abort(|| {
            let mut big = row(&t, 1, &"x".repeat(9000));
            let error = insert(&t, &mut big, cid(), InsertOptions::default(), None).unwrap_err();
            assert_eq!(error.message, "row is too big: size 9032, maximum size 8160");
            assert_eq!(error.sqlstate.as_str(), "54000");
        });
    });
}

#[test]
fn own_changes_are_reported() {
    World::with_buffers(64).life(fresh(), || {
        let t = table(20_000, &TYPES);
        let tid = commit(|| put(&t, 1, "one"));
        commit(|| {
            let now = cid();
            assert_eq!(delete(&t, tid, now, None, true).unwrap().0, TmResult::Ok);
            let (again, failure) = delete(&t, tid, now, None, true).unwrap();
            assert_eq!((again, failure.cmax), (TmResult::SelfModified, now));
        });
        commit(|| assert_eq!(delete(&t, tid, cid(), None, true).unwrap().0, TmResult::Deleted));
    });
}

#[test]
fn locks_are_in_the_row_and_survive_weaker_ones() {
    World::with_buffers(64).life(fresh(), || {
        let t = table(20_000, &TYPES);
        let tid = commit(|| put(&t, 1, "one"));
        commit(|| {
            for mode in [LockTupleMode::KeyShare, LockTupleMode::Exclusive, LockTupleMode::Share] {
                let locked = lock_tuple(&t, tid, cid(), mode, WaitPolicy::Block, true).unwrap();
                assert_eq!(locked.result, TmResult::Ok);
            }
            let tuple = fetch(&t, tid, &Snapshot::any()).unwrap().unwrap();
            let mask = tuple.header().infomask();
            assert!(infomask::is_exclusive_locked(mask) && infomask::is_locked_only(mask), "{mask:#x}");
            assert_eq!(tuple.header().raw_xmax(), transam::current_xid().unwrap());
            change(&t, 1, 2, "two");
        });
        commit(|| {
            assert_eq!(ids(&t), [2]);
            let old = lock_last_version(&t, tid, cid(), LockTupleMode::Exclusive, WaitPolicy::Block).unwrap();
            assert!(old.result == TmResult::Ok && old.failure.traversed);
            assert!(matches!(old.tuple.unwrap().view().attr(&t.desc, 1), Ok(Datum::Int4(2))));
        });
    });
}

/// Every page of a fork, read through the pool.
pub(crate) fn pages(rel: u32, fork: ForkNumber) -> Vec<Box<Page>> {
    let blocks: BlockNumber = storage::smgr::nblocks(node(rel), fork).unwrap();
    (0..blocks)
        .map(|block| {
            let pin = storage::read_buffer(node(rel), fork, block, storage::ReadMode::Normal, None).unwrap();
            let page = pin.shared();
            Page::copy_of(page.bytes())
        })
        .collect()
}

/// Blanks what replay need not restore: hints, command ids, the hole. C: `heap_mask`.
fn masked(mut page: Box<Page>) -> Box<Page> {
    if page.is_new() {
        return page;
    }
    page.set_prune_xid(common::Xid::INVALID);
    page.set_full(false);
    page.set_has_free_lines(false);
    let (lower, upper) = (page.lower(), page.upper());
    page.bytes_mut()[lower..upper].fill(0);
    for offset in 1..=page.max_offset() {
        if !page.item_id(offset).is_normal() {
            continue;
        }
        // Behind a row there may be remains of an older one, hints included.
        let end = page.item_id(offset).offset() + page.item_id(offset).len();
        page.bytes_mut()[end..header::max_align(end)].fill(0);
        let mut h = HeaderMut(page.item_mut(offset));
        h.set_raw_cid(0);
        h.clear(infomask::COMBOCID);
        if !h.read().xmin_frozen() {
            h.clear(infomask::XMIN_FROZEN);
        }
        h.clear(infomask::XMAX_COMMITTED | infomask::XMAX_INVALID);
    }
    page
}

#[track_caller]
pub(crate) fn assert_same(live: &[Box<Page>], replayed: &[Box<Page>]) {
    for (block, (live, replayed)) in live.iter().zip(replayed).enumerate() {
        let (live, replayed) = (masked(Page::copy_of(live.bytes())), masked(Page::copy_of(replayed.bytes())));
        let differ = live.bytes().iter().zip(replayed.bytes()).position(|(a, b)| a != b);
        assert_eq!(differ, None, "block {block}: {:?}", live.max_offset());
    }
    let rest = live.len().min(replayed.len());
    assert!(live[rest..].iter().chain(&replayed[rest..]).all(|page| page.is_new()));
}

/// Does all kinds of things.
fn workload(t: &Rc<Table>) {
    let wide = "w".repeat(500);
    commit(|| {
        let mut bulk = BulkInsert::new();
        let mut rows: Vec<Tuple> = (0..200).map(|i| row(t, i, &wide)).collect();
        multi_insert(t, &mut rows, cid(), InsertOptions::default(), Some(&mut bulk)).unwrap();
        for i in 200..260 {
            put(t, i, "short");
        }
    });
    commit(|| {
        for i in (0..100).step_by(3) {
            change(t, i, i, "changed");
        }
    });
    abort(|| {
        for i in (1..50).step_by(3) {
            change(t, i, -i, &wide);
        }
    });
    commit(|| (2..150).step_by(3).for_each(|i| remove(t, i)));
    commit(|| {
        for i in (1..100).step_by(3) {
            lock_tuple(t, find(t, i), cid(), LockTupleMode::Share, WaitPolicy::Block, true).unwrap();
        }
    });
    let params = VacuumParams { freeze_min_age: 0, ..VacuumParams::default() };
    commit(|| vacuum::vacuum(t, &params).unwrap());
    commit(|| {
        for i in (0..30).step_by(3) {
            change(t, i, i, &"grown".repeat(100));
        }
        (151..180).step_by(2).for_each(|i| remove(t, i));
        let tid = find(t, 201);
        inplace_update(t, tid, &row(t, 9999, "short")).unwrap();
    });
    commit(|| {
        for i in (30..60).step_by(3) {
            lock_tuple(t, find(t, i), cid(), LockTupleMode::KeyShare, WaitPolicy::Block, true).unwrap();
        }
    });
    commit(|| ids(t));
}

#[test]
fn replay_makes_the_same_pages() {
    let world = World::with_buffers(512);
    let (live, map, before) = world.life(fresh(), || {
        let t = table(20_000, &TYPES);
        workload(&t);
        let before = commit(|| ids(&t));
        wal::flush(wal::insert_rec_ptr());
        (pages(20_000, ForkNumber::Main), pages(20_000, ForkNumber::VisibilityMap), before)
    });
    // Nothing was written to the table's files but zeros: all comes from WAL.
    let (replayed, replayed_map, after) = world.recovered(fresh(), || {
        let pages_now = pages(20_000, ForkNumber::Main);
        let map = pages(20_000, ForkNumber::VisibilityMap);
        let t = table(20_000, &TYPES);
        (pages_now, map, commit(|| ids(&t)))
    });
    assert_same(&live, &replayed);
    assert_eq!(before, after);
    for (live, replayed) in map.iter().zip(&replayed_map) {
        assert!(live.bytes()[24..] == replayed.bytes()[24..], "visibility maps differ");
    }
}

#[test]
fn vacuum_gives_everything_back() {
    World::with_buffers(512).life(fresh(), || {
        let t = table(20_000, &TYPES);
        let wide = "w".repeat(1000);
        commit(|| {
            for i in 0..300 {
                put(&t, i, &wide);
            }
        });
        let pages_before = t.nblocks().unwrap();
        assert!(pages_before > 35);
        commit(|| (10..300).for_each(|i| remove(&t, i)));
        let params = VacuumParams { freeze_min_age: 0, ..VacuumParams::default() };
        let report = commit(|| vacuum::vacuum(&t, &params).unwrap());
        assert_eq!(report.tuples_deleted, 290);
        assert_eq!((report.live_tuples, report.reltuples), (10, 10.0));
        assert_eq!(report.relpages, t.nblocks().unwrap());
        assert!(report.relpages == 2 && report.pages_removed == pages_before - 2, "{report:?}");
        assert_eq!(vm::count(&t).unwrap(), (2, 2));
        assert_eq!(commit(|| ids(&t)), (0..10).collect::<Vec<_>>());
        // A change makes its page ordinary again.
        commit(|| change(&t, 0, 0, "x"));
        assert_eq!(vm::count(&t).unwrap(), (1, 1));
    });
}

#[test]
fn updates_in_place_of_pruned_versions_do_not_grow_the_table() {
    World::with_buffers(64).life(fresh(), || {
        let t = table(20_000, &TYPES);
        commit(|| put(&t, 1, "start"));
        for i in 0..2000 {
            commit(|| change(&t, 1, 1, &format!("version {i}")));
        }
        assert_eq!(t.nblocks().unwrap(), 1);
        assert_eq!(commit(|| ids(&t)), [1]);
    });
}

#[test]
fn frozen_rows_have_no_inserter() {
    World::with_buffers(64).life(fresh(), || {
        let t = table(20_000, &TYPES);
        let tid = commit(|| put(&t, 1, "one"));
        let params = VacuumParams { freeze_min_age: 0, ..VacuumParams::default() };
        let report = commit(|| vacuum::vacuum(&t, &params).unwrap());
        assert_eq!(report.tuples_frozen, 1);
        let tuple = commit(|| fetch(&t, tid, &Snapshot::any()).unwrap().unwrap());
        assert!(Header(tuple.bytes()).xmin_frozen());
    });
}

/// Inserting and counting ten million rows; `cargo test --release -p heap -- --ignored --nocapture speed`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    World::with_buffers(65_536).life(fresh(), || {
        const ROWS: i32 = 10_000_000;
        let t = table(20_000, &[oid::INT4]);
        let time = |what: &str, body: &dyn Fn()| {
            let start = std::time::Instant::now();
            body();
            println!("{what}: {:.3} s", start.elapsed().as_secs_f64());
        };
        let mut tuple = Tuple::new();
        tuple.form(&t.desc, &[Datum::Int4(1)]).unwrap();
        time("insert, one by one", &|| {
            commit(|| {
                let mut tuple = Tuple::new();
                for i in 0..ROWS {
                    tuple.form(&t.desc, &[Datum::Int4(i)]).unwrap();
                    insert(&t, &mut tuple, 0, InsertOptions::default(), None).unwrap();
                }
            });
        });
        for what in ["count, setting hints", "count", "count again"] {
            time(what, &|| {
                commit(|| {
                    let snapshot = transam::latest_snapshot().unwrap();
                    let mut scan = Scan::begin(&t, snapshot, ScanOptions::default()).unwrap();
                    let mut rows = 0;
                    while scan.next().unwrap().is_some() {
                        rows += 1;
                    }
                    assert_eq!(rows, ROWS);
                });
            });
        }
        time("scan with one column", &|| {
            commit(|| {
                let snapshot = transam::latest_snapshot().unwrap();
                let mut scan = Scan::begin(&t, snapshot, ScanOptions::default()).unwrap();
                let (mut sum, mut values) = (0i64, Vec::new());
                while let Some(view) = scan.next().unwrap() {
                    view.deform(&t.desc, 1, &mut values).unwrap();
                    sum += values[0].as_i64().unwrap();
                }
                assert_eq!(sum, i64::from(ROWS) * i64::from(ROWS - 1) / 2);
            });
        });
        let t2 = table(20_001, &[oid::INT4]);
        time("multi-insert", &|| {
            commit(|| {
                let mut bulk = BulkInsert::new();
                let mut tuples = vec![Tuple::new(); 1000];
                for chunk in 0..ROWS / 1000 {
                    for (i, tuple) in tuples.iter_mut().enumerate() {
                        tuple.form(&t2.desc, &[Datum::Int4(chunk * 1000 + i as i32)]).unwrap();
                    }
                    multi_insert(&t2, &mut tuples, 0, InsertOptions::default(), Some(&mut bulk)).unwrap();
                }
            });
        });
        time("vacuum", &|| {
            commit(|| vacuum::vacuum(&t, &VacuumParams::default()).unwrap());
        });
        time("count, all visible", &|| {
            commit(|| {
                let snapshot = transam::latest_snapshot().unwrap();
                let mut scan = Scan::begin(&t, snapshot, ScanOptions::default()).unwrap();
                assert_eq!(scan.count_remaining().unwrap(), ROWS as u64);
            });
        });
    });
}
