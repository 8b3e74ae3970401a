//! The kinds of processes a cluster is made of.

/// What a process of the cluster is. The order is the one in which PostgreSQL 9.4 to 14 list them.
/// C: `BackendType` (miscadmin.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BackendType {
    /// Supervises the others; holds no slot in shared memory.
    Postmaster = 0,
    /// Writes the log files (`logging_collector`).
    Logger,
    /// Recovers at start, then ends.
    Startup,
    /// Writes checkpoints.
    Checkpointer,
    /// Writes dirty buffers ahead of need.
    BgWriter,
    /// Flushes WAL of asynchronous commits.
    WalWriter,
    /// Decides which database needs a worker.
    AutovacLauncher,
    /// Vacuums one database.
    AutovacWorker,
    /// Hands finished WAL segments to `archive_command`.
    Archiver,
    /// Collects counters of all others.
    StatsCollector,
    /// Sends WAL to a standby or backup tool.
    WalSender,
    /// Receives WAL on a standby.
    WalReceiver,
    /// Serves one client session.
    Backend,
    /// A session without a postmaster (`postgres --single`).
    StandaloneBackend,
}

impl BackendType {
    /// Every kind, in declaration order.
    pub const ALL: [BackendType; 14] = [
        BackendType::Postmaster,
        BackendType::Logger,
        BackendType::Startup,
        BackendType::Checkpointer,
        BackendType::BgWriter,
        BackendType::WalWriter,
        BackendType::AutovacLauncher,
        BackendType::AutovacWorker,
        BackendType::Archiver,
        BackendType::StatsCollector,
        BackendType::WalSender,
        BackendType::WalReceiver,
        BackendType::Backend,
        BackendType::StandaloneBackend,
    ];

    /// The word in `pg_stat_activity.backend_type`, in `%b` and in csvlog. C: `GetBackendTypeDesc`.
    pub fn description(self) -> &'static str {
        match self {
            BackendType::Postmaster => "postmaster",
            BackendType::Logger => "logger",
            BackendType::Startup => "startup",
            BackendType::Checkpointer => "checkpointer",
            BackendType::BgWriter => "background writer",
            BackendType::WalWriter => "walwriter",
            BackendType::AutovacLauncher => "autovacuum launcher",
            BackendType::AutovacWorker => "autovacuum worker",
            BackendType::Archiver => "archiver",
            BackendType::StatsCollector => "stats collector",
            BackendType::WalSender => "walsender",
            BackendType::WalReceiver => "walreceiver",
            BackendType::Backend => "client backend",
            BackendType::StandaloneBackend => "standalone backend",
        }
    }

    /// The fixed part of the title in `ps`, after `postgres: ` (and the cluster name). Titles are those of
    /// PostgreSQL 9.4, which the reference documents show; a client backend has none.
    pub fn ps_title(self) -> &'static str {
        match self {
            BackendType::Logger => "logger process",
            BackendType::Startup => "startup process",
            BackendType::Checkpointer => "checkpointer process",
            BackendType::BgWriter => "writer process",
            BackendType::WalWriter => "wal writer process",
            BackendType::AutovacLauncher => "autovacuum launcher process",
            BackendType::AutovacWorker => "autovacuum worker process",
            BackendType::Archiver => "archiver process",
            BackendType::StatsCollector => "stats collector process",
            BackendType::WalSender => "wal sender process",
            BackendType::WalReceiver => "wal receiver process",
            BackendType::Postmaster | BackendType::Backend | BackendType::StandaloneBackend => "",
        }
    }

    /// What the postmaster's log calls a child that ended badly. C: the names passed to `LogChildExit`.
    pub fn child_name(self) -> &'static str {
        match self {
            BackendType::Postmaster => "postmaster",
            BackendType::Logger => "system logger process",
            BackendType::Startup => "startup process",
            BackendType::Checkpointer => "checkpointer process",
            BackendType::BgWriter => "background writer process",
            BackendType::WalWriter => "WAL writer process",
            BackendType::AutovacLauncher => "autovacuum launcher process",
            BackendType::Archiver => "archiver process",
            BackendType::StatsCollector => "statistics collector process",
            BackendType::WalReceiver => "WAL receiver process",
            BackendType::AutovacWorker
            | BackendType::WalSender
            | BackendType::Backend
            | BackendType::StandaloneBackend => "server process",
        }
    }

    /// The kind with this discriminant, if there is one: for values read back from shared memory.
    pub fn from_u8(value: u8) -> Option<BackendType> {
        BackendType::ALL.get(usize::from(value)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discriminants_match_positions() {
        for (i, kind) in BackendType::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, i);
            assert_eq!(BackendType::from_u8(i as u8), Some(kind));
        }
        assert_eq!(BackendType::from_u8(BackendType::ALL.len() as u8), None);
    }
}
