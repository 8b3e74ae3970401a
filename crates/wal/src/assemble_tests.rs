//! Bytes as PostgreSQL lays them out, and back.

use common::{ForkNumber, Oid, RelFileNode, Xid};
use page::Page;
use proptest::prelude::*;

use super::*;
use crate::decode::decode_record;
use crate::offline::encode_with;
use crate::{BlockTag, RmgrId};

const POLICY: ImagePolicy =
    ImagePolicy { redo: Lsn(100), do_page_writes: true, compression: None, origin: 0 };

fn tag(rel: u32, block: u32) -> BlockTag {
    let node = RelFileNode { spc: Oid(1663), db: Oid(5), rel: Oid(rel) };
    BlockTag { node, fork: ForkNumber::Main, block }
}

fn page_at(lsn: u64) -> Box<Page> {
    let mut page = Page::zeroed();
    page.init(0);
    page.add_item(&[3; 100], None, false, true).unwrap();
    page.set_lsn(Lsn(lsn));
    page
}

/// A heap insert without image, byte by byte after xlogrecord.h.
#[test]
fn golden_bytes() {
    let page = page_at(200);
    let mut record = Record::new(RmgrId::Heap, 0);
    record.with_xid(Xid(0x0102_0304)).data(&[7, 0, 8]);
    record.block(0, tag(16_384, 9), &page, RegFlags::STANDARD);
    record.block_data(0, &[2, 0, 0, 8, 24]).block_data(0, &[0xAA; 4]);
    let bytes = encode_with(&record, Lsn(0x1_0000_0028), POLICY);
    let mut expected = vec![58, 0, 0, 0, 4, 3, 2, 1, 0x28, 0, 0, 0, 1, 0, 0, 0, 0, 10, 0, 0];
    expected.extend([0; 4]);
    expected.extend([0, 0x20, 9, 0]); // block 0, main fork, has data: 9 bytes
    expected.extend([0x7F, 6, 0, 0, 5, 0, 0, 0, 0, 0x40, 0, 0]); // 1663/5/16384
    expected.extend([9, 0, 0, 0]); // block 9
    expected.extend([255, 3]); // short main data
    expected.extend([2, 0, 0, 8, 24, 0xAA, 0xAA, 0xAA, 0xAA, 7, 0, 8]);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&expected[24..]), &expected[..20]);
    expected[20..24].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(bytes, expected);
}

/// An image with a hole, then a second block of the same relation, then long main data.
#[test]
fn golden_image() {
    let old = page_at(100);
    let mut record = Record::new(RmgrId::Heap, 0x40);
    let long = [1; 300];
    record.data(&long).block(0, tag(1, 2), &old, RegFlags::STANDARD);
    record.block(1, tag(1, 3), &old, RegFlags::WILL_INIT).block_data(0, b"dropped").block_data(1, b"kept");
    let bytes = encode_with(&record, Lsn(0), POLICY);
    // One line pointer, one item of 104 bytes: the hole is 28 to 8088.
    let (image, hole) = (28 + 104u16, 28u16);
    let mut head = vec![0, 0x10, 0, 0];
    head.extend(image.to_le_bytes());
    head.extend(hole.to_le_bytes());
    head.push(0x01 | 0x02);
    head.extend([0x7F, 6, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]);
    head.extend([1, 0x40 | 0x20 | 0x80, 4, 0, 3, 0, 0, 0]);
    head.extend([254, 44, 1, 0, 0]);
    assert_eq!(&bytes[24..24 + head.len()], &head[..]);
    assert_eq!(bytes.len(), 24 + head.len() + usize::from(image) + 4 + 300);
    let decoded = decode_record(Lsn(8), Lsn(16), &bytes).unwrap();
    assert_eq!(decoded.block_data(0), None);
    assert_eq!(decoded.block_data(1), Some(&b"kept"[..]));
    assert!(decoded.block(1).unwrap().will_init() && !decoded.has_image(1));
    let mut restored = Page::zeroed();
    decoded.block(0).unwrap().restore_image(Lsn(8), &mut restored).unwrap();
    assert!(restored.bytes() == old.bytes());
}

