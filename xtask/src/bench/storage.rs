//! `bench storage`: rows in and out, commits, a checkpoint and a crash recovery, of both servers in turns.
//!
//! A turn works on tables of its own, from an empty one on, and drops them at its end; the settings are the same for
//! both servers and large enough that no checkpoint falls into a measurement by chance.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use clap::Args;
use integration::{Cluster, Server, process, procfs};
use nix::sys::signal::Signal;
use serde_json::json;

use super::Options;
use super::report::{Better, Metric, Unit};
use super::turns::{self, Notes, Subject, short_pause};
use crate::Result;

/// How much.
#[derive(Args, Debug)]
pub(crate) struct StorageOptions {
    #[command(flatten)]
    common: Options,
    /// Millions of rows of the insert, the count and the update.
    #[arg(long, default_value_t = 10)]
    millions: u32,
    /// Megabytes that COPY reads and writes, and that the checkpoint writes.
    #[arg(long, default_value_t = 1024)]
    megabytes: u32,
}

impl StorageOptions {
    /// What all benches have.
    pub(crate) fn common(&self) -> &Options {
        &self.common
    }
}

const SETTINGS: [&str; 12] = [
    "fsync = on",
    "autovacuum = off",
    "shared_buffers = '2GB'",
    "max_wal_size = '40GB'",
    "min_wal_size = '1GB'",
    "checkpoint_timeout = '1h'",
    "max_connections = 100",
    "wal_level = replica",
    "max_parallel_workers_per_gather = 0",
    "jit = off",
    "logging_collector = off",
    "log_destination = 'stderr'",
];

const fn seconds(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Seconds, better: Better::Lower, aim: 1.0 }
}

const fn rate(name: &'static str, unit: Unit) -> Metric {
    Metric { name, unit, better: Better::Higher, aim: 1.0 }
}

const INSERT: Metric = seconds("insert into t select generate_series");
const COUNT: Metric = seconds("select count(*)");
const UPDATE: Metric = seconds("update t set id = id + 1");
const COPY_IN: Metric = rate("COPY in", Unit::MegabytesPerSecond);
const COPY_OUT: Metric = rate("COPY out", Unit::MegabytesPerSecond);
const CHECKPOINT: Metric = rate("checkpoint", Unit::MegabytesPerSecond);
const RECOVERY: Metric = rate("crash recovery, WAL", Unit::MegabytesPerSecond);
const MEMORY: Metric = Metric {
    name: "memory of the inserting session",
    unit: Unit::Kilobytes,
    better: Better::Lower,
    aim: 1.0,
};

/// Commits of one row: clients, synchronous.
const COMMITS: [(Metric, u32, bool); 6] = [
    (rate("commits: 1 client", Unit::PerSecond), 1, true),
    (rate("commits: 8 clients", Unit::PerSecond), 8, true),
    (rate("commits: 32 clients", Unit::PerSecond), 32, true),
    (rate("asynchronous commits: 1 client", Unit::PerSecond), 1, false),
    (rate("asynchronous commits: 8 clients", Unit::PerSecond), 8, false),
    (rate("asynchronous commits: 32 clients", Unit::PerSecond), 32, false),
];

/// Counts are short: the best of these many is taken, as the others met something else.
const COUNTS: u32 = 3;

/// Measures, prints and writes.
pub(crate) fn run(options: &StorageOptions, servers: &[Server]) -> Result<()> {
    let metrics: Vec<Metric> = [INSERT, MEMORY, COUNT, UPDATE, COPY_IN, COPY_OUT]
        .into_iter()
        .chain(COMMITS.map(|(metric, ..)| metric))
        .chain([CHECKPOINT, RECOVERY])
        .collect();
    let subjects: Vec<Subject> = servers.iter().map(|server| Subject::new(*server, &SETTINGS)).collect();
    let facts = json!({ "settings": SETTINGS, "millions": options.millions, "megabytes": options.megabytes });
    println!("{} million rows; {} MB", options.millions, options.megabytes);
    turns::run("storage", options.common.rounds, subjects, &metrics, facts, |subject, notes| {
        turn(subject, notes, options);
    })
}

fn turn(subject: &mut Subject, notes: &mut Notes, options: &StorageOptions) {
    if let Err(message) = subject.start() {
        return notes.note(&INSERT, Err(message));
    }
    let cluster = &subject.cluster;
    rows(cluster, notes, options.millions);
    copies(cluster, notes, options.megabytes);
    for (metric, clients, synchronous) in &COMMITS {
        notes.note(metric, commits(cluster, *clients, *synchronous, options.common.seconds));
    }
    notes.note(&CHECKPOINT, checkpoint(cluster, options.megabytes));
    notes.note(&RECOVERY, recovery(subject, options.millions));
    if let Err(message) = subject.stop() {
        notes.note(&RECOVERY, Err(message));
    }
}

/// Runs statements on a connection and returns the seconds they took.
fn timed(client: &mut postgres::Client, sql: &str) -> Result<Option<f64>> {
    let began = Instant::now();
    client.batch_execute(sql).map_err(|e| format!("{sql}: {e:?}"))?;
    Ok(Some(began.elapsed().as_secs_f64()))
}

