//! The operating system's word for who is at the other end of a Unix socket.
//!
//! C counterpart: `auth_peer` of auth.c.

use elog::{Result, ereport, errno_text};
use nix::errno::Errno;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::{Uid, User};

use super::{Context, Verdict, set_authn_id};
use crate::hba::HbaLine;
use crate::port::Port;

/// The method `peer`.
pub(super) fn check_peer(port: &mut Port, context: &Context<'_>, rule: &HbaLine) -> Result<Verdict> {
    let uid = match getsockopt(&port.socket(), sockopt::PeerCredentials) {
        Ok(credentials) => credentials.uid(),
        Err(errno) => {
            ereport!(Log, "could not get peer credentials: {}", errno_text(errno));
            return Ok(Verdict::Failed(None));
        }
    };
    let name = match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(Errno::ENOENT) => {
            ereport!(Log, "could not look up local user ID {uid}: user does not exist");
            return Ok(Verdict::Failed(None));
        }
        Err(errno) => {
            ereport!(Log, "could not look up local user ID {uid}: {}", errno_text(errno));
            return Ok(Verdict::Failed(None));
        }
    };
    // Known even if the map refuses: the log should say who it was.
    set_authn_id(port, context, rule, &name);
    let user = &context.parameters.user;
    if context.rules.ident.check_usermap(rule.usermap.as_deref(), user, &name) {
        Ok(Verdict::Ok)
    } else {
        Ok(Verdict::Failed(None))
    }
}
