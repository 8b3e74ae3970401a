//! What redo functions share: finding the page that a record is about.
//!
//! A page may be missing because a later record drops or truncates its relation: that is remembered, and only wrong
//! if replay gets to a consistent state without that later record having come.
//!
//! ```no_run
//! # use storage::{Critical, redo::{self, RedoAction}};
//! # fn example(record: &wal::DecodedRecord<'_>) -> elog::Result<()> {
//! if let RedoAction::NeedsRedo(mut page) = redo::read_for_redo(record, 0)? {
//!     let mut critical = Critical::begin();
//!     page.modify(&mut critical).set_full(true);
//!     critical.redo(record.end_lsn);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - R1  A page is changed by replay only if its LSN is older than the record's end.
//! - R2  No page is missing any more once replay has reached a consistent state.
//!
//! C counterpart: access/transam/xlogutils.c.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use common::{BlockNumber, ForkNumber, Oid, RelFileNode, SqlState};
use elog::{PgError, Result, Severity, ereport, error, pg_error};
use wal::{BlockTag, DecodedBlock, DecodedRecord};

use crate::buffer::{
    PageWrite, Pin, ReadMode, ReadOptions, extend_by, flush_one, is_in_pool, lock_to_overwrite, read_buffer,
    zero_and_lock,
};
use crate::smgr;

/// What a redo function has to do about a page. C: `XLogRedoAction`.
#[derive(Debug)]
pub enum RedoAction<'a> {
    /// Change it, in a section that ends with [`crate::Critical::redo`]. C: `BLK_NEEDS_REDO`.
    NeedsRedo(PageWrite<'a>),
    /// Nothing: it came as an image. C: `BLK_RESTORED`.
    Restored(PageWrite<'a>),
    /// Nothing: it has the change already. C: `BLK_DONE`.
    Done(PageWrite<'a>),
    /// Nothing: it is not there, and will be dropped by a later record. C: `BLK_NOTFOUND`.
    NotFound,
}

impl<'a> RedoAction<'a> {
    /// The page, whatever is to be done about it.
    pub fn page(self) -> Option<PageWrite<'a>> {
        match self {
            RedoAction::NeedsRedo(page) | RedoAction::Restored(page) | RedoAction::Done(page) => Some(page),
            RedoAction::NotFound => None,
        }
    }
}

/// How a page is to be had. C: `ReadBufferMode` in redo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedoMode {
    /// As it is. C: `RBM_NORMAL`.
    Normal,
    /// As zeros: the record makes it anew. C: `RBM_ZERO_AND_LOCK`.
    Zero,
    /// As it is, or as zeros if it makes no sense; made if it is not there. C: `RBM_ZERO_ON_ERROR`.
    ZeroOnError,
}

/// A page of a record, locked exclusively. C: `XLogReadBufferForRedo`.
///
/// # Errors
/// What reading it returns; PANIC if the record has no such block.
pub fn read_for_redo(record: &DecodedRecord<'_>, block_id: u8) -> Result<RedoAction<'static>> {
    read_for_redo_with(record, block_id, RedoMode::Normal, false)
}

/// A page that the record makes anew: zeros, locked exclusively. C: `XLogInitBufferForRedo`.
///
/// # Errors
/// As [`read_for_redo`].
pub fn init_for_redo(record: &DecodedRecord<'_>, block_id: u8) -> Result<PageWrite<'static>> {
    match read_for_redo_with(record, block_id, RedoMode::Zero, false)?.page() {
        Some(page) => Ok(page),
        None => Err(error!(SqlState::INTERNAL_ERROR, "page to be initialized was not found")),
    }
}

/// As [`read_for_redo`]; `cleanup_lock`: with nobody else having a pin. C: `XLogReadBufferForRedoExtended`.
///
/// # Errors
/// As [`read_for_redo`].
pub fn read_for_redo_with(
    record: &DecodedRecord<'_>,
    block_id: u8,
    mode: RedoMode,
    cleanup_lock: bool,
) -> Result<RedoAction<'static>> {
    let Some(block) = record.block(block_id) else {
        return Err(panic(format!("failed to locate backup block with ID {block_id} in WAL record")));
    };
    if block.will_init() != (mode == RedoMode::Zero) {
        return Err(panic(
            if block.will_init() {
                "block with WILL_INIT flag in WAL record must be zeroed by redo routine"
            } else {
                "block to be initialized in redo routine must be marked with WILL_INIT flag in the WAL record"
            }
            .to_string(),
        ));
    }
    if block.apply_image() {
        return restore(record, block, cleanup_lock);
    }
    let tag = block.tag;
    if mode == RedoMode::Zero {
        ensure_block(tag.node, tag.fork, tag.block)?;
        let page = zero_and_lock(tag.node, tag.fork, tag.block, ReadOptions::default())?;
        return Ok(RedoAction::NeedsRedo(page));
    }
    let Some(pin) = read_block(tag.node, tag.fork, tag.block, mode)? else { return Ok(RedoAction::NotFound) };
    let page = lock(pin, cleanup_lock)?;
    // R1
    Ok(if record.end_lsn <= page.lsn() { RedoAction::Done(page) } else { RedoAction::NeedsRedo(page) })
}

fn panic(message: String) -> PgError {
    pg_error!(Panic, SqlState::INTERNAL_ERROR, "{message}")
}

fn lock(pin: Pin, cleanup: bool) -> Result<PageWrite<'static>> {
    if cleanup { pin.into_cleanup() } else { Ok(pin.into_exclusive()) }
}

