//! What sessions do is counted: by table, by database, for the cluster; what that survives, and what it does not.

use integration::{Cluster, Server, Stop, Wire, on_each_server, wait_for, wait_until};
use nix::sys::signal::Signal;

use crate::support::started;

/// Nobody but the test touches the tables.
const QUIET: [&str; 1] = ["autovacuum = off"];

/// Counters of table `t`; the times apart.
const COUNTS: &str = "select seq_scan, seq_tup_read, n_tup_ins, n_tup_upd, n_tup_del, n_tup_hot_upd, n_live_tup, \
                      n_dead_tup, n_mod_since_analyze, n_ins_since_vacuum, vacuum_count, analyze_count \
                      from pg_stat_user_tables where relname = 't'";

#[track_caller]
fn run(session: &mut Wire, statements: &[&str]) {
    for sql in statements {
        let answer = session.query(sql);
        assert!(!answer.iter().any(|line| line.starts_with("ERROR")), "{sql}: {answer:?}");
    }
}

/// Runs them, and has them counted now.
#[track_caller]
fn counted(session: &mut Wire, statements: &[&str]) {
    run(session, statements);
    run(session, &["select pg_stat_force_next_flush()"]);
}

/// Waits until a query has this one row.
#[track_caller]
fn wait_for_row(session: &mut Wire, sql: &str, row: &str) {
    let mut last = Vec::new();
    let began = std::time::Instant::now();
    while began.elapsed() < integration::DEADLINE {
        last = session.query(sql);
        if last.first().is_some_and(|found| found == row) {
            return;
        }
        integration::pause();
    }
    panic!("waited in vain for {row}: {last:?}");
}

#[track_caller]
fn number(session: &mut Wire, sql: &str) -> i64 {
    let answer = session.query(sql);
    answer[0].parse().unwrap_or_else(|_| panic!("{sql}: {answer:?}"))
}

#[test]
fn tables_count_what_is_done_to_them() {
    on_each_server("counters of tables", |server| {
        let cluster = started(server, &QUIET);
        let (mut writer, mut reader) = (Wire::connect(&cluster), Wire::connect(&cluster));
        let mut check = |statements: &[&str], row: &str| {
            counted(&mut writer, statements);
            wait_for_row(&mut reader, COUNTS, row);
        };
        check(
            &["create table t (a int, b text)", "insert into t select g, 'x' from generate_series(1, 100) g"],
            "0|0|100|0|0|0|100|0|100|100|0|0",
        );
        check(&["select count(*) from t", "select * from t limit 3"], "2|103|100|0|0|0|100|0|100|100|0|0");
        check(&["update t set b = 'y' where a <= 10"], "3|203|100|10|0|10|100|10|110|100|0|0");
        check(&["delete from t where a > 90"], "4|303|100|10|10|10|90|20|120|100|0|0");
        // What is rolled back was done all the same, and lies dead.
        check(
            &["begin", "insert into t values (1), (2), (3)", "delete from t where a = 50", "rollback"],
            "5|396|103|10|11|10|90|23|120|103|0|0",
        );
        check(
            &[
                "begin",
                "insert into t values (201)",
                "savepoint s",
                "insert into t values (202), (203)",
                "rollback to s",
                "insert into t values (204)",
                "release s",
                "commit",
            ],
            "5|396|107|10|11|10|92|25|122|107|0|0",
        );
        check(&["vacuum t"], "5|396|107|10|11|10|92|0|122|0|1|0");
        check(&["copy (select 1) to stdout", "truncate t"], "5|396|107|10|11|10|0|0|122|0|1|0");
        check(
            &["begin", "insert into t values (1)", "truncate t", "insert into t values (2), (3)", "commit"],
            "5|396|109|10|11|10|2|0|124|2|1|0",
        );
    });
}

#[test]
fn blocks_are_found_or_read() {
    on_each_server("counters of blocks", |server| {
        let cluster = started(server, &QUIET);
        let mut session = Wire::connect(&cluster);
        let fill = "insert into t select g from generate_series(1, 10000) g";
        counted(&mut session, &["create table t (a int)", fill, "checkpoint"]);
        session.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.start();
        let mut session = Wire::connect(&cluster);
        let io = "select heap_blks_read, heap_blks_hit, idx_blks_read, toast_blks_hit from pg_statio_user_tables \
                  where relname = 't'";
        let blocks = number(&mut session, "select pg_relation_size('t') / 8192");
        assert!(blocks >= 45, "{blocks}");
        run(&mut session, &["select pg_stat_reset()"]);
        counted(&mut session, &["select count(*) from t"]);
        wait_for_row(&mut session, io, &format!("{blocks}|0||"));
        counted(&mut session, &["select count(*) from t"]);
        wait_for_row(&mut session, io, &format!("{blocks}|{blocks}||"));
        let sums = "select blks_read >= 45, blks_hit >= 45 from pg_stat_database where datname = 'postgres'";
        wait_for_row(&mut session, sums, "t|t");
        let names = "select count(*) > 20 from pg_statio_sys_tables";
        assert_eq!(session.query(names)[0], "t");
        let rest =
            "select count(*) = (select count(*) from pg_statio_sys_tables) + 1 from pg_statio_all_tables";
        assert!(server == Server::Real || session.query(rest)[0] == "t");
    });
}

