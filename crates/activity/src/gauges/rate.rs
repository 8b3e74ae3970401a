//! How fast something goes while there is something to do.
//!
//! One counter, looked at now and then: [`Rate::sample`] says what it shows, [`Rate::pause`] that there is nothing to do until
//! the next sample. The time between two samples without a pause in between counts, with the amount done in it; recent time
//! weighs most, and after [`MEMORY`] of work what was before has lost most of its weight. Pauses make nothing older.
//!
//! A standstill is no slowness: who looks at a rate is told of it otherwise. So a gap counts for no more than [`STALL`], or
//! four times what it would have taken at the rate known before, which lets a counter jump every ten seconds. The second such
//! gap in a row counts in full: then it has truly become slow.
//!
//! C counterpart: none.

/// Microseconds of work after which a sample's weight has fallen to 1/e.
const MEMORY: f64 = 10e6;
/// Microseconds that count of a standstill.
const STALL: f64 = 2e6;
/// Microseconds of work before there is something to say.
const LEAST: f64 = 50e3;
/// Samples closer together are one.
const STEP: u64 = 1000;

/// See the module page.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Weighted sum of what was done ...
    amount: f64,
    /// ... and of the microseconds it took.
    micros: f64,
    /// (moment, counter) from which on time counts; `None` during a pause.
    last: Option<(u64, u64)>,
    /// The last gap was taken for a standstill.
    has_stalled: bool,
}

impl Rate {
    /// Nothing is known.
    pub const fn new() -> Rate {
        Rate { amount: 0.0, micros: 0.0, last: None, has_stalled: false }
    }

    /// The counter shows `done` at `now` ([`super::monotonic_micros`]), and there is more to do.
    pub fn sample(&mut self, now: u64, done: u64) {
        let Some((at, before)) = self.last else {
            self.last = Some((now, done));
            return;
        };
        // A counter that goes back counts something else from now on.
        if done < before || now < at {
            self.last = Some((now, done));
            return;
        }
        if now - at < STEP {
            return;
        }
        self.add((now - at) as f64, (done - before) as f64);
        self.last = Some((now, done));
    }

    /// What happens from the last sample to the next one does not count.
    pub fn pause(&mut self) {
        self.last = None;
    }

    /// Whether time counts now.
    pub fn is_running(&self) -> bool {
        self.last.is_some()
    }

    /// What has been learnt, per second. `None` before there was something to learn from.
    pub fn per_second(&self) -> Option<f64> {
        (self.micros >= LEAST).then(|| self.amount / self.micros * 1e6)
    }

