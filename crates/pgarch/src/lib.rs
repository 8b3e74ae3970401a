//! The archiver: hands every finished file of WAL to `archive_command`, and remembers which are done.
//!
//! Histories of timelines go first, alone, then the oldest; with `archive_max_workers` several commands run at a time, begun
//! in this order. A file that cannot be archived holds up all behind it that was not begun yet. So WAL in the archive has
//! no holes up to `pg_stat_archiver.last_archived_wal`, and what is behind a hole does not grow while a file fails.
//!
//! Started by: the postmaster when the cluster is open for sessions and `archive_mode` is on, in recovery too with
//!             `archive_mode = always`; again whenever it ends, at most every 10 seconds.
//! Woken by:   SIGUSR1, which whoever finishes a file asks the postmaster for; 60 seconds after the last cycle.
//! Ends by:    SIGUSR2 = one last full cycle, then exit 0; `archiver_shutdown_timeout` bounds the time from the signal to the
//!             end, the deadline of the whole stop does too, and what is left waits for the next start. SIGTERM = begin nothing more; exit 0 after 60 seconds unless
//!             SIGUSR2 comes first. Death of the postmaster = begin nothing more, exit 0. SIGQUIT = exit 2 at once; while
//!             commands run it is theirs, whose death by it ends the archiver with FATAL; if one archives its file all the
//!             same, the file is marked first.
//! If it dies: the postmaster logs it and starts another, which begins by looking into the directory. The cluster goes
//!             on: the archiver has no PGPROC and no lock, as in PostgreSQL 12 (15 restarts the cluster after `kill -9`).
//! Differs from PG 12: several commands at a time, a bound for the last cycle; a cycle reads the directory once, not once a file (as 15, without its limit of 64 names); it stays
//!             attached to shared memory for one flag, so that no other postmaster can start while a command runs.
//! Differs from PG 15: no `archive_library`; asking for one is FATAL.
//!
//! Invariants, held by the golden scripts under `testscripts/`:
//! - A1  An archiver runs at most `archive_max_workers` commands at a time, never two for one file, none beside that of a
//!   history file but those begun before it. It begins none after SIGTERM, the postmaster's death, the end of the time
//!   that a stop gives it, or the death of one by a signal, and it does not end before those that run, but for what
//!   resists the end of that time. One that is killed with -9 leaves its commands behind, beside which the next
//!   archiver's may begin: as in PostgreSQL.
//! - A2  A `.ready` file becomes `.done` only after its command has exited with 0, and durably so before the archiver does
//!   anything else.
//! - A3  A command that dies by a signal or exits above 125 is no failure of the file: it is not counted, and the
//!   archiver ends, so that a shutdown is not mistaken for a failure. One that the archiver itself has ended is neither.
//! - A4  The archiver waits for no lock and writes nothing into shared memory but the flag that it lowers and its gauge.
//! - A5  A cycle lists `archive_status` once, and again only when the list is used up, a history file has come, or the stop
//!   is noticed.
//! - A6  Files are begun in order, and none that was not begun before while one in hand has failed when it was last tried.
//!   The collector is told a file's name only when all that were begun and go before it are archived.
//! - A7  From the moment at which the stop is noticed, the published number of waiting files is the number of `.ready`
//!   files; it is published, too, that this is so.
//! - A8  The gauge says that archiving fails from the first failure of a file until that file is archived, or does not wait
//!   any more; and while `archive_command` is empty.
//!
//! Read `main_loop.rs` beside `pgarch_MainLoop` and `cycle.rs` beside `pgarch_ArchiverCopyLoop`; all that they do to the world is behind
//! the trait of `archive.rs`.
//!
//! C counterpart: postmaster/pgarch.c of PostgreSQL 12, with the messages of 15; shell_archive.c.

#![forbid(unsafe_code)]

mod archive; // 1. what the loops need of the world
mod backlog; // 2. which file comes next
mod cycle; // 4. what becomes of the files
mod main_loop; // 3. when to look for files
mod system; // 5. the real world

#[cfg(test)]
mod chance;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod system_tests;

use activity::gauges;
use elog::{Severity, ereport};
use miscinit::child::ChildStart;
use miscinit::exit;

pub(crate) use archive::{Archive, Wakeup};
use system::System;

/// Entry point. C: `PgArchiverMain`.
pub fn archiver_main(start: ChildStart) -> ! {
    auxprocess::begin_detached(&start);
    gauges::archiver().set_pid(miscinit::globals::my_proc_pid());
    exit::on_shmem_exit(|_| gauges::archiver().set_pid(0));
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
