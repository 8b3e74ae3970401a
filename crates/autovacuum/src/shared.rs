//! What launcher and workers share: a place for each worker, and which of them is on its way.
//!
//! 1. The launcher takes a free place, writes the database into it, makes it the *starting* one and asks the
//!    postmaster for a worker.
//! 2. The new worker finds the starting place, makes it its own, and tells the launcher that the next may start.
//! 3. At its end the worker frees the place and tells the launcher.
//!
//! Invariants:
//! - V1  At most one place is starting; only its worker or the launcher (after a time-out) ends that.
//! - V2  A place changes hands only under the lock; a worker writes the table it works on there while it holds
//!   the schedule lock.
//!
//! C counterpart: `AutoVacuumShmemStruct`, `WorkerInfoData`.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::SeqCst};

use common::Oid;
use miscinit::{exit, globals};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmem::{ExclusiveGuard, LwLock, Reservation, ShmSlice, ShmVar, tranche};

const FREE: u32 = 0;
const STARTING: u32 = 1;
const RUNNING: u32 = 2;

shmem::shm_struct! {
    /// C: `WorkerInfoData`.
    struct Place {
        state: AtomicU32,
        database: AtomicU32,
        /// Table being worked on, 0 between two. C: `wi_tableoid`.
        table: AtomicU32,
        /// The table is a shared one. C: `wi_sharedrel`.
        table_is_shared: AtomicU32,
        pid: AtomicI32,
        launch_time: AtomicI64,
        /// Cost limit that the worker asks for; 0 if it takes no part in the balance. C: `wi_cost_limit_base`.
        cost_limit: AtomicI32,
        /// Cost delay in milliseconds, as bits. C: `wi_cost_delay`.
        cost_delay: AtomicU64,
    }
}

shmem::shm_struct! {
    /// C: `AutoVacuumShmemStruct`.
    struct Launcher {
        pid: AtomicI32,
        /// A worker could not be forked. C: `av_signal[AutoVacForkFailed]`.
        fork_failed: AtomicU32,
    }
}

static PLACES: ShmSlice<Place> = ShmSlice::new("AutoVacuum Data");
static LAUNCHER: ShmVar<Launcher> = ShmVar::new("AutoVacuum Launcher");
/// V2. C: `AutovacuumLock`.
static LOCK: ShmVar<LwLock<()>> = ShmVar::new("AutoVacuum Lock");
/// Held while a worker picks its next table, so that no two pick the same. C: `AutovacuumScheduleLock`.
static SCHEDULE_LOCK: ShmVar<LwLock<()>> = ShmVar::new("AutoVacuum Schedule Lock");

/// Reserves what launcher and workers share. C: `AutoVacuumShmemInit`.
pub fn reserve(reservation: &mut Reservation) {
    let workers = guc::vars::AUTOVACUUM_MAX_WORKERS.get() as usize;
    reservation.var(&LAUNCHER, || Launcher { pid: AtomicI32::new(0), fork_failed: AtomicU32::new(0) });
    reservation.var(&LOCK, || LwLock::new(tranche::AUTOVACUUM, ()));
    reservation.var(&SCHEDULE_LOCK, || LwLock::new(tranche::AUTOVACUUM_SCHEDULE, ()));
    reservation.slice(&PLACES, workers, |_| Place {
        state: AtomicU32::new(FREE),
        database: AtomicU32::new(0),
        table: AtomicU32::new(0),
        table_is_shared: AtomicU32::new(0),
        pid: AtomicI32::new(0),
        launch_time: AtomicI64::new(0),
        cost_limit: AtomicI32::new(0),
        cost_delay: AtomicU64::new(0),
    });
}

fn places() -> &'static [Place] {
    PLACES.try_get().unwrap_or(&[])
}

impl Place {
    fn is(&self, state: u32) -> bool {
        self.state.load(SeqCst) == state
    }

