//! Who holds and awaits what: `pg_locks`, `pg_blocking_pids`, the locks that standbys must know.
//!
//! The table is read one partition after the other, so rows of different partitions may be of different moments.
//!
//! C counterpart: `GetLockStatusData`, `GetBlockerStatusData`, `GetRunningTransactionLocks` in lock.c,
//! `pg_lock_status` in lockfuncs.c.

use std::sync::atomic::Ordering::Relaxed;

use common::{BlockNumber, OffsetNumber, Oid, Xid};

use crate::mode::{LockMode, Modes};
use crate::shared;
use crate::tag::LockTag;

/// A row of `pg_locks`. `None` is NULL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the columns of pg_locks")]
pub struct LockRow {
    pub locktype: &'static str,
    pub database: Option<Oid>,
    pub relation: Option<Oid>,
    pub page: Option<BlockNumber>,
    pub tuple: Option<OffsetNumber>,
    pub virtualxid: Option<String>,
    pub transactionid: Option<Xid>,
    pub classid: Option<Oid>,
    pub objid: Option<Oid>,
    pub objsubid: Option<u16>,
    pub virtualtransaction: String,
    /// 0 for a prepared transaction, which the view shows as NULL.
    pub pid: i32,
    pub mode: &'static str,
    pub granted: bool,
    pub fastpath: bool,
    /// Microseconds since 2000.
    pub waitstart: Option<i64>,
}

impl LockRow {
    fn new(tag: LockTag, process: u32, mode: LockMode, granted: bool, fastpath: bool) -> LockRow {
        let vxid = shmem::all_procs()
            .get(process as usize)
            .map_or((0, 0), |proc| (proc.backend_id(), proc.lxid.load(Relaxed)));
        let start = if granted { 0 } else { shared::wait_of(process).start.load(Relaxed) };
        let mut row = LockRow {
            locktype: tag.type_name(),
            database: None,
            relation: None,
            page: None,
            tuple: None,
            virtualxid: None,
            transactionid: None,
            classid: None,
            objid: None,
            objsubid: None,
            virtualtransaction: format!("{}/{}", vxid.0, vxid.1),
            pid: shared::pid_of(process),
            mode: mode.name(),
            granted,
            fastpath,
            waitstart: (start != 0).then_some(start),
        };
        row.describe(tag);
        row
    }

    fn describe(&mut self, tag: LockTag) {
        match tag {
            LockTag::Relation { db, rel } | LockTag::Extend { db, rel } => {
                (self.database, self.relation) = (Some(db), Some(rel));
            }
            LockTag::FrozenIds { db } => self.database = Some(db),
            LockTag::Page { db, rel, block } => {
                (self.database, self.relation, self.page) = (Some(db), Some(rel), Some(block));
            }
            LockTag::Tuple { db, rel, block, offset } => {
                (self.database, self.relation) = (Some(db), Some(rel));
                (self.page, self.tuple) = (Some(block), Some(offset));
            }
            LockTag::Transaction(xid) => self.transactionid = Some(xid),
            LockTag::VirtualXid { backend, lxid } => self.virtualxid = Some(format!("{backend}/{lxid}")),
            LockTag::Speculative { xid, token } => {
                (self.transactionid, self.objid) = (Some(xid), Some(Oid(token)));
            }
            LockTag::Object { db, class, object, sub } => {
                (self.database, self.classid) = (Some(db), Some(class));
                (self.objid, self.objsubid) = (Some(object), Some(sub));
            }
            LockTag::Advisory { db, key1, key2, kind } => {
                (self.database, self.classid) = (Some(db), Some(Oid(key1)));
                (self.objid, self.objsubid) = (Some(Oid(key2)), Some(kind));
            }
        }
    }
}

/// All locks, those of the fast paths first. C: `pg_lock_status`.
pub fn status() -> Vec<LockRow> {
    let mut rows = Vec::new();
    for (process, path) in shared::fast_paths().enumerate() {
        let process = process as u32;
        let entries = path.shared().entries(process);
        rows.extend(entries.into_iter().map(|(tag, mode)| LockRow::new(tag, process, mode, true, true)));
    }
    for partition in 0..shared::partitions() {
        let views = shared::partition(partition).shared().views();
        for view in views {
            for (process, held) in &view.holders {
                rows.extend(held.iter().map(|mode| LockRow::new(view.tag, *process, mode, true, false)));
            }
            rows.extend(view.queue.iter().map(|(p, mode)| LockRow::new(view.tag, *p, *mode, false, false)));
        }
    }
    rows
}

/// Who stands in the way of the process with this pid: holders of what conflicts with its wish, and those before it
/// in the queue that want such. Empty if it does not wait. C: `pg_blocking_pids`.
pub fn blocking_pids(pid: i32) -> Vec<i32> {
    let Some(proc) = shmem::proc::by_pid(pid) else { return Vec::new() };
    let me = proc.pgprocno;
    let Some((partition, lock)) = shared::wait_of(me).awaited() else { return Vec::new() };
    let Some(view) = shared::partition(partition).shared().view_waited(lock) else { return Vec::new() };
    let Some((_, wish)) = view.queue.iter().find(|(process, _)| *process == me) else { return Vec::new() };
    let conflicting = wish.conflicts();
    let is_in_the_way = |modes: Modes| conflicting.intersects(modes);
    let holders = view.holders.iter().filter(|(process, held)| *process != me && is_in_the_way(*held));
    let queued = view.queue.iter().take_while(|(process, _)| *process != me);
    let queued = queued.filter(|(_, mode)| conflicting.contains(*mode));
    let processes = holders.map(|(process, _)| *process).chain(queued.map(|(process, _)| *process));
    let mut pids = Vec::new();
    for pid in processes.map(shared::pid_of) {
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}

/// Relations locked exclusively by transactions with ids, as (id, database, relation): for the snapshot of running
/// transactions in WAL. C: `GetRunningTransactionLocks`.
pub fn access_exclusive_locks() -> Vec<(Xid, Oid, Oid)> {
    let mut all = Vec::new();
    for partition in 0..shared::partitions() {
        for view in shared::partition(partition).shared().views() {
            let LockTag::Relation { db, rel } = view.tag else { continue };
            let holders = view.holders.iter().filter(|(_, held)| held.contains(LockMode::AccessExclusive));
            let xids = holders.map(|(p, _)| Xid(shmem::all_procs()[*p as usize].xid.load(Relaxed)));
            all.extend(xids.filter(|xid| xid.is_valid()).map(|xid| (xid, db, rel)));
        }
    }
    all
}
