//! The value of a name or string constant, from the bytes of its token.
//!
//! C counterpart: the actions of src/backend/parser/scan.l and `str_udeescape` of parser.c.

use common::SqlState;
use elog::{PgError, Result, error, pg_error};

use crate::lexer::{Quote, char_position, is_space};

/// Longest name in bytes. C: `NAMEDATALEN` - 1.
pub(crate) const MAX_NAME_BYTES: usize = 63;

/// An unquoted name: ASCII letters in lower case, cut to size. C: `downcase_truncate_identifier`.
pub(crate) fn downcase(word: &str) -> String {
    let mut name = word.to_ascii_lowercase();
    truncate(&mut name);
    name
}

/// A quoted name, with its quotes. C: the rule for `<xd>`.
pub(crate) fn unquote(token: &str) -> String {
    let mut name = token[1..token.len() - 1].replace("\"\"", "\"");
    truncate(&mut name);
    name
}

/// Cuts a name to size with a NOTICE. C: `truncate_identifier`.
pub(crate) fn truncate(name: &mut String) {
    if name.len() <= MAX_NAME_BYTES {
        return;
    }
    let short = &name[..name.floor_char_boundary(MAX_NAME_BYTES)];
    pg_error!(Notice, SqlState::NAME_TOO_LONG, "identifier \"{name}\" will be truncated to \"{short}\"")
        .report();
    let len = short.len();
    name.truncate(len);
}

/// A string constant. `start` is where its token begins in `source`.
pub(crate) fn string(source: &str, start: usize, end: usize, quote: Quote) -> Result<String> {
    let token = &source[start..end];
    match quote {
        Quote::Dollar(tag) => {
            let tag = usize::from(tag);
            Ok(token[tag..token.len() - tag].to_string())
        }
        Quote::Escape => unescape(source, start, end),
        Quote::Plain => Ok(plain(token)),
        Quote::National | Quote::Bit | Quote::Hex => Ok(plain(&token[1..])),
        Quote::Unicode => Ok(plain(&token[2..])),
    }
}

/// Parts in quotes, joined; the token begins with its opening quote.
fn plain(token: &str) -> String {
    let inner = &token[1..token.len() - 1];
    if !inner.contains('\'') {
        return inner.to_string();
    }
    let mut value = String::with_capacity(inner.len());
    for_each_char(token, |c, _| {
        value.push(c);
        Ok(1)
    })
    .map_or_else(|_| String::new(), |()| value)
}

/// Calls `take(char, offset)` for each character within quotes, `''` as one, skipping what lies between the
/// parts. `take` says how many bytes beyond the first character it has used: 1 means just that one.
fn for_each_char(token: &str, mut take: impl FnMut(char, usize) -> Result<usize>) -> Result<()> {
    let bytes = token.as_bytes();
    let mut at = token.find('\'').unwrap_or(0) + 1;
    while at < bytes.len() {
        if bytes[at] != b'\'' {
            let c = token[at..].chars().next().unwrap_or('\0');
            let used = take(c, at)?;
            at += if used == 1 { c.len_utf8() } else { used };
            continue;
        }
        if bytes.get(at + 1) == Some(&b'\'') {
            take('\'', at)?;
            at += 2;
            continue;
        }
        // End of a part: on to the next one's opening quote, over blanks and line comments.
        at += 1;
        while at < bytes.len() && bytes[at] != b'\'' {
            at += 1;
            if !is_space(bytes[at - 1]) && bytes.get(at) == Some(&b'-') {
                at += token[at..].find(['\n', '\r']).unwrap_or(token.len() - at);
            }
        }
        at += 1;
    }
    Ok(())
}

