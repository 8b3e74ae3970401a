//! Transactions that outlive their session: prepared, they survive every end of the server, keep their locks, and are
//! committed or rolled back by whoever comes, on a restored or promoted server too, ours or PostgreSQL.

use std::fs;

use integration::archive::{self, control, names_in};
use integration::{Cluster, Server, Stop, Wire, on_each_server, real_postgres, skip, wait_until};

use crate::pitr_past::{reopened, restorers, run, wait_until_promoted};
use crate::redo::{compare, copy_of, crash};

/// A cluster on which transactions can be prepared, started.
fn cluster(server: Server) -> Cluster {
    let cluster = archive::archiving(server, &["max_prepared_transactions = 5"]);
    cluster.start();
    cluster
}

/// Prepares three transactions:
/// - `insert` adds row 10 to `t`, and 12 but not 11 in subtransactions,
/// - `update` changes row 1 of `t` and holds its lock,
/// - `table` makes the table `made` with a row in it.
fn prepare(cluster: &Cluster) {
    let mut session = Wire::connect(cluster);
    for sql in [
        "CREATE TABLE t (id int, value text)",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two')",
        "BEGIN; INSERT INTO t VALUES (10, 'prepared')",
        "SAVEPOINT a; INSERT INTO t VALUES (11, 'undone'); ROLLBACK TO a",
        "SAVEPOINT b; INSERT INTO t VALUES (12, 'kept'); RELEASE b",
        "PREPARE TRANSACTION 'insert'",
        "BEGIN; UPDATE t SET value = 'changed' WHERE id = 1; PREPARE TRANSACTION 'update'",
        "BEGIN; CREATE TABLE made (id int); INSERT INTO made VALUES (1); PREPARE TRANSACTION 'table'",
    ] {
        run(&mut session, sql);
    }
    session.quit();
}

/// Rows of an answer.
#[track_caller]
fn ask(cluster: &Cluster, sql: &str) -> Vec<String> {
    let mut session = Wire::connect(cluster);
    let mut answer = run(&mut session, sql);
    answer.pop();
    session.quit();
    answer
}

/// The first line of an answer, an error mostly.
fn said(cluster: &Cluster, sql: &str) -> String {
    let mut session = Wire::connect(cluster);
    let answer = session.query(sql).into_iter().find(|line| !["BEGIN", "SET"].contains(&line.as_str()));
    session.quit();
    answer.unwrap_or_default()
}

/// The three are there, invisible, and hold their locks.
#[track_caller]
fn still_prepared(cluster: &Cluster) {
    assert_eq!(
        ask(cluster, "SELECT gid, owner, database FROM pg_prepared_xacts ORDER BY gid"),
        ["insert|postgres|postgres", "table|postgres|postgres", "update|postgres|postgres"],
        "{}",
        cluster.log()
    );
    assert_eq!(ask(cluster, "SELECT * FROM t ORDER BY id"), ["1|one", "2|two"]);
    assert_eq!(said(cluster, "SELECT * FROM made"), "ERROR:  42P01: relation \"made\" does not exist");
    assert_eq!(
        said(cluster, "SELECT 1 FROM t WHERE id = 1 FOR UPDATE NOWAIT"),
        "ERROR:  55P03: could not obtain lock on row in relation \"t\""
    );
    assert_eq!(said(cluster, "SELECT id FROM t WHERE id = 2 FOR UPDATE NOWAIT"), "2");
    assert_eq!(
        said(cluster, "BEGIN; LOCK TABLE t IN SHARE MODE NOWAIT"),
        "ERROR:  55P03: could not obtain lock on relation \"t\""
    );
    let locks = "SELECT count(*) FROM pg_locks WHERE pid IS NULL AND locktype = 'relation' AND relation = 't'::regclass \
                 AND mode = 'RowExclusiveLock' AND granted";
    assert_eq!(ask(cluster, locks), ["2"]);
}

