//! What the signal handlers noted, and the one cheap question that long-running code asks.
//!
//! All notes are bits of one atomic word, so "did anything happen?" is one relaxed load. A main loop takes
//! the bits that are meant for it; code deep inside a statement calls [`check`], which hands over to the
//! process's own [`set_processor`] function (C: `ProcessInterrupts`) only if a bit is set.
//!
//! C counterparts: `CHECK_FOR_INTERRUPTS`, `InterruptPending` and its siblings, postmaster/interrupt.c.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use common::SqlState;
use elog::{Result, fatal};

/// One thing a handler can note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Pending {
    /// SIGHUP: read the configuration again. C: `ConfigReloadPending`.
    ConfigReload = 1 << 0,
    /// Leave at the next turn of the main loop. C: `ShutdownRequestPending`.
    Shutdown = 1 << 1,
    /// Cancel the running statement. C: `QueryCancelPending`.
    QueryCancel = 1 << 2,
    /// End the session. C: `ProcDiePending`.
    ProcDie = 1 << 3,
    /// SIGUSR1: look at this process's slot in `shmem::procsignal`.
    ProcSignal = 1 << 4,
    /// `statement_timeout` has passed.
    StatementTimeout = 1 << 5,
    /// SIGUSR2 to the startup process. C: `promote_signaled`.
    Promote = 1 << 6,
    /// SIGUSR1 to the logger. C: `rotation_requested`.
    RotateLog = 1 << 7,
    /// SIGUSR2 to the autovacuum launcher: a worker ended or could not start. C: `got_SIGUSR2`.
    WorkerWakeup = 1 << 8,
    /// SIGUSR2 to checkpointer, archiver, walsender: the last round.
    LastCycle = 1 << 9,
    /// SIGQUIT that must wait for a point where the client can be told.
    QuickDie = 1 << 10,
    /// `idle_in_transaction_session_timeout` or `idle_session_timeout` has passed.
    IdleTimeout = 1 << 11,
    /// SIGUSR1 to the archiver: there may be something to archive. C: `wakened`.
    Wakened = 1 << 12,
}

static PENDING: AtomicU32 = AtomicU32::new(0);

/// The notes that [`check`] acts on; the others wait for a main loop.
const CHECKED: u32 = Pending::QueryCancel as u32
    | Pending::ProcDie as u32
    | Pending::ProcSignal as u32
    | Pending::StatementTimeout as u32
    | Pending::QuickDie as u32;

thread_local! {
    static PROCESSOR: Cell<fn() -> Result<()>> = const { Cell::new(process_default) };
}

/// Notes it. Async-signal-safe.
pub fn raise(what: Pending) {
    PENDING.fetch_or(what as u32, SeqCst);
}

/// True if it is noted, without taking it.
pub fn is_pending(what: Pending) -> bool {
    PENDING.load(SeqCst) & what as u32 != 0
}

/// True if it was noted; it is not any more.
pub fn take(what: Pending) -> bool {
    // The load first: an unconditional read-modify-write would bounce the cache line in every loop.
    is_pending(what) && PENDING.fetch_and(!(what as u32), SeqCst) & what as u32 != 0
}

/// Forgets everything noted: what was meant for the parent is not meant for its child.
pub fn clear_all() {
    PENDING.store(0, SeqCst);
}

/// Called wherever a statement can be stopped: in loops, before waits. One load when nothing happened.
///
/// # Errors
/// 57014 for a cancelled statement, FATAL 57P01 for a session that must end.
#[doc(alias = "CHECK_FOR_INTERRUPTS")]
#[inline]
pub fn check() -> Result<()> {
    if PENDING.load(SeqCst) & CHECKED == 0 { Ok(()) } else { PROCESSOR.get()() }
}

/// Sets what [`check`] calls when something is noted. A client session has its own (C: `ProcessInterrupts`).
pub fn set_processor(processor: fn() -> Result<()>) {
    PROCESSOR.set(processor);
}

/// Auxiliary processes only know the order to leave.
fn process_default() -> Result<()> {
    if take(Pending::ProcDie) {
        return Err(fatal!(
            SqlState::ADMIN_SHUTDOWN,
            "terminating {} process due to administrator command",
            crate::globals::backend_type().description()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_taken_once() {
        raise(Pending::Promote);
        assert!(is_pending(Pending::Promote));
        assert!(check().is_ok(), "promotion is for the main loop, not for check()");
        assert!(take(Pending::Promote));
        assert!(!take(Pending::Promote));
    }
}
