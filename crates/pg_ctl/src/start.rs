//! `start` and `init`.
//!
//! The server is started through the shell, as by C's pg_ctl: so `-o` may hold several options with quotes,
//! and the shell opens the log file. The shell replaces itself by the server, so its process id is the
//! postmaster's.
//!
//! C counterpart: `do_start`, `start_postmaster`, `wait_for_postmaster_start`, `do_init`.

#![allow(
    unsafe_code,
    reason = "the child must call setsid between fork and exec, for which std has no safe way"
)]

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use common::pidfile::PidFileStatus;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::interrupt::Interrupt;
use crate::options::Options;
use crate::process;
use crate::progress::Progress;
use crate::report::{Failure, Outcome, complain};
use crate::server::{self, Holder};

/// How to call the server.
struct Invocation {
    program: String,
    /// With `-D "dir" ` in front, if that is to be said.
    arguments: String,
}

/// `pg_ctl start`.
pub(crate) fn start(options: &Options) -> Outcome {
    if server::holder(options, false)? != Holder::Nobody {
        complain("pg_ctl: another server might be running; trying to start server anyway");
    }
    let data_dir = match options.data_dir_given {
        true => format!("-D {} ", shell_quoted(&options.data_dir.to_string_lossy())),
        false => String::new(),
    };
    let server_options = options.server_options.as_deref().unwrap_or_default();
    let arguments = format!("{data_dir}{server_options}");
    run(options, Invocation { program: server_program(options)?, arguments })
}

/// The start in `pg_ctl restart`: as last time, unless told otherwise by -o or -p. C: `read_post_opts`.
pub(crate) fn start_again(options: &Options) -> Outcome {
    if let Some(given) = &options.server_options {
        let invocation = Invocation { program: server_program(options)?, arguments: given.clone() };
        return run(options, invocation);
    }
    let path = server::command_line_file(options);
    let Ok(lines) = server::command_lines(options) else {
        return Err(Failure::new(format!("could not read file \"{}\"", path.display())));
    };
    let [line] = &lines[..] else {
        let message = format!("option file \"{}\" must have exactly one line", path.display());
        return Err(Failure::new(message));
    };
    // The program's path may contain spaces; each argument is in quotes.
    let (program, arguments) = line.split_once(" \"").unwrap_or((line, ""));
    let quote = if arguments.is_empty() { "" } else { "\"" };
    run(
        options,
        Invocation {
            program: options.program.clone().unwrap_or_else(|| program.to_owned()),
            arguments: format!("{quote}{arguments}"),
        },
    )
}

fn server_program(options: &Options) -> Outcome<String> {
    match &options.program {
        Some(path) => Ok(path.clone()),
        None => server::program_beside_us("postgres"),
    }
}

fn run(options: &Options, invocation: Invocation) -> Outcome {
    if options.core_files {
        allow_core_files();
    }
    if !options.wait {
        spawn(options, &invocation)?;
        options.say("server starting\n");
        return Ok(());
    }
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    // From here on an interrupt belongs to the server as well: it is alone in its session, so the
    // terminal won't tell it.
    let interrupt = Interrupt::catch(&[Signal::SIGINT])?;
    let mut child = spawn(options, &invocation)?;
    options.say("waiting for server to start...");
    match wait_until_ready(options, &mut child, begin, &interrupt) {
        Started::Ready => {
            options.say(" done\nserver started\n");
            Ok(())
        }
        Started::StillStarting => {
            options.say(" stopped waiting\n");
            Err(Failure::new("server did not start in time"))
        }
        Started::Failed => {
            options.say(" stopped waiting\n");
            Err(Failure::new("could not start server").line("Examine the log output."))
        }
    }
}

fn spawn(options: &Options, invocation: &Invocation) -> Outcome<Child> {
    let Invocation { program, arguments } = invocation;
    let log = match &options.log_file {
        Some(path) => format!(" >> {}", shell_quoted(path)),
        None => String::new(),
    };
    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(format!("exec {} {arguments} < /dev/null{log} 2>&1", shell_quoted(program)))
        .env("PGDATA", &options.data_dir)
        // So that a left-over pid file with our shell's number in it does not stop the server.
        .env("PG_GRANDPARENT_PID", getppid().to_string());
    // SAFETY: between fork and exec only setsid is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            // A failure only means that we lead a group already, which is as good.
            let _ = nix::unistd::setsid();
            Ok(())
        });
    }
    command.spawn().map_err(|error| {
        Failure::new(format!("could not start server: {}", common::file::os_error_text(&error)))
    })
}

enum Started {
    Ready,
    StillStarting,
    Failed,
}

/// Watches the pid file until the server that we started says it is ready, or is gone.
fn wait_until_ready(options: &Options, child: &mut Child, begin: i64, interrupt: &Interrupt) -> Started {
    let mut progress = Progress::new(options);
    while !progress.is_over() {
        let pause = progress.pause();
        if is_ready(options, child, begin) {
            return Started::Ready;
        }
        // The pid file of a server that failed to start may be another's: our child's end is what counts.
        if !matches!(child.try_wait(), Ok(None)) {
            return Started::Failed;
        }
        if interrupt.sleep(pause) {
            let _ = process::send(child.id() as i32, Signal::SIGINT);
            interrupt.release();
        }
    }
    Started::StillStarting
}

/// The file must be this start's: the process id could be the same by chance, in a container it even is.
fn is_ready(options: &Options, child: &Child, begin: i64) -> bool {
    let Some(file) = server::read_pid_file(options) else { return false };
    let ready = matches!(file.status, Some(PidFileStatus::Ready | PidFileStatus::Standby));
    ready && u32::try_from(file.pid) == Ok(child.id()) && file.start_time >= begin - 2
}

/// `--core-files`: as large as we are allowed. C: `unlimit_core_size`.
fn allow_core_files() {
    match getrlimit(Resource::RLIMIT_CORE) {
        Ok((_, 0)) => complain("pg_ctl: cannot set core file size limit; disallowed by hard limit"),
        Ok((_, hard)) => {
            let _ = setrlimit(Resource::RLIMIT_CORE, hard, hard);
        }
        Err(_) => {}
    }
}

/// `pg_ctl init`: runs the initdb beside us.
pub(crate) fn init(options: &Options) -> Outcome {
    let program = match &options.program {
        Some(path) => path.clone(),
        None => server::program_beside_us("initdb")?,
    };
    let data_dir = match options.data_dir_given {
        true => format!("-D {} ", shell_quoted(&options.data_dir.to_string_lossy())),
        false => String::new(),
    };
    let arguments = options.server_options.as_deref().unwrap_or_default();
    let output = if options.silent { " > /dev/null" } else { "" };
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{} {data_dir}{arguments}{output}", shell_quoted(&program)))
        .stdin(Stdio::inherit())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Failure::new("database system initialization failed")),
    }
}

/// In double quotes, as one word to the shell.
fn shell_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_sees_one_word() {
        for text in ["", "a b", "it's", "$HOME `id` \"x\" \\", "line\nbreak"] {
            let script = format!("printf %s {}", shell_quoted(text));
            let output = Command::new("/bin/sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
