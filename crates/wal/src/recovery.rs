//! How recovery stands, for everybody to see: pausing, promotion, the time of the last transaction replayed.
//!
//! The startup process writes nearly all of it; sessions read it, and ask for a pause or the end. Everything is an atomic
//! of its own: no two of them have to agree.
//!
//! C counterpart: `XLogRecoveryCtlData` and its accessors, xlogrecovery.c.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::SeqCst};

use common::{BackendType, Lsn};
use shmem::{Reservation, ShmVar, shm_struct};

shm_struct! {
    /// C: `XLogRecoveryCtlData`.
    struct Control {
        /// `PauseState` as a number. C: `recoveryPauseState`.
        pause_state: AtomicU32,
        /// Commit or abort time of the last transaction replayed, 0 before the first. C: `recoveryLastXTime`.
        latest_xact_time: AtomicI64,
        /// When replay of the current piece of WAL began, 0 if it is not known. C: `currentChunkStartTime`.
        chunk_start_time: AtomicI64,
        /// Sessions may read. C: `SharedHotStandbyActive`.
        hot_standby_active: AtomicBool,
        /// The end of recovery has been asked for and heard. C: `SharedPromoteIsTriggered`.
        promote_triggered: AtomicBool,
        /// What is on disk contradicts itself no longer.
        reached_consistency: AtomicBool,
        /// End of the last record replayed that switches `full_page_writes` off. C: `lastFpwDisableRecPtr`.
        fpw_disabled_at: AtomicU64,
    }
}

static CONTROL: ShmVar<Control> = ShmVar::new("XLOG Recovery Ctl");

thread_local! {
    /// C: `reachedConsistency`, and `LocalHotStandbyActive`, `LocalPromoteIsTriggered`: once true, true for good.
    static CONSISTENT: Cell<bool> = const { Cell::new(false) };
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
    static PROMOTED: Cell<bool> = const { Cell::new(false) };
    /// C: `XLogReceiptTime`, and `XLogReceiptSource == XLOG_FROM_STREAM`.
    static RECEIPT: Cell<(i64, bool)> = const { Cell::new((0, false)) };
    /// C: `doRequestWalReceiverReply`.
    static REPLY_WANTED: Cell<bool> = const { Cell::new(false) };
}

/// C: `XLogRecoveryShmemSize`, `XLogRecoveryShmemInit`.
pub(crate) fn reserve(reservation: &mut Reservation) {
    reservation.var(&CONTROL, || Control {
        pause_state: AtomicU32::new(0),
        latest_xact_time: AtomicI64::new(0),
        chunk_start_time: AtomicI64::new(0),
        hot_standby_active: AtomicBool::new(false),
        promote_triggered: AtomicBool::new(false),
        reached_consistency: AtomicBool::new(false),
        fpw_disabled_at: AtomicU64::new(0),
    });
}

/// Whether replay stands still because somebody asked for it. C: `RecoveryPauseState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PauseState {
    /// Replay goes on.
    NotPaused = 0,
    /// Asked for; the startup process has not stopped yet.
    PauseRequested = 1,
    /// It has.
    Paused = 2,
}

impl PauseState {
    /// As `pg_get_wal_replay_pause_state()` shows it.
    pub fn text(self) -> &'static str {
        match self {
            PauseState::NotPaused => "not paused",
            PauseState::PauseRequested => "pause requested",
            PauseState::Paused => "paused",
        }
    }
}

/// C: `GetRecoveryPauseState`.
pub fn pause_state() -> PauseState {
    match CONTROL.get().pause_state.load(SeqCst) {
        0 => PauseState::NotPaused,
        1 => PauseState::PauseRequested,
        _ => PauseState::Paused,
    }
}

/// Asks for a pause, which [`confirm_paused`] then tells to have come; or ends it, and wakes the startup process.
/// C: `SetRecoveryPause`.
pub fn set_pause(pause: bool) {
    let state = &CONTROL.get().pause_state;
    if pause {
        change(PauseState::NotPaused, PauseState::PauseRequested);
    } else {
        state.store(PauseState::NotPaused as u32, SeqCst);
        wakeup();
    }
}

/// The startup process stands still now, if a pause is still wanted. C: `ConfirmRecoveryPaused`.
pub fn confirm_paused() {
    change(PauseState::PauseRequested, PauseState::Paused);
}

