//! Is a page what was written? Header sanity and the data checksum.
//!
//! The checksum is FNV-1a, changed twice: 32 sums run side by side over every 32nd word, so that the compiler can
//! use vector instructions, and each step also mixes in the sum's own high bits. Two rounds of zeros follow,
//! then the sums are xored together with the block's number (a page read from the wrong place is wrong) and
//! folded to 1..65535; 0 means "none".
//!
//! C counterpart: checksum_impl.h, `PageIsVerifiedExtended`.

use common::{BLCKSZ, BlockNumber};

use crate::{PAGE_FLAG_BITS, Page, max_align};

const LANES: usize = 32;
const FNV_PRIME: u32 = 16_777_619;
/// Where the checksum itself lies; it counts as zero.
const CHECKSUM_AT: usize = 8;

/// The sums' starting points: random numbers that are part of the format.
pub(crate) const OFFSETS: [u32; LANES] = [
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
];

/// What [`Page::verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// All is well, or every byte is zero.
    Ok,
    /// The header makes no sense; the checksum, if there are any, was right.
    BadHeader,
    /// The checksum is wrong.
    BadChecksum {
        /// What the bytes give.
        computed: u16,
        /// What the header says.
        stored: u16,
        /// Whether the header makes sense: then `ignore_checksum_failure` lets the page through.
        header_ok: bool,
    },
}

#[inline]
fn mix(sum: u32, word: u32) -> u32 {
    let x = sum ^ word;
    x.wrapping_mul(FNV_PRIME) ^ (x >> 17)
}

#[inline]
fn round(sums: &mut [u32; LANES], row: &[u8]) {
    for (sum, word) in sums.iter_mut().zip(row.chunks_exact(4)) {
        *sum = mix(*sum, u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    }
}

impl Page {
    /// The data checksum of this page as block `block` of its relation. C: `pg_checksum_page`.
    pub fn compute_checksum(&self, block: BlockNumber) -> u16 {
        let mut sums = OFFSETS;
        let (first, rest) = self.bytes.split_at(LANES * 4);
        let mut row = [0; LANES * 4];
        row.copy_from_slice(first);
        row[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
        round(&mut sums, &row);
        for row in rest.chunks_exact(LANES * 4) {
            round(&mut sums, row);
        }
        for _ in 0..2 {
            round(&mut sums, &[0; LANES * 4]);
        }
        let sum = sums.iter().fold(0, |all, sum| all ^ sum) ^ block;
        (sum % 65_535 + 1) as u16
    }

    /// Stores the checksum, unless the page is new: such pages stay all zero. C: `PageSetChecksumInplace`.
    pub fn set_checksum(&mut self, block: BlockNumber) {
        if !self.is_new() {
            self.store_checksum(self.compute_checksum(block));
        }
    }

    /// Whether the header makes sense. A page of zeros has a valid one here too. C: the header's part of
    /// `PageIsVerifiedExtended`.
    pub fn is_valid_header(&self) -> bool {
        self.is_sane() || self.is_zero()
    }

    fn is_sane(&self) -> bool {
        let (lower, upper, special) = (self.lower(), self.upper(), self.special());
        self.flags() & !PAGE_FLAG_BITS == 0
            && lower <= upper
            && upper <= special
            && special <= BLCKSZ
            && special == max_align(special)
            && upper != 0
    }

    fn is_zero(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }

    /// Checks a page that was just read. C: `PageIsVerifiedExtended`.
    pub fn verify(&self, block: BlockNumber, checksums: bool) -> PageState {
        let header_ok = self.is_sane();
        if self.is_new() {
            return if self.is_zero() { PageState::Ok } else { PageState::BadHeader };
        }
        if checksums {
            let (computed, stored) = (self.compute_checksum(block), self.checksum());
            if computed != stored {
                return PageState::BadChecksum { computed, stored, header_ok };
            }
        }
        if header_ok { PageState::Ok } else { PageState::BadHeader }
    }
}
