//! The walreceiver's own side: it alone calls these.
//!
//! C counterpart: the assignments to `WalRcv` in walreceiver.c.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use common::{Lsn, SqlState, TimeLineId};
use elog::{Result, pg_error};

use super::{CONNINFO_BYTES_MAX, Data, HOST_BYTES_MAX, SHARED, SLOT_BYTES_MAX, Shared, State};

/// What the startup process wants.
#[derive(Clone, PartialEq, Eq)]
pub struct Orders {
    /// How to reach the primary, secrets included.
    pub conninfo: String,
    /// The slot to use.
    pub slot_name: Option<String>,
    /// No slot was named; make one that lives as long as the connection.
    pub temporary_slot: bool,
    /// First byte wanted.
    pub start: Lsn,
    /// On this timeline.
    pub timeline: TimeLineId,
}

impl std::fmt::Debug for Orders {
    /// Without the connection string: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orders")
            .field("slot_name", &self.slot_name)
            .field("temporary_slot", &self.temporary_slot)
            .field("start", &self.start)
            .field("timeline", &self.timeline)
            .finish_non_exhaustive()
    }
}

/// What an idle walreceiver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on waiting.
    Wait,
    /// Stream again, from here.
    Restart(Lsn, TimeLineId),
    /// End.
    Stop,
}

/// Takes the orders and our place; `None` if nobody wants us any more. C: the beginning of `WalReceiverMain`.
///
/// # Errors
/// PANIC if another one seems to run.
pub fn begin(pid: i32) -> Result<Option<Orders>> {
    let shared = SHARED.get();
    let now = activity::now();
    let mut data = shared.data.lock();
    match data.state {
        State::Starting if data.pid == 0 => {}
        State::Stopping | State::Stopped => {
            data.state = State::Stopped;
            drop(data);
            wal::recovery::wakeup();
            return Ok(None);
        }
        _ => {
            drop(data);
            return Err(pg_error!(
                Panic,
                SqlState::INTERNAL_ERROR,
                "walreceiver still running according to shared memory state"
            ));
        }
    }
    data.pid = pid;
    data.state = State::Streaming;
    data.ready_to_display = false;
    data.last_message_send_time = now;
    data.last_message_receipt_time = now;
    data.latest_wal_end_time = now;
    let copy = *data;
    drop(data);
    shared.written.store(0, SeqCst);
    Ok(Some(orders(&copy)))
}

fn orders(data: &Data) -> Orders {
    let slot_name = data.slot_name.get();
    Orders {
        conninfo: data.conninfo.get(),
        slot_name: Some(slot_name).filter(|name| !name.is_empty()),
        temporary_slot: data.is_temporary_slot,
        start: data.receive_start,
        timeline: data.receive_start_timeline,
    }
}

/// Gives our place back and wakes who waits for that. C: `WalRcvDie`.
pub fn end() {
    let Some(shared) = SHARED.try_get() else { return };
    {
        let mut data = shared.data.lock();
        data.state = State::Stopped;
        data.pid = 0;
        data.ready_to_display = false;
    }
    wal::recovery::wakeup();
}

/// The connection stands: what of it may be shown. `host` is `None` if it is not known.
pub fn connected(conninfo: &str, host: Option<&str>, port: i32) {
    let mut data = SHARED.get().data.lock();
    // What the orders held, the password included, must not show behind the shorter text (WR4).
    data.conninfo = super::Text::EMPTY;
    data.conninfo.set(conninfo, CONNINFO_BYTES_MAX);
    data.sender_host.set(host.unwrap_or_default(), HOST_BYTES_MAX);
    data.sender_port = port;
    data.ready_to_display = true;
}

/// The temporary slot has been made under this name.
pub fn set_slot_name(name: &str) {
    SHARED.get().data.lock().slot_name.set(name, SLOT_BYTES_MAX);
}

/// A message has come, sent at `send_time` when WAL ended at `wal_end`; times in microseconds since 2000.
/// C: `ProcessWalSndrMessage`.
pub fn note_message(wal_end: Lsn, send_time: i64, receipt_time: i64) {
    let mut data = SHARED.get().data.lock();
    if data.latest_wal_end < wal_end {
        data.latest_wal_end_time = send_time;
    }
    data.latest_wal_end = wal_end;
    data.last_message_send_time = send_time;
    data.last_message_receipt_time = receipt_time;
}

/// Everything before this has been written.
pub fn set_written(lsn: Lsn) {
    SHARED.get().written.store(lsn.0, SeqCst);
}

/// Everything before this is durable, on this timeline. C: in `XLogWalRcvFlush`.
pub fn set_flushed(lsn: Lsn, tli: TimeLineId) {
    let shared = SHARED.get();
    let mut data = shared.data.lock();
    if data.flushed < lsn {
        data.latest_chunk_start = data.flushed;
        data.flushed = lsn;
        data.received_timeline = tli;
        shared.publish_flushed(&data);
    }
}

/// The stream has ended: from now on we wait for orders. False if we are to end instead. C: the beginning of
/// `WalRcvWaitForStartPosition`.
///
/// # Errors
/// FATAL if the state is none that this can follow on.
pub fn wait_for_orders() -> Result<bool> {
    let state = {
        let mut data = SHARED.get().data.lock();
        if data.state == State::Streaming {
            data.state = State::Waiting;
            data.receive_start = Lsn::INVALID;
            data.receive_start_timeline = TimeLineId(0);
            State::Waiting
        } else {
            data.state
        }
    };
    match state {
        State::Waiting => {
            // It sees that nothing comes any more, and says how to go on.
            wal::recovery::wakeup();
            Ok(true)
        }
        State::Stopping => Ok(false),
        _ => Err(pg_error!(Fatal, SqlState::INTERNAL_ERROR, "unexpected walreceiver state")),
    }
}

/// Has the startup process said how to go on? A restart has begun when this returns. C: the loop of
/// `WalRcvWaitForStartPosition`.
pub fn take_orders() -> Next {
    let mut data = SHARED.get().data.lock();
    match data.state {
        State::Stopping => Next::Stop,
        State::Restarting => {
            data.state = State::Streaming;
            Next::Restart(data.receive_start, data.receive_start_timeline)
        }
        _ => Next::Wait,
    }
}

/// Did the last commit that was replayed have somebody waiting for that? Asked once.
pub fn take_apply_awaited() -> bool {
    let shared: &Shared = SHARED.get();
    shared.apply_awaited.load(Relaxed) && shared.apply_awaited.swap(false, Relaxed)
}

/// Was a reply asked for? Asked once. C: the exchange of `force_reply`.
pub fn take_force_reply() -> bool {
    let reply: &Shared = SHARED.get();
    reply.force_reply.load(SeqCst) && reply.force_reply.swap(false, SeqCst)
}
