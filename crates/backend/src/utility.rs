//! Commands that are not queries.
//!
//! C counterpart: tcop/utility.c, and the small commands of commands/.

use common::{Oid, SqlState};
use elog::{PgError, Result, error, pg_error};
use guc::{GucAction, GucSource};
use parser::Statement;
use parser::ast::{DiscardTarget, RoleSpec, SetAction, SetStmt, SetValue};
use types::{Datum, oid};

use crate::identity;
use crate::query;
use crate::roles;
use crate::session::Session;
use crate::transaction::{set_default_modes, set_modes};

/// A column of a command that returns rows.
pub(crate) type UtilityColumn = (String, Oid);

/// What a command returned.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Its tag.
    Tag(&'static str),
    /// Rows under [`columns_of`], then its tag.
    Rows(Vec<Vec<Datum>>, &'static str),
}

/// The error for what this release lacks.
pub(crate) fn not_supported(what: &str) -> PgError {
    error!(SqlState::FEATURE_NOT_SUPPORTED, "{what} is not supported yet")
}

/// The columns of a command that returns rows; `None` for the others. C: `UtilityTupleDescriptor`.
pub(crate) fn columns_of(statement: &Statement) -> Result<Option<Vec<UtilityColumn>>> {
    Ok(match statement {
        Statement::Show(name) if name == "all" => {
            Some(["name", "setting", "description"].map(|column| (column.to_owned(), oid::TEXT)).into())
        }
        Statement::Show(name) => Some(vec![(shown_name(name), oid::TEXT)]),
        Statement::Explain(..) => Some(vec![("QUERY PLAN".to_owned(), oid::TEXT)]),
        _ => None,
    })
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
/// `source` is the text that the statement's locations count in.
pub(crate) fn run(
    session: &mut Session,
    statement: &Statement,
    source: &str,
    tag: &'static str,
) -> Result<Answer> {
    match statement {
        Statement::Transaction(command) => {
            let other_tag = session.transaction.run(command)?;
            return Ok(Answer::Tag(other_tag.unwrap_or(tag)));
        }
        Statement::Set(set) => run_set(session, set)?,
        Statement::Show(name) => return show(name),
        Statement::Explain(options, inner) => {
            let rows = query::explain(options, inner, source, &session.transaction)?;
            return Ok(Answer::Rows(rows, tag));
        }
        Statement::Checkpoint => checkpoint()?,
        Statement::Discard(target) => discard(session, *target)?,
        Statement::AlterSystem(set) => alter_system(session, set)?,
        Statement::Deallocate(name) => deallocate(session, name.as_deref())?,
        Statement::ClosePortal(name) => close_portal(session, name.as_deref())?,
        Statement::CreateRole { kind, name, options } => roles::create(*kind, name, options)?,
        Statement::AlterRole { role, options } => roles::alter(role, options)?,
        Statement::DropRole { roles, missing_ok } => roles::drop(roles, *missing_ok)?,
        // A name that nobody listens to: nothing to do, as in PostgreSQL.
        Statement::Unlisten(_) => {}
        _ => return Err(not_supported(tag)),
    }
    Ok(Answer::Tag(tag))
}

/// SET and RESET. C: `ExecSetVariableStmt`.
fn run_set(session: &Session, set: &SetStmt) -> Result<()> {
    if set.local {
        warn_unless_in_block(session, "SET LOCAL");
    }
    let action = if set.local { GucAction::Local } else { GucAction::Set };
    let context = identity::get().guc_context();
    match &set.action {
        SetAction::Value { name, values } if name == "role" => set_role(values, action),
        SetAction::Value { name, values } if name == "session_authorization" => {
            set_session_authorization(values, action)
        }
        SetAction::Value { name, values } => {
            guc::set_option(name, value_text(name, values).as_str(), context, GucSource::Session, action)
        }
        SetAction::Default { name } | SetAction::Reset { name } => {
            reset_identity(name);
            guc::set_option(name, None, context, GucSource::Session, action)
        }
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
    if session.transaction.require_block(command).is_err() {
        pg_error!(
            Warning,
            SqlState::NO_ACTIVE_SQL_TRANSACTION,
            "{command} can only be used in transaction blocks"
        )
        .report();
    }
}

/// SET ROLE. C: `check_role`, `assign_role`.
fn set_role(values: &[SetValue], action: GucAction) -> Result<()> {
    let name = SetValue::flatten(values, false);
    let mut identity = (*identity::get()).clone();
    if name == "none" {
        identity.current_user = identity.session_user.clone();
    } else {
        identity.current_user = roles::assumable(&identity, &name)?;
    }
    guc::set_option("role", name.as_str(), identity.guc_context(), GucSource::Session, action)?;
    identity::set(identity);
    Ok(())
}

/// SET SESSION AUTHORIZATION. C: `check_session_authorization`.
fn set_session_authorization(values: &[SetValue], action: GucAction) -> Result<()> {
    let name = SetValue::flatten(values, false);
    let mut identity = (*identity::get()).clone();
    let role = roles::find(&name)?;
    if !identity.session_user.superuser && role.oid != identity.session_user.oid {
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "permission denied to set session authorization \"{name}\""
        ));
    }
    guc::set_option(
        "session_authorization",
        name.as_str(),
        guc::GucContext::Internal,
        GucSource::Session,
        action,
    )?;
    identity.current_user = role;
    identity::set(identity);
    Ok(())
}

/// RESET ROLE and RESET SESSION AUTHORIZATION go back to who logged in.
fn reset_identity(name: &str) {
    if name == "role" || name == "session_authorization" {
        let mut identity = (*identity::get()).clone();
        identity.current_user = identity.session_user.clone();
        identity::set(identity);
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
    Ok(Answer::Rows(rows, "SHOW"))
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
    checkpointer::request_checkpoint(F::IMMEDIATE | F::WAIT | F::FORCE)
}

/// DISCARD. C: `DiscardCommand`.
fn discard(session: &mut Session, target: DiscardTarget) -> Result<()> {
    match target {
        // Plans are made anew each time, and there are no sequences or temporary tables yet.
        DiscardTarget::Plans | DiscardTarget::Sequences | DiscardTarget::Temp => Ok(()),
        DiscardTarget::All => {
            session.transaction.prevent_block("DISCARD ALL")?;
            session.portals.clear();
            session.statements.clear();
            reset_identity("role");
            guc::reset_all();
            Ok(())
        }
    }
}

/// ALTER SYSTEM. C: `AlterSystemSetConfigFile`.
fn alter_system(session: &Session, set: &SetStmt) -> Result<()> {
    session.transaction.prevent_block("ALTER SYSTEM")?;
    let context = identity::get().guc_context();
    match &set.action {
        SetAction::Value { name, values } => guc::alter_system_set(name, &value_text(name, values), context),
        SetAction::Default { name } | SetAction::Reset { name } => guc::alter_system_reset(name, context),
        SetAction::ResetAll => guc::alter_system_reset_all(context),
        _ => Err(not_supported("this form of ALTER SYSTEM")),
    }
}

fn deallocate(session: &mut Session, name: Option<&str>) -> Result<()> {
    match name {
        None => session.statements.retain(|name, _| name.is_empty()),
        Some(name) => {
            if session.statements.remove(name).is_none() {
                return Err(error!(
                    SqlState::INVALID_SQL_STATEMENT_NAME,
                    "prepared statement \"{name}\" does not exist"
                ));
            }
        }
    }
    Ok(())
}

fn close_portal(session: &mut Session, name: Option<&str>) -> Result<()> {
    match name {
        None => session.portals.clear(),
        Some(name) => {
            if session.portals.remove(name).is_none() {
                return Err(error!(SqlState::INVALID_CURSOR_NAME, "cursor \"{name}\" does not exist"));
            }
        }
    }
    Ok(())
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
