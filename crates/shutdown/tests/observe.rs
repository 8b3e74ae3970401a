//! A server's shared memory, in one process that plays all parts, and what is seen of it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use activity::gauges::checkpoint::Phase;
use activity::gauges::{self, monotonic_micros};
use activity::{PG_EPOCH_MICROS, State};
use common::{BackendType, Lsn, Oid};
use replication::walsnd;
use shmem::{Limits, Reservation, Segment};
use shutdown::bounds::{self, Moment, Plan};
use shutdown::{Scope, observe};
use stopreport::{CheckpointPhase, Condition, Kind, Mode, forecast};

const LIMITS: Limits =
    Limits { max_connections: 4, autovacuum_max_workers: 1, max_wal_senders: 2, max_prepared_xacts: 0 };

static ALONE: Mutex<()> = Mutex::new(());

struct World {
    segment: Option<Segment>,
    _alone: MutexGuard<'static, ()>,
}

impl World {
    fn of(kind: BackendType) -> World {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        guc::initialize().unwrap();
        // For its pid.
        miscinit::globals::become_postmaster();
        set("max_wal_senders", "2");
        let procs = LIMITS.max_procs() as usize;
        let mut reservation = Reservation::new();
        shmem::reserve(&mut reservation, LIMITS);
        activity::reserve(&mut reservation, procs);
        wal::reserve(&mut reservation);
        replication::reserve(&mut reservation, procs);
        storage::reserve_with(&mut reservation, 16);
        shutdown::reserve(&mut reservation);
        let segment = Segment::create_private(reservation).unwrap();
        shmem::init_process(kind, 0).unwrap();
        activity::begin(kind);
        World { segment: Some(segment), _alone: alone }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        walsnd::release();
        activity::end();
        shmem::proc::release();
        self.segment.take().unwrap().destroy();
    }
}

fn set(name: &str, value: &str) {
    let (context, source) = (guc::GucContext::Postmaster, guc::GucSource::File);
    guc::set_option(name, value, context, source, guc::GucAction::Set).unwrap();
}

#[test]
fn a_session() {
    let world = World::of(BackendType::Backend);
    let [session] = <[_; 1]>::try_from(observe(Scope::Stop).sessions).unwrap();
    assert_eq!((session.name.as_str(), session.in_transaction, session.idle), ("", false, false));
    activity::report_session((Oid(5), "shop"), (Oid(10), "alice"), None, true);
    activity::report_application_name("psql");
    activity::report_activity(State::IdleInTransaction, Some("BEGIN"));
    let proc = shmem::my_proc();
    proc.lxid.store(7, Relaxed);
    proc.xid.store(740, Relaxed);
    let seen = observe(Scope::Everything);
    let [session] = <[_; 1]>::try_from(seen.sessions.clone()).unwrap();
    assert_eq!((session.name.as_str(), session.application.as_str()), ("alice@shop", "psql"));
    assert_eq!((session.in_transaction, session.idle, session.xid), (true, true, Some(740)));
    assert_eq!((session.kind.as_str(), session.pid), ("client backend", std::process::id() as i32));
    assert!(forecast(&seen, Mode::Fast).iter().any(|item| item.kind == Kind::Transaction));
    assert!(forecast(&seen, Mode::Smart).iter().any(|item| item.condition == Condition::WaitsForClient));
    drop(world);
    let _world = World::of(BackendType::BgWriter);
    assert_eq!(observe(Scope::Everything).sessions, []);
    assert!(activity::now() > 0 && PG_EPOCH_MICROS > 0);
}

