//! Finding a page with room for a row.
//!
//! Tried in this order: the page that took the last row, a page that the free space map names, the last page, a new
//! page. When several backends want new pages at once, whoever gets the extension lock after waiting adds a batch and
//! lists it in the free space map, so that the queue dissolves.
//!
//! Two heap pages are locked at once only by an update that moves to another page, lower block first (rule H6).
//! The map page of an all-visible page is pinned before the page is locked: reading it may take I/O.
//!
//! C counterpart: access/heap/hio.c.

use common::{BlockNumber, ForkNumber, SqlState};
use elog::{Result, error};
use storage::{Critical, PageWrite, Pin, ReadMode, ReadOptions, Strategy, freespace};

use crate::api::InsertOptions;
use crate::header::{MAX_TUPLE_SIZE, MAX_TUPLES_PER_PAGE, max_align};
use crate::table::Table;
use crate::vm;

/// Pages whose missing space is at most this much count as empty.
const NEARLY_EMPTY: usize = MAX_TUPLE_SIZE - MAX_TUPLES_PER_PAGE / 8 * 4;
/// Most pages that a contended extension adds. C: `RelationAddExtraBlocks`.
const MAX_EXTRA: u32 = 512;

/// Kept between many inserts into one table: the page being filled stays pinned, and the pages may go through a small
/// ring of buffers. C: `BulkInsertStateData`.
pub struct BulkInsert {
    strategy: Option<Strategy>,
    current: Option<Pin>,
}

impl Default for BulkInsert {
    fn default() -> BulkInsert {
        BulkInsert::new()
    }
}

impl BulkInsert {
    /// Through a ring, for loads whose rows nobody reads soon. C: `GetBulkInsertState`.
    pub fn new() -> BulkInsert {
        BulkInsert { strategy: Some(Strategy::bulk_write()), current: None }
    }

    /// Through the whole pool, so that what was inserted is still there and need not be written by who inserts:
    /// INSERT, which has no such state at all in C.
    pub fn without_ring() -> BulkInsert {
        BulkInsert { strategy: None, current: None }
    }

    /// Lets the page go, as before a switch to another table. C: `ReleaseBulkInsertStatePin`.
    pub fn release(&mut self) {
        self.current = None;
    }
}

/// A page with room, locked, and the map page of its bits if these may have to change.
pub(crate) struct Target {
    pub page: PageWrite<'static>,
    pub vm: Option<Pin>,
}

/// 54000 for a row longer than a page.
pub(crate) fn check_size(len: usize) -> Result<()> {
    let len = max_align(len);
    if len > MAX_TUPLE_SIZE {
        return Err(error!(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "row is too big: size {len}, maximum size {MAX_TUPLE_SIZE}"
        ));
    }
    Ok(())
}

/// Room to look for, so that `fillfactor` is kept.
fn wanted(table: &Table, len: usize) -> usize {
    let (len, save) = (max_align(len), table.target_free_space());
    if len + save > NEARLY_EMPTY { len.max(NEARLY_EMPTY) } else { len + save }
}

/// Makes an all-zero page an empty one.
fn init_if_new(page: &mut PageWrite<'_>) {
    if page.is_new() {
        let mut critical = Critical::begin();
        page.modify_unstamped(&mut critical).init(0);
        critical.unlogged();
    }
}

/// Reads a page of the table.
pub(crate) fn read(table: &Table, block: BlockNumber, strategy: Option<&Strategy>) -> Result<Pin> {
    let before = storage::stats::reads();
    let pin = storage::read_buffer(table.node, ForkNumber::Main, block, ReadMode::Normal, strategy)?;
    table.counts.count_block(storage::stats::reads() == before);
    Ok(pin)
}

/// A locked page with room for a row of `len` bytes. C: `RelationGetBufferForTuple`.
///
/// # Errors
/// A row too big, and what reading or extending says.
pub(crate) fn page_for_tuple(
    table: &Table,
    len: usize,
    options: InsertOptions,
    mut bulk: Option<&mut BulkInsert>,
) -> Result<Target> {
    check_size(len)?;
    let wanted = wanted(table, len);
    let use_fsm = !options.skip_fsm;
    let mut next = first_candidate(table, wanted, use_fsm, bulk.as_deref())?;
    loop {
        while let Some(block) = next {
            let pin = bulk_read(table, block, bulk.as_deref_mut())?;
            let target = lock(table, pin, options)?;
            let free = target.page.heap_free_space();
            if wanted <= free {
                table.target_block.set(block);
                return Ok(target);
            }
            drop(target);
            next = None;
            if use_fsm {
                let found = freespace::record_and_get(table.node, block, free, wanted)?;
                next = existing(table, found, wanted)?;
            }
        }
        match extend(table, wanted, use_fsm, bulk.as_deref_mut())? {
            Extended::Found(block) => next = Some(block),
            Extended::New(page) => {
                table.target_block.set(page.block());
                let vm = match options.frozen {
                    true => Some(vm::pin(table, page.block())?),
                    false => None,
                };
                return Ok(Target { page, vm });
            }
        }
    }
}

