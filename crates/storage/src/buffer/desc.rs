//! Buffer descriptors: what is in a buffer, who uses it, and the one word that holds most of that.
//!
//! The state word is PostgreSQL's: 18 bits of reference count (processes that hold a pin), 4 bits of usage count,
//! 10 flags. Pinning and unpinning is one compare-and-swap. Bit `LOCKED` is a spinlock on the header: while it is
//! set nobody else changes the word, and only its holder may change the tag.
//!
//! - B1  The tag of a buffer changes only under the header lock, with no pin by anybody but whoever changes it; so
//!   a process that holds a pin on a buffer with `TAG_VALID` may read the tag freely.
//!
//! C counterpart: buf_internals.h, buf_init.c.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{BlockNumber, ForkNumber, Oid, RelFileNode};
use crossbeam_utils::Backoff;
use page::Page;
use shmem::{LwLock, Reservation, ShmSafe, ShmSlice, tranche};

pub(crate) const REFCOUNT_ONE: u32 = 1;
pub(crate) const REFCOUNT_MASK: u32 = (1 << 18) - 1;
pub(crate) const USAGE_ONE: u32 = 1 << 18;
pub(crate) const USAGE_MASK: u32 = 0x003C_0000;
pub(crate) const USAGE_SHIFT: u32 = 18;
pub(crate) const FLAG_MASK: u32 = 0xFFC0_0000;
/// More uses than this do not keep a buffer longer. C: `BM_MAX_USAGE_COUNT`.
pub(crate) const MAX_USAGE: u32 = 5;

/// The flags. C: `BM_*`.
pub(crate) mod bm {
    pub(crate) const LOCKED: u32 = 1 << 22;
    pub(crate) const DIRTY: u32 = 1 << 23;
    pub(crate) const VALID: u32 = 1 << 24;
    pub(crate) const TAG_VALID: u32 = 1 << 25;
    pub(crate) const IO_IN_PROGRESS: u32 = 1 << 26;
    pub(crate) const IO_ERROR: u32 = 1 << 27;
    pub(crate) const JUST_DIRTIED: u32 = 1 << 28;
    pub(crate) const PIN_COUNT_WAITER: u32 = 1 << 29;
    pub(crate) const CHECKPOINT_NEEDED: u32 = 1 << 30;
    pub(crate) const PERMANENT: u32 = 1 << 31;
}

/// No buffer; end of a chain.
pub(crate) const NONE: u32 = u32::MAX;
/// Not in the free list. C: `FREENEXT_NOT_IN_LIST`.
pub(crate) const NOT_IN_LIST: u32 = u32::MAX - 1;

#[inline]
pub(crate) fn refcount(state: u32) -> u32 {
    state & REFCOUNT_MASK
}

#[inline]
pub(crate) fn usage(state: u32) -> u32 {
    (state & USAGE_MASK) >> USAGE_SHIFT
}

/// Which page. C: `BufferTag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tag {
    pub(crate) node: RelFileNode,
    pub(crate) fork: ForkNumber,
    pub(crate) block: BlockNumber,
}

impl Tag {
    /// Spreads neighbours over all buckets and partitions with two multiplications. C: `BufTableHashCode`.
    #[inline]
    pub(crate) fn hash(&self) -> u32 {
        const K: u64 = 0x9E37_79B9_7F4A_7C15;
        let a = u64::from(self.node.rel.0) << 32 | u64::from(self.block);
        let b = u64::from(self.node.db.0) << 32 | u64::from(self.node.spc.0) ^ (self.fork as u64) << 29;
        let mixed = (a ^ b.rotate_left(23).wrapping_mul(K)).wrapping_mul(K);
        (mixed >> 32) as u32
    }
}

shmem::shm_struct! {
    /// One buffer. C: `BufferDesc`.
    #[repr(align(64))]
    pub(crate) struct Desc {
        pub(crate) state: AtomicU32,
        spc: AtomicU32,
        db: AtomicU32,
        rel: AtomicU32,
        fork: AtomicU32,
        block: AtomicU32,
        /// Next in its hash chain; changed under the partition's lock.
        pub(crate) next_in_bucket: AtomicU32,
        /// Next in the free list; changed under the free list's lock.
        pub(crate) next_free: AtomicU32,
        /// PGPROC that waits for all other pins to go; valid with `PIN_COUNT_WAITER`. C: `wait_backend_pgprocno`.
        pub(crate) waiter: AtomicU32,
        pub(crate) content: LwLock<()>,
    }
}

const _: () = assert!(size_of::<Desc>() == 64);

/// The page in a buffer. Its bytes are only touched through pointers made by [`page_ptr`].
#[repr(C, align(512))]
pub(crate) struct Frame(UnsafeCell<MaybeUninit<Page>>);

// SAFETY: plain bytes of fixed size. Who may look at them and who may change them is settled by pins, content
// locks and `IO_IN_PROGRESS`; see `guard`.
unsafe impl Sync for Frame {}
// SAFETY: repr(C), no pointer, no Drop.
unsafe impl ShmSafe for Frame {}

static DESCS: ShmSlice<Desc> = ShmSlice::new("Buffer Descriptors");
static FRAMES: ShmSlice<Frame> = ShmSlice::new("Buffer Blocks");
/// Held exclusively while a buffer is read or written: who waits for that takes it shared. A slice of its own
/// keeps descriptors within one cache line. C: `BufferIOCVArray`.
static IO_LOCKS: ShmSlice<LwLock<()>> = ShmSlice::new("Buffer IO Locks");

