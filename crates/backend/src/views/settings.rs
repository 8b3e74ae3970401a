//! `pg_settings`, `pg_file_settings`, `pg_hba_file_rules`, `pg_ident_file_mappings`: configuration.
//!
//! C counterpart: `show_all_settings` and `show_all_file_settings` of utils/misc/guc.c, utils/adt/hbafuncs.c.

use elog::Result;
use types::{Datum, oid};

use super::{Columns, Rows, optional, text_array};
use crate::identity;
use crate::objects::Objects;

pub(super) const SETTINGS_COLUMNS: Columns = &[
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

/// C: `show_all_settings`.
pub(super) fn settings(_: &Objects) -> Result<Rows> {
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

pub(super) const FILE_SETTINGS_COLUMNS: Columns = &[
    ("sourcefile", oid::TEXT),
    ("sourceline", oid::INT4),
    ("seqno", oid::INT4),
    ("name", oid::TEXT),
    ("setting", oid::TEXT),
    ("applied", oid::BOOL),
    ("error", oid::TEXT),
];

/// C: `show_all_file_settings`.
pub(super) fn file_settings(_: &Objects) -> Result<Rows> {
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

pub(super) const HBA_COLUMNS: Columns = &[
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
pub(super) fn hba_file_rules(_: &Objects) -> Result<Rows> {
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

pub(super) const IDENT_COLUMNS: Columns = &[
    ("line_number", oid::INT4),
    ("map_name", oid::TEXT),
    ("sys_name", oid::TEXT),
    ("pg_username", oid::TEXT),
    ("error", oid::TEXT),
];

/// C: `pg_ident_file_mappings`.
pub(super) fn ident_file_mappings(_: &Objects) -> Result<Rows> {
    identity::get().require_superuser("permission denied for view pg_ident_file_mappings")?;
    let rows = libpq::hba::file_mappings()?.into_iter();
    Ok(rows
        .map(|row| {
            vec![
                Datum::Int4(row.line_number),
                optional(row.map_name),
                optional(row.sys_name),
                optional(row.pg_username),
                optional(row.error),
            ]
        })
        .collect())
}
