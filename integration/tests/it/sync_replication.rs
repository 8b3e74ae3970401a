//! Synchronous replication: what an acknowledged commit means in each mode, which standbys count, and how a commit that
//! waits comes to an end without them.

use integration::failover::{self, Options};
use integration::{Cluster, Server, Stop, Wire, pause, wait_until};
use nix::sys::signal::Signal;

use crate::redo::crash;
use crate::standby_support::{
    Standby, ask, caught_up, on_each, one, primary, receiver_title, reload, reload_with, rows_of, set_auto,
    standby, succeeds, wait_for_rows, wait_until_streaming,
};
use crate::support::state_of;

const STATES: &str = "SELECT application_name, sync_priority, sync_state FROM pg_stat_replication";

/// A primary with a table and a synchronous standby `s1` of it.
#[track_caller]
fn pair(server: Server) -> (Cluster, Wire, Cluster) {
    let primary = primary(server, &["wal_keep_size = 1GB", "max_prepared_transactions = 4"]);
    let mut writer = Wire::connect(&primary);
    succeeds(&mut writer, "CREATE TABLE t (a int)");
    let standby = standby(&primary, "s1", &[]);
    require(&primary, "s1");
    wait_for_rows(&primary, STATES, &["s1|1|sync"]);
    caught_up(&primary, &standby);
    (primary, writer, standby)
}

/// Says who is to be waited for.
#[track_caller]
fn require(primary: &Cluster, names: &str) {
    reload_with(primary, &format!("synchronous_standby_names = '{names}'"));
    wait_for_rows(primary, "SHOW synchronous_standby_names", &[names]);
    // Who commits looks at what the checkpointer has made of the setting, which it does before its next checkpoint.
    succeeds(&mut Wire::connect(primary), "CHECKPOINT");
}

/// Waits until a session waits for standbys.
#[track_caller]
fn wait_until_it_waits(primary: &Cluster, session: &Wire) {
    let sql = format!("SELECT coalesce(wait_event, '') FROM pg_stat_activity WHERE pid = {}", session.pid);
    wait_for_rows(primary, &sql, &["SyncRep"]);
    let title = primary.title(session.pid);
    assert!(title.contains(" waiting for 0/"), "{title}");
}

/// Stops a process and waits until it stands still.
#[track_caller]
fn hold(cluster: &Cluster, title: &str) -> i32 {
    let pid = cluster.wait_for_process(title);
    cluster.signal(pid, Signal::SIGSTOP);
    wait_until("it stands still", || state_of(pid) == Some('T'));
    pid
}

#[test]
fn each_mode_waits_for_its_part() {
    on_each("modes", |server| {
        let (primary, mut writer, standby) = pair(server);
        let mut reader = Wire::connect(&standby);
        // What is applied is seen.
        succeeds(&mut writer, "SET synchronous_commit = remote_apply");
        for count in 1..=30 {
            succeeds(&mut writer, &format!("INSERT INTO t VALUES ({count})"));
            assert_eq!(one(&mut reader, "SELECT count(*) FROM t"), count.to_string());
        }
        // Replay stands still: written and flushed is still possible, applied is not.
        let startup = hold(&standby, "postgres: startup");
        for (mode, waits) in
            [("off", false), ("local", false), ("remote_write", false), ("on", false), ("remote_apply", true)]
        {
            succeeds(&mut writer, &format!("SET synchronous_commit = {mode}"));
            writer.begin("INSERT INTO t VALUES (0)");
            if waits {
                wait_until_it_waits(&primary, &writer);
                standby.signal(startup, Signal::SIGCONT);
            }
            assert_eq!(writer.answer(), ["INSERT 0 1"], "{mode}");
        }
        assert_eq!(one(&mut reader, "SELECT count(*) FROM t"), "35");
        // Nobody receives: all but the local ones wait.
        for (mode, waits) in
            [("off", false), ("local", false), ("remote_write", true), ("on", true), ("remote_apply", true)]
        {
            succeeds(&mut writer, &format!("SET synchronous_commit = {mode}"));
            let receiver = hold(&standby, receiver_title(&standby));
            writer.begin("INSERT INTO t VALUES (0)");
            if waits {
                wait_until_it_waits(&primary, &writer);
            } else {
                assert_eq!(writer.answer(), ["INSERT 0 1"], "{mode}");
            }
            standby.signal(receiver, Signal::SIGCONT);
            if waits {
                assert_eq!(writer.answer(), ["INSERT 0 1"], "{mode}");
            }
        }
        assert_eq!(one(&mut reader, "SELECT count(*) FROM t"), "40");
        // Who has written nothing waits for nothing.
        let receiver = hold(&standby, receiver_title(&standby));
        assert_eq!(writer.query("BEGIN; SELECT 1; COMMIT"), ["BEGIN", "1", "SELECT 1", "COMMIT"]);
        assert_eq!(
            writer.query("BEGIN; INSERT INTO t VALUES (0); ROLLBACK").last().map(String::as_str),
            Some("ROLLBACK")
        );
        standby.signal(receiver, Signal::SIGCONT);
    });
}

