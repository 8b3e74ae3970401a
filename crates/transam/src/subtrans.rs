//! The parent of each subtransaction's id, in `pg_subtrans`: 4 bytes per id.
//!
//! Only needed while the ids run, so that nothing of it survives a crash and nothing is logged.
//!
//! - **U1** A parent's id is older than its child's: following parents ends.
//!
//! C counterpart: access/transam/subtrans.c.

use common::{SqlState, Xid};
use elog::{Result, error};
use shmem::{Reservation, tranche};

use crate::slru::{Config, Slru};
use crate::snapshot;

/// Ids per page. C: `SUBTRANS_XACTS_PER_PAGE`.
const XACTS_PER_PAGE: u32 = 2048;

static SUBTRANS: Slru = Slru::new(
    "Subtrans",
    Config {
        dir: "pg_subtrans",
        durable: false,
        lsns_per_page: 0,
        precedes: page_precedes,
        control_tranche: tranche::SUBTRANS_SLRU,
        io_tranche: tranche::SUBTRANS_BUFFER,
    },
);

fn page_of(xid: Xid) -> u32 {
    xid.0 / XACTS_PER_PAGE
}

/// C: `SubTransPagePrecedes`.
fn page_precedes(a: u32, b: u32) -> bool {
    crate::slru_page_precedes(a, b, XACTS_PER_PAGE)
}

pub(crate) fn reserve(r: &mut Reservation) {
    SUBTRANS.reserve(r, 32);
}

/// Notes the parent of an id that was just given out. C: `SubTransSetParent`.
pub(crate) fn set_parent(xid: Xid, parent: Xid) -> Result<()> {
    let (mut lock, slot) = SUBTRANS.read_page(SUBTRANS.lock(), page_of(xid), true, xid.0)?;
    let (page, word) = (SUBTRANS.page(&lock, slot), (xid.0 % XACTS_PER_PAGE) as usize);
    // Recovery may set it twice.
    if page.get(word) != parent.0 {
        page.set(word, parent.0);
        SUBTRANS.set_dirty(&mut lock, slot);
    }
    Ok(())
}

/// The parent of an id; invalid for a top transaction. Only for ids that may still run. C: `SubTransGetParent`.
///
/// # Errors
/// "could not access status of transaction".
pub fn parent(xid: Xid) -> Result<Xid> {
    if !xid.is_normal() {
        return Ok(Xid::INVALID);
    }
    SUBTRANS.look(page_of(xid), xid.0, |page, _| Xid(page.get((xid.0 % XACTS_PER_PAGE) as usize)))
}

/// The top transaction of an id, or the oldest ancestor that may still run. C: `SubTransGetTopmostTransaction`.
///
/// # Errors
/// As [`parent`]; XX000 if U1 does not hold.
pub fn topmost(xid: Xid) -> Result<Xid> {
    let (mut previous, mut current) = (xid, xid);
    while current.is_valid() {
        previous = current;
        if current.precedes(snapshot::transaction_xmin()) {
            break;
        }
        current = parent(current)?;
        if current.is_valid() && !current.precedes(previous) {
            return Err(error!(
                SqlState::INTERNAL_ERROR,
                "pg_subtrans contains invalid entry: xid {previous} points to parent xid {current}"
            ));
        }
    }
    Ok(previous)
}

/// Makes the page of an id that is about to be given out. The caller holds XidGenLock. C: `ExtendSUBTRANS`.
pub(crate) fn extend(newest: Xid) -> Result<()> {
    if newest.0.is_multiple_of(XACTS_PER_PAGE) || newest == Xid::FIRST_NORMAL {
        SUBTRANS.zero_page(SUBTRANS.lock(), page_of(newest))?;
    }
    Ok(())
}

/// After redo: fresh pages from the oldest running id (prepared transactions) to the next. C: `StartupSUBTRANS`.
pub(crate) fn startup(oldest_active: Xid, next: Xid) -> Result<()> {
    let (mut page, end) = (page_of(oldest_active), page_of(next));
    let mut lock = SUBTRANS.lock();
    loop {
        (lock, _) = SUBTRANS.zero_page(lock, page)?;
        if page == end {
            return Ok(());
        }
        page = if page == page_of(Xid(u32::MAX)) { 0 } else { page + 1 };
    }
}

/// Not needed for a crash; keeps most of the writing away from sessions. C: `CheckPointSUBTRANS`.
pub(crate) fn checkpoint() -> Result<()> {
    SUBTRANS.write_all(false)
}

/// Removes what nobody can ask for: ids before `oldest`. After each checkpoint. C: `TruncateSUBTRANS`.
pub(crate) fn truncate(oldest: Xid) -> Result<()> {
    // One back: at the first id of a page, the page itself may not have been made yet.
    SUBTRANS.truncate(page_of(oldest.previous()))
}
