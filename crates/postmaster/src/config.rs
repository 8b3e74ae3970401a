//! What the program hands to its postmaster: the kinds of children and the few things only it can do.
//!
//! The postmaster knows no crate of a process. The program, which knows them all, fills in a table from kind
//! to entry point; the tests of this crate fill it with toys.

use std::path::PathBuf;
use std::time::Duration;

use common::BackendType;
use elog::Result;
use miscinit::child::ChildMain;
use shmem::Reservation;
use shmem::proc::Limits;
use stopreport::{Mode, Observation};

use crate::machine::{ArchiveMode, Settings};

/// Which function a child of each kind runs.
#[derive(Clone, Default)]
pub struct ChildTable {
    mains: [Option<ChildMain>; BackendType::ALL.len()],
}

impl ChildTable {
    /// No kind at all.
    pub fn new() -> ChildTable {
        ChildTable::default()
    }

    /// Names the entry point of a kind.
    pub fn with(mut self, kind: BackendType, main: ChildMain) -> ChildTable {
        self.mains[kind as usize] = Some(main);
        self
    }

    /// The entry point of a kind, if this program has it.
    pub fn get(&self, kind: BackendType) -> Option<ChildMain> {
        self.mains[kind as usize]
    }
}

/// What the crates above this one contribute. Each does nothing by default.
#[derive(Clone, Copy)]
pub struct Hooks {
    /// Reserves every crate's share of shared memory, `shmem::reserve` first.
    pub reserve: fn(&mut Reservation, Limits),
    /// Reads pg_control, once the data directory is ours. C: `LocalProcessControlFile`.
    pub read_control_file: fn() -> Result<()>,
    /// Before each fork of a logger: the pipe and the first files. C: the first half of `SysLogger_Start`.
    pub prepare_logger: fn() -> Result<()>,
    /// After it: stderr becomes the pipe. C: the second half of `SysLogger_Start`.
    pub redirect_stderr: fn() -> Result<()>,
    /// In every child but the logger: closes what only postmaster and logger need. C: the end of
    /// `ClosePostmasterPorts`.
    pub close_in_child: fn(),
    /// Reads pg_hba.conf and pg_ident.conf. An error is fatal at start, and only logged by a reload.
    /// C: `load_hba`, `load_ident`.
    pub load_hba: fn() -> Result<()>,
    /// What a crashed session was running. C: `pgstat_get_crashed_backend_activity`.
    pub crashed_activity: fn(i32) -> Option<String>,
    /// Notes for the launcher that its worker could not be started. C: `AutoVacWorkerFailed`.
    pub autovac_worker_failed: fn(),
    /// Removes temporary files of an earlier life. C: `RemovePgTempFiles`.
    pub remove_temp_files: fn(),
    /// What a stop under way waits for, as far as shared memory tells. Called four times a second during a stop: it reads
    /// atomics alone, and never waits. C: none.
    pub observe_stop: fn() -> Observation,
    /// The same for a forecast: all that a stop would have to wait for. C: none.
    pub observe_everything: fn() -> Observation,
    /// Publishes how long the whole stop may take from now, to those who obey it; of two the earlier end counts. Stores
    /// atomics alone. C: none.
    pub set_deadline: fn(Duration, Mode),
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks {
            reserve: shmem::reserve,
            read_control_file: || Ok(()),
            prepare_logger: || Ok(()),
            redirect_stderr: || Ok(()),
            close_in_child: || {},
            load_hba: || Ok(()),
            crashed_activity: |_| None,
            autovac_worker_failed: || {},
            remove_temp_files: || {},
            observe_stop: Observation::default,
            observe_everything: Observation::default,
            set_deadline: |_, _| {},
        }
    }
}

/// All a postmaster needs to begin. Settings have been read, and the data directory has been checked and is
/// the current one.
#[derive(Clone)]
pub struct PostmasterConfig {
    /// Name of the program in messages to a terminal. C: `progname`.
    pub program_name: String,
    /// Full path and arguments, for postmaster.opts.
    pub command_line: (PathBuf, Vec<String>),
    /// Stop the others after a crash, for a debugger (`-T`). C: `SendStop`.
    pub send_stop: bool,
    /// Kinds of children.
    pub children: ChildTable,
    /// Contributions of other crates.
    pub hooks: Hooks,
}

impl PostmasterConfig {
    /// A configuration of these children, with this program as the command.
    pub fn new(children: ChildTable, hooks: Hooks) -> PostmasterConfig {
        let arguments = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
        PostmasterConfig {
            program_name: "postgres".into(),
            command_line: (miscinit::globals::my_exec_path().to_owned(), arguments),
            send_stop: false,
            children,
            hooks,
        }
    }

    /// The settings the state machine looks at, as they are now.
    pub(crate) fn machine_settings(&self, limits: Limits) -> Settings {
        use guc::vars;
        let archiver = self.children.get(BackendType::Archiver).is_some();
        Settings {
            logging_collector: vars::LOGGING_COLLECTOR.get(),
            autovacuum: vars::AUTOVACUUM.get() && vars::TRACK_COUNTS.get(),
            archive_mode: match vars::ARCHIVE_MODE.get() {
                "on" if archiver => ArchiveMode::On,
                "always" if archiver => ArchiveMode::Always,
                _ => ArchiveMode::Off,
            },
            hot_standby: vars::HOT_STANDBY.get(),
            restart_after_crash: vars::RESTART_AFTER_CRASH.get(),
            remove_temp_files_after_crash: vars::REMOVE_TEMP_FILES_AFTER_CRASH.get(),
            send_stop: self.send_stop,
            max_live_children: u32::try_from(shmem::pmsignal::max_live_children(limits)).unwrap_or(u32::MAX),
        }
    }
}

/// The limits on processes, from settings that only a restart changes.
pub(crate) fn limits() -> Limits {
    let number = |value: i32| u32::try_from(value).unwrap_or(0);
    Limits {
        max_connections: number(guc::vars::MAX_CONNECTIONS.get()),
        autovacuum_max_workers: number(guc::vars::AUTOVACUUM_MAX_WORKERS.get()),
        max_wal_senders: number(guc::vars::MAX_WAL_SENDERS.get()),
        max_prepared_xacts: number(guc::vars::MAX_PREPARED_TRANSACTIONS.get()),
    }
}
