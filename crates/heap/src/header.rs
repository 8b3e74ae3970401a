//! The 23-byte header of a row on disk, its flag bits, and typed access to both.
//!
//! A header is always looked at where it lies, in a page or in a row being formed: [`Header`] borrows the
//! bytes for reading, [`HeaderMut`] for changing. Nothing here knows what the bits mean for visibility;
//! that is `visibility`, `xmax` and `lock`.
//!
//! C counterpart: access/htup_details.h.

use common::{CommandId, ItemPointer, MultiXactId, OffsetNumber, SqlState, Xid};
use elog::{Result, error};

/// Bytes before the null bitmap. C: `SizeofHeapTupleHeader`.
pub const HEADER_SIZE: usize = 23;
/// Most columns of a row. C: `MaxTupleAttributeNumber`.
pub const MAX_TUPLE_ATTRS: usize = 1664;
/// Most columns of a table. C: `MaxHeapAttributeNumber`.
pub const MAX_HEAP_ATTRS: usize = 1600;
/// Longest row that fits a page. C: `MaxHeapTupleSize`.
pub const MAX_TUPLE_SIZE: usize = common::BLCKSZ - max_align(page_header_and_one_item());
/// Most rows of one page. C: `MaxHeapTuplesPerPage`.
pub const MAX_TUPLES_PER_PAGE: usize = (common::BLCKSZ - 24) / (max_align(HEADER_SIZE) + 4);

const fn page_header_and_one_item() -> usize {
    24 + 4
}

/// Rounds up to eight. C: `MAXALIGN`.
pub const fn max_align(n: usize) -> usize {
    (n + 7) & !7
}

/// Flags of `t_infomask`.
pub mod infomask {
    #![allow(missing_docs, reason = "the C names without their prefix HEAP_")]
    pub const HASNULL: u16 = 0x0001;
    pub const HASVARWIDTH: u16 = 0x0002;
    pub const HASEXTERNAL: u16 = 0x0004;
    pub const XMAX_KEYSHR_LOCK: u16 = 0x0010;
    pub const COMBOCID: u16 = 0x0020;
    pub const XMAX_EXCL_LOCK: u16 = 0x0040;
    pub const XMAX_LOCK_ONLY: u16 = 0x0080;
    pub const XMAX_SHR_LOCK: u16 = XMAX_EXCL_LOCK | XMAX_KEYSHR_LOCK;
    pub const LOCK_MASK: u16 = XMAX_SHR_LOCK;
    pub const XMIN_COMMITTED: u16 = 0x0100;
    pub const XMIN_INVALID: u16 = 0x0200;
    pub const XMIN_FROZEN: u16 = XMIN_COMMITTED | XMIN_INVALID;
    pub const XMAX_COMMITTED: u16 = 0x0400;
    pub const XMAX_INVALID: u16 = 0x0800;
    pub const XMAX_IS_MULTI: u16 = 0x1000;
    pub const UPDATED: u16 = 0x2000;
    pub const MOVED_OFF: u16 = 0x4000;
    pub const MOVED_IN: u16 = 0x8000;
    pub const MOVED: u16 = MOVED_OFF | MOVED_IN;
    pub const XACT_MASK: u16 = 0xFFF0;
    pub const XMAX_BITS: u16 = XMAX_COMMITTED | XMAX_INVALID | XMAX_IS_MULTI | LOCK_MASK | XMAX_LOCK_ONLY;

    /// The xmax only locks the row, as far as the flags alone say. C: `HEAP_XMAX_IS_LOCKED_ONLY`.
    pub const fn is_locked_only(mask: u16) -> bool {
        mask & XMAX_LOCK_ONLY != 0 || mask & (XMAX_IS_MULTI | LOCK_MASK) == XMAX_EXCL_LOCK
    }

    /// A multixact from before 9.3, whose members are all gone. C: `HEAP_LOCKED_UPGRADED`.
    pub const fn is_locked_upgraded(mask: u16) -> bool {
        mask & XMAX_IS_MULTI != 0 && mask & XMAX_LOCK_ONLY != 0 && mask & LOCK_MASK == 0
    }

    /// C: `HEAP_XMAX_IS_SHR_LOCKED`.
    pub const fn is_share_locked(mask: u16) -> bool {
        mask & LOCK_MASK == XMAX_SHR_LOCK
    }

    /// C: `HEAP_XMAX_IS_EXCL_LOCKED`.
    pub const fn is_exclusive_locked(mask: u16) -> bool {
        mask & LOCK_MASK == XMAX_EXCL_LOCK
    }

    /// C: `HEAP_XMAX_IS_KEYSHR_LOCKED`.
    pub const fn is_key_share_locked(mask: u16) -> bool {
        mask & LOCK_MASK == XMAX_KEYSHR_LOCK
    }
}

/// Flags of `t_infomask2`, whose low eleven bits are the number of columns.
pub mod infomask2 {
    #![allow(missing_docs, reason = "the C names without their prefix HEAP_")]
    pub const NATTS_MASK: u16 = 0x07FF;
    pub const KEYS_UPDATED: u16 = 0x2000;
    pub const HOT_UPDATED: u16 = 0x4000;
    pub const ONLY_TUPLE: u16 = 0x8000;
    pub const XACT_MASK: u16 = 0xE000;
}

