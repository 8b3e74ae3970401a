//! Replication slots.
//!
//! C counterpart: `pg_replication_slots`, `pg_stat_replication_slots` of catalog/system_views.sql; `pg_get_replication_slots` of
//! replication/slotfuncs.c.

use common::{Lsn, Xid};
use elog::Result;
use replication::slot::{self, Availability, Row};
use types::{Datum, oid};

use super::{Columns, Rows};
use crate::objects::Objects;

pub(super) const COLUMNS: Columns = &[
    ("slot_name", oid::NAME),
    ("plugin", oid::NAME),
    ("slot_type", oid::TEXT),
    ("datoid", oid::OID),
    ("database", oid::NAME),
    ("temporary", oid::BOOL),
    ("active", oid::BOOL),
    ("active_pid", oid::INT4),
    ("xmin", oid::XID),
    ("catalog_xmin", oid::XID),
    ("restart_lsn", oid::PG_LSN),
    ("confirmed_flush_lsn", oid::PG_LSN),
    ("wal_status", oid::TEXT),
    ("safe_wal_size", oid::INT8),
    ("two_phase", oid::BOOL),
];

/// The view's but for the name of the database.
pub(crate) const COLUMNS_OF_FUNCTION: Columns = &[
    ("slot_name", oid::NAME),
    ("plugin", oid::NAME),
    ("slot_type", oid::TEXT),
    ("datoid", oid::OID),
    ("temporary", oid::BOOL),
    ("active", oid::BOOL),
    ("active_pid", oid::INT4),
    ("xmin", oid::XID),
    ("catalog_xmin", oid::XID),
    ("restart_lsn", oid::PG_LSN),
    ("confirmed_flush_lsn", oid::PG_LSN),
    ("wal_status", oid::TEXT),
    ("safe_wal_size", oid::INT8),
    ("two_phase", oid::BOOL),
];

pub(crate) const STATISTICS_COLUMNS: Columns = &[
    ("slot_name", oid::TEXT),
    ("spill_txns", oid::INT8),
    ("spill_count", oid::INT8),
    ("spill_bytes", oid::INT8),
    ("stream_txns", oid::INT8),
    ("stream_count", oid::INT8),
    ("stream_bytes", oid::INT8),
    ("total_txns", oid::INT8),
    ("total_bytes", oid::INT8),
    ("stats_reset", oid::TIMESTAMPTZ),
];

/// Rows of `pg_get_replication_slots()`. C: the loop of that function.
pub(crate) fn replication_slots() -> Vec<Vec<Datum>> {
    slot::rows().iter().map(row).collect()
}

fn position(lsn: Lsn) -> Datum {
    if lsn == Lsn::INVALID { Datum::Null } else { Datum::Lsn(lsn.0) }
}

fn xid(xid: Xid) -> Datum {
    if xid.is_valid() { Datum::Xid(xid.0) } else { Datum::Null }
}

fn row(slot: &Row) -> Vec<Datum> {
    let data = &slot.data;
    let (status, restart_lsn) = availability(slot);
    let safe = match status {
        Availability::Removed => None,
        _ => slot::safe_wal_size(restart_lsn),
    };
    vec![
        Datum::text(data.name.as_str()),
        Datum::Null,
        Datum::text("physical"),
        Datum::Null,
        Datum::Bool(data.persistency == slot::Persistency::Temporary),
        Datum::Bool(slot.active_pid != 0),
        if slot.active_pid != 0 { Datum::Int4(slot.active_pid) } else { Datum::Null },
        xid(data.xmin),
        xid(data.catalog_xmin),
        position(data.restart_lsn),
        position(data.confirmed_flush),
        status.text().map_or(Datum::Null, Datum::text),
        safe.map_or(Datum::Null, Datum::Int8),
        Datum::Bool(data.two_phase),
    ]
}

/// What becomes of a slot's WAL, and the position that this was found for.
fn availability(slot: &Row) -> (Availability, Lsn) {
    if slot.data.is_invalidated() {
        return (Availability::Removed, slot.data.restart_lsn);
    }
    let status = slot::wal_availability(slot.data.restart_lsn);
    if status != Availability::Removed {
        return (status, slot.data.restart_lsn);
    }
    // Since we looked, its walsender may have moved on, and only then was the segment removed. While it lives, the slot is not lost.
    match slot::rows().iter().find(|now| now.data.name == slot.data.name) {
        Some(now) if now.active_pid != 0 => (Availability::Unreserved, now.data.restart_lsn),
        _ => (status, slot.data.restart_lsn),
    }
}

/// `pg_replication_slots`. Physical slots belong to no database.
pub(super) fn slots(_: &Objects) -> Result<Rows> {
    let with_database = |mut row: Vec<Datum>| {
        row.insert(4, Datum::Null);
        row
    };
    Ok(replication_slots().into_iter().map(with_database).collect())
}

/// `pg_stat_replication_slots`: counts of logical decoding, of which there is none.
pub(super) fn statistics(_: &Objects) -> Result<Rows> {
    Ok(Vec::new())
}
