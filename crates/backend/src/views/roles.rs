//! `pg_roles`, `pg_user`, `pg_auth_members`, `pg_database`: computed from the flat files until there are catalogs.
//!
//! C counterpart: catalog/pg_authid.h, pg_auth_members.h, pg_database.h and the views over them.

use catalog::authid::{self, Role};
use catalog::database;
use elog::Result;
use miscinit::globals::data_dir;
use types::{Datum, oid};

use super::{Columns, Rows, text_array};
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

pub(super) const MEMBERS_COLUMNS: Columns =
    &[("roleid", oid::OID), ("member", oid::OID), ("grantor", oid::OID), ("admin_option", oid::BOOL)];

pub(super) fn members(_: &Objects) -> Result<Rows> {
    let all = authid::load(data_dir())?.memberships()?.into_iter();
    Ok(all
        .map(|m| {
            vec![Datum::Oid(m.role.0), Datum::Oid(m.member.0), Datum::Oid(m.grantor.0), Datum::Bool(m.admin)]
        })
        .collect())
}

/// `datacl` is an array of text here: the type aclitem comes with privileges.
pub(super) const DATABASE_COLUMNS: Columns = &[
    ("oid", oid::OID),
    ("datname", oid::NAME),
    ("datdba", oid::OID),
    ("encoding", oid::INT4),
    ("datlocprovider", oid::CHAR),
    ("datistemplate", oid::BOOL),
    ("datallowconn", oid::BOOL),
    ("datconnlimit", oid::INT4),
    ("datfrozenxid", oid::XID),
    ("datminmxid", oid::XID),
    ("dattablespace", oid::OID),
    ("datcollate", oid::TEXT),
    ("datctype", oid::TEXT),
    ("daticulocale", oid::TEXT),
    ("datcollversion", oid::TEXT),
    ("datacl", oid::_TEXT),
];

/// The oldest transaction id of a new cluster. C: what `bootstrap` leaves in `datfrozenxid` before any vacuum.
const FIRST_XID: u32 = 3;

pub(super) fn databases(_: &Objects) -> Result<Rows> {
    let roles = authid::load(data_dir())?;
    let row = |database: database::Database| {
        let owner = roles.find_oid(database.owner)?.map_or_else(String::new, |role| role.name);
        // Everybody may connect to a template, only its owner may change it.
        let acl = [format!("=c/{owner}"), format!("{owner}=CTc/{owner}")];
        Ok(vec![
            Datum::Oid(database.oid.0),
            Datum::text(&database.name),
            Datum::Oid(database.owner.0),
            Datum::Int4(database.encoding.id()),
            Datum::Char(b'c'),
            Datum::Bool(database.is_template),
            Datum::Bool(database.allow_conn),
            Datum::Int4(database.conn_limit),
            Datum::Xid(FIRST_XID),
            Datum::Xid(1),
            Datum::Oid(database.tablespace.0),
            Datum::text(&database.collate),
            Datum::text(&database.ctype),
            Datum::Null,
            Datum::Null,
            if database.is_template { text_array(acl) } else { Datum::Null },
        ])
    };
    database::load(data_dir())?.all()?.into_iter().map(row).collect()
}
