//! PGPROC: what each process shows of itself to the others, and what it needs to wait.
//!
//! There are as many as there may be processes, made with the segment. A process takes one that is free when it
//! starts to use shared memory and gives it back when it ends. Client backends, autovacuum and walsenders have
//! quotas of their own, so that none of them can use up the places of the others; each auxiliary process has a
//! fixed place, so that it can always start.
//!
//! - **P1** A PGPROC belongs to the process whose pid is in it; 0 is free. Only the owner changes the rest.
//! - **P2** Free places are in exactly one free list; the list is behind a spinlock.
//!
//! C counterpart: proc.c, proc.h. The heavyweight lock manager's fields come with that crate.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};

use common::{BackendType, SqlState};
use crossbeam_utils::CachePadded;
use elog::{Result, fatal};

use crate::latch::{self, Latch};
use crate::lwlock::{self, WaitNode};
use crate::{Reservation, ShmSlice, ShmVar, SpinLock, pmsignal, procsignal, shm_struct, wait_event};

/// How many processes of each kind there may be: values of settings that only a restart changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `max_connections`.
    pub max_connections: u32,
    /// `autovacuum_max_workers`; the launcher's place is added.
    pub autovacuum_max_workers: u32,
    /// `max_wal_senders`.
    pub max_wal_senders: u32,
    /// `max_prepared_transactions`: places that no process takes, see [`prepared_places`].
    pub max_prepared_xacts: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_connections: 100, autovacuum_max_workers: 3, max_wal_senders: 10, max_prepared_xacts: 0 }
    }
}

impl Limits {
    /// Processes that are no auxiliary ones. C: `MaxBackends`.
    pub fn max_backends(&self) -> u32 {
        self.max_connections + self.autovacuum_max_workers + 1 + self.max_wal_senders
    }

    /// All PGPROCs: of sessions, then those of prepared transactions, then of auxiliary processes.
    pub fn max_procs(&self) -> u32 {
        self.max_backends() + self.max_prepared_xacts + AUXILIARY.len() as u32
    }
}

/// Kinds with a fixed place, in the order of their places. The archiver has none, as in PostgreSQL 12. C: `AuxiliaryProcs`.
const AUXILIARY: [BackendType; 5] = [
    BackendType::Startup,
    BackendType::Checkpointer,
    BackendType::BgWriter,
    BackendType::WalWriter,
    BackendType::WalReceiver,
];

/// Quotas: the free list a kind takes its place from.
const CLIENTS: usize = 0;
const AUTOVACUUM: usize = 1;
const WAL_SENDERS: usize = 2;
const QUOTAS: usize = 3;

/// The end of a free list; no process.
const NONE: u32 = u32::MAX;

shm_struct! {
    /// One process as others see it. C: `PGPROC`.
    pub struct PgProc {
        /// Wakes the process up. C: `procLatch`.
        pub latch: Latch,
        /// Its place in an LWLock's queue, with the futex it sleeps on. C: `lwWaiting`, `lwWaitMode`, `lwWaitLink`, `sem`.
        pub(crate) lw_wait: WaitNode,
        /// Owner; 0 if free (P1).
        pub pid: AtomicI32,
        /// Index of this PGPROC in `all_procs`. C: `pgprocno`.
        pub pgprocno: u32,
        /// `BackendType` as a number. C: only in `PgBackendStatus`.
        pub backend_type: AtomicU8,
        /// Set while a recovery conflict is being resolved against this session.
        pub recovery_conflict_pending: AtomicBool,
        /// What it waits for; see `wait_event`.
        pub wait_event_info: AtomicU32,
        /// Database it is connected to, or 0.
        pub database_id: AtomicU32,
        /// Role it is authenticated as, or 0.
        pub role_id: AtomicU32,
        /// Local part of the virtual transaction id; 0 outside a transaction.
        pub lxid: AtomicU32,
        /// Its transaction id, or 0.
        pub xid: AtomicU32,
        /// Oldest transaction id it may still look at, or 0. C: `xmin`.
        pub xmin: AtomicU32,
        /// `DELAY_CHKPT_*` bits: a checkpoint must wait for it.
        pub delay_checkpoint: AtomicU32,
        /// `PROC_*` bits. C: `statusFlags`.
        pub status_flags: AtomicU32,
        /// First half of the virtual transaction id where it is not that of the place: of a prepared transaction,
        /// the session's that prepared it, or -1 after a restart. Else 0.
        pub borrowed_backend_id: AtomicI32,
        /// Counts the owners so far: tells a reused place from the same process.
        pub generation: AtomicU64,
        /// Next in its free list (P2).
        next_free: AtomicU32,
    }
}

