//! Reading a page into a buffer and writing it out, one process at a time.
//!
//! - W1  A page goes to disk only after WAL has been flushed up to the page's LSN. Held by: [`flush`].
//! - B5  While `IO_IN_PROGRESS` is set, the process that set it holds the buffer's I/O lock; who must wait for
//!   the end takes that lock shared.
//!
//! C counterpart: `StartBufferIO`, `TerminateBufferIO`, `WaitIO`, `FlushBuffer`.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::Instant;

use common::SqlState;
use elog::{Result, pg_error};
use page::Page;
use shmem::ExclusiveGuard;

use super::desc::{self, Tag, bm};
use crate::stats::{self, Counter};
use crate::{smgr, walio};

/// The right to do a buffer's I/O. Dropped without [`Io::finish`] it marks the buffer as failed.
pub(crate) struct Io {
    buffer: u32,
    lock: Option<ExclusiveGuard<'static, ()>>,
}

/// Why I/O is started.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Purpose {
    Read,
    Write,
}

impl Io {
    /// Waits until nobody else does I/O on this pinned buffer. `None` if then there is nothing left to do: somebody
    /// has read it, or written it. C: `StartBufferIO`.
    pub(crate) fn start(buffer: u32, purpose: Purpose) -> Option<Io> {
        let lock = desc::io_lock(buffer).exclusive();
        let desc = desc::desc(buffer);
        let state = desc.lock();
        let done = match purpose {
            Purpose::Read => state & bm::VALID != 0,
            Purpose::Write => state & bm::DIRTY == 0,
        };
        if done {
            desc.unlock(state);
            return None;
        }
        desc.unlock(state | bm::IO_IN_PROGRESS);
        Some(Io { buffer, lock: Some(lock) })
    }

    /// It worked. `clear_dirty`: the page on disk is the one in memory, unless it was dirtied again meanwhile.
    /// C: `TerminateBufferIO`.
    pub(crate) fn finish(mut self, clear_dirty: bool, set: u32) {
        self.terminate(clear_dirty, set);
    }

    fn terminate(&mut self, clear_dirty: bool, set: u32) {
        let Some(lock) = self.lock.take() else { return };
        let desc = desc::desc(self.buffer);
        let mut state = desc.lock() & !(bm::IO_IN_PROGRESS | bm::IO_ERROR);
        if clear_dirty && state & bm::JUST_DIRTIED == 0 {
            state &= !(bm::DIRTY | bm::CHECKPOINT_NEEDED);
        }
        desc.unlock(state | set);
        drop(lock);
    }
}

impl Drop for Io {
    /// C: `AbortBufferIO`.
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        let desc = desc::desc(self.buffer);
        let state = desc.state.load(Ordering::Relaxed);
        if state & bm::VALID != 0 && state & bm::IO_ERROR != 0 {
            let tag = desc.tag();
            let path = tag.node.path(tag.fork);
            pg_error!(Warning, SqlState::IO_ERROR, "could not write block {} of {path}", tag.block)
                .detail("Multiple failures --- write error might be permanent.")
                .report();
        }
        self.terminate(false, bm::IO_ERROR);
    }
}

/// Waits for I/O that somebody else does. C: `WaitIO`.
pub(crate) fn wait(buffer: u32) {
    while desc::desc(buffer).state.load(Ordering::Acquire) & bm::IO_IN_PROGRESS != 0 {
        drop(desc::io_lock(buffer).shared());
    }
}

/// The page of a buffer that the caller has pinned and whose content lock it holds in some mode.
///
/// # Safety
/// The content lock is held by this process while the reference lives (or nobody else can see the buffer yet).
#[inline]
pub(crate) unsafe fn page<'a>(buffer: u32) -> &'a Page {
    // SAFETY: the frame is mapped for the life of the process and holds 8192 initialised bytes. Others may set hint
    // bits in it at the same time; every value they can leave behind is one this reader may see.
    unsafe { &*desc::page_ptr(buffer) }
}

/// LSN of a page that others may be setting, with the page only locked shared: under the header lock, which is
/// also held by who stamps a hint's LSN. C: `BufferGetLSNAtomic`.
pub(crate) fn lsn_atomic(buffer: u32) -> common::Lsn {
    let desc = desc::desc(buffer);
    let state = desc.lock();
    // SAFETY: pinned by the caller; only the eight bytes of the LSN are read, under the lock that guards them.
    let lsn = unsafe { page(buffer) }.lsn();
    desc.unlock(state);
    lsn
}

thread_local! {
    /// Where a page gets its checksum: hint bits of the page itself may still change. C: `PageSetChecksumCopy`.
    static COPY: RefCell<Box<Page>> = RefCell::new(Page::zeroed());
}

/// Writes a dirty buffer, pinned and content-locked (shared is enough) by the caller. Does nothing if somebody
/// else just did. C: `FlushBuffer`.
///
/// # Errors
/// `could not write block`; an LSN beyond the end of WAL, as a damaged page may have it.
pub(crate) fn flush(buffer: u32) -> Result<()> {
    let Some(io) = Io::start(buffer, Purpose::Write) else { return Ok(()) };
    let desc = desc::desc(buffer);
    let tag = desc.tag();
    let state = desc.lock();
    // SAFETY: content lock and pin are the caller's; the LSN is read under the header lock.
    let page = unsafe { page(buffer) };
    let lsn = page.lsn();
    // Whoever dirties it from now on sets this again, and the page stays dirty.
    let state = state & !bm::JUST_DIRTIED;
    desc.unlock(state);
    if state & bm::PERMANENT != 0 {
        walio::flush(lsn)?; // W1
    }
    let began = guc::vars::TRACK_IO_TIMING.get().then(Instant::now);
    write_page(&tag, page).map_err(|e| {
        e.context(format!("writing block {} of relation {}", tag.block, tag.node.path(tag.fork)))
    })?;
    if let Some(began) = began {
        stats::add(Counter::WriteNanos, began.elapsed().as_nanos() as u64);
    }
    stats::count(Counter::Written);
    io.finish(true, 0);
    Ok(())
}

fn write_page(tag: &Tag, page: &Page) -> Result<()> {
    if !guc::vars::DATA_CHECKSUMS.get() || page.is_new() {
        return smgr::write(tag.node, tag.fork, tag.block, page, false);
    }
    COPY.with_borrow_mut(|copy| {
        copy.bytes_mut().copy_from_slice(page.bytes());
        copy.set_checksum(tag.block);
        smgr::write(tag.node, tag.fork, tag.block, copy, false)
    })
}
