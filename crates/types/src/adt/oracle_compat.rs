//! Case, padding, translation and single characters of text. C: oracle_compat.c, and formatting.c for case.

use common::SqlState;
use elog::{Result, error};

use super::varlena::{MAX_BYTES, too_long};

fn pad(text: &str, len: i32, fill: &str, left: bool) -> Result<String> {
    let len = len.max(0) as usize;
    if len.saturating_mul(4) > MAX_BYTES {
        return Err(too_long());
    }
    let have = text.chars().count();
    if have >= len || fill.is_empty() {
        return Ok(text.chars().take(len).collect());
    }
    let padding = fill.chars().cycle().take(len - have);
    Ok(if left { padding.chain(text.chars()).collect() } else { text.chars().chain(padding).collect() })
}

fn title_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    for c in text.chars() {
        if in_word {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        in_word = c.is_alphanumeric();
    }
    out
}

fn character(code: i32) -> Result<char> {
    match code {
        ..0 => Err(error!(SqlState::INVALID_PARAMETER_VALUE, "character number must be positive")),
        0 => Err(error!(SqlState::PROGRAM_LIMIT_EXCEEDED, "null character not permitted")),
        0x11_0000.. => Err(error!(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "requested character too large for encoding: {code}"
        )),
        _ => char::from_u32(code as u32).ok_or_else(|| {
            error!(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested character not valid for encoding: {code}")
        }),
    }
}

builtins! {
    fn lower(a: &str) -> String { a.to_lowercase() }
    fn upper(a: &str) -> String { a.to_uppercase() }
    fn initcap(a: &str) -> String { title_case(a) }
    fn lpad(a: &str, len: i32, fill: &str) -> String { pad(a, len, fill, true)? }
    fn lpad_blank(a: &str, len: i32) -> String { pad(a, len, " ", true)? }
    fn rpad(a: &str, len: i32, fill: &str) -> String { pad(a, len, fill, false)? }
    fn rpad_blank(a: &str, len: i32) -> String { pad(a, len, " ", false)? }
    fn translate(a: &str, from: &str, to: &str) -> String {
        let to: Vec<char> = to.chars().collect();
        a.chars()
            .filter_map(|c| match from.chars().position(|f| f == c) {
                Some(i) => to.get(i).copied(),
                None => Some(c),
            })
            .collect()
    }
    fn ascii(a: &str) -> i32 { a.chars().next().map_or(0, |c| c as i32) }
    fn chr(code: i32) -> String { character(code)?.to_string() }
    fn repeat(a: &str, count: i32) -> String {
        let count = count.max(0) as usize;
        if a.len().saturating_mul(count) > MAX_BYTES {
            return Err(too_long());
        }
        a.repeat(count)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::check_all;

    #[test]
    fn functions() {
        check_all(
            "
            upper(text:straße) => STRASSE
            initcap(text:hello wORLD-foo) => Hello World-Foo
            lpad(text:hi | int4:5 | text:xy) => xyxhi
            lpad(text:hello | int4:2) => he
            rpad(text:hi | int4:4 | text:-) => hi--
            translate(text:12345 | text:143 | text:ax) => a2x5
            ascii(text:é) => 233
            chr(int4:8364) => €
            chr(int4:0) => ERROR 54000 null character not permitted
            repeat(text:ab | int4:3) => ababab
            repeat(text:ab | int4:2147483647) => ERROR 54000 requested length too large
            ",
        );
    }
}
