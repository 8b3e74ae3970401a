//! What can be told without a server: nothing, and that without harm.

use std::time::Duration;

use stopreport::{CheckpointPhase, Mode, Observation};

use crate::bounds::{self, Moment};
use crate::{Scope, observe};

#[test]
fn without_shared_memory_there_is_nothing_to_see() {
    for scope in [Scope::Everything, Scope::Stop] {
        let Observation { is_standby, sessions, checkpoint, walsenders, archiver, bounds } = observe(scope);
        assert!(!is_standby && sessions.is_empty() && walsenders.is_empty() && archiver.is_none());
        assert_eq!((checkpoint.phase, checkpoint.bytes), (CheckpointPhase::Idle, 0));
        assert_eq!((bounds.deadline, bounds.walsender, bounds.archiver), (None, None, None));
    }
    bounds::set_deadline(Duration::from_secs(30), Mode::Fast);
    assert_eq!((bounds::deadline(), bounds::archiver_until(), bounds::smart_until()), (None, None, None));
    assert_eq!(bounds::stranger_until(), None);
    assert_eq!((bounds::walsender_until(true), bounds::walsender_until(false)), (None, None));
    assert!(crate::count_ready().is_err(), "no data directory");
}

#[test]
fn moments_do_not_go_below_zero() {
    let (early, late) = (Moment::from_micros(1_000_000), Moment::from_micros(3_500_000));
    assert_eq!(late.left_at(early), Duration::from_millis(2500));
    assert_eq!(early.left_at(late), Duration::ZERO);
    assert_eq!(early.left(), Duration::ZERO, "since the machine started");
    assert!(Moment::now() > late);
}
