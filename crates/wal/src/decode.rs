//! A record taken apart.
//!
//! C counterpart: `DecodeXLogRecord`, `RestoreBlockImage` of xlogreader.c; access/xlogrecord.h.

use common::{BLCKSZ, ForkNumber, Lsn, Oid, RelFileNode, Xid};
use page::Page;

use crate::assemble::ids;
use crate::compress::{self, Method};
use crate::layout::{RECORD_CRC_OFFSET, RECORD_HEADER, RecordHeader, u16_at, u32_at};
use crate::record::{BlockTag, INFO_MASK, INLINE_BLOCKS, MAX_BLOCK_ID};

/// A page image in a record.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Replay must restore it; otherwise it is only there to be compared. C: `apply_image`.
    pub apply: bool,
    /// Start of the hole that was left out.
    pub hole_offset: u16,
    /// Its length; 0 if there is none.
    pub hole_length: u16,
    /// C: `bimg_info`.
    pub info: u8,
    /// The image, without the hole, compressed as `info` says.
    pub bytes: &'a [u8],
}

/// One block of a record. C: `DecodedBkpBlock`.
#[derive(Clone, Copy, Debug)]
pub struct DecodedBlock<'a> {
    /// Its id within the record.
    pub id: u8,
    /// Which page.
    pub tag: BlockTag,
    /// Fork and `BKPBLOCK_*` bits.
    pub flags: u8,
    /// Its image, if the record has one.
    pub image: Option<Image<'a>>,
    /// Its data; empty if the record has none.
    pub data: &'a [u8],
}

/// One record, borrowed from the reader's buffer. C: `DecodedXLogRecord`.
#[derive(Clone, Debug)]
pub struct DecodedRecord<'a> {
    /// Where it starts. C: `ReadRecPtr`.
    pub lsn: Lsn,
    /// End plus one, aligned: the LSN of the pages it changed. C: `EndRecPtr`.
    pub end_lsn: Lsn,
    /// Where the record before it starts. C: `xl_prev`.
    pub prev: Lsn,
    /// Bytes, without padding. C: `xl_tot_len`.
    pub total_len: u32,
    /// Transaction. C: `xl_xid`.
    pub xid: Xid,
    /// Resource manager. C: `xl_rmid`.
    pub rmgr: u8,
    /// What happened, with flags in the low bits. C: `xl_info`.
    pub info: u8,
    /// Replication origin; 0 if there is none.
    pub origin: u16,
    /// Top-level transaction, if it is told. C: `toplevel_xid`.
    pub top_xid: Xid,
    /// Data of the record itself.
    pub main_data: &'a [u8],
    few: [Option<DecodedBlock<'a>>; INLINE_BLOCKS],
    more: Vec<DecodedBlock<'a>>,
}

impl<'a> DecodedRecord<'a> {
    /// What happened, without the flags. C: `XLogRecGetInfo(record) & ~XLR_INFO_MASK`.
    #[inline]
    pub fn operation(&self) -> u8 {
        self.info & !INFO_MASK
    }

    /// The blocks, in order of their ids.
    pub fn blocks(&self) -> impl Iterator<Item = &DecodedBlock<'a>> {
        self.few.iter().flatten().chain(&self.more)
    }

    /// One block. C: `XLogRecGetBlock`.
    #[inline]
    pub fn block(&self, id: u8) -> Option<&DecodedBlock<'a>> {
        self.blocks().find(|block| block.id == id)
    }

    /// Highest block id. C: `XLogRecMaxBlockId`.
    pub fn max_block_id(&self) -> Option<u8> {
        self.blocks().map(|block| block.id).last()
    }

    /// Data of a block; `None` without that block or without data. C: `XLogRecGetBlockData`.
    #[inline]
    pub fn block_data(&self, id: u8) -> Option<&'a [u8]> {
        self.block(id).filter(|block| block.has_data()).map(|block| block.data)
    }

    /// Whether the block comes with an image, to be applied or not. C: `XLogRecHasBlockImage`.
    pub fn has_image(&self, id: u8) -> bool {
        self.block(id).is_some_and(|block| block.image.is_some())
    }
}

/// `BKPBLOCK_*`.
pub(crate) mod block_flags {
    pub(crate) const FORK_MASK: u8 = 0x0F;
    pub(crate) const HAS_IMAGE: u8 = 0x10;
    pub(crate) const HAS_DATA: u8 = 0x20;
    pub(crate) const WILL_INIT: u8 = 0x40;
    pub(crate) const SAME_REL: u8 = 0x80;
}

/// `BKPIMAGE_*`.
pub(crate) mod image_flags {
    pub(crate) const HAS_HOLE: u8 = 0x01;
    pub(crate) const APPLY: u8 = 0x02;
    pub(crate) const PGLZ: u8 = 0x04;
    pub(crate) const LZ4: u8 = 0x08;
    pub(crate) const ZSTD: u8 = 0x10;
    pub(crate) const COMPRESSED: u8 = PGLZ | LZ4 | ZSTD;
}

