//! The process array: which transactions run now.
//!
//! One entry for each process that may have a transaction, side by side and without gaps, so that taking a
//! snapshot is a walk over a few cache lines of ids. What is per process and not read by each snapshot (the
//! ids of its subtransactions, `xmin`) is elsewhere, indexed by PGPROC number.
//!
//! - **A1** Entries move only under ProcArrayLock *and* XidGenLock, both exclusive; under either of them an
//!   index stays what it is.
//! - **A2** An id enters the array under XidGenLock (`publish_xid`) and leaves it under ProcArrayLock,
//!   exclusive, together with the change of `latest_completed`. So to whoever holds ProcArrayLock, all of
//!   an ended transaction's ids vanish at once.
//! - **A3** `COMPLETIONS` counts up, under ProcArrayLock, with each id that leaves. While it stands still, a
//!   snapshot taken before is as good as a new one.
//! - **A4** A process that sets its `xmin` without ProcArrayLock reads `COMPLETIONS` again afterwards; the
//!   computation of horizons takes the lock, fences, and then reads each `xmin`. Either it sees the xmin, or
//!   the process sees that the count has moved and starts over. While the count stands, no horizon goes
//!   beyond the xmin of a snapshot that carries this count: its running ids still run, and without any its
//!   xmin is `latest_completed + 1`.
//! - **A5** The xid in PGPROC (what others see in views) is the one in the array.
//!
//! C counterpart: storage/ipc/procarray.c.

mod horizons; // who may still look at old row versions
mod known; // a standby's list of what runs on the primary
mod prepared; // entries without a process
mod queries; // who holds what: waits, views, checkpoints
pub(crate) mod recovery; // what replay does to the array
pub(crate) mod running; // the record of running transactions

use std::cell::Cell;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use common::{FullXid, SqlState, Xid};
use crossbeam_utils::CachePadded;
use elog::{Result, error};
use shmem::proc::try_my_proc;
use shmem::{LwLock, PgProc, Reservation, ShmSlice, ShmVar, all_procs, my_proc, shm_struct, tranche};

pub use horizons::{
    GlobalVis, RelationKind, horizon_for, oldest_considered_running, replace_last_horizon_xmin,
    replication_horizons,
};
use known::Known;
pub(crate) use prepared::{add_prepared, clear_transaction, remove_prepared};
pub use queries::{
    at_least_active, count_db_backends, count_other_db_backends, current_vxids, full_snapshot, is_active,
    is_vxid_running, oldest_active_xid, pgprocno_of_xid, pid_of_xid, vxids_delaying,
    wait_for_delayed_commits, wait_for_delayed_commits_with,
};
pub use recovery::{conflicting_vxids, signal_database, signal_vxid};
pub use running::log_standby_snapshot;

use crate::snapshot::{self, SnapshotData};
use crate::varsup;
use crate::{status, subtrans};

/// Subtransaction ids kept per process; with more, pg_subtrans must be asked. C: `PGPROC_MAX_CACHED_SUBXIDS`.
pub const MAX_CACHED_SUBXIDS: usize = 64;

/// C: `PROC_IS_AUTOVACUUM`.
pub const PROC_IS_AUTOVACUUM: u32 = 0x01;
/// A lazy VACUUM, whose snapshot holds nobody up. C: `PROC_IN_VACUUM`.
pub const PROC_IN_VACUUM: u32 = 0x02;
/// C: `PROC_IN_SAFE_IC`.
pub const PROC_IN_SAFE_IC: u32 = 0x04;
/// C: `PROC_VACUUM_FOR_WRAPAROUND`.
pub const PROC_VACUUM_FOR_WRAPAROUND: u32 = 0x08;
/// C: `PROC_IN_LOGICAL_DECODING`.
pub const PROC_IN_LOGICAL_DECODING: u32 = 0x10;
/// C: `PROC_AFFECTS_ALL_HORIZONS`.
pub const PROC_AFFECTS_ALL_HORIZONS: u32 = 0x20;
/// Flags that end with the transaction. C: `PROC_VACUUM_STATE_MASK`.
const PROC_VACUUM_STATE: u32 = PROC_IN_VACUUM | PROC_IN_SAFE_IC | PROC_VACUUM_FOR_WRAPAROUND;

