//! `bench lifecycle`: a cluster's life from initdb to stop, of both servers in turns.
//!
//! In each round both servers have their turn, one after the other and in changing order, so that a disturbance
//! from outside does not fall on one of them alone. Only one server runs at a time. A turn is: initdb twice, start and
//! stop a few times, then the loads and the memory of idle sessions on a running server, then the stop.

use std::fs;
use std::time::{Duration, Instant};

use integration::{Cluster, ClusterOptions, DEADLINE, Programs, Server, Stop, procfs};
use serde_json::json;

use super::client::Session;
use super::load::{self, Load};
use super::report::{self, Better, Metric, Row, Unit, median};
use super::{Options, write_json};
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

/// One measurement.
type Sample = (&'static str, f64);

/// One server under measurement.
struct Subject {
    server: Server,
    cluster: Cluster,
    failures: u32,
}

impl Subject {
    fn new(server: Server) -> Subject {
        let config = SETTINGS.map(str::to_owned).to_vec();
        let cluster = Cluster::with(ClusterOptions { server, config, ..ClusterOptions::default() });
        Subject { server, cluster, failures: 0 }
    }

    fn name(&self) -> &'static str {
        match self.server {
            Server::Ours => "pganatomy",
            Server::Real => "PostgreSQL 15",
        }
    }

    /// One turn. What cannot be measured is said and left out.
    fn turn(&mut self, seconds: u32) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut failures = Vec::new();
        let mut note = |name: &'static str, result: Result<Option<f64>>| match result {
            Ok(number) => samples.extend(number.map(|number| (name, number))),
            Err(message) => failures.push(format!("{name}: {message}")),
        };
        note(INITDB.name, self.initdb(&[]));
        note(INITDB_NO_SYNC.name, self.initdb(&["-N"]));
        for _ in 0..RESTARTS {
            note(START.name, self.start());
            note(STOP.name, self.stop());
        }
        note(START.name, self.start());
        // The first session after a start does work for all later ones.
        if let Err(message) = self.idle_sessions(1) {
            note("the first session", Err(message));
        }
        for (metric, load) in &LOADS {
            note(metric.name, load::rate(&self.cluster, *load, seconds));
        }
        note(MEMORY.name, self.memory());
        note(STOP.name, self.stop());
        for failure in &failures {
            eprintln!("{}: {failure}", self.name());
        }
        self.failures += failures.len() as u32;
        samples
    }

    /// Makes a second data directory and removes it.
    fn initdb(&self, args: &[&str]) -> Result<Option<f64>> {
        let folder = self.cluster.path("timed");
        let mut command = self.cluster.command("initdb");
        command.arg("-D").arg(&folder).args(["-U", "postgres", "-A", "trust"]).args(args);
        let began = Instant::now();
        let output = self.cluster.run(&mut command);
        let taken = began.elapsed();
        let _ = fs::remove_dir_all(&folder);
        if output.status.success() {
            Ok(Some(taken.as_secs_f64()))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// From the program's start until postmaster.pid says that sessions are admitted.
    fn start(&self) -> Result<Option<f64>> {
        let began = Instant::now();
        self.cluster.spawn_postmaster(&[]);
        let pid = self.cluster.postmaster_pid();
        loop {
            let is_ready = self.cluster.pid_file_line(8).is_some_and(|status| status.trim() == "ready")
                && self.cluster.pid_file_line(1).is_some_and(|line| line == pid.to_string());
            let taken = began.elapsed();
            if is_ready {
                return Ok(Some(taken.as_secs_f64()));
            }
            if !procfs::is_alive(pid) || taken > DEADLINE {
                return Err(format!("the server does not become ready\n{}", self.cluster.log()));
            }
            short_pause();
        }
    }

    /// From SIGINT until the postmaster has ended.
    fn stop(&self) -> Result<Option<f64>> {
        let began = Instant::now();
        let status = self.cluster.stop(Stop::Fast);
        let taken = began.elapsed();
        if status.success() {
            Ok(Some(taken.as_secs_f64()))
        } else {
            Err(format!("{status}\n{}", self.cluster.log()))
        }
    }

    /// Median Pss of sessions that have run one statement.
    fn memory(&self) -> Result<Option<f64>> {
        let sessions = self.idle_sessions(IDLE_SESSIONS)?;
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
    fn idle_sessions(&self, count: usize) -> Result<Vec<Session>> {
        let mut sessions = Vec::new();
        for _ in 0..count {
            let mut session = Session::open(self.cluster.socket_dir(), self.cluster.port())?;
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
}

/// Between two looks, short enough not to show in a time of milliseconds.
fn short_pause() {
    let pause = nix::sys::time::TimeSpec::from(Duration::from_micros(100));
    let _ = nix::poll::ppoll(&mut [], Some(pause), None);
}

/// Measures, prints and writes.
pub(crate) fn run(options: &Options, servers: &[Server]) -> Result<()> {
    let metrics = [INITDB, INITDB_NO_SYNC, START].into_iter().chain(LOADS.map(|(metric, _)| metric));
    let mut rows: Vec<Row> = metrics.chain([MEMORY, STOP]).map(Row::new).collect();
    let mut subjects: Vec<Subject> = servers.iter().map(|server| Subject::new(*server)).collect();
    for round in 1..=options.rounds {
        for subject in &mut subjects {
            eprintln!("round {round} of {}: {}", options.rounds, subject.name());
            for (name, number) in subject.turn(options.seconds) {
                for row in rows.iter_mut().filter(|row| row.metric.name == name) {
                    let samples = if subject.server == Server::Ours { &mut row.ours } else { &mut row.real };
                    samples.push(number);
                }
            }
        }
        subjects.reverse();
    }
    let facts = json!({
        "rounds": options.rounds,
        "seconds": options.seconds,
        "settings": SETTINGS,
        "load": load::tool(),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "servers": servers.iter().map(|server| version(*server)).collect::<Vec<_>>(),
    });
    println!(
        "\nrounds: {}; each load: {} s by {}; processors: {}\n",
        options.rounds,
        options.seconds,
        load::tool(),
        facts["processors"]
    );
    print!("{}", report::table(&rows));
    write_json("lifecycle", &report::json("lifecycle", facts, &rows))?;
    match subjects.iter().map(|subject| subject.failures).sum::<u32>() {
        0 => Ok(()),
        n => Err(format!("{n} measurements failed")),
    }
}

/// What a server calls itself.
fn version(server: Server) -> String {
    let Some(programs) = Programs::of(server) else { return String::new() };
    let mut command = std::process::Command::new(programs.path("postgres"));
    let output = integration::process::run(command.arg("--version"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
