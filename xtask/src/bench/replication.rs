//! `bench replication`: WAL on its way to `pg_receivewal` and to a standby's tables, the delay of a synchronous commit, what
//! walsenders cost the sessions beside them, and a base backup, of both servers in turns.
//!
//! A primary and its standby are of the same server; PostgreSQL's own `pg_basebackup` and `pg_receivewal` serve both. What
//! is to be sent is there before the clock starts: a slot keeps it.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use common::Lsn;
use integration::process::{self, Process};
use integration::{Cluster, DEADLINE, Server, Stop, pause, real_postgres};
use nix::sys::signal::Signal;
use serde_json::json;

use super::Options;
use super::report::{Better, Metric, Unit, median};
use super::turns::{self, Notes, Subject, short_pause};
use crate::Result;

/// How much.
#[derive(Args, Debug)]
pub(crate) struct ReplicationOptions {
    #[command(flatten)]
    common: Options,
    /// Megabytes of WAL that wait to be sent.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    wal: u32,
    /// Synchronous commits, one after the other.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    commits: u32,
    /// Megabytes of the base backup.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
}

impl ReplicationOptions {
    /// What all benches have.
    pub(crate) fn common(&self) -> &Options {
        &self.common
    }
}

const SETTINGS: [&str; 11] = [
    "fsync = on",
    "autovacuum = off",
    "shared_buffers = '1GB'",
    "max_wal_size = '40GB'",
    "min_wal_size = '1GB'",
    "checkpoint_timeout = '1h'",
    "max_connections = 100",
    "max_wal_senders = 20",
    "wal_level = replica",
    "logging_collector = off",
    "log_destination = 'stderr'",
];

const fn rate(name: &'static str, unit: Unit) -> Metric {
    Metric { name, unit, better: Better::Higher, aim: 1.0 }
}

const fn seconds(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Seconds, better: Better::Lower, aim: 1.0 }
}

const RECEIVED: Metric = rate("WAL to pg_receivewal", Unit::MegabytesPerSecond);
const REPLAYED: Metric = rate("WAL to a standby, replayed", Unit::MegabytesPerSecond);
const COMMIT: Metric = seconds("synchronous commit, median");
const COMMIT_99: Metric = seconds("synchronous commit, 99 of 100 within");
const BACKUP: Metric = seconds("pg_basebackup");

/// Commits of one row by eight clients, beside so many walsenders.
const LOADS: [(Metric, u32); 4] = [
    (rate("commits without a walsender", Unit::PerSecond), 0),
    (rate("commits beside 1 walsender", Unit::PerSecond), 1),
    (rate("commits beside 4 walsenders", Unit::PerSecond), 4),
    (rate("commits beside 16 walsenders", Unit::PerSecond), 16),
];

/// Measures, prints and writes.
pub(crate) fn run(options: &ReplicationOptions, servers: &[Server]) -> Result<()> {
    if real_postgres().is_none() {
        return Err("PostgreSQL 15's pg_basebackup and pg_receivewal are needed: cargo xtask setup".into());
    }
    let metrics: Vec<Metric> = [RECEIVED, REPLAYED, COMMIT, COMMIT_99]
        .into_iter()
        .chain(LOADS.map(|(metric, _)| metric))
        .chain([BACKUP])
        .collect();
    let ReplicationOptions { wal, commits, size, .. } = options;
    let subjects = servers.iter().map(|server| Subject::new(*server, &SETTINGS)).collect();
    let facts =
        json!({ "settings": SETTINGS, "wal_megabytes": wal, "commits": commits, "backup_megabytes": size });
    println!("{wal} MB of WAL; {commits} synchronous commits; a backup of {size} MB");
    turns::run("replication", options.common.rounds, subjects, &metrics, facts, |subject, notes| {
        turn(subject, notes, options);
    })
}

