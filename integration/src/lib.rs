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

pub mod archive; // 10. clusters that archive, base copies, restored clusters
mod bins; // 1. where the programs are
mod cluster; // 3. a cluster and what can be done to it
pub mod failover; // 11. a primary is killed, its standby takes over
mod hold; // 7. a cluster held while it starts
mod log; // 5. its log, in words that a test can compare
pub mod process; // 2. processes, reaped at once
pub mod procfs; // 4. what /proc knows
pub mod torture; // 8. clients that remember, processes that are killed
mod wal_check; // 9. PostgreSQL reads what was written
pub mod wire; // 6. a client that shows every message

pub use bins::{Programs, Server, for_everybody, is_reachable, program_for_everybody, real_postgres};
pub use cluster::{Cluster, ClusterOptions, Stop};
pub use hold::HeldStartup;
pub use wire::Wire;

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
        $crate::say_skipped(module_path!(), &format!($($reason)+));
        return;
    }};
}

/// The line that [`skip!`] writes. For tests of which only a part cannot run.
pub fn say_skipped(what: &str, reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {reason}");
}

/// Runs a test against this project's server and, where it is installed, against the real one: what is
/// expected then is what PostgreSQL does. `PGANATOMY_SERVER=real` leaves this project's out: a test can be
/// written before what it tests.
pub fn on_each_server(what: &str, test: impl Fn(Server)) {
    if std::env::var_os("PGANATOMY_SERVER").is_none_or(|server| server != "real") {
        test(Server::Ours);
    }
    if real_postgres().is_none() {
        say_skipped(what, "PostgreSQL 15 is not installed, nothing to compare with");
        return;
    }
    let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(Server::Real)));
    if let Err(panic) = compared {
        eprintln!("{what}: the expectation is wrong: that was the real PostgreSQL");
        std::panic::resume_unwind(panic);
    }
}
