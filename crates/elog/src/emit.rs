//! Routing: which report goes to the log, which to the client, and by which road.
//!
//! ```text
//!                     +-- log_min_messages ------> stderr | chunks to the logger | the logger's own files
//! PgError::report ----+
//!                     +-- client_min_messages ---> client sink (the backend's protocol layer)
//! ```
//!
//! All state is local to the process's one thread and survives a fork, so children log as their parent did
//! until told otherwise.
//!
//! C counterpart: `EmitErrorReport`, `should_output_to_server`, `should_output_to_client`, `write_console`,
//! `write_pipe_chunks`, `write_stderr` in elog.c.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use common::BackendType;
use nix::errno::Errno;

use crate::config::{Active, LogConfig};
use crate::pipe::{self, Destination};
use crate::prefix::TimeCaches;
use crate::text::Report;
use crate::{PgError, Severity, Timestamp, csvlog, jsonlog, session, text};

/// A report made while reporting is still logged; this deep, something is broken and only bare text gets out.
const DEPTH_MAX: u32 = 4;
/// A line buffer that grew beyond this is not kept.
const BUFFER_KEEP_MAX: usize = 64 * 1024;

/// Takes the lines of the logger itself, which has no use for its own pipe.
pub type LoggerWriter = fn(&[u8], Destination);
/// Says what a process is in the middle of.
pub type ContextSource = fn() -> Option<String>;
/// Takes the reports that concern the client.
pub type ClientSink = fn(&PgError);

