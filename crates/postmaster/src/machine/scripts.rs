//! Runs the golden scripts: each file under `testscripts/` is one scenario, a conversation of events and
//! the actions they cause. Rewritten with `UPDATE_GOLDENFILES=1`.
//!
//! | command | event |
//! |---|---|
//! | `settings NAME=VALUE...` | changes settings before the start, or by a reload |
//! | `start_logger`, `start` | the beginning |
//! | `up clients=N` | all of the way to PM_RUN with N clients (mostly silent, in parentheses) |
//! | `SIGTERM`, `SIGINT`, `SIGQUIT`, `SIGHUP` | the postmaster gets that signal |
//! | `exit KIND CODE`, `killed KIND SIGNAL [activity=TEXT]`, `slot_kept KIND` | its oldest child of that kind ended |
//! | `connect`, `walsender` | a client came; the oldest session turned out to be a walsender |
//! | `request NAME` | SIGUSR1 for that reason |
//! | `bounded` | the stop got a deadline |
//! | `awaited` | no event: shows how far the stop is and whom it waits for |
//! | `timer NAME`, `lock_file_invalid`, `fork_failed KIND` | as they say |

use std::collections::VecDeque;
use std::error::Error;
use std::fmt::Write as _;

use goldenscript::{Command, Context, Runner};

use super::*;

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
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
    start start_with_logger start_hot_standby start_standby_without_hot_standby
    stop_smart_without_clients stop_smart_waits_for_clients stop_fast stop_immediate
    stop_upgraded_twice stop_lesser_request_is_ignored stop_during_startup stop_fast_during_recovery
    stop_with_archiver_and_walsender stop_smart_does_not_wait_for_walsender stop_immediate_in_last_state
    stop_fast_is_reported stop_smart_reaches_its_bound stop_immediate_is_reported stop_gets_a_deadline_late
    stop_of_recovery_is_reported stop_of_crash_restart_is_reported forecast
    stop_without_checkpointer stop_waits_for_dead_end stop_at_recovery_target stop_of_hot_standby
    promote_during_smart_stop
    crash_of_backend crash_of_checkpointer crash_of_bgwriter crash_of_walwriter crash_of_launcher
    crash_of_worker crash_of_walsender crash_of_walreceiver crash_of_dead_end crash_slot_kept
    crash_while_restarting crash_without_restart crash_during_smart_stop crash_then_stop
    crash_stragglers_are_killed crash_stopped_for_debugger
    startup_failure startup_fork_failure startup_signaled_finishes_anyway
    dead_ends too_many_clients
    archiver_is_woken death_of_archiver death_of_stats_collector death_of_logger exit_zero_is_replaced
    reload logrotate pid_file_lost timers launcher_asks_for_worker autovacuum_off walreceiver_comes_and_goes
    fork_failures
}

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testscripts")
}

fn run(name: &str) {
    goldenscript::run(&mut Script::default(), folder().join(name)).unwrap();
}

/// The machine, and children with pids counted from 101.
struct Script {
    machine: Machine,
    settings: Settings,
    pids: [VecDeque<i32>; ChildKind::ALL.len()],
    next_pid: i32,
}

