//! Savepoints: levels within the transaction.

use common::{SqlState, Xid};
use elog::{Result, error};

use super::participants;
use super::{
    abort_transaction, command_counter_increment, commit_transaction, in_transaction, nest_level, with,
};
use crate::{procarray, snapshot, status};

/// Opens a level. C: `StartSubTransaction`.
///
/// # Errors
/// XX000 outside a transaction.
pub fn start_subtransaction() -> Result<()> {
    if !in_transaction() {
        return Err(error!(SqlState::INTERNAL_ERROR, "no transaction is open"));
    }
    with(|state| state.push_level());
    let level = nest_level();
    participants::each(|p| p.at_sub_start, |start| start(level));
    Ok(())
}

/// The innermost level's effects become its parent's. C: `CommitSubTransaction`.
///
/// # Errors
/// 54000 after too many commands; XX000 if only the transaction is open.
pub fn commit_subtransaction() -> Result<()> {
    let level = nest_level();
    if level < 2 {
        return Err(error!(SqlState::INTERNAL_ERROR, "no subtransaction is open"));
    }
    // The parent's next command sees what was done here.
    command_counter_increment()?;
    participants::each(|p| p.at_sub_commit, |commit| commit(level));
    snapshot::at_sub_commit(level);
    with(|state| {
        let Some(done) = state.levels.pop() else { return };
        if let Some(parent) = state.levels.last_mut()
            && done.xid.0 != 0
        {
            // Children are given their ids after their parents, and later ones after earlier ones: sorted.
            parent.children.push(done.xid.xid());
            parent.children.extend(done.children);
        }
        state.publish();
    });
    Ok(())
}

/// Undoes the innermost level; cannot fail. Does nothing if only the transaction is open. C: `AbortSubTransaction`.
pub fn abort_subtransaction() {
    let level = nest_level();
    if level < 2 {
        return;
    }
    participants::each(|p| p.at_abort_start, |leave| leave());
    record_sub_abort(level);
    participants::each(|p| p.at_sub_abort, |abort| abort(level));
    snapshot::at_sub_abort(level);
    with(|state| {
        state.levels.pop();
        state.publish();
    });
}

/// C: `RecordTransactionAbort(true)`.
fn record_sub_abort(level: u32) {
    let (xid, mut children) = with(|state| match state.levels.last_mut() {
        Some(last) => (last.xid.xid(), std::mem::take(&mut last.children)),
        None => (Xid::INVALID, Vec::new()),
    });
    if !xid.is_valid() {
        return;
    }
    super::ending::log_abort(xid, &children, level);
    let latest = status::latest_xid(xid, &children);
    children.insert(0, xid);
    procarray::remove_sub_xids(&children, latest);
}

/// Commits this level and all inside it: 1 is the transaction. What `Outcome::committed_from` asks for.
///
/// # Errors
/// Of [`commit_transaction`] and [`commit_subtransaction`].
pub fn commit_from_level(level: u32) -> Result<()> {
    if level <= 1 {
        return commit_transaction();
    }
    while nest_level() >= level {
        commit_subtransaction()?;
    }
    Ok(())
}

/// Aborts this level and all inside it: 1 is the transaction. Levels that are gone already are no mistake. What
/// `Outcome::aborted_from` asks for.
pub fn abort_from_level(level: u32) {
    if level <= 1 {
        return abort_transaction();
    }
    while nest_level() >= level {
        abort_subtransaction();
    }
}
