//! The map against a model, and its addresses against PostgreSQL's.

use common::{BLCKSZ, ForkNumber};
use proptest::prelude::*;

use super::address::Address;
use super::tree::{self, Found, SLOTS};
use super::*;
use crate::testing::{World, relation};

#[test]
fn categories() {
    for (bytes, category) in [(0, 0), (31, 0), (32, 1), (8127, 253), (8159, 254), (8160, 255), (8192, 255)] {
        assert_eq!(category_of(bytes), category, "{bytes}");
    }
    for (bytes, category) in [(0, 1), (1, 1), (32, 1), (33, 2), (8128, 254), (8129, 255), (8160, 255)] {
        assert_eq!(category_for(bytes).unwrap(), category, "{bytes}");
    }
    assert_eq!(category_for(8161).unwrap_err().message, "invalid FSM request size 8161");
    assert_eq!((space_of(255), space_of(3)), (8160, 96));
}

/// Root, first middle page, first leaves ..., and the second middle page after 4069 leaves.
#[test]
fn addresses() {
    assert_eq!(Address::ROOT.physical(), 0);
    assert_eq!(Address::ROOT.child(0).physical(), 1);
    let leaf = |block| Address::of_block(block).0.physical();
    assert_eq!(leaf(0), 2);
    assert_eq!(leaf(SLOTS as u32 - 1), 2);
    assert_eq!(leaf(SLOTS as u32), 3);
    assert_eq!(Address::ROOT.child(1).physical(), SLOTS as u32 + 2);
    assert_eq!(leaf((SLOTS * SLOTS) as u32), SLOTS as u32 + 3);
    let (address, slot) = Address::of_block(123_456_789);
    assert_eq!(address.block(slot), 123_456_789);
    let (parent, slot) = address.parent();
    assert_eq!(parent.child(slot), address);
}

#[test]
fn a_page_with_room_is_found() {
    let _world = World::with_buffers(64);
    let rel = relation(200, 10);
    assert_eq!(get_page_with_free_space(rel, 100).unwrap(), None, "no map yet");
    record_free_space(rel, 7, 1000).unwrap();
    assert_eq!(recorded_free_space(rel, 7).unwrap(), 992);
    // Upper pages learn of it when the map is vacuumed.
    vacuum(rel).unwrap();
    assert_eq!(get_page_with_free_space(rel, 900).unwrap(), Some(7));
    assert_eq!(get_page_with_free_space(rel, 1001).unwrap(), None);
    record_free_space(rel, 9, 500).unwrap();
    assert_eq!(record_and_get(rel, 7, 10, 400).unwrap(), Some(9));
    // The upper pages still promise more than there is; the search corrects them.
    assert_eq!(get_page_with_free_space(rel, 900).unwrap(), None);
    assert_eq!(get_page_with_free_space(rel, 400).unwrap(), Some(9));
    // Room on pages that are not there (any more) is none.
    record_free_space(rel, 10, 8000).unwrap();
    vacuum(rel).unwrap();
    assert_eq!(get_page_with_free_space(rel, 400).unwrap(), Some(9));
    assert_eq!(get_page_with_free_space(rel, 4000).unwrap(), None);
    assert_eq!(recorded_free_space(rel, 10).unwrap(), 0);
    // root, middle, leaf
    assert_eq!(smgr::nblocks(rel, ForkNumber::Fsm).unwrap(), 3);
}

#[test]
fn truncation_clears_what_is_gone() {
    let _world = World::with_buffers(64);
    let rel = relation(200, 12);
    let far = SLOTS as u32 + 5;
    for block in [3, 10, far] {
        record_free_space(rel, block, 2000).unwrap();
    }
    vacuum(rel).unwrap();
    assert_eq!(smgr::nblocks(rel, ForkNumber::Fsm).unwrap(), 4);
    truncate(rel, 8, true).unwrap();
    assert_eq!(smgr::nblocks(rel, ForkNumber::Fsm).unwrap(), 3);
    vacuum(rel).unwrap();
    assert_eq!(get_page_with_free_space(rel, 100).unwrap(), Some(3));
    assert_eq!(recorded_free_space(rel, 10).unwrap(), 0);
    assert_eq!(prepare_truncate(rel, 0, true).unwrap(), Some(2));
}

