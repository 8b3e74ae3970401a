//! Random work against a model, and the same pages again from WAL.

use std::collections::BTreeMap;

use common::{ForkNumber, ItemPointer};
use proptest::prelude::*;
use types::{Datum, oid};

use crate::testing::{World, fresh, table};
use crate::tests::{assert_same, pages};
use crate::*;

/// One statement. Rows are named by their position among those that are there.
#[derive(Clone, Debug)]
enum Op {
    Insert(usize),
    InsertMany(u8),
    Update(usize, usize),
    Delete(usize),
    Lock(usize, u8),
    Commit,
    Abort,
    Savepoint,
    Release,
    RollbackTo,
    Vacuum(bool),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0usize..600).prop_map(Op::Insert),
        1 => (1u8..100).prop_map(Op::InsertMany),
        8 => (any::<usize>(), 0usize..600).prop_map(|(row, len)| Op::Update(row, len)),
        4 => any::<usize>().prop_map(Op::Delete),
        3 => (any::<usize>(), 0u8..4).prop_map(|(row, mode)| Op::Lock(row, mode)),
        4 => Just(Op::Commit),
        2 => Just(Op::Abort),
        2 => Just(Op::Savepoint),
        1 => Just(Op::Release),
        1 => Just(Op::RollbackTo),
        1 => any::<bool>().prop_map(Op::Vacuum),
    ]
}

/// Rows by id: address and length of the text.
type Rows = BTreeMap<i32, (ItemPointer, usize)>;

struct Model {
    /// As of each open level, the committed state first.
    levels: Vec<Rows>,
    next_id: i32,
}

impl Model {
    fn now(&mut self) -> &mut Rows {
        self.levels.last_mut().unwrap()
    }

    fn pick(&mut self, n: usize) -> Option<(i32, ItemPointer)> {
        let rows = self.now();
        let len = rows.len().max(1);
        rows.iter().nth(n % len).map(|(id, (tid, _))| (*id, *tid))
    }

    fn new_row(&mut self, table: &Table, len: usize) -> (i32, Tuple) {
        self.next_id += 1;
        (self.next_id, row(table, self.next_id, len))
    }
}

fn row(table: &Table, id: i32, len: usize) -> Tuple {
    form_tuple(&table.desc, &[Datum::Int4(id), Datum::text("x".repeat(len))]).unwrap()
}

fn statement(table: &Table, model: &mut Model, op: &Op) {
    let cid = transam::current_command_id(true);
    match op {
        Op::Insert(len) => {
            let (id, mut tuple) = model.new_row(table, *len);
            let tid = insert(table, &mut tuple, cid, InsertOptions::default(), None).unwrap();
            model.now().insert(id, (tid, *len));
        }
        Op::InsertMany(n) => {
            let (ids, mut tuples): (Vec<i32>, Vec<Tuple>) = (0..*n).map(|_| model.new_row(table, 20)).unzip();
            let mut bulk = BulkInsert::new();
            multi_insert(table, &mut tuples, cid, InsertOptions::default(), Some(&mut bulk)).unwrap();
            let rows = ids.into_iter().zip(tuples.iter().map(|t| (t.tid, 20)));
            model.now().extend(rows);
        }
        Op::Update(n, len) => {
            let Some((id, tid)) = model.pick(*n) else { return };
            let mut tuple = row(table, id, *len);
            let options = UpdateOptions { hot_allowed: n % 3 != 0, key_changed: n % 5 == 0, wait: true };
            let outcome = update(table, tid, &mut tuple, cid, None, options).unwrap();
            assert_eq!(outcome.result, TmResult::Ok);
            model.now().insert(id, (tuple.tid, *len));
        }
        Op::Delete(n) => {
            let Some((id, tid)) = model.pick(*n) else { return };
            assert_eq!(delete(table, tid, cid, None, true).unwrap().0, TmResult::Ok);
            model.now().remove(&id);
        }
        Op::Lock(n, mode) => {
            let Some((_, tid)) = model.pick(*n) else { return };
            use LockTupleMode::{Exclusive, KeyShare, NoKeyExclusive, Share};
            let mode = [KeyShare, Share, NoKeyExclusive, Exclusive][*mode as usize];
            let locked = lock_tuple(table, tid, cid, mode, WaitPolicy::Block, true).unwrap();
            assert_eq!(locked.result, TmResult::Ok);
        }
        _ => {}
    }
    transam::command_counter_increment().unwrap();
}

