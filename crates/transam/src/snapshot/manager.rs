//! Which snapshots this process uses, and what it shows as its `xmin` for them.
//!
//! Guards clean up after themselves; those that outlive the transaction (an error on its way up) find that the
//! abort has already done it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use common::{SqlState, Xid};
use elog::{Result, error};
use shmem::proc::try_my_proc;

use super::{Snapshot, SnapshotData, SnapshotKind, set_transaction_xmin};
use crate::{procarray, xact};

struct Active {
    id: u64,
    level: u32,
    snapshot: Snapshot,
}

/// All of a process's snapshots.
struct Manager {
    /// The newest, to be used again while nothing ended (A3).
    last: Option<Rc<SnapshotData>>,
    /// The transaction has taken one. C: `FirstSnapshotSet`.
    first_taken: bool,
    /// The one of a REPEATABLE READ transaction. C: `FirstXactSnapshot`.
    of_xact: Option<Rc<SnapshotData>>,
    catalog: Option<Rc<SnapshotData>>,
    active: Vec<Active>,
    /// Registered ones by xmin, with how many of each. Few at a time. C: `RegisteredSnapshots`.
    registered: Vec<(Xid, u32)>,
    /// Numbers guards.
    next_id: u64,
    /// Counts transactions: a guard of an earlier one has nothing left to undo.
    generation: u64,
}

thread_local! {
    static MANAGER: RefCell<Manager> = const {
        RefCell::new(Manager {
            last: None,
            first_taken: false,
            of_xact: None,
            catalog: None,
            active: Vec::new(),
            registered: Vec::new(),
            next_id: 0,
            generation: 0,
        })
    };
}

impl Manager {
    /// A snapshot of now. C: `GetSnapshotData`.
    fn take(&mut self) -> Rc<SnapshotData> {
        if let Some(last) = &self.last
            && procarray::try_reuse(last)
        {
            return last.clone();
        }
        // Nobody holds the last one any more: its lists can be filled again.
        if let Some(data) = self.last.as_mut().and_then(Rc::get_mut) {
            procarray::collect(data);
        } else {
            let mut data = SnapshotData::empty(SnapshotKind::Mvcc);
            procarray::collect(&mut data);
            self.last = Some(Rc::new(data));
        }
        self.last.clone().unwrap_or_else(|| Rc::new(SnapshotData::empty(SnapshotKind::Mvcc)))
    }

    /// The oldest xmin of what is held besides the active stack.
    fn oldest_held(&self) -> Option<Xid> {
        let singles = [&self.of_xact, &self.catalog].into_iter().flatten().map(|data| data.xmin);
        self.registered
            .iter()
            .map(|(xmin, _)| *xmin)
            .chain(singles)
            .reduce(|a, b| if b.precedes(a) { b } else { a })
    }

    /// N2, N3. C: `SnapshotResetXmin`.
    fn reset_xmin(&self) {
        if !self.active.is_empty() {
            return;
        }
        let Some(proc) = try_my_proc() else { return };
        let shown = Xid(proc.xmin.load(Relaxed));
        if !shown.is_valid() {
            return;
        }
        match self.oldest_held() {
            None => proc.xmin.store(0, SeqCst),
            Some(oldest) if shown.precedes(oldest) => {
                proc.xmin.store(oldest.0, SeqCst);
                set_transaction_xmin(oldest);
            }
            Some(_) => {}
        }
    }
}

fn with<R>(use_it: impl FnOnce(&mut Manager) -> R) -> R {
    MANAGER.with_borrow_mut(use_it)
}

fn stamped(data: Rc<SnapshotData>) -> Snapshot {
    Snapshot { data, curcid: xact::current_command_id(false) }
}

/// The snapshot for a statement: a new one in READ COMMITTED, else the transaction's. Push or register it before
/// anything else may end a snapshot's use. C: `GetTransactionSnapshot`.
///
/// # Errors
/// 0A000 for SERIALIZABLE on a standby.
pub fn transaction_snapshot() -> Result<Snapshot> {
    if !with(|m| m.first_taken) {
        refuse_serializable_in_recovery()?;
    }
    Ok(stamped(with(|m| {
        if let Some(data) = &m.of_xact {
            return data.clone();
        }
        // Whoever looks at catalogs next should see no older world than the statement does.
        m.catalog = None;
        let first = !std::mem::replace(&mut m.first_taken, true);
        let data = m.take();
        if first && xact::uses_xact_snapshot() {
            m.of_xact = Some(data.clone());
        }
        data
    })))
}

/// The default may say so; where it is asked for, it is refused at once. C: in `GetSerializableTransactionSnapshot`.
fn refuse_serializable_in_recovery() -> Result<()> {
    if guc::vars::TRANSACTION_ISOLATION.get() != "serializable" || !wal::in_recovery() {
        return Ok(());
    }
    Err(error!(SqlState::FEATURE_NOT_SUPPORTED, "cannot use serializable mode in a hot standby")
        .detail("\"default_transaction_isolation\" is set to \"serializable\".")
        .hint("You can use \"SET default_transaction_isolation = 'repeatable read'\" to change the default."))
}

/// A new one whatever the isolation level: for constraint checks. C: `GetLatestSnapshot`.
///
/// # Errors
/// As [`transaction_snapshot`].
pub fn latest_snapshot() -> Result<Snapshot> {
    if !with(|m| m.first_taken) {
        return transaction_snapshot();
    }
    Ok(stamped(with(Manager::take)))
}

