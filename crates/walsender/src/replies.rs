//! What a standby says while it is sent WAL: how far it is (`r`), and what its queries still look at (`h`).
//!
//! C counterpart: `ProcessRepliesIfAny`, `ProcessStandbyMessage`, `ProcessStandbyReplyMessage`,
//! `ProcessStandbyHSFeedbackMessage`, `TransactionIdInRecentPast` of walsender.c.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use common::{Lsn, SqlState, Xid};
use elog::{PgError, Result, ereport, fatal, pg_error};
use libpq::Incoming;
use libpq::message::{MessageReader, reply};
use miscinit::interrupt;
use replication::{slot, syncrep, walsnd};

use crate::lag::Stage;
use crate::stopping;
use crate::stream::{Step, Stream};

/// What a standby says takes 42 bytes at most. So much fits into the port's buffer, where half a message may wait for its
/// rest without holding up the stream. Differs from PG 15, which takes up to a gigabyte, and waits for it.
const LONGEST: usize = 4096;

/// `r`: how far the standby is. C: in `ProcessStandbyReplyMessage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    written: Lsn,
    flushed: Lsn,
    applied: Lsn,
    /// The standby's clock, microseconds since 2000-01-01.
    time: i64,
    wants_answer: bool,
}

/// `h`: the oldest transaction ids that its queries look at, each with its epoch; not normal for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Feedback {
    time: i64,
    xmin: (Xid, u32),
    catalog_xmin: (Xid, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Progress(Progress),
    Feedback(Feedback),
    Unknown(u8),
}

/// What is in a CopyData message. What follows the known fields is ignored, as in C.
///
/// # Errors
/// 08P01 if it is too short.
fn parse(body: &[u8]) -> Result<Said> {
    let mut reader = MessageReader::new(body);
    Ok(match reader.byte()? {
        b'r' => {
            let mut lsn = || reader.int64().map(|value| Lsn(value as u64));
            let (written, flushed, applied) = (lsn()?, lsn()?, lsn()?);
            Said::Progress(Progress {
                written,
                flushed,
                applied,
                time: reader.int64()?,
                wants_answer: reader.byte()? != 0,
            })
        }
        b'h' => {
            let time = reader.int64()?;
            let mut pair = || Ok::<_, PgError>((Xid(reader.int32()? as u32), reader.int32()? as u32));
            Said::Feedback(Feedback { time, xmin: pair()?, catalog_xmin: pair()? })
        }
        other => Said::Unknown(other),
    })
}

/// C: `COMMERROR`: for the log alone.
fn protocol_violation(text: &str) -> PgError {
    pg_error!(LogServerOnly, SqlState::PROTOCOL_VIOLATION, "{text}")
}

impl Stream<'_> {
    /// Reads all messages that have come. C: `ProcessRepliesIfAny`.
    ///
    /// # Errors
    /// FATAL 08P01 for a message that has no place here, ERROR for a broken one.
    pub(crate) fn process_replies(&mut self) -> Result<Step> {
        self.last_look = Instant::now();
        let mut received = false;
        // Whatever comes behind CopyDone is not for the stream. What comes after the last look wakes us from the next sleep.
        while !(self.done_receiving || self.is_choked() || received && self.port.is_drained()) {
            // A client that talks without end is sent away too, and cannot talk the server's stop out of its bound.
            interrupt::check()?;
            if stopping::too_late().is_some() {
                break;
            }
            let incoming = self.port.try_read_message(&mut self.body, self.policy, size_limit)?;
            match incoming {
                None => break,
                Some(Incoming::Eof | Incoming::Broken) => {
                    protocol_violation("unexpected EOF on standby connection").report();
                    return Ok(Step::Leave);
                }
                Some(Incoming::Message(b'd')) => {
                    received = true;
                    if self.standby_message()? == Step::Leave {
                        return Ok(Step::Leave);
                    }
                }
                Some(Incoming::Message(b'c')) => {
                    received = true;
                    if !self.done_sending {
                        reply::copy_done(self.port.out());
                        self.done_sending = true;
                    }
                    self.done_receiving = true;
                }
                // Terminate; the limit lets nothing else through.
                Some(Incoming::Message(_)) => return Ok(Step::Leave),
            }
        }
        self.may_have_more = !self.done_receiving && self.is_choked();
        if received {
            self.last_reply = self.last_look;
            self.waits_for_answer = false;
        }
        Ok(Step::GoOn)
    }

    /// C: `ProcessStandbyMessage`.
    fn standby_message(&mut self) -> Result<Step> {
        match parse(&self.body)? {
            Said::Progress(progress) => self.note_progress(progress),
            Said::Feedback(feedback) => note_feedback(feedback),
            Said::Unknown(kind) => {
                let kind = char::from(kind);
                protocol_violation(&format!("unexpected message type \"{kind}\"")).report();
                return Ok(Step::Leave);
            }
        }
        Ok(Step::GoOn)
    }

    /// C: `ProcessStandbyReplyMessage`.
    fn note_progress(&mut self, said: Progress) {
        let Progress { written, flushed, applied, time, wants_answer } = said;
        ereport!(
            Debug2,
            "write {written} flush {flushed} apply {applied}{} reply_time {}",
            if wants_answer { " (reply requested)" } else { "" },
            guc::timestamptz_text(time)
        );
        let now = activity::now();
        let lags = [
            self.lag.read(Stage::Write, written, now),
            self.lag.read(Stage::Flush, flushed, now),
            self.lag.read(Stage::Apply, applied, now),
        ];
        // Told twice in a row that it has everything: it does so at its intervals, so there is no lag to show any more.
        let fully_applied = applied == self.sent;
        let clear_lags = std::mem::replace(&mut self.was_fully_applied, fully_applied) && fully_applied;
        if wants_answer {
            self.put_keepalive(false);
        }
        walsnd::record_reply(written, flushed, applied, lags, clear_lags, time);
        self.meter.replied(self.last_look);
        if !wal::in_recovery() {
            syncrep::release_waiters();
        }
        if flushed != Lsn::INVALID && slot::mine().is_some() {
            slot::confirm_received(flushed);
        }
    }
}

