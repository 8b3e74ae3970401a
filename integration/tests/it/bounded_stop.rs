//! What a stop owes those who follow: it keeps what they lack, and `wal_sender_shutdown_timeout` ends the wait for them.
//!
//! No slot and `wal_keep_size = 0` anywhere: nothing but the stop itself keeps WAL. PostgreSQL 15 has neither of the two.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use common::Lsn;
use integration::archive::{control, names_in};
use integration::{Cluster, Server, Stop, on_each_server, real_postgres, skip, wait_until};
use nix::sys::signal::Signal;

use crate::replication_support::{
    Event, Program, SEGMENT_BYTES, Stream, ask, flushed, folder, replication_session, started_primary,
    wait_for_position, wait_for_state, walsender_pid, write_wal,
};
use crate::slow_stop::checkpoint_end;
use crate::standby_support::{caught_up, standby};

/// Far more than the buffers of a connection hold, in kilobytes.
pub(crate) const MUCH: usize = 72_000;
/// Much less.
pub(crate) const LITTLE: usize = 40;
/// The bound of these tests, in milliseconds.
const BOUND: Duration = Duration::from_millis(1500);
/// What it may take in addition, on a machine that does other things as well.
const SLACK: Duration = Duration::from_secs(15);
/// How long a client talks at the most.
const TALK: Duration = Duration::from_secs(60);
/// Why a walsender has given up, in the log.
const BY_SETTING: &str = "LOG:  terminating walsender process due to replication shutdown timeout";

/// Of every primary here.
const CONFIG: [&str; 6] = [
    // No checkpoint but the last one.
    "checkpoint_timeout = '1h'",
    "max_wal_size = '1GB'",
    "log_checkpoints = on",
    "log_line_prefix = ''",
    "wal_keep_size = 0",
    "wal_sender_timeout = 0",
];

#[track_caller]
pub(crate) fn primary(server: Server, more: &[&str]) -> Cluster {
    started_primary(server, &[&CONFIG, more].concat())
}

fn bound() -> String {
    format!("wal_sender_shutdown_timeout = '{}ms'", BOUND.as_millis())
}

/// A cluster's WAL as it was when a test looked at it: the cluster may remove its own.
pub(crate) struct Wal {
    dir: PathBuf,
    kept: PathBuf,
}

impl Wal {
    #[track_caller]
    pub(crate) fn of(cluster: &Cluster) -> Wal {
        let dir = cluster.data_dir().join("pg_wal");
        let kept = cluster.path("wal_before");
        fs::create_dir(&kept).expect("own folder");
        for name in names_in(&dir).iter().filter(|name| name.len() == 24) {
            fs::copy(dir.join(name), kept.join(name)).expect("a copy");
        }
        Wal { dir, kept }
    }

    /// From `start` to `end`.
    #[track_caller]
    pub(crate) fn bytes(&self, start: Lsn, end: Lsn) -> Vec<u8> {
        bytes_of(start, end, |name| {
            fs::read(self.dir.join(name)).or_else(|_| fs::read(self.kept.join(name))).expect("known WAL")
        })
    }
}

/// WAL of the first timeline out of its segments.
#[track_caller]
fn bytes_of(start: Lsn, end: Lsn, read: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut all = Vec::new();
    let mut at = start.0;
    while at < end.0 {
        let segment = at / SEGMENT_BYTES;
        let content = read(&segment_name(segment));
        let stop = end.0.min((segment + 1) * SEGMENT_BYTES) - segment * SEGMENT_BYTES;
        all.extend(&content[(at % SEGMENT_BYTES) as usize..stop as usize]);
        at = (segment + 1) * SEGMENT_BYTES;
    }
    all
}

pub(crate) fn segment_name(segment: u64) -> String {
    let in_4_gb = (1 << 32) / SEGMENT_BYTES;
    format!("00000001{:08X}{:08X}", segment / in_4_gb, segment % in_4_gb)
}