/// For catalogs: kept until [`invalidate_catalog_snapshot`]; always with the current command id. C: `GetCatalogSnapshot`.
///
/// # Errors
/// None so far.
pub fn catalog_snapshot() -> Result<Snapshot> {
    Ok(stamped(with(|m| {
        if m.catalog.is_none() {
            m.catalog = Some(m.take());
        }
        m.catalog.clone().unwrap_or_else(|| Rc::new(SnapshotData::empty(SnapshotKind::Mvcc)))
    })))
}

/// A catalog has changed: the next look at one takes a new snapshot. C: `InvalidateCatalogSnapshot`.
pub fn invalidate_catalog_snapshot() {
    with(|m| {
        if m.catalog.take().is_some() {
            m.reset_xmin();
        }
    });
}

/// Before waiting for the client inside a transaction: lets the catalog snapshot go if it is the only one that
/// holds an xmin. C: `InvalidateCatalogSnapshotConditionally`.
pub fn idle() {
    with(|m| {
        if m.active.is_empty() && m.registered.is_empty() && m.of_xact.is_none() {
            m.catalog = None;
        }
        m.reset_xmin();
    });
}

/// Top of the active stack until dropped. C: `PopActiveSnapshot`.
#[must_use = "the snapshot is active as long as this lives"]
#[derive(Debug)]
pub struct ActiveGuard {
    id: u64,
}

impl Drop for ActiveGuard {
    fn drop(&mut self) {
        with(|m| {
            if let Some(at) = m.active.iter().rposition(|active| active.id == self.id) {
                m.active.remove(at);
                m.reset_xmin();
            }
        });
    }
}

/// Makes it the one that statements and functions use. C: `PushActiveSnapshot`.
pub fn push_active(snapshot: &Snapshot) -> ActiveGuard {
    push_active_at_level(snapshot, xact::nest_level())
}

/// As [`push_active`], for a portal that belongs to an outer level. C: `PushActiveSnapshotWithLevel`.
pub fn push_active_at_level(snapshot: &Snapshot, level: u32) -> ActiveGuard {
    with(|m| {
        m.next_id += 1;
        m.active.push(Active { id: m.next_id, level, snapshot: snapshot.clone() });
        ActiveGuard { id: m.next_id }
    })
}

/// The top of the stack; `None` if nothing is pushed. C: `GetActiveSnapshot`.
pub fn active_snapshot() -> Option<Snapshot> {
    with(|m| m.active.last().map(|active| active.snapshot.clone()))
}

/// C: `ActiveSnapshotSet`.
pub fn has_active() -> bool {
    with(|m| !m.active.is_empty())
}

/// The active snapshot gets the current command id: a later command of the same statement sees what the earlier
/// ones did. C: `UpdateActiveSnapshotCommandId`.
pub fn update_active_command_id() {
    let curcid = xact::current_command_id(false);
    with(|m| {
        if let Some(active) = m.active.last_mut() {
            active.snapshot.curcid = curcid;
        }
    });
}

/// Keeps old row versions that the snapshot sees from being removed until dropped. C: `UnregisterSnapshot`.
#[must_use = "the snapshot is registered as long as this lives"]
#[derive(Debug)]
pub struct Registered {
    snapshot: Snapshot,
    generation: u64,
}

impl Registered {
    /// The snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        with(|m| {
            if m.generation != self.generation {
                return;
            }
            if let Some(at) = m.registered.iter().position(|(xmin, _)| *xmin == self.snapshot.xmin()) {
                m.registered[at].1 -= 1;
                if m.registered[at].1 == 0 {
                    m.registered.swap_remove(at);
                    m.reset_xmin();
                }
            }
        });
    }
}

/// Protects what the snapshot sees: a cursor's, a scan's that outlives the statement. C: `RegisterSnapshot`.
pub fn register(snapshot: &Snapshot) -> Registered {
    with(|m| {
        // Those that are no moment in time hold nothing up; they count under no id.
        let xmin = snapshot.xmin();
        if xmin.is_valid() {
            match m.registered.iter_mut().find(|(held, _)| *held == xmin) {
                Some((_, count)) => *count += 1,
                None => m.registered.push((xmin, 1)),
            }
        }
        Registered { snapshot: snapshot.clone(), generation: m.generation }
    })
}

/// The oldest xmin held besides the active stack, for tests and debugging.
pub fn oldest_registered_xmin() -> Option<Xid> {
    with(|m| m.oldest_held())
}

/// What the subtransaction pushed goes to its parent. C: `AtSubCommit_Snapshot`.
pub(crate) fn at_sub_commit(level: u32) {
    with(|m| m.active.iter_mut().filter(|a| a.level >= level).for_each(|a| a.level = level - 1));
}

/// What the subtransaction pushed is popped. C: `AtSubAbort_Snapshot`.
pub(crate) fn at_sub_abort(level: u32) {
    with(|m| {
        m.active.retain(|a| a.level < level);
        m.reset_xmin();
    });
}

/// The transaction is over. C: `AtEOXact_Snapshot`.
pub(crate) fn at_end() {
    with(|m| {
        m.first_taken = false;
        m.of_xact = None;
        m.catalog = None;
        m.active.clear();
        m.registered.clear();
        m.generation += 1;
        m.reset_xmin();
    });
}
