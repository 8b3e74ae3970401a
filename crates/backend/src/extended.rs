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
use crate::simple::failed_block;
use crate::{statement_log, utility};

impl Session {
    /// Parse. C: `exec_parse_message`.
    pub(crate) fn parse(&mut self, name: &str, query: &str, param_types: &Oid32List<'_>) -> Result<()> {
        announce_statement(query);
        announce_command("PARSE");
        self.start_transaction_command()?;
        if name.is_empty() {
            self.objects.drop_statement(name);
        }
        let mut statements = parser::parse_with(query, guc::vars::STANDARD_CONFORMING_STRINGS.get())?;
        if statements.len() > 1 {
            return Err(error!(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement"
            ));
        }
        let types: Vec<Oid> = param_types.iter().collect();
        if let Some(unknown) = types.iter().find(|ty| ty.is_valid() && types::type_info(**ty).is_none()) {
            return Err(error!(SqlState::INTERNAL_ERROR, "cache lookup failed for type {unknown}"));
        }
        let statement = statements.pop();
        if self.transaction.is_failed()
            && statement.as_ref().is_some_and(|raw| !utility::ends_failed_block(&raw.stmt))
        {
            return Err(failed_block());
        }
        let prepared = Prepared::new(&self.objects, Rc::from(query), statement, Params::Infer(&types))?;
        self.objects.store_statement(name, prepared)?;
        reply::parse_complete(self.port.out());
        statement_log::duration(self.transaction.statement_start, false, || {
            (format!("parse {}: {query}", shown_name(name)), None)
        });
        Ok(())
    }

    /// Bind. C: `exec_bind_message`.
    pub(crate) fn bind(&mut self, bind: &Bind<'_>) -> Result<()> {
        let prepared = self.objects.statement(bind.statement)?;
        announce_statement(&prepared.text);
        announce_command("BIND");
        self.start_transaction_command()?;
        check_parameter_counts(bind, prepared.param_types().len())?;
        if self.transaction.is_failed() && !prepared.ends_failed_block() {
            return Err(failed_block());
        }
        if !bind.portal.is_empty() && self.objects.has_portal(bind.portal) {
            return Err(error!(SqlState::DUPLICATE_CURSOR, "cursor \"{}\" already exists", bind.portal));
        }
        let params = read_params(bind, prepared.param_types())?;
        let portal = Portal::new(bind.portal, prepared, params, self.transaction.level())
            .of_statement(bind.statement)
            .with_formats(bind.result_formats.iter().collect())?;
        statement_log::duration(self.transaction.statement_start, false, || described(&portal, "bind"));
        self.objects.put_portal(portal);
        reply::bind_complete(self.port.out());
        Ok(())
    }

    /// Describe. C: `exec_describe_statement_message`, `exec_describe_portal_message`.
    pub(crate) fn describe(&mut self, what: Describable, name: &str) -> Result<()> {
        self.start_transaction_command()?;
        let is_failed = self.transaction.is_failed();
        let out = self.port.out();
        match what {
            Describable::Statement => {
                let prepared = self.objects.statement(name)?;
                if is_failed && prepared.columns.is_some() {
                    return Err(failed_block());
                }
                reply::parameter_description(out, prepared.param_types().iter().copied());
                describe_columns(out, &prepared, |_| 0);
            }
            Describable::Portal => {
                let describe = |portal: &Portal| {
                    if is_failed && portal.prepared().columns.is_some() {
                        return Err(failed_block());
                    }
                    portal.describe(out);
                    Ok(())
                };
                self.objects.with_portal(name, describe).ok_or_else(|| no_such_portal(name))??;
            }
        }
        Ok(())
    }

    /// Execute. C: `exec_execute_message`.
    pub(crate) fn execute(&mut self, name: &str, max_rows: i32) -> Result<()> {
        // Taken out while it runs, since it may close itself.
        let mut portal = self.objects.take_portal(name).ok_or_else(|| no_such_portal(name))?;
        let prepared = Rc::clone(portal.prepared());
        announce_statement(&prepared.text);
        announce_command(prepared.tag);
        self.start_transaction_command()?;
        let verb = if portal.was_run() { "execute fetch from" } else { "execute" };
        let params = || statement_log::parameters(portal.params(), prepared.param_types());
        let what = || described(&portal, verb).0;
        let was_logged = statement_log::statement(prepared.statement.iter(), &self.objects, what, params);
        if self.transaction.is_failed() && !prepared.ends_failed_block() {
            return Err(failed_block());
        }
        miscinit::interrupt::check()?;
        let ran = portal.run(self, usize::try_from(max_rows).unwrap_or(0))?;
        statement_log::duration(self.transaction.statement_start, was_logged, || described(&portal, verb));
        if prepared.controls_transaction() {
            self.finish_transaction_command()?;
        } else {
            self.objects.put_portal(portal);
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
                self.objects.drop_statement(name);
            }
            Describable::Portal => {
                self.objects.take_portal(name);
            }
        }
        reply::close_complete(self.port.out());
    }
}

