//! The archiver's outer loop: when to look for files. What to do with them is `cycle.rs`.
//!
//! C counterpart: `pgarch_MainLoop`, `HandlePgArchInterrupts`.

use common::SqlState;
use elog::{Result, pg_error};

use crate::archive::News;
use crate::cycle::{self, Memory};
use crate::{Archive, Wakeup};

/// Seconds between two looks into the directory if nothing else causes one. C: `PGARCH_AUTOWAKE_INTERVAL`.
const AUTOWAKE_INTERVAL: i64 = 60;
/// Seconds from SIGTERM to the end, if SIGUSR2 does not come.
const SIGTERM_PATIENCE: u64 = 60;

/// What is published while `archive_command` is empty: nothing is archived, and a stop does not wait for it.
const NOT_SET: &str = "archive_command is not set";

/// Whether the process goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Flow {
    /// It does.
    Continue,
    /// Another must take its place.
    Leave,
}

/// Archives until it is told to stop. C: `pgarch_MainLoop`.
///
/// # Errors
/// What ends the process: a command that died by a signal, a directory that cannot be read.
pub(crate) fn main_loop(archive: &mut impl Archive) -> Result<()> {
    let mut memory = Memory::new(archive);
    let mut last_copy_time = 0;
    let mut last_sigterm_time = None;
    // Files may be left over from an earlier life of the cluster, or the last archiver has died.
    let mut wakened = true;
    if archive.command().is_empty() {
        archive.publish(News::Failing(Some(NOT_SET)));
    }
    loop {
        archive.reset_latch();

        // After SIGUSR2 one more cycle, then the end.
        let mut time_to_stop = archive.ready_to_stop();

        if check_config(archive) == Flow::Leave {
            return Ok(());
        }

        // SIGTERM comes from init to everybody: the postmaster gets it too and will send SIGUSR2 when it is time. One that
        // was meant for nobody else must not stop archiving for ever: a new archiver follows a minute later.
        if archive.got_sigterm() {
            let now = archive.now();
            let since = *last_sigterm_time.get_or_insert(now);
            // A clock that went back counts as a long time.
            if (now - since) as u64 >= SIGTERM_PATIENCE {
                return Ok(());
            }
        }

        wakened |= archive.take_wakened();
        if wakened || time_to_stop {
            wakened = false;
            if cycle::run(archive, &mut memory)? == Flow::Leave {
                return Ok(());
            }
            last_copy_time = archive.now();
        }

        if !time_to_stop {
            let timeout = AUTOWAKE_INTERVAL - (archive.now() - last_copy_time);
            // A clock that went back must not silence us for as long.
            let timeout = timeout.min(AUTOWAKE_INTERVAL);
            if timeout > 0 {
                match archive.wait(timeout) {
                    Wakeup::Latch => {}
                    Wakeup::Timeout => wakened = true,
                    Wakeup::PostmasterDeath => time_to_stop = true,
                }
            } else {
                wakened = true;
            }
        }

        if time_to_stop {
            return Ok(());
        }
    }
}

/// After SIGHUP: reads the configuration. A library is a matter of the process's start. C: `HandlePgArchInterrupts`.
pub(crate) fn check_config(archive: &mut impl Archive) -> Flow {
    if !archive.take_sighup() {
        return Flow::Continue;
    }
    let library = archive.library();
    let was_set = !archive.command().is_empty();
    archive.reload();
    let is_set = !archive.command().is_empty();
    if was_set != is_set {
        archive.publish(News::Failing((!is_set).then_some(NOT_SET)));
    }
    if archive.library() == library {
        return Flow::Continue;
    }
    let text = "restarting archiver process because value of \"archive_library\" was changed";
    archive.log(pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{text}"));
    Flow::Leave
}
