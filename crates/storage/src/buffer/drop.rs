//! Throwing pages of dropped relations away, and writing those of one relation out.
//!
//! C counterpart: `DropRelFileNodeBuffers`, `DropRelFileNodesAllBuffers`, `DropDatabaseBuffers`,
//! `FlushRelationBuffers`.

use common::{BlockNumber, ForkNumber, Oid, RelFileNode, SqlState};
use elog::{Result, error};

use super::desc::{self, Desc, bm, refcount};
use super::guard::Pin;
use super::{io, private, read};

/// Forgets the pages of these forks from the given block on, dirty or not. Nobody may be using them: the caller
/// holds the relation's AccessExclusiveLock. C: `DropRelFileNodeBuffers`.
///
/// # Errors
/// XX000 if this process itself has one of them pinned.
pub fn drop_relation_buffers(node: RelFileNode, forks: &[(ForkNumber, BlockNumber)]) -> Result<()> {
    drop_where(
        |desc| desc.is_of(node),
        |tag| tag.node == node && forks.iter().any(|(fork, first)| tag.fork == *fork && tag.block >= *first),
    )
}

/// Forgets all pages of these relations. C: `DropRelFileNodesAllBuffers`.
///
/// # Errors
/// As [`drop_relation_buffers`].
pub fn drop_relations_all_buffers(nodes: &[RelFileNode]) -> Result<()> {
    match nodes {
        [] => Ok(()),
        [node] => drop_where(|desc| desc.is_of(*node), |tag| tag.node == *node),
        nodes => {
            let mut sorted = nodes.to_vec();
            sorted.sort_unstable();
            let dropped = |node: &RelFileNode| sorted.binary_search(node).is_ok();
            drop_where(|desc| dropped(&desc.tag().node), |tag| dropped(&tag.node))
        }
    }
}

/// Forgets all pages of a database, which nobody is connected to. C: `DropDatabaseBuffers`.
///
/// # Errors
/// As [`drop_relation_buffers`].
pub fn drop_database_buffers(db: Oid) -> Result<()> {
    drop_where(|desc| desc.database() == db, |tag| tag.node.db == db)
}

/// `glance` without any lock decides whether to look closer: what is to be dropped cannot come into the pool now.
fn drop_where(glance: impl Fn(&Desc) -> bool, wanted: impl Fn(&desc::Tag) -> bool) -> Result<()> {
    for (buffer, desc) in desc::all().iter().enumerate() {
        if glance(desc) && wanted(&desc.tag()) {
            invalidate(buffer as u32, &wanted)?;
        }
    }
    Ok(())
}

/// C: `InvalidateBuffer`.
fn invalidate(buffer: u32, wanted: &impl Fn(&desc::Tag) -> bool) -> Result<()> {
    let desc = desc::desc(buffer);
    loop {
        let state = desc.lock();
        let tag = desc.tag();
        desc.unlock(state);
        if state & bm::TAG_VALID == 0 || !wanted(&tag) {
            return Ok(());
        }
        let hash = tag.hash();
        let lock = read::lock_partition(hash);
        let state = desc.lock();
        if state & bm::TAG_VALID == 0 || desc.tag() != tag {
            desc.unlock(state);
            continue;
        }
        if refcount(state) == 0 {
            read::discard(&lock, hash, buffer, state);
            return Ok(());
        }
        // Somebody is writing it out, or has pinned it by mistake for a moment.
        desc.unlock(state);
        drop(lock);
        if private::count(buffer) > 0 {
            return Err(error!(SqlState::INTERNAL_ERROR, "buffer is pinned in InvalidateBuffer"));
        }
        io::wait(buffer);
        std::thread::yield_now();
    }
}

/// Writes out all dirty pages of a relation, without fsync. C: `FlushRelationBuffers`.
///
/// # Errors
/// `could not write block`.
pub fn flush_relation(node: RelFileNode) -> Result<()> {
    flush_where(|desc| desc.is_of(node), |tag| tag.node == node)
}

/// Writes out all dirty pages of a database, without fsync. C: `FlushDatabaseBuffers`.
///
/// # Errors
/// `could not write block`.
pub fn flush_database(db: Oid) -> Result<()> {
    flush_where(|desc| desc.database() == db, |tag| tag.node.db == db)
}

/// Writes one page out if it is dirty. C: `FlushOneBuffer`.
///
/// # Errors
/// `could not write block`.
pub fn flush_one(pin: &Pin) -> Result<()> {
    let _content = desc::desc(pin.buffer_id()).content.shared();
    io::flush(pin.buffer_id())
}

fn flush_where(glance: impl Fn(&Desc) -> bool, wanted: impl Fn(&desc::Tag) -> bool) -> Result<()> {
    for (buffer, desc) in desc::all().iter().enumerate() {
        if !glance(desc) {
            continue;
        }
        if let Some(pin) =
            pin_if_dirty(buffer as u32, |state| state & bm::TAG_VALID != 0 && wanted(&desc.tag()))
        {
            flush_one(&pin)?;
        }
    }
    Ok(())
}

/// Pins a valid dirty buffer for which `wanted` holds under the header lock.
pub(crate) fn pin_if_dirty(buffer: u32, wanted: impl FnOnce(u32) -> bool) -> Option<Pin> {
    const BOTH: u32 = bm::VALID | bm::DIRTY;
    let desc = desc::desc(buffer);
    let state = desc.lock();
    if state & BOTH != BOTH || !wanted(state) {
        desc.unlock(state);
        return None;
    }
    if private::count(buffer) > 0 {
        desc.unlock(state);
        private::pin(buffer, true);
    } else {
        private::pin_locked(buffer, state);
    }
    Some(Pin::adopt(buffer))
}
