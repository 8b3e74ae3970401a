//! What the postmaster tells of a stop while it lasts: the status file, a line in the log every 10 s, the DETAIL of clients that are
//! refused, the answer to a forecast, and whether the stop came too late for its deadline.
//!
//! The state machine says when, and whom it waits for; the observation of shared memory says how far each of them is; crate
//! `stopreport` says it in words. Nothing here decides anything, and nothing here can hold up a stop:
//!
//! - The first report is made after 100 ms. A stop that takes less costs two timers, a look for the file `deadline`, and the removal
//!   of files that are not there.
//! - What cannot be written is complained of once, in the log.
//! - What is read in shared memory are atomics that a process killed at any moment may have left in any state; a panic over them,
//!   which would be a bug, costs one report.
//! - Of the files in the data directory that others may write, only plain files are read, and only their first bytes.
//!
//! C counterpart: none. PostgreSQL stops in silence.

use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use common::SqlState;
use elog::{ereport, errno_text, pg_error};
use miscinit::globals;
use stopreport::exchange::{self, Answer};
use stopreport::{Initials, Mode, Observation, Phase, Plan, Status, files, words};

use crate::machine::{ShutdownMode, Timer};

/// When the status file appears: later than most stops end.
const FIRST_REPORT: Duration = Duration::from_millis(100);
/// How old it may get.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// The longest content of the file `deadline` that is read. It holds one number.
const DEADLINE_BYTES_MAX: usize = 64;
/// The longest deadline: a year, which no clock overflows by.
const DEADLINE_SECONDS_MAX: f64 = 366.0 * 86_400.0;

/// A moment, for reckoning and for those who read it elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    instant: Instant,
    /// Seconds since 1970.
    unix: f64,
}

impl Moment {
    pub(crate) fn now() -> Moment {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Moment { instant: Instant::now(), unix: since_epoch.as_secs_f64() }
    }

    fn plus(self, time: Duration) -> Moment {
        Moment { instant: self.instant + time, unix: self.unix + time.as_secs_f64() }
    }
}

/// What is known of the stop. Empty until one is ordered.
#[derive(Debug, Default)]
pub(crate) struct StopReport {
    under_way: Option<Stop>,
    deadline: Option<Deadline>,
    initials: Initials,
    /// The last report; `None` until the first.
    status: Option<Status>,
    has_complained: bool,
}

#[derive(Debug)]
struct Stop {
    began: Moment,
    /// The phases it has been in, and when each began. It may come back to one: a checkpoint is broken off by a crash.
    phases: Vec<(Phase, Moment)>,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    total: Duration,
    end: Moment,
    /// Until then clients may stay in a smart stop.
    clients_until: Instant,
}

impl StopReport {
    /// The whole stop is to take no longer than `total` from now. Of several deadlines the earliest counts, and none gives
    /// clients more time than they had. How long the stop may take now: less than `total` if an earlier one was given before.
    pub(crate) fn bound(&mut self, total: Duration, now: Moment) -> Duration {
        let clients_until = now.instant + Plan::divide(total, true).sessions;
        let new = Deadline { total, end: now.plus(total), clients_until };
        let mut earliest = match self.deadline {
            Some(old) if old.end.instant <= new.end.instant => old,
            _ => new,
        };
        let clients_had = self.deadline.map_or(clients_until, |old| old.clients_until);
        earliest.clients_until = clients_until.min(clients_had);
        self.deadline = Some(earliest);
        earliest.end.instant.saturating_duration_since(now.instant)
    }

    /// How long a timer runs that the state machine leaves to us.
    pub(crate) fn length_of(&self, timer: Timer, now: Instant) -> Duration {
        match (timer, self.deadline) {
            (Timer::SmartBound, Some(deadline)) => deadline.clients_until.saturating_duration_since(now),
            (Timer::StopStatus, _) if self.status.is_none() => FIRST_REPORT,
            _ => REPORT_INTERVAL,
        }
    }

    /// The stop is in this phase now. True if that is news to those who read the status file.
    pub(crate) fn follow(&mut self, phase: Phase, now: Moment) -> bool {
        let stop = self.under_way.get_or_insert(Stop { began: now, phases: Vec::new() });
        if stop.phases.last().is_some_and(|(last, _)| *last == phase) {
            return false;
        }
        stop.phases.push((phase, now));
        self.status.is_some()
    }

