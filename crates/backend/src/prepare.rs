//! PREPARE, EXECUTE and DEALLOCATE.
//!
//! C counterpart: commands/prepare.c.

use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};
use parser::Statement;
use parser::ast::{Expr, TypeName};
use types::Datum;

use crate::portal::{Prepared, is_query};
use crate::query::{self, Params, PreparedQuery, Running};
use crate::session::Session;

/// PREPARE. C: `PrepareQuery`.
pub(crate) fn prepare(
    session: &Session,
    name: &str,
    arg_types: &[TypeName],
    statement: &Statement,
    text: &Rc<str>,
) -> Result<()> {
    if name.is_empty() {
        return Err(error!(
            SqlState::INVALID_PSTATEMENT_DEFINITION,
            "invalid statement name: must not be empty"
        ));
    }
    let types = arg_types.iter().map(|name| Ok(executor::resolve_type_name(name, text)?.0));
    let types = types.collect::<Result<Vec<Oid>>>()?;
    debug_assert!(is_query(statement), "the grammar lets nothing else through");
    let query = PreparedQuery::new(statement, text, Params::Infer(&types))?;
    let tag = statement.command_tag();
    session.objects.store_statement(name, Prepared::of_query(Rc::clone(text), query, tag, true))
}

/// EXECUTE: the query under way. C: `ExecuteQuery`.
pub(crate) fn execute(session: &mut Session, name: &str, args: &[Expr], text: &str) -> Result<Box<Running>> {
    let prepared = session.objects.statement(name)?;
    let query = query_of(&prepared)?;
    let params = arguments(session, name, query, args, text)?;
    Ok(Box::new(query.start(params, session)?))
}

/// The prepared query that EXPLAIN EXECUTE is about, and its parameters. C: `ExplainExecuteQuery`.
pub(crate) fn to_explain(
    session: &mut Session,
    name: &str,
    args: &[Expr],
    text: &str,
) -> Result<(PreparedQuery, Vec<Datum>)> {
    let prepared = session.objects.statement(name)?;
    let query = query_of(&prepared)?;
    Ok((query.clone(), arguments(session, name, query, args, text)?))
}

/// The protocol prepares commands too, and EXECUTE takes what the protocol made.
fn query_of(prepared: &Prepared) -> Result<&PreparedQuery> {
    match &prepared.statement {
        Some(statement) if !is_query(statement) => Err(crate::utility::not_supported("EXECUTE of a command")),
        _ => prepared.query().ok_or_else(|| crate::utility::not_supported("EXECUTE of an empty statement")),
    }
}

/// C: `EvaluateParams`.
fn arguments(
    session: &Session,
    name: &str,
    query: &PreparedQuery,
    args: &[Expr],
    text: &str,
) -> Result<Vec<Datum>> {
    let types = query.param_types();
    if types.is_empty() {
        // What nobody asks for is not even looked at.
        return Ok(Vec::new());
    }
    if args.len() != types.len() {
        return Err(error!(
            SqlState::SYNTAX_ERROR,
            "wrong number of parameters for prepared statement \"{name}\""
        )
        .detail(format!("Expected {} parameters but got {}.", types.len(), args.len())));
    }
    query::constants(args, types, text, session)
}

/// DEALLOCATE; without a name ALL. C: `DeallocateQuery`.
pub(crate) fn deallocate(session: &Session, name: Option<&str>) -> Result<()> {
    match name {
        None => session.objects.drop_all_statements(),
        Some(name) => {
            session.objects.statement(name)?;
            session.objects.drop_statement(name);
        }
    }
    Ok(())
}
