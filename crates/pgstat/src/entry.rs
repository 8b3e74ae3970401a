//! What is remembered of a table, of a database, and of the cluster.
//!
//! All of it is numbers, so each struct can be laid out as a row of numbers, for messages and files. Moments
//! are microseconds since 2000-01-01; 0 is "never", which SQL shows as NULL.
//!
//! C counterparts: `PgStat_StatTabEntry`, `PgStat_StatDBEntry`, `PgStat_GlobalStats` and their siblings.

use activity::counters::{BuffersTaken, DatabaseTaken, WalTaken};
use activity::table_stats::Drained;

macro_rules! rows_of_numbers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub struct $name { $($(#[$field_doc])* pub $field: i64,)* }

            impl $name {
                pub(crate) fn put(&self, row: &mut Vec<i64>) {
                    row.extend([$(self.$field),*]);
                }
                pub(crate) fn take(row: &mut dyn Iterator<Item = i64>) -> Option<$name> {
                    Some($name { $($field: row.next()?,)* })
                }
            }
        )*
    };
}

rows_of_numbers! {
    /// A table: the columns of `pg_stat_all_tables` and `pg_statio_all_tables`. C: `PgStat_StatTabEntry`.
    TableEntry {
        /// Sequential scans begun; of an index, index scans.
        numscans,
        /// Rows returned by them.
        tuples_returned,
        /// Rows fetched by address.
        tuples_fetched,
        /// Rows inserted.
        tuples_inserted,
        /// Rows updated.
        tuples_updated,
        /// Rows deleted.
        tuples_deleted,
        /// Rows updated without a new index entry.
        tuples_hot_updated,
        /// Estimated live rows.
        n_live_tuples,
        /// Estimated dead rows.
        n_dead_tuples,
        /// Rows changed since the last ANALYZE.
        changes_since_analyze,
        /// Rows inserted since the last VACUUM.
        inserts_since_vacuum,
        /// Pages asked for.
        blocks_fetched,
        /// Pages found in the buffer pool.
        blocks_hit,
        /// Last VACUUM by hand.
        vacuum_time,
        /// Number of those.
        vacuum_count,
        /// Last VACUUM by autovacuum.
        autovac_vacuum_time,
        /// Number of those.
        autovac_vacuum_count,
        /// Last ANALYZE by hand.
        analyze_time,
        /// Number of those.
        analyze_count,
        /// Last ANALYZE by autovacuum.
        autovac_analyze_time,
        /// Number of those.
        autovac_analyze_count,
    }
    /// Sums over a database's tables. C: the `n_tuples_*` and `n_blocks_*` of `PgStat_StatDBEntry`.
    TableSums {
        /// Pages asked for.
        blocks_fetched,
        /// Pages found in the buffer pool.
        blocks_hit,
        /// Rows returned by scans.
        tuples_returned,
        /// Rows fetched by address.
        tuples_fetched,
        /// Rows inserted.
        tuples_inserted,
        /// Rows updated.
        tuples_updated,
        /// Rows deleted.
        tuples_deleted,
    }
    /// When things happened to a database's counters.
    DatabaseTimes {
        /// An autovacuum worker last worked here.
        last_autovac,
        /// The counters were last reset.
        stat_reset,
        /// The database's file was last written.
        written,
    }
    /// When the counters of the whole cluster were reset.
    ClusterTimes {
        /// The file was written.
        written,
        /// `pg_stat_reset_shared('bgwriter')`.
        bgwriter_reset,
        /// `pg_stat_reset_shared('wal')`.
        wal_reset,
        /// `pg_stat_reset_shared('archiver')`.
        archiver_reset,
    }
    /// The archiver: the numbers of `pg_stat_archiver`. C: `PgStat_ArchiverStats` without the file names.
    Archiver {
        /// Files archived.
        archived_count,
        /// When the last one was.
        last_archived_time,
        /// Failures.
        failed_count,
        /// When the last one was.
        last_failed_time,
    }
}

/// The name of a file of WAL, as numbers: nothing else is in the files and messages. Empty: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalFileName([u8; WalFileName::BYTES]);

impl Default for WalFileName {
    fn default() -> WalFileName {
        WalFileName([0; WalFileName::BYTES])
    }
}

impl WalFileName {
    /// Longest name that the archiver takes. C: `MAX_XFN_CHARS`.
    pub const BYTES: usize = 40;

