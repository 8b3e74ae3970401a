//! Pages between memory and disk: the buffer pool, the storage manager, who fsyncs what, where there is free space.
//!
//! ```no_run
//! use common::{DEFAULT_TABLESPACE, ForkNumber, Oid, RelFileNode};
//! use storage::{ReadMode, read_buffer};
//!
//! let node = RelFileNode { spc: DEFAULT_TABLESPACE, db: Oid(5), rel: Oid(16384) };
//! let pin = read_buffer(node, ForkNumber::Main, 7, ReadMode::Normal, None).unwrap();
//! let page = pin.shared();
//! println!("{} line pointers", page.max_offset());
//! ```
//!
//! Who wants to change a page opens a [`Critical`] section, gets a `&mut Page` from [`PageWrite::modify`], and ends
//! the section with the WAL record that tells of the change: "changed without WAL" does not compile, or panics.
//!
//! Read in this order: `smgr` (files), `buffer` (the pool), `sync` (fsync requests), `freespace`, `redo`.
//! The numbered invariants that code and tests cite are listed in this crate's README.
//!
//! C counterpart: src/backend/storage/{buffer,smgr,sync,freespace}, access/transam/xlogutils.c.

// Pages in shared memory are changed and read through raw pointers: here, behind the guards of `buffer::guard`.
#![allow(unsafe_code)]

pub mod smgr;

mod buffer;
pub mod sync;
pub mod tablespace;
mod writeback;

pub mod freespace;
pub mod redo;
#[cfg(test)]
mod testing;

pub mod stats;
mod walio;

pub use buffer::{
    BgWriter, Critical, PageRead, PageWrite, Pin, PinsInTheWay, ReadMode, ReadOptions, Strategy,
    SweepOutcome, buffer_count, checkpoint_buffers, delays_replay, dirty_buffers, drop_database_buffers,
    drop_relation_buffers, drop_relations_all_buffers, extend, extend_by, flush_database, flush_one,
    flush_relation, pinned, prefetch, read_buffer, read_buffer_with, replay_waits_for_pin,
    set_pins_in_the_way, zero_and_lock,
};
pub use wal::BlockTag;
pub use writeback::begin_writing;

use shmem::Reservation;

/// Reserves the buffer pool (`shared_buffers` pages) and the queue of fsync requests. C: `InitBufferPool`,
/// `CheckpointerShmemInit`.
pub fn reserve(r: &mut Reservation) {
    let buffers = guc::vars::SHARED_BUFFERS.get() as usize;
    reserve_with(r, buffers);
}

/// As [`reserve`] with this many buffers: for tests, and for programs that use the pool alone.
pub fn reserve_with(r: &mut Reservation, buffers: usize) {
    buffer::reserve(r, buffers);
    freespace::reserve(r);
    sync::reserve(r, buffers);
    tablespace::reserve(r);
}

/// To be called once by every process that uses the pool, after it has got its PGPROC: on its way out it gives
/// back its pins. C: `InitBufferPoolAccess`.
pub fn init_process() {
    sync::forget_role();
    miscinit::exit::on_shmem_exit(|_| buffer::release_all());
}
