//! Sessions of a standby that are in replay's way.
//!
//! Replay may need what a session uses: row versions its snapshot sees, a relation it has locked, a page it has pinned,
//! its database. The startup process waits until `max_standby_archive_delay` or `max_standby_streaming_delay` after it got
//! the piece of WAL it replays; then it tells the session to give up. So a standby that has fallen behind is strict at
//! once, and one that is idle has patience.
//!
//! - **S3** The startup process never gives up a wait: whoever is in its way must, or the standby would lose a change.
//! - **S4** A deadlock with sessions is broken by a session: after `deadlock_timeout` the startup process asks those in
//!   its way to look.
//!
//! What a session does when it is told is in the backend.
//!
//! C counterpart: storage/ipc/standby.c.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::{Duration, Instant};

use common::{Oid, RelFileNode, SqlState, Xid};
use elog::{PgError, Result, pg_error};
use miscinit::{exit, interrupt};
use shmem::procsignal::ProcSignalReason as Reason;
use shmem::{WaitEvent, Wake, latch};
use transam::procarray::{conflicting_vxids, count_db_backends, signal_database, signal_vxid};
use transam::standby;

use crate::mode::LockMode;
use crate::wait::Waited;
use crate::{fastpath, shared};

/// First pause between two looks; doubled each time. C: `STANDBY_INITIAL_WAIT_US`.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// For a session to obey. C: the `pg_usleep(5000L)` after the signal.
const OBEY_PAUSE: Duration = Duration::from_millis(5);
/// Between two demands to leave a database.
const DATABASE_PAUSE: Duration = Duration::from_millis(10);
/// A demand for pins is repeated: the session may have been where it could not obey.
const PIN_PAUSE: Duration = Duration::from_millis(100);

/// One wait of the startup process.
struct Conflict {
    reason: Reason,
    event: WaitEvent,
    began: Instant,
    /// The same moment, microseconds since 2000.
    began_at: i64,
    /// C: `logged_recovery_conflict`.
    logged: bool,
}

impl Conflict {
    fn new(reason: Reason, event: WaitEvent) -> Conflict {
        Conflict { reason, event, began: Instant::now(), began_at: activity::now(), logged: false }
    }

    /// How much longer those in the way may stay; `None`: for ever. WAL from an archive, or left in pg_wal, has
    /// `max_standby_archive_delay`, from when its segment was opened; what a primary sends has `max_standby_streaming_delay`, from
    /// when it came and there was nothing else to replay. C: `GetStandbyLimitTime`.
    fn patience(&self) -> Option<Duration> {
        let (came, from_stream) = wal::recovery::receipt();
        let delay = i64::from(if from_stream {
            guc::vars::MAX_STANDBY_STREAMING_DELAY.get()
        } else {
            guc::vars::MAX_STANDBY_ARCHIVE_DELAY.get()
        });
        if delay < 0 {
            return None;
        }
        let since = if came == 0 { self.began_at } else { came };
        let left = since.saturating_add(delay * 1000) - activity::now();
        Some(Duration::from_micros(u64::try_from(left).unwrap_or(0)))
    }

    fn deadlock_check_in(&self) -> Duration {
        millis(guc::vars::DEADLOCK_TIMEOUT.get()).saturating_sub(self.began.elapsed())
    }

    /// Sleeps until woken or for so long.
    fn sleep(&self, time: Option<Duration>) -> Result<()> {
        if latch::wait(Wake::LATCH_OR_DEATH, time, self.event).postmaster_died() {
            exit::proc_exit(1);
        }
        latch::reset();
        interrupt::check()
    }

    /// After `deadlock_timeout` the log tells, once. C: `LogRecoveryConflict`.
    fn log_if_long(&mut self, pids: impl FnOnce() -> Vec<i32>) {
        if self.logged || !guc::vars::LOG_RECOVERY_CONFLICT_WAITS.get() || !self.deadlock_check_in().is_zero()
        {
            return;
        }
        self.logged = true;
        let pids: Vec<_> = pids().into_iter().filter(|pid| *pid != 0).map(|pid| pid.to_string()).collect();
        let report = self.report("still waiting");
        if pids.is_empty() {
            return report.report();
        }
        let what = if pids.len() == 1 { "Conflicting process" } else { "Conflicting processes" };
        report.detail_log(format!("{what}: {}.", pids.join(", "))).report();
    }

