//! What a replicating session says, message by message: the same of both servers.
//!
//! The conversations are in `walsender/`, in the language of `protocol.rs`. `START` there is a position where a segment
//! begins; what changes from cluster to cluster has become a word: `LSN`, `SYSTEM`, `SEGMENT`.

use std::fs;

use common::Lsn;
use integration::{Cluster, Server, Stop, Wire, on_each_server, wait_until};
use nix::sys::signal::Signal;
use regex::Regex;

use crate::replication_support::{
    Event, SEGMENT_BYTES, Stream, ask, flushed, primary_with, replication_session, rows, started_primary,
    switch_segment, title_of_15, wait_for_answer, wait_for_no_walsender, wait_for_position, wait_for_state,
    walsender_pid, walsender_pids, write_wal,
};
use crate::{protocol, transcript};

/// Words for what is each cluster's own.
const VARYING: [(&str, &str); 5] = [
    (r"\bx:31[0-9a-f]{30,}", "HISTORY"),
    (r"\b[0-9A-F]{1,8}/[0-9A-F]{1,8}\b", "LSN"),
    (r"\b\d{18,20}\b", "SYSTEM"),
    (r"\bPID \d+", "PID N"),
    (r"\b0000000[1-9][0-9A-F]{16}\b", "SEGMENT"),
];

/// A file of `walsender/` as this server answers it, with positions for some words.
fn check_with(cluster: &Cluster, name: &str, positions: &[(&str, Lsn)]) {
    let file = format!("walsender/{name}.txt");
    let script = transcript::read(&file);
    let own: Vec<&str> = script.lines().filter(|line| !line.starts_with("< ")).collect();
    let with_positions = |line: &&str| {
        let words = line.split(' ').map(|word| {
            let known = positions.iter().find(|(name, _)| *name == word.trim_end_matches(';'));
            known.map_or_else(|| word.to_owned(), |(_, lsn)| lsn.to_string())
        });
        words.collect::<Vec<_>>().join(" ")
    };
    let spoken: Vec<String> = own.iter().map(with_positions).collect();
    let said = protocol::play(cluster, &spoken.join("\n"));
    // The client's lines as they are written, the server's in words.
    let mut own = own.into_iter();
    let lines = said.lines().map(|line| {
        if line.starts_with("< ") {
            VARYING.iter().fold(line.to_owned(), |line, (pattern, word)| {
                Regex::new(pattern).expect("a valid pattern").replace_all(&line, *word).into_owned()
            })
        } else {
            own.next().expect("the same lines").to_owned()
        }
    });
    transcript::check(&file, cluster.server(), &lines.map(|line| line + "\n").collect::<String>());
}

/// The same where only `START` is meant: the beginning of the segment that is written to.
fn check(cluster: &Cluster, name: &str) {
    check_with(cluster, name, &[("START", start_of_segment(flushed(cluster)))]);
}

fn start_of_segment(lsn: Lsn) -> Lsn {
    Lsn(lsn.0 / SEGMENT_BYTES * SEGMENT_BYTES)
}

/// A primary for conversations: what depends on the locale is the same everywhere.
fn talking(server: Server) -> Cluster {
    let cluster = primary_with(server, &["-E", "UTF8", "--locale=C.UTF-8"], &["wal_keep_size = '64MB'"]);
    cluster.start();
    cluster
}

#[test]
fn commands() {
    on_each_server("replication commands", |server| check(&talking(server), "commands"));
}

#[test]
fn sql_in_a_database() {
    on_each_server("replication in a database", |server| check(&talking(server), "database"));
}

#[test]
fn slots() {
    on_each_server("replication slots", |server| {
        let cluster = talking(server);
        check(&cluster, "slots");
        wait_for_answer(&cluster, "SELECT count(*) FROM pg_replication_slots", "0");
    });
}

