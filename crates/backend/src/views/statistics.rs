//! `pg_stat_all_tables` and its like, `pg_stat_database`, `pg_stat_database_conflicts`, `pg_stat_bgwriter`,
//! `pg_stat_wal`, `pg_stat_archiver`, `pg_locks`: what the collector and the lock manager know.
//!
//! C counterpart: the views of catalog/system_views.sql over utils/adt/pgstatfuncs.c and lockfuncs.c.

use std::collections::HashMap;
use std::rc::Rc;

use activity::counters::DatabaseTaken;
use catalog::rows::PgClassRow;
use catalog::syscache;
use common::Oid;
use elog::Result;
use pgstat::{TableEntry, WalFileName};
use types::{Datum, Numeric, oid};

use super::{Columns, Rows, optional};
use crate::objects::Objects;
use crate::portal::Row;

pub(super) const TABLES_COLUMNS: Columns = &[
    ("relid", oid::OID),
    ("schemaname", oid::NAME),
    ("relname", oid::NAME),
    ("seq_scan", oid::INT8),
    ("seq_tup_read", oid::INT8),
    ("idx_scan", oid::INT8),
    ("idx_tup_fetch", oid::INT8),
    ("n_tup_ins", oid::INT8),
    ("n_tup_upd", oid::INT8),
    ("n_tup_del", oid::INT8),
    ("n_tup_hot_upd", oid::INT8),
    ("n_live_tup", oid::INT8),
    ("n_dead_tup", oid::INT8),
    ("n_mod_since_analyze", oid::INT8),
    ("n_ins_since_vacuum", oid::INT8),
    ("last_vacuum", oid::TIMESTAMPTZ),
    ("last_autovacuum", oid::TIMESTAMPTZ),
    ("last_analyze", oid::TIMESTAMPTZ),
    ("last_autoanalyze", oid::TIMESTAMPTZ),
    ("vacuum_count", oid::INT8),
    ("autovacuum_count", oid::INT8),
    ("analyze_count", oid::INT8),
    ("autoanalyze_count", oid::INT8),
];

/// A moment; 0 is "never".
fn moment(micros: i64) -> Datum {
    if micros == 0 { Datum::Null } else { Datum::TimestampTz(micros) }
}

/// Makes a row of each table that is wanted, from its row of pg_class, its schema and its counters.
fn tables(wanted: fn(&str) -> bool, make: fn(&PgClassRow, Rc<str>, &TableEntry) -> Row) -> Result<Rows> {
    let mut schemas: HashMap<Oid, Rc<str>> = HashMap::new();
    let database = crate::identity::get().database;
    let mut rows = Vec::new();
    for class in syscache::classes()? {
        if !matches!(class.relkind, b'r' | b't' | b'm') {
            continue;
        }
        let schema = match schemas.get(&class.relnamespace) {
            Some(name) => Rc::clone(name),
            None => {
                let found = syscache::namespace(class.relnamespace)?;
                let name: Rc<str> = found.map_or_else(|| "".into(), |row| row.nspname.as_str().into());
                schemas.insert(class.relnamespace, Rc::clone(&name));
                name
            }
        };
        if !wanted(&schema) {
            continue;
        }
        let entry = pgstat::table(database, class.oid)?.unwrap_or_default();
        rows.push(make(&class, schema, &entry));
    }
    Ok(rows)
}

fn stat_row(class: &PgClassRow, schema: Rc<str>, entry: &TableEntry) -> Row {
    vec![
        Datum::Oid(class.oid.0),
        Datum::Text(schema),
        Datum::text(&class.relname),
        Datum::Int8(entry.numscans),
        Datum::Int8(entry.tuples_returned),
        // There are no indexes.
        Datum::Null,
        Datum::Null,
        Datum::Int8(entry.tuples_inserted),
        Datum::Int8(entry.tuples_updated),
        Datum::Int8(entry.tuples_deleted),
        Datum::Int8(entry.tuples_hot_updated),
        Datum::Int8(entry.n_live_tuples),
        Datum::Int8(entry.n_dead_tuples),
        Datum::Int8(entry.changes_since_analyze),
        Datum::Int8(entry.inserts_since_vacuum),
        moment(entry.vacuum_time),
        moment(entry.autovac_vacuum_time),
        moment(entry.analyze_time),
        moment(entry.autovac_analyze_time),
        Datum::Int8(entry.vacuum_count),
        Datum::Int8(entry.autovac_vacuum_count),
        Datum::Int8(entry.analyze_count),
        Datum::Int8(entry.autovac_analyze_count),
    ]
}

fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema") || schema.starts_with("pg_toast")
}

