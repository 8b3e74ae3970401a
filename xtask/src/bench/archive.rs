//! `bench archive`: finished segments on their way into the archive, of both servers in turns.
//!
//! A turn is: a backlog of segments handed to `cp`, single segments from their end to their place in the archive, and
//! a part of a very long backlog handed to a command that does nothing, where finding the next file is most of the
//! work. The archiver is stopped while a backlog is made, so that both begin with all of it.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use integration::process::unprivileged_ids;
use integration::{Cluster, DEADLINE, Server, Stop, procfs};
use nix::sys::signal::Signal;
use serde_json::json;

use super::Options;
use super::report::{Better, Metric, Unit, median};
use super::turns::{self, Notes, Subject, short_pause};
use crate::Result;

/// How much.
#[derive(Args, Debug)]
pub(crate) struct ArchiveOptions {
    #[command(flatten)]
    common: Options,
    /// Segments that wait for `cp`.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    segments: u32,
    /// Single segments, one after the other.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    singles: u32,
    /// Files that wait for the command that does nothing.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    backlog: u32,
    /// How many of them are waited for.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..))]
    taken: u32,
}

impl ArchiveOptions {
    /// What all benches have.
    pub(crate) fn common(&self) -> &Options {
        &self.common
    }
}

const SETTINGS: [&str; 10] = [
    "fsync = on",
    "autovacuum = off",
    "archive_mode = on",
    "archive_command = 'cp %p ../archive/%f'",
    "max_wal_size = '8GB'",
    "min_wal_size = '2GB'",
    "checkpoint_timeout = '1h'",
    "max_connections = 100",
    "logging_collector = off",
    "log_destination = 'stderr'",
];

/// Small segments, so that the archiver's part is not lost in the copying.
const INITDB: [&str; 1] = ["--wal-segsize=1"];

const fn seconds(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Seconds, better: Better::Lower, aim: 1.0 }
}

const DRAIN: Metric = seconds("waiting segments of 1 MB to cp, all");
const SINGLE: Metric = seconds("one segment, pg_switch_wal() to .done");
const FIRST: Metric = seconds("long backlog, first file");
const BACKLOG: Metric = seconds("long backlog, files taken");

/// Measures, prints and writes.
pub(crate) fn run(options: &ArchiveOptions, servers: &[Server]) -> Result<()> {
    if options.taken > options.backlog {
        return Err("no more files can be taken than there are: --taken, --backlog".into());
    }
    let metrics = [DRAIN, SINGLE, FIRST, BACKLOG];
    let subjects = servers.iter().map(|server| Subject::with(*server, &SETTINGS, &INITDB)).collect();
    let ArchiveOptions { segments, singles, backlog, taken, .. } = options;
    let facts = json!({ "settings": SETTINGS, "segments": segments, "singles": singles, "backlog": backlog,
                        "taken": taken });
    println!("{segments} segments, {singles} single ones; {backlog} .ready files, {taken} taken");
    turns::run("archive", options.common.rounds, subjects, &metrics, facts, |subject, notes| {
        turn(subject, notes, options);
    })
}

/// One turn. What fails early leaves the rest out.
fn turn(subject: &Subject, notes: &mut Notes, options: &ArchiveOptions) {
    if let Err(message) = begin(subject) {
        return notes.note(&DRAIN, Err(message));
    }
    notes.note(&DRAIN, drain(&subject.cluster, options.segments));
    notes.note(&SINGLE, singles(&subject.cluster, options.singles));
    match long_backlog(&subject.cluster, options) {
        Ok((first, all)) => {
            notes.note(&FIRST, Ok(Some(first)));
            notes.note(&BACKLOG, Ok(Some(all)));
        }
        Err(message) => notes.note(&BACKLOG, Err(message)),
    }
    if let Err(message) = clean(subject) {
        notes.note(&BACKLOG, Err(message));
    }
}

/// An empty archive and a running server.
fn begin(subject: &Subject) -> Result<()> {
    let archive = subject.cluster.path("archive");
    let _ = fs::remove_dir_all(&archive);
    fs::create_dir(&archive).map_err(|e| format!("{}: {e}", archive.display()))?;
    own(&archive)?;
    subject.start()?;
    execute(&mut subject.cluster.connect(), "DROP TABLE IF EXISTS t; CREATE TABLE t (a int); CHECKPOINT")
}

/// The long backlog goes, what else is left is archived, and the server stops.
fn clean(subject: &Subject) -> Result<()> {
    subject.cluster.stop(Stop::Immediate);
    for folder in ["pg_wal", "pg_wal/archive_status"] {
        for entry in
            fs::read_dir(subject.cluster.data_dir().join(folder)).map_err(|e| e.to_string())?.flatten()
        {
            if entry.file_name().to_string_lossy().starts_with(FAR) {
                fs::remove_file(entry.path()).map_err(|e| e.to_string())?;
            }
        }
    }
    subject.cluster.append_config(SETTINGS[3]);
    subject.start()?;
    subject.stop().map(|_| ())
}

