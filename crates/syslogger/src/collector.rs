//! The set of log files in use: writing, rotating, and telling others their names.
//!
//! Knows nothing of processes, signals and clocks: times come in as arguments, and what ought to be reported goes
//! out as values, because the reports of the logger end up in these very files.
//!
//! - L1  The plain file is open from start to end: a new one is open before the old one is closed.
//! - L2  Only a change by age may empty an existing file, and never the one just written (then the pattern
//!   names no new file, and the old lines must stay).
//! - L3  A new file that cannot be opened leaves the old one in use. Unless descriptors are short for a moment,
//!   no further attempt is made before the next SIGHUP, so that the log does not fill with one complaint.
//!
//! C counterpart: `logfile_rotate`, `logfile_rotate_dest`, `write_syslogger_file`, `update_metainfo_datafile` in
//! syslogger.c.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::SqlState;
use elog::pipe::Destination;
use elog::{PgError, errno_text, pg_error, sqlstate_for_file_access};
use nix::errno::Errno;

use crate::log_file::LogFile;
use crate::rotation::{Due, next_rotation_time};
use crate::settings::Settings;

/// Names the files in use, for `pg_current_logfile()` and for people.
pub const METAINFO_FILE: &str = "current_logfiles";
/// Pause before another attempt while descriptors are short. PostgreSQL would try without pause.
const RETRY_SECS: i64 = 10;
const METAINFO_FILE_TMP: &str = "current_logfiles.tmp";

/// The log files in use.
#[derive(Debug)]
pub(crate) struct Collector {
    /// The data directory, which relative names are relative to.
    root: PathBuf,
    settings: Settings,
    /// In the order of [`Destination::ALL`].
    files: [Option<LogFile>; 3],
    next_rotation: Option<i64>,
    requested: bool,
    disabled: bool,
    /// No attempt before this second: descriptors are short.
    retry_at: Option<i64>,
}

impl Collector {
    /// Opens the first files. They are appended to: this is not a change of files by age (L2).
    ///
    /// # Errors
    /// FATAL if a file cannot be opened.
    pub(crate) fn open(root: &Path, settings: Settings, now: i64) -> elog::Result<Collector> {
        make_directory(root, &settings.directory);
        let mut files = [None, None, None];
        for (to, file) in Destination::ALL.into_iter().zip(&mut files) {
            if settings.wants_file(to) {
                let name = settings.path_at(now, to);
                let opened = LogFile::open(root, name.clone(), settings.file_mode, false);
                *file =
                    Some(opened.map_err(|e| could_not_open(&name, &e).with_severity(elog::Severity::Fatal))?);
            }
        }
        Ok(Collector {
            root: root.into(),
            next_rotation: next_rotation_time(now, settings.rotation_age_minutes, &settings.timezone),
            settings,
            files,
            requested: false,
            disabled: false,
            retry_at: None,
        })
    }

    /// Adds a message to its file; to the plain one if it has none.
    pub(crate) fn write(&mut self, bytes: &[u8], to: Destination) {
        let index = if self.files[to as usize].is_some() { to as usize } else { 0 };
        if let Some(file) = &mut self.files[index] {
            file.write(bytes);
        }
    }

    /// Makes everything written visible.
    pub(crate) fn flush(&mut self) {
        self.files.iter_mut().flatten().for_each(LogFile::flush);
    }

    /// Somebody wants new files: `pg_rotate_logfile()`, `pg_ctl logrotate`.
    pub(crate) fn request_rotation(&mut self) {
        self.requested = true;
    }

    /// Takes over reloaded settings. C: the `ConfigReloadPending` block of `SysLoggerMain`.
    #[must_use]
    pub(crate) fn configure(&mut self, settings: Settings, now: i64) -> Vec<PgError> {
        let old = std::mem::replace(&mut self.settings, settings);
        let new = &self.settings;
        if old.directory != new.directory {
            make_directory(&self.root, &new.directory);
        }
        self.requested |= old.directory != new.directory
            || old.filename != new.filename
            || Destination::ALL.into_iter().any(|to| new.wants_file(to) != self.files[to as usize].is_some());
        if old.rotation_age_minutes != new.rotation_age_minutes || old.timezone != new.timezone {
            self.next_rotation = next_rotation_time(now, new.rotation_age_minutes, &new.timezone);
        }
        if self.disabled {
            self.disabled = false;
            self.requested = true;
        }
        // log_destination may have changed without any file being opened or closed.
        self.write_metainfo().err().into_iter().collect()
    }

    /// Changes files if it is time. To be called at every wake-up.
    #[must_use]
    pub(crate) fn rotate_if_due(&mut self, now: i64) -> Vec<PgError> {
        let due = if self.retry_at.is_some_and(|at| is_soon(at, now)) {
            None
        } else if self.requested {
            Some(Due::ON_REQUEST)
        } else if self.disabled {
            None
        } else {
            let sizes = [0, 1, 2].map(|i| self.files[i].as_ref().map_or(0, LogFile::len));
            Due::look(now, self.next_rotation, sizes, self.settings.rotation_size_kb)
        };
        due.map_or_else(Vec::new, |due| self.rotate(due, now))
    }

