//! Segment files: their names, and how they come to be.
//!
//! A new segment is filled with zeros under a temporary name, synced and renamed into place, so that a file with a
//! segment's name always has its full size: writing WAL never runs out of disk in the middle of a segment.
//!
//! C counterpart: `XLogFileInit`, `XLogFileOpen`, `InstallXLogFileSegment` of xlog.c; the names in xlog_internal.h.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use activity::counters;
use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, errno_text, error, pg_error};
use file::{File, OpenFlags};
use shmem::wait_event::WaitEvent;

use crate::layout::{Geometry, SegNo, XLOG_BLCKSZ};
use crate::shared::{geometry, in_recovery, timeline, try_shared};
use crate::{control_file, recycle};

/// Where segments are, below the data directory. C: `XLOGDIR`.
pub const WAL_DIR: &str = "pg_wal";
/// Length of a segment's name. C: `XLOG_FNAME_LEN`.
pub const NAME_LEN: usize = 24;

thread_local! {
    static DIR: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// Puts segments elsewhere: for tests, and for programs that do not run in the data directory.
pub fn set_wal_dir(dir: Option<&Path>) {
    DIR.set(dir.map(Path::to_path_buf));
}

/// The directory of the segments.
pub fn wal_dir() -> PathBuf {
    DIR.with_borrow(|dir| dir.clone().unwrap_or_else(|| PathBuf::from(WAL_DIR)))
}

/// A segment's name: timeline, number of the 4 GB unit, number within it. C: `XLogFileName`.
pub fn name(timeline: TimeLineId, segment: SegNo, geometry: Geometry) -> String {
    let per_id = geometry.segments_per_id();
    format!("{:08X}{:08X}{:08X}", timeline.0, (segment / per_id) as u32, (segment % per_id) as u32)
}

/// A segment's path. C: `XLogFilePath`.
pub fn path(timeline: TimeLineId, segment: SegNo) -> PathBuf {
    wal_dir().join(name(timeline, segment, geometry()))
}

/// Is this the name of a segment? C: `IsXLogFileName`.
pub fn is_segment_name(name: &str) -> bool {
    name.len() == NAME_LEN && name.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
}

/// Is this the name of a segment that was not filled, at the end of a timeline? C: `IsPartialXLogFileName`.
pub fn is_partial_name(name: &str) -> bool {
    name.strip_suffix(".partial").is_some_and(is_segment_name)
}

/// Timeline and number of a segment's name. C: `XLogFromFileName`.
pub fn parse_name(name: &str, geometry: Geometry) -> Option<(TimeLineId, SegNo)> {
    if !is_segment_name(name) {
        return None;
    }
    let part = |from: usize| u32::from_str_radix(&name[from..from + 8], 16).ok();
    let (timeline, id, within) = (part(0)?, part(8)?, part(16)?);
    Some((TimeLineId(timeline), u64::from(id) * geometry.segments_per_id() + u64::from(within)))
}

/// Name of the segment that holds a position; of the one before if the position is a segment's start, as for the end
/// of what has been archived. C: `pg_walfile_name`.
///
/// # Errors
/// 55000 during recovery, when there is no timeline to write to.
pub fn walfile_name(lsn: Lsn) -> Result<String> {
    not_in_recovery("pg_walfile_name()")?;
    Ok(name(timeline(), geometry().previous_segment(lsn), geometry()))
}

/// Name and offset within it. C: `pg_walfile_name_offset`.
///
/// # Errors
/// As [`walfile_name`].
pub fn walfile_name_offset(lsn: Lsn) -> Result<(String, u32)> {
    not_in_recovery("pg_walfile_name_offset()")?;
    Ok((name(timeline(), geometry().previous_segment(lsn), geometry()), geometry().offset(lsn)))
}

fn not_in_recovery(function: &str) -> Result<()> {
    if !in_recovery() {
        return Ok(());
    }
    Err(error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "recovery is in progress")
        .hint(format!("{function} cannot be executed during recovery.")))
}

