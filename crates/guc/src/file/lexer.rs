//! Tokens of postgresql.conf. The longest match wins, which decides odd cases: `1.5MB` is a real number and
//! then a word, `x.$y` begins with the word `x.`. C: the rules of guc-file.l.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A plain name.
    Id,
    /// A name with one dot.
    QualifiedId,
    /// `'text'`.
    String,
    /// `5`, `0x1F`, `10MB`.
    Integer,
    /// `0.5`, `1.5e3`.
    Real,
    /// A word such as `a-b.c/d`.
    Unquoted,
    Equals,
    EndOfLine,
    /// A byte that begins nothing.
    Error,
}

/// Cuts a file into tokens, and counts lines.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    rest: &'a [u8],
    /// 1-based line of the next token.
    pub(crate) line: u32,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Lexer<'a> {
        Lexer { rest: text, line: 1 }
    }

    /// The next token; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Option<(Kind, &'a [u8])> {
        loop {
            match self.rest.first()? {
                b' ' | b'\t' | b'\r' => self.rest = &self.rest[1..],
                b'#' => self.rest = &self.rest[count(self.rest, |b| b != b'\n')..],
                _ => break,
            }
        }
        let (kind, length) = token(self.rest);
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        if kind == Kind::EndOfLine {
            self.line += 1;
        }
        Some((kind, text))
    }
}

fn count(text: &[u8], accept: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|b| accept(**b)).count()
}

/// Kind and length of the token at the start of `text`, which is not empty.
fn token(text: &[u8]) -> (Kind, usize) {
    match text[0] {
        b'\n' => (Kind::EndOfLine, 1),
        b'=' => (Kind::Equals, 1),
        b'\'' => string_length(text).map_or((Kind::Error, 1), |length| (Kind::String, length)),
        b if is_letter(b) => word(text),
        _ => number(text),
    }
}

