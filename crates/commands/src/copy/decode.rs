//! Lines and columns of what COPY FROM reads.
//!
//! [`Lines`] cuts the input into rows: in the text format a backslash hides the line end behind it, in csv an open
//! quote does. [`fields_of_text`] and [`fields_of_csv`] cut a row into columns; a column that needs no unescaping is
//! a piece of the row, so the usual row is copied nowhere.
//!
//! C counterpart: `CopyReadLineText`, `CopyReadAttributesText`, `CopyReadAttributesCSV` of commands/copyfromparse.c.

use std::borrow::Cow;

use common::SqlState;
use elog::{PgError, Result, error};

use super::bytes::find_one_of;
use super::options::{Format, Options};

/// Where the bytes come from.
pub trait Input {
    /// Appends some more; false at the end.
    ///
    /// # Errors
    /// What reading says.
    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Eol {
    Unknown,
    Newline,
    Return,
    Both,
}

/// Cuts the input into rows.
pub(crate) struct Lines<'a> {
    input: &'a mut dyn Input,
    csv: bool,
    quote: u8,
    escape: u8,
    buffer: Vec<u8>,
    /// Start of what was not returned yet.
    at: usize,
    eol: Eol,
    ended: bool,
    /// Number of the row returned last, from 1.
    pub(crate) number: u64,
}

/// What the search for the end of a row of the text format must look at.
const TEXT_ENDS: [u8; 3] = [b'\n', b'\r', b'\\'];

fn bad_format(text: &str) -> PgError {
    error!(SqlState::BAD_COPY_FILE_FORMAT, "{text}")
}

/// How the search for a row's end went.
enum Found {
    /// The row's end and where the next begins.
    End(usize, usize),
    /// `\.` on its own.
    Marker,
    /// The buffer ends before the row.
    More,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(input: &'a mut dyn Input, options: &Options) -> Lines<'a> {
        Lines {
            input,
            csv: options.format == Format::Csv,
            quote: options.quote,
            escape: options.escape,
            buffer: Vec::new(),
            at: 0,
            eol: Eol::Unknown,
            ended: false,
            number: 0,
        }
    }

    /// The next row, without its line end; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        self.number += 1;
        // A row that spans reads is searched from its start again; reads are large, rows are not.
        loop {
            match self.search()? {
                Found::End(end, next) => {
                    let start = std::mem::replace(&mut self.at, next);
                    return Ok(Some(&self.buffer[start..end]));
                }
                Found::Marker => {
                    // What follows is read and ignored, as the protocol asks for.
                    self.at = self.buffer.len();
                    while !self.ended {
                        self.buffer.clear();
                        self.at = 0;
                        self.ended = !self.input.read(&mut self.buffer)?;
                    }
                    self.at = self.buffer.len();
                    return Ok(None);
                }
                Found::More if !self.ended => self.fill()?,
                Found::More if self.at == self.buffer.len() => return Ok(None),
                Found::More => {
                    let start = std::mem::replace(&mut self.at, self.buffer.len());
                    return Ok(Some(&self.buffer[start..]));
                }
            }
        }
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.ended = !self.input.read(&mut self.buffer)?;
        Ok(())
    }

    fn search(&mut self) -> Result<Found> {
        let bytes = &self.buffer[self.at..];
        let mut quoted = false;
        let mut last_was_escape = false;
        let mut i = 0;
        if !self.csv {
            i = find_one_of(bytes, i, TEXT_ENDS);
        }
        while let Some(&byte) = bytes.get(i) {
            if self.csv {
                // C: an escape in front of a quote keeps the field open; two quotes in a row close and open it.
                if byte == self.escape && quoted && self.escape != self.quote {
                    last_was_escape = !last_was_escape;
                } else {
                    if byte == self.quote && !last_was_escape {
                        quoted = !quoted;
                    }
                    last_was_escape = false;
                }
                if quoted {
                    i += 1;
                    continue;
                }
            }
            match byte {
                b'\n' | b'\r' => match self.line_end(i)? {
                    Some(len) => return Ok(Found::End(self.at + i, self.at + i + len)),
                    None => return Ok(Found::More),
                },
                b'\\' if !self.csv || i == 0 => {
                    match bytes.get(i + 1) {
                        None if !self.ended => return Ok(Found::More),
                        Some(b'.') if self.is_marker(i)? => return Ok(Found::Marker),
                        Some(b'.') if self.marker_is_cut(i) => return Ok(Found::More),
                        _ => {}
                    }
                    i = if self.csv { i + 1 } else { find_one_of(bytes, i + 2, TEXT_ENDS) };
                }
                _ => i += 1,
            }
        }
        if quoted && self.ended {
            return Ok(Found::More);
        }
        Ok(Found::More)
    }

