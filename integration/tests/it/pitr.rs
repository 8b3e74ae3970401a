//! Recovery to a point in time: each kind of target, with and without what it names; each action. PostgreSQL restores
//! the same archive and base copy, and both have the same rows, the same pages and the same log.

use integration::archive::{self, control};
use integration::{Cluster, Server, Stop, Wire, on_each_server, real_postgres, skip, wait_until};

use crate::pitr_past::{
    BEFORE, DURING, Past, reopened, restorers, rows_of, run, stopped_with_rows, wait_until_promoted,
};
use crate::redo::compare;

/// A target, the settings for it, how many rows there are then, and what the log says about the stop.
struct Target {
    name: &'static str,
    settings: Vec<String>,
    rows: usize,
    says: String,
}

impl Target {
    fn new(name: &'static str, settings: &[&str], rows: usize, says: &str) -> Target {
        let settings = settings.iter().map(ToString::to_string).collect();
        Target { name, settings, rows, says: says.to_owned() }
    }
}

/// All kinds of targets. Commit `i` is that of the row `i` in the order of commits, from 0.
fn targets(past: &Past) -> Vec<Target> {
    let commit = |i: usize| past.rows[i].1.clone();
    // The transaction that began before its predecessor in WAL.
    let overlapping = BEFORE + DURING + 1;
    let (xid, lsn, time) = (commit(overlapping), commit(overlapping + 2), commit(overlapping + 1));
    let by_xid = format!("recovery_target_xid = '{}'", xid.xid);
    let by_lsn = format!("recovery_target_lsn = '{}'", lsn.lsn);
    let by_time = format!("recovery_target_time = '{} UTC'", time.time);
    let exclusive = "recovery_target_inclusive = off";
    let xact =
        |c: &integration::archive::Commit| format!("of transaction {}, time {}", c.xid, shown(&c.time));
    vec![
        Target::new(
            "immediate",
            &["recovery_target = 'immediate'"],
            BEFORE + DURING,
            "recovery stopping after reaching consistency",
        ),
        Target::new(
            "name",
            &["recovery_target_name = 'here'"],
            past.rows_here,
            "recovery stopping at restore point \"here\", time ",
        ),
        Target::new(
            "xid",
            &[&by_xid],
            overlapping + 1,
            &format!("recovery stopping after commit {}", xact(&xid)),
        ),
        Target::new(
            "xid, exclusive",
            &[&by_xid, exclusive],
            overlapping,
            &format!("recovery stopping before commit {}", xact(&xid)),
        ),
        Target::new(
            "lsn",
            &[&by_lsn],
            overlapping + 3,
            &format!("recovery stopping after WAL location (LSN) \"{}\"", lsn.lsn),
        ),
        Target::new(
            "lsn, exclusive",
            &[&by_lsn, exclusive],
            overlapping + 2,
            &format!("recovery stopping before WAL location (LSN) \"{}\"", lsn.lsn),
        ),
        Target::new("time", &[&by_time], overlapping + 2, "recovery stopping before "),
        Target::new(
            "time, exclusive",
            &[&by_time, exclusive],
            overlapping + 1,
            &format!("recovery stopping before commit {}", xact(&time)),
        ),
        Target::new("none", &[], past.rows.len(), "redo done at "),
    ]
}

/// A time as messages show it: without zeros at the end.
fn shown(time: &str) -> String {
    time.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Restores to a target, promoted there, and stops. Returns the cluster.
#[track_caller]
fn restore(past: &Past, server: Server, target: &Target) -> Cluster {
    let mut config: Vec<&str> = target.settings.iter().map(String::as_str).collect();
    config.extend(["recovery_target_action = promote", "hot_standby = off"]);
    let cluster = past.restored(server, &config);
    cluster.start();
    let what = format!("{}, {server:?}", target.name);
    assert!(cluster.log().contains(&target.says), "{what}: \"{}\"\n{}", target.says, cluster.log());
    assert!(!cluster.data_dir().join("recovery.signal").exists(), "{what}");
    assert!(!cluster.data_dir().join("backup_label").exists(), "{what}");
    assert!(cluster.data_dir().join("backup_label.old").exists(), "{what}");
    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0), "{what}");
    assert_eq!(control(&cluster, "Latest checkpoint's TimeLineID"), "2", "{what}");
    cluster
}

