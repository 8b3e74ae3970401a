//! Roles and who is a member of whom: pg_authid and pg_auth_members.
//!
//! [`Roles`] is all of them as of one moment, in memory; [`update`] stores what a command made of it, row by row.
//!
//! C counterpart: catalog/pg_authid.h, pg_auth_members.h, commands/user.c (what changes, not who may),
//! utils/adt/acl.c (`is_member_of_role` and its like).

use std::collections::HashSet;
use std::path::Path;

use common::{Oid, SqlState};
use elog::{PgError, Result, error};

use crate::predefined;

mod stored;

/// A role. C: `FormData_pg_authid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `oid`.
    pub oid: Oid,
    /// `rolname`.
    pub name: String,
    /// `rolsuper`: no check applies to it.
    pub superuser: bool,
    /// `rolinherit`: has the rights of the roles it is a member of.
    pub inherit: bool,
    /// `rolcreaterole`.
    pub createrole: bool,
    /// `rolcreatedb`.
    pub createdb: bool,
    /// `rolcanlogin`.
    pub login: bool,
    /// `rolreplication`.
    pub replication: bool,
    /// `rolbypassrls`.
    pub bypassrls: bool,
    /// `rolconnlimit`, -1 for none.
    pub conn_limit: i32,
    /// `rolpassword`: a SCRAM verifier (or an md5 one, which nothing here makes).
    pub password: Option<String>,
    /// `rolvaliduntil`, as text of a timestamp with time zone: the password is good until then.
    pub valid_until: Option<String>,
}

impl Role {
    /// What `CREATE ROLE name` makes: inherits, has no other attribute. The oid is given by
    /// [`Roles::create`].
    pub fn new(name: impl Into<String>) -> Role {
        Role {
            oid: Oid::INVALID,
            name: name.into(),
            superuser: false,
            inherit: true,
            createrole: false,
            createdb: false,
            login: false,
            replication: false,
            bypassrls: false,
            conn_limit: -1,
            password: None,
            valid_until: None,
        }
    }
}

/// `member` has been granted `role`. C: `FormData_pg_auth_members`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub role: Oid,
    /// Who is in it.
    pub member: Oid,
    /// Who put it there.
    pub grantor: Oid,
    /// May the member let others in?
    pub admin: bool,
}

/// All roles as of one moment.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    roles: Vec<Role>,
    memberships: Vec<Membership>,
    /// Gives out OIDs: the cluster's counter, or the next after the highest.
    new_oid: Option<fn() -> Result<Oid>>,
}

/// Reads the cluster's roles: from memory, unless they have changed since the last time. Works before a database
/// is chosen. The data directory is the current one.
///
/// # Errors
/// What reading the catalogs says.
pub fn load(_data_dir: &Path) -> Result<Roles> {
    stored::load()
}

/// Reads the roles, changes them, and stores what has changed: as part of the transaction, and while no other
/// session can. If `change` fails, nothing has happened.
///
/// # Errors
/// Those of `change` and of storing.
pub fn update<T>(_data_dir: &Path, change: impl FnOnce(&mut Roles) -> Result<T>) -> Result<T> {
    stored::update(change)
}

impl Roles {
    /// The roles of a new cluster: its superuser, with this password verifier, and the predefined ones.
    pub fn initial(superuser: &str, password: Option<String>) -> Roles {
        let superuser = Role {
            oid: predefined::BOOTSTRAP_SUPERUSER,
            superuser: true,
            createrole: true,
            createdb: true,
            login: true,
            replication: true,
            bypassrls: true,
            password,
            ..Role::new(superuser)
        };
        let mut roles = vec![superuser];
        roles.extend(predefined::ROLES.map(|(oid, name)| Role { oid, ..Role::new(name) }));
        let memberships = predefined::MEMBERSHIPS.map(|(role, member)| {
            let grantor = predefined::BOOTSTRAP_SUPERUSER;
            Membership { role, member, grantor, admin: false }
        });
        Roles { roles, memberships: memberships.to_vec(), new_oid: None }
    }

    /// The role of this name.
    pub fn find(&self, name: &str) -> Result<Option<Role>> {
        Ok(self.roles.iter().find(|role| role.name == name).cloned())
    }

    /// The role of this name, or `role "x" does not exist`. C: `get_role_oid`.
    pub fn get(&self, name: &str) -> Result<Role> {
        self.find(name)?.ok_or_else(|| no_such_role(name))
    }

    /// The role with this oid. C: `GetUserNameFromId` and the cache `AUTHOID`.
    pub fn find_oid(&self, oid: Oid) -> Result<Option<Role>> {
        Ok(self.roles.iter().find(|role| role.oid == oid).cloned())
    }

    /// Every role.
    pub fn all(&self) -> Result<Vec<Role>> {
        Ok(self.roles.clone())
    }

    /// Every membership.
    pub fn memberships(&self) -> Result<Vec<Membership>> {
        Ok(self.memberships.clone())
    }

    /// Is it the role itself, or a member of it, directly or through others? Being superuser does not
    /// count. C: `is_member_of_role_nosuper`.
    pub fn is_member_of(&self, member: Oid, role: Oid) -> Result<bool> {
        Ok(member == role || self.roles_of(member, |_| Ok(true))?.contains(&role))
    }

