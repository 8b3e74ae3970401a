//! What happens around each record of a real recovery: who may interrupt it, which transaction and timeline it belongs to,
//! how far replay is, and whether it is far enough.
//!
//! C counterpart: `PerformWalRecovery`, `ApplyWalRecord` of xlogrecovery.c; the hot standby part of `StartupXLOG`.

use common::{SqlState, Xid};
use elog::{Result, ereport, fatal};
use miscinit::exit;
use shmem::pmsignal::{PmSignalReason, send_postmaster_signal};
use wal::{DecodedRecord, recovery, recovery_point};

use crate::begin::Plan;
use crate::redo::{self, Around, Reader, Replayed};
use crate::signals::Wish;
use crate::target::{self, Action, Event, Moment, Stop, StopAt, Target};
use crate::{between_records, consistency, pause, rmgr, source, state, timelines};

/// Makes what sessions need to read while replay goes on. C: in `StartupXLOG`.
///
/// # Errors
/// Those of reading prepared transactions and making pages of pg_subtrans.
pub(crate) fn prepare_hot_standby(plan: &Plan) -> Result<()> {
    if !state::archive_requested() || !guc::vars::HOT_STANDBY.get() {
        return Ok(());
    }
    lmgr::standby::initialize();
    let prepared = if plan.was_shutdown { transam::twophase::prescan()?.1 } else { Vec::new() };
    transam::standby::initialize(&plan.checkpoint, plan.was_shutdown, &prepared)
}

/// Replays from the plan's beginning to the end that is wished for. C: `PerformWalRecovery`.
///
/// # Errors
/// FATAL if that end was not reached, or came too early; as [`redo::replay`].
pub(crate) fn replay(plan: &Plan, wish: &Wish, reader: &mut Reader) -> Result<Replayed> {
    let from = plan.first_record();
    state::with(|state| {
        state.replay_timeline.set(plan.timeline);
        state.replayed_end.set(from);
    });
    recovery_point::set_replayed(from, plan.timeline);
    // The archiver may begin.
    send_postmaster_signal(PmSignalReason::RecoveryStarted);
    consistency::check()?;
    let mut around = Live { wish, counted: 0, last_xid: Xid::INVALID, switched: false };
    let replayed = redo::replay(reader, from, plan.timeline, &rmgr::TABLE, &mut around)?;
    if replayed.records == 0 && replayed.stop.is_none() {
        ereport!(Log, "redo is not required");
    } else if let Some(time) = recovery::latest_xact_time() {
        ereport!(Log, "last completed transaction was at log time {}", guc::timestamptz_text(time));
    }
    if state::archive_requested() && wish.target != Target::None && replayed.stop.is_none() {
        return Err(fatal!(
            SqlState::INTERNAL_ERROR,
            "recovery ended before configured recovery target was reached"
        ));
    }
    Ok(replayed)
}

/// See the module.
struct Live<'a> {
    wish: &'a Wish,
    /// Records, for what is done once in a while.
    counted: u32,
    last_xid: Xid,
    /// The record being replayed begins a timeline.
    switched: bool,
}

impl Around for Live<'_> {
    fn before(&mut self, record: &DecodedRecord<'_>) -> Result<Option<Stop>> {
        between_records(&mut self.counted)?;
        if !state::archive_requested() {
            return Ok(None);
        }
        pause::if_asked()?;
        let Wish { target, inclusive, .. } = self.wish;
        if let Some(stop) = target.before(*inclusive, record, recovery::reached_consistency()) {
            return Ok(Some(stop));
        }
        if pause::apply_delay(record)? {
            // Who lags behind may want to stop there.
            pause::if_asked()?;
        }
        Ok(None)
    }

    fn begin(&mut self, record: &DecodedRecord<'_>) -> Result<()> {
        // Ids seen in WAL were in use: the next one comes after them.
        if record.xid != self.last_xid {
            self.last_xid = record.xid;
            transam::varsup::advance_past(record.xid);
            transam::standby::record_assigned(record.xid)?;
        }
        self.switched = timelines::follow(record)?;
        recovery_point::set_replaying(record.end_lsn, state::with(|state| state.replay_timeline.get()));
        Ok(())
    }

    fn after(&mut self, record: &DecodedRecord<'_>) -> Result<Option<Stop>> {
        let timeline = state::with(|state| {
            state.replayed_end.set(record.end_lsn);
            state.replay_timeline.get()
        });
        recovery_point::set_replayed(record.end_lsn, timeline);
        if recovery::take_reply_request() {
            // Somebody on the primary waits for this very commit to be replayed.
            replication::walrcv::apply_awaited();
        }
        if state::in_archive() {
            consistency::check()?;
        }
        if self.switched {
            // What the old timeline had prepared for its future must not be taken for this one's.
            wal::timeline_switch::remove_non_parent_segments(record.end_lsn, timeline)?;
            // Walsenders of standbys of this one go on along the new timeline too.
            source::wake_cascade();
        }
        if !state::archive_requested() {
            return Ok(None);
        }
        let stop = self.wish.target.after(self.wish.inclusive, record, recovery::reached_consistency());
        match target::moment(record) {
            // A position is looked at before anything else, as in PostgreSQL: the time stays that of the one before.
            Some(Moment { time, what: Event::Commit(_) | Event::Abort(_) })
                if !matches!(stop, Some(Stop { at: StopAt::Lsn(_), .. })) =>
            {
                recovery::set_latest_xact_time(time);
            }
            _ => {}
        }
        Ok(stop)
    }

    fn at_target(&mut self) -> Result<()> {
        if !recovery::reached_consistency() {
            return Err(fatal!(
                SqlState::INTERNAL_ERROR,
                "requested recovery stop point is before consistent recovery point"
            ));
        }
        match self.wish.action {
            // The postmaster knows this status, and stops the cluster.
            Action::Shutdown => exit::proc_exit(3),
            Action::Pause => pause::at_target(),
            Action::Promote => Ok(()),
        }
    }
}
