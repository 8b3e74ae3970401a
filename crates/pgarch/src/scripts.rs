//! Runs the golden scripts: each file under `testscripts/` is one course of events, and what the archiver did in it.
//! Rewritten with `UPDATE_GOLDENFILES=1`.
//!
//! | command | meaning |
//! |---|---|
//! | `ready NAME...` | these files wait; `orphan NAME...`: only their `.ready` files are there |
//! | `command TEXT`, `library TEXT` | the setting at the start (`cp %p /a/%f`, empty) |
//! | `workers N`, `timeout MS` | `archive_max_workers`, `archiver_shutdown_timeout` (1, 0) |
//! | `outcomes CODE...` | exit codes of the next commands that end (0 when used up); `killed_by_N`, `fail` cannot start |
//! | `undeletable N` | the next N removals of a status file fail; `unrenamable N`: the next N renames |
//! | `dead` | the postmaster has died already; `sigterm`: SIGTERM has come already |
//! | `at MOMENT EVENT...` | what happens at the next `command` (while some run), `sleep` or `wait` nothing is planned for |
//! | `run` | an archiver's life, until it ends or waits for what is not planned |
//! | `gauges` | from here on what is published is shown, where it changes |
//! | `status` | the status files |
//!
//! Events: `SIGHUP`, `SIGTERM`, `SIGUSR1`, `SIGUSR2`, `death` (of the postmaster), `ready=NAME` (the server finishes a
//! file, which comes with SIGUSR1), `by_hand=NAME` (without), `gone=NAME` (somebody removes its `.ready`),
//! `command=TEXT`, `library=TEXT` (in the configuration file), `seconds=N` (pass, or the clock goes back),
//! `nothing`. A wait at which nothing but time happens ends by its timeout. `SIGQUIT` is that of an immediate stop.
//!
//! Of several commands that run, the first that was begun ends first, unless an event says `ends=NAME`, or `hang`: then
//! none does before the loop looks up again, because of a signal or because the time is over. `workers=N` and `timeout=MS`
//! are in the configuration file. A command that was sent SIGTERM dies of it, unless `outcomes` says otherwise.
//! `deadline=MS`: the stop is given a bound, the archiver's part of which ends so much later; no signal comes with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::SqlState;
use elog::{PgError, Result, Severity, error};
use goldenscript::{Command, Context, Runner};
use miscinit::shell::Outcome;

use crate::archive::{Force, News, Ticket};
use crate::main_loop::main_loop;
use crate::{Archive, Wakeup};

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            goldenscript::run(&mut World::new(), folder().join(stringify!($name))).unwrap();
        })*

        #[test]
        fn every_script_is_run() {
            let mut listed = vec![$(stringify!($name)),*];
            listed.sort_unstable();
            let entries = std::fs::read_dir(folder()).unwrap();
            let mut found: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            found.sort_unstable();
            assert_eq!(found, listed);
        }
    };
}

scripts! {
    success notification autowake order names_left_alone history_comes_first file_gone_meanwhile
    three_failures failure_then_success command_killed exit_above_125 cannot_start rename_fails
    orphan_removed orphan_stays
    empty_command reload_mid_cycle reload_while_retrying library_changed
    sigterm sigterm_then_sigusr2 sigterm_and_clock_back sigterm_mid_cycle
    sigusr2 sigusr2_mid_cycle sigusr2_and_failures
    postmaster_dies_waiting postmaster_dies_mid_cycle
    parallel parallel_history parallel_failure parallel_failures parallel_new_files parallel_reload
    parallel_signals parallel_killed parallel_orphan parallel_next_archiver
    bound bound_waiting bound_many bound_resisted bound_reload deadline deadline_or_setting
    gauges gauges_stop gauges_failures gauges_not_set gauges_others_files
}

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testscripts")
}

/// An event: a word, or a word and its value.
type Event = (String, Option<String>);

