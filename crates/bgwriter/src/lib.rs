//! The background writer: writes dirty buffers before a backend needs the room.
//!
//! Started by: the postmaster at start, also during recovery; again whenever it ends.
//! Woken by:   its latch, or `bgwriter_delay` after the last round; 50 times as long once two rounds in a
//!             row found nothing to do (hibernation).
//! Ends by:    SIGTERM = exit 0. SIGQUIT = exit 2 at once. Death of the postmaster = exit 1 at once.
//! If it dies: exit 0 is silently replaced; anything else is a crash and restarts all.
//! Differs from PG 15: there are no buffers yet, so every round finds nothing and it hibernates.
//!
//! C counterpart: postmaster/bgwriter.c.

#![forbid(unsafe_code)]

use std::time::Duration;

use auxprocess::Turn;
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use shmem::wait_event::WaitEvent;

/// How many times longer an idle writer sleeps. C: `HIBERNATE_FACTOR`.
const HIBERNATE_FACTOR: u32 = 50;

/// Entry point. C: `BackgroundWriterMain`.
pub fn bgwriter_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    let mut idle_rounds = 0u32;
    auxprocess::main_loop(move || {
        if interrupt::take(Pending::Shutdown) {
            return Ok(Turn::Exit(0));
        }
        idle_rounds = if write_some_buffers() { 0 } else { idle_rounds.saturating_add(1) };
        Ok(next_wait(idle_rounds))
    })
}

/// One sweep ahead of the clock hand; true if it found work. C: `BgBufferSync`.
fn write_some_buffers() -> bool {
    false
}

fn next_wait(idle_rounds: u32) -> Turn {
    let delay = Duration::from_millis(guc::vars::BGWRITER_DELAY.get() as u64);
    if idle_rounds < 2 {
        Turn::Sleep(Some(delay), WaitEvent::BGWRITER_MAIN)
    } else {
        Turn::Sleep(Some(delay * HIBERNATE_FACTOR), WaitEvent::BGWRITER_HIBERNATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hibernates_after_two_idle_rounds() {
        let millis = |ms| Some(Duration::from_millis(ms));
        assert_eq!(next_wait(0), Turn::Sleep(millis(200), WaitEvent::BGWRITER_MAIN));
        assert_eq!(next_wait(1), Turn::Sleep(millis(200), WaitEvent::BGWRITER_MAIN));
        assert_eq!(next_wait(2), Turn::Sleep(millis(10_000), WaitEvent::BGWRITER_HIBERNATE));
    }
}
