//! The stop of the server, as a stream sees it: since when, how long it may still take, and what is said when that was too long.
//!
//! There are two bounds, and the earlier one counts: `wal_sender_shutdown_timeout`, and this walsender's share of the deadline that
//! the whole stop was given (`shutdown::bounds`), which may come later than the order to stop.
//!
//! The clock of the first starts when the walsender learns of the stop: asked by the checkpointer for state `stopping`, or told by SIGUSR2
//! that the shutdown checkpoint is in WAL, whichever comes first. It is looked at in the stream's one loop, which waits for no
//! client (WA4, WA8): so the bounds hold whatever the receiver does or leaves undone (WA9).
//!
//! C counterpart: `WalSndCheckShutdownTimeout`, `WalSndDoneImmediate` of PostgreSQL 19's walsender.c.

use std::cell::Cell;
use std::time::{Duration, Instant};

use common::{Lsn, SqlState};
use elog::pg_error;
use miscinit::interrupt::{self, Pending};
use replication::walsnd::{self, State};
use shutdown::bounds;

thread_local! {
    /// The checkpointer has asked for state `stopping`. C: `got_STOPPING`.
    static ASKED: Cell<bool> = const { Cell::new(false) };
    /// When we learned that the server stops. C: `shutdown_request_timestamp`.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The checkpointer asks for state `stopping`.
pub(crate) fn ask() {
    ASKED.set(true);
    start_clock();
}

/// Whether it has.
pub(crate) fn is_asked() -> bool {
    ASKED.get()
}

/// The server stops; the first to say so starts the clock.
pub(crate) fn start_clock() {
    if SINCE.get().is_none() {
        SINCE.set(Some(Instant::now()));
    }
}

/// Why a stream gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// `wal_sender_shutdown_timeout`.
    Setting,
    /// The deadline of the stop.
    Deadline,
}

/// Whether it has been told of the stop.
pub(crate) fn has_begun() -> bool {
    SINCE.get().is_some()
}

/// How long the stream may go on, and what ends it then; `None` for as long as it takes: the server does not stop, or nothing bounds
/// it.
pub(crate) fn bound() -> Option<(Duration, Reason)> {
    let since = SINCE.get()?;
    let setting = left(since, guc::vars::WAL_SENDER_SHUTDOWN_TIMEOUT.get(), Instant::now());
    // The shutdown checkpoint waits for the state that shows that nothing is in the output buffer (WA5).
    let holds_up = !interrupt::is_pending(Pending::LastCycle) && walsnd::state() != State::Stopping;
    earlier(setting, bounds::walsender_until(holds_up).map(bounds::Moment::left))
}

/// Of time that is left by the setting and by the deadline. When both have passed it is the setting that is named: it holds whatever
/// the stop's order says.
fn earlier(setting: Option<Duration>, deadline: Option<Duration>) -> Option<(Duration, Reason)> {
    match (setting, deadline) {
        (Some(setting), Some(deadline)) if deadline < setting => Some((deadline, Reason::Deadline)),
        (Some(setting), _) => Some((setting, Reason::Setting)),
        (None, deadline) => deadline.map(|left| (left, Reason::Deadline)),
    }
}

/// The time alone, of [`bound`].
pub(crate) fn time_left() -> Option<Duration> {
    bound().map(|(left, _)| left)
}

/// The time is up, for this reason.
pub(crate) fn too_late() -> Option<Reason> {
    bound().filter(|(left, _)| left.is_zero()).map(|(_, reason)| reason)
}

/// `bound` in milliseconds, negative for none.
fn left(since: Instant, bound: i32, now: Instant) -> Option<Duration> {
    let bound = Duration::from_millis(u64::try_from(bound).ok()?);
    Some((since + bound).saturating_duration_since(now))
}

/// What a stream that gives up leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Sent up to here.
    pub(crate) sent: Lsn,
    /// The receiver has told to have all before this.
    pub(crate) confirmed: Lsn,
    /// WAL ends here, as far as this stream may send it.
    pub(crate) end: Lsn,
    /// Nothing comes behind: the shutdown checkpoint is among it, if there is one.
    pub(crate) is_final: bool,
}

impl Left {
    /// For the log alone: a receiver that is too slow does not hear it in time either. Differs from PG 19, whose WARNING says
    /// less.
    pub(crate) fn report(&self, receiver: &str, reason: Reason) {
        let why = match reason {
            Reason::Setting => "replication shutdown timeout",
            Reason::Deadline => "the deadline of the shutdown",
        };
        pg_error!(
            LogServerOnly,
            SqlState::SUCCESSFUL_COMPLETION,
            "terminating walsender process due to {why}"
        )
        .detail(self.detail(receiver))
        .report();
    }

    fn detail(&self, receiver: &str) -> String {
        let Left { sent, confirmed, end, is_final } = *self;
        let before = if is_final { "" } else { ", before the shutdown checkpoint" };
        format!(
            "\"{receiver}\" was sent WAL up to {sent} and has confirmed it up to {confirmed}; WAL ends at {end}{before}. The \
             missing {} bytes are kept for the next start.",
            end.0.saturating_sub(confirmed.0)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_from_the_order_to_stop() {
        let since = Instant::now();
        let after = |millis| since + Duration::from_millis(millis);
        assert_eq!(left(since, -1, after(1_000_000)), None, "no bound");
        assert_eq!(left(since, 0, since), Some(Duration::ZERO), "at once");
        assert_eq!(left(since, 500, after(100)), Some(Duration::from_millis(400)));
        assert_eq!(left(since, 500, after(500)), Some(Duration::ZERO));
        assert_eq!(left(since, 500, after(501)), Some(Duration::ZERO));
    }

    #[test]
    fn the_earlier_bound_counts() {
        let millis = |millis: u64| Some(Duration::from_millis(millis));
        let check = |setting, deadline, expected: Option<(u64, Reason)>| {
            let expected = expected.map(|(left, reason)| (Duration::from_millis(left), reason));
            assert_eq!(earlier(setting, deadline), expected, "{setting:?} {deadline:?}");
        };
        check(None, None, None);
        check(millis(5), None, Some((5, Reason::Setting)));
        check(None, millis(5), Some((5, Reason::Deadline)));
        check(millis(5), millis(4), Some((4, Reason::Deadline)));
        check(millis(4), millis(5), Some((4, Reason::Setting)));
        check(millis(0), millis(0), Some((0, Reason::Setting)));
    }

    #[test]
    fn what_is_left_is_named() {
        let left =
            Left { sent: Lsn(0x300_0000), confirmed: Lsn(0x200_0000), end: Lsn(0x500_0028), is_final: false };
        assert_eq!(
            left.detail("s1"),
            "\"s1\" was sent WAL up to 0/3000000 and has confirmed it up to 0/2000000; WAL ends at 0/5000028, before the \
             shutdown checkpoint. The missing 50331688 bytes are kept for the next start."
        );
        let left = Left { sent: left.end, is_final: true, ..left };
        assert_eq!(
            left.detail("s1"),
            "\"s1\" was sent WAL up to 0/5000028 and has confirmed it up to 0/2000000; WAL ends at 0/5000028. The missing \
             50331688 bytes are kept for the next start."
        );
    }
}
