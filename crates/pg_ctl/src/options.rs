//! The command line.
//!
//! PostgreSQL's options with its error texts, and three more for `stop` and `restart`: `--deadline`, `--forecast` and
//! `--progress`. C counterpart: `main` (pg_ctl.c).

use std::path::PathBuf;
use std::time::Duration;

use common::getopt::{self, Argument, Opt};
use nix::sys::signal::Signal;

use crate::duration::{self, NotATime};
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

    /// What the server calls it.
    pub(crate) fn report_mode(self) -> stopreport::Mode {
        match self {
            ShutdownMode::Smart => stopreport::Mode::Smart,
            ShutdownMode::Fast => stopreport::Mode::Fast,
            ShutdownMode::Immediate => stopreport::Mode::Immediate,
        }
    }
}

/// How a stop shows what it waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProgressStyle {
    /// [`ProgressStyle::Bar`] on a terminal, otherwise [`ProgressStyle::Plain`].
    #[default]
    Auto,
    /// Lines that are repainted in place.
    Bar,
    /// A line for each phase that lasts, and one every ten seconds.
    Plain,
    /// One JSON object a line, and nothing else on stdout.
    Json,
    /// A dot a second, as PostgreSQL's pg_ctl.
    None,
}

/// How to do it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Empty only for [`Mode::Kill`].
    pub(crate) data_dir: PathBuf,
    /// It came from -D, so the server is told so, too.
    pub(crate) data_dir_given: bool,
    pub(crate) wait: bool,
    pub(crate) timeout: Duration,
    /// The timeout came from -t: then nothing prolongs it.
    pub(crate) timeout_given: bool,
    pub(crate) silent: bool,
    pub(crate) log_file: Option<String>,
    /// All -o, with a space between them.
    pub(crate) server_options: Option<String>,
    pub(crate) program: Option<String>,
    pub(crate) core_files: bool,
    pub(crate) shutdown_mode: ShutdownMode,
    /// How long the stop may take; the server then gives up what it waits for.
    pub(crate) deadline: Option<Duration>,
    /// Ask what a stop would wait for instead of stopping.
    pub(crate) forecast: bool,
    /// `None` if not given.
    pub(crate) progress: Option<ProgressStyle>,
}

impl Options {
    /// The style that was asked for, or else the default.
    pub(crate) fn progress_style(&self) -> ProgressStyle {
        self.progress.unwrap_or_default()
    }

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
    Opt::value(None, "deadline"),
    Opt::flag(None, "forecast"),
    Opt::value(None, "progress"),
];

/// C: `DEFAULT_WAIT`.
const DEFAULT_TIMEOUT_SECS: u64 = 60;

/// How much longer than its deadline a stop is waited for: the checkpoint is never given up, so it may be late.
const PATIENCE_BEHIND_DEADLINE: Duration = Duration::from_secs(10);

/// Reads the command line and the environment.
pub(crate) fn parse(program: &str, args: &[String]) -> Outcome<(Mode, Options)> {
    let arguments = getopt::parse(args, OPTIONS)
        .map_err(|error| Failure::bare(format!("{program}: {error}")).advice())?;
    let mut options = Options::from_environment();
    let mut operands = Vec::new();
    for argument in arguments {
        match argument {
            Argument::Flag(key) => match key {
                "silent" => options.silent = true,
                "wait" => options.wait = true,
                "no-wait" => options.wait = false,
                "core-files" => options.core_files = true,
                "forecast" => options.forecast = true,
                // --help and --version count as first word only.
                _ => return Err(Failure::bare("Try \"pg_ctl --help\" for more information.")),
            },
            Argument::Value(key, value) => options.set(key, value)?,
            Argument::Operand(word) => operands.push(word),
        }
    }
    let mode = parse_mode(&operands)?;
    options.settle_stop(mode)?;
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
    /// What holds before the first option is read.
    fn from_environment() -> Options {
        Options {
            data_dir: PathBuf::new(),
            data_dir_given: false,
            wait: true,
            timeout: std::env::var("PGCTLTIMEOUT")
                .map_or(Duration::from_secs(DEFAULT_TIMEOUT_SECS), |t| seconds(&t)),
            timeout_given: false,
            silent: false,
            log_file: None,
            server_options: None,
            program: None,
            core_files: false,
            shutdown_mode: ShutdownMode::default(),
            deadline: None,
            forecast: false,
            progress: None,
        }
    }

    /// Do the options of a stop go with the command and with each other? And how long to wait at least.
    fn settle_stop(&mut self, mode: Mode) -> Outcome {
        let given = [
            ("deadline", self.deadline.is_some()),
            ("forecast", self.forecast),
            ("progress", self.progress.is_some()),
        ];
        if !matches!(mode, Mode::Stop | Mode::Restart)
            && let Some((name, _)) = given.iter().find(|(_, given)| *given)
        {
            let message = format!("option --{name} can be used only with \"stop\" or \"restart\"");
            return Err(Failure::new(message).advice());
        }
        let Some(deadline) = self.deadline else { return Ok(()) };
        if self.shutdown_mode == ShutdownMode::Immediate {
            // The postmaster ends an immediate stop by itself, with SIGKILL after five seconds.
            return Err(Failure::new("option --deadline cannot be used with immediate mode").advice());
        }
        if !self.timeout_given {
            self.timeout = self.timeout.max(deadline + PATIENCE_BEHIND_DEADLINE);
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: String) -> Outcome {
        match key {
            "pgdata" => {
                self.data_dir = canonical(PathBuf::from(value));
                self.data_dir_given = true;
            }
            "timeout" => {
                self.timeout = seconds(&value);
                self.timeout_given = true;
            }
            "deadline" => self.deadline = Some(deadline(&value)?),
            "progress" => self.progress = Some(progress_style(&value)?),
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

fn deadline(value: &str) -> Outcome<Duration> {
    duration::parse(value).map_err(|error| match error {
        NotATime::Malformed => Failure::new(format!("invalid value \"{value}\" for option --deadline"))
            .line("HINT: A time is a number of seconds, or a number with one of the units \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\"."),
        NotATime::OutOfRange => Failure::new(format!(
            "value \"{value}\" for option --deadline is out of range ({} ms .. {} d)",
            duration::SHORTEST.as_millis(),
            duration::LONGEST.as_secs() / 86_400
        )),
    })
}

fn progress_style(value: &str) -> Outcome<ProgressStyle> {
    Ok(match value {
        "auto" => ProgressStyle::Auto,
        "bar" => ProgressStyle::Bar,
        "plain" => ProgressStyle::Plain,
        "json" => ProgressStyle::Json,
        "none" => ProgressStyle::None,
        _ => {
            return Err(Failure::new(format!("invalid value \"{value}\" for option --progress"))
                .line("HINT: Valid values are \"auto\", \"bar\", \"plain\", \"json\", and \"none\"."));
        }
    })
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

#[cfg(test)]
mod tests;