#[test]
fn each_kind_of_target() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("targets", |server| {
        let past = Past::busy(server);
        for target in targets(&past) {
            let clusters: Vec<Cluster> =
                restorers(server).iter().map(|server| restore(&past, *server, &target)).collect();
            if let [ours, real] = clusters.as_slice() {
                assert_eq!(ours.milestones(), real.milestones(), "log of {}", target.name);
                assert!(compare(&ours.data_dir(), &real.data_dir(), 0) > 0);
                let file = "pg_wal/00000002.history";
                let history =
                    |cluster: &Cluster| std::fs::read_to_string(cluster.data_dir().join(file)).expect(file);
                assert_eq!(history(ours), history(real), "{}", target.name);
            }
            for cluster in clusters {
                let what = format!("{}, {:?}", target.name, cluster.server());
                let cluster = reopened(cluster, server);
                assert_eq!(rows_of(&cluster), past.numbers(target.rows), "{what}\n{}", cluster.log());
                assert_eq!(ask(&cluster, "SELECT pg_is_in_recovery()"), "f");
            }
        }
    });
}

/// Positions at random, among all that the sessions did: the pages are PostgreSQL's at each of them.
#[test]
fn random_positions() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    let seed = std::env::var("PGANATOMY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("PGANATOMY_SEED={seed}");
    on_each_server("random positions", |server| {
        let past = Past::busy(server);
        let last = past.rows.last().expect("rows").1.lsn;
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..4 {
            // Between the end of the base copy and the last row, not at the beginning of any record.
            let lsn = common::Lsn(rng.u64(past.base.stop_lsn.0 + 1..last.0));
            let inclusive = if rng.bool() { "on" } else { "off" };
            let settings = [
                format!("recovery_target_lsn = '{lsn}'"),
                format!("recovery_target_inclusive = {inclusive}"),
                "recovery_target_action = promote".to_owned(),
            ];
            let settings = settings.each_ref().map(String::as_str);
            let clusters: Vec<Cluster> = restorers(server)
                .iter()
                .map(|restorer| {
                    let cluster = past.restored(*restorer, &settings);
                    cluster.start();
                    wait_until_promoted(&cluster);
                    assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
                    cluster
                })
                .collect();
            if let [ours, real] = clusters.as_slice() {
                assert_eq!(ours.milestones(), real.milestones(), "{settings:?}");
                assert!(compare(&ours.data_dir(), &real.data_dir(), seed) > 0);
            }
        }
    });
}

/// An answer's rows, of a statement that must not fail.
#[track_caller]
fn ask(cluster: &Cluster, sql: &str) -> String {
    let mut session = Wire::connect(cluster);
    let mut answer = run(&mut session, sql);
    answer.pop();
    session.quit();
    answer.join("; ")
}

/// A server that has paused at its target, in each kind of function.
fn paused(past: &Past, cluster: &Cluster) {
    let stopped_at = &past.rows[past.rows_here - 1].1;
    assert_eq!(rows_of(cluster), past.numbers(past.rows_here));
    for (sql, answer) in [
        (
            "SELECT pg_is_in_recovery(), pg_is_wal_replay_paused(), pg_get_wal_replay_pause_state()",
            "t|t|paused",
        ),
        ("SELECT pg_last_wal_receive_lsn() IS NULL", "t"),
        ("SHOW transaction_read_only", "on"),
        ("SHOW in_hot_standby", "on"),
    ] {
        assert_eq!(ask(cluster, sql), answer, "{sql}");
    }
    let replayed = ask(cluster, "SELECT pg_last_xact_replay_timestamp()");
    assert_eq!(replayed, format!("{}+00", shown(&stopped_at.time)));
    let lsn = ask(cluster, "SELECT pg_last_wal_replay_lsn()").parse::<common::Lsn>().expect("a position");
    assert!(lsn > stopped_at.lsn && lsn < past.rows[past.rows_here].1.lsn, "{lsn}");
    for (sql, error) in [
        ("INSERT INTO past VALUES (0, 0)", "ERROR:  25006: cannot execute INSERT in a read-only transaction"),
        ("SELECT pg_switch_wal()", "ERROR:  55000: recovery is in progress"),
        ("SELECT pg_create_restore_point('x')", "ERROR:  55000: recovery is in progress"),
        ("SELECT pg_current_wal_lsn()", "ERROR:  55000: recovery is in progress"),
    ] {
        assert_eq!(Wire::connect(cluster).query(sql)[0], error, "{sql}");
    }
}

