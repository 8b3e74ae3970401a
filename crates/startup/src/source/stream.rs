//! The last place to get WAL from: a primary, by way of the walreceiver.
//!
//! The startup process says from where on it wants WAL and on which timeline; the walreceiver writes what comes into `pg_wal`,
//! flushes it, tells how far it is and wakes us. Only what it has flushed is read, so that nothing is replayed here that a
//! crash of this machine could take away again. Pages are therefore read in parts, as they come.
//!
//! - Q3  The walreceiver does not stream while another place is asked: it would write into segments that come from there.
//! - Q4  A stream begins on the timeline that the history puts the record on, and never on one older than that of the segment
//!   read last.
//! - Q5  The end of the stream does not end the wait: the other places are looked at, and the stream is asked for again.
//!   Whoever is promoted first replays what has arrived.
//!
//! C counterpart: the part for `XLOG_FROM_STREAM` of `WaitForWALToBecomeAvailable`, `XLogShutdownWalRcv`,
//! `StartupRereadConfig`, `StartupRequestWalReceiverRestart`.

use std::time::Duration;

use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, ereport, error, pg_error};
use replication::walrcv::{self, Flushed};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use wal::{PageRequest, recovery};

use super::{Place, Source};
use crate::{pause, state, timelines};

/// The longest sleep: `promote_trigger_file` may have appeared, the walreceiver may have died.
const LONGEST: Duration = Duration::from_secs(5);

/// The walreceiver, as seen from here; another one in tests.
pub(crate) trait Upstream {
    /// See [`walrcv::request_streaming`].
    fn request(&mut self, timeline: TimeLineId, start: Lsn);
    /// See [`walrcv::reset_flushed`]: nothing that was received counts any more.
    fn forget(&mut self);
    /// See [`walrcv::streaming`].
    fn streaming(&self) -> bool;
    /// See [`walrcv::shutdown`].
    ///
    /// # Errors
    /// The same.
    fn shutdown(&mut self) -> Result<()>;
    /// See [`walrcv::flushed`].
    fn flushed(&self) -> Flushed;
    /// See [`walrcv::force_reply`].
    fn force_reply(&mut self);
    /// Sleeps until something arrives or somebody else wakes us.
    fn sleep(&mut self);
}

/// The real one.
pub(crate) struct WalReceiver;

impl Upstream for WalReceiver {
    fn request(&mut self, timeline: TimeLineId, start: Lsn) {
        let (conninfo, slot) = (guc::vars::PRIMARY_CONNINFO.get(), guc::vars::PRIMARY_SLOT_NAME.get());
        let slot = Some(&*slot).filter(|name| !name.is_empty());
        let temporary = guc::vars::WAL_RECEIVER_CREATE_TEMP_SLOT.get();
        walrcv::request_streaming(timeline, start, &conninfo, slot, temporary);
    }

    fn forget(&mut self) {
        // The next request makes both its own.
        walrcv::reset_flushed(Lsn::INVALID, TimeLineId(0));
    }

    fn streaming(&self) -> bool {
        walrcv::streaming()
    }

    fn shutdown(&mut self) -> Result<()> {
        walrcv::shutdown()
    }

    fn flushed(&self) -> Flushed {
        walrcv::flushed()
    }

    fn force_reply(&mut self) {
        walrcv::force_reply();
    }

    fn sleep(&mut self) {
        let woken = latch::wait(Wake::LATCH_OR_DEATH, Some(LONGEST), WaitEvent::RECOVERY_WAL_STREAM);
        if woken.postmaster_died() {
            miscinit::exit::proc_exit(1);
        }
        latch::reset();
    }
}

/// What a look at the stream found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The page can be read, and its segment is open.
    Arrived,
    /// Not yet; we have slept.
    NotYet,
    /// Nobody streams, or a promotion does not wait for more.
    Over,
}

impl Source {
    /// One look, and a sleep if there is nothing. `start`: the stream is to be begun. `told`: the primary knows how far replay is.
    /// C: the case `XLOG_FROM_STREAM`.
    pub(super) fn look_at_stream(
        &mut self,
        request: PageRequest,
        start: bool,
        told: &mut bool,
    ) -> Result<Look> {
        let restart = state::with(|state| state.restart_receiver.take()) && !start;
        if restart {
            self.stop_receiver()?;
            if self.latest_timeline {
                timelines::rescan()?;
            }
        }
        if start || restart {
            // Another timeline may be asked for: what is open would be read as if it were that.
            self.close();
            self.start_receiver(request)?;
        } else if self.is_left_behind(self.file_timeline, request.record) {
            return Ok(Look::Over);
        }
        if !self.upstream.streaming() {
            return Ok(Look::Over);
        }
        if self.has_arrived(request) {
            self.open_streamed(request)?;
            return Ok(Look::Arrived);
        }
        // Q5: the next look finds what is in pg_wal, and then the end.
        if pause::promotion_triggered()? {
            return Ok(Look::Over);
        }
        if !std::mem::replace(told, true) {
            // Everything that came is replayed: pg_stat_replication should not show less while we sleep.
            self.upstream.force_reply();
        }
        self.upstream.sleep();
        Ok(Look::NotYet)
    }

