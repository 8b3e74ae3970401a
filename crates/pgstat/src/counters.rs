//! What the collector remembers, what each message does to it, and who waits for a file.
//!
//! The permanent files are removed as soon as they are read: after a crash there are none, and the counters
//! start from nothing, as they must, since nobody knows what was lost.
//!
//! C counterpart: the `pgstat_recv_*` functions of pgstat.c.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use common::Oid;
use elog::Result;

use crate::entry::{ClusterEntry, DatabaseEntry, TableEntry, WalFileName};
use crate::message::{Maintenance, Message, SharedTarget};
use crate::stats_file;

/// A database and its tables; 0 has the shared ones.
#[derive(Debug, Default)]
pub(crate) struct Database {
    pub(crate) entry: DatabaseEntry,
    pub(crate) tables: HashMap<Oid, TableEntry>,
}

/// Counters of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) cluster: ClusterEntry,
    pub(crate) databases: HashMap<Oid, Database>,
    /// Databases whose file somebody waits for. C: `pending_write_requests`.
    wanted: BTreeSet<Oid>,
}

impl Counters {
    /// What one message means. `now` is the moment of its arrival.
    pub(crate) fn add(&mut self, message: &Message, now: i64) {
        match message {
            Message::Transactions { database, commits, rollbacks } => {
                let counts = &mut self.database(*database, now).entry.counts;
                counts.commits += i64::from(*commits);
                counts.rollbacks += i64::from(*rollbacks);
            }
            Message::Session { database, counts } => self.database(*database, now).entry.counts.add(counts),
            Message::Tables { database, tables } => {
                let database = self.database(*database, now);
                for counts in tables {
                    database.tables.entry(counts.rel).or_default().add(counts);
                    database.entry.sums.add(counts);
                }
            }
            Message::Inquiry { database, now: asked, cutoff } => {
                self.inquiry(*database, *asked, *cutoff, now)
            }
            Message::DropTables { database, tables } => {
                if let Some(database) = self.databases.get_mut(database) {
                    database.tables.retain(|table, _| !tables.contains(table));
                }
            }
            Message::DropDatabase { database } => self.drop_database(*database),
            Message::Reset { database } => self.reset_database(*database, now),
            Message::ResetShared { target } => self.reset_shared(*target, now),
            Message::ResetTable { database, table } => {
                if let Some(database) = self.databases.get_mut(database) {
                    database.entry.times.stat_reset = now;
                    database.tables.remove(table);
                }
            }
            Message::AutovacuumStart { database, time } => {
                self.database(*database, now).entry.times.last_autovac = *time;
            }
            Message::Vacuum(done) => self.vacuumed(done, now),
            Message::Analyze(done) => self.analyzed(done, now),
            Message::Buffers(counts) => self.cluster.buffers.add(counts),
            Message::Wal(counts) => self.cluster.wal.add(counts),
            Message::Archived { name, failed, time } => self.archived(*name, *failed, *time),
        }
    }

    /// C: `pgstat_get_db_entry` with `create`.
    fn database(&mut self, oid: Oid, now: i64) -> &mut Database {
        self.databases.entry(oid).or_insert_with(|| {
            let mut database = Database::default();
            database.entry.times.stat_reset = now;
            database
        })
    }

    /// C: `pgstat_recv_inquiry`.
    fn inquiry(&mut self, database: Oid, asked: i64, cutoff: i64, now: i64) {
        if let Some(known) = self.databases.get_mut(&database) {
            let written = &mut known.entry.times.written;
            // The clock went back since the file was written: it would look fresh for as long as that lasts.
            if *written > now || *written > asked {
                *written = 0;
            }
            // Written after the question was sent.
            if cutoff <= *written {
                return;
            }
        }
        // A database that we know nothing of needs a file all the same: whoever asked waits for its age.
        self.wanted.insert(database);
    }

