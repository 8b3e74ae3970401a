//! The WAL writer: brings asynchronous commits to disk within three of its rounds.
//!
//! Started by: the postmaster when the cluster is open for sessions; again whenever it ends.
//! Woken by:   its latch, or `wal_writer_delay`; 25 times as long after 50 rounds without work.
//! Ends by:    SIGTERM or SIGINT = exit 0. SIGQUIT = exit 2 at once. Death of the postmaster = exit 1.
//! If it dies: exit 0 is silently replaced; anything else is a crash and restarts all.
//! Differs from PG 15: no WAL is written yet, so every round is idle.
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
    let mut rounds_left = ROUNDS_UNTIL_HIBERNATE;
    auxprocess::main_loop(move || {
        if interrupt::take(Pending::Shutdown) {
            return Ok(Turn::Exit(0));
        }
        rounds_left =
            if flush_in_background() { ROUNDS_UNTIL_HIBERNATE } else { rounds_left.saturating_sub(1) };
        Ok(next_wait(rounds_left))
    })
}

/// Flushes what asynchronous commits left; true if there was something. C: `XLogBackgroundFlush`.
fn flush_in_background() -> bool {
    false
}

fn next_wait(rounds_left: u32) -> Turn {
    let delay = Duration::from_millis(guc::vars::WAL_WRITER_DELAY.get() as u64);
    let factor = if rounds_left > 0 { 1 } else { HIBERNATE_FACTOR };
    Turn::Sleep(Some(delay * factor), WaitEvent::WAL_WRITER_MAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slows_down_when_idle() {
        let millis = |ms| Turn::Sleep(Some(Duration::from_millis(ms)), WaitEvent::WAL_WRITER_MAIN);
        assert_eq!(next_wait(50), millis(200));
        assert_eq!(next_wait(1), millis(200));
        assert_eq!(next_wait(0), millis(5000));
    }
}
