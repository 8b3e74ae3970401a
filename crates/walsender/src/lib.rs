//! The walsender: a session that speaks the replication language, and sends WAL to a standby for as long as that wants it.
//!
//! It is a client session like any other until its start-up packet says `replication`: `backend` runs both, and asks here what
//! such a session does with a query ([`execute`]).
//!
//! Started by: the postmaster, as a client's session; [`init`] makes a walsender of it.
//! Woken by:   its client; its latch: WAL was flushed (`replication::walsnd::wakeup`), or a signal left a note.
//! Ends by:    Terminate or end of file = exit 0. SIGTERM = FATAL 57P01, exit 1. At the server's stop first the checkpointer asks
//!             for state `stopping` (no more commands; a session that does not stream leaves), then, after the shutdown
//!             checkpoint, SIGUSR2 from the postmaster: all WAL up to and including that checkpoint is sent, confirmed, and the
//!             stream ends with `COPY 0`, exit 0. What takes longer than `wal_sender_shutdown_timeout`, or than the stop's
//!             deadline allows, is given up: exit 0 too, and the rest is sent after the next start.
//! If it dies: exit 0 and 1 are ordinary; anything else is a crash and restarts all.
//! Differs from PG 15: logical replication is refused with 0A000; its titles are those of versions before 10.
//!
//! In the order of a first reading: `lexer` and `grammar` (the language), `command` (which command does what), `start`
//! (START_REPLICATION before and after the stream), `stream` (the loop), `position` and `segments` (which WAL, from which file),
//! `replies` and `lag` (what the standby tells), `stopping` (how long the server's stop waits for it), `queries` and `slots` (the
//! small commands).
//!
//! C counterpart: replication/walsender.c, repl_gram.y, repl_scanner.l.

#![forbid(unsafe_code)]

mod grammar;
mod lexer; // 1. words ... // 2. ... and sentences

mod command; // 3. who does what
mod queries; // 4. small answers
mod rows;
mod slots;

mod position; // 7. what may be sent
mod segments; // 8. where it is
mod start; // 5. a stream begins and ends
mod stopping; // 10. how long the server's stop waits for it
mod stream; // 6. what happens in between

mod lag;
mod replies; // 9. what comes back

use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;

use common::BackendType;
use elog::Result;
use miscinit::globals;
use miscinit::interrupt::{self, Pending};
use replication::walsnd::State;
use replication::{slot, walsnd};
use shmem::pmsignal::{self, PmSignalReason};
use shmem::procsignal::{self, ProcSignalReason};

pub use command::{Context, Outcome, execute};

thread_local! {
    /// A stream runs: it decides itself when to stop. C: `replication_active`.
    static STREAMING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this process is a walsender. C: `am_walsender`.
pub fn is_walsender() -> bool {
    globals::backend_type() == BackendType::WalSender
}

/// Makes a walsender of the session: it has its PGPROC, of that kind, its role is known and may replicate. Without a database,
/// what its standby still looks at counts for the old rows of all of them. C: `InitWalSender`.
///
/// # Errors
/// As [`walsnd::claim`].
pub fn init(in_database: bool) -> Result<()> {
    walsnd::claim()?;
    pmsignal::mark_child_wal_sender();
    pmsignal::send_postmaster_signal(PmSignalReason::AdvanceStateMachine);
    if !in_database {
        let flags = &shmem::my_proc().status_flags;
        flags.fetch_or(transam::procarray::PROC_AFFECTS_ALL_HORIZONS, SeqCst);
    }
    Ok(())
}

/// Part of what a session does when it was poked: a walsender that does not stream obeys the checkpointer's wish by leaving.
/// C: `HandleWalSndInitStopping`.
pub fn note_procsignal() {
    if !is_walsender() || !procsignal::check(ProcSignalReason::WalSenderStopping) {
        return;
    }
    if STREAMING.get() {
        stopping::ask();
    } else {
        interrupt::raise(Pending::ProcDie);
    }
}

/// After an error in a command or a statement of a walsender: gives back what a stream holds (WA6). True if the session is to leave
/// instead of going on, since the server stops. C: `WalSndErrorCleanup`.
pub fn error_cleanup() -> bool {
    slot::release();
    slot::cleanup();
    STREAMING.set(false);
    if stopping::is_asked() || interrupt::is_pending(Pending::LastCycle) {
        return true;
    }
    walsnd::set_state(State::Startup);
    false
}
