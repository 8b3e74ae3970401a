//! Commands that are not queries.
//!
//! C counterpart: tcop/utility.c, and the small commands of commands/.

use std::borrow::Cow;

use catalog::authid;
use common::SqlState;
use elog::{PgError, Result, error, pg_error};
use executor::Column;
use guc::GucAction;
use miscinit::globals::data_dir;
use parser::Statement;
use parser::ast::{
    CreateTableAsStmt, DefElem, DiscardTarget, RoleSpec, SetAction, SetStmt, SetValue, TransactionStmt,
};
use transam::xact;
use types::{Datum, oid};

use crate::copy;
use crate::cursor;
use crate::identity;
use crate::objects::Objects;
use crate::portal::{Prepared, Row};
use crate::prepare;
use crate::query::{self, Running};
use crate::read_only;
use crate::roles;
use crate::session::Session;
use crate::transaction::{set_default_modes, set_modes};

/// What a command returned.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Its tag.
    Tag(Cow<'static, str>),
    /// Rows under [`columns_of`], then its tag.
    Rows(Vec<Row>, Cow<'static, str>),
    /// The rows of a query, as they come.
    Query(Box<Running>),
}

/// The error for what this release lacks.
pub(crate) fn not_supported(what: &str) -> PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "{what} is not supported yet")
}

/// The columns of a command that returns rows; `None` for the others, and for those that will fail.
/// C: `UtilityTupleDescriptor`.
pub(crate) fn columns_of(objects: &Objects, statement: &Statement) -> Option<Vec<Column>> {
    let text = |name: &str| Column { name: name.to_owned(), ty: oid::TEXT, typmod: -1 };
    match statement {
        Statement::Show(name) if name == "all" => Some(["name", "setting", "description"].map(text).into()),
        Statement::Show(name) => Some(vec![text(&shown_name(name))]),
        Statement::Explain(..) => Some(vec![text("QUERY PLAN")]),
        Statement::Execute { name, .. } => objects.find_statement(name)?.columns.clone(),
        Statement::Fetch(fetch) if !fetch.is_move => {
            objects.with_portal(&fetch.cursor, |portal| portal.prepared().columns.clone())?
        }
        _ => None,
    }
}

/// The setting's own spelling. An unknown one fails when it runs.
fn shown_name(name: &str) -> String {
    guc::find(name).map_or_else(|| name.to_owned(), |setting| setting.name.to_owned())
}

/// True for the commands that end a failed block. C: `IsTransactionExitStmt`.
pub(crate) fn ends_failed_block(statement: &Statement) -> bool {
    use parser::ast::TransactionStmt as T;
    matches!(
        statement,
        Statement::Transaction(
            T::Commit { .. } | T::Rollback { .. } | T::RollbackTo(_) | T::PrepareTransaction(_)
        )
    )
}

/// Runs a command. C: `standard_ProcessUtility`.
pub(crate) fn run(session: &mut Session, prepared: &Prepared, params: &[Datum]) -> Result<Answer> {
    let tag = Cow::Borrowed(prepared.tag);
    let Some(statement) = &prepared.statement else { return Ok(Answer::Tag(tag)) };
    read_only::check(statement, prepared.tag)?;
    match statement {
        Statement::Transaction(command) => {
            if let TransactionStmt::Commit { .. } = command
                && let Err(error) = session.objects.hold_portals()
            {
                // A block that cannot be committed is over, not failed.
                session.transaction.run(&TransactionStmt::Rollback { chain: false })?;
                return Err(error);
            }
            let other_tag = session.transaction.run(command)?;
            return Ok(Answer::Tag(other_tag.map_or(tag, Cow::Borrowed)));
        }
        Statement::Set(set) => run_set(session, set)?,
        Statement::Show(name) => return show(name),
        Statement::Explain(options, inner) => {
            let rows = explain(session, options, inner, prepared, params)?;
            return Ok(Answer::Rows(rows, tag));
        }
        Statement::Prepare { name, arg_types, query } => {
            prepare::prepare(session, name, arg_types, query, &prepared.text)?;
        }
        Statement::Execute { name, args } => {
            return prepare::execute(session, name, args, &prepared.text).map(Answer::Query);
        }
        Statement::Deallocate(name) => {
            prepare::deallocate(session, name.as_deref())?;
            let all = if name.is_none() { "DEALLOCATE ALL" } else { prepared.tag };
            return Ok(Answer::Tag(Cow::Borrowed(all)));
        }
        Statement::DeclareCursor { name, options, .. } => {
            cursor::declare(session, name, *options, prepared, params)?;
        }
        Statement::Fetch(fetch) => return cursor::fetch(session, fetch),
        Statement::ClosePortal(name) => {
            cursor::close(&session.objects, name.as_deref())?;
            let all = if name.is_none() { "CLOSE CURSOR ALL" } else { prepared.tag };
            return Ok(Answer::Tag(Cow::Borrowed(all)));
        }
        Statement::Checkpoint => checkpoint()?,
        Statement::Discard(target) => discard(session, *target)?,
        Statement::AlterSystem(set) => alter_system(session, set)?,
        Statement::CreateRole { kind, name, options } => roles::create(*kind, name, options, &prepared.text)?,
        Statement::AlterRole { role, options } => roles::alter(role, options, &prepared.text)?,
        Statement::DropRole { roles, missing_ok } => roles::drop(roles, *missing_ok)?,
        // A name that nobody listens to: nothing to do, as in PostgreSQL.
        Statement::Unlisten(_) => {}
        Statement::Copy(stmt) => return copy::run(session, stmt, &prepared.text),
        Statement::CreateTableAs(stmt) => return create_table_as(session, stmt, &prepared.text),
        _ => run_on_tables(session, statement, prepared)?,
    }
    Ok(Answer::Tag(tag))
}