    /// Without `primary_conninfo` there is nobody to ask.
    fn start_receiver(&mut self, request: PageRequest) -> Result<()> {
        if guc::vars::PRIMARY_CONNINFO.get().is_empty() {
            return Ok(());
        }
        let (timeline, start) = match self.checkpoint_start {
            // The next thing that is read lies before the checkpoint: it should be there then.
            Some((redo, timeline)) => (timeline, redo),
            None => (self.timeline_of(request.record)?, request.page),
        };
        self.file_timeline = timeline;
        if std::mem::take(&mut self.received_is_bad) {
            // Otherwise it would be found to be there already, and be read again and again.
            self.upstream.forget();
        }
        wal::startup::set_install_allowed(true);
        self.upstream.request(timeline, start);
        self.received = Lsn::INVALID;
        Ok(())
    }

    /// Q4. The record decides, not the page: one that goes on over the end of a timeline is not of that timeline.
    fn timeline_of(&self, record: Lsn) -> Result<TimeLineId> {
        let target = state::with(|state| state.target_timeline.get());
        let history = match state::expected() {
            Some(history) => history,
            None => wal::timeline::read_history(target)?,
        };
        let Some(timeline) = history.tli_of_point(record) else {
            return Err(error!(SqlState::INTERNAL_ERROR, "timeline history was not contiguous"));
        };
        if timeline < self.file_timeline {
            return Err(error!(
                SqlState::INTERNAL_ERROR,
                "according to history file, WAL location {record} belongs to timeline {timeline}, but previous \
                 recovered WAL file came from timeline {}",
                self.file_timeline
            ));
        }
        Ok(timeline)
    }

    /// Has everything that is asked for been received? As a by-product, notes when: sessions in replay's way have their patience
    /// from then on, unless there was more to replay already.
    pub(super) fn has_arrived(&mut self, request: PageRequest) -> bool {
        let end = request.page + request.need as u64;
        if end <= self.received {
            return true;
        }
        let Flushed { lsn, latest_chunk_start, timeline } = self.upstream.flushed();
        if timeline != self.file_timeline {
            return false;
        }
        self.received = lsn;
        if end > lsn {
            return false;
        }
        if latest_chunk_start <= end {
            let now = activity::now();
            recovery::set_receipt(Some(now), true);
            recovery::set_chunk_start_time(now);
        }
        true
    }

    fn open_streamed(&mut self, request: PageRequest) -> Result<()> {
        recovery::set_receipt(None, true);
        if self.open.is_some() {
            self.read_from = Place::Stream;
            return Ok(());
        }
        if state::expected().is_none() {
            // The walreceiver has fetched it. Not that of the timeline received: a newer one may have come from the archive.
            let target = state::with(|state| state.target_timeline.get());
            state::set_expected(wal::timeline::read_history(target)?);
        }
        let (number, timeline) = (wal::geometry().segment(request.page), self.file_timeline);
        if self.open_local(number, timeline, Place::Stream)? {
            return Ok(());
        }
        let path = wal::segment::path(timeline, number);
        let reason = std::io::Error::from_raw_os_error(nix::libc::ENOENT);
        let reason = elog::errno_text(&reason);
        let text = format!("could not open file \"{}\": {reason}", path.display());
        Err(pg_error!(Panic, SqlState::UNDEFINED_FILE, "{text}"))
    }

    /// How many of so many bytes from a position on may be read: all, but from a stream only what has been received.
    pub(super) fn readable(&self, page: Lsn, len: usize) -> usize {
        if self.read_from != Place::Stream {
            return len;
        }
        usize::try_from(self.received.0.saturating_sub(page.0)).map_or(len, |received| received.min(len))
    }

    /// The walreceiver is gone when this returns, and segments come from elsewhere (Q3). C: `XLogShutdownWalRcv`.
    ///
    /// # Errors
    /// As [`walrcv::shutdown`].
    pub(crate) fn stop_receiver(&mut self) -> Result<()> {
        self.upstream.shutdown()?;
        wal::startup::set_install_allowed(false);
        Ok(())
    }

    /// The same, unless it waits for a new timeline: then it harms nobody, and need not connect again.
    pub(super) fn stop_streaming(&mut self) -> Result<()> {
        if self.upstream.streaming() {
            return self.stop_receiver();
        }
        wal::startup::set_install_allowed(false);
        Ok(())
    }
}

/// May walsenders run here, to feed standbys of this standby? C: `AllowCascadeReplication`.
fn cascading() -> bool {
    guc::vars::HOT_STANDBY.get() && guc::vars::MAX_WAL_SENDERS.get() > 0
}

/// There is more to send for the walsenders of this standby.
pub(crate) fn wake_cascade() {
    if cascading() {
        replication::walsnd::wakeup();
    }
}

/// The settings that a walreceiver was started with.
fn receiver_settings() -> (String, String, bool) {
    let slot = guc::vars::PRIMARY_SLOT_NAME.get().to_string();
    // Without meaning if there is a slot.
    let temporary = slot.is_empty() && guc::vars::WAL_RECEIVER_CREATE_TEMP_SLOT.get();
    (guc::vars::PRIMARY_CONNINFO.get().to_string(), slot, temporary)
}

/// Reads the settings again; a walreceiver that was started with others is to be replaced, when the wait for WAL comes to it.
/// C: `StartupRereadConfig`.
pub(crate) fn reread_config() {
    let before = receiver_settings();
    auxprocess::reload_config();
    if receiver_settings() != before {
        request_restart(walrcv::running());
    }
}

/// C: `StartupRequestWalReceiverRestart`.
pub(crate) fn request_restart(running: bool) {
    if running && state::with(|state| state.streaming.get()) {
        ereport!(Log, "WAL receiver process shutdown requested");
        state::with(|state| state.restart_receiver.set(true));
    }
}
