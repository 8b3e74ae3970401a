//! Characters to tokens, by the rules of PostgreSQL's scanner.
//!
//! A token is a kind and a byte range; the text of names and strings is only decoded when the grammar takes
//! it (see [`crate::literal`]), so scanning a statement costs one allocation. A lexical error becomes the
//! last token, [`Tok::Bad`]: it is reported when the grammar arrives there, so that a syntax error before it
//! comes first, as with a scanner that is called on demand.
//!
//! C counterpart: src/backend/parser/scan.l.

use common::SqlState;
use elog::{PgError, error};

use crate::keywords::{self, Kw};

/// How a string constant is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quote {
    /// `'...'`
    Plain,
    /// `E'...'`, or a plain one without `standard_conforming_strings`.
    Escape,
    /// `U&'...'`
    Unicode,
    /// `$tag$...$tag$`; the tag's length.
    Dollar(u16),
    /// `B'...'`
    Bit,
    /// `X'...'`
    Hex,
    /// `N'...'`
    National,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tok {
    Eof,
    /// The lexical error that ended the scan.
    Bad,
    Ident,
    QuotedIdent,
    /// `U&"..."`
    UnicodeIdent,
    Keyword(Kw),
    /// Digits only.
    Integer,
    /// With a point or an exponent.
    Float,
    Str(Quote),
    /// `$1`
    Param(u32),
    /// An operator of the general kind.
    Op,
    Typecast,
    DotDot,
    ColonEquals,
    EqualsGreater,
    LessEquals,
    GreaterEquals,
    NotEquals,
    /// One of `,()[].;:+-*/%^<>=`
    Char(u8),
}

/// A token and the bytes it was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Tok,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The 1-based character position of a byte offset, for the protocol's field `P`.
pub fn char_position(source: &str, byte: usize) -> u32 {
    let before = source.as_bytes().get(..byte).unwrap_or(source.as_bytes());
    // Every byte but a UTF-8 continuation byte begins a character.
    before.iter().filter(|b| **b & 0xC0 != 0x80).count() as u32 + 1
}

/// All tokens of the text, ended by `Eof` or `Bad`; with `Bad` comes the error.
pub(crate) fn scan(source: &str, standard_conforming_strings: bool) -> (Vec<Token>, Option<PgError>) {
    let mut lexer = Lexer { source, bytes: source.as_bytes(), at: 0, standard_conforming_strings };
    let mut tokens = Vec::with_capacity(source.len() / 5 + 4);
    loop {
        let start = match lexer.skip_blanks() {
            Ok(()) => lexer.at,
            Err(e) => return finish_bad(tokens, lexer.at, e),
        };
        match lexer.token() {
            Ok(kind) => {
                tokens.push(Token { kind, start: start as u32, end: lexer.at as u32 });
                if kind == Tok::Eof {
                    return (tokens, None);
                }
            }
            Err(e) => return finish_bad(tokens, start, e),
        }
    }
}

fn finish_bad(mut tokens: Vec<Token>, at: usize, e: PgError) -> (Vec<Token>, Option<PgError>) {
    tokens.push(Token { kind: Tok::Bad, start: at as u32, end: at as u32 });
    (tokens, Some(e))
}

struct Lexer<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
    standard_conforming_strings: bool,
}

fn is_ident_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

fn is_ident_part(b: u8) -> bool {
    is_ident_start(b) || b.is_ascii_digit() || b == b'$'
}

