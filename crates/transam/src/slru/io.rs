//! The files of an SLRU: all of its input and output, and PostgreSQL's words for what goes wrong.
//!
//! C counterpart: `SlruPhysicalReadPage`, `SlruPhysicalWritePage`, `SlruReportIOError` of slru.c.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use common::{BLCKSZ, SqlState};
use elog::{PgError, Result, ereport, errno_text, error, pg_error, sqlstate_for_file_access};
use file::OpenFlags;
use shmem::WaitEvent;

use super::{PAGES_PER_SEGMENT, SlruPage, in_redo};

/// What failed. C: `SlruErrorCause`, `slru_errno`.
pub(crate) enum IoFailure {
    Open(io::Error),
    Seek(io::Error),
    Read(io::Error),
    ShortRead,
    Write(io::Error),
}

impl IoFailure {
    /// C: `SlruReportIOError`.
    pub(crate) fn report(self, dir: &str, page: u32, xid: u32) -> PgError {
        let path = name(dir, page / PAGES_PER_SEGMENT);
        let offset = offset_of(page);
        let (state, detail) = match &self {
            IoFailure::Open(e) => (Some(e), format!("Could not open file \"{path}\": {}.", errno_text(e))),
            IoFailure::Seek(e) => {
                (Some(e), format!("Could not seek in file \"{path}\" to offset {offset}: {}.", errno_text(e)))
            }
            IoFailure::Read(e) => (
                Some(e),
                format!("Could not read from file \"{path}\" at offset {offset}: {}.", errno_text(e)),
            ),
            IoFailure::ShortRead => {
                (None, format!("Could not read from file \"{path}\" at offset {offset}: read too few bytes."))
            }
            IoFailure::Write(e) => (
                Some(e),
                format!("Could not write to file \"{path}\" at offset {offset}: {}.", errno_text(e)),
            ),
        };
        let code = state.map_or(SqlState::INTERNAL_ERROR, sqlstate_for_file_access);
        error!(code, "could not access status of transaction {xid}").detail(detail)
    }
}

/// `pg_xact/0000`. C: `SlruFileName`.
fn name(dir: &str, segment: u32) -> String {
    format!("{dir}/{segment:04X}")
}

fn path(dir: &str, segment: u32) -> PathBuf {
    PathBuf::from(name(dir, segment))
}

fn offset_of(page: u32) -> u64 {
    u64::from(page % PAGES_PER_SEGMENT) * BLCKSZ as u64
}

fn is_missing(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound
}

/// Fills `into` from the file. During redo a missing file is zeros. C: `SlruPhysicalReadPage`.
pub(super) fn read(dir: &str, page: u32, into: &SlruPage) -> Result<(), IoFailure> {
    let path = path(dir, page / PAGES_PER_SEGMENT);
    let mut bytes = [0u8; BLCKSZ];
    let read_zeros = |into: &SlruPage| {
        ereport!(Log, "file \"{}\" doesn't exist, reading as zeroes", path.display());
        into.zero_from(0);
    };
    let opened = match file::open(&path, OpenFlags::READ) {
        Ok(opened) => opened,
        Err(e) if is_missing(&e) && in_redo() => {
            read_zeros(into);
            return Ok(());
        }
        Err(e) => return Err(IoFailure::Open(e)),
    };
    match opened.read_at(&mut bytes, offset_of(page), WaitEvent::SLRU_READ) {
        Ok(BLCKSZ) => {}
        // The file is there but the page is not: a crash came before the file was extended.
        Ok(_) if in_redo() => {
            read_zeros(into);
            return Ok(());
        }
        Ok(_) => return Err(IoFailure::ShortRead),
        Err(e) => return Err(IoFailure::Read(e)),
    }
    for (word, b) in into.words.iter().zip(bytes.chunks_exact(4)) {
        word.store(u32::from_le_bytes([b[0], b[1], b[2], b[3]]), Relaxed);
    }
    Ok(())
}

/// Writes the page to its file, made if it is missing. C: `SlruPhysicalWritePage`.
pub(super) fn write(dir: &str, page: u32, from: &SlruPage) -> Result<(), IoFailure> {
    let mut bytes = [0u8; BLCKSZ];
    for (word, b) in from.words.iter().zip(bytes.chunks_exact_mut(4)) {
        b.copy_from_slice(&word.load(Relaxed).to_le_bytes());
    }
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let opened = file::open(&path(dir, page / PAGES_PER_SEGMENT), flags).map_err(IoFailure::Open)?;
    opened.write_at(&bytes, offset_of(page), WaitEvent::SLRU_WRITE).map_err(IoFailure::Write)?;
    Ok(())
}

/// Makes a file's content durable. A file that was removed meanwhile needs no sync. C: `SlruSyncFileTag`.
///
/// # Errors
/// "could not fsync file", PANIC unless `data_sync_retry`.
pub(super) fn sync(dir: &str, segment: u32) -> Result<()> {
    let path = path(dir, segment);
    let outcome = file::open(&path, OpenFlags::READ | OpenFlags::WRITE)
        .and_then(|opened| opened.sync(WaitEvent::SLRU_FLUSH_SYNC));
    match outcome {
        Err(e) if !is_missing(&e) => Err(sync_failure(&path, &e)),
        _ => Ok(()),
    }
}

/// The directory itself, for files that are new. C: `fsync_fname(dir, true)` in `SimpleLruWriteAll`.
pub(super) fn sync_dir(dir: &str) -> Result<()> {
    file::fsync_path(Path::new(dir), true)
}

fn sync_failure(path: &Path, e: &io::Error) -> PgError {
    let failure = pg_error!(
        Error,
        sqlstate_for_file_access(e),
        "could not fsync file \"{}\": {}",
        path.display(),
        errno_text(e)
    );
    if guc::vars::DATA_SYNC_RETRY.get() { failure } else { elog::abort(failure) }
}

/// Whether the file reaches to the end of the page. C: `SimpleLruDoesPhysicalPageExist`.
pub(super) fn exists(dir: &str, page: u32) -> Result<bool, IoFailure> {
    match file::open(&path(dir, page / PAGES_PER_SEGMENT), OpenFlags::READ) {
        Ok(opened) => {
            let size = opened.size().map_err(IoFailure::Seek)?;
            Ok(size >= offset_of(page) + BLCKSZ as u64)
        }
        Err(e) if is_missing(&e) => Ok(false),
        Err(e) => Err(IoFailure::Open(e)),
    }
}

/// Removes a file; one that cannot be removed is removed another time. C: `SlruInternalDeleteSegment`.
pub(super) fn remove(dir: &str, segment: u32) {
    // Whatever it still says is never read again, so that the outcome need not be durable either.
    let _ = std::fs::remove_file(path(dir, segment));
}

/// Numbers of the files there are. C: `SlruScanDirectory`.
pub(super) fn segments(dir: &str) -> Result<Vec<u32>> {
    let failed = |e: io::Error| {
        error!(sqlstate_for_file_access(&e), "could not open directory \"{dir}\": {}", errno_text(&e))
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if let Some(segment) = name.to_str().and_then(parse_name) {
            found.push(segment);
        }
    }
    Ok(found)
}

/// Four to six upper-case hexadecimal digits; anything else is not ours.
fn parse_name(name: &str) -> Option<u32> {
    let digits = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    ((4..=6).contains(&name.len()) && name.bytes().all(digits)).then(|| u32::from_str_radix(name, 16).ok())?
}
