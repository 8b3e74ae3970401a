//! What the archiver's loops need of the world: signals, the clock, the directory, the command.
//!
//! Everything the loops look at or do goes through this trait, so that `scripts.rs` can play any course of events
//! without a process, a file or a second's waiting. [`crate::system::System`] is the world as it is.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use elog::{PgError, Result};
use miscinit::shell::Outcome;

/// Why a wait ended. C: the `WL_*` flags that `WaitLatch` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakeup {
    /// A signal came.
    Latch,
    /// The time is over.
    Timeout,
    /// The postmaster is gone.
    PostmasterDeath,
}

/// A command that was started.
pub(crate) type Ticket = u64;

/// What the archiver does to a command that does not end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    /// SIGTERM, to it and to all that it has started.
    Terminate,
    /// SIGKILL, to the shell.
    Kill,
    /// It is left behind, as by the death of its archiver.
    Abandon,
}

/// What the archiver tells the others in passing, for a forecast of a stop and for its progress (A4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News<'a> {
    /// So many files wait, those whose commands run among them.
    Waiting(usize),
    /// The stop is noticed, and what waits was counted since.
    Stopping,
    /// One of them is archived.
    Archived,
    /// One of them does not wait any more, and it was not us.
    Gone,
    /// Why nothing comes into the archive; `None`: it does.
    Failing(Option<&'a str>),
    /// No command runs, and none is begun for a while.
    Idle,
    /// When the archiver gives up what waits then, as [`Archive::uptime`]; `None`: never, as things are.
    GivesUp(Option<Duration>),
}

/// What bounds the time of the last cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// `archiver_shutdown_timeout`.
    Setting,
    /// The archiver's part of the bound for the whole stop.
    Deadline,
}

/// The world around the archiver.
pub(crate) trait Archive {
    /// To be called before looking for signals. C: `ResetLatch(MyLatch)`.
    fn reset_latch(&mut self);
    /// SIGUSR2 has come, at any time. C: `ready_to_stop`.
    fn ready_to_stop(&self) -> bool;
    /// SIGTERM has come, at any time. C: `got_SIGTERM`.
    fn got_sigterm(&self) -> bool;
    /// SIGHUP has come since this was last asked. C: `got_SIGHUP`.
    fn take_sighup(&mut self) -> bool;
    /// SIGUSR1 has come since this was last asked. C: `wakened`.
    fn take_wakened(&mut self) -> bool;
    /// C: `PostmasterIsAlive`.
    fn postmaster_is_alive(&self) -> bool;
    /// SIGQUIT has come and spared this process, which leaves when no command runs any more.
    fn quit_was_sent(&self) -> bool;
    /// Seconds; may go back. C: `time(NULL)`.
    fn now(&self) -> i64;
    /// Time since any point in the past; never goes back.
    fn uptime(&self) -> Duration;

    /// Reads the configuration files. C: `ProcessConfigFile(PGC_SIGHUP)`.
    fn reload(&mut self);
    /// `archive_command`.
    fn command(&self) -> Arc<str>;
    /// `archive_library`.
    fn library(&self) -> Arc<str>;

    /// `archive_max_workers`.
    fn max_workers(&self) -> usize;
    /// `archiver_shutdown_timeout`; `None` is no bound.
    fn shutdown_timeout(&self) -> Option<Duration>;
    /// The [`Archive::uptime`] at which a stop with a deadline must have its archiver ended; may come, or come nearer, at any
    /// time, with a signal. `None` is no bound.
    fn deadline(&self) -> Option<Duration>;

    /// The names in `archive_status` that end in `.ready`, without that, in any order.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list_ready(&mut self) -> Result<Vec<String>>;
    /// The newest segment of those that are archived and have their `.done` file still, by its name.
    fn newest_done(&mut self) -> Option<String>;
    /// A list made before this was last asked lacks a history file. C: `force_dir_scan`.
    fn take_rescan_request(&mut self) -> bool;
    /// Whether the file still has its `.ready` file.
    ///
    /// # Errors
    /// The system does not tell.
    fn is_ready(&self, file: &str) -> Result<bool>;
    /// Whether the file is known not to be in `pg_wal`. C: `stat` and ENOENT.
    fn is_missing(&self, file: &str) -> bool;
    /// Removes the file's `.ready` file, not durably.
    ///
    /// # Errors
    /// The system's answer.
    fn unlink_ready(&mut self, file: &str) -> io::Result<()>;
    /// Turns `.ready` into `.done`, durably. C: `pgarch_archiveDone`.
    ///
    /// # Errors
    /// It could not.
    fn rename_to_done(&mut self, file: &str) -> Result<()>;

    /// Starts a command of the shell.
    ///
    /// # Errors
    /// It could not be started.
    fn start(&mut self, command: &str) -> io::Result<Ticket>;
    /// Waits until a started command ends, which is told once. `None`: a signal came, or the time is over.
    fn wait_for_command(&mut self, at_most: Option<Duration>) -> Option<(Ticket, io::Result<Outcome>)>;
    /// Ends all commands that run, or tries to.
    fn force(&mut self, how: Force);
    /// Tells the statistics collector. Without a name: the newest without a gap before it is what it was.
    /// C: `pgstat_send_archiver`.
    fn tell_archived(&mut self, newest: Option<&str>);
    /// Tells the statistics collector. C: `pgstat_send_archiver`.
    fn tell_failed(&mut self, file: &str);
    /// Tells everybody, in shared memory.
    fn publish(&mut self, news: News<'_>);
    /// What `ps` shows. C: `set_ps_display`.
    fn set_title(&mut self, activity: &str);
    /// To the server log. C: `ereport`.
    fn log(&mut self, report: PgError);

    /// Sleeps while no command runs; a signal may cut it short. C: `pg_usleep(1000000L)`.
    fn sleep(&mut self, at_most: Duration);
    /// Sleeps until a signal comes, for so many seconds at most. C: `WaitLatch`.
    fn wait(&mut self, seconds: i64) -> Wakeup;
}