fn compare(table: &std::rc::Rc<Table>, rows: &Rows) {
    let snapshot = transam::latest_snapshot().unwrap();
    let mut scan = Scan::begin(table, snapshot, ScanOptions::default()).unwrap();
    let mut found = Rows::new();
    while let Some(view) = scan.next().unwrap() {
        let mut values = Vec::new();
        view.deform(&table.desc, 2, &mut values).unwrap();
        let (Datum::Int4(id), Datum::Text(text)) = (&values[0], &values[1]) else { panic!("{values:?}") };
        assert!(found.insert(*id, (view.tid, text.len())).is_none(), "row {id} is there twice");
    }
    assert_eq!(&found, rows);
}

fn run(table: &std::rc::Rc<Table>, ops: &[Op]) -> Rows {
    let mut model = Model { levels: vec![Rows::new(), Rows::new()], next_id: 0 };
    transam::start_transaction().unwrap();
    for op in ops {
        match op {
            Op::Commit | Op::Abort | Op::Vacuum(_) => {
                if matches!(op, Op::Abort) {
                    transam::abort_transaction();
                } else {
                    while model.levels.len() > 2 {
                        transam::commit_subtransaction().unwrap();
                        let top = model.levels.pop().unwrap();
                        *model.now() = top;
                    }
                    transam::commit_transaction().unwrap();
                    model.levels[0] = model.levels[1].clone();
                }
                if let Op::Vacuum(freeze) = op {
                    let age = if *freeze { 0 } else { -1 };
                    let params = VacuumParams { freeze_min_age: age, ..VacuumParams::default() };
                    transam::start_transaction().unwrap();
                    vacuum::vacuum(table, &params).unwrap();
                    transam::commit_transaction().unwrap();
                }
                let committed = model.levels[0].clone();
                model.levels = vec![committed.clone(), committed];
                transam::start_transaction().unwrap();
            }
            Op::Savepoint => {
                transam::start_subtransaction().unwrap();
                let top = model.now().clone();
                model.levels.push(top);
            }
            Op::Release if model.levels.len() > 2 => {
                transam::commit_subtransaction().unwrap();
                let top = model.levels.pop().unwrap();
                *model.now() = top;
            }
            Op::RollbackTo if model.levels.len() > 2 => {
                transam::abort_subtransaction();
                model.levels.pop();
            }
            other => statement(table, &mut model, other),
        }
        compare(table, model.now());
    }
    transam::abort_transaction();
    model.levels.swap_remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_what_the_model_says_and_so_is_its_replay(ops in prop::collection::vec(op(), 1..150)) {
        let types = [oid::INT4, oid::TEXT];
        let world = World::with_buffers(512);
        let (live, rows) = world.life(fresh(), || {
            let t = table(20_000, &types);
            let rows = run(&t, &ops);
            wal::flush(wal::insert_rec_ptr());
            (pages(20_000, ForkNumber::Main), rows)
        });
        world.recovered(fresh(), || {
            let replayed = pages(20_000, ForkNumber::Main);
            // A table may have been cut by VACUUM: that record is the storage manager's, not replayed here.
            assert_same(&live, &replayed[..live.len().min(replayed.len())]);
            let t = table(20_000, &types);
            transam::start_transaction().unwrap();
            if replayed.len() == live.len() {
                compare(&t, &rows);
            }
            transam::commit_transaction().unwrap();
        });
    }
}
