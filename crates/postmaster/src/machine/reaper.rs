//! A child ended. C: `reaper`, `CleanupBackend`.

use common::pidfile::PidFileStatus;

use super::{Action, BackendClasses, ChildExit, ChildKind, Machine, Message, PmState};
use super::{ShutdownMode, Signal, StartupStatus};

impl Machine {
    pub(super) fn reaper(&mut self, kind: ChildKind, pid: i32, exit: ChildExit, activity: Option<String>) {
        if !self.children.remove(kind) {
            return;
        }
        match (kind, exit) {
            (ChildKind::Startup, _) => self.startup_exited(pid, exit),

            (ChildKind::Checkpointer, ChildExit::Code(0)) if self.state == PmState::Shutdown => {
                self.shutdown_checkpoint_done();
            }
            (ChildKind::Checkpointer, _) => self.handle_child_crash(kind, pid, exit, activity),

            // They end like this when told to, and are started again if they are still needed.
            (ChildKind::BgWriter | ChildKind::WalWriter | ChildKind::AutovacLauncher, ChildExit::Code(0)) => {
            }
            (ChildKind::BgWriter | ChildKind::WalWriter | ChildKind::AutovacLauncher, _) => {
                self.handle_child_crash(kind, pid, exit, activity);
            }

            // No failure: the primary went away, a client left, a FATAL was reported.
            (
                ChildKind::WalReceiver
                | ChildKind::AutovacWorker
                | ChildKind::Backend
                | ChildKind::WalSender
                | ChildKind::DeadEnd,
                ChildExit::Code(0 | 1),
            ) => {}
            (
                ChildKind::WalReceiver
                | ChildKind::AutovacWorker
                | ChildKind::Backend
                | ChildKind::WalSender
                | ChildKind::DeadEnd,
                _,
            ) => self.handle_child_crash(kind, pid, exit, activity),

            // These two hold nothing in shared memory: whatever befell them, the others are sound.
            (ChildKind::Archiver | ChildKind::StatsCollector, ChildExit::Code(0)) => {}
            (ChildKind::Archiver | ChildKind::StatsCollector, _) if self.quitting => {}
            (ChildKind::Archiver | ChildKind::StatsCollector, _) => {
                self.log(Message::ChildExited { kind, pid, exit, activity: None });
            }

            (ChildKind::Logger, _) => self.logger_exited(pid, exit),
        }
        self.advance();
    }

    /// A new logger first, so that the line about the old one has somewhere to go.
    fn logger_exited(&mut self, pid: i32, exit: ChildExit) {
        if self.settings.logging_collector {
            self.fork(ChildKind::Logger);
        }
        if exit != ChildExit::Code(0) {
            self.log(Message::ChildExited { kind: ChildKind::Logger, pid, exit, activity: None });
        }
    }

    /// The shutdown checkpoint is in WAL; archiver and walsenders still have to bring it away.
    fn shutdown_checkpoint_done(&mut self) {
        self.signal(ChildKind::Archiver, Signal::Usr2);
        self.signal_backends(BackendClasses::ALL, Signal::Usr2);
        self.enter(PmState::Shutdown2);
        // Nobody is left whose counters it could collect.
        self.signal(ChildKind::StatsCollector, Signal::Quit);
    }

    fn startup_exited(&mut self, pid: i32, exit: ChildExit) {
        self.startup_status = match self.startup_status {
            StartupStatus::Crashed => StartupStatus::Crashed,
            StartupStatus::NotRunning | StartupStatus::Running | StartupStatus::Signaled => {
                StartupStatus::NotRunning
            }
        };
        if self.quitting {
            // It was told to. Had it just finished, the crash that made us tell it would still count:
            // PostgreSQL goes on to PM_RUN here, with processes around it that have been told to quit.
            return;
        }
        match exit {
            ChildExit::Code(0) => self.recovery_done(),
            ChildExit::Code(1) if self.shutting_down() => self.recovery_given_up(),
            ChildExit::Code(3) => {
                self.log(Message::ShutdownAtRecoveryTarget);
                self.order_stop(ShutdownMode::Smart);
                // It redid WAL up to the target: nothing of an earlier crash is left.
                self.fatal_error = false;
                self.recovery_given_up();
            }
            ChildExit::Code(_) | ChildExit::Signal(_) | ChildExit::SlotNotReleased(_) => {
                self.startup_failed();
                self.handle_child_crash(ChildKind::Startup, pid, exit, None);
            }
        }
    }

    /// Recovery is over: begin normal running, unless a shutdown has come first.
    fn recovery_done(&mut self) {
        match self.state {
            PmState::Startup | PmState::Recovery | PmState::HotStandby => {
                self.fatal_error = false;
                self.wal_receiver_requested = false;
                self.enter(PmState::Run);
                self.maybe_start_children();
                // A promotion during a smart shutdown: sessions are still waited for, no new ones come.
                if self.conns_allowed() {
                    self.log(Message::ReadyForConnections);
                    self.emit(Action::SetPidFileStatus(PidFileStatus::Ready));
                }
            }
            PmState::WaitBackends => {}
            PmState::Init
            | PmState::Run
            | PmState::StopBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => {}
        }
    }

    /// Recovery ended before its end because of a shutdown.
    fn recovery_given_up(&mut self) {
        match self.state {
            PmState::Startup | PmState::Recovery | PmState::HotStandby => self.enter(PmState::StopBackends),
            PmState::WaitBackends => {}
            PmState::Init
            | PmState::Run
            | PmState::StopBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => {}
        }
    }
}
