//! Children to postmaster: requests by flag and SIGUSR1, and who is really attached to shared memory.
//!
//! The postmaster takes no lock, ever; all it reads here are atomics, and whatever a child gone wild may
//! have written into them cannot do more than start an unneeded autovacuum worker (M1). Which child slots are
//! taken it keeps in private memory.
//!
//! C counterpart: pmsignal.c, pmsignal.h.

use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, Ordering};

use crate::proc::Limits;
use crate::{Reservation, ShmSlice, ShmVar, postmaster_pid, shm_struct};

/// What a child asks of the postmaster. C: `PMSignalReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum PmSignalReason {
    /// Startup: redo has begun.
    RecoveryStarted,
    /// Startup: consistent, read-only sessions may come.
    BeginHotStandby,
    /// Anybody who finished a WAL file: the archiver has something to do.
    WakenArchiver,
    /// Anybody: rotate the log file.
    RotateLogfile,
    /// A backend near wraparound: start a launcher even with `autovacuum = off`.
    StartAutovacLauncher,
    /// Launcher: start a worker.
    StartAutovacWorker,
    /// A background worker was registered or ended.
    BackgroundWorkerChange,
    /// Startup: start a walreceiver.
    StartWalReceiver,
    /// Somebody's state changed in a way the postmaster waits for.
    AdvanceStateMachine,
}

impl PmSignalReason {
    /// Every reason, in the order in which the postmaster looks at them.
    pub const ALL: [PmSignalReason; 9] = [
        PmSignalReason::RecoveryStarted,
        PmSignalReason::BeginHotStandby,
        PmSignalReason::WakenArchiver,
        PmSignalReason::RotateLogfile,
        PmSignalReason::StartAutovacLauncher,
        PmSignalReason::StartAutovacWorker,
        PmSignalReason::BackgroundWorkerChange,
        PmSignalReason::StartWalReceiver,
        PmSignalReason::AdvanceStateMachine,
    ];
}

/// Why the postmaster sent SIGQUIT: decides what a backend tells its client. C: `QuitSignalReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum QuitSignalReason {
    /// It did not; the signal came from elsewhere.
    NotSent = 0,
    /// Another process crashed.
    ForCrash = 1,
    /// Immediate shutdown.
    ForStop = 2,
}

shm_struct! {
    /// C: `PMSignalData`.
    struct PmSignals {
        flags: [AtomicU32; PmSignalReason::ALL.len()],
        quit_reason: AtomicU32,
    }
}

static SIGNALS: ShmVar<PmSignals> = ShmVar::new("PMSignalState");
static CHILD_SLOTS: ShmSlice<AtomicU8> = ShmSlice::new("PMChildFlags");

/// Our child slot, from 1; 0 without one. C: `MyPMChildSlot`.
static MY_SLOT: AtomicI32 = AtomicI32::new(0);

/// States of a child slot. C: `PM_CHILD_*`.
const UNUSED: u8 = 0;
const ASSIGNED: u8 = 1;
const ACTIVE: u8 = 2;
const WAL_SENDER: u8 = 3;

pub(crate) fn reserve(reservation: &mut Reservation, limits: Limits) {
    reservation.var(&SIGNALS, || PmSignals {
        flags: [const { AtomicU32::new(0) }; PmSignalReason::ALL.len()],
        quit_reason: AtomicU32::new(QuitSignalReason::NotSent as u32),
    });
    reservation.slice(&CHILD_SLOTS, max_live_children(limits), |_| AtomicU8::new(UNUSED));
}

/// Children that may exist at once: twice the sessions, since some are refused only after they have been
/// forked. C: `MaxLivePostmasterChildren`.
pub fn max_live_children(limits: Limits) -> usize {
    2 * limits.max_backends() as usize
}

/// Asks the postmaster for something. Does nothing in a process without one. C: `SendPostmasterSignal`.
pub fn send_postmaster_signal(reason: PmSignalReason) {
    let (Some(signals), postmaster) = (SIGNALS.try_get(), postmaster_pid()) else { return };
    if postmaster == 0 {
        return;
    }
    signals.flags[reason as usize].store(1, Ordering::Release);
    // SAFETY: no memory arguments.
    unsafe { libc::kill(postmaster, libc::SIGUSR1) };
}

