//! One look at all that a stop waits for.

use activity::gauges::{self, monotonic_micros, seconds_between};
use activity::{Activity, State};
use common::{BLCKSZ, BackendType, Lsn};
use replication::walsnd::{self, Still, WalSenderGauge};
use shmem::wait_event::WaitEvent;
use stopreport::{
    ArchiverSeen, BoundsSeen, CheckpointPhase, CheckpointSeen, Observation, SessionSeen, WalSenderSeen,
};

use crate::bounds::{self, Moment};

/// How much to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it, for a forecast: dirty buffers are counted, which takes about a millisecond for a gigabyte of them.
    Everything,
    /// What is cheap, for a stop under way, several times a second: of the checkpoint what the checkpointer has told.
    Stop,
}

/// What there is now; every figure by itself, without a lock (SD1). `files` of the archiver is what it has told; who can, counts them
/// ([`crate::count_ready`]).
pub fn observe(scope: Scope) -> Observation {
    let now = monotonic_micros();
    let is_standby = wal::recovery_point::glance().is_some_and(|wal| wal.in_recovery);
    let end_of_wal = walsnd::end_of_wal();
    let walsenders: Vec<WalSenderGauge> = walsnd::gauges().collect();
    let archiver = gauges::archiver().seen();
    Observation {
        is_standby,
        sessions: sessions(),
        checkpoint: checkpoint(scope),
        bounds: bounds_seen(now, &walsenders, archiver.as_ref().and_then(|archiver| archiver.gives_up_at)),
        walsenders: walsenders.iter().map(|gauge| walsender(gauge, end_of_wal, now)).collect(),
        archiver: archiver.map(|archiver| ArchiverSeen {
            pid: archiver.pid,
            files: archiver.waiting,
            stops: archiver.stops,
            rate: archiver.rate,
            workers: archiver.workers,
            failing: archiver.failing,
        }),
    }
}

/// Who has a client or runs transactions; walsenders are looked at by themselves.
fn sessions() -> Vec<SessionSeen> {
    let counts = |activity: &Activity| {
        matches!(activity.backend_type, BackendType::Backend | BackendType::AutovacWorker)
    };
    activity::try_snapshot().into_iter().filter(counts).map(session).collect()
}

fn session(activity: Activity) -> SessionSeen {
    // With track_activities off only the process array knows.
    let proc = shmem::all_procs().get(activity.pgprocno);
    let (in_transaction, xid, wait_event) = proc.map_or((false, 0, 0), |proc| {
        use std::sync::atomic::Ordering::Relaxed;
        (proc.lxid.load(Relaxed) != 0, proc.xid.load(Relaxed), proc.wait_event_info.load(Relaxed))
    });
    let name = match (activity.usename.as_str(), activity.datname.as_str()) {
        ("", "") => String::new(),
        (user, database) => format!("{user}@{database}"),
    };
    SessionSeen {
        pid: activity.pid,
        name,
        application: activity.application_name,
        kind: activity.backend_type.description().to_owned(),
        in_transaction,
        xid: (xid != 0).then_some(xid),
        idle: matches!(
            activity.state,
            State::Idle | State::IdleInTransaction | State::IdleInTransactionAborted
        ),
        is_committed: wait_event == WaitEvent::SYNC_REP.as_u32(),
    }
}

fn checkpoint(scope: Scope) -> CheckpointSeen {
    let seen = gauges::checkpoint().seen();
    let phase = match seen.phase {
        gauges::checkpoint::Phase::Idle => CheckpointPhase::Idle,
        gauges::checkpoint::Phase::WaitsForWalSenders => CheckpointPhase::WaitsForWalSenders,
        gauges::checkpoint::Phase::Writing => CheckpointPhase::Writing,
        gauges::checkpoint::Phase::Syncing => CheckpointPhase::Syncing,
        gauges::checkpoint::Phase::Ending => CheckpointPhase::Ending,
    };
    let bytes = match scope {
        // Of one under way: what it has left is dirty as well, and what it is too late for is the stop's.
        Scope::Everything => storage::dirty_buffers() * BLCKSZ as u64,
        Scope::Stop => seen.bytes_left(),
    };
    CheckpointSeen { phase, bytes, files: seen.files_left(), rate: seen.rate }
}

fn walsender(gauge: &WalSenderGauge, end_of_wal: Lsn, now: u64) -> WalSenderSeen {
    let end = gauge.end(end_of_wal);
    let still_for = match gauge.still(end) {
        Still::Complete => 0.0,
        Still::Since(moment) => seconds_between(moment, now),
        Still::Unaware if is_stopped(gauge.pid) => seconds_between(gauge.moved_at, now),
        Still::Unaware => seconds_between(walsnd::notice(gauge, now), now),
    };
    WalSenderSeen {
        pid: gauge.pid,
        name: gauge.name.clone(),
        state: gauge.state.text().to_owned(),
        streams: gauge.streams,
        sent: gauge.sent.0,
        confirmed: gauge.confirmed.0,
        end: end.0,
        rate: gauge.rate,
        still_for,
        report_age: match gauge.replied_at {
            0 => 0.0,
            at => seconds_between(at, now),
        },
    }
}

/// Somebody has stopped the process (SIGSTOP, a debugger). A look into the kernel, not at the process.
fn is_stopped(pid: i32) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows on the name, which is in parentheses and may have some itself.
    let name_end = stat.iter().rposition(|byte| *byte == b')');
    let state = name_end.and_then(|at| stat.get(at + 2));
    matches!(state, Some(b'T' | b't'))
}

/// Of a server that runs, the settings as this process knows them; of one that stops, what the processes themselves have told to be
/// left: the deadline's share is part of that.
fn bounds_seen(now: u64, walsenders: &[WalSenderGauge], archiver_gives_up_at: Option<u64>) -> BoundsSeen {
    let left = |moment: Moment| moment.left_at(Moment::from_micros(now)).as_secs_f64();
    let setting = |millis: i32| u64::try_from(millis).ok().map(|millis| millis as f64 / 1000.0);
    // There is one figure for all of them: the stop waits for the last to give up.
    let told = walsenders.iter().filter_map(|gauge| gauge.gives_up_at).max();
    let walsender = match told {
        Some(at) => Some(seconds_between(now, at)),
        None => setting(guc::vars::WAL_SENDER_SHUTDOWN_TIMEOUT.get()),
    };
    let archiver = match archiver_gives_up_at {
        Some(at) => Some(seconds_between(now, at)),
        None => setting(guc::vars::ARCHIVER_SHUTDOWN_TIMEOUT.get()),
    };
    BoundsSeen {
        deadline: bounds::deadline().map(left),
        sessions: bounds::smart_until().map(left),
        walsender,
        archiver,
    }
}