impl DecodedBlock<'_> {
    /// Whether the record has data for it. C: `has_data`.
    pub fn has_data(&self) -> bool {
        self.flags & block_flags::HAS_DATA != 0
    }

    /// Whether replay makes the page anew. C: `BKPBLOCK_WILL_INIT`.
    pub fn will_init(&self) -> bool {
        self.flags & block_flags::WILL_INIT != 0
    }

    /// Whether there is an image. C: `has_image`.
    pub fn has_image(&self) -> bool {
        self.image.is_some()
    }

    /// Whether there is an image that replay must restore. C: `apply_image`.
    pub fn apply_image(&self) -> bool {
        self.image.is_some_and(|image| image.apply)
    }

    /// Writes the image over a page, its hole as zeros; the caller sets the LSN. `lsn` is the record's end, for the
    /// message. C: `RestoreBlockImage`.
    ///
    /// # Errors
    /// PostgreSQL's text if there is none, or if it cannot be decompressed.
    pub fn restore_image(&self, lsn: Lsn, page: &mut Page) -> Result<(), String> {
        let Some(image) = &self.image else {
            return Err(format!("could not restore image at {lsn} with invalid state, block {}", self.id));
        };
        let (hole, length) = (usize::from(image.hole_offset), usize::from(image.hole_length));
        let mut whole = [0; BLCKSZ];
        let packed = if image.info & image_flags::COMPRESSED == 0 {
            image.bytes
        } else {
            let Some(method) = Method::of_flags(image.info) else {
                return Err(format!(
                    "could not restore image at {lsn} compressed with unknown method, block {}",
                    self.id
                ));
            };
            let unpacked = &mut whole[..BLCKSZ - length];
            if !compress::decompress(method, image.bytes, unpacked) {
                return Err(format!("could not decompress image at {lsn}, block {}", self.id));
            }
            unpacked
        };
        let bytes = page.bytes_mut();
        bytes[..hole].copy_from_slice(&packed[..hole]);
        bytes[hole..hole + length].fill(0);
        bytes[hole + length..].copy_from_slice(&packed[hole..]);
        Ok(())
    }
}

/// Decodes one record from its bytes (without page headers), checking length and CRC: for tests of redo functions and
/// for tools. C: `DecodeXLogRecord`.
///
/// # Errors
/// PostgreSQL's text of what is wrong.
pub fn decode_record(lsn: Lsn, end_lsn: Lsn, bytes: &[u8]) -> Result<DecodedRecord<'_>, String> {
    if bytes.len() < RECORD_HEADER {
        return Err(format!("invalid record length at {lsn}: wanted {RECORD_HEADER}, got {}", bytes.len()));
    }
    let header = RecordHeader::decode(bytes);
    if header.total_len as usize != bytes.len() {
        return Err(format!("record with invalid length at {lsn}"));
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[RECORD_HEADER..]), &bytes[..RECORD_CRC_OFFSET]);
    if crc != header.crc {
        return Err(format!("incorrect resource manager data checksum in record at {lsn}"));
    }
    decode_body(lsn, end_lsn, &header, bytes)
}

/// What a block header says of the image and data that follow later.
#[derive(Clone, Copy)]
struct Lengths {
    image: u16,
    data: u16,
}

/// Reads forward through a record.
struct Cursor<'a> {
    rest: &'a [u8],
    lsn: Lsn,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(format!("record with invalid length at {}", self.lsn)),
        }
    }

    fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, String> {
        Ok(u16_at(self.take(2)?, 0))
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32_at(self.take(4)?, 0))
    }
}

/// Takes a record apart whose header and CRC have been checked. C: `DecodeXLogRecord`.
pub(crate) fn decode_body<'a>(
    lsn: Lsn,
    end_lsn: Lsn,
    header: &RecordHeader,
    bytes: &'a [u8],
) -> Result<DecodedRecord<'a>, String> {
    let mut record = DecodedRecord {
        lsn,
        end_lsn,
        prev: header.prev,
        total_len: header.total_len,
        xid: Xid(header.xid),
        rmgr: header.rmgr,
        info: header.info,
        origin: 0,
        top_xid: Xid::INVALID,
        main_data: &[],
        few: [None; INLINE_BLOCKS],
        more: Vec::new(),
    };
    let mut cursor = Cursor { rest: &bytes[RECORD_HEADER..], lsn };
    let (mut count, mut payload, mut main_len) = (0, 0, 0);
    let mut lengths = [Lengths { image: 0, data: 0 }; MAX_BLOCK_ID as usize + 1];
    let mut node = None;
    // Headers are over when what is left is what they announced.
    while cursor.rest.len() > payload {
        match cursor.u8()? {
            ids::DATA_SHORT => {
                main_len = usize::from(cursor.u8()?);
                payload += main_len;
                break;
            }
            ids::DATA_LONG => {
                main_len = cursor.u32()? as usize;
                payload += main_len;
                break;
            }
            ids::ORIGIN => record.origin = cursor.u16()?,
            ids::TOP_XID => record.top_xid = Xid(cursor.u32()?),
            id if id <= MAX_BLOCK_ID => {
                let last = if count == 0 { None } else { record.last_id(count) };
                if last.is_some_and(|last| id <= last) {
                    return Err(format!("out-of-order block_id {id} at {lsn}"));
                }
                let (block, its_lengths) = decode_block_header(&mut cursor, id, &mut node)?;
                payload += usize::from(its_lengths.image) + usize::from(its_lengths.data);
                lengths[count] = its_lengths;
                record.push(count, block);
                count += 1;
            }
            id => return Err(format!("invalid block_id {id} at {lsn}")),
        }
    }
    if cursor.rest.len() != payload {
        return Err(format!("record with invalid length at {lsn}"));
    }
    for (block, lengths) in record.blocks_mut().zip(&lengths) {
        if let Some(image) = &mut block.image {
            image.bytes = cursor.take(usize::from(lengths.image))?;
        }
        block.data = cursor.take(usize::from(lengths.data))?;
    }
    record.main_data = cursor.take(main_len)?;
    Ok(record)
}