/// What `pg_receivewal` has written is the server's WAL up to a position, without a gap.
#[track_caller]
fn has_received(dir: &Path, wal: &Wal, end: Lsn) {
    let first = names_in(dir).into_iter().next().expect("something was received");
    let number = |range| u64::from_str_radix(&first[range], 16).expect("a segment's name");
    let segment = (number(8..16) << 32) / SEGMENT_BYTES + number(16..24);
    let start = Lsn(segment * SEGMENT_BYTES);
    let received = bytes_of(start, end, |name| {
        let path = dir.join(name);
        let partial = dir.join(format!("{name}.partial"));
        fs::read(path).or_else(|_| fs::read(partial)).unwrap_or_else(|e| panic!("{name}: {e}"))
    });
    let written = wal.bytes(start, end);
    let differs = received.iter().zip(&written).position(|(a, b)| a != b).map(|at| Lsn(start.0 + at as u64));
    assert_eq!(differs, None, "what was received up to {end} is not what was written");
    assert_eq!(received.len(), written.len());
}

/// Reads WAL up to a position; nothing is missing in between.
#[track_caller]
pub(crate) fn read_without_a_gap(stream: &mut Stream, end: Lsn) -> Vec<u8> {
    let mut all = Vec::new();
    while stream.received < end {
        let expected = stream.received;
        match stream.next() {
            Event::Wal { start, bytes, .. } => {
                assert!(expected == Lsn(0) || start == expected, "from {start} instead of {expected}");
                all.extend(bytes);
            }
            Event::Keepalive { .. } => {}
            other => panic!("the stream ends at {expected}, before {end}: {other:?}"),
        }
    }
    all
}

/// `pg_receivewal` that has written something, and is then stopped with SIGSTOP.
#[track_caller]
pub(crate) fn frozen_receiver(cluster: &Cluster, dir: &Path) -> Program {
    let end = write_wal(cluster, LITTLE);
    let client = Program::receivewal(cluster, "frozen", dir, &["-s", "1", "--no-loop"]);
    wait_for_state(cluster, "frozen", "streaming");
    // It begins where the server was: so there is something that it has for sure.
    write_wal(cluster, LITTLE);
    wait_for_position(cluster, "frozen", "write_lsn", Lsn(end.0 + 1));
    client.freeze();
    client
}

/// The same program again, until it has everything.
#[track_caller]
pub(crate) fn gets_the_rest(cluster: &Cluster, dir: &Path, wal: &Wal, end: Lsn) {
    let again = Program::receivewal(cluster, "again", dir, &["-s", "1", "--no-loop"]);
    wait_for_position(cluster, "again", "write_lsn", end);
    has_received(dir, wal, end);
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    assert_eq!(again.wait().code(), Some(1), "--no-loop");
    has_received(dir, wal, checkpoint_end(cluster));
}

/// A fast stop that ends by its bound, and by nothing else.
#[track_caller]
fn stops_in_time(cluster: &Cluster) {
    cluster.mark_log();
    let began = Instant::now();
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0), "{}", cluster.log());
    let took = began.elapsed();
    eprintln!("bounded stop: {took:?}");
    assert!(took >= BOUND, "{took:?}");
    assert!(took < BOUND + SLACK, "{took:?}");
    stopped_well(cluster);
}

#[track_caller]
fn stopped_well(cluster: &Cluster) {
    assert_eq!(control(cluster, "Database cluster state"), "shut down");
    assert_eq!(cluster.processes(), []);
    let log = cluster.new_log();
    assert!(log.ends_with("LOG:  database system is shut down\n"), "{log}");
}

/// What the log says was sent, was confirmed, and existed, after `terminating walsender …` because of the setting.
#[track_caller]
fn given_up(cluster: &Cluster, receiver: &str) -> [Lsn; 3] {
    let (reason, found) = given_up_because(cluster, receiver);
    assert_eq!(reason, BY_SETTING);
    found
}

/// The same with the line that says why, whatever that is.
#[track_caller]
pub(crate) fn given_up_because(cluster: &Cluster, receiver: &str) -> (String, [Lsn; 3]) {
    let log = cluster.new_log();
    let lines: Vec<&str> = log.lines().collect();
    let said = format!("DETAIL:  \"{receiver}\" was sent WAL up to ");
    let at = lines.iter().position(|line| line.starts_with(&said));
    let at = at.unwrap_or_else(|| panic!("nothing was given up:\n{log}"));
    let detail = lines[at];
    let words = detail.split_whitespace().map(|word| word.trim_end_matches(['.', ',', ';']));
    let found: Vec<Lsn> = words.filter_map(|word| word.parse().ok()).collect();
    let found: [Lsn; 3] = found.try_into().unwrap_or_else(|_| panic!("three positions: {detail}"));
    let missing = format!("The missing {} bytes are kept for the next start.", found[2].0 - found[1].0);
    assert!(detail.ends_with(&missing), "{detail}");
    (lines[at - 1].to_owned(), found)
}

