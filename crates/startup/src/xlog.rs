//! Replaying the records of WAL itself: checkpoints, page images, object ids.
//!
//! C counterpart: `xlog_redo` of xlog.c, `xlogrecovery_redo` of xlogrecovery.c.

use std::cell::Cell;

use common::pg_control::CheckPoint;
use common::{Lsn, SqlState};
use elog::{Result, Severity, ereport, fatal};
use storage::redo::RedoAction;
use transam::StartupState;
use wal::DecodedRecord;
use wal::checkpoint::info;
use wal::redo::XlogRecord;

/// C: `xlog_identify`.
pub(crate) fn identify(info_byte: u8) -> Option<&'static str> {
    Some(match info_byte & !wal::INFO_MASK {
        info::CHECKPOINT_SHUTDOWN => "CHECKPOINT_SHUTDOWN",
        info::CHECKPOINT_ONLINE => "CHECKPOINT_ONLINE",
        info::NOOP => "NOOP",
        info::NEXT_OID => "NEXTOID",
        info::SWITCH => "SWITCH",
        info::BACKUP_END => "BACKUP_END",
        info::PARAMETER_CHANGE => "PARAMETER_CHANGE",
        info::RESTORE_POINT => "RESTORE_POINT",
        info::FPW_CHANGE => "FPW_CHANGE",
        info::END_OF_RECOVERY => "END_OF_RECOVERY",
        info::OVERWRITE_CONTRECORD => "OVERWRITE_CONTRECORD",
        info::FPI => "FPI",
        info::FPI_FOR_HINT => "FPI_FOR_HINT",
        _ => return None,
    })
}

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

/// C: `xlog_redo`.
pub(crate) fn redo(record: &DecodedRecord<'_>) -> Result<()> {
    match wal::redo::redo(record)? {
        // Exactly this: it may also go around.
        XlogRecord::NextOid(oid) => transam::varsup::redo_next_oid(oid, true),
        // A shutdown checkpoint's counters are exact, an online one's may lag behind what was replayed since.
        XlogRecord::Checkpoint { checkpoint, shutdown } => {
            transam::redo_checkpoint(&StartupState::of_checkpoint(&checkpoint), shutdown);
        }
        XlogRecord::Images => return restore_images(record),
        XlogRecord::FullPageWrites(on) => FULL_PAGE_WRITES.set(on),
        XlogRecord::OverwriteContrecord(lsn) => {
            let time = record.main_data.get(8..).and_then(<[u8]>::first_chunk::<8>);
            let time = time.map_or(0, |bytes| i64::from_le_bytes(*bytes));
            OVERWRITE.set(Some(Overwrite { lsn, time }));
        }
        // The end of an earlier recovery, whose timeline is ours; settings are in pg_control already; the end of
        // a backup matters to a recovery from it.
        XlogRecord::EndOfRecovery { .. }
        | XlogRecord::ParameterChange(_)
        | XlogRecord::BackupEnd(_)
        | XlogRecord::Nothing => {}
    }
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
    let at = crate::timestamp_text_micros(time);
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

/// The checkpoint record at a position, and whether it is that of a shutdown. `None` after a LOG line that says
/// what is wrong with it. C: `ReadCheckpointRecord`.
pub(crate) fn read_checkpoint(reader: &mut wal::Reader, lsn: Lsn) -> Option<(CheckPoint, bool, Lsn)> {
    let complain = |text: &'static str| {
        ereport!(Log, "{text}");
        None
    };
    if !is_valid_record_start(lsn) {
        return complain("invalid primary checkpoint link in control file");
    }
    reader.begin_read(lsn);
    let Some(record) = crate::redo::read_record(reader, Severity::Log) else {
        return complain("invalid primary checkpoint record");
    };
    if record.rmgr != wal::RmgrId::Xlog as u8 {
        return complain("invalid resource manager ID in primary checkpoint record");
    }
    let shutdown = match record.operation() {
        info::CHECKPOINT_SHUTDOWN => true,
        info::CHECKPOINT_ONLINE => false,
        _ => return complain("invalid xl_info in primary checkpoint record"),
    };
    match CheckPoint::from_bytes(record.main_data) {
        Some(checkpoint) if record.main_data.len() == CheckPoint::SIZE => {
            Some((checkpoint, shutdown, record.end_lsn))
        }
        _ => complain("invalid length of primary checkpoint record"),
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
        assert_eq!(identify(0x10), Some("CHECKPOINT_ONLINE"));
        assert_eq!(identify(0xF0), None);
    }
}
