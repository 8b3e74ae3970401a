//! What the processes of replication share: slots, the walsenders' table, the walreceiver's state, the queue of synchronous
//! commits.
//!
//! Nothing here talks to a socket. It lies below `transam`, so that a commit can wait for standbys and a snapshot can respect
//! what a standby still needs.

#![forbid(unsafe_code)]

use shmem::Reservation;

pub mod slot;
pub mod syncrep;
pub mod walrcv;
pub mod walsnd;

/// The share of the segment, on behalf of up to `procs` processes. C: `ReplicationSlotsShmemInit`, `WalSndShmemInit`,
/// `WalRcvShmemInit`.
pub fn reserve(reservation: &mut Reservation, procs: usize) {
    slot::reserve(reservation, procs);
    walsnd::reserve(reservation, procs);
    syncrep::reserve(reservation, procs);
    walrcv::reserve(reservation);
}
