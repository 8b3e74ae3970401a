//! Standbys that become primaries, and those that follow them: promotion in each way, standbys of standbys, and the old
//! primary that comes back after PostgreSQL's `pg_rewind`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use integration::archive::{self, control};
use integration::{Cluster, Programs, Server, Stop, Wire, process, real_postgres, wait_until};

use crate::redo::crash;
use crate::standby_support::{
    Load, Standby, ask, caught_up, conninfo, flushed, on_each, one, primary, primary_with, promote,
    receiver_title, reload, rows_of, same_rows, set_auto, standby, succeeds, wait_for_rows,
    wait_until_promoted, wait_until_replayed, wait_until_streaming,
};

/// How a promotion is asked for.
type Promotion = (&'static str, fn(&Cluster));

const PROMOTIONS: [Promotion; 3] = [
    ("pg_ctl promote", |standby| {
        let output = standby.pg_ctl(&["promote"]);
        assert!(output.status.success(), "{output:?}");
    }),
    ("pg_promote(false)", |standby| {
        // One that waited would have a snapshot all the time, and the load's removals would wait for that.
        assert_eq!(one(&mut Wire::connect(standby), "SELECT pg_promote(false)"), "t");
    }),
    ("promote_trigger_file", |standby| standby.write_file("now", "")),
];

#[test]
fn each_way_under_load() {
    on_each("promotions", |server| {
        let primary = primary(server, &[]);
        let load = Load::begin(&primary, 3);
        for (name, ask_for_it) in PROMOTIONS {
            let standby = standby(&primary, "follower", &["promote_trigger_file = 'now'"]);
            wait_until_streaming(&primary, "follower");
            load.wait_for_commits(50);
            let (before, rows) = (flushed(&primary), rows_of(&primary, "load0").len());
            wait_until_replayed(&standby, before);
            load.wait_for_commits(10);
            ask_for_it(&standby);
            wait_until_promoted(&standby);
            let log = standby.wait_for_log("LOG:  archive recovery complete");
            assert!(log.contains("LOG:  selected new timeline ID: 2"), "{name}: {log}");
            // Nobody receives any more, and nobody is missed.
            wait_until("the receiver is gone", || standby.find_process(receiver_title(&standby)).is_none());
            wait_for_rows(&primary, "SELECT pid FROM pg_stat_replication", &[]);
            assert!(!standby.data_dir().join("standby.signal").exists(), "{name}");
            let history = fs::read_to_string(standby.data_dir().join("pg_wal/00000002.history"));
            let history = history.expect("a history");
            let parts: Vec<&str> = history.trim_end().split('\t').collect();
            assert!(parts[0] == "1" && parts[2] == "no recovery target specified", "{history}");
            assert!(parts[1].parse::<common::Lsn>().expect("a position") >= before, "{history}");
            // Rows are deleted, too; but never as many as are inserted.
            assert!(rows_of(&standby, "load0").len() > rows / 2, "{name}");
            let mut session = Wire::connect(&standby);
            succeeds(&mut session, "CREATE TABLE mine (a int); INSERT INTO mine VALUES (1)");
            succeeds(&mut session, "VACUUM load0");
            let file = one(&mut session, "SELECT pg_walfile_name(pg_current_wal_lsn())");
            assert!(file.starts_with("00000002"), "{name}: {file}");
            assert_eq!(session.query("SELECT pg_promote()")[0], "ERROR:  55000: recovery is not in progress");
            session.quit();
            crash(&standby);
            standby.start();
            assert_eq!(rows_of(&standby, "mine"), ["1"]);
            assert_eq!(standby.stop(Stop::Fast).code(), Some(0));
            assert_eq!(control(&standby, "Latest checkpoint's TimeLineID"), "2");
        }
        load.end();
    });
}

#[test]
fn without_its_primary() {
    on_each("promotion alone", |server| {
        let primary = primary(server, &["max_prepared_transactions = 4"]);
        let mut writer = Wire::connect(&primary);
        succeeds(&mut writer, "CREATE TABLE t (a int)");
        let standby = standby(&primary, "follower", &[]);
        wait_until_streaming(&primary, "follower");
        succeeds(&mut writer, "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'kept'");
        succeeds(&mut writer, "INSERT INTO t VALUES (2)");
        let mut open = Wire::connect(&primary);
        succeeds(&mut open, "BEGIN; INSERT INTO t VALUES (3)");
        succeeds(&mut writer, "INSERT INTO t VALUES (4)");
        caught_up(&primary, &standby);
        crash(&primary);
        standby.wait_for_log("could not connect to the primary server");
        promote(&standby);
        assert_eq!(rows_of(&standby, "t"), ["2", "4"]);
        succeeds(&mut Wire::connect(&standby), "COMMIT PREPARED 'kept'");
        assert_eq!(rows_of(&standby, "t"), ["1", "2", "4"]);
    });
}

/// A standby of a standby: it is fed, and follows the new timeline when the one in the middle is promoted.
#[test]
fn a_cascade_follows_the_new_timeline() {
    on_each("cascade", |server| {
        let primary = primary(server, &["wal_keep_size = 1GB"]);
        let load = Load::begin(&primary, 3);
        let middle = standby(&primary, "middle", &["hot_standby_feedback = on"]);
        wait_until_streaming(&primary, "middle");
        let last = Standby { slot: Some("last"), ..Standby::of(&middle, "last") };
        let last = last.started(&middle);
        wait_until_streaming(&middle, "last");
        load.wait_for_commits(50);
        let lsn = flushed(&primary);
        wait_until_replayed(&last, lsn);
        let sql = "SELECT application_name, state, sync_state FROM pg_stat_replication";
        wait_for_rows(&middle, sql, &["last|streaming|async"]);
        wait_for_rows(&primary, sql, &["middle|streaming|async"]);
        assert_eq!(
            ask(&middle, "SELECT slot_name, active FROM pg_replication_slots").expect("slots"),
            ["last|t"]
        );
        last.mark_log();
        promote(&middle);
        let log = last.wait_for_new_log("on timeline 2");
        for line in [
            "replication terminated by primary server",
            "End of WAL reached on timeline 1 at ",
            "fetching timeline history file for timeline 2 from primary server",
            "new target timeline is 2",
            "restarted WAL streaming at ",
        ] {
            assert!(log.contains(line), "{line}: {log}");
        }
        load.end();
        let mut session = Wire::connect(&middle);
        succeeds(&mut session, "CREATE TABLE later (a int); INSERT INTO later VALUES (1)");
        assert!(same_rows(&middle, &last) > 0);
        assert_eq!(rows_of(&last, "later"), ["1"]);
        let timeline = "SELECT received_tli FROM pg_stat_wal_receiver";
        assert_eq!(ask(&last, timeline).expect("an answer"), ["2"]);
        // Restarted, it stays there.
        last.stop(Stop::Fast);
        last.start();
        succeeds(&mut session, "INSERT INTO later VALUES (2)");
        same_rows(&middle, &last);
        assert_eq!(rows_of(&last, "later").len(), 2);
    });
}

/// Another standby of the old primary goes over to the new one by a reload.
#[test]
fn a_sibling_follows_the_new_primary() {
    on_each("sibling", |server| {
        let primary = primary(server, &["wal_keep_size = 1GB"]);
        let load = Load::begin(&primary, 2);
        let (new, sibling) = (standby(&primary, "new", &[]), standby(&primary, "sibling", &[]));
        wait_until_streaming(&primary, "new");
        wait_until_streaming(&primary, "sibling");
        load.wait_for_commits(50);
        load.end();
        // A fast stop sends all to both.
        assert_eq!(primary.stop(Stop::Fast).code(), Some(0));
        promote(&new);
        set_auto(&sibling, "primary_conninfo", &conninfo(new.port(), "sibling"));
        reload(&sibling);
        wait_until_streaming(&new, "sibling");
        succeeds(&mut Wire::connect(&new), "CREATE TABLE later (a int); INSERT INTO later VALUES (1)");
        same_rows(&new, &sibling);
        assert_eq!(rows_of(&sibling, "later"), ["1"]);
        // After a clean stop the old one may follow, too, without anything else.
        primary.write_file("standby.signal", "");
        set_auto(&primary, "primary_conninfo", &conninfo(new.port(), "old"));
        primary.start();
        wait_until_streaming(&new, "old");
        same_rows(&new, &primary);
    });
}

/// PostgreSQL's `pg_rewind`. It looks for `postgres` beside itself, so it is put beside this server's.
fn pg_rewind(cluster: &Cluster) -> std::process::Command {
    let real = real_postgres().expect("asked for before").path("pg_rewind");
    let program = match cluster.server() {
        Server::Real => real,
        Server::Ours => {
            let beside = cluster.path("bin");
            let _ = fs::create_dir(&beside);
            fs::copy(&real, beside.join("pg_rewind")).expect("a program");
            // It wants the very build that it comes from, by what `-V` says, a distribution's name included.
            let path =
                |server| Programs::of(server).expect("installed").path("postgres").display().to_string();
            let script = format!(
                "#!/bin/sh\nif [ \"$1\" = -V ]; then exec '{}' -V; fi\nexec '{}' \"$@\"\n",
                path(Server::Real),
                path(Server::Ours)
            );
            fs::write(beside.join("postgres"), script).expect("own folder");
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(beside.join("postgres"), mode).expect("own file");
            beside.join("pg_rewind")
        }
    };
    cluster.environment(std::process::Command::new(program))
}

/// The old primary has gone on alone, ends somehow, is rewound and follows the new one.
#[track_caller]
fn rejoins(server: Server, initdb: &[&str], end: impl Fn(&Cluster)) {
    let old = primary_with(server, initdb, &["wal_log_hints = on", "wal_keep_size = 1GB"]);
    let load = Load::begin(&old, 2);
    let new = standby(&old, "new", &[]);
    wait_until_streaming(&old, "new");
    load.wait_for_commits(50);
    load.end();
    let mut session = Wire::connect(&old);
    succeeds(&mut session, "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'both')");
    succeeds(&mut session, "CREATE TABLE dropped (a int); INSERT INTO dropped VALUES (1)");
    caught_up(&old, &new);
    promote(&new);
    // Both go their own ways.
    succeeds(&mut session, "INSERT INTO t SELECT g, 'old' FROM generate_series(2, 2000) g");
    succeeds(&mut session, "CREATE TABLE only_old (a int); INSERT INTO only_old VALUES (1)");
    succeeds(&mut session, "DROP TABLE dropped; DELETE FROM load0; TRUNCATE load1");
    succeeds(&mut session, "VACUUM load0");
    let mut other = Wire::connect(&new);
    succeeds(&mut other, "INSERT INTO t VALUES (2, 'new'); UPDATE load0 SET value = 'new'");
    succeeds(&mut other, "CREATE TABLE only_new (a int); INSERT INTO only_new VALUES (1); CHECKPOINT");
    end(&old);
    let mut command = pg_rewind(&old);
    command.arg("-D").arg(old.data_dir()).args(["-R", "-P", "--no-sync"]);
    command.arg(format!("--source-server=host=127.0.0.1 port={} user=postgres dbname=postgres", new.port()));
    let output = process::run(&mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{}", new.log());
    assert!(said.contains("servers diverged at WAL location 0/") && said.ends_with("Done!\n"), "{said}");
    // It has the new primary's settings now.
    old.append_own_config();
    set_auto(&old, "primary_conninfo", &conninfo(new.port(), "old"));
    old.start();
    wait_until_streaming(&new, "old");
    assert!(same_rows(&new, &old) > 0);
    assert_eq!(rows_of(&old, "t"), ["1|both", "2|new"]);
    assert_eq!(rows_of(&old, "dropped"), ["1"]);
    assert_eq!(rows_of(&old, "only_new"), ["1"]);
    let load = Load::begin(&new, 2);
    load.wait_for_commits(20);
    load.end();
    same_rows(&new, &old);
    // And may take over again.
    assert_eq!(new.stop(Stop::Fast).code(), Some(0));
    promote(&old);
    let file = ask(&old, "SELECT pg_walfile_name(pg_current_wal_lsn())").expect("an answer");
    assert!(file[0].starts_with("00000003"), "{file:?}");
    drop((session, other));
    assert!(archive::names_in(&old.data_dir().join("pg_wal")).contains(&"00000003.history".to_owned()));
}

#[test]
fn the_old_primary_rejoins_after_a_clean_stop() {
    on_each("rewind", |server| {
        rejoins(server, &[], |old| assert_eq!(old.stop(Stop::Fast).code(), Some(0)));
    });
}

/// Then `pg_rewind` has the server recover first.
#[test]
fn the_old_primary_rejoins_after_a_crash() {
    on_each("rewind after a crash", |server| rejoins(server, &["-k"], crash));
}
