//! Shutdown requests. C: `pmdie`.

use common::pidfile::PidFileStatus;

use super::{Action, Machine, Message, PmState, QuitReason, ShutdownMode};

impl Machine {
    /// Takes a request unless an equal or more urgent one is under way, which is ignored without a word.
    pub(super) fn pmdie(&mut self, mode: ShutdownMode) {
        if mode <= self.shutdown {
            return;
        }
        self.log(Message::ReceivedShutdown(mode));
        self.order_stop(mode);
        self.emit(Action::SetPidFileStatus(PidFileStatus::Stopping));
        match mode {
            ShutdownMode::None => {}
            ShutdownMode::Smart => self.smart(),
            ShutdownMode::Fast => self.fast(),
            ShutdownMode::Immediate => self.immediate(),
        }
        self.advance();
    }

    fn smart(&mut self) {
        match self.state {
            // Nothing runs yet.
            PmState::Init => self.enter(PmState::NoChildren),
            // There can be no sessions to wait for.
            PmState::Startup | PmState::Recovery => self.enter(PmState::StopBackends),
            // From here on `conns_allowed` is false; `advance` goes on when the last session has left.
            PmState::HotStandby | PmState::Run => {}
            // Already on the way down.
            PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => {}
        }
    }

    pub(super) fn fast(&mut self) {
        match self.state {
            PmState::Init => self.enter(PmState::NoChildren),
            PmState::Startup | PmState::Recovery => self.enter(PmState::StopBackends),
            PmState::HotStandby | PmState::Run => {
                self.log(Message::AbortingTransactions);
                self.enter(PmState::StopBackends);
            }
            PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => {}
        }
    }

    /// PostgreSQL goes to PM_WAIT_BACKENDS from any state. From the two states behind it there is nothing
    /// in it to wait for, so we do not step back; `advance` would come here again anyway.
    fn immediate(&mut self) {
        self.quit_all_children(QuitReason::ForStop);
        match self.state {
            PmState::Init => self.enter(PmState::NoChildren),
            PmState::Startup
            | PmState::Recovery
            | PmState::HotStandby
            | PmState::Run
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2 => self.enter(PmState::WaitBackends),
            PmState::WaitDeadEnd | PmState::NoChildren => {}
        }
        self.start_kill_clock();
    }
}
