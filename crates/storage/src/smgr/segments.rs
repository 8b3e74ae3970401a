//! This process's open segments.
//!
//! C counterpart: `SMgrRelationHash`, `md_seg_fds`, `_mdfd_getseg`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use common::{BlockNumber, ForkNumber, RelFileNode};
use file::File;

/// A multiplication is enough for three numbers that the server itself gave out.
#[derive(Default)]
struct NodeHasher(u64);

impl Hasher for NodeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.0 = (self.0 ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

/// The open segments of each fork, without gaps from the first on.
#[derive(Default)]
struct Relation {
    forks: [Vec<Rc<File>>; 4],
    /// Lengths as this process knows them; used only during replay, when nobody else changes them.
    /// C: `smgr_cached_nblocks`.
    blocks: [Option<BlockNumber>; 4],
}

thread_local! {
    static RELATIONS: RefCell<HashMap<RelFileNode, Relation, BuildHasherDefault<NodeHasher>>> =
        RefCell::new(HashMap::default());
}

/// A segment that is open already.
#[inline]
pub(super) fn get(node: RelFileNode, fork: ForkNumber, segment: u32) -> Option<Rc<File>> {
    RELATIONS.with_borrow(|relations| {
        relations.get(&node).and_then(|relation| relation.forks[fork as usize].get(segment as usize)).cloned()
    })
}

/// How many segments are open.
pub(super) fn open_count(node: RelFileNode, fork: ForkNumber) -> u32 {
    RELATIONS.with_borrow(|relations| {
        relations.get(&node).map_or(0, |relation| relation.forks[fork as usize].len() as u32)
    })
}

/// Adds the next segment.
pub(super) fn push(node: RelFileNode, fork: ForkNumber, file: File) -> Rc<File> {
    let file = Rc::new(file);
    RELATIONS.with_borrow_mut(|relations| {
        relations.entry(node).or_default().forks[fork as usize].push(file.clone());
    });
    file
}

/// Closes all segments from this one on.
pub(super) fn close_from(node: RelFileNode, fork: ForkNumber, segment: u32) {
    RELATIONS.with_borrow_mut(|relations| {
        if let Some(relation) = relations.get_mut(&node) {
            relation.forks[fork as usize].truncate(segment as usize);
        }
    });
}

/// The length noted for a fork.
pub(super) fn noted_blocks(node: RelFileNode, fork: ForkNumber) -> Option<BlockNumber> {
    RELATIONS
        .with_borrow(|relations| relations.get(&node).and_then(|relation| relation.blocks[fork as usize]))
}

/// Notes a length, or that it is not known any more.
pub(super) fn note_blocks(node: RelFileNode, fork: ForkNumber, blocks: Option<BlockNumber>) {
    RELATIONS.with_borrow_mut(|relations| {
        if let Some(relation) = relations.get_mut(&node) {
            relation.blocks[fork as usize] = blocks;
        }
    });
}

pub(super) fn close(node: RelFileNode) {
    RELATIONS.with_borrow_mut(|relations| relations.remove(&node));
}

pub(super) fn close_all() {
    RELATIONS.with_borrow_mut(HashMap::clear);
}
