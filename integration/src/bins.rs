//! Where the programs are: this project's, built on first use, and the real PostgreSQL's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::process;

/// Which server a cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// This project's.
    Ours,
    /// The real PostgreSQL 15, the oracle.
    Real,
}

/// A folder with `postgres`, `initdb` and `pg_ctl`.
#[derive(Clone, Debug)]
pub struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// The programs of a server; `None` if the real one is not installed. This project's are built first.
    pub fn of(server: Server) -> Option<Programs> {
        match server {
            Server::Ours => Some(ours().clone()),
            Server::Real => real_postgres(),
        }
    }

    /// Full path of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// The real PostgreSQL 15's programs, where Debian puts them.
pub fn real_postgres() -> Option<Programs> {
    let dir = PathBuf::from("/usr/lib/postgresql/15/bin");
    dir.join("postgres").exists().then_some(Programs { dir })
}

/// This project's programs in the profile that the caller itself was built in. `PGANATOMY_PROGRAMS` names a
/// folder with programs that are built already.
fn ours() -> &'static Programs {
    static OURS: OnceLock<Programs> = OnceLock::new();
    OURS.get_or_init(|| {
        if let Some(dir) = std::env::var_os("PGANATOMY_PROGRAMS") {
            return Programs { dir: dir.into() };
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.current_dir(root).args([
            "build",
            "--quiet",
            "-p",
            "postgres-server",
            "-p",
            "initdb",
            "-p",
            "pg_ctl",
        ]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let output = process::run(&mut build);
        assert!(output.status.success(), "building the server: {}", String::from_utf8_lossy(&output.stderr));
        let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        Programs { dir: for_everybody(&target.join(profile)) }
    })
}

/// The folder itself if the server's user can walk down to it, else one below /tmp with copies of the programs:
/// a checkout may lie where only its owner may look.
pub fn for_everybody(built: &Path) -> PathBuf {
    if is_reachable(built) {
        return built.to_owned();
    }
    for program in ["postgres", "initdb", "pg_ctl"] {
        program_for_everybody(&built.join(program));
    }
    copies_of(built)
}

/// The same for a single program.
pub fn program_for_everybody(program: &Path) -> PathBuf {
    let (Some(dir), Some(name)) = (program.parent(), program.file_name()) else { return program.to_owned() };
    if is_reachable(dir) {
        return program.to_owned();
    }
    let copies = copies_of(dir);
    fs::create_dir_all(&copies).expect("room in /tmp");
    // By another name first: a test beside us may be running the one that is there.
    let fresh = copies.join(format!("{}.{}", name.display(), std::process::id()));
    fs::copy(program, &fresh).expect("a program to copy");
    common::file::rename(&fresh, &copies.join(name)).expect("a folder of our own");
    copies.join(name)
}

fn copies_of(dir: &Path) -> PathBuf {
    let name = dir.display().to_string().replace('/', "-");
    Path::new("/tmp/pganatomy-programs").join(name.trim_start_matches('-'))
}

/// Can the server's user walk down to `path`?
pub fn is_reachable(path: &Path) -> bool {
    let (uid, _) = process::unprivileged_ids();
    path.ancestors().all(|dir| {
        fs::metadata(dir).is_ok_and(|m| {
            let needed = if m.uid() == uid { 0o100 } else { 0o001 };
            m.permissions().mode() & needed != 0
        })
    })
}
