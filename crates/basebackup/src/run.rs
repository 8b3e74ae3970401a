//! A backup from its start to its end.
//!
//! ```text
//!   checkpoint -- [count] -- tablespaces.. -- main: label, map, files, pg_control -- stop -- [WAL] -- manifest -- end
//! ```
//!
//! pg_control comes last of all files: on a standby, where no record tells the backup's end, its minimum recovery point does.
//!
//! C counterpart: `perform_base_backup` of replication/basebackup.c.

use std::fs;
use std::path::Path;

use activity::progress::BaseBackupPhase;
use backup::{BackupState, StopResult, TablespaceInfo};
use common::SqlState;
use common::pg_control::CONTROL_FILE;
use elog::{Result, ereport, error};
use file::file_error;
use miscinit::interrupt;

use crate::archive::{Archive, owner};
use crate::manifest::Manifest;
use crate::options::Options;
use crate::sink::{Part, Sink, Stream};
use crate::wal_files;
use crate::walk::{Send, Size, Walk};

/// The backup that is running: an error on the way ends it, too. C: `PG_ENSURE_ERROR_CLEANUP(do_pg_abort_backup)`.
struct Running(Option<BackupState>);

impl Running {
    fn stop(mut self, wait: bool, stream: &mut Stream<'_>) -> Result<StopResult> {
        match self.0.take() {
            Some(state) => backup::stop(state, wait, &mut || stream.send_reports()),
            None => Err(error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "backup is not in progress")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.take().is_some() {
            wal::force_full_page_writes(false);
        }
    }
}

/// Makes the backup that is asked for and sends it into `sink`.
///
/// # Errors
/// Those of `backup`, of reading and of the sinks; XX001 at the end if a page had a wrong checksum. No backup runs then.
pub(crate) fn run<'a>(options: &Options, sink: Box<dyn Sink + 'a>) -> Result<()> {
    let stream = Stream::new(sink);
    let manifest = Manifest::new(options.manifest, options.checksum);
    let mut archive = Archive::new(stream, manifest, options.verify_checksums);

    let mut tablespaces = Vec::new();
    let state = backup::start(&options.label, options.fast_checkpoint, &mut tablespaces)?;
    let start = (state.start_lsn, state.start_timeline);
    let texts = Texts::of(&state);
    let started_in_recovery = state.started_in_recovery;
    let running = Running(Some(state));
    let links = tablespaces.clone();
    let go_on = || check_go_on(started_in_recovery);
    let walk = Walk { tablespaces: &links, send_links: !options.tablespace_map, go_on: &go_on };

    let (parts, bytes_total) = plan(options, tablespaces, walk, &archive.stream)?;
    archive.stream.begin_backup(start, parts.clone(), bytes_total)?;
    for part in &parts {
        match part {
            Part::Tablespace(tablespace) => send_tablespace(&mut archive, tablespace, walk)?,
            Part::Main { .. } => send_main(&mut archive, options, &texts, walk)?,
        }
    }
    archive.stream.enter(BaseBackupPhase::WaitWalArchive);
    let stop = running.stop(options.wait, &mut archive.stream)?;
    let end = (stop.lsn, stop.timeline);
    if options.include_wal {
        archive.stream.enter(BaseBackupPhase::TransferWal);
        wal_files::send(&mut archive, &wal_files::Range { start, end, geometry: wal::geometry() })?;
        archive.end()?;
    }

    let Archive { mut stream, mut manifest, checksum_failures, .. } = archive;
    manifest.add_wal(start, end)?;
    manifest.send(&mut stream)?;
    stream.end_backup(end.0, end.1)?;
    complain(checksum_failures)
}

/// `backup::stop` would find a promotion, too; but there may be hours until then.
fn check_go_on(started_in_recovery: bool) -> Result<()> {
    interrupt::check()?;
    if wal::in_recovery() == started_in_recovery { Ok(()) } else { Err(backup::promoted()) }
}

/// What is in no file of this data directory, and in the copy.
struct Texts {
    label_file: String,
    tablespace_map: String,
}

impl Texts {
    fn of(state: &BackupState) -> Texts {
        Texts { label_file: state.label_file.clone(), tablespace_map: state.tablespace_map.clone() }
    }
}

/// What will be sent, and how much, if the client asked.
fn plan(
    options: &Options,
    tablespaces: Vec<TablespaceInfo>,
    walk: Walk<'_>,
    stream: &Stream<'_>,
) -> Result<(Vec<Part>, Option<u64>)> {
    let mut parts: Vec<Part> = tablespaces.into_iter().map(Part::Tablespace).collect();
    parts.push(Part::Main { size_bytes: None });
    if !options.progress {
        return Ok((parts, None));
    }
    stream.enter(BaseBackupPhase::EstimateSize);
    let mut total = 0;
    for part in &mut parts {
        let mut size = Size::default();
        match part {
            Part::Tablespace(tablespace) => {
                Walk { tablespaces: &[], ..walk }.tablespace(tablespace.path.as_ref(), &mut size)?;
                tablespace.size_bytes = Some(size.bytes);
            }
            Part::Main { size_bytes } => {
                // The links count in any case.
                Walk { send_links: true, ..walk }.data_directory(&mut size)?;
                *size_bytes = Some(size.bytes);
            }
        }
        total += size.bytes;
    }
    Ok((parts, Some(total)))
}

fn send_tablespace(archive: &mut Archive<'_>, tablespace: &TablespaceInfo, walk: Walk<'_>) -> Result<()> {
    archive.stream.begin_archive(&format!("{}.tar", tablespace.oid))?;
    let mut visitor = Send { archive, tablespace: Some(&tablespace.oid) };
    Walk { tablespaces: &[], ..walk }.tablespace(tablespace.path.as_ref(), &mut visitor)?;
    archive.end()
}

/// The main archive; if WAL belongs to it, it stays open.
fn send_main(archive: &mut Archive<'_>, options: &Options, texts: &Texts, walk: Walk<'_>) -> Result<()> {
    archive.stream.begin_archive("base.tar")?;
    archive.add_content("backup_label", texts.label_file.as_bytes())?;
    if options.tablespace_map {
        archive.add_content("tablespace_map", texts.tablespace_map.as_bytes())?;
    }
    walk.data_directory(&mut Send { archive: &mut *archive, tablespace: None })?;
    send_control_file(archive)?;
    if options.include_wal { Ok(()) } else { archive.end() }
}

/// pg_control is overwritten in place: who reads it like any other file may meet half of a write, and replay repairs
/// everything but this file (S8).
fn send_control_file(archive: &mut Archive<'_>) -> Result<()> {
    let content = backup::control_file()?.to_bytes();
    let path = Path::new(CONTROL_FILE);
    let metadata = fs::symlink_metadata(path).map_err(|e| file_error("stat", path, &e))?;
    archive.add_bytes(path, &content[..], owner(&metadata))
}

/// The client has everything, and is told that it is not worth much.
fn complain(checksum_failures: u64) -> Result<()> {
    if checksum_failures == 0 {
        return Ok(());
    }
    let s = if checksum_failures == 1 { "" } else { "s" };
    ereport!(Warning, "{checksum_failures} total checksum verification failure{s}");
    Err(error!(SqlState::DATA_CORRUPTED, "checksum verification failure during base backup"))
}