/// The commands on tables, which `commands` has.
fn run_on_tables(session: &Session, statement: &Statement, prepared: &Prepared) -> Result<()> {
    let text = &prepared.text;
    match statement {
        Statement::CreateTable(stmt) => {
            xact::prevent_if_read_only(prepared.tag)?;
            query::with_context(session, text, |cx| commands::table::create(cx, stmt))
        }
        Statement::Drop(stmt) => {
            xact::prevent_if_read_only(prepared.tag)?;
            query::with_context(session, text, |cx| commands::table::drop(cx, stmt))
        }
        Statement::Truncate(stmt) => {
            query::with_context(session, text, |cx| commands::table::truncate(cx, stmt))
        }
        Statement::Lock(stmt) => {
            session.transaction.require_block("LOCK TABLE")?;
            query::with_context(session, text, |cx| commands::table::lock(cx, stmt))
        }
        Statement::Vacuum { is_vacuum, options, relations } => {
            let options = commands::vacuum::Options::parse(*is_vacuum, options, text)?;
            if *is_vacuum {
                session.transaction.prevent_block("VACUUM")?;
            }
            query::with_context(session, text, |cx| commands::vacuum::run(cx, options, relations))
        }
        Statement::CreateTablespace(stmt) => {
            session.transaction.prevent_block("CREATE TABLESPACE")?;
            let owner = || match &stmt.owner {
                Some(owner) => Ok(Some(authid::load(data_dir())?.get(&role_name(owner)?)?.oid)),
                None => Ok(None),
            };
            query::with_context(session, text, |cx| commands::tablespace::create(cx, stmt, owner))
        }
        Statement::DropTablespace { name, missing_ok } => {
            use checkpointer::CheckpointFlags as F;
            session.transaction.prevent_block("DROP TABLESPACE")?;
            query::with_context(session, text, |cx| {
                commands::tablespace::drop_tablespace(cx, name, *missing_ok, || {
                    checkpointer::request_checkpoint(F::IMMEDIATE | F::FORCE | F::WAIT)
                })
            })
        }
        _ => Err(not_supported(prepared.tag)),
    }
}

/// CREATE TABLE AS completes as the query that it runs.
fn create_table_as(session: &mut Session, stmt: &CreateTableAsStmt, text: &str) -> Result<Answer> {
    xact::prevent_if_read_only(if stmt.is_select_into { "SELECT INTO" } else { "CREATE TABLE AS" })?;
    let executed = match &*stmt.query {
        Statement::Execute { name, args } => {
            let (query, params) = prepare::to_explain(session, name, args, text)?;
            Some((query.current_plan()?, params))
        }
        _ => None,
    };
    let snapshot = transam::transaction_snapshot()?;
    let _active = transam::snapshot::push_active(&snapshot);
    let rows = query::with_context(session, text, |cx| commands::create_as::run(cx, stmt, executed))?;
    let tag = match rows {
        Some(_) if !stmt.with_data => Cow::Borrowed("CREATE TABLE AS"),
        Some(rows) => Cow::Owned(format!("SELECT {rows}")),
        None => Cow::Borrowed("CREATE TABLE AS"),
    };
    Ok(Answer::Tag(tag))
}

/// EXPLAIN. C: `ExplainQuery`.
fn explain(
    session: &mut Session,
    options: &[DefElem],
    inner: &Statement,
    prepared: &Prepared,
    params: &[Datum],
) -> Result<Vec<Row>> {
    let text = &prepared.text;
    if let Statement::Execute { name, args } = inner {
        let (query, params) = prepare::to_explain(session, name, args, text)?;
        return query::explain(options, &query, params, text, session);
    }
    let query = prepared.query().ok_or_else(|| not_supported("EXPLAIN of a command"))?;
    let creates = !crate::portal::is_query(inner) || inner.select_into().is_some();
    if creates && options.iter().any(|option| option.name == "analyze") {
        return Err(not_supported("EXPLAIN ANALYZE of a command"));
    }
    query::explain(options, query, params.to_vec(), text, session)
}

