//! Functions about transactions, locks and statistics.
//!
//! C counterpart: utils/adt/xid8funcs.c, lockfuncs.c, pgstatfuncs.c.

use common::{Oid, SqlState, Xid};
use elog::{Result, error};
use lmgr::AdvisoryKey;
use transam::xact;
use types::fmgr::{Builtin, CallContext, RowIter};
use types::{ArrayValue, Datum, oid};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(5059, "pg_current_xact_id", &[], oid::XID8, pg_current_xact_id).stable(),
    Builtin::scalar(5060, "pg_current_xact_id_if_assigned", &[], oid::XID8, pg_current_xact_id_if_assigned).stable(),
    Builtin::scalar(2943, "txid_current", &[], oid::INT8, txid_current).stable(),
    Builtin::scalar(3348, "txid_current_if_assigned", &[], oid::INT8, txid_current_if_assigned).stable(),
    Builtin::scalar(3360, "txid_status", &[oid::INT8], oid::TEXT, txid_status).volatile(),
    Builtin::scalar(5066, "pg_xact_status", &[oid::XID8], oid::TEXT, txid_status).volatile(),
    Builtin::scalar(3939, "mxid_age", &[oid::XID], oid::INT4, mxid_age).stable(),
    Builtin::scalar(1181, "age", &[oid::XID], oid::INT4, xid_age).stable(),
    Builtin::set(1065, "pg_prepared_xact", &[], oid::RECORD, pg_prepared_xact).volatile().columns(PREPARED),
    Builtin::scalar(2561, "pg_blocking_pids", &[oid::INT4], oid::_INT4, pg_blocking_pids).volatile(),
    Builtin::scalar(2880, "pg_advisory_lock", &[oid::INT8], oid::VOID, |_, a| lock(a, false, true)).volatile(),
    Builtin::scalar(2886, "pg_advisory_lock", &[oid::INT4, oid::INT4], oid::VOID, |_, a| lock(a, false, true)).volatile(),
    Builtin::scalar(2881, "pg_advisory_lock_shared", &[oid::INT8], oid::VOID, |_, a| lock(a, true, true)).volatile(),
    Builtin::scalar(2887, "pg_advisory_lock_shared", &[oid::INT4, oid::INT4], oid::VOID, |_, a| lock(a, true, true)).volatile(),
    Builtin::scalar(3089, "pg_advisory_xact_lock", &[oid::INT8], oid::VOID, |_, a| lock(a, false, false)).volatile(),
    Builtin::scalar(3093, "pg_advisory_xact_lock", &[oid::INT4, oid::INT4], oid::VOID, |_, a| lock(a, false, false)).volatile(),
    Builtin::scalar(2882, "pg_try_advisory_lock", &[oid::INT8], oid::BOOL, |_, a| try_lock(a, false, true)).volatile(),
    Builtin::scalar(2888, "pg_try_advisory_lock", &[oid::INT4, oid::INT4], oid::BOOL, |_, a| try_lock(a, false, true)).volatile(),
    Builtin::scalar(3091, "pg_try_advisory_xact_lock", &[oid::INT8], oid::BOOL, |_, a| try_lock(a, false, false)).volatile(),
    Builtin::scalar(3095, "pg_try_advisory_xact_lock", &[oid::INT4, oid::INT4], oid::BOOL, |_, a| try_lock(a, false, false)).volatile(),
    Builtin::scalar(2883, "pg_try_advisory_lock_shared", &[oid::INT8], oid::BOOL, |_, a| try_lock(a, true, true)).volatile(),
    Builtin::scalar(2889, "pg_try_advisory_lock_shared", &[oid::INT4, oid::INT4], oid::BOOL, |_, a| try_lock(a, true, true)).volatile(),
    Builtin::scalar(3092, "pg_try_advisory_xact_lock_shared", &[oid::INT8], oid::BOOL, |_, a| try_lock(a, true, false)).volatile(),
    Builtin::scalar(3096, "pg_try_advisory_xact_lock_shared", &[oid::INT4, oid::INT4], oid::BOOL, |_, a| try_lock(a, true, false)).volatile(),
    Builtin::scalar(3090, "pg_advisory_xact_lock_shared", &[oid::INT8], oid::VOID, |_, a| lock(a, true, false)).volatile(),
    Builtin::scalar(3094, "pg_advisory_xact_lock_shared", &[oid::INT4, oid::INT4], oid::VOID, |_, a| lock(a, true, false)).volatile(),
    Builtin::scalar(2885, "pg_advisory_unlock_shared", &[oid::INT8], oid::BOOL, |_, a| unlock(a, true)).volatile(),
    Builtin::scalar(2891, "pg_advisory_unlock_shared", &[oid::INT4, oid::INT4], oid::BOOL, |_, a| unlock(a, true)).volatile(),
    Builtin::scalar(2884, "pg_advisory_unlock", &[oid::INT8], oid::BOOL, |_, a| unlock(a, false)).volatile(),
    Builtin::scalar(2890, "pg_advisory_unlock", &[oid::INT4, oid::INT4], oid::BOOL, |_, a| unlock(a, false)).volatile(),
    Builtin::scalar(2892, "pg_advisory_unlock_all", &[], oid::VOID, unlock_all).volatile(),
    Builtin::scalar(2230, "pg_stat_clear_snapshot", &[], oid::VOID, clear_snapshot).not_strict().volatile(),
    Builtin::scalar(2137, "pg_stat_force_next_flush", &[], oid::VOID, force_next_flush).not_strict().volatile(),
    Builtin::scalar(2274, "pg_stat_reset", &[], oid::VOID, stat_reset).not_strict().volatile(),
    Builtin::scalar(3775, "pg_stat_reset_shared", &[oid::TEXT], oid::VOID, stat_reset_shared).volatile(),
    Builtin::scalar(3776, "pg_stat_reset_single_table_counters", &[oid::OID], oid::VOID, stat_reset_table).volatile(),
];

