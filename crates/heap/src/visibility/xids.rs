//! What the rules ask about transactions, and who answers.
//!
//! C counterpart: the calls into transam.c, procarray.c, multixact.c and combocid.c.

use common::{CommandId, MultiXactId, Xid};
use elog::Result;
use transam::{Snapshot, multixact};

use super::{CommandView, MvccView};
use crate::combocid;
use crate::header::{Header, infomask};

/// The state of transactions at this moment.
pub(crate) trait Xids {
    /// This transaction or a live subtransaction of it. C: `TransactionIdIsCurrentTransactionId`.
    fn is_current(&self, xid: Xid) -> bool;
    /// Must be asked before `did_commit`: a transaction commits before it stops running. C:
    /// `TransactionIdIsInProgress`.
    fn in_progress(&self, xid: Xid) -> Result<bool>;
    /// C: `TransactionIdDidCommit`.
    fn did_commit(&self, xid: Xid) -> Result<bool>;
    /// The member that updates or deletes, invalid if all only lock.
    fn multi_updater(&self, multi: MultiXactId) -> Result<Xid>;
    /// C: `MultiXactIdIsRunning`; true too if this transaction is a member.
    fn multi_running(&self, multi: MultiXactId, lock_only: bool) -> Result<bool>;
    /// The command that inserted an own row. C: `HeapTupleHeaderGetCmin`.
    fn cmin(&self, h: Header<'_>) -> CommandId;
    /// The command that deleted an own row. C: `HeapTupleHeaderGetCmax`.
    fn cmax(&self, h: Header<'_>) -> CommandId;
}

/// The updater inside a multixact that is not lock-only. C: `HeapTupleGetUpdateXid`.
pub(crate) fn update_xid(h: Header<'_>, xids: &impl Xids) -> Result<Xid> {
    debug_assert!(h.infomask() & infomask::XMAX_IS_MULTI != 0);
    xids.multi_updater(h.multi_xmax())
}

/// The server's own transactions.
pub(crate) struct Real;

impl Xids for Real {
    fn is_current(&self, xid: Xid) -> bool {
        transam::is_current(xid)
    }
    fn in_progress(&self, xid: Xid) -> Result<bool> {
        transam::try_is_in_progress(xid)
    }
    fn did_commit(&self, xid: Xid) -> Result<bool> {
        transam::try_did_commit(xid)
    }
    fn multi_updater(&self, multi: MultiXactId) -> Result<Xid> {
        let members = multixact::members(multi, false, false)?;
        Ok(members.iter().find(|(_, status)| status.is_update()).map_or(Xid::INVALID, |(xid, _)| *xid))
    }
    fn multi_running(&self, multi: MultiXactId, lock_only: bool) -> Result<bool> {
        multixact::is_running(multi, lock_only)
    }
    fn cmin(&self, h: Header<'_>) -> CommandId {
        combocid::cmin(h)
    }
    fn cmax(&self, h: Header<'_>) -> CommandId {
        combocid::cmax(h)
    }
}

/// A snapshot with its bounds at hand: most ids are settled by comparing with them.
pub(crate) struct SnapshotView<'a> {
    snapshot: &'a Snapshot,
    xmin: Xid,
    curcid: CommandId,
}

impl<'a> SnapshotView<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> SnapshotView<'a> {
        SnapshotView { snapshot, xmin: snapshot.xmin(), curcid: snapshot.curcid() }
    }
}

impl CommandView for SnapshotView<'_> {
    #[inline]
    fn curcid(&self) -> CommandId {
        self.curcid
    }
}

impl MvccView for SnapshotView<'_> {
    #[inline]
    fn contains(&self, xid: Xid) -> bool {
        !xid.precedes(self.xmin) && transam::xid_in_mvcc_snapshot(xid, self.snapshot)
    }
}
