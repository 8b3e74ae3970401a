//! The driver: waits, turns what happened into events, and does what the state machine answers.
//!
//! ```text
//! signals, expired timers, clients  -->  Event  -->  Machine::step  -->  Action  -->  fork, kill, log ...
//! ```
//!
//! It decides nothing. C counterpart: `ServerLoop`, `BackendStartup`, `StartChildProcess`.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::SqlState;
use common::pidfile::line;
use elog::{PgError, ereport, errno_text, pg_error};
use miscinit::child::{CanAccept, ChildStart, ClientSocket};
use miscinit::{globals, lockfile};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use shmem::pmsignal::{self, ChildSlots, PmSignalReason, QuitSignalReason};
use shmem::proc::Limits;
use stopreport::files;
use stopreport::words::duration;

use crate::children::{self, Child, ChildList};
use crate::config::PostmasterConfig;
use crate::exit::Belongings;
use crate::launch;
use crate::machine::{
    Action, ChildExit, ChildKind, Event, Machine, Message, QuitReason, Request, ShutdownMode,
};
use crate::signals::Signals;
use crate::stop_report::{self, Moment, StopReport};
use crate::timers::Timers;

/// `pg_ctl logrotate` leaves this file. C: `LOGROTATE_SIGNAL_FILE`.
pub(crate) const LOGROTATE_FILE: &str = "logrotate";
/// `pg_ctl promote` leaves this file. C: `PROMOTE_SIGNAL_FILE`.
pub(crate) const PROMOTE_FILE: &str = "promote";

/// Clients accepted from one socket before signals are looked at again.
const ACCEPT_BATCH_MAX: usize = 64;

/// How long nobody is accepted after `accept` failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The running postmaster.
pub(crate) struct Postmaster {
    pub(crate) machine: Machine,
    pub(crate) config: PostmasterConfig,
    pub(crate) limits: Limits,
    pub(crate) belongings: Rc<Belongings>,
    signals: Signals,
    children: ChildList,
    slots: ChildSlots,
    timers: Timers,
    /// What is told of the stop under way.
    stop: StopReport,
    queue: VecDeque<Event>,
    /// The client that [`Event::Connection`] is about.
    client: Option<ClientSocket>,
    listening: bool,
    accept_paused_until: Option<Instant>,
    /// Whether the running code is in the server loop: before, a logger that cannot start is fatal.
    pub(crate) serving: bool,
}

impl Postmaster {
    pub(crate) fn new(
        config: PostmasterConfig,
        limits: Limits,
        signals: Signals,
        belongings: Rc<Belongings>,
    ) -> Postmaster {
        Postmaster {
            machine: Machine::new(config.machine_settings(limits)),
            config,
            limits,
            belongings,
            signals,
            children: ChildList::default(),
            slots: ChildSlots::new(limits),
            timers: Timers::default(),
            stop: StopReport::default(),
            queue: VecDeque::new(),
            client: None,
            listening: false,
            accept_paused_until: None,
            serving: false,
        }
    }

    /// Serves until the state machine says to leave.
    pub(crate) fn run(mut self) -> ! {
        self.serving = true;
        loop {
            let ready = self.wait();
            if ready.signals {
                self.signals_arrived();
            }
            while let Some(timer) = self.timers.take_due(Instant::now()) {
                self.handle(Event::Timer(timer));
            }
            for index in ready.sockets {
                self.accept_from(index);
            }
        }
    }

