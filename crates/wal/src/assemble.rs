//! From a [`Record`] to its bytes.
//!
//! The bytes are put together in a buffer of this process and then copied into the WAL buffers at one go: one CRC over
//! one range, and the insertion lock is held for no longer than the copy takes.
//!
//! C counterpart: `XLogRecordAssemble`, `XLogCompressBackupBlock` of xloginsert.c.

use std::cell::RefCell;

use common::{BLCKSZ, Lsn};

use crate::compress::{self, Method};
use crate::decode::{block_flags, image_flags};
use crate::layout::{RECORD_CRC_OFFSET, RECORD_HEADER};
use crate::record::{CHECK_CONSISTENCY, INLINE_BLOCKS, Record, RegFlags, RegisteredBlock};

/// C: `XLR_BLOCK_ID_DATA_SHORT` and the other special ids.
pub(crate) mod ids {
    pub(crate) const DATA_SHORT: u8 = 255;
    pub(crate) const DATA_LONG: u8 = 254;
    pub(crate) const ORIGIN: u8 = 253;
    pub(crate) const TOP_XID: u8 = 252;
}

/// When a changed page needs a full image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImagePolicy {
    /// Start of the current checkpoint: a page whose LSN is not above it has not been logged since.
    pub(crate) redo: Lsn,
    /// `full_page_writes`, or a backup is running.
    pub(crate) do_page_writes: bool,
    /// `wal_compression`.
    pub(crate) compression: Option<Method>,
    /// Session's replication origin; 0 if it has none.
    pub(crate) origin: u16,
}

/// What [`assemble`] found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    /// Smallest LSN of a page that got no image because it was above the redo pointer; 0 if there is none.
    /// C: `fpw_lsn`.
    pub(crate) oldest_unlogged_page: Lsn,
    /// Images taken.
    pub(crate) images: u32,
}

/// An image as it goes into the record.
#[derive(Clone, Copy)]
struct PlannedImage {
    hole_offset: u16,
    hole_length: u16,
    /// Replay must restore it; false if it is only there to be compared with the result of replay.
    apply: bool,
    /// Where the compressed form is in the buffer of compressed images; `None` if the page goes in as it is.
    compressed: Option<(u32, u32)>,
}

/// What of a block goes in.
#[derive(Clone, Copy)]
struct Plan {
    image: Option<PlannedImage>,
    data: bool,
}

const NO_PLAN: Plan = Plan { image: None, data: false };

