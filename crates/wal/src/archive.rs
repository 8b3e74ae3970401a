//! What the archiver has to do, told by empty files in `pg_wal/archive_status`.
//!
//! A segment that is complete gets a `.ready` file; the archiver renames it to `.done`; only then may the segment be
//! removed or recycled.
//!
//! C counterpart: `XLogArchiveNotify` and its kin of xlogarchive.c.

use std::path::PathBuf;

use common::{BackendType, TimeLineId};
use elog::{Severity, errno_text, pg_error};
use file::OpenFlags;

use crate::layout::SegNo;
use crate::segment;
use crate::shared::{geometry, in_recovery};

/// C: `XLogArchivingActive`.
pub fn is_active() -> bool {
    guc::vars::ARCHIVE_MODE.get() != "off"
}

/// C: `XLogArchivingAlways`.
pub fn is_always_active() -> bool {
    guc::vars::ARCHIVE_MODE.get() == "always"
}

/// Path of a status file. C: `StatusFilePath`.
pub fn status_path(name: &str, suffix: &str) -> PathBuf {
    segment::wal_dir().join("archive_status").join(format!("{name}{suffix}"))
}

/// A segment is complete: tells the archiver. C: `XLogArchiveNotifySeg`.
pub fn notify_segment(number: SegNo, timeline: TimeLineId) {
    notify(&segment::name(timeline, number, geometry()));
}

/// A file may be archived: makes its `.ready` file and wakes the archiver. Failing is logged: the file will be offered
/// again when it is to be removed. C: `XLogArchiveNotify`.
pub fn notify(name: &str) {
    let ready = status_path(name, ".ready");
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    if let Err(error) = file::open(&ready, flags) {
        pg_error!(
            Log,
            elog::sqlstate_for_file_access(&error),
            "could not create archive status file \"{}\": {}",
            ready.display(),
            errno_text(&error)
        )
        .report();
        return;
    }
    if let Some(archiver) = shmem::proc::auxiliary(BackendType::Archiver) {
        archiver.latch.set();
    }
}

/// May the file be removed? If it waits for the archiver without being announced, it is announced.
/// C: `XLogArchiveCheckDone`.
pub fn check_done(name: &str) -> bool {
    if !is_active() || (in_recovery() && !is_always_active()) {
        return true;
    }
    if file::exists(&status_path(name, ".done")) {
        return true;
    }
    if file::exists(&status_path(name, ".ready")) {
        return false;
    }
    // The archiver may have been between the two.
    if file::exists(&status_path(name, ".done")) {
        return true;
    }
    notify(name);
    false
}

/// Waits the file for the archiver? C: `XLogArchiveIsReady`.
pub fn is_ready(name: &str) -> bool {
    file::exists(&status_path(name, ".ready"))
}

/// Removes the status files of a segment that is gone. C: `XLogArchiveCleanup`.
pub fn cleanup(name: &str) {
    for suffix in [".done", ".ready"] {
        let _ = file::unlink(&status_path(name, suffix));
    }
}

/// Marks a file as archived without doing so. C: `XLogArchiveForceDone`.
pub fn force_done(name: &str) {
    let (ready, done) = (status_path(name, ".ready"), status_path(name, ".done"));
    if file::exists(&done) {
        return;
    }
    if file::exists(&ready) {
        if let Err(error) = file::durable_rename(&ready, &done) {
            error.with_severity(Severity::Warning).report();
        }
        return;
    }
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    if let Err(error) = file::open(&done, flags) {
        pg_error!(
            Log,
            elog::sqlstate_for_file_access(&error),
            "could not create archive status file \"{}\": {}",
            done.display(),
            errno_text(&error)
        )
        .report();
    }
}