    /// It is over.
    fn end(&self) {
        if self.logged {
            self.report("finished waiting").report();
        }
    }

    fn report(&self, how: &str) -> PgError {
        let ms = self.began.elapsed().as_micros();
        let what = description(self.reason);
        pg_error!(
            Log,
            SqlState::SUCCESSFUL_COMPLETION,
            "recovery {how} after {}.{:03} ms: {what}",
            ms / 1000,
            ms % 1000
        )
    }
}

/// C: `get_recovery_conflict_desc`.
fn description(reason: Reason) -> &'static str {
    match reason {
        Reason::RecoveryConflictBufferPin => "recovery conflict on buffer pin",
        Reason::RecoveryConflictLock => "recovery conflict on lock",
        Reason::RecoveryConflictTablespace => "recovery conflict on tablespace",
        Reason::RecoveryConflictSnapshot => "recovery conflict on snapshot",
        Reason::RecoveryConflictStartupDeadlock => "recovery conflict on buffer deadlock",
        Reason::RecoveryConflictDatabase => "recovery conflict on database",
        _ => "unknown reason",
    }
}

fn millis(setting: i32) -> Duration {
    Duration::from_millis(u64::try_from(setting).unwrap_or_default())
}

fn pid_of((backend, _): (i32, u32)) -> i32 {
    u32::try_from(backend - 1).map_or(0, shared::pid_of)
}

