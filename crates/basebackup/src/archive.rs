//! Files and directories on their way into an archive.
//!
//! A file is sent with the length it had when its header was written (S2): what was added meanwhile is left to replay, what was cut
//! off becomes zeros, which replay cuts off as well.
//!
//! C counterpart: `sendFile`, `sendFileWithContent`, `_tarWriteHeader`, `_tarWritePadding` of replication/basebackup.c.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use activity::counters::DatabaseTaken;
use common::file::CreateModes;
use common::{BLCKSZ, Oid, SqlState};
use elog::{Result, error};
use file::{File, OpenFlags, file_error};
use miscinit::interrupt;
use page::Page;
use pgstat::Message;
use shmem::wait_event::WaitEvent;
use zerocopy::IntoBytes;

use crate::checksum::FileChecksum;
use crate::exclude;
use crate::manifest::Manifest;
use crate::sink::{PIECE_BYTES_MAX, Stream};
use crate::tar::{self, Kind, Owner};
use crate::verify::Verifier;

/// Pages read at once.
const PIECE_PAGES: usize = PIECE_BYTES_MAX / BLCKSZ;
const _: () = assert!(PIECE_BYTES_MAX.is_multiple_of(BLCKSZ) && PIECE_BYTES_MAX.is_multiple_of(tar::BLOCK));

/// Where a file belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place<'a> {
    /// The tablespace whose archive this is; none for the main one.
    pub(crate) tablespace: Option<&'a str>,
    /// The database, if it is a relation's file.
    pub(crate) database: Option<Oid>,
}

/// Writes archives.
pub(crate) struct Archive<'a> {
    pub(crate) stream: Stream<'a>,
    pub(crate) manifest: Manifest,
    modes: CreateModes,
    /// Pages, since pages are what most of it is: they must be aligned to be looked at.
    buffer: Vec<Page>,
    verify: bool,
    /// Pages with a wrong checksum, in all files. C: `total_checksum_failures`.
    pub(crate) checksum_failures: u64,
}

