//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use common::getopt::{self, Argument, Opt};
use nix::sys::signal::Signal;

use crate::report::{Failure, Outcome, say};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Init,
    Start,
    Stop,
    Restart,
    Reload,
    Status,
    Promote,
    Logrotate,
    Kill { signal: Signal, pid: i32 },
}

/// How a server is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ShutdownMode {
    /// When the last client has left.
    Smart,
    /// Clients are disconnected.
    #[default]
    Fast,
    /// At once; the next start recovers.
    Immediate,
}

impl ShutdownMode {
    /// The signal that tells the postmaster.
    pub(crate) fn signal(self) -> Signal {
        match self {
            ShutdownMode::Smart => Signal::SIGTERM,
            ShutdownMode::Fast => Signal::SIGINT,
            ShutdownMode::Immediate => Signal::SIGQUIT,
        }
    }
}

/// How to do it.
#[derive(Debug)]
pub(crate) struct Options {
    /// Empty only for [`Mode::Kill`].
    pub(crate) data_dir: PathBuf,
    /// It came from -D, so the server is told so, too.
    pub(crate) data_dir_given: bool,
    pub(crate) wait: bool,
    pub(crate) timeout: Duration,
    pub(crate) silent: bool,
    pub(crate) log_file: Option<String>,
    /// All -o, with a space between them.
    pub(crate) server_options: Option<String>,
    pub(crate) program: Option<String>,
    pub(crate) core_files: bool,
    pub(crate) shutdown_mode: ShutdownMode,
}

impl Options {
    /// Prints progress, unless it shall be silent. C: `print_msg`.
    pub(crate) fn say(&self, text: &str) {
        if !self.silent {
            say(text);
        }
    }
}

const OPTIONS: &[Opt] = &[
    Opt::value(Some('D'), "pgdata"),
    Opt::flag(Some('s'), "silent"),
    Opt::value(Some('t'), "timeout"),
    Opt::flag(Some('V'), "version"),
    Opt::flag(Some('w'), "wait"),
    Opt::flag(Some('W'), "no-wait"),
    Opt::flag(Some('?'), "help"),
    Opt::flag(Some('c'), "core-files"),
    Opt::value(Some('l'), "log"),
    Opt::value(Some('o'), "options"),
    Opt { key: "p", short: Some('p'), long: "", takes_value: true },
    Opt::value(Some('m'), "mode"),
];

/// C: `DEFAULT_WAIT`.
const DEFAULT_TIMEOUT_SECS: u64 = 60;

/// Reads the command line and the environment.
pub(crate) fn parse(program: &str, args: &[String]) -> Outcome<(Mode, Options)> {
    let arguments = getopt::parse(args, OPTIONS)
        .map_err(|error| Failure::bare(format!("{program}: {error}")).advice())?;
    let mut options = Options {
        data_dir: PathBuf::new(),
        data_dir_given: false,
        wait: true,
        timeout: std::env::var("PGCTLTIMEOUT")
            .map_or(Duration::from_secs(DEFAULT_TIMEOUT_SECS), |t| seconds(&t)),
        silent: false,
        log_file: None,
        server_options: None,
        program: None,
        core_files: false,
        shutdown_mode: ShutdownMode::default(),
    };
    let mut operands = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Flag(key) => match key {
                "silent" => options.silent = true,
                "wait" => options.wait = true,
                "no-wait" => options.wait = false,
                "core-files" => options.core_files = true,
                // --help and --version count as first word only.
                _ => return Err(Failure::bare("Try \"pg_ctl --help\" for more information.")),
            },
            Argument::Value(key, value) => options.set(key, value)?,
            Argument::Operand(word) => operands.push(word),
        }
    }
    let mode = parse_mode(&operands)?;
    if !options.data_dir_given
        && let Some(dir) = std::env::var_os("PGDATA").filter(|dir| !dir.is_empty())
    {
        options.data_dir = canonical(PathBuf::from(dir));
    }
    if options.data_dir.as_os_str().is_empty() && !matches!(mode, Mode::Kill { .. }) {
        let message = "no database directory specified and environment variable PGDATA unset";
        return Err(Failure::new(message).advice());
    }
    Ok((mode, options))
}

impl Options {
    fn set(&mut self, key: &str, value: String) -> Outcome {
        match key {
            "pgdata" => {
                self.data_dir = canonical(PathBuf::from(value));
                self.data_dir_given = true;
            }
            "timeout" => self.timeout = seconds(&value),
            "log" => self.log_file = Some(value),
            "options" => {
                self.server_options = Some(match self.server_options.take() {
                    Some(before) => format!("{before} {value}"),
                    None => value,
                });
            }
            "mode" => {
                self.shutdown_mode = match value.as_str() {
                    "s" | "smart" => ShutdownMode::Smart,
                    "f" | "fast" => ShutdownMode::Fast,
                    "i" | "immediate" => ShutdownMode::Immediate,
                    _ => return Err(Failure::new(format!("unrecognized shutdown mode \"{value}\"")).advice()),
                };
            }
            _ => self.program = Some(value),
        }
        Ok(())
    }
}

