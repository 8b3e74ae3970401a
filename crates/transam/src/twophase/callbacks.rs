//! Who else keeps state of prepared transactions, and how they get it back.
//!
//! C counterpart: twophase_rmgr.c, `RegisterTwoPhaseRecord`, `ProcessRecords`.

use std::cell::{Cell, RefCell};

use common::{SqlState, Xid};
use elog::{PgError, Result, error};

use super::state;

/// A kind of record in the state, numbered as in C. C: `TwoPhaseRmgrId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RmId {
    /// Locks. C: `TWOPHASE_RM_LOCK_ID`.
    Lock = 1,
    /// Counts of rows. C: `TWOPHASE_RM_PGSTAT_ID`.
    Pgstat = 2,
    /// The oldest multixact it may be a member of. C: `TWOPHASE_RM_MULTIXACT_ID`.
    MultiXact = 3,
    /// Predicate locks. C: `TWOPHASE_RM_PREDICATELOCK_ID`.
    PredicateLock = 4,
}

/// The transaction that a callback is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Its id.
    pub xid: Xid,
    /// The PGPROC that stands for it: owner of its locks. C: `TwoPhaseGetDummyProc`.
    pub procno: u32,
}

/// Puts one record's contents back into shared memory.
type Recover = fn(Prepared, info: u16, data: &[u8]) -> Result<()>;
/// Ends what the record stands for; must not fail.
type End = fn(Prepared, info: u16, data: &[u8]);

/// What the owner of a kind of record does with it. C: `twophase_recover_callbacks` and its siblings.
#[derive(Clone, Copy, Default)]
pub struct TwoPhaseCallbacks {
    /// At the end of recovery.
    pub recover: Option<Recover>,
    /// At COMMIT PREPARED.
    pub post_commit: Option<End>,
    /// At ROLLBACK PREPARED.
    pub post_abort: Option<End>,
    /// When a standby begins with transactions that were prepared before.
    pub standby_recover: Option<Recover>,
}

const KINDS: usize = 5;
const NONE: TwoPhaseCallbacks =
    TwoPhaseCallbacks { recover: None, post_commit: None, post_abort: None, standby_recover: None };

thread_local! {
    static CALLBACKS: Cell<[TwoPhaseCallbacks; KINDS]> = const {
        // Our own; the others introduce themselves.
        let mut all = [NONE; KINDS];
        all[RmId::MultiXact as usize] = crate::multixact::TWO_PHASE;
        Cell::new(all)
    };
    /// Records of the transaction that this process is preparing. C: `records`.
    static RECORDS: RefCell<Vec<state::Record>> = const { RefCell::new(Vec::new()) };
}

/// Enters a kind's owner, for this process and those forked from it.
pub fn register(kind: RmId, callbacks: TwoPhaseCallbacks) {
    let mut all = CALLBACKS.get();
    all[kind as usize] = callbacks;
    CALLBACKS.set(all);
}

/// Adds a record to the state of the transaction that is being prepared: to be called by a participant's `at_prepare`.
/// C: `RegisterTwoPhaseRecord`.
pub fn register_record(kind: RmId, info: u16, data: &[u8]) {
    let record = state::Record { kind: kind as u8, info, data: data.to_vec() };
    RECORDS.with_borrow_mut(|records| records.push(record));
}

/// The records so far; there are none afterwards.
pub(super) fn take_records() -> Vec<state::Record> {
    RECORDS.take()
}

fn unknown(kind: u8) -> PgError {
    error!(SqlState::DATA_CORRUPTED, "two-phase state has a record of unknown kind {kind}")
}

fn of(kind: u8) -> Result<TwoPhaseCallbacks> {
    let all = CALLBACKS.get();
    all.get(usize::from(kind)).filter(|_| kind != 0).copied().ok_or_else(|| unknown(kind))
}

/// At the end of recovery, or on a standby: all records' contents into shared memory.
pub(super) fn recover(of_whom: Prepared, records: &[state::Record], standby: bool) -> Result<()> {
    for record in records {
        let callbacks = of(record.kind)?;
        let callback = if standby { callbacks.standby_recover } else { callbacks.recover };
        if let Some(callback) = callback {
            callback(of_whom, record.info, &record.data)?;
        }
    }
    Ok(())
}

/// The transaction has ended.
pub(super) fn end(of_whom: Prepared, records: &[state::Record], commit: bool) {
    for record in records {
        let Ok(callbacks) = of(record.kind) else { continue };
        let callback = if commit { callbacks.post_commit } else { callbacks.post_abort };
        if let Some(callback) = callback {
            callback(of_whom, record.info, &record.data);
        }
    }
}