impl<'a> Archive<'a> {
    /// `verify` is whether data checksums are to be looked at, if there are any.
    pub(crate) fn new(stream: Stream<'a>, manifest: Manifest, verify: bool) -> Archive<'a> {
        Archive {
            stream,
            manifest,
            modes: CreateModes::of_data_dir(Path::new(".")).unwrap_or(CreateModes::OWNER),
            buffer: vec![(*Page::zeroed()).clone(); PIECE_PAGES],
            verify: verify && guc::vars::DATA_CHECKSUMS.get(),
            checksum_failures: 0,
        }
    }

    /// A header. C: `_tarWriteHeader`.
    ///
    /// # Errors
    /// If the name is too long.
    pub(crate) fn add_header(&mut self, name: &Path, kind: Kind<'_>, owner: Owner) -> Result<()> {
        self.stream.archive_contents(&tar::header(name, kind, owner)?)
    }

    /// A file with this content, which is on no disk. C: `sendFileWithContent`.
    pub(crate) fn add_content(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let mtime = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        self.add_bytes(name.as_ref(), content, Owner { mode: self.modes.file, uid, gid, mtime })
    }

    /// A file of the main archive whose content the caller has.
    pub(crate) fn add_bytes(&mut self, name: &Path, content: &[u8], owner: Owner) -> Result<()> {
        let size = content.len() as u64;
        self.add_header(name, Kind::File { size }, owner)?;
        self.stream.archive_bytes(content)?;
        self.add_padding(size)?;
        let mut checksum = self.manifest.file_checksum();
        checksum.update(content);
        self.manifest.add_file(None, name, size, owner.mtime, checksum);
        Ok(())
    }

    /// A file as it is on disk. False if it is `missing_ok` and gone. C: `sendFile`.
    ///
    /// # Errors
    /// Those of opening and reading it.
    pub(crate) fn add_file(
        &mut self,
        source: &Path,
        name: &Path,
        metadata: &Metadata,
        missing_ok: bool,
        place: Place<'_>,
    ) -> Result<bool> {
        let file = match file::open(source, OpenFlags::READ) {
            Ok(file) => file,
            Err(e) if missing_ok && e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(file_error("open", source, &e)),
        };
        let size = metadata.len();
        self.add_header(name, Kind::File { size }, owner(metadata))?;
        let mut verifier = if self.verify && exclude::has_checksums(source) {
            Some(Verifier::new(source, self.stream.start_lsn())?)
        } else {
            None
        };
        let mut checksum = self.manifest.file_checksum();
        self.send_contents(&file, size, &mut verifier, &mut checksum)?;
        self.add_padding(size)?;
        if let Some(verifier) = verifier {
            let failures = verifier.finish();
            self.checksum_failures += failures;
            count_in_statistics(place.database, failures);
        }
        self.manifest.add_file(place.tablespace, name, size, metadata.mtime(), checksum);
        Ok(true)
    }

    /// Exactly `size` bytes of it (S2).
    fn send_contents(
        &mut self,
        file: &File,
        size: u64,
        verifier: &mut Option<Verifier<'_>>,
        checksum: &mut FileChecksum,
    ) -> Result<()> {
        let mut done = 0;
        let mut has_ended = false;
        while done < size {
            interrupt::check()?;
            let wanted = (size - done).min(PIECE_BYTES_MAX as u64) as usize;
            let mut count = 0;
            if !has_ended {
                count = self.read_piece(file, done, wanted, verifier)?;
            }
            if count == 0 {
                // It was cut off.
                has_ended = true;
                count = wanted;
                self.buffer.as_mut_bytes()[..count].fill(0);
            }
            let piece = &self.buffer.as_bytes()[..count];
            self.stream.archive_contents(piece)?;
            checksum.update(piece);
            done += count as u64;
        }
        Ok(())
    }

    /// Reads into the buffer, and looks at what came; 0 at the end of the file.
    fn read_piece(
        &mut self,
        file: &File,
        at: u64,
        wanted: usize,
        verifier: &mut Option<Verifier<'_>>,
    ) -> Result<usize> {
        let read = read(file, &mut self.buffer.as_mut_bytes()[..wanted], at)?;
        let Some(checking) = verifier.as_mut().filter(|checking| checking.goes_on()) else { return Ok(read) };
        if !read.is_multiple_of(BLCKSZ) {
            checking.give_up(read);
            return Ok(read);
        }
        let pages = &mut self.buffer[..read / BLCKSZ];
        let left =
            checking.check(pages, |index, page| read_again(file, page, at + (index * BLCKSZ) as u64))?;
        Ok(left * BLCKSZ)
    }

    /// Zeros up to the next block. C: `_tarWritePadding`.
    pub(crate) fn add_padding(&mut self, size: u64) -> Result<()> {
        match tar::padding(size) {
            0 => Ok(()),
            padding => self.stream.archive_contents(&[0; tar::BLOCK][..padding]),
        }
    }

    /// Two blocks of zeros, and the archive is complete.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.stream.archive_contents(&[0; 2 * tar::BLOCK])?;
        self.stream.end_archive()
    }
}

/// Owner, permissions and time of what is on disk.
pub(crate) fn owner(metadata: &Metadata) -> Owner {
    Owner { mode: metadata.mode(), uid: metadata.uid(), gid: metadata.gid(), mtime: metadata.mtime() }
}

/// As much as there is. C: `basebackup_read_file`.
pub(crate) fn read(file: &File, buffer: &mut [u8], at: u64) -> Result<usize> {
    file.read_at(buffer, at, WaitEvent::BASEBACKUP_READ).map_err(|e| file_error("read", file.path(), &e))
}

/// A page anew; false if the file ends before it.
fn read_again(file: &File, page: &mut Page, at: u64) -> Result<bool> {
    match read(file, page.as_mut_bytes(), at)? {
        0 => Ok(false),
        BLCKSZ => Ok(true),
        part => {
            let path = file.path().display();
            Err(error!(SqlState::INTERNAL_ERROR, "could not read file \"{path}\": read {part} of {BLCKSZ}"))
        }
    }
}

/// For `pg_stat_database`. C: `pgstat_report_checksum_failures_in_db`.
fn count_in_statistics(database: Option<Oid>, failures: u64) {
    if failures > 0 && guc::vars::TRACK_COUNTS.get() {
        let counts = DatabaseTaken { checksum_failures: failures as i64, ..DatabaseTaken::default() };
        pgstat::send(&Message::Session { database: database.unwrap_or(Oid::INVALID), counts });
    }
}

#[cfg(test)]
mod tests;
