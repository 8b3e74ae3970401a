//! Rust as tokens: what is in comments and strings is not code.
//!
//! Enough for rules about words; no syntax tree. Brackets know where they close, so a file whose brackets do not
//! match is an error, which is how a mistake in this lexer would show.

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Identifier or keyword; a raw one without its `r#`.
    Word(String),
    /// One character of an operator, or the quote of a lifetime.
    Punct(char),
    /// A number, character or string.
    Literal,
    /// A bracket and the index of its counterpart.
    Open(char, usize),
    /// A closing bracket.
    Close,
}

/// A token and its line, counted from 1.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

/// The tokens of a file, or the line of what cannot be read and what is wrong there.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, (usize, String)> {
    let mut lexer = Lexer { rest: text, line: 1, tokens: Vec::new(), open: Vec::new() };
    while let Some(c) = lexer.rest.chars().next() {
        lexer.token(c)?;
    }
    match lexer.open.pop() {
        Some((at, bracket)) => Err((lexer.tokens[at].line, format!("{bracket} is not closed"))),
        None => Ok(lexer.tokens),
    }
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
    /// Brackets not closed yet: index and character.
    open: Vec<(usize, char)>,
}

impl Lexer<'_> {
    /// Reads one token, comment or blank, which begins with `c`.
    fn token(&mut self, c: char) -> Result<(), (usize, String)> {
        match c {
            c if c.is_whitespace() => self.skip(c.len_utf8()),
            '/' if self.rest.starts_with("//") => self.skip(self.rest.find('\n').unwrap_or(self.rest.len())),
            '/' if self.rest.starts_with("/*") => self.block_comment()?,
            '"' => self.string("\"", true)?,
            '\'' => self.quote()?,
            c if c.is_ascii_digit() => self.number(),
            c if c.is_alphabetic() || c == '_' => self.word()?,
            '(' | '[' | '{' => {
                self.open.push((self.tokens.len(), c));
                self.push(Kind::Open(c, 0), 1);
            }
            ')' | ']' | '}' => self.close(c)?,
            c => self.push(Kind::Punct(c), c.len_utf8()),
        }
        Ok(())
    }

    /// Goes on by `bytes`.
    fn skip(&mut self, bytes: usize) {
        let (read, rest) = self.rest.split_at(bytes);
        self.line += read.matches('\n').count();
        self.rest = rest;
    }

    /// Takes `bytes` as a token.
    fn push(&mut self, kind: Kind, bytes: usize) {
        self.tokens.push(Token { kind, line: self.line });
        self.skip(bytes);
    }

    fn close(&mut self, c: char) -> Result<(), (usize, String)> {
        let (at, bracket) = self.open.pop().ok_or_else(|| (self.line, format!("{c} closes nothing")))?;
        if !matches!((bracket, c), ('(', ')') | ('[', ']') | ('{', '}')) {
            return Err((
                self.line,
                format!("{c} does not close the {bracket} of line {}", self.tokens[at].line),
            ));
        }
        self.tokens[at].kind = Kind::Open(bracket, self.tokens.len());
        self.push(Kind::Close, 1);
        Ok(())
    }

    /// Block comments nest.
    fn block_comment(&mut self) -> Result<(), (usize, String)> {
        let began = self.line;
        let mut depth = 0_u32;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
                if depth == 0 {
                    return Ok(());
                }
            } else if let Some(c) = self.rest.chars().next() {
                self.skip(c.len_utf8());
            } else {
                return Err((began, "the comment does not end".into()));
            }
        }
    }

    /// A string from its first quote on. `end` is what ends it; a backslash hides the next character if `escapes`.
    fn string(&mut self, end: &str, escapes: bool) -> Result<(), (usize, String)> {
        let mut hidden = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            if hidden {
                hidden = false;
            } else if escapes && c == '\\' {
                hidden = true;
            } else if self.rest[at..].starts_with(end) {
                self.push(Kind::Literal, at + end.len());
                return Ok(());
            }
        }
        Err((self.line, "the string does not end".into()))
    }

    /// A character, or the quote before a lifetime.
    fn quote(&mut self) -> Result<(), (usize, String)> {
        let mut after = self.rest.chars().skip(1);
        match (after.next(), after.next()) {
            (Some('\\'), _) | (Some(_), Some('\'')) => self.string("'", true),
            _ => {
                self.push(Kind::Punct('\''), 1);
                Ok(())
            }
        }
    }

    fn number(&mut self) {
        let mut end = 0;
        let bytes = self.rest.as_bytes();
        let is_part = |at: usize| bytes.get(at).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        // A point belongs to the number only before a digit: `1..2` and `1.max(2)` are not one number.
        while is_part(end)
            || (bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit))
        {
            end += 1;
        }
        self.push(Kind::Literal, end);
    }

    /// A word, unless it is the prefix of a string, a byte or a raw identifier.
    fn word(&mut self) -> Result<(), (usize, String)> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        let hashes = after.len() - after.trim_start_matches('#').len();
        let is_raw = matches!(word, "r" | "br" | "cr") && after[hashes..].starts_with('"');
        if is_raw {
            self.rest = &after[hashes..];
            self.string(&format!("\"{}", "#".repeat(hashes)), false)
        } else if matches!(word, "b" | "c") && after.starts_with('"') {
            self.rest = after;
            self.string("\"", true)
        } else if word == "b" && after.starts_with('\'') {
            self.rest = after;
            self.string("'", true)
        } else if word == "r" && after.starts_with('#') {
            self.rest = &after[1..];
            Ok(())
        } else {
            let kind = Kind::Word(word.to_owned());
            self.push(kind, end);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words, punctuation and brackets as they come; `#` for a literal.
    fn show(text: &str) -> String {
        let show_one = |token: &Token| match &token.kind {
            Kind::Word(word) => word.clone(),
            Kind::Punct(c) | Kind::Open(c, _) => c.to_string(),
            Kind::Literal => "#".into(),
            Kind::Close => "<".into(),
        };
        tokens(text).unwrap().iter().map(show_one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_no_tokens() {
        assert_eq!(show("a // b }\nc /* d /* e */ f } */ g /// h"), "a c g");
    }

    #[test]
    fn strings_hide_what_is_in_them() {
        assert_eq!(show(r#"a "b \" } \\" c"#), "a # c");
        assert_eq!(show("a r\"\\\" b r#\"c \" }\"# d br##\"\"#\"## e"), "a # b # d # e");
        assert_eq!(show("b\"a\" c\"\\\"\" cr\"b\" r#fn rb"), "# # # fn rb");
    }

    #[test]
    fn characters_are_not_lifetimes() {
        assert_eq!(show(r"'a' '\'' '\u{1F600}' '}' b'{' b'\'' 'ä'"), "# # # # # # #");
        assert_eq!(show("&'a str, 'outer: loop, <'_>"), "& ' a str , ' outer : loop , < ' _ >");
    }

    #[test]
    fn numbers_end_where_they_end() {
        assert_eq!(show("0..9 1.5 2.max(3) 0x1f_u8 t.0.1"), "# . . # # # . max ( # < # t . #");
    }

    #[test]
    fn brackets_know_their_counterpart() {
        let tokens = tokens("a(b[c]\n)").unwrap();
        assert_eq!(tokens[1].kind, Kind::Open('(', 6));
        assert_eq!(tokens[3].kind, Kind::Open('[', 5));
        assert_eq!(tokens[6].line, 2);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_line() {
        let fails = |text: &str| tokens(text).unwrap_err().0;
        assert_eq!(fails("a\n(b]"), 2);
        assert_eq!(fails("a\n\n}"), 3);
        assert_eq!(fails("\n{\n"), 2);
        assert_eq!(fails("\n\"a\n\n"), 2);
        assert_eq!(fails("\n/* a\n"), 2);
    }
}
