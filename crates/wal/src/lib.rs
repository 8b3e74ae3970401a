//! The write-ahead log: a change is in here, and on disk, before the page it changed may be.
//!
//! A backend builds a [`Record`], [`Record::insert`] copies it into the WAL buffers in shared memory and returns
//! its end position, and [`flush`] makes everything before a position durable. Segments in `pg_wal` are made,
//! recycled and removed here; a [`Reader`] gives the records back to whoever replays or sends them.
//!
//! Read in this order: `layout` (pages, records, positions), `record` (building), `assemble` (the bytes),
//! `insert` (getting them into the buffers), `write` (getting the buffers to disk), `segment` and `recycle` (files),
//! `checkpoint`, `startup`, and on the other side `reader`, `decode` and `redo`.
//!
//! The numbered invariants are listed in this crate's README. Unsafe code is in `buffers.rs` alone: copying into and out
//! of shared pages that several processes write to side by side.
//!
//! C counterpart: access/transam/xlog.c, xloginsert.c, xlogreader.c, xlogarchive.c.

#![deny(unsafe_code)]

pub mod layout; // 1. the shape of it
mod rmgr;

mod assemble;
pub mod compress;
mod record; // 2. one record ... // ... as bytes

mod buffers;
mod insert;
mod shared; // 3. what processes share
mod slots; // 4. into the buffers
mod write; // 5. onto disk

pub mod archive;
pub mod control_file;
pub mod recycle;
pub mod segment; // 6. files

pub mod checkpoint;
pub mod offline;
pub mod records; // 7. the log's own records
pub mod recovery;
pub mod recovery_point;
pub mod restore; // 9. files from the archive
pub mod startup; // 8. starting up
pub mod timeline; // 10. the branches of WAL's history
pub mod timeline_switch;

mod decode;
mod reader; // 9. reading back
pub mod redo;

pub use checkpoint::redo_ptr;
pub use decode::{DecodedBlock, DecodedRecord, Image, decode_record};
pub use insert::{
    insert_end, insert_lsn, insert_rec_ptr, last_important_lsn, last_record_start, set_xact_last_rec_end,
    xact_last_rec_end,
};
pub use layout::{Geometry, SegNo};
pub use reader::{
    BrokenRecord, PageCheck, PageRequest, PageSource, ReadError, ReadErrorKind, Reader, SegmentFiles,
    open_segment, read_segment,
};
pub use record::{
    BlockTag, CHECK_CONSISTENCY, INFO_MASK, MAX_BLOCK_ID, Record, RegFlags, SPECIAL_REL_UPDATE,
};
pub use records::{
    force_full_page_writes, hint_bits_need_wal, log_image_for_hint, log_new_page, log_new_pages,
    log_next_oid, needs_full_image, request_switch,
};
pub use rmgr::RmgrId;
pub use segment::{walfile_name, walfile_name_offset};
pub use shared::{
    RecoveryState, buffer_count, geometry, in_recovery, insert_allowed, recovery_state, reserve,
    set_checkpoint_requester, set_current_xid_source, set_insert_allowed, timeline,
};
pub use write::{
    background_flush, flush, flush_lsn, needs_flush, set_async_commit_lsn, set_flush_listener,
    set_walwriter_sleeping, try_flush, write_lsn,
};
