//! What the archiver's loops need of the world: signals, the clock, the directory, the command.
//!
//! Everything the loops look at or do goes through this trait, so that `scripts.rs` can play any course of events
//! without a process, a file or a second's waiting. [`crate::system::System`] is the world as it is.

use std::io;
use std::sync::Arc;

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
    /// Seconds; may go back. C: `time(NULL)`.
    fn now(&self) -> i64;

    /// Reads the configuration files. C: `ProcessConfigFile(PGC_SIGHUP)`.
    fn reload(&mut self);
    /// `archive_command`.
    fn command(&self) -> Arc<str>;
    /// `archive_library`.
    fn library(&self) -> Arc<str>;

    /// The names in `archive_status` that end in `.ready`, without that, in any order.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list_ready(&mut self) -> Result<Vec<String>>;
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

    /// Runs a command of the shell and waits for its end. C: `system`.
    ///
    /// # Errors
    /// It could not even be started.
    fn run(&mut self, command: &str) -> io::Result<Outcome>;
    /// Tells the statistics collector. C: `pgstat_send_archiver`.
    fn tell_collector(&mut self, file: &str, failed: bool);
    /// What `ps` shows. C: `set_ps_display`.
    fn set_title(&mut self, activity: &str);
    /// To the server log. C: `ereport`.
    fn log(&mut self, report: PgError);

    /// C: `pg_usleep(1000000L)`.
    fn sleep_one_second(&mut self);
    /// Sleeps until a signal comes, for so many seconds at most. C: `WaitLatch`.
    fn wait(&mut self, seconds: i64) -> Wakeup;
}
