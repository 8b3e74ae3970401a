//! WAL from the start of the cluster to the moment when sessions may write.
//!
//! The startup process calls, in this order: [`attach`] when it has read pg_control; [`begin_redo`] if there is something
//! to replay; [`find_end`] after the last record; [`begin_writing`] (this process may insert from here on);
//! [`finish`] (everybody may).
//!
//! Archive recovery adds: [`switch_into_archive_recovery`] if it began as a crash recovery, [`reached_end_of_backup`];
//! at its end [`init_new_timeline`](crate::timeline_switch::init_new_timeline) before [`begin_writing`] and
//! [`clean_up_after_archive_recovery`](crate::timeline_switch::clean_up_after_archive_recovery) behind it.
//!
//! C counterpart: the WAL parts of `StartupXLOG`, xlog.c; `FinishWalRecovery`.

use std::sync::atomic::Ordering;

use common::pg_control::{ControlFileData, DbState};
use common::{Lsn, TimeLineId};
use elog::Result;

use crate::control_file::{self, CONTROL_FILE_LOCK};
use crate::layout::{XLOG_BLCKSZ, page_start};
use crate::reader::{BrokenRecord, PageSource, ReadError, Reader};
use crate::shared::{LOCAL, RecoveryState, geometry, set_insert_allowed, shared};
use crate::{buffers, recovery_point, write};

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

/// Crash recovery has come to the end of the WAL that is there, and goes on as archive recovery: from here on there is a
/// point that the next recovery must reach, at least `end`. C: `SwitchIntoArchiveRecovery`.
///
/// # Errors
/// What reading or writing pg_control returns.
pub fn switch_into_archive_recovery(end: Lsn, timeline: TimeLineId) -> Result<()> {
    control_file::update(|control| {
        control.state = DbState::InArchiveRecovery;
        if control.min_recovery_point < end {
            control.min_recovery_point = end;
            control.min_recovery_point_timeline = timeline;
        }
    })?;
    recovery_point::forget();
    // Behind pg_control: whoever writes a page and sees this finds the point there.
    shared().recovery_state.store(RecoveryState::Archive as u32, Ordering::Release);
    shared().install_allowed.store(false, Ordering::Release);
    Ok(())
}

/// The record that ends the backup has been replayed: what is on disk is as old as its WAL says. C: `ReachedEndOfBackup`.
///
/// # Errors
/// What reading or writing pg_control returns.
pub fn reached_end_of_backup(end: Lsn, timeline: TimeLineId) -> Result<()> {
    control_file::update(|control| {
        if control.min_recovery_point < end {
            control.min_recovery_point = end;
            control.min_recovery_point_timeline = timeline;
        }
        control.backup_start_point = Lsn::INVALID;
        control.backup_end_point = Lsn::INVALID;
        control.backup_end_required = false;
    })?;
    recovery_point::forget();
    Ok(())
}

/// Whether segments may be made and renamed into place: not while they come from the archive, which could have others of the
/// same names. C: `SetInstallXLogFileSegmentActive`, `ResetInstallXLogFileSegmentActive`.
pub fn set_install_allowed(allowed: bool) {
    let _updates = CONTROL_FILE_LOCK.try_get().map(|lock| lock.exclusive());
    shared().install_allowed.store(allowed, Ordering::Release);
}

/// See [`set_install_allowed`]. C: `IsInstallXLogFileSegmentActive`.
pub fn install_allowed() -> bool {
    shared().install_allowed.load(Ordering::Acquire)
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
pub fn find_end<S: PageSource>(
    reader: &mut Reader<S>,
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
    write::close();
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
