//! Prepared transactions.
//!
//! C counterpart: `pg_prepared_xacts` of catalog/system_views.sql.

use catalog::syscache;
use elog::Result;
use transam::twophase;
use types::{Datum, oid};

use super::{Columns, Rows, optional};
use crate::objects::Objects;

pub(super) const COLUMNS: Columns = &[
    ("transaction", oid::XID),
    ("gid", oid::TEXT),
    ("prepared", oid::TIMESTAMPTZ),
    ("owner", oid::NAME),
    ("database", oid::NAME),
];

/// `pg_prepared_xacts`. Of a role or database that is gone the name is NULL.
pub(super) fn prepared_xacts(_: &Objects) -> Result<Rows> {
    let row = |prepared: twophase::PreparedXact| {
        let owner = syscache::role(prepared.owner)?;
        let database = syscache::database(prepared.database)?;
        Ok(vec![
            Datum::Xid(prepared.xid.0),
            Datum::text(&prepared.gid),
            Datum::TimestampTz(prepared.prepared_at),
            optional(owner.map(|role| role.rolname.clone())),
            optional(database.map(|database| database.datname.clone())),
        ])
    };
    twophase::rows().into_iter().map(row).collect()
}