    fn drop_database(&mut self, database: Oid) {
        self.databases.remove(&database);
        self.wanted.remove(&database);
        for place in [stats_file::Place::Temporary, stats_file::Place::Permanent] {
            let _ = std::fs::remove_file(stats_file::database_path(&stats_file::directory(place), database));
        }
    }

    fn reset_database(&mut self, database: Oid, now: i64) {
        let fresh = self.databases.entry(database).or_default();
        let written = fresh.entry.times.written;
        *fresh = Database::default();
        fresh.entry.times.stat_reset = now;
        fresh.entry.times.written = written;
    }

    fn reset_shared(&mut self, target: SharedTarget, now: i64) {
        let cluster = &mut self.cluster;
        match target {
            SharedTarget::BgWriter => {
                cluster.buffers = Default::default();
                cluster.times.bgwriter_reset = now;
            }
            SharedTarget::Wal => {
                cluster.wal = Default::default();
                cluster.times.wal_reset = now;
            }
            SharedTarget::Archiver => {
                cluster.archiver = Default::default();
                cluster.last_archived_wal = Default::default();
                cluster.last_failed_wal = Default::default();
                cluster.times.archiver_reset = now;
            }
        }
    }

    /// C: `pgstat_recv_archiver`.
    fn archived(&mut self, name: WalFileName, failed: bool, time: i64) {
        let cluster = &mut self.cluster;
        if failed {
            cluster.archiver.failed_count += 1;
            cluster.archiver.last_failed_time = time;
            cluster.last_failed_wal = name;
        } else {
            cluster.archiver.archived_count += 1;
            cluster.archiver.last_archived_time = time;
            // No name: one before it is still to come.
            if !name.as_str().is_empty() {
                cluster.last_archived_wal = name;
            }
        }
    }

    /// C: `pgstat_recv_vacuum`.
    fn vacuumed(&mut self, done: &Maintenance, now: i64) {
        let table = self.database(done.database, now).tables.entry(done.table).or_default();
        table.n_live_tuples = done.live;
        table.n_dead_tuples = done.dead;
        // Rows inserted while VACUUM ran are lost from this count: too small an error to be worth a message.
        table.inserts_since_vacuum = 0;
        if done.autovacuum {
            table.autovac_vacuum_time = done.time;
            table.autovac_vacuum_count += 1;
        } else {
            table.vacuum_time = done.time;
            table.vacuum_count += 1;
        }
    }

    /// C: `pgstat_recv_analyze`.
    fn analyzed(&mut self, done: &Maintenance, now: i64) {
        let table = self.database(done.database, now).tables.entry(done.table).or_default();
        table.n_live_tuples = done.live;
        table.n_dead_tuples = done.dead;
        if done.reset_changes {
            table.changes_since_analyze = 0;
        }
        if done.autovacuum {
            table.autovac_analyze_time = done.time;
            table.autovac_analyze_count += 1;
        } else {
            table.analyze_time = done.time;
            table.analyze_count += 1;
        }
    }

    /// Whether somebody waits for a file. C: `pgstat_write_statsfile_needed`.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Takes over what the last collector left, and removes the files. C: `pgstat_read_statsfiles` with
    /// `permanent`.
    pub(crate) fn load(directory: &Path, now: i64) -> Counters {
        let mut counters = Counters::default();
        let path = stats_file::cluster_path(directory);
        let content = stats_file::read(&path, stats_file::decode_cluster);
        let _ = std::fs::remove_file(&path);
        let Some((cluster, databases)) = content else {
            let times = &mut counters.cluster.times;
            (times.bgwriter_reset, times.wal_reset, times.archiver_reset) = (now, now, now);
            return counters;
        };
        counters.cluster = cluster;
        for (oid, mut entry) in databases {
            // No session may take the coming files for ones that were already written.
            entry.times.written = 0;
            let path = stats_file::database_path(directory, oid);
            let tables = stats_file::read(&path, stats_file::decode_tables).unwrap_or_default();
            let _ = std::fs::remove_file(&path);
            counters.databases.insert(oid, Database { entry, tables });
        }
        counters
    }

