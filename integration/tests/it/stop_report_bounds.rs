//! The slow stops of the second reference document with bounds: by settings, and by `pg_ctl stop --deadline`.
//!
//! A bounded stop ends in time, stays clean, says what it has given up and why, and loses nothing: the next start goes on with
//! what was left.

use std::time::{Duration, Instant};

use integration::archive::control;
use integration::{Cluster, Server, Stop, real_postgres, skip};
use nix::sys::signal::Signal;

use crate::archiver_support::Archiving;
use crate::bounded_stop::{
    LITTLE, MUCH, Wal, beside_who_never_reads, frozen_receiver, gets_the_rest, given_up_because, primary,
    read_without_a_gap, starts_without_recovery,
};
use crate::replication_support::{SEGMENT_BYTES, Stream, ask, flushed, folder, write_wal};
use crate::slow_stop::checkpoint_end;
use crate::stop_report_support::{
    Forecast, Item, MB, Status, Watch, pg_ctl_stop, refused, session, stopped_well, write_large_rows,
};

/// The settings' bound.
const BOUND: Duration = Duration::from_millis(1500);
/// The bound of a whole stop.
const DEADLINE: Duration = Duration::from_secs(3);
/// How many files wait for the archive.
const FILES: usize = 100;

/// What bounds a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// `wal_sender_shutdown_timeout` and `archiver_shutdown_timeout`.
    Settings,
    /// `pg_ctl stop --deadline`.
    Deadline,
}

impl Bound {
    /// In postgresql.conf.
    fn config(self) -> Vec<String> {
        let settings = ["wal_sender_shutdown_timeout", "archiver_shutdown_timeout"];
        let lines = settings.map(|name| format!("{name} = '{}ms'", BOUND.as_millis()));
        if self == Bound::Settings { lines.to_vec() } else { Vec::new() }
    }

    fn duration(self) -> Duration {
        if self == Bound::Settings { BOUND } else { DEADLINE }
    }

    /// Stops a cluster fast, and looks on. Somebody is given up, so it is not over much before the time is up.
    #[track_caller]
    fn stop<'a>(self, cluster: &'a Cluster, segment: Option<u64>) -> Watch<'a> {
        cluster.mark_log();
        let mut watch = Watch::new(cluster, segment);
        let stop = match self {
            Bound::Settings => {
                cluster.signal_postmaster(Stop::Fast.signal());
                None
            }
            Bound::Deadline => Some(pg_ctl_stop(cluster, "bounded", &["--deadline=3s", "--progress=json"])),
        };
        let took = watch.until_over();
        watch.ended_within(took, self.duration());
        assert!(took > self.duration() / 3, "nobody was waited for: {took:?}");
        if let Some(stop) = stop {
            assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
            let with_deadline = |status: &Status| {
                status.deadline.is_some_and(|deadline| (deadline - status.since - 3.0).abs() < 1.0)
            };
            let shown = Status::shown(&stop.said());
            assert!(!shown.is_empty() && shown.iter().all(with_deadline), "{}", stop.said());
            assert!(watch.seen.iter().all(with_deadline), "{:?}", watch.seen);
            assert!(cluster.new_log().contains("the stop is to end within 3 s"), "{}", cluster.new_log());
        } else {
            assert!(watch.seen.iter().all(|status| status.deadline.is_none()), "{:?}", watch.seen);
        }
        stopped_well(cluster);
        watch
    }

    /// The log says what has ended the wait, and does not blame the other.
    #[track_caller]
    fn is_blamed_in(self, line: &str) {
        let is_deadline = line.contains("deadline");
        assert_eq!(is_deadline, self == Bound::Deadline, "{self:?}: {line}");
        assert_eq!(
            line.contains("shutdown timeout") || line.contains("shutdown_timeout"),
            !is_deadline,
            "{line}"
        );
    }

    /// What the archiver has left, which the log names.
    #[track_caller]
    fn left_of_the_archive(self, archiving: &Archiving) -> Vec<String> {
        let left = archiving.ready();
        assert!(!left.is_empty(), "all of it was archived: {}", archiving.cluster.new_log());
        let lines = archiving.archiver_lines();
        let count = left.len();
        let told = format!(": {count} files are left to be archived after the next start");
        let told = lines.iter().find(|line| line.ends_with(&told));
        self.is_blamed_in(told.unwrap_or_else(|| panic!("{count} files are left: {lines:?}")));
        let which = format!("DETAIL:  Not archived: {}.", left.join(", "));
        assert!(lines.contains(&which), "{which} {lines:?}");
        left
    }
}

