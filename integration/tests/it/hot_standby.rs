//! Sessions on a cluster that replays another's archive: they see what was committed as segments arrive, are refused what
//! would write, get out of replay's way, and go on as the primary's when it is promoted.

use integration::archive::{self, BaseCopy};
use integration::{Cluster, Server, Stop, Wire, on_each_server, pause, wait_until};

use crate::redo::copy_of;

/// A primary that archives, a session on it, and a standby that replays its archive.
struct Pair {
    primary: Cluster,
    writer: Wire,
    standby: Cluster,
}

impl Pair {
    /// With a table `t (a int, b text)` of 100 rows; more settings for the standby.
    #[track_caller]
    fn new(server: Server, config: &[&str]) -> Pair {
        Pair::with(server, config, |_| {})
    }

    /// The same; `meanwhile` is run on the primary between the copy and the standby's start.
    #[track_caller]
    fn with(server: Server, config: &[&str], meanwhile: impl FnOnce(&Cluster)) -> Pair {
        let primary = archive::archiving(server, &["max_prepared_transactions = 4"]);
        primary.start();
        let mut writer = Wire::connect(&primary);
        for sql in [
            "CREATE TABLE t (a int, b text)",
            "CREATE TABLE u (a int)",
            "INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, 100) g",
        ] {
            succeeds(&mut writer, sql);
        }
        let base: BaseCopy = archive::base_copy(&primary, &mut writer, "base", || {});
        meanwhile(&primary);
        // Which transactions run is in WAL after a checkpoint.
        succeeds(&mut writer, "CHECKPOINT");
        primary.archive_all(&mut writer);
        let standby = archive::on_copy(server, &base.dir, &[]);
        standby.append_config(&archive::restore_command(&primary.archive_dir()));
        // The archive is looked at again soon.
        standby.append_config("wal_retrieve_retry_interval = 50ms");
        config.iter().for_each(|line| standby.append_config(line));
        standby.write_file("standby.signal", "");
        standby.start();
        Pair { primary, writer, standby }
    }

    /// All that the primary has written gets to the standby's archive.
    #[track_caller]
    fn ship(&mut self) {
        self.primary.archive_all(&mut self.writer);
    }

    /// Ships all, and waits until the standby has replayed a row of its own in `u`.
    #[track_caller]
    fn catch_up(&mut self) {
        succeeds(&mut self.writer, "INSERT INTO u VALUES ((SELECT count(*) FROM u))");
        let expected = one(&mut self.writer, "SELECT count(*) FROM u");
        self.ship();
        let mut reader = Wire::connect(&self.standby);
        wait_until("the standby has caught up", || one(&mut reader, "SELECT count(*) FROM u") == expected);
        reader.quit();
    }

    /// Row versions that nobody on the primary can see are deleted there, and removed.
    #[track_caller]
    fn remove_rows(&mut self) {
        succeeds(&mut self.writer, "DELETE FROM t WHERE a <= 50");
        succeeds(&mut self.writer, "VACUUM t");
    }
}

#[track_caller]
fn succeeds(session: &mut Wire, sql: &str) {
    let answer = session.query(sql);
    assert!(
        answer.iter().all(|line| !line.starts_with("ERROR") && !line.starts_with("FATAL")),
        "{sql}: {answer:?}"
    );
}

/// The only value of a query.
#[track_caller]
fn one(session: &mut Wire, sql: &str) -> String {
    let answer = session.query(sql);
    assert!(answer.len() == 2 && ["SELECT 1", "SHOW"].contains(&&*answer[1]), "{sql}: {answer:?}");
    answer[0].clone()
}

const COUNT: &str = "SELECT count(*) FROM t";

