//! The world as it is: [`Archive`] over signals, files, the shell and the statistics collector.
//!
//! File names are relative: a process of the server works in its data directory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::SqlState;
use elog::{PgError, Result, fatal};
use file::file_error;
use miscinit::interrupt::{self, Pending};
use miscinit::shell::{self, Outcome};
use miscinit::{exit, ps_status};
use shmem::latch::{self, Wake};
use shmem::pmsignal::{QuitSignalReason, quit_signal_reason};
use shmem::wait_event::WaitEvent;
use wal::{archive, segment};

use crate::{Archive, Wakeup};

const READY: &str = ".ready";

/// The real world.
#[derive(Debug, Default)]
pub(crate) struct System {}

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
}

fn status_dir() -> PathBuf {
    segment::wal_dir().join("archive_status")
}

/// The SIGQUIT of an immediate stop or a crash may have come while it was the command's, and the command ended well all the
/// same, or had just ended: then nobody has got it. The reason was noted before it was sent.
fn leave_if_quit_was_missed() {
    if quit_signal_reason() != QuitSignalReason::NotSent {
        exit::exit_now(2);
    }
}

impl Archive for System {
    fn reset_latch(&mut self) {
        latch::reset();
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

    fn now(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
    }

    fn reload(&mut self) {
        auxprocess::reload_config();
    }

    fn command(&self) -> Arc<str> {
        guc::vars::ARCHIVE_COMMAND.get()
    }

    fn library(&self) -> Arc<str> {
        guc::vars::ARCHIVE_LIBRARY.get()
    }

    fn list_ready(&mut self) -> Result<Vec<String>> {
        let dir = status_dir();
        let cannot = |verb: &str, e: io::Error| {
            let code = elog::sqlstate_for_file_access(&e);
            fatal!(code, "could not {verb} directory \"{}\": {}", dir.display(), elog::errno_text(&e))
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(|e| cannot("open", e))? {
            let name = entry.map_err(|e| cannot("read", e))?.file_name();
            let Ok(mut name) = name.into_string() else { continue };
            if let Some(file) = name.strip_suffix(READY) {
                name.truncate(file.len());
                names.push(name);
            }
        }
        Ok(names)
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
        let renamed = file::durable_rename_empty(
            &archive::status_path(file, READY),
            &archive::status_path(file, ".done"),
        );
        leave_if_quit_was_missed();
        renamed
    }

    fn run(&mut self, command: &str) -> io::Result<Outcome> {
        // Whatever wakes the archiver is looked at before the next command; this one is waited for.
        let outcome = shell::run(command, WaitEvent::ARCHIVE_COMMAND, &mut || ())?;
        // What is in the archive is marked first: the next archiver's command would find it there, and refuse.
        if !outcome.succeeded() && !outcome.is_any_signal(true) {
            leave_if_quit_was_missed();
        }
        Ok(outcome)
    }

    fn tell_collector(&mut self, file: &str, failed: bool) {
        pgstat::report_archived(file, failed);
    }

    fn set_title(&mut self, activity: &str) {
        ps_status::set_activity(activity);
    }

    fn log(&mut self, report: PgError) {
        report.report();
    }

    fn sleep_one_second(&mut self) {
        // Not the latch: a signal is looked at when the second is over, and only the end of all cuts it short.
        latch::wait(Wake::POSTMASTER_DEATH, Some(Duration::from_secs(1)), WaitEvent::PG_SLEEP);
    }

    fn wait(&mut self, seconds: i64) -> Wakeup {
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