/// The next start has nothing to recover.
#[track_caller]
pub(crate) fn starts_without_recovery(cluster: &Cluster) {
    cluster.mark_log();
    cluster.start();
    let log = cluster.new_log();
    assert!(log.contains("LOG:  database system was shut down at "), "{log}");
    assert!(!log.contains("recovery") && !log.contains("redo"), "{log}");
}

/// It reads so slowly that the shutdown checkpoint is made when most is still to be sent. PostgreSQL 15 waits for it, and has
/// removed what it waits with.
#[test]
fn what_is_to_be_sent_outlives_the_checkpoint() {
    on_each_server("stop with a slow reader", |server| {
        let cluster = primary(server, &[]);
        let start = flushed(&cluster);
        let mut stream = Stream::start(&cluster, start);
        write_wal(&cluster, MUCH);
        cluster.wait_until_asleep(stream.wire.pid);
        let wal = Wal::of(&cluster);
        cluster.mark_log();
        cluster.signal_postmaster(Stop::Fast.signal());
        cluster.wait_for_new_log("LOG:  shutting down");
        // Enough for the walsender to have its buffer empty once, which is all that the checkpoint waits for.
        let mut received = read_without_a_gap(&mut stream, Lsn(start.0 + 4 * SEGMENT_BYTES));
        cluster.wait_for_new_log("LOG:  checkpoint complete");
        let end = checkpoint_end(&cluster);
        assert!(end.0 - stream.received.0 > 32 * SEGMENT_BYTES, "not much is left: {}", stream.received);
        if server == Server::Real {
            let lost = stream.rest().join("\n");
            assert!(
                lost.contains("requested WAL segment") && lost.contains("already been removed"),
                "{lost}"
            );
            assert!(stream.received < end);
            assert_eq!(cluster.wait_for_end().code(), Some(0));
            return;
        }
        received.extend(read_without_a_gap(&mut stream, end));
        assert_eq!(stream.received, end, "nothing comes after the checkpoint");
        assert!(received == wal.bytes(start, end), "something else was received than was written");
        stream.confirm();
        assert_eq!(stream.rest(), ["COPY 0", "EOF"]);
        assert_eq!(cluster.wait_for_end().code(), Some(0));
        stopped_well(&cluster);
        // What only this one has needed goes with the next checkpoint.
        starts_without_recovery(&cluster);
        ask(&cluster, "CHECKPOINT");
        assert!(!wal.dir.join(segment_name(start.0 / SEGMENT_BYTES)).exists());
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// A checkpoint that was under way when the stop came ends in a hurry, and removes nothing of it either.
#[test]
fn a_checkpoint_that_the_stop_overtakes() {
    let cluster = primary(Server::Ours, &[]);
    let start = flushed(&cluster);
    let mut stream = Stream::start(&cluster, start);
    write_wal(&cluster, MUCH);
    cluster.wait_until_asleep(stream.wire.pid);
    let wal = Wal::of(&cluster);
    cluster.mark_log();
    // It would take most of an hour.
    let mut backup = replication_session(&cluster, "true");
    backup.begin("BASE_BACKUP (CHECKPOINT 'spread')");
    cluster.wait_for_new_log("LOG:  checkpoint starting: force wait");
    cluster.signal_postmaster(Stop::Fast.signal());
    cluster.wait_for_new_log("LOG:  shutting down");
    assert!(cluster.new_log().contains("LOG:  checkpoint complete"), "{}", cluster.new_log());
    let mut received = read_without_a_gap(&mut stream, Lsn(start.0 + 4 * SEGMENT_BYTES));
    wait_until("the cluster is shut down", || control(&cluster, "Database cluster state") == "shut down");
    let end = checkpoint_end(&cluster);
    received.extend(read_without_a_gap(&mut stream, end));
    assert!(received == wal.bytes(start, end), "something else was received than was written");
    stream.confirm();
    assert_eq!(stream.rest(), ["COPY 0", "EOF"]);
    assert_eq!(cluster.wait_for_end().code(), Some(0));
    stopped_well(&cluster);
}

/// The same with a program that keeps WAL: it goes on, and ends with all of it.
#[test]
fn a_receiver_that_goes_on_gets_everything() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    for mode in [Stop::Fast, Stop::Smart] {
        let cluster = primary(Server::Ours, &[]);
        let dir = folder(&cluster, "received");
        let client = frozen_receiver(&cluster, &dir);
        write_wal(&cluster, MUCH);
        let wal = Wal::of(&cluster);
        cluster.mark_log();
        cluster.signal_postmaster(mode.signal());
        cluster.wait_for_new_log("LOG:  shutting down");
        client.resume();
        assert_eq!(cluster.wait_for_end().code(), Some(0), "{}", cluster.log());
        assert_eq!(client.wait().code(), Some(1), "--no-loop");
        stopped_well(&cluster);
        has_received(&dir, &wal, checkpoint_end(&cluster));
    }
}

/// Before the checkpoint, which waits for an empty buffer, and after it, when only the confirmation is missing. If somebody sends
/// the walsender away, that makes no difference to what is kept.
#[test]
fn a_receiver_that_stands_still() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    for (kilobytes, is_bounded) in [(MUCH, true), (LITTLE, true), (MUCH, false)] {
        let setting = if is_bounded { bound() } else { String::new() };
        let cluster = primary(Server::Ours, &[&setting]);
        let dir = folder(&cluster, "received");
        let client = frozen_receiver(&cluster, &dir);
        let written = write_wal(&cluster, kilobytes);
        let wal = Wal::of(&cluster);
        if is_bounded {
            stops_in_time(&cluster);
            let [sent, confirmed, end] = given_up(&cluster, "frozen");
            assert!(confirmed <= sent && sent <= end, "{}", cluster.new_log());
            if kilobytes == MUCH {
                assert!(sent < written && written <= end, "{}", cluster.new_log());
                assert!(cluster.new_log().contains(", before the shutdown checkpoint. "));
            } else {
                assert_eq!([sent, end], [checkpoint_end(&cluster); 2]);
            }
        } else {
            cluster.mark_log();
            cluster.signal_postmaster(Stop::Fast.signal());
            cluster.wait_for_new_log("LOG:  shutting down");
            cluster.signal(walsender_pid(&cluster), Signal::SIGTERM);
            assert_eq!(cluster.wait_for_end().code(), Some(0), "{}", cluster.log());
            stopped_well(&cluster);
        }
        let end = checkpoint_end(&cluster);
        client.resume();
        assert_eq!(client.wait().code(), Some(1), "{}", client.said());
        starts_without_recovery(&cluster);
        gets_the_rest(&cluster, &dir, &wal, end);
    }
}

/// A client over TCP that never reads its socket, and says nothing, or talks without end.
#[test]
fn a_receiver_that_never_reads() {
    for talks in [false, true] {
        let why = beside_who_never_reads(talks, &[&bound()], stops_in_time);
        assert_eq!(why, BY_SETTING);
    }
}

/// A stop while such a client is there; it returns what the log says why that one was given up. What it has not got comes
/// after the next start.
#[track_caller]
pub(crate) fn beside_who_never_reads(talks: bool, config: &[&str], stop: impl FnOnce(&Cluster)) -> String {
    let cluster = primary(Server::Ours, config);
    let start = flushed(&cluster);
    let mut stream = Stream::start(&cluster, start);
    let written = write_wal(&cluster, MUCH);
    cluster.wait_until_asleep(stream.wire.pid);
    let wal = Wal::of(&cluster);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (stream, is_over) = (&mut stream, &is_over);
        scope.spawn(move || {
            let began = Instant::now();
            while talks && !is_over.load(Relaxed) && began.elapsed() < TALK {
                stream.reply([start; 3], false);
            }
        });
        stop(&cluster);
        is_over.store(true, Relaxed);
    });
    let (why, [sent, confirmed, end]) = given_up_because(&cluster, "by_hand");
    assert_eq!(confirmed, start, "it has told nothing else");
    assert!(sent > start && sent < written && end >= written, "{}", cluster.new_log());
    drop(stream);
    let end = checkpoint_end(&cluster);
    starts_without_recovery(&cluster);
    let mut stream = Stream::start(&cluster, confirmed);
    let received = read_without_a_gap(&mut stream, end);
    assert!(received[..(end.0 - start.0) as usize] == wal.bytes(start, end));
    stream.confirm();
    why
}

