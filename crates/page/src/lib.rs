//! The page: 8192 bytes that hold a header, an array of line pointers growing up, items growing down, and
//! whatever the access method keeps at the end.
//!
//! ```text
//! 0        24              lower            upper                 special      8192
//! | header | line pointers | free ......... | items ............. | special    |
//! ```
//!
//! Everything here works on a `&Page` or a `&mut Page`; who may have one, and when, is `storage`'s business.
//! Bytes are PostgreSQL 15's (layout version 4), little-endian. No I/O, no locks, no WAL.
//!
//! Invariants:
//! - PG1  24 <= lower <= upper <= special <= 8192 on every page that has been initialised.
//! - PG2  No function here panics on a page of arbitrary bytes, apart from what its documentation names.
//! - PG3  A line pointer's number never changes while something may point at it: only unused ones at the end
//!   of the array are given back.
//!
//! C counterpart: storage/page/bufpage.c, itemid.h, checksum_impl.h.

#![forbid(unsafe_code)]

mod checksum;
mod header; // 1. the first 24 bytes
mod item_id; // 2. the array behind them
mod items; // 3. putting items in
mod space; // 4. how much room there is, and making more // 5. is it what was written?

pub use checksum::PageState;
pub use header::{HEADER_SIZE, LAYOUT_VERSION, MAX_HEAP_TUPLES_PER_PAGE, PAGE_FLAG_BITS, Page, flags};
pub use item_id::{ITEM_ID_SIZE, ItemId, ItemState};

/// Rounds up to the alignment of the widest type. C: `MAXALIGN`.
#[inline]
pub const fn max_align(len: usize) -> usize {
    (len + 7) & !7
}

#[cfg(test)]
mod tests;
