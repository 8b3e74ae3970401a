//! The views that need no table: what the server knows of its processes, settings, roles and databases.
//!
//! C counterpart: catalog/system_views.sql, with the functions behind it.

mod activity; // processes
mod prepared; // prepared transactions
mod progress; // base backups
pub(crate) mod replication; // walsenders
mod roles; // roles
mod session; // what this session has prepared and opened
mod settings; // configuration
pub(crate) mod slots; // replication slots
pub(crate) mod statistics; // counters and locks
pub(crate) mod walreceiver; // the walreceiver

use std::rc::Rc;

use common::Oid;
use elog::Result;
use types::{ArrayValue, Datum, oid};

use crate::objects::Objects;
use crate::portal::Row;

type Columns = &'static [(&'static str, Oid)];
type Rows = Vec<Row>;

/// A view: its name, its columns, and what makes its rows.
pub(crate) struct View {
    pub(crate) name: &'static str,
    pub(crate) columns: Columns,
    pub(crate) rows: fn(&Objects) -> Result<Rows>,
}

const fn view(name: &'static str, columns: Columns, rows: fn(&Objects) -> Result<Rows>) -> View {
    View { name, columns, rows }
}

/// All of them, in `pg_catalog`.
pub(crate) static VIEWS: &[View] = &[
    view("pg_stat_activity", activity::ACTIVITY_COLUMNS, activity::stat_activity),
    view("pg_stat_ssl", activity::SSL_COLUMNS, activity::stat_ssl),
    view("pg_settings", settings::SETTINGS_COLUMNS, settings::settings),
    view("pg_file_settings", settings::FILE_SETTINGS_COLUMNS, settings::file_settings),
    view("pg_hba_file_rules", settings::HBA_COLUMNS, settings::hba_file_rules),
    view("pg_ident_file_mappings", settings::IDENT_COLUMNS, settings::ident_file_mappings),
    view("pg_roles", roles::ROLES_COLUMNS, roles::roles),
    view("pg_user", roles::USER_COLUMNS, roles::users),
    view("pg_stat_all_tables", statistics::TABLES_COLUMNS, statistics::all_tables),
    view("pg_stat_user_tables", statistics::TABLES_COLUMNS, statistics::user_tables),
    view("pg_stat_sys_tables", statistics::TABLES_COLUMNS, statistics::sys_tables),
    view("pg_statio_all_tables", statistics::STATIO_COLUMNS, statistics::statio_all_tables),
    view("pg_statio_user_tables", statistics::STATIO_COLUMNS, statistics::statio_user_tables),
    view("pg_statio_sys_tables", statistics::STATIO_COLUMNS, statistics::statio_sys_tables),
    view("pg_stat_database", statistics::DATABASE_COLUMNS, statistics::databases),
    view("pg_stat_bgwriter", statistics::BGWRITER_COLUMNS, statistics::bgwriter),
    view("pg_stat_wal", statistics::WAL_COLUMNS, statistics::wal),
    view("pg_stat_archiver", statistics::ARCHIVER_COLUMNS, statistics::archiver),
    view("pg_locks", statistics::LOCKS_COLUMNS, statistics::locks),
    view("pg_prepared_xacts", prepared::COLUMNS, prepared::prepared_xacts),
    view("pg_tables", statistics::PG_TABLES_COLUMNS, statistics::pg_tables),
    view("pg_prepared_statements", session::STATEMENTS_COLUMNS, session::prepared_statements),
    view("pg_cursors", session::CURSORS_COLUMNS, session::cursors),
    view("pg_timezone_names", session::TIMEZONE_COLUMNS, session::timezone_names),
    view("pg_stat_database_conflicts", statistics::CONFLICTS_COLUMNS, statistics::database_conflicts),
    view("pg_stat_replication", replication::COLUMNS, replication::stat_replication),
    view("pg_replication_slots", slots::COLUMNS, slots::slots),
    view("pg_stat_replication_slots", slots::STATISTICS_COLUMNS, slots::statistics),
    view("pg_stat_wal_receiver", walreceiver::COLUMNS, walreceiver::stat_wal_receiver),
    view("pg_stat_progress_basebackup", progress::BASE_BACKUP_COLUMNS, progress::base_backups),
];

/// OIDs from here on are the views', in the order above: from the range of a cluster's own first objects.
const FIRST_OID: u32 = 12_000;

/// The OID of a view, by its place.
pub(crate) fn oid_at(index: usize) -> Oid {
    Oid(FIRST_OID + index as u32)
}

/// The OID of the view of this name.
pub(crate) fn oid_of(name: &str) -> Option<Oid> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    VIEWS.iter().position(|view| view.name == name).map(oid_at)
}

/// The name of the view with this OID.
pub(crate) fn name_of(oid: Oid) -> Option<&'static str> {
    let index = oid.0.checked_sub(FIRST_OID)?;
    VIEWS.get(index as usize).map(|view| view.name)
}

fn optional(value: Option<impl AsRef<str>>) -> Datum {
    value.map_or(Datum::Null, Datum::text)
}

fn text_array<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> Datum {
    let values = values.into_iter().map(Datum::text).collect();
    Datum::Array(Rc::new(ArrayValue::from_values(oid::TEXT, values)))
}
