//! The kinds of children as the state machine counts them, and how a child can end.

use std::borrow::Cow;
use std::fmt;

use common::BackendType;

/// A kind of child. Finer than [`BackendType`] in one place: a session that will only be told why it may
/// not begin is a [`ChildKind::DeadEnd`], because nothing but the very last state waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "each is the process of that name; the two that need a word have one")]
pub enum ChildKind {
    Logger,
    Startup,
    Checkpointer,
    BgWriter,
    WalWriter,
    WalReceiver,
    AutovacLauncher,
    Archiver,
    StatsCollector,
    AutovacWorker,
    Backend,
    /// Forked as a [`ChildKind::Backend`]; its start-up packet asked for replication.
    WalSender,
    /// A connection that is answered with a FATAL and closed. C: `bp->dead_end`.
    DeadEnd,
}

impl ChildKind {
    /// Every kind, in declaration order.
    pub const ALL: [ChildKind; 13] = [
        ChildKind::Logger,
        ChildKind::Startup,
        ChildKind::Checkpointer,
        ChildKind::BgWriter,
        ChildKind::WalWriter,
        ChildKind::WalReceiver,
        ChildKind::AutovacLauncher,
        ChildKind::Archiver,
        ChildKind::StatsCollector,
        ChildKind::AutovacWorker,
        ChildKind::Backend,
        ChildKind::WalSender,
        ChildKind::DeadEnd,
    ];

    /// Whether at most one process of this kind may exist.
    pub fn is_singleton(self) -> bool {
        !BackendClasses::WITH_DEAD_ENDS.contains(self)
    }

    /// Whether it occupies a child slot in shared memory. C: `PMChildSlot`.
    pub fn has_child_slot(self) -> bool {
        BackendClasses::ALL.contains(self)
    }

    /// The kind as the rest of the server knows it.
    pub fn backend_type(self) -> BackendType {
        match self {
            ChildKind::Logger => BackendType::Logger,
            ChildKind::Startup => BackendType::Startup,
            ChildKind::Checkpointer => BackendType::Checkpointer,
            ChildKind::BgWriter => BackendType::BgWriter,
            ChildKind::WalWriter => BackendType::WalWriter,
            ChildKind::WalReceiver => BackendType::WalReceiver,
            ChildKind::AutovacLauncher => BackendType::AutovacLauncher,
            ChildKind::Archiver => BackendType::Archiver,
            ChildKind::StatsCollector => BackendType::StatsCollector,
            ChildKind::AutovacWorker => BackendType::AutovacWorker,
            ChildKind::WalSender => BackendType::WalSender,
            ChildKind::Backend | ChildKind::DeadEnd => BackendType::Backend,
        }
    }

    /// The word golden scripts use.
    pub fn word(self) -> &'static str {
        match self {
            ChildKind::Logger => "logger",
            ChildKind::Startup => "startup",
            ChildKind::Checkpointer => "checkpointer",
            ChildKind::BgWriter => "bgwriter",
            ChildKind::WalWriter => "walwriter",
            ChildKind::WalReceiver => "walreceiver",
            ChildKind::AutovacLauncher => "launcher",
            ChildKind::Archiver => "archiver",
            ChildKind::StatsCollector => "stats",
            ChildKind::AutovacWorker => "worker",
            ChildKind::Backend => "backend",
            ChildKind::WalSender => "walsender",
            ChildKind::DeadEnd => "dead-end",
        }
    }
}

/// A set of the kinds that can exist many times. C: the `BACKEND_TYPE_*` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendClasses(u8);

impl BackendClasses {
    const WORKER: u8 = 1;
    const BACKEND: u8 = 2;
    const WALSENDER: u8 = 4;
    const DEAD_END: u8 = 8;

    /// Client sessions. C: `BACKEND_TYPE_NORMAL`.
    pub const NORMAL: BackendClasses = BackendClasses(Self::BACKEND);
    /// C: `BACKEND_TYPE_WALSND`.
    pub const WALSENDERS: BackendClasses = BackendClasses(Self::WALSENDER);
    /// Sessions and workers. C: `BACKEND_TYPE_ALL - BACKEND_TYPE_WALSND`.
    pub const ALL_BUT_WALSENDERS: BackendClasses = BackendClasses(Self::WORKER | Self::BACKEND);
    /// All that hold a child slot. C: `BACKEND_TYPE_ALL`.
    pub const ALL: BackendClasses = BackendClasses(Self::WORKER | Self::BACKEND | Self::WALSENDER);
    /// The whole list of backends. C: everything in `BackendList`.
    pub const WITH_DEAD_ENDS: BackendClasses = BackendClasses(Self::ALL.0 | Self::DEAD_END);

