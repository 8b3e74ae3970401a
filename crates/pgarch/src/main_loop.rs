//! The archiver's two loops: when to look for files, and what to do with each of them.
//!
//! C counterpart: `pgarch_MainLoop`, `pgarch_ArchiverCopyLoop`, `pgarch_archiveXlog`, `pgarch_archiveDone`;
//! `shell_archive_file`.

use common::SqlState;
use elog::{PgError, Result, Severity, errno_text, pg_error};
use miscinit::shell::{self, Outcome};

use crate::backlog::Backlog;
use crate::{Archive, Wakeup};

/// Seconds between two looks into the directory if nothing else causes one. C: `PGARCH_AUTOWAKE_INTERVAL`.
const AUTOWAKE_INTERVAL: i64 = 60;
/// Tries to archive a file, a second apart, before the cycle is given up. C: `NUM_ARCHIVE_RETRIES`.
const ARCHIVE_RETRIES: u32 = 3;
/// The same for removing a status file without a file. C: `NUM_ORPHAN_CLEANUP_RETRIES`.
const ORPHAN_CLEANUP_RETRIES: u32 = 3;
/// Seconds from SIGTERM to the end, if SIGUSR2 does not come.
const SIGTERM_PATIENCE: u64 = 60;

/// Whether the process goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
enum Flow {
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
    let mut backlog = Backlog::default();
    let mut last_copy_time = 0;
    let mut last_sigterm_time = None;
    // Files may be left over from an earlier life of the cluster, or the last archiver has died.
    let mut wakened = true;
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
            if copy_loop(archive, &mut backlog)? == Flow::Leave {
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

/// One cycle: archives all files that wait, those that come meanwhile too. C: `pgarch_ArchiverCopyLoop`.
fn copy_loop(archive: &mut impl Archive, backlog: &mut Backlog) -> Result<Flow> {
    // A cycle that was given up may have left names that are old by now.
    *backlog = Backlog::default();
    while let Some(file) = backlog.next(archive)? {
        let mut failures = 0;
        let mut failures_orphan = 0;
        loop {
            // After SIGTERM init would soon kill the command; after the postmaster's death the archiver of a new one
            // may be at work on the same file (A1).
            if archive.got_sigterm() || !archive.postmaster_is_alive() {
                return Ok(Flow::Continue);
            }

            // Here too, so that a new command is used from the next file on, however long the list is.
            if check_config(archive) == Flow::Leave {
                return Ok(Flow::Leave);
            }

            let command = archive.command();
            if command.is_empty() {
                let text = "archive_mode enabled, yet archiving is not configured";
                archive.log(warning(text.to_owned()));
                return Ok(Flow::Continue);
            }

            // Status files are not removed durably: after a crash one may be back whose segment is gone. It is removed
            // no more durably here, since the same would happen again.
            if archive.is_missing(&file) {
                let status = format!("pg_wal/archive_status/{file}.ready");
                if archive.unlink_ready(&file).is_ok() {
                    archive.log(warning(format!("removed orphan archive status file \"{status}\"")));
                    break;
                }
                failures_orphan += 1;
                if failures_orphan >= ORPHAN_CLEANUP_RETRIES {
                    archive.log(warning(format!(
                        "removal of orphan archive status file \"{status}\" failed too many times, will try again later"
                    )));
                    return Ok(Flow::Continue);
                }
                archive.sleep_one_second();
                continue;
            }

            if archive_file(archive, &command, &file)? {
                let renamed = archive.rename_to_done(&file);
                archive.tell_collector(&file, false);
                if let Err(error) = renamed {
                    // The next list would have it again, and so on without end: let some time pass.
                    archive.log(error.with_severity(Severity::Warning));
                    return Ok(Flow::Continue);
                }
                break;
            }
            archive.tell_collector(&file, true);
            failures += 1;
            if failures >= ARCHIVE_RETRIES {
                archive.log(warning(format!(
                    "archiving write-ahead log file \"{file}\" failed too many times, will try again later"
                )));
                return Ok(Flow::Continue);
            }
            archive.sleep_one_second();
        }
    }
    Ok(Flow::Continue)
}

/// After SIGHUP: reads the configuration. A library is a matter of the process's start. C: `HandlePgArchInterrupts`.
fn check_config(archive: &mut impl Archive) -> Flow {
    if !archive.take_sighup() {
        return Flow::Continue;
    }
    let library = archive.library();
    archive.reload();
    if archive.library() == library {
        return Flow::Continue;
    }
    let text = "restarting archiver process because value of \"archive_library\" was changed";
    archive.log(pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{text}"));
    Flow::Leave
}

/// Hands one file to the command; true if that took it. C: `pgarch_archiveXlog`, `shell_archive_file`.
///
/// # Errors
/// FATAL if the command died by a signal, or by something that looks like one (A3).
fn archive_file(archive: &mut impl Archive, command: &str, file: &str) -> Result<bool> {
    archive.set_title(&format!("archiving {file}"));
    let command = shell::expand(command, |c| match c {
        'p' => Some(format!("pg_wal/{file}")),
        'f' => Some(file.to_owned()),
        _ => None,
    });
    archive.log(pg_error!(
        Debug3,
        SqlState::SUCCESSFUL_COMPLETION,
        "executing archive command \"{command}\""
    ));
    let archived = match archive.run(&command) {
        Ok(outcome) if outcome.succeeded() => {
            let text = format!("archived write-ahead log file \"{file}\"");
            archive.log(pg_error!(Debug1, SqlState::SUCCESSFUL_COMPLETION, "{text}"));
            true
        }
        Ok(outcome) => {
            let report = failure(outcome, &command);
            if report.severity >= Severity::Fatal {
                return Err(report);
            }
            archive.log(report);
            false
        }
        // No memory, too many processes: that will pass, or the third try gives up.
        Err(e) => {
            let code = elog::sqlstate_for_file_access(&e);
            let report = pg_error!(Log, code, "could not execute archive command: {}", errno_text(&e));
            archive.log(with_command(report, &command));
            false
        }
    };
    archive.set_title(&format!("{} {file}", if archived { "last was" } else { "failed on" }));
    Ok(archived)
}

/// The shell tells of a signal that its own child died by with an exit code above 128, and of a command that it could
/// not run with 126 and 127: neither says anything about the file.
fn failure(outcome: Outcome, command: &str) -> PgError {
    let text = match outcome {
        Outcome::Exited(code) => format!("archive command failed with exit code {code}"),
        Outcome::Signaled(signal) => {
            format!("archive command was terminated by signal {signal}: {}", shell::signal_text(signal))
        }
    };
    let report = match outcome.is_any_signal(true) {
        true => pg_error!(Fatal, SqlState::INTERNAL_ERROR, "{text}"),
        false => pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{text}"),
    };
    with_command(report, command)
}

fn with_command(report: PgError, command: &str) -> PgError {
    report.detail(format!("The failed archive command was: {command}"))
}

fn warning(text: String) -> PgError {
    pg_error!(Warning, SqlState::WARNING, "{text}")
}
