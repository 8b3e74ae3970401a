//! The background writer's sweep: walk ahead of the clock and write out what it will soon hand out.
//!
//! How far ahead is learnt from experience: how many victims were needed in the last rounds, and how many buffers
//! had to be looked at to find one.
//!
//! C counterpart: `BgBufferSync`.

use elog::Result;

use super::checkpoint::sync_if_unused;
use super::{desc, strategy};
use crate::writeback::Pending;

/// Rounds over which the number of buffers per victim is averaged. C: `smoothing_samples`.
const SMOOTHING: f64 = 16.0;
/// The whole pool is looked at in this time, however little is going on. C: `scan_whole_pool_milliseconds`.
const WHOLE_POOL_MILLIS: f64 = 120_000.0;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepOutcome {
    /// Nothing is going on: the caller may sleep long, after [`BgWriter::hibernate`].
    pub hibernate: bool,
    /// Pages written. C: `buf_written_clean`.
    pub written: u32,
    /// It stopped because of `bgwriter_lru_maxpages`. C: `maxwritten_clean`.
    pub hit_max: bool,
    /// Victims handed out since the last sweep. C: `buf_alloc`.
    pub allocated: u32,
}

/// What the background writer remembers from sweep to sweep.
pub struct BgWriter {
    writeback: Pending,
    /// Clock's place at the last sweep; `None` before the first.
    previous: Option<(u32, u32)>,
    next_to_clean: u32,
    next_passes: u32,
    smoothed_alloc: f64,
    smoothed_density: f64,
}

impl Default for BgWriter {
    fn default() -> BgWriter {
        BgWriter::new()
    }
}

impl BgWriter {
    /// One that has seen nothing.
    pub fn new() -> BgWriter {
        BgWriter {
            writeback: Pending::new(|| guc::vars::BGWRITER_FLUSH_AFTER.get()),
            previous: None,
            next_to_clean: 0,
            next_passes: 0,
            smoothed_alloc: 0.0,
            smoothed_density: 10.0,
        }
    }

    /// One round. C: `BgBufferSync`.
    ///
    /// # Errors
    /// `could not write block`.
    pub fn sweep(&mut self) -> Result<SweepOutcome> {
        let (clock, passes, allocated) = strategy::sync_start();
        let mut outcome = SweepOutcome { allocated, ..SweepOutcome::default() };
        let max_pages = guc::vars::BGWRITER_LRU_MAXPAGES.get();
        if max_pages <= 0 {
            self.previous = None;
            outcome.hibernate = true;
            return Ok(outcome);
        }
        let buffers = desc::count();
        let (strategy_delta, to_lap) = self.catch_up(clock, passes);
        self.previous = Some((clock, passes));
        self.learn_density(strategy_delta as f64, f64::from(allocated));
        let ahead = f64::from(buffers) - to_lap as f64;
        let reusable_ahead = ahead / self.smoothed_density;
        // Rise at once, fall slowly.
        if self.smoothed_alloc <= f64::from(allocated) {
            self.smoothed_alloc = f64::from(allocated);
        } else {
            self.smoothed_alloc += (f64::from(allocated) - self.smoothed_alloc) / SMOOTHING;
        }
        let mut upcoming = self.smoothed_alloc * guc::vars::BGWRITER_LRU_MULTIPLIER.get();
        if upcoming as i64 == 0 {
            self.smoothed_alloc = 0.0;
        }
        let delay = f64::from(guc::vars::BGWRITER_DELAY.get());
        let min_scan = f64::from(buffers) / (WHOLE_POOL_MILLIS / delay);
        upcoming = upcoming.max(min_scan + reusable_ahead);
        let scanned = self.scan(to_lap, reusable_ahead, upcoming, max_pages as u32, &mut outcome)?;
        self.learn_from_scan(scanned, reusable_ahead);
        outcome.hibernate = to_lap == 0 && allocated == 0;
        Ok(outcome)
    }

    /// Where we are relative to the clock: (buffers it moved since the last sweep, buffers until we lap it).
    fn catch_up(&mut self, clock: u32, passes: u32) -> (i64, i64) {
        let buffers = i64::from(desc::count());
        let Some((old_clock, old_passes)) = self.previous else {
            (self.next_to_clean, self.next_passes) = (clock, passes);
            return (0, buffers);
        };
        let passes_delta = i64::from(passes.wrapping_sub(old_passes) as i32);
        let moved = i64::from(clock) - i64::from(old_clock) + passes_delta * buffers;
        let lead = i64::from(self.next_passes.wrapping_sub(passes) as i32);
        if lead > 0 {
            return (moved, i64::from(clock) - i64::from(self.next_to_clean));
        }
        if lead == 0 && self.next_to_clean >= clock {
            return (moved, buffers - (i64::from(self.next_to_clean) - i64::from(clock)));
        }
        // We fell behind: start again at the clock.
        (self.next_to_clean, self.next_passes) = (clock, passes);
        (moved, buffers)
    }

    fn learn_density(&mut self, moved: f64, allocated: f64) {
        if moved > 0.0 && allocated > 0.0 {
            self.smoothed_density += (moved / allocated - self.smoothed_density) / SMOOTHING;
        }
    }

    /// Returns (buffers looked at, reusable ones among them).
    fn scan(
        &mut self,
        mut to_lap: i64,
        reusable_ahead: f64,
        upcoming: f64,
        max_pages: u32,
        outcome: &mut SweepOutcome,
    ) -> Result<(i64, i64)> {
        let (began, mut reusable) = (to_lap, reusable_ahead);
        while to_lap > 0 && reusable < upcoming {
            let looked = sync_if_unused(self.next_to_clean, &mut self.writeback)?;
            self.next_to_clean += 1;
            if self.next_to_clean >= desc::count() {
                self.next_to_clean = 0;
                self.next_passes = self.next_passes.wrapping_add(1);
            }
            to_lap -= 1;
            if looked.reusable {
                reusable += 1.0;
            }
            if looked.written {
                outcome.written += 1;
                if outcome.written >= max_pages {
                    outcome.hit_max = true;
                    break;
                }
            }
        }
        Ok((began - to_lap, (reusable - reusable_ahead) as i64))
    }

    fn learn_from_scan(&mut self, (scanned, new_reusable): (i64, i64), _reusable_ahead: f64) {
        if scanned > 0 && new_reusable > 0 {
            let density = scanned as f64 / new_reusable as f64;
            self.smoothed_density += (density - self.smoothed_density) / SMOOTHING;
        }
    }

    /// Asks to be woken by the next process that needs a victim. C: `StrategyNotifyBgWriter`.
    pub fn hibernate(&self) {
        strategy::notify_bgwriter(shmem::proc::my_proc_number());
    }

    /// Awake again.
    pub fn wake(&self) {
        strategy::notify_bgwriter(None);
    }
}
