//! The pool in one process with few buffers, and with several processes.

use std::sync::atomic::Ordering;

use common::{BackendType, ForkNumber, SqlState};
use page::Page;
use proptest::prelude::*;

use super::desc::{self, bm, usage};
use super::{private, strategy};
use crate::testing::{
    MAIN, World, get, node, number_in, numbered, on_disk, relation, wal_flushed, write_number,
};
use crate::{
    BgWriter, Critical, ReadMode, ReadOptions, Strategy, checkpoint_buffers, dirty_buffers,
    drop_relation_buffers, extend, extend_by, read_buffer, read_buffer_with, smgr, stats, walio,
    zero_and_lock,
};

fn state(buffer: u32) -> u32 {
    desc::desc(buffer).state.load(Ordering::Relaxed)
}

fn dirty(buffer: u32) -> bool {
    state(buffer) & bm::DIRTY != 0
}

#[test]
fn a_page_is_read_once() {
    let _world = World::with_buffers(16);
    let rel = relation(100, 4);
    let before = stats::get();
    for _ in 0..3 {
        for block in 0..4 {
            assert_eq!(number_in(&get(rel, block).shared()), block);
        }
    }
    let after = stats::get();
    assert_eq!((after.read - before.read, after.hit - before.hit), (4, 8));
}

#[test]
fn pins_are_counted_per_process() {
    let _world = World::with_buffers(32);
    let rel = relation(100, 20);
    let pin = get(rel, 0);
    let again = get(rel, 0);
    let third = again.clone();
    assert_eq!(desc::refcount(state(pin.buffer_id())), 1, "shared memory sees one");
    assert_eq!(private::count(pin.buffer_id()), 3);
    drop((again, third));
    assert_eq!(desc::refcount(state(pin.buffer_id())), 1);
    // More buffers than the small array has room for.
    let many: Vec<_> = (0..20).map(|block| get(rel, block)).collect();
    let more: Vec<_> = (0..20).map(|block| get(rel, block)).collect();
    assert_eq!(crate::pinned(), 20);
    drop(many);
    assert!(more.iter().all(|pin| private::count(pin.buffer_id()) >= 1));
    drop(more);
    assert_eq!(private::count(pin.buffer_id()), 1);
    assert_eq!(crate::pinned(), 1);
}

#[test]
fn a_pool_full_of_pins_says_so() {
    let _world = World::with_buffers(16);
    let rel = relation(100, 17);
    let pins: Vec<_> = (0..16).map(|block| get(rel, block)).collect();
    let error = read_buffer(rel, MAIN, 16, ReadMode::Normal, None).unwrap_err();
    assert_eq!(error.message, "no unpinned buffers available");
    drop(pins);
    assert_eq!(number_in(&get(rel, 16).shared()), 16);
}

#[test]
fn a_dirty_page_is_written_after_its_wal() {
    let _world = World::with_buffers(16);
    let rel = relation(100, 40);
    let lsn = write_number(&mut get(rel, 3).exclusive(), 333);
    assert!(wal_flushed() < lsn.0, "nothing is flushed by changing a page");
    assert_eq!(number_in(&on_disk(rel, 3)), 3);
    // Everything else goes through the pool until page 3 has to give way.
    for _ in 0..8 {
        for block in 4..40 {
            get(rel, block);
        }
    }
    assert_eq!(number_in(&on_disk(rel, 3)), 333);
    assert_eq!(on_disk(rel, 3).lsn(), lsn);
    assert!(wal_flushed() >= lsn.0, "W1");
    assert_eq!(number_in(&get(rel, 3).shared()), 333);
}

