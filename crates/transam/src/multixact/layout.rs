//! Where a multixact's numbers are in `pg_multixact`.
//!
//! `offsets` has 4 bytes per multixact: where its members begin. `members` has them in groups of four, 20 bytes
//! each: four bytes of flags, one per member, then four transaction ids. 409 groups fill a page; its last 12 bytes
//! are unused.
//!
//! C counterpart: the macros at the top of multixact.c.

use common::MultiXactId;

use crate::slru::PAGES_PER_SEGMENT;

/// C: `MULTIXACT_OFFSETS_PER_PAGE`.
pub(super) const OFFSETS_PER_PAGE: u32 = 2048;
/// C: `MULTIXACT_MEMBERS_PER_MEMBERGROUP`.
const GROUP: u32 = 4;
/// Words of a group: the flags and four ids.
const GROUP_WORDS: u32 = 5;
/// C: `MULTIXACT_MEMBERGROUPS_PER_PAGE`.
const GROUPS_PER_PAGE: u32 = 409;
/// C: `MULTIXACT_MEMBERS_PER_PAGE`.
pub(super) const MEMBERS_PER_PAGE: u32 = GROUPS_PER_PAGE * GROUP;
/// Members of one file.
pub(super) const MEMBERS_PER_SEGMENT: u32 = MEMBERS_PER_PAGE * PAGES_PER_SEGMENT;
/// The circle of offsets does not end at a page's end. C: `MAX_MEMBERS_IN_LAST_MEMBERS_PAGE`.
const MEMBERS_IN_LAST_PAGE: u32 = u32::MAX % MEMBERS_PER_PAGE + 1;

/// C: `MultiXactIdToOffsetPage`.
pub(super) fn offset_page(multi: MultiXactId) -> u32 {
    multi.0 / OFFSETS_PER_PAGE
}

/// Word within the page. C: `MultiXactIdToOffsetEntry`.
pub(super) fn offset_word(multi: MultiXactId) -> usize {
    (multi.0 % OFFSETS_PER_PAGE) as usize
}

/// C: `MXOffsetToMemberPage`.
pub(super) fn member_page(offset: u32) -> u32 {
    offset / MEMBERS_PER_PAGE
}

/// Where a member is in its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Word of the group's flags. C: `MXOffsetToFlagsOffset` in bytes.
    pub(super) flags_word: usize,
    /// C: `MXOffsetToFlagsBitShift`.
    pub(super) flags_shift: u32,
    /// Word of its id. C: `MXOffsetToMemberOffset` in bytes.
    pub(super) xid_word: usize,
}

pub(super) fn member_place(offset: u32) -> Place {
    let group = offset / GROUP % GROUPS_PER_PAGE;
    let flags_word = group * GROUP_WORDS;
    let nth = offset % GROUP;
    Place { flags_word: flags_word as usize, flags_shift: nth * 8, xid_word: (flags_word + 1 + nth) as usize }
}

/// Whether the member is the first of its page.
pub(super) fn is_first_of_page(offset: u32) -> bool {
    offset.is_multiple_of(MEMBERS_PER_PAGE)
}

/// Members from this one to the end of its page, or of the circle.
pub(super) fn left_on_page(offset: u32) -> u32 {
    if offset.wrapping_add(MEMBERS_IN_LAST_PAGE) < offset {
        // On the last page of the circle, which is not full.
        u32::MAX - offset + 1
    } else {
        MEMBERS_PER_PAGE - offset % MEMBERS_PER_PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte positions as C's macros give them.
    #[test]
    fn members_are_where_postgresql_puts_them() {
        let bytes = |offset| {
            let p = member_place(offset);
            (p.flags_word * 4, p.flags_shift, p.xid_word * 4)
        };
        assert_eq!(bytes(0), (0, 0, 4));
        assert_eq!(bytes(1), (0, 8, 8));
        assert_eq!(bytes(3), (0, 24, 16));
        assert_eq!(bytes(4), (20, 0, 24));
        assert_eq!(bytes(1635), (8160, 24, 8176));
        assert_eq!((bytes(1636), member_page(1636)), ((0, 0, 4), 1));
        assert_eq!(MEMBERS_PER_SEGMENT, 52_352);
    }

    #[test]
    fn the_circle_of_members_ends_within_a_page() {
        assert_eq!(left_on_page(0), 1636);
        assert_eq!(left_on_page(1635), 1);
        assert_eq!(left_on_page(u32::MAX), 1);
        assert_eq!(MEMBERS_IN_LAST_PAGE, (u32::MAX as u64 % 1636 + 1) as u32);
        let first_of_last = u32::MAX / MEMBERS_PER_PAGE * MEMBERS_PER_PAGE;
        assert_eq!(left_on_page(first_of_last), u32::MAX - first_of_last + 1);
    }
}
