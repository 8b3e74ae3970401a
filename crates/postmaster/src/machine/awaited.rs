//! Whom a state waits for: the rule by which the machine moves on, and what a stop reports.
//!
//! The two are one rule on purpose. [`Machine::awaited`] cannot name a process that nobody waits for, nor keep silent
//! about one that holds up the stop, since the transitions of `advance` ask the same question.

use stopreport::Phase;

use super::{Action, BackendClasses, ChildKind, Machine, Message, PmState, ShutdownMode, Signal, Timer};

impl Machine {
    /// How far the stop under way has come; `None` if there is none.
    pub fn phase(&self) -> Option<Phase> {
        if self.shutdown == ShutdownMode::None {
            return None;
        }
        Some(match self.state {
            // A stop leaves the first two at once.
            PmState::Startup | PmState::Recovery | PmState::HotStandby | PmState::Run => Phase::Sessions,
            PmState::StopBackends | PmState::WaitBackends => Phase::Processes,
            PmState::Shutdown => Phase::Checkpoint,
            PmState::Shutdown2 => Phase::Wal,
            PmState::Init | PmState::WaitDeadEnd | PmState::NoChildren => Phase::Leaving,
        })
    }

    /// The kinds of children that live and that the stop under way waits for at present, in the order of the roster;
    /// none if there is no stop.
    pub fn awaited(&self) -> Vec<ChildKind> {
        if self.shutdown == ShutdownMode::None {
            return Vec::new();
        }
        ChildKind::ALL.into_iter().filter(|kind| self.has(*kind) && self.waits_for(*kind)).collect()
    }

    /// Whether nobody whom the present state waits for lives.
    pub(super) fn nobody_is_awaited(&self) -> bool {
        !ChildKind::ALL.into_iter().any(|kind| self.has(kind) && self.waits_for(kind))
    }

    /// Whether the present state ends only when no child of this kind lives. What is asked of a state that passes or that
    /// waits for something else means nothing.
    fn waits_for(&self, kind: ChildKind) -> bool {
        match self.state {
            // A smart stop. Walsenders and workers are not waited for.
            PmState::HotStandby | PmState::Run => BackendClasses::NORMAL.contains(kind),
            PmState::WaitBackends => self.wait_backends_waits_for(kind),
            PmState::Shutdown => kind == ChildKind::Checkpointer,
            PmState::Shutdown2 => kind == ChildKind::Archiver || BackendClasses::ALL.contains(kind),
            // The logger ends by itself when the last writer of its pipe has gone.
            PmState::WaitDeadEnd => kind != ChildKind::Logger,
            PmState::Init
            | PmState::Startup
            | PmState::Recovery
            | PmState::StopBackends
            | PmState::NoChildren => false,
        }
    }

    /// Walsenders, archiver and stats collector come later, dead ends last; the checkpointer is waited for only if it has
    /// been told to quit like the others.
    fn wait_backends_waits_for(&self, kind: ChildKind) -> bool {
        match kind {
            ChildKind::Startup
            | ChildKind::BgWriter
            | ChildKind::WalWriter
            | ChildKind::WalReceiver
            | ChildKind::AutovacLauncher
            | ChildKind::AutovacWorker
            | ChildKind::Backend => true,
            ChildKind::Checkpointer => self.quitting,
            ChildKind::Logger
            | ChildKind::Archiver
            | ChildKind::StatsCollector
            | ChildKind::WalSender
            | ChildKind::DeadEnd => false,
        }
    }

    /// A stop has been ordered, by whomever. The first order starts the clocks of its reports, which run until the end.
    pub(super) fn order_stop(&mut self, mode: ShutdownMode) {
        if self.shutdown == ShutdownMode::None {
            self.emit(Action::StartTimer(Timer::StopStatus));
            self.emit(Action::StartTimer(Timer::StopLog));
        }
        self.shutdown = self.shutdown.max(mode);
    }

    /// One of those clocks: `report`, and again later.
    pub(super) fn report_is_due(&mut self, timer: Timer, report: Action) {
        if self.shutdown != ShutdownMode::None {
            self.emit(report);
            // Behind it, so that the time between two reports does not shrink when one takes long.
            self.emit(Action::StartTimer(timer));
        }
    }

    /// The stop has a deadline, or an earlier one than before. Archiver and walsenders read it in shared memory, and may be
    /// asleep.
    pub(super) fn bounded(&mut self) {
        if self.shutdown == ShutdownMode::None {
            return;
        }
        if self.phase() == Some(Phase::Sessions) {
            self.smart_bound_runs = true;
            self.emit(Action::StartTimer(Timer::SmartBound));
        }
        self.signal(ChildKind::Archiver, Signal::Usr1);
        self.signal_backends(BackendClasses::WALSENDERS, Signal::Usr1);
    }

    /// The clients had their part of the time.
    pub(super) fn smart_bound_went_off(&mut self) {
        self.smart_bound_runs = false;
        if self.phase() != Some(Phase::Sessions) {
            return;
        }
        self.log(Message::SmartBecomesFast { clients: self.children.count(ChildKind::Backend) });
        self.shutdown = ShutdownMode::Fast;
        self.fast();
        self.advance();
    }
}