/// How WAL is made durable. C: `sync_method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncMethod {
    Fsync,
    Fdatasync,
    OpenSync,
    OpenDatasync,
}

impl SyncMethod {
    /// `wal_sync_method`.
    pub(crate) fn configured() -> SyncMethod {
        match guc::vars::WAL_SYNC_METHOD.get() {
            "fsync" => SyncMethod::Fsync,
            "open_sync" => SyncMethod::OpenSync,
            "open_datasync" => SyncMethod::OpenDatasync,
            _ => SyncMethod::Fdatasync,
        }
    }

    /// How to open a segment for it. C: `get_sync_bit`.
    pub(crate) fn flags(self) -> OpenFlags {
        let open = OpenFlags::READ | OpenFlags::WRITE;
        match self {
            _ if !guc::vars::FSYNC.get() => open,
            SyncMethod::OpenSync => open | OpenFlags::SYNC,
            SyncMethod::OpenDatasync => open | OpenFlags::DATA_SYNC,
            SyncMethod::Fsync | SyncMethod::Fdatasync => open,
        }
    }

    /// Every write is a sync.
    pub(crate) fn syncs_by_itself(self) -> bool {
        matches!(self, SyncMethod::OpenSync | SyncMethod::OpenDatasync)
    }
}

fn file_error(verb: &str, path: &Path, source: &io::Error) -> elog::PgError {
    file::file_error(verb, path, source)
}

/// Opens a segment for writing, and makes it if it is not there. C: `XLogFileInit`.
///
/// # Errors
/// PostgreSQL's text for the file; the disk may be full.
pub fn init(segment: SegNo, timeline: TimeLineId) -> Result<File> {
    let target = path(timeline, segment);
    let (file, _) = init_internal(segment, timeline)?;
    match file {
        Some(file) => Ok(file),
        None => open_at(&target),
    }
}

/// Makes a segment if it is not there; true if a file was added. C: `XLogFileInitInternal`.
///
/// # Errors
/// As [`init`].
pub(crate) fn make(segment: SegNo, timeline: TimeLineId) -> Result<bool> {
    Ok(init_internal(segment, timeline)?.1)
}

fn open_at(target: &Path) -> Result<File> {
    let opened = file::open(target, SyncMethod::configured().flags());
    opened.map_err(|error| file_error("open", target, &error))
}