#[test]
fn pause_at_the_target() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pause at the target", |server| {
        let past = Past::quiet(server);
        let cluster = past.restored(server, &["recovery_target_name = 'here'"]);
        cluster.start();
        let log = cluster.wait_for_log("HINT:  Execute pg_wal_replay_resume() to promote.");
        assert!(log.contains("LOG:  pausing at the end of recovery"), "{log}");
        wait_until("it has paused", || ask(&cluster, "SELECT pg_is_wal_replay_paused()") == "t");
        paused(&past, &cluster);
        assert_eq!(control(&cluster, "Database cluster state"), "in archive recovery");
        assert_eq!(control(&cluster, "Backup start location"), "0/0");
        assert_eq!(control(&cluster, "Min recovery ending loc's timeline"), "1");
        let minimum = control(&cluster, "Minimum recovery ending location").parse::<common::Lsn>();
        assert!(minimum.expect("a position") >= past.base.stop_lsn, "{:?}", past.base);

        assert_eq!(ask(&cluster, "SELECT pg_wal_replay_resume()"), "");
        wait_until_promoted(&cluster);
        assert_eq!(rows_of(&cluster), past.numbers(past.rows_here));
        run(&mut Wire::connect(&cluster), "INSERT INTO past VALUES (1000, 0)");
        for function in
            ["pg_wal_replay_resume()", "pg_wal_replay_pause()", "pg_promote()", "pg_is_wal_replay_paused()"]
        {
            assert_eq!(
                Wire::connect(&cluster).query(&format!("SELECT {function}")),
                [
                    "ERROR:  55000: recovery is not in progress",
                    "HINT:  Recovery control functions can only be executed during recovery."
                ],
                "{function}"
            );
        }
        assert_eq!(control(&cluster, "Database cluster state"), "in production");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

#[test]
fn shutdown_at_the_target() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("shutdown at the target", |server| {
        let past = Past::quiet(server);
        let mut logs = Vec::new();
        for restorer in restorers(server) {
            let settings = ["recovery_target_name = 'here'", "recovery_target_action = shutdown"];
            let cluster = past.restored(*restorer, &settings);
            for _ in 0..2 {
                cluster.spawn_postmaster(&[]);
                assert_eq!(cluster.wait_for_end().code(), Some(0), "{}", cluster.log());
                assert_eq!(control(&cluster, "Database cluster state"), "shut down in recovery");
                assert_eq!(control(&cluster, "Latest checkpoint's TimeLineID"), "1");
                assert!(cluster.data_dir().join("recovery.signal").exists());
            }
            let log = cluster.milestones();
            assert_eq!(
                log.iter().filter(|line| *line == "LOG:  shutdown at recovery target").count(),
                2,
                "{log:?}"
            );
            // Without the target it goes on from there.
            cluster.append_config("recovery_target_name = ''");
            cluster.start();
            wait_until_promoted(&cluster);
            let (_cluster, rows) = stopped_with_rows(cluster, server);
            assert_eq!(rows, past.numbers(past.rows.len()));
            logs.push(log);
        }
        assert_eq!(logs.first(), logs.last());
    });
}