/// Ends all three: a session that waits for the row goes on, and what was prepared is seen.
#[track_caller]
fn finish(cluster: &Cluster) {
    let mut waiter = Wire::connect(cluster);
    waiter.begin("UPDATE t SET value = value || '!' WHERE id = 1");
    cluster.wait_for_activity(waiter.pid, "UPDATE waiting");
    for (sql, answer) in [
        ("COMMIT PREPARED 'insert'", "COMMIT PREPARED"),
        ("COMMIT PREPARED 'update'", "COMMIT PREPARED"),
        ("ROLLBACK PREPARED 'table'", "ROLLBACK PREPARED"),
    ] {
        assert_eq!(Wire::connect(cluster).query(sql), [answer], "{sql}");
    }
    assert_eq!(waiter.answer(), ["UPDATE 1"]);
    assert_eq!(
        ask(cluster, "SELECT * FROM t ORDER BY id"),
        ["1|changed!", "2|two", "10|prepared", "12|kept"]
    );
    assert_eq!(said(cluster, "SELECT * FROM made"), "ERROR:  42P01: relation \"made\" does not exist");
    assert_eq!(ask(cluster, "SELECT count(*) FROM pg_prepared_xacts"), ["0"]);
    assert_eq!(ask(cluster, "SELECT count(*) FROM pg_locks WHERE pid IS NULL"), ["0"]);
}

fn files(cluster: &Cluster) -> Vec<String> {
    names_in(&cluster.data_dir().join("pg_twophase"))
}

#[test]
fn survive_each_end_of_the_server() {
    on_each_server("prepared transactions survive", |server| {
        let cluster = cluster(server);
        prepare(&cluster);
        still_prepared(&cluster);
        // WAL keeps them until a checkpoint.
        assert!(files(&cluster).is_empty(), "{:?}", files(&cluster));
        crash(&cluster);
        cluster.start();
        still_prepared(&cluster);
        run(&mut Wire::connect(&cluster), "CHECKPOINT");
        let xids = ask(&cluster, "SELECT transaction FROM pg_prepared_xacts");
        let mut names: Vec<String> =
            xids.iter().map(|xid| format!("{:08X}", xid.parse::<u32>().expect("a number"))).collect();
        names.sort();
        assert_eq!(files(&cluster), names);
        crash(&cluster);
        cluster.mark_log();
        cluster.start();
        still_prepared(&cluster);
        let log = cluster.new_log();
        for xid in &xids {
            assert!(
                log.contains(&format!("LOG:  recovering prepared transaction {xid} from shared memory")),
                "{log}"
            );
        }
        // A session that dies takes all others with it, but not these.
        let victim = Wire::connect(&cluster);
        cluster.mark_log();
        cluster.kill(victim.pid);
        cluster.wait_for_new_log("ready to accept connections");
        still_prepared(&cluster);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.start();
        still_prepared(&cluster);
        finish(&cluster);
        assert!(files(&cluster).is_empty(), "{:?}", files(&cluster));
        crash(&cluster);
        cluster.start();
        assert_eq!(ask(&cluster, "SELECT id FROM t ORDER BY id"), ["1", "2", "10", "12"]);
        assert_eq!(ask(&cluster, "SELECT count(*) FROM pg_prepared_xacts"), ["0"]);
    });
}

/// PostgreSQL recovers the directory of a crashed server, finds the prepared transactions, and writes their files when it
/// is stopped: the same files, with which the server they came from goes on.
#[test]
fn with_files_of_the_other_server() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("prepared transactions on the other server", |server| {
        let first = cluster(server);
        prepare(&first);
        crash(&first);
        let dir = copy_of(&first, "crashed");
        let mut contents = Vec::new();
        let mut recovered = Vec::new();
        for restorer in restorers(server) {
            let cluster = archive::on_copy(*restorer, &dir, &[]);
            cluster.start();
            let log = cluster.log();
            assert_eq!(log.matches("recovering prepared transaction").count(), 3, "{log}");
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
            let folder = cluster.data_dir().join("pg_twophase");
            let content = |name: String| (fs::read(folder.join(&name)).ok(), name);
            contents.push(files(&cluster).into_iter().map(content).collect::<Vec<_>>());
            recovered.push(cluster);
        }
        assert_eq!(contents[0].len(), 3);
        assert!(contents.first() == contents.last(), "files of prepared transactions differ");
        if let [ours, real] = recovered.as_slice() {
            assert!(compare(&ours.data_dir(), &real.data_dir(), 0) > 0);
        }
        for cluster in recovered {
            let cluster = reopened(cluster, server);
            still_prepared(&cluster);
            finish(&cluster);
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        }
        // And the other way about: files of this server, and PostgreSQL starts with them.
        first.start();
        run(&mut Wire::connect(&first), "CHECKPOINT");
        crash(&first);
        assert_eq!(files(&first).len(), 3);
        let cluster = archive::on_copy(Server::Real, &copy_of(&first, "with-files"), &[]);
        cluster.start();
        assert_eq!(cluster.log().matches("recovering prepared transaction").count(), 3, "{}", cluster.log());
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        let cluster = reopened(cluster, server);
        still_prepared(&cluster);
        finish(&cluster);
    });
}

