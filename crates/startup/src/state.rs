//! What the startup process knows about the recovery it is in the middle of.
//!
//! Redo functions are plain functions in a table and the page source lives inside the reader, so that what they and the
//! loop have in common is here. Only the startup process has it; what others may know is in `wal::recovery`.
//!
//! - S1  `in_archive` is never set without a minimum recovery point, and the other way round.
//! - S2  `expected` begins with the timeline `target_timeline`, once it is known.
//!
//! C counterpart: the static variables of xlogrecovery.c.

use std::cell::{Cell, RefCell};

use common::{Lsn, TimeLineId};
use wal::timeline::History;

thread_local! {
    static STATE: State = const { State::new() };
}

/// See the module.
pub(crate) struct State {
    /// `recovery.signal` or `standby.signal` is there. C: `ArchiveRecoveryRequested`.
    pub(crate) archive_requested: Cell<bool>,
    /// `standby.signal` is there. C: `StandbyModeRequested`.
    pub(crate) standby_requested: Cell<bool>,
    /// Replaying from an archive, or from a base backup; otherwise what a crash left in `pg_wal`. C: `InArchiveRecovery`.
    pub(crate) in_archive: Cell<bool>,
    /// Records are being replayed. C: `InRedo`.
    pub(crate) in_redo: Cell<bool>,
    /// Timeline to recover to. C: `recoveryTargetTLI`.
    pub(crate) target_timeline: Cell<TimeLineId>,
    /// It and those it came from; `None` until the first segment is found. C: `expectedTLEs`.
    pub(crate) expected: RefCell<Option<History>>,
    /// Timeline of the record replayed last, or being replayed. C: `replayTLI`.
    pub(crate) replay_timeline: Cell<TimeLineId>,
    /// Timeline in the name of the segment that is open. C: `curFileTLI`.
    pub(crate) file_timeline: Cell<TimeLineId>,
    /// End of the last record that was replayed to its end. C: `lastReplayedEndRecPtr`.
    pub(crate) replayed_end: Cell<Lsn>,
    /// Invalid in crash recovery. C: `minRecoveryPoint`.
    pub(crate) min_point: Cell<Lsn>,
    /// C: `minRecoveryPointTLI`.
    pub(crate) min_point_timeline: Cell<TimeLineId>,
    /// Redo point of the base backup this recovery begins with, until its end is reached. C: `backupStartPoint`.
    pub(crate) backup_start: Cell<Lsn>,
    /// Its end, if that is known. C: `backupEndPoint`.
    pub(crate) backup_end: Cell<Lsn>,
    /// Its end must come. C: `backupEndRequired`.
    pub(crate) backup_end_required: Cell<bool>,
    /// WAL is looked for in the stream of a primary. C: `currentSource == XLOG_FROM_STREAM`.
    pub(crate) streaming: Cell<bool>,
    /// The walreceiver has old settings. C: `pendingWalRcvRestart`.
    pub(crate) restart_receiver: Cell<bool>,
}

impl State {
    const fn new() -> State {
        State {
            archive_requested: Cell::new(false),
            standby_requested: Cell::new(false),
            in_archive: Cell::new(false),
            in_redo: Cell::new(false),
            target_timeline: Cell::new(TimeLineId(0)),
            expected: RefCell::new(None),
            replay_timeline: Cell::new(TimeLineId(0)),
            file_timeline: Cell::new(TimeLineId(0)),
            replayed_end: Cell::new(Lsn::INVALID),
            min_point: Cell::new(Lsn::INVALID),
            min_point_timeline: Cell::new(TimeLineId(0)),
            backup_start: Cell::new(Lsn::INVALID),
            backup_end: Cell::new(Lsn::INVALID),
            backup_end_required: Cell::new(false),
            streaming: Cell::new(false),
            restart_receiver: Cell::new(false),
        }
    }
}

/// Looks at the state, or changes it.
pub(crate) fn with<R>(look: impl FnOnce(&State) -> R) -> R {
    STATE.with(look)
}

/// C: `ArchiveRecoveryRequested`.
pub(crate) fn archive_requested() -> bool {
    with(|state| state.archive_requested.get())
}

/// C: `InArchiveRecovery`.
pub(crate) fn in_archive() -> bool {
    with(|state| state.in_archive.get())
}

/// Archive recovery begins; as a standby, if that was asked for. C: the assignments to `InArchiveRecovery` and
/// `StandbyMode`.
pub(crate) fn enter_archive() {
    with(|state| {
        state.in_archive.set(true);
        wal::restore::set_standby_mode(state.standby_requested.get());
    });
}

/// The histories that records may be on; `None` as long as nothing has been found. C: `expectedTLEs`.
pub(crate) fn expected() -> Option<History> {
    with(|state| state.expected.borrow().clone())
}

/// Is a timeline one of those? C: `tliInHistory(.., expectedTLEs)`.
pub(crate) fn is_expected(timeline: TimeLineId) -> bool {
    with(|state| state.expected.borrow().as_ref().is_some_and(|history| history.contains(timeline)))
}

/// Where the history that is followed leaves a timeline. A segment of that timeline may go on behind it, with what another
/// server went on to do: none of it may be replayed. `None` for the newest timeline, for strangers, and after a crash.
pub(crate) fn left_at(timeline: TimeLineId) -> Option<Lsn> {
    with(|state| {
        let history = state.expected.borrow();
        let history = history.as_ref().filter(|_| state.in_archive.get())?;
        history.switch_point(timeline).map(|(end, _)| end)
    })
}

/// See [`expected`]; with its newest timeline as the one to recover to (S2).
pub(crate) fn set_expected(history: History) {
    with(|state| *state.expected.borrow_mut() = Some(history));
}