    /// Writes the status file. `awaited` are the processes that the stop waits for at present.
    pub(crate) fn report(&mut self, mode: Mode, seen: &Observation, awaited: &[(i32, String)], now: Moment) {
        let Some(stop) = &self.under_way else { return };
        let Some((phase, phase_began)) = stop.phases.last() else { return };
        let reckoned = elog::catch_panic(|| {
            let items = stopreport::awaited(seen, *phase, awaited);
            let seconds = stopreport::remaining_seconds(seen, *phase, &items);
            Ok((items, seconds))
        });
        let Ok((mut items, seconds)) = reckoned else { return };
        self.initials.note(&mut items);
        let status = Status {
            pid: globals::my_proc_pid(),
            mode,
            phase: *phase,
            since: stop.began.unix,
            phase_since: phase_began.unix,
            updated: now.unix,
            deadline: self.deadline.map(|deadline| deadline.end.unix),
            awaited: items,
            seconds,
        };
        if let Err(e) = status.write(globals::data_dir())
            && !std::mem::replace(&mut self.has_complained, true)
        {
            let (file, reason) = (files::STATUS, errno_text(&e));
            ereport!(Log, "could not write file \"{file}\": {reason}");
        }
        self.status = Some(status);
    }

    /// A line in the log: what the last report says.
    pub(crate) fn log(&self) {
        if let Some(status) = &self.status {
            ereport!(Log, "{}", status.log_message());
        }
    }

    /// DETAIL for clients that are refused. `None` before the first report, so that a quick stop looks as it always did.
    pub(crate) fn detail_for_strangers(&self) -> Option<String> {
        self.status.as_ref().map(Status::refusal_detail)
    }

    /// The last words of a stop that took longer than it should have.
    pub(crate) fn say_if_late(&self, now: Moment) {
        if let Some((text, detail)) = self.lateness(now) {
            pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{text}").detail(detail).report();
        }
    }

    fn lateness(&self, now: Moment) -> Option<(String, String)> {
        let (stop, deadline) = (self.under_way.as_ref()?, self.deadline?);
        let late = now.instant.checked_duration_since(deadline.end.instant)?;
        let seconds = |time: Duration| words::duration(time.as_secs_f64());
        let (total, late) = (seconds(deadline.total), seconds(late));
        let ends = stop.phases.iter().skip(1).map(|(_, began)| *began).chain([now]);
        let took = stop.phases.iter().zip(ends).map(|((phase, began), end)| {
            format!("{}: {}", phase.text(), seconds(end.instant.saturating_duration_since(began.instant)))
        });
        let phases = took.collect::<Vec<_>>().join("; ");
        Some((
            format!("the stop ends {late} after its deadline of {total}"),
            format!(
                "It took {} in all. {phases}.",
                seconds(now.instant.saturating_duration_since(stop.began.instant))
            ),
        ))
    }
}

/// The mode as reports name it. An order to stop is always of one of the three.
pub(crate) fn mode_of(mode: ShutdownMode) -> Mode {
    match mode {
        ShutdownMode::None | ShutdownMode::Smart => Mode::Smart,
        ShutdownMode::Fast => Mode::Fast,
        ShutdownMode::Immediate => Mode::Immediate,
    }
}

/// Looks at shared memory. A panic there costs this one look.
pub(crate) fn observe(observe: fn() -> Observation) -> Observation {
    elog::catch_panic(|| Ok(observe())).unwrap_or_else(|e| {
        log::debug!("could not observe the stop: {}", e.message);
        Observation::default()
    })
}

/// Answers a request for a forecast, if there is one.
pub(crate) fn answer(observe_everything: fn() -> Observation) {
    let data_dir = globals::data_dir();
    let complain = |verb: &str, file: &str, e: &io::Error| {
        let reason = errno_text(e);
        ereport!(Log, "could not {verb} file \"{file}\": {reason}");
    };
    match exchange::take_request(data_dir) {
        Ok(Some(nonce)) => {
            let answer = Answer { nonce, observation: observe(observe_everything) };
            answer.write(data_dir).unwrap_or_else(|e| complain("write", files::FORECAST, &e));
        }
        Ok(None) => {}
        Err(e) => complain("read", files::FORECAST_REQUEST, &e),
    }
}

