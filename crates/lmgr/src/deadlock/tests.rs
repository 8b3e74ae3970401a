//! Pictures and what is found in them; and searches of random pictures, checked by brute force.

use proptest::prelude::*;

use super::*;
use crate::mode::LockMode::*;
use crate::mode::Modes;
use common::Xid;

/// A picture as text, one lock a line: `name: holder=mode,mode ... | waiter=mode ...`, the queue in order. Modes: `as`,
/// `rs`, `re`, `sue`, `s`, `sre`, `e`, `x`.
fn picture(text: &str) -> Vec<LockView> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(lock).collect()
}

fn lock(line: &str) -> LockView {
    let (name, rest) = line.split_once(':').unwrap();
    let (holders, queue) = rest.split_once('|').unwrap();
    let pairs = |text: &str| -> Vec<(u32, Vec<LockMode>)> {
        let pair = |word: &str| {
            let (process, modes) = word.split_once('=').unwrap();
            (process.parse().unwrap(), modes.split(',').map(mode).collect())
        };
        text.split_whitespace().map(pair).collect()
    };
    LockView {
        tag: LockTag::Transaction(Xid(name.bytes().next().unwrap().into())),
        holders: pairs(holders).into_iter().map(|(process, modes)| (process, Modes::of(&modes))).collect(),
        queue: pairs(queue).into_iter().map(|(process, modes)| (process, modes[0])).collect(),
    }
}

fn mode(word: &str) -> LockMode {
    let at = ["as", "rs", "re", "sue", "s", "sre", "e", "x"].iter().position(|w| *w == word).unwrap();
    LockMode::ALL[at]
}

fn members(cycle: &[Edge]) -> Vec<u32> {
    cycle.iter().map(|edge| edge.process).collect()
}