fn unescape(source: &str, start: usize, end: usize) -> Result<String> {
    let token = &source[start..end];
    let mut out: Vec<u8> = Vec::with_capacity(token.len());
    let mut high: Option<u32> = None;
    for_each_char(token, |c, at| {
        if c != '\\' {
            no_pending(high, source, start + at, end)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(1);
        }
        let rest = &token.as_bytes()[at + 1..token.len() - 1];
        let next = rest.first().copied().unwrap_or(b'\\');
        if !matches!(next, b'u' | b'U') {
            no_pending(high, source, start + at, end)?;
        }
        let is_octal = |b: &&u8| matches!(b, b'0'..=b'7');
        let used = match next {
            b'b' => push(&mut out, 8),
            b'f' => push(&mut out, 12),
            b'n' => push(&mut out, b'\n'),
            b'r' => push(&mut out, b'\r'),
            b't' => push(&mut out, b'\t'),
            b'v' => push(&mut out, 11),
            b'0'..=b'7' => {
                let digits = rest.iter().take(3).take_while(is_octal).count();
                let value = rest[..digits].iter().fold(0u32, |v, d| v * 8 + u32::from(d - b'0'));
                push(&mut out, value as u8) + digits - 1
            }
            b'x' if rest.get(1).is_some_and(u8::is_ascii_hexdigit) => {
                let digits = rest[1..].iter().take(2).take_while(|b| b.is_ascii_hexdigit()).count();
                push(&mut out, hex(&rest[1..=digits]) as u8) + digits
            }
            b'u' | b'U' => {
                let digits = if next == b'u' { 4 } else { 8 };
                unicode_escape(&rest[1..], digits, &mut high, &mut out)
                    .map_err(|e| e.position(char_position(source, start + at)))?;
                1 + 1 + digits
            }
            _ => {
                let c = token[at + 1..].chars().next().unwrap_or('\\');
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                1 + c.len_utf8()
            }
        };
        Ok(used)
    })?;
    no_pending(high, source, end - 1, end)?;
    into_text(out)
}

/// One byte of output for a two-byte escape.
fn push(out: &mut Vec<u8>, byte: u8) -> usize {
    out.push(byte);
    2
}

fn hex(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |v, d| v << 4 | char::from(*d).to_digit(16).unwrap_or(0))
}

/// A first half of a surrogate pair must be followed by the second.
fn no_pending(high: Option<u32>, source: &str, at: usize, end: usize) -> Result<()> {
    if high.is_none() {
        return Ok(());
    }
    // What PostgreSQL's scanner had in hand: the closing quote, an escape, or a run of plain characters.
    let rest = &source[at..end];
    let shown = match rest.as_bytes() {
        [b'\'', ..] => 1,
        [b'\\', ..] => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        _ => rest.find(['\'', '\\']).unwrap_or(rest.len()),
    };
    let what = format!("invalid Unicode surrogate pair at or near \"{}\"", &rest[..shown]);
    Err(error!(SqlState::SYNTAX_ERROR, "{what}")
        .position(char_position(source, at))
        .routine("scanner_yyerror"))
}

fn bad_pair() -> PgError {
    error!(SqlState::SYNTAX_ERROR, "invalid Unicode surrogate pair").routine("scanner_yyerror")
}

