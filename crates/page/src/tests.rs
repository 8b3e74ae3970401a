//! Pages of all kinds, made here and by the real server.

use common::{BLCKSZ, Lsn, OffsetNumber};
use proptest::prelude::*;

use crate::{ItemId, ItemState, MAX_HEAP_TUPLES_PER_PAGE, Page, PageState, max_align};

fn empty(special: usize) -> Box<Page> {
    let mut page = Page::zeroed();
    page.init(special);
    page
}

#[test]
fn an_initialised_page() {
    let page = empty(16);
    assert_eq!((page.lower(), page.upper(), page.special()), (24, BLCKSZ - 16, BLCKSZ - 16));
    assert_eq!(page.size_version(), 0x2004);
    assert!(page.is_empty() && !page.is_new() && page.max_offset() == 0);
    assert!(Page::zeroed().is_new());
    assert_eq!(page.special_bytes().len(), 16);
}

#[test]
fn header_fields_are_where_postgresql_has_them() {
    let mut page = empty(0);
    page.set_lsn(Lsn(0x0000_0001_0203_0405));
    page.set_prunable(common::Xid(700));
    page.set_prunable(common::Xid(800));
    page.set_all_visible(true);
    page.set_full(true);
    assert_eq!(page.bytes()[..8], [1, 0, 0, 0, 5, 4, 3, 2]);
    assert_eq!(page.bytes()[10..12], [6, 0]);
    assert_eq!(page.bytes()[20..24], 700u32.to_le_bytes());
    assert_eq!(page.lsn(), Lsn(0x0000_0001_0203_0405));
    page.set_full(false);
    assert!(page.all_visible() && !page.is_full());
}

#[test]
fn a_line_pointer_is_offset_state_length() {
    let id = ItemId::normal(8152, 40);
    assert_eq!(id.0, 8152 | 1 << 15 | 40 << 17);
    assert_eq!((id.offset(), id.state(), id.len()), (8152, ItemState::Normal, 40));
    assert_eq!(ItemId::redirect(7).redirect_to(), 7);
    assert!(ItemId::dead().is_dead() && ItemId::dead().is_empty() && ItemId::UNUSED.0 == 0);
    assert!(id.marked_dead().is_dead() && id.marked_dead().has_storage());
}

#[test]
fn items_go_in_from_the_end() {
    let mut page = empty(0);
    assert_eq!(page.add_item(b"first", None, false, true), Some(1));
    assert_eq!(page.add_item(b"second one", None, false, true), Some(2));
    assert_eq!((page.item(1), page.item(2)), (&b"first"[..], &b"second one"[..]));
    assert_eq!(page.item_id(1).offset(), BLCKSZ - 8);
    assert_eq!(page.item_id(2).offset(), BLCKSZ - 24);
    // In the middle: the others move up.
    assert_eq!(page.add_item(b"between", Some(2), false, false), Some(2));
    assert_eq!((page.item(2), page.item(3)), (&b"between"[..], &b"second one"[..]));
    assert_eq!(page.add_item(b"x", Some(9), false, false), None, "leaves a gap");
    assert_eq!(page.add_item(b"x", Some(1), true, false), None, "is in use");
}

#[test]
fn an_unused_line_pointer_is_found_again_if_the_hint_says_so() {
    let mut page = empty(0);
    for _ in 0..3 {
        page.add_item(b"12345678", None, false, true);
    }
    page.set_item_id(2, ItemId::UNUSED);
    assert_eq!(page.add_item(b"new", None, false, true), Some(4), "nobody looks without the hint");
    page.set_has_free_lines(true);
    assert_eq!(page.add_item(b"new", None, false, true), Some(2));
    assert_eq!(page.add_item(b"new", None, false, true), Some(5));
    assert!(!page.has_free_lines(), "a wrong hint goes");
}

