//! PREPARE TRANSACTION: the state goes to WAL, and a PGPROC without a process takes over.
//!
//! ```text
//!   pre_commit, at_prepare of all participants    may fail, then all is aborted
//!   PREPARE record, flushed; entry valid, its PGPROC in the process array
//!   hand_over of all participants                 locks change hands
//!   process array                                 this session has no id any more
//!   post_prepare of all participants
//! ```
//!
//! C counterpart: `PrepareTransaction` of xact.c, `StartPrepare`, `EndPrepare`, `AtAbort_Twophase`.

use std::cell::Cell;
use std::sync::atomic::Ordering::Relaxed;

use common::{Oid, SqlState, Xid};
use elog::{Result, error};
use replication::syncrep;
use wal::{Record, RmgrId};

use super::state::State;
use super::{Prepared, callbacks, files, state, table};
use crate::xact::{self, participants, record};
use crate::{multixact, procarray};

thread_local! {
    /// The entry that this process has locked (2P4). C: `MyLockedGxact`.
    static MINE: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Remembers the entry that is ours until [`at_abort`] or the end.
pub(super) fn set_mine(at: Option<u32>) {
    MINE.set(at);
}

/// The transaction that this process is preparing, or COMMIT PREPARED's, fails: its entry is given up, or left for others
/// to finish. C: `AtAbort_Twophase`, `AtProcExit_Twophase`.
pub(crate) fn at_abort() {
    callbacks::take_records();
    let Some(at) = MINE.take() else { return };
    let mut table = table::lock();
    if table::get(at).valid {
        table::change(at, |entry| entry.locked_by = 0);
    } else {
        table.remove(at);
    }
}

/// Prepares the transaction with all levels that are still open; it is over for this session, which can go on. After an
/// error nothing is prepared, and the caller must call [`crate::abort_transaction`]. `owner`: the current user, who may
/// finish it. C: `PrepareTransaction`.
///
/// # Errors
/// Of a participant's `pre_commit` or `at_prepare`; 22023, 55000, 42710, 53200 for the identifier; 54000 for a state that
/// is too large.
pub fn prepare_transaction(gid: &str, owner: Oid) -> Result<()> {
    if !xact::in_transaction() {
        return Err(error!(SqlState::INTERNAL_ERROR, "no transaction is open"));
    }
    while xact::nest_level() > 1 {
        xact::commit_subtransaction()?;
    }
    participants::try_each(|p| p.pre_commit, |before| before())?;
    let xid = xact::current_xid()?;
    let database = Oid(shmem::my_proc().database_id.load(Relaxed));
    let prepared_at = activity::now();
    let at = table::begin(xid, gid, prepared_at, owner, database)?;
    set_mine(Some(at));
    callbacks::take_records();
    participants::try_each(|p| p.at_prepare, |save| save())?;
    multixact::at_prepare();
    let mut state = collect();
    (state.xid, state.database, state.prepared_at, state.owner) = (xid, database, prepared_at, owner);
    state.gid = gid.as_bytes().to_vec();
    let bytes = state.to_bytes();
    if bytes.len() + state::CHECKSUM > files::MAX_SIZE {
        return Err(error!(SqlState::PROGRAM_LIMIT_EXCEEDED, "two-phase state file maximum length exceeded"));
    }
    log(at, xid, &state.children, &bytes);
    leave(Prepared { xid, procno: table::proc_of(at).pgprocno });
    set_mine(None);
    table::change(at, |entry| entry.locked_by = 0);
    Ok(())
}

/// What the commit and abort records would say, and other modules' records. C: `StartPrepare`, `AtPrepare_*`.
fn collect() -> State {
    let (commit, abort) = (participants::extras(true, 1), participants::extras(false, 1));
    State {
        children: xact::top_children(),
        commit_files: commit.dropped_files,
        abort_files: abort.dropped_files,
        invalidations: commit.invalidations,
        relcache_init_file: commit.relcache_init_file,
        records: callbacks::take_records(),
        ..State::default()
    }
}

/// The point of no return (2P3). C: `EndPrepare`.
fn log(at: u32, xid: Xid, children: &[Xid], bytes: &[u8]) {
    elog::start_critical_section();
    xact::delay_checkpoints(true);
    let mut record = Record::new(RmgrId::Xact, record::XLOG_PREPARE);
    record.data(bytes);
    record.include_origin();
    let end = record.insert();
    let start = wal::last_record_start();
    wal::flush(end);
    {
        // Its ids are in the process array twice for a moment, which nobody minds; not at all, and it would have aborted.
        let _table = table::lock();
        table::change(at, |entry| {
            (entry.start_lsn, entry.end_lsn, entry.valid) = (start, end, true);
        });
        procarray::add_prepared(table::proc_of(at).pgprocno, xid, children);
    }
    xact::delay_checkpoints(false);
    elog::end_critical_section();
    // X6. It is prepared, but in the process array twice, and the locks are still ours.
    syncrep::wait_for_lsn(end, false);
}

/// This session has nothing to do with it any more.
fn leave(prepared: Prepared) {
    wal::set_xact_last_rec_end(common::Lsn::INVALID);
    participants::each(|p| p.hand_over, |hand_over| hand_over(prepared));
    procarray::clear_transaction();
    multixact::hand_over(prepared);
    participants::each(|p| p.post_prepare.or(p.at_commit), |after| after());
    xact::finish();
}
