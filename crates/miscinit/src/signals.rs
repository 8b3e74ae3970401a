//! What each signal means to each kind of process: one table, and the code that installs a row of it.
//!
//! ARCHITECTURE.md shows this table to readers; a test keeps the two equal.
//!
//! C counterparts: the `pqsignal` calls at the top of every `*Main` function, libpq/pqsignal.c.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

use common::BackendType;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::interrupt::{Pending, raise};

/// Which row of the table applies: the kind, except that a client session has two lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Any process by its kind.
    Kind(BackendType),
    /// A client session until its start-up packet is read and it is let in.
    BackendStartup,
}

/// What a signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing.
    Ignore,
    /// What the kernel does by default.
    Default,
    /// Handled by the postmaster's own loop through its signalfd.
    Postmaster(&'static str),
    /// Read the configuration again at the next turn.
    Reload,
    /// Leave at the next turn; the number is the exit code.
    Shutdown(i32),
    /// Leave at once with `_exit(2)`: shared memory may be corrupt.
    CrashExit,
    /// Leave at once with `_exit(1)`: nothing has been begun.
    SilentExit,
    /// Tell the client, then leave at once with `_exit(2)`.
    QuickDie,
    /// Look at this process's slot in `shmem::procsignal`.
    ProcSignal,
    /// Cancel the running statement.
    CancelQuery,
    /// End the session with FATAL 57P01.
    Die,
    /// Look for a request in shared memory.
    Wake,
    /// Something may be waiting to be archived.
    WakenArchiver,
    /// Begin nothing more; leave with 0 after a minute, should the last round not be called for before.
    BeginNothing,
    /// One more round, then leave with 0.
    LastCycle,
    /// Start a new log file.
    RotateLog,
    /// End recovery.
    Promote,
    /// A worker ended or could not be started.
    WorkerWakeup,
    /// The running statement's time is up.
    StatementTimeout,
}

/// The signals of the table, in the order of its columns.
pub const COLUMNS: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCHLD,
];

use BackendType as K;
use Meaning::*;

/// One row a role, one column a signal of [`COLUMNS`]. C: see the module page.
#[rustfmt::skip]
pub const TABLE: [(Role, [Meaning; 8]); 15] = [
    //                                 HUP     INT          TERM         QUIT       USR1        USR2          ALRM              CHLD
    (Role::Kind(K::Postmaster),       [Postmaster("reload"), Postmaster("fast stop"), Postmaster("smart stop"), Postmaster("immediate stop"),
                                       Postmaster("child's request"), Ignore,      Ignore,           Postmaster("reap")]),
    (Role::Kind(K::Logger),           [Reload, Ignore,      Ignore,      Ignore,    RotateLog,  Ignore,       Ignore,           Default]),
    (Role::Kind(K::Startup),          [Reload, Ignore,      Shutdown(1), CrashExit, ProcSignal, Promote,      Ignore,           Default]),
    (Role::Kind(K::Checkpointer),     [Reload, Wake,        Ignore,      CrashExit, ProcSignal, LastCycle,    Ignore,           Default]),
    (Role::Kind(K::BgWriter),         [Reload, Ignore,      Shutdown(0), CrashExit, ProcSignal, Ignore,       Ignore,           Default]),
    (Role::Kind(K::WalWriter),        [Reload, Shutdown(0), Shutdown(0), CrashExit, ProcSignal, Ignore,       Ignore,           Default]),
    (Role::Kind(K::AutovacLauncher),  [Reload, CancelQuery, Shutdown(0), CrashExit, ProcSignal, WorkerWakeup, StatementTimeout, Default]),
    (Role::Kind(K::AutovacWorker),    [Reload, CancelQuery, Die,         QuickDie,  ProcSignal, Ignore,       StatementTimeout, Default]),
    (Role::Kind(K::Archiver),         [Reload, Ignore,      BeginNothing, CrashExit, WakenArchiver, LastCycle,    Ignore,           Default]),
    (Role::Kind(K::StatsCollector),   [Reload, Ignore,      Ignore,      Shutdown(0), Ignore,   Ignore,       Ignore,           Default]),
    (Role::Kind(K::WalSender),        [Reload, CancelQuery, Die,         QuickDie,  ProcSignal, LastCycle,    StatementTimeout, Default]),
    (Role::Kind(K::WalReceiver),      [Reload, Ignore,      Die,         CrashExit, ProcSignal, Ignore,       Ignore,           Default]),
    (Role::BackendStartup,            [Reload, Ignore,      SilentExit,  CrashExit, Ignore,     Ignore,       StatementTimeout, Default]),
    (Role::Kind(K::Backend),          [Reload, CancelQuery, Die,         QuickDie,  ProcSignal, Ignore,       StatementTimeout, Default]),
    (Role::Kind(K::StandaloneBackend),[Reload, CancelQuery, Die,         Die,       ProcSignal, Ignore,       StatementTimeout, Default]),
];

