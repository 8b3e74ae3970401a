//! uuid. C: uuid.c.

use elog::{Result, error};

use crate::datum::Uuid;
use crate::io::invalid_input;

/// 32 hexadecimal digits, a hyphen allowed after every fourth, braces allowed around. C: `string_to_uuid`.
pub(crate) fn input(text: &str) -> Result<[u8; 16]> {
    parse(text).ok_or_else(|| invalid_input("uuid", text))
}

fn parse(text: &str) -> Option<[u8; 16]> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let mut bytes = inner.bytes().peekable();
    let mut out = [0; 16];
    for (i, byte) in out.iter_mut().enumerate() {
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let high = digit(bytes.next())?;
        *byte = (high << 4 | digit(bytes.next())?) as u8;
        if i % 2 == 1 && i < 15 && bytes.peek() == Some(&b'-') {
            bytes.next();
        }
    }
    bytes.next().is_none().then_some(out)
}

pub(crate) fn output(uuid: &[u8; 16], out: &mut String) {
    for (i, byte) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
}

comparisons! {
    Uuid, Uuid, |a, b| a.cmp(&b) => uuid_eq uuid_ne uuid_lt uuid_le uuid_gt uuid_ge uuid_cmp;
}

builtins! {
    /// A version 4 uuid.
    fn gen_random_uuid() -> Uuid {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)
            .map_err(|_| error!(common::SqlState::INTERNAL_ERROR, "could not generate random values"))?;
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Uuid(bytes)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, check_error};

    #[test]
    fn text() {
        let shown = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        check("uuid", shown, shown);
        check("uuid", "{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}", shown);
        check_error("uuid", "a0ee", "22P02 invalid input syntax for type uuid: \"a0ee\"");
    }
}