const PREPARED: &[(&str, Oid)] = &[
    ("transaction", oid::XID),
    ("gid", oid::TEXT),
    ("prepared", oid::TIMESTAMPTZ),
    ("ownerid", oid::OID),
    ("dbid", oid::OID),
];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

/// An id is given out if there is none yet, which a standby cannot do. C: `pg_current_xact_id` of xid8funcs.c.
fn assigned() -> Result<u64> {
    xact::prevent_in_recovery("pg_current_xact_id()")?;
    Ok(xact::top_full_xid()?.0)
}

fn pg_current_xact_id(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    assigned().map(Datum::Xid8)
}

fn txid_current(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    Ok(Datum::Int8(assigned()? as i64))
}

fn pg_current_xact_id_if_assigned(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    if xact::top_xid_if_any().is_valid() { Ok(Datum::Xid8(xact::top_full_xid()?.0)) } else { Ok(Datum::Null) }
}

fn txid_current_if_assigned(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    if xact::top_xid_if_any().is_valid() {
        Ok(Datum::Int8(xact::top_full_xid()?.0 as i64))
    } else {
        Ok(Datum::Null)
    }
}

/// C: `xid_age`.
fn xid_age(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Xid(xid)) = args.first() else { return Ok(Datum::Null) };
    if !Xid(*xid).is_normal() {
        return Ok(Datum::Int4(i32::MAX));
    }
    let next = transam::varsup::read_next_full_xid().xid();
    Ok(Datum::Int4(next.0.wrapping_sub(*xid) as i32))
}

/// C: `mxid_age`.
fn mxid_age(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let Some(Datum::Xid(multi)) = args.first() else { return Ok(Datum::Null) };
    if *multi == 0 {
        return Ok(Datum::Int4(i32::MAX));
    }
    let next = transam::multixact::read_next();
    Ok(Datum::Int4(next.0.wrapping_sub(*multi) as i32))
}