#[test]
fn a_walsender() {
    let _world = World::of(BackendType::WalSender);
    set("application_name", "s1");
    walsnd::claim().unwrap();
    wal::recovery_point::set_replayed(Lsn(9000), common::TimeLineId(1));
    let seen = observe(Scope::Stop);
    assert!(seen.is_standby);
    let [walsender] = <[_; 1]>::try_from(seen.walsenders).unwrap();
    assert!(!walsender.streams && walsender.state == "startup" && walsender.still_for == 0.0);
    walsnd::set_state(walsnd::State::Catchup);
    walsnd::begin_stream(Lsn(1000));
    walsnd::set_sent(Lsn(5000));
    walsnd::record_reply(Lsn(4000), Lsn(0), Lsn(0), [None; 3], false, 1);
    let seen = observe(Scope::Stop);
    let [walsender] = <[_; 1]>::try_from(seen.walsenders.clone()).unwrap();
    assert_eq!((walsender.sent, walsender.confirmed, walsender.end), (5000, 4000, 9000));
    assert_eq!((walsender.name.as_str(), walsender.state.as_str(), walsender.rate), ("s1", "catchup", None));
    // It does not run its loop, and so knows nothing of all this; who looks has just noticed.
    assert!(walsender.still_for < 1.0);
    assert!(seen.sessions.is_empty(), "it is no session");
    let items = forecast(&seen, Mode::Fast);
    let item = items.iter().find(|item| item.kind == Kind::WalSender).unwrap();
    assert_eq!((item.bytes, item.unsent), (Some(5000), Some(4000)));
}

#[test]
fn a_checkpoint_and_an_archiver() {
    let _world = World::of(BackendType::Checkpointer);
    let seen = observe(Scope::Everything);
    assert_eq!((seen.checkpoint.phase, seen.checkpoint.bytes), (CheckpointPhase::Idle, 0));
    assert!(seen.archiver.is_none());
    let gauge = gauges::checkpoint();
    gauge.set_bytes_to_write(10 * 8192);
    gauge.enter(Phase::Writing);
    gauge.set_bytes_written(4 * 8192);
    gauge.measured(10 << 20, Duration::from_secs(1));
    let seen = observe(Scope::Stop).checkpoint;
    assert_eq!((seen.phase, seen.bytes, seen.rate), (CheckpointPhase::Writing, 6 * 8192, Some(10485760.0)));
    assert_eq!(observe(Scope::Everything).checkpoint.bytes, 0, "counted, and nothing is dirty");
    let gauge = gauges::archiver();
    gauge.set_pid(42);
    gauge.set_waiting(7);
    gauge.set_failing(Some("archive command failed with exit code 1"));
    let archiver = observe(Scope::Stop).archiver.unwrap();
    assert_eq!((archiver.pid, archiver.files, archiver.stops), (42, 7, false));
    gauge.set_stops();
    assert!(observe(Scope::Stop).archiver.unwrap().stops);
    assert_eq!(archiver.failing.as_deref(), Some("archive command failed with exit code 1"));
}

#[test]
fn bounds_become_tighter_only() {
    let _world = World::of(BackendType::Backend);
    set("wal_sender_shutdown_timeout", "5000");
    let seen = observe(Scope::Stop).bounds;
    assert_eq!((seen.deadline, seen.walsender, seen.archiver), (None, Some(5.0), None));
    let before = Moment::now();
    bounds::set_deadline(Duration::from_secs(3600), Mode::Smart);
    let after = Moment::now();
    let plan = Plan::divide(Duration::from_secs(3600), true);
    for (moment, share) in [
        (bounds::smart_until(), plan.sessions),
        (bounds::walsender_until(true), plan.before_checkpoint),
        (bounds::walsender_until(false), plan.end),
        (bounds::archiver_until(), plan.end),
        (bounds::deadline(), Duration::from_secs(3600)),
    ] {
        let moment = moment.unwrap();
        assert!(moment.left_at(before) >= share && moment.left_at(after) <= share, "{moment:?} {share:?}");
    }
    let deadline = bounds::deadline();
    bounds::set_deadline(Duration::from_secs(7200), Mode::Fast);
    assert_eq!(bounds::deadline(), deadline, "a later one changes nothing");
    bounds::set_deadline(Duration::from_secs(100), Mode::Fast);
    assert!(bounds::deadline() < deadline);
    let left = observe(Scope::Stop).bounds.deadline.unwrap();
    assert!(left > 50.0 && left <= 100.0, "{left}");
    // Absurd ones are no harm.
    bounds::set_deadline(Duration::MAX, Mode::Smart);
    bounds::set_deadline(Duration::ZERO, Mode::Immediate);
    assert_eq!(bounds::deadline().unwrap().left(), Duration::ZERO);
    assert!(monotonic_micros() >= bounds::deadline().unwrap().micros());
    set("wal_sender_shutdown_timeout", "-1");
}
