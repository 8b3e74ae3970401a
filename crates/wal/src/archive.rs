//! What the archiver has to do, told by empty files in `pg_wal/archive_status`.
//!
//! A segment that is complete gets a `.ready` file; the archiver renames it to `.done`; only then may the segment be
//! removed or recycled. The same with the history files of timelines and backups.
//!
//! The archiver has no PGPROC and takes no lock. Who makes a `.ready` file wakes it through the postmaster, which knows
//! whether there is one; with the postmaster dead nobody is woken, and the next archiver looks into the directory first.
//! Its one word in shared memory says that its list of files is out of date, because a file came that goes before all.
//!
//! Called by: whoever completes a segment (`write.rs`), removes one (`recycle.rs`), restores one, writes a history file;
//! by the archiver for the names alone.
//!
//! C counterpart: `XLogArchiveNotify` and its kin of xlogarchive.c, `PgArchForceDirScan`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use common::TimeLineId;
pub use common::archive_name::{MAX_NAME, is_archivable_name};
use elog::{Severity, errno_text, pg_error};
use file::OpenFlags;
use shmem::pmsignal::{PmSignalReason, send_postmaster_signal};
use shmem::{Reservation, ShmVar, shm_struct};

use crate::layout::SegNo;
use crate::segment;
use crate::shared::{RecoveryState, geometry, recovery_state};

shm_struct! {
    /// C: `PgArchData`.
    struct Shared {
        /// C: `force_dir_scan`.
        rescan: AtomicBool,
    }
}

static SHARED: ShmVar<Shared> = ShmVar::new("Archiver Data");

/// C: `PgArchShmemInit`.
pub(crate) fn reserve(reservation: &mut Reservation) {
    reservation.var(&SHARED, || Shared { rescan: AtomicBool::new(false) });
}

/// In the archiver: whether its list of files must be made anew; asked once. C: the exchange in `pgarch_readyXlog`.
pub fn take_rescan_request() -> bool {
    let Some(shared) = SHARED.try_get() else { return false };
    // The load first: the archiver asks before each file, and nearly always in vain.
    shared.rescan.load(Ordering::Relaxed) && shared.rescan.swap(false, Ordering::AcqRel)
}

/// A timeline's history file, which everything on that timeline is worthless without. C: `IsTLHistoryFileName`.
pub fn is_history_name(name: &str) -> bool {
    let timeline = name.strip_suffix(".history");
    let digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    timeline.is_some_and(|timeline| timeline.len() == 8 && timeline.bytes().all(digit))
}

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
    if is_history_name(name)
        && let Some(shared) = SHARED.try_get()
    {
        shared.rescan.store(true, Ordering::Release);
    }
    send_postmaster_signal(PmSignalReason::WakenArchiver);
}

/// May the file be removed? If it waits for the archiver without being announced, it is announced.
/// C: `XLogArchiveCheckDone`.
pub fn check_done(name: &str) -> bool {
    // What archive recovery replays came from an archive; what a crash left behind did not.
    if !is_active() || (recovery_state() == RecoveryState::Archive && !is_always_active()) {
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

/// Is the file complete, archived or not? C: `XLogArchiveIsReadyOrDone`.
pub fn is_ready_or_done(name: &str) -> bool {
    // Done again: the archiver may have been between the two.
    [".done", ".ready", ".done"].into_iter().any(|suffix| file::exists(&status_path(name, suffix)))
}

/// Must one who needs the file in the archive still wait for it? A file without any mark has been announced to nobody
/// yet; one that is gone was archived before it was removed. C: `XLogArchiveIsBusy`.
pub fn is_busy(name: &str) -> bool {
    if file::exists(&status_path(name, ".done")) {
        return false;
    }
    if file::exists(&status_path(name, ".ready")) {
        return true;
    }
    // The archiver may have been between the two.
    if file::exists(&status_path(name, ".done")) {
        return false;
    }
    file::exists(&segment::wal_dir().join(name))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory for WAL of its own.
    fn world() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("archive_status")).unwrap();
        segment::set_wal_dir(Some(dir.path()));
        dir
    }

    #[test]
    fn a_file_is_busy_until_it_is_done_or_gone() {
        let dir = world();
        let name = "000000010000000000000003";
        assert!(!is_busy(name) && !is_ready_or_done(name), "no such file: it is long gone");
        std::fs::write(dir.path().join(name), "").unwrap();
        assert!(is_busy(name) && !is_ready(name), "not announced yet");
        notify(name);
        assert!(is_busy(name) && is_ready(name) && is_ready_or_done(name));
        force_done(name);
        assert!(!is_busy(name) && !is_ready(name) && is_ready_or_done(name));
        cleanup(name);
        assert!(is_busy(name) && !is_ready_or_done(name));
        force_done(name);
        assert!(!is_busy(name) && is_ready_or_done(name), "without having been announced");
        segment::set_wal_dir(None);
    }

    #[test]
    fn only_the_history_of_a_timeline_makes_the_list_old() {
        let dir = world();
        let mut reservation = Reservation::new();
        reserve(&mut reservation);
        let segment = shmem::Segment::create_private(reservation).unwrap();
        notify("000000010000000000000003");
        notify("000000010000000000000003.00000028.backup");
        assert!(!take_rescan_request());
        notify("00000002.history");
        assert!(take_rescan_request() && !take_rescan_request());
        segment.destroy();
        segment::set_wal_dir(None);
        drop(dir);
    }

    #[test]
    fn names_of_history_files() {
        assert!(is_history_name("0000000A.history"));
        for other in [
            "0000000a.history",
            "000000010.history",
            "00000001.backup",
            ".history",
            "000000010000000000000003",
        ] {
            assert!(!is_history_name(other), "{other}");
        }
    }
}