/// With bounds a forecast can tell the end even of what does not move.
#[track_caller]
fn forecast_tells_the_bound(cluster: &Cluster, kind: &str) {
    for forecast in Forecast::both(cluster, "fast") {
        let total = forecast.total.unwrap_or_else(|| panic!("it is bounded: {forecast:?}"));
        assert!((1.0..30.0).contains(&total), "{forecast:?}");
        forecast.one(kind);
    }
    let bound = Forecast::by_program(cluster, "fast").one(kind).bound;
    assert_eq!(bound, Some(BOUND.as_secs_f64()));
}

/// A client that would stay: the deadline makes the stop a fast one.
#[test]
fn a_smart_stop_with_a_client() {
    let cluster = Cluster::started(&["log_line_prefix = ''", "autovacuum = off"]);
    let mut client = session(&cluster, "client");
    assert_eq!(client.query("CREATE TABLE t (a int)"), ["CREATE TABLE"]);
    assert_eq!(client.query("INSERT INTO t VALUES (1)"), ["INSERT 0 1"]);
    assert_eq!(client.query("BEGIN"), ["BEGIN"]);
    assert_eq!(client.query("INSERT INTO t VALUES (2)"), ["INSERT 0 1"]);
    cluster.mark_log();
    let mut watch = Watch::new(&cluster, None);
    let stop = pg_ctl_stop(&cluster, "stop", &["-m", "smart", "--deadline", "3s", "--progress=json"]);
    let seen = watch.until("that the client is awaited", |status| status.pids() == [client.pid]);
    assert_eq!((seen.mode.as_str(), seen.phase.as_str()), ("smart", "sessions"));
    assert!(seen.awaited[0].bound.is_some_and(|bound| bound < 3.0), "{seen:?}");
    assert!(seen.seconds.is_some(), "it is bounded: {seen:?}");
    refused(&cluster, "smart", &["1 session"]);
    assert_eq!(client.query("SELECT 1"), ["1", "SELECT 1"], "for some time it may go on");
    let took = watch.until_over();
    watch.ended_within(took, DEADLINE);
    assert!(took > DEADLINE / 3, "the client had no time: {took:?}");
    assert_eq!(
        client.answer(),
        ["FATAL:  57P01: terminating connection due to administrator command", "EOF"]
    );
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    let log = cluster.new_log();
    assert!(log.contains("LOG:  received smart shutdown request\n"), "{log}");
    assert!(log.contains("the stop is to end within 3 s"), "{log}");
    assert!(log.contains("LOG:  aborting any active transactions\n"), "{log}");
    stopped_well(&cluster);
    starts_without_recovery(&cluster);
    assert_eq!(ask(&cluster, "SELECT a FROM t"), "1", "what it had committed, and no more");
}

/// 500 MB unsent, and with the deadline less: what is given up is as much work afterwards.
#[test]
fn a_receiver_that_stands_still() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    for bound in [Bound::Settings, Bound::Deadline] {
        let mut config = bound.config();
        config.push("max_wal_size = '4GB'".to_owned());
        let cluster = primary(Server::Ours, &config.iter().map(String::as_str).collect::<Vec<_>>());
        let dir = folder(&cluster, "received");
        let client = frozen_receiver(&cluster, &dir);
        let written = match bound {
            Bound::Settings => write_large_rows(&cluster, 500 * MB),
            Bound::Deadline => write_wal(&cluster, MUCH),
        };
        let wal = Wal::of(&cluster);
        if bound == Bound::Settings {
            forecast_tells_the_bound(&cluster, "walsender");
        }
        let watch = bound.stop(&cluster, None);
        let is_bounded = |item: &Item| item.bound.is_some_and(|bound| bound <= 3.0);
        let awaited = watch.seen.iter().find_map(|status| status.one("walsender"));
        assert!(awaited.is_some_and(is_bounded), "{:?}", watch.seen);
        let (line, [sent, confirmed, end]) = given_up_because(&cluster, "frozen");
        bound.is_blamed_in(&line);
        assert!(confirmed <= sent && sent < written && written <= end, "{}", cluster.new_log());
        assert!(bound == Bound::Deadline || end.0 - sent.0 > 490 * MB, "{}", cluster.new_log());
        let end = checkpoint_end(&cluster);
        client.resume();
        assert_eq!(client.wait().code(), Some(1), "{}", client.said());
        starts_without_recovery(&cluster);
        gets_the_rest(&cluster, &dir, &wal, end);
    }
}