fn is_letter(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

fn is_letter_or_digit(b: u8) -> bool {
    is_letter(b) || b.is_ascii_digit()
}

fn word(text: &[u8]) -> (Kind, usize) {
    let id = count(text, is_letter_or_digit);
    let qualified = match text.get(id..) {
        Some([b'.', b, ..]) if is_letter(*b) => id + 1 + count(&text[id + 1..], is_letter_or_digit),
        _ => 0,
    };
    let unquoted = count(text, |b| is_letter_or_digit(b) || b"-._:/".contains(&b));
    if unquoted > id.max(qualified) {
        (Kind::Unquoted, unquoted)
    } else if qualified > id {
        (Kind::QualifiedId, qualified)
    } else {
        (Kind::Id, id)
    }
}

fn number(text: &[u8]) -> (Kind, usize) {
    let sign = usize::from(matches!(text[0], b'+' | b'-'));
    let body = &text[sign..];
    let digits = count(body, |b| b.is_ascii_digit());
    let hex = match body {
        [b'0', b'x', rest @ ..] => count(rest, |b| b.is_ascii_hexdigit()),
        _ => 0,
    };
    let integer = match (hex, digits) {
        (0, 0) => 0,
        (0, digits) => digits,
        (hex, _) => 2 + hex,
    };
    let units = if integer > 0 { count(&body[integer..], |b| b.is_ascii_alphabetic()) } else { 0 };
    let real = real_length(body, digits);
    match (integer + units, real) {
        (0, 0) => (Kind::Error, 1),
        (integer, real) if integer >= real => (Kind::Integer, sign + integer),
        (_, real) => (Kind::Real, sign + real),
    }
}

/// Digits, a dot, digits, and an exponent if there is one; 0 without the dot.
fn real_length(body: &[u8], digits: usize) -> usize {
    if body.get(digits) != Some(&b'.') {
        return 0;
    }
    let mantissa = digits + 1 + count(&body[digits + 1..], |b| b.is_ascii_digit());
    let exponent = match &body[mantissa..] {
        [b'e' | b'E', b'+' | b'-', rest @ ..] => Some((2, rest)),
        [b'e' | b'E', rest @ ..] => Some((1, rest)),
        _ => None,
    };
    match exponent.map(|(head, rest)| (head, count(rest, |b| b.is_ascii_digit()))) {
        Some((head, digits)) if digits > 0 => mantissa + head + digits,
        _ => mantissa,
    }
}

/// Length of the string with its quotes: it ends at the last quote that can end it on this line.
fn string_length(text: &[u8]) -> Option<usize> {
    let mut end = None;
    let mut at = 1;
    loop {
        match (text.get(at), text.get(at + 1)) {
            (None | Some(b'\n'), _) | (Some(b'\\'), None | Some(b'\n')) => return end,
            (Some(b'\\'), Some(_)) => at += 2,
            (Some(b'\''), next) => {
                end = Some(at + 1);
                if next != Some(&b'\'') {
                    return end;
                }
                at += 2;
            }
            (Some(_), _) => at += 1,
        }
    }
}

/// What stands between the quotes. C: `DeescapeQuotedString`.
pub(crate) fn unquote(string: &[u8]) -> String {
    let inner = string.strip_prefix(b"'").unwrap_or(string);
    let inner = inner.strip_suffix(b"'").unwrap_or(inner);
    let mut text = Vec::with_capacity(inner.len());
    let mut at = 0;
    while let Some(&b) = inner.get(at) {
        at += 1;
        match b {
            b'\\' => {
                let Some(&escaped) = inner.get(at) else { break };
                at += 1;
                text.push(match escaped {
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'0'..=b'7' => {
                        let more = count(&inner[at..inner.len().min(at + 2)], |b| (b'0'..=b'7').contains(&b));
                        let digits = &inner[at - 1..at + more];
                        at += more;
                        digits.iter().fold(0, |value: u8, d| (value << 3).wrapping_add(d - b'0'))
                    }
                    other => other,
                });
            }
            b'\'' => {
                // Only doubled quotes occur within.
                at += 1;
                text.push(b'\'');
            }
            other => text.push(other),
        }
    }
    String::from_utf8(text).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(Kind, &str)]) {
        let mut lexer = Lexer::new(text.as_bytes());
        let mut tokens = Vec::new();
        while let Some((kind, token)) = lexer.next() {
            tokens.push((kind, std::str::from_utf8(token).expect("valid text")));
        }
        assert_eq!(tokens, expected, "{text:?}");
    }

    #[test]
    fn longest_match() {
        use Kind::*;
        check("a = 5MB # c\n", &[(Id, "a"), (Equals, "="), (Integer, "5MB"), (EndOfLine, "\n")]);
        check("1.5MB", &[(Real, "1.5"), (Id, "MB")]);
        check("x.$y", &[(Unquoted, "x."), (Error, "$"), (Id, "y")]);
        check("x.y x.y.z a-b", &[(QualifiedId, "x.y"), (Unquoted, "x.y.z"), (Unquoted, "a-b")]);
        check(
            "1e0 0x4000kB -5 +.5e1 -",
            &[
                (Integer, "1e"),
                (Integer, "0"),
                (Integer, "0x4000kB"),
                (Integer, "-5"),
                (Real, "+.5e1"),
                (Error, "-"),
            ],
        );
        check(
            "'it''s' 'a\\'b' 'abc\n",
            &[(String, "'it''s'"), (String, "'a\\'b'"), (Error, "'"), (Id, "abc"), (EndOfLine, "\n")],
        );
        check("'abc''\n", &[(String, "'abc'"), (Error, "'"), (EndOfLine, "\n")]);
        check("ä", &[(Id, "ä")]);
    }

    #[test]
    fn escapes() {
        for (quoted, text) in
            [("'it''s'", "it's"), (r"'a\tb\101\n\\\'\x'", "a\tbA\n\\'x"), (r"'\0123'", "\n3"), ("''", "")]
        {
            assert_eq!(unquote(quoted.as_bytes()), text, "{quoted}");
        }
        assert_eq!(unquote(b"'\xff'"), "\u{fffd}");
    }
}
