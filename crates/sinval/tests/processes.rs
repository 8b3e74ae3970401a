//! Several processes over one ring: every reader sees every message in each writer's order, or is told that it did not.
#![allow(unsafe_code, reason = "forks, as the postmaster does")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use common::{BackendType, Oid};
use shmem::{Limits, Reservation, Segment, ShmVar};
use sinval::{Decoded, Message};

const LIMITS: Limits =
    Limits { max_connections: 12, autovacuum_max_workers: 1, max_wal_senders: 1, max_prepared_xacts: 0 };
const WRITERS: u32 = 3;
const EACH: u32 = 20_000;

/// Readers that are attached; writers that are done; readers that were reset.
static FLAGS: ShmVar<[AtomicU32; 3]> = ShmVar::new("Test Flags");

fn child(body: impl FnOnce()) -> i32 {
    #[allow(clippy::disallowed_methods, reason = "tests stand in for the postmaster")]
    // SAFETY: the child runs only `body`, which uses no thread and no lock of the harness, and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: no memory arguments. A hung child must not outlive the test run.
        unsafe { libc::alarm(60) };
        let done = catch_unwind(AssertUnwindSafe(|| {
            miscinit::signals::install(miscinit::signals::Role::Kind(BackendType::Backend));
            // SAFETY: the alarm above is to kill, not to be a statement's timeout.
            unsafe { libc::signal(libc::SIGALRM, libc::SIG_DFL) };
            shmem::init_process(BackendType::Backend, 0).unwrap();
            body();
            sinval::detach();
            shmem::proc::release();
        }));
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(i32::from(done.is_err())) };
    }
    pid
}

fn flag(at: usize) -> &'static AtomicU32 {
    &FLAGS.get()[at]
}

fn write(writer: u32) {
    while flag(0).load(SeqCst) < 3 {
        std::thread::yield_now();
    }
    for first in (0..EACH).step_by(10) {
        let group: Vec<_> = (first..first + 10).map(|n| Message::relcache(Oid(writer), Oid(n))).collect();
        sinval::send(&group);
    }
    flag(1).fetch_add(1, SeqCst);
}

/// `nap` makes it fall behind now and then.
fn read(nap: bool) {
    sinval::attach();
    flag(0).fetch_add(1, SeqCst);
    let mut next = [Some(0); WRITERS as usize];
    let mut turns = 0;
    loop {
        let done = flag(1).load(SeqCst) == WRITERS;
        let mut was_reset = false;
        let seen = |message: &Message, next: &mut [Option<u32>]| {
            let Decoded::Relcache { database, relation } = message.decode() else { panic!("{message:?}") };
            let expected = &mut next[database.0 as usize];
            // After a reset anything may come first.
            assert!(expected.is_none_or(|n| n == relation.0), "{expected:?} {relation}");
            *expected = Some(relation.0 + 1);
        };
        sinval::receive(|message| seen(message, &mut next), || was_reset = true);
        if was_reset {
            flag(2).fetch_add(1, SeqCst);
            next = [None; WRITERS as usize];
        }
        sinval::process_catchup(|| Ok(())).unwrap();
        if done {
            break;
        }
        turns += 1;
        if nap && turns % 50 == 0 {
            let start = std::time::Instant::now();
            while start.elapsed().as_millis() < 20 {
                std::thread::yield_now();
            }
        }
    }
    assert!(!sinval::anything_new());
    assert!(next.iter().all(|n| n.is_none_or(|n| n == EACH)), "{next:?}");
}

#[test]
fn nothing_is_lost_in_silence() {
    let mut reservation = Reservation::new();
    shmem::reserve(&mut reservation, LIMITS);
    sinval::reserve(&mut reservation, LIMITS.max_procs() as usize);
    reservation.var(&FLAGS, || [const { AtomicU32::new(0) }; 3]);
    let segment = Segment::create_private(reservation).unwrap();
    let mut pids: Vec<i32> = [false, false, true].into_iter().map(|nap| child(move || read(nap))).collect();
    pids.extend((0..WRITERS).map(|writer| child(move || write(writer))));
    for pid in pids {
        let mut status = 0;
        // SAFETY: `status` is an int.
        while unsafe { libc::waitpid(pid, &mut status, 0) } != pid {}
        assert_eq!(status, 0, "child {pid}");
    }
    segment.destroy();
}