#[test]
fn an_lsn_is_stamped_on_every_page_of_the_section() {
    let _world = World::with_buffers(32);
    let rel = relation(100, 12);
    let pins: Vec<_> = (0..12).map(|block| get(rel, block)).collect();
    let mut writes: Vec<_> = pins.iter().map(|pin| pin.exclusive()).collect();
    let mut critical = Critical::begin();
    for write in &mut writes {
        write.modify(&mut critical).set_full(true);
    }
    // The visibility map's way: dirty, but with its old LSN.
    let special = get(rel, 0);
    let lsn = critical.log(wal::Record::new(wal::RmgrId::Heap, 0));
    assert!(writes.iter().all(|write| write.lsn() == lsn));
    drop(writes);
    assert!(pins.iter().all(|pin| dirty(pin.buffer_id())));
    let mut write = special.exclusive();
    let mut critical = Critical::begin();
    write.modify_unstamped(&mut critical).set_full(false);
    critical.log(wal::Record::new(wal::RmgrId::Heap, 0));
    assert_eq!(write.lsn(), lsn);
}

#[test]
fn hints_dirty_a_page_without_wal() {
    let _world = World::with_buffers(16);
    let rel = relation(100, 1);
    let pin = get(rel, 0);
    let read = pin.shared();
    let at = read.item_id(1).offset();
    read.set_hint_bits(at, 0x0100);
    assert_eq!(read.item(1), [0, 1, 0, 0]);
    assert!(dirty(pin.buffer_id()));
    assert!(walio::HINT_IMAGES.with_borrow(Vec::is_empty));
}

#[test]
fn with_checksums_the_first_hint_is_logged() {
    let _world = World::with_buffers(16);
    walio::HINTS_NEED_WAL.set(true);
    let rel = relation(100, 2);
    let pin = get(rel, 0);
    pin.shared().set_hint_bits(8000, 1);
    pin.shared().set_hint_bits(8000, 2);
    assert_eq!(walio::HINT_IMAGES.with_borrow(Vec::len), 1);
    assert!(pin.lsn().0 > 1000);
    // Replay has no WAL to write, so the page stays as it is on disk.
    walio::IN_RECOVERY.set(true);
    let other = get(rel, 1);
    other.shared().set_hint_bits(8000, 1);
    assert!(!dirty(other.buffer_id()));
    walio::IN_RECOVERY.set(false);
    walio::HINTS_NEED_WAL.set(false);
}

#[test]
fn a_ring_keeps_the_pool() {
    let _world = World::with_buffers(64);
    let hot = relation(100, 8);
    for _ in 0..5 {
        (0..8).for_each(|block| drop(get(hot, block)));
    }
    let cold = relation(101, 200);
    let ring = Strategy::bulk_read();
    let mut used = std::collections::HashSet::new();
    for block in 0..200 {
        let pin = read_buffer(cold, MAIN, block, ReadMode::Normal, Some(&ring)).unwrap();
        used.insert(pin.buffer_id());
        assert!(usage(state(pin.buffer_id())) <= 1);
    }
    assert_eq!(used.len(), 8, "an eighth of the pool");
    let before = stats::get();
    (0..8).for_each(|block| drop(get(hot, block)));
    assert_eq!(stats::get().read, before.read, "the hot pages are still there");
}

#[test]
fn a_reading_ring_gives_up_a_buffer_that_needs_a_flush() {
    let _world = World::with_buffers(64);
    let rel = relation(100, 64);
    let ring = Strategy::bulk_read();
    let first = read_buffer(rel, MAIN, 0, ReadMode::Normal, Some(&ring)).unwrap();
    let buffer = first.buffer_id();
    let lsn = write_number(&mut first.exclusive(), 7);
    drop(first);
    let mut reused = Vec::new();
    for block in 1..12 {
        let pin = read_buffer(rel, MAIN, block, ReadMode::Normal, Some(&ring)).unwrap();
        reused.push(pin.buffer_id());
    }
    assert!(!reused.contains(&buffer));
    assert!(wal_flushed() < lsn.0, "no flush for a reader");
    // Who writes in bulk cleans up behind itself.
    let ring = Strategy::vacuum();
    for block in 20..50 {
        let pin = read_buffer(rel, MAIN, block, ReadMode::Normal, Some(&ring)).unwrap();
        write_number(&mut pin.exclusive(), block);
    }
    assert!(wal_flushed() > lsn.0);
}

