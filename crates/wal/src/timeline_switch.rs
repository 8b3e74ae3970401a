//! The end of a timeline and the beginning of the next, as files in `pg_wal`.
//!
//! Recovery mostly ends in the middle of a segment. What the new timeline writes goes on there, in a file of its own whose
//! beginning is a copy of the old one's; the old one stays as it is. It may be that the old timeline lives on elsewhere and
//! archives the same segment, complete, under the same name: so the piece that is here goes to the archive as
//! `NAME.partial`, which nobody restores by mistake.
//!
//! Order (C: `StartupXLOG`), so that a crash at any moment loses nothing:
//!
//! 1. the history file ([`write_history`](crate::timeline::write_history)): from here on the new number is taken;
//! 2. [`init_new_timeline`]: the new segment's file;
//! 3. records on the new timeline, a checkpoint or `end_of_recovery`: pg_control leads there now;
//! 4. the signal files go;
//! 5. [`clean_up_after_archive_recovery`].
//!
//! C counterpart: `XLogInitNewTimeline`, `XLogFileCopy`, `CleanupAfterArchiveRecovery`, `RemoveNonParentXlogFiles` of xlog.c.

use std::io;
use std::path::Path;

use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, Severity, errno_text, error};
use file::{File, OpenFlags};
use shmem::wait_event::WaitEvent;

use crate::layout::{SegNo, XLOG_BLCKSZ};
use crate::shared::geometry;
use crate::{archive, recycle, restore, segment, startup};

/// Segments that are kept for later use when the old timeline's future is removed. C: the 10 in `RemoveNonParentXlogFiles`.
const RECYCLED_AHEAD: SegNo = 10;

/// Makes the first segment of a new timeline, which begins at `end`, where the old one was left: with a copy of the old one's
/// beginning if that is in the middle of a segment. Segments may be made from now on. C: `XLogInitNewTimeline`.
///
/// # Errors
/// If the old segment cannot be read or the new one not be made.
pub fn init_new_timeline(old: TimeLineId, end: Lsn, new: TimeLineId) -> Result<()> {
    startup::set_install_allowed(true);
    let (last, first) = (geometry().previous_segment(end), geometry().segment(end));
    if last == first {
        copy_segment(old, last, geometry().offset(end), new)?;
    } else {
        drop(segment::init(first, new)?);
    }
    // A number that was used before may have left marks.
    archive::cleanup(&segment::name(new, first, geometry()));
    Ok(())
}

/// The first `upto` bytes of a segment become those of the same segment of another timeline; the rest of it is zeros.
/// C: `XLogFileCopy`.
fn copy_segment(from: TimeLineId, number: SegNo, upto: u32, to: TimeLineId) -> Result<()> {
    let source = segment::path(from, number);
    let opened =
        file::open(&source, OpenFlags::READ).map_err(|error| file::file_error("open", &source, &error))?;
    let temporary = segment::wal_dir().join(format!("xlogtemp.{}", std::process::id()));
    let _ = file::unlink(&temporary);
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let target =
        file::open(&temporary, flags).map_err(|error| file::file_error("create", &temporary, &error))?;
    let copied = copy_pages(&opened, &source, upto as usize, &target, &temporary);
    if let Err(error) = copied {
        // Give back what was taken of a full disk.
        let _ = file::unlink(&temporary);
        return Err(error);
    }
    target.sync(WaitEvent::WAL_COPY_SYNC).map_err(|error| {
        let severity = file::data_sync_severity(Severity::Error);
        file::file_error("fsync", &temporary, &error).with_severity(severity)
    })?;
    drop(target);
    if segment::install(number, &temporary, false, 0, to).is_none() {
        return Err(error!(SqlState::INTERNAL_ERROR, "InstallXLogFileSegment should not have failed"));
    }
    Ok(())
}

fn copy_pages(
    source: &File,
    source_path: &Path,
    upto: usize,
    target: &File,
    target_path: &Path,
) -> Result<()> {
    let mut page = [0; XLOG_BLCKSZ];
    for at in (0..geometry().segment_size() as usize).step_by(XLOG_BLCKSZ) {
        let wanted = upto.saturating_sub(at).min(XLOG_BLCKSZ);
        page[wanted..].fill(0);
        if wanted > 0 {
            let got = source
                .read_at(&mut page[..wanted], at as u64, WaitEvent::WAL_COPY_READ)
                .map_err(|error| file::file_error("read", source_path, &error))?;
            if got < wanted {
                return Err(error!(
                    SqlState::DATA_CORRUPTED,
                    "could not read file \"{}\": read {got} of {wanted}",
                    source_path.display()
                ));
            }
        }
        target
            .write_at(&page, at as u64, WaitEvent::WAL_COPY_WRITE)
            .map_err(|error| write_error(target_path, &error))?;
    }
    Ok(())
}

fn write_error(path: &Path, error: &io::Error) -> elog::PgError {
    let code = elog::sqlstate_for_file_access(error);
    error!(code, "could not write to file \"{}\": {}", path.display(), errno_text(error))
}

/// Step 5: runs `recovery_end_command`, removes what the old timeline had prepared for its future, and hands the old
/// timeline's last piece to the archiver. C: `CleanupAfterArchiveRecovery`.
///
/// # Errors
/// FATAL if the command was ended by a signal; if the old segment cannot be renamed.
pub fn clean_up_after_archive_recovery(old: TimeLineId, end: Lsn, new: TimeLineId) -> Result<()> {
    let command = guc::vars::RECOVERY_END_COMMAND.get();
    if !command.is_empty() {
        restore::execute_recovery_command(&command, "recovery_end_command", true)?;
    }
    remove_non_parent_segments(end, new)?;
    if geometry().offset(end) != 0 && archive::is_active() {
        archive_partial_segment(old, end)?;
    }
    Ok(())
}

/// Renames the old timeline's last segment to `.partial` and announces that, unless the archive has, or will get, the whole.
fn archive_partial_segment(old: TimeLineId, end: Lsn) -> Result<()> {
    let name = segment::name(old, geometry().previous_segment(end), geometry());
    if archive::is_ready_or_done(&name) {
        return Ok(());
    }
    let partial = format!("{name}.partial");
    // An earlier recovery may have ended here as well.
    archive::cleanup(&partial);
    file::durable_rename(&segment::wal_dir().join(&name), &segment::wal_dir().join(&partial))?;
    archive::notify(&partial);
    Ok(())
}

/// Removes, or keeps for later use, segments of older timelines behind the one in which they were left at `switch`: they
/// were made in advance, or belong to a future that did not come. One that waits for the archiver stays.
/// C: `RemoveNonParentXlogFiles`.
///
/// # Errors
/// If the directory cannot be read.
pub fn remove_non_parent_segments(switch: Lsn, new: TimeLineId) -> Result<()> {
    let kept = segment::name(new, geometry().previous_segment(switch), geometry());
    elog::ereport!(Debug2, "attempting to remove WAL segments newer than log file {kept}");
    let mut next_free = geometry().segment(switch);
    let keep_ready = next_free + RECYCLED_AHEAD;
    for entry in recycle::wal_entries()? {
        let name = &entry.name;
        let is_older_timeline = segment::is_segment_name(name) && name[..8] < kept[..8];
        if is_older_timeline && name[8..] > kept[8..] && !archive::is_ready(name) {
            let mut counts = recycle::SegmentCounts::default();
            recycle::remove_file(&entry, keep_ready, &mut next_free, new, &mut counts);
        }
    }
    Ok(())
}
