//! A standby of several processes: one replays what a primary of several processes has written, others read meanwhile. All
//! or nothing of each transaction is visible, a snapshot never changes, and in the end everything is there. One test, since
//! a process has one segment of shared memory.

#![allow(unsafe_code, reason = "forks, as the postmaster does")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../src/testing_wal.rs"]
#[allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "made for the crate's own tests")]
mod testing_wal;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use common::{BackendType, FullXid, MultiXactId, Oid, Xid};
use shmem::{Limits, Reservation, Segment, ShmSlice, ShmVar};
use transam::standby::{self, StandbyState};
use transam::{StartupState, did_commit, snapshot, xid_in_mvcc_snapshot};

/// The first id, close to the end of the circle.
const FIRST: u32 = u32::MAX - 3000;
/// Transactions of the primary.
const FAMILIES: usize = 2400;
/// Ids of each: the top one and its subtransactions.
const MEMBERS: usize = 4;
const WRITERS: usize = 3;
const READERS: usize = 2;

/// Members of each family, as they were given out.
static IDS: ShmSlice<AtomicU64> = ShmSlice::new("Test Ids");
/// 1 for a family that committed, 2 for one that did not.
static FATES: ShmSlice<AtomicU64> = ShmSlice::new("Test Fates");
/// Families so far.
static COUNT: ShmVar<AtomicU64> = ShmVar::new("Test Count");
/// What replay has got to: 1 readers may begin, 2 all is replayed.
static STAGE: ShmVar<AtomicU64> = ShmVar::new("Test Stage");
static READS: ShmVar<AtomicU64> = ShmVar::new("Test Reads");

fn child(kind: BackendType, body: impl FnOnce()) -> i32 {
    #[allow(clippy::disallowed_methods, reason = "tests stand in for the postmaster")]
    // SAFETY: the child runs only `body`, which uses no thread and no lock of the harness, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: no memory arguments. A hung child must not outlive the test run.
        unsafe { libc::alarm(100) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            shmem::init_process(kind, 0).unwrap();
            body();
            transam::procarray::remove();
            shmem::proc::release();
        }));
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    pid
}

fn all_end_well(pids: Vec<i32>) {
    let codes: Vec<_> = pids
        .into_iter()
        .map(|pid| {
            let mut status = 0;
            // SAFETY: `status` is an int.
            while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
            if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
        })
        .collect();
    assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
}

fn counters() -> StartupState {
    StartupState {
        next_xid: FullXid::new(0, Xid(FIRST)),
        next_oid: Oid(16_384),
        next_multi: MultiXactId(1),
        next_multi_offset: 0,
        oldest_xid: Xid(FIRST - 100_000),
        oldest_xid_db: Oid(1),
        oldest_multi: MultiXactId(1),
        oldest_multi_db: Oid(1),
    }
}

/// A data directory with empty logs; the WAL in it stays.
fn prepare(dir: &Path) {
    for sub in ["pg_xact", "pg_subtrans", "pg_multixact/offsets", "pg_multixact/members", "pg_wal"] {
        std::fs::create_dir_all(dir.join(sub)).unwrap();
    }
    for (path, bytes) in transam::bootstrap_files() {
        std::fs::write(dir.join(path), bytes).unwrap();
    }
    std::fs::write(dir.join("pg_xact/0FFF"), vec![0; 32 * 8192]).unwrap();
}

fn segment() -> Segment {
    let limits = Limits { max_connections: 12, autovacuum_max_workers: 1, ..Limits::default() };
    let mut r = Reservation::new();
    shmem::reserve(&mut r, limits);
    testing_wal::reserve(&mut r);
    storage::reserve_with(&mut r, 16);
    transam::reserve(&mut r, limits.max_procs() as usize);
    r.slice(&IDS, FAMILIES * MEMBERS, |_| AtomicU64::new(0));
    r.slice(&FATES, FAMILIES, |_| AtomicU64::new(0));
    r.var(&COUNT, || AtomicU64::new(0));
    r.var(&STAGE, || AtomicU64::new(0));
    r.var(&READS, || AtomicU64::new(0));
    Segment::create_private(r).unwrap()
}

fn writer() {
    transam::procarray::add();
    loop {
        let family = COUNT.get().fetch_add(1, SeqCst) as usize;
        if family >= FAMILIES {
            return;
        }
        let note = |member: usize| {
            let xid = transam::current_xid().unwrap();
            IDS.get()[family * MEMBERS + member].store(xid.0.into(), SeqCst);
        };
        transam::start_transaction().unwrap();
        note(0);
        // Now and then so many that the standby is told of their parent.
        let more = if family.is_multiple_of(40) { 100 } else { 0 };
        for _ in 0..more {
            transam::start_subtransaction().unwrap();
            transam::current_xid().unwrap();
            transam::commit_subtransaction().unwrap();
        }
        for member in 1..MEMBERS {
            transam::start_subtransaction().unwrap();
            note(member);
            transam::commit_subtransaction().unwrap();
        }
        if family.is_multiple_of(7) {
            transam::abort_transaction();
        } else {
            transam::commit_transaction().unwrap();
        }
        FATES.get()[family].store(if family.is_multiple_of(7) { 2 } else { 1 }, SeqCst);
        if family.is_multiple_of(100) {
            transam::log_standby_snapshot();
        }
    }
}

fn family(at: usize) -> Vec<Xid> {
    IDS.get()[at * MEMBERS..(at + 1) * MEMBERS].iter().map(|xid| Xid(xid.load(SeqCst) as u32)).collect()
}

