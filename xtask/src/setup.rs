//! What the tests need beyond the Rust toolchain: the real PostgreSQL 15, pgBackRest and a Python driver.

use std::fs;
use std::path::Path;
use std::process::Command;

use integration::process;

use crate::{Result, cluster_dir};

/// Debian's packages. The reference server, what makes certificates for the TLS tests, and a backup tool that knows nothing
/// of this server.
const PACKAGES: [&str; 3] = ["postgresql-15", "openssl", "pgbackrest"];

/// Installs what is missing. Without root it installs nothing and says what the tests will skip.
pub(crate) fn run() -> Result<()> {
    install_packages()?;
    install_psycopg();
    Ok(())
}

fn install_packages() -> Result<()> {
    let programs = ["/usr/bin/openssl", "/usr/bin/pgbackrest"];
    let present =
        integration::real_postgres().is_some() && programs.iter().all(|program| Path::new(program).exists());
    if present {
        return Ok(());
    }
    if !nix::unistd::geteuid().is_root() {
        println!(
            "not root: {} cannot be installed, tests that compare with it are skipped",
            PACKAGES.join(", ")
        );
        return Ok(());
    }
    // The package must not start a server of its own.
    fs::create_dir_all("/etc/postgresql-common").map_err(|e| e.to_string())?;
    let config = Path::new("/etc/postgresql-common/createcluster.conf");
    if !config.exists() {
        fs::write(config, "create_main_cluster = false\n").map_err(|e| e.to_string())?;
    }
    apt_get(&["update", "-q"])?;
    apt_get(&[&["install", "-y", "-q", "-o", "Dpkg::Options::=--force-confold"], &PACKAGES[..]].concat())
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    if process::spawn(&mut command).wait_without_deadline().success() {
        Ok(())
    } else {
        Err(format!("apt-get {} failed", args.join(" ")))
    }
}

/// psycopg 3 in an environment of its own, at the place where the tests look for it. Without it those tests
/// are skipped.
fn install_psycopg() {
    let folder = cluster_dir::workspace().join("target/python");
    if folder.join("bin/python").exists() && folder.join("installed").exists() {
        return;
    }
    let run = |command: &mut Command| process::spawn(command).wait_without_deadline().success();
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        && run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "psycopg[binary]"]));
    if made {
        let _ = fs::write(folder.join("installed"), "");
    } else {
        println!("psycopg could not be installed: tests with it are skipped");
    }
}