#[test]
fn rows_appear_as_segments_arrive() {
    on_each_server("rows_appear_as_segments_arrive", |server| {
        let mut pair = Pair::new(server, &[]);
        let mut reader = Wire::connect(&pair.standby);
        assert_eq!(one(&mut reader, "SHOW in_hot_standby"), "on");
        assert_eq!(one(&mut reader, "SELECT pg_is_in_recovery()"), "t");
        assert_eq!(one(&mut reader, COUNT), "100");
        // One snapshot stays what it is, whatever arrives.
        let mut steady = Wire::connect(&pair.standby);
        succeeds(&mut steady, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!(one(&mut steady, COUNT), "100");
        // A transaction that runs on, with more subtransactions than fit into a session's place.
        let mut other = Wire::connect(&pair.primary);
        succeeds(&mut other, "BEGIN");
        for i in 0..150 {
            succeeds(&mut other, &format!("SAVEPOINT s; INSERT INTO t VALUES ({}, 'open')", 1000 + i));
        }
        for expected in ["101", "102", "103"] {
            succeeds(&mut pair.writer, "INSERT INTO t VALUES (200, 'new')");
            pair.catch_up();
            assert_eq!(one(&mut reader, COUNT), expected, "what has not committed is not there");
        }
        succeeds(&mut other, "ROLLBACK TO s; COMMIT");
        pair.catch_up();
        assert_eq!(one(&mut reader, COUNT), (103 + 149).to_string());
        assert_eq!(one(&mut steady, COUNT), "100");
        succeeds(&mut steady, "COMMIT");
        assert_eq!(one(&mut steady, COUNT), (103 + 149).to_string());
        // What is made, emptied and dropped is followed by caches.
        succeeds(&mut pair.writer, "CREATE TABLE later (x int); INSERT INTO later VALUES (1), (2)");
        pair.catch_up();
        assert_eq!(one(&mut reader, "SELECT count(*) FROM later"), "2");
        succeeds(&mut pair.writer, "TRUNCATE later");
        pair.catch_up();
        assert_eq!(one(&mut reader, "SELECT count(*) FROM later"), "0");
        succeeds(&mut pair.writer, "DROP TABLE later");
        pair.catch_up();
        let gone = reader.query("SELECT count(*) FROM later");
        assert_eq!(gone[0], "ERROR:  42P01: relation \"later\" does not exist");
        assert!(pair.standby.stop(Stop::Fast).success());
    });
}

#[test]
fn a_transaction_that_ran_before_the_copy_is_known() {
    on_each_server("a_transaction_that_ran_before_the_copy_is_known", |server| {
        let mut open = None;
        let mut pair = Pair::with(server, &[], |primary| {
            let mut session = Wire::connect(primary);
            succeeds(
                &mut session,
                "BEGIN; INSERT INTO t VALUES (1, 'x'); SAVEPOINT s; INSERT INTO t VALUES (2, 'y')",
            );
            open = Some(session);
        });
        let mut reader = Wire::connect(&pair.standby);
        assert_eq!(one(&mut reader, COUNT), "100");
        succeeds(open.as_mut().expect("it ran"), "COMMIT");
        pair.catch_up();
        assert_eq!(one(&mut reader, COUNT), "102");
    });
}

/// What a standby says to each of these; `-` for a line that says that it worked.
const REFUSED: [(&str, &[&str]); 24] = [
    ("SHOW transaction_read_only", &["on", "SHOW"]),
    ("CREATE TABLE x (a int)", &["ERROR:  25006: cannot execute CREATE TABLE in a read-only transaction"]),
    ("INSERT INTO t VALUES (1)", &["ERROR:  25006: cannot execute INSERT in a read-only transaction"]),
    ("TRUNCATE t", &["ERROR:  25006: cannot execute TRUNCATE TABLE in a read-only transaction"]),
    ("CREATE ROLE x", &["ERROR:  25006: cannot execute CREATE ROLE in a read-only transaction"]),
    ("VACUUM t", &["ERROR:  25006: cannot execute VACUUM during recovery"]),
    ("ANALYZE t", &["ERROR:  25006: cannot execute ANALYZE during recovery"]),
    ("LOCK TABLE t", &["ERROR:  25006: cannot execute LOCK TABLE during recovery"]),
    ("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE; COMMIT", &["BEGIN", "LOCK TABLE", "COMMIT"]),
    (
        "BEGIN; LOCK TABLE t IN SHARE MODE; COMMIT",
        &["BEGIN", "ERROR:  25006: cannot execute LOCK TABLE during recovery"],
    ),
    ("ROLLBACK", &["ROLLBACK"]),
    ("SELECT pg_current_xact_id()", &["ERROR:  25006: cannot execute pg_current_xact_id() during recovery"]),
    ("SELECT pg_current_xact_id_if_assigned()", &["", "SELECT 1"]),
    (
        "BEGIN TRANSACTION READ WRITE",
        &["ERROR:  0A000: cannot set transaction read-write mode during recovery"],
    ),
    ("ROLLBACK", &["-"]),
    (
        "SET transaction_read_only = off",
        &["ERROR:  0A000: cannot set transaction read-write mode during recovery"],
    ),
    (
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        &[
            "ERROR:  0A000: cannot use serializable mode in a hot standby",
            "HINT:  You can use REPEATABLE READ instead.",
        ],
    ),
    ("ROLLBACK", &["-"]),
    ("SET default_transaction_isolation = 'serializable'", &["SET"]),
    (
        "SELECT 1",
        &[
            "ERROR:  0A000: cannot use serializable mode in a hot standby",
            "DETAIL:  \"default_transaction_isolation\" is set to \"serializable\".",
            "HINT:  You can use \"SET default_transaction_isolation = 'repeatable read'\" to change the default.",
        ],
    ),
    ("SET default_transaction_isolation = 'read committed'", &["SET"]),
    ("COMMIT PREPARED 'x'", &["ERROR:  25006: cannot execute COMMIT PREPARED during recovery"]),
    ("NOTIFY a", &["ERROR:  25006: cannot execute NOTIFY during recovery"]),
    (
        "SELECT pg_switch_wal()",
        &[
            "ERROR:  55000: recovery is in progress",
            "HINT:  WAL control functions cannot be executed during recovery.",
        ],
    ),
];

#[test]
fn what_would_write_is_refused() {
    on_each_server("what_would_write_is_refused", |server| {
        let pair = Pair::new(server, &[]);
        let mut session = Wire::connect(&pair.standby);
        for (sql, expected) in REFUSED {
            let answer = session.query(sql);
            if expected != ["-"] {
                assert_eq!(answer, expected, "{sql}");
            }
        }
        // A checkpoint is a restartpoint, and nothing worse.
        assert_eq!(session.query("CHECKPOINT"), ["CHECKPOINT"]);
        assert_eq!(one(&mut session, COUNT), "100");
    });
}

/// What a statement hears that is in replay's way.
fn cancelled(detail: &str) -> Vec<String> {
    let texts = ["ERROR:  40001: canceling statement due to conflict with recovery", detail];
    texts.map(str::to_owned).into()
}

/// What a session hears that sits idle in replay's way.
fn terminated(detail: &str) -> Vec<String> {
    let hint = "HINT:  In a moment you should be able to reconnect to the database and repeat your command.";
    let texts = ["FATAL:  40001: terminating connection due to conflict with recovery", detail, hint, "EOF"];
    texts.map(str::to_owned).into()
}

/// Two sessions of the standby in a transaction that has seen `t`, one of them with a statement that lasts.
fn readers(standby: &Cluster) -> (Wire, Wire) {
    let mut busy = Wire::connect(standby);
    let mut idle = Wire::connect(standby);
    for session in [&mut busy, &mut idle] {
        succeeds(session, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!(one(session, COUNT), "100");
    }
    busy.begin("SELECT pg_sleep(600)");
    (busy, idle)
}

#[test]
fn a_snapshot_that_sees_removed_rows_is_given_up() {
    on_each_server("a_snapshot_that_sees_removed_rows_is_given_up", |server| {
        let config = [
            "max_standby_archive_delay = 300ms",
            "log_recovery_conflict_waits = on",
            "deadlock_timeout = 20ms",
        ];
        let mut pair = Pair::new(server, &config);
        let (mut busy, mut idle) = readers(&pair.standby);
        // A newer snapshot is in nobody's way.
        let mut newer = Wire::connect(&pair.standby);
        pair.remove_rows();
        pair.ship();
        let detail = "DETAIL:  User query might have needed to see row versions that must be removed.";
        assert_eq!(busy.answer(), cancelled(detail));
        assert_eq!(idle.answer(), terminated(detail));
        succeeds(&mut busy, "ROLLBACK");
        wait_until("the deletion is replayed", || one(&mut newer, COUNT) == "50");
        assert_eq!(one(&mut busy, COUNT), "50");
        let log = pair.standby.wait_for_log("recovery finished waiting after");
        for text in
            ["recovery still waiting after", "ms: recovery conflict on snapshot", "Conflicting process"]
        {
            assert!(log.contains(text), "{log}");
        }
    });
}

#[test]
fn without_a_limit_replay_waits_for_readers() {
    on_each_server("without_a_limit_replay_waits_for_readers", |server| {
        let mut pair = Pair::new(server, &["max_standby_archive_delay = -1"]);
        let mut reader = Wire::connect(&pair.standby);
        succeeds(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!(one(&mut reader, COUNT), "100");
        pair.remove_rows();
        pair.ship();
        let mut other = Wire::connect(&pair.standby);
        let waits_for =
            "SELECT coalesce(wait_event, '') FROM pg_stat_activity WHERE backend_type = 'startup'";
        wait_until("replay waits", || one(&mut other, waits_for) == "RecoveryConflictSnapshot");
        for _ in 0..20 {
            assert_eq!(one(&mut reader, COUNT), "100");
            pause();
        }
        succeeds(&mut reader, "COMMIT");
        wait_until("replay goes on", || one(&mut other, "SELECT count(*) FROM t WHERE a <= 50") == "0");
    });
}

#[test]
fn locks_of_the_primary_are_locks_here() {
    on_each_server("locks_of_the_primary_are_locks_here", |server| {
        let mut pair = Pair::new(server, &["max_standby_archive_delay = 300ms"]);
        let (mut busy, mut idle) = readers(&pair.standby);
        let mut other = Wire::connect(&pair.primary);
        succeeds(&mut other, "BEGIN; LOCK TABLE t");
        pair.ship();
        let detail = "DETAIL:  User was holding a relation lock for too long.";
        assert_eq!(busy.answer(), cancelled(detail));
        assert_eq!(idle.answer(), terminated(detail));
        succeeds(&mut busy, "ROLLBACK");
        // Who comes now waits for the primary's transaction.
        let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
        wait_until("the lock is held", || one(&mut busy, held) == "1");
        let mut waiting = Wire::connect(&pair.standby);
        waiting.begin(COUNT);
        let queue = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        wait_until("a reader waits", || one(&mut busy, queue) == "1");
        succeeds(&mut other, "TRUNCATE t; COMMIT");
        pair.ship();
        assert_eq!(waiting.answer(), ["0", "SELECT 1"]);
        assert_eq!(one(&mut busy, held), "0");
        // And what is dropped is gone.
        succeeds(&mut busy, "BEGIN");
        assert_eq!(one(&mut busy, COUNT), "0");
        busy.begin("SELECT pg_sleep(600)");
        succeeds(&mut pair.writer, "DROP TABLE t");
        pair.ship();
        assert_eq!(busy.answer(), cancelled(detail));
        succeeds(&mut busy, "ROLLBACK");
        wait_until("the table is gone", || busy.query(COUNT)[0].starts_with("ERROR:  42P01"));
    });
}

#[test]
fn a_page_that_is_pinned_is_waited_for() {
    on_each_server("a_page_that_is_pinned_is_waited_for", |server| {
        let mut pair = Pair::new(server, &["max_standby_archive_delay = 300ms"]);
        // The rows are gone before the reader begins, their versions only afterwards: its snapshot is in nobody's way.
        succeeds(&mut pair.writer, "DELETE FROM t WHERE a <= 50");
        pair.catch_up();
        let mut reader = Wire::connect(&pair.standby);
        succeeds(&mut reader, "BEGIN; DECLARE c CURSOR FOR SELECT a FROM t");
        assert_eq!(reader.query("FETCH 1 FROM c"), ["51", "FETCH 1"]);
        succeeds(&mut pair.writer, "VACUUM t");
        reader.begin("SELECT pg_sleep(600)");
        pair.ship();
        assert_eq!(reader.answer(), cancelled("DETAIL:  User was holding shared buffer pin for too long."));
        succeeds(&mut reader, "ROLLBACK");
        assert_eq!(one(&mut reader, COUNT), "50");
        pair.catch_up();
    });
}

#[test]
fn a_promotion_keeps_sessions() {
    on_each_server("a_promotion_keeps_sessions", |server| {
        let mut pair = Pair::new(server, &[]);
        let mut steady = Wire::connect(&pair.standby);
        succeeds(&mut steady, "BEGIN ISOLATION LEVEL REPEATABLE READ");
        assert_eq!(one(&mut steady, COUNT), "100");
        // What runs on the primary at the end never commits here.
        let mut lost = Wire::connect(&pair.primary);
        succeeds(&mut lost, "BEGIN; INSERT INTO t VALUES (1, 'lost'); LOCK TABLE u");
        succeeds(&mut pair.writer, "INSERT INTO t VALUES (2, 'kept')");
        pair.ship();
        let mut session = Wire::connect(&pair.standby);
        wait_until("the last row is there", || one(&mut session, COUNT) == "101");
        let promoted = pair.standby.pg_ctl(&["promote"]);
        assert!(promoted.status.success(), "{promoted:?}");
        wait_until("it is a primary", || one(&mut session, "SHOW in_hot_standby") == "off");
        assert_eq!(one(&mut session, COUNT), "101");
        assert_eq!(session.query("INSERT INTO t VALUES (3, 'new')"), ["INSERT 0 1"]);
        assert_eq!(session.query("INSERT INTO u VALUES (3)"), ["INSERT 0 1"], "its locks are gone");
        assert_eq!(one(&mut session, COUNT), "102");
        assert_eq!(one(&mut steady, COUNT), "100");
        let refused = "ERROR:  25006: cannot execute INSERT in a read-only transaction";
        assert_eq!(steady.query("INSERT INTO t VALUES (4)"), [refused]);
        succeeds(&mut steady, "ROLLBACK");
        assert_eq!(steady.query("INSERT INTO t VALUES (4)"), ["INSERT 0 1"]);
        assert_eq!(one(&mut steady, COUNT), "103");
        assert_eq!(one(&mut steady, "SELECT pg_is_in_recovery()"), "f");
        succeeds(&mut steady, "VACUUM t");
        assert!(pair.standby.stop(Stop::Fast).success());
        pair.standby.start();
        assert_eq!(one(&mut Wire::connect(&pair.standby), COUNT), "103");
    });
}

#[test]
fn a_deadlock_with_replay_is_broken_by_the_session() {
    on_each_server("a_deadlock_with_replay_is_broken_by_the_session", |server| {
        let mut pair = Pair::new(server, &["max_standby_archive_delay = -1", "deadlock_timeout = 100ms"]);
        let mut holder = Wire::connect(&pair.primary);
        succeeds(&mut holder, "BEGIN; LOCK TABLE t");
        pair.ship();
        let mut reader = Wire::connect(&pair.standby);
        let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
        wait_until("the first lock is held", || one(&mut reader, held) == "1");
        succeeds(&mut reader, "BEGIN");
        assert_eq!(one(&mut reader, "SELECT count(*) FROM u"), "0");
        reader.begin(COUNT);
        succeeds(&mut holder, "LOCK TABLE u");
        pair.ship();
        let answer = reader.answer();
        assert_eq!(answer[0], "ERROR:  40P01: deadlock detected", "{answer:?}");
        succeeds(&mut reader, "ROLLBACK");
        wait_until("the second lock is held", || one(&mut reader, held) == "2");
        succeeds(&mut holder, "ROLLBACK");
        pair.ship();
        wait_until("no lock is held", || one(&mut reader, held) == "0");
    });
}

#[test]
fn prepared_transactions_outlive_the_primary() {
    on_each_server("prepared_transactions_outlive_the_primary", |server| {
        let mut pair = Pair::with(server, &[], |primary| {
            let mut session = Wire::connect(primary);
            succeeds(&mut session, "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'early'");
        });
        succeeds(
            &mut pair.writer,
            "BEGIN; LOCK TABLE u; INSERT INTO t VALUES (2); PREPARE TRANSACTION 'late'",
        );
        succeeds(&mut pair.writer, "INSERT INTO t VALUES (3)");
        pair.ship();
        let mut reader = Wire::connect(&pair.standby);
        wait_until("what has committed is there", || one(&mut reader, COUNT) == "101");
        let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
        assert_eq!(one(&mut reader, held), "1");
        succeeds(&mut pair.writer, "COMMIT PREPARED 'early'");
        pair.ship();
        wait_until("the first is committed", || one(&mut reader, COUNT) == "102");
        let promoted = pair.standby.pg_ctl(&["promote"]);
        assert!(promoted.status.success(), "{promoted:?}");
        wait_until("it is a primary", || one(&mut reader, "SHOW in_hot_standby") == "off");
        assert_eq!(one(&mut reader, "SELECT gid FROM pg_prepared_xacts"), "late");
        assert_eq!(one(&mut reader, COUNT), "102");
        assert_eq!(one(&mut reader, held), "1", "its lock is still held");
        assert_eq!(reader.query("COMMIT PREPARED 'late'"), ["COMMIT PREPARED"]);
        assert_eq!(one(&mut reader, COUNT), "103");
        assert_eq!(one(&mut reader, held), "0");
    });
}

/// A prepared transaction may have more subtransactions than a standby has room for in its list of what runs.
#[test]
fn a_standby_of_a_stopped_primary_knows_prepared_subtransactions() {
    on_each_server("a_standby_of_a_stopped_primary_knows_prepared_subtransactions", |server| {
        let config = ["max_prepared_transactions = 2", "max_connections = 10"];
        let primary = archive::archiving(server, &config);
        primary.start();
        let mut writer = Wire::connect(&primary);
        let savepoints = "SAVEPOINT s; INSERT INTO t VALUES (1); RELEASE s;".repeat(3000);
        succeeds(&mut writer, "CREATE TABLE t (a int)");
        succeeds(&mut writer, &format!("BEGIN; {savepoints} PREPARE TRANSACTION 'many'"));
        writer.quit();
        assert!(primary.stop(Stop::Fast).success());
        let standby = archive::on_copy(server, &copy_of(&primary, "cold"), &config);
        standby.append_config("restore_command = 'false'");
        standby.write_file("standby.signal", "");
        standby.start();
        let mut reader = Wire::connect(&standby);
        assert_eq!(one(&mut reader, COUNT), "0");
        assert_eq!(one(&mut reader, "SELECT pg_promote()"), "t");
        assert_eq!(one(&mut reader, COUNT), "0");
        assert_eq!(reader.query("COMMIT PREPARED 'many'"), ["COMMIT PREPARED"]);
        assert_eq!(one(&mut reader, COUNT), "3000");
    });
}

#[test]
fn who_was_in_the_way_is_counted() {
    on_each_server("who_was_in_the_way_is_counted", |server| {
        let mut pair = Pair::new(server, &["max_standby_archive_delay = 100ms"]);
        let (mut busy, mut idle) = readers(&pair.standby);
        // Who has a savepoint is sent away at once, and not told to try again.
        let mut deep = Wire::connect(&pair.standby);
        succeeds(&mut deep, "BEGIN ISOLATION LEVEL REPEATABLE READ; SAVEPOINT s");
        assert_eq!(one(&mut deep, COUNT), "100");
        pair.remove_rows();
        pair.ship();
        let detail = "DETAIL:  User query might have needed to see row versions that must be removed.";
        assert_eq!(busy.answer(), cancelled(detail));
        assert_eq!(idle.answer(), terminated(detail));
        let [fatal, detail, _, end] = &terminated(detail)[..] else { unreachable!() };
        assert_eq!(&deep.answer(), &[fatal.clone(), detail.clone(), end.clone()]);
        succeeds(&mut busy, "ROLLBACK");
        let counts = "SELECT confl_tablespace, confl_lock, confl_snapshot, confl_bufferpin, confl_deadlock \
                      FROM pg_stat_database_conflicts WHERE datname = 'postgres'";
        wait_until("they are counted", || busy.query(counts)[0] == "0|0|3|0|0");
        assert_eq!(one(&mut busy, "SELECT conflicts FROM pg_stat_database WHERE datname = 'postgres'"), "3");
        assert_eq!(one(&mut busy, "SELECT pg_stat_get_db_conflict_snapshot(5)"), "3");
        assert_eq!(one(&mut busy, "SELECT pg_stat_get_db_conflict_all(5)"), "3");
    });
}
