//! Two-phase commit: transactions that are over for their session, and neither committed nor aborted.
//!
//! ```text
//!   PREPARE TRANSACTION   state -> one WAL record, flushed; a PGPROC without a process takes over id and locks
//!   checkpoint            state -> pg_twophase/%08X, if the record lies before the redo position
//!   crash, restart        file or record -> table, at the end of recovery -> PGPROC and locks
//!   COMMIT PREPARED       commit record, commit log, process array, files, invalidations, locks; the file goes
//! ```
//!
//! The state is the same bytes in WAL and in the file: see `state`. Where other crates keep state of a transaction that
//! must live on (locks), they add records to it when it is prepared ([`register_record`], called by
//! [`crate::Participant::at_prepare`]) and get them back later through [`TwoPhaseCallbacks`].
//!
//! - **2P1** An entry of the table belongs to the PGPROC with the same place among [`shmem::proc::prepared_places`].
//! - **2P2** Until the next checkpoint whose redo position lies behind it the record is in WAL; from then on the file
//!   exists, synced before the checkpoint's own record is written.
//! - **2P3** From before the PREPARE record until the entry is valid checkpoints wait: none can miss the entry.
//! - **2P4** Who changes a valid entry has locked it for himself first (`locking`); so nobody finishes it twice.
//! - **2P5** The file goes after the record that ends the transaction is flushed.
//!
//! Called by: the backend (statements, view), the checkpointer, the startup process.
//!
//! C counterpart: access/transam/twophase.c, twophase_rmgr.c.

mod callbacks; // who else has state of a prepared transaction
mod files; // pg_twophase and WAL
mod finish; // COMMIT PREPARED, ROLLBACK PREPARED
mod prepare; // PREPARE TRANSACTION
mod recovery; // after a crash, on a standby, at checkpoints
mod state; // the bytes
mod table; // shared memory

pub use callbacks::{Prepared, RmId, TwoPhaseCallbacks, register, register_record};
pub use finish::{Effects, finish_prepared, set_effects};
pub(crate) use prepare::at_abort;
pub use prepare::prepare_transaction;
pub use recovery::{checkpoint, prescan, recover_all, restore_from_disk};
pub(crate) use recovery::{redo_add, redo_remove, standby_recover};
pub(crate) use state::StatsItem;
pub(crate) use table::reserve;
pub use table::{GID_SIZE, PreparedXact, is_prepared, rows, xid_of_vxid};

#[cfg(test)]
mod tests;
