//! After VACUUM: how old the oldest ids of the database are, and what of the transaction logs nobody needs any more.
//!
//! 1. The oldest `relfrozenxid` of all tables becomes the database's `datfrozenxid`.
//! 2. The oldest of all databases is the cluster's: the commit log before it goes away, and the limits of
//!    transaction ids move on.
//!
//! C counterpart: `vac_update_datfrozenxid` and `vac_truncate_clog` of commands/vacuum.c.

use catalog::rows::{PgClassRow, PgDatabaseRow};
use catalog::{access, tables};
use common::{MultiXactId, Oid, SqlState, Xid};
use elog::{Result, pg_error};
use lmgr::LockMode;
use transam::{RelationKind, clog, multixact, varsup};

/// The oldest ids somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Oldest {
    xid: Xid,
    multi: MultiXactId,
}

/// Brings `datfrozenxid` and `datminmxid` of this database up to date. In a transaction; the lock that keeps others from
/// doing the same is held until its end.
///
/// # Errors
/// What reading and writing catalogs and logs says.
pub fn update_database() -> Result<()> {
    let database = catalog::my_database();
    lmgr::lock_database_frozen_ids(database, LockMode::Exclusive)?;
    // Read before the tables are: what is made later has younger ids. Ids from beyond are nonsense, and nothing is
    // decided by them.
    let limit = Oldest { xid: transam::horizon_for(RelationKind::Shared), multi: multixact::oldest() };
    let sane = Oldest { xid: varsup::read_next_xid(), multi: multixact::read_next() };
    let Some(found) = oldest_of_tables(limit, sane)? else { return Ok(()) };
    let Some((now, changed)) = store(database, found, sane)? else { return Ok(()) };
    if changed || varsup::force_limit_update() {
        truncate_logs(database, now, sane)?;
    }
    Ok(())
}

/// `None` if a table has ids that cannot be.
fn oldest_of_tables(limit: Oldest, sane: Oldest) -> Result<Option<Oldest>> {
    let mut found = limit;
    for (_, class) in access::rows(&tables::PG_CLASS, |_| true, PgClassRow::from_datums)? {
        if !matches!(class.relkind, b'r' | b'm' | b't') {
            continue;
        }
        let (xid, multi) = (class.relfrozenxid, MultiXactId(class.relminmxid.0));
        if xid.is_normal() {
            if sane.xid.precedes(xid) {
                return Ok(None);
            }
            if xid.precedes(found.xid) {
                found.xid = xid;
            }
        }
        if multi.is_valid() {
            if sane.multi.precedes(multi) {
                return Ok(None);
            }
            if multi.precedes(found.multi) {
                found.multi = multi;
            }
        }
    }
    Ok(Some(found))
}

/// Writes it into pg_database in place; returns what is there now, and whether that is new.
fn store(database: Oid, found: Oldest, sane: Oldest) -> Result<Option<(Oldest, bool)>> {
    let rows = access::rows(&tables::PG_DATABASE, access::is_oid(database), PgDatabaseRow::from_datums)?;
    let Some((id, mut row)) = rows.into_iter().next() else { return Ok(None) };
    let stored = Oldest { xid: row.datfrozenxid, multi: MultiXactId(row.datminmxid.0) };
    // Never backwards, except from the future.
    let mut now = stored;
    if stored.xid.precedes(found.xid) || sane.xid.precedes(stored.xid) {
        now.xid = found.xid;
    }
    if stored.multi.precedes(found.multi) || sane.multi.precedes(stored.multi) {
        now.multi = found.multi;
    }
    if now == stored {
        return Ok(Some((now, false)));
    }
    row.datfrozenxid = now.xid;
    row.datminmxid = Xid(now.multi.0);
    access::update_in_place(&tables::PG_DATABASE, id, &row.to_datums())?;
    Ok(Some((now, true)))
}

/// C: `vac_truncate_clog`.
fn truncate_logs(database: Oid, mine: Oldest, sane: Oldest) -> Result<()> {
    let next = varsup::read_next_xid();
    let _alone = varsup::lock_wrap_limits();
    let (mut oldest, mut xid_database, mut multi_database) = (mine, database, database);
    let mut wrapped = false;
    for (_, row) in access::rows(&tables::PG_DATABASE, |_| true, PgDatabaseRow::from_datums)? {
        let (xid, multi) = (row.datfrozenxid, MultiXactId(row.datminmxid.0));
        if sane.xid.precedes(xid) || sane.multi.precedes(multi) {
            return Ok(());
        }
        if next.precedes(xid) {
            wrapped = true;
        } else if xid.precedes(oldest.xid) {
            (oldest.xid, xid_database) = (xid, row.oid);
        }
        if multi.precedes(oldest.multi) {
            (oldest.multi, multi_database) = (multi, row.oid);
        }
    }
    if wrapped {
        pg_error!(
            Warning,
            SqlState::WARNING,
            "some databases have not been vacuumed in over 2 billion transactions"
        )
        .detail("You might have already suffered transaction-wraparound data loss.")
        .report();
        return Ok(());
    }
    clog::truncate(oldest.xid, xid_database)?;
    multixact::truncate(oldest.multi, multi_database)?;
    varsup::set_xid_limit(oldest.xid, xid_database);
    multixact::set_limit(oldest.multi, multi_database, false);
    Ok(())
}
