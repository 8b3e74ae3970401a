//! The server program. It reads the command line, finds the data directory, and hands the postmaster the table
//! of processes: this is the only place that knows them all.
//!
//! C counterpart: main/main.c, and the beginning of `PostmasterMain`.

#![forbid(unsafe_code)]

mod data_dir; // 3. is it one, and is it ours
mod help; // 2. --help, --describe-config
mod options; // 1. the command line
mod wiring; // 4. who runs what

use std::io::Write;
use std::process::ExitCode;

use guc::{GucAction, GucContext, GucSource, StartupProblem};

use backend::standalone::{self, StandaloneOptions};
use options::{Command, Options};

/// The name in messages to the terminal. C: `progname`.
const PROGRAM: &str = "postgres";

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let called_as = std::env::args_os().next().unwrap_or_else(|| PROGRAM.into());
    let options = match options::parse(&called_as.to_string_lossy(), &arguments) {
        Ok(options) => options,
        Err(StartupProblem::Text(text)) => return complain(&text, 1),
        Err(StartupProblem::Report(error)) => {
            error.report();
            return ExitCode::from(1);
        }
    };
    match options.command {
        Command::Help => return help::print_help(),
        Command::Version => return help::print_version(),
        Command::Serve | Command::Single | Command::DescribeConfig | Command::ShowSetting(_) => {}
    }
    // `-C` may be asked by root, like in PostgreSQL: it starts nothing.
    if common::user::is_root() && matches!(options.command, Command::Serve | Command::Single) {
        return complain(
            "\"root\" execution of the PostgreSQL server is not permitted.\n\
             The server must be started under an unprivileged user ID to prevent\n\
             possible system security compromise.  See the documentation for\n\
             more information on how to properly start the server.",
            1,
        );
    }
    if matches!(options.command, Command::DescribeConfig) {
        return help::describe_config();
    }
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartupProblem::Text(text)) => complain(text.trim_end(), 2),
        Err(StartupProblem::Report(error)) if error.severity >= elog::Severity::Panic => elog::abort(error),
        Err(StartupProblem::Report(error)) => {
            error.with_severity(elog::Severity::Fatal).report();
            ExitCode::from(1)
        }
    }
}

fn complain(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}

/// Reads the settings and becomes the postmaster; returns only if there was no need to, or no way.
fn serve(options: Options) -> Result<(), StartupProblem> {
    elog::panic_hook();
    elog::install_logger();
    guc::initialize()?;
    guc::set_recovery_time_check(startup::is_recovery_time);
    for (name, value) in &options.settings {
        let value = value.as_str();
        guc::set_option(name, value, GucContext::Postmaster, GucSource::CommandLine, GucAction::Set)?;
    }
    guc::select_config_files(options.data_dir.as_deref(), PROGRAM)?;
    miscinit::config::note_loaded();
    miscinit::config::apply_log_settings();
    if let Command::ShowSetting(name) = &options.command {
        let privileges = guc::Privileges::ALL;
        let shown =
            guc::rows().into_iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.setting);
        println!("{}", shown.map_or_else(|| guc::show(name, &privileges), Ok)?);
        return Ok(());
    }
    // Whatever a child creates is the owner's alone, unless the directory says otherwise.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    data_dir::enter()?;
    if options.command == Command::Single {
        let database = match options.database {
            Some(database) => database,
            None => common::user::effective_user_name().map_err(StartupProblem::Text)?,
        };
        let session =
            StandaloneOptions { database, semicolon_newline: options.semicolon_newline, echo: options.echo };
        standalone::standalone_main(&session, &wiring::standalone()?)
    }
    postmaster::postmaster_main(wiring::postmaster_config(options.send_stop)?)
}
