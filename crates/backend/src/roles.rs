//! CREATE, ALTER and DROP ROLE.
//!
//! C counterpart: commands/user.c.

use catalog::authid::{self, Membership, Role};
use catalog::scram;
use common::{Oid, SqlState};
use elog::{Result, ereport, error, pg_error};
use miscinit::globals::data_dir;
use parser::ast::{DefElem, OptionValue, RoleKind, RoleSpec};

use types::{Datum, oid};

use crate::identity;
use crate::utility::{not_supported, role_name};

/// Memberships that options ask for: groups to be in, and members to have.
#[derive(Default)]
struct Grants {
    in_roles: Vec<String>,
    members: Vec<String>,
    admins: Vec<String>,
}

/// CREATE ROLE. C: `CreateRole`.
pub(crate) fn create(kind: RoleKind, name: &str, options: &[DefElem], source: &str) -> Result<()> {
    let mut role = Role::new(name);
    role.login = kind == RoleKind::User;
    let grants = apply_options(&mut role, options, source)?;
    require_right_over(role.superuser || role.replication, &role, "create role")?;
    authid::update(data_dir(), |roles| {
        let oid = roles.create(role)?;
        let grantor = identity::get().current_user.oid;
        let mut grant = |role: Oid, member: Oid, admin: bool| {
            roles.grant(Membership { role, member, grantor, admin }).map(|_| ())
        };
        let oids = |names: &[String]| -> Result<Vec<Oid>> {
            let found = authid::load(data_dir())?;
            names.iter().map(|name| Ok(found.get(name)?.oid)).collect()
        };
        for group in oids(&grants.in_roles)? {
            grant(group, oid, false)?;
        }
        for member in oids(&grants.members)? {
            grant(oid, member, false)?;
        }
        for member in oids(&grants.admins)? {
            grant(oid, member, true)?;
        }
        Ok(())
    })
}

/// ALTER ROLE with options. C: `AlterRole`.
pub(crate) fn alter(spec: &RoleSpec, options: &[DefElem], source: &str) -> Result<()> {
    let name = role_name(spec)?;
    let mut changed = authid::load(data_dir())?.get(&name)?;
    let before = (changed.superuser, changed.replication);
    apply_options(&mut changed, options, source)?;
    let touches_power =
        changed.superuser || changed.replication || before != (changed.superuser, changed.replication);
    let only_own_password = options.iter().all(|option| option.name == "password")
        && identity::get().current_user.oid == changed.oid;
    if !only_own_password {
        require_right_over(touches_power, &changed, "alter")?;
    }
    authid::update(data_dir(), |roles| roles.alter(&name, |role| *role = changed.clone()))
}

/// DROP ROLE. C: `DropRole`.
pub(crate) fn drop(specs: &[RoleSpec], missing_ok: bool) -> Result<()> {
    let identity = identity::get();
    for spec in specs {
        let name = match spec {
            RoleSpec::Name(name) => name.clone(),
            _ => {
                return Err(error!(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "cannot use special role specifier in DROP ROLE"
                ));
            }
        };
        let Some(role) = authid::load(data_dir())?.find(&name)? else {
            if missing_ok {
                ereport!(Notice, "role \"{name}\" does not exist, skipping");
                continue;
            }
            return Err(error!(SqlState::UNDEFINED_OBJECT, "role \"{name}\" does not exist"));
        };
        if role.oid == identity.current_user.oid {
            return Err(error!(SqlState::OBJECT_IN_USE, "current user cannot be dropped"));
        }
        if role.oid == identity.session_user.oid {
            return Err(error!(SqlState::OBJECT_IN_USE, "session user cannot be dropped"));
        }
        require_right_over(role.superuser, &role, "drop role")?;
        check_owns_nothing(&role)?;
        authid::update(data_dir(), |roles| roles.remove(&name))?;
    }
    Ok(())
}

/// Only tablespaces and tables of this database are looked at: dependencies of shared objects come with GRANT.
/// C: `checkSharedDependencies`.
fn check_owns_nothing(role: &Role) -> Result<()> {
    let mut owned = Vec::new();
    for class in catalog::syscache::classes()? {
        if class.relowner == role.oid && class.relkind == b'r' {
            owned.push(format!("owner of table {}", class.relname));
        }
    }
    for tablespace in catalog::syscache::tablespaces()? {
        if tablespace.spcowner == role.oid {
            owned.push(format!("owner of tablespace {}", tablespace.spcname));
        }
    }
    if owned.is_empty() {
        return Ok(());
    }
    Err(error!(
        SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
        "role \"{}\" cannot be dropped because some objects depend on it", role.name
    )
    .detail(owned.join("\n")))
}

