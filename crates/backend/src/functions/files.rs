//! Functions that look at the server's files: contents, directories, sizes and times.
//!
//! Paths are relative to the data directory, where every process of the server works. All of this is for superusers; the
//! directories that monitoring needs are for `pg_monitor` too.
//!
//! C counterpart: utils/adt/genfile.c, `pg_ls_dir_files` for its second half.

use std::fs::{self, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{Oid, SqlState};
use elog::{Result, errno_text, error};
use types::fmgr::{Builtin, CallContext, RowIter};
use types::{Datum, oid};

use super::{only_monitor, only_superuser, record};

#[rustfmt::skip]
pub(super) static FUNCTIONS: &[Builtin] = &[
    Builtin::scalar(2624, "pg_read_file", &[oid::TEXT, oid::INT8, oid::INT8], oid::TEXT, |_, a| read_text(a)).volatile(),
    Builtin::scalar(3293, "pg_read_file", &[oid::TEXT, oid::INT8, oid::INT8, oid::BOOL], oid::TEXT, |_, a| read_text(a)).volatile(),
    Builtin::scalar(3826, "pg_read_file", &[oid::TEXT], oid::TEXT, |_, a| read_text(a)).volatile(),
    Builtin::scalar(3827, "pg_read_binary_file", &[oid::TEXT, oid::INT8, oid::INT8], oid::BYTEA, |_, a| read_bytes(a)).volatile(),
    Builtin::scalar(3295, "pg_read_binary_file", &[oid::TEXT, oid::INT8, oid::INT8, oid::BOOL], oid::BYTEA, |_, a| read_bytes(a)).volatile(),
    Builtin::scalar(3828, "pg_read_binary_file", &[oid::TEXT], oid::BYTEA, |_, a| read_bytes(a)).volatile(),
    Builtin::scalar(2623, "pg_stat_file", &[oid::TEXT], oid::RECORD, pg_stat_file).volatile().names(&["filename"]).columns(STAT),
    Builtin::scalar(3307, "pg_stat_file", &[oid::TEXT, oid::BOOL], oid::RECORD, pg_stat_file).volatile()
        .names(&["filename", "missing_ok"]).columns(STAT),
    Builtin::set(2625, "pg_ls_dir", &[oid::TEXT], oid::TEXT, pg_ls_dir).volatile(),
    Builtin::set(3297, "pg_ls_dir", &[oid::TEXT, oid::BOOL, oid::BOOL], oid::TEXT, pg_ls_dir).volatile(),
    Builtin::set(3353, "pg_ls_logdir", &[], oid::RECORD, pg_ls_logdir).volatile().columns(FILE),
    Builtin::set(3354, "pg_ls_waldir", &[], oid::RECORD, pg_ls_waldir).volatile().columns(FILE),
    Builtin::set(5031, "pg_ls_archive_statusdir", &[], oid::RECORD, pg_ls_archive_statusdir).volatile().columns(FILE),
];

const STAT: &[(&str, Oid)] = &[
    ("size", oid::INT8),
    ("access", oid::TIMESTAMPTZ),
    ("modification", oid::TIMESTAMPTZ),
    ("change", oid::TIMESTAMPTZ),
    ("creation", oid::TIMESTAMPTZ),
    ("isdir", oid::BOOL),
];

const FILE: &[(&str, Oid)] = &[("name", oid::TEXT), ("size", oid::INT8), ("modification", oid::TIMESTAMPTZ)];

type Cx<'a, 'b> = &'a mut CallContext<'b>;

/// Longest piece of a file that fits into a value. C: `MaxAllocSize - VARHDRSZ`.
const READ_BYTES_MAX: i64 = 0x3fff_ffff - 4;

fn text(args: &[Datum], index: usize) -> &str {
    args.get(index).and_then(Datum::as_str).unwrap_or_default()
}

fn flag(args: &[Datum], index: usize) -> bool {
    matches!(args.get(index), Some(Datum::Bool(true)))
}

fn failed(verb: &str, what: &str, path: &str, how: &str, e: &io::Error) -> elog::PgError {
    let code = elog::sqlstate_for_file_access(e);
    error!(code, "could not {verb} {what} \"{path}\"{how}: {}", errno_text(e))
}

fn is_missing(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound
}

/// The piece of a file that the arguments name: path, offset (from the end, if negative), length, whether it may be missing.
fn read_piece(args: &[Datum]) -> Result<Option<Vec<u8>>> {
    let path = text(args, 0);
    let piece = match (args.get(1), args.get(2)) {
        (Some(Datum::Int8(offset)), Some(Datum::Int8(length))) => Some((*offset, *length)),
        _ => None,
    };
    let bad = |message: &str| error!(SqlState::INVALID_PARAMETER_VALUE, "{message}");
    match piece {
        Some((_, length)) if length < 0 => return Err(bad("requested length cannot be negative")),
        Some((_, length)) if length > READ_BYTES_MAX => return Err(bad("requested length too large")),
        _ => {}
    }
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if flag(args, 3) && is_missing(&e) => return Ok(None),
        Err(e) => return Err(failed("open", "file", path, " for reading", &e)),
    };
    let (offset, length) = piece.unwrap_or((0, READ_BYTES_MAX + 1));
    let from = if offset < 0 { SeekFrom::End(offset) } else { SeekFrom::Start(offset as u64) };
    file.seek(from).map_err(|e| failed("seek in", "file", path, "", &e))?;
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes).map_err(|e| failed("read", "file", path, "", &e))?;
    if bytes.len() as i64 > READ_BYTES_MAX {
        return Err(error!(SqlState::PROGRAM_LIMIT_EXCEEDED, "file length too large"));
    }
    Ok(Some(bytes))
}

