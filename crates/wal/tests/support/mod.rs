//! A cluster that is nothing but WAL: a segment of shared memory, a directory, and processes that insert.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unsafe_code, reason = "forks, as the postmaster does")]

use std::path::{Path, PathBuf};
use std::process::Command;

use common::pg_control::{self, CheckPoint, ControlFileData, DbState};
use common::{BackendType, Lsn, Oid, TimeLineId, Xid};
use shmem::{Limits, Reservation, Segment};
use wal::{Reader, startup};

pub const SEGMENT: u32 = 1 << 20;
pub const SYSTEM: u64 = 7_123_456_789_012_345_678;
pub const TLI: TimeLineId = TimeLineId(1);

pub struct Cluster {
    pub dir: tempfile::TempDir,
    segment: Option<Segment>,
}

impl Cluster {
    /// With the first segment as initdb makes it, ready for insertion. One per process.
    pub fn new() -> Cluster {
        Cluster::with_buffers("16")
    }

    /// With so many pages of WAL buffers.
    pub fn with_buffers(buffers: &str) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        wal::segment::set_wal_dir(Some(dir.path()));
        std::fs::create_dir(dir.path().join("archive_status")).unwrap();
        guc::initialize().unwrap();
        guc::set_internal("wal_segment_size", &format!("{SEGMENT}B")).unwrap();
        // Few, so that they are used again all the time.
        let (context, source) = (guc::GucContext::Postmaster, guc::GucSource::File);
        guc::set_option("wal_buffers", buffers, context, source, guc::GucAction::Set).unwrap();
        let name = wal::segment::name(TLI, 1, wal::geometry());
        let control = control_file();
        let first = wal::offline::checkpoint_segment(SYSTEM, SEGMENT, &control.checkpoint_copy);
        std::fs::write(dir.path().join(name), first).unwrap();
        let cluster = Cluster { dir, segment: Some(shared_memory()) };
        shmem::init_process(BackendType::Startup, 0).unwrap();
        start(&control, control.checkpoint);
        cluster
    }

    pub fn reader(&self) -> Reader {
        let mut reader = Reader::new(self.dir.path(), SEGMENT, TLI);
        reader.set_system_identifier(SYSTEM);
        reader.begin_read(wal::offline::first_checkpoint_lsn(SEGMENT));
        reader
    }

    /// Shared memory is lost; what is on disk is all there is. `from` is a record's start.
    pub fn crash_and_recover(&mut self, from: Lsn) -> startup::EndOfWal {
        shmem::proc::release();
        self.crash_and_recover_at(from)
    }

    /// As [`Cluster::crash_and_recover`], for a process without a PGPROC.
    pub fn crash_and_recover_at(&mut self, from: Lsn) -> startup::EndOfWal {
        self.segment = None;
        self.segment = Some(shared_memory());
        shmem::init_process(BackendType::Startup, 0).unwrap();
        start(&control_file(), from)
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn shared_memory() -> Segment {
    let mut reservation = Reservation::new();
    shmem::reserve(
        &mut reservation,
        Limits { max_connections: 8, autovacuum_max_workers: 1, max_wal_senders: 1, ..Limits::default() },
    );
    wal::reserve(&mut reservation);
    Segment::create_private(reservation).unwrap()
}

/// What the startup process does.
fn start(control: &ControlFileData, from: Lsn) -> startup::EndOfWal {
    startup::attach(control);
    startup::begin_redo(control.checkpoint_copy.redo, false);
    let mut reader = Reader::new(wal::segment::wal_dir(), SEGMENT, TLI);
    reader.set_system_identifier(SYSTEM);
    reader.begin_read(from);
    let mut last = from;
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
    end
}

pub fn checkpoint(redo: Lsn) -> CheckPoint {
    CheckPoint {
        redo,
        this_timeline: TLI,
        prev_timeline: TLI,
        full_page_writes: true,
        next_full_xid: 3,
        next_oid: Oid(12_000),
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

pub fn control_file() -> ControlFileData {
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

/// Runs `body` in a process of its own with a PGPROC; returns its pid.
pub fn child(body: impl FnOnce()) -> i32 {
    #[allow(clippy::disallowed_methods, reason = "tests stand in for the postmaster")]
    // SAFETY: the child runs only `body`, which uses no thread and no lock of the harness, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: no memory arguments. A hung child must not outlive the test run.
        unsafe { libc::alarm(100) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            shmem::init_process(BackendType::Backend, 0).unwrap();
            body();
            shmem::proc::release();
        }));
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    pid
}

/// This process's standard error goes to a new file.
pub fn log_to(path: &Path) {
    let file = std::fs::File::create(path).unwrap();
    // SAFETY: two open descriptors.
    assert!(unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&file), 2) } == 2);
}

/// SIGKILL to a child.
pub fn kill(pid: i32) {
    // SAFETY: no memory arguments; our own child, not reaped yet.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Waits for a child; its exit code, or 128 and the signal.
pub fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is an int.
    while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

/// One of PostgreSQL's programs, or a loud note.
pub fn real_program(name: &str) -> Option<PathBuf> {
    let path = Path::new("/usr/lib/postgresql/15/bin").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not installed", path.display());
    None
}

/// What pg_waldump prints of everything from `start` on; it must find no error before the end of WAL.
pub fn waldump(dir: &Path, start: Lsn, more: &[&str]) -> Option<String> {
    let program = real_program("pg_waldump")?;
    let output = Command::new(program)
        .args(["-p", dir.to_str().unwrap(), "-s", &start.to_string()])
        .args(more)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = ["invalid record length", "could not find file", "invalid magic number 0000"];
    for line in errors.lines() {
        assert!(expected.iter().any(|text| line.contains(text)), "pg_waldump: {line}");
    }
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A small generator of numbers: tests are the same each time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}
