//! The rules of one partition, as stories and against a model.

use proptest::prelude::*;

use super::*;
use crate::mode::LockMode::*;
use common::{Oid, Xid};

fn tag(n: u32) -> LockTag {
    LockTag::Transaction(Xid(n))
}

/// What a process gets for its request.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Got {
    Lock,
    Wait,
    Deadlock(u32),
}

fn request(shard: &mut Shard, tag: LockTag, process: u32, mode: LockMode) -> Got {
    let place = shard.enter(tag, tag.hash(), process).unwrap();
    if shard.try_grant(place, mode) {
        return Got::Lock;
    }
    match shard.enqueue(place, mode) {
        Queued::Granted => Got::Lock,
        Queued::Waiting => Got::Wait,
        Queued::Deadlock { process, .. } => {
            shard.drop_if_unused(place);
            Got::Deadlock(process)
        }
    }
}

fn release(shard: &mut Shard, tag: LockTag, process: u32, mode: LockMode) -> Vec<u32> {
    let place = shard.find(tag, tag.hash(), process).unwrap();
    shard.release(place, mode)
}

fn queue(shard: &Shard, tag: LockTag) -> Vec<u32> {
    let view = shard.view_of(tag, tag.hash());
    view.map_or(Vec::new(), |view| view.queue.into_iter().map(|(process, _)| process).collect())
}

#[test]
fn a_waiter_is_woken_by_the_last_in_its_way() {
    let (mut shard, a) = (Shard::new(), tag(10));
    assert_eq!(request(&mut shard, a, 1, Share), Got::Lock);
    assert_eq!(request(&mut shard, a, 2, Share), Got::Lock);
    assert_eq!(request(&mut shard, a, 3, Exclusive), Got::Wait);
    assert_eq!(release(&mut shard, a, 1, Share), []);
    assert_eq!(release(&mut shard, a, 2, Share), [3]);
    assert_eq!(release(&mut shard, a, 3, Exclusive), []);
    assert!(shard.views().is_empty());
}

/// A reader that comes after a waiting writer waits behind it, though it could share with those who hold.
#[test]
fn nobody_overtakes_a_waiter_that_it_conflicts_with() {
    let (mut shard, a) = (Shard::new(), tag(10));
    request(&mut shard, a, 1, AccessShare);
    assert_eq!(request(&mut shard, a, 2, AccessExclusive), Got::Wait);
    assert_eq!(request(&mut shard, a, 3, AccessShare), Got::Wait);
    assert_eq!(release(&mut shard, a, 1, AccessShare), [2]);
    assert_eq!(release(&mut shard, a, 2, AccessExclusive), [3]);
}

/// Who holds what the first waiter waits to go is let in before it: behind it both would wait for ever.
#[test]
fn a_holder_goes_ahead_of_those_that_wait_for_it() {
    let (mut shard, a) = (Shard::new(), tag(10));
    request(&mut shard, a, 1, AccessShare);
    assert_eq!(request(&mut shard, a, 2, AccessExclusive), Got::Wait);
    assert_eq!(request(&mut shard, a, 1, RowExclusive), Got::Lock);
    // With another holder in the way it waits, but in front.
    request(&mut shard, a, 1, Share);
    let (mut shard, a) = (Shard::new(), tag(11));
    request(&mut shard, a, 1, AccessShare);
    request(&mut shard, a, 4, RowExclusive);
    assert_eq!(request(&mut shard, a, 2, AccessExclusive), Got::Wait);
    assert_eq!(request(&mut shard, a, 1, Share), Got::Wait);
    assert_eq!(queue(&shard, a), [1, 2]);
    assert_eq!(release(&mut shard, a, 4, RowExclusive), [1]);
}

/// Two that share and both want more: the second is told at once.
#[test]
fn an_upgrade_of_two_is_an_early_deadlock() {
    let (mut shard, a) = (Shard::new(), tag(10));
    request(&mut shard, a, 1, Share);
    request(&mut shard, a, 2, Share);
    assert_eq!(request(&mut shard, a, 1, Exclusive), Got::Wait);
    assert_eq!(request(&mut shard, a, 2, Exclusive), Got::Deadlock(1));
    assert_eq!(queue(&shard, a), [1]);
}

