//! Who runs this program.
//!
//! C counterpart: common/username.c, `check_root` (main.c).

use nix::unistd::{Uid, User, geteuid};

/// Name of the user this process runs as, or the text that says why there is none. C: `get_user_name`.
pub fn effective_user_name() -> Result<String, String> {
    let uid = geteuid();
    let failed = |reason: &str| format!("could not look up effective user ID {uid}: {reason}");
    match user_name(uid) {
        Ok(Some(name)) => Ok(name),
        Ok(None) => Err(failed("user does not exist")),
        Err(error) => Err(failed(error.desc())),
    }
}

/// Name of the user with this id, if the system knows one.
pub fn user_name(uid: Uid) -> Result<Option<String>, nix::Error> {
    Ok(User::from_uid(uid)?.map(|user| user.name))
}

/// Servers refuse to run with root's powers.
pub fn is_root() -> bool {
    geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_nobody_has_the_last_uid() {
        assert_eq!(user_name(Uid::from_raw(0)), Ok(Some("root".to_owned())));
        assert_eq!(user_name(Uid::from_raw(u32::MAX - 1)), Ok(None));
    }
}
