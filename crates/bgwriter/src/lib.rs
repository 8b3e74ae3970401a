//! The background writer: writes dirty buffers before a backend needs the room.
//!
//! Started by: the postmaster at start, also during recovery; again whenever it ends.
//! Woken by:   its latch, or `bgwriter_delay` after the last round; 50 times as long once two rounds in a
//!             row found nothing to do (hibernation), unless somebody takes a buffer meanwhile.
//! Ends by:    SIGTERM = exit 0. SIGQUIT = exit 2 at once. Death of the postmaster = exit 1 at once.
//! If it dies: exit 0 is silently replaced; anything else is a crash and restarts all.
//! Differs from PG 15: the pause before a hibernation is not made, it hibernates at once.
//!
//! It also writes the list of running transactions to WAL every 15 s if anything happened, so that a standby
//! that starts from a busy primary soon learns which transactions it need not wait for.
//!
//! C counterpart: postmaster/bgwriter.c.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use activity::counters;
use auxprocess::Turn;
use common::Lsn;
use elog::Result;
use miscinit::child::ChildStart;
use miscinit::interrupt::{self, Pending};
use shmem::wait_event::WaitEvent;
use storage::BgWriter;

/// How many times longer an idle writer sleeps. C: `HIBERNATE_FACTOR`.
const HIBERNATE_FACTOR: u32 = 50;
/// Between two lists of running transactions. C: `LOG_SNAPSHOT_INTERVAL_MS`.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15);

/// Entry point. C: `BackgroundWriterMain`.
pub fn bgwriter_main(start: ChildStart) -> ! {
    auxprocess::begin(&start);
    storage::init_process();
    let mut writer = BgWriter::new();
    let mut snapshots = Snapshots { last: Instant::now(), last_lsn: Lsn::INVALID };
    let mut idle_rounds = 0u32;
    auxprocess::main_loop(move || {
        writer.wake();
        if interrupt::take(Pending::Shutdown) {
            return Ok(Turn::Exit(0));
        }
        let is_idle = write_some_buffers(&mut writer)?;
        pgstat::report_buffers();
        if checkpointer::first_call_since_last_checkpoint() {
            // Files of dropped relations must not stay open for ever in a process that never ends.
            storage::smgr::close_all();
        }
        snapshots.log_if_due();
        pgstat::report_wal();
        idle_rounds = if is_idle { idle_rounds.saturating_add(1) } else { 0 };
        let wait = next_wait(idle_rounds);
        if matches!(wait, Turn::Sleep(_, WaitEvent::BGWRITER_HIBERNATE)) {
            writer.hibernate();
        }
        Ok(wait)
    })
}

/// One sweep ahead of the clock hand; true if nothing is going on. C: the caller's part of `BgBufferSync`.
fn write_some_buffers(writer: &mut BgWriter) -> Result<bool> {
    let outcome = writer.sweep()?;
    counters::buffers(|buffers| {
        counters::add(&buffers.written_clean, i64::from(outcome.written));
        counters::add(&buffers.max_written_clean, i64::from(outcome.hit_max));
        counters::add(&buffers.alloc, i64::from(outcome.allocated));
    });
    Ok(outcome.hibernate)
}

/// When the running transactions were last written down.
struct Snapshots {
    last: Instant,
    /// Where. C: `last_snapshot_lsn`.
    last_lsn: Lsn,
}

impl Snapshots {
    fn log_if_due(&mut self) {
        let wanted = guc::vars::WAL_LEVEL.get() != "minimal" && !wal::in_recovery();
        if !wanted || self.last.elapsed() < SNAPSHOT_INTERVAL {
            return;
        }
        // An idle cluster writes no WAL: the last list is still the newest record that matters.
        if self.last_lsn <= wal::last_important_lsn() {
            lmgr::log_access_exclusive_locks();
            self.last_lsn = transam::log_standby_snapshot();
            self.last = Instant::now();
        }
    }
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
