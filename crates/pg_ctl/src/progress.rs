//! Waiting with a dot a second.

use std::time::{Duration, Instant};

use crate::options::Options;

/// One wait: how long it has lasted, and the dots printed.
pub(crate) struct Progress<'a> {
    options: &'a Options,
    begin: Instant,
    dots: u64,
}

impl<'a> Progress<'a> {
    /// Starts a wait that lasts no longer than the timeout.
    pub(crate) fn new(options: &'a Options) -> Progress<'a> {
        Progress { options, begin: Instant::now(), dots: 0 }
    }

    /// Has the timeout passed?
    pub(crate) fn is_over(&self) -> bool {
        self.begin.elapsed() >= self.options.timeout
    }

    /// Prints the dots that are due, the first one at once, and says how long to sleep after looking.
    /// Short at first, since most waits are: a start takes some hundredths of a second. Never longer than
    /// C's tenth.
    pub(crate) fn pause(&mut self) -> Duration {
        let elapsed = self.begin.elapsed();
        while self.dots <= elapsed.as_secs() {
            self.options.say(".");
            self.dots += 1;
        }
        (elapsed / 20).clamp(Duration::from_millis(1), Duration::from_millis(100))
    }
}
