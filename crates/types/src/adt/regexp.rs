//! Regular expressions: PostgreSQL's syntax on the `regex` crate. C: regexp.c, regcomp.c.
//!
//! The pattern is rewritten to the crate's syntax, so no pattern takes more than linear time. Not possible that
//! way: back references and look-around, which are refused. Where alternatives match at the same place, the
//! first wins here, the longest in C.

use std::cell::RefCell;
use std::rc::Rc;

use common::SqlState;
use elog::{PgError, Result, error};
use regex::{Captures, Regex, RegexBuilder};

use crate::fmgr::{CallContext, RowIter};
use crate::{Datum, oid};

/// What the flags argument says. C: `pg_re_flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    ignore_case: bool,
    /// `.` and `[^x]` stop at line ends. C: `REG_NLSTOP`.
    dot_stops: bool,
    /// `^` and `$` match at line ends. C: `REG_NLANCH`.
    line_anchors: bool,
    expanded: bool,
    literal: bool,
    global: bool,
}

fn parse_flags(text: Option<&str>) -> Result<Flags> {
    let mut flags = Flags::default();
    for c in text.unwrap_or_default().chars() {
        match c {
            'g' => flags.global = true,
            'i' => flags.ignore_case = true,
            'c' => flags.ignore_case = false,
            'm' | 'n' => (flags.dot_stops, flags.line_anchors) = (true, true),
            'p' => (flags.dot_stops, flags.line_anchors) = (true, false),
            'w' => (flags.dot_stops, flags.line_anchors) = (false, true),
            's' => (flags.dot_stops, flags.line_anchors) = (false, false),
            'q' => flags.literal = true,
            'x' => flags.expanded = true,
            't' | 'b' | 'e' => {}
            _ => {
                return Err(error!(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "invalid regular expression option: \"{c}\""
                ));
            }
        }
    }
    Ok(flags)
}

/// Functions that look for all matches by nature refuse `g`.
fn no_global(flags: Flags, function: &str) -> Result<Flags> {
    if flags.global {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "{function} does not support the \"global\" option"
        ));
    }
    Ok(flags)
}

#[cold]
fn invalid(why: &str) -> PgError {
    error!(SqlState::INVALID_REGULAR_EXPRESSION, "invalid regular expression: {why}")
}

/// The crate's complaint in PostgreSQL's words.
fn explain(e: &regex::Error) -> PgError {
    let text = e.to_string();
    let has = |part: &str| text.contains(part);
    if matches!(e, regex::Error::CompiledTooBig(_)) {
        return invalid("regular expression is too complex");
    }
    invalid(if has("unclosed group") || has("unopened group") {
        "parentheses () not balanced"
    } else if has("unclosed character class") {
        "brackets [] not balanced"
    } else if has("unclosed counted") {
        "braces {} not balanced"
    } else if has("invalid repetition count range") || has("repetition quantifier") {
        "invalid repetition count(s)"
    } else if has("repetition operator missing") {
        "quantifier operand invalid"
    } else if has("character class range") || has("class escape") {
        "invalid character range"
    } else if has("escape") || has("backslash") {
        "invalid escape \\ sequence"
    } else if has("look-around") {
        return error!(SqlState::FEATURE_NOT_SUPPORTED, "regular expression look-around is not supported");
    } else {
        "invalid argument to regex function"
    })
}

