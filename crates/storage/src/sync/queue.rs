//! The queue from writers to the checkpointer.
//!
//! The entries are atomics so that no unsafe code is needed; they are written and read only under the lock.
//!
//! C counterpart: `CheckpointerShmemStruct.requests`.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use common::{BackendType, ForkNumber, Oid, RelFileNode};
use elog::ereport;
use shmem::{LwLock, Reservation, ShmSlice, ShmVar, tranche};

use super::{Handler, Request, SyncTag};

shmem::shm_struct! {
    struct Entry {
        request: AtomicU32,
        handler: AtomicU32,
        fork: AtomicU32,
        spc: AtomicU32,
        db: AtomicU32,
        rel: AtomicU32,
        segment: AtomicU32,
    }
}

shmem::shm_struct! {
    struct Queue {
        len: u32,
        /// Of these, how many had to sync by themselves. C: `num_backend_fsync`.
        backend_syncs: u32,
    }
}

shmem::shm_struct! {
    /// What is read and counted without the lock.
    struct Counters {
        /// Changes whenever an entry may have left the queue or lost its meaning: while it stays the same, a request
        /// that was queued once need not be queued again.
        generation: AtomicU64,
        /// Writes by backends since the last question. C: `num_backend_writes`.
        backend_writes: AtomicU32,
    }
}

static COUNTERS: ShmVar<Counters> = ShmVar::new("Checkpointer Counters");
static QUEUE: ShmVar<LwLock<Queue>> = ShmVar::new("Checkpointer Data");
static ENTRIES: ShmSlice<Entry> = ShmSlice::new("Checkpointer Requests");

pub(super) fn reserve(r: &mut Reservation, capacity: usize) {
    r.var(&QUEUE, || LwLock::new(tranche::CHECKPOINTER_COMM, Queue { len: 0, backend_syncs: 0 }));
    r.var(&COUNTERS, || Counters { generation: AtomicU64::new(1), backend_writes: AtomicU32::new(0) });
    r.slice(&ENTRIES, capacity.max(16), |_| Entry {
        request: AtomicU32::new(0),
        handler: AtomicU32::new(0),
        fork: AtomicU32::new(0),
        spc: AtomicU32::new(0),
        db: AtomicU32::new(0),
        rel: AtomicU32::new(0),
        segment: AtomicU32::new(0),
    });
}

impl Entry {
    fn set(&self, request: Request, tag: &SyncTag) {
        self.request.store(request as u32, Relaxed);
        self.handler.store(tag.handler as u32, Relaxed);
        self.fork.store(tag.fork as u32, Relaxed);
        self.spc.store(tag.node.spc.0, Relaxed);
        self.db.store(tag.node.db.0, Relaxed);
        self.rel.store(tag.node.rel.0, Relaxed);
        self.segment.store(tag.segment, Relaxed);
    }

    fn get(&self) -> (Request, SyncTag) {
        let tag = SyncTag {
            handler: Handler::from_u32(self.handler.load(Relaxed)),
            fork: ForkNumber::from_u8(self.fork.load(Relaxed) as u8).unwrap_or_default(),
            node: RelFileNode {
                spc: Oid(self.spc.load(Relaxed)),
                db: Oid(self.db.load(Relaxed)),
                rel: Oid(self.rel.load(Relaxed)),
            },
            segment: self.segment.load(Relaxed),
        };
        (Request::from_u32(self.request.load(Relaxed)), tag)
    }
}

/// What [`take_stats`] returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Pages that backends wrote by themselves. C: `buf_written_backend`.
    pub backend_writes: u32,
    /// Files that backends synced by themselves. C: `buf_fsync_backend`.
    pub backend_syncs: u32,
}

/// What backends had to do themselves since the last call.
pub fn take_stats() -> QueueStats {
    let mut queue = QUEUE.get().exclusive();
    QueueStats {
        backend_writes: COUNTERS.get().backend_writes.swap(0, Relaxed),
        backend_syncs: std::mem::take(&mut queue.backend_syncs),
    }
}

thread_local! {
    /// The last request to sync that this process has queued, and the queue's generation then.
    static LAST_SYNC: Cell<Option<(SyncTag, u64)>> = const { Cell::new(None) };
}

/// Adds a request; false if that is impossible. Who writes one page of a file after the other queues it once: as
/// long as that entry is in the queue, its fsync comes after our write (SY1). C: `ForwardSyncRequest`.
pub(super) fn forward(request: Request, tag: SyncTag) -> bool {
    let Some(counters) = COUNTERS.try_get() else { return false };
    let is_backend = miscinit::globals::backend_type() != BackendType::BgWriter;
    if request == Request::Sync {
        if is_backend {
            counters.backend_writes.fetch_add(1, Relaxed);
        }
        if LAST_SYNC.get() == Some((tag, counters.generation.load(SeqCst))) {
            return true;
        }
    }
    enqueue(request, tag, is_backend, &counters.generation)
}

fn enqueue(request: Request, tag: SyncTag, is_backend: bool, generation: &AtomicU64) -> bool {
    let queue = QUEUE.get();
    let entries = ENTRIES.get();
    let checkpointer = shmem::proc::auxiliary(BackendType::Checkpointer);
    let alive = checkpointer.is_some() && shmem::postmaster_alive();
    let mut queue = queue.exclusive();
    if !alive || (queue.len as usize >= entries.len() && !compact(&mut queue, entries)) {
        if request == Request::Sync && is_backend {
            queue.backend_syncs = queue.backend_syncs.wrapping_add(1);
        }
        return false;
    }
    entries[queue.len as usize].set(request, &tag);
    queue.len += 1;
    match request {
        Request::Sync => LAST_SYNC.set(Some((tag, generation.load(SeqCst)))),
        Request::Forget | Request::Filter => _ = generation.fetch_add(1, SeqCst),
        Request::Unlink => {}
    }
    let half_full = queue.len as usize >= entries.len() / 2;
    drop(queue);
    if half_full && let Some(checkpointer) = checkpointer {
        shmem::latch::set(&checkpointer.latch);
    }
    true
}

/// Throws out what a later request repeats. False if that gained nothing. C: `CompactCheckpointerRequestQueue`.
fn compact(queue: &mut Queue, entries: &[Entry]) -> bool {
    // Allocating could end a process that is about to make a change durable.
    if elog::in_critical_section() {
        return false;
    }
    let all: Vec<_> = entries[..queue.len as usize].iter().map(Entry::get).collect();
    let mut last = HashMap::with_capacity(all.len());
    for (index, request) in all.iter().enumerate() {
        last.insert(*request, index);
    }
    // A repeated request counts where it stands last: a "forget" between two "sync" must stay between them.
    let mut kept = 0;
    for (index, request) in all.iter().enumerate() {
        if last.get(request) == Some(&index) {
            entries[kept].set(request.0, &request.1);
            kept += 1;
        }
    }
    if kept == all.len() {
        return false;
    }
    ereport!(Debug1, "compacted fsync request queue from {} entries to {kept} entries", all.len());
    queue.len = kept as u32;
    true
}

/// Empties the queue. C: the first half of `AbsorbSyncRequests`.
pub(super) fn take_all() -> Vec<(Request, SyncTag)> {
    let Some(queue) = QUEUE.try_get() else { return Vec::new() };
    let mut queue = queue.exclusive();
    COUNTERS.get().generation.fetch_add(1, SeqCst);
    let all = ENTRIES.get()[..queue.len as usize].iter().map(Entry::get).collect();
    queue.len = 0;
    all
}