    /// Seconds until a file's time has come; `None` if none ages.
    pub(crate) fn seconds_to_rotation(&self, now: i64) -> Option<u64> {
        let retry_at = self.retry_at.filter(|at| is_soon(*at, now));
        let at = retry_at.or(self.next_rotation.filter(|_| !self.disabled))?;
        Some(u64::try_from(at - now).unwrap_or(0))
    }

    /// C: `logfile_rotate`.
    fn rotate(&mut self, due: Due, now: i64) -> Vec<PgError> {
        self.requested = false;
        // A file that changes by age is named after the moment it was due, not after when we noticed.
        let named_after = self.next_rotation.filter(|_| due.by_age).unwrap_or(now);
        for to in Destination::ALL {
            if let Err(reports) = self.rotate_file(to, due, named_after) {
                if !self.disabled {
                    self.retry_at = Some(now + RETRY_SECS);
                    self.requested = due == Due::ON_REQUEST;
                }
                return reports;
            }
        }
        self.next_rotation =
            next_rotation_time(now, self.settings.rotation_age_minutes, &self.settings.timezone);
        self.write_metainfo().err().into_iter().collect()
    }

    /// C: `logfile_rotate_dest`.
    fn rotate_file(&mut self, to: Destination, due: Due, named_after: i64) -> Result<(), Vec<PgError>> {
        let index = to as usize;
        if !self.settings.wants_file(to) {
            if let Some(mut unused) = self.files[index].take() {
                unused.flush();
            }
            return Ok(());
        }
        if !due.files[index] {
            return Ok(());
        }
        let name = self.settings.path_at(named_after, to);
        let old_name = self.files[index].as_ref().map(|file| file.name.as_str());
        let truncate = self.settings.truncate_on_rotation
            && due.by_age
            && old_name.is_some_and(|old_name| old_name != name);
        match LogFile::open(&self.root, name.clone(), self.settings.file_mode, truncate) {
            Ok(file) => {
                if let Some(mut old) = self.files[index].replace(file) {
                    old.flush();
                }
                Ok(())
            }
            Err(e) => {
                let mut reports = vec![could_not_open(&name, &e)];
                if !matches!(e.raw_os_error().map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE)) {
                    self.disabled = true;
                    reports.push(pg_error!(
                        Log,
                        SqlState::SUCCESSFUL_COMPLETION,
                        "disabling automatic rotation (use SIGHUP to re-enable)"
                    ));
                }
                Err(reports)
            }
        }
    }

    /// Writes `current_logfiles`, or removes it if no destination has a file. C: `update_metainfo_datafile`.
    pub(crate) fn write_metainfo(&self) -> elog::Result<()> {
        let mut text = String::new();
        for to in Destination::ALL.into_iter().filter(|to| self.settings.is_used(*to)) {
            if let Some(file) = &self.files[to as usize] {
                text.push_str(&format!("{} {}\n", to.name(), file.name));
            }
        }
        let path = self.root.join(METAINFO_FILE);
        if text.is_empty() {
            return match std::fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    Err(file_error(&e, &format!("could not remove file \"{METAINFO_FILE}\"")))
                }
                _ => Ok(()),
            };
        }
        let tmp = self.root.join(METAINFO_FILE_TMP);
        let mode = if group_may_read(&self.root) { 0o640 } else { 0o600 };
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&tmp)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|e| file_error(&e, &format!("could not open file \"{METAINFO_FILE_TMP}\"")))?;
        rename(&tmp, &path).map_err(|e| {
            file_error(&e, &format!("could not rename file \"{METAINFO_FILE_TMP}\" to \"{METAINFO_FILE}\""))
        })
    }
}

/// Whether a retry is still to be waited for; a clock that was set back does not make it wait longer.
fn is_soon(retry_at: i64, now: i64) -> bool {
    (retry_at - RETRY_SECS..retry_at).contains(&now)
}

/// The file is rewritten at every start and rotation, so it need not survive a power failure.
#[allow(clippy::disallowed_methods, reason = "nothing is lost if this file vanishes in a crash")]
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Creates the log directory; if that fails, opening a file in it will say why.
fn make_directory(root: &Path, directory: &str) {
    let mode = if group_may_read(root) { 0o750 } else { 0o700 };
    let _ = DirBuilder::new().mode(mode).create(root.join(directory));
}

/// Whether the data directory was made with group access. C: `pg_file_create_mode`.
fn group_may_read(root: &Path) -> bool {
    root.metadata().is_ok_and(|data| data.mode() & 0o050 == 0o050)
}

fn could_not_open(name: &str, e: &io::Error) -> PgError {
    file_error(e, &format!("could not open log file \"{name}\"")).routine("logfile_open")
}

fn file_error(e: &io::Error, what: &str) -> PgError {
    pg_error!(Log, sqlstate_for_file_access(e), "{what}: {}", errno_text(e))
}

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
