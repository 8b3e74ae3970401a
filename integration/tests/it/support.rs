//! Words that several of these tests use.

use std::process::{Command, Output};

use integration::{Cluster, ClusterOptions, Server, Wire, process, procfs};

/// A fresh cluster of one of the servers, not started.
pub(crate) fn cluster_of(server: Server, config: &[&str]) -> Cluster {
    let config = config.iter().map(ToString::to_string).collect();
    Cluster::with(ClusterOptions { server, config, ..ClusterOptions::default() })
}

/// A fresh, started cluster of one of the servers.
pub(crate) fn started(server: Server, config: &[&str]) -> Cluster {
    let cluster = cluster_of(server, config);
    cluster.start();
    cluster
}

/// What a program wrote to both outputs, normalised, and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn of(cluster: &Cluster, output: &Output) -> Said {
        let text = |bytes: &[u8]| cluster.normalised(&String::from_utf8_lossy(bytes));
        Said { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// Runs a command and returns what it said.
#[track_caller]
pub(crate) fn said(cluster: &Cluster, command: &mut Command) -> Said {
    Said::of(cluster, &process::run(command))
}

/// The state letter of a process; `None` once it is gone.
pub(crate) fn state_of(pid: i32) -> Option<char> {
    procfs::state_and_parent(pid).map(|(state, _)| state)
}

/// What every session hears when a process of the cluster has crashed.
pub(crate) const CRASH_FAREWELL: [&str; 4] = [
    "WARNING:  57P02: terminating connection because of crash of another server process",
    "DETAIL:  The postmaster has commanded this server process to roll back the current transaction and exit, because another server process exited abnormally and possibly corrupted shared memory.",
    "HINT:  In a moment you should be able to reconnect to the database and repeat your command.",
    "EOF",
];

/// What a stop that takes long says of itself: to refused clients and so in the log, and there every ten seconds. PostgreSQL
/// does not.
const STOP_REPORT: [&str; 2] = ["DETAIL:  The server has been stopping in ", "LOG:  still stopping ("];

/// What a client is told that comes while the server stops, without that.
#[track_caller]
pub(crate) fn refusal_in_a_stop(cluster: &Cluster) -> Vec<String> {
    without_stop_report(Wire::refusal(cluster))
}

/// Lines without it.
pub(crate) fn without_stop_report(mut lines: Vec<String>) -> Vec<String> {
    lines.retain(|line| !STOP_REPORT.iter().any(|begin| line.starts_with(begin)));
    lines
}
