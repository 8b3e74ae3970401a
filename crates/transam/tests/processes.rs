//! Several processes at once: what one commits, others see all or nothing of, and no horizon passes a snapshot in use.
//! One test, since a process has one segment of shared memory.

#![allow(unsafe_code, reason = "forks, as the postmaster does")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../src/testing_wal.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "made for the crate's own tests")]
mod testing_wal;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use common::{BackendType, FullXid, MultiXactId, Oid, Xid};
use shmem::{Limits, Reservation, Segment, ShmSlice, ShmVar};
use transam::procarray::RelationKind;
use transam::{GlobalVis, StartupState, did_commit, snapshot, xid_in_mvcc_snapshot};

/// Top and sub id of recent transactions, as one word.
static PAIRS: ShmSlice<AtomicU64> = ShmSlice::new("Test Pairs");
/// xmin of each reader's snapshot, with a count in the upper half; 0 while it has none.
static HELD: ShmSlice<AtomicU64> = ShmSlice::new("Test Held");
static COMMITS: ShmVar<AtomicU64> = ShmVar::new("Test Commits");
/// Snapshots compared by readers, and horizons compared by the watcher.
static READS: ShmVar<AtomicU64> = ShmVar::new("Test Reads");
static CHECKS: ShmVar<AtomicU64> = ShmVar::new("Test Checks");

const WRITERS: usize = 3;
const READERS: usize = 2;

/// All go on until each part has seen enough of the others, however slow the machine.
fn is_enough() -> bool {
    COMMITS.get().load(SeqCst) > 20_000 && READS.get().load(SeqCst) > 4000 && CHECKS.get().load(SeqCst) > 4000
}

fn child(body: impl FnOnce()) -> i32 {
    #[allow(clippy::disallowed_methods, reason = "tests stand in for the postmaster")]
    // SAFETY: the child runs only `body`, which uses no thread and no lock of the harness, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: no memory arguments. A hung child must not outlive the test run.
        unsafe { libc::alarm(100) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            shmem::init_process(BackendType::Backend, 0).unwrap();
            transam::procarray::add();
            body();
            transam::procarray::remove();
            shmem::proc::release();
        }));
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    pid
}

fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is an int.
    while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
}

fn start(dir: &std::path::Path) -> Segment {
    std::env::set_current_dir(dir).unwrap();
    for sub in ["pg_xact", "pg_subtrans", "pg_multixact/offsets", "pg_multixact/members", "pg_wal"] {
        std::fs::create_dir_all(sub).unwrap();
    }
    for (path, bytes) in transam::bootstrap_files() {
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write("pg_xact/0FFF", vec![0; 32 * 8192]).unwrap();
    let limits =
        Limits { max_connections: 12, autovacuum_max_workers: 1, max_wal_senders: 0, ..Limits::default() };
    let mut r = Reservation::new();
    shmem::reserve(&mut r, limits);
    testing_wal::reserve(&mut r);
    transam::reserve(&mut r, limits.max_procs() as usize);
    r.slice(&PAIRS, 64, |_| AtomicU64::new(0));
    r.slice(&HELD, READERS, |_| AtomicU64::new(0));
    r.var(&COMMITS, || AtomicU64::new(0));
    r.var(&READS, || AtomicU64::new(0));
    r.var(&CHECKS, || AtomicU64::new(0));
    let segment = Segment::create_private(r).unwrap();
    shmem::init_process(BackendType::Startup, 0).unwrap();
    testing_wal::start(dir);
    let state = StartupState {
        // Close to a page's end of each log, and to the end of the circle.
        next_xid: FullXid::new(0, Xid(u32::MAX - 100)),
        next_oid: Oid(16_384),
        next_multi: MultiXactId(1),
        next_multi_offset: 0,
        oldest_xid: Xid(u32::MAX - 100_000),
        oldest_xid_db: Oid(1),
        oldest_multi: MultiXactId(1),
        oldest_multi_db: Oid(1),
    };
    transam::startup(&state).unwrap();
    transam::trim().unwrap();
    shmem::proc::release();
    segment
}

fn writer(number: u64) {
    let mut round = number;
    while !is_enough() {
        round += 1;
        transam::start_transaction().unwrap();
        // An own snapshot now and then: xmin comes and goes.
        if round.is_multiple_of(3) {
            drop(snapshot::push_active(&transam::transaction_snapshot().unwrap()));
        }
        let top = transam::current_xid().unwrap();
        transam::start_subtransaction().unwrap();
        let sub = transam::current_xid().unwrap();
        transam::commit_subtransaction().unwrap();
        let slot = &PAIRS.get()[(round * 7 + number * 13) as usize % 64];
        slot.store(u64::from(top.0) << 32 | u64::from(sub.0), SeqCst);
        if round.is_multiple_of(5) {
            transam::abort_transaction();
            assert!(!did_commit(top) && !did_commit(sub));
        } else {
            transam::commit_transaction().unwrap();
            assert!(did_commit(top) && did_commit(sub));
            COMMITS.get().fetch_add(1, SeqCst);
        }
    }
}

fn reader(number: usize) {
    let held = &HELD.get()[number];
    let mut round = 0u64;
    while !is_enough() {
        round += 1;
        transam::start_transaction().unwrap();
        let taken = transam::transaction_snapshot().unwrap();
        let registered = snapshot::register(&taken);
        held.store(round << 32 | u64::from(taken.xmin().0), SeqCst);
        let pairs: Vec<_> = PAIRS.get().iter().map(|word| word.load(SeqCst)).filter(|w| *w != 0).collect();
        // In progress first, then the commit log: the order that visibility depends on.
        let sees =
            |xid: Xid| !xid_in_mvcc_snapshot(xid, &taken) && !transam::is_in_progress(xid) && did_commit(xid);
        let look = || -> Vec<(bool, bool)> {
            pairs.iter().map(|word| (sees(Xid((word >> 32) as u32)), sees(Xid(*word as u32)))).collect()
        };
        let first = look();
        for ((top, sub), word) in first.iter().zip(&pairs) {
            assert_eq!(top, sub, "half of {word:x} is visible in {taken:?}");
        }
        assert_eq!(first, look(), "a snapshot that changes");
        held.store(0, SeqCst);
        drop(registered);
        transam::commit_transaction().unwrap();
        READS.get().fetch_add(1, SeqCst);
    }
}

fn watcher() {
    let mut checked = 0u64;
    while !is_enough() {
        for held in HELD.get() {
            let before = held.load(SeqCst);
            let horizon = transam::horizon_for(RelationKind::Data);
            let removable = GlobalVis::of(RelationKind::Data).is_removable(Xid(before as u32));
            if before != 0 && held.load(SeqCst) == before {
                let xmin = Xid(before as u32);
                assert!(horizon.precedes_or_equals(xmin), "horizon {horizon} is beyond xmin {xmin} in use");
                assert!(!removable, "{xmin} is in use");
                checked += 1;
                CHECKS.get().fetch_add(1, SeqCst);
            }
        }
        if checked.is_multiple_of(64) {
            transam::log_standby_snapshot();
            transam::wait_for_delayed_commits();
            transam::checkpoint().unwrap();
        }
    }
}

#[test]
fn sessions_see_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let segment = start(dir.path());
    let mut pids: Vec<_> = (0..WRITERS).map(|n| child(|| writer(n as u64))).collect();
    pids.extend((0..READERS).map(|n| child(|| reader(n))));
    pids.push(child(watcher));
    let codes: Vec<_> = pids.into_iter().map(wait).collect();
    assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
    std::env::set_current_dir("/").unwrap();
    segment.destroy();
}
