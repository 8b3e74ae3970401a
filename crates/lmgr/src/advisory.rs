//! Locks on numbers that mean something to applications only.
//!
//! C counterpart: the `pg_advisory_*` functions of utils/adt/lockfuncs.c, `LockReleaseSession` in lock.c.

use std::sync::atomic::Ordering::Relaxed;

use common::Oid;
use elog::Result;

use crate::acquire::{acquire, release_session};
use crate::local::{self, SESSION};
use crate::mode::LockMode;
use crate::report;
use crate::tag::LockTag;

/// What is locked, in the current database. The two kinds never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdvisoryKey {
    /// `pg_advisory_lock(bigint)`.
    One(i64),
    /// `pg_advisory_lock(int, int)`.
    Two(i32, i32),
}

impl AdvisoryKey {
    fn tag(self) -> LockTag {
        let db = Oid(shmem::my_proc().database_id.load(Relaxed));
        match self {
            AdvisoryKey::One(key) => LockTag::advisory(db, key),
            AdvisoryKey::Two(key1, key2) => LockTag::advisory_pair(db, key1, key2),
        }
    }
}

fn mode(shared: bool) -> LockMode {
    if shared { LockMode::Share } else { LockMode::Exclusive }
}

/// `pg_advisory_lock` (`session`) and `pg_advisory_xact_lock`, also `..._shared`.
///
/// # Errors
/// As [`acquire`].
pub fn advisory_lock(key: AdvisoryKey, shared: bool, session: bool) -> Result<()> {
    acquire(key.tag(), mode(shared), session, false).map(|_| ())
}

/// `pg_try_advisory_lock` and its kin: false if others have it.
///
/// # Errors
/// 53200.
pub fn try_advisory_lock(key: AdvisoryKey, shared: bool, session: bool) -> Result<bool> {
    Ok(acquire(key.tag(), mode(shared), session, true)?.is_held())
}

/// `pg_advisory_unlock`: false, and a warning, if the session does not have it.
pub fn advisory_unlock(key: AdvisoryKey, shared: bool) -> bool {
    let released = release_session(key.tag(), mode(shared));
    if !released {
        report::not_owned(mode(shared));
    }
    released
}

/// `pg_advisory_unlock_all`: those of the session. C: `LockReleaseSession(USER_LOCKMETHOD)`.
pub fn advisory_unlock_all() {
    local::release_owned(|tag, owner| owner == SESSION && tag.is_users());
}