/// C: `pg_xact_status`.
fn txid_status(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let full = match args.first() {
        Some(Datum::Xid8(full)) => *full,
        Some(value) => value.as_i64().unwrap_or(0) as u64,
        None => 0,
    };
    let next = transam::varsup::read_next_full_xid().0;
    if full >= next {
        return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "transaction ID {full} is in the future"));
    }
    let xid = Xid(full as u32);
    // 1 and 2 are the catalogs' own: committed for good. Older than the commit log: nobody knows.
    if !xid.is_normal() {
        return Ok(if xid.0 == 0 { Datum::Null } else { Datum::text("committed") });
    }
    if next - full > u64::from(u32::MAX / 2) || xid.precedes(transam::varsup::oldest_xid().0) {
        return Ok(Datum::Null);
    }
    let shown = if xact::is_current(xid) || transam::is_in_progress(xid) {
        "in progress"
    } else if transam::did_commit(xid) {
        "committed"
    } else {
        "aborted"
    };
    Ok(Datum::text(shown))
}

fn pg_blocking_pids(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    let pid = args.first().and_then(Datum::as_i64).unwrap_or(0) as i32;
    let pids = lmgr::blocking_pids(pid).into_iter().map(Datum::Int4).collect();
    Ok(Datum::Array(std::rc::Rc::new(ArrayValue::from_values(oid::INT4, pids))))
}

fn key(args: &[Datum]) -> AdvisoryKey {
    match args {
        [Datum::Int4(key1), Datum::Int4(key2)] => AdvisoryKey::Two(*key1, *key2),
        [key, ..] => AdvisoryKey::One(key.as_i64().unwrap_or(0)),
        [] => AdvisoryKey::One(0),
    }
}

fn lock(args: &[Datum], shared: bool, session: bool) -> Result<Datum> {
    lmgr::advisory_lock(key(args), shared, session)?;
    Ok(Datum::Void)
}

fn try_lock(args: &[Datum], shared: bool, session: bool) -> Result<Datum> {
    lmgr::try_advisory_lock(key(args), shared, session).map(Datum::Bool)
}

fn unlock(args: &[Datum], shared: bool) -> Result<Datum> {
    Ok(Datum::Bool(lmgr::advisory_unlock(key(args), shared)))
}

fn unlock_all(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    lmgr::advisory_unlock_all();
    Ok(Datum::Void)
}

fn clear_snapshot(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    pgstat::clear_snapshot();
    Ok(Datum::Void)
}

/// What the session has counted goes to the collector now.
fn force_next_flush(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    pgstat::report_stat(crate::identity::get().database, true);
    Ok(Datum::Void)
}

fn superuser(function: &str) -> Result<()> {
    if crate::identity::get().current_user.superuser {
        return Ok(());
    }
    Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied for function {function}"))
}

fn stat_reset(_: Cx<'_, '_>, _: &[Datum]) -> Result<Datum> {
    superuser("pg_stat_reset")?;
    pgstat::reset(crate::identity::get().database);
    Ok(Datum::Void)
}

fn stat_reset_shared(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    superuser("pg_stat_reset_shared")?;
    let target = args.first().and_then(Datum::as_str).unwrap_or("");
    if pgstat::reset_shared(target) {
        return Ok(Datum::Void);
    }
    Err(error!(SqlState::INVALID_PARAMETER_VALUE, "unrecognized reset target: \"{target}\"")
        .hint("Target must be \"archiver\", \"bgwriter\", \"recovery_prefetch\", or \"wal\"."))
}

fn stat_reset_table(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    superuser("pg_stat_reset_single_table_counters")?;
    if let Some(Datum::Oid(table)) = args.first() {
        pgstat::reset_table(crate::identity::get().database, Oid(*table));
    }
    Ok(Datum::Void)
}

/// Behind `pg_prepared_xacts`.
fn pg_prepared_xact(_: Cx<'_, '_>, _: &[Datum]) -> Result<RowIter> {
    let rows = transam::twophase::rows().into_iter().map(|row| {
        Ok(vec![
            Datum::Xid(row.xid.0),
            Datum::text(row.gid),
            Datum::TimestampTz(row.prepared_at),
            Datum::Oid(row.owner.0),
            Datum::Oid(row.database.0),
        ])
    });
    Ok(Box::new(rows))
}
