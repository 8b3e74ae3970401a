//! Walks every reachable state and holds the rules P1 to P7 of `machine` in each of them.
//!
//! A [`World`] is the machine together with the children as the outside sees them: who lives, and what
//! each kind has been told by signals. Events are whatever could happen in it: any child ending in any way,
//! any request, any timer that runs, any fork failing. All checks are local (one world, or one step), and
//! the proof of "it ends" is by a measure: each child that does as told makes (state, children left) smaller.

use std::collections::{BTreeSet, HashSet, VecDeque};

use stopreport::Phase;

use super::*;

const TERM: u8 = 1;
const USR2: u8 = 2;
const QUIT: u8 = 4;
const KILL: u8 = 8;

/// One reachable situation.
#[derive(Clone)]
struct World {
    machine: Machine,
    alive: [u8; ChildKind::ALL.len()],
    /// Which signals that end something every living child of a kind has had.
    told: [u8; ChildKind::ALL.len()],
    timers: u8,
}

/// What to look at: the settings, and how many there may be of the kinds that can be many.
struct Scope {
    settings: Settings,
    backends: u8,
    walsenders: u8,
    workers: u8,
    dead_ends: u8,
    wal_receiver: bool,
    forks_fail: bool,
    /// `autovacuum` is turned on and off by reloads.
    autovacuum_changes: bool,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope {
            settings: Settings::default(),
            backends: 1,
            walsenders: 0,
            workers: 0,
            dead_ends: 1,
            wal_receiver: false,
            forks_fail: true,
            autovacuum_changes: false,
        }
    }
}

impl World {
    fn new(settings: Settings) -> World {
        World { machine: Machine::new(settings), alive: [0; 13], told: [0; 13], timers: 0 }
    }

    /// All that tells two worlds apart, packed: hashing a quarter of a million of them is most of the work.
    fn key(&self) -> u128 {
        let m = &self.machine;
        let mut key = 0u128;
        let mut pack = |bits: u32, value: u8| {
            debug_assert!(u32::from(value) < 1 << bits);
            key = key << bits | u128::from(value);
        };
        pack(4, m.state as u8);
        pack(2, m.shutdown as u8);
        pack(2, m.startup_status as u8);
        pack(2, m.kill_clock as u8);
        pack(1, m.fatal_error.into());
        pack(1, m.quitting.into());
        pack(1, m.autovac_launcher_requested.into());
        pack(1, m.wal_receiver_requested.into());
        pack(1, m.archiver_may_start.into());
        pack(1, m.stats_collector_may_start.into());
        pack(1, m.listening.into());
        pack(1, m.exited.into());
        pack(1, m.settings.autovacuum.into());
        pack(1, m.smart_bound_runs.into());
        pack(8, self.timers);
        for kind in ChildKind::ALL {
            pack(if kind.is_singleton() { 1 } else { 2 }, self.alive[kind as usize]);
            pack(4, self.told[kind as usize]);
        }
        key
    }

    fn alive(&self, kind: ChildKind) -> u8 {
        self.alive[kind as usize]
    }

    fn told(&self, kind: ChildKind, signal: u8) -> bool {
        self.told[kind as usize] & signal != 0
    }

    /// Whether a child of this kind is going to end, being told to or by its nature.
    fn will_end(&self, kind: ChildKind) -> bool {
        if self.alive(kind) == 0 || kind == ChildKind::Logger {
            return false;
        }
        if self.told(kind, QUIT | KILL) {
            return true;
        }
        match kind {
            ChildKind::Checkpointer | ChildKind::Archiver => self.told(kind, USR2),
            ChildKind::WalSender => self.told(kind, USR2 | TERM),
            ChildKind::StatsCollector => false,
            ChildKind::DeadEnd => true,
            ChildKind::Logger
            | ChildKind::Startup
            | ChildKind::BgWriter
            | ChildKind::WalWriter
            | ChildKind::WalReceiver
            | ChildKind::AutovacLauncher
            | ChildKind::AutovacWorker
            | ChildKind::Backend => self.told(kind, TERM),
        }
    }

    fn left(&self) -> u32 {
        let alive = ChildKind::ALL.into_iter().filter(|kind| *kind != ChildKind::Logger);
        alive.map(|kind| u32::from(self.alive(kind))).sum()
    }

    /// Gets smaller with each child that does as told, until the postmaster leaves.
    fn measure(&self) -> (u8, u32) {
        let states_left = if self.machine.exited { 0 } else { 11 - self.machine.state as u8 };
        // While a smart shutdown waits, the others go on and are even started again.
        let left = if self.smart_waits() { self.alive(ChildKind::Backend).into() } else { self.left() };
        (states_left, left)
    }

