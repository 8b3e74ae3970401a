//! The views that need no table: what the server knows of its own processes and settings.
//!
//! C counterpart: catalog/system_views.sql, with `pg_stat_get_activity` and the functions behind the others.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use activity::{Activity, ClientAddr};
use common::{BackendType, Oid};
use elog::Result;
use types::{ArrayValue, Datum, oid};

use crate::identity;

/// A view: its name, its columns, and what makes its rows.
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, Oid)],
    pub(crate) rows: fn() -> Result<Vec<Vec<Datum>>>,
}

/// All of them, in `pg_catalog`.
pub(crate) static VIEWS: &[View] = &[
    View { name: "pg_stat_activity", columns: ACTIVITY_COLUMNS, rows: stat_activity },
    View { name: "pg_settings", columns: SETTINGS_COLUMNS, rows: settings },
    View { name: "pg_file_settings", columns: FILE_SETTINGS_COLUMNS, rows: file_settings },
    View { name: "pg_hba_file_rules", columns: HBA_COLUMNS, rows: hba_file_rules },
];

const ACTIVITY_COLUMNS: &[(&str, Oid)] = &[
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
fn stat_activity() -> Result<Vec<Vec<Datum>>> {
    let me = identity::get();
    let sees_all = me.has_privileges_of(catalog::predefined::PG_READ_ALL_STATS);
    activity::snapshot()
        .iter()
        .map(|row| activity_row(row, sees_all || row.usesysid == me.current_user.oid))
        .collect()
}

fn activity_row(row: &Activity, allowed: bool) -> Result<Vec<Datum>> {
    let is_session = row.usesysid.is_valid();
    let known = |is_there: bool, value: Datum| if is_there { value } else { Datum::Null };
    let permitted = |value: Datum| if allowed { value } else { Datum::Null };
    let text = |value: Option<&str>| value.map_or(Datum::Null, Datum::text);
    let moment = |micros: i64| known(micros != 0 && allowed, Datum::TimestampTz(micros));
    let (address, port) = match row.client {
        ClientAddr::None => (Datum::Null, Datum::Null),
        ClientAddr::Local => (Datum::Null, Datum::Int4(-1)),
        ClientAddr::Tcp(ip, port) => {
            (types::io::input(oid::INET, -1, &ip.to_string())?, Datum::Int4(i32::from(port)))
        }
    };
    let wait = shmem::all_procs().get(row.pgprocno).map_or(0, |proc| proc.wait_event_info.load(Relaxed));
    let query = match (allowed, row.backend_type) {
        (false, _) => Datum::text("<insufficient privilege>"),
        (true, _) => Datum::text(&row.query),
    };
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
        Datum::Null,
        Datum::Null,
        Datum::Null,
        query,
        known(
            allowed || row.backend_type == BackendType::Backend,
            Datum::text(row.backend_type.description()),
        ),
    ])
}

const SETTINGS_COLUMNS: &[(&str, Oid)] = &[
    ("name", oid::TEXT),
    ("setting", oid::TEXT),
    ("unit", oid::TEXT),
    ("category", oid::TEXT),
    ("short_desc", oid::TEXT),
    ("extra_desc", oid::TEXT),
    ("context", oid::TEXT),
    ("vartype", oid::TEXT),
    ("source", oid::TEXT),
    ("min_val", oid::TEXT),
    ("max_val", oid::TEXT),
    ("enumvals", oid::_TEXT),
    ("boot_val", oid::TEXT),
    ("reset_val", oid::TEXT),
    ("sourcefile", oid::TEXT),
    ("sourceline", oid::INT4),
    ("pending_restart", oid::BOOL),
];

fn optional(value: Option<impl AsRef<str>>) -> Datum {
    value.map_or(Datum::Null, Datum::text)
}

fn text_array<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> Datum {
    let values = values.into_iter().map(Datum::text).collect();
    Datum::Array(Rc::new(ArrayValue::from_values(oid::TEXT, values)))
}

/// C: `show_all_settings`.
fn settings() -> Result<Vec<Vec<Datum>>> {
    let rows = guc::rows_for(&identity::get().guc_privileges());
    Ok(rows
        .into_iter()
        .map(|row| {
            vec![
                Datum::text(row.name),
                Datum::text(&row.setting),
                optional(row.unit),
                Datum::text(row.category),
                Datum::text(row.short_desc),
                optional(row.extra_desc),
                Datum::text(row.context),
                Datum::text(row.vartype),
                Datum::text(row.source),
                optional(row.min_val),
                optional(row.max_val),
                row.enumvals.map_or(Datum::Null, text_array),
                optional(row.boot_val),
                optional(row.reset_val),
                optional(row.sourcefile),
                row.sourceline.map_or(Datum::Null, Datum::Int4),
                Datum::Bool(row.pending_restart),
            ]
        })
        .collect())
}

const FILE_SETTINGS_COLUMNS: &[(&str, Oid)] = &[
    ("sourcefile", oid::TEXT),
    ("sourceline", oid::INT4),
    ("seqno", oid::INT4),
    ("name", oid::TEXT),
    ("setting", oid::TEXT),
    ("applied", oid::BOOL),
    ("error", oid::TEXT),
];

/// C: `show_all_file_settings`.
fn file_settings() -> Result<Vec<Vec<Datum>>> {
    identity::get().require_superuser("permission denied for view pg_file_settings")?;
    let rows = guc::file_settings().into_iter();
    Ok(rows
        .map(|row| {
            vec![
                optional(row.sourcefile),
                row.sourceline.map_or(Datum::Null, Datum::Int4),
                Datum::Int4(row.seqno),
                optional(row.name),
                optional(row.setting),
                Datum::Bool(row.applied),
                optional(row.error),
            ]
        })
        .collect())
}

const HBA_COLUMNS: &[(&str, Oid)] = &[
    ("line_number", oid::INT4),
    ("type", oid::TEXT),
    ("database", oid::_TEXT),
    ("user_name", oid::_TEXT),
    ("address", oid::TEXT),
    ("netmask", oid::TEXT),
    ("auth_method", oid::TEXT),
    ("options", oid::_TEXT),
    ("error", oid::TEXT),
];

/// C: `pg_hba_file_rules`.
fn hba_file_rules() -> Result<Vec<Vec<Datum>>> {
    identity::get().require_superuser("permission denied for view pg_hba_file_rules")?;
    let rows = libpq::hba::file_rules()?.into_iter();
    Ok(rows
        .map(|row| {
            vec![
                Datum::Int4(row.line_number),
                optional(row.kind),
                row.database.map_or(Datum::Null, text_array),
                row.user_name.map_or(Datum::Null, text_array),
                optional(row.address),
                optional(row.netmask),
                optional(row.auth_method),
                row.options.map_or(Datum::Null, text_array),
                optional(row.error),
            ]
        })
        .collect())
}
