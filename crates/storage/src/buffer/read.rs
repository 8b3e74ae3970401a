//! From "I want block 7" to a pinned buffer that holds it.
//!
//! A hit costs no lock: the hash chain is walked as it is, the candidate pinned, and its tag looked at again (B3).
//! Only if that fails is the partition locked.
//!
//! C counterpart: `ReadBufferExtended`, `ReadBuffer_common`, `BufferAlloc`.

use std::time::Instant;

use common::{BlockNumber, ForkNumber, INVALID_BLOCK, RelFileNode, SqlState};
use elog::{Result, error, pg_error};
use page::{Page, PageState};

use super::desc::{self, Tag, USAGE_ONE, bm, refcount};
use super::guard::{PageWrite, Pin};
use super::io::{self, Io, Purpose};
use super::strategy::{self, Strategy};
use super::{private, table};
use crate::buffer::checkpoint;
use crate::stats::{self, Counter};
use crate::{smgr, walio};

/// Pages that are added at once at most: each is locked.
const MAX_EXTEND: u32 = 64;

/// What to do with a page that is not in the pool. C: `ReadBufferMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Read it; a page that makes no sense is an error. C: `RBM_NORMAL`.
    Normal,
    /// Don't read it: the caller overwrites it as a whole. The page comes zeroed, also if it was in the pool. It is
    /// not locked; where others may look at it, use [`zero_and_lock`]. C: `RBM_ZERO_AND_LOCK`.
    ZeroAndLock,
    /// Read it; a page that makes no sense comes as zeros. C: `RBM_ZERO_ON_ERROR`.
    ZeroOnError,
}

/// What is unusual about a read.
#[derive(Clone, Copy)]
pub struct ReadOptions<'a> {
    /// See [`ReadMode`].
    pub mode: ReadMode,
    /// A ring.
    pub strategy: Option<&'a Strategy>,
    /// False for an unlogged relation: no WAL need be flushed for its pages, and checkpoints leave them alone.
    pub permanent: bool,
}

impl Default for ReadOptions<'_> {
    fn default() -> Self {
        ReadOptions { mode: ReadMode::Normal, strategy: None, permanent: true }
    }
}

/// A page of a permanent relation, pinned. C: `ReadBufferExtended`.
///
/// # Errors
/// What [`smgr::read`] returns; XX001 `invalid page in block`; `no unpinned buffers available`; what writing out
/// another page returns.
#[inline]
pub fn read_buffer(
    node: RelFileNode,
    fork: ForkNumber,
    block: BlockNumber,
    mode: ReadMode,
    strategy: Option<&Strategy>,
) -> Result<Pin> {
    read_buffer_with(node, fork, block, ReadOptions { mode, strategy, permanent: true })
}

/// As [`read_buffer`], also for unlogged relations.
///
/// # Errors
/// As [`read_buffer`].
#[inline]
pub fn read_buffer_with(
    node: RelFileNode,
    fork: ForkNumber,
    block: BlockNumber,
    options: ReadOptions<'_>,
) -> Result<Pin> {
    let tag = Tag { node, fork, block };
    let hash = tag.hash();
    if let Some(buffer) = pin_if_there(&tag, hash, options.strategy.is_some())
        && options.mode != ReadMode::ZeroAndLock
    {
        stats::count(Counter::Hit);
        return Ok(Pin::adopt(buffer));
    }
    read_slow(&tag, hash, options)
}

/// B3. `None` means "ask again under the lock".
#[inline]
fn pin_if_there(tag: &Tag, hash: u32, in_ring: bool) -> Option<u32> {
    let buffer = table::candidate(tag, hash)?;
    let desc = desc::desc(buffer);
    // Ours already: its tag cannot have changed between the walk and now, nor while we hold it.
    let state = private::pin(buffer, in_ring)
        .unwrap_or_else(|| desc.state.load(std::sync::atomic::Ordering::Acquire));
    const WANTED: u32 = bm::TAG_VALID | bm::VALID;
    if state & WANTED == WANTED && desc.has_tag(tag) {
        return Some(buffer);
    }
    private::unpin(buffer);
    None
}

