//! A checkpoint's writes: every page that is dirty now, in file order, spread over time by the caller.
//!
//! 1. All dirty buffers are marked `CHECKPOINT_NEEDED`: pages that become dirty later have a later LSN than the
//!    checkpoint's redo pointer, and are not its business.
//! 2. They are sorted by tablespace, relation, fork, block, so that a disk sees them in order.
//! 3. They are written, taking turns between tablespaces in proportion to how much each has to write. Whoever
//!    else writes a marked buffer takes the mark away and the work with it.
//!
//! C counterpart: `BufferSync`, `SyncOneBuffer`.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use activity::gauges;
use common::{BLCKSZ, Oid};
use elog::Result;

use super::desc::{self, Tag, bm, refcount, usage};
use super::drop::pin_if_dirty;
use super::io;
use crate::writeback::Pending;

/// Writes all dirty pages. `include_unlogged`: at shutdown and at the end of recovery also those of unlogged relations.
/// `progress` gets the fraction done after each written page; the caller sleeps in there as long as it is
/// ahead of schedule, and absorbs fsync requests. Returns the number of pages written. C: `BufferSync`.
///
/// # Errors
/// `could not write block`.
pub fn checkpoint_buffers(include_unlogged: bool, progress: &mut dyn FnMut(f64)) -> Result<u64> {
    let mut marked = mark_dirty(include_unlogged)?;
    let gauge = gauges::checkpoint();
    gauge.set_bytes_to_write((marked.len() * BLCKSZ) as u64);
    if marked.is_empty() {
        return Ok(0);
    }
    marked.sort_unstable_by_key(|(tag, _)| *tag);
    let total = marked.len();
    let mut turns = Turns::new(&marked);
    let mut writeback = Pending::new(|| guc::vars::CHECKPOINT_FLUSH_AFTER.get());
    let (mut written, mut done) = (0, 0);
    while let Some(index) = turns.next() {
        let buffer = marked[index].1;
        done += 1;
        if desc::desc(buffer).state.load(Ordering::Relaxed) & bm::CHECKPOINT_NEEDED != 0
            && let Some(tag) = sync_one(buffer)?
        {
            writeback.add(tag);
            written += 1;
        }
        gauge.set_bytes_written((done * BLCKSZ) as u64);
        progress(done as f64 / total as f64);
    }
    writeback.issue();
    Ok(written)
}

/// How many pages are dirty, those of unlogged relations included: what a shutdown checkpoint would write. No lock is taken, so
/// also the postmaster may ask; a page that becomes dirty or clean meanwhile counts or not. 0 without a pool.
pub fn dirty_buffers() -> u64 {
    let is_dirty = |desc: &&desc::Desc| desc.state.load(Ordering::Relaxed) & bm::DIRTY != 0;
    desc::try_all().iter().filter(is_dirty).count() as u64
}

/// Step 1.
fn mark_dirty(include_unlogged: bool) -> Result<Vec<(Tag, u32)>> {
    let wanted = bm::DIRTY | if include_unlogged { 0 } else { bm::PERMANENT };
    let mut marked = Vec::new();
    for (buffer, desc) in desc::all().iter().enumerate() {
        // A glance first: a page dirtied after it was dirtied after the redo pointer was set, too.
        if desc.state.load(Ordering::Acquire) & bm::DIRTY == 0 {
            continue;
        }
        let state = desc.lock();
        if state & wanted == wanted {
            marked.push((desc.tag(), buffer as u32));
            desc.unlock(state | bm::CHECKPOINT_NEEDED);
        } else {
            desc.unlock(state);
        }
        if buffer % 1024 == 0 {
            miscinit::interrupt::check()?;
        }
    }
    Ok(marked)
}

/// Step 3: which of the sorted pages is next. C: `CkptTsStatus` and its heap.
struct Turns {
    /// (next, end, pages in all) of each tablespace.
    spaces: Vec<(usize, usize, usize)>,
}

impl Turns {
    fn new(sorted: &[(Tag, u32)]) -> Turns {
        let mut spaces: Vec<(usize, usize, usize)> = Vec::new();
        let mut current: Option<Oid> = None;
        for (index, (tag, _)) in sorted.iter().enumerate() {
            if current != Some(tag.node.spc) {
                current = Some(tag.node.spc);
                spaces.push((index, index, 0));
            }
            if let Some((_, end, total)) = spaces.last_mut() {
                (*end, *total) = (index + 1, *total + 1);
            }
        }
        Turns { spaces }
    }

    /// The next page of the tablespace that is least far.
    fn next(&mut self) -> Option<usize> {
        let done = |(next, end, total): &(usize, usize, usize)| (total - (end - next)) as f64 / *total as f64;
        let least = self
            .spaces
            .iter_mut()
            .filter(|(next, end, _)| next < end)
            .min_by(|a, b| done(a).total_cmp(&done(b)))?;
        least.0 += 1;
        Some(least.0 - 1)
    }
}

/// Writes a buffer if it is dirty. C: `SyncOneBuffer`.
fn sync_one(buffer: u32) -> Result<Option<Tag>> {
    let Some(pin) = pin_if_dirty(buffer, |_| true) else { return Ok(None) };
    let desc = desc::desc(buffer);
    let content = desc.content.shared();
    io::flush(buffer)?;
    drop(content);
    let tag = desc.tag();
    drop(pin);
    Ok(Some(tag))
}

/// What the background writer learns of a buffer. C: `BUF_WRITTEN`, `BUF_REUSABLE`.
pub(crate) struct Looked {
    pub(crate) written: bool,
    pub(crate) reusable: bool,
}

/// As [`sync_one`], only for buffers that were not used for a while. C: `SyncOneBuffer(skip_recently_used)`.
pub(crate) fn sync_if_unused(buffer: u32, writeback: &mut Pending) -> Result<Looked> {
    let state = desc::desc(buffer).state.load(Ordering::Acquire);
    let reusable = refcount(state) == 0 && usage(state) == 0;
    if !reusable {
        return Ok(Looked { written: false, reusable });
    }
    let tag = sync_one(buffer)?;
    if let Some(tag) = tag {
        writeback.add(tag);
    }
    Ok(Looked { written: tag.is_some(), reusable })
}

thread_local! {
    /// C: `BackendWritebackContext`.
    static BACKEND: RefCell<Pending> =
        const { RefCell::new(Pending::new(|| guc::vars::BACKEND_FLUSH_AFTER.get())) };
}

/// A backend had to write a page out by itself.
pub(crate) fn backend_writeback(tag: Tag) {
    if guc::vars::BACKEND_FLUSH_AFTER.get() > 0 {
        BACKEND.with_borrow_mut(|pending| pending.add(tag));
    }
}