/// C: the full-page-image branch of `XLogReadBufferForRedoExtended`.
fn restore(
    record: &DecodedRecord<'_>,
    block: &DecodedBlock<'_>,
    cleanup: bool,
) -> Result<RedoAction<'static>> {
    let tag = block.tag;
    ensure_block(tag.node, tag.fork, tag.block)?;
    let mut page = if cleanup {
        let pin = read_buffer(tag.node, tag.fork, tag.block, ReadMode::ZeroOnError, None)?;
        lock(pin, true)?
    } else {
        lock_to_overwrite(tag.node, tag.fork, tag.block, ReadOptions::default())?
    };
    block
        .restore_image(record.lsn, page.page_mut())
        .map_err(|text| error!(SqlState::INTERNAL_ERROR, "{text}"))?;
    if !page.is_new() {
        page.page_mut().set_lsn(record.end_lsn);
    }
    page.mark_dirty();
    if tag.fork == ForkNumber::Init {
        // The main fork is copied from the file at the end of recovery, not from the pool.
        let pin = page.unlock();
        flush_one(&pin)?;
        page = pin.into_exclusive();
    }
    Ok(RedoAction::Restored(page))
}

/// Makes the fork, and pages of zeros up to and including this one, if they are not there.
fn ensure_block(node: RelFileNode, fork: ForkNumber, block: BlockNumber) -> Result<()> {
    if is_in_pool(node, fork, block) {
        return Ok(());
    }
    smgr::create(node, fork, true)?;
    loop {
        let blocks = smgr::nblocks(node, fork)?;
        if block < blocks {
            return Ok(());
        }
        extend_by(node, fork, (block - blocks + 1).min(32), ReadOptions::default())?;
    }
}

/// A page during replay, pinned. `None`, and remembered as invalid, if it is not there or all zeros.
/// C: `XLogReadBufferExtended`.
///
/// # Errors
/// What reading it returns; PANIC after consistency was reached (R2).
pub fn read_block(
    node: RelFileNode,
    fork: ForkNumber,
    block: BlockNumber,
    mode: RedoMode,
) -> Result<Option<Pin>> {
    let tag = BlockTag { node, fork, block };
    if mode != RedoMode::Normal {
        ensure_block(node, fork, block)?;
        return read_buffer(node, fork, block, ReadMode::ZeroOnError, None).map(Some);
    }
    if !is_in_pool(node, fork, block) {
        smgr::create(node, fork, true)?;
        if block >= smgr::nblocks(node, fork)? {
            log_invalid_page(tag, false)?;
            return Ok(None);
        }
    }
    let pin = read_buffer(node, fork, block, ReadMode::Normal, None)?;
    if pin.pinned_page().is_new() {
        log_invalid_page(tag, true)?;
        return Ok(None);
    }
    Ok(Some(pin))
}

thread_local! {
    /// Missing pages, and whether they are there but all zeros. C: `invalid_page_tab`.
    static INVALID: RefCell<BTreeMap<BlockTag, bool>> = const { RefCell::new(BTreeMap::new()) };
    static CONSISTENT: Cell<bool> = const { Cell::new(false) };
}

/// Replay has reached a consistent state: from now on a missing page is a PANIC at once. C: `reachedConsistency`.
pub fn set_reached_consistency(reached: bool) {
    CONSISTENT.set(reached);
}

/// See [`set_reached_consistency`].
pub fn reached_consistency() -> bool {
    CONSISTENT.get()
}

