//! A Rust file as the rules see it: tokens, and from them functions, attributes and what only tests compile.

use std::collections::HashSet;
use std::ops::Range;

use super::Finding;
use super::lexer::{Kind, Token, tokens};

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Line of the word `fn`.
    pub(crate) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(crate) lines: usize,
}

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    pub(crate) lines: Vec<&'a str>,
    pub(crate) tokens: Vec<Token>,
}

impl<'a> Source<'a> {
    pub(crate) fn read(path: &'a str, text: &'a str) -> Result<Source<'a>, Finding> {
        let tokens = tokens(text)
            .map_err(|(line, problem)| Finding::new(path, line, format!("is not Rust: {problem}")))?;
        Ok(Source { path, lines: text.lines().collect(), tokens })
    }

    /// The token at `at`, if there is one.
    pub(crate) fn kind(&self, at: usize) -> Option<&Kind> {
        self.tokens.get(at).map(|token| &token.kind)
    }

    /// The word at `at`.
    pub(crate) fn word(&self, at: usize) -> Option<&str> {
        match self.kind(at) {
            Some(Kind::Word(word)) => Some(word),
            _ => None,
        }
    }

    pub(crate) fn is_punct(&self, at: usize, c: char) -> bool {
        self.kind(at) == Some(&Kind::Punct(c))
    }

    /// The word before `::` before the token at `at`: `fs` for the `rename` of `std::fs::rename`.
    pub(crate) fn qualifier(&self, at: usize) -> Option<&str> {
        let path = at >= 3 && self.is_punct(at - 1, ':') && self.is_punct(at - 2, ':');
        path.then(|| self.word(at - 3)).flatten()
    }

    /// Every identifier, outside comments and strings.
    pub(crate) fn words(&self) -> HashSet<&str> {
        (0..self.tokens.len()).filter_map(|at| self.word(at)).collect()
    }

    /// Functions with bodies, except inside `macro_rules!`, where they are not written for readers of functions.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            if self.word(at) == Some("macro_rules")
                && let Some(Kind::Open(_, close)) = self.kind(at + 3)
            {
                at = *close;
            } else if self.word(at) == Some("fn")
                && let Some(name) = self.word(at + 1)
                && let Some(end) = self.body_end(at + 2)
            {
                let line = self.tokens[at].line;
                let lines = self.tokens[end].line - line + 1;
                found.push(Function { name: name.to_owned(), line, lines });
            }
            at += 1;
        }
        found
    }

    /// The closing brace of the function whose signature goes on at `at`; none if it has no body.
    fn body_end(&self, mut at: usize) -> Option<usize> {
        // Braces between angle brackets are const arguments.
        let mut angles = 0_u32;
        loop {
            match self.kind(at)? {
                Kind::Open('{', close) if angles == 0 => return Some(*close),
                Kind::Open(_, close) => at = *close,
                Kind::Punct(';') | Kind::Close => return None,
                Kind::Punct('<') => angles += 1,
                Kind::Punct('>') if !self.is_punct(at - 1, '-') => angles = angles.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
    }

    /// Attributes: the tokens between the brackets, whether it is an inner one (`#![..]`), and where it ends.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (Range<usize>, bool)> {
        (0..self.tokens.len()).filter_map(|at| {
            let inner = self.is_punct(at + 1, '!');
            let open = at + 1 + usize::from(inner);
            match self.kind(open) {
                Some(Kind::Open('[', close)) if self.is_punct(at, '#') => Some((open + 1..*close, inner)),
                _ => None,
            }
        })
    }

    /// Does a range of tokens hold these words in this order?
    pub(crate) fn holds(&self, range: Range<usize>, words: &[&str]) -> bool {
        let mut wanted = words.iter().peekable();
        for at in range {
            if wanted.peek().is_some_and(|word| self.word(at) == Some(word)) {
                wanted.next();
            }
        }
        wanted.peek().is_none()
    }

    /// Does the file open with an inner attribute that holds these words?
    pub(crate) fn opens_with(&self, words: &[&str]) -> bool {
        self.attributes().any(|(range, inner)| inner && self.holds(range, words))
    }

    /// The tokens of the item or statement after the attribute that ends before `at`.
    pub(crate) fn item_after(&self, mut at: usize) -> Range<usize> {
        let start = at;
        loop {
            match self.kind(at) {
                Some(Kind::Open('{', close)) => return start..*close + 1,
                Some(Kind::Open(_, close)) => at = *close,
                None | Some(Kind::Close | Kind::Punct(';')) => return start..at,
                _ => {}
            }
            at += 1;
        }
    }

    /// What is compiled for tests only, as ranges of tokens.
    pub(crate) fn test_items(&self) -> Vec<Range<usize>> {
        let only_tests = |range: &Range<usize>| {
            self.holds(range.clone(), &["cfg", "test"]) && !self.holds(range.clone(), &["not", "test"])
        };
        let attributes = self.attributes().filter(|(range, _)| only_tests(range));
        attributes
            .map(|(range, inner)| if inner { 0..self.tokens.len() } else { self.item_after(range.end + 1) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Source<'_> {
        Source::read("a.rs", text).unwrap()
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let source = read(
            r##"
            /// fn in_a_comment() {
            fn plain() { "fn in_a_string() {"; r#"}"#; '}'; }
            pub fn with_const<const N: usize>(a: [u8; { N }]) -> Array<{ N }>
            where
                u8: Sized,
            {
                fn nested() {
                }
            }
            trait T { fn absent(); fn given() -> fn(u8) -> u8 {
                todo }
            }
            macro_rules! m { () => { fn generated() {
            } } }
            "##,
        );
        let found = source.functions();
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(found, [("plain", 3, 1), ("with_const", 4, 7), ("nested", 8, 2), ("given", 11, 2)]);
    }

    #[test]
    fn words_are_those_of_the_code() {
        let source = read("//! page\n/* block */ fn name() { \"text\"; } // end");
        assert_eq!(source.words(), HashSet::from(["fn", "name"]));
    }

    #[test]
    fn test_items_are_known() {
        let source = read(
            "#[cfg(test)] mod a { x }\n#[cfg(not(test))] mod b { y }\n#[cfg(all(test, unix))] fn c() { z }\nw",
        );
        let in_tests = |word: &str| {
            let at = (0..source.tokens.len()).find(|at| source.word(*at) == Some(word)).unwrap();
            source.test_items().iter().any(|range| range.contains(&at))
        };
        assert_eq!(["x", "y", "z", "w"].map(in_tests), [true, false, true, false]);
        assert_eq!(read("#![cfg(test)]\nfn a() {}").test_items()[0].start, 0);
    }

    #[test]
    fn a_file_that_does_not_lex_says_where() {
        let finding = Source::read("a.rs", "fn a() {}\n\n}").unwrap_err();
        assert_eq!((finding.path.as_str(), finding.line), ("a.rs", 3));
    }
}
