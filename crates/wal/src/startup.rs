//! WAL from the start of the cluster to the moment when sessions may write.
//!
//! The startup process calls, in this order: [`attach`] when it has read pg_control; [`begin_redo`] if there is something
//! to replay; [`find_end`] after the last record; [`begin_writing`] (this process may insert from here on);
//! [`finish`] (everybody may).
//!
//! C counterpart: the WAL parts of `StartupXLOG`, xlog.c; `FinishWalRecovery`.

use std::sync::atomic::Ordering;

use common::pg_control::ControlFileData;
use common::{Lsn, TimeLineId};

use crate::layout::{XLOG_BLCKSZ, page_start};
use crate::reader::{BrokenRecord, ReadError, Reader};
use crate::shared::{LOCAL, RecoveryState, geometry, set_insert_allowed, shared};
use crate::{buffers, write};

/// Makes pg_control's facts known to all: identifier, timeline, redo pointer. C: the first part of `StartupXLOG`.
pub fn attach(control: &ControlFileData) {
    let shared = shared();
    let checkpoint = &control.checkpoint_copy;
    shared.system_identifier.store(control.system_identifier, Ordering::Relaxed);
    shared.timeline.store(checkpoint.this_timeline.0, Ordering::Relaxed);
    shared.previous_timeline.store(checkpoint.prev_timeline.0, Ordering::Relaxed);
    shared.full_page_writes.store(checkpoint.full_page_writes, Ordering::Relaxed);
    set_redo(checkpoint.redo);
}

/// Replay starts here. `archive`: from an archive or a primary, not after a crash.
pub fn begin_redo(redo: Lsn, archive: bool) {
    let state = if archive { RecoveryState::Archive } else { RecoveryState::Crash };
    shared().recovery_state.store(state as u32, Ordering::Release);
    shared().install_allowed.store(!archive, Ordering::Release);
    set_redo(redo);
}

fn set_redo(redo: Lsn) {
    shared().redo.store(redo.0, Ordering::Release);
    LOCAL.with(|local| local.redo.set(redo.0));
}

/// The value of `full_page_writes` that replay has arrived at. C: `lastFullPageWrites`.
pub fn set_full_page_writes(on: bool) {
    shared().full_page_writes.store(on, Ordering::Relaxed);
}

/// Where WAL ends, and what is needed to go on from there. C: `EndOfWalRecoveryInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndOfWal {
    /// The next record starts here (or behind a page header that is here).
    pub end: Lsn,
    /// Start of the last record: the next one links to it.
    pub last_record: Lsn,
    /// The last page up to `end`; empty if `end` is at a page's start.
    pub last_page: Vec<u8>,
    /// A record behind `end` whose continuation is missing; then `end` is the page where the continuation should be.
    pub broken: Option<BrokenRecord>,
}

/// Reads the last valid record again and the page it ends on. `broken` is the reader's word for why there is no next one.
/// C: `FinishWalRecovery`.
///
/// # Errors
/// If the record can no longer be read.
pub fn find_end(
    reader: &mut Reader,
    last_record: Lsn,
    broken: Option<BrokenRecord>,
) -> Result<EndOfWal, ReadError> {
    if let Some(broken) = broken {
        // What the broken record has already written stays; writing goes on at the page that should have continued it.
        return Ok(EndOfWal {
            end: broken.missing,
            last_record,
            last_page: Vec::new(),
            broken: Some(broken),
        });
    }
    reader.begin_read(last_record);
    let Some(record) = reader.next()? else {
        return Ok(EndOfWal { end: last_record, last_record, last_page: Vec::new(), broken: None });
    };
    let end = record.end_lsn;
    let len = (end.0 % XLOG_BLCKSZ as u64) as usize;
    let last_page = if len == 0 { Vec::new() } else { reader.page_bytes(page_start(end), len)? };
    Ok(EndOfWal { end, last_record, last_page, broken: None })
}

/// Sets the positions so that the next record continues there; this process may insert from now on. The caller then
/// writes what belongs first: see [`log_overwrite_contrecord`](crate::records::log_overwrite_contrecord) if
/// [`EndOfWal::broken`] is set.
pub fn begin_writing(at: &EndOfWal, timeline: TimeLineId, previous_timeline: TimeLineId) {
    let (shared, geometry) = (shared(), geometry());
    shared.timeline.store(timeline.0, Ordering::Relaxed);
    shared.previous_timeline.store(previous_timeline.0, Ordering::Relaxed);
    {
        let mut positions = shared.positions.lock();
        positions.next = geometry.byte_pos(at.end);
        positions.previous = geometry.byte_pos(at.last_record);
    }
    let mut initialized = at.end;
    if !at.last_page.is_empty() {
        let page = page_start(at.end);
        let index = buffers::index_of(at.end);
        buffers::zero(index);
        buffers::write(index, 0, &at.last_page);
        initialized = page + XLOG_BLCKSZ as u64;
        buffers::ends()[index].store(initialized.0, Ordering::Release);
    }
    debug_assert!(initialized.0.is_multiple_of(XLOG_BLCKSZ as u64), "the last page of WAL is missing");
    shared.initialized_upto.store(initialized.0, Ordering::Release);
    for word in [&shared.written, &shared.flushed, &*shared.write_request, &shared.last_switch_lsn] {
        word.store(at.end.0, Ordering::Release);
    }
    shared.last_switch_time.store(write::unix_seconds(), Ordering::Relaxed);
    shared.install_allowed.store(true, Ordering::Release);
    set_insert_allowed(Some(true));
}

/// Recovery is over for everybody: sessions may write. C: the end of `StartupXLOG`.
pub fn finish() {
    set_insert_allowed(None);
    shared().recovery_state.store(RecoveryState::Done as u32, Ordering::Release);
}
