//! PostgreSQL's own compression format, for page images and (later) out-of-line values.
//!
//! ```text
//! control byte: one bit for each of the eight items that follow, lowest bit first
//!   0  one byte as it is
//!   1  a copy of earlier output: (offset high 4 bits << 4 | length - 3), offset low 8 bits,
//!      and if the length's four bits are all set, a third byte that adds up to 255: lengths 3 to 273
//! ```
//!
//! Offsets are 1 to 4095. The decoder takes whatever any encoder of this format makes; the encoder here keeps a chain
//! of positions per hash of three bytes and takes the longest of the first few matches.
//!
//! C counterpart: common/pg_lzcompress.c.

use std::cell::RefCell;

const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 273;
const MAX_OFFSET: usize = 4095;
/// Inputs shorter than this are not worth it. C: `PGLZ_strategy_default.min_input_size`.
const MIN_INPUT: usize = 32;
/// Without a single match so far in the input, it gives up. C: `first_success_by`.
const FIRST_SUCCESS_BY: usize = 1024;
/// Candidates looked at per position.
const MAX_CHAIN: usize = 16;
const HASH_BITS: u32 = 12;
const WINDOW: usize = 4096;
const NOWHERE: u32 = u32::MAX;

/// Tables of the encoder, kept between calls.
struct Tables {
    /// Latest position with a hash.
    head: Vec<u32>,
    /// Position before it with the same hash, by position modulo the window.
    previous: Vec<u32>,
}

thread_local! {
    static TABLES: RefCell<Tables> = const { RefCell::new(Tables { head: Vec::new(), previous: Vec::new() }) };
}

