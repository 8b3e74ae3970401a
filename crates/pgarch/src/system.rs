//! The world as it is: [`Archive`] over signals, files, the shell and the statistics collector.
//!
//! A signal sets the latch, which every wait here resets; that it was set is remembered for the wait of the outer loop.
//!
//! File names are relative: a process of the server works in its data directory.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use activity::gauges::{self, Rate};
use common::SqlState;
use elog::{PgError, Result, fatal};
use file::file_error;
use miscinit::interrupt::{self, Pending};
use miscinit::shell::{self, Outcome, Running, Spared};
use miscinit::{exit, ps_status};
use nix::sys::signal::Signal;
use shmem::latch::{self, Wake};
use shmem::pmsignal::{QuitSignalReason, quit_signal_reason};
use shmem::wait_event::WaitEvent;
use wal::{archive, segment};

use crate::archive::{Force, News, Ticket};
use crate::{Archive, Wakeup};

const READY: &str = ".ready";
const DONE: &str = ".done";

/// The real world.
#[derive(Debug)]
pub(crate) struct System {
    /// [`gauges::monotonic_micros`].
    began: u64,
    /// Those that have ended and not been told of too.
    running: BTreeMap<Ticket, Running>,
    started: Ticket,
    /// While any runs, SIGQUIT is theirs.
    spared: Option<Spared>,
    /// The latch was set since the outer loop reset it.
    signalled: bool,
    /// Files that wait, as far as is known; files archived; and how fast.
    waiting: u64,
    archived: u64,
    rate: Rate,
}

impl Default for System {
    fn default() -> System {
        System {
            began: gauges::monotonic_micros(),
            running: BTreeMap::new(),
            started: 0,
            spared: None,
            signalled: false,
            waiting: 0,
            archived: 0,
            rate: Rate::new(),
        }
    }
}

impl System {
    /// Says whether this archiver can do what is asked for. C: `LoadArchiveLibrary`.
    ///
    /// # Errors
    /// FATAL 0A000 if `archive_library` is set.
    pub(crate) fn check_library(&self) -> Result<()> {
        let library = self.library();
        if library.is_empty() {
            return Ok(());
        }
        Err(fatal!(SqlState::FEATURE_NOT_SUPPORTED, "archive libraries are not supported")
            .detail(format!("The parameter \"archive_library\" is set to \"{library}\"."))
            .hint("Set \"archive_library\" to an empty string and use \"archive_command\"."))
    }

    /// The SIGQUIT of an immediate stop or a crash may have come while it was the commands', and the last of them ended
    /// well all the same, or had just ended: then nobody has got it. The reason was noted before it was sent.
    fn leave_if_quit_was_missed(&self) {
        if self.running.is_empty() && self.quit_was_sent() {
            exit::exit_now(2);
        }
    }

    /// A command that has ended and was not told of yet.
    fn ended(&mut self) -> Option<(Ticket, io::Result<Outcome>)> {
        let (ticket, outcome) = self.running.iter_mut().find_map(|(ticket, command)| {
            let outcome = command.try_wait().transpose()?;
            Some((*ticket, outcome))
        })?;
        self.forget(ticket);
        // What is in the archive is marked first: the next archiver's command would find it there, and refuse.
        if outcome.as_ref().is_ok_and(|outcome| !outcome.succeeded() && !outcome.is_any_signal(true)) {
            self.leave_if_quit_was_missed();
        }
        Some((ticket, outcome))
    }

    fn forget(&mut self, ticket: Ticket) {
        self.running.remove(&ticket);
        if self.running.is_empty() {
            self.spared = None;
        }
        self.publish_running(true);
    }

    fn publish_running(&self, ended: bool) {
        gauges::archiver().set_running(self.running.len() as u32, ended);
    }

    fn one_less(&mut self) {
        // Somebody may have removed the mark of one whose command ran.
        self.waiting = self.waiting.saturating_sub(1);
        gauges::archiver().set_waiting(self.waiting);
    }