/// How a promotion is asked for.
type Promotion = (&'static str, fn(&Cluster));

const PROMOTIONS: [Promotion; 3] = [
    ("pg_ctl promote", |cluster| {
        let output = cluster.pg_ctl(&["promote"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text.starts_with("waiting for server to promote..."), "{text}");
        assert!(text.ends_with(" done\nserver promoted\n"), "{text}");
        let output = cluster.pg_ctl(&["promote"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(text, "pg_ctl: cannot promote server; server is not in standby mode\n");
        assert_eq!(output.status.code(), Some(1));
    }),
    ("pg_promote()", |cluster| assert_eq!(ask(cluster, "SELECT pg_promote()"), "t")),
    ("a file", |cluster| {
        cluster.write_file("promote", "");
        cluster.signal_postmaster(nix::sys::signal::Signal::SIGUSR1);
    }),
];

/// A standby that lives from the archive alone follows, answers, and is promoted in each way.
#[test]
fn a_standby_with_an_archive_alone() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("a standby with an archive", |server| {
        let primary = archive::archiving(server, &[]);
        primary.start();
        let mut session = Wire::connect(&primary);
        run(&mut session, "CREATE TABLE past (n int)");
        let base = archive::base_copy(&primary, &mut session, "base", || ());
        for (name, promote) in &PROMOTIONS {
            let cluster = archive::on_copy(server, &base.dir, &["wal_retrieve_retry_interval = '10ms'"]);
            cluster.append_config(&archive::restore_command(&primary.archive_dir()));
            cluster.write_file("standby.signal", "");
            cluster.start();
            let mut reader = Wire::connect(&cluster);
            let count = |session: &mut Wire| run(session, "SELECT count(*) FROM past")[0].clone();
            for _ in 0..3 {
                run(&mut session, "INSERT INTO past VALUES (1)");
                let written = count(&mut session);
                primary.archive_all(&mut session);
                wait_until("the standby has followed", || count(&mut reader) == written);
            }
            let log = cluster.log();
            assert!(log.contains("LOG:  entering standby mode"), "{log}");
            assert!(!cluster.data_dir().join("postmaster.pid.standby").exists());
            promote(&cluster);
            wait_until_promoted(&cluster);
            let log = cluster.log();
            assert!(log.contains("LOG:  received promote request"), "{name}: {log}");
            assert!(log.contains("LOG:  selected new timeline ID: 2"), "{name}: {log}");
            assert!(!cluster.data_dir().join("standby.signal").exists(), "{name}");
            assert!(!cluster.data_dir().join("promote").exists(), "{name}");
            // The session from before is one that may write.
            run(&mut reader, "INSERT INTO past VALUES (2)");
            reader.quit();
            assert_eq!(cluster.stop(Stop::Fast).code(), Some(0), "{name}");
        }
    });
}

/// Replay is stopped and goes on, as one asks.
#[test]
fn pause_and_resume() {
    if real_postgres().is_none() {
        skip!("PostgreSQL 15 is not installed");
    }
    on_each_server("pause and resume", |server| {
        let primary = archive::archiving(server, &[]);
        primary.start();
        let mut session = Wire::connect(&primary);
        run(&mut session, "CREATE TABLE past (n int)");
        let base = archive::base_copy(&primary, &mut session, "base", || ());
        let cluster = archive::on_copy(server, &base.dir, &["wal_retrieve_retry_interval = '10ms'"]);
        cluster.append_config(&archive::restore_command(&primary.archive_dir()));
        cluster.write_file("standby.signal", "");
        cluster.start();
        assert_eq!(ask(&cluster, "SELECT pg_get_wal_replay_pause_state()"), "not paused");
        assert_eq!(ask(&cluster, "SELECT pg_wal_replay_pause()"), "");
        assert_eq!(ask(&cluster, "SELECT pg_is_wal_replay_paused()"), "t");
        run(&mut session, "INSERT INTO past VALUES (1)");
        primary.archive_all(&mut session);
        wait_until("it has paused", || ask(&cluster, "SELECT pg_get_wal_replay_pause_state()") == "paused");
        let log = cluster.wait_for_log("recovery has paused");
        assert!(log.contains("HINT:  Execute pg_wal_replay_resume() to continue."), "{log}");
        assert_eq!(ask(&cluster, "SELECT count(*) FROM past"), "0");
        assert_eq!(ask(&cluster, "SELECT pg_wal_replay_resume()"), "");
        wait_until("it has followed", || ask(&cluster, "SELECT count(*) FROM past") == "1");
        assert_eq!(ask(&cluster, "SELECT pg_get_wal_replay_pause_state()"), "not paused");
        // Promotion ends a pause.
        assert_eq!(ask(&cluster, "SELECT pg_wal_replay_pause()"), "");
        assert_eq!(ask(&cluster, "SELECT pg_promote()"), "t");
        assert_eq!(ask(&cluster, "SELECT pg_is_in_recovery()"), "f");
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}
