//! Finding the few bytes of a row that mean something, eight bytes at a time.
//!
//! Nearly all bytes of what COPY reads and writes stand for themselves; to look at each of them would be most of its work.
//!
//! C counterpart: none; PostgreSQL looks at each byte (`CopyReadLineText`, `CopyAttributeOutText`).

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Not zero if a byte of the word is zero; the lowest bit set is in the first such byte.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Not zero if a byte of the word is below 32; the lowest bit set is in the first such byte.
#[inline]
fn control_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & HIGHS
}

/// Index of the first byte at or behind `from` for which `is_special` holds, else the length. `may_have` tells of a word
/// whether one of its bytes may be special: it may be wrong only by saying yes.
#[inline]
fn find(bytes: &[u8], from: usize, may_have: impl Fn(u64) -> bool, is_special: impl Fn(u8) -> bool) -> usize {
    let mut at = from.min(bytes.len());
    let (words, _) = bytes[at..].as_chunks::<8>();
    for word in words {
        if may_have(u64::from_le_bytes(*word))
            && let Some(place) = word.iter().position(|byte| is_special(*byte))
        {
            return at + place;
        }
        at += 8;
    }
    at + bytes[at..].iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len() - at)
}

/// The first of any of these three.
#[inline]
pub(crate) fn find_one_of(bytes: &[u8], from: usize, [a, b, c]: [u8; 3]) -> usize {
    let (wa, wb, wc) = (ONES * u64::from(a), ONES * u64::from(b), ONES * u64::from(c));
    find(
        bytes,
        from,
        |word| zero_bytes(word ^ wa) | zero_bytes(word ^ wb) | zero_bytes(word ^ wc) != 0,
        |byte| byte == a || byte == b || byte == c,
    )
}

/// The first backslash, delimiter or control character.
#[inline]
pub(crate) fn find_to_escape(bytes: &[u8], from: usize, delimiter: u8) -> usize {
    let (backslashes, delimiters) = (ONES * u64::from(b'\\'), ONES * u64::from(delimiter));
    find(
        bytes,
        from,
        |word| control_bytes(word) | zero_bytes(word ^ backslashes) | zero_bytes(word ^ delimiters) != 0,
        |byte| byte < 0x20 || byte == b'\\' || byte == delimiter,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any byte at any place, among neighbours that nearly are what is sought.
    #[test]
    fn finds_what_a_look_at_each_byte_finds() {
        for fill in [b'a', 0x20, 0x80, 0xA0, 0xFF, b'\\' + 1, b'\n' + 1] {
            for place in 0..20 {
                for byte in 0..=255u8 {
                    let mut bytes = [fill; 20];
                    bytes[place] = byte;
                    for from in [0, 1, 9, 20] {
                        let sought = |b: &u8| [b'\n', b'\r', b'\\'].contains(b);
                        let expected = bytes[from..].iter().position(sought).map_or(20, |i| from + i);
                        assert_eq!(find_one_of(&bytes, from, [b'\n', b'\r', b'\\']), expected);
                        let sought = |b: &u8| *b < 0x20 || [b'\\', b'|'].contains(b);
                        let expected = bytes[from..].iter().position(sought).map_or(20, |i| from + i);
                        assert_eq!(find_to_escape(&bytes, from, b'|'), expected);
                    }
                }
            }
        }
        assert_eq!(find_one_of(b"", 0, [0; 3]), 0);
    }
}
