//! The command tag of a statement: what `CommandComplete`, the log and the process title show.
//!
//! C counterpart: `CreateCommandTag` of tcop/utility.c.

use crate::ast::{DiscardTarget, DropKind, SelectBody, SetAction, Statement, TransactionStmt};

impl Statement {
    /// The tag, without row counts.
    pub fn command_tag(&self) -> &'static str {
        match self {
            Statement::Select(query) => match &query.body {
                SelectBody::Simple(simple) if simple.into.is_some() => "SELECT INTO",
                _ => "SELECT",
            },
            Statement::Insert(_) => "INSERT",
            Statement::Update(_) => "UPDATE",
            Statement::Delete(_) => "DELETE",
            Statement::Explain(..) => "EXPLAIN",
            Statement::Set(set) => match set.action {
                SetAction::Reset { .. } | SetAction::ResetAll => "RESET",
                _ => "SET",
            },
            Statement::Show(_) => "SHOW",
            Statement::Transaction(statement) => transaction_tag(statement),
            Statement::Checkpoint => "CHECKPOINT",
            Statement::Discard(DiscardTarget::All) => "DISCARD ALL",
            Statement::Discard(DiscardTarget::Plans) => "DISCARD PLANS",
            Statement::Discard(DiscardTarget::Sequences) => "DISCARD SEQUENCES",
            Statement::Discard(DiscardTarget::Temp) => "DISCARD TEMP",
            Statement::AlterSystem(_) => "ALTER SYSTEM",
            Statement::Prepare { .. } => "PREPARE",
            Statement::Execute { .. } => "EXECUTE",
            Statement::Deallocate(Some(_)) => "DEALLOCATE",
            Statement::Deallocate(None) => "DEALLOCATE ALL",
            Statement::DeclareCursor { .. } => "DECLARE CURSOR",
            Statement::Fetch(fetch) if fetch.is_move => "MOVE",
            Statement::Fetch(_) => "FETCH",
            Statement::ClosePortal(Some(_)) => "CLOSE CURSOR",
            Statement::ClosePortal(None) => "CLOSE CURSOR ALL",
            Statement::Listen(_) => "LISTEN",
            Statement::Notify { .. } => "NOTIFY",
            Statement::Unlisten(_) => "UNLISTEN",
            Statement::Load(_) => "LOAD",
            Statement::Vacuum { is_vacuum: true, .. } => "VACUUM",
            Statement::Vacuum { .. } => "ANALYZE",
            Statement::CreateRole { .. } => "CREATE ROLE",
            Statement::AlterRole { .. } | Statement::AlterRoleSet { .. } => "ALTER ROLE",
            Statement::DropRole { .. } => "DROP ROLE",
            Statement::CreateDatabase { .. } => "CREATE DATABASE",
            Statement::AlterDatabaseSet { .. } => "ALTER DATABASE",
            Statement::DropDatabase { .. } => "DROP DATABASE",
            Statement::CreateTablespace(_) => "CREATE TABLESPACE",
            Statement::DropTablespace { .. } => "DROP TABLESPACE",
            Statement::CreateTable(_) => "CREATE TABLE",
            Statement::CreateTableAs(_) => "CREATE TABLE AS",
            Statement::CreateSchema(_) => "CREATE SCHEMA",
            Statement::Drop(stmt) => drop_tag(stmt.kind),
            Statement::Truncate(_) => "TRUNCATE TABLE",
            Statement::Copy(_) => "COPY",
            Statement::Lock(_) => "LOCK TABLE",
            Statement::Comment(_) => "COMMENT",
            Statement::Other { tag, .. } | Statement::Unsupported(tag) => tag,
        }
    }
}

fn drop_tag(kind: DropKind) -> &'static str {
    match kind {
        DropKind::Table => "DROP TABLE",
        DropKind::Sequence => "DROP SEQUENCE",
        DropKind::View => "DROP VIEW",
        DropKind::MaterializedView => "DROP MATERIALIZED VIEW",
        DropKind::Index => "DROP INDEX",
        DropKind::ForeignTable => "DROP FOREIGN TABLE",
        DropKind::Schema => "DROP SCHEMA",
    }
}

fn transaction_tag(statement: &TransactionStmt) -> &'static str {
    match statement {
        TransactionStmt::Begin(_) => "BEGIN",
        TransactionStmt::Start(_) => "START TRANSACTION",
        TransactionStmt::Commit { .. } => "COMMIT",
        TransactionStmt::Rollback { .. } | TransactionStmt::RollbackTo(_) => "ROLLBACK",
        TransactionStmt::Savepoint(_) => "SAVEPOINT",
        TransactionStmt::Release(_) => "RELEASE",
        TransactionStmt::PrepareTransaction(_) => "PREPARE TRANSACTION",
        TransactionStmt::CommitPrepared(_) => "COMMIT PREPARED",
        TransactionStmt::RollbackPrepared(_) => "ROLLBACK PREPARED",
    }
}
