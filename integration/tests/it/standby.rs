//! A standby that streams: what it shows, what it is told, how it finds its primary, what keeps it from doing so.

use integration::archive;
use integration::{Cluster, Server, Stop, Wire, say_skipped, wait_until};
use nix::sys::signal::Signal;

use crate::auth::make_certificates;
use crate::faults::SmallDisk;
use crate::standby_support::{
    Load, Proxy, Standby, ask, caught_up, conninfo, flushed, on_each, one, position, primary, promote,
    receiver_title, reload, reload_with, rows_of, same_rows, sender_title, set_auto, standby, succeeds,
    wait_for_end_of_wal, wait_for_rows, wait_until_replayed, wait_until_streaming,
};

/// A primary with a table `t (a int, b text)` of 100 rows.
#[track_caller]
fn with_rows(server: Server, config: &[&str]) -> (Cluster, Wire) {
    let primary = primary(server, config);
    let mut writer = Wire::connect(&primary);
    succeeds(&mut writer, "CREATE TABLE t (a int, b text)");
    succeeds(&mut writer, "INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 100) g");
    (primary, writer)
}

const COUNT: &str = "SELECT count(*) FROM t";

#[test]
fn it_follows_under_load_and_answers() {
    on_each("follows", |server| {
        let primary = primary(server, &[]);
        let load = Load::begin(&primary, 4);
        load.wait_for_commits(20);
        let standby = standby(&primary, "follower", &[]);
        wait_until_streaming(&primary, "follower");
        let mut reader = Wire::connect(&standby);
        assert_eq!(one(&mut reader, "SELECT pg_is_in_recovery()"), "t");
        let mut last = 0;
        for _ in 0..20 {
            load.wait_for_commits(10);
            // What was committed before is seen, sooner or later, by each of these sessions.
            caught_up(&primary, &standby);
            let seen: i64 = one(&mut reader, "SELECT count(*) FROM pg_class").parse().expect("a number");
            assert!(seen >= last);
            last = seen;
            one(&mut reader, "SELECT count(*) FROM load0");
        }
        load.end();
        assert!(same_rows(&primary, &standby) > 0);
        let refused = "ERROR:  25006: cannot execute INSERT in a read-only transaction";
        assert_eq!(reader.query("INSERT INTO load0 VALUES (1)"), [refused]);
        assert!(standby.stop(Stop::Fast).success());
        assert!(primary.stop(Stop::Fast).success());
    });
}

#[test]
fn views_and_titles_say_who_streams() {
    on_each("views", |server| {
        let (primary, mut writer) = with_rows(server, &[]);
        let follower = Standby { slot: Some("here"), ..Standby::of(&primary, "follower") };
        let standby = follower.started(&primary);
        wait_until_streaming(&primary, "follower");
        succeeds(&mut writer, "INSERT INTO t VALUES (101)");
        caught_up(&primary, &standby);
        let sql = "SELECT application_name, usename, client_addr, state, sync_state, sync_priority, \
                   sent_lsn, write_lsn, flush_lsn, replay_lsn, backend_xmin IS NULL, backend_start IS NULL, \
                   reply_time IS NULL FROM pg_stat_replication";
        wait_for_end_of_wal(&primary, &primary, sql, |end| {
            format!("follower|postgres|127.0.0.1|streaming|async|0|{end}|{end}|{end}|{end}|t|f|f")
        });
        let sender: i32 = one(&mut writer, "SELECT pid FROM pg_stat_replication").parse().expect("a pid");
        let receiver = standby.wait_for_process(receiver_title(&standby));
        wait_until("the titles say how far they are", || {
            let ending = format!(" streaming {}", flushed(&primary));
            let title = primary.title(sender);
            standby.title(receiver) == format!("{}{ending}", receiver_title(&standby))
                && title.starts_with(&format!("{} postgres 127.0.0.1(", sender_title(&primary)))
                && title.ends_with(&format!("){ending}"))
        });
        let mut reader = Wire::connect(&standby);
        let sql = "SELECT pid, status, receive_start_tli, written_lsn, flushed_lsn, received_tli, \
                   last_msg_send_time IS NULL, latest_end_lsn, latest_end_time IS NULL, slot_name, sender_host, \
                   sender_port FROM pg_stat_wal_receiver";
        let port = primary.port();
        let end = wait_for_end_of_wal(&primary, &standby, sql, |end| {
            format!("{receiver}|streaming|1|{end}|{end}|1|f|{end}|f|here|127.0.0.1|{port}")
        });
        let start = one(&mut reader, "SELECT receive_start_lsn FROM pg_stat_wal_receiver");
        let start: common::Lsn = start.parse().expect("a position");
        assert!(start.0.is_multiple_of(1 << 20) && start < end, "{start}");
        let shown = one(&mut reader, "SELECT conninfo FROM pg_stat_wal_receiver");
        for part in ["user=postgres", "dbname=replication", "host=127.0.0.1", "application_name=follower"] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(shown.contains(&format!("port={port}")), "{shown}");
        let sql = "SELECT pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(), pg_is_in_recovery()";
        wait_for_end_of_wal(&primary, &standby, sql, |end| format!("{end}|{end}|t"));
        // Who may not see everything sees that there is somebody.
        succeeds(&mut writer, "CREATE ROLE guest LOGIN; SET ROLE guest");
        let seen = writer.query("SELECT pid, application_name, state FROM pg_stat_replication");
        assert_eq!(seen, [format!("{sender}|follower|"), "SELECT 1".to_owned()]);
        succeeds(&mut writer, "RESET ROLE");
        caught_up(&primary, &standby);
        succeeds(&mut reader, "SET ROLE guest");
        let seen = reader.query("SELECT pid, status FROM pg_stat_wal_receiver");
        assert_eq!(seen, [format!("{receiver}|"), "SELECT 1".to_owned()]);
        succeeds(&mut writer, "INSERT INTO t VALUES (1)");
        caught_up(&primary, &standby);
        // The slot is held, and moves on with what was flushed there.
        let slot = "SELECT slot_name, slot_type, active, active_pid, xmin IS NULL, restart_lsn, wal_status \
                    FROM pg_replication_slots";
        wait_for_end_of_wal(&primary, &primary, slot, |end| {
            format!("here|physical|t|{sender}|t|{end}|reserved")
        });
        assert!(standby.stop(Stop::Fast).success());
        wait_for_rows(&primary, "SELECT active FROM pg_replication_slots", &["f"]);
        assert_eq!(ask(&primary, "SELECT count(*) FROM pg_stat_replication").expect("an answer"), ["0"]);
    });
}

