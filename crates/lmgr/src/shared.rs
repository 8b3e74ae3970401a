//! The lock table in shared memory, and what each process shows of its wait.
//!
//! There are at least 16 partitions; larger settings make more of them, since each holds the slots inside its LWLock.
//! Two are never locked by one process at the same time: the deadlock detector takes its picture of the waits one
//! partition after the other, and each process's *serial*, which moves whenever its wait begins or ends, tells
//! afterwards whether the parts of the picture fit together (see `wait`).
//!
//! - **W1** A wait begins and ends, and its serial moves, only under the LWLock of its lock's partition.
//!
//! C counterpart: `InitLocks`, `LockMethodLockHash`, `LockMethodProcLockHash`, `PGPROC.waitLock` and its neighbours.

use std::sync::atomic::{
    AtomicI64, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};

use crossbeam_utils::CachePadded;
use shmem::{LwLock, Reservation, ShmSlice, ShmVar, shm_struct, tranche};

use crate::fastpath::{self, FastPath};
use crate::shard::{LOCKS, Shard};

/// As in C; more if the settings ask for more slots. C: `NUM_LOCK_PARTITIONS`.
const MIN_PARTITIONS: usize = 16;
/// Locks that a partition is planned for; the slots beyond are for uneven spreading.
const PLANNED: usize = LOCKS * 4 / 5;
/// No partition.
const NONE: u32 = u32::MAX;

/// Values of [`Wait::state`]. C: `ProcWaitStatus`.
pub(crate) const WAITING: u32 = 1;
pub(crate) const GRANTED: u32 = 2;

shm_struct! {
    /// A process's wait as others see it.
    pub(crate) struct Wait {
        /// Even: does not wait. Moves with each beginning and end of a wait (W1).
        pub(crate) serial: AtomicU64,
        pub(crate) state: AtomicU32,
        /// Partition and slot of the lock.
        partition: AtomicU32,
        lock: AtomicU32,
        /// Since when, microseconds since 2000; 0 if it does not wait. C: `waitStart`.
        pub(crate) start: AtomicI64,
    }
}

static PARTITIONS: ShmSlice<CachePadded<LwLock<Shard>>> = ShmSlice::new("LOCK hash");
static WAITS: ShmSlice<CachePadded<Wait>> = ShmSlice::new("Lock Waits");
static FAST_PATHS: ShmSlice<CachePadded<LwLock<FastPath>>> = ShmSlice::new("Fast Path Locks");
/// One deadlock check at a time: of two that see the same cycle only the first may break it.
static DETECTOR: ShmVar<LwLock<()>> = ShmVar::new("Deadlock Detector");

/// Reserves the lock table for `procs` PGPROCs of which `max_backends` are no auxiliary ones; its size follows
/// `max_locks_per_transaction` and `max_prepared_transactions`. C: `LockShmemSize`, `InitLocks`.
pub fn reserve(r: &mut Reservation, procs: usize, max_backends: usize) {
    let count = |setting: i32| usize::try_from(setting).unwrap_or_default();
    let owners = max_backends + count(guc::vars::MAX_PREPARED_TRANSACTIONS.get());
    let locks = count(guc::vars::MAX_LOCKS_PER_TRANSACTION.get()).saturating_mul(owners);
    reserve_sized(r, procs, locks);
}

/// For `locks` locks.
pub(crate) fn reserve_sized(r: &mut Reservation, procs: usize, locks: usize) {
    let partitions = locks.div_ceil(PLANNED).max(MIN_PARTITIONS).next_power_of_two();
    r.slice(&PARTITIONS, partitions, |_| CachePadded::new(LwLock::new(tranche::LOCK_MANAGER, Shard::new())));
    r.slice(&WAITS, procs, |_| {
        CachePadded::new(Wait {
            serial: AtomicU64::new(0),
            state: AtomicU32::new(0),
            partition: AtomicU32::new(NONE),
            lock: AtomicU32::new(0),
            start: AtomicI64::new(0),
        })
    });
    r.slice(&FAST_PATHS, procs, |_| CachePadded::new(LwLock::new(tranche::LOCK_FASTPATH, FastPath::new())));
    r.var(&DETECTOR, || LwLock::new(tranche::LOCK_MANAGER, ()));
    fastpath::reserve(r);
}

/// The partition of a tag with this hash.
pub(crate) fn partition_of(hash: u32) -> usize {
    hash as usize & (PARTITIONS.get().len() - 1)
}

pub(crate) fn partition(index: usize) -> &'static LwLock<Shard> {
    &PARTITIONS.get()[index]
}

pub(crate) fn partitions() -> usize {
    PARTITIONS.get().len()
}

pub(crate) fn detector() -> &'static LwLock<()> {
    DETECTOR.get()
}

pub(crate) fn wait_of(process: u32) -> &'static Wait {
    &WAITS.get()[process as usize]
}

pub(crate) fn fast_path(process: u32) -> &'static LwLock<FastPath> {
    &FAST_PATHS.get()[process as usize]
}

pub(crate) fn fast_paths() -> impl Iterator<Item = &'static LwLock<FastPath>> {
    FAST_PATHS.get().iter().map(|padded| &**padded)
}

/// Our PGPROC's index.
pub(crate) fn me() -> u32 {
    shmem::my_proc().pgprocno
}

/// The pid of a process, 0 if it is gone.
pub(crate) fn pid_of(process: u32) -> i32 {
    shmem::all_procs().get(process as usize).map_or(0, |proc| proc.pid.load(Relaxed))
}

impl Wait {
    /// Our wait begins; with the partition's LWLock (W1).
    pub(crate) fn begin(&self, partition: usize, lock: u16) {
        self.partition.store(partition as u32, Relaxed);
        self.lock.store(lock.into(), Relaxed);
        self.start.store(activity::now(), Relaxed);
        self.state.store(WAITING, Release);
        self.serial.fetch_add(1, SeqCst);
    }

    /// Somebody's wait ends; with the partition's LWLock (W1).
    pub(crate) fn end(&self, state: u32) {
        self.start.store(0, Relaxed);
        self.partition.store(NONE, Relaxed);
        self.serial.fetch_add(1, SeqCst);
        self.state.store(state, Release);
    }

    /// Partition and slot of the lock it waits for. The wait may be over by the time anyone looks there.
    pub(crate) fn awaited(&self) -> Option<(usize, u16)> {
        let partition = self.partition.load(Acquire);
        (partition != NONE).then(|| (partition as usize, self.lock.load(Relaxed) as u16))
    }
}

/// Tells processes that they got what they waited for; with the partition's LWLock (W1). C: `ProcWakeup`.
pub(crate) fn wake(processes: &[u32]) {
    for process in processes {
        wait_of(*process).end(GRANTED);
        if let Some(proc) = shmem::all_procs().get(*process as usize) {
            shmem::latch::set(&proc.latch);
        }
    }
}

/// Every process's serial.
pub(crate) fn serials() -> Vec<u64> {
    WAITS.get().iter().map(|wait| wait.serial.load(SeqCst)).collect()
}

/// Where somebody waits: partitions and slots, sorted, each once.
pub(crate) fn awaited_locks() -> Vec<(usize, u16)> {
    let mut all: Vec<_> = WAITS.get().iter().filter_map(|wait| wait.awaited()).collect();
    all.sort_unstable();
    all.dedup();
    all
}
