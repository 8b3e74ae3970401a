//! Rounds in which both servers have their turn, one after the other and in changing order, so that a disturbance
//! from outside does not fall on one of them alone. Only one server runs at a time.

use integration::{Cluster, ClusterOptions, DEADLINE, Programs, Server, Stop, procfs};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

use super::report::{self, Metric, Row};
use super::write_json;
use crate::Result;

/// One measurement.
pub(super) type Sample = (&'static str, f64);

/// One server under measurement.
pub(super) struct Subject {
    pub(super) server: Server,
    pub(super) cluster: Cluster,
    failures: u32,
}

/// What the measurements of one turn gave.
#[derive(Default)]
pub(super) struct Notes {
    samples: Vec<Sample>,
    failures: Vec<String>,
}

impl Notes {
    /// Keeps a number. What cannot be measured is said and left out.
    pub(super) fn note(&mut self, metric: &Metric, result: Result<Option<f64>>) {
        match result {
            Ok(number) => self.samples.extend(number.map(|number| (metric.name, number))),
            Err(message) => self.failures.push(format!("{}: {message}", metric.name)),
        }
    }
}

impl Subject {
    pub(super) fn new(server: Server, settings: &[&str]) -> Subject {
        Subject::with(server, settings, &[])
    }

    /// As [`Subject::new`], with more arguments for initdb.
    pub(super) fn with(server: Server, settings: &[&str], initdb: &[&str]) -> Subject {
        let config = settings.iter().map(ToString::to_string).collect();
        let initdb = initdb.iter().map(ToString::to_string).collect();
        let cluster = Cluster::with(ClusterOptions { server, initdb, config });
        Subject { server, cluster, failures: 0 }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.server {
            Server::Ours => "pganatomy",
            Server::Real => "PostgreSQL 15",
        }
    }

    /// From the program's start until postmaster.pid says that sessions are admitted.
    pub(super) fn start(&self) -> Result<Option<f64>> {
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
            // A recovery may take longer than anything a test waits for.
            if !procfs::is_alive(pid) || taken > 10 * DEADLINE {
                return Err(format!("the server does not become ready\n{}", self.cluster.log()));
            }
            short_pause();
        }
    }

    /// From SIGINT until the postmaster has ended.
    pub(super) fn stop(&self) -> Result<Option<f64>> {
        let began = Instant::now();
        let status = self.cluster.stop(Stop::Fast);
        let taken = began.elapsed();
        if status.success() {
            Ok(Some(taken.as_secs_f64()))
        } else {
            Err(format!("{status}\n{}", self.cluster.log()))
        }
    }
}

/// Between two looks, short enough not to show in a time of milliseconds.
pub(super) fn short_pause() {
    let pause = nix::sys::time::TimeSpec::from(Duration::from_micros(100));
    let _ = nix::poll::ppoll(&mut [], Some(pause), None);
}

/// Measures in turns, prints the table and writes all samples.
pub(super) fn run(
    bench: &str,
    rounds: u32,
    mut subjects: Vec<Subject>,
    metrics: &[Metric],
    mut facts: Value,
    mut turn: impl FnMut(&mut Subject, &mut Notes),
) -> Result<()> {
    let mut rows: Vec<Row> = metrics.iter().copied().map(Row::new).collect();
    facts["rounds"] = json!(rounds);
    facts["processors"] = json!(std::thread::available_parallelism().map_or(0, usize::from));
    facts["servers"] = subjects.iter().map(|subject| version(subject.server)).collect();
    for round in 1..=rounds {
        for subject in &mut subjects {
            eprintln!("round {round} of {rounds}: {}", subject.name());
            let mut notes = Notes::default();
            turn(subject, &mut notes);
            for failure in &notes.failures {
                eprintln!("{}: {failure}", subject.name());
            }
            subject.failures += notes.failures.len() as u32;
            for (name, number) in notes.samples {
                for row in rows.iter_mut().filter(|row| row.metric.name == name) {
                    let samples = if subject.server == Server::Ours { &mut row.ours } else { &mut row.real };
                    samples.push(number);
                }
            }
        }
        subjects.reverse();
    }
    println!("\nrounds: {rounds}; processors: {}\n", facts["processors"]);
    print!("{}", report::table(&rows));
    write_json(bench, &report::json(bench, facts, &rows))?;
    match subjects.iter().map(|subject| subject.failures).sum::<u32>() {
        0 => Ok(()),
        n => Err(format!("{n} measurements failed")),
    }
}

/// What a server calls itself.
fn version(server: Server) -> Value {
    let Some(programs) = Programs::of(server) else { return Value::Null };
    let mut command = std::process::Command::new(programs.path("postgres"));
    let output = integration::process::run(command.arg("--version"));
    json!(String::from_utf8_lossy(&output.stdout).trim())
}
