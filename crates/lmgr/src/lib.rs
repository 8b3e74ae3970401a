//! Heavyweight locks: on relations, rows, transactions, and on whatever users name.
//!
//! They differ from LWLocks in that they have eight modes, are held to the end of the transaction, can be waited for
//! with an eye on cancel requests and timeouts, and that deadlocks among them are found.
//!
//! ```no_run
//! # use common::Oid;
//! # use lmgr::{LockMode, lock_relation, unlock_relation};
//! # fn example() -> elog::Result<()> {
//! lock_relation(Oid(5), Oid(16384), LockMode::AccessShare)?; // until the end of the transaction, or:
//! unlock_relation(Oid(5), Oid(16384), LockMode::AccessShare)
//! # }
//! ```
//!
//! Read in this order:
//!
//! - `mode`: the modes and what excludes what; `tag`: what can be locked.
//! - `shard`: a partition of the lock table: granting, queues, waking up. Pure.
//! - `deadlock`: finding cycles in a picture of all waits. Pure.
//! - `shared`: the partitions in shared memory, and each process's wait.
//! - `fastpath`: weak locks on relations, kept with their holder; virtual transactions.
//! - `local`: what this process holds, and for which (sub)transaction.
//! - `acquire`: taking and giving back; `wait`: sleeping for a lock; `report`: what is said about it.
//! - `locks`: relations, rows, transactions; `advisory`: what users name; `status`: `pg_locks`.
//! - `transaction`: what transactions do with locks at their ends; `twophase`: locks of prepared ones.
//! - [`standby`]: the primary's locks during recovery; `conflict`: sessions that are in replay's way.
//!
//! A process calls [`attach`] once it has its PGPROC.
//!
//! The numbered invariants are listed in this crate's README.
//!
//! C counterpart: storage/lmgr (lock, lmgr, deadlock; ProcSleep and its kin in proc), utils/adt/lockfuncs.c.

#![forbid(unsafe_code)]

mod acquire;
mod advisory;
mod conflict;
mod deadlock;
mod fastpath;
mod local;
mod locks;
mod mode;
mod report;
mod shard;
mod shared;
pub mod standby;
mod status;
mod tag;
mod transaction;
mod twophase;
mod wait;

pub use acquire::{Acquired, acquire, holds, log_access_exclusive_locks, release, release_session};
pub use advisory::{AdvisoryKey, advisory_lock, advisory_unlock, advisory_unlock_all, try_advisory_lock};
pub use fastpath::{vxid_lock_wait, vxid_still_running};
pub use local::release_all_of_session;
pub use locks::{
    ExtensionGuard, WaitOperation, WaitReason, conditional_lock_relation, conditional_lock_relation_session,
    conditional_lock_tuple, conditional_relation_extension_lock, conditional_xact_lock_wait,
    lock_database_frozen_ids, lock_object, lock_relation, lock_relation_session, lock_tuple, page_lock,
    relation_extension_lock, relation_extension_waiters, relation_not_available, row_not_available,
    unlock_object, unlock_page, unlock_relation, unlock_relation_session, unlock_tuple, xact_lock_delete,
    xact_lock_insert, xact_lock_wait,
};
pub use mode::{LockMode, MODES, Modes};
pub use shared::reserve;
pub use status::{LockRow, access_exclusive_locks, blocking_pids, status};
pub use tag::LockTag;
pub use transaction::attach;
pub use twophase::register_two_phase;
pub use wait::{awaits_lock, check_deadlock_soon};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