/// Where to look first.
fn first_candidate(
    table: &Table,
    wanted: usize,
    use_fsm: bool,
    bulk: Option<&BulkInsert>,
) -> Result<Option<BlockNumber>> {
    if let Some(pin) = bulk.and_then(|b| b.current.as_ref()) {
        return Ok(Some(pin.block()));
    }
    let cached = table.target_block.get();
    if cached != common::INVALID_BLOCK {
        return Ok(Some(cached));
    }
    if use_fsm && let Some(block) = with_space(table, wanted)? {
        return Ok(Some(block));
    }
    // Without this a new server would begin a new page for each table's first row.
    Ok(table.nblocks()?.checked_sub(1))
}

/// What the map knows of.
fn with_space(table: &Table, wanted: usize) -> Result<Option<BlockNumber>> {
    existing(table, freespace::get_page_with_free_space(table.node, wanted)?, wanted)
}

/// The map may be on disk where the pages it tells of were lost in a crash: those it forgets, and is asked again.
/// C: `fsm_does_block_exist` of later versions.
fn existing(table: &Table, mut found: Option<BlockNumber>, wanted: usize) -> Result<Option<BlockNumber>> {
    while let Some(block) = found
        && block >= table.nblocks()?
    {
        found = freespace::record_and_get(table.node, block, 0, wanted)?;
    }
    Ok(found)
}

/// C: `ReadBufferBI`.
fn bulk_read(table: &Table, block: BlockNumber, bulk: Option<&mut BulkInsert>) -> Result<Pin> {
    let Some(bulk) = bulk else { return read(table, block, None) };
    if let Some(pin) = bulk.current.as_ref().filter(|pin| pin.block() == block) {
        return Ok(pin.clone());
    }
    bulk.current = None;
    let pin = read(table, block, bulk.strategy.as_ref())?;
    bulk.current = Some(pin.clone());
    Ok(pin)
}

/// Locks a page for an insert, with its map page pinned if it is all-visible. C: `GetVisibilityMapPins`.
fn lock(table: &Table, pin: Pin, options: InsertOptions) -> Result<Target> {
    let block = pin.block();
    let mut vm = None;
    loop {
        let mut page = pin.clone().into_exclusive();
        init_if_new(&mut page);
        let needs_vm = page.all_visible() || options.frozen && page.max_offset() == 0;
        if !needs_vm || vm.is_some() {
            return Ok(Target { page, vm });
        }
        drop(page);
        vm = Some(vm::pin(table, block)?);
    }
}

/// What an attempt to extend came to.
enum Extended {
    New(PageWrite<'static>),
    /// Somebody else has made room meanwhile.
    Found(BlockNumber),
}

/// Adds a page, or several.
fn extend(table: &Table, wanted: usize, use_fsm: bool, bulk: Option<&mut BulkInsert>) -> Result<Extended> {
    let mut waited = 0;
    let guard = match lmgr::conditional_relation_extension_lock(table.node)? {
        Some(guard) => guard,
        None => {
            let guard = lmgr::relation_extension_lock(table.node)?;
            if use_fsm && let Some(block) = with_space(table, wanted)? {
                return Ok(Extended::Found(block));
            }
            waited = lmgr::relation_extension_waiters(table.node);
            guard
        }
    };
    // C: twenty pages for everybody who waits.
    let extra = (waited as u32).saturating_mul(20).min(MAX_EXTRA);
    let strategy = bulk.as_ref().and_then(|b| b.strategy.as_ref());
    let read = ReadOptions { strategy, permanent: table.needs_wal(), ..ReadOptions::default() };
    let mut pages = storage::extend_by(table.node, ForkNumber::Main, extra + 1, read)?.into_iter();
    drop(guard);
    let Some(mut page) = pages.next() else {
        return Err(error!(SqlState::INTERNAL_ERROR, "relation was not extended"));
    };
    let block = page.block();
    if !page.is_new() {
        return Err(error!(
            SqlState::INTERNAL_ERROR,
            "page {block} of relation \"{}\" should be empty but is not", table.name
        ));
    }
    init_if_new(&mut page);
    let others: Vec<Pin> = pages.rev().map(PageWrite::unlock).collect();
    if let Some(bulk) = bulk {
        bulk.release();
        bulk.current = Some(page.pin());
    }
    if !others.is_empty() {
        for pin in others {
            freespace::record_free_space(table.node, pin.block(), NEARLY_EMPTY)?;
        }
        freespace::vacuum_range(table.node, block, block + 1 + extra)?;
    }
    Ok(Extended::New(page))
}

/// The pages of an update that does not fit where the old version is.
pub(crate) struct UpdatePages<'p> {
    pub old: PageWrite<'p>,
    /// Another page than the old one, unless that has room after all.
    pub new: Option<Target>,
}

