//! What all processes share of WAL, and what each keeps for itself.
//!
//! C counterpart: `XLogCtlData`, `XLogCtlInsert`, `WALInsertLock` and the file-level variables of xlog.c.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

use common::{Lsn, TimeLineId, Xid};
use crossbeam_utils::CachePadded;
use shmem::{LwLock, Reservation, Rounds, ShmVar, SpinLock, shm_struct, tranche};

use crate::layout::{Geometry, XLOG_BLCKSZ};
use crate::{buffers, control_file, recovery};

/// Insertions that may copy at the same time. C: `NUM_XLOGINSERT_LOCKS`.
pub(crate) const INSERT_SLOTS: usize = 8;

/// A slot nobody inserts under.
pub(crate) const IDLE: u64 = 0;
/// A slot whose holder has not told yet how far it is. No position is this small: WAL begins at segment 1.
pub(crate) const BUSY: u64 = 1;

shm_struct! {
    /// Where the next record goes, in usable bytes. C: `CurrBytePos`, `PrevBytePos`.
    pub(crate) struct Positions {
        /// Start of the next record.
        pub(crate) next: u64,
        /// Start of the last one.
        pub(crate) previous: u64,
    }
}

shm_struct! {
    /// How far replay is: each position goes with its timeline.
    pub(crate) struct Replay {
        /// End of the record being replayed, or of the last one. C: `replayEndRecPtr`.
        pub(crate) begun: u64,
        /// End of the last one replayed. C: `lastReplayedEndRecPtr`.
        pub(crate) done: u64,
        /// C: `replayEndTLI`.
        pub(crate) begun_timeline: u32,
        /// C: `lastReplayedTLI`.
        pub(crate) done_timeline: u32,
    }
}

shm_struct! {
    /// One of the insertion locks. C: `WALInsertLock`.
    pub(crate) struct InsertSlot {
        pub(crate) lock: LwLock<()>,
        /// [`IDLE`], [`BUSY`], or: everything before this position has been copied. Set to BUSY before positions are
        /// reserved and to IDLE when the copy is done; whoever has seen a reservation sees this as it was or later.
        pub(crate) busy_at: AtomicU64,
        /// Start of the last important record inserted under it. C: `lastImportantAt`.
        pub(crate) last_important: AtomicU64,
    }
}

shm_struct! {
    /// The shared state. C: `XLogCtlData`.
    pub(crate) struct Shared {
        pub(crate) positions: CachePadded<SpinLock<Positions>>,
        pub(crate) slots: [CachePadded<InsertSlot>; INSERT_SLOTS],
        /// Changes under all insertion locks, read under one. C: `Insert->RedoRecPtr`.
        pub(crate) redo: AtomicU64,
        /// C: `Insert->fullPageWrites`; changes under all insertion locks.
        pub(crate) full_page_writes: AtomicBool,
        /// Backups that need full-page images. C: `Insert->runningBackups`.
        pub(crate) running_backups: AtomicI32,
        /// C: `LogwrtRqst.Write`.
        pub(crate) write_request: CachePadded<AtomicU64>,
        /// C: `LogwrtResult.Write`: on its way to disk. Changes under `write_lock`, before `flushed`.
        pub(crate) written: AtomicU64,
        /// C: `LogwrtResult.Flush`: durable.
        pub(crate) flushed: AtomicU64,
        /// C: `asyncXactLSN`.
        pub(crate) async_commit: AtomicU64,
        /// Who writes the buffers out. C: `WALWriteLock`.
        pub(crate) write_lock: LwLock<()>,
        /// Its holders' rounds: for who wants WAL flushed, by whomever.
        pub(crate) write_rounds: Rounds,
        /// Who makes buffers ready for the next pages. C: `WALBufMappingLock`.
        pub(crate) mapping_lock: LwLock<()>,
        /// End of the last page made ready. C: `InitializedUpTo`.
        pub(crate) initialized_upto: AtomicU64,
        /// C: `InsertTimeLineID`.
        pub(crate) timeline: AtomicU32,
        /// C: `PrevTimeLineID`.
        pub(crate) previous_timeline: AtomicU32,
        /// As in pg_control; goes into long page headers.
        pub(crate) system_identifier: AtomicU64,
        /// `RecoveryState` as a number. C: `SharedRecoveryState`.
        pub(crate) recovery_state: AtomicU32,
        /// C: `WalWriterSleeping`.
        pub(crate) walwriter_sleeping: AtomicBool,
        /// C: `lastRemovedSegNo`.
        pub(crate) last_removed_segment: AtomicU64,
        /// Unix seconds. C: `lastSegSwitchTime`.
        pub(crate) last_switch_time: AtomicI64,
        /// C: `lastSegSwitchLSN`.
        pub(crate) last_switch_lsn: AtomicU64,
        /// Segments may be renamed into place. C: `InstallXLogFileSegmentActive`.
        pub(crate) install_allowed: AtomicBool,
        /// What slots of replication still need. C: `replicationSlotMinLSN`.
        pub(crate) slots_need: AtomicU64,
        /// How far replay is. C: the fields of `XLogRecoveryCtlData` under `info_lck`.
        pub(crate) replay: CachePadded<SpinLock<Replay>>,
        /// `Replay::done` for who must not wait for a lock, and its timeline; each by itself.
        pub(crate) replayed: AtomicU64,
        pub(crate) replayed_timeline: AtomicU32,
    }
}