#[test]
fn extending() {
    let _world = World::with_buffers(64);
    let rel = relation(100, 2);
    {
        let mut page = extend(rel, MAIN, None).unwrap();
        assert_eq!((page.block(), page.is_new()), (2, true));
        let mut critical = Critical::begin();
        page.modify(&mut critical).init(0);
        critical.log(wal::Record::new(wal::RmgrId::Heap, 0));
    }
    let pages = extend_by(rel, MAIN, 5, ReadOptions::default()).unwrap();
    let blocks: Vec<_> = pages.iter().map(|page| page.block()).collect();
    assert_eq!(blocks, [3, 4, 5, 6, 7]);
    drop(pages);
    assert_eq!(smgr::nblocks(rel, MAIN).unwrap(), 8);
    assert!(get(rel, 7).shared().is_new());
    assert!(!get(rel, 2).shared().is_new());
}

#[test]
fn a_zeroed_page_is_not_read() {
    let _world = World::with_buffers(16);
    let rel = relation(100, 2);
    let before = stats::get().read;
    assert!(zero_and_lock(rel, MAIN, 1, ReadOptions::default()).unwrap().is_new());
    assert_eq!(stats::get().read, before);
    assert_eq!(number_in(&on_disk(rel, 1)), 1, "nor written, as long as nobody changes it");
}

#[test]
fn damaged_pages() {
    let _world = World::with_buffers(16);
    let rel = relation(100, 3);
    let mut broken = numbered(1);
    broken.set_upper(20);
    smgr::write(rel, MAIN, 1, &broken, true).unwrap();
    let error = read_buffer(rel, MAIN, 1, ReadMode::Normal, None).unwrap_err();
    assert_eq!(error.message, "invalid page in block 1 of relation base/5/100");
    assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED);
    let zeroed = read_buffer(rel, MAIN, 1, ReadMode::ZeroOnError, None).unwrap();
    assert!(zeroed.shared().is_new());
    let error = read_buffer(rel, MAIN, 9, ReadMode::Normal, None).unwrap_err();
    assert_eq!(error.message, "could not read block 9 in file \"base/5/100\": read only 0 of 8192 bytes");
    assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED);
    // The failed buffer is usable again.
    smgr::extend(rel, MAIN, 9, &numbered(9), true).unwrap();
    assert_eq!(number_in(&get(rel, 9).shared()), 9);
}

#[test]
fn checksums_are_written_and_verified() {
    let _world = World::with_buffers(16);
    guc::set_internal("data_checksums", "on").unwrap();
    let rel = relation(100, 0);
    let mut page = extend(rel, MAIN, None).unwrap();
    let mut critical = Critical::begin();
    page.modify(&mut critical).init(0);
    critical.unlogged();
    drop(page);
    crate::flush_relation(rel).unwrap();
    let stored = on_disk(rel, 0);
    assert_eq!(stored.verify(0, true), page::PageState::Ok);
    assert_ne!(stored.checksum(), 0);
    drop_relation_buffers(rel, &[(MAIN, 0)]).unwrap();
    let mut flipped = stored;
    flipped.bytes_mut()[5000] ^= 1;
    smgr::write(rel, MAIN, 0, &flipped, true).unwrap();
    let error = read_buffer(rel, MAIN, 0, ReadMode::Normal, None).unwrap_err();
    assert_eq!(error.message, "invalid page in block 0 of relation base/5/100");
    guc::set_internal("data_checksums", "off").unwrap();
}