#[test]
fn leaving_the_queue_lets_those_behind_in() {
    let (mut shard, a) = (Shard::new(), tag(10));
    request(&mut shard, a, 1, AccessShare);
    request(&mut shard, a, 2, AccessExclusive);
    request(&mut shard, a, 3, AccessShare);
    let place = shard.find(a, a.hash(), 2).unwrap();
    assert_eq!(shard.leave_queue(place), [3]);
    assert_eq!(queue(&shard, a), []);
}

#[test]
fn a_queue_is_reordered_only_if_it_is_as_expected() {
    let (mut shard, a) = (Shard::new(), tag(10));
    request(&mut shard, a, 1, AccessExclusive);
    for process in [2, 3, 4] {
        assert_eq!(request(&mut shard, a, process, AccessExclusive), Got::Wait);
    }
    let lock = shard.find(a, a.hash(), 2).unwrap().lock;
    assert_eq!(shard.reorder(lock, &[2, 4, 3], &[4, 3, 2]), None);
    assert_eq!(shard.reorder(lock, &[2, 3, 4], &[4, 2, 3]), Some(vec![]));
    assert_eq!(queue(&shard, a), [4, 2, 3]);
    assert_eq!(release(&mut shard, a, 1, AccessExclusive), [4]);
}

#[test]
fn full_is_an_answer_and_leaves_nothing_behind() {
    let mut shard = Shard::new();
    for n in 0..LOCKS as u32 {
        assert_eq!(request(&mut shard, tag(n), 1, Share), Got::Lock);
    }
    let one_more = LockTag::Relation { db: Oid(1), rel: Oid(2) };
    assert_eq!(shard.enter(one_more, one_more.hash(), 1), Err(Full));
    for n in 0..LOCKS as u32 {
        assert_eq!(request(&mut shard, tag(n), 2, Share), Got::Lock);
    }
    // Now there are no slots for holders either.
    assert_eq!(shard.enter(tag(0), tag(0).hash(), 3), Err(Full));
    for n in 0..LOCKS as u32 {
        release(&mut shard, tag(n), 1, Share);
        release(&mut shard, tag(n), 2, Share);
    }
    assert!(shard.views().is_empty());
    assert!(shard.enter(one_more, one_more.hash(), 1).is_ok());
}

/// One lock, by the rules as the manual and the module's page say them, without slots, masks and counts.
#[derive(Default)]
struct Model {
    held: Vec<(u32, LockMode)>,
    queue: Vec<(u32, LockMode)>,
}

impl Model {
    fn blocked(&self, process: u32, mode: LockMode) -> bool {
        self.held.iter().any(|(other, held)| *other != process && mode.conflicts_with(*held))
    }

    fn request(&mut self, process: u32, mode: LockMode) -> Got {
        let overtakes = self.queue.iter().any(|(_, awaited)| mode.conflicts_with(*awaited));
        if !overtakes && !self.blocked(process, mode) {
            self.held.push((process, mode));
            return Got::Lock;
        }
        let mine: Vec<_> = self.held.iter().filter(|(p, _)| *p == process).map(|(_, m)| *m).collect();
        let waits_for_me = |awaited: LockMode| mine.iter().any(|m| awaited.conflicts_with(*m));
        let Some(at) = self.queue.iter().position(|(_, awaited)| waits_for_me(*awaited)) else {
            self.queue.push((process, mode));
            return Got::Wait;
        };
        let other = self.queue[at].0;
        if self.held.iter().any(|(p, held)| *p == other && mode.conflicts_with(*held)) {
            return Got::Deadlock(other);
        }
        let ahead = self.queue[..at].iter().any(|(_, awaited)| mode.conflicts_with(*awaited));
        if !ahead && !self.blocked(process, mode) {
            self.held.push((process, mode));
            return Got::Lock;
        }
        self.queue.insert(at, (process, mode));
        Got::Wait
    }

    fn wake(&mut self) -> Vec<u32> {
        let (mut woken, mut stay): (Vec<u32>, Vec<(u32, LockMode)>) = Default::default();
        for (process, mode) in std::mem::take(&mut self.queue) {
            let behind = stay.iter().any(|(_, awaited)| mode.conflicts_with(*awaited));
            if behind || self.blocked(process, mode) {
                stay.push((process, mode));
            } else {
                self.held.push((process, mode));
                woken.push(process);
            }
        }
        self.queue = stay;
        woken
    }
}

