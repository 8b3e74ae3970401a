//! The archiver: hands every finished file of WAL to `archive_command`, and remembers which are done.
//!
//! Histories of timelines go first, then the oldest. A file that cannot be archived holds up all behind it: WAL in the
//! archive has no holes.
//!
//! Started by: the postmaster when the cluster is open for sessions and `archive_mode` is on, in recovery too with
//!             `archive_mode = always`; again whenever it ends, at most every 10 seconds.
//! Woken by:   SIGUSR1, which whoever finishes a file asks the postmaster for; 60 seconds after the last cycle.
//! Ends by:    SIGUSR2 = one last full cycle, then exit 0. SIGTERM = begin nothing more; exit 0 after 60 seconds unless
//!             SIGUSR2 comes first. Death of the postmaster = begin nothing more, exit 0. SIGQUIT = exit 2 at once; while a
//!             command runs it is the command's, whose death by it ends the archiver with FATAL; if the command archives the
//!             file all the same, the file is marked first.
//! If it dies: the postmaster logs it and starts another, which begins by looking into the directory. The cluster goes
//!             on: the archiver has no PGPROC and no lock, as in PostgreSQL 12 (15 restarts the cluster after `kill -9`).
//! Differs from PG 12: a cycle reads the directory once, not once a file (as 15, without its limit of 64 names); it stays
//!             attached to shared memory for one flag, so that no other postmaster can start while a command runs.
//! Differs from PG 15: no `archive_library`; asking for one is FATAL.
//!
//! Invariants, held by the golden scripts under `testscripts/`:
//! - A1  An archiver runs one command at a time, and begins none after SIGTERM or the postmaster's death. One that is killed
//!   with -9 leaves its command behind, beside which the next archiver's may begin: as in PostgreSQL.
//! - A2  A `.ready` file becomes `.done` only after its command has exited with 0, and durably so before the next begins.
//! - A3  A command that dies by a signal or exits above 125 is no failure of the file: it is not counted, and the
//!   archiver ends, so that a shutdown is not mistaken for a failure.
//! - A4  The archiver waits for no lock and writes nothing into shared memory but the flag that it lowers.
//! - A5  A cycle lists `archive_status` once, and again only when the list is used up or a history file has come.
//!
//! Read `main_loop.rs` beside `pgarch_MainLoop` and `pgarch_ArchiverCopyLoop`; all that they do to the world is behind
//! the trait of `archive.rs`.
//!
//! C counterpart: postmaster/pgarch.c of PostgreSQL 12, with the messages of 15; shell_archive.c.

#![forbid(unsafe_code)]

mod archive; // 1. what the loops need of the world
mod backlog; // 2. which file comes next
mod main_loop; // 3. the two loops
mod system; // 4. the real world

#[cfg(test)]
mod scripts;
#[cfg(test)]
mod system_tests;

use elog::{Severity, ereport};
use miscinit::child::ChildStart;
use miscinit::exit;

pub(crate) use archive::{Archive, Wakeup};
use system::System;

/// Entry point. C: `PgArchiverMain`.
pub fn archiver_main(start: ChildStart) -> ! {
    auxprocess::begin_detached(&start);
    let mut system = System::default();
    let ended = system.check_library().and_then(|()| main_loop::main_loop(&mut system));
    // Whatever the archiver cannot do, the next one may be able to: no error is worth going on with half the state.
    let code = match ended {
        Ok(()) => 0,
        Err(error) if error.severity >= Severity::Panic => elog::abort(error),
        Err(error) => {
            error.with_severity(Severity::Fatal).report();
            1
        }
    };
    ereport!(Debug1, "archiver process shutting down");
    exit::proc_exit(code)
}
