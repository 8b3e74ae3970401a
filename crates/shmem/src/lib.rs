//! Shared memory, and what processes use to meet in it.
//!
//! The postmaster makes one segment before it forks anything; every child finds it at the same address. A
//! crate that needs a place in it declares a `static` [`ShmVar`] or [`ShmSlice`] and reserves it; a lock
//! *contains* what it protects, so that a guard is the only way in.
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use shmem::{LwLock, Reservation, Segment, ShmVar, tranche};
//!
//! shmem::shm_struct! {
//!     /// What the checkpointer and those who ask it for a checkpoint share.
//!     pub struct Requests {
//!         started: AtomicU32,
//!         queue: LwLock<[u32; 8]>,
//!     }
//! }
//! static REQUESTS: ShmVar<Requests> = ShmVar::new("Checkpointer Data");
//!
//! let mut reservation = Reservation::new();
//! shmem::reserve(&mut reservation, shmem::Limits::default());
//! reservation.var(&REQUESTS, || Requests {
//!     started: AtomicU32::new(0),
//!     queue: LwLock::new(tranche::CHECKPOINTER_COMM, [0; 8]),
//! });
//! let segment = Segment::create_private(reservation).unwrap();
//!
//! REQUESTS.get().started.fetch_add(1, Ordering::Relaxed);
//! REQUESTS.get().queue.exclusive()[0] = 7;
//! assert_eq!(REQUESTS.get().queue.shared()[0], 7);
//! segment.destroy();
//! ```
//!
//! Read in this order: `segment` (where things lie), `spin` and `lwlock` (how they are kept whole), `latch`
//! (how a process sleeps and is woken), `proc` (who is there), then the two ways to poke somebody,
//! [`procsignal`] and [`pmsignal`], and the interlock, [`sysv`].
//!
//! The numbered invariants that code and tests cite are listed in this crate's README.
//!
//! C counterpart: src/backend/storage/ipc, src/backend/storage/lmgr (lwlock, s_lock, proc),
//! src/backend/port/sysv_shmem.c, src/backend/utils/activity/wait_event.c.

// Nearly all unsafe code of the server is here: mapping memory, handing out references into it, futexes.
#![allow(unsafe_code)]

mod death_watch;
mod futex;
pub mod latch;
mod lwlock;
pub mod pmsignal;
pub mod proc;
pub mod procsignal;
mod rounds;
mod segment;
mod shm_safe;
mod spin;
pub mod sysv;
pub mod wait_event;

#[cfg(test)]
mod testing;

pub use death_watch::{
    close_death_watch_write_end, death_watch_fd, init_death_watch, postmaster_alive, postmaster_pid,
};
pub use latch::{Latch, Wake, my_latch};
pub use lwlock::{ExclusiveGuard, LwLock, LwMode, SharedGuard, held_lwlocks, release_all};
pub use proc::{Limits, PgProc, all_procs, init_process, my_proc};
pub use rounds::Rounds;
pub use segment::{Allocation, Reservation, Segment, ShmSlice, ShmVar, allocations};
pub use shm_safe::ShmSafe;
#[doc(hidden)]
pub use shm_safe::{assert_shm_safe, needs_drop};
pub use spin::{SpinGuard, SpinLock};
pub use wait_event::{Tranche, WaitEvent, tranche};

/// What C's `%m` prints: the system's message without Rust's "(os error N)".
pub(crate) fn errno_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

/// Reserves what this crate itself keeps in the segment: PGPROCs, signal slots, flags for the postmaster.
/// Call it once, before the other crates reserve theirs. C: the calls for `ProcGlobalShmemSize`,
/// `ProcSignalShmemSize` and `PMSignalShmemSize` in `CreateSharedMemoryAndSemaphores`.
pub fn reserve(reservation: &mut Reservation, limits: Limits) {
    proc::reserve(reservation, limits);
    procsignal::reserve(reservation, limits);
    pmsignal::reserve(reservation, limits);
}
