//! Connections: who may come in, and what becomes of the others. C: `canAcceptConnections`.

use miscinit::child::CanAccept;

use super::{Action, BackendClasses, ChildKind, KillClock, Machine, PmState, ShutdownMode};

impl Machine {
    /// Whether a session (or a worker, which asks by the same rules) may begin. C: `canAcceptConnections`.
    pub fn can_accept(&self, kind: ChildKind) -> CanAccept {
        match self.state {
            PmState::Run | PmState::HotStandby => {
                // A smart shutdown still lets workers begin: it waits for sessions, which may need them.
                if !self.conns_allowed() && kind == ChildKind::Backend {
                    return CanAccept::Shutdown;
                }
            }
            PmState::Init
            | PmState::Startup
            | PmState::Recovery
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => return self.why_not(),
        }
        if self.children.count_classes(BackendClasses::ALL) >= self.settings.max_live_children {
            return CanAccept::TooMany;
        }
        CanAccept::Ok
    }

    /// The reason outside of normal running.
    fn why_not(&self) -> CanAccept {
        if self.shutdown > ShutdownMode::None {
            return CanAccept::Shutdown;
        }
        match self.state {
            PmState::Startup if !self.fatal_error => CanAccept::Startup,
            PmState::Recovery if !self.fatal_error => CanAccept::NotConsistent,
            PmState::Init
            | PmState::Startup
            | PmState::Recovery
            | PmState::HotStandby
            | PmState::Run
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => CanAccept::Recovery,
        }
    }

    /// A client was accepted. Even a refusal needs a process: reading a start-up packet may block.
    pub(super) fn connection(&mut self) {
        match self.state {
            PmState::Init | PmState::WaitDeadEnd | PmState::NoChildren => self.emit(Action::RefuseConnection),
            PmState::Startup
            | PmState::Recovery
            | PmState::HotStandby
            | PmState::Run
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2 => {
                if self.kill_clock == KillClock::WentOff {
                    self.emit(Action::RefuseConnection);
                    return;
                }
                let verdict = self.can_accept(ChildKind::Backend);
                let kind = if verdict == CanAccept::Ok { ChildKind::Backend } else { ChildKind::DeadEnd };
                self.children.add(kind);
                self.emit(Action::ForkForConnection(verdict));
            }
        }
    }

    /// A session's start-up packet asked for replication. A smart shutdown does not wait for it any more.
    pub(super) fn became_wal_sender(&mut self) {
        if self.children.remove(ChildKind::Backend) {
            self.children.add(ChildKind::WalSender);
            self.advance();
        }
    }
}