    /// Length of the line end at `i` of the rest; `None` if it may go on behind the buffer.
    fn line_end(&mut self, i: usize) -> Result<Option<usize>> {
        let bytes = &self.buffer[self.at..];
        let is_return = bytes[i] == b'\r';
        if is_return && self.eol == Eol::Unknown {
            match bytes.get(i + 1) {
                None if !self.ended => return Ok(None),
                Some(b'\n') => self.eol = Eol::Both,
                _ => self.eol = Eol::Return,
            }
        } else if self.eol == Eol::Unknown {
            self.eol = Eol::Newline;
        }
        let hint = |what: &str| {
            if self.csv {
                format!("Use quoted CSV field to represent {what}.")
            } else {
                let escape = if what == "newline" { "\\n" } else { "\\r" };
                format!("Use \"{escape}\" to represent {what}.")
            }
        };
        let literal = |what: &str| {
            let kind = if self.csv { "unquoted" } else { "literal" };
            bad_format(&format!("{kind} {what} found in data")).hint(hint(what))
        };
        match (is_return, self.eol) {
            (false, Eol::Newline) | (true, Eol::Return) => Ok(Some(1)),
            (true, Eol::Both) => match bytes.get(i + 1) {
                Some(b'\n') => Ok(Some(2)),
                None if !self.ended => Ok(None),
                _ => Err(literal("carriage return")),
            },
            (true, _) => Err(literal("carriage return")),
            (false, _) => Err(literal("newline")),
        }
    }

    /// `\.` at the end of the buffer, which may go on.
    fn marker_is_cut(&self, i: usize) -> bool {
        !self.ended && self.buffer.len() - self.at <= i + 3
    }

    /// Whether the backslash at `i` begins an end-of-data marker.
    fn is_marker(&self, i: usize) -> Result<bool> {
        let rest = &self.buffer[self.at + i + 2..];
        let at_end = self.ended && rest.is_empty();
        let ends = at_end || matches!(rest.first(), Some(b'\n' | b'\r'));
        match (ends, i, self.csv) {
            (true, 0, _) => Ok(true),
            (false, _, _) if rest.is_empty() => Ok(false),
            (_, _, true) => Ok(false),
            (true, ..) => Err(bad_format("end-of-copy marker corrupt")),
            (false, ..) => Err(bad_format("end-of-copy marker corrupt")),
        }
    }
}

/// A column of a row: `None` for NULL.
pub(crate) type Field<'a> = Option<Cow<'a, [u8]>>;

/// Cuts a row of the text format.
pub(crate) fn fields_of_text<'a>(line: &'a [u8], options: &Options, fields: &mut Vec<Field<'a>>) {
    fields.clear();
    let mut rest = line;
    loop {
        let sought = [options.delimiter, b'\\', b'\\'];
        let mut end = find_one_of(rest, 0, sought);
        let mut escaped = false;
        while rest.get(end).is_some_and(|byte| *byte != options.delimiter) {
            escaped = true;
            end = find_one_of(rest, end + 2, sought);
        }
        let raw = &rest[..end];
        fields.push(match (raw == options.null.as_bytes(), escaped) {
            (true, _) => None,
            (false, false) => Some(Cow::Borrowed(raw)),
            (false, true) => Some(Cow::Owned(unescape(raw))),
        });
        if end >= rest.len() {
            return;
        }
        rest = &rest[end + 1..];
    }
}

fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut i = 0;
    while let Some(&byte) = raw.get(i) {
        i += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let Some(&letter) = raw.get(i) else {
            // A lone backslash at the end stands for itself.
            out.push(b'\\');
            break;
        };
        i += 1;
        out.push(match letter {
            b'b' => b'\x08',
            b'f' => b'\x0C',
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => b'\x0B',
            b'0'..=b'7' => {
                let mut value = u32::from(letter - b'0');
                for _ in 0..2 {
                    let Some(digit @ b'0'..=b'7') = raw.get(i) else { break };
                    value = value * 8 + u32::from(digit - b'0');
                    i += 1;
                }
                value as u8
            }
            b'x' if raw.get(i).is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0;
                for _ in 0..2 {
                    let Some(digit) = raw.get(i).and_then(|d| (*d as char).to_digit(16)) else { break };
                    value = value * 16 + digit;
                    i += 1;
                }
                value as u8
            }
            other => other,
        });
    }
    out
}

/// Cuts a row of the csv format.
///
/// # Errors
/// 22P04 for a quote that nothing closes.
pub(crate) fn fields_of_csv<'a>(
    line: &'a [u8],
    options: &Options,
    fields: &mut Vec<Field<'a>>,
) -> Result<()> {
    fields.clear();
    let mut at = 0;
    loop {
        let start = at;
        let mut saw_quote = false;
        let mut value: Option<Vec<u8>> = None;
        while let Some(&byte) = line.get(at) {
            if byte == options.delimiter {
                break;
            }
            if byte != options.quote {
                if let Some(value) = &mut value {
                    value.push(byte);
                }
                at += 1;
                continue;
            }
            saw_quote = true;
            let value = value.get_or_insert_with(|| line[start..at].to_vec());
            at = quoted_part(line, at + 1, options, value)?;
        }
        let raw = &line[start..at];
        // Only without quotes can it be the mark for NULL.
        fields.push(match value {
            None if !saw_quote && raw == options.null.as_bytes() => None,
            None => Some(Cow::Borrowed(raw)),
            Some(value) => Some(Cow::Owned(value)),
        });
        if at >= line.len() {
            return Ok(());
        }
        at += 1;
    }
}

/// From behind an opening quote to behind the closing one.
fn quoted_part(line: &[u8], mut at: usize, options: &Options, value: &mut Vec<u8>) -> Result<usize> {
    while let Some(&byte) = line.get(at) {
        if byte == options.escape
            && let Some(&next) = line.get(at + 1)
            && (next == options.escape || next == options.quote)
        {
            value.push(next);
            at += 2;
        } else if byte == options.quote {
            return Ok(at + 1);
        } else {
            value.push(byte);
            at += 1;
        }
    }
    Err(bad_format("unterminated CSV quoted field"))
}

#[cfg(test)]
mod tests;
