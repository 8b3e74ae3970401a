//! What the primary is told: how far we are, and which old row versions our sessions still need.
//!
//! RV4 a reply is sent when what is written or durable has moved, when somebody asks for one, and every
//! `wal_receiver_status_interval`. RV5 with `hot_standby_feedback` off, the primary is told once that nothing is needed.
//!
//! C counterpart: `XLogWalRcvSendReply`, `XLogWalRcvSendHSFeedback`.

use std::time::{Duration, Instant};

use common::{Lsn, Xid};

use crate::client::Connection;
use crate::files::{self, Progress};

/// When what was sent last.
pub(crate) struct Replies {
    sent: Progress,
    sent_at: Option<Instant>,
    feedback_at: Option<Instant>,
    /// The primary keeps something for us, or may do so since an earlier connection. C: `primary_has_standby_xmin`.
    primary_keeps: bool,
}

/// `wal_receiver_status_interval`; `None` if nothing is told unasked.
fn interval() -> Option<Duration> {
    let seconds = guc::vars::WAL_RECEIVER_STATUS_INTERVAL.get();
    (seconds > 0).then(|| Duration::from_secs(seconds as u64))
}

impl Replies {
    pub(crate) fn new() -> Replies {
        Replies {
            sent: Progress { written: Lsn::INVALID, flushed: Lsn::INVALID },
            sent_at: None,
            feedback_at: None,
            primary_keeps: true,
        }
    }

    /// When something is due of itself; `None`: never.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let interval = interval()?;
        let after = |last: Option<Instant>| last.map_or_else(Instant::now, |last| last + interval);
        let feedback =
            (guc::vars::HOT_STANDBY_FEEDBACK.get() || self.primary_keeps).then(|| after(self.feedback_at));
        Some(feedback.map_or(after(self.sent_at), |feedback| feedback.min(after(self.sent_at))))
    }

    /// Tells how far we are: if that has changed or the time has come, with `force` in any case. `request`: the primary is to
    /// answer at once.
    pub(crate) fn send(&mut self, connection: &mut Connection, force: bool, request: bool) {
        let now = Instant::now();
        let progress = files::progress();
        if !force {
            let Some(interval) = interval() else { return };
            let due = self.sent_at.is_none_or(|last| now >= last + interval);
            if !due && progress == self.sent {
                return;
            }
        }
        self.sent = progress;
        self.sent_at = Some(now);
        let (applied, _) = wal::recovery_point::replayed();
        let message = status_update(progress, applied, activity::now(), request);
        elog::ereport!(
            Debug2,
            "sending write {} flush {} apply {applied}{}",
            progress.written,
            progress.flushed,
            if request { " (reply requested)" } else { "" }
        );
        connection.send(&message);
    }

    /// Tells what our sessions need: when the time has come, with `at_once` in any case.
    pub(crate) fn send_feedback(&mut self, connection: &mut Connection, at_once: bool) {
        let wanted = guc::vars::HOT_STANDBY_FEEDBACK.get() && interval().is_some();
        if !wanted && !self.primary_keeps {
            return;
        }
        let now = Instant::now();
        if !at_once {
            let interval = interval().unwrap_or_default();
            if self.feedback_at.is_some_and(|last| now < last + interval) {
                return;
            }
            self.feedback_at = Some(now);
        }
        // Before sessions are let in there is nothing to say, and the ids of the process array mean nothing.
        if !wal::recovery::hot_standby_active() {
            return;
        }
        let (xmin, catalog_xmin) = if guc::vars::HOT_STANDBY_FEEDBACK.get() {
            transam::procarray::replication_horizons()
        } else {
            (Xid::INVALID, Xid::INVALID)
        };
        let next = transam::varsup::read_next_full_xid();
        let epoch = |xid: Xid| if next.xid().0 < xid.0 { next.epoch().wrapping_sub(1) } else { next.epoch() };
        let body = feedback(activity::now(), [(xmin, epoch(xmin)), (catalog_xmin, epoch(catalog_xmin))]);
        connection.send(&body);
        self.primary_keeps = xmin.is_valid() || catalog_xmin.is_valid();
    }
}

/// The message `r`: positions, our clock, and whether an answer is wanted.
fn status_update(progress: Progress, applied: Lsn, now: i64, request: bool) -> [u8; 34] {
    let mut message = [0; 34];
    message[0] = b'r';
    for (at, number) in
        [progress.written.0, progress.flushed.0, applied.0, now as u64].into_iter().enumerate()
    {
        message[1 + 8 * at..][..8].copy_from_slice(&number.to_be_bytes());
    }
    message[33] = u8::from(request);
    message
}

/// The message `h`: our clock, and each id with its epoch.
fn feedback(now: i64, ids: [(Xid, u32); 2]) -> [u8; 25] {
    let mut message = [0; 25];
    message[0] = b'h';
    message[1..9].copy_from_slice(&now.to_be_bytes());
    for (at, (xid, epoch)) in ids.into_iter().enumerate() {
        message[9 + 8 * at..][..4].copy_from_slice(&xid.0.to_be_bytes());
        message[13 + 8 * at..][..4].copy_from_slice(&epoch.to_be_bytes());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let progress = Progress { written: Lsn(0x1_0000_0002), flushed: Lsn(3) };
        let update = status_update(progress, Lsn(4), -1, true);
        assert_eq!(update[..9], [b'r', 0, 0, 0, 1, 0, 0, 0, 2]);
        assert_eq!((update[16], update[24], update[25], update[33]), (3, 4, 0xff, 1));
        let body = feedback(1, [(Xid(7), 2), (Xid(0), 3)]);
        assert_eq!((body[0], body[8], body[12], body[16], body[20], body[24]), (b'h', 1, 7, 2, 0, 3));
    }
}
