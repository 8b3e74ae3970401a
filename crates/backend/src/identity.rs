//! Who a session is: fixed from its start until its end, but for SET ROLE and SET SESSION AUTHORIZATION.
//!
//! Those two are settings, so that transactions and savepoints undo them as they undo any other SET; the
//! identity follows the settings.
//!
//! C counterpart: the user-id half of utils/init/miscinit.c, and `check_role`, `assign_role`,
//! `check_session_authorization`, `assign_session_authorization` of commands/variable.c.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};
use guc::{GucAction, GucContext, GucSource, Privileges};
use miscinit::globals;

/// A role as a session needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleId {
    pub(crate) oid: Oid,
    pub(crate) name: String,
    pub(crate) superuser: bool,
}

/// Who the session is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// Who logged in. C: `AuthenticatedUserId`.
    pub(crate) authenticated: RoleId,
    /// Who SET SESSION AUTHORIZATION made of it. C: `SessionUserId`.
    pub(crate) session_user: RoleId,
    /// Whose rights count now. C: `CurrentUserId`.
    pub(crate) current_user: RoleId,
    pub(crate) database: Oid,
    pub(crate) database_name: String,
    /// `None` over a Unix socket.
    pub(crate) client: Option<SocketAddr>,
    /// The client's socket.
    pub(crate) socket: RawFd,
}

thread_local! {
    static IDENTITY: RefCell<Rc<Identity>> = RefCell::new(Rc::new(Identity::default()));
    /// The settings have been looked at up to this change.
    static SEEN: Cell<u64> = const { Cell::new(0) };
}

/// This session's identity.
pub(crate) fn get() -> Rc<Identity> {
    IDENTITY.with_borrow(Rc::clone)
}

/// Changes it.
pub(crate) fn set(identity: Identity) {
    IDENTITY.set(Rc::new(identity));
}

/// The word for "no other role than the session's".
const NO_ROLE: &str = "none";

/// SET of any setting, by whatever way; `None` is its reset value. The two that say who the session is are
/// checked here. C: `set_config_option`.
pub(crate) fn set_option(name: &str, value: Option<&str>, action: GucAction) -> Result<()> {
    let identity = get();
    if name.eq_ignore_ascii_case("role") {
        let value = value.unwrap_or(NO_ROLE);
        check_role(&identity, value)?;
        guc::set_option("role", value, identity.guc_context(), GucSource::Session, action)?;
    } else if name.eq_ignore_ascii_case("session_authorization") {
        let value = value.unwrap_or(&identity.authenticated.name);
        check_session_authorization(&identity, value)?;
        let context = GucContext::Internal;
        guc::set_option("session_authorization", value, context, GucSource::Session, action)?;
        guc::set_option("role", NO_ROLE, context, GucSource::Session, action)?;
    } else {
        check_tablespace_setting(name, value.unwrap_or_default())?;
        return guc::set_option(name, value, identity.guc_context(), GucSource::Session, action);
    }
    follow_settings();
    Ok(())
}

/// The check of `default_tablespace` that needs the catalogs; there is nothing to say about other settings.
/// C: `check_default_tablespace`.
pub(crate) fn check_tablespace_setting(setting: &str, name: &str) -> Result<()> {
    if !setting.eq_ignore_ascii_case("default_tablespace") || name.is_empty() {
        return Ok(());
    }
    if catalog::syscache::tablespace_by_name(name)?.is_some() {
        return Ok(());
    }
    let text = format!("invalid value for parameter \"default_tablespace\": \"{name}\"");
    Err(error!(SqlState::INVALID_PARAMETER_VALUE, "{text}")
        .detail(format!("Tablespace \"{name}\" does not exist.")))
}

fn no_such_role(name: &str) -> elog::PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "role \"{name}\" does not exist")
}

fn check_role(identity: &Identity, name: &str) -> Result<()> {
    if name == NO_ROLE {
        return Ok(());
    }
    let roles = catalog::authid::load(globals::data_dir())?;
    let role = roles.find(name)?.ok_or_else(|| no_such_role(name))?;
    let session_user = &identity.session_user;
    if session_user.superuser || roles.is_member_of(session_user.oid, role.oid)? {
        return Ok(());
    }
    Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied to set role \"{name}\""))
}