/// Rewrites an advanced regular expression for the crate. C: the lexer, regc_lex.c.
fn translate(pattern: &str) -> Result<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, false, &mut out)?,
            '[' => bracket(&mut chars, &mut out)?,
            '{' if !chars.peek().is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            '}' => {
                // A bound's brace closes it; the crate takes a stray one literally only if escaped.
                let open = out.rfind('{').filter(|at| !out[..*at].ends_with('\\'));
                let in_bound =
                    open.is_some_and(|at| out[at + 1..].bytes().all(|b| b.is_ascii_digit() || b == b','));
                out.push_str(if in_bound { "}" } else { "\\}" });
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn literal(c: char, out: &mut String) {
    out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
}

fn hex(chars: &mut Chars<'_>, digits: usize) -> Result<char> {
    let text: String = (0..digits).filter_map(|_| chars.next_if(char::is_ascii_hexdigit)).collect();
    u32::from_str_radix(&text, 16)
        .ok()
        .and_then(char::from_u32)
        .ok_or_else(|| invalid("invalid escape \\ sequence"))
}

fn escape(chars: &mut Chars<'_>, in_bracket: bool, out: &mut String) -> Result<()> {
    let Some(c) = chars.next() else { return Err(invalid("invalid escape \\ sequence")) };
    match c {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => {
            out.push('\\');
            out.push(c);
        }
        'a' => out.push_str("\\x07"),
        'b' => out.push_str("\\x08"),
        'B' => out.push_str("\\\\"),
        'e' => out.push_str("\\x1b"),
        'f' => out.push_str("\\x0c"),
        'n' => out.push_str("\\n"),
        'r' => out.push_str("\\r"),
        't' => out.push_str("\\t"),
        'v' => out.push_str("\\x0b"),
        'c' => {
            let control = chars.next().map_or(0, |c| c as u32 & 0x1f);
            literal(char::from_u32(control).unwrap_or('\0'), out);
        }
        'u' => literal(hex(chars, 4)?, out),
        'U' => literal(hex(chars, 8)?, out),
        'x' => literal(hex(chars, 8)?, out),
        '0' => {
            let octal: String = (0..2).filter_map(|_| chars.next_if(|c| ('0'..='7').contains(c))).collect();
            let code = u32::from_str_radix(&octal, 8).unwrap_or(0);
            literal(char::from_u32(code).unwrap_or('\0'), out);
        }
        'A' | 'm' | 'M' | 'y' | 'Y' | 'Z' if in_bracket => return Err(invalid("invalid escape \\ sequence")),
        'A' => out.push_str("\\A"),
        'Z' => out.push_str("\\z"),
        'm' => out.push_str("\\b{start}"),
        'M' => out.push_str("\\b{end}"),
        'y' => out.push_str("\\b"),
        'Y' => out.push_str("\\B"),
        '1'..='9' => {
            return Err(error!(
                SqlState::FEATURE_NOT_SUPPORTED,
                "regular expression back references are not supported"
            ));
        }
        c if c.is_alphanumeric() => return Err(invalid("invalid escape \\ sequence")),
        c => literal(c, out),
    }
    Ok(())
}

fn bracket(chars: &mut Chars<'_>, out: &mut String) -> Result<()> {
    // [[:<:]] and [[:>:]] are word boundaries, not sets.
    let ahead: String = chars.clone().take(6).collect();
    for (written, meant) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
        if ahead == written {
            chars.nth(5);
            out.push_str(meant);
            return Ok(());
        }
    }
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let Some(c) = chars.next() else { return Err(invalid("brackets [] not balanced")) };
        match c {
            ']' if !first => {
                out.push(']');
                return Ok(());
            }
            '[' if matches!(chars.peek(), Some(':')) => {
                let name: String = chars.clone().skip(1).take_while(|c| *c != ':').collect();
                let known = [
                    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
                    "upper", "xdigit", "word",
                ];
                if !known.contains(&name.as_str()) {
                    return Err(invalid("invalid character class"));
                }
                chars.nth(name.len() + 2);
                let posix = format!("[:{name}:]");
                out.push_str(match name.as_str() {
                    "alnum" => "\\p{L}\\p{N}",
                    "alpha" => "\\p{L}",
                    "digit" => "\\p{Nd}",
                    "lower" => "\\p{Ll}",
                    "upper" => "\\p{Lu}",
                    "space" => "\\s",
                    "word" => "\\w",
                    _ => &posix,
                });
            }
            '[' if matches!(chars.peek(), Some('.' | '=')) => {
                return Err(invalid("invalid collating element"));
            }
            '\\' => escape(chars, true, out)?,
            '-' if !first && !matches!(chars.peek(), Some(']')) => out.push('-'),
            c => literal(c, out),
        }
        first = false;
    }
}

