//! One cycle: every file that waits is handed to the command, up to `archive_max_workers` at a time.
//!
//! Files are begun in the order of [`Backlog`]. What may be begun beside what runs:
//!
//! - beside a history file of a timeline nothing; it is begun beside segments, as soon as there is room for it;
//! - beside a file that has failed, now or in the last cycle, nothing that was not begun before: the hole that it leaves
//!   in the archive is followed by what was begun before it failed, and by nothing more however long it fails. The next
//!   archiver knows such files by what is archived behind them, though not why;
//! - otherwise the next file, while there is room.
//!
//! A file that has failed keeps its place and is tried again a second later, three times in all; then no more files are
//! taken, and the cycle is over when those in hand are done or given up as well. With one worker all this is what
//! PostgreSQL does.
//!
//! Called by: `main_loop.rs`. C counterpart: `pgarch_ArchiverCopyLoop`, `pgarch_archiveXlog`, `pgarch_archiveDone`;
//! `shell_archive_file`.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use common::SqlState;
use elog::{PgError, Result, Severity, errno_text, pg_error};
use miscinit::shell::{self, Outcome};

use crate::archive::{Bound, Force, News, Ticket};
use crate::backlog::{self, Backlog, Rank, rank};
use crate::{Archive, main_loop::Flow, main_loop::check_config};

/// Tries to archive a file before it is given up until the next cycle. C: `NUM_ARCHIVE_RETRIES`.
const ARCHIVE_RETRIES: u32 = 3;
/// The same for removing a status file without a file. C: `NUM_ORPHAN_CLEANUP_RETRIES`.
const ORPHAN_CLEANUP_RETRIES: u32 = 3;
/// From one try to the next.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// When the time of a stop is up: from a command's SIGTERM to its SIGKILL, and from there until it is left alone.
const TERM_PATIENCE: Duration = Duration::from_secs(1);
const KILL_PATIENCE: Duration = Duration::from_millis(500);
/// The most that `archive_max_workers` may be.
const MOST_WORKERS: usize = 32;
/// So many names are logged one by one.
const FEW: usize = 500;

/// What outlives a cycle.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Files that were begun and are not archived: not in hand any more, they still wait.
    open: BTreeSet<Rank>,
    /// Files that are archived, behind one that is not.
    ahead: BTreeSet<Rank>,
    /// When SIGUSR2 was first seen.
    stop_since: Option<Duration>,
    /// The newest segment that the archivers before this one have archived: what waits and goes before it, they have begun.
    before_us: Option<Rank>,
    /// So many files are looked at in this light: they had no more in hand, and a mark may also have come late.
    suspects: usize,
}

/// A file that was taken from the backlog.
#[derive(Debug)]
struct InHand {
    file: String,
    failures: u32,
    orphan_failures: u32,
    /// It failed when it was last tried, in this cycle or an earlier one.
    doubtful: bool,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// To be begun, at this time.
    Due(Duration),
    /// Its command runs.
    Running { ticket: Ticket, command: String },
}

impl InHand {
    fn runs(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    fn is_history(&self) -> bool {
        wal::archive::is_history_name(&self.file)
    }
}

/// Why nothing is begun any more, not even again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The cycle is over.
    Over,
    /// The process too.
    Leave,
    /// The process too, since the time of the stop is up.
    TimeIsUp(Bound),
}

struct Cycle<'a, A> {
    archive: &'a mut A,
    memory: &'a mut Memory,
    backlog: Backlog,
    /// In the order in which they were taken.
    in_hand: Vec<InHand>,
    /// No more files are taken; those in hand are still tried again.
    closed: bool,
    end: Option<End>,
    /// What ends the process when the other commands have ended.
    died: Option<PgError>,
    /// What was done to the commands last, and when.
    forced: Option<(Force, Duration)>,
}

/// Archives all files that wait, those that come meanwhile too. C: `pgarch_ArchiverCopyLoop`.
///
/// # Errors
/// What ends the process: a command that died by a signal, a directory that cannot be read.
pub(crate) fn run(archive: &mut impl Archive, memory: &mut Memory) -> Result<Flow> {
    // Somebody may have archived them by hand.
    memory.open.retain(|(_, file)| archive.is_ready(file).unwrap_or(true));
    let mut cycle = Cycle {
        archive,
        memory,
        backlog: Backlog::default(),
        in_hand: Vec::new(),
        closed: false,
        end: None,
        died: None,
        forced: None,
    };
    loop {
        cycle.look_for_a_stop();
        cycle.look_at_the_bound();
        cycle.begin_all();
        if cycle.in_hand.is_empty() {
            return cycle.finish();
        }
        cycle.wait();
    }
}

