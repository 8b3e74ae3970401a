//! `pg_ctl`: starts, stops and asks after a server, knowing only its data directory.
//!
//! It talks to the server by files and signals alone: `postmaster.pid` says who runs and how far it is,
//! `postmaster.opts` how it was started, pg_control whether it is a standby. So it works on any server of
//! PostgreSQL 15, and PostgreSQL's own pg_ctl works on this one.
//!
//! Differs from PG 15: looks for a change more often (a start is not prolonged by a tenth of a second), counts a
//! process that is dead but not yet reaped as gone, and refuses a process id that isn't a number where PostgreSQL's
//! reads 0 and signals itself.
//!
//! And a stop explains itself, if the server is this project's: `stop` shows from the first second on what is waited for
//! (`--progress`), says after a time-out what is still awaited, asks in advance (`--forecast`) and sets a bound
//! (`--deadline`). Two more conversations by file and signal carry that; the crate `stopreport` has their words:
//!
//! ```text
//! postmaster.stop <- postmaster, four times a second while it stops        read here
//! deadline        -> seconds; written before the stop signal               taken by the postmaster
//! forecast        -> a word; then SIGUSR1                                  taken by the postmaster
//! postmaster.forecast <- postmaster: what it sees, with that word          read and removed here
//! ```
//!
//! A server that knows nothing of this gets no file that stays, and behaves as ever.
//!
//! C counterpart: src/bin/pg_ctl/pg_ctl.c.

mod control; // 6. reload, promote, logrotate, status, kill
mod deadline; // 8. the bound of a stop, handed over
mod display; // 10. what is shown of a stop, and when
mod duration; // times on the command line
mod forecast; // 9. what a stop would wait for
mod help;
mod interrupt; // Ctrl-C at the wrong moment
mod options; // 1. what is wanted
mod process; // 3. alive or not; signals
mod progress; // 7. the dots
mod render; // 11. what a stop waits for, in lines
mod report;
mod server; // 2. what the files say
mod start; // 4. start, init
mod stop; // 5. stop, restart
mod table; // aligned columns
mod terminal; // 12. lines painted in place

use std::process::ExitCode;

use common::user;
use common::version::{PACKAGE, PG_VERSION};

use crate::options::{Mode, Options};
use crate::report::{Failure, Outcome, say};

fn main() -> ExitCode {
    let mut args = Vec::new();
    for arg in std::env::args_os() {
        match arg.into_string() {
            Ok(arg) => args.push(arg),
            Err(arg) => {
                return Failure::new(format!("argument \"{}\" is not valid UTF-8", arg.to_string_lossy()))
                    .print();
            }
        }
    }
    let program = if args.is_empty() { "pg_ctl".to_owned() } else { args.remove(0) };
    match run(&program, &args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

fn run(program: &str, args: &[String]) -> Outcome {
    // Before the check for root, so that root may ask.
    match args.first().map(String::as_str) {
        Some("--help" | "-?") => {
            say(help::HELP);
            return Ok(());
        }
        Some("--version" | "-V") => {
            say(&format!("pg_ctl (PostgreSQL) {PG_VERSION} ({PACKAGE})\n"));
            return Ok(());
        }
        _ => {}
    }
    if user::is_root() {
        return Err(Failure::new(
            "cannot be run as root\nPlease log in (using, e.g., \"su\") as the (unprivileged) user that will\nown the server process.",
        ));
    }
    let (mode, options) = options::parse(program, args)?;
    dispatch(mode, &options)
}

fn dispatch(mode: Mode, options: &Options) -> Outcome {
    server::set_umask(options);
    match mode {
        Mode::Init => start::init(options),
        Mode::Start => start::start(options),
        Mode::Stop => stop::stop(options),
        Mode::Restart => stop::restart(options),
        Mode::Reload => control::reload(options),
        Mode::Status => control::status(options),
        Mode::Promote => control::promote(options),
        Mode::Logrotate => control::logrotate(options),
        Mode::Kill { signal, pid } => control::kill(signal, pid),
    }
}