#[cold]
fn read_slow(tag: &Tag, hash: u32, options: ReadOptions<'_>) -> Result<Pin> {
    if tag.block == INVALID_BLOCK {
        return Err(error!(SqlState::INTERNAL_ERROR, "cannot read block {INVALID_BLOCK}"));
    }
    let pin = allocate(tag, hash, options)?;
    let zero = options.mode == ReadMode::ZeroAndLock;
    let Some(io) = Io::start(pin.buffer_id(), Purpose::Read) else {
        // In the pool after all, or somebody has read it meanwhile.
        stats::count(Counter::Hit);
        if zero {
            pin.exclusive().page_mut().bytes_mut().fill(0);
        }
        return Ok(pin);
    };
    // SAFETY: a pinned buffer that is not valid, with its I/O in progress by us: nobody else looks at the page.
    let page = unsafe { &mut *desc::page_ptr(pin.buffer_id()) };
    if zero {
        page.bytes_mut().fill(0);
    } else {
        read_from_file(tag, options.mode, page)?;
    }
    io.finish(false, bm::VALID);
    Ok(pin)
}

fn read_from_file(tag: &Tag, mode: ReadMode, page: &mut Page) -> Result<()> {
    let began = guc::vars::TRACK_IO_TIMING.get().then(Instant::now);
    smgr::read(tag.node, tag.fork, tag.block, page)?;
    if let Some(began) = began {
        stats::add(Counter::ReadNanos, began.elapsed().as_nanos() as u64);
    }
    stats::count(Counter::Read);
    match page.verify(tag.block, guc::vars::DATA_CHECKSUMS.get()) {
        PageState::Ok => Ok(()),
        state => damaged(tag, mode, page, state),
    }
}

/// C: the reports of `PageIsVerifiedExtended` and `ReadBuffer_common`.
#[cold]
fn damaged(tag: &Tag, mode: ReadMode, page: &mut Page, state: PageState) -> Result<()> {
    if let PageState::BadChecksum { computed, stored, header_ok } = state {
        pg_error!(
            Warning,
            SqlState::DATA_CORRUPTED,
            "page verification failed, calculated checksum {computed} but expected {stored}"
        )
        .report();
        if header_ok && guc::vars::IGNORE_CHECKSUM_FAILURE.get() {
            return Ok(());
        }
    }
    let path = tag.node.path(tag.fork);
    let invalid = format!("invalid page in block {} of relation {path}", tag.block);
    if mode == ReadMode::ZeroOnError || guc::vars::ZERO_DAMAGED_PAGES.get() {
        pg_error!(Warning, SqlState::DATA_CORRUPTED, "{invalid}; zeroing out page").report();
        page.bytes_mut().fill(0);
        return Ok(());
    }
    Err(error!(SqlState::DATA_CORRUPTED, "{invalid}"))
}

/// A pinned buffer with this tag; its content may still have to be read. C: `BufferAlloc`.
fn allocate(tag: &Tag, hash: u32, options: ReadOptions<'_>) -> Result<Pin> {
    let in_ring = options.strategy.is_some();
    {
        let _lock = table::lock_shared(hash);
        if let Some(buffer) = table::lookup(tag, hash) {
            private::pin(buffer, in_ring);
            return Ok(Pin::adopt(buffer));
        }
    }
    let victim = find_victim(options.strategy)?;
    let lock = table::lock_exclusive(hash);
    if let Some(buffer) = table::lookup(tag, hash) {
        // Somebody was faster; the victim is of no use now, but of use to the next who looks for one.
        private::pin(buffer, in_ring);
        drop(lock);
        let free = victim.buffer_id();
        drop(victim);
        strategy::free(free);
        return Ok(Pin::adopt(buffer));
    }
    let desc = desc::desc(victim.buffer_id());
    let state = desc.lock();
    desc.set_tag(tag);
    let permanent = options.permanent || tag.fork == ForkNumber::Init;
    let flags = bm::TAG_VALID | if permanent { bm::PERMANENT } else { 0 };
    desc.unlock(state | flags | USAGE_ONE);
    table::insert(&lock, hash, victim.buffer_id());
    Ok(victim)
}

