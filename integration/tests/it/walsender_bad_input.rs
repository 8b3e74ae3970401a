//! Clients that follow and do it wrong: nonsense in a stream, positions that are not there, slots that are lost,
//! connections that break, and walsenders that are sent away.

use std::fs;
use std::path::PathBuf;

use common::Lsn;
use integration::{Cluster, Stop, Wire, on_each_server, real_postgres, skip, wait_until};
use nix::sys::signal::Signal;

use crate::replication_support::{
    Event, Program, SEGMENT_BYTES, Stream, ask, client, ended, flushed, folder, replication_session, rows,
    started_primary, switch_segment, wait_for_answer, wait_for_no_walsender, wait_for_position,
    wait_for_state, walsender_pid, write_wal,
};

/// More than the buffers of a connection over TCP hold.
const MUCH: usize = 24_000;

fn start_of_segment(lsn: Lsn) -> Lsn {
    Lsn(lsn.0 / SEGMENT_BYTES * SEGMENT_BYTES)
}

fn segment(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.data_dir().join("pg_wal").join(name)
}

/// Writes and checkpoints until a segment is gone.
#[track_caller]
fn remove_segment(cluster: &Cluster, name: &str) {
    wait_until(&format!("{name} is removed"), || {
        for _ in 0..3 {
            switch_segment(cluster);
        }
        ask(cluster, "CHECKPOINT");
        !segment(cluster, name).exists()
    });
}

/// No process has crashed, and a client that behaves is served.
#[track_caller]
fn still_serves(cluster: &Cluster) {
    wait_for_no_walsender(cluster);
    let start = flushed(cluster);
    let mut stream = Stream::start(cluster, start);
    let end = write_wal(cluster, 20);
    stream.read_to(end);
    stream.confirm();
    wait_for_position(cluster, "by_hand", "flush_lsn", end);
    drop(stream);
    let log = cluster.log();
    assert!(!log.contains("was terminated by signal") && !log.contains("PANIC"), "{log}");
}

