//! Locks by what they are for: relations, their extension, rows, transactions, other objects.
//!
//! C counterpart: storage/lmgr/lmgr.c.

use std::marker::PhantomData;
use std::time::Duration;

use common::{BlockNumber, ItemPointer, Oid, RelFileNode, SqlState, Xid};
use elog::{PgError, Result, error};
use miscinit::interrupt;
use shmem::{WaitEvent, Wake};

use crate::acquire::{Acquired, acquire, acquire_for, release, release_session};
use crate::mode::LockMode;
use crate::report;
use crate::tag::LockTag;
use crate::{shared, transaction};

fn give(released: bool, mode: LockMode) {
    if !released {
        report::not_owned(mode);
    }
}

/// Locks a relation until the end of the transaction; `db` is invalid for a shared one. Unless the answer is
/// [`Acquired::AlreadyHeld`], the caller accepts invalidations next. C: `LockRelationOid`.
///
/// # Errors
/// As [`acquire`].
pub fn lock_relation(db: Oid, rel: Oid, mode: LockMode) -> Result<Acquired> {
    acquire(LockTag::Relation { db, rel }, mode, false, false)
}

/// The same without waiting: false if others have it. C: `ConditionalLockRelationOid`.
///
/// # Errors
/// As [`acquire`].
pub fn conditional_lock_relation(db: Oid, rel: Oid, mode: LockMode) -> Result<bool> {
    Ok(acquire(LockTag::Relation { db, rel }, mode, false, true)?.is_held())
}

/// Gives a relation's lock back before the end of the transaction. C: `UnlockRelationOid`.
///
/// # Errors
/// None: that it was not held is a warning, as in PostgreSQL.
pub fn unlock_relation(db: Oid, rel: Oid, mode: LockMode) -> Result<()> {
    give(release(LockTag::Relation { db, rel }, mode), mode);
    Ok(())
}

/// Locks a relation across transactions, as VACUUM does. C: `LockRelationIdForSession`.
///
/// # Errors
/// As [`acquire`].
pub fn lock_relation_session(db: Oid, rel: Oid, mode: LockMode) -> Result<Acquired> {
    acquire(LockTag::Relation { db, rel }, mode, true, false)
}

/// The same without waiting.
///
/// # Errors
/// As [`acquire`].
pub fn conditional_lock_relation_session(db: Oid, rel: Oid, mode: LockMode) -> Result<bool> {
    Ok(acquire(LockTag::Relation { db, rel }, mode, true, true)?.is_held())
}

/// C: `UnlockRelationIdForSession`.
pub fn unlock_relation_session(db: Oid, rel: Oid, mode: LockMode) {
    give(release_session(LockTag::Relation { db, rel }, mode), mode);
}

/// The right to make a relation longer, given back when it goes out of scope. Whoever has it waits for no
/// other heavyweight lock. C: `LockRelationForExtension(ExclusiveLock)`.
pub struct ExtensionGuard {
    tag: LockTag,
    /// A lock belongs to this process.
    _this_process: PhantomData<*const ()>,
}

impl Drop for ExtensionGuard {
    fn drop(&mut self) {
        release(self.tag, LockMode::Exclusive);
    }
}

fn extension(node: RelFileNode) -> LockTag {
    LockTag::Extend { db: node.db, rel: node.rel }
}

/// Waits for the right to make a relation longer. C: `LockRelationForExtension`.
///
/// # Errors
/// As [`acquire`].
pub fn relation_extension_lock(node: RelFileNode) -> Result<ExtensionGuard> {
    let tag = extension(node);
    acquire(tag, LockMode::Exclusive, false, false)?;
    Ok(ExtensionGuard { tag, _this_process: PhantomData })
}

/// The same if nobody else has it. C: `ConditionalLockRelationForExtension`.
///
/// # Errors
/// As [`acquire`].
pub fn conditional_relation_extension_lock(node: RelFileNode) -> Result<Option<ExtensionGuard>> {
    let tag = extension(node);
    let held = acquire(tag, LockMode::Exclusive, false, true)?.is_held();
    Ok(held.then_some(ExtensionGuard { tag, _this_process: PhantomData }))
}

/// How many have or want it: whoever extends makes room for them too. C: `RelationExtensionLockWaiterCount`.
pub fn relation_extension_waiters(node: RelFileNode) -> usize {
    let tag = extension(node);
    let hash = tag.hash();
    let view = shared::partition(shared::partition_of(hash)).shared().view_of(tag, hash);
    view.map_or(0, |view| view.queue.len())
}

