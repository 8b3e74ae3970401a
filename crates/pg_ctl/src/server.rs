//! What a data directory tells about its server.

use std::io;
use std::path::{Path, PathBuf};

use common::file::{CreateModes, os_error_text};
use common::pg_control::{ControlFileData, ControlFileError, DbState};
use common::pidfile::{OPTS_FILE, PID_FILE, PidFile, PidFileError};
use nix::sys::stat::{Mode, umask};

use crate::options::Options;
use crate::report::{Failure, Outcome};

/// Exit code of `status` for something that is no cluster; 1 for all other commands.
const NO_CLUSTER_STATUS: u8 = 4;

/// Who holds the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Nobody: there is no pid file.
    Nobody,
    /// A postmaster, perhaps a dead one.
    Postmaster(i32),
    /// A backend without postmaster (`postgres --single`), perhaps a dead one.
    SingleUser(i32),
}

/// Reads the pid file. C: `get_pgpid`.
pub(crate) fn holder(options: &Options, for_status: bool) -> Outcome<Holder> {
    let code = if for_status { NO_CLUSTER_STATUS } else { 1 };
    let dir = &options.data_dir;
    if let Err(error) = std::fs::metadata(dir) {
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!("directory \"{}\" does not exist", dir.display()),
            _ => format!("could not access directory \"{}\": {}", dir.display(), os_error_text(&error)),
        };
        return Err(Failure::new(message).code(code));
    }
    if let Err(error) = std::fs::metadata(dir.join("PG_VERSION"))
        && error.kind() == io::ErrorKind::NotFound
    {
        let message = format!("directory \"{}\" is not a database cluster directory", dir.display());
        return Err(Failure::new(message).code(code));
    }
    let path = pid_file(options);
    let content = match std::fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(error) => {
            let message =
                format!("could not open PID file \"{}\": {}", path.display(), os_error_text(&error));
            return Err(Failure::new(message));
        }
    };
    match PidFile::parse(&String::from_utf8_lossy(&content)) {
        Ok(file) if file.is_standalone() => Ok(Holder::SingleUser(file.pid.saturating_neg())),
        Ok(file) => Ok(Holder::Postmaster(file.pid)),
        Err(PidFileError::Empty) => {
            Err(Failure::new(format!("the PID file \"{}\" is empty", path.display())))
        }
        Err(PidFileError::Invalid) => {
            Err(Failure::new(format!("invalid data in PID file \"{}\"", path.display())))
        }
    }
}

/// The pid file as it is now, if it can be read.
pub(crate) fn read_pid_file(options: &Options) -> Option<PidFile> {
    let content = std::fs::read(pid_file(options)).ok()?;
    PidFile::parse(&String::from_utf8_lossy(&content)).ok()
}

fn pid_file(options: &Options) -> PathBuf {
    options.data_dir.join(PID_FILE)
}

/// The failure of a command that needs a server.
pub(crate) fn not_running(options: &Options) -> Failure {
    Failure::new(format!("PID file \"{}\" does not exist", pid_file(options).display()))
        .line("Is server running?")
}

/// The command line of the last start, in lines; there should be one. C: `readfile`.
pub(crate) fn command_lines(options: &Options) -> io::Result<Vec<String>> {
    let content = std::fs::read(options.data_dir.join(OPTS_FILE))?;
    Ok(String::from_utf8_lossy(&content).lines().map(str::to_owned).collect())
}

/// Where that command line is kept.
pub(crate) fn command_line_file(options: &Options) -> PathBuf {
    options.data_dir.join(OPTS_FILE)
}

/// What pg_control says the cluster is doing. C: `get_control_dbstate`.
pub(crate) fn db_state(options: &Options) -> Outcome<DbState> {
    match ControlFileData::read(&options.data_dir) {
        Ok(control) => Ok(control.state),
        Err(ControlFileError::WrongCrc) => Err(Failure::new("control file appears to be corrupt")),
        Err(error) => Err(Failure::new(format!("error: {error}"))),
    }
}

/// Files made here, the server's log above all, get the bits of the data directory.
pub(crate) fn set_umask(options: &Options) {
    let modes = CreateModes::of_data_dir(&options.data_dir).unwrap_or(CreateModes::OWNER);
    umask(Mode::from_bits_truncate(modes.mask));
}

/// The program of this name in the folder of this one. C: `find_other_exec_or_die`.
pub(crate) fn program_beside_us(name: &str) -> Outcome<String> {
    let us = std::env::current_exe().map_err(|_| Failure::new("could not find own program executable"))?;
    let other = us.parent().unwrap_or(Path::new("/")).join(name);
    match other.to_str().filter(|_| other.is_file()) {
        Some(path) => Ok(path.to_owned()),
        None => Err(Failure::bare(format!(
            "program \"{name}\" is needed by pg_ctl but was not found in the same directory as \"{}\"",
            us.display()
        ))),
    }
}