/// The world of a script.
#[derive(Default)]
struct World {
    command: Arc<str>,
    library: Arc<str>,
    /// What the configuration file says; counts after a reload.
    file_command: Arc<str>,
    file_library: Arc<str>,
    /// Now, and in the configuration file.
    workers: [usize; 2],
    timeout: [u64; 2],
    deadline: Option<Duration>,
    /// What is published: how many files wait, why they do, and until when.
    published: (usize, Option<String>, Option<Duration>),
    gauges: bool,
    /// The commands that run, and the files they are for.
    running: BTreeMap<Ticket, String>,
    started: Ticket,
    terminated: Option<&'static str>,
    /// Which command ends next, if not the first.
    next_end: Option<String>,
    hang: bool,
    /// A signal came at this moment.
    signalled: bool,
    /// Status files: true is done.
    status: BTreeMap<String, bool>,
    files: BTreeSet<String>,
    outcomes: VecDeque<String>,
    undeletable: u32,
    unrenamable: u32,
    planned: BTreeMap<&'static str, VecDeque<Vec<Event>>>,
    seconds: i64,
    uptime: Duration,
    quit: bool,
    sighup: bool,
    wakened: bool,
    sigterm: bool,
    sigusr2: bool,
    rescan: bool,
    /// The latch: a signal came since the loop last began.
    latch: bool,
    dead: bool,
    scans: u32,
    out: RefCell<String>,
}

impl Runner for World {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> std::result::Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut words = Vec::new();
        while let Some(word) = args.next_pos() {
            words.push(word.to_owned());
        }
        let first = || words.first().cloned().unwrap_or_default();
        match command.name.as_str() {
            "ready" => words.iter().for_each(|name| self.finish(name)),
            "orphan" => self.status.extend(words.into_iter().map(|name| (name, false))),
            "command" => (self.command, self.file_command) = (first().into(), first().into()),
            "library" => (self.library, self.file_library) = (first().into(), first().into()),
            "workers" => self.workers = [first().parse()?; 2],
            "timeout" => self.timeout = [first().parse()?; 2],
            "outcomes" => self.outcomes.extend(words),
            "undeletable" => self.undeletable = first().parse()?,
            "unrenamable" => self.unrenamable = first().parse()?,
            "gauges" => self.gauges = true,
            "dead" => self.dead = true,
            "sigterm" => self.sigterm = true,
            "status" => return Ok(self.show_status()),
            "run" => return Ok(self.live()),
            "at" => {
                let moment = ["command", "sleep", "wait"].into_iter().find(|m| *m == first());
                let mut events: Vec<Event> = words[1..].iter().map(|word| (word.clone(), None)).collect();
                while let Some((name, value)) = args.next_key() {
                    events.push((name.to_owned(), Some(value.to_owned())));
                }
                self.planned.entry(moment.ok_or("when?")?).or_default().push_back(events);
            }
            other => return Err(format!("unknown command {other}").into()),
        }
        Ok(String::new())
    }
}

impl World {
    fn new() -> World {
        let command: Arc<str> = "cp %p /a/%f".into();
        World { command: Arc::clone(&command), file_command: command, workers: [1; 2], ..World::default() }
    }

    /// A new archiver's life, with its signals.
    fn live(&mut self) -> String {
        (self.sighup, self.wakened, self.latch, self.scans) = (false, false, false, 0);
        self.published = (0, None, None);
        let ended = main_loop(self);
        let mut out = self.out.take();
        match ended {
            Ok(()) if out.ends_with("(nothing more is planned)\n") => {}
            Ok(()) => out.push_str("exit 0\n"),
            Err(error) => {
                say(&mut out, &error.with_severity(Severity::Fatal));
                out.push_str("exit 1\n");
            }
        }
        writeln!(out, "directory read {} times", self.scans).unwrap();
        assert!(self.running.is_empty(), "it ended before its commands");
        (self.sigterm, self.sigusr2, self.quit, self.terminated) = (false, false, false, None);
        self.deadline = None;
        out
    }

    fn show_status(&self) -> String {
        let lines = self.status.iter();
        lines.map(|(name, done)| format!("{name}.{}\n", if *done { "done" } else { "ready" })).collect()
    }

    fn finish(&mut self, name: &str) {
        self.status.insert(name.to_owned(), false);
        self.files.insert(name.to_owned());
    }

    fn say(&self, line: impl std::fmt::Display) {
        writeln!(self.out.borrow_mut(), "{line}").unwrap();
    }

    /// Lets happen what is planned for this moment; `None` if nothing is.
    fn moment(&mut self, moment: &'static str) -> Option<()> {
        self.signalled = false;
        let events = self.planned.get_mut(moment)?.pop_front()?;
        for event in &events {
            self.happen(event);
        }
        Some(())
    }