#[test]
fn an_archive_that_is_slow() {
    for bound in [Bound::Settings, Bound::Deadline] {
        let config = bound.config();
        let archiving =
            Archiving::started(Server::Ours, &config.iter().map(String::as_str).collect::<Vec<_>>());
        let cluster = &archiving.cluster;
        archiving.write("delay", "0.1");
        archiving.hold();
        let names = archiving.switches(FILES);
        if bound == Bound::Settings {
            let files = archiving.ready().len() as u64;
            forecast_tells_the_bound(cluster, "archiver");
            for forecast in Forecast::both(cluster, "fast") {
                assert_eq!(forecast.one("archiver").files, Some(files), "{forecast:?}");
            }
        }
        archiving.release();
        let watch = bound.stop(cluster, Some(SEGMENT_BYTES));
        let left = watch.left_of("archiver");
        assert!(left.last() < left.first(), "it has done something: {left:?}");
        let left = bound.left_of_the_archive(&archiving);
        archiving.remove("delay");
        starts_without_recovery(cluster);
        archiving.wait_until_done(&left);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        archiving.check();
        let archived = archiving.archived();
        assert!(names.iter().all(|name| archived.contains(name)), "{names:?}, {archived:?}");
    }
}

#[test]
fn a_receiver_and_an_archive() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    for bound in [Bound::Settings, Bound::Deadline] {
        let mut config = bound.config();
        config.push("wal_sender_timeout = 0".to_owned());
        let archiving =
            Archiving::started(Server::Ours, &config.iter().map(String::as_str).collect::<Vec<_>>());
        let cluster = &archiving.cluster;
        archiving.hold();
        let names = archiving.switches(FILES);
        // So little that the checkpoint is made, and both are waited for at the same time.
        let dir = folder(cluster, "received");
        let client = frozen_receiver(cluster, &dir);
        write_wal(cluster, LITTLE);
        let wal = Wal::of(cluster);
        let archiver = archiving.wait_for_archiver();
        let watch = bound.stop(cluster, Some(SEGMENT_BYTES));
        let both = |status: &&Status| status.one("walsender").is_some() && status.pids().contains(&archiver);
        let seen = watch.seen.iter().find(both).unwrap_or_else(|| panic!("both: {:?}", watch.seen));
        assert_eq!((seen.phase.as_str(), seen.awaited.len()), ("wal", 2), "{seen:?}");
        let (line, [_, confirmed, end]) = given_up_because(cluster, "frozen");
        bound.is_blamed_in(&line);
        assert!(confirmed < end && end == checkpoint_end(cluster), "{}", cluster.new_log());
        let left = bound.left_of_the_archive(&archiving);
        assert!(left.starts_with(&names), "nothing was archived: {left:?}");
        client.resume();
        assert_eq!(client.wait().code(), Some(1), "{}", client.said());
        archiving.release();
        starts_without_recovery(cluster);
        archiving.wait_until_done(&left);
        gets_the_rest(cluster, &dir, &wal, end);
        archiving.check();
    }
}

