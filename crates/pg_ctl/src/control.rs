//! The commands that only send a signal or look: `reload`, `promote`, `logrotate`, `status`, `kill`.
//!
//! C counterpart: `do_reload`, `do_promote`, `do_logrotate`, `do_status`, `do_kill`.

use std::path::Path;

use common::file::os_error_text;
use common::pg_control::DbState;
use nix::sys::signal::Signal;

use crate::options::Options;
use crate::process;
use crate::progress::Progress;
use crate::report::{Failure, Outcome, say};
use crate::server::{self, Holder};

/// Exit code of `status` if no server runs, as the Linux Standard Base wants it.
const NOT_RUNNING_STATUS: u8 = 3;

/// `pg_ctl reload`.
pub(crate) fn reload(options: &Options) -> Outcome {
    let pid = postmaster(options, "reload server").map_err(|failure| match failure {
        Refused::SingleUser(failure) => {
            failure.line("Please terminate the single-user server and try again.")
        }
        Refused::Other(failure) => failure,
    })?;
    send(pid, Signal::SIGHUP, "reload signal")?;
    options.say("server signaled\n");
    Ok(())
}

/// `pg_ctl logrotate`: the file tells the server what the signal means.
pub(crate) fn logrotate(options: &Options) -> Outcome {
    let pid = postmaster(options, "rotate log file").map_err(Refused::into_failure)?;
    signal_with_file(options, pid, "logrotate", "log rotation")?;
    options.say("server signaled to rotate log file\n");
    Ok(())
}

/// `pg_ctl promote`.
pub(crate) fn promote(options: &Options) -> Outcome {
    let pid = postmaster(options, "promote server").map_err(Refused::into_failure)?;
    if server::db_state(options)? != DbState::InArchiveRecovery {
        return Err(Failure::new("cannot promote server; server is not in standby mode"));
    }
    signal_with_file(options, pid, "promote", "promote")?;
    if !options.wait {
        options.say("server promoting\n");
        return Ok(());
    }
    options.say("waiting for server to promote...");
    if !is_promoted_in_time(options)? {
        options.say(" stopped waiting\n");
        return Err(Failure::new("server did not promote in time"));
    }
    options.say(" done\nserver promoted\n");
    Ok(())
}

/// Waits until pg_control says that the server is open for writing.
fn is_promoted_in_time(options: &Options) -> Outcome<bool> {
    let mut progress = Progress::new(options);
    while !progress.is_over() {
        let pause = progress.pause();
        let Holder::Postmaster(pid) = server::holder(options, false)? else { return Ok(false) };
        if process::send(pid, None).is_err() {
            return Ok(false);
        }
        if server::db_state(options)? == DbState::InProduction {
            return Ok(true);
        }
        std::thread::sleep(pause);
    }
    Ok(false)
}

/// `pg_ctl status`.
pub(crate) fn status(options: &Options) -> Outcome {
    match server::holder(options, true)? {
        Holder::SingleUser(pid) if process::is_alive(pid) => {
            say(&format!("pg_ctl: single-user server is running (PID: {pid})\n"));
            Ok(())
        }
        Holder::Postmaster(pid) if process::is_alive(pid) => {
            say(&format!("pg_ctl: server is running (PID: {pid})\n"));
            // How it was started, if that can be read.
            for line in server::command_lines(options).unwrap_or_default() {
                say(&format!("{line}\n"));
            }
            Ok(())
        }
        _ => {
            say("pg_ctl: no server running\n");
            Err(Failure::silent(NOT_RUNNING_STATUS))
        }
    }
}

/// `pg_ctl kill`, for systems without a `kill`: to any process.
pub(crate) fn kill(signal: Signal, pid: i32) -> Outcome {
    process::send(pid, signal).map_err(|error| {
        Failure::new(format!("could not send signal {} (PID: {pid}): {}", signal as i32, error.desc()))
    })
}

/// Why there is no postmaster to send something to.
enum Refused {
    SingleUser(Failure),
    Other(Failure),
}

impl Refused {
    fn into_failure(self) -> Failure {
        match self {
            Refused::SingleUser(failure) | Refused::Other(failure) => failure,
        }
    }
}

fn postmaster(options: &Options, purpose: &str) -> Result<i32, Refused> {
    match server::holder(options, false).map_err(Refused::Other)? {
        Holder::Postmaster(pid) => Ok(pid),
        Holder::Nobody => Err(Refused::Other(server::not_running(options))),
        Holder::SingleUser(pid) => Err(Refused::SingleUser(Failure::new(format!(
            "cannot {purpose}; single-user server is running (PID: {pid})"
        )))),
    }
}

fn send(pid: i32, signal: Signal, what: &str) -> Outcome {
    process::send(pid, signal)
        .map_err(|error| Failure::new(format!("could not send {what} (PID: {pid}): {}", error.desc())))
}

/// Makes a file in the data directory, then sends SIGUSR1; takes the file back if nobody gets the signal.
fn signal_with_file(options: &Options, pid: i32, name: &str, what: &str) -> Outcome {
    let path = options.data_dir.join(name);
    let failed = |verb: &str, path: &Path, error: &std::io::Error| {
        let path = path.display();
        Failure::new(format!("could not {verb} {what} signal file \"{path}\": {}", os_error_text(error)))
    };
    std::fs::write(&path, b"").map_err(|error| failed("create", &path, &error))?;
    let Err(failure) = send(pid, Signal::SIGUSR1, &format!("{what} signal")) else { return Ok(()) };
    match std::fs::remove_file(&path) {
        Ok(()) => Err(failure),
        Err(error) => {
            failure.print();
            Err(failed("remove", &path, &error))
        }
    }
}
