//! What the beginning and the end of a transaction do.
//!
//! The backend's [`crate::Transaction`] decides *that* a transaction or savepoint begins, commits or aborts; the
//! functions here do it, in PostgreSQL's order:
//!
//! ```text
//!   commit:  pre_commit of all participants        may fail, then all is aborted
//!            commit record, flushed or handed to the WAL writer
//!            commit log                             from here on it is committed for others who look there
//!            process array                          now everybody else sees it
//!            at_commit of all participants          pins, caches, invalidation, locks, files, ...
//!   abort:   at_abort_start                         leave waits and queues
//!            abort record, commit log, process array
//!            at_abort of all participants
//! ```
//!
//! - **X1** The commit record is flushed before the commit log says "committed" (or the record's LSN goes with it).
//! - **X2** From before the commit record until after the commit log, the process delays checkpoints: else a
//!   checkpoint's redo position could fall between the two, with the commit log's page on disk without it.
//! - **X3** Locks are given up after the id has left the process array: who waited for the lock sees the outcome.
//! - **X4** Between the commit record and the end nothing may fail: an error would have to undo a commit.
//! - **X5** A parent's id is older than its children's.
//! - **X6** Synchronous standbys are waited for outside of critical sections, while others still see the transaction as running
//!   and its locks are held. The wait cannot fail (X4).
//!
//! C counterpart: access/transam/xact.c.

mod ending; // commit and abort
pub(crate) mod participants; // who else has state per transaction
pub(crate) mod record; // their WAL records
mod subxact; // savepoints

use std::cell::{Cell, RefCell};

use common::{CommandId, FullXid, Lsn, SqlState, Xid};
use elog::{Result, error};
use shmem::proc::try_my_proc;
use wal::RmgrId;

pub use ending::{abort_transaction, commit_transaction};
pub(crate) use ending::{delay_checkpoints, finish, top_children};
pub use participants::{CommitExtras, Participant, Phase, register, set_xid_lock_hook};
pub use subxact::{
    abort_from_level, abort_subtransaction, commit_from_level, commit_subtransaction, start_subtransaction,
};

use crate::procarray::MAX_CACHED_SUBXIDS;
use crate::{log, multixact, procarray, snapshot, subtrans, varsup};

/// The command id no command has. C: `InvalidCommandId`.
const INVALID_COMMAND: CommandId = u32::MAX;

/// One level: the transaction or a savepoint. C: `TransactionStateData`.
struct Level {
    /// Invalid (0) until something is written.
    xid: FullXid,
    /// Tells savepoints apart that come one after another. C: `subTransactionId`.
    sub_id: u32,
    /// Ids of committed subtransactions below, oldest first.
    children: Vec<Xid>,
}

/// A session's transaction. C: the statics of xact.c.
struct State {
    levels: Vec<Level>,
    next_sub_id: u32,
    /// C: `currentCommandId`.
    command: CommandId,
    /// Something was written with it, so that the next command needs another. C: `currentCommandIdUsed`.
    command_used: bool,
    /// Subtransaction ids a standby has not been told of. C: `unreportedXids`.
    unreported: Vec<Xid>,
    force_sync: bool,
    start_time: i64,
    next_lxid: u32,
    last_commit_end: Lsn,
}

thread_local! {
    static STATE: RefCell<State> = const {
        RefCell::new(State {
            levels: Vec::new(),
            next_sub_id: 0,
            command: 0,
            command_used: false,
            unreported: Vec::new(),
            force_sync: false,
            start_time: 0,
            next_lxid: 0,
            last_commit_end: Lsn::INVALID,
        })
    };
    /// Copies for the questions asked per row: the top id, the current id, and whether there is more to it.
    static TOP: Cell<FullXid> = const { Cell::new(FullXid(0)) };
    static CURRENT: Cell<Xid> = const { Cell::new(Xid::INVALID) };
    static HAS_SUBXIDS: Cell<bool> = const { Cell::new(false) };
    static STATEMENT_START: Cell<i64> = const { Cell::new(0) };
}

