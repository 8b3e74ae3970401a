//! The slow stops of the second reference document, each as it tells of itself: the forecast before, what it says while it
//! lasts, and what was true.
//!
//! Nobody bounds these stops; `stop_report_bounds.rs` has the same with bounds.

use std::time::Duration;

use integration::archive::control;
use integration::{Cluster, Server, Stop, Wire, real_postgres, skip, wait_for, wait_until};
use nix::sys::signal::Signal;

use crate::archiver_support::Archiving;
use crate::bounded_stop::{LITTLE, frozen_receiver, primary};
use crate::replication_support::{
    Program, SEGMENT_BYTES, Stream, flushed, folder, rows, wait_for_position, wait_for_state, write_wal,
};
use crate::slow_stop::checkpoint_end;
use crate::standby_support::{caught_up, standby};
use crate::stop_report_support::{
    Forecast, Item, MB, Position, SlowReader, Status, Watch, has_all_segments, is_within_factor_2,
    keep_segments, pg_ctl_stop, refused, session, stopped_well, write_large_rows,
};

/// How fast the slow receiver is.
const SLOW: f64 = 8.0 * MB as f64;
/// Settings of clusters whose log is read.
const QUIET: [&str; 4] = [
    "log_line_prefix = ''",
    "autovacuum = off",
    "max_logical_replication_workers = 0",
    "log_checkpoints = on",
];

/// The walsender's row of a forecast is exact: it is what `pg_stat_replication` says as long as nothing is written and nothing
/// confirmed.
#[track_caller]
fn forecasts_are_exact(cluster: &Cluster, name: &str) -> Position {
    let mut session = Wire::connect(cluster);
    let (before, by_sql, by_program) = wait_for("nothing happens for a moment", || {
        let before = Position::of(&mut session, name);
        let by_sql = Forecast::by_sql(&mut session, "fast");
        let by_program = Forecast::by_program(cluster, "fast");
        // A checkpoint may end, or note who runs.
        (Position::of(&mut session, name) == before).then_some((before, by_sql, by_program))
    });
    session.quit();
    for forecast in [&by_sql, &by_program] {
        let item = forecast.one("walsender");
        assert_eq!((item.pid, item.name.as_deref()), (Some(before.pid), Some(name)), "{item:?}");
        assert_eq!(item.bytes, Some(before.missing()), "{item:?}, {before:?}");
    }
    assert_eq!(by_program.one("walsender").unsent, Some(before.unsent()), "{before:?}");
    before
}

/// Two clients: one in a transaction, one idle. Only they can say when they will leave.
#[test]
fn a_smart_stop_with_clients() {
    let cluster = Cluster::started(&QUIET);
    let idle = session(&cluster, "idle_one");
    let mut busy = session(&cluster, "busy_one");
    assert_eq!(busy.query("CREATE TABLE t (a int)"), ["CREATE TABLE"]);
    assert_eq!(busy.query("BEGIN"), ["BEGIN"]);
    assert_eq!(busy.query("INSERT INTO t VALUES (1)"), ["INSERT 0 1"]);
    for smart in Forecast::both(&cluster, "smart") {
        for pid in [idle.pid, busy.pid] {
            let item = smart.all("session").into_iter().find(|item| item.pid == Some(pid));
            let item = item.unwrap_or_else(|| panic!("{pid} is a client: {smart:?}"));
            assert_eq!(item.seconds, None, "{item:?}");
            assert!(item.name.as_deref().is_some_and(|name| name.contains("postgres@postgres")), "{item:?}");
        }
        assert_eq!(smart.total, None, "{smart:?}");
    }
    for fast in Forecast::both(&cluster, "fast") {
        assert_eq!(fast.one("transaction").pid, Some(busy.pid), "to be rolled back");
        assert!(fast.all("session").is_empty(), "nobody is waited for: {fast:?}");
        assert!(fast.total.is_some_and(|seconds| seconds < 60.0), "{fast:?}");
    }
    cluster.mark_log();
    let mut watch = Watch::new(&cluster, None);
    let stop = pg_ctl_stop(&cluster, "stop", &["-m", "smart", "--progress=json"]);
    let mut both = [idle.pid, busy.pid];
    both.sort_unstable();
    let seen = watch.until("that both are awaited", |status| status.pids() == both);
    assert_eq!((seen.mode.as_str(), seen.phase.as_str(), seen.seconds), ("smart", "sessions", None));
    assert!(seen.awaited.iter().all(|item| item.kind == "session"), "{seen:?}");
    // Anybody may come and be refused: who the others are is none of his business.
    refused(&cluster, "smart", &["2 sessions"]);
    assert_eq!(busy.query("COMMIT"), ["COMMIT"], "as long as it likes");
    busy.quit();
    watch.until("that one is left", |status| status.pids() == [idle.pid]);
    // After 10 seconds; it may be a little later.
    let every_10_s = "LOG:  still stopping (smart, 1";
    watch.meanwhile("the log says so too", || {
        cluster
            .new_log()
            .lines()
            .any(|line| line.starts_with(every_10_s) && line.contains(&format!("PID {}", idle.pid)))
    });
    let left = idle.pid;
    idle.quit();
    watch.until_over();
    assert_eq!(watch.phases()[0], "sessions");
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    let shown = Status::shown(&stop.said());
    assert!(shown.iter().any(|status| status.pids() == both), "{}", stop.said());
    assert!(shown.iter().any(|status| status.pids() == [left]), "{}", stop.said());
    stopped_well(&cluster);
    cluster.start();
    assert_eq!(Wire::connect(&cluster).query("SELECT * FROM t"), ["1", "SELECT 1"], "what it had committed");
}

