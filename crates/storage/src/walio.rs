//! All that this crate asks of WAL, in one place, so that this crate's tests can put something simpler there.

use common::Lsn;
use page::Page;
use wal::{BlockTag, Record};

#[cfg(not(test))]
mod real {
    use super::{BlockTag, Lsn, Page, Record};

    #[inline]
    pub(crate) fn flush(lsn: Lsn) -> elog::Result<()> {
        wal::try_flush(lsn)
    }
    #[inline]
    pub(crate) fn needs_flush(lsn: Lsn) -> bool {
        wal::needs_flush(lsn)
    }
    #[inline]
    pub(crate) fn insert(record: Record<'_>) -> Lsn {
        record.insert()
    }
    #[inline]
    pub(crate) fn in_recovery() -> bool {
        wal::in_recovery()
    }
    #[inline]
    pub(crate) fn hint_bits_need_wal() -> bool {
        wal::hint_bits_need_wal()
    }
    pub(crate) fn redo_ptr() -> Lsn {
        wal::redo_ptr()
    }
    pub(crate) fn log_image_for_hint(tag: BlockTag, page: &Page, standard: bool) -> Option<Lsn> {
        wal::log_image_for_hint(tag, page, standard)
    }
    pub(crate) fn log_new_page(tag: BlockTag, page: &Page, standard: bool) -> Lsn {
        wal::log_new_page(tag, page, standard)
    }
}

#[cfg(not(test))]
pub(crate) use real::*;

#[cfg(test)]
pub(crate) use fake::*;

/// A log that only counts: each record is 100 bytes, and a flush is noted.
#[cfg(test)]
pub(crate) mod fake {
    use std::cell::{Cell, RefCell};

    use super::{BlockTag, Lsn, Page, Record};

    thread_local! {
        pub(crate) static INSERTED: Cell<u64> = const { Cell::new(1000) };
        pub(crate) static FLUSHED: Cell<u64> = const { Cell::new(1000) };
        pub(crate) static HINTS_NEED_WAL: Cell<bool> = const { Cell::new(false) };
        pub(crate) static IN_RECOVERY: Cell<bool> = const { Cell::new(false) };
        pub(crate) static HINT_IMAGES: RefCell<Vec<BlockTag>> = const { RefCell::new(Vec::new()) };
    }

    pub(crate) fn flush(lsn: Lsn) -> elog::Result<()> {
        FLUSHED.set(FLUSHED.get().max(lsn.0));
        Ok(())
    }
    pub(crate) fn needs_flush(lsn: Lsn) -> bool {
        lsn.0 > FLUSHED.get()
    }
    pub(crate) fn insert(_record: Record<'_>) -> Lsn {
        INSERTED.set(INSERTED.get() + 100);
        Lsn(INSERTED.get())
    }
    pub(crate) fn in_recovery() -> bool {
        IN_RECOVERY.get()
    }
    pub(crate) fn hint_bits_need_wal() -> bool {
        HINTS_NEED_WAL.get()
    }
    pub(crate) fn redo_ptr() -> Lsn {
        Lsn(1000)
    }
    pub(crate) fn log_image_for_hint(tag: BlockTag, _page: &Page, _standard: bool) -> Option<Lsn> {
        HINT_IMAGES.with_borrow_mut(|images| images.push(tag));
        INSERTED.set(INSERTED.get() + 100);
        Some(Lsn(INSERTED.get()))
    }
    pub(crate) fn log_new_page(_tag: BlockTag, _page: &Page, _standard: bool) -> Lsn {
        INSERTED.set(INSERTED.get() + 8300);
        Lsn(INSERTED.get())
    }
}
