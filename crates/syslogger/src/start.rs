//! The postmaster's side: the pipe, the first files, the redirection.
//!
//! ```text
//! prepare()          pipe (once), first files: a bad log_directory stops the server before it starts
//! fork               the child takes pipe and files with it: syslogger_main
//! redirect_stderr()  (once) stdout and stderr become the pipe; (always) the files are closed here
//! ```
//!
//! The reading end stays open here, so a logger that dies can be replaced by one that goes on reading, and no
//! writer gets SIGPIPE meanwhile.
//!
//! C counterpart: `SysLogger_Start`.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use common::SqlState;
use elog::{Result, errno_text, fatal, pg_error, sqlstate_for_file_access};
use nix::fcntl::OFlag;

use crate::collector::Collector;
use crate::settings::Settings;

#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    /// `None` once it is nothing but stdout and stderr.
    write: Option<OwnedFd>,
}

thread_local! {
    static PIPE: RefCell<Option<Pipe>> = const { RefCell::new(None) };
    static FIRST_FILES: RefCell<Option<Collector>> = const { RefCell::new(None) };
}

/// To be called in the postmaster before each fork of a logger; the data directory is the current one.
///
/// # Errors
/// FATAL if there is no pipe to be had or a log file cannot be opened.
pub fn prepare() -> Result<()> {
    if PIPE.with_borrow(Option::is_none) {
        // Closed on exec: archive_command and the like get the pipe as their stderr, and no other copy of it.
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| {
            let sqlstate = sqlstate_for_file_access(&errno.into());
            fatal!(sqlstate, "could not create pipe for syslog: {}", errno_text(errno))
                .routine("SysLogger_Start")
        })?;
        PIPE.set(Some(Pipe { read, write: Some(write) }));
    }
    let now = elog::Timestamp::now().seconds;
    FIRST_FILES.set(Some(Collector::open(Path::new("."), Settings::read(), now)?));
    Ok(())
}

/// To be called in the postmaster after each successful fork of a logger.
///
/// # Errors
/// FATAL if stderr cannot be redirected.
pub fn redirect_stderr() -> Result<()> {
    FIRST_FILES.set(None);
    PIPE.with_borrow_mut(|pipe| {
        let Some(write) = pipe.as_mut().and_then(|pipe| pipe.write.take()) else { return Ok(()) };
        let directory = guc::vars::LOG_DIRECTORY.get();
        pg_error!(
            Log,
            SqlState::SUCCESSFUL_COMPLETION,
            "redirecting log output to logging collector process"
        )
        .hint(format!("Future log output will appear in directory \"{directory}\"."))
        .routine("SysLogger_Start")
        .report();
        elog::redirect_to_syslogger(write.as_fd()).map_err(|e| {
            let sqlstate = sqlstate_for_file_access(&e);
            fatal!(sqlstate, "could not redirect stderr: {}", errno_text(e)).routine("SysLogger_Start")
        })
    })
}

/// To be called in every child that is not a logger: a writer that held the reading end as well would wait
/// forever, not fail, when all readers have gone.
pub fn close_in_child() {
    PIPE.set(None);
    FIRST_FILES.set(None);
}

/// In the new logger: the reading end and the files. The writing end is closed, or the pipe would never end.
pub(crate) fn take_over() -> Option<(OwnedFd, Collector)> {
    let pipe = PIPE.take()?;
    Some((pipe.read, FIRST_FILES.take()?))
}
