//! The buffer pool: pages in shared memory, for everybody, between the access methods and the storage manager.
//!
//! Read in this order: `desc` (what a buffer is), `table` (finding a page), `private` (pins), `strategy` (which
//! buffer gives way), `io` (reading and writing one), `read` (putting it together), `guard` and `critical`
//! (what callers get), then the jobs that walk over the whole pool: `checkpoint`, `bgwriter`, `drop`.
//!
//! Lock order: a page's content lock, then the partition lock or the I/O lock of any buffer, then a header
//! spinlock. Two content locks at once only in an order that the access method guarantees.
//!
//! C counterpart: bufmgr.c, buf_table.c, freelist.c, buf_init.c.

pub(crate) mod bgwriter;
pub(crate) mod checkpoint;
pub(crate) mod critical;
pub(crate) mod desc;
pub(crate) mod dirty;
pub(crate) mod drop;
pub(crate) mod guard;
pub(crate) mod io;
pub(crate) mod private;
pub(crate) mod read;
pub(crate) mod strategy;
mod table;

#[cfg(test)]
mod tests;

use shmem::Reservation;

pub use bgwriter::{BgWriter, SweepOutcome};
pub use checkpoint::{checkpoint_buffers, dirty_buffers};
pub use critical::Critical;
pub(crate) use desc::Tag;
pub use drop::{
    drop_database_buffers, drop_relation_buffers, drop_relations_all_buffers, flush_database, flush_one,
    flush_relation,
};
pub use guard::{
    PageRead, PageWrite, Pin, PinsInTheWay, delays_replay, replay_waits_for_pin, set_pins_in_the_way,
};
pub use read::{
    ReadMode, ReadOptions, extend, extend_by, prefetch, read_buffer, read_buffer_with, zero_and_lock,
};
pub(crate) use read::{is_in_pool, lock_to_overwrite};
pub use strategy::Strategy;

/// Reserves the pool. `buffers`: how many pages it holds. C: `InitBufferPool`.
pub(crate) fn reserve(r: &mut Reservation, buffers: usize) {
    desc::reserve(r, buffers);
    table::reserve(r, buffers);
    strategy::reserve(r);
    guard::reserve(r);
}

/// Gives back what this process holds in the pool: for the way out, where nothing is dropped.
pub(crate) fn release_all() {
    guard::forget_cleanup_wait();
    private::release_all();
}

/// How many buffers this process has pinned: 0 outside statements, or a pin was leaked.
pub fn pinned() -> usize {
    private::pinned()
}

/// Number of buffers in the pool. C: `NBuffers`.
pub fn buffer_count() -> u32 {
    desc::count()
}