#[test]
fn streams() {
    on_each_server("replication streams", |server| {
        let cluster = talking(server);
        write_wal(&cluster, 300);
        check(&cluster, "streams");
        wait_for_no_walsender(&cluster);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// Two timelines in one server.
#[test]
fn timelines() {
    on_each_server("replication and timelines", |server| {
        let cluster = talking(server);
        write_wal(&cluster, 2100);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.append_config("restore_command = 'false'");
        cluster.write_file("recovery.signal", "");
        cluster.start();
        wait_for_answer(&cluster, "SELECT pg_is_in_recovery()", "f");
        // The next timeline is one that is not written to for less than a segment.
        write_wal(&cluster, 2100);
        let history =
            fs::read_to_string(cluster.data_dir().join("pg_wal/00000002.history")).expect("a history");
        let switch = history.split_whitespace().nth(1).and_then(|lsn| lsn.parse().ok()).expect("a position");
        let (start, beyond) = (start_of_segment(switch), flushed(&cluster));
        let mut session = replication_session(&cluster, "true");
        assert_eq!(rows(&mut session, "TIMELINE_HISTORY 2"), [format!("00000002.history|{history}")]);
        session.quit();
        check_with(&cluster, "timelines", &[("START", start), ("SWITCH", switch), ("BEYOND", beyond)]);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

/// WAL as it is in the files, in messages that end where pages end or WAL does.
#[test]
fn bytes_of_a_stream() {
    on_each_server("bytes of a stream", |server| {
        let cluster = started_primary(server, &["wal_keep_size = '64MB'"]);
        let first = switch_segment(&cluster);
        let start = Lsn(start_of_segment(flushed(&cluster)).0 - SEGMENT_BYTES);
        write_wal(&cluster, 1500);
        let mut stream = Stream::start(&cluster, start);
        let mut bytes = Vec::new();
        let end = flushed(&cluster);
        while stream.received < end {
            let before = if bytes.is_empty() { start } else { stream.received };
            match stream.next() {
                Event::Wal { start, end, bytes: more } => {
                    assert_eq!(start, before, "no gap and nothing twice");
                    assert!(!more.is_empty() && more.len() <= 128 * 1024, "{} bytes", more.len());
                    assert!(end >= stream.received, "{end} is what there was to send");
                    assert!(stream.received.0.is_multiple_of(8192) || stream.received == end, "half a page");
                    bytes.extend(more);
                }
                Event::Keepalive { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        let second =
            format!("{}{:08X}", &first[..16], u32::from_str_radix(&first[16..], 16).expect("hex") + 1);
        for (number, name) in [first, second].iter().enumerate() {
            let file = fs::read(cluster.data_dir().join("pg_wal").join(name)).expect("a segment");
            let at = number * SEGMENT_BYTES as usize;
            let sent = &bytes[at..bytes.len().min(at + SEGMENT_BYTES as usize)];
            assert!(sent == &file[..sent.len()], "{name} differs from what was sent");
        }

        // What is written now comes by itself.
        let end = write_wal(&cluster, 20);
        stream.read_to(end);
        wait_for_state(&cluster, "by_hand", "streaming");
        let title = title_of_15(&cluster.title(walsender_pid(&cluster)));
        let client = title.strip_prefix("postgres: walsender postgres 127.0.0.1(").expect("a title");
        assert_eq!(client.split_once(") ").expect("a title").1, format!("streaming {}", stream.received));
    });
}

/// What a standby tells is what the view shows; an answer is given when it is asked for.
#[test]
fn replies() {
    on_each_server("replies of a standby", |server| {
        let cluster = started_primary(server, &[]);
        let start = flushed(&cluster);
        let mut stream = Stream::start(&cluster, start);
        let end = write_wal(&cluster, 300);
        stream.read_to(end);
        let of_view = "usename, application_name, client_addr, client_hostname IS NULL, client_port > 0, \
                       backend_start <= now(), backend_xmin IS NULL, state, write_lsn, flush_lsn, replay_lsn, \
                       write_lag IS NULL, sync_priority, sync_state, reply_time";
        let shown = |columns: &str| ask(&cluster, &format!("SELECT {columns} FROM pg_stat_replication"));
        wait_for_state(&cluster, "by_hand", "streaming");
        assert_eq!(
            shown(of_view),
            "postgres|by_hand|127.0.0.1|t|t|t|t|streaming||||t|0|async|",
            "nothing was told"
        );
        let of = |back: u64| Lsn(end.0 - back);
        stream.reply([of(0), of(1000), of(2000)], true);
        match wait_for_keepalive(&mut stream) {
            Event::Keepalive { end: told, reply } => assert!(told >= end && !reply),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            shown("state, write_lsn, flush_lsn, replay_lsn, write_lag IS NULL, reply_time"),
            format!("streaming|{}|{}|{}|f|2000-01-01 00:00:01+00", of(0), of(1000), of(2000))
        );
        // Backwards, and nowhere: it is taken as it is told.
        stream.reply([of(5000), Lsn(0), Lsn(0)], true);
        wait_for_keepalive(&mut stream);
        assert_eq!(shown("write_lsn, flush_lsn, replay_lsn"), format!("{}||", of(5000)));

        // Feedback about snapshots.
        let mut session = Wire::connect(&cluster);
        rows(&mut session, "BEGIN");
        let xid: u32 = rows(&mut session, "SELECT pg_current_xact_id()")[0].parse().expect("a number");
        feedback(&mut stream, xid);
        wait_for_answer(&cluster, "SELECT backend_xmin FROM pg_stat_replication", &xid.to_string());
        feedback(&mut stream, 0);
        wait_for_answer(&cluster, "SELECT backend_xmin IS NULL FROM pg_stat_replication", "t");
        // One of the future, or too old to be true, is not believed.
        feedback(&mut stream, xid);
        wait_for_answer(&cluster, "SELECT backend_xmin FROM pg_stat_replication", &xid.to_string());
        feedback(&mut stream, xid + 1_000_000);
        stream.reply([of(0); 3], true);
        wait_for_keepalive(&mut stream);
        assert_eq!(shown("backend_xmin"), xid.to_string());
        drop(stream);
        wait_for_no_walsender(&cluster);
    });
}

/// A standby's word about the oldest transaction that its queries see.
fn feedback(stream: &mut Stream, xmin: u32) {
    let mut body = vec![b'h'];
    body.extend(0_i64.to_be_bytes());
    for word in [xmin, 0, 0, 0] {
        body.extend(word.to_be_bytes());
    }
    stream.wire.send_message(b'd', &body);
}

#[track_caller]
fn wait_for_keepalive(stream: &mut Stream) -> Event {
    loop {
        match stream.next() {
            Event::Wal { .. } => {}
            other => return other,
        }
    }
}

/// A client that says nothing is asked, and a slot remembers what was said.
#[test]
fn a_slot_remembers() {
    on_each_server("a slot remembers", |server| {
        let cluster = started_primary(server, &["wal_keep_size = '64MB'"]);
        ask(&cluster, "SELECT pg_create_physical_replication_slot('kept')");
        let slot = |columns: &str| ask(&cluster, &format!("SELECT {columns} FROM pg_replication_slots"));
        assert_eq!(slot("restart_lsn IS NULL, xmin IS NULL, active"), "t|t|f");
        let start = flushed(&cluster);
        let wire = replication_session(&cluster, "true");
        let command = format!("START_REPLICATION SLOT kept {start} TIMELINE 1");
        let mut stream = Stream::try_start(wire, &command).expect("a stream");
        let end = write_wal(&cluster, 30);
        stream.read_to(end);
        assert_eq!(slot("active, active_pid"), format!("t|{}", walsender_pid(&cluster)));
        // Written is not flushed.
        stream.reply([end, Lsn(0), Lsn(0)], true);
        wait_for_keepalive(&mut stream);
        assert_eq!(slot("restart_lsn IS NULL"), "t");
        stream.reply([end, start, start], true);
        wait_for_keepalive(&mut stream);
        assert_eq!(slot("restart_lsn"), start.to_string());
        stream.confirm();
        let confirmed = stream.received.to_string();
        wait_for_answer(&cluster, "SELECT restart_lsn FROM pg_replication_slots", &confirmed);
        // A snapshot's horizon is the slot's, and stays when the client is gone.
        let mut session = Wire::connect(&cluster);
        rows(&mut session, "BEGIN");
        let xid: u32 = rows(&mut session, "SELECT pg_current_xact_id()")[0].parse().expect("a number");
        feedback(&mut stream, xid);
        wait_for_answer(&cluster, "SELECT xmin FROM pg_replication_slots", &xid.to_string());
        assert_eq!(ask(&cluster, "SELECT backend_xmin IS NULL FROM pg_stat_replication"), "t");
        drop(stream);
        wait_for_no_walsender(&cluster);
        assert_eq!(slot("active, xmin"), format!("f|{xid}"));
        rows(&mut session, "ROLLBACK");
        session.quit();
        // It survives a stop; a stop that is none, from the last checkpoint on.
        for how in [Stop::Fast, Stop::Immediate] {
            ask(&cluster, "CHECKPOINT");
            assert_eq!(cluster.stop(how).code(), Some(0));
            cluster.start();
            assert_eq!(slot("restart_lsn, xmin"), format!("{confirmed}|{xid}"), "{how:?}");
        }
    });
}

/// Half of `wal_sender_timeout` without a word: the server asks.
#[test]
fn asked_for_a_reply() {
    on_each_server("asked for a reply", |server| {
        let cluster = started_primary(server, &["wal_sender_timeout = '2s'"]);
        let start = flushed(&cluster);
        let mut stream = Stream::start(&cluster, start);
        for _ in 0..3 {
            let asked = loop {
                match stream.next() {
                    Event::Keepalive { reply: true, .. } => break true,
                    Event::Keepalive { .. } | Event::Wal { .. } => {}
                    other => panic!("{other:?}\n{}", cluster.log()),
                }
            };
            assert!(asked);
            stream.received = stream.received.max(start);
            stream.confirm();
        }
        wait_for_position(&cluster, "by_hand", "flush_lsn", start);
        assert!(!cluster.log().contains("replication timeout"), "{}", cluster.log());
    });
}

/// A connection that asks for replication of a kind, and what it was told.
fn attempt(cluster: &Cluster, user: &str, kind: &str) -> (Wire, Vec<String>) {
    let mut wire = Wire::open(cluster);
    let answer = wire.start_session(&[("user", user), ("database", "postgres"), ("replication", kind)]);
    (wire, answer)
}

/// Who may: the privilege, and a place.
#[test]
fn who_may_replicate() {
    on_each_server("who may replicate", |server| {
        let cluster = started_primary(server, &["max_wal_senders = 2"]);
        for role in ["plain LOGIN", "copier LOGIN REPLICATION", "silent REPLICATION"] {
            ask(&cluster, &format!("CREATE ROLE {role}"));
        }
        let said = |user: &str, kind: &str| attempt(&cluster, user, kind).1;
        for kind in ["true", "database"] {
            assert_eq!(
                said("plain", kind),
                ["FATAL:  42501: must be superuser or replication role to start walsender", "EOF"]
            );
            assert_eq!(
                said("silent", kind),
                ["FATAL:  28000: role \"silent\" is not permitted to log in", "EOF"]
            );
            assert_eq!(said("copier", kind), [""; 0]);
            assert_eq!(said("plain", "false"), [""; 0]);
            wait_until_walsenders_are(&cluster, 0);
        }
        // No more than there are places.
        let two = ["copier", "postgres"].map(|user| attempt(&cluster, user, "true"));
        wait_until_walsenders_are(&cluster, 2);
        let none_left = [
            "FATAL:  53300: number of requested standby connections exceeds max_wal_senders (currently 2)",
            "EOF",
        ];
        assert_eq!(said("copier", "true"), none_left);
        assert_eq!(said("copier", "database"), none_left);
        drop(two);
        wait_until_walsenders_are(&cluster, 0);
        assert_eq!(said("copier", "true"), [""; 0]);
    });
}

/// The word `replication` in pg_hba.conf.
#[test]
fn who_is_let_in() {
    on_each_server("who is let in to replicate", |server| {
        let cluster = started_primary(server, &[]);
        ask(&cluster, "CREATE ROLE copier LOGIN REPLICATION");
        let said = |user: &str, kind: &str| attempt(&cluster, user, kind).1;
        // `all` means no replication.
        cluster.write_file("pg_hba.conf", "host all all 127.0.0.1/32 trust\nlocal all all trust\n");
        cluster.signal_postmaster(Signal::SIGHUP);
        cluster.wait_for_log("received SIGHUP, reloading configuration files");
        let mut last = Vec::new();
        wait_until("the file counts", || {
            last = said("postgres", "true");
            !last.is_empty()
        });
        assert_eq!(
            last,
            [
                "FATAL:  28000: no pg_hba.conf entry for replication connection from host \"127.0.0.1\", user \"postgres\", no encryption",
                "EOF"
            ]
        );
        // In a database it is an entry for the database that counts.
        assert_eq!(said("postgres", "database"), [""; 0]);
        let lines =
            ["host replication copier 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 reject"];
        cluster.write_file(
            "pg_hba.conf",
            &format!("{}\nhost all postgres 127.0.0.1/32 trust\n", lines.join("\n")),
        );
        cluster.signal_postmaster(Signal::SIGHUP);
        wait_until("the file counts", || said("copier", "true").is_empty());
        assert_eq!(
            said("postgres", "true"),
            [
                "FATAL:  28000: pg_hba.conf rejects replication connection for host \"127.0.0.1\", user \"postgres\", no encryption",
                "EOF"
            ]
        );
        assert_eq!(said("postgres", "false"), [""; 0]);
    });
}

#[track_caller]
fn wait_until_walsenders_are(cluster: &Cluster, count: usize) {
    wait_until(&format!("{count} walsenders"), || walsender_pids(cluster).len() == count);
}

/// Without places for walsenders there are none, and WAL may be minimal.
#[test]
fn no_walsenders_at_all() {
    on_each_server("no walsenders at all", |server| {
        let cluster = started_primary(server, &["wal_level = minimal", "max_wal_senders = 0"]);
        let mut wire = Wire::open(&cluster);
        assert_eq!(
            wire.start_session(&[("user", "postgres"), ("replication", "true")]),
            [
                "FATAL:  53300: number of requested standby connections exceeds max_wal_senders (currently 0)",
                "EOF"
            ]
        );
        assert_eq!(
            Wire::connect(&cluster).query("SELECT pg_create_physical_replication_slot('x')"),
            ["ERROR:  55000: replication slots can only be used if wal_level >= replica"]
        );
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.append_config("max_wal_senders = 1");
        let output = cluster.run_postmaster(&[]);
        assert_eq!(output.status.code(), Some(1));
        let said = cluster.normalised(&String::from_utf8_lossy(&output.stderr));
        assert!(
            said.contains(
                "FATAL:  WAL streaming (max_wal_senders > 0) requires wal_level \"replica\" or \"logical\""
            ),
            "{said}"
        );
    });
}

/// A walsender's activity, as other sessions see it.
#[test]
fn seen_by_others() {
    on_each_server("walsenders in pg_stat_activity", |server| {
        let cluster = started_primary(server, &["log_replication_commands = on", "log_connections = on"]);
        let mut wire = replication_session(&cluster, "true");
        let activity = "SELECT datname IS NULL, usename, application_name, client_addr, backend_type, state \
                        FROM pg_stat_activity WHERE backend_type = 'walsender'";
        assert_eq!(rows(&mut wire, "IDENTIFY_SYSTEM").len(), 1);
        wait_for_answer(&cluster, activity, "t|postgres|by_hand|127.0.0.1|walsender|idle");
        let log =
            cluster.wait_for_log("replication connection authorized: user=postgres application_name=by_hand");
        assert!(log.contains("LOG:  received replication command: IDENTIFY_SYSTEM"), "{log}");
        let start = flushed(&cluster);
        let command = format!("START_REPLICATION {start}");
        let stream = Stream::try_start(wire, &command).expect("a stream");
        wait_for_answer(&cluster, activity, "t|postgres|by_hand|127.0.0.1|walsender|active");
        let query = "SELECT query, wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'walsender'";
        wait_for_answer(&cluster, query, &format!("{command}|Activity|WalSenderMain"));
        assert!(cluster.log().contains(&format!("LOG:  received replication command: {command}")));
        // One in a database is no client of it that a DROP DATABASE would have to wait for less.
        drop(stream);
        wait_for_no_walsender(&cluster);
        let mut wire = replication_session(&cluster, "database");
        assert_eq!(
            wire.query("SELECT backend_type, datname FROM pg_stat_activity WHERE pid = pg_backend_pid()"),
            ["walsender|postgres", "SELECT 1"]
        );
        // A walsender's title has no database, not even then.
        let title = title_of_15(&cluster.title(wire.pid));
        assert!(
            title.starts_with("postgres: walsender postgres 127.0.0.1(") && title.ends_with(") idle"),
            "{title}"
        );
        // Not one that streams: the view shows it in its first state.
        assert_eq!(
            ask(&cluster, "SELECT application_name, state, sent_lsn FROM pg_stat_replication"),
            "by_hand|startup|"
        );
    });
}

/// Who has the rights of a walsender's role sees where it is connected from; how far it is, only who may read all statistics.
#[test]
fn seen_by_members() {
    on_each_server("pg_stat_replication for members of a role", |server| {
        let cluster = started_primary(server, &[]);
        ask(&cluster, "CREATE ROLE ann LOGIN REPLICATION");
        for sql in [
            "CREATE ROLE son LOGIN IN ROLE ann",
            "CREATE ROLE orphan LOGIN NOINHERIT IN ROLE ann",
            "CREATE ROLE monitor LOGIN IN ROLE pg_monitor",
        ] {
            ask(&cluster, sql);
        }
        let mut wire = Wire::open(&cluster);
        wire.start_session(&[("user", "ann"), ("database", "postgres"), ("replication", "true")]);
        assert_eq!(rows(&mut wire, "IDENTIFY_SYSTEM").len(), 1);
        let seen = "SELECT usename, client_addr, client_port > 0, backend_start IS NULL, state FROM pg_stat_replication";
        for (user, expected) in [
            ("postgres", "ann|127.0.0.1|t|f|startup"),
            ("monitor", "ann|127.0.0.1|t|f|startup"),
            ("ann", "ann|127.0.0.1|t|f|"),
            ("son", "ann|127.0.0.1|t|f|"),
            ("orphan", "ann|||t|"),
        ] {
            let mut session = Wire::open(&cluster);
            session.start_session(&[("user", user), ("database", "postgres")]);
            assert_eq!(rows(&mut session, seen), [expected], "{user}");
        }
    });
}

/// A session that has begun a backup by SQL makes no other one before that is over.
#[test]
fn one_backup_at_a_time() {
    on_each_server("BASE_BACKUP after pg_backup_start", |server| {
        let cluster = started_primary(server, &[]);
        let mut wire = replication_session(&cluster, "database");
        assert_eq!(rows(&mut wire, "SELECT pg_backup_start('by hand', true) > '0/0'"), ["t"]);
        let refused = ["ERROR:  55000: a backup is already in progress in this session"];
        assert_eq!(wire.query("BASE_BACKUP (LABEL 'second', CHECKPOINT 'fast')"), refused);
        assert_eq!(wire.query("BASE_BACKUP (NONSENSE)"), refused, "this is found out first");
        assert_eq!(wire.query("SELECT pg_backup_start('third')"), refused);
        // It is a session as before, and has not become one that copies.
        assert_eq!(ask(&cluster, "SELECT state FROM pg_stat_replication"), "startup");
        // Others may.
        let mut other = replication_session(&cluster, "true");
        let made = other.query("BASE_BACKUP (CHECKPOINT 'fast', WAIT false)");
        assert_eq!(made.last().map(String::as_str), Some("BASE_BACKUP"), "{:?}", made.last());
        let label = "SELECT labelfile LIKE '%LABEL: by hand%' FROM pg_backup_stop(false)";
        let stopped = rows(&mut wire, label);
        assert_eq!(stopped.last().map(String::as_str), Some("t"), "{stopped:?}");
        let made = wire.query("BASE_BACKUP (LABEL 'second', CHECKPOINT 'fast', WAIT false)");
        assert_eq!(made.last().map(String::as_str), Some("BASE_BACKUP"), "{:?}", made.last());
    });
}
