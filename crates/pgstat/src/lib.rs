//! The statistics collector: adds up what the others count, and writes it down for those who ask.
//!
//! Sessions send small datagrams and never wait for an answer: a counter may be lost, a session is never
//! held up. Whoever wants to read sends an inquiry and looks at the file that the collector then writes. The
//! collector holds nothing in shared memory, so its death harms nobody.
//!
//! Started by: the postmaster when the cluster is open for sessions; again whenever it ends, at most once a
//!             minute.
//! Woken by:   a message on its socket, its latch.
//! Ends by:    SIGQUIT = write the permanent files, then exit 0; SIGTERM is ignored, so that it outlives the
//!             sessions that report to it. Death of the postmaster = the same as SIGQUIT.
//! If it dies: the postmaster logs it and starts another; no session notices but those that read, which say so in
//!             the log and go on with what there is.
//! Differs from PG 14: datagrams go through a Unix socket pair instead of UDP on loopback; no counters of functions
//!             and SLRU caches. A session that outlives its postmaster does not wait for the collector.
//!
//! Invariants:
//! - C1  `global.stat` is written after the files of the databases whose moments it gives.
//! - C2  The permanent files exist only between the end of a collector and the start of the next; after a crash the
//!   startup process removes whatever there is ([`reset_all`]).
//! - C3  A session reads its files at most once in a transaction.
//!
//! C counterpart: postmaster/pgstat.c of PostgreSQL 9.4 to 14.

#![forbid(unsafe_code)]

mod entry; // 2. what is remembered
mod message; // 1. what the others tell the collector

mod counters; // 3. what each message does to it
mod stats_file; // 4. the files

mod participant; // 6. when a transaction's changes count
mod reader; // 7. how a session asks
mod report;
mod twophase; // those of prepared ones // 5. what a session tells

use std::cell::RefCell;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use common::SqlState;
use elog::{Result, Severity, error};
use miscinit::child::ChildStart;
use miscinit::exit;
use miscinit::interrupt::{self, Pending};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

use counters::Counters;
pub use entry::{
    Archiver, ClusterEntry, ClusterTimes, DatabaseEntry, DatabaseTimes, TableEntry, TableSums, WalFileName,
};
pub use message::{Maintenance, Message, SharedTarget};
pub use participant::register;
pub use reader::{bgwriter, clear_snapshot, cluster, database, table, tables, wal};
pub use report::{
    SessionEnd, at_subxact_end, at_xact_end, drop_database, drop_tables, report_analyze, report_archived,
    report_autovacuum_start, report_buffers, report_connect, report_disconnect, report_stat, report_vacuum,
    report_wal, reset, reset_shared, reset_table,
};
use stats_file::Place;
pub use stats_file::reset_all;
pub use twophase::count_prepared_end;

struct Channel {
    send: UnixDatagram,
    receive: UnixDatagram,
}

thread_local! {
    /// Made by the postmaster, inherited by all.
    static CHANNEL: RefCell<Option<Channel>> = const { RefCell::new(None) };
}

/// Makes the channel, in the postmaster, once. C: `pgstat_init`.
///
/// # Errors
/// XX000 if the system has no socket left.
pub fn prepare() -> Result<()> {
    // Not SOCK_DGRAM: of those the kernel keeps ten, whatever their size, and a burst is soon longer.
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let (send, receive) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).map_err(|errno| {
            error!(
                SqlState::INTERNAL_ERROR,
                "could not create socket for statistics collector: {}",
                elog::errno_text(errno)
            )
        })?;
    CHANNEL.set(Some(Channel { send: send.into(), receive: receive.into() }));
    Ok(())
}

/// Sends a message, or drops it if the collector is behind or gone. C: `pgstat_send`.
pub fn send(message: &Message) {
    CHANNEL.with_borrow(|channel| {
        if let Some(channel) = channel {
            let _ = channel.send.send(&message.encode());
        }
    });
}

/// Entry point. C: `PgstatCollectorMain`.
pub fn stats_collector_main(start: ChildStart) -> ! {
    auxprocess::begin_detached(&start);
    shmem::Segment::detach_in_child();
    let Some(channel) = CHANNEL.take() else { exit::proc_exit(1) };
    let mut counters = Counters::load(&stats_file::directory(Place::Permanent), activity::now());
    loop {
        latch::reset();
        if interrupt::take(Pending::ConfigReload) {
            auxprocess::reload_config();
        }
        receive_all(&channel.receive, &mut counters);
        if interrupt::take(Pending::Shutdown) || !shmem::postmaster_alive() {
            break;
        }
        if counters.is_wanted() {
            let directory = stats_file::directory(Place::Temporary);
            log_failure(counters.write_wanted(&directory, activity::now()));
        }
        let events = Wake::LATCH_SET | Wake::POSTMASTER_DEATH | Wake::SOCKET_READABLE;
        latch::wait_socket(channel.receive.as_raw_fd(), events, None, WaitEvent::PGSTAT_MAIN);
    }
    leave(&mut counters)
}

/// The last act: what was counted goes to the permanent files, and the temporary ones go away (C2).
fn leave(counters: &mut Counters) -> ! {
    let temporary = stats_file::directory(Place::Temporary);
    for database in counters.databases.keys() {
        let _ = std::fs::remove_file(stats_file::database_path(&temporary, *database));
    }
    let _ = std::fs::remove_file(stats_file::cluster_path(&temporary));
    log_failure(counters.write_all(&stats_file::directory(Place::Permanent), activity::now()));
    exit::proc_exit(0)
}

fn log_failure(outcome: Result<()>) {
    if let Err(error) = outcome {
        error.with_severity(Severity::Log).report();
    }
}

fn receive_all(socket: &UnixDatagram, counters: &mut Counters) {
    let mut buffer = [0u8; message::MAX_MESSAGE_BYTES];
    loop {
        match socket.recv(&mut buffer) {
            Ok(len) => {
                if let Some(message) = Message::decode(&buffer[..len]) {
                    counters.add(&message, activity::now());
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::Oid;

    #[test]
    fn what_is_sent_is_counted() {
        send(&Message::Reset { database: Oid(1) });
        prepare().unwrap();
        for _ in 0..50 {
            send(&Message::Transactions { database: Oid(5), commits: 2, rollbacks: 1 });
        }
        let mut counters = Counters::default();
        CHANNEL.with_borrow(|channel| {
            let channel = channel.as_ref().unwrap();
            channel.send.send(&[99; 17]).unwrap();
            receive_all(&channel.receive, &mut counters);
        });
        let counts = counters.databases[&Oid(5)].entry.counts;
        assert_eq!((counts.commits, counts.rollbacks), (100, 50), "a burst arrives, nonsense does not");
        // Nobody listens: messages are dropped when the socket is full, and nobody waits.
        for _ in 0..10_000 {
            send(&Message::DropTables { database: Oid(5), tables: vec![Oid(1); 900] });
        }
    }
}