/// In the postmaster, woken by SIGUSR1: whether somebody asked for this; lowers the flag.
/// C: `CheckPostmasterSignal`.
pub fn check_postmaster_signal(reason: PmSignalReason) -> bool {
    let Some(signals) = SIGNALS.try_get() else { return false };
    let flag = &signals.flags[reason as usize];
    flag.load(Ordering::Relaxed) != 0 && flag.swap(0, Ordering::AcqRel) != 0
}

/// In the postmaster, before it sends SIGQUIT. C: `SetQuitSignalReason`.
pub fn set_quit_signal_reason(reason: QuitSignalReason) {
    if let Some(signals) = SIGNALS.try_get() {
        signals.quit_reason.store(reason as u32, Ordering::Release);
    }
}

/// In a SIGQUIT handler. Async-signal-safe. C: `GetQuitSignalReason`.
pub fn quit_signal_reason() -> QuitSignalReason {
    match SIGNALS.try_get().map(|signals| signals.quit_reason.load(Ordering::Acquire)) {
        Some(1) => QuitSignalReason::ForCrash,
        Some(2) => QuitSignalReason::ForStop,
        _ => QuitSignalReason::NotSent,
    }
}

/// The postmaster's private list of slots in use. C: `PMChildInUse`.
#[derive(Debug)]
pub struct ChildSlots {
    in_use: Vec<bool>,
    last: usize,
}

impl ChildSlots {
    /// All free. Made anew after a crash. C: `PMSignalShmemInit`.
    pub fn new(limits: Limits) -> ChildSlots {
        ChildSlots { in_use: vec![false; max_live_children(limits)], last: 0 }
    }

    /// Takes a slot for a child about to be forked. `None`: too many children, refuse the connection.
    /// C: `AssignPostmasterChildSlot`.
    pub fn assign(&mut self) -> Option<i32> {
        let count = self.in_use.len();
        // Downwards from the last one taken, so that a slot rests a while before it is used again.
        let slot =
            (1..=count).map(|back| (self.last + count - back) % count).find(|slot| !self.in_use[*slot])?;
        self.in_use[slot] = true;
        self.last = slot;
        if let Some(state) = CHILD_SLOTS.try_get().and_then(|slots| slots.get(slot)) {
            state.store(ASSIGNED, Ordering::Release);
        }
        i32::try_from(slot + 1).ok()
    }

    /// After the child was reaped. False: it ended while attached to shared memory, a crash whatever its exit code.
    /// C: `ReleasePostmasterChildSlot`.
    pub fn release(&mut self, slot: i32) -> bool {
        let Some(index) = index_of(slot).filter(|index| *index < self.in_use.len()) else { return true };
        self.in_use[index] = false;
        let state = CHILD_SLOTS.try_get().and_then(|slots| slots.get(index));
        state.is_none_or(|state| state.swap(UNUSED, Ordering::AcqRel) <= ASSIGNED)
    }
}

fn index_of(slot: i32) -> Option<usize> {
    usize::try_from(slot).ok()?.checked_sub(1)
}

/// Whether the child in this slot has become a walsender. C: `IsPostmasterChildWalSender`.
pub fn child_is_wal_sender(slot: i32) -> bool {
    slot_state(slot).is_some_and(|state| state.load(Ordering::Acquire) == WAL_SENDER)
}

/// In a child right after fork: the slot the postmaster gave it (0: none).
pub fn set_my_child_slot(slot: i32) {
    MY_SLOT.store(slot, Ordering::Relaxed);
}

/// From here on our end must be announced by [`mark_child_inactive`]. `init_process` calls it.
/// C: `MarkPostmasterChildActive`.
pub(crate) fn mark_child_active() {
    set_my_state(ACTIVE);
}

/// Our session turned out to be a walsender. C: `MarkPostmasterChildWalSender`.
pub fn mark_child_wal_sender() {
    set_my_state(WAL_SENDER);
}

/// We are no longer in shared memory. `release` calls it. C: `MarkPostmasterChildInactive`.
pub(crate) fn mark_child_inactive() {
    set_my_state(ASSIGNED);
}

fn set_my_state(state: u8) {
    if let Some(slot) = slot_state(MY_SLOT.load(Ordering::Relaxed)) {
        slot.store(state, Ordering::Release);
    }
}

fn slot_state(slot: i32) -> Option<&'static AtomicU8> {
    CHILD_SLOTS.try_get()?.get(index_of(slot)?)
}

#[cfg(test)]
mod tests;