fn with<R>(use_it: impl FnOnce(&mut State) -> R) -> R {
    STATE.with_borrow_mut(use_it)
}

impl State {
    /// Brings the copies up to date.
    fn publish(&self) {
        TOP.set(self.levels.first().map_or(FullXid(0), |level| level.xid));
        CURRENT.set(self.levels.last().map_or(Xid::INVALID, |level| level.xid.xid()));
        let below = self.levels.iter().skip(1).any(|level| level.xid.0 != 0);
        HAS_SUBXIDS.set(below || self.levels.iter().any(|level| !level.children.is_empty()));
    }

    fn push_level(&mut self) {
        self.next_sub_id += 1;
        let sub_id = self.next_sub_id;
        self.levels.push(Level { xid: FullXid(0), sub_id, children: Vec::new() });
        self.publish();
    }
}

/// Starts one: a virtual id, no transaction id yet. The process takes its place in the process array if it has none.
/// C: `StartTransaction`.
///
/// # Errors
/// XX000 if one is open.
pub fn start_transaction() -> Result<()> {
    if in_transaction() {
        return Err(error!(SqlState::INTERNAL_ERROR, "a transaction is already in progress"));
    }
    if try_my_proc().is_some() && !procarray::is_member() {
        procarray::add();
    }
    participants::init();
    let lxid = with(|state| {
        state.next_sub_id = 0;
        state.command = 0;
        state.command_used = false;
        state.force_sync = false;
        state.unreported.clear();
        let at = STATEMENT_START.get();
        state.start_time = if at != 0 { at } else { activity::now() };
        state.next_lxid = state.next_lxid.wrapping_add(1).max(1);
        state.push_level();
        state.next_lxid
    });
    wal::set_xact_last_rec_end(Lsn::INVALID);
    if let Some(proc) = try_my_proc() {
        proc.lxid.store(lxid, std::sync::atomic::Ordering::Relaxed);
    }
    participants::each(|p| p.at_start, |start| start());
    Ok(())
}

/// Whether a transaction is open and has not been aborted. C: `IsTransactionState`.
#[inline]
pub fn in_transaction() -> bool {
    with(|state| !state.levels.is_empty())
}

/// 0 outside a transaction, 1 in one, one more for each savepoint. C: `GetCurrentTransactionNestLevel`.
pub fn nest_level() -> u32 {
    with(|state| state.levels.len() as u32)
}

/// Number of the current level: 1 for the transaction, new for each savepoint. C: `GetCurrentSubTransactionId`.
pub fn current_sub_id() -> u32 {
    with(|state| state.levels.last().map_or(0, |level| level.sub_id))
}

/// The id of the current level, given out now if it has none. C: `GetCurrentTransactionId`.
///
/// # Errors
/// XX000 outside a transaction; of [`varsup`]; of the lock on the id.
#[inline]
pub fn current_xid() -> Result<Xid> {
    let xid = CURRENT.get();
    if xid.is_valid() {
        return Ok(xid);
    }
    assign(None)
}

/// The id of the current level, or invalid. C: `GetCurrentTransactionIdIfAny`.
#[inline]
pub fn current_xid_if_any() -> Xid {
    CURRENT.get()
}

/// The transaction's id, given out now if it has none. C: `GetTopTransactionId`.
///
/// # Errors
/// As [`current_xid`].
pub fn top_xid() -> Result<Xid> {
    top_full_xid().map(FullXid::xid)
}

/// The transaction's id, or invalid. C: `GetTopTransactionIdIfAny`.
#[inline]
pub fn top_xid_if_any() -> Xid {
    TOP.get().xid()
}

/// C: `GetTopFullTransactionId`, as `pg_current_xact_id()` shows it.
///
/// # Errors
/// As [`current_xid`].
pub fn top_full_xid() -> Result<FullXid> {
    if TOP.get().0 == 0 {
        assign(Some(0))?;
    }
    Ok(TOP.get())
}

