//! `pg_stat_activity` and `pg_stat_ssl`: the processes of the cluster.
//!
//! C counterpart: utils/adt/pgstatfuncs.c.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use activity::{Activity, ClientAddr};
use elog::Result;
use shmem::PgProc;
use types::{Datum, oid};

use super::{Columns, Rows};
use crate::identity;
use crate::objects::Objects;

pub(super) const ACTIVITY_COLUMNS: Columns = &[
    ("datid", oid::OID),
    ("datname", oid::NAME),
    ("pid", oid::INT4),
    ("leader_pid", oid::INT4),
    ("usesysid", oid::OID),
    ("usename", oid::NAME),
    ("application_name", oid::TEXT),
    ("client_addr", oid::INET),
    ("client_hostname", oid::TEXT),
    ("client_port", oid::INT4),
    ("backend_start", oid::TIMESTAMPTZ),
    ("xact_start", oid::TIMESTAMPTZ),
    ("query_start", oid::TIMESTAMPTZ),
    ("state_change", oid::TIMESTAMPTZ),
    ("wait_event_type", oid::TEXT),
    ("wait_event", oid::TEXT),
    ("state", oid::TEXT),
    ("backend_xid", oid::XID),
    ("backend_xmin", oid::XID),
    ("query_id", oid::INT8),
    ("query", oid::TEXT),
    ("backend_type", oid::TEXT),
];

/// C: `pg_stat_get_activity`.
pub(super) fn stat_activity(_: &Objects) -> Result<Rows> {
    let sight = identity::get().statistics_sight();
    activity::snapshot().iter().map(|row| activity_row(row, sight.sees(row.usesysid))).collect()
}

fn activity_row(row: &Activity, allowed: bool) -> Result<Vec<Datum>> {
    let is_session = row.usesysid.is_valid();
    let known = |is_there: bool, value: Datum| if is_there { value } else { Datum::Null };
    let permitted = |value: Datum| if allowed { value } else { Datum::Null };
    let text = |value: Option<&str>| value.map_or(Datum::Null, Datum::text);
    let moment = |micros: i64| known(micros != 0 && allowed, Datum::TimestampTz(micros));
    let (address, port) = client(row)?;
    let wait = shmem::all_procs().get(row.pgprocno).map_or(0, |proc| proc.wait_event_info.load(Relaxed));
    let query = Datum::text(if allowed { &row.query } else { "<insufficient privilege>" });
    Ok(vec![
        known(row.datid.is_valid(), Datum::Oid(row.datid.0)),
        known(row.datid.is_valid(), Datum::text(&row.datname)),
        Datum::Int4(row.pid),
        Datum::Null,
        known(is_session, Datum::Oid(row.usesysid.0)),
        known(is_session, Datum::text(&row.usename)),
        Datum::text(&row.application_name),
        permitted(address),
        Datum::Null,
        permitted(port),
        moment(row.backend_start),
        moment(row.xact_start),
        moment(row.query_start),
        moment(row.state_change),
        permitted(text(shmem::wait_event::type_name(wait))),
        permitted(text(shmem::wait_event::event_name(wait))),
        permitted(text(row.state.word())),
        proc_xid(row, |proc| &proc.xid),
        backend_xmin(row),
        Datum::Null,
        query,
        permitted(Datum::text(row.backend_type.description())),
    ])
}

/// Its address and port.
pub(super) fn client(row: &Activity) -> Result<(Datum, Datum)> {
    Ok(match row.client {
        ClientAddr::None => (Datum::Null, Datum::Null),
        ClientAddr::Local => (Datum::Null, Datum::Int4(-1)),
        ClientAddr::Tcp(ip, port) => {
            (types::io::input(oid::INET, -1, &ip.to_string())?, Datum::Int4(i32::from(port)))
        }
    })
}

/// The oldest transaction that it, or the standby that it serves, may still look at.
pub(super) fn backend_xmin(row: &Activity) -> Datum {
    proc_xid(row, |proc| &proc.xmin)
}

fn proc_xid(row: &Activity, field: fn(&PgProc) -> &AtomicU32) -> Datum {
    let xid = shmem::all_procs().get(row.pgprocno).map_or(0, |proc| field(proc).load(Relaxed));
    if xid == 0 { Datum::Null } else { Datum::Xid(xid) }
}

pub(super) const SSL_COLUMNS: Columns = &[
    ("pid", oid::INT4),
    ("ssl", oid::BOOL),
    ("version", oid::TEXT),
    ("cipher", oid::TEXT),
    ("bits", oid::INT4),
    ("client_dn", oid::TEXT),
    ("client_serial", oid::NUMERIC),
    ("issuer_dn", oid::TEXT),
];

/// The sessions whose address the user may see. C: the second half of `pg_stat_get_activity`, and `pg_stat_ssl` of
/// catalog/system_views.sql.
pub(super) fn stat_ssl(_: &Objects) -> Result<Rows> {
    let sight = identity::get().statistics_sight();
    let has_client = |row: &Activity| !matches!(row.client, ClientAddr::None);
    let sessions = activity::snapshot().into_iter().filter(|row| has_client(row) && sight.sees(row.usesysid));
    let row = |row: Activity| {
        let (version, cipher, bits) = match &row.tls {
            Some((version, cipher, bits)) => (Datum::text(version), Datum::text(cipher), Datum::Int4(*bits)),
            None => (Datum::Null, Datum::Null, Datum::Null),
        };
        let certificate = [Datum::Null, Datum::Null, Datum::Null];
        let known = [Datum::Int4(row.pid), Datum::Bool(row.tls.is_some()), version, cipher, bits];
        known.into_iter().chain(certificate).collect()
    };
    Ok(sessions.map(row).collect())
}