/// C: `pg_read_file_common`.
fn read_text(args: &[Datum]) -> Result<Datum> {
    only_superuser("pg_read_file")?;
    let Some(bytes) = read_piece(args)? else { return Ok(Datum::Null) };
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Datum::text(text)),
        Ok(_) => Err(types::io::invalid_utf8(&[0])),
        Err(e) => Err(invalid(e.as_bytes(), e.utf8_error())),
    }
}

/// The sequence that is no character, as far as its first byte says it goes. C: `report_invalid_encoding`.
fn invalid(bytes: &[u8], error: std::str::Utf8Error) -> elog::PgError {
    let at = error.valid_up_to();
    if let Some(zero) = bytes[..at].iter().position(|byte| *byte == 0) {
        return types::io::invalid_utf8(&bytes[zero..=zero]);
    }
    let length = match bytes[at] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    types::io::invalid_utf8(&bytes[at..bytes.len().min(at + length)])
}

/// C: `pg_read_binary_file_common`.
fn read_bytes(args: &[Datum]) -> Result<Datum> {
    only_superuser("pg_read_binary_file")?;
    Ok(read_piece(args)?.map_or(Datum::Null, |bytes| Datum::Bytea(bytes.into())))
}

/// Seconds since 1970 as a timestamp: what C's `time_t_to_timestamptz` keeps.
fn seconds(unix: i64) -> Datum {
    const PG_EPOCH_SECONDS: i64 = 946_684_800;
    Datum::TimestampTz((unix - PG_EPOCH_SECONDS).saturating_mul(1_000_000))
}

fn pg_stat_file(_: Cx<'_, '_>, args: &[Datum]) -> Result<Datum> {
    only_superuser("pg_stat_file")?;
    let path = text(args, 0);
    let data: Metadata = match fs::metadata(path) {
        Ok(data) => data,
        Err(e) if flag(args, 1) && is_missing(&e) => return Ok(Datum::Null),
        Err(e) => return Err(failed("stat", "file", path, "", &e)),
    };
    let values = vec![
        Datum::Int8(data.size() as i64),
        seconds(data.atime()),
        seconds(data.mtime()),
        seconds(data.ctime()),
        // Unix does not know when a file was made.
        Datum::Null,
        Datum::Bool(data.is_dir()),
    ];
    Ok(record(STAT, values))
}

fn pg_ls_dir(_: Cx<'_, '_>, args: &[Datum]) -> Result<RowIter> {
    only_superuser("pg_ls_dir")?;
    let path = text(args, 0);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if flag(args, 1) && is_missing(&e) => return Ok(Box::new(std::iter::empty())),
        Err(e) => return Err(failed("open", "directory", path, "", &e)),
    };
    let mut names = if flag(args, 2) { vec![".".to_owned(), "..".to_owned()] } else { Vec::new() };
    for entry in entries {
        let entry = entry.map_err(|e| failed("read", "directory", path, "", &e))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(Box::new(names.into_iter().map(|name| Ok(vec![Datum::text(name)]))))
}

/// Plain files whose names do not begin with a dot. C: `pg_ls_dir_files`.
fn list_files(dir: &Path) -> Result<RowIter> {
    let shown = dir.display().to_string();
    let mut rows = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| failed("open", "directory", &shown, "", &e))? {
        let entry = entry.map_err(|e| failed("read", "directory", &shown, "", &e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let data = match fs::metadata(entry.path()) {
            Ok(data) => data,
            // Gone since the directory was read.
            Err(e) if is_missing(&e) => continue,
            Err(e) => return Err(failed("stat", "file", &entry.path().display().to_string(), "", &e)),
        };
        if data.is_file() {
            rows.push(vec![Datum::text(name), Datum::Int8(data.size() as i64), seconds(data.mtime())]);
        }
    }
    Ok(Box::new(rows.into_iter().map(Ok)))
}

fn pg_ls_logdir(_: Cx<'_, '_>, _: &[Datum]) -> Result<RowIter> {
    only_monitor("pg_ls_logdir")?;
    list_files(Path::new(&*guc::vars::LOG_DIRECTORY.get()))
}

fn pg_ls_waldir(_: Cx<'_, '_>, _: &[Datum]) -> Result<RowIter> {
    only_monitor("pg_ls_waldir")?;
    list_files(&wal::segment::wal_dir())
}

fn pg_ls_archive_statusdir(_: Cx<'_, '_>, _: &[Datum]) -> Result<RowIter> {
    only_monitor("pg_ls_archive_statusdir")?;
    list_files(&wal::segment::wal_dir().join("archive_status"))
}
