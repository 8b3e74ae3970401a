//! The page itself and its first 24 bytes.
//!
//! C counterpart: `PageHeaderData`, `PageInit` and the accessors of bufpage.h.

use common::{BLCKSZ, Lsn, OffsetNumber, Xid};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{ITEM_ID_SIZE, ItemId, max_align};

/// Bytes before the first line pointer. C: `SizeOfPageHeaderData`.
pub const HEADER_SIZE: usize = 24;
/// In the low byte of `pd_pagesize_version`. C: `PG_PAGE_LAYOUT_VERSION`.
pub const LAYOUT_VERSION: u16 = 4;
/// A heap page holds no more, whatever their size. C: `MaxHeapTuplesPerPage`.
pub const MAX_HEAP_TUPLES_PER_PAGE: usize = 291;
/// The flags there are. C: `PD_VALID_FLAG_BITS`.
pub const PAGE_FLAG_BITS: u16 = 0x0007;

/// Bits of the header's flags. C: `PD_*`.
pub mod flags {
    /// Some line pointers may be unused: a hint. C: `PD_HAS_FREE_LINES`.
    pub const HAS_FREE_LINES: u16 = 0x0001;
    /// An update found no room: a hint to prune. C: `PD_PAGE_FULL`.
    pub const PAGE_FULL: u16 = 0x0002;
    /// Every row is visible to everyone. C: `PD_ALL_VISIBLE`.
    pub const ALL_VISIBLE: u16 = 0x0004;
}

mod at {
    pub(super) const LSN_HIGH: usize = 0;
    pub(super) const LSN_LOW: usize = 4;
    pub(super) const CHECKSUM: usize = 8;
    pub(super) const FLAGS: usize = 10;
    pub(super) const LOWER: usize = 12;
    pub(super) const UPPER: usize = 14;
    pub(super) const SPECIAL: usize = 16;
    pub(super) const SIZE_VERSION: usize = 18;
    pub(super) const PRUNE_XID: usize = 20;
}

/// A page of a relation. All bytes are allowed; what they mean is checked where it matters. C: `Page`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone)]
#[repr(C, align(8))]
pub struct Page {
    pub(crate) bytes: [u8; BLCKSZ],
}

const _: () = assert!(size_of::<Page>() == BLCKSZ);

impl Page {
    /// A new page of zeros on the heap.
    pub fn zeroed() -> Box<Page> {
        Box::new(Page { bytes: [0; BLCKSZ] })
    }

    /// A copy on the heap.
    pub fn copy_of(bytes: &[u8; BLCKSZ]) -> Box<Page> {
        Box::new(Page { bytes: *bytes })
    }

    /// These bytes seen as a page; `None` if they do not start at a multiple of 8. See [`Page::copy_of`].
    pub fn from_bytes(bytes: &[u8; BLCKSZ]) -> Option<&Page> {
        Page::ref_from_bytes(bytes).ok()
    }

    /// As [`Page::from_bytes`], to change them.
    pub fn from_bytes_mut(bytes: &mut [u8; BLCKSZ]) -> Option<&mut Page> {
        Page::mut_from_bytes(bytes).ok()
    }

    /// All of it.
    #[inline]
    pub fn bytes(&self) -> &[u8; BLCKSZ] {
        &self.bytes
    }

