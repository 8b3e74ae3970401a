//! A stream of WAL: the loop that sends what there is, reads what comes back, and sleeps in between.
//!
//! Nothing here waits for the client alone: what does not fit into the socket stays with the port, and the one sleep is for the
//! socket, the latch (more WAL, a signal), the next keepalive and the postmaster's life together. WAL goes from its file into the
//! message and from there into the socket: one read and one send for a message of up to 128 kB.
//!
//! Nor can a client hold up anything but its own stream: half of a message waits in the port's buffer (WA8).
//!
//! C counterpart: `WalSndLoop`, `XLogSendPhysical`, `WalSndDone`, `WalSndKeepalive`, `WalSndCheckTimeOut` of walsender.c.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use common::{Lsn, SqlState};
use elog::{Result, ereport, pg_error};
use libpq::message::reply;
use libpq::{Port, WaitPolicy};
use miscinit::interrupt::{self, Pending};
use miscinit::{exit, ps_status, signals};
use replication::walsnd::{Meter, State};
use replication::{syncrep, walsnd};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use wal::layout::XLOG_BLCKSZ;

use crate::lag::LagTracker;
use crate::position::Branch;
use crate::segments::Segments;
use crate::stopping::{self, Left};

/// Most WAL in one message. C: `MAX_SEND_SIZE`.
const SEND_MAX: u64 = 16 * XLOG_BLCKSZ as u64;
/// Type and length of the CopyData message, `w`, and three times eight bytes.
const HEADER: usize = 5 + 1 + 24;
/// Longest sleep. C: in `WalSndComputeSleeptime`.
const LONG_SLEEP: Duration = Duration::from_secs(10);
/// While the server stops, a receiver that lacks something and says nothing for so long is asked.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// A client that leaves so many bytes of answers and reports unread is not listened to until it has read some.
const UNREAD_MAX: usize = 64 * 1024;

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides have said CopyDone. This is where the timeline had come to.
    Done(Branch),
    /// The session is to end without a further word.
    Leave,
}

/// What one step of the loop found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    GoOn,
    Leave,
}

