//! What each walsender tells about its stream without a lock: for the postmaster, which must not wait for one.
//!
//! The gauge lies beside the walsender's place and is kept up to date with it; who streams has a [`Meter`] besides, which
//! measures how fast the receiver takes WAL and since when nothing has moved. All of it is a handful of plain stores, and the
//! clock is one that the stream has read anyway.
//!
//! **How fast.** Whenever the socket is full, so much has left for the receiver as it has made room for: between two such moments,
//! without the stream having come to the end of WAL, what the kernel took is what the receiver took ("drained"). A receiver that
//! never lets the socket become full is measured by what it confirms while much is missing: at least that fast it is. (A report
//! after ten seconds that all is there tells nothing of the kind: it may have been there after one.)
//!
//! **Since when.** Something moves when the receiver confirms more, a full socket takes more, or more is sent. A receiver that
//! confirms at intervals only (`pg_receivewal`: 10 s) stands still in between as far as anybody can know: so as long as all is sent,
//! its socket is not full and nobody has asked it, it has until its next report.
//!
//! A walsender that is not running (stopped, or starved) does not know that there is more WAL: [`notice`] remembers when somebody
//! first saw that.
//!
//! C counterpart: none.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use activity::gauges::{Clock, Rate, load_rate, store_rate};
use activity::text;
use common::Lsn;
use common::version::NAMEDATALEN;
use shmem::shm_struct;

use super::{Data, MINE, PLACES, State};
use crate::walrcv;

/// With less than this on its way, what limits a stream may be the way there and back, or that there is no more WAL.
const MUCH: u64 = 128 * 1024;
/// Microseconds within which a report that nothing is missing any more tells how fast that went.
const PROMPT: u64 = 1_000_000;
/// Microseconds for which a measurement with a full socket counts more than any other.
const DRAINED_LATELY: u64 = 60_000_000;
/// Microseconds: reports further apart than that are no regular ones.
const REPORT_GAP_MAX: u64 = 60_000_000;
/// Microseconds that a regular report may be late.
const REPORT_DELAY: u64 = 500_000;
/// Microseconds until the next report of a receiver whose interval is not known: what `pg_receivewal` and
/// `wal_receiver_status_interval` have if nobody says otherwise.
const USUAL_REPORT_GAP: u64 = 10_000_000;

shm_struct! {
    /// See the module page. Times are [`activity::gauges::monotonic_micros`], 0 for never.
    pub(super) struct Gauge {
        pid: AtomicI32,
        state: AtomicU32,
        streams: AtomicBool,
        /// The socket is full.
        blocked: AtomicBool,
        sent: AtomicU64,
        confirmed: AtomicU64,
        /// How far the walsender knows that there is WAL to be sent.
        limit: AtomicU64,
        /// Where its timeline ends, if it is a historic one; else 0.
        ends_at: AtomicU64,
        /// Bytes per second.
        rate: AtomicU64,
        moved_at: AtomicU64,
        /// Something was sent, or there was first something to be sent again.
        sent_at: AtomicU64,
        replied_at: AtomicU64,
        /// The receiver was asked for a reply.
        asked_at: AtomicU64,
        /// Microseconds between reports, if it seems to send them at intervals.
        report_gap: AtomicU64,
        gives_up_at: AtomicU64,
        /// Somebody else saw then that there is WAL behind ...
        noticed_at: AtomicU64,
        /// ... this position, up to which the walsender had sent. Stored by readers.
        noticed_lsn: AtomicU64,
        name: [AtomicU64; NAMEDATALEN / 8],
    }
}

impl Gauge {
    pub(super) fn new() -> Gauge {
        Gauge {
            pid: AtomicI32::new(0),
            state: AtomicU32::new(State::Startup as u32),
            streams: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            ends_at: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            moved_at: AtomicU64::new(0),
            sent_at: AtomicU64::new(0),
            replied_at: AtomicU64::new(0),
            asked_at: AtomicU64::new(0),
            report_gap: AtomicU64::new(0),
            gives_up_at: AtomicU64::new(0),
            noticed_at: AtomicU64::new(0),
            noticed_lsn: AtomicU64::new(0),
            name: Default::default(),
        }
    }

    /// Another walsender, or none, has the place.
    pub(super) fn take(&self, pid: i32) {
        let words = [
            &self.sent,
            &self.confirmed,
            &self.limit,
            &self.ends_at,
            &self.rate,
            &self.moved_at,
            &self.sent_at,
            &self.replied_at,
            &self.asked_at,
            &self.report_gap,
            &self.gives_up_at,
            &self.noticed_at,
            &self.noticed_lsn,
        ];
        words.iter().for_each(|word| word.store(0, Relaxed));
        self.streams.store(false, Relaxed);
        self.blocked.store(false, Relaxed);
        self.state.store(State::Startup as u32, Relaxed);
        self.set_name();
        self.pid.store(pid, Relaxed);
    }

