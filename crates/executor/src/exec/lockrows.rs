//! FOR UPDATE and its kin: locks each row before it is returned, and looks again at those that changed meanwhile.
//!
//! C counterpart: nodeLockRows.c, `EvalPlanQual` of execMain.c.

use common::{ItemPointer, SqlState};
use elog::{PgError, Result, error};
use heap::{LockTupleMode, TmResult, TupleView, WaitPolicy};
use parser::ast::{LockStrength, LockWait};
use types::Datum;

use super::scan::load_row;
use super::{Cx, Row};
use crate::query::{Body, From, Query, RowLock, TableScan};

/// What locking a row came to.
enum Locked {
    /// It is the row that the scan saw.
    Same,
    /// A newer version is in the frame.
    Newer,
    /// There is no row any more, or it is someone else's.
    Skip,
}

impl Cx<'_> {
    /// Locks the rows behind an output row, whose frame is kept behind its columns. False if the row is out: skipped,
    /// deleted, or no longer what the query asks for.
    pub(super) fn lock_rows(&mut self, query: &Query, row: &mut Row) -> Result<bool> {
        let depth = query.depth;
        let Body::Select(select) = &query.body else { return Ok(true) };
        let visible = row.len() - query.lock_width;
        self.set_row(depth, 0, row.drain(visible..));
        let mut changed = false;
        for lock in &query.row_locks {
            match self.lock_row(lock, select.from.as_ref(), depth)? {
                Locked::Same => {}
                Locked::Newer => changed = true,
                Locked::Skip => return Ok(false),
            }
        }
        if changed {
            if let Some(condition) = &query.recheck
                && !self.is_true(condition)?
            {
                return Ok(false);
            }
            row.clear();
            for target in &select.targets {
                row.push(self.eval(target)?);
            }
        }
        Ok(true)
    }

    fn lock_row(&mut self, lock: &RowLock, from: Option<&From>, depth: usize) -> Result<Locked> {
        let table = &lock.table;
        let Some(tid) = self.tid_at(depth, lock.base + table.natts()) else { return Ok(Locked::Same) };
        let serializable = table.am.uses_transaction_snapshot();
        let cid = table.am.command_id();
        let (mode, policy) = (lock_mode(lock.strength), wait_policy(lock.wait));
        let outcome = table.am.lock_row(tid, cid, mode, policy, !serializable)?;
        match (outcome.result, outcome.tuple) {
            (TmResult::Ok, Some(tuple)) if outcome.failure.traversed => {
                let scan = from.and_then(|from| find_scan(from, lock.base));
                if let Some(scan) = scan {
                    self.load_version(scan, depth, tuple.view())?;
                }
                Ok(Locked::Newer)
            }
            (TmResult::Ok, _) => Ok(Locked::Same),
            (TmResult::WouldBlock | TmResult::SelfModified, _) => Ok(Locked::Skip),
            (TmResult::Updated | TmResult::Deleted, _) if serializable => Err(concurrent("update")),
            (TmResult::Deleted, _) => Ok(Locked::Skip),
            (TmResult::Invisible, _) => {
                Err(error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "attempted to lock invisible tuple"))
            }
            (other, _) => Err(unexpected(other, "lock")),
        }
    }

    /// The row address in a slot; NULL for the missing side of an outer join.
    pub(super) fn tid_at(&self, depth: usize, slot: usize) -> Option<ItemPointer> {
        match self.shared.frames[depth][slot] {
            Datum::Tid(block, offset) => Some(ItemPointer { block, offset }),
            _ => None,
        }
    }

    /// A newer version of a row in place of the one in the frame. A scan by address keeps the old address, since it
    /// is what the row was asked for by.
    pub(super) fn load_version(&mut self, scan: &TableScan, depth: usize, row: TupleView<'_>) -> Result<()> {
        let ctid = scan.base + scan.table.natts();
        let before = self.shared.frames[depth][ctid].clone();
        load_row(scan, depth, row, &mut Vec::new(), self)?;
        if scan.tids.is_some() {
            self.set(depth, ctid, before);
        }
        Ok(())
    }
}

/// The scan whose slots begin here.
pub(super) fn find_scan(from: &From, base: usize) -> Option<&TableScan> {
    match from {
        From::Table(scan) => (scan.base == base).then_some(&**scan),
        From::Filter(filter) => find_scan(&filter.0, base),
        From::Join(join) => find_scan(&join.left, base).or_else(|| find_scan(&join.right, base)),
        _ => None,
    }
}

fn lock_mode(strength: LockStrength) -> LockTupleMode {
    match strength {
        LockStrength::ForKeyShare => LockTupleMode::KeyShare,
        LockStrength::ForShare => LockTupleMode::Share,
        LockStrength::ForNoKeyUpdate => LockTupleMode::NoKeyExclusive,
        LockStrength::ForUpdate => LockTupleMode::Exclusive,
    }
}

fn wait_policy(wait: LockWait) -> WaitPolicy {
    match wait {
        LockWait::Wait => WaitPolicy::Block,
        LockWait::SkipLocked => WaitPolicy::Skip,
        LockWait::NoWait => WaitPolicy::Error,
    }
}

/// `could not serialize access due to concurrent update`
pub(super) fn concurrent(what: &str) -> PgError {
    error!(SqlState::T_R_SERIALIZATION_FAILURE, "could not serialize access due to concurrent {what}")
}

/// A result that cannot be.
#[cold]
pub(super) fn unexpected(result: TmResult, what: &str) -> PgError {
    error!(SqlState::INTERNAL_ERROR, "unexpected result of a row's {what}: {result:?}")
}
