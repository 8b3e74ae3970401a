//! The table of prepared transactions in shared memory.
//!
//! An entry is taken before the state is written and becomes *valid* with it. The list of entries in use is in the
//! order of their preparation, but for the last, which fills the gap of one that goes, as in C: views show that order.
//!
//! C counterpart: `GlobalTransactionData`, `TwoPhaseStateData`, `MarkAsPreparing`, `LockGXact`, `RemoveGXact`.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use common::{Lsn, Oid, SqlState, Xid};
use elog::{Result, error};
use shmem::{ExclusiveGuard, LwLock, PgProc, Reservation, ShmSlice, ShmVar, SpinLock, shm_struct, tranche};

/// Bytes of an identifier, its zero byte included. C: `GIDSIZE`.
pub const GID_SIZE: usize = 200;

shm_struct! {
    /// One prepared transaction. C: `GlobalTransactionData`.
    #[derive(Clone, Copy)]
    pub(super) struct Entry {
        pub(super) used: bool,
        /// The state is in WAL, the PGPROC in the process array.
        pub(super) valid: bool,
        /// The state is in a file (and perhaps no longer in WAL).
        pub(super) on_disk: bool,
        /// Recovery found it; no PGPROC stands for it yet.
        pub(super) in_redo: bool,
        pub(super) xid: Xid,
        pub(super) owner: Oid,
        pub(super) database: Oid,
        /// PGPROC number + 1 of who works on it, or 0 (2P4).
        pub(super) locked_by: u32,
        /// When, microseconds since 2000.
        pub(super) prepared_at: i64,
        /// Where the PREPARE record begins and ends; invalid once only the file counts.
        pub(super) start_lsn: Lsn,
        pub(super) end_lsn: Lsn,
        pub(super) gid_len: u32,
        pub(super) gid: [u8; GID_SIZE],
    }
}

impl Entry {
    const FREE: Entry = Entry {
        used: false,
        valid: false,
        on_disk: false,
        in_redo: false,
        xid: Xid::INVALID,
        owner: Oid::INVALID,
        database: Oid::INVALID,
        locked_by: 0,
        prepared_at: 0,
        start_lsn: Lsn::INVALID,
        end_lsn: Lsn::INVALID,
        gid_len: 0,
        gid: [0; GID_SIZE],
    };

    /// A new one, neither valid nor locked.
    pub(super) fn new(xid: Xid, gid: &[u8], prepared_at: i64, owner: Oid, database: Oid) -> Entry {
        let mut entry = Entry { used: true, xid, owner, database, prepared_at, ..Entry::FREE };
        let len = gid.len().min(GID_SIZE - 1);
        entry.gid[..len].copy_from_slice(&gid[..len]);
        entry.gid_len = len as u32;
        entry
    }

    pub(super) fn gid(&self) -> &[u8] {
        &self.gid[..self.gid_len as usize]
    }
}

shm_struct! {
    /// What TwoPhaseStateLock protects besides the entries. C: `TwoPhaseStateData`.
    pub(super) struct Control {
        count: u32,
    }
}

static CONTROL: ShmVar<LwLock<Control>> = ShmVar::new("Prepared Transaction Table");
/// Changed under TwoPhaseStateLock; the spinlock makes a copy whole for the checkpointer, which changes an entry too.
static ENTRIES: ShmSlice<SpinLock<Entry>> = ShmSlice::new("Prepared Transactions");
/// Entries in use, in order.
static ORDER: ShmSlice<AtomicU32> = ShmSlice::new("Prepared Transaction Order");

/// For `max` prepared transactions. C: `TwoPhaseShmemInit`.
pub(crate) fn reserve(r: &mut Reservation, max: usize) {
    r.var(&CONTROL, || LwLock::new(tranche::TWO_PHASE_STATE, Control { count: 0 }));
    r.slice(&ENTRIES, max, |_| SpinLock::new(Entry::FREE));
    r.slice(&ORDER, max, |_| AtomicU32::new(0));
}

