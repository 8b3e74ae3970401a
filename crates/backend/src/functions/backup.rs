//! Functions that begin and end a backup, and name a position for recovery to stop at.
//!
//! The work is the `backup` crate's; a session has at most one backup, which lives until it is stopped or the session ends.
//!
//! C counterpart: `pg_backup_start`, `pg_backup_stop`, `pg_create_restore_point` of access/transam/xlogfuncs.c.

use common::SqlState;
use elog::{Result, error};
use types::fmgr::{Builtin, CallContext};
use types::{Datum, oid};

use super::{only_superuser, record};

pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(2172, "pg_backup_start", &[oid::TEXT, oid::BOOL], oid::PG_LSN, pg_backup_start)
        .volatile()
        .names(&["label", "fast"])
        .defaults(&[Some("false")]),
    Builtin::scalar(2739, "pg_backup_stop", &[oid::BOOL], oid::RECORD, pg_backup_stop)
        .volatile()
        .names(&["wait_for_archive"])
        .defaults(&[Some("true")])
        .columns(STOP_COLUMNS),
    Builtin::scalar(3098, "pg_create_restore_point", &[oid::TEXT], oid::PG_LSN, pg_create_restore_point)
        .volatile(),
];

const STOP_COLUMNS: &[(&str, common::Oid)] =
    &[("lsn", oid::PG_LSN), ("labelfile", oid::TEXT), ("spcmapfile", oid::TEXT)];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

fn pg_backup_start(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    only_superuser("pg_backup_start")?;
    let label = args.first().and_then(Datum::as_str).unwrap_or_default();
    let fast = matches!(args.get(1), Some(Datum::Bool(true)));
    Ok(Datum::Lsn(backup::session::start(label, fast)?.0))
}

fn pg_backup_stop(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    only_superuser("pg_backup_stop")?;
    let wait_for_archive = matches!(args.first(), Some(Datum::Bool(true)));
    let stopped = backup::session::stop(wait_for_archive)?;
    let map = stopped.tablespace_map.unwrap_or_default();
    Ok(record(
        STOP_COLUMNS,
        vec![Datum::Lsn(stopped.lsn.0), Datum::text(stopped.label_file), Datum::text(map)],
    ))
}

fn pg_create_restore_point(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    only_superuser("pg_create_restore_point")?;
    super::wal::not_in_recovery()?;
    if !wal::records::is_needed() {
        return Err(error!(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "WAL level not sufficient for creating a restore point"
        )
        .hint("wal_level must be set to \"replica\" or \"logical\" at server start."));
    }
    let name = args.first().and_then(Datum::as_str).unwrap_or_default();
    Ok(Datum::Lsn(wal::records::log_restore_point(name)?.0))
}
