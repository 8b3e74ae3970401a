//! BASE_BACKUP: a copy of the cluster on its way through sinks to a client.
//!
//! A walsender calls [`send`] with the options that its client gave. The data directory and each tablespace become a tar
//! archive, piece by piece, without a copy on disk; between reading a file and sending it, a piece passes the stations that
//! the client asked for: compression, a limit to the rate, a directory on the server instead of the client. Beside them the
//! manifest grows, in which each file has a line, and data checksums are looked at.
//!
//! What makes such a copy, taken while everybody writes, a whole one is the business of crate `backup`.
//!
//! Read in this order: `run` (the order of things), `walk` and `exclude` (which files), `archive` and `tar` (how they look),
//! `verify`, `manifest`, `wal_files`, then `sink` and its stations; `options`, `compression` and `target` say what can be
//! asked for.
//!
//! The numbered invariants are listed in this crate's README.
//!
//! C counterpart: replication/basebackup*.c, replication/backup_manifest.c.

#![forbid(unsafe_code)]

mod compression;
pub mod options; // 1. what can be asked for
mod target;

mod run; // 2. the order of things

mod exclude;
mod walk; // 3. which files

mod archive; // 4. how they look
mod checksum;
mod manifest;
mod tar;
mod verify;
mod wal_files;

mod sink; // 5. the way out

use elog::Result;
use libpq::{Port, WaitPolicy};
use miscinit::ps_status;
use replication::walsnd;

use options::Options;
pub use options::{CommandOption, OptionValue};
use sink::{Compress, CopyStream, ServerDirectory, Sink, Throttle};
use target::Target;

/// Runs `BASE_BACKUP`: result sets, the COPY OUT with the backup, another result set. The command's own CommandComplete,
/// `BASE_BACKUP`, is the caller's. C: `SendBaseBackup`.
///
/// # Errors
/// 55000 if this session's `pg_backup_start` has not been stopped; for options that make no sense (see `options`); those of
/// `backup::start` and `backup::stop`; of reading files and of the connection; XX001 if a page had a wrong checksum. No
/// backup of this command is running then.
#[doc(alias = "SendBaseBackup")]
pub fn send(port: &mut Port, policy: &mut dyn WaitPolicy, options: &[CommandOption]) -> Result<()> {
    if backup::session::is_running() {
        return Err(backup::session::already_running());
    }
    let options = Options::parse(options)?;
    walsnd::set_state(walsnd::State::Backup);
    ps_status::set_activity(&format!("sending backup \"{}\"", options.label));
    let sink = pipeline(port, policy, &options)?;
    run::run(&options, sink)
}

/// The stations that were asked for, last first.
fn pipeline<'a>(
    port: &'a mut Port,
    policy: &'a mut dyn WaitPolicy,
    options: &Options,
) -> Result<Box<dyn Sink + 'a>> {
    let to_client = options.target == Target::Client;
    let mut sink: Box<dyn Sink + 'a> = Box::new(CopyStream::new(port, policy, to_client));
    if let Target::Server(directory) = &options.target {
        target::require_right_to_write()?;
        sink = Box::new(ServerDirectory::new(sink, directory)?);
    }
    if let Some(rate_kb) = options.rate_kb {
        sink = Box::new(Throttle::new(sink, rate_kb));
    }
    if let Some(compression) = options.compression {
        sink = Box::new(Compress::new(sink, compression));
    }
    Ok(sink)
}