#[test]
fn a_transaction_sees_one_moment() {
    on_each_server("the statistics of a transaction", |server| {
        let cluster = started(server, &QUIET);
        let (mut writer, mut reader) = (Wire::connect(&cluster), Wire::connect(&cluster));
        counted(&mut writer, &["create table t (a int)", "insert into t values (1)"]);
        let inserted = "select n_tup_ins from pg_stat_user_tables where relname = 't'";
        wait_for_row(&mut reader, inserted, "1");
        run(&mut reader, &["begin", inserted]);
        counted(&mut writer, &["insert into t values (2)"]);
        let mut other = Wire::connect(&cluster);
        wait_for_row(&mut other, inserted, "2");
        assert_eq!(reader.query(inserted)[0], "1", "{server:?}");
        run(&mut reader, &["select pg_stat_clear_snapshot()"]);
        wait_for_row(&mut reader, &format!("{inserted} and pg_stat_clear_snapshot() is not null"), "2");
        run(&mut reader, &["commit"]);
    });
}

#[test]
fn counters_can_be_reset() {
    on_each_server("resets", |server| {
        let cluster = started(server, &QUIET);
        let mut session = Wire::connect(&cluster);
        counted(&mut session, &["create table t (a int)", "insert into t values (1)", "checkpoint"]);
        let inserted = "select n_tup_ins from pg_stat_user_tables where relname = 't'";
        wait_for_row(&mut session, inserted, "1");
        run(&mut session, &["select pg_stat_reset_single_table_counters('t'::regclass)"]);
        wait_for_row(&mut session, inserted, "0");
        counted(&mut session, &["insert into t values (1), (2)"]);
        wait_for_row(&mut session, inserted, "2");
        run(&mut session, &["select pg_stat_reset()"]);
        wait_for_row(&mut session, inserted, "0");
        let was_reset = "select stats_reset is not null from pg_stat_database where datname = 'postgres'";
        wait_for_row(&mut session, was_reset, "t");
        wait_for_row(
            &mut session,
            "select checkpoints_req > 0, buffers_checkpoint > 0 from pg_stat_bgwriter",
            "t|t",
        );
        let before = session.query("select stats_reset from pg_stat_bgwriter").swap_remove(0);
        run(&mut session, &["select pg_stat_reset_shared('bgwriter')"]);
        let fresh = format!(
            "select checkpoints_timed + checkpoints_req, buffers_checkpoint, stats_reset > '{before}' \
             from pg_stat_bgwriter"
        );
        wait_for_row(&mut session, &fresh, "0|0|t");
        run(&mut session, &["select pg_stat_reset_shared('wal')"]);
        assert_eq!(
            session.query("select pg_stat_reset_shared('nonsense')"),
            [
                "ERROR:  22023: unrecognized reset target: \"nonsense\"",
                "HINT:  Target must be \"archiver\", \"bgwriter\", \"recovery_prefetch\", or \"wal\".",
            ]
        );
    });
}

#[test]
fn counters_outlive_a_stop_and_not_a_crash() {
    on_each_server("counters after a restart", |server| {
        let cluster = started(server, &QUIET);
        let mut session = Wire::connect(&cluster);
        counted(&mut session, &["create table t (a int)", "insert into t values (1), (2)"]);
        let inserted = "select n_tup_ins from pg_stat_user_tables where relname = 't'";
        wait_for_row(&mut session, inserted, "2");
        session.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.start();
        let mut session = Wire::connect(&cluster);
        wait_for_row(&mut session, inserted, "2");
        let wal = number(&mut session, "select wal_records from pg_stat_wal");
        assert!(wal > 0, "{wal}");
        cluster.kill(cluster.wait_for_process("postgres: postgres postgres"));
        cluster.wait_for_new_log("reinitializing");
        let mut session = wait_for("a session after the crash", || {
            let mut session = Wire::open(&cluster);
            session.start_session(&[("user", "postgres"), ("database", "postgres")]);
            (session.pid != 0).then_some(session)
        });
        wait_for_row(&mut session, inserted, "0");
        assert_eq!(session.query("select count(*) from t")[0], "2");
    });
}

