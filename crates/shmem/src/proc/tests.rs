//! Quotas, reuse, fixed places.

use super::*;
use crate::testing::{Child, End, LIMITS, alone, segment, until};

/// Fails in a child that takes a place of this kind, or gives its message.
fn try_in_child(kind: BackendType, expected: Option<(&'static str, SqlState)>) {
    let child = Child::run(move || match (init_process(kind, 0), expected) {
        (Ok(_), None) => release(),
        (Err(error), Some((message, sqlstate))) => {
            assert_eq!((error.message.as_ref(), error.sqlstate), (message, sqlstate));
            assert_eq!(error.severity, elog::Severity::Fatal);
            assert!(try_my_proc().is_none());
        }
        (Ok(_), Some((message, _))) => panic!("not refused with \"{message}\""),
        (Err(error), None) => panic!("{error}"),
    });
    assert_eq!(child.wait(), End::Code(0), "{kind:?}");
}

/// A child that keeps its place until killed.
fn occupy(kind: BackendType) -> Child {
    let child = Child::run(move || {
        init_process(kind, 0).unwrap();
        loop {
            std::thread::park();
        }
    });
    until(|| by_pid(child.pid).is_some());
    child
}

#[test]
fn each_kind_has_its_own_quota() {
    let _alone = alone();
    let segment = segment(|_| ());
    let too_many = Some(("sorry, too many clients already", SqlState::TOO_MANY_CONNECTIONS));
    assert!(have_n_free_procs(5) && !have_n_free_procs(6));
    let clients: Vec<_> = (0..5).map(|_| occupy(BackendType::Backend)).collect();
    assert!(have_n_free_procs(0) && !have_n_free_procs(1));
    try_in_child(BackendType::Backend, too_many);
    // The others still start.
    let launcher = occupy(BackendType::AutovacLauncher);
    let worker = occupy(BackendType::AutovacWorker);
    try_in_child(BackendType::AutovacWorker, too_many);
    let sender = occupy(BackendType::WalSender);
    let no_sender = "number of requested standby connections exceeds max_wal_senders (currently 1)";
    try_in_child(BackendType::WalSender, Some((no_sender, SqlState::TOO_MANY_CONNECTIONS)));
    for kind in AUXILIARY {
        try_in_child(kind, None);
    }
    assert_eq!(by_pid(worker.pid).unwrap().kind(), Some(BackendType::AutovacWorker));
    assert_eq!(by_pid(clients[0].pid).unwrap().backend_id(), 1);
    assert!(ptr_eq(auxiliary(BackendType::AutovacLauncher), by_pid(launcher.pid)));
    drop((clients, launcher, worker, sender));
    segment.destroy();
}

fn ptr_eq(a: Option<&'static PgProc>, b: Option<&'static PgProc>) -> bool {
    a.is_some() && a.map(std::ptr::from_ref) == b.map(std::ptr::from_ref)
}

#[test]
fn places_come_back() {
    let _alone = alone();
    let segment = segment(|_| ());
    for _ in 0..3 * LIMITS.max_connections {
        try_in_child(BackendType::Backend, None);
    }
    assert!(have_n_free_procs(LIMITS.max_connections));
    assert!(all_procs().iter().all(|proc| proc.kind().is_none() && proc.latch.owner_pid() == 0));
    assert_eq!(all_procs().iter().map(|p| p.generation.load(Ordering::Relaxed)).sum::<u64>(), 15);
    segment.destroy();
}

#[test]
fn an_auxiliary_process_exists_once() {
    let _alone = alone();
    let segment = segment(|_| ());
    assert!(auxiliary(BackendType::Checkpointer).is_none());
    let checkpointer = occupy(BackendType::Checkpointer);
    assert!(ptr_eq(auxiliary(BackendType::Checkpointer), by_pid(checkpointer.pid)));
    let in_use = Some(("all AuxiliaryProcs are in use", SqlState::INTERNAL_ERROR));
    try_in_child(BackendType::Checkpointer, in_use);
    try_in_child(BackendType::WalWriter, None);
    drop(checkpointer);
    segment.destroy();
}

#[test]
fn kinds_without_a_place() {
    let _alone = alone();
    let segment = segment(|_| ());
    use BackendType as K;
    for kind in [K::Archiver, K::Logger, K::StatsCollector, K::Postmaster] {
        let error = init_process(kind, 0).err().unwrap();
        assert!(error.message.ends_with("has no PGPROC"));
    }
    segment.destroy();
}

/// What one session left in its PGPROC is not the next one's.
#[test]
fn a_place_is_clean_when_taken() {
    let _alone = alone();
    let segment = segment(|_| ());
    let proc = init_process(BackendType::Backend, 0).unwrap();
    proc.database_id.store(5, Ordering::Relaxed);
    proc.xmin.store(700, Ordering::Relaxed);
    wait_event::start(wait_event::WaitEvent::CLIENT_READ);
    release();
    release();
    assert!(try_my_proc().is_none());
    let again = init_process(BackendType::Backend, 0).unwrap();
    assert!(std::ptr::eq(proc, again));
    for word in [&again.database_id, &again.xmin, &again.wait_event_info] {
        assert_eq!(word.load(Ordering::Relaxed), 0);
    }
    release();
    segment.destroy();
}