fn init_internal(segment: SegNo, timeline: TimeLineId) -> Result<(Option<File>, bool)> {
    let target = path(timeline, segment);
    match file::open(&target, SyncMethod::configured().flags()) {
        Ok(file) => return Ok((Some(file), false)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(file_error("open", &target, &error)),
    }
    let temporary = wal_dir().join(format!("xlogtemp.{}", std::process::id()));
    let _ = file::unlink(&temporary);
    if let Err(error) = fill(&temporary) {
        // Somebody else may have taken the last of the disk; give back what we took.
        let _ = file::unlink(&temporary);
        return Err(error);
    }
    let last = segment + recycle::checkpoint_segments();
    if install(segment, &temporary, true, last, timeline).is_some() {
        return Ok((None, true));
    }
    // No need for it: others have made enough meanwhile.
    let _ = file::unlink(&temporary);
    Ok((None, false))
}

/// A file of zeros with a segment's size, durable.
fn fill(temporary: &Path) -> Result<()> {
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    let file = file::open(temporary, flags).map_err(|error| file_error("create", temporary, &error))?;
    let size = u64::from(geometry().segment_size());
    let written = if guc::vars::WAL_INIT_ZERO.get() {
        let zeros = vec![0; 1 << 20];
        (0..size)
            .step_by(zeros.len())
            .try_for_each(|at| file.write_at(&zeros, at, WaitEvent::WAL_INIT_WRITE).map(drop))
    } else {
        file.write_at(&[0], size - 1, WaitEvent::WAL_INIT_WRITE).map(drop)
    };
    written.map_err(|error| {
        error!(
            elog::sqlstate_for_file_access(&error),
            "could not write to file \"{}\": {}",
            temporary.display(),
            errno_text(&error)
        )
    })?;
    file.sync(WaitEvent::WAL_INIT_SYNC).map_err(|error| file_error("fsync", temporary, &error))
}

/// Renames a file to the segment `first`, or with `find_free` to the first one from there to `last` that does not exist
/// yet. The number it got, or `None`: no place, not allowed now, or failed (logged). C: `InstallXLogFileSegment`.
pub(crate) fn install(
    first: SegNo,
    temporary: &Path,
    find_free: bool,
    last: SegNo,
    timeline: TimeLineId,
) -> Option<SegNo> {
    let _updates = control_file::CONTROL_FILE_LOCK.try_get().map(|lock| lock.exclusive());
    if try_shared().is_some_and(|shared| !shared.install_allowed.load(Ordering::Acquire)) {
        return None;
    }
    let mut segment = first;
    if find_free {
        while file::exists(&path(timeline, segment)) {
            if segment >= last {
                return None;
            }
            segment += 1;
        }
    } else {
        let _ = file::durable_unlink(&path(timeline, segment));
    }
    match file::durable_rename(temporary, &path(timeline, segment)) {
        Ok(()) => Some(segment),
        Err(error) => {
            error.with_severity(elog::Severity::Log).report();
            None
        }
    }
}

/// Opens a segment that must exist. C: `XLogFileOpen`.
///
/// # Errors
/// PANIC with PostgreSQL's text.
pub(crate) fn open_existing(segment: SegNo, timeline: TimeLineId) -> Result<File> {
    let target = path(timeline, segment);
    file::open(&target, SyncMethod::configured().flags()).map_err(|error| {
        pg_error!(
            Panic,
            elog::sqlstate_for_file_access(&error),
            "could not open file \"{}\": {}",
            target.display(),
            errno_text(&error)
        )
    })
}

/// Makes durable what the walreceiver has written to a segment, as `wal_sync_method` says. C: `issue_xlog_fsync`.
///
/// A failure is a PANIC: nobody knows what of it is on disk.
pub fn sync_received(file: &File, segment: SegNo, timeline: TimeLineId) {
    let method = SyncMethod::configured();
    if !guc::vars::FSYNC.get() || method.syncs_by_itself() {
        return;
    }
    let started = guc::vars::TRACK_WAL_IO_TIMING.get().then(std::time::Instant::now);
    let (verb, synced) = match method {
        SyncMethod::Fsync => ("fsync", file.sync(WaitEvent::WAL_SYNC)),
        _ => ("fdatasync", file.data_sync(WaitEvent::WAL_SYNC)),
    };
    counters::wal(|wal| {
        counters::add(&wal.sync, 1);
        counters::add(&wal.sync_micros, started.map_or(0, |started| started.elapsed().as_micros() as i64));
    });
    if let Err(error) = synced {
        let name = name(timeline, segment, geometry());
        elog::abort(pg_error!(
            Panic,
            elog::sqlstate_for_file_access(&error),
            "could not {verb} file \"{name}\": {}",
            errno_text(&error)
        ));
    }
}

const _: () = assert!((1 << 20) % XLOG_BLCKSZ == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let g = Geometry::new(16 << 20);
        assert_eq!(name(TimeLineId(1), 1, g), "000000010000000000000001");
        assert_eq!(name(TimeLineId(2), 0x1FF, g), "0000000200000001000000FF");
        assert_eq!(parse_name("0000000200000001000000FF", g), Some((TimeLineId(2), 0x1FF)));
        assert_eq!(parse_name("0000000200000001000000ff", g), None);
        assert!(is_partial_name("000000010000000000000001.partial") && !is_segment_name("00000001.history"));
        let small = Geometry::new(1 << 20);
        assert_eq!(name(TimeLineId(1), 0x1001, small), "000000010000000100000001");
    }
}
