//! Functions about replication slots.
//!
//! What is written to disk and what other processes see of a slot is `replication::slot`'s business; here are who may ask and what
//! is answered. A function that fails leaves its slot acquired: the session's handling of errors gives it back.
//!
//! C counterpart: replication/slotfuncs.c, replication/logical/logicalfuncs.c (of which only the refusal is here).

use common::{Lsn, Oid, SqlState};
use elog::{Result, error};
use replication::slot::{self, Persistency};
use types::fmgr::{Builtin, CallContext, RowIter};
use types::{Datum, oid};

use super::{only_superuser, record};
use crate::identity;
use crate::views::slots::{COLUMNS_OF_FUNCTION, STATISTICS_COLUMNS, replication_slots};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(3779, "pg_create_physical_replication_slot", &[oid::NAME, oid::BOOL, oid::BOOL], oid::RECORD, create_physical)
        .volatile()
        .names(&["slot_name", "immediately_reserve", "temporary"])
        .defaults(&[Some("false"), Some("false")])
        .columns(SLOT_COLUMNS),
    Builtin::scalar(3780, "pg_drop_replication_slot", &[oid::NAME], oid::VOID, drop_slot).volatile(),
    Builtin::set(3781, "pg_get_replication_slots", &[], oid::RECORD, get_replication_slots)
        .not_strict()
        .stable()
        .columns(COLUMNS_OF_FUNCTION),
    Builtin::scalar(3878, "pg_replication_slot_advance", &[oid::NAME, oid::PG_LSN], oid::RECORD, advance)
        .volatile()
        .names(&["slot_name", "upto_lsn"])
        .columns(ADVANCE_COLUMNS),
    Builtin::scalar(4220, "pg_copy_physical_replication_slot", &[oid::NAME, oid::NAME, oid::BOOL], oid::RECORD, copy_physical)
        .volatile()
        .names(&["src_slot_name", "dst_slot_name", "temporary"])
        .columns(SLOT_COLUMNS),
    Builtin::scalar(4221, "pg_copy_physical_replication_slot", &[oid::NAME, oid::NAME], oid::RECORD, copy_physical)
        .volatile()
        .names(&["src_slot_name", "dst_slot_name"])
        .columns(SLOT_COLUMNS),
    Builtin::scalar(3786, "pg_create_logical_replication_slot", &[oid::NAME, oid::NAME, oid::BOOL, oid::BOOL], oid::RECORD, logical)
        .volatile()
        .names(&["slot_name", "plugin", "temporary", "twophase"])
        .defaults(&[Some("false"), Some("false")])
        .columns(SLOT_COLUMNS),
    Builtin::scalar(4222, "pg_copy_logical_replication_slot", &[oid::NAME, oid::NAME, oid::BOOL, oid::NAME], oid::RECORD, logical)
        .volatile()
        .names(&["src_slot_name", "dst_slot_name", "temporary", "plugin"])
        .columns(SLOT_COLUMNS),
    Builtin::scalar(4223, "pg_copy_logical_replication_slot", &[oid::NAME, oid::NAME, oid::BOOL], oid::RECORD, logical)
        .volatile()
        .names(&["src_slot_name", "dst_slot_name", "temporary"])
        .columns(SLOT_COLUMNS),
    Builtin::scalar(4224, "pg_copy_logical_replication_slot", &[oid::NAME, oid::NAME], oid::RECORD, logical)
        .volatile()
        .names(&["src_slot_name", "dst_slot_name"])
        .columns(SLOT_COLUMNS),
    Builtin::scalar(6169, "pg_stat_get_replication_slot", &[oid::TEXT], oid::RECORD, stat_get)
        .stable()
        .names(&["slot_name"])
        .columns(STATISTICS_COLUMNS),
    Builtin::scalar(6170, "pg_stat_reset_replication_slot", &[oid::TEXT], oid::VOID, stat_reset).not_strict().volatile(),
    changes(3782, "pg_logical_slot_get_changes", CHANGES),
    changes(3783, "pg_logical_slot_get_binary_changes", BINARY_CHANGES),
    changes(3784, "pg_logical_slot_peek_changes", CHANGES),
    changes(3785, "pg_logical_slot_peek_binary_changes", BINARY_CHANGES),
];

