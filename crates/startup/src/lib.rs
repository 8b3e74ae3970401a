//! The startup process: brings the cluster to a state from which sessions can begin, then ends.
//!
//! Started by: the postmaster, at start and after each crash of a child, once checkpointer and writer run.
//! Woken by:   nothing; it works through its list and leaves.
//! Ends by:    exit 0 = done, the cluster opens. SIGTERM = exit 1, SIGQUIT = exit 2, both while it works.
//!             Death of the postmaster = exit 1 at its next wait.
//! If it dies: the postmaster gives up: it stops everything and exits 1.
//! Differs from PG 15: there is no WAL yet, so recovery has nothing to replay: it notes the crash, has the
//!             end-of-recovery checkpoint made, and opens the cluster.
//!
//! C counterpart: postmaster/startup.c and `StartupXLOG` of xlog.c.

#![forbid(unsafe_code)]

use checkpointer::CheckpointFlags;
use common::SqlState;
use common::pg_control::DbState;
use elog::{Result, ereport};
use miscinit::child::ChildStart;
use miscinit::exit;
use miscinit::interrupt::{self, Pending};

/// Entry point. C: `StartupProcessMain`.
pub fn startup_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    interrupt::set_processor(leave_if_asked);
    match start_cluster() {
        Ok(()) => exit::proc_exit(0),
        Err(error) => {
            error.report();
            exit::proc_exit(1)
        }
    }
}

/// C: `HandleStartupProcInterrupts`.
fn leave_if_asked() -> Result<()> {
    if interrupt::take(Pending::Shutdown) {
        exit::proc_exit(1);
    }
    if interrupt::take(Pending::ConfigReload) {
        auxprocess::reload_config();
    }
    Ok(())
}

/// C: `StartupXLOG`.
fn start_cluster() -> Result<()> {
    let control = wal::control_file::read()?;
    let state = control.state;
    log_previous_end(state, control.time);
    if needs_recovery(state) {
        recover()?;
    }
    leave_if_asked()?;
    wal::control_file::update(|control| {
        control.state = DbState::InProduction;
        control.time = unix_now();
    })
}

/// True unless the last run ended with a shutdown checkpoint.
fn needs_recovery(state: DbState) -> bool {
    !matches!(state, DbState::ShutDown | DbState::ShutDownInRecovery)
}

/// Says how the cluster ended last time, which tells an operator what to expect now.
fn log_previous_end(state: DbState, time: i64) {
    let at = timestamp_text(time);
    match state {
        DbState::ShutDown => ereport!(Log, "database system was shut down at {at}"),
        DbState::ShutDownInRecovery => ereport!(Log, "database system was shut down in recovery at {at}"),
        DbState::ShuttingDown => {
            ereport!(Log, "database system shutdown was interrupted; last known up at {at}")
        }
        DbState::InCrashRecovery => {
            let hint = "This probably means that some data is corrupted and you will have to use the last backup for recovery.";
            elog::pg_error!(
                Log,
                SqlState::SUCCESSFUL_COMPLETION,
                "database system was interrupted while in recovery at {at}"
            )
            .hint(hint)
            .report();
        }
        DbState::InArchiveRecovery => {
            let hint = "If this has occurred more than once some data might be corrupted and you might need to choose an earlier recovery target.";
            elog::pg_error!(
                Log,
                SqlState::SUCCESSFUL_COMPLETION,
                "database system was interrupted while in recovery at log time {at}"
            )
            .hint(hint)
            .report();
        }
        DbState::StartingUp | DbState::InProduction => {
            ereport!(Log, "database system was interrupted; last known up at {at}");
        }
    }
}

/// Crash recovery. C: `PerformWalRecovery` and the end-of-recovery checkpoint.
fn recover() -> Result<()> {
    ereport!(Log, "database system was not properly shut down; automatic recovery in progress");
    wal::control_file::update(|control| {
        control.state = DbState::InCrashRecovery;
        control.time = unix_now();
    })?;
    ereport!(Log, "redo is not required");
    checkpointer::request_checkpoint(
        CheckpointFlags::END_OF_RECOVERY | CheckpointFlags::IMMEDIATE | CheckpointFlags::WAIT,
    )
}

/// A moment as the log shows it: whole seconds in `log_timezone`.
fn timestamp_text(unix_secs: i64) -> String {
    let zone = elog::timezone(&guc::vars::LOG_TIMEZONE.get()).unwrap_or(jiff::tz::TimeZone::UTC);
    let moment = jiff::Timestamp::from_second(unix_secs).unwrap_or_default();
    moment.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shutdown_checkpoint_saves_recovery() {
        for state in [DbState::ShutDown, DbState::ShutDownInRecovery] {
            assert!(!needs_recovery(state), "{state:?}");
        }
        for state in
            [DbState::InProduction, DbState::InCrashRecovery, DbState::ShuttingDown, DbState::StartingUp]
        {
            assert!(needs_recovery(state), "{state:?}");
        }
    }
}
