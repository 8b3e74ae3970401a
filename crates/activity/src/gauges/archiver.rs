//! What the archiver tells about its work.
//!
//! Written by the archiver alone; read by `shutdown::observe`.
//!
//! C counterpart: none; `pg_stat_archiver` counts what is done, not what waits.

use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

use super::{load_rate, monotonic_micros, seconds_between, store_rate};
use crate::text;

/// Bytes of an error's text, one of which ends it.
const ERROR_WORDS: usize = 256 / 8;

shmem::shm_struct! {
    /// See the module page.
    pub struct ArchiverGauge {
        pid: AtomicI32,
        workers: AtomicU32,
        waiting: AtomicU64,
        /// It has noticed the order to stop, and counted.
        stops: AtomicBool,
        archived: AtomicU64,
        /// Files per second, see [`store_rate`].
        rate: AtomicU64,
        /// When it gives up, in [`super::monotonic_micros`]; 0 for never or not known.
        gives_up_at: AtomicU64,
        /// Commands that run, and since when none of them has ended, in [`super::monotonic_micros`].
        running: AtomicU32,
        running_since: AtomicU64,
        is_failing: AtomicBool,
        error: [AtomicU64; ERROR_WORDS],
    }
}

/// A copy of the gauge; its figures may be of different moments, and the text of two errors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArchiverSeen {
    /// The archiver.
    pub pid: i32,
    /// Commands that it may run at a time.
    pub workers: u32,
    /// Files that wait, as far as it knows.
    pub waiting: u64,
    /// It has noticed the order to stop: from there on `waiting` is exact.
    pub stops: bool,
    /// Files archived by this process.
    pub archived: u64,
    /// Files per second while there was something to do, of all workers together; less than that if the commands that run now
    /// take more than twice their time.
    pub rate: Option<f64>,
    /// Commands that run.
    pub running: u32,
    /// When it gives up, in microseconds of [`super::monotonic_micros`], if it stops and has a bound.
    pub gives_up_at: Option<u64>,
    /// The last error, if the last try failed.
    pub failing: Option<String>,
}

impl ArchiverGauge {
    pub(crate) const fn new() -> ArchiverGauge {
        ArchiverGauge {
            pid: AtomicI32::new(0),
            workers: AtomicU32::new(0),
            waiting: AtomicU64::new(0),
            stops: AtomicBool::new(false),
            archived: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            gives_up_at: AtomicU64::new(0),
            running: AtomicU32::new(0),
            running_since: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            error: [const { AtomicU64::new(0) }; ERROR_WORDS],
        }
    }

    /// A copy; `None` if there is no archiver.
    pub fn seen(&self) -> Option<ArchiverSeen> {
        let pid = self.pid.load(Relaxed);
        (pid != 0).then(|| ArchiverSeen {
            pid,
            workers: self.workers.load(Relaxed),
            stops: self.stops.load(Acquire),
            waiting: self.waiting.load(Relaxed),
            archived: self.archived.load(Relaxed),
            rate: self.rate_by(monotonic_micros()),
            running: self.running.load(Relaxed),
            gives_up_at: Some(self.gives_up_at.load(Relaxed)).filter(|at| *at != 0),
            failing: self.is_failing.load(Relaxed).then(|| text::load(&self.error)),
        })
    }

    /// The rate as far as it still holds: nobody tells of a command that does not end.
    fn rate_by(&self, now: u64) -> Option<f64> {
        let rate = load_rate(&self.rate)?;
        let running = self.running.load(Relaxed);
        if running == 0 {
            return Some(rate);
        }
        // At the known rate all that run would have ended by now, and the next ones too.
        let since = seconds_between(self.running_since.load(Relaxed), now);
        Some(rate.min(2.0 * f64::from(running) / since.max(f64::MIN_POSITIVE)))
    }

