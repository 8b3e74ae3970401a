//! Giving empty pages at the end of a table back to the file system.
//!
//! Needs an AccessExclusive lock, for which it waits 5 s at most: whoever else wants the table is more important.
//!
//! C counterpart: `should_attempt_truncation`, `lazy_truncate_heap`, `count_nondeletable_pages`; `RelationTruncate` of
//! catalog/storage.c.

use std::sync::OnceLock;
use std::time::Duration;

use common::{BlockNumber, ForkNumber, RelFileNode};
use elog::{Result, ereport};
use lmgr::LockMode;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use storage::{ReadMode, freespace, smgr};
use wal::{Record, RmgrId, SPECIAL_REL_UPDATE};

use super::{Vacuum, page_scan};
use crate::table::Table;
use crate::vm;

/// C: `REL_TRUNCATE_MINIMUM`.
const MINIMUM: BlockNumber = 1000;
/// C: `REL_TRUNCATE_FRACTION`.
const FRACTION: BlockNumber = 16;
/// C: `VACUUM_TRUNCATE_LOCK_TIMEOUT` by `VACUUM_TRUNCATE_LOCK_WAIT_INTERVAL`.
const ATTEMPTS: u32 = 100;
const INTERVAL: Duration = Duration::from_millis(50);
/// C: `XLOG_SMGR_TRUNCATE`.
const SMGR_TRUNCATE: u8 = 0x20;
/// C: `SMGR_TRUNCATE_ALL`.
const ALL_FORKS: u32 = 7;

static BEFORE_TRUNCATION: OnceLock<fn(RelFileNode)> = OnceLock::new();

/// Tells who makes other processes forget where the table ended (the layer above, by an invalidation message). Before the
/// first fork; a second call changes nothing. C: `CacheInvalidateSmgr` in `smgrtruncate`.
pub fn set_truncation_hook(hook: fn(RelFileNode)) {
    let _ = BEFORE_TRUNCATION.set(hook);
}

impl Vacuum<'_> {
    /// Worth the lock? C: `should_attempt_truncation`.
    pub(super) fn should_truncate(&self) -> bool {
        let free = self.rel_pages - self.nonempty_pages;
        free > 0 && (free >= MINIMUM || free >= self.rel_pages / FRACTION)
    }

    /// C: `lazy_truncate_heap`.
    pub(super) fn truncate(&mut self, verbose: bool) -> Result<()> {
        let (db, rel) = (self.table.node.db, self.table.oid);
        if !self.lock()? {
            let text = format!("\"{}\": stopping truncate due to conflicting lock request", self.table.name);
            if verbose {
                ereport!(Info, "{text}");
            } else {
                ereport!(Debug2, "{text}");
            }
            return Ok(());
        }
        let result = self.truncate_locked(verbose);
        lmgr::unlock_relation(db, rel, LockMode::AccessExclusive)?;
        result
    }

    fn lock(&self) -> Result<bool> {
        let (db, rel) = (self.table.node.db, self.table.oid);
        for _ in 0..ATTEMPTS {
            if lmgr::conditional_lock_relation(db, rel, LockMode::AccessExclusive)? {
                return Ok(true);
            }
            miscinit::interrupt::check()?;
            latch::wait(Wake::LATCH_OR_DEATH, Some(INTERVAL), WaitEvent::VACUUM_TRUNCATE);
            latch::reset();
        }
        Ok(false)
    }

    fn truncate_locked(&mut self, verbose: bool) -> Result<()> {
        // Grown meanwhile: somebody uses the end.
        if self.table.nblocks()? != self.rel_pages {
            return Ok(());
        }
        let keep = self.count_nondeletable()?;
        if keep >= self.rel_pages {
            return Ok(());
        }
        truncate_relation(self.table, keep)?;
        let text = format!("table \"{}\": truncated {} to {keep} pages", self.table.name, self.rel_pages);
        if verbose {
            ereport!(Info, "{text}");
        } else {
            ereport!(Debug2, "{text}");
        }
        self.rel_pages = keep;
        Ok(())
    }

    /// Looks again from the end: rows may have come between the scan and the lock. C: `count_nondeletable_pages`.
    fn count_nondeletable(&mut self) -> Result<BlockNumber> {
        let mut blocks = self.rel_pages;
        while blocks > self.nonempty_pages {
            miscinit::interrupt::check()?;
            let block = blocks - 1;
            let node = self.table.node;
            let strategy = Some(&self.strategy);
            let pin = storage::read_buffer(node, ForkNumber::Main, block, ReadMode::Normal, strategy)?;
            if !page_scan::has_no_rows(&pin.shared()) {
                break;
            }
            blocks = block;
        }
        Ok(blocks)
    }
}

/// Cuts a table to `blocks`, its maps too, with WAL. The caller holds AccessExclusive. C: `RelationTruncate`.
///
/// # Errors
/// `could not truncate file`. After the record is written an error is a PANIC, as replay would cut the file.
pub fn truncate_relation(table: &Table, blocks: BlockNumber) -> Result<()> {
    let node = table.node;
    table.forget_end();
    // Who locks the table after us must not look for room where there is none any more.
    if let Some(tell) = BEFORE_TRUNCATION.get() {
        tell(node);
    }
    let fsm = freespace::prepare_truncate(node, blocks, table.needs_wal())?;
    let map = vm::prepare_truncate(node, blocks)?;
    let mut forks = vec![(ForkNumber::Main, blocks)];
    forks.extend(fsm.map(|keep| (ForkNumber::Fsm, keep)));
    forks.extend(map.map(|keep| (ForkNumber::VisibilityMap, keep)));
    elog::start_critical_section();
    if table.needs_wal() {
        let main = truncate_record(node, blocks);
        let mut record = Record::new(RmgrId::Smgr, SMGR_TRUNCATE | SPECIAL_REL_UPDATE);
        record.data(&main);
        let lsn = record.insert();
        // The file must not be shorter on disk than WAL says when the server stops here.
        wal::flush(lsn);
    }
    if let Err(error) = smgr::truncate(node, &forks) {
        elog::abort(error);
    }
    elog::end_critical_section();
    if fsm.is_some() {
        freespace::vacuum_range(node, blocks, common::INVALID_BLOCK)?;
    }
    Ok(())
}

/// C: `xl_smgr_truncate`.
fn truncate_record(node: RelFileNode, blocks: BlockNumber) -> [u8; 20] {
    let mut bytes = [0; 20];
    for (at, word) in [blocks, node.spc.0, node.db.0, node.rel.0, ALL_FORKS].into_iter().enumerate() {
        bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