impl PgProc {
    fn new(pgprocno: u32, next_free: u32) -> PgProc {
        PgProc {
            latch: Latch::new(),
            lw_wait: WaitNode::new(),
            pid: AtomicI32::new(0),
            pgprocno,
            backend_type: AtomicU8::new(0),
            recovery_conflict_pending: AtomicBool::new(false),
            wait_event_info: AtomicU32::new(0),
            database_id: AtomicU32::new(0),
            role_id: AtomicU32::new(0),
            lxid: AtomicU32::new(0),
            xid: AtomicU32::new(0),
            xmin: AtomicU32::new(0),
            delay_checkpoint: AtomicU32::new(0),
            status_flags: AtomicU32::new(0),
            borrowed_backend_id: AtomicI32::new(0),
            generation: AtomicU64::new(0),
            next_free: AtomicU32::new(next_free),
        }
    }

    /// The kind of process, if the place is taken.
    pub fn kind(&self) -> Option<BackendType> {
        if self.pid.load(Ordering::Acquire) == 0 {
            return None;
        }
        BackendType::from_u8(self.backend_type.load(Ordering::Relaxed))
    }

    /// First half of its virtual transaction id, from 1. C: `backendId`.
    pub fn backend_id(&self) -> i32 {
        match self.borrowed_backend_id.load(Ordering::Relaxed) {
            0 => self.pgprocno as i32 + 1,
            borrowed => borrowed,
        }
    }

    /// All that the previous owner left, except what others may hold on to (latch, generation).
    pub fn clear(&self) {
        self.recovery_conflict_pending.store(false, Ordering::Relaxed);
        self.borrowed_backend_id.store(0, Ordering::Relaxed);
        for word in [
            &self.wait_event_info,
            &self.database_id,
            &self.role_id,
            &self.lxid,
            &self.xid,
            &self.xmin,
            &self.delay_checkpoint,
            &self.status_flags,
        ] {
            word.store(0, Ordering::Relaxed);
        }
    }
}

shm_struct! {
    /// Free lists. C: `PROC_HDR`.
    struct FreeLists {
        heads: [u32; QUOTAS],
        counts: [u32; QUOTAS],
    }
}

static PROCS: ShmSlice<CachePadded<PgProc>> = ShmSlice::new("Proc Array");
static FREE_LISTS: ShmVar<SpinLock<FreeLists>> = ShmVar::new("Proc Header");
/// First place of a prepared transaction, and how many there are.
static PREPARED: ShmVar<[u32; 2]> = ShmVar::new("Prepared Proc Places");

/// Our place, -1 without one. C: `MyProc`.
static MY_PROC_NUMBER: AtomicI32 = AtomicI32::new(-1);

/// Sizes of the quotas, in the order of their places.
fn quotas(limits: Limits) -> [u32; QUOTAS] {
    [limits.max_connections, limits.autovacuum_max_workers + 1, limits.max_wal_senders]
}

