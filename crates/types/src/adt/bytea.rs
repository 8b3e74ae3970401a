//! bytea: text forms, comparison, slices, encode and decode, digests. C: the bytea half of varlena.c, encode.c,
//! cryptohashfuncs.c.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::SqlState;
use elog::{Result, error};
use md5::Md5;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::settings;

/// `\x` and hexadecimal digits, or the escape form. C: `byteain`.
pub(crate) fn input(text: &str) -> Result<Vec<u8>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        return decode_hex(hex);
    }
    let mut left = text.as_bytes();
    let mut out = Vec::with_capacity(text.len());
    loop {
        left = match left {
            [] => break,
            [b'\\', b'\\', rest @ ..] => {
                out.push(b'\\');
                rest
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                out.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest
            }
            [b'\\', ..] => {
                return Err(error!(
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    "invalid input syntax for type bytea"
                ));
            }
            [b, rest @ ..] => {
                out.push(*b);
                rest
            }
        };
    }
    Ok(out)
}

fn decode_hex(hex: &str) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(hex.len() / 2);
    let mut chars = hex.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r'));
    let digit = |c: char| {
        c.to_digit(16)
            .map(|d| d as u8)
            .ok_or_else(|| error!(SqlState::INVALID_PARAMETER_VALUE, "invalid hexadecimal digit: \"{c}\""))
    };
    while let Some(high) = chars.next() {
        let high = digit(high)?;
        let Some(low) = chars.next() else {
            return Err(error!(
                SqlState::INVALID_PARAMETER_VALUE,
                "invalid hexadecimal data: odd number of digits"
            ));
        };
        out.push(high << 4 | digit(low)?);
    }
    Ok(out)
}

fn encode_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for b in bytes {
        out.push(char::from(DIGITS[usize::from(b >> 4)]));
        out.push(char::from(DIGITS[usize::from(b & 15)]));
    }
}

fn encode_escape(bytes: &[u8], out: &mut String) {
    for &b in bytes {
        match b {
            b'\\' => out.push_str("\\\\"),
            0 | 0x80.. => out.push_str(&format!("\\{b:03o}")),
            _ => out.push(char::from(b)),
        }
    }
}

/// C: `byteaout`.
pub(crate) fn output(bytes: &[u8], out: &mut String) {
    if settings::bytea_hex() {
        out.push_str("\\x");
        encode_hex(bytes, out);
    } else {
        for &b in bytes {
            match b {
                b'\\' => out.push_str("\\\\"),
                0x20..=0x7e => out.push(char::from(b)),
                _ => out.push_str(&format!("\\{b:03o}")),
            }
        }
    }
}

#[cold]
fn unknown_encoding(format: &str) -> elog::PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "unrecognized encoding: \"{format}\"")
}

fn encode(bytes: &[u8], format: &str) -> Result<String> {
    let mut out = String::new();
    match format.to_ascii_lowercase().as_str() {
        "hex" => encode_hex(bytes, &mut out),
        "escape" => encode_escape(bytes, &mut out),
        "base64" => {
            // Lines of 76 characters, as MIME has them.
            let text = STANDARD.encode(bytes);
            for (i, c) in text.chars().enumerate() {
                if i > 0 && i % 76 == 0 {
                    out.push('\n');
                }
                out.push(c);
            }
        }
        _ => return Err(unknown_encoding(format)),
    }
    Ok(out)
}

fn decode(text: &str, format: &str) -> Result<Vec<u8>> {
    match format.to_ascii_lowercase().as_str() {
        "hex" => decode_hex(text),
        "escape" => match text.strip_prefix("\\x") {
            // The escape format knows no hexadecimal form.
            Some(_) => Err(invalid_escape()),
            None => input(text).map_err(|_| invalid_escape()),
        },
        "base64" => {
            let compact: String = text.chars().filter(|c| !matches!(c, ' ' | '\n' | '\t' | '\r')).collect();
            STANDARD.decode(&compact).map_err(|_| {
                match compact.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '='))) {
                    Some(c) => error!(
                        SqlState::INVALID_PARAMETER_VALUE,
                        "invalid symbol \"{c}\" found while decoding base64 sequence"
                    ),
                    None => error!(SqlState::INVALID_PARAMETER_VALUE, "invalid base64 end sequence")
                        .hint("Input data is missing padding, is truncated, or is otherwise corrupted."),
                }
            })
        }
        _ => Err(unknown_encoding(format)),
    }
}

