//! What signals and the postmaster's death mean to a session, while it waits and while it works.
//!
//! C counterpart: `ProcessInterrupts` and `ProcessClientReadInterrupt` of tcop/postgres.c.

use std::cell::Cell;
use std::time::{Duration, Instant};

use common::SqlState;
use elog::{PgError, Result, error, fatal, pg_error};
use libpq::{Direction, WaitPolicy};
use miscinit::interrupt::{self, Pending};
use miscinit::{exit, signals};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

use crate::conflict;

/// What happens when the client keeps a session waiting too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `authentication_timeout`, before the client has said who it is.
    StartupPacket,
    /// `authentication_timeout`, from then on.
    Authentication,
    /// `idle_in_transaction_session_timeout`
    IdleInTransaction,
    /// `idle_session_timeout`
    IdleSession,
}

thread_local! {
    /// The postmaster's death has been seen.
    static POSTMASTER_LOST: Cell<bool> = const { Cell::new(false) };
    /// The client has been told of it.
    static CLIENT_WARNED: Cell<bool> = const { Cell::new(false) };
    /// An operator has ended the session.
    static SENT_AWAY: Cell<bool> = const { Cell::new(false) };
}

/// How a session waits for its client.
#[derive(Debug)]
pub(crate) struct SessionWait {
    limit: Option<(Limit, Instant)>,
    /// With TLS a farewell needs ordinary code; see [`signals::set_safe_point`].
    encrypted: bool,
}

impl SessionWait {
    pub(crate) fn new(limit: Option<(Limit, Duration)>, encrypted: bool) -> SessionWait {
        SessionWait { limit: limit.map(|(limit, after)| (limit, Instant::now() + after)), encrypted }
    }
}

impl WaitPolicy for SessionWait {
    fn interrupts(&mut self, waiting_to: Direction) -> Result<()> {
        if waiting_to == Direction::Read {
            // Nothing runs, so there is nothing to cancel.
            interrupt::take(Pending::QueryCancel);
            if interrupt::take(Pending::ConfigReload) {
                reload_config();
            }
            conflict::while_reading(interrupt::check)?;
            if sinval::catchup_pending() {
                sinval::process_catchup(catalog::inval::accept)?;
            }
            return Ok(());
        }
        interrupt::check()
    }

    fn postmaster_died(&mut self, _: Direction) -> Result<()> {
        note_postmaster_death();
        if guc::vars::BACKEND_ON_POSTMASTER_DEATH.get() == "exit" {
            return Err(fatal!(
                SqlState::ADMIN_SHUTDOWN,
                "terminating connection due to unexpected postmaster exit"
            ));
        }
        Ok(())
    }

    fn take_reports(&mut self, out: &mut Vec<u8>) {
        crate::session::take_reports(out);
    }

    fn deadline(&self) -> Option<Instant> {
        self.limit.map(|(_, at)| at)
    }

    fn deadline_passed(&mut self) -> Result<()> {
        Err(match self.limit.map(|(limit, _)| limit) {
            Some(Limit::IdleInTransaction) => fatal!(
                SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                "terminating connection due to idle-in-transaction timeout"
            ),
            Some(Limit::IdleSession) => {
                fatal!(SqlState::IDLE_SESSION_TIMEOUT, "terminating connection due to idle-session timeout")
            }
            // Nobody is told about somebody who never spoke.
            Some(Limit::StartupPacket) => exit::proc_exit(1),
            _ => fatal!(SqlState::QUERY_CANCELED, "canceling authentication due to timeout"),
        })
    }

    fn waiting(&mut self, waiting_to: Direction, begins: bool) {
        if self.encrypted && waiting_to == Direction::Read {
            signals::set_safe_point(begins);
        }
    }
}

/// SIGHUP in a session.
pub(crate) fn reload_config() {
    if let Err(error) = miscinit::config::reload() {
        error.report();
    }
}

fn note_postmaster_death() {
    POSTMASTER_LOST.set(true);
}

/// At the start of each statement: a session that goes on without a postmaster is told so, once. A client on
/// a long-lived connection could not know otherwise.
pub(crate) fn warn_of_postmaster_death() {
    if CLIENT_WARNED.get() {
        return;
    }
    if !POSTMASTER_LOST.get() {
        if shmem::postmaster_alive() {
            return;
        }
        note_postmaster_death();
    }
    CLIENT_WARNED.set(true);
    pg_error!(Warning, SqlState::WARNING, "the postmaster of this session has died")
        .detail("The session goes on, and what it commits synchronously is safe, but nobody accepts connections, makes checkpoints or collects statistics any more.")
        .hint("Finish your work and disconnect; the server can be started again when all its sessions have ended.")
        .report();
}

/// A session's answer to whatever was noted while a statement runs. C: `ProcessInterrupts`.
pub(crate) fn process_interrupts() -> Result<()> {
    if interrupt::is_pending(Pending::QuickDie) {
        // Not taken: `Session::recover` sees it too, and has the port that the farewell goes through.
        return Err(fatal!(SqlState::ADMIN_SHUTDOWN, "terminating connection because of SIGQUIT"));
    }
    if interrupt::take(Pending::ProcSignal) {
        sinval::note_procsignal();
        walsender::note_procsignal();
        conflict::process()?;
    }
    if interrupt::take(Pending::ProcDie) {
        SENT_AWAY.set(true);
        return Err(fatal!(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command"));
    }
    if interrupt::take(Pending::QueryCancel) {
        // Both at once: the client's wish is the better news.
        interrupt::take(Pending::StatementTimeout);
        return Err(cancelled("canceling statement due to user request"));
    }
    if interrupt::take(Pending::StatementTimeout) {
        return Err(cancelled("canceling statement due to statement timeout"));
    }
    Ok(())
}

/// Whether this session ends because of SIGTERM. C: `DISCONNECT_KILLED`.
pub(crate) fn was_sent_away() -> bool {
    SENT_AWAY.get()
}

fn cancelled(message: &'static str) -> PgError {
    error!(SqlState::QUERY_CANCELED, "{message}")
}

/// Sleeps on the latch for a statement (`pg_sleep`): until the time is over or somebody interrupts. The
/// postmaster's death ends it only if sessions are to end with it, and then without a word, as PostgreSQL
/// does wherever a statement waits.
pub(crate) fn sleep(timeout: Duration, event: WaitEvent) -> Result<()> {
    let until = Instant::now() + timeout;
    loop {
        latch::reset();
        interrupt::check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let mut events = Wake::LATCH_SET;
        if !POSTMASTER_LOST.get() {
            events |= Wake::POSTMASTER_DEATH;
        }
        let woken = latch::wait(events, Some(left), event);
        if woken.postmaster_died() {
            note_postmaster_death();
            if guc::vars::BACKEND_ON_POSTMASTER_DEATH.get() == "exit" {
                exit::proc_exit(1);
            }
        }
    }
}
