//! Roles and who is a member of whom: `global/pg_auth`.
//!
//! A line of a role: name, oid, attributes, connection limit, password, end of validity. A line of a
//! membership: the word `member`, then the oids of role, member and grantor, then `admin` or `-`.
//!
//! C counterpart: catalog/pg_authid.h, pg_auth_members.h, commands/user.c (what changes, not who may),
//! utils/adt/acl.c (`is_member_of_role` and its like).

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

use common::{Oid, SqlState};
use elog::{PgError, Result, error};

use crate::flat_file::{FlatFile, Words, name_prefix, push_flags, push_quoted, while_locked};
use crate::predefined;

/// Where roles are, below the data directory.
pub const AUTH_FILE: &str = "global/pg_auth";

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

const ATTRIBUTES: [&str; 7] =
    ["superuser", "inherit", "createrole", "createdb", "login", "replication", "bypassrls"];

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

    fn to_line(&self) -> String {
        let mut line = name_prefix(&self.name);
        let _ = write!(line, "{} ", self.oid);
        push_flags(
            &mut line,
            ATTRIBUTES,
            [
                self.superuser,
                self.inherit,
                self.createrole,
                self.createdb,
                self.login,
                self.replication,
                self.bypassrls,
            ],
        );
        let _ = write!(line, " {}", self.conn_limit);
        for optional in [&self.password, &self.valid_until] {
            line.push(' ');
            match optional {
                Some(text) => push_quoted(&mut line, text),
                None => line.push('-'),
            }
        }
        line
    }

    fn from_line(line: &str) -> Option<Role> {
        let mut words = Words(line);
        let name = words.quoted()?.into_owned();
        let oid = Oid(words.number()?);
        let [superuser, inherit, createrole, createdb, login, replication, bypassrls] =
            words.flags(ATTRIBUTES)?;
        Some(Role {
            oid,
            name,
            superuser,
            inherit,
            createrole,
            createdb,
            login,
            replication,
            bypassrls,
            conn_limit: words.number()?,
            password: words.optional()?.map(Cow::into_owned),
            valid_until: words.optional()?.map(Cow::into_owned),
        })
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

const MEMBER: &str = "member ";

impl Membership {
    fn to_line(self) -> String {
        let Membership { role, member, grantor, admin } = self;
        format!("{MEMBER}{role} {member} {grantor} {}", if admin { "admin" } else { "-" })
    }

    fn from_line(line: &str) -> Option<Membership> {
        let mut words = Words(line.strip_prefix(MEMBER)?);
        Some(Membership {
            role: Oid(words.number()?),
            member: Oid(words.number()?),
            grantor: Oid(words.number()?),
            admin: words.flags(["admin"])? == [true],
        })
    }
}

/// All roles as of one moment. Only the lines that are asked for are parsed.
#[derive(Clone, Debug)]
pub struct Roles {
    file: FlatFile,
}

/// Reads the cluster's roles: one open, one read.
pub fn load(data_dir: &Path) -> Result<Roles> {
    Ok(Roles { file: FlatFile::read(data_dir, AUTH_FILE)? })
}

/// Reads the roles, changes them and makes the change durable, while no other session can. If `change`
/// fails, nothing has happened.
pub fn update<T>(data_dir: &Path, change: impl FnOnce(&mut Roles) -> Result<T>) -> Result<T> {
    while_locked(data_dir, || {
        let mut roles = load(data_dir)?;
        let result = change(&mut roles)?;
        roles.save(data_dir)?;
        Ok(result)
    })
}

impl Roles {
    /// The roles of a new cluster: its superuser, with this password verifier, and the predefined ones.
    pub fn initial(superuser: &str, password: Option<String>) -> Roles {
        let mut roles = Roles { file: FlatFile::empty(AUTH_FILE) };
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
        roles.file.push_line(&superuser.to_line());
        for (oid, name) in predefined::ROLES {
            roles.file.push_line(&Role { oid, ..Role::new(name) }.to_line());
        }
        for (role, member) in predefined::MEMBERSHIPS {
            let grantor = predefined::BOOTSTRAP_SUPERUSER;
            roles.file.push_line(&Membership { role, member, grantor, admin: false }.to_line());
        }
        roles
    }

    /// Replaces the cluster's roles by these, durably. Sessions that change roles use [`update`].
    pub fn save(&self, data_dir: &Path) -> Result<()> {
        self.file.write(data_dir)
    }

    /// The role of this name.
    pub fn find(&self, name: &str) -> Result<Option<Role>> {
        self.file.line_starting_with(&name_prefix(name)).map(|line| self.parse(line)).transpose()
    }

    /// The role of this name, or `role "x" does not exist`. C: `get_role_oid`.
    pub fn get(&self, name: &str) -> Result<Role> {
        self.find(name)?.ok_or_else(|| no_such_role(name))
    }

    /// The role with this oid. C: `GetUserNameFromId` and the cache `AUTHOID`.
    pub fn find_oid(&self, oid: Oid) -> Result<Option<Role>> {
        for line in self.role_lines() {
            let mut words = Words(line);
            // The name has to be stepped over to get at the oid behind it.
            let found = words.quoted().and_then(|_| words.number()).ok_or_else(|| self.file.corrupt(line))?;
            if Oid(found) == oid {
                return self.parse(line).map(Some);
            }
        }
        Ok(None)
    }

    /// Every role.
    pub fn all(&self) -> Result<Vec<Role>> {
        self.role_lines().map(|line| self.parse(line)).collect()
    }

    /// Every membership.
    pub fn memberships(&self) -> Result<Vec<Membership>> {
        let lines = self.file.lines().filter(|line| line.starts_with(MEMBER));
        lines.map(|line| Membership::from_line(line).ok_or_else(|| self.file.corrupt(line))).collect()
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
        // Before the memberships, so that the file stays in two parts.
        let line = role.to_line();
        let mut lines: Vec<String> = self.role_lines().map(str::to_owned).collect();
        lines.push(line);
        lines.extend(self.file.lines().filter(|line| line.starts_with(MEMBER)).map(str::to_owned));
        self.file = FlatFile::empty(AUTH_FILE);
        lines.iter().for_each(|line| self.file.push_line(line));
        Ok(role.oid)
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
        let (prefix, new_line) = (name_prefix(name), role.to_line());
        self.file.rewrite(|line| {
            Some(if line.starts_with(&prefix) { Cow::Owned(new_line.clone()) } else { Cow::Borrowed(line) })
        });
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
        let prefix = name_prefix(name);
        self.file.rewrite(|line| {
            let gone = match Membership::from_line(line) {
                Some(membership) => membership.role == role.oid || membership.member == role.oid,
                None => line.starts_with(&prefix),
            };
            (!gone).then_some(Cow::Borrowed(line))
        });
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
        self.file.push_line(&membership.to_line());
        Ok(true)
    }

    /// Ends a membership. Returns false if there was none. C: `DelRoleMems`.
    pub fn revoke(&mut self, role: Oid, member: Oid) -> bool {
        let mut found = false;
        self.file.rewrite(|line| {
            let gone = Membership::from_line(line).is_some_and(|m| m.role == role && m.member == member);
            found |= gone;
            (!gone).then_some(Cow::Borrowed(line))
        });
        found
    }

    fn next_oid(&self) -> Result<Oid> {
        let highest = self.all()?.iter().map(|role| role.oid.0).max().unwrap_or(0);
        let next = highest.checked_add(1).map(|next| next.max(predefined::FIRST_NORMAL_OID.0));
        next.map(Oid).ok_or_else(|| error!(SqlState::PROGRAM_LIMIT_EXCEEDED, "out of role identifiers"))
    }

    fn role_lines(&self) -> impl Iterator<Item = &str> {
        self.file.lines().filter(|line| line.starts_with('"'))
    }

    fn parse(&self, line: &str) -> Result<Role> {
        Role::from_line(line).ok_or_else(|| self.file.corrupt(line))
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
