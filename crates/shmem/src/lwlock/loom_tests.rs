//! The LWLock core under the model checker: every interleaving (up to a bound on preemptions) of a few
//! processes, including what weaker memory would allow.
//!
//! A lost wake-up shows as a deadlock, a double owner as a data race on `data`.

#![allow(dead_code, reason = "the core is compiled a second time here, and not all of it is used")]

#[path = "core.rs"]
#[allow(clippy::duplicate_mod, reason = "that is the point: the checked source is the one that runs")]
#[allow(unreachable_pub, reason = "pub in the other compilation")]
mod core;

/// Loom's atomics for `core`.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicU32, Ordering};

    pub(super) struct Pause;
    impl Pause {
        pub(super) fn new() -> Pause {
            Pause
        }
        pub(super) fn pause(&mut self) {
            loom::thread::yield_now();
        }
    }
}

use std::sync::atomic::AtomicBool;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use self::core::{Attempt, Core, LOST_ROUNDS, LwMode, Parking, WaitNode, wake};
use self::sync::Ordering;

/// A futex per process: comparing and going to sleep is one step, as in the kernel. Loom has no time: an impatient process
/// finds its patience at an end when it first goes to sleep, and never again.
struct Futexes {
    impatient: Vec<AtomicBool>,
    nodes: Vec<WaitNode>,
    queues: Vec<(Mutex<()>, Condvar)>,
}

impl Parking for Futexes {
    fn node(&self, process: u32) -> &WaitNode {
        &self.nodes[process as usize]
    }

    fn park(&self, process: u32) -> bool {
        if self.impatient[process as usize].swap(false, Ordering::Relaxed) {
            return false;
        }
        let (mutex, sleepers) = &self.queues[process as usize];
        let bucket = mutex.lock().unwrap();
        if self.node(process).wake.load(Ordering::Relaxed) == wake::WAITING {
            drop(sleepers.wait(bucket).unwrap());
        }
        true
    }

    fn unpark(&self, process: u32) {
        let (mutex, sleepers) = &self.queues[process as usize];
        let _bucket = mutex.lock().unwrap();
        sleepers.notify_all();
    }
}

struct World {
    lock: Core,
    futexes: Futexes,
    data: UnsafeCell<u32>,
    order: Mutex<Vec<u32>>,
}

// SAFETY: `data` is only touched under the lock; that this is true is what loom checks.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new(processes: usize) -> Arc<World> {
        World::with_impatient(processes, &[])
    }

    /// The named ones close the door when they have to wait.
    fn with_impatient(processes: usize, impatient: &[u32]) -> Arc<World> {
        let impatient = (0..processes).map(|me| AtomicBool::new(impatient.contains(&(me as u32)))).collect();
        Arc::new(World {
            lock: Core::new(),
            futexes: Futexes {
                impatient,
                nodes: (0..processes).map(|_| WaitNode::new()).collect(),
                queues: (0..processes).map(|_| (Mutex::new(()), Condvar::new())).collect(),
            },
            data: UnsafeCell::new(0),
            order: Mutex::new(Vec::new()),
        })
    }

    fn acquire(&self, mode: LwMode, me: u32) {
        if !self.lock.try_acquire(mode) {
            self.lock.acquire_waiting(mode, me, &self.futexes);
        }
    }

    fn write(&self, me: u32) {
        self.acquire(LwMode::Exclusive, me);
        self.change();
        self.lock.release(LwMode::Exclusive, &self.futexes);
    }

    fn change(&self) {
        // SAFETY: loom panics if anybody else looks or writes at the same time.
        self.data.with_mut(|data| unsafe { *data += 1 });
    }

    fn read(&self, me: u32) -> u32 {
        self.acquire(LwMode::Shared, me);
        // SAFETY: as above.
        let seen = self.data.with(|data| unsafe { *data });
        self.lock.release(LwMode::Shared, &self.futexes);
        seen
    }

    fn assert_free(&self) {
        assert_eq!(self.lock.holders(), (false, 0));
        assert!(self.lock.try_acquire(LwMode::Exclusive), "flags were left behind");
        self.lock.release(LwMode::Exclusive, &self.futexes);
        assert!(self.lock.try_acquire(LwMode::Shared), "flags were left behind");
        self.lock.release(LwMode::Shared, &self.futexes);
    }
}

/// Three processes that spin for the queue's lock can chase each other for longer than loom follows: two
/// preemptions there, more where there are two.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn two_writers_twice(impatient: &'static [u32]) {
    check(4, move || {
        let world = World::with_impatient(2, impatient);
        let other = world.clone();
        let second = thread::spawn(move || {
            other.write(1);
            other.write(1);
        });
        world.write(0);
        world.write(0);
        second.join().unwrap();
        assert_eq!(world.read(0), 4);
        world.assert_free();
    });
}

fn three_writers(impatient: &'static [u32]) {
    check(2, move || {
        let world = World::with_impatient(3, impatient);
        let others: Vec<_> = [1, 2]
            .map(|me| {
                let world = world.clone();
                thread::spawn(move || world.write(me))
            })
            .into();
        world.write(0);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(world.read(0), 3);
        world.assert_free();
    });
}

fn readers_and_a_writer(impatient: &'static [u32]) {
    check(2, move || {
        let world = World::with_impatient(3, impatient);
        let (a, b) = (world.clone(), world.clone());
        let writer = thread::spawn(move || a.write(1));
        let reader = thread::spawn(move || assert!(b.read(2) <= 1));
        assert!(world.read(0) <= 1);
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(world.read(0), 1);
        world.assert_free();
    });
}

