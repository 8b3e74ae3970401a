//! The extended query protocol: Parse, Bind, Describe, Execute, Close.
//!
//! C counterpart: `exec_parse_message` and its siblings of tcop/postgres.c.

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{PgError, Result, error};
use libpq::message::reply;
use libpq::message::{Bind, Describable, Oid32List};
use types::Datum;

use crate::portal::{Portal, Prepared, Ran, describe_columns};
use crate::query::Params;
use crate::session::{Session, announce_command, announce_statement, move_reports};
use crate::simple::{failed_block, log_statement};

impl Session {
    /// Parse. C: `exec_parse_message`.
    pub(crate) fn parse(&mut self, name: &str, query: &str, param_types: &Oid32List<'_>) -> Result<()> {
        announce_statement(query);
        announce_command("PARSE");
        self.start_transaction_command();
        let mut statements = parser::parse_with(query, guc::vars::STANDARD_CONFORMING_STRINGS.get())?;
        if statements.len() > 1 {
            return Err(error!(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement"
            ));
        }
        let types: Vec<Oid> = param_types.iter().collect();
        let statement = statements.pop();
        if self.transaction.is_failed()
            && statement.as_ref().is_some_and(|raw| !crate::utility::ends_failed_block(&raw.stmt))
        {
            return Err(failed_block());
        }
        let prepared = Prepared::new(Rc::from(query), statement, Params::Infer(&types))?;
        self.store_prepared(name, prepared)?;
        reply::parse_complete(self.port.out());
        Ok(())
    }

    /// Gives a prepared statement its name. C: `StorePreparedStatement`.
    pub(crate) fn store_prepared(&mut self, name: &str, prepared: Prepared) -> Result<()> {
        if !name.is_empty() && self.statements.contains_key(name) {
            return Err(error!(
                SqlState::DUPLICATE_PSTATEMENT,
                "prepared statement \"{name}\" already exists"
            ));
        }
        self.statements.insert(name.to_owned(), Rc::new(prepared));
        Ok(())
    }

    /// The prepared statement of this name. C: `FetchPreparedStatement`.
    pub(crate) fn prepared(&self, name: &str) -> Result<Rc<Prepared>> {
        self.statements.get(name).map(Rc::clone).ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            error!(SqlState::UNDEFINED_PSTATEMENT, "{message}")
        })
    }

    /// Bind. C: `exec_bind_message`.
    pub(crate) fn bind(&mut self, bind: &Bind<'_>) -> Result<()> {
        let prepared = self.prepared(bind.statement)?;
        announce_statement(&prepared.text);
        announce_command("BIND");
        self.start_transaction_command();
        let wanted = prepared.param_types().len();
        if bind.params.len() != wanted {
            return Err(error!(
                SqlState::PROTOCOL_VIOLATION,
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {wanted}",
                bind.params.len(),
                bind.statement
            ));
        }
        if self.transaction.is_failed() && !prepared.ends_failed_block() {
            return Err(failed_block());
        }
        let params = read_params(bind, prepared.param_types())?;
        if !bind.portal.is_empty() && self.portals.contains_key(bind.portal) {
            return Err(error!(SqlState::DUPLICATE_CURSOR, "cursor \"{}\" already exists", bind.portal));
        }
        let portal = Portal::new(prepared, params, bind.result_formats.iter().collect())?;
        self.portals.insert(bind.portal.to_owned(), portal);
        reply::bind_complete(self.port.out());
        Ok(())
    }

    /// Describe. C: `exec_describe_statement_message`, `exec_describe_portal_message`.
    pub(crate) fn describe(&mut self, what: Describable, name: &str) -> Result<()> {
        self.start_transaction_command();
        match what {
            Describable::Statement => {
                let prepared = self.prepared(name)?;
                if self.transaction.is_failed() && prepared.columns.is_some() {
                    return Err(failed_block());
                }
                let out = self.port.out();
                reply::parameter_description(out, prepared.param_types().iter().copied());
                describe_columns(out, prepared.columns.as_deref(), |_| 0);
            }
            Describable::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| no_such_portal(name))?;
                if self.transaction.is_failed() && portal.prepared().columns.is_some() {
                    return Err(failed_block());
                }
                portal.describe(self.port.out());
            }
        }
        Ok(())
    }

    /// Execute. C: `exec_execute_message`.
    pub(crate) fn execute(&mut self, name: &str, max_rows: i32) -> Result<()> {
        // Taken out while it runs, since it may close itself.
        let mut portal = self.portals.remove(name).ok_or_else(|| no_such_portal(name))?;
        let prepared = Rc::clone(portal.prepared());
        announce_statement(&prepared.text);
        log_statement(&prepared.text);
        announce_command(prepared.tag());
        self.start_transaction_command();
        if self.transaction.is_failed() && !prepared.ends_failed_block() {
            return Err(failed_block());
        }
        miscinit::interrupt::check()?;
        let controls_transaction = prepared
            .statement
            .as_ref()
            .is_some_and(|raw| matches!(raw.stmt, parser::Statement::Transaction(_)));
        let ran = portal.run(self, usize::try_from(max_rows).unwrap_or(0))?;
        if controls_transaction {
            self.finish_transaction_command();
        } else {
            self.portals.insert(name.to_owned(), portal);
        }
        move_reports(&mut self.port);
        let out = self.port.out();
        match ran {
            Ran::Complete(tag) => reply::command_complete(out, &tag),
            Ran::Suspended => reply::portal_suspended(out),
            Ran::Empty => reply::empty_query_response(out),
        }
        Ok(())
    }

    /// Close. What does not exist is closed already.
    pub(crate) fn close(&mut self, what: Describable, name: &str) {
        match what {
            Describable::Statement => {
                self.statements.remove(name);
            }
            Describable::Portal => {
                self.portals.remove(name);
            }
        }
        reply::close_complete(self.port.out());
    }
}

fn no_such_portal(name: &str) -> PgError {
    error!(SqlState::UNDEFINED_CURSOR, "portal \"{name}\" does not exist")
}

/// The parameters' values in their types.
fn read_params(bind: &Bind<'_>, types: &[Oid]) -> Result<Vec<Datum>> {
    let values = bind.params.iter().zip(types).enumerate();
    values
        .map(|(index, (value, ty))| {
            let Some(bytes) = value else { return Ok(Datum::Null) };
            let result = match bind.param_formats.for_position(index) {
                0 => std::str::from_utf8(bytes)
                    .map_err(|_| invalid_utf8())
                    .and_then(|text| types::io::input(*ty, -1, text)),
                1 => types::io::receive(*ty, -1, bytes),
                other => Err(error!(SqlState::INVALID_PARAMETER_VALUE, "unsupported format code: {other}")),
            };
            result.map_err(|e| e.context(format!("unnamed portal parameter ${}", index + 1)))
        })
        .collect()
}

fn invalid_utf8() -> PgError {
    error!(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\"")
}
