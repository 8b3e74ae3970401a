//! The sets that this transaction has made or looked at. Sets never change, so that the cache is never wrong; it is
//! emptied at the transaction's end to stay small.
//!
//! C counterpart: the "MultiXact cache" part of multixact.c.

use std::cell::RefCell;
use std::collections::VecDeque;

use common::MultiXactId;

use super::Member;

/// C: `MAX_CACHE_ENTRIES`.
const MAX_ENTRIES: usize = 256;

thread_local! {
    /// Newest first.
    static CACHE: RefCell<VecDeque<(MultiXactId, Vec<Member>)>> = const { RefCell::new(VecDeque::new()) };
}

/// C: `mXactCacheGetBySet`. The members are sorted by id, then status.
pub(super) fn find_set(members: &[Member]) -> Option<MultiXactId> {
    CACHE.with_borrow(|cache| cache.iter().find(|(_, set)| set == members).map(|(multi, _)| *multi))
}

/// C: `mXactCacheGetById`.
pub(super) fn find_members(multi: MultiXactId) -> Option<Vec<Member>> {
    CACHE.with_borrow(|cache| cache.iter().find(|(known, _)| *known == multi).map(|(_, set)| set.clone()))
}

/// C: `mXactCachePut`.
pub(super) fn put(multi: MultiXactId, mut members: Vec<Member>) {
    members.sort_unstable_by_key(|(xid, status)| (xid.0, *status));
    CACHE.with_borrow_mut(|cache| {
        cache.push_front((multi, members));
        cache.truncate(MAX_ENTRIES);
    });
}

pub(super) fn clear() {
    CACHE.with_borrow_mut(VecDeque::clear);
}
