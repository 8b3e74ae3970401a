//! WAL from its files, as it is.
//!
//! One segment stays open. Once it was opened it can still be read when a checkpoint has removed it, but not when it was renamed
//! to serve again: whoever reads asks afterwards whether the segment has gone ([`Segments::check_removed`], WA2).
//!
//! C counterpart: `WalSndSegmentOpen` of walsender.c, `WALRead` of xlogreader.c, `CheckXLogRemoved` of xlog.c.

use std::io;

use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, errno_text, error};
use file::{File, OpenFlags};
use shmem::wait_event::WaitEvent;
use wal::{SegNo, segment};

use crate::position::Branch;

struct Open {
    number: SegNo,
    timeline: TimeLineId,
    file: File,
}

/// The segment that is being read.
#[derive(Default)]
pub(crate) struct Segments {
    open: Option<Open>,
}

impl Segments {
    /// Whether one is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Closes it: the next read opens the file that has the name then.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    /// Fills `target` with the WAL from `start` on, all of which has been flushed. C: `WALRead`.
    ///
    /// # Errors
    /// 58P01 if the segment is not there any more, and what the file says.
    pub(crate) fn read(&mut self, branch: &Branch, start: Lsn, target: &mut [u8]) -> Result<()> {
        let geometry = wal::geometry();
        let (mut at, mut rest) = (start, target);
        while !rest.is_empty() {
            let offset = geometry.offset(at);
            let in_segment = (geometry.segment_size() - offset) as usize;
            let (now, later) = rest.split_at_mut(in_segment.min(rest.len()));
            let open = self.open_for(branch, geometry.segment(at))?;
            let count = open
                .file
                .read_at(now, u64::from(offset), WaitEvent::WAL_READ)
                .map_err(|source| read_error(open, offset, &source))?;
            if count < now.len() {
                return Err(error!(
                    SqlState::DATA_CORRUPTED,
                    "could not read from WAL segment {}, offset {offset}: read {count} of {}",
                    name(open.timeline, open.number),
                    now.len()
                ));
            }
            at = at + now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    fn open_for(&mut self, branch: &Branch, number: SegNo) -> Result<&Open> {
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            self.open = None;
            let timeline = branch.file_timeline(number);
            let path = segment::path(timeline, number);
            let file = file::open(&path, OpenFlags::READ).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => removed(timeline, number),
                _ => file::file_error("open", &path, &error),
            })?;
            self.open = Some(Open { number, timeline, file });
        }
        self.open.as_ref().ok_or_else(|| error!(SqlState::INTERNAL_ERROR, "no WAL segment is open"))
    }

    /// After a read that began at `start`: was what was read still WAL? C: `CheckXLogRemoved`.
    ///
    /// # Errors
    /// 58P01 if the segment has been removed meanwhile.
    pub(crate) fn check_removed(&self, branch: &Branch, start: Lsn) -> Result<()> {
        let number = wal::geometry().segment(start);
        if number > wal::recycle::last_removed_segment() {
            return Ok(());
        }
        let open = self.open.as_ref().map(|open| open.timeline);
        Err(removed(open.unwrap_or_else(|| branch.file_timeline(number)), number))
    }
}

fn name(timeline: TimeLineId, number: SegNo) -> String {
    segment::name(timeline, number, wal::geometry())
}

fn removed(timeline: TimeLineId, number: SegNo) -> PgError {
    error!(
        SqlState::UNDEFINED_FILE,
        "requested WAL segment {} has already been removed",
        name(timeline, number)
    )
}

fn read_error(open: &Open, offset: u32, source: &io::Error) -> PgError {
    error!(
        elog::sqlstate_for_file_access(source),
        "could not read from WAL segment {}, offset {offset}: {}",
        name(open.timeline, open.number),
        errno_text(source)
    )
}
