//! Files on a temporary directory.

use common::{ForkNumber, SqlState};
use page::Page;

use super::*;
use crate::sync;
use crate::testing::{MAIN, World, exists as on_disk, node, number_in, numbered, relation};

#[test]
fn blocks_come_back() {
    let _world = World::with_buffers(16);
    let rel = relation(300, 5);
    assert_eq!(nblocks(rel, MAIN).unwrap(), 5);
    assert_eq!(number_in(&read_page(rel, MAIN, 4).unwrap()), 4);
    write(rel, MAIN, 2, &numbered(22), false).unwrap();
    close(rel);
    assert_eq!(number_in(&read_page(rel, MAIN, 2).unwrap()), 22);
    zero_extend(rel, MAIN, 5, 300).unwrap();
    assert_eq!(nblocks(rel, MAIN).unwrap(), 305);
    assert!(read_page(rel, MAIN, 304).unwrap().is_new());
}

#[test]
fn errors_are_postgresqls() {
    let _world = World::with_buffers(16);
    let rel = node(300);
    assert!(!exists(rel, MAIN).unwrap());
    let error = nblocks(rel, MAIN).unwrap_err();
    assert_eq!(error.message, "could not open file \"base/5/300\": No such file or directory");
    assert_eq!(error.sqlstate, SqlState::UNDEFINED_FILE);
    create(rel, MAIN, false).unwrap();
    let error = create(rel, MAIN, false).unwrap_err();
    assert_eq!(error.message, "could not create file \"base/5/300\": File exists");
    create(rel, MAIN, true).unwrap();
    let error = truncate_fork(rel, MAIN, 3).unwrap_err();
    assert_eq!(error.message, "could not truncate file \"base/5/300\" to 3 blocks: it's only 0 blocks now");
    let error = read_page(rel, MAIN, 200_000).unwrap_err();
    assert_eq!(
        error.message,
        "could not open file \"base/5/300.1\" (target block 200000): previous segment is only 0 blocks"
    );
}

#[test]
fn a_second_segment_begins_after_one_gibibyte() {
    let _world = World::with_buffers(16);
    let rel = node(300);
    create(rel, MAIN, false).unwrap();
    // A sparse file: only the last block is there.
    extend(rel, MAIN, 131_071, &numbered(131_071), false).unwrap();
    assert_eq!(nblocks(rel, MAIN).unwrap(), 131_072);
    zero_extend(rel, MAIN, 131_072, 2).unwrap();
    extend(rel, MAIN, 131_074, &numbered(7), false).unwrap();
    assert_eq!(nblocks(rel, MAIN).unwrap(), 131_075);
    assert!(on_disk("base/5/300.1"));
    close(rel);
    assert_eq!(number_in(&read_page(rel, MAIN, 131_074).unwrap()), 7);
    assert_eq!(nblocks(rel, MAIN).unwrap(), 131_075);
    truncate_fork(rel, MAIN, 131_072).unwrap();
    assert_eq!(std::fs::metadata("base/5/300.1").unwrap().len(), 0, "stays, empty");
    assert_eq!(nblocks(rel, MAIN).unwrap(), 131_072);
    truncate_fork(rel, MAIN, 10).unwrap();
    assert_eq!(nblocks(rel, MAIN).unwrap(), 10);
    immediate_sync(rel, MAIN).unwrap();
    unlink(&[rel], false);
    assert!(!on_disk("base/5/300.1"));
}

#[test]
fn the_first_segment_goes_after_the_next_checkpoint() {
    let _world = World::with_buffers(16);
    let rel = relation(300, 2);
    create(rel, ForkNumber::Fsm, false).unwrap();
    unlink(&[rel], false);
    assert!(!on_disk("base/5/300_fsm"));
    assert_eq!(std::fs::metadata("base/5/300").unwrap().len(), 0, "SM3");
    sync::post_checkpoint();
    assert!(on_disk("base/5/300"), "the checkpoint had begun before");
    sync::pre_checkpoint();
    sync::process_sync_requests().unwrap();
    sync::post_checkpoint();
    assert!(!on_disk("base/5/300"));
    let rel = relation(301, 2);
    unlink(&[rel], true);
    assert!(!on_disk("base/5/301"), "at once during replay");
    sync::process_sync_requests().unwrap();
}

#[test]
fn replay_makes_what_is_missing() {
    let _world = World::with_buffers(16);
    set_in_redo(true);
    let rel = node(300);
    create(rel, MAIN, true).unwrap();
    assert!(read_page(rel, MAIN, 5).unwrap().is_new());
    extend(rel, MAIN, 7, &Page::zeroed(), false).unwrap();
    truncate_fork(rel, MAIN, 20).unwrap();
    assert_eq!(nblocks(rel, MAIN).unwrap(), 8);
    truncate_fork(rel, MAIN, 3).unwrap();
    assert_eq!(nblocks(rel, MAIN).unwrap(), 3);
    let far = common::RelFileNode { db: common::Oid(99), ..rel };
    create(far, MAIN, true).unwrap();
    assert!(on_disk("base/99/300"));
    set_in_redo(false);
}