/// A pinned buffer without tag or content: written out and taken from the table if it had any. C: the loop of
/// `BufferAlloc`, `GetVictimBuffer`.
fn find_victim(strategy: Option<&Strategy>) -> Result<Pin> {
    loop {
        let (buffer, state) = strategy::victim(strategy)?;
        private::pin_locked(buffer, state);
        let pin = Pin::adopt(buffer);
        if state & bm::DIRTY != 0 && !write_victim(&pin, strategy)? {
            continue;
        }
        if state & bm::TAG_VALID == 0 || invalidate_victim(buffer) {
            return Ok(pin);
        }
    }
}

/// False if it is better to look for another one.
fn write_victim(pin: &Pin, strategy: Option<&Strategy>) -> Result<bool> {
    let buffer = pin.buffer_id();
    // Whoever holds the content lock may wait for something that we hold: never wait here.
    let Some(_content) = desc::desc(buffer).content.try_shared() else { return Ok(false) };
    if let Some(strategy) = strategy
        && walio::needs_flush(io::lsn_atomic(buffer))
        && strategy.reject(buffer)
    {
        return Ok(false);
    }
    io::flush(buffer)?;
    checkpoint::backend_writeback(desc::desc(buffer).tag());
    Ok(true)
}

/// Takes a clean buffer that only we have pinned out of the table. False if it is in use again. C:
/// `InvalidateVictimBuffer`.
fn invalidate_victim(buffer: u32) -> bool {
    let desc = desc::desc(buffer);
    let hash = desc.tag().hash(); // B1
    let lock = table::lock_exclusive(hash);
    let state = desc.lock();
    if refcount(state) != 1 || state & bm::DIRTY != 0 {
        desc.unlock(state);
        return false;
    }
    // Out of the chain before the tag goes: a walk under the lock must not miss other members (B2).
    desc.unlock(private::forgotten(state) | refcount(state));
    table::delete(&lock, hash, buffer);
    let state = desc.lock();
    desc.clear_tag();
    desc.unlock(state);
    true
}

/// As dropping a page that nobody has pinned does it. The caller holds the header lock and the partition's.
pub(crate) fn discard(lock: &shmem::ExclusiveGuard<'_, ()>, hash: u32, buffer: u32, state: u32) {
    let desc = desc::desc(buffer);
    table::delete(lock, hash, buffer);
    desc.clear_tag();
    desc.unlock(private::forgotten(state));
    strategy::free(buffer);
}

/// The partition's lock of a page.
pub(crate) fn lock_partition(hash: u32) -> shmem::ExclusiveGuard<'static, ()> {
    table::lock_exclusive(hash)
}

/// A page that is overwritten as a whole: zeroed and locked exclusively, never read from the file. Replay, new
/// pages of a hash index. C: `RBM_ZERO_AND_LOCK`.
///
/// # Errors
/// As [`read_buffer`].
pub fn zero_and_lock(
    node: RelFileNode,
    fork: ForkNumber,
    block: BlockNumber,
    options: ReadOptions<'_>,
) -> Result<PageWrite<'static>> {
    let mut write = lock_to_overwrite(node, fork, block, options)?;
    write.page_mut().bytes_mut().fill(0);
    Ok(write)
}

/// As [`zero_and_lock`], but a page that is in the pool stays as it is until its image is copied over it: a scan that has
/// pinned it looks at rows without the lock, and what it looks at is the same in the image.
///
/// # Errors
/// As [`read_buffer`].
pub(crate) fn lock_to_overwrite(
    node: RelFileNode,
    fork: ForkNumber,
    block: BlockNumber,
    options: ReadOptions<'_>,
) -> Result<PageWrite<'static>> {
    let tag = Tag { node, fork, block };
    let pin = allocate(&tag, tag.hash(), options)?;
    let buffer = pin.buffer_id();
    if let Some(io) = Io::start(buffer, Purpose::Read) {
        // Locked before anybody can see it as valid.
        let mut write = pin.into_exclusive();
        write.page_mut().bytes_mut().fill(0);
        io.finish(false, bm::VALID);
        return Ok(write);
    }
    Ok(pin.into_exclusive())
}