    /// Writes the files somebody waits for. C: `pgstat_write_statsfiles(false, false)`.
    ///
    /// # Errors
    /// Those of writing; the request is forgotten all the same, it will be repeated.
    pub(crate) fn write_wanted(&mut self, directory: &Path, now: i64) -> Result<()> {
        let mut wanted = std::mem::take(&mut self.wanted);
        // Shared tables are part of every answer.
        wanted.insert(Oid::INVALID);
        self.write(directory, now, |oid| wanted.contains(&oid))
    }

    /// Writes all files, for the next collector. C: `pgstat_write_statsfiles(true, true)`.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) fn write_all(&mut self, directory: &Path, now: i64) -> Result<()> {
        self.write(directory, now, |_| true)
    }

    fn write(&mut self, directory: &Path, now: i64, wants: impl Fn(Oid) -> bool) -> Result<()> {
        for (oid, database) in &mut self.databases {
            if wants(*oid) {
                let bytes = stats_file::encode_tables(&database.tables);
                stats_file::write(&stats_file::database_path(directory, *oid), &bytes)?;
                database.entry.times.written = now;
            }
        }
        self.cluster.times.written = now;
        let databases: Vec<_> = self.databases.iter().map(|(oid, d)| (*oid, d.entry)).collect();
        // Last: its moments promise that the files of the databases are there.
        stats_file::write(
            &stats_file::cluster_path(directory),
            &stats_file::encode_cluster(&self.cluster, &databases),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use activity::table_stats::Drained;

    const DB: Oid = Oid(5);
    const TABLE: Oid = Oid(16384);

    fn reported(change: impl FnOnce(&mut Drained)) -> Message {
        let mut counts = Drained { rel: TABLE, ..Drained::default() };
        change(&mut counts);
        Message::Tables { database: DB, tables: vec![counts] }
    }

    fn maintenance(autovacuum: bool, live: i64) -> Maintenance {
        Maintenance { database: DB, table: TABLE, autovacuum, time: 50, live, dead: 0, reset_changes: true }
    }

    #[test]
    fn tables_add_up_and_never_have_less_than_no_rows() {
        let mut counters = Counters::default();
        let insert = reported(|c| (c.tup_inserted, c.delta_live, c.changed) = (10, 10, 10));
        counters.add(&insert, 1);
        counters.add(&reported(|c| (c.tup_deleted, c.delta_live, c.delta_dead) = (12, -12, 12)), 2);
        let table = counters.databases[&DB].tables[&TABLE];
        assert_eq!((table.n_live_tuples, table.n_dead_tuples, table.tuples_deleted), (0, 12, 12));
        assert_eq!(counters.databases[&DB].entry.sums.tuples_inserted, 10);
        counters.add(&Message::Vacuum(maintenance(false, 7)), 3);
        counters.add(&Message::Analyze(maintenance(true, 8)), 3);
        let table = counters.databases[&DB].tables[&TABLE];
        assert_eq!((table.n_live_tuples, table.changes_since_analyze, table.inserts_since_vacuum), (8, 0, 0));
        assert_eq!((table.vacuum_count, table.autovac_vacuum_count, table.autovac_analyze_time), (1, 0, 50));
        counters.add(&insert, 4);
        counters.add(&reported(|c| (c.truncated, c.delta_live) = (true, 2)), 5);
        assert_eq!(counters.databases[&DB].tables[&TABLE].n_live_tuples, 2);
    }

    #[test]
    fn resets_and_drops_forget() {
        let mut counters = Counters::default();
        counters.add(&reported(|c| c.seq_scan = 1), 1);
        counters.add(&Message::Wal(activity::counters::WalTaken { bytes: 5, ..Default::default() }), 1);
        counters.add(&Message::ResetTable { database: DB, table: TABLE }, 2);
        assert!(counters.databases[&DB].tables.is_empty());
        counters.add(&reported(|c| c.seq_scan = 1), 3);
        counters.add(&Message::DropTables { database: DB, tables: vec![TABLE] }, 3);
        assert!(counters.databases[&DB].tables.is_empty());
        counters.add(&Message::ResetShared { target: SharedTarget::Wal }, 4);
        assert_eq!((counters.cluster.wal.bytes, counters.cluster.times.wal_reset), (0, 4));
        counters.add(&Message::Reset { database: DB }, 9);
        assert_eq!(counters.databases[&DB].entry.sums, Default::default());
        assert_eq!(counters.databases[&DB].entry.times.stat_reset, 9);
    }

    #[test]
    fn the_archiver_is_counted_and_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let mut counters = Counters::default();
        let told =
            |name: &str, failed, time| Message::Archived { name: WalFileName::new(name), failed, time };
        let (first, second) = ("000000010000000000000001", "000000010000000000000002.00000028.backup");
        for message in [told(first, false, 10), told(second, true, 11), told(second, true, 12)] {
            counters.add(&message, 20);
        }
        counters.write_all(dir.path(), 21).unwrap();
        let mut again = Counters::load(dir.path(), 22);
        let cluster = again.cluster;
        assert_eq!((cluster.archiver.archived_count, cluster.archiver.failed_count), (1, 2));
        assert_eq!((cluster.archiver.last_archived_time, cluster.archiver.last_failed_time), (10, 12));
        assert_eq!((cluster.last_archived_wal.as_str(), cluster.last_failed_wal.as_str()), (first, second));
        again.add(&told(second, false, 23), 23);
        again.add(&told("", false, 24), 24);
        let cluster = again.cluster;
        assert_eq!((cluster.archiver.archived_count, cluster.archiver.last_archived_time), (3, 24));
        assert_eq!(cluster.last_archived_wal.as_str(), second, "a file before the last is still to come");
        again.add(&Message::ResetShared { target: SharedTarget::Archiver }, 23);
        let times = again.cluster.times;
        assert_eq!(again.cluster, ClusterEntry { times, wal: cluster.wal, ..ClusterEntry::default() });
        assert_eq!((times.archiver_reset, times.wal_reset), (23, cluster.times.wal_reset));
    }

    #[test]
    fn a_file_is_written_only_for_those_who_need_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut counters = Counters::default();
        counters.add(&reported(|c| c.seq_scan = 1), 1);
        let ask = |now, cutoff| Message::Inquiry { database: DB, now, cutoff };
        counters.add(&ask(100, 90), 100);
        assert!(counters.is_wanted());
        counters.write_wanted(dir.path(), 101).unwrap();
        assert!(!counters.is_wanted());
        counters.add(&ask(102, 95), 102);
        assert!(!counters.is_wanted(), "the file is new enough");
        counters.add(&ask(50, 40), 50);
        assert!(counters.is_wanted(), "the clock went back");
        counters.add(&Message::Inquiry { database: Oid(77), now: 1, cutoff: 1 }, 1);
        counters.write_wanted(dir.path(), 103).unwrap();
        assert!(!stats_file::database_path(dir.path(), Oid(77)).exists());
    }

    #[test]
    fn counters_survive_in_their_files_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut counters = Counters::default();
        counters.add(&reported(|c| c.seq_scan = 3), 1);
        counters.add(&Message::Transactions { database: DB, commits: 4, rollbacks: 2 }, 1);
        counters.write_all(dir.path(), 8).unwrap();
        let again = Counters::load(dir.path(), 9);
        assert_eq!(again.databases[&DB].tables, counters.databases[&DB].tables);
        assert_eq!(again.databases[&DB].entry.counts.commits, 4);
        assert!(Counters::load(dir.path(), 9).databases.is_empty(), "the files are used up");
        std::fs::write(stats_file::cluster_path(dir.path()), "5 1 x\n").unwrap();
        assert!(Counters::load(dir.path(), 9).databases.is_empty(), "a damaged file is an empty one");
    }
}
