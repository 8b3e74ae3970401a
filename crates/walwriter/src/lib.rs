//! The WAL writer: brings asynchronous commits to disk within three of its rounds.
//!
//! Each round writes the full pages of WAL since the last one; when there are none, the page that an asynchronous commit
//! ended on. Such a commit is therefore on its way at latest in the second round that starts after it, and durable in the
//! third. An asynchronous commit wakes it early when `wal_writer_flush_after` pages
//! wait, and always while it sleeps long.
//!
//! Started by: the postmaster when the cluster is open for sessions; again whenever it ends.
//! Woken by:   its latch, or `wal_writer_delay`; 25 times as long after 50 rounds without work.
//! Ends by:    SIGTERM or SIGINT = exit 0. SIGQUIT = exit 2 at once. Death of the postmaster = exit 1.
//! If it dies: exit 0 is silently replaced; anything else is a crash and restarts all.
//!
//! C counterpart: postmaster/walwriter.c.

#![forbid(unsafe_code)]

use std::time::Duration;

use auxprocess::Turn;
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use shmem::wait_event::WaitEvent;

/// Idle rounds before it slows down. C: `LOOPS_UNTIL_HIBERNATE`.
const ROUNDS_UNTIL_HIBERNATE: u32 = 50;
/// How many times longer it then sleeps. C: `HIBERNATE_FACTOR`.
const HIBERNATE_FACTOR: u32 = 25;

/// Entry point. C: `WalWriterMain`.
pub fn walwriter_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    let mut pace = Pace::new();
    wal::set_walwriter_sleeping(false);
    auxprocess::main_loop(move || {
        if interrupt::take(Pending::Shutdown) {
            return Ok(Turn::Exit(0));
        }
        // Said before looking for work: a commit that comes later sees it and wakes us.
        if let Some(sleeping) = pace.announce() {
            wal::set_walwriter_sleeping(sleeping);
        }
        pace.round(wal::background_flush());
        pgstat::report_wal();
        Ok(pace.next_wait())
    })
}

/// How long to sleep, by how often there was nothing to do.
struct Pace {
    rounds_left: u32,
    hibernating: bool,
}

impl Pace {
    fn new() -> Pace {
        Pace { rounds_left: ROUNDS_UNTIL_HIBERNATE, hibernating: false }
    }

    /// Before a round: what to announce, if that changes. The long sleep is announced one round ahead.
    /// C: `SetWalWriterSleeping`.
    fn announce(&mut self) -> Option<bool> {
        let hibernating = self.rounds_left <= 1;
        (self.hibernating != hibernating).then(|| {
            self.hibernating = hibernating;
            hibernating
        })
    }

    /// After a round.
    fn round(&mut self, had_work: bool) {
        self.rounds_left = if had_work { ROUNDS_UNTIL_HIBERNATE } else { self.rounds_left.saturating_sub(1) };
    }

    fn next_wait(&self) -> Turn {
        let delay = Duration::from_millis(guc::vars::WAL_WRITER_DELAY.get() as u64);
        let factor = if self.rounds_left > 0 { 1 } else { HIBERNATE_FACTOR };
        Turn::Sleep(Some(delay * factor), WaitEvent::WAL_WRITER_MAIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slows_down_when_idle_and_says_so_first() {
        let millis = |ms| Turn::Sleep(Some(Duration::from_millis(ms)), WaitEvent::WAL_WRITER_MAIN);
        let mut pace = Pace::new();
        for round in 0..ROUNDS_UNTIL_HIBERNATE {
            let last = round == ROUNDS_UNTIL_HIBERNATE - 1;
            assert_eq!(pace.announce(), last.then_some(true), "round {round}");
            pace.round(false);
            assert_eq!(pace.next_wait(), millis(if last { 5000 } else { 200 }), "round {round}");
        }
        assert_eq!(pace.announce(), None);
        pace.round(true);
        assert_eq!(pace.next_wait(), millis(200));
        assert_eq!(pace.announce(), Some(false));
    }
}
