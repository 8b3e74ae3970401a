//! LIKE and ILIKE. C: like.c, like_match.c.

use common::SqlState;
use elog::{Result, error};

/// Whether the whole text matches: `%` is any run, `_` one character, `\` takes the next literally. Text and
/// pattern are bytes; `one` tells how long the character at the head is. Runs in the product of the lengths at
/// worst: only the last `%` is ever returned to. C: `MatchText`.
fn matches(text: &[u8], pattern: &[u8], one: fn(&[u8]) -> usize) -> Result<bool> {
    let (mut t, mut p) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'%') => {
                p += 1;
                retry = Some((p, t));
                continue;
            }
            None if t == text.len() => return Ok(true),
            None => None,
            Some(_) if t == text.len() => {
                return Ok(false);
            }
            Some(b'_') => Some((1, one(&text[t..]))),
            Some(b'\\') => match pattern.get(p + 1) {
                None => return Err(bad_escape()),
                Some(c) => (*c == text[t]).then_some((2, 1)),
            },
            Some(c) => (*c == text[t]).then_some((1, 1)),
        };
        match (step, &mut retry) {
            (Some((dp, dt)), _) => (p, t) = (p + dp, t + dt),
            (None, Some((after, from))) if *from < text.len() => {
                *from += one(&text[*from..]);
                (p, t) = (*after, *from);
            }
            (None, _) => return Ok(false),
        }
    }
}

#[cold]
fn bad_escape() -> elog::PgError {
    error!(SqlState::INVALID_ESCAPE_SEQUENCE, "LIKE pattern must not end with escape character")
}

fn like(text: &str, pattern: &str) -> Result<bool> {
    matches(text.as_bytes(), pattern.as_bytes(), |t| crate::io::utf8_length(t[0]).min(t.len()))
}

fn ilike(text: &str, pattern: &str) -> Result<bool> {
    like(&text.to_lowercase(), &pattern.to_lowercase())
}

/// Rewrites a pattern with another escape character (or none) to one with `\`. C: `do_like_escape`.
fn with_escape(pattern: &str, escape: &str) -> Result<String> {
    let mut chars = escape.chars();
    let escape = chars.next();
    if chars.next().is_some() {
        return Err(error!(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .hint("Escape string must be empty or one character."));
    }
    if escape == Some('\\') {
        return Ok(pattern.to_string());
    }
    let mut out = String::with_capacity(pattern.len());
    let mut escaped = false;
    for c in pattern.chars() {
        if !escaped && Some(c) == escape {
            out.push('\\');
            escaped = true;
            continue;
        }
        if !escaped && c == '\\' {
            out.push('\\');
        }
        out.push(c);
        escaped = false;
    }
    Ok(out)
}

builtins! {
    fn textlike(a: &str, pattern: &str) -> bool { like(a, pattern)? }
    fn textnlike(a: &str, pattern: &str) -> bool { !like(a, pattern)? }
    fn texticlike(a: &str, pattern: &str) -> bool { ilike(a, pattern)? }
    fn texticnlike(a: &str, pattern: &str) -> bool { !ilike(a, pattern)? }
    fn namelike(a: &str, pattern: &str) -> bool { like(a, pattern)? }
    fn namenlike(a: &str, pattern: &str) -> bool { !like(a, pattern)? }
    fn nameiclike(a: &str, pattern: &str) -> bool { ilike(a, pattern)? }
    fn nameicnlike(a: &str, pattern: &str) -> bool { !ilike(a, pattern)? }
    fn bytealike(a: &[u8], pattern: &[u8]) -> bool { matches(a, pattern, |_| 1)? }
    fn byteanlike(a: &[u8], pattern: &[u8]) -> bool { !matches(a, pattern, |_| 1)? }
    fn like_escape(pattern: &str, escape: &str) -> String { with_escape(pattern, escape)? }
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn patterns() {
        check_all(
            r"
            text:abc  ~~  text:a% => t
            text:abc  ~~  text:_b_ => t
            text:abc  ~~  text:b => f
            text:héé  ~~  text:h__ => t
            text:a%c  ~~  text:a\%c => t
            text:abc  ~~  text:a\%c => f
            text:abc  ~~  text:abc\ => f
            text:abcd  ~~  text:abc\ => ERROR 22025 LIKE pattern must not end with escape character
            text:aXbXc  ~~  text:%X% => t
            text:ABC  ~~*  text:a%c => t
            text:abc  !~~  text:x% => t
            like_escape(text:a#%b\c | text:#) => a\%b\\c
            ",
        );
    }

    #[test]
    fn hard_patterns_end() {
        let text = "a".repeat(5000);
        let pattern = format!("{}b", "a%".repeat(200));
        assert!(!super::like(&text, &pattern).unwrap());
    }
}
