//! The functions about WAL, backups and recovery as a standby answers them, and during a promotion: every answer is
//! PostgreSQL's.

use integration::{Cluster, Wire, archive, on_each_server, wait_until};

/// What cannot be done during recovery, with the hint that comes with it.
const ONLY_ON_A_PRIMARY: [(&str, &str); 7] = [
    ("pg_switch_wal()", CONTROL),
    ("pg_create_restore_point('x')", CONTROL),
    ("pg_current_wal_lsn()", CONTROL),
    ("pg_current_wal_insert_lsn()", CONTROL),
    ("pg_current_wal_flush_lsn()", CONTROL),
    ("pg_walfile_name('0/1')", "pg_walfile_name() cannot be executed during recovery."),
    ("pg_walfile_name_offset('0/1')", "pg_walfile_name_offset() cannot be executed during recovery."),
];

const CONTROL: &str = "WAL control functions cannot be executed during recovery.";

const NOT_IN_RECOVERY: [&str; 2] = [
    "ERROR:  55000: recovery is not in progress",
    "HINT:  Recovery control functions can only be executed during recovery.",
];

/// The answer to a query of one row.
#[track_caller]
fn row(session: &mut Wire, what: &str) -> String {
    let answer = session.query(&format!("SELECT {what}"));
    assert_eq!(answer.last().map(String::as_str), Some("SELECT 1"), "{what}: {answer:?}");
    answer[..answer.len() - 1].join("\n")
}

#[track_caller]
fn fails(session: &mut Wire, what: &str, expected: &[&str]) {
    assert_eq!(session.query(&format!("SELECT {what}")), expected, "{what}");
}

/// A standby that has replayed what there is, with one table of one row.
fn standby_of(primary: &Cluster) -> Cluster {
    primary.start();
    let mut session = Wire::connect(primary);
    session.query("CREATE TABLE t AS SELECT 1 AS a");
    let base = archive::base_copy(primary, &mut session, "base", || ());
    session.query("INSERT INTO t VALUES (2)");
    primary.archive_all(&mut session);
    session.quit();
    let settings =
        ["wal_retrieve_retry_interval = '10ms'".to_owned(), archive::restore_command(&primary.archive_dir())];
    let standby = archive::on_copy(primary.server(), &base.dir, &settings.each_ref().map(String::as_str));
    standby.write_file("standby.signal", "");
    standby.start();
    standby
}

#[test]
fn as_a_standby_answers() {
    on_each_server("functions during recovery", |server| {
        let primary = archive::archiving(server, &[]);
        let standby = standby_of(&primary);
        let mut session = Wire::connect(&standby);
        wait_until("the standby has followed", || row(&mut session, "count(*) FROM t") == "2");
        what_needs_a_primary(&mut session);
        positions(&mut session);
        pauses(&mut session);
        backups(&mut session);
        promotion(&mut session);
    });
}

fn what_needs_a_primary(session: &mut Wire) {
    assert_eq!(row(session, "pg_is_in_recovery()"), "t");
    for (call, hint) in ONLY_ON_A_PRIMARY {
        let expected = ["ERROR:  55000: recovery is in progress".to_owned(), format!("HINT:  {hint}")];
        fails(session, call, &expected.each_ref().map(String::as_str));
    }
}

fn positions(session: &mut Wire) {
    assert_eq!(
        row(session, "pg_last_wal_receive_lsn() IS NULL, pg_last_wal_replay_lsn() > '0/100000'"),
        "t|t"
    );
    assert_eq!(row(session, "pg_last_xact_replay_timestamp() > '2020-01-01'"), "t");
    let recovery = "min_recovery_end_lsn > '0/100000', min_recovery_end_timeline, backup_start_lsn, backup_end_lsn, \
                    end_of_backup_record_required FROM pg_control_recovery()";
    assert_eq!(row(session, recovery), "t|1|0/0|0/0|f");
}

fn pauses(session: &mut Wire) {
    let state = "pg_get_wal_replay_pause_state(), pg_is_wal_replay_paused()";
    assert_eq!(row(session, state), "not paused|f");
    assert_eq!(row(session, "pg_wal_replay_pause()"), "");
    assert_eq!(row(session, "pg_is_wal_replay_paused()"), "t");
    wait_until("replay has paused", || row(session, state) == "paused|t");
    // It is paused already.
    assert_eq!(row(session, "pg_wal_replay_pause()"), "");
    assert_eq!(row(session, "pg_wal_replay_resume()"), "");
    assert_eq!(row(session, state), "not paused|f");
}

fn backups(session: &mut Wire) {
    assert_eq!(row(session, "pg_backup_start('on a standby', true) > '0/0'"), "t");
    fails(
        session,
        "pg_backup_start('another', true)",
        &["ERROR:  55000: a backup is already in progress in this session"],
    );
    let label = "split_part(labelfile, E'\\n', 4), split_part(labelfile, E'\\n', 6), spcmapfile FROM pg_backup_stop(false)";
    assert_eq!(row(session, label), "BACKUP FROM: standby|LABEL: on a standby|");
    let without_archiving = "NOTICE:  00000: WAL archiving is not enabled; you must ensure that all required WAL segments \
                             are copied through other means to complete the backup";
    assert_eq!(row(session, "pg_backup_start('again', true) > '0/0'"), "t");
    assert_eq!(row(session, "lsn > '0/0' FROM pg_backup_stop()"), format!("{without_archiving}\nt"));
}

/// A backup that was begun before it is worth nothing after it.
fn promotion(session: &mut Wire) {
    fails(session, "pg_promote(true, 0)", &["ERROR:  22003: \"wait_seconds\" must not be negative or zero"]);
    assert_eq!(row(session, "pg_backup_start('promoted', true) > '0/0'"), "t");
    assert_eq!(row(session, "pg_promote(wait_seconds => 600)"), "t");
    assert_eq!(row(session, "pg_is_in_recovery()"), "f");
    fails(
        session,
        "pg_backup_stop(false)",
        &[
            "ERROR:  55000: the standby was promoted during online backup",
            "HINT:  This means that the backup being taken is corrupt and should not be used. Try taking another online \
             backup.",
        ],
    );
    fails(
        session,
        "pg_backup_stop(false)",
        &["ERROR:  55000: backup is not in progress", "HINT:  Did you call pg_backup_start()?"],
    );
    for call in [
        "pg_promote()",
        "pg_wal_replay_pause()",
        "pg_wal_replay_resume()",
        "pg_is_wal_replay_paused()",
        "pg_get_wal_replay_pause_state()",
    ] {
        fails(session, call, &NOT_IN_RECOVERY);
    }
    // What recovery got to stays known.
    assert_eq!(
        row(session, "pg_last_wal_receive_lsn() IS NULL, pg_last_wal_replay_lsn() > '0/100000'"),
        "t|t"
    );
    assert_eq!(row(session, "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"), "00000002");
    assert_eq!(row(session, "pg_backup_start('afterwards', true) > '0/0'"), "t");
    assert_eq!(
        row(session, "split_part(labelfile, E'\\n', 4) FROM pg_backup_stop(false)"),
        "BACKUP FROM: primary"
    );
}
