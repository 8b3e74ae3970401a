//! Which commands a read-only transaction, and a standby, refuses.
//!
//! Plans are judged where they run (`executor`), for they may write to temporary tables; commands are judged here, by
//! their kind alone.
//!
//! C counterpart: `ClassifyUtilityCommandAsReadOnly` and its use in `standard_ProcessUtility`.

use elog::Result;
use parser::Statement;
use parser::ast::{TableLockMode, TransactionStmt};
use transam::xact;

/// What a command does to the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Nothing that anybody could mind. C: `COMMAND_IS_STRICTLY_READ_ONLY`.
    None,
    /// Something that is no change of rows, but needs WAL, ids or strong locks. C: `COMMAND_OK_IN_READ_ONLY_TXN`.
    NotInRecovery,
    /// C: `COMMAND_IS_NOT_READ_ONLY`.
    Writes,
}

fn effect(statement: &Statement) -> Effect {
    use Statement as S;
    match statement {
        S::Transaction(
            TransactionStmt::PrepareTransaction(_)
            | TransactionStmt::CommitPrepared(_)
            | TransactionStmt::RollbackPrepared(_),
        )
        | S::Listen(_)
        | S::Notify { .. }
        | S::Vacuum { .. } => Effect::NotInRecovery,
        S::Copy(stmt) if stmt.is_from => Effect::NotInRecovery,
        S::Lock(stmt) if stmt.mode as u32 > TableLockMode::RowExclusive as u32 => Effect::NotInRecovery,
        S::CreateTable(_)
        | S::CreateSchema(_)
        | S::Drop(_)
        | S::Truncate(_)
        | S::Comment(_)
        | S::CreateRole { .. }
        | S::AlterRole { .. }
        | S::AlterRoleSet { .. }
        | S::DropRole { .. }
        | S::CreateDatabase { .. }
        | S::AlterDatabaseSet { .. }
        | S::DropDatabase { .. }
        | S::CreateTablespace(_)
        | S::DropTablespace { .. } => Effect::Writes,
        S::Other { tag: "CLUSTER" | "REINDEX", .. } => Effect::NotInRecovery,
        S::Other { tag: "DO" | "CALL", .. } => Effect::None,
        S::Other { .. } => Effect::Writes,
        // CREATE TABLE AS says itself under which name it was called.
        _ => Effect::None,
    }
}

/// Refuses a command with this tag where it must not run.
///
/// # Errors
/// 25006.
pub(crate) fn check(statement: &Statement, tag: &str) -> Result<()> {
    if !guc::vars::TRANSACTION_READ_ONLY.get() {
        return Ok(());
    }
    match effect(statement) {
        Effect::None => Ok(()),
        Effect::NotInRecovery => xact::prevent_in_recovery(tag),
        Effect::Writes => xact::prevent_if_read_only(tag),
    }
}

/// The setting `in_hot_standby`, of which the client is told, follows the server: when the session waits for its client,
/// and at the beginning of each transaction, whose read-only state depends on it. C: in `ReportChangedGUCOptions`.
pub(crate) fn follow_recovery() {
    let now = wal::in_recovery();
    if guc::vars::IN_HOT_STANDBY.get() != now
        && let Err(error) = guc::set_internal("in_hot_standby", if now { "on" } else { "off" })
    {
        error.report();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_by_their_effect() {
        for (sql, expected) in [
            ("lock table t in row exclusive mode", Effect::None),
            ("lock table t in share mode", Effect::NotInRecovery),
            ("lock table t", Effect::NotInRecovery),
            ("copy t from stdin", Effect::NotInRecovery),
            ("copy t to stdout", Effect::None),
            ("vacuum t", Effect::NotInRecovery),
            ("analyze", Effect::NotInRecovery),
            ("prepare transaction 'x'", Effect::NotInRecovery),
            ("commit", Effect::None),
            ("checkpoint", Effect::None),
            ("create table t (a int)", Effect::Writes),
            ("drop role x", Effect::Writes),
            ("create tablespace x location '/x'", Effect::Writes),
            ("drop tablespace if exists x", Effect::Writes),
            ("unlisten *", Effect::None),
            ("notify a", Effect::NotInRecovery),
            ("discard all", Effect::None),
        ] {
            let parsed = parser::parse(sql).unwrap();
            let statement = parsed.first().unwrap();
            assert_eq!(effect(&statement.stmt), expected, "{sql}");
        }
    }
}