thread_local! {
    static LOG_MIN: Cell<Severity> = const { Cell::new(Severity::Warning) };
    static CLIENT_MIN: Cell<Severity> = const { Cell::new(Severity::Notice) };
    static CONTEXT_SOURCE: Cell<Option<ContextSource>> = const { Cell::new(None) };
    static CLIENT_SINK: Cell<Option<ClientSink>> = const { Cell::new(None) };
    static CLIENT_AUTH_IN_PROGRESS: Cell<bool> = const { Cell::new(false) };
    static LOGGER_WRITER: Cell<Option<LoggerWriter>> = const { Cell::new(None) };
    static REDIRECTED: Cell<bool> = const { Cell::new(false) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

struct State {
    active: Active,
    times: TimeCaches,
    /// The pid that `counts` belongs to: a forked child begins at 1 again.
    counted_pid: i32,
    /// Lines so far, for each [`Destination`].
    counts: [u64; 3],
    buffer: Vec<u8>,
}

impl State {
    fn new(config: LogConfig) -> State {
        let (times, active) = (TimeCaches::default(), Active::new(config));
        State { active, times, counted_pid: 0, counts: [0; 3], buffer: Vec::new() }
    }
}

pub(crate) fn apply(config: LogConfig) {
    LOG_MIN.set(config.log_min_messages);
    CLIENT_MIN.set(config.client_min_messages);
    crate::facade::limit_to(config.log_min_messages.min(config.client_min_messages));
    STATE.with_borrow_mut(|state| match state {
        Some(state) => {
            if state.active.config == config {
                return;
            }
            if state.active.config.log_timezone != config.log_timezone {
                state.times.now.forget();
                state.times.session_start.forget();
            }
            state.active = Active::new(config);
        }
        None => *state = Some(State::new(config)),
    });
}

/// Changes only what reaches the client, as SET does in the middle of a session: cheaper than a whole
/// [`apply`](crate::config::apply).
pub fn set_client_min_messages(severity: Severity) {
    CLIENT_MIN.set(severity);
    let log_min = LOG_MIN.get();
    crate::facade::limit_to(log_min.min(severity));
    STATE.with_borrow_mut(|state| {
        state.get_or_insert_with(|| State::new(LogConfig::default())).active.config.client_min_messages =
            severity;
    });
}

/// Registers where reports for the client go; `None` once there is no client to talk to. C:
/// `whereToSendOutput`.
pub fn set_client_sink(sink: Option<ClientSink>) {
    CLIENT_SINK.set(sink);
}

/// Registers what every report of this process gets as its last line of CONTEXT; an error that travels up through
/// `Result` gets its context on the way and is reported when the work it belongs to is over. C: `error_context_stack`.
pub fn set_context_source(source: Option<ContextSource>) {
    CONTEXT_SOURCE.set(source);
}

/// The line of [`set_context_source`], for a report that somebody will see. What the source itself reports has none.
pub(crate) fn current_context(severity: Severity) -> Option<String> {
    if !wants(severity) {
        return None;
    }
    let source = CONTEXT_SOURCE.take()?;
    let context = source();
    CONTEXT_SOURCE.set(Some(source));
    context
}

/// While a client proves who it is, it learns of nothing milder than an ERROR: `client_min_messages` is not its
/// own yet. C: `ClientAuthInProgress`.
pub fn set_client_auth_in_progress(in_progress: bool) {
    CLIENT_AUTH_IN_PROGRESS.set(in_progress);
}

/// Registers how the logger writes its own lines into its files.
pub fn set_logger_writer(writer: Option<LoggerWriter>) {
    LOGGER_WRITER.set(writer);
}

/// Points stdout and stderr of this process, and of children forked from now on, to the logger's pipe, and
/// speaks its protocol there.
pub fn redirect_to_syslogger(pipe_write_end: BorrowedFd<'_>) -> io::Result<()> {
    nix::unistd::dup2_stdout(pipe_write_end)?;
    nix::unistd::dup2_stderr(pipe_write_end)?;
    REDIRECTED.set(true);
    Ok(())
}

/// Whether [`redirect_to_syslogger`] has been called. C: `redirection_done`.
pub fn is_redirected() -> bool {
    REDIRECTED.get()
}

/// Whether a report of this severity would reach anybody: ask before doing work just to report it. C:
/// `message_level_is_interesting`.
pub fn wants(severity: Severity) -> bool {
    log_wants(severity) || client_wants(severity)
}

/// C: `should_output_to_server`.
fn log_wants(severity: Severity) -> bool {
    severity != Severity::WarningClientOnly && severity.rank_in_log() >= LOG_MIN.get().rank_in_log()
}

/// C: `should_output_to_client`.
fn client_wants(severity: Severity) -> bool {
    if CLIENT_SINK.get().is_none() || severity == Severity::LogServerOnly {
        return false;
    }
    if CLIENT_AUTH_IN_PROGRESS.get() {
        return severity >= Severity::Error;
    }
    severity >= CLIENT_MIN.get() || severity == Severity::Info || severity >= Severity::Error
}

/// Counts how deep reports made while reporting are nested.
struct Depth(u32);

impl Depth {
    fn enter() -> Depth {
        DEPTH.set(DEPTH.get() + 1);
        Depth(DEPTH.get())
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.set(self.0 - 1);
    }
}

/// Sends a report on its way.
pub(crate) fn emit(error: &PgError) {
    let severity = error.severity;
    if !wants(severity) {
        return;
    }
    let depth = Depth::enter();
    if depth.0 > DEPTH_MAX {
        return emergency(&format!("{}:  {}", severity.word(), error.message));
    }
    if log_wants(severity) {
        write_to_log(error);
    }
    // The sink failing must not call the sink.
    if depth.0 == 1
        && client_wants(severity)
        && let Some(sink) = CLIENT_SINK.get()
    {
        sink(error);
    }
}

fn write_to_log(error: &PgError) {
    let now = Timestamp::now();
    let to = STATE.with_borrow_mut(|state| {
        state.get_or_insert_with(|| State::new(LogConfig::default())).active.config.log_destination
    });
    let is_logger = LOGGER_WRITER.get().is_some();
    let files_work = is_logger || REDIRECTED.get();
    if files_work && to.csvlog {
        send(error, now, Destination::Csvlog);
    }
    if files_work && to.jsonlog {
        send(error, now, Destination::Jsonlog);
    }
    // Without a logger there is nobody to write the other files; the report still has to be seen.
    if to.stderr || is_logger || (!files_work && (to.csvlog || to.jsonlog)) {
        send(error, now, Destination::Stderr);
    }
}

/// Formats and writes; the state is not borrowed any more while writing.
fn send(error: &PgError, now: Timestamp, to: Destination) {
    let formatted = session::with_or_default(|session| {
        let pid = session.log_pid();
        STATE.with(|state| {
            let mut state = state.try_borrow_mut().ok()?;
            let state = state.as_mut()?;
            let mut buffer = std::mem::take(&mut state.buffer);
            buffer.clear();
            state.format(&mut buffer, error, now, session, pid, to);
            Some((buffer, pid, session.backend_type))
        })
    });
    let Some((buffer, pid, kind)) = formatted else {
        return emergency(&format!("{}:  {}", error.severity.word(), error.message));
    };
    route(&buffer, pid, kind, to);
    if buffer.capacity() <= BUFFER_KEEP_MAX {
        STATE.with(|state| {
            if let Ok(mut state) = state.try_borrow_mut()
                && let Some(state) = state.as_mut()
            {
                state.buffer = buffer;
            }
        });
    }
}

impl State {
    fn format(
        &mut self,
        buffer: &mut Vec<u8>,
        error: &PgError,
        now: Timestamp,
        session: &session::SessionInfo,
        pid: i32,
        to: Destination,
    ) {
        if self.counted_pid != pid {
            self.counted_pid = pid;
            self.counts = [0; 3];
        }
        let threshold = self.active.config.log_min_error_statement.rank_in_log();
        let with_statement = error.severity.rank_in_log() >= threshold && !error.hide_statement;
        let report = Report {
            error,
            session,
            pid,
            now,
            active: &self.active,
            statement: session.statement.as_deref().filter(|_| with_statement),
        };
        let count = &mut self.counts[to as usize];
        match to {
            Destination::Stderr => text::write(buffer, &report, count, &mut self.times),
            Destination::Csvlog => csvlog::write(buffer, &report, count, &mut self.times),
            Destination::Jsonlog => jsonlog::write(buffer, &report, count, &mut self.times),
        }
    }
}

fn route(bytes: &[u8], pid: i32, kind: BackendType, to: Destination) {
    if let Some(write_file) = LOGGER_WRITER.get() {
        // Its stderr is normally /dev/null by now; before that it is the last resort.
        if to == Destination::Stderr && kind == BackendType::Logger {
            write_stderr(bytes);
        }
        return write_file(bytes, to);
    }
    if REDIRECTED.get() { write_chunks(bytes, pid, to) } else { write_stderr(bytes) }
}

/// Sends a message to the logger. C: `write_pipe_chunks`.
fn write_chunks(message: &[u8], pid: i32, to: Destination) {
    let stderr = io::stderr();
    for (header, share) in pipe::chunks(pid, message, to) {
        let parts = [IoSlice::new(&header), IoSlice::new(share)];
        // All or nothing, being no longer than PIPE_BUF. A failure has nowhere to be reported to.
        while nix::sys::uio::writev(stderr.as_fd(), &parts) == Err(Errno::EINTR) {}
    }
}

/// Writes to stderr, past all buffers, whatever it is connected to. C: `write_console`.
fn write_stderr(mut bytes: &[u8]) {
    let stderr = io::stderr();
    while !bytes.is_empty() {
        match nix::unistd::write(stderr.as_fd(), bytes) {
            Ok(0) => return,
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Writes a line straight to stderr, for when the log cannot be used (yet, or any more). C: `write_stderr`.
pub fn emergency(message: &str) {
    let mut line = String::with_capacity(message.len() + 1);
    line.push_str(message);
    if !line.ends_with('\n') {
        line.push('\n');
    }
    write_stderr(line.as_bytes());
}

#[cfg(test)]
#[path = "emit_tests.rs"]
mod tests;
