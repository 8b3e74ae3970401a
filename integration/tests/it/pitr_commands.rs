//! Commands that recovery runs, and what `pg_controldata` says at each of its stages.

use std::fs;

use integration::archive::{self, control};
use integration::{Cluster, Server, Stop, Wire, on_each_server, real_postgres, skip, wait_until};

use crate::pitr_past::{Past, restorers, rows_of, run, wait_until_promoted};

/// What a command wrote, in lines.
fn lines_of(cluster: &Cluster, file: &str) -> Vec<String> {
    let text = fs::read_to_string(cluster.path(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A setting whose command notes its segment.
fn noting(cluster: &Cluster, setting: &str, file: &str) -> String {
    format!("{setting} = 'echo %r %% >> {}'", cluster.path(file).display())
}

/// A standby with commands. Each restartpoint runs one, the end of recovery the other.
fn standby(server: Server, primary: &Cluster, base: &archive::BaseCopy) -> Cluster {
    let cluster = archive::on_copy(server, &base.dir, &["wal_retrieve_retry_interval = '10ms'"]);
    cluster.append_config(&archive::restore_command(&primary.archive_dir()));
    for (setting, file) in [("archive_cleanup_command", "cleanup"), ("recovery_end_command", "end")] {
        cluster.append_config(&noting(&cluster, setting, file));
    }
    cluster.write_file("standby.signal", "");
    cluster
}

#[test]
fn at_restartpoints_and_at_the_end() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("archive_cleanup_command", |server| {
        let primary = archive::archiving(server, &[]);
        primary.start();
        let mut session = Wire::connect(&primary);
        run(&mut session, "CREATE TABLE past (n int)");
        let base = archive::base_copy(&primary, &mut session, "base", || ());
        for n in 0..3 {
            run(&mut session, &format!("INSERT INTO past VALUES ({n})"));
            primary.archive_all(&mut session);
            run(&mut session, "CHECKPOINT");
        }
        primary.archive_all(&mut session);
        let cluster = standby(server, &primary, &base);
        cluster.start();
        let mut reader = Wire::connect(&cluster);
        wait_until("the standby has followed", || run(&mut reader, "SELECT count(*) FROM past")[0] == "3");
        wait_until("the last checkpoint is replayed", || {
            let lsn = run(&mut reader, "SELECT pg_last_wal_replay_lsn()")[0].clone();
            lsn.parse::<common::Lsn>().is_ok_and(|lsn| lsn.0 % (1 << 20) == 0)
        });
        // A restartpoint, which the next one has no reason for.
        run(&mut reader, "CHECKPOINT");
        let oldest = control(&cluster, "Latest checkpoint's REDO WAL file");
        assert_eq!(lines_of(&cluster, "cleanup").last(), Some(&format!("{oldest} %")));
        assert!(!base.label_value("START WAL LOCATION").contains(&oldest), "{oldest}, {:?}", base.label);
        assert_eq!(control(&cluster, "Database cluster state"), "in archive recovery");
        // A command that fails is told about and changes nothing.
        cluster.append_config("archive_cleanup_command = 'exit 3'");
        cluster.mark_log();
        assert_eq!(cluster.pg_ctl(&["reload"]).status.code(), Some(0));
        cluster.wait_for_new_log("parameter \"archive_cleanup_command\" changed");
        run(&mut reader, "SELECT pg_promote()");
        wait_until_promoted(&cluster);
        wait_until("the command has run", || !lines_of(&cluster, "end").is_empty());
        let ended = lines_of(&cluster, "end");
        assert_eq!(ended, [format!("{oldest} %")], "{}", cluster.log());
        reader.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        assert_eq!(control(&cluster, "Minimum recovery ending location"), "0/0");
    });
}

#[test]
fn commands_that_fail() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("recovery commands that fail", |server| {
        let past = Past::quiet(server);
        let cluster = past.restored(server, &["recovery_target_name = 'here'"]);
        cluster.append_config("archive_cleanup_command = 'exit 3'");
        cluster.append_config("recovery_end_command = 'kill -9 $$'");
        // A checkpoint behind the base copy's is what restartpoints are made of.
        cluster.append_config("recovery_target_name = ''");
        let last = past.rows.last().expect("rows").1.lsn;
        cluster.append_config(&format!("recovery_target_lsn = '{last}'"));
        cluster.start();
        cluster.wait_for_log("pausing at the end of recovery");
        run(&mut Wire::connect(&cluster), "CHECKPOINT");
        let log = cluster.log();
        assert!(
            log.contains(
                "WARNING:  archive_cleanup_command \"exit 3\": child process exited with exit code 3"
            ),
            "{log}"
        );
        // A command that a signal ends may have met a shutdown. The new timeline has begun already: only the
        // command is never run again.
        run(&mut Wire::connect(&cluster), "SELECT pg_wal_replay_resume()");
        assert_eq!(cluster.wait_for_end().code(), Some(1));
        let log = cluster.log();
        let killed =
            "FATAL:  recovery_end_command \"kill -9 $$\": child process was terminated by signal 9: Killed";
        assert!(log.contains(killed), "{log}");
        cluster.mark_log();
        cluster.start();
        wait_until_promoted(&cluster);
        let log = cluster.new_log();
        assert!(log.contains("LOG:  database system was shut down at "), "{log}");
        assert!(!log.contains("recovery_end_command"), "{log}");
        assert_eq!(rows_of(&cluster), past.numbers(past.rows.len()));
        assert_eq!(control(&cluster, "Latest checkpoint's TimeLineID"), "2");

        let cluster = past.restored(server, &["recovery_end_command = 'exit 4'"]);
        cluster.start();
        wait_until_promoted(&cluster);
        let log = cluster.log();
        let failed = "WARNING:  recovery_end_command \"exit 4\": child process exited with exit code 4";
        assert!(log.contains(failed), "{log}");
    });
}

/// pg_control from the copy to the promoted server.
#[test]
fn control_file_at_each_stage() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pg_control in recovery", |server| {
        let past = Past::quiet(server);
        let labels = [
            "Database cluster state",
            "Latest checkpoint location",
            "Latest checkpoint's REDO location",
            "Latest checkpoint's TimeLineID",
            "Latest checkpoint's PrevTimeLineID",
            "Minimum recovery ending location",
            "Min recovery ending loc's timeline",
            "Backup start location",
            "Backup end location",
            "End-of-backup record required",
        ];
        let mut seen = Vec::new();
        for restorer in restorers(server) {
            let shown = |cluster: &Cluster| labels.map(|label| control(cluster, label));
            let cluster = past.restored(*restorer, &["recovery_target_name = 'here'"]);
            let copied = shown(&cluster);
            assert_eq!((copied[0].as_str(), copied[5].as_str()), ("in production", "0/0"), "{copied:?}");
            cluster.start();
            cluster.wait_for_log("pausing at the end of recovery");
            let paused = shown(&cluster);
            let start = past.base.label_value("CHECKPOINT LOCATION");
            assert_eq!(
                (paused[0].as_str(), paused[1].as_str()),
                ("in archive recovery", start.as_str()),
                "{paused:?}"
            );
            assert_eq!(paused[3..5], ["1", "1"]);
            assert_eq!(paused[6..], ["1", "0/0", "0/0", "no"], "{paused:?}");
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
            let stopped = shown(&cluster);
            assert_eq!(stopped[0], "shut down in recovery", "{stopped:?}");
            cluster.append_config("recovery_target_action = promote");
            cluster.start();
            wait_until_promoted(&cluster);
            wait_until("the checkpoint behind promotion is done", || control(&cluster, labels[3]) == "2");
            let promoted = shown(&cluster);
            assert_eq!(
                (promoted[0].as_str(), promoted[5].as_str()),
                ("in production", "0/0"),
                "{promoted:?}"
            );
            assert_eq!(promoted[6], "0");
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
            assert_eq!(control(&cluster, labels[0]), "shut down");
            seen.push([copied, paused, stopped]);
        }
        assert_eq!(seen.first(), seen.last());
    });
}

