//! The table of walsenders: where each of them has come to, for those who look at it and those who wait for it.
//!
//! A walsender [`claim`]s a place when it starts and keeps it until it ends; it alone writes there. Whoever wants to know
//! ([`statuses`]: the view, synchronous commits, the checkpointer at shutdown) copies one place after the other, each under
//! its own spinlock, so that a walsender never waits for more than one copy.
//!
//! [`wakeup`] is called after each flush of WAL, by whoever flushed: it costs a fence and one load as long as there is no
//! walsender.
//!
//! Invariants (numbered in this crate's README):
//! - **WS1** A place with a pid is written by that process only, except `needs_reload`.
//! - **WS2** A walsender that has looked at the flushed position before it sleeps is woken by every later flush: it counts
//!   as running, and its latch is known, before it first looks.
//! - **WS3** Nothing is held while a latch is set or a signal sent.
//! - **WS4** From [`init_stopping`] on, what the receiver of a stream has not confirmed counts in [`oldest_needed`], also when its
//!   walsender has left meanwhile: who leaves says so before its place is free.
//! - **WS5** What the postmaster may want to know is beside the lock, in the place's [`gauge`], and follows every change under it;
//!   the postmaster never takes the lock.
//!
//! C counterpart: `WalSndCtl`, walsender_private.h, and `InitWalSenderSlot`, `WalSndWakeup`, `WalSndInitStopping`,
//! `WalSndWaitStopping`, `WalSndRqstFileReload` of walsender.c.

mod gauge;

use std::cell::Cell;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence};
use std::time::Duration;

use common::{Lsn, SqlState};
use crossbeam_utils::CachePadded;
use elog::{Result, fatal};
use shmem::latch::{self, Wake};
use shmem::procsignal::{self, ProcSignalReason};
use shmem::wait_event::WaitEvent;
use shmem::{Reservation, ShmSlice, ShmVar, SpinLock, shm_struct};

use gauge::Gauge;
pub use gauge::{Meter, Still, WalSenderGauge, end_of_wal, gauges, notice};

shm_struct! {
    /// What a walsender is doing. C: `WalSndState`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum State {
        /// Nothing yet.
        Startup = 0,
        /// A base backup.
        Backup = 1,
        /// Sending WAL that is older than the newest.
        Catchup = 2,
        /// Sending WAL as it comes.
        Streaming = 3,
        /// The server stops: no command is taken any more, what is left of WAL is sent.
        Stopping = 4,
    }
}

impl State {
    /// As `pg_stat_replication` shows it. C: `WalSndGetStateString`.
    pub fn text(self) -> &'static str {
        match self {
            State::Startup => "startup",
            State::Backup => "backup",
            State::Catchup => "catchup",
            State::Streaming => "streaming",
            State::Stopping => "stopping",
        }
    }
}

/// No lag is known.
const NO_LAG: i64 = -1;
/// No PGPROC.
const NO_PROC: u32 = u32::MAX;

shm_struct! {
    /// One walsender. C: `WalSnd`.
    #[derive(Clone, Copy)]
    struct Data {
        /// 0 if the place is free.
        pid: i32,
        state: State,
        /// Where the last stream began; invalid before the first.
        start: Lsn,
        sent: Lsn,
        needs_reload: bool,
        write: Lsn,
        flush: Lsn,
        apply: Lsn,
        /// Microseconds, or [`NO_LAG`]: of writing, flushing, applying.
        lags: [i64; 3],
        sync_priority: i32,
        /// Microseconds since 2000-01-01, 0 before the first reply.
        reply_time: i64,
    }
}

const FREE: Data = Data {
    pid: 0,
    state: State::Startup,
    start: Lsn::INVALID,
    sent: Lsn::INVALID,
    needs_reload: false,
    write: Lsn::INVALID,
    flush: Lsn::INVALID,
    apply: Lsn::INVALID,
    lags: [NO_LAG; 3],
    sync_priority: 0,
    reply_time: 0,
};

shm_struct! {
    /// A place in the table.
    struct Place {
        data: SpinLock<Data>,
        /// Whose latch is to be set; [`NO_PROC`] if the place is free. Beside the lock: a wake-up that comes too late or
        /// goes to the place's next owner does no harm. C: `latch`.
        proc_number: AtomicU32,
        /// What of it can be seen without the lock (WS5).
        gauge: Gauge,
    }
}

/// Nobody has left with something missing.
const NOTHING_LEFT: u64 = u64::MAX;

