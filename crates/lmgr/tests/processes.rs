//! Several processes and their locks: waiting, waking up, deadlocks, cancels, timeouts.
#![allow(unsafe_code, reason = "forks, as the postmaster does")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{BackendType, Oid, SqlState};
use elog::Result;
use lmgr::{AdvisoryKey, LockMode, LockTag};
use miscinit::interrupt::{self, Pending};
use shmem::{Limits, Reservation, Segment, ShmVar};

const DB: Oid = Oid(5);
const LIMITS: Limits =
    Limits { max_connections: 12, autovacuum_max_workers: 1, max_wal_senders: 1, max_prepared_xacts: 0 };

static ALONE: Mutex<()> = Mutex::new(());
/// Steps that processes tell each other about.
static FLAGS: ShmVar<[AtomicU32; 64]> = ShmVar::new("Test Flags");

struct World {
    segment: Option<Segment>,
    children: Vec<i32>,
    _alone: MutexGuard<'static, ()>,
}

fn world(settings: &[(&str, &str)]) -> World {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    guc::initialize().unwrap();
    for (name, value) in settings {
        let (context, source) = (guc::GucContext::Postmaster, guc::GucSource::File);
        guc::set_option(name, *value, context, source, guc::GucAction::Set).unwrap();
    }
    let mut reservation = Reservation::new();
    shmem::reserve(&mut reservation, LIMITS);
    activity::reserve(&mut reservation, LIMITS.max_procs() as usize);
    lmgr::reserve(&mut reservation, LIMITS.max_procs() as usize, LIMITS.max_backends() as usize);
    reservation.var(&FLAGS, || [const { AtomicU32::new(0) }; 64]);
    let segment = Segment::create_private(reservation).unwrap();
    World { segment: Some(segment), children: Vec::new(), _alone: alone }
}

impl World {
    fn child(&mut self, body: impl FnOnce()) -> i32 {
        #[allow(clippy::disallowed_methods, reason = "tests stand in for the postmaster")]
        // SAFETY: the child runs only `body`, which uses no thread and no lock of the harness, and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            // SAFETY: no memory arguments. A hung child must not outlive the test run.
            unsafe { libc::alarm(60) };
            let done = catch_unwind(AssertUnwindSafe(|| {
                interrupt::set_processor(process_interrupts);
                miscinit::signals::install(miscinit::signals::Role::Kind(BackendType::Backend));
                // SAFETY: the alarm above is to kill, not to be a statement's timeout.
                unsafe { libc::signal(libc::SIGALRM, libc::SIG_DFL) };
                shmem::init_process(BackendType::Backend, 0).unwrap();
                shmem::my_proc().database_id.store(DB.0, SeqCst);
                body();
                lmgr::release_all_of_session();
                shmem::proc::release();
            }));
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(done.is_err())) };
        }
        self.children.push(pid);
        pid
    }

    /// All children end well, and nothing stays locked.
    fn join(mut self) {
        for pid in std::mem::take(&mut self.children) {
            let mut status = 0;
            // SAFETY: `status` is an int.
            while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
            assert_eq!(status, 0, "child {pid}");
        }
        assert_eq!(lmgr::status(), []);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for pid in &self.children {
            // SAFETY: our own children, not reaped yet.
            unsafe {
                libc::kill(*pid, libc::SIGKILL);
                libc::waitpid(*pid, std::ptr::null_mut(), 0);
            }
        }
        self.segment.take().unwrap().destroy();
    }
}

fn process_interrupts() -> Result<()> {
    if interrupt::take(Pending::QueryCancel) {
        return Err(elog::error!(SqlState::QUERY_CANCELED, "canceling statement due to user request"));
    }
    Ok(())
}

#[track_caller]
fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(50), "waited in vain");
        std::thread::yield_now();
    }
}

fn set(flag: usize) {
    FLAGS.get()[flag].fetch_add(1, SeqCst);
}

fn flag(flag: usize) -> u32 {
    FLAGS.get()[flag].load(SeqCst)
}

fn waiters() -> usize {
    lmgr::status().iter().filter(|row| !row.granted).count()
}