/// Between a commit record and its commit-log entry: a checkpoint may not begin. C: `DELAY_CHKPT_START`.
pub const DELAY_CHECKPOINT_START: u32 = 1;
/// A checkpoint may not end. C: `DELAY_CHKPT_COMPLETE`.
pub const DELAY_CHECKPOINT_COMPLETE: u32 = 2;

/// No entry.
const NONE: u32 = u32::MAX;
/// Bit in an entry of `SUB_COUNTS`: some subtransaction ids are missing.
const OVERFLOWED: u32 = 1 << 31;

shm_struct! {
    /// What ProcArrayLock protects besides the arrays.
    struct Control {
        /// Entries in use.
        count: u32,
        /// The newest id that ended. C: `latestCompletedXid`.
        latest_completed: FullXid,
        /// A standby's: what runs on the primary.
        known: Known,
    }
}

static CONTROL: ShmVar<LwLock<Control>> = ShmVar::new("Proc Array Control");
/// PGPROC number of each entry.
static PROCNOS: ShmSlice<AtomicU32> = ShmSlice::new("Proc Array Numbers");
/// Top id of each entry, 0 for none. C: `ProcGlobal->xids`.
static XIDS: ShmSlice<AtomicU32> = ShmSlice::new("Proc Array Xids");
/// How many subtransaction ids each entry has, with `OVERFLOWED`. C: `ProcGlobal->subxidStates`.
static SUB_COUNTS: ShmSlice<AtomicU32> = ShmSlice::new("Proc Array Subxid Counts");
/// Entry of each PGPROC. C: `pgxactoff`.
static OFFSETS: ShmSlice<AtomicU32> = ShmSlice::new("Proc Array Offsets");
/// 64 for each PGPROC. C: `PGPROC.subxids`.
static SUBXIDS: ShmSlice<AtomicU32> = ShmSlice::new("Proc Array Subxids");
/// Where `Control::known` keeps its ids. C: `KnownAssignedXids`.
static KNOWN: ShmSlice<AtomicU64> = ShmSlice::new("KnownAssignedXids");
/// A3. C: `xactCompletionCount`.
static COMPLETIONS: ShmVar<CachePadded<AtomicU64>> = ShmVar::new("Xact Completion Count");

pub(crate) fn reserve(r: &mut Reservation, procs: usize) {
    r.var(&CONTROL, || {
        LwLock::new(
            tranche::PROC_ARRAY,
            Control { count: 0, latest_completed: FullXid(0), known: Known::new() },
        )
    });
    let prepared = usize::try_from(guc::vars::MAX_PREPARED_TRANSACTIONS.get()).unwrap_or_default();
    r.slice(&KNOWN, (procs + prepared) * (MAX_CACHED_SUBXIDS + 1), |_| AtomicU64::new(0));
    r.slice(&PROCNOS, procs, |_| AtomicU32::new(NONE));
    r.slice(&XIDS, procs, |_| AtomicU32::new(0));
    r.slice(&SUB_COUNTS, procs, |_| AtomicU32::new(0));
    r.slice(&OFFSETS, procs, |_| AtomicU32::new(NONE));
    r.slice(&SUBXIDS, procs * MAX_CACHED_SUBXIDS, |_| AtomicU32::new(0));
    r.var(&COMPLETIONS, || CachePadded::new(AtomicU64::new(1)));
}

/// The subtransaction ids of a process.
fn subxids_of(pgprocno: u32) -> &'static [AtomicU32] {
    let first = pgprocno as usize * MAX_CACHED_SUBXIDS;
    &SUBXIDS.get()[first..first + MAX_CACHED_SUBXIDS]
}

fn offset_of(pgprocno: u32) -> Option<usize> {
    let offset = OFFSETS.get()[pgprocno as usize].load(Relaxed);
    (offset != NONE).then_some(offset as usize)
}

