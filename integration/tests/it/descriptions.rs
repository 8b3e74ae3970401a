//! What each WAL record is said to be, in the context of a report, is what PostgreSQL's `pg_waldump` prints about it: for
//! a workload that writes all kinds of records, on this server and on PostgreSQL.

use std::collections::BTreeSet;
use std::path::Path;

use common::{Lsn, TimeLineId};
use integration::archive::{self, names_in};
use integration::{Cluster, Server, Stop, Wire, on_each_server, real_postgres, skip, wait_until};
use regex::{Captures, Regex};
use wal::RmgrId;

use crate::formats::everything;
use crate::pitr_past::run;

const SEGMENT: u32 = 1 << 20;

/// Nothing of WAL is recycled.
const CONFIG: [&str; 4] =
    ["max_prepared_transactions = 5", "wal_keep_size = '2GB'", "shared_buffers = '2MB'", "hot_standby = on"];

/// Managers of indexes and of what this server has not got: PostgreSQL's catalogs have them.
const OTHERS: [&str; 4] = ["Btree", "Hash", "CommitTs", "Generic"];

/// What has to be in the WAL of either server.
const KINDS: [&str; 41] = [
    "XLOG/CHECKPOINT_SHUTDOWN",
    "XLOG/CHECKPOINT_ONLINE",
    "XLOG/NEXTOID",
    "XLOG/SWITCH",
    "XLOG/BACKUP_END",
    "XLOG/PARAMETER_CHANGE",
    "XLOG/RESTORE_POINT",
    "XLOG/FPW_CHANGE",
    "XLOG/END_OF_RECOVERY",
    "XLOG/FPI_FOR_HINT",
    "Transaction/COMMIT",
    "Transaction/PREPARE",
    "Transaction/ABORT",
    "Transaction/COMMIT_PREPARED",
    "Transaction/ABORT_PREPARED",
    "Transaction/ASSIGNMENT",
    "Storage/CREATE",
    "Storage/TRUNCATE",
    "CLOG/ZEROPAGE",
    "MultiXact/ZERO_OFF_PAGE",
    "MultiXact/ZERO_MEM_PAGE",
    "MultiXact/CREATE_ID",
    "Standby/LOCK",
    "Standby/RUNNING_XACTS",
    "Standby/INVALIDATIONS",
    "Heap/INSERT",
    "Heap/INSERT+INIT",
    "Heap/DELETE",
    "Heap/UPDATE",
    "Heap/UPDATE+INIT",
    "Heap/HOT_UPDATE",
    "Heap/LOCK",
    "Heap/INPLACE",
    "Heap2/PRUNE",
    "Heap2/VACUUM",
    "Heap2/FREEZE_PAGE",
    "Heap2/VISIBLE",
    "Heap2/MULTI_INSERT",
    "Heap2/MULTI_INSERT+INIT",
    "Heap2/LOCK_UPDATED",
    "XLOG/FPI",
];

/// What PostgreSQL writes besides.
const KINDS_OF_REAL: [&str; 11] = [
    "Transaction/INVALIDATION",
    "Heap/TRUNCATE",
    "Heap2/NEW_CID",
    "LogicalMessage/MESSAGE",
    "RelMap/UPDATE",
    "Sequence/LOG",
    "Database/CREATE_FILE_COPY",
    "Database/CREATE_WAL_LOG",
    "Database/DROP",
    "Tablespace/CREATE",
    "Tablespace/DROP",
];

/// A stopped cluster of its own whose next transaction and multixact are the last ones of their pages.
fn cluster(server: Server) -> Cluster {
    let cluster = archive::archiving_with(server, &["-k"], &CONFIG);
    let data = cluster.data_dir().display().to_string();
    let mut reset = cluster.client("pg_resetwal").expect("asked for before");
    let output = cluster.run(reset.args(["-x", "32700", "-m", "2040,1", "-O", "1600", "-D", &data]));
    assert!(output.status.success(), "{output:?}");
    if server == Server::Real {
        cluster.append_config("wal_level = logical");
    }
    cluster
}

