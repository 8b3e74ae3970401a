//! How a process asks for a checkpoint and learns that it is done.
//!
//! The request is a set of flags and three counters under one spinlock:
//!
//! 1. The asker notes `started`, `failed`, adds its flags, and sends SIGINT to the checkpointer.
//! 2. The checkpointer takes the flags and counts `started` up: from here on new flags are for the next one.
//! 3. When it has finished it sets `done` to that number, or counts `failed` up as well, and wakes everyone
//!    who waits.
//! 4. The asker waits until `started` differs from what it noted, remembers it, and then until `done` has
//!    reached that. If `failed` differs from its note, its checkpoint may have failed.
//!
//! The counters wrap; they are compared by difference.
//!
//! C counterpart: `CheckpointerShmemStruct` and `RequestCheckpoint` of checkpointer.c.

use std::cell::Cell;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use bitflags::bitflags;
use common::SqlState;
use elog::{PgError, Result, error};
use miscinit::{globals, interrupt};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use shmem::{Reservation, ShmSlice, ShmVar, SpinLock};

bitflags! {
    /// Why, and how, a checkpoint is made. C: `CHECKPOINT_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CheckpointFlags: u32 {
        /// The last one before the end.
        const SHUTDOWN = 0x01;
        /// The first one after recovery.
        const END_OF_RECOVERY = 0x02;
        /// As fast as possible, not spread over time.
        const IMMEDIATE = 0x04;
        /// Even if nothing has changed.
        const FORCE = 0x08;
        /// Also buffers of unlogged tables.
        const FLUSH_ALL = 0x10;
        /// The asker waits for the end.
        const WAIT = 0x20;
        /// Asked for because of the amount of WAL.
        const CAUSE_XLOG = 0x80;
        /// Made because `checkpoint_timeout` has passed.
        const TIME = 0x100;
    }
}

impl CheckpointFlags {
    /// The words after `checkpoint starting:`, each with a blank before it.
    pub fn words(self) -> String {
        const WORDS: [(CheckpointFlags, &str); 8] = [
            (CheckpointFlags::SHUTDOWN, " shutdown"),
            (CheckpointFlags::END_OF_RECOVERY, " end-of-recovery"),
            (CheckpointFlags::IMMEDIATE, " immediate"),
            (CheckpointFlags::FORCE, " force"),
            (CheckpointFlags::WAIT, " wait"),
            (CheckpointFlags::CAUSE_XLOG, " wal"),
            (CheckpointFlags::TIME, " time"),
            (CheckpointFlags::FLUSH_ALL, " flush-all"),
        ];
        WORDS.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, word)| *word).collect()
    }
}

shmem::shm_struct! {
    /// What the spinlock protects.
    #[derive(Clone, Copy)]
    struct Requests {
        flags: u32,
        started: u32,
        done: u32,
        failed: u32,
    }
}

/// The checkpointer's pid, 0 while there is none.
static CHECKPOINTER_PID: ShmVar<AtomicI32> = ShmVar::new("Checkpointer pid");
static REQUESTS: ShmVar<SpinLock<Requests>> = ShmVar::new("Checkpointer requests");
/// One flag a PGPROC: its owner waits for a checkpoint to start or end. C: `start_cv` and `done_cv`.
static WAITING: ShmSlice<AtomicU32> = ShmSlice::new("Checkpoint waiters");

/// Reserves what askers and checkpointer share. `proc_count`: all PGPROCs. C: `CheckpointerShmemInit`.
pub fn reserve(reservation: &mut Reservation, proc_count: usize) {
    reservation.var(&CHECKPOINTER_PID, || AtomicI32::new(0));
    reservation.var(&REQUESTS, || SpinLock::new(Requests { flags: 0, started: 0, done: 0, failed: 0 }));
    reservation.slice(&WAITING, proc_count, |_| AtomicU32::new(0));
    crate::restartpoint::reserve(reservation);
}

