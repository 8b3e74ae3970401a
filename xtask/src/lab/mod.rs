//! `cargo xtask lab NAME`: a demonstration that plays in a terminal, for someone who wants to see what they have read about.
//!
//! A lab says what it is going to do, shows the commands that a person would type, runs exactly these, and shows what they really
//! print. And it checks what it claims: if something does not happen, the lab says so and fails.
//!
//! | file | what is in it |
//! |---|---|
//! | `postmaster_killed.rs`, `slow_stop.rs` | the plays, scene by scene: read these |
//! | `stage.rs` | the narrator: prints, wraps, counts claims |
//! | `place.rs` | a folder with a cluster, of which nothing is left |
//! | `job.rs`, `session.rs` | commands that run, a psql that stays open |
//!
//! Exit codes: 0 all claims held; 1 one did not, or something could not be done; 2 a program is missing, and nothing was started;
//! 130 interrupted. In each case nothing is left: Ctrl-C is not a signal here but something that [`Lab::turn`] sees, and every
//! wait is made of turns.

mod job; // 2. a command that runs
mod place; // 1. folder, environment, cleaning up
mod postmaster_killed; // 5. the play of the first document
mod session; // 3. psql, open
mod slow_stop; // 6. the play of the second
mod stage; // 4. the narrator

use std::fmt::Display;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::{Args, ValueEnum};
use integration::process;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::{client, cluster_dir};
use job::Job;
use place::Place;
use session::{Look, Session};
use stage::Stage;

/// Which play, and how.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Which one; without a name they are listed.
    name: Option<Name>,
    /// No pauses for reading.
    #[arg(long)]
    fast: bool,
    /// Leave the folder with the cluster, stopped.
    #[arg(long)]
    keep: bool,
}

/// The plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// kill -9 the postmaster: who goes, who stays, and what is lost.
    PostmasterKilled,
    /// A fast stop that is slow: what it waits for, how long, and how to bound it.
    SlowStop,
}

impl Name {
    fn title(self) -> &'static str {
        match self {
            Name::PostmasterKilled => "postmaster-killed: sessions live on without their postmaster",
            Name::SlowStop => "slow-stop: a fast stop that is not fast, and says why",
        }
    }

    /// Programs of PostgreSQL that it needs.
    fn needs(self) -> &'static [&'static str] {
        match self {
            Name::PostmasterKilled => &["psql"],
            Name::SlowStop => &["psql", "pg_receivewal", "pg_controldata"],
        }
    }

    fn play(self) -> fn(&mut Lab) -> Result {
        match self {
            Name::PostmasterKilled => postmaster_killed::play,
            Name::SlowStop => slow_stop::play,
        }
    }
}

/// Why a play ends before its end.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A claim did not hold.
    Claim(String),
    /// Something could not be done.
    Broken(String),
    /// Ctrl-C, or nobody reads any more.
    Interrupted,
}

impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault::Broken(message)
    }
}

pub(crate) type Result<T = ()> = std::result::Result<T, Fault>;

/// What a command has said, and its exit code.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `None` if it was killed, or in a session, where there is none.
    pub(crate) code: Option<i32>,
    /// Both of its outputs.
    pub(crate) text: String,
}

impl Answer {
    /// Does it say this?
    pub(crate) fn says(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(f, "exit code {code}, and it said:\n{}", self.text),
            None => write!(f, "it said:\n{}", self.text),
        }
    }
}

/// `cargo xtask lab`.
pub(crate) fn run(options: &Options) -> ExitCode {
    let Some(name) = options.name else {
        list();
        return ExitCode::SUCCESS;
    };
    let clients = match find_clients(name.needs()) {
        Ok(clients) => clients,
        Err(message) => {
            eprintln!("xtask: {message}");
            return ExitCode::from(2);
        }
    };
    // Dropped with its cluster before the exit code is returned.
    let ended = open(options, &clients).and_then(|mut lab| lab.perform(name));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault::Interrupted) => {
            eprintln!("interrupted; all is cleaned up");
            ExitCode::from(130)
        }
        Err(Fault::Claim(claim)) => {
            eprintln!("xtask: what the lab claims did not happen: {claim}");
            ExitCode::FAILURE
        }
        Err(Fault::Broken(message)) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    println!("Labs play in a terminal, in less than a minute each, and leave nothing behind:\n");
    for name in Name::value_variants() {
        if let Some(value) = name.to_possible_value() {
            let about = value.get_help().map(ToString::to_string).unwrap_or_default();
            println!("cargo xtask lab {:<18} {about}", value.get_name());
        }
    }
}

