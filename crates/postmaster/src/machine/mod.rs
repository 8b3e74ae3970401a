//! The postmaster as a pure state machine: events in, actions out; no fork, kill, file or clock inside.
//!
//! Each submodule but `awaited` is a routine of PostgreSQL's `postmaster.c` and keeps its vocabulary.
//!
//! Rules that the exhaustive test (`walk.rs`) holds for every reachable state:
//! - P1  At most one process of a singleton kind exists.
//! - P2  The machine leaves only when no child but the logger lives.
//! - P3  Once an immediate shutdown or a crash has begun, every child has been told to quit and the kill
//!   clock runs, or it has been killed, or it is a dead end, which is told so too when the clock goes off.
//! - P4  In a shutdown some child that has been told to end, or that ends by itself, always remains, until
//!   none does; and none that ends is replaced by another that would have to be waited for.
//! - P5  While recovery runs there is a startup process; while it shuts down there is a checkpointer.
//! - P6  A signal goes to living children only.
//! - P7  In a shutdown somebody who lives is awaited, until the machine leaves: those whom the state waits for, and
//!   nobody else. When all of them have ended the machine moves on. The clocks of the reports run all the while.

mod accept;
mod action;
mod advance;
mod awaited;
mod child;
mod crash;
mod event;
mod maybe_start;
mod pmdie;
mod reaper;
mod sigusr1;
mod step;

#[cfg(test)]
mod scripts;
#[cfg(test)]
mod walk;

use std::fmt;

pub use action::{Action, Message, QuitReason, Signal, Target};
pub use child::{BackendClasses, ChildExit, ChildKind, Children};
pub use event::{ArchiveMode, Event, Request, Settings, ShutdownMode, Timer};

/// Where the cluster is in its life. C: `PMState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PmState {
    /// Nothing but the logger, perhaps.
    Init,
    /// The startup process runs and has not begun to redo.
    Startup,
    /// It redoes WAL.
    Recovery,
    /// It redoes WAL and read-only sessions run.
    HotStandby,
    /// Normal running.
    Run,
    /// Background processes and sessions are about to be told to end. Passed through within one step.
    StopBackends,
    /// Waiting for them.
    WaitBackends,
    /// The checkpointer writes the shutdown checkpoint.
    Shutdown,
    /// Archiver and walsenders bring away the last WAL.
    Shutdown2,
    /// Nobody left but sessions that never began, and processes without shared memory.
    WaitDeadEnd,
    /// Nobody left: leave, or begin anew. Passed through within one step, except at the very end.
    NoChildren,
}

impl fmt::Display for PmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PmState::Init => "PM_INIT",
            PmState::Startup => "PM_STARTUP",
            PmState::Recovery => "PM_RECOVERY",
            PmState::HotStandby => "PM_HOT_STANDBY",
            PmState::Run => "PM_RUN",
            PmState::StopBackends => "PM_STOP_BACKENDS",
            PmState::WaitBackends => "PM_WAIT_BACKENDS",
            PmState::Shutdown => "PM_SHUTDOWN",
            PmState::Shutdown2 => "PM_SHUTDOWN_2",
            PmState::WaitDeadEnd => "PM_WAIT_DEAD_END",
            PmState::NoChildren => "PM_NO_CHILDREN",
        })
    }
}

/// What is known of the startup process. C: `StartupStatusEnum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StartupStatus {
    /// None, and none missing.
    NotRunning,
    /// At work.
    Running,
    /// We told it to quit, so that its bad end means nothing.
    Signaled,
    /// It failed by itself: starting another would fail again. C of old: `RecoveryError`.
    Crashed,
}

/// The grace period of children that have been told to quit. C: `AbortStartTime`, and its being reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum KillClock {
    /// Nobody has been told to quit.
    Off,
    /// [`Timer::KillClock`] runs.
    Running,
    /// It went off and all were sent SIGKILL. No child is forked any more, since nobody would end it.
    WentOff,
}