pub(crate) fn reserve(r: &mut Reservation, buffers: usize) {
    r.slice(&DESCS, buffers, move |i| Desc {
        state: AtomicU32::new(0),
        spc: AtomicU32::new(0),
        db: AtomicU32::new(0),
        rel: AtomicU32::new(0),
        fork: AtomicU32::new(0),
        block: AtomicU32::new(0),
        next_in_bucket: AtomicU32::new(NONE),
        next_free: AtomicU32::new(if i + 1 < buffers { i as u32 + 1 } else { NONE }),
        waiter: AtomicU32::new(NONE),
        content: LwLock::new(tranche::BUFFER_CONTENT, ()),
    });
    r.slice(&IO_LOCKS, buffers, |_| LwLock::new(tranche::BUFFER_CONTENT, ()));
    // Nothing is written: the mapping is zeroed, and pages that are never used shall not cost memory.
    r.slice(&FRAMES, buffers, |_| Frame(UnsafeCell::new(MaybeUninit::uninit())));
}

/// How many buffers there are. C: `NBuffers`.
#[inline]
pub(crate) fn count() -> u32 {
    DESCS.get().len() as u32
}

#[inline]
pub(crate) fn desc(buffer: u32) -> &'static Desc {
    &DESCS.get()[buffer as usize]
}

/// The same in a process that may have no pool: then there are none.
pub(crate) fn try_all() -> &'static [Desc] {
    DESCS.try_get().unwrap_or(&[])
}

#[inline]
pub(crate) fn all() -> &'static [Desc] {
    DESCS.get()
}

pub(crate) fn io_lock(buffer: u32) -> &'static LwLock<()> {
    &IO_LOCKS.get()[buffer as usize]
}

/// Where the buffer's page is. C: `BufHdrGetBlock`.
#[inline]
pub(crate) fn page_ptr(buffer: u32) -> *mut Page {
    FRAMES.get()[buffer as usize].0.get().cast()
}

impl Desc {
    #[inline]
    pub(crate) fn tag(&self) -> Tag {
        let get = |word: &AtomicU32| word.load(Ordering::Relaxed);
        Tag {
            node: RelFileNode { spc: Oid(get(&self.spc)), db: Oid(get(&self.db)), rel: Oid(get(&self.rel)) },
            fork: ForkNumber::from_u8(get(&self.fork) as u8).unwrap_or_default(),
            block: get(&self.block),
        }
    }

    #[inline]
    pub(crate) fn has_tag(&self, tag: &Tag) -> bool {
        self.block.load(Ordering::Relaxed) == tag.block
            && self.rel.load(Ordering::Relaxed) == tag.node.rel.0
            && self.fork.load(Ordering::Relaxed) == tag.fork as u32
            && self.db.load(Ordering::Relaxed) == tag.node.db.0
            && self.spc.load(Ordering::Relaxed) == tag.node.spc.0
    }

    #[inline]
    pub(crate) fn is_of(&self, node: RelFileNode) -> bool {
        self.rel.load(Ordering::Relaxed) == node.rel.0
            && self.db.load(Ordering::Relaxed) == node.db.0
            && self.spc.load(Ordering::Relaxed) == node.spc.0
    }

    #[inline]
    pub(crate) fn database(&self) -> Oid {
        Oid(self.db.load(Ordering::Relaxed))
    }

    /// B1: under the header lock.
    pub(crate) fn set_tag(&self, tag: &Tag) {
        self.spc.store(tag.node.spc.0, Ordering::Relaxed);
        self.db.store(tag.node.db.0, Ordering::Relaxed);
        self.rel.store(tag.node.rel.0, Ordering::Relaxed);
        self.fork.store(tag.fork as u32, Ordering::Relaxed);
        self.block.store(tag.block, Ordering::Relaxed);
    }

    /// B1: under the header lock. C: `CLEAR_BUFFERTAG`.
    pub(crate) fn clear_tag(&self) {
        let nothing =
            Tag { node: RelFileNode::default(), fork: ForkNumber::Main, block: common::INVALID_BLOCK };
        self.set_tag(&nothing);
    }

    /// Takes the header's spinlock and returns the state with `LOCKED` set. C: `LockBufHdr`.
    #[inline]
    pub(crate) fn lock(&self) -> u32 {
        let before = self.state.fetch_or(bm::LOCKED, Ordering::Acquire);
        if before & bm::LOCKED == 0 { before | bm::LOCKED } else { self.lock_contended() }
    }

    #[cold]
    fn lock_contended(&self) -> u32 {
        let backoff = Backoff::new();
        loop {
            self.wait_unlocked(&backoff);
            let before = self.state.fetch_or(bm::LOCKED, Ordering::Acquire);
            if before & bm::LOCKED == 0 {
                return before | bm::LOCKED;
            }
        }
    }

    fn wait_unlocked(&self, backoff: &Backoff) -> u32 {
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if state & bm::LOCKED == 0 {
                return state;
            }
            backoff.snooze();
        }
    }

    /// Releases the spinlock and sets the word. C: `UnlockBufHdr`.
    #[inline]
    pub(crate) fn unlock(&self, state: u32) {
        self.state.store(state & !bm::LOCKED, Ordering::Release);
    }

    /// Changes the word while nobody holds the spinlock. Returns (before, after).
    #[inline]
    pub(crate) fn update(&self, change: impl Fn(u32) -> u32) -> (u32, u32) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state & bm::LOCKED != 0 {
                state = self.wait_unlocked(&Backoff::new());
            }
            let new = change(state);
            match self.state.compare_exchange_weak(state, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return (state, new),
                Err(now) => state = now,
            }
        }
    }
}
