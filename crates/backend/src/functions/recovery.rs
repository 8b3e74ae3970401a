//! Functions about recovery that goes on: how far it is, pausing it, ending it.
//!
//! C counterpart: the second half of access/transam/xlogfuncs.c.

use std::time::{Duration, Instant};

use common::{Lsn, SqlState};
use elog::{Result, errno_text, error, pg_error};
use miscinit::globals;
use nix::sys::signal::Signal;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use types::fmgr::{Builtin, CallContext};
use types::{Datum, oid};
use wal::recovery::{self, PauseState};

use super::only_superuser;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(3810, "pg_is_in_recovery", &[], oid::BOOL, |_, _| Ok(Datum::Bool(wal::in_recovery()))).volatile(),
    Builtin::scalar(3820, "pg_last_wal_receive_lsn", &[], oid::PG_LSN, pg_last_wal_receive_lsn).volatile(),
    Builtin::scalar(3821, "pg_last_wal_replay_lsn", &[], oid::PG_LSN, pg_last_wal_replay_lsn).volatile(),
    Builtin::scalar(3830, "pg_last_xact_replay_timestamp", &[], oid::TIMESTAMPTZ, pg_last_xact_replay_timestamp).volatile(),
    Builtin::scalar(3071, "pg_wal_replay_pause", &[], oid::VOID, pg_wal_replay_pause).volatile(),
    Builtin::scalar(3072, "pg_wal_replay_resume", &[], oid::VOID, pg_wal_replay_resume).volatile(),
    Builtin::scalar(3073, "pg_is_wal_replay_paused", &[], oid::BOOL, pg_is_wal_replay_paused).volatile(),
    Builtin::scalar(1137, "pg_get_wal_replay_pause_state", &[], oid::TEXT, pg_get_wal_replay_pause_state).volatile(),
    Builtin::scalar(3436, "pg_promote", &[oid::BOOL, oid::INT4], oid::BOOL, pg_promote)
        .volatile()
        .names(&["wait", "wait_seconds"])
        .defaults(&[Some("true"), Some("60")]),
];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

/// What `pg_ctl promote` leaves as well. C: `PROMOTE_SIGNAL_FILE`.
const PROMOTE_FILE: &str = "promote";
/// Between two looks whether recovery is over. C: `WAITS_PER_SECOND`.
const PROMOTE_LOOK: Duration = Duration::from_millis(100);

fn position(lsn: Lsn) -> Datum {
    if lsn != Lsn::INVALID { Datum::Lsn(lsn.0) } else { Datum::Null }
}

/// Stays what it was when streaming has ended; NULL if nothing was ever asked for.
fn pg_last_wal_receive_lsn(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(position(replication::walrcv::flushed().lsn))
}

/// Stays what it was when recovery has ended; NULL if there was nothing to recover.
fn pg_last_wal_replay_lsn(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(position(wal::recovery_point::replayed().0))
}

fn pg_last_xact_replay_timestamp(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(recovery::latest_xact_time().map_or(Datum::Null, Datum::TimestampTz))
}

fn in_recovery() -> Result<()> {
    if wal::in_recovery() {
        return Ok(());
    }
    Err(error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "recovery is not in progress")
        .hint("Recovery control functions can only be executed during recovery."))
}

/// A pause would only delay a promotion that somebody waits for.
fn not_promoting(function: &str) -> Result<()> {
    if !recovery::promote_is_triggered() {
        return Ok(());
    }
    Err(error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "standby promotion is ongoing")
        .hint(format!("{function} cannot be executed after promotion is triggered.")))
}

/// Only asks for it: see `pg_get_wal_replay_pause_state`.
fn pg_wal_replay_pause(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    only_superuser("pg_wal_replay_pause")?;
    in_recovery()?;
    not_promoting("pg_wal_replay_pause()")?;
    recovery::set_pause(true);
    // It may be waiting for WAL, and confirms the pause when it wakes.
    recovery::wakeup();
    Ok(Datum::Void)
}

fn pg_wal_replay_resume(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    only_superuser("pg_wal_replay_resume")?;
    in_recovery()?;
    not_promoting("pg_wal_replay_resume()")?;
    recovery::set_pause(false);
    Ok(Datum::Void)
}

/// True as soon as it has been asked for.
fn pg_is_wal_replay_paused(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    in_recovery()?;
    Ok(Datum::Bool(recovery::pause_state() != PauseState::NotPaused))
}

fn pg_get_wal_replay_pause_state(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    in_recovery()?;
    Ok(Datum::text(recovery::pause_state().text()))
}

/// Does what `pg_ctl promote` does: leaves the file, tells the postmaster, and waits for the end of recovery if asked to.
/// C: `pg_promote`.
fn pg_promote(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    only_superuser("pg_promote")?;
    let [Datum::Bool(wait), Datum::Int4(wait_seconds)] = args else { return Ok(Datum::Null) };
    in_recovery()?;
    let Some(wait_seconds) = u64::try_from(*wait_seconds).ok().filter(|seconds| *seconds > 0) else {
        return Err(error!(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            "\"wait_seconds\" must not be negative or zero"
        ));
    };
    if let Err(e) = std::fs::File::create(globals::data_dir().join(PROMOTE_FILE)) {
        let code = elog::sqlstate_for_file_access(&e);
        return Err(error!(code, "could not create file \"{PROMOTE_FILE}\": {}", errno_text(&e)));
    }
    if !super::signal_postmaster(Signal::SIGUSR1) {
        // Otherwise the next start would promote.
        let _ = std::fs::remove_file(globals::data_dir().join(PROMOTE_FILE));
        return Ok(Datum::Bool(false));
    }
    if !wait {
        return Ok(Datum::Bool(true));
    }
    wait_for_end_of_recovery(wait_seconds).map(Datum::Bool)
}

fn wait_for_end_of_recovery(wait_seconds: u64) -> Result<bool> {
    let until = Instant::now() + Duration::from_secs(wait_seconds);
    while Instant::now() < until {
        latch::reset();
        if !wal::in_recovery() {
            return Ok(true);
        }
        miscinit::interrupt::check()?;
        if latch::wait(Wake::LATCH_OR_DEATH, Some(PROMOTE_LOOK), WaitEvent::PROMOTE).postmaster_died() {
            return Ok(false);
        }
    }
    let unit = if wait_seconds == 1 { "second" } else { "seconds" };
    pg_error!(Warning, SqlState::WARNING, "server did not promote within {wait_seconds} {unit}").report();
    Ok(false)
}