/// Whether this process is in the array.
pub fn is_member() -> bool {
    try_my_proc().is_some_and(|proc| OFFSETS.try_get().is_some() && offset_of(proc.pgprocno).is_some())
}

/// Puts this process into the array, from now until it ends: after [`shmem::init_process`]. Does nothing the
/// second time. C: `ProcArrayAdd`.
pub fn add() {
    let proc = my_proc();
    if offset_of(proc.pgprocno).is_some() {
        return;
    }
    {
        let mut control = CONTROL.get().exclusive();
        let _xid_gen = varsup::lock_exclusive();
        let at = control.count as usize;
        PROCNOS.get()[at].store(proc.pgprocno, Relaxed);
        XIDS.get()[at].store(0, Relaxed);
        SUB_COUNTS.get()[at].store(0, Relaxed);
        OFFSETS.get()[proc.pgprocno as usize].store(at as u32, Relaxed);
        control.count += 1;
    }
    miscinit::exit::on_shmem_exit(|_| remove());
}

/// Takes this process out: the last entry moves to its place. C: `ProcArrayRemove`.
pub fn remove() {
    let Some(proc) = try_my_proc() else { return };
    if !is_member() {
        return;
    }
    if proc.xid.load(Relaxed) != 0 {
        // The session's end aborts its transaction first; whoever did not, did not commit either.
        end_transaction(Xid(proc.xid.load(Relaxed)));
    }
    let mut control = CONTROL.get().exclusive();
    let _xid_gen = varsup::lock_exclusive();
    take_out(&mut control, proc.pgprocno);
}

/// Takes an entry out; the locks of A1 are held.
fn take_out(control: &mut Control, pgprocno: u32) {
    let Some(at) = offset_of(pgprocno) else { return };
    let last = control.count as usize - 1;
    for array in [PROCNOS.get(), XIDS.get(), SUB_COUNTS.get()] {
        array[at].store(array[last].load(Relaxed), Relaxed);
    }
    OFFSETS.get()[PROCNOS.get()[at].load(Relaxed) as usize].store(at as u32, Relaxed);
    OFFSETS.get()[pgprocno as usize].store(NONE, Relaxed);
    XIDS.get()[last].store(0, Relaxed);
    control.count -= 1;
}

/// An error for a process that wants an id and has no entry.
pub(crate) fn require_member() -> Result<()> {
    if is_member() {
        return Ok(());
    }
    Err(error!(SqlState::INTERNAL_ERROR, "this process cannot run transactions that write"))
}

/// Shows the transaction's id; XidGenLock is held (A2, A5). In [`varsup::new_xid`].
pub(crate) fn publish_xid(xid: Xid) {
    let proc = my_proc();
    if let Some(at) = offset_of(proc.pgprocno) {
        proc.xid.store(xid.0, Relaxed);
        XIDS.get()[at].store(xid.0, SeqCst);
    }
}

/// Shows a subtransaction's id, or that there are too many; XidGenLock is held (A2).
pub(crate) fn publish_sub_xid(xid: Xid) {
    let proc = my_proc();
    let Some(at) = offset_of(proc.pgprocno) else { return };
    let state = SUB_COUNTS.get()[at].load(Relaxed);
    let count = (state & !OVERFLOWED) as usize;
    if count < MAX_CACHED_SUBXIDS {
        subxids_of(proc.pgprocno)[count].store(xid.0, Relaxed);
        // The id before the count: readers take no lock that we hold.
        SUB_COUNTS.get()[at].store(state + 1, SeqCst);
    } else {
        SUB_COUNTS.get()[at].store(state | OVERFLOWED, SeqCst);
    }
}