/// The settings bound a part each, the deadline the whole: the shorter time counts.
#[test]
fn the_shorter_bound_counts() {
    for (setting, deadline, blamed) in [("500ms", "60s", Bound::Settings), ("60s", "2s", Bound::Deadline)] {
        let setting = format!("wal_sender_shutdown_timeout = '{setting}'");
        let cluster = primary(Server::Ours, &[&setting]);
        let start = flushed(&cluster);
        let mut stream = Stream::start(&cluster, start);
        let end = write_wal(&cluster, LITTLE);
        stream.read_to(end);
        cluster.mark_log();
        let mut watch = Watch::new(&cluster, None);
        let stop = pg_ctl_stop(&cluster, "stop", &["--deadline", deadline]);
        let took = watch.until_over();
        watch.ended_within(took, Duration::from_secs(2));
        assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
        stopped_well(&cluster);
        let (line, [_, confirmed, _]) = given_up_because(&cluster, "by_hand");
        blamed.is_blamed_in(&line);
        assert_eq!(confirmed, start, "it has confirmed nothing");
    }
}

/// A client over TCP that never reads its socket, and says nothing, or talks without end.
#[test]
fn a_receiver_that_never_reads() {
    for talks in [false, true] {
        let why = beside_who_never_reads(talks, &[], |cluster| _ = Bound::Deadline.stop(cluster, None));
        Bound::Deadline.is_blamed_in(&why);
    }
}

/// A stop that hangs, and somebody who loses his patience: before the checkpoint, and after it.
#[test]
fn a_deadline_that_comes_later() {
    for (kilobytes, phase) in [(MUCH, "checkpoint"), (LITTLE, "wal")] {
        let cluster = primary(Server::Ours, &[]);
        let start = flushed(&cluster);
        let stream = Stream::start(&cluster, start);
        write_wal(&cluster, kilobytes);
        cluster.wait_until_asleep(stream.wire.pid);
        cluster.mark_log();
        let mut watch = Watch::new(&cluster, None);
        cluster.signal_postmaster(Stop::Fast.signal());
        let seen = watch.until("that nothing moves", |status| {
            status.one("walsender").is_some_and(Item::is_not_moving) && status.phase == phase
        });
        assert_eq!((seen.deadline, seen.seconds), (None, None), "{seen:?}");
        let began = Instant::now();
        let stop = pg_ctl_stop(&cluster, "stop", &["--deadline", "2s"]);
        let seen = watch.until("that there is a deadline", |status| status.deadline.is_some());
        assert!(seen.seconds.is_some(), "{seen:?}");
        watch.until_over();
        watch.ended_within(began.elapsed(), Duration::from_secs(2));
        assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
        stopped_well(&cluster);
        let (line, [_, confirmed, _]) = given_up_because(&cluster, "by_hand");
        Bound::Deadline.is_blamed_in(&line);
        assert_eq!(confirmed, start);
        let end = checkpoint_end(&cluster);
        starts_without_recovery(&cluster);
        let mut stream = Stream::start(&cluster, start);
        read_without_a_gap(&mut stream, end);
        stream.confirm();
    }
}

/// The same with a smart stop and a client that stays.
#[test]
fn a_deadline_for_a_client_that_stays() {
    let cluster = Cluster::started(&["log_line_prefix = ''", "autovacuum = off"]);
    let mut client = session(&cluster, "client");
    cluster.mark_log();
    let mut watch = Watch::new(&cluster, None);
    cluster.signal_postmaster(Stop::Smart.signal());
    let seen = watch.until("that the client is awaited", |status| status.pids() == [client.pid]);
    assert_eq!((seen.deadline, seen.seconds), (None, None), "{seen:?}");
    let began = Instant::now();
    let stop = pg_ctl_stop(&cluster, "stop", &["-m", "smart", "--deadline", "2s"]);
    let seen = watch.until("that there is a deadline", |status| status.deadline.is_some());
    assert_eq!((seen.mode.as_str(), seen.pids()), ("smart", vec![client.pid]), "it has half of the time");
    watch.until_over();
    watch.ended_within(began.elapsed(), Duration::from_secs(2));
    assert_eq!(
        client.answer(),
        ["FATAL:  57P01: terminating connection due to administrator command", "EOF"]
    );
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    stopped_well(&cluster);
    starts_without_recovery(&cluster);
}

