//! WAL for this crate's tests: segments of 1 MiB in `pg_wal`, found to their end at each start, as recovery does.

use std::path::Path;
use std::sync::Once;

use common::pg_control::{self, CheckPoint, ControlFileData, DbState};
use common::{Lsn, Oid, TimeLineId, Xid};
use shmem::Reservation;
use wal::{Reader, startup};

pub(crate) const SEGMENT: u32 = 1 << 20;
const SYSTEM: u64 = 7_123_456_789_012_345_678;
const TLI: TimeLineId = TimeLineId(1);

pub(crate) fn reserve(r: &mut Reservation) {
    static SETTINGS: Once = Once::new();
    SETTINGS.call_once(|| {
        guc::initialize().unwrap();
        guc::set_internal("wal_segment_size", &format!("{SEGMENT}B")).unwrap();
        guc::set_internal("max_prepared_transactions", "4").unwrap();
    });
    wal::reserve(r);
}

/// What the startup process does, except that it replays nothing.
pub(crate) fn start(dir: &Path) {
    let control = attach(dir, false);
    let mut reader = reader(dir);
    let mut last = control.checkpoint;
    while let Ok(Some(record)) = reader.next() {
        last = record.lsn;
    }
    let broken = reader.broken_record();
    let end = startup::find_end(&mut reader, last, broken).unwrap();
    startup::begin_writing(&end, TLI, TLI);
    if let Some(broken) = end.broken {
        wal::records::log_overwrite_contrecord(broken.start, broken.missing).unwrap();
    }
    startup::finish();
}

/// Recovery has begun, and lasts: as a standby. Returns the checkpoint it begins with.
#[allow(dead_code, reason = "not all who include this file are standbys")]
pub(crate) fn standby(dir: &Path) -> CheckPoint {
    attach(dir, true).checkpoint_copy
}

fn attach(dir: &Path, archive: bool) -> ControlFileData {
    let wal_dir = dir.join("pg_wal");
    wal::segment::set_wal_dir(Some(&wal_dir));
    let control = control_file();
    let first = wal_dir.join(wal::segment::name(TLI, 1, wal::geometry()));
    if !first.exists() {
        std::fs::create_dir_all(wal_dir.join("archive_status")).unwrap();
        std::fs::write(&first, wal::offline::checkpoint_segment(SYSTEM, SEGMENT, &control.checkpoint_copy))
            .unwrap();
    }
    startup::attach(&control);
    startup::begin_redo(control.checkpoint_copy.redo, archive);
    control
}

/// From the first record on.
pub(crate) fn reader(dir: &Path) -> Reader {
    let mut reader = Reader::new(dir.join("pg_wal"), SEGMENT, TLI);
    reader.set_system_identifier(SYSTEM);
    reader.begin_read(wal::offline::first_checkpoint_lsn(SEGMENT));
    reader
}

pub(crate) fn checkpoint(redo: Lsn) -> CheckPoint {
    CheckPoint {
        redo,
        this_timeline: TLI,
        prev_timeline: TLI,
        full_page_writes: true,
        next_full_xid: 3,
        next_oid: Oid(16_384),
        next_multi: 1,
        next_multi_offset: 0,
        oldest_xid: Xid(3),
        oldest_xid_db: Oid(1),
        oldest_multi: 1,
        oldest_multi_db: Oid(1),
        time: 1_700_000_000,
        oldest_commit_ts_xid: Xid(0),
        newest_commit_ts_xid: Xid(0),
        oldest_active_xid: Xid(0),
    }
}

fn control_file() -> ControlFileData {
    let at = wal::offline::first_checkpoint_lsn(SEGMENT);
    ControlFileData {
        system_identifier: SYSTEM,
        pg_control_version: 1300,
        catalog_version_no: 202_209_061,
        state: DbState::ShutDown,
        time: 1_700_000_000,
        checkpoint: at,
        checkpoint_copy: checkpoint(at),
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
        float_format: pg_control::FLOAT_FORMAT,
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
