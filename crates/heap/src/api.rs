//! What the changing functions take and give back.
//!
//! C counterpart: access/tableam.h, nodes/lockoptions.h.

use common::{CommandId, ItemPointer, Xid};
use transam::multixact::MemberStatus;

use crate::tuple::Tuple;

/// How a change or a lock of a row went. C: `TM_Result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TmResult {
    /// Done.
    Ok,
    /// The row was never visible to this command; a bug of the caller.
    Invisible,
    /// This transaction has changed the row already, in `cmax` of [`FailureData`].
    SelfModified,
    /// Another transaction has updated it; the next version is `ctid` of [`FailureData`].
    Updated,
    /// Another transaction has deleted it.
    Deleted,
    /// Another transaction is changing it, and the caller did not want to wait.
    BeingModified,
    /// Locked by another, and the caller said [`WaitPolicy::Skip`].
    WouldBlock,
}

/// More about a result other than Ok. C: `TM_FailureData`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailureData {
    /// Next version, or the row's own address.
    pub ctid: ItemPointer,
    /// Who changed it.
    pub xmax: Xid,
    /// By which command, if it was this transaction.
    pub cmax: CommandId,
    /// [`crate::lock_last_version`] went on to a newer version.
    pub traversed: bool,
}

/// Strength of a row lock. C: `LockTupleMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockTupleMode {
    /// FOR KEY SHARE.
    KeyShare = 0,
    /// FOR SHARE.
    Share = 1,
    /// FOR NO KEY UPDATE, and an update that leaves keys alone.
    NoKeyExclusive = 2,
    /// FOR UPDATE, delete, an update of a key.
    Exclusive = 3,
}

impl LockTupleMode {
    /// What a multixact says of a member with this lock. C: `get_mxact_status_for_lock`.
    pub fn member_status(self, is_update: bool) -> MemberStatus {
        match (self, is_update) {
            (LockTupleMode::KeyShare, _) => MemberStatus::ForKeyShare,
            (LockTupleMode::Share, _) => MemberStatus::ForShare,
            (LockTupleMode::NoKeyExclusive, false) => MemberStatus::ForNoKeyUpdate,
            (LockTupleMode::NoKeyExclusive, true) => MemberStatus::NoKeyUpdate,
            (LockTupleMode::Exclusive, false) => MemberStatus::ForUpdate,
            (LockTupleMode::Exclusive, true) => MemberStatus::Update,
        }
    }

    /// The lock that a member of a multixact holds. C: `TUPLOCK_from_mxstatus`.
    pub fn of_member(status: MemberStatus) -> LockTupleMode {
        match status {
            MemberStatus::ForKeyShare => LockTupleMode::KeyShare,
            MemberStatus::ForShare => LockTupleMode::Share,
            MemberStatus::ForNoKeyUpdate | MemberStatus::NoKeyUpdate => LockTupleMode::NoKeyExclusive,
            MemberStatus::ForUpdate | MemberStatus::Update => LockTupleMode::Exclusive,
        }
    }
}

/// What to do about a row that another transaction has locked. C: `LockWaitPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitPolicy {
    /// Wait.
    Block,
    /// SKIP LOCKED.
    Skip,
    /// NOWAIT: 55P03.
    Error,
}

/// How to insert. C: the `HEAP_INSERT_*` flags.
#[derive(Clone, Copy, Debug, Default)]
pub struct InsertOptions {
    /// Do not look for old free space.
    pub skip_fsm: bool,
    /// Visible to everybody at once: only into a table made by this transaction.
    pub frozen: bool,
}

/// What the caller of an update knows about indexes. C: `HeapDetermineColumnsInfo`.
#[derive(Clone, Copy, Debug)]
pub struct UpdateOptions {
    /// No indexed column changes, so that the new version may stay in the old one's chain.
    pub hot_allowed: bool,
    /// A column of a unique key changes, so that key-share lockers must be waited for.
    pub key_changed: bool,
    /// Wait for others; else they are reported as `BeingModified`.
    pub wait: bool,
}

impl Default for UpdateOptions {
    fn default() -> UpdateOptions {
        UpdateOptions { hot_allowed: true, key_changed: false, wait: true }
    }
}

/// The result of an update.
#[derive(Clone, Copy, Debug)]
pub struct UpdateOutcome {
    /// How it went.
    pub result: TmResult,
    /// Why not.
    pub failure: FailureData,
    /// What lock it took (or would have needed) on the old version.
    pub lock_mode: LockTupleMode,
    /// The new version is in the old one's chain: no index needs an entry.
    pub hot: bool,
}

/// The result of locking a row.
#[derive(Clone, Debug)]
pub struct LockOutcome {
    /// How it went.
    pub result: TmResult,
    /// Why not.
    pub failure: FailureData,
    /// The row as it is now, if it is there at all.
    pub tuple: Option<Tuple>,
}
