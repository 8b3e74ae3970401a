//! Into a directory on the server's side: `TARGET 'server'`.
//!
//! The archives are files there, made durable one by one together with their names; the manifest gets its name when it is
//! complete, so that a backup without one is seen to be none.
//!
//! C counterpart: replication/basebackup_server.c.

use std::io;
use std::path::{Path, PathBuf};

use common::SqlState;
use elog::{PgError, Result, Severity, errno_text, error};
use file::{File, OpenFlags, file_error};
use shmem::wait_event::WaitEvent;

use super::{Progress, Sink};

/// C: `bbsink_server`.
pub(crate) struct ServerDirectory<'a> {
    next: Box<dyn Sink + 'a>,
    directory: PathBuf,
    /// The file that is being written, and its length so far.
    open: Option<(File, u64)>,
}

/// The manifest's name, and that of one that is not complete.
const MANIFEST: &str = "backup_manifest";
const MANIFEST_TEMPORARY: &str = "backup_manifest.tmp";

impl<'a> ServerDirectory<'a> {
    /// Looks at the directory, which must be empty, and makes it if it is not there. Whether the role may write files is
    /// checked by then. C: `bbsink_server_new`.
    ///
    /// # Errors
    /// 42602 for a relative path, 58P02 if there is something in it, those of making it.
    pub(crate) fn new(next: Box<dyn Sink + 'a>, directory: &Path) -> Result<ServerDirectory<'a>> {
        if !directory.is_absolute() {
            // A relative one would be inside of what is backed up.
            return Err(error!(
                SqlState::INVALID_NAME,
                "relative path not allowed for backup stored on server"
            ));
        }
        let shown = directory.display();
        match directory.read_dir().map(|mut entries| entries.next()) {
            Ok(None) => {}
            Ok(Some(Ok(_))) => {
                let text = format!("directory \"{shown}\" exists but is not empty");
                return Err(error!(SqlState::DUPLICATE_FILE, "{text}"));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => file::create_dir(directory)?,
            Ok(Some(Err(e))) | Err(e) => {
                let code = elog::sqlstate_for_file_access(&e);
                return Err(error!(code, "could not access directory \"{shown}\": {}", errno_text(&e)));
            }
        }
        Ok(ServerDirectory { next, directory: directory.to_path_buf(), open: None })
    }

    fn create(&mut self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        let file = file::open(&path, flags).map_err(|e| file_error("create", &path, &e))?;
        self.open = Some((file, 0));
        Ok(())
    }

    fn write(&mut self, piece: &[u8]) -> Result<()> {
        let Some((file, written)) = &mut self.open else { return Ok(()) };
        file.write_at(piece, *written, WaitEvent::BASEBACKUP_WRITE)
            .map_err(|e| file_error("write", file.path(), &e).hint("Check free disk space."))?;
        *written += piece.len() as u64;
        Ok(())
    }

    /// The file and its name.
    fn sync_and_close(&mut self) -> Result<()> {
        let Some((file, _)) = self.open.take() else { return Ok(()) };
        file.sync(WaitEvent::BASEBACKUP_SYNC).map_err(|e| file_error("fsync", file.path(), &e))?;
        file::fsync_dir(&self.directory).map_err(no_more_than_error)
    }
}

/// Whatever `data_sync_retry` says of a failed fsync: nothing of this cluster is lost.
fn no_more_than_error(error: PgError) -> PgError {
    error.with_severity(Severity::Error)
}

impl Sink for ServerDirectory<'_> {
    fn next(&mut self) -> Option<&mut dyn Sink> {
        Some(&mut *self.next)
    }

    fn begin_archive(&mut self, progress: &Progress, name: &str) -> Result<()> {
        self.create(name)?;
        self.next.begin_archive(progress, name)
    }

    fn archive_contents(&mut self, progress: &Progress, piece: &[u8]) -> Result<()> {
        self.write(piece)?;
        self.next.archive_contents(progress, piece)
    }

    fn end_archive(&mut self, progress: &Progress) -> Result<()> {
        self.sync_and_close()?;
        self.next.end_archive(progress)
    }

    fn begin_manifest(&mut self) -> Result<()> {
        self.create(MANIFEST_TEMPORARY)?;
        self.next.begin_manifest()
    }

    fn manifest_contents(&mut self, piece: &[u8]) -> Result<()> {
        self.write(piece)?;
        self.next.manifest_contents(piece)
    }

    fn end_manifest(&mut self) -> Result<()> {
        // Renaming syncs it first.
        self.open = None;
        file::durable_rename(&self.directory.join(MANIFEST_TEMPORARY), &self.directory.join(MANIFEST))
            .map_err(no_more_than_error)?;
        self.next.end_manifest()
    }
}