    /// An archiver begins (its pid), or ends (0). What the last one had to do is forgotten, how fast it was is not.
    pub fn set_pid(&self, pid: i32) {
        self.waiting.store(0, Relaxed);
        self.stops.store(false, Relaxed);
        self.archived.store(0, Relaxed);
        self.gives_up_at.store(0, Relaxed);
        self.running.store(0, Relaxed);
        self.is_failing.store(false, Relaxed);
        self.pid.store(pid, Relaxed);
    }

    /// Commands that it may run at a time.
    pub fn set_workers(&self, workers: u32) {
        self.workers.store(workers, Relaxed);
    }

    /// Files that wait.
    pub fn set_waiting(&self, files: u64) {
        self.waiting.store(files, Relaxed);
    }

    /// It has noticed the order to stop, and has counted since what waits.
    pub fn set_stops(&self) {
        self.stops.store(true, Release);
    }

    /// Files archived by this process so far.
    pub fn set_archived(&self, files: u64) {
        self.archived.store(files, Relaxed);
    }

    /// Files per second, see [`super::Rate`].
    pub fn set_rate(&self, rate: Option<f64>) {
        store_rate(&self.rate, rate);
    }

    /// So many commands run now: one has begun, or (`ended`) has ended.
    pub fn set_running(&self, commands: u32, ended: bool) {
        if ended || self.running.load(Relaxed) == 0 {
            self.running_since.store(monotonic_micros(), Relaxed);
        }
        self.running.store(commands, Relaxed);
    }

    /// It stops, and gives up then ([`super::monotonic_micros`]); `None` for no bound.
    pub fn set_gives_up_at(&self, at: Option<u64>) {
        self.gives_up_at.store(at.unwrap_or(0), Relaxed);
    }

    /// The last try has failed, for this reason; or, with `None`, it has not. What is too long is cut.
    pub fn set_failing(&self, error: Option<&str>) {
        if let Some(error) = error {
            text::store(&self.error, error);
        }
        self.is_failing.store(error.is_some(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_does_not_end_is_no_twenty_files_a_second() {
        let gauge = ArchiverGauge::new();
        gauge.set_pid(42);
        gauge.set_rate(Some(20.0));
        gauge.set_running(4, false);
        let since = gauge.running_since.load(Relaxed);
        gauge.set_running(5, false);
        assert_eq!(gauge.running_since.load(Relaxed), since, "none has ended");
        for (millis, expected) in [(0, 20.0), (250, 20.0), (500, 20.0), (1000, 10.0), (100_000, 0.1)] {
            assert_eq!(gauge.rate_by(since + millis * 1000), Some(expected), "after {millis} ms");
        }
        gauge.set_running(4, true);
        assert!(gauge.running_since.load(Relaxed) >= since);
        gauge.set_running(0, true);
        assert_eq!(gauge.rate_by(u64::MAX), Some(20.0), "nothing is to be done");
        assert_eq!(ArchiverGauge::new().rate_by(1), None);
    }

    #[test]
    fn an_archiver_comes_and_goes() {
        let gauge = ArchiverGauge::new();
        assert_eq!(gauge.seen(), None);
        gauge.set_pid(42);
        gauge.set_workers(8);
        gauge.set_waiting(100);
        gauge.set_stops();
        gauge.set_archived(7);
        gauge.set_rate(Some(3.5));
        gauge.set_failing(Some(&"ä".repeat(300)));
        let seen = gauge.seen().expect("an archiver");
        assert_eq!((seen.pid, seen.workers, seen.waiting, seen.stops, seen.archived), (42, 8, 100, true, 7));
        assert_eq!((seen.rate, seen.failing), (Some(3.5), Some("ä".repeat(127))));
        gauge.set_failing(None);
        assert_eq!(gauge.seen().expect("an archiver").failing, None);
        gauge.set_pid(0);
        assert_eq!(gauge.seen(), None);
        gauge.set_pid(43);
        let seen = gauge.seen().expect("another one");
        assert_eq!((seen.waiting, seen.stops, seen.archived, seen.rate), (0, false, 0, Some(3.5)));
    }
}
