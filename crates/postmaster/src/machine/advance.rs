//! The transitions that no single event causes. Whom each state waits for is in `awaited`.
//! C: `PostmasterStateMachine`.

use super::{
    Action, BackendClasses, ChildKind, Machine, Message, PmState, ShutdownMode, Signal, StartupStatus,
};

impl Machine {
    /// Moves on as far as the children that are left allow. The order of the rules is the order of the
    /// states, so that several may apply in one step.
    pub(super) fn advance(&mut self) {
        if self.smart_shutdown_may_go_on() {
            self.enter(PmState::StopBackends);
        }
        if self.state == PmState::StopBackends {
            self.stop_backends();
        }
        if self.state == PmState::WaitBackends && self.nobody_is_awaited() {
            if self.quitting {
                self.enter(PmState::WaitDeadEnd);
            } else {
                self.start_shutdown_checkpoint();
            }
        }
        if self.state == PmState::Shutdown2 && self.nobody_is_awaited() {
            self.enter(PmState::WaitDeadEnd);
        }
        if self.state == PmState::WaitDeadEnd && self.nobody_is_awaited() {
            self.enter(PmState::NoChildren);
        }
        if self.state == PmState::NoChildren {
            self.no_children();
        }
    }

    /// The last session has left.
    fn smart_shutdown_may_go_on(&self) -> bool {
        match self.state {
            PmState::Run | PmState::HotStandby => !self.conns_allowed() && self.nobody_is_awaited(),
            PmState::Init
            | PmState::Startup
            | PmState::Recovery
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => false,
        }
    }

    /// Nobody is left but the logger.
    fn no_children(&mut self) {
        if self.shutdown > ShutdownMode::None {
            if self.fatal_error {
                self.log(Message::AbnormalShutdown);
                self.exit_postmaster(1);
            } else {
                self.exit_postmaster(0);
            }
        } else if self.startup_status == StartupStatus::Crashed {
            self.log(Message::StartupProcessFailed);
            self.exit_postmaster(1);
        } else if !self.settings.restart_after_crash {
            self.log(Message::RestartAfterCrashIsOff);
            self.exit_postmaster(1);
        } else {
            self.reinitialize();
        }
    }

    /// After a crash, with nobody left. C: the end of `PostmasterStateMachine`.
    pub(super) fn reinitialize(&mut self) {
        self.log(Message::Reinitializing);
        if self.settings.remove_temp_files_after_crash {
            self.emit(Action::RemoveTempFiles);
        }
        self.emit(Action::ResetSharedMemory);
        self.quitting = false;
        self.stop_kill_clock();
        self.enter(PmState::Startup);
        self.fork(ChildKind::Startup);
        self.startup_status = StartupStatus::Running;
    }

    /// The background processes and sessions are told to end; those that bring WAL away are not.
    pub(super) fn stop_backends(&mut self) {
        self.forget_requests();
        self.signal_backends(BackendClasses::ALL_BUT_WALSENDERS, Signal::Term);
        for kind in [
            ChildKind::AutovacLauncher,
            ChildKind::BgWriter,
            ChildKind::WalWriter,
            ChildKind::Startup,
            ChildKind::WalReceiver,
        ] {
            self.signal(kind, Signal::Term);
        }
        self.enter(PmState::WaitBackends);
    }

    /// Everyone who writes is gone: the checkpointer may make the last checkpoint.
    pub(super) fn start_shutdown_checkpoint(&mut self) {
        self.enter(PmState::Shutdown);
        self.maybe_start(ChildKind::Checkpointer);
        self.signal(ChildKind::Checkpointer, Signal::Usr2);
    }

    pub(super) fn exit_postmaster(&mut self, code: i32) {
        self.exited = true;
        self.stop_kill_clock();
        self.emit(Action::Exit(code));
    }
}
