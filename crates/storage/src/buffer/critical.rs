//! Critical sections: one change of some pages, and the one WAL record that tells of it.
//!
//! ```no_run
//! # use storage::{Critical, PageWrite};
//! # use wal::{Record, RegFlags, RmgrId};
//! # fn example(write: &mut PageWrite<'_>, tuple: &[u8]) {
//! let mut critical = Critical::begin();
//! let offset = write.modify(&mut critical).add_item(tuple, None, false, true);
//! let offset = offset.unwrap_or(0).to_le_bytes();
//! let mut record = Record::new(RmgrId::Heap, 0x00);
//! record.data(&offset);
//! record.block(0, write.tag(), write, RegFlags::STANDARD);
//! record.block_data(0, tuple);
//! critical.log(record);
//! # }
//! ```
//!
//! - B8  Between the first change and the record no error can be returned: a section that is left without one of
//!   its ends is a PANIC.
//! - B9  Every page changed in a section is still locked exclusively when the record's LSN is stamped on it.
//!
//! C counterpart: `START_CRIT_SECTION` ... `XLogInsert`, `PageSetLSN` ... `END_CRIT_SECTION`.

use common::{Lsn, SqlState};
use elog::pg_error;
use shmem::LwMode;
use wal::Record;

use super::desc;
use crate::walio;

/// More pages in one section than this cost an allocation.
const INLINE: usize = 8;

/// An open critical section. See the module.
#[must_use = "a critical section must end with `log`, `unlogged` or `redo`"]
pub struct Critical {
    few: [u32; INLINE],
    count: usize,
    more: Vec<u32>,
    /// Errors must not leave it, and the section counts.
    open: bool,
}

impl Critical {
    /// Opens a section. C: `START_CRIT_SECTION`.
    #[inline]
    pub fn begin() -> Critical {
        elog::start_critical_section();
        Critical { few: [0; INLINE], count: 0, more: Vec::new(), open: true }
    }

    /// Notes a page that will get the record's LSN.
    #[inline]
    pub(crate) fn add(&mut self, buffer: u32) {
        if self.few[..self.count].contains(&buffer) {
            return;
        }
        if self.count < INLINE {
            self.few[self.count] = buffer;
            self.count += 1;
        } else if !self.more.contains(&buffer) {
            self.more.push(buffer);
        }
    }

    /// Inserts the record, stamps its LSN on every page changed in this section, and ends it. Returns the LSN.
    #[inline]
    pub fn log(self, record: Record<'_>) -> Lsn {
        let lsn = walio::insert(record);
        self.stamp_and_end(lsn);
        lsn
    }

    /// As [`Critical::log`] with a record that is put together only now.
    pub fn log_with<'a>(self, build: impl FnOnce() -> Record<'a>) -> Lsn {
        self.log(build())
    }

    /// Ends it with the LSN of a record that the caller has inserted by itself (several records for one change, or
    /// an image of the page).
    pub fn logged_at(self, lsn: Lsn) {
        self.stamp_and_end(lsn);
    }

    /// Ends it without a record: for relations whose changes are not logged.
    #[inline]
    pub fn unlogged(mut self) {
        self.end();
    }

    /// During replay: stamps the LSN (the end of the replayed record) and ends it.
    pub fn redo(self, lsn: Lsn) {
        self.stamp_and_end(lsn);
    }

    #[inline]
    fn stamp_and_end(mut self, lsn: Lsn) {
        for buffer in self.few[..self.count].iter().chain(&self.more) {
            let locked = desc::desc(*buffer).content.held_by_me_in(LwMode::Exclusive);
            if !locked {
                elog::abort(pg_error!(
                    Panic,
                    SqlState::INTERNAL_ERROR,
                    "buffer {buffer} was changed in a critical section and unlocked before its end"
                ));
            }
            // SAFETY: we hold the content lock exclusively (just checked, B9), and the record that borrowed the page
            // is gone.
            unsafe { (*desc::page_ptr(*buffer)).set_lsn(lsn) };
        }
        self.end();
    }

    #[inline]
    fn end(&mut self) {
        self.open = false;
        elog::end_critical_section();
    }
}

impl Drop for Critical {
    fn drop(&mut self) {
        if self.open {
            elog::abort(pg_error!(
                Panic,
                SqlState::INTERNAL_ERROR,
                "a critical section was left without its WAL record"
            ));
        }
    }
}
