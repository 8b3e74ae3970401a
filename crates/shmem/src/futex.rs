//! Sleeping on a word of shared memory until somebody changes it.
//!
//! C counterpart: `PGSemaphoreLock`/`PGSemaphoreUnlock`. PostgreSQL gives each PGPROC a POSIX semaphore, which
//! glibc builds on the same call; a plain word saves its counter and the absorbing of stray wake-ups.

use std::ptr;
use std::sync::atomic::AtomicU32;

/// Sleeps while the word holds `expected`. May return early; the caller looks again. Not interrupted for good
/// by signals: their handlers run, then the caller's loop comes back here.
pub(crate) fn wait(word: &AtomicU32, expected: u32) {
    // SAFETY: the word outlives the call; the kernel only reads it. No timeout. Not the PRIVATE variant: the
    // word is in a mapping that several processes share.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, ptr::null::<u8>()) };
}

/// Wakes the process that sleeps on this word, if one does.
pub(crate) fn wake(word: &AtomicU32) {
    // SAFETY: the address is only a name for the queue of sleepers.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}