fn hash(bytes: &[u8]) -> usize {
    let three = u32::from(bytes[0]) | u32::from(bytes[1]) << 8 | u32::from(bytes[2]) << 16;
    (three.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize
}

impl Tables {
    fn clear(&mut self) {
        self.head.clear();
        self.head.resize(1 << HASH_BITS, NOWHERE);
        self.previous.resize(WINDOW, NOWHERE);
    }

    fn remember(&mut self, input: &[u8], at: usize) {
        if at + MIN_MATCH <= input.len() {
            let slot = &mut self.head[hash(&input[at..])];
            self.previous[at % WINDOW] = *slot;
            *slot = at as u32;
        }
    }

    /// The longest of the latest matches for what starts at `at`: (length, offset).
    fn find(&self, input: &[u8], at: usize) -> Option<(usize, usize)> {
        if at + MIN_MATCH > input.len() {
            return None;
        }
        let limit = (input.len() - at).min(MAX_MATCH);
        let mut best = (MIN_MATCH - 1, 0);
        let mut candidate = self.head[hash(&input[at..])];
        for _ in 0..MAX_CHAIN {
            let Some(offset) = at.checked_sub(candidate as usize) else { break };
            if candidate == NOWHERE || offset > MAX_OFFSET {
                break;
            }
            let from = candidate as usize;
            // The byte that would make it longer first: most candidates fail there.
            if input[from + best.0] == input[at + best.0] {
                let len = (0..limit).take_while(|i| input[from + i] == input[at + i]).count();
                if len > best.0 {
                    best = (len, offset);
                    if len == limit {
                        break;
                    }
                }
            }
            let next = self.previous[from % WINDOW];
            if next >= candidate {
                break;
            }
            candidate = next;
        }
        (best.0 >= MIN_MATCH).then_some(best)
    }
}

/// Appends `input` compressed to `out`; false, with rubbish behind `out`'s old end, if a quarter is not saved.
/// C: `pglz_compress` with the default strategy.
pub fn compress(input: &[u8], out: &mut Vec<u8>) -> bool {
    if input.len() < MIN_INPUT {
        return false;
    }
    TABLES.with_borrow_mut(|tables| compress_with(tables, input, out))
}

fn compress_with(tables: &mut Tables, input: &[u8], out: &mut Vec<u8>) -> bool {
    tables.clear();
    let limit = out.len() + input.len() / 100 * 75 + input.len() % 100 * 75 / 100;
    let (mut at, mut items, mut control, mut matched) = (0, 0, 0, false);
    while at < input.len() {
        if items % 8 == 0 {
            control = out.len();
            out.push(0);
        }
        if out.len() >= limit || (!matched && at >= FIRST_SUCCESS_BY) {
            return false;
        }
        let mut step = 1;
        match tables.find(input, at) {
            Some((len, offset)) => {
                matched = true;
                out[control] |= 1 << (items % 8);
                push_match(out, len, offset);
                step = len;
            }
            None => out.push(input[at]),
        }
        for position in at..at + step {
            tables.remember(input, position);
        }
        at += step;
        items += 1;
    }
    matched && out.len() < limit
}

fn push_match(out: &mut Vec<u8>, len: usize, offset: usize) {
    let high = (offset >> 4 & 0xF0) as u8;
    if len >= 18 {
        out.extend_from_slice(&[high | 0x0F, offset as u8, (len - 18) as u8]);
    } else {
        out.extend_from_slice(&[high | (len - MIN_MATCH) as u8, offset as u8]);
    }
}

/// Decompresses into exactly `out.len()` bytes, using all of `input`; false if the input is broken.
/// C: `pglz_decompress` with `check_complete`.
pub fn decompress(input: &[u8], out: &mut [u8]) -> bool {
    let (mut from, mut to) = (0, 0);
    while from < input.len() && to < out.len() {
        let mut control = input[from];
        from += 1;
        for _ in 0..8 {
            if from >= input.len() || to >= out.len() {
                break;
            }
            if control & 1 == 0 {
                out[to] = input[from];
                (from, to) = (from + 1, to + 1);
            } else {
                let Some((len, offset, used)) = read_match(&input[from..]) else { return false };
                if offset == 0 || offset > to {
                    return false;
                }
                from += used;
                let len = len.min(out.len() - to);
                copy_within(out, to, offset, len);
                to += len;
            }
            control >>= 1;
        }
    }
    from == input.len() && to == out.len()
}

fn read_match(input: &[u8]) -> Option<(usize, usize, usize)> {
    let (&first, &second) = (input.first()?, input.get(1)?);
    let (len, offset) =
        (usize::from(first & 0x0F) + MIN_MATCH, usize::from(first & 0xF0) << 4 | usize::from(second));
    if len == 18 {
        return Some((len + usize::from(*input.get(2)?), offset, 3));
    }
    Some((len, offset, 2))
}

/// Copies from `offset` bytes back; the two ranges may overlap, and then the copy repeats itself.
fn copy_within(out: &mut [u8], to: usize, offset: usize, len: usize) {
    if offset >= len {
        out.copy_within(to - offset..to - offset + len, to);
    } else {
        for i in to..to + len {
            out[i] = out[i - offset];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(input: &[u8]) -> Option<usize> {
        let mut out = Vec::new();
        compress(input, &mut out).then(|| {
            let mut back = vec![0xAA; input.len()];
            assert!(decompress(&out, &mut back), "{} bytes", input.len());
            assert_eq!(back, input);
            out.len()
        })
    }

    /// Literals, a short copy and a long, overlapping one, as any encoder may write them.
    #[test]
    fn format() {
        let mut out = [0; 8];
        assert!(decompress(&[0b0000_1000, b'a', b'b', b'c', 0x02, 3], &mut out));
        assert_eq!(&out, b"abcabcab");
        let mut out = [0; 41];
        assert!(decompress(&[0b0000_0010, b'x', 0x0F, 1, 22], &mut out));
        assert_eq!(out, [b'x'; 41]);
        assert!(!decompress(&[0b0000_0001, 0x00, 1], &mut out), "copies from before the start");
        assert!(!decompress(&[0b0000_0010, b'x', 0x0F, 1], &mut out), "ends in a copy");
        assert!(!decompress(&[0, b'x', b'y'], &mut out), "too short");
    }

    #[test]
    fn sizes() {
        assert_eq!(round_trip(&[0; 31]), None);
        assert!(round_trip(&[7; 8192]).unwrap() < 110);
        let text: Vec<u8> =
            (0..800u32).flat_map(|i| format!("row {} of the table;", i % 97).into_bytes()).collect();
        assert!(round_trip(&text).unwrap() < text.len() / 4);
        let mut state = 1u32;
        let noise: Vec<u8> = (0..8192)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        assert_eq!(round_trip(&noise), None);
    }

    proptest! {
        #[test]
        fn round_trips(input in prop::collection::vec(0u8..4, 0..9000)) {
            round_trip(&input);
        }

        #[test]
        fn rubbish_is_no_panic(input in prop::collection::vec(any::<u8>(), 0..300), len in 0usize..2000) {
            decompress(&input, &mut vec![0; len]);
        }
    }
}
