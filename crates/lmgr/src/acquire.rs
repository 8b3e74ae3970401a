//! Taking locks and giving them back.
//!
//! C counterpart: `LockAcquireExtended`, `LockRelease` in lock.c.

use common::{Oid, SqlState, Xid};
use elog::{Result, error};
use wal::{Record, RmgrId};

use crate::local::{self, GivenBack, Held, SESSION, Where};
use crate::mode::LockMode;
use crate::shard::Queued;
use crate::tag::LockTag;
use crate::{deadlock::Edge, fastpath, report, shared, transaction, wait};

/// How it came that we have the lock, or not. C: `LockAcquireResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// We did not have it before: what it protects may have changed, so accept invalidations.
    New,
    /// We had it already.
    AlreadyHeld,
    /// Others have it, and waiting was not wanted.
    NotAvailable,
}

impl Acquired {
    /// Whether we have it.
    pub fn is_held(self) -> bool {
        self != Acquired::NotAvailable
    }
}

/// Takes a lock, waiting for it unless `dont_wait`. It is held until the (sub)transaction ends, or if `session` until
/// it is released or the session ends. C: `LockAcquire`.
///
/// No LWLock may be held. While it waits, [`miscinit::interrupt::check`] is asked at every wake-up.
///
/// # Errors
/// 40P01 "deadlock detected", 55P03 for `lock_timeout`, 53200 if the table is full, and whatever ends the wait.
pub fn acquire(tag: LockTag, mode: LockMode, session: bool, dont_wait: bool) -> Result<Acquired> {
    acquire_for(tag, mode, if session { SESSION } else { local::current_owner() }, dont_wait)
}

/// As [`acquire`], for an owner.
pub(crate) fn acquire_for(
    tag: LockTag,
    mode: LockMode,
    owner: local::Owner,
    dont_wait: bool,
) -> Result<Acquired> {
    refuse_in_recovery(tag, mode)?;
    if local::hold_again(tag, mode, owner) {
        return Ok(Acquired::AlreadyHeld);
    }
    let hash = tag.hash();
    if fastpath::take(tag, hash, mode) {
        local::insert(tag, mode, Held::new(Where::FastPath, false, owner));
        return Ok(Acquired::New);
    }
    let LockTag::Relation { db, rel } = tag else {
        return acquire_in_table(tag, hash, mode, false, owner, dont_wait);
    };
    // A standby must know who holds it, so the transaction needs an id before it has the lock.
    let logged = if mode == LockMode::AccessExclusive { transaction::xid_for_standby()? } else { None };
    let strong = mode.is_strong();
    if strong {
        fastpath::begin_strong(hash);
    }
    let result = match if strong { fastpath::transfer(tag, hash) } else { Ok(()) } {
        Ok(()) => acquire_in_table(tag, hash, mode, strong, owner, dont_wait),
        Err(error) => Err(error),
    };
    match (&result, logged) {
        (Ok(Acquired::New), Some(xid)) => log_access_exclusive(xid, db, rel),
        (Ok(Acquired::New), None) => {}
        _ if strong => fastpath::end_strong(hash),
        _ => {}
    }
    result
}

/// A standby's locks beside the primary's: nobody knows what strong ones would make wait. The startup process takes the
/// primary's.
fn refuse_in_recovery(tag: LockTag, mode: LockMode) -> Result<()> {
    let is_strong =
        mode > LockMode::RowExclusive && matches!(tag, LockTag::Relation { .. } | LockTag::Object { .. });
    if !is_strong || !transaction::is_attached() || !wal::in_recovery() {
        return Ok(());
    }
    Err(error!(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "cannot acquire lock mode {} on database objects while recovery is in progress",
        mode.name()
    )
    .hint("Only RowExclusiveLock or less can be acquired on database objects during recovery."))
}

fn acquire_in_table(
    tag: LockTag,
    hash: u32,
    mode: LockMode,
    strong: bool,
    owner: local::Owner,
    dont_wait: bool,
) -> Result<Acquired> {
    let (me, index) = (shared::me(), shared::partition_of(hash));
    let mut shard = shared::partition(index).exclusive();
    let Ok(place) = shard.enter(tag, hash, me) else {
        drop(shard);
        return Err(report::table_full());
    };
    if !shard.try_grant(place, mode) {
        if dont_wait {
            shard.drop_if_unused(place);
            return Ok(Acquired::NotAvailable);
        }
        match shard.enqueue(place, mode) {
            Queued::Granted => {}
            Queued::Deadlock { process, mode: awaited } => {
                shard.drop_if_unused(place);
                drop(shard);
                let theirs = Edge { process, tag, mode: awaited };
                return Err(report::deadlock(&[Edge { process: me, tag, mode }, theirs]));
            }
            Queued::Waiting => {
                shared::wait_of(me).begin(index, place.lock);
                drop(shard);
                wait::sleep(wait::Waited { tag, hash, mode, index, place })?;
            }
        }
    }
    local::insert(tag, mode, Held::new(Where::Table(place), strong, owner));
    Ok(Acquired::New)
}