    /// What the place shows.
    #[inline]
    pub(super) fn publish(&self, data: &Data) {
        let unconfirmed = data.unconfirmed();
        self.state.store(data.state as u32, Relaxed);
        self.streams.store(unconfirmed.is_some(), Relaxed);
        self.sent.store(data.sent.0, Relaxed);
        self.confirmed.store(unconfirmed.unwrap_or(Lsn::INVALID).0, Relaxed);
    }

    /// Our `application_name`.
    pub(super) fn set_name(&self) {
        text::store(&self.name, &guc::vars::APPLICATION_NAME.get());
    }

    fn copy(&self, place: usize) -> Option<WalSenderGauge> {
        let pid = self.pid.load(Relaxed);
        if pid == 0 {
            return None;
        }
        let moment = |word: &AtomicU64| Some(word.load(Relaxed)).filter(|at| *at != 0);
        Some(WalSenderGauge {
            place,
            pid,
            state: state_of(self.state.load(Relaxed)),
            streams: self.streams.load(Relaxed),
            name: text::load(&self.name),
            sent: Lsn(self.sent.load(Relaxed)),
            confirmed: Lsn(self.confirmed.load(Relaxed)),
            limit: Lsn(self.limit.load(Relaxed)),
            ends_at: moment(&self.ends_at).map(Lsn),
            rate: load_rate(&self.rate),
            blocked: self.blocked.load(Relaxed),
            moved_at: self.moved_at.load(Relaxed),
            sent_at: self.sent_at.load(Relaxed),
            replied_at: self.replied_at.load(Relaxed),
            asked_at: self.asked_at.load(Relaxed),
            report_gap: self.report_gap.load(Relaxed),
            gives_up_at: moment(&self.gives_up_at),
        })
    }
}

fn state_of(number: u32) -> State {
    let all = [State::Startup, State::Backup, State::Catchup, State::Streaming, State::Stopping];
    all.into_iter().find(|state| *state as u32 == number).unwrap_or(State::Startup)
}

/// A copy of one walsender's gauge; its figures may be of different moments. Times are
/// [`activity::gauges::monotonic_micros`], 0 for never.
#[derive(Clone, Debug, PartialEq)]
pub struct WalSenderGauge {
    place: usize,
    /// The walsender.
    pub pid: i32,
    /// What it does.
    pub state: State,
    /// It sends a stream, of which its receiver may lack something.
    pub streams: bool,
    /// Its `application_name`, cut to 63 bytes.
    pub name: String,
    /// Sent up to here.
    pub sent: Lsn,
    /// The receiver lacks what is behind this, as far as it has told.
    pub confirmed: Lsn,
    /// How far it knows that there is WAL.
    pub limit: Lsn,
    /// Where its stream ends, if that is on a timeline that has been left.
    pub ends_at: Option<Lsn>,
    /// Bytes per second that the receiver took lately, when there was enough for it.
    pub rate: Option<f64>,
    /// The socket is full: nothing can be sent until the receiver reads.
    pub blocked: bool,
    /// Something has moved, or something was first missing.
    pub moved_at: u64,
    /// Something was sent, or there was first something to be sent again.
    pub sent_at: u64,
    /// The receiver has said something.
    pub replied_at: u64,
    /// It was asked to.
    pub asked_at: u64,
    /// Microseconds between its reports, if they seem to come at intervals; else 0.
    pub report_gap: u64,
    /// The server stops, and this is when the walsender gives up; `None` if it does not, or has not learnt of the stop yet.
    pub gives_up_at: Option<u64>,
}

/// Since when a stream has stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Still {
    /// Nothing is missing.
    Complete,
    /// Something is missing, and nothing has moved since then. May be in the future: a report is due then.
    Since(u64),
    /// There is WAL that the walsender has not looked at yet. It will at once, or it does not run. (While it sends it is busy: what it
    /// knows is older then, and `sent` goes on.)
    Unaware,
}

impl WalSenderGauge {
    /// Where the WAL ends that it has to bring away; `wal_end` is [`end_of_wal`].
    pub fn end(&self, wal_end: Lsn) -> Lsn {
        self.ends_at.unwrap_or(wal_end).max(self.sent)
    }

    /// See [`Still`]; `end` is what [`WalSenderGauge::end`] has told.
    pub fn still(&self, end: Lsn) -> Still {
        if !self.streams || end <= self.confirmed {
            return Still::Complete;
        }
        if self.blocked {
            return Still::Since(self.moved_at);
        }
        if self.limit < end {
            return Still::Unaware;
        }
        if self.sent < end {
            return Still::Since(self.moved_at.max(self.sent_at));
        }
        if self.asked_at > self.replied_at {
            return Still::Since(self.moved_at.max(self.asked_at));
        }
        let (from, gap) = match self.report_gap {
            0 => (self.moved_at.max(self.replied_at), USUAL_REPORT_GAP),
            gap => (self.replied_at, gap),
        };
        let next_report = from.saturating_add(gap).saturating_add(REPORT_DELAY);
        Still::Since(self.moved_at.max(next_report))
    }
}