fn change(from: PauseState, to: PauseState) {
    let _ = CONTROL.get().pause_state.compare_exchange(from as u32, to as u32, SeqCst, SeqCst);
}

/// When the last transaction replayed committed or aborted, in microseconds since 2000-01-01. C: `GetLatestXTime`.
pub fn latest_xact_time() -> Option<i64> {
    nonzero(&CONTROL.get().latest_xact_time)
}

/// See [`latest_xact_time`]. C: `SetLatestXTime`.
pub fn set_latest_xact_time(pg_micros: i64) {
    CONTROL.get().latest_xact_time.store(pg_micros, SeqCst);
}

/// When replay of the current piece of WAL began, in microseconds since 2000-01-01.
/// C: `GetCurrentChunkReplayStartTime`.
pub fn chunk_start_time() -> Option<i64> {
    nonzero(&CONTROL.get().chunk_start_time)
}

/// See [`chunk_start_time`]; 0 for none. C: `SetCurrentChunkStartTime`.
pub fn set_chunk_start_time(pg_micros: i64) {
    CONTROL.get().chunk_start_time.store(pg_micros, SeqCst);
}

/// In the startup process: when the WAL being replayed came, in microseconds since 2000-01-01 (0 before any has), and whether a
/// primary sent it. C: `GetXLogReceiptTime`.
pub fn receipt() -> (i64, bool) {
    RECEIPT.get()
}

/// See [`receipt`]; without a time, that of before stays.
pub fn set_receipt(pg_micros: Option<i64>, from_stream: bool) {
    RECEIPT.set((pg_micros.unwrap_or(RECEIPT.get().0), from_stream));
}

/// The record being replayed is one whose replay somebody on the primary waits for. C: `XLogRequestWalReceiverReply`.
pub fn request_reply() {
    REPLY_WANTED.set(true);
}

/// Was there one? Once.
pub fn take_reply_request() -> bool {
    REPLY_WANTED.take()
}

fn nonzero(time: &AtomicI64) -> Option<i64> {
    Some(time.load(SeqCst)).filter(|time| *time != 0)
}

/// May sessions read already? C: `HotStandbyActive`.
pub fn hot_standby_active() -> bool {
    latched(&ACTIVE, &CONTROL.get().hot_standby_active)
}

/// From now on sessions may read.
pub fn set_hot_standby_active() {
    CONTROL.get().hot_standby_active.store(true, SeqCst);
}

/// Is recovery about to end because of a promotion? C: `PromoteIsTriggered`.
pub fn promote_is_triggered() -> bool {
    latched(&PROMOTED, &CONTROL.get().promote_triggered)
}

/// A promotion has been asked for and heard; a pause ends with it. C: `SetPromoteIsTriggered`.
pub fn set_promote_triggered() {
    CONTROL.get().promote_triggered.store(true, SeqCst);
    PROMOTED.set(true);
    // Whoever waits for the end of the pause waits for the end of recovery now.
    set_pause(false);
}

/// Has replay come so far that the data can be trusted? The startup process sets it; for the others it is a hint that may
/// come a little late. C: `reachedConsistency`.
pub fn reached_consistency() -> bool {
    latched(&CONSISTENT, &CONTROL.get().reached_consistency)
}

/// See [`reached_consistency`].
pub fn set_reached_consistency() {
    CONTROL.get().reached_consistency.store(true, SeqCst);
    CONSISTENT.set(true);
}

/// Where `full_page_writes` was last switched off in the WAL replayed: a backup taken from a standby that began before is
/// worth nothing. [`Lsn::INVALID`] if it never was. C: `lastFpwDisableRecPtr`.
pub fn fpw_disabled_at() -> Lsn {
    Lsn(CONTROL.get().fpw_disabled_at.load(SeqCst))
}

/// See [`fpw_disabled_at`]; it never goes back.
pub(crate) fn note_fpw_disabled(at: Lsn) {
    if let Some(control) = CONTROL.try_get() {
        control.fpw_disabled_at.fetch_max(at.0, SeqCst);
    }
}

fn latched(local: &'static std::thread::LocalKey<Cell<bool>>, shared: &AtomicBool) -> bool {
    if !local.get() && shared.load(SeqCst) {
        local.set(true);
    }
    local.get()
}

/// Wakes the startup process, if there is one. C: `WakeupRecovery`.
pub fn wakeup() {
    if let Some(startup) = shmem::proc::auxiliary(BackendType::Startup) {
        shmem::latch::set(&startup.latch);
    }
}
