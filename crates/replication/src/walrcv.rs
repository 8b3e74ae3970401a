//! What the startup process, which wants WAL, and the walreceiver, which fetches it, tell each other; and what everybody
//! else may know of it.
//!
//! The startup process asks by [`request_streaming`] for WAL from a position on a timeline. That starts a walreceiver through
//! the postmaster, or gives the one that waits its next orders:
//!
//! ```text
//!            request_streaming           the process begins            end of the timeline
//!  Stopped ----------------> Starting ----------------> Streaming --------------------> Waiting
//!     ^                         |                         |   ^                            |
//!     |   10 s, or shutdown()   |              shutdown() |   | takes its orders           | request_streaming
//!     +-------------------------+                         v   |                            v
//!     +<------------------- the process ends ------- Stopping |<----------------------- Restarting
//! ```
//!
//! - `walrcv` (this file): the startup process's side, and what others ask.
//! - `walrcv::receiver`: the walreceiver's own side.
//!
//! Invariants: WR1 only the walreceiver stores its pid, and pid != 0 exactly from `receiver::begin` to `receiver::end`.
//! WR2 `flushed` never goes back on one timeline, and what is before it is durable in files of that timeline. WR3 the start
//! of a stream is the start of a segment, so that no segment has a hole. WR4 the connection string that a session can see
//! never holds a password.
//!
//! C counterpart: walreceiverfuncs.c, `WalRcvData` in walreceiver.h.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use common::{BackendType, Lsn, TimeLineId};
use elog::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmem::latch::{self, Wake};
use shmem::pmsignal::{PmSignalReason, send_postmaster_signal};
use shmem::wait_event::WaitEvent;
use shmem::{Reservation, ShmVar, SpinLock, shm_struct};

pub mod receiver;

/// Longest connection string, in bytes with the end mark of C. C: `MAXCONNINFO`.
pub const CONNINFO_BYTES_MAX: usize = 1024;
/// C: `NI_MAXHOST`.
const HOST_BYTES_MAX: usize = 1025;
/// C: `NAMEDATALEN`.
const SLOT_BYTES_MAX: usize = 64;
/// How long a walreceiver that was asked for may take to come up, before somebody gives up on it.
/// C: `WALRCV_STARTUP_TIMEOUT`.
const STARTUP_TIMEOUT_MICROS: i64 = 10 * 1_000_000;
/// One who waits for the walreceiver's end is woken by it; this is for one that was killed.
const STOP_POLL: Duration = Duration::from_secs(1);

shm_struct! {
    /// Where the walreceiver stands. C: `WalRcvState`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum State {
        /// There is none, and one that comes must end again.
        Stopped,
        /// Asked for; the process has not begun yet.
        Starting,
        /// It streams.
        Streaming,
        /// The stream has ended; it waits for orders.
        Waiting,
        /// It has orders that it did not see yet.
        Restarting,
        /// Asked to end; still there.
        Stopping,
    }
}

impl State {
    /// As pg_stat_wal_receiver shows it. C: `WalRcvGetStateString`.
    pub fn text(self) -> &'static str {
        match self {
            State::Stopped => "stopped",
            State::Starting => "starting",
            State::Streaming => "streaming",
            State::Waiting => "waiting",
            State::Restarting => "restarting",
            State::Stopping => "stopping",
        }
    }
}

shm_struct! {
    /// A text of bounded length.
    #[derive(Clone, Copy)]
    struct Text { len: u32, bytes: [u8; HOST_BYTES_MAX] }
}

impl Text {
    const EMPTY: Text = Text { len: 0, bytes: [0; HOST_BYTES_MAX] };

    /// Takes as much as fits below `limit` bytes, an end mark included, without cutting a character. C: `strlcpy`.
    fn set(&mut self, text: &str, limit: usize) {
        let mut len = text.len().min(limit.min(HOST_BYTES_MAX) - 1);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        self.bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len = len as u32;
    }

    fn get(&self) -> String {
        let bytes = self.bytes.get(..self.len as usize).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }
}

