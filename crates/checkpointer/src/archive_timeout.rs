//! `archive_timeout`: a segment that has something in it is finished after that long, so that the archive gets it.
//!
//! Only if something important has been written since the last switch: an idle server would otherwise fill the archive
//! with empty segments. The switch itself does not count as important, nor as a reason for a checkpoint.
//!
//! C counterpart: `CheckArchiveTimeout` of checkpointer.c.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::Lsn;
use elog::ereport;

thread_local! {
    /// Unix seconds: when the last switch was made, or last found to be unnecessary. C: `last_xlog_switch_time`.
    static LAST_SWITCH: Cell<i64> = const { Cell::new(0) };
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// The process begins: the first timeout counts from here.
pub(crate) fn begin() {
    LAST_SWITCH.set(now());
}

/// Finishes the segment if it is time. C: `CheckArchiveTimeout`.
pub(crate) fn check() {
    let timeout = i64::from(guc::vars::ARCHIVE_TIMEOUT.get());
    if timeout <= 0 || wal::in_recovery() || now() - LAST_SWITCH.get() < timeout {
        return;
    }
    // Segments that filled up by themselves count as well.
    let (switched, end) = wal::records::last_switch();
    LAST_SWITCH.set(LAST_SWITCH.get().max(switched));
    if now() - LAST_SWITCH.get() < timeout {
        return;
    }
    if is_worth_it(wal::last_important_lsn(), end) {
        let at = wal::records::request_switch(true);
        // At a segment's beginning there was nothing to finish.
        if wal::geometry().offset(at) != 0 {
            ereport!(Debug1, "write-ahead log switch forced (archive_timeout={timeout})");
        }
    }
    // In any case, so that an idle server does not look all the time.
    LAST_SWITCH.set(now());
}

fn is_worth_it(last_important: Lsn, end_of_last_switch: Lsn) -> bool {
    last_important > end_of_last_switch
}

/// How long the process may sleep at most for its sake; `None` without a timeout. C: the end of `CheckpointerMain`'s loop.
///
/// The process begins while the server recovers, and nobody tells it when that is over. PostgreSQL sleeps until the next
/// checkpoint then, and the first segments are late by as much.
pub(crate) fn left() -> Option<Duration> {
    let timeout = i64::from(guc::vars::ARCHIVE_TIMEOUT.get());
    if timeout <= 0 {
        return None;
    }
    if wal::in_recovery() {
        return Some(remaining(timeout, 0));
    }
    Some(remaining(timeout, now() - LAST_SWITCH.get()))
}

fn remaining(timeout: i64, elapsed: i64) -> Duration {
    Duration::from_secs(u64::try_from(timeout - elapsed).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left() {
        for (timeout, elapsed, left) in [(60, 0, 60), (60, 59, 1), (60, 60, 0), (60, 1000, 0)] {
            assert_eq!(remaining(timeout, elapsed), Duration::from_secs(left));
        }
        // The switch record itself ends before what `last_switch` tells, and is not important.
        assert!(
            is_worth_it(Lsn(0x200_0100), Lsn(0x200_0000)) && !is_worth_it(Lsn(0x1FF_0000), Lsn(0x200_0000))
        );
    }
}
