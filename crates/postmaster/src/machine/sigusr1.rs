//! What children, and `pg_ctl` through files, ask for. C: `sigusr1_handler`.

use common::pidfile::PidFileStatus;
use miscinit::child::CanAccept;

use super::{Action, ChildKind, Machine, Message, PmState, Request, ShutdownMode, Signal};

impl Machine {
    pub(super) fn sigusr1_handler(&mut self, request: Request) {
        match request {
            Request::RecoveryStarted => self.recovery_started(),
            Request::BeginHotStandby => self.begin_hot_standby(),
            // Without an archiver nothing is lost: the next one looks into the directory first.
            Request::WakenArchiver => self.signal(ChildKind::Archiver, Signal::Usr1),
            Request::RotateLogfile => self.signal(ChildKind::Logger, Signal::Usr1),
            Request::LogrotateFile => {
                // Without a logger the file stays, as a reminder that nothing came of it.
                if self.has(ChildKind::Logger) {
                    self.signal(ChildKind::Logger, Signal::Usr1);
                    self.emit(Action::RemoveLogrotateFile);
                }
            }
            Request::StartAutovacLauncher => {
                // Only noted: the one that asks may be a launcher that is about to end.
                if self.may_start_autovacuum() {
                    self.autovac_launcher_requested = true;
                }
            }
            Request::StartAutovacWorker => self.start_autovac_worker(),
            Request::StartWalReceiver => {
                if self.recovery_is_running() {
                    self.wal_receiver_requested = true;
                }
            }
            Request::AdvanceStateMachine => self.advance(),
            Request::PromoteFile => {
                // The startup process removes the file itself.
                if self.recovery_is_running() {
                    self.signal(ChildKind::Startup, Signal::Usr2);
                }
            }
            Request::ForecastFile => self.emit(Action::WriteForecast),
        }
    }

    /// The request may come late: a quick startup process may have ended before we looked. Then the state
    /// has moved on, and it is ignored.
    fn recovery_started(&mut self) {
        if self.state != PmState::Startup || self.shutdown != ShutdownMode::None {
            return;
        }
        // The new shared memory works so far.
        self.fatal_error = false;
        if !self.settings.hot_standby {
            // Nothing more will come before the end of recovery: `pg_ctl start` need not wait.
            self.emit(Action::SetPidFileStatus(PidFileStatus::Standby));
        }
        self.enter(PmState::Recovery);
    }

    fn begin_hot_standby(&mut self) {
        if self.state != PmState::Recovery || self.shutdown != ShutdownMode::None {
            return;
        }
        self.enter(PmState::HotStandby);
        self.maybe_start_children();
        self.log(Message::ReadyForReadOnlyConnections);
        self.emit(Action::SetPidFileStatus(PidFileStatus::Ready));
    }

    fn start_autovac_worker(&mut self) {
        if !self.may_start_autovacuum() {
            return;
        }
        if self.can_accept(ChildKind::AutovacWorker) == CanAccept::Ok {
            self.fork(ChildKind::AutovacWorker);
        } else {
            self.autovac_worker_failed();
        }
    }

    /// The launcher waits for its worker to take the job; it must learn that none will.
    pub(super) fn autovac_worker_failed(&mut self) {
        if self.has(ChildKind::AutovacLauncher) {
            self.emit(Action::AutovacWorkerFailed);
            self.signal(ChildKind::AutovacLauncher, Signal::Usr2);
        }
    }

    fn may_start_autovacuum(&self) -> bool {
        self.shutdown <= ShutdownMode::Smart && self.state < PmState::StopBackends
    }

    pub(super) fn recovery_is_running(&self) -> bool {
        match self.state {
            PmState::Startup | PmState::Recovery | PmState::HotStandby => true,
            PmState::Init
            | PmState::Run
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => false,
        }
    }
}