#[test]
fn two_phase_commits_wait_too() {
    on_each("two-phase", |server| {
        let (primary, mut writer, standby) = pair(server);
        for (sql, tag) in [
            ("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
            ("COMMIT PREPARED 'x'", "COMMIT PREPARED"),
            ("BEGIN; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'y'", "PREPARE TRANSACTION"),
            ("ROLLBACK PREPARED 'y'", "ROLLBACK PREPARED"),
        ] {
            let receiver = hold(&standby, receiver_title(&standby));
            writer.begin(sql);
            wait_until_it_waits(&primary, &writer);
            standby.signal(receiver, Signal::SIGCONT);
            assert_eq!(writer.answer().last().map(String::as_str), Some(tag), "{sql}");
        }
        caught_up(&primary, &standby);
        assert_eq!(rows_of(&standby, "t"), ["1"]);
    });
}

const COMMITTED: &str = "DETAIL:  The transaction has already committed locally, but might not have been \
                         replicated to the standby.";

#[test]
fn a_commit_that_waits_can_be_given_up() {
    on_each("given up", |server| {
        let (primary, mut writer, standby) = pair(server);
        let mut admin = Wire::connect(&primary);
        let receiver = hold(&standby, receiver_title(&standby));
        // By its client.
        writer.begin("INSERT INTO t VALUES (1)");
        wait_until_it_waits(&primary, &writer);
        // It holds its row until then, but others do not see it.
        assert_eq!(one(&mut admin, "SELECT count(*) FROM t"), "0");
        writer.cancel(&primary);
        let warning = "WARNING:  01000: canceling wait for synchronous replication due to user request";
        assert_eq!(writer.answer(), [warning, COMMITTED, "INSERT 0 1"]);
        assert_eq!(one(&mut admin, "SELECT count(*) FROM t"), "1");
        // By an administrator.
        writer.begin("INSERT INTO t VALUES (2)");
        wait_until_it_waits(&primary, &writer);
        succeeds(&mut admin, &format!("SELECT pg_terminate_backend({})", writer.pid));
        let warning = "WARNING:  57P01: canceling the wait for synchronous replication and terminating connection due to \
             administrator command";
        assert_eq!(writer.answer(), [warning, COMMITTED, "EOF"]);
        assert_eq!(one(&mut admin, "SELECT count(*) FROM t"), "2");
        // Because nobody is to be waited for any more.
        let mut waiting: Vec<Wire> = (0..3).map(|_| Wire::connect(&primary)).collect();
        for (session, number) in waiting.iter_mut().zip(3..) {
            session.begin(&format!("INSERT INTO t VALUES ({number})"));
            wait_until_it_waits(&primary, session);
        }
        require(&primary, "");
        for session in &mut waiting {
            assert_eq!(session.answer(), ["INSERT 0 1"]);
        }
        assert_eq!(one(&mut admin, "SELECT count(*) FROM t"), "5");
        wait_for_rows(&primary, STATES, &["s1|0|async"]);
        succeeds(&mut waiting[0], "INSERT INTO t VALUES (6)");
        standby.signal(receiver, Signal::SIGCONT);
        caught_up(&primary, &standby);
        assert_eq!(rows_of(&standby, "t").len(), 6);
    });
}

#[test]
fn a_stop_does_not_wait_for_standbys_that_are_away() {
    on_each("stop while a commit waits", |server| {
        let (primary, _writer, standby) = pair(server);
        standby.stop(Stop::Immediate);
        wait_for_rows(&primary, STATES, &[]);
        let mut waiting = Wire::connect(&primary);
        waiting.begin("INSERT INTO t VALUES (1)");
        wait_until_it_waits(&primary, &waiting);
        assert_eq!(primary.stop(Stop::Fast).code(), Some(0));
        let warning = "WARNING:  57P01: canceling the wait for synchronous replication and terminating connection due to \
             administrator command";
        assert_eq!(waiting.answer(), [warning, COMMITTED, "EOF"]);
        primary.start();
        assert_eq!(rows_of(&primary, "t"), ["1"]);
        // It is waited for again, and comes.
        let mut waiting = Wire::connect(&primary);
        waiting.begin("INSERT INTO t VALUES (2)");
        wait_until_it_waits(&primary, &waiting);
        standby.start();
        assert_eq!(waiting.answer(), ["INSERT 0 1"]);
        assert_eq!(rows_of(&standby, "t").len(), 2);
        primary.wait_for_log("standby \"s1\" is now a synchronous standby with priority 1");
    });
}

#[test]
fn a_standby_that_comes_back_releases_those_who_wait() {
    on_each("release", |server| {
        let (primary, mut writer, standby) = pair(server);
        for kill in [true, false] {
            if kill {
                crash(&standby);
            } else {
                assert_eq!(standby.stop(Stop::Fast).code(), Some(0));
            }
            writer.begin("INSERT INTO t VALUES (1)");
            wait_until_it_waits(&primary, &writer);
            standby.start();
            assert_eq!(writer.answer(), ["INSERT 0 1"]);
        }
        assert_eq!(rows_of(&primary, "t").len(), 2);
    });
}

#[test]
fn who_counts() {
    on_each("names", |server| {
        let primary = primary(server, &["wal_keep_size = 1GB"]);
        let mut writer = Wire::connect(&primary);
        succeeds(&mut writer, "CREATE TABLE t (a int)");
        let standbys: Vec<Cluster> = ["s1", "s2", "S3"]
            .iter()
            .map(|name| Standby { config: &[], ..Standby::of(&primary, name) }.started(&primary))
            .collect();
        ["s1", "s2", "S3"].iter().for_each(|name| wait_until_streaming(&primary, name));
        // A standby whose positions are not known yet counts for nobody; each has replied once it has caught up.
        standbys.iter().for_each(|standby| caught_up(&primary, standby));
        for (names, expected) in [
            ("", ["S3|0|async", "s1|0|async", "s2|0|async"]),
            ("s1", ["S3|0|async", "s1|1|sync", "s2|0|async"]),
            ("s2, s1", ["S3|0|async", "s1|2|potential", "s2|1|sync"]),
            ("nobody, s2", ["S3|0|async", "s1|0|async", "s2|2|sync"]),
            ("FIRST 2 (s3, s2, s1)", ["S3|1|sync", "s1|3|potential", "s2|2|sync"]),
            ("2 (s1, \"S3\")", ["S3|2|sync", "s1|1|sync", "s2|0|async"]),
            ("first 1 (s1, *)", ["S3|2|potential", "s1|1|sync", "s2|2|potential"]),
            ("any 1 (s1, s2)", ["S3|0|async", "s1|1|quorum", "s2|1|quorum"]),
            ("ANY 2 (*)", ["S3|1|quorum", "s1|1|quorum", "s2|1|quorum"]),
        ] {
            require(&primary, names);
            wait_for_rows(&primary, STATES, &expected);
            succeeds(&mut writer, "INSERT INTO t VALUES (1)");
        }
        nonsense(&primary);
        // Any two of three: with one away it goes on, with two it waits.
        let held = hold(&standbys[0], receiver_title(&standbys[0]));
        succeeds(&mut writer, "INSERT INTO t VALUES (2)");
        let also = hold(&standbys[1], receiver_title(&standbys[1]));
        writer.begin("INSERT INTO t VALUES (3)");
        wait_until_it_waits(&primary, &writer);
        for _ in 0..20 {
            wait_until_it_waits(&primary, &writer);
            pause();
        }
        standbys[1].signal(also, Signal::SIGCONT);
        assert_eq!(writer.answer(), ["INSERT 0 1"]);
        standbys[0].signal(held, Signal::SIGCONT);
        // Priorities: the next in the list steps in for one that is gone.
        require(&primary, "FIRST 1 (s1, s2)");
        wait_for_rows(&primary, STATES, &["S3|0|async", "s1|1|sync", "s2|2|potential"]);
        crash(&standbys[0]);
        wait_for_rows(&primary, STATES, &["S3|0|async", "s2|2|sync"]);
        succeeds(&mut writer, "INSERT INTO t VALUES (4)");
        standbys[0].start();
        wait_for_rows(&primary, STATES, &["S3|0|async", "s1|1|sync", "s2|2|potential"]);
        standbys.iter().for_each(|standby| caught_up(&primary, standby));
    });
}

/// What cannot be read leaves what was there in force.
#[track_caller]
fn nonsense(primary: &Cluster) {
    let mut session = Wire::connect(primary);
    let before = one(&mut session, "SHOW synchronous_standby_names");
    for (names, detail) in [
        ("FIRST", "syntax error at end of input"),
        ("FIRST 1", "syntax error at end of input"),
        ("2 (s1", "syntax error at end of input"),
        ("s1,,s2", "syntax error at or near \",\""),
        ("ANY x (s1)", "syntax error at or near \"x\""),
        ("FIRST 0 (s1)", "number of synchronous standbys (0) must be greater than zero"),
        ("\"s1", "unterminated quoted identifier at end of input"),
    ] {
        primary.mark_log();
        set_auto(primary, "synchronous_standby_names", names);
        reload(primary);
        let log = primary.wait_for_new_log("contains errors; unaffected changes were applied");
        let expected =
            format!("LOG:  invalid value for parameter \"synchronous_standby_names\": \"{names}\"\n");
        let own = format!("LOG:  {detail}\n");
        assert!(log.contains(&expected) || log.contains(&own), "{names}: {log}");
        assert!(log.contains(detail), "{names}: {log}");
    }
    primary.write_file("postgresql.auto.conf", "");
    reload(primary);
    assert_eq!(one(&mut session, "SHOW synchronous_standby_names"), before);
}

/// Standbys that can only lose if the server does: the primary is killed, the standby promoted.
#[test]
fn acknowledged_commits_survive_the_primary() {
    on_each("failover", |server| {
        let seed = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        println!("PGANATOMY_SEED={seed}");
        let rounds =
            std::env::var("PGANATOMY_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
        for mode in failover::MODES {
            let options = Options { rounds, clients: 6, seed, mode };
            let report = failover::run(server, &options, |line| println!("{line}"));
            println!("{report}");
            assert_eq!(report.losses, 0, "{report}");
            assert!(report.commits > 0, "{report}");
        }
    });
}

/// A promoted standby waits for whom its own settings name.
#[test]
fn a_promoted_standby_has_settings_of_its_own() {
    on_each("settings", |server| {
        let (primary, mut writer, standby) = pair(server);
        succeeds(&mut writer, "INSERT INTO t VALUES (1)");
        assert_eq!(ask(&standby, "SHOW synchronous_standby_names").expect("an answer"), [""]);
        crash(&primary);
        crate::standby_support::promote(&standby);
        succeeds(&mut Wire::connect(&standby), "INSERT INTO t VALUES (2)");
        assert_eq!(rows_of(&standby, "t"), ["1", "2"]);
    });
}
