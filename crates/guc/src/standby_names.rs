//! The little language of `synchronous_standby_names`.
//!
//! ```text
//! config:  list | N ( list ) | FIRST N ( list ) | ANY N ( list )
//! list:    name [, name]...
//! name:    identifier | "quoted identifier" | number | *
//! ```
//!
//! C counterpart: replication/syncrep_gram.y, syncrep_scanner.l.

/// Which of the standbys listed count. C: `syncrep_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandbyMethod {
    /// Those that come first in the list among the connected ones: `FIRST`, and the default.
    Priority,
    /// Whichever are fastest: `ANY`.
    Quorum,
}

/// A parsed `synchronous_standby_names`. C: `SyncRepConfigData`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandbyConfig {
    /// Who counts.
    pub method: StandbyMethod,
    /// How many standbys a commit waits for. The check of the setting leaves only positive ones.
    pub num_sync: i32,
    /// Names in the order of the list; `*` stands for all.
    pub names: Vec<String>,
}

impl StandbyConfig {
    /// Place of a standby in the list, from 1; with [`StandbyMethod::Quorum`] all are equal and have 1. 0 if it is not
    /// listed. C: `SyncRepGetStandbyPriority`.
    pub fn priority_of(&self, standby: &str) -> i32 {
        let listed = |name: &String| name.eq_ignore_ascii_case(standby) || name == "*";
        match (self.names.iter().position(listed), self.method) {
            (None, _) => 0,
            (Some(at), StandbyMethod::Priority) => at as i32 + 1,
            (Some(_), StandbyMethod::Quorum) => 1,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Number,
    Any,
    First,
    Comma,
    Open,
    Close,
    Junk,
    End,
}

/// The scanner, with the token that the parser looks at.
struct Scanner<'a> {
    rest: &'a [u8],
    token: Token,
    /// The token as it was written; of a quoted name only the closing quote, as flex has it.
    text: String,
    /// The first complaint.
    error: Option<String>,
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0c | 0x0b)
}