/// Recovery to a point between PREPARE and COMMIT PREPARED brings the transaction back; one behind it finds it done.
#[test]
fn at_a_point_in_time() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("prepared transactions and recovery", |server| {
        let primary = cluster(server);
        let mut session = Wire::connect(&primary);
        let base = archive::base_copy(&primary, &mut session, "base", || ());
        prepare(&primary);
        let xid = ask(&primary, "SELECT transaction FROM pg_prepared_xacts WHERE gid = 'insert'")[0].clone();
        run(&mut session, "SELECT pg_create_restore_point('prepared')");
        finish(&primary);
        run(&mut session, "SELECT pg_create_restore_point('finished')");
        session.quit();
        assert_eq!(primary.stop(Stop::Fast).code(), Some(0));
        let by_xid = format!("recovery_target_xid = '{xid}'");
        let exclusive = "recovery_target_inclusive = off";
        for (settings, done) in [
            (&["recovery_target_name = 'prepared'"][..], false),
            (&[by_xid.as_str(), exclusive], false),
            (&["recovery_target_name = 'finished'"], true),
            (&[by_xid.as_str()], true),
        ] {
            let mut logs = Vec::new();
            for restorer in restorers(server) {
                let cluster = archive::restored(*restorer, &base.dir, &primary.archive_dir(), settings);
                cluster.append_config("recovery_target_action = promote");
                cluster.start();
                wait_until_promoted(&cluster);
                let what = format!("{settings:?} {restorer:?}");
                logs.push(cluster.milestones());
                assert_eq!(cluster.stop(Stop::Fast).code(), Some(0), "{what}");
                assert_eq!(control(&cluster, "Latest checkpoint's TimeLineID"), "2", "{what}");
                let cluster = reopened(cluster, server);
                if done {
                    let row = ask(&cluster, "SELECT value FROM t WHERE id = 12");
                    assert_eq!(row, ["kept"], "{what}");
                    assert_eq!(
                        ask(&cluster, "SELECT gid FROM pg_prepared_xacts WHERE gid = 'insert'").len(),
                        0
                    );
                } else {
                    still_prepared(&cluster);
                    finish(&cluster);
                }
            }
            assert_eq!(logs.first(), logs.last(), "{settings:?}");
        }
    });
}

/// A standby knows them, shows nothing of them, and has them when it is promoted.
#[test]
fn on_a_promoted_standby() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("prepared transactions and promotion", |server| {
        let primary = cluster(server);
        let mut session = Wire::connect(&primary);
        let base = archive::base_copy(&primary, &mut session, "base", || ());
        prepare(&primary);
        primary.archive_all(&mut session);
        for restart in [false, true] {
            let cluster = archive::on_copy(server, &base.dir, &["wal_retrieve_retry_interval = '10ms'"]);
            cluster.append_config(&archive::restore_command(&primary.archive_dir()));
            cluster.write_file("standby.signal", "");
            cluster.start();
            let mut reader = Wire::connect(&cluster);
            wait_until("the standby has followed", || {
                reader.query("SELECT count(*) FROM t").first().map(String::as_str) == Some("2")
            });
            wait_until("all is replayed", || {
                let lsn = run(&mut reader, "SELECT pg_last_wal_replay_lsn()")[0].clone();
                lsn.parse::<common::Lsn>().is_ok_and(|lsn| lsn.0 % (1 << 20) == 0)
            });
            assert_eq!(run(&mut reader, "SELECT count(*) FROM pg_prepared_xacts")[0], "0");
            assert_eq!(
                reader.query("COMMIT PREPARED 'insert'"),
                ["ERROR:  25006: cannot execute COMMIT PREPARED during recovery"]
            );
            reader.quit();
            if restart {
                // A restartpoint writes them to files.
                run(&mut Wire::connect(&cluster), "CHECKPOINT");
                assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
                cluster.start();
            }
            assert_eq!(ask(&cluster, "SELECT pg_promote()"), ["t"]);
            still_prepared(&cluster);
            finish(&cluster);
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        }
    });
}

