//! The commands of replication, and the stream.
//!
//! C counterpart: libpqwalreceiver.c.

use std::ops::Range;
use std::time::{Duration, Instant};

use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, error};
use shmem::wait_event::WaitEvent;

use super::connect::Connection;
use super::message::{ServerError, append, data_row};
use super::{Attempt, Failure};

const EVENT: WaitEvent = WaitEvent::LIBPQWALRECEIVER_RECEIVE;

/// Every answer has one row, or none.
const ROWS_MAX: usize = 16;
/// Longest text of errors that is kept.
const ERRORS_BYTES_MAX: usize = 64 << 10;

/// What `IDENTIFY_SYSTEM` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct System {
    pub(crate) identifier: String,
    pub(crate) timeline: TimeLineId,
    /// Where its durable WAL ends.
    pub(crate) flushed: Lsn,
}

/// What came over the stream.
#[derive(Debug)]
pub(crate) enum Received {
    /// A message; [`super::wire::Wire::body`] has its bytes.
    Data(Range<usize>),
    /// Nothing more at the moment.
    Nothing,
    /// The server has ended the stream.
    End,
}

/// What a command answers.
#[derive(Debug, Default)]
struct Answer {
    rows: Vec<Vec<Option<Vec<u8>>>>,
    fields: usize,
    /// The stream has begun.
    copy_both: bool,
}

fn protocol_violation(text: String) -> PgError {
    error!(SqlState::PROTOCOL_VIOLATION, "{text}")
}

fn connection_failure(text: String) -> PgError {
    error!(SqlState::CONNECTION_FAILURE, "{text}")
}

fn text(column: Option<&Option<Vec<u8>>>) -> String {
    let bytes = column.and_then(Option::as_deref).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}

fn malformed(kind: u8) -> Failure {
    Failure::new(format!("insufficient data in \"{}\" message", char::from(kind)))
}

impl Connection {
    /// Runs a command and takes its answer. C: `libpqrcv_PQexec`.
    fn execute(&mut self, command: &str) -> Attempt<Answer> {
        append(self.wire.out(), b'Q', |out| {
            out.extend_from_slice(command.as_bytes());
            out.push(0);
        });
        self.within_limit(|connection| {
            connection.wire.flush(EVENT)?;
            connection.answer()
        })
    }

    /// Within `wal_receiver_timeout`. C has no limit outside of the stream: a primary that has stopped in its tracks is waited for
    /// until TCP gives up, and meanwhile nobody looks for WAL elsewhere.
    fn within_limit<T>(&mut self, exchange: impl FnOnce(&mut Connection) -> Attempt<T>) -> Attempt<T> {
        let limit = guc::vars::WAL_RECEIVER_TIMEOUT.get();
        let deadline = (limit > 0).then(|| Instant::now() + Duration::from_millis(limit as u64));
        self.wire.set_deadline(deadline);
        let result = exchange(self);
        self.wire.set_deadline(None);
        result
    }

    /// All of the answer, up to `ReadyForQuery` or the begin of a stream.
    fn answer(&mut self) -> Attempt<Answer> {
        let mut answer = Answer::default();
        let mut failed = String::new();
        loop {
            let message = match self.wire.wait_for_message(EVENT) {
                Ok(message) => message,
                Err(Failure::Text(why)) => return Err(Failure::Text(failed + &why)),
                Err(interrupted) => return Err(interrupted),
            };
            match message.kind {
                b'T' => {
                    let count = message.body.first_chunk::<2>().ok_or_else(|| malformed(b'T'))?;
                    answer.fields = u16::from_be_bytes(*count).into();
                }
                b'D' if answer.rows.len() < ROWS_MAX => {
                    answer.rows.push(data_row(&message.body).ok_or_else(|| malformed(b'D'))?);
                }
                b'D' => return Err(Failure::new("more rows than any of our commands has")),
                // One that follows another one says less.
                b'E' if failed.len() < ERRORS_BYTES_MAX => {
                    failed.push_str(&ServerError::parse(&message.body).text())
                }
                b'W' if failed.is_empty() => {
                    answer.copy_both = true;
                    return Ok(answer);
                }
                b'Z' if failed.is_empty() => return Ok(answer),
                b'Z' => return Err(Failure::Text(failed)),
                other => self.take_note(other, &message.body),
            }
        }
    }

    /// Who the server is. C: `libpqrcv_identify_system`.
    ///
    /// # Errors
    /// 08P01.
    pub(crate) fn identify_system(&mut self) -> Result<System> {
        let answer = self.execute("IDENTIFY_SYSTEM").map_err(|failure| {
            failure.into_error(|why| {
                protocol_violation(format!(
                    "could not receive database system identifier and timeline ID from the primary server: {why}"
                ))
            })
        })?;
        let invalid = || {
            protocol_violation("invalid response from primary server".into()).detail(format!(
                "Could not identify system: got {} rows and {} fields, expected 1 rows and 3 or more fields.",
                answer.rows.len(),
                answer.fields
            ))
        };
        let [row] = &answer.rows[..] else { return Err(invalid()) };
        if row.len() < 3 {
            return Err(invalid());
        }
        let position = text(row.get(2));
        Ok(System {
            identifier: text(row.first()),
            timeline: TimeLineId(text(row.get(1)).parse().unwrap_or(0)),
            flushed: position
                .parse()
                .map_err(|_| protocol_violation(format!("could not parse WAL location \"{position}\"")))?,
        })
    }

