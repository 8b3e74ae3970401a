//! A session of a standby that is in replay's way.
//!
//! The startup process pokes it with a reason. What that means is decided when the session looks: its statement may have
//! ended meanwhile, or it may sit idle in its transaction, with nobody to send an error to.
//!
//! C counterpart: `RecoveryConflictInterrupt`, `ProcessInterrupts`, `errdetail_recovery_conflict` of tcop/postgres.c.

use std::cell::Cell;

use activity::counters;
use common::SqlState;
use elog::{PgError, Result, error, fatal};
use shmem::procsignal::{self, ProcSignalReason as Reason};
use transam::xact;

const REASONS: [Reason; 6] = [
    Reason::RecoveryConflictDatabase,
    Reason::RecoveryConflictTablespace,
    Reason::RecoveryConflictLock,
    Reason::RecoveryConflictSnapshot,
    Reason::RecoveryConflictBufferPin,
    Reason::RecoveryConflictStartupDeadlock,
];

thread_local! {
    /// Waits for the next message of its client. C: `DoingCommandRead`.
    static READING: Cell<bool> = const { Cell::new(false) };
    /// The transaction has failed. C: `IsAbortedTransactionBlockState`.
    static FAILED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `look` as part of the wait for the client's next message.
pub(crate) fn while_reading<R>(look: impl FnOnce() -> R) -> R {
    READING.set(true);
    let result = look();
    READING.set(false);
    result
}

/// The session's transaction has failed, or there is a new one.
pub(crate) fn note_failed(failed: bool) {
    FAILED.set(failed);
}

/// What the session is doing.
#[derive(Clone, Copy, Debug)]
struct Situation {
    /// Levels of transactions that are open; 0 for none.
    levels: u32,
    failed: bool,
    reading: bool,
    awaits_lock: bool,
    /// It has the pin that replay waits for.
    has_pin: bool,
    /// Replay waits for somebody's pin.
    replay_awaits_pin: bool,
}

/// What it does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ignore,
    /// Look for a deadlock among locks.
    CheckDeadlock,
    /// Fail the statement: that gives up what is in the way.
    Cancel,
    /// End the session: an error would not be noticed, or could be caught by a savepoint.
    Terminate,
}

fn judge(reason: Reason, now: Situation) -> Verdict {
    if reason == Reason::RecoveryConflictDatabase {
        return Verdict::Terminate;
    }
    let is_deadlock = reason == Reason::RecoveryConflictStartupDeadlock;
    if is_deadlock && !now.awaits_lock {
        return Verdict::Ignore;
    }
    if (is_deadlock || reason == Reason::RecoveryConflictBufferPin) && !now.has_pin {
        let locks_only = is_deadlock && !now.replay_awaits_pin;
        return if locks_only { Verdict::CheckDeadlock } else { Verdict::Ignore };
    }
    match now.levels {
        0 => Verdict::Ignore,
        1 if !now.failed && !now.reading => Verdict::Cancel,
        _ => Verdict::Terminate,
    }
}

/// When SIGUSR1 was noted: obeys what the startup process asks for.
///
/// # Errors
/// 40001 for a cancelled statement; FATAL for the session.
pub(crate) fn process() -> Result<()> {
    for reason in REASONS {
        if !procsignal::check(reason) {
            continue;
        }
        let now = Situation {
            levels: xact::nest_level(),
            failed: FAILED.get(),
            reading: READING.get(),
            awaits_lock: lmgr::awaits_lock(),
            has_pin: storage::delays_replay(),
            replay_awaits_pin: storage::replay_waits_for_pin(),
        };
        match judge(reason, now) {
            Verdict::Ignore => {}
            Verdict::CheckDeadlock => lmgr::check_deadlock_soon(),
            Verdict::Cancel => {
                count(reason);
                return Err(with_detail(cancelled(), reason));
            }
            Verdict::Terminate => {
                count(reason);
                return Err(with_detail(terminated(reason, now), reason));
            }
        }
    }
    Ok(())
}

