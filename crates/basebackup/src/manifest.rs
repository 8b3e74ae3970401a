//! The manifest: a JSON text that lists every file with its size, time and checksum, and the WAL that is needed.
//!
//! ```text
//! { "PostgreSQL-Backup-Manifest-Version": 1,
//! "Files": [
//! { "Path": "PG_VERSION", "Size": 3, "Last-Modified": "2026-11-21 18:27:31 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "8a744722" },
//! ...
//! ],
//! "WAL-Ranges": [
//! { "Timeline": 1, "Start-LSN": "0/9000028", "End-LSN": "0/9000100" }
//! ],
//! "Manifest-Checksum": "7258f350..."}
//! ```
//!
//! Readers take it line by line where its own checksum, SHA-256 of all before the last line, is concerned: line ends are part of
//! the format (S3).
//!
//! C counterpart: replication/backup_manifest.c. There the text is in a temporary file; here in memory, some 150 bytes a file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use common::{Lsn, SqlState, TABLESPACE_LINKS, TimeLineId};
use elog::{Result, error};
use sha2::{Digest, Sha256};
use wal::timeline::History;

use crate::checksum::{Algorithm, FileChecksum, hex};
use crate::options::ManifestKind;
use crate::sink::Stream;

/// The text so far. C: `backup_manifest_info`.
pub(crate) struct Manifest {
    kind: ManifestKind,
    algorithm: Algorithm,
    text: String,
    has_files: bool,
}

impl Manifest {
    /// C: `InitializeBackupManifest`.
    pub(crate) fn new(kind: ManifestKind, algorithm: Algorithm) -> Manifest {
        let text = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [".to_owned();
        Manifest { kind, algorithm, text, has_files: false }
    }

    /// A checksum of the kind the manifest wants.
    pub(crate) fn file_checksum(&self) -> FileChecksum {
        FileChecksum::new(self.algorithm)
    }

    /// A file that has been sent. `path` is its name in the archive of `tablespace`; `mtime` are Unix seconds.
    /// C: `AddFileToBackupManifest`.
    pub(crate) fn add_file(
        &mut self,
        tablespace: Option<&str>,
        path: &Path,
        size: u64,
        mtime: i64,
        checksum: FileChecksum,
    ) {
        if self.kind == ManifestKind::None {
            return;
        }
        self.text.push_str(if self.has_files { ",\n" } else { "\n" });
        self.has_files = true;
        // In a tablespace's archive names are relative to it; in the manifest, to the data directory.
        let whole = tablespace.map(|oid| Path::new(TABLESPACE_LINKS).join(oid).join(path));
        self.add_path(whole.as_deref().unwrap_or(path).as_os_str());
        self.text.push_str(&format!(", \"Size\": {size}, \"Last-Modified\": \"{}\"", time_text(mtime)));
        if let Some((algorithm, bytes)) = checksum.finish() {
            let (name, digits) = (algorithm.name(), hex(&bytes));
            let line = format!(", \"Checksum-Algorithm\": \"{name}\", \"Checksum\": \"{digits}\"");
            self.text.push_str(&line);
        }
        self.text.push_str(" }");
    }

    fn add_path(&mut self, path: &OsStr) {
        match path.to_str().filter(|_| self.kind == ManifestKind::Plain) {
            Some(text) => {
                self.text.push_str("{ \"Path\": ");
                escape_json(&mut self.text, text);
            }
            None => {
                self.text.push_str(&format!("{{ \"Encoded-Path\": \"{}\"", hex(path.as_bytes())));
            }
        }
    }

    /// The WAL that replay needs, a stretch for each timeline. C: `AddWALInfoToBackupManifest`.
    ///
    /// # Errors
    /// XX000 if the timelines do not belong together.
    pub(crate) fn add_wal(&mut self, start: (Lsn, TimeLineId), end: (Lsn, TimeLineId)) -> Result<()> {
        if self.kind == ManifestKind::None {
            return Ok(());
        }
        let history = wal::timeline::read_history(end.1)?;
        let ranges = wal_ranges(&history, start, end)?;
        let line = |(timeline, from, to): &(TimeLineId, Lsn, Lsn)| {
            format!("{{ \"Timeline\": {}, \"Start-LSN\": \"{from}\", \"End-LSN\": \"{to}\" }}", timeline.0)
        };
        let lines: Vec<String> = ranges.iter().map(line).collect();
        self.text.push_str(&format!("\n],\n\"WAL-Ranges\": [\n{}\n],\n", lines.join(",\n")));
        Ok(())
    }

    /// Ends the text and sends it. C: `SendBackupManifest`.
    ///
    /// # Errors
    /// Those of sending.
    pub(crate) fn send(mut self, stream: &mut Stream<'_>) -> Result<()> {
        if self.kind == ManifestKind::None {
            return Ok(());
        }
        self.end();
        stream.manifest(self.text.as_bytes())
    }

    fn end(&mut self) {
        let checksum = Sha256::digest(self.text.as_bytes());
        self.text.push_str(&format!("\"Manifest-Checksum\": \"{}\"}}\n", hex(&checksum)));
    }
}

/// Which timelines the backup saw, newest first, and from where to where.
fn wal_ranges(
    history: &History,
    start: (Lsn, TimeLineId),
    end: (Lsn, TimeLineId),
) -> Result<Vec<(TimeLineId, Lsn, Lsn)>> {
    let wrong = |text: String| Err(error!(SqlState::INTERNAL_ERROR, "{text}"));
    let mut ranges = Vec::new();
    let mut to = end.0;
    for entry in &history.0 {
        if entry.end != Lsn::INVALID && entry.end < start.0 {
            continue;
        }
        if ranges.is_empty() && entry.tli != end.1 {
            return wrong(format!("expected end timeline {} but found timeline {}", start.1.0, entry.tli.0));
        }
        if entry.tli == start.1 {
            ranges.push((entry.tli, start.0, to));
            return Ok(ranges);
        }
        if entry.begin == Lsn::INVALID {
            return wrong(format!(
                "expected start timeline {} but found timeline {}",
                start.1.0, entry.tli.0
            ));
        }
        ranges.push((entry.tli, entry.begin, to));
        to = entry.begin;
    }
    wrong(format!("start timeline {} not found in history of timeline {}", start.1.0, end.1.0))
}

/// In quotes. C: `escape_json`.
fn escape_json(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// `2026-11-21 18:27:31 GMT`.
fn time_text(unix_seconds: i64) -> String {
    let at = jiff::Timestamp::from_second(unix_seconds).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests;
