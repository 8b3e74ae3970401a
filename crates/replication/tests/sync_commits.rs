//! Commits that wait, walsenders that wake them: several processes.
#![allow(unsafe_code, reason = "forks, as the postmaster does")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{BackendType, Lsn};
use miscinit::interrupt::{self, Pending};
use replication::{syncrep, walsnd};
use shmem::latch::{self, Wake};
use shmem::{Limits, Reservation, Segment, ShmVar, WaitEvent};

const LIMITS: Limits =
    Limits { max_connections: 12, autovacuum_max_workers: 1, max_wal_senders: 3, max_prepared_xacts: 0 };

static ALONE: Mutex<()> = Mutex::new(());
/// Steps that processes tell each other about.
static FLAGS: ShmVar<[AtomicU32; 16]> = ShmVar::new("Test Flags");
/// A position that processes share.
static POSITION: ShmVar<AtomicU64> = ShmVar::new("Test Position");

struct World {
    segment: Option<Segment>,
    children: Vec<i32>,
    _alone: MutexGuard<'static, ()>,
}

fn set(name: &str, value: &str) {
    let (context, source) = (guc::GucContext::Postmaster, guc::GucSource::File);
    guc::set_option(name, value, context, source, guc::GucAction::Set).unwrap();
}

fn world(standby_names: &str) -> World {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    guc::initialize().unwrap();
    set("max_wal_senders", "3");
    set("synchronous_standby_names", standby_names);
    let procs = LIMITS.max_procs() as usize;
    let mut reservation = Reservation::new();
    shmem::reserve(&mut reservation, LIMITS);
    activity::reserve(&mut reservation, procs);
    wal::reserve(&mut reservation);
    replication::reserve(&mut reservation, procs);
    reservation.var(&FLAGS, || [const { AtomicU32::new(0) }; 16]);
    reservation.var(&POSITION, || AtomicU64::new(0));
    let segment = Segment::create_private(reservation).unwrap();
    wal::startup::finish();
    World { segment: Some(segment), children: Vec::new(), _alone: alone }
}

impl World {
    fn child(&mut self, kind: BackendType, body: impl FnOnce()) -> i32 {
        #[allow(clippy::disallowed_methods, reason = "tests stand in for the postmaster")]
        // SAFETY: the child runs only `body`, which uses no thread and no lock of the harness, and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            // SAFETY: no memory arguments. A hung child must not outlive the test run.
            unsafe { libc::alarm(120) };
            let done = catch_unwind(AssertUnwindSafe(|| {
                interrupt::clear_all();
                miscinit::signals::install(miscinit::signals::Role::Kind(kind));
                // SAFETY: the alarm above is to kill, not to be a statement's timeout.
                unsafe { libc::signal(libc::SIGALRM, libc::SIG_DFL) };
                shmem::init_process(kind, 0).unwrap();
                body();
                miscinit::exit::shmem_exit(0);
                shmem::proc::release();
            }));
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(i32::from(done.is_err())) };
        }
        self.children.push(pid);
        pid
    }

    fn backend(&mut self, body: impl FnOnce()) -> i32 {
        self.child(BackendType::Backend, body)
    }

    /// A walsender whose standby has this name and streams.
    fn walsender(&mut self, name: &'static str, body: impl FnOnce()) -> i32 {
        self.child(BackendType::WalSender, move || {
            set("application_name", name);
            walsnd::claim().unwrap();
            syncrep::init_walsender_config();
            walsnd::set_state(walsnd::State::Streaming);
            body();
        })
    }

    /// What the checkpointer does at its start.
    fn checkpointer(&mut self, body: impl FnOnce()) -> i32 {
        self.child(BackendType::Checkpointer, move || {
            syncrep::update_defined_status();
            raise_flag(15);
            body();
        })
    }

    /// All children end well.
    fn join(mut self) {
        for pid in std::mem::take(&mut self.children) {
            let mut status = 0;
            // SAFETY: `status` is an int.
            while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
            assert_eq!(status, 0, "child {pid}");
        }
        assert_eq!(walsnd::statuses(), []);
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

#[track_caller]
fn until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(100), "waited in vain");
        std::thread::yield_now();
    }
}

fn raise_flag(flag: usize) {
    FLAGS.get()[flag].fetch_add(1, SeqCst);
}

fn flag(flag: usize) -> u32 {
    FLAGS.get()[flag].load(SeqCst)
}

/// How many sleep in a queue.
fn sleepers() -> usize {
    let sleeps = |info: u32| shmem::wait_event::event_name(info) == Some("SyncRep");
    let procs = shmem::all_procs().iter();
    procs.filter(|proc| proc.kind().is_some() && sleeps(proc.wait_event_info.load(SeqCst))).count()
}

fn reply(write: u64, flush: u64, apply: u64) {
    walsnd::record_reply(Lsn(write), Lsn(flush), Lsn(apply), [None; 3], false, 1);
    syncrep::release_waiters();
}

