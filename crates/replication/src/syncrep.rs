//! Synchronous replication: a commit that is durable here waits until standbys have it too.
//!
//! ```text
//!   commit: flush own WAL, mark committed, wait_for_lsn(end) --> queue of its mode, sleeps
//!                                                                   ^
//!   walsender: reply of a standby, release_waiters() ---------------+ wakes all up to the synced position
//! ```
//!
//! There are three queues, for standbys that must have written, flushed or applied; a commit joins the one that its
//! `synchronous_commit` names. A queue is in the order of positions, so that a reply wakes from the front and stops early.
//! Nobody else sees the transaction before the wait is over, but it *is* committed: a wait can be given up, with a warning,
//! and never fails.
//!
//! Who counts as synchronous is decided anew at each reply, by [`candidates`], from the table of walsenders.
//!
//! Whether anybody waits at all is a word in shared memory that the checkpointer keeps ([`update_defined_status`]): a session
//! that waits cannot read the configuration again itself. Without synchronous standbys a commit pays one load.
//!
//! Invariants (numbered in this crate's README):
//! - **SR1** A waiter stands in the queue of one mode iff its state is `Waiting`; both change under the lock only.
//! - **SR2** A waiter is woken iff the synced position of its mode has reached its position, or the setting is emptied; it
//!   leaves by itself only if it is cancelled, terminated or without a postmaster.
//! - **SR3** No wake-up is lost: whoever joins a queue compares with the synced position under the lock that protects both.
//! - **SR4** Positions in a queue never fall; synced positions never fall.
//! - **SR5** A commit whose wait was given up because the session ends is not acknowledged: [`ended_unacknowledged`].
//!
//! C counterpart: replication/syncrep.c.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use common::{BackendType, Lsn, SqlState};
use crossbeam_utils::CachePadded;
use elog::{Result, ereport, error, pg_error};
use miscinit::interrupt::{self, Pending};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use shmem::{LwLock, Reservation, ShmVar, shm_struct, tranche};

pub mod candidates;
mod queue;

pub use guc::{StandbyConfig as Config, StandbyMethod as Method};

use crate::walsnd::{self, State, Status};
use queue::{Queues, WaitState};

/// What standbys must have done with a commit. C: `SYNC_REP_WAIT_WRITE` and its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// `remote_write`: handed it to their operating system.
    Write = 0,
    /// `on`: made it durable.
    Flush = 1,
    /// `remote_apply`: replayed it.
    Apply = 2,
}

/// Number of [`Mode`]s. C: `NUM_SYNC_REP_WAIT_MODE`.
pub(crate) const MODES: usize = 3;

impl Mode {
    const ALL: [Mode; MODES] = [Mode::Write, Mode::Flush, Mode::Apply];

    /// What `synchronous_commit` asks for; `None` for the levels that wait for no standby. C: `assign_synchronous_commit`.
    fn configured() -> Option<Mode> {
        match guc::vars::SYNCHRONOUS_COMMIT.get() {
            "remote_write" => Some(Mode::Write),
            "on" => Some(Mode::Flush),
            "remote_apply" => Some(Mode::Apply),
            _ => None,
        }
    }
}

/// The checkpointer has read the setting. C: `SYNC_STANDBY_INIT`.
const INITIALIZED: u32 = 1;
/// It names somebody. C: `SYNC_STANDBY_DEFINED`.
const DEFINED: u32 = 2;

shm_struct! {
    /// What the commits share. C: the first half of `WalSndCtlData`.
    struct Control {
        queues: LwLock<Queues>,
        /// [`INITIALIZED`] and [`DEFINED`]; written under the lock. C: `sync_standbys_status`.
        status: CachePadded<AtomicU32>,
    }
}

static CONTROL: ShmVar<Control> = ShmVar::new("Sync Rep Ctl");

/// A value of the setting, and what it says if it is not empty.
struct Parsed {
    text: Arc<str>,
    config: Option<Rc<Config>>,
}

