//! The clocks that the state machine asks for.

use std::time::{Duration, Instant};

use crate::machine::Timer;

/// When each timer goes off.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: [Option<Instant>; Timer::ALL.len()],
}

impl Timers {
    pub(crate) fn start(&mut self, timer: Timer, now: Instant, length: Duration) {
        self.due[timer as usize] = now.checked_add(length);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    /// How long until the next one; `None` if none runs.
    pub(crate) fn until_next(&self, now: Instant) -> Option<Duration> {
        self.due.iter().flatten().min().map(|due| due.saturating_duration_since(now))
    }

    /// One that has gone off, the longest overdue first. It does not run any more.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let due = |timer: &Timer| self.due[*timer as usize];
        let next = Timer::ALL.into_iter().filter(|t| due(t).is_some_and(|d| d <= now)).min_by_key(due)?;
        self.stop(next);
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_go_off_once_and_in_order() {
        let start = Instant::now();
        let after = |secs| start + Duration::from_secs(secs);
        let mut timers = Timers::default();
        assert_eq!(timers.until_next(start), None);
        let seconds = Duration::from_secs;
        timers.start(Timer::LockFileRecheck, start, seconds(60));
        timers.start(Timer::KillClock, start, seconds(5));
        assert_eq!(timers.until_next(after(1)), Some(Duration::from_secs(4)));
        assert_eq!(timers.take_due(after(4)), None);
        timers.start(Timer::KillClock, after(4), seconds(5));
        assert_eq!(timers.take_due(after(8)), None, "starting again starts anew");
        assert_eq!(timers.take_due(after(61)), Some(Timer::KillClock));
        assert_eq!(timers.take_due(after(61)), Some(Timer::LockFileRecheck));
        assert_eq!(timers.take_due(after(61)), None);
        assert_eq!(timers.until_next(after(61)), None);
    }
}
