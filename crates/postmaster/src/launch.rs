//! The one fork of the server, and what a child does before it becomes what it is.
//!
//! C counterpart: `fork_process`, `InitPostmasterChild`, `ClosePostmasterPorts`.

use std::io;

use miscinit::child::{ChildMain, ChildStart};

/// Forks a child of that kind. In the new process `prepare` closes what the child must not keep and says what it
/// needs to know; then `main` runs and never returns. Here the child's pid does.
///
/// The caller must be single-threaded, as the postmaster is for all its life: the child gets a copy of this
/// thread alone, and a lock that another one held would stay locked in it for ever. All signals must be
/// blocked, so that none that is meant for the child meets its parent's handlers.
///
/// # Errors
/// The system's reason: no memory, or too many processes.
pub fn fork_child(main: ChildMain, prepare: impl FnOnce() -> ChildStart) -> io::Result<i32> {
    // The one place where the ban in clippy.toml does not hold.
    #[allow(clippy::disallowed_methods, reason = "this is the function that the ban names")]
    // SAFETY: the process has one thread, so the child's copy of memory is whole: no lock is held by a thread
    // that does not exist there, and allocating is as safe in it as here.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => become_child(main, prepare()),
        pid => Ok(pid),
    }
}

/// The child's first steps: a session and process group of its own (so that a signal to the group reaches the
/// commands it runs, and one from the postmaster's terminal does not reach it), nobody's parent, a slot.
fn become_child(main: ChildMain, start: ChildStart) -> ! {
    // Fails only for a group leader, which a new process never is.
    let _ = nix::unistd::setsid();
    shmem::close_death_watch_write_end();
    shmem::pmsignal::set_my_child_slot(start.slot);
    miscinit::child::run(main, start)
}