fn invalid_escape() -> elog::PgError {
    error!(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea")
}

/// The window `[start, start + len)` in 1-based positions, cut to what exists. `None` in `len` is "to the end".
pub(crate) fn slice_bounds(start: i32, len: Option<i32>) -> Result<(usize, Option<usize>)> {
    let first = start.max(1);
    let Some(len) = len else { return Ok((first as usize - 1, None)) };
    let end = match start.checked_add(len) {
        Some(end) => end,
        None if len < 0 => i32::MIN,
        None => return Ok((first as usize - 1, None)),
    };
    if len < 0 {
        return Err(error!(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    Ok((first as usize - 1, Some(end.saturating_sub(first).max(0) as usize)))
}

fn slice(bytes: &[u8], start: i32, len: Option<i32>) -> Result<&[u8]> {
    let (from, count) = slice_bounds(start, len)?;
    let rest = bytes.get(from..).unwrap_or_default();
    Ok(match count {
        Some(count) => &rest[..count.min(rest.len())],
        None => rest,
    })
}

#[cold]
fn index_error(index: i64, len: i64) -> elog::PgError {
    error!(SqlState::ARRAY_SUBSCRIPT_ERROR, "index {index} out of valid range, 0..{}", len - 1)
}

fn byte_index(bytes: &[u8], index: i64) -> Result<usize> {
    usize::try_from(index)
        .ok()
        .filter(|i| *i < bytes.len())
        .ok_or_else(|| index_error(index, bytes.len() as i64))
}

fn bit_index(bytes: &[u8], index: i64) -> Result<(usize, u32)> {
    let bits = bytes.len() as i64 * 8;
    if !(0..bits).contains(&index) {
        return Err(index_error(index, bits));
    }
    Ok(((index / 8) as usize, (index % 8) as u32))
}

fn hex_digest(digest: &[u8]) -> String {
    let mut out = String::new();
    encode_hex(digest, &mut out);
    out
}

comparisons! {
    &[u8], &[u8], |a, b| a.cmp(b) => byteaeq byteane bytealt byteale byteagt byteage byteacmp;
}

builtins! {
    fn byteacat(a: &[u8], b: &[u8]) -> Vec<u8> { [a, b].concat() }
    fn byteaoctetlen(a: &[u8]) -> i32 { a.len() as i32 }
    fn bytea_bit_length(a: &[u8]) -> i32 { a.len() as i32 * 8 }
    fn bytea_substr(a: &[u8], start: i32, len: i32) -> Vec<u8> { slice(a, start, Some(len))?.to_vec() }
    fn bytea_substr_no_len(a: &[u8], start: i32) -> Vec<u8> { slice(a, start, None)?.to_vec() }
    fn byteapos(a: &[u8], part: &[u8]) -> i32 {
        if part.is_empty() {
            1
        } else {
            a.windows(part.len()).position(|w| w == part).map_or(0, |i| i as i32 + 1)
        }
    }
    fn bytea_get_byte(a: &[u8], index: i32) -> i32 { i32::from(a[byte_index(a, i64::from(index))?]) }
    fn bytea_set_byte(a: &[u8], index: i32, value: i32) -> Vec<u8> {
        let mut out = a.to_vec();
        out[byte_index(a, i64::from(index))?] = value as u8;
        out
    }
    fn bytea_get_bit(a: &[u8], index: i64) -> i32 {
        let (byte, bit) = bit_index(a, index)?;
        i32::from(a[byte] >> bit & 1)
    }
    fn bytea_set_bit(a: &[u8], index: i64, value: i32) -> Vec<u8> {
        let (byte, bit) = bit_index(a, index)?;
        let mut out = a.to_vec();
        match value {
            0 => out[byte] &= !(1 << bit),
            1 => out[byte] |= 1 << bit,
            _ => return Err(error!(SqlState::INVALID_PARAMETER_VALUE, "new bit must be 0 or 1")),
        }
        out
    }
    fn bytea_bit_count(a: &[u8]) -> i64 { a.iter().map(|b| i64::from(b.count_ones())).sum() }
    fn binary_encode(a: &[u8], format: &str) -> String { encode(a, format)? }
    fn binary_decode(a: &str, format: &str) -> Vec<u8> { decode(a, format)? }
    fn md5_text(a: &str) -> String { hex_digest(&Md5::digest(a.as_bytes())) }
    fn md5_bytea(a: &[u8]) -> String { hex_digest(&Md5::digest(a)) }
    fn sha224_bytea(a: &[u8]) -> Vec<u8> { Sha224::digest(a).to_vec() }
    fn sha256_bytea(a: &[u8]) -> Vec<u8> { Sha256::digest(a).to_vec() }
    fn sha384_bytea(a: &[u8]) -> Vec<u8> { Sha384::digest(a).to_vec() }
    fn sha512_bytea(a: &[u8]) -> Vec<u8> { Sha512::digest(a).to_vec() }
    fn pg_convert_to(a: &str, encoding: &str) -> Vec<u8> {
        if !is_utf8(encoding) {
            return Err(unsupported_encoding(encoding));
        }
        a.as_bytes().to_vec()
    }
    fn pg_convert_from(a: &[u8], encoding: &str) -> String {
        if !is_utf8(encoding) {
            return Err(unsupported_encoding(encoding));
        }
        crate::io::Reader::new(a).rest_str()?.to_string()
    }
}

fn is_utf8(encoding: &str) -> bool {
    matches!(encoding.to_ascii_lowercase().replace(['-', '_'], "").as_str(), "utf8" | "unicode" | "sqlascii")
}

#[cold]
fn unsupported_encoding(encoding: &str) -> elog::PgError {
    error!(SqlState::INVALID_PARAMETER_VALUE, "invalid encoding name \"{encoding}\"")
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_all, check_error};

    #[test]
    fn text() {
        check("bytea", "\\xDEadBE ef", "\\xdeadbeef");
        check("bytea", "a\\\\b\\001", "\\x615c6201");
        check("bytea", "", "\\x");
        check_error("bytea", "\\x1", "22023 invalid hexadecimal data: odd number of digits");
        check_error("bytea", "\\xzz", "22023 invalid hexadecimal digit: \"z\"");
        check_error("bytea", "a\\9", "22P02 invalid input syntax for type bytea");
    }

    #[test]
    fn functions() {
        check_all(
            "
            md5(text:abc) => 900150983cd24fb0d6963f7d28e17f72
            encode(bytea:abc | hex) => 616263
            encode(bytea:abc | base64) => YWJj
            decode(YWJj | base64) => \\x616263
            decode(zz | nope) => ERROR 22023 unrecognized encoding: \"nope\"
            substring(bytea:abcdef | int4:2 | int4:3) => \\x626364
            get_byte(bytea:abc | int4:1) => 98
            get_byte(bytea:abc | int4:3) => ERROR 2202E index 3 out of valid range, 0..2
            sha256(bytea:abc) => \\xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad
            ",
        );
    }
}