/// 500 MB unsent, the receiver stopped with SIGSTOP, no slot, `wal_keep_size = 0`. It does not move, and everything says so; it
/// goes on, and gets all of it.
#[test]
fn a_receiver_that_stands_still() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let cluster = primary(Server::Ours, &["max_wal_size = '4GB'"]);
    let dir = folder(&cluster, "received");
    let client = frozen_receiver(&cluster, &dir);
    write_large_rows(&cluster, 500 * MB);
    keep_segments(&cluster);
    let position = forecasts_are_exact(&cluster, "frozen");
    assert!(position.unsent() > 490 * MB, "{position:?}");
    // It takes a moment until that is true.
    let [by_sql, by_program] = wait_for("it stands still", || {
        let both = Forecast::both(&cluster, "fast");
        both.iter().all(|forecast| forecast.one("walsender").is_not_moving()).then_some(both)
    });
    for forecast in [by_sql, by_program] {
        assert_eq!((forecast.one("walsender").seconds, forecast.total), (None, None), "{forecast:?}");
        // The rows are 500 MB as well.
        assert!(forecast.one("checkpoint").seconds.is_some(), "{forecast:?}");
    }
    cluster.mark_log();
    let mut watch = Watch::new(&cluster, None);
    let stop = pg_ctl_stop(&cluster, "stop", &["--progress=json"]);
    let seen = watch.until("that the receiver does not move", |status| {
        status.one("walsender").is_some_and(Item::is_not_moving)
    });
    let item = seen.one("walsender").expect("found above");
    assert_eq!((seen.mode.as_str(), seen.phase.as_str(), seen.seconds), ("fast", "checkpoint", None));
    assert_eq!((item.pid, item.name.as_deref()), (Some(position.pid), Some("frozen")));
    let left = item.bytes.expect("a size");
    assert!((position.missing()..=position.missing() + 16 * 1024).contains(&left), "{item:?}, {position:?}");
    assert!(item.unsent.is_some_and(|unsent| unsent >= position.unsent()), "{item:?}");
    refused(&cluster, "fast", &[&format!("walsender \"frozen\" (PID {})", position.pid)]);
    client.resume();
    watch.until_over();
    let left = watch.left_of("walsender");
    assert!(left.last() < left.first(), "it goes down: {left:?}");
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    let shown = Status::shown(&stop.said());
    let is_awaited =
        |status: &Status| status.one("walsender").is_some_and(|item| item.pid == Some(position.pid));
    assert!(shown.iter().any(is_awaited), "{}", stop.said());
    assert_eq!(client.wait().code(), Some(1), "--no-loop");
    stopped_well(&cluster);
    has_all_segments(&cluster, &dir, checkpoint_end(&cluster));
}

