//! Clients that keep a walsender waiting: with half a message, with messages that are not read, with an answer that does not
//! come. PostgreSQL 15 waits for each of them, or spins; this server goes on, and so these tests are for it alone.

use std::fs;

use common::Lsn;
use integration::{Server, Stop, Wire};
use nix::sys::signal::Signal;

use crate::replication_support::{
    Event, Stream, flushed, replication_session, started_primary, wait_for_answer, wait_for_no_walsender,
    wait_for_position, wait_for_state, write_wal,
};

/// More than the buffers of a connection over TCP hold.
const MUCH: usize = 24_000;

/// The stream goes on in between, and so does a stop; the other half completes the message.
#[test]
fn half_a_message() {
    let cluster = started_primary(Server::Ours, &["log_checkpoints = on"]);
    let mut stream = Stream::start(&cluster, flushed(&cluster));
    for cut in [1, 4, 20] {
        let end = write_wal(&cluster, 10);
        let mut reply = b"d\0\0\0\x26r".to_vec();
        (0..3).for_each(|_| reply.extend(end.0.to_be_bytes()));
        reply.extend([0; 9]);
        stream.wire.send(&reply[..cut]);
        stream.read_to(end);
        let later = write_wal(&cluster, 10);
        stream.read_to(later);
        stream.wire.send(&reply[cut..]);
        wait_for_position(&cluster, "by_hand", "flush_lsn", end);
    }
    stream.wire.send(b"d\0");
    cluster.mark_log();
    cluster.signal_postmaster(Stop::Fast.signal());
    cluster.wait_for_new_log("checkpoint complete");
    // Nobody waits for the other half once the client has gone.
    drop(stream);
    assert_eq!(cluster.wait_for_end().code(), Some(0));
}

/// Sent away while it takes nothing: there is no room for a last word, so there is none.
#[test]
fn sent_away_while_nothing_is_read() {
    let cluster = started_primary(Server::Ours, &["wal_keep_size = '128MB'"]);
    let start = flushed(&cluster);
    let stream = Stream::start(&cluster, start);
    wait_for_state(&cluster, "by_hand", "streaming");
    write_wal(&cluster, MUCH);
    cluster.wait_until_asleep(stream.wire.pid);
    cluster.signal(stream.wire.pid, Signal::SIGTERM);
    wait_for_no_walsender(&cluster);
    drop(stream);
    // The same for a base backup at the server's stop.
    let mut backup = replication_session(&cluster, "true");
    backup.begin("BASE_BACKUP (CHECKPOINT 'fast')");
    wait_for_state(&cluster, "by_hand", "backup");
    cluster.wait_until_asleep(backup.pid);
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
}

/// The end of a timeline has been told, and the client does not say that it has understood: that is slept for, nothing more is
/// sent meanwhile, and `wal_sender_timeout` ends it.
#[test]
fn copy_done_without_an_answer() {
    let cluster = started_primary(Server::Ours, &[]);
    write_wal(&cluster, 10);
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    cluster.append_config("restore_command = 'false'");
    cluster.write_file("recovery.signal", "");
    cluster.start();
    wait_for_answer(&cluster, "SELECT pg_is_in_recovery()", "f");
    let history = fs::read_to_string(cluster.data_dir().join("pg_wal/00000002.history")).expect("a history");
    let switch: Lsn = history.split_whitespace().nth(1).and_then(|lsn| lsn.parse().ok()).expect("a position");
    let start = |timeout: &str| {
        let mut wire = Wire::open(&cluster);
        let options = format!("-c wal_sender_timeout={timeout}");
        let parameters = [("user", "postgres"), ("replication", "true"), ("options", &options)];
        assert_eq!(wire.start_session(&parameters), [""; 0]);
        let command = format!("START_REPLICATION {} TIMELINE 1", Lsn(switch.0 - 8));
        let mut stream = Stream::try_start(wire, &command).expect("a stream");
        assert!(matches!(stream.next(), Event::Wal { .. }));
        assert_eq!(stream.next(), Event::Done);
        stream
    };
    let mut stream = start("60s");
    cluster.wait_until_asleep(stream.wire.pid);
    // Even if it is asked for a keepalive.
    stream.reply([switch; 3], true);
    stream.wire.send_message(b'c', b"");
    let Event::Answer(lines) = stream.next() else { panic!("something comes after CopyDone") };
    assert_eq!(lines.last().map(String::as_str), Some("START_REPLICATION"), "{lines:?}");
    let mut stream = start("1s");
    assert_eq!(stream.rest(), ["EOF"]);
    cluster.wait_for_log("terminating walsender process due to replication timeout");
}
