//! Is it a data directory, and may we use it? C: `checkDataDir` and `checkControlFile`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use common::SqlState;
use elog::fatal;
use guc::StartupProblem;

/// Checks the data directory and makes it the current one.
pub(crate) fn enter() -> Result<(), StartupProblem> {
    let dir = guc::data_dir().unwrap_or_default();
    check(&dir)?;
    miscinit::globals::set_data_dir(dir.clone());
    std::env::set_current_dir(&dir).map_err(|e| {
        fatal!(
            SqlState::INTERNAL_ERROR,
            "could not change directory to \"{}\": {}",
            dir.display(),
            elog::errno_text(&e)
        )
    })?;
    Ok(())
}

fn check(dir: &Path) -> Result<(), StartupProblem> {
    let shown = dir.display();
    let metadata = fs::metadata(dir).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            fatal!(SqlState::UNDEFINED_FILE, "data directory \"{shown}\" does not exist")
        }
        _ => fatal!(
            SqlState::INTERNAL_ERROR,
            "could not read permissions of directory \"{shown}\": {}",
            elog::errno_text(&e)
        ),
    })?;
    let state = SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
    if !metadata.is_dir() {
        return Err(fatal!(state, "specified data directory \"{shown}\" is not a directory").into());
    }
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(fatal!(state, "data directory \"{shown}\" has wrong ownership")
            .hint("The server must be started by the user that owns the data directory.")
            .into());
    }
    if metadata.permissions().mode() & 0o027 != 0 {
        return Err(fatal!(state, "data directory \"{shown}\" has invalid permissions")
            .detail("Permissions should be u=rwx (0700) or u=rwx,g=rx (0750).")
            .into());
    }
    miscinit::lockfile::validate_pg_version(dir)?;
    let control_file = dir.join(common::pg_control::CONTROL_FILE);
    if let Err(e) = fs::File::open(&control_file) {
        return Err(StartupProblem::Text(format!(
            "{}: could not find the database system\nExpected to find it in the directory \"{shown}\",\n\
             but could not open file \"{}\": {}\n",
            crate::PROGRAM,
            control_file.display(),
            elog::errno_text(&e)
        )));
    }
    Ok(())
}
