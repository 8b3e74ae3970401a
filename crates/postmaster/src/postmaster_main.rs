//! From a checked data directory to a serving postmaster. C: `PostmasterMain`, from the lock file on.

use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;

use common::SqlState;
use common::pidfile::OPTS_FILE;
use common::version::PG_VERSION_STR;
use elog::{Result, ereport, errno_text, fatal, pg_error};
use miscinit::{exit, globals, lockfile, ps_status};
use shmem::proc::Limits;
use shmem::{Reservation, Segment};

use crate::config::{PostmasterConfig, limits};
use crate::exit::Belongings;
use crate::listen::ListenSockets;
use crate::machine::Event;
use crate::server_loop::{LOGROTATE_FILE, PROMOTE_FILE, Postmaster};
use crate::signals::Signals;

/// Where the logger notes its current files; a leftover would name files nobody writes. C:
/// `LOG_METAINFO_DATAFILE`.
const CURRENT_LOGFILES: &str = "current_logfiles";

/// Longest queue of clients to ask the system for. C: `PG_SOMAXCONN`.
const BACKLOG_MAX: usize = 10_000;

/// Becomes the postmaster and serves until told to stop; ends the process. The settings have been read, and the
/// data directory is checked and current. Exit codes: 0 after a stop, 1 after a failure.
pub fn postmaster_main(config: PostmasterConfig) -> ! {
    globals::become_postmaster();
    ps_status::init();
    match start(config) {
        Ok(mut postmaster) => {
            postmaster.handle(Event::Start);
            postmaster.run()
        }
        Err(e) => {
            let severity = e.severity.max(elog::Severity::Fatal);
            e.with_severity(severity).report();
            exit::proc_exit(1)
        }
    }
}

fn start(config: PostmasterConfig) -> Result<Postmaster> {
    let signals = Signals::install()?;
    check_settings(&config)?;
    let port = u16::try_from(guc::vars::PORT.get()).unwrap_or(common::version::DEFAULT_PORT);
    lockfile::create_data_dir(port)?;
    let belongings = Belongings::own();
    // Of a postmaster that was killed while it stopped, and of a question that nobody answered any more. At once: from now on pg_ctl
    // knows whom to signal, and may put new ones there.
    stopreport::files::remove_all(globals::data_dir());
    (config.hooks.read_control_file)()?;
    let limits = limits();
    create_shared_memory(&config, limits, &belongings)?;
    shmem::init_death_watch()?;
    for leftover in [PROMOTE_FILE, LOGROTATE_FILE, CURRENT_LOGFILES] {
        let _ = std::fs::remove_file(leftover);
    }
    let mut postmaster = Postmaster::new(config, limits, signals, Rc::clone(&belongings));
    postmaster.handle(Event::StartLogger);
    say_where_output_goes();
    ereport!(Log, "starting {PG_VERSION_STR}");
    *belongings.sockets.borrow_mut() = ListenSockets::open(port, backlog(limits))?;
    write_options_file(&postmaster.config)?;
    write_external_pid_file(&postmaster.config, &belongings);
    (postmaster.config.hooks.remove_temp_files)();
    (postmaster.config.hooks.load_hba)()?;
    Ok(postmaster)
}

/// Settings that are fine each by itself and not together.
fn check_settings(config: &PostmasterConfig) -> Result<()> {
    match guc::check_combinations(&config.program_name) {
        Ok(()) => Ok(()),
        Err(guc::StartupProblem::Report(e)) => Err(e),
        // To the terminal: nobody looks into the log of a server that did not start.
        Err(guc::StartupProblem::Text(text)) => {
            let _ = std::io::stderr().write_all(text.as_bytes());
            exit::proc_exit(1)
        }
    }
}

fn create_shared_memory(config: &PostmasterConfig, limits: Limits, belongings: &Belongings) -> Result<()> {
    let mut reservation = Reservation::new();
    (config.hooks.reserve)(&mut reservation, limits);
    let segment = Segment::create(reservation, globals::data_dir())?;
    *belongings.segment.borrow_mut() = Some(segment);
    belongings.write_shmem_line();
    Ok(())
}

/// Twice the processes there can be, workers included, as PostgreSQL asks for.
fn backlog(limits: Limits) -> usize {
    let workers = usize::try_from(guc::vars::MAX_WORKER_PROCESSES.get()).unwrap_or(0);
    (2 * (limits.max_backends() as usize + workers)).min(BACKLOG_MAX)
}

/// Whoever watches the terminal shall know where to look from now on.
fn say_where_output_goes() {
    let destination = guc::vars::LOG_DESTINATION.get();
    let to_stderr =
        destination.split(',').any(|word| word.trim().trim_matches('"').eq_ignore_ascii_case("stderr"));
    if !to_stderr {
        pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "ending log output to stderr")
            .hint(format!("Future log output will go to log destination \"{destination}\"."))
            .report();
    }
}

/// One line: the program and its arguments, each in quotes; `pg_ctl restart` reads it. C: `CreateOptsFile`.
fn write_options_file(config: &PostmasterConfig) -> Result<()> {
    let (program, arguments) = &config.command_line;
    let mut content = program.display().to_string();
    for argument in arguments {
        let _ = write!(content, " \"{argument}\"");
    }
    content.push('\n');
    let written = write_private_file(OPTS_FILE, &content);
    written.map_err(|e| {
        let reason = errno_text(&e);
        fatal!(elog::sqlstate_for_file_access(&e), "could not create file \"{OPTS_FILE}\": {reason}")
    })
}

fn write_private_file(path: &str, content: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content.as_bytes())
}

/// Failing to write it is said and survived.
fn write_external_pid_file(config: &PostmasterConfig, belongings: &Belongings) {
    use std::os::unix::fs::PermissionsExt;
    let path = guc::vars::EXTERNAL_PID_FILE.get();
    if path.is_empty() {
        return;
    }
    let name = &config.program_name;
    match std::fs::write(&*path, format!("{}\n", globals::my_proc_pid())) {
        Ok(()) => {
            // World-readable, since whoever asked for it is not one of us.
            let _ = std::fs::set_permissions(&*path, std::fs::Permissions::from_mode(0o644));
            *belongings.external_pid_file.borrow_mut() = Some(path.to_string().into());
        }
        Err(e) => {
            let reason = errno_text(&e);
            let _ =
                writeln!(std::io::stderr(), "{name}: could not write external PID file \"{path}\": {reason}");
        }
    }
}