    /// After a wait: a signal that woke us is remembered.
    fn note_signal(&mut self, woken: Wake) -> bool {
        let signalled = woken.contains(Wake::LATCH_SET);
        if signalled {
            latch::reset();
            self.signalled = true;
        }
        signalled
    }
}

/// The names in `archive_status`.
///
/// # Errors
/// It cannot be read.
fn each_mark(mut look: impl FnMut(String)) -> Result<()> {
    let dir = segment::wal_dir().join("archive_status");
    let cannot = |verb: &str, e: io::Error| {
        let code = elog::sqlstate_for_file_access(&e);
        fatal!(code, "could not {verb} directory \"{}\": {}", dir.display(), elog::errno_text(&e))
    };
    for entry in std::fs::read_dir(&dir).map_err(|e| cannot("open", e))? {
        if let Ok(name) = entry.map_err(|e| cannot("read", e))?.file_name().into_string() {
            look(name);
        }
    }
    Ok(())
}

impl Archive for System {
    fn reset_latch(&mut self) {
        latch::reset();
        self.signalled = false;
    }

    fn ready_to_stop(&self) -> bool {
        interrupt::is_pending(Pending::LastCycle)
    }

    fn got_sigterm(&self) -> bool {
        interrupt::is_pending(Pending::Shutdown)
    }

    fn take_sighup(&mut self) -> bool {
        interrupt::take(Pending::ConfigReload)
    }

    fn take_wakened(&mut self) -> bool {
        interrupt::take(Pending::Wakened)
    }

    fn postmaster_is_alive(&self) -> bool {
        shmem::postmaster_alive()
    }

    fn quit_was_sent(&self) -> bool {
        quit_signal_reason() != QuitSignalReason::NotSent
    }

    fn now(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
    }

    fn uptime(&self) -> Duration {
        Duration::from_micros(gauges::monotonic_micros().saturating_sub(self.began))
    }

    fn reload(&mut self) {
        auxprocess::reload_config();
        gauges::archiver().set_workers(self.max_workers() as u32);
    }

    fn command(&self) -> Arc<str> {
        guc::vars::ARCHIVE_COMMAND.get()
    }

    fn library(&self) -> Arc<str> {
        guc::vars::ARCHIVE_LIBRARY.get()
    }

    fn max_workers(&self) -> usize {
        guc::vars::ARCHIVE_MAX_WORKERS.get().max(1) as usize
    }

    fn shutdown_timeout(&self) -> Option<Duration> {
        let millis = guc::vars::ARCHIVER_SHUTDOWN_TIMEOUT.get();
        u64::try_from(millis).ok().map(Duration::from_millis)
    }

    fn deadline(&self) -> Option<Duration> {
        let at = shutdown::bounds::archiver_until()?;
        Some(Duration::from_micros(at.micros().saturating_sub(self.began)))
    }

    fn list_ready(&mut self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        each_mark(|mut name| {
            if let Some(file) = name.strip_suffix(READY) {
                name.truncate(file.len());
                names.push(name);
            }
        })?;
        Ok(names)
    }

    fn newest_done(&mut self) -> Option<String> {
        let mut newest: Option<String> = None;
        let looked = each_mark(|name| {
            if let Some(file) = name.strip_suffix(DONE)
                && segment::is_segment_name(file)
                && newest.as_deref().is_none_or(|newest| newest < file)
            {
                newest = Some(file.to_owned());
            }
        });
        // What is wrong with the directory will be told by who needs it.
        looked.ok().and(newest)
    }

    fn take_rescan_request(&mut self) -> bool {
        archive::take_rescan_request()
    }

    fn is_ready(&self, file: &str) -> Result<bool> {
        let path = archive::status_path(file, READY);
        match std::fs::metadata(&path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(file_error("stat", &path, &e)),
        }
    }

    fn is_missing(&self, file: &str) -> bool {
        let found = std::fs::metadata(segment::wal_dir().join(file));
        found.is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
    }

