//! Who fsyncs what: writers only *register* files; the checkpointer syncs each once, at the next checkpoint.
//!
//! Requests travel through a queue in shared memory. When it is full and cannot be compacted, or there is no
//! checkpointer to read it, the writer syncs the file itself ([`register`] says false). The checkpointer, or a
//! process alone in the world, keeps what is to be synced in a table of its own.
//!
//! - SY1  A file that was written before a checkpoint's redo pointer is synced before that checkpoint is recorded:
//!   writers register after the write and before they mark the buffer clean.
//! - SY2  A failed fsync is a PANIC, unless the file is gone and the request to forget it comes in time.
//! - SY3  A request to unlink is carried out after the checkpoint that follows it, not before.
//!
//! C counterpart: storage/sync/sync.c, `ForwardSyncRequest`, `AbsorbSyncRequests` and
//! `CompactCheckpointerRequestQueue` of checkpointer.c.

mod pending;
mod queue;

use std::cell::Cell;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use common::{BackendType, ForkNumber, Oid, RelFileNode};
use shmem::Reservation;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

use crate::smgr;

pub use pending::{SyncStats, absorb, post_checkpoint, pre_checkpoint, process_sync_requests};
pub use queue::{QueueStats, take_stats};

/// Whose file it is: decides its path. C: `SyncRequestHandler`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Handler {
    /// A relation's segment.
    Relation = 0,
    /// `pg_xact`.
    Clog = 1,
    /// `pg_commit_ts`.
    CommitTs = 2,
    /// `pg_multixact/offsets`.
    MultiXactOffset = 3,
    /// `pg_multixact/members`.
    MultiXactMember = 4,
}

impl Handler {
    fn from_u32(number: u32) -> Handler {
        match number {
            1 => Handler::Clog,
            2 => Handler::CommitTs,
            3 => Handler::MultiXactOffset,
            4 => Handler::MultiXactMember,
            _ => Handler::Relation,
        }
    }
}

/// A file. C: `FileTag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncTag {
    /// Whose.
    pub handler: Handler,
    /// Of a relation's segment.
    pub fork: ForkNumber,
    /// Of a relation's segment.
    pub node: RelFileNode,
    /// Number of the segment.
    pub segment: u32,
}

impl SyncTag {
    /// A relation's segment.
    pub const fn relation(node: RelFileNode, fork: ForkNumber, segment: u32) -> SyncTag {
        SyncTag { handler: Handler::Relation, fork, node, segment }
    }

    /// A segment of an SLRU: `pg_xact/0000`.
    pub const fn slru(handler: Handler, segment: u32) -> SyncTag {
        let node = RelFileNode { spc: Oid(0), db: Oid(0), rel: Oid(0) };
        SyncTag { handler, fork: ForkNumber::Main, node, segment }
    }

    /// Where it is, relative to the data directory.
    pub fn path(&self) -> PathBuf {
        let dir = match self.handler {
            Handler::Relation => return smgr::segment_path(self.node, self.fork, self.segment),
            Handler::Clog => "pg_xact",
            Handler::CommitTs => "pg_commit_ts",
            Handler::MultiXactOffset => "pg_multixact/offsets",
            Handler::MultiXactMember => "pg_multixact/members",
        };
        format!("{dir}/{:04X}", self.segment).into()
    }

    fn sync(&self) -> io::Result<()> {
        match self.handler {
            Handler::Relation => smgr::sync_segment(self.node, self.fork, self.segment),
            _ => {
                let flags = file::OpenFlags::READ | file::OpenFlags::WRITE;
                file::open(&self.path(), flags)?.sync(WaitEvent::SLRU_FLUSH_SYNC)
            }
        }
    }
}

/// What is asked for. C: `SyncRequestType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Request {
    /// Sync it by the next checkpoint. C: `SYNC_REQUEST`.
    Sync = 0,
    /// Remove it after the next checkpoint. C: `SYNC_UNLINK_REQUEST`.
    Unlink = 1,
    /// It is gone: nothing to sync. C: `SYNC_FORGET_REQUEST`.
    Forget = 2,
    /// Everything of this database is gone (only `node.db` counts). C: `SYNC_FILTER_REQUEST`.
    Filter = 3,
}

impl Request {
    fn from_u32(number: u32) -> Request {
        match number {
            1 => Request::Unlink,
            2 => Request::Forget,
            3 => Request::Filter,
            _ => Request::Sync,
        }
    }
}

thread_local! {
    /// Whether this process syncs by itself: the checkpointer, or one without a postmaster.
    static KEEPS_TABLE: Cell<Option<bool>> = const { Cell::new(None) };
}

/// C: `InitSync`, asked when first needed.
fn keeps_table() -> bool {
    match KEEPS_TABLE.get() {
        Some(known) => known,
        None => {
            let checkpointer = miscinit::globals::backend_type() == BackendType::Checkpointer;
            let keeps = checkpointer || !miscinit::globals::under_postmaster();
            KEEPS_TABLE.set(Some(keeps));
            keeps
        }
    }
}

/// A child must not take over what its parent found out about itself.
pub(crate) fn forget_role() {
    KEEPS_TABLE.set(None);
}

/// Reserves the queue. C: `CheckpointerShmemInit`.
pub(crate) fn reserve(r: &mut Reservation, capacity: usize) {
    queue::reserve(r, capacity);
}

/// Hands a request over. False if it could not be: then the caller syncs the file itself. With `insist` it waits for
/// room, as long as there may be somebody to make some. C: `RegisterSyncRequest`.
pub fn register(request: Request, tag: SyncTag, insist: bool) -> bool {
    if keeps_table() {
        pending::remember(request, tag);
        return true;
    }
    loop {
        if queue::forward(request, tag) {
            return true;
        }
        // Nobody will read the queue any more. What is lost with the request: a file to be removed stays there
        // empty until the next start, and one to be forgotten is forgotten with the checkpointer's table.
        if !insist || !shmem::postmaster_alive() {
            return false;
        }
        latch::wait(
            Wake::POSTMASTER_DEATH,
            Some(Duration::from_millis(10)),
            WaitEvent::REGISTER_SYNC_REQUEST,
        );
    }
}

/// All files of a database go: nothing of it need be synced or removed later. C: `ForgetDatabaseSyncRequests`.
pub fn forget_database(db: Oid) {
    let node = RelFileNode { spc: Oid(0), db, rel: Oid(0) };
    register(Request::Filter, SyncTag::relation(node, ForkNumber::Main, 0), true);
}

#[cfg(test)]
mod tests;