fn more(cluster: &Cluster) {
    let (mut one, mut two) = (Wire::connect(cluster), Wire::connect(cluster));
    for sql in [
        "CREATE TABLE d (id int, value text); INSERT INTO d SELECT g, 'x' FROM generate_series(1, 50) g",
        // Prepared, with files to remove at either end, subtransactions and invalidations.
        "BEGIN; CREATE TABLE made (id int); DROP TABLE d; SAVEPOINT s; CREATE TABLE too (id int); \
         PREPARE TRANSACTION 'an identifier'",
        "ROLLBACK PREPARED 'an identifier'",
        "BEGIN; CREATE TABLE made (id int); SAVEPOINT s; INSERT INTO made VALUES (1); TRUNCATE d; \
         PREPARE TRANSACTION 'other'",
        "COMMIT PREPARED 'other'",
        "SELECT pg_create_restore_point('a restore point')",
        "CREATE TABLE locked (id int, value text); INSERT INTO locked SELECT g FROM generate_series(1, 400) g",
    ] {
        run(&mut one, sql);
    }
    // Many different multixacts: each of two transactions more.
    for id in 1..=20 {
        run(&mut one, &format!("BEGIN; SELECT 1 FROM locked WHERE id = {id} FOR KEY SHARE"));
        run(&mut two, &format!("BEGIN; SELECT 1 FROM locked WHERE id = {id} FOR SHARE; COMMIT"));
        run(&mut two, &format!("BEGIN; UPDATE locked SET value = 'v' WHERE id = {id}; ROLLBACK"));
        run(&mut one, "COMMIT");
    }
    // A lock follows the row to its new version.
    run(&mut one, "BEGIN; SELECT 1 FROM locked WHERE id = 300 FOR KEY SHARE");
    run(&mut two, "BEGIN; UPDATE locked SET value = 'w' WHERE id = 300");
    let mut three = Wire::connect(cluster);
    run(&mut three, "BEGIN; SELECT 1 FROM locked WHERE id = 300 FOR KEY SHARE; COMMIT");
    run(&mut two, "COMMIT");
    run(&mut one, "COMMIT");
    // What only PostgreSQL knows, for now.
    for sql in [
        "CREATE SEQUENCE numbers; SELECT nextval('numbers')",
        "CREATE DATABASE another STRATEGY file_copy",
        "CREATE DATABASE third STRATEGY wal_log",
        "DROP DATABASE another",
        "SET allow_in_place_tablespaces = on; CREATE TABLESPACE space LOCATION ''; DROP TABLESPACE space",
        "VACUUM FULL pg_class",
        "SELECT pg_logical_emit_message(true, 'a prefix', 'a message')",
        "SELECT pg_logical_emit_message(false, '', '')",
    ] {
        for part in sql.split("; ") {
            one.query(part);
        }
    }
    // Hint bits on clean pages.
    run(&mut one, "CREATE TABLE hints (id int); INSERT INTO hints VALUES (1)");
    run(&mut one, "CHECKPOINT");
    run(&mut one, "SELECT count(*) FROM hints");
}

/// Lines of `pg_waldump` as manager, position, name and description, times as the server writes them.
fn theirs(cluster: &Cluster, wal_dir: &Path, first: &str) -> Vec<(String, Lsn, String)> {
    let time = Regex::new(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d{6}) UTC").expect("a pattern");
    let shown = archive::waldump(cluster, wal_dir, first);
    let lines = shown.lines().map(|line| {
        let (head, what) = line.split_once(", desc: ").expect("a description");
        let manager = head.split_whitespace().nth(1).expect("a manager");
        let lsn = head.split_once("lsn: ").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
        let what = what.split(", blkref #").next().unwrap_or(what);
        let what = time.replace_all(what, |found: &Captures<'_>| {
            format!("{}{}+00", &found[1], found[2].trim_end_matches('0').trim_end_matches('.'))
        });
        (manager.to_owned(), lsn.expect("a position"), what.into_owned())
    });
    lines.collect()
}

