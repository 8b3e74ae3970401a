//! Base backups: what the two functions say and write, and that a copy made with `cp` while clients write recovers with
//! all that was acknowledged before `pg_backup_stop` returned.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use integration::archive::{self, BaseCopy, names_in};
use integration::{
    Cluster, ClusterOptions, Server, Stop, Wire, on_each_server, real_postgres, skip, wait_until,
};
use regex::Regex;

use crate::pitr_past::{reopened, restorers, run, wait_until_promoted};
use crate::redo::{self, compare};

/// Lines, whole, against patterns.
#[track_caller]
fn matches(text: &str, patterns: &[&str]) {
    assert!(text.ends_with('\n'), "{text:?}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), patterns.len(), "{text}");
    for (line, pattern) in lines.iter().zip(patterns) {
        let pattern = Regex::new(&format!("^{pattern}$")).expect("a valid pattern");
        assert!(pattern.is_match(line), "{line} is not {pattern}");
    }
}

const LOCATION: &str = r"0/[0-9A-F]+ \(file 0000000100000000000000[0-9A-F]{2}\)";
const TIME: &str = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC";

/// The backup history file that belongs to a base copy.
fn history_name(base: &BaseCopy, segment_bytes: u64) -> String {
    let start = base.label_value("START WAL LOCATION");
    let (lsn, file) = start.split_once(" (file ").expect("a file");
    let lsn = lsn.parse::<common::Lsn>().expect("a position");
    format!("{}.{:08X}.backup", file.trim_end_matches(')'), lsn.0 % segment_bytes)
}

#[test]
fn what_is_written() {
    on_each_server("backup files", |server| {
        let cluster = archive::archiving(server, &[]);
        cluster.start();
        let mut session = Wire::connect(&cluster);
        run(&mut session, "CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 1000)");
        let base = archive::base_copy_with(&cluster, &mut session, "base", true, || ());
        // If that took more than some seconds, it was told so.
        let told = base.notices.iter().filter(|notice| !notice.contains("base backup done, waiting"));
        let told: Vec<_> = told.collect();
        assert_eq!(told, ["NOTICE:  00000: all required WAL segments have been archived"]);
        assert_eq!(base.tablespace_map, "");
        let start = format!("START WAL LOCATION: {LOCATION}");
        let time = format!("START TIME: {TIME}");
        let label = [
            &start,
            r"CHECKPOINT LOCATION: 0/[0-9A-F]+",
            "BACKUP METHOD: streamed",
            "BACKUP FROM: primary",
            &time,
            "LABEL: base",
            "START TIMELINE: 1",
        ];
        matches(&base.label, &label);
        let name = history_name(&base, 1 << 20);
        wait_until("the history file is archived", || cluster.is_archived(&name));
        let history = fs::read_to_string(cluster.archive_dir().join(&name)).expect("a history file");
        let stop = format!("STOP WAL LOCATION: {LOCATION}");
        let stop_time = format!("STOP TIME: {TIME}");
        let mut all = vec![label[0], &stop];
        all.extend(&label[1..]);
        all.extend([stop_time.as_str(), "STOP TIMELINE: 1"]);
        matches(&history, &all);
        assert!(history.contains(&format!("STOP WAL LOCATION: {} ", base.stop_lsn)), "{history} {base:?}");
        for line in base.label.lines() {
            assert!(history.lines().any(|other| other == line), "{line} is not in {history}");
        }
        // The next backup removes the history file of the one before, which is archived.
        archive::base_copy_with(&cluster, &mut session, "again", true, || ());
        let status = names_in(&cluster.data_dir().join("pg_wal/archive_status"));
        assert!(!status.contains(&format!("{name}.done")), "{status:?}");
        assert!(!cluster.data_dir().join("pg_wal").join(&name).exists());
        // Nothing is left of a backup in the directory itself.
        for file in ["backup_label", "tablespace_map"] {
            assert!(!cluster.data_dir().join(file).exists());
        }
    });
}

/// Statements with what is said to each.
#[track_caller]
fn conversation(session: &mut Wire, script: &[(&str, &[&str])]) {
    for (sql, expected) in script {
        assert_eq!(session.query(sql), *expected, "{sql}");
    }
}

const NOT_BEFORE: [&str; 2] =
    ["ERROR:  55000: backup is not in progress", "HINT:  Did you call pg_backup_start()?"];

#[test]
fn what_is_refused() {
    on_each_server("backup errors", |server| {
        let cluster = archive::archiving(server, &[]);
        cluster.start();
        let mut session = Wire::connect(&cluster);
        let too_long = format!("SELECT pg_backup_start('{}', true)", "x".repeat(1025));
        conversation(
            &mut session,
            &[
                ("SELECT pg_backup_stop()", &NOT_BEFORE),
                (&too_long, &["ERROR:  22023: backup label too long (max 1024 bytes)"]),
                ("SELECT pg_backup_start(NULL, true) IS NULL", &["t", "SELECT 1"]),
                ("SELECT pg_backup_start('one', true) IS NULL", &["f", "SELECT 1"]),
                (
                    "SELECT pg_backup_start('two', true)",
                    &["ERROR:  55000: a backup is already in progress in this session"],
                ),
            ],
        );
        // Another session is another backup.
        let mut other = Wire::connect(&cluster);
        conversation(&mut other, &[("SELECT pg_backup_stop()", &NOT_BEFORE)]);
        run(&mut other, "SELECT pg_backup_start('three', true)");
        run(&mut other, "SELECT pg_backup_stop(false)");
        run(&mut session, "SELECT pg_backup_stop(false)");
        conversation(&mut session, &[("SELECT pg_backup_stop()", &NOT_BEFORE)]);
        run(&mut session, "CREATE ROLE somebody LOGIN");
        run(&mut session, "SET ROLE somebody");
        conversation(
            &mut session,
            &[
                (
                    "SELECT pg_backup_start('no', true)",
                    &["ERROR:  42501: permission denied for function pg_backup_start"],
                ),
                (
                    "SELECT pg_backup_stop()",
                    &["ERROR:  42501: permission denied for function pg_backup_stop"],
                ),
                (
                    "SELECT pg_create_restore_point('no')",
                    &["ERROR:  42501: permission denied for function pg_create_restore_point"],
                ),
            ],
        );
    });
}

#[test]
fn without_an_archive_and_without_wal() {
    on_each_server("backup without archive", |server| {
        let config = |lines: &[&str]| ClusterOptions {
            server,
            initdb: vec!["--wal-segsize=1".to_owned()],
            config: lines.iter().map(ToString::to_string).collect(),
        };
        let cluster = Cluster::with(config(&["max_wal_senders = 0"]));
        cluster.start();
        let mut session = Wire::connect(&cluster);
        run(&mut session, "SELECT pg_backup_start('no archive', true)");
        let said = run(&mut session, "SELECT lsn > '0/0', spcmapfile FROM pg_backup_stop()");
        assert_eq!(
            said,
            [
                "NOTICE:  00000: WAL archiving is not enabled; you must ensure that all required WAL segments are copied through other means to complete the backup",
                "t|",
                "SELECT 1"
            ]
        );
        session.quit();
        cluster.stop(Stop::Fast);
        cluster.append_config("wal_level = minimal");
        cluster.start();
        let minimal = |what| {
            [
                format!("ERROR:  55000: WAL level not sufficient for {what}"),
                "HINT:  wal_level must be set to \"replica\" or \"logical\" at server start.".to_owned(),
            ]
        };
        let mut session = Wire::connect(&cluster);
        assert_eq!(session.query("SELECT pg_backup_start('x', true)"), minimal("making an online backup"));
        assert_eq!(session.query("SELECT pg_create_restore_point('x')"), minimal("creating a restore point"));
    });
}

const ABANDONED: &str = "aborting backup due to backend exiting before pg_backup_stop was called";

/// Is the first change of a page after a checkpoint logged with the whole page? `whole` is a page with little room left.
#[track_caller]
fn logs_images(session: &mut Wire) -> bool {
    run(session, "CHECKPOINT");
    let before = run(session, "SELECT pg_current_wal_insert_lsn()").swap_remove(0);
    run(session, "UPDATE whole SET id = id WHERE id = 1");
    run(session, &format!("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}') > 4000"))[0] == "t"
}

/// A session that ends in the middle of its backup, in each way, ends its backup with it.
#[test]
fn sessions_that_end_in_a_backup() {
    on_each_server("abandoned backups", |server| {
        let cluster = archive::archiving(server, &["full_page_writes = off"]);
        cluster.start();
        let mut session = Wire::connect(&cluster);
        run(&mut session, "CREATE TABLE whole AS SELECT generate_series(1, 200) AS id");
        assert!(!logs_images(&mut session));
        run(&mut session, "SELECT pg_backup_start('x', true)");
        assert!(logs_images(&mut session));
        cluster.mark_log();
        session.quit();
        cluster.wait_for_new_log(&format!("WARNING:  {ABANDONED}"));
        let mut session = Wire::connect(&cluster);
        run(&mut session, "SELECT pg_backup_start('x', true)");
        cluster.mark_log();
        let mut other = Wire::connect(&cluster);
        run(&mut other, &format!("SELECT pg_terminate_backend({})", session.pid));
        cluster.wait_for_new_log(&format!("WARNING:  {ABANDONED}"));
        assert!(!logs_images(&mut other));
        // An error does not end it, nor does the end of a transaction.
        let mut session = Wire::connect(&cluster);
        run(&mut session, "BEGIN; SELECT pg_backup_start('x', true); ROLLBACK");
        session.query("SELECT 1 / 0");
        run(&mut session, "SELECT pg_backup_stop(false)");
        assert!(!logs_images(&mut session));
        // And after a crash everybody may begin anew.
        run(&mut session, "SELECT pg_backup_start('x', true)");
        cluster.mark_log();
        cluster.kill(session.pid);
        cluster.wait_for_new_log("ready to accept connections");
        let mut session = Wire::connect(&cluster);
        let base = archive::base_copy(&cluster, &mut session, "base", || ());
        assert_eq!(base.label_value("BACKUP FROM"), "primary");
    });
}

/// Sessions that each write their own table and know what was acknowledged.
struct Writers {
    stop: AtomicBool,
    acknowledged: [AtomicU64; 3],
}

impl Writers {
    fn new() -> Writers {
        Writers { stop: AtomicBool::new(false), acknowledged: Default::default() }
    }

    fn write(&self, config: &postgres::Config, number: usize) {
        let Ok(mut client) = config.connect(postgres::NoTls) else { return };
        let mut id = 0;
        while !self.stop.load(SeqCst) {
            id += 1;
            let pad = "p".repeat(id as usize % 700);
            let sql = format!(
                "INSERT INTO own{number} VALUES ({id}, '{pad}'); UPDATE own{number} SET pad = pad || 'u' WHERE id = {id} / 2"
            );
            if client.batch_execute(&sql).is_err() {
                return;
            }
            self.acknowledged[number].store(id, SeqCst);
        }
    }

    fn known(&self) -> Vec<u64> {
        self.acknowledged.iter().map(|number| number.load(SeqCst)).collect()
    }
}

/// How many rows each writer has in a restored cluster; they are without holes.
#[track_caller]
fn found(cluster: &Cluster) -> Vec<u64> {
    let mut session = Wire::connect(cluster);
    let counts = (0..3).map(|number| {
        let sql = format!("SELECT count(*), coalesce(max(id), 0), coalesce(min(id), 1) FROM own{number}");
        let answer = run(&mut session, &sql);
        let numbers: Vec<u64> = answer[0].split('|').map(|n| n.parse().expect("a number")).collect();
        assert_eq!((numbers[0], numbers[2]), (numbers[1], 1), "rows of writer {number}");
        numbers[0]
    });
    let counts = counts.collect();
    session.quit();
    counts
}

/// Copies under load, stops, and restores.
#[track_caller]
fn under_load(server: Server, initdb: &[&str], config: &[&str]) {
    let cluster = archive::archiving_with(server, initdb, config);
    cluster.start();
    let mut session = Wire::connect(&cluster);
    run(&mut session, "CREATE TABLE shared (id int)");
    for number in 0..3 {
        run(&mut session, &format!("CREATE TABLE own{number} (id int, pad text)"));
    }
    let writers = Writers::new();
    let client_config = cluster.client_config();
    let (base, at_stop) = thread::scope(|scope| {
        for number in 0..3 {
            let (writers, config) = (&writers, &client_config);
            scope.spawn(move || writers.write(config, number));
        }
        let config = &client_config;
        scope.spawn(move || redo::workload(config, 9, fastrand::Rng::new()));
        let each_has = |count: u64| writers.known().iter().all(|known| *known >= count);
        wait_until("all write", || each_has(20));
        let mut at_stop = Vec::new();
        let base = archive::base_copy(&cluster, &mut session, "base", || {
            let mut other = Wire::connect(&cluster);
            run(&mut other, "CHECKPOINT");
            let before = writers.known();
            wait_until("more is written", || {
                writers.known().iter().zip(&before).all(|(now, before)| *now >= before + 20)
            });
            run(&mut other, "CHECKPOINT");
            at_stop = writers.known();
        });
        wait_until("some is written after it", || {
            writers.known().iter().zip(&at_stop).all(|(now, before)| *now >= before + 5)
        });
        writers.stop.store(true, SeqCst);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        (base, at_stop)
    });
    restores(server, &cluster, &base, &at_stop, &writers.known());
}

/// Restores to the earliest consistent point and to the end, with what was known then.
#[track_caller]
fn restores(server: Server, cluster: &Cluster, base: &BaseCopy, at_stop: &[u64], at_end: &[u64]) {
    let restore = |restorer: Server, settings: &[&str]| {
        let cluster = archive::restored(restorer, &base.dir, &cluster.archive_dir(), settings);
        cluster.start();
        wait_until_promoted(&cluster);
        cluster
    };
    for restorer in restorers(server) {
        let settings = ["recovery_target = 'immediate'", "recovery_target_action = promote"];
        let early = restore(*restorer, &settings);
        assert_eq!(early.stop(Stop::Fast).code(), Some(0));
        let found = found(&reopened(early, server));
        assert!(found.iter().zip(at_stop).all(|(found, known)| found >= known), "{found:?} of {at_stop:?}");
    }
    let restored: Vec<Cluster> = restorers(server)
        .iter()
        .map(|restorer| {
            let cluster = restore(*restorer, &[]);
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
            cluster
        })
        .collect();
    if let [ours, real] = restored.as_slice() {
        assert!(compare(&ours.data_dir(), &real.data_dir(), 0) > 0);
        assert_eq!(ours.milestones(), real.milestones());
    }
    // Only now: whoever reads pages also prunes them.
    for cluster in restored {
        let cluster = reopened(cluster, server);
        let found = found(&cluster);
        // The last statement of each may have happened without an answer.
        let fits = |(found, known): (&u64, &u64)| found == known || *found == known + 1;
        assert!(found.iter().zip(at_end).all(fits), "{:?}: {found:?} of {at_end:?}", cluster.server());
    }
}

#[test]
fn copied_while_clients_write() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("backup under load", |server| under_load(server, &["-k"], &["shared_buffers = '1MB'"]));
}

