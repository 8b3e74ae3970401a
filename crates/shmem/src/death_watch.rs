//! How a child learns that the postmaster is gone.
//!
//! The postmaster holds the only write end of a pipe nobody ever writes to; when it dies, however it dies,
//! the kernel closes it and every poll on the read end reports a hang-up. That is for sleeping. For a look
//! between two pieces of work a child compares its parent's pid, the cheapest system call there is: an orphan
//! gets a new parent at the moment of death, not when the dead one is reaped.
//!
//! C counterpart: `InitPostmasterDeathWatchHandle`, `PostmasterIsAliveInternal` (pmsignal.c).

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use common::SqlState;
use elog::{Result, fatal};

static READ_FD: AtomicI32 = AtomicI32::new(-1);
static WRITE_FD: AtomicI32 = AtomicI32::new(-1);
static POSTMASTER_PID: AtomicI32 = AtomicI32::new(0);
static SEEN_DEAD: AtomicBool = AtomicBool::new(false);

/// In the postmaster, before its first fork. C: `InitPostmasterDeathWatchHandle`.
pub fn init_death_watch() -> Result<()> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` is an array of two ints. Close-on-exec: an archive_command must not keep the write end
    // open beyond the postmaster's death.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } != 0 {
        let os_error = std::io::Error::last_os_error();
        return Err(fatal!(
            SqlState::INTERNAL_ERROR,
            "could not create pipe to monitor postmaster death: {}",
            crate::errno_text(&os_error)
        ));
    }
    READ_FD.store(ends[0], Ordering::Relaxed);
    WRITE_FD.store(ends[1], Ordering::Relaxed);
    POSTMASTER_PID.store(std::process::id() as i32, Ordering::Relaxed);
    crate::latch::init_support();
    Ok(())
}

/// In every child right after fork: as long as one child holds the write end, nobody notices the death.
/// C: `ClosePostmasterPorts`, its first lines.
pub fn close_death_watch_write_end() {
    let fd = WRITE_FD.swap(-1, Ordering::Relaxed);
    if fd >= 0 {
        // SAFETY: a descriptor that only this module knows, closed once (the swap).
        unsafe { libc::close(fd) };
    }
}

/// The read end, for those who poll by themselves. `None` in a process without a postmaster.
pub fn death_watch_fd() -> Option<i32> {
    Some(READ_FD.load(Ordering::Relaxed)).filter(|fd| *fd >= 0)
}

/// The postmaster's pid; 0 in a process without one. C: `PostmasterPid`.
pub fn postmaster_pid() -> i32 {
    POSTMASTER_PID.load(Ordering::Relaxed)
}

/// Whether the postmaster that forked us still lives. True in the postmaster itself, and in a process that
/// never had one. C: `PostmasterIsAlive`.
pub fn postmaster_alive() -> bool {
    let postmaster = postmaster_pid();
    if postmaster == 0 {
        return true;
    }
    if SEEN_DEAD.load(Ordering::Relaxed) {
        return false;
    }
    // SAFETY: takes nothing, cannot fail.
    if unsafe { libc::getppid() } == postmaster {
        return true;
    }
    // SAFETY: as above.
    let alive = unsafe { libc::getpid() } == postmaster;
    if !alive {
        note_postmaster_death();
    }
    alive
}

/// Whether anything in this process has noticed the postmaster's death: no system call.
pub(crate) fn postmaster_seen_dead() -> bool {
    SEEN_DEAD.load(Ordering::Relaxed)
}

/// The pipe hung up, which happens a moment before the kernel changes our parent: from here on the answer is
/// the same everywhere.
pub(crate) fn note_postmaster_death() {
    SEEN_DEAD.store(true, Ordering::Relaxed);
}
