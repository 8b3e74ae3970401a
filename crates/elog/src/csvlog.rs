//! A report as a row of 26 columns, ready for `COPY`.
//!
//! C counterpart: csvlog.c.

use crate::config::Verbosity;
use crate::prefix::{TimeCaches, put, write_remote, write_session_id, write_vxid};
use crate::text::Report;

/// Appends one row. Rows have a count of their own, so a csvlog is numbered without gaps.
pub(crate) fn write(out: &mut Vec<u8>, report: &Report<'_>, line_number: &mut u64, times: &mut TimeCaches) {
    *line_number += 1;
    write_who(out, report, *line_number, times);
    write_what(out, report);
    let session = report.session;
    quoted(out, Some(&session.application_name));
    out.push(b',');
    quoted(out, Some(session.backend_type.description()));
    out.push(b',');
    if session.leader_pid != 0 {
        put(out, format_args!("{}", session.leader_pid));
    }
    put(out, format_args!(",{}\n", session.query_id));
}

/// Columns 1 to 11: `log_time` to `transaction_id`.
fn write_who(out: &mut Vec<u8>, report: &Report<'_>, line_number: u64, times: &mut TimeCaches) {
    let (session, timezone) = (report.session, &report.active.timezone);
    times.now.append(out, report.now, true, timezone);
    out.push(b',');
    quoted(out, session.user.as_deref().filter(|_| session.has_client()));
    out.push(b',');
    quoted(out, session.database.as_deref().filter(|_| session.has_client()));
    put(out, format_args!(",{},", report.pid));
    if session.has_client() {
        out.push(b'"');
        write_remote(out, session, (b":", b""));
        out.push(b'"');
    }
    out.push(b',');
    write_session_id(out, session, report.pid);
    put(out, format_args!(",{line_number},"));
    if session.has_client() {
        quoted(out, Some(&session.command_tag));
    }
    out.push(b',');
    times.session_start.append(out, session.session_start.into(), false, timezone);
    out.push(b',');
    write_vxid(out, session);
    put(out, format_args!(",{},", session.xid));
}

/// Columns 12 to 22: `error_severity` to `location`.
fn write_what(out: &mut Vec<u8>, report: &Report<'_>) {
    let error = report.error;
    put(out, format_args!("{},{},", error.severity.word(), error.sqlstate));
    quoted(out, Some(&error.message));
    out.push(b',');
    quoted(out, error.detail_log.as_deref().or(error.detail.as_deref()));
    out.push(b',');
    quoted(out, error.hint.as_deref());
    out.push(b',');
    quoted(out, error.internal_query.as_deref());
    out.push(b',');
    if let (Some(position @ 1..), Some(_)) = (error.internal_position, &error.internal_query) {
        put(out, format_args!("{position}"));
    }
    out.push(b',');
    quoted(out, error.context.as_deref());
    out.push(b',');
    quoted(out, report.statement);
    out.push(b',');
    if let (Some(position @ 1..), Some(_)) = (error.position, report.statement) {
        put(out, format_args!("{position}"));
    }
    out.push(b',');
    if report.active.config.log_error_verbosity == Verbosity::Verbose {
        let at = &error.location;
        quoted(out, Some(&format!("{}, {}:{}", at.routine, at.file, at.line)));
    }
    out.push(b',');
}

/// Appends text in double quotes, its own doubled; nothing at all for a null. C: `appendCSVLiteral`.
fn quoted(out: &mut Vec<u8>, text: Option<&str>) {
    let Some(text) = text else { return };
    out.push(b'"');
    for (i, part) in text.split('"').enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: Option<&str>, expected: &str) {
        let mut out = Vec::new();
        quoted(&mut out, text);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn quoting() {
        check(None, "");
        check(Some(""), "\"\"");
        check(Some("a,b\nc"), "\"a,b\nc\"");
        check(Some("say \"hi\""), "\"say \"\"hi\"\"\"");
        check(Some("\""), "\"\"\"\"");
    }
}