/// A session of a standby dies: all others go, recovery begins again at the last restartpoint, and follows on.
#[test]
fn a_crash_of_a_standby() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("a crash of a standby", |server| {
        let primary = archive::archiving(server, &[]);
        primary.start();
        let mut session = Wire::connect(&primary);
        run(&mut session, "CREATE TABLE past (n int)");
        let base = archive::base_copy(&primary, &mut session, "base", || ());
        let cluster = standby(server, &primary, &base);
        cluster.start();
        for victim in ["session", "postgres: checkpointer", "session"] {
            run(&mut session, "INSERT INTO past VALUES (1); CHECKPOINT");
            let written = run(&mut session, "SELECT count(*) FROM past")[0].clone();
            primary.archive_all(&mut session);
            let mut reader = Wire::connect(&cluster);
            wait_until("the standby has followed", || {
                reader.query("SELECT count(*) FROM past").first() == Some(&written)
            });
            cluster.mark_log();
            let pid = if victim == "session" { reader.pid } else { cluster.wait_for_process(victim) };
            cluster.kill(pid);
            let log = cluster.wait_for_new_log("database system is ready to accept read-only connections");
            assert!(log.contains("all server processes terminated; reinitializing"), "{log}");
            assert!(log.contains("database system was interrupted while in recovery at log time"), "{log}");
            assert!(log.contains("entering standby mode"), "{log}");
            let mut reader = Wire::connect(&cluster);
            wait_until("it has come back", || {
                reader.query("SELECT count(*) FROM past").first() == Some(&written)
            });
        }
        run(&mut Wire::connect(&cluster), "SELECT pg_promote()");
        wait_until_promoted(&cluster);
        assert_eq!(rows_of(&cluster).len(), 3);
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}