    /// Sleeps until something happens.
    fn wait(&mut self) -> Ready {
        let now = Instant::now();
        let pause = self.accept_paused_until.map(|until| until.saturating_duration_since(now));
        if pause.is_some_and(|pause| pause.is_zero()) {
            self.accept_paused_until = None;
        }
        let accepting = self.listening && self.accept_paused_until.is_none();
        let timeout = [self.timers.until_next(now), pause].into_iter().flatten().min();
        let sockets = self.belongings.sockets.borrow();
        let mut fds = Vec::with_capacity(8);
        fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        if accepting {
            fds.extend(sockets.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        }
        // Interrupted or out of memory for a moment: as if nothing had happened, and look again.
        let found = ppoll(&mut fds, timeout.map(TimeSpec::from), None).unwrap_or(0);
        let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        if found == 0 {
            return Ready { signals: false, sockets: Vec::new() };
        }
        let ready_sockets = fds[1..].iter().enumerate().filter(|(_, fd)| is_ready(fd));
        Ready { signals: is_ready(&fds[0]), sockets: ready_sockets.map(|(index, _)| index).collect() }
    }

    /// Events one after the other: what an action causes comes after all of its step's actions.
    pub(crate) fn handle(&mut self, event: Event) {
        self.queue.push_back(event);
        while let Some(event) = self.queue.pop_front() {
            if self.machine.walsenders_matter(&event) {
                self.recognise_wal_senders();
            }
            for action in self.machine.step(event) {
                self.perform(action);
            }
            self.follow_stop();
        }
    }

    /// Only shared memory tells which sessions have become walsenders.
    fn recognise_wal_senders(&mut self) {
        while self.children.promote_wal_sender(pmsignal::child_is_wal_sender) {
            for action in self.machine.step(Event::BecameWalSender) {
                self.perform(action);
            }
        }
    }

    fn signals_arrived(&mut self) {
        for signal in self.signals.read() {
            match signal {
                Signal::SIGHUP => self.handle(Event::Reload),
                Signal::SIGINT => self.stop_ordered(ShutdownMode::Fast),
                Signal::SIGTERM => self.stop_ordered(ShutdownMode::Smart),
                Signal::SIGQUIT => self.stop_ordered(ShutdownMode::Immediate),
                Signal::SIGUSR1 => self.requests(),
                Signal::SIGCHLD => self.reap(),
                // SIGUSR2 means nothing to a postmaster.
                _ => {}
            }
        }
    }

    /// SIGUSR1: flags in shared memory, and files that `pg_ctl` leaves. C: `sigusr1_handler`.
    fn requests(&mut self) {
        for reason in PmSignalReason::ALL {
            if !pmsignal::check_postmaster_signal(reason) {
                continue;
            }
            let request = match reason {
                PmSignalReason::RecoveryStarted => Request::RecoveryStarted,
                PmSignalReason::BeginHotStandby => Request::BeginHotStandby,
                PmSignalReason::WakenArchiver => Request::WakenArchiver,
                PmSignalReason::RotateLogfile => Request::RotateLogfile,
                PmSignalReason::StartAutovacLauncher => Request::StartAutovacLauncher,
                PmSignalReason::StartAutovacWorker => Request::StartAutovacWorker,
                PmSignalReason::StartWalReceiver => Request::StartWalReceiver,
                PmSignalReason::AdvanceStateMachine => Request::AdvanceStateMachine,
                // There are no background workers.
                PmSignalReason::BackgroundWorkerChange => continue,
            };
            self.handle(Event::Request(request));
        }
        let exists = |file: &str| std::path::Path::new(file).exists();
        if self.machine.children().has(ChildKind::Logger) && exists(LOGROTATE_FILE) {
            self.handle(Event::Request(Request::LogrotateFile));
        }
        if self.machine.children().has(ChildKind::Startup) && exists(PROMOTE_FILE) {
            self.handle(Event::Request(Request::PromoteFile));
        }
        if exists(files::FORECAST_REQUEST) {
            self.handle(Event::Request(Request::ForecastFile));
        }
    }

    /// SIGTERM, SIGINT, SIGQUIT, perhaps with a deadline in a file. It counts even if the order itself comes too late to
    /// change anything. It is taken first, so that whoever is told to end can know how long he has.
    fn stop_ordered(&mut self, mode: ShutdownMode) {
        let deadline = stop_report::take_deadline(globals::data_dir()).map(|total| {
            let left = self.stop.bound(total, Moment::now());
            let mode = stop_report::mode_of(mode.max(self.machine.shutdown()));
            (self.config.hooks.set_deadline)(total, mode);
            (total, left)
        });
        self.handle(Event::Shutdown(mode));
        if let Some((total, left)) = deadline {
            let is_earliest = left == total;
            let left = duration(left.as_secs_f64());
            let said = pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "the stop is to end within {left}");
            match is_earliest {
                true => said.report(),
                false => said.detail("Of several deadlines the earliest counts.").report(),
            }
            self.handle(Event::Bounded);
        }
    }

    /// After each step: the phases of a stop and when they began.
    fn follow_stop(&mut self) {
        let Some(phase) = self.machine.phase() else { return };
        if self.stop.follow(phase, Moment::now()) {
            self.report_stop();
        }
    }

