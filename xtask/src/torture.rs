//! `cargo xtask torture`: kills processes of a cluster under clients that remember what was acknowledged.

use clap::Args;
use integration::torture;
use integration::{Cluster, ClusterOptions, Server};

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
    /// Lines for postgresql.conf, such as `wal_compression=on`.
    #[arg(long = "config")]
    config: Vec<String>,
}

/// Runs it and says how it went.
pub(crate) fn run(options: &Options) -> Result<()> {
    let server = if options.real { Server::Real } else { Server::Ours };
    if server == Server::Ours {
        cluster_dir::build(!cfg!(debug_assertions))?;
    }
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()) << 32 | u64::from(clock()));
    println!("seed {seed}");
    let config = options.config.clone();
    let cluster = Cluster::with(ClusterOptions { server, config, ..ClusterOptions::default() });
    cluster.start();
    let torture = torture::Options { cycles: options.cycles, clients: options.clients, seed };
    let report = torture::run(&cluster, torture, |line| println!("{line}"));
    println!("{report}");
    if report.losses == 0 { Ok(()) } else { Err(format!("{} losses, seed {seed}", report.losses)) }
}

fn clock() -> u32 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.subsec_nanos())
}
