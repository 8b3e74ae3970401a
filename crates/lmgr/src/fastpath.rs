//! Weak locks on relations, kept with their holder instead of in the lock table.
//!
//! Every statement locks relations in modes that do not conflict with each other. Sixteen such locks of a session are
//! in its own place, behind its own LWLock. Who wants a *strong* mode, one that conflicts with a weak one, first
//! counts itself among the strong lockers of the tag, which closes the fast path, then moves what is in others' fast
//! paths to the lock table.
//!
//! - **F1** A weak lock enters a fast path only while the strong lockers' counter of its tag, read under that fast path's
//!   LWLock, is 0.
//! - **F2** Whoever holds or waits for a strong lock is counted, from before it looks into the fast paths until it has
//!   given the lock back.
//!
//! F1 and F2 with the LWLock in the middle: either the strong locker finds the weak lock, or the weak one finds it.
//!
//! Virtual transaction ids are treated alike: each session holds its own exclusively, but in its fast path; who wants
//! to wait for it moves the lock to the table.
//!
//! C counterpart: the `FastPath*` functions and `VirtualXactLock*` of lock.c.

use std::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};

use common::{Oid, Xid};
use elog::Result;
use shmem::{Reservation, ShmVar, shm_struct};

use crate::mode::LockMode;
use crate::tag::LockTag;
use crate::{acquire, report, shared};

/// Relations of one session. C: `FP_LOCK_SLOTS_PER_BACKEND`.
pub(crate) const SLOTS: usize = 16;
/// Counters of strong lockers; tags share them. C: `FAST_PATH_STRONG_LOCK_HASH_PARTITIONS`.
const COUNTERS: usize = 1024;

shm_struct! {
    /// One session's. C: `fpRelId`, `fpLockBits`, `fpVXIDLock`, `fpLocalTransactionId` of `PGPROC`.
    pub(crate) struct FastPath {
        db: u32,
        relations: [u32; SLOTS],
        /// Bits of the modes held; 0 is a free slot.
        modes: [u8; SLOTS],
        lxid: u32,
        /// Whether the lock on our virtual transaction is here (and not in the table).
        holds_vxid: bool,
    }
}

static STRONG: ShmVar<[AtomicU32; COUNTERS]> = ShmVar::new("Fast Path Strong Relation Lock Data");

pub(crate) fn reserve(r: &mut Reservation) {
    r.var(&STRONG, || [const { AtomicU32::new(0) }; COUNTERS]);
}

impl FastPath {
    pub(crate) fn new() -> FastPath {
        FastPath { db: 0, relations: [0; SLOTS], modes: [0; SLOTS], lxid: 0, holds_vxid: false }
    }

    fn add(&mut self, db: Oid, rel: Oid, mode: LockMode) -> bool {
        if self.db != db.0 {
            if self.modes.iter().any(|modes| *modes != 0) {
                return false;
            }
            self.db = db.0;
        }
        let same = (0..SLOTS).find(|at| self.modes[*at] != 0 && self.relations[*at] == rel.0);
        let Some(at) = same.or_else(|| self.modes.iter().position(|modes| *modes == 0)) else { return false };
        self.relations[at] = rel.0;
        self.modes[at] |= 1 << mode as u8;
        true
    }

    /// Whether the mode is here.
    pub(crate) fn has(&self, db: Oid, rel: Oid, mode: LockMode) -> bool {
        let bit = 1u8 << mode as u8;
        self.db == db.0 && (0..SLOTS).any(|at| self.relations[at] == rel.0 && self.modes[at] & bit != 0)
    }

    /// Takes a mode out; false if it is not here any more.
    pub(crate) fn remove(&mut self, db: Oid, rel: Oid, mode: LockMode) -> bool {
        let bit = 1u8 << mode as u8;
        let slot = (0..SLOTS).find(|at| self.relations[*at] == rel.0 && self.modes[*at] & bit != 0);
        match slot {
            Some(at) if self.db == db.0 => {
                self.modes[at] &= !bit;
                true
            }
            _ => false,
        }
    }

    /// Each relation with its modes, then the virtual transaction if it is here: for views.
    pub(crate) fn entries(&self, process: u32) -> Vec<(LockTag, LockMode)> {
        let mut all = Vec::new();
        for at in 0..SLOTS {
            let tag = LockTag::Relation { db: Oid(self.db), rel: Oid(self.relations[at]) };
            let held = LockMode::ALL.into_iter().take_while(|mode| mode.is_weak());
            all.extend(held.filter(|mode| self.modes[at] & (1 << *mode as u8) != 0).map(|mode| (tag, mode)));
        }
        if self.holds_vxid {
            all.push((vxid_tag(process, self.lxid), LockMode::Exclusive));
        }
        all
    }
}

fn counter(hash: u32) -> &'static AtomicU32 {
    &STRONG.get()[hash as usize % COUNTERS]
}