#[test]
fn searches_do_not_all_find_the_same_page() {
    let _world = World::with_buffers(64);
    let rel = relation(200, 12);
    (0..10).for_each(|block| record_free_space(rel, block, 800).unwrap());
    vacuum(rel).unwrap();
    let found: Vec<_> = (0..12).map(|_| get_page_with_free_space(rel, 700).unwrap().unwrap()).collect();
    assert_eq!(found, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
}

#[test]
fn a_torn_page_is_rebuilt() {
    let _world = World::with_buffers(64);
    let rel = relation(200, 2);
    record_free_space(rel, 1, 800).unwrap();
    vacuum(rel).unwrap();
    {
        let pin = read(rel, Address::of_block(1).0, false).unwrap().unwrap();
        let mut write = pin.exclusive();
        write.page_mut().bytes_mut()[28..40].fill(200);
    }
    assert_eq!(get_page_with_free_space(rel, 700).unwrap(), Some(1));
    assert_eq!(get_page_with_free_space(rel, 3000).unwrap(), None);
}

proptest! {
    #[test]
    fn a_page_against_a_model(steps in proptest::collection::vec((0usize..SLOTS, any::<u8>(), any::<u8>()), 1..200)) {
        let mut page = Page::zeroed();
        page.init(0);
        let mut model = vec![0u8; SLOTS];
        for (slot, value, wanted) in steps {
            prop_assert_eq!(tree::set(&mut page, slot, value), model[slot] != value);
            model[slot] = value;
            prop_assert_eq!(tree::maximum(&page), *model.iter().max().unwrap());
            let wanted = wanted.max(1);
            match tree::search(&page, wanted) {
                Found::Slot(found) => {
                    prop_assert!(model[found] >= wanted);
                    tree::set_next_slot(&mut page, found as u32 + 1);
                }
                Found::Nothing => prop_assert!(model.iter().all(|v| *v < wanted)),
                Found::Torn => prop_assert!(false, "not torn"),
            }
        }
        tree::truncate(&mut page, 100);
        prop_assert_eq!(tree::maximum(&page), *model[..100].iter().max().unwrap());
        prop_assert_eq!(page.bytes().len(), BLCKSZ);
    }
}

/// The maps that the real server has made: each page is the tree that we would build of its leaves, and each slot of
/// an upper page is the maximum of the page that we think is below it.
#[test]
fn maps_of_the_real_server() {
    let initdb = std::path::Path::new("/usr/lib/postgresql/15/bin/initdb");
    if !initdb.exists() {
        println!("SKIPPED: no PostgreSQL 15 here");
        return;
    }
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let data = dir.path().join("data");
    let as_root = std::fs::metadata("/proc/self").is_ok_and(|m| m.uid() == 0);
    let mut command = std::process::Command::new(if as_root { "setpriv".as_ref() } else { initdb });
    if as_root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(initdb);
    }
    let made = command.args(["-N", "-A", "trust", "-U", "postgres", "-D"]).arg(&data).output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: initdb does not run here: {made:?}");
        return;
    }
    let mut maps = 0;
    for entry in std::fs::read_dir(data.join("base/1")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with("_fsm") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let pages: Vec<_> =
            bytes.chunks_exact(BLCKSZ).map(|page| Page::copy_of(page.try_into().unwrap())).collect();
        for page in pages.iter().filter(|page| !page.is_new()) {
            let mut rebuilt = page.clone();
            tree::rebuild(&mut rebuilt);
            assert!(rebuilt.bytes() == page.bytes(), "{path:?}");
        }
        let at = |address: Address| &pages[address.physical() as usize];
        let (root, middle) = (Address::ROOT, Address::ROOT.child(0));
        assert_eq!(tree::get(at(root), 0), tree::maximum(at(middle)), "{path:?}");
        assert_eq!(tree::get(at(middle), 0), tree::maximum(at(middle.child(0))), "{path:?}");
        maps += 1;
    }
    assert!(maps > 10, "only {maps} maps");
}
