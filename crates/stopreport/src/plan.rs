//! How a deadline for the whole stop is divided among what a stop waits for, one after the other.

use std::time::Duration;

/// Moments, counted from the order to stop, at which the stop ceases to wait for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Clients may stay until then; afterwards a smart stop becomes a fast one. Zero for a fast stop.
    pub sessions: Duration,
    /// Walsenders that hold up the checkpoint, because nobody reads their socket, give up.
    pub before_checkpoint: Duration,
    /// Walsenders and the archiver give up; what is left of the time is for the processes to leave.
    pub end: Duration,
}

impl Plan {
    /// Most of the time that is kept for leaving.
    const LEAVING_MAX: Duration = Duration::from_millis(1500);

    /// Divides `total`. The checkpoint has no share: it is never given up, a stop that it makes late is late.
    pub fn divide(total: Duration, smart: bool) -> Plan {
        let leaving = Plan::LEAVING_MAX.min(total / 4);
        let end = total.saturating_sub(leaving);
        let (sessions, before_checkpoint) =
            if smart { (total / 2, total / 4 * 3) } else { (Duration::ZERO, total / 2) };
        let before_checkpoint = before_checkpoint.min(end);
        Plan { sessions: sessions.min(before_checkpoint), before_checkpoint, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(total_millis: u64, smart: bool, expected: [u64; 3]) {
        let plan = Plan::divide(Duration::from_millis(total_millis), smart);
        let [sessions, before_checkpoint, end] = expected.map(Duration::from_millis);
        assert_eq!(plan, Plan { sessions, before_checkpoint, end }, "{total_millis} ms, smart: {smart}");
    }

    #[test]
    fn a_deadline_is_divided() {
        check(30_000, false, [0, 15_000, 28_500]);
        check(30_000, true, [15_000, 22_500, 28_500]);
        check(4_000, false, [0, 2_000, 3_000]);
        check(4_000, true, [2_000, 3_000, 3_000]);
        check(0, false, [0, 0, 0]);
        check(0, true, [0, 0, 0]);
    }

    #[test]
    fn no_share_ends_after_what_follows_it() {
        for total in [Duration::ZERO, Duration::from_nanos(2), Duration::from_millis(7), Duration::MAX] {
            for smart in [false, true] {
                let plan = Plan::divide(total, smart);
                assert!(plan.sessions <= plan.before_checkpoint && plan.before_checkpoint <= plan.end);
                assert!(plan.end <= total);
            }
        }
    }
}