fn parse_mode(operands: &[String]) -> Outcome<Mode> {
    let Some((word, rest)) = operands.split_first() else {
        return Err(Failure::new("no operation specified").advice());
    };
    let mut rest = rest.iter();
    let mode = match word.as_str() {
        "init" | "initdb" => Mode::Init,
        "start" => Mode::Start,
        "stop" => Mode::Stop,
        "restart" => Mode::Restart,
        "reload" => Mode::Reload,
        "status" => Mode::Status,
        "promote" => Mode::Promote,
        "logrotate" => Mode::Logrotate,
        "kill" => {
            let (Some(signal), Some(pid)) = (rest.next(), rest.next()) else {
                return Err(Failure::new("missing arguments for kill mode").advice());
            };
            let signal = signal_of_name(signal)?;
            let Some(pid) = pid.parse().ok().filter(|pid| *pid != 0) else {
                return Err(Failure::new(format!("invalid process ID \"{pid}\"")).advice());
            };
            Mode::Kill { signal, pid }
        }
        _ => return Err(Failure::new(format!("unrecognized operation mode \"{word}\"")).advice()),
    };
    if rest.next().is_some() {
        return Err(Failure::new(format!("too many command-line arguments (first is \"{word}\")")).advice());
    }
    Ok(mode)
}

/// The signals that a server understands. C: `set_sig`.
fn signal_of_name(name: &str) -> Outcome<Signal> {
    Ok(match name {
        "ABRT" => Signal::SIGABRT,
        "HUP" => Signal::SIGHUP,
        "INT" => Signal::SIGINT,
        "KILL" => Signal::SIGKILL,
        "QUIT" => Signal::SIGQUIT,
        "TERM" => Signal::SIGTERM,
        "USR1" => Signal::SIGUSR1,
        "USR2" => Signal::SIGUSR2,
        _ => return Err(Failure::new(format!("unrecognized signal name \"{name}\"")).advice()),
    })
}

/// As C's `atoi`: the digits at the beginning, 0 without any.
fn seconds(text: &str) -> Duration {
    let text = text.trim_start();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Duration::from_secs(u64::from(text[..digits].parse::<u32>().unwrap_or(0)))
}

/// Without slashes at the end. C: the part of `canonicalize_path` that shows in messages.
fn canonical(dir: PathBuf) -> PathBuf {
    dir.components().collect()
}

/// `--help`.
pub(crate) const HELP: &str = r#"pg_ctl is a utility to initialize, start, stop, or control a PostgreSQL server.

Usage:
  pg_ctl init[db]   [-D DATADIR] [-s] [-o OPTIONS]
  pg_ctl start      [-D DATADIR] [-l FILENAME] [-W] [-t SECS] [-s]
                    [-o OPTIONS] [-p PATH] [-c]
  pg_ctl stop       [-D DATADIR] [-m SHUTDOWN-MODE] [-W] [-t SECS] [-s]
  pg_ctl restart    [-D DATADIR] [-m SHUTDOWN-MODE] [-W] [-t SECS] [-s]
                    [-o OPTIONS] [-c]
  pg_ctl reload     [-D DATADIR] [-s]
  pg_ctl status     [-D DATADIR]
  pg_ctl promote    [-D DATADIR] [-W] [-t SECS] [-s]
  pg_ctl logrotate  [-D DATADIR] [-s]
  pg_ctl kill       SIGNALNAME PID

Common options:
  -D, --pgdata=DATADIR   location of the database storage area
  -s, --silent           only print errors, no informational messages
  -t, --timeout=SECS     seconds to wait when using -w option
  -V, --version          output version information, then exit
  -w, --wait             wait until operation completes (default)
  -W, --no-wait          do not wait until operation completes
  -?, --help             show this help, then exit
If the -D option is omitted, the environment variable PGDATA is used.

Options for start or restart:
  -c, --core-files       allow postgres to produce core files
  -l, --log=FILENAME     write (or append) server log to FILENAME
  -o, --options=OPTIONS  command line options to pass to postgres
                         (PostgreSQL server executable) or initdb
  -p PATH-TO-POSTGRES    normally not necessary

Options for stop or restart:
  -m, --mode=MODE        MODE can be "smart", "fast", or "immediate"

Shutdown modes are:
  smart       quit after all clients have disconnected
  fast        quit directly, with proper shutdown (default)
  immediate   quit without complete shutdown; will lead to recovery on restart

Allowed signal names for kill:
  ABRT HUP INT KILL QUIT TERM USR1 USR2
"#;