/// Gives one hold of the current transaction back before its end; false if there is none. C: `LockRelease(..., false)`.
pub fn release(tag: LockTag, mode: LockMode) -> bool {
    give_back(tag, mode, false)
}

/// Gives one hold of the session back; false if there is none. C: `LockRelease(..., true)`.
pub fn release_session(tag: LockTag, mode: LockMode) -> bool {
    give_back(tag, mode, true)
}

fn give_back(tag: LockTag, mode: LockMode, of_session: bool) -> bool {
    match local::give_back(tag, mode, of_session) {
        GivenBack::NotOwned => false,
        GivenBack::StillHeld => true,
        GivenBack::Last(held) => {
            release_last(tag, mode, &held);
            true
        }
    }
}

/// Whether this process holds the lock in this mode. C: `LockHeldByMe`.
pub fn holds(tag: LockTag, mode: LockMode) -> bool {
    local::is_held(tag, mode)
}

/// Gives one lock back in shared memory.
fn release_last(tag: LockTag, mode: LockMode, held: &Held) {
    let (me, hash) = (shared::me(), tag.hash());
    match (held.at, tag) {
        (Where::FastPath, LockTag::Relation { db, rel }) => {
            if !shared::fast_path(me).exclusive().remove(db, rel, mode) {
                release_for(tag, hash, me, mode);
            }
        }
        (Where::FastPath, _) => release_for(tag, hash, me, mode),
        (Where::Table(place), _) => {
            let mut shard = shared::partition(shared::partition_of(hash)).exclusive();
            shared::wake(&shard.release(place, mode));
        }
    }
    if held.strong {
        fastpath::end_strong(hash);
    }
}

/// Gives locks back in shared memory: those of the fast path under one hold of its LWLock.
pub(crate) fn release_many(mut locks: Vec<((LockTag, LockMode), Held)>) {
    if locks.iter().any(|(_, held)| held.at == Where::FastPath) {
        let mut path = shared::fast_path(shared::me()).exclusive();
        locks.retain(|((tag, mode), held)| match (held.at, tag) {
            (Where::FastPath, LockTag::Relation { db, rel }) => !path.remove(*db, *rel, *mode),
            _ => true,
        });
    }
    for ((tag, mode), held) in locks {
        release_last(tag, mode, &held);
    }
}

/// Puts a lock that a process has in its fast path into the table. The caller has that fast path's LWLock, and takes
/// it out there. C: `FastPathGetRelationLockEntry`, the second half of `FastPathTransferRelationLocks`.
pub(crate) fn grant_for(tag: LockTag, hash: u32, process: u32, mode: LockMode) -> Result<()> {
    let mut shard = shared::partition(shared::partition_of(hash)).exclusive();
    let Ok(place) = shard.enter(tag, hash, process) else { return Err(report::table_full()) };
    shard.grant(place, mode);
    Ok(())
}

/// Releases a lock that is known by its tag only: it was moved to the table by somebody else.
/// C: `LockRefindAndRelease`.
pub(crate) fn release_for(tag: LockTag, hash: u32, process: u32, mode: LockMode) {
    let mut shard = shared::partition(shared::partition_of(hash)).exclusive();
    let place = shard.find(tag, hash, process);
    debug_assert!(place.is_some(), "{tag} is not in the table");
    if let Some(place) = place {
        shared::wake(&shard.release(place, mode));
    }
}

/// `XLOG_STANDBY_LOCK`.
const STANDBY_LOCK: u8 = 0x00;

/// Tells standbys: they must keep their sessions away from the relation until our transaction ends.
/// C: `LogAccessExclusiveLock`.
fn log_access_exclusive(xid: Xid, db: Oid, rel: Oid) {
    log_locks(&[(xid, db, rel)]);
    transaction::note_logged_lock();
}

/// Tells standbys of all relations that are locked exclusively now: part of the snapshot of running transactions,
/// just before its record. Does nothing if there are none. C: the first half of `LogStandbySnapshot`.
pub fn log_access_exclusive_locks() {
    let locks = crate::status::access_exclusive_locks();
    if !locks.is_empty() {
        log_locks(&locks);
    }
}

fn log_locks(locks: &[(Xid, Oid, Oid)]) {
    let words = locks.iter().flat_map(|(xid, db, rel)| [xid.0, db.0, rel.0]);
    let data: Vec<u8> = std::iter::once(locks.len() as u32).chain(words).flat_map(u32::to_le_bytes).collect();
    let mut record = Record::new(RmgrId::Standby, STANDBY_LOCK);
    record.data(&data).mark_unimportant();
    record.insert();
}