#[test]
fn a_heap_page_has_at_most_291_items() {
    let mut page = empty(0);
    for i in 1..=MAX_HEAP_TUPLES_PER_PAGE {
        assert_eq!(page.add_item(b"x", None, false, true), Some(i as OffsetNumber));
    }
    assert_eq!(page.add_item(b"x", None, false, true), None);
    assert!(page.free_space() > 0 && page.heap_free_space() == 0);
    page.set_item_id(5, ItemId::UNUSED);
    page.set_has_free_lines(true);
    assert!(page.heap_free_space() > 0);
}

#[test]
fn truncating_keeps_the_first_line_pointer() {
    let mut page = empty(0);
    for _ in 0..5 {
        page.add_item(b"x", None, false, true);
    }
    for offset in [1, 3, 4, 5] {
        page.set_item_id(offset, ItemId::UNUSED);
    }
    page.truncate_line_pointers();
    assert!(page.max_offset() == 2 && page.has_free_lines());
    page.set_item_id(2, ItemId::UNUSED);
    page.truncate_line_pointers();
    assert!(page.max_offset() == 1 && page.has_free_lines());
}

#[test]
fn nonsense_is_reported() {
    let mut page = empty(0);
    page.add_item(b"x", None, false, true);
    page.set_item_id(1, ItemId::normal(30, 100));
    assert_eq!(page.repair_fragmentation().unwrap_err().message, "corrupted line pointer: 30");
    page.set_upper(10);
    assert_eq!(
        page.repair_fragmentation().unwrap_err().message,
        "corrupted page pointers: lower = 28, upper = 10, special = 8192"
    );
    assert_eq!(page.verify(0, false), PageState::BadHeader);
    assert!(!page.is_valid_header());
}

#[test]
fn verification() {
    let mut page = empty(0);
    page.add_item(b"some data", None, false, true);
    assert_eq!(page.verify(3, false), PageState::Ok);
    let computed = page.compute_checksum(3);
    assert_eq!(page.verify(3, true), PageState::BadChecksum { computed, stored: 0, header_ok: true });
    page.set_checksum(3);
    assert_eq!(page.verify(3, true), PageState::Ok);
    assert_ne!(page.verify(4, true), PageState::Ok, "a page from the wrong place");
    assert_eq!(Page::zeroed().verify(9, true), PageState::Ok);
    let mut torn = Page::zeroed();
    torn.bytes_mut()[8000] = 1;
    assert_eq!(torn.verify(9, true), PageState::BadHeader);
    let mut new = Page::zeroed();
    new.set_checksum(1);
    assert_eq!(new.checksum(), 0, "new pages stay zero");
}

/// The slow way: one word at a time, straight from the description of the algorithm.
fn checksum_by_hand(page: &Page, block: u32) -> u16 {
    let mut bytes = *page.bytes();
    bytes[8..10].fill(0);
    let word = |row: usize, lane: usize| {
        let at = (row * 32 + lane) * 4;
        if at >= BLCKSZ { 0 } else { u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) }
    };
    let mut all = block;
    for (lane, start) in crate::checksum::OFFSETS.iter().enumerate() {
        let mut sum = *start;
        for row in 0..66 {
            let x = sum ^ word(row, lane);
            sum = x.wrapping_mul(16_777_619) ^ (x >> 17);
        }
        all ^= sum;
    }
    (all % 65_535 + 1) as u16
}

