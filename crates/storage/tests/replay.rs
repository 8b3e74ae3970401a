//! The pool and the real log together: pages are changed under load, shared memory is lost, and replay brings back what
//! was logged, torn pages included. One test, since a process has one segment of shared memory.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::FileExt;

use common::pg_control::{CheckPoint, ControlFileData};
use common::{BackendType, DEFAULT_TABLESPACE, ForkNumber, Lsn, Oid, RelFileNode, TimeLineId};
use shmem::{Limits, Reservation, Segment};
use storage::redo::{RedoAction, RedoMode, init_for_redo, read_for_redo, read_for_redo_with};
use storage::{
    Critical, PageWrite, ReadMode, ReadOptions, checkpoint_buffers, read_buffer, smgr, zero_and_lock,
};
use wal::{Reader, Record, RegFlags, RmgrId, startup};

const SEGMENT: u32 = 1 << 20;
const SYSTEM: u64 = 42;
const TLI: TimeLineId = TimeLineId(1);
const PAGES: u32 = 60;
const MAIN: ForkNumber = ForkNumber::Main;
const REL: RelFileNode = RelFileNode { spc: DEFAULT_TABLESPACE, db: Oid(5), rel: Oid(16_384) };

/// What the records of this test mean.
const SET: u8 = 0x00;
const INIT: u8 = 0x10;

fn shared_memory() -> Segment {
    let mut reservation = Reservation::new();
    let limits =
        Limits { max_connections: 4, autovacuum_max_workers: 1, max_wal_senders: 1, ..Limits::default() };
    shmem::reserve(&mut reservation, limits);
    wal::reserve(&mut reservation);
    storage::reserve_with(&mut reservation, 32);
    Segment::create_private(reservation).unwrap()
}

fn first_checkpoint() -> CheckPoint {
    CheckPoint {
        redo: wal::offline::first_checkpoint_lsn(SEGMENT),
        this_timeline: TLI,
        prev_timeline: TLI,
        full_page_writes: true,
        next_full_xid: 3,
        next_oid: Oid(12_000),
        next_multi: 1,
        next_multi_offset: 0,
        oldest_xid: common::Xid(3),
        oldest_xid_db: Oid(1),
        oldest_multi: 1,
        oldest_multi_db: Oid(1),
        time: 1_700_000_000,
        oldest_commit_ts_xid: common::Xid(0),
        newest_commit_ts_xid: common::Xid(0),
        oldest_active_xid: common::Xid(0),
    }
}

/// The startup process: replays from the first checkpoint and opens the log for writing. Returns how many pages came as
/// images, were changed, and had the change already.
fn start(control: &ControlFileData) -> [u32; 3] {
    let mut done = [0; 3];
    startup::attach(control);
    startup::begin_redo(control.checkpoint_copy.redo, false);
    smgr::set_in_redo(true);
    let mut reader = Reader::new(wal::segment::wal_dir(), SEGMENT, TLI);
    reader.set_system_identifier(SYSTEM);
    reader.begin_read(control.checkpoint);
    let mut last = control.checkpoint;
    while let Ok(Some(record)) = reader.next() {
        last = record.lsn;
        if record.rmgr == RmgrId::Heap as u8 {
            replay(&record, &mut done);
        }
    }
    storage::redo::check_invalid_pages().unwrap();
    let broken = reader.broken_record();
    let end = startup::find_end(&mut reader, last, broken).unwrap();
    startup::begin_writing(&end, TLI, TLI);
    smgr::set_in_redo(false);
    startup::finish();
    done
}

fn replay(record: &wal::DecodedRecord<'_>, done: &mut [u32; 3]) {
    if record.operation() == INIT {
        let mut page = init_for_redo(record, 0).unwrap();
        let mut critical = Critical::begin();
        fill(&mut page, &mut critical, record.main_data);
        critical.redo(record.end_lsn);
        return;
    }
    match read_for_redo(record, 0).unwrap() {
        RedoAction::Restored(_) => done[0] += 1,
        RedoAction::NeedsRedo(mut page) => {
            let mut critical = Critical::begin();
            set(&mut page, &mut critical, record.block_data(0).unwrap());
            critical.redo(record.end_lsn);
            done[1] += 1;
        }
        RedoAction::Done(page) => {
            assert!(page.lsn() >= record.end_lsn, "R1");
            done[2] += 1;
        }
        RedoAction::NotFound => panic!("no relation was dropped"),
    }
    assert!(
        read_for_redo_with(record, 0, RedoMode::Zero, false).is_err(),
        "it is not the record to make a page"
    );
}

fn fill(page: &mut PageWrite<'_>, critical: &mut Critical, number: &[u8]) {
    let page = page.modify(critical);
    page.init(0);
    page.add_item(number, None, false, true).unwrap();
    page.add_item(&[7; 5000], None, false, true).unwrap();
}

fn set(page: &mut PageWrite<'_>, critical: &mut Critical, number: &[u8]) {
    page.modify(critical).item_mut(1).copy_from_slice(number);
}

fn number_in(page: &page::Page) -> u32 {
    u32::from_le_bytes(page.item(1).try_into().unwrap())
}

/// Makes a page, or changes it, with a record.
fn change(block: u32, number: u32) -> Lsn {
    let bytes = number.to_le_bytes();
    if block >= smgr::nblocks(REL, MAIN).unwrap() {
        let mut page = storage::extend(REL, MAIN, None).unwrap();
        let mut critical = Critical::begin();
        fill(&mut page, &mut critical, &bytes);
        let mut record = Record::new(RmgrId::Heap, INIT);
        record.data(&bytes).block(0, page.tag(), &page, RegFlags::WILL_INIT | RegFlags::STANDARD);
        return critical.log(record);
    }
    let pin = read_buffer(REL, MAIN, block, ReadMode::Normal, None).unwrap();
    let mut page = pin.exclusive();
    let mut critical = Critical::begin();
    set(&mut page, &mut critical, &bytes);
    let mut record = Record::new(RmgrId::Heap, SET);
    record.block(0, page.tag(), &page, RegFlags::STANDARD).block_data(0, &bytes);
    critical.log(record)
}