fn rows(cluster: &Cluster, notes: &mut Notes, millions: u32) {
    let mut client = cluster.connect();
    if let Err(message) = timed(&mut client, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int); CHECKPOINT") {
        return notes.note(&INSERT, Err(message));
    }
    let pid = client.query_one("SELECT pg_backend_pid()", &[]).map_or(0, |row| row.get(0));
    notes.note(
        &INSERT,
        timed(&mut client, &format!("INSERT INTO t SELECT generate_series(1, {millions}000000)")),
    );
    notes.note(&MEMORY, Ok(procfs::anonymous_kb(pid).map(|kb| kb as f64)));
    let mut best: Option<f64> = None;
    for _ in 0..COUNTS {
        match timed(&mut client, "SELECT count(*) FROM t") {
            Ok(taken) => best = [best, taken].into_iter().flatten().reduce(f64::min),
            Err(message) => return notes.note(&COUNT, Err(message)),
        }
    }
    notes.note(&COUNT, Ok(best));
    notes.note(&UPDATE, timed(&mut client, "UPDATE t SET id = id + 1"));
    let _ = timed(&mut client, "DROP TABLE t; CHECKPOINT");
}

/// Lines of three columns, some 100 bytes each.
fn copy_file(cluster: &Cluster, megabytes: u32) -> Result<PathBuf> {
    let path = cluster.path("copy.txt");
    let file = fs::File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut writer = BufWriter::new(file);
    let mut left = i64::from(megabytes) << 20;
    let mut number = 0u64;
    while left > 0 {
        number += 1;
        let line = format!(
            "{number}\tname of row number {number}\t{:064x}\n",
            number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        );
        left -= line.len() as i64;
        writer.write_all(line.as_bytes()).map_err(|e| e.to_string())?;
    }
    writer.flush().map_err(|e| e.to_string())?;
    Ok(path)
}

fn copies(cluster: &Cluster, notes: &mut Notes, megabytes: u32) {
    let path = match copy_file(cluster, megabytes) {
        Ok(path) => path,
        Err(message) => return notes.note(&COPY_IN, Err(message)),
    };
    let mut client = cluster.connect();
    let _ = timed(
        &mut client,
        "DROP TABLE IF EXISTS c; CREATE TABLE c (id int, name text, code text); CHECKPOINT",
    );
    let per_second = |taken: f64| f64::from(megabytes) / taken;
    notes.note(&COPY_IN, psql_copy(cluster, "COPY c FROM STDIN", Some(&path)).map(|t| t.map(per_second)));
    notes.note(&COPY_OUT, psql_copy(cluster, "COPY c TO STDOUT", None).map(|t| t.map(per_second)));
    let _ = fs::remove_file(&path);
    let _ = timed(&mut client, "DROP TABLE c; CHECKPOINT");
}

/// COPY through psql, which both servers are given the same bytes by.
fn psql_copy(cluster: &Cluster, sql: &str, input: Option<&Path>) -> Result<Option<f64>> {
    let Some(mut command) = cluster.client("psql") else { return Ok(None) };
    command.args(["-X", "-q", "-c", sql]).stdout(Stdio::null());
    if let Some(path) = input {
        let file = fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        command.stdin(file);
    }
    let began = Instant::now();
    let status = process::spawn(&mut command).wait_without_deadline();
    if status.success() { Ok(Some(began.elapsed().as_secs_f64())) } else { Err(format!("{sql}: {status}")) }
}

/// Single-row transactions per second.
fn commits(cluster: &Cluster, clients: u32, synchronous: bool, seconds: u32) -> Result<Option<f64>> {
    let mut client = cluster.connect();
    timed(&mut client, "DROP TABLE IF EXISTS k; CREATE TABLE k (id int)")?;
    let script = cluster.path("insert.sql");
    fs::write(&script, "INSERT INTO k VALUES (1);\n").map_err(|e| format!("{}: {e}", script.display()))?;
    let Some(mut command) = cluster.client("pgbench") else { return Ok(None) };
    let on_off = if synchronous { "on" } else { "off" };
    command.env("PGOPTIONS", format!("-c synchronous_commit={on_off}"));
    command
        .args(["-n", "-c", &clients.to_string(), "-j", "2", "-T", &seconds.to_string(), "-f"])
        .arg(&script);
    super::load::pgbench_rate(cluster, &mut command).map(Some)
}

/// Dirties that much and writes it.
fn checkpoint(cluster: &Cluster, megabytes: u32) -> Result<Option<f64>> {
    let mut client = cluster.connect();
    timed(&mut client, "DROP TABLE IF EXISTS w; CREATE TABLE w (value text); CHECKPOINT")?;
    // Seven rows of a thousand characters to a page.
    let rows = u64::from(megabytes) * 128 * 7;
    timed(&mut client, &format!("INSERT INTO w SELECT repeat('x', 1000) FROM generate_series(1, {rows})"))?;
    let taken = timed(&mut client, "CHECKPOINT")?;
    timed(&mut client, "DROP TABLE w; CHECKPOINT")?;
    Ok(taken.map(|taken| f64::from(megabytes) / taken))
}

/// Writes WAL, kills everything, and starts again.
fn recovery(subject: &Subject, millions: u32) -> Result<Option<f64>> {
    let cluster = &subject.cluster;
    let mut client = cluster.connect();
    timed(&mut client, "DROP TABLE IF EXISTS t; CREATE TABLE t (id int); CHECKPOINT")?;
    let position = |client: &mut postgres::Client| -> Result<f64> {
        let sql = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8";
        client.query_one(sql, &[]).map(|row| row.get(0)).map_err(|e| format!("{sql}: {e:?}"))
    };
    let before = position(&mut client)?;
    timed(&mut client, &format!("INSERT INTO t SELECT generate_series(1, {millions}000000)"))?;
    let megabytes = (position(&mut client)? - before) / f64::from(1 << 20);
    drop(client);
    let processes = cluster.processes();
    cluster.signal_postmaster(Signal::SIGKILL);
    cluster.wait_for_end();
    for process in processes {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.pid), Signal::SIGKILL);
    }
    while !cluster.processes().is_empty() {
        short_pause();
    }
    let taken = subject.start()?;
    timed(&mut cluster.connect(), "DROP TABLE t")?;
    Ok(taken.map(|taken| megabytes / taken))
}