fn starts_name(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

fn continues_name(b: u8) -> bool {
    starts_name(b) || b.is_ascii_digit() || b == b'$'
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Scanner<'a> {
        let mut scanner =
            Scanner { rest: text.as_bytes(), token: Token::End, text: String::new(), error: None };
        scanner.advance();
        scanner
    }

    /// C: `syncrep_yyerror`: the first complaint counts.
    fn complain(&mut self, message: &str) {
        if self.error.is_none() {
            self.error = Some(if self.text.is_empty() {
                format!("{message} at end of input")
            } else {
                format!("{message} at or near \"{}\"", self.text)
            });
        }
    }

    fn take_while(&mut self, belongs: fn(u8) -> bool) -> String {
        let len = self.rest.iter().position(|b| !belongs(*b)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(len);
        self.rest = rest;
        lossy(word)
    }

    fn advance(&mut self) {
        self.take_while(is_space);
        let Some(first) = self.rest.first().copied() else {
            (self.token, self.text) = (Token::End, String::new());
            return;
        };
        if starts_name(first) {
            self.text = self.take_while(continues_name);
            self.token = match self.text.to_ascii_lowercase().as_str() {
                "any" => Token::Any,
                "first" => Token::First,
                _ => Token::Name(self.text.clone()),
            };
            return;
        }
        if first.is_ascii_digit() {
            self.text = self.take_while(|b| b.is_ascii_digit());
            self.token = Token::Number;
            return;
        }
        self.rest = &self.rest[1..];
        self.text = char::from(first).to_string();
        self.token = match first {
            b'"' => self.quoted(),
            b'*' => Token::Name("*".to_owned()),
            b',' => Token::Comma,
            b'(' => Token::Open,
            b')' => Token::Close,
            _ => Token::Junk,
        };
    }

    /// Behind the opening quote.
    fn quoted(&mut self) -> Token {
        let mut name = Vec::new();
        while let Some(end) = self.rest.iter().position(|b| *b == b'"') {
            name.extend_from_slice(&self.rest[..end]);
            self.rest = &self.rest[end + 1..];
            if self.rest.first() != Some(&b'"') {
                return Token::Name(lossy(&name));
            }
            name.push(b'"');
            self.rest = &self.rest[1..];
        }
        (self.rest, self.text) = (&[], String::new());
        self.complain("unterminated quoted identifier");
        Token::Junk
    }

    /// Steps over a token that must come now.
    fn expect(&mut self, token: &Token) -> Option<()> {
        if self.token != *token {
            self.complain("syntax error");
            return None;
        }
        self.advance();
        Some(())
    }

    fn number(&mut self) -> Option<i32> {
        // As C's atoi on a machine with a long of 64 bits.
        let value = self.text.parse::<i64>().unwrap_or(i64::MAX) as i32;
        self.expect(&Token::Number)?;
        Some(value)
    }

    fn name(&mut self) -> Option<String> {
        let name = match &self.token {
            Token::Name(name) => name.clone(),
            Token::Number => self.text.clone(),
            _ => {
                self.complain("syntax error");
                return None;
            }
        };
        self.advance();
        Some(name)
    }

    /// `, name` as often as it comes.
    fn more_names(&mut self, names: &mut Vec<String>) -> Option<()> {
        while self.token == Token::Comma {
            self.advance();
            names.push(self.name()?);
        }
        Some(())
    }

    fn in_parentheses(&mut self) -> Option<Vec<String>> {
        self.expect(&Token::Open)?;
        let mut names = vec![self.name()?];
        self.more_names(&mut names)?;
        self.expect(&Token::Close)?;
        Some(names)
    }

    fn config(&mut self) -> Option<StandbyConfig> {
        let method = if self.token == Token::Any { StandbyMethod::Quorum } else { StandbyMethod::Priority };
        let (num_sync, names) = match self.token {
            Token::Any | Token::First => {
                self.advance();
                (self.number()?, self.in_parentheses()?)
            }
            Token::Number => {
                // A number is a name unless a parenthesis follows.
                let text = self.text.clone();
                let number = self.number()?;
                if self.token == Token::Open {
                    (number, self.in_parentheses()?)
                } else {
                    let mut names = vec![text];
                    self.more_names(&mut names)?;
                    (1, names)
                }
            }
            _ => {
                let mut names = vec![self.name()?];
                self.more_names(&mut names)?;
                (1, names)
            }
        };
        self.expect(&Token::End)?;
        Some(StandbyConfig { method, num_sync, names })
    }
}

/// Parses what is not empty. C: `syncrep_yyparse`.
///
/// # Errors
/// The text of the first error.
pub fn parse_standby_names(text: &str) -> Result<StandbyConfig, String> {
    let mut scanner = Scanner::new(text);
    match (scanner.config(), scanner.error) {
        (Some(config), None) => Ok(config),
        (_, error) => Err(error.unwrap_or_else(|| "synchronous_standby_names parser failed".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `METHOD number: name|name`, or the error.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match parse_standby_names(text) {
            Ok(config) => {
                let method = if config.method == StandbyMethod::Quorum { "ANY" } else { "FIRST" };
                format!("{method} {}: {}", config.num_sync, config.names.join("|"))
            }
            Err(error) => error,
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn what_postgres_takes() {
        check("a", "FIRST 1: a");
        check(" a ,\tB ", "FIRST 1: a|B");
        check("*", "FIRST 1: *");
        check("2 (a, 3)", "FIRST 2: a|3");
        check("first 2(a,*)", "FIRST 2: a|*");
        check("Any 1 (x)", "ANY 1: x");
        check("1, 2, 3", "FIRST 1: 1|2|3");
        check("7", "FIRST 1: 7");
        check("é, *, a$1, \"x y\"\"z\", \"\"", "FIRST 1: é|*|a$1|x y\"z|");
        check("\"any\", \"FIRST\"", "FIRST 1: any|FIRST");
        check("99999999999999999999 (a)", "FIRST -1: a");
        check("4294967296 (a)", "FIRST 0: a");
    }

    #[test]
    fn what_it_refuses() {
        for (text, near) in [
            ("a b", "b"),
            (",", ","),
            ("FIRST 2 ()", ")"),
            ("ANY (a)", "("),
            ("-1 (a)", "-"),
            ("a \"b\"", "\""),
            ("a;", ";"),
            ("2 (a, 3, first)", "first"),
            ("a, any", "any"),
            ("1 (a) b", "b"),
            ("1 2 (a)", "2"),
            ("$a", "$"),
            ("1a", "a"),
            ("**", "*"),
            ("a b\"c", "b"),
        ] {
            check(text, &format!("syntax error at or near \"{near}\""));
        }
        for text in ["", " ", "a,", "FIRST", "FIRST 2", "FIRST 2 (a,b", "any", "3 (a"] {
            check(text, "syntax error at end of input");
        }
        for text in ["\"a", "a, \"b", "a \"b"] {
            check(text, "unterminated quoted identifier at end of input");
        }
    }

    #[test]
    fn priorities_follow_the_list() {
        let config = parse_standby_names("2 (a, B, *)").unwrap();
        assert_eq!(["A", "b", "c"].map(|name| config.priority_of(name)), [1, 2, 3]);
        let config = parse_standby_names("ANY 1 (a, b)").unwrap();
        assert_eq!(["a", "b", "c"].map(|name| config.priority_of(name)), [1, 1, 0]);
    }

    proptest! {
        #[test]
        fn a_printed_list_is_read_back(
            names in prop::collection::vec("[ -~é]{0,12}", 1..6),
            num_sync in 1..9i32,
            quorum: bool,
        ) {
            let quoted: Vec<String> =
                names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
            let word = if quorum { "any" } else { "FIRST" };
            let config = parse_standby_names(&format!("{word} {num_sync} ( {} )", quoted.join(" ,")));
            let method = if quorum { StandbyMethod::Quorum } else { StandbyMethod::Priority };
            prop_assert_eq!(config, Ok(StandbyConfig { method, num_sync, names }));
        }

        #[test]
        fn any_text_has_an_answer(text in "[ -~é\\n]{0,40}") {
            if let Err(error) = parse_standby_names(&text) {
                prop_assert!(error.contains(" at end of input") || error.contains(" at or near \""), "{}", error);
            }
        }
    }
}
