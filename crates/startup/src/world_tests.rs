//! Whole starts in a data directory: clean, after crashes, and of damaged clusters.
//!
//! A process has one data directory and one segment, so that all of it is one test. What a process remembers is
//! thread-local: each life of the server is a thread of its own.

use std::cell::Cell;
use std::path::Path;

use checkpointer::CheckpointFlags;
use common::pg_control::{self, CheckPoint, ControlFileData, DbState};
use common::{BackendType, DEFAULT_TABLESPACE, ForkNumber, Lsn, Oid, RelFileNode, TimeLineId, Xid};
use elog::{Result, Severity};
use page::Page;
use shmem::{Limits, Reservation, Segment};
use storage::ReadMode;

use super::*;

mod stream;

const SEGMENT: u32 = 1 << 20;
const SYSTEM: u64 = 4711;
const NODE: RelFileNode = RelFileNode { spc: DEFAULT_TABLESPACE, db: Oid(5), rel: Oid(16384) };

fn control_file() -> ControlFileData {
    let at = wal::offline::first_checkpoint_lsn(SEGMENT);
    let checkpoint_copy = CheckPoint {
        redo: at,
        this_timeline: TimeLineId(1),
        prev_timeline: TimeLineId(1),
        full_page_writes: true,
        next_full_xid: 3,
        next_oid: Oid(16384),
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
    };
    ControlFileData {
        system_identifier: SYSTEM,
        pg_control_version: common::version::PG_CONTROL_VERSION,
        catalog_version_no: common::version::CATALOG_VERSION_NO,
        state: DbState::ShutDown,
        time: 1_700_000_000,
        checkpoint: at,
        checkpoint_copy,
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
        max_align: pg_control::MAX_ALIGN,
        float_format: pg_control::FLOAT_FORMAT,
        blcksz: pg_control::BLCKSZ,
        relseg_size: pg_control::RELSEG_SIZE,
        xlog_blcksz: pg_control::XLOG_BLCKSZ,
        xlog_seg_size: SEGMENT,
        name_data_len: 64,
        index_max_keys: pg_control::INDEX_MAX_KEYS,
        toast_max_chunk_size: pg_control::TOAST_MAX_CHUNK_SIZE,
        loblksize: pg_control::LOBLKSIZE,
        float8_by_val: true,
        data_checksum_version: 0,
        mock_authentication_nonce: [7; 32],
    }
}

/// A new cluster, as initdb leaves it.
fn make_cluster(dir: &Path) {
    for sub in [
        "global",
        "base/5",
        "pg_wal/archive_status",
        "pg_xact",
        "pg_subtrans",
        "pg_stat",
        "pg_stat_tmp",
        "pg_replslot",
    ] {
        std::fs::create_dir_all(dir.join(sub)).unwrap();
    }
    for sub in ["pg_multixact/offsets", "pg_multixact/members"] {
        std::fs::create_dir_all(dir.join(sub)).unwrap();
    }
    for (path, bytes) in transam::bootstrap_files() {
        std::fs::write(dir.join(path), bytes).unwrap();
    }
    let control = control_file();
    let first = wal::offline::checkpoint_segment(SYSTEM, SEGMENT, &control.checkpoint_copy);
    std::fs::write(dir.join("pg_wal/000000010000000000000001"), first).unwrap();
    control.create(dir, 0o600).unwrap();
}

/// One life of the server, from its start to an end without a word.
fn life<R: Send>(dir: &Path, body: impl FnOnce() -> R + Send) -> R {
    let outcome = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            std::env::set_current_dir(dir).unwrap();
            let mut reservation = Reservation::new();
            let limits = Limits {
                max_connections: 8,
                autovacuum_max_workers: 1,
                max_wal_senders: 0,
                ..Limits::default()
            };
            let procs = limits.max_procs() as usize;
            shmem::reserve(&mut reservation, limits);
            wal::reserve(&mut reservation);
            storage::reserve_with(&mut reservation, 64);
            transam::reserve(&mut reservation, procs);
            lmgr::reserve(&mut reservation, procs, limits.max_backends() as usize);
            replication::reserve(&mut reservation, procs);
            checkpointer::reserve(&mut reservation, procs);
            let segment = Segment::create_private(reservation).unwrap();
            shmem::init_process(BackendType::Startup, 0).unwrap();
            let result = body();
            std::env::set_current_dir("/").unwrap();
            shmem::proc::release();
            segment.destroy();
            result
        });
        thread.join()
    });
    outcome.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
}

/// There is nothing to recover.
struct NoCheckpoint;

impl Checkpoints for NoCheckpoint {
    fn end_of_recovery(&self) -> Result<()> {
        panic!("there was nothing to recover")
    }

    fn after_promotion(&self) -> Result<()> {
        panic!("there was no promotion")
    }
}

