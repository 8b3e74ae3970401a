//! The latch protocol under the model checker. A lost wake-up shows as a deadlock.

#![allow(dead_code, reason = "the core is compiled a second time here, and not all of it is used")]

#[path = "core.rs"]
#[allow(clippy::duplicate_mod, reason = "that is the point: the checked source is the one that runs")]
mod core;

/// Loom's atomics for `core`.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicI32, AtomicU32, Ordering, fence};
}

use loom::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use self::core::Core;

struct World {
    latch: Core,
    /// A blocked signal: pending until read; raising it twice is once.
    pending: Mutex<bool>,
    arrived: Condvar,
    work: [AtomicU32; 2],
}

impl World {
    fn new() -> Arc<World> {
        Arc::new(World {
            latch: Core {
                is_set: AtomicU32::new(0),
                maybe_sleeping: AtomicU32::new(0),
                owner_pid: AtomicI32::new(42),
            },
            pending: Mutex::new(false),
            arrived: Condvar::new(),
            work: [AtomicU32::new(0), AtomicU32::new(0)],
        })
    }

    /// Puts work there and sets the latch, as a process or a signal handler does.
    fn give(&self, item: usize) {
        self.work[item].store(1, Ordering::Relaxed);
        if let Some(pid) = self.latch.set() {
            assert_eq!(pid, 42);
            *self.pending.lock().unwrap() = true;
            self.arrived.notify_one();
        }
    }

    /// The loop around the poll in `wait`.
    fn sleep(&self) {
        while self.latch.prepare_sleep() {
            let mut pending = self.pending.lock().unwrap();
            while !*pending {
                pending = self.arrived.wait(pending).unwrap();
            }
            *pending = false;
            drop(pending);
            self.latch.end_sleep();
            if self.latch.is_set() {
                return;
            }
        }
    }

    /// Reset, look for work, wait.
    fn take_all(&self, items: usize) {
        loop {
            self.latch.reset();
            if self.work[..items].iter().all(|item| item.load(Ordering::Relaxed) == 1) {
                return;
            }
            self.sleep();
        }
    }
}

#[test]
fn one_setter() {
    loom::model(|| {
        let world = World::new();
        let setter = world.clone();
        let setter = thread::spawn(move || setter.give(0));
        world.take_all(1);
        setter.join().unwrap();
    });
}

/// T3: the second setter may find the latch set and leave; its work must be seen all the same.
#[test]
fn two_setters() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let world = World::new();
        let setters = [0, 1].map(|item| {
            let world = world.clone();
            thread::spawn(move || world.give(item))
        });
        world.take_all(2);
        for setter in setters {
            setter.join().unwrap();
        }
    });
}