#[test]
fn a_failed_write_leaves_the_page_dirty() {
    let _world = World::with_buffers(16);
    struct Full;
    impl file::fault::Hook for Full {
        fn before(&self, op: file::fault::Op, _: &std::path::Path, _: u64, _: usize) -> file::fault::Action {
            match op {
                file::fault::Op::Write => file::fault::Action::Fail(libc::ENOSPC),
                _ => file::fault::Action::Go,
            }
        }
    }
    let rel = relation(100, 1);
    let pin = get(rel, 0);
    write_number(&mut pin.exclusive(), 5);
    file::fault::set_hook(Some(Box::new(Full)));
    let error = crate::flush_one(&pin).unwrap_err();
    assert_eq!(error.message, "could not write block 0 in file \"base/5/100\": No space left on device");
    assert_eq!(error.sqlstate, SqlState::DISK_FULL);
    assert_eq!(error.context.as_deref(), Some("writing block 0 of relation base/5/100"));
    assert!(dirty(pin.buffer_id()) && state(pin.buffer_id()) & bm::IO_ERROR != 0);
    let error = extend(rel, MAIN, None).err().unwrap();
    assert_eq!(error.message, "could not extend file \"base/5/100\": No space left on device");
    file::fault::set_hook(None);
    crate::flush_one(&pin).unwrap();
    assert!(!dirty(pin.buffer_id()));
    assert_eq!(extend(rel, MAIN, None).unwrap().block(), 1);
}

#[test]
fn a_checkpoint_writes_what_was_dirty_when_it_began() {
    let _world = World::with_buffers(32);
    let rel = relation(100, 10);
    for block in [7, 2, 5] {
        write_number(&mut get(rel, block).exclusive(), block + 100);
    }
    let unlogged = ReadOptions { permanent: false, ..ReadOptions::default() };
    {
        let pin = read_buffer_with(rel, MAIN, 9, unlogged).unwrap();
        let mut write = pin.exclusive();
        let mut critical = Critical::begin();
        write.modify(&mut critical).set_full(true);
        critical.unlogged();
    }
    assert_eq!(dirty_buffers(), 4, "unlogged ones count");
    let (mut fractions, mut left) = (Vec::new(), Vec::new());
    let written = checkpoint_buffers(false, &mut |fraction| {
        if fractions.is_empty() {
            write_number(&mut get(rel, 0).exclusive(), 1000);
        }
        fractions.push(fraction);
        left.push(activity::gauges::checkpoint().seen().bytes_left() / 8192);
    })
    .unwrap();
    assert_eq!((written, left), (3, vec![2, 1, 0]), "the gauge knows from the start how much it is");
    assert_eq!(dirty_buffers(), 2);
    assert_eq!(fractions.last(), Some(&1.0));
    assert_eq!(number_in(&on_disk(rel, 5)), 105);
    assert_eq!(number_in(&on_disk(rel, 0)), 0, "dirtied later");
    assert_eq!(checkpoint_buffers(true, &mut |_| {}).unwrap(), 2);
    assert_eq!(checkpoint_buffers(true, &mut |_| {}).unwrap(), 0);
    assert_eq!(dirty_buffers(), 0);
}

#[test]
fn the_background_writer_cleans_ahead_of_the_clock() {
    let _world = World::with_buffers(32);
    let rel = relation(100, 64);
    let mut writer = BgWriter::new();
    writer.sweep().unwrap();
    for block in 0..32 {
        let pin = get(rel, block);
        write_number(&mut pin.exclusive(), block);
    }
    // Nobody uses them any more.
    for buffer in 0..32 {
        let desc = desc::desc(buffer);
        let state = desc.lock();
        desc.unlock(state & !desc::USAGE_MASK);
    }
    let outcome = writer.sweep().unwrap();
    assert!(outcome.written > 0 && outcome.allocated == 32, "{outcome:?}");
    let idle = (0..2000).map(|_| writer.sweep().unwrap()).last().unwrap();
    assert_eq!(idle.allocated, 0);
    // The first round went past buffer 0 when it was clean, and the clock has not moved since.
    assert!((1..32).all(|buffer| !dirty(buffer)), "the whole pool in two minutes of rounds");
}

