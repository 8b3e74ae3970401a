//! `cargo xtask torture`: kills processes of a cluster under clients that remember what was acknowledged.

use clap::Args;
use integration::{Cluster, ClusterOptions, Server};
use integration::{failover, torture};

use crate::{Result, cluster_dir};

/// How long, and how.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Kills, each followed by a recovery and a comparison.
    #[arg(long, default_value_t = 200)]
    cycles: u32,
    /// Clients that write at the same time.
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// Repeats the choices of an earlier run, as far as they were the harness's.
    #[arg(long)]
    seed: Option<u64>,
    /// Torture the real PostgreSQL 15 instead: shows what the harness expects of a server.
    #[arg(long)]
    real: bool,
    /// Kill a primary instead, and promote its synchronous standby: 100 rounds of `--cycles 100`.
    #[arg(long)]
    standby: bool,
    /// The `synchronous_commit` of that; all three in turn if not said.
    #[arg(long, requires = "standby", value_parser = failover::MODES)]
    mode: Option<String>,
    /// Lines for postgresql.conf, such as `wal_compression=on`.
    #[arg(long = "config")]
    config: Vec<String>,
}

/// Runs it and says how it went.
pub(crate) fn run(options: &Options) -> Result<()> {
    let server = if options.real { Server::Real } else { Server::Ours };
    // `PGANATOMY_PROGRAMS` names a folder with programs that are built already.
    if server == Server::Ours && std::env::var_os("PGANATOMY_PROGRAMS").is_none() {
        cluster_dir::build(!cfg!(debug_assertions))?;
    }
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()) << 32 | u64::from(clock()));
    println!("seed {seed}");
    if options.standby {
        return run_failover(options, server, seed);
    }
    let config = options.config.clone();
    let cluster = Cluster::with(ClusterOptions { server, config, ..ClusterOptions::default() });
    cluster.start();
    let torture = torture::Options { cycles: options.cycles, clients: options.clients, seed };
    let report = torture::run(&cluster, torture, |line| println!("{line}"));
    println!("{report}");
    if report.losses == 0 { Ok(()) } else { Err(format!("{} losses, seed {seed}", report.losses)) }
}

/// The same number of rounds in each mode.
fn run_failover(options: &Options, server: Server, seed: u64) -> Result<()> {
    if integration::real_postgres().is_none() {
        return Err("PostgreSQL 15's pg_basebackup is needed: cargo xtask setup".into());
    }
    let wanted = |mode: &&str| options.mode.as_ref().is_none_or(|one| one == mode);
    let mut losses = 0;
    for mode in failover::MODES.into_iter().filter(wanted) {
        let Options { cycles: rounds, clients, .. } = *options;
        let options = failover::Options { rounds, clients, seed, mode };
        let report = failover::run(server, &options, |line| println!("{line}"));
        println!("{mode}: {report}");
        losses += report.losses;
    }
    if losses == 0 { Ok(()) } else { Err(format!("{losses} losses, seed {seed}")) }
}

fn clock() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos())
}