proptest! {
    #[test]
    fn checksum_agrees_with_the_slow_way(seed in any::<u64>(), block in any::<u32>()) {
        let mut page = Page::zeroed();
        let mut x = seed | 1;
        for byte in page.bytes_mut() {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            *byte = x as u8;
        }
        prop_assert_eq!(page.compute_checksum(block), checksum_by_hand(&page, block));
    }

    /// PG2: nothing panics, whatever the bytes are.
    #[test]
    fn arbitrary_headers_do_no_harm(words in proptest::array::uniform8(any::<u16>()), ids in proptest::collection::vec(any::<u32>(), 20)) {
        let mut page = Page::zeroed();
        for (i, word) in words.iter().enumerate() {
            page.bytes_mut()[8 + 2 * i..10 + 2 * i].copy_from_slice(&word.to_le_bytes());
        }
        for (i, id) in ids.iter().enumerate() {
            page.bytes_mut()[24 + 4 * i..28 + 4 * i].copy_from_slice(&id.to_le_bytes());
        }
        page.verify(0, true);
        page.free_space();
        page.heap_free_space();
        page.special_bytes();
        for offset in 1..=page.max_offset() {
            page.item(offset);
            page.item_mut(offset);
        }
        let _ = page.repair_fragmentation();
        page.truncate_line_pointers();
    }

    /// After a repair every item is what it was, and all free space is in one piece.
    #[test]
    fn repair_keeps_items(
        items in proptest::collection::vec((1usize..300, any::<u8>(), 0u8..3), 1..40),
        order in any::<u64>(),
    ) {
        let mut page = empty(0);
        let mut kept = Vec::new();
        for (i, (len, byte, _)) in items.iter().enumerate() {
            // Some go in the middle, so that offsets are not sorted.
            let at = if order >> (i % 64) & 1 == 1 && page.max_offset() > 0 { Some(1) } else { None };
            page.add_item(&vec![*byte; *len], at, false, false);
        }
        for offset in 1..=page.max_offset() {
            match items[offset as usize % items.len()].2 {
                0 => page.set_item_id(offset, ItemId::UNUSED),
                1 => page.set_item_id(offset, ItemId::dead()),
                _ => kept.push((offset, page.item(offset).to_vec())),
            }
        }
        let before = page.max_offset();
        page.repair_fragmentation().unwrap();
        let stored: usize = kept.iter().map(|(_, item)| max_align(item.len())).sum();
        prop_assert_eq!(page.upper(), BLCKSZ - stored);
        let mut end = BLCKSZ;
        for (offset, item) in &kept {
            prop_assert_eq!(page.item(*offset), &item[..]);
            end -= max_align(item.len());
            prop_assert_eq!(page.item_id(*offset).offset(), end, "in the order of line pointers");
        }
        let unused = (1..=page.max_offset()).filter(|o| !page.item_id(*o).is_used()).count();
        prop_assert_eq!(page.has_free_lines(), unused > 0);
        prop_assert!(page.max_offset() <= before);
        if page.max_offset() > 0 {
            prop_assert!(page.item_id(page.max_offset()).is_used());
        }
    }
}

/// Every page of a cluster made by `initdb -k` has the checksum that we compute.
#[test]
fn checksums_are_the_real_servers() {
    let initdb = std::path::Path::new("/usr/lib/postgresql/15/bin/initdb");
    if !initdb.exists() {
        println!("SKIPPED: no PostgreSQL 15 here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(initdb);
    if !running_as_root() {
        command = std::process::Command::new(initdb);
    }
    make_writable_for_nobody(dir.path());
    let made = command.args(["-k", "-N", "-A", "trust", "-U", "postgres", "-D"]).arg(&data).output();
    match made {
        Ok(output) if output.status.success() => {}
        other => {
            println!("SKIPPED: initdb does not run here: {other:?}");
            return;
        }
    }
    let mut pages = 0;
    for dir in ["global", "base/1"] {
        for entry in std::fs::read_dir(data.join(dir)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            for (block, bytes) in std::fs::read(&path).unwrap().chunks_exact(BLCKSZ).enumerate() {
                let page = Page::copy_of(bytes.try_into().unwrap());
                assert_eq!(page.verify(block as u32, true), PageState::Ok, "{path:?} block {block}");
                pages += 1;
            }
        }
    }
    assert!(pages > 500, "only {pages} pages");
}

fn running_as_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

fn make_writable_for_nobody(dir: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
}
