//! Where roles and their passwords come from.
//!
//! C counterpart: `get_role_password` of libpq/crypt.c and what it asks the catalog.

use catalog::scram::{PasswordType, password_type};
use common::SqlState;
use elog::{Result, fatal};

/// What authentication asks about roles. [`catalog::authid::Roles`] answers for a cluster.
pub trait RoleSource {
    /// The role's password; `None` if there is no such role.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn find(&self, role: &str) -> Result<Option<RolePassword>>;

    /// Is `role` the role `of`, or a member of it, directly or not? Being superuser does not count. False
    /// if either does not exist.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn is_member(&self, role: &str, of: &str) -> Result<bool>;
}

/// The two columns of pg_authid that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolePassword {
    /// `rolpassword`
    pub password: Option<String>,
    /// `rolvaliduntil`, as text of a timestamp with time zone.
    pub valid_until: Option<String>,
}

impl RoleSource for catalog::authid::Roles {
    fn find(&self, role: &str) -> Result<Option<RolePassword>> {
        let found = catalog::authid::Roles::find(self, role)?;
        Ok(found.map(|role| RolePassword { password: role.password, valid_until: role.valid_until }))
    }

    fn is_member(&self, role: &str, of: &str) -> Result<bool> {
        let find = |name| catalog::authid::Roles::find(self, name);
        match (find(role)?, find(of)?) {
            (Some(role), Some(of)) => self.is_member_of(role.oid, of.oid),
            _ => Ok(false),
        }
    }
}

/// The stored password, or what the log should say about why there is none. C: `get_role_password`.
pub(super) fn stored_password(
    roles: &dyn RoleSource,
    user: &str,
) -> Result<(Option<String>, Option<String>)> {
    let Some(RolePassword { password, valid_until }) = roles.find(user)? else {
        return Ok((None, Some(format!("Role \"{user}\" does not exist."))));
    };
    if password.is_none() {
        return Ok((None, Some(format!("User \"{user}\" has no password assigned."))));
    }
    if has_passed(valid_until.as_deref())? {
        return Ok((None, Some(format!("User \"{user}\" has an expired password."))));
    }
    Ok((password, None))
}

/// Is that moment, if there is one, over?
fn has_passed(valid_until: Option<&str>) -> Result<bool> {
    match valid_until {
        None | Some("infinity") => Ok(false),
        Some("-infinity") => Ok(true),
        Some(text) => match text.parse::<jiff::Timestamp>() {
            Ok(until) => Ok(until < jiff::Timestamp::now()),
            // A password of unknown validity lets nobody in.
            Err(_) => {
                Err(fatal!(SqlState::DATA_CORRUPTED, "invalid end of a password's validity: \"{text}\""))
            }
        },
    }
}

/// True for what an old cluster with `password_encryption = md5` stored.
pub(super) fn is_md5(stored: &str) -> bool {
    password_type(stored) == PasswordType::Md5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_expire() {
        for (text, expected) in [
            (None, false),
            (Some("infinity"), false),
            (Some("-infinity"), true),
            (Some("2001-01-01 00:00:00+00"), true),
            (Some("2001-01-01 00:00:00.5+05:30"), true),
            (Some("9000-01-01 00:00:00-08"), false),
        ] {
            assert_eq!(has_passed(text).unwrap(), expected, "{text:?}");
        }
        assert!(has_passed(Some("tomorrow")).is_err());
    }
}
