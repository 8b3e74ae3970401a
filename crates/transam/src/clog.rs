//! The commit log: two bits for each transaction id, in `pg_xact`.
//!
//! A transaction is committed when its bits say so *and* its commit record is on disk. Asynchronous commits set
//! the bits first; the record's LSN is kept for each group of 32 ids, so that neither this page nor a hint bit
//! in a table gets to disk before the record does.
//!
//! - **C1** The page of an id exists in memory or on disk before the id is given out (`extend`).
//! - **C2** Bits go from 0 to 3 or straight to 1 or 2, and from 3 to 1 or 2; never back.
//! - **C3** The bits of all subtransactions turn 3 before the parent's turn 1; a reader who finds 3 asks the
//!   parent. So a transaction and its subtransactions commit at one moment, though their bits lie on
//!   different pages.
//!
//! C counterpart: access/transam/clog.c.

use std::sync::atomic::Ordering::Relaxed;

use common::{Lsn, Oid, Xid};
use elog::Result;
use shmem::{Reservation, tranche};
use wal::RmgrId;

use crate::slru::{Config, Guard, Slru, SlruPage};
use crate::{log, varsup};

/// Ids per page. C: `CLOG_XACTS_PER_PAGE`.
pub(crate) const XACTS_PER_PAGE: u32 = 32_768;
/// Ids that share an LSN. C: `CLOG_XACTS_PER_LSN_GROUP`.
const XACTS_PER_LSN_GROUP: u32 = 32;

/// C: `CLOG_ZEROPAGE`.
pub(crate) const XLOG_ZERO_PAGE: u8 = 0x00;
/// C: `CLOG_TRUNCATE`.
pub(crate) const XLOG_TRUNCATE: u8 = 0x10;

static XACT: Slru = Slru::new(
    "Xact",
    Config {
        dir: "pg_xact",
        durable: true,
        lsns_per_page: (XACTS_PER_PAGE / XACTS_PER_LSN_GROUP) as usize,
        precedes: page_precedes,
        control_tranche: tranche::XACT_SLRU,
        io_tranche: tranche::XACT_BUFFER,
    },
);

/// Two bits. C: `XidStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum XidStatus {
    /// Not decided, or crashed.
    InProgress = 0,
    /// Committed.
    Committed = 1,
    /// Aborted.
    Aborted = 2,
    /// A subtransaction that is committed if its parent is.
    SubCommitted = 3,
}

impl XidStatus {
    fn from_bits(bits: u32) -> XidStatus {
        match bits & 3 {
            0 => XidStatus::InProgress,
            1 => XidStatus::Committed,
            2 => XidStatus::Aborted,
            _ => XidStatus::SubCommitted,
        }
    }
}

/// C: `TransactionIdToPage`.
pub(crate) fn page_of(xid: Xid) -> u32 {
    xid.0 / XACTS_PER_PAGE
}

/// Word within the page and shift within the word: 4 ids per byte, lowest bits first.
fn place_of(xid: Xid) -> (usize, u32) {
    let index = xid.0 % XACTS_PER_PAGE;
    ((index / 16) as usize, (index % 16) * 2)
}

fn group_of(xid: Xid) -> usize {
    (xid.0 % XACTS_PER_PAGE / XACTS_PER_LSN_GROUP) as usize
}

/// C: `CLOGPagePrecedes`.
fn page_precedes(a: u32, b: u32) -> bool {
    crate::slru_page_precedes(a, b, XACTS_PER_PAGE)
}

/// C: `CLOGShmemBuffers`.
pub(crate) fn reserve(r: &mut Reservation) {
    XACT.reserve(r, (guc::vars::SHARED_BUFFERS.get() / 512).clamp(4, 128) as usize);
}

/// The status of an id, and the LSN that must be flushed before anyone relies on "committed" across a crash.
/// C: `TransactionIdGetStatus`.
///
/// # Errors
/// "could not access status of transaction".
#[inline]
pub fn status(xid: Xid) -> Result<(XidStatus, Lsn)> {
    let (word, shift) = place_of(xid);
    XACT.look(page_of(xid), xid.0, |page, lsns| {
        (XidStatus::from_bits(page.get(word) >> shift), Lsn(lsns[group_of(xid)].load(Relaxed)))
    })
}

/// The transaction and its subtransactions committed; WAL is flushed. C: `TransactionIdCommitTree`.
pub(crate) fn commit_tree(xid: Xid, children: &[Xid]) -> Result<()> {
    set_tree(xid, children, XidStatus::Committed, Lsn::INVALID)
}

/// Committed; its record ends at `lsn` and may not be flushed yet. C: `TransactionIdAsyncCommitTree`.
pub(crate) fn async_commit_tree(xid: Xid, children: &[Xid], lsn: Lsn) -> Result<()> {
    set_tree(xid, children, XidStatus::Committed, lsn)
}

/// Aborted. Needs no flush: an abort that is forgotten is an abort too. C: `TransactionIdAbortTree`.
pub(crate) fn abort_tree(xid: Xid, children: &[Xid]) -> Result<()> {
    set_tree(xid, children, XidStatus::Aborted, Lsn::INVALID)
}

/// C: `TransactionIdSetTreeStatus`.
fn set_tree(xid: Xid, children: &[Xid], status: XidStatus, lsn: Lsn) -> Result<()> {
    let page = page_of(xid);
    let on_first = children.iter().take_while(|child| page_of(**child) == page).count();
    let (near, far) = children.split_at(on_first);
    if far.is_empty() {
        return set_page(page, Some(xid), near, status, lsn);
    }
    if status == XidStatus::Committed {
        set_by_page(far, XidStatus::SubCommitted, lsn)?;
    }
    set_page(page, Some(xid), near, status, lsn)?;
    set_by_page(far, status, lsn)
}