fn lock(rel: u32, mode: LockMode) -> Result<lmgr::Acquired> {
    lmgr::lock_relation(DB, Oid(rel), mode)
}

#[test]
fn a_waiter_is_woken() {
    let mut world = world(&[]);
    let holder = world.child(|| {
        lock(1, LockMode::AccessShare).unwrap();
        set(0);
        until(|| waiters() == 1);
        set(1);
        until(|| flag(2) == 1);
    });
    let waiter = world.child(|| {
        until(|| flag(0) == 1);
        assert!(!lmgr::conditional_lock_relation(DB, Oid(1), LockMode::AccessExclusive).unwrap());
        lock(1, LockMode::AccessExclusive).unwrap();
        set(3);
    });
    until(|| flag(1) == 1);
    assert_eq!(lmgr::blocking_pids(waiter), [holder]);
    assert_eq!(lmgr::blocking_pids(holder), []);
    let row = lmgr::status().into_iter().find(|row| !row.granted).unwrap();
    assert_eq!((row.pid, row.mode, row.relation), (waiter, "AccessExclusiveLock", Some(Oid(1))));
    assert!(row.waitstart.is_some());
    assert_eq!(flag(3), 0);
    set(2);
    world.join();
}

#[test]
fn of_two_in_a_deadlock_one_gives_up() {
    let mut world = world(&[("deadlock_timeout", "30ms")]);
    let mut pids = Vec::new();
    for (at, (mine, other)) in [(1, 2), (2, 1)].into_iter().enumerate() {
        pids.push(world.child(move || {
            lock(mine, LockMode::AccessExclusive).unwrap();
            set(0);
            until(|| flag(0) == 2);
            if let Err(error) = lock(other, LockMode::AccessShare) {
                let me = std::process::id();
                assert_eq!(error.sqlstate, SqlState::T_R_DEADLOCK_DETECTED);
                assert_eq!(error.message, "deadlock detected");
                assert_eq!(error.hint.as_deref(), Some("See server log for query details."));
                let detail = error.detail.clone().unwrap();
                let lines: Vec<&str> = detail.lines().collect();
                let head = format!(
                    "Process {me} waits for AccessShareLock on relation {other} of database 5; blocked by process "
                );
                assert!(lines.len() == 2 && lines[0].starts_with(&head), "{detail}");
                assert!(lines[1].ends_with(&format!("; blocked by process {me}.")), "{detail}");
                let log = error.detail_log.clone().unwrap();
                assert!(log.starts_with(&detail) && log.lines().count() == 4, "{log}");
                set(1);
            } else {
                set(2 + at);
            }
        }));
    }
    until(|| flag(1) + flag(2) + flag(3) == 2);
    assert_eq!((flag(1), flag(2) + flag(3)), (1, 1));
    world.join();
}

#[test]
fn of_three_in_a_ring_one_gives_up() {
    let mut world = world(&[("deadlock_timeout", "30ms")]);
    for n in 0..3u32 {
        world.child(move || {
            lock(n, LockMode::Exclusive).unwrap();
            set(0);
            until(|| flag(0) == 3);
            set(if lock((n + 1) % 3, LockMode::Exclusive).is_err() { 1 } else { 2 });
        });
    }
    until(|| flag(1) + flag(2) == 3);
    assert_eq!((flag(1), flag(2)), (1, 2));
    world.join();
}

/// 3 waits on relation 1 only behind 2 in the queue: it is let ahead, and nobody gives up.
#[test]
fn a_queue_is_rearranged() {
    let mut world = world(&[("deadlock_timeout", "50ms")]);
    world.child(|| {
        lock(1, LockMode::AccessShare).unwrap();
        set(0);
        until(|| waiters() == 2);
        // The last edge: first of all wait for 3, who is behind 2, who waits for us.
        lock(2, LockMode::AccessExclusive).unwrap();
        set(5);
    });
    world.child(|| {
        until(|| flag(0) == 2);
        lock(1, LockMode::AccessExclusive).unwrap();
        set(5);
    });
    world.child(|| {
        lock(2, LockMode::AccessExclusive).unwrap();
        set(0);
        until(|| flag(0) == 2 && waiters() == 1);
        lock(1, LockMode::AccessShare).unwrap();
        set(5);
    });
    until(|| flag(5) == 3);
    world.join();
}