impl<A: Archive> Cycle<'_, A> {
    fn finish(mut self) -> Result<Flow> {
        self.archive.publish(News::Idle);
        if let Some(report) = self.died {
            return Err(report);
        }
        match self.end {
            None => {
                self.publish_if_well();
                return Ok(Flow::Continue);
            }
            Some(End::Over) => return Ok(Flow::Continue),
            Some(End::Leave) => {}
            Some(End::TimeIsUp(bound)) => {
                let left = backlog::all(self.archive)?;
                if let Some(report) = given_up(&left, bound) {
                    self.archive.log(report);
                }
            }
        }
        Ok(Flow::Leave)
    }

    /// The order to stop: its time counts from here, and from here on the published number of waiting files is exact, since
    /// all that the stop itself leaves to be archived has come before it.
    fn look_for_a_stop(&mut self) {
        if self.memory.stop_since.is_some() || !self.archive.ready_to_stop() {
            return;
        }
        self.memory.stop_since = Some(self.archive.uptime());
        let in_hand = &self.in_hand;
        match self.backlog.look(self.archive, |name| in_hand.iter().any(|file| file.file == name)) {
            Ok(()) => self.archive.publish(News::Stopping),
            Err(error) => self.die(error),
        }
    }

    /// When the time of the stop is up, and why: whichever bound comes first. They are asked for again each time, since
    /// both may change.
    fn bound(&self) -> Option<(Duration, Bound)> {
        let since = self.memory.stop_since?;
        let setting = self.archive.shutdown_timeout().map(|timeout| (since + timeout, Bound::Setting));
        let deadline = self.archive.deadline().map(|at| (at, Bound::Deadline));
        setting.into_iter().chain(deadline).min_by_key(|(at, _)| *at)
    }

    /// When the bound must be looked at again.
    fn next_look(&self) -> Option<Duration> {
        match self.forced {
            None => self.bound().map(|(at, _)| at),
            Some((Force::Terminate, at)) => Some(at + TERM_PATIENCE),
            Some((Force::Kill | Force::Abandon, at)) => Some(at + KILL_PATIENCE),
        }
    }

    /// When the time of a stop is up, begins nothing more and ends what runs.
    fn look_at_the_bound(&mut self) {
        let bound = self.bound();
        self.archive.publish(News::GivesUp(bound.map(|(at, _)| at)));
        let now = self.archive.uptime();
        if self.next_look().is_none_or(|at| now < at) {
            return;
        }
        if let Some((_, bound)) = bound.filter(|_| self.forced.is_none()) {
            self.end = Some(End::TimeIsUp(bound));
        }
        if !self.in_hand.iter().any(InHand::runs) {
            return;
        }
        let how = match self.forced {
            None => Force::Terminate,
            Some((Force::Terminate, _)) => Force::Kill,
            Some((Force::Kill | Force::Abandon, _)) => Force::Abandon,
        };
        self.archive.force(how);
        self.forced = Some((how, now));
        if how == Force::Abandon {
            self.in_hand.clear();
        }
    }

    /// Begins whatever may be begun now.
    fn begin_all(&mut self) {
        while self.end.is_none() {
            let Some(index) = self.due().or_else(|| self.take()) else { return };
            self.begin(index);
        }
        while let Some(index) = self.in_hand.iter().position(|file| !file.runs()) {
            self.drop_file(index);
        }
    }

    /// The files that may be tried again as far as the others are concerned, with the time of that.
    fn retries(&self) -> impl Iterator<Item = (usize, Duration)> {
        let running = self.in_hand.iter().filter(|file| file.runs()).count();
        let room = running < self.archive.max_workers();
        let history = self.in_hand.iter().any(InHand::is_history);
        self.in_hand.iter().enumerate().filter_map(move |(index, file)| match file.stage {
            Stage::Due(at) if room && (!history || file.is_history()) => Some((index, at)),
            _ => None,
        })
    }

    /// A file that is to be tried again now.
    fn due(&self) -> Option<usize> {
        let now = self.archive.uptime();
        self.retries().find(|(_, at)| *at <= now).map(|(index, _)| index)
    }

    /// The next file from the backlog, if one may be begun.
    fn take(&mut self) -> Option<usize> {
        let full = self.in_hand.len() >= self.archive.max_workers();
        if self.closed || full || self.in_hand.iter().any(|file| file.doubtful || file.is_history()) {
            return None;
        }
        let in_hand = &self.in_hand;
        let next = self.backlog.next(self.archive, |name| in_hand.iter().any(|file| file.file == name));
        match next {
            Ok(next) => {
                let file = next?;
                let doubtful = self.memory.is_doubtful(&file);
                let stage = Stage::Due(self.archive.uptime());
                self.in_hand.push(InHand { file, failures: 0, orphan_failures: 0, doubtful, stage });
                Some(self.in_hand.len() - 1)
            }
            Err(error) => {
                self.die(error);
                None
            }
        }
    }

    /// Begins one try of a file in hand.
    fn begin(&mut self, index: usize) {
        // After SIGTERM init would soon kill the command; after the postmaster's death the archiver of a new one may be
        // at work on the same file (A1).
        if self.archive.got_sigterm() || !self.archive.postmaster_is_alive() || self.archive.quit_was_sent() {
            self.end = Some(End::Over);
            return;
        }
        // Here too, so that a new command is used from the next file on, however long the list is.
        if self.must_leave() {
            return;
        }
        let command = self.archive.command();
        if command.is_empty() {
            let text = "archive_mode enabled, yet archiving is not configured";
            self.archive.log(warning(text.to_owned()));
            self.end = Some(End::Over);
            return;
        }
        if self.archive.is_missing(&self.in_hand[index].file) {
            self.remove_orphan(index);
        } else {
            self.hand_over(index, &command);
        }
    }

    /// Reads the configuration if that was asked for; true if the process must leave.
    fn must_leave(&mut self) -> bool {
        let leave = check_config(self.archive) == Flow::Leave;
        if leave {
            self.end = Some(End::Leave);
        }
        leave
    }

    /// Status files are not removed durably: after a crash one may be back whose segment is gone. It is removed no more
    /// durably here, since the same would happen again.
    fn remove_orphan(&mut self, index: usize) {
        let file = &mut self.in_hand[index];
        let status = format!("pg_wal/archive_status/{}.ready", file.file);
        if self.archive.unlink_ready(&file.file).is_ok() {
            self.archive.log(warning(format!("removed orphan archive status file \"{status}\"")));
            self.archive.publish(News::Gone);
            let file = self.in_hand.remove(index).file;
            self.memory.open.remove(&rank(file));
            return;
        }
        file.orphan_failures += 1;
        if file.orphan_failures < ORPHAN_CLEANUP_RETRIES {
            self.again_later(index);
            return;
        }
        let text = format!("removal of orphan archive status file \"{status}\" failed too many times");
        self.archive.publish(News::Failing(Some(&text)));
        self.archive.log(warning(format!("{text}, will try again later")));
        self.give_up(index);
    }

    /// Hands a file to the command.
    fn hand_over(&mut self, index: usize, command: &str) {
        let file = self.in_hand[index].file.clone();
        self.show_running(Some(&file));
        let command = shell::expand(command, |c| match c {
            'p' => Some(format!("pg_wal/{file}")),
            'f' => Some(file.clone()),
            _ => None,
        });
        let text = format!("executing archive command \"{command}\"");
        self.archive.log(pg_error!(Debug3, SqlState::SUCCESSFUL_COMPLETION, "{text}"));
        match self.archive.start(&command) {
            Ok(ticket) => self.in_hand[index].stage = Stage::Running { ticket, command },
            Err(error) => self.failed(index, could_not_execute(&error, &command)),
        }
    }

    /// Waits until a command ends, a signal comes, or it is time for something.
    fn wait(&mut self) {
        let now = self.archive.uptime();
        let retry = self.retries().map(|(_, at)| at).min();
        let until = retry.into_iter().chain(self.next_look()).min();
        let at_most = until.map(|until| until.saturating_sub(now));
        if !self.in_hand.iter().any(InHand::runs) {
            self.archive.publish(News::Idle);
            self.archive.sleep(at_most.unwrap_or(RETRY_DELAY));
            if !self.archive.postmaster_is_alive() {
                self.end = Some(End::Over);
            }
            return;
        }
        match self.archive.wait_for_command(at_most) {
            Some((ticket, outcome)) => self.ended(ticket, outcome),
            // There may be room for more workers now.
            None => _ = self.must_leave(),
        }
    }

    /// A command has ended.
    fn ended(&mut self, ticket: Ticket, outcome: io::Result<Outcome>) {
        let found = self.in_hand.iter().enumerate().find_map(|(index, file)| match &file.stage {
            Stage::Running { ticket: of, command } if *of == ticket => Some((index, command.clone())),
            _ => None,
        });
        let Some((index, command)) = found else { return };
        let report = match outcome {
            Ok(outcome) if outcome.succeeded() => return self.archived(index),
            // It was us who ended it: that says nothing about the file.
            _ if self.forced.is_some() => return self.drop_file(index),
            Ok(outcome) => failure(outcome, &command),
            // No memory, too many processes: that will pass, or the third try gives up.
            Err(error) => could_not_execute(&error, &command),
        };
        if report.severity >= Severity::Fatal {
            self.drop_file(index);
            return self.die(report);
        }
        self.failed(index, report);
    }

    /// The command took the file.
    fn archived(&mut self, index: usize) {
        let file = self.in_hand.remove(index).file;
        let text = format!("archived write-ahead log file \"{file}\"");
        self.archive.log(pg_error!(Debug1, SqlState::SUCCESSFUL_COMPLETION, "{text}"));
        self.show("last was", &file);
        let renamed = self.archive.rename_to_done(&file);
        let newest = self.memory.archived(file, &self.in_hand);
        self.archive.tell_archived(newest.as_deref());
        if let Err(error) = renamed {
            // The next list would have it again, and so on without end: let some time pass.
            self.archive.publish(News::Failing(Some(&error.message)));
            self.archive.log(error.with_severity(Severity::Warning));
            self.closed = true;
            return;
        }
        self.archive.publish(News::Archived);
        self.publish_if_well();
    }

    /// After a success: it is no failing archiver, unless another file has failed and is not archived yet.
    fn publish_if_well(&mut self) {
        let in_doubt =
            self.closed || !self.memory.open.is_empty() || self.in_hand.iter().any(|file| file.doubtful);
        if !in_doubt && !self.archive.command().is_empty() {
            self.archive.publish(News::Failing(None));
        }
    }

    /// The command did not take the file.
    fn failed(&mut self, index: usize, report: PgError) {
        self.archive.publish(News::Failing(Some(&report.message)));
        self.archive.log(report);
        let name = self.in_hand[index].file.clone();
        self.in_hand[index].stage = Stage::Due(Duration::ZERO);
        self.show("failed on", &name);
        self.archive.tell_failed(&name);
        self.in_hand[index].failures += 1;
        if self.in_hand[index].failures < ARCHIVE_RETRIES {
            self.again_later(index);
            return;
        }
        self.archive.log(warning(format!(
            "archiving write-ahead log file \"{name}\" failed too many times, will try again later"
        )));
        self.give_up(index);
    }

    fn again_later(&mut self, index: usize) {
        let at = self.archive.uptime() + RETRY_DELAY;
        self.in_hand[index].stage = Stage::Due(at);
        self.in_hand[index].doubtful = true;
    }

    /// Leaves a file, and all behind it, to the next cycle.
    fn give_up(&mut self, index: usize) {
        self.closed = true;
        self.drop_file(index);
    }

    fn drop_file(&mut self, index: usize) {
        let file = self.in_hand.remove(index).file;
        self.memory.open.insert(rank(file));
    }

    /// The process ends by this error, but not before what runs: the next archiver's commands must not meet it.
    fn die(&mut self, report: PgError) {
        self.archive.publish(News::Failing(Some(&report.message)));
        self.end = self.end.or(Some(End::Over));
        match self.died {
            None => self.died = Some(report),
            Some(_) => self.archive.log(report.with_severity(Severity::Log)),
        }
    }

    /// The title when a command has ended: what still runs, or else this.
    fn show(&mut self, what: &str, file: &str) {
        if self.in_hand.iter().any(InHand::runs) {
            self.show_running(None);
        } else {
            self.archive.set_title(&format!("{what} {file}"));
        }
    }

    /// The title while commands run.
    fn show_running(&mut self, begun: Option<&str>) {
        let running = self.in_hand.iter().filter(|file| file.runs()).map(|file| file.file.as_str());
        let mut running = running.chain(begun);
        let Some(first) = running.next() else { return };
        let title = match running.count() {
            0 => format!("archiving {first}"),
            more => format!("archiving {first} and {more} more"),
        };
        self.archive.set_title(&title);
    }
}