    fn happen(&mut self, (name, value): &Event) {
        let value = value.clone().unwrap_or_default();
        self.signalled |= name.starts_with("SIG") || name == "ready";
        self.latch |= self.signalled;
        match name.as_str() {
            "SIGHUP" => self.sighup = true,
            "SIGTERM" => self.sigterm = true,
            "SIGUSR1" => self.wakened = true,
            "SIGUSR2" => self.sigusr2 = true,
            "death" => self.dead = true,
            "command" => self.file_command = value.as_str().into(),
            "library" => self.file_library = value.as_str().into(),
            "SIGQUIT" => self.quit = true,
            "workers" => self.workers[1] = value.parse().unwrap(),
            "timeout" => self.timeout[1] = value.parse().unwrap(),
            "deadline" => {
                self.deadline = Some(self.uptime + Duration::from_millis(value.parse().unwrap()));
            }
            "ends" => return self.next_end = Some(value),
            "hang" => return self.hang = true,
            "seconds" => {
                let seconds: i64 = value.parse().unwrap();
                self.seconds += seconds;
                self.uptime += Duration::from_secs(seconds.max(0) as u64);
            }
            "gone" => {
                self.status.remove(&value);
            }
            "by_hand" => self.finish(&value),
            "ready" => {
                self.finish(&value);
                self.wakened = true;
                self.rescan |= wal::archive::is_history_name(&value);
            }
            "nothing" => return,
            other => panic!("what is {other}?"),
        }
        self.say(match value.as_str() {
            "" => format!("  ({name})"),
            value => format!("  ({name} {value})"),
        });
    }
}

fn say(out: &mut String, report: &PgError) {
    writeln!(out, "{}:  {}", report.severity.word(), report.message).unwrap();
    if let Some(detail) = &report.detail {
        writeln!(out, "DETAIL:  {detail}").unwrap();
    }
}

impl Archive for World {
    fn reset_latch(&mut self) {
        self.latch = false;
    }

    fn ready_to_stop(&self) -> bool {
        self.sigusr2
    }

    fn got_sigterm(&self) -> bool {
        self.sigterm
    }

    fn take_sighup(&mut self) -> bool {
        std::mem::take(&mut self.sighup)
    }

    fn take_wakened(&mut self) -> bool {
        std::mem::take(&mut self.wakened)
    }

    fn postmaster_is_alive(&self) -> bool {
        !self.dead
    }

    fn quit_was_sent(&self) -> bool {
        self.quit
    }

    fn uptime(&self) -> Duration {
        self.uptime
    }

    fn max_workers(&self) -> usize {
        self.workers[0]
    }

    fn shutdown_timeout(&self) -> Option<Duration> {
        (self.timeout[0] > 0).then(|| Duration::from_millis(self.timeout[0]))
    }

    fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn now(&self) -> i64 {
        1_000_000 + self.seconds
    }

    fn reload(&mut self) {
        self.say("read the configuration");
        (self.workers[0], self.timeout[0]) = (self.workers[1], self.timeout[1]);
        (self.command, self.library) = (Arc::clone(&self.file_command), Arc::clone(&self.file_library));
    }

    fn command(&self) -> Arc<str> {
        Arc::clone(&self.command)
    }

    fn library(&self) -> Arc<str> {
        Arc::clone(&self.library)
    }

    fn list_ready(&mut self) -> Result<Vec<String>> {
        self.scans += 1;
        // Not in order: that is the archiver's business.
        Ok(self.status.iter().rev().filter(|(_, done)| !**done).map(|(name, _)| name.clone()).collect())
    }

    fn newest_done(&mut self) -> Option<String> {
        let newest = self.status.iter().rfind(|(name, done)| **done && name.len() == 24);
        newest.map(|(name, _)| name.clone())
    }

    fn take_rescan_request(&mut self) -> bool {
        std::mem::take(&mut self.rescan)
    }

    fn is_ready(&self, file: &str) -> Result<bool> {
        Ok(self.status.get(file) == Some(&false))
    }

    fn is_missing(&self, file: &str) -> bool {
        !self.files.contains(file)
    }

