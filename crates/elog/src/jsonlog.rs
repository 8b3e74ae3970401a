//! A report as a JSON object on one line.
//!
//! C counterpart: jsonlog.c. A key without a value is left out.

use crate::config::Verbosity;
use crate::prefix::{TimeCaches, put, write_session_id, write_vxid};
use crate::text::Report;

/// Appends one object. Objects have a count of their own.
pub(crate) fn write(out: &mut Vec<u8>, report: &Report<'_>, line_number: &mut u64, times: &mut TimeCaches) {
    *line_number += 1;
    let mut object = Object { out, first: true };
    write_who(&mut object, report, *line_number, times);
    write_what(&mut object, report);
    let session = report.session;
    object.text("application_name", Some(session.application_name.as_str()).filter(|name| !name.is_empty()));
    object.text("backend_type", Some(session.backend_type.description()));
    object.number("leader_pid", Some(session.leader_pid).filter(|pid| *pid != 0));
    object.number("query_id", Some(session.query_id));
    object.out.extend_from_slice(b"}\n");
}

fn write_who(object: &mut Object<'_>, report: &Report<'_>, line_number: u64, times: &mut TimeCaches) {
    let (session, timezone) = (report.session, &report.active.timezone);
    object.raw("timestamp", |out| times.now.append(out, report.now, true, timezone));
    if session.has_client() {
        object.text("user", session.user.as_deref());
        object.text("dbname", session.database.as_deref());
    }
    object.number("pid", Some(report.pid));
    if session.has_client() {
        object.text("remote_host", session.remote_host.as_deref());
        let port = session.remote_port.as_deref().and_then(|port| port.parse::<u16>().ok());
        object.number("remote_port", port);
    }
    object.raw("session_id", |out| write_session_id(out, session, report.pid));
    object.number("line_num", Some(line_number));
    if session.has_client() {
        object.text("ps", Some(&session.command_tag));
    }
    object.raw("session_start", |out| {
        times.session_start.append(out, session.session_start.into(), false, timezone)
    });
    if session.vxid.is_some() {
        object.raw("vxid", |out| write_vxid(out, session));
    }
    object.number("txid", Some(session.xid));
}

fn write_what(object: &mut Object<'_>, report: &Report<'_>) {
    let error = report.error;
    object.text("error_severity", Some(error.severity.word()));
    if error.sqlstate != common::SqlState::SUCCESSFUL_COMPLETION {
        object.text("state_code", Some(error.sqlstate.as_str()));
    }
    object.text("message", Some(&error.message));
    object.text("detail", error.detail_log.as_deref().or(error.detail.as_deref()));
    object.text("hint", error.hint.as_deref());
    object.text("internal_query", error.internal_query.as_deref());
    if error.internal_query.is_some() {
        object.number("internal_position", error.internal_position.filter(|at| *at > 0));
    }
    object.text("context", error.context.as_deref());
    if report.statement.is_some() {
        object.text("statement", report.statement);
        object.number("cursor_position", error.position.filter(|at| *at > 0));
    }
    if report.active.config.log_error_verbosity == Verbosity::Verbose {
        object.text("func_name", Some(error.location.routine));
        object.text("file_name", Some(error.location.file));
        object.number("file_line_num", Some(error.location.line));
    }
}

struct Object<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        put(self.out, format_args!("{}\"{key}\":", if self.first { '{' } else { ',' }));
        self.first = false;
    }

    fn text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.key(key);
            self.out.push(b'"');
            value.chars().for_each(|c| escape(self.out, c));
            self.out.push(b'"');
        }
    }

    fn number(&mut self, key: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.key(key);
            put(self.out, format_args!("{value}"));
        }
    }

    /// A string that needs no escaping.
    fn raw(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.key(key);
        self.out.push(b'"');
        write(self.out);
        self.out.push(b'"');
    }
}

fn escape(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        c if c < ' ' => put(out, format_args!("\\u{:04x}", c as u32)),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}
