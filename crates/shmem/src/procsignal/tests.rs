//! Flags and cancel keys.

use common::BackendType;

use super::*;
use crate::testing::{Child, End, alone, segment, until};

#[test]
fn flag_reaches_its_process_once() {
    let _alone = alone();
    let segment = segment(|_| ());
    let child = Child::run_as(BackendType::Backend, || {
        // SAFETY: ignoring a signal; the flag is looked at by hand.
        unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
        until(|| check(ProcSignalReason::LogMemoryContext));
        assert!(!check(ProcSignalReason::LogMemoryContext));
        assert!(!check(ProcSignalReason::Barrier));
    });
    until(|| crate::proc::by_pid(child.pid).is_some() && find(child.pid).is_some());
    // Between taking the slot and ignoring the signal the default would end the child: raise the flag only.
    find(child.pid).unwrap().flags[ProcSignalReason::LogMemoryContext as usize].store(1, Ordering::Release);
    assert_eq!(child.wait(), End::Code(0));
    assert!(!send(i32::MAX, ProcSignalReason::Barrier), "nobody has this pid");
    segment.destroy();
}

#[test]
fn send_raises_and_signals() {
    let _alone = alone();
    let segment = segment(|_| ());
    let child = Child::run_as(BackendType::WalSender, || {
        loop {
            std::thread::park();
        }
    });
    until(|| find(child.pid).is_some());
    assert!(send(child.pid, ProcSignalReason::WalSenderStopping));
    let slot = find(child.pid).unwrap();
    assert_eq!(slot.flags[ProcSignalReason::WalSenderStopping as usize].load(Ordering::Relaxed), 1);
    // Nobody installed a handler, so the signal's default shows that it came.
    assert_eq!(child.wait(), End::Signal(libc::SIGUSR1));
    segment.destroy();
}

#[test]
fn cancel_needs_the_key() {
    let _alone = alone();
    let segment = segment(|_| ());
    let child = Child::run(|| {
        crate::init_process(BackendType::Backend, 4711).unwrap();
        loop {
            std::thread::park();
        }
    });
    until(|| find(child.pid).is_some());
    assert_eq!(send_cancel(child.pid, 4712), CancelOutcome::WrongKey);
    assert_eq!(send_cancel(child.pid, 0), CancelOutcome::WrongKey);
    assert_eq!(send_cancel(i32::MAX, 4711), CancelOutcome::NoSuchProcess);
    assert_eq!(send_cancel(0, 0), CancelOutcome::NoSuchProcess);
    assert_eq!(send_cancel(child.pid, 4711), CancelOutcome::Sent);
    assert_eq!(child.wait(), End::Signal(libc::SIGINT));
    segment.destroy();
}
