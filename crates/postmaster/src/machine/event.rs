//! What can happen to the postmaster.

use std::time::Duration;

use super::child::{ChildExit, ChildKind};

/// One thing that happened. The driver turns signals, `wait` results, expired timers and accepted
/// connections into these, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The process is about to open its sockets: the logger comes first, so that their messages reach it.
    StartLogger,
    /// Sockets listen, files are written: begin. C: the tail of `PostmasterMain`.
    Start,
    /// SIGTERM, SIGINT or SIGQUIT. C: `pmdie`.
    Shutdown(ShutdownMode),
    /// SIGHUP. C: `SIGHUP_handler`.
    Reload,
    /// The settings the machine looks at may have changed.
    NewSettings(Settings),
    /// A child ended. C: one turn of `reaper`'s loop.
    Exited {
        /// What it was.
        kind: ChildKind,
        /// For the log line only.
        pid: i32,
        /// How it ended.
        exit: ChildExit,
        /// What it was running, if that is known: DETAIL of the log line.
        activity: Option<String>,
    },
    /// An [`Action::Fork`](super::Action::Fork) could not be done.
    ForkFailed {
        /// What was to be started.
        kind: ChildKind,
        /// The system's reason.
        errno: i32,
    },
    /// A client was accepted.
    Connection,
    /// A session turned out to be a replication connection.
    BecameWalSender,
    /// A child asks for something by SIGUSR1. C: `sigusr1_handler`.
    Request(Request),
    /// The stop under way has got a deadline, or an earlier one. The driver has published it; those who obey it are to look.
    Bounded,
    /// A timer asked for by [`Action::StartTimer`](super::Action::StartTimer) went off.
    Timer(Timer),
    /// postmaster.pid is gone or names somebody else. C: `RecheckDataDirLockFile` returning false.
    LockFileInvalid,
}

/// How urgently to stop; a later one overrides an earlier one. C: `Shutdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ShutdownMode {
    /// Not at all.
    None,
    /// When the last client has left (SIGTERM).
    Smart,
    /// Disconnect the clients, write a checkpoint (SIGINT).
    Fast,
    /// At once; the next start recovers (SIGQUIT).
    Immediate,
}

impl ShutdownMode {
    /// The word in the log and in `pg_ctl stop -m`.
    pub fn word(self) -> &'static str {
        match self {
            ShutdownMode::None => "no",
            ShutdownMode::Smart => "smart",
            ShutdownMode::Fast => "fast",
            ShutdownMode::Immediate => "immediate",
        }
    }
}

/// What SIGUSR1 can mean. C: `PMSIGNAL_*`, and the two signal files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// The startup process began to redo.
    RecoveryStarted,
    /// The startup process reached consistency and read-only sessions may begin.
    BeginHotStandby,
    /// A WAL file may be archived.
    WakenArchiver,
    /// `pg_rotate_logfile()`.
    RotateLogfile,
    /// The file `logrotate` is there (`pg_ctl logrotate`).
    LogrotateFile,
    /// Somebody fears transaction id wraparound; autovacuum must run even if turned off.
    StartAutovacLauncher,
    /// The launcher wants a worker.
    StartAutovacWorker,
    /// The startup process wants WAL streamed.
    StartWalReceiver,
    /// A child changed something the state machine looks at.
    AdvanceStateMachine,
    /// The file `promote` is there (`pg_ctl promote`).
    PromoteFile,
    /// The file `forecast` is there (`pg_ctl stop --forecast`).
    ForecastFile,
}

/// The clocks. The machine asks for them and is told when they go off; it never looks at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Timer {
    /// Children that have been told to quit get this long. C: `SIGKILL_CHILDREN_AFTER_SECS`.
    KillClock,
    /// Until the next archiver may start. C: `PGARCH_RESTART_INTERVAL`.
    ArchiverRestart,
    /// Until the next stats collector may start. C: `PGSTAT_RESTART_INTERVAL`.
    StatsCollectorRestart,
    /// Until postmaster.pid is looked at again.
    LockFileRecheck,
    /// Until socket and lock files are touched, lest a cleaner of old files in /tmp takes them.
    SocketTouch,
    /// Until the status file of the stop is written, for the first time or again.
    StopStatus,
    /// Until the log says again what the stop waits for.
    StopLog,
    /// Until a smart stop that was given a deadline becomes a fast one.
    SmartBound,
}

impl Timer {
    /// Every timer, in declaration order.
    pub const ALL: [Timer; 8] = [
        Timer::KillClock,
        Timer::ArchiverRestart,
        Timer::StatsCollectorRestart,
        Timer::LockFileRecheck,
        Timer::SocketTouch,
        Timer::StopStatus,
        Timer::StopLog,
        Timer::SmartBound,
    ];

    /// How long it runs; `None` if that depends on what only the driver knows.
    pub fn length(self) -> Option<Duration> {
        let seconds = match self {
            Timer::KillClock => 5,
            Timer::ArchiverRestart | Timer::StopLog => 10,
            Timer::StatsCollectorRestart | Timer::LockFileRecheck => 60,
            Timer::SocketTouch => 58 * 60,
            // Whether the file exists yet; the deadline.
            Timer::StopStatus | Timer::SmartBound => return None,
        };
        Some(Duration::from_secs(seconds))
    }

    /// The word golden scripts use.
    pub fn word(self) -> &'static str {
        match self {
            Timer::KillClock => "kill-clock",
            Timer::ArchiverRestart => "archiver-restart",
            Timer::StatsCollectorRestart => "stats-restart",
            Timer::LockFileRecheck => "lock-file-recheck",
            Timer::SocketTouch => "socket-touch",
            Timer::StopStatus => "stop-status",
            Timer::StopLog => "stop-log",
            Timer::SmartBound => "smart-bound",
        }
    }
}

/// `archive_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArchiveMode {
    /// No archiver.
    Off,
    /// An archiver in normal running.
    On,
    /// An archiver in recovery too.
    Always,
}

/// The settings that the rules depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// `logging_collector`.
    pub logging_collector: bool,
    /// `autovacuum` and `track_counts`. C: `AutoVacuumingActive`.
    pub autovacuum: bool,
    /// `archive_mode`.
    pub archive_mode: ArchiveMode,
    /// `hot_standby`.
    pub hot_standby: bool,
    /// `restart_after_crash`.
    pub restart_after_crash: bool,
    /// `remove_temp_files_after_crash`.
    pub remove_temp_files_after_crash: bool,
    /// After a crash stop the others for a debugger rather than ending them (`postgres -T`). C: `SendStop`.
    pub send_stop: bool,
    /// How many backends, workers and walsenders may exist: twice the places in shared memory, since many of
    /// those that are being authenticated will fail. C: `MaxLivePostmasterChildren`.
    pub max_live_children: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            logging_collector: false,
            autovacuum: true,
            archive_mode: ArchiveMode::Off,
            hot_standby: true,
            restart_after_crash: true,
            remove_temp_files_after_crash: true,
            send_stop: false,
            max_live_children: 244,
        }
    }
}