/// The folder of PostgreSQL's programs; an error if one of these is missing.
fn find_clients(needed: &[&str]) -> std::result::Result<PathBuf, String> {
    let advice = "cargo xtask setup installs it (as root), or your system's package postgresql-15";
    let Some(psql) = client::find_psql() else {
        return Err(format!("a lab needs PostgreSQL 15's psql: {advice}"));
    };
    let folder = psql.parent().unwrap_or(Path::new("/usr/bin")).to_owned();
    if let Some(missing) = needed.iter().find(|program| !folder.join(program).exists()) {
        return Err(format!("this lab needs PostgreSQL 15's {missing} in {}: {advice}", folder.display()));
    }
    if !["/usr/bin/ps", "/bin/ps"].iter().any(|ps| Path::new(ps).exists()) {
        return Err("a lab needs ps: install your system's package procps".into());
    }
    Ok(folder)
}

/// Builds, and makes the place.
fn open(options: &Options, clients: &Path) -> Result<Lab> {
    // Blocked before the first thread starts (the build starts one), so that nobody takes it but who reads the descriptor.
    // Children begin with nothing blocked.
    let mut interrupts = SigSet::empty();
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| interrupts.add(signal));
    interrupts.thread_block().map_err(|e| e.to_string())?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let interrupts = SignalFd::with_flags(&interrupts, flags).map_err(|e| e.to_string())?;
    let built = match std::env::var_os("PGANATOMY_PROGRAMS") {
        Some(folder) => folder.into(),
        None => cluster_dir::build_in_place(false)?,
    };
    let stage = Stage::new(Box::new(std::io::stdout()), std::io::stdout().is_terminal());
    let mut place = Place::new(&built, clients, options.keep)?;
    place.set_columns(terminal_columns());
    Ok(Lab { stage, place, interrupts, is_interrupted: false, is_fast: options.fast, background: None })
}

