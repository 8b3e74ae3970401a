//! Latches between real processes.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use common::BackendType;

use super::*;
use crate::testing::{Child, End, alone, segment, until, wait_for};
use crate::{Segment, ShmSlice, all_procs, init_process, my_proc, postmaster_alive};

static WORDS: ShmSlice<AtomicU32> = ShmSlice::new("latch test");

fn world() -> Segment {
    segment(|reservation| {
        reservation.slice(&WORDS, 4, |_| AtomicU32::new(0));
    })
}

fn word(index: usize) -> &'static AtomicU32 {
    &WORDS.get()[index]
}

#[test]
fn ping_pong_between_processes() {
    const ROUNDS: u32 = 3_000;
    let _alone = alone();
    let segment = world();
    // Each waits without a time limit until the shared number has its parity: one lost wake-up hangs both.
    let children = [0usize, 1].map(|side| {
        Child::run_as(BackendType::Backend, move || {
            word(1 + side).store(my_proc().pgprocno + 1, Ordering::SeqCst);
            until(|| word(1).load(Ordering::SeqCst) != 0 && word(2).load(Ordering::SeqCst) != 0);
            let other = &all_procs()[word(2 - side).load(Ordering::SeqCst) as usize - 1].latch;
            loop {
                reset();
                let round = word(0).load(Ordering::Relaxed);
                if round >= ROUNDS {
                    break;
                }
                if round % 2 == side as u32 {
                    word(0).store(round + 1, Ordering::Relaxed);
                    set(other);
                }
                if word(0).load(Ordering::Relaxed) >= ROUNDS {
                    break;
                }
                wait(Wake::LATCH_SET, None, WaitEvent::PG_SLEEP);
            }
        })
    });
    for child in children {
        assert_eq!(child.wait(), End::Code(0));
    }
    segment.destroy();
}

static CAUGHT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_and_set_latch(_signal: i32) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
    set_my_latch_from_handler();
}

/// A handler of the sleeping process itself sets the latch, at any moment before, in or after the poll.
#[test]
fn set_by_own_signal_handler() {
    const ROUNDS: u32 = 2_000;
    let _alone = alone();
    let segment = world();
    let child = Child::run(|| {
        // SAFETY: the handler is async-signal-safe: an atomic and a latch.
        unsafe { libc::signal(libc::SIGUSR1, count_and_set_latch as *const () as libc::sighandler_t) };
        CAUGHT.store(0, Ordering::Relaxed);
        word(0).store(1, Ordering::SeqCst);
        // No PGPROC: this is the private latch.
        loop {
            reset();
            let caught = CAUGHT.load(Ordering::Relaxed);
            word(1).store(caught, Ordering::SeqCst);
            if caught == ROUNDS {
                break;
            }
            wait(Wake::LATCH_SET, None, WaitEvent::PG_SLEEP);
        }
    });
    until(|| word(0).load(Ordering::SeqCst) == 1);
    for round in 1..=ROUNDS {
        child.kill(libc::SIGUSR1);
        until(|| word(1).load(Ordering::SeqCst) == round);
    }
    assert_eq!(child.wait(), End::Code(0));
    segment.destroy();
}

#[test]
fn timeout_and_already_set() {
    let _alone = alone();
    reset();
    let nap = Duration::from_millis(20);
    let start = Instant::now();
    assert_eq!(wait(Wake::LATCH_SET, Some(nap), WaitEvent::PG_SLEEP), Wake::TIMEOUT);
    assert!(start.elapsed() >= nap);
    assert_eq!(wait(Wake::LATCH_SET, Some(Duration::ZERO), WaitEvent::PG_SLEEP), Wake::TIMEOUT);
    my_latch().set();
    assert_eq!(wait(Wake::LATCH_OR_DEATH, None, WaitEvent::PG_SLEEP), Wake::LATCH_SET);
    assert!(my_latch().is_set(), "waiting does not consume it");
    reset();
    // A time beyond the clock's range is no limit, not a panic.
    my_latch().set();
    assert_eq!(wait(Wake::LATCH_SET, Some(Duration::MAX), WaitEvent::PG_SLEEP), Wake::LATCH_SET);
    reset();
}

#[test]
fn sockets() {
    let _alone = alone();
    reset();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    let soon = Some(Duration::from_millis(5));
    let wait = |events, timeout| wait_socket(fd, events, timeout, WaitEvent::CLIENT_READ);
    assert_eq!(wait(Wake::SOCKET_READABLE, soon), Wake::TIMEOUT);
    assert_eq!(wait(Wake::SOCKET_READABLE | Wake::SOCKET_WRITEABLE, None), Wake::SOCKET_WRITEABLE);
    theirs.write_all(b"x").unwrap();
    assert_eq!(wait(Wake::LATCH_SET | Wake::SOCKET_READABLE, None), Wake::SOCKET_READABLE);
    assert_eq!(wait(Wake::SOCKET_CLOSED, soon), Wake::TIMEOUT);
    drop(theirs);
    assert_eq!(wait(Wake::SOCKET_CLOSED, None), Wake::SOCKET_CLOSED);
    // Nobody asked about the socket: its hang-up must not make a busy loop, and the time limit holds.
    assert_eq!(wait(Wake::LATCH_SET, soon), Wake::TIMEOUT);
}

