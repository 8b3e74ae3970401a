//! Transactions: their ids, whether they committed, who sees what, and what their beginning and end do.
//!
//! Read in this order:
//!
//! - [`Transaction`]: what a statement means for the transaction it runs in, a state machine without effects.
//! - `slru`: small caches of pages over files that only grow; what the logs below are stored in.
//! - [`clog`]: two bits for each transaction id: in progress, committed, aborted, committed below a parent.
//! - [`subtrans`]: the parent of each subtransaction's id.
//! - [`multixact`]: sets of transactions that lock one row.
//! - [`varsup`]: how ids of transactions and objects are given out.
//! - [`procarray`]: which transactions run now, and which old row versions somebody may still look at.
//! - [`snapshot`]: what one statement or transaction sees.
//! - [`xact`]: start, commit and abort with all their effects.
//! - [`redo`]: the same during recovery.
//! - [`twophase`]: PREPARE TRANSACTION, and what is left to do later.
//!
//! The numbered invariants that code and tests cite are listed in this crate's README.
//!
//! C counterpart: access/transam (clog, slru, subtrans, multixact, varsup, xact, transam),
//! storage/ipc/procarray.c, utils/time/snapmgr.c, storage/ipc/standby.c (what a primary needs of it).

#![forbid(unsafe_code)]

mod block; // 1. what a statement means
mod log; // what we ask of WAL
mod slru; // 2. where the logs are kept

pub mod clog; // 3. the logs
pub mod multixact;
pub mod subtrans;

pub mod procarray; // 4. who runs, who sees what
pub mod snapshot;
mod status;
pub mod varsup;

pub mod xact; // 5. beginnings and ends

#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_wal;

mod lifecycle; // 6. the server's start, recovery, checkpoints
pub mod redo;
pub mod standby; // 7. sessions during recovery
pub mod twophase; // 8. neither committed nor aborted

pub use block::{Outcome, Status, Transaction};
pub use lifecycle::{
    StartupState, after_checkpoint, bootstrap_files, checkpoint, redo_checkpoint, reserve, shutdown, startup,
    trim,
};
pub use procarray::{
    GlobalVis, RelationKind, horizon_for, is_in_progress, log_standby_snapshot, try_is_in_progress,
    wait_for_delayed_commits,
};
pub use snapshot::{
    ActiveGuard, Registered, Snapshot, SnapshotKind, active_snapshot, catalog_snapshot,
    invalidate_catalog_snapshot, latest_snapshot, push_active, transaction_snapshot, xid_in_mvcc_snapshot,
};
pub use status::{
    commit_lsn, did_abort, did_commit, known_completed, latest_xid, try_did_abort, try_did_commit,
};
pub use xact::{
    CommitExtras, Participant, Phase, abort_subtransaction, abort_transaction, command_counter_increment,
    commit_subtransaction, commit_transaction, current_command_id, current_xid, current_xid_if_any,
    force_sync_commit, in_transaction, is_current, nest_level, register, start_subtransaction,
    start_transaction, top_xid, top_xid_if_any,
};

/// Whether all ids of page `a` are older than all of page `b`, with `per_page` ids on each. The first ids of a page
/// may be special ones, which compare otherwise: one further is compared. C: `CLOGPagePrecedes` and its siblings.
fn slru_page_precedes(a: u32, b: u32, per_page: u32) -> bool {
    let first =
        |page: u32| common::Xid(page.wrapping_mul(per_page).wrapping_add(common::Xid::FIRST_NORMAL.0 + 1));
    let last_of_b = common::Xid(first(b).0.wrapping_add(per_page - 1));
    first(a).precedes(first(b)) && first(a).precedes(last_of_b)
}

/// Between two looks at what another process is about to finish, where nobody is told of it.
fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}