/// The checkpointer is there: requests go to it.
pub(crate) fn announce() {
    CHECKPOINTER_PID.get().store(globals::my_proc_pid(), SeqCst);
}

/// The checkpointer leaves.
pub(crate) fn withdraw() {
    CHECKPOINTER_PID.get().store(0, SeqCst);
}

/// A request that the checkpointer has taken.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) flags: CheckpointFlags,
    number: u32,
}

impl Work {
    /// The one that nobody asked for. C: the `time` checkpoint.
    pub(crate) fn timed() -> Work {
        start(true).unwrap_or(Work { flags: CheckpointFlags::empty(), number: 0 })
    }
}

/// Takes the flags gathered so far, if there are any.
pub(crate) fn take() -> Option<Work> {
    start(false)
}

fn start(even_without_request: bool) -> Option<Work> {
    let work = {
        let mut requests = REQUESTS.get().lock();
        if requests.flags == 0 && !even_without_request {
            return None;
        }
        requests.started = requests.started.wrapping_add(1);
        let flags = CheckpointFlags::from_bits_truncate(std::mem::take(&mut requests.flags));
        Work { flags, number: requests.started }
    };
    wake_waiters();
    Some(work)
}

/// Tells everyone who waits how it went.
pub(crate) fn finish(work: Work, ok: bool) {
    {
        let mut requests = REQUESTS.get().lock();
        requests.done = work.number;
        requests.failed = requests.failed.wrapping_add(u32::from(!ok));
    }
    wake_waiters();
}

/// Whether somebody who is in a hurry waits for the next checkpoint: then the current one hurries too.
/// C: `ImmediateCheckpointRequested`.
pub(crate) fn immediate_requested() -> bool {
    REQUESTS.get().lock().flags & CheckpointFlags::IMMEDIATE.bits() != 0
}

thread_local! {
    /// `done` at the last call of [`first_call_since_last_checkpoint`].
    static SEEN_DONE: Cell<u32> = const { Cell::new(0) };
}

/// True at the first call after each checkpoint. C: `FirstCallSinceLastCheckpoint`.
pub fn first_call_since_last_checkpoint() -> bool {
    let done = REQUESTS.get().lock().done;
    SEEN_DONE.replace(done) != done
}

/// So much WAL has been written that a checkpoint should begin: asks for one and does not wait. The WAL writer's
/// side calls it (`wal::set_checkpoint_requester`). C: the call in `XLogWrite`.
pub fn request_for_wal_volume() {
    if !globals::under_postmaster() {
        // In the middle of writing WAL nobody can make one. A session without a postmaster goes without.
        return;
    }
    if let Err(error) = request_checkpoint(CheckpointFlags::CAUSE_XLOG) {
        as_log(error).report();
    }
}

fn wake_waiters() {
    for (proc, waiting) in shmem::proc::all_procs().iter().zip(WAITING.get()) {
        if waiting.load(SeqCst) != 0 {
            latch::set(&proc.latch);
        }
    }
}

/// How often, and how far apart, a missing checkpointer is looked for before giving up: it may be about to
/// be started again. C: `MAX_SIGNAL_TRIES`.
const MAX_SIGNAL_TRIES: u32 = 600;
const SIGNAL_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Asks for a checkpoint; with [`CheckpointFlags::WAIT`] returns when it is done.
///
/// # Errors
/// XX000 if there is no checkpointer to ask or the checkpoint failed; without WAIT a missing checkpointer is
/// only logged. What [`interrupt::check`] returns while waiting.
#[doc(alias = "RequestCheckpoint")]
pub fn request_checkpoint(flags: CheckpointFlags) -> Result<()> {
    if !globals::under_postmaster() {
        // A process on its own makes it itself; nobody is there whom a slow one would spare.
        return crate::perform(flags | CheckpointFlags::IMMEDIATE).map(drop);
    }
    let wait = flags.contains(CheckpointFlags::WAIT);
    let before = {
        let mut requests = REQUESTS.get().lock();
        let before = *requests;
        requests.flags |= flags.bits();
        before
    };
    if let Err(error) = signal_checkpointer(wait) {
        if wait {
            return Err(error);
        }
        as_log(error).report();
        return Ok(());
    }
    if !wait {
        return Ok(());
    }
    let _registration = Registration::new();
    let number =
        wait_for(WaitEvent::CHECKPOINT_START, |r| (r.started != before.started).then_some(r.started))?;
    let failed = wait_for(WaitEvent::CHECKPOINT_DONE, |r| {
        (r.done.wrapping_sub(number) as i32 >= 0).then_some(r.failed)
    })?;
    if failed != before.failed {
        return Err(error!(SqlState::INTERNAL_ERROR, "checkpoint request failed")
            .hint("Consult recent messages in the server log for details.")
            .routine("RequestCheckpoint"));
    }
    Ok(())
}