static SHARED: ShmVar<Shared> = ShmVar::new("XLOG Ctl");

/// The shared state.
#[inline]
pub(crate) fn shared() -> &'static Shared {
    SHARED.get()
}

/// The shared state, or `None` in a process without the segment.
#[inline]
pub(crate) fn try_shared() -> Option<&'static Shared> {
    SHARED.try_get()
}

/// Reserves the shared state of WAL, its buffers (by `wal_buffers`) and the control file's lock. Call it when the settings
/// are read, the size of a segment included. C: `XLOGShmemSize`, `XLOGShmemInit`.
pub fn reserve(reservation: &mut Reservation) {
    control_file::reserve(reservation);
    crate::archive::reserve(reservation);
    recovery::reserve(reservation);
    reservation.var(&SHARED, new_shared);
    let count = buffer_count();
    show_buffer_count(count);
    buffers::reserve(reservation, count);
}

/// `SHOW wal_buffers` tells what was chosen. C: the end of `check_wal_buffers`' story, in `XLOGShmemSize`.
fn show_buffer_count(count: usize) {
    if guc::vars::WAL_BUFFERS.get() >= 0 {
        return;
    }
    let value = count.to_string();
    let shown = guc::set_dynamic_default("wal_buffers", &value);
    // An explicit -1 in the configuration file outranks that.
    if shown.is_ok() && guc::vars::WAL_BUFFERS.get() < 0 {
        let _ = guc::set_internal("wal_buffers", &value);
    }
}

fn new_shared() -> Shared {
    Shared {
        positions: CachePadded::new(SpinLock::new(Positions { next: 0, previous: 0 })),
        slots: std::array::from_fn(|_| {
            CachePadded::new(InsertSlot {
                lock: LwLock::new(tranche::WAL_INSERT, ()),
                busy_at: AtomicU64::new(IDLE),
                last_important: AtomicU64::new(0),
            })
        }),
        redo: AtomicU64::new(0),
        full_page_writes: AtomicBool::new(true),
        running_backups: AtomicI32::new(0),
        write_request: CachePadded::new(AtomicU64::new(0)),
        written: AtomicU64::new(0),
        flushed: AtomicU64::new(0),
        async_commit: AtomicU64::new(0),
        write_lock: LwLock::new(tranche::WAL_WRITE, ()),
        write_rounds: Rounds::new(),
        mapping_lock: LwLock::new(tranche::WAL_BUF_MAPPING, ()),
        initialized_upto: AtomicU64::new(0),
        timeline: AtomicU32::new(0),
        previous_timeline: AtomicU32::new(0),
        system_identifier: AtomicU64::new(0),
        recovery_state: AtomicU32::new(RecoveryState::Crash as u32),
        walwriter_sleeping: AtomicBool::new(false),
        last_removed_segment: AtomicU64::new(0),
        last_switch_time: AtomicI64::new(0),
        last_switch_lsn: AtomicU64::new(0),
        install_allowed: AtomicBool::new(false),
        slots_need: AtomicU64::new(0),
        replay: CachePadded::new(SpinLock::new(Replay {
            begun: 0,
            done: 0,
            begun_timeline: 0,
            done_timeline: 0,
        })),
        replayed: AtomicU64::new(0),
        replayed_timeline: AtomicU32::new(0),
    }
}

/// Pages of WAL buffers: `wal_buffers`, or by itself 1/32 of `shared_buffers`, at least 8 and at most a segment.
/// C: `XLOGChooseNumBuffers`.
pub fn buffer_count() -> usize {
    let configured = guc::vars::WAL_BUFFERS.get();
    if configured >= 0 {
        return configured.max(4) as usize;
    }
    let segment = geometry().segment_size() as usize / XLOG_BLCKSZ;
    (guc::vars::SHARED_BUFFERS.get() as usize / 32).min(segment).max(8)
}

/// By the size of a segment, `wal_segment_size`.
#[inline]
pub fn geometry() -> Geometry {
    Geometry::new(guc::vars::WAL_SEGMENT_SIZE.get() as u32)
}

