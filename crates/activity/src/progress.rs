//! How far a long command is: the rows of the `pg_stat_progress_*` views.
//!
//! A command has a few numbers in its process's entry; what each means is the command's business, and the view's.
//!
//! C counterpart: utils/activity/backend_progress.c, commands/progress.h.

/// Numbers of one command. C: `PGSTAT_NUM_PROGRESS_PARAM`.
pub const PARAMS: usize = 20;

/// A number that is not known: the view shows NULL.
pub const UNKNOWN: i64 = -1;

/// A command that tells how far it is. C: `ProgressCommandType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Command {
    /// BASE_BACKUP.
    BaseBackup = 1,
}

impl Command {
    pub(crate) fn from_u8(number: u8) -> Option<Command> {
        (number == Command::BaseBackup as u8).then_some(Command::BaseBackup)
    }
}

/// The numbers of [`Command::BaseBackup`]. C: `PROGRESS_BASEBACKUP_*`.
pub mod base_backup {
    /// One of [`super::BaseBackupPhase`].
    pub const PHASE: usize = 0;
    /// Or [`super::UNKNOWN`].
    pub const BYTES_TOTAL: usize = 1;
    /// Before compression.
    pub const BYTES_DONE: usize = 2;
    /// Tablespaces, the data directory counting as one.
    pub const PARTS_TOTAL: usize = 3;
    /// Those that have been sent.
    pub const PARTS_DONE: usize = 4;
}

/// What BASE_BACKUP is doing. C: `PROGRESS_BASEBACKUP_PHASE_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
#[allow(missing_docs, reason = "the names are what the view shows")]
pub enum BaseBackupPhase {
    WaitCheckpoint = 1,
    EstimateSize = 2,
    Stream = 3,
    WaitWalArchive = 4,
    TransferWal = 5,
}

impl BaseBackupPhase {
    /// As the view names it.
    pub fn text(number: i64) -> &'static str {
        match number {
            0 => "initializing",
            1 => "waiting for checkpoint to finish",
            2 => "estimating backup size",
            3 => "streaming database files",
            4 => "waiting for wal archiving to finish",
            _ => "transferring wal files",
        }
    }
}

/// A command that tells how far it is until this is dropped. C: until `pgstat_progress_end_command`, which an error must not
/// forget.
#[derive(Debug)]
#[must_use = "dropping it ends the report"]
pub struct Report(());

/// Begins to tell, with zeros. C: `pgstat_progress_start_command`.
pub fn start(command: Command) -> Report {
    crate::with_mine(|mine| mine.entry.set_progress_command(Some(command)));
    Report(())
}

impl Report {
    /// Sets some of the numbers at once. C: `pgstat_progress_update_multi_param`.
    pub fn set(&self, values: &[(usize, i64)]) {
        crate::with_mine(|mine| mine.entry.set_progress(values));
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        crate::with_mine(|mine| mine.entry.set_progress_command(None));
    }
}