#[test]
fn many_sockets() {
    let _alone = alone();
    reset();
    let pairs: Vec<_> = (0..12).map(|_| UnixStream::pair().unwrap()).collect();
    let sockets: Vec<_> = pairs.iter().map(|(ours, _)| (ours.as_raw_fd(), Wake::SOCKET_READABLE)).collect();
    for nth in [3, 11] {
        (&pairs[nth].1).write_all(b"x").unwrap();
    }
    let mut ready = Vec::new();
    let woken_by = wait_any(&sockets, Wake::LATCH_SET, None, WaitEvent::CLIENT_READ, |nth, what| {
        ready.push((nth, what));
    });
    assert_eq!(woken_by, Wake::SOCKET_READABLE);
    assert_eq!(ready, [(3, Wake::SOCKET_READABLE), (11, Wake::SOCKET_READABLE)]);
}

/// Killed without a chance to say anything, the postmaster is missed by a child that sleeps and by one that asks.
#[test]
fn postmaster_death() {
    let _alone = alone();
    // SAFETY: no memory arguments. The orphan is ours to reap.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    let segment = world();
    let postmaster = Child::run(|| {
        crate::init_death_watch().unwrap();
        assert!(postmaster_alive());
        let child = Child::run(|| {
            crate::close_death_watch_write_end();
            init_process(BackendType::BgWriter, 0).unwrap();
            assert!(postmaster_alive());
            word(0).store(std::process::id(), Ordering::SeqCst);
            let woken_by = on_each_wakeup(None, WaitEvent::BGWRITER_MAIN, |wake| {
                Ok(if wake.postmaster_died() { Wait::Stop } else { Wait::Again })
            });
            assert!(woken_by.is_ok());
            assert!(!postmaster_alive());
            let again = wait(Wake::POSTMASTER_DEATH, None, WaitEvent::BGWRITER_MAIN);
            assert_eq!(again, Wake::POSTMASTER_DEATH);
        });
        child.wait();
    });
    until(|| word(0).load(Ordering::SeqCst) != 0);
    postmaster.kill(libc::SIGKILL);
    assert_eq!(postmaster.wait(), End::Signal(libc::SIGKILL));
    assert_eq!(wait_for(word(0).load(Ordering::SeqCst) as i32), End::Code(0));
    segment.destroy();
}

/// What was set on the private latch before there was a PGPROC is not lost with the switch.
#[test]
fn switching_latches_leaves_them_set() {
    let _alone = alone();
    let segment = world();
    reset();
    init_process(BackendType::Backend, 0).unwrap();
    assert!(ptr::eq(my_latch(), &my_proc().latch) && my_latch().is_set());
    assert_eq!(my_latch().owner_pid(), std::process::id() as i32);
    reset();
    crate::proc::release();
    assert!(ptr::eq(my_latch(), &LOCAL) && my_latch().is_set());
    reset();
    segment.destroy();
}

#[test]
fn loop_does_what_the_body_says() {
    let _alone = alone();
    let answers = [Wait::NoWait, Wait::AtMost(Duration::from_millis(1)), Wait::Again, Wait::UntilWoken];
    let mut calls = Vec::new();
    let result = on_each_wakeup(Some(Duration::from_millis(1)), WaitEvent::PG_SLEEP, |wake| {
        assert!(!my_latch().is_set(), "reset before each call");
        calls.push(wake);
        let answer = answers.get(calls.len() - 1).copied();
        if answer == Some(Wait::UntilWoken) {
            my_latch().set();
        }
        answer.ok_or_else(|| elog::error!(common::SqlState::INTERNAL_ERROR, "stop"))
    });
    assert_eq!(result.unwrap_err().message, "stop");
    assert_eq!(calls, [Wake::empty(), Wake::TIMEOUT, Wake::TIMEOUT, Wake::TIMEOUT, Wake::LATCH_SET]);
    reset();
}

/// The signal behind a wake-up is consumed; left pending, it would make the next wait a busy loop.
#[test]
fn wake_up_signal_is_consumed() {
    let _alone = alone();
    let child = Child::run(|| {
        reset();
        wait::init_support();
        let is_pending = || {
            // SAFETY: all-zero bytes are a valid set, and sigpending fills it in.
            unsafe {
                let mut pending = std::mem::zeroed::<libc::sigset_t>();
                libc::sigpending(&mut pending);
                libc::sigismember(&pending, libc::SIGURG) == 1
            }
        };
        wait::signal(OWN_PROCESS);
        assert!(is_pending());
        let nap = Some(Duration::from_millis(1));
        assert_eq!(super::wait(Wake::LATCH_SET, nap, WaitEvent::PG_SLEEP), Wake::TIMEOUT);
        assert!(!is_pending());
    });
    assert_eq!(child.wait(), End::Code(0));
}