#[test]
fn garbage_in_a_stream() {
    let seed = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PGANATOMY_SEED={seed}");
    on_each_server("garbage in a stream", |server| {
        let cluster = started_primary(server, &["wal_keep_size = '64MB'"]);
        write_wal(&cluster, 200);
        let start = start_of_segment(flushed(&cluster));
        let mut rng = fastrand::Rng::with_seed(seed);
        // Messages that are messages, with anything in them.
        for round in 0..60 {
            let mut stream = Stream::start(&cluster, start);
            for _ in 0..8 {
                let mut body: Vec<u8> = (0..rng.usize(0..60)).map(|_| rng.u8(..)).collect();
                if let Some(first) = body.first_mut().filter(|_| round % 2 == 0) {
                    *first = if rng.bool() { b'r' } else { b'h' };
                }
                stream.wire.send_message(b'd', &body);
            }
            stream.wire.no_more();
            let rest = stream.rest();
            assert!(!rest.is_empty(), "seed {seed}");
        }
        // And bytes that are none.
        for _ in 0..30 {
            let mut stream = Stream::start(&cluster, start);
            let bytes: Vec<u8> = (0..rng.usize(1..400)).map(|_| rng.u8(..)).collect();
            stream.wire.send(&bytes);
            stream.wire.no_more();
            assert!(!stream.rest().is_empty(), "seed {seed}");
        }
        wait_for_no_walsender(&cluster);
        still_serves(&cluster);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// Each in a stream of its own: the answer, and whether the session goes on.
#[test]
fn messages_that_cannot_be() {
    on_each_server("messages that cannot be", |server| {
        let cluster = started_primary(server, &["log_line_prefix = ''"]);
        let start = flushed(&cluster);
        let eof = ["EOF"].as_slice();
        let cut_short = "ERROR:  08P01: insufficient data left in message";
        let empty = "ERROR:  08P01: no data left in message";
        let long_reply = vec![b'r'; 200];
        for (kind, body, answer, logged) in [
            (b'd', &b""[..], &[empty][..], "no data left in message"),
            (b'd', b"r", &[cut_short], "insufficient data left in message"),
            (b'd', b"h123", &[cut_short], "insufficient data left in message"),
            (b'd', b"w", eof, "unexpected message type \"w\""),
            (b'd', b"\0\0", eof, "unexpected message type"),
            (
                b'S',
                b"",
                &["FATAL:  08P01: invalid standby message type \"S\"", "EOF"],
                "invalid standby message",
            ),
            (
                b'P',
                b"\0\0\0",
                &["FATAL:  08P01: invalid standby message type \"P\"", "EOF"],
                "invalid standby",
            ),
        ] {
            cluster.mark_log();
            let mut stream = Stream::start(&cluster, start);
            stream.wire.send_message(kind, body);
            assert_eq!(stream.rest(), answer, "{:?} {body:?}", char::from(kind));
            if answer.last() != Some(&"EOF") {
                assert_eq!(stream.wire.query("IDENTIFY_SYSTEM").len(), 2, "the session goes on");
            }
            drop(stream);
            wait_for_no_walsender(&cluster);
            cluster.wait_for_new_log(logged);
        }
        // More than a reply has is not looked at.
        let mut stream = Stream::start(&cluster, start);
        stream.wire.send_message(b'd', &long_reply);
        stream.reply([start; 3], true);
        assert!(matches!(stream.next(), Event::Keepalive { .. }));
        drop(stream);
        // A length that no message has.
        for length in [0_u32, 3, 0x7fff_ffff, u32::MAX] {
            cluster.mark_log();
            let mut stream = Stream::start(&cluster, start);
            stream.wire.send(&[&b"d"[..], &length.to_be_bytes()].concat());
            assert_eq!(stream.rest(), eof, "{length}");
            cluster.wait_for_new_log("LOG:  invalid message length");
        }
        still_serves(&cluster);
    });
}

/// WAL that is gone is said to be gone, at the start and in the middle.
#[test]
fn a_segment_that_is_removed() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("a removed segment", |server| {
        let cluster = started_primary(server, &["max_wal_size = '4MB'", "min_wal_size = '2MB'"]);
        // pg_receivewal takes a folder with nothing but segment 0 for an empty one.
        switch_segment(&cluster);
        let start = start_of_segment(flushed(&cluster));
        let name = switch_segment(&cluster);
        remove_segment(&cluster, &name);
        let gone = format!("ERROR:  58P01: requested WAL segment {name} has already been removed");
        let mut stream = Stream::start(&cluster, start);
        assert_eq!(stream.rest(), std::slice::from_ref(&gone));
        assert_eq!(stream.wire.query("IDENTIFY_SYSTEM").len(), 2, "the session goes on");
        drop(stream);
        let dir = folder(&cluster, "received");
        // A client that has an older one wants the next.
        let previous =
            format!("{}{:08X}", &name[..16], u32::from_str_radix(&name[16..], 16).expect("hex") - 1);
        fs::write(dir.join(&previous), vec![0; SEGMENT_BYTES as usize]).expect("own file");
        let mut receive = client(&cluster, "pg_receivewal", &["--no-loop", "-D"]);
        let (code, said) = ended(receive.arg(&dir));
        let complaint = format!("ERROR:  requested WAL segment {name} has already been removed");
        assert!(code == Some(1) && said.contains(&complaint), "{said}");

        // In the middle: a client that does not read falls behind.
        let start = flushed(&cluster);
        let mut stream = Stream::start(&cluster, start);
        write_wal(&cluster, MUCH);
        ask(&cluster, "CHECKPOINT");
        switch_segment(&cluster);
        ask(&cluster, "CHECKPOINT");
        let answer = stream.rest();
        // By then the file is missing, or it was read and is known to be another one.
        let requested = ["58P01", "XX000"].map(|code| format!("ERROR:  {code}: requested WAL segment 0000"));
        assert!(requested.iter().any(|text| answer[0].starts_with(text)), "{answer:?}");
        assert!(answer[0].ends_with(" has already been removed"), "{answer:?}");
        drop(stream);
        still_serves(&cluster);
    });
}

/// Slots that are not there, or not for this one.
#[test]
fn slots_that_cannot_be_used() {
    on_each_server("slots that cannot be used", |server| {
        let cluster = started_primary(server, &["max_replication_slots = 2"]);
        let start = flushed(&cluster);
        let attempt = |command: &str| {
            let mut wire = replication_session(&cluster, "true");
            let answer = wire.query(command);
            assert_eq!(wire.query("IDENTIFY_SYSTEM").len(), 2, "after {answer:?}");
            answer
        };
        let starting = |slot: &str| format!("START_REPLICATION SLOT {slot} {start}");
        assert_eq!(attempt(&starting("none")), ["ERROR:  42704: replication slot \"none\" does not exist"]);
        for name in ["one", "two"] {
            ask(&cluster, &format!("SELECT pg_create_physical_replication_slot('{name}', true)"));
        }
        let full = [
            "ERROR:  53400: all replication slots are in use",
            "HINT:  Free one or increase max_replication_slots.",
        ];
        assert_eq!(attempt("CREATE_REPLICATION_SLOT three PHYSICAL"), full);
        let mut session = Wire::connect(&cluster);
        assert_eq!(session.query("SELECT pg_create_physical_replication_slot('three')"), full);
        let wire = replication_session(&cluster, "true");
        let stream = Stream::try_start(wire, &starting("one")).expect("a stream");
        let pid = stream.wire.pid;
        let active = format!("ERROR:  55006: replication slot \"one\" is active for PID {pid}");
        for command in [starting("one"), "DROP_REPLICATION_SLOT one".to_owned()] {
            assert_eq!(attempt(&command), std::slice::from_ref(&active), "{command}");
        }
        for sql in ["pg_drop_replication_slot('one')", "pg_replication_slot_advance('one', '0/FF000000')"] {
            assert_eq!(session.query(&format!("SELECT {sql}")), std::slice::from_ref(&active), "{sql}");
        }
        // One that waits gets it when it is free.
        let mut waiting = replication_session(&cluster, "true");
        waiting.begin("DROP_REPLICATION_SLOT one WAIT");
        let waits = format!("SELECT wait_event FROM pg_stat_activity WHERE pid = {}", waiting.pid);
        wait_for_answer(&cluster, &waits, "ReplicationSlotDrop");
        drop(stream);
        assert_eq!(waiting.answer(), ["DROP_REPLICATION_SLOT"]);
        waiting.quit();
        assert_eq!(ask(&cluster, "SELECT slot_name FROM pg_replication_slots"), "two");
        // What is no business of a server without logical replication.
        for command in [
            "CREATE_REPLICATION_SLOT logical LOGICAL pgoutput",
            "CREATE_REPLICATION_SLOT logical TEMPORARY LOGICAL test_decoding (SNAPSHOT 'nothing')",
            &format!("START_REPLICATION SLOT two LOGICAL {start}"),
            &format!("START_REPLICATION SLOT two LOGICAL {start} (proto_version '1', publication_names 'p')"),
        ] {
            let answer = attempt(command);
            assert!(answer[0].starts_with("ERROR:  "), "{command}: {answer:?}");
            assert_eq!(ask(&cluster, "SELECT count(*), bool_or(active) FROM pg_replication_slots"), "1|f");
        }
        still_serves(&cluster);
    });
}

/// `max_slot_wal_keep_size`: a slot that holds back too much is given up, and whoever uses it is sent away.
#[test]
fn a_slot_that_is_lost() {
    on_each_server("a lost slot", |server| {
        let config = ["max_slot_wal_keep_size = '3MB'", "min_wal_size = '2MB'"];
        let cluster = started_primary(server, &[&config[..], &["log_line_prefix = ''"]].concat());
        let status = "SELECT wal_status, safe_wal_size IS NULL FROM pg_replication_slots";
        ask(&cluster, "SELECT pg_create_physical_replication_slot('kept', true)");
        assert_eq!(ask(&cluster, status), "reserved|f");
        let start = ask(&cluster, "SELECT restart_lsn FROM pg_replication_slots");
        let held = ask(&cluster, &format!("SELECT pg_walfile_name('{start}'::pg_lsn)"));
        write_wal(&cluster, 1000);
        ask(&cluster, "CHECKPOINT");
        assert!(segment(&cluster, &held).exists(), "it is held back");
        write_wal(&cluster, 6000);
        assert_eq!(ask(&cluster, status), "unreserved|f");
        ask(&cluster, "CHECKPOINT");
        assert_eq!(ask(&cluster, status), "lost|t");
        let lost = format!(
            "LOG:  invalidating slot \"kept\" because its restart_lsn {start} exceeds max_slot_wal_keep_size"
        );
        cluster.wait_for_log(&lost);
        assert!(!segment(&cluster, &held).exists());
        assert_eq!(ask(&cluster, "SELECT restart_lsn IS NULL, active FROM pg_replication_slots"), "t|f");
        let mut session = Wire::connect(&cluster);
        let advance = session.query("SELECT pg_replication_slot_advance('kept', '0/FF000000')");
        assert_eq!(
            advance,
            [
                "ERROR:  55000: replication slot \"kept\" cannot be advanced",
                "DETAIL:  This slot has never previously reserved WAL, or it has been invalidated."
            ]
        );
        // It is lost for good, as a restart finds it.
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.start();
        assert_eq!(ask(&cluster, status), "lost|t");
        ask(&cluster, "SELECT pg_drop_replication_slot('kept')");

        // The same with a client that does not read.
        ask(&cluster, "SELECT pg_create_physical_replication_slot('used', true)");
        let start = ask(&cluster, "SELECT restart_lsn FROM pg_replication_slots");
        let wire = replication_session(&cluster, "true");
        let command = format!("START_REPLICATION SLOT used {start}");
        let mut stream = Stream::try_start(wire, &command).expect("a stream");
        let pid = stream.wire.pid;
        write_wal(&cluster, MUCH);
        // A checkpoint waits for it, and it may have to tell its client first.
        let mut session = Wire::connect(&cluster);
        session.begin("CHECKPOINT");
        cluster
            .wait_for_log(&format!("LOG:  terminating process {pid} to release replication slot \"used\""));
        let farewell = stream.rest();
        let killed = "FATAL:  57P01: terminating connection due to administrator command";
        // It may not even be able to say so.
        assert!(farewell == [killed, "EOF"] || farewell == ["EOF"], "{farewell:?}");
        assert_eq!(session.answer(), ["CHECKPOINT"]);
        wait_for_answer(&cluster, "SELECT wal_status, active FROM pg_replication_slots", "lost|f");
        still_serves(&cluster);
    });
}

/// Cut off while much is on its way.
#[test]
fn a_connection_that_breaks() {
    on_each_server("a connection that breaks", |server| {
        let cluster = started_primary(server, &["wal_keep_size = '128MB'"]);
        let start = start_of_segment(flushed(&cluster));
        ask(&cluster, "SELECT pg_create_physical_replication_slot('kept')");
        write_wal(&cluster, MUCH);
        for round in 0..10 {
            cluster.mark_log();
            let wire = replication_session(&cluster, "true");
            let command = format!("START_REPLICATION SLOT kept {start}");
            let mut stream = Stream::try_start(wire, &command).expect("a stream");
            for _ in 0..round {
                assert!(matches!(stream.next(), Event::Wal { .. } | Event::Keepalive { .. }));
            }
            if round % 2 == 0 {
                stream.wire.no_more();
            }
            drop(stream);
            wait_for_no_walsender(&cluster);
            let log = cluster.new_log();
            let told =
                ["unexpected EOF on standby connection", "connection to client lost", "could not send data"];
            assert!(told.iter().any(|text| log.contains(text)), "{log}");
            assert_eq!(ask(&cluster, "SELECT active FROM pg_replication_slots"), "f");
        }
        still_serves(&cluster);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// A client that never reads, and one that never answers: `wal_sender_timeout` ends both.
#[test]
fn a_client_that_is_too_slow() {
    on_each_server("wal_sender_timeout", |server| {
        for kilobytes in [MUCH, 20] {
            let cluster = started_primary(server, &["wal_sender_timeout = '1s'", "wal_keep_size = '64MB'"]);
            let start = flushed(&cluster);
            let mut stream = Stream::start(&cluster, start);
            write_wal(&cluster, kilobytes);
            cluster.wait_for_log("LOG:  terminating walsender process due to replication timeout");
            wait_for_no_walsender(&cluster);
            // Nothing more is said.
            assert_eq!(stream.rest(), ["EOF"]);
            // Without a timeout nobody is sent away: here by the client's own setting.
            let mut wire = Wire::open(&cluster);
            let parameters =
                [("user", "postgres"), ("replication", "true"), ("options", "-c wal_sender_timeout=0")];
            assert_eq!(wire.start_session(&parameters), [""; 0]);
            let start = flushed(&cluster);
            let mut stream =
                Stream::try_start(wire, &format!("START_REPLICATION {start}")).expect("a stream");
            let impatient = Stream::start(&cluster, start);
            let pid = impatient.wire.pid;
            wait_until("the other is sent away", || cluster.title(pid).is_empty());
            let end = write_wal(&cluster, 10);
            stream.read_to(end);
        }
    });
}

/// What signals by hand do, and functions.
#[test]
fn sent_away() {
    on_each_server("a walsender is sent away", |server| {
        let cluster = started_primary(server, &[]);
        let start = flushed(&cluster);
        let terminated = ["FATAL:  57P01: terminating connection due to administrator command", "EOF"];
        let canceled = ["ERROR:  57014: canceling statement due to user request"];
        let streaming = || {
            let stream = Stream::start(&cluster, start);
            wait_for_state(&cluster, "by_hand", "streaming");
            cluster.wait_until_asleep(stream.wire.pid);
            stream
        };
        for (how, expected) in [
            ("SIGTERM", &terminated[..]),
            ("pg_terminate_backend", &terminated),
            ("SIGINT", &canceled),
            ("pg_cancel_backend", &canceled),
            ("cancel request", &canceled),
        ] {
            let mut stream = streaming();
            let pid = stream.wire.pid;
            match how {
                "SIGTERM" => cluster.signal(pid, Signal::SIGTERM),
                "SIGINT" => cluster.signal(pid, Signal::SIGINT),
                "cancel request" => stream.wire.cancel(&cluster),
                function => assert_eq!(ask(&cluster, &format!("SELECT {function}({pid})")), "t"),
            }
            assert_eq!(stream.rest(), expected, "{how}");
            if expected == canceled {
                // The session goes on, and can stream again.
                assert_eq!(stream.wire.query("IDENTIFY_SYSTEM").len(), 2);
                let command = format!("START_REPLICATION {start}");
                let mut stream = Stream::try_start(stream.wire, &command).expect("a stream");
                let end = write_wal(&cluster, 10);
                stream.read_to(end);
            }
            wait_for_no_walsender(&cluster);
        }
        // The signal of a stop, without one: it ends well when all is confirmed.
        let mut stream = streaming();
        cluster.mark_log();
        cluster.signal(stream.wire.pid, Signal::SIGUSR2);
        stream.read_to(flushed(&cluster));
        stream.confirm();
        assert_eq!(stream.rest(), ["COPY 0", "EOF"]);
        wait_for_no_walsender(&cluster);
        assert_eq!(cluster.new_log(), "");
        still_serves(&cluster);
    });
}

/// SIGKILL is a crash as any other: all sessions end, and a client comes back to a recovered server.
#[test]
fn killed() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("a killed walsender", |server| {
        let cluster = started_primary(server, &["wal_keep_size = '64MB'", "log_line_prefix = ''"]);
        let dir = folder(&cluster, "received");
        let receiver = Program::receivewal(&cluster, "follower", &dir, &["-s", "1"]);
        wait_for_state(&cluster, "follower", "streaming");
        let mut session = Wire::connect(&cluster);
        rows(&mut session, "CREATE TABLE t AS SELECT 1 AS id");
        let pid = walsender_pid(&cluster);
        cluster.mark_log();
        cluster.kill(pid);
        let log = cluster.wait_for_new_log("database system is ready to accept connections");
        assert!(
            log.contains(&format!("LOG:  server process (PID {pid}) was terminated by signal 9: Killed")),
            "{log}"
        );
        assert!(log.contains("DETAIL:  Failed process was running: START_REPLICATION 0/"), "{log}");
        assert!(log.contains("LOG:  terminating any other active server processes"), "{log}");
        assert_eq!(session.query("SELECT 1").last().map(String::as_str), Some("EOF"));
        assert_eq!(ask(&cluster, "SELECT count(*) FROM t"), "1");
        receiver.wait_until_says("disconnected; waiting 5 seconds to try again");
        wait_for_state(&cluster, "follower", "streaming");
        let end = write_wal(&cluster, 100);
        wait_for_position(&cluster, "follower", "write_lsn", end);
        receiver.interrupt();
        crate::receivewal::same_as_the_server(&cluster, &dir, end);
    });
}