    /// A smart shutdown waits for clients.
    fn smart_waits(&self) -> bool {
        let m = &self.machine;
        m.shutdown == ShutdownMode::Smart && m.state <= PmState::Run && self.alive(ChildKind::Backend) > 0
    }

    fn born(&mut self, kind: ChildKind) {
        assert!(self.alive(kind) == 0 || !kind.is_singleton(), "P1: two of {kind:?}");
        self.alive[kind as usize] += 1;
        self.told[kind as usize] = 0;
    }

    fn gone(&mut self, kind: ChildKind) {
        self.alive[kind as usize] -= 1;
        if self.alive(kind) == 0 {
            self.told[kind as usize] = 0;
        }
    }

    fn signalled(&mut self, kind: ChildKind, signal: Signal) {
        let bit = match (signal, kind) {
            (Signal::Term, _) => TERM,
            (Signal::Quit, _) => QUIT,
            (Signal::Kill, _) => KILL,
            (Signal::Usr2, ChildKind::Checkpointer | ChildKind::Archiver | ChildKind::WalSender) => USR2,
            (Signal::Usr2 | Signal::Usr1 | Signal::Hup | Signal::Stop, _) => 0,
        };
        self.told[kind as usize] |= bit;
    }

    /// Does an action as the driver would.
    fn perform(&mut self, action: &Action) {
        match action {
            Action::Fork(kind) => self.born(*kind),
            Action::ForkForConnection(verdict) => {
                let refused = *verdict != miscinit::child::CanAccept::Ok;
                self.born(if refused { ChildKind::DeadEnd } else { ChildKind::Backend });
            }
            Action::Signal { to: Target::Child(kind), signal } => {
                assert_eq!(self.alive(*kind), 1, "P6: {signal:?} to a missing {kind:?}");
                self.signalled(*kind, *signal);
            }
            Action::Signal { to: Target::Backends(classes), signal } => {
                let living: Vec<_> = classes.kinds().filter(|kind| self.alive(*kind) > 0).collect();
                assert!(!living.is_empty(), "P6: {signal:?} to nobody");
                living.into_iter().for_each(|kind| self.signalled(kind, *signal));
            }
            Action::StartTimer(timer) => self.timers |= 1 << *timer as u8,
            Action::StopTimer(timer) => self.timers &= !(1 << *timer as u8),
            Action::ResetSharedMemory => assert_eq!(self.left(), 0, "shared memory reset under somebody"),
            Action::Exit(_) => assert_eq!(self.left(), 0, "P2: orphans"),
            Action::EnterState { .. }
            | Action::Log(_)
            | Action::RefuseConnection
            | Action::SetQuitReason(_)
            | Action::SetPidFileStatus(_)
            | Action::EnableListening(_)
            | Action::ReloadConfig
            | Action::RecheckLockFile
            | Action::TouchSockets
            | Action::RemoveLogrotateFile
            | Action::AutovacWorkerFailed
            | Action::RemoveTempFiles
            | Action::ReportStop
            | Action::LogStop
            | Action::WriteForecast => {}
        }
    }

    /// One event and what the driver does about it.
    fn step(&self, event: &Event) -> (World, Vec<Action>) {
        let mut next = self.clone();
        match event {
            Event::Exited { kind, .. } | Event::ForkFailed { kind, .. } => next.gone(*kind),
            Event::Timer(timer) => next.timers &= !(1 << *timer as u8),
            Event::BecameWalSender => {
                let told = next.told[ChildKind::Backend as usize];
                next.gone(ChildKind::Backend);
                next.born(ChildKind::WalSender);
                next.told[ChildKind::WalSender as usize] = told;
            }
            _ => {}
        }
        let actions = next.machine.step(event.clone());
        actions.iter().for_each(|action| next.perform(action));
        (next, actions)
    }

