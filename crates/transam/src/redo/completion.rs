//! Which transaction a record ends, how and when: what recovery to a point in time looks at.
//!
//! C counterpart: the first half of `recoveryStopsBefore`, `getRecordTimestamp` of xlogrecovery.c.

use common::Xid;
use wal::{DecodedRecord, RmgrId};

use crate::xact::record;

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Its id; of COMMIT PREPARED and ROLLBACK PREPARED that of the prepared transaction.
    pub xid: Xid,
    /// It committed.
    pub commit: bool,
    /// When, in microseconds since 2000-01-01.
    pub time: i64,
}

/// Looks at a record without replaying it; `None` if it ends no transaction.
pub fn completion(record: &DecodedRecord<'_>) -> Option<Completion> {
    if record.rmgr != RmgrId::Xact as u8 {
        return None;
    }
    let info = record.info & !wal::INFO_MASK;
    let commit = match info & record::OPERATION_MASK {
        record::XLOG_COMMIT | record::XLOG_COMMIT_PREPARED => true,
        record::XLOG_ABORT | record::XLOG_ABORT_PREPARED => false,
        _ => return None,
    };
    let parsed = record::parse(info, record.main_data).ok()?;
    Some(Completion { xid: parsed.two_phase_xid.unwrap_or(record.xid), commit, time: parsed.time })
}