    fn free(&self) {
        for word in [&self.database, &self.table, &self.table_is_shared] {
            word.store(0, SeqCst);
        }
        self.pid.store(0, SeqCst);
        self.launch_time.store(0, SeqCst);
        self.cost_limit.store(0, SeqCst);
        self.state.store(FREE, SeqCst);
    }
}

/// The launcher is there.
pub(crate) fn announce_launcher() {
    if let Some(launcher) = LAUNCHER.try_get() {
        launcher.pid.store(globals::my_proc_pid(), SeqCst);
    }
}

/// The launcher leaves.
pub(crate) fn withdraw_launcher() {
    if let Some(launcher) = LAUNCHER.try_get() {
        launcher.pid.store(0, SeqCst);
    }
}

/// SIGUSR2 to the launcher: look at the places again.
fn wake_launcher() {
    let pid = LAUNCHER.try_get().map_or(0, |launcher| launcher.pid.load(SeqCst));
    if pid != 0 {
        let _ = kill(Pid::from_raw(pid), Signal::SIGUSR2);
    }
}

/// In the postmaster: the launcher's worker could not be forked. Touches one atomic, takes no lock.
/// C: `AutoVacWorkerFailed`.
pub fn worker_failed() {
    if let Some(launcher) = LAUNCHER.try_get() {
        launcher.fork_failed.store(1, SeqCst);
    }
}

/// Whether the postmaster said so since the last time.
pub(crate) fn take_fork_failure() -> bool {
    LAUNCHER.try_get().is_some_and(|launcher| launcher.fork_failed.swap(0, SeqCst) != 0)
}

/// Whether a worker could be started at all.
pub(crate) fn has_free_place() -> bool {
    // A program that reserved no places has no workers.
    let Some(lock) = LOCK.try_get() else { return false };
    let _lock = lock.shared();
    places().iter().any(|place| place.is(FREE))
}

/// Since when a worker is on its way.
pub(crate) fn starting_since() -> Option<i64> {
    let _lock = LOCK.try_get()?.shared();
    places().iter().find(|place| place.is(STARTING)).map(|place| place.launch_time.load(SeqCst))
}

/// Gives the starting worker up: it took too long. False if it has come in the meantime.
pub(crate) fn cancel_starting() -> bool {
    let _lock = LOCK.get().exclusive();
    let starting = places().iter().find(|place| place.is(STARTING));
    starting.map(Place::free).is_some()
}

/// Step 1. False if there is no place, or another worker is still starting (V1).
pub(crate) fn prepare_worker(database: Oid, now: i64) -> bool {
    let _lock = LOCK.get().exclusive();
    if places().iter().any(|place| place.is(STARTING)) {
        return false;
    }
    let Some(place) = places().iter().find(|place| place.is(FREE)) else { return false };
    place.database.store(database.0, SeqCst);
    place.launch_time.store(now, SeqCst);
    place.state.store(STARTING, SeqCst);
    true
}