    /// Everything that could happen now.
    fn events(&self, scope: &Scope) -> Vec<Event> {
        if self.machine.state == PmState::Init && !self.machine.exited {
            let mut events = vec![Event::StartLogger, Event::Start];
            events.extend(shutdowns());
            return events;
        }
        let mut events: Vec<Event> = shutdowns().into();
        events.extend(REQUESTS.map(Event::Request));
        events.extend([Event::Reload, Event::LockFileInvalid, Event::Bounded]);
        if scope.autovacuum_changes {
            let settings = self.machine.settings;
            events.push(Event::NewSettings(Settings { autovacuum: !settings.autovacuum, ..settings }));
        }
        if scope.wal_receiver {
            events.push(Event::Request(Request::StartWalReceiver));
        }
        if self.alive(ChildKind::AutovacWorker) < scope.workers {
            events.push(Event::Request(Request::StartAutovacWorker));
        }
        if self.alive(ChildKind::Backend) < scope.backends && self.alive(ChildKind::DeadEnd) < scope.dead_ends
        {
            events.push(Event::Connection);
        }
        if self.alive(ChildKind::Backend) > 0 && self.alive(ChildKind::WalSender) < scope.walsenders {
            events.push(Event::BecameWalSender);
        }
        events.extend(Timer::ALL.into_iter().filter(|t| self.timers & 1 << *t as u8 != 0).map(Event::Timer));
        for kind in ChildKind::ALL.into_iter().filter(|kind| self.alive(*kind) > 0) {
            events.extend(
                [ChildExit::Code(0), ChildExit::Code(1), ChildExit::Signal(9)].map(|e| exited(kind, e)),
            );
            if kind == ChildKind::Startup {
                events.push(exited(kind, ChildExit::Code(3)));
            }
            if kind == ChildKind::Backend {
                events.push(exited(kind, ChildExit::SlotNotReleased(0)));
            }
        }
        events
    }

    /// The rules that concern a situation as such.
    fn check(&self) {
        let m = &self.machine;
        if m.exited {
            return;
        }
        for kind in ChildKind::ALL {
            assert_eq!(m.children.count(kind), u32::from(self.alive(kind)), "the machine miscounts {kind:?}");
        }
        if m.quitting {
            for kind in ChildKind::ALL {
                let safe = self.alive(kind) == 0
                    || matches!(kind, ChildKind::Logger | ChildKind::DeadEnd)
                    || self.told(kind, QUIT | KILL)
                    || m.settings.send_stop;
                assert!(safe, "P3: {kind:?} was never told to quit");
                let killed = m.kill_clock != KillClock::WentOff || self.alive(kind) == 0;
                assert!(killed || kind == ChildKind::Logger || self.told(kind, KILL), "P3: {kind:?} escaped");
            }
            let clock_runs = self.timers & 1 << Timer::KillClock as u8 != 0;
            assert_eq!(clock_runs, m.kill_clock == KillClock::Running, "P3: kill clock");
            let stopped_for_debugger = m.settings.send_stop && m.shutdown != ShutdownMode::Immediate;
            assert!(m.kill_clock != KillClock::Off || stopped_for_debugger, "P3: no kill clock");
        } else {
            assert_eq!(m.kill_clock, KillClock::Off, "a kill clock without a reason");
        }
        self.check_progress();
        self.check_awaited();
        let recovers = m.state >= PmState::Startup && m.state <= PmState::HotStandby;
        assert!(!recovers || self.alive(ChildKind::Startup) == 1, "P5: recovery without startup process");
        assert!(
            m.state != PmState::Shutdown || self.alive(ChildKind::Checkpointer) == 1,
            "P5: no checkpointer"
        );
        assert!(m.state != PmState::StopBackends && m.state != PmState::NoChildren, "stuck in passing");
    }

    /// P4, first half: somebody is on the way out.
    fn check_progress(&self) {
        let m = &self.machine;
        let must_end = m.quitting || m.shutdown >= ShutdownMode::Smart;
        let for_debugger = m.quitting && m.settings.send_stop;
        if must_end && !self.smart_waits() && !for_debugger {
            let ending = ChildKind::ALL.into_iter().any(|kind| self.will_end(kind));
            assert!(ending, "P4: everybody waits for somebody");
        }
    }

    /// P7, as far as one situation shows it.
    fn check_awaited(&self) {
        let m = &self.machine;
        let stops = m.shutdown != ShutdownMode::None;
        let runs = |timer: Timer| self.timers & 1 << timer as u8 != 0;
        assert_eq!(runs(Timer::StopStatus), stops, "P7: the clock of the status file");
        assert_eq!(runs(Timer::StopLog), stops, "P7: the clock of the log");
        assert_eq!(runs(Timer::SmartBound), m.smart_bound_runs, "P7: the clock of the clients");
        let clients_may_stay = m.shutdown == ShutdownMode::Smart && m.phase() == Some(Phase::Sessions);
        assert!(!m.smart_bound_runs || clients_may_stay, "P7: a clock of clients that nobody waits for");
        assert_eq!(m.phase().is_some(), stops, "P7: phase");
        let awaited = m.awaited();
        assert_eq!(!awaited.is_empty(), stops, "P7: awaited is {awaited:?}");
        if !stops {
            return;
        }
        let for_debugger = m.quitting && m.settings.send_stop;
        let mut later = self.clone();
        for kind in awaited {
            assert!(self.alive(kind) > 0, "P7: {kind:?} is awaited and does not live");
            let ends = self.will_end(kind) || for_debugger || self.smart_waits();
            assert!(ends, "P7: {kind:?} is awaited and was never told to end");
            while later.alive(kind) > 0 && later.machine.state == m.state {
                later = later.step(&exited(kind, ChildExit::Code(0))).0;
            }
        }
        assert!(
            later.machine.exited || later.machine.state != m.state,
            "P7: all have ended and nothing follows"
        );
    }