/// A superuser may do all; a role with CREATEROLE all but what concerns superusers and replication.
fn require_right_over(touches_power: bool, role: &Role, doing: &str) -> Result<()> {
    let me = &identity::get().current_user;
    if me.superuser {
        return Ok(());
    }
    let denied = |text: String| Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "{text}"));
    if touches_power {
        return denied(match doing {
            "alter" if role.replication && !role.superuser => {
                "must be superuser to alter replication roles or change replication attribute".to_owned()
            }
            "alter" => "must be superuser to alter superuser roles or change superuser attribute".to_owned(),
            "drop role" => "must be superuser to drop superusers".to_owned(),
            _ if role.superuser => "must be superuser to create superusers".to_owned(),
            _ => "must be superuser to create replication users".to_owned(),
        });
    }
    let my_role = authid::load(data_dir())?.find_oid(me.oid)?;
    if my_role.is_some_and(|mine| mine.createrole) {
        return Ok(());
    }
    denied(if doing == "alter" {
        "permission denied".to_owned()
    } else {
        format!("permission denied to {doing}")
    })
}

fn apply_options(role: &mut Role, options: &[DefElem], source: &str) -> Result<Grants> {
    let mut grants = Grants::default();
    let mut seen: Vec<&str> = Vec::new();
    for option in options {
        if seen.contains(&option.name.as_str()) {
            return Err(error!(SqlState::SYNTAX_ERROR, "conflicting or redundant options")
                .position(parser::char_position(source, option.loc as usize)));
        }
        seen.push(&option.name);
        apply_option(role, &mut grants, option)?;
    }
    Ok(grants)
}

fn apply_option(role: &mut Role, grants: &mut Grants, option: &DefElem) -> Result<()> {
    let on = || matches!(option.value, None | Some(OptionValue::Boolean(true)));
    match option.name.as_str() {
        "superuser" => role.superuser = on(),
        "inherit" => role.inherit = on(),
        "createrole" => role.createrole = on(),
        "createdb" => role.createdb = on(),
        "canlogin" | "login" => role.login = on(),
        "isreplication" | "replication" => role.replication = on(),
        "bypassrls" => role.bypassrls = on(),
        "connectionlimit" => role.conn_limit = connection_limit(option)?,
        "password" => role.password = password(&role.name, option)?,
        "validUntil" | "validuntil" => {
            role.valid_until = match &option.value {
                Some(OptionValue::String(text)) => Some(moment(text)?),
                _ => None,
            }
        }
        "addroleto" => grants.in_roles = names(option)?,
        "rolemembers" => grants.members = names(option)?,
        "adminmembers" => grants.admins = names(option)?,
        // Has meant nothing since 8.1 but is still accepted.
        "sysid" => {}
        other => return Err(not_supported(&format!("role option \"{other}\""))),
    }
    Ok(())
}

fn connection_limit(option: &DefElem) -> Result<i32> {
    match option.value {
        Some(OptionValue::Integer(limit)) if limit >= -1 => Ok(limit),
        Some(OptionValue::Integer(limit)) => {
            Err(error!(SqlState::INVALID_PARAMETER_VALUE, "invalid connection limit: {limit}"))
        }
        _ => Err(error!(SqlState::SYNTAX_ERROR, "connection limit requires an integer")),
    }
}

/// A moment as it is stored: ISO 8601 in UTC, whatever the session's style and zone.
fn moment(text: &str) -> Result<String> {
    let micros = match types::io::input(oid::TIMESTAMPTZ, -1, text)? {
        Datum::TimestampTz(i64::MAX) => return Ok("infinity".to_owned()),
        Datum::TimestampTz(i64::MIN) => return Ok("-infinity".to_owned()),
        Datum::TimestampTz(micros) => micros,
        _ => 0,
    };
    // A password that is good until beyond the year 9999 is good for ever.
    let stored = jiff::Timestamp::from_microsecond(micros.saturating_add(activity::PG_EPOCH_MICROS));
    Ok(stored.map_or_else(|_| "infinity".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%S%.f+00").to_string()))
}

/// A password as it is stored: a verifier, never the text. C: `encrypt_password`.
fn password(role: &str, option: &DefElem) -> Result<Option<String>> {
    let Some(OptionValue::String(text)) = &option.value else { return Ok(None) };
    if text.is_empty() {
        pg_error!(
            Notice,
            SqlState::SUCCESSFUL_COMPLETION,
            "empty string is not a valid password, clearing password"
        )
        .report();
        return Ok(None);
    }
    if guc::vars::PASSWORD_ENCRYPTION.get() == "md5" {
        return Err(not_supported("password_encryption = md5").hint(format!(
            "Set password_encryption to scram-sha-256 before giving a password to role \"{role}\"."
        )));
    }
    scram::encrypt_password(text).map(Some)
}

fn names(option: &DefElem) -> Result<Vec<String>> {
    match &option.value {
        Some(OptionValue::Roles(specs)) => specs.iter().map(role_name).collect(),
        _ => Ok(Vec::new()),
    }
}
