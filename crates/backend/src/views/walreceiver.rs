//! `pg_stat_wal_receiver`: the walreceiver, if there is one, and how far it is.
//!
//! C counterpart: `pg_stat_wal_receiver` of catalog/system_views.sql, `pg_stat_get_wal_receiver` of
//! replication/walreceiver.c.

use common::Lsn;
use elog::Result;
use replication::walrcv::{self, ReceiverStatus};
use types::{Datum, oid};

use super::{Columns, Rows};
use crate::identity;
use crate::objects::Objects;

/// Of the view, and of the function's result.
pub(crate) const COLUMNS: Columns = &[
    ("pid", oid::INT4),
    ("status", oid::TEXT),
    ("receive_start_lsn", oid::PG_LSN),
    ("receive_start_tli", oid::INT4),
    ("written_lsn", oid::PG_LSN),
    ("flushed_lsn", oid::PG_LSN),
    ("received_tli", oid::INT4),
    ("last_msg_send_time", oid::TIMESTAMPTZ),
    ("last_msg_receipt_time", oid::TIMESTAMPTZ),
    ("latest_end_lsn", oid::PG_LSN),
    ("latest_end_time", oid::TIMESTAMPTZ),
    ("slot_name", oid::TEXT),
    ("sender_host", oid::TEXT),
    ("sender_port", oid::INT4),
    ("conninfo", oid::TEXT),
];

/// The view: no row without a walreceiver that is connected.
pub(super) fn stat_wal_receiver(_: &Objects) -> Result<Rows> {
    Ok(wal_receiver().into_iter().collect())
}

/// What `pg_stat_get_wal_receiver` returns; all but the pid is NULL for who may not read everybody's statistics.
pub(crate) fn wal_receiver() -> Option<Vec<Datum>> {
    let status = walrcv::status()?;
    let mut row = vec![Datum::Int4(status.pid)];
    if identity::get().statistics_sight().sees_all() {
        row.extend(details(&status));
    } else {
        row.resize(COLUMNS.len(), Datum::Null);
    }
    Some(row)
}

fn details(status: &ReceiverStatus) -> [Datum; 14] {
    let position = |lsn: Lsn| if lsn == Lsn::INVALID { Datum::Null } else { Datum::Lsn(lsn.0) };
    let moment = |time: Option<i64>| time.map_or(Datum::Null, Datum::TimestampTz);
    let text = |text: &str| if text.is_empty() { Datum::Null } else { Datum::text(text) };
    [
        Datum::text(status.state.text()),
        position(status.receive_start),
        Datum::Int4(status.receive_start_timeline.0 as i32),
        position(status.written),
        position(status.flushed),
        Datum::Int4(status.received_timeline.0 as i32),
        moment(status.last_message_send_time),
        moment(status.last_message_receipt_time),
        position(status.latest_wal_end),
        moment(status.latest_wal_end_time),
        text(&status.slot_name),
        text(&status.sender_host),
        if status.sender_port == 0 { Datum::Null } else { Datum::Int4(status.sender_port) },
        text(&status.conninfo),
    ]
}
