//! Slots among processes: made, taken, waited for, given up, found again after a restart.
//! One test, since a process has one segment of shared memory.

#![allow(clippy::unwrap_used, unsafe_code, reason = "tests; they fork, as the postmaster does")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use common::pg_control::{self, CheckPoint, ControlFileData, DbState};
use common::{BackendType, Lsn, Oid, TimeLineId, Xid};
use replication::slot::{self, Persistency};
use shmem::{Limits, Reservation, Segment};

const SEGMENT: u32 = 1 << 20;

fn checkpoint(redo: Lsn) -> CheckPoint {
    CheckPoint {
        redo,
        this_timeline: TimeLineId(1),
        prev_timeline: TimeLineId(1),
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

fn control_file(redo: Lsn) -> ControlFileData {
    ControlFileData {
        system_identifier: 1,
        pg_control_version: 1300,
        catalog_version_no: 202_209_061,
        state: DbState::ShutDown,
        time: 1_700_000_000,
        checkpoint: redo,
        checkpoint_copy: checkpoint(redo),
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

/// A server's shared memory; the checkpoint's redo point is at `redo`.
fn start(redo: Lsn) -> Segment {
    let limits =
        Limits { max_connections: 8, autovacuum_max_workers: 1, max_wal_senders: 1, ..Limits::default() };
    let mut reservation = Reservation::new();
    shmem::reserve(&mut reservation, limits);
    wal::reserve(&mut reservation);
    slot::reserve(&mut reservation, limits.max_procs() as usize);
    let segment = Segment::create_private(reservation).unwrap();
    shmem::init_process(BackendType::Startup, 0).unwrap();
    wal::startup::attach(&control_file(redo));
    segment
}

/// Runs `body` in a process of its own.
fn child(body: impl FnOnce()) -> i32 {
    // A child has a PGPROC of its own, or none.
    shmem::proc::release();
    #[allow(clippy::disallowed_methods, reason = "tests stand in for the postmaster")]
    // SAFETY: the child runs only `body`, which uses no thread and no lock of the harness, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: no memory arguments. A hung child must not outlive the test run.
        unsafe { libc::alarm(100) };
        miscinit::exit::reset();
        miscinit::globals::become_postmaster();
        miscinit::signals::install(miscinit::signals::Role::Kind(BackendType::Backend));
        // The alarm ends the process; a session would take it for a statement's time limit.
        miscinit::signals::set(nix::sys::signal::Signal::SIGALRM, miscinit::signals::Meaning::Default);
        miscinit::signals::unblock();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            shmem::init_process(BackendType::Backend, 0).unwrap();
            body();
            slot::error_cleanup();
            shmem::proc::release();
        }));
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    shmem::init_process(BackendType::Startup, 0).unwrap();
    pid
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is an int.
    while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

fn set(name: &str, value: &str) {
    let (context, source) = (guc::GucContext::Postmaster, guc::GucSource::File);
    guc::set_option(name, value, context, source, guc::GucAction::Set).unwrap();
}

fn message(result: elog::Result<()>) -> String {
    result.unwrap_err().message.to_string()
}

fn names() -> Vec<String> {
    let mut names: Vec<_> = slot::rows().iter().map(|row| row.data.name.to_string()).collect();
    names.sort();
    names
}

#[test]
fn slots() {
    let dir = tempfile::tempdir().unwrap();
    slot::set_dir(Some(dir.path()));
    miscinit::globals::become_postmaster();
    guc::initialize().unwrap();
    guc::set_internal("wal_segment_size", &format!("{SEGMENT}B")).unwrap();
    set("max_replication_slots", "4");
    let redo = Lsn(0x120_0028);
    let segment = start(redo);
    slot::startup().unwrap();
    alone(redo);
    among_processes();
    at_session_end();
    given_up(redo);
    // What a crash leaves.
    let killed = child(|| {
        slot::acquire("alpha", true).unwrap();
        slot::confirm_received(Lsn(0x150_0000));
        slot::release();
        slot::create("ephemeral", Persistency::Ephemeral).unwrap();
        // SAFETY: ends the process at once, without any cleaning up.
        unsafe { libc::_exit(7) };
    });
    assert_eq!(wait(killed), 7);
    std::fs::create_dir(dir.path().join("half.tmp")).unwrap();
    std::fs::write(dir.path().join("alpha/state.tmp"), "half").unwrap();
    shmem::proc::release();
    drop(segment);
    let segment = start(redo);
    slot::startup().unwrap();
    restarted(redo);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    drop(segment);
}

/// One process, all steps.
fn alone(redo: Lsn) {
    slot::create("alpha", Persistency::Persistent).unwrap();
    assert_eq!(
        message(slot::create("beta", Persistency::Persistent)),
        "a replication slot is acquired already"
    );
    assert_eq!(slot::mine().unwrap().restart_lsn, Lsn::INVALID);
    slot::reserve_wal().unwrap();
    slot::save().unwrap();
    assert_eq!(slot::mine().unwrap().restart_lsn, redo);
    assert_eq!(wal::recycle::keep_from(Lsn(0x200_0000), 0x20), 0x12);
    slot::release();
    slot::release();
    assert_eq!(
        message(slot::create("alpha", Persistency::Persistent)),
        "replication slot \"alpha\" already exists"
    );
    assert_eq!(message(slot::acquire("beta", true)), "replication slot \"beta\" does not exist");
    slot::acquire("alpha", true).unwrap();
    assert_eq!(slot::advance(Lsn(0x130_0000), Lsn(0x128_0000)).unwrap(), Lsn(0x128_0000));
    let error = slot::advance(Lsn(0x120_0028), Lsn(0x128_0000)).unwrap_err();
    assert_eq!(&*error.message, "cannot advance replication slot to 0/1200028, minimum is 0/1280000");
    slot::confirm_xmins(Xid(700), Xid(0));
    assert_eq!(slot::required_xmin(), (Xid(700), Xid(0)));
    slot::confirm_xmins(Xid(690), Xid(0));
    assert_eq!(slot::required_xmin(), (Xid(700), Xid(0)), "not back in time");
    slot::confirm_xmins(Xid(0), Xid(0));
    assert_eq!(slot::required_xmin(), (Xid(0), Xid(0)));
    slot::release();
    slot::copy("alpha", "copy", None).unwrap();
    assert_eq!(slot::mine().unwrap().restart_lsn, Lsn(0x128_0000));
    slot::drop_acquired().unwrap();
    for name in ["b", "c", "d"] {
        slot::create(name, Persistency::Persistent).unwrap();
        slot::release();
    }
    assert_eq!(message(slot::create("e", Persistency::Persistent)), "all replication slots are in use");
    assert_eq!(
        message(slot::copy("b", "e", None)),
        "cannot copy a replication slot that doesn't reserve WAL"
    );
    for name in ["b", "c", "d"] {
        slot::drop_slot(name, true).unwrap();
    }
    assert_eq!(names(), ["alpha"]);
}

/// One uses it, another one wants it.
fn among_processes() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let owner = child(move || {
        slot::acquire("alpha", true).unwrap();
        theirs.write_all(b"x").unwrap();
        theirs.read_exact(&mut [0]).unwrap();
        slot::release();
    });
    ours.read_exact(&mut [0]).unwrap();
    let text = format!("replication slot \"alpha\" is active for PID {owner}");
    assert_eq!(message(slot::acquire("alpha", true)), text);
    assert_eq!(message(slot::drop_slot("alpha", true)), text);
    assert_eq!(slot::rows()[0].active_pid, owner);
    let waiting = child(|| {
        slot::acquire("alpha", false).unwrap();
        assert_eq!(slot::rows()[0].active_pid, std::process::id() as i32);
    });
    let sleeps = || shmem::proc::by_pid(waiting).is_some_and(|proc| proc.wait_event_info.load(SEQ) != 0);
    while !sleeps() {
        std::thread::yield_now();
    }
    ours.write_all(b"x").unwrap();
    assert_eq!((wait(owner), wait(waiting)), (0, 0));
    assert_eq!(slot::rows()[0].active_pid, 0);
}

const SEQ: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;

/// Temporary and ephemeral ones go, whatever ends the use.
fn at_session_end() {
    let pid = child(|| {
        slot::create("temporary", Persistency::Temporary).unwrap();
        slot::release();
        slot::create("ephemeral", Persistency::Ephemeral).unwrap();
        assert_eq!(names(), ["alpha", "ephemeral", "temporary"]);
    });
    assert_eq!(wait(pid), 0);
    assert_eq!(names(), ["alpha"]);
    // Though its directory cannot be removed: that is left to the next start.
    let pid = child(|| {
        slot::create("stuck", Persistency::Temporary).unwrap();
        slot::reserve_wal().unwrap();
        std::fs::create_dir_all(slot::dir().join("stuck.tmp/in_the_way")).unwrap();
    });
    assert_eq!(wait(pid), 0);
    assert!(slot::dir().join("stuck").exists());
    assert_eq!(names(), ["alpha"]);
    slot::create("temporary", Persistency::Temporary).unwrap();
    slot::persist().unwrap();
    slot::drop_acquired().unwrap();
}

/// Somebody must move on, and is told to.
fn given_up(redo: Lsn) {
    slot::create("late", Persistency::Persistent).unwrap();
    slot::reserve_wal().unwrap();
    slot::release();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let owner = child(move || {
        slot::acquire("late", true).unwrap();
        theirs.write_all(b"x").unwrap();
        // Ends by the order to leave only.
        while miscinit::interrupt::check().is_ok() {
            shmem::latch::wait(shmem::Wake::LATCH_SET, None, shmem::WaitEvent::PG_SLEEP);
            shmem::latch::reset();
        }
    });
    ours.read_exact(&mut [0]).unwrap();
    // Not here: this process has more than one thread, and a latch wakes a process with one.
    let checkpointer = child(|| {
        assert!(!slot::invalidate_obsolete(0x12).unwrap());
        assert!(slot::invalidate_obsolete(0x13).unwrap());
    });
    assert_eq!((wait(checkpointer), wait(owner)), (0, 0));
    let late = slot::read("late").unwrap();
    assert!(late.is_invalidated());
    assert_eq!((late.restart_lsn, late.invalidated_at), (Lsn::INVALID, redo));
    // The other one was behind segment 0x13 as well.
    assert!(slot::read("alpha").unwrap().is_invalidated());
    assert_eq!(wal::recycle::keep_from(Lsn(0x200_0000), 0x20), 0x20);
    slot::drop_slot("alpha", true).unwrap();
    slot::create("alpha", Persistency::Persistent).unwrap();
    slot::reserve_wal().unwrap();
    slot::save().unwrap();
    slot::release();
}

/// What was confirmed and not saved is forgotten: more is kept, not less.
fn restarted(redo: Lsn) {
    assert_eq!(names(), ["alpha", "late"]);
    assert_eq!(slot::read("alpha").unwrap().restart_lsn, redo);
    assert!(slot::read("late").unwrap().is_invalidated());
    assert_eq!(wal::recycle::keep_from(Lsn(0x200_0000), 0x20), 0x12);
    slot::acquire("alpha", true).unwrap();
    slot::confirm_received(Lsn(0x150_0000));
    slot::release();
    slot::checkpoint().unwrap();
    let saved = std::fs::read(slot_file("alpha")).unwrap();
    assert_eq!(saved[96..104], 0x150_0000_u64.to_ne_bytes());
}

fn slot_file(name: &str) -> std::path::PathBuf {
    slot::dir().join(name).join("state")
}
