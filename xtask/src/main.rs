//! The project's chores, as `cargo xtask CHORE`.

mod bench; // this server and the real one side by side
mod client; // psql, or what stands in for it
mod cluster_dir; // where run-cluster keeps its cluster, and as whom it runs
mod lab; // demonstrations that check what they claim
mod log_view; // the log in colour
mod ps; // the processes as a tree
mod run_cluster; // the README's first command
mod setup; // what the tests need
mod standbys; // copies of its cluster that follow it
mod test; // the README's second command
mod tidy; // the house rules
mod torture; // clients that remember, processes that are killed

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of pganatomy.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Build, make a cluster if there is none, start it, show its processes, follow its log.
    RunCluster(run_cluster::Options),
    /// A client on the running cluster: the real psql if installed, else a small one of our own.
    Psql {
        /// The cluster's data directory.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Arguments for psql.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The cluster's processes as a tree, with state and wait event; and those of its standbys.
    Ps {
        /// The cluster's data directory.
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Install what the tests need: PostgreSQL 15 as the reference, a Python driver.
    Setup,
    /// Run all tests, after setup. Ends with the counts.
    Test {
        /// Arguments for `cargo test`, for example `-p shmem`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure this server and the real PostgreSQL 15 side by side.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Watch what the reference documents tell: a demonstration that plays in a terminal and checks what it claims.
    Lab(lab::Options),
    /// Kill processes under writing clients, and see that nothing acknowledged is lost.
    Torture(torture::Options),
    /// Check the house rules: sizes, banned calls, documents that name only what exists.
    Tidy {
        /// Write what can be generated: the table of signals in ARCHITECTURE.md.
        #[arg(long)]
        fix: bool,
    },
}

/// What a chore that failed says: one line a person can act on.
pub(crate) type Result<T, E = String> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let result = match Args::parse().chore {
        Chore::RunCluster(options) => run_cluster::run(&options),
        Chore::Psql { data, args } => client::run(data, &args),
        Chore::Ps { data } => ps::run(data),
        Chore::Setup => setup::run(),
        Chore::Test { args } => test::run(&args),
        Chore::Bench(bench) => bench::run(&bench),
        // Its exit code says more.
        Chore::Lab(options) => return lab::run(&options),
        Chore::Torture(options) => torture::run(&options),
        Chore::Tidy { fix } => tidy::run(fix),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