/// Sends SIGINT to the checkpointer; with `patient` gives a missing one time to be started again.
fn signal_checkpointer(patient: bool) -> Result<()> {
    let mut tries = 0;
    loop {
        let failure = match CHECKPOINTER_PID.get().load(SeqCst) {
            // A dead postmaster starts nothing, and its checkpointer goes when it does: whether the kernel
            // still keeps the pid of the dead one makes no difference to the asker.
            _ if !shmem::postmaster_alive() => return Err(could_not_signal(Some(Errno::ESRCH))),
            0 => None,
            pid => match kill(Pid::from_raw(pid), Signal::SIGINT) {
                Ok(()) => return Ok(()),
                Err(errno) => Some(errno),
            },
        };
        if !patient || tries >= MAX_SIGNAL_TRIES {
            return Err(could_not_signal(failure));
        }
        tries += 1;
        interrupt::check()?;
        latch::wait(Wake::POSTMASTER_DEATH, Some(SIGNAL_RETRY_DELAY), WaitEvent::CHECKPOINT_START);
    }
}

/// What is only logged is no error, and says so in its SQLSTATE.
fn as_log(error: PgError) -> PgError {
    let mut report = error.with_severity(elog::Severity::Log);
    report.sqlstate = SqlState::SUCCESSFUL_COMPLETION;
    report
}

fn could_not_signal(errno: Option<Errno>) -> PgError {
    let reason = errno.map_or("checkpointer is not running".to_string(), elog::errno_text);
    error!(SqlState::INTERNAL_ERROR, "could not signal for checkpoint: {reason}").routine("RequestCheckpoint")
}

/// Waits until `ready` finds what it looks for.
fn wait_for(event: WaitEvent, ready: impl Fn(&Requests) -> Option<u32>) -> Result<u32> {
    loop {
        latch::reset();
        if let Some(found) = ready(&REQUESTS.get().lock().clone()) {
            return Ok(found);
        }
        interrupt::check()?;
        let woken = latch::wait(Wake::LATCH_OR_DEATH, None, event);
        if woken.postmaster_died() {
            return Err(could_not_signal(Some(Errno::ESRCH)));
        }
    }
}

/// While it lives, this process's latch is set at each start and end of a checkpoint.
struct Registration(&'static AtomicU32);

impl Registration {
    fn new() -> Registration {
        let flag = &WAITING.get()[shmem::my_proc().pgprocno as usize];
        flag.store(1, SeqCst);
        Registration(flag)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.0.store(0, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_in_postgresqls_order() {
        let check = |flags: CheckpointFlags, words| assert_eq!(flags.words(), words);
        use CheckpointFlags as F;
        check(F::IMMEDIATE | F::FORCE | F::WAIT, " immediate force wait");
        check(F::END_OF_RECOVERY | F::IMMEDIATE | F::WAIT, " end-of-recovery immediate wait");
        check(F::SHUTDOWN | F::IMMEDIATE, " shutdown immediate");
        check(F::empty(), "");
    }
}