/// SET and RESET. C: `ExecSetVariableStmt`.
fn run_set(session: &Session, set: &SetStmt) -> Result<()> {
    if set.local {
        warn_unless_in_block(session, "SET LOCAL");
    }
    let action = if set.local { GucAction::Local } else { GucAction::Set };
    match &set.action {
        SetAction::Value { name, values } => {
            identity::set_option(name, Some(&value_text(name, values)), action)
        }
        SetAction::Default { name } | SetAction::Reset { name } => identity::set_option(name, None, action),
        SetAction::FromCurrent { .. } => Err(not_supported("SET ... FROM CURRENT")),
        SetAction::ResetAll => {
            guc::reset_all();
            Ok(())
        }
        SetAction::Transaction(modes) => {
            warn_unless_in_block(session, "SET TRANSACTION");
            set_modes(modes)
        }
        SetAction::TransactionSnapshot(_) => Err(not_supported("SET TRANSACTION SNAPSHOT")),
        SetAction::SessionCharacteristics(modes) => set_default_modes(modes),
    }
}

fn value_text(name: &str, values: &[SetValue]) -> String {
    let quote = guc::find(name).is_some_and(|setting| setting.has(guc::flags::LIST_QUOTE));
    SetValue::flatten(values, quote)
}

/// C: `WarnNoTransactionBlock`.
fn warn_unless_in_block(session: &Session, command: &'static str) {
    if !session.transaction.is_in_any_block() {
        pg_error!(
            Warning,
            SqlState::NO_ACTIVE_SQL_TRANSACTION,
            "{command} can only be used in transaction blocks"
        )
        .report();
    }
}

/// SHOW. C: `GetPGVariable`.
fn show(name: &str) -> Result<Answer> {
    let privileges = identity::get().guc_privileges();
    let rows = if name == "all" {
        let rows = guc::show_all(&privileges).into_iter();
        rows.map(|(name, setting, description)| {
            vec![Datum::text(name), Datum::text(setting), Datum::text(description)]
        })
        .collect()
    } else {
        vec![vec![Datum::text(guc::show(name, &privileges)?)]]
    };
    Ok(Answer::Rows(rows, Cow::Borrowed("SHOW")))
}

/// CHECKPOINT. C: the `T_CheckPointStmt` case.
fn checkpoint() -> Result<()> {
    use checkpointer::CheckpointFlags as F;
    if !identity::get().has_privileges_of(catalog::predefined::PG_CHECKPOINT) {
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "must be superuser or have privileges of pg_checkpoint to do CHECKPOINT"
        ));
    }
    // A restartpoint cannot be forced: it needs a checkpoint of the primary.
    let force = if wal::in_recovery() { F::empty() } else { F::FORCE };
    checkpointer::request_checkpoint(F::IMMEDIATE | F::WAIT | force)
}

/// DISCARD. C: `DiscardCommand`.
fn discard(session: &mut Session, target: DiscardTarget) -> Result<()> {
    match target {
        // Plans are made anew each time, and there are no sequences or temporary tables yet.
        DiscardTarget::Plans | DiscardTarget::Sequences | DiscardTarget::Temp => Ok(()),
        DiscardTarget::All => {
            session.transaction.prevent_block("DISCARD ALL")?;
            session.objects.drop_all_portals();
            identity::set_option("session_authorization", None, GucAction::Set)?;
            guc::reset_all();
            session.objects.drop_all_statements();
            Ok(())
        }
    }
}

/// ALTER SYSTEM. C: `AlterSystemSetConfigFile`.
fn alter_system(session: &Session, set: &SetStmt) -> Result<()> {
    session.transaction.prevent_block("ALTER SYSTEM")?;
    let context = identity::get().guc_context();
    match &set.action {
        SetAction::Value { name, values } => {
            let text = value_text(name, values);
            identity::check_tablespace_setting(name, &text)?;
            guc::alter_system_set(name, &text, context)
        }
        SetAction::Default { name } | SetAction::Reset { name } => guc::alter_system_reset(name, context),
        SetAction::ResetAll => guc::alter_system_reset_all(context),
        _ => Err(not_supported("this form of ALTER SYSTEM")),
    }
}

/// The name that a role specification stands for. C: `get_rolespec_name`.
pub(crate) fn role_name(spec: &RoleSpec) -> Result<String> {
    let identity = identity::get();
    Ok(match spec {
        RoleSpec::Name(name) => name.clone(),
        RoleSpec::CurrentRole | RoleSpec::CurrentUser => identity.current_user.name.clone(),
        RoleSpec::SessionUser => identity.session_user.name.clone(),
        RoleSpec::Public => {
            return Err(error!(SqlState::UNDEFINED_OBJECT, "role \"public\" does not exist"));
        }
    })
}