impl Memory {
    /// What a new archiver can know.
    pub(crate) fn new(archive: &mut impl Archive) -> Memory {
        let before_us = archive.newest_done().map(rank);
        Memory {
            open: BTreeSet::new(),
            ahead: BTreeSet::new(),
            stop_since: None,
            before_us,
            suspects: MOST_WORKERS,
        }
    }

    /// Whether a file that is taken now may have failed when it was last tried.
    fn is_doubtful(&mut self, file: &str) -> bool {
        let rank = rank(file.to_owned());
        let left_to_us = self.suspects > 0 && self.before_us.as_ref().is_some_and(|newest| rank < *newest);
        self.suspects -= usize::from(left_to_us);
        left_to_us || self.open.contains(&rank)
    }

    /// A file is archived. The newest that has none before it that was begun and is not archived, if that has changed.
    fn archived(&mut self, file: String, in_hand: &[InHand]) -> Option<String> {
        let rank_of = rank(file);
        self.open.remove(&rank_of);
        self.ahead.insert(rank_of);
        let in_hand = in_hand.iter().map(|file| rank(file.file.clone()));
        let first_open = self.open.first().cloned().into_iter().chain(in_hand).min();
        let still_ahead = first_open.map(|open| self.ahead.split_off(&open)).unwrap_or_default();
        let reached = std::mem::replace(&mut self.ahead, still_ahead);
        reached.into_iter().next_back().map(|(_, file)| file)
    }
}

