//! Where the state is kept: in `pg_twophase`, one file per transaction, and in WAL.
//!
//! A file is written under another name first: a start that meets half of one, which a crash in the middle of a checkpoint
//! leaves behind, refuses to go on in PostgreSQL 15.
//!
//! C counterpart: `ReadTwoPhaseFile`, `RecreateTwoPhaseFile`, `RemoveTwoPhaseFile`, `XlogReadTwoPhaseData`.

use std::io;
use std::path::{Path, PathBuf};

use common::{Lsn, SqlState, TimeLineId, Xid};
use elog::{PgError, Result, error};
use file::OpenFlags;
use shmem::WaitEvent;
use wal::{Reader, RmgrId};

use super::state::{CHECKSUM, HEADER, MAGIC, RECORD_HEADER};
use crate::xact::record;

/// C: `TWOPHASE_DIR`.
pub(super) const DIR: &str = "pg_twophase";
/// No allocation of C may be larger. C: `MaxAllocSize`.
pub(super) const MAX_SIZE: usize = 0x3FFF_FFFF;
/// Behind the name of a file that is being written.
const UNFINISHED: &str = "tmp";

/// C: `TwoPhaseFilePath`.
pub(super) fn path_of(xid: Xid) -> PathBuf {
    Path::new(DIR).join(format!("{:08X}", xid.0))
}

/// The ids that there are files of. What a crash left unfinished goes: its record is in WAL still.
pub(super) fn list() -> Result<Vec<Xid>> {
    let entries = match std::fs::read_dir(DIR) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => {
            let why = elog::errno_text(&e);
            return Err(error!(
                elog::sqlstate_for_file_access(&e),
                "could not open directory \"{DIR}\": {why}"
            ));
        }
    };
    let is_name = |name: &str| name.len() == 8 && name.bytes().all(|b| b"0123456789ABCDEF".contains(&b));
    let mut xids = Vec::new();
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let (stem, extension) =
            name.split_once('.').map_or((&*name, None), |(stem, rest)| (stem, Some(rest)));
        match u32::from_str_radix(stem, 16).map(Xid) {
            Ok(xid) if is_name(stem) && extension == Some(UNFINISHED) => remove_path(&unfinished(xid), false),
            Ok(xid) if is_name(stem) && extension.is_none() => xids.push(xid),
            _ => {}
        }
    }
    xids.sort_unstable_by_key(|xid| xid.0);
    Ok(xids)
}

fn corrupted(message: String) -> PgError {
    error!(SqlState::DATA_CORRUPTED, "{message}")
}

