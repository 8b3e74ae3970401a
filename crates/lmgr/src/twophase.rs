//! Locks of prepared transactions: they change hands, survive a restart, and are given back by whoever ends it.
//!
//! A transaction that is prepared leaves its locks to the PGPROC that stands for it. They are then in the table, not in
//! a fast path, and strong ones stay counted among the strong lockers. Locks of the session stay with it; an object
//! locked for both cannot be divided.
//!
//! ```text
//! record   20   database 4, next fields of the tag 4 + 4 + 2, type 1, method 1 (1: all but users' locks, 2), mode 4
//! ```
//!
//! C counterpart: `AtPrepare_Locks`, `PostPrepare_Locks`, `lock_twophase_recover`, `lock_twophase_postcommit` of lock.c.

use common::SqlState;
use elog::{PgError, Result, error};
use transam::twophase::{self, Prepared, RmId, TwoPhaseCallbacks};

use crate::mode::LockMode;
use crate::tag::LockTag;
use crate::{acquire, fastpath, local, report, shared};

/// C: `sizeof(TwoPhaseLockRecord)`.
const RECORD: usize = 20;
/// C: `DEFAULT_LOCKMETHOD`, `USER_LOCKMETHOD`.
const DEFAULT_METHOD: u8 = 1;
const USER_METHOD: u8 = 2;

/// Enters the lock manager among those who have state of prepared transactions: once, before processes are forked.
pub fn register_two_phase() {
    let end = Some(release as fn(Prepared, u16, &[u8]));
    twophase::register(
        RmId::Lock,
        TwoPhaseCallbacks {
            recover: Some(recover),
            post_commit: end,
            post_abort: end,
            standby_recover: None,
        },
    );
}

fn to_bytes(tag: LockTag, mode: LockMode) -> [u8; RECORD] {
    let [kind, a, b, c, d] = tag.pack();
    let mut bytes = [0; RECORD];
    for (part, word) in bytes.chunks_exact_mut(4).zip([a, b, c]) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    bytes[12..14].copy_from_slice(&(d as u16).to_le_bytes());
    bytes[14] = kind as u8;
    bytes[15] = if tag.is_users() { USER_METHOD } else { DEFAULT_METHOD };
    bytes[16] = mode as u8;
    bytes
}

fn from_bytes(bytes: &[u8]) -> Result<(LockTag, LockMode)> {
    let broken = || error!(SqlState::DATA_CORRUPTED, "two-phase state has a broken record of a lock");
    let bytes: &[u8; RECORD] = bytes.try_into().map_err(|_| broken())?;
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if !(DEFAULT_METHOD..=USER_METHOD).contains(&bytes[15]) {
        return Err(error!(SqlState::INTERNAL_ERROR, "unrecognized lock method: {}", bytes[15]));
    }
    let fourth = u16::from_le_bytes([bytes[12], bytes[13]]);
    let tag = LockTag::unpack([bytes[14].into(), word(0), word(4), word(8), fourth.into()]);
    Ok((tag, LockMode::from_u8(bytes[16]).ok_or_else(broken)?))
}

fn is_strong(tag: LockTag, mode: LockMode) -> bool {
    matches!(tag, LockTag::Relation { .. }) && mode.is_strong()
}

/// Saves the transaction's locks, and brings those of the fast path to the table. C: `AtPrepare_Locks`.
///
/// # Errors
/// 0A000 for an object locked by the session and the transaction; 53200.
pub(crate) fn at_prepare() -> Result<()> {
    let (locks, divided) = local::of_transaction();
    if divided {
        return Err(both_levels());
    }
    for (tag, mode, at) in locks {
        if at == local::Where::FastPath {
            local::moved(tag, mode, to_table(tag, mode)?);
        }
        twophase::register_record(RmId::Lock, 0, &to_bytes(tag, mode));
    }
    Ok(())
}

fn both_levels() -> PgError {
    error!(
        SqlState::FEATURE_NOT_SUPPORTED,
        "cannot PREPARE while holding both session-level and transaction-level locks on the same object"
    )
}