shm_struct! {
    /// The stop of the server.
    struct Stop {
        /// The walsenders have been told.
        has_begun: AtomicBool,
        /// The oldest position that the receiver of one that has left since then lacks, or [`NOTHING_LEFT`].
        left: AtomicU64,
    }
}

static PLACES: ShmSlice<CachePadded<Place>> = ShmSlice::new("Wal Sender Ctl");
/// How many places are taken.
static RUNNING: ShmVar<CachePadded<AtomicU32>> = ShmVar::new("Wal Senders Running");
static STOP: ShmVar<Stop> = ShmVar::new("Wal Senders Stop");

thread_local! {
    /// Our place. C: `MyWalSnd`.
    static MINE: Cell<Option<&'static Place>> = const { Cell::new(None) };
}

/// Its share of the segment: `max_wal_senders` places. C: `WalSndShmemInit`.
pub fn reserve(reservation: &mut Reservation, _procs: usize) {
    let places = guc::vars::MAX_WAL_SENDERS.get().max(0) as usize;
    reservation.var(&RUNNING, || CachePadded::new(AtomicU32::new(0)));
    reservation.var(&STOP, || Stop { has_begun: AtomicBool::new(false), left: AtomicU64::new(NOTHING_LEFT) });
    reservation.slice(&PLACES, places, |_| {
        CachePadded::new(Place {
            data: SpinLock::new(FREE),
            proc_number: AtomicU32::new(NO_PROC),
            gauge: Gauge::new(),
        })
    });
}

/// A copy of one walsender's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The walsender.
    pub pid: i32,
    /// What it does.
    pub state: State,
    /// Sent up to here.
    pub sent: Lsn,
    /// The standby has told to have written up to here; invalid before its first reply, as the two that follow.
    pub write: Lsn,
    /// Made durable.
    pub flush: Lsn,
    /// Replayed.
    pub apply: Lsn,
    /// Microseconds from local flush to the news of the standby's write.
    pub write_lag: Option<i64>,
    /// … of its flush.
    pub flush_lag: Option<i64>,
    /// … of its replay.
    pub apply_lag: Option<i64>,
    /// The standby's clock at its last reply, in microseconds since 2000-01-01.
    pub reply_time: Option<i64>,
    /// Place in `synchronous_standby_names` from 1 (always 1 with ANY), 0 if it is not listed.
    pub sync_priority: i32,
}

impl Data {
    fn status(&self) -> Status {
        let lag = |at: usize| Some(self.lags[at]).filter(|lag| *lag != NO_LAG);
        Status {
            pid: self.pid,
            state: self.state,
            sent: self.sent,
            write: self.write,
            flush: self.flush,
            apply: self.apply,
            write_lag: lag(0),
            flush_lag: lag(1),
            apply_lag: lag(2),
            reply_time: Some(self.reply_time).filter(|time| *time != 0),
            sync_priority: self.sync_priority,
        }
    }

    /// From where on the receiver of the stream lacks WAL, as far as it has told; `None` if there is no stream. What it claims
    /// to have and was not sent does not count. It asks for this again if its connection breaks.
    fn unconfirmed(&self) -> Option<Lsn> {
        let streams = matches!(self.state, State::Catchup | State::Streaming | State::Stopping);
        if !streams || self.start == Lsn::INVALID {
            return None;
        }
        // `pg_receivewal` tells what it has written, and of flushing only with a slot.
        let told = if self.flush == Lsn::INVALID { self.write } else { self.flush };
        Some(told.max(self.start).min(self.sent))
    }
}

/// Takes a place, to be given back by [`release`] at the end of the process, which this sees to. The process must have its
/// PGPROC. C: `InitWalSenderSlot`.
///
/// # Errors
/// FATAL 53300 if none is free, which the quota of PGPROCs rules out.
pub fn claim() -> Result<()> {
    let pid = std::process::id() as i32;
    let proc_number = shmem::my_proc().pgprocno;
    for place in PLACES.get() {
        let mut data = place.data.lock();
        if data.pid != 0 {
            continue;
        }
        *data = Data { pid, ..FREE };
        drop(data);
        place.gauge.take(pid);
        // WS2.
        place.proc_number.store(proc_number, SeqCst);
        RUNNING.get().fetch_add(1, SeqCst);
        MINE.set(Some(place));
        miscinit::exit::on_shmem_exit(|_| release());
        return Ok(());
    }
    Err(fatal!(
        SqlState::TOO_MANY_CONNECTIONS,
        "number of requested standby connections exceeds max_wal_senders (currently {})",
        PLACES.get().len()
    ))
}

