//! What the postmaster wants done, and the sentences it logs.

use std::fmt;

use common::pidfile::PidFileStatus;
use miscinit::child::CanAccept;

use super::PmState;
use super::child::{BackendClasses, ChildExit, ChildKind};
use super::event::{ShutdownMode, Timer};

/// One thing to do. The driver does them in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing to do: the state changed. For the log at DEBUG1 and for tests. C of later: `UpdatePMState`.
    EnterState {
        /// Before.
        from: PmState,
        /// From now on.
        to: PmState,
    },
    /// Write to the server log.
    Log(Message),
    /// Start a child. Failure comes back as [`Event::ForkFailed`](super::Event::ForkFailed).
    Fork(ChildKind),
    /// Start a child for the connection at hand: a session if the verdict is `Ok`, else a dead end.
    ForkForConnection(CanAccept),
    /// Close the connection at hand without a word.
    RefuseConnection,
    /// Send a signal.
    Signal {
        /// To whom.
        to: Target,
        /// Which.
        signal: Signal,
    },
    /// Say in shared memory why SIGQUIT is coming, for the last words to clients. C: `SetQuitSignalReason`.
    SetQuitReason(QuitReason),
    /// Line 8 of postmaster.pid.
    SetPidFileStatus(PidFileStatus),
    /// Poll the listening sockets, or let clients wait in their backlog.
    EnableListening(bool),
    /// Read the configuration files; [`Event::NewSettings`](super::Event::NewSettings) follows.
    ReloadConfig,
    /// Let a timer run from now, anew if it runs already.
    StartTimer(Timer),
    /// Forget a timer.
    StopTimer(Timer),
    /// Compare postmaster.pid; [`Event::LockFileInvalid`](super::Event::LockFileInvalid) may follow.
    RecheckLockFile,
    /// Touch socket and lock files.
    TouchSockets,
    /// Remove the file `logrotate`.
    RemoveLogrotateFile,
    /// Tell the launcher, in shared memory, that its worker could not be started. C: `AutoVacWorkerFailed`.
    AutovacWorkerFailed,
    /// Remove temporary files that crashed sessions left. C: `RemovePgTempFiles`.
    RemoveTempFiles,
    /// Throw the shared segment away and build it anew. C: `shmem_exit(1)`, `CreateSharedMemoryAndSemaphores`.
    ResetSharedMemory,
    /// Write down what the stop waits for, in the status file. What that is, [`Machine::awaited`](super::Machine::awaited)
    /// tells.
    ReportStop,
    /// Say in the log what the stop waits for.
    LogStop,
    /// Answer the file `forecast`, and remove it.
    WriteForecast,
    /// Leave with this exit code. C: `ExitPostmaster`.
    Exit(i32),
}

/// Addressees of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The one process of a singleton kind.
    Child(ChildKind),
    /// All of some classes, oldest first. C: `SignalSomeChildren`.
    Backends(BackendClasses),
}

/// The signals a postmaster sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the system's own")]
pub enum Signal {
    Hup,
    Term,
    Quit,
    Kill,
    Stop,
    Usr1,
    Usr2,
}

impl Signal {
    /// Whether the child's process group gets it as well, so that an archive or restore command ends with the
    /// process that waits for it. C: `signal_child`.
    pub fn to_group(self) -> bool {
        match self {
            Signal::Term | Signal::Quit | Signal::Kill | Signal::Stop => true,
            Signal::Hup | Signal::Usr1 | Signal::Usr2 => false,
        }
    }
}

/// Why children are told to quit. C: `QuitSignalReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuitReason {
    /// Another process crashed.
    ForCrash,
    /// Immediate shutdown.
    ForStop,
}

/// Every sentence the state machine logs, all of severity LOG. A value rather than text, so that walking
/// all states does not spend its time on formatting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "`Display` shows the sentence each one stands for")]
pub enum Message {
    ReceivedShutdown(ShutdownMode),
    AbortingTransactions,
    ReadyForConnections,
    ReadyForReadOnlyConnections,
    ReloadingConfiguration,
    ChildExited { kind: ChildKind, pid: i32, exit: ChildExit, activity: Option<String> },
    TerminatingOthers,
    Reinitializing,
    IssuingSigkill,
    AbnormalShutdown,
    StartupProcessFailed,
    RestartAfterCrashIsOff,
    ShutdownAtRecoveryTarget,
    LockFileInvalid,
    CouldNotFork { kind: ChildKind, errno: i32 },
    SmartBecomesFast { clients: u32 },
}

impl Message {
    /// DETAIL of the line, if it has one.
    pub fn detail(&self) -> Option<String> {
        match self {
            Message::ChildExited { activity: Some(activity), .. } => {
                Some(format!("Failed process was running: {activity}"))
            }
            Message::SmartBecomesFast { .. } => {
                Some("The deadline of the stop leaves clients no more time.".to_owned())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::ReceivedShutdown(mode) => write!(f, "received {} shutdown request", mode.word()),
            Message::AbortingTransactions => f.write_str("aborting any active transactions"),
            Message::ReadyForConnections => f.write_str("database system is ready to accept connections"),
            Message::ReadyForReadOnlyConnections => {
                f.write_str("database system is ready to accept read-only connections")
            }
            Message::ReloadingConfiguration => f.write_str("received SIGHUP, reloading configuration files"),
            Message::ChildExited { kind, pid, exit, .. } => {
                write!(f, "{} (PID {pid}) {exit}", kind.backend_type().child_name())
            }
            Message::TerminatingOthers => f.write_str("terminating any other active server processes"),
            Message::Reinitializing => f.write_str("all server processes terminated; reinitializing"),
            Message::IssuingSigkill => f.write_str("issuing SIGKILL to recalcitrant children"),
            Message::AbnormalShutdown => f.write_str("abnormal database system shutdown"),
            Message::StartupProcessFailed => f.write_str("shutting down due to startup process failure"),
            Message::RestartAfterCrashIsOff => {
                f.write_str("shutting down because restart_after_crash is off")
            }
            Message::ShutdownAtRecoveryTarget => f.write_str("shutdown at recovery target"),
            Message::LockFileInvalid => {
                f.write_str("performing immediate shutdown because data directory lock file is invalid")
            }
            Message::CouldNotFork { kind, errno } => {
                write!(f, "could not fork {}: {}", fork_name(*kind), elog::errno_text(*errno))
            }
            Message::SmartBecomesFast { clients: 1 } => {
                f.write_str("smart shutdown becomes fast, 1 client is disconnected")
            }
            Message::SmartBecomesFast { clients } => {
                write!(f, "smart shutdown becomes fast, {clients} clients are disconnected")
            }
        }
    }
}

/// What a failed fork was for.
fn fork_name(kind: ChildKind) -> &'static str {
    match kind {
        ChildKind::Logger => "system logger",
        ChildKind::Startup => "startup process",
        ChildKind::Checkpointer => "checkpointer process",
        ChildKind::BgWriter => "background writer process",
        ChildKind::WalWriter => "WAL writer process",
        ChildKind::WalReceiver => "WAL receiver process",
        ChildKind::AutovacLauncher => "autovacuum launcher process",
        ChildKind::AutovacWorker => "autovacuum worker process",
        ChildKind::Archiver => "archiver process",
        ChildKind::StatsCollector => "statistics collector",
        ChildKind::Backend | ChildKind::WalSender | ChildKind::DeadEnd => "new process for connection",
    }
}
