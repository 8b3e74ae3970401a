//! Replaying the records of WAL itself: checkpoints, page images, object ids.
//!
//! C counterpart: `xlog_redo` of xlog.c, `xlogrecovery_redo` of xlogrecovery.c.

use std::cell::Cell;

use common::pg_control::CheckPoint;
use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, ereport, fatal, pg_error};
use storage::redo::RedoAction;
use transam::StartupState;
use transam::standby::StandbyState;
use wal::DecodedRecord;
use wal::checkpoint::info;
use wal::redo::XlogRecord;

use crate::redo::{self, Purpose, Reader};
use crate::{consistency, state};

/// An overwriting record, until the loop has compared it with what the reader found.
#[derive(Clone, Copy, Debug)]
struct Overwrite {
    /// The broken record that it stands for.
    lsn: Lsn,
    /// When it was written, as PostgreSQL counts time.
    time: i64,
}

thread_local! {
    /// `full_page_writes` as WAL last told. C: `lastFullPageWrites`.
    static FULL_PAGE_WRITES: Cell<bool> = const { Cell::new(true) };
    static OVERWRITE: Cell<Option<Overwrite>> = const { Cell::new(None) };
}

/// See the cell; from the checkpoint record at first.
pub(crate) fn set_full_page_writes(on: bool) {
    FULL_PAGE_WRITES.set(on);
}

/// See the cell.
pub(crate) fn full_page_writes() -> bool {
    FULL_PAGE_WRITES.get()
}

/// C: `xlog_redo`, `xlogrecovery_redo`.
pub(crate) fn redo(record: &DecodedRecord<'_>) -> Result<()> {
    match wal::redo::redo(record)? {
        // Exactly this: it may also go around.
        XlogRecord::NextOid(oid) => transam::varsup::redo_next_oid(oid, true),
        XlogRecord::Checkpoint { checkpoint, shutdown } => redo_checkpoint(record, &checkpoint, shutdown)?,
        XlogRecord::Images => return restore_images(record),
        XlogRecord::FullPageWrites(on) => FULL_PAGE_WRITES.set(on),
        XlogRecord::OverwriteContrecord(lsn) => {
            let time = record.main_data.get(8..).and_then(<[u8]>::first_chunk::<8>);
            let time = time.map_or(0, |bytes| i64::from_le_bytes(*bytes));
            OVERWRITE.set(Some(Overwrite { lsn, time }));
        }
        XlogRecord::EndOfRecovery { timeline, .. } => check_timeline(timeline, "end-of-recovery")?,
        XlogRecord::BackupEnd(start) => consistency::note_backup_end(start, record.end_lsn),
        XlogRecord::ParameterChange(_) => {
            // pg_control has them already.
            consistency::check_required_settings(&wal::control_file::read()?)?;
        }
        XlogRecord::Nothing => {}
    }
    Ok(())
}

/// `timelines::follow` has been there before: a record that begins a timeline is on it, all others stay on theirs.
fn check_timeline(found: TimeLineId, kind: &'static str) -> Result<()> {
    let expected = state::with(|state| state.replay_timeline.get());
    if found == expected {
        return Ok(());
    }
    let text = format!("unexpected timeline ID {} (should be {}) in {kind} record", found.0, expected.0);
    Err(pg_error!(Panic, SqlState::INTERNAL_ERROR, "{text}"))
}

/// A shutdown checkpoint's counters are exact, an online one's may lag behind what was replayed since. C: in `xlog_redo`.
fn redo_checkpoint(record: &DecodedRecord<'_>, checkpoint: &CheckPoint, shutdown: bool) -> Result<()> {
    transam::redo_checkpoint(&StartupState::of_checkpoint(checkpoint), shutdown);
    if shutdown {
        let waiting = state::with(|state| {
            state.backup_start.get() != Lsn::INVALID && state.backup_end.get() == Lsn::INVALID
        });
        if state::archive_requested() && waiting {
            let text = "online backup was canceled, recovery cannot continue";
            return Err(pg_error!(Panic, SqlState::INTERNAL_ERROR, "{text}"));
        }
        if transam::standby::state() >= StandbyState::Initialized {
            let (_, prepared) = transam::twophase::prescan()?;
            transam::standby::shutdown_checkpoint_replayed(checkpoint, &prepared)?;
        }
    }
    let kind = if shutdown { "shutdown checkpoint" } else { "online checkpoint" };
    check_timeline(checkpoint.this_timeline, kind)?;
    checkpointer::restartpoint::record_checkpoint(checkpoint, record.lsn, record.end_lsn);
    Ok(())
}

