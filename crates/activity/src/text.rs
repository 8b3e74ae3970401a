//! Text in shared memory that one process writes and others read at any time.
//!
//! The bytes lie in atomic words, ended by a zero byte unless they fill the space. A reader may see a mix of
//! two texts; whether it did is for the entry's change counter to tell. Cut texts end at a whole character.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Stores as much of `text` as fits, leaving at least one zero byte at the end.
pub fn store(words: &[AtomicU64], text: &str) {
    let capacity = words.len() * 8 - 1;
    let mut len = text.len().min(capacity);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    let bytes = &text.as_bytes()[..len];
    // One word beyond the text, so that its end is marked even if it fills its last word.
    for (word, chunk_start) in words.iter().zip((0..=len).step_by(8)) {
        let chunk = &bytes[chunk_start..len.min(chunk_start + 8)];
        let mut value = [0u8; 8];
        value[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(value), Relaxed);
    }
}

/// Reads up to the first zero byte.
pub fn load(words: &[AtomicU64]) -> String {
    let mut bytes = Vec::new();
    for word in words {
        let chunk = word.load(Relaxed).to_ne_bytes();
        let used = chunk.iter().position(|b| *b == 0).unwrap_or(8);
        bytes.extend_from_slice(&chunk[..used]);
        if used < 8 {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_and_long_ones_are_cut_at_a_character() {
        let words: [AtomicU64; 3] = Default::default();
        let longest = "x".repeat(23);
        for (text, expected) in [
            ("", ""),
            ("short", "short"),
            ("12345678", "12345678"),
            (longest.as_str(), longest.as_str()),
            ("123456789012345678901234567890", "12345678901234567890123"),
            ("1234567890123456789012ä", "1234567890123456789012"),
            ("after", "after"),
        ] {
            store(&words, text);
            assert_eq!(load(&words), expected);
        }
    }
}