/// A worker's own place, until the process ends.
pub(crate) struct MyPlace(&'static Place);

impl MyPlace {
    /// Step 2. `None`: the launcher gave up waiting.
    pub(crate) fn take() -> Option<MyPlace> {
        let place = {
            let _lock = LOCK.get().exclusive();
            let place = places().iter().find(|place| place.is(STARTING))?;
            place.pid.store(globals::my_proc_pid(), SeqCst);
            place.state.store(RUNNING, SeqCst);
            place
        };
        // Step 3, however the process ends, short of a crash.
        exit::on_shmem_exit(|_| free(place));
        wake_launcher();
        Some(MyPlace(place))
    }

    pub(crate) fn database(&self) -> Oid {
        Oid(self.0.database.load(SeqCst))
    }

    /// Under the schedule lock: claims a table unless another worker works on it. C: the check in
    /// `do_autovacuum`.
    pub(crate) fn claim(&self, _proof: &ExclusiveGuard<'_, ()>, table: Oid, shared: bool) -> bool {
        let _lock = LOCK.get().exclusive();
        let same_database = |other: &Place| other.database.load(SeqCst) == self.0.database.load(SeqCst);
        let taken = places().iter().any(|other| {
            !std::ptr::eq(other, self.0)
                && other.is(RUNNING)
                && other.table.load(SeqCst) == table.0
                && (shared || same_database(other))
        });
        if !taken {
            self.0.table.store(table.0, SeqCst);
            self.0.table_is_shared.store(u32::from(shared), SeqCst);
        }
        !taken
    }

    /// The table is done.
    pub(crate) fn release_table(&self) {
        let _lock = LOCK.get().exclusive();
        self.0.table.store(0, SeqCst);
        self.0.cost_limit.store(0, SeqCst);
    }

    /// Takes part in the balance with these wishes.
    pub(crate) fn set_cost(&self, limit: i32, delay_millis: f64) {
        self.0.cost_delay.store(delay_millis.to_bits(), SeqCst);
        self.0.cost_limit.store(limit, SeqCst);
    }
}

/// C: `FreeWorkerInfo`.
fn free(place: &Place) {
    {
        let _lock = LOCK.get().exclusive();
        place.free();
    }
    wake_launcher();
}

/// The lock under which a worker picks its next table.
pub(crate) fn schedule_lock() -> ExclusiveGuard<'static, ()> {
    SCHEDULE_LOCK.get().exclusive()
}

/// This worker's share of the cost limit: all workers together get what one would. `None` in a process that is
/// not a worker at a table. VACUUM asks before each nap. C: `autovac_balance_cost`, `AutoVacuumUpdateDelay`.
pub fn balanced_cost_limit() -> Option<i32> {
    let pid = globals::my_proc_pid();
    let me = places().iter().find(|place| place.is(RUNNING) && place.pid.load(SeqCst) == pid)?;
    let mine = wish(me)?;
    let wishes: Vec<(i32, f64)> =
        places().iter().filter(|place| place.is(RUNNING)).filter_map(wish).collect();
    let limit = guc::vars::AUTOVACUUM_VACUUM_COST_LIMIT.get();
    let limit = if limit > 0 { limit } else { guc::vars::VACUUM_COST_LIMIT.get() };
    let delay = guc::vars::AUTOVACUUM_VACUUM_COST_DELAY.get();
    let delay = if delay >= 0.0 { delay } else { guc::vars::VACUUM_COST_DELAY.get() };
    Some(share(mine, &wishes, limit, delay))
}

fn wish(place: &Place) -> Option<(i32, f64)> {
    let limit = place.cost_limit.load(SeqCst);
    let delay = f64::from_bits(place.cost_delay.load(SeqCst));
    (limit > 0 && delay > 0.0).then_some((limit, delay))
}

/// All wishes scaled down so that their sum (limit per delay) is what the settings allow.
fn share((limit, _): (i32, f64), wishes: &[(i32, f64)], allowed_limit: i32, allowed_delay: f64) -> i32 {
    let total: f64 = wishes.iter().map(|(limit, delay)| f64::from(*limit) / delay).sum();
    if total <= 0.0 || allowed_delay <= 0.0 {
        return limit;
    }
    let available = f64::from(allowed_limit) / allowed_delay;
    let scaled = (available * f64::from(limit) / total) as i32;
    scaled.min(limit).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_one_budget() {
        let one = (200, 2.0);
        assert_eq!(share(one, &[one], 200, 2.0), 200);
        assert_eq!(share(one, &[one, one], 200, 2.0), 100);
        assert_eq!(share(one, &[one, (400, 2.0)], 200, 2.0), 66);
        assert_eq!(share((1, 2.0), &[(1, 2.0), (10_000, 2.0)], 200, 2.0), 1, "never nothing");
        assert_eq!(share(one, &[one, one], 200, 0.0), 200, "without a delay there is nothing to share");
    }
}
