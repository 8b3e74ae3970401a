//! Timelines on the way: records that switch to another one, and new ones that appear while a standby waits.
//!
//! C counterpart: `checkTimeLineSwitch`, `rescanLatestTimeLine` of xlogrecovery.c; the first part of `ApplyWalRecord`.

use common::pg_control::CheckPoint;
use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, ereport, pg_error};
use wal::checkpoint::info;
use wal::timeline::{self, History};
use wal::{DecodedRecord, RmgrId};

use crate::state;

/// The timeline that begins with a record, and the one before it; `None` if it says nothing about that.
fn begins(record: &DecodedRecord<'_>) -> Option<(TimeLineId, TimeLineId)> {
    if record.rmgr != RmgrId::Xlog as u8 {
        return None;
    }
    match record.operation() {
        info::CHECKPOINT_SHUTDOWN => {
            let checkpoint = CheckPoint::from_bytes(record.main_data.get(..CheckPoint::SIZE)?)?;
            Some((checkpoint.this_timeline, checkpoint.prev_timeline))
        }
        info::END_OF_RECOVERY => match wal::redo::parse(record).ok()? {
            wal::redo::XlogRecord::EndOfRecovery { timeline, previous } => Some((timeline, previous)),
            _ => None,
        },
        _ => None,
    }
}

/// Before a record is replayed: if it begins a timeline, that is the one of this record already. True if it does.
///
/// # Errors
/// PANIC if it should not.
pub(crate) fn follow(record: &DecodedRecord<'_>) -> Result<bool> {
    let current = state::with(|state| state.replay_timeline.get());
    match begins(record) {
        Some((new, previous)) if new != current => {
            check_switch(record.end_lsn, new, previous, current)?;
            state::with(|state| state.replay_timeline.set(new));
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// C: `checkTimeLineSwitch`.
fn check_switch(lsn: Lsn, new: TimeLineId, previous: TimeLineId, current: TimeLineId) -> Result<()> {
    let panic = |text: String| Err(pg_error!(Panic, SqlState::INTERNAL_ERROR, "{text}"));
    let (new_number, previous_number, current_number) = (new.0, previous.0, current.0);
    if previous != current {
        return panic(format!(
            "unexpected previous timeline ID {previous_number} (current timeline ID {current_number}) in \
             checkpoint record"
        ));
    }
    if new < current || !state::is_expected(new) {
        return panic(format!(
            "unexpected timeline ID {new_number} (after {current_number}) in checkpoint record"
        ));
    }
    // Behind the switch there is no way to the minimum recovery point on its own timeline.
    let (point, of_point) = state::with(|state| (state.min_point.get(), state.min_point_timeline.get()));
    if point != Lsn::INVALID && lsn < point && new > of_point {
        return panic(format!(
            "unexpected timeline ID {new_number} in checkpoint record, before reaching minimum recovery \
             point {point} on timeline {}",
            of_point.0
        ));
    }
    Ok(())
}

/// Looks for a timeline newer than the one recovered to; true if there is one that recovery can follow from here.
/// C: `rescanLatestTimeLine`.
///
/// # Errors
/// As `wal::timeline::find_newest`.
pub(crate) fn rescan() -> Result<bool> {
    let (old, current, replayed) = state::with(|state| {
        (state.target_timeline.get(), state.replay_timeline.get(), state.replayed_end.get())
    });
    let new = timeline::find_newest(old)?;
    if new == old {
        return Ok(false);
    }
    let history = timeline::read_history(new)?;
    if let Err(text) = can_follow(&history, old, current, replayed) {
        ereport!(Log, "{text}");
        return Ok(false);
    }
    state::with(|state| state.target_timeline.set(new));
    state::set_expected(history);
    timeline::restore_history_files(TimeLineId(old.0 + 1), new)?;
    ereport!(Log, "new target timeline is {}", new.0);
    Ok(true)
}

/// Whether a new timeline left the one recovered to so far, and not before the point that replay has reached.
fn can_follow(history: &History, old: TimeLineId, current: TimeLineId, replayed: Lsn) -> Result<(), String> {
    let (new, current) = (history.newest().0, current.0);
    let Some(entry) = history.0.iter().find(|entry| entry.tli == old) else {
        return Err(format!("new timeline {new} is not a child of database system timeline {current}"));
    };
    if entry.end < replayed {
        return Err(format!(
            "new timeline {new} forked off current database system timeline {current} before current \
             recovery point {replayed}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_the_past_cannot_be_followed() {
        let history = History::parse("1\t0/5000000\twhy\n", TimeLineId(2), "00000002.history").unwrap();
        let follow = |old, replayed| can_follow(&history, TimeLineId(old), TimeLineId(1), Lsn(replayed));
        assert_eq!(follow(1, 0x500_0000), Ok(()));
        let text = follow(1, 0x500_0001).unwrap_err();
        assert!(text.ends_with("before current recovery point 0/5000001"), "{text}");
        let text = follow(3, 1).unwrap_err();
        assert_eq!(text, "new timeline 2 is not a child of database system timeline 1");
    }

    #[test]
    fn switches_are_checked() {
        state::set_expected(
            History::parse("1\t0/5000000\twhy\n", TimeLineId(2), "00000002.history").unwrap(),
        );
        let switch = |new, previous, current| {
            let [new, previous, current] = [new, previous, current].map(TimeLineId);
            check_switch(Lsn(0x500_0028), new, previous, current).map_err(|error| error.message.to_string())
        };
        assert_eq!(switch(2, 1, 1), Ok(()));
        assert!(switch(2, 2, 1).unwrap_err().starts_with("unexpected previous timeline ID 2"));
        assert!(switch(3, 1, 1).unwrap_err().starts_with("unexpected timeline ID 3 (after 1)"));
        state::with(|state| {
            state.min_point.set(Lsn(0x600_0000));
            state.min_point_timeline.set(TimeLineId(1));
        });
        assert!(switch(2, 1, 1).unwrap_err().contains("before reaching minimum recovery point 0/6000000"));
    }
}