/// A row's header, for reading. The bytes are the whole row and at least [`HEADER_SIZE`] long.
#[derive(Clone, Copy)]
pub struct Header<'a>(pub &'a [u8]);

/// A row's header, for changing: in a page under an exclusive lock, or in a row that nobody else sees.
pub struct HeaderMut<'a>(pub &'a mut [u8]);

#[cold]
fn too_short() -> elog::PgError {
    error!(SqlState::DATA_CORRUPTED, "row is shorter than its header")
}

#[inline]
fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

#[inline]
fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

impl<'a> Header<'a> {
    /// The header itself, if the row is long enough to have one. Bytes of a damaged page may not be; every rule of
    /// visibility asks first, so that such a row costs a statement and not, by a panic under a page lock, the server.
    ///
    /// # Errors
    /// XX001.
    #[inline]
    pub(crate) fn whole(self) -> Result<Header<'a>> {
        if self.0.len() < HEADER_SIZE { Err(too_short()) } else { Ok(self) }
    }

    /// The inserting transaction as stored, frozen or not. C: `HeapTupleHeaderGetRawXmin`.
    #[inline]
    pub fn raw_xmin(self) -> Xid {
        Xid(u32_at(self.0, 0))
    }

    /// The inserting transaction, `Xid::FROZEN` if frozen. C: `HeapTupleHeaderGetXmin`.
    #[inline]
    pub fn xmin(self) -> Xid {
        if self.xmin_frozen() { Xid::FROZEN } else { self.raw_xmin() }
    }

    /// Deleter, locker or multixact. C: `HeapTupleHeaderGetRawXmax`.
    #[inline]
    pub fn raw_xmax(self) -> Xid {
        Xid(u32_at(self.0, 4))
    }

    /// `raw_xmax` of a row whose flags say that it is a multixact.
    #[inline]
    pub fn multi_xmax(self) -> MultiXactId {
        MultiXactId(u32_at(self.0, 4))
    }

    /// cmin, cmax or combo command id. C: `HeapTupleHeaderGetRawCommandId`.
    #[inline]
    pub fn raw_cid(self) -> CommandId {
        u32_at(self.0, 8)
    }

    /// Transaction of a VACUUM FULL before 9.0. C: `HeapTupleHeaderGetXvac`.
    pub fn xvac(self) -> Xid {
        if self.infomask() & infomask::MOVED != 0 { Xid(u32_at(self.0, 8)) } else { Xid::INVALID }
    }

    /// Address of the next version, or the row's own.
    #[inline]
    pub fn ctid(self) -> ItemPointer {
        let b = self.0;
        ItemPointer::from_bytes([b[12], b[13], b[14], b[15], b[16], b[17]])
    }

    /// `t_infomask2`.
    #[inline]
    pub fn infomask2(self) -> u16 {
        u16_at(self.0, 18)
    }

    /// `t_infomask`.
    #[inline]
    pub fn infomask(self) -> u16 {
        u16_at(self.0, 20)
    }

    /// Offset of the first column.
    #[inline]
    pub fn hoff(self) -> usize {
        self.0[22] as usize
    }

    /// Number of columns stored. C: `HeapTupleHeaderGetNatts`.
    #[inline]
    pub fn natts(self) -> usize {
        (self.infomask2() & infomask2::NATTS_MASK) as usize
    }

    /// The null bitmap; meaningful only with `HASNULL`. A set bit means not null.
    #[inline]
    pub fn null_bitmap(self) -> &'a [u8] {
        &self.0[HEADER_SIZE..]
    }

    /// C: `HeapTupleHeaderXminCommitted`: hint, frozen included.
    #[inline]
    pub fn xmin_committed(self) -> bool {
        self.infomask() & infomask::XMIN_COMMITTED != 0
    }

    /// C: `HeapTupleHeaderXminInvalid`.
    #[inline]
    pub fn xmin_invalid(self) -> bool {
        self.infomask() & infomask::XMIN_FROZEN == infomask::XMIN_INVALID
    }

    /// C: `HeapTupleHeaderXminFrozen`.
    #[inline]
    pub fn xmin_frozen(self) -> bool {
        self.infomask() & infomask::XMIN_FROZEN == infomask::XMIN_FROZEN
    }

    /// The next version is on this page and no index points at it. C: `HeapTupleHeaderIsHotUpdated`.
    pub fn is_hot_updated(self) -> bool {
        self.infomask2() & infomask2::HOT_UPDATED != 0
            && self.infomask() & infomask::XMAX_INVALID == 0
            && !self.xmin_invalid()
    }

    /// No index points at it. C: `HeapTupleHeaderIsHeapOnly`.
    pub fn is_heap_only(self) -> bool {
        self.infomask2() & infomask2::ONLY_TUPLE != 0
    }

    /// A speculative insertion's token is where `ctid` was. C: `HeapTupleHeaderIsSpeculative`.
    pub fn is_speculative(self) -> bool {
        self.ctid().offset == SPECULATIVE_OFFSET
    }

    /// C: `HeapTupleHeaderIndicatesMovedPartitions`.
    pub fn moved_partitions(self) -> bool {
        self.ctid() == MOVED_PARTITIONS
    }
}

