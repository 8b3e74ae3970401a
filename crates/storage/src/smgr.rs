//! The storage manager: relations as files of at most 1 GiB each, block by block.
//!
//! A process keeps a handle with open files for every relation it has touched. Nothing here is shared: how long
//! a fork is, the file system knows.
//!
//! - SM1  Only the last segment of a fork is shorter than 131072 blocks; a segment after a shorter one does not count.
//! - SM2  What is written reaches the disk at the next checkpoint: each write registers its segment with
//!   [`crate::sync`], except where the caller does its own [`immediate_sync`].
//! - SM3  The first segment of a dropped relation stays as an empty file until after the next checkpoint, so
//!   that its number is not given to another relation whose WAL a replay would then mix up with the old one's.
//!
//! C counterpart: smgr.c, md.c.

mod md;
mod segments;

use common::{BlockNumber, ForkNumber, RelFileNode};
use elog::Result;
use page::Page;

pub use md::{
    close_all, create, exists, extend, immediate_sync, in_redo, nblocks, prefetch, read, release,
    set_in_redo, truncate_fork, write, writeback, zero_extend,
};

pub(crate) use md::{exists_cached, segment_path, sync_segment};

/// Cuts forks to these lengths, forgetting the buffers beyond first. Whoever else has the relation open must be
/// told through invalidation; WAL comes first. C: `smgrtruncate`.
///
/// # Errors
/// `could not truncate file`.
pub fn truncate(node: RelFileNode, forks: &[(ForkNumber, BlockNumber)]) -> Result<()> {
    crate::buffer::drop_relation_buffers(node, forks)?;
    for (fork, blocks) in forks {
        truncate_fork(node, *fork, *blocks)?;
    }
    Ok(())
}

/// Removes dropped relations: forgets their buffers, then removes their files (SM3). Whoever else has them open
/// must be told through invalidation. Failures are warnings: the transaction is over. C: `smgrdounlinkall`.
pub fn unlink(nodes: &[RelFileNode], is_redo: bool) {
    if let Err(error) = crate::buffer::drop_relations_all_buffers(nodes) {
        error.with_severity(elog::Severity::Warning).report();
        return;
    }
    md::unlink_files(nodes, is_redo);
}

/// Closes this process's files of a relation; they open again when used. C: `smgrclosenode`.
pub fn close(node: RelFileNode) {
    release(node);
}

/// A page's worth of bytes read into a new page, for callers outside the buffer pool.
///
/// # Errors
/// As [`read`].
pub fn read_page(node: RelFileNode, fork: ForkNumber, block: BlockNumber) -> Result<Box<Page>> {
    let mut page = Page::zeroed();
    read(node, fork, block, &mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests;