/// The gauges of all walsenders there are, without a lock, in the order of the table. Empty without shared memory.
pub fn gauges() -> impl Iterator<Item = WalSenderGauge> {
    let places = PLACES.try_get().unwrap_or(&[]);
    places.iter().enumerate().filter_map(|(number, place)| place.gauge.copy(number))
}

/// Somebody sees at `now` that this walsender is [`Still::Unaware`]: since when is that known? (By this walsender's readers
/// together.)
pub fn notice(gauge: &WalSenderGauge, now: u64) -> u64 {
    let Some(place) = PLACES.try_get().and_then(|places| places.get(gauge.place)) else { return now };
    let (at, lsn) = (&place.gauge.noticed_at, &place.gauge.noticed_lsn);
    let known = at.load(Relaxed);
    if known != 0 && lsn.load(Relaxed) == gauge.sent.0 {
        return known;
    }
    lsn.store(gauge.sent.0, Relaxed);
    at.store(now, Relaxed);
    now
}

/// Up to where walsenders may send, without a lock: what is flushed, on a standby what was received and is durable, or replayed.
/// Invalid without shared memory. C: `GetFlushRecPtr`, `GetStandbyFlushRecPtr`.
pub fn end_of_wal() -> Lsn {
    let Some(wal) = wal::recovery_point::glance() else { return Lsn::INVALID };
    if !wal.in_recovery {
        return wal.flushed;
    }
    let (received, timeline) = walrcv::flushed_glance();
    if timeline == wal.replayed_timeline { received.max(wal.replayed) } else { wal.replayed }
}

/// A stream's own measurements; it tells what happens, with a moment that it knows anyway.
pub struct Meter {
    gauge: Option<&'static Gauge>,
    clock: Clock,
    /// By what a full socket takes.
    drained: Rate,
    drained_at: u64,
    /// By what the receiver confirms.
    confirming: Rate,
    confirming_at: u64,
    /// What the kernel had taken when the socket was last found full; `None` if it was not.
    taken: Option<u64>,
    confirmed: u64,
    sent: u64,
    replied_at: u64,
    /// Between the two last replies.
    gap: u64,
}

impl Meter {
    /// A stream begins; our place knows where. Does nothing in a process without one.
    pub fn start() -> Meter {
        let gauge = MINE.get().map(|place| &place.gauge);
        let clock = Clock::start();
        let confirmed = gauge.map_or(0, |gauge| gauge.confirmed.load(Relaxed));
        if let Some(gauge) = gauge {
            gauge.set_name();
            let now = clock.micros(Instant::now());
            gauge.moved_at.store(now, Relaxed);
            gauge.sent_at.store(now, Relaxed);
            for word in [&gauge.replied_at, &gauge.asked_at, &gauge.report_gap, &gauge.ends_at] {
                word.store(0, Relaxed);
            }
            gauge.limit.store(confirmed, Relaxed);
            gauge.blocked.store(false, Relaxed);
        }
        Meter {
            gauge,
            clock,
            drained: Rate::new(),
            drained_at: 0,
            confirming: Rate::new(),
            confirming_at: 0,
            taken: None,
            confirmed,
            sent: confirmed,
            replied_at: 0,
            gap: 0,
        }
    }

    /// WAL may be sent up to `limit`, which is the end for good if the timeline `is_historic`.
    #[inline]
    pub fn looked(&mut self, limit: Lsn, is_historic: bool, now: Instant) {
        let Some(gauge) = self.gauge else { return };
        let before = gauge.limit.load(Relaxed);
        if before == limit.0 && !is_historic {
            return;
        }
        if before <= self.confirmed && limit.0 > self.confirmed {
            gauge.moved_at.store(self.clock.micros(now), Relaxed);
        }
        if before <= gauge.sent.load(Relaxed) {
            gauge.sent_at.store(self.clock.micros(now), Relaxed);
        }
        gauge.limit.store(limit.0, Relaxed);
        if is_historic {
            gauge.ends_at.store(limit.0, Relaxed);
        }
        if !self.confirming.is_running() && self.is_much_missing() {
            self.confirming_at = self.clock.micros(now);
            self.confirming.sample(self.confirming_at, self.confirmed);
        }
    }