/// The state of the postmaster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    state: PmState,
    shutdown: ShutdownMode,
    /// A crash happened and the recovery after it has not come far yet. C: `FatalError`.
    fatal_error: bool,
    /// All children have been sent SIGQUIT. PostgreSQL derives this from `FatalError` and `Shutdown`, but
    /// `FatalError` stays set for the first part of the recovery after a crash, when the new children have
    /// been told nothing; a stop or a second crash at that moment would then wait for them in vain.
    quitting: bool,
    startup_status: StartupStatus,
    kill_clock: KillClock,
    children: Children,
    /// Run one launcher even with autovacuum turned off. C: `start_autovac_launcher`.
    autovac_launcher_requested: bool,
    /// C: `WalReceiverRequested`.
    wal_receiver_requested: bool,
    /// The timer of the last start has gone off. C: `last_pgarch_start_time`.
    archiver_may_start: bool,
    /// The same for the stats collector. C: `last_pgstat_start_time`.
    stats_collector_may_start: bool,
    /// [`Timer::SmartBound`] runs.
    smart_bound_runs: bool,
    /// What the driver was last told about its listening sockets.
    listening: bool,
    /// [`Action::Exit`] has been given.
    exited: bool,
    settings: Settings,
    /// Actions of the step under way; empty between steps.
    out: Vec<Action>,
}

impl Machine {
    /// A postmaster that has done nothing yet.
    pub fn new(settings: Settings) -> Machine {
        Machine {
            state: PmState::Init,
            shutdown: ShutdownMode::None,
            fatal_error: false,
            quitting: false,
            startup_status: StartupStatus::NotRunning,
            kill_clock: KillClock::Off,
            children: Children::default(),
            autovac_launcher_requested: false,
            wal_receiver_requested: false,
            archiver_may_start: true,
            stats_collector_may_start: true,
            smart_bound_runs: false,
            listening: false,
            exited: false,
            settings,
            out: Vec::new(),
        }
    }

    /// Where the cluster is in its life.
    pub fn state(&self) -> PmState {
        self.state
    }

    /// The shutdown under way.
    pub fn shutdown(&self) -> ShutdownMode {
        self.shutdown
    }

    /// Who lives.
    pub fn children(&self) -> &Children {
        &self.children
    }

    /// Whether client sessions may begin, as far as shutdown requests go. C: `connsAllowed`.
    pub fn conns_allowed(&self) -> bool {
        self.shutdown == ShutdownMode::None
    }

    /// Whether the next decision may depend on which sessions are walsenders, which only shared memory
    /// knows. C asks for each child each time it counts or signals them.
    pub fn walsenders_matter(&self, event: &Event) -> bool {
        self.shutdown != ShutdownMode::None || matches!(event, Event::Shutdown(_))
    }

    fn emit(&mut self, action: Action) {
        self.out.push(action);
    }

    fn enter(&mut self, to: PmState) {
        let from = self.state;
        if from != to {
            self.state = to;
            self.emit(Action::EnterState { from, to });
            let clients_may_stay = matches!(to, PmState::HotStandby | PmState::Run);
            if self.smart_bound_runs && !clients_may_stay {
                self.smart_bound_runs = false;
                self.emit(Action::StopTimer(Timer::SmartBound));
            }
        }
    }

    fn log(&mut self, message: Message) {
        self.emit(Action::Log(message));
    }

    fn has(&self, kind: ChildKind) -> bool {
        self.children.has(kind)
    }

    fn fork(&mut self, kind: ChildKind) {
        self.children.add(kind);
        self.emit(Action::Fork(kind));
    }

    /// Signals the process of a singleton kind, if there is one.
    fn signal(&mut self, kind: ChildKind, signal: Signal) {
        if self.has(kind) {
            self.emit(Action::Signal { to: Target::Child(kind), signal });
        }
    }

    /// Signals all of some classes, if there is one.
    fn signal_backends(&mut self, classes: BackendClasses, signal: Signal) {
        if self.children.count_classes(classes) > 0 {
            self.emit(Action::Signal { to: Target::Backends(classes), signal });
        }
    }
}