/// C: `report_invalid_page`.
fn report_invalid_page(severity: Severity, tag: &BlockTag, present: bool) {
    let path = tag.node.path(tag.fork);
    let what = if present { "is uninitialized" } else { "does not exist" };
    let text = format!("page {} of relation {path} {what}", tag.block);
    error!(elog::default_sqlstate(severity), "{text}").with_severity(severity).report();
}

/// C: `log_invalid_page`.
fn log_invalid_page(tag: BlockTag, present: bool) -> Result<()> {
    if CONSISTENT.get() {
        report_invalid_page(Severity::Warning, &tag, present);
        report_or_fail(contains_invalid())?;
    }
    if elog::wants(Severity::Debug1) {
        report_invalid_page(Severity::Debug1, &tag, present);
    }
    INVALID.with_borrow_mut(|invalid| *invalid.entry(tag).or_insert(present));
    Ok(())
}

fn contains_invalid() -> PgError {
    let text = "WAL contains references to invalid pages";
    if guc::vars::IGNORE_INVALID_PAGES.get() {
        return pg_error!(Warning, SqlState::INTERNAL_ERROR, "{text}");
    }
    pg_error!(Panic, SqlState::INTERNAL_ERROR, "{text}")
}

fn report_or_fail(error: PgError) -> Result<()> {
    if error.severity == Severity::Warning {
        error.report();
        return Ok(());
    }
    Err(error)
}

fn forget_where(gone: impl Fn(&BlockTag) -> bool) {
    INVALID.with_borrow_mut(|invalid| {
        invalid.retain(|tag, _| {
            let gone = gone(tag);
            if gone {
                let path = tag.node.path(tag.fork);
                ereport!(Debug2, "page {} of relation {path} has been dropped", tag.block);
            }
            !gone
        });
    });
}

/// A record has dropped a fork. C: `XLogDropRelation`.
pub fn forget_relation(node: RelFileNode, fork: ForkNumber) {
    forget_where(|tag| tag.node == node && tag.fork == fork);
}

/// A record has dropped a database. C: `XLogDropDatabase`.
pub fn forget_database(db: Oid) {
    smgr::close_all();
    forget_where(|tag| tag.node.db == db);
}

/// A record has cut a fork to `blocks`. C: `XLogTruncateRelation`.
pub fn forget_truncated(node: RelFileNode, fork: ForkNumber, blocks: BlockNumber) {
    forget_where(|tag| tag.node == node && tag.fork == fork && tag.block >= blocks);
}

/// Whether pages are missing so far. C: `XLogHaveInvalidPages`.
pub fn have_invalid_pages() -> bool {
    INVALID.with_borrow(|invalid| !invalid.is_empty())
}

/// To be called when a consistent state is reached (R2). C: `XLogCheckInvalidPages`.
///
/// # Errors
/// PANIC `WAL contains references to invalid pages`, after a warning for each; with `ignore_invalid_pages` only
/// warnings.
pub fn check_invalid_pages() -> Result<()> {
    let invalid = INVALID.take();
    if invalid.is_empty() {
        return Ok(());
    }
    for (tag, present) in &invalid {
        report_invalid_page(Severity::Warning, tag, *present);
    }
    report_or_fail(contains_invalid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MAIN, World, node, relation};

    #[test]
    fn missing_pages_are_remembered_until_they_are_dropped() {
        let _world = World::with_buffers(32);
        smgr::set_in_redo(true);
        let rel = relation(600, 2);
        assert!(read_block(rel, MAIN, 1, RedoMode::Normal).unwrap().is_some());
        assert!(read_block(rel, MAIN, 5, RedoMode::Normal).unwrap().is_none());
        assert!(read_block(node(601), MAIN, 0, RedoMode::Normal).unwrap().is_none());
        assert!(have_invalid_pages());
        forget_truncated(rel, MAIN, 5);
        forget_relation(node(601), MAIN);
        assert!(!have_invalid_pages());
        check_invalid_pages().unwrap();
        // A page of zeros counts as missing, too; it is made where the record makes it anew.
        assert!(read_block(rel, MAIN, 40, RedoMode::ZeroOnError).unwrap().is_some());
        assert_eq!(smgr::nblocks(rel, MAIN).unwrap(), 41);
        assert!(read_block(rel, MAIN, 40, RedoMode::Normal).unwrap().is_none());
        let error = check_invalid_pages().unwrap_err();
        assert_eq!(error.message, "WAL contains references to invalid pages");
        assert_eq!(error.severity, Severity::Panic);
        set_reached_consistency(true);
        assert!(read_block(rel, MAIN, 39, RedoMode::Normal).is_err());
        set_reached_consistency(false);
        smgr::set_in_redo(false);
    }
}
