//! What is seen of a server, in figures, without a judgement: made by `shutdown::observe`, the core of
//! `postmaster.forecast` ([`crate::exchange`]).
//!
//! Every number may be stale or torn: it was read without a lock. A field that a newer server added is ignored, one that is
//! missing is as if nothing was seen.

use serde::{Deserialize, Serialize};

/// All that a stop may have to wait for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observation {
    /// In recovery: the stop makes a restartpoint, and closes no segment of WAL.
    pub is_standby: bool,
    /// Sessions and autovacuum workers; walsenders are not among them.
    pub sessions: Vec<SessionSeen>,
    /// The checkpoint that the stop makes.
    pub checkpoint: CheckpointSeen,
    /// All walsenders, base backups too.
    pub walsenders: Vec<WalSenderSeen>,
    /// `None` if no archiver runs.
    pub archiver: Option<ArchiverSeen>,
    /// What limits the stop.
    pub bounds: BoundsSeen,
}

/// A session, or another process that runs transactions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionSeen {
    /// Its process.
    pub pid: i32,
    /// `user@database`; empty before it is let in.
    pub name: String,
    /// `application_name`, possibly empty.
    pub application: String,
    /// As in `pg_stat_activity.backend_type`: "client backend", "autovacuum worker".
    pub kind: String,
    /// Whether a transaction is open.
    pub in_transaction: bool,
    /// The transaction's id, if it has one: it has changed something.
    pub xid: Option<u32>,
    /// Whether it waits for its client's next statement.
    pub idle: bool,
    /// Its transaction has committed here, and it waits until a synchronous standby has got that.
    pub is_committed: bool,
}

impl SessionSeen {
    /// Whether a client is at its other end, whom a smart stop waits for.
    pub fn has_client(&self) -> bool {
        self.kind == "client backend"
    }
}

/// How far the checkpointer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointPhase {
    /// Makes no checkpoint.
    #[default]
    Idle,
    /// The shutdown checkpoint waits until no walsender runs a command or has something in its output buffer.
    WaitsForWalSenders,
    /// Writes dirty buffers.
    Writing,
    /// Syncs what was written.
    Syncing,
    /// All of it is on disk; WAL and pg_control are left.
    Ending,
}

/// The checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckpointSeen {
    /// Where it is now.
    pub phase: CheckpointPhase,
    /// Bytes that are dirty; of one that writes, bytes left to write.
    pub bytes: u64,
    /// Files to sync, as far as known.
    pub files: u64,
    /// Measured bytes per second of writing and syncing together, pauses not counted.
    pub rate: Option<f64>,
}

/// A walsender.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WalSenderSeen {
    /// Its process.
    pub pid: i32,
    /// `application_name` of its client.
    pub name: String,
    /// As in `pg_stat_replication.state`.
    pub state: String,
    /// Whether it streams WAL; if not, a stop ends it at once.
    pub streams: bool,
    /// WAL is sent up to here, a byte position as the two below.
    pub sent: u64,
    /// The receiver has told to have all before this.
    pub confirmed: u64,
    /// WAL that it has to bring away ends here now.
    pub end: u64,
    /// Recent bytes per second while busy; `None` if it was never seen busy.
    pub rate: Option<f64>,
    /// Seconds since `confirmed` last moved while something was missing; 0 if nothing is.
    pub still_for: f64,
    /// Seconds since the receiver last told how far it is: `confirmed` is as old as that. 0 if it has told nothing yet.
    pub report_age: f64,
}

/// The archiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArchiverSeen {
    /// Its process.
    pub pid: i32,
    /// Files that wait to be archived.
    pub files: u64,
    /// It has noticed the order to stop, and counted them since.
    pub stops: bool,
    /// Recent files per second while busy, of all workers together; `None` if it was never seen busy.
    pub rate: Option<f64>,
    /// Commands it may run at a time.
    pub workers: u32,
    /// The last error, if the last try failed.
    pub failing: Option<String>,
}

/// What limits the stop. All in seconds: of a server that runs, the settings; of one that stops, what is left of them, the
/// deadline's share included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BoundsSeen {
    /// Until the deadline of the whole stop, from now.
    pub deadline: Option<f64>,
    /// Of a smart stop under way that has a deadline: until clients are sent away.
    pub sessions: Option<f64>,
    /// `wal_sender_shutdown_timeout`.
    pub walsender: Option<f64>,
    /// `archiver_shutdown_timeout`.
    pub archiver: Option<f64>,
}
