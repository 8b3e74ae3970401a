//! The loop over a client's messages, and what an error does to it.
//!
//! Invariants:
//! - B1  Every report for the client goes into one queue and from there into the port's buffer before
//!   anything that comes after it, so that the client sees things in the order in which they happened.
//! - B2  After an error in an extended-query message everything up to Sync is skipped.
//! - B3  A FATAL ends the session after its text has been sent; nothing else does, but the client.
//! - B4  A commit that no longer waits for synchronous standbys because the session ends is not acknowledged.
//!
//! C counterpart: `PostgresMain` of tcop/postgres.c.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use activity::State;
use common::SqlState;
use elog::{PgError, Result, Severity, ereport, pg_error};
use libpq::message::reply::TransactionStatus;
use libpq::message::{FrontendMessage, is_extended_query, reply, report};
use libpq::{Incoming, Port};
use miscinit::interrupt::{self, Pending};
use miscinit::{exit, farewell, ps_status, timeout};
use pgstat::SessionEnd;
use shmem::pmsignal::QuitSignalReason;
use transam::Status;

use crate::objects::Objects;
use crate::transaction::SessionTransaction;
use crate::utility::not_supported;
use crate::wait::{self, Limit, SessionWait};

/// A session that has been let in.
pub(crate) struct Session {
    pub(crate) port: Port,
    pub(crate) transaction: SessionTransaction,
    /// Prepared statements and portals.
    pub(crate) objects: Rc<Objects>,
    /// The settings have been looked at up to this change.
    settings_seen: u64,
    /// ReadyForQuery is due before the next read.
    send_ready: bool,
    /// An extended-query message came since the last Sync.
    in_extended_query: bool,
    /// B2.
    skip_until_sync: bool,
    timer_armed: bool,
    began: Instant,
    /// How it ends if the client leaves.
    end: SessionEnd,
}

thread_local! {
    /// Reports for the client, as protocol messages, in order (B1).
    static REPORTS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static HAS_REPORTS: Cell<bool> = const { Cell::new(false) };
}

/// What `elog` calls with each report that concerns the client.
pub(crate) fn queue_report(report: &PgError) {
    REPORTS.with(|queue| {
        // A report made while one is being queued is lost rather than recursed into.
        let Ok(mut queue) = queue.try_borrow_mut() else { return };
        if report.severity >= Severity::Error {
            report::error_response(&mut queue, report);
        } else {
            report::notice_response(&mut queue, report);
        }
        HAS_REPORTS.set(true);
        if report.severity >= Severity::Panic {
            // There will be no other moment: the process aborts next.
            miscinit::signals::send_farewell(&queue);
        }
    });
}

/// Moves queued reports into a port's buffer (B1).
pub(crate) fn move_reports(port: &mut Port) {
    take_reports(port.out());
}

/// The same into any buffer of messages.
pub(crate) fn take_reports(out: &mut Vec<u8>) {
    if HAS_REPORTS.replace(false) {
        REPORTS.with_borrow_mut(|queue| out.append(queue));
    }
}

impl Session {
    pub(crate) fn new(port: Port) -> Session {
        let objects = Rc::new(Objects::default());
        Session {
            port,
            transaction: SessionTransaction::new(Rc::clone(&objects)),
            objects,
            settings_seen: guc::generation(),
            send_ready: true,
            in_extended_query: false,
            skip_until_sync: false,
            timer_armed: false,
            began: Instant::now(),
            end: SessionEnd::Normal,
        }
    }

    /// Serves the client until one of the two leaves.
    pub(crate) fn run(mut self) -> ! {
        let mut body = Vec::new();
        loop {
            // A Rust panic costs one statement, unless it may have left shared memory half changed.
            match elog::catch_panic(|| self.turn(&mut body)) {
                Ok(true) => {}
                Ok(false) => {
                    let end = self.end;
                    self.leave(0, end);
                }
                Err(error) => self.recover(&error),
            }
        }
    }

    /// One message. False when the client has left.
    fn turn(&mut self, body: &mut Vec<u8>) -> Result<bool> {
        if self.send_ready {
            self.get_ready()?;
        }
        let mut policy = self.idle_policy();
        let kind = match self.port.read_message(body, &mut policy)? {
            Incoming::Message(kind) => kind,
            Incoming::Broken => {
                self.end = SessionEnd::Abandoned;
                return Ok(false);
            }
            Incoming::Eof => {
                self.end = SessionEnd::Abandoned;
                if self.transaction.status() != Status::Idle {
                    pg_error!(
                        LogServerOnly,
                        SqlState::CONNECTION_DOES_NOT_EXIST,
                        "unexpected EOF on client connection with an open transaction"
                    )
                    .report();
                }
                return Ok(false);
            }
        };
        if self.skip_until_sync && kind != b'S' && kind != b'X' {
            return Ok(true);
        }
        self.in_extended_query = is_extended_query(kind);
        crate::replicating::check_message(kind)?;
        // A cancel that came while nothing ran is not meant for what comes now.
        interrupt::take(Pending::QueryCancel);
        self.handle(FrontendMessage::parse(kind, body)?)
    }

