//! PostgreSQL's own programs read what this server leaves on disk: WAL from the first segment to the last,
//! pg_control, checksums; and PostgreSQL itself starts on it, after a stop and after a crash.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::thread;

use integration::{Cluster, ClusterOptions, Server, Stop, Wire, real_postgres, skip, wait_until};

use crate::redo::{copy_of, crash, recover, workload};

/// Nothing is recycled, so that WAL can be read from its beginning.
const CONFIG: [&str; 4] =
    ["autovacuum = off", "wal_keep_size = '2GB'", "max_wal_size = '32MB'", "shared_buffers = '2MB'"];

fn cluster(config: &[&str]) -> Cluster {
    let cluster = Cluster::with(ClusterOptions {
        server: Server::Ours,
        initdb: vec!["-k".to_owned(), "--wal-segsize=1".to_owned()],
        config: CONFIG.iter().chain(config).map(ToString::to_string).collect(),
    });
    cluster.start();
    cluster
}

#[track_caller]
fn run(session: &mut Wire, sql: &str) -> Vec<String> {
    let answer = session.query(sql);
    assert!(!answer.iter().any(|line| line.starts_with("ERROR")), "{sql}: {answer:?}");
    answer
}

/// One of everything that is written to WAL.
pub(crate) fn everything(cluster: &Cluster) {
    let (mut one, mut two) = (Wire::connect(cluster), Wire::connect(cluster));
    for sql in [
        "CREATE TABLE t (id int NOT NULL, value text DEFAULT 'd', amount numeric CHECK (amount >= 0))",
        "INSERT INTO t SELECT g, repeat('x', g % 500), g FROM generate_series(1, 5000) g",
        "SELECT pg_switch_wal()",
        "INSERT INTO t (id) VALUES (0), (-1), (-2)",
        "UPDATE t SET amount = amount + 1 WHERE id < 100",
        "UPDATE t SET value = repeat('long', 400) WHERE id BETWEEN 200 AND 400",
        "DELETE FROM t WHERE id % 3 = 0",
        "VACUUM t",
        "CHECKPOINT",
        "UPDATE t SET id = id WHERE id % 7 = 0",
        "VACUUM FREEZE t",
        "PREPARE p (int) AS INSERT INTO t VALUES ($1, 'prepared', 1)",
        "EXECUTE p (7)",
        "BEGIN; DELETE FROM t WHERE id < 1000; ROLLBACK",
        "BEGIN; CREATE TABLE never (id int); INSERT INTO never SELECT generate_series(1, 1000); ROLLBACK",
        "CREATE TABLE copied AS SELECT * FROM t",
        "TRUNCATE copied",
        "CREATE TABLE gone (id int); INSERT INTO gone SELECT generate_series(1, 20000); SELECT pg_switch_wal()",
        "DELETE FROM gone WHERE id > 100; ",
        "VACUUM gone",
        "DROP TABLE gone",
        "ANALYZE t",
        "SET synchronous_commit = off",
        "INSERT INTO t VALUES (12, 'late', 0)",
        "RESET synchronous_commit",
    ] {
        run(&mut one, sql);
    }
    // More subtransactions than fit into a PGPROC.
    let mut nested = "BEGIN; ".to_owned();
    for id in 0..100 {
        nested += &format!("SAVEPOINT s{id}; INSERT INTO t VALUES ({id}, 'nested', 1); ");
    }
    run(&mut one, &(nested + "ROLLBACK TO s50; RELEASE s20; COMMIT"));
    // Rows that two lock at once: multixacts; and one that is updated under a key lock.
    run(&mut one, "BEGIN; SELECT 1 FROM t WHERE id BETWEEN 500 AND 700 FOR SHARE");
    run(&mut two, "BEGIN; SELECT 1 FROM t WHERE id BETWEEN 600 AND 700 FOR SHARE; COMMIT");
    run(&mut one, "COMMIT; BEGIN; SELECT 1 FROM t WHERE id BETWEEN 800 AND 820 FOR KEY SHARE");
    run(&mut two, "UPDATE t SET amount = 5 WHERE id BETWEEN 800 AND 810");
    run(&mut one, "COMMIT; SELECT pg_switch_wal()");
    run(&mut two, "VACUUM FREEZE t");
    run(&mut two, "INSERT INTO copied SELECT * FROM t");
}