/// A backend's commit, then `flag` is raised.
fn commits(mode: &str, lsn: u64, done: usize) {
    set("synchronous_commit", mode);
    syncrep::wait_for_lsn(Lsn(lsn), true);
    raise_flag(done);
}

#[test]
fn each_mode_waits_for_its_own_position() {
    let mut world = world("s");
    world.checkpointer(|| ());
    until(|| flag(15) == 1);
    for (at, mode) in ["remote_write", "on", "remote_apply"].into_iter().enumerate() {
        world.backend(move || commits(mode, 100, at));
    }
    // These two never wait.
    world.backend(|| commits("local", 100, 3));
    world.backend(|| commits("off", 100, 4));
    // What is no commit waits for the flush at most.
    world.backend(|| {
        set("synchronous_commit", "remote_apply");
        syncrep::wait_for_lsn(Lsn(100), false);
        raise_flag(5);
    });
    until(|| sleepers() == 4 && flag(3) + flag(4) == 2);
    world.walsender("S", || {
        reply(99, 99, 99);
        reply(100, 99, 99);
        until(|| flag(0) == 1);
        assert_eq!([flag(1), flag(2), flag(5)], [0; 3]);
        reply(500, 100, 99);
        until(|| flag(1) + flag(5) == 2);
        assert_eq!(flag(2), 0);
        reply(500, 100, 100);
        until(|| flag(2) == 1);
        // Nobody need wait for what is there already.
        raise_flag(6);
    });
    world.backend(|| {
        until(|| flag(6) == 1);
        commits("on", 100, 7);
    });
    world.join();
}

#[test]
fn others_do_not_count() {
    let mut world = world("2 (a, b)");
    world.checkpointer(|| ());
    until(|| flag(15) == 1);
    world.backend(|| commits("on", 100, 0));
    until(|| sleepers() == 1);
    world.walsender("x", || reply(900, 900, 900));
    world.walsender("a", || {
        reply(800, 800, 800);
        raise_flag(1);
        until(|| flag(0) == 1);
    });
    until(|| flag(1) == 1);
    assert_eq!(flag(0), 0);
    world.walsender("b", || {
        until(|| flag(1) == 1);
        assert_eq!(flag(0), 0);
        reply(100, 100, 0);
        until(|| flag(0) == 1);
    });
    world.join();
}

#[test]
fn what_was_told_in_an_earlier_stream_does_not_count() {
    let mut world = world("s");
    world.checkpointer(|| ());
    until(|| flag(15) == 1);
    world.walsender("s", || {
        reply(900, 900, 900);
        walsnd::set_state(walsnd::State::Startup);
        walsnd::set_state(walsnd::State::Catchup);
        let status = walsnd::mine().unwrap();
        assert_eq!([status.write, status.flush, status.apply], [Lsn::INVALID; 3]);
        raise_flag(1);
        until(|| sleepers() == 1);
        walsnd::set_state(walsnd::State::Streaming);
        syncrep::release_waiters();
        assert_eq!((flag(0), sleepers()), (0, 1));
        // What is told while it catches up counts as soon as it streams.
        walsnd::set_state(walsnd::State::Catchup);
        reply(1_000, 1_000, 1_000);
        assert_eq!((flag(0), sleepers()), (0, 1));
        walsnd::set_state(walsnd::State::Streaming);
        syncrep::release_waiters();
        until(|| flag(0) == 1);
    });
    until(|| flag(1) == 1);
    world.backend(|| commits("on", 1_000, 0));
    world.join();
}

#[test]
fn no_wake_up_is_lost() {
    const COMMITS: u64 = 400;
    let mut world = world("ANY 1 (*)");
    world.checkpointer(|| ());
    until(|| flag(15) == 1);
    for process in 0..6u64 {
        world.backend(move || {
            for commit in 0..COMMITS {
                let mode = ["remote_write", "on", "remote_apply"][((process + commit) % 3) as usize];
                set("synchronous_commit", mode);
                let lsn = POSITION.get().fetch_add(1, SeqCst) + 1;
                syncrep::wait_for_lsn(Lsn(lsn), true);
                let senders = walsnd::statuses();
                let reached = |sender: &walsnd::Status| match mode {
                    "remote_write" => sender.write >= Lsn(lsn),
                    "on" => sender.flush >= Lsn(lsn),
                    _ => sender.apply >= Lsn(lsn),
                };
                assert!(senders.iter().any(reached), "woken too early: {lsn} {mode} {senders:?}");
            }
            raise_flag(0);
        });
    }
    for _ in 0..2 {
        world.walsender("s", || {
            let mut last = 0;
            while flag(0) < 6 {
                let lsn = POSITION.get().load(SeqCst);
                reply(lsn, last, last);
                reply(lsn, lsn, last);
                reply(lsn, lsn, lsn);
                last = lsn;
                std::thread::yield_now();
            }
            raise_flag(1);
            until(|| flag(1) == 2);
        });
    }
    world.join();
}

