//! Services: sections of a file that hold the options of a connection.
//!
//! The user's file is asked first (`PGSERVICEFILE`, else `~/.pg_service.conf`), then the system's (`PGSYSCONFDIR`).
//!
//! C counterpart: `parseServiceInfo`, `parseServiceFile` of fe-connect.c.

use std::path::{Path, PathBuf};

use super::Conninfo;

/// C: `SYSCONFDIR` of Debian's packages.
const SYSTEM_DIRECTORY: &str = "/etc/postgresql-common";

/// Fills in what the service that the string or the environment names has, where the string says nothing.
///
/// # Errors
/// If no file has it, or the file is wrong.
pub(super) fn apply(info: &mut Conninfo, env: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    let Some(service) = info.get("service").map(str::to_owned).or_else(|| env("PGSERVICE")) else {
        return Ok(());
    };
    let users = match env("PGSERVICEFILE") {
        Some(file) => Some(PathBuf::from(file)),
        None => home().map(|home| home.join(".pg_service.conf")).filter(|file| file.exists()),
    };
    let system = env("PGSYSCONFDIR").unwrap_or_else(|| SYSTEM_DIRECTORY.into());
    let system = Path::new(&system).join("pg_service.conf");
    for file in users.into_iter().chain(Some(system).filter(|file| file.exists())) {
        if from_file(info, &service, &file)? {
            return Ok(());
        }
    }
    Err(format!("definition of service \"{service}\" not found"))
}

/// The home directory of the user this process runs as. C: `pqGetHomeDirectory`.
pub(crate) fn home() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()) {
        return Some(home.into());
    }
    nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir)
}

/// True if the file has the section.
fn from_file(info: &mut Conninfo, service: &str, file: &Path) -> Result<bool, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|_| format!("service file \"{shown}\" not found"))?;
    let mut found = false;
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if found {
                return Ok(true);
            }
            found = section.strip_suffix(']') == Some(service);
        } else if found {
            let wrong = || format!("syntax error in service file \"{shown}\", line {number}");
            let (name, value) = line.split_once('=').ok_or_else(wrong)?;
            if name == "service" {
                return Err(format!(
                    "nested service specifications not supported in service file \"{shown}\", line {number}"
                ));
            }
            if info.get(name).is_none() {
                info.set(name, value).map_err(|_| wrong())?;
            }
        }
    }
    Ok(found)
}