/// Nobody would see the counts of a database that goes. C: `pgstat_report_recovery_conflict`.
fn count(reason: Reason) {
    counters::database(|database| {
        let counter = match reason {
            Reason::RecoveryConflictTablespace => &database.conflict_tablespace,
            Reason::RecoveryConflictLock => &database.conflict_lock,
            Reason::RecoveryConflictSnapshot => &database.conflict_snapshot,
            Reason::RecoveryConflictBufferPin => &database.conflict_bufferpin,
            Reason::RecoveryConflictStartupDeadlock => &database.conflict_startup_deadlock,
            _ => return,
        };
        counters::add(counter, 1);
    });
}

fn cancelled() -> PgError {
    error!(SqlState::T_R_SERIALIZATION_FAILURE, "canceling statement due to conflict with recovery")
}

fn terminated(reason: Reason, now: Situation) -> PgError {
    let state = match reason {
        Reason::RecoveryConflictDatabase => SqlState::DATABASE_DROPPED,
        _ => SqlState::T_R_SERIALIZATION_FAILURE,
    };
    let error = fatal!(state, "terminating connection due to conflict with recovery");
    // Only who sat idle is told what to do, and only if an error would have done otherwise.
    if reason != Reason::RecoveryConflictDatabase && now.levels == 1 && now.reading {
        error.hint("In a moment you should be able to reconnect to the database and repeat your command.")
    } else {
        error
    }
}

/// C: `errdetail_recovery_conflict`.
fn with_detail(error: PgError, reason: Reason) -> PgError {
    let detail = match reason {
        Reason::RecoveryConflictBufferPin => "User was holding shared buffer pin for too long.",
        Reason::RecoveryConflictLock => "User was holding a relation lock for too long.",
        Reason::RecoveryConflictTablespace => {
            "User was or might have been using tablespace that must be dropped."
        }
        Reason::RecoveryConflictSnapshot => {
            "User query might have needed to see row versions that must be removed."
        }
        Reason::RecoveryConflictStartupDeadlock => "User transaction caused buffer deadlock with recovery.",
        Reason::RecoveryConflictDatabase => "User was connected to a database that must be dropped.",
        _ => return error,
    };
    error.detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_decides() {
        let working = Situation {
            levels: 1,
            failed: false,
            reading: false,
            awaits_lock: false,
            has_pin: false,
            replay_awaits_pin: false,
        };
        let (lock, pin) = (Reason::RecoveryConflictLock, Reason::RecoveryConflictBufferPin);
        let deadlock = Reason::RecoveryConflictStartupDeadlock;
        for (reason, now, expected) in [
            (lock, working, Verdict::Cancel),
            (lock, Situation { levels: 0, ..working }, Verdict::Ignore),
            (lock, Situation { levels: 2, ..working }, Verdict::Terminate),
            (lock, Situation { reading: true, ..working }, Verdict::Terminate),
            (lock, Situation { failed: true, ..working }, Verdict::Terminate),
            (pin, working, Verdict::Ignore),
            (pin, Situation { has_pin: true, ..working }, Verdict::Cancel),
            (deadlock, working, Verdict::Ignore),
            (deadlock, Situation { awaits_lock: true, ..working }, Verdict::CheckDeadlock),
            (deadlock, Situation { awaits_lock: true, replay_awaits_pin: true, ..working }, Verdict::Ignore),
            (
                deadlock,
                Situation { awaits_lock: true, replay_awaits_pin: true, has_pin: true, ..working },
                Verdict::Cancel,
            ),
            (Reason::RecoveryConflictDatabase, Situation { levels: 0, ..working }, Verdict::Terminate),
        ] {
            assert_eq!(judge(reason, now), expected, "{reason:?} {now:?}");
        }
        let idle = Situation { reading: true, ..working };
        for (reason, now, is_hinted) in [
            (lock, idle, true),
            (lock, Situation { levels: 2, ..idle }, false),
            (Reason::RecoveryConflictDatabase, idle, false),
        ] {
            assert_eq!(terminated(reason, now).hint.is_some(), is_hinted, "{reason:?} {now:?}");
        }
    }
}
