//! Sinks: what a backup flows through on its way out.
//!
//! ```text
//!   walk, WAL, manifest -> Stream -> Compress -> Throttle -> ServerDirectory -> CopyStream -> client
//!                          counts    if asked    if asked    TARGET server      always
//! ```
//!
//! A sink does something at the calls that concern it and passes the others on; [`forward`] is what it does when it says
//! nothing. Contents come in pieces of at most [`PIECE_BYTES_MAX`] bytes, and only between `begin_archive` and `end_archive`, or
//! `begin_manifest` and `end_manifest` (S1). The manifest is neither compressed nor counted.
//!
//! C counterpart: replication/basebackup_sink.h, basebackup_sink.c. There the sinks share one buffer, which the last of them
//! owns; here a piece is a slice, and the one copy is that into the connection's send buffer.

mod compress; // 3. fewer bytes
mod copystream; // 1. to the client
mod server; // 4. into a directory of the server
mod stream; // 5. the beginning: what is counted
mod throttle; // 2. not too fast

use std::cell::Cell;

use backup::TablespaceInfo;
use common::{Lsn, TimeLineId};
use elog::Result;

pub(crate) use compress::Compress;
pub(crate) use copystream::CopyStream;
pub(crate) use server::ServerDirectory;
pub(crate) use stream::Stream;
pub(crate) use throttle::Throttle;

/// Files are read in pieces of this size. C: `SINK_BUFFER_LENGTH`.
pub(crate) const PIECE_BYTES_MAX: usize = 32 * 1024;

/// A part of the backup with an archive of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Tablespace(TablespaceInfo),
    /// The data directory itself: always the last, since pg_control is the last of all files.
    Main {
        size_bytes: Option<u64>,
    },
}

/// A backup on its way: what sinks may know of it. C: `bbsink_state`.
#[derive(Debug)]
pub(crate) struct Progress {
    /// What is to be sent, in this order.
    pub(crate) parts: Vec<Part>,
    pub(crate) start_lsn: Lsn,
    pub(crate) start_timeline: TimeLineId,
    /// How much it will be; known if somebody asked.
    pub(crate) bytes_total: Option<u64>,
    /// Bytes of archives so far, before any compression.
    pub(crate) bytes_done: Cell<u64>,
    /// So many parts have been sent.
    pub(crate) parts_done: Cell<usize>,
}

/// One station. C: `bbsink_ops`.
pub(crate) trait Sink {
    /// The station behind this one; the last has none and must not forward.
    fn next(&mut self) -> Option<&mut dyn Sink>;

    /// The backup has been started. C: `begin_backup`.
    fn begin_backup(&mut self, progress: &Progress) -> Result<()> {
        forward(self, |next| next.begin_backup(progress))
    }

    /// An archive begins.
    fn begin_archive(&mut self, progress: &Progress, name: &str) -> Result<()> {
        forward(self, |next| next.begin_archive(progress, name))
    }

    /// Bytes of it.
    fn archive_contents(&mut self, progress: &Progress, piece: &[u8]) -> Result<()> {
        forward(self, |next| next.archive_contents(progress, piece))
    }

    /// It is complete.
    fn end_archive(&mut self, progress: &Progress) -> Result<()> {
        forward(self, |next| next.end_archive(progress))
    }

    /// The manifest begins: after all archives.
    fn begin_manifest(&mut self) -> Result<()> {
        forward(self, |next| next.begin_manifest())
    }

    /// Bytes of it.
    fn manifest_contents(&mut self, piece: &[u8]) -> Result<()> {
        forward(self, |next| next.manifest_contents(piece))
    }

    /// It is complete.
    fn end_manifest(&mut self) -> Result<()> {
        forward(self, |next| next.end_manifest())
    }

    /// Nothing may follow for long: what was reported to the client is sent now.
    fn send_reports(&mut self) -> Result<()> {
        forward(self, |next| next.send_reports())
    }

    /// All has been sent; the backup needs WAL up to `end`.
    fn end_backup(&mut self, end: Lsn, timeline: TimeLineId) -> Result<()> {
        forward(self, |next| next.end_backup(end, timeline))
    }
}

/// Passes a call on. C: `bbsink_forward_begin_backup` and its siblings.
fn forward<S: Sink + ?Sized>(sink: &mut S, call: impl FnOnce(&mut dyn Sink) -> Result<()>) -> Result<()> {
    sink.next().map_or(Ok(()), call)
}

#[cfg(test)]
pub(crate) mod tests;