/// After a record: an earlier recovery found a record without its end and wrote another in place of the rest; the reader
/// must have come across the same one. C: `VerifyOverwriteContrecord`.
///
/// # Errors
/// FATAL if it has not.
pub(crate) fn verify_overwrite(found: Option<Lsn>) -> Result<()> {
    let Some(Overwrite { lsn, time }) = OVERWRITE.take() else { return Ok(()) };
    let found = found.unwrap_or(Lsn::INVALID);
    if lsn != found {
        return Err(fatal!(SqlState::INTERNAL_ERROR, "mismatching overwritten LSN {lsn} -> {found}"));
    }
    let at = guc::timestamptz_text(time);
    ereport!(Log, "successfully skipped missing contrecord at {lsn}, overwritten at {at}");
    Ok(())
}

/// Full-page images without anything else.
fn restore_images(record: &DecodedRecord<'_>) -> Result<()> {
    let ids: Vec<u8> = record.blocks().map(|block| block.id).collect();
    for id in ids {
        let has_image = record.block(id).is_some_and(|block| block.has_image());
        if !has_image {
            if record.operation() == info::FPI {
                return Err(fatal!(
                    SqlState::INTERNAL_ERROR,
                    "XLOG_FPI record did not contain a full-page image"
                ));
            }
            continue;
        }
        let RedoAction::Restored(_) = storage::redo::read_for_redo(record, id)? else {
            return Err(fatal!(
                SqlState::INTERNAL_ERROR,
                "unexpected XLogReadBufferForRedo result when restoring backup block"
            ));
        };
    }
    Ok(())
}

/// Who says where a checkpoint's record is; the words of a complaint differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckpointPlace {
    /// pg_control.
    ControlFile,
    /// `backup_label`.
    Label,
}

/// A checkpoint's record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FoundCheckpoint {
    pub(crate) checkpoint: CheckPoint,
    /// It is one of a shutdown.
    pub(crate) shutdown: bool,
    /// End of the record.
    pub(crate) end: Lsn,
}

/// The checkpoint record at a position. `None` after a LOG line that says what is wrong with it.
/// C: `ReadCheckpointRecord`.
///
/// # Errors
/// As [`redo::read_with`].
pub(crate) fn read_checkpoint(
    reader: &mut Reader,
    lsn: Lsn,
    place: CheckpointPlace,
    timeline: TimeLineId,
) -> Result<Option<FoundCheckpoint>> {
    let which = if place == CheckpointPlace::ControlFile { "primary " } else { "" };
    let complain = |what: &str| {
        ereport!(Log, "{what} {which}checkpoint record");
        Ok(None)
    };
    if !is_valid_record_start(lsn) {
        match place {
            CheckpointPlace::ControlFile => {
                ereport!(Log, "invalid primary checkpoint link in control file");
            }
            CheckpointPlace::Label => ereport!(Log, "invalid checkpoint link in backup_label file"),
        }
        return Ok(None);
    }
    redo::begin_read(reader, lsn, timeline);
    match redo::read_with(reader, Purpose::Checkpoint, &mut |record| Ok(parse_checkpoint(record)))? {
        None => complain("invalid"),
        Some(Err(what)) => complain(what),
        Some(Ok(found)) => Ok(Some(found)),
    }
}

fn parse_checkpoint(record: &DecodedRecord<'_>) -> Result<FoundCheckpoint, &'static str> {
    if record.rmgr != wal::RmgrId::Xlog as u8 {
        return Err("invalid resource manager ID in");
    }
    let shutdown = match record.operation() {
        info::CHECKPOINT_SHUTDOWN => true,
        info::CHECKPOINT_ONLINE => false,
        _ => return Err("invalid xl_info in"),
    };
    match CheckPoint::from_bytes(record.main_data) {
        Some(checkpoint) if record.main_data.len() == CheckPoint::SIZE => {
            Ok(FoundCheckpoint { checkpoint, shutdown, end: record.end_lsn })
        }
        _ => Err("invalid length of"),
    }
}

/// A record never starts within a page's header. C: `XRecOffIsValid`.
pub(crate) fn is_valid_record_start(lsn: Lsn) -> bool {
    lsn.0 % wal::layout::XLOG_BLCKSZ as u64 >= wal::layout::SHORT_HEADER as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_start_behind_page_headers() {
        for (lsn, valid) in [(0, false), (23, false), (24, true), (8192, false), (8192 + 40, true)] {
            assert_eq!(is_valid_record_start(Lsn(lsn)), valid, "{lsn}");
        }
    }
}
