//! How far replay is, and how far it must get before the data can be trusted.
//!
//! A page written during recovery may be ahead of where a new recovery would stop; so instead of flushing WAL, whoever
//! writes a page then moves the minimum recovery point in pg_control past its LSN. After a crash (as opposed to from an
//! archive) replay goes to the end of WAL anyway, and there is no such point.
//!
//! C counterpart: `UpdateMinRecoveryPoint`, `GetXLogReplayRecPtr`.

use std::sync::atomic::Ordering;

use common::{Lsn, TimeLineId};
use elog::{Result, ereport};

use crate::control_file;
use crate::shared::{LOCAL, RecoveryState, recovery_state, shared};

/// Everything before it has been replayed. C: `GetXLogReplayRecPtr`.
pub fn replayed() -> (Lsn, TimeLineId) {
    let shared = shared();
    let timeline = TimeLineId(shared.replayed_timeline.load(Ordering::Relaxed));
    (Lsn(shared.replayed.load(Ordering::Acquire)), timeline)
}

/// The startup process is about to replay, or has replayed, the record that ends here.
pub fn set_replayed(end: Lsn, timeline: TimeLineId) {
    let shared = shared();
    shared.replayed_timeline.store(timeline.0, Ordering::Relaxed);
    shared.replayed.store(end.0, Ordering::Release);
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
        let (target, timeline) = replayed();
        if !force && target < lsn {
            ereport!(Warning, "xlog min recovery request {lsn} is past current point {target}");
        }
        if on_disk < target {
            control_file::update(|control| {
                if control.min_recovery_point < target {
                    control.min_recovery_point = target;
                    control.min_recovery_point_timeline = timeline;
                }
            })?;
            known = target;
        }
    }
    LOCAL.with(|local| local.min_recovery_point.set(Some(known)));
    Ok(())
}
