//! Standing still: because somebody asked for it, because the target is reached, because a standby is to lag behind; and
//! the order to stop being one.
//!
//! Every wait here ends at a promotion and at the order to leave. The latch that is waited for is set by signals, by
//! `pg_wal_replay_resume()` and by whoever else calls `wal::recovery::wakeup`; a second is the longest sleep, so that a
//! lost wake-up costs no more than that.
//!
//! C counterpart: `recoveryPausesHere`, `recoveryApplyDelay`, `CheckForStandbyTrigger` of xlogrecovery.c;
//! `ResetPromoteSignaled` of startup.c.

use std::path::Path;
use std::time::Duration;

use common::SqlState;
use elog::{Result, ereport, errno_text, error, pg_error};
use miscinit::exit;
use miscinit::interrupt::{self, Pending};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use wal::DecodedRecord;
use wal::recovery::{self, PauseState};

use crate::state;
use crate::target::{self, Event, Moment};

/// `pg_ctl promote` leaves this file. C: `PROMOTE_SIGNAL_FILE`.
const PROMOTE_FILE: &str = "promote";
/// The longest sleep.
const LONGEST: Duration = Duration::from_secs(1);

/// Sleeps until the latch is set or the time is over; leaves if the postmaster has died.
fn sleep(time: Duration, event: WaitEvent) {
    if latch::wait(Wake::LATCH_OR_DEATH, Some(time), event).postmaster_died() {
        exit::proc_exit(1);
    }
}

/// Has somebody asked for the end of recovery? Once true, true for good. C: `CheckForStandbyTrigger`.
///
/// # Errors
/// If `promote_trigger_file` cannot be looked for.
pub(crate) fn promotion_triggered() -> Result<bool> {
    if recovery::promote_is_triggered() {
        return Ok(true);
    }
    if interrupt::is_pending(Pending::Promote) && Path::new(PROMOTE_FILE).exists() {
        ereport!(Log, "received promote request");
        let _ = std::fs::remove_file(PROMOTE_FILE);
        interrupt::take(Pending::Promote);
        recovery::set_promote_triggered();
        return Ok(true);
    }
    let trigger = guc::vars::PROMOTE_TRIGGER_FILE.get();
    if trigger.is_empty() {
        return Ok(false);
    }
    match std::fs::metadata(&*trigger) {
        Ok(_) => {
            ereport!(Log, "promote trigger file found: {trigger}");
            let _ = std::fs::remove_file(&*trigger);
            recovery::set_promote_triggered();
            Ok(true)
        }
        Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(reason) => {
            let state = elog::sqlstate_for_file_access(&reason);
            let reason = errno_text(&reason);
            Err(error!(state, "could not stat promote trigger file \"{trigger}\": {reason}"))
        }
    }
}

/// Pauses if a session has asked for it. C: the looks at `recoveryPauseState` in `PerformWalRecovery`.
///
/// # Errors
/// As [`promotion_triggered`].
pub(crate) fn if_asked() -> Result<()> {
    // After a crash nobody can ask.
    if !state::archive_requested() || recovery::pause_state() == PauseState::NotPaused {
        return Ok(());
    }
    here(false)
}

/// At the target: until somebody resumes, which means: open the cluster. C: `RECOVERY_TARGET_ACTION_PAUSE`.
///
/// # Errors
/// As [`promotion_triggered`].
pub(crate) fn at_target() -> Result<()> {
    recovery::set_pause(true);
    here(true)
}

/// C: `recoveryPausesHere`.
fn here(at_end: bool) -> Result<()> {
    // Nobody could end it.
    if !recovery::hot_standby_active() || recovery::promote_is_triggered() {
        return Ok(());
    }
    let (text, hint) = if at_end {
        ("pausing at the end of recovery", "Execute pg_wal_replay_resume() to promote.")
    } else {
        ("recovery has paused", "Execute pg_wal_replay_resume() to continue.")
    };
    pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{text}").hint(hint).report();
    while_paused(&mut || promotion_triggered().map(|triggered| !triggered))
}

/// Waits for the end of the pause, or until `go_on` says no. C: the loops of `recoveryPausesHere` and
/// `RecoveryRequiresIntParameter`.
///
/// # Errors
/// What `go_on` returns.
pub(crate) fn while_paused(go_on: &mut dyn FnMut() -> Result<bool>) -> Result<()> {
    while recovery::pause_state() != PauseState::NotPaused {
        latch::reset();
        crate::leave_if_asked()?;
        if !go_on()? {
            return Ok(());
        }
        // Each time: it may have been resumed and asked for again meanwhile.
        recovery::confirm_paused();
        if recovery::pause_state() != PauseState::NotPaused {
            sleep(LONGEST, WaitEvent::RECOVERY_PAUSE);
        }
    }
    Ok(())
}

/// Waits until a commit is as old as `recovery_min_apply_delay` wants it; true if there was anything to wait for. Other records
/// are replayed at once: what they do is not seen before the commit. C: `recoveryApplyDelay`.
///
/// # Errors
/// As [`promotion_triggered`].
pub(crate) fn apply_delay(record: &DecodedRecord<'_>) -> Result<bool> {
    let delay = || i64::from(guc::vars::RECOVERY_MIN_APPLY_DELAY.get()) * 1000;
    if delay() <= 0 || !recovery::reached_consistency() || !state::archive_requested() {
        return Ok(false);
    }
    let Some(Moment { time, what: Event::Commit(_) }) = target::moment(record) else { return Ok(false) };
    let left = || (time + delay()).saturating_sub(activity::now());
    if left() <= 0 {
        return Ok(false);
    }
    loop {
        latch::reset();
        // The delay may change in there.
        crate::leave_if_asked()?;
        if promotion_triggered()? {
            return Ok(true);
        }
        let left = left();
        if left <= 0 {
            return Ok(true);
        }
        ereport!(Debug2, "recovery apply delay {} milliseconds", left / 1000);
        sleep(Duration::from_micros(left as u64), WaitEvent::RECOVERY_APPLY_DELAY);
    }
}
