//! Which version of a row a snapshot sees, and what became of those that nobody sees any more.
//!
//! Each rule is a pure function over a row's header and what is known of transactions (`Xids`): whether an id
//! is ours, runs, has committed. The server asks `transam` (`Real`); tests answer from a table. A rule that
//! learns a fact for good passes it on as a hint (`Hints`); whether the hint may be stored is decided in one
//! place, `PageHints`.
//!
//! Rows moved by VACUUM FULL before 9.0 (`HEAP_MOVED`) cannot occur and are not looked for.
//!
//! C counterpart: access/heap/heapam_visibility.c.

mod dirty; // 3. what somebody is about to do
mod hints; // 6. what may be written down
mod mvcc; // 1. what a snapshot sees
mod update; // 4. may it be changed now
mod vacuum; // 5. is it garbage
mod xids; // 2. what is known of transactions

use common::{CommandId, ItemPointer, Xid};
use elog::Result;
use transam::{Snapshot, SnapshotKind};

use crate::header::Header;

pub(crate) use dirty::DirtyInfo;
pub(crate) use hints::PageHints;
pub(crate) use mvcc::{CommandView, MvccView, satisfies_mvcc};
pub(crate) use update::satisfies_update;
pub use vacuum::VacuumState;
pub(crate) use vacuum::{is_only_locked, satisfies_vacuum};
pub(crate) use xids::{Real, SnapshotView, Xids, update_xid};

/// Takes note of bits that would save the next reader a lookup. `xid` is the committed transaction that the bit
/// speaks of, invalid if it aborted.
pub(crate) trait Hints {
    fn hint(&mut self, bits: u16, xid: Xid);
}

/// No hints: for rows that are copies.
pub(crate) struct NoHints;

impl Hints for NoHints {
    fn hint(&mut self, _bits: u16, _xid: Xid) {}
}

/// Whether a row of a page is visible to a snapshot of any kind. C: `HeapTupleSatisfiesVisibility`.
pub(crate) fn satisfies(header: Header<'_>, snapshot: &Snapshot, hints: &mut impl Hints) -> Result<bool> {
    match snapshot.kind() {
        SnapshotKind::Mvcc => satisfies_mvcc(header, &SnapshotView::new(snapshot), &Real, hints),
        SnapshotKind::Any => Ok(true),
        SnapshotKind::SelfVisible => dirty::satisfies_self(header, &Real, hints),
        SnapshotKind::Dirty => Ok(dirty::satisfies_dirty(header, &Real, hints)?.is_some()),
        SnapshotKind::NonVacuumable => Ok(satisfies_vacuum(header, &Real, hints)?.0 != VacuumState::Dead),
    }
}

/// As [`satisfies`] for a dirty snapshot, and who is at work on the row. C: `HeapTupleSatisfiesDirty`.
pub(crate) fn dirty_info(header: Header<'_>, hints: &mut impl Hints) -> Result<Option<DirtyInfo>> {
    dirty::satisfies_dirty(header, &Real, hints)
}

/// [`satisfies_update`] with the real transactions.
pub(crate) fn may_update(
    header: Header<'_>,
    tid: ItemPointer,
    curcid: CommandId,
    hints: &mut impl Hints,
) -> Result<crate::TmResult> {
    satisfies_update(header, tid, curcid, &Real, hints)
}

#[cfg(test)]
mod tests;