/// It reads and confirms 8 MB in each second: the stop is over when the forecast says.
#[test]
fn a_receiver_that_is_slow() {
    let cluster = primary(Server::Ours, &[]);
    let start = flushed(&cluster);
    let reader = SlowReader::start(&cluster, start, SLOW);
    let end = write_wal(&cluster, 60_000);
    keep_segments(&cluster);
    // Enough to know how fast it is, and more than the buffers of a connection hold.
    wait_until("four seconds are left", || end.0 - reader.received().0 < 34 * MB);
    let mut session = Wire::connect(&cluster);
    let before = Position::of(&mut session, "by_hand");
    let forecast = Forecast::by_sql(&mut session, "fast");
    let after = Position::of(&mut session, "by_hand");
    session.quit();
    cluster.mark_log();
    let mut watch = Watch::new(&cluster, None);
    let stop = pg_ctl_stop(&cluster, "stop", &["--progress=json"]);
    let item = forecast.one("walsender");
    let bytes = item.bytes.expect("a size");
    assert!((after.missing()..=before.missing()).contains(&bytes), "{before:?}, {item:?}, {after:?}");
    assert!(item.rate.is_some_and(|rate| (SLOW / 2.0..SLOW * 2.0).contains(&rate)), "{item:?}");
    assert!(item.seconds <= forecast.total && item.seconds.is_some(), "{forecast:?}");
    let took = watch.until_over();
    is_within_factor_2(forecast.total.expect("all of it moves"), took);
    let left = watch.left_of("walsender");
    assert!(left.len() > 4 && left.last() < left.first(), "it goes down: {left:?}");
    // The checkpoint may be over before the first report.
    assert!(watch.phases().contains(&"wal"), "{:?}", watch.phases());
    let expected: Vec<f64> = watch.seen.iter().filter_map(|status| status.seconds).collect();
    assert!(!expected.is_empty() && expected.last() < expected.first(), "{expected:?}");
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    assert!(Status::shown(&stop.said()).len() > 2, "{}", stop.said());
    stopped_well(&cluster);
    let received = reader.all();
    assert_eq!(start.0 + received.len() as u64, checkpoint_end(&cluster).0, "all of it and nothing else");
}

/// A hundred files wait, each takes a tenth of a second, two at a time.
#[test]
fn an_archive_that_is_slow() {
    const FILES: usize = 100;
    let archiving = Archiving::of(Server::Ours, &["archive_max_workers = 2", "archive_command = ''"]);
    let cluster = &archiving.cluster;
    archiving.write("delay", "0.1");
    cluster.start();
    assert_eq!(Wire::connect(cluster).query("CREATE TABLE t (a int)"), ["CREATE TABLE"]);
    // Without a command nobody takes any of them.
    let mut names = archiving.switches(FILES + 20);
    for forecast in Forecast::both(cluster, "fast") {
        let item = forecast.one("archiver");
        assert_eq!(item.files, Some(archiving.ready().len() as u64), "{item:?}");
        assert_eq!(item.pid, archiving.archiver(), "{item:?}");
    }
    archiving.set_command(&archiving.script());
    archiving.reload();
    // That wakes it.
    names.extend(archiving.switches(1));
    wait_until("it is known how fast it is", || archiving.ready().len() <= FILES);
    let mut session = Wire::connect(cluster);
    let before = archiving.ready().len() as u64;
    let forecast = Forecast::by_sql(&mut session, "fast");
    let after = archiving.ready().len() as u64;
    cluster.mark_log();
    let mut watch = Watch::new(cluster, Some(SEGMENT_BYTES));
    let stop = pg_ctl_stop(cluster, "stop", &["--progress=json"]);
    let item = forecast.one("archiver");
    assert!(item.files.is_some_and(|files| (after..=before).contains(&files)), "{after}, {item:?}, {before}");
    assert!(item.rate.is_some_and(|rate| rate > 0.0) && item.seconds <= forecast.total, "{forecast:?}");
    let seen = watch.until("that the archiver is awaited", |status| status.one("archiver").is_some());
    assert_eq!((seen.mode.as_str(), seen.phase.as_str()), ("fast", "wal"));
    let archiver = archiving.archiver().expect("it is awaited");
    assert_eq!(seen.pids(), [archiver], "{seen:?}");
    refused(cluster, "fast", &[&format!("archiver (PID {archiver})")]);
    let took = watch.until_over();
    is_within_factor_2(forecast.total.expect("all of it moves"), took);
    let left = watch.left_of("archiver");
    assert!(left.len() > 4 && left.last() < left.first(), "it goes down: {left:?}");
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    let shown = Status::shown(&stop.said());
    assert!(shown.iter().any(|status| status.pids() == [archiver]), "{}", stop.said());
    stopped_well(cluster);
    assert_eq!(archiving.ready(), [""; 0]);
    archiving.check();
    let archived = archiving.archived();
    assert!(names.iter().all(|name| archived.contains(name)), "{names:?}, {archived:?}");
}

