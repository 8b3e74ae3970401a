//! What can be seen of walsenders without a lock, and what a stream measures of itself.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use activity::gauges::monotonic_micros;
use common::{BackendType, Lsn, TimeLineId};
use replication::walrcv::receiver;
use replication::walsnd::{self, Meter, State, Still, WalSenderGauge};
use shmem::{Limits, Reservation, Segment};

const LIMITS: Limits =
    Limits { max_connections: 4, autovacuum_max_workers: 1, max_wal_senders: 2, max_prepared_xacts: 0 };
const MB: u64 = 1 << 20;

static ALONE: Mutex<()> = Mutex::new(());

/// This process as a walsender of a server that replays WAL.
struct World {
    segment: Option<Segment>,
    _alone: MutexGuard<'static, ()>,
}

fn set(name: &str, value: &str) {
    let (context, source) = (guc::GucContext::Postmaster, guc::GucSource::File);
    guc::set_option(name, value, context, source, guc::GucAction::Set).unwrap();
}

impl World {
    fn new() -> World {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        guc::initialize().unwrap();
        set("max_wal_senders", "2");
        set("application_name", "s1");
        let procs = LIMITS.max_procs() as usize;
        let mut reservation = Reservation::new();
        shmem::reserve(&mut reservation, LIMITS);
        activity::reserve(&mut reservation, procs);
        wal::reserve(&mut reservation);
        replication::reserve(&mut reservation, procs);
        let segment = Segment::create_private(reservation).unwrap();
        shmem::init_process(BackendType::WalSender, 0).unwrap();
        World { segment: Some(segment), _alone: alone }
    }

    /// A stream has begun at this position.
    fn streams_from(start: u64) -> (World, Meter, Instant) {
        let world = World::new();
        walsnd::claim().unwrap();
        walsnd::set_state(State::Catchup);
        walsnd::begin_stream(Lsn(start));
        (world, Meter::start(), Instant::now())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        walsnd::release();
        shmem::proc::release();
        self.segment.take().unwrap().destroy();
    }
}

fn only() -> WalSenderGauge {
    let all: Vec<_> = walsnd::gauges().collect();
    let [only] = <[_; 1]>::try_from(all).unwrap();
    only
}

