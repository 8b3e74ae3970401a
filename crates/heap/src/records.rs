//! The heap's WAL records: their numbers, flags and bytes.
//!
//! Each struct is what C writes with `XLogRegisterData`, made into bytes and read back here, so that the writing and
//! the replaying side cannot disagree. Sizes exclude trailing padding, as C's `SizeOf...` macros do.
//!
//! C counterpart: access/heapam_xlog.h.

use common::{OffsetNumber, SqlState, Xid};
use elog::{PgError, pg_error};

use crate::header::{Header, infomask, infomask2};

/// Numbers of the records of `RmgrId::Heap`, in the high four bits of the record's info.
pub(crate) mod op {
    pub(crate) const INSERT: u8 = 0x00;
    pub(crate) const DELETE: u8 = 0x10;
    pub(crate) const UPDATE: u8 = 0x20;
    pub(crate) const TRUNCATE: u8 = 0x30;
    pub(crate) const HOT_UPDATE: u8 = 0x40;
    pub(crate) const CONFIRM: u8 = 0x50;
    pub(crate) const LOCK: u8 = 0x60;
    pub(crate) const INPLACE: u8 = 0x70;
    pub(crate) const MASK: u8 = 0x70;
    /// The page is made anew by the record.
    pub(crate) const INIT_PAGE: u8 = 0x80;
}

/// Numbers of the records of `RmgrId::Heap2`.
pub(crate) mod op2 {
    pub(crate) const REWRITE: u8 = 0x00;
    pub(crate) const PRUNE: u8 = 0x10;
    pub(crate) const VACUUM: u8 = 0x20;
    pub(crate) const FREEZE_PAGE: u8 = 0x30;
    pub(crate) const VISIBLE: u8 = 0x40;
    pub(crate) const MULTI_INSERT: u8 = 0x50;
    pub(crate) const LOCK_UPDATED: u8 = 0x60;
    pub(crate) const NEW_CID: u8 = 0x70;
}

/// Flag bytes of the records.
pub(crate) mod flag {
    pub(crate) const INSERT_ALL_VISIBLE_CLEARED: u8 = 1 << 0;
    pub(crate) const INSERT_LAST_IN_MULTI: u8 = 1 << 1;
    pub(crate) const INSERT_ALL_FROZEN_SET: u8 = 1 << 5;
    pub(crate) const UPDATE_OLD_ALL_VISIBLE_CLEARED: u8 = 1 << 0;
    pub(crate) const UPDATE_NEW_ALL_VISIBLE_CLEARED: u8 = 1 << 1;
    pub(crate) const UPDATE_PREFIX_FROM_OLD: u8 = 1 << 5;
    pub(crate) const UPDATE_SUFFIX_FROM_OLD: u8 = 1 << 6;
    pub(crate) const DELETE_ALL_VISIBLE_CLEARED: u8 = 1 << 0;
    pub(crate) const DELETE_IS_SUPER: u8 = 1 << 3;
    pub(crate) const DELETE_IS_PARTITION_MOVE: u8 = 1 << 4;
    pub(crate) const LOCK_ALL_FROZEN_CLEARED: u8 = 1 << 0;
    pub(crate) const FREEZE_XVAC: u8 = 0x02;
    pub(crate) const INVALID_XVAC: u8 = 0x04;
}

/// A record whose bytes do not fit its number: WAL is damaged.
#[cold]
pub(crate) fn bad_record() -> PgError {
    pg_error!(Panic, SqlState::DATA_CORRUPTED, "heap record has an impossible length")
}

fn array<const N: usize>(bytes: &[u8]) -> Result<&[u8; N], PgError> {
    bytes.first_chunk().ok_or_else(bad_record)
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// `count` offset numbers.
pub(crate) fn read_offsets(bytes: &[u8]) -> Vec<OffsetNumber> {
    bytes.chunks_exact(2).map(|b| u16_at(b, 0)).collect()
}

/// Bytes of offset numbers.
pub(crate) fn put_offsets(offsets: &[OffsetNumber], out: &mut Vec<u8>) {
    for offset in offsets {
        out.extend_from_slice(&offset.to_le_bytes());
    }
}

/// What of a header cannot be found out otherwise. C: `xl_heap_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortHeader {
    pub infomask2: u16,
    pub infomask: u16,
    pub hoff: u8,
}

impl ShortHeader {
    pub(crate) const SIZE: usize = 5;

    pub(crate) fn of(h: Header<'_>) -> ShortHeader {
        ShortHeader { infomask2: h.infomask2(), infomask: h.infomask(), hoff: h.hoff() as u8 }
    }