#[test]
fn replay_brings_back_what_was_logged() {
    let dir = tempfile::tempdir().unwrap();
    std::env::set_current_dir(dir.path()).unwrap();
    for sub in ["base/5", "pg_wal/archive_status", "global"] {
        std::fs::create_dir_all(sub).unwrap();
    }
    wal::segment::set_wal_dir(Some(&dir.path().join("pg_wal")));
    guc::initialize().unwrap();
    guc::set_internal("wal_segment_size", &format!("{SEGMENT}B")).unwrap();
    let checkpoint = first_checkpoint();
    let control =
        ControlFileData { checkpoint: checkpoint.redo, checkpoint_copy: checkpoint, ..common_control() };
    miscinit::globals::set_data_dir(dir.path().to_path_buf());
    std::fs::write("global/pg_control", []).unwrap();
    control.write(dir.path()).unwrap();
    let name = wal::segment::name(TLI, 1, wal::geometry());
    let first = wal::offline::checkpoint_segment(SYSTEM, SEGMENT, &control.checkpoint_copy);
    std::fs::write(dir.path().join("pg_wal").join(name), first).unwrap();

    // Each life in a thread of its own: what a process remembers of recovery is per thread.
    let model = std::thread::scope(|scope| scope.spawn(|| first_life(&control)).join().unwrap());
    // A page was half written when the machine died.
    let file = std::fs::OpenOptions::new().write(true).open(REL.path(MAIN)).unwrap();
    file.write_all_at(&[0xAA; 4096], 3 * 8192 + 4096).unwrap();
    std::thread::scope(|scope| scope.spawn(|| second_life(&control, &model)).join().unwrap());
}

/// Works until the machine dies; returns what each page holds then.
fn first_life(control: &ControlFileData) -> Vec<u32> {
    let segment = shared_memory();
    shmem::init_process(BackendType::Startup, 0).unwrap();
    start(control);
    smgr::create(REL, MAIN, false).unwrap();
    // Pages from before the checkpoint: their first change is logged as an image, which mends the torn one.
    for block in 0..PAGES / 2 {
        let mut page = page::Page::zeroed();
        page.init(0);
        page.add_item(&0u32.to_le_bytes(), None, false, true).unwrap();
        page.add_item(&[7; 5000], None, false, true).unwrap();
        smgr::extend(REL, MAIN, block, &page, false).unwrap();
    }
    let mut model = vec![0; PAGES as usize];
    let mut x = 99u32;
    let mut last = Lsn(0);
    for i in 0..4000 {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grown = smgr::nblocks(REL, MAIN).unwrap();
        let block = ((x >> 16) % PAGES).min(grown);
        last = change(block, i);
        model[block as usize] = i;
        if i == 2000 {
            checkpoint_buffers(true, &mut |_| {}).unwrap();
        }
    }
    wal::flush(last);

    assert_eq!(storage::pinned(), 0);
    shmem::proc::release();
    smgr::close_all();
    drop(segment);
    model
}

fn second_life(control: &ControlFileData, model: &[u32]) {
    let _segment = shared_memory();
    shmem::init_process(BackendType::Startup, 0).unwrap();
    let [restored, redone, already] = start(control);
    // An image, or a record that makes the page anew, sets the page back; so nothing is found done.
    assert_eq!((restored, already), (PAGES / 2, 0));
    assert!(redone > 3000, "{redone}");
    for (block, number) in model.iter().enumerate() {
        let pin = read_buffer(REL, MAIN, block as u32, ReadMode::Normal, None).unwrap();
        let page = pin.shared();
        assert_eq!(number_in(&page), *number, "block {block}");
        assert!(page.item(2).iter().all(|byte| *byte == 7), "block {block} is torn");
    }
    drop(zero_and_lock(REL, MAIN, 0, ReadOptions::default()).unwrap());
    shmem::proc::release();
}

fn common_control() -> ControlFileData {
    ControlFileData {
        system_identifier: SYSTEM,
        pg_control_version: 1300,
        catalog_version_no: 202_209_061,
        state: common::pg_control::DbState::ShutDown,
        time: 1_700_000_000,
        checkpoint: Lsn(0),
        checkpoint_copy: first_checkpoint(),
        unlogged_lsn: Lsn(1000),
        min_recovery_point: Lsn(0),
        min_recovery_point_timeline: TimeLineId(0),
        backup_start_point: Lsn(0),
        backup_end_point: Lsn(0),
        backup_end_required: false,
        wal_level: 1,
        wal_log_hints: false,
        max_connections: 100,
        max_worker_processes: 8,
        max_wal_senders: 10,
        max_prepared_xacts: 0,
        max_locks_per_xact: 64,
        track_commit_timestamp: false,
        max_align: 8,
        float_format: common::pg_control::FLOAT_FORMAT,
        blcksz: 8192,
        relseg_size: 131_072,
        xlog_blcksz: 8192,
        xlog_seg_size: SEGMENT,
        name_data_len: 64,
        index_max_keys: 32,
        toast_max_chunk_size: 1996,
        loblksize: 2048,
        float8_by_val: true,
        data_checksum_version: 0,
        mock_authentication_nonce: [7; 32],
    }
}
