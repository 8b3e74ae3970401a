//! Building a record: what changed, on which pages.
//!
//! ```no_run
//! # use wal::{BlockTag, Record, RegFlags, RmgrId};
//! # fn example(page: &page::Page, tag: BlockTag, tuple: &[u8]) {
//! let offset = 3u16.to_le_bytes();
//! let mut record = Record::new(RmgrId::Heap, 0x00);
//! record.data(&offset);
//! record.block(0, tag, page, RegFlags::STANDARD);
//! record.block_data(0, tuple);
//! let lsn = record.insert();
//! # }
//! ```
//!
//! A [`Record`] only borrows; nothing is copied before [`Record::insert`], and nothing is allocated unless a record
//! has more than five blocks or twelve pieces of data. The pages must be locked exclusively and already be
//! changed; their LSN must still be the old one, since it decides whether a full image goes into the record.
//!
//! C counterpart: `XLogBeginInsert`, `XLogRegisterData`, `XLogRegisterBuffer`, `XLogRegisterBufData`.

use common::{BlockNumber, ForkNumber, Lsn, RelFileNode, Xid};
use page::Page;

use crate::rmgr::RmgrId;

bitflags::bitflags! {
    /// How a page takes part in a record. C: `REGBUF_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RegFlags: u8 {
        /// A full image in any case.
        const FORCE_IMAGE = 0x01;
        /// No full image in any case.
        const NO_IMAGE = 0x02;
        /// Replay makes the page anew, so it needs no image (implies [`RegFlags::NO_IMAGE`]).
        const WILL_INIT = 0x04 | 0x02;
        /// The page has the standard layout: the hole between lower and upper need not be kept.
        const STANDARD = 0x08;
        /// Keep the block's data even when there is an image.
        const KEEP_DATA = 0x10;
    }
}

/// Which page. C: `BufferTag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockTag {
    /// Relation.
    pub node: RelFileNode,
    /// Fork.
    pub fork: ForkNumber,
    /// Block within the fork.
    pub block: BlockNumber,
}

/// Blocks that a record has room for without allocating. C: `XLR_NORMAL_MAX_BLOCK_ID` + 1.
pub(crate) const INLINE_BLOCKS: usize = 5;
/// Pieces of data that a record has room for without allocating.
const INLINE_PIECES: usize = 12;
/// Highest block id. C: `XLR_MAX_BLOCK_ID`.
pub const MAX_BLOCK_ID: u8 = 32;

/// The low bits of a record's info byte. C: `XLR_INFO_MASK`.
pub const INFO_MASK: u8 = 0x0F;
/// The record touches files beyond its blocks. C: `XLR_SPECIAL_REL_UPDATE`.
pub const SPECIAL_REL_UPDATE: u8 = 0x01;
/// Images are there to be compared with the result of replay. C: `XLR_CHECK_CONSISTENCY`.
pub const CHECK_CONSISTENCY: u8 = 0x02;

/// A page as registered.
#[derive(Clone, Copy)]
pub(crate) struct RegisteredBlock<'a> {
    pub(crate) id: u8,
    pub(crate) flags: RegFlags,
    pub(crate) tag: BlockTag,
    pub(crate) page: &'a Page,
}

/// Elements in order, up to `N` of them without allocation.
pub(crate) struct FewVec<T: Copy, const N: usize> {
    few: [Option<T>; N],
    len: usize,
    /// All of them, once they are more than `N`.
    more: Vec<Option<T>>,
}

impl<T: Copy, const N: usize> FewVec<T, N> {
    #[inline]
    fn new() -> Self {
        FewVec { few: [None; N], len: 0, more: Vec::new() }
    }

    #[inline]
    fn push(&mut self, value: T) {
        match self.few.get_mut(self.len) {
            Some(slot) => *slot = Some(value),
            None => self.spill(value),
        }
        self.len += 1;
    }

    #[cold]
    fn spill(&mut self, value: T) {
        if self.more.is_empty() {
            self.more.extend_from_slice(&self.few);
        }
        self.more.push(Some(value));
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let all = if self.len <= N { &self.few[..self.len] } else { &self.more[..] };
        all.iter().flatten()
    }
}

/// Data of the record itself, as the block id of a piece.
const MAIN_DATA: u8 = u8::MAX;

