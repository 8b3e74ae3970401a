//! json and jsonb: checking, jsonb's normal form, member access, building. C: json.c, jsonb.c, jsonfuncs.c.
//!
//! A jsonb value is kept as the text that PostgreSQL would print for it: members ordered by length and name,
//! duplicates gone, numbers as numeric prints them. There is no binary tree to store yet.

use common::SqlState;
use elog::{PgError, Result, error};

use crate::Datum;
use crate::io::Reader;

/// A JSON value in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// How deep values may nest: each level is a stack frame.
const MAX_DEPTH: usize = 2000;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// The word at the cursor, for messages.
    fn token(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii()));
        match end.unwrap_or(rest.len()) {
            0 => &rest[..rest.chars().next().map_or(0, char::len_utf8)],
            n => &rest[..n],
        }
    }

    fn fail(&self, type_name: &str, detail: String) -> PgError {
        let upto = self.at + self.token().len();
        let line_number = self.text[..self.at].matches('\n').count() + 1;
        let line_start = self.text[..self.at].rfind('\n').map_or(0, |n| n + 1);
        let mut shown = self.text[line_start..upto].to_string();
        if upto < self.text.len() {
            shown.push_str("...");
        }
        error!(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type {type_name}")
            .detail(detail)
            .context(format!("JSON data, line {line_number}: {shown}"))
    }

    fn expected(&self, what: &str) -> PgError {
        if self.rest().is_empty() {
            return self.fail("json", "The input string ended unexpectedly.".into());
        }
        self.fail("json", format!("Expected {what}, but found \"{}\".", self.token()))
    }

    fn invalid_token(&self) -> PgError {
        self.fail("json", format!("Token \"{}\" is invalid.", self.token()))
    }

    fn value(&mut self, depth: usize) -> Result<Json> {
        if depth > MAX_DEPTH {
            return Err(error!(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
        }
        self.spaces();
        let rest = self.rest();
        match rest.as_bytes().first() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            None => Err(self.expected("JSON value")),
            Some(c) if c.is_ascii_alphabetic() || !c.is_ascii() => {
                let token = self.token();
                let value = match token {
                    "true" => Json::Bool(true),
                    "false" => Json::Bool(false),
                    "null" => Json::Null,
                    _ => return Err(self.invalid_token()),
                };
                self.at += token.len();
                Ok(value)
            }
            Some(b'}' | b']' | b',' | b':') => Err(self.expected("JSON value")),
            Some(_) => Err(self.invalid_token()),
        }
    }

    fn number(&mut self) -> Result<Json> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut at = usize::from(bytes[0] == b'-');
        let whole = digits(at);
        let mut good = whole == 1 || (whole > 1 && bytes[at] != b'0');
        at += whole;
        if bytes.get(at) == Some(&b'.') {
            let fraction = digits(at + 1);
            good &= fraction > 0;
            at += 1 + fraction;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            let exponent = digits(at);
            good &= exponent > 0;
            at += exponent;
        }
        let junk = bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        if !good || junk > 0 {
            let token = &rest[..at + junk];
            return Err(self.fail("json", format!("Token \"{token}\" is invalid.")));
        }
        self.at += at;
        Ok(Json::Number(rest[..at].to_string()))
    }

    fn string(&mut self) -> Result<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err(self.fail("json", "The input string ended unexpectedly.".into()));
            };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(out);
                }
                '\\' => self.escape(&mut out)?,
                c if c < ' ' => {
                    let detail = format!("Character with value 0x{:02x} must be escaped.", c as u32);
                    return Err(self.fail("json", detail));
                }
                c => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<()> {
        self.at += 1;
        let Some(c) = self.rest().chars().next() else {
            return Err(self.fail("json", "The input string ended unexpectedly.".into()));
        };
        out.push(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.hex4(1)?;
                let low = match self.rest().get(5..7) {
                    Some("\\u") if (0xD800..0xDC00).contains(&unit) => self.hex4(7)?,
                    _ => 0,
                };
                let code = if (0xDC00..0xE000).contains(&low) {
                    self.at += 6;
                    0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
                } else {
                    unit
                };
                self.at += 4;
                if code == 0 {
                    // json keeps the escape as it is; only jsonb minds. A marker lets it notice.
                    '\0'
                } else {
                    char::from_u32(code).ok_or_else(|| {
                        self.fail("json", "Unicode low surrogate must follow a high surrogate.".into())
                    })?
                }
            }
            c => return Err(self.fail("json", format!("Escape sequence \"\\{c}\" is invalid."))),
        });
        self.at += c.len_utf8();
        Ok(())
    }

    fn hex4(&self, skip: usize) -> Result<u32> {
        let digits = self.rest().get(skip..skip + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        digits
            .and_then(|d| u32::from_str_radix(d, 16).ok())
            .ok_or_else(|| self.fail("json", "\"\\u\" must be followed by four hexadecimal digits.".into()))
    }

    fn array(&mut self, depth: usize) -> Result<Json> {
        self.at += 1;
        let mut items = Vec::new();
        self.spaces();
        if self.rest().starts_with(']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.spaces();
            match self.rest().as_bytes().first() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.expected("\",\" or \"]\"")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json> {
        self.at += 1;
        let mut members = Vec::new();
        self.spaces();
        if self.rest().starts_with('}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.spaces();
            if !self.rest().starts_with('"') {
                return Err(self.expected(if members.is_empty() { "string or \"}\"" } else { "string" }));
            }
            let name = self.string()?;
            self.spaces();
            if !self.rest().starts_with(':') {
                return Err(self.expected("\":\""));
            }
            self.at += 1;
            members.push((name, self.value(depth + 1)?));
            self.spaces();
            match self.rest().as_bytes().first() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(members));
                }
                _ => return Err(self.expected("\",\" or \"}\"")),
            }
        }
    }
}