/// Gives our place back; does nothing without one. C: `WalSndKill`.
pub fn release() {
    let Some(place) = MINE.take() else { return };
    place.proc_number.store(NO_PROC, SeqCst);
    RUNNING.get().fetch_sub(1, SeqCst);
    let stop = STOP.get();
    let mut data = place.data.lock();
    // WS4: under the lock, so that who finds the place free finds this.
    if stop.has_begun.load(SeqCst)
        && let Some(lsn) = data.unconfirmed()
    {
        stop.left.fetch_min(lsn.0, SeqCst);
    }
    // Before another one can have it.
    place.gauge.take(0);
    *data = FREE;
}

fn with_mine<R>(work: impl FnOnce(&Data) -> R) -> Option<R> {
    MINE.get().map(|place| work(&place.data.lock()))
}

/// The same for who changes something that the gauge shows (WS5).
fn change_mine<R>(work: impl FnOnce(&mut Data) -> R) -> Option<R> {
    MINE.get().map(|place| {
        let mut data = place.data.lock();
        let result = work(&mut data);
        place.gauge.publish(&data);
        result
    })
}

/// This process is a walsender with a place. C: `MyWalSnd != NULL`.
pub fn claimed() -> bool {
    MINE.get().is_some()
}

/// Our place as others see it.
pub fn mine() -> Option<Status> {
    with_mine(|data| data.status())
}

/// Shows what we do. With [`State::Catchup`] a stream begins: what the standby has told in an earlier one of the same session is
/// forgotten, since it may have been about another timeline, and commits must not take it for theirs. C: `WalSndSetState`.
pub fn set_state(state: State) {
    change_mine(|data| {
        data.state = state;
        if state == State::Catchup {
            (data.write, data.flush, data.apply) = (Lsn::INVALID, Lsn::INVALID, Lsn::INVALID);
        }
    });
    // It may have been set meanwhile.
    if let Some(place) = MINE.get() {
        place.gauge.set_name();
    }
}

/// What we show to do; [`State::Startup`] without a place.
pub fn state() -> State {
    with_mine(|data| data.state).unwrap_or(State::Startup)
}

/// A stream begins here: nothing has been sent.
pub fn begin_stream(start: Lsn) {
    change_mine(|data| (data.start, data.sent) = (start, start));
}

/// We have sent up to here.
pub fn set_sent(lsn: Lsn) {
    change_mine(|data| data.sent = lsn);
}

/// How far we have sent.
pub fn sent() -> Lsn {
    with_mine(|data| data.sent).unwrap_or(Lsn::INVALID)
}

/// From where on the receiver of our stream lacks WAL, as far as it has told: where the stream began, before it has told
/// anything.
pub fn unconfirmed() -> Lsn {
    with_mine(|data| data.unconfirmed()).flatten().unwrap_or(Lsn::INVALID)
}

/// A standby's reply. `lags` are microseconds of write, flush, apply; a lag that could not be measured stays as it is, or
/// is forgotten with `clear_lags` (the standby has all there is for a while). `reply_time` is the standby's clock in
/// microseconds since 2000-01-01. C: the end of `ProcessStandbyReplyMessage`.
pub fn record_reply(
    write: Lsn,
    flush: Lsn,
    apply: Lsn,
    lags: [Option<i64>; 3],
    clear_lags: bool,
    reply_time: i64,
) {
    change_mine(|data| {
        (data.write, data.flush, data.apply) = (write, flush, apply);
        for (kept, new) in data.lags.iter_mut().zip(lags) {
            match new {
                Some(micros) => *kept = micros,
                None if clear_lags => *kept = NO_LAG,
                None => {}
            }
        }
        data.reply_time = reply_time;
    });
}

/// The time of a message that says nothing about positions. C: in `ProcessStandbyHSFeedbackMessage`.
pub fn set_reply_time(reply_time: i64) {
    change_mine(|data| data.reply_time = reply_time);
}

/// Our place in `synchronous_standby_names`; returns the old one.
pub(crate) fn set_sync_priority(priority: i32) -> i32 {
    change_mine(|data| std::mem::replace(&mut data.sync_priority, priority)).unwrap_or(priority)
}

