//! Where `run-cluster` keeps its cluster, and as whom it runs.
//!
//! The server refuses to run as root. Started by root, everything that touches the cluster runs as `nobody`,
//! and if that user cannot reach the checkout, data and programs are kept below /tmp.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::pidfile::{PID_FILE, PidFile};
use integration::process::{self, unprivileged, unprivileged_ids};

use crate::Result;

/// The checkout.
pub(crate) fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map_or_else(|| xtask.to_owned(), Path::to_owned)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The data directory that the chores share unless told otherwise.
pub(crate) fn default_data_dir() -> PathBuf {
    let inside = workspace().join(".pganatomy");
    let folder =
        if integration::is_reachable(&workspace()) { inside } else { PathBuf::from("/tmp/pganatomy") };
    folder.join("data")
}

/// Makes the folder that a data directory is to lie in, owned by the server's user.
pub(crate) fn make_parent(data_dir: &Path) -> Result<()> {
    make_own_folder(data_dir.parent().ok_or("the data directory has no parent")?)
}

/// Makes a folder that belongs to the server's user, if there is none yet.
pub(crate) fn make_own_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|e| format!("could not create {}: {e}", folder.display()))?;
    let (uid, gid) = unprivileged_ids();
    chown(folder, Some(uid), Some(gid)).map_err(|e| format!("could not give {} away: {e}", folder.display()))
}

/// Builds the server's programs and returns their folder, one that the server's user can reach.
pub(crate) fn build(release: bool) -> Result<PathBuf> {
    Ok(integration::for_everybody(&build_in_place(release)?))
}

/// Builds the server's programs and returns where cargo has put them, whoever can reach that.
pub(crate) fn build_in_place(release: bool) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "-p", "postgres-server", "-p", "initdb", "-p", "pg_ctl"]);
    if release {
        cargo.arg("--release");
    }
    if !process::spawn(&mut cargo).wait_without_deadline().success() {
        return Err("the build failed".into());
    }
    Ok(target_dir().join(if release { "release" } else { "debug" }))
}

/// What postmaster.pid of a cluster says.
pub(crate) fn pid_file(data_dir: &Path) -> Result<PidFile> {
    let path = data_dir.join(PID_FILE);
    let text = fs::read_to_string(&path).map_err(|_| {
        format!("no cluster runs on {}: start one with `cargo xtask run-cluster`", data_dir.display())
    })?;
    PidFile::parse(&text).map_err(|e| format!("{}: {e:?}", path.display()))
}

/// A command for a program, to be run as the server's user.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    unprivileged(&mut command);
    command
}
