//! The stop of the server, as a stream sees it: since when, how long it may still take, and what is said when that was too long.
//!
//! The clock starts when the walsender learns of the stop: asked by the checkpointer for state `stopping`, or told by SIGUSR2
//! that the shutdown checkpoint is in WAL, whichever comes first. It is looked at in the stream's one loop, which waits for no
//! client (WA4, WA8): so the bound holds whatever the receiver does or leaves undone (WA9).
//!
//! C counterpart: `WalSndCheckShutdownTimeout`, `WalSndDoneImmediate` of PostgreSQL 19's walsender.c.

use std::cell::Cell;
use std::time::{Duration, Instant};

use common::{Lsn, SqlState};
use elog::pg_error;

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

/// How long the stream may go on; `None` for as long as it takes: the server does not stop, or `wal_sender_shutdown_timeout` is
/// off.
pub(crate) fn time_left() -> Option<Duration> {
    let since = SINCE.get()?;
    left(since, guc::vars::WAL_SENDER_SHUTDOWN_TIMEOUT.get(), Instant::now())
}

/// The time is up.
pub(crate) fn is_too_late() -> bool {
    time_left() == Some(Duration::ZERO)
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
    pub(crate) fn report(&self, receiver: &str) {
        pg_error!(
            LogServerOnly,
            SqlState::SUCCESSFUL_COMPLETION,
            "terminating walsender process due to replication shutdown timeout"
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
