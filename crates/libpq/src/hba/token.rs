//! Text to lines of fields of tokens.
//!
//! A line's fields are separated by blanks, a field's tokens by commas. Double quotes take away a token's
//! special meaning and let it hold blanks; a doubled quote inside is one. `@name` stands for the tokens of
//! another file. A backslash at the end of a line joins it with the next.
//!
//! C counterpart: `next_token`, `next_field_expand`, `tokenize_inc_file`, `tokenize_auth_file` of hba.c.

use std::path::Path;

use common::SqlState;
use elog::{PgError, errno_text, pg_error};

/// Longest token, in bytes. C: `MAX_TOKEN`.
const TOKEN_LENGTH_MAX: usize = 10_240 - 1;
/// Files that include files, so deep; C runs out of file descriptors instead.
const INCLUDE_DEPTH_MAX: usize = 10;

/// One word of a line. C: `AuthToken`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Without its quotes.
    pub text: String,
    /// It began with a quote, so it is no keyword.
    pub quoted: bool,
}

impl Token {
    /// Is it this keyword? C: `token_is_keyword`.
    pub(super) fn is_keyword(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }
}

/// A logical line that is not blank. C: `TokenizedAuthLine`.
#[derive(Clone, Debug, Default)]
pub(super) struct TokenLine {
    /// Fields of tokens; neither is ever empty.
    pub(super) fields: Vec<Vec<Token>>,
    /// Number of its first physical line.
    pub(super) number: u32,
    /// The line as written, continuations joined.
    pub(super) raw: String,
    /// Why it could not be tokenized; that has been logged.
    pub(super) error: Option<String>,
}

/// Tokenizes a file's text. What there is to log goes into `complaints`.
pub(super) fn tokenize(path: &Path, text: &str, complaints: &mut Vec<PgError>) -> Vec<TokenLine> {
    tokenize_at_depth(path, text, complaints, 0)
}

fn tokenize_at_depth(path: &Path, text: &str, complaints: &mut Vec<PgError>, depth: usize) -> Vec<TokenLine> {
    let mut lines = Vec::new();
    let mut physical = text.split('\n');
    let mut number = 1;
    while let Some((raw, count)) = logical_line(&mut physical) {
        let mut line = TokenLine { number, raw, ..TokenLine::default() };
        number += count;
        // C's strings end at a NUL.
        let mut rest = line.raw.split('\0').next().unwrap_or_default();
        while !rest.is_empty() && line.error.is_none() {
            let mut includer = Includer { path, complaints, depth, error: None };
            let (field, after) = next_field(rest, &mut includer);
            line.error = includer.error;
            rest = after;
            if !field.is_empty() {
                line.fields.push(field);
            }
        }
        if !line.fields.is_empty() || line.error.is_some() {
            lines.push(line);
        }
    }
    lines
}

/// Joins lines that end in a backslash; also says how many there were.
fn logical_line<'a>(physical: &mut impl Iterator<Item = &'a str>) -> Option<(String, u32)> {
    let mut joined = physical.next()?.trim_end_matches('\r').to_owned();
    let mut count = 1;
    let mut joined_at = 0;
    // Two backslashes around a line end would otherwise be taken for two continuations.
    while joined.len() > joined_at && joined.ends_with('\\') {
        joined.pop();
        joined_at = joined.len();
        let Some(next) = physical.next() else { break };
        joined.push_str(next);
        joined.truncate(joined.trim_end_matches('\r').len());
        count += 1;
    }
    Some((joined, count))
}

/// Where `@name` is looked for, and what came of it.
struct Includer<'a> {
    path: &'a Path,
    complaints: &'a mut Vec<PgError>,
    depth: usize,
    error: Option<String>,
}

impl Includer<'_> {
    fn fail(&mut self, sqlstate: SqlState, logged: String, shown: String) {
        self.complaints.push(pg_error!(Log, sqlstate, "{logged}"));
        self.error = Some(shown);
    }

    /// C: `tokenize_inc_file`.
    fn include(&mut self, name: &str, field: &mut Vec<Token>) {
        // Relative to the file that says so.
        let path = self.path.parent().unwrap_or(Path::new("")).join(name);
        if self.depth >= INCLUDE_DEPTH_MAX {
            let text = format!("could not open file \"{}\": maximum nesting depth exceeded", path.display());
            return self.fail(SqlState::CONFIG_FILE_ERROR, text.clone(), text);
        }
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(e) => {
                let text = format!(
                    "could not open secondary authentication file \"@{name}\" as \"{}\": {}",
                    path.display(),
                    errno_text(&e)
                );
                return self.fail(elog::sqlstate_for_file_access(&e), text.clone(), text);
            }
        };
        for line in tokenize_at_depth(&path, &text, self.complaints, self.depth + 1) {
            if line.error.is_some() {
                self.error = line.error;
                return;
            }
            field.extend(line.fields.into_iter().flatten());
        }
    }
}

/// One field and what follows it; the field is empty at the end of the line. C: `next_field_expand`.
fn next_field<'a>(mut rest: &'a str, includer: &mut Includer<'_>) -> (Vec<Token>, &'a str) {
    let mut field = Vec::new();
    loop {
        let next = next_token(rest);
        rest = next.rest;
        if next.too_long {
            let shown = "authentication file token too long";
            let logged = format!("{shown}, skipping: \"{}\"", next.token.text);
            includer.fail(SqlState::CONFIG_FILE_ERROR, logged, shown.to_owned());
            return (field, rest);
        }
        if !next.found {
            return (field, rest);
        }
        match next.token.text.strip_prefix('@') {
            Some(name) if !next.token.quoted && !name.is_empty() => includer.include(name, &mut field),
            _ => field.push(next.token),
        }
        if !next.comma || includer.error.is_some() {
            return (field, rest);
        }
    }
}

