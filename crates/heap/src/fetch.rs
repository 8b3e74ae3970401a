//! Reading a row by its address, and following a row through its versions.
//!
//! C counterpart: `heap_fetch`, `heap_get_latest_tid`, `heapam_tuple_lock`.

use common::{CommandId, ItemPointer, SqlState, Xid};
use elog::{Result, error};
use lmgr::WaitOperation;
use storage::PageRead;
use transam::Snapshot;

use crate::api::{LockOutcome, LockTupleMode, TmResult, WaitPolicy};
use crate::header::Header;
use crate::prune_plan::update_xid_of;
use crate::table::Table;
use crate::tuple::Tuple;
use crate::visibility::{self, PageHints, Real, is_only_locked};
use crate::{combocid, hio, waits};

/// Whether there is a row at this line pointer.
fn has_row(page: &PageRead<'_>, tid: ItemPointer) -> bool {
    (1..=page.max_offset()).contains(&tid.offset) && page.item_id(tid.offset).is_normal()
}

/// Whether the snapshot sees the row, with hints stored.
fn visible(page: &PageRead<'_>, tid: ItemPointer, snapshot: &Snapshot) -> Result<bool> {
    let mut hints = PageHints::new(page.lsn());
    let seen = visibility::satisfies(Header(page.item(tid.offset)), snapshot, &mut hints);
    if hints.bits != 0 {
        page.set_hint_bits(waits::infomask_at(page, tid.offset), hints.bits);
    }
    seen
}

/// The row at this address if the snapshot sees it. An address that has no row gives `None`. C: `heap_fetch`.
///
/// # Errors
/// What reading the page says.
pub fn fetch(table: &Table, tid: ItemPointer, snapshot: &Snapshot) -> Result<Option<Tuple>> {
    let pin = hio::read(table, tid.block, None)?;
    let page = pin.shared();
    if !has_row(&page, tid) || !visible(&page, tid, snapshot)? {
        return Ok(None);
    }
    table.counts.count_fetch();
    Ok(Some(Tuple::copy_of(page.item(tid.offset), tid, table.oid)))
}

/// The row with this address (`ctid = '(0,1)'`): as [`fetch`], but an address beyond the table is no error. C:
/// `TidListEval` with `heap_fetch`.
///
/// # Errors
/// What reading the page says.
pub fn fetch_row_version(table: &Table, tid: ItemPointer, snapshot: &Snapshot) -> Result<Option<Tuple>> {
    if tid.offset == 0 || tid.block >= table.nblocks()? {
        return Ok(None);
    }
    fetch(table, tid, snapshot)
}

/// The address of the newest version that the snapshot sees of the row at `tid`; `tid` itself if none is newer. C:
/// `heap_get_latest_tid`.
///
/// # Errors
/// What reading the pages says.
pub fn latest_tid(table: &Table, tid: ItemPointer, snapshot: &Snapshot) -> Result<ItemPointer> {
    let mut latest = tid;
    let mut next = tid;
    let mut prior_xmax = Xid::INVALID;
    loop {
        let pin = hio::read(table, next.block, None)?;
        let page = pin.shared();
        if !has_row(&page, next) {
            return Ok(latest);
        }
        let h = Header(page.item(next.offset));
        if prior_xmax.is_valid() && h.xmin() != prior_xmax {
            return Ok(latest);
        }
        if visible(&page, next, snapshot)? {
            latest = next;
        }
        let end = h.infomask() & crate::header::infomask::XMAX_INVALID != 0
            || is_only_locked(h, &Real)?
            || h.moved_partitions()
            || h.ctid() == next;
        if end {
            return Ok(latest);
        }
        prior_xmax = update_xid_of(h, &Real)?;
        next = h.ctid();
    }
}

/// Locks the row, or its newest version if it was updated meanwhile (`failure.traversed`): what READ COMMITTED does before
/// it looks again whether the row still qualifies. C: `heapam_tuple_lock` with `TUPLE_LOCK_FLAG_FIND_LAST_VERSION`.
///
/// # Errors
/// As [`crate::lock_tuple`]; XX001 for a chain that cannot be.
pub fn lock_last_version(
    table: &Table,
    tid: ItemPointer,
    cid: CommandId,
    mode: LockTupleMode,
    policy: WaitPolicy,
) -> Result<LockOutcome> {
    let mut tid = tid;
    let mut traversed = false;
    loop {
        let mut outcome = crate::lock_tuple(table, tid, cid, mode, policy, true)?;
        outcome.failure.traversed = traversed;
        if outcome.result != TmResult::Updated {
            return Ok(outcome);
        }
        if outcome.failure.ctid == tid {
            outcome.result = TmResult::Deleted;
            return Ok(outcome);
        }
        traversed = true;
        outcome.failure.traversed = true;
        match next_live(table, outcome.failure.ctid, outcome.failure.xmax, cid, policy)? {
            Chain::Live(next) => tid = next,
            Chain::Ended(result, xmax, cmax) => {
                outcome.result = result;
                if result == TmResult::SelfModified {
                    outcome.failure.xmax = xmax;
                    outcome.failure.cmax = cmax;
                }
                return Ok(outcome);
            }
        }
    }
}

enum Chain {
    Live(ItemPointer),
    Ended(TmResult, Xid, CommandId),
}

/// Walks to the version that is live now, waiting for whoever is changing one.
fn next_live(
    table: &Table,
    tid: ItemPointer,
    prior_xmax: Xid,
    cid: CommandId,
    policy: WaitPolicy,
) -> Result<Chain> {
    let ended = |result| Ok(Chain::Ended(result, Xid::INVALID, 0));
    let (mut tid, mut prior_xmax) = (tid, prior_xmax);
    loop {
        if tid == crate::header::MOVED_PARTITIONS {
            return Err(error!(
                SqlState::T_R_SERIALIZATION_FAILURE,
                "tuple to be locked was already moved to another partition due to concurrent update"
            ));
        }
        let pin = hio::read(table, tid.block, None)?;
        let page = pin.shared();
        // A line pointer that is empty, or has another row now: the newest version was deleted and removed.
        if !has_row(&page, tid) || Header(page.item(tid.offset)).xmin() != prior_xmax {
            return ended(TmResult::Deleted);
        }
        let h = Header(page.item(tid.offset));
        let mut hints = PageHints::new(page.lsn());
        let dirty = visibility::dirty_info(h, &mut hints)?;
        if hints.bits != 0 {
            page.set_hint_bits(waits::infomask_at(&page, tid.offset), hints.bits);
        }
        let Some(dirty) = dirty else {
            if h.ctid() == tid {
                return ended(TmResult::Deleted);
            }
            prior_xmax = update_xid_of(h, &Real)?;
            tid = h.ctid();
            continue;
        };
        if dirty.xmin.is_valid() {
            return Err(error!(
                SqlState::DATA_CORRUPTED,
                "t_xmin {} is uncommitted in tuple {tid} to be updated in table \"{}\"",
                dirty.xmin,
                table.name
            ));
        }
        if dirty.xmax.is_valid() {
            drop(page);
            let operation = WaitOperation::FetchUpdated;
            if !waits::wait_for_xid(table, dirty.xmax, tid, operation, policy)? {
                return ended(TmResult::WouldBlock);
            }
            continue;
        }
        if transam::is_current(prior_xmax) && combocid::cmin(h) >= cid {
            return Ok(Chain::Ended(TmResult::SelfModified, prior_xmax, combocid::cmin(h)));
        }
        return Ok(Chain::Live(tid));
    }
}
