//! Putting items into a page.
//!
//! C counterpart: `PageAddItemExtended`.

use common::{OffsetNumber, SqlState};
use elog::{PgError, ereport, pg_error};

use crate::{HEADER_SIZE, ITEM_ID_SIZE, ItemId, MAX_HEAP_TUPLES_PER_PAGE, Page, max_align};

impl Page {
    /// PG1, with PostgreSQL's text.
    pub(crate) fn check_pointers(&self) -> Result<(), PgError> {
        let (lower, upper, special) = (self.lower(), self.upper(), self.special());
        if lower < HEADER_SIZE || lower > upper || upper > special || special > self.bytes.len() {
            return Err(pg_error!(
                Error,
                SqlState::DATA_CORRUPTED,
                "corrupted page pointers: lower = {lower}, upper = {upper}, special = {special}"
            ));
        }
        Ok(())
    }

    /// Adds an item: at `at` if given, moving later line pointers up unless `overwrite`; else at the first unused
    /// line pointer, or a new one. `None`, with a warning where PostgreSQL warns, if it does not fit.
    /// C: `PageAddItemExtended`, `PageAddItem`.
    ///
    /// The process aborts (PANIC) on a page whose header makes no sense: its caller is changing shared data.
    pub fn add_item(
        &mut self,
        item: &[u8],
        at: Option<OffsetNumber>,
        overwrite: bool,
        is_heap: bool,
    ) -> Option<OffsetNumber> {
        if let Err(error) = self.check_pointers() {
            elog::abort(error);
        }
        let limit = self.max_offset() + 1;
        let mut shuffle = false;
        let offset = match at {
            Some(offset) if overwrite && offset < limit => {
                let id = self.item_id(offset);
                if id.is_used() || id.has_storage() {
                    ereport!(Warning, "will not overwrite a used ItemId");
                    return None;
                }
                offset
            }
            Some(offset) => {
                shuffle = offset < limit;
                offset
            }
            None => self.first_unused(limit),
        };
        if offset > limit || offset == 0 {
            ereport!(Warning, "specified item offset is too large");
            return None;
        }
        if is_heap && offset as usize > MAX_HEAP_TUPLES_PER_PAGE {
            ereport!(Warning, "can't put more than MaxHeapTuplesPerPage items in a heap page");
            return None;
        }
        let new_line = offset == limit || shuffle;
        let lower = self.lower() + if new_line { ITEM_ID_SIZE } else { 0 };
        let upper = self.upper().checked_sub(max_align(item.len()))?;
        if lower > upper {
            return None;
        }
        if shuffle {
            let from = Page::item_id_at(offset);
            self.bytes.copy_within(from..Page::item_id_at(limit), from + ITEM_ID_SIZE);
        }
        self.set_item_id(offset, ItemId::normal(upper, item.len()));
        self.bytes[upper..upper + item.len()].copy_from_slice(item);
        self.set_lower(lower);
        self.set_upper(upper);
        Some(offset)
    }

    /// The first unused line pointer if the hint says there may be one, else `limit`.
    fn first_unused(&mut self, limit: OffsetNumber) -> OffsetNumber {
        if self.has_free_lines() {
            let found = (1..limit).find(|offset| {
                let id = self.item_id(*offset);
                !id.is_used() && !id.has_storage()
            });
            match found {
                Some(offset) => return offset,
                None => self.set_has_free_lines(false),
            }
        }
        limit
    }
}
