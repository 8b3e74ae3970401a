//! Who else keeps state per transaction: lock manager, caches, files, statistics.
//!
//! They register once per process, usually before it forks or at the start of its main function; what a hook
//! does belongs to the crate that registered it.

use std::cell::Cell;

use common::{Oid, RelFileNode, Xid};
use elog::Result;

use crate::twophase::Prepared;

/// When, among all that happens at the end of a transaction, a participant is called. The order is that of C's
/// `CommitTransaction` and `AbortTransaction`; within a phase, that of registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Deferred triggers.
    Triggers = 10,
    /// Portals: open cursors.
    Portals = 20,
    /// ON COMMIT actions, large objects, NOTIFY.
    OnCommit = 30,
    /// The relation map's file.
    RelationMap = 40,
    /// Pins of buffers and references to caches. C: `RESOURCE_RELEASE_BEFORE_LOCKS`.
    BeforeLocks = 50,
    /// The relation cache. C: `AtEOXact_RelationCache`.
    RelationCache = 60,
    /// Invalidation messages are sent. C: `AtEOXact_Inval`.
    Invalidation = 70,
    /// Heavyweight locks (X3). C: `RESOURCE_RELEASE_LOCKS`.
    Locks = 80,
    /// Caches, files. C: `RESOURCE_RELEASE_AFTER_LOCKS`.
    AfterLocks = 90,
    /// Files of dropped tables go away. C: `smgrDoPendingDeletes`.
    PendingDeletes = 100,
    /// Settings. C: `AtEOXact_GUC`.
    Settings = 110,
    /// Temporary files, hash tables, combo command ids.
    Files = 120,
    /// Statistics. C: `AtEOXact_PgStat`.
    Statistics = 130,
}

/// What participants add to the commit or abort record. C: arguments of `XactLogCommitRecord`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitExtras {
    /// Files to remove. C: `smgrGetPendingDeletes`.
    pub dropped_files: Vec<RelFileNode>,
    /// Invalidation messages, 16 bytes each in PostgreSQL's layout. Left out of abort records.
    pub invalidations: Vec<[u8; 16]>,
    /// The relation cache's init file goes away. C: `RelcacheInitFileInval`.
    pub relcache_init_file: bool,
    /// The transaction has locked a relation with AccessExclusive: standbys release it at its end.
    /// C: `XACT_FLAGS_ACQUIREDACCESSEXCLUSIVELOCK`.
    pub access_exclusive_locks: bool,
    /// The session's database and its tablespace; written where there are invalidations.
    pub database: (Oid, Oid),
}

/// Someone who keeps state per transaction. Hooks run in the order of [`Phase`]; those that return nothing must not
/// fail. While a hook for a level runs, the level is still the current one: [`crate::current_xid_if_any`] is its id.
#[derive(Clone, Copy)]
pub struct Participant {
    /// Registering the same name again replaces the first.
    pub name: &'static str,
    /// When it is called.
    pub phase: Phase,
    /// A transaction has begun.
    pub at_start: Option<fn()>,
    /// Before the commit is decided: may still fail, which aborts.
    pub pre_commit: Option<fn() -> Result<()>>,
    /// After the commit.
    pub at_commit: Option<fn()>,
    /// First thing of an abort, of the transaction or of a level: to leave waits and queues. C: `LockErrorCleanup`.
    pub at_abort_start: Option<fn()>,
    /// After the abort record.
    pub at_abort: Option<fn()>,
    /// A level begins (2 is the first savepoint).
    pub at_sub_start: Option<fn(level: u32)>,
    /// The level's state goes up into its parent.
    pub at_sub_commit: Option<fn(level: u32)>,
    /// The level is undone.
    pub at_sub_abort: Option<fn(level: u32)>,
    /// The transaction is about to be prepared: refuses, or saves state with [`crate::twophase::register_record`].
    pub at_prepare: Option<fn() -> Result<()>>,
    /// It is prepared: what it has goes to the PGPROC that stands for it; before others see it there alone.
    pub hand_over: Option<fn(Prepared)>,
    /// It is prepared: the session forgets it. Without this, [`Participant::at_commit`] is called.
    pub post_prepare: Option<fn()>,
    /// Adds to the commit record (`true`) or to the abort record (`false`) of this level: 1 for the transaction.
    pub commit_record: Option<fn(extras: &mut CommitExtras, commit: bool, level: u32)>,
    /// After each command that wrote: its changes become visible to the next. C: `AtCCI_LocalCache`.
    pub on_command_end: Option<fn() -> Result<()>>,
}

impl Participant {
    /// One without hooks, to be filled in:
    /// `Participant { at_commit: Some(release_all), ..Participant::new("locks", Phase::Locks) }`.
    pub const fn new(name: &'static str, phase: Phase) -> Participant {
        Participant {
            name,
            phase,
            at_start: None,
            pre_commit: None,
            at_commit: None,
            at_abort_start: None,
            at_abort: None,
            at_sub_start: None,
            at_sub_commit: None,
            at_sub_abort: None,
            at_prepare: None,
            hand_over: None,
            post_prepare: None,
            commit_record: None,
            on_command_end: None,
        }
    }
}

/// Takes the lock on an id.
type LockXid = fn(Xid) -> Result<()>;

thread_local! {
    /// In order of phases. Replaced as a whole, so that a hook may register another one; a few dozen bytes are
    /// left behind each time, which happens a dozen times per process.
    static ALL: Cell<&'static [Participant]> = const { Cell::new(&[]) };
    static LOCK_XID: Cell<Option<LockXid>> = const { Cell::new(None) };
    static STARTED: Cell<bool> = const { Cell::new(false) };
}

/// Adds a participant for this process and those forked from it.
pub fn register(participant: Participant) {
    let mut all: Vec<Participant> =
        ALL.get().iter().filter(|p| p.name != participant.name).copied().collect();
    let at = all.partition_point(|p| p.phase <= participant.phase);
    all.insert(at, participant);
    ALL.set(Box::leak(all.into_boxed_slice()));
}

/// The lock manager's: takes the lock on an id just given out, which others wait for. C: `XactLockTableInsert`.
pub fn set_xid_lock_hook(hook: fn(Xid) -> Result<()>) {
    LOCK_XID.set(Some(hook));
}

pub(super) fn lock_xid(xid: Xid) -> Result<()> {
    LOCK_XID.get().map_or(Ok(()), |lock| lock(xid))
}

/// Before the first transaction of a process: WAL records carry its transaction's id, and what is open when the process
/// ends is aborted while it still has its place in the process array. C: `ShutdownPostgres`.
pub(super) fn init() {
    if !STARTED.replace(true) {
        wal::set_current_xid_source(super::current_xid_if_any);
        miscinit::exit::on_shmem_exit(|_| super::abort_transaction());
    }
}

/// Calls one hook of all that have it.
pub(crate) fn each<H>(hook: impl Fn(&Participant) -> Option<H>, mut call: impl FnMut(H)) {
    ALL.get().iter().filter_map(hook).for_each(&mut call);
}

/// As [`each`], until one fails.
pub(crate) fn try_each<H>(
    hook: impl Fn(&Participant) -> Option<H>,
    call: impl FnMut(H) -> Result<()>,
) -> Result<()> {
    ALL.get().iter().filter_map(hook).try_for_each(call)
}

/// What all add to a record.
pub(crate) fn extras(commit: bool, level: u32) -> CommitExtras {
    let mut extras = CommitExtras::default();
    each(|p| p.commit_record, |add| add(&mut extras, commit, level));
    extras
}