/// Everything is sent and read, and nothing is confirmed: the client is told that it was meant so.
#[test]
fn a_receiver_that_does_not_confirm() {
    for answers in [false, true] {
        let cluster = primary(Server::Ours, &[&bound()]);
        let start = flushed(&cluster);
        let mut stream = Stream::start(&cluster, start);
        let written = write_wal(&cluster, LITTLE);
        stream.read_to(written);
        if answers {
            // Not quite all.
            stream.reply([Lsn(written.0 - 8); 3], false);
        }
        stops_in_time(&cluster);
        let end = checkpoint_end(&cluster);
        let confirmed = if answers { Lsn(written.0 - 8) } else { start };
        assert_eq!(given_up(&cluster, "by_hand"), [end, confirmed, end]);
        assert!(!cluster.new_log().contains("before the shutdown checkpoint"));
        stream.read_to(end);
        assert_eq!(stream.received, end);
        assert_eq!(stream.rest(), ["COPY 0", "EOF"]);
        starts_without_recovery(&cluster);
    }
}

/// Zero waits for nobody; a receiver that is up to date loses nothing but the checkpoint's record, which it gets later.
#[test]
fn no_time_at_all() {
    let cluster = primary(Server::Ours, &["wal_sender_shutdown_timeout = 0"]);
    let start = flushed(&cluster);
    let mut stream = Stream::start(&cluster, start);
    let written = write_wal(&cluster, LITTLE);
    stream.read_to(written);
    stream.confirm();
    wait_for_position(&cluster, "by_hand", "flush_lsn", written);
    cluster.mark_log();
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    stopped_well(&cluster);
    let [sent, confirmed, _] = given_up(&cluster, "by_hand");
    assert!(sent >= written && confirmed == written, "{}", cluster.new_log());
    assert_eq!(stream.rest(), ["COPY 0", "EOF"]);
    let end = checkpoint_end(&cluster);
    starts_without_recovery(&cluster);
    let mut stream = Stream::start(&cluster, stream.received);
    stream.read_to(end);
}