fn is_user(schema: &str) -> bool {
    !is_system(schema)
}

fn any(_: &str) -> bool {
    true
}

pub(super) fn all_tables(_: &Objects) -> Result<Rows> {
    tables(any, stat_row)
}

pub(super) fn user_tables(_: &Objects) -> Result<Rows> {
    tables(is_user, stat_row)
}

pub(super) fn sys_tables(_: &Objects) -> Result<Rows> {
    tables(is_system, stat_row)
}

pub(super) const STATIO_COLUMNS: Columns = &[
    ("relid", oid::OID),
    ("schemaname", oid::NAME),
    ("relname", oid::NAME),
    ("heap_blks_read", oid::INT8),
    ("heap_blks_hit", oid::INT8),
    ("idx_blks_read", oid::INT8),
    ("idx_blks_hit", oid::INT8),
    ("toast_blks_read", oid::INT8),
    ("toast_blks_hit", oid::INT8),
    ("tidx_blks_read", oid::INT8),
    ("tidx_blks_hit", oid::INT8),
];

fn statio_row(class: &PgClassRow, schema: Rc<str>, entry: &TableEntry) -> Row {
    let mut row = vec![
        Datum::Oid(class.oid.0),
        Datum::Text(schema),
        Datum::text(&class.relname),
        Datum::Int8(entry.blocks_fetched - entry.blocks_hit),
        Datum::Int8(entry.blocks_hit),
    ];
    // There are no indexes and no TOAST tables.
    row.resize(STATIO_COLUMNS.len(), Datum::Null);
    row
}

pub(super) fn statio_all_tables(_: &Objects) -> Result<Rows> {
    tables(any, statio_row)
}

pub(super) fn statio_user_tables(_: &Objects) -> Result<Rows> {
    tables(is_user, statio_row)
}

pub(super) fn statio_sys_tables(_: &Objects) -> Result<Rows> {
    tables(is_system, statio_row)
}

pub(super) const DATABASE_COLUMNS: Columns = &[
    ("datid", oid::OID),
    ("datname", oid::NAME),
    ("numbackends", oid::INT4),
    ("xact_commit", oid::INT8),
    ("xact_rollback", oid::INT8),
    ("blks_read", oid::INT8),
    ("blks_hit", oid::INT8),
    ("tup_returned", oid::INT8),
    ("tup_fetched", oid::INT8),
    ("tup_inserted", oid::INT8),
    ("tup_updated", oid::INT8),
    ("tup_deleted", oid::INT8),
    ("conflicts", oid::INT8),
    ("temp_files", oid::INT8),
    ("temp_bytes", oid::INT8),
    ("deadlocks", oid::INT8),
    ("checksum_failures", oid::INT8),
    ("checksum_last_failure", oid::TIMESTAMPTZ),
    ("blk_read_time", oid::FLOAT8),
    ("blk_write_time", oid::FLOAT8),
    ("session_time", oid::FLOAT8),
    ("active_time", oid::FLOAT8),
    ("idle_in_transaction_time", oid::FLOAT8),
    ("sessions", oid::INT8),
    ("sessions_abandoned", oid::INT8),
    ("sessions_fatal", oid::INT8),
    ("sessions_killed", oid::INT8),
    ("stats_reset", oid::TIMESTAMPTZ),
];

fn millis(micros: i64) -> Datum {
    Datum::Float8(micros as f64 / 1000.0)
}

fn sessions_in(database: Oid) -> i32 {
    let in_it = |proc: &shmem::PgProc| {
        proc.kind() == Some(common::BackendType::Backend)
            && proc.database_id.load(std::sync::atomic::Ordering::Relaxed) == database.0
    };
    shmem::all_procs().iter().filter(|proc| in_it(proc)).count() as i32
}