/// TwoPhaseStateLock, held exclusively.
pub(super) struct Locked(ExclusiveGuard<'static, Control>);

/// Takes TwoPhaseStateLock.
pub(super) fn lock() -> Locked {
    Locked(CONTROL.get().exclusive())
}

/// How many there may be.
pub(super) fn capacity() -> usize {
    ENTRIES.try_get().map_or(0, <[_]>::len)
}

/// A copy of an entry.
pub(super) fn get(at: u32) -> Entry {
    *ENTRIES.get()[at as usize].lock()
}

/// Changes an entry that is the caller's: locked by him, or under TwoPhaseStateLock.
pub(super) fn change(at: u32, change: impl FnOnce(&mut Entry)) {
    change(&mut ENTRIES.get()[at as usize].lock());
}

/// The PGPROC that stands for an entry (2P1).
pub(super) fn proc_of(at: u32) -> &'static PgProc {
    &shmem::all_procs()[(shmem::proc::prepared_places().start + at) as usize]
}

impl Locked {
    /// The entries in use, in order.
    pub(super) fn list(&self) -> Vec<u32> {
        ORDER.get()[..self.0.count as usize].iter().map(|at| at.load(Relaxed)).collect()
    }

    pub(super) fn find(&self, wanted: impl Fn(&Entry) -> bool) -> Option<u32> {
        self.list().into_iter().find(|at| wanted(&get(*at)))
    }

    /// Takes a free entry.
    ///
    /// # Errors
    /// 53200 "maximum number of prepared transactions reached".
    pub(super) fn add(&mut self, entry: Entry) -> Result<u32> {
        let Some(at) = ENTRIES.get().iter().position(|entry| !entry.lock().used) else {
            return Err(none_left());
        };
        let at = at as u32;
        change(at, |free| *free = entry);
        ORDER.get()[self.0.count as usize].store(at, Relaxed);
        self.0.count += 1;
        Ok(at)
    }

    /// Gives an entry back. C: `RemoveGXact`.
    pub(super) fn remove(&mut self, at: u32) {
        let order = ORDER.get();
        let count = self.0.count as usize;
        if let Some(place) = order[..count].iter().position(|entry| entry.load(Relaxed) == at) {
            order[place].store(order[count - 1].load(Relaxed), Relaxed);
            self.0.count -= 1;
        }
        proc_of(at).clear();
        change(at, |entry| *entry = Entry::FREE);
    }
}

fn none_left() -> elog::PgError {
    error!(SqlState::OUT_OF_MEMORY, "maximum number of prepared transactions reached").hint(format!(
        "Increase max_prepared_transactions (currently {}).",
        guc::vars::MAX_PREPARED_TRANSACTIONS.get()
    ))
}

/// Takes an entry for a transaction that is about to be prepared by this process. C: `MarkAsPreparing`.
///
/// # Errors
/// 22023, 55000, 42710, 53200.
pub(super) fn begin(xid: Xid, gid: &str, prepared_at: i64, owner: Oid, database: Oid) -> Result<u32> {
    if gid.len() >= GID_SIZE {
        return Err(error!(
            SqlState::INVALID_PARAMETER_VALUE,
            "transaction identifier \"{gid}\" is too long"
        ));
    }
    if guc::vars::MAX_PREPARED_TRANSACTIONS.get() == 0 || capacity() == 0 {
        return Err(error!(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "prepared transactions are disabled")
            .hint("Set max_prepared_transactions to a nonzero value."));
    }
    let mut table = lock();
    if table.find(|entry| entry.gid() == gid.as_bytes()).is_some() {
        return Err(error!(SqlState::DUPLICATE_OBJECT, "transaction identifier \"{gid}\" is already in use"));
    }
    let entry = Entry { locked_by: me(), ..Entry::new(xid, gid.as_bytes(), prepared_at, owner, database) };
    let at = table.add(entry)?;
    fill_proc(at, &entry, shmem::proc::try_my_proc());
    Ok(at)
}

/// Who works on an entry.
pub(super) fn me() -> u32 {
    shmem::proc::my_proc_number().map_or(u32::MAX, |number| number + 1)
}