/// Takes a weak lock, if it is one that the fast path takes, it has room and nobody strong is there (F1).
/// C: the first half of `LockAcquireExtended`.
pub(crate) fn take(tag: LockTag, hash: u32, mode: LockMode) -> bool {
    let LockTag::Relation { db, rel } = tag else { return false };
    let me = shmem::my_proc();
    if !mode.is_weak() || !db.is_valid() || db.0 != me.database_id.load(Relaxed) {
        return false;
    }
    let mut mine = shared::fast_path(me.pgprocno).exclusive();
    counter(hash).load(SeqCst) == 0 && mine.add(db, rel, mode)
}

/// We want a strong lock (F2). C: `BeginStrongLockAcquire`.
pub(crate) fn begin_strong(hash: u32) {
    counter(hash).fetch_add(1, SeqCst);
}

/// We have no strong lock any more (F2). C: `AbortStrongLockAcquire`, and `RemoveLocalLock`.
pub(crate) fn end_strong(hash: u32) {
    counter(hash).fetch_sub(1, SeqCst);
}

/// Moves everybody's weak locks on the tag to the table. C: `FastPathTransferRelationLocks`.
///
/// # Errors
/// 53200: the table is full.
pub(crate) fn transfer(tag: LockTag, hash: u32) -> Result<()> {
    let LockTag::Relation { db, rel } = tag else { return Ok(()) };
    for (process, place) in shared::fast_paths().enumerate() {
        let mut path = place.exclusive();
        if path.db != db.0 {
            continue;
        }
        let found = (0..SLOTS).find(|at| path.modes[*at] != 0 && path.relations[*at] == rel.0);
        let Some(at) = found else { continue };
        for mode in LockMode::ALL.into_iter().take_while(|mode| mode.is_weak()) {
            if path.modes[at] & (1 << mode as u8) != 0 {
                acquire::grant_for(tag, hash, process as u32, mode)?;
                path.modes[at] &= !(1 << mode as u8);
            }
        }
    }
    Ok(())
}

fn vxid_tag(process: u32, lxid: u32) -> LockTag {
    LockTag::VirtualXid { backend: process.cast_signed() + 1, lxid }
}

/// Our transaction begins. C: `VirtualXactLockTableInsert`.
pub(crate) fn vxid_insert(lxid: u32) {
    let mut mine = shared::fast_path(shared::me()).exclusive();
    (mine.lxid, mine.holds_vxid) = (lxid, true);
}

/// Our transaction is over: who waits for it is let go. C: `VirtualXactLockTableCleanup`.
pub(crate) fn vxid_cleanup() {
    let me = shared::me();
    let (lxid, was_here) = {
        let mut mine = shared::fast_path(me).exclusive();
        (std::mem::take(&mut mine.lxid), std::mem::take(&mut mine.holds_vxid))
    };
    if lxid != 0 && !was_here {
        let tag = vxid_tag(me, lxid);
        acquire::release_for(tag, tag.hash(), me, LockMode::Exclusive);
    }
}

/// Whether this virtual transaction still runs. C: `VirtualXactLock(vxid, false)`.
pub fn vxid_still_running(backend: i32, lxid: u32) -> bool {
    let Some(process) = process_of(backend) else { return false };
    lxid != 0 && shared::fast_path(process).shared().lxid == lxid
}

/// Waits for the end of a virtual transaction, and of what was prepared under its name. C: `VirtualXactLock(vxid, true)`.
///
/// # Errors
/// Those of a wait: deadlock, timeout, cancel; 53200.
pub fn vxid_lock_wait(backend: i32, lxid: u32) -> Result<()> {
    // A prepared transaction that a restart has brought back.
    if backend == -1 {
        return wait_for(LockTag::Transaction(Xid(lxid)));
    }
    if let Some(process) = process_of(backend) {
        let tag = vxid_tag(process, lxid);
        let mut path = shared::fast_path(process).exclusive();
        let runs = lxid != 0 && path.lxid == lxid;
        if runs && path.holds_vxid {
            acquire::grant_for(tag, tag.hash(), process, LockMode::Exclusive)?;
            path.holds_vxid = false;
        }
        drop(path);
        if runs {
            wait_for(tag)?;
        }
    }
    let prepared = transam::twophase::xid_of_vxid((backend, lxid));
    prepared.into_iter().try_for_each(|xid| wait_for(LockTag::Transaction(xid)))
}

fn wait_for(tag: LockTag) -> Result<()> {
    acquire::acquire(tag, LockMode::Share, false, false)?;
    if !acquire::release(tag, LockMode::Share) {
        report::not_owned(LockMode::Share);
    }
    Ok(())
}

fn process_of(backend: i32) -> Option<u32> {
    let process = u32::try_from(backend.checked_sub(1)?).ok()?;
    ((process as usize) < shmem::all_procs().len()).then_some(process)
}