/// See the module page.
pub(crate) struct Stream<'a> {
    pub(crate) port: &'a mut Port,
    pub(crate) policy: &'a mut dyn WaitPolicy,
    branch: Branch,
    segments: Segments,
    /// Sent up to here, as far as we are concerned. C: `sentPtr`.
    pub(crate) sent: Lsn,
    pub(crate) lag: LagTracker,
    /// For those who want to know how long the stream takes.
    pub(crate) meter: Meter,
    /// Nothing more can be sent now. C: `WalSndCaughtUp`.
    caught_up: bool,
    /// We have said CopyDone. C: `streamingDoneSending`.
    pub(crate) done_sending: bool,
    /// `COPY 0` has been said, which is the last word: the stream ends when it has left.
    said_farewell: bool,
    /// The client has. C: `streamingDoneReceiving`.
    pub(crate) done_receiving: bool,
    /// C: `last_reply_timestamp`.
    pub(crate) last_reply: Instant,
    /// When replies were last looked for. C: `last_processing`.
    pub(crate) last_look: Instant,
    /// A keepalive has asked for an answer. C: `waiting_for_ping_response`.
    pub(crate) waits_for_answer: bool,
    /// The last reply had all of it applied. C: `fullyAppliedLastTime`.
    pub(crate) was_fully_applied: bool,
    /// Messages of the client may wait in the port's buffer: the last look ended before they did.
    pub(crate) may_have_more: bool,
    /// A message of the client.
    pub(crate) body: Vec<u8>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(
        port: &'a mut Port,
        policy: &'a mut dyn WaitPolicy,
        branch: Branch,
        start: Lsn,
    ) -> Stream<'a> {
        let now = Instant::now();
        Stream {
            port,
            policy,
            branch,
            segments: Segments::default(),
            sent: start,
            lag: LagTracker::new(),
            meter: Meter::start(),
            caught_up: false,
            done_sending: false,
            said_farewell: false,
            done_receiving: false,
            last_reply: now,
            last_look: now,
            waits_for_answer: false,
            was_fully_applied: false,
            may_have_more: false,
            body: Vec::new(),
        }
    }

    /// The loop. C: `WalSndLoop`.
    ///
    /// # Errors
    /// What a signal, the files or the client say.
    pub(crate) fn run(mut self) -> Result<End> {
        loop {
            // WA4: before looking for work, so that nothing that comes from now on is slept over.
            latch::reset();
            interrupt::check()?;
            if interrupt::take(Pending::ConfigReload) {
                reload();
            }
            if interrupt::is_pending(Pending::LastCycle) {
                stopping::start_clock();
            }
            if self.process_replies()? == Step::Leave {
                return Ok(End::Leave);
            }
            // Between two messages, as anywhere else.
            self.policy.take_reports(self.port.out());
            if self.done_receiving && self.done_sending && !self.port.is_send_pending() {
                return Ok(End::Done(self.branch));
            }
            if self.send()? == Step::Leave
                || self.has_timed_out()
                || self.gives_up()
                || self.keep_alive() == Step::Leave
                || self.ask_how_far() == Step::Leave
            {
                return Ok(End::Leave);
            }
            self.sleep();
        }
    }

    /// Makes a message if none waits, and sends what the socket takes. C: in `WalSndLoop`.
    fn send(&mut self) -> Result<Step> {
        if self.port.is_send_pending() {
            self.caught_up = false;
        } else {
            self.send_wal()?;
        }
        let step = self.flush();
        self.meter.flushed(self.port.send_pending_bytes(), self.caught_up, self.last_look);
        if step == Step::Leave || self.said_farewell && !self.port.is_send_pending() {
            return Ok(Step::Leave);
        }
        if self.caught_up && !self.port.is_send_pending() { self.all_is_sent() } else { Ok(Step::GoOn) }
    }

    /// A client that has gone is in the log already, and nobody is left who could be told more. C: `WalSndShutdown`.
    fn flush(&mut self) -> Step {
        if self.port.flush_if_writable().is_err() { Step::Leave } else { Step::GoOn }
    }

    /// Nothing is left to send at the moment. C: in `WalSndLoop`.
    fn all_is_sent(&mut self) -> Result<Step> {
        if walsnd::state() == State::Catchup {
            let name = guc::vars::APPLICATION_NAME.get();
            ereport!(Debug1, "\"{name}\" has now caught up with upstream server");
            walsnd::set_state(State::Streaming);
            // What it has told before counts from now on.
            syncrep::release_waiters();
        }
        // SIGUSR2: the shutdown checkpoint is in WAL, and nothing can come behind it.
        if interrupt::is_pending(Pending::LastCycle) { self.finish() } else { Ok(Step::GoOn) }
    }

    /// The last round: all WAL is to be sent, and the standby to have told that it has it. C: `WalSndDone`.
    fn finish(&mut self) -> Result<Step> {
        // Once more: the signal may have come after the last look at what is flushed.
        self.send_wal()?;
        let confirmed = walsnd::mine().map_or(Lsn::INVALID, |status| match status.flush {
            Lsn::INVALID => status.write,
            flushed => flushed,
        });
        if self.caught_up && self.sent == confirmed && !self.port.is_send_pending() {
            self.put_farewell();
            // What the socket does not take now is waited for as anything else is (WA4).
            let gone = self.flush() == Step::Leave || !self.port.is_send_pending();
            return Ok(if gone { Step::Leave } else { Step::GoOn });
        }
        if !self.waits_for_answer {
            self.put_keepalive(true);
        }
        Ok(Step::GoOn)
    }

    /// Nothing follows but the end of the connection.
    fn put_farewell(&mut self) {
        reply::command_complete(self.port.out(), "COPY 0");
        self.done_sending = true;
        self.said_farewell = true;
    }

    /// The server stops, and its patience has ended without the receiver having got and confirmed everything: it gets the rest after
    /// the next start (WA9).
    fn gives_up(&mut self) -> bool {
        let bound = stopping::bound();
        if stopping::has_begun() {
            self.meter.gives_up(bound.map(|(left, _)| self.last_look + left));
        }
        let Some((Duration::ZERO, reason)) = bound else { return false };
        if self.said_farewell {
            // All is confirmed, and the last word alone does not get through.
            return true;
        }
        let left = Left {
            sent: self.sent,
            confirmed: walsnd::unconfirmed(),
            end: self.branch.limit().unwrap_or(self.sent),
            // A standby writes none.
            is_final: self.branch.cascading || interrupt::is_pending(Pending::LastCycle),
        };
        left.report(&guc::vars::APPLICATION_NAME.get(), reason);
        // Whoever has read so far learns that this was meant. Half of a message is not followed by another one.
        if !self.done_sending && !self.port.is_send_pending() {
            self.put_farewell();
            self.flush();
        }
        true
    }

    /// Makes the next message, if there is something to send. Only while nothing waits to be sent.
    /// C: `XLogSendPhysical`.
    fn send_wal(&mut self) -> Result<()> {
        if stopping::is_asked() {
            // WA5: nothing waits to be sent, or we would not be here.
            walsnd::set_state(State::Stopping);
        }
        if self.done_sending || self.port.is_send_pending() {
            self.caught_up = self.done_sending;
            return Ok(());
        }
        let limit = self.branch.limit()?;
        self.meter.looked(limit, self.branch.switch.is_some(), self.last_look);
        self.lag.write(limit, activity::now());
        if let Some(switch) = self.branch.switch
            && switch.end <= self.sent
        {
            self.segments.close();
            reply::copy_done(self.port.out());
            self.done_sending = true;
            self.caught_up = true;
            ereport!(
                Debug1,
                "walsender reached end of timeline at {} (sent up to {})",
                switch.end,
                self.sent
            );
            return Ok(());
        }
        if limit <= self.sent {
            self.caught_up = true;
            return Ok(());
        }
        let (end, is_all) = end_of_message(self.sent, limit);
        // At the end of a historic timeline there is still CopyDone to be said.
        self.caught_up = is_all && self.branch.switch.is_none();
        self.put_wal(end, limit)
    }

    /// The message with the WAL up to `end`, read from the file into its place (WA7).
    fn put_wal(&mut self, end: Lsn, limit: Lsn) -> Result<()> {
        let length = HEADER + (end - self.sent) as usize;
        let message = self.port.direct_buffer(length);
        loop {
            self.segments.read(&self.branch, self.sent, &mut message[HEADER..])?;
            self.segments.check_removed(&self.branch, self.sent)?;
            // A standby may have got another file of this name from its archive.
            if !(self.branch.cascading && walsnd::take_file_reload() && self.segments.is_open()) {
                break;
            }
            self.segments.close();
        }
        message[0] = b'd';
        message[1..5].copy_from_slice(&(length as u32 - 1).to_be_bytes());
        message[5] = b'w';
        message[6..14].copy_from_slice(&self.sent.0.to_be_bytes());
        message[14..22].copy_from_slice(&limit.0.to_be_bytes());
        // Last: the reading may have taken a while.
        message[22..30].copy_from_slice(&activity::now().to_be_bytes());
        self.port.send_direct(length);
        self.sent = end;
        walsnd::set_sent(end);
        if guc::vars::UPDATE_PROCESS_TITLE.get() {
            ps_status::set_activity(&format!("streaming {end}"));
        }
        Ok(())
    }

    /// Nothing after CopyDone. C: `WalSndKeepalive`.
    pub(crate) fn put_keepalive(&mut self, wants_answer: bool) {
        if self.done_sending {
            return;
        }
        ereport!(Debug2, "sending replication keepalive");
        let sent = self.sent;
        reply::message(self.port.out(), b'd', |out| {
            out.push(b'k');
            out.extend_from_slice(&sent.0.to_be_bytes());
            out.extend_from_slice(&activity::now().to_be_bytes());
            out.push(u8::from(wants_answer));
        });
        if wants_answer {
            self.waits_for_answer = true;
            self.meter.asked(self.last_look);
        }
    }

    /// `wal_sender_timeout`, if it is on.
    fn timeout() -> Option<Duration> {
        let millis = u64::try_from(guc::vars::WAL_SENDER_TIMEOUT.get()).ok().filter(|millis| *millis > 0)?;
        Some(Duration::from_millis(millis))
    }

    /// C: `WalSndCheckTimeOut`.
    fn has_timed_out(&self) -> bool {
        let Some(timeout) = Self::timeout() else { return false };
        if self.last_look < self.last_reply + timeout {
            return false;
        }
        // For the log alone: who does not answer does not listen either.
        pg_error!(
            LogServerOnly,
            SqlState::SUCCESSFUL_COMPLETION,
            "terminating walsender process due to replication timeout"
        )
        .report();
        true
    }

    /// After half of `wal_sender_timeout` without a reply, asks for one. C: `WalSndKeepaliveIfNecessary`.
    fn keep_alive(&mut self) -> Step {
        let Some(timeout) = Self::timeout() else { return Step::GoOn };
        if self.waits_for_answer || self.done_sending || self.last_look < self.last_reply + timeout / 2 {
            return Step::GoOn;
        }
        self.put_keepalive(true);
        self.flush()
    }

    /// Who wants to stop the server, or to know how long that takes, depends on what the receiver says: one that lacks something
    /// and reports at long intervals only is asked (WA10).
    fn ask_how_far(&mut self) -> Step {
        if !stopping::has_begun() || self.waits_for_answer || self.done_sending {
            return Step::GoOn;
        }
        match self.meter.silence(self.last_look) {
            Some(silence) if silence >= SILENCE_MAX => {}
            _ => return Step::GoOn,
        }
        self.put_keepalive(true);
        self.flush()
    }

    /// See [`UNREAD_MAX`].
    pub(crate) fn is_choked(&mut self) -> bool {
        self.port.out().len() > UNREAD_MAX
    }

    /// Sleeps, unless there is more to be sent or read at once. Differs from PG 15 in that the client's CopyDone is slept for
    /// too. C: the end of the loop of `WalSndLoop`, `WalSndWait`.
    fn sleep(&mut self) {
        let (pending, choked) = (self.port.is_send_pending(), self.is_choked());
        if !pending && !self.caught_up || self.may_have_more && !choked {
            return;
        }
        let mut events = Wake::LATCH_OR_DEATH;
        if !self.done_receiving && !choked {
            events |= Wake::SOCKET_READABLE;
        }
        if pending {
            events |= Wake::SOCKET_WRITEABLE;
        }
        let socket = self.port.socket().as_raw_fd();
        // A farewell goes through the port: here is a place for it.
        signals::set_safe_point(true);
        let woken = latch::wait_socket(socket, events, Some(self.patience()), WaitEvent::WAL_SENDER_MAIN);
        signals::set_safe_point(false);
        if woken.postmaster_died() {
            exit::proc_exit(1);
        }
    }

    /// How long nothing need be done.
    fn patience(&self) -> Duration {
        let bound = stopping::time_left();
        let mut patience = self.reply_patience().min(bound.unwrap_or(Duration::MAX));
        if stopping::has_begun() && !self.waits_for_answer {
            patience = patience.min(SILENCE_MAX);
        }
        // Never quite zero: the moment itself must have passed when we look.
        patience.max(Duration::from_millis(1))
    }

    /// The same for the client's replies. C: `WalSndComputeSleeptime`.
    fn reply_patience(&self) -> Duration {
        let Some(timeout) = Self::timeout() else { return LONG_SLEEP };
        let until = if self.waits_for_answer || self.done_sending { timeout } else { timeout / 2 };
        (self.last_reply + until).saturating_duration_since(Instant::now())
    }
}

/// SIGHUP while streaming.
fn reload() {
    if let Err(error) = miscinit::config::reload() {
        error.report();
    }
    syncrep::init_walsender_config();
    // Fewer standbys may do now, or others: who waits need not wait for the next reply.
    syncrep::release_waiters();
}

/// Where a message from `start` ends if WAL up to `limit` may be sent, and whether that is all of it. If it is not, it ends at a
/// page: a standby then writes whole pages.
fn end_of_message(start: Lsn, limit: Lsn) -> (Lsn, bool) {
    let end = start + SEND_MAX;
    if limit <= end { (limit, true) } else { (Lsn(end.0 - end.0 % XLOG_BLCKSZ as u64), false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_at_pages() {
        let page = XLOG_BLCKSZ as u64;
        let check = |start: u64, limit: u64, expected: (u64, bool)| {
            assert_eq!(end_of_message(Lsn(start), Lsn(limit)), (Lsn(expected.0), expected.1));
        };
        check(5, 9, (9, true));
        check(0, 16 * page, (16 * page, true));
        check(0, 16 * page + 1, (16 * page, false));
        check(100, 40 * page, (16 * page, false));
        check(3 * page, 40 * page, (19 * page, false));
    }
}