pub(crate) fn reserve(reservation: &mut Reservation, limits: Limits) {
    let sizes = quotas(limits);
    let prepared = [limits.max_backends(), limits.max_prepared_xacts];
    reservation.var(&PREPARED, move || prepared);
    reservation.var(&FREE_LISTS, move || {
        let (mut heads, mut first) = ([NONE; QUOTAS], 0);
        for (head, size) in heads.iter_mut().zip(sizes) {
            if size > 0 {
                *head = first;
            }
            first += size;
        }
        SpinLock::new(FreeLists { heads, counts: sizes })
    });
    reservation.slice(&PROCS, limits.max_procs() as usize, move |i| {
        let i = i as u32;
        let mut end = 0;
        let is_last_of_a_list = sizes.iter().any(|size| {
            end += size;
            i + 1 == end
        });
        let next_free = if is_last_of_a_list || i >= end { NONE } else { i + 1 };
        CachePadded::new(PgProc::new(i, next_free))
    });
}

fn quota_of(kind: BackendType) -> Option<usize> {
    match kind {
        BackendType::Backend | BackendType::StandaloneBackend => Some(CLIENTS),
        BackendType::AutovacLauncher | BackendType::AutovacWorker => Some(AUTOVACUUM),
        BackendType::WalSender => Some(WAL_SENDERS),
        _ => None,
    }
}

/// All places, taken or not. Empty without a segment. C: `ProcGlobal->allProcs`.
#[inline]
pub fn all_procs() -> &'static [CachePadded<PgProc>] {
    PROCS.try_get().unwrap_or(&[])
}

/// The places that stand for prepared transactions: no process, pid 0, but ids, locks and a database like one. Empty
/// without a segment. C: `PreparedXactProcs`.
pub fn prepared_places() -> std::ops::Range<u32> {
    PREPARED.try_get().map_or(0..0, |[first, count]| *first..*first + *count)
}

/// Ours.
///
/// # Panics
/// Without one: see [`try_my_proc`].
#[inline]
pub fn my_proc() -> &'static PgProc {
    match try_my_proc() {
        Some(proc) => proc,
        None => panic!("this process has no PGPROC"),
    }
}

/// Ours, if this process has one. Async-signal-safe.
#[inline]
pub fn try_my_proc() -> Option<&'static PgProc> {
    all_procs().get(my_proc_number()? as usize).map(|padded| &**padded)
}

/// The index of ours, if this process has one. C: `MyProc->pgprocno`.
#[inline]
pub fn my_proc_number() -> Option<u32> {
    u32::try_from(MY_PROC_NUMBER.load(Ordering::Relaxed)).ok()
}

/// The process with this pid. C: `BackendPidGetProc`, `AuxiliaryPidGetProc`.
pub fn by_pid(pid: i32) -> Option<&'static PgProc> {
    if pid == 0 {
        return None;
    }
    all_procs().iter().find(|proc| proc.pid.load(Ordering::Acquire) == pid).map(|padded| &**padded)
}

/// The running process of a kind that exists once: the checkpointer, whose latch one wants to set.
/// C: `ProcGlobal->checkpointerLatch` and the like.
pub fn auxiliary(kind: BackendType) -> Option<&'static PgProc> {
    match fixed_place(kind) {
        Some(place) => all_procs().get(place).map(|padded| &**padded).filter(|proc| proc.kind().is_some()),
        None => all_procs().iter().find(|proc| proc.kind() == Some(kind)).map(|padded| &**padded),
    }
}

fn fixed_place(kind: BackendType) -> Option<usize> {
    let nth = AUXILIARY.iter().position(|auxiliary| *auxiliary == kind)?;
    (all_procs().len() + nth).checked_sub(AUXILIARY.len())
}

