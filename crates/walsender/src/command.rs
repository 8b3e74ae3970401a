//! A command of the replication language, from its text to its answer.
//!
//! C counterpart: `exec_replication_command` of walsender.c.

use std::rc::Rc;

use activity::State as Activity;
use common::SqlState;
use elog::{Result, ereport, error};
use guc::Privileges;
use libpq::message::reply;
use libpq::{Port, WaitPolicy};
use miscinit::{interrupt, ps_status};
use replication::walsnd;
use transam::Status;

use crate::grammar::{self, Command};
use crate::{queries, slots, start, stopping};

/// What a command must know of the session.
pub struct Context<'a> {
    /// How to wait for the client.
    pub policy: &'a mut dyn WaitPolicy,
    /// The session's database; `None` for physical replication.
    pub database: Option<&'a str>,
    /// What SHOW may show.
    pub privileges: Privileges,
    /// Its transaction block.
    pub transaction: Status,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("database", &self.database).finish_non_exhaustive()
    }
}

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was a command and has been answered, CommandComplete included.
    Done,
    /// It is SQL: to be run as such. Only in a database.
    NotReplication,
    /// The session ends, and there is nothing more to say: the standby went, or has got all there is.
    Leave,
}

/// Runs a query's text if it is a replication command. C: `exec_replication_command`.
///
/// # Errors
/// What the command says, with PostgreSQL's words; 55000 while the server stops.
pub fn execute(port: &mut Port, context: &mut Context<'_>, text: &str) -> Result<Outcome> {
    if stopping::is_asked() {
        walsnd::set_state(walsnd::State::Stopping);
    }
    if walsnd::state() == walsnd::State::Stopping {
        return Err(error!(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "cannot execute new commands while WAL sender is in stopping mode"
        ));
    }
    interrupt::check()?;
    if !grammar::is_replication_command(text)? {
        if context.database.is_none() {
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "cannot execute SQL commands in WAL sender for physical replication"
            ));
        }
        return Ok(Outcome::NotReplication);
    }
    let command = grammar::parse(text)?;
    elog::session::update(|session| session.statement = Some(Rc::from(text)));
    activity::report_activity(Activity::Active, Some(text));
    if guc::vars::LOG_REPLICATION_COMMANDS.get() {
        ereport!(Log, "received replication command: {text}");
    } else {
        ereport!(Debug1, "received replication command: {text}");
    }
    if context.transaction == Status::Failed {
        return Err(error!(
            SqlState::IN_FAILED_SQL_TRANSACTION,
            "current transaction is aborted, commands ignored until end of transaction block"
        ));
    }
    interrupt::check()?;
    run(port, context, command)
}

fn run(port: &mut Port, context: &mut Context<'_>, command: Command) -> Result<Outcome> {
    // What was said about its words comes before its answer.
    context.policy.take_reports(port.out());
    let tag = tag(&command);
    ps_status::set_activity(tag);
    elog::session::update(|session| session.set_command_tag(tag));
    let needs_no_block = matches!(
        command,
        Command::BaseBackup(_)
            | Command::StartReplication(_)
            | Command::StartLogical { .. }
            | Command::TimelineHistory(_)
    );
    if needs_no_block && context.transaction != Status::Idle {
        return Err(error!(SqlState::ACTIVE_SQL_TRANSACTION, "{tag} cannot run inside a transaction block"));
    }
    match command {
        Command::IdentifySystem => queries::identify_system(port, context.database)?,
        Command::Show(name) => queries::show(port, &name, &context.privileges)?,
        Command::TimelineHistory(timeline) => queries::timeline_history(port, timeline)?,
        Command::ReadReplicationSlot(name) => queries::read_slot(port, &name)?,
        Command::CreateReplicationSlot(create) => slots::create(port, &create, context.database.is_some())?,
        Command::DropReplicationSlot { name, wait } => slots::drop_slot(&name, wait)?,
        Command::BaseBackup(options) => {
            basebackup::send(port, context.policy, &options)?;
        }
        Command::StartReplication(start) => match start::run(port, context.policy, &start)? {
            start::Ended::Copy => {}
            start::Ended::Session => return Ok(Outcome::Leave),
        },
        Command::StartLogical { slot } => {
            slots::check_logical_requirements(context.database.is_some())?;
            replication::slot::acquire(&slot, true)?;
            return Err(slots::logical_not_supported());
        }
    }
    reply::command_complete(port.out(), tag);
    Ok(Outcome::Done)
}

fn tag(command: &Command) -> &'static str {
    match command {
        Command::IdentifySystem => "IDENTIFY_SYSTEM",
        Command::Show(_) => "SHOW",
        Command::TimelineHistory(_) => "TIMELINE_HISTORY",
        Command::ReadReplicationSlot(_) => "READ_REPLICATION_SLOT",
        Command::CreateReplicationSlot(_) => "CREATE_REPLICATION_SLOT",
        Command::DropReplicationSlot { .. } => "DROP_REPLICATION_SLOT",
        Command::StartReplication(_) | Command::StartLogical { .. } => "START_REPLICATION",
        Command::BaseBackup(_) => "BASE_BACKUP",
    }
}