/// A standby that is followed stops with a restartpoint, which keeps as much.
#[test]
fn a_standby_that_is_followed() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    for is_bounded in [false, true] {
        let cluster = primary(Server::Ours, &[]);
        // Of its own walsenders, not of its primary's.
        let setting = if is_bounded { bound() } else { String::new() };
        let follower = standby(&cluster, "follower", &[&setting]);
        let start = flushed(&cluster);
        caught_up(&cluster, &follower);
        let mut stream = Stream::start(&follower, start);
        write_wal(&cluster, MUCH);
        caught_up(&cluster, &follower);
        // For the restartpoint.
        ask(&cluster, "CHECKPOINT");
        caught_up(&cluster, &follower);
        follower.wait_until_asleep(stream.wire.pid);
        let end = flushed(&cluster);
        let wal = Wal::of(&follower);
        follower.mark_log();
        if is_bounded {
            let began = Instant::now();
            assert_eq!(follower.stop(Stop::Fast).code(), Some(0), "{}", follower.log());
            assert!(began.elapsed() < BOUND + SLACK);
            assert_eq!(given_up(&follower, "by_hand")[1], start);
        } else {
            follower.signal_postmaster(Stop::Fast.signal());
            follower.wait_for_new_log("LOG:  shutting down");
            read_without_a_gap(&mut stream, Lsn(start.0 + 4 * SEGMENT_BYTES));
            follower.wait_for_new_log("LOG:  restartpoint complete");
            read_without_a_gap(&mut stream, end);
            stream.confirm();
            assert_eq!(stream.rest().last().map(String::as_str), Some("EOF"));
            assert_eq!(follower.wait_for_end().code(), Some(0));
        }
        assert_eq!(control(&follower, "Database cluster state"), "shut down in recovery");
        drop(stream);
        follower.start();
        if is_bounded {
            let mut stream = Stream::start(&follower, start);
            let received = read_without_a_gap(&mut stream, end);
            assert!(received[..(end.0 - start.0) as usize] == wal.bytes(start, end));
        }
    }
}