thread_local! {
    /// The setting as it was last parsed. C: `SyncRepConfig`.
    static CONFIG: RefCell<Option<Parsed>> = const { RefCell::new(None) };
    /// The next time our standby becomes synchronous is worth a line in the log. C: `announce_next_takeover`.
    static ANNOUNCE: Cell<bool> = const { Cell::new(true) };
    /// SR5.
    static UNACKNOWLEDGED: Cell<bool> = const { Cell::new(false) };
    /// The cleanup at exit is registered.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Its share of the segment, for up to `procs` processes that commit.
pub fn reserve(reservation: &mut Reservation, procs: usize) {
    reservation.var(&CONTROL, || Control {
        queues: LwLock::new(tranche::SYNC_REP, Queues::new()),
        status: CachePadded::new(AtomicU32::new(0)),
    });
    queue::reserve(reservation, procs);
}

/// Parses a value of `synchronous_standby_names` that is not empty.
///
/// # Errors
/// 42601 with the text of the syntax error.
pub fn parse(synchronous_standby_names: &str) -> Result<Config> {
    guc::parse_standby_names(synchronous_standby_names)
        .map_err(|message| error!(SqlState::SYNTAX_ERROR, "{message}"))
}

/// The setting as this process knows it; `None` if it is empty. C: `SyncRepConfig`.
pub fn config() -> Option<Rc<Config>> {
    let text = guc::vars::SYNCHRONOUS_STANDBY_NAMES.get();
    CONFIG.with_borrow_mut(|known| match known {
        Some(parsed) if parsed.text == text => parsed.config.clone(),
        _ => {
            // The setting's check has parsed it before.
            let config = guc::parse_standby_names(&text).ok().map(Rc::new);
            *known = Some(Parsed { text, config: config.clone() });
            config
        }
    })
}

/// Waits until the synchronous standbys have WAL up to `lsn`, as `synchronous_commit` asks; at most until it is durable there
/// unless this is a commit. To be called after the local flush, outside of critical sections, before others see the
/// transaction. Never fails: a wait that is given up leaves a WARNING. C: `SyncRepWaitForLSN`.
#[inline]
pub fn wait_for_lsn(lsn: Lsn, is_commit: bool) {
    let Some(control) = CONTROL.try_get() else { return };
    let status = control.status.load(Relaxed);
    if status & (INITIALIZED | DEFINED) == INITIALIZED {
        return;
    }
    let Some(mode) = Mode::configured() else { return };
    let nobody_sends = guc::vars::MAX_WAL_SENDERS.get() == 0;
    if nobody_sends || miscinit::globals::backend_type() == BackendType::StandaloneBackend {
        return;
    }
    wait(control, lsn, if is_commit { mode } else { mode.min(Mode::Flush) });
}

#[cold]
fn wait(control: &Control, lsn: Lsn, mode: Mode) {
    let me = shmem::my_proc().pgprocno;
    {
        let mut queues = control.queues.exclusive();
        // SR3: nothing changes while we hold the lock.
        let status = control.status.load(Relaxed);
        let defined = if status & INITIALIZED != 0 { status & DEFINED != 0 } else { config().is_some() };
        if !defined || lsn <= queues.synced(mode) {
            return;
        }
        queues.join(mode, me, lsn);
    }
    if !REGISTERED.replace(true) {
        miscinit::exit::on_shmem_exit(|_| my_lsn_cleanup_at_exit());
    }
    let _title = guc::vars::UPDATE_PROCESS_TITLE
        .get()
        .then(|| miscinit::ps_status::show_suffix(&format!("waiting for {lsn}")));
    sleep(control, me);
    queue::finish(me);
}

/// Until woken or given up.
fn sleep(control: &Control, me: u32) {
    loop {
        latch::reset();
        if queue::state(me) == WaitState::Complete {
            return;
        }
        // Interrupts are looked at here and not processed: an error now would tell the client that nothing was committed.
        if give_up() {
            control.queues.exclusive().leave(me);
            return;
        }
        if latch::wait(Wake::LATCH_OR_DEATH, None, WaitEvent::SYNC_REP).postmaster_died() {
            // Nobody starts walsenders any more. The session must not go on as if the commit were replicated.
            interrupt::raise(Pending::ProcDie);
            withhold_acknowledgement();
            control.queues.exclusive().leave(me);
            return;
        }
    }
}

/// Whether somebody wants this session to wait no longer; tells the client why.
fn give_up() -> bool {
    const DETAIL: &str =
        "The transaction has already committed locally, but might not have been replicated to the standby.";
    if interrupt::is_pending(Pending::QuickDie) {
        withhold_acknowledgement();
        return true;
    }
    if interrupt::is_pending(Pending::ProcDie) {
        // Left pending: the session ends at the next look.
        pg_error!(
            Warning,
            SqlState::ADMIN_SHUTDOWN,
            "canceling the wait for synchronous replication and terminating connection due to administrator command"
        )
        .detail(DETAIL)
        .report();
        withhold_acknowledgement();
        return true;
    }
    // Both are taken; a timeout that fired just before the commit has nothing else left to cancel.
    let (cancel, timeout) =
        (interrupt::take(Pending::QueryCancel), interrupt::take(Pending::StatementTimeout));
    if cancel || timeout {
        let message = "canceling wait for synchronous replication due to user request";
        pg_error!(Warning, SqlState::WARNING, "{message}").detail(DETAIL).report();
    }
    cancel || timeout
}

/// SR5. C: `whereToSendOutput = DestNone`.
fn withhold_acknowledgement() {
    UNACKNOWLEDGED.set(true);
    elog::set_client_sink(None);
}

/// A commit of this session waits for standbys no longer because the session must end: the client gets what has been said so
/// far and then nothing, neither the acknowledgement nor an error. C: `whereToSendOutput == DestNone`.
#[inline]
pub fn ended_unacknowledged() -> bool {
    UNACKNOWLEDGED.get()
}

/// Leaves the queue, should this process end in it. Registered by the first wait. C: `SyncRepCleanupAtProcExit`.
pub fn my_lsn_cleanup_at_exit() {
    let (Some(control), Some(me)) = (CONTROL.try_get(), shmem::proc::my_proc_number()) else { return };
    if queue::state(me) == WaitState::Waiting {
        control.queues.exclusive().leave(me);
    }
}

/// Works out the priority of our standby by its `application_name`: at the start of replication and after a reload. On a
/// standby that sends to others it is 0: those wait for nobody. C: `SyncRepInitConfig`.
pub fn init_walsender_config() {
    let name = guc::vars::APPLICATION_NAME.get();
    let priority =
        if wal::in_recovery() { 0 } else { config().map_or(0, |config| config.priority_of(&name)) };
    if walsnd::set_sync_priority(priority) != priority {
        ereport!(Debug1, "standby \"{name}\" now has synchronous standby priority {priority}");
    }
}

/// Wakes the commits that the synchronous standbys have: after each reply of our standby, when it begins to stream, and after a
/// reload. C: `SyncRepReleaseWaiters`.
pub fn release_waiters() {
    let Some(mine) = walsnd::mine() else { return };
    let streams = matches!(mine.state, State::Streaming | State::Stopping);
    if mine.sync_priority == 0 || !streams || mine.flush == Lsn::INVALID {
        ANNOUNCE.set(true);
        return;
    }
    let Some(config) = config() else { return };
    let control = CONTROL.get();
    let mut queues = control.queues.exclusive();
    let standing = candidates::standing(&config, &walsnd::statuses(), mine.pid);
    let mut woken = [0; MODES];
    if let Some(synced) = standing.synced {
        for (mode, position) in Mode::ALL.into_iter().zip(synced) {
            woken[mode as usize] = queues.advance(mode, position);
        }
    }
    drop(queues);
    announce(&config, &mine, standing.am_sync);
    if let Some([write, flush, apply]) = standing.synced {
        let [writes, flushes, applies] = woken;
        ereport!(
            Debug3,
            "released {writes} procs up to write {write}, {flushes} procs up to flush {flush}, {applies} procs up to apply {apply}"
        );
    }
}

/// Tells the log when our standby becomes one that commits wait for.
fn announce(config: &Config, mine: &Status, am_sync: bool) {
    if !am_sync {
        ANNOUNCE.set(true);
        return;
    }
    if !ANNOUNCE.replace(false) {
        return;
    }
    let name = guc::vars::APPLICATION_NAME.get();
    match config.method {
        Method::Priority => {
            let priority = mine.sync_priority;
            ereport!(Log, "standby \"{name}\" is now a synchronous standby with priority {priority}");
        }
        Method::Quorum => {
            ereport!(Log, "standby \"{name}\" is now a candidate for quorum synchronous standby");
        }
    }
}

/// Tells the commits whether there is anybody to wait for, by the setting as the checkpointer knows it; lets all go if there
/// is nobody any more. The checkpointer calls it at its start and after a reload. C: `SyncRepUpdateSyncStandbysDefined`.
pub fn update_defined_status() {
    let Some(control) = CONTROL.try_get() else { return };
    let defined = !guc::vars::SYNCHRONOUS_STANDBY_NAMES.with(str::is_empty);
    let status = INITIALIZED | if defined { DEFINED } else { 0 };
    if control.status.load(Acquire) == status {
        return;
    }
    let mut queues = control.queues.exclusive();
    if !defined {
        Mode::ALL.into_iter().for_each(|mode| queues.wake_all(mode));
    }
    control.status.store(status, Relaxed);
}

#[cfg(test)]
mod tests;