/// The transaction is over for everybody. `latest` is the newest of its ids, invalid if it had none: then
/// nobody else can tell, and no lock is taken. C: `ProcArrayEndTransaction`.
pub(crate) fn end_transaction(latest: Xid) {
    let Some(proc) = try_my_proc() else { return };
    if latest.is_valid() {
        let mut control = CONTROL.get().exclusive();
        if let Some(at) = offset_of(proc.pgprocno) {
            XIDS.get()[at].store(0, Relaxed);
            SUB_COUNTS.get()[at].store(0, Relaxed);
        }
        proc.xid.store(0, Relaxed);
        end_locally(proc);
        advance_latest_completed(&mut control, latest);
        count_completion();
    } else {
        let vacuuming = proc.status_flags.load(Relaxed) & PROC_VACUUM_STATE != 0;
        let _lock = vacuuming.then(|| CONTROL.get().exclusive());
        end_locally(proc);
    }
}

fn end_locally(proc: &PgProc) {
    proc.lxid.store(0, Relaxed);
    proc.xmin.store(0, SeqCst);
    proc.delay_checkpoint.store(0, Relaxed);
    proc.recovery_conflict_pending.store(false, Relaxed);
    let flags = proc.status_flags.load(Relaxed);
    if flags & PROC_VACUUM_STATE != 0 {
        proc.status_flags.store(flags & !PROC_VACUUM_STATE, Relaxed);
    }
}

/// A3; the caller holds ProcArrayLock.
fn count_completion() {
    let count = COMPLETIONS.get();
    count.store(count.load(Relaxed) + 1, SeqCst);
}

/// C: `MaintainLatestCompletedXid`.
fn advance_latest_completed(control: &mut Control, xid: Xid) {
    if control.latest_completed.xid().precedes(xid) {
        control.latest_completed = full_near(control.latest_completed, xid);
    }
}

/// Subtransactions aborted while their parent goes on. C: `XidCacheRemoveRunningXids`.
pub(crate) fn remove_sub_xids(xids: &[Xid], latest: Xid) {
    let Some(proc) = try_my_proc() else { return };
    let mut control = CONTROL.get().exclusive();
    let Some(at) = offset_of(proc.pgprocno) else { return };
    let (state, cached) = (SUB_COUNTS.get()[at].load(Relaxed), subxids_of(proc.pgprocno));
    let mut count = (state & !OVERFLOWED) as usize;
    // The youngest are at the end, and they abort first.
    for xid in xids.iter().rev() {
        if let Some(found) = cached[..count].iter().rposition(|c| c.load(Relaxed) == xid.0) {
            count -= 1;
            cached[found].store(cached[count].load(Relaxed), Relaxed);
        }
    }
    SUB_COUNTS.get()[at].store(count as u32 | state & OVERFLOWED, SeqCst);
    advance_latest_completed(&mut control, latest);
    count_completion();
}

/// Until dropped, or until the transaction ends: this process runs a lazy VACUUM, whose snapshot and id hold nobody up. To be
/// called before its first snapshot. C: in `vacuum_rel`.
pub fn in_vacuum(for_wraparound: bool) -> InVacuum {
    if let Some(proc) = try_my_proc() {
        let wraparound = if for_wraparound { PROC_VACUUM_FOR_WRAPAROUND } else { 0 };
        // Under the lock: a computation of horizons sees the flag with the xmin it excuses.
        let _lock = CONTROL.get().exclusive();
        proc.status_flags.fetch_or(PROC_IN_VACUUM | wraparound, Relaxed);
    }
    InVacuum(())
}

/// See [`in_vacuum`].
#[must_use = "the vacuum is over when this is dropped"]
#[derive(Debug)]
pub struct InVacuum(());

impl Drop for InVacuum {
    fn drop(&mut self) {
        if let Some(proc) = try_my_proc() {
            let _lock = CONTROL.get().exclusive();
            proc.status_flags.fetch_and(!PROC_VACUUM_STATE, Relaxed);
        }
    }
}

/// The newest id that is over. C: `ShmemVariableCache->latestCompletedXid`.
pub fn latest_completed() -> FullXid {
    CONTROL.get().shared().latest_completed
}

/// At the end of recovery: all ids before `next` are over.
pub(crate) fn set_latest_completed(next: FullXid) {
    let mut before = FullXid(next.0.saturating_sub(1));
    while before.0 > 0 && !before.xid().is_normal() {
        before = FullXid(before.0 - 1);
    }
    CONTROL.get().exclusive().latest_completed = before;
    count_completion();
}

