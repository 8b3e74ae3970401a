//! `cargo xtask bench NAME`: this server and the real PostgreSQL 15 side by side, in one run, in turns.
//!
//! Each bench measures both with the same tools and settings, prints the medians and their ratio, and writes every
//! sample to `target/bench/NAME.json`. Without PostgreSQL it says so and measures only this server.

mod archive; // segments on their way into the archive
mod client; // a client of our own, for what pgbench cannot tell
mod lifecycle; // from initdb to stop
mod load; // statements per second
mod replication; // WAL and copies on their way to others
mod report; // medians, the table, JSON
mod storage; // rows in, rows out, commits, recovery
mod turns; // both servers, one after the other

use std::path::Path;
use std::process::Command;

use clap::{Args, Subcommand, ValueEnum};
use integration::{Server, process};

use crate::{Result, cluster_dir};

/// The benches.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// initdb, start, connections, statements, memory of an idle session, stop.
    Lifecycle(Options),
    /// A backlog of segments, single segments, a very long backlog.
    Archive(archive::ArchiveOptions),
    /// WAL to pg_receivewal and to a standby, synchronous commits, walsenders beside a load, a base backup.
    Replication(replication::ReplicationOptions),
    /// Inserts, counts, updates, COPY, commits, a checkpoint, crash recovery.
    Storage(storage::StorageOptions),
}

/// How long to measure, and whom.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How often each server has its turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each load runs.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Measure only one of the two.
    #[arg(long)]
    only: Option<Only>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// This server.
    Ours,
    /// The real PostgreSQL 15.
    Real,
}

/// Runs a bench, always with optimised programs.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    if cfg!(debug_assertions) {
        return run_again_optimised();
    }
    match bench {
        Bench::Lifecycle(options) => lifecycle::run(options, &servers(options)?),
        Bench::Archive(options) => archive::run(options, &servers(options.common())?),
        Bench::Replication(options) => replication::run(options, &servers(options.common())?),
        Bench::Storage(options) => storage::run(options, &servers(options.common())?),
    }
}

/// The harness takes the server's programs from the profile that it was built in itself, so it is built anew.
fn run_again_optimised() -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(cluster_dir::workspace());
    cargo.args(["run", "--release", "--package", "xtask", "--"]).args(std::env::args_os().skip(1));
    if process::spawn(&mut cargo).wait_without_deadline().success() {
        Ok(())
    } else {
        Err("the bench failed".into())
    }
}

/// Who is measured.
fn servers(options: &Options) -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    if options.only != Some(Only::Real) {
        build()?;
        servers.push(Server::Ours);
    }
    if options.only != Some(Only::Ours) {
        if integration::real_postgres().is_some() {
            servers.push(Server::Real);
        } else {
            println!("PostgreSQL 15 is not installed (cargo xtask setup): only this server is measured");
        }
    }
    if servers.is_empty() { Err("there is no server to measure".into()) } else { Ok(servers) }
}

/// Builds this server, unless `PGANATOMY_PROGRAMS` names a folder with programs that are built already.
fn build() -> Result<()> {
    if std::env::var_os("PGANATOMY_PROGRAMS").is_some() {
        return Ok(());
    }
    let programs = cluster_dir::build(true)?;
    let built = cluster_dir::target_dir().join("release");
    if programs == built {
        return Ok(());
    }
    let built = built.display();
    Err(format!("{built} cannot be reached by the server's user: set CARGO_TARGET_DIR to a folder that can"))
}

/// Where a bench's samples go.
fn write_json(name: &str, value: &serde_json::Value) -> Result<()> {
    let folder = cluster_dir::target_dir().join("bench");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let path = folder.join(format!("{name}.json"));
    let text = format!("{value:#}\n");
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    let shown = path.strip_prefix(cluster_dir::workspace()).unwrap_or(Path::new(&path));
    println!("\nall samples: {}", shown.display());
    Ok(())
}
