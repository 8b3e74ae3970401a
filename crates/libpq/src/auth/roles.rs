//! Where roles and their passwords come from.
//!
//! C counterpart: `get_role_password` of libpq/crypt.c and what it asks the catalog.

use catalog::scram::{PasswordType, password_type};
use common::SqlState;
use elog::{Result, error};

/// What authentication asks about roles. [`catalog::authid::Roles`] answers for a cluster.
pub trait RoleSource {
    /// `None`: no such role. `Some(None)`: it has no password.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn password(&self, role: &str) -> Result<Option<Option<String>>>;

    /// Its password was valid only until a time that has passed.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn password_expired(&self, role: &str) -> Result<bool> {
        let _ = role;
        Ok(false)
    }

    /// Is `role` the role `of`, or a member of it, directly or not? Being superuser does not count. False
    /// if either does not exist.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn is_member(&self, role: &str, of: &str) -> Result<bool>;
}

impl RoleSource for catalog::authid::Roles {
    fn password(&self, role: &str) -> Result<Option<Option<String>>> {
        Ok(self.find(role)?.map(|role| role.password))
    }

    fn password_expired(&self, role: &str) -> Result<bool> {
        match self.find(role)?.and_then(|role| role.valid_until) {
            None => Ok(false),
            Some(text) if text == "infinity" => Ok(false),
            Some(text) => match text.parse::<jiff::Timestamp>() {
                Ok(until) => Ok(until < jiff::Timestamp::now()),
                Err(_) => Err(error!(
                    SqlState::DATA_CORRUPTED,
                    "invalid end of password validity for role \"{role}\": \"{text}\""
                )),
            },
        }
    }

    fn is_member(&self, role: &str, of: &str) -> Result<bool> {
        match (self.find(role)?, self.find(of)?) {
            (Some(role), Some(of)) => self.is_member_of(role.oid, of.oid),
            _ => Ok(false),
        }
    }
}

/// The stored password, or what the log should say about why there is none. C: `get_role_password`.
pub(super) fn stored_password(roles: &dyn RoleSource, user: &str) -> Result<(Option<String>, Option<String>)> {
    Ok(match roles.password(user)? {
        None => (None, Some(format!("Role \"{user}\" does not exist."))),
        Some(None) => (None, Some(format!("User \"{user}\" has no password assigned."))),
        Some(Some(_)) if roles.password_expired(user)? => {
            (None, Some(format!("User \"{user}\" has an expired password.")))
        }
        Some(stored) => (stored, None),
    })
}

/// True for what an old cluster with `password_encryption = md5` stored.
pub(super) fn is_md5(stored: &str) -> bool {
    password_type(stored) == PasswordType::Md5
}