/// Copies of all places that are taken, in the order of the table; each is whole, no two are of the same moment.
pub fn statuses() -> Vec<Status> {
    let places = PLACES.try_get().unwrap_or(&[]);
    places
        .iter()
        .map(|place| *place.data.lock())
        .filter(|data| data.pid != 0)
        .map(|data| data.status())
        .collect()
}

/// Wakes every walsender: there is more to send, or something has changed. Never under a lock that a walsender takes; may
/// be called from a critical section. C: `WalSndWakeup`.
#[inline]
pub fn wakeup() {
    let Some(running) = RUNNING.try_get() else { return };
    // WS2: what was flushed is visible before we look whether somebody runs.
    fence(SeqCst);
    if running.load(Relaxed) != 0 {
        set_latches();
    }
}

#[cold]
fn set_latches() {
    let procs = shmem::all_procs();
    for place in PLACES.get() {
        if let Some(proc) = procs.get(place.proc_number.load(SeqCst) as usize) {
            proc.latch.set();
        }
    }
}

/// Asks every walsender to open its WAL segment again: another file has taken the name. C: `WalSndRqstFileReload`.
pub fn request_file_reload() {
    for place in PLACES.try_get().unwrap_or(&[]) {
        let mut data = place.data.lock();
        if data.pid != 0 {
            data.needs_reload = true;
        }
    }
}

/// Whether we were asked to open our segment again; asks no more. C: the use of `needreload` in `XLogSendPhysical`.
pub fn take_file_reload() -> bool {
    change_mine(|data| std::mem::take(&mut data.needs_reload)).unwrap_or(false)
}

/// Asks every walsender to take no more commands and to show [`State::Stopping`] as soon as it does only what may go on
/// after the shutdown checkpoint. C: `WalSndInitStopping`.
pub fn init_stopping() {
    STOP.get().has_begun.store(true, SeqCst);
    for status in statuses() {
        // One that has gone meanwhile needs no telling.
        procsignal::send(status.pid, ProcSignalReason::WalSenderStopping);
    }
}

/// Waits until every walsender shows [`State::Stopping`] or is gone: then none of them makes WAL any more. C:
/// `WalSndWaitStopping`.
pub fn wait_stopping() {
    while !statuses().iter().all(|status| status.state == State::Stopping) {
        let nap = Some(Duration::from_millis(10));
        if latch::wait(Wake::POSTMASTER_DEATH, nap, WaitEvent::CHECKPOINTER_MAIN).postmaster_died() {
            miscinit::exit::proc_exit(1);
        }
    }
}

/// The oldest WAL that the receivers of streams have not confirmed to have: from here on a stop keeps all of it, so that they get
/// the rest from this server, be it now or after its next start. Also counts those whose walsenders have left since they were
/// told to stop, for whatever reason. `None` if there is no such stream; a base backup is none, and is not known to need anything.
///
/// Others only move this on; it may be older than the truth at once, and is never younger.
pub fn oldest_needed() -> Option<Lsn> {
    let places = PLACES.try_get().unwrap_or(&[]);
    let present = places.iter().filter_map(|place| place.data.lock().unconfirmed()).min();
    // WS4: after the places.
    let left = STOP.try_get().map(|stop| stop.left.load(SeqCst)).filter(|lsn| *lsn != NOTHING_LEFT);
    present.into_iter().chain(left.map(Lsn)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_receiver_lacks() {
        let stream = Data { pid: 1, state: State::Streaming, start: Lsn(100), sent: Lsn(900), ..FREE };
        let with = |write, flush| Data { write: Lsn(write), flush: Lsn(flush), ..stream }.unconfirmed();
        assert_eq!(with(0, 0), Some(Lsn(100)), "it has told nothing");
        assert_eq!(with(700, 0), Some(Lsn(700)), "it tells of writing only");
        assert_eq!(with(700, 500), Some(Lsn(500)));
        assert_eq!(with(50, 40), Some(Lsn(100)), "it has asked for what comes behind");
        assert_eq!(with(2000, 2000), Some(Lsn(900)), "it cannot have what was not sent");
        for (state, streams) in [
            (State::Startup, false),
            (State::Backup, false),
            (State::Catchup, true),
            (State::Streaming, true),
            (State::Stopping, true),
        ] {
            assert_eq!(Data { state, ..stream }.unconfirmed().is_some(), streams, "{state:?}");
            assert_eq!(Data { state, ..FREE }.unconfirmed(), None, "{state:?}");
        }
    }
}