/// One turn. What fails is said and left out.
fn turn(subject: &Subject, notes: &mut Notes, options: &ReplicationOptions) {
    if let Err(message) = subject.start() {
        return notes.note(&RECEIVED, Err(message));
    }
    let cluster = &subject.cluster;
    notes.note(&RECEIVED, received(cluster, options.wal));
    if let Err((metric, message)) = with_standby(subject, notes, options) {
        notes.note(&metric, Err(message));
    }
    for (metric, senders) in &LOADS {
        notes.note(metric, beside(cluster, *senders, options.common.seconds));
    }
    notes.note(&BACKUP, backup(cluster, options.size));
    if let Err(message) = subject.stop() {
        notes.note(&BACKUP, Err(message));
    }
}

fn execute(client: &mut postgres::Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).map_err(|e| format!("{sql}: {e:?}"))
}

/// Where a server is: `pg_current_wal_flush_lsn()`, `pg_last_wal_replay_lsn()`.
fn position(client: &mut postgres::Client, function: &str) -> Result<Option<Lsn>> {
    let sql = format!("SELECT {function}::text");
    let row = client.query_one(&sql, &[]).map_err(|e| format!("{sql}: {e:?}"))?;
    let text: Option<String> = row.get(0);
    text.map(|text| text.parse().map_err(|_| format!("{sql}: {text}"))).transpose()
}

fn flushed(client: &mut postgres::Client) -> Result<Lsn> {
    position(client, "pg_current_wal_flush_lsn()")?.ok_or_else(|| "the primary has no position".into())
}

/// Writes at least so much WAL, from a checkpoint on, and returns where it ends and how many megabytes it is. Afterwards the disk
/// is at rest: what the rows themselves take has been written, too, and does not compete with what is measured.
fn write_wal(cluster: &Cluster, megabytes: u32) -> Result<(Lsn, f64)> {
    let mut client = cluster.connect();
    execute(&mut client, "DROP TABLE IF EXISTS w; CREATE TABLE w (id int, value text); CHECKPOINT")?;
    let start = flushed(&mut client)?;
    loop {
        let end = flushed(&mut client)?;
        let written = (end.0 - start.0) as f64 / f64::from(1 << 20);
        if written >= f64::from(megabytes) {
            execute(&mut client, "CHECKPOINT")?;
            nix::unistd::sync();
            return Ok((end, written));
        }
        // Rows as tables have them: some ninety bytes.
        execute(
            &mut client,
            "INSERT INTO w SELECT g, 'a value of row number ' || g || repeat('.', 30) FROM generate_series(1, 20000) g",
        )?;
    }
}

/// A program that is waited for as long as it takes.
fn to_the_end(command: &mut Command, what: &str) -> Result<()> {
    let mut child = process::spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).map_err(|e| format!("{what}: {e}"))?;
    }
    let status = child.wait_without_deadline();
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}: {said}")) }
}

/// One of PostgreSQL's programs, aimed at a cluster.
fn program(cluster: &Cluster, name: &str) -> Result<Command> {
    cluster.client(name).ok_or_else(|| format!("{name} is not installed"))
}

/// A folder of the server's user, empty.
fn empty_folder(cluster: &Cluster, name: &str) -> Result<std::path::PathBuf> {
    let path = cluster.path(name);
    remove(&path)?;
    cluster.sh(&format!("mkdir '{}'", path.display()));
    Ok(path)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", path.display())),
        _ => Ok(()),
    }
}

/// Megabytes per second to `pg_receivewal`, whose files are synced one by one.
fn received(cluster: &Cluster, megabytes: u32) -> Result<Option<f64>> {
    let mut client = cluster.connect();
    execute(&mut client, "SELECT pg_create_physical_replication_slot('receivewal', true)")?;
    let (end, megabytes) = write_wal(cluster, megabytes)?;
    let folder = empty_folder(cluster, "received")?;
    let mut receive = program(cluster, "pg_receivewal")?;
    // It goes on until it has more than it is asked for.
    let last = Lsn(end.0 - 1).to_string();
    receive.arg("-D").arg(&folder).args(["-S", "receivewal", "--no-loop", "-E", &last]);
    let began = Instant::now();
    to_the_end(&mut receive, "pg_receivewal")?;
    let taken = began.elapsed().as_secs_f64();
    remove(&folder)?;
    execute(&mut client, "SELECT pg_drop_replication_slot('receivewal'); DROP TABLE w; CHECKPOINT")?;
    Ok(Some(megabytes / taken))
}