/// Random sessions for some megabytes of WAL.
fn sessions(cluster: &Cluster, megabytes: i64, end: impl FnOnce(&Cluster)) {
    let config = cluster.client_config();
    let mut watcher = cluster.connect();
    watcher.batch_execute("CREATE TABLE shared (id int)").expect("a table");
    let mut position = || -> i64 {
        let row = watcher.query_one("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::int8", &[]);
        row.map_or(i64::MAX, |row| row.get(0))
    };
    let start = position();
    thread::scope(|scope| {
        for number in 0..3 {
            let (rng, config) = (fastrand::Rng::new(), &config);
            scope.spawn(move || workload(config, number, rng));
        }
        wait_until("enough was written", || position().saturating_sub(start) >= megabytes << 20);
        end(cluster);
    });
}

#[track_caller]
fn program(cluster: &Cluster, name: &str, args: &[&str]) -> Output {
    let mut command = cluster.client(name).expect("asked for before");
    cluster.run(command.args(args))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What pg_waldump shows from the first segment to the end, which must be the only thing it complains about.
#[track_caller]
fn waldump(cluster: &Cluster, data_dir: &Path) -> String {
    let wal = data_dir.join("pg_wal");
    let names = fs::read_dir(&wal).expect("a directory").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let first = names.filter(|name| name.len() == 24).min().expect("a segment");
    // Segments of 1 MB, all below 4 GB.
    let number = u32::from_str_radix(&first[16..], 16).expect("a segment's name");
    let start = format!("0/{:X}", number << 20);
    let output = program(cluster, "pg_waldump", &["-s", &start, "-p", &wal.display().to_string()]);
    let errors = text(&output.stderr);
    let complaints: Vec<&str> = errors.lines().collect();
    let is_end = complaints.len() == 1 && complaints[0].contains("error in WAL record at");
    assert!(is_end, "{errors}");
    let end = complaints[0];
    let ends = [
        "invalid record length",
        "invalid magic number 0000",
        "there is no contrecord flag",
        "unexpected pageaddr",
    ];
    assert!(ends.iter().any(|word| end.contains(word)), "{errors}");
    text(&output.stdout)
}

/// A line's value.
#[track_caller]
fn control_value(data: &str, label: &str) -> String {
    let line = data.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {label} in {data}")).trim().to_owned()
}

/// The real server's log has nothing but ordinary lines.
#[track_caller]
fn starts_without_complaint(cluster: &Cluster, name: &str) {
    let copy = copy_of(cluster, name);
    recover(cluster, Server::Real, &copy);
    let log = fs::read_to_string(copy.with_extension("log")).expect("a log");
    let bad = ["WARNING", "ERROR", "FATAL", "PANIC", "invalid page", "corrupt"];
    assert!(!bad.iter().any(|word| log.contains(word)), "{log}");
    assert!(log.contains("database system is ready to accept connections"), "{log}");
    let data = copy.display().to_string();
    let checked = program(cluster, "pg_checksums", &["--check", "-D", &data]);
    assert!(checked.status.success(), "{checked:?}");
}

/// pg_waldump knows every record, and every kind of them is there.
#[track_caller]
fn check_records(records: &str) {
    let managers: BTreeSet<&str> =
        records.lines().filter_map(|line| line.strip_prefix("rmgr: ")?.split_whitespace().next()).collect();
    for manager in ["XLOG", "Transaction", "Storage", "MultiXact", "Standby", "Heap", "Heap2"] {
        assert!(managers.contains(manager), "no {manager} in {managers:?}");
    }
    assert!(!records.contains("UNKNOWN"), "{:?}", records.lines().find(|line| line.contains("UNKNOWN")));
    for what in [
        "SWITCH",
        "CHECKPOINT_ONLINE",
        "TRUNCATE",
        "FREEZE_PAGE",
        "PRUNE",
        "HOT_UPDATE",
        "MULTI_INSERT",
        "LOCK",
        "RUNNING_XACTS",
        "ABORT",
        "VISIBLE",
    ] {
        assert!(records.contains(what), "no {what}");
    }
}

/// What pg_controldata prints.
fn control_of(cluster: &Cluster) -> String {
    text(&program(cluster, "pg_controldata", &[&cluster.data_dir().display().to_string()]).stdout)
}

/// After a stop: the last record of WAL is the checkpoint of pg_control, and both say the same.
#[track_caller]
fn control_agrees_with(records: &str, control: &str) {
    assert_eq!(control_value(control, "Database cluster state"), "shut down");
    let last = records.lines().rfind(|line| line.starts_with("rmgr:")).expect("records");
    assert!(last.contains("CHECKPOINT_SHUTDOWN"), "{last}");
    let location = control_value(control, "Latest checkpoint location");
    let (high, low) = location.split_once('/').expect("a position");
    let padded = format!("lsn: {high}/{low:0>8},");
    assert!(last.contains(&padded), "{location} and {last}");
    assert_eq!(control_value(control, "Latest checkpoint's REDO location"), location);
    for (label, value) in [
        ("pg_control version number", "1300"),
        ("Catalog version number", "202209061"),
        ("Latest checkpoint's TimeLineID", "1"),
        ("Data page checksum version", "1"),
        ("Bytes per WAL segment", "1048576"),
        ("Minimum recovery ending location", "0/0"),
        ("Backup start location", "0/0"),
        ("wal_level setting", "replica"),
    ] {
        assert_eq!(control_value(control, label), value, "{label}");
    }
    // The checkpoint record of WAL says the same as pg_control.
    let next = control_value(control, "Latest checkpoint's NextXID");
    assert!(last.contains(&format!("xid {next}; ")), "{next} and {last}");
    let next = next.split(':').nth(1).and_then(|xid| xid.parse::<u32>().ok()).expect("a number");
    assert!(next > 100, "{next}");
    let multi = control_value(control, "Latest checkpoint's NextMultiXactId");
    assert!(multi.parse::<u32>().expect("a number") > 1, "{control}");
    assert!(last.contains(&format!("multi {multi}; ")), "{multi} and {last}");
}

#[test]
fn after_a_stop() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    for config in [&["wal_compression = off"][..], &["wal_compression = on", "full_page_writes = off"]] {
        let cluster = cluster(config);
        everything(&cluster);
        sessions(&cluster, 6, |cluster| {
            cluster.stop(Stop::Fast);
        });
        let data_dir = cluster.data_dir();
        let records = waldump(&cluster, &data_dir);
        check_records(&records);

        let data = data_dir.display().to_string();
        let control = control_of(&cluster);
        control_agrees_with(&records, &control);
        for (name, args) in
            [("pg_checksums", vec!["--check", "-D", &data]), ("pg_resetwal", vec!["-n", "-D", &data])]
        {
            let output = program(&cluster, name, &args);
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        }
        let segment = control_value(&control, "Latest checkpoint's REDO WAL file");
        let wal = data_dir.join("pg_wal").display().to_string();
        let cleanup = program(&cluster, "pg_archivecleanup", &["-n", &wal, &segment]);
        let older = text(&cleanup.stdout);
        assert!(cleanup.status.success() && older.lines().count() > 3, "{cleanup:?}");
        assert!(older.lines().all(|path| path.rsplit('/').next() < Some(segment.as_str())), "{older}");
        starts_without_complaint(&cluster, "stopped");
    }
}

#[test]
fn after_a_crash() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let cluster = cluster(&[]);
    everything(&cluster);
    sessions(&cluster, 4, crash);
    waldump(&cluster, &cluster.data_dir());
    starts_without_complaint(&cluster, "crashed");
    // And again behind a recovery of this server, and a second crash.
    cluster.start();
    everything_again(&cluster);
    crash(&cluster);
    let records = waldump(&cluster, &cluster.data_dir());
    assert!(records.contains("CHECKPOINT_SHUTDOWN"), "the end of recovery is a checkpoint");
    starts_without_complaint(&cluster, "crashed-twice");
    let control = control_of(&cluster);
    assert_eq!(control_value(&control, "Database cluster state"), "in production");
}

fn everything_again(cluster: &Cluster) {
    let mut session = Wire::connect(cluster);
    run(&mut session, "DROP TABLE t, copied");
    session.quit();
    everything(cluster);
}
