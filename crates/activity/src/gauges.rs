//! Gauges: what the processes that a stop waits for tell about their work, for whoever wants to say how long it takes.
//!
//! Each gauge has one writer, the process whose work it is, and any number of readers, among them the postmaster: so it is
//! made of atomics, and neither side ever waits. The walsenders' gauges are in `replication::walsnd`, beside their places.
//!
//! ```text
//! checkpointer, storage ---> checkpoint() ---\
//! archiver ----------------> archiver() -----+--> shutdown::observe()
//! walsenders --------------> walsnd::gauges()/
//! ```
//!
//! - [`Rate`] turns "so much was done by then" into a speed; each writer keeps one for itself and publishes what it says.
//! - [`monotonic_micros`] is the clock of all of them.
//!
//! Invariants:
//! - G1  A gauge is written by one process at a time; its readers take what they find. Two figures of a gauge may be of
//!   different moments.
//! - G2  On the writer's side there is no lock, no system call and no allocation; a figure is a plain store.
//! - G3  Without shared memory a gauge is one that only this process sees.
//!
//! C counterpart: none.

pub mod archiver;
pub mod checkpoint;
mod rate;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use shmem::{Reservation, ShmVar};

pub use archiver::ArchiverGauge;
pub use checkpoint::CheckpointGauge;
pub use rate::Rate;

static CHECKPOINT: ShmVar<CheckpointGauge> = ShmVar::new("Checkpoint Gauge");
static ARCHIVER: ShmVar<ArchiverGauge> = ShmVar::new("Archiver Gauge");

/// Their place in the segment.
pub(crate) fn reserve(reservation: &mut Reservation) {
    reservation.var(&CHECKPOINT, CheckpointGauge::new);
    reservation.var(&ARCHIVER, ArchiverGauge::new);
}

/// The checkpointer's: of whoever makes a checkpoint.
pub fn checkpoint() -> &'static CheckpointGauge {
    // G3.
    static OWN: CheckpointGauge = CheckpointGauge::new();
    CHECKPOINT.try_get().unwrap_or(&OWN)
}

/// The archiver's.
pub fn archiver() -> &'static ArchiverGauge {
    // G3.
    static OWN: ArchiverGauge = ArchiverGauge::new();
    ARCHIVER.try_get().unwrap_or(&OWN)
}

/// Microseconds by a clock that is the same for all processes of the machine and never goes back; never 0.
pub fn monotonic_micros() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Translates moments that a process has read from its clock anyway into [`monotonic_micros`], without reading it again.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    instant: Instant,
    micros: u64,
}

impl Clock {
    /// Reads both.
    pub fn start() -> Clock {
        Clock { instant: Instant::now(), micros: monotonic_micros() }
    }

    /// The same moment as [`monotonic_micros`] counts it.
    pub fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.instant).as_micros();
        self.micros.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// Seconds between two moments in microseconds; 0 if the first is not before the second.
pub fn seconds_between(earlier: u64, later: u64) -> f64 {
    later.saturating_sub(earlier) as f64 / 1e6
}

/// Publishes a rate, or that none is known.
pub fn store_rate(word: &AtomicU64, rate: Option<f64>) {
    let known = rate.filter(|rate| rate.is_finite() && *rate >= 0.0);
    // -0.0 is no rate: so that a word of zeros, as memory begins, is none either.
    word.store(known.map_or(0, |rate| rate.max(f64::MIN_POSITIVE).to_bits()), Relaxed);
}

/// What [`store_rate`] has published.
pub fn load_rate(word: &AtomicU64) -> Option<f64> {
    let bits = word.load(Relaxed);
    Some(f64::from_bits(bits)).filter(|rate| bits != 0 && rate.is_finite() && *rate > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_travel_through_a_word() {
        let word = AtomicU64::new(0);
        assert_eq!(load_rate(&word), None);
        for (rate, expected) in [
            (Some(12.5), Some(12.5)),
            (None, None),
            (Some(f64::NAN), None),
            (Some(f64::INFINITY), None),
            (Some(-1.0), None),
            (Some(0.0), Some(f64::MIN_POSITIVE)),
        ] {
            store_rate(&word, rate);
            assert_eq!(load_rate(&word), expected, "{rate:?}");
        }
        // Whatever somebody may have written there.
        word.store(u64::MAX, Relaxed);
        assert_eq!(load_rate(&word), None);
    }

    #[test]
    fn one_clock_for_both() {
        let clock = Clock::start();
        let now = Instant::now();
        let micros = monotonic_micros();
        let translated = clock.micros(now);
        assert!(translated >= clock.micros && translated <= micros, "{translated} {micros}");
        assert_eq!(clock.micros(now - Duration::from_secs(3600)), clock.micros, "before it began");
        assert_eq!(seconds_between(5, 3), 0.0);
        assert_eq!(seconds_between(1_000_000, 3_500_000), 2.5);
    }

    #[test]
    fn without_shared_memory_they_are_the_processs_own() {
        archiver().set_pid(0);
        assert!(archiver().seen().is_none());
        assert_eq!(checkpoint().seen().files_to_sync, 0);
    }
}
