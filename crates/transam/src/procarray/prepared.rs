//! Prepared transactions in the process array: entries without a process.
//!
//! C counterpart: `ProcArrayClearTransaction`, `ProcArrayAdd` and `ProcArrayRemove` as twophase.c calls them,
//! `GXactLoadSubxactData`.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use common::Xid;
use shmem::all_procs;
use shmem::proc::try_my_proc;

use super::{
    CONTROL, MAX_CACHED_SUBXIDS, OFFSETS, OVERFLOWED, PROCNOS, SUB_COUNTS, XIDS, advance_latest_completed,
    count_completion, end_locally, offset_of, subxids_of, take_out,
};
use crate::varsup;

/// A PGPROC without a process runs this transaction from now on. C: `GXactLoadSubxactData`, `ProcArrayAdd`.
pub(crate) fn add_prepared(procno: u32, xid: Xid, children: &[Xid]) {
    let mut control = CONTROL.get().exclusive();
    let _xid_gen = varsup::lock_exclusive();
    let cached = children.len().min(MAX_CACHED_SUBXIDS);
    for (place, child) in subxids_of(procno).iter().zip(children) {
        place.store(child.0, Relaxed);
    }
    let overflowed = if children.len() > cached { OVERFLOWED } else { 0 };
    let at = control.count as usize;
    all_procs()[procno as usize].xid.store(xid.0, Relaxed);
    PROCNOS.get()[at].store(procno, Relaxed);
    SUB_COUNTS.get()[at].store(cached as u32 | overflowed, Relaxed);
    OFFSETS.get()[procno as usize].store(at as u32, Relaxed);
    XIDS.get()[at].store(xid.0, SeqCst);
    control.count += 1;
}

/// It has ended; `latest` is the newest of its ids. C: `ProcArrayRemove`.
pub(crate) fn remove_prepared(procno: u32, latest: Xid) {
    let mut control = CONTROL.get().exclusive();
    let _xid_gen = varsup::lock_exclusive();
    let Some(at) = offset_of(procno) else { return };
    XIDS.get()[at].store(0, Relaxed);
    SUB_COUNTS.get()[at].store(0, Relaxed);
    all_procs()[procno as usize].xid.store(0, Relaxed);
    advance_latest_completed(&mut control, latest);
    count_completion();
    take_out(&mut control, procno);
}

/// This process's transaction is another PGPROC's now: to everybody else nothing has changed. C: `ProcArrayClearTransaction`.
pub(crate) fn clear_transaction() {
    let Some(proc) = try_my_proc() else { return };
    let _control = CONTROL.get().exclusive();
    if let Some(at) = offset_of(proc.pgprocno) {
        XIDS.get()[at].store(0, Relaxed);
        SUB_COUNTS.get()[at].store(0, Relaxed);
    }
    proc.xid.store(0, Relaxed);
    end_locally(proc);
    // It has not ended; but a snapshot taken before, by us, did not list it (A3).
    count_completion();
}