/// The value that a JSON text stands for.
pub(crate) fn parse(text: &str) -> Result<Json> {
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.spaces();
    if !parser.rest().is_empty() {
        return Err(parser.expected("end of input"));
    }
    Ok(value)
}

/// C: `json_in`: the text itself, once checked.
pub(crate) fn json_input(text: &str) -> Result<Datum> {
    parse(text)?;
    Ok(Datum::text(text))
}

/// C: `jsonb_in`.
pub(crate) fn jsonb_input(text: &str) -> Result<Datum> {
    jsonb_datum(parse(text)?)
}

/// C: `jsonb_recv`.
pub(crate) fn jsonb_receive(r: &mut Reader<'_>) -> Result<Datum> {
    let version = r.u8()?;
    if version != 1 {
        return Err(error!(SqlState::INTERNAL_ERROR, "unsupported jsonb version number {version}"));
    }
    jsonb_input(r.rest_str()?)
}

/// A jsonb value from a tree: normalised, printed.
pub(crate) fn jsonb_datum(mut value: Json) -> Result<Datum> {
    normalize(&mut value)?;
    let mut out = String::new();
    write_spaced(&value, &mut out);
    Ok(Datum::text(out))
}

fn normalize(value: &mut Json) -> Result<()> {
    match value {
        Json::Number(text) => *text = super::numeric::input(text, -1)?.to_string(),
        Json::String(text) if text.contains('\0') => return Err(no_null_character()),
        Json::Array(items) => items.iter_mut().try_for_each(normalize)?,
        Json::Object(members) => {
            for (name, member) in members.iter_mut() {
                if name.contains('\0') {
                    return Err(no_null_character());
                }
                normalize(member)?;
            }
            // The last of several members of one name wins: a stable sort brings them together in order.
            members.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
            members.reverse();
            members.dedup_by(|later, earlier| later.0 == earlier.0);
            members.reverse();
        }
        _ => {}
    }
    Ok(())
}

#[cold]
fn no_null_character() -> PgError {
    error!(SqlState::UNTRANSLATABLE_CHARACTER, "unsupported Unicode escape sequence")
        .detail("\\u0000 cannot be converted to text.")
}

/// A JSON string literal. C: `escape_json`.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// As jsonb prints: a blank behind `,` and `:`. C: `JsonbToCString`.
pub(crate) fn write_spaced(value: &Json, out: &mut String) {
    write_with(value, ", ", ": ", out);
}

/// Without any blanks.
pub(crate) fn write_compact(value: &Json, out: &mut String) {
    write_with(value, ",", ":", out);
}

fn write_with(value: &Json, comma: &str, colon: &str, out: &mut String) {
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(v) => out.push_str(if *v { "true" } else { "false" }),
        Json::Number(text) => out.push_str(text),
        Json::String(text) => write_string(text, out),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(comma);
                }
                write_with(item, comma, colon, out);
            }
            out.push(']');
        }
        Json::Object(members) => {
            out.push('{');
            for (i, (name, item)) in members.iter().enumerate() {
                if i > 0 {
                    out.push_str(comma);
                }
                write_string(name, out);
                out.push_str(colon);
                write_with(item, comma, colon, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        check("json", r#" {"b": 1,"a":[true,null]} "#, r#" {"b": 1,"a":[true,null]} "#);
        check("jsonb", r#"{"bb":1,"a":[1.50,"x"],"a":2,"c":null}"#, r#"{"a": 2, "c": null, "bb": 1}"#);
        check("jsonb", r#""\u00e9\n""#, "\"é\\n\"");
        for bad in ["", "{", "[1,]", "01", "tru", "{\"a\" 1}", "1 2", "'x'", "\"a", "\"\\x\"", "nul"] {
            check_error("json", bad, "22P02 invalid input syntax for type json");
        }
    }

    #[test]
    fn details() {
        let e = parse("{\"a\": nope}").unwrap_err();
        assert_eq!(e.detail.as_deref(), Some("Token \"nope\" is invalid."));
        assert_eq!(e.context.as_deref(), Some("JSON data, line 1: {\"a\": nope..."));
        let e = parse("[1 2]").unwrap_err();
        assert_eq!(e.detail.as_deref(), Some("Expected \",\" or \"]\", but found \"2\"."));
    }

    #[test]
    fn depth_is_limited() {
        assert!(parse(&"[".repeat(1_000_000)).is_err());
    }
}