/// All that needs a standby, which is made for this turn.
fn with_standby(
    subject: &Subject,
    notes: &mut Notes,
    options: &ReplicationOptions,
) -> Result<(), (Metric, String)> {
    let primary = &subject.cluster;
    let standby = make_standby(primary).map_err(|message| (REPLAYED, message))?;
    notes.note(&REPLAYED, replayed(primary, &standby, options.wal));
    match synchronous(primary, &standby, options.commits) {
        Ok((median, within)) => {
            notes.note(&COMMIT, Ok(median));
            notes.note(&COMMIT_99, Ok(within));
        }
        Err(message) => notes.note(&COMMIT, Err(message)),
    }
    clean(primary, &standby).map_err(|message| (COMMIT, message))
}

/// A copy of the primary, not started, with a slot.
fn make_standby(primary: &Cluster) -> Result<Cluster> {
    let standby = Cluster::without_data(primary.server(), Path::new("/tmp"));
    let mut copy = program(primary, "pg_basebackup")?;
    let conninfo = format!("host={} port={} user=postgres", primary.socket_dir().display(), primary.port());
    copy.arg("-D").arg(standby.data_dir());
    to_the_end(
        copy.args(["-R", "-C", "-S", "standby", "-c", "fast", "--no-sync", "-d", &conninfo]),
        "pg_basebackup",
    )?;
    standby.append_own_config();
    SETTINGS.iter().for_each(|line| standby.append_config(line));
    Ok(standby)
}

/// Megabytes per second from the standby's start until it has replayed all.
fn replayed(primary: &Cluster, standby: &Cluster, megabytes: u32) -> Result<Option<f64>> {
    let (end, megabytes) = write_wal(primary, megabytes)?;
    let began = Instant::now();
    standby.spawn_postmaster(&[]);
    wait_for_replay(standby, end)?;
    Ok(Some(megabytes / began.elapsed().as_secs_f64()))
}

/// Waits until a standby that may still be starting has replayed up to there.
fn wait_for_replay(standby: &Cluster, end: Lsn) -> Result<()> {
    let began = Instant::now();
    let mut client = None;
    loop {
        if client.is_none() {
            client = standby.try_connect().ok();
        }
        if let Some(client) = &mut client
            && position(client, "pg_last_wal_replay_lsn()")? >= Some(end)
        {
            return Ok(());
        }
        if began.elapsed() > 10 * DEADLINE {
            return Err(format!("the standby does not replay up to {end}\n{}", standby.log()));
        }
        // Who asks all the time takes from who replays.
        pause();
    }
}

/// Changes a setting of a running server and waits until it is in force.
fn set(cluster: &Cluster, name: &str, value: &str) -> Result<()> {
    cluster.append_config(&format!("{name} = '{value}'"));
    cluster.signal_postmaster(Signal::SIGHUP);
    until("the setting is in force", || {
        let rows = cluster.connect().simple_query(&format!("SHOW {name}")).map_err(|e| e.to_string())?;
        Ok(rows
            .iter()
            .any(|row| matches!(row, postgres::SimpleQueryMessage::Row(row) if row.get(0) == Some(value))))
    })
}

fn until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !condition()? {
        if began.elapsed() > DEADLINE {
            return Err(format!("waited in vain until {what}"));
        }
        short_pause();
    }
    Ok(())
}

/// Rows of pg_stat_replication in a state.
fn senders(client: &mut postgres::Client, condition: &str) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM pg_stat_replication WHERE {condition}");
    client.query_one(&sql, &[]).map(|row| row.get(0)).map_err(|e| format!("{sql}: {e:?}"))
}

/// How long commits of one row take that one standby has to confirm: the median, and what 99 of 100 stay below.
fn synchronous(primary: &Cluster, standby: &Cluster, commits: u32) -> Result<(Option<f64>, Option<f64>)> {
    let mut client = primary.connect();
    wait_for_replay(standby, flushed(&mut client)?)?;
    set(primary, "synchronous_standby_names", "*")?;
    until("the standby is synchronous", || Ok(senders(&mut client, "sync_state = 'sync'")? == 1))?;
    execute(&mut client, "CREATE TABLE k (id int)")?;
    let mut samples = Vec::new();
    for _ in 0..commits {
        let began = Instant::now();
        execute(&mut client, "INSERT INTO k VALUES (1)")?;
        samples.push(began.elapsed().as_secs_f64());
    }
    execute(&mut client, "DROP TABLE k")?;
    set(primary, "synchronous_standby_names", "")?;
    samples.sort_by(f64::total_cmp);
    let within = samples.get(samples.len() * 99 / 100).or(samples.last()).copied();
    Ok((median(&samples), within))
}

