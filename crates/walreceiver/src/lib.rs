//! The walreceiver: a client of the primary that writes what it is sent to pg_wal.
//!
//! It connects as the startup process told it (`primary_conninfo`), makes sure that the other side is this cluster's primary,
//! fetches the timeline histories that it lacks, and asks for WAL from the position that replay has come to. From then on it
//! writes what comes into segment files, makes it durable as soon as nothing more is pending, and wakes the startup process,
//! which replays it, and the walsenders, which pass it on. It tells the primary how far it is.
//!
//! When the primary's timeline ends, it waits for the startup process to say where to go on. It replays nothing itself and
//! decides nothing: whether to stream at all, from where and on which timeline, is the startup process's business.
//!
//! Started by: the postmaster, when the startup process asks for it (`replication::walrcv::request_streaming`).
//! Woken by:   the socket; its latch (a reply is wanted at once, new orders); the next reply or time limit due.
//! Ends by:    SIGTERM = FATAL, exit 1, what was received made durable first; it also comes from the startup process. Any
//!             error is FATAL: the startup process looks elsewhere and asks for a new one. SIGQUIT = exit 2 at once. Death of
//!             the postmaster = exit 1.
//! If it dies: exit 0 or 1 is ordinary; anything else is a crash and restarts all.
//!
//! Read in this order: `session` (from the connection to the end of a timeline), `stream` (the loop while WAL comes), `files`
//! (to disk), `reply` (what the primary is told), and `client` for the wire protocol.
//!
//! The numbered invariants are listed in this crate's README.
//!
//! C counterpart: replication/walreceiver.c, replication/libpqwalreceiver.

#![forbid(unsafe_code)]

mod client;
mod files;
mod reply;
mod session;
mod stream;

#[cfg(test)]
mod tests;

use elog::{PgError, Severity};
use miscinit::child::ChildStart;
use miscinit::exit;
use replication::walrcv::receiver;

/// Entry point. C: `WalReceiverMain`.
pub fn walreceiver_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    let orders = match receiver::begin(miscinit::globals::my_proc_pid()) {
        Ok(Some(orders)) => orders,
        // Nobody wants us any more: we were too slow to come.
        Ok(None) => exit::proc_exit(1),
        Err(error) => elog::abort(error),
    };
    exit::on_shmem_exit(|_| die());
    match session::run(orders) {
        Ok(()) => exit::proc_exit(0),
        Err(error) => fail(error),
    }
}

/// What is received must not be received again; and whoever waits for our end is woken. C: `WalRcvDie`.
fn die() {
    files::flush_at_exit();
    pgstat::report_wal();
    receiver::end();
}

/// There is nothing to go on with after an error. C: ERROR without anybody to catch it.
fn fail(error: PgError) -> ! {
    if error.severity >= Severity::Panic {
        elog::abort(error);
    }
    error.with_severity(Severity::Fatal).report();
    exit::proc_exit(1)
}
