//! Did a transaction commit? The questions that row visibility asks.
//!
//! The answer of the last look into the commit log is kept: rows beside each other are often of one transaction.
//!
//! A broken or missing file of the commit log is an error of the statement. The short forms, for visibility
//! checks, cannot return one; they panic, which a session turns into an ERROR unless it holds a lock.
//!
//! C counterpart: access/transam/transam.c.

use std::cell::Cell;

use common::{Lsn, Xid};
use elog::{Result, ereport};

use crate::clog::{self, XidStatus};
use crate::{snapshot, subtrans};

thread_local! {
    /// The last id looked up whose fate is final. C: `cachedFetchXid` and its companions.
    static LAST: Cell<(Xid, XidStatus, Lsn)> = const { Cell::new((Xid::INVALID, XidStatus::Aborted, Lsn::INVALID)) };
}

/// C: `TransactionLogFetch`.
#[inline]
fn fetch(xid: Xid) -> Result<XidStatus> {
    let (last, status, _) = LAST.get();
    if last == xid && xid.is_valid() {
        return Ok(status);
    }
    if !xid.is_normal() {
        let permanent = xid == Xid::BOOTSTRAP || xid == Xid::FROZEN;
        return Ok(if permanent { XidStatus::Committed } else { XidStatus::Aborted });
    }
    let (status, lsn) = clog::status(xid)?;
    if matches!(status, XidStatus::Committed | XidStatus::Aborted) {
        LAST.set((xid, status, lsn));
    }
    Ok(status)
}

/// Whether the id committed. Of an id that runs, the answer is "no" for now: ask [`crate::is_in_progress`] first,
/// and in this order. C: `TransactionIdDidCommit`.
///
/// # Errors
/// "could not access status of transaction".
pub fn try_did_commit(xid: Xid) -> Result<bool> {
    decided(xid, XidStatus::Committed)
}

/// As [`try_did_commit`] for places that cannot fail.
///
/// # Panics
/// If the commit log cannot be read.
#[inline]
pub fn did_commit(xid: Xid) -> bool {
    or_panic(try_did_commit(xid))
}

/// Whether the id aborted, or its process is gone without a trace in this log. C: `TransactionIdDidAbort`.
///
/// # Errors
/// "could not access status of transaction".
pub fn try_did_abort(xid: Xid) -> Result<bool> {
    decided(xid, XidStatus::Aborted)
}

/// As [`try_did_abort`] for places that cannot fail.
///
/// # Panics
/// If the commit log cannot be read.
pub fn did_abort(xid: Xid) -> bool {
    or_panic(try_did_abort(xid))
}

fn decided(xid: Xid, wanted: XidStatus) -> Result<bool> {
    let status = fetch(xid)?;
    if status != XidStatus::SubCommitted {
        return Ok(status == wanted);
    }
    // A subtransaction shares its parent's fate (C3). One so old that pg_subtrans has forgotten it: its parent
    // would have turned its bits to "committed", so that it must have crashed.
    if xid.precedes(snapshot::transaction_xmin()) {
        return Ok(wanted == XidStatus::Aborted);
    }
    let parent = subtrans::parent(xid)?;
    if !parent.is_valid() {
        ereport!(Warning, "no pg_subtrans entry for subcommitted XID {xid}");
        return Ok(wanted == XidStatus::Aborted);
    }
    decided(parent, wanted)
}

/// Whether the last look already showed the id to be over. C: `TransactionIdIsKnownCompleted`.
#[inline]
pub fn known_completed(xid: Xid) -> bool {
    xid.is_valid() && LAST.get().0 == xid
}

/// The WAL position up to which must be flushed before a hint "committed" may reach disk; invalid (zero) if that
/// has long been so. Exact only up to 32 neighbours. C: `TransactionIdGetCommitLSN`.
#[inline]
pub fn commit_lsn(xid: Xid) -> Lsn {
    let (last, _, lsn) = LAST.get();
    if last == xid && xid.is_valid() {
        return lsn;
    }
    if !xid.is_normal() {
        return Lsn::INVALID;
    }
    or_panic(clog::status(xid)).1
}

/// The newest of an id and its children. C: `TransactionIdLatest`.
pub fn latest_xid(main: Xid, children: &[Xid]) -> Xid {
    children.iter().fold(main, |latest, child| if latest.precedes(*child) { *child } else { latest })
}

fn or_panic<T>(outcome: Result<T>) -> T {
    match outcome {
        Ok(value) => value,
        Err(e) => panic!("{}: {}", e.message, e.detail.as_deref().unwrap_or_default()),
    }
}