/// Two ways to protect a standby's rows: by the walsender itself and by its slot.
#[test]
fn feedback_protects_rows() {
    on_each("feedback", |server| {
        for slot in [None, Some("kept")] {
            let (primary, mut writer) = with_rows(server, &[]);
            let config = ["hot_standby_feedback = on", "max_standby_streaming_delay = 100ms"];
            let follower = Standby { slot, config: &config, ..Standby::of(&primary, "follower") };
            let standby = follower.started(&primary);
            wait_until_streaming(&primary, "follower");
            let mut reader = Wire::connect(&standby);
            succeeds(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ");
            assert_eq!(one(&mut reader, COUNT), "100");
            let xmin = match slot {
                None => "SELECT coalesce(backend_xmin::text, '') FROM pg_stat_replication",
                Some(_) => "SELECT coalesce(xmin::text, '') FROM pg_replication_slots",
            };
            let needed =
                one(&mut reader, "SELECT backend_xmin FROM pg_stat_activity WHERE pid = pg_backend_pid()");
            wait_for_rows(&primary, xmin, &[&needed]);
            succeeds(&mut writer, "DELETE FROM t WHERE a <= 50");
            succeeds(&mut writer, "VACUUM t");
            caught_up(&primary, &standby);
            assert_eq!(one(&mut reader, COUNT), "100", "{slot:?}");
            // Without, they are removed, and who needs them is sent away.
            reload_with(&standby, "hot_standby_feedback = off");
            wait_for_rows(&primary, xmin, &[""]);
            reader.begin("SELECT pg_sleep(600)");
            succeeds(&mut writer, "VACUUM t");
            let answer = reader.answer();
            assert_eq!(answer[0], "ERROR:  40001: canceling statement due to conflict with recovery");
            succeeds(&mut reader, "ROLLBACK");
            caught_up(&primary, &standby);
            assert_eq!(one(&mut reader, COUNT), "50");
        }
    });
}

#[test]
fn a_streaming_delay_ends_conflicts() {
    on_each("streaming delay", |server| {
        let (primary, mut writer) = with_rows(server, &[]);
        let config = ["max_standby_streaming_delay = -1", "max_standby_archive_delay = 0"];
        let standby = standby(&primary, "follower", &config);
        let mut reader = Wire::connect(&standby);
        succeeds(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!(one(&mut reader, COUNT), "100");
        wait_until_streaming(&primary, "follower");
        succeeds(&mut writer, "DELETE FROM t WHERE a <= 50");
        succeeds(&mut writer, "VACUUM t");
        let waits = "SELECT coalesce(wait_event, '') FROM pg_stat_activity WHERE backend_type = 'startup'";
        wait_for_rows(&standby, waits, &["RecoveryConflictSnapshot"]);
        // What comes meanwhile is received and kept.
        succeeds(&mut writer, "INSERT INTO t VALUES (101)");
        let end = flushed(&primary);
        wait_until("it is received", || position(&standby, "pg_last_wal_receive_lsn()") >= Some(end));
        assert!(position(&standby, "pg_last_wal_replay_lsn()") < Some(end));
        assert_eq!(one(&mut reader, COUNT), "100");
        succeeds(&mut reader, "ROLLBACK");
        wait_until_replayed(&standby, end);
        reload_with(&standby, "max_standby_streaming_delay = 100ms");
        wait_for_rows(&standby, "SHOW max_standby_streaming_delay", &["100ms"]);
        succeeds(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!(one(&mut reader, COUNT), "51");
        reader.begin("SELECT pg_sleep(600)");
        // The startup process reads its files between records.
        succeeds(&mut writer, "DELETE FROM t WHERE a <= 60");
        caught_up(&primary, &standby);
        succeeds(&mut writer, "VACUUM t");
        let answer = reader.answer();
        assert_eq!(answer[0], "ERROR:  40001: canceling statement due to conflict with recovery");
        succeeds(&mut reader, "ROLLBACK");
        caught_up(&primary, &standby);
        assert_eq!(one(&mut reader, COUNT), "41");
    });
}

#[test]
fn an_apply_delay_holds_commits_back() {
    on_each("apply delay", |server| {
        let (primary, mut writer) = with_rows(server, &[]);
        let standby = standby(&primary, "follower", &["recovery_min_apply_delay = 1h"]);
        wait_until_streaming(&primary, "follower");
        succeeds(&mut writer, "INSERT INTO t VALUES (101)");
        let end = flushed(&primary);
        wait_until("it is received", || position(&standby, "pg_last_wal_receive_lsn()") >= Some(end));
        let waits = "SELECT coalesce(wait_event, '') FROM pg_stat_activity WHERE backend_type = 'startup'";
        wait_for_rows(&standby, waits, &["RecoveryApplyDelay"]);
        assert_eq!(rows_of(&standby, "t").len(), 100);
        reload_with(&standby, "recovery_min_apply_delay = 0");
        wait_until_replayed(&standby, end);
        assert_eq!(rows_of(&standby, "t").len(), 101);
        // A promotion does not wait for it.
        reload_with(&standby, "recovery_min_apply_delay = 1h");
        let shown = "SELECT current_setting('recovery_min_apply_delay')";
        wait_for_rows(&standby, shown, &["1h"]);
        succeeds(&mut writer, "INSERT INTO t VALUES (102)");
        let end = flushed(&primary);
        wait_until("it is received", || position(&standby, "pg_last_wal_receive_lsn()") >= Some(end));
        promote(&standby);
        assert_eq!(rows_of(&standby, "t").len(), 102);
    });
}

#[test]
fn a_pause_holds_replay_and_not_the_stream() {
    on_each("pause", |server| {
        let (primary, mut writer) = with_rows(server, &[]);
        let standby = standby(&primary, "follower", &[]);
        wait_until_streaming(&primary, "follower");
        let mut reader = Wire::connect(&standby);
        succeeds(&mut reader, "SELECT pg_wal_replay_pause()");
        wait_until("it pauses", || one(&mut reader, "SELECT pg_get_wal_replay_pause_state()") == "paused");
        succeeds(&mut writer, "INSERT INTO t VALUES (101)");
        let end = flushed(&primary);
        wait_until("it is received", || position(&standby, "pg_last_wal_receive_lsn()") >= Some(end));
        assert_eq!(one(&mut reader, COUNT), "100");
        let sql = "SELECT flush_lsn, replay_lsn < flush_lsn FROM pg_stat_replication";
        wait_for_end_of_wal(&primary, &primary, sql, |end| format!("{end}|t"));
        succeeds(&mut reader, "SELECT pg_wal_replay_resume()");
        wait_until_replayed(&standby, end);
        assert_eq!(one(&mut reader, COUNT), "101");
    });
}

#[test]
fn another_primary_conninfo_takes_effect_by_reload() {
    on_each("conninfo", |server| {
        let (primary, mut writer) = with_rows(server, &[]);
        let standby = standby(&primary, "first", &[]);
        wait_until_streaming(&primary, "first");
        let receiver = standby.wait_for_process(receiver_title(&standby));
        set_auto(&standby, "primary_conninfo", &conninfo(primary.port(), "second"));
        standby.mark_log();
        reload(&standby);
        wait_until_streaming(&primary, "second");
        let log = standby.wait_for_new_log("started streaming WAL from primary at");
        assert!(log.contains("LOG:  WAL receiver process shutdown requested"), "{log}");
        assert!(
            log.contains("FATAL:  terminating walreceiver process due to administrator command"),
            "{log}"
        );
        assert!(standby.find_process(receiver_title(&standby)) != Some(receiver));
        let names = "SELECT application_name FROM pg_stat_replication";
        wait_for_rows(&primary, names, &["second"]);
        // The same with a slot, which is there or not.
        standby.mark_log();
        set_auto(&standby, "primary_slot_name", "mine");
        reload(&standby);
        standby.wait_for_new_log("replication slot \"mine\" does not exist");
        succeeds(&mut writer, "SELECT pg_create_physical_replication_slot('mine')");
        wait_for_rows(&primary, "SELECT active FROM pg_replication_slots", &["t"]);
        // A name of its own for the cluster is its name here, too.
        set_auto(&standby, "primary_slot_name", "");
        let anonymous = format!("host=127.0.0.1 port={} user=postgres", primary.port());
        set_auto(&standby, "primary_conninfo", &anonymous);
        reload(&standby);
        wait_for_rows(&primary, names, &["walreceiver"]);
        wait_for_rows(&primary, "SELECT active FROM pg_replication_slots", &["f"]);
        // Without any it waits for one.
        set_auto(&standby, "primary_conninfo", "");
        reload(&standby);
        wait_for_rows(&primary, names, &[]);
        succeeds(&mut writer, "INSERT INTO t VALUES (101)");
        set_auto(&standby, "primary_conninfo", &conninfo(primary.port(), "third"));
        reload(&standby);
        wait_until_streaming(&primary, "third");
        same_rows(&primary, &standby);
    });
}

/// A conninfo that leads nowhere, and what the log says about it.
fn refusals(port: u16) -> Vec<(String, String)> {
    let to = |rest: &str| format!("host=127.0.0.1 port={port} application_name=follower {rest}");
    let server_at = format!("connection to server at \"127.0.0.1\", port {port} failed: ");
    let cannot = "FATAL:  could not connect to the primary server: ";
    vec![
        (to("user=replicator"), format!("{cannot}{server_at}fe_sendauth: no password supplied")),
        (
            to("user=postgres"),
            format!(
                "{cannot}{server_at}FATAL:  no pg_hba.conf entry for replication connection from host \
                 \"127.0.0.1\", user \"postgres\", no encryption"
            ),
        ),
        (
            to("user=ordinary password='scram secret'"),
            format!("{cannot}{server_at}FATAL:  must be superuser or replication role to start walsender"),
        ),
        (
            format!("host=nowhere.invalid port={port} user=replicator"),
            format!("{cannot}could not translate host name \"nowhere.invalid\" to address: "),
        ),
        (
            "host=127.0.0.1 port=1 user=replicator".to_owned(),
            format!(
                "{cannot}connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n\
                 \t\tIs the server running on that host and accepting TCP/IP connections?"
            ),
        ),
        (
            "host=/nowhere port=1 user=replicator".to_owned(),
            format!(
                "{cannot}connection to server on socket \"/nowhere/.s.PGSQL.1\" failed: No such file or \
                 directory\n\t\tIs the server running locally and accepting connections on that socket?"
            ),
        ),
        (
            "user=replicator nonsense".to_owned(),
            "missing \"=\" after \"nonsense\" in connection info string".to_owned(),
        ),
        ("nonsense=1".to_owned(), "invalid connection option \"nonsense\"".to_owned()),
    ]
}

#[test]
fn who_is_not_let_in_says_why() {
    on_each("refused", |server| {
        let (primary, mut writer) = with_rows(server, &["password_encryption = 'scram-sha-256'"]);
        for sql in [
            "CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'scram secret'",
            "CREATE ROLE ordinary LOGIN PASSWORD 'scram secret'",
            "CREATE ROLE plain LOGIN REPLICATION PASSWORD 'plain secret'",
        ] {
            succeeds(&mut writer, sql);
        }
        let standby = Standby::of(&primary, "follower").made(&primary);
        let rules = "local all all trust\nhost all all 127.0.0.1/32 trust\n\
                     host replication replicator,ordinary 127.0.0.1/32 scram-sha-256\n\
                     host replication plain 127.0.0.1/32 password\n";
        primary.write_file("pg_hba.conf", rules);
        reload(&primary);
        let port = primary.port();
        let to = |rest: &str| format!("host=127.0.0.1 port={port} application_name=follower {rest}");
        let server_at = format!("connection to server at \"127.0.0.1\", port {port} failed: ");
        set_auto(&standby, "primary_conninfo", &to("user=replicator password='wrong'"));
        standby.start();
        let cannot = "FATAL:  could not connect to the primary server: ";
        standby.wait_for_log(&format!(
            "{cannot}{server_at}FATAL:  password authentication failed for user \"replicator\""
        ));
        for (value, expected) in refusals(port) {
            standby.mark_log();
            set_auto(&standby, "primary_conninfo", &value);
            reload(&standby);
            standby.wait_for_new_log(&expected);
        }
        // And who has the right one.
        for (user, password) in [("replicator", "scram secret"), ("plain", "plain secret")] {
            set_auto(&standby, "primary_conninfo", &to(&format!("user={user} password='{password}'")));
            reload(&standby);
            let sql = "SELECT usename, state FROM pg_stat_replication";
            wait_for_rows(&primary, sql, &[&format!("{user}|streaming")]);
        }
        let shown = "SELECT conninfo FROM pg_stat_wal_receiver";
        let shown = ask(&standby, shown).expect("an answer").join("");
        assert!(shown.contains("password=********") && !shown.contains("secret"), "{shown}");
        // From a file of passwords.
        let passwords = standby.path("passwords");
        std::fs::write(&passwords, format!("127.0.0.1:{port}:replication:replicator:scram secret\n"))
            .expect("own folder");
        standby.sh(&format!("cp '{0}' '{0}.own' && chmod 600 '{0}.own'", passwords.display()));
        let from_file = to(&format!("user=replicator passfile='{}.own'", passwords.display()));
        set_auto(&standby, "primary_conninfo", &from_file);
        reload(&standby);
        let sql = "SELECT usename, state FROM pg_stat_replication";
        wait_for_rows(&primary, sql, &["replicator|streaming"]);
        same_rows(&primary, &standby);
    });
}

#[test]
fn the_stream_is_encrypted() {
    on_each("TLS", |server| {
        let primary = primary(server, &[]);
        if !make_certificates(&primary) {
            return say_skipped(module_path!(), "there is no openssl to make certificates with");
        }
        primary.stop(Stop::Fast);
        primary.start();
        succeeds(
            &mut Wire::connect(&primary),
            "CREATE TABLE t (a int); CREATE ROLE secret LOGIN REPLICATION PASSWORD 'scram secret'",
        );
        let standby = Standby::of(&primary, "follower").made(&primary);
        let rules = "local all all trust\nhost all all 127.0.0.1/32 trust\n\
                     hostssl replication postgres 127.0.0.1/32 trust\n\
                     hostssl replication secret 127.0.0.1/32 scram-sha-256\n";
        primary.write_file("pg_hba.conf", rules);
        reload(&primary);
        let to = |rest: &str| format!("{} {rest}", conninfo(primary.port(), "follower"));
        let root = |name: &str| primary.path(name).display().to_string();
        set_auto(&standby, "primary_conninfo", &to("sslmode=disable"));
        standby.start();
        standby.wait_for_log("user \"postgres\", no encryption");
        let good = [
            "sslmode=require".to_owned(),
            "sslmode=prefer".to_owned(),
            format!("sslmode=verify-ca sslrootcert={}", root("root.crt")),
            format!("sslmode=verify-full sslrootcert={}", root("root.crt")),
            "sslmode=require user=secret password='scram secret'".to_owned(),
            "sslmode=require user=secret password='scram secret' channel_binding=require".to_owned(),
        ];
        for (number, settings) in good.iter().enumerate() {
            let name = format!("follower{number}");
            set_auto(&standby, "primary_conninfo", &to(&format!("{settings} application_name={name}")));
            reload(&standby);
            wait_until_streaming(&primary, &name);
            succeeds(&mut Wire::connect(&primary), "INSERT INTO t VALUES (1)");
            caught_up(&primary, &standby);
        }
        let ssl = "SELECT ssl, version FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)";
        wait_for_rows(&primary, ssl, &["t|TLSv1.3"]);
        let bad = [
            (
                format!("sslmode=verify-ca sslrootcert={}", root("stranger.crt")),
                "SSL error: certificate verify failed",
            ),
            (
                "sslmode=verify-ca sslrootcert=/nowhere".to_owned(),
                "root certificate file \"/nowhere\" does not exist",
            ),
        ];
        for (settings, expected) in bad {
            standby.mark_log();
            set_auto(&standby, "primary_conninfo", &to(&settings));
            reload(&standby);
            standby.wait_for_new_log(expected);
        }
        primary.append_config("ssl = off");
        reload(&primary);
        wait_for_rows(&primary, "SHOW ssl", &["off"]);
        standby.mark_log();
        set_auto(&standby, "primary_conninfo", &to("sslmode=require"));
        reload(&standby);
        standby.wait_for_new_log("server does not support SSL, but SSL was required");
    });
}

#[test]
fn another_cluster_is_no_primary() {
    on_each("another system identifier", |server| {
        let (primary, _writer) = with_rows(server, &[]);
        let stranger = crate::standby_support::primary(server, &[]);
        let standby = Standby::of(&primary, "follower").made(&primary);
        set_auto(&standby, "primary_conninfo", &conninfo(stranger.port(), "follower"));
        standby.start();
        let log = standby.wait_for_log("database system identifier differs between the primary and standby");
        assert!(log.contains("DETAIL:  The primary's identifier is "), "{log}");
        set_auto(&standby, "primary_conninfo", &conninfo(primary.port(), "follower"));
        reload(&standby);
        wait_until_streaming(&primary, "follower");
        same_rows(&primary, &standby);
    });
}

#[test]
fn a_primary_that_is_behind_is_no_primary() {
    on_each("behind", |server| {
        let (primary, mut writer) = with_rows(server, &[]);
        let (ahead, behind) = (
            standby(&primary, "ahead", &[]),
            Standby { config: &["hot_standby = on"], ..Standby::of(&primary, "behind") }.made(&primary),
        );
        caught_up(&primary, &ahead);
        promote(&ahead);
        succeeds(&mut writer, "INSERT INTO t VALUES (101)");
        let follower = standby(&ahead, "follower", &[]);
        wait_until_streaming(&ahead, "follower");
        // On timeline 2 already, it does not go back to a server that knows only the first.
        follower.mark_log();
        set_auto(&follower, "primary_conninfo", &conninfo(primary.port(), "follower"));
        reload(&follower);
        let says = "highest timeline 1 of the primary is behind recovery timeline 2";
        follower.wait_for_new_log(says);
        // Who has replayed what the new timeline does not have cannot go there.
        behind.start();
        wait_until_streaming(&primary, "behind");
        caught_up(&primary, &behind);
        behind.mark_log();
        set_auto(&behind, "primary_conninfo", &conninfo(ahead.port(), "behind"));
        reload(&behind);
        behind.wait_for_new_log(
            "new timeline 2 forked off current database system timeline 1 before current recovery point",
        );
    });
}

#[test]
fn a_full_disk_is_waited_out() {
    on_each("full disk", |server| {
        let (primary, mut writer) = with_rows(server, &["wal_keep_size = 1GB"]);
        let standby = Standby::of(&primary, "follower").made(&primary);
        let Some(disk) = SmallDisk::in_place_of(&standby.data_dir().join("pg_wal"), 3 << 20) else {
            return say_skipped(module_path!(), "nobody may mount here");
        };
        standby.start();
        wait_until_streaming(&primary, "follower");
        for _ in 0..8 {
            succeeds(
                &mut writer,
                "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 1000) g",
            );
        }
        let log = standby.wait_for_log("No space left on device");
        assert!(log.contains("FATAL:  could not "), "{log}");
        assert!(!log.contains("PANIC"), "{log}");
        let mut reader = Wire::connect(&standby);
        one(&mut reader, COUNT);
        disk.grow("200m");
        caught_up(&primary, &standby);
        assert_eq!(one(&mut reader, COUNT), "8100");
        reader.quit();
        assert!(standby.stop(Stop::Fast).success());
    });
}

/// What a standby needs comes from the archive when the primary does not have it any more, then from the primary again.
#[test]
fn archive_and_stream_take_turns() {
    on_each("archive and stream", |server| {
        let primary = archive::archiving(server, &["max_wal_size = 2MB", "min_wal_size = 2MB"]);
        primary.start();
        let mut writer = Wire::connect(&primary);
        succeeds(&mut writer, "CREATE TABLE t (a int, b text)");
        let standby = standby(&primary, "follower", &[]);
        wait_until_streaming(&primary, "follower");
        assert!(standby.stop(Stop::Fast).success());
        let fill = |writer: &mut Wire| {
            for _ in 0..4 {
                succeeds(writer, "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 500) g");
                primary.archive_all(writer);
            }
            // What is archived and not needed for a recovery goes.
            succeeds(writer, "CHECKPOINT");
        };
        fill(&mut writer);
        // Without the archive it asks in vain, and says so again and again.
        standby.start();
        let log = standby.wait_for_log("has already been removed");
        let asked = log.lines().find(|line| line.contains("has already been removed")).unwrap_or_default();
        assert!(
            asked.contains(
                "FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment 0000"
            ),
            "{asked}"
        );
        standby.mark_log();
        reload_with(&standby, &archive::restore_command(&primary.archive_dir()));
        wait_until_streaming(&primary, "follower");
        let log = standby.wait_for_new_log("started streaming WAL from primary at");
        assert!(log.contains("restored log file \"0000"), "{log}");
        same_rows(&primary, &standby);
        // The line breaks for longer than the primary keeps WAL.
        let proxy = Proxy::to(primary.port());
        set_auto(&standby, "primary_conninfo", &conninfo(proxy.port, "other"));
        reload(&standby);
        wait_until_streaming(&primary, "other");
        proxy.set_down(true);
        fill(&mut writer);
        wait_until("the archive has fed it", || rows_of(&standby, "t").len() == 4000);
        proxy.set_down(false);
        wait_until_streaming(&primary, "other");
        succeeds(&mut writer, "INSERT INTO t VALUES (1)");
        assert_eq!(same_rows(&primary, &standby), 4001);
        // Restarted, it takes what is in pg_wal.
        assert!(standby.stop(Stop::Immediate).code().is_some());
        standby.start();
        assert_eq!(same_rows(&primary, &standby), 4001);
    });
}

#[test]
fn silence_ends_a_connection() {
    on_each("timeouts", |server| {
        let (primary, mut writer) = with_rows(server, &[]);
        let standby = standby(&primary, "follower", &["wal_receiver_timeout = 1s"]);
        wait_until_streaming(&primary, "follower");
        let sender = primary.wait_for_process(sender_title(&primary));
        primary.signal(sender, Signal::SIGSTOP);
        standby.wait_for_log("FATAL:  terminating walreceiver due to timeout");
        primary.signal(sender, Signal::SIGCONT);
        wait_until_streaming(&primary, "follower");
        same_rows(&primary, &standby);
        // The other way round.
        reload_with(&standby, "wal_receiver_timeout = 0");
        reload_with(&primary, "wal_sender_timeout = 1s");
        wait_for_rows(&standby, "SHOW wal_receiver_timeout", &["0"]);
        wait_for_rows(&primary, "SHOW wal_sender_timeout", &["1s"]);
        let receiver = standby.wait_for_process(receiver_title(&standby));
        standby.signal(receiver, Signal::SIGSTOP);
        primary.wait_for_log("LOG:  terminating walsender process due to replication timeout");
        standby.signal(receiver, Signal::SIGCONT);
        wait_until_streaming(&primary, "follower");
        succeeds(&mut writer, "INSERT INTO t VALUES (1)");
        same_rows(&primary, &standby);
    });
}

#[test]
fn restartpoints_follow_checkpoints() {
    on_each("restartpoints", |server| {
        let (primary, mut writer) = with_rows(server, &[]);
        let standby = standby(&primary, "follower", &["log_checkpoints = on"]);
        wait_until_streaming(&primary, "follower");
        let redo = |cluster: &Cluster| archive::control(cluster, "Latest checkpoint's REDO location");
        let before = redo(&standby);
        for _ in 0..3 {
            succeeds(
                &mut writer,
                "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g",
            );
        }
        succeeds(&mut writer, "CHECKPOINT");
        caught_up(&primary, &standby);
        let kept = || archive::names_in(&standby.data_dir().join("pg_wal"));
        let oldest = kept().into_iter().next().expect("segments");
        let mut reader = Wire::connect(&standby);
        succeeds(&mut reader, "CHECKPOINT");
        assert_ne!(redo(&standby), before);
        assert_eq!(redo(&standby), redo(&primary));
        assert_eq!(archive::control(&standby, "Database cluster state"), "in archive recovery");
        standby.wait_for_log("restartpoint complete");
        standby.wait_for_log("recovery restart point at");
        succeeds(&mut writer, "INSERT INTO t VALUES (1); CHECKPOINT");
        caught_up(&primary, &standby);
        succeeds(&mut reader, "CHECKPOINT");
        assert!(!kept().contains(&oldest), "{oldest} is not needed any more: {:?}", kept());
        reader.quit();
        // It begins there again.
        assert_eq!(standby.stop(Stop::Fast).code(), Some(0));
        assert_eq!(archive::control(&standby, "Database cluster state"), "shut down in recovery");
        standby.start();
        same_rows(&primary, &standby);
    });
}

#[test]
fn a_temporary_slot_is_made_on_request() {
    on_each("temporary slot", |server| {
        let (primary, _writer) = with_rows(server, &[]);
        let standby = standby(&primary, "follower", &["wal_receiver_create_temp_slot = on"]);
        wait_until_streaming(&primary, "follower");
        let sender = primary.wait_for_process(sender_title(&primary));
        let name = format!("pg_walreceiver_{sender}");
        let slots = "SELECT slot_name, temporary, active FROM pg_replication_slots";
        wait_for_rows(&primary, slots, &[&format!("{name}|t|t")]);
        wait_for_rows(&standby, "SELECT slot_name FROM pg_stat_wal_receiver", &[&name]);
        reload_with(&standby, "wal_receiver_create_temp_slot = off");
        wait_for_rows(&primary, slots, &[]);
        wait_until_streaming(&primary, "follower");
        same_rows(&primary, &standby);
    });
}

#[test]
fn the_first_host_that_answers_is_the_primary() {
    on_each("several hosts", |server| {
        let (primary, _writer) = with_rows(server, &[]);
        let standby = Standby::of(&primary, "follower").made(&primary);
        let port = primary.port();
        let several =
            format!("host=127.0.0.1,127.0.0.1 port=1,{port} user=postgres application_name=follower");
        set_auto(&standby, "primary_conninfo", &several);
        standby.start();
        wait_until_streaming(&primary, "follower");
        let shown = "SELECT sender_host, sender_port FROM pg_stat_wal_receiver";
        wait_for_rows(&standby, shown, &[&format!("127.0.0.1|{port}")]);
        // The Unix socket will do, too.
        let socket = format!(
            "host={} port={port} user=postgres application_name=near",
            primary.socket_dir().display()
        );
        set_auto(&standby, "primary_conninfo", &socket);
        reload(&standby);
        wait_until_streaming(&primary, "near");
        let shown = "SELECT client_addr IS NULL, client_port FROM pg_stat_replication";
        wait_for_rows(&primary, shown, &["t|-1"]);
        // Sent away, either of them comes back.
        for cluster in [&primary, &standby] {
            standby.mark_log();
            let title =
                if std::ptr::eq(cluster, &primary) { sender_title(cluster) } else { receiver_title(cluster) };
            cluster.signal(cluster.wait_for_process(title), Signal::SIGTERM);
            let log = standby.wait_for_new_log("started streaming WAL from primary at");
            assert!(log.contains("terminating "), "{log}");
        }
        wait_until_streaming(&primary, "near");
        same_rows(&primary, &standby);
    });
}

/// What comes by the stream is archived by a standby that always archives, and by no other.
#[test]
fn received_segments_are_archived_on_request() {
    on_each("archive_mode = always", |server| {
        for (mode, ending) in [("always", ".done"), ("on", ".done")] {
            let (primary, mut writer) = with_rows(server, &[]);
            let standby = Standby::of(&primary, "follower").made(&primary);
            standby.sh("mkdir archive");
            standby.append_config(&format!("archive_mode = {mode}"));
            standby.append_config(&archive::archive_command(&standby.archive_dir()));
            standby.start();
            wait_until_streaming(&primary, "follower");
            succeeds(&mut writer, "INSERT INTO t VALUES (1)");
            let name = one(&mut writer, "SELECT pg_walfile_name(pg_current_wal_lsn())");
            succeeds(&mut writer, "SELECT pg_switch_wal()");
            succeeds(&mut writer, "INSERT INTO t VALUES (1)");
            caught_up(&primary, &standby);
            let status = standby.data_dir().join("pg_wal/archive_status").join(format!("{name}{ending}"));
            wait_until("its status is known", || status.exists());
            assert_eq!(standby.is_archived(&name), mode == "always", "{mode}");
        }
    });
}

/// A slot may keep only so much. Who has lost it goes on from the archive, and streams from there.
#[test]
fn a_slot_that_is_lost_is_made_good_by_the_archive() {
    on_each("lost slot", |server| {
        let config = ["max_wal_size = 2MB", "min_wal_size = 2MB", "max_slot_wal_keep_size = 2MB"];
        let primary = archive::archiving(server, &config);
        primary.start();
        let mut writer = Wire::connect(&primary);
        succeeds(&mut writer, "CREATE TABLE t (a int, b text)");
        let standby = Standby { slot: Some("kept"), ..Standby::of(&primary, "follower") }.started(&primary);
        wait_until_streaming(&primary, "follower");
        let status = "SELECT active, wal_status FROM pg_replication_slots";
        wait_for_rows(&primary, status, &["t|reserved"]);
        assert!(standby.stop(Stop::Fast).success());
        wait_for_rows(&primary, status, &["f|reserved"]);
        for _ in 0..8 {
            succeeds(&mut writer, "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 500) g");
            primary.archive_all(&mut writer);
        }
        succeeds(&mut writer, "CHECKPOINT");
        wait_for_rows(&primary, status, &["f|lost"]);
        let log = primary.wait_for_log("invalidating slot \"kept\" because its restart_lsn ");
        assert!(log.contains(" exceeds max_slot_wal_keep_size"), "{log}");
        standby.append_config(&archive::restore_command(&primary.archive_dir()));
        standby.start();
        wait_until("the archive has fed it", || rows_of(&standby, "t").len() == 4000);
        set_auto(&standby, "primary_slot_name", "");
        reload(&standby);
        wait_until_streaming(&primary, "follower");
        succeeds(&mut writer, "INSERT INTO t VALUES (1)");
        assert_eq!(same_rows(&primary, &standby), 4001);
    });
}
