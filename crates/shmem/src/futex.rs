//! Sleeping on a word of shared memory until somebody changes it.
//!
//! C counterpart: `PGSemaphoreLock`/`PGSemaphoreUnlock`. PostgreSQL gives each PGPROC a POSIX semaphore, which
//! glibc builds on the same call; a plain word saves its counter and the absorbing of stray wake-ups.

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while the word holds `expected`, but not longer than `limit`: false if that is over. May return early; the caller
/// looks again. Not interrupted for good by signals: their handlers run, then the caller's loop comes back here.
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Duration) -> bool {
    let limit = libc::timespec {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(limit.subsec_nanos() as i32),
    };
    // SAFETY: word and limit outlive the call; the kernel only reads them. Not the PRIVATE variant: the word is in a
    // mapping that several processes share.
    let slept = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, ptr::from_ref(&limit))
    };
    slept == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT)
}

/// Wakes the process that sleeps on this word, if one does.
pub(crate) fn wake(word: &AtomicU32) {
    wake_up_to(word, 1);
}

/// Wakes all that sleep on this word.
pub(crate) fn wake_all(word: &AtomicU32) {
    wake_up_to(word, libc::c_int::MAX);
}

fn wake_up_to(word: &AtomicU32, count: libc::c_int) {
    // SAFETY: the address is only a name for the queue of sleepers.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
}
