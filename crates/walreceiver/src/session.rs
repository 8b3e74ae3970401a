//! From the connection to the primary to the end: who it is, which histories we lack, one stream after the other.
//!
//! C counterpart: the outer loop of `WalReceiverMain`, `WalRcvFetchTimeLineHistoryFiles`, `WalRcvWaitForStartPosition`.

use std::time::{Duration, Instant};

use common::{Lsn, SqlState, TimeLineId};
use elog::{PgError, Result, ereport, error};
use replication::walrcv::receiver::{self, Next, Orders};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;
use wal::{archive, timeline};

use crate::client::replication::System;
use crate::client::{Connection, connect};
use crate::stream;

/// Where a stream is to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) at: Lsn,
    pub(crate) timeline: TimeLineId,
}

/// All of it. Returns when the startup process wants no more.
///
/// # Errors
/// Whatever ends us: the connection, the primary, an order to leave.
pub(crate) fn run(mut orders: Orders) -> Result<()> {
    miscinit::interrupt::check()?;
    let mut connection = open(&orders)?;
    // The password is no longer needed.
    orders.conninfo.clear();
    let result = serve(&mut connection, orders);
    // Also after an error: the primary is not to wonder where we are.
    connection.close();
    result
}

/// One timeline after the other.
fn serve(connection: &mut Connection, mut orders: Orders) -> Result<()> {
    let mut start = Start { at: orders.start, timeline: orders.timeline };
    let mut first = true;
    loop {
        let primary = identify(connection, start)?;
        fetch_histories(connection, start.timeline, primary.timeline)?;
        if orders.temporary_slot && orders.slot_name.is_none() {
            let name = format!("pg_walreceiver_{}", connection.backend_pid());
            connection.create_temporary_slot(&name)?;
            receiver::set_slot_name(&name);
            orders.slot_name = Some(name);
        }
        if connection.start_streaming(orders.slot_name.as_deref(), start.at, start.timeline)? {
            let what = if first { "started streaming WAL from primary" } else { "restarted WAL streaming" };
            ereport!(Log, "{what} at {} on timeline {}", start.at, start.timeline);
            first = false;
            let next = stream::run(connection, start)?;
            if let Some(next) = next {
                fetch_histories(connection, start.timeline, next)?;
            }
        } else {
            ereport!(Log, "primary server contains no more WAL on requested timeline {}", start.timeline);
        }
        ereport!(Debug1, "walreceiver ended streaming and awaits new instructions");
        match wait_for_orders()? {
            Some(next) => start = next,
            None => return Ok(()),
        }
    }
}

fn open(orders: &Orders) -> Result<Connection> {
    let cluster_name = guc::vars::CLUSTER_NAME.get();
    let name = if cluster_name.is_empty() { "walreceiver" } else { &cluster_name };
    let connection = connect::connect(&orders.conninfo, name).map_err(|failure| {
        failure.into_error(|why| {
            error!(SqlState::CONNECTION_FAILURE, "could not connect to the primary server: {why}")
        })
    })?;
    let (host, port) = connection.sender();
    receiver::connected(&connection.conninfo(), host, port);
    Ok(connection)
}

fn wrong_primary(text: String) -> PgError {
    error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{text}")
}

/// Is it this cluster's primary, and does it have what we want? One that is a standby itself may be behind us: then we wait
/// until it has caught up, since it would refuse.
fn identify(connection: &mut Connection, start: Start) -> Result<System> {
    let began = Instant::now();
    let mut told = false;
    loop {
        let primary = connection.identify_system()?;
        let ours = wal::control_file::read()?.system_identifier.to_string();
        if primary.identifier != ours {
            let differs = "database system identifier differs between the primary and standby".to_owned();
            return Err(wrong_primary(differs).detail(format!(
                "The primary's identifier is {}, the standby's identifier is {ours}.",
                primary.identifier
            )));
        }
        if primary.timeline < start.timeline {
            return Err(wrong_primary(format!(
                "highest timeline {} of the primary is behind recovery timeline {}",
                primary.timeline, start.timeline
            )));
        }
        if primary.timeline != start.timeline || primary.flushed >= start.at {
            return Ok(primary);
        }
        if !told {
            told = true;
            let (wanted, there) = (position(start.at), position(primary.flushed));
            ereport!(
                Log,
                "walreceiver requested start point {wanted} on timeline {} is ahead of the upstream server's flush \
                 position {there}, waiting",
                start.timeline
            );
        }
        wait_for_upstream(connection, began)?;
    }
}

