//! `pg_prepared_statements`, `pg_cursors`, `pg_timezone_names`: what this session has, and what it may name.
//!
//! C counterpart: `pg_prepared_statement` of commands/prepare.c, `pg_cursor` of utils/mmgr/portalmem.c,
//! `pg_timezone_names` of utils/adt/datetime.c.

use std::rc::Rc;

use elog::Result;
use types::{ArrayValue, Datum, Interval, oid};

use super::{Columns, Rows};
use crate::objects::Objects;

pub(super) const STATEMENTS_COLUMNS: Columns = &[
    ("name", oid::TEXT),
    ("statement", oid::TEXT),
    ("prepare_time", oid::TIMESTAMPTZ),
    ("parameter_types", oid::_REGTYPE),
    ("from_sql", oid::BOOL),
    ("generic_plans", oid::INT8),
    ("custom_plans", oid::INT8),
];

/// A query is planned once, when it is prepared; so all its runs use a generic plan, and nobody counts them.
pub(super) fn prepared_statements(objects: &Objects) -> Result<Rows> {
    Ok(objects.map_statements(|name, prepared| {
        let types = prepared.param_types().iter().map(|ty| Datum::Oid(ty.0)).collect();
        vec![
            Datum::text(name),
            Datum::text(&prepared.text),
            Datum::TimestampTz(prepared.created),
            Datum::Array(Rc::new(ArrayValue::from_values(oid::REGTYPE, types))),
            Datum::Bool(prepared.from_sql),
            Datum::Int8(0),
            Datum::Int8(0),
        ]
    }))
}

pub(super) const CURSORS_COLUMNS: Columns = &[
    ("name", oid::TEXT),
    ("statement", oid::TEXT),
    ("is_holdable", oid::BOOL),
    ("is_binary", oid::BOOL),
    ("is_scrollable", oid::BOOL),
    ("creation_time", oid::TIMESTAMPTZ),
];

pub(super) fn cursors(objects: &Objects) -> Result<Rows> {
    Ok(objects.map_portals(|portal| {
        let options = portal.options();
        vec![
            Datum::text(portal.name()),
            Datum::text(&portal.prepared().text),
            Datum::Bool(options.hold),
            Datum::Bool(options.binary),
            Datum::Bool(options.scroll == Some(true)),
            Datum::TimestampTz(portal.created),
        ]
    }))
}

pub(super) const TIMEZONE_COLUMNS: Columns =
    &[("name", oid::TEXT), ("abbrev", oid::TEXT), ("utc_offset", oid::INTERVAL), ("is_dst", oid::BOOL)];

/// All zones, as they are at this moment.
pub(super) fn timezone_names(_: &Objects) -> Result<Rows> {
    let now = jiff::Timestamp::now();
    let zones = jiff::tz::db()
        .available()
        .filter_map(|name| guc::lookup_timezone(name.as_str()).map(|zone| (name, zone)));
    Ok(zones
        .map(|(name, zone)| {
            let info = zone.to_offset_info(now);
            let offset =
                Interval { months: 0, days: 0, usecs: i64::from(info.offset().seconds()) * 1_000_000 };
            vec![
                Datum::text(name.as_str()),
                Datum::text(info.abbreviation()),
                Datum::Interval(offset),
                Datum::Bool(info.dst().is_dst()),
            ]
        })
        .collect())
}