#[test]
fn dropping_a_relation_forgets_its_pages() {
    let _world = World::with_buffers(32);
    let (gone, stays) = (relation(100, 6), relation(101, 6));
    for block in 0..6 {
        write_number(&mut get(gone, block).exclusive(), 500);
        write_number(&mut get(stays, block).exclusive(), 600);
    }
    drop_relation_buffers(gone, &[(MAIN, 4), (ForkNumber::Fsm, 0)]).unwrap();
    assert_eq!(checkpoint_buffers(true, &mut |_| {}).unwrap(), 10);
    assert_eq!(number_in(&on_disk(gone, 5)), 5);
    assert_eq!(number_in(&on_disk(gone, 3)), 500);
    crate::drop_relations_all_buffers(&[gone, node(77)]).unwrap();
    let before = stats::get().read;
    get(gone, 0);
    assert_eq!(stats::get().read, before + 1);
    get(stays, 0);
    assert_eq!(stats::get().read, before + 1);
    crate::drop_database_buffers(common::Oid(5)).unwrap();
    get(stays, 0);
    assert_eq!(stats::get().read, before + 2);
    let pin = get(stays, 1);
    let error = crate::drop_database_buffers(common::Oid(5)).unwrap_err();
    assert_eq!(error.message, "buffer is pinned in InvalidateBuffer");
    drop(pin);
}