impl<'a> DecodedRecord<'a> {
    fn push(&mut self, count: usize, block: DecodedBlock<'a>) {
        match self.few.get_mut(count) {
            Some(slot) => *slot = Some(block),
            None => self.more.push(block),
        }
    }

    fn last_id(&self, count: usize) -> Option<u8> {
        match self.more.last() {
            Some(block) => Some(block.id),
            None => self.few[count.min(INLINE_BLOCKS) - 1].as_ref().map(|block| block.id),
        }
    }

    fn blocks_mut(&mut self) -> impl Iterator<Item = &mut DecodedBlock<'a>> {
        self.few.iter_mut().flatten().chain(&mut self.more)
    }
}

fn decode_block_header<'a>(
    cursor: &mut Cursor<'a>,
    id: u8,
    node: &mut Option<RelFileNode>,
) -> Result<(DecodedBlock<'a>, Lengths), String> {
    let lsn = cursor.lsn;
    let flags = cursor.u8()?;
    let mut lengths = Lengths { image: 0, data: cursor.u16()? };
    let has_data = flags & block_flags::HAS_DATA != 0;
    if has_data && lengths.data == 0 {
        return Err(format!("BKPBLOCK_HAS_DATA set, but no data included at {lsn}"));
    }
    if !has_data && lengths.data != 0 {
        return Err(format!("BKPBLOCK_HAS_DATA not set, but data length is {} at {lsn}", lengths.data));
    }
    let mut image = None;
    if flags & block_flags::HAS_IMAGE != 0 {
        lengths.image = cursor.u16()?;
        image = Some(decode_image_header(cursor, lengths.image)?);
    }
    if flags & block_flags::SAME_REL == 0 {
        let (spc, db, rel) = (Oid(cursor.u32()?), Oid(cursor.u32()?), Oid(cursor.u32()?));
        *node = Some(RelFileNode { spc, db, rel });
    }
    let Some(node) = *node else {
        return Err(format!("BKPBLOCK_SAME_REL set but no previous rel at {lsn}"));
    };
    let Some(fork) = ForkNumber::from_u8(flags & block_flags::FORK_MASK) else {
        return Err(format!("record with invalid length at {lsn}"));
    };
    let tag = BlockTag { node, fork, block: cursor.u32()? };
    Ok((DecodedBlock { id, tag, flags, image, data: &[] }, lengths))
}

/// The header of an image, checked so that [`DecodedBlock::restore_image`] cannot leave the page.
fn decode_image_header<'a>(cursor: &mut Cursor<'a>, length: u16) -> Result<Image<'a>, String> {
    let lsn = cursor.lsn;
    let hole_offset = cursor.u16()?;
    let info = cursor.u8()?;
    let (compressed, has_hole) = (info & image_flags::COMPRESSED != 0, info & image_flags::HAS_HOLE != 0);
    let hole_length = match (compressed, has_hole) {
        (true, true) => cursor.u16()?,
        (true, false) => 0,
        (false, _) => (BLCKSZ as u16).wrapping_sub(length),
    };
    let full = usize::from(length) == BLCKSZ;
    let beyond = usize::from(hole_offset) + usize::from(hole_length) > BLCKSZ;
    if has_hole && (hole_offset == 0 || hole_length == 0 || full || beyond) {
        return Err(format!(
            "BKPIMAGE_HAS_HOLE set, but hole offset {hole_offset} length {hole_length} block image length {length} at {lsn}"
        ));
    }
    if !has_hole && (hole_offset != 0 || hole_length != 0) {
        return Err(format!(
            "BKPIMAGE_HAS_HOLE not set, but hole offset {hole_offset} length {hole_length} at {lsn}"
        ));
    }
    if compressed && full {
        return Err(format!("BKPIMAGE_COMPRESSED set, but block image length {length} at {lsn}"));
    }
    if !has_hole && !compressed && !full {
        return Err(format!(
            "neither BKPIMAGE_HAS_HOLE nor BKPIMAGE_COMPRESSED set, but block image length is {length} at {lsn}"
        ));
    }
    Ok(Image { apply: info & image_flags::APPLY != 0, hole_offset, hole_length, info, bytes: &[] })
}
