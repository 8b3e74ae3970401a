//! Waiting for the end of somebody's round, without a turn of one's own afterwards.
//!
//! For work that one process does for all who ask, behind an LWLock: who finds the lock taken does not want the lock, but
//! that its holder is done; most then find their own work done too. All sleep on one word and are woken by one system call;
//! who has still something to do tries for the lock, and the others wait for that one.
//!
//! ```text
//! worker:   lock, work, unlock, finish
//! others:   seen = current, try the lock, wait_beyond(seen), look again
//! ```
//!
//! - **R1** Whoever has held the lock calls [`Rounds::finish`] after giving it back.
//! - **R2** [`Rounds::current`] is read before the lock is tried: if that fails its holder has not finished yet.
//!
//! No wake-up is lost: a waiter counts itself before it compares the word, in one step with going to sleep; who finishes
//! changes the word before it looks for waiters.
//!
//! C counterpart: `LWLockAcquireOrWait` of lwlock.c, which keeps such waiters in the lock's own queue.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use crate::wait_event::{self, WaitEvent};
use crate::{futex, shm_struct};

/// So long at most a waiter sleeps before it looks again. Only matters where R1 was not kept.
const LIMIT: Duration = Duration::from_secs(1);

shm_struct! {
    /// See the module.
    pub struct Rounds {
        /// Counts those that ended; wraps around.
        ended: AtomicU32,
        /// How many sleep, or are about to.
        waiting: AtomicU32,
    }
}

impl Rounds {
    /// Nobody has worked yet.
    pub const fn new() -> Rounds {
        Rounds { ended: AtomicU32::new(0), waiting: AtomicU32::new(0) }
    }

    /// What [`Rounds::wait_beyond`] wants to know (R2).
    #[inline]
    pub fn current(&self) -> u32 {
        self.ended.load(SeqCst)
    }

    /// The holder is done and has given the lock back (R1). A system call only if somebody waits.
    #[inline]
    pub fn finish(&self) {
        self.ended.fetch_add(1, SeqCst);
        if self.waiting.load(SeqCst) != 0 {
            futex::wake_all(&self.ended);
        }
    }

    /// Sleeps until a round has ended since `seen` was current. May return early, so the caller looks again. No interrupt is
    /// served, as while waiting for an LWLock.
    pub fn wait_beyond(&self, seen: u32, wait_event: WaitEvent) {
        let _waiting = wait_event::during(wait_event);
        self.waiting.fetch_add(1, SeqCst);
        if self.ended.load(SeqCst) == seen {
            futex::wait(&self.ended, seen, LIMIT);
        }
        self.waiting.fetch_sub(1, SeqCst);
    }
}

impl Default for Rounds {
    fn default() -> Rounds {
        Rounds::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use common::BackendType;

    use super::*;
    use crate::testing::{Child, End, alone, segment};
    use crate::wait_event::tranche;
    use crate::{LwLock, ShmVar};

    shm_struct! {
        struct Shared {
            lock: LwLock<u64>,
            asked: AtomicU64,
            done: AtomicU64,
            rounds: Rounds,
        }
    }

    static SHARED: ShmVar<Shared> = ShmVar::new("rounds");

    /// Each of several processes wants its tickets served, and serves all when nobody else does.
    #[test]
    fn everybody_is_served() {
        const TICKETS: u64 = 2000;
        let _alone = alone();
        let segment = segment(|reservation| {
            reservation.var(&SHARED, || Shared {
                lock: LwLock::new(tranche::WAL_WRITE, 0),
                asked: AtomicU64::new(0),
                done: AtomicU64::new(0),
                rounds: Rounds::new(),
            });
        });
        let children = [(); 4].map(|()| {
            Child::run_as(BackendType::Backend, move || {
                let shared = SHARED.get();
                for _ in 0..TICKETS {
                    let mine = shared.asked.fetch_add(1, SeqCst) + 1;
                    while shared.done.load(SeqCst) < mine {
                        let seen = shared.rounds.current();
                        let Some(mut served) = shared.lock.try_exclusive() else {
                            shared.rounds.wait_beyond(seen, WaitEvent::lwlock(tranche::WAL_WRITE));
                            continue;
                        };
                        *served = shared.asked.load(SeqCst);
                        shared.done.store(*served, SeqCst);
                        drop(served);
                        shared.rounds.finish();
                    }
                }
            })
        });
        for child in children {
            assert_eq!(child.wait(), End::Code(0));
        }
        assert_eq!(SHARED.get().done.load(SeqCst), 4 * TICKETS);
        assert_eq!(SHARED.get().rounds.waiting.load(SeqCst), 0);
        segment.destroy();
    }
}
