//! `TARGET` and `TARGET_DETAIL`: where a backup goes.
//!
//! C counterpart: replication/basebackup_target.c.

use std::path::PathBuf;

use catalog::predefined::PG_WRITE_SERVER_FILES;
use common::{Oid, SqlState};
use elog::{Result, error};

use crate::options::syntax;

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To the client, as the stream of COPY OUT.
    Client,
    /// Into this directory of the server.
    Server(PathBuf),
    /// Nowhere: to see how fast it could be.
    Blackhole,
}

/// C: `BaseBackupGetTargetHandle`, and what `parse_basebackup_options` decides itself.
pub(crate) fn parse(target: Option<&str>, detail: Option<String>) -> Result<Target> {
    match (target, detail) {
        (None, Some(_)) => Err(syntax("target detail cannot be used without target".into())),
        (None | Some("client"), None) => Ok(Target::Client),
        (Some("blackhole"), None) => Ok(Target::Blackhole),
        (Some(name @ ("client" | "blackhole")), Some(_)) => {
            Err(syntax(format!("target \"{name}\" does not accept a target detail")))
        }
        (Some("server"), Some(directory)) => Ok(Target::Server(directory.into())),
        (Some("server"), None) => Err(syntax("target \"server\" requires a target detail".into())),
        (Some(other), _) => Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "unrecognized target: \"{other}\"")),
    }
}

/// The right to make backups is not the right to write files. C: in `bbsink_server_new`.
///
/// # Errors
/// 42501.
pub(crate) fn require_right_to_write() -> Result<()> {
    let role = Oid(shmem::my_proc().role_id.load(std::sync::atomic::Ordering::Relaxed));
    let roles = catalog::authid::load(miscinit::globals::data_dir())?;
    if roles.has_privileges_of(role, PG_WRITE_SERVER_FILES)? {
        return Ok(());
    }
    Err(error!(
        SqlState::INSUFFICIENT_PRIVILEGE,
        "must be superuser or a role with privileges of the pg_write_server_files role to create backup stored on \
         server"
    ))
}