thread_local! {
    static COMPRESSED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Fills `out` with the record's bytes; the link to the record before it and the CRC are still missing: see [`finish`].
pub(crate) fn assemble(record: &Record<'_>, xid: u32, policy: ImagePolicy, out: &mut Vec<u8>) -> Assembled {
    COMPRESSED.with_borrow_mut(|compressed| {
        compressed.clear();
        out.clear();
        out.resize(RECORD_HEADER, 0);
        let mut found = Assembled { oldest_unlogged_page: Lsn::INVALID, images: 0 };
        // Few records have more blocks, and each of the others would clear room for 33 plans.
        let (mut few, mut many) = ([NO_PLAN; INLINE_BLOCKS], Vec::new());
        let count = record.blocks().count();
        let plans = match few.get_mut(..count) {
            Some(few) => few,
            None => {
                many.resize(count, NO_PLAN);
                &mut many[..]
            }
        };
        let mut previous = None;
        for (block, plan) in record.blocks().zip(plans.iter_mut()) {
            *plan = plan_block(record, block, policy, compressed, &mut found);
            put_block_header(record, block, plan, policy.compression, previous, out);
            previous = Some(block.tag.node);
        }
        put_data_header(record, policy, out);
        for (block, plan) in record.blocks().zip(plans.iter()) {
            if let Some(image) = plan.image {
                put_image(block, &image, compressed, out);
            }
            if plan.data {
                record.pieces_of(block.id).for_each(|piece| out.extend_from_slice(piece));
            }
        }
        record.main_pieces().for_each(|piece| out.extend_from_slice(piece));
        let total = out.len() as u32;
        out[0..4].copy_from_slice(&total.to_le_bytes());
        out[4..8].copy_from_slice(&xid.to_le_bytes());
        out[16] = record.info;
        out[17] = record.rmgr;
        found
    })
}

/// CRC over all that follows the header: what can be computed before the place is known.
#[inline]
pub(crate) fn body_crc(record: &[u8]) -> u32 {
    crc32c::crc32c(&record[RECORD_HEADER..])
}

/// Sets the link to the record before it, and the CRC. C: the middle of `XLogInsertRecord`.
#[inline]
pub(crate) fn finish(record: &mut [u8], body_crc: u32, prev: Lsn) {
    record[8..16].copy_from_slice(&prev.0.to_le_bytes());
    let crc = crc32c::crc32c_append(body_crc, &record[..RECORD_CRC_OFFSET]);
    record[RECORD_CRC_OFFSET..RECORD_HEADER].copy_from_slice(&crc.to_le_bytes());
}

/// Whether the page must go in whole.
fn needs_image(block: &RegisteredBlock<'_>, policy: ImagePolicy, found: &mut Assembled) -> bool {
    if block.flags.contains(RegFlags::FORCE_IMAGE) {
        return true;
    }
    if block.flags.intersects(RegFlags::NO_IMAGE) || !policy.do_page_writes {
        return false;
    }
    let lsn = block.page.lsn();
    if lsn <= policy.redo {
        return true;
    }
    if found.oldest_unlogged_page == Lsn::INVALID || lsn < found.oldest_unlogged_page {
        found.oldest_unlogged_page = lsn;
    }
    false
}

fn plan_block(
    record: &Record<'_>,
    block: &RegisteredBlock<'_>,
    policy: ImagePolicy,
    compressed: &mut Vec<u8>,
    found: &mut Assembled,
) -> Plan {
    let needs_image = needs_image(block, policy, found);
    let has_data = record.pieces_of(block.id).next().is_some();
    let data = has_data && (!needs_image || block.flags.contains(RegFlags::KEEP_DATA));
    if !needs_image && record.info & CHECK_CONSISTENCY == 0 {
        return Plan { image: None, data };
    }
    found.images += 1;
    let (hole_offset, hole_length) = hole_of(block);
    let mut image = PlannedImage { hole_offset, hole_length, apply: needs_image, compressed: None };
    if let Some(method) = policy.compression {
        image.compressed = compress_image(method, block, &image, compressed);
    }
    Plan { image: Some(image), data }
}

/// The bytes between lower and upper of a standard page, all zero.
fn hole_of(block: &RegisteredBlock<'_>) -> (u16, u16) {
    if !block.flags.contains(RegFlags::STANDARD) {
        return (0, 0);
    }
    let (lower, upper) = (block.page.lower(), block.page.upper());
    if lower >= page::HEADER_SIZE && upper > lower && upper <= BLCKSZ {
        (lower as u16, (upper - lower) as u16)
    } else {
        (0, 0)
    }
}

fn parts_of<'a>(block: &RegisteredBlock<'a>, image: &PlannedImage) -> (&'a [u8], &'a [u8]) {
    let bytes = &block.page.bytes()[..];
    let (hole, length) = (usize::from(image.hole_offset), usize::from(image.hole_length));
    if length == 0 { (bytes, &[]) } else { (&bytes[..hole], &bytes[hole + length..]) }
}

