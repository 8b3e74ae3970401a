//! Children that should run and do not. C: the `MaybeStart*` part of `ServerLoop`.

use super::{Action, ArchiveMode, ChildKind, Machine, Message, PmState, QuitReason, Timer};

impl Machine {
    /// Starts whatever the state calls for and is missing, in the order of the roster.
    pub(super) fn maybe_start_children(&mut self) {
        self.maybe_start_logger();
        match self.state {
            PmState::Startup | PmState::Recovery => {
                self.maybe_start_recovery_helpers();
                self.maybe_start_archiver();
                self.maybe_start_wal_receiver();
            }
            PmState::HotStandby => {
                self.maybe_start_recovery_helpers();
                self.maybe_start_archiver();
                self.maybe_start_stats_collector();
                self.maybe_start_wal_receiver();
            }
            PmState::Run => {
                self.maybe_start_recovery_helpers();
                self.maybe_start(ChildKind::WalWriter);
                self.maybe_start_autovac_launcher();
                self.maybe_start_archiver();
                self.maybe_start_stats_collector();
            }
            PmState::Init
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => {}
        }
    }

    /// Checkpointer and writer: recovery needs them as much as normal running does.
    pub(super) fn maybe_start_recovery_helpers(&mut self) {
        self.maybe_start(ChildKind::Checkpointer);
        self.maybe_start(ChildKind::BgWriter);
    }

    pub(super) fn maybe_start(&mut self, kind: ChildKind) {
        if !self.has(kind) {
            self.fork(kind);
        }
    }

    fn maybe_start_logger(&mut self) {
        // Before the start proper, StartLogger says when.
        if self.settings.logging_collector && self.state != PmState::Init {
            self.maybe_start(ChildKind::Logger);
        }
    }

    fn maybe_start_autovac_launcher(&mut self) {
        let wanted = self.settings.autovacuum || self.autovac_launcher_requested;
        if wanted && !self.has(ChildKind::AutovacLauncher) {
            self.fork(ChildKind::AutovacLauncher);
            self.autovac_launcher_requested = false;
        }
    }

    /// C: `PgArchStartupAllowed`, `PgArchCanRestart`.
    fn maybe_start_archiver(&mut self) {
        let wanted = match self.settings.archive_mode {
            ArchiveMode::Off => false,
            ArchiveMode::On => self.state == PmState::Run,
            ArchiveMode::Always => self.state != PmState::Startup,
        };
        if wanted && self.archiver_may_start && !self.has(ChildKind::Archiver) {
            self.archiver_may_start = false;
            self.fork(ChildKind::Archiver);
            self.emit(Action::StartTimer(Timer::ArchiverRestart));
        }
    }

    /// C: `pgstat_start`.
    fn maybe_start_stats_collector(&mut self) {
        if self.stats_collector_may_start && !self.has(ChildKind::StatsCollector) {
            self.stats_collector_may_start = false;
            self.fork(ChildKind::StatsCollector);
            self.emit(Action::StartTimer(Timer::StatsCollectorRestart));
        }
    }

    /// C: `MaybeStartWalReceiver`.
    fn maybe_start_wal_receiver(&mut self) {
        if self.wal_receiver_requested && !self.has(ChildKind::WalReceiver) {
            self.wal_receiver_requested = false;
            self.fork(ChildKind::WalReceiver);
        }
    }

    /// A fork did not happen. Most are tried again by themselves, since the child is missing.
    pub(super) fn fork_failed(&mut self, kind: ChildKind, errno: i32) {
        if !self.children.remove(kind) {
            return;
        }
        self.log(Message::CouldNotFork { kind, errno });
        match kind {
            ChildKind::Startup => {
                // Without it nothing can begin. PostgreSQL leaves at once; we take the others along.
                self.startup_failed();
                if !self.quitting {
                    self.begin_crash_restart();
                }
            }
            ChildKind::Checkpointer => self.checkpointer_missing(),
            ChildKind::AutovacLauncher => self.autovac_launcher_requested = !self.settings.autovacuum,
            ChildKind::AutovacWorker => self.autovac_worker_failed(),
            ChildKind::WalReceiver => self.wal_receiver_requested = self.recovery_is_running(),
            ChildKind::Logger
            | ChildKind::BgWriter
            | ChildKind::WalWriter
            | ChildKind::Archiver
            | ChildKind::StatsCollector
            | ChildKind::Backend
            | ChildKind::WalSender
            | ChildKind::DeadEnd => {}
        }
        self.advance();
    }

    /// Nobody there to write the shutdown checkpoint: the next start has to recover.
    fn checkpointer_missing(&mut self) {
        match self.state {
            PmState::Shutdown => {
                self.fatal_error = true;
                self.quit_all_children(QuitReason::ForStop);
                self.enter(PmState::WaitDeadEnd);
                self.start_kill_clock();
            }
            PmState::Init
            | PmState::Startup
            | PmState::Recovery
            | PmState::HotStandby
            | PmState::Run
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => {}
        }
    }
}
