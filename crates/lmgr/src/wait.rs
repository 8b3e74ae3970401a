//! Sleeping until the lock is ours, or cannot be.
//!
//! The sleeper looks at its own state after each wake-up; whoever makes room sets that under the partition's LWLock
//! and then the latch, so no wake-up is lost. After `deadlock_timeout` it looks for deadlocks, once: the last process
//! to join a cycle finds it, whatever the order of arrivals.
//!
//! The detector's picture is taken one partition after the other. A process that waits gives nothing back, so a picture
//! in which each member of the cycle has waited, by its serial, from before the picture until after, shows edges that
//! all exist at the same time (W1).
//!
//! C counterpart: `ProcSleep`, `CheckDeadLock`, `LockErrorCleanup` in proc.c.

use std::cell::Cell;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use elog::{Result, ereport};
use miscinit::{exit, interrupt, ps_status};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmem::{WaitEvent, Wake, latch};
use transam::procarray::{PROC_IS_AUTOVACUUM, PROC_VACUUM_FOR_WRAPAROUND};

use crate::deadlock::{self, Edge, Verdict};
use crate::mode::LockMode;
use crate::report::{self, Moment};
use crate::shard::{LockView, Place};
use crate::tag::LockTag;
use crate::{conflict, shared, standby};

/// Pictures taken before giving up on one that fits together; then the next check, a timeout later, tries again.
const PICTURES: u32 = 20;

thread_local! {
    static CHECK_SOON: Cell<bool> = const { Cell::new(false) };
}

/// Whether this process waits for a lock. C: `GetAwaitedLock`.
pub fn awaits_lock() -> bool {
    shmem::proc::my_proc_number().is_some_and(|me| shared::wait_of(me).state.load(Acquire) == shared::WAITING)
}

/// The wait that goes on, or begins next, looks for a deadlock at once: replay may be part of it.
/// C: `CheckDeadLockAlert`.
pub fn check_deadlock_soon() {
    CHECK_SOON.set(true);
}

/// What we wait for. Our claim stands in the queue.
#[derive(Clone, Copy)]
pub(crate) struct Waited {
    pub(crate) tag: LockTag,
    pub(crate) hash: u32,
    pub(crate) mode: LockMode,
    pub(crate) index: usize,
    pub(crate) place: Place,
}

/// What a deadlock check did.
enum Checked {
    Nothing,
    Rearranged,
    /// We are out of the queue.
    Deadlock(Vec<Edge>),
    /// Too much happened meanwhile.
    Again,
}

/// Waits for the grant. On an error we are out of the queue and hold nothing of it.
pub(crate) fn sleep(waited: Waited) -> Result<()> {
    let _title = ps_status::show_waiting();
    let result = if standby::is_startup() {
        conflict::wait_for_lock(&waited)
    } else {
        sleep_from(waited, Instant::now())
    };
    if result.is_err() {
        give_up(waited);
    }
    result
}

fn sleep_from(waited: Waited, started: Instant) -> Result<()> {
    let millis = |setting: i32| Duration::from_millis(u64::try_from(setting).unwrap_or_default());
    let (state, event) = (&shared::wait_of(shared::me()).state, WaitEvent::lock(waited.tag.kind()));
    let lock_timeout = millis(guc::vars::LOCK_TIMEOUT.get());
    let mut check_after = Some(millis(guc::vars::DEADLOCK_TIMEOUT.get()));
    let (mut told, mut mourned) = (false, false);
    loop {
        latch::reset();
        if state.load(Acquire) == shared::GRANTED {
            if told && guc::vars::LOG_LOCK_WAITS.get() {
                report::log_wait(Moment::Acquired, waited.tag, waited.mode, started.elapsed(), None);
            }
            return Ok(());
        }
        interrupt::check()?;
        let elapsed = started.elapsed();
        if CHECK_SOON.take() {
            check_after = Some(elapsed);
        }
        if !lock_timeout.is_zero() && elapsed >= lock_timeout {
            return Err(report::lock_timeout());
        }
        if check_after.is_some_and(|after| elapsed >= after) {
            check_after = check(waited, started, &mut told)?.map(|pause| elapsed + pause);
            continue;
        }
        let deadlines = [check_after, (!lock_timeout.is_zero()).then_some(lock_timeout)];
        let next = deadlines.into_iter().flatten().min().map(|at| at.saturating_sub(elapsed));
        let mut events = Wake::LATCH_SET;
        if !mourned {
            events |= Wake::POSTMASTER_DEATH;
        }
        if latch::wait(events, next, event).postmaster_died() {
            // The session goes on without a postmaster, unless it is set up to end with it.
            mourned = true;
            if guc::vars::BACKEND_ON_POSTMASTER_DEATH.get() == "exit" {
                give_up(waited);
                exit::proc_exit(1);
            }
        }
    }
}

