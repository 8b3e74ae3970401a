//! The loop while WAL comes.
//!
//! All that has come is taken and written; then the primary is told, what is written is made durable, and it is told again: one
//! fsync for however many messages have come meanwhile.
//!
//! C counterpart: the inner loop of `WalReceiverMain`, `XLogWalRcvProcessMsg`.

use std::time::{Duration, Instant};

use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, error, fatal, pg_error};
use miscinit::interrupt::{self, Pending};
use replication::walrcv::receiver;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

use crate::client::message::int64;
use crate::client::{Connection, Received};
use crate::files;
use crate::reply::Replies;
use crate::session::{Start, leave_if_told};

/// Bytes before the WAL in a message `w`: start, end of WAL, time.
const DATA_HEADER_BYTES: usize = 24;
/// So much may come without a pause before it is made durable all the same: whoever waits for a synchronous commit waits for
/// that. C waits for a pause, or the end of the segment.
const UNFLUSHED_BYTES_MAX: u64 = 4 << 20;
/// So many messages are taken at once before whatever else there is to do has its turn: a primary that never pauses must not
/// keep us from hearing anybody else.
const MESSAGES_AT_ONCE_MAX: u32 = 1024;
/// Counters are sent at most so often.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);

/// One stream.
struct Stream<'a> {
    connection: &'a mut Connection,
    start: Start,
    /// Where the next piece of WAL must begin.
    expected: Lsn,
    replies: Replies,
    /// When something came last. C: `last_recv_timestamp`.
    received_at: Instant,
    /// We have asked for a sign of life since. C: `ping_sent`.
    asked: bool,
    statistics_at: Instant,
}

/// What comes after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Everything that had come is done.
    Sleep,
    /// There may be more already; a look at the latch and the postmaster first.
    Look,
    /// The stream has ended.
    End,
}

/// Runs until the primary ends the stream; the timeline that follows there, if it says so.
///
/// # Errors
/// If the connection breaks or is silent for too long, recovery is over, or we are told to end.
pub(crate) fn run(connection: &mut Connection, start: Start) -> Result<Option<TimeLineId>> {
    let (replayed, _) = wal::recovery_point::replayed();
    files::begin(start.timeline, replayed);
    let now = Instant::now();
    let mut stream = Stream {
        connection,
        start,
        expected: start.at,
        replies: Replies::new(),
        received_at: now,
        asked: false,
        statistics_at: now,
    };
    loop {
        match stream.turn()? {
            After::Sleep => stream.sleep(None)?,
            After::Look => stream.sleep(Some(Duration::ZERO))?,
            After::End => break,
        }
    }
    // Only if the timeline has ended is its last segment complete, as far as it will ever be. A primary that just goes away
    // leaves one that is to be continued.
    let next = stream.connection.end_streaming()?;
    files::finish();
    Ok(next)
}

