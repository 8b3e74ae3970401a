//! When a hint bit may be stored.
//!
//! "Committed" on a page that reaches disk before the commit record would make a lost transaction look
//! committed after a crash. So the bit waits until the record is flushed, unless the page's own LSN forces a flush
//! that far anyway. "Aborted" needs no such care. Rule H3.
//!
//! C counterpart: `SetHintBits`.

use common::{Lsn, Xid};

use super::Hints;

/// Hints for one row of a page: collects those that may be stored, for the caller to apply.
pub(crate) struct PageHints {
    page_lsn: Lsn,
    /// Bits of `t_infomask` to set.
    pub bits: u16,
}

impl PageHints {
    /// For a row of a page with this LSN.
    #[inline]
    pub(crate) fn new(page_lsn: Lsn) -> PageHints {
        PageHints { page_lsn, bits: 0 }
    }
}

impl Hints for PageHints {
    fn hint(&mut self, bits: u16, xid: Xid) {
        if xid.is_valid() {
            let commit_lsn = transam::commit_lsn(xid);
            if commit_lsn > self.page_lsn && commit_lsn != Lsn::INVALID && wal::needs_flush(commit_lsn) {
                return;
            }
        }
        self.bits |= bits;
    }
}