/// The full id nearest to `reference` with these 32 bits. C: `FullXidRelativeTo`.
pub(crate) fn full_near(reference: FullXid, xid: Xid) -> FullXid {
    let distance = xid.0.wrapping_sub(reference.xid().0) as i32;
    // Older than the first id of all: no such row exists, whatever is asked is over.
    FullXid(reference.0.saturating_add_signed(i64::from(distance)))
}

/// Whether nothing ended since a snapshot with this count; makes sure of our `xmin` on the way (A4).
/// C: `GetSnapshotDataReuse`.
#[inline]
pub(crate) fn try_reuse(data: &SnapshotData) -> bool {
    let completions = COMPLETIONS.get();
    if data.completions != completions.load(SeqCst) {
        return false;
    }
    let Some(proc) = try_my_proc() else { return true };
    if proc.xmin.load(Relaxed) == 0 {
        proc.xmin.store(data.xmin.0, Relaxed);
        fence(SeqCst);
        if data.completions != completions.load(SeqCst) {
            proc.xmin.store(0, Relaxed);
            return false;
        }
        snapshot::set_transaction_xmin(data.xmin);
    }
    snapshot::set_recent_xmin(data.xmin);
    true
}

/// Takes a snapshot into `data`. C: `GetSnapshotData`.
pub(crate) fn collect(data: &mut SnapshotData) {
    data.xip.clear();
    data.subxip.clear();
    data.suboverflowed = false;
    let me = try_my_proc();
    let latest_completed;
    {
        let control = CONTROL.get().shared();
        latest_completed = control.latest_completed;
        data.completions = COMPLETIONS.get().load(Relaxed);
        data.xmax = latest_completed.xid().next();
        data.xmin = data.xmax;
        data.taken_during_recovery = wal::in_recovery();
        if data.taken_during_recovery {
            collect_known(&control, data);
        }
        let my_offset = me.and_then(|proc| offset_of(proc.pgprocno)).unwrap_or(usize::MAX);
        let count = control.count as usize;
        for (at, xid) in XIDS.get()[..count].iter().enumerate() {
            let xid = Xid(xid.load(Relaxed));
            if !xid.is_valid() {
                continue;
            }
            if at == my_offset {
                data.xmin = older(data.xmin, xid);
                continue;
            }
            // Begun after the last that ended: in progress for this snapshot anyway.
            if !xid.precedes(data.xmax) {
                continue;
            }
            let procno = PROCNOS.get()[at].load(Relaxed);
            let flags = all_procs()[procno as usize].status_flags.load(Relaxed);
            if flags & (PROC_IN_VACUUM | PROC_IN_LOGICAL_DECODING) != 0 {
                continue;
            }
            data.xmin = older(data.xmin, xid);
            data.xip.push(xid);
            collect_subxids(data, at, procno);
        }
        if let Some(proc) = me
            && proc.xmin.load(Relaxed) == 0
        {
            proc.xmin.store(data.xmin.0, SeqCst);
            snapshot::set_transaction_xmin(data.xmin);
        }
    }
    snapshot::set_recent_xmin(data.xmin);
    horizons::learn_from_snapshot(
        data.xmin,
        latest_completed,
        me.map_or(Xid::INVALID, |p| Xid(p.xid.load(Relaxed))),
    );
    data.sort_if_large();
}

/// A standby's sessions have no ids: all there is are the primary's, top ids and others alike.
/// C: the recovery part of `GetSnapshotData`.
fn collect_known(control: &Control, data: &mut SnapshotData) {
    data.subxip.extend(control.known_before(data.xmax));
    if let Some(oldest) = data.subxip.first() {
        data.xmin = *oldest;
    }
    data.suboverflowed = recovery::may_be_missing(control, data.xmin);
}

fn collect_subxids(data: &mut SnapshotData, at: usize, procno: u32) {
    if data.suboverflowed {
        return;
    }
    let state = SUB_COUNTS.get()[at].load(SeqCst);
    if state & OVERFLOWED != 0 {
        data.suboverflowed = true;
        return;
    }
    data.subxip.extend(subxids_of(procno)[..state as usize].iter().map(|xid| Xid(xid.load(Relaxed))));
}

