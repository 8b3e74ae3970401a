//! What pg_control says, as rows.
//!
//! C counterpart: utils/misc/pg_controldata.c.

use common::pg_control::ControlFileData;
use common::{Lsn, Oid, TimeLineId};
use elog::Result;
use types::fmgr::{Builtin, CallContext};
use types::{Datum, oid};
use wal::segment;

use super::record;

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(3441, "pg_control_system", &[], oid::RECORD, pg_control_system).volatile().columns(SYSTEM),
    Builtin::scalar(3442, "pg_control_checkpoint", &[], oid::RECORD, pg_control_checkpoint).volatile().columns(CHECKPOINT),
    Builtin::scalar(3443, "pg_control_recovery", &[], oid::RECORD, pg_control_recovery).volatile().columns(RECOVERY),
    Builtin::scalar(3444, "pg_control_init", &[], oid::RECORD, pg_control_init).volatile().columns(INIT),
];

const SYSTEM: &[(&str, Oid)] = &[
    ("pg_control_version", oid::INT4),
    ("catalog_version_no", oid::INT4),
    ("system_identifier", oid::INT8),
    ("pg_control_last_modified", oid::TIMESTAMPTZ),
];

const CHECKPOINT: &[(&str, Oid)] = &[
    ("checkpoint_lsn", oid::PG_LSN),
    ("redo_lsn", oid::PG_LSN),
    ("redo_wal_file", oid::TEXT),
    ("timeline_id", oid::INT4),
    ("prev_timeline_id", oid::INT4),
    ("full_page_writes", oid::BOOL),
    ("next_xid", oid::TEXT),
    ("next_oid", oid::OID),
    ("next_multixact_id", oid::XID),
    ("next_multi_offset", oid::XID),
    ("oldest_xid", oid::XID),
    ("oldest_xid_dbid", oid::OID),
    ("oldest_active_xid", oid::XID),
    ("oldest_multi_xid", oid::XID),
    ("oldest_multi_dbid", oid::OID),
    ("oldest_commit_ts_xid", oid::XID),
    ("newest_commit_ts_xid", oid::XID),
    ("checkpoint_time", oid::TIMESTAMPTZ),
];

const RECOVERY: &[(&str, Oid)] = &[
    ("min_recovery_end_lsn", oid::PG_LSN),
    ("min_recovery_end_timeline", oid::INT4),
    ("backup_start_lsn", oid::PG_LSN),
    ("backup_end_lsn", oid::PG_LSN),
    ("end_of_backup_record_required", oid::BOOL),
];

const INIT: &[(&str, Oid)] = &[
    ("max_data_alignment", oid::INT4),
    ("database_block_size", oid::INT4),
    ("blocks_per_segment", oid::INT4),
    ("wal_block_size", oid::INT4),
    ("bytes_per_wal_segment", oid::INT4),
    ("max_identifier_length", oid::INT4),
    ("max_index_columns", oid::INT4),
    ("max_toast_chunk_size", oid::INT4),
    ("large_object_chunk_size", oid::INT4),
    ("float8_pass_by_value", oid::BOOL),
    ("data_page_checksum_version", oid::INT4),
];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

/// While nobody writes it.
fn read() -> Result<ControlFileData> {
    let _unchanged = wal::control_file::CONTROL_FILE_LOCK.get().shared();
    wal::control_file::read()
}

fn int(number: u32) -> Datum {
    Datum::Int4(number as i32)
}

fn lsn(lsn: Lsn) -> Datum {
    Datum::Lsn(lsn.0)
}

fn timeline(timeline: TimeLineId) -> Datum {
    int(timeline.0)
}

fn time(unix_seconds: i64) -> Datum {
    const PG_EPOCH_SECONDS: i64 = 946_684_800;
    Datum::TimestampTz((unix_seconds - PG_EPOCH_SECONDS).saturating_mul(1_000_000))
}

fn pg_control_system(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    let control = read()?;
    let values = vec![
        int(control.pg_control_version),
        int(control.catalog_version_no),
        Datum::Int8(control.system_identifier as i64),
        time(control.time),
    ];
    Ok(record(SYSTEM, values))
}

fn pg_control_checkpoint(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    let control = read()?;
    let last = control.checkpoint_copy;
    let geometry = wal::geometry();
    let redo_file = segment::name(last.this_timeline, geometry.segment(last.redo), geometry);
    let next_xid = format!("{}:{}", last.next_full_xid >> 32, last.next_full_xid as u32);
    let values = vec![
        lsn(control.checkpoint),
        lsn(last.redo),
        Datum::text(redo_file),
        timeline(last.this_timeline),
        timeline(last.prev_timeline),
        Datum::Bool(last.full_page_writes),
        Datum::text(next_xid),
        Datum::Oid(last.next_oid.0),
        Datum::Xid(last.next_multi),
        Datum::Xid(last.next_multi_offset),
        Datum::Xid(last.oldest_xid.0),
        Datum::Oid(last.oldest_xid_db.0),
        Datum::Xid(last.oldest_active_xid.0),
        Datum::Xid(last.oldest_multi),
        Datum::Oid(last.oldest_multi_db.0),
        Datum::Xid(last.oldest_commit_ts_xid.0),
        Datum::Xid(last.newest_commit_ts_xid.0),
        time(last.time),
    ];
    Ok(record(CHECKPOINT, values))
}

fn pg_control_recovery(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    let control = read()?;
    let values = vec![
        lsn(control.min_recovery_point),
        timeline(control.min_recovery_point_timeline),
        lsn(control.backup_start_point),
        lsn(control.backup_end_point),
        Datum::Bool(control.backup_end_required),
    ];
    Ok(record(RECOVERY, values))
}

fn pg_control_init(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    let control = read()?;
    let values = vec![
        int(control.max_align),
        int(control.blcksz),
        int(control.relseg_size),
        int(control.xlog_blcksz),
        int(control.xlog_seg_size),
        int(control.name_data_len),
        int(control.index_max_keys),
        int(control.toast_max_chunk_size),
        int(control.loblksize),
        Datum::Bool(control.float8_by_val),
        int(control.data_checksum_version),
    ];
    Ok(record(INIT, values))
}
