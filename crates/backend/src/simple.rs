//! The simple query protocol: a string of statements, run one after the other.
//!
//! C counterpart: `exec_simple_query` of tcop/postgres.c.

use std::borrow::Cow;
use std::rc::Rc;

use common::SqlState;
use elog::{PgError, Result, ereport, error};
use libpq::message::reply;
use parser::RawStmt;

use crate::portal::{self, Portal, Prepared, Ran};
use crate::query::Params;
use crate::session::{Session, announce_command, announce_statement, move_reports};
use crate::utility;

impl Session {
    /// Runs a string of statements. C: `exec_simple_query`.
    pub(crate) fn simple_query(&mut self, sql: &str) -> Result<()> {
        announce_statement(sql);
        log_statement(sql);
        self.portals.remove("");
        self.statements.remove("");
        let statements = parser::parse_with(sql, guc::vars::STANDARD_CONFORMING_STRINGS.get())?;
        if statements.is_empty() {
            self.start_transaction_command();
            self.finish_transaction_command();
            reply::empty_query_response(self.port.out());
            return Ok(());
        }
        let text: Rc<str> = Rc::from(sql);
        let several = statements.len() > 1;
        let last = statements.len() - 1;
        for (index, statement) in statements.into_iter().enumerate() {
            self.simple_statement(&text, statement, several, index == last)?;
        }
        Ok(())
    }

    fn simple_statement(&mut self, text: &Rc<str>, raw: RawStmt, several: bool, is_last: bool) -> Result<()> {
        let tag = raw.command_tag();
        announce_command(tag);
        if self.transaction.is_failed() && !utility::ends_failed_block(&raw.stmt) {
            return Err(failed_block());
        }
        self.start_transaction_command();
        if several {
            self.transaction.begin_implicit();
        }
        miscinit::interrupt::check()?;
        let controls_transaction = matches!(raw.stmt, parser::Statement::Transaction(_));
        if portal::is_query(&raw.stmt) {
            guc::note_first_query();
        }
        let prepared = Rc::new(Prepared::new(Rc::clone(text), Some(raw), Params::None)?);
        let has_rows = prepared.columns.is_some();
        let mut portal = Portal::new(prepared, Vec::new(), Vec::new())?;
        if has_rows {
            move_reports(&mut self.port);
            portal.describe(self.port.out());
        }
        let ran = portal.run(self, 0)?;
        if is_last {
            if several {
                self.transaction.end_implicit();
            }
            self.finish_transaction_command();
        } else if controls_transaction {
            self.finish_transaction_command();
        }
        move_reports(&mut self.port);
        match ran {
            Ran::Complete(tag) => reply::command_complete(self.port.out(), &tag),
            Ran::Suspended | Ran::Empty => reply::command_complete(self.port.out(), &Cow::Borrowed(tag)),
        }
        Ok(())
    }
}

/// 25P02: a failed block takes nothing but its end.
pub(crate) fn failed_block() -> PgError {
    error!(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block"
    )
}

/// `log_statement = all`; the other classes need to know more than the text. C: `check_log_statement`.
pub(crate) fn log_statement(sql: &str) {
    if guc::vars::LOG_STATEMENT.get() == "all" {
        ereport!(Log, "statement: {sql}");
    }
}