fn is_op_char(b: u8) -> bool {
    matches!(
        b,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

pub(crate) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0C)
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// `what at or near "text"`, the text running from `start` to where the scan is. C: `scanner_yyerror`.
    fn fail(&self, what: &str, start: usize) -> PgError {
        let text = &self.source[start..self.at];
        error!(SqlState::SYNTAX_ERROR, "{what} at or near \"{text}\"")
            .position(char_position(self.source, start))
            .routine("scanner_yyerror")
    }

    fn skip_blanks(&mut self) -> Result<(), PgError> {
        loop {
            match self.peek(0) {
                b if self.at < self.bytes.len() && is_space(b) => self.at += 1,
                b'-' if self.peek(1) == b'-' => self.skip_line_comment(),
                b'/' if self.peek(1) == b'*' => self.skip_block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_line_comment(&mut self) {
        while self.at < self.bytes.len() && !matches!(self.peek(0), b'\n' | b'\r') {
            self.at += 1;
        }
    }

    fn skip_block_comment(&mut self) -> Result<(), PgError> {
        let start = self.at;
        let mut depth = 0usize;
        while self.at < self.bytes.len() {
            if self.bytes[self.at..].starts_with(b"/*") {
                depth += 1;
                self.at += 2;
            } else if self.bytes[self.at..].starts_with(b"*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                self.at += 1;
            }
        }
        let e = self.fail("unterminated /* comment", start);
        self.at = start;
        Err(e)
    }

    fn token(&mut self) -> Result<Tok, PgError> {
        let start = self.at;
        let Some(&first) = self.bytes.get(start) else { return Ok(Tok::Eof) };
        match first {
            b'\'' => {
                let kind = if self.standard_conforming_strings { Quote::Plain } else { Quote::Escape };
                self.string(start, kind)
            }
            b'"' => self.quoted_ident(start, Tok::QuotedIdent),
            b'$' => self.dollar(start),
            b'0'..=b'9' => self.number(start),
            b'.' if self.peek(1).is_ascii_digit() => self.number(start),
            b if is_ident_start(b) => self.word(start, b),
            b'.' if self.peek(1) == b'.' => self.take(2, Tok::DotDot),
            b':' if self.peek(1) == b':' => self.take(2, Tok::Typecast),
            b':' if self.peek(1) == b'=' => self.take(2, Tok::ColonEquals),
            b',' | b'(' | b')' | b'[' | b']' | b'.' | b';' | b':' => self.take(1, Tok::Char(first)),
            b if is_op_char(b) => Ok(self.operator(start)),
            // A character that begins no token is handed on as itself: the grammar has no use for it.
            b => self.take(1, Tok::Char(b)),
        }
    }

    fn take(&mut self, n: usize, kind: Tok) -> Result<Tok, PgError> {
        self.at += n;
        Ok(kind)
    }

    fn word(&mut self, start: usize, first: u8) -> Result<Tok, PgError> {
        match (first, self.peek(1), self.peek(2)) {
            (b'e' | b'E', b'\'', _) => return self.prefixed_string(start, 1, Quote::Escape),
            (b'b' | b'B', b'\'', _) => return self.prefixed_string(start, 1, Quote::Bit),
            (b'x' | b'X', b'\'', _) => return self.prefixed_string(start, 1, Quote::Hex),
            (b'n' | b'N', b'\'', _) => return self.prefixed_string(start, 1, Quote::National),
            (b'u' | b'U', b'&', b'\'') => return self.prefixed_string(start, 2, Quote::Unicode),
            (b'u' | b'U', b'&', b'"') => {
                self.at += 2;
                return self.quoted_ident(start, Tok::UnicodeIdent);
            }
            _ => {}
        }
        self.skip_word();
        let word = &self.source[start..self.at];
        Ok(keywords::lookup(word).map_or(Tok::Ident, Tok::Keyword))
    }

    fn skip_word(&mut self) {
        while self.at < self.bytes.len() && is_ident_part(self.bytes[self.at]) {
            self.at += 1;
        }
    }

    fn prefixed_string(&mut self, start: usize, prefix: usize, kind: Quote) -> Result<Tok, PgError> {
        self.at += prefix;
        self.string(start, kind)
    }

    /// At the opening quote. Runs over continuations: a further part that begins on a later line.
    fn string(&mut self, start: usize, kind: Quote) -> Result<Tok, PgError> {
        loop {
            self.at += 1;
            self.string_part(start, kind)?;
            let end = self.at;
            if !self.continuation_follows() {
                self.at = end;
                return Ok(Tok::Str(kind));
            }
        }
    }

    fn string_part(&mut self, start: usize, kind: Quote) -> Result<(), PgError> {
        loop {
            match self.bytes.get(self.at) {
                None => {
                    return Err(self.fail(
                        match kind {
                            Quote::Bit => "unterminated bit string literal",
                            Quote::Hex => "unterminated hexadecimal string literal",
                            _ => "unterminated quoted string",
                        },
                        start,
                    ));
                }
                Some(b'\'') if self.peek(1) == b'\'' => self.at += 2,
                Some(b'\'') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') if kind == Quote::Escape => {
                    self.at += 1;
                    // Skip the whole escaped character, which may be longer than a byte.
                    self.at += self.source[self.at..].chars().next().map_or(0, char::len_utf8);
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// Moves to the next part's opening quote, if only blanks with a line break lie between.
    fn continuation_follows(&mut self) -> bool {
        let mut line_break = false;
        loop {
            match self.peek(0) {
                b'\n' | b'\r' => line_break = true,
                b' ' | b'\t' | 0x0C => {}
                b'-' if line_break && self.peek(1) == b'-' => {
                    self.skip_line_comment();
                    continue;
                }
                b => return b == b'\'' && line_break,
            }
            self.at += 1;
        }
    }

    fn quoted_ident(&mut self, start: usize, kind: Tok) -> Result<Tok, PgError> {
        self.at += 1;
        let body = self.at;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(self.fail("unterminated quoted identifier", start)),
                Some(b'"') if self.peek(1) == b'"' => self.at += 2,
                Some(b'"') => break,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        if self.at == body + 1 {
            return Err(self.fail("zero-length delimited identifier", start));
        }
        Ok(kind)
    }

    fn dollar(&mut self, start: usize) -> Result<Tok, PgError> {
        self.at += 1;
        if self.peek(0).is_ascii_digit() {
            return self.param(start);
        }
        // A tag is a word without dollar signs, or nothing.
        if is_ident_start(self.peek(0)) {
            while is_ident_part(self.peek(0)) && self.peek(0) != b'$' {
                self.at += 1;
            }
        }
        if self.peek(0) != b'$' {
            self.at = start + 1;
            return Ok(Tok::Char(b'$'));
        }
        self.at += 1;
        let tag = &self.source[start..self.at];
        match self.source[self.at..].find(tag) {
            Some(offset) => {
                self.at += offset + tag.len();
                Ok(Tok::Str(Quote::Dollar(tag.len().min(usize::from(u16::MAX)) as u16)))
            }
            None => {
                self.at = self.bytes.len();
                Err(self.fail("unterminated dollar-quoted string", start))
            }
        }
    }

    fn param(&mut self, start: usize) -> Result<Tok, PgError> {
        self.skip_digits();
        let number = self.source[start + 1..self.at].parse::<u32>();
        if is_ident_start(self.peek(0)) {
            self.skip_word();
            return Err(self.fail("trailing junk after parameter", start));
        }
        // The C scanner wraps around here; no such parameter can exist either way.
        Ok(Tok::Param(number.ok().filter(|n| *n <= i32::MAX as u32).unwrap_or(i32::MAX as u32)))
    }

    fn skip_digits(&mut self) {
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
    }

    fn number(&mut self, start: usize) -> Result<Tok, PgError> {
        let mut kind = Tok::Integer;
        self.skip_digits();
        // "1..2" is a range in PL/pgSQL, not a number with two points.
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            kind = Tok::Float;
            self.at += 1;
            self.skip_digits();
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + sign).is_ascii_digit() {
                kind = Tok::Float;
                self.at += 1 + sign;
                self.skip_digits();
            } else if sign == 1 {
                self.at += 2;
                return Err(self.fail("trailing junk after numeric literal", start));
            }
        }
        if is_ident_start(self.peek(0)) {
            self.skip_word();
            return Err(self.fail("trailing junk after numeric literal", start));
        }
        Ok(kind)
    }

    fn operator(&mut self, start: usize) -> Tok {
        let rest = &self.bytes[start..];
        let mut len = rest.iter().take_while(|b| is_op_char(**b)).count();
        // A comment ends the operator before it.
        if let Some(cut) = rest[..len].windows(2).position(|w| w == b"--" || w == b"/*") {
            len = cut;
        }
        // "a=-1" is "=" and "-": a trailing sign belongs to what follows, unless one of these characters
        // marks the whole as an operator of its own, such as "@-".
        let marked = |op: &[u8]| op.iter().any(|b| b"~!@#%^&|`?".contains(b));
        while len > 1 && matches!(rest[len - 1], b'+' | b'-') && !marked(&rest[..len - 1]) {
            len -= 1;
        }
        self.at = start + len;
        match &rest[..len] {
            b"<=" => Tok::LessEquals,
            b">=" => Tok::GreaterEquals,
            b"<>" | b"!=" => Tok::NotEquals,
            b"=>" => Tok::EqualsGreater,
            [b @ (b'+' | b'-' | b'*' | b'/' | b'%' | b'^' | b'<' | b'>' | b'=')] => Tok::Char(*b),
            _ => Tok::Op,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        let (tokens, error) = scan(source, true);
        let mut shown: Vec<String> = tokens
            .iter()
            .take_while(|t| !matches!(t.kind, Tok::Eof | Tok::Bad))
            .map(|t| source[t.start as usize..t.end as usize].to_string())
            .collect();
        if let Some(e) = error {
            shown.push(format!("!{}@{}", e.message, e.position.unwrap_or(0)));
        }
        assert_eq!(shown.join(" "), expected, "{source}");
    }

    #[test]
    fn operators_end_where_postgres_ends_them() {
        check("a=-1", "a = - 1");
        check("a@-1", "a @- 1");
        check("1+--x\n2", "1 + 2");
        check("1*/*c*/2", "1 * 2");
        check("a<>b!=c", "a <> b != c");
        check("x::int[]", "x :: int [ ]");
        check("a||-b", "a ||- b");
        check("1 +-+ 2", "1 + - + 2");
    }

    #[test]
    fn strings_and_comments() {
        check("'a''b' E'\\'' $$x'y$$ $t$ $$ $t$", "'a''b' E'\\'' $$x'y$$ $t$ $$ $t$");
        check("'a'\n 'b' c", "'a'\n 'b' c");
        check("'a' 'b'", "'a' 'b'");
        check("/* a /* b */ c */ d", "d");
        check("\"a\"\"b\" U&\"x\" u&'y'", "\"a\"\"b\" U&\"x\" u&'y'");
    }

    #[test]
    fn numbers() {
        check("1 1.5 .5 5. 1e10 1.e-3", "1 1.5 .5 5. 1e10 1.e-3");
        check("1..2", "1 .. 2");
        check("1a", "!trailing junk after numeric literal at or near \"1a\"@1");
        check("x 1.5e+", "x !trailing junk after numeric literal at or near \"1.5e+\"@3");
        check("0x10", "!trailing junk after numeric literal at or near \"0x10\"@1");
        check("$1 $1abc", "$1 !trailing junk after parameter at or near \"$1abc\"@4");
    }

    #[test]
    fn unterminated() {
        check("é 'abc", "é !unterminated quoted string at or near \"'abc\"@3");
        check("\"abc", "!unterminated quoted identifier at or near \"\"abc\"@1");
        check("\"\"", "!zero-length delimited identifier at or near \"\"\"\"@1");
        check("/* abc", "!unterminated /* comment at or near \"/* abc\"@1");
        check("$$abc", "!unterminated dollar-quoted string at or near \"$$abc\"@1");
    }
}
