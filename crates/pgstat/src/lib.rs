//! The statistics collector: adds up what the others count.
//!
//! Sessions send small datagrams and never wait for an answer: a counter may be lost, a session is never
//! held up. The collector holds nothing in shared memory, so its death harms nobody.
//!
//! Started by: the postmaster when the cluster is open for sessions; again whenever it ends, at most once a
//!             minute.
//! Woken by:   a message on its socket, its latch.
//! Ends by:    SIGQUIT = write the statistics file, then exit 0; SIGTERM is ignored, so that it outlives the
//!             sessions that report to it. Death of the postmaster = the same as SIGQUIT.
//! If it dies: the postmaster logs it and starts another; no session notices.
//! Differs from PG 14: datagrams go through a Unix socket pair instead of UDP on loopback; the only counters
//!             so far are those of transactions, and no view reads them yet.
//!
//! C counterpart: postmaster/pgstat.c of PostgreSQL 9.4 to 14.

#![forbid(unsafe_code)]

mod counters; // 2. what it remembers, and the file it goes to
mod message; // 1. what the others tell it

use std::cell::RefCell;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use common::SqlState;
use elog::{Result, error};
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use miscinit::{exit, globals};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

use counters::Counters;
pub use message::Message;

/// Where the counters survive a clean restart. C: `PGSTAT_STAT_PERMANENT_FILENAME`.
const PERMANENT_FILE: &str = "pg_stat/global.stat";
/// Longest message, so that it always arrives whole. C: `PGSTAT_MAX_MSG_SIZE`.
const MAX_MESSAGE_BYTES: usize = 1000;

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
    let pair = || -> std::io::Result<Channel> {
        let (send, receive) = UnixDatagram::pair()?;
        send.set_nonblocking(true)?;
        receive.set_nonblocking(true)?;
        Ok(Channel { send, receive })
    };
    let channel = pair().map_err(|e| {
        error!(
            SqlState::INTERNAL_ERROR,
            "could not create socket for statistics collector: {}",
            elog::errno_text(&e)
        )
    })?;
    CHANNEL.with_borrow_mut(|slot| *slot = Some(channel));
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
    let mut counters = Counters::load(&permanent_file());
    loop {
        latch::reset();
        if interrupt::take(Pending::ConfigReload) {
            auxprocess::reload_config();
        }
        receive_all(&channel.receive, &mut counters);
        if interrupt::take(Pending::Shutdown) || !shmem::postmaster_alive() {
            break;
        }
        let events = Wake::LATCH_SET | Wake::POSTMASTER_DEATH | Wake::SOCKET_READABLE;
        latch::wait_socket(channel.receive.as_raw_fd(), events, None, WaitEvent::PGSTAT_MAIN);
    }
    if let Err(error) = counters.save(&permanent_file()) {
        error.with_severity(elog::Severity::Log).report();
    }
    exit::proc_exit(0)
}

fn permanent_file() -> PathBuf {
    globals::data_dir().join(PERMANENT_FILE)
}

fn receive_all(socket: &UnixDatagram, counters: &mut Counters) {
    let mut buffer = [0u8; MAX_MESSAGE_BYTES];
    loop {
        match socket.recv(&mut buffer) {
            Ok(len) => {
                if let Some(message) = Message::decode(&buffer[..len]) {
                    counters.add(&message);
                }
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