#[track_caller]
fn hard(text: &str, start: u32, expected: &[u32]) {
    match check(&picture(text), start) {
        Verdict::Hard(cycle) => assert_eq!(members(&cycle), expected),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn none(text: &str, start: u32) {
    assert_eq!(check(&picture(text), start), Verdict::None);
}

#[track_caller]
fn soft(text: &str, start: u32, expected: &[(usize, &[u32])]) {
    match check(&picture(text), start) {
        Verdict::Soft { orders, .. } => {
            let expected: Vec<_> = expected.iter().map(|(at, order)| (*at, order.to_vec())).collect();
            assert_eq!(orders, expected);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn waiting_is_no_deadlock() {
    none("A: 1=x | 2=x 3=x", 2);
    none("A: 1=x | 2=x\nB: 2=x | 3=x", 3);
}

#[test]
fn two_that_wait_for_each_other() {
    let text = "A: 1=x | 2=x\nB: 2=x | 1=x";
    hard(text, 1, &[1, 2]);
    hard(text, 2, &[2, 1]);
    let Verdict::Hard(cycle) = check(&picture(text), 2) else { panic!() };
    let edge = |process, name: u8| Edge {
        process,
        tag: LockTag::Transaction(Xid(name.into())),
        mode: AccessExclusive,
    };
    assert_eq!(cycle, [edge(2, b'A'), edge(1, b'B')]);
}

#[test]
fn three_in_a_ring() {
    hard("A: 1=x | 3=s\nB: 2=x | 1=s\nC: 3=x | 2=s", 1, &[1, 2, 3]);
}

/// The cycle is for its members to find: who only waits behind it is not the one to give up.
#[test]
fn a_bystander_finds_nothing() {
    none("A: 1=x | 2=x 4=x\nB: 2=x | 1=x", 4);
}

#[test]
fn modes_that_do_not_conflict_make_no_edge() {
    none("A: 1=as | 2=x\nB: 2=re | 1=re", 1);
    hard("A: 1=as | 2=x\nB: 2=s | 1=re", 1, &[1, 2]);
}

/// 3 waits behind 2 for A only because of the queue; 2 waits for 1, who waits for 3.
#[test]
fn a_soft_edge_is_reversed() {
    soft("A: 1=as | 2=x 3=as\nB: 3=x | 1=x", 3, &[(0, &[3, 2])]);
}

#[test]
fn the_order_keeps_what_it_can() {
    let text = "A: 1=as | 2=x 3=x 4=as\nB: 4=x | 1=x";
    soft(text, 4, &[(0, &[4, 2, 3])]);
}

#[test]
fn a_soft_edge_that_cannot_be_reversed() {
    // Behind 2 or before it: 1 has A and waits for 3.
    hard("A: 1=x | 2=x 3=x\nB: 3=x | 1=x", 3, &[3, 1]);
}

#[test]
fn constraints_against_each_other() {
    let search = Search { locks: &picture("A: 9=x | 1=x 2=x 3=x"), waits: HashMap::new() };
    let edge = |waiter, blocker| Constraint { waiter, blocker, lock: 0 };
    assert_eq!(search.sort(0, &[edge(3, 1)]), Some(vec![3, 1, 2]));
    assert_eq!(search.sort(0, &[edge(2, 1), edge(3, 2)]), Some(vec![3, 2, 1]));
    assert_eq!(search.sort(0, &[edge(2, 1), edge(1, 2)]), None);
}

/// Whether the process is on a cycle, asked in another way: reachability over an explicit set of edges.
fn on_cycle(locks: &[LockView], process: u32) -> bool {
    let mut edges = Vec::new();
    for lock in locks {
        for (at, (waiter, wish)) in lock.queue.iter().enumerate() {
            for (holder, held) in &lock.holders {
                if holder != waiter && wish.conflicts().intersects(*held) {
                    edges.push((*waiter, *holder));
                }
            }
            for (ahead, awaited) in &lock.queue[..at] {
                if wish.conflicts_with(*awaited) {
                    edges.push((*waiter, *ahead));
                }
            }
        }
    }
    let (mut reached, mut at) = (vec![process], 0);
    while at < reached.len() {
        for (from, to) in &edges {
            if *from == reached[at] {
                if *to == process {
                    return true;
                }
                if !reached.contains(to) {
                    reached.push(*to);
                }
            }
        }
        at += 1;
    }
    false
}

fn permutations(queue: &[(u32, LockMode)]) -> Vec<Vec<(u32, LockMode)>> {
    if queue.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..queue.len() {
        let mut rest = queue.to_vec();
        let first = rest.remove(at);
        all.extend(permutations(&rest).into_iter().map(|mut order| {
            order.insert(0, first);
            order
        }));
    }
    all
}

/// Whether some order of the queues leaves nobody on a cycle.
fn solvable(locks: &mut [LockView], at: usize) -> bool {
    if at == locks.len() {
        return (0..6).all(|process| !on_cycle(locks, process));
    }
    let queue = locks[at].queue.clone();
    let found = permutations(&queue).into_iter().any(|order| {
        locks[at].queue = order;
        solvable(locks, at + 1)
    });
    locks[at].queue = queue;
    found
}

fn pictures() -> impl Strategy<Value = Vec<LockView>> {
    let mode = || proptest::sample::select(vec![AccessShare, RowExclusive, Share, AccessExclusive]);
    let holds = proptest::collection::vec((0..3usize, 0..6u32, mode()), 0..7);
    let waits = proptest::collection::vec(proptest::option::of((0..3usize, mode())), 6);
    let order = Just((0..6u32).collect::<Vec<_>>()).prop_shuffle();
    (holds, waits, order).prop_map(|(holds, waits, order)| {
        let mut locks: Vec<_> = (0..3)
            .map(|n| LockView { tag: LockTag::Transaction(Xid(n)), holders: Vec::new(), queue: Vec::new() })
            .collect();
        for (at, process, mode) in holds {
            let lock: &mut LockView = &mut locks[at];
            let conflict =
                lock.holders.iter().any(|(p, held)| *p != process && mode.conflicts().intersects(*held));
            if conflict {
                continue;
            }
            match lock.holders.iter_mut().find(|(p, _)| *p == process) {
                Some((_, held)) => held.add(mode),
                None => lock.holders.push((process, Modes::of(&[mode]))),
            }
        }
        for process in order {
            if let Some((at, mode)) = waits[process as usize] {
                locks[at].queue.push((process, mode));
            }
        }
        locks
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn found_is_what_is_there(locks in pictures(), start in 0..6u32) {
        match check(&locks, start) {
            Verdict::None => prop_assert!(!on_cycle(&locks, start)),
            Verdict::Soft { orders, cycle } => {
                prop_assert_eq!(cycle[0].process, start);
                let mut after = locks.clone();
                for (at, order) in orders {
                    let old = std::mem::take(&mut after[at].queue);
                    after[at].queue =
                        order.iter().map(|p| *old.iter().find(|(process, _)| process == p).unwrap()).collect();
                    prop_assert_eq!(after[at].queue.len(), old.len());
                }
                prop_assert!(!on_cycle(&after, start), "D2");
            }
            Verdict::Hard(cycle) => {
                prop_assert_eq!(cycle[0].process, start);
                prop_assert!(on_cycle(&locks, start));
                prop_assert!(!solvable(&mut locks.clone(), 0), "D1");
            }
        }
    }
}