/// What cannot be.
#[test]
fn refusals() {
    on_each_server("two-phase refusals", |server| {
        let cluster = cluster(server);
        let mut session = Wire::connect(&cluster);
        run(&mut session, "CREATE TABLE t (id int)");
        let too_long = format!("BEGIN; PREPARE TRANSACTION '{}'", "x".repeat(200));
        for (sql, expected) in [
            (
                "COMMIT PREPARED 'x'",
                "ERROR:  42704: prepared transaction with identifier \"x\" does not exist",
            ),
            (
                "ROLLBACK PREPARED 'x'",
                "ERROR:  42704: prepared transaction with identifier \"x\" does not exist",
            ),
            (
                "BEGIN; COMMIT PREPARED 'x'",
                "ERROR:  25001: COMMIT PREPARED cannot run inside a transaction block",
            ),
            (
                &too_long,
                &format!("ERROR:  22023: transaction identifier \"{}\" is too long", "x".repeat(200)),
            ),
            ("BEGIN; SELECT 1 / 0", "ERROR:  22012: division by zero"),
        ] {
            let answer = session.query(sql);
            let answer = answer.iter().find(|line| *line != "BEGIN").map(String::as_str);
            assert_eq!(answer, Some(expected), "{sql}");
            session.query("ROLLBACK");
        }
        session.query("BEGIN; SELECT 1 / 0");
        assert_eq!(session.query("PREPARE TRANSACTION 'x'"), ["ROLLBACK"]);
    });
}

/// As many as there is room for, and a start with less room.
#[test]
fn no_more_than_the_setting_says() {
    on_each_server("max_prepared_transactions", |server| {
        let cluster = cluster(server);
        let mut session = Wire::connect(&cluster);
        run(&mut session, "CREATE TABLE t (id int)");
        run(&mut session, "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'one'");
        assert_eq!(
            session.query("BEGIN; PREPARE TRANSACTION 'one'").last().map(String::as_str),
            Some("ERROR:  42710: transaction identifier \"one\" is already in use")
        );
        session.query("ROLLBACK");
        for name in ["two", "three", "four", "five"] {
            run(&mut session, &format!("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION '{name}'"));
        }
        let answer = session.query("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'six'");
        assert_eq!(
            answer[2..],
            [
                "ERROR:  53200: maximum number of prepared transactions reached",
                "HINT:  Increase max_prepared_transactions (currently 5)."
            ]
        );
        session.query("ROLLBACK");
        // Somebody else's.
        run(&mut session, "CREATE ROLE somebody; SET ROLE somebody");
        let answer = session.query("COMMIT PREPARED 'one'");
        assert_eq!(
            answer,
            [
                "ERROR:  42501: permission denied to finish prepared transaction",
                "HINT:  Must be superuser or the user that prepared the transaction."
            ]
        );
        // Fewer places than there are transactions.
        session.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.append_config("max_prepared_transactions = 2");
        cluster.mark_log();
        cluster.spawn_postmaster(&[]);
        assert_eq!(cluster.wait_for_end().code(), Some(1));
        let log = cluster.new_log();
        assert!(log.contains("FATAL:  maximum number of prepared transactions reached"), "{log}");
        cluster.append_config("max_prepared_transactions = 5");
        cluster.start();
        for name in ["one", "two", "three", "four", "five"] {
            run(&mut Wire::connect(&cluster), &format!("COMMIT PREPARED '{name}'"));
        }
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.append_config("max_prepared_transactions = 0");
        cluster.start();
        let mut session = Wire::connect(&cluster);
        run(&mut session, "BEGIN");
        assert_eq!(
            session.query("PREPARE TRANSACTION 'x'"),
            [
                "ERROR:  55000: prepared transactions are disabled",
                "HINT:  Set max_prepared_transactions to a nonzero value."
            ]
        );
    });
}