shm_struct! {
    /// C: what `mutex` covers of `WalRcvData`.
    #[derive(Clone, Copy)]
    struct Data {
        pid: i32,
        state: State,
        /// When the current request was made, microseconds since 2000.
        start_time: i64,
        receive_start: Lsn,
        receive_start_timeline: TimeLineId,
        flushed: Lsn,
        received_timeline: TimeLineId,
        latest_chunk_start: Lsn,
        last_message_send_time: i64,
        last_message_receipt_time: i64,
        latest_wal_end: Lsn,
        latest_wal_end_time: i64,
        conninfo: Text,
        sender_host: Text,
        sender_port: i32,
        slot_name: Text,
        is_temporary_slot: bool,
        /// `conninfo` can be shown: the password is out of it.
        ready_to_display: bool,
    }
}

shm_struct! {
    /// C: `WalRcvData`.
    struct Shared {
        data: SpinLock<Data>,
        /// As `flushed`, before the fsync. C: `writtenUpto`.
        written: AtomicU64,
        /// `flushed` and its timeline for who must not wait for a lock; each by itself.
        flushed_glance: AtomicU64,
        timeline_glance: AtomicU32,
        /// The startup process wants a reply sent. C: `force_reply`.
        force_reply: AtomicBool,
        /// Commits at the primary wait for replay: a hint for the walreceiver.
        apply_awaited: AtomicBool,
    }
}

impl Shared {
    /// To be called with the lock held, after `flushed` has changed.
    fn publish_flushed(&self, data: &Data) {
        self.timeline_glance.store(data.received_timeline.0, Relaxed);
        self.flushed_glance.store(data.flushed.0, Relaxed);
    }
}

static SHARED: ShmVar<Shared> = ShmVar::new("Wal Receiver Ctl");

/// Its share of the segment. C: `WalRcvShmemSize`, `WalRcvShmemInit`.
pub fn reserve(reservation: &mut Reservation) {
    reservation.var(&SHARED, || Shared {
        data: SpinLock::new(Data {
            pid: 0,
            state: State::Stopped,
            start_time: 0,
            receive_start: Lsn::INVALID,
            receive_start_timeline: TimeLineId(0),
            flushed: Lsn::INVALID,
            received_timeline: TimeLineId(0),
            latest_chunk_start: Lsn::INVALID,
            last_message_send_time: 0,
            last_message_receipt_time: 0,
            latest_wal_end: Lsn::INVALID,
            latest_wal_end_time: 0,
            conninfo: Text::EMPTY,
            sender_host: Text::EMPTY,
            sender_port: 0,
            slot_name: Text::EMPTY,
            is_temporary_slot: false,
            ready_to_display: false,
        }),
        written: AtomicU64::new(0),
        flushed_glance: AtomicU64::new(0),
        timeline_glance: AtomicU32::new(0),
        force_reply: AtomicBool::new(false),
        apply_awaited: AtomicBool::new(false),
    });
}

/// What has been received and is durable. C: what `GetWalRcvFlushRecPtr` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The end of it, exclusive; invalid before the first request.
    pub lsn: Lsn,
    /// Where the last piece that became durable at once begins: one who replays only now what lies before it lags behind.
    pub latest_chunk_start: Lsn,
    /// The timeline it is of.
    pub timeline: TimeLineId,
}

/// The row of pg_stat_wal_receiver. Times are microseconds since 2000-01-01.
#[derive(Clone, Debug)]
pub struct ReceiverStatus {
    /// Of the walreceiver.
    pub pid: i32,
    /// Where it stands.
    pub state: State,
    /// First position asked for.
    pub receive_start: Lsn,
    /// Its timeline.
    pub receive_start_timeline: TimeLineId,
    /// Written, perhaps not durable yet.
    pub written: Lsn,
    /// Durable.
    pub flushed: Lsn,
    /// Its timeline.
    pub received_timeline: TimeLineId,
    /// When the last message was sent, by the sender's clock.
    pub last_message_send_time: Option<i64>,
    /// When it came, by ours.
    pub last_message_receipt_time: Option<i64>,
    /// Where WAL ended at the sender by its last word.
    pub latest_wal_end: Lsn,
    /// When it said so.
    pub latest_wal_end_time: Option<i64>,
    /// The slot, temporary or not; empty without one.
    pub slot_name: String,
    /// Host, address or socket directory of the sender.
    pub sender_host: String,
    /// Its port, 0 if not known.
    pub sender_port: i32,
    /// The connection string without its secrets.
    pub conninfo: String,
}

