//! The first reference document, line by line: what is committed asynchronously after the postmaster's death is lost
//! with the session, what is committed synchronously is not; what sessions still can do, and what they are told.

use std::fs;

use integration::{Cluster, Wire, procfs, wait_until};

/// Rows of the insert that goes through `max_wal_size`. The document has ten million; `PGANATOMY_FULL` set, so has
/// this test.
fn many_rows() -> (u32, &'static str) {
    if std::env::var_os("PGANATOMY_FULL").is_some() { (10_000_000, "1GB") } else { (1_000_000, "64MB") }
}

fn csvlog(cluster: &Cluster) -> String {
    fs::read_to_string(cluster.data_dir().join("log/server.csv")).unwrap_or_default()
}

fn session(cluster: &Cluster) -> Wire {
    let mut session = Wire::open_local(cluster);
    session.start_session(&[("user", "postgres"), ("database", "postgres"), ("application_name", "psql")]);
    session
}

/// The answer without what a session is told once about its postmaster.
#[track_caller]
fn query(session: &mut Wire, sql: &str) -> Vec<String> {
    let answer = session.query(sql).into_iter();
    let told = ["WARNING:  01000: the postmaster", "DETAIL:  The session goes on", "HINT:  Finish your work"];
    answer.filter(|line| !told.iter().any(|start| line.starts_with(start))).collect()
}

fn titles(cluster: &Cluster) -> Vec<String> {
    cluster.processes().into_iter().map(|process| process.title).collect()
}

/// kill -9 of the postmaster; the session and the logger remain.
#[track_caller]
fn kill_postmaster(cluster: &Cluster) {
    cluster.kill(cluster.postmaster_pid());
    let left = ["postgres: logger process", "postgres: postgres postgres [local] idle"];
    wait_until("session and logger are left", || titles(cluster) == left);
}

/// The session leaves, all processes with it; the server is started again.
#[track_caller]
fn leave_and_start(cluster: &Cluster, session: Wire) {
    session.quit();
    wait_until("nothing is left", || titles(cluster).is_empty());
    let output = cluster.pg_ctl(&["start", "-w", "-l", &cluster.log_path().to_string_lossy()]);
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", cluster.log());
    assert!(
        said.contains("pg_ctl: another server might be running; trying to start server anyway"),
        "{said}"
    );
}

/// A row of the csvlog with this message, cut into its columns.
#[track_caller]
fn csv_row(cluster: &Cluster, message: &str) -> Vec<String> {
    wait_until(&format!("the log says {message}"), || csvlog(cluster).contains(message));
    let log = csvlog(cluster);
    let line = log.lines().find(|line| line.contains(message)).map(str::to_owned).unwrap_or_default();
    let mut columns = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            other => columns.last_mut().expect("one at least").push(other),
        }
    }
    columns
}

/// What a csvlog row says about who logged it: user, database, tag, severity, SQLSTATE, query, location, application,
/// backend type. The location without the line.
fn who(columns: &[String]) -> Vec<String> {
    let location = columns[21].split(':').next().unwrap_or("").to_owned();
    let mut who: Vec<String> = [1, 2, 7, 11, 12, 19].map(|i| columns[i].clone()).to_vec();
    who.extend([location, columns[22].clone(), columns[23].clone()]);
    who
}

/// Without a checkpointer, volume asks in vain, and the statement succeeds.
#[track_caller]
fn insert_beyond_a_checkpoint(cluster: &Cluster, session: &mut Wire, rows: u32) {
    let insert = format!("insert into test select generate_series(1,{rows});");
    assert_eq!(query(session, &insert), [format!("INSERT 0 {rows}")]);
    let row = csv_row(cluster, "could not signal for checkpoint: No such process");
    assert_eq!(row.len(), 26, "{row:?}");
    let expected = ["postgres", "postgres", "INSERT", "LOG", "00000", &insert];
    assert_eq!(who(&row)[..6], expected, "{row:?}");
    assert_eq!(who(&row)[6..], ["RequestCheckpoint, checkpointer.rs", "psql", "client backend"], "{row:?}");
    assert_eq!(row[9].split('/').count(), 2, "a virtual transaction id: {row:?}");
    assert!(row[10].parse::<u32>().is_ok_and(|xid| xid > 0), "a transaction id: {row:?}");
}