    fn unlink_ready(&mut self, file: &str) -> io::Result<()> {
        file::unlink(&archive::status_path(file, READY))
    }

    fn rename_to_done(&mut self, file: &str) -> Result<()> {
        let renamed =
            file::durable_rename_empty(&archive::status_path(file, READY), &archive::status_path(file, DONE));
        self.leave_if_quit_was_missed();
        renamed
    }

    fn start(&mut self, command: &str) -> io::Result<Ticket> {
        let command = shell::spawn(command)?;
        if self.spared.is_none() {
            self.spared = Some(Spared::new());
        } else if self.quit_was_sent() {
            // It came when the other commands were there, and this one not yet.
            command.signal(Signal::SIGQUIT);
        }
        self.started += 1;
        self.running.insert(self.started, command);
        self.publish_running(false);
        if !self.rate.is_running() {
            self.rate.sample(gauges::monotonic_micros(), self.archived);
        }
        Ok(self.started)
    }

    fn wait_for_command(&mut self, at_most: Option<Duration>) -> Option<(Ticket, io::Result<Outcome>)> {
        let until = at_most.map(|at_most| Instant::now() + at_most);
        loop {
            if let Some(ended) = self.ended() {
                return Some(ended);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // The death of the postmaster does not shorten the wait: what runs is waited for.
            let woken = shell::wait_any(self.running.values(), left, WaitEvent::ARCHIVE_COMMAND);
            if self.note_signal(woken) || left.is_some_and(|left| left.is_zero()) {
                return self.ended();
            }
        }
    }

    fn force(&mut self, how: Force) {
        match how {
            Force::Terminate => shell::terminate(self.running.values()),
            Force::Kill => self.running.values().for_each(|command| command.signal(Signal::SIGKILL)),
            Force::Abandon => {
                self.running.clear();
                self.spared = None;
                self.publish_running(true);
            }
        }
    }

    fn tell_archived(&mut self, newest: Option<&str>) {
        pgstat::report_archived(newest.unwrap_or_default(), false);
    }

    fn tell_failed(&mut self, file: &str) {
        pgstat::report_archived(file, true);
    }

    fn publish(&mut self, news: News<'_>) {
        let gauge = gauges::archiver();
        match news {
            News::Waiting(files) => {
                self.waiting = files as u64;
                gauge.set_waiting(self.waiting);
                gauge.set_workers(self.max_workers() as u32);
            }
            News::Stopping => gauge.set_stops(),
            News::Archived => {
                self.one_less();
                self.archived += 1;
                gauge.set_archived(self.archived);
                self.rate.sample(gauges::monotonic_micros(), self.archived);
                // Until it is known, that of the last archiver stays.
                if let Some(rate) = self.rate.per_second() {
                    gauge.set_rate(Some(rate));
                }
            }
            News::Gone => self.one_less(),
            News::Failing(why) => gauge.set_failing(why),
            News::Idle => self.rate.pause(),
            News::GivesUp(at) => gauge.set_gives_up_at(at.map(|at| self.began + at.as_micros() as u64)),
        }
    }

    fn set_title(&mut self, activity: &str) {
        ps_status::set_activity(activity);
    }

    fn log(&mut self, report: PgError) {
        report.report();
    }

    fn sleep(&mut self, at_most: Duration) {
        let woken = latch::wait(Wake::LATCH_OR_DEATH, Some(at_most), WaitEvent::PG_SLEEP);
        self.note_signal(woken);
    }

    fn wait(&mut self, seconds: i64) -> Wakeup {
        if self.signalled {
            return Wakeup::Latch;
        }
        let timeout = Duration::from_secs(seconds.max(0) as u64);
        let woken = latch::wait(Wake::LATCH_OR_DEATH, Some(timeout), WaitEvent::ARCHIVER_MAIN);
        if woken.postmaster_died() {
            Wakeup::PostmasterDeath
        } else if woken.contains(Wake::TIMEOUT) {
            Wakeup::Timeout
        } else {
            Wakeup::Latch
        }
    }
}