/// Reads a file and checks it; returns the state without the checksum. C: `ReadTwoPhaseFile`.
///
/// # Errors
/// Of the file; XX001 for what is not a state.
pub(super) fn read(xid: Xid) -> Result<Vec<u8>> {
    let path = path_of(xid);
    let shown = path.display();
    let opened = file::open(&path, OpenFlags::READ).map_err(|e| file::file_error("open", &path, &e))?;
    let size = opened.size().map_err(|e| file::file_error("stat", &path, &e))? as usize;
    if !(HEADER + RECORD_HEADER + CHECKSUM..=MAX_SIZE).contains(&size) {
        let unit = if size == 1 { "byte" } else { "bytes" };
        return Err(corrupted(format!("incorrect size of file \"{shown}\": {size} {unit}")));
    }
    let content_size = size - CHECKSUM;
    if !content_size.is_multiple_of(8) {
        return Err(corrupted(format!("incorrect alignment of CRC offset for file \"{shown}\"")));
    }
    let mut bytes = vec![0; size];
    let got = opened
        .read_at(&mut bytes, 0, WaitEvent::TWOPHASE_FILE_READ)
        .map_err(|e| file::file_error("read", &path, &e))?;
    if got != size {
        return Err(corrupted(format!("could not read file \"{shown}\": read {got} of {size}")));
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if word(0) != MAGIC {
        return Err(corrupted(format!("invalid magic number stored in file \"{shown}\"")));
    }
    if word(4) as usize != size {
        return Err(corrupted(format!("invalid size stored in file \"{shown}\"")));
    }
    if crc32c::crc32c(&bytes[..content_size]) != word(content_size) {
        return Err(corrupted(format!(
            "calculated CRC checksum does not match value stored in file \"{shown}\""
        )));
    }
    bytes.truncate(content_size);
    Ok(bytes)
}

fn unfinished(xid: Xid) -> PathBuf {
    path_of(xid).with_extension(UNFINISHED)
}

/// Writes a file and syncs it. C: `RecreateTwoPhaseFile`.
///
/// # Errors
/// Of the file.
pub(super) fn write(xid: Xid, state: &[u8]) -> Result<()> {
    let path = unfinished(xid);
    let mut bytes = state.to_vec();
    bytes.extend(crc32c::crc32c(state).to_le_bytes());
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let file = file::open(&path, flags).map_err(|e| file::file_error("recreate", &path, &e))?;
    file.write_at(&bytes, 0, WaitEvent::TWOPHASE_FILE_WRITE)
        .map_err(|e| file::file_error("write", &path, &e))?;
    if guc::vars::FSYNC.get() {
        file.sync(WaitEvent::TWOPHASE_FILE_SYNC).map_err(|e| file::file_error("fsync", &path, &e))?;
    }
    file::durable_rename(&path, &path_of(xid))
}

/// Removes a file; one that is not there is worth a warning only if `expected`. C: `RemoveTwoPhaseFile`.
pub(super) fn remove(xid: Xid, expected: bool) {
    remove_path(&path_of(xid), expected);
}

fn remove_path(path: &Path, expected: bool) {
    if let Err(e) = file::unlink(path)
        && (expected || e.kind() != io::ErrorKind::NotFound)
    {
        file::file_error("remove", path, &e).with_severity(elog::Severity::Warning).report();
    }
}

/// The data of the PREPARE record that begins there. C: `XlogReadTwoPhaseData`.
///
/// # Errors
/// 58P01 if the record is not there.
pub(super) fn read_from_wal(start: Lsn) -> Result<Vec<u8>> {
    let mut reader = Reader::new(wal::segment::wal_dir(), wal::geometry().segment_size(), timeline_of(start));
    reader.begin_read(start);
    let record = match reader.next() {
        Ok(Some(record)) => record,
        Ok(None) => return Err(unreadable(start, None)),
        Err(e) => return Err(unreadable(start, Some(e.message))),
    };
    let operation = record.info & record::OPERATION_MASK;
    if record.rmgr != RmgrId::Xact as u8 || operation != record::XLOG_PREPARE {
        return Err(error!(
            SqlState::UNDEFINED_FILE,
            "expected two-phase state data is not present in WAL at {start}"
        ));
    }
    Ok(record.main_data.to_vec())
}

fn unreadable(start: Lsn, why: Option<String>) -> PgError {
    let why = why.map_or(String::new(), |why| format!(": {why}"));
    error!(SqlState::UNDEFINED_FILE, "could not read two-phase state from WAL at {start}{why}")
}

/// The newest timeline that has the segment: after a promotion, records from before lie in segments of an older one.
/// C: `XLogReadDetermineTimeline`.
fn timeline_of(lsn: Lsn) -> TimeLineId {
    let geometry = wal::geometry();
    let segment = geometry.segment(lsn);
    let names = std::fs::read_dir(wal::segment::wal_dir()).into_iter().flatten().flatten();
    let parsed = names.filter_map(|entry| wal::segment::parse_name(entry.file_name().to_str()?, geometry));
    let of_segment = parsed.filter(|(_, number)| *number == segment).map(|(timeline, _)| timeline.0);
    of_segment.max().map_or_else(wal::timeline, TimeLineId)
}
