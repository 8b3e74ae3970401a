//! Autovacuum: the launcher decides which database needs a worker, and when; a worker does the work there.
//!
//! The launcher
//!
//! Started by: the postmaster when the cluster is open for sessions and `autovacuum` is on; again whenever
//!             it ends. With `autovacuum` off, on request of a process that sees wraparound coming.
//! Woken by:   its latch, SIGUSR2 (a worker came, ended or could not be started), or the end of its nap.
//! Ends by:    SIGTERM = exit 0. SIGQUIT = exit 2 at once. Death of the postmaster = exit 1 at once.
//!             `autovacuum` turned off by a reload = exit 0, and the postmaster starts no other.
//! If it dies: exit 0 is silently replaced; anything else is a crash and restarts all.
//!
//! A worker
//!
//! Started by: the postmaster on the launcher's request, one for each request.
//! Woken by:   nothing; it works through the tables of its database and leaves.
//! Ends by:    exit 0 = done. SIGINT = the running table is given up. SIGTERM = FATAL, exit 1. SIGQUIT = exit 2.
//! If it dies: exit 0 and 1 are ordinary; anything else is a crash and restarts all.
//!
//! Differs from PG 15: catalogs and VACUUM itself are reached through [`Hooks`], because they lie above; no work
//!             items (BRIN) and no removal of orphaned temporary tables (there are none).
//!
//! C counterpart: postmaster/autovacuum.c.

#![forbid(unsafe_code)]

mod launcher; // 1. which database, and when
mod worker; // 2. which tables

mod schedule; // 3. the launcher's list, without clock and processes

mod hooks; // 6. what the layers above do for both
mod needs; // 5. whether a table needs work
mod shared; // 4. what the two know of each other

pub use hooks::{DatabaseRow, Hooks, Job, TableRow, set_hooks};
pub use launcher::autovac_launcher_main;
pub use needs::{Ages, StorageOptions};
pub use shared::{balanced_cost_limit, reserve, worker_failed};
pub use worker::autovac_worker_main;

/// Whether the settings ask for a launcher. It needs the counters it decides by. C: `AutoVacuumingActive`.
pub fn is_wanted() -> bool {
    guc::vars::AUTOVACUUM.get() && guc::vars::TRACK_COUNTS.get()
}