#[test]
fn cleanup_locks_need_the_only_pin() {
    let _world = World::with_buffers(16).in_process(BackendType::Backend);
    let rel = relation(100, 1);
    let pin = get(rel, 0);
    drop(pin.cleanup_lock().unwrap());
    assert!(pin.try_cleanup_lock().is_some());
    let second = pin.clone();
    assert!(pin.try_cleanup_lock().is_none());
    assert_eq!(pin.cleanup_lock().err().unwrap().message, "incorrect local pin count: 2");
    drop(second);
    let write = pin.into_cleanup().unwrap();
    assert!(write.is_cleanup_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    /// Whatever is read, changed and evicted in whatever order: the pool shows the last value written.
    #[test]
    fn the_pool_against_a_model(steps in proptest::collection::vec((0u32..3, 0u32..30, any::<bool>(), 0u8..12), 1..300)) {
        let _world = World::with_buffers(16);
        let rels = [relation(100, 30), relation(101, 30), relation(102, 30)];
        let mut model: Vec<Vec<u32>> = (0..3).map(|_| (0..30).collect()).collect();
        let ring = Strategy::bulk_write();
        for (i, (rel, block, with_ring, action)) in steps.into_iter().enumerate() {
            let strategy = with_ring.then_some(&ring);
            let expected = &mut model[rel as usize][block as usize];
            let pin = read_buffer(rels[rel as usize], MAIN, block, ReadMode::Normal, strategy).unwrap();
            prop_assert_eq!(number_in(&pin.shared()), *expected);
            match action {
                0..5 => {
                    *expected = i as u32 + 1000;
                    write_number(&mut pin.exclusive(), *expected);
                }
                5 => {
                    drop(pin);
                    checkpoint_buffers(true, &mut |_| {}).unwrap();
                }
                6 => {
                    drop(pin);
                    crate::flush_relation(rels[rel as usize]).unwrap();
                    crate::drop_relations_all_buffers(&rels[rel as usize..=rel as usize]).unwrap();
                }
                _ => {}
            }
        }
        checkpoint_buffers(true, &mut |_| {}).unwrap();
        for (rel, numbers) in rels.iter().zip(&model) {
            for (block, number) in numbers.iter().enumerate() {
                prop_assert_eq!(number_in(&on_disk(*rel, block as u32)), *number);
            }
        }
    }
}

/// Forked processes read and change the same pages through a pool that is too small for them.
#[test]
fn processes_share_the_pool() {
    const PAGES: u32 = 40;
    const ROUNDS: u32 = 3000;
    const CHILDREN: u32 = 3;
    let _world = World::with_buffers(16);
    let rel = relation(100, PAGES);
    for block in 0..PAGES {
        write_number(&mut get(rel, block).exclusive(), 0);
    }
    let children: Vec<_> =
        (0..CHILDREN).map(|child| fork(move || contend(rel, child, PAGES, ROUNDS))).collect();
    for child in children {
        let mut status = 0;
        // SAFETY: `status` is an int.
        while unsafe { libc::waitpid(child, &mut status, 0) } != child {}
        assert_eq!(status, 0, "a child failed");
    }
    let sum: u32 = (0..PAGES).map(|block| number_in(&get(rel, block).shared())).sum();
    assert_eq!(sum, CHILDREN * ROUNDS, "every increment is there");
    for buffer in 0..16 {
        assert_eq!(desc::refcount(state(buffer)), 0);
        assert_eq!(state(buffer) & (bm::IO_IN_PROGRESS | bm::LOCKED), 0);
    }
}

fn contend(rel: common::RelFileNode, child: u32, pages: u32, rounds: u32) {
    shmem::init_process(BackendType::Backend, 0).unwrap();
    let mut x = 12_345 + child;
    for round in 0..rounds {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let block = (x >> 16) % pages;
        let pin = get(rel, block);
        assert_eq!(pin.block(), block);
        if round % 7 == 0 {
            let read = pin.shared();
            assert_eq!(read.max_offset(), 1);
        }
        // Only one process may wait for a cleanup lock on a page.
        let cleanup = child == 0 && round % 5 == 0;
        let mut write = if cleanup { pin.into_cleanup().unwrap() } else { pin.into_exclusive() };
        let number = number_in(&write);
        write_number(&mut write, number + 1);
        drop(write);
        if round % 500 == 0 {
            checkpoint_buffers(true, &mut |_| {}).unwrap();
        }
    }
    assert_eq!(crate::pinned(), 0);
    shmem::proc::release();
}

#[allow(clippy::disallowed_methods, reason = "tests stand in for the postmaster")]
fn fork(body: impl FnOnce()) -> i32 {
    // SAFETY: the child runs only `body`, which takes no lock of the harness, and then `_exit`s.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: no memory arguments; a hung child must not outlive the test run, and `_exit` ends it.
        unsafe { libc::alarm(120) };
        let fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_ok();
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(!fine)) };
    }
    pid
}

/// Not a test of correctness: prints what a hit costs. Run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_hit() {
    let began = std::time::Instant::now();
    let _world = World::with_buffers(16384);
    println!("making a pool of 16384: {} ms", began.elapsed().as_millis());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|line| line.starts_with("RssShmem")).unwrap_or("?"));
    let rel = relation(100, 8000);
    let scan = || (0..8000).for_each(|block| drop(std::hint::black_box(get(rel, block))));
    scan();
    let began = std::time::Instant::now();
    (0..100).for_each(|_| scan());
    println!("read_buffer hit, pages in order: {} ns", began.elapsed().as_nanos() / 800_000);
    let began = std::time::Instant::now();
    for _ in 0..800_000 {
        drop(std::hint::black_box(get(rel, 5)));
    }
    println!("read_buffer hit, one page: {} ns", began.elapsed().as_nanos() / 800_000);
    let pin = get(rel, 5);
    let began = std::time::Instant::now();
    for _ in 0..800_000 {
        drop(std::hint::black_box(pin.shared()));
    }
    println!("shared lock: {} ns", began.elapsed().as_nanos() / 800_000);
    let page = Page::zeroed();
    let began = std::time::Instant::now();
    for block in 0..10_000 {
        std::hint::black_box(page.compute_checksum(block));
    }
    println!("checksum: {} ns", began.elapsed().as_nanos() / 10_000);
    let _ = strategy::sync_start();
}