/// The time is over: looks for a deadlock and tells the log. Some: check once more after that time.
fn check(waited: Waited, started: Instant, told: &mut bool) -> Result<Option<Duration>> {
    let checked = check_deadlock(waited);
    let log = |moment| {
        if guc::vars::LOG_LOCK_WAITS.get() {
            let view = shared::partition(waited.index).shared().view_of(waited.tag, waited.hash);
            report::log_wait(moment, waited.tag, waited.mode, started.elapsed(), view.as_ref());
        }
    };
    if matches!(checked, Checked::Nothing) {
        cancel_autovacuum(waited);
    }
    let is_waiting = || shared::wait_of(shared::me()).state.load(Acquire) == shared::WAITING;
    match checked {
        Checked::Deadlock(cycle) => {
            log(Moment::Deadlock);
            return Err(report::deadlock(&cycle));
        }
        Checked::Again => return Ok(Some(Duration::from_millis(10))),
        Checked::Rearranged => log(Moment::Rearranged),
        Checked::Nothing => {}
    }
    if is_waiting() {
        log(Moment::Still);
    }
    *told = true;
    Ok(None)
}

/// An autovacuum worker that is in our way gives up its table, unless it must prevent a wraparound: it comes back to it
/// later. C: the part of `ProcSleep` about `DS_BLOCKED_BY_AUTOVACUUM`.
fn cancel_autovacuum(waited: Waited) {
    let me = shared::me();
    let Some(view) = shared::partition(waited.index).shared().view_of(waited.tag, waited.hash) else {
        return;
    };
    let is_worker = |process: u32| {
        let flags =
            shmem::all_procs().get(process as usize).map_or(0, |proc| proc.status_flags.load(Relaxed));
        flags & (PROC_IS_AUTOVACUUM | PROC_VACUUM_FOR_WRAPAROUND) == PROC_IS_AUTOVACUUM
    };
    let in_the_way = view.holders.iter().find(|(process, held)| {
        *process != me && waited.mode.conflicts().intersects(*held) && is_worker(*process)
    });
    let pid = in_the_way.map_or(0, |(process, _)| shared::pid_of(*process));
    if pid <= 0 {
        return;
    }
    ereport!(Debug1, "sending cancel to blocking autovacuum PID {pid}");
    match kill(Pid::from_raw(pid), Signal::SIGINT) {
        // Gone in the meantime: so is its lock.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => {
            let why = elog::errno_text(errno);
            ereport!(Warning, "could not send signal to process {pid}: {why}");
        }
    }
}

/// Leaves the queue; gives back what was granted in the same moment. C: `LockErrorCleanup`.
fn give_up(waited: Waited) {
    let wait = shared::wait_of(shared::me());
    let mut shard = shared::partition(waited.index).exclusive();
    match wait.state.load(Acquire) {
        shared::WAITING => {
            wait.end(0);
            shared::wake(&shard.leave_queue(waited.place));
        }
        shared::GRANTED => shared::wake(&shard.release(waited.place, waited.mode)),
        _ => {}
    }
    wait.state.store(0, std::sync::atomic::Ordering::Release);
}

/// All locks that are waited for, and where they are.
struct Picture {
    serials: Vec<u64>,
    places: Vec<(usize, u16)>,
    locks: Vec<LockView>,
}

impl Picture {
    fn take() -> Picture {
        let serials = shared::serials();
        let (mut places, mut locks) = (Vec::new(), Vec::new());
        for (partition, lock) in shared::awaited_locks() {
            if let Some(view) = shared::partition(partition).shared().view_waited(lock) {
                places.push((partition, lock));
                locks.push(view);
            }
        }
        Picture { serials, places, locks }
    }

    /// Whether these have waited all the time since just before the picture.
    fn is_valid_for(&self, mut processes: impl Iterator<Item = u32>) -> bool {
        let now = shared::serials();
        processes.all(|p| {
            let before = self.serials[p as usize];
            !before.is_multiple_of(2) && now[p as usize] == before
        })
    }
}

/// C: `CheckDeadLock`.
fn check_deadlock(waited: Waited) -> Checked {
    let me = shared::me();
    let _alone = shared::detector().exclusive();
    for _ in 0..PICTURES {
        let picture = Picture::take();
        match deadlock::check(&picture.locks, me) {
            Verdict::None => return Checked::Nothing,
            Verdict::Hard(cycle) => {
                if !picture.is_valid_for(cycle.iter().map(|edge| edge.process)) {
                    continue;
                }
                let wait = shared::wait_of(me);
                let mut shard = shared::partition(waited.index).exclusive();
                if wait.state.load(Acquire) != shared::WAITING {
                    return Checked::Nothing;
                }
                wait.end(0);
                shared::wake(&shard.leave_queue(waited.place));
                return Checked::Deadlock(cycle);
            }
            Verdict::Soft { orders, cycle } => {
                if picture.is_valid_for(cycle.iter().map(|edge| edge.process)) && rearrange(&picture, &orders)
                {
                    return Checked::Rearranged;
                }
            }
        }
    }
    Checked::Again
}

/// False if a queue is not as in the picture any more; the orders before it stay changed, which is harmless.
fn rearrange(picture: &Picture, orders: &[(usize, Vec<u32>)]) -> bool {
    orders.iter().all(|(at, order)| {
        let (partition, lock) = picture.places[*at];
        let expected: Vec<u32> = picture.locks[*at].queue.iter().map(|(process, _)| *process).collect();
        let mut shard = shared::partition(partition).exclusive();
        match shard.reorder(lock, &expected, order) {
            Some(woken) => {
                shared::wake(&woken);
                true
            }
            None => false,
        }
    })
}
