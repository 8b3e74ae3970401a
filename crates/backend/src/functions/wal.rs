//! Functions about the write-ahead log and the control file.
//!
//! C counterpart: access/transam/xlogfuncs.c, utils/misc/pg_controldata.c.

use std::rc::Rc;

use common::{Lsn, SqlState};
use elog::{Result, error};
use types::fmgr::{Builtin, CallContext};
use types::{Datum, RecordValue, oid};

pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(2849, "pg_current_wal_lsn", &[], oid::PG_LSN, |_, _| current(wal::write_lsn)).volatile(),
    Builtin::scalar(2852, "pg_current_wal_insert_lsn", &[], oid::PG_LSN, |_, _| current(wal::insert_lsn))
        .volatile(),
    Builtin::scalar(3330, "pg_current_wal_flush_lsn", &[], oid::PG_LSN, |_, _| current(wal::flush_lsn))
        .volatile(),
    Builtin::scalar(2848, "pg_switch_wal", &[], oid::PG_LSN, pg_switch_wal).volatile(),
    Builtin::scalar(2851, "pg_walfile_name", &[oid::PG_LSN], oid::TEXT, pg_walfile_name),
    Builtin::scalar(2850, "pg_walfile_name_offset", &[oid::PG_LSN], oid::RECORD, pg_walfile_name_offset)
        .columns(&[("file_name", oid::TEXT), ("file_offset", oid::INT4)]),
];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

fn not_in_recovery() -> Result<()> {
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
    not_in_recovery()?;
    if !crate::identity::get().current_user.superuser {
        return Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied for function pg_switch_wal"));
    }
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
    Ok(Datum::Record(Rc::new(RecordValue {
        types: vec![oid::TEXT, oid::INT4],
        names: vec!["file_name".into(), "file_offset".into()],
        values: vec![Datum::text(name), Datum::Int4(offset as i32)],
    })))
}