/// Takes a place in shared memory for this process: its PGPROC, its slot for signals, and its latch in place of
/// the private one. `cancel_key` is what the client must show to cancel (0 for others). To be undone by
/// [`release`] on the way out. C: `InitProcess`, `InitAuxiliaryProcess`, `ProcSignalInit`.
pub fn init_process(kind: BackendType, cancel_key: i32) -> Result<&'static PgProc> {
    assert!(my_proc_number().is_none(), "this process already has a PGPROC");
    let pid = std::process::id() as i32;
    let proc = match quota_of(kind) {
        Some(quota) => take_free(quota).ok_or_else(|| none_left(kind))?,
        None => take_fixed(kind, pid)?,
    };
    proc.clear();
    proc.backend_type.store(kind as u8, Ordering::Relaxed);
    proc.generation.fetch_add(1, Ordering::Relaxed);
    proc.latch.own(pid);
    proc.pid.store(pid, Ordering::Release);
    MY_PROC_NUMBER.store(proc.pgprocno as i32, Ordering::Relaxed);
    wait_event::announce_in(Some(&proc.wait_event_info));
    latch::switch_to_shared(&proc.latch);
    procsignal::init(proc.pgprocno, pid, cancel_key);
    pmsignal::mark_child_active();
    Ok(proc)
}

/// Gives back what [`init_process`] took, and every LWLock still held. Does nothing the second time, or in a
/// process that has no place. C: `ProcKill`, `AuxiliaryProcKill`, `CleanupProcSignalState`.
pub fn release() {
    let Some(proc) = try_my_proc() else { return };
    lwlock::release_all();
    pmsignal::mark_child_inactive();
    procsignal::release(proc.pgprocno);
    latch::switch_to_local();
    wait_event::announce_in(None);
    MY_PROC_NUMBER.store(-1, Ordering::Relaxed);
    proc.clear();
    proc.latch.disown();
    let kind = proc.kind();
    proc.pid.store(0, Ordering::Release);
    if let Some(quota) = kind.and_then(quota_of) {
        let mut lists = FREE_LISTS.get().lock();
        proc.next_free.store(lists.heads[quota], Ordering::Relaxed);
        lists.heads[quota] = proc.pgprocno;
        lists.counts[quota] += 1;
    }
}

/// The segment is gone, or was never ours: forgets whatever points into it.
pub(crate) fn forget() {
    MY_PROC_NUMBER.store(-1, Ordering::Relaxed);
    lwlock::forget();
    latch::switch_to_local();
    wait_event::announce_in(None);
}

/// Whether at least `n` places for client backends are free: what `superuser_reserved_connections` is checked
/// against, after our own has been taken. C: `HaveNFreeProcs`.
pub fn have_n_free_procs(n: u32) -> bool {
    FREE_LISTS.get().lock().counts[CLIENTS] >= n
}

fn take_free(quota: usize) -> Option<&'static PgProc> {
    let procs = all_procs();
    let mut lists = FREE_LISTS.get().lock();
    let proc = procs.get(lists.heads[quota] as usize)?;
    lists.heads[quota] = proc.next_free.load(Ordering::Relaxed);
    lists.counts[quota] -= 1;
    Some(proc)
}

fn take_fixed(kind: BackendType, pid: i32) -> Result<&'static PgProc> {
    let Some(place) = fixed_place(kind) else {
        return Err(fatal!(SqlState::INTERNAL_ERROR, "a {} has no PGPROC", kind.description()));
    };
    let proc = &all_procs()[place];
    // Two of a kind: the postmaster never starts the second before it has seen the first one's end.
    if proc.pid.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return Err(fatal!(SqlState::INTERNAL_ERROR, "all AuxiliaryProcs are in use"));
    }
    Ok(proc)
}

fn none_left(kind: BackendType) -> elog::PgError {
    let quota = all_procs().iter().filter(|proc| proc.kind() == Some(kind)).count();
    match kind {
        BackendType::WalSender => fatal!(
            SqlState::TOO_MANY_CONNECTIONS,
            "number of requested standby connections exceeds max_wal_senders (currently {quota})"
        ),
        _ => fatal!(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already"),
    }
}

#[cfg(test)]
mod tests;