impl Default for Script {
    fn default() -> Script {
        let settings = Settings::default();
        Script { machine: Machine::new(settings), settings, pids: Default::default(), next_pid: 101 }
    }
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let activity = args.take_key("activity").map(str::to_owned);
        let mut word = || args.next_pos().ok_or("an argument is missing");
        let event = match command.name.as_str() {
            "settings" => return self.change_settings(command),
            "up" => return self.up(command),
            "awaited" => return Ok(self.awaited()),
            "bounded" => Event::Bounded,
            "start_logger" => Event::StartLogger,
            "start" => Event::Start,
            "SIGTERM" => Event::Shutdown(ShutdownMode::Smart),
            "SIGINT" => Event::Shutdown(ShutdownMode::Fast),
            "SIGQUIT" => Event::Shutdown(ShutdownMode::Immediate),
            "SIGHUP" => Event::Reload,
            "connect" => Event::Connection,
            "lock_file_invalid" => Event::LockFileInvalid,
            "walsender" => {
                let pid = self.pids[ChildKind::Backend as usize].pop_front().ok_or("no session")?;
                self.pids[ChildKind::WalSender as usize].push_back(pid);
                Event::BecameWalSender
            }
            "request" => Event::Request(request(word()?)?),
            "timer" => Event::Timer(by_word(&Timer::ALL, Timer::word, word()?)?),
            "exit" => self.gone(word()?, ChildExit::Code(word()?.parse()?), None)?,
            "slot_kept" => self.gone(word()?, ChildExit::SlotNotReleased(0), None)?,
            "killed" => {
                let (kind, signal) = (word()?, word()?.parse()?);
                self.gone(kind, ChildExit::Signal(signal), activity)?
            }
            "fork_failed" => {
                let kind = kind(word()?)?;
                self.pids[kind as usize].pop_back();
                Event::ForkFailed { kind, errno: libc::EAGAIN }
            }
            other => return Err(format!("unknown command {other}").into()),
        };
        Ok(self.step(event))
    }
}

impl Script {
    fn step(&mut self, event: Event) -> String {
        let mut out = String::new();
        for action in self.machine.step(event) {
            self.show(&action, &mut out);
        }
        if out.is_empty() { "(nothing)".into() } else { out }
    }

    fn show(&mut self, action: &Action, out: &mut String) {
        match action {
            Action::EnterState { from, to } => writeln!(out, "{from} -> {to}").unwrap(),
            Action::Log(message) => {
                writeln!(out, "LOG:  {message}").unwrap();
                if let Some(detail) = message.detail() {
                    writeln!(out, "DETAIL:  {detail}").unwrap();
                }
            }
            Action::Fork(kind) => writeln!(out, "fork {} = {}", kind.word(), self.born(*kind)).unwrap(),
            Action::ForkForConnection(verdict) => {
                let refused = *verdict != miscinit::child::CanAccept::Ok;
                let kind = if refused { ChildKind::DeadEnd } else { ChildKind::Backend };
                writeln!(out, "fork {} = {} ({verdict:?})", kind.word(), self.born(kind)).unwrap();
            }
            Action::Signal { to, signal } => {
                let group = if signal.to_group() { " and its group" } else { "" };
                let name = format!("{signal:?}").to_uppercase();
                let kinds: Vec<ChildKind> = match to {
                    Target::Child(kind) => vec![*kind],
                    Target::Backends(classes) => classes.kinds().collect(),
                };
                let mut pids: Vec<(i32, ChildKind)> = kinds
                    .into_iter()
                    .flat_map(|k| self.pids[k as usize].iter().map(move |pid| (*pid, k)))
                    .collect();
                pids.sort_unstable();
                for (pid, kind) in pids {
                    writeln!(out, "SIG{name} to {} {pid}{group}", kind.word()).unwrap();
                }
            }
            Action::SetPidFileStatus(status) => {
                writeln!(out, "pid file: {}", status.as_str().trim_end()).unwrap()
            }
            Action::EnableListening(on) => {
                writeln!(out, "{} listening", if *on { "start" } else { "stop" }).unwrap()
            }
            Action::StartTimer(timer) => match timer.length() {
                Some(length) => writeln!(out, "timer {}: {} s", timer.word(), length.as_secs()).unwrap(),
                None => writeln!(out, "timer {}: on", timer.word()).unwrap(),
            },
            Action::StopTimer(timer) => writeln!(out, "timer {}: off", timer.word()).unwrap(),
            Action::Exit(code) => writeln!(out, "exit {code}").unwrap(),
            Action::SetQuitReason(reason) => writeln!(out, "quit reason: {reason:?}").unwrap(),
            Action::RefuseConnection => out.push_str("close the connection\n"),
            Action::ReloadConfig => out.push_str("read the configuration files\n"),
            Action::RecheckLockFile => out.push_str("look at postmaster.pid\n"),
            Action::TouchSockets => out.push_str("touch socket files\n"),
            Action::RemoveLogrotateFile => out.push_str("remove the file logrotate\n"),
            Action::AutovacWorkerFailed => out.push_str("tell the launcher that its worker failed\n"),
            Action::RemoveTempFiles => out.push_str("remove temporary files\n"),
            Action::ResetSharedMemory => out.push_str("reset shared memory\n"),
            Action::ReportStop => writeln!(out, "status file: {}", self.awaited()).unwrap(),
            Action::LogStop => writeln!(out, "log: {}", self.awaited()).unwrap(),
            Action::WriteForecast => out.push_str("write the forecast\n"),
        }
    }