#[test]
fn sessions_are_counted_by_their_ends() {
    on_each_server("counters of sessions", |server| {
        let cluster = started(server, &QUIET);
        let mut reader = Wire::connect(&cluster);
        let ends = "select sessions_abandoned, sessions_fatal, sessions_killed from pg_stat_database \
                    where datname = 'postgres'";
        let sessions = "select sessions from pg_stat_database where datname = 'postgres'";
        wait_for_row(&mut reader, ends, "0|0|0");
        run(&mut reader, &["select pg_stat_force_next_flush()"]);
        let before = number(&mut reader, sessions);
        Wire::connect(&cluster).quit();
        // Gone without a word.
        let abandoned = Wire::connect(&cluster);
        let pid = abandoned.pid;
        drop(abandoned);
        wait_until("the abandoned session ends", || cluster.title(pid).is_empty());
        wait_for_row(&mut reader, ends, "1|0|0");
        // Sent away.
        let mut sent_away = Wire::connect(&cluster);
        run(&mut reader, &[&format!("select pg_terminate_backend({})", sent_away.pid)]);
        assert_eq!(sent_away.answer().last().map(String::as_str), Some("EOF"));
        wait_for_row(&mut reader, ends, "1|0|1");
        // By an error that ends it.
        let mut idle = Wire::connect(&cluster);
        idle.begin("set idle_session_timeout = 1");
        idle.answer();
        assert_eq!(idle.answer().last().map(String::as_str), Some("EOF"));
        wait_for_row(&mut reader, ends, "1|1|1");
        wait_for_row(
            &mut reader,
            &format!("select sessions >= {} from pg_stat_database where datname = 'postgres'", before + 3),
            "t",
        );
        let times = "select session_time > 0, active_time > 0, numbackends from pg_stat_database where datname = 'postgres'";
        wait_for_row(&mut reader, times, "t|t|1");
    });
}

#[test]
fn the_database_counts_transactions_and_rows() {
    on_each_server("counters of a database", |server| {
        let cluster = started(server, &QUIET);
        let (mut writer, mut reader) = (Wire::connect(&cluster), Wire::connect(&cluster));
        counted(&mut writer, &["create table t (a int)"]);
        run(&mut reader, &["select pg_stat_reset()"]);
        let moment = "select stats_reset is not null and xact_rollback = 0 from pg_stat_database where datname = 'postgres'";
        wait_for_row(&mut reader, moment, "t");
        counted(
            &mut writer,
            &[
                "insert into t select generate_series(1, 1000)",
                "update t set a = 0 where a <= 100",
                "delete from t where a = 0",
                "begin",
                "insert into t values (1)",
                "rollback",
            ],
        );
        let rows = "select xact_commit >= 4, xact_rollback, tup_inserted, tup_updated, tup_deleted, deadlocks, temp_files \
                    from pg_stat_database where datname = 'postgres'";
        wait_for_row(&mut reader, rows, "t|1|1001|100|100|0|0");
        let wal = "select wal_records > 1200, wal_bytes > 50000, wal_fpi >= 0 from pg_stat_wal";
        wait_for_row(&mut reader, wal, "t|t|t");
    });
}

/// PostgreSQL 15 has no collector: this is what 9.4 to 14 do.
#[test]
fn a_collector_that_hangs_is_not_waited_for_long() {
    let cluster = Cluster::started(&QUIET);
    let mut session = Wire::connect(&cluster);
    let collector = cluster.wait_for_process("postgres: stats collector");
    counted(&mut session, &["create table t (a int)"]);
    wait_for_row(&mut session, "select n_tup_ins from pg_stat_user_tables where relname = 't'", "0");
    cluster.signal(collector, Signal::SIGSTOP);
    cluster.mark_log();
    // Until what it has written is too old.
    let answer = wait_for("stale statistics", || {
        let answer = session.query("select n_tup_ins from pg_stat_user_tables where relname = 't'");
        cluster.new_log().contains("using stale statistics").then_some(answer)
    });
    assert_eq!(answer, ["0", "SELECT 1"], "the last ones known");
    let log = cluster.normalised(&cluster.new_log());
    let stale =
        "LOG:  using stale statistics instead of current ones because stats collector is not responding";
    assert_eq!(log.lines().next(), Some(stale));
    cluster.signal(collector, Signal::SIGCONT);
    counted(&mut session, &["insert into t values (1)"]);
    wait_for_row(&mut session, "select n_tup_ins from pg_stat_user_tables where relname = 't'", "1");
}
