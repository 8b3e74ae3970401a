//! Received WAL to disk.
//!
//! Messages come in order and need not respect segments. Each is written as it comes, with one call a segment; a segment that
//! is complete is made durable, closed and handed to the archive's bookkeeping; what is left is made durable when
//! nothing more is pending, so that many messages share one fsync.
//!
//! RV1 only what is durable is announced, to the startup process or the primary; RV3 a segment is marked for the archive only
//! after it is durable; RV10 the primary is told first, but nobody is left asleep.
//!
//! C counterpart: `XLogWalRcvWrite`, `XLogWalRcvFlush`, `XLogWalRcvClose`.

use std::cell::RefCell;

use common::{Lsn, TimeLineId};
use elog::{Result, errno_text, pg_error};
use file::File;
use replication::walrcv::receiver;
use shmem::wait_event::WaitEvent;
use wal::{SegNo, archive, segment};

/// How far we are. C: `LogstreamResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) written: Lsn,
    pub(crate) flushed: Lsn,
}

struct Files {
    timeline: TimeLineId,
    progress: Progress,
    /// Something has been written since the last sync; also what repeats a part that was durable, as from the begin of a
    /// segment.
    unsynced: bool,
    /// The segment being written. C: `recvFile`, `recvSegNo`.
    open: Option<(SegNo, File)>,
    /// More is durable than those who wait for it here have been woken for (RV10).
    unannounced: bool,
}

thread_local! {
    static FILES: RefCell<Files> = const {
        RefCell::new(Files {
            timeline: TimeLineId(0),
            progress: Progress { written: Lsn::INVALID, flushed: Lsn::INVALID },
            unsynced: false,
            open: None,
            unannounced: false,
        })
    };
}

/// A stream begins: everything before `at` is here already.
pub(crate) fn begin(timeline: TimeLineId, at: Lsn) {
    FILES.with_borrow_mut(|files| {
        files.timeline = timeline;
        files.progress = Progress { written: at, flushed: at };
        files.unsynced = false;
        files.open = None;
    });
}

/// How far writing and flushing are.
pub(crate) fn progress() -> Progress {
    FILES.with_borrow(|files| files.progress)
}

/// Writes a piece of WAL; true if a segment became complete, and durable, by it. C: `XLogWalRcvWrite`.
///
/// # Errors
/// If a segment cannot be made, as on a full disk; a failed write is a PANIC.
pub(crate) fn write(bytes: &[u8], start: Lsn) -> Result<bool> {
    FILES.with_borrow_mut(|files| files.write(bytes, start))
}

/// Makes durable what is written; true if there was anything. Then [`announce`] is to follow, at once or behind the news for the
/// primary. C: the first half of `XLogWalRcvFlush`.
pub(crate) fn flush() -> bool {
    FILES.with_borrow_mut(Files::flush)
}

/// Wakes those on this machine who wait for what has become durable: the startup process, and walsenders. C does so before it
/// tells the primary, where a commit may wait for the news; here nobody does but readers of this standby.
pub(crate) fn announce() {
    FILES.with_borrow_mut(Files::announce);
}

/// Nobody here waits for news of what is durable (RV10).
pub(crate) fn is_announced() -> bool {
    FILES.with_borrow(|files| !files.unannounced)
}

/// Changes settings, `wal_sync_method` and `fsync` perhaps among them: what is written is synced in the way its file was opened
/// for, and the file is opened for the new way. C goes on with the old file, which nobody may be syncing any more.
///
/// # Errors
/// If the segment cannot be opened again.
pub(crate) fn change_settings(change: impl FnOnce()) -> Result<()> {
    FILES.with_borrow_mut(Files::sync);
    change();
    FILES.with_borrow_mut(|files| match files.open.take() {
        Some((number, _)) => files.open(number).map(drop),
        None => Ok(()),
    })
}

/// The stream is over: nothing is open afterwards, and all is announced. True as for [`flush`].
pub(crate) fn finish() -> bool {
    FILES.with_borrow_mut(|files| {
        let flushed = files.open.is_some() && files.close();
        files.announce();
        flushed
    })
}

/// On the way out. A process that ends in the middle of a write leaves it at that.
pub(crate) fn flush_at_exit() {
    FILES.with(|files| {
        if let Ok(mut files) = files.try_borrow_mut() {
            files.flush();
            files.announce();
        }
    });
}

impl Files {
    fn write(&mut self, mut bytes: &[u8], start: Lsn) -> Result<bool> {
        let geometry = wal::geometry();
        let (mut at, mut completed) = (start, false);
        while !bytes.is_empty() {
            completed |= self.close_unless_within(at);
            let number = geometry.segment(at);
            let offset = geometry.offset(at);
            let room = (geometry.segment_size() - offset) as usize;
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            let file = self.open(number)?;
            if let Err(error) = file.write_at(now, offset.into(), WaitEvent::WAL_WRITE) {
                let name = segment::name(self.timeline, number, geometry);
                elog::abort(pg_error!(
                    Panic,
                    elog::sqlstate_for_file_access(&error),
                    "could not write to WAL segment {name} at offset {offset}, length {}: {}",
                    now.len(),
                    errno_text(&error)
                ));
            }
            self.unsynced = true;
            at = at + now.len() as u64;
            bytes = rest;
            self.progress.written = at;
        }
        receiver::set_written(self.progress.written);
        // Closed now and not by the next message: the archive is not to wait for that.
        completed |= self.close_unless_within(at);
        Ok(completed)
    }

    fn open(&mut self, number: SegNo) -> Result<&File> {
        if self.open.is_none() {
            self.open = Some((number, segment::init(number, self.timeline)?));
        }
        match &self.open {
            Some((_, file)) => Ok(file),
            None => unreachable!("opened above"),
        }
    }

    fn close_unless_within(&mut self, at: Lsn) -> bool {
        match &self.open {
            Some((number, _)) if *number != wal::geometry().segment(at) => self.close(),
            _ => false,
        }
    }

    /// C: `XLogWalRcvClose`.
    fn close(&mut self) -> bool {
        let flushed = self.flush();
        // RV3, also where all that was written was known to be durable before.
        self.sync();
        if let Some((number, _)) = self.open.take() {
            // A standby's archive gets it from the primary, unless told to archive itself.
            let name = segment::name(self.timeline, number, wal::geometry());
            if archive::is_always_active() {
                archive::notify(&name);
            } else {
                archive::force_done(&name);
            }
        }
        flushed
    }

    fn sync(&mut self) {
        if let Some((number, file)) = &self.open
            && std::mem::take(&mut self.unsynced)
        {
            segment::sync_received(file, *number, self.timeline);
        }
    }

    fn flush(&mut self) -> bool {
        let Progress { written, flushed } = self.progress;
        if flushed >= written {
            return false;
        }
        self.sync();
        self.progress.flushed = written;
        // RV1.
        receiver::set_flushed(written, self.timeline);
        self.unannounced = true;
        true
    }

    fn announce(&mut self) {
        if !std::mem::take(&mut self.unannounced) {
            return;
        }
        wal::recovery::wakeup();
        if guc::vars::HOT_STANDBY.get() && guc::vars::MAX_WAL_SENDERS.get() > 0 {
            replication::walsnd::wakeup();
        }
        miscinit::ps_status::set_activity(&format!("streaming {}", self.progress.flushed));
    }
}