fn reply(written: u64) {
    walsnd::record_reply(Lsn(written), Lsn(0), Lsn(0), [None; 3], false, 1);
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[track_caller]
fn about(found: Option<f64>, expected: f64) {
    let found = found.expect("a rate");
    assert!((found / expected - 1.0).abs() < 0.02, "{found}, not about {expected}");
}

#[test]
fn a_gauge_follows_its_place() {
    let world = World::new();
    assert_eq!(walsnd::gauges().count(), 0);
    walsnd::claim().unwrap();
    let seen = only();
    assert_eq!((seen.pid, seen.name.as_str()), (std::process::id() as i32, "s1"));
    assert_eq!((seen.state, seen.streams, seen.still(Lsn(MB))), (State::Startup, false, Still::Complete));
    set("application_name", "s2");
    walsnd::set_state(State::Backup);
    assert_eq!((only().state, only().streams, only().name), (State::Backup, false, "s2".into()));
    walsnd::set_state(State::Catchup);
    walsnd::begin_stream(Lsn(MB));
    let seen = only();
    assert_eq!((seen.streams, seen.sent, seen.confirmed), (true, Lsn(MB), Lsn(MB)));
    walsnd::set_sent(Lsn(3 * MB));
    reply(2 * MB);
    let seen = only();
    assert_eq!((seen.sent, seen.confirmed), (Lsn(3 * MB), Lsn(2 * MB)));
    walsnd::record_reply(Lsn(3 * MB), Lsn(MB + 8), Lsn(0), [None; 3], false, 1);
    assert_eq!(only().confirmed, Lsn(MB + 8), "what is flushed counts, where it is told");
    walsnd::set_state(State::Stopping);
    assert_eq!(only().state, State::Stopping);
    walsnd::release();
    assert_eq!(walsnd::gauges().count(), 0);
    walsnd::claim().unwrap();
    let seen = only();
    assert_eq!((seen.sent, seen.confirmed, seen.streams), (Lsn(0), Lsn(0), false), "another one's");
    drop(world);
    assert_eq!(walsnd::gauges().count(), 0, "without shared memory");
    assert_eq!(walsnd::end_of_wal(), Lsn::INVALID);
}

/// One message after the other fills the socket; what it takes in between is what the receiver takes.
#[test]
fn a_full_socket_tells_the_speed() {
    let (_world, mut meter, began) = World::streams_from(MB);
    let limit = Lsn(500 * MB);
    meter.looked(limit, false, began);
    assert_eq!(only().rate, None);
    let mut sent = MB;
    // The first megabytes go at once.
    for _ in 0..32 {
        sent += 128 * 1024;
        walsnd::set_sent(Lsn(sent));
        meter.flushed(0, false, began);
    }
    assert_eq!((only().rate, only().blocked), (None, false));
    // 128 kB in 10 ms each.
    for step in 1..100 {
        sent += 128 * 1024;
        walsnd::set_sent(Lsn(sent));
        meter.looked(limit, false, began + millis(10 * step));
        meter.flushed(100_000, false, began + millis(10 * step));
        assert!(only().blocked);
        // Woken, and half of it goes: no message is finished, but something has moved.
        meter.flushed(50_000, false, began + millis(10 * step + 5));
    }
    about(only().rate, 13_107_200.0);
    // Ten minutes of standstill, in which it is woken again and again.
    for minute in 1..10 {
        meter.flushed(50_000, false, began + millis(1000 + 60_000 * minute));
    }
    about(only().rate, 13_107_200.0);
    let seen = only();
    let Still::Since(moment) = seen.still(limit) else { panic!("{seen:?}") };
    let stalled = monotonic_micros() as i64 - moment as i64;
    assert!(stalled.abs() < 60_000_000, "since the last of it went, not since somebody looked: {stalled}");
    // All of it gone, and all of WAL: what comes then is another measurement.
    meter.flushed(0, true, began + millis(700_000));
    assert!(!only().blocked);
    meter.flushed(10, false, began + millis(800_000));
    about(only().rate, 13_107_200.0);
}

/// The socket never becomes full: then what is confirmed counts, while there is enough.
#[test]
fn confirmations_tell_the_speed() {
    let (_world, mut meter, began) = World::streams_from(MB);
    // Small commits say nothing.
    for step in 0..500_u64 {
        let (end, now) = (MB + 100 * (step + 1), began + millis(step));
        meter.looked(Lsn(end), false, now);
        walsnd::set_sent(Lsn(end));
        meter.flushed(0, true, now);
        reply(end);
        meter.replied(now);
    }
    assert_eq!(only().rate, None);
    // 100 MB at once, a report each second.
    let (end, later) = (101 * MB, began + millis(10_000));
    meter.looked(Lsn(end), false, later);
    walsnd::set_sent(Lsn(end));
    for second in 1..=10 {
        let confirmed = 51_200 + MB + second * 5 * MB;
        reply(confirmed);
        meter.replied(later + millis(1000 * second));
    }
    about(only().rate, 5.0 * MB as f64 * 1.005);
}

/// 13 MB at once, confirmed with the next report, 10 s later: nobody knows when they arrived.
#[test]
fn a_late_report_tells_no_speed() {
    let (_world, mut meter, began) = World::streams_from(MB);
    let end = 14 * MB;
    meter.looked(Lsn(end), false, began);
    walsnd::set_sent(Lsn(end));
    meter.flushed(0, true, began);
    reply(end);
    meter.replied(began + millis(10_000));
    assert_eq!(only().rate, None);
    // A prompt one does.
    let (end, later) = (27 * MB, began + millis(20_000));
    meter.looked(Lsn(end), false, later);
    walsnd::set_sent(Lsn(end));
    meter.flushed(0, true, later);
    reply(end);
    meter.replied(later + millis(500));
    about(only().rate, 26.0 * MB as f64);
}

/// Who reports at intervals stands still in between, as far as anybody can see, until the next report is due; unless he was asked.
#[test]
fn a_receiver_that_reports_at_intervals() {
    let (_world, mut meter, began) = World::streams_from(MB);
    let at = |gauge: &WalSenderGauge| match gauge.still(Lsn(9 * MB)) {
        Still::Since(moment) => moment,
        other => panic!("{other:?}"),
    };
    let clock = only().moved_at;
    let about_at = |found: u64, expected: u64| {
        let found = found as i64 - clock as i64;
        assert!((found - expected as i64 * 1000).abs() < 200_000, "{found} µs, not {expected} ms");
    };
    meter.looked(Lsn(9 * MB), false, began + millis(100));
    walsnd::set_sent(Lsn(9 * MB));
    meter.flushed(0, true, began + millis(100));
    // The first one: nobody knows yet when it reports.
    about_at(at(&only()), 10_600);
    assert_eq!(meter.silence(began + millis(1100)).unwrap().as_millis(), 1000);
    for second in [10, 20, 30] {
        reply(MB + second);
        meter.replied(began + millis(1000 * second));
    }
    assert_eq!(only().report_gap / 1000, 10_000);
    about_at(at(&only()), 40_500);
    meter.asked(began + millis(31_000));
    assert_eq!(meter.silence(began + millis(90_000)), None, "one question is enough");
    about_at(at(&only()), 31_000);
    // The answer is no regular report.
    reply(9 * MB);
    meter.replied(began + millis(31_001));
    assert_eq!((only().still(Lsn(9 * MB)), only().report_gap / 1000), (Still::Complete, 10_000));
    assert_eq!(meter.silence(began + millis(90_000)), None, "it has everything");
}

/// At the end of a stop a reply that says too little is followed by a question in the same turn of the stream's loop.
#[test]
fn one_who_is_asked_at_the_moment_of_his_reply() {
    let (_world, mut meter, began) = World::streams_from(MB);
    let end = Lsn(2 * MB);
    meter.looked(end, false, began);
    walsnd::set_sent(end);
    meter.flushed(0, true, began);
    for second in [10, 20, 30] {
        reply(MB + second);
        meter.replied(began + millis(1000 * second));
    }
    meter.asked(began + millis(30_000));
    let seen = only();
    assert_eq!(seen.still(end), Still::Since(seen.asked_at), "he does not have until the next report");
    assert_eq!(meter.silence(began + millis(90_000)), None, "one question is enough");
    // An answer is no regular report, and is one even if it seems to come in no time.
    reply(MB + 40);
    meter.replied(began + millis(30_000));
    assert_eq!(only().report_gap / 1000, 10_000);
    assert_eq!(meter.silence(began + millis(31_500)).unwrap().as_millis(), 1499);
}

/// A standby says that it has written, and later that it has made durable: the first says nothing of its speed.
#[test]
fn nothing_confirmed_is_no_speed() {
    let (_world, mut meter, began) = World::streams_from(MB);
    let end = Lsn(101 * MB);
    meter.looked(end, false, began);
    walsnd::set_sent(end);
    walsnd::record_reply(end, Lsn(MB), Lsn(0), [None; 3], false, 1);
    meter.replied(began + millis(100));
    assert_eq!(only().rate, None);
    walsnd::record_reply(end, Lsn(51 * MB), Lsn(0), [None; 3], false, 1);
    meter.replied(began + millis(500));
    about(only().rate, 100.0 * MB as f64);
}

/// Fast enough that the socket is never full, and no report for long: what is sent shows that it moves.
#[test]
fn a_receiver_that_is_silent_while_much_is_sent() {
    let (_world, mut meter, began) = World::streams_from(MB);
    let (clock, limit) = (only().moved_at, Lsn(100 * MB));
    let since = |gauge: &WalSenderGauge| match gauge.still(limit) {
        Still::Since(moment) => (moment.saturating_sub(clock)) / 100_000,
        other => panic!("{other:?}"),
    };
    for second in 1..=8 {
        meter.looked(limit, false, began + millis(1000 * second));
        walsnd::set_sent(Lsn(second * MB + MB));
        meter.flushed(0, false, began + millis(1000 * second));
        assert!(since(&only()).abs_diff(10 * second) <= 1, "{:?}", only());
    }
    // More WAL, of which it does not know while it is at it: as long as it sends, that is a new observation each time.
    let end = Lsn(200 * MB);
    assert_eq!(only().still(end), Still::Unaware);
    assert_eq!(walsnd::notice(&only(), 1000), 1000);
    walsnd::set_sent(Lsn(20 * MB));
    assert_eq!(walsnd::notice(&only(), 2000), 2000, "it runs");
    assert_eq!(walsnd::notice(&only(), 3000), 2000, "it does not");
    // Its socket is full: nothing moves.
    meter.flushed(100, false, began + millis(9000));
    assert!(since(&only()).abs_diff(90) <= 1);
}

/// A walsender that does not run knows nothing of new WAL; who looks remembers.
#[test]
fn one_that_does_not_run() {
    let (_world, mut meter, began) = World::streams_from(MB);
    assert_eq!(only().still(Lsn(MB)), Still::Complete);
    assert_eq!(only().still(Lsn(2 * MB)), Still::Unaware);
    assert_eq!(walsnd::notice(&only(), 1000), 1000);
    assert_eq!(walsnd::notice(&only(), 5000), 1000);
    meter.looked(Lsn(2 * MB), false, began);
    assert!(matches!(only().still(Lsn(2 * MB)), Still::Since(_)));
    walsnd::set_sent(Lsn(2 * MB));
    reply(2 * MB);
    meter.replied(began);
    assert_eq!(only().still(Lsn(2 * MB)), Still::Complete);
    assert_eq!(walsnd::notice(&only(), 9000), 9000, "it has run since");
    // A timeline that was left ends where it was left.
    meter.looked(Lsn(3 * MB), true, began);
    assert_eq!(only().end(Lsn(7 * MB)), Lsn(3 * MB));
    meter.gives_up(Some(began + millis(500)));
    assert!(only().gives_up_at.is_some());
    meter.gives_up(None);
    assert_eq!(only().gives_up_at, None);
}

#[test]
fn where_wal_ends() {
    let _world = World::new();
    assert_eq!(walsnd::end_of_wal(), Lsn(0));
    // A standby: what was replayed, or received and not replayed yet.
    wal::recovery_point::set_replayed(Lsn(5000), TimeLineId(1));
    assert_eq!(walsnd::end_of_wal(), Lsn(5000));
    receiver::set_flushed(Lsn(7000), TimeLineId(1));
    assert_eq!(walsnd::end_of_wal(), Lsn(7000));
    wal::recovery_point::set_replayed(Lsn(7500), TimeLineId(1));
    assert_eq!(walsnd::end_of_wal(), Lsn(7500));
    // Of another timeline.
    receiver::set_flushed(Lsn(9000), TimeLineId(2));
    assert_eq!(walsnd::end_of_wal(), Lsn(7500));
    let glance = wal::recovery_point::glance().unwrap();
    assert!(glance.in_recovery);
    // A primary: what it has flushed.
    wal::startup::finish();
    let glance = wal::recovery_point::glance().unwrap();
    assert_eq!((glance.in_recovery, walsnd::end_of_wal()), (false, glance.flushed));
}