/// C: `GetTopFullTransactionIdIfAny`; `None` without one.
pub fn top_full_xid_if_any() -> Option<FullXid> {
    let xid = TOP.get();
    (xid.0 != 0).then_some(xid)
}

/// Gives ids to a level (the current one by default) and to those above that have none, outermost first (X5).
/// C: `AssignTransactionId`.
#[cold]
fn assign(level: Option<usize>) -> Result<Xid> {
    procarray::require_member()?;
    let depth = with(|state| state.levels.len());
    let Some(last) = depth.checked_sub(1) else {
        return Err(error!(SqlState::INTERNAL_ERROR, "no transaction is open"));
    };
    let target = level.unwrap_or(last);
    for at in 0..=target {
        let (has, parent) = with(|state| {
            let parent = at.checked_sub(1).map(|above| state.levels[above].xid.xid());
            (state.levels[at].xid.0 != 0, parent)
        });
        if has {
            continue;
        }
        let full = varsup::new_xid(parent.is_some())?;
        with(|state| {
            state.levels[at].xid = full;
            state.publish();
        });
        if at == 0 {
            elog::session::update(|session| session.xid = full.xid().0);
        }
        if let Some(parent) = parent {
            subtrans::set_parent(full.xid(), parent)?;
        }
        participants::lock_xid(full.xid())?;
        if parent.is_some() {
            report_assignment(full.xid());
        }
    }
    Ok(with(|state| state.levels[target].xid.xid()))
}

/// Tells a standby of 64 subtransactions at a time, so that its table of them need not grow. C: in `AssignTransactionId`.
fn report_assignment(xid: Xid) {
    if guc::vars::WAL_LEVEL.get() == "minimal" {
        return;
    }
    let full = with(|state| {
        state.unreported.push(xid);
        (state.unreported.len() >= MAX_CACHED_SUBXIDS).then(|| std::mem::take(&mut state.unreported))
    });
    if let Some(xids) = full {
        let header = [TOP.get().xid().0, xids.len() as u32];
        let data = log::words(header.into_iter().chain(xids.iter().map(|xid| xid.0)));
        log::insert(RmgrId::Xact, record::XLOG_ASSIGNMENT, &[&data]);
    }
}

/// Whether the id is this transaction's or one of its subtransactions', those that were rolled back excepted.
/// C: `TransactionIdIsCurrentTransactionId`.
#[inline]
pub fn is_current(xid: Xid) -> bool {
    let top = TOP.get().xid();
    if !top.is_valid() || !xid.is_normal() {
        return false;
    }
    xid == top || HAS_SUBXIDS.get() && is_own_sub(xid)
}

fn is_own_sub(xid: Xid) -> bool {
    with(|state| {
        state.levels.iter().rev().any(|level| {
            let compare = |child: &Xid| match child.0.wrapping_sub(xid.0) as i32 {
                0 => std::cmp::Ordering::Equal,
                distance if distance < 0 => std::cmp::Ordering::Less,
                _ => std::cmp::Ordering::Greater,
            };
            level.xid.0 != 0 && level.xid.xid() == xid || level.children.binary_search_by(compare).is_ok()
        })
    })
}

/// The id of the running command; `used`: something is written with it. C: `GetCurrentCommandId`.
#[inline]
pub fn current_command_id(used: bool) -> CommandId {
    with(|state| {
        state.command_used |= used;
        state.command
    })
}

/// Makes what the command wrote visible to the next one. Costs nothing if it wrote nothing. C: `CommandCounterIncrement`.
///
/// # Errors
/// 54000 after 2^32-2 commands; of the participants.
pub fn command_counter_increment() -> Result<()> {
    let moved = with(|state| {
        if !state.command_used {
            return Ok(false);
        }
        if state.command + 1 == INVALID_COMMAND {
            return Err(error!(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "cannot have more than 2^32-2 commands in a transaction"
            ));
        }
        state.command += 1;
        state.command_used = false;
        Ok(true)
    })?;
    if !moved {
        return Ok(());
    }
    participants::try_each(|p| p.on_command_end, |end| end())
}

