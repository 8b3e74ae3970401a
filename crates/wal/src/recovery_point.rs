//! How far replay is, and how far it must get before the data can be trusted.
//!
//! A page written during recovery may be ahead of where a new recovery would stop; so instead of flushing WAL, whoever
//! writes a page then moves the minimum recovery point in pg_control past its LSN. After a crash (as opposed to from an
//! archive) replay goes to the end of WAL anyway, and there is no such point.
//!
//! C counterpart: `UpdateMinRecoveryPoint` of xlog.c; `GetXLogReplayRecPtr`, `GetCurrentReplayRecPtr` of xlogrecovery.c.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use common::{Lsn, TimeLineId};
use elog::{Result, ereport};

use crate::control_file;
use crate::shared::{LOCAL, RecoveryState, recovery_state, shared, try_shared};

/// Everything before it has been replayed. C: `GetXLogReplayRecPtr`.
pub fn replayed() -> (Lsn, TimeLineId) {
    let replay = shared().replay.lock();
    (Lsn(replay.done), TimeLineId(replay.done_timeline))
}

/// The end of the record that is being replayed, or of the last one: what pages may show already.
/// C: `GetCurrentReplayRecPtr`.
pub fn replaying() -> (Lsn, TimeLineId) {
    let replay = shared().replay.lock();
    (Lsn(replay.begun), TimeLineId(replay.begun_timeline))
}

/// The startup process is about to replay the record that ends here. `timeline` is the one that the record leads to.
pub fn set_replaying(end: Lsn, timeline: TimeLineId) {
    let mut replay = shared().replay.lock();
    (replay.begun, replay.begun_timeline) = (end.0, timeline.0);
}

/// The startup process has replayed the record that ends here; or, before the first one, will begin here.
pub fn set_replayed(end: Lsn, timeline: TimeLineId) {
    let shared = shared();
    let mut replay = shared.replay.lock();
    (replay.begun, replay.begun_timeline) = (end.0, timeline.0);
    (replay.done, replay.done_timeline) = (end.0, timeline.0);
    drop(replay);
    shared.replayed_timeline.store(timeline.0, Relaxed);
    shared.replayed.store(end.0, Relaxed);
}

/// What can be seen of WAL without a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// The cluster replays WAL.
    pub in_recovery: bool,
    /// Everything before it is durable, as [`crate::flush_lsn`].
    pub flushed: Lsn,
    /// Everything before it has been replayed; of no use outside of recovery.
    pub replayed: Lsn,
    /// The timeline of that, at this moment or the one before.
    pub replayed_timeline: TimeLineId,
}

/// For the postmaster, which takes no lock, has no part in recovery, and passes on to its children what it remembers: so this
/// remembers nothing. `None` without shared memory. The fields may be of different moments.
pub fn glance() -> Option<Glance> {
    let shared = try_shared()?;
    Some(Glance {
        in_recovery: shared.recovery_state.load(Relaxed) != RecoveryState::Done as u32,
        flushed: Lsn(shared.flushed.load(Acquire)),
        replayed: Lsn(shared.replayed.load(Relaxed)),
        replayed_timeline: TimeLineId(shared.replayed_timeline.load(Relaxed)),
    })
}

/// The control file's point has changed behind this process's back: look again.
pub fn forget() {
    LOCAL.with(|local| local.min_recovery_point.set(None));
}

/// Whether there is such a point at all: a crash recovery always goes to the end of WAL.
fn is_wanted() -> bool {
    recovery_state() != RecoveryState::Crash
}

/// Whether [`update`] would have to do something.
pub(crate) fn needs_update(lsn: Lsn) -> bool {
    is_wanted()
        && LOCAL.with(|local| match local.min_recovery_point.get() {
            Some(point) => point != Lsn::INVALID && lsn > point,
            None => true,
        })
}

/// Moves the minimum recovery point to at least `lsn`, in fact to where replay is. C: `UpdateMinRecoveryPoint`.
///
/// # Errors
/// What reading or writing pg_control returns.
pub fn update(lsn: Lsn, force: bool) -> Result<()> {
    if !is_wanted() || !force && !needs_update(lsn) {
        return Ok(());
    }
    let on_disk = control_file::read()?.min_recovery_point;
    let mut known = on_disk;
    if on_disk != Lsn::INVALID && (force || on_disk < lsn) {
        let (target, timeline) = replaying();
        if !force && target < lsn {
            ereport!(Warning, "xlog min recovery request {lsn} is past current point {target}");
        }
        if on_disk < target {
            control_file::update(|control| {
                // Not if recovery has ended meanwhile: then there is no such point any more.
                if control.min_recovery_point != Lsn::INVALID && control.min_recovery_point < target {
                    control.min_recovery_point = target;
                    control.min_recovery_point_timeline = timeline;
                }
                known = control.min_recovery_point;
            })?;
            ereport!(Debug2, "updated min recovery point to {target} on timeline {timeline}");
        }
    }
    LOCAL.with(|local| local.min_recovery_point.set(Some(known)));
    Ok(())
}
