//! One event, dispatched.

use common::pidfile::PidFileStatus;

use super::{
    Action, ChildKind, Event, KillClock, Machine, Message, PmState, Settings, ShutdownMode, Signal, Timer,
};
use super::{BackendClasses, StartupStatus};

impl Machine {
    /// Takes one event and says what is to be done about it, in order. After [`Action::Exit`] nothing is.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        if self.exited {
            return Vec::new();
        }
        let mut retry_forks = true;
        match event {
            Event::StartLogger => self.start_logger(),
            Event::Start => self.start(),
            Event::Shutdown(mode) => self.pmdie(mode),
            Event::Reload => self.reload(),
            Event::NewSettings(settings) => self.new_settings(settings),
            Event::Exited { kind, pid, exit, activity } => self.reaper(kind, pid, exit, activity),
            Event::ForkFailed { kind, errno } => {
                // Trying again at once would fail again. Any later event tries, at the latest the timer that
                // looks at postmaster.pid.
                retry_forks = false;
                self.fork_failed(kind, errno);
            }
            Event::Connection => self.connection(),
            Event::BecameWalSender => self.became_wal_sender(),
            Event::Request(request) => self.sigusr1_handler(request),
            Event::Bounded => self.bounded(),
            Event::Timer(timer) => self.timer(timer),
            Event::LockFileInvalid => {
                self.log(Message::LockFileInvalid);
                self.pmdie(ShutdownMode::Immediate);
            }
        }
        if retry_forks && !self.exited {
            self.maybe_start_children();
        }
        self.update_listening();
        std::mem::take(&mut self.out)
    }

    fn start_logger(&mut self) {
        if self.settings.logging_collector && !self.has(ChildKind::Logger) {
            self.fork(ChildKind::Logger);
        }
    }

    /// The first start. Checkpointer and writer come first so that the startup process finds them.
    fn start(&mut self) {
        match self.state {
            PmState::Init => {
                self.emit(Action::StartTimer(Timer::LockFileRecheck));
                self.emit(Action::StartTimer(Timer::SocketTouch));
                self.emit(Action::SetPidFileStatus(PidFileStatus::Starting));
                self.enter(PmState::Startup);
                self.maybe_start_recovery_helpers();
                self.fork(ChildKind::Startup);
                self.startup_status = StartupStatus::Running;
            }
            // There is one start; what comes after a crash is not an event.
            PmState::Startup
            | PmState::Recovery
            | PmState::HotStandby
            | PmState::Run
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2
            | PmState::WaitDeadEnd
            | PmState::NoChildren => {}
        }
    }

    /// C: `SIGHUP_handler`. In a fast or immediate shutdown nobody would live to use the new settings.
    fn reload(&mut self) {
        if self.shutdown > ShutdownMode::Smart {
            return;
        }
        self.log(Message::ReloadingConfiguration);
        self.emit(Action::ReloadConfig);
        self.signal_backends(BackendClasses::ALL, Signal::Hup);
        for kind in [
            ChildKind::Startup,
            ChildKind::BgWriter,
            ChildKind::Checkpointer,
            ChildKind::WalWriter,
            ChildKind::WalReceiver,
            ChildKind::AutovacLauncher,
            ChildKind::Archiver,
            ChildKind::Logger,
            ChildKind::StatsCollector,
        ] {
            self.signal(kind, Signal::Hup);
        }
    }

    fn new_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::KillClock => self.kill_clock_went_off(),
            Timer::ArchiverRestart => self.archiver_may_start = true,
            Timer::StatsCollectorRestart => self.stats_collector_may_start = true,
            Timer::LockFileRecheck => {
                self.emit(Action::StartTimer(Timer::LockFileRecheck));
                self.emit(Action::RecheckLockFile);
            }
            Timer::SocketTouch => {
                self.emit(Action::StartTimer(Timer::SocketTouch));
                self.emit(Action::TouchSockets);
            }
            Timer::StopStatus => self.report_is_due(timer, Action::ReportStop),
            Timer::StopLog => self.report_is_due(timer, Action::LogStop),
            Timer::SmartBound => self.smart_bound_went_off(),
        }
    }

    /// New connections wait in the backlog once nobody could tell them anything any more: a child forked
    /// for one would only have to be waited for.
    fn update_listening(&mut self) {
        let wanted = match self.state {
            PmState::Init | PmState::WaitDeadEnd | PmState::NoChildren => false,
            PmState::Startup
            | PmState::Recovery
            | PmState::HotStandby
            | PmState::Run
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown
            | PmState::Shutdown2 => self.kill_clock != KillClock::WentOff,
        };
        if wanted != self.listening && !self.exited {
            self.listening = wanted;
            self.emit(Action::EnableListening(wanted));
        }
    }
}
