//! The beginning of the pipeline: counts what goes in, and shows it in `pg_stat_progress_basebackup`.
//!
//! C counterpart: replication/basebackup_progress.c.

use std::cell::Cell;

use activity::progress::{self, BaseBackupPhase, Command, Report, base_backup as param};
use common::{Lsn, TimeLineId};
use elog::Result;

use super::{PIECE_BYTES_MAX, Part, Progress, Sink};

/// What the producers of a backup write to. C: `bbsink_progress`.
pub(crate) struct Stream<'a> {
    sink: Box<dyn Sink + 'a>,
    progress: Progress,
    /// The slot in shared memory: given back when this is dropped.
    report: Report,
}

impl<'a> Stream<'a> {
    /// Nothing has been started yet. C: `bbsink_progress_new`, `basebackup_progress_wait_checkpoint`.
    pub(crate) fn new(sink: Box<dyn Sink + 'a>) -> Stream<'a> {
        let report = progress::start(Command::BaseBackup);
        report.set(&[
            (param::PHASE, BaseBackupPhase::WaitCheckpoint as i64),
            (param::BYTES_TOTAL, progress::UNKNOWN),
        ]);
        let progress = Progress {
            parts: Vec::new(),
            start_lsn: Lsn::INVALID,
            start_timeline: TimeLineId(0),
            bytes_total: None,
            bytes_done: Cell::new(0),
            parts_done: Cell::new(0),
        };
        Stream { sink, progress, report }
    }

    /// Where the backup starts.
    pub(crate) fn start_lsn(&self) -> Lsn {
        self.progress.start_lsn
    }

    /// C: `basebackup_progress_estimate_backup_size`, `basebackup_progress_wait_wal_archive`,
    /// `basebackup_progress_transfer_wal`.
    pub(crate) fn enter(&self, phase: BaseBackupPhase) {
        let parts = self.progress.parts.len();
        if phase == BaseBackupPhase::WaitWalArchive {
            // The main archive may still be open, but only WAL follows.
            self.progress.parts_done.set(parts);
            self.report.set(&[(param::PHASE, phase as i64), (param::PARTS_DONE, parts as i64)]);
        } else {
            self.report.set(&[(param::PHASE, phase as i64)]);
        }
    }

    /// It starts there and has these parts. C: `bbsink_progress_begin_backup`.
    pub(crate) fn begin_backup(
        &mut self,
        start: (Lsn, TimeLineId),
        parts: Vec<Part>,
        bytes_total: Option<u64>,
    ) -> Result<()> {
        self.report.set(&[
            (param::PHASE, BaseBackupPhase::Stream as i64),
            (param::BYTES_TOTAL, bytes_total.map_or(progress::UNKNOWN, |bytes| bytes as i64)),
            (param::PARTS_TOTAL, parts.len() as i64),
        ]);
        (self.progress.start_lsn, self.progress.start_timeline) = start;
        self.progress.parts = parts;
        self.progress.bytes_total = bytes_total;
        self.sink.begin_backup(&self.progress)
    }

    /// An archive begins.
    pub(crate) fn begin_archive(&mut self, name: &str) -> Result<()> {
        self.sink.begin_archive(&self.progress, name)
    }

    /// Bytes of it, at most [`PIECE_BYTES_MAX`]. C: `bbsink_progress_archive_contents`.
    pub(crate) fn archive_contents(&mut self, piece: &[u8]) -> Result<()> {
        debug_assert!(piece.len() <= PIECE_BYTES_MAX);
        let done = self.progress.bytes_done.get() + piece.len() as u64;
        self.progress.bytes_done.set(done);
        self.sink.archive_contents(&self.progress, piece)?;
        let done = done as i64;
        match self.progress.bytes_total {
            // Files grow: 100 percent is not exceeded.
            Some(total) if done > total as i64 => {
                self.report.set(&[(param::BYTES_DONE, done), (param::BYTES_TOTAL, done)]);
            }
            _ => self.report.set(&[(param::BYTES_DONE, done)]),
        }
        Ok(())
    }

    /// Any number of bytes of it.
    pub(crate) fn archive_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        bytes.chunks(PIECE_BYTES_MAX).try_for_each(|piece| self.archive_contents(piece))
    }

    /// It is complete. C: `bbsink_progress_end_archive`.
    pub(crate) fn end_archive(&mut self) -> Result<()> {
        // With WAL in it, the last has been counted already.
        let done = self.progress.parts_done.get();
        if done < self.progress.parts.len() {
            self.progress.parts_done.set(done + 1);
            self.report.set(&[(param::PARTS_DONE, done as i64 + 1)]);
        }
        self.sink.end_archive(&self.progress)
    }

    /// The whole manifest. C: the end of `SendBackupManifest`.
    pub(crate) fn manifest(&mut self, manifest: &[u8]) -> Result<()> {
        self.sink.begin_manifest()?;
        manifest.chunks(PIECE_BYTES_MAX).try_for_each(|piece| self.sink.manifest_contents(piece))?;
        self.sink.end_manifest()
    }

    /// Brings the client what was reported to it. C: the `pq_flush` of `send_message_to_frontend`.
    pub(crate) fn send_reports(&mut self) -> Result<()> {
        self.sink.send_reports()
    }

    /// All has been sent.
    pub(crate) fn end_backup(&mut self, end: Lsn, timeline: TimeLineId) -> Result<()> {
        self.sink.end_backup(end, timeline)
    }
}