#[derive(Clone, Debug)]
enum Step {
    Request(usize, u32, LockMode),
    Release(usize, usize),
    Leave(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = proptest::sample::select(LockMode::ALL.to_vec());
    let one = prop_oneof![
        4 => (0..3usize, 0..6u32, mode).prop_map(|(lock, process, mode)| Step::Request(lock, process, mode)),
        3 => (0..3usize, 0..20usize).prop_map(|(lock, n)| Step::Release(lock, n)),
        1 => (0..3usize, 0..20usize).prop_map(|(lock, n)| Step::Leave(lock, n)),
    ];
    proptest::collection::vec(one, 1..120)
}

fn check(shard: &Shard, tag: LockTag, model: &Model) {
    let view = shard.view_of(tag, tag.hash());
    let Some(view) = view else {
        assert!(model.held.is_empty() && model.queue.is_empty(), "K4");
        return;
    };
    assert_eq!(view.queue, model.queue);
    let mut held: Vec<_> = view
        .holders
        .iter()
        .flat_map(|(process, modes)| modes.iter().map(move |mode| (*process, mode)))
        .collect();
    let mut expected = model.held.clone();
    held.sort_unstable();
    expected.sort_unstable();
    assert_eq!(held, expected);
    for (p, a) in &held {
        assert!(held.iter().all(|(q, b)| p == q || !a.conflicts_with(*b)), "K2");
    }
    let lock = shard.locks[usize::from(shard.find_lock(&tag.pack(), tag.hash()).unwrap())];
    for mode in LockMode::ALL {
        let count = held.iter().filter(|(_, m)| *m == mode).count() as u32;
        assert_eq!(lock.granted[mode as usize - 1], count, "K1");
        assert_eq!(Modes(lock.granted_modes).contains(mode), count > 0, "K1");
        let waits = view.queue.iter().any(|(_, m)| *m == mode);
        assert_eq!(Modes(lock.waiting_modes).contains(mode), waits, "K3");
    }
    for (process, modes) in &view.holders {
        assert!(!modes.is_empty() || view.queue.iter().any(|(p, _)| p == process), "K4");
    }
    if let Some((process, mode)) = view.queue.first() {
        assert!(model.blocked(*process, *mode), "K5");
    }
}

proptest! {
    #[test]
    fn as_the_model(steps in steps()) {
        // Tags of one bucket, so that its chain is exercised.
        let bucket = |n: u32| tag(n).hash() >> 16 & 511;
        let mut tags: Vec<u32> = (1..100_000).filter(|n| bucket(*n) == bucket(1)).take(3).collect();
        tags.sort_unstable();
        let mut shard = Shard::new();
        let mut models: Vec<Model> = (0..3).map(|_| Model::default()).collect();
        for step in steps {
            match step {
                Step::Request(at, process, mode) => {
                    let waits = models.iter().any(|m| m.queue.iter().any(|(p, _)| *p == process));
                    if waits || models[at].held.contains(&(process, mode)) {
                        continue;
                    }
                    let expected = models[at].request(process, mode);
                    prop_assert_eq!(request(&mut shard, tag(tags[at]), process, mode), expected);
                }
                Step::Release(at, n) => {
                    let model = &mut models[at];
                    if model.held.is_empty() {
                        continue;
                    }
                    let (process, mode) = model.held.remove(n % model.held.len());
                    let mut expected = model.wake();
                    let mut woken = release(&mut shard, tag(tags[at]), process, mode);
                    expected.sort_unstable();
                    woken.sort_unstable();
                    prop_assert_eq!(woken, expected);
                }
                Step::Leave(at, n) => {
                    let model = &mut models[at];
                    if model.queue.is_empty() {
                        continue;
                    }
                    let (process, _) = model.queue.remove(n % model.queue.len());
                    let expected = model.wake();
                    let place = shard.find(tag(tags[at]), tag(tags[at]).hash(), process).unwrap();
                    prop_assert_eq!(shard.leave_queue(place), expected);
                }
            }
            for (n, model) in tags.iter().zip(&models) {
                check(&shard, tag(*n), model);
            }
        }
    }
}