/// Locks a page (of an index). C: `LockPage`.
///
/// # Errors
/// As [`acquire`].
pub fn page_lock(db: Oid, rel: Oid, block: BlockNumber, mode: LockMode) -> Result<Acquired> {
    acquire(LockTag::Page { db, rel, block }, mode, false, false)
}

/// C: `UnlockPage`.
pub fn unlock_page(db: Oid, rel: Oid, block: BlockNumber, mode: LockMode) {
    give(release(LockTag::Page { db, rel, block }, mode), mode);
}

fn tuple(db: Oid, rel: Oid, tid: ItemPointer) -> LockTag {
    LockTag::Tuple { db, rel, block: tid.block, offset: tid.offset }
}

/// Takes the place of the next to have a row: who waits for the row's lockers holds this, so that those that come
/// later wait behind. C: `LockTuple`.
///
/// # Errors
/// As [`acquire`].
pub fn lock_tuple(db: Oid, rel: Oid, tid: ItemPointer, mode: LockMode) -> Result<()> {
    acquire(tuple(db, rel, tid), mode, false, false).map(|_| ())
}

/// The same without waiting. C: `ConditionalLockTuple`.
///
/// # Errors
/// As [`acquire`].
pub fn conditional_lock_tuple(db: Oid, rel: Oid, tid: ItemPointer, mode: LockMode) -> Result<bool> {
    Ok(acquire(tuple(db, rel, tid), mode, false, true)?.is_held())
}

/// C: `UnlockTuple`.
pub fn unlock_tuple(db: Oid, rel: Oid, tid: ItemPointer, mode: LockMode) {
    give(release(tuple(db, rel, tid), mode), mode);
}

/// Locks any other object until the end of the transaction. C: `LockDatabaseObject`, `LockSharedObject`.
///
/// # Errors
/// As [`acquire`].
pub fn lock_object(db: Oid, class: Oid, object: Oid, sub: u16, mode: LockMode) -> Result<Acquired> {
    acquire(LockTag::Object { db, class, object, sub }, mode, false, false)
}

/// C: `UnlockDatabaseObject`, `UnlockSharedObject`.
pub fn unlock_object(db: Oid, class: Oid, object: Oid, sub: u16, mode: LockMode) {
    give(release(LockTag::Object { db, class, object, sub }, mode), mode);
}

/// One process at a time finds out how old a database's oldest ids are; held until the transaction ends.
/// C: `LockDatabaseFrozenIds`.
///
/// # Errors
/// As [`acquire`].
pub fn lock_database_frozen_ids(db: Oid, mode: LockMode) -> Result<()> {
    acquire(LockTag::FrozenIds { db }, mode, false, false).map(drop)
}

/// Locks an id that was just given to the current transaction: whoever waits for the transaction waits for this.
/// transam calls it, outermost level first. C: `XactLockTableInsert`.
///
/// # Errors
/// 53200.
pub fn xact_lock_insert(xid: Xid) -> Result<()> {
    let level = transaction::level_of_new_xid();
    acquire_for(LockTag::Transaction(xid), LockMode::Exclusive, level, false).map(|_| ())
}

/// Gives it back early; the end of the (sub)transaction does so anyway. C: `XactLockTableDelete`.
pub fn xact_lock_delete(xid: Xid) {
    release(LockTag::Transaction(xid), LockMode::Exclusive);
}

/// What one wants to do with a row whose transaction one waits for: the CONTEXT of errors. C: `XLTW_Oper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOperation {
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// SELECT FOR UPDATE and the like.
    Lock,
    /// The same for a newer version of the row.
    LockUpdated,
    /// Inserting into an index.
    InsertIndex,
    /// Checking that a key is unique.
    InsertIndexUnique,
    /// Looking at the row's newest version.
    FetchUpdated,
    /// Checking an exclusion constraint again.
    RecheckExclusionConstraint,
}

/// Why one waits for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason<'a> {
    /// Nothing that a user would know. C: `XLTW_None`.
    None,
    /// A row of this relation.
    Row {
        /// What for.
        operation: WaitOperation,
        /// Which row.
        tid: ItemPointer,
        /// The relation's name.
        relation: &'a str,
    },
}

impl<'a> WaitReason<'a> {
    /// UPDATE of this row.
    pub fn update(tid: ItemPointer, relation: &'a str) -> Self {
        WaitReason::Row { operation: WaitOperation::Update, tid, relation }
    }

    /// DELETE of this row.
    pub fn delete(tid: ItemPointer, relation: &'a str) -> Self {
        WaitReason::Row { operation: WaitOperation::Delete, tid, relation }
    }