/// Offset in `ctid` that marks a speculative insertion. C: `SpecTokenOffsetNumber`.
pub const SPECULATIVE_OFFSET: OffsetNumber = 0xfffe;
/// `ctid` of a row that went to another partition. C: `ItemPointerSetMovedPartitions`.
pub const MOVED_PARTITIONS: ItemPointer = ItemPointer { block: common::INVALID_BLOCK, offset: 0xfffd };

impl HeaderMut<'_> {
    /// The same, for reading.
    #[inline]
    pub fn read(&self) -> Header<'_> {
        Header(self.0)
    }

    /// C: `HeapTupleHeaderSetXmin`.
    #[inline]
    pub fn set_xmin(&mut self, xid: Xid) {
        self.0[0..4].copy_from_slice(&xid.0.to_le_bytes());
    }

    /// C: `HeapTupleHeaderSetXmax`.
    #[inline]
    pub fn set_xmax(&mut self, xid: Xid) {
        self.0[4..8].copy_from_slice(&xid.0.to_le_bytes());
    }

    /// C: `HeapTupleHeaderSetCmin`.
    #[inline]
    pub fn set_cmin(&mut self, cid: CommandId) {
        self.set_raw_cid(cid);
        self.clear(infomask::COMBOCID);
    }

    /// `combo` says that `cid` is a combo command id. C: `HeapTupleHeaderSetCmax`.
    #[inline]
    pub fn set_cmax(&mut self, cid: CommandId, combo: bool) {
        self.set_raw_cid(cid);
        self.clear(infomask::COMBOCID);
        if combo {
            self.set(infomask::COMBOCID);
        }
    }

    /// `t_cid` or `t_xvac`.
    #[inline]
    pub fn set_raw_cid(&mut self, cid: CommandId) {
        self.0[8..12].copy_from_slice(&cid.to_le_bytes());
    }

    /// `t_ctid`.
    #[inline]
    pub fn set_ctid(&mut self, tid: ItemPointer) {
        self.0[12..18].copy_from_slice(&tid.to_bytes());
    }

    /// `t_infomask2`.
    #[inline]
    pub fn set_infomask2(&mut self, mask: u16) {
        self.0[18..20].copy_from_slice(&mask.to_le_bytes());
    }

    /// `t_infomask`.
    #[inline]
    pub fn set_infomask(&mut self, mask: u16) {
        self.0[20..22].copy_from_slice(&mask.to_le_bytes());
    }

    /// `t_hoff`.
    #[inline]
    pub fn set_hoff(&mut self, hoff: u8) {
        self.0[22] = hoff;
    }

    /// Sets bits of `t_infomask`.
    #[inline]
    pub fn set(&mut self, bits: u16) {
        self.set_infomask(self.read().infomask() | bits);
    }

    /// Clears bits of `t_infomask`.
    #[inline]
    pub fn clear(&mut self, bits: u16) {
        self.set_infomask(self.read().infomask() & !bits);
    }

    /// Sets bits of `t_infomask2`.
    #[inline]
    pub fn set2(&mut self, bits: u16) {
        self.set_infomask2(self.read().infomask2() | bits);
    }

    /// Clears bits of `t_infomask2`.
    #[inline]
    pub fn clear2(&mut self, bits: u16) {
        self.set_infomask2(self.read().infomask2() & !bits);
    }
}

const _: () = assert!(MAX_TUPLE_SIZE == 8160 && MAX_TUPLES_PER_PAGE == 291);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_c_has_them() {
        let mut bytes = [0u8; 24];
        let mut h = HeaderMut(&mut bytes);
        h.set_xmin(Xid(0x0102_0304));
        h.set_xmax(Xid(5));
        h.set_cmax(7, true);
        h.set_ctid(ItemPointer::new(1, 2));
        h.set_infomask2(3);
        h.set_hoff(24);
        let h = Header(&bytes);
        assert_eq!((h.raw_xmin(), h.raw_xmax(), h.raw_cid()), (Xid(0x0102_0304), Xid(5), 7));
        assert_eq!((h.ctid(), h.natts(), h.hoff()), (ItemPointer::new(1, 2), 3, 24));
        assert_eq!(h.infomask(), infomask::COMBOCID);
        assert_eq!(bytes[..4], [4, 3, 2, 1]);
    }

    #[test]
    fn xmin_bits_together_mean_frozen() {
        let mut bytes = [0u8; 24];
        HeaderMut(&mut bytes).set(infomask::XMIN_FROZEN);
        let h = Header(&bytes);
        assert!(h.xmin_committed() && h.xmin_frozen() && !h.xmin_invalid());
        assert_eq!(h.xmin(), Xid::FROZEN);
    }
}