/// The standby goes, and the primary forgets it.
fn clean(primary: &Cluster, standby: &Cluster) -> Result<()> {
    if standby.postmaster_pid() > 0 {
        standby.stop(Stop::Immediate);
    }
    set(primary, "synchronous_standby_names", "")?;
    let mut client = primary.connect();
    until("the walsender is gone", || Ok(senders(&mut client, "true")? == 0))?;
    execute(&mut client, "SELECT pg_drop_replication_slot('standby'); DROP TABLE IF EXISTS w; CHECKPOINT")
}

/// Single-row transactions per second of eight clients, while so many `pg_receivewal` follow.
fn beside(cluster: &Cluster, count: u32, seconds: u32) -> Result<Option<f64>> {
    let mut client = cluster.connect();
    execute(&mut client, "DROP TABLE IF EXISTS k; CREATE TABLE k (id int); CHECKPOINT")?;
    let mut receivers: Vec<Process> = Vec::new();
    for number in 0..count {
        let folder = empty_folder(cluster, &format!("received{number}"))?;
        let mut receive = program(cluster, "pg_receivewal")?;
        receive.arg("-D").arg(&folder).args(["--no-loop", "--no-sync"]);
        receivers.push(process::spawn(receive.stdout(Stdio::null()).stderr(Stdio::null())));
    }
    let ready =
        until("all of them stream", || Ok(senders(&mut client, "state = 'streaming'")? == i64::from(count)));
    let measured = ready.and_then(|()| inserts(cluster, seconds));
    receivers.iter().for_each(|receiver| receiver.signal(Signal::SIGINT));
    for receiver in &receivers {
        receiver.wait_without_deadline();
    }
    for number in 0..count {
        remove(&cluster.path(&format!("received{number}")))?;
    }
    until("their walsenders are gone", || Ok(senders(&mut client, "true")? == 0))?;
    execute(&mut client, "DROP TABLE k")?;
    measured
}

fn inserts(cluster: &Cluster, seconds: u32) -> Result<Option<f64>> {
    let script = cluster.path("insert.sql");
    fs::write(&script, "INSERT INTO k VALUES (1);\n").map_err(|e| format!("{}: {e}", script.display()))?;
    let mut load = program(cluster, "pgbench")?;
    load.args(["-n", "-c", "8", "-j", "2", "-T", &seconds.to_string(), "-f"]).arg(&script);
    super::load::pgbench_rate(cluster, &mut load).map(Some)
}

/// A base backup with all that `pg_basebackup` does unasked: WAL streamed beside it, a manifest; the copy is not synced.
fn backup(cluster: &Cluster, megabytes: u32) -> Result<Option<f64>> {
    let mut client = cluster.connect();
    execute(&mut client, "DROP TABLE IF EXISTS b; CREATE TABLE b (value text)")?;
    // Seven rows of a thousand characters to a page.
    let rows = u64::from(megabytes) * 128 * 7;
    let fill = format!("INSERT INTO b SELECT repeat('x', 1000) FROM generate_series(1, {rows})");
    execute(&mut client, &fill)?;
    execute(&mut client, "CHECKPOINT")?;
    let folder = cluster.path("backup");
    remove(&folder)?;
    let mut copy = program(cluster, "pg_basebackup")?;
    copy.arg("-D").arg(&folder).args(["-c", "fast", "--no-sync"]);
    let began = Instant::now();
    to_the_end(&mut copy, "pg_basebackup")?;
    let taken = began.elapsed().as_secs_f64();
    remove(&folder)?;
    execute(&mut client, "DROP TABLE b; CHECKPOINT")?;
    Ok(Some(taken))
}
