//! LWLocks between real processes.

use std::sync::atomic::{AtomicU32, Ordering};

use common::BackendType;

use super::*;
use crate::testing::{Child, End, alone, segment, until};
use crate::{Segment, ShmVar, my_proc, shm_struct, tranche};

shm_struct! {
    struct Shared {
        pair: LwLock<[u64; 2]>,
        order: LwLock<[u32; 16]>,
        position: AtomicU32,
        ready: AtomicU32,
        go: AtomicU32,
    }
}

static SHARED: ShmVar<Shared> = ShmVar::new("lwlock test");

fn world() -> Segment {
    segment(|reservation| {
        reservation.var(&SHARED, || Shared {
            pair: LwLock::new(tranche::PROC_ARRAY, [0; 2]),
            order: LwLock::new(tranche::WAL_WRITE, [0; 16]),
            position: AtomicU32::new(0),
            ready: AtomicU32::new(0),
            go: AtomicU32::new(0),
        });
    })
}

/// Three processes, more than this machine may have CPUs: writers never overlap, readers never see half a write.
#[test]
fn mutual_exclusion_between_processes() {
    const ROUNDS: u64 = 5_000;
    let _alone = alone();
    let segment = world();
    let children = [0u64, 1, 2].map(|child| {
        Child::run_as(BackendType::Backend, move || {
            let shared = SHARED.get();
            shared.ready.fetch_add(1, Ordering::SeqCst);
            until(|| shared.ready.load(Ordering::SeqCst) == 3);
            for round in 0..ROUNDS {
                if (round + child) % 4 == 0 {
                    let pair = shared.pair.shared();
                    assert_eq!(pair[0], pair[1]);
                }
                let mut pair = shared.pair.exclusive();
                pair[0] += 1;
                if round % 64 == 0 {
                    // Losing the CPU inside makes the others queue.
                    std::thread::yield_now();
                }
                pair[1] += 1;
            }
            assert_eq!(held_lwlocks(), 0);
        })
    });
    for child in children {
        assert_eq!(child.wait(), End::Code(0));
    }
    assert_eq!(*SHARED.get().pair.shared(), [3 * ROUNDS; 2]);
    segment.destroy();
}

/// Whoever queues first gets it first, and the wait is visible.
#[test]
fn first_come_first_served() {
    let _alone = alone();
    let segment = world();
    let shared = SHARED.get();
    let held = shared.order.exclusive();
    let modes = [LwMode::Exclusive, LwMode::Shared, LwMode::Shared, LwMode::Exclusive];
    let mut children = Vec::new();
    for (nth, mode) in modes.into_iter().enumerate() {
        children.push(Child::run_as(BackendType::Backend, move || {
            let position = || shared.position.fetch_add(1, Ordering::SeqCst);
            match mode {
                LwMode::Exclusive => {
                    let mut order = shared.order.exclusive();
                    order[nth] = position();
                }
                LwMode::Shared => {
                    let _guard = shared.order.shared();
                    position();
                    shared.ready.fetch_add(1, Ordering::SeqCst);
                    // Both readers are inside at once, or this never ends.
                    until(|| shared.ready.load(Ordering::SeqCst) == 2);
                }
            }
        }));
        until(|| shared.order.raw.core.queue(&Pgprocs).len() == nth + 1);
    }
    let waiting = crate::proc::by_pid(children[0].pid).unwrap();
    let word = waiting.wait_event_info.load(Ordering::Relaxed);
    assert_eq!(wait_event::type_name(word), Some("LWLock"));
    assert_eq!(wait_event::event_name(word), Some("WALWrite"));
    drop(held);
    for child in children {
        assert_eq!(child.wait(), End::Code(0));
    }
    let order = shared.order.shared();
    assert_eq!((order[0], order[3]), (0, 3));
    drop(order);
    segment.destroy();
}