/// The row of a role. Every kind has one: a test says so.
pub fn row(role: Role) -> &'static [Meaning; 8] {
    let found = TABLE.iter().find(|(r, _)| *r == role);
    found.map_or(&TABLE[0].1, |(_, row)| row)
}

/// Installs a role's row and unblocks the signals. A process calls it first thing, while everything is
/// still blocked by its parent, so that no signal meets the parent's meaning.
pub fn install(role: Role) {
    for (signal, meaning) in COLUMNS.into_iter().zip(row(role)) {
        set(signal, *meaning);
    }
    // A write to a client that has gone is an error to handle, not a death.
    set(Signal::SIGPIPE, Ignore);
    unblock();
}

/// Moves from one row to another within a process's life: only what differs costs a system call.
pub fn change(from: Role, to: Role) {
    let both = row(from).iter().zip(row(to));
    for (signal, (before, after)) in COLUMNS.into_iter().zip(both) {
        if before != after {
            set(signal, *after);
        }
    }
}

/// Gives one signal another meaning: a session's SIGTERM changes when it has been let in.
pub fn set(signal: Signal, meaning: Meaning) {
    let handler = match meaning {
        Ignore => SigHandler::SigIgn,
        Default | Postmaster(_) => SigHandler::SigDfl,
        Reload => SigHandler::Handler(on_reload),
        Shutdown(_) => SigHandler::Handler(on_shutdown),
        CrashExit => SigHandler::Handler(on_crash_exit),
        SilentExit => SigHandler::Handler(on_silent_exit),
        QuickDie => SigHandler::Handler(on_quick_die),
        ProcSignal => SigHandler::Handler(on_proc_signal),
        CancelQuery => SigHandler::Handler(on_cancel),
        Die => SigHandler::Handler(on_die),
        Wake => SigHandler::Handler(on_wake),
        WakenArchiver => SigHandler::Handler(on_waken_archiver),
        BeginNothing => SigHandler::Handler(on_shutdown),
        LastCycle => SigHandler::Handler(on_last_cycle),
        RotateLog => SigHandler::Handler(on_rotate),
        Promote => SigHandler::Handler(on_promote),
        WorkerWakeup => SigHandler::Handler(on_worker_wakeup),
        StatementTimeout => SigHandler::Handler(on_statement_timeout),
    };
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: every handler above only stores to atomics, sets the latch (async-signal-safe by contract of
    // shmem::latch) or calls write and _exit.
    let result = unsafe { sigaction(signal, &action) };
    debug_assert!(result.is_ok(), "sigaction({signal}) cannot fail for a catchable signal");
}

/// Lets signals in, except SIGURG, which belongs to the latch. C: `PG_SETMASK(&UnBlockSig)`.
pub fn unblock() {
    let mut urg = SigSet::empty();
    urg.add(Signal::SIGURG);
    let _ = urg.thread_set_mask();
}

/// Holds all signals back: the state a child is born in. C: `PG_SETMASK(&BlockSig)`.
pub fn block_all() {
    let _ = SigSet::all().thread_set_mask();
}

fn note(what: Pending) {
    let errno = nix::errno::Errno::last_raw();
    raise(what);
    shmem::latch::set_my_latch_from_handler();
    nix::errno::Errno::set_raw(errno);
}

extern "C" fn on_reload(_: i32) {
    note(Pending::ConfigReload);
}
extern "C" fn on_shutdown(_: i32) {
    note(Pending::Shutdown);
}
extern "C" fn on_proc_signal(_: i32) {
    note(Pending::ProcSignal);
}
extern "C" fn on_cancel(_: i32) {
    note(Pending::QueryCancel);
}
extern "C" fn on_die(_: i32) {
    note(Pending::ProcDie);
}
extern "C" fn on_waken_archiver(_: i32) {
    note(Pending::Wakened);
}
extern "C" fn on_last_cycle(_: i32) {
    note(Pending::LastCycle);
}
extern "C" fn on_rotate(_: i32) {
    note(Pending::RotateLog);
}
extern "C" fn on_promote(_: i32) {
    note(Pending::Promote);
}
extern "C" fn on_worker_wakeup(_: i32) {
    note(Pending::WorkerWakeup);
}
extern "C" fn on_statement_timeout(_: i32) {
    note(Pending::StatementTimeout);
}
extern "C" fn on_wake(_: i32) {
    let errno = nix::errno::Errno::last_raw();
    shmem::latch::set_my_latch_from_handler();
    nix::errno::Errno::set_raw(errno);
}
extern "C" fn on_crash_exit(_: i32) {
    crate::exit::exit_now(2);
}
extern "C" fn on_silent_exit(_: i32) {
    crate::exit::exit_now(1);
}

/// The client's socket, or -1: where [`QuickDie`] may write its farewell.
static FAREWELL_FD: AtomicI32 = AtomicI32::new(-1);
/// True while the process waits at a point where ordinary code can say farewell (needed for TLS).
static AT_SAFE_POINT: AtomicBool = AtomicBool::new(false);

/// Tells the SIGQUIT handler how to reach the client: a plain-text socket, or -1 if there is none or it is
/// encrypted.
pub fn set_farewell_fd(fd: i32) {
    FAREWELL_FD.store(fd, SeqCst);
}

/// Last words to a client that can be reached without its port, before this process aborts. What does not fit into the
/// socket is lost.
pub fn send_farewell(message: &[u8]) {
    let fd = FAREWELL_FD.load(SeqCst);
    if fd >= 0 {
        // SAFETY: the descriptor is the session's socket, open as long as the process lives; the buffer outlives the call.
        unsafe {
            libc::send(fd, message.as_ptr().cast(), message.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        };
    }
}

/// Marks the wait for the client's next message, where a session can react to SIGQUIT in ordinary code.
pub fn set_safe_point(waiting: bool) {
    AT_SAFE_POINT.store(waiting, SeqCst);
}

/// C: `quickdie`. At the safe point ordinary code takes over; in the middle of anything else, a prepared
/// message is written with one `send` and the process is gone. A SIGQUIT that the postmaster did not send is in
/// no hurry and is logged, so it always goes through ordinary code.
extern "C" fn on_quick_die(_: i32) {
    let stray = shmem::pmsignal::quit_signal_reason() == shmem::pmsignal::QuitSignalReason::NotSent;
    if stray || AT_SAFE_POINT.load(SeqCst) {
        note(Pending::QuickDie);
        return;
    }
    let fd = FAREWELL_FD.load(SeqCst);
    if fd >= 0 {
        let text = crate::farewell::message(shmem::pmsignal::quit_signal_reason());
        // SAFETY: send is async-signal-safe; the buffer is static; a full socket must not hold us up.
        unsafe { libc::send(fd, text.as_ptr().cast(), text.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    }
    crate::exit::exit_now(2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_exactly_one_row() {
        for kind in BackendType::ALL {
            assert_eq!(TABLE.iter().filter(|(role, _)| *role == Role::Kind(kind)).count(), 1, "{kind:?}");
        }
    }

    #[test]
    fn only_processes_outside_shared_memory_survive_sigquit() {
        for (role, row) in TABLE {
            let quit = row[3];
            let immune = matches!(quit, Ignore);
            assert_eq!(immune, role == Role::Kind(K::Logger), "{role:?}");
        }
    }

    #[test]
    fn a_signal_sets_its_note() {
        set(Signal::SIGUSR2, Promote);
        nix::sys::signal::raise(Signal::SIGUSR2).unwrap();
        assert!(crate::interrupt::take(Pending::Promote));
    }
}