fn check_session_authorization(identity: &Identity, name: &str) -> Result<()> {
    let roles = catalog::authid::load(globals::data_dir())?;
    let role = roles.find(name)?.ok_or_else(|| no_such_role(name))?;
    if role.oid == identity.authenticated.oid || identity.authenticated.superuser {
        return Ok(());
    }
    Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied to set session authorization"))
}

/// After anything that may have changed the settings `role` and `session_authorization`, the end of a
/// transaction for one. One comparison if no setting has changed at all.
pub(crate) fn follow_settings() {
    if SEEN.replace(guc::generation()) == guc::generation() {
        return;
    }
    let identity = get();
    let role = guc::vars::ROLE.get();
    let session_user = guc::vars::SESSION_AUTHORIZATION.get();
    let current = if &*role == NO_ROLE { &session_user } else { &role };
    if identity.session_user.name == *session_user && identity.current_user.name == **current {
        return;
    }
    let mut changed = (*identity).clone();
    changed.session_user = lookup(&identity, &session_user);
    changed.current_user =
        if &*role == NO_ROLE { changed.session_user.clone() } else { lookup(&identity, &role) };
    let is_superuser = if changed.current_user.superuser { "on" } else { "off" };
    set(changed);
    if let Err(error) = guc::set_internal("is_superuser", is_superuser) {
        error.report();
    }
}

/// The role of that name. One that was dropped meanwhile has no rights but its name, and nobody's oid.
fn lookup(identity: &Identity, name: &str) -> RoleId {
    if identity.authenticated.name == name {
        return identity.authenticated.clone();
    }
    let found = catalog::authid::load(globals::data_dir()).and_then(|roles| roles.find(name)).ok().flatten();
    match found {
        Some(role) => RoleId { oid: role.oid, name: role.name, superuser: role.superuser },
        None => RoleId { oid: Oid::INVALID, name: name.to_owned(), superuser: false },
    }
}

/// What the current user sees in the views of sessions: the numbers of everybody, or of those roles whose rights it has.
pub(crate) struct StatisticsSight {
    identity: Rc<Identity>,
    sees_all: bool,
}

impl StatisticsSight {
    /// Whether it sees everybody's: a superuser, or who has the rights of `pg_read_all_stats`.
    pub(crate) fn sees_all(&self) -> bool {
        self.sees_all
    }

    /// Whether it sees the numbers of this role's session; those of a process without a role are for those who see all.
    pub(crate) fn sees(&self, role: Oid) -> bool {
        self.sees_all || role.is_valid() && self.identity.has_privileges_of(role)
    }
}

impl Identity {
    /// As whom it changes settings.
    pub(crate) fn guc_context(&self) -> GucContext {
        if self.current_user.superuser { GucContext::Superuser } else { GucContext::User }
    }

    /// Whether it has the rights of a predefined role.
    pub(crate) fn has_privileges_of(&self, role: Oid) -> bool {
        self.current_user.superuser || {
            let roles = catalog::authid::load(globals::data_dir());
            roles.and_then(|roles| roles.has_privileges_of(self.current_user.oid, role)).unwrap_or(false)
        }
    }

    /// Whose numbers it sees in the statistics views. C: `HAS_PGSTAT_PERMISSIONS`.
    pub(crate) fn statistics_sight(self: Rc<Self>) -> StatisticsSight {
        let sees_all = self.has_privileges_of(catalog::predefined::PG_READ_ALL_STATS);
        StatisticsSight { identity: self, sees_all }
    }

    /// What it may see of the settings.
    pub(crate) fn guc_privileges(&self) -> Privileges {
        Privileges { read_all_settings: self.has_privileges_of(catalog::predefined::PG_READ_ALL_SETTINGS) }
    }

    /// For what only a superuser may do.
    ///
    /// # Errors
    /// 42501 with this text.
    pub(crate) fn require_superuser(&self, message: &'static str) -> Result<()> {
        if self.current_user.superuser {
            Ok(())
        } else {
            Err(error!(SqlState::INSUFFICIENT_PRIVILEGE, "{message}"))
        }
    }
}
