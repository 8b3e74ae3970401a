//! Real clusters for tests and benchmarks.
//!
//! [`Cluster`] makes a data directory in a temporary folder, starts a server on it (this project's, or the
//! real PostgreSQL 15 with the same methods), kills parts of it on purpose, and leaves nothing behind.
//!
//! Rules for what is written with it:
//! - Wait for a condition ([`wait_until`], [`Cluster::wait_for_log`]), never for a duration. The deadline there
//!   only turns a hang into a failure.
//! - Start every process through [`process`]: one thread reaps all children of the test, also those that an
//!   orphaned cluster leaves to it, so a process that has ended is gone at once, as on a machine whose init
//!   does its work.
//! - What cannot run here says so with [`skip!`], which is counted.

mod bins; // 1. where the programs are
mod cluster; // 3. a cluster and what can be done to it
pub mod process; // 2. processes, reaped at once
pub mod procfs; // 4. what /proc knows

pub use bins::{Programs, Server, real_postgres};
pub use cluster::{Cluster, ClusterOptions, Stop};

use std::time::{Duration, Instant};

/// How long a condition may take before its test fails. Generous: it is never waited out in a good run.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` is true.
///
/// # Panics
/// With `what` when the deadline passes.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `probe` finds something.
///
/// # Panics
/// With `what` when the deadline passes.
#[track_caller]
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain until {what}");
        pause();
    }
}

/// A moment between two looks at a condition.
pub fn pause() {
    // Waiting on nothing is what a probe's pause is; tests themselves never do it.
    let _ = nix::poll::poll(&mut [], nix::poll::PollTimeout::from(5u8));
}

/// Says that this test cannot run here and leaves it. The line goes past the test harness's capture, and the
/// test runner counts such lines.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "SKIPPED: {}: {}", module_path!(), format!($($reason)+));
        return;
    }};
}