thread_local! {
    static HEARD: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn hear_reports() {
    elog::set_client_sink(Some(|report| {
        HEARD.with_borrow_mut(|all| {
            all.push(format!("{} {}", report.message, report.detail.as_deref().unwrap_or_default()));
        });
    }));
}

const DETAIL: &str =
    "The transaction has already committed locally, but might not have been replicated to the standby.";

#[test]
fn a_wait_can_be_cancelled() {
    let mut world = world("nobody");
    world.checkpointer(|| ());
    until(|| flag(15) == 1);
    let pid = world.backend(|| {
        hear_reports();
        syncrep::wait_for_lsn(Lsn(100), true);
        let expected = format!("canceling wait for synchronous replication due to user request {DETAIL}");
        assert_eq!(HEARD.take(), [expected]);
        assert!(!syncrep::ended_unacknowledged() && !interrupt::is_pending(Pending::QueryCancel));
        raise_flag(0);
        // It left the queue, or it could not stand in again.
        commits("remote_apply", 100, 1);
    });
    until(|| sleepers() == 1);
    // SAFETY: no memory arguments.
    unsafe { libc::kill(pid, libc::SIGINT) };
    until(|| flag(0) == 1 && sleepers() == 1);
    // SAFETY: no memory arguments.
    unsafe { libc::kill(pid, libc::SIGINT) };
    until(|| flag(1) == 1);
    world.join();
}

#[test]
fn the_end_of_the_session_ends_the_wait_without_acknowledgement() {
    let mut world = world("nobody");
    world.checkpointer(|| ());
    until(|| flag(15) == 1);
    let pid = world.backend(|| {
        hear_reports();
        syncrep::wait_for_lsn(Lsn(100), true);
        let expected = format!(
            "canceling the wait for synchronous replication and terminating connection due to administrator command {DETAIL}"
        );
        assert_eq!(HEARD.take(), [expected]);
        assert!(syncrep::ended_unacknowledged() && interrupt::is_pending(Pending::ProcDie));
        // The client hears nothing any more.
        elog::ereport!(Warning, "after all");
        assert_eq!(HEARD.take(), [""; 0]);
    });
    until(|| sleepers() == 1);
    // SAFETY: no memory arguments.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    world.join();
}

#[test]
fn who_is_wanted_no_longer_is_not_waited_for() {
    let mut world = world("nobody");
    world.checkpointer(|| {
        until(|| flag(1) == 1);
        set("synchronous_standby_names", "");
        syncrep::update_defined_status();
    });
    until(|| flag(15) == 1);
    for lsn in [300, 100, 200] {
        world.backend(move || commits("on", lsn, 0));
    }
    until(|| sleepers() == 3);
    raise_flag(1);
    until(|| flag(0) == 3);
    world.backend(|| commits("on", 1_000, 2));
    until(|| flag(2) == 1);
    world.join();
}

#[test]
fn before_the_checkpointer_has_read_the_setting_a_session_goes_by_its_own() {
    let mut world = world("s");
    world.backend(|| commits("on", 100, 0));
    until(|| sleepers() == 1);
    world.backend(|| {
        set("synchronous_standby_names", "");
        commits("on", 100, 1);
    });
    until(|| flag(1) == 1);
    world.walsender("s", || {
        reply(100, 100, 100);
        until(|| flag(0) == 1);
    });
    world.join();
}

#[test]
fn a_walsender_misses_no_flush() {
    const FLUSHES: u64 = 20_000;
    let mut world = world("");
    for _ in 0..2 {
        world.walsender("s", || {
            raise_flag(0);
            loop {
                latch::reset();
                let seen = POSITION.get().load(SeqCst);
                walsnd::set_sent(Lsn(seen));
                if seen == 2 * FLUSHES {
                    return;
                }
                let woken =
                    latch::wait(Wake::LATCH_SET, Some(Duration::from_secs(100)), WaitEvent::WAL_SENDER_MAIN);
                assert_eq!(woken, Wake::LATCH_SET);
            }
        });
    }
    for _ in 0..2 {
        world.backend(|| {
            until(|| flag(0) > 0);
            for _ in 0..FLUSHES {
                POSITION.get().fetch_add(1, SeqCst);
                walsnd::wakeup();
            }
        });
    }
    world.join();
}

#[test]
fn places_and_stopping() {
    let mut world = world("");
    for _ in 0..3 {
        world.walsender("s", || {
            raise_flag(0);
            // Told by signal: the flag of procsignal is there too.
            until(|| interrupt::take(Pending::ProcSignal));
            assert!(shmem::procsignal::check(shmem::procsignal::ProcSignalReason::WalSenderStopping));
            assert!(walsnd::take_file_reload() && !walsnd::take_file_reload());
            walsnd::set_state(walsnd::State::Stopping);
            raise_flag(1);
            until(|| flag(2) == 1);
        });
    }
    until(|| flag(0) == 3);
    let statuses = walsnd::statuses();
    assert_eq!(statuses.len(), 3);
    assert!(statuses.iter().all(|status| status.state == walsnd::State::Streaming));
    walsnd::request_file_reload();
    walsnd::init_stopping();
    walsnd::wait_stopping();
    assert_eq!(flag(1), 3);
    raise_flag(2);
    world.join();
}