    /// P7, the other half: whoever ends well without being awaited does not move the stop on.
    fn check_not_awaited(&self, event: &Event, next: &World) {
        let Event::Exited { kind, exit: ChildExit::Code(0), .. } = event else { return };
        let m = &self.machine;
        // A checkpointer that leaves before its time is a crash, however it leaves.
        if m.shutdown != ShutdownMode::None && *kind != ChildKind::Checkpointer && !m.awaited().contains(kind)
        {
            assert_eq!(next.machine.phase(), m.phase(), "P7: {kind:?} was awaited in secret");
        }
    }

    /// P4, second half: a child that does as told brings the end nearer. In an immediate shutdown every child
    /// that ends does, however it ends.
    fn check_measure(&self, event: &Event, next: &World) {
        let Event::Exited { kind, exit, .. } = event else { return };
        let m = &self.machine;
        let as_told = *kind != ChildKind::Logger
            && match m.shutdown {
                ShutdownMode::None => m.quitting,
                ShutdownMode::Smart if self.smart_waits() => {
                    *kind == ChildKind::Backend && matches!(exit, ChildExit::Code(_))
                }
                ShutdownMode::Smart | ShutdownMode::Fast => {
                    self.will_end(*kind)
                        && matches!(exit, ChildExit::Code(0 | 1))
                        && *exit != self.failure_of(*kind)
                }
                ShutdownMode::Immediate => true,
            };
        let begun_anew = m.shutdown == ShutdownMode::None && next.machine.state == PmState::Startup;
        if as_told && !begun_anew {
            assert!(next.measure() < self.measure(), "P4: the end has not come nearer");
        }
    }

    /// The exit code up to 1 that would be no obedience from this kind.
    fn failure_of(&self, kind: ChildKind) -> ChildExit {
        match kind {
            ChildKind::Checkpointer
            | ChildKind::BgWriter
            | ChildKind::WalWriter
            | ChildKind::AutovacLauncher
            | ChildKind::Archiver
            | ChildKind::StatsCollector => ChildExit::Code(1),
            ChildKind::Logger
            | ChildKind::Startup
            | ChildKind::WalReceiver
            | ChildKind::AutovacWorker
            | ChildKind::Backend
            | ChildKind::WalSender
            | ChildKind::DeadEnd => ChildExit::Code(-1),
        }
    }
}

/// Those with limits of their own are added where the scope is known.
const REQUESTS: [Request; 8] = [
    Request::RecoveryStarted,
    Request::BeginHotStandby,
    Request::WakenArchiver,
    Request::LogrotateFile,
    Request::StartAutovacLauncher,
    Request::AdvanceStateMachine,
    Request::PromoteFile,
    Request::ForecastFile,
];

fn shutdowns() -> [Event; 3] {
    [ShutdownMode::Smart, ShutdownMode::Fast, ShutdownMode::Immediate].map(Event::Shutdown)
}

fn exited(kind: ChildKind, exit: ChildExit) -> Event {
    Event::Exited { kind, pid: 1, exit, activity: None }
}

/// Visits every world in the scope; returns how many there are and which transitions were seen.
fn walk(scope: &Scope) -> (usize, BTreeSet<(PmState, PmState)>) {
    let mut seen = HashSet::new();
    let mut transitions = BTreeSet::new();
    let mut queue = VecDeque::from([World::new(scope.settings)]);
    while let Some(world) = queue.pop_front() {
        for event in world.events(scope) {
            let context = || format!("in {:?}\nafter {event:?}", world.machine);
            let (next, actions) = catch(context, || world.step(&event));
            assert!(!world.machine.exited || actions.is_empty(), "it acts after its exit");
            catch(context, || world.check_measure(&event, &next));
            catch(context, || world.check_not_awaited(&event, &next));
            transitions.extend(actions.iter().filter_map(|action| match action {
                Action::EnterState { from, to } => Some((*from, *to)),
                _ => None,
            }));
            let mut results = vec![next];
            if scope.forks_fail {
                failed_forks(&actions, &mut results);
            }
            for next in results {
                if seen.insert(next.key()) {
                    catch(context, || next.check());
                    queue.push_back(next);
                }
            }
        }
    }
    (seen.len(), transitions)
}

