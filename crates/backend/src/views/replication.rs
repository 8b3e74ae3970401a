//! `pg_stat_replication`: the walsenders, and how far their standbys are.
//!
//! C counterpart: `pg_stat_replication` of catalog/system_views.sql, `pg_stat_get_wal_senders` of replication/walsender.c.

use activity::Activity;
use common::{Lsn, Oid};
use elog::Result;
use replication::syncrep::{self, candidates};
use replication::walsnd::{self, Status};
use types::{Datum, Interval, oid};

use super::activity::{backend_xmin, client};
use super::{Columns, Rows};
use crate::identity;
use crate::objects::Objects;

pub(super) const COLUMNS: Columns = &[
    ("pid", oid::INT4),
    ("usesysid", oid::OID),
    ("usename", oid::NAME),
    ("application_name", oid::TEXT),
    ("client_addr", oid::INET),
    ("client_hostname", oid::TEXT),
    ("client_port", oid::INT4),
    ("backend_start", oid::TIMESTAMPTZ),
    ("backend_xmin", oid::XID),
    ("state", oid::TEXT),
    ("sent_lsn", oid::PG_LSN),
    ("write_lsn", oid::PG_LSN),
    ("flush_lsn", oid::PG_LSN),
    ("replay_lsn", oid::PG_LSN),
    ("write_lag", oid::INTERVAL),
    ("flush_lag", oid::INTERVAL),
    ("replay_lag", oid::INTERVAL),
    ("sync_priority", oid::INT4),
    ("sync_state", oid::TEXT),
    ("reply_time", oid::TIMESTAMPTZ),
];

/// What `pg_stat_get_wal_senders` returns.
pub(crate) const WAL_SENDERS: &[(&str, Oid)] = &[
    ("pid", oid::INT4),
    ("state", oid::TEXT),
    ("sent_lsn", oid::PG_LSN),
    ("write_lsn", oid::PG_LSN),
    ("flush_lsn", oid::PG_LSN),
    ("replay_lsn", oid::PG_LSN),
    ("write_lag", oid::INTERVAL),
    ("flush_lag", oid::INTERVAL),
    ("replay_lag", oid::INTERVAL),
    ("sync_priority", oid::INT4),
    ("sync_state", oid::TEXT),
    ("reply_time", oid::TIMESTAMPTZ),
];

/// A row for each walsender; all but the pid is NULL for who may not read everybody's statistics.
/// C: `pg_stat_get_wal_senders`.
pub(crate) fn wal_senders() -> Vec<Vec<Datum>> {
    let allowed = identity::get().statistics_sight().sees_all();
    let statuses = walsnd::statuses();
    let sync = candidates::sync_states(syncrep::config().as_deref(), &statuses);
    let row = |(status, sync): (&Status, (i32, &'static str))| {
        let mut row = vec![Datum::Int4(status.pid)];
        if allowed {
            row.extend(details(status, sync));
        } else {
            row.resize(WAL_SENDERS.len(), Datum::Null);
        }
        row
    };
    statuses.iter().zip(sync).map(row).collect()
}

fn details(status: &Status, (priority, state): (i32, &'static str)) -> [Datum; 11] {
    let position = |lsn: Lsn| if lsn == Lsn::INVALID { Datum::Null } else { Datum::Lsn(lsn.0) };
    let lag = |micros: Option<i64>| {
        micros.map_or(Datum::Null, |usecs| Datum::Interval(Interval { usecs, ..Interval::default() }))
    };
    [
        Datum::text(status.state.text()),
        position(status.sent),
        position(status.write),
        position(status.flush),
        position(status.apply),
        lag(status.write_lag),
        lag(status.flush_lag),
        lag(status.apply_lag),
        Datum::Int4(priority),
        Datum::text(state),
        status.reply_time.map_or(Datum::Null, Datum::TimestampTz),
    ]
}

/// The walsenders joined with what they have in common with other sessions.
pub(super) fn stat_replication(_: &Objects) -> Result<Rows> {
    let sight = identity::get().statistics_sight();
    let sessions = activity::snapshot();
    let row = |mut sender: Vec<Datum>| {
        let Some(Datum::Int4(pid)) = sender.first().cloned() else { return Ok(None) };
        let Some(session) = sessions.iter().find(|session| session.pid == pid) else { return Ok(None) };
        let mut row = session_columns(session, sight.sees(session.usesysid))?;
        row.extend(sender.drain(1..));
        Ok(Some(row))
    };
    wal_senders().into_iter().map(row).filter_map(Result::transpose).collect()
}

/// The columns that `pg_stat_activity` has too.
fn session_columns(session: &Activity, allowed: bool) -> Result<Vec<Datum>> {
    let (address, port) = if allowed { client(session)? } else { (Datum::Null, Datum::Null) };
    let is_known = session.usesysid.is_valid();
    Ok(vec![
        Datum::Int4(session.pid),
        if is_known { Datum::Oid(session.usesysid.0) } else { Datum::Null },
        if is_known { Datum::text(&session.usename) } else { Datum::Null },
        Datum::text(&session.application_name),
        address,
        Datum::Null,
        port,
        if allowed { Datum::TimestampTz(session.backend_start) } else { Datum::Null },
        backend_xmin(session),
    ])
}
