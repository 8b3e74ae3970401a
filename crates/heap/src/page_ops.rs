//! Changes of a page that running and replaying share, so that both leave the same bytes.
//!
//! C counterpart: `heap_page_prune_execute`, the item loops of `lazy_vacuum_heap_page` and `heap_xlog_vacuum`,
//! `RelationPutHeapTuple`.

use common::{BlockNumber, ItemPointer, OffsetNumber, SqlState};
use elog::{Result, pg_error};
use page::{ItemId, Page};

use crate::header::HeaderMut;
use crate::tuple::Tuple;

/// An unused line pointer.
fn unused() -> ItemId {
    ItemId::default()
}

/// Whether all of these are line pointers of the page.
pub(crate) fn check_offsets(page: &Page, offsets: &[OffsetNumber]) -> Result<()> {
    if offsets.iter().all(|offset| (1..=page.max_offset()).contains(offset)) {
        Ok(())
    } else {
        Err(pg_error!(
            Panic,
            SqlState::DATA_CORRUPTED,
            "heap record names a line pointer that does not exist"
        ))
    }
}

/// Sets line pointers as planned and closes the gaps between rows. C: `heap_page_prune_execute`.
///
/// # Errors
/// XX001 if the page's line pointers make no sense.
pub(crate) fn execute_prune(
    page: &mut Page,
    redirected: &[(OffsetNumber, OffsetNumber)],
    dead: &[OffsetNumber],
    now_unused: &[OffsetNumber],
) -> Result<()> {
    for (from, to) in redirected {
        page.set_item_id(*from, ItemId::redirect(*to));
    }
    for offset in dead {
        page.set_item_id(*offset, ItemId::dead());
    }
    for offset in now_unused {
        page.set_item_id(*offset, unused());
    }
    page.repair_fragmentation()
}

/// Frees dead line pointers, which have no row, and cuts unused ones off the end of the array.
pub(crate) fn execute_vacuum(page: &mut Page, dead: &[OffsetNumber]) {
    for offset in dead {
        page.set_item_id(*offset, unused());
    }
    page.truncate_line_pointers();
}

/// Adds a row to a page that has room for it, and tells the row where it is. Within a critical section: a page
/// without room is a PANIC. C: `RelationPutHeapTuple`.
#[inline]
pub(crate) fn put_tuple(page: &mut Page, block: BlockNumber, tuple: &mut Tuple) {
    let Some(offset) = page.add_item(&tuple.bytes, None, false, true) else {
        elog::abort(pg_error!(Panic, SqlState::INTERNAL_ERROR, "failed to add tuple to page"));
    };
    tuple.tid = ItemPointer::new(block, offset);
    HeaderMut(page.item_mut(offset)).set_ctid(tuple.tid);
}