/// As the message about it writes a position.
fn position(lsn: Lsn) -> String {
    format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 as u32)
}

fn wait_for_upstream(connection: &Connection, began: Instant) -> Result<()> {
    let limit = guc::vars::WAL_RECEIVER_TIMEOUT.get();
    if limit > 0 && began.elapsed() >= Duration::from_millis(limit as u64) {
        return Err(error!(
            SqlState::CONNECTION_FAILURE,
            "terminating walreceiver due to timeout while waiting for upstream to catch up"
        ));
    }
    let nap = Duration::from_millis(guc::vars::WAL_RETRIEVE_RETRY_INTERVAL.get().clamp(1, 1000) as u64);
    let event = WaitEvent::WAL_RECEIVER_UPSTREAM_CATCHUP;
    let woken = latch::wait_socket(
        connection.wire.fd(),
        Wake::LATCH_OR_DEATH | Wake::SOCKET_CLOSED,
        Some(nap),
        event,
    );
    leave_if_told(woken)
}

/// After a wait. The latch is reset: look at what it may have been set for.
pub(crate) fn leave_if_told(woken: Wake) -> Result<()> {
    if woken.postmaster_died() {
        miscinit::exit::proc_exit(1);
    }
    if woken.contains(Wake::LATCH_SET) {
        latch::reset();
    }
    miscinit::interrupt::check()
}

/// The histories of timelines from `first` to `last` that are not in pg_wal: a standby of ours will ask for them, and so will
/// the startup process. C: `WalRcvFetchTimeLineHistoryFiles`.
fn fetch_histories(connection: &mut Connection, first: TimeLineId, last: TimeLineId) -> Result<()> {
    for tli in (first.0..=last.0).filter(|tli| *tli != 1).map(TimeLineId) {
        if timeline::exists(tli)? {
            continue;
        }
        ereport!(Log, "fetching timeline history file for timeline {tli} from primary server");
        let (name, contents) = connection.timeline_history(tli)?;
        if name != timeline::file_name(tli) {
            return Err(error!(
                SqlState::PROTOCOL_VIOLATION,
                "primary reported unexpected file name for timeline history file of timeline {tli}"
            ));
        }
        timeline::write_file(tli, &contents)?;
        if archive::is_always_active() {
            archive::notify(&name);
        } else {
            archive::force_done(&name);
        }
    }
    Ok(())
}

/// Waits until the startup process says how to go on; `None`: not at all. C: `WalRcvWaitForStartPosition`.
fn wait_for_orders() -> Result<Option<Start>> {
    if !receiver::wait_for_orders()? {
        return Ok(None);
    }
    miscinit::ps_status::set_activity("idle");
    loop {
        latch::reset();
        miscinit::interrupt::check()?;
        match receiver::take_orders() {
            Next::Stop => return Ok(None),
            Next::Restart(at, timeline) => {
                miscinit::ps_status::set_activity(&format!("restarting at {at}"));
                return Ok(Some(Start { at, timeline }));
            }
            Next::Wait => {}
        }
        let woken = latch::wait(Wake::LATCH_OR_DEATH, None, WaitEvent::WAL_RECEIVER_WAIT_START);
        if woken.postmaster_died() {
            miscinit::exit::proc_exit(1);
        }
    }
}
