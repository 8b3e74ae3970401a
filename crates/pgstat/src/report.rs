//! What a process tells the collector: at most every half second, and at its end.
//!
//! C counterpart: `pgstat_report_stat` and the small senders around it.

use std::cell::Cell;

use activity::counters::{self, BuffersTaken, DatabaseTaken, WalTaken};
use activity::table_stats::{self, Drained};
use common::Oid;

use crate::entry::WalFileName;
use crate::message::{DROPS_PER_MESSAGE, Maintenance, Message, SharedTarget, TABLES_PER_MESSAGE};
use crate::{reader, send};

/// Between two reports of one process. C: `PGSTAT_STAT_INTERVAL`.
pub(crate) const REPORT_INTERVAL_MICROS: i64 = 500_000;

thread_local! {
    static LAST_REPORT: Cell<i64> = const { Cell::new(0) };
    /// Up to when the session's time has been counted; 0 in a process that is no session.
    static LAST_SESSION_TIME: Cell<i64> = const { Cell::new(0) };
    /// What had been reported of the buffer pool's counts.
    static LAST_BUFFERS: Cell<storage::stats::Counters> = Cell::new(storage::stats::Counters::default());
}

/// A top transaction has ended: its changes of tables become countable, it is counted itself, and the snapshot of
/// statistics it read is given up. C: `AtEOXact_PgStat`.
pub fn at_xact_end(committed: bool) {
    table_stats::at_xact_end(committed);
    counters::database(|d| counters::add(if committed { &d.commits } else { &d.rollbacks }, 1));
    reader::clear_snapshot();
}

/// A subtransaction has ended; 2 is the level directly below the top. C: `AtEOSubXact_PgStat`.
pub fn at_subxact_end(nest_level: u32, committed: bool) {
    table_stats::at_subxact_end(nest_level, committed);
}

/// Tells the collector what this session did in `database`. To be called outside a transaction, before waiting
/// for the client; unless `force`d, nothing happens if the last report is less than half a second old.
/// C: `pgstat_report_stat`.
pub fn report_stat(database: Oid, force: bool) {
    let now = activity::now();
    // A clock that went back must not silence the session for long.
    let since = now - LAST_REPORT.get();
    if !force && (0..REPORT_INTERVAL_MICROS).contains(&since) {
        return;
    }
    LAST_REPORT.set(now);
    take_over_buffer_counts();
    count_session_time(now);
    let drained = table_stats::drain();
    let counts = counters::database(counters::Database::take);
    if guc::vars::TRACK_COUNTS.get() {
        let (shared, own): (Vec<Drained>, Vec<Drained>) = drained.into_iter().partition(|t| t.shared);
        send_tables(database, &own);
        send_tables(Oid::INVALID, &shared);
        if counts != DatabaseTaken::default() {
            send(&Message::Session { database, counts });
        }
    }
    report_wal();
    report_buffers();
}

/// How a session ended. C: `SessionEndType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// As the client wished.
    Normal,
    /// The connection broke.
    Abandoned,
    /// By a FATAL error.
    Fatal,
    /// By an operator.
    Killed,
}

/// A client has been let in: its session counts from here. C: `pgstat_report_connect`.
pub fn report_connect() {
    LAST_SESSION_TIME.set(activity::pg_micros(miscinit::globals::my_start_time()));
    counters::database(|database| counters::add(&database.sessions, 1));
}

/// A session that was let in ends; to be called before the last [`report_stat`]. C: `pgstat_report_disconnect`.
pub fn report_disconnect(end: SessionEnd) {
    counters::database(|database| match end {
        SessionEnd::Normal => {}
        SessionEnd::Abandoned => counters::add(&database.sessions_abandoned, 1),
        SessionEnd::Fatal => counters::add(&database.sessions_fatal, 1),
        SessionEnd::Killed => counters::add(&database.sessions_killed, 1),
    });
}

/// Time since the last report, for processes that called [`report_connect`].
fn count_session_time(now: i64) {
    let last = LAST_SESSION_TIME.get();
    if last != 0 && now > last {
        LAST_SESSION_TIME.set(now);
        counters::database(|database| counters::add(&database.session_micros, now - last));
    }
}