    fn unlink_ready(&mut self, file: &str) -> io::Result<()> {
        if self.undeletable > 0 {
            self.undeletable -= 1;
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.status.remove(file);
        Ok(())
    }

    fn rename_to_done(&mut self, file: &str) -> Result<()> {
        if self.unrenamable > 0 {
            self.unrenamable -= 1;
            return Err(error!(
                SqlState::IO_ERROR,
                "could not rename file \"{file}.ready\" to \"{file}.done\""
            ));
        }
        self.status.insert(file.to_owned(), true);
        Ok(())
    }

    fn start(&mut self, command: &str) -> io::Result<Ticket> {
        self.say(format!("$ {command}"));
        assert!(self.running.len() < self.workers[0].max(self.workers[1]), "too many");
        if self.outcomes.front().is_some_and(|outcome| outcome == "fail") {
            self.outcomes.pop_front();
            return Err(io::Error::from_raw_os_error(12));
        }
        let file = command.split_whitespace().find_map(|word| word.strip_prefix("pg_wal/"));
        let file = file.expect("a file in each command").to_owned();
        assert!(!self.running.values().any(|running| *running == file), "two for {file}");
        self.started += 1;
        self.running.insert(self.started, file);
        Ok(self.started)
    }

    fn wait_for_command(&mut self, at_most: Option<Duration>) -> Option<(Ticket, io::Result<Outcome>)> {
        self.moment("command");
        if std::mem::take(&mut self.hang) {
            let passes = at_most.filter(|_| !self.signalled).unwrap_or_default();
            if !passes.is_zero() {
                self.say(format!("  ({} ms pass)", passes.as_millis()));
            }
            self.uptime += passes;
            return None;
        }
        let file = self.next_end.take();
        let ticket = match &file {
            Some(file) => {
                self.running.iter().find(|(_, running)| *running == file).map(|(ticket, _)| *ticket)
            }
            None => self.running.keys().next().copied(),
        };
        let ticket = ticket.expect("that command runs");
        let file = self.running.remove(&ticket).unwrap();
        if !self.running.is_empty() {
            self.say(format!("  (its command ends: {file})"));
        }
        let outcome = self.outcomes.pop_front().unwrap_or(self.terminated.unwrap_or("0").into());
        let outcome = match outcome.strip_prefix("killed_by_") {
            Some(signal) => Outcome::Signaled(signal.parse().unwrap()),
            None => Outcome::Exited(outcome.parse().unwrap()),
        };
        Some((ticket, Ok(outcome)))
    }

    fn force(&mut self, how: Force) {
        self.say(format!("{how:?} {:?}", self.running.values().collect::<Vec<_>>()));
        self.terminated = Some("killed_by_15");
        match how {
            Force::Terminate => self.sigterm = true,
            Force::Kill => self.terminated = Some("killed_by_9"),
            Force::Abandon => self.running.clear(),
        }
    }

    fn tell_archived(&mut self, newest: Option<&str>) {
        self.say(format!("collector: archived {}", newest.unwrap_or("one more")));
    }

    fn tell_failed(&mut self, file: &str) {
        self.say(format!("collector: failed {file}"));
    }

    fn publish(&mut self, news: News<'_>) {
        let before = self.published.clone();
        let now = &mut self.published;
        match news {
            News::Waiting(files) => now.0 = files,
            News::Stopping if self.gauges => self.say("gauge: exact from here on"),
            News::Stopping => {}
            News::Archived | News::Gone => now.0 -= 1,
            News::Failing(why) => now.1 = why.map(str::to_owned),
            News::GivesUp(at) => now.2 = at,
            News::Idle => assert!(self.running.is_empty()),
        }
        if !self.gauges || before == self.published {
            return;
        }
        let (waiting, failing, gives_up) = &self.published;
        let failing = failing.as_ref().map_or(String::new(), |why| format!(", failing: {why}"));
        let gives_up = gives_up.map_or(String::new(), |at| format!(", gives up at {} ms", at.as_millis()));
        self.say(format!("gauge: {waiting} waiting{failing}{gives_up}"));
    }

    fn set_title(&mut self, activity: &str) {
        self.say(format!("title: {activity}"));
    }

    fn log(&mut self, report: PgError) {
        if report.severity >= Severity::Log {
            say(&mut self.out.borrow_mut(), &report);
        }
    }

    fn sleep(&mut self, at_most: Duration) {
        match at_most.subsec_millis() {
            0 => self.say(format!("sleep {} s", at_most.as_secs())),
            _ => self.say(format!("sleep {} ms", at_most.as_millis())),
        }
        self.moment("sleep");
        // A signal cuts it short.
        if !self.signalled {
            self.uptime += at_most;
            self.seconds += 1;
        }
    }

    fn wait(&mut self, seconds: i64) -> Wakeup {
        if !self.latch && !self.dead {
            self.say(format!("wait {seconds} s"));
            if self.moment("wait").is_none() {
                self.say("(nothing more is planned)");
                return Wakeup::PostmasterDeath;
            }
        }
        if self.dead {
            Wakeup::PostmasterDeath
        } else if self.latch {
            Wakeup::Latch
        } else {
            self.seconds += seconds;
            self.uptime += Duration::from_secs(seconds.max(0) as u64);
            Wakeup::Timeout
        }
    }
}