/// The options that may stand before the expression itself: `***=`, `***:`, `(?i)`. C: `prefixes`.
fn compile(pattern: &str, mut flags: Flags) -> Result<Regex> {
    let mut pattern = pattern;
    if let Some(rest) = pattern.strip_prefix("***=") {
        (pattern, flags.literal) = (rest, true);
    } else if let Some(rest) = pattern.strip_prefix("***:") {
        pattern = rest;
    }
    if !flags.literal
        && let Some(rest) = pattern.strip_prefix("(?")
        && let Some((letters, rest)) = rest.split_once(')')
        && !letters.is_empty()
        && letters.bytes().all(|b| b.is_ascii_lowercase())
    {
        let embedded = parse_flags(Some(letters)).map_err(|_| invalid("invalid embedded option"))?;
        flags = Flags {
            ignore_case: if letters.contains('c') {
                false
            } else {
                flags.ignore_case || embedded.ignore_case
            },
            global: flags.global,
            ..embedded
        };
        pattern = rest;
    }
    let translated = if flags.literal { regex::escape(pattern) } else { translate(pattern)? };
    RegexBuilder::new(&translated)
        .case_insensitive(flags.ignore_case)
        .dot_matches_new_line(!flags.dot_stops)
        .multi_line(flags.line_anchors)
        .ignore_whitespace(flags.expanded && !flags.literal)
        .build()
        .map_err(|e| explain(&e))
}

/// Most patterns kept compiled. C: `MAX_CACHED_RES`.
const CACHE_SIZE: usize = 32;

struct CacheEntry {
    pattern: String,
    flags: Flags,
    regex: Rc<Regex>,
}

thread_local! {
    static CACHE: RefCell<Vec<CacheEntry>> = const { RefCell::new(Vec::new()) };
}

/// The compiled pattern, from the cache if it was used lately. C: `RE_compile_and_cache`.
fn compiled(pattern: &str, flags: Flags) -> Result<Rc<Regex>> {
    let flags = Flags { global: false, ..flags };
    CACHE.with_borrow_mut(|cache| {
        if let Some(at) = cache.iter().position(|e| e.flags == flags && e.pattern == pattern) {
            cache[..=at].rotate_right(1);
            return Ok(cache[0].regex.clone());
        }
        let regex = Rc::new(compile(pattern, flags)?);
        cache.truncate(CACHE_SIZE - 1);
        cache.insert(0, CacheEntry { pattern: pattern.to_string(), flags, regex: regex.clone() });
        Ok(regex)
    })
}

fn is_match(text: &str, pattern: &str, ignore_case: bool) -> Result<bool> {
    Ok(compiled(pattern, Flags { ignore_case, ..Flags::default() })?.is_match(text))
}

fn group(captures: &Captures<'_>, n: usize) -> Datum {
    captures.get(n).map_or(Datum::Null, |m| Datum::text(m.as_str()))
}

/// All groups, or the whole match if there are none.
fn groups(captures: &Captures<'_>) -> Datum {
    let values = if captures.len() == 1 {
        vec![group(captures, 0)]
    } else {
        (1..captures.len()).map(|n| group(captures, n)).collect()
    };
    Datum::array(oid::TEXT, values)
}

/// `\1` to `\9`, `\&`, `\\`. C: `appendStringInfoRegexpSubstr`.
fn expand(replacement: &str, captures: &Captures<'_>, out: &mut String) {
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        let group = match (c, chars.peek()) {
            ('\\', Some(d @ '1'..='9')) => *d as usize - '0' as usize,
            ('\\', Some('&')) => 0,
            ('\\', Some('\\')) => {
                chars.next();
                out.push('\\');
                continue;
            }
            _ => {
                out.push(c);
                continue;
            }
        };
        chars.next();
        out.push_str(captures.get(group).map_or("", |m| m.as_str()));
    }
}

