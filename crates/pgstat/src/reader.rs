//! How a session reads the statistics: asks the collector for a file that is new enough, waits for it, and keeps
//! what it read until its transaction ends.
//!
//! 1. The session decides how old the file may be: half a second.
//! 2. It looks at the file. If it is old, it sends an inquiry and looks again every 10 ms; every 640 ms it
//!    repeats the inquiry, which may have been lost.
//! 3. After 10 seconds it says so in the log and takes the file as it is, or none.
//!
//! A session that outlives its postmaster knows that the collector has ended too and that nobody will start
//! another: it goes to step 3 at once. The collector took its files away with it, so what is left is nothing:
//! all counters are zero.
//!
//! C counterpart: `backend_read_statsfile` and the `pgstat_fetch_*` functions of pgstat.c.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use activity::counters::{BuffersTaken, WalTaken};
use common::{BackendType, Oid, SqlState};
use elog::{Result, pg_error};
use miscinit::{globals, interrupt};
use shmem::latch::{self, Wake};
use shmem::wait_event::WaitEvent;

use crate::entry::{ClusterEntry, DatabaseEntry, TableEntry};
use crate::message::Message;
use crate::report::REPORT_INTERVAL_MICROS;
use crate::stats_file::{self, Place};

/// C: `PGSTAT_RETRY_DELAY`.
const RETRY_DELAY: Duration = Duration::from_millis(10);
/// Looks between two inquiries. C: `PGSTAT_INQ_LOOP_COUNT`, 640 ms.
const LOOKS_PER_INQUIRY: u32 = 64;
/// Looks in all. C: `PGSTAT_POLL_LOOP_COUNT`, 10 s.
const LOOKS: u32 = 1000;
/// The launcher looks at moments only, for which an older file does. C: `STATS_READ_DELAY`.
const LAUNCHER_AGE_MICROS: i64 = 1_000_000;

/// What a session read, as it was at one moment.
#[derive(Debug, Default)]
struct Snapshot {
    cluster: ClusterEntry,
    databases: HashMap<Oid, DatabaseEntry>,
    /// Of the databases asked for so far; 0 has the shared ones.
    tables: HashMap<Oid, HashMap<Oid, TableEntry>>,
}

thread_local! {
    static SNAPSHOT: RefCell<Option<Rc<RefCell<Snapshot>>>> = const { RefCell::new(None) };
}

/// Gives up what was read: the next look reads again. Called at the end of each transaction.
/// C: `pgstat_clear_snapshot`.
pub fn clear_snapshot() {
    SNAPSHOT.take();
}

/// Statistics of a table, looked for in `database` and then among the shared ones; `None` if there are none yet.
/// C: `pgstat_fetch_stat_tabentry`.
///
/// # Errors
/// What [`interrupt::check`] returns while waiting for the collector.
pub fn table(database: Oid, table: Oid) -> Result<Option<TableEntry>> {
    let snapshot = snapshot(database)?;
    let snapshot = snapshot.borrow();
    let found = |db: Oid| snapshot.tables.get(&db)?.get(&table).copied();
    Ok(found(database).or_else(|| found(Oid::INVALID)))
}

/// Statistics of all tables of a database ([`Oid::INVALID`]: of the shared ones).
///
/// # Errors
/// As [`table`].
pub fn tables(database: Oid) -> Result<HashMap<Oid, TableEntry>> {
    Ok(snapshot(database)?.borrow().tables.get(&database).cloned().unwrap_or_default())
}

/// Statistics of a database. C: `pgstat_fetch_stat_dbentry`.
///
/// # Errors
/// As [`table`].
pub fn database(database: Oid) -> Result<Option<DatabaseEntry>> {
    Ok(snapshot(Oid(activity_database()))?.borrow().databases.get(&database).copied())
}

/// Statistics of the cluster. C: `pgstat_fetch_global`.
///
/// # Errors
/// As [`table`].
pub fn cluster() -> Result<ClusterEntry> {
    Ok(snapshot(Oid(activity_database()))?.borrow().cluster)
}

/// Checkpoints and buffers written, and when they were reset: `pg_stat_bgwriter`.
///
/// # Errors
/// As [`table`].
pub fn bgwriter() -> Result<(BuffersTaken, i64)> {
    cluster().map(|cluster| (cluster.buffers, cluster.times.bgwriter_reset))
}

/// WAL written, and when that was reset: `pg_stat_wal`.
///
/// # Errors
/// As [`table`].
pub fn wal() -> Result<(WalTaken, i64)> {
    cluster().map(|cluster| (cluster.wal, cluster.times.wal_reset))
}

/// The database this process is connected to, 0 without one.
fn activity_database() -> u32 {
    shmem::proc::try_my_proc().map_or(0, |proc| proc.database_id.load(std::sync::atomic::Ordering::Relaxed))
}

/// What this transaction knows, with the tables of this database.
fn snapshot(database: Oid) -> Result<Rc<RefCell<Snapshot>>> {
    let known = SNAPSHOT.with_borrow(|slot| slot.as_ref().map(Rc::clone));
    if let Some(known) = known {
        if known.borrow().tables.contains_key(&database) {
            return Ok(known);
        }
        wait_for_file(database)?;
        let tables = read_tables(database);
        known.borrow_mut().tables.insert(database, tables);
        return Ok(known);
    }
    wait_for_file(database)?;
    let read = Rc::new(RefCell::new(read_all(&stats_file::directory(Place::Temporary), database)));
    SNAPSHOT.set(Some(Rc::clone(&read)));
    Ok(read)
}