struct NextToken<'a> {
    token: Token,
    /// False at the end of the line.
    found: bool,
    /// A comma follows: the field goes on.
    comma: bool,
    too_long: bool,
    rest: &'a str,
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

/// C: `next_token`.
fn next_token(rest: &str) -> NextToken<'_> {
    // Commas before a token mean nothing.
    let rest = rest.trim_start_matches(|c| is_blank(c) || c == ',');
    let mut text = String::new();
    let (mut in_quote, mut was_quote, mut saw_quote, mut quoted) = (false, false, false, false);
    let ended = |text: String, quoted: bool, saw_quote: bool, comma: bool, rest| NextToken {
        found: saw_quote || !text.is_empty(),
        token: Token { text, quoted },
        comma,
        too_long: false,
        rest,
    };
    for (at, c) in rest.char_indices() {
        if is_blank(c) && !in_quote {
            return ended(text, quoted, saw_quote, false, &rest[at..]);
        }
        if c == '#' && !in_quote {
            return ended(text, quoted, saw_quote, false, "");
        }
        if text.len() >= TOKEN_LENGTH_MAX {
            return NextToken {
                token: Token { text, quoted },
                found: false,
                comma: false,
                too_long: true,
                rest: "",
            };
        }
        if c == ',' && !in_quote {
            return ended(text, quoted, saw_quote, true, &rest[at + 1..]);
        }
        if c != '"' || was_quote {
            text.push(c);
        }
        was_quote = in_quote && c == '"' && !was_quote;
        if c == '"' {
            in_quote = !in_quote;
            saw_quote = true;
            quoted |= text.is_empty();
        }
    }
    ended(text, quoted, saw_quote, false, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Fields separated by ` | `, tokens by ` , `; a quoted token keeps a quote in front.
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let lines = tokenize(Path::new("/nowhere/pg_hba.conf"), text, &mut Vec::new());
        let token = |t: &Token| format!("{}{}", if t.quoted { "'" } else { "" }, t.text);
        let field = |f: &Vec<Token>| f.iter().map(token).collect::<Vec<_>>().join(" , ");
        let line = |l: &TokenLine| {
            format!("{}: {}", l.number, l.fields.iter().map(field).collect::<Vec<_>>().join(" | "))
        };
        assert_eq!(lines.iter().map(line).collect::<Vec<_>>().join("\n"), expected);
    }

    #[test]
    fn fields_and_tokens() {
        check("local all\tall  trust\r\n\n  # c\n", "1: local | all | all | trust");
        check("a b,c d, e , f", "1: a | b , c | d , e | f");
        check(r#"a "b c","d""e" f"g h"i "" "all""#, r#"1: a | 'b c , 'd"e | fg hi | ' | 'all"#);
        check(r#"a "b # c" # d"#, "1: a | 'b # c");
        check("a \"unended b", "1: a | 'unended b");
        check("é ü", "1: é | ü");
    }

    #[test]
    fn continued_lines_keep_the_first_number() {
        check("a \\\n b \\\r\nc\nd", "1: a | b | c\n4: d");
        check("a\\\\\nb\nc", "1: a\\b\n3: c");
        check("a\\", "1: a");
    }

    #[test]
    fn a_token_has_a_longest_length() {
        let mut complaints = Vec::new();
        let text = format!("{} b\n{}\n", "x".repeat(TOKEN_LENGTH_MAX), "y".repeat(TOKEN_LENGTH_MAX + 1));
        let lines = tokenize(Path::new("f"), &text, &mut complaints);
        assert_eq!(lines[0].error, None);
        assert_eq!(lines[1].error.as_deref(), Some("authentication file token too long"));
        assert!(complaints[0].message.starts_with("authentication file token too long, skipping: \"yyy"));
    }

    #[test]
    fn included_files() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("main");
        std::fs::write(dir.path().join("inc"), "b \"c d\"\n@inc2\n").unwrap();
        std::fs::write(dir.path().join("inc2"), "e # f\n").unwrap();
        std::fs::write(dir.path().join("loop"), "@loop\n").unwrap();
        let mut complaints = Vec::new();
        let lines = tokenize(&main, "a @inc,f g\n@nofile\n@loop\n\"@inc\" @\n", &mut complaints);
        let words = |field: &[Token]| field.iter().map(|t| t.text.clone()).collect::<Vec<_>>();
        assert_eq!(words(&lines[0].fields[1]), ["b", "c d", "e", "f"]);
        let missing = format!(
            "could not open secondary authentication file \"@nofile\" as \"{}\": No such file or directory",
            dir.path().join("nofile").display()
        );
        assert_eq!(lines[1].error.as_ref(), Some(&missing));
        assert_eq!(complaints[0].message, missing);
        assert!(lines[2].error.as_ref().unwrap().ends_with("maximum nesting depth exceeded"));
        assert_eq!(words(&lines[3].fields.concat()), ["@inc", "@"]);
    }

    proptest! {
        #[test]
        fn any_text_is_tokenized(text in "([a-c@#,\"\\\\ \t\r\n]|\\PC){0,80}") {
            for line in tokenize(Path::new("/nowhere/x"), &text, &mut Vec::new()) {
                prop_assert!(line.error.is_some() || line.fields.iter().all(|field| !field.is_empty()));
            }
        }
    }
}
