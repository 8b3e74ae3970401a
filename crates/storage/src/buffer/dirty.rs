//! Marking buffers as changed.
//!
//! C counterpart: `MarkBufferDirty`, `MarkBufferDirtyHint`.

use std::sync::atomic::Ordering;

use common::Lsn;
use page::Page;
use wal::BlockTag;

use super::desc::{self, Tag, bm};
use super::io;
use crate::stats::{self, Counter};
use crate::walio;

impl Tag {
    pub(crate) fn for_wal(&self) -> BlockTag {
        BlockTag { node: self.node, fork: self.fork, block: self.block }
    }
}

/// The page has changed, or is about to within a critical section. The caller holds the content lock exclusively.
/// C: `MarkBufferDirty`.
#[inline]
pub(crate) fn mark(buffer: u32) {
    let desc = desc::desc(buffer);
    let (before, _) = desc.update(|state| state | bm::DIRTY | bm::JUST_DIRTIED);
    if before & bm::DIRTY == 0 {
        stats::count(Counter::Dirtied);
    }
}

/// C: `DELAY_CHKPT_START`: a checkpoint that begins meanwhile waits.
const DELAY_CHECKPOINT_START: u32 = 1;

/// The page has got hints that may be lost. With checksums (or `wal_log_hints`) the first such change after a
/// checkpoint needs an image of the page in WAL, since a torn write would otherwise not be recognised as such.
/// The caller holds the content lock, shared is enough. C: `MarkBufferDirtyHint`.
#[inline]
pub(crate) fn mark_hint(buffer: u32, standard: bool) {
    const BOTH: u32 = bm::DIRTY | bm::JUST_DIRTIED;
    if desc::desc(buffer).state.load(Ordering::Relaxed) & BOTH != BOTH {
        mark_hint_slow(buffer, standard);
    }
}

fn mark_hint_slow(buffer: u32, standard: bool) {
    let desc = desc::desc(buffer);
    let mut lsn = None;
    let mut delaying = None;
    if walio::hint_bits_need_wal() && desc.state.load(Ordering::Relaxed) & bm::PERMANENT != 0 {
        // The page must not be dirtied without its image in WAL.
        if walio::in_recovery() {
            return;
        }
        // A checkpoint whose redo pointer lies after our image must not miss our buffer.
        if let Some(proc) = shmem::proc::try_my_proc() {
            proc.delay_checkpoint.fetch_or(DELAY_CHECKPOINT_START, Ordering::SeqCst);
            delaying = Some(proc);
        }
        lsn = log_image(buffer, standard);
    }
    let state = desc.lock();
    if state & bm::DIRTY == 0 {
        stats::count(Counter::Dirtied);
        if let Some(lsn) = lsn {
            // SAFETY: content lock (shared) and pin are the caller's; LSNs set under a shared lock are set and read
            // under the header lock, which we hold.
            unsafe { (*desc::page_ptr(buffer)).set_lsn(lsn) };
        }
    }
    desc.unlock(state | bm::DIRTY | bm::JUST_DIRTIED);
    if let Some(proc) = delaying {
        proc.delay_checkpoint.fetch_and(!DELAY_CHECKPOINT_START, Ordering::SeqCst);
    }
}

/// C: `XLogSaveBufferForHint`.
fn log_image(buffer: u32, standard: bool) -> Option<Lsn> {
    if io::lsn_atomic(buffer) > walio::redo_ptr() {
        return None;
    }
    // A copy: others may be setting hint bits while WAL computes its checksum.
    // SAFETY: content lock and pin are the caller's.
    let copy = Page::copy_of(unsafe { io::page(buffer) }.bytes());
    walio::log_image_for_hint(desc::desc(buffer).tag().for_wal(), &copy, standard)
}