/// A function that would decode WAL.
const fn changes(oid: u32, name: &'static str, columns: &'static [(&'static str, Oid)]) -> Builtin {
    Builtin::set(oid, name, &[oid::NAME, oid::PG_LSN, oid::INT4, oid::_TEXT], oid::RECORD, logical_changes)
        .not_strict()
        .volatile()
        .variadic(oid::TEXT)
        .names(&["slot_name", "upto_lsn", "upto_nchanges", "options"])
        .defaults(&[Some("{}")])
        .columns(columns)
}

const SLOT_COLUMNS: &[(&str, Oid)] = &[("slot_name", oid::NAME), ("lsn", oid::PG_LSN)];
const ADVANCE_COLUMNS: &[(&str, Oid)] = &[("slot_name", oid::NAME), ("end_lsn", oid::PG_LSN)];
const CHANGES: &[(&str, Oid)] = &[("lsn", oid::PG_LSN), ("xid", oid::XID), ("data", oid::TEXT)];
const BINARY_CHANGES: &[(&str, Oid)] = &[("lsn", oid::PG_LSN), ("xid", oid::XID), ("data", oid::BYTEA)];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

/// Are slots for this role? C: `CheckSlotPermissions`.
pub(crate) fn check_permissions() -> Result<()> {
    let me = &identity::get().current_user;
    let may = me.superuser
        || catalog::authid::load(miscinit::globals::data_dir())?
            .find_oid(me.oid)?
            .is_some_and(|role| role.replication);
    if may {
        return Ok(());
    }
    Err(error!(
        SqlState::INSUFFICIENT_PRIVILEGE,
        "must be superuser or replication role to use replication slots"
    ))
}

fn name_at(args: &[Datum], at: usize) -> &str {
    args.get(at).and_then(Datum::as_str).unwrap_or_default()
}

fn flag_at(args: &[Datum], at: usize) -> Option<bool> {
    match args.get(at) {
        Some(Datum::Bool(flag)) => Some(*flag),
        _ => None,
    }
}

fn position(lsn: Lsn) -> Datum {
    if lsn == Lsn::INVALID { Datum::Null } else { Datum::Lsn(lsn.0) }
}

/// C: `pg_create_physical_replication_slot`.
fn create_physical(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    check_permissions()?;
    slot::check_requirements()?;
    let (name, reserve) = (name_at(args, 0), flag_at(args, 1) == Some(true));
    let temporary = flag_at(args, 2) == Some(true);
    slot::create(name, if temporary { Persistency::Temporary } else { Persistency::Persistent })?;
    let mut lsn = Datum::Null;
    if reserve {
        slot::reserve_wal()?;
        slot::mark_dirty();
        slot::save()?;
        lsn = slot::mine().map_or(Datum::Null, |data| position(data.restart_lsn));
    }
    slot::release();
    Ok(record(SLOT_COLUMNS, vec![Datum::text(name), lsn]))
}

/// C: `pg_drop_replication_slot`.
fn drop_slot(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    check_permissions()?;
    slot::check_requirements()?;
    slot::drop_slot(name_at(args, 0), true)?;
    Ok(Datum::Void)
}

/// C: `pg_replication_slot_advance`.
fn advance(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    check_permissions()?;
    slot::check_requirements()?;
    let to = match args.get(1) {
        Some(Datum::Lsn(lsn)) if *lsn != 0 => Lsn(*lsn),
        _ => return Err(error!(SqlState::INTERNAL_ERROR, "invalid target WAL LSN")),
    };
    let name = name_at(args, 0);
    slot::acquire(name, true)?;
    let end = if wal::in_recovery() { wal::recovery_point::replayed().0 } else { wal::flush_lsn() };
    let reached = slot::advance(to, end)?;
    slot::release();
    Ok(record(ADVANCE_COLUMNS, vec![Datum::text(name), position(reached)]))
}

/// C: `copy_replication_slot`. A physical slot has no confirmed position to show.
fn copy_physical(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    check_permissions()?;
    slot::check_requirements()?;
    let name = name_at(args, 1);
    slot::copy(name_at(args, 0), name, flag_at(args, 2))?;
    slot::release();
    Ok(record(SLOT_COLUMNS, vec![Datum::text(name), Datum::Null]))
}

/// C: `pg_get_replication_slots`.
fn get_replication_slots(_: Cx<'_, '_>, _: &[Datum]) -> Result<RowIter> {
    Ok(Box::new(replication_slots().into_iter().map(Ok)))
}

/// Why there is no logical slot here. C: `CheckLogicalDecodingRequirements`.
fn refuse_logical() -> elog::PgError {
    if let Err(error) = check_permissions().and_then(|()| slot::check_requirements()) {
        return error;
    }
    if guc::vars::WAL_LEVEL.get() != "logical" {
        return error!(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "logical decoding requires wal_level >= logical"
        );
    }
    if wal::in_recovery() {
        return error!(SqlState::FEATURE_NOT_SUPPORTED, "logical decoding cannot be used while in recovery");
    }
    error!(SqlState::FEATURE_NOT_SUPPORTED, "logical decoding is not supported")
}

fn logical(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Err(refuse_logical())
}

fn logical_changes(_: Cx<'_, '_>, _: &[Datum]) -> Result<RowIter> {
    Err(refuse_logical())
}

/// Counts of logical decoding: of any name, all zero. C: `pg_stat_get_replication_slot`.
fn stat_get(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let mut values = vec![Datum::text(name_at(args, 0))];
    values.resize(STATISTICS_COLUMNS.len() - 1, Datum::Int8(0));
    values.push(Datum::Null);
    Ok(record(STATISTICS_COLUMNS, values))
}

/// C: `pg_stat_reset_replication_slot`.
fn stat_reset(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    only_superuser("pg_stat_reset_replication_slot")?;
    if let Some(name) = args.first().and_then(Datum::as_str)
        && slot::read(name).is_none()
    {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "replication slot \"{name}\" does not exist"));
    }
    Ok(Datum::Void)
}