pub(super) fn databases(_: &Objects) -> Result<Rows> {
    let mut all = vec![(Oid::INVALID, Datum::Null)];
    all.extend(syscache::databases()?.into_iter().map(|row| (row.oid, Datum::text(&row.datname))));
    let has_checksums = guc::vars::DATA_CHECKSUMS.get();
    let mut rows = Vec::with_capacity(all.len());
    for (database, name) in all {
        let entry = pgstat::database(database)?.unwrap_or_default();
        let (counts, sums) = (entry.counts, entry.sums);
        let mut row = vec![Datum::Oid(database.0), name.clone()];
        row.push(Datum::Int4(if database.is_valid() { sessions_in(database) } else { 0 }));
        row.extend(
            [
                counts.commits,
                counts.rollbacks,
                sums.blocks_fetched - sums.blocks_hit,
                sums.blocks_hit,
                sums.tuples_returned,
                sums.tuples_fetched,
                sums.tuples_inserted,
                sums.tuples_updated,
                sums.tuples_deleted,
                conflicts_of(&counts).iter().sum(),
                counts.temp_files,
                counts.temp_bytes,
                counts.deadlocks,
            ]
            .map(Datum::Int8),
        );
        row.push(if has_checksums { Datum::Int8(counts.checksum_failures) } else { Datum::Null });
        row.push(Datum::Null);
        row.extend(
            [
                counts.blk_read_micros,
                counts.blk_write_micros,
                counts.session_micros,
                counts.active_micros,
                counts.idle_in_transaction_micros,
            ]
            .map(millis),
        );
        row.extend(
            [counts.sessions, counts.sessions_abandoned, counts.sessions_fatal, counts.sessions_killed]
                .map(Datum::Int8),
        );
        row.push(moment(entry.times.stat_reset));
        rows.push(row);
    }
    Ok(rows)
}

pub(super) const CONFLICTS_COLUMNS: Columns = &[
    ("datid", oid::OID),
    ("datname", oid::NAME),
    ("confl_tablespace", oid::INT8),
    ("confl_lock", oid::INT8),
    ("confl_snapshot", oid::INT8),
    ("confl_bufferpin", oid::INT8),
    ("confl_deadlock", oid::INT8),
];

/// In the order of the view's columns.
fn conflicts_of(counts: &DatabaseTaken) -> [i64; 5] {
    [
        counts.conflict_tablespace,
        counts.conflict_lock,
        counts.conflict_snapshot,
        counts.conflict_bufferpin,
        counts.conflict_startup_deadlock,
    ]
}

/// How often sessions were in replay's way, by reason, in the order of `pg_stat_database_conflicts`.
pub(crate) fn conflicts(database: Oid) -> Result<[i64; 5]> {
    Ok(conflicts_of(&pgstat::database(database)?.unwrap_or_default().counts))
}

pub(super) fn database_conflicts(_: &Objects) -> Result<Rows> {
    let mut rows = Vec::new();
    for row in syscache::databases()? {
        let mut values = vec![Datum::Oid(row.oid.0), Datum::text(&row.datname)];
        values.extend(conflicts(row.oid)?.map(Datum::Int8));
        rows.push(values);
    }
    Ok(rows)
}

pub(super) const BGWRITER_COLUMNS: Columns = &[
    ("checkpoints_timed", oid::INT8),
    ("checkpoints_req", oid::INT8),
    ("checkpoint_write_time", oid::FLOAT8),
    ("checkpoint_sync_time", oid::FLOAT8),
    ("buffers_checkpoint", oid::INT8),
    ("buffers_clean", oid::INT8),
    ("maxwritten_clean", oid::INT8),
    ("buffers_backend", oid::INT8),
    ("buffers_backend_fsync", oid::INT8),
    ("buffers_alloc", oid::INT8),
    ("stats_reset", oid::TIMESTAMPTZ),
];

pub(super) fn bgwriter(_: &Objects) -> Result<Rows> {
    let cluster = pgstat::cluster()?;
    let counts = cluster.buffers;
    Ok(vec![vec![
        Datum::Int8(counts.checkpoints_timed),
        Datum::Int8(counts.checkpoints_requested),
        Datum::Float8(counts.checkpoint_write_millis as f64),
        Datum::Float8(counts.checkpoint_sync_millis as f64),
        Datum::Int8(counts.written_checkpoint),
        Datum::Int8(counts.written_clean),
        Datum::Int8(counts.max_written_clean),
        Datum::Int8(counts.written_backend),
        Datum::Int8(counts.fsync_backend),
        Datum::Int8(counts.alloc),
        moment(cluster.times.bgwriter_reset),
    ]])
}

pub(super) const WAL_COLUMNS: Columns = &[
    ("wal_records", oid::INT8),
    ("wal_fpi", oid::INT8),
    ("wal_bytes", oid::NUMERIC),
    ("wal_buffers_full", oid::INT8),
    ("wal_write", oid::INT8),
    ("wal_sync", oid::INT8),
    ("wal_write_time", oid::FLOAT8),
    ("wal_sync_time", oid::FLOAT8),
    ("stats_reset", oid::TIMESTAMPTZ),
];

pub(super) fn wal(_: &Objects) -> Result<Rows> {
    let cluster = pgstat::cluster()?;
    let counts = cluster.wal;
    Ok(vec![vec![
        Datum::Int8(counts.records),
        Datum::Int8(counts.fpi),
        Datum::numeric(Numeric::from_i64(counts.bytes)),
        Datum::Int8(counts.buffers_full),
        Datum::Int8(counts.write),
        Datum::Int8(counts.sync),
        millis(counts.write_micros),
        millis(counts.sync_micros),
        moment(cluster.times.wal_reset),
    ]])
}