/// Replays all there is, and then declares recovery over.
fn startup(dir: &Path) {
    storage::smgr::set_in_redo(true);
    let checkpoint = testing_wal::standby(dir);
    transam::startup(&counters()).unwrap();
    let checkpoint = common::pg_control::CheckPoint { oldest_active_xid: Xid(FIRST), ..checkpoint };
    standby::initialize(&checkpoint, false, &[]).unwrap();
    let mut reader = testing_wal::reader(dir);
    let mut replayed = 0u64;
    while let Ok(Some(record)) = reader.next() {
        transam::varsup::advance_past(record.xid);
        standby::record_assigned(record.xid).unwrap();
        match record.rmgr {
            id if id == wal::RmgrId::Xact as u8 => transam::redo::xact_redo(&record).unwrap(),
            id if id == wal::RmgrId::Clog as u8 => transam::redo::clog_redo(&record).unwrap(),
            id if id == wal::RmgrId::Standby as u8 => transam::redo::standby_redo(&record).unwrap(),
            _ => {}
        }
        if standby::state() == StandbyState::SnapshotReady {
            STAGE.get().fetch_max(1, SeqCst);
            replayed += 1;
            // Readers see many moments of it, however slow they are.
            while replayed > READS.get().load(SeqCst) * 8 {
                std::thread::yield_now();
            }
        }
    }
    assert_eq!(standby::state(), StandbyState::SnapshotReady);
    assert_eq!(standby::known_count(), 0, "all have ended");
    STAGE.get().store(2, SeqCst);
    storage::smgr::set_in_redo(false);
}

fn reader(number: usize) {
    while STAGE.get().load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    transam::procarray::add();
    let mut round = number;
    let mut partly = 0u64;
    while STAGE.get().load(SeqCst) == 1 {
        round += 1;
        transam::start_transaction().unwrap();
        let taken = transam::transaction_snapshot().unwrap();
        let held = snapshot::register(&taken);
        let sees =
            |xid: Xid| !xid_in_mvcc_snapshot(xid, &taken) && !transam::is_in_progress(xid) && did_commit(xid);
        // Those near the edge, and some others.
        let edge = (0..FAMILIES).filter(|at| {
            let distance = family(*at)[0].0.wrapping_sub(taken.xmin().0).cast_signed();
            distance.abs() < 40 || (at + round).is_multiple_of(97)
        });
        for at in edge {
            let first: Vec<_> = family(at).into_iter().map(sees).collect();
            assert!(first.iter().all(|seen| *seen == first[0]), "part of {:?} in {taken:?}", family(at));
            let again: Vec<_> = family(at).into_iter().map(sees).collect();
            assert_eq!(first, again, "a snapshot that changes");
            assert!(!first[0] || FATES.get()[at].load(SeqCst) == 1, "family {at} was rolled back");
            partly += u64::from(first[0]);
        }
        let horizon = transam::horizon_for(transam::RelationKind::Data);
        assert!(horizon.precedes_or_equals(taken.xmin()), "horizon {horizon} is beyond {}", taken.xmin());
        drop(held);
        transam::commit_transaction().unwrap();
        READS.get().fetch_add(1, SeqCst);
    }
    assert!(partly > 0);
    transam::start_transaction().unwrap();
    let taken = transam::transaction_snapshot().unwrap();
    for at in 0..FAMILIES {
        let committed = FATES.get()[at].load(SeqCst) == 1;
        for xid in family(at) {
            assert_eq!(!xid_in_mvcc_snapshot(xid, &taken) && did_commit(xid), committed, "family {at}");
        }
    }
    transam::commit_transaction().unwrap();
}

#[test]
fn readers_see_all_or_nothing_while_it_is_replayed() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (primary, copy) = (dirs[0].path().to_owned(), dirs[1].path().to_owned());
    prepare(&primary);
    prepare(&copy);
    std::env::set_current_dir(&primary).unwrap();
    let segment_of_primary = segment();
    all_end_well(vec![child(BackendType::Startup, || {
        testing_wal::start(&primary);
        transam::startup(&counters()).unwrap();
        transam::trim().unwrap();
        transam::log_standby_snapshot();
    })]);
    let wal_dir = primary.join("pg_wal");
    wal::segment::set_wal_dir(Some(&wal_dir));
    all_end_well((0..WRITERS).map(|_| child(BackendType::Backend, writer)).collect());
    all_end_well(vec![child(BackendType::Backend, || wal::flush(wal::insert_end()))]);
    let ids: Vec<u64> = IDS.get().iter().map(|xid| xid.load(SeqCst)).collect();
    let fates: Vec<u64> = FATES.get().iter().map(|fate| fate.load(SeqCst)).collect();
    assert!(fates.iter().all(|fate| *fate != 0), "all families have ended");
    segment_of_primary.destroy();

    std::env::set_current_dir(&copy).unwrap();
    for segment in std::fs::read_dir(&wal_dir).unwrap().flatten().filter(|e| e.path().is_file()) {
        std::fs::copy(segment.path(), copy.join("pg_wal").join(segment.file_name())).unwrap();
    }
    let segment_of_standby = segment();
    IDS.get().iter().zip(&ids).for_each(|(slot, xid)| slot.store(*xid, SeqCst));
    FATES.get().iter().zip(&fates).for_each(|(slot, fate)| slot.store(*fate, SeqCst));
    let mut pids = vec![child(BackendType::Startup, || startup(&copy))];
    pids.extend((0..READERS).map(|n| child(BackendType::Backend, move || reader(n))));
    all_end_well(pids);
    assert!(READS.get().load(SeqCst) > 200, "{} snapshots", READS.get().load(SeqCst));
    std::env::set_current_dir("/").unwrap();
    segment_of_standby.destroy();
}
