//! How long a stop may take: the deadline of the whole, and the share of each who would wait.
//!
//! The postmaster stores it ([`set_deadline`]): with the order to stop, or later, or again; the tighter one counts (SD5).
//! Walsenders and the archiver look at their share as often as they look at their own setting; the postmaster pokes them (SIGUSR1)
//! when it has stored one. A crash that resets shared memory forgets the deadline: then there is nothing to wait for any more.
//!
//! C counterpart: none.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use activity::gauges::monotonic_micros;
use shmem::{Reservation, ShmVar, shm_struct};
pub use stopreport::{Mode, Plan};

shm_struct! {
    /// In microseconds of the monotonic clock; [`NEVER`] for no bound.
    struct Bounds {
        sessions: AtomicU64,
        before_checkpoint: AtomicU64,
        end: AtomicU64,
        deadline: AtomicU64,
    }
}

const NEVER: u64 = u64::MAX;

static BOUNDS: ShmVar<Bounds> = ShmVar::new("Shutdown Bounds");

pub(crate) fn reserve(reservation: &mut Reservation) {
    let never = || AtomicU64::new(NEVER);
    reservation.var(&BOUNDS, move || Bounds {
        sessions: never(),
        before_checkpoint: never(),
        end: never(),
        deadline: never(),
    });
}

/// A moment by the clock that all processes share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// As [`activity::gauges::monotonic_micros`] counts it.
    pub fn from_micros(micros: u64) -> Moment {
        Moment(micros)
    }

    /// This one.
    pub fn now() -> Moment {
        Moment(monotonic_micros())
    }

    /// As [`activity::gauges::monotonic_micros`] counts it.
    pub fn micros(self) -> u64 {
        self.0
    }

    /// How long until then; zero if it has passed.
    pub fn left(self) -> Duration {
        self.left_at(Moment::now())
    }

    /// The same as of another moment.
    pub fn left_at(self, now: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(now.0))
    }
}

/// The stop is to end within `total` from now; with `mode` smart part of that is for clients. For the postmaster: it stores
/// atomics, nothing else. Whom it concerns must be woken by the caller.
pub fn set_deadline(total: Duration, mode: Mode) {
    let Some(bounds) = BOUNDS.try_get() else { return };
    let now = monotonic_micros();
    let plan = Plan::divide(total, mode == Mode::Smart);
    for (word, share) in [
        (&bounds.sessions, plan.sessions),
        (&bounds.before_checkpoint, plan.before_checkpoint),
        (&bounds.end, plan.end),
        (&bounds.deadline, total),
    ] {
        let at = now.saturating_add(u64::try_from(share.as_micros()).unwrap_or(NEVER)).min(NEVER - 1);
        // SD5.
        word.fetch_min(at, SeqCst);
    }
}

fn moment(of: impl FnOnce(&Bounds) -> &AtomicU64) -> Option<Moment> {
    let at = of(BOUNDS.try_get()?).load(SeqCst);
    (at != NEVER).then_some(Moment(at))
}

/// When a walsender that still streams gives up because of the deadline. `holds_up_checkpoint`: the shutdown checkpoint waits for
/// it, since nobody reads its socket: then it has less time.
pub fn walsender_until(holds_up_checkpoint: bool) -> Option<Moment> {
    moment(|bounds| if holds_up_checkpoint { &bounds.before_checkpoint } else { &bounds.end })
}

/// When the archiver gives up because of the deadline.
pub fn archiver_until() -> Option<Moment> {
    moment(|bounds| &bounds.end)
}

/// When a client that came too late, and has not even said what it wants, is no longer listened to: the stop waits for whoever
/// refuses it.
pub fn stranger_until() -> Option<Moment> {
    moment(|bounds| &bounds.end)
}

/// How long clients may stay in a smart stop that has a deadline. Means nothing in a fast one.
pub fn smart_until() -> Option<Moment> {
    moment(|bounds| &bounds.sessions)
}

/// When the whole stop is to have ended.
pub fn deadline() -> Option<Moment> {
    moment(|bounds| &bounds.deadline)
}
