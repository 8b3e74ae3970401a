//! The views that need no table: what the server knows of its processes, settings, roles and databases.
//!
//! C counterpart: catalog/system_views.sql, with the functions behind it.

mod activity; // processes
mod roles; // roles and databases, which have no catalog yet
mod session; // what this session has prepared and opened
mod settings; // configuration

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
    view("pg_auth_members", roles::MEMBERS_COLUMNS, roles::members),
    view("pg_database", roles::DATABASE_COLUMNS, roles::databases),
    view("pg_prepared_statements", session::STATEMENTS_COLUMNS, session::prepared_statements),
    view("pg_cursors", session::CURSORS_COLUMNS, session::cursors),
    view("pg_timezone_names", session::TIMEZONE_COLUMNS, session::timezone_names),
];

fn optional(value: Option<impl AsRef<str>>) -> Datum {
    value.map_or(Datum::Null, Datum::text)
}

fn text_array<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> Datum {
    let values = values.into_iter().map(Datum::text).collect();
    Datum::Array(Rc::new(ArrayValue::from_values(oid::TEXT, values)))
}