/// VACUUM works; CHECKPOINT says why not; the statistics are stale.
#[track_caller]
fn work_without_helpers(cluster: &Cluster, session: &mut Wire, rows: u32) {
    assert_eq!(query(session, "vacuum test;"), ["VACUUM"]);
    let stale = "using stale statistics instead of current ones because stats collector is not responding";
    let row = csv_row(cluster, stale);
    let expected = ["postgres", "postgres", "VACUUM", "LOG", "00000", "vacuum test;"];
    assert_eq!(who(&row)[..6], expected, "{row:?}");
    assert!(row[21].starts_with("backend_read_statsfile, "), "{row:?}");
    session.show_routine = true;
    let answer = query(session, "checkpoint;");
    let error = "ERROR:  XX000: could not signal for checkpoint: No such process";
    assert_eq!(answer, [error, "LOCATION:  RequestCheckpoint"]);
    let sql = "select relid='test'::regclass, schemaname, relname, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, \
               n_tup_ins, n_tup_upd, n_tup_del, n_tup_hot_upd, n_live_tup, n_dead_tup, n_mod_since_analyze, \
               last_vacuum, last_autovacuum, last_analyze, last_autoanalyze, vacuum_count, autovacuum_count, \
               analyze_count, autoanalyze_count from pg_stat_all_tables where relid='test'::regclass;";
    assert_eq!(query(session, sql), ["t|public|test|0|0|||0|0|0|0|0|0|0|||||0|0|0|0", "SELECT 1"]);
    let count = format!("{}", rows + 1);
    assert_eq!(query(session, "select count(*) from test"), [count.as_str(), "SELECT 1"]);
    let selects =
        csvlog(cluster).lines().filter(|line| line.contains(stale) && line.contains("\"SELECT\"")).count();
    assert_eq!(selects, 1);
}

#[test]
fn the_document_line_by_line() {
    let (rows, max_wal_size) = many_rows();
    let cluster = Cluster::started(&[
        "logging_collector = on",
        "log_destination = 'csvlog'",
        "log_filename = 'server.log'",
        "log_error_verbosity = verbose",
        &format!("max_wal_size = '{max_wal_size}'"),
        "min_wal_size = '32MB'",
        "autovacuum_naptime = '1h'",
    ]);
    let mut first = session(&cluster);
    assert_eq!(query(&mut first, "create table test(id int)"), ["CREATE TABLE"]);
    let mut roster = cluster.roster();
    roster.sort();
    let mut expected =
        ["logger", "checkpointer", "writer", "wal writer", "autovacuum launcher", "stats collector"]
            .map(|name| format!("{name} process"));
    expected.sort();
    assert_eq!(roster, expected);

    // Asynchronously, and nobody is left who would write it.
    kill_postmaster(&cluster);
    assert_eq!(query(&mut first, "set synchronous_commit=off"), ["SET"]);
    assert_eq!(query(&mut first, "insert into test values (1)"), ["INSERT 0 1"]);
    assert_eq!(query(&mut first, "select ctid,* from test"), ["(0,1)|1", "SELECT 1"]);
    leave_and_start(&cluster, first);
    let mut second = session(&cluster);
    assert_eq!(query(&mut second, "select ctid,* from test"), ["SELECT 0"]);

    // Synchronously: it stays.
    kill_postmaster(&cluster);
    assert_eq!(query(&mut second, "set synchronous_commit=on"), ["SET"]);
    assert_eq!(query(&mut second, "truncate test"), ["TRUNCATE TABLE"]);
    assert_eq!(query(&mut second, "insert into test values (1)"), ["INSERT 0 1"]);
    leave_and_start(&cluster, second);
    let mut third = session(&cluster);
    assert_eq!(query(&mut third, "select ctid,* from test"), ["(0,1)|1", "SELECT 1"]);

    kill_postmaster(&cluster);
    insert_beyond_a_checkpoint(&cluster, &mut third, rows);
    work_without_helpers(&cluster, &mut third, rows);

    // And all of it is there after the restart.
    leave_and_start(&cluster, third);
    let mut last = session(&cluster);
    assert_eq!(query(&mut last, "select count(*) from test"), [format!("{}", rows + 1).as_str(), "SELECT 1"]);
    last.quit();
    assert!(procfs::is_alive(cluster.postmaster_pid()));
}
