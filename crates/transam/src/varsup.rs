//! Ids of transactions and objects: how they are given out, and how near the end of their circle they are.
//!
//! - **V1** An id's pages in the commit log and pg_subtrans exist before the counter moves past it, so that an
//!   error in making them costs nothing.
//! - **V2** An id stands in the process array before XidGenLock is released: whoever reads a counter beyond it
//!   finds it running.
//! - **V3** Object ids up to `next_oid + oids_logged` are in WAL: after a crash the counter starts beyond them.
//!
//! Lock order: XidGenLock before the locks of the logs' pages; ProcArrayLock before XidGenLock.
//!
//! C counterpart: access/transam/varsup.c.

use std::cell::Cell;

use common::{FullXid, Oid, SqlState, Xid};
use elog::{PgError, Result, ereport, error, pg_error};
use shmem::pmsignal::{PmSignalReason, send_postmaster_signal};
use shmem::{ExclusiveGuard, LwLock, Reservation, SharedGuard, ShmVar, shm_struct, tranche};

use crate::{clog, procarray, subtrans};

/// Object ids logged ahead. C: `VAR_OID_PREFETCH`.
const OID_PREFETCH: u32 = 8192;
/// C: `FirstNormalObjectId`.
const FIRST_NORMAL_OID: u32 = 16384;
/// Ids kept back so that a single user can still vacuum.
const STOP_BEFORE_WRAP: u32 = 3_000_000;
/// When every new id brings a warning.
const WARN_BEFORE_WRAP: u32 = 40_000_000;

shm_struct! {
    /// What XidGenLock protects. C: the xid part of `VariableCacheData`.
    pub(crate) struct XidState {
        pub(crate) next: FullXid,
        /// No table has an older one. C: `oldestXid`.
        pub(crate) oldest: Xid,
        oldest_db: Oid,
        vacuum_limit: Xid,
        warn_limit: Xid,
        stop_limit: Xid,
        wrap_limit: Xid,
    }
}

shm_struct! {
    /// What OidGenLock protects.
    struct OidState {
        next: u32,
        /// How many from `next` on are in WAL (V3). C: `oidCount`.
        logged: u32,
    }
}

static XIDS: ShmVar<LwLock<XidState>> = ShmVar::new("Variable Cache");
static OIDS: ShmVar<LwLock<OidState>> = ShmVar::new("Oid Counter");
/// Oldest id whose bits in the commit log may be asked for. C: `oldestClogXid`, under XactTruncationLock.
static OLDEST_CLOG: ShmVar<LwLock<Xid>> = ShmVar::new("Oldest Clog Xid");
/// One process at a time finds the oldest ids of all databases and moves the limits. C: WrapLimitsVacuumLock.
static WRAP_LIMITS: ShmVar<LwLock<()>> = ShmVar::new("Wrap Limits Vacuum");

pub(crate) fn reserve(r: &mut Reservation) {
    let none = Xid::INVALID;
    r.var(&XIDS, move || {
        LwLock::new(
            tranche::XID_GEN,
            XidState {
                next: FullXid::new(0, Xid::FIRST_NORMAL),
                oldest: none,
                oldest_db: Oid::INVALID,
                vacuum_limit: none,
                warn_limit: none,
                stop_limit: none,
                wrap_limit: none,
            },
        )
    });
    r.var(&OIDS, || LwLock::new(tranche::OID_GEN, OidState { next: 0, logged: 0 }));
    r.var(&OLDEST_CLOG, move || LwLock::new(tranche::XACT_TRUNCATION, none));
    r.var(&WRAP_LIMITS, || LwLock::new(tranche::WRAP_LIMITS_VACUUM, ()));
}

/// For whoever computes the oldest ids of all databases: held until the limits are set and the logs are cut.
pub fn lock_wrap_limits() -> ExclusiveGuard<'static, ()> {
    WRAP_LIMITS.get().exclusive()
}

/// XidGenLock, shared.
pub(crate) fn lock_shared() -> SharedGuard<'static, XidState> {
    XIDS.get().shared()
}

/// XidGenLock, alone.
pub(crate) fn lock_exclusive() -> ExclusiveGuard<'static, XidState> {
    XIDS.get().exclusive()
}

/// Finds the name of a database.
type NameOf = fn(Oid) -> Option<String>;

thread_local! {
    static DATABASE_NAME: Cell<Option<NameOf>> = const { Cell::new(None) };
}

/// The catalog's: how messages find the name of a database. Called without locks, perhaps outside a transaction, where
/// it should return `None`. C: `get_database_name`.
pub fn set_database_name_hook(hook: NameOf) {
    DATABASE_NAME.set(Some(hook));
}

/// `database "postgres"`, or `database with OID 5` if its name is not known.
pub(crate) fn database_label(db: Oid) -> String {
    match DATABASE_NAME.get().and_then(|name_of| name_of(db)) {
        Some(name) => format!("database \"{name}\""),
        None => format!("database with OID {db}"),
    }
}