/// Asks for WAL from the segment on that `start` lies in, on timeline `tli`. For the startup process, while the walreceiver is
/// stopped or waits. One that waits goes on with the connection and the slot that it has, so that only a new one is told of
/// others: what it shows of its own stays (WR4; C overwrites it with the string that has the password).
/// C: `RequestXLogStreaming`.
pub fn request_streaming(
    tli: TimeLineId,
    start: Lsn,
    conninfo: &str,
    slot: Option<&str>,
    temporary_slot: bool,
) {
    // WR3.
    let start = Lsn(start.0 - start.0 % segment_bytes());
    let now = activity::now();
    let shared = SHARED.get();
    let launch = {
        let mut data = shared.data.lock();
        debug_assert!(
            matches!(data.state, State::Stopped | State::Waiting),
            "walreceiver is {:?}",
            data.state
        );
        let launch = data.state == State::Stopped;
        if launch {
            let slot = slot.filter(|name| !name.is_empty());
            data.conninfo.set(conninfo, CONNINFO_BYTES_MAX);
            data.is_temporary_slot = slot.is_none() && temporary_slot;
            data.slot_name.set(slot.unwrap_or_default(), SLOT_BYTES_MAX);
        }
        data.state = if launch { State::Starting } else { State::Restarting };
        data.start_time = now;
        if data.receive_start == Lsn::INVALID || data.received_timeline != tli {
            data.flushed = start;
            data.received_timeline = tli;
            data.latest_chunk_start = start;
        }
        data.receive_start = start;
        data.receive_start_timeline = tli;
        shared.publish_flushed(&data);
        launch
    };
    if launch {
        send_postmaster_signal(PmSignalReason::StartWalReceiver);
    } else {
        wake_receiver();
    }
}

fn segment_bytes() -> u64 {
    wal::geometry().segment_size().into()
}

fn wake_receiver() {
    if let Some(proc) = shmem::proc::auxiliary(BackendType::WalReceiver) {
        latch::set(&proc.latch);
    }
}

/// The state, after giving up on a process that does not come up in time.
fn state_now() -> State {
    let Some(shared) = SHARED.try_get() else { return State::Stopped };
    let state = shared.data.lock().state;
    if state != State::Starting {
        return state;
    }
    let now = activity::now();
    let mut data = shared.data.lock();
    if data.state == State::Starting && now - data.start_time > STARTUP_TIMEOUT_MICROS {
        data.state = State::Stopped;
    }
    data.state
}

/// Is there a walreceiver, streaming or not, or about to be one? C: `WalRcvRunning`.
pub fn running() -> bool {
    state_now() != State::Stopped
}

/// Does it stream, or will it soon? C: `WalRcvStreaming`.
pub fn streaming() -> bool {
    matches!(state_now(), State::Streaming | State::Starting | State::Restarting)
}

/// Where it stands.
pub fn state() -> State {
    state_now()
}

