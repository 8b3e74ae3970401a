//! Not faster than the client asked for.
//!
//! An eighth of a second's worth of bytes may go through at once; then it sleeps as long as they were too early.
//!
//! C counterpart: replication/basebackup_throttle.c.

use std::time::{Duration, Instant};

use common::SqlState;
use elog::{Result, fatal};
use miscinit::interrupt;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

use super::{Progress, Sink};

/// C: `THROTTLING_FREQUENCY`.
const SAMPLES_PER_SECOND: u32 = 8;

/// C: `bbsink_throttle`.
pub(crate) struct Throttle<'a> {
    next: Box<dyn Sink + 'a>,
    sample_bytes: u64,
    /// Bytes since the last sleep.
    counter: u64,
    last: Instant,
}

impl<'a> Throttle<'a> {
    /// C: `bbsink_throttle_new`.
    pub(crate) fn new(next: Box<dyn Sink + 'a>, rate_kb: u32) -> Throttle<'a> {
        let sample_bytes = u64::from(rate_kb) * 1024 / u64::from(SAMPLES_PER_SECOND);
        Throttle { next, sample_bytes, counter: 0, last: Instant::now() }
    }

    /// How long so many bytes must take, if it is time to look.
    fn due(&self) -> Option<Duration> {
        let samples = self.counter / self.sample_bytes;
        (samples > 0).then(|| Duration::from_secs(1) / SAMPLES_PER_SECOND * samples as u32)
    }

    /// C: `throttle`.
    fn count(&mut self, bytes: usize) -> Result<()> {
        self.counter += bytes as u64;
        let Some(due) = self.due() else { return Ok(()) };
        loop {
            latch::reset();
            interrupt::check()?;
            let Some(rest) = due.checked_sub(self.last.elapsed()).filter(|rest| !rest.is_zero()) else {
                break;
            };
            let woken = latch::wait(Wake::LATCH_OR_DEATH, Some(rest), WaitEvent::BASE_BACKUP_THROTTLE);
            if woken.postmaster_died() {
                // An error and no exit: the backup has to end first (S6).
                return Err(fatal!(
                    SqlState::ADMIN_SHUTDOWN,
                    "terminating connection due to unexpected postmaster exit"
                ));
            }
        }
        self.counter %= self.sample_bytes;
        self.last = Instant::now();
        Ok(())
    }
}

impl Sink for Throttle<'_> {
    fn next(&mut self) -> Option<&mut dyn Sink> {
        Some(&mut *self.next)
    }

    fn begin_backup(&mut self, progress: &Progress) -> Result<()> {
        self.next.begin_backup(progress)?;
        self.last = Instant::now();
        Ok(())
    }

    fn archive_contents(&mut self, progress: &Progress, piece: &[u8]) -> Result<()> {
        self.count(piece.len())?;
        self.next.archive_contents(progress, piece)
    }

    fn manifest_contents(&mut self, piece: &[u8]) -> Result<()> {
        self.count(piece.len())?;
        self.next.manifest_contents(piece)
    }
}
