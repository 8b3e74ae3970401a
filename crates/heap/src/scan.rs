//! Reading a whole table, page by page.
//!
//! A page is locked once: pruned if it is worth it, then all its line pointers are checked and the visible ones noted.
//! After that only the pin is kept, and rows are handed out where they lie: a pin keeps rows from being moved, and a
//! row's data never changes. An all-visible page needs no checks at all. A table bigger than a quarter of the
//! buffer pool goes through a small ring of buffers.
//!
//! C counterpart: `heap_beginscan`, `heapgetpage`, `heapgettup_pagemode`, `heap_getnextslot`.

use std::rc::Rc;

use common::{BlockNumber, ItemPointer, OffsetNumber};
use elog::Result;
use storage::{PageRead, Pin, Strategy};
use transam::{Snapshot, SnapshotKind};

use crate::header::{Header, MAX_TUPLES_PER_PAGE};
use crate::table::Table;
use crate::tuple::TupleView;
use crate::visibility::{self, PageHints, Real, SnapshotView, satisfies_mvcc};
use crate::{hio, prune, waits};

/// How to scan.
#[derive(Clone, Copy, Debug)]
pub struct ScanOptions {
    /// A big table goes through a small ring of buffers. C: `SO_ALLOW_STRAT`.
    pub allow_ring: bool,
    /// Counts in the statistics: not for catalogs' own scans and ANALYZE.
    pub count: bool,
}

impl Default for ScanOptions {
    fn default() -> ScanOptions {
        ScanOptions { allow_ring: true, count: true }
    }
}

/// A sequential scan. C: `HeapScanDesc`.
pub struct Scan {
    table: Rc<Table>,
    snapshot: Snapshot,
    options: ScanOptions,
    strategy: Option<Strategy>,
    /// Blocks that the table had at the beginning: later ones have nothing that the snapshot sees.
    blocks: BlockNumber,
    next_block: BlockNumber,
    pin: Option<Pin>,
    /// Visible rows of the pinned page; `next` counts through the first `found`.
    visible: Box<[OffsetNumber; MAX_TUPLES_PER_PAGE]>,
    found: usize,
    next: usize,
}

impl Scan {
    /// Begins a scan. The caller holds a lock on the table and keeps the snapshot registered. C: `heap_beginscan`.
    ///
    /// # Errors
    /// What finding out the table's length says.
    pub fn begin(table: &Rc<Table>, snapshot: Snapshot, options: ScanOptions) -> Result<Scan> {
        let mut scan = Scan {
            table: Rc::clone(table),
            snapshot,
            options,
            strategy: None,
            blocks: 0,
            next_block: 0,
            pin: None,
            visible: Box::new([0; MAX_TUPLES_PER_PAGE]),
            found: 0,
            next: 0,
        };
        scan.rescan()?;
        Ok(scan)
    }

    /// Begins again from the first row. C: `heap_rescan`.
    ///
    /// # Errors
    /// What finding out the table's length says.
    pub fn rescan(&mut self) -> Result<()> {
        self.uncount_rest();
        self.blocks = self.table.nblocks()?;
        let big = self.options.allow_ring && self.blocks > storage::buffer_count() / 4;
        match big {
            false => self.strategy = None,
            true if self.strategy.is_none() => self.strategy = Some(Strategy::bulk_read()),
            true => {}
        }
        self.next_block = 0;
        self.pin = None;
        (self.found, self.next) = (0, 0);
        if self.options.count {
            self.table.counts.count_seq_scan();
        }
        Ok(())
    }

    /// The next visible row; it stays where it is until the next call. C: `heap_getnextslot`.
    ///
    /// # Errors
    /// What reading a page says, and cancellation.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "the row borrows from the scan")]
    pub fn next(&mut self) -> Result<Option<TupleView<'_>>> {
        while self.next >= self.found {
            if !self.next_page()? {
                return Ok(None);
            }
        }
        let offset = self.visible[self.next];
        self.next += 1;
        let Some(pin) = &self.pin else { return Ok(None) };
        let tid = ItemPointer::new(self.next_block - 1, offset);
        Ok(Some(TupleView { bytes: pin.pinned_page().item(offset), tid, table_oid: self.table.oid }))
    }

    /// Number of rows that are left, without looking at them: what `count(*)` needs.
    ///
    /// # Errors
    /// As [`Scan::next`].
    pub fn count_remaining(&mut self) -> Result<u64> {
        let mut rows = (self.found - self.next) as u64;
        while self.next_page()? {
            rows += self.found as u64;
        }
        self.next = self.found;
        Ok(rows)
    }

    /// Rows are counted a page at a time: those that nobody asked for are none.
    fn uncount_rest(&self) {
        if self.options.count {
            self.table.counts.count_read(self.next as i64 - self.found as i64);
        }
    }

    /// Blocks of the table, and how many have been read.
    pub fn progress(&self) -> (BlockNumber, BlockNumber) {
        (self.blocks, self.next_block)
    }

    /// Goes to the next page and notes its visible rows. False at the end. C: `heapgetpage`.
    fn next_page(&mut self) -> Result<bool> {
        self.pin = None;
        (self.found, self.next) = (0, 0);
        if self.next_block >= self.blocks {
            return Ok(false);
        }
        miscinit::interrupt::check()?;
        let block = self.next_block;
        let pin = hio::read(&self.table, block, self.strategy.as_ref())?;
        self.next_block += 1;
        prune::prune_opt(&self.table, &pin)?;
        let page = pin.shared();
        self.found = collect(&page, &self.snapshot, &mut self.visible)?;
        drop(page);
        self.pin = Some(pin);
        if self.options.count {
            self.table.counts.count_read(self.found as i64);
        }
        Ok(true)
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.uncount_rest();
    }
}

/// Writes the offsets of the visible rows of a page into `visible`; their number.
fn collect(
    page: &PageRead<'_>,
    snapshot: &Snapshot,
    visible: &mut [OffsetNumber; MAX_TUPLES_PER_PAGE],
) -> Result<usize> {
    // On a standby a page can be all-visible to the primary's snapshots only.
    let all_visible = page.all_visible() && !snapshot.taken_during_recovery();
    let last = page.max_offset().min(MAX_TUPLES_PER_PAGE as u16);
    let mut found = 0;
    if all_visible {
        for offset in 1..=last {
            visible[found] = offset;
            found += usize::from(page.item_id(offset).is_normal());
        }
        return Ok(found);
    }
    let view = SnapshotView::new(snapshot);
    let is_mvcc = snapshot.kind() == SnapshotKind::Mvcc;
    let lsn = page.lsn();
    for offset in 1..=last {
        let id = page.item_id(offset);
        if !id.is_normal() {
            continue;
        }
        let header = Header(page.item_at(id));
        let mut hints = PageHints::new(lsn);
        let seen = match is_mvcc {
            true => satisfies_mvcc(header, &view, &Real, &mut hints)?,
            false => visibility::satisfies(header, snapshot, &mut hints)?,
        };
        if hints.bits != 0 {
            page.set_hint_bits(waits::infomask_at(page, offset), hints.bits);
        }
        visible[found] = offset;
        found += usize::from(seen);
    }
    Ok(found)
}