/// The commit will be flushed whatever `synchronous_commit` says. C: `ForceSyncCommit`.
pub fn force_sync_commit() {
    with(|state| state.force_sync = true);
}

/// Where the last commit record of this session ends. C: `XactLastCommitEnd`.
pub fn last_commit_end() -> Lsn {
    with(|state| state.last_commit_end)
}

/// Whether one snapshot serves the whole transaction: REPEATABLE READ and SERIALIZABLE. C: `IsolationUsesXactSnapshot`.
pub fn uses_xact_snapshot() -> bool {
    matches!(guc::vars::TRANSACTION_ISOLATION.get(), "repeatable read" | "serializable")
}

/// For commands that write. C: `PreventCommandIfReadOnly`.
///
/// # Errors
/// 25006.
pub fn prevent_if_read_only(command: &str) -> Result<()> {
    if guc::vars::TRANSACTION_READ_ONLY.get() {
        return Err(error!(
            SqlState::READ_ONLY_SQL_TRANSACTION,
            "cannot execute {command} in a read-only transaction"
        ));
    }
    Ok(())
}

/// For commands that recovery rules out. C: `PreventCommandDuringRecovery`.
///
/// # Errors
/// 25006.
pub fn prevent_in_recovery(command: &str) -> Result<()> {
    if wal::in_recovery() {
        return Err(error!(SqlState::READ_ONLY_SQL_TRANSACTION, "cannot execute {command} during recovery"));
    }
    Ok(())
}

/// When the transaction began, microseconds since 2000-01-01. C: `GetCurrentTransactionStartTimestamp`.
pub fn start_time() -> i64 {
    with(|state| state.start_time)
}

/// When the current statement came: set by the backend before [`start_transaction`]. C: `SetCurrentStatementStartTimestamp`.
pub fn set_statement_start(pg_micros: i64) {
    STATEMENT_START.set(pg_micros);
}

/// (backend id, local id) of the running transaction; local id 0 outside. C: `MyProc->backendId`, `MyProc->lxid`.
pub fn vxid() -> (i32, u32) {
    let lxid = |proc: &shmem::PgProc| proc.lxid.load(std::sync::atomic::Ordering::Relaxed);
    try_my_proc().map_or((0, 0), |proc| (proc.backend_id(), lxid(proc)))
}

/// The fate of an id as `pg_xact_status()` shows it: `in progress`, `committed`, `aborted`; `None` if it is too old.
/// C: `pg_xact_status` of xid8funcs.c.
///
/// # Errors
/// 22023 for an id of the future; of reading the commit log.
pub fn xact_status(full: FullXid) -> Result<Option<&'static str>> {
    let next = varsup::read_next_full_xid();
    let xid = full.xid();
    if !xid.is_valid() {
        return Ok(None);
    }
    if xid.is_normal() && full >= next {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "transaction ID {} is in the future", full.0));
    }
    if !xid.is_normal() {
        return Ok(Some("committed"));
    }
    varsup::with_oldest_clog_xid(|oldest| {
        let epochs_ago = next.epoch().wrapping_sub(full.epoch());
        let wrapped = epochs_ago > 1 || epochs_ago == 1 && xid.0 <= next.xid().0;
        if wrapped || xid.precedes(oldest) {
            return Ok(None);
        }
        Ok(Some(if procarray::try_is_in_progress(xid)? {
            "in progress"
        } else if crate::status::try_did_commit(xid)? {
            "committed"
        } else {
            "aborted"
        }))
    })
}

/// State of the modules below at the end of a transaction that must not fail any more.
fn end_of_own_modules() {
    multixact::at_end();
    snapshot::at_end();
}

#[cfg(test)]
mod tests;
