//! Roles in pg_authid and pg_auth_members.

use elog::Result;
use lmgr::LockMode;
use types::{Datum, oid};

use super::{Membership, Role, Roles};
use crate::access::{self, RowId};
use crate::rows::{PgAuthMembersRow, PgAuthidRow, Timestamp};
use crate::tables::{PG_AUTH_MEMBERS, PG_AUTHID};
use crate::{create, relation, syscache};

pub(super) fn load() -> Result<Roles> {
    crate::in_any_transaction(syscache::has_roles, || {
        Ok(Roles {
            roles: syscache::roles()?.iter().map(|row| role(row)).collect(),
            memberships: syscache::memberships()?.iter().map(|row| membership(row)).collect(),
            new_oid: Some(create::new_oid),
        })
    })
}

/// Reads under a lock that keeps other commands about roles out until the end of the transaction, and not from the
/// cache: this transaction may have changed a role in this very command.
pub(super) fn update<T>(change: impl FnOnce(&mut Roles) -> Result<T>) -> Result<T> {
    relation::lock(PG_AUTHID.oid, LockMode::ShareRowExclusive)?;
    let old_roles = access::rows(&PG_AUTHID, |_| true, PgAuthidRow::from_datums)?;
    let old_members = access::rows(&PG_AUTH_MEMBERS, |_| true, PgAuthMembersRow::from_datums)?;
    let mut roles = Roles {
        roles: old_roles.iter().map(|(_, row)| role(row)).collect(),
        memberships: old_members.iter().map(|(_, row)| membership(row)).collect(),
        new_oid: Some(create::new_oid),
    };
    let result = change(&mut roles)?;
    store_roles(&old_roles, &roles.roles)?;
    store_members(&old_members, &roles.memberships)?;
    transam::command_counter_increment()?;
    Ok(result)
}

fn store_roles(old: &[(RowId, PgAuthidRow)], new: &[Role]) -> Result<()> {
    for (id, row) in old {
        match new.iter().find(|role| role.oid == row.oid) {
            None => access::delete(&PG_AUTHID, *id)?,
            Some(changed) if *changed != role(row) => {
                access::update(&PG_AUTHID, *id, &role_row(changed)?.to_datums())?;
            }
            Some(_) => {}
        }
    }
    for added in new.iter().filter(|role| !old.iter().any(|(_, row)| row.oid == role.oid)) {
        access::insert(&PG_AUTHID, &[role_row(added)?.to_datums()])?;
    }
    Ok(())
}

fn store_members(old: &[(RowId, PgAuthMembersRow)], new: &[Membership]) -> Result<()> {
    for (id, row) in old.iter().filter(|(_, row)| !new.contains(&membership(row))) {
        let _ = row;
        access::delete(&PG_AUTH_MEMBERS, *id)?;
    }
    for added in new.iter().filter(|m| !old.iter().any(|(_, row)| membership(row) == **m)) {
        access::insert(&PG_AUTH_MEMBERS, &[member_row(added).to_datums()])?;
    }
    Ok(())
}

fn role(row: &PgAuthidRow) -> Role {
    let until = row.rolvaliduntil.map(|time| Datum::TimestampTz(time.0));
    Role {
        oid: row.oid,
        name: row.rolname.clone(),
        superuser: row.rolsuper,
        inherit: row.rolinherit,
        createrole: row.rolcreaterole,
        createdb: row.rolcreatedb,
        login: row.rolcanlogin,
        replication: row.rolreplication,
        bypassrls: row.rolbypassrls,
        conn_limit: row.rolconnlimit,
        password: row.rolpassword.clone(),
        valid_until: until.map(|until| types::io::output_string(&until, oid::TIMESTAMPTZ)),
    }
}

fn role_row(role: &Role) -> Result<PgAuthidRow> {
    let until = match &role.valid_until {
        Some(text) => match types::io::input(oid::TIMESTAMPTZ, -1, text)? {
            Datum::TimestampTz(time) => Some(Timestamp(time)),
            _ => None,
        },
        None => None,
    };
    Ok(PgAuthidRow {
        oid: role.oid,
        rolname: role.name.clone(),
        rolsuper: role.superuser,
        rolinherit: role.inherit,
        rolcreaterole: role.createrole,
        rolcreatedb: role.createdb,
        rolcanlogin: role.login,
        rolreplication: role.replication,
        rolbypassrls: role.bypassrls,
        rolconnlimit: role.conn_limit,
        rolpassword: role.password.clone(),
        rolvaliduntil: until,
    })
}

fn membership(row: &PgAuthMembersRow) -> Membership {
    Membership { role: row.roleid, member: row.member, grantor: row.grantor, admin: row.admin_option }
}

fn member_row(m: &Membership) -> PgAuthMembersRow {
    PgAuthMembersRow { roleid: m.role, member: m.member, grantor: m.grantor, admin_option: m.admin }
}

impl Roles {
    /// As rows of pg_authid and pg_auth_members.
    pub(crate) fn to_rows(&self) -> Result<(Vec<PgAuthidRow>, Vec<PgAuthMembersRow>)> {
        let roles = self.roles.iter().map(role_row).collect::<Result<_>>()?;
        Ok((roles, self.memberships.iter().map(member_row).collect()))
    }
}
