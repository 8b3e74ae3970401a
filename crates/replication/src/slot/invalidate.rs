//! A slot that keeps more than `max_slot_wal_keep_size` is given up, so that its standby's absence does not fill the disk.
//!
//! If a walsender uses it, that process is told to end first: a slot changes only in the hands of who has acquired it.
//!
//! C counterpart: `InvalidateObsoleteReplicationSlots`, `InvalidatePossiblyObsoleteSlot`.

use std::sync::atomic::Ordering;

use common::Lsn;
use elog::{Result, ereport};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmem::SharedGuard;
use wal::SegNo;

use super::waiting::Waiter;
use super::{CONTROL, MINE, Name, lifecycle, places, required, used};

/// Gives up all slots that need WAL before this segment, which the checkpointer is about to remove. Returns whether there was
/// one: then more can be removed. Waits for those who use such a slot. C: `InvalidateObsoleteReplicationSlots`.
///
/// # Errors
/// Of a slot's file; those of a wait that is interrupted.
pub fn invalidate_obsolete(oldest: SegNo) -> Result<bool> {
    if places().is_empty() {
        return Ok(false);
    }
    let oldest = wal::geometry().lsn(oldest, 0);
    let mut any = false;
    // From the start after each one: the lock was given up meanwhile.
    while let Some(number) = next_obsolete(oldest) {
        any |= invalidate(number, oldest)?;
    }
    if any {
        required::compute_xmin();
        required::compute_lsn();
    }
    Ok(any)
}

fn is_obsolete(restart_lsn: Lsn, oldest: Lsn) -> bool {
    restart_lsn != Lsn::INVALID && restart_lsn < oldest
}

fn next_obsolete(oldest: Lsn) -> Option<usize> {
    let _control = CONTROL.get().control.shared();
    used().find(|(_, place)| is_obsolete(place.copy().data.restart_lsn, oldest)).map(|(number, _)| number)
}

/// How one attempt ended.
enum Attempt {
    /// It is not obsolete any more, or not there.
    NotNeeded,
    /// This process uses it.
    UsedBy(i32, Name),
    /// Nobody used it; it is ours now, and invalid.
    Done(Name, Lsn),
}

/// C: `InvalidatePossiblyObsoleteSlot`.
fn invalidate(number: usize, oldest: Lsn) -> Result<bool> {
    let mut told = 0;
    let waiter = Waiter::for_slot(number);
    loop {
        let control = CONTROL.get().control.shared();
        match attempt(number, oldest, &control) {
            Attempt::NotNeeded => return Ok(false),
            Attempt::UsedBy(pid, name) => {
                drop(control);
                if told != pid {
                    ereport!(Log, "terminating process {pid} to release replication slot \"{name}\"");
                    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
                    told = pid;
                }
                waiter.sleep()?;
            }
            Attempt::Done(name, restart_lsn) => {
                drop(control);
                // After a crash it must not come back: WAL would be gone by then.
                lifecycle::mark_dirty();
                let saved = lifecycle::save();
                lifecycle::release();
                saved?;
                ereport!(
                    Log,
                    "invalidating slot \"{name}\" because its restart_lsn {restart_lsn} exceeds max_slot_wal_keep_size"
                );
                return Ok(true);
            }
        }
    }
}

fn attempt(number: usize, oldest: Lsn, _control: &SharedGuard<'_, ()>) -> Attempt {
    let place = &places()[number];
    if !place.in_use.load(Ordering::Acquire) {
        return Attempt::NotNeeded;
    }
    let mut body = place.body.lock();
    let (restart_lsn, name) = (body.data.restart_lsn, body.data.name);
    if !is_obsolete(restart_lsn, oldest) {
        return Attempt::NotNeeded;
    }
    if body.active_pid != 0 {
        return Attempt::UsedBy(body.active_pid, name);
    }
    // From here on nobody can acquire it with a position that does not hold.
    MINE.set(Some(number));
    body.active_pid = miscinit::globals::my_proc_pid();
    body.data.invalidated_at = restart_lsn;
    body.data.restart_lsn = Lsn::INVALID;
    Attempt::Done(name, restart_lsn)
}