fn execute(client: &mut postgres::Client, sql: &str) -> Result<()> {
    client.batch_execute(sql).map_err(|e| format!("{sql}: {e:?}"))
}

/// Gives a file or folder to the server's user.
fn own(path: &Path) -> Result<()> {
    let (uid, gid) = unprivileged_ids();
    chown(path, Some(uid), Some(gid)).map_err(|e| format!("{}: {e}", path.display()))
}

/// Finishes a segment and returns its name.
fn switch(client: &mut postgres::Client) -> Result<String> {
    execute(client, "INSERT INTO t VALUES (1)")?;
    switch_only(client)
}

fn switch_only(client: &mut postgres::Client) -> Result<String> {
    let sql = "SELECT pg_walfile_name(pg_switch_wal())";
    client.query_one(sql, &[]).map(|row| row.get(0)).map_err(|e| format!("{sql}: {e:?}"))
}

fn done_file(cluster: &Cluster, name: &str) -> PathBuf {
    cluster.data_dir().join("pg_wal/archive_status").join(format!("{name}.done"))
}

/// Waits until a file is there.
fn wait_for(cluster: &Cluster, path: &Path) -> Result<()> {
    let began = Instant::now();
    while !path.exists() {
        if began.elapsed() > 30 * DEADLINE {
            return Err(format!("{} does not come\n{}", path.display(), cluster.log()));
        }
        short_pause();
    }
    Ok(())
}

/// The archiver stands still until it is told to go on.
fn stop_archiver(cluster: &Cluster) -> i32 {
    let pid = cluster.wait_for_process("postgres: archiver");
    cluster.signal(pid, Signal::SIGSTOP);
    while procfs::state_and_parent(pid).is_some_and(|(state, _)| state != 'T') {
        short_pause();
    }
    pid
}

/// From the archiver's first look until the last of the segments is done.
fn drain(cluster: &Cluster, segments: u32) -> Result<Option<f64>> {
    let mut client = cluster.connect();
    let before = switch(&mut client)?;
    wait_for(cluster, &done_file(cluster, &before))?;
    let archiver = stop_archiver(cluster);
    let mut last = before;
    for _ in 0..segments {
        last = switch(&mut client)?;
    }
    let began = Instant::now();
    cluster.signal(archiver, Signal::SIGCONT);
    wait_for(cluster, &done_file(cluster, &last))?;
    Ok(Some(began.elapsed().as_secs_f64()))
}

/// The median time of one segment, from the statement that finishes it on.
fn singles(cluster: &Cluster, count: u32) -> Result<Option<f64>> {
    let mut client = cluster.connect();
    let mut samples = Vec::new();
    for _ in 0..count {
        execute(&mut client, "INSERT INTO t VALUES (1)")?;
        let began = Instant::now();
        let name = switch_only(&mut client)?;
        wait_for(cluster, &done_file(cluster, &name))?;
        samples.push(began.elapsed().as_secs_f64());
    }
    Ok(median(&samples))
}

/// Segments so far in the future that no server of a bench comes near them.
const FAR: &str = "0000000100001";

/// Name of a segment of the long backlog.
fn far_name(number: u32) -> String {
    // 4096 segments of a megabyte to an id.
    format!("{FAR}{:03X}{:08X}", number / 4096, number % 4096)
}

/// Names for one file can be limited to 65,000.
const LINKS: u32 = 50_000;

/// Makes the long backlog: links to a segment or two, and a status file each.
fn make_backlog(cluster: &Cluster, count: u32) -> Result<()> {
    let wal = cluster.data_dir().join("pg_wal");
    let said = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    for number in 0..count {
        let name = far_name(number);
        let (path, first) = (wal.join(&name), wal.join(far_name(number - number % LINKS)));
        if path == first {
            fs::write(&path, vec![0; 1 << 20]).map_err(|e| said(&path, e))?;
            own(&path)?;
        } else {
            fs::hard_link(&first, &path).map_err(|e| said(&path, e))?;
        }
        let status = wal.join("archive_status").join(format!("{name}.ready"));
        fs::File::create(&status).map_err(|e| said(&status, e))?;
        own(&status)?;
    }
    Ok(())
}

/// From the archiver's first look until the first and the last of the taken files of a long backlog are done.
fn long_backlog(cluster: &Cluster, options: &ArchiveOptions) -> Result<(f64, f64)> {
    cluster.append_config("archive_command = 'true'");
    cluster.signal_postmaster(Signal::SIGHUP);
    let mut client = cluster.connect();
    let before = switch(&mut client)?;
    wait_for(cluster, &done_file(cluster, &before))?;
    let archiver = stop_archiver(cluster);
    make_backlog(cluster, options.backlog)?;
    // What tells the archiver to look; being the oldest, it is the first to be found.
    let first = switch(&mut client)?;
    let last = far_name(options.taken - 1);
    let began = Instant::now();
    cluster.signal(archiver, Signal::SIGCONT);
    wait_for(cluster, &done_file(cluster, &first))?;
    let first = began.elapsed();
    wait_for(cluster, &done_file(cluster, &last))?;
    Ok((first.as_secs_f64(), began.elapsed().as_secs_f64()))
}