/// What the buffer pool counted for this session, so far as it is new.
fn take_over_buffer_counts() {
    let now = storage::stats::get();
    let before = LAST_BUFFERS.replace(now);
    let delta = |now: u64, before: u64| now.saturating_sub(before) as i64;
    counters::buffers(|buffers| {
        let written = delta(now.written + now.extended, before.written + before.extended);
        counters::add(&buffers.written_backend, written);
    });
    counters::database(|database| {
        counters::add(&database.blk_read_micros, delta(now.read_nanos / 1000, before.read_nanos / 1000));
        counters::add(&database.blk_write_micros, delta(now.write_nanos / 1000, before.write_nanos / 1000));
    });
}

fn send_tables(database: Oid, tables: &[Drained]) {
    for tables in tables.chunks(TABLES_PER_MESSAGE) {
        send(&Message::Tables { database, tables: tables.to_vec() });
    }
}

/// Tells the collector what WAL this process wrote. C: `pgstat_send_wal`.
pub fn report_wal() {
    let counts = counters::wal(counters::Wal::take);
    if counts != WalTaken::default() {
        send(&Message::Wal(counts));
    }
}

/// Tells the collector what buffers this process wrote, and what checkpoints it made. C: `pgstat_send_bgwriter`,
/// `pgstat_send_checkpointer`.
pub fn report_buffers() {
    let counts = counters::buffers(counters::Buffers::take);
    if counts != BuffersTaken::default() {
        send(&Message::Buffers(counts));
    }
}

/// A file of WAL was handed to the archive, or that failed; told at once. A success without a name is counted, and the
/// last name stays: a file before it is still to come. C: `pgstat_send_archiver`.
pub fn report_archived(name: &str, failed: bool) {
    send(&Message::Archived { name: WalFileName::new(name), failed, time: activity::now() });
}

/// A VACUUM of a table is done. C: `pgstat_report_vacuum`.
pub fn report_vacuum(done: Maintenance) {
    if guc::vars::TRACK_COUNTS.get() {
        send(&Message::Vacuum(done));
    }
}

/// An ANALYZE of a table is done. `done.live` and `done.dead` are what it estimated; rows that the running
/// transaction itself changed are the caller's to subtract. C: `pgstat_report_analyze`.
pub fn report_analyze(done: Maintenance) {
    if guc::vars::TRACK_COUNTS.get() {
        send(&Message::Analyze(done));
    }
}

/// An autovacuum worker begins on a database. C: `pgstat_report_autovac`.
pub fn report_autovacuum_start(database: Oid) {
    send(&Message::AutovacuumStart { database, time: activity::now() });
}

/// Tables were dropped by a committed transaction. C: `pgstat_drop_relation` and the purge of `pgstat_vacuum_stat`.
pub fn drop_tables(database: Oid, tables: &[Oid]) {
    for tables in tables.chunks(DROPS_PER_MESSAGE) {
        send(&Message::DropTables { database, tables: tables.to_vec() });
    }
}

/// A database was dropped. C: `pgstat_drop_database`.
pub fn drop_database(database: Oid) {
    send(&Message::DropDatabase { database });
}

/// `pg_stat_reset()`. C: `pgstat_reset_counters`.
pub fn reset(database: Oid) {
    send(&Message::Reset { database });
}

/// `pg_stat_reset_shared(target)`: false if there is no such target, for the caller's error 22023
/// (`unrecognized reset target: "%s"`, hint `Target must be "archiver", "bgwriter", "recovery_prefetch", or
/// "wal".`). C: `pgstat_reset_shared_counters`.
pub fn reset_shared(target: &str) -> bool {
    let target = match target {
        "archiver" => SharedTarget::Archiver,
        "bgwriter" => SharedTarget::BgWriter,
        "wal" => SharedTarget::Wal,
        // Nothing is prefetched, so nothing is counted.
        "recovery_prefetch" => return true,
        _ => return false,
    };
    send(&Message::ResetShared { target });
    true
}

/// `pg_stat_reset_single_table_counters(table)`. C: `pgstat_reset_single_counter`.
pub fn reset_table(database: Oid, table: Oid) {
    send(&Message::ResetTable { database, table });
}