/// C: `set_status_by_pages`.
fn set_by_page(xids: &[Xid], status: XidStatus, lsn: Lsn) -> Result<()> {
    xids.chunk_by(|a, b| page_of(*a) == page_of(*b))
        .try_for_each(|chunk| set_page(page_of(chunk[0]), None, chunk, status, lsn))
}

/// C: `TransactionIdSetPageStatusInternal`.
fn set_page(page: u32, main: Option<Xid>, children: &[Xid], status: XidStatus, lsn: Lsn) -> Result<()> {
    let some_xid = main.or(children.first().copied()).unwrap_or_default();
    // With an LSN, the page must not be on its way to disk: the writer has looked at the LSNs already.
    let (mut lock, slot) = XACT.read_page(XACT.lock(), page, !lsn_is_set(lsn), some_xid.0)?;
    if let Some(main) = main {
        // C3, for a reader of the file after a crash: the page may be written between two of these stores.
        if status == XidStatus::Committed {
            for child in children {
                set_bits(&lock, slot, *child, XidStatus::SubCommitted, lsn);
            }
        }
        set_bits(&lock, slot, main, status, lsn);
    }
    for child in children {
        set_bits(&lock, slot, *child, status, lsn);
    }
    XACT.set_dirty(&mut lock, slot);
    Ok(())
}

fn lsn_is_set(lsn: Lsn) -> bool {
    lsn != Lsn::INVALID
}

/// C: `TransactionIdSetStatusBit`.
fn set_bits(lock: &Guard, slot: usize, xid: Xid, status: XidStatus, lsn: Lsn) {
    let page: &SlruPage = XACT.page(lock, slot);
    let (word, shift) = place_of(xid);
    let old = page.get(word);
    let current = XidStatus::from_bits(old >> shift);
    // A replayed record may say again what a later one has already changed (C2).
    if crate::slru::in_redo() && status == XidStatus::SubCommitted && current == XidStatus::Committed {
        return;
    }
    debug_assert!(
        matches!(current, XidStatus::InProgress | XidStatus::SubCommitted) || current == status,
        "C2: xid {xid} from {current:?} to {status:?}"
    );
    page.set(word, old & !(3 << shift) | (status as u32) << shift);
    if lsn_is_set(lsn) {
        XACT.lsns(slot)[group_of(xid)].fetch_max(lsn.0, Relaxed);
    }
}

/// Makes the page of an id that is about to be given out, if it is the first on its page (C1). The caller holds
/// XidGenLock. C: `ExtendCLOG`.
pub(crate) fn extend(newest: Xid) -> Result<()> {
    if !newest.0.is_multiple_of(XACTS_PER_PAGE) && newest != Xid::FIRST_NORMAL {
        return Ok(());
    }
    let page = page_of(newest);
    let lock = XACT.lock();
    let _zeroed = XACT.zero_page(lock, page)?;
    log::insert(RmgrId::Clog, XLOG_ZERO_PAGE, &[&page.to_le_bytes()]);
    Ok(())
}

/// C: `StartupCLOG`.
pub(crate) fn startup(next: Xid) {
    XACT.set_latest_page(page_of(next));
}

/// After redo: ids from `next` on have no bits yet, whatever an earlier life wrote. C: `TrimCLOG`.
pub(crate) fn trim(next: Xid) -> Result<()> {
    let lock = XACT.lock();
    if next.0.is_multiple_of(XACTS_PER_PAGE) {
        return Ok(());
    }
    let (mut lock, slot) = XACT.read_page(lock, page_of(next), false, next.0)?;
    let (word, shift) = place_of(next);
    let page = XACT.page(&lock, slot);
    page.set(word, page.get(word) & !(u32::MAX << shift));
    page.zero_from(word + 1);
    XACT.set_dirty(&mut lock, slot);
    Ok(())
}

/// C: `CheckPointCLOG`.
pub(crate) fn checkpoint() -> Result<()> {
    XACT.write_all(true)
}

/// Removes files that only hold ids before `oldest`, which no table has any more. C: `TruncateCLOG`.
///
/// # Errors
/// Of reading the directory, writing pages.
pub fn truncate(oldest: Xid, oldest_db: Oid) -> Result<()> {
    let cutoff = page_of(oldest);
    if !XACT.has_files_before(cutoff)? {
        return Ok(());
    }
    // First nobody asks any more, then it is logged and flushed, then it goes away.
    varsup::advance_oldest_clog_xid(oldest);
    let data = log::words([cutoff, oldest.0, oldest_db.0]);
    let lsn = log::insert(RmgrId::Clog, XLOG_TRUNCATE, &[&data]);
    log::flush(lsn);
    XACT.truncate(cutoff)
}

/// Replays a new page.
pub(crate) fn redo_zero_page(page: u32) -> Result<()> {
    let (lock, slot) = XACT.zero_page(XACT.lock(), page)?;
    XACT.write_page(lock, slot)?;
    Ok(())
}

/// Replays a truncation.
pub(crate) fn redo_truncate(cutoff: u32, oldest: Xid) -> Result<()> {
    varsup::advance_oldest_clog_xid(oldest);
    XACT.truncate(cutoff)
}

#[cfg(test)]
mod tests;
