//! Records of resource manager XLOG, for replay.
//!
//! What can be done without upper layers is done here; the rest is handed to the caller as an [`XlogRecord`].
//!
//! C counterpart: `xlog_redo`, xlog.c.

use common::pg_control::CheckPoint;
use common::{Lsn, Oid, SqlState, TimeLineId};
use elog::{Result, error};

use crate::checkpoint::info;
use crate::layout::{u32_at, u64_at};
use crate::records::Parameters;
use crate::shared::{RecoveryState, recovery_state};
use crate::{DecodedRecord, control_file, recovery, recovery_point};

/// What a record of resource manager XLOG says.
#[derive(Clone, Debug, PartialEq)]
pub enum XlogRecord {
    /// Nothing to replay: a switch, a no-op, a restore point.
    Nothing,
    /// Oids below this one may have been given out.
    NextOid(Oid),
    /// A checkpoint: counters to take over, and a place for a restart point.
    Checkpoint {
        /// Its contents.
        checkpoint: Box<CheckPoint>,
        /// No transaction was running.
        shutdown: bool,
    },
    /// A timeline began without a checkpoint.
    EndOfRecovery {
        /// The new one.
        timeline: TimeLineId,
        /// The one before.
        previous: TimeLineId,
    },
    /// Page images: the caller restores every block that has one.
    Images,
    /// Settings of the primary have changed; pg_control knows it already if [`redo`] returned this.
    ParameterChange(Parameters),
    /// `full_page_writes` from here on.
    FullPageWrites(bool),
    /// A backup that started at this position ends here.
    BackupEnd(Lsn),
    /// Replaces a broken record that started at this position.
    OverwriteContrecord(Lsn),
}

/// Decodes without any effect.
///
/// # Errors
/// XX000 with `xlog_redo: unknown op code`, or if the record is too short.
pub fn parse(record: &DecodedRecord<'_>) -> Result<XlogRecord> {
    let data = record.main_data;
    let at_least = |len: usize| {
        if data.len() >= len {
            return Ok(());
        }
        Err(error!(SqlState::DATA_CORRUPTED, "record with invalid length at {}", record.lsn))
    };
    Ok(match record.operation() {
        info::CHECKPOINT_SHUTDOWN | info::CHECKPOINT_ONLINE => {
            at_least(88)?;
            let Some(checkpoint) = CheckPoint::from_bytes(&data[..88]) else {
                return Err(error!(SqlState::DATA_CORRUPTED, "record with invalid length at {}", record.lsn));
            };
            let shutdown = record.operation() == info::CHECKPOINT_SHUTDOWN;
            XlogRecord::Checkpoint { checkpoint: Box::new(checkpoint), shutdown }
        }
        info::NOOP | info::SWITCH | info::RESTORE_POINT => XlogRecord::Nothing,
        info::NEXT_OID => {
            at_least(4)?;
            XlogRecord::NextOid(Oid(u32_at(data, 0)))
        }
        info::BACKUP_END => {
            at_least(8)?;
            XlogRecord::BackupEnd(Lsn(u64_at(data, 0)))
        }
        info::PARAMETER_CHANGE => match Parameters::from_bytes(data) {
            Some(parameters) => XlogRecord::ParameterChange(parameters),
            None => {
                at_least(26)?;
                XlogRecord::Nothing
            }
        },
        info::FPW_CHANGE => {
            at_least(1)?;
            XlogRecord::FullPageWrites(data[0] != 0)
        }
        info::END_OF_RECOVERY => {
            at_least(16)?;
            XlogRecord::EndOfRecovery {
                timeline: TimeLineId(u32_at(data, 8)),
                previous: TimeLineId(u32_at(data, 12)),
            }
        }
        info::FPI | info::FPI_FOR_HINT => XlogRecord::Images,
        info::OVERWRITE_CONTRECORD => {
            at_least(8)?;
            XlogRecord::OverwriteContrecord(Lsn(u64_at(data, 0)))
        }
        unknown => return Err(error!(SqlState::INTERNAL_ERROR, "xlog_redo: unknown op code {unknown}")),
    })
}

/// Replays what concerns the control file, and returns what is left to do. C: `xlog_redo`.
///
/// # Errors
/// As [`parse`], or what writing pg_control returns.
pub fn redo(record: &DecodedRecord<'_>) -> Result<XlogRecord> {
    let parsed = parse(record)?;
    match &parsed {
        XlogRecord::ParameterChange(parameters) => {
            let (_, timeline) = recovery_point::replaying();
            control_file::update(|control| {
                parameters.store(control);
                // Sessions must not look at what was before with the settings of after.
                let least = control.min_recovery_point;
                if recovery_state() == RecoveryState::Archive
                    && least != Lsn::INVALID
                    && least < record.end_lsn
                {
                    control.min_recovery_point = record.end_lsn;
                    control.min_recovery_point_timeline = timeline;
                }
            })?;
            recovery_point::forget();
        }
        XlogRecord::FullPageWrites(false) => recovery::note_fpw_disabled(record.lsn),
        _ => {}
    }
    Ok(parsed)
}