#[test]
fn a_cancelled_wait_leaves_the_queue() {
    let mut world = world(&[]);
    world.child(|| {
        lock(1, LockMode::AccessShare).unwrap();
        set(0);
        until(|| flag(2) == 1);
    });
    let waiter = world.child(|| {
        until(|| flag(0) == 1);
        let error = lock(1, LockMode::AccessExclusive).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::QUERY_CANCELED);
        assert!(!lmgr::holds(LockTag::Relation { db: DB, rel: Oid(1) }, LockMode::AccessExclusive));
    });
    world.child(|| {
        until(|| waiters() == 1);
        // Behind the waiter, until that one is cancelled.
        lock(1, LockMode::RowShare).unwrap();
        set(2);
    });
    // Looking at the table takes LWLocks, which only a process with a PGPROC may wait for: a child looks.
    world.child(move || {
        until(|| waiters() == 2);
        // SAFETY: no memory arguments; a sibling that waits, so it has not been reaped.
        unsafe { libc::kill(waiter, libc::SIGINT) };
    });
    world.join();
}

#[test]
fn lock_timeout_ends_a_wait() {
    let mut world = world(&[("lock_timeout", "40ms")]);
    world.child(|| {
        lmgr::advisory_lock(AdvisoryKey::One(1), false, true).unwrap();
        set(0);
        until(|| flag(1) == 1);
    });
    world.child(|| {
        until(|| flag(0) == 1);
        let start = Instant::now();
        let error = lmgr::advisory_lock(AdvisoryKey::One(1), false, true).unwrap_err();
        assert!(start.elapsed() >= Duration::from_millis(40));
        assert_eq!(error.sqlstate, SqlState::LOCK_NOT_AVAILABLE);
        assert_eq!(error.message, "canceling statement due to lock timeout");
        set(1);
    });
    world.join();
    let _ = guc::set_option(
        "lock_timeout",
        "0",
        guc::GucContext::Postmaster,
        guc::GucSource::File,
        guc::GucAction::Set,
    );
}

/// Eight processes lock what they like, in any mode and order. Nobody ever meets a conflicting lock, and deadlocks
/// are always found.
#[test]
fn a_crowd() {
    const RELATIONS: u32 = 4;
    let mut world = world(&[("deadlock_timeout", "5ms"), ("lock_timeout", "0")]);
    for seed in 1..=8u64 {
        world.child(move || {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut random = |n: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % n
            };
            let mut deadlocks = 0;
            for _ in 0..150 {
                let mut mine: Vec<(u32, LockMode)> = Vec::new();
                for _ in 0..1 + random(3) {
                    let (rel, mode) = (random(RELATIONS.into()) as u32, LockMode::ALL[random(8) as usize]);
                    if mine.contains(&(rel, mode)) {
                        continue;
                    }
                    match lock(rel, mode) {
                        Ok(_) => {
                            let slot = |mode: LockMode| 8 * rel as usize + mode as usize - 1;
                            set(slot(mode));
                            mine.push((rel, mode));
                            for other in mode.conflicts().iter() {
                                let own = u32::from(mine.contains(&(rel, other)));
                                assert_eq!(flag(slot(other)), own, "{mode:?} and {other:?}");
                            }
                        }
                        Err(error) => {
                            assert_eq!(error.sqlstate, SqlState::T_R_DEADLOCK_DETECTED, "{error}");
                            deadlocks += 1;
                            break;
                        }
                    }
                }
                for (rel, mode) in mine {
                    FLAGS.get()[8 * rel as usize + mode as usize - 1].fetch_sub(1, SeqCst);
                }
                lmgr::release_all_of_session();
            }
            FLAGS.get()[63].fetch_add(deadlocks, SeqCst);
        });
    }
    world.join();
}
