//! Poking a process with a reason: SIGUSR1 says "look", a flag in the target's slot says at what.
//!
//! A slot belongs to each PGPROC. It also holds the key a client must show to cancel that session's statement.
//!
//! C counterpart: procsignal.c, procsignal.h. The cancel key is in the postmaster's private list there and its
//! cancel handling walks that list; in the slot, any process can answer a cancel request without the postmaster.
//! Barriers come with the first subsystem that needs one.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::proc::{Limits, my_proc_number};
use crate::{Reservation, ShmSlice, shm_struct};

/// Why a process is poked. C: `ProcSignalReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum ProcSignalReason {
    /// Catch up on cache invalidations.
    CatchupInterrupt,
    /// LISTEN/NOTIFY.
    NotifyInterrupt,
    /// Message from a parallel worker.
    ParallelMessage,
    /// Walsender: prepare for shutdown.
    WalSenderStopping,
    /// A barrier every process must pass.
    Barrier,
    /// Log the memory contexts.
    LogMemoryContext,
    /// Recovery drops the database we are in.
    RecoveryConflictDatabase,
    /// Recovery drops a tablespace we use.
    RecoveryConflictTablespace,
    /// Recovery needs a lock we hold.
    RecoveryConflictLock,
    /// Recovery removes rows our snapshot sees.
    RecoveryConflictSnapshot,
    /// Recovery needs a buffer we have pinned.
    RecoveryConflictBufferPin,
    /// Recovery may be in a deadlock with us.
    RecoveryConflictStartupDeadlock,
}

const REASONS: usize = ProcSignalReason::RecoveryConflictStartupDeadlock as usize + 1;

shm_struct! {
    /// One process's mailbox. C: `ProcSignalSlot`.
    struct Slot {
        pid: AtomicI32,
        cancel_key: AtomicI32,
        flags: [AtomicU32; REASONS],
    }
}

static SLOTS: ShmSlice<Slot> = ShmSlice::new("ProcSignal");

pub(crate) fn reserve(reservation: &mut Reservation, limits: Limits) {
    reservation.slice(&SLOTS, limits.max_procs() as usize, |_| Slot {
        pid: AtomicI32::new(0),
        cancel_key: AtomicI32::new(0),
        flags: [const { AtomicU32::new(0) }; REASONS],
    });
}

/// Takes the slot of our PGPROC. The pid comes last: who finds it finds the key beside it.
pub(crate) fn init(pgprocno: u32, pid: i32, cancel_key: i32) {
    let slot = &SLOTS.get()[pgprocno as usize];
    for flag in &slot.flags {
        flag.store(0, Ordering::Relaxed);
    }
    slot.cancel_key.store(cancel_key, Ordering::Relaxed);
    slot.pid.store(pid, Ordering::Release);
}

pub(crate) fn release(pgprocno: u32) {
    SLOTS.get()[pgprocno as usize].pid.store(0, Ordering::Release);
}

fn find(pid: i32) -> Option<&'static Slot> {
    let slots = SLOTS.try_get()?;
    slots.iter().find(|slot| pid != 0 && slot.pid.load(Ordering::Acquire) == pid)
}

/// Raises the flag and sends SIGUSR1. False if there is no such process. C: `SendProcSignal`.
pub fn send(pid: i32, reason: ProcSignalReason) -> bool {
    let Some(slot) = find(pid) else { return false };
    slot.flags[reason as usize].store(1, Ordering::Release);
    // SAFETY: no memory arguments.
    unsafe { libc::kill(pid, libc::SIGUSR1) == 0 }
}

/// Whether we were poked for this reason; lowers the flag. Async-signal-safe: the SIGUSR1 handler asks.
/// C: `CheckProcSignal`.
pub fn check(reason: ProcSignalReason) -> bool {
    let Some(slot) = my_proc_number().and_then(|me| SLOTS.try_get()?.get(me as usize)) else { return false };
    let flag = &slot.flags[reason as usize];
    // A plain look first: most flags are down, and a write would take the cache line from its owner.
    flag.load(Ordering::Relaxed) != 0 && flag.swap(0, Ordering::AcqRel) != 0
}

/// What became of a cancel request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// SIGINT is on its way. That the session may be idle again by then is the protocol's old race.
    Sent,
    /// "wrong key in cancel request for process %d".
    WrongKey,
    /// "PID %d in cancel request did not match any process".
    NoSuchProcess,
}

/// Interrupts the statement of the session with this pid, if the client knows its key. The signal goes to the
/// process group too, for the shell commands it may wait for. C: `processCancelRequest`.
pub fn send_cancel(pid: i32, key: i32) -> CancelOutcome {
    let Some(slot) = find(pid) else { return CancelOutcome::NoSuchProcess };
    if slot.cancel_key.load(Ordering::Relaxed) != key || key == 0 {
        return CancelOutcome::WrongKey;
    }
    // SAFETY: no memory arguments. Every child leads its own group; if this one does not, the second call fails.
    unsafe {
        libc::kill(pid, libc::SIGINT);
        libc::kill(-pid, libc::SIGINT);
    }
    CancelOutcome::Sent
}

#[cfg(test)]
mod tests;