/// Waits for the end of each of these transactions; when patience is over, ends them. C: `ResolveRecoveryConflictWithVirtualXIDs`.
fn resolve(waitlist: &[(i32, u32)], mut conflict: Conflict) -> Result<()> {
    for (at, (backend, lxid)) in waitlist.iter().copied().enumerate() {
        let mut pause = FIRST_PAUSE;
        while fastpath::vxid_still_running(backend, lxid) {
            if conflict.patience().is_some_and(|left| left.is_zero()) {
                signal_vxid((backend, lxid), conflict.reason, true);
                conflict.sleep(Some(OBEY_PAUSE))?;
            } else {
                conflict.sleep(Some(pause))?;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            conflict.log_if_long(|| waitlist[at..].iter().copied().map(pid_of).collect());
        }
    }
    conflict.end();
    Ok(())
}

/// Row versions deleted by ids up to this one are about to go from a relation's pages. Does nothing outside hot standby.
/// C: `ResolveRecoveryConflictWithSnapshot`.
///
/// # Errors
/// Of an interrupt.
pub fn resolve_conflict_with_snapshot(latest_removed: Xid, node: RelFileNode) -> Result<()> {
    if !standby::in_hot_standby() || !latest_removed.is_valid() {
        return Ok(());
    }
    // A relation that all databases share has no database: all sessions are asked.
    let sessions = conflicting_vxids(latest_removed, node.db);
    if sessions.is_empty() {
        return Ok(());
    }
    let conflict = Conflict::new(Reason::RecoveryConflictSnapshot, WaitEvent::RECOVERY_CONFLICT_SNAPSHOT);
    resolve(&sessions, conflict)
}

/// A tablespace is about to go: anybody may have temporary files there. C: `ResolveRecoveryConflictWithTablespace`.
///
/// # Errors
/// Of an interrupt.
pub fn resolve_conflict_with_tablespace(_tablespace: Oid) -> Result<()> {
    if !standby::in_hot_standby() {
        return Ok(());
    }
    let sessions = conflicting_vxids(Xid::INVALID, Oid::INVALID);
    resolve(
        &sessions,
        Conflict::new(Reason::RecoveryConflictTablespace, WaitEvent::RECOVERY_CONFLICT_TABLESPACE),
    )
}

/// A database is about to go: its sessions end at once, whatever the delay. C: `ResolveRecoveryConflictWithDatabase`.
///
/// # Errors
/// Of an interrupt.
pub fn resolve_conflict_with_database(db: Oid) -> Result<()> {
    if !standby::in_hot_standby() {
        return Ok(());
    }
    let conflict = Conflict::new(Reason::RecoveryConflictDatabase, WaitEvent::RECOVERY_CONFLICT_TABLESPACE);
    while count_db_backends(db) > 0 {
        signal_database(db, Reason::RecoveryConflictDatabase, true);
        conflict.sleep(Some(DATABASE_PAUSE))?;
    }
    Ok(())
}

/// Virtual transactions that hold the lock we wait for. C: `GetLockConflicts`.
fn holders(waited: &Waited) -> Vec<(i32, u32)> {
    let Some(view) = shared::partition(waited.index).shared().view_of(waited.tag, waited.hash) else {
        return Vec::new();
    };
    let me = shared::me();
    let conflicting = view
        .holders
        .iter()
        .filter(|(process, held)| *process != me && LockMode::AccessExclusive.conflicts().intersects(*held));
    let vxid = |process: u32| {
        let lxid = shmem::all_procs().get(process as usize)?.lxid.load(Relaxed);
        (lxid != 0).then_some((process.cast_signed() + 1, lxid))
    };
    conflicting.filter_map(|(process, _)| vxid(*process)).collect()
}

/// The startup process's way to wait for a lock; our claim stands in the queue. C: `ResolveRecoveryConflictWithLock`.
pub(crate) fn wait_for_lock(waited: &Waited) -> Result<()> {
    let state = &shared::wait_of(shared::me()).state;
    let event = WaitEvent::lock(waited.tag.kind());
    let mut conflict = Conflict::new(Reason::RecoveryConflictLock, event);
    let mut asked = false;
    while state.load(Acquire) != shared::GRANTED {
        let patience = conflict.patience();
        if patience.is_some_and(|left| left.is_zero()) {
            cancel(&holders(waited), &conflict)?;
            if state.load(Acquire) != shared::GRANTED {
                conflict.sleep(Some(OBEY_PAUSE))?;
            }
        } else {
            let check_in = (!asked).then(|| conflict.deadlock_check_in());
            conflict.sleep([check_in, patience].into_iter().flatten().min())?;
        }
        conflict.log_if_long(|| holders(waited).into_iter().map(pid_of).collect());
        if !asked && conflict.deadlock_check_in().is_zero() {
            asked = true;
            // S4
            for vxid in holders(waited) {
                signal_vxid(vxid, Reason::RecoveryConflictStartupDeadlock, false);
            }
        }
    }
    conflict.end();
    Ok(())
}

/// Ends these transactions now; the caller does the reporting.
fn cancel(sessions: &[(i32, u32)], conflict: &Conflict) -> Result<()> {
    for (backend, lxid) in sessions {
        while fastpath::vxid_still_running(*backend, *lxid) {
            signal_vxid((*backend, *lxid), conflict.reason, true);
            conflict.sleep(Some(OBEY_PAUSE))?;
        }
    }
    Ok(())
}

/// The startup process's way to wait for other's pins of a page. C: `ResolveRecoveryConflictWithBufferPin`, and its caller.
pub(crate) fn wait_for_pins(is_over: &dyn Fn() -> bool) -> Result<()> {
    let mut conflict = Conflict::new(Reason::RecoveryConflictBufferPin, WaitEvent::BUFFER_PIN);
    let mut asked = false;
    while !is_over() {
        let patience = conflict.patience();
        if patience.is_some_and(|left| left.is_zero()) {
            // Nobody knows whose pins they are: each looks for itself.
            signal_database(Oid::INVALID, Reason::RecoveryConflictBufferPin, false);
            conflict.sleep(Some(PIN_PAUSE))?;
        } else {
            let check_in = (!asked).then(|| conflict.deadlock_check_in());
            conflict.sleep([check_in, patience].into_iter().flatten().min())?;
        }
        conflict.log_if_long(Vec::new);
        if !asked && conflict.deadlock_check_in().is_zero() && !is_over() {
            asked = true;
            // S4: a session that waits for a lock we hold, with the pin we wait for.
            signal_database(Oid::INVALID, Reason::RecoveryConflictStartupDeadlock, false);
        }
    }
    conflict.end();
    Ok(())
}