/// A killed holder gives nothing back. Only a new segment helps: that is what the crash cycle is for.
#[test]
fn lock_of_a_killed_process_stays_taken() {
    let _alone = alone();
    let mut segment = world();
    let shared = SHARED.get();
    let child = Child::run_as(BackendType::Backend, || {
        let mut pair = shared.pair.exclusive();
        pair[0] = 1;
        shared.ready.store(1, Ordering::SeqCst);
        loop {
            std::thread::park();
        }
    });
    until(|| shared.ready.load(Ordering::SeqCst) == 1);
    child.kill(libc::SIGKILL);
    assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
    assert!(shared.pair.try_shared().is_none());
    assert_eq!(shared.pair.holders(), (true, 0));
    segment.reset().unwrap();
    assert_eq!(*shared.pair.try_shared().expect("a new lock"), [0, 0]);
    segment.destroy();
}

#[test]
fn release_all_on_the_way_out() {
    let _alone = alone();
    let segment = world();
    let child = Child::run(|| {
        crate::init_process(BackendType::Checkpointer, 0).unwrap();
        let shared = SHARED.get();
        // As in a FATAL error deep inside: nobody unwinds, the guards are never dropped.
        std::mem::forget(shared.pair.exclusive());
        std::mem::forget(shared.order.shared());
        assert_eq!(held_lwlocks(), 2);
        assert!(shared.pair.held_by_me_in(LwMode::Exclusive) && shared.order.held_by_me());
        crate::proc::release();
        assert_eq!(held_lwlocks(), 0);
    });
    assert_eq!(child.wait(), End::Code(0));
    let shared = SHARED.get();
    assert!(shared.pair.try_exclusive().is_some() && shared.order.try_exclusive().is_some());
    segment.destroy();
}

#[test]
fn guards_release_in_any_order_and_on_panic() {
    let _alone = alone();
    let segment = world();
    let shared = SHARED.get();
    let (first, second) = (shared.pair.shared(), shared.order.shared());
    assert!(shared.pair.try_shared().is_some(), "a second reader may enter");
    assert!(shared.pair.try_exclusive().is_none());
    drop(first);
    assert!(shared.pair.try_exclusive().is_some());
    drop(second);
    let panicked = std::panic::catch_unwind(|| {
        let _guard = SHARED.get().pair.exclusive();
        assert_eq!(held_lwlocks(), 1);
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(panicked.is_err());
    assert_eq!(held_lwlocks(), 0);
    assert!(shared.pair.try_exclusive().is_some());
    segment.destroy();
}

/// Waiting for oneself would be for ever.
#[test]
fn taking_a_lock_twice_panics() {
    let _alone = alone();
    let segment = world();
    crate::init_process(BackendType::Backend, 0).unwrap();
    assert_eq!(my_proc().pid.load(Ordering::Relaxed), std::process::id() as i32);
    let guard = SHARED.get().pair.exclusive();
    let twice = std::panic::catch_unwind(|| drop(SHARED.get().pair.shared()));
    assert!(twice.unwrap_err().downcast_ref::<String>().unwrap().contains("ProcArray is already held"));
    drop(guard);
    crate::proc::release();
    let unattached = std::panic::catch_unwind(|| {
        let _held = SHARED.get().pair.exclusive();
        SHARED.get().pair.acquire(LwMode::Shared);
    });
    assert!(unattached.unwrap_err().downcast_ref::<&str>().unwrap().contains("without a PGPROC"));
    segment.destroy();
}

/// Readers walk past a waiting writer, but only until its patience ends: then the next one queues behind it.
#[test]
fn a_stream_of_readers_does_not_starve_a_writer() {
    let _alone = alone();
    let segment = world();
    let shared = SHARED.get();
    let mut held = shared.pair.shared();
    let writer = Child::run_as(BackendType::Backend, || shared.pair.exclusive()[0] = 1);
    until(|| shared.pair.raw.core.queue(&Pgprocs).len() == 1);
    // Always one inside: the lock is never empty.
    until(|| match shared.pair.try_shared() {
        Some(next) => {
            held = next;
            false
        }
        None => true,
    });
    drop(held);
    assert_eq!(writer.wait(), End::Code(0));
    assert_eq!(shared.pair.try_shared().expect("free again")[0], 1);
    segment.destroy();
}