/// A record being built; see the module's page.
pub struct Record<'a> {
    pub(crate) rmgr: u8,
    pub(crate) info: u8,
    pub(crate) unimportant: bool,
    pub(crate) include_origin: bool,
    pub(crate) top_xid: Xid,
    pub(crate) xid: Option<Xid>,
    blocks: FewVec<RegisteredBlock<'a>, INLINE_BLOCKS>,
    pieces: FewVec<(u8, &'a [u8]), INLINE_PIECES>,
}

impl<'a> Record<'a> {
    /// An empty one. The low four bits of `info` must be zero but for [`SPECIAL_REL_UPDATE`] and [`CHECK_CONSISTENCY`].
    /// C: `XLogBeginInsert`, and the arguments of `XLogInsert`.
    pub fn new(rmgr: RmgrId, info: u8) -> Record<'a> {
        debug_assert!(info & INFO_MASK & !(SPECIAL_REL_UPDATE | CHECK_CONSISTENCY) == 0, "info {info:#x}");
        Record {
            rmgr: rmgr as u8,
            info,
            unimportant: false,
            include_origin: false,
            top_xid: Xid::INVALID,
            xid: None,
            blocks: FewVec::new(),
            pieces: FewVec::new(),
        }
    }

    /// Appends to the main data. C: `XLogRegisterData`.
    pub fn data(&mut self, bytes: &'a [u8]) -> &mut Self {
        if !bytes.is_empty() {
            self.pieces.push((MAIN_DATA, bytes));
        }
        self
    }

    /// Names a page that the record changes. Ids are given in rising order, from 0, at most [`MAX_BLOCK_ID`].
    /// C: `XLogRegisterBuffer`, `XLogRegisterBlock`.
    pub fn block(&mut self, id: u8, tag: BlockTag, page: &'a Page, flags: RegFlags) -> &mut Self {
        debug_assert!(id <= MAX_BLOCK_ID && self.blocks.iter().all(|block| block.id < id), "block id {id}");
        self.blocks.push(RegisteredBlock { id, flags, tag, page });
        self
    }

    /// Appends to the data of a block named before; left out if the block's image is taken, unless
    /// [`RegFlags::KEEP_DATA`]. At most 65535 bytes per block. C: `XLogRegisterBufData`.
    pub fn block_data(&mut self, id: u8, bytes: &'a [u8]) -> &mut Self {
        debug_assert!(self.blocks.iter().any(|block| block.id == id), "block {id} is not registered");
        if !bytes.is_empty() {
            self.pieces.push((id, bytes));
        }
        self
    }

    /// Adds the replication origin, if the session has one. C: `XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN)`.
    pub fn include_origin(&mut self) -> &mut Self {
        self.include_origin = true;
        self
    }

    /// The record does not keep an idle cluster from being idle. C: `XLOG_MARK_UNIMPORTANT`.
    pub fn mark_unimportant(&mut self) -> &mut Self {
        self.unimportant = true;
        self
    }

    /// Adds the top-level transaction of a subtransaction's first record (logical decoding).
    /// C: `XLR_BLOCK_ID_TOPLEVEL_XID`.
    pub fn top_level_xid(&mut self, xid: Xid) -> &mut Self {
        self.top_xid = xid;
        self
    }

    /// Overrides the transaction id; otherwise it is the one of the source set with
    /// [`set_current_xid_source`](crate::set_current_xid_source).
    pub fn with_xid(&mut self, xid: Xid) -> &mut Self {
        self.xid = Some(xid);
        self
    }

    /// Inserts it and returns its end plus one, what the changed pages' LSN becomes. It never fails: what cannot be
    /// inserted is a PANIC. C: `XLogInsert`.
    pub fn insert(self) -> Lsn {
        crate::insert::insert(&self)
    }

    /// The registered pages, in order.
    pub fn block_tags(&self) -> impl Iterator<Item = (u8, BlockTag)> + '_ {
        self.blocks.iter().map(|block| (block.id, block.tag))
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = &RegisteredBlock<'a>> {
        self.blocks.iter()
    }

    pub(crate) fn main_pieces(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.pieces_of(MAIN_DATA)
    }

    pub(crate) fn pieces_of(&self, id: u8) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.pieces.iter().filter(move |(owner, _)| *owner == id).map(|(_, bytes)| *bytes)
    }
}
