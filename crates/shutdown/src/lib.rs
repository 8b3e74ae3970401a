//! What a stop of the server waits for, as shared memory tells it, and the bounds it was given.
//!
//! [`observe`] looks at everything that a stop waits for, or would wait for, and gives it as plain figures to `stopreport`, which
//! makes rows and sentences of them. [`bounds`] is where the postmaster leaves the deadline of a stop, and where walsenders and the
//! archiver find their share of it.
//!
//! ```no_run
//! use shutdown::{Scope, observe};
//! use stopreport::{Mode, forecast};
//!
//! for item in forecast(&observe(Scope::Everything), Mode::Fast) {
//!     println!("{}", item.sentence());
//! }
//! ```
//!
//! Called by: the postmaster during a stop and for `pg_ctl stop --forecast`; sessions for `pg_shutdown_forecast`.
//!
//! Invariants:
//! - SD1  No lock, of any kind, is taken, and nobody is waited for: atomics are read, and of a walsender that has not noticed new WAL
//!   the kernel's word whether somebody has stopped it. So the postmaster can look, whatever the process that is looked at does, or
//!   was killed in the middle of.
//! - SD2  There is always an answer. What is torn, stale or nonsense gives a wrong figure, never a panic, and never a loop without
//!   end.
//! - SD3  Without shared memory nothing is seen, and no bound is set.
//! - SD4  Nothing that a process keeps for itself is changed: what the postmaster would remember its children would inherit.
//! - SD5  A bound that is set only becomes tighter, until the server starts anew.
//! - SD6  Nothing here gives up the checkpoint.
//!
//! C counterpart: none; PostgreSQL stops in silence.

#![forbid(unsafe_code)]

pub mod bounds; // 2. how long
mod observe; // 1. what is there

use std::io;

use shmem::Reservation;

pub use observe::{Scope, observe};

/// The place of the bounds in the segment.
pub fn reserve(reservation: &mut Reservation) {
    bounds::reserve(reservation);
}

/// Files that wait to be archived, counted in `archive_status` now; for sessions and programs, not for the postmaster: a directory
/// may be large. Must be called in the data directory.
///
/// # Errors
/// If the directory cannot be read.
pub fn count_ready() -> io::Result<u64> {
    let status_dir = wal::archive::status_path("", "");
    let mut files = 0;
    for entry in std::fs::read_dir(status_dir)? {
        let name = entry?.file_name();
        let file = name.to_str().and_then(|name| name.strip_suffix(".ready"));
        files += u64::from(file.is_some_and(wal::archive::is_archivable_name));
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