/// Gives out the next id and shows it in the process array (V1, V2). C: `GetNewTransactionId`.
///
/// # Errors
/// 54000 near the end of the circle; of making pages of the logs.
pub(crate) fn new_xid(is_sub: bool) -> Result<FullXid> {
    if wal::in_recovery() {
        return Err(error!(SqlState::INTERNAL_ERROR, "cannot assign TransactionIds during recovery"));
    }
    let mut state = lock_exclusive();
    let vacuum_limit = state.vacuum_limit;
    if vacuum_limit.is_valid() && state.next.xid().follows_or_equals(vacuum_limit) {
        state = near_the_end(state)?;
    }
    let full = state.next;
    clog::extend(full.xid())?;
    subtrans::extend(full.xid())?;
    state.next = full.next();
    if is_sub {
        procarray::publish_sub_xid(full.xid());
    } else {
        procarray::publish_xid(full.xid());
    }
    Ok(full)
}

/// Wakes vacuum, warns, refuses; without the lock, since reports take time.
#[cold]
fn near_the_end(state: ExclusiveGuard<'static, XidState>) -> Result<ExclusiveGuard<'static, XidState>> {
    let xid = state.next.xid();
    let (warn, stop, wrap, db) = (state.warn_limit, state.stop_limit, state.wrap_limit, state.oldest_db);
    drop(state);
    // Not at each id: the launcher would do nothing else.
    if xid.0.is_multiple_of(65_536) {
        send_postmaster_signal(PmSignalReason::StartAutovacLauncher);
    }
    if miscinit::globals::under_postmaster() && xid.follows_or_equals(stop) {
        return Err(error!(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            "database is not accepting commands to avoid wraparound data loss in {}",
            database_label(db)
        )
        .hint(
            "Stop the postmaster and vacuum that database in single-user mode.\nYou might also need to \
             commit or roll back old prepared transactions, or drop stale replication slots.",
        ));
    }
    if xid.follows_or_equals(warn) {
        must_be_vacuumed(db, wrap.0.wrapping_sub(xid.0)).report();
    }
    Ok(lock_exclusive())
}

fn must_be_vacuumed(db: Oid, left: u32) -> PgError {
    pg_error!(
        Warning,
        SqlState::WARNING,
        "{} must be vacuumed within {left} transactions",
        database_label(db)
    )
    .hint(
        "To avoid a database shutdown, execute a database-wide VACUUM in that database.\nYou might also \
         need to commit or roll back old prepared transactions, or drop stale replication slots.",
    )
}

/// The id that the next transaction will get. C: `ReadNextFullTransactionId`.
pub fn read_next_full_xid() -> FullXid {
    lock_shared().next
}

/// Its lower half. C: `ReadNextTransactionId`.
pub fn read_next_xid() -> Xid {
    read_next_full_xid().xid()
}

/// The oldest id any table may hold, and in which database. C: `ShmemVariableCache->oldestXid`.
pub fn oldest_xid() -> (Xid, Oid) {
    let state = lock_shared();
    (state.oldest, state.oldest_db)
}

/// Where the limits are: (vacuum, warn, stop, wrap). C: `xidVacLimit` and so on.
pub fn xid_limits() -> (Xid, Xid, Xid, Xid) {
    let state = lock_shared();
    (state.vacuum_limit, state.warn_limit, state.stop_limit, state.wrap_limit)
}

/// Some way along the circle, over the ids that are not normal.
fn ahead(xid: Xid, distance: u32) -> Xid {
    let to = xid.0.wrapping_add(distance);
    Xid(if to < Xid::FIRST_NORMAL.0 { to + Xid::FIRST_NORMAL.0 } else { to })
}

fn back(xid: Xid, distance: u32) -> Xid {
    let to = xid.0.wrapping_sub(distance);
    Xid(if to < Xid::FIRST_NORMAL.0 { to.wrapping_sub(Xid::FIRST_NORMAL.0) } else { to })
}

/// Sets the limits from the oldest id that any table may hold: half a circle ahead is the end.
/// C: `SetTransactionIdLimit`.
pub fn set_xid_limit(oldest: Xid, oldest_db: Oid) {
    let wrap_limit = ahead(oldest, u32::MAX >> 1);
    let stop_limit = back(wrap_limit, STOP_BEFORE_WRAP);
    let warn_limit = back(wrap_limit, WARN_BEFORE_WRAP);
    let vacuum_limit = ahead(oldest, guc::vars::AUTOVACUUM_FREEZE_MAX_AGE.get() as u32);
    let next = {
        let mut state = lock_exclusive();
        state.oldest = oldest;
        state.oldest_db = oldest_db;
        state.vacuum_limit = vacuum_limit;
        state.warn_limit = warn_limit;
        state.stop_limit = stop_limit;
        state.wrap_limit = wrap_limit;
        state.next.xid()
    };
    ereport!(Debug1, "transaction ID wrap limit is {wrap_limit}, limited by database with OID {oldest_db}");
    if next.follows_or_equals(vacuum_limit)
        && miscinit::globals::under_postmaster()
        && !crate::slru::in_redo()
    {
        send_postmaster_signal(PmSignalReason::StartAutovacLauncher);
    }
    if next.follows_or_equals(warn_limit) && !crate::slru::in_redo() {
        must_be_vacuumed(oldest_db, wrap_limit.0.wrapping_sub(next.0)).report();
    }
}

/// Whether the limits say too little and vacuum should set them again: they were never set, or the oldest id's
/// limit has been reached. C: `ForceTransactionIdLimitUpdate`.
pub fn force_limit_update() -> bool {
    let state = lock_shared();
    !state.oldest.is_normal()
        || !state.vacuum_limit.is_valid()
        || state.next.xid().follows_or_equals(state.vacuum_limit)
}

/// The commit log no longer has ids before this one. C: `AdvanceOldestClogXid`.
pub fn advance_oldest_clog_xid(oldest: Xid) {
    let mut current = OLDEST_CLOG.get().exclusive();
    if !current.is_valid() || current.precedes(oldest) {
        *current = oldest;
    }
}

/// Runs `look` with the oldest id of the commit log while no truncation can happen.
pub(crate) fn with_oldest_clog_xid<R>(look: impl FnOnce(Xid) -> R) -> R {
    look(*OLDEST_CLOG.get().shared())
}

/// Replaying: ids up to this one were in use. C: `AdvanceNextFullTransactionIdPastXid`.
pub fn advance_past(xid: Xid) {
    // Only the startup process moves the counter now, so that what it read stays true until it writes.
    let next = read_next_full_xid();
    if !xid.is_normal() || xid.precedes(next.xid()) {
        return;
    }
    let after = xid.next();
    let epoch = if after.0 < next.xid().0 { next.epoch().wrapping_add(1) } else { next.epoch() };
    lock_exclusive().next = FullXid::new(epoch, after);
}

/// Sets the counter to what a checkpoint says, if that is ahead. C: in `xlog_redo` of an online checkpoint.
pub fn advance_next_full(next: FullXid) {
    let mut state = lock_exclusive();
    if state.next < next {
        state.next = next;
    }
}

/// Sets the counter as it is, at start and for a shutdown checkpoint.
pub fn set_next_full(next: FullXid) {
    lock_exclusive().next = next;
}

/// An object id nobody had since the counter last went around. C: `GetNewObjectId`.
///
/// # Errors
/// XX000 during recovery.
pub fn new_oid() -> Result<Oid> {
    if wal::in_recovery() {
        return Err(error!(SqlState::INTERNAL_ERROR, "cannot assign OIDs during recovery"));
    }
    let mut oids = OIDS.get().exclusive();
    // After the circle's end: the lower ones belong to what initdb made.
    if oids.next < FIRST_NORMAL_OID {
        oids.next = FIRST_NORMAL_OID;
        oids.logged = 0;
    }
    if oids.logged == 0 {
        let logged = oids.next.wrapping_add(OID_PREFETCH);
        wal::log_next_oid(Oid(logged));
        oids.logged = OID_PREFETCH;
    }
    let oid = Oid(oids.next);
    oids.next = oids.next.wrapping_add(1);
    oids.logged -= 1;
    Ok(oid)
}

/// Sets the counter, at start and in redo; what is logged ahead is not known. `exact`: also backwards, for
/// XLOG_NEXTOID and shutdown checkpoints.
pub fn redo_next_oid(oid: Oid, exact: bool) {
    let mut oids = OIDS.get().exclusive();
    if exact || (oids.next.wrapping_sub(oid.0) as i32) < 0 {
        oids.next = oid.0;
        oids.logged = 0;
    }
}

/// What a checkpoint record says: next transaction id, next object id (beyond what is logged ahead unless at a
/// shutdown), oldest transaction id and its database. C: in `CreateCheckPoint`.
pub fn checkpoint_values(shutdown: bool) -> (FullXid, Oid, Xid, Oid) {
    let (next, oldest, db) = {
        let state = lock_shared();
        (state.next, state.oldest, state.oldest_db)
    };
    let oids = OIDS.get().shared();
    let next_oid = if shutdown { oids.next } else { oids.next.wrapping_add(oids.logged) };
    (next, Oid(next_oid), oldest, db)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_skip_the_special_ids() {
        assert_eq!(ahead(Xid(3), u32::MAX >> 1), Xid(0x8000_0002));
        assert_eq!(ahead(Xid(0x8000_0001), u32::MAX >> 1), Xid(3));
        assert_eq!(ahead(Xid(0x8000_0003), u32::MAX >> 1), Xid(5));
        assert_eq!(back(Xid(3_000_001), 3_000_000), Xid(u32::MAX - 1));
        assert_eq!(back(Xid(3_000_003), 3_000_000), Xid(3));
    }
}