    /// Does it have the rights of the role: as superuser, or as member through roles that inherit?
    /// C: `has_privs_of_role`.
    pub fn has_privileges_of(&self, member: Oid, role: Oid) -> Result<bool> {
        if member == role || self.find_oid(member)?.is_some_and(|found| found.superuser) {
            return Ok(true);
        }
        let inherits = |oid| Ok(self.find_oid(oid)?.is_some_and(|found| found.inherit));
        Ok(self.roles_of(member, inherits)?.contains(&role))
    }

    /// All that `member` is in, following those roles for which `follow` says so. C: `roles_is_member_of`.
    fn roles_of(&self, member: Oid, follow: impl Fn(Oid) -> Result<bool>) -> Result<HashSet<Oid>> {
        let memberships = self.memberships()?;
        let mut reached = HashSet::from([member]);
        let mut to_visit = vec![member];
        while let Some(current) = to_visit.pop() {
            if !follow(current)? {
                continue;
            }
            let groups = memberships.iter().filter(|m| m.member == current).map(|m| m.role);
            to_visit.extend(groups.filter(|role| reached.insert(*role)));
        }
        Ok(reached)
    }

    /// Adds a role, giving it an oid if it has none, and returns that. C: `CreateRole`.
    pub fn create(&mut self, mut role: Role) -> Result<Oid> {
        check_not_reserved(&role.name, "Role names starting with \"pg_\" are reserved.")?;
        if self.find(&role.name)?.is_some() {
            return Err(duplicate_role(&role.name));
        }
        if !role.oid.is_valid() {
            role.oid = self.next_oid()?;
        }
        let oid = role.oid;
        self.roles.push(role);
        Ok(oid)
    }

    /// Changes a role, its name included. C: `AlterRole`, `RenameRole`.
    pub fn alter(&mut self, name: &str, change: impl FnOnce(&mut Role)) -> Result<()> {
        check_not_reserved(name, "Cannot alter reserved roles.")?;
        let mut role = self.get(name)?;
        let oid = role.oid;
        change(&mut role);
        role.oid = oid;
        if role.name != name {
            check_not_reserved(&role.name, "Role names starting with \"pg_\" are reserved.")?;
            if self.find(&role.name)?.is_some() {
                return Err(duplicate_role(&role.name));
            }
        }
        for slot in self.roles.iter_mut().filter(|slot| slot.oid == oid) {
            *slot = role.clone();
        }
        Ok(())
    }

    /// Removes a role and its memberships. Whether databases or sessions still need it is the caller's
    /// question. C: `DropRole`.
    #[doc(alias = "drop")]
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let role = self.get(name)?;
        if role.oid < predefined::FIRST_NORMAL_OID {
            return Err(error!(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                "cannot drop role {name} because it is required by the database system"
            ));
        }
        self.roles.retain(|other| other.oid != role.oid);
        self.memberships.retain(|m| m.role != role.oid && m.member != role.oid);
        Ok(())
    }

    /// Makes a role a member of another; granting twice can only add the admin option. Returns false if
    /// nothing changed. C: `AddRoleMems`.
    pub fn grant(&mut self, membership: Membership) -> Result<bool> {
        if self.is_member_of(membership.role, membership.member)? {
            let name = |oid| Ok::<_, PgError>(self.find_oid(oid)?.map_or_else(String::new, |role| role.name));
            return Err(error!(
                SqlState::INVALID_GRANT_OPERATION,
                "role \"{}\" is a member of role \"{}\"",
                name(membership.role)?,
                name(membership.member)?
            ));
        }
        let same = |m: &Membership| m.role == membership.role && m.member == membership.member;
        if self.memberships()?.iter().any(|m| same(m) && (m.admin || !membership.admin)) {
            return Ok(false);
        }
        self.revoke(membership.role, membership.member);
        self.memberships.push(membership);
        Ok(true)
    }

    /// Ends a membership. Returns false if there was none. C: `DelRoleMems`.
    pub fn revoke(&mut self, role: Oid, member: Oid) -> bool {
        let before = self.memberships.len();
        self.memberships.retain(|m| m.role != role || m.member != member);
        self.memberships.len() != before
    }

    fn next_oid(&self) -> Result<Oid> {
        if let Some(new_oid) = self.new_oid {
            return new_oid();
        }
        let highest = self.roles.iter().map(|role| role.oid.0).max().unwrap_or(0);
        let next = highest.checked_add(1).map(|next| next.max(predefined::FIRST_NORMAL_OID.0));
        next.map(Oid).ok_or_else(|| error!(SqlState::PROGRAM_LIMIT_EXCEEDED, "out of role identifiers"))
    }
}

fn check_not_reserved(name: &str, detail: &str) -> Result<()> {
    if predefined::is_reserved_name(name) {
        return Err(error!(SqlState::RESERVED_NAME, "role name \"{name}\" is reserved").detail(detail));
    }
    Ok(())
}

fn duplicate_role(name: &str) -> PgError {
    error!(SqlState::DUPLICATE_OBJECT, "role \"{name}\" already exists")
}

fn no_such_role(name: &str) -> PgError {
    error!(SqlState::UNDEFINED_OBJECT, "role \"{name}\" does not exist")
}

#[cfg(test)]
mod tests;