/// The worlds in which one of the forks just asked for, or all of them, failed.
fn failed_forks(actions: &[Action], results: &mut Vec<World>) {
    let forks: Vec<ChildKind> =
        actions.iter().filter_map(|a| if let Action::Fork(kind) = a { Some(*kind) } else { None }).collect();
    let fail = |world: &World, kind| world.step(&Event::ForkFailed { kind, errno: libc::EAGAIN }).0;
    let base = results[0].clone();
    if forks.len() > 1 {
        results.push(forks.iter().fold(base.clone(), |world, kind| fail(&world, *kind)));
    }
    results.extend(forks.iter().map(|kind| fail(&base, *kind)));
}

/// Runs a check and, if it panics, says in which situation.
fn catch<T>(context: impl Fn() -> String, check: impl FnOnce() -> T) -> T {
    struct Tell<F: Fn() -> String>(F);
    impl<F: Fn() -> String> Drop for Tell<F> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}", (self.0)());
            }
        }
    }
    let _tell = Tell(context);
    check()
}

/// Walks, and makes sure that the walk went somewhere: a scope that finds nothing proves nothing.
#[track_caller]
fn prove(scope: &Scope, at_least: usize) -> BTreeSet<(PmState, PmState)> {
    let (worlds, transitions) = walk(scope);
    println!("{worlds} worlds");
    assert!(worlds >= at_least, "only {worlds} worlds were reached");
    let unknown: Vec<_> = transitions.iter().filter(|step| !TRANSITIONS.contains(step)).collect();
    assert!(unknown.is_empty(), "transitions that the README does not show: {unknown:?}");
    transitions
}

/// The diagram in the README, as a list. Nothing else ever happens, and each of these does.
const TRANSITIONS: [(PmState, PmState); 24] = {
    use PmState::*;
    [
        // The way up.
        (Init, Startup),
        (Startup, Recovery),
        (Recovery, HotStandby),
        (Startup, Run),
        (Recovery, Run),
        (HotStandby, Run),
        // The way down.
        (Startup, StopBackends),
        (Recovery, StopBackends),
        (HotStandby, StopBackends),
        (Run, StopBackends),
        (StopBackends, WaitBackends),
        (WaitBackends, Shutdown),
        (Shutdown, Shutdown2),
        (Shutdown2, WaitDeadEnd),
        (WaitDeadEnd, NoChildren),
        // The short way down: an immediate stop, or a crash.
        (Startup, WaitBackends),
        (Recovery, WaitBackends),
        (HotStandby, WaitBackends),
        (Run, WaitBackends),
        (Shutdown, WaitBackends),
        (Shutdown2, WaitBackends),
        (WaitBackends, WaitDeadEnd),
        // And up again after the crash.
        (NoChildren, Startup),
        // Stopped before it began.
        (Init, NoChildren),
    ]
};

#[test]
fn primary_with_clients_workers_and_walsenders() {
    prove(&Scope { backends: 2, walsenders: 1, workers: 1, ..Scope::default() }, 30_000);
}

#[test]
fn standby_with_walreceiver() {
    let settings = Settings { archive_mode: ArchiveMode::Always, ..Settings::default() };
    prove(&Scope { settings, wal_receiver: true, ..Scope::default() }, 30_000);
}

#[test]
fn no_restart_after_crash_and_a_logger() {
    let settings = Settings { restart_after_crash: false, logging_collector: true, ..Settings::default() };
    prove(&Scope { settings, ..Scope::default() }, 8_000);
}

#[test]
fn autovacuum_turned_on_and_off_and_too_many_clients() {
    let settings = Settings { autovacuum: false, max_live_children: 1, ..Settings::default() };
    prove(&Scope { settings, workers: 1, backends: 2, autovacuum_changes: true, ..Scope::default() }, 10_000);
}

#[test]
fn children_stopped_for_a_debugger() {
    let settings = Settings { send_stop: true, hot_standby: false, ..Settings::default() };
    prove(&Scope { settings, forks_fail: false, ..Scope::default() }, 2_000);
}

#[test]
fn primary_with_everything_once() {
    let settings = Settings { archive_mode: ArchiveMode::On, ..Settings::default() };
    prove(&Scope { settings, walsenders: 1, workers: 1, ..Scope::default() }, 60_000);
}

#[test]
fn every_transition_of_the_diagram_happens() {
    let seen = prove(&Scope { walsenders: 1, ..Scope::default() }, 5_000);
    let missing: Vec<_> = TRANSITIONS.iter().filter(|step| !seen.contains(step)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
