//! Questions about other processes: who runs an id, who is in a database, who delays a checkpoint.
//!
//! C counterpart: the `BackendXidGetPid` .. `CountOtherDBBackends` part of procarray.c.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::{FullXid, Oid, Xid};
use elog::Result;
use shmem::proc::try_my_proc;
use shmem::{PgProc, all_procs};

use super::horizons::my_database;
use super::{CONTROL, DELAY_CHECKPOINT_START, PROC_IS_AUTOVACUUM, PROCNOS, XIDS, full_near, older};
use crate::{snapshot, varsup};

/// Pause between two looks at others who must get out of the way.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// How often and how long CREATE/DROP DATABASE waits for others to leave: 5 s.
const LEAVE_TRIES: u32 = 50;
const LEAVE_PAUSE: Duration = Duration::from_millis(100);
/// Autovacuum workers told to leave at a time. C: `MAXAUTOVACPIDS`.
const MAX_AUTOVACUUM_PIDS: usize = 10;

/// Calls `look` for each member's PGPROC and top id, under ProcArrayLock, shared.
fn each(mut look: impl FnMut(&'static PgProc, Xid)) {
    let control = CONTROL.get().shared();
    for at in 0..control.count as usize {
        let procno = PROCNOS.get()[at].load(Relaxed) as usize;
        look(&all_procs()[procno], Xid(XIDS.get()[at].load(Relaxed)));
    }
}

pub(super) fn vxid_of(proc: &PgProc) -> (i32, u32) {
    (proc.backend_id(), proc.lxid.load(Relaxed))
}

fn is_me(proc: &PgProc) -> bool {
    try_my_proc().is_some_and(|me| me.pgprocno == proc.pgprocno)
}

/// PGPROC number of whoever runs this top id, ourselves included.
pub fn pgprocno_of_xid(xid: Xid) -> Option<u32> {
    let mut found = None;
    if xid.is_valid() {
        each(|proc, top| {
            if top == xid {
                found = Some(proc.pgprocno);
            }
        });
    }
    found
}

/// Its process id; 0 for none. C: `BackendXidGetPid`.
pub fn pid_of_xid(xid: Xid) -> i32 {
    pgprocno_of_xid(xid).map_or(0, |procno| all_procs()[procno as usize].pid.load(Relaxed))
}

/// Whether this is the top id of a running transaction. C: `TransactionIdIsActive`.
pub fn is_active(xid: Xid) -> bool {
    !xid.precedes(snapshot::recent_xmin()) && pgprocno_of_xid(xid).is_some()
}

/// Whether the transaction of this virtual id (backend id, local id) runs.
pub fn is_vxid_running(vxid: (i32, u32)) -> bool {
    let proc = usize::try_from(vxid.0 - 1).ok().and_then(|index| all_procs().get(index));
    vxid.1 != 0 && proc.is_some_and(|proc| proc.lxid.load(Relaxed) == vxid.1)
}

/// Virtual ids of others' transactions that may see what was current at `limit_xmin` (invalid: of all).
/// `exclude_xmin_zero`: not those without a snapshot; `exclude_flags`: not those with one of these `PROC_*` flags.
/// C: `GetCurrentVirtualXIDs`.
pub fn current_vxids(
    limit_xmin: Xid,
    exclude_xmin_zero: bool,
    all_databases: bool,
    exclude_flags: u32,
) -> Vec<(i32, u32)> {
    let my_db = my_database();
    let mut found = Vec::new();
    each(|proc, _| {
        if is_me(proc) || proc.status_flags.load(Relaxed) & exclude_flags != 0 {
            return;
        }
        if !all_databases && Oid(proc.database_id.load(Relaxed)) != my_db {
            return;
        }
        let xmin = Xid(proc.xmin.load(Relaxed));
        if exclude_xmin_zero && !xmin.is_valid() {
            return;
        }
        // Without an xmin yet: it may get any, so that it counts.
        let may_see = !limit_xmin.is_valid() || !xmin.is_valid() || xmin.precedes_or_equals(limit_xmin);
        let vxid = vxid_of(proc);
        if may_see && vxid.1 != 0 {
            found.push(vxid);
        }
    });
    found
}

/// Whether at least `n` other transactions have an id and do not wait for a lock: is it worth waiting for company
/// at a commit? C: `MinimumActiveBackends`.
pub fn at_least_active(n: u32) -> bool {
    if n == 0 {
        return true;
    }
    // No lock: a wrong answer costs a few microseconds.
    let others = XIDS.get().iter().zip(PROCNOS.get()).filter(|(xid, procno)| {
        xid.load(Relaxed) != 0
            && all_procs().get(procno.load(Relaxed) as usize).is_some_and(|proc| {
                let waits_for = proc.wait_event_info.load(Relaxed);
                !is_me(proc) && shmem::wait_event::type_name(waits_for) != Some("Lock")
            })
    });
    others.take(n as usize).count() == n as usize
}

/// Sessions in a database; all of them if it is invalid. C: `CountDBBackends`.
pub fn count_db_backends(db: Oid) -> u32 {
    let mut count = 0;
    each(|proc, _| {
        let here =
            proc.pid.load(Relaxed) != 0 && (!db.is_valid() || Oid(proc.database_id.load(Relaxed)) == db);
        count += u32::from(here);
    });
    count
}

/// Waits up to 5 s until no other session is in the database, telling autovacuum workers to leave. Returns how
/// many (sessions, prepared transactions) are left. C: `CountOtherDBBackends`.
///
/// # Errors
/// Of an interrupt.
pub fn count_other_db_backends(db: Oid) -> Result<(u32, u32)> {
    let (mut left, mut prepared) = (0, 0);
    for _ in 0..LEAVE_TRIES {
        miscinit::interrupt::check()?;
        (left, prepared) = (0, 0);
        let mut workers = Vec::new();
        each(|proc, _| {
            if Oid(proc.database_id.load(Relaxed)) != db || is_me(proc) {
                return;
            }
            if proc.pid.load(Relaxed) == 0 {
                prepared += 1;
                return;
            }
            left += 1;
            if proc.status_flags.load(Relaxed) & PROC_IS_AUTOVACUUM != 0
                && workers.len() < MAX_AUTOVACUUM_PIDS
            {
                workers.push(proc.pid.load(Relaxed));
            }
        });
        if left == 0 && prepared == 0 {
            break;
        }
        for pid in workers.into_iter().filter(|pid| *pid > 0) {
            // Gone already: as good as told.
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        crate::pause(LEAVE_PAUSE);
    }
    Ok((left, prepared))
}

/// The oldest id that runs, or the next one: where a standby would have to start. C: `GetOldestActiveTransactionId`.
pub fn oldest_active_xid() -> Xid {
    // Read before the walk: what begins later is younger.
    let mut oldest = varsup::read_next_xid();
    each(|_, xid| {
        if xid.is_normal() {
            oldest = older(oldest, xid);
        }
    });
    oldest
}

/// Whoever is between a commit record and its commit-log entry now. C: `GetVirtualXIDsDelayingChkpt`.
pub fn vxids_delaying(flags: u32) -> Vec<(i32, u32)> {
    let mut found = Vec::new();
    each(|proc, _| {
        if proc.delay_checkpoint.load(Relaxed) & flags != 0 && proc.lxid.load(Relaxed) != 0 {
            found.push(vxid_of(proc));
        }
    });
    found
}

/// Waits until those who now are between a commit record and its commit-log entry have written the latter, so that
/// a checkpoint whose redo position lies after the record has the entry on disk. C: in `CreateCheckPoint`.
pub fn wait_for_delayed_commits() {
    wait_for_delayed_commits_with(&mut || {});
}

/// As [`wait_for_delayed_commits`], calling `meanwhile` before each pause (the checkpointer's fsync queue).
pub fn wait_for_delayed_commits_with(meanwhile: &mut dyn FnMut()) {
    let mut delaying = vxids_delaying(DELAY_CHECKPOINT_START);
    while !delaying.is_empty() {
        meanwhile();
        crate::pause(RETRY_PAUSE);
        let still = vxids_delaying(DELAY_CHECKPOINT_START);
        delaying.retain(|vxid| still.contains(vxid));
    }
}

/// `pg_current_snapshot()` of a snapshot: xmin, xmax and the running top ids, ascending, with their epochs.
/// C: `pg_current_snapshot` of xid8funcs.c.
pub fn full_snapshot(snapshot: &snapshot::Snapshot) -> (FullXid, FullXid, Vec<FullXid>) {
    let next = varsup::read_next_full_xid();
    let widen = |xid: Xid| full_near(next, xid);
    let mut running: Vec<FullXid> = snapshot.xip().iter().map(|xid| widen(*xid)).collect();
    running.sort_unstable();
    running.dedup();
    (widen(snapshot.xmin()), widen(snapshot.xmax()), running)
}
