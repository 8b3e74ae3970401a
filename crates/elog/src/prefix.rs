//! `log_line_prefix`: compiled once, written once per line.
//!
//! C counterpart: `log_status_format` in elog.c. The escapes and their padding (`%-10u`, `%5p`) are those of
//! PostgreSQL 15, including what it does with the malformed ones: an unknown escape disappears, a `%` at the
//! very end too, and padding is counted in bytes.

use std::io::Write;

use common::SqlState;
use jiff::tz::TimeZone;

use crate::Timestamp;
use crate::session::SessionInfo;
use crate::time::SecondCache;

/// Wider padding than this is a slip of the finger; PostgreSQL would fill memory with blanks.
const PADDING_MAX: i32 = 1000;

/// A compiled `log_line_prefix`.
#[derive(Debug, Default)]
pub(crate) struct Prefix {
    pieces: Vec<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    /// An escape's letter and its width: positive aligns right, negative left, 0 means none.
    Escape(u8, i32),
}

/// What a prefix is filled from, for one line.
pub(crate) struct LineFacts<'a> {
    pub(crate) session: &'a SessionInfo,
    pub(crate) pid: i32,
    pub(crate) now: Timestamp,
    pub(crate) timezone: &'a TimeZone,
    pub(crate) line_number: u64,
    pub(crate) sqlstate: SqlState,
}

/// The two times that appear in lines, each with the second it was last formatted for.
#[derive(Debug, Default)]
pub(crate) struct TimeCaches {
    pub(crate) now: SecondCache,
    pub(crate) session_start: SecondCache,
}

impl Prefix {
    pub(crate) fn compile(text: &str) -> Prefix {
        let bytes = text.as_bytes();
        let (mut pieces, mut literal, mut at) = (Vec::new(), Vec::new(), 0);
        while at < bytes.len() {
            let byte = bytes[at];
            at += 1;
            if byte != b'%' {
                literal.push(byte);
                continue;
            }
            if bytes.get(at) == Some(&b'%') {
                literal.push(b'%');
                at += 1;
                continue;
            }
            let (width, letter_at) = parse_width(bytes, at);
            let Some(&letter) = bytes.get(letter_at) else { break };
            at = letter_at + 1;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Escape(letter, width));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Prefix { pieces }
    }

    /// Appends the prefix of one line.
    pub(crate) fn write(&self, out: &mut Vec<u8>, facts: &LineFacts<'_>, times: &mut TimeCaches) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text),
                Piece::Escape(b'q', _) if !facts.session.has_client() => return,
                Piece::Escape(letter, width) => {
                    let start = out.len();
                    if write_escape(out, *letter, facts, times) {
                        pad(out, start, *width);
                    }
                }
            }
        }
    }
}

/// Reads `-10` in `%-10u`: the width and where the letter is. C: `process_log_prefix_padding`.
fn parse_width(bytes: &[u8], mut at: usize) -> (i32, usize) {
    let negative = bytes.get(at) == Some(&b'-');
    at += usize::from(negative);
    let mut width = 0i32;
    while let Some(digit) = bytes.get(at).filter(|b| b.is_ascii_digit()) {
        width = (width * 10 + i32::from(digit - b'0')).min(PADDING_MAX);
        at += 1;
    }
    (if negative { -width } else { width }, at)
}

fn pad(out: &mut Vec<u8>, start: usize, width: i32) {
    let missing = (width.unsigned_abs() as usize).saturating_sub(out.len() - start);
    if missing == 0 {
        return;
    }
    out.resize(out.len() + missing, b' ');
    if width > 0 {
        out[start..].rotate_right(missing);
    }
}

/// Appends one escape's value; `false` for an unknown escape, which leaves not even its padding.
fn write_escape(out: &mut Vec<u8>, letter: u8, facts: &LineFacts<'_>, times: &mut TimeCaches) -> bool {
    let session = facts.session;
    let known = |out: &mut Vec<u8>, name: Option<&str>| {
        if session.has_client() {
            let name = name.filter(|name| !name.is_empty()).unwrap_or("[unknown]");
            out.extend_from_slice(name.as_bytes());
        }
    };
    match letter {
        b'a' => known(out, Some(&session.application_name)),
        b'u' => known(out, session.user.as_deref()),
        b'd' => known(out, session.database.as_deref()),
        b'b' => out.extend_from_slice(session.backend_type.description().as_bytes()),
        b'r' => write_remote(out, session, (b"(", b")")),
        b'h' => out.extend_from_slice(session.remote_host.as_deref().unwrap_or_default().as_bytes()),
        b'i' if session.has_client() => out.extend_from_slice(session.command_tag.as_bytes()),
        b'i' => {}
        b'p' => put(out, format_args!("{}", facts.pid)),
        b'P' if session.leader_pid != 0 => put(out, format_args!("{}", session.leader_pid)),
        b'P' => {}
        b'c' => write_session_id(out, session, facts.pid),
        b'l' => put(out, format_args!("{}", facts.line_number)),
        b't' => times.now.append(out, facts.now, false, facts.timezone),
        b'm' => times.now.append(out, facts.now, true, facts.timezone),
        b'n' => put(out, format_args!("{}.{:03}", facts.now.seconds, facts.now.micros / 1000)),
        b's' => times.session_start.append(out, session.session_start.into(), false, facts.timezone),
        b'v' => write_vxid(out, session),
        b'x' => put(out, format_args!("{}", session.xid)),
        b'e' => out.extend_from_slice(facts.sqlstate.as_str().as_bytes()),
        b'Q' => put(out, format_args!("{}", session.query_id)),
        _ => return false,
    }
    true
}

/// Appends formatted text; a `Vec` takes everything.
pub(crate) fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Appends `55bf31ee.b22`: start time and pid in hex, the key that joins lines of one session.
pub(crate) fn write_session_id(out: &mut Vec<u8>, session: &SessionInfo, pid: i32) {
    put(out, format_args!("{:x}.{:x}", Timestamp::from(session.session_start).seconds, pid));
}

/// Appends `2/11`, or nothing for a process without a virtual transaction id.
pub(crate) fn write_vxid(out: &mut Vec<u8>, session: &SessionInfo) {
    if let Some((backend_id, local_xid)) = session.vxid {
        put(out, format_args!("{backend_id}/{local_xid}"));
    }
}

/// Appends the client's host, and its port between `marks` if it has one.
pub(crate) fn write_remote(out: &mut Vec<u8>, session: &SessionInfo, marks: (&[u8], &[u8])) {
    out.extend_from_slice(session.remote_host.as_deref().unwrap_or_default().as_bytes());
    if let Some(port) = session.remote_port.as_deref().filter(|port| !port.is_empty()) {
        out.extend_from_slice(marks.0);
        out.extend_from_slice(port.as_bytes());
        out.extend_from_slice(marks.1);
    }
}

#[cfg(test)]
#[path = "prefix_tests.rs"]
mod tests;
