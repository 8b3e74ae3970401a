//! The WAL half of a checkpoint: where replay will start, and the record that says so.
//!
//! The order that makes it right (C: `CreateCheckPoint`), with the caller's part in brackets:
//!
//! 1. [`begin`]: with all insertion locks held, the current position becomes the redo pointer. Every change before it is
//!    in a record before it; every later change of a page takes a full image again.
//! 2. \[Wait for transactions that have logged their commit but not yet set it; write the commit log and all buffers
//!    that were dirty at 1.\]
//! 3. [`write()`]: the record, flushed.
//! 4. \[pg_control points to it.\]
//! 5. [`recycle::after_checkpoint`](crate::recycle::after_checkpoint).
//!
//! C counterpart: the WAL parts of `CreateCheckPoint` and `CreateEndOfRecoveryRecord`, xlog.c.

use std::sync::atomic::Ordering;

use common::pg_control::CheckPoint;
use common::{Lsn, SqlState, TimeLineId};
use elog::pg_error;

use crate::insert::{self, insert_lsn, last_important_lsn};
use crate::shared::{LOCAL, set_insert_allowed, shared};
use crate::slots::AllSlots;
use crate::{Record, RmgrId, write};

/// Record types of resource manager XLOG. C: pg_control.h.
pub mod info {
    /// C: `XLOG_CHECKPOINT_SHUTDOWN`.
    pub const CHECKPOINT_SHUTDOWN: u8 = 0x00;
    /// C: `XLOG_CHECKPOINT_ONLINE`.
    pub const CHECKPOINT_ONLINE: u8 = 0x10;
    /// C: `XLOG_NOOP`.
    pub const NOOP: u8 = 0x20;
    /// C: `XLOG_NEXTOID`.
    pub const NEXT_OID: u8 = 0x30;
    /// C: `XLOG_SWITCH`.
    pub const SWITCH: u8 = super::insert::XLOG_SWITCH;
    /// C: `XLOG_BACKUP_END`.
    pub const BACKUP_END: u8 = 0x50;
    /// C: `XLOG_PARAMETER_CHANGE`.
    pub const PARAMETER_CHANGE: u8 = 0x60;
    /// C: `XLOG_RESTORE_POINT`.
    pub const RESTORE_POINT: u8 = 0x70;
    /// C: `XLOG_FPW_CHANGE`.
    pub const FPW_CHANGE: u8 = 0x80;
    /// C: `XLOG_END_OF_RECOVERY`.
    pub const END_OF_RECOVERY: u8 = 0x90;
    /// C: `XLOG_FPI_FOR_HINT`.
    pub const FPI_FOR_HINT: u8 = 0xA0;
    /// C: `XLOG_FPI`.
    pub const FPI: u8 = 0xB0;
    /// C: `XLOG_OVERWRITE_CONTRECORD`.
    pub const OVERWRITE_CONTRECORD: u8 = 0xD0;
}

/// Where a checkpoint begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedoPoint {
    /// Replay will start here.
    pub redo: Lsn,
    /// `full_page_writes` at that moment.
    pub full_page_writes: bool,
    /// Timeline of the record.
    pub timeline: TimeLineId,
    /// Timeline before it.
    pub previous_timeline: TimeLineId,
}

/// Step 1. `unless_idle_since` is the position of the last checkpoint's record, for a checkpoint that is left out when
/// nothing important has been logged after it; `None` for one that must be done. Returns `None` if it was left out.
pub fn begin(unless_idle_since: Option<Lsn>) -> Option<RedoPoint> {
    let shared = shared();
    // Before the locks: it takes each of them.
    let last_important = last_important_lsn();
    let all = AllSlots::take();
    if unless_idle_since == Some(last_important) {
        return None;
    }
    let redo = insert_lsn();
    debug_assert!(redo.0 >= shared.redo.load(Ordering::Relaxed), "the redo pointer would move back");
    shared.redo.store(redo.0, Ordering::Release);
    LOCAL.with(|local| local.redo.set(redo.0));
    let point = RedoPoint {
        redo,
        full_page_writes: shared.full_page_writes.load(Ordering::Relaxed),
        timeline: TimeLineId(shared.timeline.load(Ordering::Relaxed)),
        previous_timeline: TimeLineId(shared.previous_timeline.load(Ordering::Relaxed)),
    };
    drop(all);
    Some(point)
}

/// A restartpoint begins: from here on so much WAL is counted as replayed since the last one as lies behind its redo pointer.
/// C: the assignments to `RedoRecPtr` in `CreateRestartPoint`.
pub fn set_restart_redo(redo: Lsn) {
    let _all = AllSlots::take();
    shared().redo.store(redo.0, Ordering::Release);
    LOCAL.with(|local| local.redo.set(redo.0));
}

/// Where a checkpoint's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its start: what pg_control points to.
    pub start: Lsn,
    /// Its end plus one.
    pub end: Lsn,
}

/// Step 3: writes and flushes the record. After a shutdown checkpoint this process cannot write WAL any more.
///
/// A shutdown checkpoint with records between its redo pointer and itself is a PANIC: somebody was still at work.
pub fn write(checkpoint: &CheckPoint, shutdown: bool) -> Written {
    let body = checkpoint.to_bytes();
    let kind = if shutdown { info::CHECKPOINT_SHUTDOWN } else { info::CHECKPOINT_ONLINE };
    let mut record = Record::new(RmgrId::Xlog, kind);
    record.data(&body[..]);
    let end = record.insert();
    let start = insert::last_record_start();
    write::flush(end);
    if shutdown {
        set_insert_allowed(Some(false));
        if checkpoint.redo != start {
            elog::abort(pg_error!(
                Panic,
                SqlState::INTERNAL_ERROR,
                "concurrent write-ahead log activity while database system is shutting down"
            ));
        }
    }
    Written { start, end }
}

/// The current redo pointer: a page with an LSN at or before it takes a full image at its next change.
/// C: `GetRedoRecPtr`.
pub fn redo_ptr() -> Lsn {
    Lsn(shared().redo.load(Ordering::Acquire))
}
