//! Making the kernel write early what it would otherwise collect until the fsync of the checkpoint.
//!
//! C counterpart: `pg_flush_data`, `ScheduleBufferTagForWriteback`, `IssuePendingWritebacks`.

use std::os::fd::AsRawFd;

use elog::ereport;
use shmem::wait_event::{self, WaitEvent};

use crate::buffer::Tag;
use crate::smgr;

/// C: `WRITEBACK_MAX_PENDING_FLUSHES`.
const MAX_PENDING: usize = 256;

/// Starts writing a range of a file to disk without waiting for it.
pub(crate) fn start(file: &file::File, offset: u64, len: u64) {
    if !guc::vars::FSYNC.get() {
        return;
    }
    let _waiting = wait_event::during(WaitEvent::DATA_FILE_FLUSH);
    let started = file.with_fd(|fd| {
        // SAFETY: takes a descriptor that is open during this call and three numbers; touches no memory.
        let result = unsafe {
            libc::sync_file_range(fd.as_raw_fd(), offset as i64, len as i64, libc::SYNC_FILE_RANGE_WRITE)
        };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    });
    if let Err(e) = started
        && e.raw_os_error() != Some(libc::ENOSYS)
    {
        ereport!(Warning, "could not flush dirty data: {}", elog::errno_text(&e));
    }
}

/// Starts writing a whole file to disk without waiting for it. C: `pg_flush_data(fd, 0, 0)`.
pub fn begin_writing(file: &file::File) {
    start(file, 0, 0);
}

/// Blocks written a short while ago, to be handed to the kernel in order once there are enough. C: `WritebackContext`.
pub(crate) struct Pending {
    /// The setting, in blocks; asked each time, since it may change. 0 = never.
    limit: fn() -> i32,
    tags: Vec<Tag>,
}

impl Pending {
    pub(crate) const fn new(limit: fn() -> i32) -> Pending {
        Pending { limit, tags: Vec::new() }
    }

    /// C: `ScheduleBufferTagForWriteback`.
    pub(crate) fn add(&mut self, tag: Tag) {
        let limit = ((self.limit)().max(0) as usize).min(MAX_PENDING);
        if limit > 0 {
            self.tags.push(tag);
        }
        if self.tags.len() >= limit {
            self.issue();
        }
    }

    /// C: `IssuePendingWritebacks`.
    pub(crate) fn issue(&mut self) {
        self.tags.sort_unstable();
        let mut rest = self.tags.as_slice();
        while let [first, ..] = rest {
            let next = |n: &usize| {
                rest.get(*n).is_some_and(|t| {
                    t.node == first.node && t.fork == first.fork && t.block <= rest[*n - 1].block + 1
                })
            };
            let run = (1..).take_while(next).count() + 1;
            smgr::writeback(first.node, first.fork, first.block, rest[run - 1].block - first.block + 1);
            rest = &rest[run..];
        }
        self.tags.clear();
    }
}