/// How wide the terminal is. What commands print goes through a pipe, so that they cannot find out themselves.
fn terminal_columns() -> Option<String> {
    let terminal =
        std::io::stdout().is_terminal().then(|| std::io::stdout().as_fd().try_clone_to_owned().ok())??;
    let mut stty = Command::new("stty");
    let asked = process::spawn(stty.arg("size").stdin(terminal).stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut said = String::new();
    asked.stdout?.read_to_string(&mut said).ok()?;
    said.split_whitespace().nth(1).filter(|columns| *columns != "0").map(str::to_owned)
}

/// A play under way: the narrator, the place, and what runs beside.
#[derive(Debug)]
pub(crate) struct Lab {
    stage: Stage,
    place: Place,
    interrupts: SignalFd,
    /// Once and for all: a signal is read only once, and who read it may have been somebody who takes no for an answer.
    is_interrupted: bool,
    is_fast: bool,
    /// A command whose lines come whenever it has some, with its name before each.
    background: Option<(String, Job)>,
}

impl Lab {
    /// The whole of it.
    fn perform(&mut self, name: Name) -> Result {
        let began = Instant::now();
        self.introduce(name)?;
        let played = name.play()(self);
        if let Err(Fault::Claim(_) | Fault::Broken(_)) = &played {
            self.show_log();
        }
        played?;
        let seconds = began.elapsed().as_secs();
        let took = if self.is_terminal() { format!(", in {seconds} seconds") } else { String::new() };
        self.say(&format!("That was it: {} claims, and all of them held{took}.", self.stage.claims()))
    }

    fn introduce(&mut self, name: Name) -> Result {
        let (uid, _) = process::unprivileged_ids();
        let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        let user = user.map_or_else(|| uid.to_string(), |user| user.name);
        let path = self.place.path("");
        self.say(name.title())?;
        self.say(&format!(
            "What stands behind a $ is run as it stands, by user {user} in {}, and what follows it is its real output. \
             The environment, for who wants to look around meanwhile:",
            path.display()
        ))?;
        for (name, value) in self.place.variables() {
            self.stage.output(&format!("export {name}={value}"))?;
        }
        self.rest()
    }

    /// The end of the server's log, for who wants to know why.
    fn show_log(&self) {
        for name in ["server.log", "data/log/postgresql.log"] {
            let text = std::fs::read(self.place.path(name)).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            if !lines.is_empty() {
                eprintln!("the end of {name}:");
                lines.iter().skip(lines.len().saturating_sub(20)).for_each(|line| eprintln!("    {line}"));
            }
        }
    }

    // ----- what a play says -----

    /// A new scene.
    pub(crate) fn scene(&mut self, heading: &str) -> Result {
        self.rest()?;
        self.stage.scene(heading)
    }

    /// A sentence or two.
    pub(crate) fn say(&mut self, text: &str) -> Result {
        self.stage.say(text)
    }

    /// Says that something is so; if it is not, the play ends and shows `evidence`.
    pub(crate) fn claim(&mut self, claim: &str, holds: bool, evidence: impl Display) -> Result {
        // What was asked for it may not have been answered because of that.
        if self.is_interrupted {
            Err(Fault::Interrupted)
        } else {
            self.stage.claim(claim, holds, || evidence.to_string())
        }
    }

    // ----- what a play does -----

    /// Shows a command, runs it to its end, shows what it says.
    pub(crate) fn run(&mut self, typed: &str) -> Result<Answer> {
        self.show_command("$ ", typed)?;
        let job = self.start(typed, false)?;
        self.finish(job, |lab, job| {
            for line in job.new_lines() {
                lab.stage.output(&line)?;
            }
            Ok(())
        })
    }

    /// The same, for a command that draws: its output goes to the terminal as it comes.
    pub(crate) fn run_raw(&mut self, typed: &str) -> Result<Answer> {
        self.show_command("$ ", typed)?;
        let job = self.start(typed, false)?;
        self.finish(job, |lab, job| lab.stage.raw_output(&job.new_text()))
    }

    /// Runs a command that the audience does not see: for what a claim needs to know.
    pub(crate) fn check(&mut self, typed: &str) -> Result<Answer> {
        let job = self.start(typed, false)?;
        self.finish(job, |_, job| {
            job.new_lines();
            Ok(())
        })
    }

    /// Starts a program beside the play, whose output goes to a file; its pid.
    pub(crate) fn spawn(&mut self, typed: &str) -> Result<i32> {
        self.show_command("$ ", &format!("{typed} &"))?;
        // The process is the program itself then, not a shell that waits for it.
        let job = self.start(&format!("exec {typed}"), false)?;
        Ok(job.pid())
    }

    /// Starts a command beside the play, whose lines come with `name` before them until [`Lab::finish_background`].
    pub(crate) fn run_beside(&mut self, name: &str, typed: &str) -> Result {
        self.show_command("$ ", &format!("{typed} &"))?;
        let job = self.start(typed, false)?;
        self.background = Some((name.to_owned(), job));
        Ok(())
    }

    /// Waits for the end of the command of [`Lab::run_beside`].
    pub(crate) fn finish_background(&mut self) -> Result<Answer> {
        let answer = self.until("the command in the background ends", |lab| {
            let (_, job) = lab.background.as_mut()?;
            let code = job.ended()?.code();
            Some(Answer { code, text: job.said() })
        })?;
        self.turn()?;
        self.background = None;
        Ok(answer)
    }

    /// Opens a session.
    pub(crate) fn psql(&mut self) -> Result<Session> {
        self.show_command("$ ", "psql")?;
        let job = self.start("exec psql", true)?;
        let mut session = Session::new(job);
        // It is there when it answers.
        session.ask("");
        self.listen(&mut session)?;
        Ok(session)
    }

    /// Asks a session, and shows what it answers.
    pub(crate) fn ask(&mut self, session: &mut Session, sql: &str) -> Result<Answer> {
        self.show_command("postgres=# ", sql)?;
        session.ask(sql);
        self.listen(session)
    }

    /// Leaves a session, and waits until psql is gone.
    pub(crate) fn leave(&mut self, mut session: Session) -> Result {
        self.show_command("postgres=# ", "\\q")?;
        session.job.tell("\\q");
        session.job.close_input();
        self.finish(session.job, |_, _| Ok(())).map(drop)
    }

    /// Waits until there is something.
    ///
    /// # Errors
    /// As a claim that does not hold, if it takes too long.
    pub(crate) fn until<T>(&mut self, what: &str, mut probe: impl FnMut(&mut Lab) -> Option<T>) -> Result<T> {
        let began = Instant::now();
        loop {
            if let Some(found) = probe(self) {
                return Ok(found);
            }
            if began.elapsed() > integration::DEADLINE {
                let evidence = format!("{} seconds were not enough", integration::DEADLINE.as_secs());
                self.stage.claim(what, false, || evidence)?;
            }
            self.turn()?;
        }
    }

    /// Are there no pauses? Then a play may do less of the same.
    pub(crate) fn is_fast(&self) -> bool {
        self.is_fast
    }

    /// May a command draw?
    pub(crate) fn is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Has the command of [`Lab::run_beside`] said this?
    pub(crate) fn background_says(&self, text: &str) -> bool {
        self.background.as_ref().is_some_and(|(_, job)| job.said().contains(text))
    }

    /// The folder, the cluster in it, its processes.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    // ----- how it is done -----

    fn show_command(&mut self, prompt: &str, typed: &str) -> Result {
        self.rest()?;
        self.stage.command(prompt, typed)?;
        self.rest()
    }

    fn start(&mut self, typed: &str, listens: bool) -> Result<Job> {
        let job = Job::start(self.place.shell(typed), listens)?;
        self.place.remember(job.pid());
        Ok(job)
    }

    /// Until it has ended; `show` is called whenever it may have said something.
    fn finish(&mut self, mut job: Job, mut show: impl FnMut(&mut Lab, &mut Job) -> Result) -> Result<Answer> {
        let answer = self.until("the command ends", |lab| {
            let ended = job.ended();
            let shown = show(lab, &mut job);
            let code = match (shown, ended) {
                (Err(fault), _) => return Some(Err(fault)),
                (Ok(()), None) => return None,
                (Ok(()), Some(status)) => status.code(),
            };
            Some(Ok(Answer { code, text: job.said() }))
        })??;
        self.place.forget(job.pid());
        Ok(answer)
    }

    /// Shows an answer as it comes.
    fn listen(&mut self, session: &mut Session) -> Result<Answer> {
        let mut text = String::new();
        self.until("the session answers", |lab| {
            let (lines, is_last) = match session.look() {
                Look::More(lines) => (lines, false),
                Look::Last(lines) => (lines, true),
            };
            for line in lines {
                text.push_str(&line);
                text.push('\n');
                if let Err(fault) = lab.stage.output(&line) {
                    return Some(Err(fault));
                }
            }
            is_last.then_some(Ok(()))
        })??;
        Ok(Answer { code: None, text })
    }

    /// Time to read what was shown.
    fn rest(&mut self) -> Result {
        let time = self.stage.take_unread();
        let began = Instant::now();
        self.turn()?;
        while !self.is_fast && began.elapsed() < time {
            self.turn()?;
        }
        Ok(())
    }

    /// A moment: what runs beside may speak, and Ctrl-C is noticed.
    fn turn(&mut self) -> Result {
        self.is_interrupted |= !matches!(self.interrupts.read_signal(), Ok(None));
        if self.is_interrupted {
            return Err(Fault::Interrupted);
        }
        if let Some((name, job)) = &mut self.background {
            job.ended();
            for line in job.new_lines() {
                self.stage.output(&format!("{name} | {line}"))?;
            }
        }
        integration::pause();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_play_has_a_line_in_the_list() {
        for name in Name::value_variants() {
            let value = name.to_possible_value().unwrap();
            assert!(value.get_help().is_some());
            assert!(name.title().starts_with(value.get_name()));
            assert!(name.needs().contains(&"psql"));
        }
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_install() {
        let Some(_) = client::find_psql() else { integration::skip!("psql is not installed") };
        let message = find_clients(&["psql", "pg_no_such_program"]).unwrap_err();
        assert!(message.contains("pg_no_such_program") && message.contains("cargo xtask setup"), "{message}");
    }
}