/// Processes 1 and 2 (of which the first may be overtaken) stand in the queue in that order; whatever happens,
/// they get the lock in that order. `overtaker` tries to slip in between.
fn check_queue_order(modes: [LwMode; 2], overtaker: bool) {
    check(3, move || {
        let world = World::new(3);
        world.acquire(LwMode::Exclusive, 0);
        for (me, mode) in [1, 2].into_iter().zip(modes) {
            assert!(!world.lock.enter_or_queue(mode, me, Attempt::First, &world.futexes));
        }
        assert_eq!(world.lock.queue(&world.futexes), [1, 2]);
        let waiters: Vec<_> = [1u32, 2]
            .into_iter()
            .zip(modes)
            .map(|(me, mode)| {
                let world = world.clone();
                thread::spawn(move || {
                    world.lock.wait_in_queue(mode, me, &world.futexes);
                    world.order.lock().unwrap().push(me);
                    world.lock.release(mode, &world.futexes);
                })
            })
            .collect();
        world.lock.release(LwMode::Exclusive, &world.futexes);
        if overtaker && world.lock.try_acquire(LwMode::Exclusive) {
            world.change();
            world.lock.release(LwMode::Exclusive, &world.futexes);
        }
        for waiter in waiters {
            waiter.join().unwrap();
        }
        let order = world.order.lock().unwrap().clone();
        if modes == [LwMode::Shared; 2] {
            assert_eq!(order.len(), 2);
        } else {
            assert_eq!(order, [1, 2]);
        }
        world.assert_free();
    });
}

#[test]
fn writers_in_order() {
    check_queue_order([LwMode::Exclusive, LwMode::Exclusive], false);
}

#[test]
fn writers_in_order_though_overtaken() {
    check_queue_order([LwMode::Exclusive, LwMode::Exclusive], true);
}

#[test]
fn writer_before_reader_though_overtaken() {
    check_queue_order([LwMode::Exclusive, LwMode::Shared], true);
}

#[test]
fn reader_before_writer() {
    check_queue_order([LwMode::Shared, LwMode::Exclusive], true);
}

#[test]
fn readers_together() {
    check_queue_order([LwMode::Shared, LwMode::Shared], true);
}

/// A writer that has lost the race too often is handed the lock: from the moment it is back in the queue nobody
/// slips in before it, not even between the release and the hand-over.
#[test]
fn overtaken_so_often_and_never_again() {
    check(3, || {
        let world = World::new(3);
        let futexes = &world.futexes;
        world.acquire(LwMode::Exclusive, 0);
        assert!(!world.lock.enter_or_queue(LwMode::Exclusive, 1, Attempt::First, futexes));
        world.lock.release(LwMode::Exclusive, futexes);
        assert_eq!(futexes.node(1).wake.load(Ordering::Relaxed), wake::TRY_AGAIN);
        world.acquire(LwMode::Exclusive, 0);
        let lost = Attempt::Woken { lost: LOST_ROUNDS };
        assert!(!world.lock.enter_or_queue(LwMode::Exclusive, 1, lost, futexes));
        let overtaken = world.clone();
        let overtaken = thread::spawn(move || {
            overtaken.lock.wait_in_queue(LwMode::Exclusive, 1, &overtaken.futexes);
            overtaken.order.lock().unwrap().push(1);
            overtaken.lock.release(LwMode::Exclusive, &overtaken.futexes);
        });
        let newcomers = [LwMode::Exclusive, LwMode::Shared].map(|mode| {
            let world = world.clone();
            move || {
                if world.lock.try_acquire(mode) {
                    assert_eq!(*world.order.lock().unwrap(), [1]);
                    world.lock.release(mode, &world.futexes);
                }
            }
        });
        let [writer, reader] = newcomers;
        let writer = thread::spawn(writer);
        world.lock.release(LwMode::Exclusive, futexes);
        reader();
        overtaken.join().unwrap();
        writer.join().unwrap();
        assert_eq!(*world.order.lock().unwrap(), [1]);
        world.assert_free();
    });
}

#[test]
fn two_patient_writers() {
    two_writers_twice(&[]);
}

#[test]
fn two_impatient_writers() {
    two_writers_twice(&[0, 1]);
}

#[test]
fn three_patient_writers() {
    three_writers(&[]);
}

#[test]
fn three_impatient_writers() {
    three_writers(&[0, 1, 2]);
}

#[test]
fn patient_readers_and_a_writer() {
    readers_and_a_writer(&[]);
}

#[test]
fn readers_and_an_impatient_writer() {
    readers_and_a_writer(&[1]);
}

#[test]
fn impatient_readers_and_a_writer() {
    readers_and_a_writer(&[0, 2]);
}

/// Once the writer has closed the door nobody gets in before it, however the release and its sleep fall.
#[test]
fn a_closed_door_ends_a_stream_of_readers() {
    check(3, || {
        let world = World::new(3);
        world.acquire(LwMode::Shared, 0);
        assert!(!world.lock.enter_or_queue(LwMode::Exclusive, 1, Attempt::First, &world.futexes));
        assert!(world.lock.try_acquire(LwMode::Shared), "a reader walks past a waiting writer");
        world.lock.release(LwMode::Shared, &world.futexes);
        world.lock.close_door();
        let patient = world.clone();
        let writer = thread::spawn(move || {
            patient.lock.wait_in_queue(LwMode::Exclusive, 1, &patient.futexes);
            patient.order.lock().unwrap().push(1);
            patient.lock.release(LwMode::Exclusive, &patient.futexes);
        });
        assert!(!world.lock.try_acquire(LwMode::Shared));
        world.lock.release(LwMode::Shared, &world.futexes);
        if world.lock.try_acquire(LwMode::Shared) {
            assert_eq!(*world.order.lock().unwrap(), [1]);
            world.lock.release(LwMode::Shared, &world.futexes);
        }
        writer.join().unwrap();
        world.assert_free();
    });
}
