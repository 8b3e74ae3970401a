//! How much room a page has, and making more of it.
//!
//! C counterpart: `PageGetFreeSpace` and its siblings, `PageRepairFragmentation`,
//! `PageTruncateLinePointerArray`.

use common::{OffsetNumber, SqlState};
use elog::{Result, error};

use crate::{ITEM_ID_SIZE, ItemId, MAX_HEAP_TUPLES_PER_PAGE, Page, max_align};

impl Page {
    /// Bytes between line pointers and items. C: `PageGetExactFreeSpace`.
    #[inline]
    pub fn exact_free_space(&self) -> usize {
        self.upper().saturating_sub(self.lower())
    }

    /// Bytes for one more item with a new line pointer. C: `PageGetFreeSpace`.
    #[inline]
    pub fn free_space(&self) -> usize {
        self.exact_free_space().saturating_sub(ITEM_ID_SIZE)
    }

    /// Bytes for `items` more items. C: `PageGetFreeSpaceForMultipleTuples`.
    pub fn free_space_for(&self, items: usize) -> usize {
        self.exact_free_space().saturating_sub(items * ITEM_ID_SIZE)
    }

    /// As [`Page::free_space`], but 0 if a heap page can't have another line pointer. C: `PageGetHeapFreeSpace`.
    pub fn heap_free_space(&self) -> usize {
        let space = self.free_space();
        let lines = self.max_offset();
        if space > 0 && lines as usize >= MAX_HEAP_TUPLES_PER_PAGE {
            // The hint can be wrong; without it nobody looks for an unused one either.
            let reusable = self.has_free_lines() && (1..=lines).any(|o| !self.item_id(o).is_used());
            return if reusable { space } else { 0 };
        }
        space
    }

    /// Moves the items together at the end of the page, in the order of their line pointers, and gives unused
    /// line pointers at the end of the array back. What line pointers say of offsets changes, their numbers
    /// don't (PG3). C: `PageRepairFragmentation`.
    ///
    /// # Errors
    /// XX001 if header, line pointers or lengths make no sense.
    pub fn repair_fragmentation(&mut self) -> Result<()> {
        self.check_pointers()?;
        let (lower, special) = (self.lower(), self.special());
        let lines = self.max_offset();
        let (mut unused, mut last_used, mut total, mut stored) = (0, 0, 0, 0);
        for offset in 1..=lines {
            let id = self.item_id(offset);
            if !id.is_used() {
                self.set_item_id(offset, ItemId::UNUSED);
                unused += 1;
                continue;
            }
            last_used = offset;
            if id.has_storage() {
                if id.offset() < self.upper() || id.offset() + id.len() > special {
                    return Err(error!(SqlState::DATA_CORRUPTED, "corrupted line pointer: {}", id.offset()));
                }
                total += max_align(id.len());
                stored += 1;
            }
        }
        if stored == 0 {
            self.set_upper(special);
        } else {
            if total > special - lower {
                return Err(error!(
                    SqlState::DATA_CORRUPTED,
                    "corrupted item lengths: total {total}, available space {}",
                    special - lower
                ));
            }
            self.compactify(lines, special);
        }
        if last_used != lines {
            unused -= lines - last_used;
            self.set_lower(lower - (lines - last_used) as usize * ITEM_ID_SIZE);
        }
        self.set_has_free_lines(unused > 0);
        Ok(())
    }

    /// The item of the lowest line pointer comes to lie last. C: `compactify_tuples`.
    fn compactify(&mut self, lines: OffsetNumber, special: usize) {
        // On the usual page all items are where they should be, or only have to move up, in an order in which
        // none overwrites another; then no copy of the page is needed.
        let mut presorted = true;
        let mut previous = special;
        for id in (1..=lines).map(|o| self.item_id(o)).filter(|id| id.has_storage()) {
            presorted &= id.offset() < previous;
            previous = id.offset();
        }
        let scratch = if presorted { None } else { Some(self.bytes) };
        let mut upper = special;
        for offset in 1..=lines {
            let id = self.item_id(offset);
            if !id.has_storage() {
                continue;
            }
            upper -= max_align(id.len());
            if upper != id.offset() || scratch.is_some() {
                // With the bytes up to the next alignment: replay must leave the same page, padding included.
                let range = id.offset()..(id.offset() + max_align(id.len())).min(self.bytes.len());
                match &scratch {
                    Some(old) => self.bytes[upper..upper + range.len()].copy_from_slice(&old[range]),
                    None => self.bytes.copy_within(range, upper),
                }
                self.set_item_id(offset, ItemId::new(upper, id.state(), id.len()));
            }
        }
        self.set_upper(upper);
    }

    /// Gives unused line pointers at the end of the array back, all but the first. C:
    /// `PageTruncateLinePointerArray`.
    pub fn truncate_line_pointers(&mut self) {
        let lines = self.max_offset();
        let mut last_used = lines;
        while last_used > 1 && !self.item_id(last_used).is_used() {
            last_used -= 1;
        }
        let hint = (1..=last_used).any(|offset| !self.item_id(offset).is_used());
        if last_used != lines {
            self.set_lower(self.lower() - (lines - last_used) as usize * ITEM_ID_SIZE);
        }
        self.set_has_free_lines(hint);
    }
}
