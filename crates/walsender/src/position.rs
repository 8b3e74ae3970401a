//! Up to where WAL may be sent, and on which timeline.
//!
//! A primary sends what it has flushed. A standby sends what it has replayed, or received and flushed on the timeline that is
//! being replayed; when it is promoted, or follows its primary to a new timeline, the stream's timeline becomes a *historic* one:
//! it ends at a switch point, and what comes behind that must not be sent on it, even though the file may hold something.
//!
//! C counterpart: the `sendTimeLine*` variables, `GetStandbyFlushRecPtr`, and the first half of `XLogSendPhysical` of
//! walsender.c.

use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, error};
use replication::walrcv;
use wal::timeline::{self, History};

/// What may be sent, and the timeline it is on. C: `GetFlushRecPtr`, `GetStandbyFlushRecPtr`.
pub(crate) fn flushed() -> (Lsn, TimeLineId) {
    flushed_by(wal::in_recovery())
}

/// The same for who has looked already whether this is a standby: it may cease to be one at any moment.
fn flushed_by(standby: bool) -> (Lsn, TimeLineId) {
    if standby { standby_flushed() } else { (wal::flush_lsn(), wal::timeline()) }
}

/// C: `GetStandbyFlushRecPtr`.
fn standby_flushed() -> (Lsn, TimeLineId) {
    let received = walrcv::flushed();
    let (replayed, timeline) = wal::recovery_point::replayed();
    let ahead = received.timeline == timeline && received.lsn > replayed;
    (if ahead { received.lsn } else { replayed }, timeline)
}

/// Where a timeline was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switch {
    /// The first position that is not on it any more. C: `sendTimeLineValidUpto`.
    pub(crate) end: Lsn,
    /// Where it goes on. C: `sendTimeLineNextTLI`.
    pub(crate) next: TimeLineId,
}

/// The timeline of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Branch {
    /// C: `sendTimeLine`.
    pub(crate) timeline: TimeLineId,
    /// Set if it is historic.
    pub(crate) switch: Option<Switch>,
    /// The server was a standby when it was last looked at. C: `am_cascading_walsender`.
    pub(crate) cascading: bool,
}

impl Branch {
    /// For a stream from `start`: on the newest timeline, or the one that was asked for. Also returns what has been flushed.
    ///
    /// # Errors
    /// XX000 if that timeline, or that position on it, is not in this server's history.
    pub(crate) fn choose(asked: Option<TimeLineId>, start: Lsn) -> Result<(Branch, Lsn)> {
        let cascading = wal::in_recovery();
        let (flushed, newest) = flushed_by(cascading);
        let timeline = asked.unwrap_or(newest);
        let mut branch = Branch { timeline, switch: None, cascading };
        if timeline != newest {
            let switch = switch_point(&timeline::read_history(newest)?, timeline)?;
            check_start(timeline, switch, start)?;
            branch.switch = Some(switch);
        }
        Ok((branch, flushed))
    }

    /// Up to where it may be sent now (WA1); notices if it has become historic (WA3).
    ///
    /// # Errors
    /// XX000 if the server has gone to a timeline that has nothing to do with this one.
    pub(crate) fn limit(&mut self) -> Result<Lsn> {
        if let Some(switch) = self.switch {
            return Ok(switch.end);
        }
        if !self.cascading {
            return Ok(wal::flush_lsn());
        }
        // In this order: what was replayed when recovery was still on is surely on its timeline.
        let (flushed, mut newest) = standby_flushed();
        if wal::in_recovery() {
            if newest == self.timeline {
                return Ok(flushed);
            }
        } else {
            newest = wal::timeline();
            self.cascading = false;
        }
        let switch = switch_point(&timeline::read_history(newest)?, self.timeline)?;
        self.switch = Some(switch);
        Ok(switch.end)
    }

    /// The timeline in the name of the file to read this segment from: the one that the last segment of a historic timeline was
    /// copied to, since that one's own may never have been finished. C: in `WalSndSegmentOpen`.
    pub(crate) fn file_timeline(&self, segment: wal::SegNo) -> TimeLineId {
        match self.switch {
            Some(switch) if wal::geometry().segment(switch.end) == segment => switch.next,
            _ => self.timeline,
        }
    }
}

/// C: `tliSwitchPoint`, and its error.
fn switch_point(history: &History, timeline: TimeLineId) -> Result<Switch> {
    match history.switch_point(timeline) {
        Some((end, next)) => Ok(Switch { end, next }),
        None => Err(error!(
            SqlState::INTERNAL_ERROR,
            "requested timeline {} is not in this server's history", timeline.0
        )),
    }
}

fn check_start(timeline: TimeLineId, switch: Switch, start: Lsn) -> Result<()> {
    if switch.end == Lsn::INVALID || start <= switch.end {
        return Ok(());
    }
    Err(error!(
        SqlState::INTERNAL_ERROR,
        "requested starting point {start} on timeline {} is not in this server's history", timeline.0
    )
    .detail(format!("This server's history forked from timeline {} at {}.", timeline.0, switch.end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> History {
        History::parse("1\t0/5000148\tx\n2\t0/7000000\ty\n", TimeLineId(3), "00000003.history").unwrap()
    }

    #[test]
    fn timelines_that_are_asked_for() {
        let switch = switch_point(&history(), TimeLineId(1)).unwrap();
        assert_eq!(switch, Switch { end: Lsn(0x500_0148), next: TimeLineId(2) });
        check_start(TimeLineId(1), switch, Lsn(0x500_0148)).unwrap();
        let error = check_start(TimeLineId(1), switch, Lsn(0x500_0149)).unwrap_err();
        assert_eq!(
            error.message,
            "requested starting point 0/5000149 on timeline 1 is not in this server's history"
        );
        assert_eq!(
            error.detail.as_deref(),
            Some("This server's history forked from timeline 1 at 0/5000148.")
        );
        let error = switch_point(&history(), TimeLineId(4)).unwrap_err();
        assert_eq!(error.message, "requested timeline 4 is not in this server's history");
    }

    #[test]
    fn the_segment_of_the_switch_is_read_from_the_next_timeline() {
        let switch = switch_point(&history(), TimeLineId(1)).ok();
        let branch = Branch { timeline: TimeLineId(1), switch, cascading: false };
        let size = u64::from(wal::geometry().segment_size());
        assert_eq!(branch.file_timeline(0x500_0148 / size), TimeLineId(2));
        assert_eq!(branch.file_timeline(0x500_0148 / size - 1), TimeLineId(1));
    }
}