/// The same with an archive command that hangs.
#[test]
fn a_deadline_for_an_archive_that_hangs() {
    let archiving = Archiving::started(Server::Ours, &[]);
    let cluster = &archiving.cluster;
    archiving.hold();
    let names = archiving.switches(FILES);
    let archiver = archiving.wait_for_archiver();
    cluster.mark_log();
    let mut watch = Watch::new(cluster, Some(SEGMENT_BYTES));
    cluster.signal_postmaster(Stop::Smart.signal());
    watch.until("that the archiver is awaited", |status| status.pids() == [archiver]);
    let began = Instant::now();
    let stop = pg_ctl_stop(cluster, "stop", &["-m", "smart", "--deadline", "2s"]);
    watch.until("that there is a deadline", |status| status.deadline.is_some());
    watch.until_over();
    watch.ended_within(began.elapsed(), Duration::from_secs(2));
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    stopped_well(cluster);
    let left = Bound::Deadline.left_of_the_archive(&archiving);
    assert!(left.starts_with(&names), "{left:?}");
    archiving.release();
    starts_without_recovery(cluster);
    archiving.wait_until_done(&left);
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    archiving.check();
}

/// The checkpoint is never given up: a stop that it makes late is late, says so, and is as clean as any.
#[test]
fn a_checkpoint_that_is_late() {
    let cluster = primary(Server::Ours, &[]);
    write_wal(&cluster, LITTLE);
    let checkpointer = cluster.wait_for_process("postgres: checkpointer");
    cluster.signal(checkpointer, Signal::SIGSTOP);
    cluster.mark_log();
    let mut watch = Watch::new(&cluster, None);
    let stop = pg_ctl_stop(&cluster, "stop", &["--deadline", "1s"]);
    let seen = watch.until("that the time is up", |status| {
        status.deadline.is_some_and(|deadline| status.updated > deadline + 0.5)
    });
    assert_eq!((seen.phase.as_str(), seen.pids()), ("checkpoint", vec![checkpointer]), "{seen:?}");
    cluster.signal(checkpointer, Signal::SIGCONT);
    watch.until_over();
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    let log = cluster.new_log();
    let late = log.lines().find(|line| line.contains("after its deadline of 1 s"));
    assert!(late.is_some_and(|line| line.starts_with("LOG:  the stop ends ")), "{log}");
    assert!(log.contains("LOG:  checkpoint complete"), "{log}");
    assert_eq!(control(&cluster, "Database cluster state"), "shut down");
    starts_without_recovery(&cluster);
    assert_eq!(ask(&cluster, "SELECT count(*) FROM filler"), LITTLE.to_string());
}

/// A bound that nobody needs changes nothing, and the next stop does not know it.
#[test]
fn a_deadline_that_is_not_needed() {
    let cluster = primary(Server::Ours, &[]);
    let start = flushed(&cluster);
    cluster.mark_log();
    let output = cluster.pg_ctl(&["stop", "--deadline", "60s"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    stopped_well(&cluster);
    starts_without_recovery(&cluster);
    // Had it a bound of a second, it would be over before the receiver has confirmed.
    let stream = Stream::start(&cluster, start);
    write_wal(&cluster, LITTLE);
    let mut watch = Watch::new(&cluster, None);
    cluster.signal_postmaster(Stop::Fast.signal());
    let seen =
        watch.until("that nothing moves", |status| status.one("walsender").is_some_and(Item::is_not_moving));
    assert_eq!(seen.deadline, None, "{seen:?}");
    drop(stream);
    watch.until_over();
    stopped_well(&cluster);
}

#[test]
fn a_stranger_who_says_nothing_does_not_outlast_the_deadline() {
    let cluster = Cluster::started(&[]);
    let _client = session(&cluster, "stays");
    let stop = pg_ctl_stop(&cluster, "stranger", &["--mode=smart", "--deadline=4s"]);
    integration::wait_until("clients are refused", || cluster.data_dir().join("postmaster.stop").exists());
    let _stranger = std::net::TcpStream::connect(("127.0.0.1", cluster.port())).unwrap();
    let began = Instant::now();
    assert_eq!(stop.wait().code(), Some(0), "{}", stop.said());
    // Not `authentication_timeout`, which is a minute.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    stopped_well(&cluster);
}