fn no_such_portal(name: &str) -> PgError {
    error!(SqlState::UNDEFINED_CURSOR, "portal \"{name}\" does not exist")
}

fn shown_name(name: &str) -> &str {
    if name.is_empty() { "<unnamed>" } else { name }
}

/// What the log calls a step with a portal, and its parameters.
fn described(portal: &Portal, verb: &str) -> (String, Option<String>) {
    let slash = if portal.name().is_empty() { "" } else { "/" };
    let prepared = portal.prepared();
    let text =
        format!("{verb} {}{slash}{}: {}", shown_name(portal.statement_name()), portal.name(), prepared.text);
    (text, statement_log::parameters(portal.params(), prepared.param_types()))
}

fn check_parameter_counts(bind: &Bind<'_>, wanted: usize) -> Result<()> {
    let (formats, params) = (bind.param_formats.len(), bind.params.len());
    if formats > 1 && formats != params {
        return Err(error!(
            SqlState::PROTOCOL_VIOLATION,
            "bind message has {formats} parameter formats but {params} parameters"
        ));
    }
    if params != wanted {
        return Err(error!(
            SqlState::PROTOCOL_VIOLATION,
            "bind message supplies {params} parameters, but prepared statement \"{}\" requires {wanted}",
            bind.statement
        ));
    }
    Ok(())
}

/// The parameters' values in their types.
fn read_params(bind: &Bind<'_>, types: &[Oid]) -> Result<Vec<Datum>> {
    let values = bind.params.iter().zip(types).enumerate();
    values
        .map(|(index, (value, ty))| {
            let Some(bytes) = value else { return Ok(Datum::Null) };
            let format = bind.param_formats.for_position(index);
            read_param(*ty, format, bytes, &Place { portal: bind.portal, index })
        })
        .collect()
}

/// Which parameter, for error messages. C: `BindParamCbData`.
struct Place<'a> {
    portal: &'a str,
    index: usize,
}

impl Place<'_> {
    /// C: `bind_param_error_callback`, with `log_parameter_max_length_on_error` at its default: it shows that
    /// there was a text, but none of it.
    fn context(&self, has_text: bool) -> impl Fn(PgError) -> PgError {
        let value = if has_text { " = '...'" } else { "" };
        let number = self.index + 1;
        let text = match self.portal {
            "" => format!("unnamed portal parameter ${number}{value}"),
            name => format!("portal \"{name}\" parameter ${number}{value}"),
        };
        move |error| error.context(text.clone())
    }
}

fn read_param(ty: Oid, format: i16, bytes: &[u8], place: &Place<'_>) -> Result<Datum> {
    match format {
        0 => {
            let text = check_text(bytes).map_err(place.context(false))?;
            types::io::input(ty, -1, text).map_err(place.context(true))
        }
        1 => types::io::receive(ty, -1, bytes)
            .map_err(|e| match e.sqlstate {
                SqlState::INVALID_BINARY_REPRESENTATION if e.message.starts_with("incorrect binary") => {
                    error!(
                        SqlState::INVALID_BINARY_REPRESENTATION,
                        "incorrect binary data format in bind parameter {}",
                        place.index + 1
                    )
                }
                _ => e,
            })
            .map_err(place.context(false)),
        other => Err(error!(SqlState::INVALID_PARAMETER_VALUE, "unsupported format code: {other}"))
            .map_err(place.context(false)),
    }
}

/// Text has no NUL and is UTF-8. C: `pg_client_to_server`.
fn check_text(bytes: &[u8]) -> Result<&str> {
    let text = libpq::message::check_utf8(bytes)?;
    if text.contains('\0') { Err(types::io::invalid_utf8(&[0])) } else { Ok(text) }
}