/// Replaces the `n`th match (0: all) from byte `start` on. C: `replace_text_regexp`.
fn replace(text: &str, regex: &Regex, replacement: &str, start: usize, n: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (i, captures) in matches_from(text, regex, start).enumerate() {
        if n != 0 && i + 1 < n {
            continue;
        }
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(&text[copied..whole.start()]);
        expand(replacement, &captures, &mut out);
        copied = whole.end();
        if n != 0 {
            break;
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// Matches one after the other, `^` still meaning the text's start.
fn matches_from<'t>(text: &'t str, regex: &Regex, start: usize) -> impl Iterator<Item = Captures<'t>> {
    let mut at = start;
    std::iter::from_fn(move || {
        if at > text.len() {
            return None;
        }
        let captures = regex.captures_at(text, at)?;
        let whole = captures.get(0)?;
        at = match whole.is_empty() {
            true => whole.end() + text[whole.end()..].chars().next().map_or(1, char::len_utf8),
            false => whole.end(),
        };
        Some(captures)
    })
}

fn start_offset(text: &str, start: i32) -> Result<usize> {
    if start <= 0 {
        return Err(bad_value("start", start));
    }
    Ok(text.char_indices().nth(start as usize - 1).map_or(text.len() + usize::from(start > 1), |(at, _)| at))
}

#[cold]
fn bad_value(name: &str, value: i32) -> PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "invalid value for parameter \"{name}\": {value}")
}

fn positive(name: &str, value: i32) -> Result<usize> {
    if value <= 0 { Err(bad_value(name, value)) } else { Ok(value as usize) }
}

fn split(text: &str, pattern: &str, flags: Option<&str>, function: &str) -> Result<Vec<Datum>> {
    let regex = compiled(pattern, no_global(parse_flags(flags)?, function)?)?;
    let mut pieces = Vec::new();
    let mut from = 0;
    for captures in matches_from(text, &regex, 0) {
        let Some(m) = captures.get(0) else { continue };
        // An empty match at either end splits nothing off.
        if m.is_empty() && (m.start() == 0 || m.start() == text.len()) || m.end() == from && m.is_empty() {
            continue;
        }
        pieces.push(Datum::text(&text[from..m.start()]));
        from = m.end();
    }
    pieces.push(Datum::text(&text[from..]));
    Ok(pieces)
}

fn substring(text: &str, pattern: &str) -> Result<Datum> {
    let regex = compiled(pattern, Flags::default())?;
    Ok(regex.captures(text).map_or(Datum::Null, |c| group(&c, usize::from(c.len() > 1))))
}

/// The replace function's fourth argument may not be a number by mistake.
fn replace_flags(flags: &str) -> Result<Flags> {
    if flags.as_bytes().first().is_some_and(u8::is_ascii_digit) {
        let c = &flags[..1];
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "invalid regular expression option: \"{c}\""
        )
        .hint("If you meant to use regexp_replace() with a start parameter, cast the fourth argument to integer explicitly."));
    }
    parse_flags(Some(flags))
}

/// Where a group matched, if it took part.
type Span = Option<(usize, usize)>;

fn find(
    text: &str,
    pattern: &str,
    start: i32,
    n: i32,
    flags: Option<&str>,
    f: &str,
) -> Result<Option<Vec<Span>>> {
    let at = start_offset(text, start)?;
    let n = positive("n", n)?;
    let regex = compiled(pattern, no_global(parse_flags(flags)?, f)?)?;
    let found = matches_from(text, &regex, at).nth(n - 1);
    Ok(found.map(|c| c.iter().map(|m| m.map(|m| (m.start(), m.end()))).collect()))
}

fn instr(
    text: &str,
    pattern: &str,
    start: i32,
    n: i32,
    end: i32,
    flags: Option<&str>,
    subexpr: i32,
) -> Result<i32> {
    if !matches!(end, 0 | 1) {
        return Err(bad_value("endoption", end));
    }
    let subexpr = usize::try_from(subexpr).map_err(|_| bad_value("subexpr", subexpr))?;
    let found = find(text, pattern, start, n, flags, "regexp_instr()")?;
    let Some(Some((from, to))) = found.and_then(|groups| groups.get(subexpr).copied()) else { return Ok(0) };
    let at = if end == 1 { to } else { from };
    Ok(text[..at].chars().count() as i32 + 1)
}