fn compress_image(
    method: Method,
    block: &RegisteredBlock<'_>,
    image: &PlannedImage,
    out: &mut Vec<u8>,
) -> Option<(u32, u32)> {
    let (before, after) = parts_of(block, image);
    let mut whole = [0; BLCKSZ];
    whole[..before.len()].copy_from_slice(before);
    whole[before.len()..before.len() + after.len()].copy_from_slice(after);
    let len = before.len() + after.len();
    // The hole's length must then be told: two bytes more.
    let limit = len - if image.hole_length == 0 { 0 } else { 2 };
    let start = out.len();
    let done = compress::compress(method, &whole[..len], out, limit);
    done.then_some((start as u32, out.len() as u32))
}

fn put_image(block: &RegisteredBlock<'_>, image: &PlannedImage, compressed: &[u8], out: &mut Vec<u8>) {
    match image.compressed {
        Some((start, end)) => out.extend_from_slice(&compressed[start as usize..end as usize]),
        None => {
            let (before, after) = parts_of(block, image);
            out.extend_from_slice(before);
            out.extend_from_slice(after);
        }
    }
}

fn put_block_header(
    record: &Record<'_>,
    block: &RegisteredBlock<'_>,
    plan: &Plan,
    method: Option<Method>,
    previous: Option<common::RelFileNode>,
    out: &mut Vec<u8>,
) {
    let data_len: usize = if plan.data { record.pieces_of(block.id).map(<[u8]>::len).sum() } else { 0 };
    assert!(data_len <= usize::from(u16::MAX), "a block's data of {data_len} bytes is too long");
    let same_rel = previous == Some(block.tag.node);
    let mut flags = block.tag.fork as u8;
    for (is_set, bit) in [
        (plan.image.is_some(), block_flags::HAS_IMAGE),
        (plan.data, block_flags::HAS_DATA),
        (block.flags.contains(RegFlags::WILL_INIT), block_flags::WILL_INIT),
        (same_rel, block_flags::SAME_REL),
    ] {
        flags |= if is_set { bit } else { 0 };
    }
    out.extend_from_slice(&[block.id, flags]);
    out.extend_from_slice(&(data_len as u16).to_le_bytes());
    if let Some(image) = &plan.image {
        put_image_header(image, method, out);
    }
    if !same_rel {
        for part in [block.tag.node.spc, block.tag.node.db, block.tag.node.rel] {
            out.extend_from_slice(&part.0.to_le_bytes());
        }
    }
    out.extend_from_slice(&block.tag.block.to_le_bytes());
}

fn put_image_header(image: &PlannedImage, method: Option<Method>, out: &mut Vec<u8>) {
    let mut info = if image.hole_length == 0 { 0 } else { image_flags::HAS_HOLE };
    if image.apply {
        info |= image_flags::APPLY;
    }
    let length = match (image.compressed, method) {
        (Some((start, end)), Some(method)) => {
            info |= method.flag();
            (end - start) as usize
        }
        _ => BLCKSZ - usize::from(image.hole_length),
    };
    out.extend_from_slice(&(length as u16).to_le_bytes());
    out.extend_from_slice(&image.hole_offset.to_le_bytes());
    out.push(info);
    if image.compressed.is_some() && image.hole_length != 0 {
        out.extend_from_slice(&image.hole_length.to_le_bytes());
    }
}

fn put_data_header(record: &Record<'_>, policy: ImagePolicy, out: &mut Vec<u8>) {
    if record.include_origin && policy.origin != 0 {
        out.push(ids::ORIGIN);
        out.extend_from_slice(&policy.origin.to_le_bytes());
    }
    if record.top_xid.is_valid() {
        out.push(ids::TOP_XID);
        out.extend_from_slice(&record.top_xid.0.to_le_bytes());
    }
    let len: usize = record.main_pieces().map(<[u8]>::len).sum();
    if len > 255 {
        out.push(ids::DATA_LONG);
        out.extend_from_slice(&(len as u32).to_le_bytes());
    } else if len > 0 {
        out.extend_from_slice(&[ids::DATA_SHORT, len as u8]);
    }
}

#[cfg(test)]
#[path = "assemble_tests.rs"]
mod tests;