/// Both, one behind the other: what is not sent holds up the checkpoint, what is not archived comes after it.
#[test]
fn a_receiver_and_an_archive() {
    const FILES: usize = 100;
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let archiving = Archiving::started(Server::Ours, &["wal_sender_timeout = 0", "archive_max_workers = 4"]);
    let cluster = &archiving.cluster;
    archiving.write("delay", "0.05");
    archiving.hold();
    let dir = folder(cluster, "received");
    let client = frozen_receiver(cluster, &dir);
    archiving.switches(FILES);
    keep_segments(cluster);
    let position = forecasts_are_exact(cluster, "frozen");
    assert!(position.unsent() > 90 * MB, "{position:?}");
    for forecast in Forecast::both(cluster, "fast") {
        let item = forecast.one("archiver");
        assert_eq!(item.files, Some(archiving.ready().len() as u64), "{item:?}");
        assert!(item.files >= Some(FILES as u64), "{item:?}");
    }
    let archiver = archiving.wait_for_archiver();
    cluster.mark_log();
    let mut watch = Watch::new(cluster, Some(SEGMENT_BYTES));
    cluster.signal_postmaster(Stop::Fast.signal());
    let seen = watch.until("that the receiver does not move", |status| {
        status.one("walsender").is_some_and(Item::is_not_moving)
    });
    assert_eq!(seen.phase, "checkpoint");
    assert_eq!(seen.one("archiver"), None, "its turn comes later: {seen:?}");
    refused(cluster, "fast", &[&format!("walsender \"frozen\" (PID {})", position.pid)]);
    client.resume();
    let seen = watch.until("that the archiver alone is awaited", |status| status.pids() == [archiver]);
    assert_eq!(seen.phase, "wal");
    let files = seen.one("archiver").and_then(|item| item.files);
    assert_eq!(files, Some(archiving.ready().len() as u64), "{seen:?}");
    refused(cluster, "fast", &[&format!("archiver (PID {archiver})")]);
    archiving.release();
    watch.until_over();
    assert_eq!(watch.phases().last(), Some(&"wal"), "{:?}", watch.phases());
    assert_eq!(client.wait().code(), Some(1), "--no-loop");
    stopped_well(cluster);
    assert_eq!(archiving.ready(), [""; 0]);
    archiving.check();
    has_all_segments(cluster, &dir, checkpoint_end(cluster));
}

/// What fits the buffers of the connection does not hold up the checkpoint: receiver and archiver are awaited side by side.
#[test]
fn a_receiver_beside_an_archive() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let archiving = Archiving::started(Server::Ours, &["wal_sender_timeout = 0"]);
    let cluster = &archiving.cluster;
    archiving.hold();
    archiving.switches(3);
    let dir = folder(cluster, "received");
    let client = frozen_receiver(cluster, &dir);
    write_wal(cluster, LITTLE);
    keep_segments(cluster);
    let position = forecasts_are_exact(cluster, "frozen");
    let mut both = [position.pid, archiving.wait_for_archiver()];
    both.sort_unstable();
    cluster.mark_log();
    let mut watch = Watch::new(cluster, Some(SEGMENT_BYTES));
    cluster.signal_postmaster(Stop::Fast.signal());
    let seen = watch.until("that both are awaited", |status| status.pids() == both);
    assert_eq!(seen.phase, "wal");
    refused(cluster, "fast", &["walsender \"frozen\" (PID ", "archiver (PID "]);
    client.resume();
    watch.until("that the archiver is left", |status| {
        Some(status.pids()) == archiving.archiver().map(|a| vec![a])
    });
    archiving.release();
    watch.until_over();
    assert_eq!(client.wait().code(), Some(1), "--no-loop");
    stopped_well(cluster);
    archiving.check();
    has_all_segments(cluster, &dir, checkpoint_end(cluster));
}

