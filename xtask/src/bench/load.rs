//! Statements per second: pgbench where it is installed, else threads with our own client.

use std::fs;
use std::time::{Duration, Instant};

use integration::Cluster;

use super::client::Session;
use crate::Result;

/// The statement of every load.
pub(crate) const STATEMENT: &str = "SELECT 1";

/// A load: who runs it how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) clients: u32,
    /// A new connection for each statement.
    pub(crate) reconnect: bool,
    /// Named statements of the extended protocol instead of the simple protocol.
    pub(crate) prepared: bool,
}

/// How the loads of this run are made, in words.
pub(crate) fn tool() -> &'static str {
    if integration::real_postgres().is_some() { "pgbench" } else { "our own client" }
}

/// Runs a load and returns statements per second. `None` if the load cannot be made here.
pub(crate) fn rate(cluster: &Cluster, load: Load, seconds: u32) -> Result<Option<f64>> {
    match cluster.client("pgbench") {
        Some(_) => pgbench(cluster, load, seconds).map(Some),
        None if load.prepared => Ok(None),
        None => own_load(cluster, load, seconds).map(Some),
    }
}

fn pgbench(cluster: &Cluster, load: Load, seconds: u32) -> Result<f64> {
    let script = cluster.path("select1.sql");
    fs::write(&script, format!("{STATEMENT};\n")).map_err(|e| format!("{}: {e}", script.display()))?;
    let mut command = cluster.client("pgbench").ok_or("pgbench is not installed")?;
    let threads = load.clients.min(2);
    command.args(["-n", "-c", &load.clients.to_string(), "-j", &threads.to_string()]);
    command.args(["-T", &seconds.to_string(), "-f"]).arg(&script);
    if load.reconnect {
        command.arg("-C");
    }
    if load.prepared {
        command.args(["-M", "prepared"]);
    }
    pgbench_rate(cluster, &mut command)
}

/// Runs pgbench and returns its rate.
pub(super) fn pgbench_rate(cluster: &Cluster, command: &mut std::process::Command) -> Result<f64> {
    let output = cluster.run(command);
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("pgbench: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    rate_in(&text).ok_or_else(|| format!("pgbench says no rate: {text}"))
}

/// The rate that pgbench printed.
fn rate_in(output: &str) -> Option<f64> {
    let line = output.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

fn own_load(cluster: &Cluster, load: Load, seconds: u32) -> Result<f64> {
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds.into());
    let (socket_dir, port) = (cluster.socket_dir(), cluster.port());
    let open = move || Session::open(socket_dir, port);
    let one_client = move || -> Result<u64> {
        let mut session = open()?;
        let mut count = 0;
        while Instant::now() < end {
            session.run(STATEMENT)?;
            count += 1;
            if load.reconnect {
                std::mem::replace(&mut session, open()?).close()?;
            }
        }
        session.close()?;
        Ok(count)
    };
    // An error at once instead of one from each thread.
    open()?.close()?;
    let counts: Vec<Result<u64>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..load.clients).map(|_| scope.spawn(one_client)).collect();
        let join = |client: std::thread::ScopedJoinHandle<'_, Result<u64>>| {
            client.join().unwrap_or_else(|_| Err("a client panicked".into()))
        };
        clients.into_iter().map(join).collect()
    });
    let total: u64 = counts.into_iter().sum::<Result<u64>>()?;
    Ok(total as f64 / began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use integration::{ClusterOptions, Server, Stop};

    use super::*;

    /// Needs a server that works, so it is the real one.
    #[test]
    fn both_tools_make_the_load() {
        if integration::real_postgres().is_none() {
            integration::skip!("PostgreSQL 15 is not installed");
        }
        let options = ClusterOptions { server: Server::Real, ..ClusterOptions::default() };
        let cluster = Cluster::with(options);
        cluster.start();
        for reconnect in [true, false] {
            let load = Load { clients: 2, reconnect, prepared: false };
            for rate in [own_load(&cluster, load, 1), pgbench(&cluster, load, 1)] {
                assert!(rate.clone().unwrap() > 1.0, "{rate:?}");
            }
        }
        cluster.stop(Stop::Fast);
        let load = Load { clients: 2, reconnect: false, prepared: false };
        own_load(&cluster, load, 1).unwrap_err();
        pgbench(&cluster, load, 1).unwrap_err();
    }

    #[test]
    fn pgbench_tells_its_rate() {
        let output = "latency average = 1.2 ms\ntps = 3312.471 (including reconnection times)\n";
        assert_eq!(rate_in(output), Some(3312.471));
        assert_eq!(rate_in("pgbench: error\n"), None);
    }
}
