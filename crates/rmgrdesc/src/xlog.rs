//! Checkpoints, switches, images, timelines: the log's own records.
//!
//! C counterpart: access/rmgrdesc/xlogdesc.c.

use common::pg_control::CheckPoint;
use wal::DecodedRecord;
use wal::checkpoint::info;
use wal::records::Parameters;

use crate::bytes::Bytes;

/// C: `xlog_identify`.
pub(crate) fn identify(operation: u8) -> Option<&'static str> {
    Some(match operation {
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

/// Bytes of a restore point's name. C: `MAXFNAMELEN`.
const NAME: usize = 64;

/// C: `xlog_desc`.
pub(crate) fn describe(record: &DecodedRecord<'_>, out: &mut String) -> Option<()> {
    let data = &mut Bytes::new(record.main_data);
    match record.operation() {
        info::CHECKPOINT_SHUTDOWN => checkpoint(data, "shutdown", out)?,
        info::CHECKPOINT_ONLINE => checkpoint(data, "online", out)?,
        info::NEXT_OID => put!(out, "{}", data.u32()?),
        info::RESTORE_POINT => {
            let _time = data.u64()?;
            out.push_str(&data.text(NAME)?);
        }
        info::BACKUP_END => put!(out, "{}", data.lsn()?),
        info::PARAMETER_CHANGE => parameters(&Parameters::from_bytes(record.main_data)?, out),
        info::FPW_CHANGE => put!(out, "{}", data.u8()? != 0),
        info::END_OF_RECOVERY => {
            let time = data.time()?;
            put!(out, "tli {}; prev tli {}; time {time}", data.u32()?, data.u32()?);
        }
        info::OVERWRITE_CONTRECORD => put!(out, "lsn {}; time {}", data.lsn()?, data.time()?),
        _ => {}
    }
    Some(())
}

fn checkpoint(data: &mut Bytes<'_>, kind: &str, out: &mut String) -> Option<()> {
    let c = CheckPoint::from_bytes(data.take(CheckPoint::SIZE)?)?;
    let (tli, previous) = (c.this_timeline.0, c.prev_timeline.0);
    put!(out, "redo {}; tli {tli}; prev tli {previous}; fpw {}; ", c.redo, c.full_page_writes);
    let (epoch, xid) = (c.next_full_xid >> 32, c.next_full_xid as u32);
    put!(out, "xid {epoch}:{xid}; oid {}; ", c.next_oid);
    put!(out, "multi {}; offset {}; ", c.next_multi, c.next_multi_offset);
    put!(out, "oldest xid {} in DB {}; ", c.oldest_xid, c.oldest_xid_db);
    put!(out, "oldest multi {} in DB {}; ", c.oldest_multi, c.oldest_multi_db);
    let (oldest, newest) = (c.oldest_commit_ts_xid, c.newest_commit_ts_xid);
    put!(out, "oldest/newest commit timestamp xid: {oldest}/{newest}; ");
    put!(out, "oldest running xid {}; {kind}", c.oldest_active_xid);
    Some(())
}

fn parameters(p: &Parameters, out: &mut String) {
    let on = |on: bool| if on { "on" } else { "off" };
    let level = match p.wal_level {
        0 => "minimal",
        1 => "replica",
        2 => "logical",
        _ => "?",
    };
    put!(out, "max_connections={} max_worker_processes={} ", p.max_connections, p.max_worker_processes);
    put!(out, "max_wal_senders={} max_prepared_xacts={} ", p.max_wal_senders, p.max_prepared_xacts);
    put!(out, "max_locks_per_xact={} wal_level={level} ", p.max_locks_per_xact);
    put!(out, "wal_log_hints={} track_commit_timestamp=", on(p.wal_log_hints));
    out.push_str(on(p.track_commit_timestamp));
}
