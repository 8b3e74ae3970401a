//! Who a session is: fixed from its start until its end, but for SET ROLE.
//!
//! C counterpart: the user-id half of utils/init/miscinit.c.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use common::{Oid, SqlState};
use elog::{Result, error};
use guc::{GucContext, Privileges};
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
    pub(crate) session_user: RoleId,
    /// Whose rights count now. C: `CurrentUserId`.
    pub(crate) current_user: RoleId,
    pub(crate) database: Oid,
    pub(crate) database_name: String,
    /// `None` over a Unix socket.
    pub(crate) client: Option<SocketAddr>,
}

thread_local! {
    static IDENTITY: RefCell<Rc<Identity>> = RefCell::new(Rc::new(Identity::default()));
}

/// This session's identity.
pub(crate) fn get() -> Rc<Identity> {
    IDENTITY.with_borrow(Rc::clone)
}

/// Changes it.
pub(crate) fn set(identity: Identity) {
    IDENTITY.set(Rc::new(identity));
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