/// A backup turns full-page writes on for its time.
#[test]
fn copied_without_full_page_writes() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("backup without full_page_writes", |server| {
        under_load(server, &[], &["full_page_writes = off", "shared_buffers = '1MB'"]);
    });
}

/// A copy of a standby: the label says so, and the end is where pg_control was.
#[test]
fn copied_from_a_standby() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("backup of a standby", |server| {
        let primary = archive::archiving(server, &[]);
        primary.start();
        let mut session = Wire::connect(&primary);
        run(&mut session, "CREATE TABLE own (id int); INSERT INTO own VALUES (1)");
        let base = archive::base_copy(&primary, &mut session, "base", || ());
        run(&mut session, "INSERT INTO own VALUES (2); CHECKPOINT");
        primary.archive_all(&mut session);
        let standby = archive::on_copy(server, &base.dir, &["wal_retrieve_retry_interval = '10ms'"]);
        standby.append_config(&archive::restore_command(&primary.archive_dir()));
        standby.write_file("standby.signal", "");
        standby.start();
        let mut reader = Wire::connect(&standby);
        wait_until("the standby has followed", || run(&mut reader, "SELECT count(*) FROM own")[0] == "2");
        let copy = archive::base_copy(&standby, &mut reader, "copy", || ());
        assert_eq!(copy.label_value("BACKUP FROM"), "standby");
        run(&mut session, "INSERT INTO own VALUES (3)");
        primary.archive_all(&mut session);
        for restorer in restorers(server) {
            let cluster = archive::restored(*restorer, &copy.dir, &primary.archive_dir(), &[]);
            cluster.start();
            wait_until_promoted(&cluster);
            let log = cluster.log();
            assert!(log.contains("consistent recovery state reached"), "{log}");
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
            let cluster = reopened(cluster, server);
            assert_eq!(run(&mut Wire::connect(&cluster), "SELECT count(*) FROM own")[0], "3");
        }
    });
}