    fn handle(&mut self, message: FrontendMessage<'_>) -> Result<bool> {
        use FrontendMessage as M;
        self.transaction.statement_start = activity::now();
        match message {
            M::Query(sql) => {
                self.send_ready = true;
                if walsender::is_walsender() {
                    return self.replication_query(sql);
                }
                self.simple_query(sql)?;
            }
            M::Parse { name, query, param_types } => self.parse(name, query, &param_types)?,
            M::Bind(bind) => self.bind(&bind)?,
            M::Describe(what, name) => self.describe(what, name)?,
            M::Execute { portal, max_rows } => self.execute(portal, max_rows)?,
            M::Close(what, name) => self.close(what, name),
            M::Flush => self.flush()?,
            M::Sync => self.sync()?,
            M::Terminate => return Ok(false),
            // Left over from a COPY that has failed: the protocol says to ignore them.
            M::CopyData(_) | M::CopyDone | M::CopyFail(_) => {}
            M::FunctionCall(_) => {
                self.send_ready = true;
                return Err(not_supported("the function call protocol"));
            }
        }
        Ok(true)
    }

    /// The end of an extended-query conversation: commits what no block holds open.
    fn sync(&mut self) -> Result<()> {
        self.skip_until_sync = false;
        self.send_ready = true;
        // A commit that fails here is followed by ReadyForQuery, not by a wait for another Sync.
        self.in_extended_query = false;
        self.finish_transaction_command()
    }

    /// Before waiting for the next message: tells the client, `ps` and `pg_stat_activity` that it is its turn.
    fn get_ready(&mut self) -> Result<()> {
        self.disarm_statement_timer();
        let (state, title, status) = match self.transaction.status() {
            Status::Idle => {
                pgstat::report_stat(crate::identity::get().database, false);
                (State::Idle, "idle", TransactionStatus::Idle)
            }
            Status::InBlock => (State::IdleInTransaction, "idle in transaction", TransactionStatus::InBlock),
            Status::Failed => {
                (State::IdleInTransactionAborted, "idle in transaction (aborted)", TransactionStatus::Failed)
            }
        };
        self.follow_settings();
        crate::read_only::follow_recovery();
        ps_status::set_activity(title);
        activity::report_activity(state, None);
        elog::session::update(|session| {
            session.set_command_tag(title);
            session.statement = None;
        });
        move_reports(&mut self.port);
        for (name, value) in guc::take_reports() {
            reply::parameter_status(self.port.out(), name, &value);
        }
        reply::ready_for_query(self.port.out(), status);
        self.send_ready = false;
        self.flush()
    }

    /// Settings that layers below keep a copy of follow a SET in this session.
    fn follow_settings(&mut self) {
        let generation = guc::generation();
        if generation != self.settings_seen {
            self.settings_seen = generation;
            miscinit::config::apply_log_settings();
            apply_stack_limit();
            let name = guc::vars::APPLICATION_NAME.get();
            activity::report_application_name(&name);
            elog::session::update(|session| name.as_ref().clone_into(&mut session.application_name));
        }
    }

    /// Sends everything.
    pub(crate) fn flush(&mut self) -> Result<()> {
        move_reports(&mut self.port);
        let mut policy = self.busy_policy();
        self.port.flush(&mut policy)
    }

    /// Sends what has gathered if it is a lot.
    pub(crate) fn flush_if_large(&mut self) -> Result<()> {
        move_reports(&mut self.port);
        let mut policy = self.busy_policy();
        self.port.flush_if_large(&mut policy)
    }

    fn idle_policy(&self) -> SessionWait {
        let limit = match self.transaction.status() {
            Status::Idle => (Limit::IdleSession, guc::vars::IDLE_SESSION_TIMEOUT.get()),
            _ => (Limit::IdleInTransaction, guc::vars::IDLE_IN_TRANSACTION_SESSION_TIMEOUT.get()),
        };
        let limit = (limit.1 > 0).then(|| (limit.0, Duration::from_millis(limit.1 as u64)));
        SessionWait::new(limit, self.port.is_encrypted())
    }

    pub(crate) fn busy_policy(&self) -> SessionWait {
        SessionWait::new(None, self.port.is_encrypted())
    }

    /// Before each statement of either protocol. C: `start_xact_command`.
    pub(crate) fn start_transaction_command(&mut self) -> Result<()> {
        self.follow_settings();
        self.transaction.start_statement()?;
        let limit = guc::vars::STATEMENT_TIMEOUT.get();
        if limit > 0 && !self.timer_armed {
            timeout::arm_statement(Duration::from_millis(limit as u64));
            self.timer_armed = true;
        }
        Ok(())
    }

