//! What follows when a process that holds shared memory ends badly, and the clock behind every SIGQUIT.
//! C: `HandleChildCrash`, `TerminateChildren`.

use super::{Action, BackendClasses, ChildExit, ChildKind, KillClock, Machine, Message, PmState};
use super::{QuitReason, ShutdownMode, Signal, StartupStatus, Timer};

/// In which order the singletons are told, after the backends. C: the order of `TerminateChildren`.
const TERMINATION_ORDER: [ChildKind; 8] = [
    ChildKind::Startup,
    ChildKind::BgWriter,
    ChildKind::Checkpointer,
    ChildKind::WalWriter,
    ChildKind::WalReceiver,
    ChildKind::AutovacLauncher,
    ChildKind::Archiver,
    ChildKind::StatsCollector,
];

impl Machine {
    /// A child ended in a way that leaves shared memory in doubt. The first such end is logged and all others
    /// are told to quit; those that follow are the echo of that.
    pub(super) fn handle_child_crash(
        &mut self,
        kind: ChildKind,
        pid: i32,
        exit: ChildExit,
        activity: Option<String>,
    ) {
        if self.quitting {
            return;
        }
        self.log(Message::ChildExited { kind, pid, exit, activity });
        self.log(Message::TerminatingOthers);
        self.begin_crash_restart();
    }

    /// The common part of a crash and of a startup process that could not even be forked.
    pub(super) fn begin_crash_restart(&mut self) {
        self.quit_all_children(QuitReason::ForCrash);
        self.fatal_error = true;
        match self.state {
            PmState::Startup
            | PmState::Recovery
            | PmState::HotStandby
            | PmState::Run
            | PmState::StopBackends
            | PmState::WaitBackends
            | PmState::Shutdown => self.enter(PmState::WaitBackends),
            // Behind the shutdown checkpoint the way down goes on.
            PmState::Shutdown2 | PmState::WaitDeadEnd => {}
            // No such child exists then.
            PmState::Init | PmState::NoChildren => {}
        }
        if !self.settings.send_stop {
            self.start_kill_clock();
        }
    }

    /// Tells everyone but the logger to quit, dead ends too: they may sit in a read for a minute.
    pub(super) fn quit_all_children(&mut self, reason: QuitReason) {
        self.emit(Action::SetQuitReason(reason));
        let signal = match reason {
            QuitReason::ForCrash if self.settings.send_stop => Signal::Stop,
            QuitReason::ForCrash | QuitReason::ForStop => Signal::Quit,
        };
        self.terminate_children(signal);
        self.quitting = true;
        // What was asked for before means nothing to the next generation.
        self.forget_requests();
        // The next generation shall not wait for the collector of this one. C: `allow_immediate_pgstat_restart`.
        if !self.stats_collector_may_start {
            self.stats_collector_may_start = true;
            self.emit(Action::StopTimer(Timer::StatsCollectorRestart));
        }
    }

    fn terminate_children(&mut self, signal: Signal) {
        self.signal_backends(BackendClasses::WITH_DEAD_ENDS, signal);
        for kind in TERMINATION_ORDER {
            self.signal(kind, signal);
        }
        if self.has(ChildKind::Startup) {
            self.startup_status = StartupStatus::Signaled;
        }
    }

    /// Requests by children that are about to end.
    pub(super) fn forget_requests(&mut self) {
        self.autovac_launcher_requested = false;
        self.wal_receiver_requested = false;
    }

    pub(super) fn start_kill_clock(&mut self) {
        self.kill_clock = KillClock::Running;
        self.emit(Action::StartTimer(Timer::KillClock));
    }

    pub(super) fn stop_kill_clock(&mut self) {
        match self.kill_clock {
            KillClock::Running => self.emit(Action::StopTimer(Timer::KillClock)),
            KillClock::Off | KillClock::WentOff => {}
        }
        self.kill_clock = KillClock::Off;
    }

    /// Five seconds were not enough for somebody. This happens to processes stuck in the middle of dying.
    pub(super) fn kill_clock_went_off(&mut self) {
        match self.kill_clock {
            KillClock::Running => {
                self.log(Message::IssuingSigkill);
                self.terminate_children(Signal::Kill);
                self.kill_clock = KillClock::WentOff;
            }
            KillClock::Off | KillClock::WentOff => {}
        }
    }

    /// A startup process that failed by itself would fail again. C: `STARTUP_CRASHED`.
    pub(super) fn startup_failed(&mut self) {
        self.startup_status = StartupStatus::Crashed;
    }

    /// Whether the exit code of the postmaster tells of a failure.
    pub(super) fn shutting_down(&self) -> bool {
        self.shutdown > ShutdownMode::None
    }
}