fn read_tables(database: Oid) -> HashMap<Oid, TableEntry> {
    let path = stats_file::database_path(&stats_file::directory(Place::Temporary), database);
    stats_file::read(&path, stats_file::decode_tables).unwrap_or_default()
}

/// C: `pgstat_read_statsfiles`.
fn read_all(directory: &Path, database: Oid) -> Snapshot {
    let cluster = stats_file::read(&stats_file::cluster_path(directory), stats_file::decode_cluster);
    let (cluster, databases) = cluster.unwrap_or_default();
    let mut snapshot = Snapshot { cluster, databases, tables: HashMap::new() };
    for oid in [Oid::INVALID, database] {
        let path = stats_file::database_path(directory, oid);
        let tables = stats_file::read(&path, stats_file::decode_tables).unwrap_or_default();
        snapshot.tables.insert(oid, tables);
    }
    snapshot
}

/// When the file that answers for this database was written; 0 without one.
/// C: `pgstat_read_db_statsfile_timestamp`.
fn written(directory: &Path, database: Oid) -> i64 {
    let Some((cluster, databases)) =
        stats_file::read(&stats_file::cluster_path(directory), stats_file::decode_cluster)
    else {
        return 0;
    };
    databases.get(&database).map_or(cluster.times.written, |entry| entry.times.written)
}

/// What a session does after a look at the file.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The file is new enough.
    Read,
    /// There is no hope.
    GiveUp,
    /// Send an inquiry, then wait.
    Ask,
    /// Wait.
    Wait,
}

/// Steps 2 and 3 of the protocol. A file from the future is as bad as an old one: the clock went back.
fn next_step(look: u32, written: i64, now: i64, cutoff: i64, collector_may_live: bool) -> Step {
    if written >= cutoff && written <= now {
        Step::Read
    } else if !collector_may_live || look >= LOOKS {
        Step::GiveUp
    } else if look.is_multiple_of(LOOKS_PER_INQUIRY) {
        Step::Ask
    } else {
        Step::Wait
    }
}

/// Returns when the file is new enough, or when there is no hope. C: `backend_read_statsfile`.
fn wait_for_file(database: Oid) -> Result<()> {
    if globals::backend_type() == BackendType::StandaloneBackend {
        // There is no collector to ask: what the last one has left is all there is.
        return Ok(());
    }
    let directory = stats_file::directory(Place::Temporary);
    let age = match globals::backend_type() {
        BackendType::AutovacLauncher => LAUNCHER_AGE_MICROS,
        _ => REPORT_INTERVAL_MICROS,
    };
    for look in 0.. {
        let now = activity::now();
        let cutoff = now - age;
        match next_step(look, written(&directory, database), now, cutoff, shmem::postmaster_alive()) {
            Step::Read => return Ok(()),
            Step::GiveUp => break,
            Step::Ask => crate::send(&Message::Inquiry { database, now, cutoff }),
            Step::Wait => {}
        }
        interrupt::check()?;
        // The latch is not looked at: a set one would make this loop spin.
        latch::wait(Wake::POSTMASTER_DEATH, Some(RETRY_DELAY), WaitEvent::PGSTAT_MAIN);
    }
    // Only client sessions go on without a postmaster.
    let kind = globals::backend_type();
    if !shmem::postmaster_alive() && matches!(kind, BackendType::AutovacLauncher | BackendType::AutovacWorker)
    {
        miscinit::exit::proc_exit(1);
    }
    pg_error!(
        Log,
        SqlState::SUCCESSFUL_COMPLETION,
        "using stale statistics instead of current ones because stats collector is not responding"
    )
    .routine("backend_read_statsfile")
    .report();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_every_640_ms_and_gives_up_after_10_s() {
        let step = |look, written, alive| next_step(look, written, 1000, 900, alive);
        assert_eq!(step(0, 900, true), Step::Read);
        assert_eq!(step(0, 899, true), Step::Ask);
        assert_eq!(step(1, 899, true), Step::Wait);
        assert_eq!(step(64, 0, true), Step::Ask);
        assert_eq!(step(1000, 0, true), Step::GiveUp);
        assert_eq!(step(5, 1001, true), Step::Wait, "from the future");
        assert_eq!(step(0, 0, false), Step::GiveUp, "nobody will ever answer");
        assert_eq!(step(0, 950, false), Step::Read, "the last file is still fresh");
    }

    #[test]
    fn what_cannot_be_read_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(written(dir.path(), Oid(5)), 0);
        let snapshot = read_all(dir.path(), Oid(5));
        assert!(snapshot.databases.is_empty() && snapshot.tables[&Oid(5)].is_empty());
        let mut cluster = ClusterEntry::default();
        cluster.times.written = 77;
        let bytes = stats_file::encode_cluster(&cluster, &[]);
        stats_file::write(&stats_file::cluster_path(dir.path()), &bytes).unwrap();
        assert_eq!(written(dir.path(), Oid(5)), 77, "a database without counters is as new as the whole");
    }
}
