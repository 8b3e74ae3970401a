//! Taking in what others sent.
//!
//! C counterpart: storage/ipc/sinval.c.

use std::cell::Cell;

use common::Oid;
use elog::Result;
use shmem::procsignal::{self, ProcSignalReason};

use crate::{Message, ring};

/// Messages taken out under one hold of the lock. C: `MAXINVALMSGS`.
const BATCH: usize = 32;

thread_local! {
    /// Somebody asked us to catch up. C: `catchupInterruptPending`.
    static CATCHUP_PENDING: Cell<bool> = const { Cell::new(false) };
}

/// Whether there is something to receive: one load. `false` when not attached.
#[inline]
pub fn anything_new() -> bool {
    ring::is_behind()
}

/// Hands every waiting message to `obey`, oldest first; if some were lost, calls `reset` instead: everything cached
/// may be stale. Either may call this again (reading a catalog locks it): messages that are already taken out are then
/// obeyed after those that the inner call finds, which is harmless as they only make caches forget.
/// C: `ReceiveSharedInvalidMessages`.
#[inline]
pub fn receive(obey: impl FnMut(&Message), reset: impl FnMut()) {
    if anything_new() {
        receive_some(obey, reset);
    }
}

#[cold]
fn receive_some(mut obey: impl FnMut(&Message), mut reset: impl FnMut()) {
    let mut batch = [Message::relmap(Oid::INVALID); BATCH];
    loop {
        match ring::read(&mut batch) {
            None => {
                reset();
                break;
            }
            Some(count) => {
                batch[..count].iter().for_each(&mut obey);
                if count < BATCH {
                    break;
                }
            }
        }
    }
    // Caught up. The sessions that are still behind are poked one after the other, not all at once.
    if CATCHUP_PENDING.take() {
        ring::pass_poke_on();
    }
}

/// For the interrupt processor, when SIGUSR1 was noted: if the reason was a request to catch up, remembers it.
/// C: `HandleCatchupInterrupt`.
pub fn note_procsignal() {
    if procsignal::check(ProcSignalReason::CatchupInterrupt) {
        CATCHUP_PENDING.set(true);
    }
}

/// Whether [`process_catchup`] has something to do.
#[inline]
pub fn catchup_pending() -> bool {
    CATCHUP_PENDING.get()
}

/// For a session that waits for its client: catches up with `accept`, which is to take the messages in, in a
/// transaction of its own if none is open. Does nothing if nobody asked. C: `ProcessCatchupInterrupt`.
///
/// # Errors
/// What `accept` says.
pub fn process_catchup(mut accept: impl FnMut() -> Result<()>) -> Result<()> {
    note_procsignal();
    while CATCHUP_PENDING.get() {
        accept()?;
        // `accept` found nothing to read: then nobody behind us was waiting for a poke either.
        if CATCHUP_PENDING.take() {
            ring::pass_poke_on();
        }
    }
    Ok(())
}