/// Takes the deadline that `pg_ctl` has left for the order to stop that has just come.
pub(crate) fn take_deadline(data_dir: &Path) -> Option<Duration> {
    let path = data_dir.join(files::DEADLINE);
    let file = files::DEADLINE;
    let content = match read_beginning(&path) {
        Ok(content) => content?,
        Err(e) => {
            let reason = errno_text(&e);
            ereport!(Log, "could not read file \"{file}\": {reason}");
            return None;
        }
    };
    let deadline = parse_deadline(&content);
    if deadline.is_none() {
        ereport!(Log, "ignoring file \"{file}\", which does not contain a number of seconds");
    }
    // What stays would bound every later stop too, which nobody has asked for.
    match std::fs::remove_file(&path) {
        Ok(()) => deadline,
        Err(e) => {
            let reason = errno_text(&e);
            ereport!(Log, "ignoring file \"{file}\", which could not be removed: {reason}");
            None
        }
    }
}

/// `None` if there is no such file; what is not a file is empty, since opening it might hold us up.
fn read_beginning(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            let mut content = Vec::new();
            std::fs::File::open(path)?.take(DEADLINE_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
            Ok(Some(content))
        }
        Ok(_) => Ok(Some(Vec::new())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// A decimal number of seconds, greater than nothing.
fn parse_deadline(content: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(content).ok().filter(|text| text.len() <= DEADLINE_BYTES_MAX)?.trim();
    // `f64` would take "inf" and "1e3" as well.
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = text.parse().ok().filter(|_| is_decimal)?;
    (seconds > 0.0 && seconds <= DEADLINE_SECONDS_MAX).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn deadlines_are_numbers_of_seconds() {
        let parse = |text: &str| parse_deadline(text.as_bytes());
        assert_eq!(parse("30"), Some(seconds(30)));
        assert_eq!(parse("0.5\n"), Some(Duration::from_millis(500)));
        let long = "1".repeat(DEADLINE_BYTES_MAX + 1);
        for garbage in ["", "\n", "0", "-1", "1e3", "inf", "NaN", "30s", "1 2", "..", "99999999999", &long] {
            assert_eq!(parse(garbage), None, "{garbage:?}");
        }
        assert_eq!(parse_deadline(&[0xff, 0xfe]), None);
    }

    #[test]
    fn a_deadline_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(files::DEADLINE);
        assert_eq!(take_deadline(dir.path()), None);
        std::fs::write(&path, "12").unwrap();
        assert_eq!(take_deadline(dir.path()), Some(seconds(12)));
        assert_eq!(take_deadline(dir.path()), None);
        std::fs::write(&path, "soon").unwrap();
        assert_eq!(take_deadline(dir.path()), None);
        assert!(!path.exists(), "garbage is removed");
        // It cannot be removed, and is no reason not to stop.
        std::fs::create_dir(&path).unwrap();
        assert_eq!(take_deadline(dir.path()), None);
    }

    #[test]
    fn the_earliest_deadline_counts() {
        let now = Moment::now();
        let mut report = StopReport::default();
        let clients = |report: &StopReport| report.length_of(Timer::SmartBound, now.instant);
        assert_eq!(report.bound(seconds(30), now), seconds(30));
        assert_eq!(clients(&report), seconds(15));
        assert_eq!(report.bound(seconds(60), now), seconds(30));
        assert_eq!(clients(&report), seconds(15), "one more generous");
        assert_eq!(report.bound(seconds(10), now.plus(seconds(4))), seconds(10));
        assert_eq!(clients(&report), seconds(9));
        assert_eq!(report.bound(seconds(20), now.plus(seconds(4))), seconds(10));
        assert_eq!(clients(&report), seconds(9));
        assert_eq!(report.bound(seconds(5), now.plus(seconds(8))), seconds(5));
        assert_eq!(clients(&report), seconds(9), "the stop ends earlier, not the clients' time later");
    }

    #[test]
    fn lateness_names_the_phases() {
        let began = Moment::now();
        let mut report = StopReport::default();
        report.bound(seconds(10), began);
        assert!(!report.follow(Phase::Processes, began), "nobody has seen a report yet");
        report.follow(Phase::Processes, began.plus(seconds(1)));
        report.follow(Phase::Checkpoint, began.plus(seconds(2)));
        report.follow(Phase::Wal, began.plus(seconds(12)));
        assert_eq!(report.lateness(began.plus(seconds(9))), None);
        let (text, detail) = report.lateness(began.plus(seconds(13))).unwrap();
        assert_eq!(text, "the stop ends 3 s after its deadline of 10 s");
        assert_eq!(
            detail,
            "It took 13 s in all. ending sessions and processes: 2 s; making the shutdown checkpoint: 10 s; sending and \
             archiving what is left of WAL: 1 s."
        );
    }
}