/// A receiver that has everything is no reason to wait, and a checkpoint has as much to do as was changed since the last.
#[test]
fn a_receiver_that_has_everything() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let cluster = primary(Server::Ours, &[]);
    let dir = folder(&cluster, "received");
    let client = Program::receivewal(&cluster, "follower", &dir, &["-s", "1", "--no-loop"]);
    wait_for_state(&cluster, "follower", "streaming");
    let end = write_wal(&cluster, LITTLE);
    wait_for_position(&cluster, "follower", "write_lsn", end);
    let position = forecasts_are_exact(&cluster, "follower");
    assert_eq!((position.missing(), position.unsent()), (0, 0));
    for forecast in Forecast::both(&cluster, "fast") {
        assert!(!forecast.one("walsender").is_not_moving(), "nothing is missing: {forecast:?}");
        assert!(forecast.total.is_some_and(|seconds| seconds < 60.0), "{forecast:?}");
    }
    let mut session = Wire::connect(&cluster);
    let dirty =
        |session: &mut Wire| Forecast::by_sql(session, "fast").one("checkpoint").bytes.expect("a size");
    rows(&mut session, "INSERT INTO filler SELECT g, repeat('x', 950) FROM generate_series(1, 4000) g");
    let before = dirty(&mut session);
    assert!((3 * MB..8 * MB).contains(&before), "{before}");
    rows(&mut session, "CHECKPOINT");
    let after = dirty(&mut session);
    assert!(after < MB, "{after}");
    session.quit();
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    assert_eq!(client.wait().code(), Some(1), "--no-loop");
}

/// A standby makes a restartpoint when it stops, and waits for those who follow it.
#[test]
fn a_standby_that_is_followed() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let cluster = primary(Server::Ours, &[]);
    let follower = standby(&cluster, "follower", &[]);
    let start = flushed(&cluster);
    caught_up(&cluster, &follower);
    let mut stream = Stream::start(&follower, start);
    let end = write_wal(&cluster, LITTLE);
    caught_up(&cluster, &follower);
    wait_for_position(&cluster, "follower", "flush_lsn", end);
    assert_eq!(forecasts_are_exact(&cluster, "follower").missing(), 0);
    stream.read_to(end);
    for forecast in Forecast::both(&follower, "fast") {
        assert_eq!(forecast.one("checkpoint").name.as_deref(), Some("restartpoint"), "{forecast:?}");
        let item = forecast.one("walsender");
        assert_eq!(item.name.as_deref(), Some("by_hand"), "{item:?}");
        assert!(item.bytes >= Some(end.0 - start.0), "{item:?}");
        assert!(forecast.all("archiver").is_empty(), "{forecast:?}");
    }
    let walsender = stream.wire.pid;
    let mut watch = Watch::new(&follower, None);
    let stop = pg_ctl_stop(&follower, "stop", &["--progress=json"]);
    let seen = watch.until("that the walsender is awaited", |status| status.pids() == [walsender]);
    assert_eq!(seen.phase, "wal");
    refused(&follower, "fast", &[&format!("walsender \"by_hand\" (PID {walsender})")]);
    stream.confirm();
    assert_eq!(stream.rest().last().map(String::as_str), Some("EOF"));
    watch.until_over();
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    assert_eq!(follower.wait_for_end().code(), Some(0));
    assert_eq!(control(&follower, "Database cluster state"), "shut down in recovery");
}

/// A session that does not hear the order to quit is killed after five seconds; until then it is named.
#[test]
fn an_immediate_stop_names_whom_it_kills() {
    let cluster = Cluster::started(&QUIET);
    let deaf = session(&cluster, "deaf");
    cluster.wait_until_asleep(deaf.pid);
    cluster.signal(deaf.pid, Signal::SIGSTOP);
    for forecast in Forecast::both(&cluster, "immediate") {
        assert!(forecast.all("checkpoint").is_empty(), "{forecast:?}");
        assert!(forecast.total.is_some(), "{forecast:?}");
    }
    cluster.mark_log();
    let mut watch = Watch::new(&cluster, None);
    cluster.signal_postmaster(Stop::Immediate.signal());
    let seen = watch.until("that it is awaited", |status| status.pids() == [deaf.pid]);
    assert_eq!(seen.mode, "immediate");
    let took = watch.until_over();
    assert!(took > Duration::from_secs(4), "{took:?}");
    assert_eq!(cluster.wait_for_end().code(), Some(0));
}