    pub(crate) fn to_bytes(self) -> [u8; 5] {
        let ([a, b], [c, d]) = (self.infomask2.to_le_bytes(), self.infomask.to_le_bytes());
        [a, b, c, d, self.hoff]
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<ShortHeader, PgError> {
        let b = array::<5>(bytes)?;
        Ok(ShortHeader { infomask2: u16_at(b, 0), infomask: u16_at(b, 2), hoff: b[4] })
    }
}

/// C: `xl_heap_insert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insert {
    pub offset: OffsetNumber,
    pub flags: u8,
}

impl Insert {
    pub(crate) fn to_bytes(self) -> [u8; 3] {
        let [a, b] = self.offset.to_le_bytes();
        [a, b, self.flags]
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Insert, PgError> {
        let b = array::<3>(bytes)?;
        Ok(Insert { offset: u16_at(b, 0), flags: b[2] })
    }
}

/// C: `xl_heap_multi_insert`; offset numbers follow unless the page is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MultiInsert {
    pub flags: u8,
    pub count: u16,
}

impl MultiInsert {
    pub(crate) const SIZE: usize = 4;

    pub(crate) fn to_bytes(self) -> [u8; 4] {
        let [a, b] = self.count.to_le_bytes();
        [self.flags, 0, a, b]
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<MultiInsert, PgError> {
        let b = array::<4>(bytes)?;
        Ok(MultiInsert { flags: b[0], count: u16_at(b, 2) })
    }
}

/// One row of a multi-insert. C: `xl_multi_insert_tuple`, at an even offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MultiInsertTuple {
    pub len: u16,
    pub header: ShortHeader,
}

impl MultiInsertTuple {
    pub(crate) const SIZE: usize = 7;

    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.header.to_bytes());
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<MultiInsertTuple, PgError> {
        let b = array::<7>(bytes)?;
        Ok(MultiInsertTuple { len: u16_at(b, 0), header: ShortHeader::read(&b[2..])? })
    }
}

/// A change of a row's xmax. C: `xl_heap_delete`, `xl_heap_lock` and `xl_heap_lock_updated`, all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XmaxChange {
    pub xmax: Xid,
    pub offset: OffsetNumber,
    pub infobits: u8,
    pub flags: u8,
}

impl XmaxChange {
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d] = self.xmax.0.to_le_bytes();
        let [e, f] = self.offset.to_le_bytes();
        [a, b, c, d, e, f, self.infobits, self.flags]
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<XmaxChange, PgError> {
        let b = array::<8>(bytes)?;
        Ok(XmaxChange { xmax: Xid(u32_at(b, 0)), offset: u16_at(b, 4), infobits: b[6], flags: b[7] })
    }
}

/// C: `xl_heap_update`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub old: XmaxChange,
    pub new_xmax: Xid,
    pub new_offset: OffsetNumber,
}

impl Update {
    pub(crate) fn to_bytes(self) -> [u8; 14] {
        let mut bytes = [0; 14];
        bytes[..8].copy_from_slice(&self.old.to_bytes());
        bytes[8..12].copy_from_slice(&self.new_xmax.0.to_le_bytes());
        bytes[12..].copy_from_slice(&self.new_offset.to_le_bytes());
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Update, PgError> {
        let b = array::<14>(bytes)?;
        Ok(Update { old: XmaxChange::read(b)?, new_xmax: Xid(u32_at(b, 8)), new_offset: u16_at(b, 12) })
    }
}

/// C: `xl_heap_prune`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prune {
    pub latest_removed: Xid,
    pub redirected: u16,
    pub dead: u16,
}

impl Prune {
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d] = self.latest_removed.0.to_le_bytes();
        let ([e, f], [g, h]) = (self.redirected.to_le_bytes(), self.dead.to_le_bytes());
        [a, b, c, d, e, f, g, h]
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Prune, PgError> {
        let b = array::<8>(bytes)?;
        Ok(Prune { latest_removed: Xid(u32_at(b, 0)), redirected: u16_at(b, 4), dead: u16_at(b, 6) })
    }
}

/// C: `xl_heap_freeze_page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreezePage {
    pub cutoff: Xid,
    pub count: u16,
}

