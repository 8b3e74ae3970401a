//! Functions about the write-ahead log that is being written.
//!
//! C counterpart: the first half of access/transam/xlogfuncs.c.

use common::{Lsn, Oid, SqlState};
use elog::{Result, error};
use types::fmgr::{Builtin, CallContext};
use types::{Datum, oid};

use super::{only_superuser, record};

pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(2849, "pg_current_wal_lsn", &[], oid::PG_LSN, |_, _| current(wal::write_lsn)).volatile(),
    Builtin::scalar(2852, "pg_current_wal_insert_lsn", &[], oid::PG_LSN, |_, _| current(wal::insert_lsn))
        .volatile(),
    Builtin::scalar(3330, "pg_current_wal_flush_lsn", &[], oid::PG_LSN, |_, _| current(wal::flush_lsn))
        .volatile(),
    Builtin::scalar(2848, "pg_switch_wal", &[], oid::PG_LSN, pg_switch_wal).volatile(),
    Builtin::scalar(2851, "pg_walfile_name", &[oid::PG_LSN], oid::TEXT, pg_walfile_name),
    Builtin::scalar(2850, "pg_walfile_name_offset", &[oid::PG_LSN], oid::RECORD, pg_walfile_name_offset)
        .names(&["lsn"])
        .columns(OFFSET_COLUMNS),
];

const OFFSET_COLUMNS: &[(&str, Oid)] = &[("file_name", oid::TEXT), ("file_offset", oid::INT4)];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

/// For what writes WAL, or asks where it is written.
pub(super) fn not_in_recovery() -> Result<()> {
    if wal::in_recovery() {
        return Err(error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "recovery is in progress")
            .hint("WAL control functions cannot be executed during recovery."));
    }
    Ok(())
}

fn current(position: fn() -> Lsn) -> Result<Datum> {
    not_in_recovery()?;
    Ok(Datum::Lsn(position().0))
}

fn pg_switch_wal(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    only_superuser("pg_switch_wal")?;
    not_in_recovery()?;
    Ok(Datum::Lsn(wal::request_switch(false).0))
}

fn lsn_of(args: &[Datum]) -> Lsn {
    match args.first() {
        Some(Datum::Lsn(lsn)) => Lsn(*lsn),
        _ => Lsn::INVALID,
    }
}

fn pg_walfile_name(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    wal::segment::walfile_name(lsn_of(args)).map(Datum::text)
}

fn pg_walfile_name_offset(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let (name, offset) = wal::segment::walfile_name_offset(lsn_of(args))?;
    Ok(record(OFFSET_COLUMNS, vec![Datum::text(name), Datum::Int4(offset as i32)]))
}