fn substr(
    text: &str,
    pattern: &str,
    start: i32,
    n: i32,
    flags: Option<&str>,
    subexpr: i32,
) -> Result<Option<String>> {
    let subexpr = usize::try_from(subexpr).map_err(|_| bad_value("subexpr", subexpr))?;
    let found = find(text, pattern, start, n, flags, "regexp_substr()")?;
    Ok(found.and_then(|groups| groups.get(subexpr).copied().flatten()).map(|(a, b)| text[a..b].to_string()))
}

fn count(text: &str, pattern: &str, start: i32, flags: Option<&str>) -> Result<i32> {
    let at = start_offset(text, start)?;
    let regex = compiled(pattern, no_global(parse_flags(flags)?, "regexp_count()")?)?;
    Ok(matches_from(text, &regex, at).count() as i32)
}

/// A SIMILAR TO pattern as a regular expression. C: `similar_escape_internal`.
fn similar(pattern: &str, escape: Option<&str>) -> Result<String> {
    let mut chars = escape.unwrap_or("\\").chars();
    let escape = chars.next();
    if chars.next().is_some() {
        return Err(error!(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .hint("Escape string must be empty or one character."));
    }
    let mut out = String::from("^(?:");
    let mut escaped = false;
    let mut in_class = false;
    for c in pattern.chars() {
        if escaped {
            if c == '"' && !in_class {
                // The three parts of substring(... similar ... escape ...).
                out.push_str(if out.contains("){1,1}?(") { "){1,1}(?:" } else { "){1,1}?(" });
            } else {
                out.push('\\');
                out.push(c);
            }
            escaped = false;
        } else if Some(c) == escape {
            escaped = true;
        } else if in_class {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
            in_class = c != ']';
        } else {
            match c {
                '[' => {
                    out.push(c);
                    in_class = true;
                }
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                '(' => out.push_str("(?:"),
                '\\' | '.' | '^' | '$' => {
                    out.push('\\');
                    out.push(c);
                }
                c => out.push(c),
            }
        }
    }
    out.push_str(")$");
    Ok(out)
}

builtins! {
    fn textregexeq(a: &str, pattern: &str) -> bool { is_match(a, pattern, false)? }
    fn textregexne(a: &str, pattern: &str) -> bool { !is_match(a, pattern, false)? }
    fn texticregexeq(a: &str, pattern: &str) -> bool { is_match(a, pattern, true)? }
    fn texticregexne(a: &str, pattern: &str) -> bool { !is_match(a, pattern, true)? }
    fn nameregexeq(a: &str, pattern: &str) -> bool { is_match(a, pattern, false)? }
    fn nameregexne(a: &str, pattern: &str) -> bool { !is_match(a, pattern, false)? }
    fn nameicregexeq(a: &str, pattern: &str) -> bool { is_match(a, pattern, true)? }
    fn nameicregexne(a: &str, pattern: &str) -> bool { !is_match(a, pattern, true)? }
    fn textregexsubstr(a: &str, pattern: &str) -> Datum { substring(a, pattern)? }
    fn textregexsubstr_escape(a: &str, pattern: &str, escape: &str) -> Datum {
        substring(a, &similar(pattern, Some(escape))?)?
    }
    fn textregexreplace_noopt(a: &str, pattern: &str, with: &str) -> String {
        replace(a, &*compiled(pattern, Flags::default())?, with, 0, 1)
    }
    fn textregexreplace(a: &str, pattern: &str, with: &str, flags: &str) -> String {
        let flags = replace_flags(flags)?;
        replace(a, &*compiled(pattern, flags)?, with, 0, usize::from(!flags.global))
    }
    fn textregexreplace_extended(a: &str, p: &str, with: &str, start: i32, n: i32, flags: &str) -> String {
        let n = usize::try_from(n).map_err(|_| bad_value("n", n))?;
        let flags = no_global(parse_flags(Some(flags))?, "regexp_replace()")?;
        replace(a, &*compiled(p, flags)?, with, start_offset(a, start)?, n)
    }
    fn textregexreplace_extended_no_flags(a: &str, p: &str, with: &str, start: i32, n: i32) -> String {
        let n = usize::try_from(n).map_err(|_| bad_value("n", n))?;
        replace(a, &*compiled(p, Flags::default())?, with, start_offset(a, start)?, n)
    }
    fn textregexreplace_extended_no_n(a: &str, p: &str, with: &str, start: i32) -> String {
        replace(a, &*compiled(p, Flags::default())?, with, start_offset(a, start)?, 1)
    }
    fn regexp_match_no_flags(a: &str, pattern: &str) -> Datum { first_match(a, pattern, None)? }
    fn regexp_match(a: &str, pattern: &str, flags: &str) -> Datum { first_match(a, pattern, Some(flags))? }
    fn regexp_split_to_array_no_flags(a: &str, pattern: &str) -> Datum {
        Datum::array(oid::TEXT, split(a, pattern, None, "regexp_split_to_array()")?)
    }
    fn regexp_split_to_array(a: &str, pattern: &str, flags: &str) -> Datum {
        Datum::array(oid::TEXT, split(a, pattern, Some(flags), "regexp_split_to_array()")?)
    }
    fn regexp_like_no_flags(a: &str, pattern: &str) -> bool { is_match(a, pattern, false)? }
    fn regexp_like(a: &str, pattern: &str, flags: &str) -> bool {
        compiled(pattern, no_global(parse_flags(Some(flags))?, "regexp_like()")?)?.is_match(a)
    }
    fn regexp_count_no_start(a: &str, p: &str) -> i32 { count(a, p, 1, None)? }
    fn regexp_count_no_flags(a: &str, p: &str, start: i32) -> i32 { count(a, p, start, None)? }
    fn regexp_count(a: &str, p: &str, start: i32, flags: &str) -> i32 { count(a, p, start, Some(flags))? }
    fn regexp_instr_no_start(a: &str, p: &str) -> i32 { instr(a, p, 1, 1, 0, None, 0)? }
    fn regexp_instr_no_n(a: &str, p: &str, start: i32) -> i32 { instr(a, p, start, 1, 0, None, 0)? }
    fn regexp_instr_no_endoption(a: &str, p: &str, start: i32, n: i32) -> i32 { instr(a, p, start, n, 0, None, 0)? }
    fn regexp_instr_no_flags(a: &str, p: &str, start: i32, n: i32, end: i32) -> i32 {
        instr(a, p, start, n, end, None, 0)?
    }
    fn regexp_instr_no_subexpr(a: &str, p: &str, start: i32, n: i32, end: i32, flags: &str) -> i32 {
        instr(a, p, start, n, end, Some(flags), 0)?
    }
    fn regexp_instr(a: &str, p: &str, start: i32, n: i32, end: i32, flags: &str, subexpr: i32) -> i32 {
        instr(a, p, start, n, end, Some(flags), subexpr)?
    }
    fn regexp_substr_no_start(a: &str, p: &str) -> Option<String> { substr(a, p, 1, 1, None, 0)? }
    fn regexp_substr_no_n(a: &str, p: &str, start: i32) -> Option<String> { substr(a, p, start, 1, None, 0)? }
    fn regexp_substr_no_flags(a: &str, p: &str, start: i32, n: i32) -> Option<String> {
        substr(a, p, start, n, None, 0)?
    }
    fn regexp_substr_no_subexpr(a: &str, p: &str, start: i32, n: i32, flags: &str) -> Option<String> {
        substr(a, p, start, n, Some(flags), 0)?
    }
    fn regexp_substr(a: &str, p: &str, start: i32, n: i32, flags: &str, subexpr: i32) -> Option<String> {
        substr(a, p, start, n, Some(flags), subexpr)?
    }
    fn similar_to_escape_1(pattern: &str) -> String { similar(pattern, None)? }
    fn similar_to_escape_2(pattern: &str, escape: &str) -> String { similar(pattern, Some(escape))? }
    fn similar_escape(pattern: Option<&str>, escape: Option<&str>) -> Option<String> {
        match pattern {
            Some(pattern) => Some(similar(pattern, escape)?),
            None => None,
        }
    }
}

fn first_match(text: &str, pattern: &str, flags: Option<&str>) -> Result<Datum> {
    let flags = parse_flags(flags)?;
    if flags.global {
        return Err(no_global(flags, "regexp_match()")
            .err()
            .map_or_else(|| invalid(""), |e| e.hint("Use the regexp_matches function instead.")));
    }
    Ok(compiled(pattern, flags)?.captures(text).map_or(Datum::Null, |c| groups(&c)))
}

fn all_matches(args: &[Datum], flags: Flags) -> Result<RowIter> {
    let (text, pattern) = (args[0].as_str().unwrap_or_default(), args[1].as_str().unwrap_or_default());
    let regex = compiled(pattern, flags)?;
    let limit = if flags.global { usize::MAX } else { 1 };
    let rows: Vec<Datum> = matches_from(text, &regex, 0).take(limit).map(|c| groups(&c)).collect();
    Ok(Box::new(rows.into_iter().map(|v| Ok(vec![v]))))
}

pub(crate) fn regexp_matches_no_flags(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    all_matches(args, Flags::default())
}

pub(crate) fn regexp_matches(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    all_matches(args, parse_flags(args[2].as_str())?)
}

fn split_rows(args: &[Datum]) -> Result<RowIter> {
    let (text, pattern) = (args[0].as_str().unwrap_or_default(), args[1].as_str().unwrap_or_default());
    let flags = args.get(2).and_then(Datum::as_str);
    let rows = split(text, pattern, flags, "regexp_split_to_table()")?;
    Ok(Box::new(rows.into_iter().map(|v| Ok(vec![v]))))
}

pub(crate) fn regexp_split_to_table_no_flags(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    split_rows(args)
}

pub(crate) fn regexp_split_to_table(_: &mut CallContext<'_>, args: &[Datum]) -> Result<RowIter> {
    split_rows(args)
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn functions() {
        check_all(
            r#"
            text:abc  ~  text:^a.c$ => t
            text:ABC  ~*  text:b => t
            text:abc  !~  text:x => t
            text:a]c  ~  text:^a[]]c$ => t
            text:a-c  ~  text:a[x-]c => t
            text:foo bar  ~  text:\mbar\M => t
            text:abc  ~  text:( => ERROR 2201B invalid regular expression: parentheses () not balanced
            text:abc  ~  text:[ => ERROR 2201B invalid regular expression: brackets [] not balanced
            text:abc  ~  text:* => ERROR 2201B invalid regular expression: quantifier operand invalid
            text:a{b  ~  text:a{b => t
            substring(text:foobar | text:o(.)b) => o
            regexp_replace(text:foobarbaz | text:b(..) | text:X\1Y) => fooXarYbaz
            regexp_replace(text:foobarbaz | text:b.. | text:X | text:g) => fooXX
            regexp_match(text:foobar | text:(o+)(b)) => {oo,b}
            regexp_matches(text:a1b2 | text:[0-9] | text:g) => {1} {2}
            regexp_split_to_array(text:a, b,c | text:,\s*) => {a,b,c}
            regexp_split_to_array(text:abc | text:) => {a,b,c}
            regexp_count(text:abcabc | text:b) => 2
            regexp_instr(text:abcabc | text:b | int4:3) => 5
            regexp_substr(text:abc123 | text:[0-9]+) => 123
            regexp_like(text:ABC | text:b | text:i) => t
            similar_to_escape(text:a%_) => ^(?:a.*.)$
            regexp_replace(text:a | text:b | text:c | text:z) => ERROR 22023 invalid regular expression option: "z"
            "#,
        );
    }
}
