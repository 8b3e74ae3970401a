//! Requests to the postmaster, child slots.

use common::BackendType;

use super::*;
use crate::testing::{Child, End, LIMITS, alone, segment};

#[test]
fn postmaster_gets_request_and_signal() {
    let _alone = alone();
    let segment = segment(|_| ());
    let postmaster = Child::run(|| {
        // SAFETY: `signals` is initialised before use; blocking a signal so that sigwait can take it.
        unsafe {
            let mut signals = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&mut signals);
            libc::sigaddset(&mut signals, libc::SIGUSR1);
            libc::pthread_sigmask(libc::SIG_BLOCK, &signals, std::ptr::null_mut());
            crate::init_death_watch().unwrap();
            let child = Child::run(|| send_postmaster_signal(PmSignalReason::StartAutovacWorker));
            let mut signal = 0;
            assert_eq!(libc::sigwait(&signals, &mut signal), 0);
            assert_eq!(signal, libc::SIGUSR1);
            assert_eq!(child.wait(), End::Code(0));
        }
        assert!(!check_postmaster_signal(PmSignalReason::RotateLogfile));
        assert!(check_postmaster_signal(PmSignalReason::StartAutovacWorker));
        assert!(!check_postmaster_signal(PmSignalReason::StartAutovacWorker));
    });
    assert_eq!(postmaster.wait(), End::Code(0));
    // This process has no postmaster: nothing happens, in particular no kill(0).
    send_postmaster_signal(PmSignalReason::StartAutovacWorker);
    assert!(!check_postmaster_signal(PmSignalReason::StartAutovacWorker));
    segment.destroy();
}

#[test]
fn quit_reason_starts_and_restarts_unset() {
    let _alone = alone();
    assert_eq!(quit_signal_reason(), QuitSignalReason::NotSent);
    let mut segment = segment(|_| ());
    for reason in [QuitSignalReason::ForStop, QuitSignalReason::ForCrash] {
        set_quit_signal_reason(reason);
        assert_eq!(quit_signal_reason(), reason);
    }
    segment.reset().unwrap();
    assert_eq!(quit_signal_reason(), QuitSignalReason::NotSent);
    segment.destroy();
}

/// A child that ends inside shared memory has crashed, whatever its exit code says.
#[test]
fn release_tells_clean_from_unclean() {
    let _alone = alone();
    let segment = segment(|_| ());
    let mut slots = ChildSlots::new(LIMITS);
    let run = |slot: i32, clean: bool| {
        let child = Child::run(move || {
            set_my_child_slot(slot);
            crate::init_process(BackendType::WalSender, 0).unwrap();
            mark_child_wal_sender();
            assert!(child_is_wal_sender(slot));
            if clean {
                crate::proc::release();
            }
        });
        assert_eq!(child.wait(), End::Code(0));
    };
    let slot = slots.assign().unwrap();
    run(slot, true);
    assert!(!child_is_wal_sender(slot));
    assert!(slots.release(slot));
    let slot = slots.assign().unwrap();
    run(slot, false);
    assert!(!slots.release(slot));
    // One that never got as far as shared memory.
    let slot = slots.assign().unwrap();
    assert!(slots.release(slot));
    segment.destroy();
}

#[test]
fn slots_run_out_and_come_back() {
    let mut slots = ChildSlots::new(LIMITS);
    let count = max_live_children(LIMITS);
    let mut taken: Vec<_> = (0..count).map(|_| slots.assign().unwrap()).collect();
    assert_eq!(slots.assign(), None);
    taken.sort_unstable();
    assert_eq!(taken, (1..=count as i32).collect::<Vec<_>>());
    slots.release(3);
    assert_eq!(slots.assign(), Some(3));
    for nonsense in [0, -1, i32::MIN, i32::MAX] {
        assert!(slots.release(nonsense));
        assert!(!child_is_wal_sender(nonsense));
    }
    assert_eq!(slots.assign(), None);
}
