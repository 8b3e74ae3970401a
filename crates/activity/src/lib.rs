//! What every process tells the others about itself: the rows of `pg_stat_activity`.
//!
//! Each PGPROC has one [`Entry`] in shared memory, written by its owner alone and read by anybody without a
//! lock. A writer counts `changes` up before and after; a reader that saw an odd or a changed number reads
//! again. Every field is an atomic, so a torn read is detected, never undefined.
//!
//! Invariants:
//! - A1  Only the owning process writes an entry, between [`begin`] and [`end`].
//! - A2  `changes` is odd exactly while its owner writes.
//! - A3  An entry with pid 0 is free; its other fields mean nothing.
//! - A6  The postmaster, which must not wait for anybody, looks at an entry a limited number of times ([`try_snapshot`]).
//!
//! Reporting costs a few stores and a copy of the statement, and no system call but the clock.
//!
//! C counterpart: utils/activity/backend_status.c.

#![forbid(unsafe_code)]

mod entry; // 1. one process's row
pub mod text; // 2. text that one process writes and others read

pub mod progress; // how far a long command is

pub mod counters; // 3. what it did, for the statistics collector ...
pub mod table_stats; // ... and to which table

pub mod gauges; // 4. what those tell whom a stop of the server waits for

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use common::{BackendType, Oid};
use shmem::{Reservation, ShmSlice};

use entry::Entry;
pub use entry::{Activity, ClientAddr, State};

static ENTRIES: ShmSlice<Entry> = ShmSlice::new("Backend Status Array");
/// The statements, `track_activity_query_size` bytes each, in words. C: `BackendActivityBuffer`.
static STATEMENTS: ShmSlice<AtomicU64> = ShmSlice::new("Backend Activity Buffer");

thread_local! {
    static MINE: Cell<Option<Mine>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Mine {
    entry: &'static Entry,
    statement: &'static [AtomicU64],
}

/// Reserves an entry for each of `proc_count` PGPROCs. C: `CreateSharedBackendStatus`.
pub fn reserve(reservation: &mut Reservation, proc_count: usize) {
    reservation.slice(&ENTRIES, proc_count, |_| Entry::new());
    reservation.slice(&STATEMENTS, proc_count * statement_words(), |_| AtomicU64::new(0));
    gauges::reserve(reservation);
}

/// Words of one statement buffer.
fn statement_words() -> usize {
    (guc::vars::TRACK_ACTIVITY_QUERY_SIZE.get() as usize).div_ceil(8)
}

fn statement_of(index: usize) -> &'static [AtomicU64] {
    let words = statement_words();
    &STATEMENTS.get()[index * words..(index + 1) * words]
}

/// Microseconds between the Unix epoch and 2000-01-01, where PostgreSQL's clock starts.
pub const PG_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// A moment as PostgreSQL counts: microseconds since 2000-01-01. C: `TimestampTz`.
pub fn pg_micros(time: SystemTime) -> i64 {
    let unix = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
    unix - PG_EPOCH_MICROS
}

/// Now, as PostgreSQL counts. C: `GetCurrentTimestamp`.
pub fn now() -> i64 {
    pg_micros(SystemTime::now())
}

/// Takes the entry of this process's PGPROC. C: `pgstat_beinit` and `pgstat_bestart`.
pub fn begin(kind: BackendType) {
    let index = shmem::my_proc().pgprocno as usize;
    let mine = Mine { entry: &ENTRIES.get()[index], statement: statement_of(index) };
    MINE.set(Some(mine));
    mine.entry.start(kind, miscinit::globals::my_proc_pid(), pg_micros(miscinit::globals::my_start_time()));
    mine.entry.change(|_| entry::store_text(mine.statement, ""));
}

/// Gives the entry back. C: `pgstat_beshutdown_hook`.
pub fn end() {
    if let Some(mine) = MINE.take() {
        mine.entry.free();
    }
}