#[test]
fn the_oldest_page_without_image_is_told() {
    let (a, b) = (page_at(300), page_at(200));
    let mut record = Record::new(RmgrId::Heap, 0);
    record.block(0, tag(1, 1), &a, RegFlags::STANDARD).block(1, tag(1, 2), &b, RegFlags::STANDARD);
    let mut out = Vec::new();
    let found = assemble(&record, 0, POLICY, &mut out);
    assert_eq!(found, Assembled { oldest_unlogged_page: Lsn(200), images: 0 });
    let found = assemble(&record, 0, ImagePolicy { redo: Lsn(200), ..POLICY }, &mut out);
    assert_eq!(found, Assembled { oldest_unlogged_page: Lsn(300), images: 1 });
}

#[derive(Clone, Debug)]
struct SomeBlock {
    rel: u32,
    flags: u8,
    data: Vec<u8>,
    lsn: u64,
}

fn some_block() -> impl Strategy<Value = SomeBlock> {
    let data = prop::collection::vec(any::<u8>(), 0..400);
    (1u32..4, 0u8..32, data, 0u64..200).prop_map(|(rel, flags, data, lsn)| SomeBlock {
        rel,
        flags,
        data,
        lsn,
    })
}

proptest! {
    #[test]
    fn round_trip(
        blocks in prop::collection::vec(some_block(), 0..9),
        main in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20),
        method in prop::option::of(prop::sample::select(vec![Method::Pglz, Method::Lz4, Method::Zstd])),
        top in 0u32..2,
    ) {
        let pages: Vec<_> = blocks.iter().map(|block| page_at(block.lsn)).collect();
        let mut record = Record::new(RmgrId::Heap2, 0x50);
        record.top_level_xid(Xid(top));
        for (i, (block, page)) in blocks.iter().zip(&pages).enumerate() {
            record.block(i as u8 * 2, tag(block.rel, i as u32), page, RegFlags::from_bits_truncate(block.flags));
            block.data.chunks(100).for_each(|piece| { record.block_data(i as u8 * 2, piece); });
        }
        main.iter().for_each(|piece| { record.data(piece); });
        let bytes = encode_with(&record, Lsn(64), ImagePolicy { compression: method, ..POLICY });
        let decoded = decode_record(Lsn(72), Lsn(0), &bytes).unwrap();
        prop_assert_eq!(decoded.main_data, main.concat());
        prop_assert_eq!(decoded.top_xid, Xid(top));
        prop_assert_eq!(decoded.blocks().count(), blocks.len());
        for (i, (block, page)) in blocks.iter().zip(&pages).enumerate() {
            let found = decoded.block(i as u8 * 2).unwrap();
            let flags = RegFlags::from_bits_truncate(block.flags);
            let wants_image = flags.contains(RegFlags::FORCE_IMAGE)
                || (!flags.intersects(RegFlags::NO_IMAGE) && block.lsn <= 100);
            prop_assert_eq!(found.apply_image(), wants_image);
            prop_assert_eq!(found.tag, tag(block.rel, i as u32));
            if wants_image {
                let mut restored = Page::zeroed();
                found.restore_image(Lsn(72), &mut restored).unwrap();
                prop_assert!(restored.bytes() == page.bytes());
            }
            let keeps = !wants_image || flags.contains(RegFlags::KEEP_DATA);
            prop_assert_eq!(found.data, if keeps { &block.data[..] } else { &[] });
        }
        // Any damage is an error, never a panic.
        for at in (0..bytes.len()).step_by(7) {
            let mut broken = bytes.clone();
            broken[at] ^= 0x41;
            prop_assert!(decode_record(Lsn(72), Lsn(0), &broken).is_err());
            // Even if the CRC happened to match.
            let header = crate::layout::RecordHeader::decode(&broken);
            if let Ok(record) = crate::decode::decode_body(Lsn(72), Lsn(0), &header, &broken) {
                for block in record.blocks() {
                    let _ = block.restore_image(Lsn(72), &mut Page::zeroed());
                }
            }
        }
    }
}
