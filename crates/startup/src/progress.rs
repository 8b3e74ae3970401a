//! What the log says while recovery takes its time, and what it cost.
//!
//! C counterpart: `ereport_startup_progress` of startup.c, `pg_rusage_show` of pg_rusage.c.

use std::time::{Duration, Instant};

use elog::ereport;
use nix::sys::resource::{UsageWho, getrusage};

/// Tells the log about one phase, every `log_startup_progress_interval`. C: `begin_startup_progress_phase`.
pub(crate) struct Progress {
    began: Instant,
    next: Option<Instant>,
    interval: Duration,
}

impl Progress {
    /// A phase begins.
    pub(crate) fn begin() -> Progress {
        Progress::with_interval(guc::vars::LOG_STARTUP_PROGRESS_INTERVAL.get())
    }

    /// 0 turns it off.
    fn with_interval(millis: i32) -> Progress {
        let interval = Duration::from_millis(millis.max(0) as u64);
        let began = Instant::now();
        Progress { began, next: (!interval.is_zero()).then(|| began + interval), interval }
    }

    /// If a line is due: the time so far, `12.34 s`. C: `has_startup_progress_timeout_expired`.
    pub(crate) fn due(&mut self) -> Option<String> {
        let next = self.next?;
        let now = Instant::now();
        if now < next {
            return None;
        }
        // Skipped moments are not made up for.
        let missed = (now - next).as_nanos() / self.interval.as_nanos();
        self.next = Some(next + self.interval * (missed as u32 + 1));
        Some(seconds(now - self.began))
    }

    /// Logs `<what>, elapsed time: 10.00 s, <where>` if it is due.
    pub(crate) fn report(&mut self, what: &str, place: impl FnOnce() -> String) {
        if let Some(elapsed) = self.due() {
            ereport!(Log, "{what}, elapsed time: {elapsed}, {}", place());
        }
    }
}

/// `12.34 s`, cut, not rounded.
fn seconds(time: Duration) -> String {
    format!("{}.{:02} s", time.as_secs(), time.subsec_millis() / 10)
}

/// The processor time and the time that something took. C: `PGRUsage`.
pub(crate) struct Usage {
    began: Instant,
    user: Duration,
    system: Duration,
}

fn cpu_times() -> (Duration, Duration) {
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().max(0) as u64, time.tv_usec().max(0) as u32 * 1000)
    };
    getrusage(UsageWho::RUSAGE_SELF)
        .map_or_else(|_| Default::default(), |usage| (micros(usage.user_time()), micros(usage.system_time())))
}

impl Usage {
    /// From now on. C: `pg_rusage_init`.
    pub(crate) fn begin() -> Usage {
        let (user, system) = cpu_times();
        Usage { began: Instant::now(), user, system }
    }

    /// `CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.00 s`. C: `pg_rusage_show`.
    pub(crate) fn show(&self) -> String {
        let (user, system) = cpu_times();
        format!(
            "CPU: user: {}, system: {}, elapsed: {}",
            seconds(user.saturating_sub(self.user)),
            seconds(system.saturating_sub(self.system)),
            seconds(self.began.elapsed())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_cut_to_hundredths() {
        assert_eq!(seconds(Duration::from_millis(12_349)), "12.34 s");
        assert_eq!(seconds(Duration::from_millis(9)), "0.00 s");
        assert!(Usage::begin().show().starts_with("CPU: user: 0."));
    }

    #[test]
    fn lines_come_once_an_interval() {
        assert!(Progress::with_interval(0).due().is_none());
        let mut progress = Progress::with_interval(3_600_000);
        assert!(progress.due().is_none());
        progress.next = Some(progress.began);
        assert_eq!(progress.due().as_deref(), Some("0.00 s"));
        assert!(progress.due().is_none(), "what was missed is not repeated");
    }
}