/// Adds a page of zeros to a permanent relation: pinned, locked exclusively, not yet dirty. The caller holds the
/// relation's extension lock. C: `ReadBufferExtended(P_NEW)`.
///
/// # Errors
/// `could not extend file`, and as [`read_buffer`].
pub fn extend(
    node: RelFileNode,
    fork: ForkNumber,
    strategy: Option<&Strategy>,
) -> Result<PageWrite<'static>> {
    let mut pages = extend_by(node, fork, 1, ReadOptions { strategy, ..ReadOptions::default() })?;
    pages.pop().ok_or_else(|| error!(SqlState::INTERNAL_ERROR, "relation was not extended"))
}

/// Adds up to `count` pages of zeros with one write: all pinned and locked exclusively, in order. Fewer than asked for
/// (but at least one) if so many would be too many for the pool. The caller holds the relation's extension lock. C: `ExtendBufferedRelBy` of later versions.
///
/// # Errors
/// As [`extend`].
pub fn extend_by(
    node: RelFileNode,
    fork: ForkNumber,
    count: u32,
    options: ReadOptions<'_>,
) -> Result<Vec<PageWrite<'static>>> {
    let count = count.min(desc::count() / 8).clamp(1, MAX_EXTEND);
    let first = smgr::nblocks(node, fork)?;
    let last = first.checked_add(count).filter(|end| *end < INVALID_BLOCK);
    if last.is_none() {
        let path = node.path(fork);
        return Err(error!(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "cannot extend relation {path} beyond {INVALID_BLOCK} blocks"
        ));
    }
    // Buffers first, so that a pool that is full of pins leaves no pages behind that nobody knows of.
    let mut reserved = Vec::with_capacity(count as usize);
    for block in first..first + count {
        let tag = Tag { node, fork, block };
        let pin = allocate(&tag, tag.hash(), options)?;
        check_beyond_end(&pin, &tag)?;
        let Some(io) = Io::start(pin.buffer_id(), Purpose::Read) else {
            return Err(unexpected_data(&tag));
        };
        // In this order: should this fail half-way, the I/O ends before the pin goes.
        reserved.push((io, pin));
    }
    smgr::zero_extend(node, fork, first, count)?;
    stats::add(Counter::Extended, u64::from(count));
    let mut pages = Vec::with_capacity(count as usize);
    for (io, pin) in reserved {
        let mut write = pin.into_exclusive();
        write.page_mut().bytes_mut().fill(0);
        io.finish(false, bm::VALID);
        pages.push(write);
    }
    Ok(pages)
}

/// A valid buffer beyond the end of the file: left behind by a failed extension if it is new, else the kernel lied
/// about the file's length.
fn check_beyond_end(pin: &Pin, tag: &Tag) -> Result<()> {
    let desc = desc::desc(pin.buffer_id());
    let state = desc.lock();
    if state & bm::VALID == 0 {
        desc.unlock(state);
        return Ok(());
    }
    // SAFETY: valid, pinned; only the header is looked at.
    if !unsafe { io::page(pin.buffer_id()) }.is_new() {
        desc.unlock(state);
        return Err(unexpected_data(tag));
    }
    desc.unlock(state & !bm::VALID);
    Ok(())
}

fn unexpected_data(tag: &Tag) -> elog::PgError {
    let path = tag.node.path(tag.fork);
    error!(SqlState::INTERNAL_ERROR, "unexpected data beyond EOF in block {} of relation {path}", tag.block)
        .hint("This has been seen to occur with buggy kernels; consider updating your system.")
}

/// Has the kernel read a page ahead that is not in the pool. C: `PrefetchBuffer`.
///
/// # Errors
/// `could not open file`.
pub fn prefetch(node: RelFileNode, fork: ForkNumber, block: BlockNumber) -> Result<()> {
    let tag = Tag { node, fork, block };
    if table::candidate(&tag, tag.hash()).is_none() {
        smgr::prefetch(node, fork, block)?;
    }
    Ok(())
}

/// Whether the pool probably holds the page at this moment: then it is not beyond the end of its fork, as long as the
/// caller keeps others from truncating it. Saves asking the file system.
pub(crate) fn is_in_pool(node: RelFileNode, fork: ForkNumber, block: BlockNumber) -> bool {
    let tag = Tag { node, fork, block };
    match pin_if_there(&tag, tag.hash(), true) {
        Some(buffer) => {
            private::unpin(buffer);
            true
        }
        None => false,
    }
}