fn with_mine(report: impl FnOnce(&Mine)) {
    if let Some(mine) = MINE.get() {
        report(&mine);
    }
}

/// A session has been let in: who it is and from where.
pub fn report_session(
    database: (Oid, &str),
    user: (Oid, &str),
    client: Option<(IpAddr, u16)>,
    is_local: bool,
) {
    with_mine(|mine| mine.entry.set_session(database, user, client, is_local));
}

/// The session's connection is encrypted, and how. C: the `st_ssl` half of `pgstat_bestart`.
pub fn report_tls(version: &str, cipher: &str, bits: i32) {
    with_mine(|mine| mine.entry.set_tls(version, cipher, bits));
}

/// A session turned out to be of another kind than it was forked as (a walsender).
pub fn report_kind(kind: BackendType) {
    with_mine(|mine| mine.entry.set_kind(kind));
}

/// What the session does from now on; `statement` replaces the shown text, `None` leaves the last one, and
/// the moments are set as `pg_stat_activity` shows them. With `track_activities` off only the state "disabled"
/// is shown. C: `pgstat_report_activity`.
pub fn report_activity(state: State, statement: Option<&str>) {
    let Some(mine) = MINE.get() else { return };
    if !guc::vars::TRACK_ACTIVITIES.get() {
        if !mine.entry.is_disabled() {
            mine.entry.disable();
        }
        return;
    }
    let at = now();
    count_time(mine.entry, state, at);
    mine.entry.change(|entry| {
        entry.set_state(state, at);
        if let Some(statement) = statement {
            entry.set_query_start(at);
            entry::store_text(mine.statement, statement);
        }
    });
}

/// Time spent working, or idle in a transaction, is counted when it ends. C: the part of `pgstat_report_activity` about
/// `pgstat_count_conn_active_time`.
fn count_time(entry: &Entry, next: State, at: i64) {
    let (Some(state), since) = entry.own_state() else { return };
    if state == next || since == 0 {
        return;
    }
    let micros = at - since;
    counters::database(|database| match state {
        State::Active | State::Fastpath => counters::add(&database.active_micros, micros),
        State::IdleInTransaction | State::IdleInTransactionAborted => {
            counters::add(&database.idle_in_transaction_micros, micros);
        }
        State::Undefined | State::Idle | State::Disabled => {}
    });
}

/// `application_name`. C: `pgstat_report_appname`.
pub fn report_application_name(name: &str) {
    with_mine(|mine| mine.entry.set_application_name(name));
}

/// The transaction began then, or there is none (0). C: `pgstat_report_xact_timestamp`.
pub fn report_transaction_start(pg_micros: i64) {
    with_mine(|mine| mine.entry.set_transaction_start(pg_micros));
}

/// All processes that have an entry, as they were when each was read. C: `pgstat_read_current_status`.
pub fn snapshot() -> Vec<Activity> {
    let entries = ENTRIES.get().iter().enumerate();
    entries.filter_map(|(index, entry)| entry.read(index, statement_of(index))).collect()
}

/// As [`snapshot`] for who must not wait for anybody: an entry whose owner changes it all the time, or has died while it did, is
/// shown as it is found, perhaps half old and half new. Statements are left out; without shared memory there is nothing.
pub fn try_snapshot() -> Vec<Activity> {
    let entries = ENTRIES.try_get().unwrap_or(&[]).iter().enumerate();
    entries.filter_map(|(index, entry)| entry.read_bounded(index, &[])).collect()
}

/// The statement that process `pid` runs, for the log of its crash. C: `pgstat_get_crashed_backend_activity`.
pub fn statement_of_pid(pid: i32) -> Option<String> {
    let (index, _) = ENTRIES.get().iter().enumerate().find(|(_, entry)| entry.pid() == pid)?;
    let text = text::load(statement_of(index));
    (!text.is_empty()).then_some(text)
}
