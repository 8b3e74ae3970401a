//! A report as plain text: the lines of the ordinary server log.
//!
//! ```text
//! 2015-08-03 17:20:25.824 CST [2850] ERROR:  22012: division by zero
//! 2015-08-03 17:20:25.824 CST [2850] LOCATION:  int4div, int.c:846
//! 2015-08-03 17:20:25.824 CST [2850] STATEMENT:  select 1/0;
//! ```
//!
//! C counterpart: `send_message_to_server_log` in elog.c.

use crate::config::{Active, Verbosity};
use crate::prefix::{LineFacts, TimeCaches, put};
use crate::{ErrorData, Timestamp, session::SessionInfo};

/// What every format needs to write one report.
pub(crate) struct Report<'a> {
    pub(crate) error: &'a ErrorData,
    pub(crate) session: &'a SessionInfo,
    pub(crate) pid: i32,
    pub(crate) now: Timestamp,
    pub(crate) active: &'a Active,
    /// The statement to log with it, if it is bad enough to bring it along.
    pub(crate) statement: Option<&'a str>,
}

/// Appends the lines of one report. Every line counts in `line_number`.
pub(crate) fn write(out: &mut Vec<u8>, report: &Report<'_>, line_number: &mut u64, times: &mut TimeCaches) {
    let mut lines = Lines { out, report, line_number, times };
    let error = report.error;
    let verbosity = report.active.config.log_error_verbosity;
    lines.begin(error.severity.word());
    if verbosity == Verbosity::Verbose {
        put(lines.out, format_args!("{}: ", error.sqlstate));
    }
    lines.tabbed(if error.message.is_empty() { "missing error text" } else { &error.message });
    if let Some(position) = error.position.or(error.internal_position).filter(|at| *at > 0) {
        put(lines.out, format_args!(" at character {position}"));
    }
    lines.out.push(b'\n');
    if verbosity >= Verbosity::Default {
        lines.extra("DETAIL", error.detail_log.as_deref().or(error.detail.as_deref()));
        lines.extra("HINT", error.hint.as_deref());
        lines.extra("QUERY", error.internal_query.as_deref());
        lines.extra("CONTEXT", error.context.as_deref());
    }
    if verbosity == Verbosity::Verbose {
        lines.begin("LOCATION");
        let at = &error.location;
        put(lines.out, format_args!("{}, {}:{}\n", at.routine, at.file, at.line));
    }
    lines.extra("STATEMENT", report.statement);
}

struct Lines<'a> {
    out: &'a mut Vec<u8>,
    report: &'a Report<'a>,
    line_number: &'a mut u64,
    times: &'a mut TimeCaches,
}

impl Lines<'_> {
    fn begin(&mut self, label: &str) {
        *self.line_number += 1;
        let facts = LineFacts {
            session: self.report.session,
            pid: self.report.pid,
            now: self.report.now,
            timezone: &self.report.active.timezone,
            line_number: *self.line_number,
            sqlstate: self.report.error.sqlstate,
        };
        self.report.active.prefix.write(self.out, &facts, self.times);
        self.out.extend_from_slice(label.as_bytes());
        self.out.extend_from_slice(b":  ");
    }

    fn extra(&mut self, label: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.begin(label);
            self.tabbed(text);
            self.out.push(b'\n');
        }
    }

    /// Indents continuation lines, so that a line without a tab in front is always the begin of an entry.
    fn tabbed(&mut self, text: &str) {
        for (i, line) in text.split('\n').enumerate() {
            if i > 0 {
                self.out.extend_from_slice(b"\n\t");
            }
            self.out.extend_from_slice(line.as_bytes());
        }
    }
}
