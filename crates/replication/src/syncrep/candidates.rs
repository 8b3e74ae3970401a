//! Which standbys are synchronous, and what they all have: pure functions of the setting and the table of walsenders.
//!
//! C counterpart: `SyncRepGetCandidateStandbys`, `SyncRepGetSyncRecPtr` and its helpers in syncrep.c, and the middle of
//! `pg_stat_get_wal_senders`.

use common::Lsn;

use super::{Config, MODES, Method};
use crate::walsnd::{State, Status};

/// What a reply of one standby means to the commits that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The standby is one of those that count.
    pub am_sync: bool,
    /// Written, flushed and applied by as many standbys as the setting asks for; `None` if the standby does not count, or
    /// there are not enough that do.
    pub synced: Option<[Lsn; MODES]>,
}

/// A standby that may count: it streams, is listed, and has told what it has.
fn is_eligible(status: &Status) -> bool {
    matches!(status.state, State::Streaming | State::Stopping)
        && status.sync_priority > 0
        && status.flush != Lsn::INVALID
}

/// The standbys that count: with FIRST those with the best priorities, with ANY all that are listed. Of two with the same
/// priority the one with the earlier place in the table is better. C: `SyncRepGetCandidateStandbys`.
pub fn candidates(config: &Config, statuses: &[Status]) -> Vec<Status> {
    let mut all: Vec<Status> = statuses.iter().copied().filter(is_eligible).collect();
    if config.method == Method::Priority {
        // Stable: the order of the table decides among equals.
        all.sort_by_key(|status| status.sync_priority);
        all.truncate(config.num_sync.max(0) as usize);
    }
    all
}

/// How the standby of the walsender with this pid stands, and what is synced. C: `SyncRepGetSyncRecPtr`.
pub fn standing(config: &Config, statuses: &[Status], pid: i32) -> Standing {
    let counting = candidates(config, statuses);
    let am_sync = counting.iter().any(|status| status.pid == pid);
    let wanted = config.num_sync.max(1) as usize;
    if !am_sync || counting.len() < wanted {
        return Standing { am_sync, synced: None };
    }
    // With FIRST there are exactly as many as wanted, so that the last of them in each order is the slowest.
    let column = |of: fn(&Status) -> Lsn| {
        let mut positions: Vec<Lsn> = counting.iter().map(of).collect();
        positions.sort_unstable_by(|a, b| b.cmp(a));
        positions[wanted - 1]
    };
    Standing { am_sync, synced: Some([column(|s| s.write), column(|s| s.flush), column(|s| s.apply)]) }
}

/// The columns `sync_priority` and `sync_state` of `pg_stat_replication`, for each of `statuses`.
pub fn sync_states(config: Option<&Config>, statuses: &[Status]) -> Vec<(i32, &'static str)> {
    let counting = config.map_or_else(Vec::new, |config| candidates(config, statuses));
    let sync = if config.is_some_and(|config| config.method == Method::Quorum) { "quorum" } else { "sync" };
    let state = |status: &Status| {
        // pg_receivewal without --synchronous tells no flushed position: it never counts, whatever its name.
        let priority = if status.flush == Lsn::INVALID { 0 } else { status.sync_priority };
        match priority {
            0 => (0, "async"),
            _ if counting.iter().any(|other| other.pid == status.pid) => (priority, sync),
            _ => (priority, "potential"),
        }
    };
    statuses.iter().map(state).collect()
}