/// The PGPROC shows what the transaction's session showed. `preparer`: whose virtual id it keeps; after a restart nobody
/// has one, and -1/xid takes its place. C: `MarkAsPreparingGuts`.
pub(super) fn fill_proc(at: u32, entry: &Entry, preparer: Option<&PgProc>) {
    let proc = proc_of(at);
    proc.clear();
    proc.xid.store(entry.xid.0, Relaxed);
    proc.database_id.store(entry.database.0, Relaxed);
    proc.role_id.store(entry.owner.0, Relaxed);
    let lxid = preparer.map_or(0, |mine| mine.lxid.load(Relaxed));
    if let (Some(mine), true) = (preparer, lxid != 0) {
        proc.lxid.store(lxid, Relaxed);
        proc.borrowed_backend_id.store(mine.backend_id(), Relaxed);
    } else {
        proc.lxid.store(entry.xid.0, Relaxed);
        proc.borrowed_backend_id.store(-1, Relaxed);
    }
}

/// Finds a valid entry and locks it for this process (2P4). C: `LockGXact`.
///
/// # Errors
/// 42704, 55000, 42501, 0A000.
pub(super) fn lock_for_finish(gid: &str, user: Oid, is_superuser: bool) -> Result<u32> {
    let not_there = || {
        error!(SqlState::UNDEFINED_OBJECT, "prepared transaction with identifier \"{gid}\" does not exist")
    };
    if capacity() == 0 {
        return Err(not_there());
    }
    let table = lock();
    let at = table.find(|entry| entry.valid && entry.gid() == gid.as_bytes()).ok_or_else(not_there)?;
    let entry = get(at);
    if entry.locked_by != 0 {
        return Err(error!(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "prepared transaction with identifier \"{gid}\" is busy"
        ));
    }
    if user != entry.owner && !is_superuser {
        return Err(error!(
            SqlState::INSUFFICIENT_PRIVILEGE,
            "permission denied to finish prepared transaction"
        )
        .hint("Must be superuser or the user that prepared the transaction."));
    }
    let database = shmem::proc::try_my_proc().map_or(0, |proc| proc.database_id.load(Relaxed));
    if database != entry.database.0 {
        return Err(error!(
            SqlState::FEATURE_NOT_SUPPORTED,
            "prepared transaction belongs to another database"
        )
        .hint("Connect to the database where the transaction was prepared to finish it."));
    }
    change(at, |entry| entry.locked_by = me());
    Ok(at)
}

/// A row of `pg_prepared_xact()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedXact {
    /// Its id.
    pub xid: Xid,
    /// The name that it was given.
    pub gid: String,
    /// When it was prepared, microseconds since 2000-01-01.
    pub prepared_at: i64,
    /// Who prepared it.
    pub owner: Oid,
    /// In which database.
    pub database: Oid,
}

/// All that are valid, in the order of the table. C: `pg_prepared_xact`, `GetPreparedTransactionList`.
pub fn rows() -> Vec<PreparedXact> {
    if capacity() == 0 {
        return Vec::new();
    }
    let entries = lock().list().into_iter().map(get).filter(|entry| entry.valid);
    entries
        .map(|entry| PreparedXact {
            xid: entry.xid,
            gid: String::from_utf8_lossy(entry.gid()).into_owned(),
            prepared_at: entry.prepared_at,
            owner: entry.owner,
            database: entry.database,
        })
        .collect()
}

/// Whether this is the id of a prepared transaction, one that recovery has only heard of included.
/// C: `StandbyTransactionIdIsPrepared`.
pub fn is_prepared(xid: Xid) -> bool {
    capacity() > 0 && lock().find(|entry| entry.xid == xid && (entry.valid || entry.in_redo)).is_some()
}

/// The ids of transactions that were prepared under this virtual id (backend id, local id): who waits for the latter
/// must wait for them too. C: `TwoPhaseGetXidByVirtualXID`.
pub fn xid_of_vxid(vxid: (i32, u32)) -> Vec<Xid> {
    if capacity() == 0 {
        return Vec::new();
    }
    let table = lock();
    let shows = |at: &u32| {
        let proc = proc_of(*at);
        get(*at).valid && (proc.backend_id(), proc.lxid.load(Relaxed)) == vxid
    };
    table.list().into_iter().filter(shows).map(|at| get(at).xid).collect()
}
