//! A row as COPY TO writes it.
//!
//! C counterpart: `CopyOneRowTo`, `CopyAttributeOutText`, `CopyAttributeOutCSV` of commands/copyto.c.

use super::bytes::find_to_escape;
use super::options::{Format, Options};

/// Appends a column's text in the text format: what the reader would take for something else gets a backslash.
pub(crate) fn text(value: &str, delimiter: u8, out: &mut Vec<u8>) {
    let bytes = value.as_bytes();
    let mut done = 0;
    let mut at = 0;
    loop {
        at = find_to_escape(bytes, at, delimiter);
        let Some(&byte) = bytes.get(at) else { break };
        at += 1;
        let letter = match byte {
            b'\\' => b'\\',
            b'\x08' => b'b',
            b'\x0C' => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            b'\x0B' => b'v',
            _ if byte == delimiter => delimiter,
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..at - 1]);
        out.extend_from_slice(&[b'\\', letter]);
        done = at;
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Appends a column's text in the csv format, in quotes if it needs or is to have them. `alone`: it is the row's only
/// column, in which `\.` would end the data.
pub(crate) fn csv(value: &str, options: &Options, force_quote: bool, alone: bool, out: &mut Vec<u8>) {
    let bytes = value.as_bytes();
    let special = |b: &u8| *b == options.delimiter || *b == options.quote || matches!(b, b'\n' | b'\r');
    let quoted = force_quote || value == options.null || alone && value == "\\." || bytes.iter().any(special);
    if !quoted {
        return out.extend_from_slice(bytes);
    }
    out.push(options.quote);
    for &byte in bytes {
        if byte == options.quote || byte == options.escape {
            out.push(options.escape);
        }
        out.push(byte);
    }
    out.push(options.quote);
}

/// Appends the line of the columns' names.
pub(crate) fn header(names: &[String], options: &Options, out: &mut Vec<u8>) {
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(options.delimiter);
        }
        match options.format {
            Format::Text => text(name, options.delimiter, out),
            Format::Csv => csv(name, options, false, names.len() == 1, out),
        }
    }
    out.push(b'\n');
}
