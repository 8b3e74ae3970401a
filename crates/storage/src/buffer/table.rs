//! Which buffer holds a page: a hash table in shared memory, in 128 partitions with a lock each.
//!
//! A chain is linked through the descriptors themselves; a buffer is in at most one chain.
//!
//! - B2  A buffer with `TAG_VALID` is in the chain of its tag; links change only under the partition's lock, held
//!   exclusively.
//! - B3  A chain may be walked without the lock to find a *candidate*: what was found counts only after the buffer
//!   has been pinned and its tag looked at again (B1). A walk that meets a change may miss what it looks for;
//!   who must be sure asks again under the lock.
//!
//! C counterpart: buf_table.c.

use std::sync::atomic::{AtomicU32, Ordering};

use crossbeam_utils::CachePadded;
use shmem::{ExclusiveGuard, LwLock, Reservation, SharedGuard, ShmSlice, tranche};

use super::desc::{self, NONE, Tag};

/// C: `NUM_BUFFER_PARTITIONS`.
const PARTITIONS: usize = 128;
/// A lock-free walk that takes longer has met changes.
const MAX_STEPS: u32 = 32;

static BUCKETS: ShmSlice<AtomicU32> = ShmSlice::new("Shared Buffer Lookup Table");
static LOCKS: ShmSlice<CachePadded<LwLock<()>>> = ShmSlice::new("Buffer Mapping Locks");

fn bucket_count(buffers: usize) -> usize {
    (buffers * 2).next_power_of_two().max(PARTITIONS)
}

pub(crate) fn reserve(r: &mut Reservation, buffers: usize) {
    r.slice(&BUCKETS, bucket_count(buffers), |_| AtomicU32::new(NONE));
    r.slice(&LOCKS, PARTITIONS, |_| CachePadded::new(LwLock::new(tranche::BUFFER_MAPPING, ())));
}

#[inline]
fn bucket(hash: u32) -> &'static AtomicU32 {
    let buckets = BUCKETS.get();
    &buckets[hash as usize & (buckets.len() - 1)]
}

/// C: `BufMappingPartitionLock`.
#[inline]
fn partition(hash: u32) -> &'static LwLock<()> {
    &LOCKS.get()[hash as usize % PARTITIONS]
}

pub(crate) fn lock_shared(hash: u32) -> SharedGuard<'static, ()> {
    partition(hash).shared()
}

pub(crate) fn lock_exclusive(hash: u32) -> ExclusiveGuard<'static, ()> {
    partition(hash).exclusive()
}

/// B3: a buffer that probably holds the page.
#[inline]
pub(crate) fn candidate(tag: &Tag, hash: u32) -> Option<u32> {
    let descs = desc::all();
    let mut buffer = bucket(hash).load(Ordering::Acquire);
    for _ in 0..MAX_STEPS {
        let desc = descs.get(buffer as usize)?;
        if desc.has_tag(tag) {
            return Some(buffer);
        }
        buffer = desc.next_in_bucket.load(Ordering::Acquire);
    }
    None
}

/// The buffer that holds the page; the caller holds the partition's lock. C: `BufTableLookup`.
pub(crate) fn lookup(tag: &Tag, hash: u32) -> Option<u32> {
    let mut buffer = bucket(hash).load(Ordering::Acquire);
    while buffer != NONE {
        let desc = desc::desc(buffer);
        if desc.has_tag(tag) {
            return Some(buffer);
        }
        buffer = desc.next_in_bucket.load(Ordering::Acquire);
    }
    None
}

/// Adds a buffer whose tag hashes to `hash`. C: `BufTableInsert`.
pub(crate) fn insert(_lock: &ExclusiveGuard<'_, ()>, hash: u32, buffer: u32) {
    let head = bucket(hash);
    desc::desc(buffer).next_in_bucket.store(head.load(Ordering::Relaxed), Ordering::Release);
    head.store(buffer, Ordering::Release);
}

/// Takes a buffer out. C: `BufTableDelete`.
pub(crate) fn delete(_lock: &ExclusiveGuard<'_, ()>, hash: u32, buffer: u32) {
    let mut link = bucket(hash);
    loop {
        let at = link.load(Ordering::Relaxed);
        assert!(at != NONE, "shared buffer hash table corrupted");
        let next = &desc::desc(at).next_in_bucket;
        if at == buffer {
            link.store(next.load(Ordering::Relaxed), Ordering::Release);
            return;
        }
        link = next;
    }
}
