//! `bench lifecycle`: a cluster's life from initdb to stop, of both servers in turns.
//!
//! A turn is: initdb twice, start and
//! stop a few times, then the loads and the memory of idle sessions on a running server, then the stop.

use std::fs;
use std::time::Instant;

use integration::{DEADLINE, Server, procfs};
use serde_json::json;

use super::Options;
use super::client::Session;
use super::load::{self, Load};
use super::report::{Better, Metric, Unit, median};
use super::turns::{self, Notes, Subject, short_pause};
use crate::Result;

/// The same for both servers: PostgreSQL's defaults, written out where this harness or initdb would change them.
const SETTINGS: [&str; 6] = [
    "fsync = on",
    "autovacuum = on",
    "shared_buffers = '128MB'",
    "max_connections = 100",
    "logging_collector = off",
    "log_destination = 'stderr'",
];

/// Starts and stops in one turn, beside the one around the loads.
const RESTARTS: u32 = 3;
/// Sessions whose memory is looked at.
const IDLE_SESSIONS: usize = 20;

const fn seconds(name: &'static str) -> Metric {
    Metric { name, unit: Unit::Seconds, better: Better::Lower, aim: 1.0 }
}

const fn rate(name: &'static str, aim: f64) -> Metric {
    Metric { name, unit: Unit::PerSecond, better: Better::Higher, aim }
}

const INITDB: Metric = seconds("initdb");
const INITDB_NO_SYNC: Metric = seconds("initdb -N");
const START: Metric = seconds("start until ready");
const STOP: Metric = seconds("stop fast");
const MEMORY: Metric =
    Metric { name: "memory of an idle session", unit: Unit::Kilobytes, better: Better::Lower, aim: 0.5 };

/// The loads, in the order in which they run.
const LOADS: [(Metric, Load); 5] = [
    (
        rate("connect, SELECT 1, disconnect: 4 clients", 3.0),
        Load { clients: 4, reconnect: true, prepared: false },
    ),
    (rate("SELECT 1: 1 connection", 1.0), Load { clients: 1, reconnect: false, prepared: false }),
    (rate("SELECT 1: 8 connections", 1.0), Load { clients: 8, reconnect: false, prepared: false }),
    (rate("SELECT 1 prepared: 1 connection", 1.0), Load { clients: 1, reconnect: false, prepared: true }),
    (rate("SELECT 1 prepared: 8 connections", 1.0), Load { clients: 8, reconnect: false, prepared: true }),
];

/// One turn.
fn turn(subject: &Subject, notes: &mut Notes, seconds: u32) {
    notes.note(&INITDB, initdb(subject, &[]));
    notes.note(&INITDB_NO_SYNC, initdb(subject, &["-N"]));
    for _ in 0..RESTARTS {
        notes.note(&START, subject.start());
        notes.note(&STOP, subject.stop());
    }
    notes.note(&START, subject.start());
    // The first session after a start does work for all later ones.
    if let Err(message) = idle_sessions(subject, 1) {
        notes.note(&MEMORY, Err(message));
    }
    for (metric, load) in &LOADS {
        notes.note(metric, load::rate(&subject.cluster, *load, seconds));
    }
    notes.note(&MEMORY, memory(subject));
    notes.note(&STOP, subject.stop());
}

/// Makes a second data directory and removes it.
fn initdb(subject: &Subject, args: &[&str]) -> Result<Option<f64>> {
    let folder = subject.cluster.path("timed");
    let mut command = subject.cluster.command("initdb");
    command.arg("-D").arg(&folder).args(["-U", "postgres", "-A", "trust"]).args(args);
    let began = Instant::now();
    let output = subject.cluster.run(&mut command);
    let taken = began.elapsed();
    let _ = fs::remove_dir_all(&folder);
    if output.status.success() {
        Ok(Some(taken.as_secs_f64()))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// Median Pss of sessions that have run one statement.
fn memory(subject: &Subject) -> Result<Option<f64>> {
    let sessions = idle_sessions(subject, IDLE_SESSIONS)?;
    let memory: Vec<f64> =
        sessions.iter().filter_map(|s| procfs::pss_kb(s.pid)).map(|kb| kb as f64).collect();
    for session in sessions {
        session.close()?;
    }
    match memory.len() {
        IDLE_SESSIONS => Ok(median(&memory)),
        n => Err(format!("the kernel shows the memory of {n} sessions out of {IDLE_SESSIONS}")),
    }
}

/// Sessions that have run one statement and sleep.
fn idle_sessions(subject: &Subject, count: usize) -> Result<Vec<Session>> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        let mut session = Session::open(subject.cluster.socket_dir(), subject.cluster.port())?;
        session.run(load::STATEMENT)?;
        sessions.push(session);
    }
    let sleeps = |pid| procfs::state_and_parent(pid).is_some_and(|(state, _)| state == 'S');
    let began = Instant::now();
    while !sessions.iter().all(|session| sleeps(session.pid)) {
        if began.elapsed() > DEADLINE {
            return Err("sessions do not become idle".into());
        }
        short_pause();
    }
    Ok(sessions)
}

/// Measures, prints and writes.
pub(crate) fn run(options: &Options, servers: &[Server]) -> Result<()> {
    let metrics = [INITDB, INITDB_NO_SYNC, START].into_iter().chain(LOADS.map(|(metric, _)| metric));
    let metrics: Vec<Metric> = metrics.chain([MEMORY, STOP]).collect();
    let subjects = servers.iter().map(|server| Subject::new(*server, &SETTINGS)).collect();
    let facts = json!({ "seconds": options.seconds, "settings": SETTINGS, "load": load::tool() });
    println!("each load: {} s by {}", options.seconds, load::tool());
    turns::run("lifecycle", options.rounds, subjects, &metrics, facts, |subject, notes| {
        turn(subject, notes, options.seconds);
    })
}