/// Ends the walreceiver, if there is one, and waits until it is gone. C: `ShutdownWalRcv`.
///
/// # Errors
/// If the caller is told to end itself. The process ends, if the postmaster is gone.
pub fn shutdown() -> Result<()> {
    let Some(shared) = SHARED.try_get() else { return Ok(()) };
    let pid = {
        let mut data = shared.data.lock();
        match data.state {
            State::Stopped => 0,
            State::Starting => {
                data.state = State::Stopped;
                0
            }
            State::Streaming | State::Waiting | State::Restarting | State::Stopping => {
                data.state = State::Stopping;
                data.pid
            }
        }
    };
    if pid != 0 {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    let waited = wait_until_stopped();
    // Whatever else set our latch meanwhile has not been looked at.
    latch::set_my_latch_from_handler();
    waited
}

fn wait_until_stopped() -> Result<()> {
    loop {
        latch::reset();
        if !running() {
            return Ok(());
        }
        let woken = latch::wait(Wake::LATCH_OR_DEATH, Some(STOP_POLL), WaitEvent::WAL_RECEIVER_EXIT);
        if woken.postmaster_died() {
            miscinit::exit::proc_exit(1);
        }
        miscinit::interrupt::check()?;
    }
}

/// What is durable of the WAL received. C: `GetWalRcvFlushRecPtr`.
pub fn flushed() -> Flushed {
    match SHARED.try_get() {
        Some(shared) => {
            let data = shared.data.lock();
            Flushed {
                lsn: data.flushed,
                latest_chunk_start: data.latest_chunk_start,
                timeline: data.received_timeline,
            }
        }
        None => Flushed { lsn: Lsn::INVALID, latest_chunk_start: Lsn::INVALID, timeline: TimeLineId(0) },
    }
}

/// The same without a lock, for the postmaster: the position and its timeline, of which one may be newer than the other.
pub fn flushed_glance() -> (Lsn, TimeLineId) {
    SHARED.try_get().map_or((Lsn::INVALID, TimeLineId(0)), |shared| {
        (Lsn(shared.flushed_glance.load(Relaxed)), TimeLineId(shared.timeline_glance.load(Relaxed)))
    })
}

/// What is written of it, perhaps not durable: nothing to rely upon. C: `GetWalRcvWriteRecPtr`.
pub fn written() -> Lsn {
    SHARED.try_get().map_or(Lsn::INVALID, |shared| Lsn(shared.written.load(SeqCst)))
}

/// The startup process starts anew at `lsn`: what was received before counts for nothing. Only while no walreceiver runs.
pub fn reset_flushed(lsn: Lsn, tli: TimeLineId) {
    if let Some(shared) = SHARED.try_get() {
        let mut data = shared.data.lock();
        data.flushed = lsn;
        data.latest_chunk_start = lsn;
        data.received_timeline = tli;
        shared.publish_flushed(&data);
    }
}

/// The primary is to hear at once how far replay is: a commit there waits for it (`remote_apply`). Probably the next one does,
/// too, so that the walreceiver wakes the startup process sooner then. C: `WalRcvForceReply`.
pub fn apply_awaited() {
    if let Some(shared) = SHARED.try_get() {
        shared.apply_awaited.store(true, Relaxed);
    }
    force_reply();
}

/// The primary is to hear at once how far replay is. C: `WalRcvForceReply`.
pub fn force_reply() {
    if let Some(shared) = SHARED.try_get() {
        shared.force_reply.store(true, SeqCst);
        wake_receiver();
    }
}

/// Milliseconds since the WAL that is being replayed arrived; 0 if everything is replayed, -1 if that is not known.
/// C: `GetReplicationApplyDelay`.
pub fn apply_delay_ms() -> i64 {
    let (replayed, _) = wal::recovery_point::replayed();
    if flushed().lsn == replayed {
        return 0;
    }
    match wal::recovery::chunk_start_time() {
        Some(start) => whole_ms(activity::now() - start),
        None => -1,
    }
}

/// Milliseconds between the sending of the last message, by the sender's clock, and its receipt, by ours.
/// C: `GetReplicationTransferLatency`.
pub fn transfer_latency_ms() -> i64 {
    let Some(shared) = SHARED.try_get() else { return 0 };
    let data = shared.data.lock();
    let micros = data.last_message_receipt_time - data.last_message_send_time;
    drop(data);
    whole_ms(micros)
}

/// C: `TimestampDifferenceMilliseconds`.
fn whole_ms(micros: i64) -> i64 {
    if micros <= 0 { 0 } else { micros.saturating_add(999) / 1000 }
}

/// What pg_stat_wal_receiver shows; `None` without a walreceiver, or while its connection string is still unfit to be seen.
/// C: the copy in `pg_stat_get_wal_receiver`.
pub fn status() -> Option<ReceiverStatus> {
    let shared = SHARED.try_get()?;
    let data = *shared.data.lock();
    if data.pid == 0 || !data.ready_to_display {
        return None;
    }
    let time = |micros: i64| Some(micros).filter(|micros| *micros != 0);
    Some(ReceiverStatus {
        pid: data.pid,
        state: data.state,
        receive_start: data.receive_start,
        receive_start_timeline: data.receive_start_timeline,
        written: Lsn(shared.written.load(SeqCst)),
        flushed: data.flushed,
        received_timeline: data.received_timeline,
        last_message_send_time: time(data.last_message_send_time),
        last_message_receipt_time: time(data.last_message_receipt_time),
        latest_wal_end: data.latest_wal_end,
        latest_wal_end_time: time(data.latest_wal_end_time),
        slot_name: data.slot_name.get(),
        sender_host: data.sender_host.get(),
        sender_port: data.sender_port,
        conninfo: data.conninfo.get(),
    })
}

#[cfg(test)]
mod tests;