    fn report_stop(&mut self) {
        let seen = stop_report::observe(self.config.hooks.observe_stop);
        let awaited = self.children.titles(&self.machine.awaited());
        let mode = stop_report::mode_of(self.machine.shutdown());
        self.stop.report(mode, &seen, &awaited, Moment::now());
    }

    /// SIGCHLD: one for any number of children. C: `reaper`.
    fn reap(&mut self) {
        loop {
            let Some((pid, exit)) = children::wait_for_any() else { return };
            // A child that is none of ours: whoever replaced itself by us had some.
            let Some(child) = self.children.remove(pid) else { continue };
            let released = self.slots.release(child.slot);
            let exit = match exit {
                ChildExit::Code(code @ (0 | 1)) if !released => ChildExit::SlotNotReleased(code),
                other => other,
            };
            let bad = !matches!(exit, ChildExit::Code(0 | 1));
            let activity =
                if bad && child.slot != 0 { (self.config.hooks.crashed_activity)(pid) } else { None };
            self.handle(Event::Exited { kind: child.kind, pid, exit, activity });
        }
    }

    /// Takes the clients that wait, in batches: under load this saves a wake-up for each of them.
    fn accept_from(&mut self, index: usize) {
        for _ in 0..ACCEPT_BATCH_MAX {
            if !self.listening {
                return;
            }
            let accepted = self.belongings.sockets.borrow().accept(index);
            match accepted {
                Ok(client) => {
                    self.client = Some(client);
                    self.handle(Event::Connection);
                    // Closed here: the child has its own copy.
                    self.client = None;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // The client has left again.
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(e) => {
                    let reason = errno_text(&e);
                    ereport!(Log, "could not accept new connection: {reason}");
                    self.accept_paused_until = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::EnterState { from, to } => log::debug!("postmaster goes from {from} to {to}"),
            Action::Log(message) => report(&message),
            Action::Fork(kind) => self.fork(kind, CanAccept::Ok),
            Action::ForkForConnection(verdict) => {
                let kind = if verdict == CanAccept::Ok { ChildKind::Backend } else { ChildKind::DeadEnd };
                self.fork(kind, verdict);
            }
            Action::RefuseConnection => self.client = None,
            Action::Signal { to, signal } => self.children.signal(to, signal),
            Action::SetQuitReason(reason) => pmsignal::set_quit_signal_reason(match reason {
                QuitReason::ForCrash => QuitSignalReason::ForCrash,
                QuitReason::ForStop => QuitSignalReason::ForStop,
            }),
            Action::SetPidFileStatus(status) => lockfile::add_line(line::PM_STATUS, status.as_str()),
            Action::EnableListening(on) => self.listening = on,
            Action::ReloadConfig => self.reload_config(),
            Action::StartTimer(timer) => {
                let now = Instant::now();
                let length = timer.length().unwrap_or_else(|| self.stop.length_of(timer, now));
                self.timers.start(timer, now, length);
            }
            Action::StopTimer(timer) => self.timers.stop(timer),
            Action::RecheckLockFile => {
                if !lockfile::recheck_data_dir() {
                    self.queue.push_back(Event::LockFileInvalid);
                }
            }
            Action::TouchSockets => {
                self.belongings.sockets.borrow().touch();
                lockfile::touch_socket_locks();
            }
            Action::RemoveLogrotateFile => {
                let _ = std::fs::remove_file(LOGROTATE_FILE);
            }
            Action::AutovacWorkerFailed => (self.config.hooks.autovac_worker_failed)(),
            Action::RemoveTempFiles => (self.config.hooks.remove_temp_files)(),
            Action::ResetSharedMemory => self.reset_shared_memory(),
            Action::ReportStop => self.report_stop(),
            Action::LogStop => {
                self.report_stop();
                self.stop.log();
            }
            Action::WriteForecast => stop_report::answer(self.config.hooks.observe_everything),
            Action::Exit(code) => {
                self.stop.say_if_late(Moment::now());
                self.belongings.exit(code)
            }
        }
    }

    /// Starts a child; if that fails, the state machine is told.
    fn fork(&mut self, kind: ChildKind, can_accept: CanAccept) {
        if let Err(errno) = self.try_fork(kind, can_accept) {
            if let Some(client) = self.client.take() {
                tell_client_of_failed_fork(&client, errno);
            }
            self.queue.push_back(Event::ForkFailed { kind, errno });
        }
    }

    fn try_fork(&mut self, kind: ChildKind, can_accept: CanAccept) -> Result<(), i32> {
        let main = self.config.children.get(kind.backend_type()).ok_or(libc::ENOSYS)?;
        if kind == ChildKind::Logger {
            (self.config.hooks.prepare_logger)().map_err(|e| self.logger_cannot_start(&e))?;
        }
        // Workers have a key too: one who wants the table they vacuum may cancel them.
        let (cancel_key, slot) = match kind.has_child_slot() {
            true => (random_cancel_key()?, self.slots.assign().ok_or(libc::EAGAIN)?),
            false => (0, 0),
        };
        let forked = launch::fork_child(main, || {
            self.close_in_child(kind);
            let refused = can_accept == CanAccept::Shutdown;
            let detail = if refused { self.stop.detail_for_strangers() } else { None };
            let client = self.client.take();
            ChildStart { kind: kind.backend_type(), slot, cancel_key, client, can_accept, detail }
        });
        let pid = forked.map_err(|e| {
            self.slots.release(slot);
            e.raw_os_error().unwrap_or(libc::EAGAIN)
        })?;
        self.children.add(Child { pid, kind, slot });
        if kind == ChildKind::Logger {
            // The logger is there; only its input may be missing.
            (self.config.hooks.redirect_stderr)().unwrap_or_else(|e| {
                self.logger_cannot_start(&e);
            });
        }
        Ok(())
    }

    /// A server that could not log must not start; one that runs goes on without.
    fn logger_cannot_start(&self, e: &PgError) -> i32 {
        if self.serving {
            e.clone().with_severity(elog::Severity::Log).report();
            return libc::EAGAIN;
        }
        e.report();
        self.belongings.exit(1)
    }

    /// In a new child: what only the postmaster needs. C: `ClosePostmasterPorts`.
    fn close_in_child(&self, kind: ChildKind) {
        self.belongings.sockets.borrow_mut().close();
        // Not dropped, since the child only borrows it: closed by number. Nobody uses it any more.
        let _ = nix::unistd::close(self.signals.as_fd().as_raw_fd());
        if kind != ChildKind::Logger {
            (self.config.hooks.close_in_child)();
        }
    }

    fn reload_config(&mut self) {
        let complain = |e: PgError| e.with_severity(elog::Severity::Log).report();
        miscinit::config::reload().unwrap_or_else(complain);
        (self.config.hooks.load_hba)().unwrap_or_else(complain);
        self.queue.push_back(Event::NewSettings(self.config.machine_settings(self.limits)));
    }

    fn reset_shared_memory(&mut self) {
        let result = match self.belongings.segment.borrow_mut().as_mut() {
            Some(segment) => segment.reset(),
            None => Ok(()),
        };
        if let Err(e) = result {
            // Nothing can run without it.
            e.report();
            self.belongings.exit(1);
        }
        self.slots = ChildSlots::new(self.limits);
        self.belongings.write_shmem_line();
    }
}

/// What [`Postmaster::wait`] found.
struct Ready {
    signals: bool,
    sockets: Vec<usize>,
}

/// Every sentence of the state machine is a LOG.
fn report(message: &Message) {
    let report = pg_error!(Log, SqlState::SUCCESSFUL_COMPLETION, "{message}");
    match message.detail() {
        Some(detail) => report.detail(detail).report(),
        None => report.report(),
    }
}

/// C: `RandomCancelKey`.
fn random_cancel_key() -> Result<i32, i32> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|_| libc::EIO)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// The oldest form of an error message: nobody has read a start-up packet, and nobody will.
/// C: `report_fork_failure_to_client`.
fn tell_client_of_failed_fork(client: &ClientSocket, errno: i32) {
    let text = format!("Ecould not fork new process for connection: {}\n\0", errno_text(errno));
    let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT | nix::sys::socket::MsgFlags::MSG_NOSIGNAL;
    // A client that does not listen is not waited for.
    let _ = nix::sys::socket::send(client.fd.as_raw_fd(), text.as_bytes(), flags);
}
