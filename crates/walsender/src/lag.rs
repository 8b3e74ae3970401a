//! How long the standby takes: from the moment at which a position was flushed here to the standby's news about it.
//!
//! Positions and times of the newest WAL are kept in a ring. Each kind of news (written, flushed, applied) has its own place
//! from which it reads. When the ring is full the newest sample is replaced, so that times get coarser while the standby is far
//! behind.
//!
//! C counterpart: `LagTracker`, `LagTrackerWrite`, `LagTrackerRead` of walsender.c.

use common::Lsn;

/// C: `LAG_TRACKER_BUFFER_SIZE`.
const SIZE: usize = 8192;

/// What the news is about. C: `SYNC_REP_WAIT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Write = 0,
    Flush = 1,
    Apply = 2,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    lsn: Lsn,
    /// Microseconds since 2000-01-01, 0 for none.
    time: i64,
}

/// See the module page.
#[derive(Debug)]
pub(crate) struct LagTracker {
    last_lsn: Lsn,
    samples: Vec<Sample>,
    write_head: usize,
    read_heads: [usize; 3],
    /// The last sample that was passed, if there is more WAL behind it.
    last_read: [Sample; 3],
}

impl LagTracker {
    pub(crate) fn new() -> LagTracker {
        LagTracker {
            last_lsn: Lsn::INVALID,
            samples: vec![Sample::default(); SIZE],
            write_head: 0,
            read_heads: [0; 3],
            last_read: [Sample::default(); 3],
        }
    }

    /// WAL has been flushed up to `lsn` at this time. C: `LagTrackerWrite`.
    pub(crate) fn write(&mut self, lsn: Lsn, time: i64) {
        if lsn == self.last_lsn {
            return;
        }
        self.last_lsn = lsn;
        let mut next = (self.write_head + 1) % SIZE;
        if self.read_heads.contains(&next) {
            // Full: the newest sample gives way.
            next = self.write_head;
            self.write_head = (self.write_head + SIZE - 1) % SIZE;
        }
        self.samples[self.write_head] = Sample { lsn, time };
        self.write_head = next;
    }

    /// The standby has come to `lsn`: how many microseconds after the flush here. `None` if that is not known: nothing new was
    /// flushed meanwhile, or the clock was set back. C: `LagTrackerRead`.
    pub(crate) fn read(&mut self, stage: Stage, lsn: Lsn, now: i64) -> Option<i64> {
        let stage = stage as usize;
        let mut time = 0;
        while self.read_heads[stage] != self.write_head && self.samples[self.read_heads[stage]].lsn <= lsn {
            let sample = self.samples[self.read_heads[stage]];
            time = sample.time;
            self.last_read[stage] = sample;
            self.read_heads[stage] = (self.read_heads[stage] + 1) % SIZE;
        }
        let is_empty = self.read_heads[stage] == self.write_head;
        if is_empty {
            // All there is has been processed: the next lag is not to be interpolated from here.
            self.last_read[stage].time = 0;
        }
        if time == 0 {
            if is_empty {
                return None;
            }
            time = self.estimate(stage, lsn)?;
        }
        (time <= now).then(|| now - time)
    }

    /// Between two samples, the time in proportion; before the first one, its own.
    fn estimate(&self, stage: usize, lsn: Lsn) -> Option<i64> {
        let (previous, next) = (self.last_read[stage], self.samples[self.read_heads[stage]]);
        if previous.time == 0 {
            return Some(next.time);
        }
        if lsn < previous.lsn || previous.time > next.time {
            return None;
        }
        let fraction = (lsn.0 - previous.lsn.0) as f64 / (next.lsn.0 - previous.lsn.0) as f64;
        Some(previous.time + ((next.time - previous.time) as f64 * fraction) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_measured_interpolated_and_forgotten() {
        let mut lag = LagTracker::new();
        lag.write(Lsn(100), 1000);
        lag.write(Lsn(100), 1500);
        lag.write(Lsn(200), 2000);
        assert_eq!(
            lag.read(Stage::Write, Lsn(50), 3000),
            Some(2000),
            "not even the first: as if it were here now"
        );
        assert_eq!(lag.read(Stage::Write, Lsn(100), 3000), Some(2000));
        assert_eq!(lag.read(Stage::Write, Lsn(150), 3000), Some(1500), "half way");
        assert_eq!(lag.read(Stage::Write, Lsn(90), 3000), None, "it went back");
        assert_eq!(lag.read(Stage::Write, Lsn(200), 3000), Some(1000));
        assert_eq!(lag.read(Stage::Write, Lsn(200), 4000), None, "nothing new");
        assert_eq!(lag.read(Stage::Flush, Lsn(200), 4000), Some(2000), "each kind for itself");
        lag.write(Lsn(300), 5000);
        assert_eq!(lag.read(Stage::Write, Lsn(250), 6000), Some(1000), "caught up before: no interpolation");
        assert_eq!(lag.read(Stage::Apply, Lsn(300), 4000), None, "the clock was set back");
        lag.write(Lsn(400), 7000);
        assert_eq!(lag.read(Stage::Apply, Lsn(350), 6000), None, "and so for one that is only expected");
    }

    #[test]
    fn a_full_ring_keeps_its_oldest_samples() {
        let mut lag = LagTracker::new();
        for i in 1..=2 * SIZE as u64 {
            lag.write(Lsn(i), i as i64);
        }
        assert_eq!(lag.read(Stage::Write, Lsn(1), 10_000_000), Some(10_000_000 - 1));
        let last = 2 * SIZE as u64;
        assert_eq!(lag.read(Stage::Write, Lsn(last), 10_000_000), Some(10_000_000 - last as i64));
        // As in C: while one reader stands still, one that has caught up learns nothing new.
        lag.write(Lsn(last + 1), 20_000_000);
        assert_eq!(lag.read(Stage::Write, Lsn(last + 1), 20_000_001), None);
    }
}
