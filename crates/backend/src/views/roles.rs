//! `pg_roles`, `pg_user`: views over pg_authid.
//!
//! C counterpart: the views of that name in catalog/system_views.sql.

use catalog::authid::{self, Role};
use elog::Result;
use miscinit::globals::data_dir;
use types::{Datum, oid};

use super::{Columns, Rows};
use crate::objects::Objects;

pub(super) const ROLES_COLUMNS: Columns = &[
    ("rolname", oid::NAME),
    ("rolsuper", oid::BOOL),
    ("rolinherit", oid::BOOL),
    ("rolcreaterole", oid::BOOL),
    ("rolcreatedb", oid::BOOL),
    ("rolcanlogin", oid::BOOL),
    ("rolreplication", oid::BOOL),
    ("rolconnlimit", oid::INT4),
    ("rolpassword", oid::TEXT),
    ("rolvaliduntil", oid::TIMESTAMPTZ),
    ("rolbypassrls", oid::BOOL),
    ("rolconfig", oid::_TEXT),
    ("oid", oid::OID),
];

/// Nobody sees a password, not even whether there is one.
const HIDDEN_PASSWORD: &str = "********";

fn valid_until(role: &Role) -> Result<Datum> {
    match &role.valid_until {
        Some(text) => types::io::input(oid::TIMESTAMPTZ, -1, text),
        None => Ok(Datum::Null),
    }
}

pub(super) fn roles(_: &Objects) -> Result<Rows> {
    let row = |role: Role| {
        Ok(vec![
            Datum::text(&role.name),
            Datum::Bool(role.superuser),
            Datum::Bool(role.inherit),
            Datum::Bool(role.createrole),
            Datum::Bool(role.createdb),
            Datum::Bool(role.login),
            Datum::Bool(role.replication),
            Datum::Int4(role.conn_limit),
            Datum::text(HIDDEN_PASSWORD),
            valid_until(&role)?,
            Datum::Bool(role.bypassrls),
            Datum::Null,
            Datum::Oid(role.oid.0),
        ])
    };
    authid::load(data_dir())?.all()?.into_iter().map(row).collect()
}

pub(super) const USER_COLUMNS: Columns = &[
    ("usename", oid::NAME),
    ("usesysid", oid::OID),
    ("usecreatedb", oid::BOOL),
    ("usesuper", oid::BOOL),
    ("userepl", oid::BOOL),
    ("usebypassrls", oid::BOOL),
    ("passwd", oid::TEXT),
    ("valuntil", oid::TIMESTAMPTZ),
    ("useconfig", oid::_TEXT),
];

pub(super) fn users(_: &Objects) -> Result<Rows> {
    let row = |role: Role| {
        Ok(vec![
            Datum::text(&role.name),
            Datum::Oid(role.oid.0),
            Datum::Bool(role.createdb),
            Datum::Bool(role.superuser),
            Datum::Bool(role.replication),
            Datum::Bool(role.bypassrls),
            Datum::text(HIDDEN_PASSWORD),
            valid_until(&role)?,
            Datum::Null,
        ])
    };
    authid::load(data_dir())?.all()?.into_iter().filter(|role| role.login).map(row).collect()
}