/// What may come from a standby, and how long. C: in `ProcessRepliesIfAny`.
fn size_limit(kind: u8) -> Result<usize> {
    match kind {
        b'd' | b'c' | b'X' => Ok(LONGEST),
        other => Err(fatal!(
            SqlState::PROTOCOL_VIOLATION,
            "invalid standby message type \"{}\"",
            char::from(other)
        )),
    }
}

/// Keeps the rows that the standby's queries look at: by the slot if there is one, which does so for good, or else by this
/// process's own xmin, for as long as it runs. C: `ProcessStandbyHSFeedbackMessage`.
fn note_feedback(said: Feedback) {
    let Feedback { time, xmin, catalog_xmin } = said;
    ereport!(
        Debug2,
        "hot standby feedback xmin {} epoch {}, catalog_xmin {} epoch {} reply_time {}",
        xmin.0.0,
        xmin.1,
        catalog_xmin.0.0,
        catalog_xmin.1,
        guc::timestamptz_text(time)
    );
    walsnd::set_reply_time(time);
    let has_slot = slot::mine().is_some();
    let any = xmin.0.is_normal() || catalog_xmin.0.is_normal();
    // An id that could not come from a standby of ours, or from so long ago that its rows are gone: better none.
    let plausible = |(xid, epoch): (Xid, u32)| !xid.is_normal() || is_in_recent_past(xid, epoch);
    if any && !(plausible(xmin) && plausible(catalog_xmin)) {
        return;
    }
    if has_slot {
        slot::confirm_xmins(xmin.0, catalog_xmin.0);
    }
    let own = if has_slot || !any { Xid::INVALID } else { older(xmin.0, catalog_xmin.0) };
    shmem::my_proc().xmin.store(own.0, SeqCst);
}

/// The older one of two that are not both abnormal. Differs from PG 15, where a catalog xmin alone keeps nothing without a slot.
fn older(xmin: Xid, catalog_xmin: Xid) -> Xid {
    if catalog_xmin.is_normal() && (!xmin.is_normal() || catalog_xmin.precedes(xmin)) {
        return catalog_xmin;
    }
    xmin
}

/// Whether the id, with its epoch, has been given out already, and less than half of all ids ago.
/// C: `TransactionIdInRecentPast`.
fn is_in_recent_past(xid: Xid, epoch: u32) -> bool {
    let next = transam::varsup::read_next_full_xid();
    is_before(xid, epoch, next.xid(), (next.0 >> 32) as u32)
}

fn is_before(xid: Xid, epoch: u32, next: Xid, next_epoch: u32) -> bool {
    let right_epoch = if xid.0 <= next.0 { epoch } else { epoch.wrapping_add(1) };
    right_epoch == next_epoch && xid.precedes_or_equals(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Vec<u8> {
        let mut body = vec![b'r'];
        for value in [0x0100_0000_0010_u64, 2, 3, 4] {
            body.extend_from_slice(&value.to_be_bytes());
        }
        body.push(1);
        body
    }

    #[test]
    fn replies_are_read() {
        let expected = Progress {
            written: Lsn(0x0100_0000_0010),
            flushed: Lsn(2),
            applied: Lsn(3),
            time: 4,
            wants_answer: true,
        };
        assert_eq!(parse(&progress()).unwrap(), Said::Progress(expected));
        let mut body = vec![b'h'];
        body.extend_from_slice(&9_u64.to_be_bytes());
        for value in [700_u32, 1, 650, 0] {
            body.extend_from_slice(&value.to_be_bytes());
        }
        let expected = Feedback { time: 9, xmin: (Xid(700), 1), catalog_xmin: (Xid(650), 0) };
        assert_eq!(parse(&body).unwrap(), Said::Feedback(expected));
        assert_eq!(parse(b"z").unwrap(), Said::Unknown(b'z'));
    }

    #[test]
    fn a_short_reply_is_an_error() {
        let body = progress();
        for length in 0..body.len() {
            let error = parse(&body[..length]).unwrap_err();
            assert_eq!(error.sqlstate, SqlState::PROTOCOL_VIOLATION, "{length}");
        }
    }

    #[test]
    fn only_ids_that_were_given_out_lately_count() {
        let next = Xid(1000);
        assert!(is_before(Xid(999), 5, next, 5) && is_before(Xid(1000), 5, next, 5));
        assert!(!is_before(Xid(999), 4, next, 5), "one round ago");
        assert!(!is_before(Xid(1001), 5, next, 5), "in the future");
        assert!(is_before(Xid(u32::MAX), 4, next, 5), "just before the wraparound");
        assert!(!is_before(Xid(1_500_000_000), 4, next, 5), "too long ago");
    }

    #[test]
    fn the_older_of_both_counts() {
        assert_eq!(older(Xid(700), Xid(650)), Xid(650));
        assert_eq!(older(Xid(700), Xid(0)), Xid(700));
        assert_eq!(older(Xid(0), Xid(650)), Xid(650));
    }
}