    fn awaited(&self) -> String {
        let Some(phase) = self.machine.phase() else { return "no stop".into() };
        let kinds = self.machine.awaited();
        let pids =
            kinds.iter().flat_map(|k| self.pids[*k as usize].iter().map(|p| format!("{} {p}", k.word())));
        let pids: Vec<String> = pids.collect();
        format!("{} stop, {phase:?}: {}", self.machine.shutdown().word(), pids.join(", "))
    }

    fn born(&mut self, kind: ChildKind) -> i32 {
        let pid = self.next_pid;
        self.next_pid += 1;
        self.pids[kind as usize].push_back(pid);
        pid
    }

    fn gone(
        &mut self,
        word: &str,
        exit: ChildExit,
        activity: Option<String>,
    ) -> Result<Event, Box<dyn Error>> {
        let kind = kind(word)?;
        let pid = self.pids[kind as usize].pop_front().ok_or(format!("no {word} lives"))?;
        Ok(Event::Exited { kind, pid, exit, activity })
    }

    fn up(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let clients: u32 = args.take_key("clients").unwrap_or("0").parse()?;
        let mut out = self.step(Event::StartLogger);
        out += &self.step(Event::Start);
        let startup_done = self.gone("startup", ChildExit::Code(0), None)?;
        out += &self.step(startup_done);
        for _ in 0..clients {
            out += &self.step(Event::Connection);
        }
        Ok(out)
    }

    fn change_settings(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        while let Some((name, value)) = args.next_key() {
            let on = value == "on";
            let settings = &mut self.settings;
            match name {
                "logging_collector" => settings.logging_collector = on,
                "autovacuum" => settings.autovacuum = on,
                "hot_standby" => settings.hot_standby = on,
                "restart_after_crash" => settings.restart_after_crash = on,
                "remove_temp_files_after_crash" => settings.remove_temp_files_after_crash = on,
                "send_stop" => settings.send_stop = on,
                "max_live_children" => settings.max_live_children = value.parse()?,
                "archive_mode" => {
                    settings.archive_mode = match value {
                        "on" => ArchiveMode::On,
                        "always" => ArchiveMode::Always,
                        _ => ArchiveMode::Off,
                    }
                }
                other => return Err(format!("unknown setting {other}").into()),
            }
        }
        Ok(self.step(Event::NewSettings(self.settings)))
    }
}

fn kind(word: &str) -> Result<ChildKind, Box<dyn Error>> {
    by_word(&ChildKind::ALL, ChildKind::word, word)
}

fn by_word<T: Copy>(all: &[T], name: fn(T) -> &'static str, word: &str) -> Result<T, Box<dyn Error>> {
    Ok(all.iter().copied().find(|t| name(*t) == word).ok_or(format!("what is {word}?"))?)
}

fn request(word: &str) -> Result<Request, Box<dyn Error>> {
    Ok(match word {
        "recovery_started" => Request::RecoveryStarted,
        "begin_hot_standby" => Request::BeginHotStandby,
        "waken_archiver" => Request::WakenArchiver,
        "rotate_logfile" => Request::RotateLogfile,
        "logrotate_file" => Request::LogrotateFile,
        "start_launcher" => Request::StartAutovacLauncher,
        "start_worker" => Request::StartAutovacWorker,
        "start_walreceiver" => Request::StartWalReceiver,
        "advance" => Request::AdvanceStateMachine,
        "promote_file" => Request::PromoteFile,
        "forecast_file" => Request::ForecastFile,
        other => return Err(format!("what is {other}?").into()),
    })
}