    /// All of it.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8; BLCKSZ] {
        &mut self.bytes
    }

    #[inline]
    pub(crate) fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    #[inline]
    fn set_u16_at(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    #[inline]
    fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    #[inline]
    fn set_u32_at(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Makes it an empty page with room for `special_size` bytes (rounded up to 8) at the end. Every other byte
    /// becomes zero. C: `PageInit`.
    pub fn init(&mut self, special_size: usize) {
        let special = (BLCKSZ - max_align(special_size)) as u16;
        self.bytes.fill(0);
        self.set_u16_at(at::LOWER, HEADER_SIZE as u16);
        self.set_u16_at(at::UPPER, special);
        self.set_u16_at(at::SPECIAL, special);
        self.set_u16_at(at::SIZE_VERSION, BLCKSZ as u16 | LAYOUT_VERSION);
    }

    /// Never initialised (after an extension that was not logged). C: `PageIsNew`.
    #[inline]
    pub fn is_new(&self) -> bool {
        self.upper() == 0
    }

    /// Without line pointers. C: `PageIsEmpty`.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.lower() <= HEADER_SIZE
    }

    /// The WAL position up to which WAL must be on disk before this page. C: `PageGetLSN`.
    #[inline]
    pub fn lsn(&self) -> Lsn {
        Lsn(u64::from(self.u32_at(at::LSN_HIGH)) << 32 | u64::from(self.u32_at(at::LSN_LOW)))
    }

    /// C: `PageSetLSN`.
    #[inline]
    pub fn set_lsn(&mut self, lsn: Lsn) {
        self.set_u32_at(at::LSN_HIGH, (lsn.0 >> 32) as u32);
        self.set_u32_at(at::LSN_LOW, lsn.0 as u32);
    }

    /// As stored; 0 without data checksums.
    #[inline]
    pub fn checksum(&self) -> u16 {
        self.u16_at(at::CHECKSUM)
    }

    pub(crate) fn store_checksum(&mut self, checksum: u16) {
        self.set_u16_at(at::CHECKSUM, checksum);
    }

    /// See [`flags`].
    #[inline]
    pub fn flags(&self) -> u16 {
        self.u16_at(at::FLAGS)
    }

    /// Replaces all flags.
    pub fn set_flags(&mut self, flags: u16) {
        self.set_u16_at(at::FLAGS, flags);
    }

    #[inline]
    fn set_flag(&mut self, flag: u16, on: bool) {
        let flags = self.flags();
        self.set_u16_at(at::FLAGS, if on { flags | flag } else { flags & !flag });
    }

    /// There may be unused line pointers: a hint. C: `PageHasFreeLinePointers`.
    #[inline]
    pub fn has_free_lines(&self) -> bool {
        self.flags() & flags::HAS_FREE_LINES != 0
    }

    /// C: `PageSetHasFreeLinePointers`, `PageClearHasFreeLinePointers`.
    pub fn set_has_free_lines(&mut self, on: bool) {
        self.set_flag(flags::HAS_FREE_LINES, on);
    }

    /// An update found no room here. C: `PageIsFull`.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.flags() & flags::PAGE_FULL != 0
    }

    /// C: `PageSetFull`, `PageClearFull`.
    pub fn set_full(&mut self, on: bool) {
        self.set_flag(flags::PAGE_FULL, on);
    }

    /// Every row is visible to everyone. C: `PageIsAllVisible`.
    #[inline]
    pub fn all_visible(&self) -> bool {
        self.flags() & flags::ALL_VISIBLE != 0
    }

    /// C: `PageSetAllVisible`, `PageClearAllVisible`.
    pub fn set_all_visible(&mut self, on: bool) {
        self.set_flag(flags::ALL_VISIBLE, on);
    }

    /// Where free space starts. C: `pd_lower`.
    #[inline]
    pub fn lower(&self) -> usize {
        self.u16_at(at::LOWER) as usize
    }

    /// For pages that use the space after the header in their own way, and for redo.
    pub fn set_lower(&mut self, lower: usize) {
        self.set_u16_at(at::LOWER, lower as u16);
    }

    /// Where free space ends. C: `pd_upper`.
    #[inline]
    pub fn upper(&self) -> usize {
        self.u16_at(at::UPPER) as usize
    }

    /// See [`Page::set_lower`].
    pub fn set_upper(&mut self, upper: usize) {
        self.set_u16_at(at::UPPER, upper as u16);
    }

    /// Where the access method's own bytes start. C: `pd_special`.
    #[inline]
    pub fn special(&self) -> usize {
        self.u16_at(at::SPECIAL) as usize
    }

    /// See [`Page::set_lower`].
    pub fn set_special(&mut self, special: usize) {
        self.set_u16_at(at::SPECIAL, special as u16);
    }

    /// The access method's own bytes; empty if the header makes no sense. C: `PageGetSpecialPointer`.
    pub fn special_bytes(&self) -> &[u8] {
        self.bytes.get(self.special()..).unwrap_or(&[])
    }

    /// As [`Page::special_bytes`], to change them.
    pub fn special_bytes_mut(&mut self) -> &mut [u8] {
        let special = self.special();
        self.bytes.get_mut(special..).unwrap_or(&mut [])
    }

    /// Size and layout version as stored: 0x2004. C: `pd_pagesize_version`.
    pub fn size_version(&self) -> u16 {
        self.u16_at(at::SIZE_VERSION)
    }

    /// Oldest transaction whose changes may make pruning worth while; 0 if none. C: `pd_prune_xid`.
    #[inline]
    pub fn prune_xid(&self) -> Xid {
        Xid(self.u32_at(at::PRUNE_XID))
    }

    /// C: assignment to `pd_prune_xid`; see also [`Page::set_prunable`].
    #[inline]
    pub fn set_prune_xid(&mut self, xid: Xid) {
        self.set_u32_at(at::PRUNE_XID, xid.0);
    }

    /// Notes that `xid` leaves something to prune, unless an older one is noted. C: `PageSetPrunable`.
    #[inline]
    pub fn set_prunable(&mut self, xid: Xid) {
        let noted = self.prune_xid();
        if !noted.is_valid() || xid.precedes(noted) {
            self.set_prune_xid(xid);
        }
    }

    /// Number of line pointers, 0 on a new page. C: `PageGetMaxOffsetNumber`.
    #[inline]
    pub fn max_offset(&self) -> OffsetNumber {
        (self.lower().min(BLCKSZ).saturating_sub(HEADER_SIZE) / ITEM_ID_SIZE) as OffsetNumber
    }

    /// A line pointer, from 1. C: `PageGetItemId`.
    ///
    /// # Panics
    /// If `offset` is 0 or no line pointer can be there.
    #[inline]
    pub fn item_id(&self, offset: OffsetNumber) -> ItemId {
        ItemId(self.u32_at(Page::item_id_at(offset)))
    }

    /// Changes a line pointer.
    ///
    /// # Panics
    /// As [`Page::item_id`].
    #[inline]
    pub fn set_item_id(&mut self, offset: OffsetNumber, id: ItemId) {
        self.set_u32_at(Page::item_id_at(offset), id.0);
    }

    #[inline]
    pub(crate) fn item_id_at(offset: OffsetNumber) -> usize {
        debug_assert!(offset != 0, "line pointers count from 1");
        HEADER_SIZE + (offset as usize - 1) * ITEM_ID_SIZE
    }

    /// The bytes of an item; empty if its line pointer has no storage or leads out of the page.
    /// C: `PageGetItem`.
    #[inline]
    pub fn item(&self, offset: OffsetNumber) -> &[u8] {
        self.item_at(self.item_id(offset))
    }

    /// The bytes that a line pointer stands for; empty if it has no storage or leads out of the page.
    #[inline]
    pub fn item_at(&self, id: ItemId) -> &[u8] {
        self.bytes.get(id.offset()..id.offset() + id.len()).unwrap_or(&[])
    }

    /// As [`Page::item`], to change them.
    #[inline]
    pub fn item_mut(&mut self, offset: OffsetNumber) -> &mut [u8] {
        let id = self.item_id(offset);
        self.bytes.get_mut(id.offset()..id.offset() + id.len()).unwrap_or(&mut [])
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page")
            .field("lsn", &self.lsn())
            .field("flags", &self.flags())
            .field("lower", &self.lower())
            .field("upper", &self.upper())
            .field("special", &self.special())
            .finish_non_exhaustive()
    }
}
