//! One open log file.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Flushed early when a pass brings more than this.
const BUFFER_LEN_MAX: usize = 64 * 1024;

/// An open log file with the lines of the current pass.
#[derive(Debug)]
pub(crate) struct LogFile {
    /// As it appears in `current_logfiles`.
    pub(crate) name: String,
    file: File,
    len: u64,
    buffer: Vec<u8>,
}

impl LogFile {
    /// Opens it for appending, or empties it first. `mode` counts for a new file only, whatever the umask.
    /// C: `logfile_open`.
    pub(crate) fn open(root: &Path, name: String, mode: u32, truncate: bool) -> io::Result<LogFile> {
        // Without write permission for ourselves the next reopening would fail.
        let mode = (mode | 0o200) & 0o777;
        let path = root.join(&name);
        let file = match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                file.set_permissions(Permissions::from_mode(mode))?;
                file
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                // `create` again: it may have been removed in between.
                OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?
            }
            Err(e) => return Err(e),
        };
        if truncate {
            file.set_len(0)?;
        }
        let len = file.metadata()?.len();
        Ok(LogFile { name, file, len, buffer: Vec::new() })
    }

    /// Its length including what is still in the buffer.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a message; it is visible after the next [`flush`](LogFile::flush).
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.len += bytes.len() as u64;
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_LEN_MAX {
            self.flush();
        }
    }

    /// Hands the buffer to the kernel. A failure is told on stderr, as there is no better place; the lines are
    /// lost, since keeping them would let a full disk eat the memory.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        if let Err(e) = self.file.write_all(&self.buffer) {
            elog::emergency(&format!("could not write to log file: {}", elog::errno_text(e)));
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_LEN_MAX);
    }
}