/// C: `FastPathGetRelationLockEntry`.
fn to_table(tag: LockTag, mode: LockMode) -> Result<local::Where> {
    let (me, hash) = (shared::me(), tag.hash());
    if let LockTag::Relation { db, rel } = tag {
        // Not there any more: somebody with a strong lock in mind has moved it already.
        let mut path = shared::fast_path(me).exclusive();
        if path.has(db, rel, mode) {
            acquire::grant_for(tag, hash, me, mode)?;
            path.remove(db, rel, mode);
        }
    }
    let place = shared::partition(shared::partition_of(hash)).shared().find(tag, hash, me);
    place.map(local::Where::Table).ok_or_else(report::table_full)
}

/// The transaction's locks are the prepared one's from now on. C: `PostPrepare_Locks`.
pub(crate) fn hand_over(to: Prepared) {
    for (tag, _, held) in local::take_of_transaction() {
        if let local::Where::Table(place) = held.at {
            shared::partition(shared::partition_of(tag.hash())).exclusive().give(place, to.procno);
        }
    }
}

/// At the end of recovery. C: `lock_twophase_recover`.
fn recover(prepared: Prepared, _info: u16, data: &[u8]) -> Result<()> {
    let (tag, mode) = from_bytes(data)?;
    let hash = tag.hash();
    if is_strong(tag, mode) {
        fastpath::begin_strong(hash);
    }
    acquire::grant_for(tag, hash, prepared.procno, mode)
}

/// It has ended. C: `lock_twophase_postcommit`, `lock_twophase_postabort`.
fn release(prepared: Prepared, _info: u16, data: &[u8]) {
    let Ok((tag, mode)) = from_bytes(data) else { return };
    let hash = tag.hash();
    acquire::release_for(tag, hash, prepared.procno, mode);
    if is_strong(tag, mode) {
        fastpath::end_strong(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::world;
    use crate::{acquire as take, status};
    use common::{Oid, Xid};

    const TABLE: LockTag = LockTag::Relation { db: Oid(5), rel: Oid(16384) };

    #[test]
    fn records_are_postgresqls() {
        let bytes = to_bytes(TABLE, LockMode::AccessExclusive);
        assert_eq!(bytes, [5, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0]);
        for tag in [TABLE, LockTag::Transaction(Xid(726)), LockTag::advisory(Oid(5), -7)] {
            assert_eq!(from_bytes(&to_bytes(tag, LockMode::Share)).unwrap(), (tag, LockMode::Share));
        }
        assert_eq!(to_bytes(LockTag::advisory(Oid(5), 1), LockMode::Share)[15], USER_METHOD);
        assert!(from_bytes(&bytes[..19]).is_err());
    }

    #[test]
    fn locks_change_hands() {
        let _world = world();
        register_two_phase();
        local::set_level(1);
        let prepared = Prepared { xid: Xid(726), procno: 3 };
        take::acquire(TABLE, LockMode::AccessShare, false, false).unwrap();
        take::acquire(TABLE, LockMode::AccessExclusive, false, false).unwrap();
        let mine = LockTag::advisory(Oid(5), 1);
        take::acquire(mine, LockMode::Exclusive, true, false).unwrap();
        at_prepare().unwrap();
        hand_over(prepared);
        crate::transaction::end(false);
        assert!(take::holds(mine, LockMode::Exclusive) && !take::holds(TABLE, LockMode::AccessShare));
        let wanted = |dont_wait| take::acquire(TABLE, LockMode::AccessShare, false, dont_wait).unwrap();
        assert!(!wanted(true).is_held());
        let rows = status::status();
        let theirs: Vec<_> = rows.iter().filter(|row| row.relation.is_some()).map(|row| row.pid).collect();
        assert_eq!(theirs, [0, 0]);
        for mode in [LockMode::AccessShare, LockMode::AccessExclusive] {
            release(prepared, 0, &to_bytes(TABLE, mode));
        }
        assert!(wanted(true).is_held());
        crate::transaction::end(false);
        recover(prepared, 0, &to_bytes(TABLE, LockMode::AccessExclusive)).unwrap();
        assert!(!wanted(true).is_held());
        release(prepared, 0, &to_bytes(TABLE, LockMode::AccessExclusive));
        assert!(wanted(true).is_held());
    }

    #[test]
    fn an_object_of_session_and_transaction_cannot_be_divided() {
        let _world = world();
        local::set_level(1);
        let tag = LockTag::advisory(Oid(5), 1);
        take::acquire(tag, LockMode::Exclusive, true, false).unwrap();
        take::acquire(tag, LockMode::Share, false, false).unwrap();
        let e = at_prepare().unwrap_err();
        assert_eq!(e.sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
    }
}
