//! The simple query protocol: a string of statements, run one after the other.
//!
//! C counterpart: `exec_simple_query` of tcop/postgres.c.

use std::rc::Rc;

use common::SqlState;
use elog::{PgError, Result, error};
use libpq::message::reply;
use parser::{RawStmt, Statement};

use crate::portal::{Kind, Portal, Prepared, Ran};
use crate::query::Params;
use crate::session::{Session, announce_command, announce_statement, move_reports};
use crate::{statement_log, utility};

impl Session {
    /// Runs a string of statements. C: `exec_simple_query`.
    pub(crate) fn simple_query(&mut self, sql: &str) -> Result<()> {
        announce_statement(sql);
        self.start_transaction_command()?;
        self.objects.drop_statement("");
        let statements = parser::parse_with(sql, guc::vars::STANDARD_CONFORMING_STRINGS.get())?;
        let all = statements.iter().map(|raw| &raw.stmt);
        let what = || format!("statement: {sql}");
        let was_logged = statement_log::statement(all, &self.objects, what, || None);
        let logs_duration = statement_log::durations_are_wanted();
        let detail = match logs_duration && !was_logged {
            true => statement_log::prepared_text(statements.iter().map(|raw| &raw.stmt), &self.objects),
            false => None,
        };
        self.run_statements(sql, statements)?;
        if logs_duration {
            let what = || (format!("statement: {sql}"), detail);
            statement_log::duration(self.transaction.statement_start, was_logged, what);
        }
        Ok(())
    }

    fn run_statements(&mut self, sql: &str, statements: Vec<RawStmt>) -> Result<()> {
        if statements.is_empty() {
            self.finish_transaction_command()?;
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
        announce_command(raw.command_tag());
        if self.transaction.is_failed() && !utility::ends_failed_block(&raw.stmt) {
            return Err(failed_block());
        }
        self.start_transaction_command()?;
        if several {
            self.transaction.begin_implicit();
        }
        miscinit::interrupt::check()?;
        let formats = self.result_formats(&raw.stmt);
        let prepared = Rc::new(Prepared::new(&self.objects, Rc::clone(text), Some(raw), Params::None)?);
        let level = self.transaction.level();
        let mut portal = Portal::new("", Rc::clone(&prepared), Vec::new(), level).with_formats(formats)?;
        // A command says what rows it has once it has them; a query before its first row.
        if !matches!(prepared.kind, Kind::Query(_)) {
            portal.start(self)?;
        }
        if prepared.columns.is_some() {
            move_reports(&mut self.port);
            portal.describe(self.port.out());
        }
        let ran = portal.run(self, 0)?;
        drop(portal);
        if is_last {
            if several {
                self.transaction.end_implicit();
            }
            self.finish_transaction_command()?;
        } else if prepared.controls_transaction() {
            self.finish_transaction_command()?;
        }
        move_reports(&mut self.port);
        match ran {
            Ran::Complete(tag) => reply::command_complete(self.port.out(), &tag),
            Ran::Suspended | Ran::Empty => reply::command_complete(self.port.out(), prepared.tag),
        }
        Ok(())
    }

    /// Rows are text, but for a FETCH from a cursor declared BINARY.
    fn result_formats(&self, statement: &Statement) -> Vec<i16> {
        let Statement::Fetch(fetch) = statement else { return Vec::new() };
        let is_binary = self.objects.with_portal(&fetch.cursor, |portal| portal.options().binary);
        if is_binary == Some(true) { vec![1] } else { Vec::new() }
    }
}

/// 25P02: a failed block takes nothing but its end.
pub(crate) fn failed_block() -> PgError {
    error!(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block"
    )
}