    fn add(&mut self, took: f64, moved: f64) {
        let most = match self.per_second() {
            Some(rate) if rate > 0.0 => STALL.max(4.0 * moved / rate * 1e6),
            _ => took,
        };
        let had_stalled = std::mem::replace(&mut self.has_stalled, took > most);
        let counts = if had_stalled { took } else { took.min(most) };
        let kept = (-counts / MEMORY).exp();
        // The weight of a moment falls evenly, so a gap weighs what is left of it at its end.
        let weight = MEMORY * (1.0 - kept);
        self.amount = self.amount * kept + moved / counts * weight;
        self.micros = self.micros * kept + weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[track_caller]
    fn about(rate: &Rate, expected: f64, tolerance: f64) {
        let found = rate.per_second().expect("a rate");
        assert!((found - expected).abs() <= expected * tolerance, "{found}, not about {expected}");
    }

    /// `count` samples, one each `gap` microseconds, with `amount` each.
    fn run(rate: &mut Rate, at: &mut (u64, u64), count: u64, gap: u64, amount: u64) {
        for _ in 0..count {
            *at = (at.0 + gap, at.1 + amount);
            rate.sample(at.0, at.1);
        }
    }

    fn started() -> (Rate, (u64, u64)) {
        let (mut rate, at) = (Rate::new(), (77 * SECOND, 123_456));
        rate.sample(at.0, at.1);
        (rate, at)
    }

    #[test]
    fn steady() {
        for gap in [1000, 10_000, 250_000, SECOND, 30 * SECOND] {
            let (mut rate, mut at) = started();
            assert_eq!(rate.per_second(), None);
            let amount = 3 * gap;
            run(&mut rate, &mut at, 200, gap, amount);
            about(&rate, 3e6, 0.001);
        }
    }

    #[test]
    fn the_first_sample_is_enough_to_begin() {
        let (mut rate, mut at) = started();
        run(&mut rate, &mut at, 1, 100_000, 5_000);
        about(&rate, 50_000.0, 0.001);
    }

    #[test]
    fn bursts_are_averaged() {
        // 100 ms of work, 100 ms in which the same thing stands still, and so on.
        let (mut rate, mut at) = started();
        for _ in 0..100 {
            run(&mut rate, &mut at, 10, 10_000, 20_000);
            run(&mut rate, &mut at, 10, 10_000, 0);
        }
        about(&rate, 1e6, 0.05);
        // Reported every ten seconds only.
        let (mut rate, mut at) = started();
        run(&mut rate, &mut at, 5, 10 * SECOND, 400_000_000);
        about(&rate, 40e6, 0.001);
    }

    #[test]
    fn pauses_change_nothing() {
        let (mut rate, mut at) = started();
        run(&mut rate, &mut at, 50, 100_000, 100_000);
        let before = rate;
        rate.pause();
        assert!(!rate.is_running());
        rate.sample(at.0 + 3600 * SECOND, at.1);
        about(&rate, before.per_second().expect("a rate"), 1e-9);
        // What came meanwhile was not measured.
        rate.pause();
        at = (at.0 + 7200 * SECOND, at.1 + 1_000_000_000);
        rate.sample(at.0, at.1);
        run(&mut rate, &mut at, 10, 100_000, 100_000);
        about(&rate, 1e6, 0.001);
    }

    #[test]
    fn a_stall_is_forgotten_soon() {
        let (mut rate, mut at) = started();
        run(&mut rate, &mut at, 100, 100_000, 100_000);
        // Ten minutes without a sample, then on as before.
        run(&mut rate, &mut at, 1, 600 * SECOND, 1000);
        about(&rate, 0.8e6, 0.1);
        run(&mut rate, &mut at, 50, 100_000, 100_000);
        about(&rate, 0.9e6, 0.1);
        run(&mut rate, &mut at, 200, 100_000, 100_000);
        about(&rate, 1e6, 0.05);
    }

    #[test]
    fn what_becomes_slow_is_noticed() {
        let (mut rate, mut at) = started();
        run(&mut rate, &mut at, 100, 100_000, 1_000_000);
        about(&rate, 10e6, 0.001);
        run(&mut rate, &mut at, 100, 100_000, 100_000);
        let after = rate.per_second().expect("a rate");
        assert!(after < 5e6, "{after}");
        run(&mut rate, &mut at, 400, 100_000, 100_000);
        about(&rate, 1e6, 0.1);
        // Also if it jumps.
        let (mut rate, mut at) = started();
        run(&mut rate, &mut at, 3, 10 * SECOND, 100_000_000);
        run(&mut rate, &mut at, 12, 10 * SECOND, 1_000_000);
        about(&rate, 100_000.0, 0.5);
    }

    #[test]
    fn a_slow_start_counts_less_and_less() {
        let (mut rate, mut at) = started();
        // A second of nearly nothing, then 100 MB/s.
        run(&mut rate, &mut at, 10, 100_000, 1000);
        run(&mut rate, &mut at, 50, 100_000, 10_000_000);
        about(&rate, 100e6, 0.2);
        run(&mut rate, &mut at, 250, 100_000, 10_000_000);
        about(&rate, 100e6, 0.02);
    }

    #[test]
    fn a_clock_or_a_counter_that_does_not_go_on() {
        let (mut rate, at) = started();
        for _ in 0..1000 {
            rate.sample(at.0, at.1 + 5);
        }
        assert_eq!(rate.per_second(), None);
        // What was done in no time belongs to the next step.
        rate.sample(at.0 + SECOND, at.1 + 10);
        about(&rate, 10.0, 0.001);
        // Backwards: nothing is learnt, nothing breaks.
        rate.sample(at.0 - 5 * SECOND, at.1 + 20);
        rate.sample(at.0 - 4 * SECOND, 7);
        about(&rate, 10.0, 0.001);
        rate.sample(at.0 - 3 * SECOND, 17);
        about(&rate, 10.0, 0.001);
        // Nothing done at all is a rate, too.
        let (mut rate, at) = started();
        rate.sample(at.0 + SECOND, at.1);
        assert_eq!(rate.per_second(), Some(0.0));
        rate.sample(at.0 + 2 * SECOND, at.1 + 1000);
        assert!(rate.per_second().is_some_and(|found| found > 0.0));
    }
}