/// Whether the cluster replays WAL. C: `RecoveryState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RecoveryState {
    /// After a crash. C: `RECOVERY_STATE_CRASH`.
    Crash = 0,
    /// From an archive or as a standby. C: `RECOVERY_STATE_ARCHIVE`.
    Archive = 1,
    /// Not, or no longer. C: `RECOVERY_STATE_DONE`.
    Done = 2,
}

/// How recovery stands, for all processes. C: `GetRecoveryState`.
pub fn recovery_state() -> RecoveryState {
    match shared().recovery_state.load(Ordering::Acquire) {
        0 => RecoveryState::Crash,
        1 => RecoveryState::Archive,
        _ => RecoveryState::Done,
    }
}

/// What a process keeps for itself.
pub(crate) struct Local {
    /// Copy of `Shared::redo`, possibly old. C: `RedoRecPtr`.
    pub(crate) redo: Cell<u64>,
    /// C: `doPageWrites`.
    pub(crate) do_page_writes: Cell<bool>,
    /// Insertion lock to try first. C: `lockToTry`.
    pub(crate) slot: Cell<Option<usize>>,
    /// Recovery is known to be over. C: `LocalRecoveryInProgress`.
    pub(crate) recovery_over: Cell<bool>,
    /// This process may insert whatever the shared flag says. C: `LocalXLogInsertAllowed`.
    pub(crate) insert_allowed: Cell<Option<bool>>,
    /// C: `XactLastRecEnd`.
    pub(crate) xact_last_end: Cell<Lsn>,
    /// C: `ProcLastRecPtr`.
    pub(crate) last_start: Cell<Lsn>,
    /// C: `LocalMinRecoveryPoint`; `None` until it has been read.
    pub(crate) min_recovery_point: Cell<Option<Lsn>>,
}

thread_local! {
    /// This process's part.
    pub(crate) static LOCAL: Local = const {
        Local {
            redo: Cell::new(0),
            do_page_writes: Cell::new(false),
            slot: Cell::new(None),
            recovery_over: Cell::new(false),
            insert_allowed: Cell::new(None),
            xact_last_end: Cell::new(Lsn::INVALID),
            last_start: Cell::new(Lsn::INVALID),
            min_recovery_point: Cell::new(None),
        }
    };
}

/// Is recovery still going on? False for good in a process that has once seen its end, at the price of a load.
/// C: `RecoveryInProgress`.
#[inline]
pub fn in_recovery() -> bool {
    LOCAL.with(|local| {
        if local.recovery_over.get() {
            return false;
        }
        let over = shared().recovery_state.load(Ordering::Acquire) == RecoveryState::Done as u32;
        local.recovery_over.set(over);
        !over
    })
}

/// May this process insert? C: `XLogInsertAllowed`.
#[inline]
pub fn insert_allowed() -> bool {
    LOCAL.with(|local| match local.insert_allowed.get() {
        Some(allowed) => allowed,
        None => {
            let allowed = !in_recovery();
            if allowed {
                local.insert_allowed.set(Some(true));
            }
            allowed
        }
    })
}

/// Overrides [`insert_allowed`] in this process: the startup process writes the end-of-recovery records while recovery
/// still counts as going on; nobody writes after a shutdown checkpoint. `None`: by the shared flag again.
/// C: `LocalSetXLogInsertAllowed`, and the assignments to `LocalXLogInsertAllowed`.
pub fn set_insert_allowed(allowed: Option<bool>) {
    LOCAL.with(|local| local.insert_allowed.set(allowed));
}

/// Timeline that new records are on. C: `GetWALInsertionTimeLine`.
pub fn timeline() -> TimeLineId {
    TimeLineId(shared().timeline.load(Ordering::Relaxed))
}

static XID_SOURCE: OnceLock<fn() -> Xid> = OnceLock::new();
static CHECKPOINT_REQUESTER: OnceLock<fn()> = OnceLock::new();

/// Registers where a record's transaction id comes from: 0 outside a transaction that has one.
/// C: `GetCurrentTransactionIdIfAny`. The first registration counts.
pub fn set_current_xid_source(source: fn() -> Xid) {
    let _ = XID_SOURCE.set(source);
}

/// Registers whom to ask for a checkpoint when so much WAL has been written that it is time for one.
/// C: `RequestCheckpoint(CHECKPOINT_CAUSE_XLOG)`. The first registration counts.
pub fn set_checkpoint_requester(request: fn()) {
    let _ = CHECKPOINT_REQUESTER.set(request);
}

/// This process's transaction id, or 0.
#[inline]
pub(crate) fn current_xid() -> Xid {
    XID_SOURCE.get().map_or(Xid::INVALID, |source| source())
}

/// Asks for a checkpoint, if anybody can be asked.
pub(crate) fn request_checkpoint() {
    if let Some(request) = CHECKPOINT_REQUESTER.get() {
        request();
    }
}
