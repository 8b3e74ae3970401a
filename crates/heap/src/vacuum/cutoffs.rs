//! What counts as old: which rows are dead to all, which ids are to be frozen, and whether the whole table must be
//! looked at.
//!
//! C counterpart: `vacuum_set_xid_limits` of commands/vacuum.c.

use common::{MultiXactId, SqlState, Xid};
use elog::pg_error;
use guc::vars;
use transam::{multixact, varsup};

use super::VacuumParams;
use crate::freeze::Cutoffs;
use crate::table::Table;

/// The limits of one VACUUM.
pub(crate) struct Limits {
    pub oldest_xmin: Xid,
    pub oldest_multi: MultiXactId,
    pub cutoffs: Cutoffs,
    pub aggressive: bool,
}

/// The asked age, or the setting, but at most `most`.
fn age(asked: i32, setting: i32, most: i32) -> u32 {
    (if asked >= 0 { asked } else { setting }).min(most).max(0) as u32
}

/// An id so many before another.
fn back(xid: Xid, by: u32) -> Xid {
    let older = Xid(xid.0.wrapping_sub(by));
    if older.is_normal() { older } else { Xid::FIRST_NORMAL }
}

fn back_multi(multi: MultiXactId, by: u32) -> MultiXactId {
    let older = MultiXactId(multi.0.wrapping_sub(by));
    if older.is_valid() { older } else { MultiXactId::FIRST }
}

#[cold]
fn warn_old(what: &str) {
    pg_error!(Warning, SqlState::WARNING, "oldest {what} is far in the past")
        .hint(
            "Close open transactions soon to avoid wraparound problems.\n\
             You might also need to commit or roll back old prepared transactions, or drop stale replication slots.",
        )
        .report();
}

/// C: `vacuum_set_xid_limits`.
pub(crate) fn compute(table: &Table, params: &VacuumParams) -> Limits {
    let oldest_xmin = transam::horizon_for(table.kind());
    let oldest_multi = multixact::oldest();
    let max_age = vars::AUTOVACUUM_FREEZE_MAX_AGE.get();
    let max_multi_age = vars::AUTOVACUUM_MULTIXACT_FREEZE_MAX_AGE.get();
    let (next_xid, next_multi) = (varsup::read_next_xid(), multixact::read_next());

    let min_age = age(params.freeze_min_age, vars::VACUUM_FREEZE_MIN_AGE.get(), max_age / 2);
    let mut xid = back(oldest_xmin, min_age);
    if xid.precedes(back(next_xid, max_age as u32)) {
        warn_old("xmin");
        xid = oldest_xmin;
    }
    let setting = vars::VACUUM_MULTIXACT_FREEZE_MIN_AGE.get();
    let min_age = age(params.multixact_freeze_min_age, setting, max_multi_age / 2);
    let mut multi = back_multi(oldest_multi, min_age);
    if multi.precedes(back_multi(next_multi, max_multi_age as u32)) {
        warn_old("multixact");
        multi = oldest_multi;
    }

    let most = |max: i32| (f64::from(max) * 0.95) as i32;
    let table_age = age(params.freeze_table_age, vars::VACUUM_FREEZE_TABLE_AGE.get(), most(max_age));
    let setting = vars::VACUUM_MULTIXACT_FREEZE_TABLE_AGE.get();
    let multi_age = age(params.multixact_freeze_table_age, setting, most(max_multi_age));
    let multi_limit = back_multi(next_multi, multi_age);
    let aggressive = params.relfrozenxid.precedes_or_equals(back(next_xid, table_age))
        || params.relminmxid == multi_limit
        || params.relminmxid.precedes(multi_limit);
    let cutoffs = Cutoffs { relfrozenxid: params.relfrozenxid, relminmxid: params.relminmxid, xid, multi };
    Limits { oldest_xmin, oldest_multi, cutoffs, aggressive }
}