/// The same in this server's words.
fn ours(wal_dir: &Path, first: &str) -> Vec<(String, Lsn, String)> {
    let part =
        |range: std::ops::Range<usize>| u32::from_str_radix(&first[range], 16).expect("a segment's name");
    let start = Lsn((u64::from(part(8..16)) << 32) + u64::from(part(16..24)) * u64::from(SEGMENT));
    let mut reader = wal::Reader::new(wal_dir, SEGMENT, TimeLineId(part(0..8)));
    reader.find_next_record(start).expect("WAL").expect("a record");
    let mut lines = Vec::new();
    while let Ok(Some(record)) = reader.next() {
        let manager = RmgrId::from_u8(record.rmgr).expect("a manager");
        let name = rmgrdesc::identify(manager, record.info).unwrap_or("-");
        let mut what = format!("{name} ");
        rmgrdesc::describe(&record, &mut what);
        lines.push((manager.name().to_owned(), record.lsn, what));
    }
    lines
}

/// Compares one timeline's records, and adds their kinds to `kinds`.
#[track_caller]
fn compare(cluster: &Cluster, timeline: &str, kinds: &mut BTreeSet<String>) {
    let wal_dir = cluster.data_dir().join("pg_wal");
    let is_segment = |name: &String| name.len() == 24 && name.starts_with(timeline);
    let first = names_in(&wal_dir).into_iter().find(is_segment).expect("a segment");
    let (theirs, ours) = (theirs(cluster, &wal_dir, &first), ours(&wal_dir, &first));
    for (their, our) in theirs.iter().zip(&ours) {
        if OTHERS.contains(&their.0.as_str()) {
            assert_eq!((&their.0, their.1), (&our.0, our.1));
        } else {
            assert_eq!(their, our, "timeline {timeline}");
        }
        let name = their.2.split(' ').next().unwrap_or_default();
        kinds.insert(format!("{}/{name}", their.0));
    }
    assert_eq!(theirs.len(), ours.len(), "{:?} {:?}", theirs.last(), ours.last());
    println!("{} records of timeline {timeline}", ours.len());
}

#[test]
fn are_those_of_pg_waldump() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("descriptions", |server| {
        let cluster = cluster(server);
        cluster.start();
        everything(&cluster);
        let mut session = Wire::connect(&cluster);
        let base = archive::base_copy(&cluster, &mut session, "base", || ());
        session.quit();
        more(&cluster);
        cluster.append_config("full_page_writes = off");
        let mut session = Wire::connect(&cluster);
        run(&mut session, "SELECT pg_reload_conf()");
        wait_until("the setting is known", || {
            Wire::connect(&cluster).query("SHOW full_page_writes")[0] == "off"
        });
        // The checkpointer notes the change at the latest with its next checkpoint.
        run(&mut session, "CHECKPOINT");
        session.quit();
        assert!(cluster.stop(Stop::Fast).success());
        cluster.append_config("max_prepared_transactions = 7");
        cluster.start();
        assert!(cluster.stop(Stop::Fast).success());
        let mut kinds = BTreeSet::new();
        compare(&cluster, "00000001", &mut kinds);

        let archive_dir = cluster.archive_dir();
        let promoted = archive::restored(server, &base.dir, &archive_dir, &["max_prepared_transactions = 7"]);
        promoted.write_file("standby.signal", "");
        promoted.start();
        // Not by a session, which replay would be in conflict with.
        let output = promoted.pg_ctl(&["promote", "-w"]);
        assert!(output.status.success(), "{output:?}");
        run(&mut Wire::connect(&promoted), "DROP TABLE t");
        assert!(promoted.stop(Stop::Fast).success());
        compare(&promoted, "00000002", &mut kinds);

        let besides: &[&str] = if server == Server::Real { &KINDS_OF_REAL } else { &[] };
        let mut expected = KINDS.iter().chain(besides);
        let missing = expected.find(|kind| !kinds.contains(**kind));
        assert_eq!(missing, None, "is not written: {kinds:?}");
    });
}
