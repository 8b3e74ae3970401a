//! The processes that no client asks for do their work: autovacuum, checkpointer, background writer, WAL writer.

use std::fs;

use integration::{
    Cluster, Server, Stop, Wire, on_each_server, process, real_postgres, wait_for, wait_until,
};
use nix::sys::signal::Signal;
use regex::Regex;

use crate::support::{cluster_of, started};

/// Autovacuum looks every second, and finds everything worth its while.
const EAGER: [&str; 6] = [
    "autovacuum_naptime = 1s",
    "autovacuum_vacuum_threshold = 0",
    "autovacuum_vacuum_scale_factor = 0",
    "autovacuum_analyze_threshold = 0",
    "autovacuum_analyze_scale_factor = 0",
    "log_autovacuum_min_duration = 0",
];

#[track_caller]
fn run(session: &mut Wire, statements: &[&str]) {
    for sql in statements {
        let answer = session.query(sql);
        assert!(!answer.iter().any(|line| line.starts_with("ERROR")), "{sql}: {answer:?}");
    }
}

#[track_caller]
fn one(session: &mut Wire, sql: &str) -> String {
    session.query(sql).swap_remove(0)
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

/// A session, as soon as the server lets one in again.
#[track_caller]
fn reconnect(cluster: &Cluster) -> Wire {
    wait_for("the server accepts sessions", || {
        let mut session = Wire::open(cluster);
        session.start_session(&[("user", "postgres"), ("database", "postgres")]);
        (session.pid != 0).then_some(session)
    })
}

/// The lines of the log that begin with this, with what varies from run to run replaced by `#`.
fn entry(cluster: &Cluster, first: &str) -> Option<Vec<String>> {
    let log = cluster.normalised(&cluster.log());
    let mut lines = log.lines().skip_while(|line| !line.starts_with(first));
    let head = lines.next()?.to_owned();
    let rest = lines.take_while(|line| line.starts_with('\t')).map(str::to_owned);
    Some([head].into_iter().chain(rest).collect())
}

#[test]
fn autovacuum_vacuums_and_analyzes() {
    on_each_server("autovacuum", |server| {
        let cluster = started(server, &EAGER);
        let mut session = Wire::connect(&cluster);
        // All in one: a worker may come at any moment.
        run(
            &mut session,
            &["begin; create table t (a int); insert into t select generate_series(1, 1000); commit"],
        );
        run(&mut session, &["delete from t where a <= 500"]);
        let done = "select n_live_tup, n_dead_tup, n_mod_since_analyze, autovacuum_count > 0, autoanalyze_count > 0, \
                    last_autovacuum is not null, last_autoanalyze is not null, vacuum_count \
                    from pg_stat_user_tables where relname = 't'";
        wait_for_row(&mut session, done, "500|0|0|t|t|t|t|0");
        assert_eq!(
            one(&mut session, "select relpages, reltuples from pg_class where relname = 't'"),
            "5|500"
        );
        let first = "LOG:  automatic vacuum of table \"postgres.public.t\": index scans: 0";
        let lines = wait_for("the log tells of it", || entry(&cluster, first));
        let digits = Regex::new(r"\d+").expect("a valid pattern");
        let shape: Vec<_> = lines.iter().map(|line| digits.replace_all(line, "#").into_owned()).collect();
        let expected = [
            "LOG:  automatic vacuum of table \"postgres.public.t\": index scans: #",
            "\tpages: # removed, # remain, # scanned (#.#% of total)",
            "\ttuples: # removed, # remain, # are dead but not yet removable",
            "\tremovable cutoff: #, which was # XIDs old when operation ended",
        ];
        assert_eq!(shape[..4], expected);
        let expected = [
            "\tindex scan not needed: # pages from table (#.#% of total) had # dead item identifiers removed",
            "\tavg read rate: #.# MB/s, avg write rate: #.# MB/s",
            "\tbuffer usage: # hits, # misses, # dirtied",
            "\tWAL usage: # records, # full page images, # bytes",
            "\tsystem usage: CPU: user: #.# s, system: #.# s, elapsed: #.# s",
        ];
        assert_eq!(shape[shape.len() - 5..], expected);
        let log = cluster.log();
        assert!(
            log.contains("\ttuples: 500 removed, 500 remain, 0 are dead but not yet removable\n"),
            "{log}"
        );
        let lines = entry(&cluster, "LOG:  automatic analyze of table \"postgres.public.t\"");
        assert_eq!(lines.map(|lines| lines.len()), Some(4));
    });
}

#[test]
fn a_worker_is_seen_and_gives_way() {
    on_each_server("autovacuum in the way", |server| {
        // So slow that it is still there when the session comes.
        let slow = ["autovacuum_vacuum_cost_delay = 100ms", "autovacuum_vacuum_cost_limit = 1"];
        let more = ["deadlock_timeout = 100ms", "log_lock_waits = on", "autovacuum = off"];
        let cluster = started(server, &[&EAGER[..], &slow, &more].concat());
        let mut session = Wire::connect(&cluster);
        let fill = "insert into t select g from generate_series(1, 100000) g";
        run(&mut session, &["create table t (a int)", fill, "delete from t where a % 2 = 0"]);
        cluster.append_config("autovacuum = on");
        cluster.signal_postmaster(Signal::SIGHUP);
        let works = "select query from pg_stat_activity where backend_type = 'autovacuum worker' \
                     and query like '%public.t' limit 1";
        wait_until("a worker vacuums", || session.query(works)[0].starts_with("autovacuum: VACUUM"));
        let found = one(&mut session, works);
        assert!(found.starts_with("autovacuum: VACUUM") && found.ends_with(" public.t"), "{found}");
        let title = match server {
            Server::Ours => "postgres: autovacuum worker process   postgres",
            Server::Real => "postgres: autovacuum worker postgres",
        };
        cluster.wait_for_process(title);
        let holds = "select count(*) from pg_locks where relation = 't'::regclass and granted \
                     and mode = 'ShareUpdateExclusiveLock'";
        wait_for_row(&mut session, holds, "1");
        assert_eq!(session.query("begin"), ["BEGIN"]);
        assert_eq!(session.query("lock table t"), ["LOCK TABLE"]);
        let log = cluster.wait_for_log("canceling autovacuum task");
        let log = cluster.normalised(&log);
        let lines: Vec<_> =
            log.lines().skip_while(|line| !line.contains("canceling autovacuum task")).collect();
        assert_eq!(lines[0], "ERROR:  canceling autovacuum task");
        let scanning = Regex::new(r#"^CONTEXT:  while scanning block \d+ of relation "public\.t"$"#);
        assert!(scanning.expect("a valid pattern").is_match(lines[1]), "{lines:?}");
        assert_eq!(lines[2], "\tautomatic vacuum of table \"postgres.public.t\"");
        assert!(log.contains(" still waiting for AccessExclusiveLock on relation "), "{log}");
        assert!(log.contains(" acquired AccessExclusiveLock on relation "), "{log}");
        run(&mut session, &["select count(*) from t", "drop table t", "commit"]);
        // Nobody crashed over it.
        assert!(!cluster.log().contains("terminating any other active server processes"));
    });
}

/// What happens to a worker that gets this signal, as the log tells it.
fn signalled_worker(server: Server, signal: Signal) -> (Cluster, Vec<String>) {
    let slow =
        ["autovacuum_vacuum_cost_delay = 100ms", "autovacuum_vacuum_cost_limit = 1", "autovacuum = off"];
    let cluster = started(server, &[&EAGER[..], &slow].concat());
    let mut session = Wire::connect(&cluster);
    let fill = "insert into t select g from generate_series(1, 100000) g";
    run(&mut session, &["create table t (a int)", fill, "delete from t where a % 2 = 0"]);
    cluster.append_config("autovacuum = on");
    cluster.signal_postmaster(Signal::SIGHUP);
    let works = "select min(pid) from pg_stat_activity where backend_type = 'autovacuum worker' \
                 and query = 'autovacuum: VACUUM ANALYZE public.t'";
    let pid = wait_for("a worker vacuums", || session.query(works)[0].parse::<i32>().ok());
    cluster.mark_log();
    cluster.signal(pid, signal);
    let message = if signal == Signal::SIGKILL { "was terminated by signal 9" } else { "autovacuum process" };
    cluster.wait_for_new_log(message);
    let lines = cluster.new_log_lines();
    (cluster, lines)
}

#[test]
fn a_killed_worker_is_a_crash() {
    on_each_server("kill -9 of an autovacuum worker", |server| {
        let (cluster, lines) = signalled_worker(server, Signal::SIGKILL);
        let died = "LOG:  server process (PID N) was terminated by signal 9: Killed";
        let at = lines.iter().position(|line| line == died).unwrap_or_else(|| panic!("{lines:?}"));
        let log = cluster.wait_for_new_log("terminating any other active server processes");
        let running = "DETAIL:  Failed process was running: autovacuum: VACUUM ANALYZE public.t\n";
        assert!(at < lines.len() && log.contains(running), "{log}");
        let mut session = reconnect(&cluster);
        assert_eq!(one(&mut session, "select count(*) from t"), "50000");
    });
}

#[test]
fn a_worker_can_be_sent_away() {
    on_each_server("SIGTERM to an autovacuum worker", |server| {
        let (cluster, lines) = signalled_worker(server, Signal::SIGTERM);
        let said = "FATAL:  terminating autovacuum process due to administrator command";
        assert!(lines.iter().any(|line| line == said), "{lines:?}");
        let mut session = Wire::connect(&cluster);
        assert_eq!(one(&mut session, "select count(*) from t"), "50000");
        assert!(!cluster.log().contains("terminating any other active server processes"));
        // Another one comes, and is as little in the way of a stop.
        let works = "select count(*) > 0 from pg_stat_activity where query like 'autovacuum: VACUUM%'";
        wait_for_row(&mut session, works, "t");
        session.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
    });
}

#[test]
fn autovacuum_goes_and_comes_with_its_setting() {
    on_each_server("autovacuum off and on", |server| {
        let cluster = started(server, &["autovacuum = off", "autovacuum_naptime = 1s"]);
        let launcher = "postgres: autovacuum launcher";
        // The others come first, or with it.
        cluster.wait_for_process("postgres: wal");
        let mut session = Wire::connect(&cluster);
        let there = "select count(*) from pg_stat_activity where backend_type = 'autovacuum launcher'";
        assert_eq!(one(&mut session, there), "0");
        assert!(cluster.find_process(launcher).is_none());
        for turn in 0..2 {
            cluster.append_config("autovacuum = on");
            cluster.signal_postmaster(Signal::SIGHUP);
            let pid = cluster.wait_for_process(launcher);
            wait_for_row(&mut session, there, "1");
            if turn == 0 {
                // One that ends is replaced, and nobody else notices.
                cluster.signal(pid, Signal::SIGTERM);
                wait_until("another launcher", || {
                    cluster.find_process(launcher).is_some_and(|new| new != pid)
                });
            }
            cluster.append_config("autovacuum = off");
            cluster.signal_postmaster(Signal::SIGHUP);
            wait_until("the launcher is gone", || cluster.find_process(launcher).is_none());
        }
        assert_eq!(one(&mut session, "select 1"), "1");
    });
}

#[test]
fn freezing_moves_the_databases_oldest_id_on() {
    on_each_server("datfrozenxid", |server| {
        let cluster = started(server, &["autovacuum = off"]);
        let mut session = Wire::connect(&cluster);
        let age = "select age(datfrozenxid) from pg_database where datname = 'postgres'";
        run(&mut session, &["create table t (a int)"]);
        for i in 0..20 {
            run(&mut session, &[&format!("insert into t values ({i})")]);
        }
        let before: i64 = one(&mut session, age).parse().expect("a number");
        assert!(before >= 20, "{before}");
        let frozen = "select datfrozenxid from pg_database where datname = 'postgres'";
        let was = one(&mut session, frozen);
        // One table alone is not the database.
        run(&mut session, &["vacuum freeze t"]);
        assert_eq!(one(&mut session, "select age(relfrozenxid) from pg_class where relname = 't'"), "0");
        assert_eq!(one(&mut session, frozen), was);
        run(&mut session, &["vacuum freeze"]);
        let after: i64 = one(&mut session, age).parse().expect("a number");
        assert!(after <= 20, "{after}");
        assert_ne!(one(&mut session, frozen), was);
        assert_eq!(one(&mut session, "select count(*) from t"), "20");
        session.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.start();
        let mut session = Wire::connect(&cluster);
        assert_ne!(one(&mut session, frozen), was, "on disk too");
        assert_eq!(one(&mut session, "select count(*), min(a), max(a) from t"), "20|0|19");
    });
}

/// Gives the cluster, which is stopped, another next transaction id; false without PostgreSQL's program for it.
fn set_next_xid(cluster: &Cluster, next: u32) -> bool {
    let Some(postgres) = real_postgres() else { return false };
    let mut command = std::process::Command::new(postgres.path("pg_resetwal"));
    process::unprivileged(&mut command);
    command.env("LC_ALL", "C").arg("-x").arg(next.to_string()).arg("-D").arg(cluster.data_dir());
    let output = cluster.run(&mut command);
    assert!(output.status.success(), "{output:?}");
    // The page of the commit log that the next id is on; pg_resetwal leaves that to its user.
    let segment = next / (32 * 32_768);
    let path = cluster.data_dir().join(format!("pg_xact/{segment:04X}"));
    fs::write(&path, vec![0; 32 * 8192]).expect("a writable data directory");
    let (uid, gid) = process::unprivileged_ids();
    std::os::unix::fs::chown(&path, Some(uid), Some(gid)).expect("own file");
    true
}

#[test]
fn old_rows_are_frozen_in_every_database() {
    on_each_server("autovacuum to prevent wraparound", |server| {
        let settings = [&EAGER[..4], &["autovacuum_freeze_max_age = 100000", "autovacuum = off"]].concat();
        let cluster = started(server, &[&settings[..], &["log_autovacuum_min_duration = 0"]].concat());
        let mut session = Wire::connect(&cluster);
        run(&mut session, &["create table t (a int)", "insert into t values (1)"]);
        session.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        if !set_next_xid(&cluster, 2_200_000) {
            integration::say_skipped("autovacuum to prevent wraparound", "there is no pg_resetwal");
            return;
        }
        // Autovacuum is off, but the oldest id is so old that it comes all the same.
        cluster.start();
        let mut session = Wire::connect(&cluster);
        let young = "select count(*) from pg_database where age(datfrozenxid) < 100000";
        wait_for_row(&mut session, young, "3");
        assert_eq!(
            one(&mut session, "select age(relfrozenxid) < 100000 from pg_class where relname = 't'"),
            "t"
        );
        let pg_xact = || {
            let entries = fs::read_dir(cluster.data_dir().join("pg_xact")).expect("pg_xact");
            let mut names: Vec<_> = entries.map(|entry| entry.expect("readable").file_name()).collect();
            names.sort();
            names
        };
        wait_until("the commit log is cut", || pg_xact() == ["0002"]);
        assert!(
            cluster
                .log()
                .contains("LOG:  automatic aggressive vacuum to prevent wraparound of table \"template0.")
        );
        assert_eq!(one(&mut session, "select count(*) from t"), "1");
        run(&mut session, &["insert into t values (2)"]);
        session.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.start();
        let mut session = Wire::connect(&cluster);
        assert_eq!(one(&mut session, "select count(*) from t"), "2");
    });
}

#[test]
fn a_checkpoint_says_what_it_did() {
    on_each_server("log_checkpoints", |server| {
        let cluster = started(server, &["log_checkpoints = on", "autovacuum = off"]);
        let mut session = Wire::connect(&cluster);
        let fill = "insert into t select g from generate_series(1, 100000) g";
        run(&mut session, &["checkpoint", "create table t (a int)", fill]);
        cluster.mark_log();
        run(&mut session, &["checkpoint"]);
        let log = cluster.wait_for_new_log("checkpoint complete");
        assert!(log.contains("LOG:  checkpoint starting: immediate force wait\n"), "{log}");
        let line = Regex::new(
            r"checkpoint complete: wrote (\d+) buffers \(\d+\.\d%\); (\d+) WAL file\(s\) added, (\d+) removed, (\d+) recycled; write=\d+\.\d{3} s, sync=\d+\.\d{3} s, total=\d+\.\d{3} s; sync files=(\d+), longest=\d+\.\d{3} s, average=\d+\.\d{3} s; distance=(\d+) kB, estimate=(\d+) kB\n",
        )
        .expect("a valid pattern");
        let found = line.captures(&log).unwrap_or_else(|| panic!("{log}"));
        let number = |at: usize| found[at].parse::<u64>().expect("digits");
        // The table has 443 pages.
        assert!((443..=600).contains(&number(1)), "{log}");
        assert!((5_000..20_000).contains(&number(6)), "{log}");
        // Nothing is left to write.
        cluster.mark_log();
        run(&mut session, &["checkpoint"]);
        let log = cluster.wait_for_new_log("checkpoint complete");
        let found = line.captures(&log).unwrap_or_else(|| panic!("{log}"));
        assert!(found[1].parse::<u64>().expect("digits") <= 2, "{log}");
        // The last one, and a start that has nothing to recover.
        session.quit();
        cluster.mark_log();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        assert!(cluster.new_log().contains("checkpoint starting: shutdown immediate\n"));
        cluster.mark_log();
        cluster.start();
        cluster.wait_for_new_log("ready to accept connections");
        let log = cluster.normalised(&cluster.new_log());
        assert!(log.contains("LOG:  database system was shut down at TIME\n"), "{log}");
        assert!(!log.contains("redo"), "{log}");
    });
}

/// The WAL segments in the data directory.
fn segments(cluster: &Cluster) -> Vec<String> {
    let entries = fs::read_dir(cluster.data_dir().join("pg_wal")).expect("pg_wal");
    let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.len() == 24).collect();
    names.sort();
    names
}

#[test]
fn wal_volume_asks_for_checkpoints_and_segments_stay_few() {
    on_each_server("checkpoints by WAL volume", |server| {
        let sizes =
            ["max_wal_size = 64MB", "min_wal_size = 32MB", "log_checkpoints = on", "autovacuum = off"];
        let cluster = started(server, &sizes);
        let mut session = Wire::connect(&cluster);
        run(&mut session, &["create table t (a int, b text)"]);
        let fill = "insert into t select g, repeat('x', 1000) from generate_series(1, 20000) g";
        for _ in 0..8 {
            run(&mut session, &[fill]);
        }
        let log = cluster.wait_for_log("checkpoint starting: wal");
        assert!(!log.contains("could not signal"), "{log}");
        let log = cluster.wait_for_log("checkpoints are occurring too frequently (");
        assert!(
            log.contains("HINT:  Consider increasing the configuration parameter \"max_wal_size\".\n"),
            "{log}"
        );
        wait_for_row(&mut session, "select checkpoints_req > 1 from pg_stat_bgwriter", "t");
        // 64 MB are four segments, one more is being written, and a checkpoint may lag behind.
        run(&mut session, &["checkpoint"]);
        let few = segments(&cluster);
        assert!(few.len() <= 8, "{few:?}");
        let log = cluster.log();
        let recycled = Regex::new(r"[1-9]\d* (removed|recycled)").expect("a valid pattern");
        assert!(recycled.is_match(&log), "{log}");
        // wal_keep_size holds them back.
        cluster.append_config("wal_keep_size = 160MB");
        cluster.signal_postmaster(Signal::SIGHUP);
        wait_for_row(&mut session, "show wal_keep_size", "160MB");
        for _ in 0..11 {
            run(&mut session, &[fill]);
        }
        run(&mut session, &["checkpoint", "checkpoint"]);
        let kept = segments(&cluster);
        let now = one(&mut session, "select pg_walfile_name(pg_current_wal_lsn())");
        let behind = kept.iter().filter(|name| **name < now).count();
        assert!((10..=13).contains(&behind), "{now}: {kept:?}");
        session.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        cluster.start();
        let mut session = Wire::connect(&cluster);
        assert_eq!(one(&mut session, "select count(*) from t"), "380000");
    });
}

#[test]
fn a_timed_checkpoint_takes_its_time() {
    let settings = ["checkpoint_timeout = 30s", "checkpoint_completion_target = 0.1", "log_checkpoints = on"];
    let cluster = Cluster::started(&[&settings[..], &["autovacuum = off"]].concat());
    let mut session = Wire::connect(&cluster);
    let fill = "insert into t select g from generate_series(1, 10000) g";
    run(&mut session, &["create table t (a int)", fill]);
    let log = cluster.wait_for_log("checkpoint complete");
    assert!(log.contains("LOG:  checkpoint starting: time\n"), "{log}");
    // Spread over a tenth of the way to the next one.
    let line = log.lines().find(|line| line.contains("checkpoint complete")).unwrap_or_default();
    let write = line.split("write=").nth(1).and_then(|rest| rest.split('.').next());
    let secs: u64 = write.and_then(|secs| secs.parse().ok()).unwrap_or(0);
    assert!((2..=10).contains(&secs), "{line}");
    wait_for_row(
        &mut session,
        "select checkpoints_timed, buffers_checkpoint > 40 from pg_stat_bgwriter",
        "1|t",
    );
}

#[test]
fn what_was_to_be_synced_is_synced_after_a_crash() {
    let cluster = Cluster::started(&["log_checkpoints = on", "autovacuum = off"]);
    let mut session = Wire::connect(&cluster);
    run(&mut session, &["create table t (a int)", "insert into t select generate_series(1, 50000)"]);
    cluster.mark_log();
    cluster.kill(cluster.wait_for_process("postgres: checkpointer"));
    let mut session = reconnect(&cluster);
    let log = cluster.normalised(&cluster.new_log());
    assert!(log.contains("LOG:  checkpointer process (PID N) was terminated by signal 9: Killed\n"), "{log}");
    assert!(log.contains("checkpoint starting: end-of-recovery immediate wait\n"), "{log}");
    assert_eq!(one(&mut session, "select count(*) from t"), "50000");
    run(&mut session, &["insert into t select generate_series(1, 50000)", "drop table t", "checkpoint"]);
}

/// What pg_waldump shows of a cluster that has stopped; `None` without it.
fn wal_dump(cluster: &Cluster, rmgr: &str) -> Option<String> {
    let program = real_postgres()?.path("pg_waldump");
    let first = segments(cluster).into_iter().next()?;
    let mut command = std::process::Command::new(program);
    command.arg("-p").arg(cluster.data_dir().join("pg_wal")).args(["-r", rmgr]).arg(first);
    Some(String::from_utf8_lossy(&process::run(&mut command).stdout).into_owned())
}

#[test]
fn standbys_are_told_of_locks_and_of_who_runs() {
    on_each_server("standby records", |server| {
        let cluster = started(server, &["autovacuum = off"]);
        let (mut holder, mut other) = (Wire::connect(&cluster), Wire::connect(&cluster));
        run(&mut other, &["create table t (a int)"]);
        let oid = one(&mut other, "select 't'::regclass::oid");
        run(&mut holder, &["begin", "lock table t"]);
        run(&mut other, &["checkpoint"]);
        run(&mut holder, &["insert into t values (1)", "commit"]);
        holder.quit();
        other.quit();
        assert_eq!(cluster.stop(Stop::Fast).code(), Some(0));
        let Some(dump) = wal_dump(&cluster, "Standby") else { return };
        let locks = dump.lines().filter(|line| line.contains(&format!(" rel {oid}"))).count();
        assert!(locks >= 2, "when it is taken, and at the checkpoint: {dump}");
        let running = dump.lines().filter(|line| line.contains("RUNNING_XACTS"));
        assert!(running.clone().count() >= 1, "{dump}");
        assert!(running.clone().any(|line| line.contains("1 xacts:")), "{dump}");
    });
}

/// kill -9 of all processes: what is in the kernel's hands stays, what is in theirs does not.
#[track_caller]
fn kill_everything(cluster: &Cluster) {
    for process in cluster.processes() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    wait_until("nothing is left", || cluster.processes().is_empty());
}

#[test]
fn an_asynchronous_commit_gets_to_disk_by_itself() {
    on_each_server("the WAL writer", |server| {
        // 50 idle rounds until it sleeps 25 times as long: a moment here.
        let cluster = started(server, &["wal_writer_delay = 20ms", "autovacuum = off"]);
        let mut session = Wire::connect(&cluster);
        run(&mut session, &["create table t (a int)", "set synchronous_commit = off"]);
        for i in 1..=5 {
            run(&mut session, &[&format!("insert into t values ({i})")]);
            let end = one(&mut session, "select pg_current_wal_insert_lsn()");
            let flushed = format!("select pg_current_wal_flush_lsn() >= '{end}'");
            wait_for_row(&mut session, &flushed, "t");
            // Idle until it has slowed down, now and then.
            if i % 2 == 0 {
                let cpu = "select pg_sleep(1.2)";
                run(&mut session, &[cpu]);
            }
        }
        kill_everything(&cluster);
        cluster.start();
        let mut session = Wire::connect(&cluster);
        assert_eq!(one(&mut session, "select count(*), max(a) from t"), "5|5");
    });
}

#[test]
fn the_background_writer_cleans_ahead() {
    on_each_server("the background writer", |server| {
        let small = ["shared_buffers = 2MB", "bgwriter_delay = 10ms", "bgwriter_lru_maxpages = 1000"];
        let cluster =
            started(server, &[&small[..], &["autovacuum = off", "checkpoint_timeout = 1h"]].concat());
        let mut session = Wire::connect(&cluster);
        run(&mut session, &["create table t (a int, b text)"]);
        run(&mut session, &["insert into t select g, repeat('x', 500) from generate_series(1, 10000) g"]);
        wait_until("buffers are cleaned", || {
            run(&mut session, &["update t set a = a + 1 where a % 7 = 0"]);
            one(&mut session, "select buffers_clean > 0 from pg_stat_bgwriter") == "t"
        });
        let all =
            "select buffers_alloc > 100, buffers_backend > 0, buffers_backend_fsync from pg_stat_bgwriter";
        run(&mut session, &["select pg_stat_force_next_flush()"]);
        wait_for_row(&mut session, all, "t|t|0");
        assert_eq!(one(&mut session, "select count(*) from t"), "10000");
    });
}

/// Sessions that write as fast as they can, and one with a transaction open.
fn load(cluster: &Cluster) -> (Vec<Wire>, Wire) {
    let mut open = Wire::connect(cluster);
    run(&mut open, &["create table load (a int, b text)", "begin", "insert into load values (-1, 'open')"]);
    let writers = (0..4).map(|i| {
        let mut writer = Wire::connect(cluster);
        writer.begin(&format!(
            "insert into load select g, repeat('y', 200) from generate_series({i}, 100000000) g"
        ));
        writer
    });
    (writers.collect(), open)
}

#[test]
fn every_stop_ends_all_processes_under_load() {
    for how in [Stop::Fast, Stop::Immediate, Stop::Smart] {
        let cluster = cluster_of(Server::Ours, &["autovacuum_naptime = 1s", "max_wal_size = 64MB"]);
        cluster.start();
        let (mut writers, mut open) = load(&cluster);
        let mut control = Wire::connect(&cluster);
        wait_until("the writers have written", || {
            let grown = one(&mut control, "select pg_current_wal_insert_lsn() - '0/0'::pg_lsn");
            grown.parse::<u64>().is_ok_and(|bytes| bytes > 40 << 20)
        });
        cluster.signal_postmaster(how.signal());
        if how == Stop::Smart {
            // Nobody is sent away: until they go by themselves.
            cluster.wait_for_log("received smart shutdown request");
            for writer in &writers {
                writer.no_more();
            }
            for writer in &mut writers {
                let pid = writer.pid;
                run(&mut control, &[&format!("select pg_cancel_backend({pid})")]);
                writer.answer();
            }
            run(&mut open, &["rollback"]);
            open.quit();
            control.quit();
        }
        let code = cluster.wait_for_end().code();
        assert_eq!(code, Some(0), "{how:?}\n{}", cluster.log());
        wait_until("all processes are gone", || cluster.processes().is_empty());
        assert!(!cluster.log().contains("PANIC"), "{how:?}\n{}", cluster.log());
        cluster.start();
        let mut session = Wire::connect(&cluster);
        assert_eq!(one(&mut session, "select count(*) from load"), "0", "{how:?}");
    }
}