pub(crate) const ARCHIVER_COLUMNS: Columns = &[
    ("archived_count", oid::INT8),
    ("last_archived_wal", oid::TEXT),
    ("last_archived_time", oid::TIMESTAMPTZ),
    ("failed_count", oid::INT8),
    ("last_failed_wal", oid::TEXT),
    ("last_failed_time", oid::TIMESTAMPTZ),
    ("stats_reset", oid::TIMESTAMPTZ),
];

pub(super) fn archiver(_: &Objects) -> Result<Rows> {
    Ok(vec![archiver_row()?])
}

/// The one row there is. C: `pg_stat_get_archiver`.
pub(crate) fn archiver_row() -> Result<Row> {
    let cluster = pgstat::cluster()?;
    let file = |name: &WalFileName| match name.as_str() {
        "" => Datum::Null,
        name => Datum::text(name),
    };
    let counts = cluster.archiver;
    Ok(vec![
        Datum::Int8(counts.archived_count),
        file(&cluster.last_archived_wal),
        moment(counts.last_archived_time),
        Datum::Int8(counts.failed_count),
        file(&cluster.last_failed_wal),
        moment(counts.last_failed_time),
        moment(cluster.times.archiver_reset),
    ])
}

pub(super) const LOCKS_COLUMNS: Columns = &[
    ("locktype", oid::TEXT),
    ("database", oid::OID),
    ("relation", oid::OID),
    ("page", oid::INT4),
    ("tuple", oid::INT2),
    ("virtualxid", oid::TEXT),
    ("transactionid", oid::XID),
    ("classid", oid::OID),
    ("objid", oid::OID),
    ("objsubid", oid::INT2),
    ("virtualtransaction", oid::TEXT),
    ("pid", oid::INT4),
    ("mode", oid::TEXT),
    ("granted", oid::BOOL),
    ("fastpath", oid::BOOL),
    ("waitstart", oid::TIMESTAMPTZ),
];

pub(super) fn locks(_: &Objects) -> Result<Rows> {
    let oid = |oid: Option<Oid>| oid.map_or(Datum::Null, |oid| Datum::Oid(oid.0));
    let rows = lmgr::status().into_iter().map(|row| {
        vec![
            Datum::text(row.locktype),
            oid(row.database),
            oid(row.relation),
            row.page.map_or(Datum::Null, |page| Datum::Int4(page as i32)),
            row.tuple.map_or(Datum::Null, |tuple| Datum::Int2(tuple as i16)),
            optional(row.virtualxid),
            row.transactionid.map_or(Datum::Null, |xid| Datum::Xid(xid.0)),
            oid(row.classid),
            oid(row.objid),
            row.objsubid.map_or(Datum::Null, |sub| Datum::Int2(sub as i16)),
            Datum::text(row.virtualtransaction),
            // Of a prepared transaction.
            if row.pid == 0 { Datum::Null } else { Datum::Int4(row.pid) },
            Datum::text(row.mode),
            Datum::Bool(row.granted),
            Datum::Bool(row.fastpath),
            row.waitstart.map_or(Datum::Null, Datum::TimestampTz),
        ]
    });
    Ok(rows.collect())
}

pub(super) const PG_TABLES_COLUMNS: Columns = &[
    ("schemaname", oid::NAME),
    ("tablename", oid::NAME),
    ("tableowner", oid::NAME),
    ("tablespace", oid::NAME),
    ("hasindexes", oid::BOOL),
    ("hasrules", oid::BOOL),
    ("hastriggers", oid::BOOL),
    ("rowsecurity", oid::BOOL),
];

/// `pg_tables`.
pub(super) fn pg_tables(_: &Objects) -> Result<Rows> {
    let mut rows = Vec::new();
    for class in syscache::classes()?.into_iter().filter(|class| matches!(class.relkind, b'r' | b'p')) {
        let schema = syscache::namespace(class.relnamespace)?;
        let owner = syscache::role(class.relowner)?;
        rows.push(vec![
            optional(schema.map(|row| row.nspname.clone())),
            Datum::text(&class.relname),
            optional(owner.map(|row| row.rolname.clone())),
            optional(syscache::tablespace(class.reltablespace)?.map(|row| row.spcname.clone())),
            Datum::Bool(class.relhasindex),
            Datum::Bool(class.relhasrules),
            Datum::Bool(class.relhastriggers),
            Datum::Bool(class.relrowsecurity),
        ]);
    }
    Ok(rows)
}