/// Locks the old version's page and one with room for the new version. C: `RelationGetBufferForTuple` with
/// `otherBuffer`.
///
/// # Errors
/// As [`page_for_tuple`].
pub(crate) fn pages_for_update<'p>(
    table: &Table,
    len: usize,
    old: &'p Pin,
    old_vm: &mut Option<Pin>,
) -> Result<UpdatePages<'p>> {
    check_size(len)?;
    let wanted = wanted(table, len);
    let old_block = old.block();
    let mut next = first_candidate(table, wanted, true, None)?;
    loop {
        let block = match next {
            Some(block) => block,
            None => match extend(table, wanted, true, None)? {
                Extended::Found(block) => block,
                Extended::New(page) => {
                    // Locked again below, in order; somebody may put rows there before us, then we look on.
                    let block = page.block();
                    drop(page);
                    block
                }
            },
        };
        if block == old_block {
            let page = lock_old(table, old, old_vm)?;
            if wanted <= page.heap_free_space() {
                table.target_block.set(block);
                return Ok(UpdatePages { old: page, new: None });
            }
            let free = page.heap_free_space();
            drop(page);
            next = existing(table, freespace::record_and_get(table.node, block, free, wanted)?, wanted)?;
            continue;
        }
        let pin = read(table, block, None)?;
        let (page, mut target) = lock_both(table, old, old_vm, pin)?;
        init_if_new(&mut target.page);
        let free = target.page.heap_free_space();
        if wanted <= free {
            table.target_block.set(block);
            return Ok(UpdatePages { old: page, new: Some(target) });
        }
        drop((page, target));
        next = existing(table, freespace::record_and_get(table.node, block, free, wanted)?, wanted)?;
    }
}

/// The old version's page, locked, with its map page pinned if needed.
pub(crate) fn lock_old<'p>(table: &Table, old: &'p Pin, vm: &mut Option<Pin>) -> Result<PageWrite<'p>> {
    loop {
        let page = old.exclusive();
        if !page.all_visible() || vm::pin_ok(vm.as_ref(), old.block()) {
            return Ok(page);
        }
        drop(page);
        *vm = Some(vm::pin(table, old.block())?);
    }
}

/// Both pages in block order, each with its map page if needed.
fn lock_both<'p>(
    table: &Table,
    old: &'p Pin,
    old_vm: &mut Option<Pin>,
    new: Pin,
) -> Result<(PageWrite<'p>, Target)> {
    let (old_block, new_block) = (old.block(), new.block());
    let mut new_vm = None;
    loop {
        let (old_page, new_page) = if old_block < new_block {
            let old_page = old.exclusive();
            (old_page, new.clone().into_exclusive())
        } else {
            let new_page = new.clone().into_exclusive();
            (old.exclusive(), new_page)
        };
        let old_ok = !old_page.all_visible() || vm::pin_ok(old_vm.as_ref(), old_block);
        let new_ok = !new_page.all_visible() || vm::pin_ok(new_vm.as_ref(), new_block);
        if old_ok && new_ok {
            return Ok((old_page, Target { page: new_page, vm: new_vm }));
        }
        drop((old_page, new_page));
        if !old_ok {
            *old_vm = Some(vm::pin(table, old_block)?);
        }
        if !new_ok {
            new_vm = Some(vm::pin(table, new_block)?);
        }
    }
}
