//! Fewer bytes for more work: each archive as a gzip, lz4 or zstd file.
//!
//! C counterpart: replication/basebackup_gzip.c, basebackup_lz4.c, basebackup_zstd.c.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use common::SqlState;
use elog::{PgError, Result, error};
use flate2::GzBuilder;
use nix::sys::signal::{SigSet, SigmaskHow};

use super::{PIECE_BYTES_MAX, Progress, Sink};
use crate::compression::Compression;

/// What an encoder has made and nobody has taken yet.
#[derive(Clone, Default)]
struct Output(Rc<RefCell<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One archive on its way.
enum Encoder {
    Gzip(flate2::write::GzEncoder<Output>),
    Lz4(lz4::Encoder<Output>),
    Zstd(zstd::Encoder<'static, Output>),
}

/// In a gzip header: made on Unix. C: zlib's `OS_CODE`.
const GZIP_UNIX: u8 = 3;

impl Encoder {
    fn new(compression: Compression, output: Output) -> io::Result<Encoder> {
        Ok(match compression {
            Compression::Gzip { level } => {
                let level =
                    u32::try_from(level).map_or_else(|_| Default::default(), flate2::Compression::new);
                Encoder::Gzip(GzBuilder::new().operating_system(GZIP_UNIX).write(output, level))
            }
            Compression::Lz4 { level } => {
                let mut builder = lz4::EncoderBuilder::new();
                builder.level(level as u32).block_size(lz4::BlockSize::Max256KB);
                // The library's own defaults, which this crate's builder does not have.
                builder.checksum(lz4::ContentChecksum::NoChecksum);
                builder.block_checksum(lz4::liblz4::BlockChecksum::NoBlockChecksum);
                Encoder::Lz4(builder.build(output)?)
            }
            Compression::Zstd { level, workers } => {
                let mut encoder = zstd::Encoder::new(output, level)?;
                if workers > 0 {
                    encoder.multithread(workers)?;
                }
                Encoder::Zstd(encoder)
            }
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
            Encoder::Lz4(encoder) => encoder.write_all(bytes),
            Encoder::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish().map(drop),
            Encoder::Lz4(encoder) => encoder.finish().1,
            Encoder::Zstd(encoder) => encoder.finish().map(drop),
        }
    }
}

/// Runs `work` with all signals blocked: the threads it starts inherit that, so that this process's signals go on to arrive at
/// its only thread that knows them (S4).
fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let result = work();
    if let Ok(before) = before {
        // Only an invalid argument fails.
        let _ = before.thread_set_mask();
    }
    result
}

/// C: `bbsink_gzip`, `bbsink_lz4`, `bbsink_zstd`.
pub(crate) struct Compress<'a> {
    next: Box<dyn Sink + 'a>,
    compression: Compression,
    /// Of the open archive.
    encoder: Option<Encoder>,
    output: Output,
}

impl<'a> Compress<'a> {
    /// C: `bbsink_gzip_new` and its siblings.
    pub(crate) fn new(next: Box<dyn Sink + 'a>, compression: Compression) -> Compress<'a> {
        Compress { next, compression, encoder: None, output: Output::default() }
    }

    fn has_threads(&self) -> bool {
        matches!(self.compression, Compression::Zstd { workers: 1.., .. })
    }

    /// Passes what is there on, in whole pieces; at the `end` of an archive the rest, too.
    fn pass_on(&mut self, progress: &Progress, end: bool) -> Result<()> {
        let mut output = self.output.0.borrow_mut();
        let whole = output.len() - output.len() % PIECE_BYTES_MAX;
        let passed = if end { output.len() } else { whole };
        for piece in output[..passed].chunks(PIECE_BYTES_MAX) {
            self.next.archive_contents(progress, piece)?;
        }
        output.drain(..passed);
        Ok(())
    }

    fn failed(&self, error: &io::Error) -> PgError {
        error!(SqlState::INTERNAL_ERROR, "could not compress data: {error}")
    }
}

impl Sink for Compress<'_> {
    fn next(&mut self) -> Option<&mut dyn Sink> {
        Some(&mut *self.next)
    }

    fn begin_archive(&mut self, progress: &Progress, name: &str) -> Result<()> {
        let encoder = Encoder::new(self.compression, self.output.clone());
        self.encoder = Some(encoder.map_err(|e| self.failed(&e))?);
        self.next.begin_archive(progress, &format!("{name}{}", self.compression.suffix()))
    }

    fn archive_contents(&mut self, progress: &Progress, piece: &[u8]) -> Result<()> {
        let has_threads = self.has_threads();
        if let Some(encoder) = &mut self.encoder {
            let written =
                if has_threads { without_signals(|| encoder.write(piece)) } else { encoder.write(piece) };
            written.map_err(|e| self.failed(&e))?;
        }
        self.pass_on(progress, false)
    }

    fn end_archive(&mut self, progress: &Progress) -> Result<()> {
        if let Some(encoder) = self.encoder.take() {
            let finish = || encoder.finish();
            let finished = if self.has_threads() { without_signals(finish) } else { finish() };
            finished.map_err(|e| self.failed(&e))?;
        }
        self.pass_on(progress, true)?;
        self.next.end_archive(progress)
    }
}