    /// Of a text; what is longer than [`WalFileName::BYTES`] is cut.
    pub fn new(name: &str) -> WalFileName {
        let mut bytes = [0; WalFileName::BYTES];
        let len = name.len().min(WalFileName::BYTES);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        WalFileName(bytes)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..len]).unwrap_or_default()
    }

    pub(crate) fn put(&self, row: &mut Vec<i64>) {
        let (words, _) = self.0.as_chunks::<8>();
        row.extend(words.iter().map(|word| i64::from_ne_bytes(*word)));
    }

    pub(crate) fn take(row: &mut dyn Iterator<Item = i64>) -> Option<WalFileName> {
        let mut name = WalFileName::default();
        let (words, _) = name.0.as_chunks_mut::<8>();
        for word in words {
            *word = row.next()?.to_ne_bytes();
        }
        Some(name)
    }
}

impl TableEntry {
    /// Adds what a session reported. C: the loop of `pgstat_recv_tabstat`.
    pub(crate) fn add(&mut self, counts: &Drained) {
        self.numscans += counts.seq_scan;
        self.tuples_returned += counts.seq_tup_read;
        self.tuples_fetched += counts.tup_fetched;
        self.tuples_inserted += counts.tup_inserted;
        self.tuples_updated += counts.tup_updated;
        self.tuples_deleted += counts.tup_deleted;
        self.tuples_hot_updated += counts.tup_hot_updated;
        if counts.truncated {
            self.n_live_tuples = 0;
            self.n_dead_tuples = 0;
            self.inserts_since_vacuum = 0;
        }
        // Messages of several sessions may come in another order than the changes were made.
        self.n_live_tuples = (self.n_live_tuples + counts.delta_live).max(0);
        self.n_dead_tuples = (self.n_dead_tuples + counts.delta_dead).max(0);
        self.changes_since_analyze += counts.changed;
        self.inserts_since_vacuum += counts.tup_inserted;
        self.blocks_fetched += counts.blks_read + counts.blks_hit;
        self.blocks_hit += counts.blks_hit;
    }
}

impl TableSums {
    pub(crate) fn add(&mut self, counts: &Drained) {
        self.blocks_fetched += counts.blks_read + counts.blks_hit;
        self.blocks_hit += counts.blks_hit;
        self.tuples_returned += counts.seq_tup_read;
        self.tuples_fetched += counts.tup_fetched;
        self.tuples_inserted += counts.tup_inserted;
        self.tuples_updated += counts.tup_updated;
        self.tuples_deleted += counts.tup_deleted;
    }
}

/// A database: the columns of `pg_stat_database`. C: `PgStat_StatDBEntry`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseEntry {
    /// Transactions, files, sessions.
    pub counts: DatabaseTaken,
    /// Rows and pages.
    pub sums: TableSums,
    /// Moments.
    pub times: DatabaseTimes,
}

impl DatabaseEntry {
    pub(crate) fn put(&self, row: &mut Vec<i64>) {
        row.extend(self.counts.to_array());
        self.sums.put(row);
        self.times.put(row);
    }

    pub(crate) fn take(row: &mut dyn Iterator<Item = i64>) -> Option<DatabaseEntry> {
        Some(DatabaseEntry {
            counts: DatabaseTaken::from_numbers(row)?,
            sums: TableSums::take(row)?,
            times: DatabaseTimes::take(row)?,
        })
    }
}

/// What belongs to no database: `pg_stat_bgwriter`, `pg_stat_wal`, `pg_stat_archiver`. C: `PgStat_GlobalStats`,
/// `PgStat_WalStats`, `PgStat_ArchiverStats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterEntry {
    /// Checkpoints and buffers written.
    pub buffers: BuffersTaken,
    /// WAL written.
    pub wal: WalTaken,
    /// WAL files archived.
    pub archiver: Archiver,
    /// The one archived last.
    pub last_archived_wal: WalFileName,
    /// The one that failed last.
    pub last_failed_wal: WalFileName,
    /// Moments.
    pub times: ClusterTimes,
}

impl ClusterEntry {
    pub(crate) fn put(&self, row: &mut Vec<i64>) {
        row.extend(self.buffers.to_array());
        row.extend(self.wal.to_array());
        self.archiver.put(row);
        self.last_archived_wal.put(row);
        self.last_failed_wal.put(row);
        self.times.put(row);
    }

    pub(crate) fn take(row: &mut dyn Iterator<Item = i64>) -> Option<ClusterEntry> {
        Some(ClusterEntry {
            buffers: BuffersTaken::from_numbers(row)?,
            wal: WalTaken::from_numbers(row)?,
            archiver: Archiver::take(row)?,
            last_archived_wal: WalFileName::take(row)?,
            last_failed_wal: WalFileName::take(row)?,
            times: ClusterTimes::take(row)?,
        })
    }
}