    /// Locking this row.
    pub fn lock(tid: ItemPointer, relation: &'a str) -> Self {
        WaitReason::Row { operation: WaitOperation::Lock, tid, relation }
    }

    /// The line of CONTEXT. C: `XactLockTableWaitErrorCb`.
    pub fn context(self) -> Option<String> {
        let WaitReason::Row { operation, tid, relation } = self else { return None };
        let what = match operation {
            WaitOperation::Update => "updating tuple",
            WaitOperation::Delete => "deleting tuple",
            WaitOperation::Lock => "locking tuple",
            WaitOperation::LockUpdated => {
                return Some(format!(
                    "while locking updated version {tid} of tuple in relation \"{relation}\""
                ));
            }
            WaitOperation::InsertIndex => "inserting index tuple",
            WaitOperation::InsertIndexUnique => {
                return Some(format!("while checking uniqueness of tuple {tid} in relation \"{relation}\""));
            }
            WaitOperation::FetchUpdated => "rechecking updated tuple",
            WaitOperation::RecheckExclusionConstraint => {
                return Some(format!(
                    "while checking exclusion constraint on tuple {tid} in relation \"{relation}\""
                ));
            }
        };
        Some(format!("while {what} {tid} in relation \"{relation}\""))
    }
}

/// Waits until the transaction (the top one, if `xid` is a subtransaction's that goes up into it) has ended.
/// C: `XactLockTableWait`.
///
/// # Errors
/// As [`acquire`], with the reason as CONTEXT.
pub fn xact_lock_wait(xid: Xid, reason: WaitReason<'_>) -> Result<()> {
    // The text is made only if somebody may see it: on an error, or in the log after a long wait.
    report::with_context(reason.context(), || wait_for_end(xid, false).map(|_| ()))
}

/// The same without waiting: false if the transaction still runs. C: `ConditionalXactLockTableWait`.
///
/// # Errors
/// As [`acquire`].
pub fn conditional_xact_lock_wait(xid: Xid) -> Result<bool> {
    wait_for_end(xid, true)
}

fn wait_for_end(mut xid: Xid, dont_wait: bool) -> Result<bool> {
    let mut first = true;
    loop {
        let tag = LockTag::Transaction(xid);
        if !acquire(tag, LockMode::Share, false, dont_wait)?.is_held() {
            return Ok(false);
        }
        give(release(tag, LockMode::Share), LockMode::Share);
        if !transam::procarray::try_is_in_progress(xid)? {
            return Ok(true);
        }
        // It runs, and has no lock: it is about to take it, or it was a subtransaction that is part of its parent now.
        if !first {
            shmem::latch::reset();
            interrupt::check()?;
            shmem::latch::wait(Wake::LATCH_SET, Some(Duration::from_millis(1)), WaitEvent::lock(tag.kind()));
        }
        first = false;
        xid = transam::subtrans::topmost(xid)?;
    }
}

/// 55P03 of NOWAIT on a table.
pub fn relation_not_available(name: &str) -> PgError {
    error!(SqlState::LOCK_NOT_AVAILABLE, "could not obtain lock on relation \"{name}\"")
}

/// 55P03 of NOWAIT on a row.
pub fn row_not_available(relation: &str) -> PgError {
    error!(SqlState::LOCK_NOT_AVAILABLE, "could not obtain lock on row in relation \"{relation}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_postgresqls() {
        let context = |operation| {
            WaitReason::Row { operation, tid: ItemPointer::new(0, 1), relation: "t" }.context().unwrap()
        };
        use WaitOperation::*;
        assert_eq!(context(Update), "while updating tuple (0,1) in relation \"t\"");
        assert_eq!(context(Delete), "while deleting tuple (0,1) in relation \"t\"");
        assert_eq!(context(Lock), "while locking tuple (0,1) in relation \"t\"");
        assert_eq!(context(LockUpdated), "while locking updated version (0,1) of tuple in relation \"t\"");
        assert_eq!(context(InsertIndex), "while inserting index tuple (0,1) in relation \"t\"");
        assert_eq!(context(InsertIndexUnique), "while checking uniqueness of tuple (0,1) in relation \"t\"");
        assert_eq!(context(FetchUpdated), "while rechecking updated tuple (0,1) in relation \"t\"");
        assert_eq!(
            context(RecheckExclusionConstraint),
            "while checking exclusion constraint on tuple (0,1) in relation \"t\""
        );
        assert_eq!(WaitReason::None.context(), None);
    }
}