fn unicode_escape(rest: &[u8], digits: usize, high: &mut Option<u32>, out: &mut Vec<u8>) -> Result<()> {
    let code = rest.get(..digits).filter(|d| d.iter().all(u8::is_ascii_hexdigit)).map(hex);
    let Some(code) = code else {
        return Err(error!(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid Unicode escape")
            .hint("Unicode escapes must be \\uXXXX or \\UXXXXXXXX."));
    };
    if let Some(c) = combine(code, high)? {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(())
}

/// A code point, or the first half of a pair, which is kept in `high` for the next call.
fn combine(code: u32, high: &mut Option<u32>) -> Result<Option<char>> {
    match (high.take(), code) {
        (None, 0xD800..=0xDBFF) => {
            *high = Some(code);
            Ok(None)
        }
        (Some(first), 0xDC00..=0xDFFF) => {
            Ok(char::from_u32(0x10000 + ((first & 0x3FF) << 10) + (code & 0x3FF)))
        }
        (Some(_), _) | (None, 0xDC00..=0xDFFF) => Err(bad_pair()),
        (None, _) => match char::from_u32(code) {
            Some(c) if code != 0 => Ok(Some(c)),
            _ => Err(error!(SqlState::SYNTAX_ERROR, "invalid Unicode escape value")),
        },
    }
}

fn into_text(bytes: Vec<u8>) -> Result<String> {
    let invalid = |at: usize, bytes: &[u8]| {
        // The bytes that PostgreSQL shows: as many as the first one announces, if there are so many.
        let announced = match bytes[at] {
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            _ => 1,
        };
        let shown = &bytes[at..(at + announced).min(bytes.len())];
        let shown: Vec<String> = shown.iter().map(|b| format!("0x{b:02x}")).collect();
        error!(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": {}",
            shown.join(" ")
        )
        .routine("report_invalid_encoding_int")
    };
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        return Err(invalid(at, &bytes));
    }
    String::from_utf8(bytes).map_err(|e| invalid(e.utf8_error().valid_up_to(), e.as_bytes()))
}

/// Resolves the escapes of `U&'...'` and `U&"..."`. `at` is where the content begins. C: `str_udeescape`.
pub(crate) fn unicode_literal(source: &str, at: usize, text: &str, escape: char) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut high = None;
    let mut rest = text;
    let locate = |rest: &str| char_position(source, at + (text.len() - rest.len()));
    while let Some(c) = rest.chars().next() {
        let here = locate(rest);
        let after = &rest[c.len_utf8()..];
        if c != escape {
            if high.is_some() {
                return Err(bad_pair().position(here));
            }
            out.push(c);
            rest = after;
            continue;
        }
        if after.starts_with(escape) {
            if high.is_some() {
                return Err(bad_pair().position(here));
            }
            out.push(escape);
            rest = &after[escape.len_utf8()..];
            continue;
        }
        let (skip, digits) = if after.starts_with('+') { (1, 6) } else { (0, 4) };
        let code = after.as_bytes().get(skip..skip + digits).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let Some(code) = code.map(hex) else {
            return Err(error!(SqlState::SYNTAX_ERROR, "invalid Unicode escape")
                .hint("Unicode escapes must be \\XXXX or \\+XXXXXX.")
                .position(here)
                .routine("str_udeescape"));
        };
        out.extend(combine(code, &mut high).map_err(|e| e.position(here))?);
        rest = &after[skip + digits..];
    }
    match high {
        None => Ok(out),
        Some(_) => Err(bad_pair().position(locate(""))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        let (tokens, _) = crate::lexer::scan(source, true);
        let token = tokens[0];
        let crate::lexer::Tok::Str(quote) = token.kind else { panic!("not a string: {source}") };
        let shown = match string(source, token.start as usize, token.end as usize, quote) {
            Ok(value) => value,
            Err(e) => format!("{} {}@{}", e.sqlstate, e.message, e.position.unwrap_or(0)),
        };
        assert_eq!(shown, expected, "{source}");
    }

    #[test]
    fn values() {
        check("'a''b'", "a'b");
        check("'a'  \n 'b'", "ab");
        check("'a' -- c\n 'b'", "a");
        check("'a'\n -- 'c'\n 'b'", "ab");
        check("$x$a'b$x$", "a'b");
        check(r"E'a\n\t\x41\101\u00e9\U0001F600\\\''", "a\n\tAA\u{e9}\u{1F600}\\'");
        check(r"E'\uD83D\uDE00'", "\u{1F600}");
        check("E'x''y'\n'z\\n'", "x'yz\n");
        check("n'abc'", "abc");
    }

    #[test]
    fn errors() {
        check(r"E'\u00'", "22025 invalid Unicode escape@3");
        check(r"E'\777'", "22021 invalid byte sequence for encoding \"UTF8\": 0xff@0");
        check(r"E'\x80'", "22021 invalid byte sequence for encoding \"UTF8\": 0x80@0");
        check(r"E'\uD83Dx'", "42601 invalid Unicode surrogate pair at or near \"x\"@9");
        check(r"E'\0'", "22021 invalid byte sequence for encoding \"UTF8\": 0x00@0");
    }

    #[test]
    fn unicode() {
        assert_eq!(unicode_literal("", 0, r"d\0061t\+000061\\", '\\').unwrap(), "data\\");
        assert_eq!(unicode_literal("", 0, "d!0061", '!').unwrap(), "da");
        assert!(unicode_literal("", 0, r"\00", '\\').is_err());
    }
}
