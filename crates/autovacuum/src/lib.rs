//! The autovacuum launcher: decides which database needs a worker, and when.
//!
//! Started by: the postmaster when the cluster is open for sessions and `autovacuum` is on; again whenever
//!             it ends.
//! Woken by:   its latch, SIGUSR2 (a worker ended or could not be started), or the end of its nap.
//! Ends by:    SIGTERM = exit 0. SIGQUIT = exit 2 at once. Death of the postmaster = exit 1 at once.
//!             `autovacuum` turned off by a reload = exit 0, and the postmaster starts no other.
//! If it dies: exit 0 is silently replaced; anything else is a crash and restarts all.
//! Differs from PG 15: there is nothing to vacuum yet, so its list of databases in need is always empty.
//!
//! C counterpart: postmaster/autovacuum.c (the launcher half).

#![forbid(unsafe_code)]

use std::time::Duration;

use auxprocess::Turn;
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use shmem::wait_event::WaitEvent;

/// The longest nap, whatever `autovacuum_naptime` says. C: `MAX_AUTOVAC_SLEEPTIME`.
const MAX_NAP: Duration = Duration::from_secs(300);

/// Entry point of the launcher. C: `AutoVacLauncherMain`.
pub fn autovac_launcher_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    elog::ereport!(Debug1, "autovacuum launcher started");
    auxprocess::main_loop(|| {
        if interrupt::take(Pending::Shutdown) || !is_wanted() {
            elog::ereport!(Debug1, "autovacuum launcher shutting down");
            return Ok(Turn::Exit(0));
        }
        // Both only mean "look again": the next turn does.
        interrupt::take(Pending::QueryCancel);
        interrupt::take(Pending::WorkerWakeup);
        let nap = Duration::from_secs(guc::vars::AUTOVACUUM_NAPTIME.get() as u64);
        Ok(Turn::Sleep(Some(nap_with(&databases_in_need(), nap)), WaitEvent::AUTOVACUUM_MAIN))
    })
}

/// Whether the settings ask for a launcher. It needs the counters it decides by. C: `AutoVacuumingActive`.
pub fn is_wanted() -> bool {
    guc::vars::AUTOVACUUM.get() && guc::vars::TRACK_COUNTS.get()
}

/// When each database is due, soonest first. C: `DatabaseList`.
fn databases_in_need() -> Vec<Duration> {
    Vec::new()
}

/// Until the soonest database is due, or a whole nap when none is. C: `launcher_determine_sleep`.
fn nap_with(due: &[Duration], naptime: Duration) -> Duration {
    due.first().copied().unwrap_or(naptime).min(MAX_NAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_until_the_soonest_database_is_due() {
        let seconds = Duration::from_secs;
        assert_eq!(nap_with(&[], seconds(60)), seconds(60));
        assert_eq!(nap_with(&[seconds(3), seconds(9)], seconds(60)), seconds(3));
        assert_eq!(nap_with(&[], seconds(86_400)), MAX_NAP);
    }
}