/// Counts, and makes none: the next start recovers again.
#[derive(Default)]
struct Counted(Cell<u32>);

impl Checkpoints for Counted {
    fn end_of_recovery(&self) -> Result<()> {
        self.0.set(self.0.get() + 1);
        Ok(())
    }

    fn after_promotion(&self) -> Result<()> {
        Ok(())
    }
}

fn page_with(text: &[u8]) -> Box<Page> {
    let mut page = Page::zeroed();
    page.init(0);
    page.add_item(text, None, false, true).unwrap();
    page
}

/// Writes a page to WAL only, as a session would that crashes before the page gets to its file.
fn log_page(block: u32, text: &[u8]) {
    let tag = wal::BlockTag { node: NODE, fork: ForkNumber::Main, block };
    wal::flush(wal::log_new_page(tag, &page_with(text), true));
}

fn item_of(block: u32) -> Vec<u8> {
    let pin = storage::read_buffer(NODE, ForkNumber::Main, block, ReadMode::Normal, None).unwrap();
    pin.shared().item(1).to_vec()
}

fn state() -> DbState {
    wal::control_file::read().unwrap().state
}

fn error_of(dir: &Path) -> elog::PgError {
    life(dir, || start_cluster(&Counted::default()).unwrap_err())
}

/// The rest of the last record never got to disk: recovery goes on behind it, and so does the one after that.
fn a_record_without_its_end_is_overwritten(dir: &Path) {
    let start = life(dir, || {
        start_cluster(&Checkpointer).unwrap();
        wal::flush(wal::records::log_noop(&[7; 20_000]));
        wal::last_record_start()
    });
    let path = dir.join("pg_wal/000000010000000000000001");
    let mut segment = std::fs::read(&path).unwrap();
    let next_page = (start.0 - u64::from(SEGMENT)).next_multiple_of(8192) as usize;
    segment[next_page..].fill(0);
    std::fs::write(&path, segment).unwrap();
    life(dir, || {
        start_cluster(&Counted::default()).unwrap();
        log_page(5, b"behind the broken record");
    });
    life(dir, || {
        start_cluster(&Checkpointer).unwrap();
        assert_eq!(item_of(5), b"behind the broken record");
    });
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn set(name: &str, value: &str) {
    guc::set_internal(name, value).unwrap();
}

/// A copy of a stopped cluster goes forward to a restore point, with WAL from an archive, onto a timeline of its own; and again,
/// from the same copy, onto the next one.
fn goes_forward_from_a_copy(dir: &Path) {
    let outside = tempfile::tempdir().unwrap();
    let (base, archive) = (outside.path().join("base"), outside.path().join("archive"));
    life(dir, || {
        start_cluster(&Checkpointer).unwrap();
        checkpointer::request_checkpoint(CheckpointFlags::SHUTDOWN).unwrap();
    });
    copy_all(dir, &base);
    life(dir, || {
        start_cluster(&NoCheckpoint).unwrap();
        log_page(8, b"before the restore point");
        wal::flush(wal::records::log_restore_point("here").unwrap());
        log_page(8, b"too late");
    });
    copy_all(&dir.join("pg_wal"), &archive);
    set("hot_standby", "off");
    set("recovery_target_name", "here");
    set("recovery_target_action", "promote");
    set("restore_command", &format!("cp {}/%f %p 2>/dev/null", archive.display()));
    for number in [2, 3] {
        for sub in ["pg_wal", "base", "global", "pg_xact"] {
            std::fs::remove_dir_all(dir.join(sub)).unwrap();
        }
        copy_all(&base, dir);
        std::fs::remove_dir_all(dir.join("pg_wal")).unwrap();
        std::fs::create_dir(dir.join("pg_wal")).unwrap();
        std::fs::write(dir.join("recovery.signal"), "").unwrap();
        let lsn = life(dir, || {
            start_cluster(&Checkpointer).unwrap();
            assert_eq!(item_of(8), b"before the restore point");
            assert_eq!(wal::timeline(), TimeLineId(number));
            assert!(!wal::in_recovery());
            wal::control_file::read().unwrap().checkpoint
        });
        assert!(!dir.join("recovery.signal").exists());
        let history = format!("pg_wal/{number:08X}.history");
        let text = std::fs::read_to_string(dir.join(&history)).unwrap();
        assert!(text.ends_with("\tat restore point \"here\"\n"), "{text}");
        std::fs::copy(dir.join(&history), archive.join(&history[7..])).unwrap();
        set("recovery_target_timeline", "1");
        // A crash now is one of the new timeline.
        life(dir, || {
            start_cluster(&Counted::default()).unwrap();
            assert_eq!(wal::timeline(), TimeLineId(number));
            assert_eq!(wal::control_file::read().unwrap().checkpoint, lsn);
        });
    }
    std::fs::write(dir.join("recovery.signal"), "").unwrap();
    set("recovery_target_timeline", "7");
    assert_eq!(error_of(dir).message, "recovery target timeline 7 does not exist");
    set("recovery_target_timeline", "current");
    set("recovery_target_name", "nowhere");
    let error = error_of(dir);
    assert_eq!(error.message, "recovery ended before configured recovery target was reached");
    std::fs::remove_file(dir.join("recovery.signal")).unwrap();
}

/// Without the segment of its checkpoint, with a damaged pg_control, or with files that ask for another recovery.
fn damaged_clusters_do_not_start(dir: &Path) {
    let segment = life(dir, || {
        let checkpoint = wal::control_file::read().unwrap();
        let timeline = checkpoint.checkpoint_copy.this_timeline;
        dir.join(wal::segment::path(timeline, wal::geometry().segment(checkpoint.checkpoint)))
    });
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::remove_file(&segment).unwrap();
    let error = error_of(dir);
    assert_eq!(error.severity, Severity::Panic);
    assert_eq!(error.message, "could not locate a valid checkpoint record");
    std::fs::write(&segment, &bytes).unwrap();

    let path = dir.join("global/pg_control");
    let control = std::fs::read(&path).unwrap();
    let mut damaged = control.clone();
    damaged[50] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let error = error_of(dir);
    assert_eq!((error.severity, &*error.message), (Severity::Fatal, "incorrect checksum in control file"));
    std::fs::write(&path, control).unwrap();
    std::fs::write(dir.join("backup_label"), "").unwrap();
    let error = error_of(dir);
    assert_eq!(error.message, "invalid data in file \"backup_label\"");
}

#[test]
fn starts_crashes_and_starts_again() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    guc::initialize().unwrap();
    guc::set_internal("wal_segment_size", &format!("{SEGMENT}B")).unwrap();
    globals::set_data_dir(dir.to_owned());
    make_cluster(dir);
    rmgr::register_builtin();

    let oid = life(dir, || {
        start_cluster(&NoCheckpoint).unwrap();
        assert_eq!(state(), DbState::InProduction);
        assert!(!wal::in_recovery());
        log_page(0, b"before the checkpoint");
        checkpointer::request_checkpoint(CheckpointFlags::FORCE | CheckpointFlags::WAIT).unwrap();
        let control = wal::control_file::read().unwrap();
        assert!(control.checkpoint > control_file().checkpoint);
        assert!(control.checkpoint_copy.redo <= control.checkpoint);
        checkpointer::request_checkpoint(CheckpointFlags::WAIT).unwrap();
        let again = wal::control_file::read().unwrap();
        assert_eq!(again.checkpoint, control.checkpoint, "nothing has happened since");
        log_page(2, b"after the checkpoint");
        let oid = transam::varsup::new_oid().unwrap();
        wal::flush(wal::insert_lsn());
        oid
    });

    // Recovered, and crashed again before the checkpoint that would have made it last.
    life(dir, || {
        let asked = Counted::default();
        start_cluster(&asked).unwrap();
        assert_eq!(asked.0.get(), 1);
        assert_eq!(item_of(2), b"after the checkpoint");
        log_page(3, b"after the first recovery");
    });

    let redo = life(dir, || {
        start_cluster(&Checkpointer).unwrap();
        assert_eq!((state(), wal::in_recovery()), (DbState::InProduction, false));
        assert_eq!(item_of(2), b"after the checkpoint");
        assert_eq!(item_of(3), b"after the first recovery");
        assert!(transam::varsup::new_oid().unwrap().0 > oid.0, "no object id is given out twice");
        // On disk too: the checkpoint has written it.
        let file = std::fs::read("base/5/16384").unwrap();
        assert_eq!(file.len(), 4 * 8192);
        assert!(file.windows(20).any(|bytes| bytes == b"after the checkpoint"));
        wal::control_file::read().unwrap().checkpoint_copy.redo
    });

    // After a clean end there is nothing to do.
    life(dir, || {
        start_cluster(&Checkpointer).unwrap();
        assert!(wal::control_file::read().unwrap().checkpoint_copy.redo > redo);
        checkpointer::request_checkpoint(CheckpointFlags::SHUTDOWN).unwrap();
        assert_eq!(state(), DbState::ShutDown);
    });
    life(dir, || {
        start_cluster(&NoCheckpoint).unwrap();
        checkpointer::request_checkpoint(CheckpointFlags::SHUTDOWN).unwrap();
    });

    a_record_without_its_end_is_overwritten(dir);
    goes_forward_from_a_copy(dir);
    stream::follows_a_primary(dir);

    damaged_clusters_do_not_start(dir);
}