    /// The socket took what it could. `pending` bytes still wait, 0 if it took all of them; `is_all`: there is no more WAL either.
    #[inline]
    pub fn flushed(&mut self, pending: usize, is_all: bool, now: Instant) {
        let Some(gauge) = self.gauge else { return };
        if pending > 0 {
            self.is_full(gauge, pending, now);
            return;
        }
        if self.taken.take().is_some() {
            gauge.blocked.store(false, Relaxed);
            gauge.moved_at.store(self.clock.micros(now), Relaxed);
        }
        let sent = gauge.sent.load(Relaxed);
        if std::mem::replace(&mut self.sent, sent) != sent {
            gauge.sent_at.store(self.clock.micros(now), Relaxed);
        }
        if is_all {
            self.drained.pause();
        }
    }

    fn is_full(&mut self, gauge: &Gauge, pending: usize, now: Instant) {
        let now = self.clock.micros(now);
        let taken = gauge.sent.load(Relaxed).saturating_sub(pending as u64);
        gauge.blocked.store(true, Relaxed);
        // Woken for another reason: a standstill is one gap, however often we look.
        if self.taken.is_some_and(|before| taken <= before) {
            return;
        }
        self.taken = Some(taken);
        gauge.moved_at.store(now, Relaxed);
        self.drained.sample(now, taken);
        self.drained_at = now;
        self.publish(gauge, now);
    }

    /// The receiver has told how far it is, and our place knows.
    #[inline]
    pub fn replied(&mut self, now: Instant) {
        let Some(gauge) = self.gauge else { return };
        let now = self.clock.micros(now).max(gauge.asked_at.load(Relaxed));
        let confirmed = gauge.confirmed.load(Relaxed);
        if confirmed > self.confirmed {
            gauge.moved_at.store(now, Relaxed);
        }
        self.confirmed = confirmed;
        if self.is_much_missing() || self.confirming.is_running() && !self.is_late(now) {
            self.confirming.sample(now, confirmed);
            self.confirming_at = now;
            self.publish(gauge, now);
        }
        if !self.is_much_missing() {
            self.confirming.pause();
        }
        self.note_gap(gauge, now);
    }

    /// All is confirmed, but the receiver may have had it for long: when it got the last of it, it has not told.
    fn is_late(&self, now: u64) -> bool {
        now.saturating_sub(self.confirming_at) > PROMPT
    }

    /// Reports come at intervals if two in a row were as far apart as that; an answer is none.
    fn note_gap(&mut self, gauge: &Gauge, now: u64) {
        let before = std::mem::replace(&mut self.gap, now.saturating_sub(self.replied_at));
        let is_answer = gauge.asked_at.load(Relaxed) > self.replied_at;
        if !is_answer {
            let regular = self.replied_at != 0 && before != 0 && self.gap.max(before) <= REPORT_GAP_MAX;
            gauge.report_gap.store(if regular { self.gap.min(before) } else { 0 }, Relaxed);
        }
        self.replied_at = now;
        gauge.replied_at.store(now, Relaxed);
    }

    /// The receiver was asked for a reply.
    pub fn asked(&mut self, now: Instant) {
        let Some(gauge) = self.gauge else { return };
        // Often because of a reply that says too little: the moment may be that one's.
        gauge.asked_at.store(self.clock.micros(now).max(self.replied_at + 1), Relaxed);
    }

    /// How long the receiver has said nothing, while it lacks something and was not asked; `None` if that is not so.
    pub fn silence(&self, now: Instant) -> Option<Duration> {
        let gauge = self.gauge?;
        let is_missing = gauge.limit.load(Relaxed) > self.confirmed;
        let asked_at = gauge.asked_at.load(Relaxed);
        if !is_missing || asked_at > self.replied_at {
            return None;
        }
        let since = self.replied_at.max(gauge.moved_at.load(Relaxed));
        Some(Duration::from_micros(self.clock.micros(now).saturating_sub(since)))
    }

    /// The server stops, and this is when the stream gives up, if at all.
    pub fn gives_up(&mut self, at: Option<Instant>) {
        let Some(gauge) = self.gauge else { return };
        gauge.gives_up_at.store(at.map_or(0, |at| self.clock.micros(at)), Relaxed);
    }

    fn is_much_missing(&self) -> bool {
        let limit = self.gauge.map_or(0, |gauge| gauge.limit.load(Relaxed));
        limit.saturating_sub(self.confirmed) >= MUCH
    }

    fn publish(&self, gauge: &Gauge, now: u64) {
        // Nothing confirmed yet is no speed: for that there is `moved_at`.
        let confirming = self.confirming.per_second().filter(|rate| *rate > 0.0);
        let drained = self.drained.per_second();
        let rate = match drained {
            Some(drained) if now.saturating_sub(self.drained_at) < DRAINED_LATELY => Some(drained),
            Some(drained) => Some(drained.max(confirming.unwrap_or(0.0))),
            None => confirming,
        };
        store_rate(&gauge.rate, rate);
    }
}