impl FreezePage {
    pub(crate) fn to_bytes(self) -> [u8; 6] {
        let [a, b, c, d] = self.cutoff.0.to_le_bytes();
        let [e, f] = self.count.to_le_bytes();
        [a, b, c, d, e, f]
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<FreezePage, PgError> {
        let b = array::<6>(bytes)?;
        Ok(FreezePage { cutoff: Xid(u32_at(b, 0)), count: u16_at(b, 4) })
    }
}

/// What freezing does to one row. C: `xl_heap_freeze_tuple`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreezePlan {
    pub xmax: Xid,
    pub offset: OffsetNumber,
    pub infomask2: u16,
    pub infomask: u16,
    pub flags: u8,
}

impl FreezePlan {
    /// With the padding between array elements.
    pub(crate) const SIZE: usize = 12;

    pub(crate) fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.xmax.0.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.infomask2.to_le_bytes());
        out.extend_from_slice(&self.infomask.to_le_bytes());
        out.extend_from_slice(&[self.flags, 0]);
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<FreezePlan, PgError> {
        let b = array::<12>(bytes)?;
        Ok(FreezePlan {
            xmax: Xid(u32_at(b, 0)),
            offset: u16_at(b, 4),
            infomask2: u16_at(b, 6),
            infomask: u16_at(b, 8),
            flags: b[10],
        })
    }
}

/// C: `xl_heap_visible`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visible {
    pub cutoff: Xid,
    pub flags: u8,
}

impl Visible {
    pub(crate) fn to_bytes(self) -> [u8; 5] {
        let [a, b, c, d] = self.cutoff.0.to_le_bytes();
        [a, b, c, d, self.flags]
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Visible, PgError> {
        let b = array::<5>(bytes)?;
        Ok(Visible { cutoff: Xid(u32_at(b, 0)), flags: b[4] })
    }
}

/// Pairs of a flag of a row's header and its bit in a record.
const INFOBITS: [(u16, u8); 4] = [
    (infomask::XMAX_IS_MULTI, 0x01),
    (infomask::XMAX_LOCK_ONLY, 0x02),
    (infomask::XMAX_EXCL_LOCK, 0x04),
    (infomask::XMAX_KEYSHR_LOCK, 0x08),
];
const KEYS_UPDATED_BIT: u8 = 0x10;

/// The flags around xmax as one byte. C: `compute_infobits`.
pub(crate) fn infobits(mask: u16, mask2: u16) -> u8 {
    let keys = if mask2 & infomask2::KEYS_UPDATED != 0 { KEYS_UPDATED_BIT } else { 0 };
    INFOBITS.iter().filter(|(flag, _)| mask & flag != 0).fold(keys, |bits, (_, bit)| bits | bit)
}

/// The flags of a row after replay: (infomask, infomask2). C: `fix_infomask_from_infobits`.
pub(crate) fn fix_infomask(bits: u8, mask: u16, mask2: u16) -> (u16, u16) {
    let mut mask = mask & !(infomask::XMAX_IS_MULTI | infomask::XMAX_LOCK_ONLY | infomask::LOCK_MASK);
    for (flag, bit) in INFOBITS {
        if bits & bit != 0 {
            mask |= flag;
        }
    }
    let keys = if bits & KEYS_UPDATED_BIT != 0 { infomask2::KEYS_UPDATED } else { 0 };
    (mask, mask2 & !infomask2::KEYS_UPDATED | keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let change = XmaxChange { xmax: Xid(0x0102_0304), offset: 5, infobits: 6, flags: 7 };
        assert_eq!(change.to_bytes(), [4, 3, 2, 1, 5, 0, 6, 7]);
        let update = Update { old: change, new_xmax: Xid(9), new_offset: 10 };
        assert_eq!(Update::read(&update.to_bytes()).unwrap(), update);
        let plan = FreezePlan { xmax: Xid(1), offset: 2, infomask2: 3, infomask: 4, flags: 5 };
        let mut bytes = Vec::new();
        plan.put(&mut bytes);
        assert_eq!((bytes.len(), FreezePlan::read(&bytes).unwrap()), (FreezePlan::SIZE, plan));
        assert!(Update::read(&[0; 13]).is_err());
    }

    #[test]
    fn infobits_say_all_about_xmax() {
        for mask in [0, infomask::XMAX_SHR_LOCK | infomask::XMAX_LOCK_ONLY, infomask::XMAX_IS_MULTI] {
            for mask2 in [0, infomask2::KEYS_UPDATED] {
                let keep = infomask::HASNULL;
                let bits = infobits(mask | keep, mask2 | 3);
                let noise = infomask::XMAX_EXCL_LOCK;
                assert_eq!(fix_infomask(bits, keep | noise, 3), (mask | keep, mask2 | 3));
            }
        }
    }
}
