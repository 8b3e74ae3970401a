//! Reservation, reset, detaching.

use std::sync::atomic::{AtomicU32, AtomicU64};

use super::*;
use crate::testing::{Child, End, alone};
use crate::{LwLock, SpinLock, tranche};

crate::shm_struct! {
    struct Counters {
        calls: AtomicU64,
        last: SpinLock<u32>,
        table: LwLock<[u16; 3]>,
    }
}

static COUNTERS: ShmVar<Counters> = ShmVar::new("counters");
static SMALL: ShmVar<AtomicU32> = ShmVar::new("small");
static ROW: ShmSlice<AtomicU32> = ShmSlice::new("row");
static EMPTY: ShmSlice<AtomicU32> = ShmSlice::new("empty");

fn reservation() -> Reservation {
    let mut reservation = Reservation::new();
    reservation
        .var(&SMALL, || AtomicU32::new(5))
        .var(&COUNTERS, || Counters {
            calls: AtomicU64::new(1),
            last: SpinLock::new(2),
            table: LwLock::new(tranche::CONTROL_FILE, [1, 2, 3]),
        })
        .slice(&ROW, 1000, |i| AtomicU32::new(i as u32))
        .slice(&EMPTY, 0, |_| AtomicU32::new(0));
    reservation
}

#[test]
fn pieces_are_initialised_aligned_and_apart() {
    let _alone = alone();
    let segment = Segment::create_private(reservation()).unwrap();
    assert_eq!(SMALL.get().load(Ordering::Relaxed), 5);
    assert_eq!(*COUNTERS.get().table.shared(), [1, 2, 3]);
    assert_eq!(*COUNTERS.get().last.lock(), 2);
    assert!(ROW.get().iter().enumerate().all(|(i, v)| v.load(Ordering::Relaxed) == i as u32));
    assert!(EMPTY.get().is_empty());
    let rows = allocations();
    assert_eq!(rows.iter().map(|r| r.name).collect::<Vec<_>>(), ["small", "counters", "row", "empty"]);
    for pair in rows.windows(2) {
        assert_eq!(pair[0].offset + pair[0].allocated_size, pair[1].offset);
        assert!(pair[0].size <= pair[0].allocated_size && pair[1].offset % PIECE_ALIGN == 0);
    }
    assert_eq!(rows.iter().map(|r| r.allocated_size).sum::<usize>(), segment.size());
    segment.destroy();
    assert!(SMALL.try_get().is_none() && ROW.try_get().is_none() && allocations().is_empty());
}

#[test]
fn reset_starts_over_at_the_same_address() {
    let _alone = alone();
    let mut segment = Segment::create_private(reservation()).unwrap();
    let (small, row) = (SMALL.get(), ROW.get());
    small.store(77, Ordering::Relaxed);
    row[999].store(0, Ordering::Relaxed);
    std::mem::forget(COUNTERS.get().last.lock());
    segment.reset().unwrap();
    assert_eq!(small.load(Ordering::Relaxed), 5);
    assert_eq!(row[999].load(Ordering::Relaxed), 999);
    assert!(ptr::eq(small, SMALL.get()) && ptr::eq(row, ROW.get()));
    // A lock held before the crash is free.
    assert_eq!(*COUNTERS.get().last.lock(), 2);
    segment.destroy();
}

#[test]
fn children_share_it_and_cannot_destroy_it() {
    let _alone = alone();
    let segment = Segment::create_private(reservation()).unwrap();
    let child = Child::run(|| {
        SMALL.get().store(6, Ordering::Relaxed);
        // SAFETY: a second copy of the value, as fork makes one; only dropped, and only in this process.
        drop(unsafe { ptr::read(&segment) });
    });
    assert_eq!(child.wait(), End::Code(0));
    assert_eq!(SMALL.get().load(Ordering::Relaxed), 6);
    segment.destroy();
}

/// The logger: no longer sees the segment, and a stray use of an old reference is a fault, not a surprise.
#[test]
fn detached_child_is_out() {
    let _alone = alone();
    let segment = Segment::create_private(reservation()).unwrap();
    let child = Child::run(|| {
        Segment::detach_in_child();
        assert!(SMALL.try_get().is_none() && EMPTY.try_get().is_none() && allocations().is_empty());
        // Twice is harmless.
        Segment::detach_in_child();
    });
    assert_eq!(child.wait(), End::Code(0));
    let small = SMALL.get();
    let child = Child::run(|| {
        Segment::detach_in_child();
        // SAFETY: no memory arguments. The harness's handler would print; the default just ends the process.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        small.store(9, Ordering::Relaxed);
    });
    assert_eq!(child.wait(), End::Signal(libc::SIGSEGV));
    assert_eq!(small.load(Ordering::Relaxed), 5);
    segment.destroy();
}

#[test]
fn unreserved_is_a_clear_panic() {
    static NEVER: ShmVar<AtomicU32> = ShmVar::new("never");
    let message = std::panic::catch_unwind(|| NEVER.get()).unwrap_err();
    assert_eq!(message.downcast_ref::<String>().unwrap(), "shared variable \"never\" is not attached");
}
