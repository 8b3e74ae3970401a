//! Which LWLocks this process holds.
//!
//! The guards know that by themselves. The list is for those who have no guard at hand: the panic handler,
//! which asks how many there are, and the way out of a process, which gives all back without unwinding.
//!
//! C counterpart: `held_lwlocks`, `num_held_lwlocks`, `LWLockReleaseAll`.

use std::cell::{Cell, UnsafeCell};
use std::ptr;

use super::{LwMode, RawLock};

/// More at once is a leak. C: `MAX_SIMUL_LWLOCKS`.
const MAX_HELD: usize = 200;

type Entry = (*const RawLock, LwMode);

thread_local! {
    // Per thread only for the tests' sake, where a thread can play a process; const, so reading it is cheap.
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static HELD: UnsafeCell<[Entry; MAX_HELD]> =
        const { UnsafeCell::new([(ptr::null(), LwMode::Shared); MAX_HELD]) };
}

/// How many LWLocks this process holds. A panic handler must not turn a panic into an ERROR while it is not
/// zero: the data in those locks may be half changed.
#[inline]
pub fn held_lwlocks() -> usize {
    COUNT.get()
}

/// Gives back every LWLock, last taken first: for the way out of a process, where guards further up the stack
/// are never dropped. Nothing may use such a guard afterwards. C: `LWLockReleaseAll`.
pub fn release_all() {
    while let Some((lock, mode)) = pop_last() {
        // SAFETY: listed locks are in the segment, and the list is emptied when the segment goes away.
        unsafe { &*lock }.release(mode);
    }
}

/// Forgets all entries: the memory they point into is gone.
pub(crate) fn forget() {
    COUNT.set(0);
}

pub(super) fn assert_room() {
    assert!(COUNT.get() < MAX_HELD, "too many LWLocks taken");
}

pub(super) fn add(lock: &RawLock, mode: LwMode) {
    let count = COUNT.get();
    with_entries(|entries| entries[count] = (lock, mode));
    COUNT.set(count + 1);
}

pub(super) fn mode_of(lock: &RawLock) -> Option<LwMode> {
    let count = COUNT.get();
    with_entries(|entries| {
        entries[..count].iter().rev().find(|(held, _)| ptr::eq(*held, lock)).map(|(_, mode)| *mode)
    })
}

/// Gives one back. Not listed means that `release_all` did it already.
#[inline]
pub(super) fn release(lock: &RawLock, mode: LwMode) {
    let count = COUNT.get();
    let listed = with_entries(|entries| {
        let at = entries[..count].iter().rposition(|entry| *entry == (ptr::from_ref(lock), mode))?;
        entries.copy_within(at + 1..count, at);
        Some(())
    });
    if listed.is_some() {
        COUNT.set(count - 1);
        lock.release(mode);
    }
}

fn pop_last() -> Option<Entry> {
    let last = COUNT.get().checked_sub(1)?;
    COUNT.set(last);
    Some(with_entries(|entries| entries[last]))
}

#[inline]
fn with_entries<R>(f: impl FnOnce(&mut [Entry; MAX_HELD]) -> R) -> R {
    // SAFETY: one thread; `f` is one of the closures above, none of which comes back here.
    HELD.with(|held| f(unsafe { &mut *held.get() }))
}