    /// The kinds in the set.
    pub fn kinds(self) -> impl Iterator<Item = ChildKind> {
        [ChildKind::AutovacWorker, ChildKind::Backend, ChildKind::WalSender, ChildKind::DeadEnd]
            .into_iter()
            .filter(move |kind| self.contains(*kind))
    }

    /// Whether `kind` is in the set; singletons never are.
    pub fn contains(self, kind: ChildKind) -> bool {
        let bit = match kind {
            ChildKind::AutovacWorker => Self::WORKER,
            ChildKind::Backend => Self::BACKEND,
            ChildKind::WalSender => Self::WALSENDER,
            ChildKind::DeadEnd => Self::DEAD_END,
            ChildKind::Logger
            | ChildKind::Startup
            | ChildKind::Checkpointer
            | ChildKind::BgWriter
            | ChildKind::WalWriter
            | ChildKind::WalReceiver
            | ChildKind::AutovacLauncher
            | ChildKind::Archiver
            | ChildKind::StatsCollector => 0,
        };
        self.0 & bit != 0
    }
}

/// How many children of each kind live. The machine needs no more than that: pids and slots are the
/// driver's, which keeps the state small enough to be enumerated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Children {
    counts: [u32; ChildKind::ALL.len()],
}

impl Children {
    /// Number of live children of a kind.
    pub fn count(&self, kind: ChildKind) -> u32 {
        self.counts[kind as usize]
    }

    /// Whether at least one lives.
    pub fn has(&self, kind: ChildKind) -> bool {
        self.count(kind) > 0
    }

    /// Number of live children of some classes. C: `CountChildren`.
    pub fn count_classes(&self, classes: BackendClasses) -> u32 {
        classes.kinds().map(|kind| self.count(kind)).sum()
    }

    pub(super) fn add(&mut self, kind: ChildKind) {
        let count = &mut self.counts[kind as usize];
        *count += 1;
        assert!(*count == 1 || !kind.is_singleton(), "a second {} was started", kind.word());
    }

    /// False if none of this kind was known.
    pub(super) fn remove(&mut self, kind: ChildKind) -> bool {
        let count = &mut self.counts[kind as usize];
        let known = *count > 0;
        *count -= u32::from(known);
        known
    }
}

/// How a child ended. C: the `wait` status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChildExit {
    /// It called exit.
    Code(i32),
    /// A signal killed it.
    Signal(i32),
    /// It ended well but left its child slot marked in use, so what else it left behind is unknown.
    /// Carries the exit code. C: `ReleasePostmasterChildSlot` returning false.
    SlotNotReleased(i32),
}

impl fmt::Display for ChildExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildExit::Code(code) | ChildExit::SlotNotReleased(code) => {
                write!(f, "exited with exit code {code}")
            }
            ChildExit::Signal(signal) => {
                write!(f, "was terminated by signal {signal}: {}", signal_text(*signal))
            }
        }
    }
}

/// What glibc's `strsignal` says, which is what PostgreSQL's log shows.
fn signal_text(signal: i32) -> Cow<'static, str> {
    const TEXTS: [&str; 32] = [
        "Unknown signal 0",
        "Hangup",
        "Interrupt",
        "Quit",
        "Illegal instruction",
        "Trace/breakpoint trap",
        "Aborted",
        "Bus error",
        "Floating point exception",
        "Killed",
        "User defined signal 1",
        "Segmentation fault",
        "User defined signal 2",
        "Broken pipe",
        "Alarm clock",
        "Terminated",
        "Stack fault",
        "Child exited",
        "Continued",
        "Stopped (signal)",
        "Stopped",
        "Stopped (tty input)",
        "Stopped (tty output)",
        "Urgent I/O condition",
        "CPU time limit exceeded",
        "File size limit exceeded",
        "Virtual timer expired",
        "Profiling timer expired",
        "Window changed",
        "I/O possible",
        "Power failure",
        "Bad system call",
    ];
    match usize::try_from(signal) {
        Ok(number) if number < TEXTS.len() => TEXTS[number].into(),
        Ok(number @ FIRST_REAL_TIME..=64) => format!("Real-time signal {}", number - FIRST_REAL_TIME).into(),
        Ok(_) | Err(_) => format!("Unknown signal {signal}").into(),
    }
}

/// The C library keeps 32 and 33 for itself.
const FIRST_REAL_TIME: usize = 34;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_texts_of_signals() {
        let text = |signal| ChildExit::Signal(signal).to_string();
        assert_eq!(text(9), "was terminated by signal 9: Killed");
        assert_eq!(text(31), "was terminated by signal 31: Bad system call");
        assert_eq!(text(35), "was terminated by signal 35: Real-time signal 1");
        assert_eq!(text(99), "was terminated by signal 99: Unknown signal 99");
    }
}