    /// Name and contents of a timeline's history file. C: `libpqrcv_readtimelinehistoryfile`.
    ///
    /// # Errors
    /// 08P01.
    pub(crate) fn timeline_history(&mut self, tli: TimeLineId) -> Result<(String, Vec<u8>)> {
        let answer = self.execute(&format!("TIMELINE_HISTORY {}", tli.0)).map_err(|failure| {
            failure.into_error(|why| {
                protocol_violation(format!(
                    "could not receive timeline history file from the primary server: {why}"
                ))
            })
        })?;
        match &answer.rows[..] {
            [row] if row.len() == 2 => Ok((text(row.first()), row[1].clone().unwrap_or_default())),
            rows => Err(protocol_violation("invalid response from primary server".into()).detail(format!(
                "Expected 1 tuple with 2 fields, got {} tuples with {} fields.",
                rows.len(),
                answer.fields
            ))),
        }
    }

    /// Makes a slot that ends with this connection. C: `libpqrcv_create_slot`.
    ///
    /// # Errors
    /// 08P01.
    pub(crate) fn create_temporary_slot(&mut self, name: &str) -> Result<()> {
        let options = if self.server_version() >= 150_000 { "(RESERVE_WAL)" } else { "RESERVE_WAL" };
        let command = format!("CREATE_REPLICATION_SLOT \"{name}\" TEMPORARY PHYSICAL {options}");
        let made = self.execute(&command).map_err(|failure| {
            failure.into_error(|why| {
                protocol_violation(format!("could not create replication slot \"{name}\": {why}"))
            })
        });
        made.map(drop)
    }

    /// Begins the stream; false if the server has nothing (more) on this timeline. C: `libpqrcv_startstreaming`.
    ///
    /// # Errors
    /// 08P01, with what the server says.
    pub(crate) fn start_streaming(
        &mut self,
        slot: Option<&str>,
        start: Lsn,
        tli: TimeLineId,
    ) -> Result<bool> {
        let slot = slot.map(|name| format!(" SLOT \"{name}\"")).unwrap_or_default();
        let command = format!("START_REPLICATION{slot} {start} TIMELINE {}", tli.0);
        let answer = self.execute(&command).map_err(|failure| {
            failure.into_error(|why| protocol_violation(format!("could not start WAL streaming: {why}")))
        })?;
        self.stream_over = !answer.copy_both;
        Ok(answer.copy_both)
    }

    /// The next message of the stream, without waiting. C: `libpqrcv_receive`.
    ///
    /// # Errors
    /// 08006 if the connection breaks, 08P01 with the server's error.
    pub(crate) fn receive(&mut self) -> Result<Received> {
        loop {
            let next = self.wire.next().map_err(|failure| self.receive_failed(failure))?;
            let Some((kind, range)) = next else {
                match self.wire.read() {
                    Ok(true) => continue,
                    Ok(false) => return Ok(Received::Nothing),
                    Err(failure) => return Err(self.receive_failed(failure)),
                }
            };
            match kind {
                b'd' => return Ok(Received::Data(range)),
                // The timeline has ended there; the server waits for our own word.
                b'c' => return Ok(Received::End),
                b'C' => return self.after_complete(),
                b'E' => {
                    let why = ServerError::parse(self.wire.body(range)).text();
                    let why = why.trim_end_matches('\n');
                    return Err(protocol_violation(format!("could not receive data from WAL stream: {why}")));
                }
                other => {
                    let body = self.wire.body(range).to_vec();
                    self.take_note(other, &body);
                }
            }
        }
    }

    fn receive_failed(&mut self, failure: Failure) -> PgError {
        failure.into_error(|why| connection_failure(format!("could not receive data from WAL stream: {why}")))
    }

    /// The server has said that the command is done without having ended the stream: it shuts down, and closes next.
    fn after_complete(&mut self) -> Result<Received> {
        self.last_error.clear();
        match self.within_limit(Connection::answer) {
            Ok(_) => {}
            Err(Failure::Text(why)) if self.wire.is_closed() => self.last_error = why,
            Err(failure) => {
                return Err(failure.into_error(|why| {
                    protocol_violation(format!("unexpected result after CommandComplete: {why}"))
                }));
            }
        }
        self.stream_over = true;
        Ok(Received::End)
    }

    /// Sends a message over the stream, as far as the socket takes it now; a broken connection is found out by reading.
    /// C: `libpqrcv_send`.
    pub(crate) fn send(&mut self, body: &[u8]) {
        // A later one says all that this one says.
        if !self.wire.is_clogged() {
            append(self.wire.out(), b'd', |out| out.extend_from_slice(body));
        }
        self.wire.flush_some();
    }

    /// Ends the stream after the server did; the timeline that follows, if it says so. C: `libpqrcv_endstreaming`.
    ///
    /// # Errors
    /// 08006, 08P01.
    pub(crate) fn end_streaming(&mut self) -> Result<Option<TimeLineId>> {
        let failed = |why: &str| {
            connection_failure(format!("could not send end-of-streaming message to primary: {why}"))
        };
        if self.stream_over {
            return Err(failed(&format!("{}no COPY in progress", self.last_error)));
        }
        append(self.wire.out(), b'c', |_| ());
        let sent = self.within_limit(|connection| connection.wire.flush(EVENT));
        sent.map_err(|failure| failure.into_error(failed))?;
        self.stream_over = true;
        let answer = self.within_limit(Connection::answer).map_err(|failure| {
            failure.into_error(|why| {
                protocol_violation(format!("error reading result of streaming command: {why}"))
            })
        })?;
        match &answer.rows[..] {
            [] => Ok(None),
            [row] if row.len() >= 2 => Ok(text(row.first()).parse().ok().map(TimeLineId)),
            _ => Err(protocol_violation("unexpected result set after end-of-streaming".into())),
        }
    }
}