/// The shell tells of a signal that its own child died by with an exit code above 128, and of a command that it could
/// not run with 126 and 127: neither says anything about the file (A3).
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

fn could_not_execute(error: &io::Error, command: &str) -> PgError {
    let code = elog::sqlstate_for_file_access(error);
    with_command(pg_error!(Log, code, "could not execute archive command: {}", errno_text(error)), command)
}

fn with_command(report: PgError, command: &str) -> PgError {
    report.detail(format!("The failed archive command was: {command}"))
}

fn warning(text: String) -> PgError {
    pg_error!(Warning, SqlState::WARNING, "{text}")
}

/// What a stop whose time is up leaves to the next start; nothing to say if all is archived.
fn given_up(left: &[String], bound: Bound) -> Option<PgError> {
    let (first, last) = (left.first()?, left.last()?);
    let count = left.len();
    let files = if count == 1 { "file is" } else { "files are" };
    let by = match bound {
        Bound::Setting => "\"archiver_shutdown_timeout\"",
        Bound::Deadline => "the deadline of the stop",
    };
    let text = format!("archiving ended by {by}: {count} {files} left to be archived after the next start");
    let detail = match count {
        ..=FEW => format!("Not archived: {}.", left.join(", ")),
        // Between the two there may be some that are archived.
        _ => format!("Not archived: {count} files, the first {first}, the last {last}."),
    };
    Some(pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{text}").detail(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_listed_unless_it_is_very_much() {
        let names = |count: usize| (1..=count).map(|number| format!("{number:024X}")).collect::<Vec<_>>();
        let detail = |count| given_up(&names(count), Bound::Setting).and_then(|report| report.detail.clone());
        assert_eq!(detail(0), None);
        assert_eq!(detail(FEW), Some(format!("Not archived: {}.", names(FEW).join(", "))));
        assert_eq!(
            detail(FEW + 1).as_deref(),
            Some(
                "Not archived: 501 files, the first 000000000000000000000001, the last 0000000000000000000001F5."
            )
        );
    }
}