fn older(a: Xid, b: Xid) -> Xid {
    if b.precedes(a) { b } else { a }
}

/// The older of two ids of which each may be absent. C: `TransactionIdOlder`.
fn older_valid(a: Xid, b: Xid) -> Xid {
    match (a.is_valid(), b.is_valid()) {
        (true, true) => older(a, b),
        (true, false) => a,
        _ => b,
    }
}

thread_local! {
    /// An id that was found not to run: rows of one transaction come in rows. C: `cachedXidIsNotInProgress`.
    static NOT_IN_PROGRESS: Cell<Xid> = const { Cell::new(Xid::INVALID) };
}

/// Whether some process runs the transaction or subtransaction; from here on, ask the commit log. Must be asked
/// *before* the commit log, never after. C: `TransactionIdIsInProgress`.
///
/// # Errors
/// Of reading pg_subtrans or the commit log, in the rare case that a process has too many subtransactions.
pub fn try_is_in_progress(xid: Xid) -> Result<bool> {
    if !xid.is_normal() || xid.precedes(snapshot::recent_xmin()) || NOT_IN_PROGRESS.get() == xid {
        return Ok(false);
    }
    if status::known_completed(xid) {
        return Ok(false);
    }
    if crate::xact::is_current(xid) {
        return Ok(true);
    }
    let mut parents = Vec::new();
    {
        let control = CONTROL.get().shared();
        if control.latest_completed.xid().precedes(xid) {
            return Ok(true);
        }
        if find_running(&control, xid, Some(&mut parents)).is_some() {
            return Ok(true);
        }
        if wal::in_recovery() {
            if control.is_known(xid) {
                return Ok(true);
            }
            if recovery::may_be_missing(&control, xid) {
                parents.extend(control.known_before(xid));
            }
        }
    }
    if parents.is_empty() {
        NOT_IN_PROGRESS.set(xid);
        return Ok(false);
    }
    // Perhaps one of the subtransactions that did not fit: known aborted, or below one of those parents?
    if status::try_did_abort(xid)? {
        NOT_IN_PROGRESS.set(xid);
        return Ok(false);
    }
    let top = subtrans::topmost(xid)?;
    let running = top != xid && parents.contains(&top);
    if !running {
        NOT_IN_PROGRESS.set(xid);
    }
    Ok(running)
}

/// As [`try_is_in_progress`] for places that cannot fail.
///
/// # Panics
/// If the commit log or pg_subtrans cannot be read.
#[inline]
pub fn is_in_progress(xid: Xid) -> bool {
    match try_is_in_progress(xid) {
        Ok(running) => running,
        Err(e) => panic!("{}: {}", e.message, e.detail.as_deref().unwrap_or_default()),
    }
}

/// The entry of another process that has this id, as a top id or a cached subtransaction's. Adds the top ids of
/// those with missing subtransactions to `overflowed`.
fn find_running(control: &Control, xid: Xid, mut overflowed: Option<&mut Vec<Xid>>) -> Option<usize> {
    let my_offset = try_my_proc().and_then(|proc| offset_of(proc.pgprocno)).unwrap_or(usize::MAX);
    for (at, top) in XIDS.get()[..control.count as usize].iter().enumerate() {
        let top = Xid(top.load(Relaxed));
        if at == my_offset || !top.is_valid() {
            continue;
        }
        if top == xid {
            return Some(at);
        }
        // Children are younger than their parents.
        if xid.precedes(top) {
            continue;
        }
        let state = SUB_COUNTS.get()[at].load(SeqCst);
        let cached = &subxids_of(PROCNOS.get()[at].load(Relaxed))[..(state & !OVERFLOWED) as usize];
        if cached.iter().rev().any(|c| c.load(Relaxed) == xid.0) {
            return Some(at);
        }
        if state & OVERFLOWED != 0
            && let Some(list) = &mut overflowed
        {
            list.push(top);
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests;
