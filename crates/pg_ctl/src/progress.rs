//! Waiting with a dot a second.
//!
//! Called by: `start`, `promote`, `stop`. C counterpart: the loops of `wait_for_postmaster_start` and its like.

use std::time::{Duration, Instant};

use crate::options::Options;

/// One wait that shows nothing but dots: how long it has lasted, and the dots printed.
pub(crate) struct Progress<'a> {
    options: &'a Options,
    begin: Instant,
    dots: Dots,
}

impl<'a> Progress<'a> {
    /// Starts a wait that lasts no longer than the timeout.
    pub(crate) fn new(options: &'a Options) -> Progress<'a> {
        Progress { options, begin: Instant::now(), dots: Dots::default() }
    }

    /// Has the timeout passed?
    pub(crate) fn is_over(&self) -> bool {
        self.begin.elapsed() >= self.options.timeout
    }

    /// Prints the dots that are due and says how long to sleep after looking.
    pub(crate) fn pause(&mut self) -> Duration {
        let elapsed = self.begin.elapsed();
        self.options.say(&self.dots.due(elapsed));
        pause_after(elapsed)
    }
}

/// One dot a second, the first one at once.
#[derive(Debug, Default)]
pub(crate) struct Dots {
    printed: usize,
}

impl Dots {
    /// The dots that are due now.
    pub(crate) fn due(&mut self, elapsed: Duration) -> String {
        let wanted = usize::try_from(elapsed.as_secs()).unwrap_or(usize::MAX).saturating_add(1);
        let dots = ".".repeat(wanted.saturating_sub(self.printed));
        self.printed = self.printed.max(wanted);
        dots
    }
}

/// How long to sleep between two looks. Short at first, since most waits are: a start takes some hundredths of a
/// second. Never longer than C's tenth.
pub(crate) fn pause_after(elapsed: Duration) -> Duration {
    (elapsed / 20).clamp(Duration::from_millis(1), Duration::from_millis(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_at_once_and_one_each_second() {
        let mut dots = Dots::default();
        let due = [0, 10, 999, 1000, 1500, 4000, 4100].map(|millis| dots.due(Duration::from_millis(millis)));
        assert_eq!(due, [".", "", "", ".", "", "...", ""]);
    }
}