    /// After each statement of either protocol, or at Sync. C: `finish_xact_command`.
    pub(crate) fn finish_transaction_command(&mut self) -> Result<()> {
        self.disarm_statement_timer();
        let ended = self.transaction.end_statement();
        if replication::syncrep::ended_unacknowledged() {
            // B4: what ended the wait ends the session here.
            interrupt::check()?;
        }
        ended
    }

    fn disarm_statement_timer(&mut self) {
        if std::mem::take(&mut self.timer_armed) {
            timeout::disarm_statement();
        }
    }

    /// After an error: tells log and client, rolls back, and is ready for what comes next.
    fn recover(&mut self, error: &PgError) {
        if interrupt::is_pending(Pending::QuickDie) {
            self.quick_die();
        }
        self.disarm_statement_timer();
        error.report();
        if error.severity >= Severity::Panic {
            let _ = self.flush();
            std::process::abort();
        }
        if error.severity >= Severity::Fatal {
            self.flush_last(wait::was_sent_away());
            self.leave(1, if wait::was_sent_away() { SessionEnd::Killed } else { SessionEnd::Fatal });
        }
        self.transaction.fail();
        // After the transaction, which may well have begun and ended while a slot was in use.
        replication::slot::error_cleanup();
        if walsender::is_walsender() && walsender::error_cleanup() {
            self.flush_last(true);
            self.leave(0, SessionEnd::Normal);
        }
        if self.in_extended_query {
            self.skip_until_sync = true;
            // The client may have asked for it with a Flush, which is among what is skipped now.
            let _ = self.flush();
        } else {
            self.send_ready = true;
        }
    }

    /// The last words. In a hurry, a client that has not taken all that came before is not waited for: it may never take it.
    /// C: `ProcessClientWriteInterrupt`.
    fn flush_last(&mut self, in_a_hurry: bool) {
        let is_behind = self.port.is_send_pending();
        move_reports(&mut self.port);
        let _ = if in_a_hurry && is_behind { self.port.flush_if_writable() } else { self.flush() };
    }

    /// SIGQUIT that left its answer to ordinary code: an encrypted session that waits, or nobody knows who
    /// sent it.
    fn quick_die(&mut self) -> ! {
        match shmem::pmsignal::quit_signal_reason() {
            QuitSignalReason::NotSent => {
                pg_error!(
                    Warning,
                    SqlState::ADMIN_SHUTDOWN,
                    "terminating connection because of unexpected SIGQUIT signal"
                )
                .report();
                move_reports(&mut self.port);
            }
            reason => self.port.out().extend_from_slice(farewell::message(reason)),
        }
        let _ = self.port.flush_if_writable();
        exit::exit_now(2)
    }

    /// Ends the session.
    fn leave(&mut self, code: i32, end: SessionEnd) -> ! {
        self.transaction.fail();
        // Sessions of walsenders are not counted. C: `pgstat_should_report_connstat`.
        if !walsender::is_walsender() {
            pgstat::report_disconnect(end);
        }
        pgstat::report_stat(crate::identity::get().database, true);
        if guc::vars::LOG_DISCONNECTIONS.get() {
            self.log_disconnection();
        }
        exit::proc_exit(code)
    }

    /// C: `log_disconnections`.
    fn log_disconnection(&self) {
        let identity = crate::identity::get();
        let secs = self.began.elapsed();
        let (hours, minutes) = (secs.as_secs() / 3600, secs.as_secs() / 60 % 60);
        let port = self.port.remote_port();
        ereport!(
            Log,
            "disconnection: session time: {hours}:{minutes:02}:{:02}.{:03} user={} database={} host={}{}{port}",
            secs.as_secs() % 60,
            secs.subsec_millis(),
            identity.session_user.name,
            identity.database_name,
            self.port.remote_host(),
            if port.is_empty() { "" } else { " port=" },
        );
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("port", &self.port).finish_non_exhaustive()
    }
}

/// The parser, below the settings, is told how deep it may go. C: `assign_max_stack_depth`.
pub(crate) fn apply_stack_limit() {
    parser::stack::set_limit_kb(guc::vars::MAX_STACK_DEPTH.get() as usize);
}

/// At the start of each statement that a client sends.
pub(crate) fn announce_statement(text: &str) {
    wait::warn_of_postmaster_death();
    elog::session::update(|session| session.statement = Some(Rc::from(text)));
    activity::report_activity(State::Active, Some(text));
}

/// What `ps` and the log show while a statement of this kind runs.
pub(crate) fn announce_command(tag: &str) {
    ps_status::set_activity(tag);
    elog::session::update(|session| session.set_command_tag(tag));
}