impl Stream<'_> {
    /// Whatever there is to do now.
    fn turn(&mut self) -> Result<After> {
        if !wal::in_recovery() {
            return Err(fatal!(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                "cannot continue WAL streaming, recovery has already ended"
            ));
        }
        interrupt::check()?;
        if interrupt::take(Pending::ConfigReload) {
            files::change_settings(auxprocess::reload_config)?;
            self.replies.send_feedback(self.connection, true);
        }
        let (came, after) = self.receive_all()?;
        if came {
            self.replies.send(self.connection, false, false);
            self.flush();
        }
        if after == After::End {
            let written = files::progress().written;
            pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "replication terminated by primary server")
                .detail(format!("End of WAL reached on timeline {} at {written}.", self.start.timeline))
                .report();
            return Ok(after);
        }
        if receiver::take_force_reply() {
            self.replies.send(self.connection, true, false);
        }
        self.keep_time()?;
        Ok(after)
    }

    /// Takes what has come, up to a limit: whether that was anything, and what comes next.
    fn receive_all(&mut self) -> Result<(bool, After)> {
        for taken in 0..MESSAGES_AT_ONCE_MAX {
            match self.connection.receive()? {
                Received::Nothing => return Ok((taken > 0, After::Sleep)),
                Received::End => return Ok((taken > 0, After::End)),
                Received::Data(range) => self.process(range)?,
            }
            let progress = files::progress();
            if progress.written.0.saturating_sub(progress.flushed.0) >= UNFLUSHED_BYTES_MAX {
                break;
            }
        }
        Ok((true, After::Look))
    }

    /// C: `XLogWalRcvProcessMsg`.
    fn process(&mut self, range: std::ops::Range<usize>) -> Result<()> {
        let body = self.connection.wire.body(range);
        self.received_at = Instant::now();
        self.asked = false;
        match body.split_first() {
            Some((b'w', rest)) => {
                let Some((header, data)) = rest.split_at_checked(DATA_HEADER_BYTES) else {
                    return Err(invalid("WAL"));
                };
                let number = |at: usize| int64(&header[at..]).map_or(0, |(number, _)| number);
                let begin = Lsn(number(0) as u64);
                check_place(begin, self.expected)?;
                self.expected = begin + data.len() as u64;
                receiver::note_message(Lsn(number(8) as u64), number(16), activity::now());
                if files::write(data, begin)? {
                    // A segment is complete, and durable.
                    self.tell_flushed();
                }
                Ok(())
            }
            Some((b'k', rest)) => {
                let &[ref numbers @ .., request] = rest else { return Err(invalid("keepalive")) };
                if numbers.len() != 16 {
                    return Err(invalid("keepalive"));
                }
                let number = |at: usize| int64(&numbers[at..]).map_or(0, |(number, _)| number);
                receiver::note_message(Lsn(number(0) as u64), number(8), activity::now());
                if request != 0 {
                    self.replies.send(self.connection, true, false);
                }
                Ok(())
            }
            kind => Err(error!(
                SqlState::PROTOCOL_VIOLATION,
                "invalid replication message type {}",
                kind.map_or(0, |(kind, _)| *kind)
            )),
        }
    }

    fn flush(&mut self) {
        if files::flush() {
            self.tell_flushed();
        }
    }

    /// First whoever waits for it to commit, then those who replay it and pass it on (RV10); the other way round where commits wait
    /// for replay. Each of them may have our processor as soon as it is woken. C: the second half of `XLogWalRcvFlush`, which
    /// wakes the startup process first.
    fn tell_flushed(&mut self) {
        if receiver::take_apply_awaited() {
            files::announce();
        }
        self.replies.send(self.connection, false, false);
        files::announce();
        self.replies.send_feedback(self.connection, false);
    }

    /// What is due by the clock.
    fn keep_time(&mut self) -> Result<()> {
        let mut request = false;
        if let Some((limit, half)) = time_limit() {
            let silent = self.received_at.elapsed();
            if silent >= limit {
                return Err(error!(SqlState::CONNECTION_FAILURE, "terminating walreceiver due to timeout"));
            }
            if !self.asked && silent >= half {
                request = true;
                self.asked = true;
            }
        }
        self.replies.send(self.connection, request, request);
        self.replies.send_feedback(self.connection, false);
        self.connection.wire.flush_some();
        if self.statistics_at.elapsed() >= STATISTICS_INTERVAL {
            self.statistics_at = Instant::now();
            pgstat::report_wal();
        }
        Ok(())
    }

    fn time_to_next(&self) -> Option<Duration> {
        let next_limit =
            time_limit().map(|(limit, half)| self.received_at + if self.asked { limit } else { half });
        let due = [next_limit, self.replies.next_due()].into_iter().flatten().min();
        due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Until something comes or is due; with a limit, no longer than that.
    fn sleep(&mut self, at_most: Option<Duration>) -> Result<()> {
        debug_assert!(files::is_announced(), "RV10");
        let timeout = at_most.or_else(|| self.time_to_next());
        let mut events = Wake::LATCH_OR_DEATH | Wake::SOCKET_READABLE;
        events.set(Wake::SOCKET_WRITEABLE, self.connection.wire.has_output());
        let woken =
            latch::wait_socket(self.connection.wire.fd(), events, timeout, WaitEvent::WAL_RECEIVER_MAIN);
        leave_if_told(woken)
    }
}

/// RV9: a piece that comes out of order would leave a hole, and what follows it would be announced all the same.
fn check_place(begin: Lsn, expected: Lsn) -> Result<()> {
    if begin == expected {
        return Ok(());
    }
    Err(invalid("WAL").detail(format!("It begins at {begin}, where {expected} was expected.")))
}

fn invalid(what: &str) -> elog::PgError {
    error!(SqlState::PROTOCOL_VIOLATION, "invalid {what} message received from primary")
}

/// `wal_receiver_timeout`, and the half of it, after which we ask.
fn time_limit() -> Option<(Duration, Duration)> {
    let millis = guc::vars::WAL_RECEIVER_TIMEOUT.get();
    (millis > 0).then(|| {
        let limit = Duration::from_millis(millis as u64);
        (limit, limit / 2)
    })
}
